/* segment_private.h - level 4, private: what the rooms above segment.c may see of a segment handle, and what its own
 * files share. */
#ifndef RING_SEGMENT_PRIVATE_H
#define RING_SEGMENT_PRIVATE_H

#include <pthread.h>

#include <ring/layout.h>
#include <ring/liveness.h>
#include <ring/memory.h>
#include <ring/process.h>
#include <ring/segment.h>

struct stat;
struct ring_blocks_users;

struct ring_segment {
    struct ring_memory memory;
    struct ring_witness witness;          /* where locks are taken and probed */
    struct ring_layout_segment constants; /* the first page as it was validated: the shared one is not read again */
    RING_ATOMIC(unsigned) users;          /* the handle and each endpoint; the last one unmaps */
    uint64_t process;                     /* that mapped it: a child after fork has no mapping */
    unsigned flags;
    struct ring_memory_object object;
    struct ring_claim *attached; /* a share of RING_LOCK_ATTACHED: somebody living holds this segment */
    struct ring_claim *making;   /* RING_LOCK_NAME while a signpost stands for nothing yet */
    bool creator;
    char name[RING_SEGMENT_NAME_MAX + 2];
    RING_ATOMIC(RING_ATOMIC(uint64_t) *) settled; /* of each entry whose pages were made anew: see allocator_pages.c */
    pthread_mutex_t rights_lock;
    struct ring_blocks_users *pool_users; /* of each entry: see blocks_rights.c */
};

/* 0, or why the handle cannot be used: -EINVAL NULL, -ECHILD in a child after fork. */
RING_PRIVATE int ring_segment_usable(const struct ring_segment *segment);

/* Keeps the mapping while an endpoint uses it. */
RING_PRIVATE void ring_segment_hold(struct ring_segment *segment);
RING_PRIVATE void ring_segment_drop(struct ring_segment *segment);

/* `value` up to a multiple of `to`; where the arena begins behind a directory of so many entries. */
RING_PRIVATE uint64_t ring_segment_round_up(uint64_t value, uint64_t to);
RING_PRIVATE uint64_t ring_segment_arena(unsigned entries);

/* Bytes of the reserve, at the end of the segment. */
RING_PRIVATE size_t ring_segment_reserve(const struct ring_layout_segment *first);

/* Name and start time (clock ticks after boot) of this process, for people to read. */
RING_PRIVATE void ring_segment_describe_self(char command[RING_LAYOUT_COMMAND], uint64_t *started);

/* ---- segment.c ---- */

RING_PRIVATE int ring_segment_check_options(const struct ring_segment_options *given,
                                            struct ring_segment_options *options);
RING_PRIVATE struct ring_memory_wish ring_segment_wish(const struct ring_segment_options *options);

/* A handle for an object, with where to find it again ("": nowhere). object->fd belongs to it from now on, and is
 * closed when this fails. */
RING_PRIVATE int ring_segment_handle(struct ring_segment **segment, const struct ring_memory_object *object,
                                     const char *path, const char *name, unsigned flags);
/* Takes the handle's share of RING_LOCK_ATTACHED. -EBUSY: somebody holds it alone. */
RING_PRIVATE int ring_segment_live(struct ring_segment *segment);
RING_PRIVATE void ring_segment_discard(struct ring_segment *segment);

/* ---- segment_check.c: may we trust our memory to it? ---- */

#define RING_SEGMENT_PATH 288

/* The start of a file as it was read once: a segment's first page, or a signpost. */
union ring_segment_head {
    uint64_t magic;
    struct ring_layout_segment segment;
    struct ring_layout_signpost signpost;
};

/* Opens a file that may be a segment, with a sentence for every reason why not. A descriptor, or a negative errno. */
RING_PRIVATE int ring_segment_open_file(const char *path, bool read_only);

/* Is it a file of the right kind and owner? A memfd has no name to be checked. */
RING_PRIVATE int ring_segment_check_file(int fd, const char *path, unsigned flags, bool memfd, struct stat *file);
RING_PRIVATE int ring_segment_read_head(int fd, const char *path, union ring_segment_head *head);

/* Every field of a copy against what it must be, in an object of that size and mode. */
RING_PRIVATE int ring_segment_check_layout(const struct ring_layout_segment *first, uint64_t bytes, unsigned mode,
                                           const char *path);
RING_PRIVATE int ring_segment_check_signpost(const struct ring_layout_signpost *signpost, const struct stat *file,
                                             const char *path);

/* ---- segment_name.c: names, and how they go ---- */

/* The path at which a segment of that name and backing may lie; `index` counts the candidates from 0. -ENOENT: there
 * are no more. Other errors: the name is none, or such a backing has no names. */
RING_PRIVATE int ring_segment_path(const char *name, const struct ring_segment_options *options, unsigned index,
                                   char path[RING_SEGMENT_PATH]);

/* The System V key that the options ask for; 0: none in particular. */
RING_PRIVATE int ring_segment_key(const struct ring_segment_options *options, int32_t *key);

/* Removes the name at witness->path if nobody living holds the segment. 0: it is gone. -EBUSY: it is held. -EAGAIN:
 * somebody else is at it just now. */
RING_PRIVATE int ring_segment_reclaim(struct ring_witness *witness);

/* Takes the name away, whoever holds the segment. -ENOENT: it has no such name any more. */
RING_PRIVATE int ring_segment_remove(struct ring_witness *witness);

/* Makes room for a new segment: 0 if the name is free (now), else -EEXIST with the story of what has it. `look`: only
 * tells whether that would work, and removes nothing. */
RING_PRIVATE int ring_segment_make_way(const char *path, unsigned flags, bool look);

RING_PRIVATE struct ring_witness ring_segment_witness(int fd, const char *path, bool read_only);

/* ---- segment_system_v.c ---- */

/* Gives a System V segment its signpost, which has the name from then on; then its memory; see there. */
RING_PRIVATE int ring_system_v_signpost(struct ring_segment *segment, const struct ring_segment_options *options,
                                        size_t bytes);
RING_PRIVATE int ring_system_v_make(struct ring_segment *segment, const struct ring_memory_rights *rights);
/* Undoes both, as long as it was not published. */
RING_PRIVATE void ring_system_v_abandon(struct ring_segment *segment);
RING_PRIVATE int ring_system_v_publish(struct ring_segment *segment);
/* The object that a signpost tells of. -ENOENT: it is still being made, or gone. */
RING_PRIVATE int ring_system_v_find(struct ring_memory_object *object, const struct ring_layout_signpost *signpost,
                                    const struct stat *file, const char *path);
/* A copy of what a System V segment begins with; false: it cannot be read, or is none of ours. */
RING_PRIVATE bool ring_system_v_head(int id, struct ring_layout_segment *head);
/* Is the memory still there? */
RING_PRIVATE bool ring_system_v_lives(const struct ring_layout_signpost *signpost);
/* Removes the memory, if it is the signpost's. */
RING_PRIVATE void ring_system_v_remove(const struct ring_layout_signpost *signpost, const struct stat *file);

#endif
