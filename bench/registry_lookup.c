/* registry_lookup.c - ring-bench-registry: what it costs to look an end up by name, from several threads at once, while
 * names come and go; against a hash table behind a pthread_rwlock that does the same.
 *
 * Contestants run in turn within each round; shown are medians over the rounds, and medians of same-round ratios: to
 * the faster of two locked tables (of look-ups by a name opened before to such look-ups, of look-ups by text to those),
 * and to loads alone, the memory's limit. Each look-up picks the next of a random sequence of names. Another thread
 * detaches and attaches names of the same set: not at all, 10000 changes a second, or without a pause; or as -c says.
 */
#include <ring/registry.h>

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "registry_contestants.h"
#include "registry_flavours.h"

enum { LOOKERS_MOST = 64, SEQUENCE = 16384, ROUNDS_MOST = 99 };

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static unsigned lookers_wanted = 2;
static unsigned registered, drawn; /* names attached at rest; names looked up: the same, or 1 that is not there */

/* ---- One measurement ---- */

struct looker {
    const struct contestant *contestant;
    uint64_t seed;
    uint64_t lookups, hits, sleeps;
    double seconds;
};

static atomic_bool over, go;
static double churn_gap_s; /* between two changes; negative: none at all */
static uint64_t changes, sleeps;

static void *look(void *argument)
{
    struct looker *looker = argument;
    static _Thread_local uint32_t sequence[SEQUENCE];
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET(looker->seed % 2, &cpu);
    pthread_setaffinity_np(pthread_self(), sizeof cpu, &cpu); /* where refused: wherever the kernel puts it */
    uint64_t state = looker->seed * 7919 + 1, count = 0, hits = 0;
    for (unsigned i = 0; i < SEQUENCE; i++)
        sequence[i] = (uint32_t)(next_random(&state) % drawn);
    uint64_t (*look_up)(const uint32_t *) = looker->contestant->look_up;
    struct rusage before, after;
    while (!atomic_load_explicit(&go, memory_order_acquire))
        sched_yield();
    getrusage(RUSAGE_THREAD, &before);
    double start = now_s();
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        for (unsigned i = 0; i < 4; i++, count += LOOKUPS)
            hits += look_up(sequence + count % SEQUENCE);
    looker->seconds = now_s() - start;
    getrusage(RUSAGE_THREAD, &after);
    looker->sleeps = (uint64_t)(after.ru_nvcsw - before.ru_nvcsw);
    looker->lookups = count;
    looker->hits = hits;
    return NULL;
}

static void *churn(void *argument)
{
    const struct contestant *contestant = argument;
    uint64_t state = 99;
    double next = now_s();
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        unsigned i = (unsigned)(next_random(&state) % registered);
        contestant->go(i);
        contestant->come(i);
        changes += 2;
        next += 2 * churn_gap_s;
        double ahead = next - now_s();
        if (churn_gap_s > 0 && ahead > 0) {
            struct timespec nap = { .tv_nsec = ahead < 1e-3 ? 1000000 : ahead < 0.1 ? (long)(ahead * 1e9) : 100000000 };
            nanosleep(&nap, NULL); /* a millisecond at least, then some at once */
        }
    }
    return NULL;
}

/* Look-ups a second, of all threads together. */
static double measure(const struct contestant *contestant, double seconds)
{
    pthread_t lookers[LOOKERS_MOST], churner;
    struct looker place[LOOKERS_MOST];
    bool churns = churn_gap_s >= 0 && registered;
    double rate = 0;
    changes = sleeps = 0;
    for (unsigned i = 0; i < registered; i++)
        contestant->come(i);
    atomic_store(&over, false);
    atomic_store(&go, false);
    for (unsigned i = 0; i < lookers_wanted; i++) {
        place[i] = (struct looker){ .contestant = contestant, .seed = i };
        need(pthread_create(&lookers[i], NULL, look, &place[i]) == 0, "no thread");
    }
    if (churns)
        need(pthread_create(&churner, NULL, churn, (void *)(uintptr_t)contestant) == 0, "no thread");
    atomic_store(&go, true);
    struct timespec nap = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&nap, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < lookers_wanted; i++) {
        pthread_join(lookers[i], NULL);
        rate += (double)place[i].lookups / place[i].seconds;
        sleeps += place[i].sleeps;
        if (!churns)
            need(place[i].hits == (registered ? place[i].lookups : 0),
                 "a name was not found, or one that is not there");
    }
    if (churns)
        pthread_join(churner, NULL);
    for (unsigned i = 0; i < registered; i++)
        contestant->go(i);
    ring_registry_settle();
    return rate;
}

/* ---- Many of them ---- */

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct results {
    double rate[ROUNDS_MOST], times[ROUNDS_MOST], share[ROUNDS_MOST], changes[ROUNDS_MOST], sleeps[ROUNDS_MOST];
};

static void print(const struct contestant *contestant, struct results *of, unsigned rounds)
{
    double rate = median(of->rate, rounds), times = median(of->times, rounds); /* and sorts them */
    printf("%6u  %9.0f  %-31s  %7.1f  %7.1f  %6.1f  (%.1f .. %.1f)  %4.0f %%  %8.0f\n", registered,
           median(of->changes, rounds), contestant->name, rate / 1e6, 1e9 * lookers_wanted / rate, times, of->times[0],
           of->times[rounds - 1], 100 * median(of->share, rounds), median(of->sleeps, rounds));
}

static void run_case(unsigned names, double gap_s, unsigned rounds, double seconds)
{
    static struct results results[CONTESTANTS];
    registered = names;
    drawn = names ? names : 1;
    churn_gap_s = gap_s;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned k = 0; k < CONTESTANTS; k++) {
            results[k].rate[round] = measure(&contestants[k], seconds);
            results[k].changes[round] = (double)changes / seconds;
            results[k].sleeps[round] = (double)sleeps / seconds;
        }
        for (unsigned k = 0; k < CONTESTANTS; k++) {
            double first = results[contestants[k].against].rate[round];
            double second = results[contestants[k].against + 1].rate[round];
            results[k].times[round] = results[k].rate[round] / (first > second ? first : second);
            results[k].share[round] = results[k].rate[round] / results[LOADS_ALONE].rate[round];
        }
    }
    for (unsigned k = 0; k < CONTESTANTS; k++)
        print(&contestants[k], &results[k], rounds);
    fflush(stdout);
}

static const char usage[] =
    "ring-bench-registry [-r ROUNDS] [-s SECONDS] [-t THREADS] [-n NAMES] [-c CHANGES_A_SECOND]\n"
    "What it costs to look an end up by name while names come and go, against a hash table behind a pthread_rwlock.\n"
    "  -r ROUNDS            1 .. 99, default 5\n"
    "  -s SECONDS           for each contestant in each round, default 0.2\n"
    "  -t THREADS           that look names up, 1 .. 64, default 2\n"
    "  -n NAMES             attached, up to 10000; default 0, 1, 100 and 10000 one after the other\n"
    "  -c CHANGES_A_SECOND  0, or 10 and more; default none, 10000 and without a pause one after the other\n"
    "Exit status: 0 done, 1 something failed, 2 wrong usage.\n";

int main(int argc, char **argv)
{
    static const struct option help[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    unsigned sizes[] = { 0, 1, 100, NAMES_MOST }, size_count = 4, gap_count = 3, rounds = 5;
    double gaps[] = { -1, 1e-4, 0 }, seconds = 0.2;
    for (int option; (option = getopt_long(argc, argv, "r:s:t:c:n:h", help, NULL)) != -1;) {
        if (option == 'h')
            return fputs(usage, stdout) < 0;
        rounds = option == 'r' ? (unsigned)atoi(optarg) : rounds;
        seconds = option == 's' ? atof(optarg) : seconds;
        lookers_wanted = option == 't' ? (unsigned)atoi(optarg) : lookers_wanted;
        if (option == 'n') {
            sizes[0] = (unsigned)atoi(optarg);
            size_count = 1;
        } else if (option == 'c') {
            gaps[0] = atof(optarg) > 0 ? 1 / atof(optarg) : -1;
            gap_count = 1;
        }
        if (option == '?' || rounds < 1 || rounds > ROUNDS_MOST || !(seconds > 0 && seconds < 60) ||
            lookers_wanted < 1 || lookers_wanted > LOOKERS_MOST || sizes[0] > NAMES_MOST || gaps[0] > 0.1) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    contestants_begin();
    flavours_print();
    printf(
        "\n%u threads, medians of %u rounds: look-ups, times those of the faster rwlock table, share of loads alone; "
        "sleeps of who looks up\n names  changes/s  contestant                       M/s all  ns each   times  "
        "(least .. most)  share  sleeps/s\n",
        lookers_wanted, rounds);
    for (unsigned gap = 0; gap < gap_count; gap++)
        for (unsigned size = 0; size < size_count; size++)
            if (sizes[size] || gaps[gap] < 0)
                run_case(sizes[size], gaps[gap], rounds, seconds);
    contestants_end();
    return 0;
}
