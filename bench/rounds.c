/* rounds.c - measures a plan: round by round, section by section, contestants in turn, the machine's own speed around
 * them.
 *
 * Rounds are the outer loop, so that each section is spread over the whole run and a bad minute cannot hit all rounds
 * of one. Within a section the order moves on by one place per round. What is compared was measured within a second or
 * two.
 */
#include <stdio.h>

#include "floor.h"
#include "plan.h"
#include "progress.h"

#define ROUNDS_SENSOR_SECONDS  0.008
#define ROUNDS_CEILING_SECONDS 0.05

static double rounds_ns(double ticks)
{
    return ticks / bench_clock.ticks_per_ns;
}

static int rounds_own_cell(const struct plan *plan, const struct transport *transport, struct cell *cell,
                           struct cell_result *result, struct histogram *histogram)
{
    cell->transport = transport;
    cell->processors = plan->options.processors;
    cell->processor_count = 2;
    cell->options.producers = cell->options.consumers = 1;
    cell->options.huge = plan->options.huge;
    int refusal = cell_run(cell, result, histogram);
    if (refusal && refusal != -EINTR) {
        progress_hide();
        fprintf(stderr, "ring-bench: %s: %s\n", transport->name, result->why);
    }
    return refusal;
}

/* The raw round trip now: the best of the ways to poll. */
static int rounds_sense(const struct plan *plan, const struct bench_options *options, double *p50, double *mean)
{
    static struct histogram histogram;
    static double guesses[3];
    const struct transport *ways[] = { &floor_line, &floor_line_paused, &floor_line_gapped };
    *p50 = 0;
    for (int way = 0; way < 3; way++) {
        struct cell cell = { .kind = CELL_ROUND_TRIP, .seconds = ROUNDS_SENSOR_SECONDS, .guess = guesses[way] };
        struct cell_result result;
        cell.options = (struct bench_options){ .bytes = 8, .batch = 1, .links = 2, .processes = options->processes };
        int refusal = rounds_own_cell(plan, ways[way], &cell, &result, &histogram);
        if (refusal)
            return refusal;
        guesses[way] = result.messages_per_second;
        double here = rounds_ns(histogram_percentile(&histogram, 0.5, bench_clock.step));
        if (*p50 == 0 || here < *p50) {
            *p50 = here;
            *mean = rounds_ns(histogram_mean(&histogram));
        }
    }
    return 0;
}

/* A raw stream with the better of two buffers: one within a core's own cache, one that lets the producer run ahead. */
static int rounds_raw(const struct plan *plan, const struct transport *transport, const struct bench_options *options,
                      double *messages)
{
    static const size_t buffers[] = { (size_t)256 << 10, (size_t)2 << 20 };
    *messages = 0;
    for (size_t at = 0; at < sizeof buffers / sizeof buffers[0]; at++) {
        struct cell cell = { .kind = CELL_THROUGHPUT, .seconds = ROUNDS_CEILING_SECONDS, .options = *options };
        struct cell_result result;
        cell.options.ring_bytes = buffers[at];
        int refusal = rounds_own_cell(plan, transport, &cell, &result, NULL);
        if (refusal)
            return refusal;
        if (result.messages_per_second > *messages)
            *messages = result.messages_per_second;
    }
    return 0;
}

/* Words per second through the machine; for the ceiling of in-place work, and once per round for all to see. */
static int rounds_stream(const struct plan *plan, bool processes, double *words)
{
    struct bench_options options = {
        .bytes = 8, .batch = CEILING_BLOCK / 8, .in_place = true, .links = 1, .processes = processes
    };
    return rounds_raw(plan, &ceiling_stream, &options, words);
}

static int rounds_ceiling(const struct plan *plan, const struct plan_section *section, double *messages)
{
    if (section->options.in_place) {
        int refusal = rounds_stream(plan, section->options.processes, messages);
        *messages /= (double)section->options.bytes / 8;
        return refusal;
    }
    struct bench_options options = { .bytes = section->options.bytes,
                                     .batch = ceiling_copy_batch(section->options.bytes),
                                     .links = 1,
                                     .processes = section->options.processes };
    return rounds_raw(plan, &ceiling_copy, &options, messages);
}

/* One contestant, once. Its own failure is noted and it is left out from now on; the run goes on. */
static int rounds_measure(struct plan *plan, struct plan_section *section, struct plan_series *series, size_t round)
{
    struct cell_result result;
    struct cell cell = { .transport = series->transport,
                         .kind = section->kind,
                         .options = section->options,
                         .seconds = plan->options.seconds,
                         .rate = plan->options.rate,
                         .guess = series->guess,
                         .processors = plan->options.processors,
                         .processor_count = plan->options.processor_count };
    int refusal = cell_run(&cell, &result, series->latest);
    if (refusal == -EINTR)
        return refusal;
    if (refusal) {
        snprintf(series->failure, sizeof series->failure, "%s", result.why);
        plan->failed |= refusal != -ETIME; /* slowness is a result */
        progress_hide();
        fprintf(stderr, "ring-bench: %s, %s, %s, %zu+%zu, %zu bytes, batch %zu, round %zu: %s\n",
                series->transport->name, plan_kind_name(section->kind), plan_mode_name(&section->options),
                section->options.producers, section->options.consumers, section->options.bytes, section->options.batch,
                round + 1, result.why);
        return refusal == -EBADMSG ? refusal : 0;
    }
    struct plan_figure *figure = &series->rounds[round];
    figure->there = true;
    figure->messages = result.messages;
    figure->figure = series->guess = result.messages_per_second;
    figure->reordered = result.reordered / result.messages;
    if (figure->reordered > 0 && !strstr(series->note, "out of order")) {
        size_t length = strlen(series->note);
        snprintf(series->note + length, sizeof series->note - length, "%smessages of one producer came out of order",
                 length ? "; " : "");
    }
    if (section->kind == CELL_THROUGHPUT && section->options.topology == BENCH_BROADCAST) {
        figure->producer_ns = result.producer_seconds * 1e9 / result.messages;
        figure->lost = result.lost / result.messages / (double)section->options.consumers;
    }
    if (section->kind != CELL_THROUGHPUT) {
        figure->p50 = figure->figure = rounds_ns(histogram_percentile(series->latest, 0.5, bench_clock.step));
        figure->p99 = rounds_ns(histogram_percentile(series->latest, 0.99, bench_clock.step));
        figure->p999 = rounds_ns(histogram_percentile(series->latest, 0.999, bench_clock.step));
        figure->mean = rounds_ns(histogram_mean(series->latest));
    }
    return 0;
}

static bool rounds_takes_part(const struct plan_series *series)
{
    return !series->left_out[0] && !series->failure[0];
}

static int rounds_contestants(struct plan *plan, struct plan_section *section, size_t round)
{
    for (size_t turn = 0; turn < plan->contestant_count; turn++) {
        struct plan_series *series = &section->series[(turn + round) % plan->contestant_count];
        progress_step("round %zu, %s %zu B, %s", round + 1, plan_kind_name(section->kind), section->options.bytes,
                      series->transport->name);
        int refusal = rounds_takes_part(series) ? rounds_measure(plan, section, series, round) : 0;
        if (refusal)
            return refusal;
    }
    return 0;
}

static void rounds_file(struct plan *plan, struct plan_section *section, bool disturbed)
{
    for (size_t at = 0; at < plan->contestant_count && section->kind != CELL_THROUGHPUT; at++) {
        struct plan_series *series = &section->series[at];
        if (!rounds_takes_part(series))
            continue;
        histogram_add(series->all, series->latest);
        if (!disturbed)
            histogram_add(series->quiet, series->latest);
    }
}

static int rounds_section(struct plan *plan, struct plan_section *section, size_t round)
{
    struct plan_weather *weather = &section->weather[round];
    double after = 0, after_mean = 0;
    int refusal = rounds_sense(plan, &section->options, &weather->floor_ns, &weather->floor_mean_ns);
    if (!refusal && section->kind == CELL_THROUGHPUT)
        refusal = rounds_ceiling(plan, section, &weather->ceiling);
    if (!refusal)
        refusal = rounds_contestants(plan, section, round);
    if (!refusal)
        refusal = rounds_sense(plan, &section->options, &after, &after_mean);
    if (refusal)
        return refusal;
    double before = weather->floor_ns;
    weather->disturbed = weather->floor_mean_ns > PLAN_DISTURBED * before || after_mean > PLAN_DISTURBED * after ||
                         after > PLAN_FLOOR_MOVED * before || before > PLAN_FLOOR_MOVED * after;
    weather->floor_ns = (before + after) / 2;
    weather->floor_mean_ns = (weather->floor_mean_ns + after_mean) / 2;
    rounds_file(plan, section, weather->disturbed);
    section->rounds_done = round + 1;
    section->rounds_quiet += !weather->disturbed;
    if (plan->options.margin > 0)
        plan_judge_section(plan, section);
    return 0;
}

int plan_run(struct plan *plan)
{
    int refusal = 0;
    double words;
    progress_begin(plan->options.rounds * plan->section_count * plan->contestant_count);
    for (size_t round = 0; round < plan->options.rounds && !refusal; round++) {
        size_t open = 0;
        for (size_t at = 0; at < plan->section_count && !refusal; at++) {
            if (plan->sections[at].settled)
                continue;
            open++;
            refusal = rounds_section(plan, &plan->sections[at], round);
            if (plan->sections[at].settled)
                progress_skip((plan->options.rounds - round - 1) * plan->contestant_count);
        }
        if (!open)
            break;
        if (!refusal && plan->options.throughput) {
            refusal = rounds_stream(plan, plan->options.processes, &words);
            plan->stream_words = words > plan->stream_words ? words : plan->stream_words;
        }
    }
    progress_hide();
    return refusal;
}
