/* broadcast_join.c - level 6: coming to a broadcast ring and going. */
#include <ring/broadcast_private.h>

#include <errno.h>
#include <stdlib.h>

#include <ring/error.h>

enum {
    PUBLISH_BYTES = 8192,
    BYTES_PER_PAUSE = 4096, /* of a consumer that leaves a stream alone: what the producer may send meanwhile */
};

/* ---- Coming ---- */

struct ring_seat ring_broadcast_producer_seat(struct ring_segment *segment, struct ring_layout_broadcast *control,
                                              unsigned entry)
{
    return (struct ring_seat){ .segment = segment,
                               .record = &control->producer,
                               .lock = RING_LOCK_ROLES + 2 * (int64_t)entry };
}

struct ring_seat ring_broadcast_consumer_seat(struct ring_segment *segment, unsigned char *seats, unsigned entry,
                                              unsigned index)
{
    return (struct ring_seat){ .segment = segment,
                               .record = &ring_broadcast_seat_at(seats, index)->role,
                               .lock = RING_LOCK_SEATS + (int64_t)RING_SEATS_MAX * entry + index };
}

/* Steps common to all who come. */
static int come(struct ring_segment *segment, const char *ring, int64_t timeout_ns, struct ring_broadcast_found *found,
                struct ring_claim **claim, struct ring_guarded *guarded)
{
    int code = ring_segment_usable(segment);
    if (!code)
        code = ring_broadcast_enter_in_time(segment, ring, found, claim, timeout_ns);
    if (code)
        return code;
    code = ring_guard_open(guarded);
    if (code)
        ring_claim_drop(*claim);
    return code;
}

static int damaged(const struct ring_segment *segment, const char *ring)
{
    return ring_error(-EUCLEAN, "ring '%s' in %s is damaged: its slots do not end where they must", ring,
                      segment->name);
}

static int take_producer(struct ring_segment *segment, const char *ring, const struct ring_broadcast_found *found,
                         struct ring_claim *claim, uint64_t *position)
{
    bool died;
    struct ring_seat seat = ring_broadcast_producer_seat(segment, found->control, found->entry);
    int code = ring_seat_take(&seat, ring_wait_register(), claim, &died);
    if (code == -EBUSY)
        return ring_error(-EBUSY, "ring '%s' in %s has a living producer already: process %d; see 'ringctl info %s'",
                          ring, segment->name, (int)ring_atomic_load(&seat.record->pid, memory_order_relaxed),
                          segment->name);
    if (code == -ESTALE)
        return ring_error(-EUCLEAN, "ring '%s' in %s is damaged: only producers of SPSC rings move on", ring,
                          segment->name);
    if (code)
        return code;
    *position = ring_broadcast_find_tail(found, &code);
    bool sound = code == 0 && ring_broadcast_judge_at(found, *position) == -EAGAIN;
    if (sound && (*position == found->start_position || ring_broadcast_judge_at(found, *position - 1) == 0))
        return 0;
    ring_seat_leave(&seat, died);
    return damaged(segment, ring);
}

int ring_broadcast_open_producer(struct ring_broadcast_producer *producer, struct ring_segment *segment,
                                 const char *ring, int64_t timeout_ns)
{
    if (!producer)
        return ring_error(-EINVAL, "the place for the producer is NULL");
    *producer = (struct ring_broadcast_producer){ .fault = -EBADF };
    ring_guard_close(&producer->guarded);
    struct ring_broadcast_found found;
    struct ring_guarded guarded;
    struct ring_claim *claim;
    uint64_t position = 0;
    int code = come(segment, ring, timeout_ns, &found, &claim, &guarded);
    if (code)
        return code;
    uint64_t *known_dead = calloc(found.seat_count, sizeof *known_dead);
    code = known_dead ? take_producer(segment, ring, &found, claim, &position) : ring_error(-ENOMEM, "out of memory");
    if (code) {
        free(known_dead);
        ring_guard_close(&guarded);
        ring_claim_drop(claim);
        return code;
    }
    ring_segment_hold(segment);
    *producer =
        (struct ring_broadcast_producer){ .guarded = guarded,
                                          .data = found.data,
                                          .mask = found.slots - 1,
                                          .stride = found.stride,
                                          .position = position,
                                          .limit = position,
                                          .slot_bytes = (size_t)found.slot_bytes,
                                          .lap_shift = found.lap_shift,
                                          .control = found.control,
                                          .seats = found.seats,
                                          .known_dead = known_dead,
                                          .seat_count = found.seat_count,
                                          .lossless = found.policy == RING_BROADCAST_LOSSLESS,
                                          .entry = found.entry,
                                          .segment = segment,
                                          .claim = claim,
                                          .waiter = ring_waiter_start(&ring_broadcast_producer_looks, producer,
                                                                      &found.control->producer_asleep, false, 0) };
    return 0;
}

/* Where to begin: the position, and how many of those wanted are gone already. */
struct start {
    uint64_t position;
    uint64_t pending;
};

static int find_start(const struct ring_broadcast_found *found, enum ring_broadcast_join join, uint64_t wanted,
                      struct start *start)
{
    int code;
    uint64_t tail = ring_broadcast_find_tail(found, &code);
    if (code)
        return code;
    uint64_t oldest = ring_broadcast_find_oldest(found, tail);
    start->pending = 0;
    start->position = join == RING_BROADCAST_NEWEST ? tail : oldest;
    if (join != RING_BROADCAST_AT)
        return 0;
    if ((int64_t)(wanted - tail) > 0)
        return ring_error(-EINVAL, "position %llu lies ahead: the next message will have %llu",
                          (unsigned long long)wanted, (unsigned long long)tail);
    if ((int64_t)(wanted - oldest) >= 0)
        start->position = wanted;
    else
        start->pending = oldest - wanted;
    return 0;
}

/* The promise to a joiner, see broadcast_producer.c: the seat says what we want, then we look at what the producer may
 * overwrite without having seen that. */
static void settle_start(const struct ring_broadcast_found *found, struct ring_layout_broadcast_seat *seat,
                         enum ring_broadcast_join join, struct start *start)
{
    ring_atomic_store(&seat->position, start->position, memory_order_release); /* B9 */
    if (found->policy != RING_BROADCAST_LOSSLESS)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);                                                       /* B15 */
    uint64_t safe = ring_atomic_load(&found->control->limit, memory_order_seq_cst) - found->slots; /* B15: of B14 */
    if ((int64_t)(safe - start->position) <= 0)
        return;
    if (join == RING_BROADCAST_AT)
        start->pending += safe - start->position;
    start->position = safe;
    ring_atomic_store(&seat->position, safe, memory_order_release); /* B9 */
}

/* Until it says what we want, the seat says what its last holder left: a producer that looked meanwhile may have gone
 * to sleep for want of room that there is. */
static void call_producer(struct ring_layout_broadcast *control)
{
    ring_compiler_barrier();
    if (ring_atomic_load(&control->producer_asleep, memory_order_relaxed) != 0) /* B10 */
        ring_wake(&control->producer_asleep);
}

static int take_consumer(struct ring_segment *segment, const char *ring, const struct ring_broadcast_found *found,
                         struct ring_claim *claim, unsigned *index)
{
    bool died;
    struct ring_seat_row row = { .first = ring_broadcast_consumer_seat(segment, found->seats, found->entry, 0),
                                 .stride = sizeof(struct ring_layout_broadcast_seat),
                                 .count = found->seat_count };
    int code = ring_seat_take_any(&row, ring_wait_register(), index, claim, &died);
    if (code == -EUSERS)
        return ring_error(-EUSERS,
                          "all %u seats of ring '%s' in %s are held by living consumers; see 'ringctl info %s'; create "
                          "the ring with more (.seats), or observe it",
                          found->seat_count, ring, segment->name, segment->name);
    if (code)
        return code;
    struct ring_layout_broadcast_seat *seat = ring_broadcast_seat_at(found->seats, *index);
    ring_atomic_store(&seat->lost, 0, memory_order_relaxed);     /* B13 */
    ring_atomic_store(&seat->asleep, 0, memory_order_relaxed);   /* W5 */
    code = ring_seat_reach(&found->control->seats_used, *index); /* B12 */
    if (code) {
        struct ring_seat taken = ring_seat_of_row(&row, *index);
        ring_seat_leave(&taken, false);
    }
    return code;
}

/* Seldom enough that the seat's line changes hands seldom, often enough that the producer need not wait for it. */
static uint64_t publish_number(const struct ring_broadcast_found *found)
{
    uint64_t number = PUBLISH_BYTES / found->stride;
    if (number > found->slots / 8)
        number = found->slots / 8;
    return number ? number : 1;
}

static void set_up(struct ring_broadcast_consumer *consumer, const struct ring_broadcast_found *found,
                   const struct start *start)
{
    *consumer = (struct ring_broadcast_consumer){ .data = found->data,
                                                  .mask = found->slots - 1,
                                                  .stride = found->stride,
                                                  .position = start->position,
                                                  .published = start->position,
                                                  .publish_number = publish_number(found),
                                                  .slot_bytes = (size_t)found->slot_bytes,
                                                  .lap_shift = found->lap_shift,
                                                  .peeked_end = start->position,
                                                  .control = found->control,
                                                  .ring_data = found->data,
                                                  .ring_mask = found->slots - 1,
                                                  .pending = start->pending,
                                                  .emptied = start->position,
                                                  .found = start->position - 1,
                                                  .entry = found->entry };
    if (start->pending)
        ring_broadcast_hide(consumer);
}

static int open_consumer(struct ring_broadcast_consumer *consumer, struct ring_segment *segment, const char *ring,
                         enum ring_broadcast_join join, uint64_t position, int64_t timeout_ns, bool with_seat)
{
    if (!consumer)
        return ring_error(-EINVAL, "the place for the consumer is NULL");
    *consumer = (struct ring_broadcast_consumer){ .fault = -EBADF };
    ring_guard_close(&consumer->guarded);
    if (join != RING_BROADCAST_NEWEST && join != RING_BROADCAST_OLDEST && join != RING_BROADCAST_AT)
        return ring_error(-EINVAL, "there is no way %d to join: RING_BROADCAST_NEWEST, _OLDEST or _AT", (int)join);
    struct ring_broadcast_found found;
    struct ring_guarded guarded;
    struct ring_claim *claim;
    unsigned index = 0;
    struct start start = { 0, 0 };
    int code = come(segment, ring, timeout_ns, &found, &claim, &guarded);
    if (code)
        return code;
    if (with_seat)
        code = take_consumer(segment, ring, &found, claim, &index);
    else
        ring_claim_seal(claim); /* an observer has nothing but its presence */
    if (!code) {
        code = find_start(&found, join, position, &start);
        if (code == -EUCLEAN)
            code = damaged(segment, ring);
        if (code && with_seat) {
            struct ring_seat seat = ring_broadcast_consumer_seat(segment, found.seats, found.entry, index);
            ring_seat_leave(&seat, false);
        }
    }
    if (code) {
        ring_guard_close(&guarded);
        if (with_seat)
            call_producer(found.control);
        ring_claim_drop(claim); /* behind the last touch: the ring may be gone now */
        return code;
    }
    struct ring_layout_broadcast_seat *seat = with_seat ? ring_broadcast_seat_at(found.seats, index) : NULL;
    if (seat) {
        settle_start(&found, seat, join, &start);
        call_producer(found.control);
    }
    ring_segment_hold(segment);
    set_up(consumer, &found, &start);
    consumer->waiter =
        ring_waiter_start(&ring_broadcast_consumer_looks, consumer, seat ? &found.control->consumers_asleep : NULL,
                          true, found.slots * found.stride / BYTES_PER_PAUSE);
    consumer->waiter.shown = seat ? &seat->asleep : NULL;
    consumer->guarded = guarded;
    consumer->seat = seat;
    consumer->seat_index = index;
    consumer->segment = segment;
    consumer->claim = claim;
    return 0;
}

int ring_broadcast_open_consumer(struct ring_broadcast_consumer *consumer, struct ring_segment *segment,
                                 const char *ring, enum ring_broadcast_join join, uint64_t position, int64_t timeout_ns)
{
    return open_consumer(consumer, segment, ring, join, position, timeout_ns, true);
}

int ring_broadcast_open_observer(struct ring_broadcast_consumer *observer, struct ring_segment *segment,
                                 const char *ring, enum ring_broadcast_join join, uint64_t position, int64_t timeout_ns)
{
    return open_consumer(observer, segment, ring, join, position, timeout_ns, false);
}

/* ---- Going ---- */

int ring_broadcast_close_producer(struct ring_broadcast_producer *producer)
{
    if (!producer || !producer->segment)
        return ring_error(-EBADF, "this producer is not open");
    struct ring_segment *segment = producer->segment;
    bool ours = segment->process == ring_process();
    if (ours && ring_guard_enter(&producer->guarded) != 0)
        return ring_error(-EBUSY, "a call of this producer is under way");
    producer->segment = NULL;
    producer->fault = -EBADF;
    if (ours) {
        struct ring_seat seat = ring_broadcast_producer_seat(segment, producer->control, producer->entry);
        ring_seat_leave(&seat, false);
        ring_broadcast_wake(producer);
        ring_claim_drop(producer->claim); /* last: the ring may be gone now */
    }
    free(producer->known_dead);
    ring_guard_close(&producer->guarded);
    ring_waiter_close(&producer->waiter);
    ring_segment_drop(segment);
    return 0;
}

int ring_broadcast_close_consumer(struct ring_broadcast_consumer *consumer)
{
    if (!consumer || !consumer->segment)
        return ring_error(-EBADF, "this consumer is not open");
    struct ring_segment *segment = consumer->segment;
    bool ours = segment->process == ring_process();
    if (ours && ring_guard_enter(&consumer->guarded) != 0)
        return ring_error(-EBUSY, "a call of this consumer is under way");
    consumer->segment = NULL;
    consumer->fault = -EBADF;
    if (ours && consumer->seat) {
        struct ring_seat seat = { .segment = segment, .record = &consumer->seat->role };
        ring_atomic_store(&consumer->seat->position, consumer->position, memory_order_release); /* B9 */
        ring_seat_leave(&seat, false);
        ring_wake(&consumer->control->producer_asleep);
    }
    if (ours)
        ring_claim_drop(consumer->claim); /* last: the ring may be gone now */
    ring_guard_close(&consumer->guarded);
    ring_waiter_close(&consumer->waiter);
    ring_segment_drop(segment);
    return 0;
}
