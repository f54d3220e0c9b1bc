/* allocator_private.h - level 5, private: what finding (allocator.c) and making (allocator_room.c) share. */
#ifndef RING_ALLOCATOR_PRIVATE_H
#define RING_ALLOCATOR_PRIVATE_H

#include <ring/allocator.h>
#include <ring/layout_blocks.h>
#include <ring/layout_broadcast.h>
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

#endif
