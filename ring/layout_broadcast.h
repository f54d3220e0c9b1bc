/* layout_broadcast.h - level 1: the ABI of a broadcast ring. docs/layout.md shows the same picture with its reasons.
 *
 *      0  +---------------------------------+
 *         | ring_layout_broadcast      4096 |  constants, words of the producer, sleepers
 *   4096  +---------------------------------+
 *         | ring_layout_broadcast_seat      |  one for each consumer, living or dead
 *         |   [seats]                       |
 *  slots  +---------------------------------+  page aligned
 *         | slot [slots]                    |  each `stride` bytes: a word and a message
 *         +---------------------------------+  page aligned; next ring
 *
 * A position is the number of a message, 64 bits, counted on for ever. Message p lies in slot p & (slots - 1); its lap
 * is p / slots. The word of a slot, followed by its message:
 *
 *      63            28 27   26 25    20 19           0
 *     +----------------+-------+--------+--------------+
 *     | lap, mod 2^36  | state | spare 0| length       |
 *     +----------------+-------+--------+--------------+
 *
 * Writer of all slots: the producer. Memory that is all zero is a ring without messages.
 */
#ifndef RING_LAYOUT_BROADCAST_H
#define RING_LAYOUT_BROADCAST_H

#include <ring/layout.h>

enum ring_layout_broadcast_state {
    RING_BROADCAST_EMPTY = 0,   /* never written: the whole word is 0 */
    RING_BROADCAST_READY = 1,   /* the message of this lap is there */
    RING_BROADCAST_WRITING = 2, /* the message of the lap before is gone; length 0 */
};

#define RING_BROADCAST_WORD_BYTES  8 /* bytes before the message */
#define RING_BROADCAST_STATE_SHIFT 26
#define RING_BROADCAST_LAP_SHIFT   28
#define RING_BROADCAST_LAP_MASK    ((UINT64_C(1) << 36) - 1)
#define RING_BROADCAST_LENGTH_MASK ((UINT64_C(1) << 20) - 1)

#define RING_BROADCAST_MIN_SLOTS      2
#define RING_BROADCAST_MAX_SLOTS      (1 << 24)
#define RING_BROADCAST_MAX_SLOT_BYTES ((1 << 20) - 1)

/* Control page. Lines are kept apart by who writes them. */
struct ring_layout_broadcast {
    /*   0 */ uint64_t slots;          /* a power of two; these six: written before the entry is READY, never again */
    /*   8 */ uint64_t slot_bytes;     /* longest message */
    /*  16 */ uint64_t stride;         /* from one slot to the next, follows from slot_bytes */
    /*  24 */ uint64_t start_position; /* of the first message */
    /*  32 */ uint32_t policy;         /* enum ring_broadcast_policy */
    /*  36 */ uint32_t seats;
    /*  40 */ uint8_t reserved0[88];
    /* 128 */ RING_ATOMIC(uint64_t) tail;  /* messages before it are there; right or behind. Writer: producer */
    /* 136 */ RING_ATOMIC(uint64_t) limit; /* it writes no message from there on before it has looked at the seats */
    /* 144 */ uint8_t reserved1[112];
    /* 256 */ RING_ATOMIC(uint32_t) consumers_asleep; /* 1: wake us. Writer: consumers set, producer clears */
    /* 260 */ RING_ATOMIC(uint32_t)
        consumers_calls; /* how often they were woken; what they sleep on. Writer: producer */
    /* 264 */ uint8_t reserved2[120];
    /* 384 */ RING_ATOMIC(uint32_t) producer_asleep; /* 1: wake me. Writer: producer sets, either clears */
    /* 388 */ RING_ATOMIC(uint32_t) producer_calls;  /* as above. Writers: consumers */
    /* 392 */ uint8_t reserved3[120];
    /* 512 */ RING_ATOMIC(uint32_t) seats_used; /* seats from there on were never taken. Writer: consumers, upwards */
    /* 516 */ uint8_t reserved4[124];
    /* 640 */ struct ring_layout_role producer;
    /* 768 */
};

/* Place of a consumer. Writer: the holder of its lock. */
struct ring_layout_broadcast_seat {
    /*   0 */ struct ring_layout_role role;
    /* 128 */ RING_ATOMIC(uint64_t) position; /* of the next message it wants; the truth or behind */
    /* 136 */ RING_ATOMIC(uint64_t) lost;     /* messages it has lost so far; for people */
    /* 144 */ RING_ATOMIC(uint32_t) asleep;   /* 1 while it sleeps; for people */
    /* 148 */ uint8_t reserved[108];
    /* 256 */
};

static_assert(sizeof(struct ring_layout_broadcast) == 768, "ABI");
static_assert(offsetof(struct ring_layout_broadcast, tail) == 128, "ABI");
static_assert(offsetof(struct ring_layout_broadcast, consumers_asleep) == 256, "ABI");
static_assert(offsetof(struct ring_layout_broadcast, consumers_calls) == 260,
              "ABI; right behind its asleep word: wait.c");
static_assert(offsetof(struct ring_layout_broadcast, producer_asleep) == 384, "ABI");
static_assert(offsetof(struct ring_layout_broadcast, producer_calls) == 388, "ABI");
static_assert(offsetof(struct ring_layout_broadcast, seats_used) == 512, "ABI");
static_assert(offsetof(struct ring_layout_broadcast, producer) == 640, "ABI");
static_assert(sizeof(struct ring_layout_broadcast_seat) == 256, "ABI");
static_assert(offsetof(struct ring_layout_broadcast_seat, position) == 128, "ABI");

#endif
