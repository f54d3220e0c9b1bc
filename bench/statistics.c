/* statistics.c - the median of same-round ratios is what a comparison reports: one bad round does not move it. Its
 * interval comes from drawing rounds anew with replacement, and needs no assumption about how the noise is distributed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "statistics.h"

#define STATISTICS_DRAWS 4000
#define STATISTICS_MOST  1024

static int statistics_order(const void *left, const void *right)
{
    double one = *(const double *)left, other = *(const double *)right;
    return one < other ? -1 : one > other;
}

double statistics_median(double *values, size_t count)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof values[0], statistics_order);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static uint64_t statistics_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

_Bool statistics_interval(const double *values, size_t count, double *low, double *high)
{
    static double medians[STATISTICS_DRAWS], drawn[STATISTICS_MOST];
    uint64_t state = UINT64_C(88172645463325252);
    if (count < STATISTICS_LEAST || count > STATISTICS_MOST)
        return false;
    for (size_t draw = 0; draw < STATISTICS_DRAWS; draw++) {
        for (size_t at = 0; at < count; at++)
            drawn[at] = values[statistics_random(&state) % count];
        medians[draw] = statistics_median(drawn, count);
    }
    qsort(medians, STATISTICS_DRAWS, sizeof medians[0], statistics_order);
    *low = medians[STATISTICS_DRAWS / 40];
    *high = medians[STATISTICS_DRAWS - 1 - STATISTICS_DRAWS / 40];
    return true;
}
