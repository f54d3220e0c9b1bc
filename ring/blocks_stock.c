/* blocks_stock.c - level 6: where the free blocks of a pool are found, in constant time; see blocks.c for the whole.
 *
 * The bits of a class's tree are hints. Taking a bit gives nothing: the block is had by the compare-and-swap of its
 * word from FREE to CACHED. So a bit too many costs one vain look, and whoever doubts sets bits. The one thing to be
 * kept:
 *
 *   a block whose word is FREE has its bit set, all the way up; or somebody is about to set it; or somebody who was
 *   has died, and his seat is not settled yet.
 *
 * Who makes a word FREE (K4) sets its bit after (K5). Who takes a bit and dies before the word: the same seat. Who
 * finds a leaf empty clears its bit above and looks at the leaf again: whoever filled it before that look is seen by
 * it, whoever fills it later finds the bit above clear and sets it. Setters look at every level, so none of them waits
 * for another that is stopped half-way.
 */
#include <ring/blocks_private.h>

/* ---- The tree ---- */

static void mark_level(const struct ring_blocks_row *row, unsigned level, uint64_t index)
{
    for (; level + 1 < row->levels; level++, index /= 64) {
        RING_ATOMIC(uint64_t) *above = &row->level[level + 1][index / 64];
        uint64_t bit = UINT64_C(1) << (index % 64);
        /* K5: seq_cst, behind our bit below: who clears what we find set looks below after that, and sees our bit. */
        if (!(ring_atomic_load(above, memory_order_seq_cst) & bit))
            atomic_fetch_or_explicit(above, bit, memory_order_seq_cst);
    }
}

void ring_blocks_mark_upward(const struct ring_blocks_row *row, uint64_t leaf)
{
    mark_level(row, 0, leaf);
}

void ring_blocks_mark(const struct ring_blocks_row *row, uint64_t leaf, uint64_t bits)
{
    /* K5: seq_cst, against K5 in mark_empty: of our bit below and its clearing above, one side sees the other's. */
    atomic_fetch_or_explicit(&row->level[0][leaf], bits, memory_order_seq_cst);
    mark_level(row, 0, leaf);
}

/* The word was found empty: takes its bit away, and puts it back if it was filled meanwhile. */
static void mark_empty(const struct ring_blocks_row *row, unsigned level, uint64_t index)
{
    for (; level + 1 < row->levels; level++, index /= 64) {
        uint64_t bit = UINT64_C(1) << (index % 64);
        uint64_t left =
            atomic_fetch_and_explicit(&row->level[level + 1][index / 64], ~bit, memory_order_seq_cst) & ~bit;
        if (ring_atomic_load(&row->level[level][index], memory_order_seq_cst) != 0) { /* K5 */
            mark_level(row, level, index);
            return;
        }
        if (left)
            return;
    }
}

/* The first bit set, from `from` on, around. */
static unsigned pick(uint64_t word, unsigned from)
{
    uint64_t behind = word >> from << from;
    return (unsigned)__builtin_ctzll(behind ? behind : word);
}

/* A leaf that may have something. Participants begin at different ones. False: none has, or it was misled too often. */
static bool find_leaf(const struct ring_blocks_row *row, unsigned seat, uint64_t *attempts, uint64_t *leaf)
{
    unsigned level = row->levels - 1;
    uint64_t index = 0;
    while (level > 0) {
        uint64_t word = ring_atomic_load(&row->level[level][index], memory_order_acquire); /* K5 */
        uint64_t below = row->level_words[level - 1] - index * 64;
        if (below < 64)
            word &= (UINT64_C(1) << below) - 1; /* bits beyond mean nothing: only rubbish sets them */
        if (word == 0) {
            if (level == row->levels - 1)
                return false;
            mark_empty(row, level, index);
            level = row->levels - 1;
            index = 0;
            if (ring_atomic_load(&row->level[level][0], memory_order_acquire) == 0 || --*attempts == 0) /* K5 */
                return false;
            continue;
        }
        index = index * 64 + pick(word, seat * 11 % (unsigned)(below < 64 ? below : 64));
        level--;
    }
    *leaf = index;
    return true;
}

static uint64_t lowest(uint64_t bits, unsigned count)
{
    uint64_t rest = bits;
    while (count-- && rest)
        rest &= rest - 1;
    return bits & ~rest;
}

unsigned ring_blocks_take(const struct ring_blocks_view *view, const struct ring_blocks_row *row, uint64_t me,
                          unsigned want, uint64_t *handles)
{
    unsigned count = 0;
    uint64_t leaf = 0;
    uint64_t attempts = row->level_words[0] * 2 + 64; /* more are only needed when somebody plays with the bits */
    for (; count == 0 && attempts && find_leaf(row, ring_block_seat_of(me), &attempts, &leaf); attempts--) {
        RING_ATOMIC(uint64_t) *bits = &row->level[0][leaf];
        uint64_t mask = lowest(ring_atomic_load(bits, memory_order_acquire), want);  /* K5 */
        uint64_t old = atomic_fetch_and_explicit(bits, ~mask, memory_order_seq_cst); /* K5 */
        if ((old & ~mask) == 0)
            mark_empty(row, 0, leaf);
        for (uint64_t left = old & mask; left; left &= left - 1) {
            uint64_t number = row->first + leaf * 64 + (unsigned)__builtin_ctzll(left);
            if (number >= row->end)
                continue;
            uint64_t word = ring_atomic_load(&view->words[number], memory_order_relaxed);
            uint64_t ours = (word & ~RING_BLOCK_NUMBER) | me | RING_BLOCK_CACHED;
            /* K3: acquire, pairs with K4: the last owner's reads and writes of the block come before ours. */
            if ((word & RING_BLOCK_STATE) == RING_BLOCK_FREE &&
                atomic_compare_exchange_strong_explicit(&view->words[number], &word, ours, memory_order_acquire,
                                                        memory_order_relaxed))
                handles[count++] = ring_block_handle(word, number);
        }
        if (row->levels == 1 && old == 0)
            break;
    }
    return count;
}

void ring_blocks_give(const struct ring_blocks_view *view, const struct ring_blocks_row *row, uint64_t *handles,
                      unsigned count)
{
    while (count) {
        uint64_t leaf = ((handles[count - 1] & RING_BLOCK_NUMBER) - 1 - row->first) / 64;
        uint64_t bits = 0;
        for (unsigned i = count; i-- > 0;) {
            uint64_t number = (handles[i] & RING_BLOCK_NUMBER) - 1;
            if ((number - row->first) / 64 != leaf)
                continue;
            /* K4: release, pairs with K3. */
            ring_atomic_store(&view->words[number], (handles[i] & ~RING_BLOCK_NUMBER) | RING_BLOCK_FREE,
                              memory_order_release);
            bits |= UINT64_C(1) << (number - row->first) % 64;
            handles[i] = handles[--count];
        }
        ring_blocks_mark(row, leaf, bits);
    }
}
