/* spsc_wrap.c - the end of a lap, and positions near 2^32, 2^63 and 2^64: where arithmetic goes wrong if it does. */
#include "harness.h"

enum { CAPACITY = 4096 };

static void fill_and_drain(struct test_pair *pair, uint64_t seed)
{
    struct test_random random = { seed };
    uint64_t sent = 0, received = 0;
    static unsigned char message[CAPACITY];
    for (int code = 0; code == 0;) {
        size_t length = test_below(&random, 4) ? test_below(&random, 64) : test_below(&random, pair->max_message + 1);
        test_fill(message, length, length);
        code = ring_spsc_send(&pair->producer, message, length, RING_NO_WAIT);
        REQUIRE_ONE_OF(code, 0, -EAGAIN);
        sent += code == 0;
    }
    REQUIRE(sent >= 3);
    for (ssize_t length; (length = ring_spsc_recv(&pair->consumer, message, sizeof message, RING_NO_WAIT)) >= 0;) {
        REQUIRE(test_matches(message, (size_t)length, (uint64_t)length));
        received++;
    }
    REQUIRE_SAME(received, sent);
}

Test(wrap, a_ring_filled_and_drained_at_every_offset_keeps_every_message)
{
    for (uint64_t start = 0; start < 2 * CAPACITY; start += 8) {
        if (start > 256 && start < CAPACITY - 1200)
            start += 120;
        struct test_pair pair;
        test_pair_open(&pair, CAPACITY, 0, start);
        for (uint64_t round = 0; round < 4; round++)
            fill_and_drain(&pair, start + round);
        test_pair_close(&pair);
    }
}

Test(wrap, a_message_of_every_length_across_the_end_of_the_lap_is_whole)
{
    struct test_pair pair;
    test_pair_open(&pair, CAPACITY, 0, 0);
    /* Each step moves on by a length and by what brings the next one to another place. */
    for (size_t length = 0; length <= pair.max_message; length++)
        for (uint64_t again = 0; again < 6; again++) {
            test_send(&pair.producer, length, again);
            test_send(&pair.producer, (length * 7 + again) % 90, ~again);
            test_recv(&pair.consumer, length, again);
            test_recv(&pair.consumer, (length * 7 + again) % 90, ~again);
        }
    test_pair_close(&pair);
}

Test(wrap, free_space_split_by_the_wrap_is_used_and_nothing_unread_overwritten)
{
    /* Occupy the middle of the lap, so that free space lies at its end and at its beginning. */
    for (size_t lead = 0; lead <= 1024; lead += 8) {
        struct test_pair pair;
        test_pair_open(&pair, CAPACITY, 1, 0);
        test_send(&pair.producer, lead, 1);
        test_send(&pair.producer, 1000, 2);
        test_recv(&pair.consumer, lead, 1);
        uint64_t sent = 0;
        static unsigned char message[1024];
        size_t length = 500 + lead / 8;
        test_fill(message, length, 3);
        while (ring_spsc_send(&pair.producer, message, length, RING_NO_WAIT) == 0)
            sent++;
        /* What is used: the message unread, those sent, each with its header; the rest is less than one more. */
        uint64_t used = 1008 + sent * ((length + 15) & ~7ul);
        REQUIRE(used <= CAPACITY - 8 && used + ((length + 15) & ~7ul) > CAPACITY - 8);
        test_recv(&pair.consumer, 1000, 2);
        for (; sent; sent--)
            test_recv(&pair.consumer, length, 3);
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, message, sizeof message, 0), -EAGAIN);
        test_pair_close(&pair);
    }
}

Test(wrap, an_empty_ring_always_has_room_for_the_longest_message)
{
    for (size_t publish = 0; publish <= CAPACITY / 2; publish = publish ? publish * 2 : 1) {
        struct test_pair pair;
        test_pair_open(&pair, CAPACITY, publish, 0);
        for (uint64_t round = 0; round < 3000; round++) {
            size_t length = round % 3 ? pair.max_message : round % pair.max_message;
            test_send(&pair.producer, length, round);
            test_recv(&pair.consumer, length, round);
            struct ring_message message;
            REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, RING_NO_WAIT), -EAGAIN);
        }
        test_pair_close(&pair);
    }
}

Test(wrap, traffic_in_lock_step_never_stalls_whatever_the_publishing)
{
    for (size_t publish = 0; publish <= CAPACITY / 2; publish = publish ? publish * 2 : 1) {
        struct test_pair pair;
        test_pair_open(&pair, CAPACITY, publish, 0);
        uint64_t sent = 0, received = 0;
        unsigned char message[256];
        for (uint64_t step = 0; step < 30000; step++) { /* the consumer never looks at an empty ring */
            test_fill(message, sent % 200, sent);
            int code = ring_spsc_send(&pair.producer, message, sent % 200, RING_NO_WAIT);
            REQUIRE_ONE_OF(code, 0, -EAGAIN);
            sent += code == 0;
            REQUIRE(code == 0 || received < sent);
            if (code || step % 3 == 0) {
                if (received == sent) /* nothing there: this tells the consumer to publish */
                    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, message, sizeof message, 0), -EAGAIN);
                else
                    test_recv(&pair.consumer, received % 200, received), received++;
            }
        }
        REQUIRE(sent > 9000);
        test_pair_close(&pair);
    }
}

static void pass_boundary(uint64_t start)
{
    struct test_pair pair;
    test_pair_open(&pair, CAPACITY, 0, start);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(pair.segment, "ring", &info));
    REQUIRE(info.head == start && info.tail == start && info.messages == 0);
    for (uint64_t round = 0; round < 12; round++)
        fill_and_drain(&pair, round);
    for (uint64_t round = 0; round < 3; round++) {
        REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
        REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
        test_open_producer(&pair.producer, pair.segment);
        test_send(&pair.producer, 900, round);
        test_send(&pair.producer, 0, round);
        test_open_consumer(&pair.consumer, pair.segment);
        test_recv(&pair.consumer, 900, round);
        test_recv(&pair.consumer, 0, round);
        fill_and_drain(&pair, round);
    }
    REQUIRE_OK(ring_spsc_info(pair.segment, "ring", &info));
    REQUIRE_SAME(info.messages, 0);
    REQUIRE(info.head - start > 10 * CAPACITY && info.head - start < 100 * CAPACITY);
    test_pair_close(&pair);
}

Test(wrap, positions_cross_two_to_the_32_63_and_64_unharmed)
{
    static const uint64_t boundaries[] = { UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 33, UINT64_C(1) << 63, 0 };
    for (size_t i = 0; i < sizeof boundaries / sizeof *boundaries; i++) {
        for (uint64_t before = 0; before <= 64; before += 8)
            pass_boundary(boundaries[i] - before);
        for (uint64_t before = 64; before <= 8 * CAPACITY; before += 1000)
            pass_boundary(boundaries[i] - before);
    }
}
