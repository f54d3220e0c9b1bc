/* rubbish_in_motion.c - words of all but MPMC rings are rewritten without end: each call comes back. */
#include "motion.h"

/* ---- Heaps and pools of blocks ---- */

static void use_heap(struct ring_heap *heap)
{
    for (int i = 0; i < CALLS; i++) {
        uint64_t reference = 0;
        REQUIRE_ONE_OF(ring_heap_allocate(heap, 100, &reference, limit(i)), 0, -EAGAIN, -ETIMEDOUT, -EUCLEAN, -ENOSPC);
        REQUIRE_ONE_OF(ring_heap_check(heap, limit(i)), 0, -EAGAIN, -ETIMEDOUT, -EUCLEAN);
        REQUIRE_ONE_OF(ring_heap_recover(heap, NULL, limit(i)), 0, -EAGAIN, -ETIMEDOUT, -EUCLEAN);
    }
}

Test(motion, a_heap_whose_lock_never_rests_is_waited_for_no_longer_than_the_time_limit)
{
    static const struct motion locks[] = {
        { offsetof(struct ring_layout_heap, lock), 0, 1 << 16, 1 << 20 },       /* free, another turn each time */
        { offsetof(struct ring_layout_heap, lock), 3, 1 << 16, 1 << 20 },       /* of one that is dead */
        { offsetof(struct ring_layout_heap, lock), 0, (1 << 16) + 1, 1 << 20 }, /* of anybody, and nobody */
    };
    struct ring_heap heap, other;
    struct ring_heap_options options = ring_heap_defaults(64 << 10);
    options.seats = 4;
    segment = test_create(RING_SEGMENT_MIN_BYTES + ring_heap_footprint_with(&options));
    REQUIRE_OK(ring_heap_create_with(segment, "heap", &options));
    REQUIRE_OK(ring_heap_open(&heap, segment, "heap", TEST_LONG));
    find_thing();
    for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) {
        begin_motion(&locks[i], 1);
        use_heap(&heap);
        int code = ring_heap_open(&other, segment, "heap", TEST_LONG);
        REQUIRE_ONE_OF(code, 0, -EUCLEAN); /* it may see a seat that there is not */
        if (code == 0)
            REQUIRE_OK(ring_heap_close(&other));
        end_motion();
        ring_atomic_store(word_at(locks[i].at), 0, memory_order_relaxed);
    }
    REQUIRE_OK(ring_heap_close(&heap));
    end();
}

Test(motion, who_takes_a_seat_is_not_held_up_by_a_count_of_seats_that_never_rests)
{
    enum { SEATS = 12, AFTER = 8 };
    static const struct motion of_heap = { offsetof(struct ring_layout_heap, reached), 0, 1, AFTER };
    static const struct motion of_pool = { offsetof(struct ring_layout_blocks, reached), 0, 1, AFTER };
    static const struct motion of_news = { offsetof(struct ring_layout_broadcast, seats_used), 0, 1, AFTER };
    static struct ring_heap heaps[SEATS];
    static struct ring_blocks pools[SEATS];
    static struct ring_broadcast_consumer readers[SEATS];
    struct ring_heap_options heap = ring_heap_defaults(64 << 10);
    struct ring_blocks_options pool = ring_blocks_defaults(64, 100);
    segment = test_create(1 << 20);
    REQUIRE_OK(ring_heap_create_with(segment, "heap", &heap));
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &pool));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 8, 8, RING_BROADCAST_LOSSLESS));
    outside = test_outside_open(test_name());
    for (unsigned kind = 0; kind < 3; kind++) {
        struct ring_entry_info entry;
        REQUIRE_OK(ring_segment_entry(segment, kind, &entry));
        thing = outside.bytes + entry.offset;
        int codes[SEATS];
        for (unsigned i = 0; i < SEATS; i++) {
            if (i == AFTER)
                begin_motion(kind == 0 ? &of_heap : kind == 1 ? &of_pool : &of_news, 1);
            codes[i] = kind == 0   ? ring_heap_open(&heaps[i], segment, "heap", TEST_LONG)
                       : kind == 1 ? ring_blocks_open(&pools[i], segment, "pool", TEST_LONG)
                                   : ring_broadcast_open_consumer(&readers[i], segment, "news", RING_BROADCAST_NEWEST,
                                                                  0, TEST_LONG);
            REQUIRE_ONE_OF(codes[i], 0, -EUCLEAN);
        }
        end_motion();
        for (unsigned i = 0; i < SEATS; i++)
            if (codes[i] == 0)
                REQUIRE_OK(kind == 0   ? ring_heap_close(&heaps[i])
                           : kind == 1 ? ring_blocks_close(&pools[i])
                                       : ring_broadcast_close_consumer(&readers[i]));
    }
    end();
}

/* All are taken, and the upper bits say all the time that there are free ones below. */
Test(motion, bits_that_always_promise_a_free_block_do_not_keep_one_searching)
{
    enum { COUNT = 64 * 64 * 2 };
    struct ring_blocks_options options = ring_blocks_defaults(64, COUNT);
    struct ring_blocks pool;
    uint64_t handle;
    void *address;
    segment = test_pool_with(&options);
    test_pool_open(&pool, segment);
    find_thing();
    for (unsigned i = 0; i < COUNT; i++)
        test_take(&pool, 64);
    struct motion bits[2] = { { 0, UINT64_MAX, 0, 1 }, { 0, UINT64_MAX, 0, 1 } };
    for (unsigned level = 1; level <= 2; level++)
        bits[level - 1].at = (uintptr_t)pool.view.rows[0].level[level] - (uintptr_t)pool.view.control;
    for (unsigned both = 0; both < 2; both++) {
        begin_motion(bits, 1 + both);
        for (int i = 0; i < CALLS; i++)
            REQUIRE_SAME(ring_block_allocate(&pool, 64, &handle, &address), -ENOSPC);
        end_motion();
    }
    REQUIRE_OK(ring_blocks_close(&pool));
    end();
}

/* ---- Broadcast, SPSC, the directory ---- */

Test(motion, a_message_that_comes_and_goes_keeps_no_reader)
{
    enum { NEWS_BYTES = 8, NEWS_STRIDE = 16 };
    uint64_t ready = UINT64_C(1) << RING_BROADCAST_STATE_SHIFT;
    segment = test_create(1 << 20);
    REQUIRE_OK(ring_broadcast_create(segment, "news", 8, NEWS_BYTES, RING_BROADCAST_OVERWRITE));
    find_thing();
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_broadcast_info(segment, "news", &info));
    size_t seats = (info.seats * sizeof(struct ring_layout_broadcast_seat) + 4095) / 4096 * 4096;
    struct motion word = { RING_LAYOUT_PAGE + seats, 0, ready, 2 }; /* there, and not */
    for (int overtaken = 0; overtaken < 2; overtaken++) {
        word.from = overtaken ? ready : 0;
        word.step = overtaken ? UINT64_C(1) << RING_BROADCAST_LAP_SHIFT : ready; /* there, and a lap later */
        for (int i = 0; i < CALLS; i++) {
            struct ring_broadcast_consumer reader;
            struct ring_message seen[4];
            char text[4 * NEWS_BYTES];
            ring_atomic_store(word_at(word.at), 0, memory_order_relaxed);
            REQUIRE_OK(i & 8 ? ring_broadcast_open_observer(&reader, segment, "news", RING_BROADCAST_NEWEST, 0, 0)
                             : ring_broadcast_open_consumer(&reader, segment, "news", RING_BROADCAST_NEWEST, 0, 0));
            begin_motion(&word, 1);
            for (int calls = 0; calls < 20; calls++) {
                int64_t code = i % 4 == 0   ? ring_broadcast_recv(&reader, text, NEWS_BYTES, limit(calls))
                               : i % 4 == 1 ? ring_broadcast_peek(&reader, seen, limit(calls))
                               : i % 4 == 2 ? ring_broadcast_peek_batch(&reader, seen, 4, limit(calls))
                                            : ring_broadcast_recv_array(&reader, text, 0, 4, limit(calls));
                REQUIRE(code >= 0 || is_refusal(code));
            }
            end_motion();
            REQUIRE_OK(ring_broadcast_close_consumer(&reader));
        }
    }
    end();
}

Test(motion, a_record_that_comes_and_goes_keeps_no_consumer_of_a_producer_that_has_left)
{
    static const struct motion header = { RING_LAYOUT_PAGE, 0, RING_RECORD_ONE, 2 };
    static const unsigned states[] = { RING_ROLE_CLOSED, RING_ROLE_MOVED, RING_ROLE_ATTACHED };
    segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    find_thing();
    for (int i = 0; i < 3 * CALLS; i++) {
        struct ring_spsc_consumer consumer;
        struct ring_layout_spsc *control = (struct ring_layout_spsc *)(void *)thing;
        char none;
        ring_atomic_store(&control->producer.state, 1 << 8 | RING_ROLE_CLOSED, memory_order_relaxed);
        ring_atomic_store(&control->head, 0, memory_order_relaxed);
        ring_atomic_store(word_at(header.at), 0, memory_order_relaxed);
        test_open_consumer(&consumer, segment);
        ring_atomic_store(&control->producer.state, 1 << 8 | states[i % 3], memory_order_relaxed);
        begin_motion(&header, 1);
        for (int calls = 0; calls < 20; calls++) {
            int64_t code = ring_spsc_recv(&consumer, &none, 0, limit(calls));
            REQUIRE(code >= 0 || is_refusal(code));
        }
        struct ring_spsc_info info = { .struct_size = sizeof info };
        REQUIRE_ONE_OF(ring_spsc_info(segment, "ring", &info), 0, -EUCLEAN);
        end_motion();
        REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    }
    end();
}

/* Its place seems to be given back and used again all the time. */
Test(motion, an_entry_of_the_directory_that_never_rests_keeps_nobody)
{
    struct motion word = { 0, 0, UINT64_C(1) << RING_ENTRY_TURN, 1 << 20 };
    segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    find_thing();
    thing = outside.bytes + RING_LAYOUT_PAGE;
    word.from = ring_atomic_load(word_at(0), memory_order_relaxed);
    begin_motion(&word, 1);
    for (int i = 0; i < 5; i++) {
        struct ring_spsc_producer producer;
        struct ring_spsc_info info = { .struct_size = sizeof info };
        struct ring_pages pages = { .struct_size = sizeof pages };
        int code = ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT);
        REQUIRE_ONE_OF(code, 0, -ENOENT, -EUCLEAN);
        if (code == 0)
            REQUIRE_OK(ring_spsc_close_producer(&producer));
        REQUIRE_ONE_OF(ring_spsc_info(segment, "ring", &info), 0, -ENOENT, -EUCLEAN);
        REQUIRE_ONE_OF(ring_segment_pages(segment, "ring", &pages), 0, -ENOENT, -EUCLEAN);
        REQUIRE_ONE_OF(ring_segment_recover(segment, NULL), 0, -EUCLEAN);
    }
    end_motion();
    end();
}

/* ---- Bells ---- */

Test(motion, a_bell_that_rings_all_the_time_keeps_no_sleeper_beyond_the_time_limit)
{
    static const struct motion bell = { offsetof(struct ring_layout_spsc, consumer_asleep), 0, UINT64_C(0x100000001),
                                        1 << 20 };
    segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    find_thing();
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_any *any;
    char none;
    test_open_producer(&producer, segment);
    test_open_consumer(&consumer, segment);
    begin_motion(&bell, 1);
    for (int i = 0; i < CALLS; i++)
        REQUIRE_SAME(ring_spsc_recv(&consumer, &none, 0, 5000000), -ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        if (i)
            REQUIRE_OK(ring_any_open(&any));
        REQUIRE(i ? ring_any_add(any, ring_spsc_consumer_waiter(&consumer), &consumer) == 0
                  : ring_waiter_fd(ring_spsc_consumer_waiter(&consumer)) >= 0);
        for (int calls = 0; calls < 200; calls++) {
            void *tag;
            REQUIRE_SAME(ring_spsc_recv(&consumer, &none, 0, RING_NO_WAIT), -EAGAIN);
            if (i)
                REQUIRE_ONE_OF(ring_any_wait(any, &tag, 1, 1000000), 1, -ETIMEDOUT);
        }
        if (i)
            ring_any_close(&any);
        REQUIRE_OK(ring_spsc_close_consumer(&consumer));
        test_open_consumer(&consumer, segment);
    }
    end_motion();
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    end();
}
