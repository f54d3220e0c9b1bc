/* side.c - what one side of a cell does: pins itself, opens its ends, warms up, works, closes.
 *
 * The leader (who has the clock: the first consumer of a stream, the pinging side of a round trip) sets the number of
 * messages of each phase; all sides meet at a barrier before and after. Warm-up phases grow until one takes long
 * enough to tell the rate; then comes one measured phase of about the wanted time, then a count of 0 ends it. A phase
 * starts and ends with an empty link, so its rate owes nothing to what was buffered before. It lasts from when its
 * first side begins until its last one ends.
 *
 * Several consumers share out a phase by claims: each undertakes to receive some messages (a 64th of an even share),
 * takes that many, whichever come, and claims again until all are claimed. So a fast consumer takes more than a slow
 * one, as the queue lets it; none ever waits for a message that will not come, even in a call that sleeps; and what is
 * shared for it is one addition per claim, on a line of its own, the same for all contestants. (A fixed share for each
 * would measure the slowest consumer. A message that means "stop" has to overtake nothing and to be sent once per
 * consumer, which queues without an order among producers do not promise. A counter of all received costs more than
 * many of the queues.) Only in the last claims, a 64th of the phase, fewer consumers than all may be at work.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cell.h"
#include "message.h"
#include "region.h"

#define SIDE_FIRST_COUNT  256    /* messages of the very first warm-up: safe for the slowest contestant */
#define SIDE_WARM_SECONDS 0.004  /* a warm-up of this length tells the rate */
#define SIDE_WARM_SHARE   0.06   /* of the measured time, once the rate is known */
#define SIDE_SLICES       64     /* signs of life in a phase, of each side */
#define SIDE_LEAST        256    /* messages measured at least */
#define SIDE_SPINS        50000  /* at the barrier, before giving the processor away */
#define SIDE_SPINS_SHARED 50     /* the same when somebody else is to run on this processor */
#define SIDE_PATIENCE     64     /* fruitless calls of a side that shares its processor, before it gives that away */
#define SIDE_START_NS     200000 /* open loop: from the plan to the first message */

__extension__ typedef unsigned __int128 side_wide;
typedef int (*side_loop)(struct bench_run *, uint64_t, uint64_t);

struct side {
    const struct cell *cell;
    struct cell_shared *shared;
    size_t number, producers, count; /* count: of all sides */
    bool leader, crowded;
    uint64_t meetings;
    struct bench_run run;
    side_loop loop;
    double rate;            /* leader: messages per second, as far as known */
    double lost, reordered; /* leader: before this phase */
    bool measured;
};

static bool side_is_producer(const struct side *side)
{
    return side->number < side->producers;
}

static void side_barrier(struct side *side)
{
    uint64_t all = ++side->meetings * side->count, patience = side->crowded ? SIDE_SPINS_SHARED : SIDE_SPINS;
    atomic_fetch_add_explicit(&side->shared->arrived, 1, memory_order_acq_rel);
    for (uint64_t spins = 0; atomic_load_explicit(&side->shared->arrived, memory_order_acquire) < all; spins++)
        if (spins > patience)
            sched_yield();
}

static int side_fail(struct side *side, const char *doing, int error)
{
    int nobody = 0;
    side->shared->sides[side->number].error = error;
    side->shared->sides[side->number].expected = side->run.expected;
    side->shared->sides[side->number].received = side->run.received;
    snprintf(side->shared->sides[side->number].doing, sizeof side->shared->sides[0].doing, "%s", doing);
    atomic_compare_exchange_strong(&side->shared->failed, &nobody, (int)side->number + 1);
    return 1;
}

static int side_pin(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity((pid_t)syscall(SYS_gettid), sizeof set, &set) == 0 ? 0 : -errno;
}

/* Of a stream: one by one, in batches or in place. The ceilings have no batches: they want whole ones all the same. */
static side_loop side_manner(const struct bench_options *options, side_loop single, side_loop batch, side_loop in_place)
{
    return options->in_place ? in_place : options->batch > 1 && batch ? batch : single;
}

static side_loop side_choose(const struct side *side)
{
    const struct cell *cell = side->cell;
    const struct transport_loops *loops = cell->transport->loops;
    const struct bench_options *options = &cell->options;
    bool producer = side_is_producer(side);
    if (cell->kind == CELL_ROUND_TRIP)
        return producer ? loops->ping : loops->pong;
    if (cell->kind == CELL_OPEN_LOOP)
        return producer ? loops->pace : loops->collect;
    if (producer)
        return side_manner(options, loops->produce, loops->produce_batch, loops->produce_in_place);
    if (cell_is_shared(cell))
        return side_manner(options, loops->gather, loops->gather_batch, loops->gather_in_place);
    if (cell->transport->abilities & TRANSPORT_OVERWRITES)
        return side_manner(options, loops->follow, loops->follow_batch, loops->follow_in_place);
    return side_manner(options, loops->consume, loops->consume_batch, loops->consume_in_place);
}

/* The link on which this side sends, and the one on which it receives; NULL: it does not. Of two links, side 0 sends
 * on the first, side 1 on the other. */
static struct bench_link *side_link(const struct side *side, bool sends)
{
    bool two = side->cell->options.links > 1;
    if (!two && sends != side_is_producer(side))
        return NULL;
    return &side->shared->links[two && sends != side_is_producer(side)];
}

static int side_open_run(struct side *side)
{
    const struct cell *cell = side->cell;
    side->run.bytes = cell->options.bytes;
    side->run.batch = cell->options.batch;
    side->run.crowded = side->crowded;
    side->run.patience = SIDE_PATIENCE;
    side->run.tally = &side->shared->sides[side->number].tally;
    side->run.tally->producers = side->producers;
    side->run.tally->may_reorder = cell->transport->abilities & TRANSPORT_REORDERS;
    size_t messages = cell->options.batch > 3 ? cell->options.batch : 3;
    size_t buffer = (cell->options.bytes * messages + 4095) / 4096 * 4096;
    side->run.buffer = aligned_alloc(4096, buffer);
    if (!side->run.buffer)
        return -ENOMEM;
    memset(side->run.buffer, 0, buffer);
    return 0;
}

static int side_open(struct side *side)
{
    const struct cell *cell = side->cell;
    struct bench_link *out = side_link(side, true), *in = side_link(side, false);
    for (size_t at = 0; at < cell->options.links; at++) {
        struct bench_link *link = &side->shared->links[at];
        if (link->region)
            region_touch(link->region, link->region_bytes, cell->options.huge);
    }
    int refusal = side_open_run(side);
    if (!refusal && out)
        refusal = cell->transport->open_producer(out, &side->run.out);
    if (!refusal && in)
        refusal = cell->transport->open_consumer(in, &side->run.in);
    return refusal;
}

static void side_close(struct side *side)
{
    const struct transport *transport = side->cell->transport;
    struct bench_link *out = side_link(side, true), *in = side_link(side, false);
    if (out && transport->close_producer)
        transport->close_producer(out, side->run.out);
    if (in && transport->close_consumer)
        transport->close_consumer(in, side->run.in);
    free(side->run.buffer);
}

static uint64_t side_whole_batches(const struct cell *cell, double messages)
{
    double batches = messages / (double)cell->options.batch;
    return (batches < 1 ? 1 : (uint64_t)batches) * cell->options.batch;
}

/* Of the last phase: from when the first side began until the last one ended. */
static double side_seconds(const struct side *side)
{
    uint64_t begin = UINT64_MAX, end = 0;
    for (size_t at = 0; at < side->count; at++) {
        const struct cell_side *other = &side->shared->sides[at];
        begin = other->begin < begin ? other->begin : begin;
        end = other->end > end ? other->end : end;
    }
    return (double)(end - begin) / 1e9;
}

/* Up to now, by all consumers together. */
static void side_losses(const struct side *side, double *lost, double *reordered)
{
    *lost = *reordered = 0;
    for (size_t at = side->producers; at < side->count; at++) {
        *lost += (double)side->shared->sides[at].lost;
        *reordered += (double)side->shared->sides[at].tally.reordered;
    }
}

/* Several consumers: has each of the `sent` messages come once? Numbers of each producer run from 0, all came equally
 * far. Loss and duplicates in equal numbers change the sums: to change neither that of the numbers nor that of their
 * squares takes three of each, chosen well. */
static int side_count(struct side *side, uint64_t sent)
{
    uint64_t each = sent / side->producers, count = 0, sum = 0, squares = 0;
    side_wide one = each, linear = one * (each - 1) / 2, square = one * (each - 1) * (2 * one - 1) / 6;
    for (size_t at = side->producers; at < side->count; at++) {
        const struct bench_tally *tally = &side->shared->sides[at].tally;
        count += tally->count;
        sum += tally->sum;
        squares += tally->squares;
    }
    side->run.expected = sent;
    side->run.received = count;
    for (uint64_t producer = 0; producer < side->producers && each; producer++) {
        uint64_t upper = producer << BENCH_PRODUCER_SHIFT; /* all modulo 2^64, as the consumers have it */
        sum -= upper * each + (uint64_t)linear;
        squares -= upper * upper * each + 2 * upper * (uint64_t)linear + (uint64_t)square;
    }
    return count == sent && sum == 0 && squares == 0 ? 0 : -EBADMSG;
}

static uint64_t side_whole_turns(const struct side *side, double messages)
{
    return side_whole_batches(side->cell, messages / (double)side->producers) * side->producers;
}

/* The leader sets the next phase, knowing that the last one did `count` messages in `seconds`. */
static void side_plan(struct side *side, uint64_t first, uint64_t count, double seconds)
{
    const struct cell *cell = side->cell;
    struct cell_shared *shared = side->shared;
    double lost, reordered;
    side_losses(side, &lost, &reordered);
    if (side->measured) {
        shared->messages = (double)count;
        shared->seconds = seconds;
        shared->producer_seconds = (double)(shared->sides[0].end - shared->sides[0].begin) / 1e9;
        shared->lost = lost - side->lost;
        shared->reordered = reordered - side->reordered;
        shared->count = 0;
        return;
    }
    side->lost = lost;
    side->reordered = reordered;
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
    shared->count = side_whole_turns(side, next);
    atomic_store_explicit(&shared->claimed, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->sending, side->producers, memory_order_relaxed);
    if (cell->kind == CELL_OPEN_LOOP) {
        shared->interval = 1e9 * bench_clock.ticks_per_ns / cell->rate;
        shared->start = bench_ticks() + (uint64_t)(SIDE_START_NS * bench_clock.ticks_per_ns) -
                        (uint64_t)((double)first * shared->interval);
    }
}

/* `count` messages in slices, each a sign of life for the watchdog. */
static int side_slices(struct side *side, uint64_t first, uint64_t count)
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

/* One of several consumers: claims, and receives what it claimed. */
static int side_claims(struct side *side, uint64_t count)
{
    struct cell_shared *shared = side->shared;
    double share = (double)count / (double)(side->count - side->producers);
    uint64_t claim = side_whole_batches(side->cell, share / SIDE_SLICES);
    for (;;) {
        uint64_t before = atomic_fetch_add_explicit(&shared->claimed, claim, memory_order_relaxed);
        if (before >= count)
            return 0;
        int refusal = side->loop(&side->run, 0, claim < count - before ? claim : count - before);
        if (refusal)
            return refusal;
        atomic_fetch_add_explicit(&shared->slices, 1, memory_order_relaxed);
    }
}

/* The phase of `count` messages after `first`, of all producers together. */
static int side_phase(struct side *side, uint64_t first, uint64_t count)
{
    if (!side_is_producer(side))
        return cell_is_shared(side->cell) ? side_claims(side, count) : side_slices(side, first, count);
    uint64_t own = (uint64_t)side->number << BENCH_PRODUCER_SHIFT;
    int refusal = side_slices(side, own + first / side->producers, count / side->producers);
    atomic_fetch_sub_explicit(&side->shared->sending, 1, memory_order_relaxed);
    return refusal;
}

static int side_work(struct side *side)
{
    struct cell_shared *shared = side->shared;
    struct cell_side *own = &shared->sides[side->number];
    uint64_t first = 0, count = 0;
    for (;;) {
        if (side->leader && cell_is_shared(side->cell) && side_count(side, first) != 0)
            return side_fail(side, "counting", -EBADMSG);
        if (side->leader)
            side_plan(side, first, count, count ? side_seconds(side) : 0);
        side_barrier(side);
        count = shared->count;
        if (!count)
            return 0;
        side->run.start = shared->start;
        side->run.interval = shared->interval;
        side->run.histogram = side->leader && shared->record ? &shared->histogram : NULL;
        own->begin = bench_clock_ns();
        int refusal = side_phase(side, first, count);
        own->end = bench_clock_ns();
        if (refusal)
            return side_fail(side, side_is_producer(side) ? "sending" : "receiving", refusal);
        own->lost = side->run.lost;
        first += count;
        side_barrier(side);
    }
}

int side_run(const struct cell *cell, struct cell_shared *shared, size_t number)
{
    struct side side = { .cell = cell, .shared = shared, .number = number, .rate = cell->guess };
    side.producers = cell_producers(cell);
    side.count = cell_sides(cell);
    side.crowded = cell_is_crowded(cell);
    side.leader = number == (cell->kind == CELL_ROUND_TRIP ? 0 : side.producers);
    side.loop = side_choose(&side);
    int refusal = side_pin(cell_processor(cell, number));
    if (refusal)
        return side_fail(&side, "pinning", refusal);
    refusal = side_open(&side);
    if (refusal)
        return side_fail(&side, "opening", refusal);
    side_barrier(&side);
    if (number == 0 && (cell->transport->abilities & TRANSPORT_REMOVE_EARLY) && cell->transport->remove)
        for (size_t at = 0; at < cell->options.links; at++)
            cell->transport->remove(&shared->links[at]);
    if (side_work(&side) != 0)
        return 1;
    side_close(&side);
    return 0;
}
