/* spsc_traffic.c - both sides at once, in two processes and in two threads: millions of messages, each checked. */
#include "harness.h"

#include <pthread.h>

struct traffic {
    uint64_t messages;
    size_t longest;
    unsigned mode; /* which verbs: bit 0 of the producer's, bit 1 of the consumer's choice */
    struct ring_segment *segment; /* threads only */
};

enum { BATCH = 32 };

/* Number and length are in the message; the rest follows from the number. */
static size_t length_of(const struct traffic *traffic, uint64_t number)
{
    return 8 + (size_t)(number * 0x9e3779b97f4a7c15 >> 40) % (traffic->longest - 7);
}

static void write_message(unsigned char *to, uint64_t number, size_t length)
{
    memcpy(to, &number, 8);
    if (length > 8)
        test_fill(to + 8, length - 8, number);
}

static void check_message(const struct traffic *traffic, const unsigned char *message, size_t length, uint64_t number)
{
    uint64_t got;
    REQUIRE_SAME(length, length_of(traffic, number));
    memcpy(&got, message, 8);
    if (got != number)
        test_failed(__FILE__, __LINE__, "message %llu came where %llu was due", (unsigned long long)got,
                    (unsigned long long)number);
    REQUIRE(length == 8 || test_matches(message + 8, length - 8, number));
}

static void produce(const struct traffic *traffic, struct ring_spsc_producer *producer)
{
    static _Thread_local unsigned char texts[BATCH][4096];
    struct ring_message batch[BATCH];
    for (uint64_t number = 0; number < traffic->messages;) {
        size_t length = length_of(traffic, number);
        unsigned verb = traffic->mode & 1 ? (unsigned)(number / 64 % 3) : 0;
        if (verb == 0) {
            write_message(texts[0], number, length);
            REQUIRE_SAME(ring_spsc_send(producer, texts[0], length, TEST_LONG), 0);
            number++;
        } else if (verb == 1) {
            void *place;
            REQUIRE_SAME(ring_spsc_reserve(producer, traffic->longest, &place, TEST_LONG), 0);
            write_message(place, number, length);
            REQUIRE_SAME(ring_spsc_commit(producer, length), 0);
            number++;
        } else {
            size_t count = traffic->messages - number < BATCH ? traffic->messages - number : BATCH;
            for (size_t i = 0; i < count; i++) {
                batch[i] = (struct ring_message){ texts[i], length_of(traffic, number + i), 0 };
                write_message(texts[i], number + i, batch[i].length);
            }
            ssize_t sent = ring_spsc_send_batch(producer, batch, count, TEST_LONG);
            REQUIRE(sent >= 1);
            number += (uint64_t)sent;
        }
    }
}

static void consume(const struct traffic *traffic, struct ring_spsc_consumer *consumer)
{
    static _Thread_local unsigned char text[4096];
    struct ring_message seen[BATCH];
    for (uint64_t number = 0; number < traffic->messages;) {
        unsigned verb = traffic->mode & 2 ? (unsigned)(number / 50 % 3) : 0;
        if (verb == 0) {
            ssize_t length = ring_spsc_recv(consumer, text, sizeof text, TEST_LONG);
            REQUIRE(length >= 0);
            check_message(traffic, text, (size_t)length, number++);
        } else {
            ssize_t count = verb == 1 ? ring_spsc_peek(consumer, seen, TEST_LONG) + 1
                                      : ring_spsc_peek_batch(consumer, seen, BATCH, TEST_LONG);
            REQUIRE(count >= 1);
            for (ssize_t i = 0; i < count; i++)
                check_message(traffic, seen[i].data, seen[i].length, number++);
            REQUIRE_SAME(ring_spsc_release(consumer, (size_t)count), 0);
        }
    }
}

static int produce_in_child(void *argument)
{
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    produce(argument, &producer);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

static void pass_between_processes(struct traffic traffic, size_t bytes, size_t publish_bytes, uint64_t start)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    options.publish_bytes = publish_bytes;
    options.start_position = start;
    struct ring_segment *segment = test_create(4 << 20);
    REQUIRE_OK(ring_spsc_create_with(segment, "ring", &options));
    pid_t child = test_spawn(produce_in_child, &traffic);
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    consume(&traffic, &consumer);
    unsigned char byte;
    REQUIRE_SAME(ring_spsc_recv(&consumer, &byte, 1, TEST_LONG), -EPIPE);
    test_wait(child);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(traffic, ten_million_messages_pass_between_two_processes)
{
    pass_between_processes((struct traffic){ test_rounds(10000000), 64, 0, NULL }, RING_SPSC_DEFAULT_BYTES, 0, 0);
}

Test(traffic, messages_pass_between_two_processes_by_all_verbs)
{
    pass_between_processes((struct traffic){ test_rounds(3000000), 64, 3, NULL }, 65536, 0, 0);
    pass_between_processes((struct traffic){ test_rounds(300000), 1000, 3, NULL }, 4096, 0, UINT64_C(1) << 32);
    pass_between_processes((struct traffic){ test_rounds(300000), 4000, 3, NULL }, 1 << 20, 0, 0);
}

Test(traffic, messages_pass_between_two_processes_when_each_is_published)
{
    pass_between_processes((struct traffic){ test_rounds(1000000), 64, 0, NULL }, 4096, 1, 0);
    pass_between_processes((struct traffic){ test_rounds(1000000), 64, 3, NULL }, 65536, 1, 0);
}

Test(traffic, messages_pass_while_positions_pass_two_to_the_64)
{
    pass_between_processes((struct traffic){ test_rounds(1000000), 100, 3, NULL }, 8192, 0, UINT64_MAX - 7 - 5000000);
}

static void *produce_in_thread(void *argument)
{
    const struct traffic *traffic = argument;
    struct ring_spsc_producer producer;
    test_open_producer(&producer, traffic->segment);
    produce(traffic, &producer);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    return NULL;
}

static void *consume_in_thread(void *argument)
{
    const struct traffic *traffic = argument;
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, traffic->segment);
    consume(traffic, &consumer);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    return NULL;
}

static void pass_between_threads(struct traffic traffic, size_t bytes, size_t publish_bytes)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    options.publish_bytes = publish_bytes;
    traffic.segment = test_create(4 << 20);
    REQUIRE_OK(ring_spsc_create_with(traffic.segment, "ring", &options));
    pthread_t producer, consumer;
    REQUIRE_SAME(pthread_create(&producer, NULL, produce_in_thread, &traffic), 0);
    REQUIRE_SAME(pthread_create(&consumer, NULL, consume_in_thread, &traffic), 0);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
    REQUIRE_OK(ring_segment_close(&traffic.segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(traffic, messages_pass_between_two_threads_of_one_handle)
{
    pass_between_threads((struct traffic){ test_rounds(4000000), 64, 0, NULL }, RING_SPSC_DEFAULT_BYTES, 0);
}

Test(traffic, messages_pass_between_two_threads_by_all_verbs)
{
    pass_between_threads((struct traffic){ test_rounds(1000000), 64, 3, NULL }, 4096, 0);
    pass_between_threads((struct traffic){ test_rounds(300000), 500, 3, NULL }, 16384, 1);
    pass_between_threads((struct traffic){ test_rounds(100000), 4000, 3, NULL }, 1 << 20, 0);
}

struct thread_ring {
    struct ring_segment *segment;
    char name[16];
};

static void *use_own_ring(void *argument)
{
    struct thread_ring *ring = argument;
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_create(ring->segment, ring->name, 4096));
    for (uint64_t round = 0; round < 20; round++) {
        REQUIRE_OK(ring_spsc_open_producer(&producer, ring->segment, ring->name, 0));
        REQUIRE_OK(ring_spsc_open_consumer(&consumer, ring->segment, ring->name, 0));
        for (uint64_t i = 0; i < 50; i++) {
            test_send(&producer, i * 7, i);
            test_recv(&consumer, i * 7, i);
        }
        struct ring_segment_info info = { .struct_size = sizeof info };
        REQUIRE_OK(ring_segment_info(ring->segment, &info));
        REQUIRE_REFUSED(ring_spsc_create(ring->segment, ring->name, 4096), EEXIST);
        REQUIRE_OK(ring_spsc_close_producer(&producer));
        REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    }
    return NULL;
}

Test(traffic, one_segment_handle_serves_many_threads_at_once)
{
    enum { THREADS = 6 };
    struct ring_segment *segment = test_create(1 << 20);
    struct thread_ring rings[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        rings[i].segment = segment;
        snprintf(rings[i].name, sizeof rings[i].name, "ring%d", i);
        REQUIRE_SAME(pthread_create(&threads[i], NULL, use_own_ring, &rings[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    REQUIRE_OK(ring_segment_close(&segment));
}
