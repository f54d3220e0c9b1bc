/* mpmc_misuse.c - handles where they must not be: in two threads at once, within their own call, in a child after fork.
 * They answer -EBUSY or -ECHILD, and nothing is harmed. */
#include "mpmc.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { MOST = 24, SLOTS = 8 };

static struct test_queue queue;

/* ---- Two threads ---- */

static void *receive_one(void *argument)
{
    *(int *)argument = test_get(&queue.consumer, 1, 7, TEST_LONG);
    return NULL;
}

static void require_busy_consumer(void)
{
    unsigned char bytes[MOST];
    struct ring_message message;
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_FOREVER), -EBUSY);
    REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, RING_FOREVER), -EBUSY);
    REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, &message, 1, RING_FOREVER), -EBUSY);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, bytes, 1, 1, RING_FOREVER), -EBUSY);
    REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 0), -EBUSY);
    REQUIRE_REFUSED(ring_mpmc_close_consumer(&queue.consumer), EBUSY);
}

Test(misuse, a_handle_that_waits_in_one_thread_answers_ebusy_to_another_and_may_be_passed_on_afterwards)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        pthread_t thread;
        int result = 1;
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        REQUIRE_SAME(pthread_create(&thread, NULL, receive_one, &result), 0);
        while (!ring_atomic_load(&queue.consumer.end.view.control->consumers_asleep, memory_order_relaxed))
            test_nap(100000); /* it is inside when it sleeps, and stays there */
        for (int i = 0; i < 100; i++)
            require_busy_consumer();
        REQUIRE_SAME(test_put(&queue.producer, 1, 7, RING_NO_WAIT), 0);
        REQUIRE_SAME(pthread_join(thread, NULL), 0);
        REQUIRE_SAME(result, 0);
        test_put_many(&queue.producer, MOST, 0, 3);
        test_get_many(&queue.consumer, MOST, 0, 3, 0);
        test_queue_close(&queue);
    }
}

static RING_ATOMIC(uint64_t) sent, received, refused;

/* Two threads with one producer and one consumer: what was sent is received, however often they met. */
static void *use_both_ends(void *argument)
{
    (void)argument;
    uint64_t rounds = test_rounds(20000);
    for (uint64_t round = 0; round < rounds; round++) {
        int code = test_put(&queue.producer, 8, 5, RING_NO_WAIT);
        REQUIRE_ONE_OF(code, 0, -EBUSY, -EAGAIN);
        atomic_fetch_add(&sent, code == 0);
        atomic_fetch_add(&refused, code == -EBUSY);
        code = test_get(&queue.consumer, 8, 5, RING_NO_WAIT);
        REQUIRE_ONE_OF(code, 0, -EBUSY, -EAGAIN);
        atomic_fetch_add(&received, code == 0);
        if (round % 64 == 0)
            test_nap(1000);
    }
    return NULL;
}

Test(misuse, two_threads_that_fight_for_the_same_handles_harm_nothing)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        pthread_t threads[2];
        atomic_store(&sent, 0);
        atomic_store(&received, 0);
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        for (int i = 0; i < 2; i++)
            REQUIRE_SAME(pthread_create(&threads[i], NULL, use_both_ends, NULL), 0);
        for (int i = 0; i < 2; i++)
            REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
        while (test_get(&queue.consumer, 8, 5, RING_NO_WAIT) == 0)
            atomic_fetch_add(&received, 1);
        REQUIRE_SAME(atomic_load(&received), atomic_load(&sent));
        REQUIRE(atomic_load(&sent) > 0);
        struct ring_mpmc_info info = test_queue_info(queue.segment);
        REQUIRE(info.messages == 0 && info.tail == atomic_load(&sent));
        test_queue_close(&queue);
    }
}

/* ---- Signal handlers ---- */

static RING_ATOMIC(int) from_handler;
static RING_ATOMIC(uint64_t) handled, inside;

static timer_t start_timer(void (*handler)(int), long first_ns, long every_ns)
{
    struct sigaction action = { .sa_handler = handler };
    REQUIRE_SAME(sigaction(SIGALRM, &action, NULL), 0);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    struct itimerspec when = { .it_value = { .tv_nsec = first_ns }, .it_interval = { .tv_nsec = every_ns } };
    timer_t timer;
    REQUIRE_SAME(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    REQUIRE_SAME(timer_settime(timer, 0, &when, NULL), 0);
    return timer;
}

static void send_from_handler(int signal)
{
    (void)signal;
    void *place;
    int code = ring_mpmc_send(&queue.producer, "x", 1, RING_FOREVER);
    if (code == -EBUSY)
        code = ring_mpmc_reserve(&queue.producer, 1, &place, RING_FOREVER);
    if (code == -EBUSY)
        code = ring_mpmc_cancel(&queue.producer);
    atomic_store(&from_handler, code);
}

Test(misuse, a_signal_handler_within_a_waiting_call_gets_ebusy)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        test_put_many(&queue.producer, MOST, 0, SLOTS);
        atomic_store(&from_handler, 1);
        timer_t timer = start_timer(send_from_handler, 20000000, 0);
        while (atomic_load(&from_handler) == 1)
            REQUIRE_SAME(test_put(&queue.producer, 0, 0, 100000000), -ETIMEDOUT);
        REQUIRE_SAME(atomic_load(&from_handler), -EBUSY);
        REQUIRE_SAME(timer_delete(timer), 0);
        test_get_many(&queue.consumer, MOST, 0, SLOTS, 0);
        test_put_many(&queue.producer, MOST, SLOTS, SLOTS);
        test_get_many(&queue.consumer, MOST, SLOTS, SLOTS, 0);
        test_queue_close(&queue);
    }
}

static void send_between(int signal)
{
    (void)signal;
    int code = ring_mpmc_send(&queue.producer, "h", 1, RING_NO_WAIT);
    if (code == 0)
        atomic_fetch_add(&sent, 1);
    else if (code == -EBUSY)
        atomic_fetch_add(&inside, 1);
    atomic_fetch_add(&handled, 1);
}

/* Wherever the signal falls: a handler's message is sent as a whole, or refused as a whole. */
Test(misuse, a_signal_handler_at_any_moment_sends_or_is_refused)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        unsigned char bytes[MOST];
        uint64_t own = 0, from_handlers = 0, expected = 0;
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        atomic_store(&sent, 0);
        atomic_store(&handled, 0);
        timer_t timer = start_timer(send_between, 50000, 50000);
        for (uint64_t turn = 0; atomic_load(&handled) < test_rounds(3000); turn++) {
            int code = test_put(&queue.producer, 8, own, RING_NO_WAIT);
            REQUIRE_ONE_OF(code, 0, -EAGAIN);
            own += code == 0;
            for (ssize_t length; (length = ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_NO_WAIT)) >= 0;) {
                from_handlers += length == 1;
                REQUIRE(length == 1 ? bytes[0] == 'h' : length == 8 && test_matches(bytes, 8, expected++));
            }
        }
        REQUIRE_SAME(timer_delete(timer), 0);
        struct sigaction ignore = { .sa_handler = SIG_IGN };
        REQUIRE_SAME(sigaction(SIGALRM, &ignore, NULL), 0);
        for (ssize_t length; (length = ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_NO_WAIT)) >= 0;) {
            from_handlers += length == 1;
            expected += length == 8;
        }
        REQUIRE_SAME(expected, own);
        REQUIRE_SAME(from_handlers, atomic_load(&sent));
        test_queue_close(&queue);
    }
}

/* ---- Fork ---- */

static int use_what_is_the_parents(void *argument)
{
    unsigned char bytes[MOST];
    struct ring_message message = { bytes, 1, 0 };
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    struct ring_mpmc_producer own;
    void *place;
    REQUIRE_SAME(ring_mpmc_send(&queue.producer, "x", 1, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, "x", 1, 1, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, &message, 1, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, 1, &place, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_commit(&queue.producer, 1), -ECHILD);
    REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), -ECHILD);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 1), -ECHILD);
    REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, &message, 1, RING_FOREVER), -ECHILD);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, bytes, 1, 1, RING_FOREVER), -ECHILD);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&own, queue.segment, "queue", RING_NO_WAIT), ECHILD);
    REQUIRE_REFUSED(ring_mpmc_create(queue.segment, "another", 8, 8), ECHILD);
    REQUIRE_REFUSED(ring_mpmc_info(queue.segment, "queue", &info), ECHILD);
    REQUIRE_REFUSED(ring_segment_recover(queue.segment, NULL), ECHILD);
    if (argument) {
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
        REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
        REQUIRE_SAME(ring_mpmc_send(&queue.producer, "x", 1, RING_NO_WAIT), -EBADF);
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_NO_WAIT), -EBADF);
    }
    return 0;
}

/* In the middle of things: a reservation is open and messages are peeked. */
Test(misuse, handles_used_in_a_child_after_fork_answer_echild_and_the_parents_are_not_harmed)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++)
        for (int close = 0; close < 2; close++) {
            struct ring_message seen[2];
            void *place;
            test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
            test_put_many(&queue.producer, MOST, 0, 3);
            REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, 2, RING_NO_WAIT), 2);
            REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, 8, &place, RING_NO_WAIT), 0);
            test_wait(test_spawn(use_what_is_the_parents, close ? &close : NULL));
            struct ring_mpmc_info info = test_queue_info(queue.segment);
            REQUIRE(info.dead == 0 && info.producers == info.consumers && info.producers >= 1 && info.held == 2);
            test_fill(place, 8, 99);
            REQUIRE_SAME(ring_mpmc_commit(&queue.producer, 8), 0);
            test_get_many(&queue.consumer, MOST, 0, 3, 0);
            REQUIRE_SAME(test_get(&queue.consumer, 8, 99, RING_NO_WAIT), 0);
            test_queue_close(&queue);
        }
}

static int open_own_ends(void *argument)
{
    (void)argument;
    static struct test_queue own;
    own.segment = test_attach();
    test_join_producer(&own.producer, own.segment);
    test_join_consumer(&own.consumer, own.segment);
    test_put_many(&own.producer, MOST, 0, 2);
    test_get_many(&own.consumer, MOST, 0, 2, 0);
    REQUIRE_OK(ring_mpmc_close_producer(&own.producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&own.consumer));
    REQUIRE_OK(ring_segment_close(&own.segment));
    return 0;
}

Test(misuse, a_child_after_fork_that_attaches_anew_takes_part_like_anybody)
{
    test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 0);
    test_wait(test_spawn(open_own_ends, NULL));
    test_put_many(&queue.producer, MOST, 0, 3);
    test_get_many(&queue.consumer, MOST, 0, 3, 0);
    REQUIRE_SAME(test_queue_info(queue.segment).producers, 1);
    test_queue_close(&queue);
}
