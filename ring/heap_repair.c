/* heap_repair.c - level 6: what the dead had allocated and not kept is freed; looking at a heap, and checking it.
 *
 * The lock is held while somebody is found dead and his pieces are freed: so nobody who took his seat since has
 * allocated anything in his name. A seat of which nothing is left is marked as settled, for that tenure. */
#include <ring/heap_private.h>

#include <errno.h>

#include <ring/error.h>

int ring_heap_free_all_of(struct ring_heap *heap, unsigned seat, uint64_t *freed)
{
    const struct ring_heap_view *view = &heap->view;
    struct ring_piece piece;
    for (uint64_t granule = 0; granule < view->granules;) {
        int code = ring_heap_read(view, granule, &piece);
        if (code)
            return code;
        uint64_t owner = ring_heap_get(view, ring_heap_first(granule) + 1) & UINT32_MAX;
        granule += piece.size;
        if (piece.state != RING_PIECE_OWNED || owner != seat)
            continue;
        /* It may have been joined with what lies before and behind: go on at a piece that begins there still. */
        struct ring_piece behind = { .size = 0 };
        if (granule < view->granules && ring_heap_read(view, granule, &behind) == 0 && behind.state == RING_PIECE_FREE)
            granule += behind.size;
        code = ring_heap_join(heap, piece.granule);
        if (code)
            return code;
        ring_heap_settle(heap, false);
        ++*freed;
    }
    return 0;
}

int ring_heap_mend(struct ring_heap *heap, uint64_t *freed)
{
    const struct ring_heap_view *view = &heap->view;
    for (unsigned i = 0; i < ring_heap_reached(view); i++) {
        struct ring_layout_heap_seat *seat = &view->seats[i];
        uint64_t state = ring_atomic_load(&seat->role.state, memory_order_acquire); /* L0 */
        if ((state & 0xff) != RING_ROLE_ATTACHED ||
            ring_atomic_load(&seat->settled, memory_order_acquire) == state || /* H5 */
            ring_heap_is_living(view, i))
            continue;
        int code = ring_heap_free_all_of(heap, i, freed);
        if (code)
            return code;
        ring_atomic_store(&seat->settled, state, memory_order_release); /* H5: this tenure; a later one differs */
    }
    return 0;
}

/* ---- Looking ---- */

/* A list of which it is sure that its pieces are so long. */
static uint64_t longest(const struct ring_heap_view *view)
{
    uint64_t firsts = ring_heap_get(view, RING_HEAP_FIRST_BITS) & ((UINT64_C(1) << RING_HEAP_FIRSTS) - 1);
    if (firsts == 0)
        return 0;
    unsigned first = 63 - (unsigned)__builtin_clzll(firsts);
    uint64_t seconds = ring_heap_get(view, RING_HEAP_SECOND_BITS + first) & 0xffff;
    unsigned second = seconds ? 63 - (unsigned)__builtin_clzll(seconds) : 0;
    return first == 0 ? second : (UINT64_C(16) + second) << (first - 1);
}

int ring_heap_info(struct ring_segment *segment, const char *heap, struct ring_heap_info *info)
{
    struct ring_heap_view view;
    struct ring_claim *claim;
    int code = ring_segment_usable(segment);
    if (!code && (!info || info->struct_size != sizeof *info))
        code = ring_error(-EINVAL, "set info.struct_size to sizeof(struct ring_heap_info) first");
    if (!code)
        code = ring_heap_enter(segment, heap, &view, &claim);
    if (code)
        return code;
    uint64_t lock = ring_atomic_load(&view.control->lock, memory_order_relaxed); /* H0: to show */
    *info = (struct ring_heap_info){ .struct_size = sizeof *info,
                                     .bytes = view.granules << view.shift,
                                     .used = ring_heap_get(&view, RING_HEAP_USED) << view.shift,
                                     .pieces = ring_heap_get(&view, RING_HEAP_PIECES),
                                     .longest = longest(&view) << view.shift,
                                     .granule_bytes = 1u << view.shift,
                                     .seats = view.seat_count,
                                     .locked = (lock & 0xffff) != 0 };
    for (unsigned i = 0; i < ring_heap_reached(&view); i++) {
        struct ring_seat seat = ring_heap_seat(&view, i);
        uint64_t state = ring_atomic_load(&seat.record->state, memory_order_acquire); /* L0 */
        enum ring_peer peer = ring_seat_state(&seat);
        info->alive += peer == RING_PEER_ALIVE;
        info->dead +=
            peer == RING_PEER_DEAD && ring_atomic_load(&view.seats[i].settled, memory_order_acquire) != state; /* H5 */
        if (info->locked && (lock & 0xffff) == i + 1)
            info->locked_pid = ring_atomic_load(&seat.record->pid, memory_order_relaxed); /* L3 */
    }
    ring_claim_drop(claim);
    return 0;
}

/* ---- Checking ---- */

struct sums {
    uint64_t used, pieces, free;
};

/* The pieces, from the first to the last: each ends where the next begins, no two free ones side by side. */
static int check_row(const struct ring_heap_view *view, struct sums *sums)
{
    uint64_t before = 0, state_before = RING_PIECE_OWNED;
    struct ring_piece piece;
    for (uint64_t granule = 0; granule < view->granules; granule += piece.size) {
        if (ring_heap_read(view, granule, &piece) || piece.before != before ||
            (piece.state == RING_PIECE_FREE && state_before == RING_PIECE_FREE))
            return ring_error(-EUCLEAN, "the words of granule %llu do not fit its neighbours",
                              (unsigned long long)granule);
        for (uint64_t inside = 1; inside < piece.size; inside++)
            if (ring_heap_get(view, ring_heap_first(granule + inside)) != 0)
                return ring_error(-EUCLEAN, "a piece begins within another, at granule %llu",
                                  (unsigned long long)(granule + inside));
        bool used = piece.state != RING_PIECE_FREE;
        sums->used += used ? piece.size : 0;
        sums->pieces += used;
        sums->free += !used;
        before = piece.size;
        state_before = piece.state;
    }
    return 0;
}

/* One list: its pieces are free and of its sizes, its links go both ways; its bits say whether it has any. */
static int check_list(const struct ring_heap_view *view, unsigned first, unsigned second, uint64_t *left)
{
    uint64_t at = ring_heap_get(view, RING_HEAP_LIST + first * RING_HEAP_SECONDS + second), previous = 0;
    bool bit = ring_heap_get(view, RING_HEAP_SECOND_BITS + first) >> second & 1;
    bool any = ring_heap_get(view, RING_HEAP_FIRST_BITS) >> first & 1;
    if (bit != (at != 0) || (bit && !any))
        return ring_error(-EUCLEAN, "the bits of list %u, %u do not tell what it has", first, second);
    while (at) {
        struct ring_piece piece;
        unsigned own_first = 0, own_second = 0;
        int code = ring_heap_read(view, at - 1, &piece);
        if (code == 0)
            ring_heap_list_of(piece.size, &own_first, &own_second);
        uint64_t both = code ? 0 : ring_heap_get(view, ring_heap_first(at - 1) + 1);
        if (code || piece.state != RING_PIECE_FREE || own_first != first || own_second != second ||
            (both & UINT32_MAX) != previous || *left == 0)
            return ring_error(-EUCLEAN, "list %u, %u is damaged at granule %llu", first, second,
                              (unsigned long long)at - 1);
        --*left;
        previous = at;
        at = both >> 32;
    }
    return 0;
}

static int check(const struct ring_heap_view *view)
{
    struct sums sums = { 0, 0, 0 };
    int code = check_row(view, &sums);
    for (unsigned first = 0; first < RING_HEAP_FIRSTS && !code; first++)
        for (unsigned second = 0; second < RING_HEAP_SECONDS && !code; second++)
            code = check_list(view, first, second, &sums.free);
    if (code)
        return code;
    if (sums.free)
        return ring_error(-EUCLEAN, "%llu free pieces are in no list", (unsigned long long)sums.free);
    if (sums.used != ring_heap_get(view, RING_HEAP_USED) || sums.pieces != ring_heap_get(view, RING_HEAP_PIECES))
        return ring_error(-EUCLEAN, "%llu granules in %llu pieces are in use, not as counted",
                          (unsigned long long)sums.used, (unsigned long long)sums.pieces);
    return 0;
}

int ring_heap_check(struct ring_heap *heap, int64_t timeout_ns)
{
    int code = ring_guard_enter(&heap->guarded);
    if (code)
        return code;
    code = ring_heap_lock(heap, timeout_ns);
    if (code == 0) {
        code = check(&heap->view);
        ring_heap_unlock(heap);
    }
    ring_guard_leave(&heap->guarded);
    return code;
}
