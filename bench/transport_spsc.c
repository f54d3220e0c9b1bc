/* transport_spsc.c - contestant: the SPSC ring of this library, in a named segment, locked, by the plain public calls.
 *
 * Single messages by send and recv, batches by send_array and recv_array, in place by reserve/commit and peek/release.
 */
#include "segment_link.h"

struct spsc_producer {
    struct ring_spsc_producer ring;
    struct ring_segment *segment;
};

struct spsc_consumer {
    struct ring_spsc_consumer ring;
    struct ring_segment *segment;
};

static size_t spsc_ring_bytes(const struct bench_options *options)
{
    return options->ring_bytes ? options->ring_bytes : RING_SPSC_DEFAULT_BYTES;
}

static size_t spsc_footprint(const struct bench_options *options)
{
    return ring_spsc_footprint(spsc_ring_bytes(options));
}

static const char *spsc_refuse(const struct bench_options *options)
{
    if (!spsc_footprint(options))
        return "no ring can have that capacity";
    return options->bytes > spsc_ring_bytes(options) / 4 ? "messages may have a quarter of the ring's bytes" : NULL;
}

static int spsc_create(struct bench_link *link)
{
    struct ring_segment *segment = NULL;
    int refusal = segment_create(link, spsc_footprint(&link->options), &segment);
    if (refusal)
        return refusal;
    return segment_explain(link, ring_spsc_create(segment, SEGMENT_RING, spsc_ring_bytes(&link->options)));
}

static int spsc_open_producer(struct bench_link *link, void **endpoint)
{
    struct spsc_producer *producer = SEGMENT_NEW(struct spsc_producer);
    if (!producer)
        return -ENOMEM;
    *endpoint = producer;
    int refusal = segment_attach(link, spsc_footprint(&link->options), &producer->segment);
    if (refusal)
        return refusal;
    return segment_explain(link,
                           ring_spsc_open_producer(&producer->ring, producer->segment, SEGMENT_RING, SEGMENT_PATIENCE));
}

static int spsc_open_consumer(struct bench_link *link, void **endpoint)
{
    struct spsc_consumer *consumer = SEGMENT_NEW(struct spsc_consumer);
    if (!consumer)
        return -ENOMEM;
    *endpoint = consumer;
    int refusal = segment_attach(link, spsc_footprint(&link->options), &consumer->segment);
    if (refusal)
        return refusal;
    return segment_explain(link,
                           ring_spsc_open_consumer(&consumer->ring, consumer->segment, SEGMENT_RING, SEGMENT_PATIENCE));
}

static void spsc_close_producer(struct bench_link *link, void *endpoint)
{
    struct spsc_producer *producer = endpoint;
    ring_spsc_close_producer(&producer->ring);
    segment_detach(link, producer->segment);
    free(producer);
}

static void spsc_close_consumer(struct bench_link *link, void *endpoint)
{
    struct spsc_consumer *consumer = endpoint;
    ring_spsc_close_consumer(&consumer->ring);
    segment_detach(link, consumer->segment);
    free(consumer);
}

#define TRANSPORT spsc
typedef struct spsc_producer spsc_producer;
typedef struct spsc_consumer spsc_consumer;

BENCH_INLINE int spsc_send(spsc_producer *producer, const void *message, size_t bytes)
{
    return ring_spsc_send(&producer->ring, message, bytes, RING_FOREVER);
}

BENCH_INLINE int spsc_recv(spsc_consumer *consumer, void *message, size_t bytes)
{
    ssize_t length = ring_spsc_recv(&consumer->ring, message, bytes, RING_FOREVER);
    return length == (ssize_t)bytes ? 0 : length < 0 ? (int)length : -EMSGSIZE;
}

BENCH_INLINE ssize_t spsc_send_batch(spsc_producer *producer, const void *messages, size_t bytes, size_t count)
{
    return ring_spsc_send_array(&producer->ring, messages, bytes, count, RING_FOREVER);
}

BENCH_INLINE ssize_t spsc_recv_batch(spsc_consumer *consumer, void *messages, size_t bytes, size_t count)
{
    return ring_spsc_recv_array(&consumer->ring, messages, bytes, count, RING_FOREVER);
}

BENCH_INLINE int spsc_reserve(spsc_producer *producer, void **message, size_t bytes)
{
    return ring_spsc_reserve(&producer->ring, bytes, message, RING_FOREVER);
}

BENCH_INLINE int spsc_commit(spsc_producer *producer, size_t bytes)
{
    return ring_spsc_commit(&producer->ring, bytes);
}

BENCH_INLINE int spsc_peek(spsc_consumer *consumer, const void **message, size_t bytes)
{
    struct ring_message found;
    int refusal = ring_spsc_peek(&consumer->ring, &found, RING_FOREVER);
    if (refusal)
        return refusal;
    *message = found.data;
    return found.length == bytes ? 0 : -EMSGSIZE;
}

BENCH_INLINE int spsc_release(spsc_consumer *consumer, size_t bytes)
{
    (void)bytes;
    return ring_spsc_release(&consumer->ring, 1);
}

#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_IN_PLACE
#include "loops.h"

static const struct transport transport_spsc = {
    .name = "shmring spsc",
    .about = "this library's ring of its default capacity in a locked segment",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_REMOVE_EARLY,
    .rank = 0,
    .refuse = spsc_refuse,
    .create = spsc_create,
    .open_producer = spsc_open_producer,
    .open_consumer = spsc_open_consumer,
    .close_producer = spsc_close_producer,
    .close_consumer = spsc_close_consumer,
    .destroy = segment_destroy,
    .remove = segment_remove,
    .loops = &spsc_loops,
};
TRANSPORT_REGISTER(transport_spsc);
