/* side.c - what one side of a cell does: pins itself, opens its ends, warms up, works, closes.
 *
 * The leader (who has the clock: the consumer of a stream, the pinging side of a round trip) sets the number of
 * messages of each phase; both sides meet at a barrier before and after. Warm-up phases grow until one takes long
 * enough to tell the rate; then comes one measured phase of about the wanted time, then a count of 0 ends it. A phase
 * starts and ends with an empty link, so its rate owes nothing to what was buffered before.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cell.h"
#include "region.h"

#define SIDE_FIRST_COUNT  256    /* messages of the very first warm-up: safe for the slowest contestant */
#define SIDE_WARM_SECONDS 0.004  /* a warm-up of this length tells the rate */
#define SIDE_WARM_SHARE   0.06   /* of the measured time, once the rate is known */
#define SIDE_SLICES       64     /* signs of life in a phase */
#define SIDE_LEAST        256    /* messages measured at least */
#define SIDE_SPINS        50000  /* at the barrier, before giving the processor away */
#define SIDE_START_NS     200000 /* open loop: from the plan to the first message */

typedef int (*side_loop)(struct bench_run *, uint64_t, uint64_t);

struct side {
    const struct cell *cell;
    struct cell_shared *shared;
    int number;
    bool leader;
    uint64_t meetings;
    struct bench_run run;
    side_loop loop;
    double rate; /* leader: messages per second, as far as known */
    bool measured;
};

static void side_barrier(struct side *side)
{
    uint64_t all = ++side->meetings * CELL_SIDES;
    atomic_fetch_add_explicit(&side->shared->arrived, 1, memory_order_acq_rel);
    for (uint64_t spins = 0; atomic_load_explicit(&side->shared->arrived, memory_order_acquire) < all; spins++)
        if (spins > SIDE_SPINS)
            sched_yield();
}

static int side_fail(struct side *side, const char *doing, int error)
{
    int nobody = 0;
    side->shared->sides[side->number].error = error;
    side->shared->sides[side->number].expected = side->run.expected;
    side->shared->sides[side->number].received = side->run.received;
    snprintf(side->shared->sides[side->number].doing, sizeof side->shared->sides[0].doing, "%s", doing);
    atomic_compare_exchange_strong(&side->shared->failed, &nobody, side->number + 1);
    return 1;
}

static int side_pin(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity((pid_t)syscall(SYS_gettid), sizeof set, &set) == 0 ? 0 : -errno;
}

static side_loop side_choose(const struct cell *cell, int number)
{
    const struct transport_loops *loops = cell->transport->loops;
    if (cell->kind == CELL_ROUND_TRIP)
        return number == 0 ? loops->ping : loops->pong;
    if (cell->kind == CELL_OPEN_LOOP)
        return number == 0 ? loops->pace : loops->collect;
    if (cell->options.in_place)
        return number == 0 ? loops->produce_in_place : loops->consume_in_place;
    if (cell->options.batch > 1 &&
        loops->produce_batch) /* the ceilings have none: they want whole batches all the same */
        return number == 0 ? loops->produce_batch : loops->consume_batch;
    return number == 0 ? loops->produce : loops->consume;
}

/* Side 0 sends on link 0 and gets from link 1, if there is one; side 1 the other way round. */
static int side_open(struct side *side)
{
    const struct cell *cell = side->cell;
    struct bench_link *links = side->shared->links;
    size_t out = (size_t)side->number, in = 1 - out;
    for (size_t at = 0; at < cell->options.links; at++)
        if (links[at].region)
            region_touch(links[at].region, links[at].region_bytes, cell->options.huge);
    side->run.bytes = cell->options.bytes;
    side->run.batch = cell->options.batch;
    size_t messages = cell->options.batch > 3 ? cell->options.batch : 3;
    size_t buffer = (cell->options.bytes * messages + 4095) / 4096 * 4096;
    side->run.buffer = aligned_alloc(4096, buffer);
    if (!side->run.buffer)
        return -ENOMEM;
    memset(side->run.buffer, 0, buffer);
    int refusal = 0;
    if (out < cell->options.links)
        refusal = cell->transport->open_producer(&links[out], &side->run.out);
    if (!refusal && in < cell->options.links)
        refusal = cell->transport->open_consumer(&links[in], &side->run.in);
    return refusal;
}

static void side_close(struct side *side)
{
    const struct transport *transport = side->cell->transport;
    struct bench_link *links = side->shared->links;
    size_t out = (size_t)side->number, in = 1 - out;
    if (out < side->cell->options.links && transport->close_producer)
        transport->close_producer(&links[out], side->run.out);
    if (in < side->cell->options.links && transport->close_consumer)
        transport->close_consumer(&links[in], side->run.in);
    free(side->run.buffer);
}

static uint64_t side_whole_batches(const struct cell *cell, double messages)
{
    double batches = messages / (double)cell->options.batch;
    return (batches < 1 ? 1 : (uint64_t)batches) * cell->options.batch;
}

/* The leader sets the next phase, knowing that the last one did `count` messages in `seconds`. */
static void side_plan(struct side *side, uint64_t first, uint64_t count, double seconds)
{
    const struct cell *cell = side->cell;
    struct cell_shared *shared = side->shared;
    if (side->measured) {
        shared->messages = (double)count;
        shared->seconds = seconds;
        shared->count = 0;
        return;
    }
    if (count)
        side->rate = (double)count / seconds;
    bool known = seconds >= SIDE_WARM_SECONDS || (count && cell->kind == CELL_OPEN_LOOP);
    double next = (double)count * 8;
    if (cell->kind == CELL_OPEN_LOOP)
        next = cell->rate * cell->seconds * (known ? 1 : SIDE_WARM_SHARE);
    else if (known)
        next = side->rate * cell->seconds;
    else if (!count)
        next = side->rate > 0 ? side->rate * cell->seconds * SIDE_WARM_SHARE : SIDE_FIRST_COUNT;
    if (known && next < SIDE_LEAST)
        next = SIDE_LEAST;
    side->measured = shared->record = known;
    shared->count = side_whole_batches(cell, next);
    if (cell->kind == CELL_OPEN_LOOP) {
        shared->interval = 1e9 * bench_clock.ticks_per_ns / cell->rate;
        shared->start = bench_ticks() + (uint64_t)(SIDE_START_NS * bench_clock.ticks_per_ns) -
                        (uint64_t)((double)first * shared->interval);
    }
}

/* One phase in slices, each a sign of life for the watchdog. */
static int side_phase(struct side *side, uint64_t first, uint64_t count)
{
    uint64_t slice = side_whole_batches(side->cell, (double)count / SIDE_SLICES);
    while (count) {
        uint64_t now = count < slice ? count : slice;
        int refusal = side->loop(&side->run, first, now);
        if (refusal)
            return refusal;
        first += now;
        count -= now;
        atomic_fetch_add_explicit(&side->shared->slices, 1, memory_order_relaxed);
    }
    return 0;
}

static int side_work(struct side *side)
{
    struct cell_shared *shared = side->shared;
    uint64_t first = 0, count = 0;
    double seconds = 0;
    for (;;) {
        if (side->leader)
            side_plan(side, first, count, seconds);
        side_barrier(side);
        count = shared->count;
        if (!count)
            return 0;
        side->run.start = shared->start;
        side->run.interval = shared->interval;
        side->run.histogram = side->leader && shared->record ? &shared->histogram : NULL;
        uint64_t begin = bench_clock_ns();
        int refusal = side_phase(side, first, count);
        if (refusal)
            return refusal;
        seconds = (double)(bench_clock_ns() - begin) / 1e9;
        first += count;
        side_barrier(side);
    }
}

int side_run(const struct cell *cell, struct cell_shared *shared, int number)
{
    struct side side = { .cell = cell, .shared = shared, .number = number, .rate = cell->guess };
    side.leader = cell->kind == CELL_ROUND_TRIP ? number == 0 : number == 1;
    side.loop = side_choose(cell, number);
    int refusal = side_pin(cell->processors[number]);
    if (refusal)
        return side_fail(&side, "pinning", refusal);
    refusal = side_open(&side);
    if (refusal)
        return side_fail(&side, "opening", refusal);
    side_barrier(&side);
    if (number == 0 && (cell->transport->abilities & TRANSPORT_REMOVE_EARLY) && cell->transport->remove)
        for (size_t at = 0; at < cell->options.links; at++)
            cell->transport->remove(&shared->links[at]);
    refusal = side_work(&side);
    if (refusal)
        return side_fail(&side, number == 0 ? "sending" : "receiving", refusal);
    side_close(&side);
    return 0;
}
