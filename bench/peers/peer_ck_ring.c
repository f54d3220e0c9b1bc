/* peer_ck_ring.c - contestants: the ring of Concurrency Kit for one of each and for any number of each, typed by
 * CK_RING_PROTOTYPE, so that messages lie in the ring itself. It has no calls for batches.
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

#define CK_SEND(form, size)                                                                                            \
    case size:                                                                                                         \
        return ck_ring_enqueue_##form##_of_##size(&queue->ring, (void *)queue->slots, (void *)(uintptr_t)message)      \
                   ? 0                                                                                                 \
                   : -EAGAIN;
#define CK_RECV(form, size)                                                                                            \
    case size:                                                                                                         \
        return ck_ring_dequeue_##form##_of_##size(&queue->ring, (void *)queue->slots, message) ? 0 : -EAGAIN;
#define CK_SEND_spsc(size) CK_SEND(spsc, size)
#define CK_RECV_spsc(size) CK_RECV(spsc, size)
#define CK_SEND_mpmc(size) CK_SEND(mpmc, size)
#define CK_RECV_mpmc(size) CK_RECV(mpmc, size)

/* The calls of one form of the ring. */
#define CK_CALLS(form)                                                                                                 \
    typedef struct ck_queue ck_##form##_producer;                                                                      \
    typedef struct ck_queue ck_##form##_consumer;                                                                      \
    BENCH_INLINE int ck_##form##_send(struct ck_queue *queue, const void *message, size_t bytes)                       \
    {                                                                                                                  \
        switch (bytes) {                                                                                               \
            BENCH_SIZES(CK_SEND_##form)                                                                                \
        default:                                                                                                       \
            return -EMSGSIZE;                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    BENCH_INLINE int ck_##form##_recv(struct ck_queue *queue, void *message, size_t bytes)                             \
    {                                                                                                                  \
        switch (bytes) {                                                                                               \
            BENCH_SIZES(CK_RECV_##form)                                                                                \
        default:                                                                                                       \
            return -EMSGSIZE;                                                                                          \
        }                                                                                                              \
    }
CK_CALLS(spsc)
CK_CALLS(mpmc)

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

#define TRANSPORT ck_spsc
#include "loops.h"

#define TRANSPORT ck_mpmc
#define TRANSPORT_HAS_MANY
#include "loops.h"

#define CK_TRANSPORT(form, many)                                                                                       \
    static const struct transport transport_ck_##form = {                                                              \
        .name = "ck_ring " #form,                                                                                      \
        .package = "libck-dev",                                                                                        \
        .about = "CK_RING_PROTOTYPE, ck_ring_enqueue_" #form " and ck_ring_dequeue_" #form,                            \
        .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_LISTED_SIZES | (many),                        \
        .rank = 20,                                                                                                    \
        .refuse = ck_refuse,                                                                                           \
        .region_bytes = ck_region_bytes,                                                                               \
        .create = ck_create,                                                                                           \
        .open_producer = ck_open,                                                                                      \
        .open_consumer = ck_open,                                                                                      \
        .loops = &ck_##form##_loops,                                                                                   \
    };                                                                                                                 \
    TRANSPORT_REGISTER(transport_ck_##form)

CK_TRANSPORT(spsc, 0);
CK_TRANSPORT(mpmc, TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS);
