/* clock.c - which clock there is, how fast it ticks, and how coarse it is. */
#include "clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CLOCK_CALIBRATION_NS 20000000u
#define CLOCK_LOOKS          4096
#define CLOCK_LARGEST_STEP   256

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

/* The smallest difference between two looks, if nearly all others are whole multiples of it; else the clock is fine. */
static uint64_t clock_step(void)
{
    uint64_t differences[CLOCK_LOOKS], smallest = CLOCK_LARGEST_STEP + 1, last = bench_ticks();
    for (int look = 0; look < CLOCK_LOOKS; look++) {
        uint64_t now = bench_ticks();
        differences[look] = now - last;
        last = now;
    }
    for (int look = 0; look < CLOCK_LOOKS; look++)
        if (differences[look] && differences[look] < smallest)
            smallest = differences[look];
    int multiples = 0;
    for (int look = 0; look < CLOCK_LOOKS; look++)
        multiples += differences[look] % smallest == 0;
    return smallest <= CLOCK_LARGEST_STEP && multiples > CLOCK_LOOKS / 10 * 9 ? smallest : 1;
}

void bench_clock_begin(void)
{
    bench_clock.counter = clock_counter_is_usable();
    bench_clock.ticks_per_ns = bench_clock.counter ? clock_rate() : 1.0;
    bench_clock.step = clock_step();
}
