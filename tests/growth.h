/* growth.h - what the tests of growing rings share: a small ring with room for larger ones, and a row of messages. */
#ifndef TESTS_GROWTH_H
#define TESTS_GROWTH_H

#include "harness.h"

enum { SMALL = 4096, ROOM = 8 << 20 };

/* A segment with room for larger rings: there already, or in reserve. */
static inline struct ring_segment *test_roomy(bool reserve)
{
    struct ring_segment_options options = test_plain(reserve ? 64 << 10 : ROOM);
    struct ring_segment *segment;
    options.reserve = reserve ? ROOM : 0;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    return segment;
}

/* A small ring that may grow. */
static inline void test_growing_pair(struct test_pair *pair)
{
    pair->segment = test_roomy(false);
    REQUIRE_OK(ring_spsc_create(pair->segment, "ring", SMALL));
    test_open_producer(&pair->producer, pair->segment);
    test_open_consumer(&pair->consumer, pair->segment);
}

static inline void test_grow_to(struct ring_spsc_producer *producer, size_t bytes)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    REQUIRE_OK(ring_spsc_grow(producer, &options));
}

/* So many messages of pattern first, first + 1 ... of lengths that follow from it. */
static inline void test_send_many(struct ring_spsc_producer *producer, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        test_send(producer, 8 + test_mix(i) % 100, i);
}

static inline void test_recv_many(struct ring_spsc_consumer *consumer, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        test_recv(consumer, 8 + test_mix(i) % 100, i);
}

#endif
