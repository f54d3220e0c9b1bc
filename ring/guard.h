/* guard.h - level 5: keeps a handle from being used by two threads at once, from within its own call (by a signal
 * handler), or in a child after fork. -EBUSY, -ECHILD, -EBADF instead of harm.
 *
 * A handle is bound to the thread that used it last, so the check is two loads and a store of private memory. Another
 * thread that comes makes the handle its own when it is idle; that costs a system call (membarrier: some microseconds),
 * so pass a handle from thread to thread now and then, not for each message. guard.c has the proof.
 */
#ifndef RING_GUARD_H
#define RING_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include <ring/platform.h>

RING_BEGIN_C

/* Lies in memory that a forked child finds zeroed. One tenure of one thread. */
struct ring_guard {
    RING_ATOMIC(uintptr_t) owner; /* address of its ring_guard_thread; 0: of no thread */
    RING_ATOMIC(uint32_t) busy;   /* 1: inside a call */
    RING_ATOMIC(uint32_t) kept;   /* 1; a child finds 0 */
};

/* The part of a handle that is guarded. */
struct ring_guarded {
    RING_ATOMIC(struct ring_guard *) guard; /* of the present tenure */
    RING_ATOMIC(uint32_t) passing;          /* 1: some thread is making the handle its own */
    struct ring_guard *tenures;             /* NULL: closed */
    unsigned tenure;
};

/* Its address tells a thread from others. */
extern RING_PUBLIC __thread char ring_guard_thread __attribute__((tls_model("initial-exec")));

RING_PUBLIC int ring_guard_enter_slowly(struct ring_guarded *guarded);

/* 0, and ring_guard_leave() must follow; or -EBUSY, -ECHILD, -EBADF. */
RING_INLINE int ring_guard_enter(struct ring_guarded *guarded)
{
    struct ring_guard *guard = ring_atomic_load(&guarded->guard, memory_order_acquire); /* G0: pairs with G3 */
    uintptr_t self = (uintptr_t)&ring_guard_thread;
    if (RING_UNLIKELY(ring_atomic_load(&guard->owner, memory_order_relaxed) != self) ||
        RING_UNLIKELY(ring_atomic_load(&guard->busy, memory_order_relaxed) != 0))
        return ring_guard_enter_slowly(guarded);
    ring_atomic_store(&guard->busy, 1, memory_order_relaxed); /* G1: before the load below; see guard.c */
    ring_compiler_barrier();
    if (RING_UNLIKELY(ring_atomic_load(&guard->owner, memory_order_relaxed) != self)) { /* G2 */
        ring_atomic_store(&guard->busy, 0, memory_order_release);
        return ring_guard_enter_slowly(guarded);
    }
    return 0;
}

RING_INLINE void ring_guard_leave(struct ring_guarded *guarded)
{
    /* G4: release, pairs with G5: what this call did comes before another thread's. */
    ring_atomic_store(&ring_atomic_load(&guarded->guard, memory_order_relaxed)->busy, 0, memory_order_release);
}

/* Binds a new handle to this thread. -ENOMEM. */
RING_PRIVATE int ring_guard_open(struct ring_guarded *guarded);

/* A handle that answers -EBADF. Its memory, if any, is given back; the caller is inside. */
RING_PRIVATE void ring_guard_close(struct ring_guarded *guarded);

RING_END_C

#endif
