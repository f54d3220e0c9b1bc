/* options.c - the command line, by argp. Wrong usage ends with status 2 and a sentence that says what is right. */
#include <argp.h>
#include <sched.h>
#include <stdlib.h>
#include <strings.h>

#include "options.h"

const char *argp_program_version = "ring-bench of shmring " BENCH_VERSION;

enum options_key {
    OPTION_BYTES = 'b',
    OPTION_ROUNDS = 'r',
    OPTION_ONLY = 'o',
    OPTION_MODE = 'm',
    OPTION_JSON = 'j',
    OPTION_BATCH = 256,
    OPTION_RING_BYTES,
    OPTION_PAGES,
    OPTION_COPY,
    OPTION_CPUS,
    OPTION_SECONDS,
    OPTION_RATE,
    OPTION_MARGIN,
    OPTION_BASELINE,
    OPTION_HGRM,
    OPTION_PRODUCERS,
    OPTION_CONSUMERS,
    OPTION_TOPOLOGY
};

static const struct argp_option options_table[] = {
    { "bytes", OPTION_BYTES, "N,...", 0,
      "Message sizes, 8 to 1048576; k and M are understood (compare: 64,1024,65536; else 64)", 1 },
    { "batch", OPTION_BATCH, "N,...", 0, "Messages per call, for throughput: 1 to 4096 (default 1)", 1 },
    { "mode", OPTION_MODE, "MODE", 0, "processes, threads, or both with a comma (default processes)", 1 },
    { "copy", OPTION_COPY, "HOW", 0, "copy: send and recv; zero: in place; or both with a comma (default copy)", 1 },
    { "topology", OPTION_TOPOLOGY, "WHICH", 0,
      "spsc: one producer, one consumer, all contestants; mpmc: any number of each, who can do that; broadcast: each "
      "message to every consumer (default spsc; mpmc when there are several)",
      1 },
    { "producers", OPTION_PRODUCERS, "N,...", 0, "Producers, for throughput: 1 to 64 (default 1)", 1 },
    { "consumers", OPTION_CONSUMERS, "N,...", 0,
      "Consumers likewise; of two lists the first goes with the first, and so on", 1 },
    { "ring-bytes", OPTION_RING_BYTES, "N", 0, "Capacity of queues that can choose it (default: each one's own)", 1 },
    { "pages", OPTION_PAGES, "SIZE", 0, "huge or small pages for shared memory (default huge)", 1 },
    { "rate", OPTION_RATE, "N", 0, "latency: offer N messages a second, and time each from when it was due, one way",
      1 },
    { "only", OPTION_ONLY, "NAME,...", 0, "Only these contestants (see list)", 2 },
    { "baseline", OPTION_BASELINE, "NAME", 0, "Ratios are to this one (default shmring spsc, mpmc or broadcast)", 2 },
    { "rounds", OPTION_ROUNDS, "N", 0, "Rounds; auto: until the ratios are certain, at most 100 (default 5)", 3 },
    { "margin", OPTION_MARGIN, "SHARE", 0,
      "Stop when half the 95 % interval of each ratio is under this share (auto: 0.02)", 3 },
    { "seconds-per-cell", OPTION_SECONDS, "S", 0, "Time for each contestant in each round (default 0.15)", 3 },
    { "cpus", OPTION_CPUS, "A,B,...", 0,
      "Processors, at least two: the producers take them in turn, then the consumers; the producer of a broadcast has "
      "the first for itself (default: the first ones allowed)",
      3 },
    { "json", OPTION_JSON, NULL, 0, "One JSON document on standard output instead of the table", 4 },
    { "hgrm", OPTION_HGRM, "DIR", 0, "Write latency distributions there, for the plotters of HdrHistogram", 4 },
    { 0 },
};

struct options_state {
    struct plan_options *options;
    const char *command;
    bool automatic;
    bool topology; /* was given */
    size_t producers[PLAN_LIST], consumers[PLAN_LIST];
    size_t producer_count, consumer_count;
};

/* A number with k or M; the program ends when it is not one, or out of range. */
static size_t options_number(struct argp_state *state, const char *text, const char **end, size_t least, size_t most)
{
    char *rest;
    errno = 0;
    unsigned long long value = strtoull(text, &rest, 10);
    if (strchr(text, '-') || rest == text || errno)
        argp_error(state, "\"%s\" is not a number from %zu to %zu", text, least, most);
    unsigned shift = *rest == 'k' || *rest == 'K' ? 10 : *rest == 'M' ? 20 : 0;
    rest += shift != 0;
    if (value > (SIZE_MAX >> 20) || value << shift < least || value << shift > most || (*rest && *rest != ','))
        argp_error(state, "\"%s\" is not a number from %zu to %zu", text, least, most);
    if (*rest == ',' && !end)
        argp_error(state, "\"%s\": one number only", text);
    if (end)
        *end = *rest ? rest + 1 : rest;
    return (size_t)(value << shift);
}

static size_t options_numbers(struct argp_state *state, const char *text, size_t *list, size_t least, size_t most)
{
    size_t count = 0;
    do {
        if (count == PLAN_LIST)
            argp_error(state, "at most %d numbers", PLAN_LIST);
        list[count++] = options_number(state, text, &text, least, most);
    } while (*text);
    return count;
}

static double options_real(struct argp_state *state, const char *text, double least, double most)
{
    char *rest;
    double value = strtod(text, &rest);
    if (rest == text || *rest || !(value >= least && value <= most))
        argp_error(state, "\"%s\" is not a number from %g to %g", text, least, most);
    return value;
}

/* One or both of two words. */
static void options_words(struct argp_state *state, const char *text, const char *one, bool *first, const char *other,
                          bool *second)
{
    *first = *second = false;
    while (*text) {
        size_t length = strcspn(text, ",");
        if (length == strlen(one) && strncmp(text, one, length) == 0)
            *first = true;
        else if (length == strlen(other) && strncmp(text, other, length) == 0)
            *second = true;
        else
            argp_error(state, "\"%.*s\" is neither %s nor %s", (int)length, text, one, other);
        text += length + (text[length] == ',');
    }
    if (!*first && !*second)
        argp_error(state, "say %s or %s", one, other);
}

static void options_processors(struct argp_state *state, const char *text, struct plan_options *options)
{
    size_t list[PLAN_LIST];
    cpu_set_t allowed;
    size_t count = options_numbers(state, text, list, 0, CPU_SETSIZE - 1);
    if (count < 2)
        argp_error(state, "--cpus wants two processors or more: A,B");
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (size_t at = 0; at < count; at++) {
        if (!CPU_ISSET(list[at], &allowed))
            argp_error(state, "processor %zu is not there, or not allowed to this process", list[at]);
        for (size_t before = 0; before < at; before++)
            if (list[before] == list[at])
                argp_error(state,
                           "--cpus wants different processors: contestants that poll would measure the scheduler");
        options->processors[at] = (int)list[at];
    }
    options->processor_count = count;
}

static void options_topology(struct argp_state *state, const char *text, struct options_state *reading)
{
    for (int topology = BENCH_SPSC; topology <= BENCH_BROADCAST; topology++)
        if (strcmp(text, plan_topology_name((enum bench_topology)topology)) == 0) {
            reading->options->topology = (enum bench_topology)topology;
            reading->topology = true;
            return;
        }
    argp_error(state, "\"%s\" is none of spsc, mpmc and broadcast", text);
}

/* Both lists become pairs; the program ends when they do not fit each other or the topology. */
static void options_sides(struct argp_state *state, struct options_state *reading)
{
    struct plan_options *options = reading->options;
    size_t producers = reading->producer_count, consumers = reading->consumer_count;
    if (producers > 1 && consumers > 1 && producers != consumers)
        argp_error(state, "%zu numbers of producers and %zu of consumers: give as many, or one", producers, consumers);
    options->side_count = producers > consumers ? producers : consumers;
    for (size_t at = 0; at < options->side_count; at++) {
        struct plan_sides *sides = &options->sides[at];
        sides->producers = reading->producers[producers > 1 ? at : 0];
        sides->consumers = reading->consumers[consumers > 1 ? at : 0];
        bool many = sides->producers > 1 || sides->consumers > 1;
        if (many && reading->topology && options->topology == BENCH_SPSC)
            argp_error(state, "--topology spsc is one producer and one consumer");
        if (sides->producers > 1 && options->topology == BENCH_BROADCAST)
            argp_error(state, "--topology broadcast has one producer");
        if (many && !reading->topology)
            options->topology = BENCH_MPMC;
    }
}

static error_t options_numbers_of(int key, char *text, struct argp_state *state, struct options_state *reading)
{
    struct plan_options *options = reading->options;
    switch (key) {
    case OPTION_BYTES:
        options->byte_count = options_numbers(state, text, options->bytes, 8, 1 << 20);
        return 0;
    case OPTION_BATCH:
        options->batch_count = options_numbers(state, text, options->batches, 1, 4096);
        return 0;
    case OPTION_PRODUCERS:
        reading->producer_count = options_numbers(state, text, reading->producers, 1, BENCH_SIDES_MOST);
        return 0;
    case OPTION_CONSUMERS:
        reading->consumer_count = options_numbers(state, text, reading->consumers, 1, BENCH_SIDES_MOST);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t options_amounts(struct argp_state *state, int key, char *text, struct options_state *reading)
{
    struct plan_options *options = reading->options;
    switch (key) {
    case OPTION_RING_BYTES:
        options->ring_bytes = options_number(state, text, NULL, 4096, (size_t)1 << 30);
        return 0;
    case OPTION_RATE:
        options->rate = options_real(state, text, 1, 1e9);
        return 0;
    case OPTION_SECONDS:
        options->seconds = options_real(state, text, 0.001, 60);
        return 0;
    case OPTION_MARGIN:
        options->margin = options_real(state, text, 0.0001, 1);
        return 0;
    case OPTION_ROUNDS:
        reading->automatic = strcmp(text, "auto") == 0;
        options->rounds = reading->automatic ? PLAN_ROUNDS_AUTO : options_number(state, text, NULL, 1, 1000);
        return 0;
    default:
        return options_numbers_of(key, text, state, reading);
    }
}

static error_t options_parse(int key, char *text, struct argp_state *state)
{
    struct options_state *reading = state->input;
    struct plan_options *options = reading->options;
    bool small;
    switch (key) {
    case OPTION_MODE:
        options_words(state, text, "processes", &options->processes, "threads", &options->threads);
        return 0;
    case OPTION_COPY:
        options_words(state, text, "copy", &options->copy, "zero", &options->in_place);
        return 0;
    case OPTION_PAGES:
        options_words(state, text, "huge", &options->huge, "small", &small);
        if (options->huge && small)
            argp_error(state, "--pages: one of huge and small");
        return 0;
    case OPTION_CPUS:
        options_processors(state, text, options);
        return 0;
    case OPTION_TOPOLOGY:
        options_topology(state, text, reading);
        return 0;
    case OPTION_ONLY:
        options->only = text;
        return 0;
    case OPTION_BASELINE:
        options->baseline = text;
        return 0;
    case OPTION_HGRM:
        options->hgrm = text;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (reading->command)
            argp_error(state, "one command at a time: \"%s\" is one too many", text);
        reading->command = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "say what to do: compare, throughput, latency, blocks, wake, idle, report or list");
        return 0;
    case ARGP_KEY_END:
        options_sides(state, reading);
        return 0;
    default:
        return options_amounts(state, key, text, reading);
    }
}

static const char options_doc[] =
    "Measures shmring beside other ways to move messages between two processors of this machine.\v"
    "Commands:\n"
    "  compare      throughput and round trip of all contestants\n"
    "  throughput   messages per second\n"
    "  latency      round trip, or one way with --rate\n"
    "  blocks       payloads that are not copied: allocating and handing over; see its own --help, as of the next two\n"
    "  wake         round trips of two that sleep until the other sends\n"
    "  idle         processor time of one that waits, and for each message\n"
    "  report       charts and a page from a result in JSON\n"
    "  list         contestants, and which Debian packages bring more\n\n"
    "Contestants run in turn within each round, pinned, every message checked; before and after, a raw ping-pong of "
    "one "
    "cache line tells the floor and whether the machine was disturbed. Exit status: 0 done, 1 something failed, 2 "
    "wrong usage.";

static void options_command(struct argp *argp, struct options_state *reading, bool *list)
{
    struct plan_options *options = reading->options;
    bool compare = strcmp(reading->command, "compare") == 0;
    *list = strcmp(reading->command, "list") == 0;
    options->throughput = compare || strcmp(reading->command, "throughput") == 0;
    options->latency = compare || strcmp(reading->command, "latency") == 0;
    if (!*list && !options->throughput && !options->latency) {
        fprintf(stderr, "ring-bench: there is no command \"%s\"\n", reading->command);
        argp_help(argp, stderr, ARGP_HELP_SEE, (char[]){ "ring-bench" });
        exit(2);
    }
    static const size_t usual[] = { 64, 1024, 65536 };
    for (size_t at = 0; !options->byte_count && at < (compare ? 3 : 1); at++)
        options->bytes[at] = usual[at];
    if (!options->byte_count)
        options->byte_count = compare ? 3 : 1;
    bool many = false;
    for (size_t at = 0; at < options->side_count; at++)
        many |= options->sides[at].producers + options->sides[at].consumers > 2;
    if (many && options->latency && !options->throughput) {
        fprintf(stderr, "ring-bench: latency is measured between one producer and one consumer\n");
        exit(2);
    }
}

/* As many as the sides of the largest section can use. */
static void options_usual_processors(struct plan_options *options)
{
    cpu_set_t allowed;
    size_t most = 2, found = 0;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (size_t at = 0; at < options->side_count; at++)
        if (options->sides[at].producers + options->sides[at].consumers > most)
            most = options->sides[at].producers + options->sides[at].consumers;
    for (int processor = 0; processor < CPU_SETSIZE && found < most; processor++)
        if (CPU_ISSET(processor, &allowed))
            options->processors[found++] = processor;
    if (found < 2) {
        fprintf(stderr, "ring-bench: needs two processors, this process is allowed one (see taskset)\n");
        exit(1);
    }
    options->processor_count = found;
}

void options_read(int argc, char **argv, struct plan_options *options, bool *list)
{
    struct argp argp = { options_table, options_parse, "COMMAND", options_doc, NULL, NULL, NULL };
    struct options_state reading = { .options = options };
    memset(options, 0, sizeof *options);
    options->processes = options->copy = options->huge = true;
    options->seconds = 0.15;
    options->rounds = 5;
    options->batches[0] = options->batch_count = 1;
    reading.producers[0] = reading.producer_count = reading.consumers[0] = reading.consumer_count = 1;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &reading);
    options_command(&argp, &reading, list);
    if (reading.automatic && options->margin <= 0)
        options->margin = 0.02;
    if (!options->processor_count && !*list)
        options_usual_processors(options);
}
