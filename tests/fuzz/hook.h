/* hook.h - included before all else when the library is compiled for the fuzzers: before each atomic load of a shared
 * word the fuzzer may change that word, as a hostile peer that is always faster would. */
#ifndef FUZZ_HOOK_H
#define FUZZ_HOOK_H

#include <ring/platform.h>

void fuzz_before_load(const volatile void *word, size_t size);

#undef ring_atomic_load
#define ring_atomic_load(object, order)                                                                                \
    (fuzz_before_load((const volatile void *)(object), sizeof *(object)), atomic_load_explicit(object, order))

#endif
