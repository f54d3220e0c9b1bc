/* timing.c - how fast one version of the library is, in a quarter of a second.
 *
 * Linked once with each of two versions; compare.py runs both in turn, each time as a new process. Two kinds of cells:
 *   alone    one thread sends a stock of messages, then takes it: no line travels between cores, so that this is by far
 *            the steadiest. Both halves are timed separately.
 *   between  two pinned threads, one sending and one receiving, and the round trip over two rings.
 * Each cell is cut into windows of some ten microseconds; what is told is the median window (alone, round trip) or the
 * mean of the middle four fifths of them (streams), in ns per message, so that an interruption costs a window and not
 * the cell. Before and after, fixed work tells how much of the core we have just now, and the raw ping-pong of one
 * cache line how quiet the machine is and how far apart the two cores are.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <ring/ring.h>

enum {
    WINDOWS = 4096, /* at most, in one cell */
    FLOOR_WINDOWS = 1000,
    CORE_WINDOWS = 500,
    ALONE_WINDOWS = 400,
    STREAM_WINDOWS = 400,
    TRIP_WINDOWS = 1500,
    TRIPS_PER_WINDOW = 32,
    WARM_WINDOWS = 20, /* at the start of each cell, not counted */
    FLOOR_TRIPS = (FLOOR_WINDOWS + WARM_WINDOWS) * TRIPS_PER_WINDOW,
    LONGEST = 1024,
};

#define RING_BYTES ((size_t)512 << 10) /* in the core's own cache, whatever a version's default is */

static struct ring_spsc_producer producers[2]; /* of ring 0 and ring 1 */
static struct ring_spsc_consumer consumers[2];
static int cpus[2];
static double windows[WINDOWS]; /* ns */
static unsigned told;           /* cells told so far */

static void check(bool good, const char *what)
{
    if (__builtin_expect(!good, 0)) {
        fprintf(stderr, "timing: %s failed: %s\n", what, ring_error_detail());
        exit(1);
    }
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Mean of the windows without the fastest `low` and the slowest `high` of each 20. They are sorted. */
static double mean_between(unsigned count, unsigned low, unsigned high)
{
    unsigned from = count * low / 20, to = count - count * high / 20;
    double sum = 0;
    for (unsigned i = from; i < to; i++)
        sum += windows[i];
    return sum / (to - from);
}

enum figure { MEDIAN, MIDDLE };

/* Tells the cell's ns per message and how disturbed it was: mean, but for the slowest twentieth, over median. */
static void tell(const char *name, unsigned count, unsigned per_window, enum figure figure)
{
    qsort(windows, count, sizeof *windows, by_value);
    double middle = windows[count / 2];
    printf("%s\"%s\": {\"ns\": %.4f, \"spread\": %.3f}", told++ ? ", " : "", name,
           (figure == MEDIAN ? middle : mean_between(count, 2, 2)) / per_window, mean_between(count, 0, 1) / middle);
}

/* ---- Both threads: the one that measures calls run_beside() with what the other one has to do. ---- */

static void *on_second_cpu(void *job)
{
    pin(cpus[1]);
    ((void (*)(void))(uintptr_t)job)();
    return NULL;
}

static pthread_t run_beside(void (*job)(void))
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, on_second_cpu, (void *)(uintptr_t)job) == 0, "pthread_create");
    return thread;
}

/* ---- The floor ---- */

enum { LINES = 16, LINE_STEP = 4096 + 128, LINE_STAY = 128 };
static _Alignas(4096) unsigned char line_region[LINES * LINE_STEP];

static _Atomic uint64_t *line_of(uint64_t trip)
{
    return (_Atomic uint64_t *)(void *)(line_region + trip / LINE_STAY % LINES * LINE_STEP);
}

static uint64_t first_trip;

static void answer_floor(void)
{
    for (uint64_t trip = first_trip; trip < first_trip + FLOOR_TRIPS; trip++) {
        while (atomic_load_explicit(line_of(trip), memory_order_acquire) != 2 * trip + 1)
            ;
        atomic_store_explicit(line_of(trip), 2 * trip + 2, memory_order_release);
    }
}

static void measure_floor(const char *name)
{
    pthread_t other = run_beside(answer_floor);
    uint64_t trip = first_trip;
    for (int window = -WARM_WINDOWS; window < FLOOR_WINDOWS; window++) {
        int64_t start = now_ns();
        for (unsigned i = 0; i < TRIPS_PER_WINDOW; i++, trip++) {
            atomic_store_explicit(line_of(trip), 2 * trip + 1, memory_order_release);
            while (atomic_load_explicit(line_of(trip), memory_order_acquire) != 2 * trip + 2)
                ;
        }
        if (window >= 0)
            windows[window] = (double)(now_ns() - start);
    }
    pthread_join(other, NULL);
    first_trip = trip;
    tell(name, FLOOR_WINDOWS, TRIPS_PER_WINDOW, MEDIAN);
}

/* Work of a fixed amount that uses all of a core: slower while another tenant has the core's other half. */
static void measure_core(const char *name)
{
    static uint64_t words[512];
    for (int window = -WARM_WINDOWS; window < CORE_WINDOWS; window++) {
        int64_t start = now_ns();
        for (int again = 0; again < 16; again++)
            for (unsigned i = 0; i < 512; i += 4) {
                words[i] += i;
                words[i + 1] ^= i;
                words[i + 2] -= i;
                words[i + 3] |= i;
                __asm__ __volatile__("" : : : "memory");
            }
        if (window >= 0)
            windows[window] = (double)(now_ns() - start);
    }
    tell(name, CORE_WINDOWS, 1, MEDIAN);
}

/* ---- Alone. The length is a constant in each copy of these two. ---- */

#define INLINE static inline __attribute__((always_inline))

INLINE void send_some(uint64_t first, unsigned count, size_t length)
{
    unsigned char message[LONGEST] = { 0 };
    for (uint64_t number = first; number < first + count; number++) {
        memcpy(message, &number, sizeof number);
        check(ring_spsc_send(&producers[0], message, length, RING_FOREVER) == 0, "ring_spsc_send");
    }
}

INLINE void take_some(uint64_t first, unsigned count, size_t length)
{
    unsigned char message[LONGEST];
    for (uint64_t number = first; number < first + count; number++) {
        check(ring_spsc_recv(&consumers[0], message, length, RING_FOREVER) == (ssize_t)length, "ring_spsc_recv");
        uint64_t seen;
        memcpy(&seen, message, sizeof seen);
        check(seen == number, "the sequence");
    }
}

INLINE void alone(unsigned per_window, size_t length)
{
    static double taking[ALONE_WINDOWS];
    char name[32];
    uint64_t number = 0;
    for (int window = -WARM_WINDOWS; window < ALONE_WINDOWS; window++, number += per_window) {
        int64_t start = now_ns();
        send_some(number, per_window, length);
        int64_t between = now_ns();
        take_some(number, per_window, length);
        int64_t end = now_ns();
        if (window >= 0) {
            windows[window] = (double)(between - start);
            taking[window] = (double)(end - between);
        }
    }
    snprintf(name, sizeof name, "send %zu B alone", length);
    tell(name, ALONE_WINDOWS, per_window, MEDIAN);
    memcpy(windows, taking, sizeof taking);
    snprintf(name, sizeof name, "recv %zu B alone", length);
    tell(name, ALONE_WINDOWS, per_window, MEDIAN);
}

/* ---- Between two threads ---- */

INLINE void stream(unsigned per_window, size_t length, void (*sender)(void))
{
    char name[32];
    uint64_t number = 0;
    pthread_t other = run_beside(sender);
    for (int window = -WARM_WINDOWS; window < STREAM_WINDOWS; window++, number += per_window) {
        int64_t start = now_ns();
        take_some(number, per_window, length);
        if (window >= 0)
            windows[window] = (double)(now_ns() - start);
    }
    pthread_join(other, NULL);
    snprintf(name, sizeof name, "stream %zu B", length);
    tell(name, STREAM_WINDOWS, per_window, MIDDLE);
}

/* SIZE(bytes, messages per window alone, messages per window of a stream) */
#define SIZE(bytes, stock, flow)                                                                                       \
    static __attribute__((noinline)) void alone_##bytes(void)                                                          \
    {                                                                                                                  \
        alone(stock, bytes);                                                                                           \
    }                                                                                                                  \
    static __attribute__((noinline)) void sender_##bytes(void)                                                         \
    {                                                                                                                  \
        send_some(0, (STREAM_WINDOWS + WARM_WINDOWS) * (flow), bytes);                                                 \
    }                                                                                                                  \
    static __attribute__((noinline)) void stream_##bytes(void)                                                         \
    {                                                                                                                  \
        stream(flow, bytes, sender_##bytes);                                                                           \
    }

SIZE(8, 4096, 8192)
SIZE(64, 2048, 4096)
SIZE(1024, 256, 512)

static void answer_trips(void)
{
    for (uint64_t left = (uint64_t)(TRIP_WINDOWS + WARM_WINDOWS) * TRIPS_PER_WINDOW; left; left--) {
        uint64_t number;
        check(ring_spsc_recv(&consumers[0], &number, sizeof number, RING_FOREVER) == 8, "ring_spsc_recv");
        check(ring_spsc_send(&producers[1], &number, sizeof number, RING_FOREVER) == 0, "ring_spsc_send");
    }
}

static void measure_trips(void)
{
    pthread_t other = run_beside(answer_trips);
    for (int window = -WARM_WINDOWS; window < TRIP_WINDOWS; window++) {
        int64_t start = now_ns();
        for (uint64_t number = 0; number < TRIPS_PER_WINDOW; number++) {
            uint64_t seen;
            check(ring_spsc_send(&producers[0], &number, sizeof number, RING_FOREVER) == 0, "ring_spsc_send");
            check(ring_spsc_recv(&consumers[1], &seen, sizeof seen, RING_FOREVER) == 8, "ring_spsc_recv");
            check(seen == number, "the sequence");
        }
        if (window >= 0)
            windows[window] = (double)(now_ns() - start);
    }
    pthread_join(other, NULL);
    tell("round trip 8 B", TRIP_WINDOWS, TRIPS_PER_WINDOW, MEDIAN);
}

static struct ring_segment *set_up(void)
{
    static const char *const names[] = { "there", "back" };
    char name[64];
    struct ring_segment *segment;
    snprintf(name, sizeof name, "shmring-perf-gate-%ld", (long)getpid());
    check(ring_segment_create(&segment, name, NULL) == 0, "ring_segment_create");
    check(ring_segment_unlink(name) == 0, "ring_segment_unlink");
    for (int i = 0; i < 2; i++) {
        check(ring_spsc_create(segment, names[i], RING_BYTES) == 0, "ring_spsc_create");
        check(ring_spsc_open_producer(&producers[i], segment, names[i], RING_NO_WAIT) == 0, "ring_spsc_open_producer");
        check(ring_spsc_open_consumer(&consumers[i], segment, names[i], RING_NO_WAIT) == 0, "ring_spsc_open_consumer");
    }
    return segment;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "Usage: timing CPU [CPU]\n");
        return 2;
    }
    bool two = argc == 3;
    cpus[0] = atoi(argv[1]);
    cpus[1] = two ? atoi(argv[2]) : cpus[0];
    pin(cpus[0]);
    struct ring_segment *segment = set_up();
    printf("{");
    if (two)
        measure_floor("floor before");
    measure_core("core before");
    alone_8();
    alone_64();
    alone_1024();
    measure_core("core after");
    if (two) {
        measure_trips();
        stream_8();
        stream_64();
        stream_1024();
        measure_floor("floor after");
    }
    printf("}\n");
    for (int i = 0; i < 2; i++)
        check(ring_spsc_close_producer(&producers[i]) == 0 && ring_spsc_close_consumer(&consumers[i]) == 0, "close");
    check(ring_segment_close(&segment) == 0, "ring_segment_close");
    return 0;
}
