/* blocks_stage.c - a pool of blocks and a heap with a survivor, and what that does after a death.
 *
 * Whatever a victim was at, after its death all blocks must be there, each once; and the heap must be whole, with no
 * piece but those that were kept. IN_FLUX: the act is about a block in transit, or a root.
 * EACH: a message that comes again must find its block. */
#include "blocks_stage.h"

static struct survivor {
    struct ring_blocks blocks;
    struct ring_heap heap;
} survivor, kept;
uint64_t stage_given;

static bool flagged(unsigned flag)
{
    return (stage.row->flags & flag) != 0;
}

static void keep(bool put_back)
{
    if (put_back)
        survivor = kept;
    else
        kept = survivor;
}

/* ---- Blocks ---- */

static void build_blocks(void)
{
    struct ring_blocks_options options = ring_blocks_defaults(STAGE_BLOCK, STAGE_BLOCKS);
    void *address;
    options.seats = 4;
    options.cache = STAGE_CACHE;
    options.start_generation = (UINT64_C(1) << 40) - 2; /* comes round */
    WANT_SAME(ring_blocks_create_with(stage.segment, "pool", &options), 0);
    WANT_SAME(ring_blocks_open(&survivor.blocks, stage.segment, "pool", RING_NO_WAIT), 0);
    stage_given = RING_BLOCK_NONE;
    if (flagged(TAKES)) { /* the victim accepts a block of ours, whose number is in the account of nobody */
        WANT_SAME(ring_block_allocate(&survivor.blocks, 1, &stage_given, &address), 0);
        memcpy(address, "given", 6);
        WANT_SAME(ring_block_pass(&survivor.blocks, stage_given), 0);
    }
}

/* Takes all that can be had, each once; how many. They are freed again. */
static unsigned take_all(void)
{
    uint64_t handles[STAGE_BLOCKS + 1];
    void *address;
    unsigned count = 0;
    while (count <= STAGE_BLOCKS && ring_block_allocate(&survivor.blocks, 1, &handles[count], &address) == 0) {
        *(uint64_t *)address = handles[count];
        for (unsigned i = 0; i < count; i++)
            WANT((handles[i] & RING_BLOCK_NUMBER) != (handles[count] & RING_BLOCK_NUMBER));
        count++;
    }
    for (unsigned i = 0; i < count; i++)
        WANT_SAME(ring_block_free(&survivor.blocks, handles[i]), 0);
    return count;
}

/* A block that may be in transit: whoever has its handle gets it, or it is free. */
static void settle_transit(uint64_t handle, bool recovered)
{
    void *address;
    int code = ring_block_accept(&survivor.blocks, handle, &address, NULL);
    WANT(code == 0 || code == -ESTALE);
    if (flagged(EACH) && !recovered) /* whether it was accepted by the dead or not */
        WANT_SAME(code, 0);
    if (code == 0) {
        WANT(memcmp(address, "given", 6) == 0);
        WANT_SAME(ring_block_free(&survivor.blocks, handle), 0);
        WANT_SAME(ring_block_free(&survivor.blocks, handle), -ESTALE);
    }
}

static void recover_blocks(unsigned way)
{
    struct ring_blocks_info info = { .struct_size = sizeof info };
    uint64_t handle = flagged(TAKES) ? stage_given : RING_BLOCK_NONE, freed;
    for (unsigned i = 0; i < VICTIMS && !handle; i++)
        handle = stage_notes_of(i)->handle;
    survivor.blocks.looked_ns = 0;
    if (way == 1)
        WANT_SAME(ring_segment_recover(stage.segment, NULL), 0);
    if (flagged(IN_FLUX) && handle && way != 2)
        settle_transit(handle, way == 1);
    if (way == 2) { /* the next one in its seat; the block in transit is named by no message */
        struct ring_blocks next;
        WANT_SAME(ring_blocks_open(&next, stage.segment, "pool", RING_NO_WAIT), 0);
        WANT_SAME(ring_blocks_close(&next), 0);
    }
    unsigned count = take_all();
    if (way == 2 && count < STAGE_BLOCKS) {
        WANT(flagged(IN_FLUX) && count == STAGE_BLOCKS - 1);
        if (stage_given)
            WANT_SAME(ring_block_free(&survivor.blocks, stage_given), 0); /* its sender lives */
        else
            WANT_SAME(ring_segment_recover_stranded(stage.segment, "pool", &freed), 0);
        count = take_all();
    }
    WANT_SAME(count, STAGE_BLOCKS);
    for (uint64_t further = 0; further < stage.further / 100; further++)
        WANT_SAME(take_all(), STAGE_BLOCKS);
    WANT_SAME(ring_blocks_info(stage.segment, "pool", &info), 0);
    WANT(!info.damaged && info.dead == 0 && info.classes[0].owned == 0 && info.classes[0].passed == 0);
}

/* The victim lives: what it has stays its own. */
static void paused_blocks(void)
{
    struct ring_blocks_info before = { .struct_size = sizeof before }, after = before;
    WANT_SAME(ring_segment_recover(stage.segment, NULL), 0); /* a first victim's are free now */
    WANT_SAME(ring_blocks_info(stage.segment, "pool", &before), 0);
    WANT(take_all() + before.classes[0].owned + before.classes[0].passed <= STAGE_BLOCKS);
    WANT_SAME(ring_blocks_info(stage.segment, "pool", &after), 0);
    WANT_SAME(after.classes[0].owned, before.classes[0].owned);
}

const struct topology blocks_topology = {
    .bytes = 64 << 10,
    .build = build_blocks,
    .keep = keep,
    .paused = paused_blocks,
    .recover = recover_blocks,
    .ways = 3,
};

/* ---- The heap ---- */

static void build_heap(void)
{
    struct ring_heap_options options = ring_heap_defaults(STAGE_HEAP);
    uint64_t pieces[4];
    options.seats = 4;
    WANT_SAME(ring_heap_create_with(stage.segment, "heap", &options), 0);
    WANT_SAME(ring_heap_open(&survivor.heap, stage.segment, "heap", RING_NO_WAIT), 0);
    /* Pieces, kept, with a hole between: for the neighbours of what the victim frees and allocates. */
    for (unsigned i = 0; i < 4; i++)
        WANT_SAME(ring_heap_allocate(&survivor.heap, i == 1 ? STAGE_PIECE : 100, &pieces[i], RING_NO_WAIT), 0);
    for (unsigned i = 0; i < 4; i += 2)
        WANT_SAME(ring_heap_keep(&survivor.heap, pieces[i], RING_NO_WAIT), 0);
    WANT_SAME(ring_heap_free(&survivor.heap, pieces[1], RING_NO_WAIT), 0);
    stage_given = pieces[3];
}

/* Pieces in use, as counted by one who walks the heap. */
static uint64_t pieces_in_use(void)
{
    struct ring_heap_info info = { .struct_size = sizeof info };
    WANT_SAME(ring_heap_check(&survivor.heap, LONG), 0);
    WANT_SAME(ring_heap_info(stage.segment, "heap", &info), 0);
    return info.pieces;
}

static void recover_heap(unsigned way)
{
    uint64_t more[8], count = 0, given = ring_heap_address(&survivor.heap, stage_given) != NULL;
    uint64_t root = ring_heap_root(&survivor.heap, 5);
    if (way == 1)
        WANT_SAME(ring_segment_recover(stage.segment, NULL), 0);
    if (way == 2) {
        struct ring_heap next;
        WANT_SAME(ring_heap_open(&next, stage.segment, "heap", LONG), 0);
        WANT_SAME(ring_heap_close(&next), 0);
    }
    pieces_in_use();
    WANT_SAME(ring_heap_recover(&survivor.heap, NULL, LONG), 0);
    /* Two are kept, one is ours unless the victim freed it, and one may have become a root. */
    root = ring_heap_root(&survivor.heap, 5);
    given = ring_heap_address(&survivor.heap, stage_given) != NULL;
    WANT_SAME(pieces_in_use(), 2 + given + (root != RING_HEAP_NONE));
    WANT(root == RING_HEAP_NONE || ring_heap_size(&survivor.heap, root) >= 200);
    if (stage_notes_of(0)->done && flagged(IN_FLUX))
        WANT(root == stage_notes_of(0)->handle);
    for (uint64_t further = 0; further < stage.further / 100; further++) {
        for (count = 0; count < 8 && !ring_heap_allocate(&survivor.heap, 64 + count * 90, &more[count], LONG); count++)
            continue;
        WANT(count > 3);
        while (count)
            WANT_SAME(ring_heap_free(&survivor.heap, more[--count], LONG), 0);
    }
    WANT_SAME(pieces_in_use(), 2 + given + (root != RING_HEAP_NONE));
}

/* The victim lives: if it has the lock it is waited for, up to the time limit; if not, we go on. */
static void paused_heap(void)
{
    struct ring_heap_info info = { .struct_size = sizeof info };
    uint64_t piece;
    WANT_SAME(ring_heap_info(stage.segment, "heap", &info), 0);
    int code = ring_heap_allocate(&survivor.heap, 64, &piece, 100000);
    WANT(code == 0 || (code == -ETIMEDOUT && info.locked)); /* a first victim may have it, who is dead */
    if (code == 0)
        WANT_SAME(ring_heap_free(&survivor.heap, piece, RING_NO_WAIT), 0);
    WANT_SAME(ring_segment_recover(stage.segment, NULL), 0);
}

const struct topology heap_topology = {
    .bytes = 64 << 10,
    .build = build_heap,
    .keep = keep,
    .paused = paused_heap,
    .recover = recover_heap,
    .ways = 3,
};
