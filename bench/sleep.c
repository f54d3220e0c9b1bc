/* sleep.c - ring-bench wake: how long it takes to wake who sleeps; ring-bench idle: what waiting costs the processors.
 *
 * wake: a round trip between two pinned processes that both sleep: one sends, the other wakes, answers, and sleeps. A
 * pause before each, so that both are asleep. Contestants take turns in each round; what is told are medians over
 * rounds, and medians of same-round ratios to the bare futex.
 *
 * idle: processor time of a process that waits for nothing, and how often it wakes; then processor time of both sides
 * together for each message, at rates from one a second on. */
#include <argp.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "sleep.h"

enum { MOST_ROUNDS = 100, MOST_WAYS = 16, MOST_TRIPS = 100000 };

#define STOP UINT64_MAX

struct options {
    bool idle;
    unsigned rounds, trips;
    double seconds;
    int cpus[2];
};

/* What a process tells the other, in shared memory. */
struct account {
    volatile double cpu_s;
    volatile long wakes; /* voluntary switches */
    volatile int code;
};

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    sched_setaffinity(0, sizeof set, &set); /* refused: unpinned */
}

static void usage_now(double *cpu_s, long *wakes)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    *cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    *wakes = usage.ru_nvcsw;
}

static void nap_until(uint64_t ns)
{
    struct timespec until = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

/* The side that answers, or only receives, until told to stop. Does not return. */
static void serve(const struct sleep_way *way, int cpu, bool answers, struct account *account)
{
    double began, ended;
    long wakes;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(cpu);
    int code = way->join(1);
    uint64_t word = 0;
    bool eventfd = strcmp(way->name, "eventfd") == 0;
    if (!code)
        code = way->put(1, 0); /* I am here */
    usage_now(&began, &wakes);
    long first = wakes;
    while (!code && word != STOP) {
        code = way->get(1, &word);
        if (!code && answers && word != STOP)
            code = way->put(1, word);
        if (!code && eventfd && account->code == 1)
            break; /* it carries no word */
    }
    usage_now(&ended, &wakes);
    account->cpu_s = ended - began;
    account->wakes = wakes - first;
    way->leave(1);
    _exit(code ? 1 : 0);
}

static int start(const struct sleep_way *way, const struct options *options, bool answers, struct account *account,
                 pid_t *child)
{
    uint64_t word;
    *account = (struct account){ 0 };
    int code = way->begin();
    if (code)
        return code;
    *child = fork();
    if (*child == 0)
        serve(way, options->cpus[1], answers, account);
    pin(options->cpus[0]);
    code = *child < 0 ? -errno : way->join(0);
    return code ? code : way->get(0, &word);
}

static int finish(const struct sleep_way *way, struct account *account, pid_t child, int code)
{
    int status = 0;
    if (child > 0) {
        account->code = 1;
        if (code || way->put(0, STOP) != 0)
            kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    way->leave(0);
    way->end();
    return code ? code : status ? -EIO : 0;
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- wake ---- */

/* p50, p99, p99.9 of one contestant in one round, in us. */
static int measure_trips(const struct sleep_way *way, const struct options *options, struct account *account,
                         double quantiles[3])
{
    static double trips[MOST_TRIPS];
    pid_t child = -1;
    int code = start(way, options, true, account, &child);
    for (unsigned i = 0; i < options->trips && !code; i++) {
        uint64_t word, began;
        nap_until(bench_clock_ns() + 150000);
        began = bench_clock_ns();
        code = way->put(0, i);
        if (!code)
            code = way->get(0, &word);
        trips[i] = (double)(bench_clock_ns() - began) / 1e3;
    }
    code = finish(way, account, child, code);
    qsort(trips, options->trips, sizeof *trips, compare);
    static const double at[3] = { 0.5, 0.99, 0.999 };
    for (int i = 0; i < 3; i++)
        quantiles[i] = trips[(unsigned)(at[i] * (options->trips - 1))];
    return code;
}

static int wake(const struct options *options, struct account *account)
{
    static double figures[3][MOST_WAYS][MOST_ROUNDS];
    for (unsigned round = 0; round < options->rounds; round++)
        for (size_t way = 0; way < sleep_way_count; way++) {
            double quantiles[3];
            int code = measure_trips(&sleep_ways[way], options, account, quantiles);
            if (code) {
                fprintf(stderr, "ring-bench: %s: %s\n", sleep_ways[way].name, strerror(-code));
                return code;
            }
            for (int i = 0; i < 3; i++)
                figures[i][way][round] = quantiles[i];
        }
    printf("Round trip, both sides asleep: %u trips in each of %u rounds, us; ratio: to the futex of the same round\n",
           options->trips, options->rounds);
    printf("%-14s %8s %8s %8s %7s  %s\n", "", "p50", "p99", "p99.9", "ratio", "");
    double floor[MOST_ROUNDS];
    memcpy(floor, figures[0][0], sizeof floor);
    for (size_t way = 0; way < sleep_way_count; way++) {
        double ratios[MOST_ROUNDS];
        for (unsigned round = 0; round < options->rounds; round++)
            ratios[round] = figures[0][way][round] / floor[round];
        printf("%-14s %8.1f %8.1f %8.1f %7.3f  %s\n", sleep_ways[way].name, median(figures[0][way], options->rounds),
               median(figures[1][way], options->rounds), median(figures[2][way], options->rounds),
               median(ratios, options->rounds), sleep_ways[way].about);
    }
    return 0;
}

/* ---- idle ---- */

/* Percent of a processor, and wakes a second, of who waits for nothing. */
static int measure_idling(const struct sleep_way *way, const struct options *options, struct account *account)
{
    pid_t child = -1;
    int code = start(way, options, false, account, &child);
    if (!code)
        nap_until(bench_clock_ns() + (uint64_t)(options->seconds * 1e9));
    code = finish(way, account, child, code);
    if (!code)
        printf("%-14s %8.3f %10.1f", way->name, 100 * account->cpu_s / options->seconds,
               (double)account->wakes / options->seconds);
    return code;
}

/* Processor time of both sides for each message, in us, `rate` a second; 0: as fast as it goes, at most a second. */
static int measure_rate(const struct sleep_way *way, const struct options *options, struct account *account,
                        unsigned rate)
{
    pid_t child = -1;
    double began, ended, seconds = rate == 1 ? options->seconds : options->seconds / 4;
    long wakes;
    int code = start(way, options, false, account, &child);
    usage_now(&began, &wakes);
    uint64_t sent = 0, first = bench_clock_ns(), last = first + (uint64_t)(seconds * 1e9);
    for (uint64_t now = first; !code && now < last; sent++) {
        if (rate)
            nap_until(first + sent * 1000000000u / rate);
        code = way->put(0, sent);
        now = rate || sent % 64 == 0 ? bench_clock_ns() : now;
    }
    usage_now(&ended, &wakes);
    code = finish(way, account, child, code);
    if (!code)
        printf(" %9.3f", 1e6 * (ended - began + account->cpu_s) / (double)sent);
    return code;
}

static int idle(const struct options *options, struct account *account)
{
    static const unsigned rates[] = { 1, 10, 100, 1000, 10000, 0 };
    printf("Waiting for nothing, %.1f s; then processor time of both sides for each message, us, at that rate\n",
           options->seconds);
    printf("%-14s %8s %10s %9s %9s %9s %9s %9s %9s\n", "", "% of cpu", "wakes/s", "1/s", "10/s", "100/s", "1000/s",
           "10000/s", "most");
    for (size_t way = 0; way < sleep_way_count; way++) {
        int code = measure_idling(&sleep_ways[way], options, account);
        for (size_t i = 0; i < sizeof rates / sizeof *rates && !code; i++)
            if (rates[i] == 0 && strncmp(sleep_ways[way].name, "futex", 5) == 0)
                printf(" %9s", "-"); /* one word at a time: it would overwrite */
            else
                code = measure_rate(&sleep_ways[way], options, account, rates[i]);
        puts("");
        if (code) {
            fprintf(stderr, "ring-bench: %s: %s\n", sleep_ways[way].name, strerror(-code));
            return code;
        }
        fflush(stdout);
    }
    return 0;
}

/* ---- Command line ---- */

static const struct argp_option argp_options[] = {
    { "rounds", 'r', "N", 0, "wake: rounds, in each of which all take a turn (default 9)", 0 },
    { "trips", 't', "N", 0, "wake: round trips of each in each round (default 1000)", 0 },
    { "seconds", 's', "S", 0, "idle: seconds of idling; a quarter of it at each rate (default 2)", 0 },
    { "cpus", 'c', "A,B", 0, "processors of the two processes (default 0,1)", 0 },
    { 0 },
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    char *rest = NULL;
    switch (key) {
    case 'r':
        options->rounds = (unsigned)strtoul(argument, &rest, 10);
        if (*rest || !options->rounds || options->rounds > MOST_ROUNDS)
            argp_error(state, "'%s': 1 to %d rounds", argument, MOST_ROUNDS);
        return 0;
    case 't':
        options->trips = (unsigned)strtoul(argument, &rest, 10);
        if (*rest || !options->trips || options->trips > MOST_TRIPS)
            argp_error(state, "'%s': 1 to %d trips", argument, MOST_TRIPS);
        return 0;
    case 's':
        options->seconds = strtod(argument, &rest);
        if (*rest || !(options->seconds > 0 && options->seconds <= 100))
            argp_error(state, "'%s': seconds, up to 100", argument);
        return 0;
    case 'c':
        if (sscanf(argument, "%d,%d", &options->cpus[0], &options->cpus[1]) != 2 || options->cpus[0] < 0 ||
            options->cpus[1] < 0 || options->cpus[0] >= CPU_SETSIZE || options->cpus[1] >= CPU_SETSIZE)
            argp_error(state, "'%s': two processors, as 0,1", argument);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is too much", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int sleep_main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse,
        .doc = "wake: how long it takes to wake who sleeps. idle: what waiting costs the processors.",
    };
    struct options options = { strcmp(argv[0], "idle") == 0, 9, 1000, 2, { 0, 1 } };
    static char wake_name[] = "ring-bench wake", idle_name[] = "ring-bench idle";
    argv[0] = options.idle ? idle_name : wake_name;
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &options))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct account *account = mmap(NULL, sizeof *account, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (account == MAP_FAILED)
        return 1;
    return (options.idle ? idle(&options, account) : wake(&options, account)) ? 1 : 0;
}
