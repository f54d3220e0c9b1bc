/* peer_boost_spsc.cc - contestant: boost::lockfree::spsc_queue, its capacity compiled in (the faster form, and the only
 * one that may lie in shared memory), with its array calls for batches.
 */
#include <boost/lockfree/spsc_queue.hpp>

#include "peer.h"

template <size_t Bytes> struct BoostSpsc {
    using element = bench_message<Bytes>;
    /* It keeps one slot empty and makes the array one longer itself. */
    boost::lockfree::spsc_queue<element, boost::lockfree::capacity<peer_elements(0, Bytes)>> queue;

    explicit BoostSpsc(const bench_options &)
    {
    }
    bool push(const element &message)
    {
        return queue.push(message);
    }
    bool pop(element &message)
    {
        return queue.pop(message);
    }
    size_t push_many(const element *messages, size_t count)
    {
        return queue.push(messages, count);
    }
    size_t pop_many(element *messages, size_t count)
    {
        return queue.pop(messages, count);
    }
};
using peer = fixed<BoostSpsc>;
PEER_CALLS(boost_spsc, peer)
PEER_BATCH_CALLS(boost_spsc, peer)
#define TRANSPORT boost_spsc
#define TRANSPORT_HAS_BATCH
#include "loops.h"

static const transport transport_boost_spsc = {
    .name = "boost spsc_queue",
    .package = "libboost-dev",
    .about = "lockfree::spsc_queue<T, capacity<N>>, push and pop, of arrays for batches",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_LISTED_SIZES,
    .rank = 20,
    .refuse = peer::refuse,
    .region_bytes = peer::region_bytes,
    .create = peer::create,
    .open_producer = peer::open_producer,
    .open_consumer = peer::open_consumer,
    .destroy = peer::destroy,
    .loops = &boost_spsc_loops,
};
TRANSPORT_REGISTER(transport_boost_spsc);
