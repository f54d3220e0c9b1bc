/* cell.h - one cell: one contestant, one kind of measurement, one size, once. Pinned sides in processes of their own:
 * the producers first, then the consumers.
 */
#ifndef BENCH_CELL_H
#define BENCH_CELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "transport.h"

enum cell_kind { CELL_THROUGHPUT, CELL_ROUND_TRIP, CELL_OPEN_LOOP };

struct cell {
    const struct transport *transport;
    enum cell_kind kind;
    struct bench_options options;
    const int *processors; /* sides take them in turn, as cell_processor() says */
    size_t processor_count;
    double seconds;  /* how long the measured part should take */
    double rate;     /* open loop: messages per second offered */
    double guess;    /* messages per second seen before, or 0: then it is found out first */
    double patience; /* seconds without a sign of life before all is killed; 0: 20 */
};

struct cell_result {
    double messages;
    double messages_per_second;
    double producer_seconds; /* of the first producer, from its first call to the end of its last one */
    double lost;             /* overwritten before they were received: by all consumers together */
    double reordered;        /* came to a consumer after a later one of the same producer */
    char why[320];           /* after a failure */
};

#define CELL_LINKS 2
#define CELL_SIDES (2 * BENCH_SIDES_MOST)

/* One side's own part of what is shared. */
struct cell_side {
    _Alignas(128) int error; /* -errno */
    uint64_t expected, received;
    char doing[16];
    uint64_t begin, end; /* of the last phase, in ns */
    uint64_t lost;       /* ever */
    struct bench_tally tally;
};

/* Everything the engine and all sides share. */
struct cell_shared {
    struct bench_link links[CELL_LINKS];
    _Alignas(128) _Atomic uint64_t arrived; /* at the barrier, ever */
    _Alignas(128) _Atomic uint64_t slices;  /* finished: the sign of life */
    _Atomic int failed;                     /* side that failed first, plus 1 */
    _Atomic uint64_t sending;               /* producers that have not yet sent all of this phase */
    _Alignas(128) _Atomic uint64_t claimed; /* messages of this phase that a consumer has undertaken to receive */
    /* Written by the leading side between two barriers. */
    _Alignas(128) uint64_t count; /* messages of the next phase; 0: done */
    uint64_t start;               /* open loop: tick at which message 0 would have been due */
    double interval;
    bool record;
    double messages, seconds, producer_seconds, lost, reordered; /* of the measured phase */
    struct cell_side sides[CELL_SIDES];
    struct histogram histogram;
};

static inline size_t cell_producers(const struct cell *cell)
{
    return cell->options.producers > 1 ? cell->options.producers : 1;
}

static inline size_t cell_sides(const struct cell *cell)
{
    return cell_producers(cell) + (cell->options.consumers > 1 ? cell->options.consumers : 1);
}

/* Are messages dealt out among several, so that no side knows which comes next? */
static inline bool cell_is_shared(const struct cell *cell)
{
    return cell->options.topology != BENCH_BROADCAST && cell_sides(cell) > 2;
}

/* In turn, so that producers are spread and consumers are. The producer of a broadcast keeps one for itself: what it
 * costs to send is the question there. */
static inline int cell_processor(const struct cell *cell, size_t side)
{
    size_t count = cell->processor_count;
    bool alone = cell->options.topology == BENCH_BROADCAST && count > 1;
    return cell->processors[alone && side > 0 ? 1 + (side - 1) % (count - 1) : side % count];
}

/* Do sides share a processor? */
static inline bool cell_is_crowded(const struct cell *cell)
{
    return cell_sides(cell) > cell->processor_count;
}

/* 0, -EINTR (a signal asks the engine to end: engine_signal()), -EBADMSG (a message was wrong or lost), -ETIME (too
 * slow), or another -errno with result->why. The histogram, when not NULL, gets the round trips in ticks. */
int cell_run(const struct cell *cell, struct cell_result *result, struct histogram *histogram);

/* Blocks the signals that cell_run waits for, maps what it shares. Once, before anything else. 0 or -errno. */
int engine_begin(void);
int engine_signal(void); /* the signal that asked us to end, or 0 */

/* side.c: all that one side does. Returns the exit status of its process: 0 or 1. */
int side_run(const struct cell *cell, struct cell_shared *shared, size_t side);

#endif
