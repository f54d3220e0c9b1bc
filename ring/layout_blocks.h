/* layout_blocks.h - level 1: the shared bytes of a pool of blocks.
 *
 *      0  +-----------------------------+
 *         | ring_layout_blocks          |  control page
 *   4096  +-----------------------------+
 *         | ring_layout_block_seat      |  one for each participant
 *         |                     [seats] |
 *         +-----------------------------+  page aligned
 *         | words, 8 bytes [blocks]     |  whose is each block: the only truth about it
 *         +-----------------------------+  page aligned
 *         | trees of bits, by class     |  where to look for free ones: hints
 *         +-----------------------------+  page aligned
 *         | blocks of class 0           |  each class page aligned
 *         | blocks of class 1 ...       |
 *         +-----------------------------+  page aligned
 *
 * Blocks are numbered over all classes, from 0. The word of a block, and the handle that its owner has:
 *
 *      63                 24 23    15 14     3 2     0
 *     +---------------------+--------+--------+-------+
 *     | generation          | hop    | seat   | state |   word
 *     +---------------------+--------+--------+-------+
 *     | generation          | number of the block + 1 |   handle; never 0
 *     +---------------------+-------------------------+
 *
 * The generation goes up when a block is freed, so a handle fits until then and not after; the hop goes up when it
 * changes hands in between. docs/blocks.md tells who may change a word from what to what.
 *
 * The tree of a class: level 0 has a bit for each block, each level above a bit for each word of 64 bits below; the
 * topmost is one word. A bit says that a look below may be worth while.
 */
#ifndef RING_LAYOUT_BLOCKS_H
#define RING_LAYOUT_BLOCKS_H

#include <ring/layout.h>

#define RING_BLOCK_GENERATION  24 /* the generation begins at this bit, in words and handles */
#define RING_BLOCK_NUMBER      ((UINT64_C(1) << 24) - 1)
#define RING_BLOCK_HOP         (UINT64_C(1) << 15) /* one hop */
#define RING_BLOCK_HOPS        (UINT64_C(511) << 15)
#define RING_BLOCK_SEAT        3 /* the seat begins at this bit */
#define RING_BLOCK_SEATS       (UINT64_C(4095) << RING_BLOCK_SEAT)
#define RING_BLOCK_NOBODY      4095 /* in the place of a seat: PASSED by somebody who is gone */
#define RING_BLOCK_STATE       UINT64_C(7)
#define RING_BLOCK_FREE        UINT64_C(0) /* anybody's to take; the seat means nothing */
#define RING_BLOCK_CACHED      UINT64_C(1) /* free, kept by this seat for its next allocation */
#define RING_BLOCK_OWNED       UINT64_C(2) /* in the hands of this seat */
#define RING_BLOCK_PASSED      UINT64_C(3) /* on its way from this seat to whoever accepts it */
#define RING_BLOCK_MOST        (RING_BLOCK_NUMBER - 1)
#define RING_BLOCK_CLASSES     16
#define RING_BLOCK_LEVELS      4 /* 64 to the 4th is RING_BLOCK_NUMBER + 1 */
#define RING_BLOCK_SEATS_MOST  1024
#define RING_BLOCK_CACHE_MOST  63
#define RING_BLOCK_CACHE_USUAL UINT32_MAX /* options: as many as the class allows */

/* A participant. Writer: the holder of the seat's lock. */
struct ring_layout_block_seat {
    /*   0 */ struct ring_layout_role role;
    /* 128 */ RING_ATOMIC(uint64_t) settled; /* role.state of a dead tenure of which nothing is left. Writer: menders */
    /* 136 */ uint8_t reserved[120];
    /* 256 */
};

struct ring_layout_block_class {
    /*   0 */ uint64_t
        block_bytes; /* as asked for; the distance of blocks is a multiple of 64, of 4096 from there, or of `align` */
    /*   8 */ uint64_t count;
    /*  16 */
};

/* Control page. All but `reached`: written before the entry is READY. */
struct ring_layout_blocks {
    /*   0 */ uint64_t blocks; /* of all classes */
    /*   8 */ uint32_t classes;
    /*  12 */ uint32_t seats;
    /*  16 */ uint32_t cache; /* blocks of a class that a participant may keep, or RING_BLOCK_CACHE_USUAL */
    /*  20 */ uint32_t align; /* in the segment, of the place and of each block: a power of two from 4096 on; 0: none */
    /*  24 */ uint8_t reserved0[104];
    /* 128 */ RING_ATOMIC(uint32_t) reached; /* seats from here on were never used. Writers: who takes a seat */
    /* 132 */ uint8_t reserved1[124];
    /* 256 */ struct ring_layout_block_class classes_of[RING_BLOCK_CLASSES];
    /* 512 */
};

static_assert(sizeof(struct ring_layout_block_seat) == 256, "ABI");
static_assert(offsetof(struct ring_layout_block_seat, settled) == 128, "ABI");
static_assert(sizeof(struct ring_layout_blocks) == 512, "ABI");
static_assert(offsetof(struct ring_layout_blocks, align) == 20, "ABI");
static_assert(offsetof(struct ring_layout_blocks, reached) == 128, "ABI");
static_assert(offsetof(struct ring_layout_blocks, classes_of) == 256, "ABI");
static_assert(RING_BLOCK_SEATS_MOST <= RING_SEATS_MAX && RING_BLOCK_SEATS_MOST < RING_BLOCK_NOBODY,
              "a seat's number fits its bits");

#endif
