/* segment_freeing.c - rings given back: their room and their names used again, never under somebody who lives. */
#include "harness.h"

#include <signal.h>
#include <sys/wait.h>

enum { RING_BYTES = 4096, ROUNDS = 400 };

static struct ring_entry_info entry_named(struct ring_segment *segment, const char *name)
{
    for (unsigned i = 0; i < RING_SEGMENT_DEFAULT_RINGS; i++) {
        struct ring_entry_info entry;
        if (ring_segment_entry(segment, i, &entry) == 0 && strcmp(entry.name, name) == 0)
            return entry;
    }
    test_failed(__FILE__, __LINE__, "no entry '%s'", name);
}

static uint64_t used_bytes(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info.used_bytes;
}

/* Both ends of a ring of any kind work. */
static void use_spsc(struct ring_segment *segment, const char *name)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, name, 0));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, name, 0));
    for (uint64_t i = 0; i < 20; i++) {
        test_send(&producer, 800, i);
        test_recv(&consumer, 800, i);
    }
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
}

static void use_mpmc(struct ring_segment *segment, const char *name)
{
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    uint64_t number;
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, name, 0));
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, name, 0));
    for (uint64_t i = 0; i < 50; i++) {
        REQUIRE_OK(ring_mpmc_send(&producer, &i, sizeof i, 0));
        REQUIRE_SAME(ring_mpmc_recv(&consumer, &number, sizeof number, 0), sizeof number);
        REQUIRE_SAME(number, i);
    }
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
}

static void use_broadcast(struct ring_segment *segment, const char *name)
{
    struct ring_broadcast_producer producer;
    struct ring_broadcast_consumer consumer;
    uint64_t number;
    REQUIRE_OK(ring_broadcast_open_producer(&producer, segment, name, 0));
    REQUIRE_OK(ring_broadcast_open_consumer(&consumer, segment, name, RING_BROADCAST_NEWEST, 0, 0));
    for (uint64_t i = 0; i < 50; i++) {
        REQUIRE_OK(ring_broadcast_send(&producer, &i, sizeof i, 0));
        REQUIRE_SAME(ring_broadcast_recv(&consumer, &number, sizeof number, 0), sizeof number);
        REQUIRE_SAME(number, i);
    }
    REQUIRE_OK(ring_broadcast_close_producer(&producer));
    REQUIRE_OK(ring_broadcast_close_consumer(&consumer));
}

Test(freeing, the_room_and_the_name_of_a_freed_ring_are_used_again)
{
    struct ring_segment *segment = test_create(1 << 17);
    uint64_t empty = used_bytes(segment);
    REQUIRE_OK(ring_spsc_create(segment, "a", RING_BYTES));
    REQUIRE_OK(ring_spsc_create(segment, "b", RING_BYTES));
    struct ring_entry_info first = entry_named(segment, "a");
    use_spsc(segment, "a");
    REQUIRE_OK(ring_segment_free(segment, "a"));
    struct ring_spsc_producer producer;
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "a", RING_NO_WAIT), ENOENT);
    use_spsc(segment, "b");
    struct ring_mpmc_options other = ring_mpmc_defaults(); /* of another kind, and as large */
    other.slots = 16;
    other.seats = 4;
    REQUIRE_SAME(ring_mpmc_footprint_with(&other), first.bytes);
    REQUIRE_OK(ring_mpmc_create_with(segment, "a", &other));
    struct ring_entry_info second = entry_named(segment, "a");
    REQUIRE_SAME(second.offset, first.offset);
    REQUIRE_SAME(second.turn, first.turn + 1);
    use_mpmc(segment, "a");
    REQUIRE_OK(ring_segment_free(segment, "a"));
    REQUIRE_OK(ring_segment_free(segment, "b"));
    REQUIRE_SAME(used_bytes(segment), empty);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(freeing, a_thousand_rings_of_all_kinds_pass_through_a_segment_for_two)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 17);
    options.rings = 2;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "stays", RING_BYTES));
    for (unsigned i = 0; i < 1000; i++) {
        if (i % 3 == 0) {
            REQUIRE_OK(ring_spsc_create(segment, "passes", RING_BYTES << i % 4));
            use_spsc(segment, "passes");
        } else if (i % 3 == 1) {
            REQUIRE_OK(ring_mpmc_create(segment, "passes", 8 << i % 5, 24));
            use_mpmc(segment, "passes");
        } else {
            REQUIRE_OK(ring_broadcast_create(segment, "passes", 8 << i % 5, 24, RING_BROADCAST_OVERWRITE));
            use_broadcast(segment, "passes");
        }
        REQUIRE_OK(ring_segment_free(segment, "passes"));
    }
    use_spsc(segment, "stays");
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(freeing, the_smallest_free_piece_that_is_large_enough_is_taken)
{
    struct ring_segment *segment = test_create(1 << 20);
    static const size_t sizes[] = { 64 << 10, 4 << 10, 16 << 10, 4 << 10, 32 << 10, 4 << 10 };
    char name[2] = "0";
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++, name[0]++)
        REQUIRE_OK(ring_spsc_create(segment, name, sizes[i]));
    uint64_t middle = entry_named(segment, "2").offset;
    REQUIRE_OK(ring_segment_free(segment, "0"));
    REQUIRE_OK(ring_segment_free(segment, "2"));
    REQUIRE_OK(ring_segment_free(segment, "4"));
    REQUIRE_OK(ring_spsc_create(segment, "new", 8 << 10));
    REQUIRE_SAME(entry_named(segment, "new").offset, middle);
    use_spsc(segment, "1");
    use_spsc(segment, "new");
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(freeing, a_ring_in_use_is_not_freed_and_the_refusal_names_who_holds_it)
{
    struct ring_segment *segment = test_create(1 << 18);
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    REQUIRE_OK(ring_spsc_create(segment, "s", RING_BYTES));
    REQUIRE_OK(ring_mpmc_create(segment, "m", 16, 8));
    REQUIRE_OK(ring_broadcast_create(segment, "b", 16, 8, RING_BROADCAST_LOSSLESS));
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "s", 0));
    REQUIRE_REFUSED(ring_segment_free(segment, "s"), EBUSY);
    REQUIRE(strstr(ring_error_detail(), pid));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "s", 0));
    REQUIRE_REFUSED(ring_segment_free(segment, "s"), EBUSY);
    REQUIRE(strstr(ring_error_detail(), pid));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    struct ring_mpmc_consumer taker;
    REQUIRE_OK(ring_mpmc_open_consumer(&taker, segment, "m", 0));
    REQUIRE_REFUSED(ring_segment_free(segment, "m"), EBUSY);
    REQUIRE(strstr(ring_error_detail(), pid));
    REQUIRE_OK(ring_mpmc_close_consumer(&taker));
    struct ring_broadcast_producer teller;
    struct ring_broadcast_consumer hearer;
    REQUIRE_OK(ring_broadcast_open_producer(&teller, segment, "b", 0));
    REQUIRE_REFUSED(ring_segment_free(segment, "b"), EBUSY);
    REQUIRE(strstr(ring_error_detail(), pid));
    REQUIRE_OK(ring_broadcast_close_producer(&teller));
    REQUIRE_OK(ring_broadcast_open_consumer(&hearer, segment, "b", RING_BROADCAST_NEWEST, 0, 0));
    REQUIRE_REFUSED(ring_segment_free(segment, "b"), EBUSY);
    REQUIRE(strstr(ring_error_detail(), pid));
    REQUIRE_OK(ring_broadcast_close_consumer(&hearer));
    REQUIRE_OK(ring_segment_free(segment, "s"));
    REQUIRE_OK(ring_segment_free(segment, "m"));
    REQUIRE_OK(ring_segment_free(segment, "b"));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(freeing, an_observer_keeps_its_ring_though_it_may_only_read)
{
    struct ring_segment *segment = test_create(1 << 18), *reading;
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_broadcast_create(segment, "b", 16, 8, RING_BROADCAST_OVERWRITE));
    REQUIRE_OK(ring_segment_attach(&reading, test_name(), &options, 0));
    struct ring_broadcast_consumer observer;
    REQUIRE_OK(ring_broadcast_open_observer(&observer, reading, "b", RING_BROADCAST_NEWEST, 0, 0));
    REQUIRE_REFUSED(ring_segment_free(segment, "b"), EBUSY);
    REQUIRE_REFUSED(ring_segment_free(reading, "b"), EACCES);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    REQUIRE_OK(ring_segment_free(segment, "b"));
    REQUIRE_OK(ring_segment_close(&reading));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(freeing, what_is_not_there_cannot_be_freed)
{
    struct ring_segment *segment = test_create(1 << 17);
    REQUIRE_REFUSED(ring_segment_free(segment, "none"), ENOENT);
    REQUIRE_OK(ring_spsc_create(segment, "once", RING_BYTES));
    REQUIRE_OK(ring_segment_free(segment, "once"));
    REQUIRE_REFUSED(ring_segment_free(segment, "once"), ENOENT);
    REQUIRE_REFUSED(ring_segment_free(segment, NULL), EINVAL);
    REQUIRE_REFUSED(ring_segment_free(segment, "a/b"), EINVAL);
    REQUIRE_REFUSED(ring_segment_free(NULL, "once"), EINVAL);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int hold_all(void *argument)
{
    RING_ATOMIC(uint64_t) *ready = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    struct ring_mpmc_producer giver;
    struct ring_broadcast_consumer hearer, observer;
    struct ring_blocks blocks;
    REQUIRE_OK(ring_blocks_open(&blocks, segment, "p", 0));
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "s", 0));
    REQUIRE_OK(ring_mpmc_open_producer(&giver, segment, "m", 0));
    REQUIRE_OK(ring_broadcast_open_consumer(&hearer, segment, "b", RING_BROADCAST_NEWEST, 0, 0));
    REQUIRE_OK(ring_broadcast_open_observer(&observer, segment, "b", RING_BROADCAST_NEWEST, 0, 0));
    atomic_store(ready, 1);
    test_nap(TEST_LONG);
    return 1;
}

Test(freeing, rings_whose_participants_died_are_freed_and_those_of_a_stopped_one_are_not)
{
    RING_ATOMIC(uint64_t) *ready = test_shared(sizeof *ready);
    struct ring_segment *segment = test_create(1 << 18);
    REQUIRE_OK(ring_spsc_create(segment, "s", RING_BYTES));
    REQUIRE_OK(ring_mpmc_create(segment, "m", 16, 8));
    REQUIRE_OK(ring_broadcast_create(segment, "b", 16, 8, RING_BROADCAST_OVERWRITE));
    REQUIRE_OK(ring_blocks_create(segment, "p", 64, 100));
    pid_t child = test_spawn(hold_all, ready);
    test_await(ready, 1);
    REQUIRE(kill(child, SIGSTOP) == 0);
    static const char *const names[] = { "s", "m", "b", "p" };
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)child);
    for (int i = 0; i < 4; i++) {
        REQUIRE_REFUSED(ring_segment_free(segment, names[i]), EBUSY);
        REQUIRE(strstr(ring_error_detail(), pid));
    }
    test_kill(child);
    for (int i = 0; i < 4; i++)
        REQUIRE_OK(ring_segment_free(segment, names[i]));
    REQUIRE_OK(ring_spsc_create(segment, "s", RING_BYTES));
    use_spsc(segment, "s");
    REQUIRE_OK(ring_segment_close(&segment));
}

/* Makes, uses and frees rings of one name with others who do the same; each use is of a whole ring or refused. */
static int churn(void *argument)
{
    RING_ATOMIC(uint64_t) *count = argument;
    struct ring_segment *segment = test_attach();
    uint64_t seed = atomic_fetch_add(count, 1) << 32;
    for (uint64_t i = 0; i < test_rounds(ROUNDS); i++) {
        struct ring_spsc_producer producer;
        struct ring_spsc_consumer consumer;
        size_t bytes = (size_t)RING_BYTES << test_mix(seed + i) % 3;
        int code = ring_spsc_create(segment, "ring", bytes);
        REQUIRE_ONE_OF(code, 0, -EEXIST, -ENOSPC);
        code = ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT);
        REQUIRE_ONE_OF(code, 0, -EBUSY, -ENOENT);
        if (code == 0) {
            code = ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT);
            REQUIRE_ONE_OF(code, 0, -EBUSY);
            if (code == 0) { /* both ends are ours: nobody may touch it now */
                for (uint64_t k = 0; k < 8; k++) {
                    test_send(&producer, 900, seed + i + k);
                    test_recv(&consumer, 900, seed + i + k);
                }
                REQUIRE_OK(ring_spsc_close_consumer(&consumer));
            }
            REQUIRE_SAME(ring_segment_free(segment, "ring"), -EBUSY);
            REQUIRE_OK(ring_spsc_close_producer(&producer));
        }
        code = ring_segment_free(segment, "ring");
        REQUIRE_ONE_OF(code, 0, -EBUSY, -ENOENT);
    }
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(freeing, makers_users_and_those_who_free_never_meet_in_one_ring)
{
    RING_ATOMIC(uint64_t) *count = test_shared(sizeof *count);
    struct ring_segment *segment = test_create(1 << 17);
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = test_spawn(churn, count);
    for (int i = 0; i < 4; i++)
        test_wait(children[i]);
    int code = ring_segment_free(segment, "ring");
    REQUIRE_ONE_OF(code, 0, -ENOENT);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int churn_for_ever(void *argument)
{
    RING_ATOMIC(uint64_t) *count = argument;
    struct ring_segment *segment = test_attach();
    for (;;) {
        struct ring_mpmc_producer producer;
        int code = ring_mpmc_create(segment, "ring", 16, 8);
        REQUIRE_ONE_OF(code, 0, -EEXIST);
        code = ring_mpmc_open_producer(&producer, segment, "ring", RING_NO_WAIT);
        REQUIRE_ONE_OF(code, 0, -ENOENT);
        if (code == 0) {
            uint64_t number = 1;
            code = ring_mpmc_send(&producer, &number, sizeof number, 0); /* full: so, or as one whose consumers left */
            REQUIRE_ONE_OF(code, 0, -EAGAIN, -EPIPE);
            REQUIRE_OK(ring_mpmc_close_producer(&producer));
        }
        code = ring_segment_free(segment, "ring");
        REQUIRE_ONE_OF(code, 0, -EBUSY, -ENOENT);
        atomic_fetch_add(count, 1);
    }
}

Test(freeing, whoever_is_killed_while_making_or_freeing_leaves_a_working_directory)
{
    struct test_random random = { 11 };
    RING_ATOMIC(uint64_t) *count = test_shared(sizeof *count);
    struct ring_segment *segment = test_create(1 << 17);
    uint64_t empty = used_bytes(segment);
    for (uint64_t round = 0; round < test_rounds(160); round++) {
        pid_t children[2] = { test_spawn(churn_for_ever, count), test_spawn(churn_for_ever, count) };
        test_await(count, atomic_load(count) + 4);
        test_nap((int64_t)test_below(&random, 1000000));
        test_kill(children[0]);
        test_kill(children[1]);
        int code = ring_segment_free(segment, "ring");
        REQUIRE_ONE_OF(code, 0, -ENOENT);
        REQUIRE_SAME(used_bytes(segment), empty);
        REQUIRE_OK(ring_mpmc_create(segment, "ring", 16, 8));
        use_mpmc(segment, "ring");
    }
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Generations ---- */

Test(freeing, generations_of_a_ring_go_the_oldest_first_so_none_is_lost_behind_a_gap)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_create(segment, "ring", RING_BYTES));
    test_open_producer(&producer, segment);
    for (uint64_t i = 0; i < 3; i++) {
        test_send(&producer, 100, i);
        if (i < 2)
            REQUIRE_OK(ring_spsc_grow(&producer, NULL));
    }
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_REFUSED(ring_segment_free(segment, "ring~1"), EBUSY);
    REQUIRE(strstr(ring_error_detail(), "'ring'"));
    REQUIRE_REFUSED(ring_segment_free(segment, "ring~2"), EBUSY);
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 0; i < 3; i++)
        test_recv(&consumer, 100, i);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_free(segment, "ring"));
    REQUIRE_REFUSED(ring_segment_free(segment, "ring~2"), EBUSY);
    REQUIRE_OK(ring_segment_free(segment, "ring~1"));
    REQUIRE_OK(ring_segment_free(segment, "ring")); /* the last one is found by that name */
    REQUIRE_REFUSED(ring_segment_free(segment, "ring~2"), ENOENT);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}
