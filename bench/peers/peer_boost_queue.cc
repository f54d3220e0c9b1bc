/* peer_boost_queue.cc - contestant: boost::lockfree::queue, for any number of producers and consumers. Its capacity is
 * compiled in, so that no call allocates and it may lie in shared memory.
 */
#include <algorithm>

#include <boost/lockfree/queue.hpp>

#include "peer.h"

template <size_t Bytes> struct BoostQueue {
    using element = bench_message<Bytes>;
    /* Its links are indices of 16 bits, two of which it needs itself. */
    static constexpr size_t capacity = std::min(peer_elements(0, Bytes), size_t(65534));
    boost::lockfree::queue<element, boost::lockfree::capacity<capacity>> queue;

    explicit BoostQueue(const bench_options &)
    {
    }
    bool push(const element &message)
    {
        return queue.bounded_push(message);
    }
    bool pop(element &message)
    {
        return queue.pop(message);
    }
};
using peer = fixed<BoostQueue>;
PEER_CALLS(boost_queue, peer)
#define TRANSPORT boost_queue
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const transport transport_boost_queue = {
    .name = "boost lockfree queue",
    .package = "libboost-dev",
    .about = "lockfree::queue<T, capacity<N>>, bounded_push and pop",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_LISTED_SIZES | TRANSPORT_MANY_PRODUCERS |
                 TRANSPORT_MANY_CONSUMERS,
    .rank = 20,
    .refuse = peer::refuse,
    .region_bytes = peer::region_bytes,
    .create = peer::create,
    .open_producer = peer::open_producer,
    .open_consumer = peer::open_consumer,
    .destroy = peer::destroy,
    .loops = &boost_queue_loops,
};
TRANSPORT_REGISTER(transport_boost_queue);
