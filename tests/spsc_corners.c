/* spsc_corners.c - SPSC rings in situations that seldom come. */
#include "harness.h"

#include <ring/layout.h>

Test(corners, handles_that_are_not_open_know_no_peer_and_cannot_be_closed)
{
    static struct ring_spsc_producer producer; /* zeroes */
    static struct ring_spsc_consumer consumer; /* zeroes */
    REQUIRE_SAME(ring_spsc_consumer_state(NULL), RING_PEER_NEVER);
    REQUIRE_SAME(ring_spsc_consumer_state(&producer), RING_PEER_NEVER);
    REQUIRE_SAME(ring_spsc_producer_state(NULL), RING_PEER_NEVER);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_NEVER);
    REQUIRE_REFUSED(ring_spsc_close_producer(NULL), EBADF);
    REQUIRE_REFUSED(ring_spsc_close_consumer(NULL), EBADF);
    REQUIRE_REFUSED(ring_spsc_close_producer(&producer), EBADF);
    REQUIRE_REFUSED(ring_spsc_close_consumer(&consumer), EBADF);
}

Test(corners, a_run_of_a_batch_ends_before_a_message_from_nowhere_and_the_next_call_names_it)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    uint64_t numbers[4] = { 1, 2, 3, 4 }, got[4];
    struct ring_message batch[4];
    for (int bad = 0; bad < 4; bad++) {
        for (int i = 0; i < 4; i++)
            batch[i] = (struct ring_message){ i == bad ? NULL : &numbers[i], 8, 0 };
        ssize_t sent = ring_spsc_send_batch(&pair.producer, batch, 4, RING_NO_WAIT);
        REQUIRE_SAME(sent, bad ? bad : -EINVAL);
        if (bad)
            REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, got, 8, 4, RING_NO_WAIT), bad);
        REQUIRE(memcmp(got, numbers, 8 * (size_t)bad) == 0);
        REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, batch + bad, 1, RING_NO_WAIT), -EINVAL);
    }
    test_pair_close(&pair);
}

Test(corners, arrays_of_messages_without_length_come_and_go_from_and_to_nowhere)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, NULL, 0, 100, RING_NO_WAIT), 100);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, NULL, 8, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, NULL, 8, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, NULL, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, NULL, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, NULL, 8, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, NULL, 8, 1, RING_NO_WAIT), -EINVAL);
    size_t received = 0;
    for (ssize_t now; (now = ring_spsc_recv_array(&pair.consumer, NULL, 0, 100, RING_NO_WAIT)) > 0;)
        received += (size_t)now;
    REQUIRE_SAME(received, 100);
    void *volatile nowhere = NULL;
    REQUIRE_SAME(ring_spsc_send(&pair.producer, nowhere, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, nowhere, 0, RING_NO_WAIT), 0);
    test_pair_close(&pair);
}

/* One record of the ring, as the peer may write it. */
static void scribble(const struct test_pair *pair, uint64_t position, uint64_t header)
{
    struct ring_entry_info entry;
    struct test_outside outside = test_outside_open(test_name());
    REQUIRE_OK(ring_segment_entry(pair->segment, 0, &entry));
    memcpy(outside.bytes + entry.offset + RING_LAYOUT_PAGE + position, &header, 8);
    test_outside_close(&outside);
}

Test(corners, an_impossible_first_record_poisons_whoever_receives_arrays_and_a_later_one_ends_the_array)
{
    static const uint64_t bad = UINT64_C(1) << 63;
    struct test_pair pair;
    uint64_t got[8];
    for (int first = 0; first < 2; first++) {
        test_pair_open(&pair, 4096, 0, 0);
        for (uint64_t i = 0; i < 3; i++)
            REQUIRE_SAME(ring_spsc_send(&pair.producer, &i, 8, RING_NO_WAIT), 0);
        scribble(&pair, first ? 0 : 16, bad);
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, got, 8, 8, RING_NO_WAIT), first ? -EUCLEAN : 1);
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, got, 8, 8, RING_NO_WAIT), -EUCLEAN);
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, got, 8, RING_NO_WAIT), -EUCLEAN);
        test_pair_close(&pair);
    }
}

Test(corners, a_record_that_vanishes_before_its_release_poisons_the_consumer)
{
    struct test_pair pair;
    struct ring_message messages[3];
    test_pair_open(&pair, 4096, 0, 0);
    for (uint64_t i = 0; i < 3; i++)
        REQUIRE_SAME(ring_spsc_send(&pair.producer, &i, 8, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, messages, 3, RING_NO_WAIT), 3);
    scribble(&pair, 16, 0);
    REQUIRE_SAME(ring_spsc_release(&pair.consumer, 2), -EUCLEAN);
    REQUIRE_SAME(ring_spsc_peek(&pair.consumer, messages, RING_NO_WAIT), -EUCLEAN);
    test_pair_close(&pair);
}
