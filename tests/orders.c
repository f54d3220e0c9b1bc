/* orders.c - for ThreadSanitizer: threads that use one mapping of one ring and share nothing else, so that the orders
 * of the ring's own words are all that keeps a message's bytes from racing. x86 shows no order that is too weak; here
 * each is a data race. Elsewhere: a check that all of it arrives. */
#include "harness.h"

#include <pthread.h>

enum { LENGTH = 104, WORDS = LENGTH / 8, BATCH = 7 };

static struct ring_segment *segment;
static uint64_t each; /* messages of one producer */
static pthread_barrier_t all_open;

static void write_words(uint64_t *words, uint64_t number)
{
    for (int i = 0; i < WORDS; i++)
        words[i] = number + (uint64_t)i;
}

static void check_words(const uint64_t *words)
{
    for (int i = 0; i < WORDS; i++)
        REQUIRE_SAME(words[i], words[0] + (uint64_t)i);
}

static void *produce(void *argument)
{
    static _Thread_local struct ring_mpmc_producer producer;
    uint64_t messages[BATCH][WORDS];
    void *place;
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "ring", TEST_LONG));
    pthread_barrier_wait(&all_open); /* else consumers may find that the first of the producers was all */
    for (uint64_t number = 0; number < each;) {
        size_t count = each - number < BATCH ? each - number : BATCH;
        for (size_t i = 0; i < count; i++)
            write_words(messages[i], number + i);
        ssize_t sent = 1;
        if (number / 64 % 3 == 0) {
            sent = ring_mpmc_send_array(&producer, messages, LENGTH, count, TEST_LONG);
        } else if (number / 64 % 3 == 1) {
            REQUIRE_SAME(ring_mpmc_reserve(&producer, LENGTH, &place, TEST_LONG), 0);
            write_words(place, number);
            REQUIRE_SAME(ring_mpmc_commit(&producer, LENGTH), 0);
        } else {
            REQUIRE_SAME(ring_mpmc_send(&producer, messages[0], LENGTH, TEST_LONG), 0);
        }
        REQUIRE(sent > 0);
        number += (uint64_t)sent;
    }
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    return argument;
}

static void *consume(void *argument)
{
    static _Thread_local struct ring_mpmc_consumer consumer;
    uint64_t messages[BATCH][WORDS], *received = argument;
    struct ring_message seen[BATCH];
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "ring", TEST_LONG));
    pthread_barrier_wait(&all_open);
    for (uint64_t call = 0;; call++) {
        ssize_t count;
        if (call % 3 == 0) {
            count = ring_mpmc_peek_batch(&consumer, seen, BATCH, TEST_SECOND / 50);
            for (ssize_t i = 0; i < count; i++)
                check_words(seen[i].data);
            if (count > 0)
                REQUIRE_SAME(ring_mpmc_release(&consumer, (size_t)count), 0);
        } else if (call % 3 == 1) {
            count = ring_mpmc_recv_array(&consumer, messages, LENGTH, BATCH, TEST_SECOND / 50);
            for (ssize_t i = 0; i < count; i++)
                check_words(messages[i]);
        } else {
            count = ring_mpmc_recv(&consumer, messages, sizeof messages, TEST_SECOND / 50);
            if (count > 0) {
                check_words(messages[0]);
                count = 1;
            }
        }
        if (count == -EPIPE)
            break;
        REQUIRE(count > 0 || count == -ETIMEDOUT);
        *received += count > 0 ? (uint64_t)count : 0;
    }
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    return argument;
}

static void pass(unsigned producers, unsigned consumers, unsigned flags)
{
    enum { MOST = 4 };
    pthread_t threads[2 * MOST];
    uint64_t received[MOST][16] = { { 0 } }, sum = 0; /* apart, so that they share no line */
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = 64;
    options.slot_bytes = LENGTH;
    options.flags = flags;
    each = test_rounds(100000);
    segment = test_create(1 << 17);
    REQUIRE_OK(ring_mpmc_create_with(segment, "ring", &options));
    pthread_barrier_init(&all_open, NULL, producers + consumers);
    for (unsigned i = 0; i < producers; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, produce, NULL), 0);
    for (unsigned i = 0; i < consumers; i++)
        REQUIRE_SAME(pthread_create(&threads[producers + i], NULL, consume, received[i]), 0);
    for (unsigned i = 0; i < producers + consumers; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_open);
    for (unsigned i = 0; i < consumers; i++)
        sum += received[i][0];
    REQUIRE_SAME(sum, producers * each);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(orders, of_an_mpmc_ring_suffice_for_one_and_one)
{
    pass(1, 1, 0);
}

Test(orders, of_an_mpmc_ring_suffice_for_one_and_one_that_share)
{
    pass(1, 1, RING_MPMC_NO_SOLE);
}

Test(orders, of_an_mpmc_ring_suffice_for_two_and_two)
{
    pass(2, 2, 0);
}

/* ---- Broadcast ---- */

static void *tell(void *argument)
{
    static struct ring_broadcast_producer producer;
    uint64_t message[WORDS];
    REQUIRE_OK(ring_broadcast_open_producer(&producer, segment, "news", TEST_LONG));
    for (uint64_t number = 0; number < each; number++) {
        write_words(message, number);
        REQUIRE_SAME(ring_broadcast_send(&producer, message, LENGTH, TEST_LONG), 0);
    }
    REQUIRE_OK(ring_broadcast_close_producer(&producer));
    return argument;
}

static void *hear(void *argument)
{
    struct ring_broadcast_consumer *consumer = argument;
    uint64_t message[WORDS];
    ssize_t length;
    for (uint64_t next = 0; (length = ring_broadcast_recv(consumer, message, sizeof message, TEST_LONG)) >= 0; next++) {
        REQUIRE_SAME(message[0], next);
        check_words(message);
    }
    REQUIRE(length == -EPIPE && ring_broadcast_position(consumer) == each);
    return argument;
}

Test(orders, of_a_broadcast_ring_suffice)
{
    static struct ring_broadcast_consumer consumers[2];
    pthread_t threads[3];
    each = test_rounds(100000);
    segment = test_create(1 << 17);
    REQUIRE_OK(ring_broadcast_create(segment, "news", 64, LENGTH, RING_BROADCAST_LOSSLESS));
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(ring_broadcast_open_consumer(&consumers[i], segment, "news", RING_BROADCAST_OLDEST, 0, TEST_LONG));
        REQUIRE_SAME(pthread_create(&threads[i], NULL, hear, &consumers[i]), 0);
    }
    REQUIRE_SAME(pthread_create(&threads[2], NULL, tell, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        REQUIRE_OK(ring_broadcast_close_consumer(&consumers[i]));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}
