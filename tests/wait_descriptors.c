/* wait_descriptors.c - endpoints in event loops: what a descriptor says, under io_uring and without it. */
#include "waiting.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

enum { SOON = 10000, RINGS = 200 };

/* A body runs in this process, and in one that has no io_uring. */
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

static int tell_the_truth(void *argument)
{
    static struct test_ends ends;
    (void)argument;
    test_ends_open(&ends);
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++) {
        int descriptor = ring_waiter_fd(test_waiter(&ends, kind));
        REQUIRE(descriptor >= 0);
        REQUIRE_SAME(ring_waiter_fd(test_waiter(&ends, kind)), descriptor);
        for (uint64_t round = 0; round < test_rounds(40); round++) {
            test_drain(&ends, kind);
            test_drain(&ends, kind);
            test_feed(&ends, kind);
            REQUIRE(test_is_readable(descriptor, SOON));
            REQUIRE(test_is_readable(descriptor, 0)); /* it stays so */
            if (test_consumes(kind) && round % 2)
                test_feed(&ends, kind);
            REQUIRE_SAME(test_go(&ends, kind, RING_NO_WAIT), 0);
            REQUIRE(test_is_readable(descriptor, 0)); /* until somebody has found nothing */
        }
        test_drain(&ends, kind);
        test_drain(&ends, test_other(kind));
    }
    test_ends_close(&ends);
    return 0;
}

Test(descriptors, are_readable_from_the_first_message_or_room_until_a_call_finds_nothing)
{
    both_ways(tell_the_truth);
}

/* Once a second it may be readable for nothing; so one of two times it must be dark for a while. */
static int be_dark(void *argument)
{
    static struct test_ends ends;
    (void)argument;
    test_ends_open(&ends);
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++) {
        int descriptor = ring_waiter_fd(test_waiter(&ends, kind));
        bool dark = false;
        for (int tries = 0; tries < 100 && !dark; tries++) {
            test_drain(&ends, kind);
            dark = !test_is_readable(descriptor, 5);
        }
        REQUIRE(dark);
        test_drain(&ends, test_other(kind));
    }
    test_ends_close(&ends);
    return 0;
}

Test(descriptors, are_not_readable_while_there_is_nothing)
{
    both_ways(be_dark);
}

static int wait_all_the_same(void *argument)
{
    static struct test_ends ends;
    (void)argument;
    test_ends_open(&ends);
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++) {
        int descriptor = ring_waiter_fd(test_waiter(&ends, kind));
        test_drain(&ends, kind);
        REQUIRE_SAME(test_go(&ends, kind, 2000000), -ETIMEDOUT);
        test_feed(&ends, kind);
        REQUIRE_SAME(test_go(&ends, kind, TEST_LONG), 0);
        test_drain(&ends, kind);
        test_feed(&ends, kind);
        REQUIRE(test_is_readable(descriptor, SOON));
        test_drain(&ends, kind);
        test_drain(&ends, test_other(kind));
    }
    test_ends_close(&ends);
    return 0;
}

Test(descriptors, do_not_keep_an_endpoint_from_waiting_with_a_time_limit)
{
    both_ways(wait_all_the_same);
}

/* ---- Many rings, other processes ---- */

struct parcel {
    uint32_t ring, number;
};

static void ring_name(char name[16], unsigned ring)
{
    snprintf(name, 16, "ring%u", ring);
}

static int send_here_and_there(void *argument)
{
    struct ring_segment *segment = test_attach();
    static struct ring_spsc_producer producers[RINGS];
    static uint32_t numbers[RINGS];
    struct test_random random = { 4711 };
    uint64_t messages = *(uint64_t *)argument;
    char name[16];
    for (unsigned i = 0; i < RINGS; i++) {
        ring_name(name, i);
        REQUIRE_OK(ring_spsc_open_producer(&producers[i], segment, name, TEST_LONG));
    }
    for (uint64_t i = 0; i < messages; i++) {
        uint32_t ring = (uint32_t)test_below(&random, i % 64 < 32 ? RINGS : 3);
        struct parcel parcel = { ring, numbers[ring]++ };
        REQUIRE_SAME(ring_spsc_send(&producers[ring], &parcel, sizeof parcel, TEST_LONG), 0);
        if (test_below(&random, 50) == 0)
            test_nap((int64_t)test_below(&random, 100000));
    }
    for (unsigned i = 0; i < RINGS; i++)
        REQUIRE_OK(ring_spsc_close_producer(&producers[i]));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

/* Takes up to `most` messages. True: all were taken and the producer is gone. */
static bool take(struct ring_spsc_consumer *consumer, uint32_t ring, uint32_t *number, uint64_t *taken, unsigned most)
{
    struct parcel parcel;
    ssize_t code = 0;
    while (most-- && (code = ring_spsc_recv(consumer, &parcel, sizeof parcel, RING_NO_WAIT)) > 0) {
        REQUIRE_SAME(parcel.ring, ring);
        REQUIRE_SAME(parcel.number, (*number)++);
        (*taken)++;
    }
    if (code < 0 && code != -EAGAIN)
        REQUIRE_SAME(code, -EPIPE);
    return code == -EPIPE;
}

static int receive_from_many(void *argument)
{
    uint64_t messages = test_rounds(60000), taken = 0;
    static struct ring_spsc_consumer consumers[RINGS];
    static uint32_t numbers[RINGS];
    char name[16];
    (void)argument;
    memset(numbers, 0, sizeof numbers);
    struct ring_segment_options options = test_plain((size_t)RINGS * 3 * (4096 + 2048) + (1 << 20));
    options.rings = RINGS;
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < RINGS; i++) {
        ring_name(name, i);
        REQUIRE_OK(ring_spsc_create(segment, name, 4096));
        REQUIRE_OK(ring_spsc_open_consumer(&consumers[i], segment, name, TEST_LONG));
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
        int descriptor = ring_waiter_fd(ring_spsc_consumer_waiter(&consumers[i]));
        REQUIRE(descriptor >= 0);
        REQUIRE_SAME(epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event), 0);
    }
    pid_t child = test_spawn(send_here_and_there, &messages);
    for (unsigned open = RINGS; open;) {
        struct epoll_event events[16];
        int count = epoll_wait(poller, events, 16, 60000);
        REQUIRE(count > 0);
        for (int i = 0; i < count; i++) {
            uint32_t ring = events[i].data.u32;
            if (take(&consumers[ring], ring, &numbers[ring], &taken, 5)) {
                int descriptor = ring_waiter_fd(ring_spsc_consumer_waiter(&consumers[ring]));
                REQUIRE_SAME(epoll_ctl(poller, EPOLL_CTL_DEL, descriptor, NULL), 0); /* the child has it as well */
                REQUIRE_OK(ring_spsc_close_consumer(&consumers[ring]));
                open--;
            }
        }
    }
    REQUIRE_SAME(taken, messages);
    test_wait(child);
    close(poller);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    return 0;
}

Test(descriptors, many_rings_in_one_epoll_lose_no_wake)
{
    both_ways(receive_from_many);
}

/* ---- Ends ---- */

static int attach_and_wait(void *argument)
{
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    atomic_store((RING_ATOMIC(uint64_t) *)argument, 1);
    for (;;)
        pause();
    return 0;
}

Test(descriptors, tell_of_a_peer_that_was_killed)
{
    RING_ATOMIC(uint64_t) *ready = test_shared(sizeof *ready);
    struct ring_segment *segment = test_create(1 << 18);
    struct ring_spsc_consumer consumer;
    char byte;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    test_open_consumer(&consumer, segment);
    int descriptor = ring_waiter_fd(ring_spsc_consumer_waiter(&consumer));
    pid_t child = test_spawn(attach_and_wait, (void *)(uintptr_t)ready);
    test_await(ready, 1);
    REQUIRE_SAME(ring_spsc_recv(&consumer, &byte, 1, RING_NO_WAIT), -EAGAIN);
    test_kill(child);
    ssize_t code;
    do {
        REQUIRE(test_is_readable(descriptor, SOON));
        code = ring_spsc_recv(&consumer, &byte, 1, RING_NO_WAIT);
    } while (code == -EAGAIN);
    REQUIRE_SAME(code, -EOWNERDEAD);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(descriptors, go_with_a_ring_that_grows)
{
    static struct test_ends ends;
    test_ends_open(&ends);
    int in = ring_waiter_fd(ring_spsc_consumer_waiter(&ends.spsc_consumer));
    int out = ring_waiter_fd(ring_spsc_producer_waiter(&ends.spsc_producer));
    for (int round = 0; round < 3; round++) {
        test_drain(&ends, SPSC_PRODUCER);
        test_drain(&ends, SPSC_CONSUMER);
        REQUIRE(test_is_readable(out, SOON));
        REQUIRE_OK(ring_spsc_grow(&ends.spsc_producer, NULL));
        REQUIRE(test_is_readable(out, SOON));
        REQUIRE_SAME(test_go(&ends, SPSC_PRODUCER, RING_NO_WAIT), 0);
        int code;
        do {
            REQUIRE(test_is_readable(in, SOON));
            code = test_go(&ends, SPSC_CONSUMER, RING_NO_WAIT);
        } while (code == -EAGAIN);
        REQUIRE_SAME(code, 0);
        test_drain(&ends, SPSC_CONSUMER);
        REQUIRE_SAME(test_go(&ends, SPSC_PRODUCER, RING_NO_WAIT), 0);
        REQUIRE(test_is_readable(in, SOON));
        REQUIRE_SAME(test_go(&ends, SPSC_CONSUMER, RING_NO_WAIT), 0);
    }
    REQUIRE_SAME(ring_waiter_fd(ring_spsc_consumer_waiter(&ends.spsc_consumer)), in);
    test_ends_close(&ends);
}

/* ---- Threads, and refusals ---- */

static void *drain_in_thread(void *argument)
{
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++)
        test_drain(argument, kind);
    return NULL;
}

Test(descriptors, serve_one_thread_after_the_other)
{
    static struct test_ends ends;
    test_ends_open(&ends);
    int descriptors[TEST_KINDS];
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++)
        REQUIRE((descriptors[kind] = ring_waiter_fd(test_waiter(&ends, kind))) >= 0);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        if (round % 2)
            drain_in_thread(&ends);
        else if (!pthread_create(&thread, NULL, drain_in_thread, &ends))
            pthread_join(thread, NULL);
        for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2) {
            REQUIRE_SAME(test_drain(&ends, kind) > 0, true);
            REQUIRE(test_is_readable(descriptors[kind + 1], SOON));
            REQUIRE_SAME(test_go(&ends, kind + 1, RING_NO_WAIT), 0);
            REQUIRE(test_is_readable(descriptors[kind], SOON));
        }
    }
    test_ends_close(&ends);
}

/* What the other thread's queue had under way is taken back by the kernel when it likes: that must not light it for long. */
Test(descriptors, become_dark_in_the_next_thread_too)
{
    static struct test_ends ends;
    test_ends_open(&ends);
    enum test_kind kind = SPSC_CONSUMER;
    int descriptor = ring_waiter_fd(test_waiter(&ends, kind));
    for (uint64_t round = 0; round < test_rounds(80); round++) {
        pthread_t thread;
        REQUIRE_SAME(pthread_create(&thread, NULL, drain_in_thread, &ends), 0);
        pthread_join(thread, NULL);
        test_drain(&ends, kind);
        unsigned tries = 0;
        while (test_is_readable(descriptor, 5)) {
            REQUIRE(++tries < 50);
            test_drain(&ends, kind);
        }
    }
    test_ends_close(&ends);
}

Test(descriptors, are_refused_where_they_could_not_work)
{
    static struct test_ends ends;
    struct ring_broadcast_consumer observer;
    struct ring_any *any;
    test_ends_open(&ends);
    REQUIRE_OK(ring_broadcast_open_observer(&observer, ends.segment, "news", RING_BROADCAST_NEWEST, 0, 0));
    REQUIRE_REFUSED(ring_waiter_fd(ring_broadcast_consumer_waiter(&observer)), EOPNOTSUPP);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    REQUIRE_REFUSED(ring_waiter_fd(ring_broadcast_consumer_waiter(&observer)), EBADF);
    REQUIRE_REFUSED(ring_waiter_fd(NULL), EBADF);
    REQUIRE_OK(ring_any_open(&any));
    REQUIRE_OK(ring_any_add(any, test_waiter(&ends, SPSC_CONSUMER), NULL));
    REQUIRE_REFUSED(ring_waiter_fd(test_waiter(&ends, SPSC_CONSUMER)), EBUSY);
    ring_any_close(&any);
    unsigned before = test_descriptors();
    REQUIRE(ring_waiter_fd(test_waiter(&ends, SPSC_CONSUMER)) >= 0);
    REQUIRE(test_descriptors() > before);
    REQUIRE_OK(ring_spsc_close_consumer(&ends.spsc_consumer));
    REQUIRE_SAME(test_descriptors(), before);
    test_open_consumer(&ends.spsc_consumer, ends.segment);
    test_ends_close(&ends);
}
