/* guard.c - level 5: whose turn is it, without a locked instruction on the hot path; see guard.h.
 *
 * The owner of a tenure: busy = 1 (G1); compiler barrier; is owner still me (G2)? Another thread: owner = 0 (G5);
 * membarrier; is busy 0 (G5)? The barrier falls somewhere in the owner's program order: after G1, then the other sees
 * busy; or before, then G2 comes after it as well and finds the handle taken away. So never both go on. The other one
 * then begins a new tenure, in a place of its own: an old owner that comes late, between its first look and G1, stores
 * into the tenure that is over, and finds that out at G2. Places are used again after as many
 * changes as a page holds.
 *
 * In a child after fork the tenures read as zero (MADV_WIPEONFORK), so every call comes here and finds a tenure that
 * was not kept. Its pid would tell less: each PID namespace has a process 1.
 */
#include <ring/guard.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ring/error.h>

enum { TENURE_BYTES = RING_CACHE_LINE, POOL = 64 };

__thread char ring_guard_thread __attribute__((tls_model("initial-exec")));

static struct ring_guard closed; /* owner 0 for ever */

/* Pages of closed handles. Kept mapped: a thread that is late may still look at one. */
static RING_ATOMIC(struct ring_guard *) pool[POOL];

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static struct ring_guard *tenure_at(const struct ring_guarded *guarded, unsigned tenure)
{
    return (struct ring_guard *)(void *)((unsigned char *)guarded->tenures + (size_t)tenure * TENURE_BYTES);
}

/* A full barrier in every running thread of this process. */
static void barrier_everywhere(void)
{
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
        return;
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
        return;
    struct timespec nap = { .tv_nsec = 1000000 }; /* refused: a store buffer drains in far less */
    nanosleep(&nap, NULL);
}

static struct ring_guard *take_page(size_t bytes)
{
    for (unsigned i = 0; i < POOL; i++) {
        struct ring_guard *kept = ring_atomic_exchange(&pool[i], NULL, memory_order_acquire); /* G7: pairs with G8 */
        if (kept) {
            memset(kept, 0, bytes);
            return kept;
        }
    }
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        ring_error(-ENOMEM, "no memory for the guard of a handle (%s)", strerror(errno));
        return NULL;
    }
    if (madvise(page, bytes, MADV_WIPEONFORK) != 0) {
        ring_error(-ENOMEM, "the kernel refused MADV_WIPEONFORK (%s)", strerror(errno));
        munmap(page, bytes);
        return NULL;
    }
    return page;
}

static void give_page_back(struct ring_guard *page, size_t bytes)
{
    for (unsigned i = 0; i < POOL; i++) {
        struct ring_guard *none = NULL;
        /* G8: release, pairs with G7. */
        if (atomic_compare_exchange_strong_explicit(&pool[i], &none, page, memory_order_release, memory_order_relaxed))
            return;
    }
    munmap(page, bytes);
}

int ring_guard_open(struct ring_guarded *guarded)
{
    struct ring_guard *page = take_page(page_bytes());
    if (!page)
        return -ENOMEM;
    guarded->tenures = page;
    guarded->tenure = 0;
    ring_atomic_store(&guarded->passing, 0, memory_order_relaxed);
    ring_atomic_store(&page->owner, (uintptr_t)&ring_guard_thread, memory_order_relaxed);
    ring_atomic_store(&page->kept, 1, memory_order_relaxed);
    ring_atomic_store(&guarded->guard, page, memory_order_release); /* G3 */
    return 0;
}

void ring_guard_close(struct ring_guarded *guarded)
{
    struct ring_guard *page = guarded->tenures;
    ring_atomic_store(&guarded->guard, &closed, memory_order_release); /* G3 */
    guarded->tenures = NULL;
    if (page)
        give_page_back(page, page_bytes());
}

/* Makes the handle this thread's own, and busy. */
static int pass(struct ring_guarded *guarded, struct ring_guard *guard)
{
    uintptr_t self = (uintptr_t)&ring_guard_thread;
    uintptr_t before = ring_atomic_load(&guard->owner, memory_order_relaxed);
    if (ring_atomic_load(&guard->busy, memory_order_relaxed) != 0)
        return -EBUSY;
    ring_atomic_store(&guard->owner, 0, memory_order_seq_cst); /* G5: with the barrier, against G1 and G2 */
    barrier_everywhere();
    if (ring_atomic_load(&guard->busy, memory_order_acquire) != 0) { /* G5: pairs with G4 */
        ring_atomic_store(&guard->owner, before, memory_order_relaxed);
        return -EBUSY;
    }
    guarded->tenure = (guarded->tenure + 1) % (unsigned)(page_bytes() / TENURE_BYTES);
    struct ring_guard *next = tenure_at(guarded, guarded->tenure);
    ring_atomic_store(&next->busy, 1, memory_order_relaxed);
    ring_atomic_store(&next->owner, self, memory_order_relaxed);
    ring_atomic_store(&next->kept, 1, memory_order_relaxed);
    ring_atomic_store(&guarded->guard, next, memory_order_release); /* G3: pairs with G0 */
    return 0;
}

int ring_guard_enter_slowly(struct ring_guarded *guarded)
{
    struct ring_guard *guard = ring_atomic_load(&guarded->guard, memory_order_acquire); /* G0 */
    if (!guard || guard == &closed)
        return -EBADF;
    if (!ring_atomic_load(&guard->kept, memory_order_relaxed)) /* by G0 */
        return -ECHILD;
    if (ring_atomic_load(&guard->busy, memory_order_relaxed) != 0)
        return -EBUSY; /* this thread's own call, interrupted by a signal; or another thread's */
    /* G6: acq_rel, pairs with itself: one thread at a time. Never waited for: it may be our own, interrupted. */
    if (ring_atomic_exchange(&guarded->passing, 1, memory_order_acq_rel) != 0)
        return -EBUSY;
    int code = -EBUSY;
    if (ring_atomic_load(&guarded->guard, memory_order_relaxed) == guard)
        code = pass(guarded, guard);
    ring_atomic_store(&guarded->passing, 0, memory_order_release); /* G6 */
    return code;
}
