/* wait.h - level 5: what an endpoint does while there is nothing to receive, or no room to send: spin, rest, sleep; or
 * tell an event loop.
 *
 * Each side of a ring has a bell: two words next to each other. `asleep` is what the busy side reads after each
 * publication, with one plain load; `calls` counts the rings of the bell and is the futex. Whoever goes to sleep notes
 * `calls`, sets `asleep`, makes every core of every registered process pass a barrier (membarrier), looks once more,
 * and sleeps until `calls` has changed. Nobody counts sleepers: who dies asleep leaves at most the one bit, and the
 * next publication clears it. No sleep is longer than RING_WAIT_BOUND_NS, so a wake lost to a kill costs that much at
 * most, and a peer's death is noticed within it; a wait that has lasted for a second is told of deaths by the kernel
 * instead (a thread of this process, without signals, reads that from inotify). wait.c tells the theory,
 * docs/waiting.md gives advice.
 *
 * No wait is a cancellation point: a thread that is cancelled in one goes when it is back in its own code.
 *
 * Public are struct ring_waiter's calls and ring_wake(), which the hot paths of the topologies use.
 */
#ifndef RING_WAIT_H
#define RING_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include <ring/platform.h>

RING_BEGIN_C

#define RING_WAIT_BOUND_NS       INT64_C(50000000) /* longest sleep in a wait's first second, 50 ms */
#define RING_WAIT_BOUND_BLIND_NS INT64_C(1000000)  /* longest sleep when the other side cannot be barriered, 1 ms */
#define RING_WAIT_SPIN_NS        INT64_C(50000)    /* longest spinning before a sleep, but in a stream: ten wakes */

/* ---- For callers: how an endpoint waits. `waiter`: ring_spsc_producer_waiter(&producer) and its like. ---- */

enum ring_wait_policy {
    RING_WAIT_ADAPTIVE, /* spins while that has paid lately, then lets the core rest, then sleeps: the default */
    RING_WAIT_SPIN,     /* never sleeps: the shortest latency, for a core of one's own */
    RING_WAIT_SLEEP,    /* sleeps at once: the least processor time */
};

/* How long an endpoint leaves a ring alone that it finds empty (full) again and again. */
struct ring_back_off {
    uint32_t pauses;      /* of the last back-off, */
    uint32_t most_pauses; /* and at most: a small ring would be full before */
    uint32_t lonely;      /* how often in a row one message at most came between, since the last trial */
    uint32_t trial_after; /* the number of those after which backing off is tried */
};

struct ring_segment;
struct ring_wait_looks;
struct ring_watch;
struct ring_door;

/* Part of every endpoint; private to it. */
struct ring_waiter {
    const struct ring_wait_looks *looks; /* how its topology looks for what it waits for, */
    void *end;                           /* with which endpoint */
    RING_ATOMIC(uint32_t) * asleep;      /* the bell of its own side; NULL: nobody can wake it (an observer) */
    RING_ATOMIC(uint32_t) * shown;       /* 1 while it sleeps, for people; or NULL */
    enum ring_wait_policy policy;
    uint32_t spin_ns;         /* how long it spins now before it sleeps: learned */
    int64_t woke_ns;          /* CLOCK_MONOTONIC, end of its last sleep or long wait; 0: there was none */
    bool several;             /* others may sleep on the same bell */
    bool slept;               /* in the wait last begun */
    struct ring_door *door;   /* where news goes while it does not wait: a descriptor, or a ring_any; or NULL */
    struct ring_watch *watch; /* over its segment, since it was idle for long; or NULL */
    struct ring_back_off back_off;
};

/* Any time between the endpoint's calls, by the thread that uses it. */
RING_INLINE void ring_waiter_set_policy(struct ring_waiter *waiter, enum ring_wait_policy policy)
{
    waiter->policy = policy;
}

/* A descriptor for select, poll, epoll and the like: readable (POLLIN, for producers too) while there may be something
 * to receive, or room to send. It stays so, level-triggered, until a call of the endpoint with RING_NO_WAIT answers
 * -EAGAIN; so call until then, and only then poll. Readable for nothing at first, when anybody who took part in the
 * segment goes (so that his death is noticed by the call that follows, within 50 ms), and about once a second. The
 * endpoint owns it: never read, write or close it; it goes with the endpoint, so take it out of an epoll set first.
 * -EOPNOTSUPP: an observer; or no membarrier here. -EBUSY: part of a ring_any. -EMFILE and its like. With a descriptor
 * RING_NO_WAIT enters the kernel: once per change from readable to not readable. */
RING_PUBLIC int ring_waiter_fd(struct ring_waiter *waiter);

/* ---- For the topologies. ---- */

/* Why not to sleep for long. */
enum ring_wait_doubt {
    RING_WAIT_UNREACHED = 1,  /* somebody is not reached by membarrier, so may publish without seeing that we sleep */
    RING_WAIT_UNFINISHED = 2, /* somebody is in the middle of something; should he die, nobody would tell */
};

/* How to look. 0 or more: it is there (or was taken: `call` is what the topology's verb passed on); -EAGAIN: not yet;
 * else an error that ends the wait. */
struct ring_wait_looks {
    int (*look)(void *end, void *call);
    /* The same, and asks what became of the others; adds to *doubts (enum ring_wait_doubt). */
    int (*look_closely)(void *end, void *call, unsigned *doubts);
    /* The word that will change when it is there; NULL: there is more than one. */
    RING_ATOMIC(uint64_t) * (*word)(void *end);
    struct ring_segment *(*segment)(void *end); /* where it is */
};

/* `most_pauses`: after so many the other side might have filled (emptied) the ring. */
RING_PRIVATE struct ring_back_off ring_back_off_start(uint64_t most_pauses);

/* Pauses for now. `stream`: more than one message came since the ring was last found empty (full); `worth`: for how
 * many pauses they would have been too much to keep up with. */
RING_PRIVATE unsigned ring_back_off_next(struct ring_back_off *back_off, bool stream, uint64_t worth);

/* How a new endpoint waits. */
RING_PRIVATE struct ring_waiter ring_waiter_start(const struct ring_wait_looks *looks, void *end,
                                                  RING_ATOMIC(uint32_t) * asleep, bool several, uint64_t most_pauses);

/* The endpoint goes on in another ring, with that bell. */
RING_PRIVATE void ring_waiter_move(struct ring_waiter *waiter, RING_ATOMIC(uint32_t) * asleep);

/* How often to poll, a few ns apart, before ring_wait(): some ten microseconds' worth, fewer where waits are long. */
RING_PRIVATE int ring_waiter_polls(const struct ring_waiter *waiter);

/* Waits by the endpoint's policy. What a look said, or -ETIMEDOUT. timeout_ns: negative without limit; not 0. */
RING_PRIVATE int ring_wait(struct ring_waiter *waiter, void *call, int64_t timeout_ns);

/* A call that must not wait found nothing: makes the door dark, if there is one that is not. What the last look said,
 * mostly -EAGAIN. */
RING_PRIVATE int ring_waiter_refuse(struct ring_waiter *waiter, void *call);

/* The endpoint is being closed. */
RING_PRIVATE void ring_waiter_close(struct ring_waiter *waiter);

/* Registers this process for expedited membarriers, once. True: it is registered. */
RING_PRIVATE bool ring_wait_register(void);

/* W2: wakes all who sleep on a bell, if any; for whoever found `asleep` set after publishing. */
RING_PUBLIC void ring_wake(RING_ATOMIC(uint32_t) * asleep);

/* The same where what was published is for one of them only: wakes one, and leaves the bell set while there may be
 * more. */
RING_PUBLIC void ring_wake_one(RING_ATOMIC(uint32_t) * asleep);

RING_END_C

#endif
