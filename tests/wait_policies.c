/* wait_policies.c - how endpoints wait: policies, several sleepers on one bell, and what dead sleepers cost. */
#include "waiting.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

enum { SLEEPERS = 6, CROWD = 60, SHORT = 3000000 };

static struct test_ends ends;
static const enum ring_wait_policy policies[] = { RING_WAIT_ADAPTIVE, RING_WAIT_SPIN, RING_WAIT_SLEEP };

static void *feed_later(void *argument)
{
    test_nap(20000000);
    test_feed(&ends, *(enum test_kind *)argument);
    return NULL;
}

Test(policies, all_of_them_wait_for_messages_and_room_and_keep_their_limits)
{
    for (int i = 0; i < 3; i++) {
        test_ends_open(&ends);
        for (enum test_kind kind = 0; kind < TEST_KINDS; kind++) {
            ring_waiter_set_policy(test_waiter(&ends, kind), policies[i]);
            test_drain(&ends, kind);
            REQUIRE_SAME(test_go(&ends, kind, 1), -ETIMEDOUT);
            REQUIRE_SAME(test_go(&ends, kind, SHORT), -ETIMEDOUT);
            pthread_t thread;
            REQUIRE_SAME(pthread_create(&thread, NULL, feed_later, &kind), 0);
            REQUIRE_SAME(test_go(&ends, kind, TEST_LONG), 0);
            pthread_join(thread, NULL);
            test_drain(&ends, kind);
            test_drain(&ends, test_other(kind));
        }
        test_ends_close(&ends);
    }
}

Test(policies, who_only_spins_never_asks_to_be_woken)
{
    test_ends_open(&ends);
    struct ring_layout_spsc *control = ends.spsc_consumer.control;
    ring_waiter_set_policy(ring_spsc_consumer_waiter(&ends.spsc_consumer), RING_WAIT_SPIN);
    pthread_t thread;
    enum test_kind kind = SPSC_CONSUMER;
    REQUIRE_SAME(pthread_create(&thread, NULL, feed_later, &kind), 0);
    REQUIRE_SAME(test_go(&ends, kind, TEST_LONG), 0);
    pthread_join(thread, NULL);
    REQUIRE_SAME(atomic_load(&control->consumer_calls), 0);
    ring_waiter_set_policy(ring_spsc_consumer_waiter(&ends.spsc_consumer), RING_WAIT_SLEEP);
    REQUIRE_SAME(pthread_create(&thread, NULL, feed_later, &kind), 0);
    REQUIRE_SAME(test_go(&ends, kind, TEST_LONG), 0);
    pthread_join(thread, NULL);
    REQUIRE_SAME(atomic_load(&control->consumer_calls), 1);
    REQUIRE_SAME(atomic_load(&control->consumer_asleep), 0);
    test_ends_close(&ends);
}

Test(policies, who_only_tries_never_asks_to_be_woken)
{
    test_ends_open(&ends);
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++) {
        test_drain(&ends, kind);
        for (int i = 0; i < 1000; i++)
            REQUIRE_SAME(test_go(&ends, kind, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(atomic_load(test_waiter(&ends, kind)->asleep), 0);
        test_drain(&ends, test_other(kind));
    }
    test_ends_close(&ends);
}

static int leave_by_death(void *argument)
{
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    atomic_store((RING_ATOMIC(uint64_t) *)argument, 1);
    for (;;)
        pause();
    return 0;
}

struct murder {
    pid_t victim;
};

static void *kill_later(void *argument)
{
    test_nap(30000000);
    test_kill(((struct murder *)argument)->victim);
    return NULL;
}

Test(policies, all_of_them_notice_that_a_peer_was_killed)
{
    RING_ATOMIC(uint64_t) *ready = test_shared(sizeof *ready);
    struct ring_segment *segment = test_create(1 << 18);
    struct ring_spsc_consumer consumer;
    char byte;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    test_open_consumer(&consumer, segment);
    for (int i = 0; i < 3; i++) {
        ring_waiter_set_policy(ring_spsc_consumer_waiter(&consumer), policies[i]);
        atomic_store(ready, 0);
        struct murder murder = { test_spawn(leave_by_death, (void *)(uintptr_t)ready) };
        test_await(ready, 1);
        pthread_t thread;
        REQUIRE_SAME(pthread_create(&thread, NULL, kill_later, &murder), 0);
        REQUIRE_SAME(ring_spsc_recv(&consumer, &byte, 1, RING_FOREVER), -EOWNERDEAD);
        pthread_join(thread, NULL);
    }
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Several on one bell ---- */

static RING_ATOMIC(uint64_t) began, got, released;

/* Takes one message, and then is busy with it. */
static void *take_one(void *argument)
{
    static _Thread_local struct ring_mpmc_consumer consumer;
    uint64_t word;
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, argument, "queue", TEST_LONG));
    ring_waiter_set_policy(ring_mpmc_consumer_waiter(&consumer), RING_WAIT_SLEEP);
    atomic_fetch_add(&began, 1);
    REQUIRE_SAME(ring_mpmc_recv(&consumer, &word, sizeof word, TEST_LONG), sizeof word);
    atomic_fetch_add(&got, 1);
    test_await(&released, 1);
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    return NULL;
}

Test(sleepers, each_of_several_gets_its_message_while_the_others_are_busy)
{
    static const uint64_t words[SLEEPERS] = { 1, 2, 3, 4, 5, 6 };
    for (uint64_t round = 0; round < test_rounds(24); round++) {
        test_ends_open(&ends);
        pthread_t threads[SLEEPERS];
        atomic_store(&began, 0);
        atomic_store(&got, 0);
        atomic_store(&released, 0);
        for (int i = 0; i < SLEEPERS; i++)
            REQUIRE_SAME(pthread_create(&threads[i], NULL, take_one, ends.segment), 0);
        test_await(&began, SLEEPERS);
        test_nap(round % 3 ? 1000000 : 0);
        if (round % 2)
            REQUIRE_SAME(ring_mpmc_send_array(&ends.mpmc_producer, words, 8, SLEEPERS, TEST_LONG), SLEEPERS);
        for (int i = 0; i < SLEEPERS && round % 2 == 0; i++)
            REQUIRE_SAME(ring_mpmc_send(&ends.mpmc_producer, &words[i], 8, TEST_LONG), 0);
        test_await(&got, SLEEPERS);
        atomic_store(&released, 1);
        for (int i = 0; i < SLEEPERS; i++)
            pthread_join(threads[i], NULL);
        test_ends_close(&ends);
    }
}

static int sleep_for_ever(void *argument)
{
    struct ring_segment *segment = test_attach();
    static struct ring_mpmc_consumer consumer;
    static struct ring_broadcast_consumer listener;
    char byte;
    bool news = argument != NULL;
    if (news)
        REQUIRE_OK(ring_broadcast_open_consumer(&listener, segment, "news", RING_BROADCAST_NEWEST, 0, TEST_LONG));
    else
        REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "queue", TEST_LONG));
    ring_waiter_set_policy(ring_mpmc_consumer_waiter(&consumer), RING_WAIT_SLEEP);
    ring_waiter_set_policy(ring_broadcast_consumer_waiter(&listener), RING_WAIT_SLEEP);
    if (news)
        ring_broadcast_recv(&listener, &byte, 1, RING_FOREVER);
    else
        ring_mpmc_recv(&consumer, &byte, 1, RING_FOREVER);
    return 0;
}

/* How many are asleep at this moment, as the ring tells. */
static unsigned count_asleep(struct ring_segment *segment, bool news)
{
    unsigned count = 0;
    for (unsigned seat = 0; seat < CROWD + 1; seat++) {
        struct ring_broadcast_seat_info listener = { .struct_size = sizeof listener };
        struct ring_mpmc_seat_info taker = { .struct_size = sizeof taker };
        if (news && ring_broadcast_seat_info(segment, "news", seat, &listener) == 0)
            count += listener.consumer.asleep;
        if (!news && ring_mpmc_seat_info(segment, "queue", seat, &taker) == 0)
            count += taker.side.asleep;
    }
    return count;
}

Test(sleepers, a_crowd_killed_in_its_sleep_costs_the_living_next_to_nothing)
{
    for (int news = 0; news < 2; news++) {
        struct ring_segment *segment = test_create(1 << 21);
        struct ring_mpmc_producer producer;
        struct ring_broadcast_producer teller;
        pid_t crowd[CROWD];
        REQUIRE_OK(ring_mpmc_create(segment, "queue", 1024, 8));
        struct ring_broadcast_options options = ring_broadcast_defaults();
        options.seats = CROWD;
        options.slots = 1024;
        REQUIRE_OK(ring_broadcast_create_with(segment, "news", &options));
        REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "queue", TEST_LONG));
        REQUIRE_OK(ring_broadcast_open_producer(&teller, segment, "news", TEST_LONG));
        for (int i = 0; i < CROWD; i++)
            crowd[i] = test_spawn(sleep_for_ever, news ? &news : NULL);
        for (int tries = 0; count_asleep(segment, news) < CROWD; tries++) {
            REQUIRE(tries < 10000);
            test_nap(1000000);
        }
        for (int i = 0; i < CROWD; i++)
            test_kill(crowd[i]);
        struct ring_mpmc_consumer consumer;
        REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "queue", TEST_LONG));
        uint32_t before =
            atomic_load(&producer.end.view.control->consumers_calls) + atomic_load(&teller.control->consumers_calls);
        for (uint64_t i = 0; i < 100000; i++) {
            if (news)
                REQUIRE_SAME(ring_broadcast_send(&teller, &i, sizeof i, RING_NO_WAIT), 0);
            else
                REQUIRE_SAME(ring_mpmc_send(&producer, &i, sizeof i, RING_NO_WAIT), 0);
            uint64_t word;
            if (!news)
                REQUIRE_SAME(ring_mpmc_recv(&consumer, &word, sizeof word, RING_NO_WAIT), sizeof word);
        }
        uint32_t after =
            atomic_load(&producer.end.view.control->consumers_calls) + atomic_load(&teller.control->consumers_calls);
        REQUIRE(after - before >= 1);
        REQUIRE(after - before < 4);
        REQUIRE_SAME(atomic_load(&producer.end.view.control->consumers_asleep), 0);
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
        REQUIRE_OK(ring_broadcast_close_producer(&teller));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

/* ---- What is in the middle of something, and then is not ---- */

static long sleeps;

static void *wait_for_a_second(void *unused)
{
    struct rusage before, after;
    static struct ring_mpmc_consumer consumer;
    uint64_t word;
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, ends.segment, "queue", TEST_LONG));
    REQUIRE_SAME(getrusage(RUSAGE_THREAD, &before), 0);
    atomic_store(&began, 1);
    REQUIRE_SAME(ring_mpmc_recv(&consumer, &word, sizeof word, TEST_SECOND), -ETIMEDOUT);
    REQUIRE_SAME(getrusage(RUSAGE_THREAD, &after), 0);
    sleeps = after.ru_nvcsw - before.ru_nvcsw;
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    return unused;
}

Test(sleepers, are_restless_only_while_another_is_in_the_middle_of_something)
{
    struct ring_message message;
    pthread_t thread;
    test_ends_open(&ends);
    atomic_store(&began, 0);
    test_feed(&ends, MPMC_CONSUMER);
    REQUIRE_SAME(ring_mpmc_peek(&ends.mpmc_consumer, &message, TEST_LONG), 0);
    REQUIRE_SAME(pthread_create(&thread, NULL, wait_for_a_second, NULL), 0);
    test_await(&began, 1);
    test_nap(50000000);
    REQUIRE_SAME(ring_mpmc_release(&ends.mpmc_consumer, 1), 0);
    pthread_join(thread, NULL);
    REQUIRE(sleeps < 300); /* of 1 ms for 50 ms, then of 50 ms; in all of 1 ms it would be some 900 */
    test_ends_close(&ends);
}
