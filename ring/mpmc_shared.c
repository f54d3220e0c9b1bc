/* mpmc_shared.c - level 6: send and recv of one message by one who shares his side with others: the usual case.
 *
 * The steps and labels are those of claim_shared() in mpmc.c, without what is unusual: whatever is not as expected here
 * (full, empty, messages to be skipped, of another length, redelivered ...) is left to that. Short, because the line of
 * the counter goes from hand to hand: 290 instructions of the general path held it up longer than the machine does.
 */
#include <ring/mpmc_private.h>

enum { TRIES = 4 }; /* claims lost to others before the general path takes over */

/* M2, M3: claims `*position`, or brings it up to date. */
RING_INLINE bool claim_one(struct ring_mpmc_end *end, uint64_t *position)
{
    /* M2: release, before the claim M3. */
    ring_atomic_store(end->intent, ring_mpmc_intent_word(*position, 1), memory_order_release);
    /* M3: acq_rel, pairs with M0, M10: who sees the claim sees the intent. */
    return atomic_compare_exchange_strong_explicit(end->counter, position, *position + 1, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* After the slot's word was stored (M4, M8). */
RING_INLINE void finish_one(struct ring_mpmc_end *end)
{
    ring_atomic_store(end->intent, 0, memory_order_release); /* M5 */
    end->taken++;
    end->shared_ops++;
    ring_mpmc_wake_others(end);
}

/* False: nothing is claimed, and no intent is left. */
RING_INLINE bool give_up(struct ring_mpmc_end *end)
{
    if (ring_atomic_load(end->intent, memory_order_relaxed) != 0)
        ring_atomic_store(end->intent, 0, memory_order_release); /* M5 */
    return false;
}

/* False: not usual; nothing happened. */
RING_INLINE bool send_shared(struct ring_mpmc_end *end, const void *message, size_t length)
{
    if (length >= end->shared_limit || (!message && length) || end->shared_ops >= RING_MPMC_ALONE_AFTER)
        return false;
    uint64_t position = ring_atomic_load(end->counter, memory_order_acquire); /* M0 */
    for (int i = 0; i < TRIES; i++) {
        unsigned char *slot = ring_mpmc_slot_at(end, position);
        uint64_t free_word = position >> end->shift << RING_SLOT_LAP;
        if (ring_atomic_load(ring_mpmc_word_of(slot), memory_order_acquire) != free_word) /* M1 */
            break;
        if (RING_UNLIKELY(!claim_one(end, &position)))
            continue;
        if (length == 8)
            ring_copy_in(slot + 8, message, 8);
        else if (length)
            ring_copy_in(slot + 8, message, length);
        ring_atomic_store(ring_mpmc_word_of(slot), free_word | RING_SLOT_READY | length, memory_order_release); /* M4 */
        finish_one(end);
        return true;
    }
    return give_up(end);
}

/* The length; -1: not usual; nothing happened. */
RING_INLINE ssize_t recv_shared(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact)
{
    if (!end->shared_limit || (!buffer && size) || end->shared_ops >= RING_MPMC_ALONE_AFTER)
        return -1;
    uint64_t position = ring_atomic_load(end->counter, memory_order_acquire); /* M0 */
    for (int i = 0; i < TRIES; i++) {
        unsigned char *slot = ring_mpmc_slot_at(end, position);
        uint64_t free_word = position >> end->shift << RING_SLOT_LAP;
        /* M7: flags and states other than READY make it far too long. */
        uint64_t length =
            ring_atomic_load(ring_mpmc_word_of(slot), memory_order_acquire) - (free_word | RING_SLOT_READY);
        if (length >= end->shared_limit || length > size || (exact && length != size))
            break;
        if (RING_UNLIKELY(!claim_one(end, &position)))
            continue;
        if (length == 8)
            ring_copy(buffer, slot + 8, 8);
        else if (length)
            ring_copy(buffer, slot + 8, length);
        ring_atomic_store(ring_mpmc_word_of(slot), free_word + (UINT64_C(1) << RING_SLOT_LAP),
                          memory_order_release); /* M8 */
        end->last_flags = 0;
        finish_one(end);
        return (ssize_t)length;
    }
    give_up(end);
    return -1;
}

int ring_mpmc_send_slowly(struct ring_mpmc_end *end, const void *message, size_t length, int64_t timeout_ns)
{
    if (RING_LIKELY(send_shared(end, message, length)))
        return 0;
    return ring_mpmc_send_general(end, message, length, timeout_ns);
}

ssize_t ring_mpmc_recv_slowly(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact, int64_t timeout_ns)
{
    ssize_t length = recv_shared(end, buffer, size, exact);
    return RING_LIKELY(length >= 0) ? length : ring_mpmc_recv_general(end, buffer, size, exact, timeout_ns);
}
