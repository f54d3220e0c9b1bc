/* ceiling.c - the raw streams: what the machine moves from core to core when nothing but moving has to be done.
 *
 * A shared buffer in blocks of 4 KiB (or of one message, if that is larger), measured in two sizes (rounds.c): one that
 * fits a core's own cache, and one that does not and lets the producer run far ahead. The producer fills a block and
 * then sets the block's flag to its lap; the consumer takes it and sets the block's other flag. So there are two lines
 * of traffic per block besides the data, and no work per message but its copies and its number.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "floor.h"
#include "message.h"

#define STREAM_FLAGS 128 /* bytes from one flag to the next */

struct stream_end {
    unsigned char *blocks;
    unsigned char *filled; /* flags: lap number, set by the producer */
    unsigned char *taken;  /* flags: lap number, set by the consumer */
    size_t block_bytes;
    size_t block_count;
    size_t place; /* of the current block */
    uint64_t lap; /* its number of times round the buffer */
};

static size_t stream_block_bytes(size_t bytes)
{
    return bytes > CEILING_BLOCK ? bytes : CEILING_BLOCK;
}

BENCH_INLINE size_t stream_block_messages(size_t bytes)
{
    return bytes > CEILING_BLOCK ? 1 : CEILING_BLOCK / bytes;
}

size_t ceiling_copy_batch(size_t bytes)
{
    return stream_block_messages(bytes);
}

static size_t stream_block_count(const struct bench_options *options)
{
    size_t count = options->ring_bytes / stream_block_bytes(options->bytes);
    return count < 2 ? 2 : count;
}

static size_t stream_region_bytes(const struct bench_options *options)
{
    return stream_block_count(options) * (stream_block_bytes(options->bytes) + 2 * STREAM_FLAGS);
}

static int stream_create(struct bench_link *link)
{
    (void)link; /* the region is all there is */
    return 0;
}

static int stream_open(struct bench_link *link, void **endpoint)
{
    struct stream_end *end = calloc(1, sizeof *end);
    if (!end)
        return -ENOMEM;
    end->block_bytes = stream_block_bytes(link->options.bytes);
    end->block_count = stream_block_count(&link->options);
    end->blocks = link->region;
    end->filled = end->blocks + end->block_count * end->block_bytes;
    end->taken = end->filled + end->block_count * STREAM_FLAGS;
    *endpoint = end;
    return 0;
}

static void stream_close(struct bench_link *link, void *endpoint)
{
    (void)link;
    free(endpoint);
}

BENCH_INLINE _Atomic uint64_t *stream_flag(unsigned char *flags, const struct stream_end *end)
{
    return (_Atomic uint64_t *)(void *)(flags + end->place * STREAM_FLAGS);
}

/* The current block, once the other side is done with it: for the producer in the lap before, for the consumer in this.
 */
BENCH_INLINE unsigned char *stream_enter(struct stream_end *end, bool producer)
{
    _Atomic uint64_t *flag = stream_flag(producer ? end->taken : end->filled, end);
    uint64_t least = producer ? end->lap : end->lap + 1;
    while (atomic_load_explicit(flag, memory_order_acquire) < least)
        ;
    return end->blocks + end->place * end->block_bytes;
}

BENCH_INLINE void stream_leave(struct stream_end *end, bool producer)
{
    _Atomic uint64_t *flag = stream_flag(producer ? end->filled : end->taken, end);
    atomic_store_explicit(flag, end->lap + 1, memory_order_release);
    if (++end->place == end->block_count) {
        end->place = 0;
        end->lap++;
    }
}

/* ---- Words, written and read where they lie ---- */

static int words_produce(struct bench_run *run, uint64_t first, uint64_t count)
{
    struct stream_end *end = run->out;
    for (uint64_t number = first; number < first + count; number += CEILING_BLOCK / 8) {
        uint64_t *words = __builtin_assume_aligned(stream_enter(end, true), 64);
        for (size_t at = 0; at < CEILING_BLOCK / 8; at++)
            words[at] = number + at;
        stream_leave(end, true);
    }
    return 0;
}

static int words_consume(struct bench_run *run, uint64_t first, uint64_t count)
{
    struct stream_end *end = run->in;
    for (uint64_t number = first; number < first + count; number += CEILING_BLOCK / 8) {
        const uint64_t *words = __builtin_assume_aligned(stream_enter(end, false), 64);
        uint64_t different = 0;
        for (size_t at = 0; at < CEILING_BLOCK / 8; at++)
            different |= words[at] ^ (number + at);
        if (different) {
            run->expected = number;
            run->received = words[0];
            return -EBADMSG;
        }
        stream_leave(end, false);
    }
    return 0;
}

static const struct transport_loops words_loops = { .produce_in_place = words_produce,
                                                    .consume_in_place = words_consume };

const struct transport ceiling_stream = {
    .name = "raw stream",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .region_bytes = stream_region_bytes,
    .create = stream_create,
    .open_producer = stream_open,
    .open_consumer = stream_open,
    .close_producer = stream_close,
    .close_consumer = stream_close,
    .loops = &words_loops,
};

/* ---- Messages, copied in and copied out ---- */

BENCH_INLINE int copies_produce_of(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    struct stream_end *end = run->out;
    const size_t messages = stream_block_messages(bytes);
    for (uint64_t number = first; number < first + count; number += messages) {
        unsigned char *block = stream_enter(end, true);
        for (size_t at = 0; at < messages; at++)
            bench_stamp(run->buffer + at * bytes, bytes, number + at);
        for (size_t at = 0; at < messages; at++)
            memcpy(block + at * bytes, run->buffer + at * bytes, bytes);
        stream_leave(end, true);
    }
    return 0;
}

BENCH_INLINE int copies_consume_of(struct bench_run *run, uint64_t first, uint64_t count, const size_t bytes)
{
    struct stream_end *end = run->in;
    const size_t messages = stream_block_messages(bytes);
    for (uint64_t number = first; number < first + count; number += messages) {
        const unsigned char *block = stream_enter(end, false);
        for (size_t at = 0; at < messages; at++) {
            memcpy(run->buffer, block + at * bytes, bytes);
            int refusal = bench_check(run, run->buffer, bytes, number + at);
            if (refusal)
                return refusal;
        }
        stream_leave(end, false);
    }
    return 0;
}

#define COPIES_PRODUCE_CASE(size)                                                                                      \
    case size:                                                                                                         \
        return copies_produce_of(run, first, count, size);
#define COPIES_CONSUME_CASE(size)                                                                                      \
    case size:                                                                                                         \
        return copies_consume_of(run, first, count, size);

static int copies_produce(struct bench_run *run, uint64_t first, uint64_t count)
{
    switch (run->bytes) {
        BENCH_SIZES(COPIES_PRODUCE_CASE)
    default:
        return copies_produce_of(run, first, count, run->bytes);
    }
}

static int copies_consume(struct bench_run *run, uint64_t first, uint64_t count)
{
    switch (run->bytes) {
        BENCH_SIZES(COPIES_CONSUME_CASE)
    default:
        return copies_consume_of(run, first, count, run->bytes);
    }
}

static const struct transport_loops copies_loops = { .produce_batch = copies_produce,
                                                     .consume_batch = copies_consume,
                                                     .produce = copies_produce,
                                                     .consume = copies_consume };

const struct transport ceiling_copy = {
    .name = "raw copies",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .region_bytes = stream_region_bytes,
    .create = stream_create,
    .open_producer = stream_open,
    .open_consumer = stream_open,
    .close_producer = stream_close,
    .close_consumer = stream_close,
    .loops = &copies_loops,
};
