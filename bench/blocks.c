/* blocks.c - ring-bench blocks: contestants take turns, round after round; what is told are medians, and medians of
 * same-round ratios to shmring's blocks. Exit status 0, 1 (something failed) or 2 (wrong usage). */
#include <argp.h>
#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "clock.h"
#include "machine.h"
#include "statistics.h"

enum { MOST_ROUNDS = 100, MOST = 8, PAIRS = 200000, WARM = 2000, OPTION_SECONDS = 256, OPTION_CPUS };

struct options {
    bool json;
    unsigned rounds;
    double seconds; /* for each contestant in each round */
    size_t bytes;   /* of a frame */
    int cpus[2];
    bool pairs, frames;
};

/* One table: contestants that did the same. figure[contestant][round]: ns for a pair, or frames a second. */
struct table {
    const char *title;
    const char *unit;
    const char *key; /* of the figure, in JSON */
    const char *names[MOST];
    const char *abouts[MOST];
    size_t count;
    double figure[MOST][MOST_ROUNDS];
    bool less_is_better;
};

/* ---- Measuring ---- */

static int measure_pairs(const struct pairs_contestant *contestant, size_t bytes, unsigned held, double *nanoseconds)
{
    int code = contestant->begin(bytes);
    uint64_t times = PAIRS / held, began = 0;
    if (!code)
        code = contestant->run(bytes, held, WARM);
    if (!code) {
        began = bench_clock_ns();
        code = contestant->run(bytes, held, times);
        *nanoseconds = (double)(bench_clock_ns() - began) / (double)(times * held);
        contestant->end();
    }
    return code;
}

static const struct pairs_contestant *pairs_at(size_t at)
{
#ifdef BENCH_HAVE_BOOST_MEMORY
    if (at == pairs_count)
        return &pairs_boost;
#endif
    return at < pairs_count ? &pairs_contestants[at] : NULL;
}

static int fill_pairs(const struct options *options, struct table *table, size_t bytes, unsigned held)
{
    for (unsigned round = 0; round < options->rounds; round++)
        for (table->count = 0; pairs_at(table->count); table->count++) {
            const struct pairs_contestant *contestant = pairs_at(table->count);
            int code = measure_pairs(contestant, bytes, held, &table->figure[table->count][round]);
            if (code) {
                fprintf(stderr, "ring-bench: %s: %s\n", contestant->name, strerror(-code));
                return code;
            }
            table->names[table->count] = contestant->name;
            table->abouts[table->count] = contestant->about;
        }
    return 0;
}

static int fill_frames(const struct options *options, struct table *table, enum move_variant variant)
{
    table->count = move_count;
    for (unsigned round = 0; round < options->rounds; round++)
        for (size_t at = 0; at < move_count; at++) {
            int code =
                move_run(at, variant, options->bytes, options->seconds, options->cpus, &table->figure[at][round]);
            if (code) {
                fprintf(stderr, "ring-bench: %s: %s\n", move_contestants[at].name, strerror(-code));
                return code;
            }
            table->names[at] = move_contestants[at].name;
            table->abouts[at] = move_contestants[at].about;
        }
    return 0;
}

/* ---- Printing ---- */

static double median(const double *figures, unsigned rounds)
{
    double copy[MOST_ROUNDS];
    memcpy(copy, figures, rounds * sizeof copy[0]);
    return statistics_median(copy, rounds);
}

/* How many times better the first contestant is, in the median of the rounds, and the interval of that. */
static double ratio(const struct table *table, size_t at, unsigned rounds, double *low, double *high)
{
    double ratios[MOST_ROUNDS];
    for (unsigned round = 0; round < rounds; round++)
        ratios[round] = table->less_is_better ? table->figure[at][round] / table->figure[0][round]
                                              : table->figure[0][round] / table->figure[at][round];
    if (!statistics_interval(ratios, rounds, low, high))
        *low = *high = 0;
    return statistics_median(ratios, rounds);
}

static void print_table(const struct table *table, unsigned rounds)
{
    printf("\n%s\n%-20s %14s  %s\n", table->title, "", table->unit, "blocks are better by (95 %)");
    for (size_t at = 0; at < table->count; at++) {
        double low, high, times = ratio(table, at, rounds, &low, &high);
        printf("%-20s %14.1f  ", table->names[at], median(table->figure[at], rounds));
        if (at == 0)
            printf("-");
        else if (high > 0)
            printf("%.2f times (%.2f to %.2f)", times, low, high);
        else
            printf("%.2f times", times);
        printf("   %s\n", table->abouts[at]);
    }
}

static json_t *json_table(const struct table *table, unsigned rounds)
{
    json_t *results = json_array();
    for (size_t at = 0; at < table->count; at++) {
        double low, high, times = ratio(table, at, rounds, &low, &high);
        json_t *list = json_array();
        for (unsigned round = 0; round < rounds; round++)
            json_array_append_new(list, json_real(table->figure[at][round]));
        json_array_append_new(results,
                              json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:o}", "name", table->names[at], "about",
                                        table->abouts[at], table->key, median(table->figure[at], rounds), "times",
                                        times, "times_low", low, "times_high", high, "rounds", list));
    }
    return json_pack("{s:s, s:o}", "title", table->title, "results", results);
}

/* ---- The command line ---- */

static const struct argp_option argp_options[] = {
    { "rounds", 'r', "N", 0, "Rounds, 1 to 100 (default 7)", 0 },
    { "seconds-per-cell", OPTION_SECONDS, "S", 0, "Time for each way of moving frames in each round (default 0.2)", 0 },
    { "bytes", 'b', "N", 0, "Bytes of a frame, a multiple of 4096 up to 16 MiB (default 1048576)", 0 },
    { "cpus", OPTION_CPUS, "A,B", 0, "Processors of sender and receiver (default 0,1)", 0 },
    { "only", 'o', "WHAT", 0, "pairs: allocate and free; frames: from one process to another (default both)", 0 },
    { "json", 'j', NULL, 0, "One JSON document on standard output instead of tables", 0 },
    { 0 },
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    char *end = argument;
    switch (key) {
    case 'r':
        options->rounds = (unsigned)strtoul(argument, &end, 10);
        if (*end || options->rounds < 1 || options->rounds > MOST_ROUNDS)
            argp_error(state, "'%s': 1 to %d rounds", argument, MOST_ROUNDS);
        return 0;
    case 'b':
        options->bytes = strtoul(argument, &end, 10);
        if (*end || options->bytes < 4096 || options->bytes % 4096 || options->bytes > 16 << 20)
            argp_error(state, "'%s': a multiple of 4096 up to 16777216", argument);
        return 0;
    case OPTION_SECONDS:
        options->seconds = strtod(argument, &end);
        if (*end || !(options->seconds > 0) || options->seconds > 100)
            argp_error(state, "'%s': seconds, up to 100", argument);
        return 0;
    case OPTION_CPUS:
        if (sscanf(argument, "%d,%d", &options->cpus[0], &options->cpus[1]) != 2 || options->cpus[0] < 0 ||
            options->cpus[1] < 0 || options->cpus[0] >= CPU_SETSIZE || options->cpus[1] >= CPU_SETSIZE)
            argp_error(state, "'%s': two processors, as 0,1", argument);
        return 0;
    case 'o':
        options->pairs = strcmp(argument, "pairs") == 0;
        options->frames = strcmp(argument, "frames") == 0;
        if (!options->pairs && !options->frames)
            argp_error(state, "'%s': pairs or frames", argument);
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is too much", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int show(const struct options *options, const struct table *table, json_t *tables)
{
    if (tables)
        json_array_append_new(tables, json_table(table, options->rounds));
    else
        print_table(table, options->rounds);
    return 0;
}

static int run(const struct options *options, json_t *tables)
{
    static const char *const titles[MOVE_VARIANTS] = {
        [MOVE_FULL] = "frames, every byte written by the sender and read by the receiver",
        [MOVE_TOUCHED] = "frames filled beforehand, one line of each page written and read",
        [MOVE_HANDLE] = "frames filled beforehand, only a number in them written and read",
    };
    static struct table table;
    int code = 0;
    for (unsigned held = 1; options->pairs && held <= 16 && !code; held += 15) {
        table = (struct table){ .title = held == 1 ? "allocate and free 256 bytes, one process"
                                                   : "allocate 16 times 256 bytes, then free them, one process",
                                .unit = "ns for a pair",
                                .key = "pair_ns",
                                .less_is_better = true };
        code = fill_pairs(options, &table, 256, held);
        code = code ? code : show(options, &table, tables);
    }
    for (int variant = 0; options->frames && variant < MOVE_VARIANTS && !code; variant++) {
        table = (struct table){ .title = titles[variant], .unit = "frames/s", .key = "frames_per_second" };
        code = fill_frames(options, &table, (enum move_variant)variant);
        code = code ? code : show(options, &table, tables);
    }
    return code;
}

int blocks_main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse,
        .doc = "What memory in a segment costs that is not copied: allocating and freeing blocks, beside "
               "boost.interprocess and a mutex; and frames as blocks from one process to another, beside copies.",
    };
    struct options options = {
        .rounds = 7, .seconds = 0.2, .bytes = 1 << 20, .cpus = { 0, 1 }, .pairs = true, .frames = true
    };
    static char program[] = "ring-bench blocks";
    char line[512];
    argv[0] = program;
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &options))
        return 2;
    bench_clock_begin();
    json_t *tables = options.json ? json_array() : NULL;
    if (!tables) {
        machine_line(line, sizeof line);
        printf("%s\n%u rounds in turn, medians; frames of %zu bytes\n", line, options.rounds, options.bytes);
    }
    int code = run(&options, tables);
    if (tables && !code) {
        json_t *document = json_pack("{s:o, s:i, s:f, s:I, s:o}", "machine", machine_describe(options.cpus, 2),
                                     "rounds", (int)options.rounds, "seconds_per_cell", options.seconds, "frame_bytes",
                                     (json_int_t)options.bytes, "tables", tables);
        json_dumpf(document, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
        json_decref(document);
        putchar('\n');
    }
    return code || fflush(stdout) != 0 ? 1 : 0;
}
