/* peer_wfcqueue.c - contestant: the wait-free queue of liburcu, its calls inlined as its documentation recommends for
 * speed (_LGPL_SOURCE). It links nodes of the caller and never is full: nodes come from a circle, one for each
 * producer, each with a flag by which the consumer gives it back. Batches are its splices: out of a queue private to
 * the producer, into one private to the consumer. Any number of producers; consumers would need a lock among
 * themselves.
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
    struct wfc_list shared, received;                   /* received: the consumer's own */
    atomic_size_t opened __attribute__((aligned(128))); /* producers */
};

/* A producer's own: behind the queue, one after the other. */
struct wfc_lane {
    struct wfc_list sending;
    struct wfc_queue *queue __attribute__((aligned(128)));
    size_t next, elements; /* next: node to use */
    unsigned char nodes[] __attribute__((aligned(128)));
};

typedef struct wfc_lane wfc_producer;
typedef struct wfc_queue wfc_consumer;

BENCH_INLINE size_t wfc_stride(size_t bytes)
{
    return (sizeof(struct wfc_node) + bytes + 15) / 16 * 16;
}

/* The next free node with the message in it, or NULL. */
BENCH_INLINE struct wfc_node *wfc_fill(struct wfc_lane *lane, const void *message, size_t bytes)
{
    struct wfc_node *node = (void *)(lane->nodes + lane->next * wfc_stride(bytes));
    if (atomic_load_explicit(&node->used, memory_order_acquire))
        return NULL;
    atomic_store_explicit(&node->used, 1, memory_order_relaxed);
    lane->next = lane->next + 1 == lane->elements ? 0 : lane->next + 1;
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

BENCH_INLINE int wfc_send(struct wfc_lane *lane, const void *message, size_t bytes)
{
    struct wfc_node *node = wfc_fill(lane, message, bytes);
    if (!node)
        return -EAGAIN;
    cds_wfcq_enqueue(&lane->queue->shared.head, &lane->queue->shared.tail, &node->node);
    return 0;
}

BENCH_INLINE int wfc_recv(struct wfc_queue *queue, void *message, size_t bytes)
{
    return wfc_take(&queue->shared, message, bytes);
}

BENCH_INLINE ssize_t wfc_send_batch(struct wfc_lane *lane, const void *messages, size_t bytes, size_t count)
{
    struct wfc_list *list = &lane->sending, *shared = &lane->queue->shared;
    struct wfc_node *node;
    size_t sent = 0;
    while (sent < count && (node = wfc_fill(lane, (const unsigned char *)messages + sent * bytes, bytes))) {
        cds_wfcq_enqueue(&list->head, &list->tail, &node->node);
        sent++;
    }
    if (!sent)
        return -EAGAIN;
    __cds_wfcq_splice_blocking(&shared->head, &shared->tail, &list->head, &list->tail);
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

/* All producers together have as many as one alone would have. */
static size_t wfc_elements(const struct bench_options *options)
{
    size_t elements = peer_elements(options->ring_bytes, options->bytes) / options->producers;
    return elements < PEER_LEAST ? PEER_LEAST : elements;
}

static size_t wfc_lane_bytes(const struct bench_options *options)
{
    return (sizeof(struct wfc_lane) + wfc_elements(options) * wfc_stride(options->bytes) + 127) / 128 * 128;
}

static size_t wfc_region_bytes(const struct bench_options *options)
{
    return sizeof(struct wfc_queue) + options->producers * wfc_lane_bytes(options);
}

static int wfc_create(struct bench_link *link)
{
    struct wfc_queue *queue = link->region; /* zeroed: every node is free */
    __cds_wfcq_init(&queue->shared.head, &queue->shared.tail);
    __cds_wfcq_init(&queue->received.head, &queue->received.tail);
    return 0;
}

static int wfc_open_producer(struct bench_link *link, void **endpoint)
{
    struct wfc_queue *queue = link->region;
    size_t before = atomic_fetch_add(&queue->opened, 1) * wfc_lane_bytes(&link->options);
    struct wfc_lane *lane = (void *)((unsigned char *)(queue + 1) + before);
    __cds_wfcq_init(&lane->sending.head, &lane->sending.tail);
    lane->queue = queue;
    lane->elements = wfc_elements(&link->options);
    *endpoint = lane;
    return 0;
}

static int wfc_open_consumer(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

#define TRANSPORT wfc
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const struct transport transport_wfc = {
    .name = "urcu wfcqueue",
    .package = "liburcu-dev",
    .about = "enqueue and __dequeue_nonblocking of nodes out of a fixed circle, splices for batches",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_MANY_PRODUCERS,
    .rank = 20,
    .region_bytes = wfc_region_bytes,
    .create = wfc_create,
    .open_producer = wfc_open_producer,
    .open_consumer = wfc_open_consumer,
    .loops = &wfc_loops,
};
TRANSPORT_REGISTER(transport_wfc);
