/* broadcast_messages.c - every consumer gets every message as it was sent, whatever its length, number and verb. */
#include "broadcast.h"

enum { MOST = 100 };

static struct ring_segment *segment;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer consumers[4];

static void begin(enum ring_broadcast_policy policy, size_t slots, size_t slot_bytes, uint64_t start)
{
    segment = test_news(policy, slots, slot_bytes, 8, start);
    test_sender(&sender, segment);
    for (int i = 0; i < 4; i++)
        test_join(&consumers[i], segment, RING_BROADCAST_NEWEST);
}

static void end(void)
{
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    for (int i = 0; i < 4; i++)
        REQUIRE_OK(ring_broadcast_close_consumer(&consumers[i]));
    test_end_news(segment);
}

Test(messages, each_consumer_gets_each_message_once_and_in_order)
{
    for (enum ring_broadcast_policy policy = RING_BROADCAST_OVERWRITE; policy <= RING_BROADCAST_LOSSLESS; policy++) {
        begin(policy, 16, MOST, 0);
        for (uint64_t round = 0; round < 200; round++) {
            test_tell_many(&sender, MOST, round % 12);
            for (int i = 0; i < 4; i++) {
                test_hear_many(&consumers[i], MOST, round % 12);
                REQUIRE_SAME(test_hear(&consumers[i], MOST, RING_NO_WAIT), -EAGAIN);
                REQUIRE_SAME(ring_broadcast_lost_in_all(&consumers[i]), 0);
            }
        }
        end();
    }
}

Test(messages, every_length_from_nothing_to_the_slot_size_arrives_unchanged)
{
    static const size_t sizes[] = { 1, 7, 8, 9, 24, 25, 56, 57, 64, 120, 300, 5000 };
    static unsigned char sent[5000], received[5000];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        begin(RING_BROADCAST_LOSSLESS, 4, sizes[s], 0);
        for (size_t length = 0; length <= sizes[s]; length += length < 300 ? 1 : 47) {
            test_fill(sent, length, length);
            memset(received, 0xee, sizeof received);
            REQUIRE_SAME(ring_broadcast_send(&sender, length ? sent : NULL, length, 0), 0);
            for (int i = 0; i < 4; i++)
                REQUIRE_SAME(ring_broadcast_recv(&consumers[i], received, sizeof received, 0), length);
            REQUIRE(memcmp(sent, received, length) == 0);
            REQUIRE(length == sizeof received || received[length] == 0xee);
        }
        REQUIRE_SAME(ring_broadcast_send(&sender, sent, sizes[s] + 1, 0), -EMSGSIZE);
        REQUIRE_SAME(ring_broadcast_send(&sender, NULL, 1, 0), -EINVAL);
        end();
    }
}

/* Laps and positions around numbers where arithmetic goes wrong. */
static void run_from(uint64_t start, size_t slots)
{
    for (enum ring_broadcast_policy policy = RING_BROADCAST_OVERWRITE; policy <= RING_BROADCAST_LOSSLESS; policy++) {
        begin(policy, slots, MOST, start);
        REQUIRE_SAME(ring_broadcast_sent(&sender), start);
        uint64_t some = slots > 2 ? slots / 2 : 1;
        for (uint64_t sent = 0; sent < 6 * slots + 8; sent += some) {
            test_tell_many(&sender, MOST, some);
            for (int i = 0; i < 4; i++)
                test_hear_many(&consumers[i], MOST, some);
        }
        struct ring_broadcast_info info = test_news_info(segment);
        REQUIRE_SAME(info.tail, ring_broadcast_sent(&sender));
        REQUIRE(info.tail - info.oldest <= slots);
        struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
        REQUIRE_OK(ring_broadcast_seat_info(segment, "news", 3, &seat));
        REQUIRE(seat.behind <= slots / 8);
        test_tell_many(&sender, MOST, policy == RING_BROADCAST_OVERWRITE ? 5 * slots : 0);
        if (policy == RING_BROADCAST_OVERWRITE) {
            REQUIRE_SAME(test_hear(&consumers[0], MOST, 0), -EOVERFLOW);
            uint64_t lost = ring_broadcast_lost(&consumers[0]);
            REQUIRE(lost > 4 * slots && lost < 5 * slots);
            test_hear_many(&consumers[0], MOST, 5 * slots - lost);
        }
        end();
    }
}

Test(messages, numbers_go_on_across_2_to_the_32)
{
    run_from((UINT64_C(1) << 32) - 7, 8);
    run_from((UINT64_C(1) << 32) - 5, 2);
}

Test(messages, numbers_go_on_across_2_to_the_63_and_the_laps_of_36_bits)
{
    run_from((UINT64_C(1) << 63) - 7, 8);
    run_from((UINT64_C(1) << 39) - 7, 8); /* 2^36 laps of 8 */
    run_from((UINT64_C(1) << 37) - 3, 2);
}

Test(messages, numbers_go_on_across_2_to_the_64)
{
    run_from(UINT64_MAX - 6, 8);
    run_from(UINT64_MAX, 64);
    run_from(UINT64_MAX - 2, 2);
}

Test(messages, what_is_reserved_is_seen_when_committed_and_not_when_cancelled)
{
    begin(RING_BROADCAST_LOSSLESS, 8, MOST, 0);
    void *place, *other;
    unsigned char received[MOST];
    for (int round = 0; round < 30; round++) {
        REQUIRE_SAME(ring_broadcast_reserve(&sender, MOST, &place, 0), 0);
        REQUIRE_SAME((uintptr_t)place % 8, 0);
        memset(place, round, MOST);
        REQUIRE_SAME(ring_broadcast_recv(&consumers[0], received, MOST, 0), -EAGAIN);
        REQUIRE_SAME(ring_broadcast_send(&sender, received, 1, 0), -EBUSY);
        REQUIRE_SAME(ring_broadcast_reserve(&sender, 1, &other, 0), -EBUSY);
        REQUIRE_SAME(ring_broadcast_commit(&sender, MOST + 1), -EINVAL);
        if (round % 3) {
            REQUIRE_SAME(ring_broadcast_commit(&sender, (size_t)round), 0);
            for (int i = 0; i < 4; i++)
                REQUIRE_SAME(ring_broadcast_recv(&consumers[i], received, MOST, 0), round);
            REQUIRE(round == 0 || received[round - 1] == round);
        } else {
            REQUIRE_SAME(ring_broadcast_cancel(&sender), 0);
        }
        REQUIRE_SAME(ring_broadcast_commit(&sender, 1), -EINVAL);
        REQUIRE_SAME(ring_broadcast_cancel(&sender), -EINVAL);
    }
    REQUIRE_SAME(ring_broadcast_reserve(&sender, MOST + 1, &place, 0), -EMSGSIZE);
    end();
}

Test(messages, peeking_shows_the_same_message_until_it_is_released)
{
    begin(RING_BROADCAST_OVERWRITE, 8, MOST, 0);
    struct ring_message message;
    test_tell_many(&sender, MOST, 3);
    for (uint64_t number = 0; number < 3; number++) {
        REQUIRE_SAME(ring_broadcast_peek(&consumers[0], &message, 0), 0);
        REQUIRE_SAME(ring_broadcast_peek(&consumers[0], &message, 0), 0);
        REQUIRE(test_is_news(message.data, message.length, number, MOST));
        REQUIRE_SAME(ring_broadcast_release(&consumers[0], 1), 0);
        REQUIRE_SAME(ring_broadcast_release(&consumers[0], 1), -EINVAL);
    }
    REQUIRE_SAME(ring_broadcast_peek(&consumers[0], &message, 0), -EAGAIN);
    end();
}

Test(messages, release_tells_that_a_peeked_message_was_overwritten)
{
    begin(RING_BROADCAST_OVERWRITE, 8, MOST, 0);
    struct ring_message message, batch[4];
    test_tell_many(&sender, MOST, 5);
    REQUIRE_SAME(ring_broadcast_peek(&consumers[0], &message, 0), 0);
    REQUIRE_SAME(ring_broadcast_peek_batch(&consumers[1], batch, 4, 0), 4);
    test_tell_many(&sender, MOST, 2);
    REQUIRE_SAME(ring_broadcast_release(&consumers[1], 1), 0); /* 7 sent: all are there, the 8th place is marked */
    test_tell_many(&sender, MOST, 3);
    REQUIRE_SAME(ring_broadcast_release(&consumers[0], 1), -EOVERFLOW);
    REQUIRE_SAME(ring_broadcast_release(&consumers[1], 3), -EOVERFLOW);
    for (int i = 0; i < 2; i++) {
        uint64_t lost = ring_broadcast_lost(&consumers[i]);
        REQUIRE_SAME(lost, ring_broadcast_position(&consumers[i]) - (uint64_t)i);
        test_hear_many(&consumers[i], MOST, 10 - (uint64_t)i - lost);
        REQUIRE_SAME(test_hear(&consumers[i], MOST, 0), -EAGAIN);
    }
    end();
}

Test(messages, a_message_too_long_for_the_buffer_stays)
{
    begin(RING_BROADCAST_LOSSLESS, 8, MOST, 0);
    unsigned char bytes[MOST];
    REQUIRE_SAME(ring_broadcast_send(&sender, "0123456789", 10, 0), 0);
    REQUIRE_SAME(ring_broadcast_recv(&consumers[0], bytes, 9, 0), -EMSGSIZE);
    unsigned char *volatile nowhere = NULL;
    REQUIRE_SAME(ring_broadcast_recv(&consumers[0], nowhere, 0, 0), -EMSGSIZE);
    REQUIRE_SAME(ring_broadcast_recv(&consumers[0], nowhere, 10, 0), -EINVAL);
    REQUIRE_SAME(ring_broadcast_recv(&consumers[0], bytes, 10, 0), 10);
    end();
}

Test(messages, batches_of_any_size_bring_the_same_messages)
{
    begin(RING_BROADCAST_LOSSLESS, 32, MOST, UINT64_MAX - 100);
    static unsigned char texts[40][MOST];
    struct ring_message out[40], in[40];
    struct test_random random = { 1 };
    uint64_t heard = ring_broadcast_sent(&sender);
    for (int round = 0; round < 300; round++) {
        uint64_t number = ring_broadcast_sent(&sender);
        for (uint64_t i = 0; i < 40; i++)
            out[i] = (struct ring_message){ texts[i], test_write_news(texts[i], number + i, MOST), 0 };
        ssize_t sent = ring_broadcast_send_batch(&sender, out, test_below(&random, 41), RING_NO_WAIT);
        REQUIRE(sent >= 0 || sent == -EAGAIN);
        for (int i = 1; i < 4; i++)
            while (test_hear(&consumers[i], MOST, 0) == 0)
                continue;
        for (;;) {
            ssize_t seen = ring_broadcast_peek_batch(&consumers[0], in, 1 + test_below(&random, 40), RING_NO_WAIT);
            if (seen == -EAGAIN)
                break;
            REQUIRE(seen > 0);
            for (ssize_t i = 0; i < seen; i++, heard++)
                REQUIRE(test_is_news(in[i].data, in[i].length, heard, MOST));
            REQUIRE_SAME(ring_broadcast_release(&consumers[0], (size_t)seen + 1), -EINVAL);
            REQUIRE_SAME(ring_broadcast_release(&consumers[0], (size_t)(seen / 2)), 0);
            REQUIRE_SAME(ring_broadcast_release(&consumers[0], (size_t)(seen - seen / 2)), 0);
        }
        REQUIRE(heard == ring_broadcast_sent(&sender));
    }
    out[0].length = MOST + 1;
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, out, 2, 0), -EMSGSIZE);
    out[0] = (struct ring_message){ NULL, 3, 0 };
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, out, 2, 0), -EINVAL);
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, NULL, 0, 0), 0);
    REQUIRE_SAME(ring_broadcast_peek_batch(&consumers[0], in, 0, 0), 0);
    end();
}

Test(messages, arrays_stop_at_a_message_of_another_length)
{
    begin(RING_BROADCAST_LOSSLESS, 8, 8, 0);
    uint64_t out[16], in[16];
    for (uint64_t i = 0; i < 16; i++)
        out[i] = i;
    REQUIRE_SAME(ring_broadcast_send_array(&sender, out, 8, 5, 0), 5);
    REQUIRE_SAME(ring_broadcast_send(&sender, out, 4, 0), 0);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, out, 8, 16, 0), 2); /* the ring is full */
    REQUIRE_SAME(ring_broadcast_send_array(&sender, out, 8, 16, 0), -EAGAIN);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, out, 9, 1, 0), -EMSGSIZE);
    REQUIRE_SAME(ring_broadcast_recv_array(&consumers[0], in, 8, 16, 0), 5);
    REQUIRE(memcmp(in, out, 40) == 0);
    REQUIRE_SAME(ring_broadcast_recv_array(&consumers[0], in, 8, 16, 0), -EMSGSIZE);
    REQUIRE_SAME(ring_broadcast_recv_array(&consumers[0], in, 4, 16, 0), 1);
    REQUIRE_SAME(ring_broadcast_recv_array(&consumers[0], in, 8, 16, 0), 2);
    REQUIRE_SAME(ring_broadcast_recv_array(&consumers[0], in, 8, 16, 0), -EAGAIN);
    end();
}

struct quote {
    uint64_t number;
    double price;
    char symbol[12];
};

RING_BROADCAST_TYPE(quotes, struct quote);

Test(messages, the_typed_front_sends_and_receives_one_c_type)
{
    begin(RING_BROADCAST_LOSSLESS, 8, sizeof(struct quote), 0);
    struct quote out = { 1, 2.5, "ABC" }, in, many[3];
    int error;
    REQUIRE_SAME(quotes_send(&sender, &out, 0), 0);
    struct quote *place = quotes_reserve(&sender, &error, 0);
    REQUIRE(place && error == 0);
    *place = (struct quote){ 2, 3.5, "DEF" };
    REQUIRE_SAME(quotes_commit(&sender), 0);
    REQUIRE_SAME(quotes_send_array(&sender, &out, 1, 0), 1);
    REQUIRE_SAME(ring_broadcast_send(&sender, "short", 5, 0), 0);
    REQUIRE_SAME(quotes_recv(&consumers[0], &in, 0), 1);
    REQUIRE(in.number == 1 && in.price == 2.5 && strcmp(in.symbol, "ABC") == 0);
    const struct quote *seen = quotes_peek(&consumers[0], &error, 0);
    REQUIRE(seen && seen->number == 2);
    REQUIRE_SAME(quotes_release(&consumers[0], 1), 0);
    REQUIRE_SAME(quotes_recv_array(&consumers[0], many, 3, 0), 1);
    REQUIRE_SAME(quotes_recv(&consumers[0], &in, 0), -EMSGSIZE);
    REQUIRE(!quotes_peek(&consumers[0], &error, 0) && error == -EMSGSIZE);
    REQUIRE_SAME(ring_broadcast_recv(&consumers[0], &in, sizeof in, 0), 5);
    REQUIRE_SAME(quotes_recv(&consumers[0], &in, 0), -EAGAIN);
    end();
}
