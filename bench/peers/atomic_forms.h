/* atomic_forms.h - the queues of atomic_queue as contestants, for the files that take them for one of each
 * (peer_atomic_queue.cc) and for any number (peer_atomic_queue_mpmc.cc).
 *
 * Messages of one word use the queue of atomics (each slot its own flag), longer ones the queue with a state byte per
 * slot, as its documentation asks. "Try" is try_push and try_pop; "Optimist" is push and pop, which wait for the slot
 * and never look at the other side's index; the forms with B allocate their slots (threads only). No calls for batches.
 * Spread is its MINIMIZE_CONTENTION, which puts neighbours on different lines; the forms with B always do.
 */
#ifndef BENCH_ATOMIC_FORMS_H
#define BENCH_ATOMIC_FORMS_H

#include <atomic_queue/atomic_queue.h>

#include <memory>
#include <new>
#include <type_traits>

#include "peer.h"

/* Its one reserved value is one that no message has: numbers never come to that. */
constexpr uint64_t atomic_nothing = ~UINT64_C(0);

/* The queue holds messages of one word as integers. */
template <size_t Bytes> BENCH_INLINE const auto &atomic_value(const bench_message<Bytes> &message)
{
    if constexpr (Bytes == 8)
        return message.words[0];
    else
        return message;
}

template <size_t Bytes, typename Queue> struct AtomicTrying {
    Queue queue;

    bool push(const bench_message<Bytes> &message)
    {
        return queue.try_push(atomic_value(message));
    }
    bool pop(bench_message<Bytes> &message)
    {
        return queue.try_pop(const_cast<typename Queue::value_type &>(atomic_value(message)));
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

template <bool Spread, bool Single> struct AtomicForm {
    template <size_t Bytes>
    using Words =
        atomic_queue::AtomicQueue2<bench_message<Bytes>, peer_elements(0, Bytes), Spread, true, false, Single>;
    using Word = atomic_queue::AtomicQueue<uint64_t, peer_elements(0, 8), atomic_nothing, Spread, true, false, Single>;
    template <size_t Bytes> using Fixed = std::conditional_t<Bytes == 8, Word, Words<Bytes>>;

    template <size_t Bytes>
    using WordsB =
        atomic_queue::AtomicQueueB2<bench_message<Bytes>, std::allocator<bench_message<Bytes>>, true, false, Single>;
    using WordB = atomic_queue::AtomicQueueB<uint64_t, std::allocator<uint64_t>, atomic_nothing, true, false, Single>;
    template <size_t Bytes> using Allocated = std::conditional_t<Bytes == 8, WordB, WordsB<Bytes>>;

    template <size_t Bytes> struct Try : AtomicTrying<Bytes, Fixed<Bytes>> {
        explicit Try(const bench_options &)
        {
        }
    };
    template <size_t Bytes> struct Optimist : AtomicWaiting<Bytes, Fixed<Bytes>> {
        explicit Optimist(const bench_options &)
        {
        }
    };
    template <size_t Bytes> struct TryB : AtomicTrying<Bytes, Allocated<Bytes>> {
        explicit TryB(const bench_options &options)
            : AtomicTrying<Bytes, Allocated<Bytes>>{ Allocated<Bytes>(
                  (unsigned)peer_elements(options.ring_bytes, Bytes)) }
        {
        }
    };
    template <size_t Bytes> struct OptimistB : AtomicWaiting<Bytes, Allocated<Bytes>> {
        explicit OptimistB(const bench_options &options)
            : AtomicWaiting<Bytes, Allocated<Bytes>>{ Allocated<Bytes>(
                  (unsigned)peer_elements(options.ring_bytes, Bytes)) }
        {
        }
    };
};

/* The B form rounds small capacities up, to the square of the states in a line. */
static inline const char *atomic_note_b(const bench_options *options)
{
    bool more = options->bytes != 8 && peer_elements(options->ring_bytes, options->bytes) < 4096;
    return more ? "it makes itself 4096 slots, more bytes than the others have" : nullptr;
}

#define ATOMIC_TRANSPORT(own, label, more, region, remark, how)                                                        \
    static const transport transport_##own = {                                                                         \
        .name = label,                                                                                                 \
        .package = "libatomic-queue-dev",                                                                              \
        .about = how,                                                                                                  \
        .abilities = TRANSPORT_LISTED_SIZES | TRANSPORT_THREADS | (more),                                              \
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

#endif
