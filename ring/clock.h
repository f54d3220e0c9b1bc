/* clock.h - level 1, private: time limits of cold calls and of sleeps. */
#ifndef RING_CLOCK_H
#define RING_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <ring/platform.h>

#define RING_CLOCK_NEVER INT64_MAX

/* CLOCK_MONOTONIC and CLOCK_REALTIME in ns. */
RING_PRIVATE int64_t ring_clock_monotonic(void);
RING_PRIVATE uint64_t ring_clock_realtime(void);

/* When a time limit that starts now ends: timeout_ns 0 at once, negative never. */
RING_PRIVATE int64_t ring_clock_deadline(int64_t timeout_ns);

/* Sleeps between two attempts of a cold call: 50 us at first, doubling to 5 ms, and never past the deadline.
 * False, without sleeping: the deadline has passed. */
RING_PRIVATE bool ring_clock_doze(int64_t deadline_ns, unsigned *attempt);

/* Sleeps as long, under a second, or until woken (FUTEX_WAKE). False: not at all, the word is not as seen. */
RING_PRIVATE bool ring_clock_nap(RING_ATOMIC(uint32_t) * word, uint32_t seen, int64_t nap_ns);

#endif
