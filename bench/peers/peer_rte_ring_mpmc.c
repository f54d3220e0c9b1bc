/* peer_rte_ring_mpmc.c - contestants: DPDK's rte_ring for any number of producers and consumers in its three forms:
 * plain MP/MC, relaxed tail sync (RTS) and head-tail sync (HTS), the latter two meant for more threads than processors.
 * Messages go by the element calls (the zero-copy calls exist for one of the three only), batches are its bursts.
 */
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "peer.h"

static const char *rte_many_refuse(const struct bench_options *options)
{
    return options->bytes % 4 ? "its elements have a multiple of 4 bytes" : NULL;
}

static size_t rte_many_region_bytes(const struct bench_options *options)
{
    size_t elements = peer_elements(options->ring_bytes, options->bytes);
    return (size_t)rte_ring_get_memsize_elem((unsigned)options->bytes, (unsigned)elements);
}

static int rte_many_create(struct bench_link *link, unsigned flags)
{
    size_t elements = peer_elements(link->options.ring_bytes, link->options.bytes);
    return rte_ring_init(link->region, "bench", (unsigned)elements, flags);
}

static int rte_many_open(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

/* The calls of one form: `mp` and `mc` stand in the names of its functions. */
#define RTE_CALLS(own, mp, mc, flags)                                                                                  \
    typedef struct rte_ring own##_producer;                                                                            \
    typedef struct rte_ring own##_consumer;                                                                            \
    BENCH_INLINE ssize_t own##_send_batch(struct rte_ring *ring, const void *messages, size_t bytes, size_t count)     \
    {                                                                                                                  \
        unsigned sent = rte_ring_##mp##_enqueue_burst_elem(ring, messages, (unsigned)bytes, (unsigned)count, NULL);    \
        return sent ? (ssize_t)sent : -EAGAIN;                                                                         \
    }                                                                                                                  \
    BENCH_INLINE ssize_t own##_recv_batch(struct rte_ring *ring, void *messages, size_t bytes, size_t count)           \
    {                                                                                                                  \
        unsigned taken = rte_ring_##mc##_dequeue_burst_elem(ring, messages, (unsigned)bytes, (unsigned)count, NULL);   \
        return taken ? (ssize_t)taken : -EAGAIN;                                                                       \
    }                                                                                                                  \
    BENCH_INLINE int own##_send(struct rte_ring *ring, const void *message, size_t bytes)                              \
    {                                                                                                                  \
        return rte_ring_##mp##_enqueue_bulk_elem(ring, message, (unsigned)bytes, 1, NULL) ? 0 : -EAGAIN;               \
    }                                                                                                                  \
    BENCH_INLINE int own##_recv(struct rte_ring *ring, void *message, size_t bytes)                                    \
    {                                                                                                                  \
        return rte_ring_##mc##_dequeue_bulk_elem(ring, message, (unsigned)bytes, 1, NULL) ? 0 : -EAGAIN;               \
    }                                                                                                                  \
    static int own##_create(struct bench_link *link)                                                                   \
    {                                                                                                                  \
        return rte_many_create(link, flags);                                                                           \
    }

#define RTE_TRANSPORT(own, label, how)                                                                                 \
    static const struct transport transport_##own = {                                                                  \
        .name = label,                                                                                                 \
        .package = "libdpdk-dev",                                                                                      \
        .about = how ", messages as elements, bursts for batches",                                                     \
        .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS,    \
        .rank = 20,                                                                                                    \
        .refuse = rte_many_refuse,                                                                                     \
        .region_bytes = rte_many_region_bytes,                                                                         \
        .create = own##_create,                                                                                        \
        .open_producer = rte_many_open,                                                                                \
        .open_consumer = rte_many_open,                                                                                \
        .loops = &own##_loops,                                                                                         \
    };                                                                                                                 \
    TRANSPORT_REGISTER(transport_##own)

RTE_CALLS(rte_mp, mp, mc, 0)
#define TRANSPORT rte_mp
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#include "loops.h"
RTE_TRANSPORT(rte_mp, "dpdk rte_ring mp/mc", "MP/MC");

RTE_CALLS(rte_rts, mp_rts, mc_rts, RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ)
#define TRANSPORT rte_rts
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#include "loops.h"
RTE_TRANSPORT(rte_rts, "dpdk rte_ring rts", "RTS");

RTE_CALLS(rte_hts, mp_hts, mc_hts, RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ)
#define TRANSPORT rte_hts
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#include "loops.h"
RTE_TRANSPORT(rte_hts, "dpdk rte_ring hts", "HTS");
