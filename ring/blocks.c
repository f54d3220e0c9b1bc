/* blocks.c - level 6: pools of blocks: who has which block, and how it changes hands. docs/blocks.md has the proof.
 *
 * Each block has one word: generation, seat, state. It is the only truth about whose the block is:
 *
 *   FREE(g) -> CACHED(s, g)      by s: compare-and-swap (K3)
 *   CACHED(s, g) -> OWNED(s, g)  by s: a store (K1): allocated
 *   OWNED(s, g) -> CACHED(s, g+1)  by s: a store (K2): freed; the handle of g fits no more
 *   CACHED(s, g) -> FREE(g)      by s: a store (K4)
 *   OWNED(s, g) -> PASSED(s, g)  by s: a store (K6)
 *   PASSED(s, g) -> OWNED(r, g), CACHED(r, g+1)  by any r: compare-and-swap (K6)
 *   OWNED(s, g) -> OWNED(r, g), CACHED(r, g+1)   by r, if s is dead: compare-and-swap (K7)
 *   OWNED(s, g), CACHED(s, g) -> FREE(g+1)       by anybody, if s is dead: compare-and-swap (K7)
 *   PASSED(s, g) -> PASSED(nobody, g)            the same
 *
 * CACHED and OWNED are changed by their living seat alone, so it needs no locked instruction: allocate and free of one
 * participant are a store each. What a death leaves is in the words, so it is found by looking at them; that s is dead
 * is proved by its lock, asked for after the word was read: a new holder of the seat changes all words of its
 * predecessor before it makes any of its own, and no word of s comes back (generation, hop), so the compare-and-swap
 * fails if the death was of somebody else. Hops count changes of hands, since the generation stays.
 *
 * The cache is a private array of handles: it repeats what the words say, and is trusted more than they: whatever a
 * hostile peer writes into a word, this participant hands out blocks it took itself, at addresses it computed itself.
 */
#include <ring/blocks_private.h>

#include <errno.h>

#include <ring/clock.h>
#include <ring/error.h>

enum { ATTEMPTS = 64 }; /* of a compare-and-swap that only a hostile peer makes fail so often */

#define LOOK_EACH_NS INT64_C(50000)

/* ---- Allocating and freeing ---- */

/* At once when nothing is free, then now and then: it asks the kernel, and others wait for a block in a loop. */
static bool is_time_to_mend(struct ring_blocks *blocks)
{
    int64_t now = ring_clock_monotonic();
    if (blocks->looked_ns && now - blocks->looked_ns < LOOK_EACH_NS)
        return false;
    blocks->looked_ns = now;
    return true;
}

int ring_block_allocate_slowly(struct ring_blocks *blocks, size_t bytes, uint64_t *handle, void **address)
{
    const struct ring_blocks_view *view = &blocks->view;
    struct ring_blocks_cache *cache = blocks->caches;
    if (!handle || !address)
        return ring_error(-EINVAL, "the place for the handle or the address is NULL");
    while (bytes > cache->block_bytes)
        cache++;
    unsigned at = (unsigned)(cache - blocks->caches);
    if (at >= view->class_count)
        return -EMSGSIZE;
    if (blocks->rights == RING_BLOCKS_READ)
        return ring_error(-EACCES, "this handle was opened for reading: what it allocates it could not fill");
    const struct ring_blocks_row *row = &view->rows[at];
    unsigned want = cache->limit / 2 + 1;
    unsigned count = ring_blocks_take(view, row, blocks->me, want, cache->handles);
    if (count == 0 && is_time_to_mend(blocks)) {
        ring_blocks_mend(view, NULL);
        count = ring_blocks_take(view, row, blocks->me, want, cache->handles);
    }
    if (count == 0)
        return -ENOSPC;
    blocks->looked_ns = 0;
    uint64_t taken = cache->handles[count - 1];
    uint64_t number = (taken & RING_BLOCK_NUMBER) - 1;
    int code = ring_blocks_allow(blocks, number, true);
    if (code) {
        ring_blocks_give(view, row, cache->handles, count);
        return code;
    }
    count--;
    cache->top = cache->handles + count;
    ring_atomic_store(&view->words[number], ring_block_owned_word(taken, blocks->me), memory_order_relaxed); /* K1 */
    __atomic_thread_fence(__ATOMIC_RELEASE);                                                                 /* K9 */
    *handle = taken;
    *address = ring_block_at(cache, number);
    return 0;
}

void ring_block_spill(struct ring_blocks *blocks, struct ring_blocks_cache *cache)
{
    unsigned keep = cache->limit / 2;
    unsigned spilled = (unsigned)(cache->top - cache->handles) - keep;
    uint64_t handles[RING_BLOCK_CACHE_MOST + 1]; /* the oldest: the newest are still in this processor's cache */
    memcpy(handles, cache->handles, spilled * sizeof handles[0]);
    memmove(cache->handles, cache->handles + spilled, keep * sizeof handles[0]);
    cache->top = cache->handles + keep;
    ring_blocks_give(&blocks->view, &blocks->view.rows[cache - blocks->caches], handles, spilled);
}

/* The block is CACHED by us, by a compare-and-swap: into the array with it. */
static void keep(struct ring_blocks *blocks, uint64_t handle)
{
    struct ring_blocks_cache *cache = ring_block_cache_of(blocks, (handle & RING_BLOCK_NUMBER) - 1);
    *cache->top++ = handle;
    if (cache->top > cache->full)
        ring_block_spill(blocks, cache);
}

/* ---- What is wrong with a handle ---- */

static int explain_word(const struct ring_blocks *blocks, uint64_t handle, uint64_t word)
{
    unsigned number = (unsigned)(handle & RING_BLOCK_NUMBER);
    uint64_t state = word & RING_BLOCK_STATE;
    if (!ring_block_same_generation(word, handle) || state == RING_BLOCK_FREE || state == RING_BLOCK_CACHED)
        return ring_error(-ESTALE,
                          "handle %#llx: block %u was freed since (a stale handle, or freed twice), or the handle is "
                          "of another pool",
                          (unsigned long long)handle, number);
    if (state == RING_BLOCK_PASSED)
        return ring_error(-EALREADY, "handle %#llx: block %u is in transit already", (unsigned long long)handle,
                          number);
    if (state != RING_BLOCK_OWNED)
        return ring_error(-EUCLEAN, "the word of block %u is damaged", number);
    if ((word & RING_BLOCK_SEATS) == blocks->me)
        return ring_error(-EALREADY, "handle %#llx: block %u belongs to this participant already",
                          (unsigned long long)handle, number);
    return ring_error(-EPERM, "handle %#llx: block %u belongs to participant %u, which lives",
                      (unsigned long long)handle, number, ring_block_seat_of(word));
}

static int explain_number(const struct ring_blocks *blocks, uint64_t handle)
{
    if (!blocks->view.total)
        return ring_error(-EBADF, "this pool's handle is not open");
    return ring_error(-EINVAL, "%#llx is no handle of this pool: its blocks are 1 to %llu", (unsigned long long)handle,
                      (unsigned long long)blocks->view.total);
}

/* ---- Changing hands ---- */

/* Takes a block in transit, or of a dead owner: by compare-and-swap, to `ours` of the word as it was found. 0,
 * -EALREADY (it is ours), -ESTALE, -EPERM, -EUCLEAN. `free`: to CACHED of the next generation, else to OWNED. */
static int take_over(struct ring_blocks *blocks, uint64_t handle, bool free)
{
    const struct ring_blocks_view *view = &blocks->view;
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t word = ring_atomic_load(&view->words[number], memory_order_acquire); /* K7: before the probe */
        uint64_t state = word & RING_BLOCK_STATE;
        unsigned seat = ring_block_seat_of(word);
        bool owned_by_another = state == RING_BLOCK_OWNED && (word & RING_BLOCK_SEATS) != blocks->me;
        if (!ring_block_same_generation(word, handle) || (state != RING_BLOCK_PASSED && !owned_by_another))
            return explain_word(blocks, handle, word);
        if (owned_by_another && seat >= view->seat_count)
            return ring_error(-EUCLEAN, "the word of block %llu is damaged", (unsigned long long)number + 1);
        if (owned_by_another && ring_blocks_is_living(view, seat))
            return explain_word(blocks, handle, word);
        uint64_t hopped = (word & ~RING_BLOCK_NUMBER) | ((word + RING_BLOCK_HOP) & RING_BLOCK_HOPS);
        uint64_t ours =
            blocks->me | (free ? ring_block_next_generation(word) | RING_BLOCK_CACHED : hopped | RING_BLOCK_OWNED);
        /* K6, K7: acq_rel, pairs with K6 of who passed it: the contents come with it; one taker wins. */
        if (atomic_compare_exchange_strong_explicit(&view->words[number], &word, ours, memory_order_acq_rel,
                                                    memory_order_acquire))
            return 0;
    }
    return ring_error(-EUCLEAN, "the word of block %llu does not come to rest", (unsigned long long)number + 1);
}

/* The hot path saw that the word is not that of an owned block. */
int ring_block_free_slowly(struct ring_blocks *blocks, uint64_t handle, uint64_t word)
{
    if (!ring_block_same_generation(word, handle))
        return explain_word(blocks, handle, word);
    int code = take_over(blocks, handle, true);
    if (code)
        return code;
    keep(blocks, handle + (UINT64_C(1) << RING_BLOCK_GENERATION));
    return 0;
}

/* Of a handle that may write only what it owns; or there is no block of that number. */
int ring_block_free_otherwise(struct ring_blocks *blocks, uint64_t handle)
{
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    if (number >= blocks->view.total)
        return explain_number(blocks, handle);
    uint64_t word = ring_atomic_load(&blocks->view.words[number], memory_order_relaxed); /* K1: our own */
    if ((word & ~RING_BLOCK_HOPS) != ring_block_owned_word(handle, blocks->me))
        return ring_block_free_slowly(blocks, handle, word);
    int code = ring_blocks_allow(blocks, number, false);
    if (code)
        return code;
    uint64_t next = handle + (UINT64_C(1) << RING_BLOCK_GENERATION);
    ring_atomic_store(&blocks->view.words[number], (next & ~RING_BLOCK_NUMBER) | blocks->me | RING_BLOCK_CACHED,
                      memory_order_release); /* K2 */
    keep(blocks, next);
    return 0;
}

bool ring_blocks_free_stranded(struct ring_blocks *blocks, uint64_t number, uint64_t word)
{
    uint64_t ours = ring_block_next_generation(word) | blocks->me | RING_BLOCK_CACHED;
    if (!atomic_compare_exchange_strong_explicit(&blocks->view.words[number], &word, ours, memory_order_acq_rel,
                                                 memory_order_relaxed)) /* K7 */
        return false;
    keep(blocks, ring_block_handle(ours, number));
    return true;
}

static void tell(const struct ring_blocks *blocks, uint64_t handle, void **address, size_t *bytes)
{
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    const struct ring_blocks_cache *cache = blocks->caches;
    while (number >= cache->end)
        cache++;
    if (address)
        *address = ring_block_at(cache, number);
    if (bytes)
        *bytes = cache->block_bytes;
}

/* The block is ours: into our hands with it, or on its way again. */
static int receive(struct ring_blocks *blocks, uint64_t number)
{
    int code = ring_blocks_allow(blocks, number, true);
    if (code) {
        uint64_t word = ring_atomic_load(&blocks->view.words[number], memory_order_relaxed); /* K1: our own */
        ring_atomic_store(&blocks->view.words[number], word - RING_BLOCK_OWNED + RING_BLOCK_PASSED,
                          memory_order_release); /* K6 */
    }
    return code;
}

int ring_block_accept(struct ring_blocks *blocks, uint64_t handle, void **address, size_t *bytes)
{
    int code = ring_guard_enter(&blocks->guarded);
    if (code)
        return code;
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    code = number < blocks->view.total ? take_over(blocks, handle, false) : explain_number(blocks, handle);
    if (code == 0)
        code = receive(blocks, number);
    if (code == 0 || code == -EALREADY)
        tell(blocks, handle, address, bytes);
    ring_guard_leave(&blocks->guarded);
    return code;
}

/* From now on the block is read-only here, if that is asked for, and then it is in transit, if `pass`. */
static int let_go(struct ring_blocks *blocks, uint64_t handle, bool pass)
{
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    if (number >= blocks->view.total)
        return explain_number(blocks, handle);
    uint64_t word = ring_atomic_load(&blocks->view.words[number], memory_order_relaxed); /* K1: our own */
    if ((word & ~RING_BLOCK_HOPS) != ring_block_owned_word(handle, blocks->me))
        return explain_word(blocks, handle, word);
    int code = ring_blocks_allow(blocks, number, false);
    if (!code && pass)
        /* K6: release: what we wrote into the block comes with it. */
        ring_atomic_store(&blocks->view.words[number], word - RING_BLOCK_OWNED + RING_BLOCK_PASSED,
                          memory_order_release);
    return code;
}

int ring_block_pass(struct ring_blocks *blocks, uint64_t handle)
{
    int code = ring_guard_enter(&blocks->guarded);
    if (code)
        return code;
    code = let_go(blocks, handle, true);
    ring_guard_leave(&blocks->guarded);
    return code;
}

int ring_block_finish(struct ring_blocks *blocks, uint64_t handle)
{
    int code = ring_guard_enter(&blocks->guarded);
    if (code)
        return code;
    code = let_go(blocks, handle, false);
    ring_guard_leave(&blocks->guarded);
    return code;
}

int ring_block_address(struct ring_blocks *blocks, uint64_t handle, void **address, size_t *bytes)
{
    int code = ring_guard_enter(&blocks->guarded);
    if (code)
        return code;
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    if (number < blocks->view.total) {
        uint64_t word = ring_atomic_load(&blocks->view.words[number], memory_order_acquire); /* K0: pairs with K6 */
        uint64_t owned = ring_block_owned_word(handle, blocks->me);
        bool passed = (word & RING_BLOCK_STATE) == RING_BLOCK_PASSED && ring_block_same_generation(word, handle);
        if (passed || (word & ~RING_BLOCK_HOPS) == owned)
            tell(blocks, handle, address, bytes);
        else
            code = explain_word(blocks, handle, word);
    } else {
        code = explain_number(blocks, handle);
    }
    ring_guard_leave(&blocks->guarded);
    return code;
}

/* ---- Lending ---- */

static int check_lent(const struct ring_blocks *blocks, uint64_t handle, uint64_t word)
{
    uint64_t state = word & RING_BLOCK_STATE;
    bool there = state == RING_BLOCK_OWNED || state == RING_BLOCK_PASSED;
    return there && ring_block_same_generation(word, handle) ? 0 : explain_word(blocks, handle, word);
}

int ring_block_look(const struct ring_blocks *blocks, uint64_t handle, const void **address, size_t *bytes)
{
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    if (number >= blocks->view.total)
        return explain_number(blocks, handle);
    int code = check_lent(blocks, handle, ring_atomic_load(&blocks->view.words[number], memory_order_acquire)); /* K0 */
    void *at = NULL;
    tell(blocks, handle, &at, bytes);
    if (address)
        *address = code ? NULL : at;
    return code;
}

int ring_block_check(const struct ring_blocks *blocks, uint64_t handle)
{
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    if (number >= blocks->view.total)
        return explain_number(blocks, handle);
    /* K9: acquire fence: what was read of the block was read before this look. Its next owner writes after K2 or K7. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return check_lent(blocks, handle, ring_atomic_load(&blocks->view.words[number], memory_order_relaxed));
}
