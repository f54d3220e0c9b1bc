/* numa.h - level 2, private: which nodes there are, where pages shall go, where they really are (libnuma).
 *
 * Built without libnuma, placement is refused with -EOPNOTSUPP and every question is answered RING_NUMA_UNKNOWN. */
#ifndef RING_NUMA_H
#define RING_NUMA_H

#include <stddef.h>

#include <ring/platform.h>

#define RING_NUMA_MIXED   (-2)
#define RING_NUMA_UNKNOWN (-3)

/* Binds a mapping's pages to a node, before they are first touched. -EOPNOTSUPP: no such node, or no NUMA; else the
 * errno of mbind. Leaves a sentence. */
RING_PRIVATE int ring_numa_bind(void *address, size_t bytes, int node);

/* The node that holds all of the mapping's present pages, RING_NUMA_MIXED or RING_NUMA_UNKNOWN. Asks the kernel for
 * each page, up to 4096 of them evenly spread. */
RING_PRIVATE int ring_numa_node_of(const void *address, size_t bytes);

#endif
