/* broadcast.h - level 6: one producer, any number of consumers that come and go, each sees every message.
 *
 * Messages of up to slot_bytes lie in slots of equal size; a message's position is its number, counted on for ever, so
 * losses are counted to the last one. broadcast.c tells the theory; docs/memory_ordering.md pairs the labels B1..B15;
 * docs/broadcast.md is the guide.
 *
 * RING_BROADCAST_OVERWRITE: a send never waits. The ring keeps the last slots - 1 messages; a consumer that falls
 * further behind gets -EOVERFLOW once, with the number lost (ring_broadcast_lost), and goes on at the oldest ones.
 * RING_BROADCAST_LOSSLESS: the slowest living consumer holds the producer back. One that died never does (proved, not
 * guessed), one that is stopped does, until the send's time limit. Without consumers nothing is held back.
 *
 * Observers read a segment that may be mapped read-only (RING_READ_ONLY). They take no seat, nobody knows of them, and
 * they can be overtaken under either policy.
 *
 * Who may call what: an endpoint belongs to one thread at a time. A call from a signal handler within another one, or
 * from a second thread meanwhile, answers -EBUSY; a call in a child after fork answers -ECHILD; neither harms anything.
 *
 * Time limits are the last argument, in ns: RING_NO_WAIT tries once, RING_FOREVER waits. A limit is kept to within some
 * tens of microseconds. Waiting for a message ends early with -EPIPE (the producer closed) or -EOWNERDEAD (it died)
 * when nothing is left to get; a new producer may come later, so a caller may go on calling. With RING_NO_WAIT an empty
 * ring tells of a close, but not of a death: ask ring_broadcast_producer_state() now and then.
 *
 * Every hot verb may also return -EUCLEAN (the segment was damaged; this endpoint is poisoned and repeats it) and
 * -EBADF (closed endpoint). Messages begin at addresses that are multiples of 8.
 */
#ifndef RING_BROADCAST_H
#define RING_BROADCAST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <ring/guard.h>
#include <ring/layout_broadcast.h>
#include <ring/message.h>
#include <ring/segment.h>
#include <ring/wait.h>

RING_BEGIN_C

enum ring_broadcast_policy { RING_BROADCAST_OVERWRITE = 1, RING_BROADCAST_LOSSLESS = 2 };

#define RING_BROADCAST_DEFAULT_SLOTS      ((size_t)32768) /* with the default slot_bytes: 2 MiB */
#define RING_BROADCAST_DEFAULT_SLOT_BYTES ((size_t)56)    /* one cache line with its word */
#define RING_BROADCAST_DEFAULT_SEATS      64u

/* Longer messages do not have all their lines taken ahead of time. */
#define RING_BROADCAST_TOUCH_AHEAD 2048
/* Slots this many bytes ahead are asked for, so that several lines are under way at a time. */
#define RING_BROADCAST_FETCH_AHEAD 1024

/* ---- Setting up. 0 or -errno, with ring_error_detail(). ---- */

struct ring_broadcast_options {
    size_t struct_size;
    size_t slots;                      /* 2 .. RING_BROADCAST_MAX_SLOTS, rounded up to a power of two */
    size_t slot_bytes;                 /* longest message, 1 .. RING_BROADCAST_MAX_SLOT_BYTES */
    enum ring_broadcast_policy policy; /* default RING_BROADCAST_OVERWRITE */
    unsigned seats;                    /* consumers at a time, 1 .. RING_SEATS_MAX; observers need none */
    uint64_t start_position;           /* number of the first message; for tests of the arithmetic */
    int numa_node; /* for its pages: RING_NODE_ANY (as the segment's), a node, RING_NODE_HERE (of the calling thread:
                      the side that wants it near creates), RING_NODE_INTERLEAVED. RING_STRICT refuses what cannot be
                      had */
};

RING_INLINE struct ring_broadcast_options ring_broadcast_defaults(void)
{
    struct ring_broadcast_options options;
    options.struct_size = sizeof options;
    options.slots = RING_BROADCAST_DEFAULT_SLOTS;
    options.slot_bytes = RING_BROADCAST_DEFAULT_SLOT_BYTES;
    options.policy = RING_BROADCAST_OVERWRITE;
    options.seats = RING_BROADCAST_DEFAULT_SEATS;
    options.start_position = 0;
    options.numa_node = RING_NODE_ANY;
    return options;
}

/* Bytes that a ring takes from its segment (the first: with the default number of seats); 0: a value is out of range.
 */
RING_PUBLIC size_t ring_broadcast_footprint(size_t slots, size_t slot_bytes);
RING_PUBLIC size_t ring_broadcast_footprint_with(const struct ring_broadcast_options *options);

/* Makes a ring of that name; default seats. -EEXIST: there is one; either side may create, the second ignores this.
 * -ENOSPC: segment or directory full. -EINVAL: a value out of range. -EACCES: the segment is attached read-only. */
RING_PUBLIC int ring_broadcast_create(struct ring_segment *segment, const char *ring, size_t slots, size_t slot_bytes,
                                      enum ring_broadcast_policy policy);
RING_PUBLIC int ring_broadcast_create_with(struct ring_segment *segment, const char *ring,
                                           const struct ring_broadcast_options *options);

struct ring_claim; /* proof of life of whoever holds a role or a seat (liveness.h) */

/* Private to its owner; lies on its own cache lines. Hot fields first. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_broadcast_producer {
    struct ring_guarded guarded;
    unsigned char *data; /* the first slot */
    uint64_t mask;       /* slots - 1 */
    uint64_t stride;
    uint64_t position; /* of the next message. Its slot is marked WRITING, unless position == limit */
    uint64_t limit;    /* at this position the seats must be looked at; overwrite: never reached */
    size_t slot_bytes;
    unsigned lap_shift; /* from slots * lap to the place of the lap in a word */
    int fault;          /* 0, or the error every call repeats */
    struct ring_layout_broadcast *control;
    uint64_t reserved;    /* length of the open reservation plus 1, 0: none */
    uint64_t usual_limit; /* limit, kept aside while a reservation is open */
    unsigned char *seats; /* struct ring_layout_broadcast_seat [seat_count] */
    uint64_t *known_dead; /* of each seat: its record's state when its holder was proved to be dead */
    unsigned seat_count;
    unsigned fruitless; /* looks for room without success and without waiting */
    bool lossless;
    unsigned entry;
    struct ring_segment *segment;
    struct ring_claim *claim;
    struct ring_waiter waiter;
};

/* A consumer, or an observer. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_broadcast_consumer {
    struct ring_guarded guarded;
    unsigned char
        *data;     /* the first slot; or a private zero, so that the hot path finds nothing and calls the slow one */
    uint64_t mask; /* slots - 1; 0 then */
    uint64_t stride;
    uint64_t position;       /* of the next message */
    uint64_t published;      /* position last published in the seat */
    uint64_t publish_number; /* publish after so many messages; an observer: never */
    size_t slot_bytes;
    unsigned lap_shift;
    int fault;                               /* 0, or the error every call repeats */
    struct ring_layout_broadcast_seat *seat; /* NULL: an observer */
    uint64_t peeked_end;                     /* where the messages last peeked end */
    struct ring_layout_broadcast *control;
    unsigned char *ring_data; /* what `data` and `mask` are on the hot path */
    uint64_t ring_mask;
    uint64_t pending; /* messages lost before joining, not told yet */
    uint64_t lost;    /* told by the last -EOVERFLOW */
    uint64_t lost_in_all;
    uint64_t emptied; /* position when the ring was last found empty, */
    uint64_t found;   /* and when a wait last found a message */
    unsigned seat_index;
    unsigned entry;
    struct ring_segment *segment;
    struct ring_claim *claim;
    struct ring_waiter waiter;
};

/* Becomes the ring's producer; waits up to timeout_ns for a ring of that name to appear. -ENOENT, -ETIMEDOUT: no such
 * ring. -EBUSY (at once): a living process is its producer. -EACCES: the segment is attached read-only. -EUCLEAN: the
 * ring is damaged. A successor goes on behind the last message that its predecessor published. An endpoint must not be
 * moved or copied while open. */
RING_PUBLIC int ring_broadcast_open_producer(struct ring_broadcast_producer *producer, struct ring_segment *segment,
                                             const char *ring, int64_t timeout_ns);

enum ring_broadcast_join {
    RING_BROADCAST_NEWEST, /* with the next message that is sent */
    RING_BROADCAST_OLDEST, /* with the oldest that is still there; lossless: that the producer has not got leave to
                              overwrite yet, at least the last slots * 7 / 8 */
    RING_BROADCAST_AT,     /* with the message of a given position; the first recv says -EOVERFLOW, with the number
                              lost, when it is gone. -EINVAL: no such message was sent yet (the next one will do) */
};

/* Becomes a consumer, from `join` on; `position` is only read for RING_BROADCAST_AT. -EUSERS (at once): all seats are
 * held by the living; else as above. */
RING_PUBLIC int ring_broadcast_open_consumer(struct ring_broadcast_consumer *consumer, struct ring_segment *segment,
                                             const char *ring, enum ring_broadcast_join join, uint64_t position,
                                             int64_t timeout_ns);

/* The same without a seat and without writing anything; the segment may be attached with RING_READ_ONLY. */
RING_PUBLIC int ring_broadcast_open_observer(struct ring_broadcast_consumer *observer, struct ring_segment *segment,
                                             const char *ring, enum ring_broadcast_join join, uint64_t position,
                                             int64_t timeout_ns);

/* Gives the role or seat back. What was sent stays in the ring; an open reservation is cancelled. -EBADF: not open. */
RING_PUBLIC int ring_broadcast_close_producer(struct ring_broadcast_producer *producer);
RING_PUBLIC int ring_broadcast_close_consumer(struct ring_broadcast_consumer *consumer); /* and observer */

/* How it waits: see wait.h. */
RING_INLINE struct ring_waiter *ring_broadcast_producer_waiter(struct ring_broadcast_producer *producer)
{
    return &producer->waiter;
}

RING_INLINE struct ring_waiter *ring_broadcast_consumer_waiter(struct ring_broadcast_consumer *consumer)
{
    return &consumer->waiter;
}

/* ---- Looking. Cold; disturbs nobody; any thread of any process attached, read-only too. ---- */

struct ring_broadcast_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    uint64_t slots;
    uint64_t slot_bytes;
    uint64_t start_position;
    uint64_t tail;   /* position of the next message to be sent */
    uint64_t oldest; /* where RING_BROADCAST_OLDEST would join now */
    enum ring_broadcast_policy policy;
    unsigned seats;
    unsigned seats_used; /* seats from there on were never taken */
    unsigned consumers;  /* living ones */
    struct ring_side producer;
};

/* The last holder of a seat. */
struct ring_broadcast_seat_info {
    size_t struct_size;
    struct ring_side consumer;
    uint64_t position; /* published: up to some messages behind the truth */
    uint64_t behind;   /* messages from there to the tail */
    uint64_t lost;     /* by this holder, so far */
};

/* Snapshots. -ENOENT (no such ring; no such seat, or nobody ever took it), -EUCLEAN, -EINVAL. */
RING_PUBLIC int ring_broadcast_info(struct ring_segment *segment, const char *ring, struct ring_broadcast_info *info);
RING_PUBLIC int ring_broadcast_seat_info(struct ring_segment *segment, const char *ring, unsigned seat,
                                         struct ring_broadcast_seat_info *info);

/* What became of the producer; a system call when it seems attached (0.3 us). */
RING_PUBLIC enum ring_peer ring_broadcast_producer_state(const struct ring_broadcast_consumer *consumer);

/* Messages lost: told by the last -EOVERFLOW; and by all since the consumer was opened. */
RING_INLINE uint64_t ring_broadcast_lost(const struct ring_broadcast_consumer *consumer)
{
    return consumer->lost;
}

RING_INLINE uint64_t ring_broadcast_lost_in_all(const struct ring_broadcast_consumer *consumer)
{
    return consumer->lost_in_all;
}

/* Number of the message that the next recv or peek will bring: what to give RING_BROADCAST_AT to go on after a restart.
 */
RING_INLINE uint64_t ring_broadcast_position(const struct ring_broadcast_consumer *consumer)
{
    return consumer->position;
}

/* Number of the next message to be sent. */
RING_INLINE uint64_t ring_broadcast_sent(const struct ring_broadcast_producer *producer)
{
    return producer->position;
}

RING_END_C

#include <ring/broadcast_hot.h>  /* send, recv, reserve, commit, cancel, peek, release; batches */
#include <ring/broadcast_type.h> /* RING_BROADCAST_TYPE: the same verbs for messages of one C type */

#endif
