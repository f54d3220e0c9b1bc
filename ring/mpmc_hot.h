/* mpmc_hot.h - level 6: send and recv of one who is alone on its side: no locked instruction, no shared counter. All
 * others, and all that is unusual, goes to mpmc_verbs.c. The labels are those of mpmc.c.
 */
#ifndef RING_MPMC_HOT_H
#define RING_MPMC_HOT_H

#include <ring/mpmc.h>

RING_BEGIN_C

#ifndef RING_MPMC_FETCH_AHEAD
#define RING_MPMC_FETCH_AHEAD 1024 /* bytes: lines that are asked for before their turn */
#endif

/* ---- The slow halves; not for callers. The guard is held. ---- */

RING_PUBLIC int ring_mpmc_send_slowly(struct ring_mpmc_end *end, const void *message, size_t length,
                                      int64_t timeout_ns);
RING_PUBLIC ssize_t ring_mpmc_recv_slowly(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact,
                                          int64_t timeout_ns);
/* The mode changed after the intent for `position` was stored: 0, done all the same; 1: the position was not counted,
 * begin anew. */
RING_PUBLIC int ring_mpmc_send_revoked(struct ring_mpmc_end *end, uint64_t position, const void *message,
                                       size_t length);
RING_PUBLIC int ring_mpmc_recv_revoked(struct ring_mpmc_end *end, uint64_t position, void *buffer, size_t length);

/* ---- The hot path. ---- */

RING_INLINE unsigned char *ring_mpmc_slot_at(const struct ring_mpmc_end *end, uint64_t position)
{
    return end->data + (position & end->mask) * end->stride;
}

RING_INLINE RING_ATOMIC(uint64_t) * ring_mpmc_word_of(unsigned char *slot)
{
    return (RING_ATOMIC(uint64_t) *)(void *)slot;
}

/* M1: as in mpmc.c. Its line is asked for first: else it changes hands twice, for reading and for writing. */
RING_INLINE uint64_t ring_mpmc_word_to_write(unsigned char *slot)
{
    ring_prefetch_for_write(slot);
    return ring_atomic_load(ring_mpmc_word_of(slot), memory_order_acquire);
}

/* Is the slot of that position this side's turn? M23: relaxed: a hint, nothing is taken by it. */
RING_INLINE bool ring_mpmc_is_clear(const struct ring_mpmc_end *end, uint64_t position)
{
    uint64_t word = ring_atomic_load(ring_mpmc_word_of(ring_mpmc_slot_at(end, position)), memory_order_relaxed);
    uint64_t ready = end->consumer ? RING_SLOT_READY : 0;
    return (word & ~RING_SLOT_LENGTH) == ((position >> end->shift << RING_SLOT_LAP) | ready);
}

/* Asks for the line of a slot further on, for writing, both sides write it; but not where the other side is at work:
 * now and then it is looked how far that is. */
RING_INLINE void ring_mpmc_fetch_ahead(struct ring_mpmc_end *end, uint64_t position)
{
    uint64_t ahead = position + end->fetch_ahead;
    if (RING_LIKELY((int64_t)(end->clear - ahead) >= 0)) {
        ring_prefetch_for_write(ring_mpmc_slot_at(end, ahead));
    } else if (RING_UNLIKELY((int64_t)(position - end->look_at) >= 0)) {
        uint64_t far = ahead + 2 * end->fetch_ahead;
        end->look_at = position + end->fetch_ahead;
        if (ring_mpmc_is_clear(end, far))
            end->clear = far;
    }
}

RING_INLINE int ring_mpmc_send(struct ring_mpmc_producer *producer, const void *message, size_t length,
                               int64_t timeout_ns)
{
    struct ring_mpmc_end *end = &producer->end;
    int code = ring_guard_enter(&end->guarded);
    if (RING_UNLIKELY(code))
        return code;
    uint64_t position = end->next;
    uint64_t free_word = position >> end->shift << RING_SLOT_LAP;
    unsigned char *slot = ring_mpmc_slot_at(end, position);
    if (RING_LIKELY(length < end->hot_limit && (message || !length)) &&
        RING_LIKELY(ring_mpmc_word_to_write(slot) == free_word)) {
        ring_atomic_store(end->intent, position << RING_INTENT_SHIFT | 1, memory_order_release); /* M2 */
        ring_compiler_barrier(); /* the processor's half is the newcomer's membarrier, M14 */
        if (RING_LIKELY(ring_atomic_load(end->mode, memory_order_relaxed) == end->sole_mode)) { /* M13 */
            ring_mpmc_fetch_ahead(end, position);
            if (length)
                ring_copy_in(slot + 8, message, length);
            ring_atomic_store(ring_mpmc_word_of(slot), free_word | RING_SLOT_READY | length,
                              memory_order_release); /* M4 */
            end->next = position + 1;
            ring_compiler_barrier(); /* the processor's half is the sleeper's membarrier, W1 */
            if (RING_UNLIKELY(ring_atomic_load(end->others_asleep, memory_order_relaxed) != 0)) /* M6 */
                ring_wake_one(end->others_asleep);
            ring_guard_leave(&end->guarded);
            return 0;
        }
        code = ring_mpmc_send_revoked(end, position, message, length);
        if (code == 0) {
            ring_guard_leave(&end->guarded);
            return 0;
        }
    }
    code = ring_mpmc_send_slowly(end, message, length, timeout_ns);
    ring_guard_leave(&end->guarded);
    return code;
}

/* Is the next message there, for one who is alone, and welcome? */
RING_INLINE bool ring_mpmc_look(struct ring_mpmc_end *end, uint64_t word, uint64_t ready, size_t size, bool exact,
                                size_t *length)
{
    if (exact || RING_IS_CONSTANT(size)) {
        if (RING_LIKELY(word == (ready | size) && size < end->hot_limit)) {
            *length = size; /* known before the word has arrived from the other core: the core can run ahead */
            return true;
        }
        if (exact)
            return false;
    }
    *length = end->usual_length;
    if (RING_UNLIKELY(word != (ready | *length))) {
        *length = (size_t)(word - ready);
        if (*length >= end->hot_limit)
            return false;
        end->usual_length = *length;
    }
    return *length < end->hot_limit && *length <= size;
}

RING_INLINE void ring_mpmc_copy_out(void *buffer, const unsigned char *slot, size_t length)
{
    if (length)
        ring_copy(buffer, slot + 8, length);
}

/* M8 and what comes with it. */
RING_INLINE void ring_mpmc_taken(struct ring_mpmc_end *end, unsigned char *slot, uint64_t position, uint64_t free_word)
{
    ring_atomic_store(ring_mpmc_word_of(slot), free_word + (UINT64_C(1) << RING_SLOT_LAP), memory_order_release);
    end->next = position + 1;
    end->last_flags = 0;
    ring_compiler_barrier(); /* the processor's half is the sleeper's membarrier, W1 */
    if (RING_UNLIKELY(ring_atomic_load(end->others_asleep, memory_order_relaxed) != 0)) /* M6 */
        ring_wake_one(end->others_asleep);
}

/* recv; `exact`: of no other length than `size`. */
RING_INLINE ssize_t ring_mpmc_receive(struct ring_mpmc_consumer *consumer, void *buffer, size_t size, bool exact,
                                      int64_t timeout_ns)
{
    struct ring_mpmc_end *end = &consumer->end;
    ssize_t result = ring_guard_enter(&end->guarded);
    if (RING_UNLIKELY(result))
        return result;
    uint64_t position = end->next;
    uint64_t free_word = position >> end->shift << RING_SLOT_LAP;
    unsigned char *slot = ring_mpmc_slot_at(end, position);
    size_t length;
    uint64_t word = ring_atomic_load(ring_mpmc_word_of(slot), memory_order_acquire); /* M7 */
    if (RING_LIKELY(ring_mpmc_look(end, word, free_word | RING_SLOT_READY, size, exact, &length)) &&
        RING_LIKELY(buffer || !size)) {
        ring_atomic_store(end->intent, position << RING_INTENT_SHIFT | 1, memory_order_release); /* M2 */
        ring_compiler_barrier(); /* the processor's half is the newcomer's membarrier, M14 */
        if (RING_LIKELY(ring_atomic_load(end->mode, memory_order_relaxed) == end->sole_mode)) { /* M13 */
            ring_mpmc_fetch_ahead(end, position);
            if (RING_IS_CONSTANT(size) && RING_LIKELY(length == size))
                ring_mpmc_copy_out(buffer, slot, size); /* no call of memcpy */
            else
                ring_mpmc_copy_out(buffer, slot, length);
            ring_mpmc_taken(end, slot, position, free_word);
            ring_guard_leave(&end->guarded);
            return (ssize_t)length;
        }
        if (ring_mpmc_recv_revoked(end, position, buffer, length) == 0) {
            ring_guard_leave(&end->guarded);
            return (ssize_t)length;
        }
    }
    result = ring_mpmc_recv_slowly(end, buffer, size, exact, timeout_ns);
    ring_guard_leave(&end->guarded);
    return result;
}

RING_INLINE ssize_t ring_mpmc_recv(struct ring_mpmc_consumer *consumer, void *buffer, size_t size, int64_t timeout_ns)
{
    return ring_mpmc_receive(consumer, buffer, size, false, timeout_ns);
}

/* For the typed front: 1, or an error; -EMSGSIZE: the next message has another length. */
RING_INLINE int ring_mpmc_recv_exactly(struct ring_mpmc_consumer *consumer, void *message, size_t length,
                                       int64_t timeout_ns)
{
    ssize_t received = ring_mpmc_receive(consumer, message, length, true, timeout_ns);
    return received < 0 ? (int)received : 1;
}

RING_END_C

#endif
