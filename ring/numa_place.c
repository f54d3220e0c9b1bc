/* numa_place.c - level 2: putting pages of shared memory on nodes, and filling them.
 *
 * The pages of a segment exist from its creation on, so a ring that is made later finds pages that lie somewhere. They
 * are nobody's then (allocator.c), and are put where they are wanted in three steps, each only if it is needed still:
 * a policy for the range, which the kernel keeps with the shared object, so it holds for whoever touches a page later;
 * moving (mbind with MPOL_MF_MOVE_ALL, or without that privilege MPOL_MF_MOVE), which the kernel does only while no
 * other process has the page mapped, or for the privileged; and last, giving the pages back to the kernel
 * (MADV_REMOVE) and asking for new ones. Between the last two the range is a hole: who dies there leaves it to the next
 * maker, who begins by filling what he was given, without ever touching a page that could not be had
 * (MADV_POPULATE_WRITE answers with an error where a touch would kill).
 *
 * Interleaving is by granule. Ordinary pages: MPOL_INTERLEAVE. Granules of 2 MiB are bound one by one, in turn: left to
 * the kernel, joining would gather each 2 MiB on one node, and all of them on the same.
 */
#include <ring/numa.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ring/error.h>

static int populate(const struct ring_numa_range *range)
{
    int how = range->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    int result;
    do
        result = madvise(range->address, range->bytes, how);
    while (result != 0 && (errno == EINTR || errno == EAGAIN));
    if (result == 0 || errno == EINVAL) /* a kernel before 5.14: there nothing is ever given back, either */
        return 0;
    return ring_error(-ENOSPC, "no room for %zu KiB of the segment's pages (%s): see 'df /dev/shm'", range->bytes >> 10,
                      strerror(errno));
}

int ring_numa_fill(const struct ring_numa_range *range)
{
    int code = populate(range);
    if (code || !range->join)
        return code;
    if (madvise(range->address, range->bytes, MADV_COLLAPSE) != 0)
        return 0;           /* the same bytes in smaller pages: info tells */
    return populate(range); /* joining may have unmapped what it moved */
}

#ifdef RING_HAVE_LIBNUMA

#include <numa.h>
#include <numaif.h>

/* mbind does nothing for a mapping that has the policy already; but it is the object's that counts, which another
 * process may have changed since. So the mapping is given another one first. The range is nobody's, so nobody sees
 * that. */
static int bind_part(unsigned char *address, size_t bytes, int policy, int node, int flags)
{
    if (policy == MPOL_DEFAULT) {
        (void)mbind(address, bytes, MPOL_PREFERRED, NULL, 0, 0);
        return mbind(address, bytes, MPOL_DEFAULT, NULL, 0, 0) ? -errno : 0;
    }
    struct bitmask *nodes = numa_allocate_nodemask();
    if (policy == MPOL_INTERLEAVE)
        copy_bitmask_to_bitmask(numa_all_nodes_ptr, nodes);
    else
        numa_bitmask_setbit(nodes, (unsigned)node);
    (void)mbind(address, bytes, MPOL_DEFAULT, NULL, 0, 0);
    int code = mbind(address, bytes, policy, nodes->maskp, nodes->size + 1, (unsigned)flags) ? -errno : 0;
    numa_free_nodemask(nodes);
    return code;
}

/* The node of a granule of an interleaved range. */
static int node_in_turn(size_t index)
{
    unsigned count = numa_bitmask_weight(numa_all_nodes_ptr);
    size_t left = count ? index % count : 0;
    for (int node = 0; node <= numa_max_node(); node++)
        if (numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node) && left-- == 0)
            return node;
    return 0;
}

static int bind_all(const struct ring_numa_range *range, int node, int flags)
{
    bool one_by_one = node == RING_NUMA_INTERLEAVED && range->granule > (size_t)sysconf(_SC_PAGESIZE);
    if (node == RING_NUMA_ANY)
        return bind_part(range->address, range->bytes, MPOL_DEFAULT, 0, 0);
    if (!one_by_one)
        return bind_part(range->address, range->bytes, node < 0 ? MPOL_INTERLEAVE : MPOL_BIND, node, flags);
    int code = 0;
    for (size_t at = 0; at < range->bytes; at += range->granule) {
        int result =
            bind_part(range->address + at, range->granule, MPOL_BIND, node_in_turn(at / range->granule), flags);
        code = code ? code : result;
    }
    return code;
}

int ring_numa_bind(const struct ring_numa_range *range, int node)
{
    if (node == RING_NUMA_ANY) {
        if (numa_available() >= 0 && numa_max_node() > 0)
            (void)bind_all(range, node, 0);
        return 0;
    }
    int code = ring_numa_check_room(node, range->bytes, range->huge);
    if (code)
        return code;
    code = bind_all(range, node, 0);
    return code ? ring_error(code, "the kernel refused to place memory on node %d (%s): check the process's cpuset",
                             node, strerror(-code))
                : 0;
}

static bool is_even(const struct ring_numa_range *range)
{
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    struct ring_numa_census census;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ring_numa_count(range->address, range->bytes, &census);
    for (int node = 0; node <= numa_max_node() && node < RING_NUMA_MOST; node++) {
        if (!numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node))
            continue;
        least = census.on_node[node] < least ? census.on_node[node] : least;
        most = census.on_node[node] > most ? census.on_node[node] : most;
    }
    return census.absent + census.unknown + census.elsewhere == 0 && (most - least) * page <= range->granule;
}

bool ring_numa_is_placed(const struct ring_numa_range *range, int node)
{
    if (node == RING_NUMA_ANY)
        return true;
    if (node == RING_NUMA_INTERLEAVED)
        return is_even(range);
    struct ring_numa_census census;
    ring_numa_count(range->address, range->bytes, &census);
    return node < RING_NUMA_MOST && census.on_node[node] == range->bytes / (size_t)sysconf(_SC_PAGESIZE);
}

/* Gives the pages back and asks for new ones; for memory that is no file this is refused, and it stays. */
static int make_anew(const struct ring_numa_range *range)
{
    if (range->locked)
        munlock(range->address, range->bytes); /* what is locked is not given back */
    (void)madvise(range->address, range->bytes, MADV_REMOVE);
    int code = ring_numa_fill(range);
    if (range->locked && !code)
        (void)mlock(range->address, range->bytes); /* it was granted before; info tells */
    return code;
}

int ring_numa_place(const struct ring_numa_range *range, int node)
{
    if (node == RING_NUMA_ANY) {
        ring_numa_bind(range, node);
        return ring_numa_fill(range);
    }
    int code = ring_numa_check(node);
    int filled = ring_numa_fill(range);
    if (filled || code)
        return filled ? filled : code;
    bool placed = ring_numa_is_placed(range, node);
    code = placed ? bind_all(range, node, 0) : ring_numa_bind(range, node);
    if (placed || code)
        return code;
    if (bind_all(range, node, MPOL_MF_MOVE_ALL) == -EPERM)
        (void)bind_all(range, node, MPOL_MF_MOVE);
    filled = ring_numa_is_placed(range, node) ? ring_numa_fill(range) : make_anew(range);
    if (filled || ring_numa_is_placed(range, node))
        return filled;
    return ring_error(-EXDEV,
                      "not all of %zu KiB could be had on node %d: other memory is locked there, or another process "
                      "has it mapped",
                      range->bytes >> 10, node);
}

#else

int ring_numa_bind(const struct ring_numa_range *range, int node)
{
    (void)range;
    return node == RING_NUMA_ANY ? 0 : ring_numa_check(node);
}

bool ring_numa_is_placed(const struct ring_numa_range *range, int node)
{
    (void)range;
    return node == RING_NUMA_ANY;
}

int ring_numa_place(const struct ring_numa_range *range, int node)
{
    int code = ring_numa_bind(range, node);
    int filled = ring_numa_fill(range);
    return filled ? filled : code;
}

#endif
