/* blocks_calls.c - the calls of pools of blocks and of heaps to be killed in; and those who mend, killed while they
 * mend. */
#include "blocks_stage.h"

static struct ring_segment *segment;
static struct ring_blocks blocks;
static struct ring_heap heap;
static uint64_t handles[STAGE_BLOCKS];

static void done(int64_t code)
{
    stage_account()->code = code;
    stage_notes_of(stage.me)->done = 1;
}

/* ---- Blocks ---- */

static void attach(void)
{
    segment = stage_attach();
}

static void open_blocks(void)
{
    attach();
    WANT_SAME(ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT), 0);
}

static void take(unsigned count)
{
    void *address;
    for (unsigned i = 0; i < count; i++) {
        WANT_SAME(ring_block_allocate(&blocks, 1, &handles[i], &address), 0);
        memcpy(address, "given", 6);
    }
}

static void open_with_cache(void)
{
    open_blocks();
    take(1);
    WANT_SAME(ring_block_free(&blocks, handles[0]), 0);
}

static void open_with_blocks(void)
{
    open_blocks();
    take(STAGE_CACHE + 1);
    stage_notes_of(stage.me)->handle = handles[0];
}

static void open_with_full_cache(void)
{
    open_with_blocks();
    for (unsigned i = 1; i <= STAGE_CACHE; i++)
        WANT_SAME(ring_block_free(&blocks, handles[i]), 0);
}

static void open_with_passed(void)
{
    open_with_blocks();
    WANT_SAME(ring_block_pass(&blocks, handles[0]), 0);
}

static void allocate_one(void)
{
    void *address;
    int code = ring_block_allocate(&blocks, 1, &handles[0], &address);
    stage_notes_of(stage.me)->handle = handles[0];
    done(code);
}

static void allocate_all(void)
{
    void *address;
    unsigned count = 0;
    while (count < STAGE_BLOCKS && ring_block_allocate(&blocks, 1, &handles[count], &address) == 0)
        count++;
    done(count);
}

static void free_one(void)
{
    done(ring_block_free(&blocks, handles[0]));
}

static void pass_one(void)
{
    done(ring_block_pass(&blocks, handles[0]));
}

static void take_back(void)
{
    done(ring_block_accept(&blocks, handles[0], NULL, NULL));
}

static void accept_one(void)
{
    int code = ring_block_accept(&blocks, stage_given, NULL, NULL);
    stage_account()->code = code;
}

static void free_in_transit(void)
{
    done(ring_block_free(&blocks, stage_given));
}

static void open_pool(void)
{
    done(ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT));
}

static void close_pool(void)
{
    done(ring_blocks_close(&blocks));
}

static void recover_pool(void)
{
    stage_account()->code = ring_segment_recover(segment, NULL);
}

static void recover_stranded(void)
{
    stage_account()->code = ring_segment_recover_stranded(segment, "pool", NULL);
}

#define BLOCKS .topology = &blocks_topology, .sizes = SMALL, .fillings = IN(EMPTY)

/* ---- The heap ---- */

static void open_heap(void)
{
    attach();
    WANT_SAME(ring_heap_open(&heap, segment, "heap", RING_NO_WAIT), 0);
}

static void open_with_piece(void)
{
    open_heap();
    WANT_SAME(ring_heap_allocate(&heap, 200, &handles[0], RING_NO_WAIT), 0);
    stage_notes_of(stage.me)->handle = handles[0];
}

static void heap_allocate(void)
{
    int code = ring_heap_allocate(&heap, 200, &handles[0], RING_NO_WAIT);
    stage_account()->code = code;
}

static void heap_allocate_too_much(void)
{
    stage_account()->code = ring_heap_allocate(&heap, STAGE_HEAP, &handles[0], RING_NO_WAIT);
}

static void heap_free(void)
{
    stage_account()->code = ring_heap_free(&heap, stage_given, RING_NO_WAIT);
}

static void heap_free_own(void)
{
    stage_account()->code = ring_heap_free(&heap, handles[0], RING_NO_WAIT);
}

static void nothing(void)
{
}

static void heap_set_root(void)
{
    done(ring_heap_set_root(&heap, 5, handles[0], RING_NO_WAIT));
}

static void heap_open(void)
{
    stage_account()->code = ring_heap_open(&heap, segment, "heap", LONG);
}

static void heap_close(void)
{
    stage_account()->code = ring_heap_close(&heap);
}

static void heap_recover(void)
{
    stage_account()->code = ring_heap_recover(&heap, NULL, LONG);
}

#define HEAP .topology = &heap_topology, .sizes = SMALL, .fillings = IN(EMPTY)

const struct row blocks_rows[] = {
    { "block allocate", BLOCKS, .prepare = open_with_cache, .act = allocate_one, .detail = "from the cache" },
    { "block allocate", BLOCKS, .prepare = open_blocks, .act = allocate_one, .detail = "from the stock" },
    { "block allocate", BLOCKS, .prepare = open_blocks, .act = allocate_all, .code = STAGE_BLOCKS, .detail = "all" },
    { "block free", BLOCKS, .prepare = open_with_blocks, .act = free_one, .detail = "to the cache" },
    { "block free", BLOCKS, .prepare = open_with_full_cache, .act = free_one, .detail = "to the stock" },
    { "block free", BLOCKS, .prepare = open_blocks, .act = free_in_transit, .flags = TAKES | IN_FLUX,
      .detail = "in transit" },
    { "block pass", BLOCKS, .prepare = open_with_blocks, .act = pass_one, .flags = IN_FLUX },
    { "block accept", BLOCKS, .prepare = open_blocks, .act = accept_one, .flags = TAKES | IN_FLUX | EACH },
    { "block accept", BLOCKS, .prepare = open_with_passed, .act = take_back, .flags = IN_FLUX, .detail = "takes back" },
    { "blocks open", BLOCKS, .prepare = attach, .act = open_pool },
    { "blocks open", BLOCKS, .first_prepare = open_with_blocks, .first = free_one, .prepare = attach, .act = open_pool,
      .detail = "in the seat of a dead one" },
    { "blocks close", BLOCKS, .prepare = open_with_full_cache, .act = close_pool, .detail = "with blocks and a cache" },
    { "blocks recover", BLOCKS, .first_prepare = open_with_full_cache, .first = free_one, .prepare = attach,
      .act = recover_pool, .flags = IDLE, .detail = "after one who freed" },
    { "blocks recover", BLOCKS, .first_prepare = open_blocks, .first = allocate_one, .prepare = attach,
      .act = recover_pool, .rival_prepare = attach, .rival = recover_pool, .flags = IDLE, .detail = "two at once" },
    { "blocks recover", BLOCKS, .first_prepare = open_with_passed, .first = close_pool, .prepare = attach,
      .act = recover_stranded, .flags = IDLE | IN_FLUX, .detail = "in transit for nobody" },
    { "heap allocate", HEAP, .prepare = open_heap, .act = heap_allocate },
    { "heap allocate", HEAP, .prepare = open_heap, .act = heap_allocate_too_much, .code = -ENOSPC,
      .detail = "refused" },
    { "heap free", HEAP, .prepare = open_heap, .act = heap_free, .detail = "beside a piece in use" },
    { "heap free", HEAP, .prepare = open_with_piece, .act = heap_free_own, .detail = "between free ones" },
    { "heap set_root", HEAP, .prepare = open_with_piece, .act = heap_set_root, .flags = IN_FLUX },
    { "heap open", HEAP, .first_prepare = open_with_piece, .first = nothing, .prepare = attach, .act = heap_open,
      .detail = "in the seat of a dead one" },
    { "heap close", HEAP, .prepare = open_with_piece, .act = heap_close },
    { "heap recover", HEAP, .first_prepare = open_with_piece, .first = heap_free_own, .prepare = open_heap,
      .act = heap_recover, .flags = IDLE },
};
const size_t blocks_row_count = sizeof blocks_rows / sizeof blocks_rows[0];
