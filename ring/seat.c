/* seat.c - level 5: taking and leaving a place in a ring, and what became of whoever held it; see seat.h. */
#include <ring/seat.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>

/* How many places are asked about, a system call each, before a free one is taken: all of a short row, some of a long
 * one. Each call takes the longer, the more places are held. */
enum { SHORT_ROW = 64, SOME = 4 };

bool ring_seat_is_closed(const struct ring_layout_role *record)
{
    /* L0: acquire, pairs with L2: all that the holder published comes before. */
    uint64_t state = ring_atomic_load(&record->state, memory_order_acquire) & 0xff;
    return state == RING_ROLE_CLOSED || state == RING_ROLE_MOVED;
}

bool ring_seat_has_moved(const struct ring_layout_role *record)
{
    return (ring_atomic_load(&record->state, memory_order_acquire) & 0xff) == RING_ROLE_MOVED; /* L0 */
}

bool ring_seat_is_blind(const struct ring_layout_role *record)
{
    /* L0, L3: relaxed: an old value makes one sleep longer or shorter than wanted. Whoever comes later has registered
     * before it publishes: the kernel makes it pass a barrier then. */
    return (ring_atomic_load(&record->state, memory_order_relaxed) & 0xff) == RING_ROLE_ATTACHED &&
           !ring_atomic_load(&record->barrier, memory_order_relaxed);
}

enum ring_peer ring_seat_state(const struct ring_seat *seat)
{
    uint64_t before = ring_atomic_load(&seat->record->state, memory_order_acquire); /* L0 */
    if ((before & 0xff) == RING_ROLE_NEVER)
        return RING_PEER_NEVER;
    if ((before & 0xff) == RING_ROLE_CLOSED || (before & 0xff) == RING_ROLE_MOVED)
        return RING_PEER_CLOSED;
    if (ring_claim_is_held(&seat->segment->witness, seat->lock))
        return RING_PEER_ALIVE;
    uint64_t after = ring_atomic_load(&seat->record->state, memory_order_acquire); /* L0 */
    if (after == before)
        return RING_PEER_DEAD; /* the same tenure, not closed, and nobody holds the lock: proved */
    return (after & 0xff) == RING_ROLE_CLOSED || (after & 0xff) == RING_ROLE_MOVED ? RING_PEER_CLOSED : RING_PEER_ALIVE;
}

uint64_t ring_seat_tenures(const struct ring_seat *seat)
{
    uint64_t state = ring_atomic_load(&seat->record->state, memory_order_acquire);          /* L0 */
    return (state >> 8) - ring_atomic_load(&seat->record->forgotten, memory_order_relaxed); /* L4 */
}

int ring_seat_take(const struct ring_seat *seat, bool barrier, struct ring_claim *claim, bool *died)
{
    struct ring_layout_role *record = seat->record;
    int code = ring_claim_add(claim, &seat->segment->witness, seat->lock);
    if (code)
        return code;
    ring_claim_seal(claim);
    uint64_t state = ring_atomic_load(&record->state, memory_order_acquire); /* L0 */
    *died = (state & 0xff) == RING_ROLE_ATTACHED;
    if ((state & 0xff) == RING_ROLE_MOVED) /* for good: read under the lock, so nobody can move on meanwhile */
        return ring_error(-ESTALE, "whoever held this role last has moved on to another ring for good");
    char command[RING_LAYOUT_COMMAND];
    uint64_t started;
    uint64_t words[2];
    ring_segment_describe_self(command, &started);
    memcpy(words, command, sizeof words);
    ring_atomic_store(&record->barrier, barrier, memory_order_relaxed);
    ring_atomic_store(&record->pid, (int32_t)getpid(), memory_order_relaxed);
    ring_atomic_store(&record->started, started, memory_order_relaxed);
    ring_atomic_store(&record->command[0], words[0], memory_order_relaxed);
    ring_atomic_store(&record->command[1], words[1], memory_order_relaxed);
    /* L1: release, pairs with L0: the stores above (L3) come with it. */
    ring_atomic_store(&record->state, ((state >> 8) + 1) << 8 | RING_ROLE_ATTACHED, memory_order_release);
    return 0;
}

/* L0, relaxed: only a hint, the lock decides. */
static bool seems_attached(const struct ring_seat *seat)
{
    return (ring_atomic_load(&seat->record->state, memory_order_relaxed) & 0xff) == RING_ROLE_ATTACHED;
}

/* Asks about up to `most` places that seem attached, and takes that of a dead participant: fewer of them to be looked
 * at later. In a long row it begins anywhere, so that all are asked about in time. -EBUSY: none found. */
static int take_attached(const struct ring_seat_row *row, unsigned most, bool barrier, unsigned *index,
                         struct ring_claim *claim, bool *died)
{
    unsigned from = row->count > most ? (unsigned)(ring_clock_monotonic() / 1000 % row->count) : 0;
    int code = -EBUSY;
    for (unsigned i = 0; i < row->count && most && code == -EBUSY; i++) {
        *index = (from + i) % row->count;
        struct ring_seat seat = ring_seat_of_row(row, *index);
        if (!seems_attached(&seat))
            continue;
        most--;
        if (!ring_claim_is_held(&seat.segment->witness, seat.lock))
            code = ring_seat_take(&seat, barrier, claim, died);
    }
    return code;
}

int ring_seat_take_any(const struct ring_seat_row *row, bool barrier, unsigned *index, struct ring_claim *claim,
                       bool *died)
{
    int code = take_attached(row, row->count > SHORT_ROW ? SOME : row->count, barrier, index, claim, died);
    for (unsigned i = 0; i < row->count && code == -EBUSY; i++) {
        struct ring_seat seat = ring_seat_of_row(row, i);
        *index = i;
        if (!seems_attached(&seat))
            code = ring_seat_take(&seat, barrier, claim, died);
    }
    if (code == -EBUSY)
        code = take_attached(row, row->count, barrier, index, claim, died);
    if (code == -ESTALE)
        return ring_error(-EUCLEAN, "seat %u is damaged: only producers of SPSC rings move on", *index);
    return code == -EBUSY ? ring_error(-EUSERS, "all %u seats are held by living participants", row->count) : code;
}

int ring_seat_reach(RING_ATOMIC(uint32_t) * reached, unsigned index)
{
    uint32_t now = ring_atomic_load(reached, memory_order_acquire); /* L5 */
    /* Honest ones only raise it, each time by one at least: so nobody loses more often than there are seats before. */
    for (unsigned lost = 0; lost <= index; lost++)
        if (now > index || atomic_compare_exchange_strong_explicit(reached, &now, index + 1, memory_order_acq_rel,
                                                                   memory_order_acquire)) /* L5 */
            return 0;
    return now > index ? 0 : ring_error(-EUCLEAN, "the number of seats ever used does not come to rest");
}

static void leave_as(const struct ring_seat *seat, enum ring_layout_role_state how)
{
    uint64_t tenure = ring_atomic_load(&seat->record->state, memory_order_relaxed) >> 8;
    ring_atomic_store(&seat->record->state, tenure << 8 | how, memory_order_release); /* L2: pairs with L0 */
}

void ring_seat_leave(const struct ring_seat *seat, bool as_died)
{
    leave_as(seat, as_died ? RING_ROLE_ATTACHED : RING_ROLE_CLOSED);
}

void ring_seat_forget(const struct ring_seat *seat)
{
    /* The number of a tenure never comes again: proofs of death lean on that. */
    uint64_t tenures = ring_atomic_load(&seat->record->state, memory_order_relaxed) >> 8;
    ring_atomic_store(&seat->record->forgotten, tenures, memory_order_relaxed); /* L4: ordered by L2 */
    leave_as(seat, RING_ROLE_NEVER);
}

void ring_seat_move(const struct ring_seat *seat)
{
    leave_as(seat, RING_ROLE_MOVED);
}

void ring_seat_describe(const struct ring_seat *seat, struct ring_side *side)
{
    const struct ring_layout_role *record = seat->record;
    side->peer = ring_seat_state(seat);
    side->tenures = ring_seat_tenures(seat);
    side->pid = ring_atomic_load(&record->pid, memory_order_relaxed); /* L3 here and below: for people */
    uint64_t words[2] = { ring_atomic_load(&record->command[0], memory_order_relaxed),
                          ring_atomic_load(&record->command[1], memory_order_relaxed) };
    memcpy(side->command, words, sizeof words);
    side->command[RING_LAYOUT_COMMAND - 1] = '\0';
}
