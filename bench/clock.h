/* clock.h - time in ticks: the time-stamp counter where it is invariant (one clock for all cores), else
 * CLOCK_MONOTONIC.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct bench_clock {
    bool counter;        /* ticks are those of the processor's counter; else nanoseconds */
    double ticks_per_ns; /* measured against CLOCK_MONOTONIC */
    uint64_t step;       /* ticks between two values the counter can show: 26 on some machines */
};

extern struct bench_clock bench_clock;

/* Finds the clock and measures it; takes some 20 ms. Once, before any fork. */
void bench_clock_begin(void);

static inline uint64_t bench_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Before the thing to be timed: later instructions may start early, the counter is read on the way. */
static inline __attribute__((always_inline)) uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(bench_clock.counter, 1))
        return __rdtsc();
#endif
    return bench_clock_ns();
}

/* After it: rdtscp waits until everything before has been executed. */
static inline __attribute__((always_inline)) uint64_t bench_ticks_after(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(bench_clock.counter, 1)) {
        unsigned processor;
        return __rdtscp(&processor);
    }
#endif
    return bench_clock_ns();
}

#ifdef __cplusplus
}
#endif

#endif
