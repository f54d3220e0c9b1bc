/* mpmc_death.c - SIGKILL of producers and consumers, at chosen places and at any moment: what was published arrives,
 * what was not is gone, what was in the hands of the dead comes again with a flag, and nobody waits for them. */
#include "mpmc.h"

#include <signal.h>
#include <sys/wait.h>

enum { MOST = 40, SLOTS = 16 };

/* ---- At chosen places ---- */

enum place_of_death {
    IN_RESERVATION, /* also after sending two */
    AFTER_SENDING,
    IN_PEEK,        /* of three, one of them released */
    IN_WHOLE_BATCH, /* of all that is there */
    AFTER_RECEIVING,
    PLACES
};

static struct test_queue queue;

static int die_at(void *argument)
{
    static struct ring_mpmc_producer producer;
    static struct ring_mpmc_consumer consumer;
    enum place_of_death place = *(enum place_of_death *)argument;
    struct ring_segment *own = test_attach();
    struct ring_message seen[SLOTS];
    void *room;
    if (place == IN_RESERVATION || place == AFTER_SENDING) {
        test_join_producer(&producer, own);
        test_put_many(&producer, MOST, 5, 2);
        if (place == IN_RESERVATION) {
            REQUIRE_SAME(ring_mpmc_reserve(&producer, MOST, &room, TEST_LONG), 0);
            memset(room, 0xff, MOST);
        }
    } else {
        test_join_consumer(&consumer, own);
        if (place == IN_PEEK)
            REQUIRE_SAME(ring_mpmc_peek_batch(&consumer, seen, 3, TEST_LONG), 3);
        else if (place == IN_WHOLE_BATCH)
            REQUIRE_SAME(ring_mpmc_peek_batch(&consumer, seen, SLOTS, TEST_LONG), 5);
        else
            test_get_many(&consumer, MOST, 0, 3, 0);
        if (place == IN_PEEK)
            REQUIRE_SAME(ring_mpmc_release(&consumer, 1), 0);
    }
    for (;;)
        raise(SIGKILL);
}

static void kill_at(enum place_of_death place)
{
    REQUIRE(WIFSIGNALED(test_wait_status(test_spawn(die_at, &place))));
}

/* What has to come: those numbers with the flag, and those without, both in order. */
static void receive_both(uint64_t again, uint64_t again_end, uint64_t fresh, uint64_t fresh_end)
{
    unsigned char bytes[MOST];
    while (again < again_end || fresh < fresh_end) {
        ssize_t length = ring_mpmc_recv(&queue.consumer, bytes, MOST, TEST_LONG);
        uint64_t *number = ring_mpmc_last_flags(&queue.consumer) ? &again : &fresh;
        REQUIRE(*number < (number == &again ? again_end : fresh_end));
        REQUIRE_SAME(length, test_length(*number, MOST));
        REQUIRE(test_matches(bytes, (size_t)length, *number));
        ++*number;
    }
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, 1000000), -ETIMEDOUT);
}

static void require_whole_ring(void)
{
    struct ring_recovery report = test_recover(queue.segment);
    REQUIRE_SAME(report.skipped + report.freed + report.waiting + report.pending, 0);
    REQUIRE_SAME(test_queue_info(queue.segment).held, 0);
    for (int round = 0; round < 3; round++) {
        test_put_many(&queue.producer, MOST, 0, SLOTS);
        REQUIRE_SAME(test_put(&queue.producer, 0, 0, RING_NO_WAIT), -EAGAIN);
        test_get_many(&queue.consumer, MOST, 0, SLOTS, 0);
    }
}

/* Five messages are in the ring, somebody dies, three more are sent. `recover`: somebody looks before. */
static void mend_after(enum place_of_death place, enum test_claims claims, bool recover)
{
    static const uint64_t again[PLACES][2] = { [IN_PEEK] = { 1, 3 }, [IN_WHOLE_BATCH] = { 0, 5 } };
    static const uint64_t fresh[PLACES] = { 0, 0, 3, 5, 3 };
    test_queue_open(&queue, claims, SLOTS, MOST, UINT64_MAX - 40);
    test_put_many(&queue.producer, MOST, 0, 5);
    kill_at(place);
    unsigned taken = (unsigned)(again[place][1] - again[place][0]);
    if (recover) {
        for (int times = 0; times < 2; times++) {
            struct ring_recovery report = test_recover(queue.segment);
            REQUIRE_SAME(report.waiting, taken);
            REQUIRE_SAME(report.skipped, place == IN_RESERVATION && times == 0);
            REQUIRE_SAME(report.pending + report.freed, 0);
        }
        struct ring_mpmc_info info = test_queue_info(queue.segment);
        REQUIRE(info.held == taken && !info.stuck && info.dead == 1);
    }
    uint64_t next = place == IN_RESERVATION || place == AFTER_SENDING ? 7 : 5;
    test_put_many(&queue.producer, MOST, next, 3);
    receive_both(again[place][0], again[place][1], fresh[place], next + 3);
    require_whole_ring();
    test_queue_close(&queue);
}

Test(death, what_the_dead_held_is_mended_by_whoever_comes_by)
{
    for (int place = 0; place < PLACES; place++)
        for (int claims = 0; claims < TEST_CLAIMS; claims++)
            mend_after((enum place_of_death)place, (enum test_claims)claims, false);
}

Test(death, recovering_a_segment_tells_what_was_mended_and_what_waits_for_a_consumer)
{
    for (int place = 0; place < PLACES; place++)
        for (int claims = 0; claims < TEST_CLAIMS; claims++)
            mend_after((enum place_of_death)place, (enum test_claims)claims, true);
}

/* Nobody else is there when they die; who comes later, in their seats or in others, finds all of it. */
Test(death, what_the_last_ones_held_is_mended_by_those_who_come_later)
{
    for (int place = 0; place < PLACES; place++)
        for (int order = 0; order < 2; order++) {
            test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 77);
            test_put_many(&queue.producer, MOST, 0, 5);
            REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
            REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
            kill_at((enum place_of_death)place);
            if (order) {
                test_join_producer(&queue.producer, queue.segment);
                test_join_consumer(&queue.consumer, queue.segment);
            } else {
                test_join_consumer(&queue.consumer, queue.segment);
                test_join_producer(&queue.producer, queue.segment);
            }
            if (place == IN_RESERVATION || place == AFTER_SENDING)
                receive_both(0, 0, 0, 7);
            else if (place == AFTER_RECEIVING)
                receive_both(0, 0, 3, 5);
            else if (place == IN_PEEK)
                receive_both(1, 3, 3, 5);
            else
                receive_both(0, 5, 5, 5);
            require_whole_ring();
            test_queue_close(&queue);
        }
}

Test(death, a_message_comes_again_though_its_producer_sends_no_more)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        test_put_many(&queue.producer, MOST, 0, 5);
        kill_at(IN_WHOLE_BATCH);
        receive_both(0, 5, 5, 5);
        test_queue_close(&queue);
    }
}

Test(death, messages_peeked_and_not_released_by_one_that_closes_come_again)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        struct ring_message seen[4];
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        test_put_many(&queue.producer, MOST, 0, 6);
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, 4, RING_NO_WAIT), 4);
        REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 1), 0);
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
        test_join_consumer(&queue.consumer, queue.segment);
        receive_both(1, 4, 4, 6);
        require_whole_ring();
        test_queue_close(&queue);
    }
}

/* What its successors could not mend they count, and the count is never as it was: a slow searcher that found nothing
 * could else take back the mark of what was left behind it meanwhile. */
Test(death, what_is_left_behind_is_marked_each_time_anew_until_it_was_taken)
{
    test_queue_open(&queue, TEST_NEVER_ALONE, SLOTS, MOST, 0);
    const struct ring_layout_mpmc *control = queue.producer.end.view.control;
    uint32_t before = 0;
    for (int round = 0; round < 3; round++) {
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
        test_put_many(&queue.producer, MOST, 0, 5);
        kill_at(IN_PEEK);
        test_join_consumer(&queue.consumer, queue.segment); /* in the seat of the dead one */
        uint32_t marked = ring_atomic_load(&control->orphans, memory_order_relaxed);
        REQUIRE(marked != before);
        REQUIRE(ring_atomic_load(&control->settled, memory_order_relaxed) != marked);
        receive_both(1, 3, 3, 5);
        require_whole_ring();
        REQUIRE_SAME(ring_atomic_load(&control->orphans, memory_order_relaxed), marked);
        REQUIRE_SAME(ring_atomic_load(&control->settled, memory_order_relaxed), marked);
        before = marked;
    }
    test_queue_close(&queue);
}

Test(death, a_reservation_is_cancelled_when_its_producer_closes)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        void *place;
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        for (uint64_t round = 0; round < 40; round++) {
            REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, MOST, &place, RING_NO_WAIT), 0);
            REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
            test_join_producer(&queue.producer, queue.segment);
            test_put_many(&queue.producer, MOST, round, 1);
            test_get_many(&queue.consumer, MOST, round, 1, 0);
        }
        require_whole_ring();
        test_queue_close(&queue);
    }
}

static int die_with_one(void *argument)
{
    static struct ring_mpmc_consumer consumer;
    struct ring_message message;
    (void)argument;
    test_join_consumer(&consumer, test_attach());
    REQUIRE_SAME(ring_mpmc_peek(&consumer, &message, TEST_LONG), 0);
    REQUIRE_SAME(message.flags, RING_REDELIVERED);
    for (;;)
        raise(SIGKILL);
}

/* The count of redeliveries in a slot's word has six bits. */
Test(death, a_message_that_kills_a_hundred_consumers_still_comes_again_and_keeps_its_flag)
{
    enum { VICTIMS = 100 };
    test_queue_open(&queue, TEST_NEVER_ALONE, SLOTS, MOST, 0);
    test_put_many(&queue.producer, MOST, 0, 5);
    kill_at(IN_WHOLE_BATCH);
    for (int victim = 1; victim < VICTIMS; victim++)
        REQUIRE(WIFSIGNALED(test_wait_status(test_spawn(die_with_one, NULL))));
    unsigned count = 0;
    unsigned char bytes[MOST];
    while (ring_mpmc_recv(&queue.consumer, bytes, MOST, 1000000) >= 0)
        count += ring_mpmc_last_flags(&queue.consumer);
    REQUIRE_SAME(count, 5);
    require_whole_ring();
    test_queue_close(&queue);
}

Test(death, the_end_is_not_told_while_another_consumer_holds_a_message)
{
    struct test_queue ends;
    struct ring_message held;
    char bytes[64];
    test_queue_open(&ends, TEST_BESIDE_OTHERS, 8, sizeof bytes, 0);
    REQUIRE_SAME(ring_mpmc_send(&ends.producer, "last", 4, 0), 0);
    REQUIRE_SAME(ring_mpmc_peek(&ends.other_consumer, &held, 0), 0);
    REQUIRE_OK(ring_mpmc_close_producer(&ends.producer));
    REQUIRE_OK(ring_mpmc_close_producer(&ends.other_producer));
    REQUIRE_SAME(ring_mpmc_recv(&ends.consumer, bytes, sizeof bytes, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_mpmc_recv(&ends.consumer, bytes, sizeof bytes, TEST_SECOND / 100), -ETIMEDOUT);
    REQUIRE_OK(ring_mpmc_close_consumer(&ends.other_consumer)); /* not released: it comes again */
    REQUIRE_SAME(ring_mpmc_recv(&ends.consumer, bytes, sizeof bytes, TEST_LONG), 4);
    REQUIRE_SAME(ring_mpmc_recv(&ends.consumer, bytes, sizeof bytes, RING_NO_WAIT), -EPIPE);
    REQUIRE_OK(ring_mpmc_close_consumer(&ends.consumer));
    test_end_queue(ends.segment);
}
