/* blocks_handles.c - allocating and freeing blocks: sizes, exhaustion, and what becomes of handles that fit no more. */
#include "blocks.h"

enum { COUNT = 100, FEW = 4 };

static struct ring_blocks one, two;

static struct ring_segment *open_two(size_t bytes, size_t count)
{
    struct ring_blocks_options options = ring_blocks_defaults(bytes, count);
    struct ring_segment *segment = test_pool_with(&options);
    test_pool_open(&one, segment);
    test_pool_open(&two, segment);
    return segment;
}

static void close_two(struct ring_segment *segment)
{
    REQUIRE_OK(ring_blocks_close(&one));
    REQUIRE_OK(ring_blocks_close(&two));
    struct ring_blocks_info info = test_pool_info(segment);
    for (unsigned at = 0; at < info.class_count; at++)
        REQUIRE_SAME(info.classes[at].free + info.classes[at].passed, info.classes[at].count);
    test_pool_end(segment);
}

Test(blocks, every_block_is_handed_out_once_until_it_is_freed)
{
    static const size_t counts[] = { 1, 2, 63, 64, 65, 1000, 4097, 70000 };
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct ring_blocks_options options = ring_blocks_defaults(8, counts[i]);
        struct ring_segment *segment = test_pool_with(&options);
        for (int round = 0; round < 3; round++)
            test_pool_is_whole(segment);
        REQUIRE_SAME(test_pool_info(segment).classes[0].free, counts[i]);
        test_pool_end(segment);
    }
}

Test(blocks, a_block_is_of_the_smallest_class_that_is_large_enough)
{
    struct ring_blocks_options options = ring_blocks_defaults(1, 3);
    options.class_count = 3;
    options.classes[1] = (struct ring_blocks_class){ 100, 2 };
    options.classes[2] = (struct ring_blocks_class){ 5000, 1 };
    struct ring_segment *segment = test_pool_with(&options);
    test_pool_open(&one, segment);
    static const size_t wanted[] = { 0, 1, 2, 100, 101, 5000 }, got[] = { 1, 1, 100, 100, 5000, 5000 };
    for (unsigned i = 0; i < 6; i++) {
        size_t bytes;
        void *address, *again;
        uint64_t handle;
        REQUIRE_SAME(ring_block_allocate(&one, wanted[i], &handle, &address), 0);
        REQUIRE_SAME(ring_block_address(&one, handle, &again, &bytes), 0);
        REQUIRE_SAME(bytes, got[i]);
        REQUIRE(address == again && (uintptr_t)address % 64 == 0);
        REQUIRE(bytes < 4096 || (uintptr_t)address % 4096 == 0);
        memset(address, 0xff, bytes);
        REQUIRE_SAME(ring_block_free(&one, handle), 0);
    }
    uint64_t handle;
    void *address;
    REQUIRE_SAME(ring_block_allocate(&one, 5001, &handle, &address), -EMSGSIZE);
    REQUIRE_OK(ring_blocks_close(&one));
    test_pool_is_whole(segment);
    test_pool_end(segment);
}

static struct ring_blocks_options aligned(size_t align)
{
    struct ring_blocks_options options = ring_blocks_defaults(100, FEW);
    options.align = align;
    return options;
}

Test(blocks, blocks_begin_at_multiples_of_what_was_asked_for)
{
    static const size_t aligns[] = { 4096, 8192, 65536, 2 << 20 }, bad[] = { 1, 64, 2048, 12345, (size_t)1 << 31 };
    for (unsigned i = 0; i < sizeof aligns / sizeof *aligns; i++) {
        struct ring_blocks_options options = aligned(aligns[i]);
        options.class_count = 2;
        options.classes[1] = (struct ring_blocks_class){ 70000, 2 };
        struct ring_segment *segment =
            test_create(RING_SEGMENT_MIN_BYTES + ring_blocks_footprint_with(&options) + 8192);
        REQUIRE_OK(ring_blocks_create(segment, "before", 64, 10)); /* it begins somewhere */
        REQUIRE_OK(ring_blocks_create_with(segment, "pool", &options));
        test_pool_open(&one, segment);
        for (int k = 0; k < FEW + 2; k++) {
            void *address;
            uint64_t handle;
            REQUIRE_SAME(ring_block_allocate(&one, k < FEW ? 100 : 70000, &handle, &address), 0);
            REQUIRE_SAME((uintptr_t)address % aligns[i], 0);
            memset(address, k, k < FEW ? 100 : 70000);
        }
        REQUIRE_OK(ring_blocks_close(&one));
        test_pool_is_whole(segment);
        test_pool_end(segment);
    }
    struct ring_segment *segment = test_create(1 << 20);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ring_blocks_options options = aligned(bad[i]);
        REQUIRE_SAME(ring_blocks_footprint_with(&options), 0);
        REQUIRE_REFUSED(ring_blocks_create_with(segment, "pool", &options), EINVAL);
    }
    test_pool_end(segment);
}

Test(blocks, a_block_that_is_freed_twice_or_by_a_stale_handle_is_refused_and_nothing_is_lost)
{
    struct ring_segment *segment = open_two(64, COUNT);
    uint64_t handle = test_take(&one, 64);
    void *address;
    REQUIRE_SAME(ring_block_free(&one, handle), 0);
    for (int again = 0; again < 3; again++) {
        REQUIRE_REFUSED(ring_block_free(&one, handle), ESTALE);
        REQUIRE_REFUSED(ring_block_free(&two, handle), ESTALE);
        REQUIRE_REFUSED(ring_block_pass(&one, handle), ESTALE);
        REQUIRE_REFUSED(ring_block_accept(&two, handle, &address, NULL), ESTALE);
        REQUIRE_REFUSED(ring_block_address(&one, handle, &address, NULL), ESTALE);
        uint64_t next = test_take(&one, 64); /* the same block, most likely */
        REQUIRE(next != handle);
        REQUIRE_REFUSED(ring_block_free(&one, handle), ESTALE);
        REQUIRE_SAME(ring_block_free(&one, next), 0);
    }
    close_two(segment);
}

Test(blocks, a_handle_of_another_pool_or_of_none_is_refused)
{
    struct ring_blocks_options options = ring_blocks_defaults(64, COUNT);
    struct ring_segment *segment = test_create(1 << 20);
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &options));
    REQUIRE_OK(ring_blocks_create(segment, "other", 64, COUNT));
    test_pool_open(&one, segment);
    REQUIRE_OK(ring_blocks_open(&two, segment, "other", RING_NO_WAIT));
    uint64_t foreign = test_take(&two, 64);
    REQUIRE_REFUSED(ring_block_free(&one, foreign), ESTALE);
    REQUIRE_REFUSED(ring_block_free(&one, RING_BLOCK_NONE), EINVAL);
    REQUIRE_REFUSED(ring_block_free(&one, UINT64_MAX), EINVAL);
    REQUIRE_REFUSED(ring_block_free(&one, COUNT + 1), EINVAL);
    REQUIRE_REFUSED(ring_block_accept(&one, COUNT + 1, NULL, NULL), EINVAL);
    REQUIRE_REFUSED(ring_block_pass(&one, 0), EINVAL);
    REQUIRE_REFUSED(ring_block_look(&one, 0, NULL, NULL), EINVAL);
    REQUIRE_REFUSED(ring_block_check(&one, 0), EINVAL);
    REQUIRE_REFUSED(ring_block_allocate(&one, 64, NULL, NULL), EINVAL);
    REQUIRE_SAME(ring_block_free(&two, foreign), 0);
    REQUIRE_OK(ring_blocks_close(&two));
    REQUIRE_OK(ring_blocks_close(&one));
    REQUIRE_REFUSED(ring_block_look(&two, foreign, NULL, NULL), EBADF);
    REQUIRE_REFUSED(ring_block_check(&two, foreign), EBADF);
    test_pool_is_whole(segment);
    test_pool_end(segment);
}

Test(blocks, a_block_of_another_living_participant_cannot_be_freed_nor_taken)
{
    struct ring_segment *segment = open_two(64, COUNT);
    uint64_t handle = test_take(&one, 64);
    REQUIRE_REFUSED(ring_block_free(&two, handle), EPERM);
    REQUIRE_REFUSED(ring_block_pass(&two, handle), EPERM);
    REQUIRE_REFUSED(ring_block_accept(&two, handle, NULL, NULL), EPERM);
    REQUIRE_REFUSED(ring_block_address(&two, handle, NULL, NULL), EPERM);
    REQUIRE_REFUSED(ring_block_accept(&one, handle, NULL, NULL), EALREADY);
    REQUIRE_SAME(ring_block_free(&one, handle), 0);
    close_two(segment);
}

Test(blocks, a_block_in_transit_belongs_to_the_first_who_accepts_it)
{
    struct ring_segment *segment = open_two(64, COUNT);
    void *mine, *theirs;
    uint64_t handle;
    REQUIRE_SAME(ring_block_allocate(&one, 64, &handle, &mine), 0);
    memcpy(mine, "frame", 6);
    REQUIRE_SAME(ring_block_pass(&one, handle), 0);
    REQUIRE_REFUSED(ring_block_pass(&one, handle), EALREADY);
    REQUIRE_SAME(ring_block_address(&two, handle, &theirs, NULL), 0);
    REQUIRE_SAME(ring_block_accept(&two, handle, &theirs, NULL), 0);
    REQUIRE(strcmp(theirs, "frame") == 0);
    REQUIRE_REFUSED(ring_block_accept(&two, handle, NULL, NULL), EALREADY);
    REQUIRE_REFUSED(ring_block_accept(&one, handle, NULL, NULL), EPERM);
    REQUIRE_REFUSED(ring_block_free(&one, handle), EPERM);
    REQUIRE_SAME(ring_block_free(&two, handle), 0);
    close_two(segment);
}

Test(blocks, a_sender_takes_back_what_it_could_not_send)
{
    struct ring_segment *segment = open_two(64, COUNT);
    uint64_t handle = test_take(&one, 64);
    for (int times = 0; times < 2000; times++) { /* hops come round */
        REQUIRE_SAME(ring_block_pass(&one, handle), 0);
        REQUIRE_SAME(ring_block_accept(&one, handle, NULL, NULL), 0);
    }
    REQUIRE_SAME(ring_block_free(&one, handle), 0);
    REQUIRE_REFUSED(ring_block_free(&one, handle), ESTALE);
    close_two(segment);
}

Test(blocks, a_block_in_transit_can_be_freed_by_anybody_once)
{
    struct ring_segment *segment = open_two(64, COUNT);
    for (int round = 0; round < 3 * COUNT; round++) {
        uint64_t handle = test_take(&one, 64);
        REQUIRE_SAME(ring_block_pass(&one, handle), 0);
        REQUIRE_SAME(ring_block_free(&two, handle), 0);
        REQUIRE_REFUSED(ring_block_free(&one, handle), ESTALE);
    }
    close_two(segment);
}

Test(blocks, a_lent_block_is_seen_to_be_gone_after_it_was_freed)
{
    struct ring_segment *segment = open_two(64, COUNT);
    const void *lent;
    size_t bytes;
    uint64_t handle = test_take(&one, 64);
    REQUIRE_SAME(ring_block_look(&two, handle, &lent, &bytes), 0);
    REQUIRE_SAME(bytes, 64);
    REQUIRE_SAME(ring_block_check(&two, handle), 0);
    REQUIRE_SAME(ring_block_free(&one, handle), 0);
    REQUIRE_REFUSED(ring_block_check(&two, handle), ESTALE);
    REQUIRE_REFUSED(ring_block_look(&two, handle, &lent, &bytes), ESTALE);
    REQUIRE(lent == NULL);
    close_two(segment);
}

Test(blocks, closing_frees_what_was_owned_and_leaves_what_is_in_transit)
{
    struct ring_segment *segment = open_two(64, COUNT);
    uint64_t owned = test_take(&one, 64), passed = test_take(&one, 64);
    REQUIRE_SAME(ring_block_pass(&one, passed), 0);
    REQUIRE_OK(ring_blocks_close(&one));
    REQUIRE_REFUSED(ring_blocks_close(&one), EBADF);
    REQUIRE_REFUSED(ring_block_accept(&two, owned, NULL, NULL), ESTALE);
    REQUIRE_SAME(test_pool_info(segment).classes[0].passed, 1);
    REQUIRE_SAME(ring_block_accept(&two, passed, NULL, NULL), 0);
    REQUIRE_SAME(ring_block_free(&two, passed), 0);
    REQUIRE_OK(ring_blocks_close(&two));
    REQUIRE_SAME(test_pool_info(segment).classes[0].free, COUNT);
    test_pool_is_whole(segment);
    test_pool_end(segment);
}

Test(blocks, generations_come_round_and_old_handles_still_fit_no_more)
{
    struct ring_blocks_options options = ring_blocks_defaults(64, 2);
    options.start_generation = (UINT64_C(1) << 40) - 3;
    struct ring_segment *segment = test_pool_with(&options);
    test_pool_open(&one, segment);
    uint64_t before = RING_BLOCK_NONE;
    for (int round = 0; round < 20; round++) {
        uint64_t handle = test_take(&one, 64);
        REQUIRE_SAME(ring_block_free(&one, handle), 0);
        REQUIRE(handle != before);
        if (before)
            REQUIRE_REFUSED(ring_block_free(&one, before), ESTALE);
        before = handle;
    }
    REQUIRE_OK(ring_blocks_close(&one));
    test_pool_end(segment);
}

Test(blocks, caches_keep_no_more_than_was_allowed)
{
    for (unsigned limit = 0; limit <= RING_BLOCK_CACHE_MOST; limit += 21) {
        struct ring_blocks_options options = ring_blocks_defaults(64, 200);
        uint64_t handles[200];
        options.cache = limit;
        struct ring_segment *segment = test_pool_with(&options);
        test_pool_open(&one, segment);
        for (int i = 0; i < 200; i++)
            handles[i] = test_take(&one, 64);
        for (int i = 0; i < 200; i++) {
            REQUIRE_SAME(ring_block_free(&one, handles[i]), 0);
            REQUIRE(test_pool_info(segment).classes[0].cached <= limit);
        }
        REQUIRE_OK(ring_blocks_close(&one));
        test_pool_is_whole(segment);
        test_pool_end(segment);
    }
}

Test(blocks, options_out_of_range_are_refused)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_blocks_options options = ring_blocks_defaults(64, 10);
    REQUIRE_REFUSED(ring_blocks_create(segment, "pool", 0, 10), EINVAL);
    REQUIRE_REFUSED(ring_blocks_create(segment, "pool", 64, 0), EINVAL);
    REQUIRE_REFUSED(ring_blocks_create(segment, "pool", 64, (size_t)1 << 24), EINVAL);
    REQUIRE_REFUSED(ring_blocks_create(segment, "pool", (size_t)1 << 40, 2), EINVAL);
    REQUIRE_REFUSED(ring_blocks_create(segment, "pool", 64, 1 << 20), ENOSPC);
    options.class_count = 2;
    options.classes[1] = options.classes[0];
    REQUIRE_REFUSED(ring_blocks_create_with(segment, "pool", &options), EINVAL);
    options.class_count = 1;
    options.seats = 0;
    REQUIRE_REFUSED(ring_blocks_create_with(segment, "pool", &options), EINVAL);
    options.seats = 1;
    options.cache = RING_BLOCK_CACHE_MOST + 1;
    REQUIRE_REFUSED(ring_blocks_create_with(segment, "pool", &options), EINVAL);
    options.cache = 1;
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &options));
    REQUIRE_REFUSED(ring_blocks_create_with(segment, "pool", &options), EEXIST);
    test_pool_open(&one, segment);
    REQUIRE_REFUSED(ring_blocks_open(&two, segment, "pool", RING_NO_WAIT), EUSERS);
    REQUIRE_REFUSED(ring_blocks_open(&two, segment, "none", RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_blocks_open(&two, segment, "none", 1000), ETIMEDOUT);
    uint64_t handle;
    void *address;
    REQUIRE_SAME(ring_block_allocate(&two, 1, &handle, &address), -EBADF);
    REQUIRE_OK(ring_blocks_close(&one));
    test_pool_end(segment);
}

static int use_in_child(void *argument)
{
    uint64_t handle;
    void *address;
    (void)argument;
    REQUIRE_SAME(ring_block_allocate(&one, 1, &handle, &address), -ECHILD);
    REQUIRE_SAME(ring_block_free(&one, 1), -ECHILD);
    REQUIRE_SAME(ring_block_accept(&one, 1, NULL, NULL), -ECHILD);
    REQUIRE_OK(ring_blocks_close(&one));
    return 0;
}

Test(blocks, a_handle_is_of_no_use_in_a_child_after_fork)
{
    struct ring_segment *segment = open_two(64, COUNT);
    uint64_t handle = test_take(&one, 64);
    test_wait(test_spawn(use_in_child, NULL));
    REQUIRE_SAME(ring_block_free(&one, handle), 0);
    close_two(segment);
}

/* ---- Threads and processes at once ---- */

enum { WORKERS = 3, HELD = 40 };

static int work(void *argument)
{
    static struct ring_blocks own;
    struct test_random random = { (uint64_t)(uintptr_t)argument + 1 };
    uint64_t handles[HELD] = { 0 }, *places[HELD];
    test_pool_open(&own, test_attach());
    for (uint64_t round = test_rounds(300000); round; round--) {
        unsigned at = (unsigned)test_below(&random, HELD);
        void *address;
        if (handles[at]) {
            REQUIRE(*places[at] == handles[at]); /* nobody else has it */
            REQUIRE_SAME(ring_block_free(&own, handles[at]), 0);
            handles[at] = 0;
        } else if (ring_block_allocate(&own, 64, &handles[at], &address) == 0) {
            places[at] = address;
            *places[at] = handles[at];
        } else {
            handles[at] = 0;
        }
    }
    for (int at = 0; at < HELD; at++)
        if (handles[at])
            REQUIRE_SAME(ring_block_free(&own, handles[at]), 0);
    REQUIRE_OK(ring_blocks_close(&own));
    return 0;
}

Test(blocks, several_processes_at_once_never_have_the_same_block)
{
    static const unsigned caches[] = { 0, 1, 8, RING_BLOCK_CACHE_USUAL };
    for (unsigned i = 0; i < 4; i++) {
        struct ring_blocks_options options = ring_blocks_defaults(64, WORKERS * HELD - 30);
        options.cache = caches[i];
        struct ring_segment *segment = test_pool_with(&options);
        pid_t workers[WORKERS];
        for (uintptr_t worker = 0; worker < WORKERS; worker++)
            workers[worker] = test_spawn(work, (void *)worker);
        for (int worker = 0; worker < WORKERS; worker++)
            test_wait(workers[worker]);
        REQUIRE_SAME(test_pool_info(segment).classes[0].free, WORKERS * HELD - 30);
        test_pool_is_whole(segment);
        test_pool_end(segment);
    }
}
