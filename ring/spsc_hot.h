/* spsc_hot.h - level 6: the hot path of the SPSC ring, for the compiler to put where it is called. What each verb does
 * and returns stands in spsc.h; the labels are those of docs/memory_ordering.md; the theory is in spsc.c.
 */
#ifndef RING_SPSC_HOT_H
#define RING_SPSC_HOT_H

#include <ring/spsc.h>

RING_BEGIN_C

/* Records up to this many bytes have their lines taken ahead of time. */
#ifndef RING_SPSC_TOUCH_AHEAD
#define RING_SPSC_TOUCH_AHEAD 2048
#endif
/* Further ahead their lines are asked for, so that several are under way at a time. */
#define RING_SPSC_FETCH_AHEAD 1024

/* ---- The slow halves of the hot verbs; not for callers. ---- */

RING_PUBLIC int ring_spsc_make_room(struct ring_spsc_producer *producer, uint64_t stride, int64_t timeout_ns);
RING_PUBLIC int ring_spsc_refuse_length(const struct ring_spsc_producer *producer, const void *message, size_t length);
/* 0: the hot path will find a plain record now; 1: there is a message, but only the slow path can take it; else -errno.
 */
RING_PUBLIC int ring_spsc_await(struct ring_spsc_consumer *consumer, int64_t timeout_ns);
/* A message that was there is gone: no correct peer does that. Returns -EUCLEAN, as every later call will. */
RING_PUBLIC int ring_spsc_poison(struct ring_spsc_consumer *consumer);
RING_PUBLIC ssize_t ring_spsc_recv_slowly(struct ring_spsc_consumer *consumer, void *buffer, size_t size);
RING_PUBLIC int ring_spsc_peek_slowly(struct ring_spsc_consumer *consumer, struct ring_message *message);
RING_PUBLIC int ring_spsc_release_slowly(struct ring_spsc_consumer *consumer, size_t count);

/* ---- The hot path. ---- */

RING_INLINE RING_ATOMIC(uint64_t) * ring_spsc_header_at(const unsigned char *data, uint64_t mask, uint64_t position)
{
    return (RING_ATOMIC(uint64_t) *)(void *)(uintptr_t)(data + (position & mask));
}

/* Bytes that a message takes in the ring, header included. */
RING_INLINE uint64_t ring_spsc_stride(uint64_t length)
{
    return (length + RING_RECORD_HEADER + 7) & ~UINT64_C(7);
}

/* No ring's longest message is shorter than that, so a length known while compiling needs no look at max_message. */
#define RING_SPSC_ALWAYS_FITS (RING_SPSC_MIN_BYTES / 4)

RING_INLINE bool ring_spsc_is_too_long(uint64_t length, uint64_t max_message)
{
    return !(RING_IS_CONSTANT(length) && length <= RING_SPSC_ALWAYS_FITS) && length > max_message;
}

/* P0: takes the lines of the record to come away from the consumer's core, which has prefetched them: a prefetch takes
 * a clean line, but leaves a dirty one alone. What is written does not matter, the space is free. Relaxed: nobody reads
 * it before a later P2. */
RING_INLINE void ring_spsc_touch_ahead(struct ring_spsc_producer *producer, uint64_t touched, uint64_t next,
                                       uint64_t stride)
{
    if (RING_LIKELY((int64_t)(touched - next) >= (int64_t)(stride + RING_CACHE_LINE)))
        return;
    if (RING_UNLIKELY((int64_t)(touched - next) < 0))
        touched = (next + RING_CACHE_LINE - 1) & ~(uint64_t)(RING_CACHE_LINE - 1);
    unsigned char *data = producer->data;
    uint64_t mask = producer->mask;
    uint64_t limit = producer->limit;
    while (touched - next < stride + RING_CACHE_LINE && (int64_t)(limit - touched) >= 0) {
        ring_atomic_store(ring_spsc_header_at(data, mask, touched), 0, memory_order_relaxed);
        ring_prefetch_for_write(ring_spsc_header_at(data, mask, touched + RING_SPSC_FETCH_AHEAD));
        touched += RING_CACHE_LINE;
    }
    producer->touched = touched;
}

/* P1..P3: makes the record at `position` visible, after the zero that ends the ring's records: whoever sees this header
 * sees that zero, or what came to stand there later. */
RING_INLINE void ring_spsc_publish(struct ring_spsc_producer *producer, uint64_t position, const void *message,
                                   size_t length, uint64_t header, uint64_t stride)
{
    /* Read before the stores, after which the compiler would read them again. */
    unsigned char *data = producer->data;
    uint64_t mask = producer->mask;
    uint64_t touched = producer->touched;
    RING_ATOMIC(uint32_t) *consumer_asleep = producer->consumer_asleep;
    uint64_t next = position + stride;
    if (length)
        ring_copy_in(data + (position & mask) + RING_RECORD_HEADER, message, length);
    /* P1: relaxed, ordered by P2; read by C1. */
    ring_atomic_store(ring_spsc_header_at(data, mask, next), 0, memory_order_relaxed);
    /* P2: release, pairs with C1: payload and zero come before. */
    ring_atomic_store(ring_spsc_header_at(data, mask, position), header, memory_order_release);
    ring_compiler_barrier(); /* the processor's half is the sleeper's membarrier, W1 */
    /* P3: relaxed is enough: a sleeper that we miss here sees P2, see wait.h. */
    if (RING_UNLIKELY(ring_atomic_load(consumer_asleep, memory_order_relaxed) != 0))
        ring_wake(consumer_asleep);
    if (stride <= RING_SPSC_TOUCH_AHEAD)
        ring_spsc_touch_ahead(producer, touched, next, stride);
}

RING_INLINE int ring_spsc_send(struct ring_spsc_producer *producer, const void *message, size_t length,
                               int64_t timeout_ns)
{
    if (RING_UNLIKELY(ring_spsc_is_too_long(length, producer->max_message) || (!message && length)))
        return ring_spsc_refuse_length(producer, message, length);
    uint64_t stride = ring_spsc_stride(length);
    uint64_t position = producer->position;
    if (RING_UNLIKELY(producer->limit - position < stride)) {
        int refusal = ring_spsc_make_room(producer, stride, timeout_ns);
        if (refusal)
            return refusal;
    }
    producer->position = position + stride;
    ring_spsc_publish(producer, position, message, length, RING_RECORD_ONE | length, stride);
    return 0;
}

RING_INLINE int ring_spsc_reserve(struct ring_spsc_producer *producer, size_t length, void **message,
                                  int64_t timeout_ns)
{
    *message = NULL;
    if (RING_UNLIKELY(ring_spsc_is_too_long(length, producer->max_message)))
        return ring_spsc_refuse_length(producer, NULL, length);
    uint64_t stride = ring_spsc_stride(length);
    uint64_t position = producer->position;
    if (RING_UNLIKELY(producer->limit - position < stride)) {
        int refusal = ring_spsc_make_room(producer, stride, timeout_ns);
        if (refusal)
            return refusal;
    }
    producer->reserved = length + 1;
    producer->usual_limit = producer->limit;
    producer->limit = position; /* sends any other verb to make_room(), which refuses it */
    *message = producer->data + (position & producer->mask) + RING_RECORD_HEADER;
    return 0;
}

RING_INLINE int ring_spsc_commit(struct ring_spsc_producer *producer, size_t length)
{
    uint64_t stride = ring_spsc_stride(length);
    uint64_t position = producer->position;
    if (RING_UNLIKELY(length >= producer->reserved))
        return -EINVAL;
    producer->limit = producer->usual_limit;
    producer->reserved = 0;
    producer->position = position + stride;
    ring_spsc_publish(producer, position, NULL, 0, RING_RECORD_ONE | length, stride);
    return 0;
}

RING_INLINE int ring_spsc_cancel(struct ring_spsc_producer *producer)
{
    if (RING_UNLIKELY(!producer->reserved))
        return -EINVAL;
    producer->limit = producer->usual_limit;
    producer->reserved = 0;
    return 0;
}

/* C2: frees everything before `position`, when enough has come together. */
RING_INLINE void ring_spsc_consumed(struct ring_spsc_consumer *consumer, uint64_t position)
{
    consumer->position = position;
    if (RING_UNLIKELY((int64_t)(position - consumer->publish_at) >= 0)) {
        consumer->published = position;
        consumer->publish_at = position + consumer->publish_bytes;
        /* C2: release, pairs with P4: we are done reading what lies before. */
        ring_atomic_store(&consumer->control->head, position, memory_order_release);
        ring_compiler_barrier();
        /* C3: as P3. */
        if (RING_UNLIKELY(ring_atomic_load(&consumer->control->producer_asleep, memory_order_relaxed) != 0))
            ring_wake(&consumer->control->producer_asleep);
    }
}

/* Is there a plain record whose header is known to be sound? Sets its length and stride. */
RING_INLINE bool ring_spsc_look(struct ring_spsc_consumer *consumer, uint64_t *length, uint64_t *stride)
{
    /* C1: acquire, pairs with P2. */
    uint64_t header =
        ring_atomic_load(ring_spsc_header_at(consumer->data, consumer->mask, consumer->position), memory_order_acquire);
    if (RING_LIKELY(header == consumer->usual_header)) {
        /* Taken from memory of our own, not from the header: the core predicts the branch and goes on to the next
         * record before this header has arrived from the other core. */
        *length = consumer->usual_length;
        *stride = consumer->usual_stride;
        return true;
    }
    if (RING_LIKELY(header - RING_RECORD_ONE <= consumer->max_message)) {
        *length = header - RING_RECORD_ONE;
        *stride = ring_spsc_stride(*length);
        consumer->usual_header = header;
        consumer->usual_length = *length;
        consumer->usual_stride = *stride;
        return true;
    }
    return false;
}

/* Copies the next message out if it is there and has exactly that length: where the length is known while compiling
 * this is all of a receipt. Fields are read once, before the copy, after which the compiler would read them again. */
RING_INLINE bool ring_spsc_take_exactly(struct ring_spsc_consumer *consumer, void *message, size_t length)
{
    uint64_t position = consumer->position;
    const unsigned char *record = consumer->data + (position & consumer->mask);
    /* C1: acquire, pairs with P2. */
    uint64_t header = ring_atomic_load((const RING_ATOMIC(uint64_t) *)(const void *)record, memory_order_acquire);
    if (RING_UNLIKELY(header != (RING_RECORD_ONE | length) || ring_spsc_is_too_long(length, consumer->max_message)))
        return false;
    if (length)
        ring_copy(message, record + RING_RECORD_HEADER, length);
    ring_spsc_consumed(consumer, position + ring_spsc_stride(length));
    return true;
}

RING_INLINE ssize_t ring_spsc_recv(struct ring_spsc_consumer *consumer, void *buffer, size_t size, int64_t timeout_ns)
{
    uint64_t length, stride;
    if (RING_UNLIKELY(!buffer && size))
        return -EINVAL;
    for (bool again = false;; again = true) {
        if (RING_IS_CONSTANT(size) && RING_LIKELY(ring_spsc_take_exactly(consumer, buffer, size)))
            return (ssize_t)size;
        if (RING_LIKELY(ring_spsc_look(consumer, &length, &stride)))
            break;
        int found = again ? ring_spsc_poison(consumer) : ring_spsc_await(consumer, timeout_ns);
        if (found < 0)
            return found;
        if (found)
            return ring_spsc_recv_slowly(consumer, buffer, size);
    }
    if (RING_UNLIKELY(length > size))
        return -EMSGSIZE;
    uint64_t position = consumer->position;
    const unsigned char *message = consumer->data + (position & consumer->mask) + RING_RECORD_HEADER;
    if (length)
        ring_copy(buffer, message, length);
    ring_spsc_consumed(consumer, position + stride);
    return (ssize_t)length;
}

RING_INLINE uint32_t ring_spsc_last_flags(const struct ring_spsc_consumer *consumer)
{
    return consumer->last_flags;
}

RING_INLINE int ring_spsc_peek(struct ring_spsc_consumer *consumer, struct ring_message *message, int64_t timeout_ns)
{
    uint64_t length, stride;
    for (bool again = false; RING_UNLIKELY(!ring_spsc_look(consumer, &length, &stride)); again = true) {
        int found = again ? ring_spsc_poison(consumer) : ring_spsc_await(consumer, timeout_ns);
        if (found < 0)
            return found;
        if (found)
            return ring_spsc_peek_slowly(consumer, message);
    }
    uint64_t position = consumer->position;
    message->data = consumer->data + (position & consumer->mask) + RING_RECORD_HEADER;
    message->length = length;
    message->flags = 0;
    consumer->peeked_position = position + stride;
    consumer->peeked_pack.count = 0;
    consumer->peeked_count = 1;
    return 0;
}

RING_INLINE int ring_spsc_release(struct ring_spsc_consumer *consumer, size_t count)
{
    if (RING_UNLIKELY(count != 1 || consumer->peeked_count != 1 || !consumer->mask ||
                      (int64_t)(consumer->peeked_position - consumer->position) <= 0))
        return ring_spsc_release_slowly(consumer, count);
    consumer->peeked_count = 0;
    ring_spsc_consumed(consumer, consumer->peeked_position);
    return 0;
}

/* For the typed front: receives one message of exactly `length` bytes. 1; -EMSGSIZE: it has another length, it stays.
 */
RING_INLINE int ring_spsc_recv_exactly(struct ring_spsc_consumer *consumer, void *message, size_t length,
                                       int64_t timeout_ns)
{
    if (RING_LIKELY(ring_spsc_take_exactly(consumer, message, length)))
        return 1;
    return (int)ring_spsc_recv_array(consumer, message, length, 1, timeout_ns);
}

RING_END_C

#endif
