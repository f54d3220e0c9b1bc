/* layout_mpmc.h - level 1: the shared bytes of a ring for many producers and many consumers.
 *
 *      0  +-----------------------------+
 *         | ring_layout_mpmc            |  control page
 *   4096  +-----------------------------+
 *         | ring_layout_seat [seats]    |  one for each participant; producers and consumers alike
 *         +-----------------------------+  page aligned
 *         | slots x stride              |  a slot: one word, then the message
 *         +-----------------------------+  page aligned
 *
 * Positions are 64-bit and only grow; position p is in slot p mod slots, in lap p / slots. The word of a slot:
 *
 *      63           28 27   26 25   20 19       0
 *     +---------------+-------+-------+----------+
 *     | lap mod 2^36  | state | retry | length   |
 *     +---------------+-------+-------+----------+
 *
 * All-zero memory is FREE of lap 0. docs/crash_protocol.md tells who may change a word from what to what.
 */
#ifndef RING_LAYOUT_MPMC_H
#define RING_LAYOUT_MPMC_H

#include <ring/layout.h>

#define RING_SLOT_LAP    28 /* the lap begins at this bit */
#define RING_SLOT_STATE  (UINT64_C(3) << 26)
#define RING_SLOT_FREE   (UINT64_C(0) << 26) /* may be claimed by a producer in this lap; or is, and not yet filled */
#define RING_SLOT_READY  (UINT64_C(1) << 26) /* holds a message of this lap */
#define RING_SLOT_SKIP   (UINT64_C(2) << 26) /* claimed in this lap, never to be filled */
#define RING_SLOT_RETRY  (UINT64_C(1) << 20) /* one redelivery */
#define RING_SLOT_TRIES  (UINT64_C(63) << 20)
#define RING_SLOT_LENGTH ((UINT64_C(1) << 20) - 1)

enum ring_layout_seat_side { RING_SIDE_NONE = 0, RING_SIDE_PRODUCER = 1, RING_SIDE_CONSUMER = 2 };

/* A participant. Writer: the holder of the seat's lock. What a death leaves in `intent` tells what must be mended. */
struct ring_layout_seat {
    /*   0 */ struct ring_layout_role role;
    /* 128 */ RING_ATOMIC(uint64_t) intent; /* position << 8 | count: what it is about to claim or has claimed */
    /* 136 */ RING_ATOMIC(uint32_t) side;   /* enum ring_layout_seat_side */
    /* 140 */ RING_ATOMIC(uint32_t) asleep; /* 1 while it sleeps; for people */
    /* 144 */ uint8_t reserved[112];
    /* 256 */
};

#define RING_INTENT_MOST  255 /* positions in one claim */
#define RING_INTENT_SHIFT 8

/* How a side's positions are claimed: the low two bits; above them a position modulo 2^62 (SHARED), or a seat and, from
 * bit 14 on, the number of its reign (SOLE, REVOKING), so that no such word ever comes back. */
#define RING_MODE_SHARED   UINT64_C(0) /* by compare-and-swap of tail (head); not lower than the position here */
#define RING_MODE_SOLE     UINT64_C(1) /* by the intent of this seat alone; tail (head) is not kept up to date */
#define RING_MODE_REVOKING UINT64_C(2) /* SOLE no more; the position is being decided */
#define RING_MODE_TAG      UINT64_C(3)
#define RING_MODE_SHIFT    2
#define RING_MODE_REIGN    14

/* Control page. Lines are kept apart by who writes them. */
struct ring_layout_mpmc {
    /*   0 */ uint64_t slots;          /* a power of two; these: written before the entry is READY */
    /*   8 */ uint64_t slot_bytes;     /* longest message */
    /*  16 */ uint64_t stride;         /* bytes from slot to slot, a multiple of 16 */
    /*  24 */ uint64_t start_position; /* where both sides began */
    /*  32 */ uint32_t seats;
    /*  36 */ uint32_t flags; /* enum ring_mpmc_flags */
    /*  40 */ uint8_t reserved0[88];
    /* 128 */ RING_ATOMIC(uint64_t) tail; /* next position to be claimed by a producer. Writers: producers */
    /* 136 */ uint8_t reserved1[120];
    /* 256 */ RING_ATOMIC(uint64_t) head; /* next position to be claimed by a consumer. Writers: consumers */
    /* 264 */ uint8_t reserved2[120];
    /* 384 */ RING_ATOMIC(uint64_t) producers_mode;   /* RING_MODE_...; see docs/crash_protocol.md for the writers */
    /* 392 */ RING_ATOMIC(uint64_t) producers_reigns; /* how often one became sole. Writer: holder of the ring's lock */
    /* 400 */ uint8_t reserved3[112];
    /* 512 */ RING_ATOMIC(uint64_t) consumers_mode;
    /* 520 */ RING_ATOMIC(uint64_t) consumers_reigns;
    /* 528 */ uint8_t reserved4[112];
    /* 640 */ RING_ATOMIC(uint32_t) consumers_asleep; /* 1: wake us. Writers: consumers set, producers clear */
    /* 644 */ RING_ATOMIC(uint32_t)
    consumers_calls; /* how often one was woken; what they sleep on. Writers: producers */
    /* 648 */ uint8_t reserved5[120];
    /* 768 */ RING_ATOMIC(uint32_t) producers_asleep; /* 1: wake us. Writers: producers set, consumers clear */
    /* 772 */ RING_ATOMIC(uint32_t) producers_calls;  /* as above. Writers: consumers */
    /* 776 */ uint8_t reserved6[120];
    /* 896 */ RING_ATOMIC(uint32_t) reached; /* seats from here on were never used. Writer: holder of the ring's lock */
    /* 900 */ RING_ATOMIC(uint32_t) blind;   /* 1: a participant cannot be reached by membarrier. Writer: as above */
    /* 904 */ RING_ATOMIC(
        uint32_t) orphans; /* not as `settled`: what a dead one held is no more in any intent; search all slots */
    /* 908 */ RING_ATOMIC(uint32_t) attached[2]; /* producers, consumers attached (or dead). Writer: as reached */
    /* 916 */ RING_ATOMIC(uint32_t) ended[2]; /* enum ring_peer: how the side's participants went. Writer: as reached */
    /* 924 */ RING_ATOMIC(uint32_t) turns;    /* how often the ring's lock was given back; those who wait sleep on it */
    /* 928 */ RING_ATOMIC(uint32_t) settled;  /* so many `orphans` there were when a search found nothing left */
    /* 932 */ uint8_t reserved7[92];
    /* 1024 */
};

static_assert(sizeof(struct ring_layout_seat) == 256, "ABI");
static_assert(offsetof(struct ring_layout_seat, intent) == 128, "ABI");
static_assert(sizeof(struct ring_layout_mpmc) == 1024, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, tail) == 128, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, head) == 256, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, producers_mode) == 384, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, consumers_mode) == 512, "ABI");
static_assert(RING_SEATS_MAX <= 1 << (RING_MODE_REIGN - RING_MODE_SHIFT), "a seat's number fits its bits");
static_assert(offsetof(struct ring_layout_mpmc, consumers_asleep) == 640, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, consumers_calls) == 644, "ABI; right behind its asleep word: wait.c");
static_assert(offsetof(struct ring_layout_mpmc, producers_asleep) == 768, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, producers_calls) == 772, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, reached) == 896, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, turns) == 924, "ABI");
static_assert(offsetof(struct ring_layout_mpmc, settled) == 928, "ABI");

#endif
