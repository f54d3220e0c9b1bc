/* registry_contestants.h - ways to find an end by name, for ring-bench-registry. */
#ifndef BENCH_REGISTRY_CONTESTANTS_H
#define BENCH_REGISTRY_CONTESTANTS_H

#include <stdbool.h>
#include <stdint.h>

enum { LOOKUPS = 64 }; /* of one call */

struct contestant {
    const char *name;
    int against; /* index of the first of the locked tables that do the same job: readers first, then writers first */
    uint64_t (*look_up)(const uint32_t sequence[LOOKUPS]); /* how many were found */
    void (*come)(unsigned i);
    void (*go)(unsigned i);
};

enum { LOADS_ALONE = 2, CONTESTANTS = 9, NAMES_MOST = 10000 };
extern const struct contestant contestants[CONTESTANTS];

/* Names 0 to NAMES_MOST - 1, none attached. */
void contestants_begin(void);
void contestants_end(void);

/* Ends the program with that sentence, unless all is good. */
void need(bool good, const char *what);

#endif
