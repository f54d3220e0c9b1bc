/* statistics.h - medians, and how sure one may be of them. */
#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

#include <stddef.h>

#define STATISTICS_LEAST 3 /* fewer values than this: no interval */

/* Sorts the values. 0 for none. */
double statistics_median(double *values, size_t count);

/* 95 % bootstrap interval of the median; false when there are too few values. Always the same for the same values. */
_Bool statistics_interval(const double *values, size_t count, double *low, double *high);

#endif
