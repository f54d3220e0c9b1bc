/* broadcast.c - level 6: theory of the broadcast ring, and the slow halves of the consumer's verbs.
 *
 * THEORY. One producer writes slots in the order of their positions, consumers only read them. A slot's word tells
 * which message is in it, and whether. For each message the producer marks the slot WRITING (B1), writes the message
 * (B2), and stores READY with its length (B3, release). The mark of the next slot is set as soon as this message is
 * out, so that its line is on its way already; hence the ring keeps slots - 1 messages.
 *
 * A consumer wants position c. It loads the slot's word (B6, acquire): READY of c's lap, the message is there; older,
 * not yet; newer, it was overwritten. It copies the message (B7) and looks at the word again behind a fence (B8):
 * unchanged, then no byte of the copy is newer, since whoever has seen such a byte sees the mark that came before it.
 * Positions are numbers of messages, so the difference between where it was and where it goes on is exactly what it
 * lost.
 *
 * There is no ABA: a word comes again after 2^36 laps. Unsigned differences make positions right across 2^32 and 2^64.
 *
 * Invariant: the slots of the last slots - 1 positions before `tail` hold READY of their lap; the slot of the
 * producer's position holds READY of the lap before, 0, or WRITING of its own. A producer killed anywhere leaves that:
 * its successor finds the position by walking from `tail`, which is right or behind, over READY words, and writes that
 * slot anew. Lossless: see broadcast_producer.c.
 *
 * SAFETY against a peer that writes rubbish: each shared word is loaded once; the length is bounded by our own copy of
 * slot_bytes, positions are masked; a word that no correct producer writes poisons the endpoint.
 */
#include <ring/broadcast_private.h>

#include <errno.h>

#include <ring/error.h>

enum { STREAM_BYTES = 48 }; /* a stream brings more than that per pause: a GB/s */

int ring_broadcast_judge(uint64_t word, uint64_t ready, uint64_t slot_bytes)
{
    if (word - ready <= slot_bytes)
        return 0;
    if (word == 0)
        return -EAGAIN;
    uint64_t length = word & RING_BROADCAST_LENGTH_MASK;
    uint64_t state = word >> RING_BROADCAST_STATE_SHIFT & 3;
    uint64_t spare = (word & ((UINT64_C(1) << RING_BROADCAST_STATE_SHIFT) - 1)) - length;
    if (spare || length > slot_bytes ||
        !(state == RING_BROADCAST_READY || (state == RING_BROADCAST_WRITING && !length)))
        return -EUCLEAN;
    uint64_t laps =
        ((word >> RING_BROADCAST_LAP_SHIFT) - (ready >> RING_BROADCAST_LAP_SHIFT)) & RING_BROADCAST_LAP_MASK;
    if (laps == 0) /* READY of this lap was the first question */
        return -EAGAIN;
    if (laps == RING_BROADCAST_LAP_MASK) /* the lap before */
        return state == RING_BROADCAST_READY ? -EAGAIN : -EUCLEAN;
    return laps <= RING_BROADCAST_LAP_MASK / 2 ? -EOVERFLOW : -EUCLEAN;
}

void ring_broadcast_publish_position(struct ring_broadcast_consumer *consumer)
{
    consumer->published = consumer->position;
    if (!consumer->seat)
        return;
    /* B9: release, pairs with B12: we are done reading what lies before. */
    ring_atomic_store(&consumer->seat->position, consumer->position, memory_order_release);
    ring_compiler_barrier();
    /* B10: as B5. */
    if (RING_UNLIKELY(ring_atomic_load(&consumer->control->producer_asleep, memory_order_relaxed) != 0))
        ring_wake(&consumer->control->producer_asleep);
}

/* What the hot path reads when it must find nothing. Never written. */
static RING_ATOMIC(uint64_t) nothing_here;

void ring_broadcast_hide(struct ring_broadcast_consumer *consumer)
{
    consumer->data = (unsigned char *)(uintptr_t)&nothing_here;
    consumer->mask = 0;
}

static int fail(struct ring_broadcast_consumer *consumer)
{
    consumer->fault = -EUCLEAN;
    consumer->peeked_end = consumer->position - 1;
    ring_broadcast_hide(consumer);
    return -EUCLEAN;
}

/* Leaves the guard on the way out of a call that ends here. */
static int left(struct ring_broadcast_consumer *consumer, int code)
{
    ring_guard_leave(&consumer->guarded);
    return code;
}

static int lose(struct ring_broadcast_consumer *consumer, uint64_t messages)
{
    consumer->lost = messages;
    consumer->lost_in_all += messages;
    if (consumer->seat) /* B13: relaxed, for people */
        ring_atomic_store(&consumer->seat->lost, consumer->lost_in_all, memory_order_relaxed);
    return -EOVERFLOW;
}

static uint64_t ready_word(const struct ring_broadcast_consumer *consumer)
{
    return ring_broadcast_word(consumer->ring_mask, consumer->lap_shift, consumer->position, RING_BROADCAST_READY);
}

static RING_ATOMIC(uint64_t) * current_slot(const struct ring_broadcast_consumer *consumer)
{
    return ring_broadcast_slot(consumer->ring_data, consumer->ring_mask, consumer->stride, consumer->position);
}

/* Goes on at one of the oldest messages, a quarter of the ring away from being overtaken again. `word`: of the slot of
 * our position, of a later lap; so the producer has come at least so far. */
static int go_on_behind_loss(struct ring_broadcast_consumer *consumer, uint64_t word)
{
    uint64_t slots = consumer->ring_mask + 1;
    uint64_t laps = ((word >> RING_BROADCAST_LAP_SHIFT) - (ready_word(consumer) >> RING_BROADCAST_LAP_SHIFT)) &
                    RING_BROADCAST_LAP_MASK;
    uint64_t newest = consumer->position + laps * slots;
    /* B11: acquire, pairs with B4: the slots before it are READY, or written anew later. */
    uint64_t tail = ring_atomic_load(&consumer->control->tail, memory_order_acquire);
    if ((int64_t)(tail - newest) > 0)
        newest = tail;
    uint64_t next = newest - (slots - 1) + slots / 4;
    int code = lose(consumer, next - consumer->position);
    consumer->position = next;
    consumer->emptied = next;
    ring_broadcast_publish_position(consumer);
    return code;
}

/* 0: the hot path will find it; -EAGAIN; -EOVERFLOW, the position moved on; -EUCLEAN. */
static int look(struct ring_broadcast_consumer *consumer)
{
    /* B6: acquire, pairs with B3. */
    uint64_t word = ring_atomic_load(current_slot(consumer), memory_order_acquire);
    int code = ring_broadcast_judge(word, ready_word(consumer), consumer->slot_bytes);
    if (code == -EOVERFLOW)
        return go_on_behind_loss(consumer, word);
    return code == -EUCLEAN ? fail(consumer) : code;
}

int ring_broadcast_overtaken(struct ring_broadcast_consumer *consumer)
{
    int code = look(consumer);
    if (code != -EOVERFLOW) /* it was there, and now neither is it nor a later one */
        code = fail(consumer);
    return left(consumer, code);
}

/* ---- Waiting for a message ---- */

enum ring_peer ring_broadcast_producer_state(const struct ring_broadcast_consumer *consumer)
{
    if (!consumer || !consumer->segment)
        return RING_PEER_NEVER;
    struct ring_seat seat = ring_broadcast_producer_seat(consumer->segment, consumer->control, consumer->entry);
    return ring_seat_state(&seat);
}

/* What an empty ring means, given what became of the producer. */
static int reason_for_nothing(struct ring_broadcast_consumer *consumer)
{
    enum ring_peer peer = ring_broadcast_producer_state(consumer);
    if (peer != RING_PEER_CLOSED && peer != RING_PEER_DEAD)
        return -EAGAIN;
    int code = look(consumer); /* its last words may have come before its end */
    if (code == -EAGAIN)
        code = peer == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD;
    return code;
}

static int look_while_waiting(void *end, void *call)
{
    (void)call;
    return look(end);
}

static int look_closely(void *end, void *call, unsigned *doubts)
{
    struct ring_broadcast_consumer *consumer = end;
    (void)call;
    *doubts |= ring_seat_is_blind(&consumer->control->producer) ? RING_WAIT_UNREACHED : 0;
    int code = look(consumer);
    return code == -EAGAIN ? reason_for_nothing(consumer) : code;
}

static RING_ATOMIC(uint64_t) * slot_of(void *end)
{
    return current_slot(end);
}

static struct ring_segment *segment_of(void *end)
{
    return ((struct ring_broadcast_consumer *)end)->segment;
}

const struct ring_wait_looks ring_broadcast_consumer_looks = { look_while_waiting, look_closely, slot_of, segment_of };

/* The first microseconds of a wait: nothing but loads of the word that will change, so that an answer on its way is
 * seen as soon as its line arrives. */
static int spin_for_message(struct ring_broadcast_consumer *consumer)
{
    RING_ATOMIC(uint64_t) *slot = current_slot(consumer);
    uint64_t ready = ready_word(consumer);
    uint64_t last = 0;
    int polls = ring_waiter_polls(&consumer->waiter);
    for (int i = 0; i < polls; i++) {
        uint64_t word = ring_atomic_load(slot, memory_order_relaxed); /* B6 follows: in the hot path, or in look() */
        if (RING_UNLIKELY(word != last)) {
            if (word - ready <= consumer->slot_bytes)
                return 0; /* the hot path reads and checks it again */
            if (ring_broadcast_judge(word, ready, consumer->slot_bytes) != -EAGAIN)
                return look(consumer);
            last = word;
        }
        ring_cpu_poll_gap();
    }
    return -EAGAIN;
}

/* How many pauses to leave the ring alone, now that it was found empty. */
static unsigned back_off(struct ring_broadcast_consumer *consumer)
{
    uint64_t taken = consumer->position - consumer->emptied;
    consumer->emptied = consumer->position;
    return ring_back_off_next(&consumer->waiter.back_off, taken > 1, taken * consumer->stride / STREAM_BYTES);
}

/* Lost before joining; from now on the hot path may look at the ring. */
static int tell_pending(struct ring_broadcast_consumer *consumer)
{
    uint64_t pending = consumer->pending;
    consumer->pending = 0;
    consumer->data = consumer->ring_data;
    consumer->mask = consumer->ring_mask;
    return lose(consumer, pending);
}

static int await(struct ring_broadcast_consumer *consumer, int64_t timeout_ns)
{
    if (consumer->fault)
        return consumer->fault;
    if (consumer->pending)
        return tell_pending(consumer);
    int code = look(consumer);
    if (code != -EAGAIN)
        return code;
    if (consumer->published != consumer->position)
        ring_broadcast_publish_position(consumer);
    if (timeout_ns == RING_NO_WAIT)
        return ring_seat_is_closed(&consumer->control->producer) ? reason_for_nothing(consumer)
                                                                 : ring_waiter_refuse(&consumer->waiter, NULL);
    if (consumer->waiter.policy != RING_WAIT_SLEEP) {
        unsigned pauses = back_off(consumer);
        for (unsigned i = 0; i < pauses; i++)
            ring_cpu_relax();
        code = spin_for_message(consumer);
    }
    return code != -EAGAIN ? code : ring_wait(&consumer->waiter, NULL, timeout_ns);
}

int ring_broadcast_await(struct ring_broadcast_consumer *consumer, int64_t timeout_ns)
{
    int code = await(consumer, timeout_ns);
    if (code)
        return left(consumer, code);
    if (consumer->found == consumer->position) /* what is there stays until it is overwritten: it never comes again */
        return left(consumer, fail(consumer));
    consumer->found = consumer->position;
    return 0;
}
