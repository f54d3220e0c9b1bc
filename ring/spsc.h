/* spsc.h - level 6: a ring for one producer and one consumer, threads or processes, messages of any length.
 *
 * Each message lies in one piece behind one header word, and the header, stored last, is the signal: up to 56 bytes
 * travel in a single cache line. spsc.c tells the theory; docs/memory_ordering.md pairs the labels P0..P5, C1..C8.
 *
 * Who may call what: an endpoint belongs to one thread at a time (handing it over needs the caller's own ordering). The
 * two roles are exclusive across processes: -EBUSY while a living process holds one, a successor takes over from the
 * dead.
 *
 * Time limits are the last argument, in ns: RING_NO_WAIT tries once (so it tells of a peer that closed, but never of
 * one that died: ask ring_spsc_*_state() now and then), RING_FOREVER waits. With RING_NO_WAIT the kernel is entered
 * only to wake a peer that sleeps, or for one's own descriptor; docs/waiting.md tells how to have neither. A limit is
 * kept to within some tens of microseconds: that long a wait may spin before it looks at the clock. Waiting ends early
 * with -EPIPE (other side closed) or -EOWNERDEAD (other side died) when there is nothing left to get, or no room; a new
 * peer may attach later, so a caller may go on calling.
 *
 * Every hot verb may also return -EUCLEAN (the segment was damaged; this endpoint is poisoned and repeats it) and
 * -EBADF (closed endpoint). Messages begin at addresses that are multiples of 8.
 */
#ifndef RING_SPSC_H
#define RING_SPSC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <ring/layout.h>
#include <ring/message.h>
#include <ring/segment.h>
#include <ring/wait.h>

RING_BEGIN_C

#define RING_SPSC_DEFAULT_BYTES                                                                                        \
    ((size_t)2 << 20) /* by measurement, on a machine with 1 MiB of own cache a core: see docs/performance.md */
#define RING_SPSC_MIN_BYTES ((size_t)4 << 10)
#define RING_SPSC_MAX_BYTES ((size_t)1 << 32)

/* ---- Setting up. 0 or -errno, with ring_error_detail(). ---- */

struct ring_spsc_options {
    size_t struct_size;
    size_t bytes;            /* capacity, MIN .. MAX; rounded up to a power of two. Longest message: a quarter of it */
    size_t publish_bytes;    /* the consumer publishes its position each so many bytes; 0: an eighth, at most 8 KiB;
                                1: each message, so that after its death at most the one peeked is redelivered; what
                                recv returned is the caller's, and is not */
    uint64_t start_position; /* multiple of 8; for tests of the arithmetic */
    int numa_node; /* for its pages: RING_NODE_ANY (as the segment's), a node, RING_NODE_HERE (of the calling thread:
                      the side that wants it near creates), RING_NODE_INTERLEAVED. RING_STRICT refuses what cannot be
                      had */
};

RING_INLINE struct ring_spsc_options ring_spsc_defaults(void)
{
    struct ring_spsc_options options;
    options.struct_size = sizeof options;
    options.bytes = RING_SPSC_DEFAULT_BYTES;
    options.publish_bytes = 0;
    options.start_position = 0;
    options.numa_node = RING_NODE_ANY;
    return options;
}

/* Bytes that a ring of this capacity takes from its segment; 0 when the capacity is out of range. */
RING_PUBLIC size_t ring_spsc_footprint(size_t bytes);

/* Makes a ring of that name. -EEXIST: there is one; either side may create, the second ignores this.
 * -ENOSPC: segment or directory full. */
RING_PUBLIC int ring_spsc_create(struct ring_segment *segment, const char *ring, size_t bytes);
RING_PUBLIC int ring_spsc_create_with(struct ring_segment *segment, const char *ring,
                                      const struct ring_spsc_options *options);

struct ring_claim; /* proof of life of whoever holds a role (liveness.h) */

#define RING_SPSC_UNKNOWN UINT64_MAX /* no position: they are multiples of 8 */

/* Private to its owner; lies on its own cache lines. Hot fields first. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_spsc_producer {
    unsigned char *data; /* first byte of the ring's data */
    uint64_t mask;       /* capacity - 1 */
    uint64_t position;   /* of the next record */
    uint64_t limit;      /* the next record must end here at the latest, unless `head` has moved on */
    uint64_t touched;    /* lines up to here were written by us after the consumer freed them */
    size_t max_message;
    RING_ATOMIC(uint32_t) * consumer_asleep;
    uint64_t reserved;    /* length of the open reservation plus 1, 0: none */
    uint64_t usual_limit; /* limit, kept aside while a reservation is open */
    struct ring_layout_spsc *control;
    uint64_t capacity;
    uint64_t head;       /* shadow: the consumer's position last seen, never going back */
    uint64_t pack_bytes; /* payload of a pack at most */
    int fault;           /* 0, or the error every call repeats */
    unsigned entry;
    struct ring_segment *segment;
    struct ring_claim *claim;
    struct ring_waiter waiter;
};

/* A record of several small messages that is being taken apart. count 0: none. */
struct ring_spsc_pack {
    uint32_t count;
    uint32_t taken;
    uint32_t length; /* bytes of each message */
};

/* A decoded header word. */
struct ring_spsc_record {
    uint64_t stride; /* bytes in the ring, header included; 0: nothing here yet */
    uint32_t count;
    uint32_t length; /* of each message */
};

struct RING_ALIGNED(RING_LINE_PAIR) ring_spsc_consumer {
    unsigned char *data; /* first byte of the ring's data; or a private zero, so that the hot path finds nothing and */
    uint64_t mask;       /* calls the slow one: in a pack, in doubt about redelivery, poisoned, closed; mask 0 then */
    uint64_t position;   /* of the record to come */
    uint64_t usual_header;  /* header word of the last plain record, */
    uint64_t usual_length;  /* its length, */
    uint64_t usual_stride;  /* and its bytes in the ring: lets the core run ahead of the header's arrival */
    uint64_t publish_at;    /* publish at this position, */
    uint64_t publish_bytes; /* so many bytes after */
    uint64_t published;     /* the position last published to the producer */
    struct ring_layout_spsc *control;
    size_t max_message;
    uint64_t peeked_position;          /* where the messages last peeked end, */
    struct ring_spsc_pack peeked_pack; /* within which pack, */
    uint32_t peeked_count;             /* and how many they are */
    uint32_t last_flags;               /* of the message last received: 0 or RING_REDELIVERED */
    uint64_t emptied;                  /* position when the ring was last found empty, */
    uint64_t one_message;              /* and the position after the message that then came; or RING_SPSC_UNKNOWN */
    struct ring_spsc_pack pack;
    struct ring_spsc_record usual_record; /* as usual_header, of the records that recv_array takes whole */
    unsigned char *ring_data;             /* what `data` is on the hot path */
    uint64_t ring_mask;
    uint64_t redelivered_until; /* records before it carry RING_REDELIVERED */
    int fault;                  /* 0, or the error every call repeats */
    unsigned entry;
    struct ring_segment *segment;
    struct ring_claim *claim;
    struct ring_waiter waiter;
};

/* Takes a role of the ring; waits up to timeout_ns for a ring of that name to appear. -ENOENT, -ETIMEDOUT: no such
 * ring. -EBUSY (at once): a living process holds the role. -EACCES: the segment is attached read-only. -EUCLEAN: the
 * ring is damaged. Whatever the dead predecessor had published is kept; a consumer gets what its predecessor may have
 * seen again, flagged RING_REDELIVERED. The endpoint must not be moved or copied while open. */
RING_PUBLIC int ring_spsc_open_producer(struct ring_spsc_producer *producer, struct ring_segment *segment,
                                        const char *ring, int64_t timeout_ns);
RING_PUBLIC int ring_spsc_open_consumer(struct ring_spsc_consumer *consumer, struct ring_segment *segment,
                                        const char *ring, int64_t timeout_ns);

/* Gives the role back. What was sent stays in the ring for the next consumer; an open reservation is cancelled; peeked
 * messages that were not released will be delivered again. -EBADF: not open. */
RING_PUBLIC int ring_spsc_close_producer(struct ring_spsc_producer *producer);
RING_PUBLIC int ring_spsc_close_consumer(struct ring_spsc_consumer *consumer);

/* ---- Growth. ---- */

/* Replaces the ring by a larger one in the same segment, whose messages follow those of the old ring: nothing is lost,
 * doubled or reordered, also when either side dies meanwhile. The producer goes on in the larger ring at once; the
 * consumer follows by itself when it has taken all of the old one, and whoever opens the ring by its name later finds
 * the right one. options NULL: twice the capacity; else bytes (more than now) and publish_bytes are used. The longest
 * message grows too: the consumer's buffers may have to. -EINVAL, -EBUSY: a reservation is open; -ENOSPC: no room for
 * it in the segment (see .reserve of its options), or in its directory, or no memory; -EEXIST: another ring has the
 * name of the next generation, NAME~1; -ENAMETOOLONG. The ring goes on as it was after any. See docs/growth.md. */
RING_PUBLIC int ring_spsc_grow(struct ring_spsc_producer *producer, const struct ring_spsc_options *options);

/* The same by anybody who may write, for a ring that has no living producer: takes the role for a moment and leaves it
 * as it was found, so its consumer does not take this for a producer that came and went. -EBUSY: it has a producer, and
 * only that may grow it; for the time of this call its successor gets -EBUSY too. Else as ring_spsc_open_producer()
 * without waiting, and ring_spsc_grow(). */
RING_PUBLIC int ring_spsc_grow_unattended(struct ring_segment *segment, const char *ring,
                                          const struct ring_spsc_options *options);

/* How it waits: see wait.h. */
RING_INLINE struct ring_waiter *ring_spsc_producer_waiter(struct ring_spsc_producer *producer)
{
    return &producer->waiter;
}

RING_INLINE struct ring_waiter *ring_spsc_consumer_waiter(struct ring_spsc_consumer *consumer)
{
    return &consumer->waiter;
}

/* ---- Looking. Cold; disturbs nobody; any thread of any process attached. ---- */

struct ring_spsc_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    uint64_t capacity;
    uint64_t max_message;
    uint64_t publish_bytes;
    uint64_t head;     /* consumer's published position: up to publish_bytes behind the truth */
    uint64_t tail;     /* where the producer will write next, found by walking the records from head */
    uint64_t messages; /* in those records */
    struct ring_side producer;
    struct ring_side consumer;
    /* What came later. */
    unsigned generation; /* 0; of a ring that replaces a smaller one: how often that happened */
    bool moved;          /* its producer has gone on to the next generation for good: what is in it is all */
};

/* A snapshot. -ENOENT, -EUCLEAN, -EINVAL. */
RING_PUBLIC int ring_spsc_info(struct ring_segment *segment, const char *ring, struct ring_spsc_info *info);

/* What became of the other side; a system call when it seems attached (0.3 us). */
RING_PUBLIC enum ring_peer ring_spsc_consumer_state(const struct ring_spsc_producer *producer);
RING_PUBLIC enum ring_peer ring_spsc_producer_state(const struct ring_spsc_consumer *consumer);

/* ---- Sending ---- */

/* Copies a message into the ring. 0; -EAGAIN, -ETIMEDOUT, -EPIPE, -EOWNERDEAD: full; -EMSGSIZE: longer than
 * max_message, never fits; -EBUSY: a reservation is open; -EINVAL: NULL message of some length. The ring is unharmed by
 * any. */
RING_INLINE int ring_spsc_send(struct ring_spsc_producer *producer, const void *message, size_t length,
                               int64_t timeout_ns);

/* Gives room for a message of up to `length` bytes, to be filled in place and then committed or cancelled; meanwhile no
 * other call but those two. Errors as for send. */
RING_INLINE int ring_spsc_reserve(struct ring_spsc_producer *producer, size_t length, void **message,
                                  int64_t timeout_ns);

/* Publishes the first `length` bytes of the reservation. 0; -EINVAL: no reservation, or longer than it (which stays).
 */
RING_INLINE int ring_spsc_commit(struct ring_spsc_producer *producer, size_t length);

/* Forgets the reservation: nothing was sent. 0; -EINVAL: there is none. */
RING_INLINE int ring_spsc_cancel(struct ring_spsc_producer *producer);

/* ---- Receiving ---- */

/* Copies the next message out. Returns its length; -EAGAIN, -ETIMEDOUT, -EPIPE, -EOWNERDEAD: nothing there;
 * -EMSGSIZE: longer than `size`, it stays the next one (peek it, or come with a longer buffer); -EINVAL: NULL buffer of
 * some size. */
RING_INLINE ssize_t ring_spsc_recv(struct ring_spsc_consumer *consumer, void *buffer, size_t size, int64_t timeout_ns);

/* RING_REDELIVERED if the message last received, or peeked alone, may have been delivered before; else 0. */
RING_INLINE uint32_t ring_spsc_last_flags(const struct ring_spsc_consumer *consumer);

/* Shows the next message where it lies, until released; peeking again shows the same one. 0; errors as for recv. */
RING_INLINE int ring_spsc_peek(struct ring_spsc_consumer *consumer, struct ring_message *message, int64_t timeout_ns);

/* Frees the `count` oldest messages of those last peeked (none of which was received meanwhile). 0; -EINVAL: more than
 * were peeked. */
RING_INLINE int ring_spsc_release(struct ring_spsc_consumer *consumer, size_t count);

/* ---- Batches: one signal for many messages; small ones of equal length share a header. ---- */

/* Sends the first of `count` messages, as many as there is room for; waits until there is room for one.
 * Returns how many were sent, at least 1 (0 for count 0); else an error as for send about messages[0]. */
RING_PUBLIC ssize_t ring_spsc_send_batch(struct ring_spsc_producer *producer, const struct ring_message *messages,
                                         size_t count, int64_t timeout_ns);

/* The same for an array of messages that all have `length` bytes and lie one behind the other. */
RING_PUBLIC ssize_t ring_spsc_send_array(struct ring_spsc_producer *producer, const void *messages, size_t length,
                                         size_t count, int64_t timeout_ns);

/* Shows up to `count` of the next messages, at least 1 (waits for that); release() frees them. Else errors as for peek.
 */
RING_PUBLIC ssize_t ring_spsc_peek_batch(struct ring_spsc_consumer *consumer, struct ring_message *messages,
                                         size_t count, int64_t timeout_ns);

/* Copies up to `count` messages that all have exactly `length` bytes, one behind the other, into `messages`. Returns
 * how many, at least 1 (waits for that). -EMSGSIZE: the next message has another length, it stays. */
RING_PUBLIC ssize_t ring_spsc_recv_array(struct ring_spsc_consumer *consumer, void *messages, size_t length,
                                         size_t count, int64_t timeout_ns);

RING_END_C

#include <ring/spsc_hot.h>  /* the hot path */
#include <ring/spsc_type.h> /* RING_SPSC_TYPE: the same verbs for messages of one C type */

#endif
