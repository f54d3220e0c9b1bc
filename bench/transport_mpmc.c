/* transport_mpmc.c - contestant: the MPMC ring of this library, in a named segment, locked, by the plain public calls.
 *
 * Single messages by send and recv, batches by send_array and recv_array, in place by reserve/commit and peek/release.
 * Slots are as long as the messages.
 */
#include "segment_link.h"

struct mpmc_producer {
    struct ring_mpmc_producer ring;
    struct ring_segment *segment;
};

struct mpmc_consumer {
    struct ring_mpmc_consumer ring;
    struct ring_segment *segment;
};

static struct ring_mpmc_options mpmc_options(const struct bench_options *options)
{
    struct ring_mpmc_options ring = ring_mpmc_defaults();
    ring.slots = segment_slots(options);
    ring.slot_bytes = options->bytes;
    if (options->producers + options->consumers > ring.seats)
        ring.seats = (unsigned)(options->producers + options->consumers);
    return ring;
}

static size_t mpmc_footprint(const struct bench_options *options)
{
    struct ring_mpmc_options ring = mpmc_options(options);
    return ring_mpmc_footprint_with(&ring);
}

static const char *mpmc_refuse(const struct bench_options *options)
{
    return mpmc_footprint(options) ? NULL : "no ring can have so many seats, or messages so long";
}

static int mpmc_create(struct bench_link *link)
{
    struct ring_mpmc_options options = mpmc_options(&link->options);
    struct ring_segment *segment = NULL;
    int refusal = segment_create(link, mpmc_footprint(&link->options), &segment);
    return refusal ? refusal : segment_explain(link, ring_mpmc_create_with(segment, SEGMENT_RING, &options));
}

static int mpmc_open_producer(struct bench_link *link, void **endpoint)
{
    struct mpmc_producer *producer = SEGMENT_NEW(struct mpmc_producer);
    if (!producer)
        return -ENOMEM;
    *endpoint = producer;
    int refusal = segment_attach(link, mpmc_footprint(&link->options), &producer->segment);
    if (refusal)
        return refusal;
    return segment_explain(link,
                           ring_mpmc_open_producer(&producer->ring, producer->segment, SEGMENT_RING, SEGMENT_PATIENCE));
}

static int mpmc_open_consumer(struct bench_link *link, void **endpoint)
{
    struct mpmc_consumer *consumer = SEGMENT_NEW(struct mpmc_consumer);
    if (!consumer)
        return -ENOMEM;
    *endpoint = consumer;
    int refusal = segment_attach(link, mpmc_footprint(&link->options), &consumer->segment);
    if (refusal)
        return refusal;
    return segment_explain(link,
                           ring_mpmc_open_consumer(&consumer->ring, consumer->segment, SEGMENT_RING, SEGMENT_PATIENCE));
}

static void mpmc_close_producer(struct bench_link *link, void *endpoint)
{
    struct mpmc_producer *producer = endpoint;
    ring_mpmc_close_producer(&producer->ring);
    segment_detach(link, producer->segment);
    free(producer);
}

static void mpmc_close_consumer(struct bench_link *link, void *endpoint)
{
    struct mpmc_consumer *consumer = endpoint;
    ring_mpmc_close_consumer(&consumer->ring);
    segment_detach(link, consumer->segment);
    free(consumer);
}

#define TRANSPORT mpmc
typedef struct mpmc_producer mpmc_producer;
typedef struct mpmc_consumer mpmc_consumer;

BENCH_INLINE int mpmc_send(mpmc_producer *producer, const void *message, size_t bytes)
{
    return ring_mpmc_send(&producer->ring, message, bytes, RING_FOREVER);
}

BENCH_INLINE int mpmc_recv(mpmc_consumer *consumer, void *message, size_t bytes)
{
    ssize_t length = ring_mpmc_recv(&consumer->ring, message, bytes, RING_FOREVER);
    return length == (ssize_t)bytes ? 0 : length < 0 ? (int)length : -EMSGSIZE;
}

BENCH_INLINE ssize_t mpmc_send_batch(mpmc_producer *producer, const void *messages, size_t bytes, size_t count)
{
    return ring_mpmc_send_array(&producer->ring, messages, bytes, count, RING_FOREVER);
}

BENCH_INLINE ssize_t mpmc_recv_batch(mpmc_consumer *consumer, void *messages, size_t bytes, size_t count)
{
    return ring_mpmc_recv_array(&consumer->ring, messages, bytes, count, RING_FOREVER);
}

BENCH_INLINE int mpmc_reserve(mpmc_producer *producer, void **message, size_t bytes)
{
    return ring_mpmc_reserve(&producer->ring, bytes, message, RING_FOREVER);
}

BENCH_INLINE int mpmc_commit(mpmc_producer *producer, size_t bytes)
{
    return ring_mpmc_commit(&producer->ring, bytes);
}

BENCH_INLINE int mpmc_peek(mpmc_consumer *consumer, const void **message, size_t bytes)
{
    struct ring_message found;
    int refusal = ring_mpmc_peek(&consumer->ring, &found, RING_FOREVER);
    if (refusal)
        return refusal;
    *message = found.data;
    return found.length == bytes ? 0 : -EMSGSIZE;
}

BENCH_INLINE int mpmc_release(mpmc_consumer *consumer, size_t bytes)
{
    (void)bytes;
    return ring_mpmc_release(&consumer->ring, 1);
}

#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_IN_PLACE
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const struct transport transport_mpmc = {
    .name = "shmring mpmc",
    .about = "this library's ring for any number of each, 2 MiB of slots in a locked segment",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_REMOVE_EARLY | TRANSPORT_MANY_PRODUCERS |
                 TRANSPORT_MANY_CONSUMERS,
    .rank = 0,
    .refuse = mpmc_refuse,
    .create = mpmc_create,
    .open_producer = mpmc_open_producer,
    .open_consumer = mpmc_open_consumer,
    .close_producer = mpmc_close_producer,
    .close_consumer = mpmc_close_consumer,
    .destroy = segment_destroy,
    .remove = segment_remove,
    .loops = &mpmc_loops,
};
TRANSPORT_REGISTER(transport_mpmc);
