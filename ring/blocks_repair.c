/* blocks_repair.c - level 6: what the dead had is free again; see blocks.c for why it is theirs.
 *
 * A mender reads the words of some blocks, then asks the kernel whether the seat that they name is held, and then
 * changes them by compare-and-swap from what it had read. A seat of which nothing is left is marked as settled, for
 * that tenure; as long as it is not, whoever mends begins anew, so a mender may die at any instruction. The same round
 * sets the bits of all that is FREE: the dead may have taken bits, or not set them yet.
 */
#include <ring/blocks_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/error.h>

bool ring_blocks_is_living(const struct ring_blocks_view *view, unsigned seat)
{
    return ring_claim_is_held(&view->segment->witness, ring_blocks_seat(view, seat).lock);
}

/* What becomes of a word that names a seat whose holder is gone; the same word: nothing. */
static uint64_t after_death(uint64_t word, uint64_t seat)
{
    if ((word & RING_BLOCK_SEATS) != seat)
        return word;
    switch (word & RING_BLOCK_STATE) {
    case RING_BLOCK_CACHED:
    case RING_BLOCK_OWNED:
        return ring_block_next_generation(word) | RING_BLOCK_FREE;
    case RING_BLOCK_PASSED:
        return word | RING_BLOCK_SEATS; /* nobody */
    default:
        return word;
    }
}

static void count_repair(struct ring_blocks_repairs *repairs, uint64_t word)
{
    if (!repairs)
        return;
    if ((word & RING_BLOCK_STATE) == RING_BLOCK_PASSED)
        repairs->stranded++;
    else
        repairs->freed++;
}

/* The up to 64 blocks of a leaf. False: the seat is held by the living. */
static bool settle_leaf(const struct ring_blocks_view *view, const struct ring_blocks_row *row, uint64_t leaf,
                        unsigned seat, bool certain, struct ring_blocks_repairs *repairs)
{
    uint64_t words[64], free = 0, name = (uint64_t)seat << RING_BLOCK_SEAT;
    uint64_t first = row->first + leaf * 64;
    unsigned count = row->end - first < 64 ? (unsigned)(row->end - first) : 64;
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        words[i] = ring_atomic_load(&view->words[first + i], memory_order_acquire); /* K7: before the probe */
        any |= after_death(words[i], name) != words[i];
    }
    if (any && !certain && ring_blocks_is_living(view, seat))
        return false;
    for (unsigned i = 0; i < count; i++) {
        uint64_t to = after_death(words[i], name);
        /* K7: acq_rel: what the dead did comes before what the next owner does; one mender wins. */
        if (to != words[i] && atomic_compare_exchange_strong_explicit(&view->words[first + i], &words[i], to,
                                                                      memory_order_acq_rel, memory_order_acquire)) {
            count_repair(repairs, words[i]);
            words[i] = to;
        }
        if ((words[i] & RING_BLOCK_STATE) == RING_BLOCK_FREE)
            free |= UINT64_C(1) << i;
    }
    uint64_t bits = ring_atomic_load(&row->level[0][leaf], memory_order_acquire); /* K5 */
    if (free & ~bits)
        ring_blocks_mark(row, leaf, free & ~bits);
    else if (bits)
        ring_blocks_mark_upward(row, leaf);
    return true;
}

bool ring_blocks_settle(const struct ring_blocks_view *view, unsigned seat, bool certain,
                        struct ring_blocks_repairs *repairs)
{
    for (unsigned at = 0; at < view->class_count; at++)
        for (uint64_t leaf = 0; leaf < view->rows[at].level_words[0]; leaf++)
            if (!settle_leaf(view, &view->rows[at], leaf, seat, certain, repairs))
                return false;
    return true;
}

/* A bit may be missing above a leaf while somebody stands still who was about to set it. */
static void mark_all_upward(const struct ring_blocks_view *view)
{
    for (unsigned at = 0; at < view->class_count; at++)
        for (uint64_t leaf = 0; leaf < view->rows[at].level_words[0]; leaf++)
            if (ring_atomic_load(&view->rows[at].level[0][leaf], memory_order_acquire)) /* K5 */
                ring_blocks_mark_upward(&view->rows[at], leaf);
}

void ring_blocks_mend(const struct ring_blocks_view *view, struct ring_blocks_repairs *repairs)
{
    for (unsigned i = 0; i < ring_blocks_reached(view); i++) {
        struct ring_layout_block_seat *seat = &view->seats[i];
        uint64_t state = ring_atomic_load(&seat->role.state, memory_order_acquire); /* L0 */
        if ((state & 0xff) != RING_ROLE_ATTACHED ||
            ring_atomic_load(&seat->settled, memory_order_acquire) == state || /* K8 */
            ring_blocks_is_living(view, i))
            continue;
        if (ring_blocks_settle(view, i, false, repairs))
            ring_atomic_store(&seat->settled, state, memory_order_release); /* K8: this tenure; a later one differs */
    }
    mark_all_upward(view);
}

int ring_blocks_recover(struct ring_segment *segment, const char *pool, struct ring_blocks_repairs *repairs)
{
    struct ring_blocks_view view;
    struct ring_blocks_repairs found = { sizeof found, 0, 0 };
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (repairs && repairs->struct_size != sizeof *repairs)
        return ring_error(-EINVAL, "set repairs.struct_size to sizeof(struct ring_blocks_repairs) first");
    if (segment->witness.read_only)
        return ring_error(-EACCES, "%s is attached for reading only: nothing can be mended through this handle",
                          segment->name);
    struct ring_claim *claim;
    code = ring_blocks_enter(segment, pool, &view, &claim);
    if (code)
        return code;
    ring_blocks_mend(&view, &found);
    ring_claim_drop(claim);
    if (repairs)
        *repairs = found;
    return 0;
}
