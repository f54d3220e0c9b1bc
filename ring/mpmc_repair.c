/* mpmc_repair.c - level 6: finding and mending what the dead left in an MPMC ring.
 *
 * Whoever claims a position says so in its seat's intent before, and takes that back when the slot's word is what it
 * shall be. So the intents of the dead tell where to look, and the rule for each such position is: it is claimed; its
 * word is not yet what its claimer would have made of it; and no living participant intends it. Then
 *
 *   FREE(p)  claimed by a producer: a hole         -> SKIP(p)           by anybody
 *   SKIP(p)  claimed by a consumer: passed over    -> FREE(p + slots)   by anybody
 *   READY(p) claimed by a consumer: delivered or not, nobody knows -> READY(p), one more retry, by a consumer, which
 *            says first that it intends p; then it delivers it with RING_REDELIVERED and frees it
 *
 * all by compare-and-swap from the word that was read before the intents were looked at. So of two menders one wins,
 * and one that dies half-way leaves what it found, or its own intent. Nothing is mended twice: a word never comes back
 * (lap and retry go up). What a dead one's successor in its seat finds and cannot mend itself it marks in `orphans`;
 * then all slots are looked at until nothing is left.
 */
#include <ring/mpmc_private.h>

#include <errno.h>

#include <ring/error.h>

struct search {
    const struct ring_mpmc_view *view;
    struct ring_mpmc_end *end; /* the consumer that may take a message, or NULL */
    struct ring_mpmc_ask *ask;
    unsigned own_seat; /* its predecessor's intents do not count; or seat_count */
    uint64_t tail;     /* all positions before were claimed by producers, */
    uint64_t head;     /* and before this one by consumers */
    struct ring_mpmc_repairs *repairs;
};

/* Is this a position that needs mending, if its claimer is dead? */
static bool is_unfinished(const struct search *search, uint64_t position, uint64_t word)
{
    if (ring_mpmc_laps_ahead(word, position, search->view->shift) != 0)
        return false;
    switch (word & RING_SLOT_STATE) {
    case RING_SLOT_FREE:
        return (int64_t)(position - search->tail) < 0;
    case RING_SLOT_READY:
    case RING_SLOT_SKIP:
        return (int64_t)(position - search->head) < 0;
    default:
        return false;
    }
}

static bool is_living(const struct search *search, unsigned index)
{
    if (index == search->own_seat)
        return false;
    struct ring_seat seat = ring_mpmc_seat(search->view, index);
    return ring_claim_is_held(&seat.segment->witness, seat.lock);
}

/* The side that can have claimed what the word shows. */
static uint32_t claimer_of(uint64_t word)
{
    return (word & RING_SLOT_STATE) == RING_SLOT_FREE ? RING_SIDE_PRODUCER : RING_SIDE_CONSUMER;
}

/* The rule. The word was read before. Only the side counts that can have claimed what the word shows: a sole producer's
 * intent stays after its message was sent, and says nothing about who took that. */
static bool is_intended_by_the_living(const struct search *search, uint64_t position, uint64_t word)
{
    unsigned reached = ring_mpmc_reached(search->view);
    for (unsigned i = 0; i < reached; i++) {
        /* M11: acquire, pairs with M5: who does not intend it any more has done what it wanted to the word. */
        uint64_t intent = ring_atomic_load(&search->view->seats[i].intent, memory_order_acquire);
        /* M16: after the intent: set while there was none, so this is the side of whoever intended, or he is gone. */
        if (ring_mpmc_intends(intent, position) &&
            ring_atomic_load(&search->view->seats[i].side, memory_order_relaxed) == claimer_of(word) &&
            is_living(search, i))
            return true;
    }
    return false;
}

/* M10: where the claims are by now. To be read after the word, before the intents. */
static int read_bounds(struct search *search)
{
    int code = ring_mpmc_claimed(search->view, false, &search->tail);
    return code ? code : ring_mpmc_claimed(search->view, true, &search->head);
}

/* Takes a message that a dead consumer had. 1, 0 (another one was faster), -EMSGSIZE. */
static int take_again(struct search *search, uint64_t position, uint64_t word)
{
    struct ring_mpmc_end *end = search->end;
    struct ring_mpmc_ask *ask = search->ask;
    uint64_t length = word & RING_SLOT_LENGTH;
    if (!end || length > end->max_message) {
        search->repairs->waiting++;
        return 0;
    }
    if (length > ask->size || (ask->exact && length != ask->size))
        return -EMSGSIZE;
    ring_mpmc_demote(end); /* the intent of a sole one has another meaning */
    /* M2: before M20, so that we are seen to live by whoever finds the new word. */
    ring_atomic_store(end->intent, ring_mpmc_intent_word(position, 1), memory_order_release);
    uint64_t again = (word & RING_SLOT_TRIES) == RING_SLOT_TRIES ? (word & ~RING_SLOT_TRIES) | RING_SLOT_RETRY
                                                                 : word + RING_SLOT_RETRY;
    RING_ATOMIC(uint64_t) *slot = ring_mpmc_slot(search->view, position);
    /* M20: acq_rel: the message, and the one mender that goes on. */
    if (!atomic_compare_exchange_strong_explicit(slot, &word, again, memory_order_acq_rel, memory_order_acquire)) {
        ring_atomic_store(end->intent, 0, memory_order_release); /* M5 */
        return 0;
    }
    ask->position = position;
    ask->length = length;
    ask->flags = RING_REDELIVERED;
    if (ask->messages)
        ask->messages[0] =
            (struct ring_message){ (unsigned char *)(uintptr_t)slot + 8, (size_t)length, RING_REDELIVERED };
    return 1;
}

/* Mends one position, if it needs that. 1: a message was taken. */
static int mend(struct search *search, uint64_t position)
{
    RING_ATOMIC(uint64_t) *slot = ring_mpmc_slot(search->view, position);
    uint64_t word = ring_atomic_load(slot, memory_order_acquire); /* M7; then M10, then M11 */
    int code = read_bounds(search);
    if (code)
        return code;
    if (!is_unfinished(search, position, word))
        return 0;
    if (is_intended_by_the_living(search, position, word)) {
        search->repairs->pending++;
        return 0;
    }
    uint64_t to = word + RING_SLOT_SKIP;
    switch (word & RING_SLOT_STATE) {
    case RING_SLOT_FREE:
        if (atomic_compare_exchange_strong_explicit(slot, &word, to, memory_order_acq_rel, memory_order_acquire))
            search->repairs->skipped++; /* M20 */
        return 0;
    case RING_SLOT_SKIP:
        to = ring_mpmc_free_word(position, search->view->shift) + (UINT64_C(1) << RING_SLOT_LAP);
        if (atomic_compare_exchange_strong_explicit(slot, &word, to, memory_order_acq_rel, memory_order_acquire))
            search->repairs->freed++; /* M20 */
        return 0;
    default:
        return take_again(search, position, word);
    }
}

/* `side`: whose claims are looked for, or RING_SIDE_NONE: everybody's. */
static int mend_range(struct search *search, uint64_t from, uint64_t count, uint32_t side)
{
    for (uint64_t i = 0; i < count; i++) {
        /* M7: only to see whether a closer look is worth while. */
        uint64_t word = ring_atomic_load(ring_mpmc_slot(search->view, from + i), memory_order_relaxed);
        if (side != RING_SIDE_NONE && side != claimer_of(word))
            continue;
        int code = is_unfinished(search, from + i, word) ? mend(search, from + i) : 0;
        if (code)
            return code;
    }
    return 0;
}

/* What the intents of the dead tell of. */
static int mend_by_intents(struct search *search)
{
    unsigned reached = ring_mpmc_reached(search->view);
    for (unsigned i = 0; i < reached; i++) {
        uint64_t intent = ring_atomic_load(&search->view->seats[i].intent, memory_order_acquire); /* M11 */
        unsigned count = intent & RING_INTENT_MOST;
        if (count == 0)
            continue;
        uint32_t side = ring_atomic_load(&search->view->seats[i].side, memory_order_relaxed); /* M16 */
        int code = mend_range(search, ring_mpmc_intent_position(intent, search->tail), count, side);
        if (code)
            return code;
    }
    return 0;
}

static int mend_all(struct search *search)
{
    return mend_range(search, search->tail - search->view->mask - 1, search->view->mask + 1, RING_SIDE_NONE);
}

int ring_mpmc_repair(const struct ring_mpmc_view *view, struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, bool all,
                     struct ring_mpmc_repairs *repairs)
{
    struct search search = { .view = view,
                             .end = end && end->consumer ? end : NULL,
                             .ask = ask,
                             .own_seat = view->seat_count,
                             .repairs = repairs };
    uint32_t orphans = ring_atomic_load(&view->control->orphans, memory_order_acquire); /* M21 */
    int code = read_bounds(&search);
    if (code)
        return code;
    code = all || orphans ? mend_all(&search) : mend_by_intents(&search);
    if (code == 0 && orphans && repairs->waiting == 0 && repairs->pending == 0)
        /* M21: nothing is left of what was marked before we began. */
        atomic_compare_exchange_strong_explicit(&view->control->orphans, &orphans, 0, memory_order_acq_rel,
                                                memory_order_relaxed);
    if (repairs->skipped)
        ring_wake(&view->control->consumers_asleep);
    if (repairs->freed)
        ring_wake(&view->control->producers_asleep);
    return code;
}

int ring_mpmc_inherit(const struct ring_mpmc_view *view, unsigned seat)
{
    for (int consumers = 0; consumers < 2; consumers++) {
        uint64_t mode = ring_atomic_load(ring_mpmc_mode(view, consumers), memory_order_acquire); /* M12 */
        bool reigned = (mode & RING_MODE_TAG) != RING_MODE_SHARED && ring_mpmc_mode_seat(mode) == seat;
        int code = reigned ? ring_mpmc_revoke(view, consumers) : 0;
        if (code)
            return code;
    }
    struct ring_mpmc_repairs repairs = { 0, 0, 0, 0 };
    struct search search = { .view = view, .own_seat = seat, .repairs = &repairs };
    uint64_t intent = ring_atomic_load(&view->seats[seat].intent, memory_order_acquire); /* M11 */
    int code = read_bounds(&search);
    if (code == 0 && (intent & RING_INTENT_MOST)) {
        code = mend_range(&search, ring_mpmc_intent_position(intent, search.tail), intent & RING_INTENT_MOST,
                          RING_SIDE_NONE);
        if (repairs.waiting || repairs.pending)
            atomic_fetch_add_explicit(&view->control->orphans, 1, memory_order_acq_rel); /* M21: before M5 */
        if (repairs.skipped)
            ring_wake(&view->control->consumers_asleep);
        if (repairs.freed)
            ring_wake(&view->control->producers_asleep);
    }
    if (code == 0)
        ring_atomic_store(&view->seats[seat].intent, 0, memory_order_release); /* M5 */
    return code;
}
