/* placement.c - where pages lie, on a machine with several nodes: the guest of tests/numa/run.
 *
 * Nothing the library says is believed here: each page is asked for by move_pages. On a machine with one node every
 * test but the refusals is skipped. The variable BARE_NODE names a node without memory. */
#include "../harness.h"

#include <numa.h>
#include <numaif.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, MOST_NODES = 8 };

static int node_count;
static int nodes[MOST_NODES]; /* those with memory */

static void know_nodes(int least)
{
    node_count = 0;
    REQUIRE(numa_available() >= 0);
    for (int node = 0; node <= numa_max_node() && node_count < MOST_NODES; node++)
        if (numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node))
            nodes[node_count++] = node;
    if (node_count < least)
        test_skip("this machine has too few NUMA nodes with memory");
}

static int bare_node(void)
{
    const char *text = getenv("BARE_NODE");
    return text ? atoi(text) : -1;
}

/* Pages of a part of a segment on each node, by an own mapping of the file. */
static void count_pages(uint64_t offset, uint64_t bytes, uint64_t on_node[MOST_NODES])
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

static struct ring_entry_info entry_of(struct ring_segment *segment, const char *name)
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
static void demand_on(struct ring_segment *segment, const char *name, int node)
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

static void demand_even(uint64_t offset, uint64_t bytes, uint64_t granule)
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

static bool is_huge(enum form form)
{
    return form == JOINED || form == SET_ASIDE;
}

static struct ring_segment *make(enum form form, size_t bytes, int node)
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

static void drop(struct ring_segment **segment)
{
    REQUIRE_OK(ring_segment_close(segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static int create(struct ring_segment *segment, const char *name, unsigned kind, int node)
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

Test(placement, a_segment_lies_on_the_node_asked_for_to_the_last_page)
{
    know_nodes(2);
    for (int i = 0; i < node_count; i++)
        for (enum form form = PLAIN; form < FORMS; form++) {
            uint64_t on_node[MOST_NODES];
            struct ring_segment *segment = make(form, 4 << 20, nodes[i]);
            count_pages(0, 4 << 20, on_node);
            REQUIRE_SAME(on_node[nodes[i]], (4 << 20) / PAGE);
            struct ring_segment_info info = { .struct_size = sizeof info };
            REQUIRE_OK(ring_segment_info(segment, &info));
            REQUIRE_SAME(info.numa_node, nodes[i]);
            REQUIRE_SAME(info.huge_bytes, is_huge(form) ? 4 << 20 : 0);
            drop(&segment);
        }
}

Test(placement, an_interleaved_segment_is_even_within_one_page)
{
    know_nodes(2);
    for (enum form form = PLAIN; form < FORMS; form++) {
        struct ring_segment *segment = make(form, 10 << 20, RING_NODE_INTERLEAVED);
        demand_even(0, 10 << 20, is_huge(form) ? HUGE_PAGE : PAGE);
        struct ring_pages pages = { .struct_size = sizeof pages };
        REQUIRE_OK(ring_segment_pages(segment, NULL, &pages));
        REQUIRE(pages.granted && pages.asked == RING_NODE_INTERLEAVED && pages.node == RING_NODE_MIXED);
        drop(&segment);
    }
}

Test(placement, rings_and_pools_lie_on_the_node_asked_for_to_the_last_page)
{
    know_nodes(2);
    for (enum form form = PLAIN; form < FORMS; form++) {
        struct ring_segment *segment = make(form, 24 << 20, RING_NODE_ANY);
        char name[32];
        for (int i = 0; i < node_count; i++)
            for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++) {
                snprintf(name, sizeof name, "%u on %d", kind, nodes[i]);
                REQUIRE_OK(create(segment, name, kind, nodes[i]));
            }
        for (int i = 0; i < node_count; i++)
            for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++) {
                snprintf(name, sizeof name, "%u on %d", kind, nodes[i]);
                demand_on(segment, name, nodes[i]);
            }
        struct ring_segment_info info = { .struct_size = sizeof info };
        REQUIRE_OK(ring_segment_info(segment, &info));
        REQUIRE_SAME(info.huge_bytes, is_huge(form) ? 24 << 20 : 0); /* joined again behind the moves */
        if (form != SET_ASIDE) /* those are never swapped, locked or not */
            REQUIRE_SAME(info.locked_bytes, form == PLAIN ? 0 : 24 << 20);
        drop(&segment);
    }
}

Test(placement, interleaved_rings_are_even_within_one_page)
{
    know_nodes(2);
    for (enum form form = PLAIN; form < FORMS; form++) {
        struct ring_segment *segment = make(form, 24 << 20, nodes[1]);
        struct ring_spsc_options options = ring_spsc_defaults();
        options.numa_node = RING_NODE_INTERLEAVED;
        options.bytes = 4 << 20;
        REQUIRE_OK(ring_spsc_create_with(segment, "first", &options));
        options.bytes = 64 << 10;
        REQUIRE_OK(ring_spsc_create_with(segment, "second", &options));
        REQUIRE_OK(create(segment, "third", RING_KIND_MPMC, RING_NODE_ANY));
        struct ring_entry_info first = entry_of(segment, "first"), second = entry_of(segment, "second");
        demand_even(first.offset, first.bytes, is_huge(form) ? HUGE_PAGE : PAGE);
        demand_even(second.offset, second.bytes, is_huge(form) ? HUGE_PAGE : PAGE);
        demand_on(segment, "third", nodes[1]); /* as the segment */
        drop(&segment);
    }
}

Test(placement, freed_room_is_placed_anew_for_whoever_gets_it)
{
    know_nodes(2);
    for (enum form form = PLAIN; form < FORMS; form++) {
        struct ring_segment *segment = make(form, 8 << 20, nodes[0]);
        for (int round = 0; round < 3 * node_count; round++) {
            int node = nodes[round % node_count];
            unsigned kind = RING_KIND_SPSC + (unsigned)round % 5;
            REQUIRE_OK(create(segment, "ring", kind, node));
            demand_on(segment, "ring", node);
            REQUIRE_OK(create(segment, "other", RING_KIND_SPSC, RING_NODE_ANY));
            demand_on(segment, "other", nodes[0]); /* the segment's, whoever was there before */
            REQUIRE_OK(ring_segment_free(segment, "ring"));
            REQUIRE_OK(ring_segment_free(segment, "other"));
        }
        drop(&segment);
    }
}

static void run_on(int node)
{
    REQUIRE(numa_run_on_node(node) == 0);
}

Test(placement, here_is_the_node_of_the_thread_that_creates)
{
    know_nodes(2);
    struct ring_segment *segment = make(PLAIN, 4 << 20, RING_NODE_ANY);
    for (int i = 0; i < node_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "here %d", i);
        run_on(nodes[i]);
        REQUIRE_OK(create(segment, name, RING_KIND_SPSC, RING_NODE_HERE));
        demand_on(segment, name, nodes[i]);
        REQUIRE_SAME(ring_node_of_cpu(sched_getcpu()), nodes[i]);
    }
    drop(&segment);
    run_on(nodes[1]);
    segment = make(LOCKED, 1 << 20, RING_NODE_HERE);
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.numa_node, nodes[1]);
    drop(&segment);
}

/* ---- Others who have it mapped ---- */

struct shared {
    RING_ATOMIC(uint64_t) step;
    RING_ATOMIC(uint64_t) seen;
    int node;
    enum form form;
};

/* Attached before the ring is made, running elsewhere: takes part, then the pages are looked at once more. */
static int take_part(void *argument)
{
    struct shared *shared = argument;
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_spsc_consumer consumer;
    options.flags = form_flags[shared->form];
    know_nodes(2);
    run_on(nodes[0]);
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, 0));
    atomic_store(&shared->seen, 1);
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", TEST_LONG));
    for (uint64_t i = 0; i < 1000; i++)
        test_recv(&consumer, 1000, i);
    demand_on(segment, "ring", shared->node);
    atomic_store(&shared->seen, 2);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(placement, a_ring_is_placed_though_others_have_the_segment_mapped_and_stays_there_whoever_touches_it)
{
    know_nodes(2);
    for (enum form form = PLAIN; form < FORMS; form++)
        for (int i = 0; i < node_count; i++) {
            struct shared *shared = test_shared(sizeof *shared);
            shared->node = nodes[i];
            shared->form = form;
            struct ring_segment *segment = make(form, 8 << 20, RING_NODE_ANY);
            pid_t child = test_spawn(take_part, shared);
            test_await(&shared->seen, 1);
            REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, nodes[i]));
            demand_on(segment, "ring", nodes[i]);
            struct ring_spsc_producer producer;
            REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", 0));
            for (uint64_t k = 0; k < 1000; k++) {
                unsigned char message[1000];
                test_fill(message, sizeof message, k);
                REQUIRE_OK(ring_spsc_send(&producer, message, sizeof message, TEST_LONG));
            }
            test_await(&shared->seen, 2);
            REQUIRE_OK(ring_spsc_close_producer(&producer));
            test_wait(child);
            demand_on(segment, "ring", nodes[i]);
            drop(&segment);
        }
}

static int churn_for_ever(void *argument)
{
    RING_ATOMIC(uint64_t) *count = argument;
    know_nodes(2);
    struct ring_segment *segment = test_attach();
    for (unsigned i = 0;; i++) {
        int code = create(segment, "ring", RING_KIND_SPSC + i % 5, nodes[i % (unsigned)node_count]);
        REQUIRE(code == 0 || code == -EEXIST);
        code = ring_segment_free(segment, "ring");
        REQUIRE(code == 0 || code == -ENOENT || code == -EBUSY);
        atomic_fetch_add(count, 1);
    }
}

Test(placement, whoever_is_killed_while_placing_leaves_room_that_the_next_maker_puts_in_order)
{
    know_nodes(2);
    struct test_random random = { 3 };
    RING_ATOMIC(uint64_t) *count = test_shared(sizeof *count);
    struct ring_segment *segment = make(PLAIN, 2 << 20, nodes[0]);
    for (int round = 0; round < 30; round++) {
        pid_t child = test_spawn(churn_for_ever, count);
        test_await(count, atomic_load(count) + 2);
        test_nap((int64_t)test_below(&random, 20000000));
        test_kill(child);
        int code = ring_segment_free(segment, "ring");
        REQUIRE(code == 0 || code == -ENOENT);
        REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, nodes[round % node_count]));
        demand_on(segment, "ring", nodes[round % node_count]);
        REQUIRE_OK(create(segment, "other", RING_KIND_MPMC, RING_NODE_ANY));
        demand_on(segment, "other", nodes[0]);
        REQUIRE_OK(ring_segment_free(segment, "ring"));
        REQUIRE_OK(ring_segment_free(segment, "other"));
    }
    drop(&segment);
}

/* ---- Refusals ---- */

/* Strict: an error with a sentence, and nothing is left. Else: made all the same, and info tells the truth. */
static void demand_refused(int node)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    options.numa_node = node;
    options.flags = RING_STRICT;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE_SAME(test_names_left(), 0);
    options.flags = 0;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.numa_error, -EOPNOTSUPP);
    uint64_t used = info.used_bytes;
    struct ring_pages pages = { .struct_size = sizeof pages };
    REQUIRE_OK(ring_segment_pages(segment, NULL, &pages));
    REQUIRE(!pages.granted && pages.asked == node && pages.node != node);
    REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, node)); /* as the segment, which is told already */
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    options.numa_node = RING_NODE_ANY;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(create(segment, "ring", RING_KIND_MPMC, node));
    REQUIRE_OK(ring_segment_pages(segment, "ring", &pages));
    REQUIRE(!pages.granted && pages.asked == node && pages.node != node && pages.absent_bytes == 0);
    REQUIRE_OK(ring_segment_free(segment, "ring"));
    REQUIRE_OK(ring_segment_close(&segment));
    options.flags = RING_STRICT;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, 0));
    for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++)
        REQUIRE_REFUSED(create(segment, "ring", kind, node), EOPNOTSUPP);
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.used_bytes, used);
    REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, RING_NODE_ANY));
    drop(&segment);
}

Test(placement, a_node_that_does_not_exist_is_refused_or_told)
{
    demand_refused(17);
    demand_refused(1000);
    demand_refused(INT32_MAX);
}

Test(placement, a_node_without_memory_is_refused_or_told)
{
    if (bare_node() < 0)
        test_skip("this machine has no node without memory");
    demand_refused(bare_node());
}

Test(placement, wishes_that_mean_nothing_are_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    static const int bad[] = { RING_NODE_MIXED, RING_NODE_UNKNOWN, -6, INT32_MIN };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.numa_node = bad[i];
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    }
    options.numa_node = RING_NODE_ANY;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REQUIRE_REFUSED(create(segment, "ring", RING_KIND_SPSC, bad[i]), EINVAL);
    struct ring_pages pages = { .struct_size = 0 };
    REQUIRE_REFUSED(ring_segment_pages(segment, NULL, &pages), EINVAL);
    pages.struct_size = sizeof pages;
    REQUIRE_REFUSED(ring_segment_pages(segment, "none", &pages), ENOENT);
    drop(&segment);
}

Test(placement, a_node_that_is_full_is_refused_and_nobody_is_killed)
{
    know_nodes(2);
    long long spare = 0;
    numa_node_size64(nodes[1], &spare);
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(((size_t)spare / PAGE + 1) * PAGE);
    options.flags = RING_STRICT;
    options.numa_node = nodes[1];
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(placement, pages_that_are_not_set_aside_on_that_node_are_refused)
{
    know_nodes(2);
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(256 << 20);
    options.backing = RING_BACKING_HUGETLBFS;
    options.flags = RING_STRICT;
    options.numa_node = nodes[1];
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "hugepages"));
    segment = make(SET_ASIDE, 8 << 20, nodes[1]);
    REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, nodes[0]));
    demand_on(segment, "ring", nodes[0]);
    drop(&segment);
}
