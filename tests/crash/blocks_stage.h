/* blocks_stage.h - a pool of blocks and a heap to be killed at. */
#ifndef BLOCKS_STAGE_H
#define BLOCKS_STAGE_H

#include "crash.h"

enum { STAGE_BLOCKS = 6, STAGE_BLOCK = 64, STAGE_CACHE = 2, STAGE_HEAP = 4096, STAGE_PIECE = 640 };

extern const struct topology blocks_topology, heap_topology;

/* In the account of a victim: what it has, so that survivors know what to expect. */
struct stage_notes {
    uint64_t handle; /* of the block, or reference of the piece, that the act is about; 0: none yet */
    uint64_t done;   /* 1: the call had returned */
};

static inline struct stage_notes *stage_notes_of(unsigned victim)
{
    return (struct stage_notes *)(void *)stage.accounts[victim].buffer;
}

/* What survivors left for the victim, in its account: a block in transit, a piece. */
extern uint64_t stage_given;

#endif
