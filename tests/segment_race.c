/* segment_race.c - many at once: who creates, who attaches, and what is visible meanwhile. */
#include "harness.h"

enum { RACERS = 16 };

struct race {
    RING_ATOMIC(uint64_t) ready;
    RING_ATOMIC(uint64_t) round; /* started by the test */
    RING_ATOMIC(uint64_t) opened;
    RING_ATOMIC(uint64_t) created;
    RING_ATOMIC(uint64_t) stop;
    RING_ATOMIC(uint64_t) seen;
};

static uint64_t add(RING_ATOMIC(uint64_t) *word)
{
    return atomic_fetch_add(word, 1) + 1;
}

enum { RACE_ROUNDS = 20 };

static int open_in_rounds(void *argument)
{
    struct race *race = argument;
    for (uint64_t round = 1; round <= RACE_ROUNDS; round++) {
        add(&race->ready);
        test_await(&race->round, round);
        struct ring_segment *segment;
        struct ring_segment_options options = test_plain(1 << 16);
        REQUIRE_OK(ring_segment_open(&segment, test_name(), &options));
        struct ring_segment_info info = { .struct_size = sizeof info };
        REQUIRE_OK(ring_segment_info(segment, &info));
        if (info.creator_pid == getpid())
            add(&race->created);
        add(&race->opened);
        test_await(&race->opened, round * RACERS);
        REQUIRE_OK(ring_segment_close(&segment));
    }
    return 0;
}

Test(race, of_many_processes_that_open_at_once_one_creates_and_all_attach)
{
    struct race *race = test_shared(sizeof *race);
    pid_t racers[RACERS];
    for (int i = 0; i < RACERS; i++)
        racers[i] = test_spawn(open_in_rounds, race);
    for (uint64_t round = 1; round <= RACE_ROUNDS; round++) {
        test_await(&race->ready, round * RACERS);
        if (round > 1)
            REQUIRE_OK(ring_segment_unlink(test_name()));
        atomic_store(&race->round, round);
        test_await(&race->opened, round * RACERS);
        REQUIRE_SAME(atomic_load(&race->created), round);
    }
    for (int i = 0; i < RACERS; i++)
        test_wait(racers[i]);
    REQUIRE_SAME(test_names_left(), 1);
}

static int attach_until_stopped(void *argument)
{
    struct race *race = argument;
    struct ring_segment_options options = test_plain(0);
    while (!atomic_load(&race->stop)) {
        struct ring_segment *segment;
        int code = ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT);
        if (code == -ENOENT)
            continue;
        REQUIRE_OK(code);
        struct ring_segment_info info = { .struct_size = sizeof info };
        REQUIRE_OK(ring_segment_info(segment, &info));
        REQUIRE(info.bytes == 1 << 16 || info.bytes == 1 << 20);
        REQUIRE_OK(ring_segment_close(&segment));
        add(&race->seen);
    }
    return 0;
}

Test(race, no_half_made_segment_is_ever_visible)
{
    struct race *race = test_shared(sizeof *race);
    pid_t first = test_spawn(attach_until_stopped, race), second = test_spawn(attach_until_stopped, race);
    for (uint64_t round = 0; round < 400 || (atomic_load(&race->seen) < 50 && round < 100000); round++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_plain(round % 2 ? 1 << 16 : 1 << 20);
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
    atomic_store(&race->stop, 1);
    test_wait(first);
    test_wait(second);
    REQUIRE(atomic_load(&race->seen) > 0);
}

static int create_for_ever(void *argument)
{
    struct race *race = argument;
    while (!atomic_load(&race->stop)) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_plain(1 << 18);
        if (ring_segment_create(&segment, test_name(), &options) == 0) {
            ring_segment_close(&segment);
            add(&race->seen);
        }
        ring_segment_unlink(test_name());
    }
    return 0;
}

Test(race, a_creator_killed_at_any_moment_leaves_a_whole_segment_or_none)
{
    struct race *race = test_shared(sizeof *race);
    struct test_random random = { 4 };
    for (uint64_t round = 0; round < test_rounds(320); round++) {
        uint64_t before = atomic_load(&race->seen);
        pid_t child = test_spawn(create_for_ever, race);
        test_await(&race->seen, before + 1);
        test_nap((int64_t)test_below(&random, 2000000));
        test_kill(child);
        REQUIRE(test_names_left() <= 1);
        if (test_names_left() == 0)
            continue;
        struct ring_segment *segment = test_attach();
        REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

static int attach_patiently(void *argument)
{
    struct race *race = argument;
    struct ring_segment *segment;
    add(&race->ready);
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), NULL, *(int64_t *)(race + 1)));
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", TEST_LONG));
    test_recv(&consumer, 77, 7);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

static void start_late(int64_t limit)
{
    struct race *race = test_shared(4096);
    *(int64_t *)(race + 1) = limit;
    pid_t child = test_spawn(attach_patiently, race);
    test_await(&race->ready, 1);
    test_nap(30000000);
    struct ring_segment *segment = test_create(1 << 18);
    test_nap(30000000);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    test_send(&producer, 77, 7);
    test_wait(child);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(race, an_attach_with_a_time_limit_waits_for_segment_and_ring_of_a_later_process)
{
    start_late(TEST_LONG);
}

Test(race, an_attach_without_time_limit_waits_too)
{
    start_late(RING_FOREVER);
}
