/* spsc_batches.c - many messages a call, alone and mixed with single calls. */
#include "harness.h"

enum { MOST = 64, LONGEST = 600 };

static unsigned char texts[MOST][LONGEST];

/* A batch of `count` messages numbered from `first`; lengths by the number, equal ones in runs when `runs`. */
static size_t length_of(uint64_t number, bool runs)
{
    uint64_t chosen = runs ? test_mix(number / 5) : test_mix(number);
    return chosen % 4 ? chosen % 40 : chosen % LONGEST;
}

static void make_batch(struct ring_message *batch, size_t count, uint64_t first, bool runs)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = length_of(first + i, runs);
        test_fill(texts[i], length, first + i);
        batch[i] = (struct ring_message){ texts[i], length, 0xffffffff };
    }
}

static void require_message(const struct ring_message *message, uint64_t number, bool runs)
{
    REQUIRE_SAME(message->length, length_of(number, runs));
    REQUIRE_SAME((uintptr_t)message->data % 8, 0);
    REQUIRE_SAME(message->flags, 0);
    REQUIRE(test_matches(message->data, message->length, number));
}

static uint64_t receive_all(struct test_pair *pair, uint64_t received, uint64_t sent, struct test_random *random, bool runs)
{
    struct ring_message seen[MOST];
    unsigned char buffer[LONGEST];
    while (received < sent) {
        if (test_below(random, 3) == 0) {
            ssize_t length = ring_spsc_recv(&pair->consumer, buffer, sizeof buffer, 0);
            REQUIRE(length >= 0);
            struct ring_message message = { buffer, (size_t)length, 0 };
            REQUIRE_SAME(length, length_of(received, runs));
            REQUIRE(test_matches(message.data, message.length, received));
            received++;
            continue;
        }
        size_t wanted = 1 + test_below(random, MOST);
        ssize_t count = ring_spsc_peek_batch(&pair->consumer, seen, wanted, 0);
        REQUIRE(count >= 1 && count <= (ssize_t)wanted);
        for (ssize_t i = 0; i < count; i++)
            require_message(&seen[i], received + (uint64_t)i, runs);
        size_t freed = test_below(random, (uint64_t)count + 1);
        REQUIRE_SAME(ring_spsc_release(&pair->consumer, (size_t)count + 1), -EINVAL);
        REQUIRE_SAME(ring_spsc_release(&pair->consumer, freed), 0);
        if (test_below(random, 2)) {
            REQUIRE_SAME(ring_spsc_release(&pair->consumer, (size_t)count - freed), 0);
            freed = (size_t)count;
        }
        received += freed;
    }
    REQUIRE_SAME(ring_spsc_recv(&pair->consumer, buffer, sizeof buffer, 0), -EAGAIN);
    return received;
}

static void pass_batches(size_t bytes, size_t publish_bytes, uint64_t seed, bool runs)
{
    struct test_pair pair;
    test_pair_open(&pair, bytes, publish_bytes, 0);
    struct test_random random = { seed };
    uint64_t sent = 0, received = 0;
    struct ring_message batch[MOST];
    for (uint64_t round = 0; round < test_rounds(3000); round++) {
        size_t count = 1 + test_below(&random, MOST);
        make_batch(batch, count, sent, runs);
        ssize_t taken = ring_spsc_send_batch(&pair.producer, batch, count, 0);
        if (taken == -EAGAIN) {
            received = receive_all(&pair, received, sent, &random, runs);
            taken = ring_spsc_send_batch(&pair.producer, batch, count, 0);
        }
        REQUIRE(taken >= 1 && taken <= (ssize_t)count);
        sent += (uint64_t)taken;
    }
    receive_all(&pair, received, sent, &random, runs);
    test_pair_close(&pair);
}

Test(batches, of_mixed_lengths_arrive_in_order_however_they_are_received)
{
    pass_batches(4096, 0, 1, false);
    pass_batches(16384, 1, 2, false);
    pass_batches(1 << 20, 0, 3, false);
}

Test(batches, with_runs_of_equal_lengths_arrive_in_order_however_they_are_received)
{
    pass_batches(4096, 0, 4, true);
    pass_batches(16384, 1, 5, true);
    pass_batches(1 << 20, 1 << 19, 6, true);
}

Test(batches, of_every_length_and_count_pass_through_arrays)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    static unsigned char sent[1 << 16], got[1 << 16];
    for (size_t length = 1; length <= pair.max_message; length += 1 + length / 9)
        for (size_t count = 1; count <= 100 && count * length < sizeof sent; count += 1 + count / 3) {
            test_fill(sent, length * count, length + count);
            size_t done = 0, back = 0;
            while (back < count) {
                ssize_t code = ring_spsc_send_array(&pair.producer, sent + done * length, length, count - done, 0);
                REQUIRE(code >= 0 || code == -EAGAIN);
                REQUIRE(done < count || code == 0);
                done += code > 0 ? (size_t)code : 0;
                memset(got, 0x5a, sizeof got);
                size_t wanted = 1 + (count + done) % 17;
                code = ring_spsc_recv_array(&pair.consumer, got, length, wanted, 0);
                REQUIRE(code >= 1 && code <= (ssize_t)wanted);
                REQUIRE(memcmp(got, sent + back * length, (size_t)code * length) == 0);
                REQUIRE_SAME(got[(size_t)code * length], 0x5a);
                back += (size_t)code;
            }
            REQUIRE_SAME(back, done);
        }
    test_pair_close(&pair);
}

Test(batches, of_empty_messages_arrive)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    struct ring_message batch[20] = { { NULL, 0, 0 } }, seen[20];
    for (int round = 0; round < 300; round++) {
        ssize_t sent = round % 2 ? ring_spsc_send_array(&pair.producer, NULL, 0, 20, 0)
                                 : ring_spsc_send_batch(&pair.producer, batch, 20, 0);
        REQUIRE_SAME(sent, 20);
        for (ssize_t count, left = 20; left; left -= count) {
            count = round / 2 % 2 ? ring_spsc_recv_array(&pair.consumer, NULL, 0, (size_t)left, 0)
                                  : ring_spsc_peek_batch(&pair.consumer, seen, (size_t)left, 0);
            REQUIRE(count >= 1 && count <= left);
            if (!(round / 2 % 2))
                REQUIRE_SAME(ring_spsc_release(&pair.consumer, (size_t)count), 0);
        }
        REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, seen, 1, 0), -EAGAIN);
    }
    test_pair_close(&pair);
}

Test(batches, of_nothing_do_nothing)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    struct ring_message message = { 0 };
    REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &message, 0, RING_FOREVER), 0);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, &message, 8, 0, RING_FOREVER), 0);
    REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, 0), -EAGAIN);
    test_send(&pair.producer, 8, 1);
    REQUIRE(ring_spsc_peek_batch(&pair.consumer, &message, 0, RING_NO_WAIT) <= 0);
    REQUIRE(ring_spsc_recv_array(&pair.consumer, &message, 8, 0, RING_NO_WAIT) <= 0);
    test_recv(&pair.consumer, 8, 1);
    test_pair_close(&pair);
}

Test(batches, take_only_what_there_is_room_for_and_the_rest_can_follow)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    static uint64_t numbers[10000], back[10000];
    for (uint64_t i = 0; i < 10000; i++)
        numbers[i] = test_mix(i);
    ssize_t first = ring_spsc_send_array(&pair.producer, numbers, 8, 10000, RING_FOREVER);
    REQUIRE(first >= 200 && first < 512);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, numbers, 8, 10000, 1000000), -ETIMEDOUT);
    size_t received = 0;
    for (ssize_t count; (count = ring_spsc_recv_array(&pair.consumer, back + received, 8, 7, 0)) > 0;)
        received += (size_t)count;
    REQUIRE_SAME(received, first);
    REQUIRE(memcmp(numbers, back, received * 8) == 0);
    test_pair_close(&pair);
}

Test(batches, stop_before_a_message_that_never_fits_and_then_name_it)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    static unsigned char large[8192];
    struct ring_message batch[3] = { { large, 10, 0 }, { large, 10, 0 }, { large, sizeof large, 0 } };
    ssize_t sent = ring_spsc_send_batch(&pair.producer, batch, 3, RING_FOREVER);
    REQUIRE_SAME(sent, 2);
    REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, batch + sent, 1, RING_FOREVER), -EMSGSIZE);
    struct ring_message seen[4];
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, seen, 4, 0), 2);
    REQUIRE_SAME(ring_spsc_release(&pair.consumer, 2), 0);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, seen, 4, 0), -EAGAIN);
    test_pair_close(&pair);
}

Test(batches, receiving_an_array_stops_before_a_message_of_another_length)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    for (uint64_t round = 0; round < 200; round++) {
        uint64_t before = 1 + round % 7, back[16];
        size_t other = round % 3 ? 16 : 0;
        for (uint64_t i = 0; i < before; i++)
            test_send(&pair.producer, 8, round + i);
        test_send(&pair.producer, other, round);
        test_send(&pair.producer, 8, ~round);
        for (uint64_t received = 0; received < before;) {
            ssize_t count = ring_spsc_recv_array(&pair.consumer, back, 8, 16, 0);
            REQUIRE(count >= 1);
            for (ssize_t i = 0; i < count; i++)
                REQUIRE(test_matches(&back[i], 8, round + received++));
            REQUIRE(received <= before);
        }
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, back, 8, 16, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, back, 8, 16, RING_FOREVER), -EMSGSIZE);
        test_recv(&pair.consumer, other, round);
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, back, 8, 16, RING_FOREVER), 1);
        REQUIRE(test_matches(back, 8, ~round));
    }
    test_pair_close(&pair);
}

Test(batches, sent_while_the_ring_is_partly_full_keep_their_order)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    uint64_t sent = 0, received = 0, few[9], back[5];
    for (uint64_t round = 0; round < test_rounds(50000); round++) {
        for (uint64_t i = 0; i < 9; i++)
            few[i] = sent + i;
        ssize_t count = ring_spsc_send_array(&pair.producer, few, 8, 1 + round % 9, 0);
        REQUIRE(count > 0 || count == -EAGAIN);
        sent += count > 0 ? (uint64_t)count : 0;
        count = ring_spsc_recv_array(&pair.consumer, back, 8, 1 + round % 5, 0);
        REQUIRE(count > 0 || (count == -EAGAIN && received == sent));
        for (ssize_t i = 0; i < count; i++)
            REQUIRE_SAME(back[i], received++);
    }
    test_pair_close(&pair);
}

Test(batches, null_arguments_are_refused)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE(ring_spsc_send_batch(&pair.producer, NULL, 1, RING_FOREVER) == -EINVAL);
    REQUIRE(ring_spsc_send_array(&pair.producer, NULL, 8, 2, RING_FOREVER) == -EINVAL);
    test_send(&pair.producer, 8, 1);
    REQUIRE(ring_spsc_peek_batch(&pair.consumer, NULL, 1, RING_FOREVER) == -EINVAL);
    REQUIRE(ring_spsc_recv_array(&pair.consumer, NULL, 8, 2, RING_FOREVER) == -EINVAL);
    test_recv(&pair.consumer, 8, 1);
    test_pair_close(&pair);
}

Test(batches, a_half_taken_batch_is_taken_on_by_the_next_consumer)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    uint64_t numbers[20], back[20], received = 0;
    for (uint64_t i = 0; i < 20; i++)
        numbers[i] = i;
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, numbers, 8, 20, 0), 20);
    while (received < 20) {
        ssize_t count = ring_spsc_recv_array(&pair.consumer, back, 8, 3, 0);
        REQUIRE(count >= 1);
        for (ssize_t i = 0; i < count; i++)
            REQUIRE_SAME(back[i], received++);
        struct ring_message seen[20];
        ring_spsc_peek_batch(&pair.consumer, seen, 20, 0); /* peeked, but not released: comes again */
        REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
        test_open_consumer(&pair.consumer, pair.segment);
    }
    REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, back, 8, 3, 0), -EAGAIN);
    test_pair_close(&pair);
}
