/* spsc_messages.c - one message at a time: every length, every verb, every refusal. */
#include "harness.h"

/* Both ways of sending and of receiving, in turn. */
static void pass_one(struct test_pair *pair, size_t length, uint64_t seed)
{
    static unsigned char sent[1 << 18], received[1 << 18];
    test_fill(sent, length, seed);
    if (seed % 2)
        REQUIRE_SAME(ring_spsc_send(&pair->producer, sent, length, RING_NO_WAIT), 0);
    else
        test_send(&pair->producer, length, seed);
    if (seed / 2 % 2) {
        test_recv(&pair->consumer, length, seed);
        return;
    }
    received[length] = 0x5a;
    REQUIRE_SAME(ring_spsc_recv(&pair->consumer, received, length, RING_NO_WAIT), length);
    REQUIRE(memcmp(sent, received, length) == 0);
    REQUIRE_SAME(received[length], 0x5a);
}

Test(spsc, every_length_from_nothing_to_the_limit_arrives)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (uint64_t round = 0; round < 4; round++)
        for (size_t length = 0; length <= pair.max_message; length++)
            pass_one(&pair, length, length + round);
    test_pair_close(&pair);
}

Test(spsc, lengths_up_to_the_limit_of_a_large_ring_arrive)
{
    struct test_pair pair;
    test_pair_open(&pair, 512 << 10, 0, 0);
    for (uint64_t seed = 0; seed < 4; seed++) {
        for (size_t length = 0; length <= pair.max_message; length += 1 + length / 37)
            pass_one(&pair, length, seed);
        for (size_t length = pair.max_message - 20; length <= pair.max_message; length++)
            pass_one(&pair, length, seed);
    }
    test_pair_close(&pair);
}

Test(spsc, messages_arrive_in_order_and_once)
{
    struct test_pair pair;
    test_pair_open(&pair, 8192, 0, 0);
    uint64_t sent = 0, received = 0;
    for (int round = 0; round < 300; round++) {
        unsigned char message[256];
        for (;; sent++) {
            test_fill(message, sent % 200, sent);
            int code = ring_spsc_send(&pair.producer, message, sent % 200, RING_NO_WAIT);
            if (code == -EAGAIN)
                break;
            REQUIRE_SAME(code, 0);
        }
        for (ssize_t length; (length = ring_spsc_recv(&pair.consumer, message, sizeof message, 0)) >= 0; received++) {
            REQUIRE_SAME(length, received % 200);
            REQUIRE(test_matches(message, (size_t)length, received));
        }
        REQUIRE_SAME(received, sent);
    }
    test_pair_close(&pair);
}

Test(spsc, a_message_longer_than_the_limit_is_refused_and_the_ring_is_unharmed)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    static unsigned char large[1 << 16];
    static const size_t beyond[] = { 1, 8, 3000, 4096, 60000 };
    void *place = NULL;
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        size_t length = pair.max_message + beyond[i];
        struct ring_message batch[2] = { { large, length, 0 }, { large, 1, 0 } };
        REQUIRE_SAME(ring_spsc_send(&pair.producer, large, length, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, length, &place, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, batch, 2, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_send_array(&pair.producer, large, length, 1, RING_FOREVER), -EMSGSIZE);
    }
    static const size_t absurd[] = { SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 8, SIZE_MAX - 15, SIZE_MAX / 2 + 1,
                                     (size_t)1 << 32, ((size_t)1 << 32) + 8, UINT32_MAX };
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        struct ring_message batch = { large, absurd[i], 0 };
        REQUIRE_SAME(ring_spsc_send(&pair.producer, large, absurd[i], RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, absurd[i], &place, RING_FOREVER), -EMSGSIZE);
        REQUIRE(ring_spsc_commit(&pair.producer, absurd[i]) == -EINVAL);
        REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &batch, 1, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_send_array(&pair.producer, large, absurd[i], 1, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_send_array(&pair.producer, large, absurd[i], SIZE_MAX, RING_FOREVER), -EMSGSIZE);
    }
    REQUIRE(ring_spsc_recv(&pair.consumer, large, sizeof large, 0) == -EAGAIN);
    pass_one(&pair, pair.max_message, 3);
    test_pair_close(&pair);
}

Test(spsc, a_message_longer_than_the_buffer_is_refused_and_stays_the_next_one)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    unsigned char buffer[200];
    for (size_t length = 1; length < 200; length++) {
        test_send(&pair.producer, length, length);
        for (size_t size = 0; size < length; size += 1 + length / 5) {
            memset(buffer, 0x5a, sizeof buffer);
            REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, size, RING_FOREVER), -EMSGSIZE);
            for (size_t i = 0; i < sizeof buffer; i++)
                REQUIRE(buffer[i] == 0x5a);
        }
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, 1, RING_NO_WAIT), length == 1 ? 1 : -EMSGSIZE);
        if (length > 1)
            test_recv(&pair.consumer, length, length);
    }
    test_pair_close(&pair);
}

Test(spsc, null_in_place_of_a_message_or_buffer_is_refused_unless_the_length_is_zero)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_SAME(ring_spsc_send(&pair.producer, NULL, 1, RING_FOREVER), -EINVAL);
    struct ring_message batch = { NULL, 1, 0 };
    REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &batch, 1, RING_FOREVER), -EINVAL);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, NULL, 1, 1, RING_FOREVER), -EINVAL);
    REQUIRE_SAME(ring_spsc_send(&pair.producer, NULL, 0, RING_NO_WAIT), 0);
    test_recv(&pair.consumer, 0, 0);
    test_send(&pair.producer, 5, 1);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, NULL, 5, RING_FOREVER), -EINVAL);
    REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, NULL, 5, 1, RING_FOREVER), -EINVAL);
    test_recv(&pair.consumer, 5, 1);
    test_pair_close(&pair);
}

Test(spsc, a_reservation_may_be_committed_shorter)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (size_t reserved = 0; reserved <= pair.max_message; reserved += 13)
        for (size_t length = 0; length <= reserved; length += 1 + reserved / 4) {
            void *place;
            REQUIRE_SAME(ring_spsc_reserve(&pair.producer, reserved, &place, RING_NO_WAIT), 0);
            memset(place, 0xff, reserved); /* what is not committed must not be taken for a message */
            test_fill(place, length, reserved + length);
            REQUIRE_SAME(ring_spsc_commit(&pair.producer, length), 0);
            test_recv(&pair.consumer, length, reserved + length);
            char byte;
            REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, RING_NO_WAIT), -EAGAIN);
        }
    test_pair_close(&pair);
}

Test(spsc, a_cancelled_reservation_was_never_sent)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (size_t length = 0; length <= pair.max_message; length += 7) {
        void *place;
        struct ring_message message;
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, length, &place, RING_NO_WAIT), 0);
        memset(place, 0xff, length);
        REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(ring_spsc_cancel(&pair.producer), 0);
        REQUIRE_SAME(ring_spsc_cancel(&pair.producer), -EINVAL);
        REQUIRE_SAME(ring_spsc_commit(&pair.producer, 0), -EINVAL);
        REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, RING_NO_WAIT), -EAGAIN);
        pass_one(&pair, length, length);
    }
    test_pair_close(&pair);
}

Test(spsc, during_a_reservation_every_other_verb_of_the_producer_is_refused)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (size_t length = 0; length < 200; length += 9) {
        void *place, *second = NULL;
        char x[] = "x";
        struct ring_message batch = { x, 1, 0 };
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, length, &place, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_spsc_send(&pair.producer, "x", 1, RING_NO_WAIT), -EBUSY);
        REQUIRE_SAME(ring_spsc_send(&pair.producer, NULL, 0, RING_FOREVER), -EBUSY);
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 1, &second, RING_FOREVER), -EBUSY);
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 0, &second, RING_FOREVER), -EBUSY);
        REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &batch, 1, RING_FOREVER), -EBUSY);
        REQUIRE_SAME(ring_spsc_send_array(&pair.producer, "xy", 1, 2, RING_FOREVER), -EBUSY);
        REQUIRE_SAME(ring_spsc_commit(&pair.producer, length + 8), -EINVAL);
        REQUIRE_SAME(ring_spsc_commit(&pair.producer, SIZE_MAX), -EINVAL);
        REQUIRE_SAME(ring_spsc_commit(&pair.producer, (size_t)1 << 32), -EINVAL);
        test_fill(place, length, length);
        REQUIRE_SAME(ring_spsc_commit(&pair.producer, length), 0);
        test_recv(&pair.consumer, length, length);
    }
    test_pair_close(&pair);
}

Test(spsc, a_commit_longer_than_its_reservation_is_refused_by_the_byte)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (size_t length = 0; length <= 64; length++) {
        void *place;
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, length, &place, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_spsc_commit(&pair.producer, length + 1), -EINVAL);
        REQUIRE_SAME(ring_spsc_cancel(&pair.producer), 0);
    }
    test_pair_close(&pair);
}

Test(spsc, peeking_again_shows_the_same_message)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (uint64_t i = 0; i < 500; i++) {
        size_t length = i % 300;
        test_send(&pair.producer, length, i);
        test_send(&pair.producer, 7, ~i);
        struct ring_message first, second;
        REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &first, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &second, RING_NO_WAIT), 0);
        REQUIRE(first.data == second.data && first.length == second.length && first.length == length);
        REQUIRE_SAME(second.flags, 0);
        REQUIRE_SAME((uintptr_t)first.data % 8, 0);
        REQUIRE_SAME(ring_spsc_release(&pair.consumer, 2), -EINVAL);
        REQUIRE_SAME(ring_spsc_release(&pair.consumer, SIZE_MAX), -EINVAL);
        REQUIRE_SAME(ring_spsc_release(&pair.consumer, 0), 0);
        REQUIRE(test_matches(first.data, length, i));
        REQUIRE_SAME(ring_spsc_release(&pair.consumer, 1), 0);
        REQUIRE_SAME(ring_spsc_release(&pair.consumer, 1), -EINVAL);
        test_recv(&pair.consumer, 7, ~i);
    }
    test_pair_close(&pair);
}

Test(spsc, a_release_without_a_peek_of_its_own_never_loses_or_repeats_a_message)
{
    struct test_pair pair;
    test_pair_open(&pair, 8192, 0, 0);
    unsigned char buffer[64];
    struct ring_message messages[4];
    uint64_t sent = 0, received = 0;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 8; i++, sent++)
            test_send(&pair.producer, 32, sent);
        if (round % 2)
            REQUIRE_SAME(ring_spsc_peek(&pair.consumer, messages, RING_NO_WAIT), 0);
        else
            REQUIRE(ring_spsc_peek_batch(&pair.consumer, messages, 2 + (size_t)round / 2 % 3, RING_NO_WAIT) > 0);
        for (int i = 0; i < 1 + round % 3; i++, received++) {
            REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_NO_WAIT), 32);
            REQUIRE(test_matches(buffer, 32, received));
        }
        /* What was peeked has been received meanwhile, or some of it. */
        size_t freed = ring_spsc_release(&pair.consumer, 1) == 0;
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_NO_WAIT), 32);
        if (freed && test_matches(buffer, 32, received + 1))
            received++; /* it had been peeked, and was freed: fair */
        REQUIRE(test_matches(buffer, 32, received));
        received++;
        for (; received < sent; received++)
            test_recv(&pair.consumer, 32, received);
    }
    test_pair_close(&pair);
}

Test(spsc, nothing_there_and_no_room_are_told_at_once_or_after_the_time_limit)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    unsigned char buffer[512] = { 0 };
    struct ring_message message = { buffer, sizeof buffer, 0 };
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, 1), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, 60000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, 1000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, &message, 1, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, &message, 1, 1000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, buffer, 8, 4, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, buffer, 8, 4, 1000000), -ETIMEDOUT);
    uint64_t sent = 0;
    for (int code; (code = ring_spsc_send(&pair.producer, buffer, 500, RING_NO_WAIT)) != -EAGAIN; sent++)
        REQUIRE_SAME(code, 0);
    REQUIRE(sent >= 7);
    void *place;
    message = (struct ring_message){ buffer, sizeof buffer, 0 };
    REQUIRE_SAME(ring_spsc_send(&pair.producer, buffer, 500, 1), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_send(&pair.producer, buffer, 500, 60000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 500, &place, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 500, &place, 1000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &message, 1, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &message, 1, 1000000), -ETIMEDOUT);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, buffer, 500, 1, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, buffer, 500, 1, 1000000), -ETIMEDOUT);
    for (; sent; sent--)
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_NO_WAIT), 500);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_NO_WAIT), -EAGAIN);
    test_pair_close(&pair);
}

struct quote {
    uint64_t number;
    double price;
    char symbol[21];
};

RING_SPSC_TYPE(quotes, struct quote);

static struct quote quote_of(uint64_t number)
{
    struct quote quote;
    memset(&quote, 0, sizeof quote);
    quote.number = number;
    quote.price = 0.5 * (double)number;
    snprintf(quote.symbol, sizeof quote.symbol, "S%llu", (unsigned long long)number);
    return quote;
}

static void typed_round(struct test_pair *pair, uint64_t number)
{
    struct quote sent = quote_of(number), got, few[3] = { quote_of(1), quote_of(2), quote_of(3) }, back[5];
    int error = 1;
    REQUIRE_SAME(quotes_send(&pair->producer, &sent, 0), 0);
    REQUIRE_SAME(quotes_recv(&pair->consumer, &got, 0), 1);
    REQUIRE(memcmp(&sent, &got, sizeof got) == 0);
    struct quote *place = quotes_reserve(&pair->producer, &error, 0);
    REQUIRE(place && error == 0);
    *place = quote_of(number + 1);
    REQUIRE(!quotes_reserve(&pair->producer, &error, 0) && error == -EBUSY);
    REQUIRE_SAME(quotes_commit(&pair->producer), 0);
    const struct quote *seen = quotes_peek(&pair->consumer, &error, 0);
    REQUIRE(seen && error == 0 && seen->number == number + 1);
    REQUIRE_SAME(quotes_release(&pair->consumer, 1), 0);
    REQUIRE(!quotes_peek(&pair->consumer, &error, 0) && error == -EAGAIN);
    REQUIRE_SAME(quotes_recv(&pair->consumer, &got, 0), -EAGAIN);
    REQUIRE_SAME(quotes_send_array(&pair->producer, few, 3, 0), 3);
    REQUIRE_SAME(quotes_recv(&pair->consumer, &got, 0), 1);
    REQUIRE(memcmp(&few[0], &got, sizeof got) == 0);
    REQUIRE_SAME(quotes_recv_array(&pair->consumer, back, 5, 0), 2);
    REQUIRE(memcmp(&few[1], back, 2 * sizeof got) == 0);
}

Test(spsc, the_typed_front_passes_structs_and_refuses_messages_of_another_length)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (uint64_t number = 0; number < 1000; number++)
        typed_round(&pair, number);
    static const size_t others[] = { 0, 1, sizeof(struct quote) - 1, sizeof(struct quote) + 1, 500 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct quote got;
        int error = 0;
        test_send(&pair.producer, others[i], i);
        REQUIRE_SAME(quotes_recv(&pair.consumer, &got, RING_FOREVER), -EMSGSIZE);
        REQUIRE(!quotes_peek(&pair.consumer, &error, RING_FOREVER) && error == -EMSGSIZE);
        REQUIRE_SAME(quotes_recv_array(&pair.consumer, &got, 1, RING_FOREVER), -EMSGSIZE);
        test_recv(&pair.consumer, others[i], i);
    }
    test_pair_close(&pair);
}
