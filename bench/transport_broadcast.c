/* transport_broadcast.c - contestants: the broadcast ring of this library under its two policies, in a named segment,
 * locked, by the plain public calls. "lossless": the slowest consumer holds the producer back. "overwrite": it waits
 * for nobody, and a consumer is told how many messages it missed. Slots are as long as the messages.
 */
#include "segment_link.h"

struct broadcast_producer {
    struct ring_broadcast_producer ring;
    struct ring_segment *segment;
};

struct broadcast_consumer {
    struct ring_broadcast_consumer ring;
    struct ring_segment *segment;
};

static struct ring_broadcast_options broadcast_options(const struct bench_options *options)
{
    struct ring_broadcast_options ring = ring_broadcast_defaults();
    ring.slots = segment_slots(options);
    ring.slot_bytes = options->bytes;
    return ring;
}

static size_t broadcast_footprint(const struct bench_options *options)
{
    struct ring_broadcast_options ring = broadcast_options(options);
    return ring_broadcast_footprint_with(&ring);
}

static const char *broadcast_refuse(const struct bench_options *options)
{
    return broadcast_footprint(options) ? NULL : "no ring can have messages so long";
}

static int broadcast_create(struct bench_link *link, enum ring_broadcast_policy policy)
{
    struct ring_broadcast_options options = broadcast_options(&link->options);
    struct ring_segment *segment = NULL;
    int refusal = segment_create(link, broadcast_footprint(&link->options), &segment);
    options.policy = policy;
    return refusal ? refusal : segment_explain(link, ring_broadcast_create_with(segment, SEGMENT_RING, &options));
}

static int lossless_create(struct bench_link *link)
{
    return broadcast_create(link, RING_BROADCAST_LOSSLESS);
}

static int overwrite_create(struct bench_link *link)
{
    return broadcast_create(link, RING_BROADCAST_OVERWRITE);
}

static int broadcast_open_producer(struct bench_link *link, void **endpoint)
{
    struct broadcast_producer *producer = SEGMENT_NEW(struct broadcast_producer);
    if (!producer)
        return -ENOMEM;
    *endpoint = producer;
    int refusal = segment_attach(link, broadcast_footprint(&link->options), &producer->segment);
    if (refusal)
        return refusal;
    return segment_explain(
        link, ring_broadcast_open_producer(&producer->ring, producer->segment, SEGMENT_RING, SEGMENT_PATIENCE));
}

static int broadcast_open_consumer(struct bench_link *link, void **endpoint)
{
    struct broadcast_consumer *consumer = SEGMENT_NEW(struct broadcast_consumer);
    if (!consumer)
        return -ENOMEM;
    *endpoint = consumer;
    int refusal = segment_attach(link, broadcast_footprint(&link->options), &consumer->segment);
    if (refusal)
        return refusal;
    return segment_explain(link, ring_broadcast_open_consumer(&consumer->ring, consumer->segment, SEGMENT_RING,
                                                              RING_BROADCAST_NEWEST, 0, SEGMENT_PATIENCE));
}

static void broadcast_close_producer(struct bench_link *link, void *endpoint)
{
    struct broadcast_producer *producer = endpoint;
    ring_broadcast_close_producer(&producer->ring);
    segment_detach(link, producer->segment);
    free(producer);
}

static void broadcast_close_consumer(struct bench_link *link, void *endpoint)
{
    struct broadcast_consumer *consumer = endpoint;
    ring_broadcast_close_consumer(&consumer->ring);
    segment_detach(link, consumer->segment);
    free(consumer);
}

BENCH_INLINE int broadcast_send(struct broadcast_producer *producer, const void *message, size_t bytes)
{
    return ring_broadcast_send(&producer->ring, message, bytes, RING_FOREVER);
}

BENCH_INLINE int broadcast_recv(struct broadcast_consumer *consumer, void *message, size_t bytes)
{
    ssize_t length = ring_broadcast_recv(&consumer->ring, message, bytes, RING_FOREVER);
    return length == (ssize_t)bytes ? 0 : length < 0 ? (int)length : -EMSGSIZE;
}

BENCH_INLINE ssize_t broadcast_send_batch(struct broadcast_producer *producer, const void *messages, size_t bytes,
                                          size_t count)
{
    return ring_broadcast_send_array(&producer->ring, messages, bytes, count, RING_FOREVER);
}

BENCH_INLINE ssize_t broadcast_recv_batch(struct broadcast_consumer *consumer, void *messages, size_t bytes,
                                          size_t count)
{
    return ring_broadcast_recv_array(&consumer->ring, messages, bytes, count, RING_FOREVER);
}

BENCH_INLINE int broadcast_reserve(struct broadcast_producer *producer, void **message, size_t bytes)
{
    return ring_broadcast_reserve(&producer->ring, bytes, message, RING_FOREVER);
}

BENCH_INLINE int broadcast_commit(struct broadcast_producer *producer, size_t bytes)
{
    return ring_broadcast_commit(&producer->ring, bytes);
}

BENCH_INLINE int broadcast_peek(struct broadcast_consumer *consumer, const void **message, size_t bytes)
{
    struct ring_message found;
    int refusal = ring_broadcast_peek(&consumer->ring, &found, RING_FOREVER);
    if (refusal)
        return refusal;
    *message = found.data;
    return found.length == bytes ? 0 : -EMSGSIZE;
}

BENCH_INLINE int broadcast_release(struct broadcast_consumer *consumer, size_t bytes)
{
    (void)bytes;
    return ring_broadcast_release(&consumer->ring, 1);
}

BENCH_INLINE uint64_t broadcast_lost(struct broadcast_consumer *consumer)
{
    return ring_broadcast_lost(&consumer->ring);
}

/* Both policies have the same calls. */
typedef struct broadcast_producer lossless_producer, overwrite_producer;
typedef struct broadcast_consumer lossless_consumer, overwrite_consumer;
#define lossless_send        broadcast_send
#define lossless_recv        broadcast_recv
#define lossless_send_batch  broadcast_send_batch
#define lossless_recv_batch  broadcast_recv_batch
#define lossless_reserve     broadcast_reserve
#define lossless_commit      broadcast_commit
#define lossless_peek        broadcast_peek
#define lossless_release     broadcast_release
#define overwrite_send       broadcast_send
#define overwrite_recv       broadcast_recv
#define overwrite_send_batch broadcast_send_batch
#define overwrite_recv_batch broadcast_recv_batch
#define overwrite_reserve    broadcast_reserve
#define overwrite_commit     broadcast_commit
#define overwrite_peek       broadcast_peek
#define overwrite_release    broadcast_release
#define overwrite_lost       broadcast_lost

#define TRANSPORT lossless
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_IN_PLACE
#include "loops.h"

#define TRANSPORT overwrite
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_IN_PLACE
#define TRANSPORT_HAS_LOST
#include "loops.h"

#define BROADCAST_TRANSPORT(policy, more, label, how)                                                                  \
    static const struct transport transport_##policy = {                                                               \
        .name = label,                                                                                                 \
        .about = "this library's broadcast ring, " how ", 2 MiB of slots in a locked segment",                         \
        .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_REMOVE_EARLY | TRANSPORT_BROADCAST | (more),  \
        .rank = 0,                                                                                                     \
        .refuse = broadcast_refuse,                                                                                    \
        .create = policy##_create,                                                                                     \
        .open_producer = broadcast_open_producer,                                                                      \
        .open_consumer = broadcast_open_consumer,                                                                      \
        .close_producer = broadcast_close_producer,                                                                    \
        .close_consumer = broadcast_close_consumer,                                                                    \
        .destroy = segment_destroy,                                                                                    \
        .remove = segment_remove,                                                                                      \
        .loops = &policy##_loops,                                                                                      \
    };                                                                                                                 \
    TRANSPORT_REGISTER(transport_##policy)

BROADCAST_TRANSPORT(lossless, 0, "shmring broadcast", "lossless");
BROADCAST_TRANSPORT(overwrite, TRANSPORT_OVERWRITES, "shmring broadcast overwrite", "overwriting");
