/* mpmc_setup.c - level 6: making an MPMC ring, taking and leaving its seats.
 *
 * Who takes or leaves a seat, or makes itself the sole one, holds the ring's lock byte meanwhile, which the kernel
 * frees when its holder dies. Every step leaves the ring usable: what was begun is finished by the next one to come, or
 * by whoever needs it. A seat is the participant's proof of life; leaving sets CLOSED, then frees the lock (seat.h).
 */
#include <ring/mpmc_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/clock.h>
#include <ring/error.h>

enum { SLOTS_PER_PAUSE = 20 }; /* what may be sent in one pause of a consumer that leaves a stream alone */

/* ---- Making ---- */

struct shape {
    uint64_t slots;
    uint64_t stride;
    uint64_t seats_bytes;
    uint64_t bytes;
};

/* Word and message: a power of two up to a cache line, then whole lines, so none of the small ones straddles a line. */
static uint64_t stride_for(uint64_t slot_bytes)
{
    uint64_t stride = 16;
    while (stride < slot_bytes + 8 && stride < RING_CACHE_LINE)
        stride *= 2;
    if (stride < slot_bytes + 8)
        stride = (slot_bytes + 8 + RING_CACHE_LINE - 1) / RING_CACHE_LINE * RING_CACHE_LINE;
    return stride;
}

static struct shape shape_of(uint64_t slots, uint64_t slot_bytes, unsigned seats)
{
    struct shape shape = { .slots = RING_MPMC_MIN_SLOTS, .stride = stride_for(slot_bytes) };
    while (shape.slots < slots)
        shape.slots *= 2;
    shape.seats_bytes = ring_segment_round_up((uint64_t)seats * sizeof(struct ring_layout_seat), RING_LAYOUT_PAGE);
    shape.bytes =
        RING_LAYOUT_PAGE + shape.seats_bytes + ring_segment_round_up(shape.slots * shape.stride, RING_LAYOUT_PAGE);
    return shape;
}

static bool in_range(const struct ring_mpmc_options *options)
{
    return options->slots >= RING_MPMC_MIN_SLOTS && options->slots <= RING_MPMC_MAX_SLOTS && options->slot_bytes >= 1 &&
           options->slot_bytes <= RING_MPMC_MAX_SLOT_BYTES && options->seats >= 1 && options->seats <= RING_SEATS_MAX;
}

size_t ring_mpmc_footprint_with(const struct ring_mpmc_options *options)
{
    if (!options || options->struct_size != sizeof *options || !in_range(options))
        return 0;
    return (size_t)shape_of(options->slots, options->slot_bytes, options->seats).bytes;
}

size_t ring_mpmc_footprint(size_t slots, size_t slot_bytes)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    return ring_mpmc_footprint_with(&options);
}

static void fill(void *place, const void *given)
{
    const struct ring_mpmc_options *options = given;
    struct shape shape = shape_of(options->slots, options->slot_bytes, options->seats);
    struct ring_layout_mpmc *control = place;
    uint64_t start = options->start_position;
    control->slots = shape.slots;
    control->slot_bytes = options->slot_bytes;
    control->stride = shape.stride;
    control->start_position = start;
    control->seats = options->seats;
    control->flags = options->flags;
    /* R2, here and below: relaxed, ordered by R1. */
    ring_atomic_store(&control->tail, start, memory_order_relaxed);
    ring_atomic_store(&control->head, start, memory_order_relaxed);
    ring_atomic_store(&control->producers_mode, start << RING_MODE_SHIFT | RING_MODE_SHARED, memory_order_relaxed);
    ring_atomic_store(&control->consumers_mode, start << RING_MODE_SHIFT | RING_MODE_SHARED, memory_order_relaxed);
    struct ring_mpmc_view view = { .data = (unsigned char *)place + RING_LAYOUT_PAGE + shape.seats_bytes,
                                   .mask = shape.slots - 1,
                                   .stride = shape.stride };
    unsigned shift = (unsigned)__builtin_ctzll(shape.slots);
    for (uint64_t i = 0; i < shape.slots; i++) /* also what a maker that died may have left here */
        ring_atomic_store(ring_mpmc_slot(&view, start + i), ring_mpmc_free_word(start + i, shift),
                          memory_order_relaxed);
}

int ring_mpmc_create_with(struct ring_segment *segment, const char *ring, const struct ring_mpmc_options *options)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!options || options->struct_size != sizeof *options)
        return ring_error(-EINVAL,
                          "start the ring's options from ring_mpmc_defaults(): struct_size is not as this library "
                          "knows it");
    if (options->slots < RING_MPMC_MIN_SLOTS || options->slots > RING_MPMC_MAX_SLOTS)
        return ring_error(-EINVAL, "a ring has %zu to %zu slots, not %zu", RING_MPMC_MIN_SLOTS, RING_MPMC_MAX_SLOTS,
                          options->slots);
    if (options->slot_bytes < 1 || options->slot_bytes > RING_MPMC_MAX_SLOT_BYTES)
        return ring_error(-EINVAL, "a slot holds a message of at most 1 to %zu bytes, not %zu",
                          RING_MPMC_MAX_SLOT_BYTES, options->slot_bytes);
    if (options->seats < 1 || options->seats > RING_SEATS_MAX)
        return ring_error(-EINVAL, "a ring has seats for 1 to %d participants, not %u", RING_SEATS_MAX, options->seats);
    if (options->flags & ~(unsigned)RING_MPMC_NO_SOLE)
        return ring_error(-EINVAL, "flags 0x%x has bits that this library does not know", options->flags);
    struct shape shape = shape_of(options->slots, options->slot_bytes, options->seats);
    struct ring_place place = { .bytes = shape.bytes,
                                .on_node = true,
                                .node = options->numa_node,
                                .control_bytes = RING_LAYOUT_PAGE + shape.seats_bytes,
                                .fill = fill,
                                .options = options };
    return ring_directory_make(segment, ring, RING_KIND_MPMC, &place);
}

int ring_mpmc_create(struct ring_segment *segment, const char *ring, size_t slots, size_t slot_bytes)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    return ring_mpmc_create_with(segment, ring, &options);
}

/* ---- Finding and checking ---- */

int ring_mpmc_enter(struct ring_segment *segment, const char *ring, struct ring_mpmc_view *view,
                    struct ring_claim **claim)
{
    struct ring_entry_info entry;
    unsigned index;
    int code = ring_directory_enter(segment, ring, RING_KIND_MPMC, &entry, &index, claim);
    if (code)
        return code;
    struct ring_layout_mpmc *control = (struct ring_layout_mpmc *)(void *)(segment->memory.address + entry.offset);
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = control->slots;
    options.slot_bytes = control->slot_bytes;
    options.seats = control->seats;
    options.flags = control->flags;
    uint64_t stride = control->stride;
    struct shape shape = { 0, 0, 0, 0 };
    if (in_range(&options))
        shape = shape_of(options.slots, options.slot_bytes, options.seats);
    if (shape.slots == 0 || shape.slots != options.slots || shape.stride != stride || shape.bytes != entry.bytes) {
        ring_claim_drop(*claim);
        return ring_error(-EUCLEAN,
                          "ring '%s' in %s is damaged: its control page tells of %zu slots of %zu bytes in a place "
                          "of %llu",
                          ring, segment->name, options.slots, options.slot_bytes, (unsigned long long)entry.bytes);
    }
    *view = (struct ring_mpmc_view){ .control = control,
                                     .seats = (struct ring_layout_seat *)(void *)((unsigned char *)control +
                                                                                  RING_LAYOUT_PAGE),
                                     .data = (unsigned char *)control + RING_LAYOUT_PAGE + shape.seats_bytes,
                                     .mask = shape.slots - 1,
                                     .stride = shape.stride,
                                     .max_message = options.slot_bytes,
                                     .shift = (unsigned)__builtin_ctzll(shape.slots),
                                     .seat_count = options.seats,
                                     .entry = index,
                                     .flags = options.flags,
                                     .segment = segment };
    return 0;
}

static int enter_in_time(struct ring_segment *segment, const char *ring, struct ring_mpmc_view *view,
                         struct ring_claim **claim, int64_t timeout_ns)
{
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (;;) {
        int code = ring_mpmc_enter(segment, ring, view, claim);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no ring '%s' in segment %s after the time limit", ring,
                              segment->name);
    }
}

/* ---- Seats ---- */

static uint32_t side_of(bool consumers)
{
    return consumers ? RING_SIDE_CONSUMER : RING_SIDE_PRODUCER;
}

/* M17: how many seats of each side are not left in good order; a hint for those who do not wait. */
static void count_attached(const struct ring_mpmc_view *view)
{
    uint32_t attached[2] = { 0, 0 };
    for (unsigned i = 0; i < ring_mpmc_reached(view); i++) {
        uint32_t side = ring_atomic_load(&view->seats[i].side, memory_order_relaxed);        /* M16 */
        uint64_t state = ring_atomic_load(&view->seats[i].role.state, memory_order_acquire); /* L0 */
        if ((state & 0xff) == RING_ROLE_ATTACHED && (side == RING_SIDE_PRODUCER || side == RING_SIDE_CONSUMER))
            attached[side == RING_SIDE_CONSUMER]++;
    }
    ring_atomic_store(&view->control->attached[0], attached[0], memory_order_relaxed);
    ring_atomic_store(&view->control->attached[1], attached[1], memory_order_relaxed);
}

enum ring_peer ring_mpmc_side_state(const struct ring_mpmc_view *view, bool consumers)
{
    /* M17: read first: whoever came since has a seat by now. */
    uint32_t ended = ring_atomic_load(&view->control->ended[consumers], memory_order_acquire);
    enum ring_peer worst = ended == RING_PEER_DEAD     ? RING_PEER_DEAD
                           : ended == RING_PEER_CLOSED ? RING_PEER_CLOSED
                                                       : RING_PEER_NEVER;
    for (unsigned i = 0; i < ring_mpmc_reached(view); i++) {
        if (ring_atomic_load(&view->seats[i].side, memory_order_relaxed) != side_of(consumers)) /* M16 */
            continue;
        struct ring_seat seat = ring_mpmc_seat(view, i);
        enum ring_peer peer = ring_seat_state(&seat);
        if (peer == RING_PEER_ALIVE)
            return peer;
        if (peer == RING_PEER_DEAD || (peer == RING_PEER_CLOSED && worst == RING_PEER_NEVER))
            worst = peer;
    }
    return worst;
}

enum ring_peer ring_mpmc_consumers_state(const struct ring_mpmc_producer *producer)
{
    return producer && producer->end.claim ? ring_mpmc_side_state(&producer->end.view, true) : RING_PEER_NEVER;
}

enum ring_peer ring_mpmc_producers_state(const struct ring_mpmc_consumer *consumer)
{
    return consumer && consumer->end.claim ? ring_mpmc_side_state(&consumer->end.view, false) : RING_PEER_NEVER;
}

/* Enters a seat that we hold by its lock: settles what a predecessor left, and the mode of the side. */
static int settle_in(const struct ring_mpmc_view *view, unsigned seat, bool consumers, bool died, bool barrier)
{
    struct ring_layout_mpmc *control = view->control;
    if (ring_mpmc_reached(view) <= seat)
        ring_atomic_store(&control->reached, seat + 1, memory_order_release); /* M16: before any intent of this seat */
    int code = ring_mpmc_inherit(view, seat);
    if (code == 0)
        code = ring_mpmc_revoke(view, consumers);
    if (code == -EOPNOTSUPP)
        return ring_error(code, "another participant claims without contention, and this kernel or sandbox refuses "
                                "membarrier, which would end that: create the ring with RING_MPMC_NO_SOLE");
    if (code)
        return ring_error(code, "the ring in %s is damaged: its words do not fit together", view->segment->name);
    uint32_t was = ring_atomic_load(&view->seats[seat].side, memory_order_relaxed); /* M16 */
    if (died && (was == RING_SIDE_PRODUCER || was == RING_SIDE_CONSUMER))
        ring_atomic_store(&control->ended[was == RING_SIDE_CONSUMER], RING_PEER_DEAD, memory_order_relaxed); /* M17 */
    ring_atomic_store(&view->seats[seat].side, side_of(consumers), memory_order_release);                    /* M16 */
    ring_atomic_store(&control->ended[consumers], RING_PEER_CLOSED, memory_order_release); /* M17: once we are gone */
    if (!barrier)
        ring_atomic_store(&control->blind, 1, memory_order_relaxed); /* M18 */
    count_attached(view);
    return 0;
}

/* Takes a seat; the ring's lock is held. */
static int take_seat(const struct ring_mpmc_view *view, const char *ring, bool consumers, unsigned *seat,
                     struct ring_claim *claim)
{
    struct ring_seat_row row = { ring_mpmc_seat(view, 0), sizeof(struct ring_layout_seat), view->seat_count };
    bool died;
    bool barrier = ring_wait_register();
    int code = ring_seat_take_any(&row, barrier, seat, claim, &died);
    if (code == -EUSERS)
        return ring_error(code,
                          "ring '%s' in %s is full: all %u seats are held by living participants; create it with more "
                          "(.seats), see 'ringctl info %s'",
                          ring, view->segment->name, view->seat_count, view->segment->name);
    if (code)
        return code;
    code = settle_in(view, *seat, consumers, died, barrier);
    if (code) {
        struct ring_seat place = ring_seat_of_row(&row, *seat);
        ring_seat_leave(&place, died);
    }
    return code;
}

/* In slots; not so many that it would lead once round a small ring. */
static uint64_t fetch_ahead(const struct ring_mpmc_view *view)
{
    uint64_t slots = RING_MPMC_FETCH_AHEAD / view->stride;
    uint64_t most = (view->mask + 1) / 8;
    slots = slots < most ? slots : most;
    return slots ? slots : 1;
}

static void set_up(struct ring_mpmc_end *end, const struct ring_mpmc_view *view, bool consumer, unsigned seat,
                   struct ring_claim *claim)
{
    struct ring_layout_mpmc *control = view->control;
    end->data = view->data;
    end->mask = view->mask;
    end->stride = view->stride;
    end->shift = view->shift;
    end->max_message = view->max_message;
    end->sole_mode = RING_MODE_NEVER;
    end->mode = ring_mpmc_mode(view, consumer);
    end->counter = ring_mpmc_counter(view, consumer);
    end->intent = &view->seats[seat].intent;
    end->others_asleep = consumer ? &control->producers_asleep : &control->consumers_asleep;
    end->search = consumer;
    end->waiter =
        ring_waiter_start(&ring_mpmc_looks, end, consumer ? &control->consumers_asleep : &control->producers_asleep,
                          true, (view->mask + 1) / SLOTS_PER_PAUSE);
    end->waiter.shown = &view->seats[seat].asleep;
    ring_atomic_store(end->waiter.shown, 0, memory_order_relaxed); /* W5 */
    end->fetch_ahead = fetch_ahead(view);
    end->consumer = consumer;
    end->seat = seat;
    end->claim = claim;
    end->fault = 0;
    end->view = *view;
}

static int open_end(struct ring_mpmc_end *end, struct ring_segment *segment, const char *ring, int64_t timeout_ns,
                    bool consumer)
{
    memset((void *)end, 0, sizeof *end);
    end->fault = -EBADF;
    end->sole_mode = RING_MODE_NEVER;
    ring_guard_close(&end->guarded);
    struct ring_mpmc_view view;
    struct ring_claim *lock;
    struct ring_claim *claim;
    unsigned seat;
    int code = ring_segment_usable(segment);
    if (!code)
        code = enter_in_time(segment, ring, &view, &claim, timeout_ns);
    if (code)
        return code;
    ring_wait_register(); /* the first time it may take some 20 ms: not while others wait for the lock */
    code = ring_mpmc_lock(&view, &lock);
    if (code) {
        ring_claim_drop(claim);
        return code;
    }
    code = ring_guard_open(&end->guarded);
    if (!code)
        code = take_seat(&view, ring, consumer, &seat, claim);
    if (!code) {
        set_up(end, &view, consumer, seat, claim);
        ring_mpmc_promote(end);
        ring_mpmc_settle(end);
        ring_segment_hold(segment);
    } else
        ring_guard_close(&end->guarded);
    ring_mpmc_unlock(&view, lock, code ? claim : NULL);
    return code;
}

int ring_mpmc_open_producer(struct ring_mpmc_producer *producer, struct ring_segment *segment, const char *ring,
                            int64_t timeout_ns)
{
    if (!producer)
        return ring_error(-EINVAL, "the place for the producer is NULL");
    return open_end(&producer->end, segment, ring, timeout_ns, false);
}

int ring_mpmc_open_consumer(struct ring_mpmc_consumer *consumer, struct ring_segment *segment, const char *ring,
                            int64_t timeout_ns)
{
    if (!consumer)
        return ring_error(-EINVAL, "the place for the consumer is NULL");
    return open_end(&consumer->end, segment, ring, timeout_ns, true);
}

/* Leaves nothing of ours unfinished but what was peeked: that the intent goes on telling of. */
static void leave(struct ring_mpmc_end *end)
{
    ring_mpmc_demote(end);
    if (!end->consumer)
        for (; end->held_count; end->held_count--)
            ring_mpmc_fill(end, end->held++, RING_SLOT_SKIP);
    ring_atomic_store(end->intent, end->held_count ? ring_mpmc_intent_word(end->held, end->held_count) : 0,
                      memory_order_release); /* M5 */
    struct ring_claim *lock = NULL;
    ring_mpmc_lock(&end->view, &lock); /* without it only the counts may be out of date for a while */
    struct ring_seat seat = ring_mpmc_seat(&end->view, end->seat);
    ring_seat_leave(&seat, false);
    count_attached(&end->view);
    ring_wake(&end->view.control->consumers_asleep);
    ring_wake(&end->view.control->producers_asleep);
    ring_mpmc_unlock(&end->view, lock, end->claim); /* behind the last touch: the ring may be gone now */
}

static int close_end(struct ring_mpmc_end *end)
{
    struct ring_segment *segment = end->view.segment;
    bool ours = segment->process == ring_process();
    int code = ours ? ring_guard_enter(&end->guarded) : 0;
    if (code == -EBUSY)
        return ring_error(code, "this handle is inside another call just now");
    if (ours)
        leave(end);
    end->claim = NULL;
    ring_mpmc_fail(end, -EBADF);
    ring_mpmc_settle(end);
    ring_guard_close(&end->guarded);
    ring_waiter_close(&end->waiter);
    ring_segment_drop(segment);
    return 0;
}

int ring_mpmc_close_producer(struct ring_mpmc_producer *producer)
{
    if (!producer || !producer->end.claim)
        return ring_error(-EBADF, "this producer is not open");
    return close_end(&producer->end);
}

int ring_mpmc_close_consumer(struct ring_mpmc_consumer *consumer)
{
    if (!consumer || !consumer->end.claim)
        return ring_error(-EBADF, "this consumer is not open");
    return close_end(&consumer->end);
}
