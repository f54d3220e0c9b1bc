/* platform.h - level 0: what differs between compilers, languages and processors, and nothing else.
 *
 * This is the only file of the library with #ifdef of architecture or compiler, and the only one with inline assembly.
 * Everything above is plain C11 (and compiles as C++17: the atomics of both languages share their representation).
 */
#ifndef RING_PLATFORM_H
#define RING_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#ifdef __cplusplus
#include <atomic>
#define RING_ATOMIC(type)                          std::atomic<type>
#define ring_atomic_load(object, order)            std::atomic_load_explicit(object, std::order)
#define ring_atomic_store(object, value, order)    std::atomic_store_explicit(object, value, std::order)
#define ring_atomic_exchange(object, value, order) std::atomic_exchange_explicit(object, value, std::order)
#define ring_compiler_barrier()                    std::atomic_signal_fence(std::memory_order_seq_cst)
/* A program that has its compiler warn of casts in C's manner, or of a function named as a struct is (as stat(2) is),
 * means its own code. */
#define RING_BEGIN_C                                                                                                   \
    extern "C" {                                                                                                       \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wold-style-cast\"")                              \
        _Pragma("GCC diagnostic ignored \"-Wzero-as-null-pointer-constant\"")                                          \
            _Pragma("GCC diagnostic ignored \"-Wshadow\"")
#define RING_END_C                                                                                                     \
    _Pragma("GCC diagnostic pop")                                                                                      \
    }
#else
#include <stdatomic.h>
#define RING_ATOMIC(type)                          _Atomic(type)
#define ring_atomic_load(object, order)            atomic_load_explicit(object, order)
#define ring_atomic_store(object, value, order)    atomic_store_explicit(object, value, order)
#define ring_atomic_exchange(object, value, order) atomic_exchange_explicit(object, value, order)
#define ring_compiler_barrier()                    atomic_signal_fence(memory_order_seq_cst)
#define RING_BEGIN_C
#define RING_END_C
#endif

#if !defined(__GNUC__)
#error "shmring needs gcc or clang: it uses their attributes and __builtin_expect"
#endif
#if !defined(__linux__)
#error "shmring needs Linux: OFD locks, futex, O_TMPFILE and MADV_COLLAPSE have no portable form"
#endif

/* Bytes that one core owns at a time, and the distance that keeps two cores' words apart: processors fetch lines in
 * pairs, so words written by different sides lie two lines apart. */
#define RING_CACHE_LINE 64
#define RING_LINE_PAIR  128

#define RING_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define RING_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Part of the library's interface / hidden inside it / inlined into the caller / printf-like. */
#define RING_PUBLIC         __attribute__((visibility("default")))
#define RING_PRIVATE        __attribute__((visibility("hidden")))
#define RING_INLINE         static inline __attribute__((always_inline, unused))
#define RING_PRINTF(at, of) __attribute__((format(printf, at, of)))
#define RING_ALIGNED(bytes) __attribute__((aligned(bytes)))

/* A function that is called when the program starts, or loads the library. */
#define RING_AT_LOAD __attribute__((constructor))

/* Is this expression known while compiling? Then a copy of that length becomes a few moves. */
#define RING_IS_CONSTANT(expression) __builtin_constant_p(expression)

/* 1 under ThreadSanitizer, which cannot know that what a plain copy has read is thrown away when it was overwritten
 * meanwhile: there such copies are made of atomic words. */
#if defined(__SANITIZE_THREAD__)
#define RING_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_THREAD_SANITIZER 1
#endif
#endif
#ifndef RING_THREAD_SANITIZER
#define RING_THREAD_SANITIZER 0
#endif

/* Asks that the loop behind it be unrolled up to eight times: gcc leaves short loops over atomics rolled. */
#if defined(__clang__)
#define RING_UNROLL _Pragma("clang loop unroll_count(8)")
#else
#define RING_UNROLL _Pragma("GCC unroll 8")
#endif

RING_BEGIN_C

/* Tells the core that this is a spin loop: some tens of cycles. */
RING_INLINE void ring_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory"); /* yield does nothing on most cores; this takes some tens of cycles */
#else
    ring_compiler_barrier();
#endif
}

/* The gap between two polls of a line that another core will write. Polls without a gap run ahead speculatively; when
 * the line is taken away all of them are thrown away, with what follows, since loads must not overtake each other. So:
 * one load under way at a time, and some cycles between; pause is too long for that, at 40 to 140 cycles. Measured
 * against other gaps in docs/performance.md. */
RING_INLINE void ring_cpu_poll_gap(void)
{
#if defined(__x86_64__)
    __asm__ __volatile__("lfence\n\tlfence\n\tlfence\n\tlfence" ::: "memory");
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#else
    ring_cpu_relax();
#endif
}

/* Can this processor rest until a line is written or some time has passed? x86: WAITPKG (cpuid 7, ecx bit 5); Arm: wfe
 * with the kernel's event stream, which ends it after 100 us at the latest. Takes some hundred cycles: ask once. */
RING_INLINE bool ring_cpu_can_rest(void)
{
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx >> 5 & 1);
#elif defined(__aarch64__)
    return getauxval(AT_HWCAP) >> 2 & 1; /* HWCAP_EVTSTRM */
#else
    return false;
#endif
}

/* Rests until the word's line is written, or for some microseconds; not at all if the word is not `seen` any more.
 * NULL: for the time alone. The core's other thread has the core meanwhile. Only where ring_cpu_can_rest(). */
RING_INLINE void ring_cpu_rest(RING_ATOMIC(uint64_t) * word, uint64_t seen)
{
#if defined(__x86_64__)
    uint64_t until = __builtin_ia32_rdtsc() + 6000;
    uint32_t light = 1; /* C0.1, out of which it comes sooner than out of C0.2 */
    if (!word) {
        __asm__ __volatile__("tpause %0"
                             :
                             : "r"(light), "a"((uint32_t)until), "d"((uint32_t)(until >> 32))
                             : "cc", "memory");
        return;
    }
    __asm__ __volatile__("umonitor %0" : : "r"(word) : "memory");
    if (ring_atomic_load(word, memory_order_relaxed) == seen)
        __asm__ __volatile__("umwait %0"
                             :
                             : "r"(light), "a"((uint32_t)until), "d"((uint32_t)(until >> 32))
                             : "cc", "memory");
#elif defined(__aarch64__)
    uint64_t value = seen;
    if (word)
        __asm__ __volatile__("ldaxr %0, [%1]" : "=r"(value) : "r"(word) : "memory");
    if (value == seen)
        __asm__ __volatile__("wfe" ::: "memory");
#else
    (void)word;
    (void)seen;
    ring_cpu_relax();
#endif
}

/* Asks for the line of `address` in a state that can be written. A hint: any address is allowed, nothing faults.
 * Not __builtin_prefetch on x86: without -mprfchw gcc makes a prefetch for reading of it, which fetches the line
 * shared, and the store has to ask a second time. */
RING_INLINE void ring_prefetch_for_write(const void *address)
{
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

/* Copies; a length known while compiling and short becomes a few moves, everything else one call of libc's memcpy: left
 * alone, gcc turns longer constant lengths into `rep movs`, which is several times slower at these sizes. */
RING_INLINE void ring_copy(void *to, const void *from, size_t length)
{
    if (RING_IS_CONSTANT(length) && length <= 256) {
        memcpy(to, from, length);
        return;
    }
    __asm__("" : "+r"(length)); /* hides the constant */
    memcpy(to, from, length);
}

/* Copies a message into a ring (to: a multiple of 8). The first bytes go word by word: a caller has mostly just written
 * the fields of his message, and a wider load of such bytes must wait until those stores have left the store buffer,
 * where they queue behind our own stores to lines that another core still owns. With words the processor hands them on
 * directly. P5: relaxed atomic stores, ordered by P2, so that the compiler does not join them again. */
#define RING_COPY_WORDS 64
RING_INLINE void ring_copy_in(void *to, const void *from, size_t length)
{
    RING_ATOMIC(uint64_t) *words = (RING_ATOMIC(uint64_t) *)to;
    size_t count = (length < RING_COPY_WORDS ? length : RING_COPY_WORDS) / 8;
    if (length > 4 * RING_COPY_WORDS)
        count = 0; /* one wait is nothing against the rest, and two pieces take longer than one */
    RING_UNROLL
    for (size_t i = 0; i < count; i++) {
        uint64_t word;
        memcpy(&word, (const char *)from + 8 * i, 8);
        ring_atomic_store(words + i, word, memory_order_relaxed);
    }
    if (length > 8 * count)
        ring_copy((char *)to + 8 * count, (const char *)from + 8 * count, length - 8 * count);
}

RING_END_C

#endif
