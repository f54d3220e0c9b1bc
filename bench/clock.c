/* clock.c - which clock there is, how fast it ticks, and how coarse it is. */
#include "clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CLOCK_CALIBRATION_NS 20000000u
#define CLOCK_LOOKS          4096
#define CLOCK_LARGEST_STEP   256
#define CLOCK_SMALLEST_STEP  8

struct bench_clock bench_clock = { false, 1.0, 1 };

/* Invariant: same rate in all power states, and the kernel keeps the cores' counters together. */
static bool clock_counter_is_usable(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    bool invariant = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
    bool rdtscp = __get_cpuid(0x80000001, &a, &b, &c, &d) && (d & (1u << 27));
    return invariant && rdtscp;
#else
    return false;
#endif
}

static double clock_rate(void)
{
    uint64_t ns_before = bench_clock_ns(), before = bench_ticks(), ns_after;
    do
        ns_after = bench_clock_ns();
    while (ns_after - ns_before < CLOCK_CALIBRATION_NS);
    return (double)(bench_ticks() - before) / (double)(ns_after - ns_before);
}

/* Some counters move on in steps (and by one when they are looked at twice within a step): then nearly all differences
 * are whole multiples of the step, give or take that one. The looks come after delays of different lengths, so that on
 * a fine counter nothing of the kind is found. */
static uint64_t clock_step(void)
{
    uint64_t differences[CLOCK_LOOKS], last = bench_ticks();
    for (int look = 0; look < CLOCK_LOOKS; look++) {
        for (volatile int delay = look % 61; delay > 0; delay--)
            ;
        uint64_t now = bench_ticks();
        differences[look] = now - last;
        last = now;
    }
    for (uint64_t step = CLOCK_LARGEST_STEP; step >= CLOCK_SMALLEST_STEP; step--) {
        int multiples = 0;
        for (int look = 0; look < CLOCK_LOOKS; look++)
            multiples += (differences[look] + 1) % step <= 2;
        if (multiples > CLOCK_LOOKS / 10 * 9)
            return step;
    }
    return 1;
}

void bench_clock_begin(void)
{
    bench_clock.counter = clock_counter_is_usable();
    bench_clock.ticks_per_ns = bench_clock.counter ? clock_rate() : 1.0;
    bench_clock.step = clock_step();
}
