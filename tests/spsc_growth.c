/* spsc_growth.c - a ring is replaced by a larger one while messages run: none is lost, doubled or out of order. */
#include "growth.h"

#include <pthread.h>

enum { SEGMENT = 1 << 20 };

Test(spsc_growth, messages_of_the_old_ring_come_before_those_of_the_new_one)
{
    struct test_pair pair;
    char byte;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 20);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_SAME(pair.producer.capacity, 2 * SMALL);
    test_send_many(&pair.producer, 20, 50);
    test_recv_many(&pair.consumer, 0, 70);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, RING_NO_WAIT), -EAGAIN);
    test_pair_close(&pair);
}

Test(spsc_growth, a_ring_grows_many_times_before_its_consumer_looks)
{
    struct test_pair pair;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 10);
    for (unsigned i = 1; i <= 5; i++) {
        REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
        if (i != 3) /* one generation stays without messages */
            test_send_many(&pair.producer, 10 * i, 10);
    }
    test_recv_many(&pair.consumer, 0, 30);
    test_recv_many(&pair.consumer, 40, 20);
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_ALIVE);
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_ALIVE);
    test_pair_close(&pair);
}

Test(spsc_growth, a_message_too_long_for_the_old_ring_fits_the_new_one)
{
    struct test_pair pair;
    static char message[3 * SMALL];
    test_growing_pair(&pair);
    REQUIRE_SAME(ring_spsc_send(&pair.producer, message, sizeof message, RING_NO_WAIT), -EMSGSIZE);
    test_grow_to(&pair.producer, 12 * SMALL);
    test_send(&pair.producer, sizeof message, 5);
    test_recv(&pair.consumer, sizeof message, 5);
    test_pair_close(&pair);
}

Test(spsc_growth, a_full_ring_grows_and_the_producer_goes_on)
{
    struct test_pair pair;
    uint64_t sent = 0;
    test_growing_pair(&pair);
    for (unsigned i = 0; i < 4; i++) {
        while (ring_spsc_send(&pair.producer, &sent, sizeof sent, RING_NO_WAIT) == 0)
            sent++;
        REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    }
    for (uint64_t i = 0; i < sent; i++) {
        uint64_t got = 0;
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &got, sizeof got, RING_NO_WAIT), sizeof got);
        REQUIRE_SAME(got, i);
    }
    test_pair_close(&pair);
}

Test(spsc_growth, peeked_messages_of_the_old_ring_are_released_there)
{
    struct test_pair pair;
    struct ring_message messages[8];
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 3);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    test_send_many(&pair.producer, 3, 3);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, messages, 8, RING_NO_WAIT), 3);
    REQUIRE_SAME(ring_spsc_release(&pair.consumer, 1), 0);
    REQUIRE(test_matches(messages[1].data, messages[1].length, 1));
    REQUIRE_SAME(ring_spsc_release(&pair.consumer, 2), 0);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, messages, 8, RING_NO_WAIT), 3);
    REQUIRE(test_matches(messages[0].data, messages[0].length, 3));
    REQUIRE_SAME(ring_spsc_release(&pair.consumer, 3), 0);
    test_pair_close(&pair);
}

Test(spsc_growth, what_was_peeked_in_the_old_ring_and_received_cannot_be_released_in_the_new_one)
{
    struct test_pair pair;
    struct ring_message messages[2];
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 2);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    test_send_many(&pair.producer, 2, 2);
    REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, messages, 2, RING_NO_WAIT), 2);
    test_recv_many(&pair.consumer, 0, 3);
    REQUIRE_SAME(ring_spsc_release(&pair.consumer, 2), -EINVAL);
    test_recv_many(&pair.consumer, 3, 1);
    test_pair_close(&pair);
}

Test(spsc_growth, packs_are_followed_by_messages_of_the_new_ring)
{
    struct test_pair pair;
    uint64_t numbers[64], got[64];
    for (uint64_t i = 0; i < 64; i++)
        numbers[i] = i;
    test_growing_pair(&pair);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, numbers, 8, 32, RING_NO_WAIT), 32);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, numbers + 32, 8, 32, RING_NO_WAIT), 32);
    for (size_t taken = 0; taken < 64;) {
        ssize_t now = ring_spsc_recv_array(&pair.consumer, got + taken, 8, 5, RING_NO_WAIT);
        REQUIRE(now > 0);
        taken += (size_t)now;
    }
    REQUIRE(memcmp(numbers, got, sizeof got) == 0);
    test_pair_close(&pair);
}

Test(spsc_growth, the_room_of_generations_that_both_sides_left_is_given_back)
{
    struct test_pair pair;
    struct ring_segment_info info = { .struct_size = sizeof info };
    test_growing_pair(&pair);
    for (uint64_t i = 0; i < 6; i++) {
        REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
        test_send_many(&pair.producer, i, 1);
        REQUIRE_OK(ring_segment_info(pair.segment, &info));
        REQUIRE(info.rings <= 2);
        test_recv_many(&pair.consumer, i, 1);
    }
    test_pair_close(&pair);
}

Test(spsc_growth, the_room_of_a_generation_with_messages_is_kept)
{
    struct test_pair pair;
    struct ring_segment_info info = { .struct_size = sizeof info };
    test_growing_pair(&pair);
    for (uint64_t i = 0; i < 4; i++) {
        test_send_many(&pair.producer, i, 1);
        REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    }
    REQUIRE_OK(ring_segment_info(pair.segment, &info));
    REQUIRE_SAME(info.rings, 5);
    test_recv_many(&pair.consumer, 0, 2);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_OK(ring_segment_info(pair.segment, &info));
    REQUIRE_SAME(info.rings, 5); /* the first went, one came */
    test_recv_many(&pair.consumer, 2, 2);
    test_pair_close(&pair);
}

/* ---- Who comes later ---- */

Test(spsc_growth, the_name_leads_a_later_producer_to_the_newest_ring_and_a_later_consumer_to_the_oldest)
{
    struct test_pair pair;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 5);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    test_send_many(&pair.producer, 5, 5);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    test_recv_many(&pair.consumer, 0, 2);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    test_open_producer(&pair.producer, pair.segment);
    REQUIRE_SAME(pair.producer.capacity, 2 * SMALL);
    test_send_many(&pair.producer, 10, 5);
    test_open_consumer(&pair.consumer, pair.segment);
    test_recv_many(&pair.consumer, 2, 13);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    test_open_consumer(&pair.consumer, pair.segment);
    test_send_many(&pair.producer, 15, 1);
    test_recv_many(&pair.consumer, 15, 1);
    test_pair_close(&pair);
}

Test(spsc_growth, roles_stay_exclusive_whichever_generation_their_holders_are_in)
{
    struct test_pair pair;
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 1);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, pair.segment, "ring", RING_NO_WAIT), EBUSY);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, pair.segment, "ring", RING_NO_WAIT), EBUSY);
    test_send_many(&pair.producer, 1, 1);
    test_recv_many(&pair.consumer, 0, 2);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, pair.segment, "ring", RING_NO_WAIT), EBUSY);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, pair.segment, "ring", RING_NO_WAIT), EBUSY);
    test_send_many(&pair.producer, 2, 1);
    test_recv_many(&pair.consumer, 2, 1);
    test_pair_close(&pair);
}

Test(spsc_growth, both_sides_are_told_the_truth_about_a_peer_in_another_generation)
{
    struct test_pair pair;
    char byte;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 1);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_ALIVE);
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_ALIVE);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_CLOSED);
    test_open_consumer(&pair.consumer, pair.segment);
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_ALIVE);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_CLOSED);
    test_recv_many(&pair.consumer, 0, 1);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, TEST_LONG), -EPIPE);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    REQUIRE_OK(ring_segment_close(&pair.segment));
}

Test(spsc_growth, a_producer_that_waits_for_room_learns_that_the_consumer_left_in_the_old_ring)
{
    struct test_pair pair;
    uint64_t word = 0;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 1);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    while (ring_spsc_send(&pair.producer, &word, sizeof word, RING_NO_WAIT) == 0)
        continue;
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    REQUIRE_SAME(ring_spsc_send(&pair.producer, &word, sizeof word, TEST_LONG), -EPIPE);
    test_open_consumer(&pair.consumer, pair.segment);
    test_recv_many(&pair.consumer, 0, 1);
    test_pair_close(&pair);
}

/* ---- Without a producer ---- */

Test(spsc_growth, a_ring_without_a_producer_grows_and_its_consumer_learns_nothing_of_it)
{
    struct test_pair pair;
    char byte;
    pair.segment = test_create(ROOM);
    REQUIRE_OK(ring_spsc_create(pair.segment, "ring", SMALL));
    test_open_consumer(&pair.consumer, pair.segment);
    for (unsigned i = 0; i < 2; i++) { /* a role that nobody ever had stays so, however often this happens */
        REQUIRE_OK(ring_spsc_grow_unattended(pair.segment, "ring", NULL));
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, 1000000), -ETIMEDOUT);
        REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_NEVER);
    }
    test_open_producer(&pair.producer, pair.segment);
    REQUIRE_SAME(pair.producer.capacity, 4 * SMALL);
    test_send_many(&pair.producer, 0, 10);
    REQUIRE_REFUSED(ring_spsc_grow_unattended(pair.segment, "ring", NULL), EBUSY);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_OK(ring_spsc_grow_unattended(pair.segment, "ring", NULL));
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_CLOSED);
    test_recv_many(&pair.consumer, 0, 10);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, TEST_LONG), -EPIPE);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    REQUIRE_OK(ring_segment_close(&pair.segment));
}

Test(spsc_growth, a_ring_that_cannot_grow_without_a_producer_is_left_as_it_was)
{
    struct test_pair pair;
    struct ring_spsc_options options = ring_spsc_defaults();
    char byte;
    pair.segment = test_create(ROOM);
    REQUIRE_OK(ring_spsc_create(pair.segment, "ring", SMALL));
    test_open_consumer(&pair.consumer, pair.segment);
    options.bytes = 8 * ROOM;
    REQUIRE_REFUSED(ring_spsc_grow_unattended(pair.segment, "ring", &options), ENOSPC);
    REQUIRE_REFUSED(ring_spsc_grow_unattended(pair.segment, "none", NULL), ENOENT);
    REQUIRE_REFUSED(ring_spsc_grow_unattended(NULL, "ring", NULL), EINVAL);
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_NEVER);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, 1000000), -ETIMEDOUT);
    test_open_producer(&pair.producer, pair.segment);
    /* Proofs of death lean on that the number of a tenure never comes again. */
    REQUIRE_SAME(ring_atomic_load(&pair.producer.control->producer.state, memory_order_relaxed) >> 8, 2);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(pair.segment, "ring", &info));
    REQUIRE_SAME(info.producer.tenures, 1);
    test_send_many(&pair.producer, 0, 3);
    test_recv_many(&pair.consumer, 0, 3);
    test_pair_close(&pair);
}

Test(spsc_growth, information_tells_the_generations_apart)
{
    struct test_pair pair;
    struct ring_spsc_info info = { .struct_size = sizeof info };
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 3);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_OK(ring_spsc_info(pair.segment, "ring", &info));
    REQUIRE(info.generation == 0 && info.moved && info.messages == 3);
    REQUIRE_OK(ring_spsc_info(pair.segment, "ring~1", &info));
    REQUIRE(info.generation == 1 && !info.moved && info.messages == 0);
    info = (struct ring_spsc_info){ .struct_size = offsetof(struct ring_spsc_info, generation), .generation = 9 };
    REQUIRE_OK(ring_spsc_info(pair.segment, "ring", &info)); /* by one who knows the older struct */
    REQUIRE(info.messages == 3 && info.generation == 9);
    test_recv_many(&pair.consumer, 0, 3);
    test_pair_close(&pair);
}

/* ---- Refusals ---- */

Test(spsc_growth, growth_that_cannot_be_is_refused_and_the_ring_goes_on)
{
    struct test_pair pair;
    struct ring_spsc_options options = ring_spsc_defaults();
    void *place;
    test_growing_pair(&pair);
    options.bytes = SMALL;
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, &options), EINVAL);
    options.bytes = RING_SPSC_MAX_BYTES * 2;
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, &options), EINVAL);
    options.bytes = ROOM * 8;
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, &options), ENOSPC);
    options.bytes = 2 * SMALL;
    options.publish_bytes = 2 * SMALL;
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, &options), EINVAL);
    options.struct_size = 1;
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, &options), EINVAL);
    REQUIRE_REFUSED(ring_spsc_grow(NULL, NULL), EBADF);
    REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 8, &place, RING_NO_WAIT), 0);
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, NULL), EBUSY);
    REQUIRE_SAME(ring_spsc_cancel(&pair.producer), 0);
    REQUIRE_OK(ring_spsc_create(pair.segment, "ring~1", SMALL));
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, NULL), EEXIST);
    REQUIRE_SAME(pair.producer.capacity, SMALL);
    test_send_many(&pair.producer, 0, 3);
    test_recv_many(&pair.consumer, 0, 3);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, NULL), EBADF);
    test_open_producer(&pair.producer, pair.segment);
    test_pair_close(&pair);
}

Test(spsc_growth, a_name_that_leaves_no_room_for_a_generation_is_refused)
{
    char name[RING_NAME_MAX + 1];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct ring_segment *segment = test_create(SEGMENT);
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_create(segment, name, SMALL));
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, name, RING_NO_WAIT));
    REQUIRE_REFUSED(ring_spsc_grow(&producer, NULL), ENAMETOOLONG);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- While both run ---- */

struct stream {
    struct test_pair pair;
    RING_ATOMIC(uint64_t) go_on;
    uint64_t messages;
    uint64_t seed;
    int64_t timeout_ns;
};

static void *send_stream(void *argument)
{
    struct stream *stream = argument;
    struct test_random random = { stream->seed };
    uint64_t words[8] = { 0 };
    for (uint64_t i = 0; i < stream->messages; i++) {
        words[0] = i;
        int code = ring_spsc_send(&stream->pair.producer, words, 8 + 8 * test_below(&random, 7), RING_NO_WAIT);
        if (code == -EAGAIN || test_below(&random, stream->messages / 6) == 0) {
            int grown = stream->pair.producer.capacity < (256 << 10) ? ring_spsc_grow(&stream->pair.producer, NULL) : 0;
            REQUIRE_OK(grown);
        }
        if (code == -EAGAIN)
            REQUIRE_SAME(ring_spsc_send(&stream->pair.producer, words, 8, TEST_LONG), 0);
        else
            REQUIRE_SAME(code, 0);
        if (stream->timeout_ns && test_below(&random, 1000) == 0)
            test_nap(50000); /* lets the consumer fall asleep */
    }
    return NULL;
}

static void run_stream(uint64_t messages, int64_t timeout_ns, uint64_t seed)
{
    static struct stream stream;
    struct test_random random = { ~seed };
    pthread_t thread;
    memset(&stream, 0, sizeof stream);
    stream.messages = test_rounds(messages);
    stream.timeout_ns = timeout_ns;
    stream.seed = seed;
    test_growing_pair(&stream.pair);
    REQUIRE_SAME(pthread_create(&thread, NULL, send_stream, &stream), 0);
    uint64_t next = 0;
    while (next < stream.messages) {
        struct ring_message messages_seen[16];
        uint64_t words[8];
        if (test_below(&random, 2)) {
            ssize_t length = ring_spsc_recv(&stream.pair.consumer, words, sizeof words, timeout_ns);
            REQUIRE(length >= 8 || length == -EAGAIN);
            if (length > 0)
                REQUIRE_SAME(words[0], next++);
        } else {
            ssize_t count = ring_spsc_peek_batch(&stream.pair.consumer, messages_seen, 16, timeout_ns);
            REQUIRE(count > 0 || count == -EAGAIN);
            for (ssize_t i = 0; i < count; i++) {
                memcpy(words, messages_seen[i].data, 8);
                REQUIRE_SAME(words[0], next++);
            }
            if (count > 0)
                REQUIRE_SAME(ring_spsc_release(&stream.pair.consumer, (size_t)count), 0);
        }
        REQUIRE_SAME(ring_spsc_last_flags(&stream.pair.consumer), 0);
    }
    REQUIRE_SAME(pthread_join(thread, NULL), 0);
    test_pair_close(&stream.pair);
}

Test(spsc_growth, a_stream_loses_nothing_while_its_ring_grows_under_a_polling_consumer)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        run_stream(40000, RING_NO_WAIT, seed);
}

Test(spsc_growth, a_stream_loses_nothing_while_its_ring_grows_under_a_sleeping_consumer)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        run_stream(20000, TEST_LONG, seed);
}
