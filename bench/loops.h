/* loops.h - makes the loops of one transport. A template: include it once per transport, as often as wanted in one
 * file.
 *
 * Before, with `own` standing for any word of the transport's file, define
 *
 *     #define TRANSPORT own
 *     typedef ... own_producer;     what open_producer gives out and void *out points to
 *     typedef ... own_consumer;
 *     BENCH_INLINE int own_send(own_producer *, const void *message, size_t bytes);  0; -EAGAIN: full; else -errno
 *     BENCH_INLINE int own_recv(own_consumer *, void *message, size_t bytes);        0; -EAGAIN: empty; else -errno
 *
 *     #define TRANSPORT_HAS_BATCH           and then
 *     BENCH_INLINE ssize_t own_send_batch(own_producer *, const void *messages, size_t bytes, size_t count);
 *     BENCH_INLINE ssize_t own_recv_batch(own_consumer *, void *messages, size_t bytes, size_t count);
 *                                           how many, 1 .. count, one behind the other; else as above
 *     #define TRANSPORT_HAS_IN_PLACE        and then
 *     BENCH_INLINE int own_reserve(own_producer *, void **message, size_t bytes);    0; -EAGAIN; else -errno
 *     BENCH_INLINE int own_commit(own_producer *, size_t bytes);                     0 or -errno
 *     BENCH_INLINE int own_peek(own_consumer *, const void **message, size_t bytes); 0; -EAGAIN; else -errno
 *     BENCH_INLINE int own_release(own_consumer *, size_t bytes);                    0 or -errno
 *
 *     #define TRANSPORT_HAS_MANY            it can have several producers or consumers
 *     #define TRANSPORT_HAS_LOST            it overwrites: own_recv and the others of a consumer may return -EOVERFLOW,
 * and then BENCH_INLINE uint64_t own_lost(own_consumer *);                                how many were lost since
 * asked last #define TRANSPORT_IDLE() ...          what to do after -EAGAIN; default: nothing, look again at once
 *     #define TRANSPORT_ONE_SIZE            no loop per size (for system calls, where it gains nothing)
 *
 * After it, own_loops is the struct transport_loops, and these macros are undefined again. In all calls `bytes` is a
 * constant for the sizes of BENCH_SIZES once all is inlined, so `switch (bytes)` and memcpy(..., bytes) cost nothing.
 *
 * Copying loops write the message's number into local messages and hand those over; in-place loops write and read every
 * word; see message.h.
 */
#include "message.h"

#include <sys/types.h>

#ifndef BENCH_LOOPS_ONCE
#define BENCH_LOOPS_ONCE

#define BENCH_GLUE_NOW(left, right) left##_##right
#define BENCH_GLUE(left, right)     BENCH_GLUE_NOW(left, right)
#define BENCH_OWN(name)             BENCH_GLUE(TRANSPORT, name)
/* Calls `loop` with the size as a constant where it is one of the listed ones. */
#define BENCH_CASE_OF(size)                                                                                            \
    case size:                                                                                                         \
        return BENCH_LOOP_CALLED(run, first, count, size);
#endif

#ifndef TRANSPORT_IDLE
#define TRANSPORT_IDLE() ((void)0)
#endif
#define BENCH_IDLE(run)                                                                                                \
    do {                                                                                                               \
        TRANSPORT_IDLE();                                                                                              \
        if (__builtin_expect((run)->crowded, 0))                                                                       \
            bench_give_way(run);                                                                                       \
    } while (0)

BENCH_INLINE int BENCH_OWN(send_one)(struct bench_run *run, const unsigned char *message, const size_t bytes)
{
    int refusal;
    while ((refusal = BENCH_OWN(send)((BENCH_OWN(producer) *)run->out, message, bytes)) == -EAGAIN)
        BENCH_IDLE(run);
    return refusal;
}

BENCH_INLINE int BENCH_OWN(recv_one)(struct bench_run *run, unsigned char *message, const size_t bytes)
{
    int refusal;
    while ((refusal = BENCH_OWN(recv)((BENCH_OWN(consumer) *)run->in, message, bytes)) == -EAGAIN)
        BENCH_IDLE(run);
    if (bytes > 8) /* one word is checked whole, and may stay in a register */
        bench_escape(message);
    return refusal;
}

BENCH_INLINE int BENCH_OWN(produce_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_AHEAD] __attribute__((aligned(64)));
    unsigned char *messages = bytes <= sizeof local ? local : run->buffer;
    /* A single word is forwarded as it is, and may stay in a register. */
    const size_t ahead = bytes <= 8 || bytes > sizeof local ? 1 : sizeof local / bytes;
    memset(messages, 0, bytes * ahead);
    for (uint64_t number = first; number < first + count;) {
        size_t ready = ahead < first + count - number ? ahead : (size_t)(first + count - number);
        for (size_t at = 0; at < ready; at++)
            bench_stamp(messages + at * bytes, bytes, number + at);
        for (size_t at = 0; at < ready; at++) {
            int refusal = BENCH_OWN(send_one)(run, messages + at * bytes, bytes);
            if (__builtin_expect(refusal != 0, 0))
                return refusal;
        }
        number += ready;
    }
    return 0;
}

BENCH_INLINE int BENCH_OWN(consume_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *message = bytes <= sizeof local ? local : run->buffer;
    for (uint64_t number = first; number < first + count; number++) {
        int refusal = BENCH_OWN(recv_one)(run, message, bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = bench_check(run, message, bytes, number);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
    }
    return 0;
}

/* The next message is numbered while the answer to this one is under way, for the reason given at BENCH_AHEAD. */
BENCH_INLINE int BENCH_OWN(ping_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[3][BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *messages[2] = { bytes <= BENCH_LOCAL ? local[0] : run->buffer,
                                   bytes <= BENCH_LOCAL ? local[1] : run->buffer + bytes };
    unsigned char *answer = bytes <= BENCH_LOCAL ? local[2] : run->buffer + 2 * bytes;
    memset(messages[0], 0, bytes);
    memset(messages[1], 0, bytes);
    bench_stamp(messages[first % 2], bytes, first);
    for (uint64_t number = first; number < first + count; number++) {
        uint64_t before = bench_ticks();
        int refusal = BENCH_OWN(send_one)(run, messages[number % 2], bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        bench_stamp(messages[(number + 1) % 2], bytes, number + 1);
        refusal = BENCH_OWN(recv_one)(run, answer, bytes);
        uint64_t after = bench_ticks_after();
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = bench_check(run, answer, bytes, number);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        if (run->histogram)
            histogram_record(run->histogram, after - before);
    }
    return 0;
}

BENCH_INLINE int BENCH_OWN(pong_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *message = bytes <= sizeof local ? local : run->buffer;
    for (uint64_t number = first; number < first + count; number++) {
        int refusal = BENCH_OWN(recv_one)(run, message, bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = bench_check(run, message, bytes, number);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = BENCH_OWN(send_one)(run, message, bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
    }
    return 0;
}

/* Late messages are sent at once, and counted from when they were due: coordinated omission cannot hide. */
BENCH_INLINE int BENCH_OWN(pace_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *message = bytes <= sizeof local ? local : run->buffer;
    memset(message, 0, bytes);
    for (uint64_t number = first; number < first + count; number++) {
        uint64_t due = run->start + (uint64_t)((double)number * run->interval);
        bench_stamp(message, bytes, number); /* when not late there is time for it to settle */
        while (bench_ticks() < due)
            ;
        int refusal = BENCH_OWN(send_one)(run, message, bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
    }
    return 0;
}

BENCH_INLINE int BENCH_OWN(collect_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *message = bytes <= sizeof local ? local : run->buffer;
    for (uint64_t number = first; number < first + count; number++) {
        int refusal = BENCH_OWN(recv_one)(run, message, bytes);
        uint64_t after = bench_ticks_after();
        uint64_t due = run->start + (uint64_t)((double)number * run->interval);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = bench_check(run, message, bytes, number);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        if (run->histogram)
            histogram_record(run->histogram, after > due ? after - due : 0);
    }
    return 0;
}

#ifdef TRANSPORT_HAS_BATCH
BENCH_INLINE int BENCH_OWN(produce_batch_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    memset(run->buffer, 0, bytes * run->batch);
    for (uint64_t number = first; number < first + count;) {
        size_t wanted = first + count - number < run->batch ? (size_t)(first + count - number) : run->batch;
        for (size_t at = 0; at < wanted; at++)
            bench_stamp(run->buffer + at * bytes, bytes, number + at);
        for (size_t sent = 0; sent < wanted;) {
            ssize_t result = BENCH_OWN(send_batch)((BENCH_OWN(producer) *)run->out, run->buffer + sent * bytes, bytes,
                                                   wanted - sent);
            if (__builtin_expect(result > 0, 1))
                sent += (size_t)result;
            else if (result == -EAGAIN)
                BENCH_IDLE(run);
            else
                return result ? (int)result : -EIO;
        }
        number += wanted;
    }
    return 0;
}

BENCH_INLINE int BENCH_OWN(consume_batch_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    for (uint64_t number = first; number < first + count;) {
        size_t wanted = first + count - number < run->batch ? (size_t)(first + count - number) : run->batch;
        ssize_t result = BENCH_OWN(recv_batch)((BENCH_OWN(consumer) *)run->in, run->buffer, bytes, wanted);
        if (__builtin_expect(result <= 0, 0)) {
            if (result != -EAGAIN)
                return result ? (int)result : -EIO;
            BENCH_IDLE(run);
            continue;
        }
        for (size_t at = 0; at < (size_t)result; at++, number++) {
            int refusal = bench_check(run, run->buffer + at * bytes, bytes, number);
            if (__builtin_expect(refusal != 0, 0))
                return refusal;
        }
    }
    return 0;
}
#endif

#ifdef TRANSPORT_HAS_IN_PLACE
BENCH_INLINE int BENCH_OWN(produce_in_place_of)(struct bench_run *run, uint64_t first, uint64_t count,
                                                const size_t bytes)
{
    for (uint64_t number = first; number < first + count; number++) {
        void *message = NULL;
        int refusal;
        while ((refusal = BENCH_OWN(reserve)((BENCH_OWN(producer) *)run->out, &message, bytes)) == -EAGAIN)
            BENCH_IDLE(run);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        bench_fill((unsigned char *)message, bytes, number);
        refusal = BENCH_OWN(commit)((BENCH_OWN(producer) *)run->out, bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
    }
    return 0;
}

BENCH_INLINE int BENCH_OWN(consume_in_place_of)(struct bench_run *run, uint64_t first, uint64_t count,
                                                const size_t bytes)
{
    for (uint64_t number = first; number < first + count; number++) {
        const void *message = NULL;
        int refusal;
        while ((refusal = BENCH_OWN(peek)((BENCH_OWN(consumer) *)run->in, &message, bytes)) == -EAGAIN)
            BENCH_IDLE(run);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = bench_check_all(run, (const unsigned char *)message, bytes, number);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = BENCH_OWN(release)((BENCH_OWN(consumer) *)run->in, bytes);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
    }
    return 0;
}
#endif

#if defined(TRANSPORT_HAS_MANY) || defined(TRANSPORT_HAS_LOST)
#include "loops_many.h"
#endif

/* One function per loop: the switch over the sizes, each case with its own inlined loop. */
#ifdef TRANSPORT_ONE_SIZE
#define BENCH_ALL_CASES
#else
#define BENCH_ALL_CASES BENCH_SIZES(BENCH_CASE_OF)
#endif
#define BENCH_LOOP(loop)                                                                                               \
    static int BENCH_OWN(loop)(struct bench_run * run, uint64_t first, uint64_t count)                                 \
    {                                                                                                                  \
        switch (run->bytes) {                                                                                          \
            BENCH_ALL_CASES                                                                                            \
        default:                                                                                                       \
            return BENCH_LOOP_CALLED(run, first, count, run->bytes);                                                   \
        }                                                                                                              \
    }

#define BENCH_LOOP_CALLED BENCH_OWN(produce_of)
BENCH_LOOP(produce)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(consume_of)
BENCH_LOOP(consume)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(ping_of)
BENCH_LOOP(ping)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(pong_of)
BENCH_LOOP(pong)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(pace_of)
BENCH_LOOP(pace)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(collect_of)
BENCH_LOOP(collect)
#undef BENCH_LOOP_CALLED
#ifdef TRANSPORT_HAS_BATCH
#define BENCH_LOOP_CALLED BENCH_OWN(produce_batch_of)
BENCH_LOOP(produce_batch)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(consume_batch_of)
BENCH_LOOP(consume_batch)
#undef BENCH_LOOP_CALLED
#endif
#ifdef TRANSPORT_HAS_IN_PLACE
#define BENCH_LOOP_CALLED BENCH_OWN(produce_in_place_of)
BENCH_LOOP(produce_in_place)
#undef BENCH_LOOP_CALLED
#define BENCH_LOOP_CALLED BENCH_OWN(consume_in_place_of)
BENCH_LOOP(consume_in_place)
#undef BENCH_LOOP_CALLED
#endif
#ifdef TRANSPORT_HAS_MANY
#define BENCH_LOOP_CALLED BENCH_OWN(gather_of)
BENCH_LOOP(gather)
#undef BENCH_LOOP_CALLED
#ifdef TRANSPORT_HAS_BATCH
#define BENCH_LOOP_CALLED BENCH_OWN(gather_batch_of)
BENCH_LOOP(gather_batch)
#undef BENCH_LOOP_CALLED
#endif
#ifdef TRANSPORT_HAS_IN_PLACE
#define BENCH_LOOP_CALLED BENCH_OWN(gather_in_place_of)
BENCH_LOOP(gather_in_place)
#undef BENCH_LOOP_CALLED
#endif
#endif
#ifdef TRANSPORT_HAS_LOST
#define BENCH_LOOP_CALLED BENCH_OWN(follow_of)
BENCH_LOOP(follow)
#undef BENCH_LOOP_CALLED
#ifdef TRANSPORT_HAS_BATCH
#define BENCH_LOOP_CALLED BENCH_OWN(follow_batch_of)
BENCH_LOOP(follow_batch)
#undef BENCH_LOOP_CALLED
#endif
#ifdef TRANSPORT_HAS_IN_PLACE
#define BENCH_LOOP_CALLED BENCH_OWN(follow_in_place_of)
BENCH_LOOP(follow_in_place)
#undef BENCH_LOOP_CALLED
#endif
#endif

static const struct transport_loops BENCH_OWN(loops) = {
    BENCH_OWN(produce),
    BENCH_OWN(consume),
#ifdef TRANSPORT_HAS_BATCH
    BENCH_OWN(produce_batch),
    BENCH_OWN(consume_batch),
#else
    NULL,
    NULL,
#endif
#ifdef TRANSPORT_HAS_IN_PLACE
    BENCH_OWN(produce_in_place),
    BENCH_OWN(consume_in_place),
#else
    NULL,
    NULL,
#endif
    BENCH_OWN(ping),
    BENCH_OWN(pong),
    BENCH_OWN(pace),
    BENCH_OWN(collect),
#ifdef TRANSPORT_HAS_MANY
    BENCH_OWN(gather),
#else
    NULL,
#endif
#if defined(TRANSPORT_HAS_MANY) && defined(TRANSPORT_HAS_BATCH)
    BENCH_OWN(gather_batch),
#else
    NULL,
#endif
#if defined(TRANSPORT_HAS_MANY) && defined(TRANSPORT_HAS_IN_PLACE)
    BENCH_OWN(gather_in_place),
#else
    NULL,
#endif
#ifdef TRANSPORT_HAS_LOST
    BENCH_OWN(follow),
#else
    NULL,
#endif
#if defined(TRANSPORT_HAS_LOST) && defined(TRANSPORT_HAS_BATCH)
    BENCH_OWN(follow_batch),
#else
    NULL,
#endif
#if defined(TRANSPORT_HAS_LOST) && defined(TRANSPORT_HAS_IN_PLACE)
    BENCH_OWN(follow_in_place),
#else
    NULL,
#endif
};

#undef BENCH_LOOP
#undef BENCH_ALL_CASES
#undef TRANSPORT
#undef TRANSPORT_IDLE
#undef BENCH_IDLE
#undef TRANSPORT_HAS_MANY
#undef TRANSPORT_HAS_LOST
#undef TRANSPORT_ONE_SIZE
#undef TRANSPORT_HAS_BATCH
#undef TRANSPORT_HAS_IN_PLACE
