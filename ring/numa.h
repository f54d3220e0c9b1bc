/* numa.h - level 2, private: which nodes there are, where pages shall go, where they really are (libnuma).
 *
 * A node is a number from 0 on, or one of the wishes below, which are those of segment.h. Built without libnuma,
 * placement is refused with -EOPNOTSUPP and every question is answered "unknown". */
#ifndef RING_NUMA_H
#define RING_NUMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <ring/platform.h>

/* What older headers lack. */
#ifndef MADV_COLLAPSE /* Linux 6.1 */
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define RING_NUMA_ANY         (-1)
#define RING_NUMA_MIXED       (-2)
#define RING_NUMA_UNKNOWN     (-3)
#define RING_NUMA_HERE        (-4)
#define RING_NUMA_INTERLEAVED (-5)
#define RING_NUMA_MOST        64 /* nodes that are counted one by one */

/* A range of a mapping of shared memory. Both ends are multiples of the granule, which pages never straddle: the size
 * of the pages, 2 MiB where ordinary ones are to be joined to such. */
struct ring_numa_range {
    unsigned char *address;
    size_t bytes;
    size_t granule;
    size_t huge;    /* size of pages that were set aside (hugetlbfs), 0: ordinary ones */
    bool join;      /* ordinary pages that shall be joined to 2 MiB pages */
    bool locked;    /* mlock was asked for */
    bool read_only; /* mapped for reading only: it can be filled, not placed */
};

/* How many pages (of the machine's ordinary size) of a range lie on each node. */
struct ring_numa_census {
    uint64_t on_node[RING_NUMA_MOST];
    uint64_t elsewhere; /* on nodes with higher numbers */
    uint64_t absent;    /* not in memory, or not asked for by this process yet */
    uint64_t unknown;   /* the kernel does not tell */
};

/* RING_NUMA_HERE as the node of the calling thread's processor (RING_NUMA_ANY where there are no nodes); all others as
 * they are. */
RING_PRIVATE int ring_numa_resolve(int node);

/* The node of a processor, or RING_NUMA_UNKNOWN. */
RING_PRIVATE int ring_numa_of_cpu(int cpu);

/* Is there such a node, with memory that this process may use? -EOPNOTSUPP, and a sentence. */
RING_PRIVATE int ring_numa_check(int node);

/* The same, with so much of it free, in pages of that size that were set aside (0: ordinary ones)? -ENOMEM; asked
 * before pages are bound to a node, because a process that touches a page of a full node is killed. */
RING_PRIVATE int ring_numa_check_room(int node, size_t bytes, size_t huge);

/* Says where pages of the range shall be made from now on, by whichever process; those that are there stay where they
 * are. It is the shared object that keeps this, not the mapping. -EOPNOTSUPP: no such node, or no NUMA; -ENOMEM; else
 * the errno of mbind. Leaves a sentence. RING_NUMA_ANY: as the machine likes, never fails. */
RING_PRIVATE int ring_numa_bind(const struct ring_numa_range *range, int node);

/* Puts pages where the wish says: binds, and moves those that are there already. The range must be nobody's: what was
 * in it is lost. Afterwards all its pages are there, wherever they are. -EXDEV: not all of them could be had where they
 * shall be; -ENOSPC: the object's file system has no room; else as ring_numa_bind. */
RING_PRIVATE int ring_numa_place(const struct ring_numa_range *range, int node);

/* Makes all pages of a range be there, and joins them if asked for. -ENOSPC. */
RING_PRIVATE int ring_numa_fill(const struct ring_numa_range *range);

/* Asks the kernel for every page. */
RING_PRIVATE void ring_numa_count(const void *address, size_t bytes, struct ring_numa_census *census);

/* Bytes of a range that are mapped by pages larger than the ordinary ones, on each node. False: the kernel, older than
 * 6.7, does not tell. */
RING_PRIVATE bool ring_numa_count_huge(const void *address, size_t bytes, uint64_t on_node[RING_NUMA_MOST]);

/* Do all pages of a range lie as the wish says? Interleaved: for each node as many granules, or one more. */
RING_PRIVATE bool ring_numa_is_placed(const struct ring_numa_range *range, int node);

/* The node that holds all of the mapping's present pages, RING_NUMA_MIXED or RING_NUMA_UNKNOWN. */
RING_PRIVATE int ring_numa_node_of(const void *address, size_t bytes);

#endif
