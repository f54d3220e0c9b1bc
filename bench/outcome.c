/* outcome.c - from rounds to results: which rounds count, medians, ratios within a round, intervals, and the stop rule.
 */
#include <math.h>
#include <stdlib.h>

#include "plan.h"
#include "statistics.h"

#define OUTCOME_MOST 1024

static bool outcome_counts(const struct plan_section *section, size_t round)
{
    return section->noisy || !section->weather[round].disturbed;
}

/* Median over the rounds that count of one member of plan_figure, by its offset. */
static double outcome_median(const struct plan_section *section, const struct plan_series *series, size_t member)
{
    double values[OUTCOME_MOST];
    size_t count = 0;
    for (size_t round = 0; round < section->rounds_done; round++) {
        const struct plan_figure *figure = &series->rounds[round];
        double value;
        memcpy(&value, (const char *)figure + member, sizeof value);
        if (figure->there && outcome_counts(section, round) && value > 0)
            values[count++] = value;
    }
    return statistics_median(values, count);
}

static void outcome_ratios(const struct plan *plan, struct plan_section *section, struct plan_series *series)
{
    const struct plan_series *baseline = NULL;
    for (size_t at = 0; at < plan->contestant_count; at++)
        if (section->series[at].transport == plan->baseline && section->series[at].rounds)
            baseline = &section->series[at];
    for (size_t round = 0; round < section->rounds_done; round++) {
        struct plan_figure *figure = &series->rounds[round];
        const struct plan_weather *weather = &section->weather[round];
        if (!figure->there)
            continue;
        figure->ratio = baseline && baseline->rounds[round].there ? figure->figure / baseline->rounds[round].figure : 0;
        figure->beside = 0; /* one way has no floor of its own */
        if (section->kind == CELL_ROUND_TRIP)
            figure->beside = figure->p50 / weather->floor_ns;
        else if (weather->ceiling > 0)
            figure->beside = figure->figure / weather->ceiling;
    }
}

static void outcome_interval(const struct plan_section *section, struct plan_series *series)
{
    double ratios[OUTCOME_MOST];
    size_t count = 0;
    series->rounds_used = 0;
    for (size_t round = 0; round < section->rounds_done; round++) {
        const struct plan_figure *figure = &series->rounds[round];
        if (!figure->there || !outcome_counts(section, round))
            continue;
        series->rounds_used++;
        if (figure->ratio > 0)
            ratios[count++] = figure->ratio;
    }
    series->has_interval = statistics_interval(ratios, count, &series->ratio_low, &series->ratio_high);
}

static void outcome_series(const struct plan *plan, struct plan_section *section, struct plan_series *series)
{
    outcome_ratios(plan, section, series);
    outcome_interval(section, series);
    struct plan_figure *median = &series->median;
    median->figure = outcome_median(section, series, offsetof(struct plan_figure, figure));
    median->p50 = outcome_median(section, series, offsetof(struct plan_figure, p50));
    median->p99 = outcome_median(section, series, offsetof(struct plan_figure, p99));
    median->p999 = outcome_median(section, series, offsetof(struct plan_figure, p999));
    median->mean = outcome_median(section, series, offsetof(struct plan_figure, mean));
    median->producer_ns = outcome_median(section, series, offsetof(struct plan_figure, producer_ns));
    median->lost = outcome_median(section, series, offsetof(struct plan_figure, lost));
    median->reordered = outcome_median(section, series, offsetof(struct plan_figure, reordered));
    median->messages = outcome_median(section, series, offsetof(struct plan_figure, messages));
    median->ratio = outcome_median(section, series, offsetof(struct plan_figure, ratio));
    median->beside = outcome_median(section, series, offsetof(struct plan_figure, beside));
    median->there = series->rounds_used > 0;
}

static void outcome_weather(struct plan_section *section)
{
    double floors[OUTCOME_MOST], ceilings[OUTCOME_MOST];
    size_t count = 0;
    for (size_t round = 0; round < section->rounds_done; round++)
        if (outcome_counts(section, round)) {
            floors[count] = section->weather[round].floor_ns;
            ceilings[count++] = section->weather[round].ceiling;
        }
    section->floor_ns = statistics_median(floors, count);
    section->ceiling = statistics_median(ceilings, count);
}

void plan_judge_section(struct plan *plan, struct plan_section *section)
{
    bool sure = section->rounds_quiet >= PLAN_ROUNDS_LEAST;
    section->noisy = section->rounds_quiet < PLAN_QUIET_LEAST;
    outcome_weather(section);
    for (size_t at = 0; at < plan->contestant_count; at++) {
        struct plan_series *series = &section->series[at];
        if (!series->rounds)
            continue;
        outcome_series(plan, section, series);
        if (!series->failure[0] && series->transport != plan->baseline)
            sure = sure && series->has_interval &&
                   (series->ratio_high - series->ratio_low) / 2 < plan->options.margin * series->median.ratio;
    }
    section->settled = plan->options.margin > 0 && sure;
}

void plan_judge(struct plan *plan)
{
    double *floors = calloc(plan->section_count * plan->options.rounds + 1, 2 * sizeof *floors);
    size_t quiet = 0, all = 0;
    for (size_t at = 0; at < plan->section_count; at++)
        plan_judge_section(plan, &plan->sections[at]);
    for (int pass = 0; pass < 2 && floors && !quiet; pass++) /* second pass: there is no quiet round, so take all */
        for (size_t at = 0; at < plan->section_count; at++)
            for (size_t round = 0; round < plan->sections[at].rounds_done; round++) {
                const struct plan_weather *weather = &plan->sections[at].weather[round];
                all += pass == 0;
                if (weather->disturbed && pass == 0)
                    continue;
                floors[2 * quiet] = weather->floor_ns;
                floors[2 * quiet++ + 1] = weather->floor_mean_ns;
            }
    plan->rounds_all = all;
    plan->rounds_disturbed = 0;
    for (size_t at = 0; at < plan->section_count; at++)
        plan->rounds_disturbed += plan->sections[at].rounds_done - plan->sections[at].rounds_quiet;
    double *column = calloc(quiet + 1, sizeof *column);
    for (int which = 0; which < 2 && column; which++) {
        for (size_t at = 0; at < quiet; at++)
            column[at] = floors[2 * at + (size_t)which];
        *(which == 0 ? &plan->floor_ns : &plan->floor_mean_ns) = statistics_median(column, quiet);
    }
    free(column);
    free(floors);
}
