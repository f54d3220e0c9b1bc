/* histogram.c - reading the counts: percentiles, mean, and the text form that the plotters of HdrHistogram read.
 *
 * A clock that ticks in steps s gives a difference as the multiple of s below or above it, as the phase falls, so the
 * counts at value v stand for times spread over v - s/2 .. v + s/2. Percentiles are interpolated in that interval.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "histogram.h"

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void histogram_add(struct histogram *histogram, const struct histogram *other)
{
    histogram->count += other->count;
    histogram->sum += other->sum;
    if (other->largest > histogram->largest)
        histogram->largest = other->largest;
    for (size_t place = 0; place < HISTOGRAM_BUCKETS; place++)
        histogram->counts[place] += other->counts[place];
}

static double histogram_lowest(size_t place, double *width)
{
    if (place < 2 * HISTOGRAM_HALF) {
        *width = 1;
        return (double)place;
    }
    size_t shift = place / HISTOGRAM_HALF - 1;
    *width = (double)(UINT64_C(1) << shift);
    return (double)((uint64_t)(place - shift * HISTOGRAM_HALF) << shift);
}

double histogram_percentile(const struct histogram *histogram, double share, uint64_t step)
{
    double wanted = share * (double)histogram->count, below = 0;
    for (size_t place = 0; place < HISTOGRAM_BUCKETS; place++) {
        double here = (double)histogram->counts[place];
        if (here > 0 && below + here >= wanted) {
            double width, middle = histogram_lowest(place, &width) + (width - 1) / 2;
            double spread = width > (double)step ? width : (double)step;
            double value = middle + spread * ((wanted - below) / here - 0.5);
            return value > (double)histogram->largest ? (double)histogram->largest : value < 0 ? 0 : value;
        }
        below += here;
    }
    return (double)histogram->largest;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
}

static double histogram_deviation(const struct histogram *histogram)
{
    double mean = histogram_mean(histogram), squares = 0;
    for (size_t place = 0; place < HISTOGRAM_BUCKETS; place++)
        if (histogram->counts[place]) {
            double width, middle = histogram_lowest(place, &width) + (width - 1) / 2;
            squares += (middle - mean) * (middle - mean) * (double)histogram->counts[place];
        }
    return histogram->count ? sqrt(squares / (double)histogram->count) : 0;
}

int histogram_print(const struct histogram *histogram, double ticks_per_ns, uint64_t step, FILE *file)
{
    double count = (double)histogram->count, largest = (double)histogram->largest / ticks_per_ns;
    fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    /* As HdrHistogram does: five lines for each halving of the distance to 1, as long as messages are left there. */
    double share = 0;
    for (double rest = 1; count > 0 && rest * count >= 1; rest /= 2)
        for (int tick = 0; tick < 5; tick++) {
            share = 1 - rest + rest / 2 * tick / 5;
            fprintf(file, "%12.3f %2.12f %10.0f %14.2f\n", histogram_percentile(histogram, share, step) / ticks_per_ns,
                    share, ceil(share * count), 1 / (1 - share));
        }
    fprintf(file, "%12.3f %2.12f %10.0f\n", largest, 1.0, count);
    fprintf(file, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", histogram_mean(histogram) / ticks_per_ns,
            histogram_deviation(histogram) / ticks_per_ns);
    fprintf(file, "#[Max     = %12.3f, Total count    = %12.0f]\n", largest, count);
    fprintf(file, "#[Buckets = %12d, SubBuckets     = %12d]\n", HISTOGRAM_BUCKETS / HISTOGRAM_HALF, 2 * HISTOGRAM_HALF);
    return ferror(file) ? -EIO : 0;
}
