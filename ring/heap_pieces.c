/* heap_pieces.c - level 6: where the pieces of a heap begin and end, and which are free.
 *
 * Two-level segregated fit (M. Masmano, I. Ripoll, A. Crespo, J. Real: TLSF: a new dynamic memory allocator for
 * real-time systems, ECRTS 2004): free pieces stand in lists by size, sixteen for each power of two; two levels of bits
 * tell which lists have any; so a piece is found, cut, and joined with its neighbours in constant time. Before it gives
 * up it looks through some pieces of the list in which an exact fit would be, which the search for a sure fit passes
 * over.
 *
 * All changes go through ring_heap_put(): the caller makes them happen, or undoes them. The lock is held.
 */
#include <ring/heap_private.h>

#include <errno.h>

enum { LOOK_AT = 16, SMALL = RING_HEAP_SECONDS };

/* First error of several changes. */
#define DO(change)                                                                                                     \
    do {                                                                                                               \
        int change_code = (change);                                                                                    \
        if (change_code)                                                                                               \
            return change_code;                                                                                        \
    } while (0)

int ring_heap_read(const struct ring_heap_view *view, uint64_t granule, struct ring_piece *piece)
{
    if (granule >= view->granules)
        return -EUCLEAN;
    uint64_t word = ring_heap_get(view, ring_heap_first(granule));
    *piece = (struct ring_piece){ granule, ring_piece_size(word), ring_piece_before(word), ring_piece_state(word) };
    bool fits = piece->state != RING_PIECE_INSIDE && piece->size >= 1 && piece->size <= view->granules - granule &&
                piece->before <= granule && (piece->before == 0) == (granule == 0);
    return fits ? 0 : -EUCLEAN;
}

/* ---- Lists ---- */

/* The list of pieces of this size: sizes below 16 have one each. */
void ring_heap_list_of(uint64_t size, unsigned *first, unsigned *second)
{
    if (size < SMALL) {
        *first = 0;
        *second = (unsigned)size;
        return;
    }
    unsigned highest = 63 - (unsigned)__builtin_clzll(size);
    *first = highest - 3;
    *second = (unsigned)(size >> (highest - 4)) - SMALL;
}

static uint64_t list_word(unsigned first, unsigned second)
{
    return RING_HEAP_LIST + (uint64_t)first * RING_HEAP_SECONDS + second;
}

static uint64_t links(const struct ring_heap *heap, uint64_t granule)
{
    return ring_heap_get(&heap->view, ring_heap_first(granule) + 1);
}

/* `next`, `previous`: granule + 1, or 0. */
static int put_links(struct ring_heap *heap, uint64_t granule, uint64_t next, uint64_t previous)
{
    return ring_heap_put(heap, ring_heap_first(granule) + 1, next << 32 | previous);
}

static int put_bits(struct ring_heap *heap, unsigned first, unsigned second, bool set)
{
    uint64_t seconds = ring_heap_get(&heap->view, RING_HEAP_SECOND_BITS + first);
    uint64_t firsts = ring_heap_get(&heap->view, RING_HEAP_FIRST_BITS);
    uint64_t bit = UINT64_C(1) << second;
    seconds = set ? seconds | bit : seconds & ~bit;
    firsts = seconds ? firsts | UINT64_C(1) << first : firsts & ~(UINT64_C(1) << first);
    DO(ring_heap_put(heap, RING_HEAP_SECOND_BITS + first, seconds));
    return ring_heap_put(heap, RING_HEAP_FIRST_BITS, firsts);
}

/* A free piece, from the words to the list. */
static int enlist(struct ring_heap *heap, uint64_t granule, uint64_t size)
{
    unsigned first, second;
    ring_heap_list_of(size, &first, &second);
    uint64_t head = ring_heap_get(&heap->view, list_word(first, second));
    if (head > heap->view.granules)
        return -EUCLEAN;
    DO(put_links(heap, granule, head, 0));
    if (head)
        DO(put_links(heap, head - 1, links(heap, head - 1) >> 32, granule + 1));
    DO(ring_heap_put(heap, list_word(first, second), granule + 1));
    return put_bits(heap, first, second, true);
}

static int delist(struct ring_heap *heap, const struct ring_piece *piece)
{
    unsigned first, second;
    ring_heap_list_of(piece->size, &first, &second);
    uint64_t both = links(heap, piece->granule), next = both >> 32, previous = both & UINT32_MAX;
    if (next > heap->view.granules || previous > heap->view.granules)
        return -EUCLEAN;
    if (next)
        DO(put_links(heap, next - 1, links(heap, next - 1) >> 32, previous));
    if (previous)
        return put_links(heap, previous - 1, next, links(heap, previous - 1) & UINT32_MAX);
    if (ring_heap_get(&heap->view, list_word(first, second)) != piece->granule + 1)
        return -EUCLEAN;
    DO(ring_heap_put(heap, list_word(first, second), next));
    return next ? 0 : put_bits(heap, first, second, false);
}

/* ---- Finding ---- */

/* A piece of a list all of whose pieces are long enough. */
static uint64_t find_sure(const struct ring_heap *heap, uint64_t granules)
{
    unsigned first, second;
    uint64_t up = granules < SMALL ? 0 : (UINT64_C(1) << (59 - __builtin_clzll(granules))) - 1;
    ring_heap_list_of(granules + up, &first, &second);
    if (first >= RING_HEAP_FIRSTS)
        return 0;
    uint64_t seconds = ring_heap_get(&heap->view, RING_HEAP_SECOND_BITS + first) >> second << second;
    seconds &= (UINT64_C(1) << RING_HEAP_SECONDS) - 1;
    if (seconds == 0) {
        uint64_t firsts = ring_heap_get(&heap->view, RING_HEAP_FIRST_BITS) >> first >> 1 << first << 1;
        firsts &= (UINT64_C(1) << RING_HEAP_FIRSTS) - 1;
        if (firsts == 0)
            return 0;
        first = (unsigned)__builtin_ctzll(firsts);
        seconds = ring_heap_get(&heap->view, RING_HEAP_SECOND_BITS + first) & ((UINT64_C(1) << RING_HEAP_SECONDS) - 1);
        if (seconds == 0)
            return UINT64_MAX; /* damaged */
    }
    return ring_heap_get(&heap->view, list_word(first, (unsigned)__builtin_ctzll(seconds)));
}

/* One that is long enough by chance. */
static uint64_t find_lucky(const struct ring_heap *heap, uint64_t granules)
{
    unsigned first, second;
    ring_heap_list_of(granules, &first, &second);
    uint64_t at = ring_heap_get(&heap->view, list_word(first, second));
    for (int looks = 0; at && at <= heap->view.granules && looks < LOOK_AT; looks++) {
        if (ring_piece_size(ring_heap_get(&heap->view, ring_heap_first(at - 1))) >= granules)
            return at;
        at = links(heap, at - 1) >> 32;
    }
    return 0;
}

/* ---- Cutting and joining ---- */

/* The piece behind this one has one of `size` granules before it now. */
static int tell_behind(struct ring_heap *heap, uint64_t granule, uint64_t size)
{
    struct ring_piece behind;
    if (granule + size == heap->view.granules)
        return 0;
    DO(ring_heap_read(&heap->view, granule + size, &behind));
    return ring_heap_put(heap, ring_heap_first(behind.granule), ring_piece_word(behind.state, behind.size, size));
}

int ring_heap_cut(struct ring_heap *heap, uint64_t granules, uint64_t *reference)
{
    struct ring_piece piece;
    uint64_t found = find_sure(heap, granules);
    if (found == 0)
        found = find_lucky(heap, granules);
    if (found == 0)
        return -ENOSPC;
    DO(ring_heap_read(&heap->view, found - 1, &piece));
    if (piece.state != RING_PIECE_FREE || piece.size < granules)
        return -EUCLEAN;
    DO(delist(heap, &piece));
    uint64_t rest = piece.granule + granules;
    if (piece.size > granules) {
        uint64_t left = piece.size - granules;
        DO(tell_behind(heap, rest, left));
        DO(ring_heap_put(heap, ring_heap_first(rest), ring_piece_word(RING_PIECE_FREE, left, granules)));
        DO(enlist(heap, rest, left));
    }
    uint64_t generation = (ring_heap_get(&heap->view, RING_HEAP_GENERATION) + 1) & UINT32_MAX;
    uint64_t first = ring_heap_first(piece.granule);
    DO(ring_heap_put(heap, RING_HEAP_GENERATION, generation));
    DO(ring_heap_put(heap, RING_HEAP_USED, ring_heap_get(&heap->view, RING_HEAP_USED) + granules));
    DO(ring_heap_put(heap, RING_HEAP_PIECES, ring_heap_get(&heap->view, RING_HEAP_PIECES) + 1));
    DO(ring_heap_put(heap, first + 1, generation << 32 | heap->seat));
    DO(ring_heap_put(heap, first, ring_piece_word(RING_PIECE_OWNED, granules, piece.before)));
    *reference = generation << 32 | (piece.granule + 1);
    return 0;
}

int ring_heap_join(struct ring_heap *heap, uint64_t granule)
{
    struct ring_piece piece, other;
    DO(ring_heap_read(&heap->view, granule, &piece));
    DO(ring_heap_put(heap, RING_HEAP_USED, ring_heap_get(&heap->view, RING_HEAP_USED) - piece.size));
    DO(ring_heap_put(heap, RING_HEAP_PIECES, ring_heap_get(&heap->view, RING_HEAP_PIECES) - 1));
    if (granule + piece.size < heap->view.granules) {
        DO(ring_heap_read(&heap->view, granule + piece.size, &other));
        if (other.state == RING_PIECE_FREE) {
            DO(delist(heap, &other));
            DO(ring_heap_put(heap, ring_heap_first(other.granule), 0));
            piece.size += other.size;
        }
    }
    if (piece.before) {
        DO(ring_heap_read(&heap->view, granule - piece.before, &other));
        if (other.size != piece.before)
            return -EUCLEAN;
        if (other.state == RING_PIECE_FREE) {
            DO(delist(heap, &other));
            DO(ring_heap_put(heap, ring_heap_first(granule), 0));
            piece.size += other.size;
            piece.granule = other.granule;
            piece.before = other.before;
        }
    }
    DO(tell_behind(heap, piece.granule, piece.size));
    DO(ring_heap_put(heap, ring_heap_first(piece.granule), ring_piece_word(RING_PIECE_FREE, piece.size, piece.before)));
    return enlist(heap, piece.granule, piece.size);
}
