/* spsc_setup.c - level 6: making an SPSC ring, taking its roles and giving them back.
 *
 * A role is a seat (seat.h): a lock byte, which decides, and a record in the control page.
 */
#include <ring/spsc_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/clock.h>
#include <ring/error.h>

enum { BYTES_PER_PAUSE = 4096 }; /* of a consumer that leaves a stream alone: what the producer may send meanwhile */

static const char *const role_names[] = { "producer", "consumer" };

static uint64_t capacity_for(size_t bytes)
{
    uint64_t capacity = RING_SPSC_MIN_BYTES;
    while (capacity < bytes)
        capacity *= 2;
    return capacity;
}

static uint64_t footprint_of(uint64_t capacity)
{
    uint64_t overhang = (capacity / 4 + RING_LAYOUT_PAGE - 1) & ~(uint64_t)(RING_LAYOUT_PAGE - 1);
    return RING_LAYOUT_PAGE + capacity + overhang;
}

size_t ring_spsc_footprint(size_t bytes)
{
    if (bytes < RING_SPSC_MIN_BYTES || bytes > RING_SPSC_MAX_BYTES)
        return 0;
    return (size_t)footprint_of(capacity_for(bytes));
}

/* Small enough that the producer need not wait for it, large enough that its line changes hands seldom. */
static uint64_t usual_publish_bytes(uint64_t capacity)
{
    return capacity / 8 < 8192 ? capacity / 8 : 8192;
}

static void fill(void *place, const void *given)
{
    const struct ring_spsc_options *options = given;
    struct ring_layout_spsc *control = place;
    control->capacity = capacity_for(options->bytes);
    control->max_message = control->capacity / 4;
    control->publish_bytes = options->publish_bytes ? options->publish_bytes : usual_publish_bytes(control->capacity);
    control->start_position = options->start_position;
    ring_atomic_store(&control->head, options->start_position, memory_order_relaxed);        /* R2: ordered by R1 */
    ring_atomic_store(&control->head_peeked, options->start_position, memory_order_relaxed); /* R2 */
    ring_atomic_store(&control->head_doubt, options->start_position, memory_order_relaxed);  /* R2 */
    unsigned char *data = (unsigned char *)place + RING_LAYOUT_PAGE;
    ring_atomic_store(ring_spsc_header_at(data, control->capacity - 1, options->start_position), 0,
                      memory_order_relaxed); /* R2: ordered by R1 */
}

int ring_spsc_make(struct ring_segment *segment, const char *ring, const struct ring_spsc_options *options,
                   unsigned generation, unsigned stem)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!options || options->struct_size != sizeof *options)
        return ring_error(-EINVAL,
                          "start the ring's options from ring_spsc_defaults(): struct_size is not as this library "
                          "knows it");
    if (options->bytes < RING_SPSC_MIN_BYTES || options->bytes > RING_SPSC_MAX_BYTES)
        return ring_error(-EINVAL, "a ring has a capacity of %zu to %zu bytes, not %zu", RING_SPSC_MIN_BYTES,
                          RING_SPSC_MAX_BYTES, options->bytes);
    if (options->publish_bytes > capacity_for(options->bytes) / 2)
        return ring_error(-EINVAL, "publish_bytes %zu is more than half of the ring: the producer would starve",
                          options->publish_bytes);
    if (options->start_position % 8)
        return ring_error(-EINVAL, "start_position %llu is no multiple of 8",
                          (unsigned long long)options->start_position);
    struct ring_place place = { .bytes = footprint_of(capacity_for(options->bytes)),
                                .on_node = true,
                                .node = options->numa_node,
                                .control_bytes = RING_LAYOUT_PAGE,
                                .fill = fill,
                                .options = options,
                                .generation = generation,
                                .stem = stem };
    return ring_directory_make(segment, ring, RING_KIND_SPSC, &place);
}

int ring_spsc_create_with(struct ring_segment *segment, const char *ring, const struct ring_spsc_options *options)
{
    return ring_spsc_make(segment, ring, options, 0, 0);
}

int ring_spsc_create(struct ring_segment *segment, const char *ring, size_t bytes)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    return ring_spsc_create_with(segment, ring, &options);
}

/* ---- Finding and checking a ring ---- */

int ring_spsc_enter(struct ring_segment *segment, const char *ring, struct ring_spsc_found *found)
{
    struct ring_entry_info entry;
    int code = ring_directory_enter(segment, ring, RING_KIND_SPSC, &entry, &found->entry, &found->claim);
    if (code)
        return code;
    found->generation = entry.generation;
    struct ring_layout_spsc *control = (struct ring_layout_spsc *)(void *)(segment->memory.address + entry.offset);
    found->control = control;
    found->data = (unsigned char *)control + RING_LAYOUT_PAGE;
    found->capacity = control->capacity;
    found->max_message = control->max_message;
    found->publish_bytes = control->publish_bytes;
    uint64_t capacity = found->capacity;
    if (capacity < RING_SPSC_MIN_BYTES || capacity > RING_SPSC_MAX_BYTES || (capacity & (capacity - 1)) ||
        entry.bytes != footprint_of(capacity) || found->max_message != capacity / 4 || found->publish_bytes == 0 ||
        found->publish_bytes > capacity / 2) {
        ring_claim_drop(found->claim);
        return ring_error(-EUCLEAN,
                          "ring '%s' in %s is damaged: its control page says a capacity of %llu bytes in a place "
                          "of %llu",
                          ring, segment->name, (unsigned long long)capacity, (unsigned long long)entry.bytes);
    }
    return 0;
}

/* Payload of a pack: not so much that the consumer starts late, nor more than it may take without publishing. */
static uint64_t pack_bytes(uint64_t publish_bytes)
{
    enum { PACK_BYTES = 4096 };
    return publish_bytes < PACK_BYTES ? publish_bytes : PACK_BYTES;
}

static int enter_in_time(struct ring_segment *segment, const char *ring, struct ring_spsc_found *found,
                         int64_t timeout_ns)
{
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (;;) {
        int code = ring_spsc_enter(segment, ring, found);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no ring '%s' in segment %s after the time limit", ring,
                              segment->name);
    }
}

int ring_spsc_walk(const struct ring_spsc_found *found, uint64_t from, uint64_t *end, uint64_t *messages)
{
    uint64_t at = from;
    *messages = 0;
    while (at - from <= found->capacity - RING_RECORD_HEADER) {
        struct ring_spsc_record record;
        int code = ring_spsc_decode(found->data, found->capacity - 1, found->max_message, at, &record);
        if (code == -EAGAIN) {
            *end = at;
            return 0;
        }
        if (code)
            return code;
        at += record.stride;
        *messages += record.count;
    }
    return -EUCLEAN;
}

/* ---- Roles ---- */

struct ring_layout_role *ring_spsc_role_record(struct ring_layout_spsc *control, enum ring_spsc_role role)
{
    return role == RING_SPSC_PRODUCER ? &control->producer : &control->consumer;
}

struct ring_seat ring_spsc_seat(struct ring_segment *segment, struct ring_layout_spsc *control, unsigned entry,
                                enum ring_spsc_role role)
{
    return (struct ring_seat){ .segment = segment,
                               .record = ring_spsc_role_record(control, role),
                               .lock = RING_LOCK_ROLES + 2 * (int64_t)entry + (role == RING_SPSC_CONSUMER) };
}

enum ring_peer ring_spsc_consumer_state(const struct ring_spsc_producer *producer)
{
    if (!producer || !producer->claim)
        return RING_PEER_NEVER;
    struct ring_seat seat = ring_spsc_seat(producer->segment, producer->control, producer->entry, RING_SPSC_CONSUMER);
    enum ring_peer peer = ring_seat_state(&seat);
    return peer == RING_PEER_NEVER ? ring_spsc_consumer_behind(producer) : peer;
}

enum ring_peer ring_spsc_producer_state(const struct ring_spsc_consumer *consumer)
{
    if (!consumer || !consumer->claim)
        return RING_PEER_NEVER;
    if (ring_seat_has_moved(&consumer->control->producer))
        return ring_spsc_producer_ahead(consumer);
    struct ring_seat seat = ring_spsc_seat(consumer->segment, consumer->control, consumer->entry, RING_SPSC_PRODUCER);
    return ring_seat_state(&seat);
}

int ring_spsc_take_role(struct ring_segment *segment, const char *ring, const struct ring_spsc_found *found,
                        enum ring_spsc_role role, bool *died)
{
    struct ring_seat seat = ring_spsc_seat(segment, found->control, found->entry, role);
    int code = ring_seat_take(&seat, ring_wait_register(), found->claim, died);
    if (code == -EBUSY)
        return ring_error(-EBUSY, "ring '%s' in %s has a living %s already: process %d; see 'ringctl info %s'", ring,
                          segment->name, role_names[role],
                          (int)ring_atomic_load(&seat.record->pid, memory_order_relaxed), segment->name);
    if (code == -ESTALE && role == RING_SPSC_CONSUMER)
        return ring_error(-EUCLEAN, "ring '%s' in %s is damaged: only producers move on", ring, segment->name);
    return code;
}

void ring_spsc_leave_role(struct ring_segment *segment, const struct ring_spsc_found *found, enum ring_spsc_role role,
                          bool died)
{
    struct ring_seat seat = ring_spsc_seat(segment, found->control, found->entry, role);
    ring_seat_leave(&seat, died);
    ring_wake(role == RING_SPSC_PRODUCER ? &found->control->consumer_asleep : &found->control->producer_asleep);
    ring_claim_drop(found->claim); /* last: the ring may be gone now */
}

/* Steps common to both opens. */
static int open_role(struct ring_segment *segment, const char *ring, int64_t timeout_ns, enum ring_spsc_role role,
                     struct ring_spsc_found *found, bool *died)
{
    int code = ring_segment_usable(segment);
    if (!code)
        code = enter_in_time(segment, ring, found, timeout_ns);
    if (code)
        return code;
    code = ring_spsc_take_role(segment, ring, found, role, died);
    if (role == RING_SPSC_CONSUMER ? code == 0 : code == -ESTALE)
        code = ring_spsc_take_later_role(segment, ring, role, found, died);
    else if (code)
        ring_claim_drop(found->claim);
    if (!code)
        ring_segment_hold(segment);
    return code;
}

int ring_spsc_begin_producer(struct ring_spsc_producer *producer, struct ring_segment *segment,
                             const struct ring_spsc_found *found)
{
    uint64_t head = ring_atomic_load(&found->control->head, memory_order_acquire); /* P4 */
    uint64_t end = 0;
    uint64_t messages;
    if (head % 8 || ring_spsc_walk(found, head, &end, &messages) != 0)
        return -EUCLEAN;
    *producer = (struct ring_spsc_producer){ .data = found->data,
                                             .mask = found->capacity - 1,
                                             .position = end,
                                             .touched = end,
                                             .limit = head + found->capacity - RING_RECORD_HEADER,
                                             .max_message = (size_t)found->max_message,
                                             .consumer_asleep = &found->control->consumer_asleep,
                                             .control = found->control,
                                             .capacity = found->capacity,
                                             .head = head,
                                             .pack_bytes = pack_bytes(found->publish_bytes),
                                             .segment = segment,
                                             .claim = found->claim,
                                             .entry = found->entry,
                                             .waiter = ring_waiter_start(&ring_spsc_producer_looks, producer,
                                                                         &found->control->producer_asleep, false, 0) };
    return 0;
}

int ring_spsc_open_producer_after(struct ring_spsc_producer *producer, struct ring_segment *segment, const char *ring,
                                  int64_t timeout_ns, bool *died)
{
    if (!producer)
        return ring_error(-EINVAL, "the place for the producer is NULL");
    *producer = (struct ring_spsc_producer){ .fault = -EBADF };
    struct ring_spsc_found found;
    int code = open_role(segment, ring, timeout_ns, RING_SPSC_PRODUCER, &found, died);
    if (code)
        return code;
    code = ring_spsc_begin_producer(producer, segment, &found);
    if (code) {
        ring_spsc_leave_role(segment, &found, RING_SPSC_PRODUCER, *died);
        ring_segment_drop(segment);
        return ring_error(code, "ring '%s' in %s is damaged: its records do not end where they must", ring,
                          segment->name);
    }
    return 0;
}

int ring_spsc_open_producer(struct ring_spsc_producer *producer, struct ring_segment *segment, const char *ring,
                            int64_t timeout_ns)
{
    bool died;
    return ring_spsc_open_producer_after(producer, segment, ring, timeout_ns, &died);
}

/* Where those before us may have been who died: what lies before is marked. It is kept in the ring, for a successor
 * that leaves in good order before it has taken all of it; and it ends with what is in the ring now. */
static uint64_t end_of_doubt(const struct ring_spsc_found *found, uint64_t head, bool died)
{
    struct ring_layout_spsc *control = found->control;
    uint64_t kept = ring_atomic_load(&control->head_doubt, memory_order_relaxed) - head; /* C7: ordered by the lock */
    uint64_t peeked =
        ring_atomic_load(&control->head_peeked, memory_order_relaxed) - head; /* C6: of C5; ordered by the lock */
    uint64_t doubt = kept < found->capacity ? kept : 0;
    if (died) {
        if (peeked < found->capacity && peeked > doubt)
            doubt = peeked;
        if (found->publish_bytes > doubt)
            doubt = found->publish_bytes;
    }
    uint64_t at = head;
    struct ring_spsc_record record;
    while (at - head < doubt &&
           ring_spsc_decode(found->data, found->capacity - 1, found->max_message, at, &record) == 0)
        at += record.stride;
    if (at != head)
        ring_atomic_store(&control->head_doubt, at, memory_order_relaxed); /* C7 */
    return at;
}

int ring_spsc_begin_consumer(struct ring_spsc_consumer *consumer, struct ring_segment *segment,
                             const struct ring_spsc_found *found, bool died)
{
    uint64_t head = ring_atomic_load(&found->control->head, memory_order_acquire);        /* C8: of C2 */
    uint64_t taken = ring_atomic_load(&found->control->head_taken, memory_order_relaxed); /* C8: of C4; by the lock */
    *consumer = (struct ring_spsc_consumer){ .position = head,
                                             .usual_header = RING_RECORD_ONE,
                                             .usual_stride = ring_spsc_stride(0),
                                             .usual_record = { RING_RECORD_HEADER, 1, 0 },
                                             .published = head,
                                             .publish_at = head + found->publish_bytes,
                                             .publish_bytes = found->publish_bytes,
                                             .control = found->control,
                                             .max_message = (size_t)found->max_message,
                                             .waiter = ring_waiter_start(&ring_spsc_consumer_looks, consumer,
                                                                         &found->control->consumer_asleep, false,
                                                                         found->capacity / BYTES_PER_PAUSE),
                                             .emptied = head,
                                             .one_message = RING_SPSC_UNKNOWN,
                                             .ring_data = found->data,
                                             .ring_mask = found->capacity - 1,
                                             .redelivered_until = end_of_doubt(found, head, died),
                                             .entry = found->entry,
                                             .segment = segment,
                                             .claim = found->claim };
    ring_spsc_settle(consumer);
    struct ring_spsc_record record;
    int code = head % 8 ? -EUCLEAN : ring_spsc_open_record(consumer, &record);
    if (code == -EUCLEAN || taken > consumer->pack.count || (taken && taken == consumer->pack.count)) {
        ring_spsc_fail_consumer(consumer, -EBADF);
        return -EUCLEAN;
    }
    consumer->pack.taken = (uint32_t)taken;
    return 0;
}

int ring_spsc_open_consumer(struct ring_spsc_consumer *consumer, struct ring_segment *segment, const char *ring,
                            int64_t timeout_ns)
{
    if (!consumer)
        return ring_error(-EINVAL, "the place for the consumer is NULL");
    *consumer = (struct ring_spsc_consumer){ .fault = -EBADF,
                                             .usual_header = RING_RECORD_ONE,
                                             .usual_record = { RING_RECORD_HEADER, 1, 0 } };
    ring_spsc_settle(consumer);
    struct ring_spsc_found found;
    bool died;
    int code = open_role(segment, ring, timeout_ns, RING_SPSC_CONSUMER, &found, &died);
    if (code)
        return code;
    code = ring_spsc_begin_consumer(consumer, segment, &found, died);
    if (code) {
        consumer->claim = NULL;
        ring_spsc_leave_role(segment, &found, RING_SPSC_CONSUMER, died);
        ring_segment_drop(segment);
        return ring_error(code, "ring '%s' in %s is damaged: its first record is impossible", ring, segment->name);
    }
    return 0;
}

int ring_spsc_close_producer(struct ring_spsc_producer *producer)
{
    if (!producer || !producer->claim)
        return ring_error(-EBADF, "this producer is not open");
    struct ring_spsc_found found = { .control = producer->control, .entry = producer->entry, .claim = producer->claim };
    struct ring_segment *segment = producer->segment;
    ring_spsc_fail_producer(producer, -EBADF);
    producer->max_message = 0;
    producer->claim = NULL;
    if (segment->process == ring_process())
        ring_spsc_leave_role(segment, &found, RING_SPSC_PRODUCER, false);
    ring_waiter_close(&producer->waiter);
    ring_segment_drop(segment);
    return 0;
}

int ring_spsc_close_consumer(struct ring_spsc_consumer *consumer)
{
    if (!consumer || !consumer->claim)
        return ring_error(-EBADF, "this consumer is not open");
    struct ring_spsc_found found = { .control = consumer->control, .entry = consumer->entry, .claim = consumer->claim };
    struct ring_segment *segment = consumer->segment;
    if (segment->process == ring_process()) {
        if (consumer->fault == 0) {
            ring_spsc_publish_head(consumer);
            ring_atomic_store(&found.control->head_taken, consumer->pack.taken,
                              memory_order_relaxed); /* C4: ordered by L2 */
        }
        ring_spsc_leave_role(segment, &found, RING_SPSC_CONSUMER, false);
    }
    consumer->claim = NULL;
    ring_spsc_fail_consumer(consumer, -EBADF);
    ring_waiter_close(&consumer->waiter);
    ring_segment_drop(segment);
    return 0;
}
