/* spsc_info.c - level 6: looking at an SPSC ring from outside, without disturbing it.
 *
 * Both sides may be running meanwhile: the walk may meet words that are being written anew. Each is checked, an
 * impossible one starts the walk again, and what comes out is a picture of motion. Nothing is written.
 */
#include <ring/spsc_private.h>

#include <errno.h>
#include <string.h>

#include <ring/error.h>

enum { INFO_ATTEMPTS = 16 };

/* The struct's size before it grew: the offset of its first new field. */
#define OLD_INFO offsetof(struct ring_spsc_info, generation)

static void describe_side(struct ring_segment *segment, const struct ring_spsc_found *found, enum ring_spsc_role role,
                          struct ring_side *side)
{
    struct ring_seat seat = ring_spsc_seat(segment, found->control, found->entry, role);
    ring_seat_describe(&seat, side);
    side->asleep = ring_atomic_load(role == RING_SPSC_PRODUCER ? &found->control->producer_asleep
                                                               : &found->control->consumer_asleep,
                                    memory_order_relaxed) != 0;
}

int ring_spsc_info(struct ring_segment *segment, const char *ring, struct ring_spsc_info *given)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!given || (given->struct_size != sizeof *given && given->struct_size != OLD_INFO))
        return ring_error(-EINVAL, "set info.struct_size to sizeof(struct ring_spsc_info) first");
    struct ring_spsc_found found;
    code = ring_spsc_enter(segment, ring, &found);
    if (code)
        return code;
    struct ring_spsc_info info = { .struct_size = given->struct_size,
                                   .capacity = found.capacity,
                                   .max_message = found.max_message,
                                   .publish_bytes = found.publish_bytes,
                                   .generation = found.generation,
                                   .moved = ring_seat_has_moved(&found.control->producer) };
    code = -EUCLEAN;
    for (int attempt = 0; code && attempt < INFO_ATTEMPTS; attempt++) { /* both sides may be running meanwhile */
        info.head = ring_atomic_load(&found.control->head, memory_order_acquire); /* P4 */
        if (info.head % 8 == 0)
            code = ring_spsc_walk(&found, info.head, &info.tail, &info.messages);
    }
    describe_side(segment, &found, RING_SPSC_PRODUCER, &info.producer);
    describe_side(segment, &found, RING_SPSC_CONSUMER, &info.consumer);
    ring_claim_drop(found.claim);
    memcpy(given, &info, info.struct_size);
    return code ? ring_error(code,
                             "ring '%s' in %s: its records could not be walked from %llu: damaged, or too much in "
                             "motion",
                             ring, segment->name, (unsigned long long)info.head)
                : 0;
}
