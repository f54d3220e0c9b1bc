/* allocator.h - level 5: placement inside a segment, and the directory of what was placed.
 *
 * Callable from any thread and process at once; makers are put in order by a lock that the kernel frees at death.
 */
#ifndef RING_ALLOCATOR_H
#define RING_ALLOCATOR_H

#include <ring/layout.h>
#include <ring/segment.h>

RING_BEGIN_C

#define RING_NAME_MAX (RING_LAYOUT_NAME - 1) /* characters of a ring's name; no slash, no control characters */

/* A named ring as the directory has it. */
struct ring_entry_info {
    char name[RING_LAYOUT_NAME];
    unsigned kind;       /* enum ring_layout_kind */
    uint64_t offset;     /* in the segment */
    uint64_t bytes;      /* in the segment */
    uint64_t created_ns; /* CLOCK_REALTIME */
    unsigned generation; /* 0; of a ring that replaces a smaller one ("feed~2" of "feed"): how often that happened */
    unsigned stem;       /* characters of the name before the generation; generation 0: 0 */
    uint64_t turn;       /* how often this place of the directory was given back before */
    int node;            /* where its pages were asked for: a node, RING_NODE_ANY or RING_NODE_INTERLEAVED */
};

/* The directory's entry at `index`, 0 .. max_rings-1. -ENOENT: nothing at that place. -EUCLEAN: damaged. */
RING_PUBLIC int ring_segment_entry(const struct ring_segment *segment, unsigned index, struct ring_entry_info *entry);

/* Removes a ring (or another named thing) from the segment; its room and its place in the directory are used again.
 * What was in it is lost. Anybody who may write may call it, also on behalf of participants that died. -EBUSY: a living
 * process (perhaps this one) takes part in it or observes it, see ring_error_detail(); or somebody paused holds the
 * directory for over 5 s. -ENOENT; -EINVAL, -ENAMETOOLONG (name); -EACCES: attached read-only; -EUCLEAN: damaged. */
RING_PUBLIC int ring_segment_free(struct ring_segment *segment, const char *name);

/* ---- For the topologies. ---- */

struct ring_claim;

/* What a maker writes into its place before anybody can find it; `place` is zeroed for `control_bytes`. */
typedef void ring_place_filler(void *place, const void *options);

struct ring_place {
    uint64_t bytes;         /* a multiple of RING_LAYOUT_PAGE */
    uint64_t control_bytes; /* of those, the first so many are zeroed */
    ring_place_filler *fill;
    const void *options;
    unsigned generation; /* as in ring_entry_info */
    unsigned stem;
};

/* Puts a new thing of that kind into the segment and its directory: complete, or not at all. -EEXIST, -ENOSPC,
 * -EINVAL and -ENAMETOOLONG (name), -EBUSY (somebody paused holds the directory's lock for over 5 s). */
RING_PRIVATE int ring_directory_make(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                                     const struct ring_place *place);

/* Finds a thing and enters it: until the claim is dropped nobody can free it. *index is its place in the directory. For
 * a participant the claim is then given its seat's byte (seat.h); one who only looks drops it afterwards. Nothing of
 * the thing may be touched by one who has not entered. Works attached read-only. -ENOENT, -EINVAL (other kind, bad
 * name), -EUCLEAN; -EBUSY: somebody paused is freeing it; what liveness.h's calls return. */
RING_PRIVATE int ring_directory_enter(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                                      struct ring_entry_info *entry, unsigned *index, struct ring_claim **claim);

/* The first half of it: only tells that it was there. Exactly that name, or else the lowest generation of that first
 * name. -ENOENT, -EINVAL (other kind, bad name), -EUCLEAN. */
RING_PRIVATE int ring_directory_find(const struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                                     struct ring_entry_info *entry, unsigned *index);

RING_END_C

#endif
