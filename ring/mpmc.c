/* mpmc.c - level 6: theory of the MPMC ring; claiming, publishing and waiting.
 *
 * THEORY. A position is claimed by one producer, filled, claimed by one consumer, freed for the next lap. The word of
 * its slot tells how far it is: FREE(p), READY(p), FREE(p + slots). Claims go through `tail` and `head`, by
 * compare-and-swap; or, where one side has exactly one participant, by that one's intent alone (mpmc_mode.c).
 *
 * Who claims says so first, in the intent of its own seat, and takes it back after the slot is filled (freed). So at
 * any instant a claimed position whose word is not yet what it shall become is intended by its claimer. If no living
 * participant intends it, its claimer died, and it is mended (mpmc_repair.c): a hole becomes SKIP, which consumers pass
 * over; a message taken and not freed is delivered again.
 *
 * Nothing is published by compare-and-swap: between claim and intent's end nobody else may write the word, since the
 * proof of death (liveness.h) is never wrong. docs/crash_protocol.md has the rules, the proof, and every death.
 *
 * SAFETY against a peer that writes rubbish: each shared word is loaded once; lengths are bounded by our own copy of
 * slot_bytes; positions are masked; every loop ends.
 */
#include <ring/mpmc_private.h>

#include <errno.h>

#include <ring/clock.h>
#include <ring/error.h>

enum {
    TURNS = 1 << 14,  /* lost claims, and positions passed over, after which there seems to be nothing: not for ever, if
                         a peer makes us lose each. Of a hundred that claim at once each wins one in a hundred */
    CROWDED = 64,     /* lost claims, after which one position is enough: the next try is quicker */
    STREAM = 2,       /* a stream brings more messages than that per pause */
    FRUITLESS = 256,  /* looks without waiting from one search for the dead to the next */
    ASK_ANYWAY = 256, /* each so many of those, also where the dead may be counted among the others */
};

int ring_mpmc_fail(struct ring_mpmc_end *end, int fault)
{
    end->fault = fault;
    return fault;
}

/* ---- What is there to claim? ---- */

/* For batches: asks for the lines of slots that will be written soon, where the other side is done with them. */
static void fetch_ahead(const struct ring_mpmc_end *end, const struct ring_mpmc_row *row, uint64_t position,
                        unsigned count)
{
    unsigned pace = row->stride < RING_CACHE_LINE ? RING_CACHE_LINE / (unsigned)row->stride : 1;
    position += end->fetch_ahead;
    if (count > 1 && ring_mpmc_is_clear(end, position + count - 1))
        for (unsigned i = 0; i < count; i += pace)
            ring_prefetch_for_write(ring_mpmc_word_in(row, position + i));
}

/* How many slots of a row, from `slot` on, hold that word; four at a time while they do. Acquire: M1 for the word of a
 * free slot, pairs with M8: the consumer's reads of the slot come before our stores to it; M7 for that of a message,
 * pairs with M4: the message comes with it. */
static unsigned count_equal(RING_ATOMIC(uint64_t) * slot, uint64_t stride, uint64_t word, unsigned most)
{
    unsigned count = 0;
    for (; most - count >= 4; count += 4, slot = ring_mpmc_after(slot, 4 * stride)) {
        uint64_t differ = ring_atomic_load(slot, memory_order_acquire) ^ word;
        differ |= ring_atomic_load(ring_mpmc_after(slot, stride), memory_order_acquire) ^ word;
        differ |= ring_atomic_load(ring_mpmc_after(slot, 2 * stride), memory_order_acquire) ^ word;
        differ |= ring_atomic_load(ring_mpmc_after(slot, 3 * stride), memory_order_acquire) ^ word;
        if (differ)
            break;
    }
    while (count < most && ring_atomic_load(slot, memory_order_acquire) == word) {
        count++;
        slot = ring_mpmc_after(slot, stride);
    }
    return count;
}

/* The number of positions from `position` on whose slots hold their lap's word with those bits. */
static unsigned count_alike(const struct ring_mpmc_row *row, uint64_t position, unsigned most, uint64_t bits)
{
    unsigned count = 0;
    while (count < most) {
        unsigned in_a_row = ring_mpmc_in_a_row(row, position + count, most - count);
        unsigned alike = count_equal(ring_mpmc_word_in(row, position + count), row->stride,
                                     ring_mpmc_free_word(position + count, row->shift) | bits, in_a_row);
        count += alike;
        if (alike < in_a_row)
            break;
    }
    return count;
}

/* How many positions from `position` on are free for a producer. *first: the first word. */
static unsigned count_free(const struct ring_mpmc_end *end, uint64_t position, unsigned most, uint64_t *first)
{
    struct ring_mpmc_row row = ring_mpmc_row(end);
    *first = ring_atomic_load(ring_mpmc_word_in(&row, position), memory_order_acquire); /* M1 */
    if (*first != ring_mpmc_free_word(position, row.shift))
        return 0;
    unsigned count = 1 + (most > 1 ? count_alike(&row, position + 1, most - 1, 0) : 0);
    fetch_ahead(end, &row, position, count);
    return count;
}

/* How many messages from `position` on are there and welcome. -EMSGSIZE: the first is not welcome. */
static int count_ready(const struct ring_mpmc_end *end, uint64_t position, struct ring_mpmc_ask *ask, uint64_t *first)
{
    struct ring_mpmc_row row = ring_mpmc_row(end);
    size_t max_message = end->max_message, size = ask->size;
    struct ring_message *messages = ask->messages;
    unsigned count = 0, most = ask->most;
    bool exact = ask->exact;
    if (exact && most > 1 && size <= max_message) {
        count = count_alike(&row, position, most, RING_SLOT_READY | size);
        ask->length = size;
    }
    for (; count < most; count++) {
        /* M7: acquire, pairs with M4: the message comes with it. */
        RING_ATOMIC(uint64_t) *slot = ring_mpmc_word_in(&row, position + count);
        uint64_t word = ring_atomic_load(slot, memory_order_acquire);
        uint64_t length = word - (ring_mpmc_free_word(position + count, row.shift) | RING_SLOT_READY);
        if (count == 0)
            *first = word;
        if (length > max_message)
            break;
        if (length > size || (exact && length != size))
            return count ? (int)count : -EMSGSIZE;
        if (count == 0)
            ask->length = length;
        if (messages)
            messages[count] = (struct ring_message){ (unsigned char *)(uintptr_t)slot + 8, (size_t)length, 0 };
    }
    fetch_ahead(end, &row, position, count);
    return (int)count;
}

/* The first word is nothing to claim. Does it tell of others that were faster (*again), of an empty (full) ring
 * (-EAGAIN), or of damage? 1: a position to be passed over. */
static int judge(struct ring_mpmc_end *end, uint64_t position, uint64_t word, bool *again)
{
    int64_t ahead = ring_mpmc_laps_ahead(word, position, end->shift);
    uint64_t state = word & RING_SLOT_STATE;
    *again = false;
    if (end->consumer && ahead == 0 && word == (ring_mpmc_free_word(position, end->shift) | RING_SLOT_SKIP))
        return 1;
    if (ahead == -1 || (end->consumer && ahead == 0 && state == RING_SLOT_FREE))
        return -EAGAIN;
    if (end->sole_mode != RING_MODE_NEVER)
        return -EUCLEAN; /* nobody else claims */
    *again = true;
    return -EAGAIN;
}

/* ---- Claims ---- */

static int count_claimable(struct ring_mpmc_end *end, uint64_t position, struct ring_mpmc_ask *ask, uint64_t *first)
{
    if (end->consumer)
        return count_ready(end, position, ask, first);
    return (int)count_free(end, position, ask->most, first);
}

/* M9: passes over a position that its producer never filled; it was claimed by us. */
static void pass_over(struct ring_mpmc_end *end, uint64_t position)
{
    ring_mpmc_free_slot(end, position, 0);
    ring_mpmc_finish(end);
}

/* The sole one's claim: the intent. Number; -EAGAIN, -EMSGSIZE, -EUCLEAN; 0: we are not alone any more. */
static int claim_alone(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask)
{
    for (;;) {
        uint64_t position = end->next;
        uint64_t word = 0;
        int count = count_claimable(end, position, ask, &word);
        bool skip = false;
        if (count == 0) {
            bool again;
            count = judge(end, position, word, &again);
            skip = count == 1;
        }
        if ((count == -EUCLEAN || count == -EMSGSIZE) &&
            ring_atomic_load(end->mode, memory_order_acquire) != end->sole_mode) { /* M13 */
            ring_mpmc_demote(end); /* somebody has come, and gone on from where we were */
            return 0;
        }
        if (count < 0)
            return count;
        /* M2: release: what was done with the positions before comes first. */
        ring_atomic_store(end->intent, ring_mpmc_intent_word(position, (unsigned)count), memory_order_release);
        ring_compiler_barrier(); /* the processor's half is the newcomer's membarrier, M14 */
        /* M13: relaxed: only our own word counts here; see docs/crash_protocol.md. */
        if (RING_UNLIKELY(ring_atomic_load(end->mode, memory_order_relaxed) != end->sole_mode) &&
            !ring_mpmc_demote(end))
            return 0;
        end->next = position + (unsigned)count;
        if (!skip) {
            ask->position = position;
            return count;
        }
        pass_over(end, position);
        if (end->sole_mode == RING_MODE_NEVER)
            return 0;
        if (++ask->turns >= TURNS)
            return -EAGAIN;
    }
}

static int claim_shared(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask)
{
    /* M0: acquire, pairs with M3 of others. */
    uint64_t position = ring_atomic_load(end->counter, memory_order_acquire);
    bool said = false;
    int code;
    do {
        uint64_t word = 0;
        bool again = false;
        bool skip = false;
        code = count_claimable(end, position, ask, &word);
        if (code == 0) {
            code = judge(end, position, word, &again);
            skip = code == 1;
        }
        if (code < 0) {
            uint64_t now = ring_atomic_load(end->counter, memory_order_acquire); /* M0 */
            if (now == position) {
                if (again)
                    code = -EUCLEAN; /* claimed by nobody, and yet not as we left it */
                break;
            }
            position = now;
            continue;
        }
        /* M2: release, before the claim M3. */
        ring_atomic_store(end->intent, ring_mpmc_intent_word(position, (unsigned)code), memory_order_release);
        said = true;
        /* M3: acq_rel, pairs with M0, M10: who sees the claim sees the intent. */
        if (!atomic_compare_exchange_strong_explicit(end->counter, &position, position + (unsigned)code,
                                                     memory_order_acq_rel, memory_order_acquire)) {
            ask->most = ask->turns < CROWDED ? ask->most : 1;
            continue;
        }
        if (!skip) {
            ask->position = position;
            return code;
        }
        pass_over(end, position);
        position++;
        said = false;
    } while (++ask->turns < TURNS);
    if (said)
        ring_atomic_store(end->intent, 0, memory_order_release); /* M5 */
    return code > 0 ? -EAGAIN : code;
}

/* Now and then: are we alone by now? */
static void consider_promotion(struct ring_mpmc_end *end)
{
    end->shared_ops = 0;
    if ((end->view.flags & RING_MPMC_NO_SOLE) ||
        (ring_atomic_load(&end->view.control->attached[end->consumer], memory_order_relaxed) != 1 && /* M17 */
         ++end->not_alone % ASK_ANYWAY))
        return;
    struct ring_claim *lock;
    if (ring_mpmc_try_lock(&end->view, &lock) == 0) {
        ring_mpmc_promote(end);
        ring_mpmc_unlock(&end->view, lock, NULL);
    }
}

/* Messages since the ring was last found empty (full). */
static uint64_t since_emptied(struct ring_mpmc_end *end)
{
    uint64_t now = end->sole_mode != RING_MODE_NEVER ? end->next : end->taken; /* at a change of mode once wrong */
    uint64_t since = now - end->emptied;
    end->emptied = now;
    return since;
}

/* How many pauses to leave the ring alone, now that it was found empty (full). */
static unsigned back_off(struct ring_mpmc_end *end)
{
    uint64_t taken = since_emptied(end);
    return ring_back_off_next(&end->waiter.back_off, taken > 1, taken / STREAM);
}

/* Leaves the ring alone, unless a good part of it has come (become free) meanwhile. */
static void pause_while_little(const struct ring_mpmc_end *end, unsigned pauses)
{
    enum { LOOK_EACH = 8 };
    bool sole = end->sole_mode != RING_MODE_NEVER;
    uint64_t far = end->next + (end->mask + 1) / 4;
    for (unsigned i = 1; i <= pauses; i++) {
        ring_cpu_relax();
        if (sole && i % LOOK_EACH == 0 && ring_mpmc_is_clear(end, far))
            break;
    }
}

/* One look: a number, or -EAGAIN and so on. */
static int try_claim(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask)
{
    int code = 0;
    ask->flags = 0;
    if (end->sole_mode == RING_MODE_NEVER && ++end->shared_ops >= RING_MPMC_ALONE_AFTER)
        consider_promotion(end);
    if (end->sole_mode != RING_MODE_NEVER)
        code = claim_alone(end, ask);
    if (code == 0)
        code = claim_shared(end, ask);
    return code == -EUCLEAN ? ring_mpmc_fail(end, code) : code;
}

void ring_mpmc_free_slot(struct ring_mpmc_end *end, uint64_t position, uint32_t flags)
{
    RING_ATOMIC(uint64_t) *slot = ring_mpmc_slot(&end->view, position);
    uint64_t next_lap = ring_mpmc_free_word(position, end->shift) + (UINT64_C(1) << RING_SLOT_LAP);
    if (RING_UNLIKELY(flags & RING_REDELIVERED)) {
        uint64_t word = ring_atomic_load(slot, memory_order_relaxed);
        if (ring_mpmc_laps_ahead(word, position, end->shift) != 0)
            return;
        /* M8, by compare-and-swap: the number of redeliveries may have come round. */
        atomic_compare_exchange_strong_explicit(slot, &word, next_lap, memory_order_release, memory_order_relaxed);
        return;
    }
    /* M8: release, pairs with M1: our reads come before the next lap's stores. */
    ring_atomic_store(slot, next_lap, memory_order_release);
}

/* ---- Waiting ---- */

/* Mends what the dead left, then looks again. *busy: somebody living is in the middle of something. */
static int search_and_try(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, bool *busy)
{
    struct ring_mpmc_repairs repairs = { 0, 0, 0, 0 };
    end->search = false;
    end->fruitless = 0;
    int code = ring_mpmc_repair(&end->view, end, ask, false, &repairs);
    *busy = repairs.pending || repairs.waiting;
    if (code == -EUCLEAN)
        return ring_mpmc_fail(end, code);
    if (code) {
        end->search = true; /* where one is, there may be more */
        return code;
    }
    return try_claim(end, ask);
}

/* What an empty (full) ring means, given what became of the other side. */
static int reason(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask)
{
    enum ring_peer peers = ring_mpmc_side_state(&end->view, !end->consumer);
    if (peers != RING_PEER_CLOSED && peers != RING_PEER_DEAD)
        return -EAGAIN;
    bool busy;
    int code = search_and_try(end, ask, &busy);      /* their last words may have come before their end */
    if (code == -EAGAIN && !(end->consumer && busy)) /* a message in another's hands comes here should he die */
        code = peers == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD;
    return code;
}

static int look(void *end, void *ask)
{
    return try_claim(end, ask);
}

static int look_closely(void *participant, void *call, unsigned *doubts)
{
    struct ring_mpmc_end *end = participant;
    struct ring_mpmc_ask *ask = call;
    bool busy = false;
    ask->turns = 0;
    int code = search_and_try(end, ask, &busy);
    if (code == -EAGAIN)
        code = reason(end, ask);
    *doubts |= busy ? RING_WAIT_UNFINISHED : 0;
    if (ring_atomic_load(&end->view.control->blind, memory_order_relaxed)) /* M18 */
        *doubts |= RING_WAIT_UNREACHED;
    return code;
}

/* Of the next position, as far as it is known: another one may be faster, then a rest takes its time. */
static RING_ATOMIC(uint64_t) * slot_of(void *participant)
{
    struct ring_mpmc_end *end = participant;
    bool sole = end->sole_mode != RING_MODE_NEVER;
    return ring_mpmc_slot(&end->view,
                          sole ? end->next : ring_atomic_load(end->counter, memory_order_relaxed)); /* M0: a hint */
}

static struct ring_segment *segment_of(void *participant)
{
    return ((struct ring_mpmc_end *)participant)->view.segment;
}

const struct ring_wait_looks ring_mpmc_looks = { look, look_closely, slot_of, segment_of };

/* Waits. One is woken for each publication, which may be of several messages: so whoever slept and leaves something
 * wakes the next. */
static int wait_for_it(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, int64_t timeout_ns)
{
    int code = ring_wait(&end->waiter, ask, timeout_ns);
    if (end->waiter.slept) {
        uint64_t next = code > 0 ? ask->position + (unsigned)code
                                 : ring_atomic_load(end->counter, memory_order_relaxed); /* M0: only a hint */
        if (ring_mpmc_is_clear(end, next))
            ring_wake_one(end->waiter.asleep);
    }
    return code;
}

static int try_without_waiting(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask)
{
    bool busy;
    if (++end->fruitless >= FRUITLESS)
        return search_and_try(end, ask, &busy);
    const struct ring_layout_mpmc *control = end->view.control;
    if (ring_atomic_load(&control->attached[!end->consumer], memory_order_relaxed) == 0 && /* M17 */
        ring_atomic_load(&control->ended[!end->consumer], memory_order_relaxed) != RING_PEER_NEVER)
        return reason(end, ask);
    return ring_waiter_refuse(&end->waiter, ask);
}

static int claim(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, int64_t timeout_ns)
{
    bool busy;
    if (RING_UNLIKELY(end->fault))
        return end->fault;
    int code = RING_UNLIKELY(end->search) ? search_and_try(end, ask, &busy) : try_claim(end, ask);
    if (RING_LIKELY(code != -EAGAIN))
        return code;
    if (timeout_ns == RING_NO_WAIT)
        return try_without_waiting(end, ask);
    if (end->waiter.policy != RING_WAIT_SLEEP)
        pause_while_little(end, back_off(end));
    for (int polls = ring_waiter_polls(&end->waiter); polls > 0 && code == -EAGAIN; polls--) {
        ring_cpu_poll_gap();
        /* The word is written when its message is freed, and what a consumer sends in answer waits for that: so its
         * line is asked for to write. More often would take it from a producer that has just got it. */
        if (end->consumer && end->sole_mode != RING_MODE_NEVER)
            ring_prefetch_for_write(ring_mpmc_slot(&end->view, end->next));
        code = try_claim(end, ask);
    }
    return code != -EAGAIN ? code : wait_for_it(end, ask, timeout_ns);
}

int ring_mpmc_claim(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, int64_t timeout_ns)
{
    int code = claim(end, ask, timeout_ns);
    if (RING_LIKELY(code > 0))
        end->taken += (unsigned)code;
    return code;
}
