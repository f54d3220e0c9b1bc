/* peer_ck_ring.c - contestant: the SPSC ring of Concurrency Kit, typed by CK_RING_PROTOTYPE, so that messages lie in
 * the ring itself. It has no calls for batches.
 */
#include <ck_ring.h>

#include "peer.h"

#define CK_TYPE(size)                                                                                                  \
    struct ck_message_##size {                                                                                         \
        unsigned char bytes[size];                                                                                     \
    };                                                                                                                 \
    CK_RING_PROTOTYPE(of_##size, ck_message_##size)
BENCH_SIZES(CK_TYPE)

struct ck_queue {
    struct ck_ring ring;
    unsigned char slots[] __attribute__((aligned(128)));
};

typedef struct ck_queue ck_producer;
typedef struct ck_queue ck_consumer;

BENCH_INLINE int ck_send(struct ck_queue *queue, const void *message, size_t bytes)
{
#define CK_SEND(size)                                                                                                  \
    case size:                                                                                                         \
        return ck_ring_enqueue_spsc_of_##size(&queue->ring, (void *)queue->slots, (void *)(uintptr_t)message)          \
                   ? 0                                                                                                 \
                   : -EAGAIN;
    switch (bytes) {
        BENCH_SIZES(CK_SEND)
    default:
        return -EMSGSIZE;
    }
}

BENCH_INLINE int ck_recv(struct ck_queue *queue, void *message, size_t bytes)
{
#define CK_RECV(size)                                                                                                  \
    case size:                                                                                                         \
        return ck_ring_dequeue_spsc_of_##size(&queue->ring, (void *)queue->slots, message) ? 0 : -EAGAIN;
    switch (bytes) {
        BENCH_SIZES(CK_RECV)
    default:
        return -EMSGSIZE;
    }
}

static const char *ck_refuse(const struct bench_options *options)
{
    return bench_listed_size(options->bytes) ? NULL : "compiled for certain message sizes only";
}

static size_t ck_region_bytes(const struct bench_options *options)
{
    return sizeof(struct ck_queue) + peer_elements(options->ring_bytes, options->bytes) * options->bytes;
}

static int ck_create(struct bench_link *link)
{
    struct ck_queue *queue = link->region;
    ck_ring_init(&queue->ring, (unsigned)peer_elements(link->options.ring_bytes, link->options.bytes));
    return 0;
}

static int ck_open(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

#define TRANSPORT ck
#include "loops.h"

static const struct transport transport_ck = {
    .name = "ck_ring spsc",
    .package = "libck-dev",
    .about = "CK_RING_PROTOTYPE, ck_ring_enqueue_spsc and ck_ring_dequeue_spsc",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_LISTED_SIZES,
    .rank = 20,
    .refuse = ck_refuse,
    .region_bytes = ck_region_bytes,
    .create = ck_create,
    .open_producer = ck_open,
    .open_consumer = ck_open,
    .loops = &ck_loops,
};
TRANSPORT_REGISTER(transport_ck);
