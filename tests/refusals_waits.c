/* refusals_waits.c - waits that the system lets down half-way: no futex_waitv, no io_uring for the next thread. They
 * are done otherwise, and neither harm nor keep the processor busy. */
#include "refuse.h"
#include "waiting.h"

#include <pthread.h>

enum { RINGS = 300, LOOKS_MOST = 1000 };

static struct test_ends ends;

/* ---- A sandbox answers EPERM to what it does not know, not ENOSYS ---- */

static void *feed_after_two_seconds(void *argument)
{
    test_nap(2 * TEST_SECOND);
    test_feed(&ends, *(enum test_kind *)argument);
    return NULL;
}

Test(waits, do_not_spin_where_a_sandbox_forbids_to_sleep_on_several_words)
{
    enum test_kind kind = SPSC_CONSUMER;
    pthread_t thread;
    test_ends_open(&ends);
    test_refuse(CALL_SLEEP_ON_WORDS, 0, EPERM, true);
    REQUIRE_SAME(pthread_create(&thread, NULL, feed_after_two_seconds, &kind), 0);
    REQUIRE_SAME(test_go(&ends, kind, TEST_LONG), 0);
    pthread_join(thread, NULL);
    unsigned looks = test_refuse_nothing();
    REQUIRE(looks > 0);
    REQUIRE(looks < LOOKS_MOST);
    test_ends_close(&ends);
}

Test(waits, of_a_listening_thread_do_not_spin_there_either)
{
    enum { WHILE_MS = 300 };
    test_ends_open(&ends);
    test_refuse(CALL_SLEEP_ON_WORDS, 0, EPERM, true);
    test_refuse_too(CALL_URING, 0, EPERM, true);
    int descriptor = ring_waiter_fd(test_waiter(&ends, SPSC_CONSUMER));
    REQUIRE(descriptor >= 0);
    test_drain(&ends, SPSC_CONSUMER);
    test_nap(WHILE_MS * INT64_C(1000000));
    test_drain(&ends, SPSC_CONSUMER);
    test_feed(&ends, SPSC_CONSUMER);
    REQUIRE(test_is_readable(descriptor, 10000));
    unsigned refused = test_refuse_nothing();
    REQUIRE(refused > 0);
    REQUIRE(refused < LOOKS_MOST);
    test_ends_close(&ends);
}

Test(waits, of_a_listening_thread_that_is_held_up_while_it_tells_leave_no_descriptor_lit)
{
    enum { LATE = 50000000 };
    test_ends_open(&ends);
    test_refuse(CALL_URING, 0, EPERM, true);
    int descriptor = ring_waiter_fd(test_waiter(&ends, SPSC_CONSUMER));
    REQUIRE(descriptor >= 0);
    test_drain(&ends, SPSC_CONSUMER);
    test_nap(LATE);
    test_write_late(LATE);
    test_feed(&ends, SPSC_CONSUMER);
    test_nap(LATE / 2);
    REQUIRE_SAME(test_drain(&ends, SPSC_CONSUMER), 1); /* before it is told of it */
    test_nap(2 * LATE);
    test_write_late(0);
    unsigned tries = 0;
    while (test_is_readable(descriptor, 5)) {
        REQUIRE(++tries < 50);
        test_drain(&ends, SPSC_CONSUMER);
    }
    test_refuse_nothing();
    test_ends_close(&ends);
}

/* ---- Another thread goes on, and cannot have an io_uring of its own ---- */

static struct ring_segment *segment;
static struct ring_mpmc_consumer consumers[RINGS];
static struct ring_mpmc_producer producer;
static struct ring_any *any;

/* Looks at all that are ready. How many messages came. */
static unsigned serve(int64_t timeout_ns)
{
    void *ready[RINGS];
    uint64_t word;
    unsigned received = 0;
    int count = ring_any_wait(any, ready, RINGS, timeout_ns);
    if (count < 0)
        REQUIRE_ONE_OF(count, -EAGAIN, -ETIMEDOUT);
    for (int i = 0; i < count; i++)
        while (ring_mpmc_recv(ready[i], &word, sizeof word, RING_NO_WAIT) > 0)
            received++;
    return received;
}

static void *serve_elsewhere(void *unused)
{
    uint64_t word = 7;
    for (int round = 0; round < 20; round++) {
        serve(RING_NO_WAIT);
        serve(20000000);
        REQUIRE_SAME(ring_mpmc_send(&producer, &word, sizeof word, RING_NO_WAIT), 0);
        while (serve(TEST_LONG) == 0)
            ;
        if (round == 10)
            test_refuse_nothing(); /* from here on there is one again */
    }
    return unused;
}

Test(waits, for_any_of_many_go_on_in_a_thread_that_cannot_have_an_io_uring)
{
    struct ring_segment_options options = test_plain((size_t)RINGS * ring_mpmc_footprint(16, 8) + (1 << 20));
    char name[16];
    options.rings = RINGS;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_any_open(&any));
    for (int i = 0; i < RINGS; i++) {
        snprintf(name, sizeof name, "ring%d", i);
        REQUIRE_OK(ring_mpmc_create(segment, name, 16, 8));
        REQUIRE_OK(ring_mpmc_open_consumer(&consumers[i], segment, name, TEST_LONG));
        int code = ring_any_add(any, ring_mpmc_consumer_waiter(&consumers[i]), &consumers[i]);
        if (code == -ENOSPC)
            test_skip("this kernel or sandbox has no io_uring with futexes");
        REQUIRE_OK(code);
    }
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, name, TEST_LONG));
    serve(RING_NO_WAIT);
    serve(RING_NO_WAIT);
    pthread_t thread;
    test_refuse(CALL_URING, 0, EMFILE, true);
    REQUIRE_SAME(pthread_create(&thread, NULL, serve_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    ring_any_close(&any);
    for (int i = 0; i < RINGS; i++)
        REQUIRE_OK(ring_mpmc_close_consumer(&consumers[i]));
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

static void *drain_elsewhere(void *kind)
{
    test_drain(&ends, *(enum test_kind *)kind);
    test_drain(&ends, *(enum test_kind *)kind);
    return NULL;
}

Test(waits, by_a_descriptor_go_on_in_a_thread_that_cannot_have_an_io_uring)
{
    enum test_kind kind = SPSC_CONSUMER;
    test_ends_open(&ends);
    int descriptor = ring_waiter_fd(test_waiter(&ends, kind));
    REQUIRE(descriptor >= 0);
    test_drain(&ends, kind);
    pthread_t thread;
    test_refuse(CALL_URING, 0, EMFILE, true);
    test_feed(&ends, kind);
    REQUIRE_SAME(pthread_create(&thread, NULL, drain_elsewhere, &kind), 0);
    pthread_join(thread, NULL);
    REQUIRE(test_is_readable(descriptor, 0)); /* better for nothing than not at all */
    test_refuse_nothing();
    bool dark = false;
    for (int tries = 0; tries < 100 && !dark; tries++) {
        test_drain(&ends, kind);
        dark = !test_is_readable(descriptor, 5);
    }
    REQUIRE(dark);
    test_feed(&ends, kind);
    REQUIRE(test_is_readable(descriptor, 10000));
    test_ends_close(&ends);
}
