/* clock.c - level 1: see clock.h. */
#include <ring/clock.h>

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t ring_clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t ring_clock_realtime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int64_t ring_clock_deadline(int64_t timeout_ns)
{
    if (timeout_ns < 0)
        return RING_CLOCK_NEVER;
    int64_t now = ring_clock_monotonic();
    return timeout_ns < RING_CLOCK_NEVER - now ? now + timeout_ns : RING_CLOCK_NEVER;
}

bool ring_clock_doze(int64_t deadline_ns, unsigned *attempt)
{
    int64_t nap = INT64_C(50000) << (*attempt < 7 ? *attempt : 7);
    if (nap > 5000000)
        nap = 5000000;
    if (deadline_ns != RING_CLOCK_NEVER) {
        int64_t left = deadline_ns - ring_clock_monotonic();
        if (left <= 0)
            return false;
        if (left < nap)
            nap = left;
    }
    ++*attempt;
    struct timespec limit = { .tv_sec = 0, .tv_nsec = nap };
    nanosleep(&limit, NULL);
    return true;
}

bool ring_clock_nap(RING_ATOMIC(uint32_t) * word, uint32_t seen, int64_t nap_ns)
{
    struct timespec limit = { .tv_sec = 0, .tv_nsec = nap_ns };
    return syscall(SYS_futex, (uintptr_t)word, FUTEX_WAIT, seen, &limit, NULL, 0) == 0 || errno == ETIMEDOUT;
}
