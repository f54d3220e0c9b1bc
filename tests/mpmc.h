/* mpmc.h - what the tests of MPMC rings share. */
#ifndef TESTS_MPMC_H
#define TESTS_MPMC_H

#include "harness.h"

/* How the ends claim: alone on their side, the same but forbidden to notice it, or beside others that are idle. */
enum test_claims { TEST_ALONE, TEST_NEVER_ALONE, TEST_BESIDE_OTHERS, TEST_CLAIMS };

static inline struct ring_mpmc_options test_queue_options(size_t slots, size_t slot_bytes, uint64_t start_position)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    options.seats = 8;
    options.start_position = start_position;
    return options;
}

/* A segment with an MPMC ring "queue". */
static inline struct ring_segment *test_queue_with(const struct ring_mpmc_options *options)
{
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES + 2 * ring_mpmc_footprint_with(options));
    REQUIRE_OK(ring_mpmc_create_with(segment, "queue", options));
    return segment;
}

static inline void test_end_queue(struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static inline void test_join_producer(struct ring_mpmc_producer *producer, struct ring_segment *segment)
{
    REQUIRE_OK(ring_mpmc_open_producer(producer, segment, "queue", TEST_LONG));
}

static inline void test_join_consumer(struct ring_mpmc_consumer *consumer, struct ring_segment *segment)
{
    REQUIRE_OK(ring_mpmc_open_consumer(consumer, segment, "queue", TEST_LONG));
}

static inline struct ring_mpmc_info test_queue_info(struct ring_segment *segment)
{
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_mpmc_info(segment, "queue", &info));
    return info;
}

static inline struct ring_recovery test_recover(struct ring_segment *segment)
{
    struct ring_recovery report = { .struct_size = sizeof report };
    REQUIRE_OK(ring_segment_recover(segment, &report));
    REQUIRE_SAME(report.rings, 1);
    return report;
}

/* Both ends in this process. */
struct test_queue {
    struct ring_segment *segment;
    struct ring_mpmc_producer producer, other_producer;
    struct ring_mpmc_consumer consumer, other_consumer;
    enum test_claims claims;
};

static inline void test_queue_open(struct test_queue *queue, enum test_claims claims, size_t slots, size_t slot_bytes,
                                   uint64_t start_position)
{
    struct ring_mpmc_options options = test_queue_options(slots, slot_bytes, start_position);
    options.flags = claims == TEST_NEVER_ALONE ? RING_MPMC_NO_SOLE : 0;
    queue->claims = claims;
    queue->segment = test_queue_with(&options);
    test_join_producer(&queue->producer, queue->segment);
    test_join_consumer(&queue->consumer, queue->segment);
    struct ring_mpmc_info info = test_queue_info(queue->segment);
    REQUIRE(claims != TEST_ALONE || (info.sole_producer && info.sole_consumer));
    REQUIRE(claims != TEST_NEVER_ALONE || (!info.sole_producer && !info.sole_consumer));
    if (claims == TEST_BESIDE_OTHERS) {
        test_join_producer(&queue->other_producer, queue->segment);
        test_join_consumer(&queue->other_consumer, queue->segment);
        info = test_queue_info(queue->segment);
        REQUIRE(!info.sole_producer && !info.sole_consumer);
    }
}

static inline void test_queue_close(struct test_queue *queue)
{
    REQUIRE_OK(ring_mpmc_close_producer(&queue->producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&queue->consumer));
    if (queue->claims == TEST_BESIDE_OTHERS) {
        REQUIRE_OK(ring_mpmc_close_producer(&queue->other_producer));
        REQUIRE_OK(ring_mpmc_close_consumer(&queue->other_consumer));
    }
    test_end_queue(queue->segment);
}

enum { TEST_QUEUE_MOST = 1 << 12 };

/* Sends a message of the pattern `seed`; what send() said. */
static inline int test_put(struct ring_mpmc_producer *producer, size_t length, uint64_t seed, int64_t timeout_ns)
{
    static _Thread_local unsigned char bytes[TEST_QUEUE_MOST];
    REQUIRE(length <= sizeof bytes);
    test_fill(bytes, length, seed);
    return ring_mpmc_send(producer, bytes, length, timeout_ns);
}

/* Receives one, which must have that length and be of the pattern; 0, or what recv() said. */
static inline int test_get(struct ring_mpmc_consumer *consumer, size_t length, uint64_t seed, int64_t timeout_ns)
{
    static _Thread_local unsigned char bytes[TEST_QUEUE_MOST];
    ssize_t received = ring_mpmc_recv(consumer, bytes, sizeof bytes, timeout_ns);
    if (received < 0)
        return (int)received;
    REQUIRE_SAME(received, length);
    REQUIRE(test_matches(bytes, length, seed));
    return 0;
}

/* Messages of which each has the length and the pattern that follow from its number. */
static inline size_t test_length(uint64_t number, size_t most)
{
    return test_mix(number) % (most + 1);
}

static inline void test_put_many(struct ring_mpmc_producer *producer, size_t most, uint64_t first, uint64_t count)
{
    for (uint64_t number = first; number < first + count; number++)
        REQUIRE_SAME(test_put(producer, test_length(number, most), number, TEST_LONG), 0);
}

/* Each with that flag, or none. */
static inline void test_get_many(struct ring_mpmc_consumer *consumer, size_t most, uint64_t first, uint64_t count,
                                 uint32_t flags)
{
    for (uint64_t number = first; number < first + count; number++) {
        REQUIRE_SAME(test_get(consumer, test_length(number, most), number, TEST_LONG), 0);
        REQUIRE_SAME(ring_mpmc_last_flags(consumer), flags);
    }
}

#endif
