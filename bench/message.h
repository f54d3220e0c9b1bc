/* message.h - what a message holds: its number in the first word and, when longer than 16 bytes, the number's
 * complement in the last. Copying loops write and check these two; in-place loops write and read every word. The upper
 * bits of the number are the producer's, the lower ones count that producer's messages.
 */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <sched.h>

#include "transport.h"

#define BENCH_LOCAL 1024 /* messages up to here live in a local variable, as a caller's would */
/* Bytes of messages numbered together before they are sent one by one. A copy that begins right behind a narrower store
 * to the same message waits until that store has left the store buffer, behind all the stores to the ring before it:
 * numbering each message just before its call measures that wait and nothing else (25 instead of 119 M/s for plain
 * copies of 64 B). */
#define BENCH_AHEAD 16384

#define BENCH_PRODUCER_SHIFT 56
#define BENCH_NUMBER_MASK    ((UINT64_C(1) << BENCH_PRODUCER_SHIFT) - 1)

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

/* One of several consumers: a word that a producer may have sent, later than all seen of that producer. Duplicates and
 * messages that changed places are caught here; those received by two consumers, and lost ones, by the totals. */
BENCH_INLINE int bench_take(struct bench_run *run, struct bench_tally *tally, uint64_t word, bool whole)
{
    size_t producer = (size_t)(word >> BENCH_PRODUCER_SHIFT);
    uint64_t number = word & BENCH_NUMBER_MASK;
    if (__builtin_expect(whole && producer < tally->producers, 1)) {
        tally->count++;
        tally->sum += word;
        tally->squares += word * word;
        if (__builtin_expect(number >= tally->next[producer], 1)) {
            tally->next[producer] = number + 1;
            return 0;
        }
        tally->reordered++;
        if (tally->may_reorder)
            return 0;
    }
    run->expected = producer < tally->producers ? word - number + tally->next[producer] : 0;
    run->received = word;
    return -EBADMSG;
}

BENCH_INLINE int bench_check_any(struct bench_run *run, struct bench_tally *tally, const unsigned char *message,
                                 size_t bytes)
{
    uint64_t first, last;
    memcpy(&first, message, 8);
    last = ~first;
    if (bytes > 16)
        memcpy(&last, message + bytes - 8, 8);
    return bench_take(run, tally, first, last == ~first);
}

/* Somebody who waits and shares the processor with the one waited for. */
static inline void bench_give_way(struct bench_run *run)
{
    if (++run->refusals < run->patience)
        return;
    run->refusals = 0;
    sched_yield();
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

BENCH_INLINE int bench_check_all_any(struct bench_run *run, struct bench_tally *tally, const unsigned char *message,
                                     size_t bytes)
{
    uint64_t number, different = 0;
    memcpy(&number, message, 8);
    for (size_t at = 8; at + 8 <= bytes; at += 8) {
        uint64_t word;
        memcpy(&word, message + at, 8);
        different |= word ^ number;
    }
    return bench_take(run, tally, number, different == 0);
}

#endif
