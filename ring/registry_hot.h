/* registry_hot.h - level 7: sections and look-ups of the registry, for the compiler to put where they are called. What
 * each verb does is told in registry.h, why it is right in registry.c. The labels are those of there.
 */
#ifndef RING_REGISTRY_HOT_H
#define RING_REGISTRY_HOT_H

#include <ring/registry.h>

RING_BEGIN_C

/* ---- What a look-up reads; not for callers. ---- */

#define RING_REGISTRY_NEAR 7 /* threads of lower numbers find their ends in the name's own line */
#define RING_REGISTRY_TAG  7 /* bits that are 0 in an end's address: there its kind is, plus 1 */

/* A name: the line that is all that most look-ups read. By number of the thread, its end and the tag; 0: the slow way.
 * [0] is that of threads without a number, and of those with higher ones: a segment, of which all ends are the same, is
 * there, and else nothing. */
struct RING_ALIGNED(RING_CACHE_LINE) ring_registry_name {
    RING_ATOMIC(uintptr_t) ends[RING_REGISTRY_NEAR]; /* stored under the cold lock */
    struct ring_registry_record *record;             /* the rest of it; constant */
};

/* What a thread has of its own. */
struct ring_registry_thread {
    /* Leads to the pointer to this thread's word that liburcu keeps, and makes NULL when the thread ends; or to a NULL,
     * before the first section, and where there is no membarrier: then all goes the slow way. */
    RING_ATOMIC(unsigned long) *const *word;
    RING_ATOMIC(unsigned long) * period; /* liburcu's count of grace periods: what a word has in a section */
    size_t near;                         /* index of its ends in names */
    unsigned number;                     /* 0: none yet */
};

extern RING_PUBLIC __thread struct ring_registry_thread ring_registry_self __attribute__((tls_model("initial-exec")));

/* The bits of a word that count sections within sections. */
#define RING_REGISTRY_NEST ((1UL << sizeof(long) * 4) - 1)

RING_PUBLIC void ring_registry_begin_slowly(void);
RING_PUBLIC void ring_registry_end_slowly(void);
/* The end; NULL: *code tells why not. */
RING_PUBLIC void *ring_registry_find_slowly(struct ring_registry_name *name, enum ring_registry_end kind, int *code);
RING_PUBLIC void *ring_registry_enter_slowly(struct ring_registry_name *name, enum ring_registry_end kind, int *code);
RING_PUBLIC void ring_registry_unclaim(void *end);

/* ThreadSanitizer does not see what liburcu orders, so it is told. */
#if RING_THREAD_SANITIZER
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define RING_REGISTRY_RELEASE(address) __tsan_release((void *)(uintptr_t)(address))
#define RING_REGISTRY_ACQUIRE(address) __tsan_acquire((void *)(uintptr_t)(address))
#else
#define RING_REGISTRY_RELEASE(address) ((void)0)
#define RING_REGISTRY_ACQUIRE(address) ((void)0)
#endif

/* ---- Sections ---- */

/* Y7: relaxed: the processor's barriers are made by whoever waits for a grace period, only the compiler's are here. */
RING_INLINE void ring_registry_begin_section(void)
{
    RING_ATOMIC(unsigned long) *word = *ring_registry_self.word;
    if (RING_UNLIKELY(!word)) {
        ring_registry_begin_slowly();
        return;
    }
    unsigned long held = ring_atomic_load(word, memory_order_relaxed);
    if (RING_LIKELY((held & RING_REGISTRY_NEST) == 0))
        ring_atomic_store(word, ring_atomic_load(ring_registry_self.period, memory_order_relaxed),
                          memory_order_relaxed);
    else
        ring_atomic_store(word, held + 1, memory_order_relaxed);
    ring_compiler_barrier();
}

RING_INLINE void ring_registry_end_section(void)
{
    RING_ATOMIC(unsigned long) *word = *ring_registry_self.word;
    RING_REGISTRY_RELEASE(ring_registry_self.period);
    if (RING_UNLIKELY(!word)) {
        ring_registry_end_slowly();
        return;
    }
    ring_compiler_barrier();
    ring_atomic_store(word, ring_atomic_load(word, memory_order_relaxed) - 1, memory_order_relaxed);
    ring_compiler_barrier();
}

/* ---- Look-ups, in a section ---- */

/* Is this thread's end there? Else the slow way.
 * Y1: acquire, pairs with the release of who attached: the segment is complete; an end of its own a thread stored. */
RING_INLINE int ring_registry_own_end(struct ring_registry_name *name, enum ring_registry_end kind, void **end)
{
    uintptr_t tag = (uintptr_t)kind + 1;
    if (RING_UNLIKELY(!name || tag > RING_REGISTRY_TAG))
        return 0;
    uintptr_t found = ring_atomic_load(&name->ends[ring_registry_self.near], memory_order_acquire) - tag;
    *end = (void *)found;
    return (found & RING_REGISTRY_TAG) == 0;
}

RING_INLINE int ring_registry_find(struct ring_registry_name *name, enum ring_registry_end kind, void **end)
{
    int code;
    if (RING_LIKELY(ring_registry_own_end(name, kind, end)))
        return 0;
    *end = ring_registry_find_slowly(name, kind, &code);
    return code;
}

/* ---- Both at once ---- */

RING_INLINE int ring_registry_enter(struct ring_registry_name *name, enum ring_registry_end kind, void **end)
{
    int code;
    ring_registry_begin_section();
    if (RING_LIKELY(ring_registry_own_end(name, kind, end)))
        return 0;
    *end = ring_registry_enter_slowly(name, kind, &code);
    return code;
}

RING_INLINE void ring_registry_leave(enum ring_registry_end kind, void *end)
{
    if (kind >= RING_REGISTRY_BROADCAST_PRODUCER)
        ring_registry_unclaim(end);
    ring_registry_end_section();
}

RING_END_C

#endif
