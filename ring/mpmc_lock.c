/* mpmc_lock.c - level 6: the lock of an MPMC ring, for those who take or leave a seat or become sole.
 *
 * The lock is a byte that the kernel frees when its holder dies. Beside it `turns` counts how often it was given back:
 * those who wait for the lock sleep on that word, and one is woken for each time, so that of a thousand that open at
 * once most sleep. It also tells them that the lock goes from hand to hand. A word of shared memory proves nothing: who
 * died while he held the lock wakes nobody, so every sleep is bounded; and rubbish in it ends in a refusal, later.
 */
#include <ring/mpmc_private.h>

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>

#define TURN_LIMIT_NS  INT64_C(5000000000)  /* of one holder: he is stopped */
#define TURNS_LIMIT_NS INT64_C(60000000000) /* of all together */
#define FIRST_NAP_NS   INT64_C(8000000)

enum {
    NAP_GROWTH = 5, /* doublings: up to 256 ms, as all wake for nothing when theirs are over */
    RESTLESS = 16,  /* naps in a row that the word's motion kept us from: it is no reason to burn a core */
};

static int64_t byte_of(const struct ring_mpmc_view *view)
{
    return RING_LOCK_ROLES + 2 * (int64_t)view->entry;
}

static int take(const struct ring_mpmc_view *view, struct ring_claim **lock)
{
    return ring_claim_take(lock, &view->segment->witness, byte_of(view));
}

int ring_mpmc_try_lock(const struct ring_mpmc_view *view, struct ring_claim **lock)
{
    *lock = NULL;
    /* To ask costs the kernel one walk along all locks of the file, to try and fail four. */
    return ring_claim_is_held(&view->segment->witness, byte_of(view)) ? -EBUSY : take(view, lock);
}

/* Since when the lock has been given back no more. */
struct patience {
    int64_t start;
    int64_t turn_start;
    uint32_t turn;
};

/* -EBUSY: long enough. The clock before the word: who was himself not running in between sees that others were. */
static int go_on(struct patience *patience, const struct ring_mpmc_view *view)
{
    int64_t now = ring_clock_monotonic();
    uint32_t turn = ring_atomic_load(&view->control->turns, memory_order_relaxed); /* M24 */
    if (turn != patience->turn) {
        patience->turn = turn;
        patience->turn_start = now;
    }
    if (now - patience->turn_start > TURN_LIMIT_NS)
        return ring_error(-EBUSY,
                          "another process has been taking or leaving a seat of this ring of %s for over 5 s: is it "
                          "stopped?",
                          view->segment->name);
    if (now - patience->start > TURNS_LIMIT_NS)
        return ring_error(-EBUSY,
                          "for over 60 s other processes have been taking and leaving seats of this ring of %s, one "
                          "after the other: let fewer come at once",
                          view->segment->name);
    return 0;
}

int ring_mpmc_lock(const struct ring_mpmc_view *view, struct ring_claim **lock)
{
    RING_ATOMIC(uint32_t) *turns = &view->control->turns;
    int64_t now = ring_clock_monotonic();
    struct patience patience = { now, now, ring_atomic_load(turns, memory_order_relaxed) }; /* M24 */
    unsigned restless = 0, doze = 0;
    /* At first by trying: where the kernel refuses to be asked, all seems held. */
    for (unsigned attempt = 0;; attempt++) {
        uint32_t seen = ring_atomic_load(turns, memory_order_relaxed); /* M24: before the attempt */
        int code = attempt ? ring_mpmc_try_lock(view, lock) : take(view, lock);
        if (code != -EBUSY || (code = go_on(&patience, view)) != 0)
            return code;
        if (ring_clock_nap(turns, seen, FIRST_NAP_NS << (attempt < NAP_GROWTH ? attempt : NAP_GROWTH)))
            restless = 0;
        else if (++restless > RESTLESS)
            ring_clock_doze(RING_CLOCK_NEVER, &doze);
    }
}

void ring_mpmc_unlock(const struct ring_mpmc_view *view, struct ring_claim *lock, struct ring_claim *claim)
{
    RING_ATOMIC(uint32_t) *turns = &view->control->turns;
    if (lock)
        atomic_fetch_add_explicit(turns, 1, memory_order_relaxed); /* M24: as long as the ring is there for sure */
    ring_claim_drop(claim);
    ring_claim_drop(lock);
    if (lock) /* the address only is used; were the ring gone by now, and another there, one of its waiters looks up */
        syscall(SYS_futex, (uintptr_t)turns, FUTEX_WAKE, 1, NULL, NULL, 0);
}
