/* peer.h - what the peers share: one capacity, and the calls of the queues whose element is a type. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "transport.h"

/* What the ring of this library has by default: every peer gets as many messages as fit into that. */
#define PEER_RING_BYTES ((size_t)2 << 20)
#define PEER_LEAST      ((size_t)8)

#ifdef __cplusplus
#define PEER_CONSTANT constexpr
#else
#define PEER_CONSTANT
#endif

/* A power of two, because most peers want one. */
PEER_CONSTANT BENCH_INLINE size_t peer_elements(size_t ring_bytes, size_t bytes)
{
    size_t wanted = (ring_bytes ? ring_bytes : PEER_RING_BYTES) / bytes, elements = PEER_LEAST;
    while (elements * 2 <= wanted)
        elements *= 2;
    return elements;
}

#ifdef __cplusplus
#include "typed.h"

/* For queues whose capacity is a parameter of their type. The template's name must be no other file's: gcc gives
 * typed<Queue> one body for the whole program, even when Queue is in an unnamed namespace. */
template <template <size_t> class Queue> struct fixed : typed<Queue> {
    static const char *refuse(const bench_options *options)
    {
        if (options->ring_bytes && options->ring_bytes != PEER_RING_BYTES)
            return "its capacity is compiled in: 2 MiB of messages";
        return typed<Queue>::refuse(options);
    }
};

/* The calls that loops.h wants, from a typed<>. */
#define PEER_CALLS(own, peer)                                                                                          \
    typedef void own##_producer;                                                                                       \
    typedef void own##_consumer;                                                                                       \
    BENCH_INLINE int own##_send(void *queue, const void *message, size_t bytes)                                        \
    {                                                                                                                  \
        return peer::send(queue, message, bytes);                                                                      \
    }                                                                                                                  \
    BENCH_INLINE int own##_recv(void *queue, void *message, size_t bytes)                                              \
    {                                                                                                                  \
        return peer::recv(queue, message, bytes);                                                                      \
    }

#define PEER_BATCH_CALLS(own, peer)                                                                                    \
    BENCH_INLINE ssize_t own##_send_batch(void *queue, const void *messages, size_t bytes, size_t count)               \
    {                                                                                                                  \
        return peer::send_batch(queue, messages, bytes, count);                                                        \
    }                                                                                                                  \
    BENCH_INLINE ssize_t own##_recv_batch(void *queue, void *messages, size_t bytes, size_t count)                     \
    {                                                                                                                  \
        return peer::recv_batch(queue, messages, bytes, count);                                                        \
    }
#endif

#endif
