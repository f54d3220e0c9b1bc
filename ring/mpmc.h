/* mpmc.h - level 6: a ring for any number of producers and consumers, threads or processes, that survives the death of
 * any of them at any instruction. Messages up to the slot size, each with its length.
 *
 * docs/crash_protocol.md tells what a death leaves and who mends it; docs/memory_ordering.md pairs the labels M0..M23.
 *
 * Who may call what: a handle belongs to one thread at a time. Used by two at once, or by a signal handler within its
 * own call, it answers -EBUSY and nothing is harmed; in a child after fork -ECHILD; closed, -EBADF. Passing a handle to
 * another thread costs some microseconds at that thread's first call: better one handle for each thread.
 *
 * Order: what one producer sent is received in that order, by any one consumer and over all consumers in the order in
 * which they took it. Delivered once; but a message that a consumer had taken and not freed when it died (or had peeked
 * and not released when it closed) is delivered again, to somebody, later, with the flag RING_REDELIVERED. A message
 * that was not committed when its producer died is gone without a trace.
 *
 * A participant that is stopped (SIGSTOP, a debugger) in the middle of a call is not dead and never robbed: what comes
 * behind it waits, by its own time limit.
 *
 * Time limits are the last argument, in ns: RING_NO_WAIT tries once (and enters the kernel only to find out whether
 * somebody died whose work is unfinished), RING_FOREVER waits. Waiting ends early with -EPIPE (nobody is on the other
 * side any more, the last ones closed) or -EOWNERDEAD (nobody is, and some of the last ones died) when there is nothing
 * left to get, or no room; others may attach later, so a caller may go on calling. -EUCLEAN: the segment was damaged;
 * this handle is poisoned and repeats it. Messages begin at addresses that are multiples of 8.
 */
#ifndef RING_MPMC_H
#define RING_MPMC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <ring/guard.h>
#include <ring/layout_mpmc.h>
#include <ring/message.h>
#include <ring/segment.h>
#include <ring/wait.h>

RING_BEGIN_C

#define RING_MPMC_DEFAULT_SLOTS      ((size_t)8192)
#define RING_MPMC_DEFAULT_SLOT_BYTES ((size_t)56) /* word and message fill a cache line */
#define RING_MPMC_DEFAULT_SEATS      64u
#define RING_MPMC_MIN_SLOTS          ((size_t)2)
#define RING_MPMC_MAX_SLOTS          ((size_t)1 << 24)
#define RING_MPMC_MAX_SLOT_BYTES     (((size_t)1 << 20) - 1)
#define RING_MPMC_BATCH_MOST         RING_INTENT_MOST /* messages taken or sent by one contended operation */

/* ---- Setting up. 0 or -errno, with ring_error_detail(). ---- */

enum ring_mpmc_flags {
    RING_MPMC_NO_SOLE = 1, /* never the cheap claim of a lone producer or consumer; works without membarrier, too */
};

struct ring_mpmc_options {
    size_t struct_size;
    size_t slots;            /* messages in the ring, MIN .. MAX; rounded up to a power of two */
    size_t slot_bytes;       /* longest message, 1 .. MAX */
    unsigned seats;          /* participants at a time, 1 .. RING_SEATS_MAX */
    unsigned flags;          /* enum ring_mpmc_flags */
    uint64_t start_position; /* for tests of the arithmetic */
    int numa_node; /* for its pages: RING_NODE_ANY (as the segment's), a node, RING_NODE_HERE (of the calling thread:
                      the side that wants it near creates), RING_NODE_INTERLEAVED. RING_STRICT refuses what cannot be
                      had */
};

RING_INLINE struct ring_mpmc_options ring_mpmc_defaults(void)
{
    struct ring_mpmc_options options;
    options.struct_size = sizeof options;
    options.slots = RING_MPMC_DEFAULT_SLOTS;
    options.slot_bytes = RING_MPMC_DEFAULT_SLOT_BYTES;
    options.seats = RING_MPMC_DEFAULT_SEATS;
    options.flags = 0;
    options.start_position = 0;
    options.numa_node = RING_NODE_ANY;
    return options;
}

/* Bytes that a ring takes from its segment (the first: with the default number of seats); 0: a value is out of range.
 */
RING_PUBLIC size_t ring_mpmc_footprint(size_t slots, size_t slot_bytes);
RING_PUBLIC size_t ring_mpmc_footprint_with(const struct ring_mpmc_options *options);

/* Makes a ring of that name. -EEXIST: there is one; anybody may create, all but the first ignore this. -ENOSPC: segment
 * or directory full. */
RING_PUBLIC int ring_mpmc_create(struct ring_segment *segment, const char *ring, size_t slots, size_t slot_bytes);
RING_PUBLIC int ring_mpmc_create_with(struct ring_segment *segment, const char *ring,
                                      const struct ring_mpmc_options *options);

struct ring_claim; /* proof of life of whoever holds a seat (liveness.h) */

/* A ring as this process may use it: constants copied once and checked. */
struct ring_mpmc_view {
    struct ring_layout_mpmc *control;
    struct ring_layout_seat *seats;
    unsigned char *data;
    uint64_t mask;   /* slots - 1 */
    uint64_t stride; /* bytes from slot to slot */
    size_t max_message;
    unsigned shift; /* slots = 1 << shift */
    unsigned seat_count;
    unsigned entry;
    unsigned flags;
    struct ring_segment *segment;
};

/* Private to its owner; lies on its own cache lines. The same for both sides. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_mpmc_end {
    struct ring_guarded guarded;
    unsigned char *data;
    uint64_t mask;
    uint64_t stride;
    uint64_t next;       /* sole: position of the next claim */
    uint64_t sole_mode;  /* what the mode word says while this one claims alone; else something it never says */
    size_t hot_limit;    /* the inline path takes messages shorter than this: 0 while it must not be taken */
    size_t shared_limit; /* the same of the short path of those who share a side */
    size_t usual_length; /* consumer: of the last message; lets the core run ahead of the word's arrival */
    RING_ATOMIC(uint64_t) * mode;
    RING_ATOMIC(uint64_t) * intent;
    RING_ATOMIC(uint64_t) * counter;       /* tail of producers, head of consumers */
    RING_ATOMIC(uint32_t) * others_asleep; /* whom to wake */
    uint64_t held;                         /* first position reserved, or peeked and not yet released */
    unsigned held_count;                   /* how many */
    uint32_t held_flags;
    size_t reserved;     /* length of the reservation */
    uint32_t last_flags; /* of the message last received: 0 or RING_REDELIVERED */
    unsigned shift;
    int fault;            /* 0, or the error every call repeats */
    unsigned fruitless;   /* looks without waiting since the last search for the dead */
    unsigned shared_ops;  /* claims since it was last asked whether this one is alone */
    unsigned not_alone;   /* how often it was not */
    uint64_t fetch_ahead; /* slots that are asked for before their turn, */
    uint64_t clear;       /* of positions up to here, as far as is known, */
    uint64_t look_at;     /* and from this position on it is looked again */
    uint64_t taken;       /* messages in shared mode so far */
    uint64_t emptied;     /* `next` or `taken` when the ring was last found empty (full) */
    size_t max_message;
    bool search; /* search for what the dead left, before all else */
    bool consumer;
    unsigned seat;
    struct ring_claim *claim;
    struct ring_waiter waiter;
    struct ring_mpmc_view view;
};

struct ring_mpmc_producer {
    struct ring_mpmc_end end;
};

struct ring_mpmc_consumer {
    struct ring_mpmc_end end;
};

/* Takes a seat; waits up to timeout_ns for a ring of that name to appear. -ENOENT, -ETIMEDOUT: no such ring. -EUSERS
 * (at once): all seats are held by the living; those of the dead are used again. -EBUSY: a stopped process is in the
 * middle of taking or leaving a seat. -EACCES: the segment is attached read-only. -EUCLEAN: the ring is damaged. The
 * handle must not be moved or copied while open.
 */
RING_PUBLIC int ring_mpmc_open_producer(struct ring_mpmc_producer *producer, struct ring_segment *segment,
                                        const char *ring, int64_t timeout_ns);
RING_PUBLIC int ring_mpmc_open_consumer(struct ring_mpmc_consumer *consumer, struct ring_segment *segment,
                                        const char *ring, int64_t timeout_ns);

/* Gives the seat back. What was sent stays in the ring; an open reservation is cancelled; peeked messages that were not
 * released will be delivered again. -EBADF: not open. In a child after fork: forgets the handle, disturbs nobody. */
RING_PUBLIC int ring_mpmc_close_producer(struct ring_mpmc_producer *producer);
RING_PUBLIC int ring_mpmc_close_consumer(struct ring_mpmc_consumer *consumer);

/* How it waits: see wait.h. */
RING_INLINE struct ring_waiter *ring_mpmc_producer_waiter(struct ring_mpmc_producer *producer)
{
    return &producer->end.waiter;
}

RING_INLINE struct ring_waiter *ring_mpmc_consumer_waiter(struct ring_mpmc_consumer *consumer)
{
    return &consumer->end.waiter;
}

/* ---- Sending ---- */

/* Copies a message into the ring. 0; -EAGAIN, -ETIMEDOUT, -EPIPE, -EOWNERDEAD: full; -EMSGSIZE: longer than slot_bytes,
 * never fits; -EBUSY: a reservation is open (or see above); -EINVAL: NULL message of some length. The ring is unharmed
 * by any. */
RING_INLINE int ring_mpmc_send(struct ring_mpmc_producer *producer, const void *message, size_t length,
                               int64_t timeout_ns);

/* Gives room for a message of up to `length` bytes, to be filled in place and then committed or cancelled; meanwhile no
 * other sending with this handle. The place in the order is taken now: consumers wait for the commit, so be quick.
 * Errors as for send. */
RING_PUBLIC int ring_mpmc_reserve(struct ring_mpmc_producer *producer, size_t length, void **message,
                                  int64_t timeout_ns);

/* Publishes the first `length` bytes of the reservation. 0; -EINVAL: no reservation, or longer than it (which stays).
 */
RING_PUBLIC int ring_mpmc_commit(struct ring_mpmc_producer *producer, size_t length);

/* Forgets the reservation: nothing was sent. 0; -EINVAL: there is none. */
RING_PUBLIC int ring_mpmc_cancel(struct ring_mpmc_producer *producer);

/* Sends the first of `count` messages, as many as there is room for; waits until there is room for one. One contended
 * operation takes up to RING_MPMC_BATCH_MOST. Returns how many were sent, at least 1 (0 for count 0); else an error as
 * for send about messages[0]. */
RING_PUBLIC ssize_t ring_mpmc_send_batch(struct ring_mpmc_producer *producer, const struct ring_message *messages,
                                         size_t count, int64_t timeout_ns);

/* The same for an array of messages that all have `length` bytes and lie one behind the other. */
RING_PUBLIC ssize_t ring_mpmc_send_array(struct ring_mpmc_producer *producer, const void *messages, size_t length,
                                         size_t count, int64_t timeout_ns);

/* ---- Receiving ---- */

/* Copies the next message out. Returns its length; -EAGAIN, -ETIMEDOUT, -EPIPE, -EOWNERDEAD: nothing there; -EMSGSIZE:
 * longer than `size`, it stays (come with a longer buffer); -EINVAL: NULL buffer of some size. While messages are
 * peeked, the first of them is the next one. */
RING_INLINE ssize_t ring_mpmc_recv(struct ring_mpmc_consumer *consumer, void *buffer, size_t size, int64_t timeout_ns);

/* RING_REDELIVERED if the message last received, or peeked alone, may have been delivered before; else 0. */
RING_INLINE uint32_t ring_mpmc_last_flags(const struct ring_mpmc_consumer *consumer)
{
    return consumer->end.last_flags;
}

/* Takes the next message and shows it where it lies, until released; peeking again shows the same one. 0; errors as for
 * recv. */
RING_PUBLIC int ring_mpmc_peek(struct ring_mpmc_consumer *consumer, struct ring_message *message, int64_t timeout_ns);

/* Frees the `count` oldest messages of those peeked. 0; -EINVAL: more than were peeked. */
RING_PUBLIC int ring_mpmc_release(struct ring_mpmc_consumer *consumer, size_t count);

/* Takes and shows up to `count` of the next messages (at most RING_MPMC_BATCH_MOST), at least 1 (waits for that);
 * release() frees them. While some are peeked, shows those and takes no more. Else errors as for peek. */
RING_PUBLIC ssize_t ring_mpmc_peek_batch(struct ring_mpmc_consumer *consumer, struct ring_message *messages,
                                         size_t count, int64_t timeout_ns);

/* Copies up to `count` messages that all have exactly `length` bytes, one behind the other, into `messages`. Returns
 * how many, at least 1 (waits for that). -EMSGSIZE: the next message has another length, it stays. A redelivered
 * message comes alone (last_flags tells). */
RING_PUBLIC ssize_t ring_mpmc_recv_array(struct ring_mpmc_consumer *consumer, void *messages, size_t length,
                                         size_t count, int64_t timeout_ns);

/* ---- Looking. Cold; disturbs nobody; any thread of any process attached. ---- */

struct ring_mpmc_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    uint64_t slots;
    uint64_t slot_bytes;
    uint64_t stride;
    uint64_t head;     /* next position to be taken */
    uint64_t tail;     /* next position to be filled */
    uint64_t messages; /* sent and not yet taken: tail - head, some of them perhaps unfinished */
    uint64_t held;     /* taken and not yet freed */
    unsigned seats;
    unsigned flags;
    unsigned producers; /* living */
    unsigned consumers;
    unsigned dead;      /* participants that died, their seats not yet used again */
    bool sole_producer; /* the one producer claims without contention */
    bool sole_consumer;
    bool stuck;      /* the next message is claimed by somebody and not yet sent */
    pid_t stuck_pid; /* by whom, when known */
};

/* A snapshot. -ENOENT, -EUCLEAN, -EINVAL. */
RING_PUBLIC int ring_mpmc_info(struct ring_segment *segment, const char *ring, struct ring_mpmc_info *info);

struct ring_mpmc_seat_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    struct ring_side side;
    bool consumer;      /* else a producer */
    uint64_t position;  /* the first one it is about to claim or has claimed, */
    unsigned positions; /* and how many; 0: none */
};

/* One seat. -ENOENT: there are not so many, or nobody ever had it; -EUCLEAN, -EINVAL. */
RING_PUBLIC int ring_mpmc_seat_info(struct ring_segment *segment, const char *ring, unsigned seat,
                                    struct ring_mpmc_seat_info *info);

/* What became of the other side as a whole: ALIVE if anybody there is; else DEAD if one of the last died; else CLOSED,
 * or NEVER. Some system calls. */
RING_PUBLIC enum ring_peer ring_mpmc_consumers_state(const struct ring_mpmc_producer *producer);
RING_PUBLIC enum ring_peer ring_mpmc_producers_state(const struct ring_mpmc_consumer *consumer);

RING_END_C

#include <ring/mpmc_hot.h>  /* the hot path of a sole producer and a sole consumer */
#include <ring/mpmc_type.h> /* RING_MPMC_TYPE: the same verbs for messages of one C type */

#endif
