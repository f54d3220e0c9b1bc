/* heap.h - level 6: a heap in a segment, shared by processes: pieces of any size, found by references, never by
 * pointers. Safe against the death of any participant at any instruction. docs/blocks.md has the proof,
 * docs/memory_ordering.md the labels H0..H6.
 *
 * A heap is for structures that are built and changed now and then; for payloads that come and go use blocks.h, which
 * takes no lock. Here a call holds the heap's lock for some 100 ns: a word that names its holder. A holder that died is
 * found out by its proof of life, and what it had begun is undone; one that is stopped (SIGSTOP) is waited for, by the
 * caller's time limit. Time limits are in ns: RING_NO_WAIT does not wait (but spins for some us), RING_FOREVER does.
 *
 * A piece belongs to the participant that allocated it, until ring_heap_keep() or ring_heap_set_root() gives it to all:
 * pieces of those who die or close are freed. So a death between allocating a piece and linking it into a structure
 * loses nothing: link it, then keep it. Anybody may free any piece.
 *
 * A reference carries a generation (32 bits): after the piece was freed it fits no more.
 *
 * Who may call what: a handle (struct ring_heap) belongs to one thread at a time: -EBUSY, -ECHILD, -EBADF as of mpmc.h.
 * ring_heap_address, ring_heap_size and ring_heap_root may be called by any thread beside it.
 */
#ifndef RING_HEAP_H
#define RING_HEAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <ring/guard.h>
#include <ring/layout_heap.h>
#include <ring/message.h>
#include <ring/segment.h>

RING_BEGIN_C

#define RING_HEAP_NONE            UINT64_C(0) /* never a reference */
#define RING_HEAP_DEFAULT_GRANULE 64u
#define RING_HEAP_DEFAULT_SEATS   64u
#define RING_HEAP_MIN_BYTES       ((size_t)4096)
#define RING_HEAP_MAX_BYTES       ((size_t)1 << 37)

struct ring_heap_options {
    size_t struct_size;
    size_t bytes;           /* for pieces, RING_HEAP_MIN_BYTES .. MAX_BYTES, rounded up to a multiple of the granule */
    unsigned granule_bytes; /* pieces are multiples of it, and so are their addresses: a power of two, 64 .. 4096 */
    unsigned seats;         /* participants at a time, 1 .. RING_HEAP_SEATS */
    int numa_node;          /* for its pages: RING_NODE_ANY (as the segment's), a node, RING_NODE_HERE (of the calling
                               thread), RING_NODE_INTERLEAVED. RING_STRICT refuses what cannot be had */
};

RING_INLINE struct ring_heap_options ring_heap_defaults(size_t bytes)
{
    struct ring_heap_options options;
    options.struct_size = sizeof options;
    options.bytes = bytes;
    options.granule_bytes = RING_HEAP_DEFAULT_GRANULE;
    options.seats = RING_HEAP_DEFAULT_SEATS;
    options.numa_node = RING_NODE_ANY;
    return options;
}

/* Bytes that a heap takes from its segment, a quarter more than asked for with granules of 64; 0: out of range. */
RING_PUBLIC size_t ring_heap_footprint(size_t bytes);
RING_PUBLIC size_t ring_heap_footprint_with(const struct ring_heap_options *options);

/* Makes a heap of that name. -EEXIST: there is something of that name; -ENOSPC: segment or directory full. */
RING_PUBLIC int ring_heap_create(struct ring_segment *segment, const char *heap, size_t bytes);
RING_PUBLIC int ring_heap_create_with(struct ring_segment *segment, const char *heap,
                                      const struct ring_heap_options *options);

struct ring_claim; /* proof of life of whoever holds a seat (liveness.h) */

/* A heap as this process may use it: constants copied once and checked. */
struct ring_heap_view {
    RING_ATOMIC(uint64_t) * words;
    uint64_t word_count;
    unsigned char *data;
    uint64_t granules;
    unsigned shift; /* a granule has 1 << shift bytes */
    unsigned seat_count;
    unsigned entry;
    struct ring_layout_heap *control;
    struct ring_layout_heap_seat *seats;
    struct ring_segment *segment;
};

/* Private to its owner. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_heap {
    struct ring_guarded guarded;
    struct ring_heap_view view;
    unsigned changes; /* of the operation under way */
    unsigned seat;
    uint64_t inherited; /* pieces that the dead had who held the seat before: freed when it was taken */
    struct ring_claim *claim;
};

/* Takes a seat; waits up to timeout_ns for a heap of that name to appear, and for its lock. -ENOENT, -ETIMEDOUT,
 * -EAGAIN: no such heap, or the lock is not to be had in time. -EUSERS: all seats are held by the living. -EACCES:
 * attached read-only. -EUCLEAN: damaged. The struct must not be moved or copied while open. */
RING_PUBLIC int ring_heap_open(struct ring_heap *heap, struct ring_segment *segment, const char *name,
                               int64_t timeout_ns);

/* Gives the seat back, and frees what it owns and did not keep. -EBADF: not open. */
RING_PUBLIC int ring_heap_close(struct ring_heap *heap);

/* A piece of at least `bytes` bytes (1 at least); contents are what they were. 0; -ENOSPC: no free piece is that long;
 * -EMSGSIZE: longer than the whole heap; -EAGAIN, -ETIMEDOUT: the lock was not to be had in time; -EUCLEAN: the heap is
 * damaged (nothing was changed); -EINVAL: NULL. */
RING_PUBLIC int ring_heap_allocate(struct ring_heap *heap, size_t bytes, uint64_t *reference, int64_t timeout_ns);

/* Gives a piece back. 0; -ESTALE: it was freed since (a stale reference, freed twice), or the reference is another
 * heap's; -EINVAL: no reference of this heap; and the lock's errors. */
RING_PUBLIC int ring_heap_free(struct ring_heap *heap, uint64_t reference, int64_t timeout_ns);

/* The piece is kept when its owner dies or closes: whoever finds the reference may use and free it. Errors as for free.
 */
RING_PUBLIC int ring_heap_keep(struct ring_heap *heap, uint64_t reference, int64_t timeout_ns);

/* Root `number`, 0 .. RING_HEAP_ROOTS-1, is a reference that all can find; RING_HEAP_NONE: none. Setting it keeps the
 * piece, both or none. */
RING_PUBLIC int ring_heap_set_root(struct ring_heap *heap, unsigned number, uint64_t reference, int64_t timeout_ns);
RING_PUBLIC uint64_t ring_heap_root(const struct ring_heap *heap, unsigned number);

/* The word of a piece in use whose reference this is, its first; 0: there is none. */
RING_INLINE uint64_t ring_heap_piece(const struct ring_heap *heap, uint64_t reference)
{
    uint64_t granule = (reference & UINT32_MAX) - 1;
    if (granule >= heap->view.granules)
        return 0;
    RING_ATOMIC(uint64_t) *words = heap->view.words + RING_HEAP_INDEX + 2 * granule;
    /* H6: acquire, pairs with H3: whoever handed the reference on did so after it was allocated. */
    uint64_t first = ring_atomic_load(words, memory_order_acquire);
    uint64_t second = ring_atomic_load(words + 1, memory_order_relaxed);
    if ((first & RING_PIECE_STATE) < RING_PIECE_OWNED || second >> 32 != reference >> 32)
        return 0;
    return first;
}

/* Where the piece is; NULL: the reference fits no piece in use. Good until somebody frees it. */
RING_INLINE void *ring_heap_address(const struct ring_heap *heap, uint64_t reference)
{
    if (RING_UNLIKELY(ring_heap_piece(heap, reference) == 0))
        return NULL;
    return heap->view.data + (((reference & UINT32_MAX) - 1) << heap->view.shift);
}

/* Its bytes, at least those asked for; 0: the reference fits no piece in use, or the heap is damaged. */
RING_INLINE size_t ring_heap_size(const struct ring_heap *heap, uint64_t reference)
{
    uint64_t granules = ring_heap_piece(heap, reference) >> RING_PIECE_SIZE & RING_PIECE_MOST;
    uint64_t granule = (reference & UINT32_MAX) - 1;
    if (granules == 0 || granules > heap->view.granules - granule)
        return 0;
    return (size_t)(granules << heap->view.shift);
}

/* ---- Mending and looking. Cold. ---- */

/* Frees what the dead had allocated and not kept; *freed (may be NULL) tells how many pieces. Nobody needs to call it:
 * an allocation that finds no room does this, too. */
RING_PUBLIC int ring_heap_recover(struct ring_heap *heap, uint64_t *freed, int64_t timeout_ns);

struct ring_heap_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    uint64_t bytes;     /* in all */
    uint64_t used;      /* bytes of pieces in use */
    uint64_t pieces;    /* in use */
    uint64_t longest;   /* a piece of so many bytes can be had now; perhaps a sixteenth more */
    unsigned granule_bytes;
    unsigned seats;
    unsigned alive;   /* participants */
    unsigned dead;    /* participants that died and whose pieces were not freed yet */
    bool locked;      /* an operation is under way, or its holder died in it */
    pid_t locked_pid; /* by whom, for people; 0: not known */
};

/* A snapshot; disturbs nobody; of any process attached. -ENOENT, -EUCLEAN, -EINVAL. */
RING_PUBLIC int ring_heap_info(struct ring_segment *segment, const char *heap, struct ring_heap_info *info);

/* Walks the whole heap under its lock and demands that all words fit together. 0; -EUCLEAN with a sentence; the lock's
 * errors. Takes some 10 ns for each granule. */
RING_PUBLIC int ring_heap_check(struct ring_heap *heap, int64_t timeout_ns);

RING_END_C

#endif
