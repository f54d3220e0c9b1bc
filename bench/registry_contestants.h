/* registry_contestants.h - ways to find an end by name, for ring-bench-registry. */
#ifndef BENCH_REGISTRY_CONTESTANTS_H
#define BENCH_REGISTRY_CONTESTANTS_H

#include <stdbool.h>
#include <stdint.h>

enum { LOOKUPS = 64 }; /* of one call */

struct contestant {
    const char *name;
    int against;                                           /* index of the locked table that does the same job */
    bool churns;                                           /* names may come and go meanwhile */
    uint64_t (*look_up)(const uint32_t sequence[LOOKUPS]); /* how many were found */
    void (*come)(unsigned i);
    void (*go)(unsigned i);
};

enum { CONTESTANTS = 7 };
extern const struct contestant contestants[CONTESTANTS];

/* Names 0 to count - 1, none attached. */
void contestants_begin(unsigned count);
void contestants_end(void);

/* Ends the program with that sentence, unless all is good. */
void need(bool good, const char *what);

#endif
