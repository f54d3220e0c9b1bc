/* mpmc_info.c - level 6: looking at an MPMC ring from outside, without disturbing it. A picture of motion: the words
 * are read one after the other. Nothing is written, but for a revocation that somebody began and did not finish. */
#include <ring/mpmc_private.h>

#include <errno.h>

#include <ring/error.h>

static int check_call(struct ring_segment *segment, bool sized)
{
    int code = ring_segment_usable(segment);
    if (!code && !sized)
        code = ring_error(-EINVAL, "set info.struct_size to the size of its struct first");
    return code;
}

static bool is_sole(const struct ring_mpmc_view *view, bool consumers)
{
    uint64_t mode = ring_atomic_load(ring_mpmc_mode(view, consumers), memory_order_relaxed); /* M12 */
    return (mode & RING_MODE_TAG) == RING_MODE_SOLE;
}

static void count_seats(const struct ring_mpmc_view *view, struct ring_mpmc_info *info)
{
    uint64_t word = ring_atomic_load(ring_mpmc_slot(view, info->head), memory_order_relaxed); /* M7: to show */
    info->stuck = info->messages && word == ring_mpmc_free_word(info->head, view->shift);
    for (unsigned i = 0; i < ring_mpmc_reached(view); i++) {
        struct ring_seat seat = ring_mpmc_seat(view, i);
        enum ring_peer peer = ring_seat_state(&seat);
        bool consumer = ring_atomic_load(&view->seats[i].side, memory_order_relaxed) == RING_SIDE_CONSUMER; /* M16 */
        uint64_t intent = ring_atomic_load(&view->seats[i].intent, memory_order_relaxed);
        info->producers += peer == RING_PEER_ALIVE && !consumer;
        info->consumers += peer == RING_PEER_ALIVE && consumer;
        info->dead += peer == RING_PEER_DEAD;
        if (info->stuck && !consumer && ring_mpmc_intends(intent, info->head))
            info->stuck_pid = ring_atomic_load(&seat.record->pid, memory_order_relaxed); /* L3 */
    }
}

/* Positions before head whose messages are not freed. */
static uint64_t count_held(const struct ring_mpmc_view *view, uint64_t head)
{
    uint64_t held = 0;
    for (uint64_t position = head - view->mask - 1; position != head; position++) {
        uint64_t word = ring_atomic_load(ring_mpmc_slot(view, position), memory_order_relaxed); /* M7: to show */
        held += (word & RING_SLOT_STATE) == RING_SLOT_READY && ring_mpmc_laps_ahead(word, position, view->shift) == 0;
    }
    return held;
}

static int look(const struct ring_mpmc_view *view, const char *ring, struct ring_mpmc_info *info)
{
    *info = (struct ring_mpmc_info){ .struct_size = sizeof *info,
                                     .slots = view->mask + 1,
                                     .slot_bytes = view->max_message,
                                     .stride = view->stride,
                                     .seats = view->seat_count,
                                     .flags = view->flags };
    int code = ring_mpmc_claimed(view, true, &info->head);
    if (!code)
        code = ring_mpmc_claimed(view, false, &info->tail);
    if (code)
        return ring_error(code, "ring '%s' in %s is damaged: its modes are impossible", ring, view->segment->name);
    info->messages = info->tail - info->head;
    if (info->messages > info->slots) /* head is older than tail */
        info->messages = info->slots;
    info->held = count_held(view, info->head);
    info->sole_producer = is_sole(view, false);
    info->sole_consumer = is_sole(view, true);
    count_seats(view, info);
    return 0;
}

int ring_mpmc_info(struct ring_segment *segment, const char *ring, struct ring_mpmc_info *info)
{
    struct ring_mpmc_view view;
    struct ring_claim *claim;
    int code = check_call(segment, info && info->struct_size == sizeof *info);
    if (!code)
        code = ring_mpmc_enter(segment, ring, &view, &claim);
    if (code)
        return code;
    code = look(&view, ring, info);
    ring_claim_drop(claim);
    return code;
}

static int look_at_seat(const struct ring_mpmc_view *view, const char *ring, unsigned seat,
                        struct ring_mpmc_seat_info *info)
{
    if (seat >= view->seat_count)
        return ring_error(-ENOENT, "ring '%s' in %s has %u seats", ring, view->segment->name, view->seat_count);
    *info = (struct ring_mpmc_seat_info){ .struct_size = sizeof *info };
    struct ring_seat place = ring_mpmc_seat(view, seat);
    ring_seat_describe(&place, &info->side);
    if (info->side.peer == RING_PEER_NEVER)
        return ring_error(-ENOENT, "nobody ever had seat %u of ring '%s' in %s", seat, ring, view->segment->name);
    info->side.asleep = ring_atomic_load(&view->seats[seat].asleep, memory_order_relaxed) != 0;             /* W5 */
    info->consumer = ring_atomic_load(&view->seats[seat].side, memory_order_relaxed) == RING_SIDE_CONSUMER; /* M16 */
    uint64_t intent = ring_atomic_load(&view->seats[seat].intent, memory_order_acquire);                    /* M11 */
    uint64_t near = ring_atomic_load(ring_mpmc_counter(view, info->consumer), memory_order_relaxed);
    info->positions = intent & RING_INTENT_MOST;
    info->position = ring_mpmc_intent_position(intent, near);
    return 0;
}

int ring_mpmc_seat_info(struct ring_segment *segment, const char *ring, unsigned seat, struct ring_mpmc_seat_info *info)
{
    struct ring_mpmc_view view;
    struct ring_claim *claim;
    int code = check_call(segment, info && info->struct_size == sizeof *info);
    if (!code)
        code = ring_mpmc_enter(segment, ring, &view, &claim);
    if (code)
        return code;
    code = look_at_seat(&view, ring, seat, info);
    ring_claim_drop(claim);
    return code;
}
