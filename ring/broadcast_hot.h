/* broadcast_hot.h - level 6: the verbs of a broadcast ring. Include broadcast.h. */
#ifndef RING_BROADCAST_HOT_H
#define RING_BROADCAST_HOT_H

#include <ring/broadcast.h>

RING_BEGIN_C

/* ---- The slow halves; not for callers. They are called and return inside the guard, but where said otherwise. ---- */

RING_PUBLIC int ring_broadcast_refuse_length(const struct ring_broadcast_producer *producer, const void *message,
                                             size_t length);
/* 0: the slot at the producer's position may be written, and is marked; else -errno, guard left. */
RING_PUBLIC int ring_broadcast_make_room(struct ring_broadcast_producer *producer, int64_t timeout_ns);
/* 0: the hot path will find a message now; else -errno, guard left. */
RING_PUBLIC int ring_broadcast_await(struct ring_broadcast_consumer *consumer, int64_t timeout_ns);
/* The message was there and is overwritten: -EOVERFLOW; or just gone: -EUCLEAN; guard left. */
RING_PUBLIC int ring_broadcast_overtaken(struct ring_broadcast_consumer *consumer);
/* Wakes all consumers that sleep. */
RING_PUBLIC void ring_broadcast_wake(struct ring_broadcast_producer *producer);

/* ---- Slots ---- */

RING_INLINE RING_ATOMIC(uint64_t) *
    ring_broadcast_slot(const unsigned char *data, uint64_t mask, uint64_t stride, uint64_t position)
{
    return (RING_ATOMIC(uint64_t) *)(void *)(uintptr_t)(data + (position & mask) * stride);
}

/* The word of an empty message at `position`, to which its length is added. */
RING_INLINE uint64_t ring_broadcast_word(uint64_t mask, unsigned lap_shift, uint64_t position,
                                         enum ring_layout_broadcast_state state)
{
    return (position & ~mask) << lap_shift | (uint64_t)state << RING_BROADCAST_STATE_SHIFT;
}

/* A slow consumer may read what is being overwritten, and finds that out afterwards; so messages are copied by relaxed
 * atomic accesses. `slot` is a multiple of 8. For longer messages that takes twice as long as wide moves, which keep
 * more lines under way at a time. Those race, which C11 does not allow; but the fences at B1 and B8 keep compiler and
 * processor from moving them, and what was read is only used if it was not overwritten. */
#define RING_BROADCAST_COPY_WORDS 64

RING_INLINE void ring_broadcast_copy_in(unsigned char *slot, const void *from, size_t length)
{
    const unsigned char *at = (const unsigned char *)from;
    size_t left = length;
    if (length > RING_BROADCAST_COPY_WORDS && !RING_THREAD_SANITIZER) {
        ring_copy_in(slot, from, length); /* B2 */
        return;
    }
    for (; left >= 64; left -= 64, at += 64, slot += 64)
        for (int i = 0; i < 8; i++) {
            uint64_t word;
            memcpy(&word, at + 8 * i, 8);
            ring_atomic_store((RING_ATOMIC(uint64_t) *)(void *)(slot + 8 * i), word, memory_order_relaxed); /* B2 */
        }
    for (; left >= 8; left -= 8, at += 8, slot += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        ring_atomic_store((RING_ATOMIC(uint64_t) *)(void *)slot, word, memory_order_relaxed); /* B2 */
    }
    if (left & 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        ring_atomic_store((RING_ATOMIC(uint32_t) *)(void *)slot, word, memory_order_relaxed); /* B2 */
        at += 4;
        slot += 4;
    }
    if (left & 2) {
        uint16_t word;
        memcpy(&word, at, 2);
        ring_atomic_store((RING_ATOMIC(uint16_t) *)(void *)slot, word, memory_order_relaxed); /* B2 */
        at += 2;
        slot += 2;
    }
    if (left & 1)
        ring_atomic_store((RING_ATOMIC(uint8_t) *)(void *)slot, *at, memory_order_relaxed); /* B2 */
}

RING_INLINE void ring_broadcast_copy_out(void *to, const unsigned char *from, size_t length)
{
    unsigned char *at = (unsigned char *)to;
    unsigned char *slot = (unsigned char *)(uintptr_t)from;
    size_t left = length;
    if (length > RING_BROADCAST_COPY_WORDS && !RING_THREAD_SANITIZER) {
        ring_copy(to, from, length); /* B7 */
        return;
    }
    for (; left >= 64; left -= 64, at += 64, slot += 64)
        for (int i = 0; i < 8; i++) {
            uint64_t word =
                ring_atomic_load((RING_ATOMIC(uint64_t) *)(void *)(slot + 8 * i), memory_order_relaxed); /* B7 */
            memcpy(at + 8 * i, &word, 8);
        }
    for (; left >= 8; left -= 8, at += 8, slot += 8) {
        uint64_t word = ring_atomic_load((RING_ATOMIC(uint64_t) *)(void *)slot, memory_order_relaxed); /* B7 */
        memcpy(at, &word, 8);
    }
    if (left & 4) {
        uint32_t word = ring_atomic_load((RING_ATOMIC(uint32_t) *)(void *)slot, memory_order_relaxed); /* B7 */
        memcpy(at, &word, 4);
        at += 4;
        slot += 4;
    }
    if (left & 2) {
        uint16_t word = ring_atomic_load((RING_ATOMIC(uint16_t) *)(void *)slot, memory_order_relaxed); /* B7 */
        memcpy(at, &word, 2);
        at += 2;
        slot += 2;
    }
    if (left & 1)
        *at = ring_atomic_load((RING_ATOMIC(uint8_t) *)(void *)slot, memory_order_relaxed); /* B7 */
}

/* ---- Sending ---- */

/* B1: from here on nobody takes this slot for the message of the lap before, and whatever we write into it is seen
 * after this mark. `length`: bytes that the message to come will probably have; the lines it takes are fetched now, by
 * stores, since consumers' cores prefetch them and would take a clean line away again. */
RING_INLINE void ring_broadcast_mark(struct ring_broadcast_producer *producer, uint64_t position, size_t length)
{
    RING_ATOMIC(uint64_t) *slot = ring_broadcast_slot(producer->data, producer->mask, producer->stride, position);
    ring_atomic_store(slot, ring_broadcast_word(producer->mask, producer->lap_shift, position, RING_BROADCAST_WRITING),
                      memory_order_relaxed);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* B1: pairs with B8 */
    if (length > RING_CACHE_LINE - RING_BROADCAST_WORD_BYTES && length <= RING_BROADCAST_TOUCH_AHEAD)
        for (size_t line = RING_CACHE_LINE / 8; line < (length + RING_BROADCAST_WORD_BYTES) / 8;
             line += RING_CACHE_LINE / 8) {
            ring_atomic_store(slot + line, 0, memory_order_relaxed); /* B2: any value will do */
            ring_prefetch_for_write(slot + line + RING_BROADCAST_FETCH_AHEAD / RING_BROADCAST_WORD_BYTES);
        }
}

/* B3..B5: makes the message at `position` visible and sees to the next slot. */
RING_INLINE void ring_broadcast_publish(struct ring_broadcast_producer *producer, uint64_t position, size_t length)
{
    RING_ATOMIC(uint64_t) *slot = ring_broadcast_slot(producer->data, producer->mask, producer->stride, position);
    uint64_t word = ring_broadcast_word(producer->mask, producer->lap_shift, position, RING_BROADCAST_READY) | length;
    ring_atomic_store(slot, word, memory_order_release); /* B3: release, pairs with B6: the message comes before */
    producer->position = position + 1;
    ring_atomic_store(&producer->control->tail, position + 1, memory_order_release); /* B4: after B3, pairs with B11 */
    ring_compiler_barrier(); /* the processor's half is the sleeper's membarrier, W1 */
    /* B5: relaxed is enough: a sleeper that we miss here sees B3, see wait.h. */
    if (RING_UNLIKELY(ring_atomic_load(&producer->control->consumers_asleep, memory_order_relaxed) != 0))
        ring_broadcast_wake(producer);
    if (RING_LIKELY(position + 1 != producer->limit))
        ring_broadcast_mark(producer, position + 1, length);
    ring_prefetch_for_write(slot + RING_BROADCAST_FETCH_AHEAD / RING_BROADCAST_WORD_BYTES);
}

/* Copies a message into the ring. 0; -EMSGSIZE: longer than slot_bytes, never fits; -EBUSY: a reservation is open, or a
 * call of this endpoint is under way; -EINVAL: NULL message of some length; lossless only: -EAGAIN, -ETIMEDOUT, a
 * living consumer is a whole ring behind. With RING_NO_WAIT a dead one is found out by one of the next 64 tries at the
 * latest. */
RING_INLINE int ring_broadcast_send(struct ring_broadcast_producer *producer, const void *message, size_t length,
                                    int64_t timeout_ns)
{
    if (RING_UNLIKELY(length > producer->slot_bytes || (!message && length)))
        return ring_broadcast_refuse_length(producer, message, length);
    int code = ring_guard_enter(&producer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    uint64_t position = producer->position;
    if (RING_UNLIKELY(position == producer->limit)) {
        code = ring_broadcast_make_room(producer, timeout_ns);
        if (code)
            return code;
    }
    unsigned char *slot = producer->data + (position & producer->mask) * producer->stride;
    ring_broadcast_copy_in(slot + RING_BROADCAST_WORD_BYTES, message, length);
    ring_broadcast_publish(producer, position, length);
    ring_guard_leave(&producer->guarded);
    return 0;
}

/* Gives room for a message of up to `length` bytes, to be filled in place and then committed or cancelled; meanwhile no
 * other call but those two. Errors as for send. */
RING_INLINE int ring_broadcast_reserve(struct ring_broadcast_producer *producer, size_t length, void **message,
                                       int64_t timeout_ns)
{
    *message = NULL;
    if (RING_UNLIKELY(length > producer->slot_bytes))
        return ring_broadcast_refuse_length(producer, NULL, length);
    int code = ring_guard_enter(&producer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    uint64_t position = producer->position;
    if (RING_UNLIKELY(position == producer->limit)) {
        code = ring_broadcast_make_room(producer, timeout_ns);
        if (code)
            return code;
    }
    producer->reserved = length + 1;
    producer->usual_limit = producer->limit;
    producer->limit = position; /* sends any other verb to make_room(), which refuses it */
    *message = producer->data + (position & producer->mask) * producer->stride + RING_BROADCAST_WORD_BYTES;
    ring_guard_leave(&producer->guarded);
    return 0;
}

/* Publishes the first `length` bytes of the reservation. 0; -EINVAL: no reservation, or longer than it (which stays).
 */
RING_INLINE int ring_broadcast_commit(struct ring_broadcast_producer *producer, size_t length)
{
    int code = ring_guard_enter(&producer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    bool fits = length < producer->reserved;
    if (RING_LIKELY(fits)) {
        producer->limit = producer->usual_limit;
        producer->reserved = 0;
        ring_broadcast_publish(producer, producer->position, length);
    }
    ring_guard_leave(&producer->guarded);
    return RING_LIKELY(fits) ? 0 : producer->fault ? producer->fault : -EINVAL;
}

/* Forgets the reservation: nothing was sent. 0; -EINVAL: there is none. */
RING_INLINE int ring_broadcast_cancel(struct ring_broadcast_producer *producer)
{
    int code = ring_guard_enter(&producer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    bool open = producer->reserved != 0;
    if (RING_LIKELY(open)) {
        producer->limit = producer->usual_limit;
        producer->reserved = 0;
    }
    ring_guard_leave(&producer->guarded);
    return RING_LIKELY(open) ? 0 : producer->fault ? producer->fault : -EINVAL;
}

/* ---- Receiving ---- */

/* A message as it was seen: its slot, the slot's word, and its length if it is there and sound: less than or equal to
 * slot_bytes; else any number above. */
struct ring_broadcast_view {
    RING_ATOMIC(uint64_t) * slot;
    uint64_t word;
    uint64_t length;
};

RING_INLINE struct ring_broadcast_view ring_broadcast_look(const struct ring_broadcast_consumer *consumer,
                                                           uint64_t position)
{
    struct ring_broadcast_view view;
    view.slot = ring_broadcast_slot(consumer->data, consumer->mask, consumer->stride, position);
    view.word = ring_atomic_load(view.slot, memory_order_acquire); /* B6: acquire, pairs with B3 */
    view.length =
        view.word - ring_broadcast_word(consumer->ring_mask, consumer->lap_shift, position, RING_BROADCAST_READY);
    return view;
}

RING_INLINE unsigned char *ring_broadcast_message(const struct ring_broadcast_view *view)
{
    return (unsigned char *)(uintptr_t)(view->slot + 1);
}

/* Looks at the next message, and waits for it. 0; else -errno, guard left. */
RING_INLINE int ring_broadcast_next(struct ring_broadcast_consumer *consumer, struct ring_broadcast_view *view,
                                    int64_t timeout_ns)
{
    while (RING_UNLIKELY((*view = ring_broadcast_look(consumer, consumer->position)).length > consumer->slot_bytes)) {
        int code = ring_broadcast_await(consumer, timeout_ns); /* 0 once for each position */
        if (code)
            return code;
    }
    return 0;
}

/* B8: was the message, of which we have read, still there then? */
RING_INLINE bool ring_broadcast_held(const struct ring_broadcast_view *view)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* B8: pairs with B1: who has read anything newer sees the mark */
    return ring_atomic_load(view->slot, memory_order_relaxed) == view->word;
}

/* B9: gives the seat's word our position: lossless, the producer may write over what lies before. */
RING_PUBLIC void ring_broadcast_publish_position(struct ring_broadcast_consumer *consumer);

RING_INLINE void ring_broadcast_consumed(struct ring_broadcast_consumer *consumer, uint64_t position)
{
    consumer->position = position;
    if (RING_UNLIKELY(position - consumer->published >= consumer->publish_number))
        ring_broadcast_publish_position(consumer);
}

/* Copies the next message out. Returns its length; -EOVERFLOW: messages were lost, ring_broadcast_lost() says how many,
 * the next call goes on behind them; -EAGAIN, -ETIMEDOUT, -EPIPE, -EOWNERDEAD: nothing there; -EMSGSIZE: longer than
 * `size`, it stays the next one; -EINVAL: NULL buffer of some size. */
RING_INLINE ssize_t ring_broadcast_recv(struct ring_broadcast_consumer *consumer, void *buffer, size_t size,
                                        int64_t timeout_ns)
{
    if (RING_UNLIKELY(!buffer && size))
        return -EINVAL;
    int code = ring_guard_enter(&consumer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    struct ring_broadcast_view view;
    code = ring_broadcast_next(consumer, &view, timeout_ns);
    if (RING_UNLIKELY(code))
        return code;
    uint64_t length = view.length;
    if (RING_UNLIKELY(length > size)) {
        ring_guard_leave(&consumer->guarded);
        return -EMSGSIZE;
    }
    if (RING_IS_CONSTANT(size) && RING_LIKELY(length == size))
        ring_broadcast_copy_out(buffer, ring_broadcast_message(&view), size);
    else if (length)
        ring_broadcast_copy_out(buffer, ring_broadcast_message(&view), length);
    if (RING_UNLIKELY(!ring_broadcast_held(&view)))
        return ring_broadcast_overtaken(consumer);
    ring_broadcast_consumed(consumer, consumer->position + 1);
    ring_guard_leave(&consumer->guarded);
    return (ssize_t)length;
}

/* For the typed front: receives one message of exactly `length` bytes. 1; -EMSGSIZE: it has another length, it stays.
 */
RING_INLINE int ring_broadcast_recv_exactly(struct ring_broadcast_consumer *consumer, void *message, size_t length,
                                            int64_t timeout_ns)
{
    int code = ring_guard_enter(&consumer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    struct ring_broadcast_view view;
    code = ring_broadcast_next(consumer, &view, timeout_ns);
    if (RING_UNLIKELY(code))
        return code;
    if (RING_UNLIKELY(view.length != length)) {
        ring_guard_leave(&consumer->guarded);
        return -EMSGSIZE;
    }
    ring_broadcast_copy_out(message, ring_broadcast_message(&view), length);
    if (RING_UNLIKELY(!ring_broadcast_held(&view)))
        return ring_broadcast_overtaken(consumer);
    ring_broadcast_consumed(consumer, consumer->position + 1);
    ring_guard_leave(&consumer->guarded);
    return 1;
}

/* Shows the next message where it lies, until released; peeking again shows the same one. Where it can be overtaken
 * (overwrite, and every observer) what was read counts only once release() has said 0. Errors as for recv. */
RING_INLINE int ring_broadcast_peek(struct ring_broadcast_consumer *consumer, struct ring_message *message,
                                    int64_t timeout_ns)
{
    int code = ring_guard_enter(&consumer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    struct ring_broadcast_view view;
    code = ring_broadcast_next(consumer, &view, timeout_ns);
    if (RING_UNLIKELY(code))
        return code;
    message->data = ring_broadcast_message(&view);
    message->length = view.length;
    message->flags = 0;
    consumer->peeked_end = consumer->position + 1;
    ring_guard_leave(&consumer->guarded);
    return 0;
}

/* Passes the `count` oldest messages of those last peeked (none of which was received meanwhile). 0; -EOVERFLOW: they
 * were overwritten meanwhile, what was read may be torn; all of them count as lost, see recv; -EINVAL: more than were
 * peeked. */
RING_INLINE int ring_broadcast_release(struct ring_broadcast_consumer *consumer, size_t count)
{
    int code = ring_guard_enter(&consumer->guarded);
    if (RING_UNLIKELY(code))
        return code;
    uint64_t peeked = consumer->peeked_end - consumer->position;
    if (RING_UNLIKELY(peeked > consumer->ring_mask + 1 || count > peeked)) {
        ring_guard_leave(&consumer->guarded);
        return consumer->fault ? consumer->fault : -EINVAL;
    }
    /* The oldest is overwritten first; while it is there, all are. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* B8, as above */
    if (RING_UNLIKELY(count && ring_broadcast_look(consumer, consumer->position).length > consumer->slot_bytes))
        return ring_broadcast_overtaken(consumer);
    ring_broadcast_consumed(consumer, consumer->position + count);
    ring_guard_leave(&consumer->guarded);
    return 0;
}

/* ---- Batches ---- */

/* Sends the first of `count` messages, as many as there is room for; waits until there is room for one.
 * Returns how many were sent, at least 1 (0 for count 0); else an error as for send about messages[0]. */
RING_PUBLIC ssize_t ring_broadcast_send_batch(struct ring_broadcast_producer *producer,
                                              const struct ring_message *messages, size_t count, int64_t timeout_ns);

/* The same for an array of messages that all have `length` bytes and lie one behind the other. */
RING_PUBLIC ssize_t ring_broadcast_send_array(struct ring_broadcast_producer *producer, const void *messages,
                                              size_t length, size_t count, int64_t timeout_ns);

/* Shows up to `count` of the next messages, at least 1 (waits for that); release() passes them. Else errors as for
 * peek. */
RING_PUBLIC ssize_t ring_broadcast_peek_batch(struct ring_broadcast_consumer *consumer, struct ring_message *messages,
                                              size_t count, int64_t timeout_ns);

/* Copies up to `count` messages that all have exactly `length` bytes, one behind the other, into `messages`. Returns
 * how many, at least 1 (waits for that). -EMSGSIZE: the next message has another length, it stays. Else errors as for
 * recv. */
RING_PUBLIC ssize_t ring_broadcast_recv_array(struct ring_broadcast_consumer *consumer, void *messages, size_t length,
                                              size_t count, int64_t timeout_ns);

RING_END_C

#endif
