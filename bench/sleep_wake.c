/* sleep_wake.c - ring-bench wake: how long it takes to wake who sleeps.
 *
 * A round trip between two pinned processes that both sleep: one sends, the other wakes, answers, and sleeps. A pause
 * before each, so that both are asleep. Contestants take turns in each round; what is told are medians over rounds, and
 * medians of same-round ratios to the bare futex with their 95 % intervals. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "machine.h"
#include "sleep.h"
#include "statistics.h"

enum { QUANTILES = 3, PAUSE_NS = 150000 };

static const double quantiles[QUANTILES] = { 0.5, 0.99, 0.999 };

/* us, of one contestant in all rounds. */
struct series {
    double at[QUANTILES][SLEEP_MOST_ROUNDS];
};

static struct series all[SLEEP_MOST_WAYS];

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static int measure(const struct sleep_way *way, const struct sleep_options *options, unsigned round,
                   struct series *series)
{
    static double trips[SLEEP_MOST_TRIPS];
    struct sleep_pair pair;
    int code = sleep_pair_start(&pair, way, options, true);
    for (unsigned i = 0; i < options->trips && !code; i++) {
        uint64_t word;
        sleep_until(bench_clock_ns() + PAUSE_NS);
        uint64_t began = bench_clock_ns();
        code = way->put(0, i);
        if (!code)
            code = way->get(0, &word);
        trips[i] = (double)(bench_clock_ns() - began) / 1e3;
    }
    code = sleep_pair_finish(&pair, code);
    qsort(trips, options->trips, sizeof *trips, compare);
    for (int i = 0; i < QUANTILES; i++)
        series->at[i][round] = trips[(unsigned)(quantiles[i] * (options->trips - 1))];
    return code;
}

/* What is told of one contestant. */
struct summary {
    double us[QUANTILES];
    double ratio, low, high; /* of the medians, to the floor's */
    bool has_interval;
};

static struct summary summarize(size_t way, unsigned rounds)
{
    struct summary summary;
    double ratios[SLEEP_MOST_ROUNDS], values[SLEEP_MOST_ROUNDS];
    for (unsigned round = 0; round < rounds; round++)
        ratios[round] = all[way].at[0][round] / all[0].at[0][round];
    for (int i = 0; i < QUANTILES; i++) {
        memcpy(values, all[way].at[i], sizeof values);
        summary.us[i] = statistics_median(values, rounds);
    }
    summary.has_interval = statistics_interval(ratios, rounds, &summary.low, &summary.high);
    summary.ratio = statistics_median(ratios, rounds);
    return summary;
}

static void print_table(const struct sleep_options *options)
{
    printf("Round trip, both sides asleep: %u trips in each of %u rounds, us; ratio of the medians to the futex's of the "
           "same round\n",
           options->trips, options->rounds);
    printf("%-14s %8s %8s %8s %7s %15s\n", "", "p50", "p99", "p99.9", "ratio", "95 %");
    for (size_t way = 0; way < sleep_way_count; way++) {
        if (!options->chosen[way])
            continue;
        struct summary summary = summarize(way, options->rounds);
        char interval[32] = "";
        if (summary.has_interval)
            snprintf(interval, sizeof interval, "%.3f..%.3f", summary.low, summary.high);
        printf("%-14s %8.1f %8.1f %8.1f %7.3f %15s  %s\n", sleep_ways[way].name, summary.us[0], summary.us[1],
               summary.us[2], summary.ratio, interval, sleep_ways[way].about);
    }
}

static json_t *json_way(size_t way, unsigned rounds)
{
    struct summary summary = summarize(way, rounds);
    json_t *list = json_array();
    for (unsigned round = 0; round < rounds; round++)
        json_array_append_new(list, json_pack("{s:f, s:f, s:f}", "p50_us", all[way].at[0][round], "p99_us",
                                              all[way].at[1][round], "p999_us", all[way].at[2][round]));
    json_t *result = json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", sleep_ways[way].name, "p50_us", summary.us[0],
                               "p99_us", summary.us[1], "p999_us", summary.us[2], "ratio", summary.ratio);
    if (summary.has_interval) {
        json_object_set_new(result, "ratio_low", json_real(summary.low));
        json_object_set_new(result, "ratio_high", json_real(summary.high));
    }
    json_object_set_new(result, "rounds", list);
    return result;
}

static int print_json(const struct sleep_options *options)
{
    json_t *results = json_array();
    for (size_t way = 0; way < sleep_way_count; way++)
        if (options->chosen[way])
            json_array_append_new(results, json_way(way, options->rounds));
    json_t *document = json_pack("{s:o, s:{s:s, s:i, s:i}, s:o}", "machine", machine_describe(options->cpus, 2),
                                 "settings", "kind", "wake", "rounds", (int)options->rounds, "trips",
                                 (int)options->trips, "results", results);
    return sleep_print_json(document);
}

int sleep_wake(const struct sleep_options *options)
{
    for (unsigned round = 0; round < options->rounds; round++)
        for (size_t way = 0; way < sleep_way_count; way++) {
            int code = options->chosen[way] ? measure(&sleep_ways[way], options, round, &all[way]) : 0;
            if (code) {
                fprintf(stderr, "ring-bench: %s: %s\n", sleep_ways[way].name, strerror(-code));
                return code;
            }
        }
    if (options->json)
        return print_json(options);
    print_table(options);
    return 0;
}
