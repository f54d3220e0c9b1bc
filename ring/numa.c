/* numa.c - level 2: placement by mbind before the first touch, verified by move_pages. */
#include <ring/numa.h>

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include <ring/error.h>

#ifdef RING_HAVE_LIBNUMA

#include <numa.h>
#include <numaif.h>

int ring_numa_bind(void *address, size_t bytes, int node)
{
    if (numa_available() < 0)
        return ring_error(-EOPNOTSUPP, "node %d was asked for, but this kernel has no NUMA support: leave the node out",
                          node);
    if (node > numa_max_node() || !numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node))
        return ring_error(-EOPNOTSUPP,
                          "there is no NUMA node %d with memory here (highest: %d): see 'numactl --hardware'", node,
                          numa_max_node());
    struct bitmask *nodes = numa_allocate_nodemask();
    numa_bitmask_setbit(nodes, (unsigned)node);
    long refused = mbind(address, bytes, MPOL_BIND, nodes->maskp, nodes->size + 1, MPOL_MF_MOVE);
    int code = refused ? -errno : 0;
    numa_free_nodemask(nodes);
    return code ? ring_error(code, "the kernel refused to place the segment on node %d: check the process's cpuset",
                             node)
                : 0;
}

int ring_numa_node_of(const void *address, size_t bytes)
{
    enum { AT_ONCE = 64, AT_MOST = 4096 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = bytes / page;
    size_t step = pages > AT_MOST ? pages / AT_MOST : 1;
    int found = RING_NUMA_UNKNOWN;
    if (numa_available() < 0)
        return found;
    for (size_t at = 0; at < pages;) {
        void *asked[AT_ONCE];
        int status[AT_ONCE];
        unsigned long count = 0;
        for (; count < AT_ONCE && at < pages; at += step)
            asked[count++] = (void *)((uintptr_t)address + at * page);
        if (move_pages(0, count, asked, NULL, status, 0) != 0)
            return RING_NUMA_UNKNOWN;
        for (unsigned long i = 0; i < count; i++) {
            if (status[i] < 0)
                continue; /* not present: on no node */
            if (found != RING_NUMA_UNKNOWN && found != status[i])
                return RING_NUMA_MIXED;
            found = status[i];
        }
    }
    return found;
}

#else

int ring_numa_bind(void *address, size_t bytes, int node)
{
    (void)address;
    (void)bytes;
    return ring_error(-EOPNOTSUPP,
                      "node %d was asked for, but shmring was built without libnuma: install libnuma-dev "
                      "and build again, or leave the node out",
                      node);
}

int ring_numa_node_of(const void *address, size_t bytes)
{
    (void)address;
    (void)bytes;
    return RING_NUMA_UNKNOWN;
}

#endif
