/* broadcast_death.c - SIGKILL and SIGSTOP at any moment: the dead hold nobody back, the stopped are waited for, what
 * was published arrives, and nothing is torn. */
#include "broadcast.h"

#include <signal.h>
#include <sys/wait.h>

enum { MOST = 100, SLOTS = 16, SEATS = 3 };

struct account {
    RING_ATOMIC(uint64_t) ready;
    RING_ATOMIC(uint64_t) sent; /* messages, as far as the producer came to write it down */
    uint64_t verb;
};

static struct ring_segment *segment;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer receiver;
static struct account *account;

static void begin(enum ring_broadcast_policy policy)
{
    segment = test_news(policy, SLOTS, MOST, SEATS, 0);
    account = test_shared(sizeof *account);
}

/* ---- Consumers ---- */

/* Hears whatever comes, and tells after how many messages of its own it has. */
static int hear_for_ever(void *argument)
{
    (void)argument;
    struct ring_segment *own = test_attach();
    struct ring_broadcast_consumer consumer;
    test_join(&consumer, own, RING_BROADCAST_NEWEST);
    atomic_fetch_add(&account->ready, 1);
    for (;;) {
        int code = test_hear(&consumer, MOST, TEST_LONG);
        REQUIRE_ONE_OF(code, 0, -EOVERFLOW);
    }
}

static pid_t spawn_listener(void)
{
    uint64_t before = atomic_load(&account->ready);
    pid_t child = test_spawn(hear_for_ever, NULL);
    test_await(&account->ready, before + 1);
    return child;
}

Test(death, a_killed_consumer_does_not_hold_a_lossless_producer_back)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_sender(&sender, segment);
    struct test_random random = { 5 };
    for (uint64_t round = 0; round < test_rounds(160); round++) {
        pid_t child = spawn_listener();
        test_tell_many(&sender, MOST, test_below(&random, 100));
        test_kill(child);
        test_tell_many(&sender, MOST, 3 * SLOTS);
    }
    struct ring_broadcast_info info = test_news_info(segment);
    REQUIRE_SAME(info.consumers, 0);
    REQUIRE_SAME(info.seats_used, 1); /* each took the place of the dead one before */
    struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
    REQUIRE_OK(ring_broadcast_seat_info(segment, "news", 0, &seat));
    REQUIRE_SAME(seat.consumer.peer, RING_PEER_DEAD);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

Test(death, a_producer_that_never_waits_finds_the_dead_out_too)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_sender(&sender, segment);
    test_kill(spawn_listener());
    uint64_t tries = 0;
    for (uint64_t sent = 0; sent < 3 * SLOTS; tries++)
        sent += test_tell(&sender, MOST, RING_NO_WAIT) == 0;
    REQUIRE(tries <= 3 * SLOTS + 64);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

Test(death, a_stopped_consumer_is_waited_for_until_the_time_limit_and_loses_nothing)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_sender(&sender, segment);
    pid_t child = spawn_listener();
    for (int round = 0; round < 5; round++) {
        REQUIRE_SAME(kill(child, SIGSTOP), 0);
        int status;
        REQUIRE_SAME(waitpid(child, &status, WUNTRACED), child);
        int code = 0;
        for (int i = 0; i < 2 * SLOTS + 1 && code == 0; i++)
            code = test_tell(&sender, MOST, 20000000);
        REQUIRE_SAME(code, -ETIMEDOUT);
        REQUIRE_SAME(test_tell(&sender, MOST, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(test_news_info(segment).consumers, 1);
        REQUIRE_SAME(kill(child, SIGCONT), 0);
        test_tell_many(&sender, MOST, 5 * SLOTS);
    }
    test_kill(child); /* it demands itself that nothing is missing */
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

Test(death, an_overwriting_producer_does_not_care_who_is_stopped_or_dead)
{
    begin(RING_BROADCAST_OVERWRITE);
    test_sender(&sender, segment);
    pid_t child = spawn_listener();
    REQUIRE_SAME(kill(child, SIGSTOP), 0);
    for (int i = 0; i < 10 * SLOTS; i++)
        REQUIRE_SAME(test_tell(&sender, MOST, RING_NO_WAIT), 0);
    REQUIRE_SAME(kill(child, SIGCONT), 0);
    for (int i = 0; i < 10 * SLOTS; i++)
        REQUIRE_SAME(test_tell(&sender, MOST, RING_NO_WAIT), 0);
    test_kill(child);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

Test(death, the_seats_of_the_dead_are_used_again_and_those_of_the_living_are_not)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_sender(&sender, segment);
    pid_t children[SEATS];
    for (int i = 0; i < SEATS; i++)
        children[i] = spawn_listener();
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, segment, "news", RING_BROADCAST_NEWEST, 0, TEST_LONG),
                    EUSERS);
    for (int round = 0; round < 12; round++) {
        test_kill(children[round % SEATS]);
        children[round % SEATS] = spawn_listener();
        test_tell_many(&sender, MOST, 2 * SLOTS);
    }
    REQUIRE_SAME(kill(children[1], SIGSTOP), 0);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, segment, "news", RING_BROADCAST_NEWEST, 0, 0), EUSERS);
    REQUIRE_SAME(kill(children[1], SIGCONT), 0);
    REQUIRE_SAME(test_news_info(segment).consumers, SEATS);
    for (int i = 0; i < SEATS; i++)
        test_kill(children[i]);
    test_tell_many(&sender, MOST, 2 * SLOTS);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

/* ---- Producers ---- */

static int tell_until_killed(void *argument)
{
    (void)argument;
    struct ring_segment *own = test_attach();
    struct ring_broadcast_producer producer;
    static unsigned char texts[8][MOST];
    struct ring_message batch[8];
    void *place;
    test_sender(&producer, own);
    REQUIRE(ring_broadcast_sent(&producer) >= atomic_load(&account->sent));
    atomic_fetch_add(&account->ready, 1);
    for (uint64_t turn = account->verb;; turn++) {
        uint64_t number = ring_broadcast_sent(&producer);
        if (turn % 3 == 0) {
            REQUIRE_SAME(test_tell(&producer, MOST, TEST_LONG), 0);
        } else if (turn % 3 == 1) {
            REQUIRE_SAME(ring_broadcast_reserve(&producer, MOST, &place, TEST_LONG), 0);
            size_t length = test_write_news(texts[0], number, MOST);
            ring_broadcast_copy_in(place, texts[0], length);
            REQUIRE_SAME(ring_broadcast_commit(&producer, length), 0);
        } else {
            for (uint64_t i = 0; i < 8; i++)
                batch[i] = (struct ring_message){ texts[i], test_write_news(texts[i], number + i, MOST), 0 };
            REQUIRE(ring_broadcast_send_batch(&producer, batch, 8, TEST_LONG) > 0);
        }
        ring_atomic_store(&account->sent, ring_broadcast_sent(&producer), memory_order_relaxed);
    }
}

/* Everything that is there, until the end that is told. */
static uint64_t hear_to_the_end(int end)
{
    for (;;) {
        int code = test_hear(&receiver, MOST, TEST_LONG);
        if (code == end)
            return ring_broadcast_position(&receiver);
        REQUIRE_ONE_OF(code, 0, -EOVERFLOW);
    }
}

static void kill_producers(enum ring_broadcast_policy policy)
{
    begin(policy);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    struct test_random random = { policy };
    for (uint64_t round = 1; round <= test_rounds(320); round++) {
        account->verb = round;
        pid_t child = test_spawn(tell_until_killed, NULL);
        test_await(&account->ready, round);
        if (round % 2)
            for (uint64_t many = test_below(&random, 5000); many; many--) {
                int code = test_hear(&receiver, MOST, RING_NO_WAIT);
                REQUIRE_ONE_OF(code, 0, -EAGAIN, -EOVERFLOW);
            }
        else
            test_nap((int64_t)test_below(&random, 1000000));
        test_kill(child);
        REQUIRE_SAME(ring_broadcast_producer_state(&receiver), RING_PEER_DEAD);
        if (round % 4 == 0) {
            uint64_t told = hear_to_the_end(-EOWNERDEAD), known = atomic_load(&account->sent);
            REQUIRE(told >= known && told <= known + 8); /* all, and at most what it came no more to write down */
        }
    }
    REQUIRE(policy == RING_BROADCAST_OVERWRITE || ring_broadcast_lost_in_all(&receiver) == 0);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    test_end_news(segment);
}

Test(death, a_killed_producer_of_a_lossless_ring_loses_and_tears_nothing)
{
    kill_producers(RING_BROADCAST_LOSSLESS);
}

Test(death, a_killed_producer_of_an_overwriting_ring_leaves_whole_messages_and_true_counts)
{
    kill_producers(RING_BROADCAST_OVERWRITE);
}

Test(death, a_stopped_producer_is_neither_dead_nor_replaced)
{
    begin(RING_BROADCAST_LOSSLESS);
    pid_t child = test_spawn(tell_until_killed, NULL);
    test_await(&account->ready, 1);
    REQUIRE_SAME(kill(child, SIGSTOP), 0);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    REQUIRE_SAME(test_hear(&receiver, MOST, 20000000), -ETIMEDOUT);
    REQUIRE_REFUSED(ring_broadcast_open_producer(&sender, segment, "news", 0), EBUSY);
    REQUIRE_SAME(kill(child, SIGCONT), 0);
    test_hear_many(&receiver, MOST, 100);
    test_kill(child);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    test_end_news(segment);
}

Test(death, after_a_close_what_is_left_comes_first_and_a_successor_goes_on)
{
    begin(RING_BROADCAST_LOSSLESS);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    for (int round = 0; round < 10; round++) {
        test_sender(&sender, segment);
        REQUIRE_SAME(ring_broadcast_sent(&sender), ring_broadcast_position(&receiver));
        test_tell_many(&sender, MOST, SLOTS / 2);
        REQUIRE_OK(ring_broadcast_close_producer(&sender));
        test_hear_many(&receiver, MOST, SLOTS / 2);
        REQUIRE_SAME(test_hear(&receiver, MOST, RING_NO_WAIT), -EPIPE);
        REQUIRE_SAME(test_hear(&receiver, MOST, TEST_LONG), -EPIPE);
    }
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    test_end_news(segment);
}

static int tell_some_and_die(void *argument)
{
    (void)argument;
    struct ring_segment *own = test_attach();
    struct ring_broadcast_producer producer;
    test_sender(&producer, own);
    test_tell_many(&producer, MOST, 3 * SLOTS + 1); /* the slot behind is marked already */
    kill(getpid(), SIGKILL);
    return 1;
}

/* Found by tests/model/lossless.pml. */
Test(death, what_the_dead_one_had_begun_to_overwrite_is_promised_to_nobody_though_another_is_just_taking_a_seat)
{
    begin(RING_BROADCAST_LOSSLESS);
    REQUIRE_SAME(WTERMSIG(test_wait_status(test_spawn(tell_some_and_die, NULL))), SIGKILL);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    /* A seat taken, and not yet with the position of its new holder. */
    ring_atomic_store(&receiver.seat->position, 0, memory_order_relaxed);
    test_sender(&sender, segment);
    int code = test_tell(&sender, MOST, RING_NO_WAIT);
    REQUIRE_ONE_OF(code, 0, -EAGAIN);
    struct ring_broadcast_consumer late;
    test_join(&late, segment, RING_BROADCAST_OLDEST);
    test_hear_many(&late, MOST, SLOTS / 2);
    REQUIRE_SAME(ring_broadcast_lost_in_all(&late), 0);
    REQUIRE_OK(ring_broadcast_close_consumer(&late));
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}
