/* broadcast.h - what the tests of broadcast rings share. */
#ifndef TESTS_BROADCAST_H
#define TESTS_BROADCAST_H

#include "harness.h"

/* A segment with a broadcast ring "news". */
static inline struct ring_segment *test_news(enum ring_broadcast_policy policy, size_t slots, size_t slot_bytes,
                                             unsigned seats, uint64_t start_position)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.policy = policy;
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    options.seats = seats;
    options.start_position = start_position;
    struct ring_segment *segment =
        test_create(RING_SEGMENT_MIN_BYTES + 2 * ring_broadcast_footprint_with(&options));
    REQUIRE_OK(ring_broadcast_create_with(segment, "news", &options));
    return segment;
}

static inline void test_end_news(struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static inline void test_sender(struct ring_broadcast_producer *producer, struct ring_segment *segment)
{
    REQUIRE_OK(ring_broadcast_open_producer(producer, segment, "news", TEST_LONG));
}

static inline void test_join(struct ring_broadcast_consumer *consumer, struct ring_segment *segment,
                             enum ring_broadcast_join join)
{
    REQUIRE_OK(ring_broadcast_open_consumer(consumer, segment, "news", join, 0, TEST_LONG));
}

static inline struct ring_broadcast_info test_news_info(struct ring_segment *segment)
{
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_broadcast_info(segment, "news", &info));
    return info;
}

/* Message number n: its number, then a pattern that follows from it, and so does its length, 8 .. most bytes. */
static inline size_t test_news_length(uint64_t number, size_t most)
{
    return 8 + test_mix(number) % (most - 7);
}

static inline size_t test_write_news(unsigned char *bytes, uint64_t number, size_t most)
{
    size_t length = test_news_length(number, most);
    memcpy(bytes, &number, 8);
    test_fill(bytes + 8, length - 8, number);
    return length;
}

static inline bool test_is_news(const void *bytes, size_t length, uint64_t number, size_t most)
{
    uint64_t told;
    if (length != test_news_length(number, most))
        return false;
    memcpy(&told, bytes, 8);
    return told == number && test_matches((const unsigned char *)bytes + 8, length - 8, number);
}

/* Sends message number `sent`; what send() said. */
static inline int test_tell(struct ring_broadcast_producer *producer, size_t most, int64_t timeout_ns)
{
    static _Thread_local unsigned char bytes[1 << 14];
    uint64_t number = ring_broadcast_sent(producer);
    REQUIRE(most <= sizeof bytes);
    return ring_broadcast_send(producer, bytes, test_write_news(bytes, number, most), timeout_ns);
}

static inline void test_tell_many(struct ring_broadcast_producer *producer, size_t most, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        REQUIRE_SAME(test_tell(producer, most, TEST_LONG), 0);
}

/* Receives one message, whose number must be the consumer's position; 0, or what recv() said. */
static inline int test_hear(struct ring_broadcast_consumer *consumer, size_t most, int64_t timeout_ns)
{
    static _Thread_local unsigned char bytes[1 << 14];
    uint64_t number = ring_broadcast_position(consumer);
    ssize_t length = ring_broadcast_recv(consumer, bytes, sizeof bytes, timeout_ns);
    if (length < 0)
        return (int)length;
    REQUIRE(test_is_news(bytes, (size_t)length, number, most));
    REQUIRE_SAME(ring_broadcast_position(consumer), number + 1);
    return 0;
}

static inline void test_hear_many(struct ring_broadcast_consumer *consumer, size_t most, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        REQUIRE_SAME(test_hear(consumer, most, TEST_LONG), 0);
}

#endif
