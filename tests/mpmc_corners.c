/* mpmc_corners.c - MPMC rings in situations that seldom come. */
#include "mpmc.h"

Test(corners, handles_that_are_not_open_know_no_peer_cannot_be_used_and_cannot_be_closed)
{
    struct ring_mpmc_producer producer = { 0 };
    struct ring_mpmc_consumer consumer = { 0 };
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
