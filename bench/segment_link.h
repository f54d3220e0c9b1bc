/* segment_link.h - what the contestants of this library have in common: a named, locked segment with one ring in it.
 *
 * Every call on the ring may wait for ever: the watchdog of the engine sees a hang, and a dead peer is an error of the
 * call.
 */
#ifndef BENCH_SEGMENT_LINK_H
#define BENCH_SEGMENT_LINK_H

#include <stdio.h>
#include <stdlib.h>

#include <ring/ring.h>

#include "transport.h"

#define SEGMENT_RING     "messages"
#define SEGMENT_OVERHEAD ((size_t)64 << 10) /* the segment's own pages, with some to spare */
#define SEGMENT_PATIENCE INT64_C(5000000000)

/* The slots of rings that have slots: as many as the bytes asked for hold, else 2 MiB of them, as the other rings. */
#define SEGMENT_SLOTS_BYTES ((size_t)2 << 20)

static inline size_t segment_slots(const struct bench_options *options)
{
    size_t stride = 16, slots = 2, bytes = options->ring_bytes ? options->ring_bytes : SEGMENT_SLOTS_BYTES;
    while (stride < 64 && stride < options->bytes + 8)
        stride *= 2;
    if (stride < options->bytes + 8)
        stride = (options->bytes + 8 + 63) / 64 * 64;
    while (slots * 2 * stride <= bytes)
        slots *= 2;
    return slots;
}

static inline int segment_explain(struct bench_link *link, int refusal)
{
    if (refusal)
        snprintf(link->why, sizeof link->why, "%s", ring_error_detail());
    return refusal;
}

static inline struct ring_segment_options segment_options(const struct bench_link *link, size_t footprint)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = footprint + SEGMENT_OVERHEAD;
    options.flags = link->options.huge ? RING_HUGE | RING_LOCK : RING_LOCK;
    options.rings = 1;
    return options;
}

static inline int segment_create(struct bench_link *link, size_t footprint, struct ring_segment **segment)
{
    struct ring_segment_options options = segment_options(link, footprint);
    int refusal = ring_segment_create(segment, link->name, &options);
    link->object = refusal ? NULL : *segment;
    return segment_explain(link, refusal);
}

/* Threads share the creator's mapping; a process has none after fork and maps the segment anew. */
static inline int segment_attach(struct bench_link *link, size_t footprint, struct ring_segment **segment)
{
    struct ring_segment_options options = segment_options(link, footprint);
    *segment = link->object;
    if (!link->options.processes)
        return 0;
    return segment_explain(link, ring_segment_attach(segment, link->name, &options, SEGMENT_PATIENCE));
}

static inline void segment_detach(struct bench_link *link, struct ring_segment *segment)
{
    if (link->options.processes)
        ring_segment_close(&segment);
}

static inline void segment_destroy(struct bench_link *link)
{
    struct ring_segment *segment = link->object;
    link->object = NULL;
    if (segment)
        ring_segment_close(&segment);
}

static inline void segment_remove(struct bench_link *link)
{
    ring_segment_unlink(link->name); /* -ENOENT the second time, which is the aim */
}

/* Memory for an endpoint, aligned as its type wants. */
#define SEGMENT_NEW(type) ((type *)aligned_alloc(_Alignof(type), sizeof(type)))

#endif
