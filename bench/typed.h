/* typed.h - for queues of C++ whose element is a type: one message type per listed size, and the table's calls over
 * them.
 *
 * A peer gives a class template over the size and hands it to typed<>:
 *
 *     template <size_t Bytes> struct Queue {
 *         explicit Queue(const bench_options &options);
 *         bool push(const bench_message<Bytes> &message);   false: full
 *         bool pop(bench_message<Bytes> &message);          false: empty
 *     };
 *     using peer = typed<Queue>;
 *
 * and sets in its table: .refuse, .create, .open_producer, .open_consumer, .destroy from peer::; .region_bytes =
 * peer::region_bytes only if a Queue has all its memory inside itself (then it works between processes too). Its
 * own_send is `return peer::send(queue, message, bytes)`; a batch is Queue::push_many(const bench_message<Bytes> *,
 * size_t) and pop_many, which return how many (0: none now), by peer::send_batch and recv_batch.
 */
#ifndef BENCH_TYPED_H
#define BENCH_TYPED_H

#include <sys/types.h>

#include <new>
#include <type_traits>
#include <utility>

#include "transport.h"

template <size_t Bytes> struct __attribute__((may_alias)) bench_message {
    uint64_t words[Bytes / 8];
};

/* Elements to make room for: what was asked for, else `usual`; a power of two. */
inline size_t bench_elements(const bench_options &options, size_t usual)
{
    size_t wanted = options.ring_bytes ? options.ring_bytes / options.bytes : usual;
    size_t elements = 2;
    while (elements < wanted)
        elements *= 2;
    return elements;
}

/* Calls function(std::integral_constant<size_t, bytes>()); folds to one case where bytes is known to the compiler. */
template <typename Function> BENCH_INLINE auto bench_with_size(size_t bytes, Function &&function)
{
#define BENCH_TYPED_CASE(size)                                                                                         \
    case size:                                                                                                         \
        return std::forward<Function>(function)(std::integral_constant<size_t, size>());
    switch (bytes) {
        BENCH_SIZES(BENCH_TYPED_CASE)
    default:
        __builtin_unreachable(); /* refuse() lets no other size come */
    }
#undef BENCH_TYPED_CASE
}

#define BENCH_TYPED_INLINE __attribute__((always_inline))

template <template <size_t> class Queue> struct typed {
    static const char *refuse(const bench_options *options)
    {
        return bench_listed_size(options->bytes) ? nullptr : "compiled for certain message sizes only";
    }

    static size_t region_bytes(const bench_options *options)
    {
        return bench_with_size(options->bytes, [](auto size) { return sizeof(Queue<size()>); });
    }

    static int create(bench_link *link)
    {
        return bench_with_size(link->options.bytes, [link](auto size) -> int {
            using queue = Queue<size()>;
            try {
                if (link->region)
                    link->object = new (link->region) queue(link->options);
                else
                    link->object = new queue(link->options);
            } catch (...) {
                return -ENOMEM;
            }
            return 0;
        });
    }

    static int open_producer(bench_link *link, void **endpoint)
    {
        *endpoint = link->object;
        return 0;
    }

    static int open_consumer(bench_link *link, void **endpoint)
    {
        *endpoint = link->object;
        return 0;
    }

    static void destroy(bench_link *link)
    {
        if (!link->object)
            return;
        bench_with_size(link->options.bytes, [link](auto size) {
            using queue = Queue<size()>;
            if (link->region)
                static_cast<queue *>(link->object)->~queue();
            else
                delete static_cast<queue *>(link->object);
        });
        link->object = nullptr;
    }

    BENCH_INLINE int send(void *queue, const void *message, size_t bytes)
    {
        return bench_with_size(bytes, [=](auto size) BENCH_TYPED_INLINE {
            using element = bench_message<size()>;
            return static_cast<Queue<size()> *>(queue)->push(*static_cast<const element *>(message)) ? 0 : -EAGAIN;
        });
    }

    BENCH_INLINE int recv(void *queue, void *message, size_t bytes)
    {
        return bench_with_size(bytes, [=](auto size) BENCH_TYPED_INLINE {
            using element = bench_message<size()>;
            return static_cast<Queue<size()> *>(queue)->pop(*static_cast<element *>(message)) ? 0 : -EAGAIN;
        });
    }

    BENCH_INLINE ssize_t send_batch(void *queue, const void *messages, size_t bytes, size_t count)
    {
        return bench_with_size(bytes, [=](auto size) BENCH_TYPED_INLINE -> ssize_t {
            using element = bench_message<size()>;
            size_t sent = static_cast<Queue<size()> *>(queue)->push_many(static_cast<const element *>(messages), count);
            return sent ? (ssize_t)sent : -EAGAIN;
        });
    }

    BENCH_INLINE ssize_t recv_batch(void *queue, void *messages, size_t bytes, size_t count)
    {
        return bench_with_size(bytes, [=](auto size) BENCH_TYPED_INLINE -> ssize_t {
            using element = bench_message<size()>;
            size_t taken = static_cast<Queue<size()> *>(queue)->pop_many(static_cast<element *>(messages), count);
            return taken ? (ssize_t)taken : -EAGAIN;
        });
    }
};

#endif
