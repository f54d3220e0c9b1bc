/* peer_atomic_queue.cc - contestants: the queues of atomic_queue with SPSC = true. Messages of one word use the queue
 * of atomics (each slot its own flag), longer ones the queue with a state byte per slot, as its documentation asks.
 * "try" is try_push and try_pop; "optimist" is push and pop, which wait for the slot and never look at the other
 * side's index. It has no calls for batches.
 */
#include <atomic_queue/atomic_queue.h>

#include <new>

#include "peer.h"

/* Its one reserved value is one that no message has: numbers never come to that. */
constexpr uint64_t atomic_nothing = ~UINT64_C(0);

template <size_t Bytes> struct AtomicQueueOf {
    using element = bench_message<Bytes>;
    atomic_queue::AtomicQueue2<element, peer_elements(0, Bytes), true, true, false, true> queue;

    bool try_push(const element &message)
    {
        return queue.try_push(message);
    }
    bool try_pop(element &message)
    {
        return queue.try_pop(message);
    }
    void push(const element &message)
    {
        queue.push(message);
    }
    void pop(element &message)
    {
        new (&message) element(queue.pop()); /* made where it is wanted, as `element x = queue.pop()` would be */
    }
};

template <> struct AtomicQueueOf<8> {
    using element = bench_message<8>;
    atomic_queue::AtomicQueue<uint64_t, peer_elements(0, 8), atomic_nothing, true, true, false, true> queue;

    bool try_push(const element &message)
    {
        return queue.try_push(message.words[0]);
    }
    bool try_pop(element &message)
    {
        return queue.try_pop(message.words[0]);
    }
    void push(const element &message)
    {
        queue.push(message.words[0]);
    }
    void pop(element &message)
    {
        message.words[0] = queue.pop();
    }
};

template <size_t Bytes> struct AtomicTry : AtomicQueueOf<Bytes> {
    explicit AtomicTry(const bench_options &)
    {
    }
    bool push(const bench_message<Bytes> &message)
    {
        return this->try_push(message);
    }
    bool pop(bench_message<Bytes> &message)
    {
        return this->try_pop(message);
    }
};

template <size_t Bytes> struct AtomicOptimist : AtomicQueueOf<Bytes> {
    explicit AtomicOptimist(const bench_options &)
    {
    }
    bool push(const bench_message<Bytes> &message)
    {
        AtomicQueueOf<Bytes>::push(message);
        return true;
    }
    bool pop(bench_message<Bytes> &message)
    {
        AtomicQueueOf<Bytes>::pop(message);
        return true;
    }
};

using atomic_try = fixed<AtomicTry>;
PEER_CALLS(atomic_try, atomic_try)
#define TRANSPORT atomic_try
#include "loops.h"

using atomic_optimist = fixed<AtomicOptimist>;
PEER_CALLS(atomic_optimist, atomic_optimist)
#define TRANSPORT atomic_optimist
#include "loops.h"

#define ATOMIC_TRANSPORT(own, label, how)                                                                              \
    static const transport transport_##own = {                                                                         \
        .name = label,                                                                                                 \
        .package = "libatomic-queue-dev",                                                                              \
        .about = how,                                                                                                  \
        .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_LISTED_SIZES,                                 \
        .rank = 20,                                                                                                    \
        .refuse = own::refuse,                                                                                         \
        .region_bytes = own::region_bytes,                                                                             \
        .create = own::create,                                                                                         \
        .open_producer = own::open_producer,                                                                           \
        .open_consumer = own::open_consumer,                                                                           \
        .destroy = own::destroy,                                                                                       \
        .loops = &own##_loops,                                                                                         \
    };                                                                                                                 \
    TRANSPORT_REGISTER(transport_##own)

ATOMIC_TRANSPORT(atomic_try, "atomic_queue try", "AtomicQueue (8 B) or AtomicQueue2, SPSC, try_push and try_pop");
ATOMIC_TRANSPORT(atomic_optimist, "atomic_queue optimist", "AtomicQueue (8 B) or AtomicQueue2, SPSC, push and pop");
