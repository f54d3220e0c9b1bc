/* blocks.h - what the tests of pools of blocks share. */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include "harness.h"

/* A segment with a pool "pool". */
static inline struct ring_segment *test_pool_with(const struct ring_blocks_options *options)
{
    struct ring_segment *segment =
        test_create(RING_SEGMENT_MIN_BYTES + ring_blocks_footprint_with(options) + (128 << 10));
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", options));
    return segment;
}

static inline void test_pool_end(struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static inline void test_pool_open(struct ring_blocks *blocks, struct ring_segment *segment)
{
    REQUIRE_OK(ring_blocks_open(blocks, segment, "pool", TEST_LONG));
}

static inline struct ring_blocks_info test_pool_info(struct ring_segment *segment)
{
    struct ring_blocks_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_blocks_info(segment, "pool", &info));
    REQUIRE(!info.damaged);
    return info;
}

/* Every block of every class can be had exactly once, at an address of its own, and all come back. */
static inline void test_pool_is_whole(struct ring_segment *segment)
{
    struct ring_blocks_info info = test_pool_info(segment);
    static struct ring_blocks blocks;
    test_pool_open(&blocks, segment);
    for (unsigned at = 0; at < info.class_count; at++) {
        uint64_t count = info.classes[at].count;
        uint64_t *handles = calloc(count, sizeof *handles);
        uint64_t **places = calloc(count, sizeof *places);
        REQUIRE(handles && places);
        void *address;
        for (uint64_t i = 0; i < count; i++) {
            REQUIRE_SAME(ring_block_allocate(&blocks, info.classes[at].block_bytes, &handles[i], &address), 0);
            places[i] = address;
            if (info.classes[at].block_bytes >= 8)
                *places[i] = handles[i];
        }
        for (uint64_t i = 0; i < count && info.classes[at].block_bytes >= 8; i++)
            REQUIRE(*places[i] == handles[i]);
        uint64_t more;
        REQUIRE_SAME(ring_block_allocate(&blocks, info.classes[at].block_bytes, &more, &address), -ENOSPC);
        for (uint64_t i = 0; i < count; i++)
            REQUIRE_SAME(ring_block_free(&blocks, handles[i]), 0);
        free(handles);
        free(places);
    }
    REQUIRE_OK(ring_blocks_close(&blocks));
}

static inline uint64_t test_take(struct ring_blocks *blocks, size_t bytes)
{
    uint64_t handle = RING_BLOCK_NONE;
    void *address = NULL;
    REQUIRE_SAME(ring_block_allocate(blocks, bytes, &handle, &address), 0);
    REQUIRE(handle != RING_BLOCK_NONE && address);
    return handle;
}

#endif
