/* wait_words.c - level 5: a sleep on several futexes at once (futex_waitv, Linux 5.16). */
#include <ring/wait_private.h>

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ring/clock.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same number on all architectures */
#endif

enum { OF_32_BITS = 2, PRIVATE = 128 };

struct ring_wait_word ring_wait_word(const RING_ATOMIC(uint32_t) * word, uint32_t seen)
{
    return (struct ring_wait_word){ seen, (uintptr_t)word, OF_32_BITS, 0 };
}

struct ring_wait_word ring_wait_word_of_process(const RING_ATOMIC(uint32_t) * word, uint32_t seen)
{
    return (struct ring_wait_word){ seen, (uintptr_t)word, OF_32_BITS | PRIVATE, 0 };
}

bool ring_wait_for_words(const struct ring_wait_word *words, unsigned count, int64_t until_ns)
{
    struct timespec until = { .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000 };
    return syscall(SYS_futex_waitv, words, count, 0, &until, CLOCK_MONOTONIC) >= 0 || errno == EAGAIN ||
           errno == EINTR || errno == ETIMEDOUT; /* any other refusal comes at once, and again the next time */
}
