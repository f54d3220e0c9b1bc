/* result_table.c - the outcome for people: a block per section, a line per contestant. */
#include <stdio.h>

#include "contestants.h"
#include "machine.h"
#include "plan.h"

/* Three digits and a unit: 25.2 M. */
static const char *table_count(double value, char *text, size_t size)
{
    static const char units[] = { ' ', 'k', 'M', 'G' };
    size_t unit = 0;
    while (value >= 999.5 && unit < sizeof units - 1) {
        value /= 1000;
        unit++;
    }
    snprintf(text, size, "%.*f %c", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return text;
}

static const char *table_time(double ns, char *text, size_t size)
{
    if (ns < 9999.5)
        snprintf(text, size, "%.*f ns", ns < 99.95 ? 1 : 0, ns);
    else if (ns < 9999.5e3)
        snprintf(text, size, "%.*f us", ns < 99.95e3 ? 1 : 0, ns / 1e3);
    else
        snprintf(text, size, "%.1f ms", ns / 1e6);
    return text;
}

/* How many times better the baseline is, with its interval. */
static void table_ratio(const struct plan *plan, const struct plan_section *section, const struct plan_series *series)
{
    double ratio = series->median.ratio, low = series->ratio_low, high = series->ratio_high;
    if (ratio <= 0 || plan->contestant_count == 1)
        return;
    if (series->transport == plan->baseline) {
        printf("  %12s", "1");
        return;
    }
    if (section->kind == CELL_THROUGHPUT) {
        double swap = low;
        ratio = 1 / ratio;
        low = high > 0 ? 1 / high : 0;
        high = swap > 0 ? 1 / swap : 0;
    }
    int digits = ratio < 9.995 ? 2 : 1;
    printf("  %12.*f", digits, ratio);
    if (series->has_interval)
        printf("  (%.*f .. %.*f)", digits, low, digits, high);
}

static void table_series(const struct plan *plan, const struct plan_section *section, const struct plan_series *series)
{
    char one[32], two[32], three[32];
    printf("  %-28s", series->transport->name);
    if (series->failure[0]) {
        printf(" FAILED: %s\n", series->failure);
        return;
    }
    const struct plan_figure *median = &series->median;
    if (section->kind == CELL_THROUGHPUT) {
        printf(" %10s/s %9.3f", table_count(median->figure, one, sizeof one),
               median->figure * (double)section->options.bytes / 1e9);
        if (section->options.topology == BENCH_BROADCAST)
            printf(" %9.2f ns %9.1f %%", median->producer_ns, median->lost * 100);
        else
            printf(" %9.1f %%", median->beside * 100);
    } else {
        printf(" %10s %10s %10s", table_time(median->p50, one, sizeof one), table_time(median->p99, two, sizeof two),
               table_time(median->p999, three, sizeof three));
        if (median->beside > 0)
            printf(" %9.2f", median->beside);
    }
    table_ratio(plan, section, series);
    if (series->note[0])
        printf("  [%s]", series->note);
    putchar('\n');
}

static void table_rounds(const struct plan_section *section)
{
    printf("; %zu round%s", section->rounds_done, section->rounds_done == 1 ? "" : "s");
    if (section->rounds_quiet < section->rounds_done) {
        printf(", disturbed:");
        for (size_t round = 0; round < section->rounds_done; round++)
            if (section->weather[round].disturbed)
                printf(" %zu", round + 1);
        printf(section->noisy ? " (WARNING: too few quiet ones, all are used)" : " (not used)");
    }
    putchar('\n');
}

/* Those that could not take part, by reason: a line for each reason. */
static void table_left_out(const struct plan *plan, const struct plan_section *section)
{
    for (size_t at = 0; at < plan->contestant_count; at++) {
        const char *why = section->series[at].left_out;
        bool told = !why[0];
        for (size_t before = 0; before < at && !told; before++)
            told = strcmp(section->series[before].left_out, why) == 0;
        if (told)
            continue;
        printf("  left out, %s: %s", why, section->series[at].transport->name);
        for (size_t other = at + 1; other < plan->contestant_count; other++)
            if (strcmp(section->series[other].left_out, why) == 0)
                printf(", %s", section->series[other].transport->name);
        putchar('\n');
    }
}

/* "two processes", or "processes, 2 producers, 2 consumers". */
static const char *table_sides(const struct plan_section *section, char *text, size_t size)
{
    const struct bench_options *options = &section->options;
    char sides[64];
    if (options->topology == BENCH_SPSC)
        snprintf(text, size, "two %s", plan_mode_name(options));
    else
        snprintf(text, size, "%s, %s, %s", plan_topology_name(options->topology), plan_mode_name(options),
                 plan_sides_name(options, sides, sizeof sides));
    return text;
}

static void table_section(const struct plan *plan, const struct plan_section *section)
{
    char one[32], sides[128];
    const struct bench_options *options = &section->options;
    const char *baseline = plan->baseline ? plan->baseline->name : "";
    if (section->kind == CELL_THROUGHPUT) {
        printf("\nThroughput, %s, %zu B, ", table_sides(section, sides, sizeof sides), options->bytes);
        if (options->batch > 1)
            printf("batches of %zu", options->batch);
        else
            printf("%s", options->in_place ? "written and read in place" : "one call a message");
        printf("; ceiling %s/s", table_count(section->ceiling, one, sizeof one));
        table_rounds(section);
        printf("  %-28s %12s %9s", "contestant", "messages", "GB/s");
        if (options->topology == BENCH_BROADCAST)
            printf(" %12s %11s", "producer", "lost");
        else
            printf(" %11s", "of ceiling");
    } else {
        printf("\n%s, %s, %zu B", section->kind == CELL_OPEN_LOOP ? "One-way latency" : "Round trip",
               table_sides(section, sides, sizeof sides), options->bytes);
        if (section->kind == CELL_OPEN_LOOP)
            printf(", %s/s offered, from when a message was due", table_count(plan->options.rate, one, sizeof one));
        printf("; floor %s", table_time(section->floor_ns, one, sizeof one));
        table_rounds(section);
        printf("  %-28s %10s %10s %10s", "contestant", "p50", "p99", "p99.9");
        if (section->kind == CELL_ROUND_TRIP)
            printf(" %9s", "x floor");
    }
    if (plan->baseline && plan->contestant_count > 1)
        printf("  %s is so many times %s (95 %%)", baseline, section->kind == CELL_THROUGHPUT ? "faster" : "quicker");
    putchar('\n');
    for (size_t at = 0; at < plan->contestant_count; at++)
        if (!section->series[at].left_out[0])
            table_series(plan, section, &section->series[at]);
    table_left_out(plan, section);
}

int plan_print_table(const struct plan *plan)
{
    char line[512], one[32];
    const char *label, *package;
    machine_line(line, sizeof line);
    printf("%s\n", line);
    printf("floor: %s round trip of one cache line", table_time(plan->floor_ns, one, sizeof one));
    if (plan->stream_words > 0)
        printf("; ceiling: %.1f GB/s from core to core", plan->stream_words * 8 / 1e9);
    printf("; %zu of %zu rounds disturbed\n", plan->rounds_disturbed, plan->rounds_all);
    for (size_t at = 0; at < plan->section_count; at++)
        table_section(plan, &plan->sections[at]);
    for (size_t at = 0; contestant_left_out(at, &label, &package); at++)
        printf("%s%s (%s)", at ? ", " : "\nnot built in (Debian package): ", label, package);
    if (contestant_left_out(0, &label, &package))
        putchar('\n');
    return fflush(stdout) == 0 ? 0 : -EIO;
}
