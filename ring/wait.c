/* wait.c - level 5: spin, rest, sleep; and the bell that ends a sleep.
 *
 * Why no wake is lost. A bell is `asleep` and `calls`.
 *
 *   sleeper                                          busy side
 *     seen = calls                 W1                  publish                  P2, C2, M4, M8, B3, B9
 *     asleep = 1; membarrier       W1                  compiler barrier
 *     look: nothing                                    asleep is 1?             P3, C3, M6, B5, B10
 *     FUTEX_WAIT while calls == seen                   asleep = 0               W2
 *                                                      calls + 1; FUTEX_WAKE    W2
 *
 * membarrier makes every running thread of every registered process pass a full barrier between W1 and the look.
 * Either the busy side's barrier falls after its publication: then the look sees it; or before: then its read of
 * `asleep` comes after and sees W1. The number keeps several sleepers apart: whoever announced himself before `calls`
 * moved finds it moved, or lies in the kernel's queue already and is woken; whoever announces himself later sets the
 * bit anew, behind its clearing.
 *
 * Where one sleeper is enough (ring_wake_one) the bit stays while the kernel had somebody to wake, since there may be
 * more; when it had nobody, the bit is cleared, `calls` moves on, and everybody is woken who queued up in between. Who
 * is woken and finds more than it takes wakes the next one (mpmc.c).
 *
 * If the kernel has no membarrier, or the other side's process is not registered, sleeps are cut to 1 ms instead: the
 * busy side still pays nothing, and a wake that falls between costs that millisecond.
 */
#include <ring/wait_private.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/segment_private.h>

enum {
    LOOKS_PER_CLOCK = 64,
    RESTS_PER_CLOCK = 4,
    POLLS = 1000, /* before the first pause of a wait: some ten microseconds */
    LEAST_SPIN_NS =
        4000,            /* where no wait was short lately: with the polls before it, about what a sleep costs, so
                            the processor time is at most doubled, and a gap shorter than that is never slept through */
    LEAST_PAUSES = 24,   /* of a back-off: about a microsecond on x86 */
    MOST_PAUSES = 400,   /* some 15 us */
    NAPS_UNWATCHED = 20, /* of one wait; one that lasts longer, a second, lets the kernel tell of departures instead of
                            asking each time whether its peers live */
    STREAM_NS = 1000000, /* who neither slept nor waited long for so long is in the midst of a stream, */
    STREAM_SPINS = 4,    /* and spins so much longer */
    TRIAL_FIRST = 16,
    TRIAL_LAST = 65536,
};

/* ---- Backing off ---- */

struct ring_back_off ring_back_off_start(uint64_t most_pauses)
{
    uint64_t most = most_pauses < LEAST_PAUSES ? LEAST_PAUSES : most_pauses > MOST_PAUSES ? MOST_PAUSES : most_pauses;
    return (struct ring_back_off){ .pauses = 1, .most_pauses = (uint32_t)most, .trial_after = 1 };
}

/* Caught up with a stream, each look takes a line away from the other side that is writing it, and the processor's
 * prefetches take those behind it; who stays some ten KiB behind lets both sides run three times faster. In a ping-pong
 * any pause would be felt in each message. So: back off when more than one message came since the ring was last empty,
 * twice as long each time while more comes than one can keep up with, half as long when it does not; a burst is thus
 * held up at most for about as long as it has lasted, and never beyond most_pauses. Who keeps step with a stream sees
 * no more than one message at a time until it backs off once: that is tried now and then, more and more seldom. */
unsigned ring_back_off_next(struct ring_back_off *back_off, bool stream, uint64_t worth)
{
    uint32_t pauses = back_off->pauses;
    if (stream) {
        back_off->trial_after = TRIAL_FIRST;
        back_off->lonely = 0;
        if (worth >= pauses)
            back_off->pauses = pauses * 2 < back_off->most_pauses ? pauses * 2 : back_off->most_pauses;
        else
            back_off->pauses = pauses / 2 > LEAST_PAUSES ? pauses / 2 : LEAST_PAUSES;
        return back_off->pauses;
    }
    back_off->pauses = LEAST_PAUSES;
    if (++back_off->lonely < back_off->trial_after)
        return 0;
    back_off->lonely = 0;
    if (back_off->trial_after < TRIAL_LAST)
        back_off->trial_after *= 2;
    return LEAST_PAUSES;
}

/* ---- The bell ---- */

bool ring_wait_register(void)
{
    static RING_ATOMIC(int)
        registered; /* W4: 0: not yet, 1: yes, 2: refused; relaxed: registering twice does no harm */
    int state = ring_atomic_load(&registered, memory_order_relaxed);
    if (!state) {
        state = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0 ? 1 : 2;
        ring_atomic_store(&registered, state, memory_order_relaxed);
    }
    return state == 1;
}

bool ring_wait_announce(RING_ATOMIC(uint32_t) * asleep, enum ring_wait_request bit, uint32_t *seen)
{
    /* W1: acquire, pairs with W2: noted before the bit is set; and seq_cst, with the barrier for everybody; pairs with
     * P3 and its like. */
    *seen = ring_atomic_load(ring_wait_calls(asleep), memory_order_acquire);
    atomic_fetch_or_explicit(asleep, bit, memory_order_seq_cst);
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/* W2: `calls` moves on, then up to `most` of those who sleep on it are woken. How many. */
static long call(RING_ATOMIC(uint32_t) * asleep, int most)
{
    /* Release: the bit was cleared before, if it was; who waits for it looks at the ring itself, by an acquire load. */
    atomic_fetch_add_explicit(ring_wait_calls(asleep), 1, memory_order_release);
    return syscall(SYS_futex, (uintptr_t)ring_wait_calls(asleep), FUTEX_WAKE, most, NULL, NULL, 0);
}

void ring_wake(RING_ATOMIC(uint32_t) * asleep)
{
    /* W2: the exchange makes one waker of many; acq_rel: not after the count, and what sleepers showed is seen. */
    if (ring_atomic_exchange(asleep, 0, memory_order_acq_rel) != 0)
        call(asleep, INT_MAX);
}

void ring_wake_one(RING_ATOMIC(uint32_t) * asleep)
{
    if (ring_atomic_load(asleep, memory_order_relaxed) != RING_WAIT_ONE || call(asleep, 1) == 0)
        ring_wake(asleep);
}

/* ---- Spinning and sleeping ---- */

/* Spinning is only of use where the other side can run meanwhile. */
static uint32_t most_spin_ns(void)
{
    static RING_ATOMIC(int) processors; /* W4: 0: not asked yet; relaxed, any thread finds the same */
    int known = ring_atomic_load(&processors, memory_order_relaxed);
    if (!known) {
        cpu_set_t allowed;
        known = sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) == 1 &&
                        sysconf(_SC_NPROCESSORS_ONLN) == 1
                    ? 1
                    : 2;
        ring_atomic_store(&processors, known, memory_order_relaxed);
    }
    return known == 1 ? 0 : (uint32_t)RING_WAIT_SPIN_NS;
}

/* Does the core know something better than `pause`? */
static bool can_rest(void)
{
    static RING_ATOMIC(int) answer; /* W4: 0: not asked yet, 1: yes, 2: no; relaxed, any thread finds the same */
    int known = ring_atomic_load(&answer, memory_order_relaxed);
    if (!known) {
        known = ring_cpu_can_rest() ? 1 : 2;
        ring_atomic_store(&answer, known, memory_order_relaxed);
    }
    return known == 1;
}

/* One wait of one thread, from its first fruitless look to its success or its time limit. */
struct wait {
    int64_t began_ns; /* CLOCK_MONOTONIC; 0: the clock was not asked yet */
    int64_t deadline_ns;
    int64_t closely_ns; /* who never sleeps looks closely at this time */
    unsigned looks;
    unsigned naps;
    uint32_t seen_calls;          /* of the bell that was announced on, */
    uint32_t departed;            /* and how many had left the segment before the last look */
    RING_ATOMIC(uint64_t) * word; /* that will change, */
    uint64_t seen;                /* and what it was before the last look */
};

enum next { LOOK, SLEEP, EXPIRED };

struct ring_waiter ring_waiter_start(const struct ring_wait_looks *looks, void *end, RING_ATOMIC(uint32_t) * asleep,
                                     bool several, uint64_t most_pauses)
{
    return (struct ring_waiter){ .looks = looks,
                                 .end = end,
                                 .asleep = asleep,
                                 .policy = RING_WAIT_ADAPTIVE,
                                 .spin_ns = most_spin_ns(),
                                 .several = several,
                                 .back_off = ring_back_off_start(most_pauses) };
}

void ring_waiter_move(struct ring_waiter *waiter, RING_ATOMIC(uint32_t) * asleep)
{
    waiter->asleep = asleep;
    ring_watch_close(waiter->watch); /* it may be in another segment */
    waiter->watch = NULL;
    if (waiter->door)
        waiter->door->light(waiter->door); /* what is under way is of the old one */
}

void ring_waiter_close(struct ring_waiter *waiter)
{
    ring_watch_close(waiter->watch);
    waiter->watch = NULL;
    if (waiter->door)
        waiter->door->close(waiter->door);
    waiter->door = NULL;
    waiter->looks = NULL;
}

/* A barrier in every thread of every process: some milliseconds. For peers that the quick one does not reach. */
static bool reach_everybody(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0;
}

/* After the announcement the door is made dark, if there is still nothing. */
static int darken(struct ring_waiter *waiter, void *call)
{
    struct ring_door *door = waiter->door;
    RING_ATOMIC(uint32_t) *asleep = waiter->asleep;
    uint32_t seen;
    unsigned doubts = ring_wait_announce(asleep, RING_WAIT_ALL, &seen) ? 0 : RING_WAIT_UNREACHED;
    int code = waiter->looks->look_closely(waiter->end, call, &doubts);
    if (code == -EAGAIN && (doubts & RING_WAIT_UNREACHED)) {
        if (!reach_everybody())
            return code;
        code = waiter->looks->look(waiter->end, call);
    }
    if (code == -EAGAIN && asleep == waiter->asleep)
        door->arm(door, ring_wait_calls(asleep), seen);
    return code;
}

int ring_waiter_refuse(struct ring_waiter *waiter, void *call)
{
    struct ring_door *door = waiter->door;
    int cancel; /* as in sleep_or_expire() */
    if (RING_LIKELY(!door) || door->is_dark(door))
        return -EAGAIN;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int code = darken(waiter, call);
    pthread_setcancelstate(cancel, NULL);
    return code;
}

int ring_waiter_polls(const struct ring_waiter *waiter)
{
    if (waiter->policy == RING_WAIT_SPIN)
        return POLLS;
    if (waiter->policy == RING_WAIT_SLEEP)
        return 0;
    return waiter->spin_ns < 10 * POLLS ? (int)waiter->spin_ns / 10 : POLLS;
}

/* How long to spin. In the midst of a stream a longer gap is mostly a core that was taken away for a moment, an
 * interrupt for instance; to sleep then costs both sides more, and the gaps that it makes lead to further sleeps. */
static int64_t patience_ns(const struct ring_waiter *waiter, int64_t now)
{
    if (waiter->policy != RING_WAIT_ADAPTIVE || !waiter->spin_ns || now - waiter->woke_ns < STREAM_NS)
        return waiter->spin_ns;
    return STREAM_SPINS * RING_WAIT_SPIN_NS;
}

/* Pauses for some tens of cycles, now and then looks at the clock, and says what to do next. */
static enum next pause_or_sleep(const struct ring_waiter *waiter, struct wait *wait)
{
    bool spins = waiter->policy != RING_WAIT_SLEEP && !waiter->slept;
    if (spins) {
        bool rests = wait->looks >= LOOKS_PER_CLOCK && can_rest();
        if (rests)
            ring_cpu_rest(wait->word, wait->seen);
        else
            ring_cpu_relax();
        if (++wait->looks % (rests ? RESTS_PER_CLOCK : LOOKS_PER_CLOCK))
            return LOOK;
    }
    int64_t now = ring_clock_monotonic();
    if (now >= wait->deadline_ns)
        return EXPIRED;
    if (!wait->began_ns) {
        wait->began_ns = now;
        wait->closely_ns = now + RING_WAIT_BOUND_NS;
    }
    if (waiter->policy == RING_WAIT_SPIN)
        return now >= wait->closely_ns ? SLEEP : LOOK;
    return !spins || now - wait->began_ns >= patience_ns(waiter, now) ? SLEEP : LOOK;
}

/* False: it did not, the kernel cannot sleep on two words. */
static bool sleep_watched(const struct ring_waiter *waiter, const struct wait *wait, int64_t nap_ns)
{
    const struct ring_wait_word words[] = {
        ring_wait_word(ring_wait_calls(waiter->asleep), wait->seen_calls),
        ring_wait_word(&waiter->watch->departures, wait->departed),
    };
    return ring_wait_for_words(words, 2, ring_clock_monotonic() + nap_ns);
}

/* Sleeps until the bell is rung, the deadline, or the bound. True: nobody rang, and what was announced still stands, so
 * the caller may look and sleep again without announcing anew. */
static bool sleep_until_called(struct ring_waiter *waiter, struct wait *wait, bool restless)
{
    RING_ATOMIC(uint32_t) *asleep = waiter->asleep, *calls = ring_wait_calls(asleep);
    bool idle = !restless && ++wait->naps > NAPS_UNWATCHED;
    if (idle && !waiter->watch && wait->naps % NAPS_UNWATCHED == 1) { /* refused, or in another ring by now: again */
        waiter->watch = ring_watch_open(&waiter->looks->segment(waiter->end)->witness);
        return true; /* after another look: somebody may have gone before */
    }
    bool watched = idle && waiter->watch;
    int64_t nap = restless ? RING_WAIT_BOUND_BLIND_NS : watched ? RING_DOOR_BOUND_NS : RING_WAIT_BOUND_NS;
    if (wait->deadline_ns != RING_CLOCK_NEVER) {
        int64_t left = wait->deadline_ns - ring_clock_monotonic();
        if (left <= nap)
            nap = left;
        if (left <= 0)
            return false;
    }
    if (!watched || !sleep_watched(waiter, wait, nap)) {
        struct timespec limit = { .tv_sec = 0, .tv_nsec = nap < RING_WAIT_BOUND_NS ? nap : RING_WAIT_BOUND_NS };
        /* Not FUTEX_PRIVATE: the word lies in shared memory. Every reason to come back is a reason to look again. */
        syscall(SYS_futex, (uintptr_t)calls, FUTEX_WAIT, wait->seen_calls, &limit, NULL, 0);
    }
    /* W1: acquire: the bit first; where it is cleared, somebody is about to call, or died before he did. */
    return ring_atomic_load(asleep, memory_order_acquire) != 0 &&
           ring_atomic_load(calls, memory_order_acquire) == wait->seen_calls;
}

static int announce_and_sleep(struct ring_waiter *waiter, struct wait *wait, void *call)
{
    RING_ATOMIC(uint32_t) *asleep = waiter->asleep; /* a look may lead to another ring, with another bell */
    waiter->slept = true;
    if (waiter->shown) /* W5: relaxed, for people */
        ring_atomic_store(waiter->shown, 1, memory_order_relaxed);
    bool reached = ring_wait_announce(asleep, waiter->door ? RING_WAIT_ALL : RING_WAIT_ONE, &wait->seen_calls);
    unsigned doubts;
    int code;
    do {
        doubts = reached ? 0 : RING_WAIT_UNREACHED; /* others go with what gave rise to them */
        wait->departed = ring_watch_departures(waiter->watch);
        code = waiter->looks->look_closely(waiter->end, call, &doubts);
    } while (code == -EAGAIN && asleep == waiter->asleep && sleep_until_called(waiter, wait, doubts != 0));
    waiter->woke_ns = ring_clock_monotonic();
    if (code == -EAGAIN)
        code = waiter->looks->look(waiter->end, call);
    /* W3: relaxed: a wake for nothing is all that a late reader causes. Where others may sleep the bit is theirs too.
     */
    if (!waiter->several && !waiter->door)
        ring_atomic_store(asleep, 0, memory_order_relaxed);
    if (waiter->shown)
        ring_atomic_store(waiter->shown, 0, memory_order_relaxed); /* W5 */
    return code;
}

/* Spinning was not enough. */
static int go_to_sleep(struct ring_waiter *waiter, struct wait *wait, void *call)
{
    unsigned doubts = 0;
    if (waiter->policy != RING_WAIT_SPIN && waiter->asleep)
        return announce_and_sleep(waiter, wait, call);
    int code = waiter->looks->look_closely(waiter->end, call, &doubts);
    if (code != -EAGAIN)
        return code;
    if (waiter->policy == RING_WAIT_SPIN)
        wait->closely_ns = ring_clock_monotonic() + RING_WAIT_BOUND_NS;
    else
        ring_clock_doze(wait->deadline_ns, &wait->naps);
    return -EAGAIN;
}

/* Who is cancelled meanwhile goes when he is back in his own code: here the handle would stay busy. Spinning has no
 * place where one is cancelled, and is spared the two locked instructions. */
static int sleep_or_expire(struct ring_waiter *waiter, struct wait *wait, void *call, enum next next)
{
    unsigned doubts = 0;
    int cancel, code;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (next == SLEEP)
        code = go_to_sleep(waiter, wait, call);
    else if ((code = waiter->looks->look_closely(waiter->end, call, &doubts)) == -EAGAIN)
        code = -ETIMEDOUT;
    pthread_setcancelstate(cancel, NULL);
    return code;
}

/* Was it right to spin for so long? A wait that spinning would have outlasted makes it spin longer the next time, a
 * longer one half as long. */
static void learn(struct ring_waiter *waiter, const struct wait *wait)
{
    if (waiter->policy != RING_WAIT_ADAPTIVE)
        return;
    uint32_t most = most_spin_ns();
    uint32_t least = most < LEAST_SPIN_NS ? most : LEAST_SPIN_NS;
    int64_t now = wait->began_ns ? ring_clock_monotonic() : 0, lasted = now - wait->began_ns;
    if (lasted >= RING_WAIT_SPIN_NS)
        waiter->woke_ns = now; /* a gap in the stream: another one soon is no disturbance, but its pace */
    if (!waiter->slept || lasted < (int64_t)most)
        waiter->spin_ns = waiter->spin_ns * 2 < most ? waiter->spin_ns * 2 : most;
    else
        waiter->spin_ns = waiter->spin_ns / 2 > least ? waiter->spin_ns / 2 : least;
}

int ring_wait(struct ring_waiter *waiter, void *call, int64_t timeout_ns)
{
    struct wait wait = { .deadline_ns = ring_clock_deadline(timeout_ns) };
    int code = -EAGAIN;
    waiter->slept = false;
    while (code == -EAGAIN) {
        enum next next = pause_or_sleep(waiter, &wait);
        if (next == LOOK) {
            wait.word = waiter->looks->word ? waiter->looks->word(waiter->end) : NULL;
            /* W6: relaxed: only what a rest is to end at; the look is what counts. */
            wait.seen = wait.word ? ring_atomic_load(wait.word, memory_order_relaxed) : 0;
            code = waiter->looks->look(waiter->end, call);
        } else
            code = sleep_or_expire(waiter, &wait, call, next);
    }
    learn(waiter, &wait);
    return code;
}
