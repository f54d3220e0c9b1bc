/* allocator_private.h - level 5, private: what finding (allocator.c) and making (allocator_room.c) share. */
#ifndef RING_ALLOCATOR_PRIVATE_H
#define RING_ALLOCATOR_PRIVATE_H

#include <ring/allocator.h>
#include <ring/layout_blocks.h>
#include <ring/layout_broadcast.h>
#include <ring/layout_heap.h>
#include <ring/layout_mpmc.h>
#include <ring/segment_private.h>

#define RING_DIRECTORY_LIMIT_NS INT64_C(5000000000) /* so long a lock of the directory is waited for */

RING_PRIVATE struct ring_layout_entry *ring_directory_entry(const struct ring_segment *segment, unsigned index);

RING_PRIVATE int ring_directory_check_name(const char *name);

/* A copy of a READY entry that lies wholly in the arena, else -ENOENT or -EUCLEAN, without a sentence. */
RING_PRIVATE int ring_directory_copy(const struct ring_segment *segment, unsigned index, struct ring_entry_info *copy);

/* Is it a later generation of the ring that was made by that name? */
RING_PRIVATE bool ring_directory_descends(const struct ring_entry_info *entry, const char *name);

/* Takes the directory's lock. -EBUSY: somebody has held it for over 5 s. */
RING_PRIVATE int ring_directory_lock(struct ring_segment *segment, struct ring_claim **lock);

/* As ring_directory_enter(), of whatever kind. */
RING_PRIVATE int ring_directory_enter_any(struct ring_segment *segment, const char *name, struct ring_entry_info *entry,
                                          unsigned *index, struct ring_claim **claim);

/* ---- allocator_pages.c ---- */

/* Free room, and the wishes of what lies before and behind it. */
struct ring_gap {
    uint64_t from;
    uint64_t to;
    int class_before;
    int class_behind;
};

/* Bytes that are always on one node. */
RING_PRIVATE uint64_t ring_directory_granule(const struct ring_segment *segment);

/* The wish of a new thing: RING_NODE_ANY as the segment, else a node or RING_NODE_INTERLEAVED. -EINVAL. */
RING_PRIVATE int ring_directory_class(const struct ring_segment *segment, const struct ring_place *place, int *class);

/* Takes away from a gap what shares a granule with things of another wish; it may become empty, `to` before `from`. */
RING_PRIVATE void ring_directory_trim(const struct ring_segment *segment, int class, struct ring_gap *gap);

/* Puts the pages of a new thing in order, before it is written to; the directory's lock is held. -ENOSPC; with
 * RING_STRICT the errors of ring_numa_place(). */
RING_PRIVATE int ring_directory_settle_new(const struct ring_segment *segment, int class, const struct ring_gap *gap,
                                           uint64_t offset, uint64_t bytes);

/* Gives the memory of what was just freed back, with all free room around it, as far as it is in the reserve. The
 * directory's lock is held. */
RING_PRIVATE void ring_directory_give_back(const struct ring_segment *segment, const struct ring_entry_info *gone);

/* Fills this process's mapping of a thing that was entered, if that may be needed. -ENOSPC: it is not in memory, and
 * cannot be had. */
RING_PRIVATE int ring_directory_settle(struct ring_segment *segment, const struct ring_entry_info *entry,
                                       unsigned index);

#endif
