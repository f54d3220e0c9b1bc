/* hook.h - included before all else when library and scenarios are compiled for the scheduler: each access to a shared
 * word, and each copy of a message, becomes a step before which another logical thread may go on.
 *
 * Stores do not reach memory at once, but wait in a buffer of their thread (schedule.c); so loads ask there first.
 * Words outside the segment are left alone. No compiler's or processor's order is asked for here: all runs in one
 * thread. */
#ifndef INTERLEAVE_HOOK_H
#define INTERLEAVE_HOOK_H

#include <ring/platform.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where a step is, for the trace and for orders that are left out on purpose. */
struct interleave_site {
    const char *what; /* the expression */
    const char *file;
    int line;
};
#define INTERLEAVE_SITE(text) (&(const struct interleave_site){ text, __FILE__, __LINE__ })

/* True: *value was filled in. */
bool interleave_load(const volatile void *word, void *value, size_t size, const struct interleave_site *site);
/* True: the store is seen to. */
bool interleave_store(volatile void *word, const void *value, size_t size, int order,
                      const struct interleave_site *site);
/* Before a read-modify-write, which then reaches memory at once. */
void interleave_before_swap(volatile void *word, size_t size, int order, const struct interleave_site *site);
void interleave_fence(int order, const struct interleave_site *site);
void interleave_copy(void *to, const void *from, size_t length, const struct interleave_site *site);
long interleave_syscall(long number, ...);

#undef ring_atomic_load
#define ring_atomic_load(object, order)                                                                                \
    __extension__({                                                                                                    \
        __auto_type hooked_at = (object);                                                                              \
        __typeof__((void)0, *hooked_at) hooked_value;                                                                  \
        if (!interleave_load(hooked_at, (void *)&hooked_value, sizeof *hooked_at, INTERLEAVE_SITE(#object)))           \
            hooked_value = atomic_load_explicit(hooked_at, order);                                                     \
        hooked_value;                                                                                                  \
    })

#undef ring_atomic_store
#define ring_atomic_store(object, value, order)                                                                        \
    __extension__({                                                                                                    \
        __auto_type hooked_at = (object);                                                                              \
        __typeof__((void)0, *hooked_at) hooked_value = (value);                                                        \
        if (!interleave_store(hooked_at, (void *)&hooked_value, sizeof *hooked_at, order, INTERLEAVE_SITE(#object)))   \
            atomic_store_explicit(hooked_at, hooked_value, order);                                                     \
    })

#ifdef __clang__
#define INTERLEAVE_EXCHANGE(at, value) __c11_atomic_exchange(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_COMPARE(at, expected, value)                                                                        \
    __c11_atomic_compare_exchange_strong(at, expected, value, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define INTERLEAVE_ADD(at, value) __c11_atomic_fetch_add(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_SUB(at, value) __c11_atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_OR(at, value)  __c11_atomic_fetch_or(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_AND(at, value) __c11_atomic_fetch_and(at, value, __ATOMIC_SEQ_CST)
#else
#define INTERLEAVE_EXCHANGE(at, value) __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_COMPARE(at, expected, value)                                                                        \
    __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define INTERLEAVE_ADD(at, value) __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_SUB(at, value) __atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_OR(at, value)  __atomic_fetch_or(at, value, __ATOMIC_SEQ_CST)
#define INTERLEAVE_AND(at, value) __atomic_fetch_and(at, value, __ATOMIC_SEQ_CST)
#endif

#define INTERLEAVE_SWAP(object, order, operation)                                                                      \
    __extension__({                                                                                                    \
        __auto_type hooked_at = (object);                                                                              \
        interleave_before_swap(hooked_at, sizeof *hooked_at, order, INTERLEAVE_SITE(#object));                         \
        operation;                                                                                                     \
    })

#undef ring_atomic_exchange
#define ring_atomic_exchange(object, value, order) INTERLEAVE_SWAP(object, order, INTERLEAVE_EXCHANGE(hooked_at, value))
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(object, expected, value, order, failure)                               \
    INTERLEAVE_SWAP(object, order, INTERLEAVE_COMPARE(hooked_at, expected, value))
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit(object, expected, value, order, failure)                                 \
    INTERLEAVE_SWAP(object, order, INTERLEAVE_COMPARE(hooked_at, expected, value))
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, value, order) INTERLEAVE_SWAP(object, order, INTERLEAVE_ADD(hooked_at, value))
#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(object, value, order) INTERLEAVE_SWAP(object, order, INTERLEAVE_SUB(hooked_at, value))
#undef atomic_fetch_or_explicit
#define atomic_fetch_or_explicit(object, value, order) INTERLEAVE_SWAP(object, order, INTERLEAVE_OR(hooked_at, value))
#undef atomic_fetch_and_explicit
#define atomic_fetch_and_explicit(object, value, order) INTERLEAVE_SWAP(object, order, INTERLEAVE_AND(hooked_at, value))
#undef atomic_thread_fence
#define atomic_thread_fence(order)   interleave_fence(order, INTERLEAVE_SITE("fence"))
#define __atomic_thread_fence(order) interleave_fence(order, INTERLEAVE_SITE("fence"))

#undef memcpy
#define memcpy(to, from, length)       interleave_copy(to, from, length, INTERLEAVE_SITE("copy"))
#define ring_copy(to, from, length)    interleave_copy(to, from, length, INTERLEAVE_SITE("copy"))
#define ring_copy_in(to, from, length) interleave_copy(to, from, length, INTERLEAVE_SITE("copy in"))
#define syscall(...)                   interleave_syscall(__VA_ARGS__)

#endif
