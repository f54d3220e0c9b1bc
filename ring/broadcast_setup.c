/* broadcast_setup.c - level 6: making and finding a broadcast ring. */
#include <ring/broadcast_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/clock.h>
#include <ring/error.h>

/* ---- Shape ---- */

static uint64_t slots_for(size_t slots)
{
    uint64_t power = RING_BROADCAST_MIN_SLOTS;
    while (power < slots)
        power *= 2;
    return power;
}

/* A slot of up to a cache line never lies on two; a larger one begins with a line. */
static uint64_t stride_for(uint64_t slot_bytes)
{
    uint64_t bytes = RING_BROADCAST_WORD_BYTES + slot_bytes;
    if (bytes > 32)
        return ring_segment_round_up(bytes, RING_CACHE_LINE);
    return bytes > 16 ? 32 : 16;
}

static uint64_t data_offset(unsigned seats)
{
    return RING_LAYOUT_PAGE +
           ring_segment_round_up((uint64_t)seats * sizeof(struct ring_layout_broadcast_seat), RING_LAYOUT_PAGE);
}

static uint64_t footprint_of(uint64_t slots, uint64_t slot_bytes, unsigned seats)
{
    return data_offset(seats) + ring_segment_round_up(slots * stride_for(slot_bytes), RING_LAYOUT_PAGE);
}

static bool shape_is_possible(uint64_t slots, uint64_t slot_bytes, unsigned seats)
{
    return slots >= RING_BROADCAST_MIN_SLOTS && slots <= RING_BROADCAST_MAX_SLOTS && slot_bytes >= 1 &&
           slot_bytes <= RING_BROADCAST_MAX_SLOT_BYTES && seats >= 1 && seats <= RING_SEATS_MAX;
}

size_t ring_broadcast_footprint_with(const struct ring_broadcast_options *options)
{
    if (!options || options->struct_size != sizeof *options ||
        !shape_is_possible(options->slots, options->slot_bytes, options->seats))
        return 0;
    return (size_t)footprint_of(slots_for(options->slots), options->slot_bytes, options->seats);
}

size_t ring_broadcast_footprint(size_t slots, size_t slot_bytes)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    return ring_broadcast_footprint_with(&options);
}

static unsigned lap_shift_for(uint64_t slots)
{
    unsigned shift = RING_BROADCAST_LAP_SHIFT;
    for (; slots > 1; slots /= 2)
        shift--;
    return shift;
}

/* ---- Making ---- */

static void fill(void *place, const void *given)
{
    const struct ring_broadcast_options *options = given;
    struct ring_layout_broadcast *control = place;
    control->slots = slots_for(options->slots);
    control->slot_bytes = options->slot_bytes;
    control->stride = stride_for(options->slot_bytes);
    control->start_position = options->start_position;
    control->policy = options->policy;
    control->seats = options->seats;
    /* R2: these three relaxed, ordered by R1. */
    ring_atomic_store(&control->tail, options->start_position, memory_order_relaxed);
    ring_atomic_store(&control->limit, options->start_position, memory_order_relaxed);
    unsigned char *seats = (unsigned char *)place + RING_LAYOUT_PAGE;
    for (unsigned i = 0; i < options->seats; i++)
        ring_atomic_store(&ring_broadcast_seat_at(seats, i)->position, options->start_position, memory_order_relaxed);
}

static int check_options(const struct ring_broadcast_options *options)
{
    if (!options || options->struct_size != sizeof *options)
        return ring_error(-EINVAL,
                          "start the ring's options from ring_broadcast_defaults(): struct_size is not as this library "
                          "knows it");
    if (options->slots < RING_BROADCAST_MIN_SLOTS || options->slots > RING_BROADCAST_MAX_SLOTS)
        return ring_error(-EINVAL, "a broadcast ring has %d to %d slots, not %zu", RING_BROADCAST_MIN_SLOTS,
                          RING_BROADCAST_MAX_SLOTS, options->slots);
    if (options->slot_bytes < 1 || options->slot_bytes > RING_BROADCAST_MAX_SLOT_BYTES)
        return ring_error(-EINVAL, "a slot holds messages of up to 1 to %d bytes, not %zu",
                          RING_BROADCAST_MAX_SLOT_BYTES, options->slot_bytes);
    if (options->seats < 1 || options->seats > RING_SEATS_MAX)
        return ring_error(-EINVAL, "a broadcast ring has seats for 1 to %d consumers, not %u", RING_SEATS_MAX,
                          options->seats);
    if (options->policy != RING_BROADCAST_OVERWRITE && options->policy != RING_BROADCAST_LOSSLESS)
        return ring_error(-EINVAL, "there is no policy %d: RING_BROADCAST_OVERWRITE or RING_BROADCAST_LOSSLESS",
                          (int)options->policy);
    return 0;
}

int ring_broadcast_create_with(struct ring_segment *segment, const char *ring,
                               const struct ring_broadcast_options *options)
{
    int code = ring_segment_usable(segment);
    if (!code)
        code = check_options(options);
    if (code)
        return code;
    uint64_t bytes = footprint_of(slots_for(options->slots), options->slot_bytes, options->seats);
    struct ring_place place = { .bytes = bytes,
                                .on_node = true,
                                .node = options->numa_node,
                                .control_bytes = bytes,
                                .fill = fill,
                                .options = options };
    return ring_directory_make(segment, ring, RING_KIND_BROADCAST, &place);
}

int ring_broadcast_create(struct ring_segment *segment, const char *ring, size_t slots, size_t slot_bytes,
                          enum ring_broadcast_policy policy)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    options.policy = policy;
    return ring_broadcast_create_with(segment, ring, &options);
}

/* ---- Finding and checking a ring ---- */

int ring_broadcast_enter(struct ring_segment *segment, const char *ring, struct ring_broadcast_found *found,
                         struct ring_claim **claim)
{
    struct ring_entry_info entry;
    int code = ring_directory_enter(segment, ring, RING_KIND_BROADCAST, &entry, &found->entry, claim);
    if (code)
        return code;
    struct ring_layout_broadcast *control =
        (struct ring_layout_broadcast *)(void *)(segment->memory.address + entry.offset);
    uint32_t policy = control->policy;
    found->control = control;
    found->slots = control->slots;
    found->slot_bytes = control->slot_bytes;
    found->stride = control->stride;
    found->start_position = control->start_position;
    found->seat_count = control->seats;
    if (entry.bytes < RING_LAYOUT_PAGE || !shape_is_possible(found->slots, found->slot_bytes, found->seat_count) ||
        (found->slots & (found->slots - 1)) || found->stride != stride_for(found->slot_bytes) ||
        (policy != RING_BROADCAST_OVERWRITE && policy != RING_BROADCAST_LOSSLESS) ||
        entry.bytes != footprint_of(found->slots, found->slot_bytes, found->seat_count)) {
        ring_claim_drop(*claim);
        return ring_error(
            -EUCLEAN,
            "ring '%s' in %s is damaged: its control page says %llu slots of %llu bytes and %u seats in a "
            "place of %llu bytes",
            ring, segment->name, (unsigned long long)found->slots, (unsigned long long)found->slot_bytes,
            found->seat_count, (unsigned long long)entry.bytes);
    }
    found->policy = (enum ring_broadcast_policy)policy;
    found->seats = (unsigned char *)control + RING_LAYOUT_PAGE;
    found->data = (unsigned char *)control + data_offset(found->seat_count);
    found->lap_shift = lap_shift_for(found->slots);
    return 0;
}

int ring_broadcast_enter_in_time(struct ring_segment *segment, const char *ring, struct ring_broadcast_found *found,
                                 struct ring_claim **claim, int64_t timeout_ns)
{
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (;;) {
        int code = ring_broadcast_enter(segment, ring, found, claim);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no ring '%s' in segment %s after the time limit", ring,
                              segment->name);
    }
}

int ring_broadcast_judge_at(const struct ring_broadcast_found *found, uint64_t position)
{
    uint64_t ready = ring_broadcast_word(found->slots - 1, found->lap_shift, position, RING_BROADCAST_READY);
    uint64_t word = ring_atomic_load(ring_broadcast_slot(found->data, found->slots - 1, found->stride, position),
                                     memory_order_acquire); /* B6 */
    return ring_broadcast_judge(word, ready, found->slot_bytes);
}

uint64_t ring_broadcast_find_tail(const struct ring_broadcast_found *found, int *code)
{
    /* B11: acquire, pairs with B4. */
    uint64_t tail = ring_atomic_load(&found->control->tail, memory_order_acquire);
    int here = ring_broadcast_judge_at(found, tail);
    for (uint64_t steps = 0; here == 0 && steps < found->slots; steps++)
        here = ring_broadcast_judge_at(found, ++tail);
    *code = here == -EUCLEAN ? -EUCLEAN : 0;
    return tail;
}

uint64_t ring_broadcast_find_oldest(const struct ring_broadcast_found *found, uint64_t tail)
{
    uint64_t oldest = tail - (found->slots - 1);
    if (found->policy == RING_BROADCAST_LOSSLESS)
        oldest = ring_atomic_load(&found->control->limit, memory_order_seq_cst) - found->slots; /* B15 */
    if ((int64_t)(oldest - found->start_position) < 0 && (int64_t)(tail - found->start_position) >= 0)
        oldest = found->start_position;
    return (int64_t)(tail - oldest) < 0 ? tail : oldest; /* the second: only damage leads there */
}
