/* peer_wfcqueue.c - contestant: the wait-free queue of liburcu, its calls inlined as its documentation recommends for
 * speed (_LGPL_SOURCE). It links nodes of the caller and never is full: nodes come from a circle, each with a flag by
 * which the consumer gives it back. Batches are its splices: out of a queue private to the producer, into one private
 * to the consumer.
 */
#define _LGPL_SOURCE
#include <urcu/wfcqueue.h>

#include <stdatomic.h>

#include "peer.h"

struct wfc_node {
    struct cds_wfcq_node node;
    atomic_size_t used;
    unsigned char message[];
};

struct wfc_list {
    struct __cds_wfcq_head head __attribute__((aligned(128)));
    struct cds_wfcq_tail tail __attribute__((aligned(128)));
};

struct wfc_queue {
    struct wfc_list shared, sending, received; /* the latter two: one side's own */
    size_t next __attribute__((aligned(128))); /* the producer's: node to use */
    size_t elements __attribute__((aligned(128)));
    unsigned char nodes[] __attribute__((aligned(128)));
};

typedef struct wfc_queue wfc_producer;
typedef struct wfc_queue wfc_consumer;

BENCH_INLINE size_t wfc_stride(size_t bytes)
{
    return (sizeof(struct wfc_node) + bytes + 15) / 16 * 16;
}

/* The next free node with the message in it, or NULL. */
BENCH_INLINE struct wfc_node *wfc_fill(struct wfc_queue *queue, const void *message, size_t bytes)
{
    struct wfc_node *node = (void *)(queue->nodes + queue->next * wfc_stride(bytes));
    if (atomic_load_explicit(&node->used, memory_order_acquire))
        return NULL;
    atomic_store_explicit(&node->used, 1, memory_order_relaxed);
    queue->next = queue->next + 1 == queue->elements ? 0 : queue->next + 1;
    memcpy(node->message, message, bytes);
    cds_wfcq_node_init(&node->node);
    return node;
}

/* Takes one out of `list`; 0 or -EAGAIN. */
BENCH_INLINE int wfc_take(struct wfc_list *list, void *message, size_t bytes)
{
    struct cds_wfcq_node *found = __cds_wfcq_dequeue_nonblocking(&list->head, &list->tail);
    if (!found || found == CDS_WFCQ_WOULDBLOCK)
        return -EAGAIN;
    struct wfc_node *node = (void *)found; /* its first member: caa_container_of() casts a const away */
    memcpy(message, node->message, bytes);
    atomic_store_explicit(&node->used, 0, memory_order_release);
    return 0;
}

BENCH_INLINE int wfc_send(struct wfc_queue *queue, const void *message, size_t bytes)
{
    struct wfc_node *node = wfc_fill(queue, message, bytes);
    if (!node)
        return -EAGAIN;
    cds_wfcq_enqueue(&queue->shared.head, &queue->shared.tail, &node->node);
    return 0;
}

BENCH_INLINE int wfc_recv(struct wfc_queue *queue, void *message, size_t bytes)
{
    return wfc_take(&queue->shared, message, bytes);
}

BENCH_INLINE ssize_t wfc_send_batch(struct wfc_queue *queue, const void *messages, size_t bytes, size_t count)
{
    struct wfc_node *node;
    size_t sent = 0;
    while (sent < count && (node = wfc_fill(queue, (const unsigned char *)messages + sent * bytes, bytes))) {
        cds_wfcq_enqueue(&queue->sending.head, &queue->sending.tail, &node->node);
        sent++;
    }
    if (!sent)
        return -EAGAIN;
    __cds_wfcq_splice_blocking(&queue->shared.head, &queue->shared.tail, &queue->sending.head, &queue->sending.tail);
    return (ssize_t)sent;
}

BENCH_INLINE ssize_t wfc_recv_batch(struct wfc_queue *queue, void *messages, size_t bytes, size_t count)
{
    struct wfc_list *list = &queue->received;
    size_t taken = 0;
    if (cds_wfcq_empty(&list->head, &list->tail))
        __cds_wfcq_splice_nonblocking(&list->head, &list->tail, &queue->shared.head, &queue->shared.tail);
    while (taken < count && wfc_take(list, (unsigned char *)messages + taken * bytes, bytes) == 0)
        taken++;
    return taken ? (ssize_t)taken : -EAGAIN;
}

static size_t wfc_region_bytes(const struct bench_options *options)
{
    return sizeof(struct wfc_queue) + peer_elements(options->ring_bytes, options->bytes) * wfc_stride(options->bytes);
}

static int wfc_create(struct bench_link *link)
{
    struct wfc_queue *queue = link->region; /* zeroed: every node is free */
    __cds_wfcq_init(&queue->shared.head, &queue->shared.tail);
    __cds_wfcq_init(&queue->sending.head, &queue->sending.tail);
    __cds_wfcq_init(&queue->received.head, &queue->received.tail);
    queue->elements = peer_elements(link->options.ring_bytes, link->options.bytes);
    return 0;
}

static int wfc_open(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

#define TRANSPORT wfc
#define TRANSPORT_HAS_BATCH
#include "loops.h"

static const struct transport transport_wfc = {
    .name = "urcu wfcqueue",
    .package = "liburcu-dev",
    .about = "enqueue and __dequeue_nonblocking of nodes out of a fixed circle, splices for batches",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .rank = 20,
    .region_bytes = wfc_region_bytes,
    .create = wfc_create,
    .open_producer = wfc_open,
    .open_consumer = wfc_open,
    .loops = &wfc_loops,
};
TRANSPORT_REGISTER(transport_wfc);
