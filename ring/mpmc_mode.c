/* mpmc_mode.c - level 6: exactly one producer (or consumer) claims by its intent alone; and how that ends.
 *
 * The mode word of a side says SOLE(seat): that seat's intent is the counter, tail (head) is out of date. Or SHARED(v):
 * tail (head) is the counter, once it is raised to v. Between them REVOKING(seat), while v is being decided.
 *
 * The sole one: intent = (p, n); compiler barrier; mode still SOLE(me)? then p is claimed. Whoever ends its reign: mode
 * = REVOKING; membarrier; v = end of the intent; mode = SHARED(v), by compare-and-swap. The barrier falls somewhere in
 * the sole one's program order. After its store of the intent: then the intent is seen, p counts, and whatever the sole
 * one reads of the mode agrees. Before: then it sees the mode changed, and asks the decided v whether p counted.
 *
 * Anybody may finish a revocation that another began, the sole one itself too: the compare-and-swap decides once, since
 * the word also holds the number of the reign: who comes late, with the end of an earlier reign, changes nothing. Only
 * the sole one makes itself sole, under the ring's lock, while no other living participant of its side has a seat.
 */
#include <ring/mpmc_private.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>

/* Honest ones change a mode under the ring's lock, or by demoting themselves, each time behind a barrier: nobody sees it
 * change so often in a row. */
enum { ATTEMPTS = 32 };

static uint64_t tag_of(uint64_t mode)
{
    return mode & RING_MODE_TAG;
}

static uint64_t shared_mode(uint64_t position)
{
    return position << RING_MODE_SHIFT | RING_MODE_SHARED;
}

/* The whole position of SHARED(v), given one that is less than 2^61 away. */
static uint64_t shared_position(uint64_t mode, uint64_t near)
{
    return near + (uint64_t)((int64_t)((mode & ~RING_MODE_TAG) - (near << RING_MODE_SHIFT)) >> RING_MODE_SHIFT);
}

static bool swap(RING_ATOMIC(uint64_t) * word, uint64_t from, uint64_t to)
{
    /* M12: acq_rel: what led to the change comes before what follows from it. */
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_acq_rel, memory_order_acquire);
}

/* M15: raises a counter that is behind `to`; any number may do it. Nobody claims by it before it is there, so whoever
 * loses, loses to another who raises it. False: it is thrown back all the time. */
static bool raise(RING_ATOMIC(uint64_t) * counter, uint64_t to)
{
    uint64_t now = ring_atomic_load(counter, memory_order_acquire);
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++)
        if ((int64_t)(to - now) <= 0 ||
            atomic_compare_exchange_strong_explicit(counter, &now, to, memory_order_acq_rel, memory_order_acquire))
            return true;
    return false;
}

/* Where the claims of the seat in a SOLE or REVOKING mode end. -EUCLEAN: there is no such seat. */
static int end_of_sole(const struct ring_mpmc_view *view, bool consumers, uint64_t mode, uint64_t *end)
{
    uint64_t seat = ring_mpmc_mode_seat(mode);
    if (seat >= view->seat_count)
        return -EUCLEAN;
    uint64_t counter = ring_atomic_load(ring_mpmc_counter(view, consumers), memory_order_acquire); /* M10 */
    /* M11: acquire, pairs with M2. */
    uint64_t intent = ring_atomic_load(&view->seats[seat].intent, memory_order_acquire);
    *end = counter;
    if (intent & RING_INTENT_MOST)
        *end = ring_mpmc_later(counter, ring_mpmc_intent_position(intent, counter) + (intent & RING_INTENT_MOST));
    return 0;
}

/* Decides where the reign of the seat in REVOKING ended. */
static int finish_revoking(const struct ring_mpmc_view *view, bool consumers, uint64_t mode)
{
    uint64_t end;
    /* M14: every running thread passes a barrier between REVOKING and our look at the intent. */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)
        return -EOPNOTSUPP;
    int code = end_of_sole(view, consumers, mode, &end);
    if (code == 0)
        swap(ring_mpmc_mode(view, consumers), mode, shared_mode(end));
    return code;
}

int ring_mpmc_revoke(const struct ring_mpmc_view *view, bool consumers)
{
    RING_ATOMIC(uint64_t) *word = ring_mpmc_mode(view, consumers);
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t mode = ring_atomic_load(word, memory_order_acquire); /* M12 */
        int code = 0;
        switch (tag_of(mode)) {
        case RING_MODE_SHARED: {
            RING_ATOMIC(uint64_t) *counter = ring_mpmc_counter(view, consumers);
            uint64_t decided = shared_position(mode, ring_atomic_load(counter, memory_order_relaxed));
            return raise(counter, decided) ? 0 : -EUCLEAN;
        }
        case RING_MODE_SOLE:
            swap(word, mode, (mode & ~RING_MODE_TAG) | RING_MODE_REVOKING);
            break;
        case RING_MODE_REVOKING:
            code = finish_revoking(view, consumers, mode);
            break;
        default:
            code = -EUCLEAN;
        }
        if (code)
            return code;
    }
    return -EUCLEAN;
}

int ring_mpmc_claimed(const struct ring_mpmc_view *view, bool consumers, uint64_t *counter)
{
    RING_ATOMIC(uint64_t) *word = ring_mpmc_mode(view, consumers);
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t mode = ring_atomic_load(word, memory_order_acquire); /* M12 */
        int code;
        switch (tag_of(mode)) {
        case RING_MODE_SHARED: {
            uint64_t now = ring_atomic_load(ring_mpmc_counter(view, consumers), memory_order_acquire); /* M10 */
            *counter = ring_mpmc_later(now, shared_position(mode, now));
            return 0;
        }
        case RING_MODE_SOLE:
            code = end_of_sole(view, consumers, mode, counter);
            /* M19: still SOLE after the intent was seen, so whoever ends this reign sees that intent, or a later one:
             * its claim counts. */
            atomic_thread_fence(memory_order_seq_cst);
            if (code == 0 && ring_atomic_load(word, memory_order_acquire) == mode)
                return 0;
            break;
        case RING_MODE_REVOKING:
            if (view->segment->witness.read_only) /* it only wants to know */
                return end_of_sole(view, consumers, mode, counter);
            code = finish_revoking(view, consumers, mode);
            break;
        default:
            code = -EUCLEAN;
        }
        if (code)
            return code;
    }
    *counter = ring_atomic_load(ring_mpmc_counter(view, consumers), memory_order_acquire); /* too little: no harm */
    return 0;
}

bool ring_mpmc_demote(struct ring_mpmc_end *end)
{
    uint64_t sole = end->sole_mode;
    if (sole == RING_MODE_NEVER)
        return false;
    /* Our own last claim: all that we ever wrote into the intent, so nobody can find more. */
    uint64_t intent = ring_atomic_load(end->intent, memory_order_relaxed);
    uint64_t claimed = end->next;
    if (intent & RING_INTENT_MOST)
        claimed = ring_mpmc_later(claimed, ring_mpmc_intent_position(intent, end->next) + (intent & RING_INTENT_MOST));
    uint64_t revoking = (sole & ~RING_MODE_TAG) | RING_MODE_REVOKING;
    if (!swap(end->mode, sole, shared_mode(claimed)))
        swap(end->mode, revoking, shared_mode(claimed));
    uint64_t mode = ring_atomic_load(end->mode, memory_order_acquire); /* M12 */
    uint64_t decided = shared_position(mode, claimed);
    if (!raise(end->counter, decided))
        ring_mpmc_fail(end, -EUCLEAN);
    end->sole_mode = RING_MODE_NEVER;
    bool counted = (int64_t)(decided - claimed) >= 0;
    if (!counted)
        ring_atomic_store(end->intent, 0, memory_order_release); /* M5: not ours */
    return counted;
}

/* Is there another living participant of this side? */
static bool is_alone(const struct ring_mpmc_end *end)
{
    const struct ring_mpmc_view *view = &end->view;
    uint32_t side = end->consumer ? RING_SIDE_CONSUMER : RING_SIDE_PRODUCER;
    for (unsigned i = 0; i < ring_mpmc_reached(view); i++) {
        if (i == end->seat || ring_atomic_load(&view->seats[i].side, memory_order_relaxed) != side) /* M16 */
            continue;
        struct ring_seat seat = ring_mpmc_seat(view, i);
        if (ring_seat_state(&seat) == RING_PEER_ALIVE)
            return false;
    }
    return true;
}

void ring_mpmc_promote(struct ring_mpmc_end *end)
{
    uint64_t mode = ring_atomic_load(end->mode, memory_order_acquire); /* M12 */
    if (end->sole_mode != RING_MODE_NEVER || (end->view.flags & RING_MPMC_NO_SOLE) || end->held_count ||
        tag_of(mode) != RING_MODE_SHARED || !is_alone(end) ||
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0 ||
        syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)
        return;
    if (!raise(end->counter, shared_position(mode, ring_atomic_load(end->counter, memory_order_relaxed))))
        return;
    /* M22: ordered by the ring's lock. Counted before it is used, so no number is used twice. */
    RING_ATOMIC(uint64_t) *reigns =
        end->consumer ? &end->view.control->consumers_reigns : &end->view.control->producers_reigns;
    uint64_t reign = ring_atomic_load(reigns, memory_order_relaxed) + 1;
    ring_atomic_store(reigns, reign, memory_order_relaxed);
    uint64_t sole = reign << RING_MODE_REIGN | (uint64_t)end->seat << RING_MODE_SHIFT | RING_MODE_SOLE;
    end->next = ring_atomic_load(end->counter, memory_order_acquire); /* M0 */
    end->clear = end->look_at = end->next;
    if (swap(end->mode, mode, sole))
        end->sole_mode = sole;
}
