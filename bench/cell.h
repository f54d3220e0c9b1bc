/* cell.h - one cell: one contestant, one kind of measurement, one size, once. Two pinned sides in processes of their
 * own.
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
    int processors[2]; /* of the producer (who pings), of the consumer (who pongs) */
    double seconds;    /* how long the measured part should take */
    double rate;       /* open loop: messages per second offered */
    double guess;      /* messages per second seen before, or 0: then it is found out first */
};

struct cell_result {
    double messages;
    double messages_per_second;
    char why[320]; /* after a failure */
};

#define CELL_SIDES 2

/* Everything the engine and both sides share. */
struct cell_shared {
    struct bench_link links[CELL_SIDES];
    _Alignas(128) _Atomic uint64_t arrived; /* at the barrier, ever */
    _Alignas(128) _Atomic uint64_t slices;  /* finished: the sign of life */
    _Atomic int failed;                     /* side that failed first, plus 1 */
    /* Written by the leading side between two barriers. */
    _Alignas(128) uint64_t count; /* messages of the next phase; 0: done */
    uint64_t start;               /* open loop: tick at which message 0 would have been due */
    double interval;
    bool record;
    double messages, seconds; /* of the measured phase */
    struct {
        int error; /* -errno */
        uint64_t expected, received;
        char doing[16];
    } sides[CELL_SIDES];
    struct histogram histogram;
};

/* 0, -EINTR (a signal asks the engine to end: engine_signal()), -EBADMSG (a message was wrong), or another -errno with
 * result->why. The histogram, when not NULL, gets the round trips in ticks. */
int cell_run(const struct cell *cell, struct cell_result *result, struct histogram *histogram);

/* Blocks the signals that cell_run waits for, maps what it shares. Once, before anything else. 0 or -errno. */
int engine_begin(void);
int engine_signal(void); /* the signal that asked us to end, or 0 */

/* side.c: all that one side does. Returns the exit status of its process: 0 or 1. */
int side_run(const struct cell *cell, struct cell_shared *shared, int side);

#endif
