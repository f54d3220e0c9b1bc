/* mpmc_type.h - level 6: the verbs of an MPMC ring for messages of one C type.
 *
 * RING_MPMC_TYPE(quotes, struct quote); makes quotes_send() and so on, with the length known to the compiler. The
 * endpoints are the same as of mpmc.h; both sides may mix typed and plain calls. Errors as there; in addition
 *   quotes_recv     1: received; -EMSGSIZE: the next message has another length, it stays
 *   quotes_reserve  the place to fill in, or NULL with the error in *error
 *   quotes_peek     the message where it lies, or NULL with the error in *error
 */
#ifndef RING_MPMC_TYPE_H
#define RING_MPMC_TYPE_H

#include <ring/mpmc.h>
#include <ring/mpmc_hot.h>

#define RING_MPMC_TYPE(name, type)                                                                                     \
    RING_INLINE int name##_send(struct ring_mpmc_producer *producer, const type *message, int64_t timeout_ns)          \
    {                                                                                                                  \
        return ring_mpmc_send(producer, message, sizeof(type), timeout_ns);                                            \
    }                                                                                                                  \
    /* 1: received; -EMSGSIZE: the next message has another length, it stays; else as ring_mpmc_recv. */               \
    RING_INLINE int name##_recv(struct ring_mpmc_consumer *consumer, type *message, int64_t timeout_ns)                \
    {                                                                                                                  \
        return ring_mpmc_recv_exactly(consumer, message, sizeof(type), timeout_ns);                                    \
    }                                                                                                                  \
    RING_INLINE ssize_t name##_send_array(struct ring_mpmc_producer *producer, const type *messages, size_t count,     \
                                          int64_t timeout_ns)                                                          \
    {                                                                                                                  \
        return ring_mpmc_send_array(producer, messages, sizeof(type), count, timeout_ns);                              \
    }                                                                                                                  \
    RING_INLINE ssize_t name##_recv_array(struct ring_mpmc_consumer *consumer, type *messages, size_t count,           \
                                          int64_t timeout_ns)                                                          \
    {                                                                                                                  \
        return ring_mpmc_recv_array(consumer, messages, sizeof(type), count, timeout_ns);                              \
    }                                                                                                                  \
    RING_INLINE type *name##_reserve(struct ring_mpmc_producer *producer, int *error, int64_t timeout_ns)              \
    {                                                                                                                  \
        void *message = NULL;                                                                                          \
        *error = ring_mpmc_reserve(producer, sizeof(type), &message, timeout_ns);                                      \
        return (type *)message;                                                                                        \
    }                                                                                                                  \
    RING_INLINE int name##_commit(struct ring_mpmc_producer *producer)                                                 \
    {                                                                                                                  \
        return ring_mpmc_commit(producer, sizeof(type));                                                               \
    }                                                                                                                  \
    RING_INLINE const type *name##_peek(struct ring_mpmc_consumer *consumer, int *error, int64_t timeout_ns)           \
    {                                                                                                                  \
        struct ring_message message = { 0, 0, 0 };                                                                     \
        *error = ring_mpmc_peek(consumer, &message, timeout_ns);                                                       \
        if (!*error && message.length != sizeof(type))                                                                 \
            *error = -EMSGSIZE;                                                                                        \
        return *error ? NULL : (const type *)message.data;                                                             \
    }                                                                                                                  \
    RING_INLINE int name##_release(struct ring_mpmc_consumer *consumer, size_t count)                                  \
    {                                                                                                                  \
        return ring_mpmc_release(consumer, count);                                                                     \
    }                                                                                                                  \
    struct ring_mpmc_type_##name /* so that the macro wants its semicolon */

#endif
