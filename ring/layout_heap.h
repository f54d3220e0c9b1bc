/* layout_heap.h - level 1: the shared bytes of a heap: pieces of memory of any size.
 *
 *      0  +-----------------------------+
 *         | ring_layout_heap            |  control page: constants, lock, log
 *   4096  +-----------------------------+
 *         | ring_layout_heap_seat       |  one for each participant
 *         |                     [seats] |
 *         +-----------------------------+  page aligned
 *         | words: RING_HEAP_INDEX of   |  lists of free pieces, roots, counts;
 *         |        two for each granule |  what begins there
 *         +-----------------------------+  page aligned
 *         | data: granules              |
 *         +-----------------------------+  page aligned
 *
 * All that tells of the pieces lies in the words, apart from the pieces, so who writes beyond the end of his piece
 * damages his neighbour's data, but never the heap. Words are changed under the lock only, each after its old value was
 * written into the log.
 *
 * First word of a granule: 0 within a piece; where one begins:
 *
 *      63             33 32            2 1    0
 *     +-----------------+---------------+-------+
 *     | granules of the | granules of   | state |
 *     | piece before it | this piece    |       |
 *     +-----------------+---------------+-------+
 *
 * Second word: of a free piece next << 32 | previous in its list, each as granule + 1; of one in use
 * generation << 32 | seat. A reference is generation << 32 | granule + 1; never 0.
 */
#ifndef RING_LAYOUT_HEAP_H
#define RING_LAYOUT_HEAP_H

#include <ring/layout.h>

#define RING_PIECE_STATE  UINT64_C(3)
#define RING_PIECE_INSIDE UINT64_C(0) /* no piece begins here */
#define RING_PIECE_FREE   UINT64_C(1)
#define RING_PIECE_OWNED  UINT64_C(2) /* of a participant: freed when it dies */
#define RING_PIECE_KEPT   UINT64_C(3) /* of nobody: until somebody frees it */
#define RING_PIECE_SIZE   2           /* granules begin at this bit, */
#define RING_PIECE_BEFORE 33          /* and those of the piece before at this one */
#define RING_PIECE_MOST   ((UINT64_C(1) << 31) - 1)
#define RING_HEAP_SECONDS 16 /* lists for each power of two */
#define RING_HEAP_FIRSTS  29
#define RING_HEAP_ROOTS   16
#define RING_HEAP_LOG     40 /* words that one operation changes at most */
#define RING_HEAP_SEATS   1024

/* Words before those of the granules. */
enum ring_layout_heap_word {
    RING_HEAP_FIRST_BITS = 0,  /* bit f: some list f, s has pieces */
    RING_HEAP_SECOND_BITS = 1, /* + f: bit s: list f, s has pieces */
    RING_HEAP_ROOT = 32,       /* + number: a reference for all to find, or 0 */
    RING_HEAP_USED = 48,       /* granules of pieces in use */
    RING_HEAP_PIECES = 49,     /* pieces in use */
    RING_HEAP_GENERATION = 50, /* of the last piece that was allocated */
    RING_HEAP_LIST = 64,       /* + f * RING_HEAP_SECONDS + s: first piece of the list, as granule + 1; or 0 */
    RING_HEAP_INDEX = 1024,
};

/* A participant. Writer: the holder of the seat's lock. */
struct ring_layout_heap_seat {
    /*   0 */ struct ring_layout_role role;
    /* 128 */ RING_ATOMIC(uint64_t) settled; /* role.state of a dead tenure of which nothing is left. Writer: menders */
    /* 136 */ uint8_t reserved[120];
    /* 256 */
};

/* What a word was before the operation that is under way. */
struct ring_layout_heap_change {
    /*   0 */ RING_ATOMIC(uint64_t) word; /* its number */
    /*   8 */ RING_ATOMIC(uint64_t) old;
    /*  16 */
};

struct ring_layout_heap {
    /*   0 */ uint64_t granules;      /* these: written before the entry is READY */
    /*   8 */ uint32_t granule_bytes; /* a power of two */
    /*  12 */ uint32_t seats;
    /*  16 */ uint8_t reserved0[112];
    /* 128 */ RING_ATOMIC(uint64_t) lock; /* times taken << 16 | seat + 1 of its holder, or 0 */
    /* 136 */ uint8_t reserved1[120];
    /* 256 */ RING_ATOMIC(uint32_t) reached; /* seats from here on were never used. Writers: who takes a seat */
    /* 260 */ uint8_t reserved2[124];
    /* 384 */ RING_ATOMIC(uint64_t) changes; /* in the log; 0: no operation is under way. Writer: holder of the lock */
    /* 392 */ uint8_t reserved3[8];
    /* 400 */ struct ring_layout_heap_change log[RING_HEAP_LOG];
    /* 1040 */
};

static_assert(sizeof(struct ring_layout_heap_seat) == 256, "ABI");
static_assert(offsetof(struct ring_layout_heap_seat, settled) == 128, "ABI");
static_assert(sizeof(struct ring_layout_heap) == 1040, "ABI");
static_assert(offsetof(struct ring_layout_heap, lock) == 128, "ABI");
static_assert(offsetof(struct ring_layout_heap, changes) == 384, "ABI");
static_assert(offsetof(struct ring_layout_heap, log) == 400, "ABI");
static_assert(RING_HEAP_LIST + RING_HEAP_FIRSTS * RING_HEAP_SECONDS <= RING_HEAP_INDEX, "lists fit the index");

#endif
