/* mpmc_corners.c - MPMC rings in situations that seldom come. */
#include "mpmc.h"

Test(corners, handles_that_are_not_open_know_no_peer_cannot_be_used_and_cannot_be_closed)
{
    static struct ring_mpmc_producer producer; /* zeroes */
    static struct ring_mpmc_consumer consumer; /* zeroes */
    REQUIRE_SAME(ring_mpmc_consumers_state(NULL), RING_PEER_NEVER);
    REQUIRE_SAME(ring_mpmc_consumers_state(&producer), RING_PEER_NEVER);
    REQUIRE_SAME(ring_mpmc_producers_state(NULL), RING_PEER_NEVER);
    REQUIRE_SAME(ring_mpmc_producers_state(&consumer), RING_PEER_NEVER);
    REQUIRE_REFUSED(ring_mpmc_close_producer(NULL), EBADF);
    REQUIRE_REFUSED(ring_mpmc_close_consumer(NULL), EBADF);
    REQUIRE_REFUSED(ring_mpmc_close_producer(&producer), EBADF);
    REQUIRE_REFUSED(ring_mpmc_close_consumer(&consumer), EBADF);
    REQUIRE_SAME(ring_mpmc_send_batch(&producer, NULL, 1, RING_NO_WAIT), -EINVAL);
}

Test(corners, batches_of_nothing_do_nothing_and_those_from_nowhere_are_refused)
{
    struct test_queue queue;
    struct ring_message message;
    uint64_t number = 1;
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, 8, 8, 0);
        REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, NULL, 0, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, NULL, 1, RING_NO_WAIT), -EINVAL);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, NULL, 8, 0, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, NULL, 8, 1, RING_NO_WAIT), -EINVAL);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, NULL, 0, 3, RING_NO_WAIT), 3);
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, NULL, 0, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, NULL, 1, RING_NO_WAIT), -EINVAL);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, NULL, 8, 0, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, NULL, 8, 1, RING_NO_WAIT), -EINVAL);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, NULL, 0, 2, RING_NO_WAIT), 2);
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, &number, 8, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, RING_NO_WAIT), -EAGAIN);
        test_queue_close(&queue);
    }
}

Test(corners, a_message_that_is_there_is_not_received_into_nowhere)
{
    struct test_queue queue;
    void *volatile nowhere = NULL;
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, 8, 8, 0);
        REQUIRE_SAME(test_put(&queue.producer, 4, 1, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, nowhere, 8, RING_NO_WAIT), -EINVAL);
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, nowhere, 0, RING_NO_WAIT), -EMSGSIZE);
        REQUIRE_SAME(test_get(&queue.consumer, 4, 1, RING_NO_WAIT), 0);
        test_queue_close(&queue);
    }
}

Test(corners, who_may_only_read_can_look_at_a_ring_in_the_middle_of_a_change_of_mode)
{
    struct test_queue queue;
    struct ring_entry_info entry;
    struct ring_segment *reader;
    struct ring_segment_options options = test_plain(0);
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    test_queue_open(&queue, TEST_ALONE, 8, 8, 0);
    test_put_many(&queue.producer, 8, 0, 5);
    test_get_many(&queue.consumer, 8, 0, 2, 0);
    /* As a newcomer leaves it that dies between its two steps. */
    struct test_outside outside = test_outside_open(test_name());
    REQUIRE_OK(ring_segment_entry(queue.segment, 0, &entry));
    struct ring_layout_mpmc *control = (struct ring_layout_mpmc *)(void *)(outside.bytes + entry.offset);
    uint64_t sole = ring_atomic_load(&control->producers_mode, memory_order_relaxed);
    ring_atomic_store(&control->producers_mode, (sole & ~RING_MODE_TAG) | RING_MODE_REVOKING, memory_order_relaxed);
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_segment_attach(&reader, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_mpmc_info(reader, "queue", &info));
    REQUIRE(info.head == 2 && info.tail == 5 && info.messages == 3);
    REQUIRE_SAME(ring_atomic_load(&control->producers_mode, memory_order_relaxed),
                 (sole & ~RING_MODE_TAG) | RING_MODE_REVOKING);
    REQUIRE_OK(ring_segment_close(&reader));
    /* And whoever may write goes on from there. */
    info = test_queue_info(queue.segment);
    REQUIRE(info.head == 2 && info.tail == 5 && !info.sole_producer);
    test_put_many(&queue.producer, 8, 5, 2);
    test_get_many(&queue.consumer, 8, 2, 5, 0);
    test_outside_close(&outside);
    test_queue_close(&queue);
}
