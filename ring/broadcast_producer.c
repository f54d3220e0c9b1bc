/* broadcast_producer.c - level 6: the slow halves of the producer's verbs: lossless room, and waking.
 *
 * THEORY of lossless. Each consumer publishes its position in its seat (B9), lazily. The producer may write a position
 * below the least of them plus `slots`. It looks at the seats only when it has used up its private limit, which is
 * never more than an eighth of the ring ahead. So a consumer that joins need not be waited for, but must know what the
 * producer may overwrite without having seen it:
 *
 *   producer, looking                        consumer, joining
 *     limit = position + slots / 8  (B14)      seat: ATTACHED, position = wanted       (L1, B9)
 *     seats: states and positions   (B12)      fence                                   (B15)
 *     limit = what they allow       (B14)      read limit: wanted = max(wanted, limit - slots)
 *
 * All of it sequentially consistent: either the look sees the seat, or the joiner sees the limit that the look began
 * with, or a later one. In both cases nothing at or behind `wanted` is overwritten before the consumer says so. Joiners
 * therefore find at least the last 7/8 of the ring, and all that is in it when the producer waits for room.
 *
 * A seat whose holder was proved to be dead is left out from then on, by the value of its state word, which a new
 * holder changes. The dead cost one probe; who is stopped is not dead, and is waited for.
 */
#include <ring/broadcast_private.h>

#include <errno.h>

#include <ring/error.h>

enum { PROBE_EACH = 64 }; /* looks without waiting, between two probes for the dead */

/* What a look at the seats found. */
struct look {
    uint64_t room;    /* messages that may be written now */
    bool unreachable; /* a living consumer's process is not registered for membarrier */
};

int ring_broadcast_refuse_length(const struct ring_broadcast_producer *producer, const void *message, size_t length)
{
    if (producer->fault)
        return producer->fault;
    return !message && length <= producer->slot_bytes ? -EINVAL : -EMSGSIZE;
}

unsigned ring_broadcast_seats_used(struct ring_layout_broadcast *control, unsigned seat_count)
{
    /* B12: seq_cst, as the states: who raised it did so before B15. */
    unsigned used = ring_atomic_load(&control->seats_used, memory_order_seq_cst);
    return used < seat_count ? used : seat_count;
}

/* Is the holder of this seat to be waited for? Sets how many messages behind it is. */
static bool holds_back(struct ring_broadcast_producer *producer, unsigned index, uint64_t *state, uint64_t *behind)
{
    struct ring_layout_broadcast_seat *seat = ring_broadcast_seat_at(producer->seats, index);
    *state = ring_atomic_load(&seat->role.state, memory_order_seq_cst); /* B12, and L0 */
    if ((*state & 0xff) != RING_ROLE_ATTACHED || *state == producer->known_dead[index])
        return false;
    *behind = producer->position - ring_atomic_load(&seat->position, memory_order_seq_cst); /* B12: pairs with B9 */
    return true;
}

static void set_limit(struct ring_broadcast_producer *producer, uint64_t limit)
{
    ring_atomic_store(&producer->control->limit, limit, memory_order_seq_cst); /* B14: pairs with B15 */
}

/* Has a predecessor that died marked the slot that comes next? Then the message in it is gone, and whoever needed it
 * had been asked; only a consumer that is just taking a seat may seem to want it. The limit must not fall behind the
 * mark, or another joiner would be promised that message. */
static bool is_marked(const struct ring_broadcast_producer *producer)
{
    uint64_t position = producer->position;
    RING_ATOMIC(uint64_t) *slot = ring_broadcast_slot(producer->data, producer->mask, producer->stride, position);
    /* B1 is ours or, by the lock of the role (L0), that of a predecessor. */
    return ring_atomic_load(slot, memory_order_relaxed) ==
           ring_broadcast_word(producer->mask, producer->lap_shift, position, RING_BROADCAST_WRITING);
}

/* 0: there is room now, and the next slot is marked; -EAGAIN; -EUCLEAN. */
static int look_for_room(struct ring_broadcast_producer *producer, struct look *look)
{
    uint64_t slots = producer->mask + 1;
    uint64_t step = slots >= 8 ? slots / 8 : 1;
    uint64_t position = producer->position;
    set_limit(producer, position + step);
    *look = (struct look){ .room = slots };
    unsigned used = ring_broadcast_seats_used(producer->control, producer->seat_count);
    for (unsigned i = 0; i < used; i++) {
        uint64_t state, behind;
        if (!holds_back(producer, i, &state, &behind))
            continue;
        if ((int64_t)behind < 0) /* ahead of what was sent */
            return producer->fault = -EUCLEAN;
        if (slots - look->room < behind)
            look->room = behind < slots ? slots - behind : 0;
        if (!ring_atomic_load(&ring_broadcast_seat_at(producer->seats, i)->role.barrier, memory_order_relaxed)) /* L3 */
            look->unreachable = true;
    }
    if (look->room < step) {
        step = look->room || !is_marked(producer) ? look->room : 1;
        set_limit(producer, position + step);
    }
    if (!step)
        return -EAGAIN;
    producer->limit = position + step;
    ring_broadcast_mark(producer, position, 0);
    return 0;
}

/* Leaves out those of them that died, then looks again. */
static int look_past_the_dead(struct ring_broadcast_producer *producer, struct look *look)
{
    unsigned used = ring_broadcast_seats_used(producer->control, producer->seat_count);
    for (unsigned i = 0; i < used; i++) {
        uint64_t state, behind;
        if (!holds_back(producer, i, &state, &behind) || behind <= producer->mask)
            continue;
        struct ring_seat seat = ring_broadcast_consumer_seat(producer->segment, producer->seats, producer->entry, i);
        if (ring_seat_state(&seat) == RING_PEER_DEAD)
            producer->known_dead[i] = state; /* of this tenure, or a later one that died as well */
    }
    return look_for_room(producer, look);
}

static int look_while_waiting(void *end, void *call)
{
    struct look look;
    (void)call;
    return look_for_room(end, &look);
}

static int look_closely(void *end, void *call, unsigned *doubts)
{
    struct look look = { .unreachable = false };
    (void)call;
    int code = look_past_the_dead(end, &look);
    *doubts |= look.unreachable ? RING_WAIT_UNREACHED : 0;
    return code;
}

static struct ring_segment *segment_of(void *end)
{
    return ((struct ring_broadcast_producer *)end)->segment;
}

const struct ring_wait_looks ring_broadcast_producer_looks = { look_while_waiting, look_closely, NULL, segment_of };

/* Overwrite: no limit but the length of a 64-bit count, and a first mark. */
static int free_the_limit(struct ring_broadcast_producer *producer)
{
    producer->limit = producer->position - 1;
    ring_broadcast_mark(producer, producer->position, 0);
    return 0;
}

int ring_broadcast_find_room(struct ring_broadcast_producer *producer, int64_t timeout_ns)
{
    struct look look;
    if (producer->fault)
        return producer->fault;
    if (producer->reserved)
        return -EBUSY;
    if (!producer->lossless)
        return free_the_limit(producer);
    int code = look_for_room(producer, &look);
    if (code == -EAGAIN && timeout_ns != RING_NO_WAIT)
        code = ring_wait(&producer->waiter, NULL, timeout_ns);
    else if (code == -EAGAIN && producer->fruitless++ % PROBE_EACH == 0)
        code = look_past_the_dead(producer, &look);
    if (code == -EAGAIN && timeout_ns == RING_NO_WAIT)
        code = ring_waiter_refuse(&producer->waiter, NULL);
    return code;
}

int ring_broadcast_make_room(struct ring_broadcast_producer *producer, int64_t timeout_ns)
{
    int code = ring_broadcast_find_room(producer, timeout_ns);
    if (code)
        ring_guard_leave(&producer->guarded);
    return code;
}

void ring_broadcast_wake(struct ring_broadcast_producer *producer)
{
    ring_wake(&producer->control->consumers_asleep);
}
