/* heap_pieces.c - pieces of any size: they never overlap, come back and join, and references that fit no more are
 * refused. After each test the heap is walked: all its words fit together. */
#include "harness.h"

#include <signal.h>
#include <sys/wait.h>

enum { BYTES = 1 << 20 };

static struct ring_segment *segment;
static struct ring_heap heap;

static void open_with(const struct ring_heap_options *options)
{
    segment = test_create(RING_SEGMENT_MIN_BYTES + ring_heap_footprint_with(options) + (64 << 10));
    REQUIRE_OK(ring_heap_create_with(segment, "heap", options));
    REQUIRE_OK(ring_heap_open(&heap, segment, "heap", RING_NO_WAIT));
}

static void open_heap(void)
{
    struct ring_heap_options options = ring_heap_defaults(BYTES);
    open_with(&options);
}

static struct ring_heap_info heap_info(void)
{
    struct ring_heap_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_heap_info(segment, "heap", &info));
    return info;
}

static void close_heap(void)
{
    REQUIRE_OK(ring_heap_check(&heap, TEST_LONG));
    REQUIRE_OK(ring_heap_close(&heap));
    struct ring_heap_info info = heap_info();
    REQUIRE(info.pieces == 0 && info.used == 0 && !info.locked);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static uint64_t get(size_t bytes)
{
    uint64_t reference = RING_HEAP_NONE;
    REQUIRE_SAME(ring_heap_allocate(&heap, bytes, &reference, TEST_LONG), 0);
    REQUIRE(reference != RING_HEAP_NONE && ring_heap_size(&heap, reference) >= bytes);
    REQUIRE((uintptr_t)ring_heap_address(&heap, reference) % 64 == 0);
    return reference;
}

Test(heap, the_whole_heap_is_one_piece_again_after_all_was_freed)
{
    open_heap();
    for (size_t bytes = 1; bytes <= BYTES; bytes = bytes * 3 + 1) {
        uint64_t references[40];
        unsigned count = 0;
        while (count < 40 && ring_heap_allocate(&heap, bytes, &references[count], TEST_LONG) == 0)
            count++;
        REQUIRE(count == 40 || (count + 1) * (bytes + 64) > BYTES * 9 / 10);
        REQUIRE_OK(ring_heap_check(&heap, TEST_LONG));
        for (unsigned i = 0; i < count; i += 2)
            REQUIRE_SAME(ring_heap_free(&heap, references[i], TEST_LONG), 0);
        REQUIRE_OK(ring_heap_check(&heap, TEST_LONG));
        for (unsigned i = 1; i < count; i += 2)
            REQUIRE_SAME(ring_heap_free(&heap, references[i], TEST_LONG), 0);
        for (unsigned i = 0; i < count; i++)
            REQUIRE(ring_heap_address(&heap, references[i]) == NULL);
        uint64_t all = get(BYTES);
        REQUIRE_SAME(ring_heap_free(&heap, all, TEST_LONG), 0);
    }
    close_heap();
}

Test(heap, what_is_too_long_is_refused)
{
    uint64_t reference;
    open_heap();
    REQUIRE_SAME(ring_heap_allocate(&heap, BYTES + 1, &reference, TEST_LONG), -EMSGSIZE);
    REQUIRE_SAME(ring_heap_allocate(&heap, SIZE_MAX, &reference, TEST_LONG), -EMSGSIZE);
    uint64_t all = get(BYTES);
    REQUIRE_SAME(ring_heap_allocate(&heap, 1, &reference, TEST_LONG), -ENOSPC);
    REQUIRE_SAME(ring_heap_free(&heap, all, TEST_LONG), 0);
    uint64_t none = get(0);
    REQUIRE(ring_heap_size(&heap, none) > 0);
    REQUIRE_SAME(ring_heap_free(&heap, none, TEST_LONG), 0);
    close_heap();
}

Test(heap, a_reference_that_is_stale_or_foreign_is_refused_and_nothing_is_lost)
{
    open_heap();
    uint64_t one = get(1000), two = get(1000);
    uint64_t foreign[] = { RING_HEAP_NONE,  one + 1,    one + 15,         one + (UINT64_C(1) << 32),
                           (uint64_t)BYTES, UINT64_MAX, one & UINT32_MAX, UINT32_MAX };
    for (unsigned i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        REQUIRE_REFUSED_SOMEHOW(ring_heap_free(&heap, foreign[i], TEST_LONG));
        REQUIRE_REFUSED_SOMEHOW(ring_heap_keep(&heap, foreign[i], TEST_LONG));
        REQUIRE(ring_heap_address(&heap, foreign[i]) == NULL && ring_heap_size(&heap, foreign[i]) == 0);
    }
    REQUIRE_REFUSED(ring_heap_free(&heap, RING_HEAP_NONE, TEST_LONG), EINVAL);
    REQUIRE_SAME(ring_heap_free(&heap, one, TEST_LONG), 0);
    REQUIRE_REFUSED(ring_heap_free(&heap, one, TEST_LONG), ESTALE);
    uint64_t again = get(1000); /* the same place */
    REQUIRE_REFUSED(ring_heap_free(&heap, one, TEST_LONG), ESTALE);
    REQUIRE_REFUSED(ring_heap_set_root(&heap, 0, one, TEST_LONG), ESTALE);
    REQUIRE_REFUSED(ring_heap_set_root(&heap, RING_HEAP_ROOTS, again, TEST_LONG), EINVAL);
    REQUIRE_SAME(ring_heap_free(&heap, again, TEST_LONG), 0);
    REQUIRE_SAME(ring_heap_free(&heap, two, TEST_LONG), 0);
    close_heap();
}

Test(heap, pieces_of_random_sizes_never_overlap)
{
    static const unsigned granules[] = { 64, 512, 4096 };
    enum { PIECES = 300 };
    static struct {
        uint64_t reference;
        size_t bytes;
    } pieces[PIECES];
    for (unsigned at = 0; at < 3; at++) {
        struct test_random random = { at };
        struct ring_heap_options options = ring_heap_defaults(BYTES);
        options.granule_bytes = granules[at];
        open_with(&options);
        memset(pieces, 0, sizeof pieces);
        for (uint64_t round = 0; round < test_rounds(60000); round++) {
            unsigned i = (unsigned)test_below(&random, PIECES);
            if (pieces[i].reference) {
                unsigned char *bytes = ring_heap_address(&heap, pieces[i].reference);
                REQUIRE(bytes && test_matches(bytes, pieces[i].bytes, pieces[i].reference));
                REQUIRE_SAME(ring_heap_free(&heap, pieces[i].reference, TEST_LONG), 0);
                pieces[i].reference = 0;
                continue;
            }
            pieces[i].bytes = test_below(&random, test_below(&random, 8) ? 200 : 60000);
            int code = ring_heap_allocate(&heap, pieces[i].bytes, &pieces[i].reference, TEST_LONG);
            REQUIRE_ONE_OF(code, 0, -ENOSPC);
            if (code)
                pieces[i].reference = 0;
            else
                test_fill(ring_heap_address(&heap, pieces[i].reference), pieces[i].bytes, pieces[i].reference);
            if (round % 1000 == 0)
                REQUIRE_OK(ring_heap_check(&heap, TEST_LONG));
        }
        close_heap(); /* frees what was not kept */
    }
}

Test(heap, options_out_of_range_are_refused)
{
    struct ring_heap_options options = ring_heap_defaults(BYTES);
    struct ring_heap other;
    options.seats = 1;
    open_with(&options);
    REQUIRE_REFUSED(ring_heap_open(&other, segment, "heap", RING_NO_WAIT), EUSERS);
    REQUIRE_REFUSED(ring_heap_open(&other, segment, "none", RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_heap_create(segment, "heap", 4096), EEXIST);
    REQUIRE_REFUSED(ring_heap_create(segment, "more", 0), EINVAL);
    REQUIRE_REFUSED(ring_heap_create(segment, "more", RING_HEAP_MAX_BYTES / 2), ENOSPC);
    options.granule_bytes = 100;
    REQUIRE_REFUSED(ring_heap_create_with(segment, "more", &options), EINVAL);
    REQUIRE_REFUSED(ring_blocks_create(segment, "heap", 64, 10), EEXIST);
    struct ring_blocks blocks;
    REQUIRE_REFUSED(ring_blocks_open(&blocks, segment, "heap", RING_NO_WAIT), EINVAL);
    close_heap();
}

/* ---- Roots, and what is kept ---- */

static int allocate_and_die(void *argument)
{
    (void)argument;
    REQUIRE_OK(ring_heap_open(&heap, test_attach(), "heap", TEST_LONG));
    uint64_t root = get(100), kept = get(200);
    get(300);
    uint64_t *link = ring_heap_address(&heap, root);
    *link = kept;
    REQUIRE_SAME(ring_heap_keep(&heap, kept, TEST_LONG), 0);
    REQUIRE_SAME(ring_heap_set_root(&heap, 3, root, TEST_LONG), 0);
    for (;;)
        raise(SIGKILL);
}

Test(heap, a_structure_outlives_its_makers_and_what_they_had_not_kept_is_freed)
{
    for (int way = 0; way < 2; way++) {
        open_heap();
        REQUIRE(WIFSIGNALED(test_wait_status(test_spawn(allocate_and_die, NULL))));
        REQUIRE_SAME(heap_info().pieces, 3);
        uint64_t freed = 0;
        struct ring_recovery report = { .struct_size = sizeof report };
        if (way == 0) {
            REQUIRE_OK(ring_heap_recover(&heap, &freed, TEST_LONG));
        } else {
            REQUIRE_OK(ring_segment_recover(segment, &report));
            freed = report.pieces_freed;
        }
        REQUIRE_SAME(freed, 1);
        REQUIRE_SAME(heap_info().dead, 0);
        uint64_t root = ring_heap_root(&heap, 3);
        uint64_t *link = ring_heap_address(&heap, root);
        REQUIRE(link && ring_heap_address(&heap, *link));
        REQUIRE_SAME(ring_heap_free(&heap, *link, TEST_LONG), 0);
        REQUIRE_SAME(ring_heap_set_root(&heap, 3, RING_HEAP_NONE, TEST_LONG), 0);
        REQUIRE_SAME(ring_heap_free(&heap, root, TEST_LONG), 0);
        close_heap();
    }
}

static int hog_and_die(void *argument)
{
    (void)argument;
    REQUIRE_OK(ring_heap_open(&heap, test_attach(), "heap", TEST_LONG));
    get(BYTES);
    for (;;)
        raise(SIGKILL);
}

Test(heap, an_allocation_that_finds_no_room_frees_what_the_dead_had)
{
    open_heap();
    REQUIRE(WIFSIGNALED(test_wait_status(test_spawn(hog_and_die, NULL))));
    uint64_t all = get(BYTES);
    REQUIRE_SAME(ring_heap_free(&heap, all, TEST_LONG), 0);
    close_heap();
}

/* ---- At any moment ---- */

static int churn(void *argument)
{
    enum { PIECES = 60 };
    static uint64_t pieces[PIECES];
    struct test_random random = { *(uint64_t *)argument };
    REQUIRE_OK(ring_heap_open(&heap, test_attach(), "heap", TEST_LONG));
    for (;;) {
        unsigned i = (unsigned)test_below(&random, PIECES);
        if (pieces[i]) {
            uint64_t *place = ring_heap_address(&heap, pieces[i]);
            REQUIRE(place && *place == pieces[i]); /* nobody else has it */
            REQUIRE_SAME(ring_heap_free(&heap, pieces[i], TEST_LONG), 0);
            pieces[i] = 0;
        } else if (ring_heap_allocate(&heap, test_below(&random, 3000), &pieces[i], TEST_LONG) == 0) {
            *(uint64_t *)ring_heap_address(&heap, pieces[i]) = pieces[i];
        } else {
            pieces[i] = 0;
        }
    }
    return 0;
}

Test(heap_death, whoever_dies_at_any_moment_leaves_a_heap_that_is_whole)
{
    uint64_t seeds[2] = { 1, 2 };
    open_heap();
    pid_t children[2] = { test_spawn(churn, &seeds[0]), test_spawn(churn, &seeds[1]) };
    unsigned in_the_act = 0;
    for (int victim = 0; victim < (int)test_rounds(200); victim++) {
        test_nap(1000000 + (int64_t)(test_mix((uint64_t)victim) % 3000000));
        test_kill(children[victim % 2]);
        in_the_act += heap_info().locked;
        REQUIRE_OK(ring_heap_check(&heap, TEST_LONG));
        seeds[victim % 2] += 100;
        children[victim % 2] = test_spawn(churn, &seeds[victim % 2]);
    }
    test_kill(children[0]);
    test_kill(children[1]);
    REQUIRE(in_the_act > 0);
    REQUIRE_OK(ring_heap_recover(&heap, NULL, TEST_LONG));
    close_heap();
}

static int hold_lock(void *argument)
{
    uint64_t seed = 7;
    ring_atomic_store((RING_ATOMIC(uint64_t) *)argument, 1, memory_order_release);
    return churn(&seed);
}

/* Somebody stopped while it has the lock is waited for, and not robbed. */
Test(heap_death, a_stopped_holder_of_the_lock_is_waited_for_up_to_the_time_limit)
{
    RING_ATOMIC(uint64_t) *ready = test_shared(8);
    uint64_t reference;
    open_heap();
    pid_t child = test_spawn(hold_lock, ready);
    test_await(ready, 1);
    bool caught = false;
    for (int attempt = 0; attempt < 2000 && !caught; attempt++) {
        kill(child, SIGSTOP);
        REQUIRE_SAME(waitpid(child, NULL, WUNTRACED), child);
        caught = heap_info().locked;
        if (!caught)
            kill(child, SIGCONT);
        test_nap(50000);
    }
    REQUIRE(caught);
    REQUIRE_SAME(ring_heap_allocate(&heap, 1, &reference, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_heap_allocate(&heap, 1, &reference, 20000000), -ETIMEDOUT);
    test_kill(child);
    REQUIRE_SAME(ring_heap_allocate(&heap, 1, &reference, TEST_LONG), 0);
    REQUIRE_SAME(ring_heap_free(&heap, reference, TEST_LONG), 0);
    REQUIRE_OK(ring_heap_recover(&heap, NULL, TEST_LONG));
    close_heap();
}
