/* placement.c - where pages lie, on a machine with several nodes: the guests of tests/numa/run. On a machine with one
 * node all of it is skipped. */
#include "nodes.h"

#include <sched.h>

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
        if (form != SET_ASIDE)                                       /* those are never swapped, locked or not */
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

/* Each of its mappings is filled at once, wherever the kernel likes. */
static int make_with_all_locked(void *unused)
{
    (void)unused;
    REQUIRE(mlockall(MCL_FUTURE) == 0);
    for (int i = 0; i < node_count; i++) {
        uint64_t on_node[MOST_NODES];
        struct ring_segment *segment = make(PLAIN, 1 << 20, nodes[i]);
        count_pages(0, 1 << 20, on_node);
        REQUIRE_SAME(on_node[nodes[i]], (1 << 20) / PAGE);
        drop(&segment);
    }
    return 0;
}

Test(placement, a_process_that_locks_all_it_maps_has_its_segments_where_it_asks)
{
    know_nodes(2);
    test_wait(test_spawn(make_with_all_locked, NULL));
}

Test(placement, memory_that_was_given_is_judged_by_where_it_is)
{
    enum { BYTES = 1 << 20 };
    know_nodes(2);
    unsigned char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    REQUIRE(memory != MAP_FAILED);
    numa_tonode_memory(memory, BYTES, nodes[1]);
    memset(memory, 1, BYTES);
    options.backing = RING_BACKING_GIVEN;
    options.memory = memory;
    options.bytes = BYTES;
    options.flags = RING_STRICT;
    static const int wishes[] = { 0, RING_NODE_INTERLEAVED };
    for (unsigned i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        options.numa_node = wishes[i] ? wishes[i] : nodes[0];
        REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EOPNOTSUPP);
    }
    options.numa_node = nodes[1];
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_OK(ring_segment_close(&segment));
    munmap(memory, BYTES);
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
        REQUIRE_ONE_OF(code, 0, -EEXIST);
        code = ring_segment_free(segment, "ring");
        REQUIRE_ONE_OF(code, 0, -ENOENT, -EBUSY);
        atomic_fetch_add(count, 1);
    }
    return 0;
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
        REQUIRE_ONE_OF(code, 0, -ENOENT);
        REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, nodes[round % node_count]));
        demand_on(segment, "ring", nodes[round % node_count]);
        REQUIRE_OK(create(segment, "other", RING_KIND_MPMC, RING_NODE_ANY));
        demand_on(segment, "other", nodes[0]);
        REQUIRE_OK(ring_segment_free(segment, "ring"));
        REQUIRE_OK(ring_segment_free(segment, "other"));
    }
    drop(&segment);
}
