/* contestants.h - who is built in, who was left out of the build, and who was asked for. */
#ifndef BENCH_CONTESTANTS_H
#define BENCH_CONTESTANTS_H

#include <stdio.h>

#include "transport.h"

#define CONTESTANTS_MOST 64

/* All that registered, by rank and name. Sets *count. */
const struct transport *const *contestants(size_t *count);

/* One that this build lacks, and the Debian package that brings it; false: there are no more. */
bool contestant_left_out(size_t at, const char **label, const char **package);

/* Is `name` in `only`, a list with commas (NULL: everybody is)? Case does not matter. */
bool contestant_wanted(const char *name, const char *only);

/* The first entry of `only` that names nobody, copied to `entry`; false: all are known. */
bool contestant_unknown(const char *only, char *entry, size_t size);

void contestants_print(FILE *file);

#endif
