/* layout.h - level 1: the ABI of a segment. Every byte that two processes share is drawn here.
 *
 * Offsets and 64-bit positions, never pointers. Any change of an offset is a new RING_LAYOUT_VERSION; a field that an
 * old reader may not ignore is a bit in `needs`. docs/layout.md shows the same picture with its reasons.
 *
 *      0  +-----------------------------+
 *         | ring_layout_segment         |  constants, written once before the segment has a name
 *   4096  +-----------------------------+
 *         | ring_layout_entry [entries] |  directory of named rings
 *  arena  +-----------------------------+  page aligned
 *         | ring_layout_spsc   4096     |  one ring: control page,
 *         | data          capacity      |    records, the last of a lap running on into
 *         | overhang   >= max_message   |    the overhang: every message is one piece
 *         +-----------------------------+  page aligned; next ring
 *         | free                        |
 *  bytes  +-----------------------------+
 *
 * "Writer" below says who may store to a field while the segment is in use; everybody may read everything.
 */
#ifndef RING_LAYOUT_H
#define RING_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <ring/platform.h>

#define RING_LAYOUT_MAGIC         UINT64_C(0x474e49524d485301) /* bytes 01 'S' 'H' 'M' 'R' 'I' 'N' 'G' in memory */
#define RING_LAYOUT_MAGIC_FOREIGN UINT64_C(0x0153484d52494e47) /* the same, of a machine of the other byte order */
#define RING_LAYOUT_SIGNPOST      UINT64_C(0x4e4749534d485301) /* bytes 01 'S' 'H' 'M' 'S' 'I' 'G' 'N' */
#define RING_LAYOUT_VERSION       UINT32_C(2)
#define RING_LAYOUT_BYTE_ORDER    UINT32_C(0x01020304)
#define RING_NEEDS_RESERVE        UINT64_C(1)        /* bit of `needs`: memory comes with the rings behind `backed` */
#define RING_LAYOUT_NEEDS         RING_NEEDS_RESERVE /* incompatible features this code knows */
#define RING_LAYOUT_PAGE          4096               /* granule of the layout, whatever the machine's page is */

#define RING_LAYOUT_COMMAND 16 /* bytes of a command's name, as the kernel keeps it */
#define RING_LAYOUT_NAME    64 /* bytes of a ring's name with its final zero */

/* First page of a segment. Writer: the creator, before the file has a name; nobody afterwards. */
struct ring_layout_segment {
    /*   0 */ uint64_t magic;
    /*   8 */ uint32_t version;
    /*  12 */ uint32_t byte_order;
    /*  16 */ uint64_t needs;  /* features without which nobody may attach */
    /*  24 */ uint64_t offers; /* features a reader may ignore */
    /*  32 */ uint64_t bytes;  /* size of the whole object, equal to the file's size */
    /*  40 */ uint64_t directory_offset;
    /*  48 */ uint32_t directory_entries;
    /*  52 */ uint32_t directory_entry_bytes;
    /*  56 */ uint64_t arena_offset;
    /*  64 */ uint32_t mode;  /* permission bits the creator asked for */
    /*  68 */ uint32_t flags; /* what the creator asked for: RING_HUGE ... */
    /*  72 */ int32_t numa_node;
    /*  76 */ int32_t creator_pid; /* for people to read; never used as a proof of anything */
    /*  80 */ uint64_t creator_started;
    /*  88 */ uint64_t created_ns; /* CLOCK_REALTIME */
    /*  96 */ char creator_command[RING_LAYOUT_COMMAND];
    /* 112 */ uint32_t backing; /* enum ring_backing: what the memory is */
    /* 116 */ uint32_t removal; /* enum ring_removal: when its name goes */
    /* 120 */ uint64_t serial;  /* random; of a System V segment also in its signpost */
    /* 128 */ uint64_t backed;  /* with RING_NEEDS_RESERVE: so many bytes are in memory, the rest where rings lie */
    /* 136 */ uint8_t reserved[120];
    /* 256 */
};

enum ring_layout_signpost_state {
    RING_SIGNPOST_MAKING = 0, /* attachers pass by; with a dead maker: left behind, and removed by the next maker */
    RING_SIGNPOST_READY = 1,  /* written last */
};

/* The file in /dev/shm that has the name of a System V segment, which is no file: it tells where the memory is, and
 * carries the locks. Writer: the creator, until READY; nobody afterwards. */
struct ring_layout_signpost {
    /*   0 */ uint64_t magic; /* RING_LAYOUT_SIGNPOST */
    /*   8 */ uint32_t version;
    /*  12 */ uint32_t byte_order;
    /*  16 */ uint32_t state; /* enum ring_layout_signpost_state */
    /*  20 */ uint32_t removal;
    /*  24 */ int32_t key; /* written before the memory is made, so that what a dead maker leaves can be found */
    /*  28 */ int32_t id;  /* of shmget(); -1 before */
    /*  32 */ uint64_t bytes;
    /*  40 */ uint64_t page_bytes; /* of its huge pages; 0: ordinary ones */
    /*  48 */ uint64_t serial;     /* that of the first page */
    /*  56 */ int32_t creator_pid;
    /*  60 */ uint32_t mode;
    /*  64 */ uint64_t created_ns;
    /*  72 */ char creator_command[RING_LAYOUT_COMMAND];
    /*  88 */ uint64_t reserve; /* of `bytes`, at their end: in memory only where rings lie */
    /*  96 */ uint8_t reserved[160];
    /* 256 */
};

enum ring_layout_entry_state {
    RING_ENTRY_FREE = 0,  /* also what a creator that died half-way leaves */
    RING_ENTRY_READY = 1, /* release-stored last: all other fields of the entry and its ring are final */
};

/* The word of an entry: how often its place was given back, what it holds, and whether it does:
 *
 *      63               16 15     8 7      0
 *     +-------------------+--------+--------+
 *     | turn              | kind   | state  |
 *     +-------------------+--------+--------+
 *
 * so one look tells whether an entry is still the one that was found. */
#define RING_ENTRY_STATE UINT64_C(0xff)
#define RING_ENTRY_KIND  8
#define RING_ENTRY_TURN  16

enum ring_layout_kind {
    RING_KIND_NONE = 0,
    RING_KIND_SPSC = 1,
    RING_KIND_MPMC = 2,
    RING_KIND_BROADCAST = 3,
    RING_KIND_BLOCKS = 4, /* a pool of blocks */
    RING_KIND_HEAP = 5,   /* a heap of pieces of any size */
};

/* One named thing. Writer: the holder of the directory lock, and only while the word says FREE; READY to FREE it goes
 * by one who holds the entry's RING_LOCK_PRESENCE alone besides. */
struct ring_layout_entry {
    /*   0 */ RING_ATOMIC(uint64_t) word;   /* see above */
    /*   8 */ RING_ATOMIC(uint64_t) offset; /* of the ring's control page in the segment */
    /*  16 */ RING_ATOMIC(uint64_t) bytes;  /* of control, data and overhang */
    /*  24 */ RING_ATOMIC(uint64_t) created_ns;
    /*  32 */ RING_ATOMIC(uint64_t) name[RING_LAYOUT_NAME / 8];
    /*  96 */ RING_ATOMIC(uint32_t) generation; /* 0; of a ring that replaces a smaller one, how often that happened */
    /* 100 */ RING_ATOMIC(
        uint32_t) stem;                  /* generation > 0: the name is the first one, of so many characters, '~', it */
    /* 104 */ RING_ATOMIC(int32_t) node; /* its pages' node as it was asked for, or RING_NODE_ANY ... */
    /* 108 */ uint8_t reserved[20];
    /* 128 */
};

enum ring_layout_role_state {
    RING_ROLE_NEVER = 0,    /* nobody has held it yet */
    RING_ROLE_ATTACHED = 1, /* held; if its lock is free all the same, the holder died */
    RING_ROLE_CLOSED = 2,   /* the last holder left in good order */
    RING_ROLE_MOVED = 3, /* producer of an SPSC ring: it goes on in the next generation, nobody produces here again */
};

/* One side of a ring. Writer: the holder of the role's lock. A death leaves state ATTACHED and a free lock. */
struct ring_layout_role {
    /*   0 */ RING_ATOMIC(uint64_t) state;   /* tenure number << 8 | enum ring_layout_role_state */
    /*   8 */ RING_ATOMIC(uint32_t) barrier; /* 1: its process is registered for expedited membarrier */
    /*  12 */ RING_ATOMIC(int32_t) pid;      /* pid, started, command: for people to read */
    /*  16 */ RING_ATOMIC(uint64_t) started; /* clock ticks after boot, as in /proc/PID/stat */
    /*  24 */ RING_ATOMIC(uint64_t) command[2];
    /*  40 */ RING_ATOMIC(uint64_t) forgotten; /* tenures that count for none. Writer: as state */
    /*  48 */ uint8_t reserved[80];
    /* 128 */
};

/* Control page of an SPSC ring. Lines are kept apart by who writes them. */
struct ring_layout_spsc {
    /*   0 */ uint64_t capacity;      /* bytes of data, a power of two; these four: written before the entry is READY */
    /*   8 */ uint64_t max_message;   /* longest message in bytes */
    /*  16 */ uint64_t publish_bytes; /* the consumer publishes its position when this much was taken since */
    /*  24 */ uint64_t start_position; /* both sides began here */
    /*  32 */ uint8_t reserved0[96];
    /* 128 */ RING_ATOMIC(uint64_t) head;        /* records before it are free. Writer: consumer */
    /* 136 */ RING_ATOMIC(uint64_t) head_taken;  /* messages of the record at head already taken. Writer: consumer */
    /* 144 */ RING_ATOMIC(uint64_t) head_peeked; /* records before it may have been handed out. Writer: consumer */
    /* 152 */ RING_ATOMIC(uint64_t)
    head_doubt; /* records before it may have been seen by one who died. Writer: consumer */
    /* 160 */ uint8_t reserved1[96];
    /* 256 */ RING_ATOMIC(uint32_t) consumer_asleep; /* 1: wake me. Writer: consumer sets, either clears */
    /* 260 */ RING_ATOMIC(uint32_t) consumer_calls;  /* how often it was woken; what it sleeps on. Writer: producer */
    /* 264 */ uint8_t reserved2[120];
    /* 384 */ RING_ATOMIC(uint32_t) producer_asleep; /* 1: wake me. Writer: producer sets, either clears */
    /* 388 */ RING_ATOMIC(uint32_t) producer_calls;  /* as above. Writer: consumer */
    /* 392 */ uint8_t reserved3[120];
    /* 512 */ struct ring_layout_role producer;
    /* 640 */ struct ring_layout_role consumer;
    /* 768 */
};

/* The header word of a record: 0 is "nothing here yet"; else
 *
 *      63    56 55          32 31                     0
 *     +--------+--------------+------------------------+
 *     | kind 0 | count >= 1   | length of each message |
 *     +--------+--------------+------------------------+
 *
 * followed by `count` messages of `length` bytes each; each starts on a multiple of 8. count is 1 but for batches of
 * small messages. Writer: the producer; release-stored last, so the message is its own signal. */
#define RING_RECORD_HEADER    8
#define RING_RECORD_MAX_COUNT ((UINT64_C(1) << 24) - 1)
#define RING_RECORD_ONE       (UINT64_C(1) << 32)

/* Bytes of an object's byte range used for locks: far behind any data, so locks and contents never meet. */
#define RING_LOCK_DIRECTORY INT64_C(0x4000000000000000)
#define RING_LOCK_ATTACHED  INT64_C(0x4000000000000001) /* shared by all who attached for writing: any of them lives */
#define RING_LOCK_NAME      INT64_C(0x4000000000000002) /* whoever takes the name away, or has not finished making */
#define RING_LOCK_ROLES     INT64_C(0x4000000000001000) /* + 2 * directory entry, + 1 for the consumer */
#define RING_LOCK_PRESENCE  INT64_C(0x4000000000100000) /* + directory entry: shared by all who use it */
#define RING_LOCK_SEATS     INT64_C(0x4000000001000000) /* + RING_SEATS_MAX * directory entry + seat */
#define RING_SEATS_MAX      4096                        /* seats of one ring: places of its participants */

static_assert(sizeof(RING_ATOMIC(uint64_t)) == 8 && sizeof(RING_ATOMIC(uint32_t)) == 4, "atomics add nothing");
static_assert(sizeof(struct ring_layout_segment) == 256, "ABI");
static_assert(offsetof(struct ring_layout_segment, bytes) == 32, "ABI");
static_assert(offsetof(struct ring_layout_segment, arena_offset) == 56, "ABI");
static_assert(offsetof(struct ring_layout_segment, creator_command) == 96, "ABI");
static_assert(offsetof(struct ring_layout_segment, serial) == 120, "ABI");
static_assert(offsetof(struct ring_layout_segment, backed) == 128, "ABI");
static_assert(sizeof(struct ring_layout_signpost) == 256, "ABI");
static_assert(offsetof(struct ring_layout_signpost, id) == 28, "ABI");
static_assert(offsetof(struct ring_layout_signpost, serial) == 48, "ABI");
static_assert(offsetof(struct ring_layout_signpost, creator_command) == 72, "ABI");
static_assert(offsetof(struct ring_layout_signpost, reserve) == 88, "ABI");
static_assert(sizeof(struct ring_layout_entry) == 128, "ABI");
static_assert(offsetof(struct ring_layout_entry, offset) == 8, "ABI");
static_assert(offsetof(struct ring_layout_entry, name) == 32, "ABI");
static_assert(offsetof(struct ring_layout_entry, generation) == 96, "ABI");
static_assert(offsetof(struct ring_layout_entry, node) == 104, "ABI");
static_assert(sizeof(struct ring_layout_role) == 128, "ABI");
static_assert(offsetof(struct ring_layout_role, started) == 16, "ABI");
static_assert(offsetof(struct ring_layout_role, forgotten) == 40, "ABI");
static_assert(sizeof(struct ring_layout_spsc) == 768, "ABI");
static_assert(offsetof(struct ring_layout_spsc, head) == 128, "ABI");
static_assert(offsetof(struct ring_layout_spsc, consumer_asleep) == 256, "ABI");
static_assert(offsetof(struct ring_layout_spsc, consumer_calls) == 260, "ABI; right behind its asleep word: wait.c");
static_assert(offsetof(struct ring_layout_spsc, producer_asleep) == 384, "ABI");
static_assert(offsetof(struct ring_layout_spsc, producer_calls) == 388, "ABI");
static_assert(offsetof(struct ring_layout_spsc, producer) == 512, "ABI");
static_assert(offsetof(struct ring_layout_spsc, consumer) == 640, "ABI");

#endif
