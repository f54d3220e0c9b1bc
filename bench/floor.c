/* floor.c - the raw ping-pong.
 *
 * Both sides write the same line in turn, one with odd and one with even numbers, and wait for the other's. Where a
 * line lives in the machine changes its time by some percent, so the pair moves on over lines of several pages.
 */
#include <stdatomic.h>

#include <ring/platform.h>

#include "floor.h"

#define LINE_PAGES     16
#define LINE_PAGE      4096
#define LINE_STAY_LOG2 7 /* round trips on a line before moving on */

static size_t line_region_bytes(const struct bench_options *options)
{
    (void)options;
    return (size_t)LINE_PAGES * LINE_PAGE;
}

static int raw_create(struct bench_link *link)
{
    (void)link; /* the region is all there is */
    return 0;
}

static int line_open(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

BENCH_INLINE _Atomic uint64_t *line_of(void *region, uint64_t number)
{
    size_t page = (size_t)(number >> LINE_STAY_LOG2) % LINE_PAGES;
    return (_Atomic uint64_t *)(void *)((unsigned char *)region + page * LINE_PAGE + page * 128);
}

/* How a side waits between two polls. Which is best differs between machines, so the floor is the best of all. */
enum line_gap { GAP_NONE, GAP_PAUSE, GAP_POLL };

BENCH_INLINE void line_wait(_Atomic uint64_t *line, uint64_t value, enum line_gap gap)
{
    while (atomic_load_explicit(line, memory_order_acquire) != value)
        if (gap == GAP_PAUSE)
            ring_cpu_relax();
        else if (gap == GAP_POLL)
            ring_cpu_poll_gap();
}

/* Only link 0 is used: side 0 has it as `out`, side 1 as `in`. */
BENCH_INLINE int line_ping_with(struct bench_run *run, uint64_t first, uint64_t count, enum line_gap gap)
{
    for (uint64_t number = first; number < first + count; number++) {
        _Atomic uint64_t *line = line_of(run->out, number);
        uint64_t before = bench_ticks();
        atomic_store_explicit(line, 2 * number + 1, memory_order_release);
        line_wait(line, 2 * number + 2, gap);
        uint64_t after = bench_ticks_after();
        if (run->histogram)
            histogram_record(run->histogram, after - before);
    }
    return 0;
}

BENCH_INLINE int line_pong_with(struct bench_run *run, uint64_t first, uint64_t count, enum line_gap gap)
{
    for (uint64_t number = first; number < first + count; number++) {
        _Atomic uint64_t *line = line_of(run->in, number);
        line_wait(line, 2 * number + 1, gap);
        atomic_store_explicit(line, 2 * number + 2, memory_order_release);
    }
    return 0;
}

/* The loops of one way of waiting, and the contestant that has them. */
#define LINE_WAY(suffix, gap, title)                                                                                   \
    static int line_ping##suffix(struct bench_run *run, uint64_t first, uint64_t count)                                \
    {                                                                                                                  \
        return line_ping_with(run, first, count, gap);                                                                 \
    }                                                                                                                  \
    static int line_pong##suffix(struct bench_run *run, uint64_t first, uint64_t count)                                \
    {                                                                                                                  \
        return line_pong_with(run, first, count, gap);                                                                 \
    }                                                                                                                  \
    static const struct transport_loops line_loops##suffix = { .ping = line_ping##suffix, .pong = line_pong##suffix }; \
    const struct transport floor_line##suffix = {                                                                      \
        .name = title,                                                                                                 \
        .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,                                                          \
        .region_bytes = line_region_bytes,                                                                             \
        .create = raw_create,                                                                                          \
        .open_producer = line_open,                                                                                    \
        .open_consumer = line_open,                                                                                    \
        .loops = &line_loops##suffix,                                                                                  \
    }

LINE_WAY(, GAP_NONE, "raw cache line");
LINE_WAY(_paused, GAP_PAUSE, "raw cache line with pause");
LINE_WAY(_gapped, GAP_POLL, "raw cache line with poll gap");
