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
 * (lap and retry go up). What a dead one's successor in its seat finds and cannot mend itself it counts in `orphans`;
 * then all slots are looked at until a search finds nothing left, and says so in `settled`.
 *
 * Words and intents may be rubbish, each seat telling of positions that look unfinished. So each position is looked at
 * once in a search, and the intents are read once, and each seat's holder asked for at most once, for many positions.
 */
#include <ring/mpmc_private.h>

#include <errno.h>
#include <string.h>

#include <ring/error.h>

enum { CHUNK = 1024 }; /* positions that are looked at together: then the intents of all seats are read once for them */

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

/* Mends one position, whose claimer is dead. 1: a message was taken. */
static int mend(struct search *search, uint64_t position, uint64_t word)
{
    RING_ATOMIC(uint64_t) *slot = ring_mpmc_slot(search->view, position);
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

/* Positions in a row: their words, read before all else, and which of them are unfinished, a bit each: those that
 * producers can have claimed, and those that consumers can. */
struct chunk {
    uint64_t from;
    unsigned count;
    uint64_t words[CHUNK];
    uint64_t of_side[2][CHUNK / 64];
};

static uint64_t *bits_of(struct chunk *chunk, uint32_t side)
{
    return chunk->of_side[side == RING_SIDE_CONSUMER];
}

/* Is any of them worth a closer look? */
static bool seems_unfinished(const struct search *search, uint64_t from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) /* M7: relaxed */
        if (is_unfinished(search, from + i,
                          ring_atomic_load(ring_mpmc_slot(search->view, from + i), memory_order_relaxed)))
            return true;
    return false;
}

static int read_chunk(struct search *search, struct chunk *chunk)
{
    for (unsigned i = 0; i < chunk->count; i++) /* M7; then M10, then M11 */
        chunk->words[i] = ring_atomic_load(ring_mpmc_slot(search->view, chunk->from + i), memory_order_acquire);
    int code = read_bounds(search);
    memset(chunk->of_side, 0, sizeof chunk->of_side);
    for (unsigned i = 0; i < chunk->count && !code; i++)
        if (is_unfinished(search, chunk->from + i, chunk->words[i]))
            bits_of(chunk, claimer_of(chunk->words[i]))[i / 64] |= UINT64_C(1) << i % 64;
    return code;
}

/* Leaves out those that this seat intends, if it is held by the living: its holder is asked for once, if at all. */
static void leave_to(const struct search *search, unsigned seat, uint64_t intent, uint64_t *bits,
                     const struct chunk *chunk)
{
    int64_t first = (int64_t)(ring_mpmc_intent_position(intent, chunk->from) - chunk->from);
    int64_t last = first + (int64_t)(intent & RING_INTENT_MOST);
    bool asked = false;
    for (int64_t i = first > 0 ? first : 0; i < last && i < (int64_t)chunk->count; i++) {
        uint64_t bit = UINT64_C(1) << i % 64;
        if (!(bits[i / 64] & bit))
            continue;
        if (!asked && !is_living(search, seat))
            return;
        asked = true;
        bits[i / 64] &= ~bit;
        search->repairs->pending++;
    }
}

/* The rule. Only the side counts that can have claimed what the word shows: a sole producer's intent stays after its
 * message was sent, and says nothing about who took that. */
static void leave_to_the_living(const struct search *search, struct chunk *chunk)
{
    unsigned reached = ring_mpmc_reached(search->view);
    for (unsigned i = 0; i < reached; i++) {
        /* M11: acquire, pairs with M5: who does not intend it any more has done what it wanted to the word. */
        uint64_t intent = ring_atomic_load(&search->view->seats[i].intent, memory_order_acquire);
        if ((intent & RING_INTENT_MOST) == 0)
            continue;
        /* M16: after the intent: set while there was none, so this is the side of whoever intended, or he is gone. */
        uint32_t side = ring_atomic_load(&search->view->seats[i].side, memory_order_relaxed);
        if (side == RING_SIDE_PRODUCER || side == RING_SIDE_CONSUMER)
            leave_to(search, i, intent, bits_of(chunk, side), chunk);
    }
}

/* Mends what needs it of up to CHUNK positions. 1: a message was taken. */
static int mend_chunk(struct search *search, uint64_t from, unsigned count)
{
    if (!seems_unfinished(search, from, count))
        return 0;
    struct chunk chunk;
    chunk.from = from;
    chunk.count = count;
    int code = read_chunk(search, &chunk);
    if (code)
        return code;
    leave_to_the_living(search, &chunk);
    for (unsigned i = 0; i < count && code == 0; i++)
        if ((chunk.of_side[0][i / 64] | chunk.of_side[1][i / 64]) >> i % 64 & 1)
            code = mend(search, from + i, chunk.words[i]);
    return code;
}

static int mend_range(struct search *search, uint64_t from, uint64_t count)
{
    int code = 0;
    for (uint64_t done = 0; done < count && code == 0; done += CHUNK)
        code = mend_chunk(search, from + done, count - done < CHUNK ? (unsigned)(count - done) : CHUNK);
    return code;
}

/* Positions that one seat intends: the lowest from *from on, and before `end`; of those that begin alike the most. */
static uint64_t next_intended(const struct search *search, uint64_t *from, uint64_t end)
{
    uint64_t best = end, count = 0;
    unsigned reached = ring_mpmc_reached(search->view);
    for (unsigned i = 0; i < reached; i++) {
        uint64_t intent = ring_atomic_load(&search->view->seats[i].intent, memory_order_acquire); /* M11 */
        uint64_t first = ring_mpmc_intent_position(intent, end);
        uint64_t last = first + (intent & RING_INTENT_MOST);
        first = ring_mpmc_later(first, *from);
        last = ring_mpmc_later(last, end) == last ? end : last;
        if ((int64_t)(last - first) <= 0 || ring_mpmc_later(first, best) != best ||
            (first == best && last - first <= count))
            continue;
        best = first;
        count = last - first;
    }
    *from = best;
    return count;
}

/* What the intents of the dead tell of, each position once: thousands of seats may intend the same. */
static int mend_by_intents(struct search *search)
{
    uint64_t end = search->tail;
    uint64_t from = end - search->view->mask - 1;
    unsigned seats = ring_mpmc_reached(search->view);
    int code = 0;
    for (uint64_t count; seats-- && code == 0 && (count = next_intended(search, &from, end)) != 0; from += count)
        code = mend_range(search, from, count);
    return code;
}

static int mend_all(struct search *search)
{
    return mend_range(search, search->tail - search->view->mask - 1, search->view->mask + 1);
}

int ring_mpmc_repair(const struct ring_mpmc_view *view, struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, bool all,
                     struct ring_mpmc_repairs *repairs)
{
    struct search search = { .view = view,
                             .end = end && end->consumer ? end : NULL,
                             .ask = ask,
                             .own_seat = view->seat_count,
                             .repairs = repairs };
    uint32_t orphans = ring_atomic_load(&view->control->orphans, memory_order_acquire);       /* M21 */
    bool marked = orphans != ring_atomic_load(&view->control->settled, memory_order_relaxed); /* M21 */
    int code = read_bounds(&search);
    if (code)
        return code;
    code = all || marked ? mend_all(&search) : mend_by_intents(&search);
    if (code == 0 && marked && repairs->waiting == 0 && repairs->pending == 0)
        /* M21: nothing is left of what was marked before we began. `orphans` itself only grows: set back, it could be
         * as it was before a mark of which we know nothing. Who is late sets an old count, and one more searches. */
        ring_atomic_store(&view->control->settled, orphans, memory_order_release);
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
        code = mend_range(&search, ring_mpmc_intent_position(intent, search.tail), intent & RING_INTENT_MOST);
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
