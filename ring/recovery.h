/* recovery.h - level 7: mending at once whatever the dead left in a segment.
 *
 * Nobody needs to call this: each call mends by itself what stands in its way, and takes what can be delivered again.
 * It is for supervisors that saw a process die and do not want to wait for the next call of another, and for tools. May
 * be called at any time, by any number of threads and processes; the living are not disturbed.
 */
#ifndef RING_RECOVERY_H
#define RING_RECOVERY_H

#include <stddef.h>

#include <ring/segment.h>

RING_BEGIN_C

struct ring_recovery {
    size_t struct_size;       /* set by the caller to sizeof this struct */
    unsigned rings;           /* looked at: those whose participants can leave something unfinished */
    unsigned skipped;         /* positions that dead producers had claimed and not filled: passed over from now on */
    unsigned freed;           /* such, that consumers died on: free again */
    unsigned waiting;         /* messages that dead consumers had taken: the next consumer to look gets them, flagged */
    unsigned pending;         /* positions left alone, because somebody living is at work on them */
    uint64_t blocks_freed;    /* blocks that the dead had owned or kept: free again */
    uint64_t blocks_stranded; /* blocks in transit whose sender is gone, the first time they are found */
    uint64_t pieces_freed;    /* pieces of heaps that the dead had allocated and not kept: free again */
};

/* 0; -EUCLEAN: a ring is damaged (the others are mended all the same); -EINVAL, -ECHILD. report may be NULL. */
RING_PUBLIC int ring_segment_recover(struct ring_segment *segment, struct ring_recovery *report);

/* Frees the blocks of a pool that are in transit for nobody: their sender died or left, and no message that is still in
 * a ring of this segment names them, so nobody can ever accept them. *freed (may be NULL) tells how many.
 *
 * That is only so where every receiver peeks a message, accepts its blocks, and only then releases it; and where a
 * handle stands in the message itself, at a multiple of 8 bytes from its begin, in a ring of the same segment. It is up
 * to the caller to know that; elsewhere a block may be freed that somebody was about to accept, who then gets -ESTALE.
 * Nothing calls this by itself. Takes a seat of the pool meanwhile: -EUSERS if none is free; -EAGAIN: a ring is too
 * much in motion to be looked through; -ENOENT, -EINVAL, -EACCES, -EUCLEAN, -ENOMEM. */
RING_PUBLIC int ring_segment_recover_stranded(struct ring_segment *segment, const char *pool, uint64_t *freed);

RING_END_C

#endif
