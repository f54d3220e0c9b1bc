/* blocks_orders.c - for ThreadSanitizer: threads that hand blocks and pieces to each other by relaxed words alone, so
 * that only the orders of the pool's and the heap's own words keep their contents from racing. Elsewhere: a check that
 * all of it arrives. */
#include "blocks.h"

#include <pthread.h>

enum { THREADS = 3, BOXES = 8, WORDS = 8, COUNT = 60 };

static struct ring_segment *segment;
static RING_ATOMIC(uint64_t) boxes[BOXES]; /* handles on their way, or 0 */
static uint64_t rounds;

static void write_words(uint64_t *words, uint64_t number)
{
    for (int i = 0; i < WORDS; i++)
        words[i] = number + (uint64_t)i;
}

static void check_words(const uint64_t *words, uint64_t number)
{
    for (int i = 0; i < WORDS; i++)
        REQUIRE_SAME(words[i], number + (uint64_t)i);
}

static void get_rid_of_block(struct ring_blocks *blocks, uint64_t handle)
{
    void *address;
    if (handle == RING_BLOCK_NONE)
        return;
    REQUIRE_SAME(ring_block_accept(blocks, handle, &address, NULL), 0);
    check_words(address, handle);
    write_words(address, 0);
    REQUIRE_SAME(ring_block_free(blocks, handle), 0);
}

static void *exchange_blocks(void *argument)
{
    static _Thread_local struct ring_blocks blocks;
    struct test_random random = { (uint64_t)(uintptr_t)argument };
    test_pool_open(&blocks, segment);
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t handle = test_take(&blocks, 64);
        void *address;
        REQUIRE_SAME(ring_block_address(&blocks, handle, &address, NULL), 0);
        write_words(address, handle);
        REQUIRE_SAME(ring_block_pass(&blocks, handle), 0);
        RING_ATOMIC(uint64_t) *box = &boxes[test_below(&random, BOXES)];
        get_rid_of_block(&blocks, ring_atomic_exchange(box, handle, memory_order_relaxed));
    }
    for (int box = 0; box < BOXES; box++)
        get_rid_of_block(&blocks, ring_atomic_exchange(&boxes[box], RING_BLOCK_NONE, memory_order_relaxed));
    REQUIRE_OK(ring_blocks_close(&blocks));
    return argument;
}

static void get_rid_of_piece(struct ring_heap *heap, uint64_t reference)
{
    if (reference == RING_HEAP_NONE)
        return;
    uint64_t *words = ring_heap_address(heap, reference);
    REQUIRE(words != NULL);
    check_words(words, reference);
    write_words(words, 0);
    REQUIRE_SAME(ring_heap_free(heap, reference, TEST_LONG), 0);
}

static void *exchange_pieces(void *argument)
{
    static _Thread_local struct ring_heap heap;
    struct test_random random = { (uint64_t)(uintptr_t)argument };
    REQUIRE_OK(ring_heap_open(&heap, segment, "heap", TEST_LONG));
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t reference;
        REQUIRE_SAME(ring_heap_allocate(&heap, 64 + test_below(&random, 900), &reference, TEST_LONG), 0);
        write_words(ring_heap_address(&heap, reference), reference);
        REQUIRE_SAME(ring_heap_keep(&heap, reference, TEST_LONG), 0); /* we may close before it is freed */
        RING_ATOMIC(uint64_t) *box = &boxes[test_below(&random, BOXES)];
        get_rid_of_piece(&heap, ring_atomic_exchange(box, reference, memory_order_acq_rel));
    }
    for (int box = 0; box < BOXES; box++)
        get_rid_of_piece(&heap, ring_atomic_exchange(&boxes[box], RING_HEAP_NONE, memory_order_acq_rel));
    REQUIRE_OK(ring_heap_close(&heap));
    return argument;
}

static void run(void *(*body)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, body, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
}

Test(blocks_orders, what_is_written_into_a_block_is_seen_by_its_next_owner)
{
    static const unsigned caches[] = { 0, 4 };
    for (unsigned i = 0; i < 2; i++) {
        struct ring_blocks_options options = ring_blocks_defaults(64, COUNT);
        options.cache = caches[i];
        segment = test_pool_with(&options);
        rounds = test_rounds(200000);
        run(exchange_blocks);
        REQUIRE_SAME(test_pool_info(segment).classes[0].free, COUNT);
        test_pool_end(segment);
    }
}

Test(blocks_orders, what_is_written_into_a_piece_is_seen_by_its_next_owner)
{
    segment = test_create(RING_SEGMENT_MIN_BYTES + ring_heap_footprint(1 << 17));
    REQUIRE_OK(ring_heap_create(segment, "heap", 1 << 17));
    rounds = test_rounds(100000);
    run(exchange_pieces);
    test_pool_end(segment);
}
