/* histogram.h - counts of times by value: exact up to 2047 ticks, then 1024 buckets per power of two (0.1 %).
 *
 * Plain memory, no pointers: it may lie in memory shared between processes. Zeroed is empty.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HISTOGRAM_HALF     1024
#define HISTOGRAM_HALF_LOG 10
#define HISTOGRAM_BUCKETS  (HISTOGRAM_HALF * 32) /* up to 2^41 ticks, some ten minutes */

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t largest;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline __attribute__((always_inline)) void histogram_record(struct histogram *histogram, uint64_t value)
{
    size_t place = value;
    if (value >= 2 * HISTOGRAM_HALF) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_HALF_LOG;
        place = (size_t)shift * HISTOGRAM_HALF + (size_t)(value >> shift);
        if (place >= HISTOGRAM_BUCKETS)
            place = HISTOGRAM_BUCKETS - 1;
    }
    histogram->counts[place]++;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->largest)
        histogram->largest = value;
}

void histogram_clear(struct histogram *histogram);
void histogram_add(struct histogram *histogram, const struct histogram *other);

/* The value below which `share` (0 .. 1) of the counts lie, in ticks; interpolated, as the clock has steps of `step`.
 */
double histogram_percentile(const struct histogram *histogram, double share, uint64_t step);
double histogram_mean(const struct histogram *histogram);

/* The percentile text of HdrHistogram (.hgrm), values in ns. 0 or -errno. */
int histogram_print(const struct histogram *histogram, double ticks_per_ns, uint64_t step, FILE *file);

#ifdef __cplusplus
}
#endif

#endif
