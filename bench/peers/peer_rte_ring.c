/* peer_rte_ring.c - contestant: DPDK's rte_ring for one producer and one consumer, in memory of ours, without the rest
 * of DPDK. Messages of one or two words go by the element calls, which move those sizes as such; longer ones by the
 * zero-copy calls and memcpy, as the element calls copy them by words of four bytes. Batches are its bursts.
 */
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_ring_peek_zc.h>

#include "peer.h"

#define RTE_ELEMENT_BYTES 16 /* up to here the element calls */

typedef struct rte_ring rte_producer;
typedef struct rte_ring rte_consumer;

BENCH_INLINE ssize_t rte_send_batch(struct rte_ring *ring, const void *messages, size_t bytes, size_t count)
{
    struct rte_ring_zc_data at;
    unsigned room;
    if (bytes <= RTE_ELEMENT_BYTES) {
        room = rte_ring_sp_enqueue_burst_elem(ring, messages, (unsigned)bytes, (unsigned)count, NULL);
        return room ? (ssize_t)room : -EAGAIN;
    }
    room = rte_ring_enqueue_zc_burst_elem_start(ring, (unsigned)bytes, (unsigned)count, &at, NULL);
    if (!room)
        return -EAGAIN;
    memcpy(at.ptr1, messages, at.n1 * bytes);
    if (at.n1 < room)
        memcpy(at.ptr2, (const unsigned char *)messages + at.n1 * bytes, (room - at.n1) * bytes);
    rte_ring_enqueue_zc_elem_finish(ring, room);
    return room;
}

BENCH_INLINE ssize_t rte_recv_batch(struct rte_ring *ring, void *messages, size_t bytes, size_t count)
{
    struct rte_ring_zc_data at;
    unsigned there;
    if (bytes <= RTE_ELEMENT_BYTES) {
        there = rte_ring_sc_dequeue_burst_elem(ring, messages, (unsigned)bytes, (unsigned)count, NULL);
        return there ? (ssize_t)there : -EAGAIN;
    }
    there = rte_ring_dequeue_zc_burst_elem_start(ring, (unsigned)bytes, (unsigned)count, &at, NULL);
    if (!there)
        return -EAGAIN;
    memcpy(messages, at.ptr1, at.n1 * bytes);
    if (at.n1 < there)
        memcpy((unsigned char *)messages + at.n1 * bytes, at.ptr2, (there - at.n1) * bytes);
    rte_ring_dequeue_zc_elem_finish(ring, there);
    return there;
}

BENCH_INLINE int rte_reserve(struct rte_ring *ring, void **message, size_t bytes)
{
    struct rte_ring_zc_data at;
    if (!rte_ring_enqueue_zc_bulk_elem_start(ring, (unsigned)bytes, 1, &at, NULL))
        return -EAGAIN;
    *message = at.ptr1;
    return 0;
}

BENCH_INLINE int rte_commit(struct rte_ring *ring, size_t bytes)
{
    (void)bytes;
    rte_ring_enqueue_zc_elem_finish(ring, 1);
    return 0;
}

BENCH_INLINE int rte_peek(struct rte_ring *ring, const void **message, size_t bytes)
{
    struct rte_ring_zc_data at;
    if (!rte_ring_dequeue_zc_bulk_elem_start(ring, (unsigned)bytes, 1, &at, NULL))
        return -EAGAIN;
    *message = at.ptr1;
    return 0;
}

BENCH_INLINE int rte_release(struct rte_ring *ring, size_t bytes)
{
    (void)bytes;
    rte_ring_dequeue_zc_elem_finish(ring, 1);
    return 0;
}

BENCH_INLINE int rte_send(struct rte_ring *ring, const void *message, size_t bytes)
{
    void *place;
    if (bytes <= RTE_ELEMENT_BYTES)
        return rte_ring_sp_enqueue_elem(ring, (void *)(uintptr_t)message, (unsigned)bytes) ? -EAGAIN : 0;
    if (rte_reserve(ring, &place, bytes))
        return -EAGAIN;
    memcpy(place, message, bytes);
    return rte_commit(ring, bytes);
}

BENCH_INLINE int rte_recv(struct rte_ring *ring, void *message, size_t bytes)
{
    const void *place;
    if (bytes <= RTE_ELEMENT_BYTES)
        return rte_ring_sc_dequeue_elem(ring, message, (unsigned)bytes) ? -EAGAIN : 0;
    if (rte_peek(ring, &place, bytes))
        return -EAGAIN;
    memcpy(message, place, bytes);
    return rte_release(ring, bytes);
}

static const char *rte_refuse(const struct bench_options *options)
{
    return options->bytes % 4 ? "its elements have a multiple of 4 bytes" : NULL;
}

static size_t rte_region_bytes(const struct bench_options *options)
{
    size_t elements = peer_elements(options->ring_bytes, options->bytes);
    return (size_t)rte_ring_get_memsize_elem((unsigned)options->bytes, (unsigned)elements);
}

static int rte_create(struct bench_link *link)
{
    size_t elements = peer_elements(link->options.ring_bytes, link->options.bytes);
    return rte_ring_init(link->region, "bench", (unsigned)elements, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static int rte_open(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

#define TRANSPORT rte
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_IN_PLACE
#include "loops.h"

static const struct transport transport_rte = {
    .name = "dpdk rte_ring",
    .package = "libdpdk-dev",
    .about = "SP/SC, messages as elements; over 16 B by its zero-copy calls; bursts for batches",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .rank = 20,
    .refuse = rte_refuse,
    .region_bytes = rte_region_bytes,
    .create = rte_create,
    .open_producer = rte_open,
    .open_consumer = rte_open,
    .loops = &rte_loops,
};
TRANSPORT_REGISTER(transport_rte);
