/* blocks_death.c - SIGKILL of those who have blocks: what they owned and kept is free again, what they had sent
 * arrives, and a block whose message is lost can be found. */
#include "blocks.h"

#include <signal.h>
#include <sys/wait.h>

enum { COUNT = 40 };

static struct ring_blocks survivor;
static struct ring_segment *segment;

static void open_survivor(unsigned cache)
{
    struct ring_blocks_options options = ring_blocks_defaults(64, COUNT);
    options.cache = cache;
    options.seats = 4;
    segment = test_pool_with(&options);
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 16, 56));
    REQUIRE_OK(ring_spsc_create(segment, "line", 4096));
    test_pool_open(&survivor, segment);
}

static void close_survivor(void)
{
    REQUIRE_OK(ring_blocks_close(&survivor));
    test_pool_is_whole(segment);
    REQUIRE_SAME(test_pool_info(segment).classes[0].free, COUNT);
    test_pool_end(segment);
}

static void die(void)
{
    for (;;)
        raise(SIGKILL);
}

static void kill_in(test_body body, void *argument)
{
    REQUIRE(WIFSIGNALED(test_wait_status(test_spawn(body, argument))));
}

/* ---- Owned and kept ---- */

static int take_some_and_die(void *argument)
{
    static struct ring_blocks own;
    uint64_t handles[COUNT];
    unsigned count = *(unsigned *)argument;
    test_pool_open(&own, test_attach());
    for (unsigned i = 0; i < count; i++)
        handles[i] = test_take(&own, 64);
    for (unsigned i = 0; i < count / 2; i++)
        REQUIRE_SAME(ring_block_free(&own, handles[i]), 0);
    die();
    return 0;
}

Test(blocks_death, what_the_dead_owned_and_kept_is_there_when_it_is_needed)
{
    static const unsigned caches[] = { 0, 1, 5, 32 };
    for (unsigned count = 1; count <= COUNT; count += 13)
        for (unsigned i = 0; i < 4; i++) {
            open_survivor(caches[i]);
            kill_in(take_some_and_die, &count);
            for (int taken = 0; taken < COUNT; taken++)
                test_take(&survivor, 64);
            close_survivor();
        }
}

Test(blocks_death, the_next_one_in_the_seat_frees_what_the_dead_had)
{
    unsigned count = 20;
    open_survivor(5);
    kill_in(take_some_and_die, &count);
    struct ring_blocks_info info = test_pool_info(segment);
    REQUIRE_SAME(info.dead, 1);
    REQUIRE(info.classes[0].of_the_dead >= 10);
    static struct ring_blocks next;
    test_pool_open(&next, segment);
    info = test_pool_info(segment);
    REQUIRE_SAME(info.classes[0].of_the_dead, 0);
    REQUIRE_SAME(info.classes[0].free, COUNT);
    REQUIRE_OK(ring_blocks_close(&next));
    close_survivor();
}

Test(blocks_death, recovering_tells_how_many_blocks_the_dead_had_and_does_it_once)
{
    unsigned count = 20;
    open_survivor(0);
    kill_in(take_some_and_die, &count);
    struct ring_recovery report = { .struct_size = sizeof report };
    REQUIRE_OK(ring_segment_recover(segment, &report));
    REQUIRE_SAME(report.blocks_freed, 10);
    REQUIRE_OK(ring_segment_recover(segment, &report));
    REQUIRE_SAME(report.blocks_freed, 0);
    REQUIRE_SAME(test_pool_info(segment).dead, 0);
    close_survivor();
}

static int take_all_and_wait(void *argument)
{
    static struct ring_blocks own;
    test_pool_open(&own, test_attach());
    for (int i = 0; i < COUNT; i++)
        test_take(&own, 64);
    ring_atomic_store((RING_ATOMIC(uint64_t) *)argument, 1, memory_order_release);
    for (;;)
        pause();
    return 0;
}

Test(blocks_death, a_stopped_participant_is_not_robbed)
{
    RING_ATOMIC(uint64_t) *ready = test_shared(8);
    uint64_t handle;
    void *address;
    open_survivor(3);
    pid_t child = test_spawn(take_all_and_wait, ready);
    test_await(ready, 1);
    kill(child, SIGSTOP);
    for (int times = 0; times < 100; times++)
        REQUIRE_SAME(ring_block_allocate(&survivor, 64, &handle, &address), -ENOSPC);
    REQUIRE_OK(ring_segment_recover(segment, NULL));
    REQUIRE_SAME(test_pool_info(segment).classes[0].owned, COUNT);
    test_kill(child);
    test_nap(1000000); /* the dead are looked for now and then */
    REQUIRE_SAME(ring_block_allocate(&survivor, 64, &handle, &address), 0);
    close_survivor();
}

/* ---- In transit ---- */

enum place { BEFORE_PASS, BEFORE_SEND, AFTER_SEND, PLACES };

static int send_and_die(void *argument)
{
    static struct ring_blocks own;
    static struct ring_mpmc_producer producer;
    static struct ring_spsc_producer line;
    enum place place = *(enum place *)argument;
    struct ring_segment *attached = test_attach();
    void *address;
    uint64_t handle;
    test_pool_open(&own, attached);
    REQUIRE_OK(ring_mpmc_open_producer(&producer, attached, "queue", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_producer(&line, attached, "line", RING_NO_WAIT));
    for (int times = 0; times < 2; times++) {
        REQUIRE_SAME(ring_block_allocate(&own, 64, &handle, &address), 0);
        memcpy(address, "frame", 6);
        if (place == BEFORE_PASS)
            continue;
        REQUIRE_SAME(ring_block_pass(&own, handle), 0);
        if (place == BEFORE_SEND)
            continue;
        if (times)
            REQUIRE_SAME(ring_mpmc_send(&producer, &handle, sizeof handle, RING_NO_WAIT), 0);
        else
            REQUIRE_SAME(ring_spsc_send(&line, &handle, sizeof handle, RING_NO_WAIT), 0);
    }
    die();
    return 0;
}

Test(blocks_death, a_block_that_was_sent_arrives_though_its_sender_died)
{
    enum place place = AFTER_SEND;
    open_survivor(3);
    struct ring_mpmc_consumer queue;
    struct ring_spsc_consumer line;
    REQUIRE_OK(ring_mpmc_open_consumer(&queue, segment, "queue", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_consumer(&line, segment, "line", RING_NO_WAIT));
    for (int round = 0; round < 2; round++) {
        kill_in(send_and_die, &place);
        uint64_t handle, freed;
        void *address;
        REQUIRE_OK(ring_segment_recover(segment, NULL));
        for (int look = 0; look < 2; look++) {
            REQUIRE_OK(ring_segment_recover_stranded(segment, "pool", &freed));
            REQUIRE_SAME(freed, 0);
            if (look)
                REQUIRE_SAME(ring_mpmc_recv(&queue, &handle, sizeof handle, TEST_LONG), sizeof handle);
            else
                REQUIRE_SAME(ring_spsc_recv(&line, &handle, sizeof handle, TEST_LONG), sizeof handle);
            REQUIRE_SAME(ring_block_accept(&survivor, handle, &address, NULL), 0);
            REQUIRE(strcmp(address, "frame") == 0);
            REQUIRE_SAME(ring_block_free(&survivor, handle), 0);
        }
    }
    REQUIRE_OK(ring_mpmc_close_consumer(&queue));
    REQUIRE_OK(ring_spsc_close_consumer(&line));
    close_survivor();
}

Test(blocks_death, a_block_that_was_not_sent_is_free_again)
{
    for (int place = BEFORE_PASS; place <= BEFORE_SEND; place++) {
        struct ring_recovery report = { .struct_size = sizeof report };
        uint64_t freed;
        enum place where = (enum place)place;
        open_survivor(3);
        kill_in(send_and_die, &where);
        REQUIRE_OK(ring_segment_recover(segment, &report));
        REQUIRE_SAME(report.blocks_stranded, place == BEFORE_SEND ? 2 : 0);
        REQUIRE_OK(ring_segment_recover_stranded(segment, "pool", &freed));
        REQUIRE_SAME(freed, place == BEFORE_SEND ? 2 : 0);
        close_survivor();
    }
}

Test(blocks_death, a_block_in_transit_of_a_living_sender_is_left_alone)
{
    uint64_t freed;
    open_survivor(0);
    uint64_t handle = test_take(&survivor, 64);
    REQUIRE_SAME(ring_block_pass(&survivor, handle), 0);
    REQUIRE_OK(ring_segment_recover_stranded(segment, "pool", &freed));
    REQUIRE_SAME(freed, 0);
    REQUIRE_SAME(ring_block_accept(&survivor, handle, NULL, NULL), 0);
    REQUIRE_REFUSED(ring_segment_recover_stranded(segment, "queue", &freed), EINVAL);
    REQUIRE_REFUSED(ring_segment_recover_stranded(segment, "none", &freed), ENOENT);
    close_survivor();
}

/* ---- Receivers ---- */

enum step { AFTER_PEEK, AFTER_ACCEPT, AFTER_FREE, AFTER_RELEASE, STEPS };

static int receive_and_die(void *argument)
{
    static struct ring_blocks own;
    static struct ring_mpmc_consumer consumer;
    enum step step = *(enum step *)argument;
    struct ring_segment *attached = test_attach();
    struct ring_message message;
    uint64_t handle;
    test_pool_open(&own, attached);
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, attached, "queue", RING_NO_WAIT));
    REQUIRE_SAME(ring_mpmc_peek(&consumer, &message, TEST_LONG), 0);
    memcpy(&handle, message.data, sizeof handle);
    if (step == AFTER_PEEK)
        die();
    REQUIRE_SAME(ring_block_accept(&own, handle, NULL, NULL), 0);
    if (step == AFTER_FREE)
        REQUIRE_SAME(ring_block_free(&own, handle), 0);
    if (step == AFTER_RELEASE)
        REQUIRE_SAME(ring_mpmc_release(&consumer, 1), 0);
    die();
    return 0;
}

/* Peek, accept, release: whatever the step, the block is not lost, and the next receiver can tell what was done. */
Test(blocks_death, a_receiver_that_dies_loses_no_block)
{
    for (int step = 0; step < STEPS; step++)
        for (int recover = 0; recover < 2; recover++) {
            struct ring_mpmc_producer producer;
            struct ring_mpmc_consumer consumer;
            enum step where = (enum step)step;
            uint64_t handle;
            open_survivor(2);
            REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "queue", RING_NO_WAIT));
            REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "queue", RING_NO_WAIT));
            uint64_t sent = test_take(&survivor, 64);
            REQUIRE_SAME(ring_block_pass(&survivor, sent), 0);
            REQUIRE_SAME(ring_mpmc_send(&producer, &sent, sizeof sent, RING_NO_WAIT), 0);
            kill_in(receive_and_die, &where);
            if (recover)
                REQUIRE_OK(ring_segment_recover(segment, NULL));
            if (step != AFTER_RELEASE) {
                REQUIRE_SAME(ring_mpmc_recv(&consumer, &handle, sizeof handle, TEST_LONG), sizeof handle);
                REQUIRE_SAME(handle, sent);
                REQUIRE_SAME(ring_mpmc_last_flags(&consumer), RING_REDELIVERED);
                bool there = step == AFTER_PEEK || (step == AFTER_ACCEPT && !recover);
                REQUIRE_SAME(ring_block_accept(&survivor, handle, NULL, NULL), there ? 0 : -ESTALE);
            }
            REQUIRE_OK(ring_mpmc_close_producer(&producer));
            REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
            close_survivor();
        }
}

/* ---- At any moment ---- */

static int churn(void *argument)
{
    static struct ring_blocks own;
    static uint64_t handles[COUNT];
    struct test_random random = { *(uint64_t *)argument };
    test_pool_open(&own, test_attach());
    for (;;) {
        unsigned at = (unsigned)test_below(&random, COUNT);
        void *address;
        if (handles[at]) {
            if (test_below(&random, 4) == 0 && ring_block_pass(&own, handles[at]) == 0)
                REQUIRE_SAME(ring_block_accept(&own, handles[at], NULL, NULL), 0);
            REQUIRE_SAME(ring_block_free(&own, handles[at]), 0);
            handles[at] = 0;
        } else if (ring_block_allocate(&own, 64, &handles[at], &address)) {
            handles[at] = 0;
        }
    }
    return 0;
}

Test(blocks_death, no_block_is_lost_however_many_die_at_any_moment)
{
    for (int round = 0; round < (int)test_rounds(16); round++) {
        open_survivor((unsigned)round % 4 * 3);
        for (uint64_t victim = 0; victim < 12; victim++) {
            uint64_t seeds[2] = { victim * 77 + (uint64_t)round, victim * 99 + 5 }, freed;
            pid_t first = test_spawn(churn, &seeds[0]), second = test_spawn(churn, &seeds[1]);
            test_nap(1000000 + (int64_t)(test_mix(seeds[0]) % 3000000));
            test_kill(first);
            uint64_t handle = 0;
            void *address;
            if (ring_block_allocate(&survivor, 64, &handle, &address) == 0)
                REQUIRE_SAME(ring_block_free(&survivor, handle), 0);
            test_kill(second);
            REQUIRE_OK(ring_segment_recover_stranded(segment, "pool", &freed));
            REQUIRE(freed <= 2);
        }
        close_survivor();
    }
}
