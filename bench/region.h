/* region.h - anonymous shared memory that the engine gives to contestants and to its own two sides. */
#ifndef BENCH_REGION_H
#define BENCH_REGION_H

#include <stdbool.h>
#include <stddef.h>

/* Shared, zeroed, populated; with 2 MiB pages if wanted and possible. Sets *bytes to what was mapped. NULL: errno
 * tells. */
void *region_map(size_t *bytes, bool huge);

/* In a child after fork: brings the pages in, so that no fault is left for the measurement. */
void region_touch(void *region, size_t bytes, bool huge);

void region_unmap(void *region, size_t bytes);

#endif
