/* message.h - what a message holds: its number in the first word and, when longer than 16 bytes, the number's
 * complement in the last. Copying loops write and check these two; in-place loops write and read every word.
 */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include "transport.h"

#define BENCH_LOCAL 1024 /* messages up to here live in a local variable, as a caller's would */
/* Bytes of messages numbered together before they are sent one by one. A copy that begins right behind a narrower store
 * to the same message waits until that store has left the store buffer, behind all the stores to the ring before it:
 * numbering each message just before its call measures that wait and nothing else (25 instead of 119 M/s for plain
 * copies of 64 B). */
#define BENCH_AHEAD 16384

BENCH_INLINE void bench_stamp(unsigned char *message, size_t bytes, uint64_t number)
{
    memcpy(message, &number, 8);
    if (bytes > 16) {
        uint64_t last = ~number;
        memcpy(message + bytes - 8, &last, 8);
    }
}

/* The compiler must take it that all of the message is read here. Checks read two words; with the call inlined it would
 * drop the copy of the others (it did, for most peers, at 1 KiB). */
BENCH_INLINE void bench_escape(const void *message)
{
    __asm__ volatile("" : : "r"(message) : "memory");
}

/* Is it the message of that number? If not, -EBADMSG. */
BENCH_INLINE int bench_check(struct bench_run *run, const unsigned char *message, size_t bytes, uint64_t number)
{
    uint64_t first, last = ~number;
    memcpy(&first, message, 8);
    if (bytes > 16)
        memcpy(&last, message + bytes - 8, 8);
    if (__builtin_expect(first == number && last == ~number, 1))
        return 0;
    run->expected = number;
    run->received = first != number ? first : ~last;
    return -EBADMSG;
}

/* In place: every whole word is the number, so that writing and reading all of them is the least honest work. */
BENCH_INLINE void bench_fill(unsigned char *message, size_t bytes, uint64_t number)
{
    for (size_t at = 0; at + 8 <= bytes; at += 8)
        memcpy(message + at, &number, 8);
}

BENCH_INLINE int bench_check_all(struct bench_run *run, const unsigned char *message, size_t bytes, uint64_t number)
{
    uint64_t different = 0;
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
        uint64_t word;
        memcpy(&word, message + at, 8);
        different |= word ^ number;
    }
    if (__builtin_expect(different == 0, 1))
        return 0;
    run->expected = number;
    memcpy(&run->received, message, 8);
    return -EBADMSG;
}

#endif
