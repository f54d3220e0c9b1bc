/* refusals_barriers.c - a kernel or sandbox without membarrier, and one processor: every message arrives, nobody claims
 * alone. */
#include "broadcast.h"
#include "mpmc.h"
#include "refuse.h"

#include <pthread.h>

static void *send_one_more(void *producer)
{
    REQUIRE_SAME(test_put(producer, 8, 2, RING_NO_WAIT), 0);
    return NULL;
}

Test(refused, a_handle_goes_from_thread_to_thread_without_barriers_too)
{
    static const struct {
        enum test_call call;
        unsigned at;
        bool lasting;
    } ways[] = { { CALL_BARRIER, 0, true }, { CALL_BARRIER, 0, false }, { CALL_REGISTER_BARRIER, 0, true } };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct test_queue queue;
        pthread_t thread;
        test_queue_open(&queue, TEST_NEVER_ALONE, 8, 8, 0);
        REQUIRE_SAME(test_put(&queue.producer, 8, 1, RING_NO_WAIT), 0);
        test_refuse(ways[i].call, ways[i].at, EPERM, ways[i].lasting);
        REQUIRE_SAME(pthread_create(&thread, NULL, send_one_more, &queue.producer), 0);
        REQUIRE_SAME(pthread_join(thread, NULL), 0);
        REQUIRE_SAME(test_put(&queue.producer, 8, 3, RING_NO_WAIT), 0);
        test_refuse_nothing();
        for (uint64_t seed = 1; seed <= 3; seed++)
            REQUIRE_SAME(test_get(&queue.consumer, 8, seed, RING_NO_WAIT), 0);
        test_queue_close(&queue);
    }
}

/* ---- Waiting without barriers ---- */

enum { SLOW_ONES = 20 };

/* Attaches anew; sends slowly, so that the other side falls asleep each time, then faster than there is room. */
static int send_slowly(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    struct ring_mpmc_producer claimer;
    struct ring_broadcast_producer teller;
    test_open_producer(&producer, segment);
    test_join_producer(&claimer, segment);
    test_sender(&teller, segment);
    for (uint64_t i = 0; i < SLOW_ONES; i++) {
        test_nap(i < SLOW_ONES / 2 ? TEST_SECOND / 500 : 0);
        REQUIRE_SAME(ring_spsc_send(&producer, &i, 8, TEST_LONG), 0);
        test_nap(i < SLOW_ONES / 2 ? TEST_SECOND / 500 : 0);
        REQUIRE_SAME(ring_mpmc_send(&claimer, &i, 8, TEST_LONG), 0);
        test_nap(i < SLOW_ONES / 2 ? TEST_SECOND / 500 : 0);
        REQUIRE_SAME(ring_broadcast_send(&teller, &i, 8, TEST_LONG), 0);
    }
    return 0;
}

static void converse(void)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_consumer consumer;
    struct ring_mpmc_consumer taker;
    struct ring_broadcast_consumer listener;
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = 8;
    options.slot_bytes = 8;
    options.policy = RING_BROADCAST_LOSSLESS;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    REQUIRE_OK(ring_broadcast_create_with(segment, "news", &options));
    test_open_consumer(&consumer, segment);
    test_join_consumer(&taker, segment);
    test_join(&listener, segment, RING_BROADCAST_OLDEST);
    pid_t child = test_spawn(send_slowly, NULL);
    for (uint64_t i = 0; i < SLOW_ONES; i++) {
        uint64_t got[3] = { 0, 0, 0 };
        if (i >= SLOW_ONES / 2)
            test_nap(TEST_SECOND / 500);
        REQUIRE_SAME(ring_spsc_recv(&consumer, &got[0], 8, TEST_LONG), 8);
        REQUIRE_SAME(ring_mpmc_recv(&taker, &got[1], 8, TEST_LONG), 8);
        REQUIRE_SAME(ring_broadcast_recv(&listener, &got[2], 8, TEST_LONG), 8);
        REQUIRE(got[0] == i && got[1] == i && got[2] == i);
    }
    test_wait(child);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_mpmc_close_consumer(&taker));
    REQUIRE_OK(ring_broadcast_close_consumer(&listener));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(refused, barriers_of_an_older_kernel_are_done_without_and_every_message_arrives)
{
    test_refuse(CALL_BARRIER, 0, ENOSYS, true);
    test_refuse_too(CALL_REGISTER_BARRIER, 0, ENOSYS, true);
    converse();
    REQUIRE(test_refuse_nothing() > 0);
}

Test(refused, barriers_that_are_only_sometimes_there_are_done_without_too)
{
    test_refuse(CALL_BARRIER, 3, EPERM, true);
    converse();
    REQUIRE(test_refuse_nothing() > 0);
}

Test(refused, on_one_processor_nobody_spins_and_every_message_arrives)
{
    cpu_set_t one, all;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    test_processors(1);
    converse();
}

Test(refused, where_nobody_tells_the_processors_several_are_taken_for_granted)
{
    test_refuse(CALL_AFFINITY, 0, EPERM, true);
    converse();
    REQUIRE(test_refuse_nothing() > 0);
}

Test(refused, without_barriers_nobody_claims_alone_and_all_share)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    test_refuse(CALL_BARRIER, 0, ENOSYS, true);
    test_join_producer(&producer, segment);
    test_join_consumer(&consumer, segment);
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE(!info.sole_producer && !info.sole_consumer);
    REQUIRE_SAME(test_put(&producer, 8, 1, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 1, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    test_end_queue(segment);
}

Test(refused, a_newcomer_without_barriers_leaves_the_one_who_claims_alone_in_peace)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_mpmc_producer producer, newcomer;
    struct ring_mpmc_consumer consumer;
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    test_join_producer(&producer, segment);
    test_join_consumer(&consumer, segment);
    if (!test_queue_info(segment).sole_producer)
        test_skip("this kernel has no membarrier");
    REQUIRE_SAME(test_put(&producer, 8, 1, RING_NO_WAIT), 0);
    test_refuse(CALL_BARRIER, 0, EPERM, true);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&newcomer, segment, "queue", RING_NO_WAIT), EOPNOTSUPP);
    REQUIRE(test_refuse_nothing() > 0);
    REQUIRE_SAME(test_put(&producer, 8, 2, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 1, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 2, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_open_producer(&newcomer, segment, "queue", RING_NO_WAIT));
    REQUIRE_SAME(test_put(&newcomer, 8, 3, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_put(&producer, 8, 4, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 3, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 4, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_producer(&newcomer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    test_end_queue(segment);
}
