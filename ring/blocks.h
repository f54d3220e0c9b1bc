/* blocks.h - level 6: pools of fixed-size blocks in a segment, for payloads that are not to be copied: allocate one,
 * fill it in place, send its handle through any ring; the receiver reads it in place and frees it. Lock-free, and safe
 * against the death of any participant at any instruction. docs/blocks.md has the proof, docs/memory_ordering.md the
 * labels K0..K9.
 *
 * A handle is 64 bits and means the same in every process. It carries a generation: after the block was freed it fits
 * no more (-ESTALE), so a stale handle and a double free are detected. The generation has 40 bits and comes round.
 *
 * Whose is a block?
 *   allocate -> owned by this participant. If it dies, or closes, the block is free again.
 *   pass     -> in transit: nobody's. Nobody's death takes it; whoever accepts it, or frees it, has it. Pass before
 *               sending: passing is the last the sender does to the block.
 *   accept   -> owned by the receiver.
 *   free     -> by its owner, or in transit by anybody.
 * To lose no block by a death between receiving and accepting: peek the message, accept, then release the message; or,
 * to have the work done at least once, peek, work on the block in transit (ring_block_address), free, release; a
 * redelivered message whose handle is stale tells that the work was done. Through a broadcast ring handles are lent,
 * not passed: the sender stays the owner, receivers look (ring_block_look) and check after reading (ring_block_check).
 * ring_segment_recover() finds blocks in transit whose message is lost, see recovery.h.
 *
 * Who may call what: a handle (struct ring_blocks) belongs to one thread at a time, as of mpmc.h: -EBUSY, -ECHILD,
 * -EBADF. ring_block_look and ring_block_check may be called by any thread beside it.
 */
#ifndef RING_BLOCKS_H
#define RING_BLOCKS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ring/guard.h>
#include <ring/layout_blocks.h>
#include <ring/message.h>
#include <ring/segment.h>

RING_BEGIN_C

#define RING_BLOCK_NONE           UINT64_C(0) /* never a handle */
#define RING_BLOCKS_DEFAULT_SEATS 16u
#define RING_BLOCKS_MAX_BYTES     ((size_t)1 << 40)
#define RING_BLOCKS_MAX_ALIGN     ((size_t)1 << 30)

/* ---- Setting up. 0 or -errno, with ring_error_detail(). ---- */

struct ring_blocks_class {
    size_t block_bytes; /* 1 .. RING_BLOCKS_MAX_BYTES, each class larger than the one before */
    size_t count;       /* 1 .., RING_BLOCK_MOST over all classes */
};

struct ring_blocks_options {
    size_t struct_size;
    struct ring_blocks_class classes[RING_BLOCK_CLASSES];
    unsigned class_count; /* 1 .. RING_BLOCK_CLASSES */
    unsigned seats;       /* participants at a time, 1 .. RING_BLOCK_SEATS_MOST */
    unsigned cache;       /* free blocks of a class that each may keep for itself, 0 .. RING_BLOCK_CACHE_MOST. The
                             default keeps up to 32, but all participants together no more than half of them */
    uint64_t
        start_generation; /* for tests of the arithmetic; 0: by the clock, so that other pools' handles do not fit */
    int numa_node; /* for its pages: RING_NODE_ANY (as the segment's), a node, RING_NODE_HERE (of the calling thread),
                      RING_NODE_INTERLEAVED. RING_STRICT refuses what cannot be had */
    size_t align;  /* where blocks begin in the segment, and their distance: multiples of this power of two, 4096 ..
                      RING_BLOCKS_MAX_ALIGN. 0: of 64, from blocks of 4096 bytes on of 4096. For rights, see below: the
                      size of the segment's pages */
};

/* One class of blocks. */
RING_INLINE struct ring_blocks_options ring_blocks_defaults(size_t block_bytes, size_t count)
{
    struct ring_blocks_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.classes[0].block_bytes = block_bytes;
    options.classes[0].count = count;
    options.class_count = 1;
    options.seats = RING_BLOCKS_DEFAULT_SEATS;
    options.cache = RING_BLOCK_CACHE_USUAL;
    options.numa_node = RING_NODE_ANY;
    return options;
}

/* Bytes that a pool takes from its segment, at most; 0: a value is out of range. */
RING_PUBLIC size_t ring_blocks_footprint(size_t block_bytes, size_t count);
RING_PUBLIC size_t ring_blocks_footprint_with(const struct ring_blocks_options *options);

/* Makes a pool of that name. -EEXIST: there is something of that name; -ENOSPC: segment or directory full. */
RING_PUBLIC int ring_blocks_create(struct ring_segment *segment, const char *pool, size_t block_bytes, size_t count);
RING_PUBLIC int ring_blocks_create_with(struct ring_segment *segment, const char *pool,
                                        const struct ring_blocks_options *options);

struct ring_claim; /* proof of life of whoever holds a seat (liveness.h) */

/* A class as this process may use it. */
struct ring_blocks_row {
    size_t block_bytes;
    size_t stride;
    uint64_t first; /* number of its first block, */
    uint64_t end;   /* and behind its last */
    unsigned char *data;
    RING_ATOMIC(uint64_t) * level[RING_BLOCK_LEVELS];
    uint64_t level_words[RING_BLOCK_LEVELS];
    unsigned levels;
    unsigned cache;
};

/* A pool as this process may use it: constants copied once and checked. */
struct ring_blocks_view {
    RING_ATOMIC(uint64_t) * words;
    uint64_t total;
    unsigned class_count;
    struct ring_blocks_row rows[RING_BLOCK_CLASSES];
    struct ring_layout_blocks *control;
    struct ring_layout_block_seat *seats;
    unsigned seat_count;
    unsigned entry;
    struct ring_segment *segment;
};

/* A class, with the free blocks that this participant keeps of it; the words say so, too. Private. What the hot path
 * needs lies in one line. */
struct RING_ALIGNED(RING_CACHE_LINE) ring_blocks_cache {
    size_t block_bytes;    /* behind the last class: more than any */
    uint64_t *top;         /* behind the last handle */
    uint64_t *full;        /* where `top` must not be beyond */
    unsigned char *origin; /* where block 0 would be, if it were of this class: wraps */
    size_t stride;
    uint64_t end; /* number behind its last block */
    unsigned limit;
    uint64_t handles[RING_BLOCK_CACHE_MOST + 1];
};

/* Private to its owner; lies on its own cache lines. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_blocks {
    struct ring_guarded guarded;
    uint64_t me; /* seat, where words have it */
    RING_ATOMIC(uint64_t) * words;
    uint64_t total;
    struct ring_blocks_cache caches[RING_BLOCK_CLASSES + 1];
    struct ring_blocks_view view;
    unsigned seat;
    unsigned rights; /* enum ring_blocks_rights */
    struct ring_claim *claim;
    int64_t looked_ns; /* when it was last looked for what the dead had; 0: something was free since */
};

/* Takes a seat; waits up to timeout_ns for a pool of that name to appear. -ENOENT, -ETIMEDOUT: no such pool. -EUSERS:
 * all seats are held by the living. -EACCES: the segment is attached read-only. -EUCLEAN: the pool is damaged. The
 * struct (some 10 KiB) must not be moved or copied while open. */
RING_PUBLIC int ring_blocks_open(struct ring_blocks *blocks, struct ring_segment *segment, const char *pool,
                                 int64_t timeout_ns);

/* What a handle may do to the pages of blocks. It may read all of them. */
enum ring_blocks_rights {
    RING_BLOCKS_WRITE_ALL = 0, /* write everywhere: nothing is checked, no system call is made */
    RING_BLOCKS_READ = 1,      /* read only. For receivers that do not write: they allocate nothing, and pay nothing */
    RING_BLOCKS_WRITE_OWN = 2, /* write where it owns the block: from allocate or accept until pass, finish, free or
                                  close. A system call each way, and no cache */
};

/* As ring_blocks_open(), with such rights: a stray write to a block that is finished, free or another's raises SIGSEGV
 * in the process that makes it, by whatever pointer into this mapping. They are those of the mapping: all handles of a
 * pool that a process opens through one handle of its segment are either RING_BLOCKS_WRITE_ALL, as by
 * ring_blocks_open(), or none of them is; else -EBUSY: attach the segment once more. -EOPNOTSUPP: blocks are no whole
 * pages of this segment (2 MiB where RING_HUGE was granted), see .align; or its memory was given. -EINVAL: no such
 * rights. -ENOMEM: vm.max_map_count. */
RING_PUBLIC int ring_blocks_open_with(struct ring_blocks *blocks, struct ring_segment *segment, const char *pool,
                                      enum ring_blocks_rights rights, int64_t timeout_ns);

/* Gives the seat back, and frees the blocks that it still owns; blocks in transit stay in transit. -EBADF: not open. In
 * a child after fork: forgets the handle, disturbs nobody. */
RING_PUBLIC int ring_blocks_close(struct ring_blocks *blocks);

/* ---- The slow halves; not for callers. The guard is held. ---- */

RING_PUBLIC int ring_block_allocate_slowly(struct ring_blocks *blocks, size_t bytes, uint64_t *handle, void **address);
RING_PUBLIC int ring_block_free_slowly(struct ring_blocks *blocks, uint64_t handle, uint64_t word);
RING_PUBLIC void ring_block_spill(struct ring_blocks *blocks, struct ring_blocks_cache *cache);
RING_PUBLIC int ring_block_free_otherwise(struct ring_blocks *blocks, uint64_t handle);

/* ---- Blocks. ---- */

/* The word that a block has while the participant whose bits are `me` owns it, without its hops. */
RING_INLINE uint64_t ring_block_owned_word(uint64_t handle, uint64_t me)
{
    return (handle & ~RING_BLOCK_NUMBER) | me | RING_BLOCK_OWNED;
}

RING_INLINE struct ring_blocks_cache *ring_block_cache_of(struct ring_blocks *blocks, uint64_t number)
{
    struct ring_blocks_cache *cache = blocks->caches;
    while (RING_UNLIKELY(number >= cache->end)) /* number < total, the end of the last class */
        cache++;
    return cache;
}

RING_INLINE void *ring_block_at(const struct ring_blocks_cache *cache, uint64_t number)
{
    return (void *)((uintptr_t)cache->origin + number * cache->stride);
}

/* A block of at least `bytes` bytes, of the smallest class that has such; contents are what they were. Constant time.
 * 0; -EMSGSIZE: no class has such; -ENOSPC: none is free now (also when others keep the last ones in their caches);
 * -EINVAL: NULL. The address is a multiple of 64, from blocks of 4096 bytes on of 4096. Of a handle opened with rights
 * (ring_blocks_open_with) also -EACCES: it may only read; -ENOMEM, as of all calls that change rights: vm.max_map_count
 * does not allow it, and nothing was changed. */
RING_INLINE int ring_block_allocate(struct ring_blocks *blocks, size_t bytes, uint64_t *handle, void **address)
{
    int code = ring_guard_enter(&blocks->guarded);
    if (RING_UNLIKELY(code))
        return code;
    struct ring_blocks_cache *cache = blocks->caches;
    while (RING_UNLIKELY(bytes > cache->block_bytes))
        cache++;
    uint64_t *top = cache->top;
    if (RING_LIKELY(top != cache->handles) && RING_LIKELY(handle && address)) {
        uint64_t taken = *--top;
        uint64_t number = (taken & RING_BLOCK_NUMBER) - 1;
        cache->top = top;
        /* K1: relaxed: CACHED or OWNED by us is the same to all others. */
        ring_atomic_store(&blocks->words[number], ring_block_owned_word(taken, blocks->me), memory_order_relaxed);
        __atomic_thread_fence(__ATOMIC_RELEASE); /* K9: what is written into the block comes after K2, for those to whom
                                                    its last contents were lent */
        *handle = taken;
        *address = ring_block_at(cache, number);
    } else {
        code = ring_block_allocate_slowly(blocks, bytes, handle, address);
    }
    ring_guard_leave(&blocks->guarded);
    return code;
}

/* Gives a block back: one that this participant owns, or one in transit. 0; -ESTALE: it was freed since (a stale
 * handle, a double free), or the handle is of another pool; -EINVAL: no handle of this pool; -EPERM: it belongs to
 * another living participant; -EUCLEAN: the block's word is damaged. */
RING_INLINE int ring_block_free(struct ring_blocks *blocks, uint64_t handle)
{
    int code = ring_guard_enter(&blocks->guarded);
    if (RING_UNLIKELY(code))
        return code;
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    if (RING_LIKELY(number < blocks->total)) {
        uint64_t word = ring_atomic_load(&blocks->words[number], memory_order_relaxed); /* K1: our own */
        if (RING_LIKELY((word & ~RING_BLOCK_HOPS) == ring_block_owned_word(handle, blocks->me))) {
            struct ring_blocks_cache *cache = ring_block_cache_of(blocks, number);
            uint64_t next = handle + (UINT64_C(1) << RING_BLOCK_GENERATION);
            uint64_t *top = cache->top;
            /* K2: release, pairs with K3: our reads of the block come before it is anybody's. */
            ring_atomic_store(&blocks->words[number], (next & ~RING_BLOCK_NUMBER) | blocks->me | RING_BLOCK_CACHED,
                              memory_order_release);
            *top++ = next;
            cache->top = top;
            if (RING_UNLIKELY(top > cache->full))
                ring_block_spill(blocks, cache);
        } else {
            code = ring_block_free_slowly(blocks, handle, word);
        }
    } else {
        code = ring_block_free_otherwise(blocks, handle);
    }
    ring_guard_leave(&blocks->guarded);
    return code;
}

/* Where a block is, and its size (either may be NULL), for its owner, or while it is in transit. Errors as for free. */
RING_PUBLIC int ring_block_address(struct ring_blocks *blocks, uint64_t handle, void **address, size_t *bytes);

/* Lets go of an owned block: from now on it is in transit. Errors as for free; -EALREADY: it is in transit already. */
RING_PUBLIC int ring_block_pass(struct ring_blocks *blocks, uint64_t handle);

/* Says that an owned block is filled, before it is lent: with RING_BLOCKS_WRITE_OWN it is read-only here from now on,
 * until it has been freed and is allocated again; else nothing happens. Errors as for pass. */
RING_PUBLIC int ring_block_finish(struct ring_blocks *blocks, uint64_t handle);

/* Takes a block in transit, and tells where it is, and its size (either may be NULL). The sender takes it back by this,
 * too, if the sending failed. A block whose owner died before it freed it is taken as well: so a redelivered message's
 * block can be accepted again. 0; -EALREADY: this participant owns it; else as for free: -EPERM: somebody else was
 * faster; or, for a message that is redelivered, its owner is about to end, which gives one proof of life back after
 * the other: keep the message, and ask again. */
RING_PUBLIC int ring_block_accept(struct ring_blocks *blocks, uint64_t handle, void **address, size_t *bytes);

/* For blocks that are lent: where it is, whoever owns it. -ESTALE, -EINVAL, -EBADF. What is read there is worth
 * something only if ring_block_check() says 0 after reading: the block was not freed meanwhile. Any thread may call
 * these. */
RING_PUBLIC int ring_block_look(const struct ring_blocks *blocks, uint64_t handle, const void **address, size_t *bytes);
RING_PUBLIC int ring_block_check(const struct ring_blocks *blocks, uint64_t handle);

/* ---- Mending and looking. Cold. Any thread of any process attached. ---- */

struct ring_blocks_repairs {
    size_t struct_size; /* set by the caller to sizeof this struct */
    uint64_t freed;     /* blocks that the dead had owned or kept: free again */
    uint64_t stranded;  /* blocks in transit whose sender is gone: whoever gets the message has them */
};

/* Frees what the dead held; proved by their locks. Nobody needs to call it: an allocation that finds nothing free does
 * this, too, and so does the next one to take the seat. -ENOENT, -EUCLEAN, -EACCES (read-only), -EINVAL; repairs may be
 * NULL. */
RING_PUBLIC int ring_blocks_recover(struct ring_segment *segment, const char *pool,
                                    struct ring_blocks_repairs *repairs);

struct ring_blocks_class_info {
    uint64_t block_bytes;
    uint64_t count;
    uint64_t free;   /* in the stock */
    uint64_t cached; /* free, kept by participants */
    uint64_t owned;
    uint64_t passed;      /* in transit */
    uint64_t of_the_dead; /* of cached and owned: of participants that died and were not mended yet */
};

struct ring_blocks_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    unsigned class_count;
    struct ring_blocks_class_info classes[RING_BLOCK_CLASSES];
    unsigned seats;
    unsigned alive; /* participants */
    unsigned dead;  /* participants that died and whose blocks were not mended yet */
    bool damaged;   /* there are words that cannot be */
};

/* A snapshot, not at one moment. -ENOENT, -EUCLEAN, -EINVAL. */
RING_PUBLIC int ring_blocks_info(struct ring_segment *segment, const char *pool, struct ring_blocks_info *info);

struct ring_blocks_seat_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    struct ring_side side;
    uint64_t owned; /* blocks */
    uint64_t cached;
    uint64_t passed; /* in transit, sent by it */
};

/* -ENOENT: no such seat, or nobody ever had it. */
RING_PUBLIC int ring_blocks_seat_info(struct ring_segment *segment, const char *pool, unsigned seat,
                                      struct ring_blocks_seat_info *info);

RING_END_C

#endif
