/* wait_any.c - one thread waits for many endpoints of all kinds, under io_uring and without it. */
#include "waiting.h"

#include <pthread.h>

enum { RINGS = 100, SHORT = 3000000 };

static struct test_ends ends;

static int without_uring(void *body)
{
    test_forbid_uring();
    return (*(test_body *)body)(NULL);
}

static void both_ways(test_body body)
{
    body(NULL);
    test_wait(test_spawn(without_uring, &body));
}

static struct ring_any *any_of_consumers(void)
{
    struct ring_any *any;
    REQUIRE_OK(ring_any_open(&any));
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2)
        REQUIRE_OK(ring_any_add(any, test_waiter(&ends, kind), (void *)(uintptr_t)kind));
    return any;
}

/* Until nobody is ready: each is called until it finds nothing. */
static void settle(struct ring_any *any)
{
    void *ready[2];
    int count;
    while ((count = ring_any_wait(any, ready, 2, RING_NO_WAIT)) > 0)
        for (int i = 0; i < count; i++)
            test_drain(&ends, (enum test_kind)(uintptr_t)ready[i]);
    REQUIRE_SAME(count, -EAGAIN);
}

/* Waits until this one is ready, which others may be for nothing. */
static void await_ready(struct ring_any *any, enum test_kind kind)
{
    for (;;) {
        void *ready[TEST_KINDS];
        int count = ring_any_wait(any, ready, TEST_KINDS, TEST_LONG);
        REQUIRE(count > 0);
        for (int i = 0; i < count; i++) {
            if ((enum test_kind)(uintptr_t)ready[i] == kind)
                return;
            test_drain(&ends, (enum test_kind)(uintptr_t)ready[i]);
        }
    }
}

static int tell_whose(void *argument)
{
    (void)argument;
    test_ends_open(&ends);
    struct ring_any *any = any_of_consumers();
    for (uint64_t round = 0; round < test_rounds(200); round++)
        for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2) {
            void *ready[1];
            settle(any);
            test_feed(&ends, kind);
            await_ready(any, kind);
            REQUIRE_SAME(test_go(&ends, kind, RING_NO_WAIT), 0);
            test_feed(&ends, kind); /* nobody has found nothing: still ready */
            do
                REQUIRE_SAME(ring_any_wait(any, ready, 1, RING_NO_WAIT), 1);
            while ((enum test_kind)(uintptr_t)ready[0] != kind);
        }
    ring_any_close(&any);
    test_ends_close(&ends);
    return 0;
}

Test(any, tells_whose_message_came)
{
    both_ways(tell_whose);
}

static int tell_of_room(void *argument)
{
    (void)argument;
    test_ends_open(&ends);
    struct ring_any *any;
    REQUIRE_OK(ring_any_open(&any));
    for (enum test_kind kind = 1; kind < TEST_KINDS; kind += 2)
        REQUIRE_OK(ring_any_add(any, test_waiter(&ends, kind), (void *)(uintptr_t)kind));
    for (uint64_t round = 0; round < test_rounds(100); round++)
        for (enum test_kind kind = 1; kind < TEST_KINDS; kind += 2) {
            settle(any);
            test_feed(&ends, kind);
            await_ready(any, kind);
            REQUIRE_SAME(test_go(&ends, kind, RING_NO_WAIT), 0);
        }
    ring_any_close(&any);
    test_ends_close(&ends);
    return 0;
}

Test(any, tells_whose_ring_has_room)
{
    both_ways(tell_of_room);
}

static int keep_time(void *argument)
{
    void *ready[1];
    (void)argument;
    struct ring_any *any;
    REQUIRE_OK(ring_any_open(&any));
    REQUIRE_SAME(ring_any_wait(any, ready, 1, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_any_wait(any, ready, 1, SHORT), -ETIMEDOUT);
    test_ends_open(&ends);
    REQUIRE_OK(ring_any_add(any, test_waiter(&ends, MPMC_CONSUMER), &ends));
    int code;
    do
        if ((code = ring_any_wait(any, ready, 1, SHORT)) == 1) {
            REQUIRE(ready[0] == &ends);
            test_drain(&ends, MPMC_CONSUMER);
        }
    while (code == 1);
    REQUIRE_SAME(code, -ETIMEDOUT);
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, SHORT), -ETIMEDOUT); /* its own limits as well */
    test_feed(&ends, MPMC_CONSUMER);
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, TEST_LONG), 0);
    ring_any_close(&any);
    test_ends_close(&ends);
    return 0;
}

Test(any, keeps_its_time_limits)
{
    both_ways(keep_time);
}

static int come_and_go(void *argument)
{
    (void)argument;
    for (uint64_t round = 0; round < test_rounds(40); round++) {
        test_ends_open(&ends);
        struct ring_any *any = any_of_consumers();
        void *ready[1];
        if (round % 2)
            settle(any);
        if (round % 4 == 0)
            REQUIRE_OK(ring_any_remove(any, test_waiter(&ends, SPSC_CONSUMER)));
        REQUIRE_SAME(ring_any_remove(any, test_waiter(&ends, SPSC_CONSUMER)), round % 4 == 0 ? -ENOENT : 0);
        REQUIRE_OK(ring_any_add(any, test_waiter(&ends, SPSC_CONSUMER), (void *)SPSC_CONSUMER));
        REQUIRE_REFUSED(ring_any_add(any, test_waiter(&ends, SPSC_CONSUMER), NULL), EBUSY);
        settle(any);
        test_drain(&ends, SPSC_CONSUMER);
        REQUIRE_SAME(test_go(&ends, SPSC_PRODUCER, RING_NO_WAIT), 0);
        await_ready(any, SPSC_CONSUMER);
        REQUIRE_SAME(test_go(&ends, SPSC_CONSUMER, RING_NO_WAIT), 0);
        if (round % 3)
            ring_any_close(&any);
        test_ends_close(&ends); /* which takes them out */
        REQUIRE(round % 3 || ring_any_wait(any, ready, 1, RING_NO_WAIT) == -EAGAIN);
        ring_any_close(&any);
        ring_any_close(&any);
    }
    return 0;
}

Test(any, forgets_those_that_are_taken_out_or_closed)
{
    both_ways(come_and_go);
}

/* ---- Other processes ---- */

static int send_to_many(void *argument)
{
    struct ring_segment *segment = test_attach();
    struct test_random random = { 42 };
    static struct ring_mpmc_producer producers[RINGS];
    static uint64_t numbers[RINGS];
    char name[16];
    for (unsigned i = 0; i < RINGS; i++) {
        snprintf(name, sizeof name, "ring%u", i);
        REQUIRE_OK(ring_mpmc_open_producer(&producers[i], segment, name, TEST_LONG));
    }
    for (uint64_t i = 0; i < *(uint64_t *)argument; i++) {
        uint64_t ring = test_below(&random, RINGS);
        REQUIRE_SAME(ring_mpmc_send(&producers[ring], &numbers[ring], 8, TEST_LONG), 0);
        numbers[ring]++;
        if (test_below(&random, 20) == 0)
            test_nap((int64_t)test_below(&random, 60000));
    }
    for (unsigned i = 0; i < RINGS; i++)
        REQUIRE_OK(ring_mpmc_close_producer(&producers[i]));
    return 0;
}

static int receive_from_any(void *argument)
{
    static struct ring_mpmc_consumer consumers[RINGS];
    static uint64_t numbers[RINGS];
    uint64_t messages = test_rounds(40000), taken = 0;
    char name[16];
    (void)argument;
    memset(numbers, 0, sizeof numbers);
    struct ring_segment_options options = test_plain((size_t)RINGS * ring_mpmc_footprint(16, 8) + (1 << 20));
    options.rings = RINGS;
    struct ring_segment *segment;
    struct ring_any *any;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_any_open(&any));
    for (uintptr_t i = 0; i < RINGS; i++) {
        snprintf(name, sizeof name, "ring%u", (unsigned)i);
        REQUIRE_OK(ring_mpmc_create(segment, name, 16, 8));
        REQUIRE_OK(ring_mpmc_open_consumer(&consumers[i], segment, name, TEST_LONG));
        REQUIRE_OK(ring_any_add(any, ring_mpmc_consumer_waiter(&consumers[i]), (void *)i));
    }
    pid_t child = test_spawn(send_to_many, &messages);
    for (unsigned open = RINGS; open;) {
        void *ready[8];
        int count = ring_any_wait(any, ready, 8, TEST_LONG);
        REQUIRE(count > 0);
        for (int i = 0; i < count; i++) {
            uintptr_t ring = (uintptr_t)ready[i];
            uint64_t number;
            ssize_t code;
            while ((code = ring_mpmc_recv(&consumers[ring], &number, 8, RING_NO_WAIT)) == 8) {
                REQUIRE_SAME(number, numbers[ring]++);
                taken++;
            }
            REQUIRE_ONE_OF(code, -EAGAIN, -EPIPE);
            if (code == -EPIPE) {
                REQUIRE_OK(ring_mpmc_close_consumer(&consumers[ring]));
                open--;
            }
        }
    }
    REQUIRE_SAME(taken, messages);
    test_wait(child);
    ring_any_close(&any);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    return 0;
}

Test(any, a_hundred_rings_are_served_by_one_thread_and_no_wake_is_lost)
{
    both_ways(receive_from_any);
}

/* ---- Threads, and limits ---- */

static void *settle_in_thread(void *any)
{
    settle(any);
    return NULL;
}

Test(any, may_be_handed_to_another_thread)
{
    test_ends_open(&ends);
    struct ring_any *any = any_of_consumers();
    for (int round = 0; round < 10; round++) {
        pthread_t thread;
        REQUIRE_SAME(pthread_create(&thread, NULL, settle_in_thread, any), 0);
        pthread_join(thread, NULL);
        test_drain(&ends, MPMC_CONSUMER);
        REQUIRE_SAME(test_go(&ends, MPMC_PRODUCER, RING_NO_WAIT), 0);
        await_ready(any, MPMC_CONSUMER);
    }
    ring_any_close(&any);
    test_ends_close(&ends);
}

static int close_inherited(void *stage)
{
    test_await(stage, 1);
    REQUIRE_OK(ring_spsc_close_consumer(&ends.spsc_consumer));
    REQUIRE_OK(ring_mpmc_close_consumer(&ends.mpmc_consumer));
    REQUIRE_OK(ring_broadcast_close_consumer(&ends.news_consumer));
    return 0;
}

Test(any, of_a_parent_misses_nothing_when_a_child_closes_its_copies_of_the_endpoints)
{
    enum { SOONER = 20000000 }; /* than anybody is looked after */
    RING_ATOMIC(uint64_t) *stage = test_shared(sizeof *stage);
    void *ready[TEST_KINDS];
    test_ends_open(&ends);
    struct ring_any *any = any_of_consumers();
    settle(any);
    pid_t child = test_spawn(close_inherited, stage);
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2) {
        test_feed(&ends, kind);
        await_ready(any, kind);
        REQUIRE_SAME(test_drain(&ends, kind), 1); /* the next wait is queued, and not submitted yet */
    }
    atomic_store(stage, 1);
    test_wait(child);
    settle(any);
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2) {
        unsigned received = 0;
        test_feed(&ends, kind);
        int count = ring_any_wait(any, ready, TEST_KINDS, SOONER);
        for (int i = 0; i < count; i++)
            received += test_drain(&ends, (enum test_kind)(uintptr_t)ready[i]);
        REQUIRE_SAME(received, 1);
    }
    ring_any_close(&any);
    test_ends_close(&ends);
}

static int add_too_many(void *argument)
{
    static struct ring_mpmc_consumer consumers[130];
    (void)argument;
    test_forbid_uring();
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.seats = 130;
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES + 2 * ring_mpmc_footprint_with(&options));
    struct ring_any *any;
    REQUIRE_OK(ring_mpmc_create_with(segment, "queue", &options));
    REQUIRE_OK(ring_any_open(&any));
    for (int i = 0; i < 130; i++) {
        REQUIRE_OK(ring_mpmc_open_consumer(&consumers[i], segment, "queue", TEST_LONG));
        if (i < 127)
            REQUIRE_OK(ring_any_add(any, ring_mpmc_consumer_waiter(&consumers[i]), NULL));
        else
            REQUIRE_REFUSED(ring_any_add(any, ring_mpmc_consumer_waiter(&consumers[i]), NULL), ENOSPC);
    }
    ring_any_close(&any);
    return 0;
}

Test(any, refuses_what_it_cannot_wait_for)
{
    struct ring_any *any;
    struct ring_broadcast_consumer observer;
    void *ready[1];
    test_ends_open(&ends);
    REQUIRE_REFUSED(ring_any_open(NULL), EINVAL);
    REQUIRE_OK(ring_any_open(&any));
    REQUIRE_SAME(ring_any_wait(any, NULL, 1, 0), -EINVAL);
    REQUIRE_SAME(ring_any_wait(any, ready, 0, 0), -EINVAL);
    REQUIRE_REFUSED(ring_any_add(any, NULL, NULL), EBADF);
    REQUIRE_OK(ring_broadcast_open_observer(&observer, ends.segment, "news", RING_BROADCAST_NEWEST, 0, 0));
    REQUIRE_REFUSED(ring_any_add(any, ring_broadcast_consumer_waiter(&observer), NULL), EOPNOTSUPP);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    REQUIRE(ring_waiter_fd(test_waiter(&ends, SPSC_CONSUMER)) >= 0);
    REQUIRE_REFUSED(ring_any_add(any, test_waiter(&ends, SPSC_CONSUMER), NULL), EBUSY);
    REQUIRE_REFUSED(ring_any_remove(any, test_waiter(&ends, SPSC_CONSUMER)), ENOENT);
    ring_any_close(&any);
    ring_any_close(NULL);
    test_ends_close(&ends);
    test_wait(test_spawn(add_too_many, NULL));
}
