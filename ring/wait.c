/* wait.c - level 5: spin, then sleep.
 *
 * Why no wake is lost. The sleeper: W1 asleep = 1; membarrier; look at the ring; sleep while asleep == 1.
 * The busy side: publish (P2 or C2); compiler barrier; P3/C3 read asleep; wake if set. membarrier makes every running
 * thread of every registered process pass a full barrier between W1 and the look. Either the busy side's barrier falls
 * after its publication: then the look sees it; or before: then its read of asleep comes after and sees W1.
 * If the kernel has no membarrier, or the other side's process is not registered, sleeps are cut to 1 ms instead: the
 * busy side still pays nothing, and a wake that falls between costs that millisecond.
 */
#include <ring/wait.h>

#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ring/clock.h>

enum {
    LOOKS_PER_CLOCK = 64,
    LEAST_PAUSES = 24, /* of a back-off: about a microsecond on x86 */
    MOST_PAUSES = 400, /* some 15 us */
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

/* ---- Spinning and sleeping ---- */

/* Spinning is only of use where the other side can run meanwhile. */
static int64_t spin_budget_ns(void)
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
    return known == 1 ? 0 : RING_WAIT_SPIN_NS;
}

void ring_wait_begin(struct ring_wait *wait, int64_t timeout_ns)
{
    wait->looks = 0;
    wait->spin_until_ns = 0;
    wait->deadline_ns = ring_clock_deadline(timeout_ns);
}

enum ring_wait_next ring_wait_pause(struct ring_wait *wait)
{
    ring_cpu_relax();
    if (++wait->looks % LOOKS_PER_CLOCK)
        return RING_WAIT_LOOK;
    int64_t now = ring_clock_monotonic();
    if (now >= wait->deadline_ns)
        return RING_WAIT_EXPIRED;
    if (!wait->spin_until_ns)
        wait->spin_until_ns = now + spin_budget_ns();
    return now >= wait->spin_until_ns ? RING_WAIT_SLEEP : RING_WAIT_LOOK;
}

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

bool ring_wait_announce(RING_ATOMIC(uint32_t) * asleep)
{
    /* W1: seq_cst store, then the barrier for everybody; pairs with P3 and C3. */
    ring_atomic_store(asleep, 1, memory_order_seq_cst);
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void ring_wait_sleep(struct ring_wait *wait, RING_ATOMIC(uint32_t) * asleep, bool blind)
{
    int64_t nap = blind ? RING_WAIT_BOUND_BLIND_NS : RING_WAIT_BOUND_NS;
    if (wait->deadline_ns != RING_CLOCK_NEVER) {
        int64_t left = wait->deadline_ns - ring_clock_monotonic();
        if (left <= 0)
            return;
        if (left < nap)
            nap = left;
    }
    struct timespec limit = { .tv_sec = 0, .tv_nsec = nap };
    /* Not FUTEX_PRIVATE: the word lies in shared memory. Every reason to come back is a reason to look again. */
    syscall(SYS_futex, (uintptr_t)asleep, FUTEX_WAIT, 1, &limit, NULL, 0);
}

void ring_wait_withdraw(RING_ATOMIC(uint32_t) * asleep)
{
    ring_atomic_store(asleep, 0, memory_order_relaxed); /* W3: a wake for nothing is all that a late reader causes */
}

void ring_wake(RING_ATOMIC(uint32_t) * asleep)
{
    /* W2: the exchange makes one waker of many; relaxed: the sleeper's next look is an acquire load of the ring itself.
     */
    if (ring_atomic_exchange(asleep, 0, memory_order_relaxed) != 0)
        syscall(SYS_futex, (uintptr_t)asleep, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
