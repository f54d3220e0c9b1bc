/* heap_private.h - level 6, private: what the files of the heap share. */
#ifndef RING_HEAP_PRIVATE_H
#define RING_HEAP_PRIVATE_H

#include <ring/heap.h>
#include <ring/seat.h>
#include <ring/segment_private.h>

/* ---- Words ---- */

RING_INLINE uint64_t ring_heap_get(const struct ring_heap_view *view, uint64_t word)
{
    return ring_atomic_load(&view->words[word], memory_order_relaxed); /* H4: under the lock, or only to show */
}

RING_INLINE uint64_t ring_heap_first(uint64_t granule)
{
    return RING_HEAP_INDEX + 2 * granule;
}

RING_INLINE uint64_t ring_piece_state(uint64_t word)
{
    return word & RING_PIECE_STATE;
}

RING_INLINE uint64_t ring_piece_size(uint64_t word)
{
    return word >> RING_PIECE_SIZE & RING_PIECE_MOST;
}

RING_INLINE uint64_t ring_piece_before(uint64_t word)
{
    return word >> RING_PIECE_BEFORE;
}

RING_INLINE uint64_t ring_piece_word(uint64_t state, uint64_t size, uint64_t before)
{
    return before << RING_PIECE_BEFORE | size << RING_PIECE_SIZE | state;
}

/* A piece as its words tell, checked against the heap's end. */
struct ring_piece {
    uint64_t granule;
    uint64_t size;
    uint64_t before; /* granules of the piece before it; 0: it is the first */
    uint64_t state;
};

/* -EUCLEAN: no piece can begin there. */
RING_PRIVATE int ring_heap_read(const struct ring_heap_view *view, uint64_t granule, struct ring_piece *piece);

/* ---- heap.c: the lock and the log ---- */

/* 0, and ring_heap_unlock() must follow; what a dead holder had begun is undone. -EAGAIN, -ETIMEDOUT, -EUCLEAN. */
RING_PRIVATE int ring_heap_lock(struct ring_heap *heap, int64_t timeout_ns);
/* What was done since the lock was taken, or the last of these, is done for good; `undo`: not at all. */
RING_PRIVATE void ring_heap_settle(struct ring_heap *heap, bool undo);
RING_PRIVATE void ring_heap_unlock(struct ring_heap *heap);

/* Changes a word: its old value is in the log before. -EUCLEAN: no such word, or the log is full. */
RING_PRIVATE int ring_heap_put(struct ring_heap *heap, uint64_t word, uint64_t value);

/* ---- heap_pieces.c: under the lock; the caller settles ---- */

RING_PRIVATE int ring_heap_cut(struct ring_heap *heap, uint64_t granules, uint64_t *reference);
RING_PRIVATE int ring_heap_join(struct ring_heap *heap, uint64_t granule);
/* The lists and bits, as ring_heap_check() wants to see them. */
RING_PRIVATE void ring_heap_list_of(uint64_t size, unsigned *first, unsigned *second);

/* ---- heap_setup.c ---- */

/* Finds a heap, checks its control page, and enters it: the claim is to be dropped last. -ENOENT, -EINVAL, -EUCLEAN. */
RING_PRIVATE int ring_heap_enter(struct ring_segment *segment, const char *heap, struct ring_heap_view *view,
                                 struct ring_claim **claim);

RING_INLINE struct ring_seat ring_heap_seat(const struct ring_heap_view *view, unsigned index)
{
    struct ring_seat seat = { view->segment, &view->seats[index].role,
                              RING_LOCK_SEATS + RING_SEATS_MAX * (int64_t)view->entry + index };
    return seat;
}

RING_INLINE bool ring_heap_is_living(const struct ring_heap_view *view, unsigned seat)
{
    return ring_claim_is_held(&view->segment->witness, ring_heap_seat(view, seat).lock);
}

RING_INLINE unsigned ring_heap_reached(const struct ring_heap_view *view)
{
    unsigned reached = ring_atomic_load(&view->control->reached, memory_order_acquire); /* H5 */
    return reached < view->seat_count ? reached : view->seat_count;
}

/* ---- heap_repair.c: under the lock ---- */

/* Frees what this seat owns; its holder is gone, or it is ours. */
RING_PRIVATE int ring_heap_free_all_of(struct ring_heap *heap, unsigned seat, uint64_t *freed);
/* The same for all of the dead. */
RING_PRIVATE int ring_heap_mend(struct ring_heap *heap, uint64_t *freed);

#endif
