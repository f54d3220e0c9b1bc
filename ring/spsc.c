/* spsc.c - level 6: theory of the SPSC ring, and the slow halves of its hot verbs.
 *
 * THEORY. The producer alone writes records, the consumer alone writes `head`. Positions are 64-bit byte counts that
 * only grow; a position's place is data + (position & mask). A record is an 8-byte header word and its message, padded
 * to 8; it lies in one piece: a record that begins near the end of the data runs on into the overhang behind it, and
 * the record after it begins at its position & mask, as if it had wrapped. Two records never share a byte, since both
 * sides compute the same places from the same positions.
 *
 * Invariant: from head on stand whole records, then one zero word, at the producer's position. The producer keeps it by
 * writing, in this order, the payload, the zero behind the record (P1), the header (P2, release). A producer killed
 * between any two instructions leaves the zero at its position in place, so nothing of the unfinished record is
 * visible, and its successor finds where to go on by walking the headers from head to the zero.
 *
 * Free space: record and the zero behind it must end at or before head + capacity. `limit` is head + capacity - 8 as of
 * the last look at head (P4), so the hot path compares with private memory only. Unsigned differences make it right
 * across 2^32, 2^63 and 2^64. There is no ABA: a word of a lap is written again only after head has passed it.
 *
 * The consumer publishes head each publish_bytes, when it finds the ring empty, before it sleeps, and when it closes.
 * Its successor after a death starts at head, so it may see again what lay before max(head + publish_bytes,
 * head_peeked): those messages carry RING_REDELIVERED, for it and for whoever comes after it (head_doubt).
 *
 * SAFETY against a peer that writes rubbish: each shared word is loaded once; lengths are bounded by the max_message of
 * our own copy, positions are masked, head is accepted only between its last value and our position.
 */
#include <ring/spsc_private.h>

#include <errno.h>

#include <ring/error.h>

enum { STREAM_BYTES = 48 }; /* a stream brings more than that per pause: a GB/s */

int ring_spsc_decode(const unsigned char *data, uint64_t mask, uint64_t max_message, uint64_t position,
                     struct ring_spsc_record *record)
{
    /* C1: acquire, pairs with P2. */
    uint64_t header = ring_atomic_load(ring_spsc_header_at(data, mask, position), memory_order_acquire);
    *record = (struct ring_spsc_record){ 0, 0, 0 };
    if (header == 0)
        return -EAGAIN;
    record->count = (uint32_t)(header >> 32);
    record->length = (uint32_t)header;
    if (record->count == 0 || record->count > RING_RECORD_MAX_COUNT || record->length > max_message)
        return -EUCLEAN;
    uint64_t payload = record->length;
    if (record->count > 1) {
        payload = record->count * ring_spsc_pace(record->length);
        if (payload > max_message || payload == 0)
            return -EUCLEAN;
    }
    record->stride = ring_spsc_stride(payload);
    return 0;
}

/* ---- Producer ---- */

int ring_spsc_fail_producer(struct ring_spsc_producer *producer, int fault)
{
    producer->fault = fault;
    producer->limit = producer->position;
    producer->reserved = 0;
    return fault;
}

int ring_spsc_refuse_length(const struct ring_spsc_producer *producer, const void *message, size_t length)
{
    if (producer->fault)
        return producer->fault;
    return !message && length <= producer->max_message ? -EINVAL : -EMSGSIZE;
}

/* 0: there is room now; -EAGAIN; -EUCLEAN. */
static int look_for_room(struct ring_spsc_producer *producer, uint64_t stride)
{
    /* P4: acquire, pairs with C2: the consumer is done with what lies before. */
    uint64_t head = ring_atomic_load(&producer->control->head, memory_order_acquire);
    if (head - producer->head > producer->position - producer->head || head % 8)
        return ring_spsc_fail_producer(producer, -EUCLEAN); /* behind what we saw, or ahead of what we sent */
    producer->head = head;
    producer->limit = head + producer->capacity - RING_RECORD_HEADER;
    return producer->limit - producer->position >= stride ? 0 : -EAGAIN;
}

/* What a full ring means, given what became of the consumer. */
static int reason_for_no_room(struct ring_spsc_producer *producer, uint64_t stride)
{
    enum ring_peer peer = ring_spsc_consumer_state(producer);
    if (peer != RING_PEER_CLOSED && peer != RING_PEER_DEAD)
        return -EAGAIN;
    int code = look_for_room(producer, stride); /* its last words may have come before its end */
    if (code == -EAGAIN)
        code = peer == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD;
    return code;
}

/* The two looks of a wait; `call` is the stride. */
static int look_while_waiting(void *end, void *call)
{
    return look_for_room(end, *(const uint64_t *)call);
}

static int look_closely_for_room(void *end, void *call, unsigned *doubts)
{
    struct ring_spsc_producer *producer = end;
    uint64_t stride = *(const uint64_t *)call;
    *doubts |= ring_seat_is_blind(&producer->control->consumer) ? RING_WAIT_UNREACHED : 0;
    int code = look_for_room(producer, stride);
    return code == -EAGAIN ? reason_for_no_room(producer, stride) : code;
}

static RING_ATOMIC(uint64_t) * head_of(void *end)
{
    return &((struct ring_spsc_producer *)end)->control->head;
}

static struct ring_segment *segment_of_producer(void *end)
{
    return ((struct ring_spsc_producer *)end)->segment;
}

const struct ring_wait_looks ring_spsc_producer_looks = { look_while_waiting, look_closely_for_room, head_of,
                                                          segment_of_producer };

int ring_spsc_try_room(struct ring_spsc_producer *producer, uint64_t stride)
{
    if (producer->fault)
        return producer->fault;
    return producer->reserved ? -EBUSY : look_for_room(producer, stride);
}

int ring_spsc_make_room(struct ring_spsc_producer *producer, uint64_t stride, int64_t timeout_ns)
{
    int code = ring_spsc_try_room(producer, stride);
    if (code != -EAGAIN)
        return code;
    if (timeout_ns == RING_NO_WAIT) {
        if (ring_seat_is_closed(&producer->control->consumer))
            return reason_for_no_room(producer, stride);
        return ring_waiter_refuse(&producer->waiter, &stride);
    }
    return ring_wait(&producer->waiter, &stride, timeout_ns);
}

/* ---- Consumer ---- */

/* What the hot path reads when it must find nothing. Never written. */
static const RING_ATOMIC(uint64_t) nothing_here;

static void turn_away(struct ring_spsc_consumer *consumer)
{
    consumer->data = (unsigned char *)(uintptr_t)&nothing_here;
    consumer->mask = 0;
}

void ring_spsc_settle(struct ring_spsc_consumer *consumer)
{
    bool doubt = consumer->redelivered_until != consumer->position &&
                 consumer->redelivered_until - consumer->position <= consumer->ring_mask;
    consumer->last_flags = doubt ? RING_REDELIVERED : 0;
    if (doubt || consumer->pack.count || consumer->fault) {
        turn_away(consumer);
    } else {
        consumer->data = consumer->ring_data;
        consumer->mask = consumer->ring_mask;
    }
}

int ring_spsc_fail_consumer(struct ring_spsc_consumer *consumer, int fault)
{
    consumer->fault = fault;
    consumer->peeked_count = 0;
    ring_spsc_settle(consumer);
    return fault;
}

int ring_spsc_poison(struct ring_spsc_consumer *consumer)
{
    return ring_spsc_fail_consumer(consumer, -EUCLEAN);
}

void ring_spsc_publish_head(struct ring_spsc_consumer *consumer)
{
    if (consumer->published == consumer->position)
        return;
    consumer->published = consumer->position;
    consumer->publish_at = consumer->position + consumer->publish_bytes;
    /* C2: release, pairs with P4. */
    ring_atomic_store(&consumer->control->head, consumer->position, memory_order_release);
    ring_compiler_barrier();
    /* C3: as P3. */
    if (RING_UNLIKELY(ring_atomic_load(&consumer->control->producer_asleep, memory_order_relaxed) != 0))
        ring_wake(&consumer->control->producer_asleep);
}

int ring_spsc_open_record(struct ring_spsc_consumer *consumer, struct ring_spsc_record *record)
{
    int code =
        ring_spsc_decode(consumer->ring_data, consumer->ring_mask, consumer->max_message, consumer->position, record);
    if (code == -EUCLEAN)
        return ring_spsc_poison(consumer);
    if (code == 0 && record->count > 1 && !consumer->pack.count) {
        consumer->pack = (struct ring_spsc_pack){ record->count, 0, record->length };
        ring_spsc_settle(consumer);
    }
    return code;
}

/* 0: the hot path can take it; 1: only the slow one; else -EAGAIN or the fault. */
static int look_for_message(struct ring_spsc_consumer *consumer)
{
    struct ring_spsc_record record;
    if (consumer->pack.count)
        return 1;
    if (!consumer->mask)
        ring_spsc_settle(consumer);
    int code = ring_spsc_open_record(consumer, &record);
    if (code)
        return code;
    consumer->one_message = consumer->position + record.stride;
    return consumer->mask == 0;
}

/* What an empty ring means, given what became of the producer; goes on to the ring's next generation. */
static int reason_for_nothing(struct ring_spsc_consumer *consumer)
{
    for (int moves = 0; moves < RING_SPSC_GENERATIONS; moves++) {
        struct ring_seat seat =
            ring_spsc_seat(consumer->segment, consumer->control, consumer->entry, RING_SPSC_PRODUCER);
        enum ring_peer peer = ring_seat_state(&seat);
        if (peer != RING_PEER_CLOSED && peer != RING_PEER_DEAD)
            return -EAGAIN;
        int code = look_for_message(consumer); /* its last words may have come before its end */
        if (code != -EAGAIN)
            return code;
        int moved = ring_spsc_follow(consumer);
        if (moved == -ENOENT)
            return peer == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD;
        code = moved ? moved : look_for_message(consumer);
        if (code != -EAGAIN)
            return code;
    }
    return ring_spsc_poison(consumer); /* it did not move: a message that is there, and gone, and there */
}

static int look(void *end, void *call)
{
    (void)call;
    return look_for_message(end);
}

static int look_closely(void *end, void *call, unsigned *doubts)
{
    struct ring_spsc_consumer *consumer = end;
    *doubts |= ring_seat_is_blind(&consumer->control->producer) ? RING_WAIT_UNREACHED : 0;
    int code = look(consumer, call);
    return code == -EAGAIN ? reason_for_nothing(consumer) : code;
}

static RING_ATOMIC(uint64_t) * header_of(void *end)
{
    struct ring_spsc_consumer *consumer = end;
    return ring_spsc_header_at(consumer->ring_data, consumer->ring_mask, consumer->position);
}

static struct ring_segment *segment_of(void *end)
{
    return ((struct ring_spsc_consumer *)end)->segment;
}

const struct ring_wait_looks ring_spsc_consumer_looks = { look, look_closely, header_of, segment_of };

/* The first microseconds of a wait: nothing but loads of the word that will change, so that an answer on its way is
 * seen as soon as its line arrives. */
static int spin_for_message(struct ring_spsc_consumer *consumer)
{
    int polls = ring_waiter_polls(&consumer->waiter);
    RING_ATOMIC(uint64_t) *header = ring_spsc_header_at(consumer->ring_data, consumer->ring_mask, consumer->position);
    for (int i = 0; i < polls; i++) {
        uint64_t word = ring_atomic_load(header, memory_order_relaxed); /* C1 follows: in the hot path, or below */
        if (RING_UNLIKELY(word != 0)) {
            if (word - RING_RECORD_ONE <= consumer->max_message && consumer->mask) {
                consumer->one_message = consumer->position + ring_spsc_stride(word - RING_RECORD_ONE);
                return 0; /* the hot path reads and checks it again */
            }
            return look_for_message(consumer);
        }
        ring_cpu_poll_gap();
    }
    return -EAGAIN;
}

/* How many pauses to leave the ring alone, now that it was found empty. */
static unsigned back_off(struct ring_spsc_consumer *consumer)
{
    uint64_t taken = consumer->position - consumer->emptied;
    consumer->emptied = consumer->position;
    bool stream = taken && consumer->one_message != RING_SPSC_UNKNOWN && consumer->one_message != consumer->position;
    consumer->one_message = RING_SPSC_UNKNOWN;
    return ring_back_off_next(&consumer->waiter.back_off, stream, taken / STREAM_BYTES);
}

int ring_spsc_await(struct ring_spsc_consumer *consumer, int64_t timeout_ns)
{
    if (consumer->fault)
        return consumer->fault;
    int code = look_for_message(consumer);
    if (code != -EAGAIN)
        return code;
    ring_spsc_publish_head(consumer);
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

/* The message at the consumer's position, in a pack or alone. ring_spsc_await() has found it. */
static int view(struct ring_spsc_consumer *consumer, struct ring_message *message)
{
    struct ring_spsc_record record;
    unsigned char *payload = consumer->ring_data + (consumer->position & consumer->ring_mask) + RING_RECORD_HEADER;
    message->flags = consumer->last_flags;
    if (consumer->pack.count) {
        message->data = payload + consumer->pack.taken * ring_spsc_pace(consumer->pack.length);
        message->length = consumer->pack.length;
        return 0;
    }
    int code =
        ring_spsc_decode(consumer->ring_data, consumer->ring_mask, consumer->max_message, consumer->position, &record);
    if (code || record.count != 1)
        return ring_spsc_poison(consumer); /* it was there a moment ago */
    message->data = payload;
    message->length = record.length;
    return 0;
}

int ring_spsc_peek_slowly(struct ring_spsc_consumer *consumer, struct ring_message *message)
{
    int code = view(consumer, message);
    if (code)
        return code;
    consumer->peeked_count = 1;
    consumer->peeked_position = consumer->position;
    consumer->peeked_pack = consumer->pack;
    if (consumer->pack.count && consumer->pack.taken + 1 < consumer->pack.count) {
        consumer->peeked_pack.taken++;
        return 0;
    }
    uint64_t payload =
        consumer->pack.count ? consumer->pack.count * ring_spsc_pace(consumer->pack.length) : message->length;
    consumer->peeked_position += ring_spsc_stride(payload);
    consumer->peeked_pack = (struct ring_spsc_pack){ 0, 0, 0 };
    return 0;
}

ssize_t ring_spsc_recv_slowly(struct ring_spsc_consumer *consumer, void *buffer, size_t size)
{
    struct ring_message message;
    int code = ring_spsc_peek_slowly(consumer, &message);
    if (code)
        return code;
    if (message.length > size)
        return -EMSGSIZE;
    if (message.length)
        memcpy(buffer, message.data, message.length);
    uint32_t flags = message.flags;
    code = ring_spsc_release_slowly(consumer, 1);
    consumer->last_flags = flags;
    if (flags && !consumer->fault) /* the hot path does not tell flags: it may come back with the next message */
        turn_away(consumer);
    return code ? code : (ssize_t)message.length;
}

void ring_spsc_move_to(struct ring_spsc_consumer *consumer, uint64_t position, struct ring_spsc_pack pack)
{
    bool left_pack = consumer->pack.count && position != consumer->position;
    consumer->pack = pack;
    if (left_pack && ring_atomic_load(&consumer->control->head_taken, memory_order_relaxed) != 0)
        ring_atomic_store(&consumer->control->head_taken, 0, memory_order_relaxed); /* C4: ordered before C2 */
    if (position != consumer->position)
        ring_spsc_consumed(consumer, position);
    ring_spsc_settle(consumer);
}

/* One message on from the consumer's place, its header read and checked again: the peer may have changed it. */
static int release_one(struct ring_spsc_consumer *consumer)
{
    struct ring_message message;
    int code = ring_spsc_peek_slowly(consumer, &message);
    if (code == 0)
        ring_spsc_move_to(consumer, consumer->peeked_position, consumer->peeked_pack);
    return code;
}

int ring_spsc_release_slowly(struct ring_spsc_consumer *consumer, size_t count)
{
    if (consumer->fault)
        return consumer->fault;
    if (count > consumer->peeked_count)
        return -EINVAL;
    if ((int64_t)(consumer->peeked_position - consumer->position) < 0) { /* received meanwhile */
        consumer->peeked_count = 0;
        return -EINVAL;
    }
    if (count == consumer->peeked_count) {
        if (count)
            ring_spsc_move_to(consumer, consumer->peeked_position, consumer->peeked_pack);
        consumer->peeked_count = 0;
        return 0;
    }
    uint64_t end = consumer->peeked_position;
    struct ring_spsc_pack end_pack = consumer->peeked_pack;
    uint32_t left = consumer->peeked_count;
    for (size_t i = 0; i < count; i++) {
        struct ring_spsc_record record;
        consumer->peeked_count = 0;
        if (consumer->position == end && consumer->pack.taken == end_pack.taken)
            return -EINVAL; /* some were received meanwhile */
        int code = consumer->pack.count ? 0 : ring_spsc_open_record(consumer, &record);
        if (code == -EAGAIN)
            code = ring_spsc_poison(consumer);
        if (code == 0)
            code = release_one(consumer);
        if (code)
            return code;
        left--;
    }
    consumer->peeked_position = end;
    consumer->peeked_pack = end_pack;
    consumer->peeked_count = left;
    return 0;
}
