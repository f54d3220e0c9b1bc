/* peer_atomic_queue.cc - contestants: the queues of atomic_queue with SPSC = true. Messages of one word use the queue
 * of atomics (each slot its own flag), longer ones the queue with a state byte per slot, as its documentation asks.
 * "try" is try_push and try_pop; "optimist" is push and pop, which wait for the slot and never look at the other
 * side's index; "optimist B" the same on the queue that allocates its slots (threads only). No calls for batches.
 * MINIMIZE_CONTENTION, which spreads neighbours over lines, is off where it can be: it is meant for many threads, and
 * for one of each it halved the rate at 8 B (115 to 260 M/s) and gained nothing at other sizes.
 */
#include <atomic_queue/atomic_queue.h>

#include <memory>
#include <new>
#include <type_traits>

#include "peer.h"

/* Its one reserved value is one that no message has: numbers never come to that. */
constexpr uint64_t atomic_nothing = ~UINT64_C(0);

template <size_t Bytes>
using AtomicWords = atomic_queue::AtomicQueue2<bench_message<Bytes>, peer_elements(0, Bytes), false, true, false, true>;
using AtomicWord = atomic_queue::AtomicQueue<uint64_t, peer_elements(0, 8), atomic_nothing, false, true, false, true>;
template <size_t Bytes>
using AtomicWordsB =
    atomic_queue::AtomicQueueB2<bench_message<Bytes>, std::allocator<bench_message<Bytes>>, true, false, true>;
using AtomicWordB = atomic_queue::AtomicQueueB<uint64_t, std::allocator<uint64_t>, atomic_nothing, true, false, true>;

/* The queue holds messages of one word as integers. */
template <size_t Bytes> BENCH_INLINE const auto &atomic_value(const bench_message<Bytes> &message)
{
    if constexpr (Bytes == 8)
        return message.words[0];
    else
        return message;
}

template <size_t Bytes> struct AtomicTry {
    std::conditional_t<Bytes == 8, AtomicWord, AtomicWords<Bytes>> queue;

    explicit AtomicTry(const bench_options &)
    {
    }
    bool push(const bench_message<Bytes> &message)
    {
        return queue.try_push(atomic_value(message));
    }
    bool pop(bench_message<Bytes> &message)
    {
        return queue.try_pop(const_cast<typename decltype(queue)::value_type &>(atomic_value(message)));
    }
};

template <size_t Bytes, typename Queue> struct AtomicWaiting {
    Queue queue;

    bool push(const bench_message<Bytes> &message)
    {
        queue.push(atomic_value(message));
        return true;
    }
    bool pop(bench_message<Bytes> &message)
    {
        if constexpr (Bytes == 8)
            message.words[0] = queue.pop();
        else
            new (&message) bench_message<Bytes>(queue.pop()); /* made where it is wanted, as by `T x = queue.pop()` */
        return true;
    }
};

template <size_t Bytes>
struct AtomicOptimist : AtomicWaiting<Bytes, std::conditional_t<Bytes == 8, AtomicWord, AtomicWords<Bytes>>> {
    explicit AtomicOptimist(const bench_options &)
    {
    }
};

template <size_t Bytes>
struct AtomicOptimistB : AtomicWaiting<Bytes, std::conditional_t<Bytes == 8, AtomicWordB, AtomicWordsB<Bytes>>> {
    using base = AtomicWaiting<Bytes, std::conditional_t<Bytes == 8, AtomicWordB, AtomicWordsB<Bytes>>>;
    explicit AtomicOptimistB(const bench_options &options)
        : base{ decltype(base::queue)((unsigned)peer_elements(options.ring_bytes, Bytes)) }
    {
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

using atomic_optimist_b = typed<AtomicOptimistB>;
PEER_CALLS(atomic_optimist_b, atomic_optimist_b)
#define TRANSPORT atomic_optimist_b
#include "loops.h"

/* The B form rounds small capacities up, to the square of the states in a line. */
static const char *atomic_optimist_b_note(const bench_options *options)
{
    bool more = options->bytes != 8 && peer_elements(options->ring_bytes, options->bytes) < 4096;
    return more ? "it makes itself 4096 slots, more bytes than the others have" : nullptr;
}

#define ATOMIC_TRANSPORT(own, label, where, region, remark, how)                                                       \
    static const transport transport_##own = {                                                                         \
        .name = label,                                                                                                 \
        .package = "libatomic-queue-dev",                                                                              \
        .about = how,                                                                                                  \
        .abilities = TRANSPORT_LISTED_SIZES | (where),                                                                 \
        .rank = 20,                                                                                                    \
        .refuse = own::refuse,                                                                                         \
        .note = remark,                                                                                                \
        .region_bytes = region,                                                                                        \
        .create = own::create,                                                                                         \
        .open_producer = own::open_producer,                                                                           \
        .open_consumer = own::open_consumer,                                                                           \
        .destroy = own::destroy,                                                                                       \
        .loops = &own##_loops,                                                                                         \
    };                                                                                                                 \
    TRANSPORT_REGISTER(transport_##own)

ATOMIC_TRANSPORT(atomic_try, "atomic_queue try", TRANSPORT_THREADS | TRANSPORT_PROCESSES, atomic_try::region_bytes,
                 nullptr, "AtomicQueue (8 B) or AtomicQueue2, SPSC, try_push and try_pop");
ATOMIC_TRANSPORT(atomic_optimist, "atomic_queue optimist", TRANSPORT_THREADS | TRANSPORT_PROCESSES,
                 atomic_optimist::region_bytes, nullptr, "AtomicQueue (8 B) or AtomicQueue2, SPSC, push and pop");
ATOMIC_TRANSPORT(atomic_optimist_b, "atomic_queue optimist B", TRANSPORT_THREADS, nullptr, atomic_optimist_b_note,
                 "AtomicQueueB (8 B) or AtomicQueueB2, SPSC, push and pop");
