/* blocks_info.c - level 6: looking at a pool of blocks from outside, without disturbing it. The words are read one
 * after the other (K0), so what comes out is a picture of motion. */
#include <ring/blocks_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/error.h>

static int check_call(const struct ring_segment *segment, bool sized)
{
    int code = ring_segment_usable(segment);
    if (!code && !sized)
        code = ring_error(-EINVAL, "set info.struct_size to the size of its struct first");
    return code;
}

/* Of which seats somebody died, and his blocks were not mended yet. */
static void look_at_seats(const struct ring_blocks_view *view, struct ring_blocks_info *info, bool *dead)
{
    for (unsigned i = 0; i < ring_blocks_reached(view); i++) {
        struct ring_seat seat = ring_blocks_seat(view, i);
        uint64_t state = ring_atomic_load(&seat.record->state, memory_order_acquire); /* L0 */
        enum ring_peer peer = ring_seat_state(&seat);
        bool settled = ring_atomic_load(&view->seats[i].settled, memory_order_acquire) == state; /* K8 */
        dead[i] = peer == RING_PEER_DEAD && !settled;
        info->alive += peer == RING_PEER_ALIVE;
        info->dead += dead[i];
    }
}

/* Counts a word; false: it cannot be. */
static bool count_word(const struct ring_blocks_view *view, uint64_t word, const bool *dead,
                       struct ring_blocks_class_info *class)
{
    unsigned seat = ring_block_seat_of(word);
    bool held = false;
    switch (word & RING_BLOCK_STATE) {
    case RING_BLOCK_FREE:
        class->free++;
        return true;
    case RING_BLOCK_PASSED:
        class->passed++;
        return seat < view->seat_count || seat == RING_BLOCK_NOBODY;
    case RING_BLOCK_CACHED:
        class->cached++;
        held = true;
        break;
    case RING_BLOCK_OWNED:
        class->owned++;
        held = true;
        break;
    default:
        return false;
    }
    if (seat >= view->seat_count)
        return false;
    class->of_the_dead += held && dead[seat];
    return true;
}

int ring_blocks_info(struct ring_segment *segment, const char *pool, struct ring_blocks_info *info)
{
    struct ring_blocks_view view;
    struct ring_claim *claim;
    bool dead[RING_BLOCK_SEATS_MOST] = { false };
    int code = check_call(segment, info && info->struct_size == sizeof *info);
    if (!code)
        code = ring_blocks_enter(segment, pool, &view, &claim);
    if (code)
        return code;
    *info = (struct ring_blocks_info){ .struct_size = sizeof *info,
                                       .class_count = view.class_count,
                                       .seats = view.seat_count };
    look_at_seats(&view, info, dead);
    for (unsigned at = 0; at < view.class_count; at++) {
        struct ring_blocks_class_info *class = &info->classes[at];
        class->block_bytes = view.rows[at].block_bytes;
        class->count = view.rows[at].end - view.rows[at].first;
        for (uint64_t number = view.rows[at].first; number < view.rows[at].end; number++) /* K0 */
            if (!count_word(&view, ring_atomic_load(&view.words[number], memory_order_relaxed), dead, class))
                info->damaged = true;
    }
    ring_claim_drop(claim);
    return 0;
}

static int look_at_seat(const struct ring_blocks_view *view, const char *pool, unsigned seat,
                        struct ring_blocks_seat_info *info)
{
    if (seat >= view->seat_count)
        return ring_error(-ENOENT, "pool '%s' in %s has %u seats", pool, view->segment->name, view->seat_count);
    *info = (struct ring_blocks_seat_info){ .struct_size = sizeof *info };
    struct ring_seat place = ring_blocks_seat(view, seat);
    ring_seat_describe(&place, &info->side);
    if (info->side.peer == RING_PEER_NEVER)
        return ring_error(-ENOENT, "nobody ever had seat %u of pool '%s' in %s", seat, pool, view->segment->name);
    for (uint64_t number = 0; number < view->total; number++) {
        uint64_t word = ring_atomic_load(&view->words[number], memory_order_relaxed); /* K0 */
        if (ring_block_seat_of(word) != seat)
            continue;
        info->owned += (word & RING_BLOCK_STATE) == RING_BLOCK_OWNED;
        info->cached += (word & RING_BLOCK_STATE) == RING_BLOCK_CACHED;
        info->passed += (word & RING_BLOCK_STATE) == RING_BLOCK_PASSED;
    }
    return 0;
}

int ring_blocks_seat_info(struct ring_segment *segment, const char *pool, unsigned seat,
                          struct ring_blocks_seat_info *info)
{
    struct ring_blocks_view view;
    struct ring_claim *claim;
    int code = check_call(segment, info && info->struct_size == sizeof *info);
    if (!code)
        code = ring_blocks_enter(segment, pool, &view, &claim);
    if (code)
        return code;
    code = look_at_seat(&view, pool, seat, info);
    ring_claim_drop(claim);
    return code;
}
