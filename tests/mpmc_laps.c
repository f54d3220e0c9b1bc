/* mpmc_laps.c - positions that pass 2^32, 2^56 (an intent comes round), 2^62 (a mode), 2^63, 2^64, and laps that pass
 * 2^36 (a slot's word): by every verb, with participants that come, go and die just there. */
#include "mpmc.h"

#include <signal.h>

enum { MOST = 24, BORDERS = 8 };

static struct test_queue queue;
static uint64_t sent, received;

/* Some positions before the border of that number. */
static uint64_t border(unsigned number, uint64_t slots)
{
    const uint64_t borders[BORDERS] = { UINT64_C(1) << 32,           UINT64_C(1) << 55,
                                        UINT64_C(1) << 56,           UINT64_C(1) << 61,
                                        UINT64_C(1) << 62,           UINT64_C(1) << 63,
                                        (UINT64_C(1) << 36) * slots, 0 };
    return borders[number] - 5 * slots - 1;
}

static void send_some(unsigned how, uint64_t count)
{
    static unsigned char bytes[256 * MOST];
    if (how % 3 == 0)
        return test_put_many(&queue.producer, MOST, sent, count);
    if (how % 3 == 1) {
        struct ring_message batch[16];
        for (uint64_t i = 0; i < count; i++) {
            batch[i] = (struct ring_message){ bytes + i * MOST, test_length(sent + i, MOST), 0 };
            test_fill(batch[i].data, batch[i].length, sent + i);
        }
        REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, batch, count, TEST_LONG), count);
        return;
    }
    for (uint64_t number = sent; number < sent + count; number++) {
        void *place;
        REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, MOST, &place, TEST_LONG), 0);
        test_fill(place, test_length(number, MOST), number);
        REQUIRE_SAME(ring_mpmc_commit(&queue.producer, test_length(number, MOST)), 0);
    }
}

static void receive_some(unsigned how, uint64_t count)
{
    struct ring_message seen[16];
    if (how % 2 == 0)
        return test_get_many(&queue.consumer, MOST, received, count, 0);
    for (uint64_t taken = 0; taken < count;) {
        ssize_t some = ring_mpmc_peek_batch(&queue.consumer, seen, count - taken, TEST_LONG);
        REQUIRE(some > 0);
        for (uint64_t i = 0; i < (uint64_t)some; i++)
            REQUIRE(!seen[i].flags && seen[i].length == test_length(received + taken + i, MOST) &&
                    test_matches(seen[i].data, seen[i].length, received + taken + i));
        REQUIRE_SAME(ring_mpmc_release(&queue.consumer, (size_t)some), 0);
        taken += (uint64_t)some;
    }
}

/* Somebody else comes, or leaves and comes again: the claims change their kind. */
static void come_and_go(unsigned how)
{
    if (how % 5 == 3) {
        REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
        test_join_producer(&queue.producer, queue.segment);
    } else if (how % 5 == 4) {
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
        test_join_consumer(&queue.consumer, queue.segment);
    } else if (how % 5 == 0) {
        struct ring_mpmc_producer producer;
        struct ring_mpmc_consumer consumer;
        test_join_producer(&producer, queue.segment);
        test_join_consumer(&consumer, queue.segment);
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    }
}

static void pass_the_border(enum test_claims claims, size_t slots, uint64_t start, bool restless)
{
    test_queue_open(&queue, claims, slots, MOST, start);
    sent = received = 0;
    for (unsigned round = 0; sent < 12 * slots; round++) {
        uint64_t count = 1 + test_mix(round) % slots;
        send_some(round, count);
        sent += count;
        struct ring_mpmc_info info = test_queue_info(queue.segment);
        REQUIRE_SAME(info.tail, start + sent);
        REQUIRE_SAME(info.messages, count);
        if (count == slots)
            REQUIRE_SAME(test_put(&queue.producer, 0, 0, RING_NO_WAIT), -EAGAIN);
        receive_some(round / 3, count);
        received += count;
        info = test_queue_info(queue.segment);
        REQUIRE_SAME(info.head, start + received);
        REQUIRE(info.messages == 0 && info.held == 0 && !info.stuck);
        REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
        if (restless)
            come_and_go(round);
    }
    struct ring_recovery report = test_recover(queue.segment);
    REQUIRE_SAME(report.skipped + report.freed + report.waiting + report.pending, 0);
    test_queue_close(&queue);
}

Test(laps, messages_pass_every_border_of_positions_and_laps)
{
    for (unsigned number = 0; number < BORDERS; number++)
        for (size_t slots = 2; slots <= 16; slots *= 2)
            for (int claims = 0; claims < TEST_CLAIMS; claims++)
                pass_the_border((enum test_claims)claims, slots, border(number, slots), false);
}

Test(laps, messages_pass_every_border_while_others_come_and_go)
{
    for (unsigned number = 0; number < BORDERS; number++)
        for (size_t slots = 2; slots <= 8; slots *= 2)
            for (int claims = 0; claims < TEST_CLAIMS; claims++)
                pass_the_border((enum test_claims)claims, slots, border(number, slots), true);
}

Test(laps, any_start_position_will_do)
{
    struct test_random random = { 9 };
    for (uint64_t round = 0; round < test_rounds(100); round++)
        pass_the_border((enum test_claims)(round % TEST_CLAIMS), 4, test_random(&random), round % 2);
}

/* ---- Deaths at the borders ---- */

static int die_holding(void *argument)
{
    bool consumes = argument != NULL;
    struct ring_segment *segment = test_attach();
    if (consumes) {
        struct ring_mpmc_consumer consumer;
        struct ring_message seen[2];
        test_join_consumer(&consumer, segment);
        REQUIRE_SAME(ring_mpmc_peek_batch(&consumer, seen, 2, TEST_LONG), 2);
    } else {
        struct ring_mpmc_producer producer;
        void *place;
        test_join_producer(&producer, segment);
        REQUIRE_SAME(ring_mpmc_reserve(&producer, MOST, &place, TEST_LONG), 0);
        memset(place, 0xff, MOST);
    }
    for (;;)
        raise(SIGKILL);
}

/* Messages 0 and 1, which come again, and 2, which does not. */
static void receive_in_any_order(void)
{
    unsigned char bytes[MOST];
    unsigned missing = 7;
    while (missing) {
        ssize_t length = ring_mpmc_recv(&queue.consumer, bytes, MOST, TEST_LONG);
        uint64_t number = 0;
        while (number < 3 &&
               ((ssize_t)test_length(number, MOST) != length || !test_matches(bytes, (size_t)length, number)))
            number++;
        REQUIRE(number < 3 && (missing & 1u << number));
        REQUIRE_SAME(ring_mpmc_last_flags(&queue.consumer), number < 2 ? RING_REDELIVERED : 0);
        missing &= ~(1u << number);
    }
}

/* Two messages are taken and come again, a third never was sent, wherever the positions are. */
Test(laps, deaths_at_every_border_are_mended)
{
    for (unsigned number = 0; number < BORDERS; number++)
        for (uint64_t before = 0; before < 4; before++) {
            test_queue_open(&queue, before % 2 ? TEST_ALONE : TEST_NEVER_ALONE, 4, MOST,
                            border(number, 4) + 18 + before);
            test_put_many(&queue.producer, MOST, 0, 2);
            test_wait_status(test_spawn(die_holding, &queue));
            test_wait_status(test_spawn(die_holding, NULL));
            test_put_many(&queue.producer, MOST, 2, 1);
            receive_in_any_order();
            test_put_many(&queue.producer, MOST, 3, 4);
            test_get_many(&queue.consumer, MOST, 3, 4, 0);
            test_queue_close(&queue);
        }
}
