/* floor.h - what the machine itself can do, measured like a contestant: the floor of latency, the ceilings of
 * throughput.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "transport.h"

/* Round trip of one cache line between the two processors, as CELL_ROUND_TRIP; polling at once, with a pause, or with
 * the short gap that the ring uses. */
extern const struct transport floor_line, floor_line_paused, floor_line_gapped;

/* Streams of 8-byte words through options.ring_bytes with one flag per 4 KiB, written and read in place: cells of 8 bytes with
 * options.batch = CEILING_BLOCK / 8 and options.in_place. */
extern const struct transport ceiling_stream;

/* The same with each message copied in and copied out, one flag per 4 KiB (or per message, if larger); batch from
 * ceiling_copy_batch(). */
extern const struct transport ceiling_copy;

#define CEILING_BLOCK 4096

size_t ceiling_copy_batch(size_t bytes);

#endif
