/* broadcast_info.c - level 6: looking at a broadcast ring from outside, without disturbing it. Nothing is written. */
#include <ring/broadcast_private.h>

#include <errno.h>

#include <ring/error.h>

static int enter(struct ring_segment *segment, const char *ring, const void *info, size_t struct_size, size_t expected,
                 struct ring_broadcast_found *found, struct ring_claim **claim)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!info || struct_size != expected)
        return ring_error(-EINVAL, "set info.struct_size to the size of the struct, %zu, first", expected);
    return ring_broadcast_enter(segment, ring, found, claim);
}

int ring_broadcast_info(struct ring_segment *segment, const char *ring, struct ring_broadcast_info *info)
{
    struct ring_broadcast_found found;
    struct ring_claim *claim;
    int code = enter(segment, ring, info, info ? info->struct_size : 0, sizeof *info, &found, &claim);
    if (code)
        return code;
    *info = (struct ring_broadcast_info){ .struct_size = sizeof *info,
                                          .slots = found.slots,
                                          .slot_bytes = found.slot_bytes,
                                          .start_position = found.start_position,
                                          .policy = found.policy,
                                          .seats = found.seat_count,
                                          .seats_used = ring_broadcast_seats_used(found.control, found.seat_count) };
    info->tail = ring_broadcast_find_tail(&found, &code);
    info->oldest = ring_broadcast_find_oldest(&found, info->tail);
    for (unsigned i = 0; i < info->seats_used; i++) {
        struct ring_seat seat = ring_broadcast_consumer_seat(segment, found.seats, found.entry, i);
        info->consumers += ring_seat_state(&seat) == RING_PEER_ALIVE;
    }
    struct ring_seat producer = ring_broadcast_producer_seat(segment, found.control, found.entry);
    ring_seat_describe(&producer, &info->producer);
    info->producer.asleep = ring_atomic_load(&found.control->producer_asleep, memory_order_relaxed) != 0; /* W1 */
    ring_claim_drop(claim);
    return code ? ring_error(code, "ring '%s' in %s is damaged: its slots do not end where they must", ring,
                             segment->name)
                : 0;
}

static int look_at_seat(struct ring_segment *segment, const char *ring, const struct ring_broadcast_found *found,
                        unsigned seat, struct ring_broadcast_seat_info *info)
{
    if (seat >= found->seat_count)
        return ring_error(-ENOENT, "ring '%s' in %s has %u seats", ring, segment->name, found->seat_count);
    *info = (struct ring_broadcast_seat_info){ .struct_size = sizeof *info };
    struct ring_seat place = ring_broadcast_consumer_seat(segment, found->seats, found->entry, seat);
    ring_seat_describe(&place, &info->consumer);
    if (info->consumer.peer == RING_PEER_NEVER)
        return ring_error(-ENOENT, "nobody has taken seat %u of ring '%s' in %s yet", seat, ring, segment->name);
    struct ring_layout_broadcast_seat *record = ring_broadcast_seat_at(found->seats, seat);
    info->position = ring_atomic_load(&record->position, memory_order_acquire);           /* B12 */
    info->lost = ring_atomic_load(&record->lost, memory_order_relaxed);                   /* B13 */
    info->consumer.asleep = ring_atomic_load(&record->asleep, memory_order_relaxed) != 0; /* W5 */
    int code;
    uint64_t tail = ring_broadcast_find_tail(found, &code); /* after the position, so that it is not behind it */
    info->behind = (int64_t)(tail - info->position) > 0 ? tail - info->position : 0;
    return code ? ring_error(code, "ring '%s' in %s is damaged: its slots do not end where they must", ring,
                             segment->name)
                : 0;
}

int ring_broadcast_seat_info(struct ring_segment *segment, const char *ring, unsigned seat,
                             struct ring_broadcast_seat_info *info)
{
    struct ring_broadcast_found found;
    struct ring_claim *claim;
    int code = enter(segment, ring, info, info ? info->struct_size : 0, sizeof *info, &found, &claim);
    if (code)
        return code;
    code = look_at_seat(segment, ring, &found, seat, info);
    ring_claim_drop(claim);
    return code;
}
