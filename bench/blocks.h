/* blocks.h - ring-bench blocks: what memory in a segment costs that is not copied.
 *
 * blocks.c reads the command line, has the contestants take turns, and prints; blocks_pairs.c allocates and frees;
 * blocks_move.c moves frames between two processes; peers/blocks_boost.cc is boost.interprocess's allocator. */
#ifndef BENCH_BLOCKS_H
#define BENCH_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Pairs of allocate and free, one process ---- */

struct pairs_contestant {
    const char *name;
    const char *about;
    int (*begin)(size_t bytes); /* 0 or -errno */
    /* Allocates `held` blocks of that many bytes, writes into each, frees them; `times` over. 0 or -errno. */
    int (*run)(size_t bytes, unsigned held, uint64_t times);
    void (*end)(void);
};

extern const struct pairs_contestant pairs_contestants[];
extern const size_t pairs_count;
extern const struct pairs_contestant pairs_boost;

/* ---- Frames from one process to another ---- */

enum move_variant { MOVE_FULL, MOVE_TOUCHED, MOVE_HANDLE, MOVE_VARIANTS };

struct move_contestant {
    const char *name;
    const char *about;
};

extern const struct move_contestant move_contestants[];
extern const size_t move_count;

/* Frames a second in *rate; 0 or -errno. */
int move_run(size_t contestant, enum move_variant variant, size_t bytes, double seconds, const int cpus[2],
             double *rate);

/* A name for a segment of this process. */
void blocks_name(char *name, size_t size, const char *what);

int blocks_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
