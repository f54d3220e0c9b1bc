/* broadcast_waiting.c - time limits, sleeping and being woken, ends that are told; and endpoints used where they must
 * not be: by two threads, within their own call, after fork. */
#include "broadcast.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { MOST = 50, SLOTS = 8, SLEEPERS = 4 };

static struct ring_segment *segment;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer receiver;

static void begin(enum ring_broadcast_policy policy)
{
    segment = test_news(policy, SLOTS, MOST, 8, 0);
    test_sender(&sender, segment);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
}

static void end(void)
{
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    test_end_news(segment);
}

Test(waiting, an_empty_ring_says_so_at_once_or_when_the_limit_is_over)
{
    begin(RING_BROADCAST_OVERWRITE);
    struct ring_message message;
    uint64_t words[4];
    REQUIRE_SAME(test_hear(&receiver, MOST, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(test_hear(&receiver, MOST, 1), -ETIMEDOUT);
    REQUIRE_SAME(test_hear(&receiver, MOST, 3000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_broadcast_peek(&receiver, &message, 3000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_broadcast_peek_batch(&receiver, &message, 1, 3000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_broadcast_recv_array(&receiver, words, 8, 4, 3000000), -ETIMEDOUT);
    test_tell_many(&sender, MOST, 1);
    test_hear_many(&receiver, MOST, 1);
    end();
}

Test(waiting, a_full_lossless_ring_says_so_at_once_or_when_the_limit_is_over)
{
    begin(RING_BROADCAST_LOSSLESS);
    void *place;
    test_tell_many(&sender, MOST, SLOTS);
    REQUIRE_SAME(test_tell(&sender, MOST, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(test_tell(&sender, MOST, 3000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_broadcast_reserve(&sender, 1, &place, 3000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, "abc", 1, 3, 3000000), -ETIMEDOUT);
    test_hear_many(&receiver, MOST, 1);
    REQUIRE_SAME(test_tell(&sender, MOST, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    test_tell_many(&sender, MOST, 3 * SLOTS); /* nobody holds it back any more */
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    end();
}

/* ---- Sleepers ---- */

struct sleeper {
    pthread_t thread;
    int result;
};

static RING_ATOMIC(uint64_t) joined, woken;

static void *sleep_until_told(void *argument)
{
    struct sleeper *sleeper = argument;
    struct ring_broadcast_consumer own;
    test_join(&own, segment, RING_BROADCAST_NEWEST);
    atomic_fetch_add(&joined, 1);
    while ((sleeper->result = test_hear(&own, MOST, RING_FOREVER)) == 0)
        atomic_fetch_add(&woken, 1);
    REQUIRE_OK(ring_broadcast_close_consumer(&own));
    return NULL;
}

static unsigned sleeping(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 8; i++) {
        struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
        if (ring_broadcast_seat_info(segment, "news", i, &seat) == 0)
            count += seat.consumer.asleep;
    }
    return count;
}

static void await_sleepers(unsigned count)
{
    for (int tries = 0; sleeping() < count; tries++) {
        REQUIRE(tries < 20000);
        test_nap(1000000);
    }
}

Test(waiting, all_sleepers_are_woken_by_each_message_and_by_the_end)
{
    begin(RING_BROADCAST_LOSSLESS);
    struct sleeper sleepers[SLEEPERS];
    atomic_store(&joined, 0);
    atomic_store(&woken, 0);
    for (int i = 0; i < SLEEPERS; i++)
        REQUIRE_SAME(pthread_create(&sleepers[i].thread, NULL, sleep_until_told, &sleepers[i]), 0);
    test_await(&joined, SLEEPERS);
    for (uint64_t round = 1; round <= test_rounds(64); round++) {
        await_sleepers(SLEEPERS);
        REQUIRE_SAME(test_tell(&sender, MOST, TEST_LONG), 0);
        test_await(&woken, round * SLEEPERS);
        test_hear_many(&receiver, MOST, 1);
    }
    await_sleepers(SLEEPERS);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    for (int i = 0; i < SLEEPERS; i++) {
        REQUIRE_SAME(pthread_join(sleepers[i].thread, NULL), 0);
        REQUIRE_SAME(sleepers[i].result, -EPIPE);
    }
    test_sender(&sender, segment);
    end();
}

static void *tell_one(void *argument)
{
    RING_ATOMIC(uint64_t) *done = argument;
    REQUIRE_SAME(test_tell(&sender, MOST, RING_FOREVER), 0);
    atomic_store(done, 1);
    return NULL;
}

Test(waiting, a_sleeping_lossless_producer_is_woken_by_room_and_by_a_consumer_that_leaves)
{
    begin(RING_BROADCAST_LOSSLESS);
    for (int round = 0; round < 4; round++) {
        static RING_ATOMIC(uint64_t) done;
        pthread_t thread;
        atomic_store(&done, 0);
        while (test_tell(&sender, MOST, RING_NO_WAIT) == 0)
            continue;
        REQUIRE_SAME(pthread_create(&thread, NULL, tell_one, &done), 0);
        for (int tries = 0; !test_news_info(segment).producer.asleep; tries++) {
            REQUIRE(tries < 20000);
            test_nap(1000000);
        }
        REQUIRE_SAME(atomic_load(&done), 0);
        if (round % 2) {
            REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
        } else {
            test_hear_many(&receiver, MOST, 1);
        }
        test_await(&done, 1);
        REQUIRE_SAME(pthread_join(thread, NULL), 0);
        if (round % 2)
            test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    }
    end();
}

static int tell_and_die(void *argument)
{
    (void)argument;
    struct ring_segment *own = test_attach();
    struct ring_broadcast_producer producer;
    test_sender(&producer, own);
    test_tell_many(&producer, MOST, 1);
    test_nap(100000000); /* the consumer sleeps by then */
    raise(SIGKILL);
    return 0;
}

Test(waiting, a_sleeper_is_told_of_its_producers_death)
{
    begin(RING_BROADCAST_LOSSLESS);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    pid_t child = test_spawn(tell_and_die, NULL);
    int code;
    while ((code = test_hear(&receiver, MOST, RING_FOREVER)) == -EPIPE) /* not there yet */
        test_nap(100000);
    REQUIRE_SAME(code, 0);
    REQUIRE_SAME(test_hear(&receiver, MOST, RING_FOREVER), -EOWNERDEAD);
    test_wait_status(child);
    test_sender(&sender, segment);
    test_tell_many(&sender, MOST, 1);
    test_hear_many(&receiver, MOST, 1);
    end();
}

/* ---- Misuse ---- */

static void *hear_one(void *argument)
{
    *(int *)argument = test_hear(&receiver, MOST, TEST_LONG);
    return NULL;
}

Test(waiting, an_endpoint_used_by_two_threads_at_once_answers_ebusy_and_is_not_harmed)
{
    begin(RING_BROADCAST_LOSSLESS);
    pthread_t thread;
    int result = 1;
    unsigned char bytes[MOST];
    struct ring_message message;
    REQUIRE_SAME(pthread_create(&thread, NULL, hear_one, &result), 0);
    await_sleepers(1);
    for (int i = 0; i < 100; i++) {
        REQUIRE_SAME(ring_broadcast_recv(&receiver, bytes, MOST, 0), -EBUSY);
        REQUIRE_SAME(ring_broadcast_peek(&receiver, &message, 0), -EBUSY);
        REQUIRE_SAME(ring_broadcast_release(&receiver, 0), -EBUSY);
        REQUIRE_SAME(ring_broadcast_peek_batch(&receiver, &message, 1, 0), -EBUSY);
        REQUIRE_SAME(ring_broadcast_recv_array(&receiver, bytes, 8, 1, 0), -EBUSY);
    }
    REQUIRE_REFUSED(ring_broadcast_close_consumer(&receiver), EBUSY);
    test_tell_many(&sender, MOST, 2);
    REQUIRE_SAME(pthread_join(thread, NULL), 0);
    REQUIRE_SAME(result, 0);
    test_hear_many(&receiver, MOST, 1); /* and it can be handed over between calls */
    end();
}

static RING_ATOMIC(int) from_handler;

static void send_from_handler(int signal)
{
    (void)signal;
    int code = ring_broadcast_send(&sender, "x", 1, RING_NO_WAIT);
    if (code == -EBUSY)
        code = ring_broadcast_cancel(&sender);
    atomic_store(&from_handler, code);
}

Test(waiting, a_signal_handler_within_a_call_gets_ebusy)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_tell_many(&sender, MOST, SLOTS);
    struct sigaction action = { .sa_handler = send_from_handler };
    REQUIRE_SAME(sigaction(SIGALRM, &action, NULL), 0);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    struct itimerspec when = { .it_value = { .tv_nsec = 20000000 } };
    timer_t timer;
    REQUIRE_SAME(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    REQUIRE_SAME(timer_settime(timer, 0, &when, NULL), 0);
    atomic_store(&from_handler, 1);
    while (atomic_load(&from_handler) == 1)
        REQUIRE_SAME(test_tell(&sender, MOST, 100000000), -ETIMEDOUT);
    REQUIRE_SAME(atomic_load(&from_handler), -EBUSY);
    REQUIRE_SAME(timer_delete(timer), 0);
    test_hear_many(&receiver, MOST, SLOTS);
    REQUIRE_SAME(test_tell(&sender, MOST, 0), 0);
    test_hear_many(&receiver, MOST, 1);
    end();
}

static int use_what_is_the_parents(void *argument)
{
    (void)argument;
    unsigned char bytes[MOST];
    struct ring_message message = { bytes, 1, 0 };
    void *place;
    REQUIRE_SAME(ring_broadcast_send(&sender, "x", 1, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, "x", 1, 1, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, &message, 1, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_reserve(&sender, 1, &place, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_commit(&sender, 1), -ECHILD);
    REQUIRE_SAME(ring_broadcast_cancel(&sender), -ECHILD);
    REQUIRE_SAME(ring_broadcast_recv(&receiver, bytes, MOST, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_peek(&receiver, &message, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_release(&receiver, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_peek_batch(&receiver, &message, 1, 0), -ECHILD);
    REQUIRE_SAME(ring_broadcast_recv_array(&receiver, bytes, 1, 1, 0), -ECHILD);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_SAME(ring_broadcast_send(&sender, "x", 1, 0), -EBADF);
    REQUIRE_SAME(ring_broadcast_recv(&receiver, bytes, MOST, 0), -EBADF);
    return 0;
}

Test(waiting, endpoints_used_in_a_child_after_fork_answer_echild_and_the_parents_are_not_harmed)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_tell_many(&sender, MOST, 3);
    test_wait(test_spawn(use_what_is_the_parents, NULL));
    struct ring_broadcast_info info = test_news_info(segment);
    REQUIRE_SAME(info.producer.peer, RING_PEER_ALIVE);
    REQUIRE_SAME(info.consumers, 1);
    test_tell_many(&sender, MOST, 3);
    test_hear_many(&receiver, MOST, 6);
    end();
}

Test(waiting, closed_endpoints_say_so_and_closing_twice_is_told)
{
    begin(RING_BROADCAST_LOSSLESS);
    end();
    unsigned char bytes[MOST];
    REQUIRE_SAME(ring_broadcast_send(&sender, "x", 1, 0), -EBADF);
    REQUIRE_SAME(ring_broadcast_recv(&receiver, bytes, MOST, 0), -EBADF);
    REQUIRE_SAME(ring_broadcast_producer_state(&receiver), RING_PEER_NEVER);
    REQUIRE_REFUSED(ring_broadcast_close_producer(&sender), EBADF);
    REQUIRE_REFUSED(ring_broadcast_close_consumer(&receiver), EBADF);
    REQUIRE_REFUSED(ring_broadcast_close_consumer(NULL), EBADF);
}

Test(waiting, opening_waits_for_the_ring_to_appear)
{
    segment = test_create(1 << 20);
    REQUIRE_REFUSED(ring_broadcast_open_producer(&sender, segment, "news", 2000000), ETIMEDOUT);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, segment, "news", RING_BROADCAST_NEWEST, 0, 2000000),
                    ETIMEDOUT);
    REQUIRE_REFUSED(ring_broadcast_open_producer(NULL, segment, "news", 0), EINVAL);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(NULL, segment, "news", RING_BROADCAST_NEWEST, 0, 0), EINVAL);
    test_end_news(segment);
}

Test(waiting, coming_and_going_leaves_no_descriptor_and_no_mapping_behind)
{
    begin(RING_BROADCAST_LOSSLESS);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    unsigned descriptors = test_descriptors(), mappings = test_mappings();
    for (int i = 0; i < 100; i++) {
        test_sender(&sender, segment);
        test_join(&receiver, segment, RING_BROADCAST_OLDEST);
        REQUIRE_OK(ring_broadcast_close_producer(&sender));
        REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
        REQUIRE_OK(ring_broadcast_open_observer(&receiver, segment, "news", RING_BROADCAST_OLDEST, 0, 0));
        REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    }
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE(test_mappings() <= mappings + 2);
    test_end_news(segment);
}
