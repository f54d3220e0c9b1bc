/* mpmc_waiting.c - time limits, sleeping and being woken, ends that are told, and a stopped holder that is not robbed.
 */
#include "mpmc.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum { MOST = 24, SLOTS = 8, SLEEPERS = 3, SHORT = 3000000 };

static struct test_queue queue;
static RING_ATOMIC(uint64_t) done, begun;

static void fill_up(uint64_t first)
{
    test_put_many(&queue.producer, MOST, first, SLOTS);
    REQUIRE_SAME(test_put(&queue.producer, 0, 0, RING_NO_WAIT), -EAGAIN);
}

Test(waiting, an_empty_ring_says_so_at_once_or_when_the_limit_is_over)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        struct ring_message message;
        uint64_t words[4];
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        for (int i = 0; i < 1000; i++)
            REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(test_get(&queue.consumer, 0, 0, 1), -ETIMEDOUT);
        REQUIRE_SAME(test_get(&queue.consumer, 0, 0, SHORT), -ETIMEDOUT);
        REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, SHORT), -ETIMEDOUT);
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, &message, 1, SHORT), -ETIMEDOUT);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, words, 8, 4, 30000000), -ETIMEDOUT);
        test_put_many(&queue.producer, MOST, 0, 1);
        test_get_many(&queue.consumer, MOST, 0, 1, 0);
        test_queue_close(&queue);
    }
}

Test(waiting, a_full_ring_says_so_at_once_or_when_the_limit_is_over)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        char text[3] = "abc";
        struct ring_message batch = { text, 3, 0 };
        void *place;
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        fill_up(0);
        for (int i = 0; i < 1000; i++)
            REQUIRE_SAME(test_put(&queue.producer, 0, 0, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(test_put(&queue.producer, 0, 0, SHORT), -ETIMEDOUT);
        REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, 1, &place, SHORT), -ETIMEDOUT);
        REQUIRE(place == NULL);
        REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, &batch, 1, SHORT), -ETIMEDOUT);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, "abc", 1, 3, 30000000), -ETIMEDOUT);
        test_get_many(&queue.consumer, MOST, 0, SLOTS, 0);
        fill_up(3);
        test_get_many(&queue.consumer, MOST, 3, SLOTS, 0);
        test_queue_close(&queue);
    }
}

/* ---- Sleepers ---- */

struct sleeper {
    pthread_t thread;
    bool produces;
    int end;
};

/* Takes (or brings) one message after the other, until an end is told. */
static void *sleep_until_told(void *argument)
{
    struct sleeper *sleeper = argument;
    static _Thread_local struct ring_mpmc_producer producer;
    static _Thread_local struct ring_mpmc_consumer consumer;
    unsigned char bytes[MOST];
    if (sleeper->produces)
        test_join_producer(&producer, queue.segment);
    else
        test_join_consumer(&consumer, queue.segment);
    atomic_fetch_add(&begun, 1);
    do {
        sleeper->end = sleeper->produces ? ring_mpmc_send(&producer, "x", 1, RING_FOREVER)
                                         : (int)ring_mpmc_recv(&consumer, bytes, MOST, RING_FOREVER);
        if (sleeper->end >= 0)
            atomic_fetch_add(&done, 1);
    } while (sleeper->end >= 0);
    if (sleeper->produces)
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
    else
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    return NULL;
}

static void put_to_sleep(struct sleeper *sleepers, bool produces)
{
    atomic_store(&done, 0);
    atomic_store(&begun, 0);
    for (int i = 0; i < SLEEPERS; i++) {
        sleepers[i].produces = produces;
        REQUIRE_SAME(pthread_create(&sleepers[i].thread, NULL, sleep_until_told, &sleepers[i]), 0);
    }
    test_await(&begun, SLEEPERS);
}

static void require_ends(struct sleeper *sleepers, int end)
{
    for (int i = 0; i < SLEEPERS; i++) {
        REQUIRE_SAME(pthread_join(sleepers[i].thread, NULL), 0);
        REQUIRE_SAME(sleepers[i].end, end);
    }
}

Test(waiting, sleeping_consumers_are_woken_by_messages_and_by_the_end)
{
    struct sleeper sleepers[SLEEPERS];
    test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 0);
    put_to_sleep(sleepers, false);
    for (uint64_t round = 1; round <= test_rounds(64); round++) {
        test_nap(round % 8 == 0 ? 5000000 : 100000);
        for (int i = 0; i < SLEEPERS; i++)
            REQUIRE_SAME(test_put(&queue.producer, 1, 1, TEST_LONG), 0);
        test_await(&done, round * SLEEPERS);
    }
    REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
    require_ends(sleepers, -EPIPE);
    REQUIRE_SAME(atomic_load(&done), test_rounds(64) * SLEEPERS);
    test_join_producer(&queue.producer, queue.segment);
    test_queue_close(&queue);
}

Test(waiting, sleeping_producers_are_woken_by_room_and_by_the_end)
{
    struct sleeper sleepers[SLEEPERS];
    unsigned char bytes[MOST];
    test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 0);
    put_to_sleep(sleepers, true);
    for (uint64_t round = 0; round < test_rounds(64); round++) {
        test_await(&done, SLOTS + round * SLEEPERS);
        test_nap(round % 8 == 0 ? 5000000 : 100000);
        for (int i = 0; i < SLEEPERS; i++)
            REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes, MOST, TEST_LONG), 1);
    }
    test_await(&done, SLOTS + test_rounds(64) * SLEEPERS);
    REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
    require_ends(sleepers, -EPIPE);
    test_join_consumer(&queue.consumer, queue.segment);
    for (int i = 0; i < SLOTS; i++)
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_NO_WAIT), 1);
    test_queue_close(&queue);
}

/* ---- Ends ---- */

static int send_and_end(void *argument)
{
    static struct ring_mpmc_producer producer;
    struct ring_segment *own = test_attach();
    test_join_producer(&producer, own);
    test_put_many(&producer, MOST, 0, SLOTS / 2);
    if (!argument)
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
    return 0; /* without closing: that is a death */
}

/* The last producers ended like that: all is delivered, then the end is told, by whatever way of asking. */
static void require_end(int end)
{
    struct ring_message message;
    unsigned char bytes[MOST];
    REQUIRE_SAME(ring_mpmc_producers_state(&queue.consumer), end == -EPIPE ? RING_PEER_CLOSED : RING_PEER_DEAD);
    test_get_many(&queue.consumer, MOST, 0, SLOTS / 2, 0);
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, TEST_LONG), end);
    REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, RING_FOREVER), end);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, bytes, 1, 1, 1), end);
    int code = test_get(&queue.consumer, 0, 0, RING_NO_WAIT);
    REQUIRE(code == end || (code == -EAGAIN && end == -EOWNERDEAD)); /* who does not wait need not see a death */
}

Test(waiting, the_end_of_all_producers_is_told_when_all_is_received_and_is_over_when_one_comes)
{
    for (int claims = 0; claims < TEST_BESIDE_OTHERS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
        for (int round = 0; round < 4; round++) {
            bool dies = round % 2;
            test_wait(test_spawn(send_and_end, dies ? &dies : NULL));
            require_end(dies ? -EOWNERDEAD : -EPIPE);
            test_join_producer(&queue.producer, queue.segment);
            REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
            REQUIRE_SAME(test_get(&queue.consumer, 0, 0, 1), -ETIMEDOUT);
            test_put_many(&queue.producer, MOST, 0, 1);
            test_get_many(&queue.consumer, MOST, 0, 1, 0);
            REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
        }
        test_join_producer(&queue.producer, queue.segment);
        test_queue_close(&queue);
    }
}

Test(waiting, one_producer_that_lives_is_enough_to_wait_for)
{
    bool dies = true;
    test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 0);
    test_wait(test_spawn(send_and_end, NULL));
    test_wait(test_spawn(send_and_end, &dies));
    test_get_many(&queue.consumer, MOST, 0, SLOTS / 2, 0);
    test_get_many(&queue.consumer, MOST, 0, SLOTS / 2, 0);
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, SHORT), -ETIMEDOUT);
    REQUIRE_SAME(ring_mpmc_producers_state(&queue.consumer), RING_PEER_ALIVE);
    test_queue_close(&queue);
}

static int receive_and_die(void *argument)
{
    static struct ring_mpmc_consumer consumer;
    struct ring_segment *own = test_attach();
    (void)argument;
    test_join_consumer(&consumer, own);
    test_get_many(&consumer, MOST, 0, 1, 0);
    return 0;
}

Test(waiting, the_end_of_all_consumers_is_told_when_the_ring_is_full_and_is_over_when_one_comes)
{
    for (int claims = 0; claims < TEST_BESIDE_OTHERS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
        test_put_many(&queue.producer, MOST, 0, SLOTS);
        REQUIRE_SAME(test_put(&queue.producer, 0, 0, RING_NO_WAIT), -EPIPE);
        REQUIRE_SAME(test_put(&queue.producer, 0, 0, TEST_LONG), -EPIPE);
        test_wait(test_spawn(receive_and_die, NULL));
        test_put_many(&queue.producer, MOST, SLOTS, 1); /* there is room again */
        REQUIRE_SAME(test_put(&queue.producer, 0, 0, TEST_LONG), -EOWNERDEAD);
        REQUIRE_SAME(ring_mpmc_consumers_state(&queue.producer), RING_PEER_DEAD);
        test_join_consumer(&queue.consumer, queue.segment);
        REQUIRE_SAME(test_put(&queue.producer, 0, 0, SHORT), -ETIMEDOUT);
        test_get_many(&queue.consumer, MOST, 1, SLOTS, 0);
        test_queue_close(&queue);
    }
}

/* ---- The stopped ---- */

static int hold_and_stop(void *argument)
{
    static struct ring_mpmc_producer producer;
    static struct ring_mpmc_consumer consumer;
    struct ring_segment *own = test_attach();
    struct ring_message seen[SLOTS];
    void *place;
    if (argument) {
        test_join_consumer(&consumer, own);
        REQUIRE_SAME(ring_mpmc_peek_batch(&consumer, seen, 3, TEST_LONG), 3);
    } else {
        test_join_producer(&producer, own);
        REQUIRE_SAME(ring_mpmc_reserve(&producer, MOST, &place, TEST_LONG), 0);
    }
    raise(SIGSTOP);
    if (argument) {
        for (uint64_t i = 0; i < 3; i++)
            REQUIRE(!seen[i].flags && test_matches(seen[i].data, seen[i].length, i));
        REQUIRE_SAME(ring_mpmc_release(&consumer, 3), 0);
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    } else {
        test_fill(place, test_length(100, MOST), 100);
        REQUIRE_SAME(ring_mpmc_commit(&producer, test_length(100, MOST)), 0);
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
    }
    return 0;
}

static pid_t spawn_stopped(bool consumes)
{
    int status;
    pid_t child = test_spawn(hold_and_stop, consumes ? &status : NULL);
    REQUIRE_SAME(waitpid(child, &status, WUNTRACED), child);
    REQUIRE(WIFSTOPPED(status));
    return child;
}

static void require_pending(unsigned pending)
{
    struct ring_recovery report = test_recover(queue.segment);
    REQUIRE_SAME(report.pending, pending);
    REQUIRE_SAME(report.skipped + report.freed + report.waiting, 0);
}

Test(waiting, a_stopped_producer_in_a_reservation_is_waited_for_by_the_time_limit_and_not_robbed)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        test_put_many(&queue.producer, MOST, 0, 1);
        pid_t child = spawn_stopped(false);
        test_put_many(&queue.producer, MOST, 1, SLOTS - 2); /* behind it */
        test_get_many(&queue.consumer, MOST, 0, 1, 0);
        for (int i = 0; i < 3; i++) {
            REQUIRE_SAME(test_get(&queue.consumer, 0, 0, 20000000), -ETIMEDOUT);
            REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
            require_pending(1);
        }
        struct ring_mpmc_info info = test_queue_info(queue.segment);
        REQUIRE(info.stuck && info.stuck_pid == child && info.dead == 0);
        REQUIRE_SAME(kill(child, SIGCONT), 0);
        test_get_many(&queue.consumer, MOST, 100, 1, 0);
        test_get_many(&queue.consumer, MOST, 1, SLOTS - 2, 0);
        test_wait(child);
        test_queue_close(&queue);
    }
}

Test(waiting, a_stopped_consumer_with_peeked_messages_is_waited_for_by_the_time_limit_and_not_robbed)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        test_put_many(&queue.producer, MOST, 0, SLOTS);
        pid_t child = spawn_stopped(true);
        REQUIRE_SAME(test_queue_info(queue.segment).held, 3);
        for (int i = 0; i < 3; i++) {
            REQUIRE_SAME(test_put(&queue.producer, 0, 0, 20000000), -ETIMEDOUT);
            REQUIRE_SAME(test_put(&queue.producer, 0, 0, RING_NO_WAIT), -EAGAIN);
            require_pending(3);
        }
        test_get_many(&queue.consumer, MOST, 3, SLOTS - 3, 0); /* others go on */
        REQUIRE_SAME(test_get(&queue.consumer, 0, 0, 20000000), -ETIMEDOUT);
        REQUIRE_SAME(kill(child, SIGCONT), 0);
        test_put_many(&queue.producer, MOST, SLOTS, SLOTS);
        test_wait(child);
        test_get_many(&queue.consumer, MOST, SLOTS, SLOTS, 0);
        test_queue_close(&queue);
    }
}

Test(waiting, the_stopped_may_be_killed_and_then_are_mended_like_all_the_dead)
{
    test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 0);
    test_put_many(&queue.producer, MOST, 0, 3);
    pid_t consumer = spawn_stopped(true), producer = spawn_stopped(false);
    test_put_many(&queue.producer, MOST, 3, 1);
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, SHORT), -ETIMEDOUT);
    test_kill(producer);
    test_get_many(&queue.consumer, MOST, 3, 1, 0);
    test_kill(consumer);
    test_get_many(&queue.consumer, MOST, 0, 3, RING_REDELIVERED);
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, SHORT), -ETIMEDOUT);
    test_queue_close(&queue);
}
