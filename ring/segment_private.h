/* segment_private.h - level 4, private: what the rooms above segment.c may see of a segment handle. */
#ifndef RING_SEGMENT_PRIVATE_H
#define RING_SEGMENT_PRIVATE_H

#include <ring/layout.h>
#include <ring/liveness.h>
#include <ring/memory.h>
#include <ring/segment.h>

struct ring_segment {
    struct ring_memory memory;
    struct ring_witness witness;          /* where locks are taken and probed */
    struct ring_layout_segment constants; /* the first page as it was validated: the shared one is not read again */
    RING_ATOMIC(unsigned) users;          /* the handle and each endpoint; the last one unmaps */
    pid_t pid;                            /* of the process that mapped it: a child after fork has no mapping */
    unsigned flags;
    char name[RING_SEGMENT_NAME_MAX + 2];
};

/* 0, or why the handle cannot be used: -EINVAL NULL, -ECHILD in a child after fork. */
RING_PRIVATE int ring_segment_usable(const struct ring_segment *segment);

/* Keeps the mapping while an endpoint uses it. */
RING_PRIVATE void ring_segment_hold(struct ring_segment *segment);
RING_PRIVATE void ring_segment_drop(struct ring_segment *segment);

/* `value` up to a multiple of `to`; where the arena begins behind a directory of so many entries. */
RING_PRIVATE uint64_t ring_segment_round_up(uint64_t value, uint64_t to);
RING_PRIVATE uint64_t ring_segment_arena(unsigned entries);

/* Opens a segment's file, with a sentence for every reason why not; the second also validates file and first page, and
 * returns a copy of that page. A descriptor, or a negative errno. */
RING_PRIVATE int ring_segment_open_file(const char *path, bool read_only);
RING_PRIVATE int ring_segment_open_checked(const char *path, unsigned flags, struct ring_layout_segment *first);

/* Name and start time (clock ticks after boot) of this process, for people to read. */
RING_PRIVATE void ring_segment_describe_self(char command[RING_LAYOUT_COMMAND], uint64_t *started);

#endif
