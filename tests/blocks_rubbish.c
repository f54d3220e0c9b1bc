/* blocks_rubbish.c - a peer that writes anything into a pool of blocks or a heap: no call of ours reads or writes out
 * of bounds, crashes or hangs. Run under AddressSanitizer too; the segment lies between pages without rights. */
#include "blocks.h"

enum { COUNT = 150, BYTES = 64 << 10 };

static struct ring_segment *segment;
static struct test_outside outside;

/* The words of the thing at that place of the directory. */
static RING_ATOMIC(uint64_t) * words_of(unsigned index, uint64_t *count)
{
    struct ring_entry_info entry;
    REQUIRE_OK(ring_segment_entry(segment, index, &entry));
    REQUIRE(entry.offset + entry.bytes <= outside.size);
    *count = entry.bytes / 8;
    return (RING_ATOMIC(uint64_t) *)(void *)(outside.bytes + entry.offset);
}

static uint64_t rubbish(struct test_random *random)
{
    static const uint64_t usual[] = { 0, 1, 2, 3, UINT64_MAX, INT64_MAX, UINT32_MAX, 64, 4096, 1 << 20 };
    uint64_t value = test_random(random);
    switch (test_below(random, 4)) {
    case 0:
        return usual[test_below(random, sizeof usual / sizeof usual[0])];
    case 1:
        return value & 0xffff;
    case 2:
        return (value & 0xffff) << (value >> 58);
    default:
        return value;
    }
}

/* Some words among the first `range`, which hold all that is not data. */
static void scribble(RING_ATOMIC(uint64_t) * words, uint64_t from, uint64_t range, struct test_random *random)
{
    for (unsigned times = (unsigned)test_below(random, 6) + 1; times; times--) {
        RING_ATOMIC(uint64_t) *word = words + from + test_below(random, range - from);
        if (test_below(random, 2))
            ring_atomic_store(word, rubbish(random), memory_order_relaxed);
        else /* nearly right */
            atomic_fetch_xor_explicit(word, UINT64_C(1) << test_below(random, 64), memory_order_relaxed);
    }
}

static void use_blocks(struct ring_blocks *blocks, struct test_random *random, uint64_t *handles, unsigned most)
{
    for (int times = 0; times < 40; times++) {
        uint64_t *handle = &handles[test_below(random, most)];
        void *address;
        const void *lent;
        size_t bytes;
        switch (test_below(random, 6)) {
        case 0:
        case 1:
            if (ring_block_allocate(blocks, 64, handle, &address) == 0)
                memset(address, 0x55, 64);
            break;
        case 2:
            ring_block_free(blocks, *handle);
            break;
        case 3:
            if (ring_block_pass(blocks, *handle) == 0 && ring_block_accept(blocks, *handle, &address, &bytes) == 0)
                memset(address, 0x66, bytes);
            break;
        case 4:
            if (ring_block_look(blocks, *handle, &lent, &bytes) == 0)
                REQUIRE(memchr(lent, 0x12, bytes) != (void *)-1);
            break;
        default:
            if (ring_block_accept(blocks, *handle, &address, &bytes) == 0)
                memset(address, 0x77, bytes);
            *handle = rubbish(random);
        }
    }
}

Test(blocks_rubbish, a_peer_that_writes_anything_into_a_pool_cannot_make_a_call_leave_its_bounds)
{
    struct test_random random = { 1 };
    for (uint64_t round = 0; round < test_rounds(800); round++) {
        struct ring_blocks_options options = ring_blocks_defaults(64, COUNT);
        struct ring_blocks blocks;
        struct ring_blocks_info info = { .struct_size = sizeof info };
        uint64_t handles[20] = { 0 }, count;
        options.class_count = 2;
        options.classes[1] = (struct ring_blocks_class){ 5000, 3 };
        options.cache = (unsigned)round % 5;
        segment = test_pool_with(&options);
        outside = test_outside_open(test_name());
        RING_ATOMIC(uint64_t) *words = words_of(0, &count);
        uint64_t range = count - (COUNT * 64 + 3 * 8192) / 8;
        bool opened = ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT) == 0;
        for (int times = 0; times < 10; times++) {
            scribble(words, times < 5 ? 512 : 0, range, &random); /* the constants later: they were copied */
            if (opened)
                use_blocks(&blocks, &random, handles, 20);
            ring_segment_recover(segment, NULL);
            ring_segment_recover_stranded(segment, "pool", NULL);
            ring_blocks_info(segment, "pool", &info);
            struct ring_blocks other;
            if (ring_blocks_open(&other, segment, "pool", RING_NO_WAIT) == 0) {
                use_blocks(&other, &random, handles, 20);
                ring_blocks_close(&other);
            }
        }
        if (opened)
            REQUIRE_OK(ring_blocks_close(&blocks));
        test_outside_close(&outside);
        test_pool_end(segment);
    }
}

static void use_heap(struct ring_heap *heap, struct test_random *random, uint64_t *references, unsigned most)
{
    for (int times = 0; times < 30; times++) {
        uint64_t *reference = &references[test_below(random, most)];
        unsigned char *bytes = ring_heap_address(heap, *reference);
        size_t size = ring_heap_size(heap, *reference);
        if (bytes && size)
            bytes[size - 1] = bytes[0] = 1;
        switch (test_below(random, 5)) {
        case 0:
        case 1:
            ring_heap_allocate(heap, test_below(random, 3000), reference, RING_NO_WAIT);
            break;
        case 2:
            ring_heap_free(heap, *reference, RING_NO_WAIT);
            break;
        case 3:
            ring_heap_set_root(heap, (unsigned)test_below(random, 20), *reference, RING_NO_WAIT);
            *reference = ring_heap_root(heap, (unsigned)test_below(random, 20));
            break;
        default:
            ring_heap_keep(heap, *reference, RING_NO_WAIT);
            *reference = rubbish(random);
        }
    }
    ring_heap_check(heap, RING_NO_WAIT);
    ring_heap_recover(heap, NULL, RING_NO_WAIT);
}

Test(blocks_rubbish, a_peer_that_writes_anything_into_a_heap_cannot_make_a_call_leave_its_bounds)
{
    struct test_random random = { 2 };
    for (uint64_t round = 0; round < test_rounds(200); round++) {
        struct ring_heap_options options = ring_heap_defaults(BYTES);
        struct ring_heap_info info = { .struct_size = sizeof info };
        struct ring_heap heap, other;
        uint64_t references[20] = { 0 }, count;
        options.seats = 4;
        segment = test_create(RING_SEGMENT_MIN_BYTES + ring_heap_footprint_with(&options));
        REQUIRE_OK(ring_heap_create_with(segment, "heap", &options));
        outside = test_outside_open(test_name());
        RING_ATOMIC(uint64_t) *words = words_of(0, &count);
        bool opened = ring_heap_open(&heap, segment, "heap", RING_NO_WAIT) == 0;
        for (int times = 0; times < 8; times++) {
            scribble(words, times < 4 ? 16 : 0, count - BYTES / 8, &random);
            if (test_below(&random, 2)) /* where it hurts most: lock, log, lists */
                scribble(words, 16, 4096 / 8, &random);
            if (opened)
                use_heap(&heap, &random, references, 20);
            ring_segment_recover(segment, NULL);
            ring_heap_info(segment, "heap", &info);
            if (ring_heap_open(&other, segment, "heap", RING_NO_WAIT) == 0) {
                use_heap(&other, &random, references, 20);
                REQUIRE_OK(ring_heap_close(&other));
            }
        }
        if (opened)
            REQUIRE_OK(ring_heap_close(&heap));
        test_outside_close(&outside);
        test_pool_end(segment);
    }
}

Test(blocks_rubbish, a_lock_that_names_no_seat_of_the_heap_is_told_and_not_waited_for)
{
    struct ring_heap_options options = ring_heap_defaults(BYTES);
    struct ring_heap heap;
    uint64_t reference, count;
    options.seats = 4;
    segment = test_create(RING_SEGMENT_MIN_BYTES + ring_heap_footprint_with(&options));
    REQUIRE_OK(ring_heap_create_with(segment, "heap", &options));
    outside = test_outside_open(test_name());
    struct ring_layout_heap *control = (struct ring_layout_heap *)(uintptr_t)words_of(0, &count);
    REQUIRE_OK(ring_heap_open(&heap, segment, "heap", RING_NO_WAIT));
    for (uint64_t seat = 4; seat < 0xffff; seat = 2 * seat + 1) {
        atomic_store(&control->lock, 7 << 16 | (seat + 1));
        REQUIRE_REFUSED(ring_heap_allocate(&heap, 100, &reference, TEST_LONG), EUCLEAN);
        REQUIRE_REFUSED(ring_heap_check(&heap, TEST_LONG), EUCLEAN);
    }
    atomic_store(&control->lock, 8 << 16);
    REQUIRE_OK(ring_heap_allocate(&heap, 100, &reference, TEST_LONG));
    REQUIRE_OK(ring_heap_close(&heap));
    test_outside_close(&outside);
    test_pool_end(segment);
}

/* Only the producer's role of an SPSC ring ever says that. */
Test(blocks_rubbish, a_seat_whose_holder_moved_on_is_damage)
{
    struct ring_blocks_options pool = ring_blocks_defaults(64, 10);
    struct ring_heap_options heap = ring_heap_defaults(BYTES);
    struct ring_blocks blocks;
    struct ring_heap other;
    struct ring_mpmc_consumer consumer;
    struct ring_broadcast_consumer reader;
    struct ring_broadcast_producer teller;
    segment = test_create(1 << 20);
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &pool));
    REQUIRE_OK(ring_heap_create_with(segment, "heap", &heap));
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 8, 8, RING_BROADCAST_LOSSLESS));
    outside = test_outside_open(test_name());
    for (unsigned index = 0; index < 4; index++) {
        uint64_t count;
        RING_ATOMIC(uint64_t) *seat = words_of(index, &count) + RING_LAYOUT_PAGE / 8;
        struct ring_layout_role *role = (struct ring_layout_role *)(uintptr_t)seat;
        ring_atomic_store(&role->state, 1 << 8 | RING_ROLE_MOVED, memory_order_relaxed);
    }
    uint64_t count;
    struct ring_layout_broadcast *news = (struct ring_layout_broadcast *)(uintptr_t)words_of(3, &count);
    ring_atomic_store(&news->producer.state, 1 << 8 | RING_ROLE_MOVED, memory_order_relaxed);
    REQUIRE_REFUSED(ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT), EUCLEAN);
    REQUIRE_REFUSED(ring_heap_open(&other, segment, "heap", RING_NO_WAIT), EUCLEAN);
    REQUIRE_REFUSED(ring_mpmc_open_consumer(&consumer, segment, "queue", RING_NO_WAIT), EUCLEAN);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&reader, segment, "news", RING_BROADCAST_NEWEST, 0, RING_NO_WAIT),
                    EUCLEAN);
    REQUIRE_REFUSED(ring_broadcast_open_producer(&teller, segment, "news", RING_NO_WAIT), EUCLEAN);
    test_outside_close(&outside);
    test_pool_end(segment);
}
