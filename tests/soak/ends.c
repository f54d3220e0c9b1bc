/* ends.c - the verbs of SPSC and MPMC rings behind one face, so that one producer and one consumer do for both. */
#include "soak.h"

#define RING  "soak"
#define LIMIT INT64_C(10000000000)

#define ENDS(kind)                                                                                                     \
    static int kind##_open_producer(struct soak_end *end)                                                              \
    {                                                                                                                  \
        return ring_##kind##_open_producer(&end->of.kind##_producer, end->segment, RING, LIMIT);                       \
    }                                                                                                                  \
    static int kind##_open_consumer(struct soak_end *end)                                                              \
    {                                                                                                                  \
        return ring_##kind##_open_consumer(&end->of.kind##_consumer, end->segment, RING, LIMIT);                       \
    }                                                                                                                  \
    static int kind##_close_producer(struct soak_end *end)                                                             \
    {                                                                                                                  \
        return ring_##kind##_close_producer(&end->of.kind##_producer);                                                 \
    }                                                                                                                  \
    static int kind##_close_consumer(struct soak_end *end)                                                             \
    {                                                                                                                  \
        return ring_##kind##_close_consumer(&end->of.kind##_consumer);                                                 \
    }                                                                                                                  \
    static int kind##_send(struct soak_end *end, const void *message, size_t length, int64_t limit)                    \
    {                                                                                                                  \
        return ring_##kind##_send(&end->of.kind##_producer, message, length, limit);                                   \
    }                                                                                                                  \
    static int kind##_reserve(struct soak_end *end, size_t length, void **message, int64_t limit)                      \
    {                                                                                                                  \
        return ring_##kind##_reserve(&end->of.kind##_producer, length, message, limit);                                \
    }                                                                                                                  \
    static int kind##_commit(struct soak_end *end, size_t length)                                                      \
    {                                                                                                                  \
        return ring_##kind##_commit(&end->of.kind##_producer, length);                                                 \
    }                                                                                                                  \
    static int kind##_cancel(struct soak_end *end)                                                                     \
    {                                                                                                                  \
        return ring_##kind##_cancel(&end->of.kind##_producer);                                                         \
    }                                                                                                                  \
    static ssize_t kind##_send_array(struct soak_end *end, const void *messages, size_t length, size_t count,          \
                                     int64_t limit)                                                                    \
    {                                                                                                                  \
        return ring_##kind##_send_array(&end->of.kind##_producer, messages, length, count, limit);                     \
    }                                                                                                                  \
    static ssize_t kind##_recv(struct soak_end *end, void *buffer, size_t size, int64_t limit)                         \
    {                                                                                                                  \
        return ring_##kind##_recv(&end->of.kind##_consumer, buffer, size, limit);                                      \
    }                                                                                                                  \
    static uint32_t kind##_last_flags(struct soak_end *end)                                                            \
    {                                                                                                                  \
        return ring_##kind##_last_flags(&end->of.kind##_consumer);                                                     \
    }                                                                                                                  \
    static ssize_t kind##_peek_batch(struct soak_end *end, struct ring_message *messages, size_t count, int64_t limit) \
    {                                                                                                                  \
        return ring_##kind##_peek_batch(&end->of.kind##_consumer, messages, count, limit);                             \
    }                                                                                                                  \
    static int kind##_release(struct soak_end *end, size_t count)                                                      \
    {                                                                                                                  \
        return ring_##kind##_release(&end->of.kind##_consumer, count);                                                 \
    }                                                                                                                  \
    const struct soak_verbs soak_##kind##_verbs = {                                                                    \
        kind##_open_producer, kind##_open_consumer, kind##_close_producer, kind##_close_consumer, kind##_send,         \
        kind##_reserve,       kind##_commit,        kind##_cancel,         kind##_send_array,     kind##_recv,         \
        kind##_last_flags,    kind##_peek_batch,    kind##_release,                                                    \
    }

ENDS(spsc);
ENDS(mpmc);
