/* sleep_idle.c - ring-bench idle: what waiting costs the processors.
 *
 * Processor time of a process that waits for nothing, and how often it wakes; then processor time of both sides
 * together for each message, at rates from one a second on. Contestants take turns in each round; what is told are
 * medians over rounds. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "machine.h"
#include "sleep.h"
#include "statistics.h"

static const unsigned rates[] = { 1, 10, 100, 1000, 10000, 0 }; /* messages a second; 0: as many as it can */

enum { RATES = sizeof rates / sizeof *rates };

struct series {
    double percent[SLEEP_MOST_ROUNDS]; /* of a processor, of who waits for nothing */
    double wakes[SLEEP_MOST_ROUNDS];   /* a second, of the same */
    double us[RATES][SLEEP_MOST_ROUNDS];
};

static struct series all[SLEEP_MOST_WAYS];

static int measure_idling(const struct sleep_way *way, const struct sleep_options *options, double *percent,
                          double *wakes)
{
    struct sleep_pair pair;
    int code = sleep_pair_start(&pair, way, options, false);
    if (!code)
        sleep_until(bench_clock_ns() + (uint64_t)(options->seconds * 1e9));
    code = sleep_pair_finish(&pair, code);
    if (!code) {
        *percent = 100 * pair.account->cpu_s / options->seconds;
        *wakes = (double)pair.account->wakes / options->seconds;
    }
    return code;
}

/* Processor time of both sides for each message, in us, `rate` a second; 0: as fast as it goes, at most a second. */
static int measure_rate(const struct sleep_way *way, const struct sleep_options *options, unsigned rate, double *us)
{
    struct sleep_pair pair;
    double began, ended, seconds = rate == 1 ? options->seconds : options->seconds / 4;
    long wakes;
    int code = sleep_pair_start(&pair, way, options, false);
    sleep_usage(&began, &wakes);
    uint64_t sent = 0, first = bench_clock_ns(), last = first + (uint64_t)(seconds * 1e9);
    for (uint64_t now = first; !code && now < last; sent++) {
        if (rate)
            sleep_until(first + sent * 1000000000u / rate);
        code = way->put(0, sent);
        now = rate || sent % 64 == 0 ? bench_clock_ns() : now;
    }
    sleep_usage(&ended, &wakes);
    code = sleep_pair_finish(&pair, code);
    if (!code)
        *us = 1e6 * (ended - began + pair.account->cpu_s) / (double)sent;
    return code;
}

/* A bare futex holds one word at a time: at full speed it would overwrite. */
static bool can_do(const struct sleep_way *way, unsigned rate)
{
    return rate != 0 || strncmp(way->name, "futex", 5) != 0;
}

static int measure(const struct sleep_way *way, const struct sleep_options *options, unsigned round,
                   struct series *series)
{
    int code = measure_idling(way, options, &series->percent[round], &series->wakes[round]);
    for (size_t i = 0; i < RATES && !code && !options->only_idling; i++)
        if (can_do(way, rates[i]))
            code = measure_rate(way, options, rates[i], &series->us[i][round]);
    return code;
}

static double median_of(const double *values, unsigned rounds)
{
    double copy[SLEEP_MOST_ROUNDS];
    memcpy(copy, values, rounds * sizeof *copy);
    return statistics_median(copy, rounds);
}

static void print_heading(const struct sleep_options *options)
{
    printf("Waiting for nothing, %.1f s%s; medians of %u rounds\n", options->seconds,
           options->only_idling ? "" : "; then processor time of both sides for each message, us, at that rate",
           options->rounds);
    printf("%-14s %8s %8s", "", "% of cpu", "wakes/s");
    for (size_t i = 0; i < RATES && !options->only_idling; i++)
        if (rates[i])
            printf(" %7u/s", rates[i]);
        else
            printf(" %9s", "most");
    puts("");
}

static void print_row(size_t way, const struct sleep_options *options)
{
    printf("%-14s %8.4f %8.1f", sleep_ways[way].name, median_of(all[way].percent, options->rounds),
           median_of(all[way].wakes, options->rounds));
    for (size_t i = 0; i < RATES && !options->only_idling; i++)
        if (can_do(&sleep_ways[way], rates[i]))
            printf(" %9.3f", median_of(all[way].us[i], options->rounds));
        else
            printf(" %9s", "-");
    puts("");
}

static json_t *json_way(size_t way, const struct sleep_options *options)
{
    const struct series *series = &all[way];
    json_t *idle = json_array(), *busy = json_array();
    for (unsigned round = 0; round < options->rounds; round++)
        json_array_append_new(
            idle, json_pack("{s:f, s:f}", "cpu_percent", series->percent[round], "wakes_per_second", series->wakes[round]));
    for (size_t i = 0; i < RATES && !options->only_idling; i++)
        if (can_do(&sleep_ways[way], rates[i]))
            json_array_append_new(busy, json_pack("{s:i, s:f}", "messages_per_second", (int)rates[i], "cpu_us_per_message",
                                                  median_of(series->us[i], options->rounds)));
    return json_pack("{s:s, s:f, s:f, s:o, s:o}", "name", sleep_ways[way].name, "cpu_percent",
                     median_of(series->percent, options->rounds), "wakes_per_second",
                     median_of(series->wakes, options->rounds), "rounds", idle, "rates", busy);
}

static int print_json(const struct sleep_options *options)
{
    json_t *results = json_array();
    for (size_t way = 0; way < sleep_way_count; way++)
        if (options->chosen[way])
            json_array_append_new(results, json_way(way, options));
    json_t *document = json_pack("{s:o, s:{s:s, s:i, s:f}, s:o}", "machine", machine_describe(options->cpus, 2),
                                 "settings", "kind", "idle", "rounds", (int)options->rounds, "seconds",
                                 options->seconds, "results", results);
    return sleep_print_json(document);
}

int sleep_idle(const struct sleep_options *options)
{
    if (!options->json)
        print_heading(options);
    for (unsigned round = 0; round < options->rounds; round++)
        for (size_t way = 0; way < sleep_way_count; way++) {
            int code = options->chosen[way] ? measure(&sleep_ways[way], options, round, &all[way]) : 0;
            if (code) {
                fprintf(stderr, "ring-bench: %s: %s\n", sleep_ways[way].name, strerror(-code));
                return code;
            }
            if (options->chosen[way] && !options->json && round + 1 == options->rounds)
                print_row(way, options);
        }
    return options->json ? print_json(options) : 0;
}
