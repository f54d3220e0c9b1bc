/* wait.h - level 5: what a side does while there is nothing to do: spin, then sleep on a futex in the segment.
 *
 * The busy side pays one plain load per publication: is the other side's `asleep` word set? The side that goes to sleep
 * pays the rest: it sets the word, makes every core of every registered process pass a barrier (membarrier), looks once
 * more, and sleeps. No sleep is longer than RING_WAIT_BOUND_NS, so a wake lost to a kill, or a peer whose kernel has no
 * membarrier, costs that bound at most, and a peer's death is noticed within it.
 *
 * Private to the library but for ring_wake(), which the hot paths of the topologies call.
 */
#ifndef RING_WAIT_H
#define RING_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include <ring/platform.h>

RING_BEGIN_C

#define RING_WAIT_BOUND_NS       INT64_C(50000000) /* longest sleep, 50 ms */
#define RING_WAIT_BOUND_BLIND_NS INT64_C(1000000)  /* longest sleep when the other side cannot be barriered, 1 ms */
#define RING_WAIT_SPIN_NS        INT64_C(50000) /* spinning before the first sleep: some ten times the cost of a wake */

/* One wait of one thread, from its first fruitless look to its success or its time limit. */
struct ring_wait {
    int64_t deadline_ns; /* CLOCK_MONOTONIC, INT64_MAX: none */
    int64_t spin_until_ns;
    unsigned looks;
};

enum ring_wait_next {
    RING_WAIT_LOOK,    /* look again */
    RING_WAIT_SLEEP,   /* spinning did not help: announce, look, sleep */
    RING_WAIT_EXPIRED, /* the time limit passed */
};

/* How long an endpoint leaves a ring alone that it finds empty (full) again and again. */
struct ring_back_off {
    uint32_t pauses;      /* of the last back-off, */
    uint32_t most_pauses; /* and at most: a small ring would be full before */
    uint32_t lonely;      /* how often in a row one message at most came between, since the last trial */
    uint32_t trial_after; /* the number of those after which backing off is tried */
};

/* `most_pauses`: after so many the other side might have filled (emptied) the ring. */
RING_PRIVATE struct ring_back_off ring_back_off_start(uint64_t most_pauses);

/* Pauses for now. `stream`: more than one message came since the ring was last found empty (full); `worth`: for how
 * many pauses they would have been too much to keep up with. */
RING_PRIVATE unsigned ring_back_off_next(struct ring_back_off *back_off, bool stream, uint64_t worth);

/* timeout_ns: 0 not at all, negative without limit. */
RING_PRIVATE void ring_wait_begin(struct ring_wait *wait, int64_t timeout_ns);

/* Pauses for some tens of cycles, now and then looks at the clock, and says what to do next. */
RING_PRIVATE enum ring_wait_next ring_wait_pause(struct ring_wait *wait);

/* W1: sets the word that asks to be woken, then sees to it that whoever does not see it has published before.
 * False: the kernel has no such barrier, so sleep blindly. */
RING_PRIVATE bool ring_wait_announce(RING_ATOMIC(uint32_t) * asleep);

/* Sleeps until woken, the deadline, or the bound. `blind`: the peer is not reached by membarrier. */
RING_PRIVATE void ring_wait_sleep(struct ring_wait *wait, RING_ATOMIC(uint32_t) * asleep, bool blind);

/* Takes the word back: on every way out after an announce. */
RING_PRIVATE void ring_wait_withdraw(RING_ATOMIC(uint32_t) * asleep);

/* Registers this process for expedited membarriers, once. True: it is registered. */
RING_PRIVATE bool ring_wait_register(void);

/* W2: clears the word and wakes its sleeper. For a producer or consumer that found it set after publishing. */
RING_PUBLIC void ring_wake(RING_ATOMIC(uint32_t) * asleep);

RING_END_C

#endif
