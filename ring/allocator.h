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
 * directory for over 5 s; or an older generation of a ring that grew is there still: it goes first. -ENOENT; -EINVAL,
 * -ENAMETOOLONG (name); -EACCES: attached read-only; -EUCLEAN: damaged. */
RING_PUBLIC int ring_segment_free(struct ring_segment *segment, const char *name);

/* Where the pages of a segment, or of one thing in it, are: as the kernel says now for the mapping of this process. */
#define RING_PAGES_NODES 64

struct ring_pages {
    size_t struct_size;                         /* set by the caller to sizeof this struct */
    uint64_t bytes;                             /* all of it: the sum of the following */
    uint64_t node_bytes[RING_PAGES_NODES];      /* on each node */
    uint64_t node_huge_bytes[RING_PAGES_NODES]; /* of those: in pages larger than the ordinary ones */
    uint64_t elsewhere_bytes;                   /* on nodes with higher numbers */
    uint64_t absent_bytes;                      /* not in memory */
    uint64_t unknown_bytes;                     /* built without libnuma, or the kernel does not tell */
    uint64_t granule;                           /* bytes that always lie together: the size of the pages asked for */
    bool huge_known;                            /* false: the kernel, older than 6.7, does not tell node_huge_bytes */
    int asked;                                  /* a node, RING_NODE_INTERLEAVED, or RING_NODE_ANY */
    int node;                                   /* of all pages, RING_NODE_MIXED or RING_NODE_UNKNOWN */
    bool granted;                               /* all of it lies as asked; interleaved: even within one granule */
};

/* `name` NULL: of the whole segment but its reserve; what was asked for single rings in it does not count there. Asks
 * for each page: some 0.1 us for each. -EINVAL (struct_size), -ENOENT and what else names may cause, -EUCLEAN. */
RING_PUBLIC int ring_segment_pages(struct ring_segment *segment, const char *name, struct ring_pages *pages);

/* The node of a processor, for numa_node of options: of that on which the other side will run. RING_NODE_UNKNOWN: no
 * such processor, no NUMA, or built without libnuma. */
RING_PUBLIC int ring_node_of_cpu(int cpu);

/* ---- For the topologies. ---- */

struct ring_claim;

/* What a maker writes into its place before anybody can find it; `place` is zeroed for `control_bytes`. */
typedef void ring_place_filler(void *place, const void *options);

struct ring_place {
    uint64_t bytes;         /* a multiple of RING_LAYOUT_PAGE */
    uint64_t align;         /* where it begins in the segment: a power of two; 0: a multiple of RING_LAYOUT_PAGE */
    bool on_node;           /* false: its pages lie as the segment's do */
    int node;               /* else a node, RING_NODE_HERE, RING_NODE_INTERLEAVED or RING_NODE_ANY: as the segment's */
    uint64_t control_bytes; /* of those, the first so many are zeroed */
    ring_place_filler *fill;
    const void *options;
    unsigned generation; /* as in ring_entry_info */
    unsigned stem;
};

/* Puts a new thing of that kind into the segment and its directory: complete, or not at all. -EEXIST, -ENOSPC,
 * -EINVAL and -ENAMETOOLONG (name), -EINVAL (node), -EBUSY (somebody paused holds the directory's lock for over 5 s).
 * A node that cannot be had: with RING_STRICT -EOPNOTSUPP (no such node, or it has no memory), -ENOMEM (full) or -EXDEV
 * (pages could not be moved); else the thing is made, and ring_segment_pages() tells where. */
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
