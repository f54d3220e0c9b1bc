/* blocks_private.h - level 6, private: what the files of the pools of blocks share. */
#ifndef RING_BLOCKS_PRIVATE_H
#define RING_BLOCKS_PRIVATE_H

#include <ring/blocks.h>
#include <ring/seat.h>
#include <ring/segment_private.h>

/* ---- Words ---- */

RING_INLINE unsigned ring_block_seat_of(uint64_t word)
{
    return (unsigned)((word & RING_BLOCK_SEATS) >> RING_BLOCK_SEAT);
}

/* The same block of the next generation: without hop, seat and state. */
RING_INLINE uint64_t ring_block_next_generation(uint64_t word)
{
    return (word & ~RING_BLOCK_NUMBER) + (UINT64_C(1) << RING_BLOCK_GENERATION);
}

RING_INLINE bool ring_block_same_generation(uint64_t word, uint64_t handle)
{
    return ((word ^ handle) & ~RING_BLOCK_NUMBER) == 0;
}

RING_INLINE uint64_t ring_block_handle(uint64_t word, uint64_t number)
{
    return (word & ~RING_BLOCK_NUMBER) | (number + 1);
}

/* ---- blocks_stock.c: where free blocks are ---- */

/* The blocks of that class in leaf `leaf`, as bits, are free (K4 comes before): says so in the tree. */
RING_PRIVATE void ring_blocks_mark(const struct ring_blocks_row *row, uint64_t leaf, uint64_t bits);

/* The word above says that there is something in this leaf, and so up to the top. */
RING_PRIVATE void ring_blocks_mark_upward(const struct ring_blocks_row *row, uint64_t leaf);

/* Takes up to `want` free blocks of the class, 1 .. 64: they are CACHED by `me` and their handles in the list. */
RING_PRIVATE unsigned ring_blocks_take(const struct ring_blocks_view *view, const struct ring_blocks_row *row,
                                       uint64_t me, unsigned want, uint64_t *handles);

/* Gives `count` blocks that are CACHED by the caller to all. The list is used up. */
RING_PRIVATE void ring_blocks_give(const struct ring_blocks_view *view, const struct ring_blocks_row *row,
                                   uint64_t *handles, unsigned count);

/* ---- blocks_setup.c ---- */

/* Finds a pool, enters it (allocator.h) and checks its control page: -ENOENT, -EINVAL, -EUCLEAN. */
RING_PRIVATE int ring_blocks_enter(struct ring_segment *segment, const char *pool, struct ring_blocks_view *view,
                                   struct ring_claim **claim);

RING_INLINE struct ring_seat ring_blocks_seat(const struct ring_blocks_view *view, unsigned index)
{
    struct ring_seat seat = { view->segment, &view->seats[index].role,
                              RING_LOCK_SEATS + RING_SEATS_MAX * (int64_t)view->entry + index };
    return seat;
}

/* Seats ever used: K8. */
RING_INLINE unsigned ring_blocks_reached(const struct ring_blocks_view *view)
{
    unsigned reached = ring_atomic_load(&view->control->reached, memory_order_acquire);
    return reached < view->seat_count ? reached : view->seat_count;
}

/* As ring_blocks_open_with(); `rights` also RING_BLOCKS_BLIND. */
RING_PRIVATE int ring_blocks_open_as(struct ring_blocks *blocks, struct ring_segment *segment, const char *pool,
                                     unsigned rights, int64_t timeout_ns);

/* ---- blocks_rights.c ---- */

#define RING_BLOCKS_BLIND 3u /* rights of who looks at words only: whoever else has the pool open does not matter */

/* What opening and closing a handle does to the pages: -EBUSY, -EOPNOTSUPP, -ENOMEM, see ring_blocks_open_with(). */
RING_PRIVATE int ring_blocks_take_rights(const struct ring_blocks_view *view, const char *pool, unsigned rights);
RING_PRIVATE void ring_blocks_leave_rights(const struct ring_blocks_view *view, unsigned rights);

/* The pages of a block that the handle owns, if they depend on that. -ENOMEM. */
RING_PRIVATE int ring_blocks_allow(const struct ring_blocks *blocks, uint64_t number, bool write);

/* The pages of all that it owns: it is about to let go of them. */
RING_PRIVATE void ring_blocks_shut_owned(const struct ring_blocks *blocks);

/* ---- blocks_repair.c ---- */

/* Does the holder of that seat live? True in doubt. */
RING_PRIVATE bool ring_blocks_is_living(const struct ring_blocks_view *view, unsigned seat);

/* Frees what the seat owns and keeps, and leaves what it passed to nobody. `certain`: the caller holds the seat. False:
 * it is held by the living after all. */
RING_PRIVATE bool ring_blocks_settle(const struct ring_blocks_view *view, unsigned seat, bool certain,
                                     struct ring_blocks_repairs *repairs);

/* The same for all of the dead; and all that is free can be found again. */
RING_PRIVATE void ring_blocks_mend(const struct ring_blocks_view *view, struct ring_blocks_repairs *repairs);

/* Frees a block in transit if its word is still that one. */
RING_PRIVATE bool ring_blocks_free_stranded(struct ring_blocks *blocks, uint64_t number, uint64_t word);

#endif
