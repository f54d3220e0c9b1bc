/* mpmc_traffic.c - many producers and consumers at once, in threads and in processes: each message arrives once, whole,
 * and in its producer's order at whoever receives it; while participants come and go, too. */
#include "mpmc.h"

#include <pthread.h>

enum { SOURCES = 4, BATCH = 16, MESSAGES = 1 << 18, PATIENCE = 20000000 };

/* In memory that all share. */
struct traffic {
    size_t most;      /* longest message */
    uint64_t each;    /* messages of each source */
    unsigned verbs;   /* 0: send and recv; 1: reserve and peek; 2: batches; 3: all in turn */
    uint64_t stay;    /* calls from coming to leaving; 0: to the end */
    unsigned sources; /* how many there are */
    bool settled;     /* source 0 and the first receiver stay to the end all the same */
    RING_ATOMIC(uint64_t) next_source, next_receiver, received;
    RING_ATOMIC(uint8_t) seen[SOURCES][MESSAGES];
};

struct message {
    uint64_t number;
    uint32_t source;
    unsigned char text[500]; /* as long as it follows from number and source */
};

enum { HEAD = offsetof(struct message, text) };

static uint64_t seed_of(uint64_t number, uint32_t source)
{
    return number * SOURCES + source;
}

static size_t write_message(struct message *message, uint64_t number, uint32_t source, size_t most)
{
    size_t text = test_length(seed_of(number, source), most - HEAD);
    memcpy(&message->number, &number, 8);
    memcpy(&message->source, &source, 4);
    test_fill(message->text, text, seed_of(number, source));
    return HEAD + text;
}

/* Whole, in order, and the first time? next[]: by source, what this receiver may get next at the earliest. */
static void check_message(struct traffic *traffic, const struct message *message, size_t length, uint64_t *next)
{
    REQUIRE(length >= HEAD && length <= traffic->most);
    uint64_t number = message->number;
    uint32_t source = message->source;
    REQUIRE(source < traffic->sources && number < traffic->each);
    REQUIRE_SAME(length, HEAD + test_length(seed_of(number, source), traffic->most - HEAD));
    REQUIRE(test_matches(message->text, length - HEAD, seed_of(number, source)));
    if (number < next[source])
        test_failed(__FILE__, __LINE__, "message %llu of source %u came after %llu", (unsigned long long)number, source,
                    (unsigned long long)next[source] - 1);
    next[source] = number + 1;
    if (atomic_fetch_add(&traffic->seen[source][number], 1) != 0)
        test_failed(__FILE__, __LINE__, "message %llu of source %u came twice", (unsigned long long)number, source);
}

/* Sends some from `number` on; how many, or -errno. */
static ssize_t send_some(struct traffic *traffic, struct ring_mpmc_producer *producer, uint32_t source, uint64_t number)
{
    static _Thread_local struct message messages[BATCH];
    struct ring_message batch[BATCH];
    unsigned verb = traffic->verbs < 3 ? traffic->verbs : (unsigned)(number / 32 % 3);
    if (verb == 0) {
        size_t length = write_message(messages, number, source, traffic->most);
        int code = ring_mpmc_send(producer, messages, length, TEST_LONG);
        return code ? code : 1;
    }
    if (verb == 1) {
        void *place;
        int code = ring_mpmc_reserve(producer, traffic->most, &place, TEST_LONG);
        if (code)
            return code;
        if (test_mix(number) % 16 == 0) {
            REQUIRE_SAME(ring_mpmc_cancel(producer), 0);
            code = ring_mpmc_reserve(producer, traffic->most, &place, TEST_LONG);
            if (code)
                return code;
        }
        REQUIRE_SAME(ring_mpmc_commit(producer, write_message(place, number, source, traffic->most)), 0);
        return 1;
    }
    size_t count = traffic->each - number < BATCH ? traffic->each - number : BATCH;
    for (size_t i = 0; i < count; i++)
        batch[i] =
            (struct ring_message){ &messages[i], write_message(&messages[i], number + i, source, traffic->most), 0 };
    ssize_t sent = ring_mpmc_send_batch(producer, batch, count, TEST_LONG);
    REQUIRE(sent != 0 && sent <= (ssize_t)count);
    return sent;
}

static int produce(void *argument)
{
    static _Thread_local struct ring_mpmc_producer producer;
    struct traffic *traffic = argument;
    struct ring_segment *segment = test_attach();
    uint32_t source = (uint32_t)atomic_fetch_add(&traffic->next_source, 1);
    uint64_t stay = traffic->settled && source == 0 ? 0 : traffic->stay;
    test_join_producer(&producer, segment);
    for (uint64_t number = 0, calls = 1; number < traffic->each; calls++) {
        ssize_t sent = send_some(traffic, &producer, source, number);
        REQUIRE(sent > 0 || (sent == -EPIPE && traffic->stay)); /* no consumer is there just now */
        if (sent > 0)
            number += (uint64_t)sent;
        else
            test_nap(100000);
        if (stay && calls % stay == 0) {
            REQUIRE_OK(ring_mpmc_close_producer(&producer));
            test_join_producer(&producer, segment);
        }
    }
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

/* Receives some; how many, or -errno. */
static ssize_t receive_some(struct traffic *traffic, struct ring_mpmc_consumer *consumer, uint64_t call, uint64_t *next)
{
    static _Thread_local struct message message;
    struct ring_message seen[BATCH];
    unsigned verb = traffic->verbs < 3 ? traffic->verbs : (unsigned)(call / 32 % 3);
    if (verb == 0) {
        ssize_t length = ring_mpmc_recv(consumer, &message, sizeof message, PATIENCE);
        if (length < 0)
            return length;
        REQUIRE_SAME(ring_mpmc_last_flags(consumer), 0);
        check_message(traffic, &message, (size_t)length, next);
        return 1;
    }
    ssize_t count = ring_mpmc_peek_batch(consumer, seen, verb == 1 ? 1 : BATCH, PATIENCE);
    for (ssize_t i = 0; i < count; i++) {
        REQUIRE_SAME(seen[i].flags, 0);
        check_message(traffic, seen[i].data, seen[i].length, next);
    }
    if (count > 0)
        REQUIRE_SAME(ring_mpmc_release(consumer, (size_t)count), 0);
    return count;
}

static int consume(void *argument)
{
    static _Thread_local struct ring_mpmc_consumer consumer;
    struct traffic *traffic = argument;
    uint64_t next[SOURCES] = { 0 };
    struct ring_segment *segment = test_attach();
    bool stays = atomic_fetch_add(&traffic->next_receiver, 1) == 0 && traffic->settled;
    uint64_t all = traffic->sources * traffic->each;
    test_join_consumer(&consumer, segment);
    for (uint64_t call = 1; atomic_load(&traffic->received) < all; call++) {
        ssize_t count = receive_some(traffic, &consumer, call, next);
        REQUIRE(count > 0 || count == -ETIMEDOUT || count == -EPIPE); /* nobody there just now, or no more */
        if (count > 0)
            atomic_fetch_add(&traffic->received, (uint64_t)count);
        else if (count == -EPIPE)
            test_nap(100000);
        if (traffic->stay && !stays && call % traffic->stay == 0) {
            REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
            test_join_consumer(&consumer, segment);
        }
    }
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

/* ---- Arrangements ---- */

static struct traffic *prepare(unsigned sources, uint64_t each, size_t slots, unsigned verbs, unsigned flags)
{
    struct traffic *traffic = test_shared(sizeof *traffic);
    traffic->most = 64;
    traffic->each = test_rounds(each) < MESSAGES ? test_rounds(each) : MESSAGES;
    traffic->verbs = verbs;
    traffic->sources = sources;
    struct ring_mpmc_options options = test_queue_options(slots, traffic->most, UINT64_C(0) - 1000);
    options.flags = flags;
    options.seats = 16;
    struct ring_segment *segment = test_queue_with(&options);
    REQUIRE_OK(ring_segment_close(&segment));
    return traffic;
}

static void finish(struct traffic *traffic)
{
    struct ring_segment *segment = test_attach();
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE(info.messages == 0 && info.held == 0 && info.dead == 0 && !info.producers && !info.consumers);
    for (unsigned source = 0; source < traffic->sources; source++)
        for (uint64_t number = 0; number < traffic->each; number++)
            REQUIRE_SAME(atomic_load(&traffic->seen[source][number]), 1);
    test_end_queue(segment);
}

static void *produce_in_thread(void *argument)
{
    produce(argument);
    return NULL;
}

static void *consume_in_thread(void *argument)
{
    consume(argument);
    return NULL;
}

static void between_threads(struct traffic *traffic, unsigned consumers)
{
    pthread_t threads[2 * SOURCES];
    for (unsigned i = 0; i < consumers; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, consume_in_thread, traffic), 0);
    for (unsigned i = 0; i < traffic->sources; i++)
        REQUIRE_SAME(pthread_create(&threads[consumers + i], NULL, produce_in_thread, traffic), 0);
    for (unsigned i = 0; i < consumers + traffic->sources; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
    finish(traffic);
}

static void between_processes(struct traffic *traffic, unsigned consumers)
{
    pid_t children[2 * SOURCES];
    for (unsigned i = 0; i < consumers + traffic->sources; i++)
        children[i] = test_spawn(i < consumers ? consume : produce, traffic);
    for (unsigned i = 0; i < consumers + traffic->sources; i++)
        test_wait(children[i]);
    finish(traffic);
}

Test(traffic, one_and_one_pass_everything_by_every_verb)
{
    for (unsigned verbs = 0; verbs < 4; verbs++) {
        between_threads(prepare(1, 40000, 64, verbs, 0), 1);
        between_processes(prepare(1, 20000, 64, verbs, verbs % 2 ? RING_MPMC_NO_SOLE : 0), 1);
    }
}

Test(traffic, two_and_two_pass_everything_by_every_verb)
{
    for (unsigned verbs = 0; verbs < 4; verbs++) {
        between_threads(prepare(2, 20000, 64, verbs, 0), 2);
        between_processes(prepare(2, 12000, 64, verbs, 0), 2);
    }
}

Test(traffic, four_and_four_pass_everything)
{
    between_threads(prepare(4, 30000, 128, 3, 0), 4);
    between_processes(prepare(4, 20000, 128, 3, 0), 4);
}

Test(traffic, many_to_one_and_one_to_many_pass_everything)
{
    between_threads(prepare(4, 8000, 32, 3, 0), 1);
    between_threads(prepare(1, 20000, 32, 3, 0), 4);
    between_processes(prepare(3, 8000, 32, 0, 0), 1);
    between_processes(prepare(1, 20000, 32, 2, 0), 3);
}

Test(traffic, the_smallest_rings_work_too)
{
    for (unsigned verbs = 0; verbs < 4; verbs++) {
        between_threads(prepare(1, 3000, 2, verbs, 0), 1);
        between_threads(prepare(3, 1000, 2, verbs, 0), 3);
        between_processes(prepare(2, 1000, 2, verbs, 0), 2);
    }
}

/* ---- Hand-over: nobody alone for long ---- */

static void hand_over(unsigned sources, unsigned consumers, uint64_t each, uint64_t stay, bool settled, unsigned flags)
{
    for (int processes = 0; processes < 2; processes++) {
        struct traffic *traffic = prepare(sources, each, 32, 3, flags);
        traffic->stay = stay;
        traffic->settled = settled;
        if (processes)
            between_processes(traffic, consumers);
        else
            between_threads(traffic, consumers);
    }
}

Test(traffic, a_second_producer_and_consumer_that_come_and_go_disturb_nobody)
{
    hand_over(2, 2, 10000, 50, true, 0);
    hand_over(2, 2, 5000, 3, true, 0);
    hand_over(2, 2, 5000, 1, true, 0);
}

Test(traffic, one_on_each_side_that_leaves_and_comes_again_and_again_goes_on_where_it_was)
{
    hand_over(1, 1, 3000, 7, false, 0);
    hand_over(1, 2, 3000, 2, false, 0);
    hand_over(2, 1, 3000, 1, false, 0);
}

Test(traffic, coming_and_going_works_where_nobody_may_be_alone)
{
    hand_over(2, 2, 5000, 5, true, RING_MPMC_NO_SOLE);
}

/* After those beside it are gone, one becomes alone again in the middle of its work: 4096 claims are counted first. */
Test(traffic, the_one_that_is_left_becomes_alone_again_without_losing_its_place)
{
    struct test_queue queue;
    uint64_t number = 0;
    test_queue_open(&queue, TEST_BESIDE_OTHERS, 16, 24, 0);
    for (int round = 0; round < 3; round++) {
        REQUIRE_OK(ring_mpmc_close_producer(&queue.other_producer));
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.other_consumer));
        for (int i = 0; i < 5000; i++, number++) {
            test_put_many(&queue.producer, 24, number, 1);
            test_get_many(&queue.consumer, 24, number, 1, 0);
        }
        struct ring_mpmc_info info = test_queue_info(queue.segment);
        REQUIRE(info.sole_producer && info.sole_consumer && info.tail == number && info.head == number);
        test_join_producer(&queue.other_producer, queue.segment);
        test_join_consumer(&queue.other_consumer, queue.segment);
        for (int i = 0; i < 100; i++, number++) {
            test_put_many(i % 2 ? &queue.producer : &queue.other_producer, 24, number, 1);
            test_get_many(i % 3 ? &queue.consumer : &queue.other_consumer, 24, number, 1, 0);
        }
        info = test_queue_info(queue.segment);
        REQUIRE(!info.sole_producer && !info.sole_consumer);
    }
    test_queue_close(&queue);
}
