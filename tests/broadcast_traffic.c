/* broadcast_traffic.c - a producer that runs and consumers that run beside it, in threads and in processes: nothing
 * torn, nothing twice, and what is not received is counted, to the last message. */
#include "broadcast.h"

#include <pthread.h>

enum { MOST = 200, CONSUMERS = 3 };

struct traffic {
    enum ring_broadcast_policy policy;
    RING_ATOMIC(uint64_t) count;
    int64_t lag_ns; /* naps of a consumer now and then, so that it falls behind */
    int verbs;      /* 0 recv, 1 peek and release, 2 batches */
    size_t most;    /* longest message */
    RING_ATOMIC(uint64_t) joined;
    RING_ATOMIC(uint64_t) overflows;
    RING_ATOMIC(uint64_t) received;
};

static const uint64_t start = UINT64_MAX - 5000; /* a wrap of the numbers is on the way */

static int produce(void *argument)
{
    struct traffic *traffic = argument;
    struct ring_segment *segment = test_attach();
    struct ring_broadcast_producer sender;
    test_sender(&sender, segment);
    test_await(&traffic->joined, CONSUMERS);
    static _Thread_local unsigned char texts[8][1 << 12];
    struct ring_message batch[8];
    while (ring_broadcast_sent(&sender) - start < traffic->count) {
        if (traffic->verbs < 2) {
            REQUIRE_SAME(test_tell(&sender, traffic->most, TEST_LONG), 0);
            continue;
        }
        for (uint64_t i = 0; i < 8; i++)
            batch[i] =
                (struct ring_message){ texts[i],
                                       test_write_news(texts[i], ring_broadcast_sent(&sender) + i, traffic->most), 0 };
        REQUIRE(ring_broadcast_send_batch(&sender, batch, 8, TEST_LONG) > 0);
    }
    atomic_store(&traffic->count, ring_broadcast_sent(&sender) - start);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

/* Bytes of a message where it lies, read as the ring itself reads them: another core may be writing there. */
static void copy_from_ring(unsigned char *to, const struct ring_message *message)
{
    ring_broadcast_copy_out(to, message->data, message->length);
}

/* Takes one message or a batch: how many, or -errno. */
static ssize_t take(struct ring_broadcast_consumer *receiver, const struct traffic *traffic)
{
    static _Thread_local unsigned char texts[8][1 << 12];
    struct ring_message batch[8];
    if (traffic->verbs == 0) {
        int code = test_hear(receiver, traffic->most, TEST_LONG);
        return code ? code : 1;
    }
    uint64_t number = ring_broadcast_position(receiver);
    ssize_t seen = ring_broadcast_peek_batch(receiver, batch, traffic->verbs == 1 ? 1 : 8, TEST_LONG);
    for (ssize_t i = 0; i < seen; i++)
        copy_from_ring(texts[i], &batch[i]);
    if (seen <= 0)
        return seen;
    int code = ring_broadcast_release(receiver, (size_t)seen);
    for (ssize_t i = 0; i < seen && code == 0; i++)
        REQUIRE(test_is_news(texts[i], batch[i].length, number + (uint64_t)i, traffic->most));
    return code ? code : seen;
}

static int consume(void *argument)
{
    struct traffic *traffic = argument;
    struct ring_segment *segment = test_attach();
    struct ring_broadcast_consumer receiver;
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    REQUIRE(ring_broadcast_position(&receiver) == start);
    atomic_fetch_add(&traffic->joined, 1);
    uint64_t heard = 0, lost = 0, overflows = 0;
    for (ssize_t code = 0; code != -EPIPE;) {
        code = take(&receiver, traffic);
        if (code > 0) {
            heard += (uint64_t)code;
        } else if (code == -EOVERFLOW) {
            lost += ring_broadcast_lost(&receiver);
            overflows++;
        } else {
            REQUIRE_SAME(code, -EPIPE);
        }
        REQUIRE_SAME(heard + lost, ring_broadcast_position(&receiver) - start);
        if (traffic->lag_ns && heard % 4096 == 0)
            test_nap(traffic->lag_ns);
    }
    REQUIRE_SAME(heard + lost, atomic_load(&traffic->count));
    REQUIRE(traffic->policy == RING_BROADCAST_OVERWRITE || lost == 0);
    atomic_fetch_add(&traffic->overflows, overflows);
    atomic_fetch_add(&traffic->received, heard);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

static struct traffic *begin(enum ring_broadcast_policy policy, size_t slots, size_t most, int verbs, uint64_t count)
{
    struct traffic *traffic = test_shared(sizeof *traffic);
    traffic->policy = policy;
    atomic_store(&traffic->count, test_rounds(count));
    traffic->verbs = verbs;
    traffic->most = most;
    struct ring_segment *segment = test_news(policy, slots, most, CONSUMERS, start);
    REQUIRE_OK(ring_segment_close(&segment));
    return traffic;
}

static void end(struct traffic *traffic)
{
    REQUIRE(atomic_load(&traffic->received) > 0);
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static void between_processes(struct traffic *traffic)
{
    pid_t children[CONSUMERS];
    for (int i = 0; i < CONSUMERS; i++)
        children[i] = test_spawn(consume, traffic);
    test_wait(test_spawn(produce, traffic));
    for (int i = 0; i < CONSUMERS; i++)
        test_wait(children[i]);
    end(traffic);
}

static void *consume_in_thread(void *argument)
{
    consume(argument);
    return NULL;
}

static void between_threads(struct traffic *traffic)
{
    pthread_t threads[CONSUMERS];
    for (int i = 0; i < CONSUMERS; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, consume_in_thread, traffic), 0);
    produce(traffic);
    for (int i = 0; i < CONSUMERS; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
    end(traffic);
}

Test(traffic, lossless_brings_everything_to_every_process)
{
    for (int verbs = 0; verbs < 3; verbs++)
        between_processes(begin(RING_BROADCAST_LOSSLESS, 64, MOST, verbs, 60000));
}

Test(traffic, lossless_brings_everything_to_every_thread)
{
    for (int verbs = 0; verbs < 3; verbs++)
        between_threads(begin(RING_BROADCAST_LOSSLESS, 64, MOST, verbs, 60000));
}

Test(traffic, the_smallest_lossless_ring_works_too)
{
    between_threads(begin(RING_BROADCAST_LOSSLESS, 2, 48, 0, 3000));
    between_processes(begin(RING_BROADCAST_LOSSLESS, 4, 48, 2, 6000));
}

Test(traffic, overtaken_processes_count_every_loss_and_see_nothing_torn)
{
    for (int verbs = 0; verbs < 3; verbs++) {
        struct traffic *traffic = begin(RING_BROADCAST_OVERWRITE, 32, MOST, verbs, 600000);
        traffic->lag_ns = 100000;
        between_processes(traffic);
        REQUIRE(atomic_load(&traffic->overflows) > 0);
    }
}

Test(traffic, overtaken_threads_count_every_loss_and_see_nothing_torn)
{
    for (int verbs = 0; verbs < 3; verbs++) {
        struct traffic *traffic = begin(RING_BROADCAST_OVERWRITE, 32, MOST, verbs, 600000);
        traffic->lag_ns = 100000;
        between_threads(traffic);
        REQUIRE(atomic_load(&traffic->overflows) > 0);
    }
}

Test(traffic, long_messages_are_not_torn_either_when_the_ring_has_two_slots)
{
    struct traffic *traffic = begin(RING_BROADCAST_OVERWRITE, 2, 4000, 0, 100000);
    traffic->lag_ns = 100000;
    between_processes(traffic);
    REQUIRE(atomic_load(&traffic->overflows) > 0);
    between_threads(begin(RING_BROADCAST_OVERWRITE, 4, 1000, 0, 100000));
}

/* ---- Coming and going while messages stream ---- */

static int stream(void *argument)
{
    struct traffic *traffic = argument;
    struct ring_segment *segment = test_attach();
    struct ring_broadcast_producer sender;
    test_sender(&sender, segment);
    while (!atomic_load(&traffic->joined))
        REQUIRE_SAME(test_tell(&sender, MOST, TEST_LONG), 0);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

/* Who has joined a lossless ring loses nothing from then on, wherever it joined and however fast the producer was. */
Test(traffic, joining_a_running_lossless_ring_loses_nothing_afterwards)
{
    struct traffic *traffic = begin(RING_BROADCAST_LOSSLESS, 16, MOST, 0, 0);
    pid_t child = test_spawn(stream, traffic);
    struct ring_segment *segment = test_attach();
    struct ring_broadcast_consumer receiver;
    struct test_random random = { 3 };
    for (uint64_t round = 0; round < test_rounds(1500); round++) {
        enum ring_broadcast_join join = (enum ring_broadcast_join)test_below(&random, 3);
        uint64_t back = test_below(&random, 40), tail = test_news_info(segment).tail;
        uint64_t wanted = tail - start < back ? start : tail - back;
        REQUIRE_OK(ring_broadcast_open_consumer(&receiver, segment, "news", join, wanted, 0));
        uint64_t first = ring_broadcast_position(&receiver);
        int code = test_hear(&receiver, MOST, TEST_LONG);
        if (code == -EOVERFLOW) {
            REQUIRE_SAME(join, RING_BROADCAST_AT);
            REQUIRE_SAME(first - wanted, ring_broadcast_lost(&receiver));
            code = test_hear(&receiver, MOST, TEST_LONG);
        }
        REQUIRE_SAME(code, 0);
        test_hear_many(&receiver, MOST, test_below(&random, 40));
        REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    }
    atomic_store(&traffic->joined, 1);
    test_wait(child);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(traffic, joining_a_running_overwriting_ring_brings_whole_messages_from_the_place_asked_for)
{
    struct traffic *traffic = begin(RING_BROADCAST_OVERWRITE, 64, MOST, 0, 0);
    pid_t child = test_spawn(stream, traffic);
    struct ring_segment *segment = test_attach();
    struct ring_broadcast_consumer receiver;
    for (uint64_t round = 0; round < test_rounds(1000); round++) {
        REQUIRE_OK(ring_broadcast_open_consumer(&receiver, segment, "news",
                                                round % 2 ? RING_BROADCAST_OLDEST : RING_BROADCAST_NEWEST, 0, 0));
        uint64_t first = ring_broadcast_position(&receiver), heard = 0;
        while (heard < 30) {
            int code = test_hear(&receiver, MOST, TEST_LONG);
            REQUIRE_ONE_OF(code, 0, -EOVERFLOW);
            heard += code == 0;
        }
        REQUIRE_SAME(heard + ring_broadcast_lost_in_all(&receiver), ring_broadcast_position(&receiver) - first);
        REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    }
    atomic_store(&traffic->joined, 1);
    test_wait(child);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}
