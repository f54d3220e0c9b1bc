/* nodes.h - what the programs of the guests share: a segment and things in it on chosen nodes, and where their pages
 * are. Nothing the library says is believed: each page is asked for by move_pages. */
#ifndef TESTS_NODES_H
#define TESTS_NODES_H

#include "../harness.h"

#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, MOST_NODES = 8 };

static int node_count;
static int nodes[MOST_NODES]; /* those with memory */

static inline void know_nodes(int least)
{
    node_count = 0;
    REQUIRE(numa_available() >= 0);
    for (int node = 0; node <= numa_max_node() && node_count < MOST_NODES; node++)
        if (numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node))
            nodes[node_count++] = node;
    if (node_count < least)
        test_skip("this machine has too few NUMA nodes with memory");
}

/* Pages of a part of a segment on each node, by an own mapping of the file. */
static inline void count_pages(uint64_t offset, uint64_t bytes, uint64_t on_node[MOST_NODES])
{
    char path[2 * TEST_NAME];
    struct stat file;
    int fd = open(test_path(path, test_name()), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(path, sizeof path, "/huge/%s", test_name() + (test_name()[0] == '/'));
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    REQUIRE(fd >= 0 && fstat(fd, &file) == 0);
    unsigned char *mapped = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    REQUIRE(mapped != MAP_FAILED);
    close(fd);
    memset(on_node, 0, MOST_NODES * sizeof *on_node);
    REQUIRE(bytes >= PAGE && offset % PAGE == 0 && offset + bytes <= (uint64_t)file.st_size);
    for (uint64_t at = offset; at < offset + bytes; at += PAGE) {
        void *address = mapped + at;
        int status = -1;
        (void)*(volatile unsigned char *)address;
        REQUIRE(move_pages(0, 1, &address, NULL, &status, 0) == 0);
        REQUIRE(status >= 0 && status < MOST_NODES);
        on_node[status]++;
    }
    munmap(mapped, (size_t)file.st_size);
}

static inline struct ring_entry_info entry_of(struct ring_segment *segment, const char *name)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    for (unsigned i = 0; i < info.max_rings; i++) {
        struct ring_entry_info entry;
        if (ring_segment_entry(segment, i, &entry) == 0 && strcmp(entry.name, name) == 0)
            return entry;
    }
    test_failed(__FILE__, __LINE__, "no entry '%s'", name);
}

/* All of it is there, and the library says the same. */
static inline void demand_on(struct ring_segment *segment, const char *name, int node)
{
    uint64_t on_node[MOST_NODES];
    struct ring_entry_info entry = entry_of(segment, name);
    count_pages(entry.offset, entry.bytes, on_node);
    for (int other = 0; other < MOST_NODES; other++)
        if (on_node[other] != (other == node ? entry.bytes / PAGE : 0))
            test_failed(__FILE__, __LINE__, "%s: node %d has %llu of %llu pages, asked for was node %d", name, other,
                        (unsigned long long)on_node[other], (unsigned long long)entry.bytes / PAGE, node);
    struct ring_pages pages = { .struct_size = sizeof pages };
    REQUIRE_OK(ring_segment_pages(segment, name, &pages));
    REQUIRE_SAME(pages.node, node);
    REQUIRE_SAME(pages.node_bytes[node], entry.bytes);
    REQUIRE(pages.granted);
}

static inline void demand_even(uint64_t offset, uint64_t bytes, uint64_t granule)
{
    uint64_t on_node[MOST_NODES], least = UINT64_MAX, most = 0;
    count_pages(offset, bytes, on_node);
    for (int i = 0; i < node_count; i++) {
        least = on_node[nodes[i]] < least ? on_node[nodes[i]] : least;
        most = on_node[nodes[i]] > most ? on_node[nodes[i]] : most;
    }
    if ((most - least) * PAGE > granule)
        test_failed(__FILE__, __LINE__, "interleaved, but one node has %llu pages and another %llu",
                    (unsigned long long)most, (unsigned long long)least);
}

enum form { PLAIN, LOCKED, JOINED, SET_ASIDE, FORMS };
static const unsigned form_flags[] = { 0, RING_LOCK, RING_HUGE | RING_LOCK, 0 };

static inline bool is_huge(enum form form)
{
    return form == JOINED || form == SET_ASIDE;
}

static inline struct ring_segment *make(enum form form, size_t bytes, int node)
{
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = bytes;
    options.flags = form_flags[form] | RING_STRICT;
    options.numa_node = node;
    if (form == SET_ASIDE)
        options.backing = RING_BACKING_HUGETLBFS;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    return segment;
}

static inline void drop(struct ring_segment **segment)
{
    REQUIRE_OK(ring_segment_close(segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static inline int create(struct ring_segment *segment, const char *name, unsigned kind, int node)
{
    struct ring_spsc_options spsc = ring_spsc_defaults();
    struct ring_mpmc_options mpmc = ring_mpmc_defaults();
    struct ring_broadcast_options broadcast = ring_broadcast_defaults();
    struct ring_blocks_options blocks = ring_blocks_defaults(4000, 100);
    struct ring_heap_options heap = ring_heap_defaults(100000);
    spsc.bytes = 128 << 10;
    mpmc.slots = 1024;
    broadcast.slots = 512;
    spsc.numa_node = mpmc.numa_node = broadcast.numa_node = blocks.numa_node = heap.numa_node = node;
    switch (kind) {
    case RING_KIND_SPSC:
        return ring_spsc_create_with(segment, name, &spsc);
    case RING_KIND_MPMC:
        return ring_mpmc_create_with(segment, name, &mpmc);
    case RING_KIND_BROADCAST:
        return ring_broadcast_create_with(segment, name, &broadcast);
    case RING_KIND_BLOCKS:
        return ring_blocks_create_with(segment, name, &blocks);
    default:
        return ring_heap_create_with(segment, name, &heap);
    }
}

#endif
