/* heap.c - level 6: the heap's lock and log, and the calls; docs/blocks.md has the proof.
 *
 * The lock is a word that names the seat of its holder. Who finds it held waits, and asks the kernel now and then
 * whether that seat is held; if not, its holder is dead, and the lock is taken over by compare-and-swap from the word
 * that was read before. The word counts how often it was taken, so it never comes back.
 *
 * Before the holder changes a word it writes number and old value of the word into the log, and counts it there; when
 * all is changed it sets the count to 0: that is the moment at which the operation happens. A death before leaves a
 * count, and the next holder puts the old values back, last one first; a death during that leaves the same log, and the
 * same is done again. A process dies between two instructions, so what is in the log is what was changed, or one more.
 *
 * Everything read here may be rubbish: numbers are checked before they are used, and what does not fit ends the
 * operation with -EUCLEAN and the old values put back.
 */
#include <ring/heap_private.h>

#include <errno.h>

#include <ring/clock.h>
#include <ring/error.h>

enum { SPINS = 2000, HOLDER = 0xffff };

/* ---- The log ---- */

int ring_heap_put(struct ring_heap *heap, uint64_t word, uint64_t value)
{
    struct ring_layout_heap *control = heap->view.control;
    if (word >= heap->view.word_count || heap->changes >= RING_HEAP_LOG)
        return -EUCLEAN;
    uint64_t old = ring_heap_get(&heap->view, word);
    if (old == value)
        return 0;
    ring_atomic_store(&control->log[heap->changes].word, word, memory_order_relaxed); /* H2: before the count */
    ring_atomic_store(&control->log[heap->changes].old, old, memory_order_relaxed);
    heap->changes++;
    /* H2: release: the entry comes before; and before the word's new value, which is a release store, too (H3). */
    ring_atomic_store(&control->changes, heap->changes, memory_order_release);
    ring_atomic_store(&heap->view.words[word], value, memory_order_release);
    return 0;
}

void ring_heap_settle(struct ring_heap *heap, bool undo)
{
    struct ring_layout_heap *control = heap->view.control;
    uint64_t count = ring_atomic_load(&control->changes, memory_order_relaxed); /* H2: under the lock */
    for (uint64_t i = count < RING_HEAP_LOG ? count : RING_HEAP_LOG; undo && i-- > 0;) {
        uint64_t word = ring_atomic_load(&control->log[i].word, memory_order_relaxed);
        if (word < heap->view.word_count)
            ring_atomic_store(&heap->view.words[word], ring_atomic_load(&control->log[i].old, memory_order_relaxed),
                              memory_order_release); /* H3 */
    }
    /* H2: release: after all words. */
    ring_atomic_store(&control->changes, 0, memory_order_release);
    ring_compiler_barrier(); /* before the entries of the next operation */
    heap->changes = 0;
}

/* ---- The lock ---- */

/* Takes the lock if it is free, or its holder is dead; `word` is what it was. */
static bool try_lock(struct ring_heap *heap, uint64_t word)
{
    uint64_t ours = (word & ~(uint64_t)HOLDER) + HOLDER + 1 + heap->seat + 1;
    /* H0: acquire, pairs with H1; of a dead holder all stores are done: pairs with its death. */
    if (!atomic_compare_exchange_strong_explicit(&heap->view.control->lock, &word, ours, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    ring_heap_settle(heap, true); /* undoes what a dead holder had begun; else nothing */
    return true;
}

static bool is_dead(struct ring_heap *heap, uint64_t word)
{
    uint64_t holder = (word & HOLDER) - 1;
    if (holder == heap->seat)
        return true; /* our predecessor: we hold no lock before we have it */
    return !ring_heap_is_living(&heap->view, (unsigned)holder);
}

int ring_heap_lock(struct ring_heap *heap, int64_t timeout_ns)
{
    RING_ATOMIC(uint64_t) *lock = &heap->view.control->lock;
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (unsigned spins = 0;; spins++) {
        uint64_t word = ring_atomic_load(lock, memory_order_relaxed); /* H0: the compare-and-swap decides */
        bool late = spins >= SPINS;
        if ((word & HOLDER) > heap->view.seat_count)
            return ring_error(-EUCLEAN, "the heap in %s is damaged: its lock names a seat that it does not have",
                              heap->view.segment->name);
        if (((word & HOLDER) == 0 || (late && is_dead(heap, word))) && try_lock(heap, word))
            return 0;
        /* Held by the living; or others were faster, which a word that never rests would make us believe for ever. */
        if (late && timeout_ns == RING_NO_WAIT)
            return -EAGAIN;
        if (late && !ring_clock_doze(deadline, &attempt))
            return -ETIMEDOUT;
        ring_cpu_relax();
    }
}

void ring_heap_unlock(struct ring_heap *heap)
{
    RING_ATOMIC(uint64_t) *lock = &heap->view.control->lock;
    uint64_t word = ring_atomic_load(lock, memory_order_relaxed);
    if ((word & HOLDER) != heap->seat + UINT64_C(1))
        return; /* rubbish: it is not ours any more */
    /* H1: release, pairs with H0. */
    ring_atomic_store(lock, word & ~(uint64_t)HOLDER, memory_order_release);
}

/* ---- Calls ---- */

static int begin(struct ring_heap *heap, int64_t timeout_ns)
{
    int code = ring_guard_enter(&heap->guarded);
    if (code)
        return code;
    code = ring_heap_lock(heap, timeout_ns);
    if (code)
        ring_guard_leave(&heap->guarded);
    return code;
}

/* The operation happens here, or not at all. */
static int end(struct ring_heap *heap, int code)
{
    ring_heap_settle(heap, code != 0);
    ring_heap_unlock(heap);
    ring_guard_leave(&heap->guarded);
    return code == -EUCLEAN
               ? ring_error(code, "the heap in %s is damaged: its words do not fit together", heap->view.segment->name)
               : code;
}

int ring_heap_allocate(struct ring_heap *heap, size_t bytes, uint64_t *reference, int64_t timeout_ns)
{
    if (!heap || !reference)
        return ring_error(-EINVAL, "the heap, or the place for the reference, is NULL");
    int code = begin(heap, timeout_ns);
    if (code)
        return code;
    uint64_t granules = (bytes ? bytes - 1 : 0) >> heap->view.shift;
    uint64_t cut = RING_HEAP_NONE;
    if (granules++ >= heap->view.granules)
        return end(heap, -EMSGSIZE);
    code = ring_heap_cut(heap, granules, &cut);
    if (code == -ENOSPC) {
        uint64_t freed = 0;
        ring_heap_settle(heap, true);
        code = ring_heap_mend(heap, &freed);
        if (code == 0)
            code = freed ? ring_heap_cut(heap, granules, &cut) : -ENOSPC;
    }
    if (code == 0)
        *reference = cut;
    return end(heap, code);
}

/* Why a reference fits no piece in use. */
static int explain(const struct ring_heap *heap, uint64_t reference)
{
    uint64_t granule = (reference & UINT32_MAX) - 1;
    if (granule >= heap->view.granules)
        return ring_error(-EINVAL, "%#llx is no reference of this heap: it has %llu granules",
                          (unsigned long long)reference, (unsigned long long)heap->view.granules);
    return ring_error(-ESTALE,
                      "reference %#llx: its piece was freed since (a stale reference, or freed twice), or it is of "
                      "another heap",
                      (unsigned long long)reference);
}

int ring_heap_free(struct ring_heap *heap, uint64_t reference, int64_t timeout_ns)
{
    int code = begin(heap, timeout_ns);
    if (code)
        return code;
    if (ring_heap_piece(heap, reference) == 0)
        code = explain(heap, reference);
    else
        code = ring_heap_join(heap, (reference & UINT32_MAX) - 1);
    return end(heap, code);
}

static int keep(struct ring_heap *heap, uint64_t reference)
{
    uint64_t word = ring_heap_piece(heap, reference);
    if (word == 0)
        return explain(heap, reference);
    return ring_heap_put(heap, ring_heap_first((reference & UINT32_MAX) - 1), word | RING_PIECE_KEPT);
}

int ring_heap_keep(struct ring_heap *heap, uint64_t reference, int64_t timeout_ns)
{
    int code = begin(heap, timeout_ns);
    return code ? code : end(heap, keep(heap, reference));
}

int ring_heap_set_root(struct ring_heap *heap, unsigned number, uint64_t reference, int64_t timeout_ns)
{
    if (number >= RING_HEAP_ROOTS)
        return ring_error(-EINVAL, "a heap has %d roots, there is no root %u", RING_HEAP_ROOTS, number);
    int code = begin(heap, timeout_ns);
    if (code)
        return code;
    if (reference != RING_HEAP_NONE)
        code = keep(heap, reference);
    if (code == 0)
        code = ring_heap_put(heap, RING_HEAP_ROOT + number, reference);
    return end(heap, code);
}

uint64_t ring_heap_root(const struct ring_heap *heap, unsigned number)
{
    if (number >= RING_HEAP_ROOTS || heap->view.word_count == 0)
        return RING_HEAP_NONE;
    /* H6: acquire, pairs with H3: what was written into the piece before it became the root comes with it. */
    return ring_atomic_load(&heap->view.words[RING_HEAP_ROOT + number], memory_order_acquire);
}

int ring_heap_recover(struct ring_heap *heap, uint64_t *freed, int64_t timeout_ns)
{
    uint64_t count = 0;
    int code = begin(heap, timeout_ns);
    if (code)
        return code;
    code = ring_heap_mend(heap, &count);
    if (freed)
        *freed = count;
    return end(heap, code);
}
