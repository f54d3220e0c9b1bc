/* sleep.h - ring-bench wake, ring-bench idle: two processes that sleep until the other sends.
 *
 * sleep.c has the contestants take turns and prints; sleep_ways.c are the contestants: 8-byte words there and back. */
#ifndef BENCH_SLEEP_H
#define BENCH_SLEEP_H

#include <stddef.h>
#include <stdint.h>

/* Side 0 sends there and receives from back, side 1 the reverse. All return 0 or -errno. */
struct sleep_way {
    const char *name;
    const char *about;
    int (*begin)(void);    /* before the fork */
    int (*join)(int side); /* after it, in each process */
    int (*put)(int side, uint64_t word);
    int (*get)(int side, uint64_t *word); /* sleeps until one comes */
    void (*leave)(int side);
    void (*end)(void); /* in the process that began */
};

extern const struct sleep_way sleep_ways[];
extern const size_t sleep_way_count;

/* "wake" or "idle" and what follows. Exit status 0, 1 or 2. */
int sleep_main(int argc, char **argv);

#endif
