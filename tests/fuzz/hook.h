/* hook.h - included before all else when the library is compiled for the fuzzers: before each atomic load and each
 * read-modify-write of a shared word the fuzzer may change that word, as a hostile peer that is always faster would. */
#ifndef FUZZ_HOOK_H
#define FUZZ_HOOK_H

#include <ring/platform.h>

#include <stdatomic.h>

void fuzz_before_load(const volatile void *word, size_t size);

#undef ring_atomic_load
#define ring_atomic_load(object, order)                                                                                \
    (fuzz_before_load((const volatile void *)(object), sizeof *(object)), atomic_load_explicit(object, order))

#define FUZZ_SWAP(object, operation)                                                                                   \
    __extension__({                                                                                                    \
        __auto_type hooked_at = (object);                                                                              \
        fuzz_before_load((const volatile void *)hooked_at, sizeof *hooked_at);                                         \
        operation;                                                                                                     \
    })

#ifdef __clang__
#define FUZZ_EXCHANGE(at, value, order) __c11_atomic_exchange(at, value, order)
#define FUZZ_COMPARE(at, expected, value, order, failure)                                                              \
    __c11_atomic_compare_exchange_strong(at, expected, value, order, failure)
#define FUZZ_ADD(at, value, order) __c11_atomic_fetch_add(at, value, order)
#define FUZZ_OR(at, value, order)  __c11_atomic_fetch_or(at, value, order)
#define FUZZ_AND(at, value, order) __c11_atomic_fetch_and(at, value, order)
#else
#define FUZZ_EXCHANGE(at, value, order) __atomic_exchange_n(at, value, order)
#define FUZZ_COMPARE(at, expected, value, order, failure)                                                              \
    __atomic_compare_exchange_n(at, expected, value, false, order, failure)
#define FUZZ_ADD(at, value, order) __atomic_fetch_add(at, value, order)
#define FUZZ_OR(at, value, order)  __atomic_fetch_or(at, value, order)
#define FUZZ_AND(at, value, order) __atomic_fetch_and(at, value, order)
#endif

#undef ring_atomic_exchange
#define ring_atomic_exchange(object, value, order) FUZZ_SWAP(object, FUZZ_EXCHANGE(hooked_at, value, order))
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(object, expected, value, order, failure)                               \
    FUZZ_SWAP(object, FUZZ_COMPARE(hooked_at, expected, value, order, failure))
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit(object, expected, value, order, failure)                                 \
    FUZZ_SWAP(object, FUZZ_COMPARE(hooked_at, expected, value, order, failure))
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, value, order) FUZZ_SWAP(object, FUZZ_ADD(hooked_at, value, order))
#undef atomic_fetch_or_explicit
#define atomic_fetch_or_explicit(object, value, order) FUZZ_SWAP(object, FUZZ_OR(hooked_at, value, order))
#undef atomic_fetch_and_explicit
#define atomic_fetch_and_explicit(object, value, order) FUZZ_SWAP(object, FUZZ_AND(hooked_at, value, order))

#endif
