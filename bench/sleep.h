/* sleep.h - ring-bench wake, ring-bench idle: two processes that sleep until the other sends.
 *
 * sleep.c is the command line; sleep_pair.c the two processes; sleep_wake.c and sleep_idle.c have the contestants take
 * turns, and tell; sleep_ways.c are the contestants: 8-byte words there and back. */
#ifndef BENCH_SLEEP_H
#define BENCH_SLEEP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SLEEP_MOST_ROUNDS = 100, SLEEP_MOST_WAYS = 16, SLEEP_MOST_TRIPS = 100000 };

/* Side 0 sends there and receives from back, side 1 the reverse. All return 0 or -errno. */
struct sleep_way {
    const char *name;
    const char *about;
    int (*begin)(void);    /* before the fork */
    int (*join)(int side); /* after it, in each process */
    void (*hide)(void);    /* both have joined: nothing of it needs a name any more, that a Ctrl-C would leave */
    int (*put)(int side, uint64_t word);
    int (*get)(int side, uint64_t *word); /* sleeps until one comes */
    void (*leave)(int side);
    void (*end)(void); /* in the process that began */
};

extern const struct sleep_way sleep_ways[]; /* the first is the floor */
extern const size_t sleep_way_count;

struct sleep_options {
    unsigned rounds, trips;
    double seconds;
    int cpus[2];
    bool json;
    bool only_idling; /* idle: nothing is sent */
    bool chosen[SLEEP_MOST_WAYS]; /* who takes part */
};

/* ---- sleep_pair.c ---- */

/* What the other process tells, in shared memory, once it has ended. */
struct sleep_account {
    double cpu_s;
    long wakes; /* voluntary switches */
};

struct sleep_pair {
    const struct sleep_way *way;
    struct sleep_account *account;
    pid_t child;
};

/* Starts the other side, on options->cpus[1]; this process goes to cpus[0]. It answers each word, or only receives. */
int sleep_pair_start(struct sleep_pair *pair, const struct sleep_way *way, const struct sleep_options *options,
                     bool answers);

/* Ends it; `code` is what became of the measurement. */
int sleep_pair_finish(struct sleep_pair *pair, int code);

void sleep_usage(double *cpu_s, long *wakes); /* of this process so far */
void sleep_until(uint64_t ns);                /* bench_clock_ns() */

/* ---- The two commands. 0 or -errno, after a sentence on stderr. ---- */

int sleep_wake(const struct sleep_options *options);
int sleep_idle(const struct sleep_options *options);

/* Prints the document and gives it back; NULL: memory ran out. 0 or -EIO. */
int sleep_print_json(json_t *document);

/* "wake" or "idle" and what follows. Exit status 0, 1 or 2. */
int sleep_main(int argc, char **argv);

#endif
