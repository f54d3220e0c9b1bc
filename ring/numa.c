/* numa.c - level 2: the nodes of this machine, and where pages are (move_pages without moving). Placing: numa_place.c.
 */
#include <ring/numa.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ring/error.h>

#ifdef RING_HAVE_LIBNUMA

#include <numa.h>
#include <numaif.h>

int ring_numa_of_cpu(int cpu)
{
    if (numa_available() < 0)
        return RING_NUMA_UNKNOWN;
    int node = numa_node_of_cpu(cpu);
    return node < 0 ? RING_NUMA_UNKNOWN : node;
}

static bool is_usable(int node)
{
    return node >= 0 && node <= numa_max_node() && numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node);
}

/* The nearest node that has memory, for the advice. */
static int nearest_to(int node)
{
    int best = -1;
    for (int other = 0; other <= numa_max_node(); other++)
        if (is_usable(other) && (best < 0 || numa_distance(node, other) < numa_distance(node, best)))
            best = other;
    return best;
}

int ring_numa_check(int node)
{
    if (numa_available() < 0)
        return ring_error(-EOPNOTSUPP, "a NUMA node was asked for, but this kernel has no NUMA support: leave it out");
    if (node == RING_NUMA_INTERLEAVED || is_usable(node))
        return 0;
    if (node < 0 || node > numa_max_node() || !numa_bitmask_isbitset(numa_nodes_ptr, (unsigned)node))
        return ring_error(-EOPNOTSUPP, "there is no NUMA node %d here (highest: %d): see 'numactl --hardware'", node,
                          numa_max_node());
    return ring_error(-EOPNOTSUPP,
                      "NUMA node %d has no memory, or none that this process may use (its cpuset): the nearest node "
                      "with memory is %d, see 'numactl --hardware'",
                      node, nearest_to(node));
}

/* What the node could give: free, or held only as a copy of files. */
static uint64_t room_on(int node)
{
    char path[64];
    char line[128];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/meminfo", node);
    FILE *file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    while (fgets(line, sizeof line, file)) {
        unsigned long long kib = 0;
        if (sscanf(line, "Node %*d MemFree: %llu kB", &kib) == 1 ||
            sscanf(line, "Node %*d Active(file): %llu kB", &kib) == 1 ||
            sscanf(line, "Node %*d Inactive(file): %llu kB", &kib) == 1)
            sum += (uint64_t)kib << 10;
    }
    fclose(file);
    return sum;
}

static uint64_t huge_room_on(int node, size_t huge)
{
    char path[96];
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/hugepages/hugepages-%zukB/free_hugepages", node,
             huge >> 10);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * huge;
}

int ring_numa_check_room(int node, size_t bytes, size_t huge)
{
    enum { SPARE = 8 << 20 }; /* for whatever else the kernel needs there */
    int code = ring_numa_check(node);
    if (code || node < 0)
        return code;
    if (huge && huge_room_on(node, huge) < bytes)
        return ring_error(-ENOMEM,
                          "NUMA node %d has %llu KiB free in pages of %zu KiB, %zu KiB are wanted: as root write more "
                          "into /sys/devices/system/node/node%d/hugepages/hugepages-%zukB/nr_hugepages",
                          node, (unsigned long long)huge_room_on(node, huge) >> 10, huge >> 10, bytes >> 10, node,
                          huge >> 10);
    if (huge)
        return 0;
    uint64_t room = room_on(node);
    if (room >= SPARE + (uint64_t)bytes)
        return 0;
    return ring_error(-ENOMEM, "NUMA node %d has about %llu KiB to give, %zu KiB are wanted: see 'numactl --hardware'",
                      node, (unsigned long long)room >> 10, bytes >> 10);
}

void ring_numa_count(const void *address, size_t bytes, struct ring_numa_census *census)
{
    enum { AT_ONCE = 512 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = bytes / page;
    memset(census, 0, sizeof *census);
    for (size_t at = 0; at < pages;) {
        void *asked[AT_ONCE];
        int status[AT_ONCE];
        unsigned long count = 0;
        for (; count < AT_ONCE && at < pages; at++)
            asked[count++] = (void *)((uintptr_t)address + at * page);
        if (numa_available() < 0 || move_pages(0, count, asked, NULL, status, 0) != 0) {
            census->unknown += count;
            continue;
        }
        for (unsigned long i = 0; i < count; i++) {
            if (status[i] >= 0 && status[i] < RING_NUMA_MOST)
                census->on_node[status[i]]++;
            else if (status[i] >= 0)
                census->elsewhere++;
            else
                census->absent++;
        }
    }
}

#else

int ring_numa_of_cpu(int cpu)
{
    (void)cpu;
    return RING_NUMA_UNKNOWN;
}

int ring_numa_check(int node)
{
    (void)node;
    return ring_error(-EOPNOTSUPP, "a NUMA node was asked for, but shmring was built without libnuma: install "
                                   "libnuma-dev and build again, or leave the node out");
}

int ring_numa_check_room(int node, size_t bytes, size_t huge)
{
    (void)bytes;
    (void)huge;
    return ring_numa_check(node);
}

void ring_numa_count(const void *address, size_t bytes, struct ring_numa_census *census)
{
    (void)address;
    memset(census, 0, sizeof *census);
    census->unknown = bytes / (size_t)sysconf(_SC_PAGESIZE);
}

#endif

int ring_numa_resolve(int node)
{
    if (node != RING_NUMA_HERE)
        return node;
    int here = ring_numa_of_cpu(sched_getcpu());
    return here == RING_NUMA_UNKNOWN ? RING_NUMA_ANY : here;
}

int ring_numa_node_of(const void *address, size_t bytes)
{
    struct ring_numa_census census;
    ring_numa_count(address, bytes, &census);
    int found = census.elsewhere ? RING_NUMA_MIXED : RING_NUMA_UNKNOWN;
    for (int node = 0; node < RING_NUMA_MOST; node++)
        if (census.on_node[node])
            found = found == RING_NUMA_UNKNOWN ? node : RING_NUMA_MIXED;
    return found;
}
