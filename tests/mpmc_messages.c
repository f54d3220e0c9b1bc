/* mpmc_messages.c - one message or several, through both ends in one process: every length, every verb, every refusal;
 * alone on either side, never alone, and beside others. */
#include "mpmc.h"

enum { MOST = 40, SLOTS = 8, LARGE = 1 << 16 };

static struct test_queue queue;
static unsigned char large[LARGE];

/* Runs a test's body for each way of claiming. */
static void in_each_way(void (*body)(void), size_t slots, size_t slot_bytes)
{
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, slots, slot_bytes, 0);
        body();
        test_queue_close(&queue);
    }
}

static void reserve_and_commit(size_t length, uint64_t seed, size_t slot_bytes)
{
    void *place;
    REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, slot_bytes, &place, RING_NO_WAIT), 0);
    REQUIRE_SAME((uintptr_t)place % 8, 0);
    test_fill(place, length, seed);
    REQUIRE_SAME(ring_mpmc_commit(&queue.producer, length), 0);
}

static void peek_and_release(size_t length, uint64_t seed)
{
    struct ring_message message = { NULL, 0, 1 };
    for (int again = 0; again < 2; again++) {
        REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, RING_NO_WAIT), 0);
        REQUIRE_SAME(message.length, length);
        REQUIRE_SAME(message.flags, 0);
        REQUIRE_SAME((uintptr_t)message.data % 8, 0);
        REQUIRE(test_matches(message.data, length, seed));
    }
    REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 1), 0);
    REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 1), -EINVAL);
}

/* Both ways of sending and of receiving, in turn. */
static void pass_one(size_t length, uint64_t seed, size_t slot_bytes)
{
    static unsigned char received[LARGE];
    if (seed % 2) {
        test_fill(large, length, seed);
        REQUIRE_SAME(ring_mpmc_send(&queue.producer, large, length, RING_NO_WAIT), 0);
    } else {
        reserve_and_commit(length, seed, slot_bytes);
    }
    if (seed / 2 % 2) {
        peek_and_release(length, seed);
        return;
    }
    received[length] = 0x5a;
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, received, length, RING_NO_WAIT), length);
    REQUIRE(test_matches(received, length, seed));
    REQUIRE_SAME(received[length], 0x5a);
    REQUIRE_SAME(ring_mpmc_last_flags(&queue.consumer), 0);
}

Test(mpmc, every_length_from_nothing_to_the_limit_of_a_slot_arrives)
{
    static const size_t limits[] = { 1, 7, 8, 9, 23, 24, 25, 56, 57, 120, 121, 1000 };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (int claims = 0; claims < TEST_CLAIMS; claims++) {
            test_queue_open(&queue, (enum test_claims)claims, 4, limits[i], 0);
            for (uint64_t seed = 0; seed < 4; seed++)
                for (size_t length = 0; length <= limits[i]; length++)
                    pass_one(length, seed, limits[i]);
            test_queue_close(&queue);
        }
}

Test(mpmc, a_message_of_a_megabyte_arrives)
{
    size_t most = RING_MPMC_MAX_SLOT_BYTES;
    unsigned char *bytes = malloc(2 * most);
    test_queue_open(&queue, TEST_ALONE, 2, most, 0);
    for (uint64_t seed = 0; seed < 6; seed++) {
        test_fill(bytes, most - seed, seed);
        REQUIRE_SAME(ring_mpmc_send(&queue.producer, bytes, most - seed, 0), 0);
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes + most, most, 0), most - seed);
        REQUIRE(test_matches(bytes + most, most - seed, seed));
    }
    REQUIRE_SAME(ring_mpmc_send(&queue.producer, bytes, most + 1, 0), -EMSGSIZE);
    test_queue_close(&queue);
    free(bytes);
}

static void fill_and_drain(void)
{
    uint64_t sent = 0, received = 0;
    for (int round = 0; round < 100; round++) {
        for (int code; (code = test_put(&queue.producer, test_length(sent, MOST), sent, RING_NO_WAIT)) == 0; sent++)
            REQUIRE_SAME(test_queue_info(queue.segment).messages, sent + 1 - received);
        REQUIRE_SAME(sent - received, SLOTS);
        REQUIRE_SAME(test_put(&queue.producer, 1, 0, 1), -ETIMEDOUT);
        for (int take = round % SLOTS + 1; take; take--, received++)
            REQUIRE_SAME(test_get(&queue.consumer, test_length(received, MOST), received, RING_NO_WAIT), 0);
    }
    test_get_many(&queue.consumer, MOST, received, sent - received, 0);
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
}

Test(mpmc, a_ring_holds_as_many_messages_as_it_has_slots_and_gives_them_in_order_and_once)
{
    in_each_way(fill_and_drain, SLOTS, MOST);
    in_each_way(fill_and_drain, SLOTS - 1, MOST); /* rounded up */
}

static void send_too_long(void)
{
    static const size_t beyond[] = { MOST + 1,
                                     MOST + 8,
                                     4096,
                                     1 << 20,
                                     (1 << 20) + 8,
                                     1 << 26,
                                     UINT32_MAX,
                                     SIZE_MAX,
                                     SIZE_MAX - 7,
                                     SIZE_MAX - 15,
                                     SIZE_MAX / 2,
                                     (size_t)1 << 32,
                                     ((size_t)1 << 32) + 8,
                                     (size_t)1 << 63 };
    void *place = large;
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        struct ring_message batch[2] = { { large, beyond[i], 0 }, { large, 1, 0 } };
        REQUIRE_SAME(ring_mpmc_send(&queue.producer, large, beyond[i], RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, beyond[i], &place, RING_FOREVER), -EMSGSIZE);
        REQUIRE(place == NULL);
        REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, batch, 2, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, large, beyond[i], 1, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, large, beyond[i], SIZE_MAX, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(ring_mpmc_commit(&queue.producer, beyond[i]), -EINVAL);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, large, beyond[i], SIZE_MAX, RING_NO_WAIT), -EAGAIN);
    }
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
    struct ring_message batch[4] = { { large, 3, 0 }, { large, MOST, 0 }, { large, MOST + 1, 0 }, { large, 1, 0 } };
    REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, batch, 4, RING_NO_WAIT), 2); /* those before it */
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, large, LARGE, 0), 3);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, large, LARGE, 0), MOST);
    pass_one(MOST, 1, MOST);
}

Test(mpmc, a_message_longer_than_a_slot_is_refused_and_the_ring_is_unharmed)
{
    in_each_way(send_too_long, SLOTS, MOST);
}

static void receive_too_short(void)
{
    unsigned char buffer[MOST + 1];
    for (size_t length = 1; length <= MOST; length++) {
        REQUIRE_SAME(test_put(&queue.producer, length, length, RING_NO_WAIT), 0);
        for (size_t size = 0; size < length; size += 1 + length / 5) {
            memset(buffer, 0x5a, sizeof buffer);
            REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, buffer, size, RING_FOREVER), -EMSGSIZE);
            REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, buffer, size, 1, RING_FOREVER), -EMSGSIZE);
            for (size_t i = 0; i < sizeof buffer; i++)
                REQUIRE(buffer[i] == 0x5a);
        }
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, buffer, length + 1, 1, RING_FOREVER), -EMSGSIZE);
        REQUIRE_SAME(test_get(&queue.consumer, length, length, RING_NO_WAIT), 0);
    }
}

Test(mpmc, a_message_longer_than_the_buffer_is_refused_and_stays_the_next_one)
{
    in_each_way(receive_too_short, SLOTS, MOST);
}

static void give_null(void)
{
    void *volatile nothing = NULL; /* unknown to the compiler, which would warn of it */
    struct ring_message batch[3] = { { large, 5, 0 }, { NULL, 5, 0 }, { large, 5, 0 } };
    REQUIRE_SAME(ring_mpmc_send(&queue.producer, nothing, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, NULL, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, batch + 1, 2, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, NULL, 1, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, nothing, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, NULL, 1, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, NULL, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, large, 1, RING_NO_WAIT), -EAGAIN);
    REQUIRE_SAME(ring_mpmc_send(&queue.producer, nothing, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, NULL, 0, 2, RING_NO_WAIT), 2);
    REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, batch, 3, RING_NO_WAIT), 1);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, nothing, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, large, 10, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, NULL, 0, 1, RING_NO_WAIT), 1);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, nothing, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, large, 5, RING_NO_WAIT), 5);
}

Test(mpmc, null_in_place_of_a_message_or_buffer_is_refused_unless_the_length_is_zero)
{
    in_each_way(give_null, SLOTS, MOST);
}

/* ---- Reservations ---- */

static void reserve_in_all_ways(void)
{
    void *place;
    REQUIRE_SAME(ring_mpmc_commit(&queue.producer, 0), -EINVAL);
    REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), -EINVAL);
    for (uint64_t round = 0; round < 5 * SLOTS; round++) {
        REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, 20, &place, RING_NO_WAIT), 0);
        memset(place, 0xff, 20);
        void *second = large;
        REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, 1, &second, RING_NO_WAIT), -EBUSY);
        REQUIRE(second == NULL);
        REQUIRE_SAME(ring_mpmc_send(&queue.producer, "x", 1, RING_NO_WAIT), -EBUSY);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, "x", 1, 1, RING_NO_WAIT), -EBUSY);
        REQUIRE_SAME(ring_mpmc_commit(&queue.producer, 21), -EINVAL); /* and it stays */
        REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
        size_t length = test_length(round, 20);
        if (round % 3 == 0) {
            REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), 0);
            REQUIRE_SAME(test_get(&queue.consumer, 0, 0, RING_NO_WAIT), -EAGAIN);
        } else {
            test_fill(place, length, round);
            REQUIRE_SAME(ring_mpmc_commit(&queue.producer, length), 0);
            REQUIRE_SAME(test_get(&queue.consumer, length, round, RING_NO_WAIT), 0);
        }
        REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), -EINVAL);
    }
}

Test(mpmc, a_reservation_is_committed_shorter_or_cancelled_and_forbids_other_sending)
{
    in_each_way(reserve_in_all_ways, SLOTS, MOST);
}

static void cancel_many(void)
{
    void *place;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SLOTS; i++) {
            REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, MOST, &place, RING_NO_WAIT), 0);
            REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), 0);
        }
        REQUIRE_SAME(test_put(&queue.producer, 1, 1, RING_NO_WAIT), -EAGAIN); /* till a consumer passes over them */
        REQUIRE_SAME(test_get(&queue.consumer, 1, 1, RING_NO_WAIT), -EAGAIN);
        for (int i = 0; i < SLOTS; i++) {
            if (i % 2) {
                REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, MOST, &place, RING_NO_WAIT), 0);
                REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), 0);
            } else {
                REQUIRE_SAME(test_put(&queue.producer, 3, 7, RING_NO_WAIT), 0);
            }
        }
        for (int i = 0; i < SLOTS / 2; i++)
            REQUIRE_SAME(test_get(&queue.consumer, 3, 7, RING_NO_WAIT), 0);
        REQUIRE_SAME(test_get(&queue.consumer, 3, 7, RING_NO_WAIT), -EAGAIN);
    }
}

Test(mpmc, a_ring_full_of_cancelled_reservations_is_empty_to_a_consumer_and_then_has_room)
{
    in_each_way(cancel_many, SLOTS, MOST);
}

/* ---- Peeking ---- */

static void peek_several(void)
{
    struct ring_message seen[2 * SLOTS];
    uint64_t sent = 0, released = 0;
    for (size_t wanted = 1; wanted <= 2 * SLOTS; wanted++) {
        while (test_put(&queue.producer, test_length(sent, MOST), sent, RING_NO_WAIT) == 0)
            sent++;
        size_t due = wanted < SLOTS ? wanted : SLOTS;
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, wanted, RING_NO_WAIT), due);
        REQUIRE_SAME(test_queue_info(queue.segment).held, due);
        for (size_t left = due; left; left--) {
            ssize_t shown = ring_mpmc_peek_batch(&queue.consumer, seen, 2 * SLOTS, RING_NO_WAIT);
            REQUIRE_SAME(shown, left); /* those, and no more are taken */
            for (size_t i = 0; i < left; i++)
                REQUIRE(seen[i].length == test_length(released + i, MOST) && !seen[i].flags &&
                        test_matches(seen[i].data, seen[i].length, released + i));
            REQUIRE_SAME(ring_mpmc_release(&queue.consumer, left + 1), -EINVAL);
            REQUIRE_SAME(test_put(&queue.producer, 1, 0, RING_NO_WAIT), -EAGAIN);
            REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 1), 0);
            REQUIRE_SAME(test_put(&queue.producer, test_length(sent, MOST), sent, RING_NO_WAIT), 0);
            sent++, released++;
        }
    }
    test_get_many(&queue.consumer, MOST, released, sent - released, 0);
}

Test(mpmc, peeked_messages_stay_until_they_are_released_and_each_release_makes_room)
{
    in_each_way(peek_several, SLOTS, MOST);
}

static void receive_what_was_peeked(void)
{
    struct ring_message seen[4];
    for (uint64_t first = 0; first < 10 * SLOTS; first += SLOTS) {
        test_put_many(&queue.producer, MOST, first, SLOTS);
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, 3, RING_NO_WAIT), 3);
        test_get_many(&queue.consumer, MOST, first, 1, 0); /* the first peeked */
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, 3, RING_NO_WAIT), 2);
        REQUIRE(test_matches(seen[0].data, seen[0].length, first + 1));
        test_get_many(&queue.consumer, MOST, first + 1, SLOTS - 1, 0);
        REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 1), -EINVAL);
        REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 0), 0);
        REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, 0, RING_FOREVER), 0);
        REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, seen, RING_NO_WAIT), -EAGAIN);
    }
}

Test(mpmc, receiving_gives_the_peeked_messages_first)
{
    in_each_way(receive_what_was_peeked, SLOTS, MOST);
}

/* ---- Batches, arrays, types ---- */

static void send_and_receive_batches(void)
{
    enum { MANY = 700 };
    static uint64_t numbers[MANY], got[MANY];
    struct ring_message batch[MANY];
    uint64_t sent = 0, received = 0;
    for (size_t count = 0; count < MANY; count += 1 + count / 7) {
        for (size_t i = 0; i < count; i++) {
            numbers[i] = sent + i;
            batch[i] = (struct ring_message){ &numbers[i], 8, 0 };
        }
        ssize_t result = count % 2 ? ring_mpmc_send_batch(&queue.producer, batch, count, RING_NO_WAIT)
                                   : ring_mpmc_send_array(&queue.producer, numbers, 8, count, RING_NO_WAIT);
        size_t due = count < 512 ? count : 512;
        REQUIRE_SAME(result, due);
        sent += due;
        for (size_t taken = 0; taken < due;) {
            ssize_t some = ring_mpmc_recv_array(&queue.consumer, got, 8, MANY, RING_NO_WAIT);
            REQUIRE_SAME(some, due - taken);
            for (ssize_t i = 0; i < some; i++)
                REQUIRE_SAME(got[i], received++);
            taken += (size_t)some;
        }
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, got, 8, MANY, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, got, 8, 0, RING_FOREVER), 0);
    }
}

Test(mpmc, batches_and_arrays_of_any_number_arrive_as_far_as_there_is_room)
{
    in_each_way(send_and_receive_batches, 512, 8);
}

static void receive_arrays_of_one_length(void)
{
    unsigned char buffer[SLOTS * MOST];
    REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, "aabbcc", 2, 3, 0), 3);
    REQUIRE_SAME(ring_mpmc_send(&queue.producer, "d", 1, 0), 0);
    REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, "eeff", 2, 2, 0), 2);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, buffer, 2, SLOTS, 0), 3);
    REQUIRE(memcmp(buffer, "aabbcc", 6) == 0);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, buffer, 2, SLOTS, 0), -EMSGSIZE);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, buffer, 1, SLOTS, 0), 1);
    REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, buffer, 2, SLOTS, 0), 2);
    REQUIRE(memcmp(buffer, "eeff", 4) == 0);
}

Test(mpmc, an_array_is_received_up_to_the_first_message_of_another_length)
{
    in_each_way(receive_arrays_of_one_length, SLOTS, MOST);
}

struct quote {
    uint64_t instrument;
    double price;
    char place[9];
};

RING_MPMC_TYPE(quotes, struct quote);

static void pass_quotes(void)
{
    struct quote quote = { 0 }, several[3] = { { .instrument = 1 }, { .instrument = 2 }, { .instrument = 3 } };
    int error;
    for (uint64_t number = 0; number < 3 * SLOTS; number++) {
        quote = (struct quote){ number, 0.5 * (double)number, "here" };
        REQUIRE_SAME(quotes_send(&queue.producer, &quote, 0), 0);
        struct quote *place = quotes_reserve(&queue.producer, &error, 0);
        REQUIRE(place && !error);
        *place = (struct quote){ number + 1, 2, "there" };
        REQUIRE_SAME(quotes_commit(&queue.producer), 0);
        memset(&quote, 0, sizeof quote);
        REQUIRE_SAME(quotes_recv(&queue.consumer, &quote, 0), 1);
        REQUIRE(quote.instrument == number && quote.price == 0.5 * (double)number && !strcmp(quote.place, "here"));
        const struct quote *seen = quotes_peek(&queue.consumer, &error, 0);
        REQUIRE(seen && !error && seen->instrument == number + 1 && !strcmp(seen->place, "there"));
        REQUIRE_SAME(quotes_release(&queue.consumer, 1), 0);
    }
    REQUIRE_SAME(quotes_send_array(&queue.producer, several, 3, 0), 3);
    memset(several, 0, sizeof several);
    REQUIRE_SAME(quotes_recv_array(&queue.consumer, several, 3, 0), 3);
    REQUIRE_SAME(several[2].instrument, 3);
    REQUIRE_SAME(quotes_recv(&queue.consumer, &quote, 0), -EAGAIN);
    REQUIRE(!quotes_peek(&queue.consumer, &error, 0) && error == -EAGAIN);
    REQUIRE_SAME(ring_mpmc_send(&queue.producer, "short", 5, 0), 0);
    REQUIRE_SAME(quotes_recv(&queue.consumer, &quote, 0), -EMSGSIZE);
    REQUIRE_SAME(quotes_recv_array(&queue.consumer, several, 3, 0), -EMSGSIZE);
    REQUIRE(!quotes_peek(&queue.consumer, &error, 0) && error == -EMSGSIZE);
    REQUIRE_SAME(quotes_recv(&queue.consumer, &quote, 0), -EMSGSIZE); /* peeked or not */
    REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, large, 5, 0), 5);
}

Test(mpmc, messages_of_one_type_pass_and_those_of_another_length_are_refused)
{
    in_each_way(pass_quotes, SLOTS, sizeof(struct quote));
}
