/* mpmc_private.h - level 6, private: what the files of the MPMC ring share. */
#ifndef RING_MPMC_PRIVATE_H
#define RING_MPMC_PRIVATE_H

#include <ring/mpmc.h>
#include <ring/seat.h>
#include <ring/segment_private.h>

/* A mode word that is never in a segment: what sole_mode of one who shares says. */
#define RING_MODE_NEVER UINT64_MAX

/* ---- Words ---- */

RING_INLINE RING_ATOMIC(uint64_t) * ring_mpmc_slot(const struct ring_mpmc_view *view, uint64_t position)
{
    return (RING_ATOMIC(uint64_t) *)(void *)(view->data + (position & view->mask) * view->stride);
}

/* The word of a slot that is free for `position`. */
RING_INLINE uint64_t ring_mpmc_free_word(uint64_t position, unsigned shift)
{
    return position >> shift << RING_SLOT_LAP;
}

/* How many laps the word is ahead of `position`. */
RING_INLINE int64_t ring_mpmc_laps_ahead(uint64_t word, uint64_t position, unsigned shift)
{
    uint64_t difference = (word >> RING_SLOT_LAP << RING_SLOT_LAP) - ring_mpmc_free_word(position, shift);
    return (int64_t)difference >> RING_SLOT_LAP;
}

RING_INLINE uint64_t ring_mpmc_intent_word(uint64_t position, unsigned count)
{
    return position << RING_INTENT_SHIFT | count;
}

/* The whole position of an intent, given one that is less than 2^55 away. */
RING_INLINE uint64_t ring_mpmc_intent_position(uint64_t intent, uint64_t near)
{
    uint64_t difference = (intent & ~(uint64_t)RING_INTENT_MOST) - (near << RING_INTENT_SHIFT);
    return near + (uint64_t)((int64_t)difference >> RING_INTENT_SHIFT);
}

RING_INLINE bool ring_mpmc_intends(uint64_t intent, uint64_t position)
{
    return position - ring_mpmc_intent_position(intent, position) < (intent & RING_INTENT_MOST);
}

RING_INLINE uint64_t ring_mpmc_later(uint64_t one, uint64_t other)
{
    return (int64_t)(one - other) > 0 ? one : other;
}

/* Where the slots are, in registers: loops that load with acquire would fetch it anew each time. */
struct ring_mpmc_row {
    unsigned char *data;
    uint64_t mask;
    uint64_t stride;
    unsigned shift;
};

RING_INLINE struct ring_mpmc_row ring_mpmc_row(const struct ring_mpmc_end *end)
{
    return (struct ring_mpmc_row){ end->data, end->mask, end->stride, end->shift };
}

RING_INLINE RING_ATOMIC(uint64_t) * ring_mpmc_word_in(const struct ring_mpmc_row *row, uint64_t position)
{
    return (RING_ATOMIC(uint64_t) *)(void *)(row->data + (position & row->mask) * row->stride);
}

/* How many of `count` positions lie in a row, in one lap. */
RING_INLINE unsigned ring_mpmc_in_a_row(const struct ring_mpmc_row *row, uint64_t position, unsigned count)
{
    uint64_t left = row->mask + 1 - (position & row->mask);
    return left < count ? (unsigned)left : count;
}

RING_INLINE RING_ATOMIC(uint64_t) * ring_mpmc_after(RING_ATOMIC(uint64_t) * slot, uint64_t stride)
{
    return (RING_ATOMIC(uint64_t) *)((uintptr_t)slot + stride);
}

/* ---- mpmc.c: claiming and waiting ---- */

/* What a call wants, and what it got. */
struct ring_mpmc_ask {
    unsigned most;                 /* positions at most, up to RING_INTENT_MOST */
    bool exact;                    /* consumer: of `size` bytes exactly, not at most */
    size_t size;                   /* consumer: length of the messages that are welcome */
    struct ring_message *messages; /* consumer: to be filled in; or NULL */
    uint64_t position;             /* got: the first position, */
    uint64_t length;               /* consumer: and the length of its message */
    uint32_t flags;                /* consumer: RING_REDELIVERED, then it is one alone */
    unsigned turns;                /* without success so far: TURNS in mpmc.c */
};

/* Claims now, or waits for it. The number of positions, at least 1; or -EAGAIN, -EMSGSIZE and so on. */
RING_PRIVATE int ring_mpmc_claim(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, int64_t timeout_ns);

/* How a participant looks while it waits. */
RING_PRIVATE extern const struct ring_wait_looks ring_mpmc_looks;

/* Poisons the handle. */
RING_PRIVATE int ring_mpmc_fail(struct ring_mpmc_end *end, int fault);

/* M4: fills the slot of a claimed position; `word`: READY or SKIP with a length. */
RING_INLINE void ring_mpmc_fill(struct ring_mpmc_end *end, uint64_t position, uint64_t word)
{
    ring_atomic_store(ring_mpmc_slot(&end->view, position), ring_mpmc_free_word(position, end->shift) | word,
                      memory_order_release);
}

/* M8: frees the slot of a message that was taken. */
RING_PRIVATE void ring_mpmc_free_slot(struct ring_mpmc_end *end, uint64_t position, uint32_t flags);

/* M6: after filling (freeing). Relaxed: a sleeper that we miss here sees what we published, see wait.h. */
RING_INLINE void ring_mpmc_wake_others(struct ring_mpmc_end *end)
{
    ring_compiler_barrier(); /* the processor's half is the sleeper's membarrier, W1 */
    if (RING_UNLIKELY(ring_atomic_load(end->others_asleep, memory_order_relaxed) != 0))
        ring_wake_one(end->others_asleep);
}

/* M5: after the last of the claimed positions was filled (freed): no intent any more, and a wake for the other
 * side. A sole one's intent stays: it tells where the next claim begins. */
RING_INLINE void ring_mpmc_finish(struct ring_mpmc_end *end)
{
    if (end->sole_mode == RING_MODE_NEVER)
        ring_atomic_store(end->intent, 0, memory_order_release);
    ring_mpmc_wake_others(end);
}

/* Lets the inline path work, or sends it to the slow one: after any call that may have changed what it depends on. */
RING_INLINE void ring_mpmc_settle(struct ring_mpmc_end *end)
{
    bool usual = !end->held_count && !end->fault && !end->search;
    bool sole = end->sole_mode != RING_MODE_NEVER;
    end->hot_limit = usual && sole ? end->max_message + 1 : 0;
    end->shared_limit = usual && !sole ? end->max_message + 1 : 0;
}

/* ---- mpmc_shared.c ---- */

#define RING_MPMC_ALONE_AFTER 4096 /* shared claims from one question to the next whether we are alone */

/* ---- mpmc_verbs.c: one message, whatever the case ---- */

RING_PRIVATE int ring_mpmc_send_general(struct ring_mpmc_end *end, const void *message, size_t length,
                                        int64_t timeout_ns);
RING_PRIVATE ssize_t ring_mpmc_recv_general(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact,
                                            int64_t timeout_ns);

/* ---- mpmc_setup.c ---- */

/* Finds a ring, enters it (allocator.h) and checks its control page: -ENOENT, -EINVAL, -EUCLEAN. */
RING_PRIVATE int ring_mpmc_enter(struct ring_segment *segment, const char *ring, struct ring_mpmc_view *view,
                                 struct ring_claim **claim);

RING_INLINE struct ring_seat ring_mpmc_seat(const struct ring_mpmc_view *view, unsigned index)
{
    struct ring_seat seat = { view->segment, &view->seats[index].role,
                              RING_LOCK_SEATS + RING_SEATS_MAX * (int64_t)view->entry + index };
    return seat;
}

/* Seats ever used: M16. */
RING_INLINE unsigned ring_mpmc_reached(const struct ring_mpmc_view *view)
{
    unsigned reached = ring_atomic_load(&view->control->reached, memory_order_acquire);
    return reached < view->seat_count ? reached : view->seat_count;
}

/* What became of a side as a whole. */
RING_PRIVATE enum ring_peer ring_mpmc_side_state(const struct ring_mpmc_view *view, bool consumers);

/* ---- mpmc_lock.c ---- */

/* Puts those who open, close or change the mode in order. -EBUSY: one of them has held it for over 5 s, or others were
 * faster for over 60 s; the second call does not wait. */
RING_PRIVATE int ring_mpmc_lock(const struct ring_mpmc_view *view, struct ring_claim **lock);
RING_PRIVATE int ring_mpmc_try_lock(const struct ring_mpmc_view *view, struct ring_claim **lock);

/* Gives it back, and `claim` just before: behind the last touch of a ring that is left. Either may be NULL. */
RING_PRIVATE void ring_mpmc_unlock(const struct ring_mpmc_view *view, struct ring_claim *lock,
                                   struct ring_claim *claim);

/* ---- mpmc_mode.c: sole and shared claims ---- */

/* The side's mode and counter. */
RING_INLINE RING_ATOMIC(uint64_t) * ring_mpmc_mode(const struct ring_mpmc_view *view, bool consumers)
{
    return consumers ? &view->control->consumers_mode : &view->control->producers_mode;
}

RING_INLINE RING_ATOMIC(uint64_t) * ring_mpmc_counter(const struct ring_mpmc_view *view, bool consumers)
{
    return consumers ? &view->control->head : &view->control->tail;
}

/* The seat of a SOLE or REVOKING mode. */
RING_INLINE uint64_t ring_mpmc_mode_seat(uint64_t mode)
{
    return mode % (UINT64_C(1) << RING_MODE_REIGN) >> RING_MODE_SHIFT;
}

/* Every position before *counter was claimed. 0, or -EUCLEAN, or -EOPNOTSUPP (no membarrier). */
RING_PRIVATE int ring_mpmc_claimed(const struct ring_mpmc_view *view, bool consumers, uint64_t *counter);

/* Ends the reign of a sole one, if there is any; counter and mode are those of a shared side afterwards. */
RING_PRIVATE int ring_mpmc_revoke(const struct ring_mpmc_view *view, bool consumers);

/* The sole one found that it is no more, or wants to be no more. Afterwards it shares; true: the claim that its intent
 * tells of was counted. */
RING_PRIVATE bool ring_mpmc_demote(struct ring_mpmc_end *end);

/* Makes it the sole one if nobody else is on its side. The ring's lock is held; the handle is in no claim. */
RING_PRIVATE void ring_mpmc_promote(struct ring_mpmc_end *end);

/* ---- mpmc_repair.c ---- */

struct ring_mpmc_repairs {
    unsigned skipped; /* positions that dead producers had claimed and not filled */
    unsigned freed;   /* such, claimed by consumers that died: freed */
    unsigned waiting; /* messages that dead consumers had taken: wait for a consumer */
    unsigned pending; /* positions that somebody living is at work on */
};

/* Mends what the dead left. With `end`, a consumer's, and `ask`: takes the first message that is to be delivered again.
 * 1: taken; 0: none; -EMSGSIZE; -EUCLEAN. `all`: looks at every slot. */
RING_PRIVATE int ring_mpmc_repair(const struct ring_mpmc_view *view, struct ring_mpmc_end *end,
                                  struct ring_mpmc_ask *ask, bool all, struct ring_mpmc_repairs *repairs);

/* The new holder of a seat settles what its predecessor left; then the seat intends nothing. The lock is held. */
RING_PRIVATE int ring_mpmc_inherit(const struct ring_mpmc_view *view, unsigned seat);

#endif
