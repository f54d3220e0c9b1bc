/* loops_many.h - the part of loops.h for consumers that share a link (gather), and for those whose messages may be
 * overwritten before they come (follow). Included by loops.h only, once per transport that asks for it.
 *
 * A tally is worked on as a local copy: sums in registers, and nothing shared with other consumers.
 */
#ifdef TRANSPORT_HAS_MANY
BENCH_INLINE int BENCH_OWN(gather_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *message = bytes <= sizeof local ? local : run->buffer;
    struct bench_tally tally = *run->tally;
    int refusal = 0;
    (void)first;
    for (uint64_t left = count; left && !refusal; left--) {
        refusal = BENCH_OWN(recv_one)(run, message, bytes);
        if (__builtin_expect(refusal == 0, 1))
            refusal = bench_check_any(run, &tally, message, bytes);
    }
    *run->tally = tally;
    return refusal;
}

#ifdef TRANSPORT_HAS_BATCH
BENCH_INLINE int BENCH_OWN(gather_batch_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    struct bench_tally tally = *run->tally;
    int refusal = 0;
    (void)first;
    for (uint64_t left = count; left && !refusal;) {
        size_t wanted = left < run->batch ? (size_t)left : run->batch;
        ssize_t result = BENCH_OWN(recv_batch)((BENCH_OWN(consumer) *)run->in, run->buffer, bytes, wanted);
        if (__builtin_expect(result <= 0, 0)) {
            if (result != -EAGAIN)
                refusal = result ? (int)result : -EIO;
            BENCH_IDLE(run);
            continue;
        }
        left -= (size_t)result;
        for (size_t at = 0; at < (size_t)result && !refusal; at++)
            refusal = bench_check_any(run, &tally, run->buffer + at * bytes, bytes);
    }
    *run->tally = tally;
    return refusal;
}
#endif

#ifdef TRANSPORT_HAS_IN_PLACE
BENCH_INLINE int BENCH_OWN(gather_in_place_of)(struct bench_run *run, uint64_t first, uint64_t count,
                                               const size_t bytes)
{
    struct bench_tally tally = *run->tally;
    int refusal = 0;
    (void)first;
    for (uint64_t left = count; left && !refusal; left--) {
        const void *message = NULL;
        while ((refusal = BENCH_OWN(peek)((BENCH_OWN(consumer) *)run->in, &message, bytes)) == -EAGAIN)
            BENCH_IDLE(run);
        if (__builtin_expect(refusal == 0, 1))
            refusal = bench_check_all_any(run, &tally, (const unsigned char *)message, bytes);
        if (__builtin_expect(refusal == 0, 1))
            refusal = BENCH_OWN(release)((BENCH_OWN(consumer) *)run->in, bytes);
    }
    *run->tally = tally;
    return refusal;
}
#endif
#endif

#ifdef TRANSPORT_HAS_LOST
/* How many were overwritten is told exactly: the next number is checked as if nothing had happened. */
BENCH_INLINE void BENCH_OWN(skip)(struct bench_run *run)
{
    uint64_t lost = BENCH_OWN(lost)((BENCH_OWN(consumer) *)run->in);
    run->lost += lost;
    run->followed += lost;
}

BENCH_INLINE int BENCH_OWN(follow_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    unsigned char local[BENCH_LOCAL] __attribute__((aligned(64)));
    unsigned char *message = bytes <= sizeof local ? local : run->buffer;
    while (run->followed < first + count) {
        int refusal = BENCH_OWN(recv_one)(run, message, bytes);
        if (__builtin_expect(refusal == -EOVERFLOW, 0)) {
            BENCH_OWN(skip)(run);
            continue;
        }
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
        refusal = bench_check(run, message, bytes, run->followed++);
        if (__builtin_expect(refusal != 0, 0))
            return refusal;
    }
    return 0;
}

#ifdef TRANSPORT_HAS_BATCH
BENCH_INLINE int BENCH_OWN(follow_batch_of)(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    while (run->followed < first + count) {
        uint64_t left = first + count - run->followed;
        size_t wanted = left < run->batch ? (size_t)left : run->batch;
        ssize_t result = BENCH_OWN(recv_batch)((BENCH_OWN(consumer) *)run->in, run->buffer, bytes, wanted);
        if (__builtin_expect(result <= 0, 0)) {
            if (result == -EOVERFLOW)
                BENCH_OWN(skip)(run);
            else if (result != -EAGAIN)
                return result ? (int)result : -EIO;
            else
                BENCH_IDLE(run);
            continue;
        }
        for (size_t at = 0; at < (size_t)result; at++) {
            int refusal = bench_check(run, run->buffer + at * bytes, bytes, run->followed++);
            if (__builtin_expect(refusal != 0, 0))
                return refusal;
        }
    }
    return 0;
}
#endif

#ifdef TRANSPORT_HAS_IN_PLACE
/* What was read where it lies counts only when it still was there at the release. */
BENCH_INLINE int BENCH_OWN(follow_in_place_of)(struct bench_run *run, uint64_t first, uint64_t count,
                                               const size_t bytes)
{
    while (run->followed < first + count) {
        const void *message = NULL;
        int fault = 0, refusal;
        while ((refusal = BENCH_OWN(peek)((BENCH_OWN(consumer) *)run->in, &message, bytes)) == -EAGAIN)
            BENCH_IDLE(run);
        if (__builtin_expect(refusal == 0, 1)) {
            fault = bench_check_all(run, (const unsigned char *)message, bytes, run->followed);
            refusal = BENCH_OWN(release)((BENCH_OWN(consumer) *)run->in, bytes);
        }
        if (__builtin_expect(refusal == -EOVERFLOW, 0)) {
            BENCH_OWN(skip)(run);
            continue;
        }
        if (__builtin_expect(refusal != 0 || fault != 0, 0))
            return refusal ? refusal : fault;
        run->followed++;
    }
    return 0;
}
#endif
#endif
