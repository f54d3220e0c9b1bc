/* floor.c - the raw ping-pong, and the raw streams.
 *
 * Ping-pong: both sides write the same line in turn, one with odd and one with even numbers, and wait for the other's.
 * Where a line lives in the machine changes its time by some percent, so the pair moves on over lines of several pages.
 *
 * Streams: a shared buffer of 64 blocks. The producer fills a block and then sets the block's flag to its lap; the
 * consumer takes it and sets the block's other flag. So per 4 KiB there is one line of traffic besides the data.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>

#include "floor.h"

/* ---- The floor ---- */

#define LINE_PAGES     16
#define LINE_PAGE      4096
#define LINE_STAY_LOG2 7 /* round trips on a line before moving on */

static size_t line_region_bytes(const struct bench_options *options)
{
    (void)options;
    return (size_t)LINE_PAGES * LINE_PAGE;
}

static int raw_create(struct bench_link *link)
{
    (void)link; /* the region is all there is */
    return 0;
}

static int line_open(struct bench_link *link, void **endpoint)
{
    *endpoint = link->region;
    return 0;
}

BENCH_INLINE _Atomic uint64_t *line_of(void *region, uint64_t number)
{
    size_t page = (size_t)(number >> LINE_STAY_LOG2) % LINE_PAGES;
    return (_Atomic uint64_t *)(void *)((unsigned char *)region + page * LINE_PAGE + page * 128);
}

BENCH_INLINE void line_wait(_Atomic uint64_t *line, uint64_t value, bool pause)
{
    while (atomic_load_explicit(line, memory_order_acquire) != value)
        if (pause) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            __asm__ __volatile__("yield" ::: "memory");
#endif
        }
}

/* Only link 0 is used: side 0 has it as `out`, side 1 as `in`. */
BENCH_INLINE int line_ping_with(struct bench_run *run, uint64_t first, uint64_t count, bool pause)
{
    for (uint64_t number = first; number < first + count; number++) {
        _Atomic uint64_t *line = line_of(run->out, number);
        uint64_t before = bench_ticks();
        atomic_store_explicit(line, 2 * number + 1, memory_order_release);
        line_wait(line, 2 * number + 2, pause);
        uint64_t after = bench_ticks_after();
        if (run->histogram)
            histogram_record(run->histogram, after - before);
    }
    return 0;
}

BENCH_INLINE int line_pong_with(struct bench_run *run, uint64_t first, uint64_t count, bool pause)
{
    for (uint64_t number = first; number < first + count; number++) {
        _Atomic uint64_t *line = line_of(run->in, number);
        line_wait(line, 2 * number + 1, pause);
        atomic_store_explicit(line, 2 * number + 2, memory_order_release);
    }
    return 0;
}

static int line_ping(struct bench_run *run, uint64_t first, uint64_t count)
{
    return line_ping_with(run, first, count, false);
}

static int line_pong(struct bench_run *run, uint64_t first, uint64_t count)
{
    return line_pong_with(run, first, count, false);
}

static int line_ping_paused(struct bench_run *run, uint64_t first, uint64_t count)
{
    return line_ping_with(run, first, count, true);
}

static int line_pong_paused(struct bench_run *run, uint64_t first, uint64_t count)
{
    return line_pong_with(run, first, count, true);
}

static const struct transport_loops line_loops = { .ping = line_ping, .pong = line_pong };
static const struct transport_loops line_loops_paused = { .ping = line_ping_paused, .pong = line_pong_paused };

const struct transport floor_line = {
    .name = "raw cache line",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .region_bytes = line_region_bytes,
    .create = raw_create,
    .open_producer = line_open,
    .open_consumer = line_open,
    .loops = &line_loops,
};

const struct transport floor_line_paused = {
    .name = "raw cache line with pause",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .region_bytes = line_region_bytes,
    .create = raw_create,
    .open_producer = line_open,
    .open_consumer = line_open,
    .loops = &line_loops_paused,
};

/* ---- The ceilings ---- */

#define STREAM_BYTES ((size_t)256 << 10)
#define STREAM_FLAGS 128 /* bytes from one flag to the next */

struct stream_end {
    unsigned char *blocks;
    unsigned char *filled; /* flags: lap number, set by the producer */
    unsigned char *taken;  /* flags: lap number, set by the consumer */
    size_t block_bytes;
    size_t block_count;
    size_t block_messages;
    uint64_t block; /* number of the current block, ever */
    size_t at;      /* messages of it done */
};

static size_t stream_block_bytes(size_t bytes)
{
    return bytes > CEILING_BLOCK ? bytes : CEILING_BLOCK;
}

size_t ceiling_copy_batch(size_t bytes)
{
    return stream_block_bytes(bytes) / bytes;
}

static size_t stream_block_count(size_t bytes)
{
    size_t count = STREAM_BYTES / stream_block_bytes(bytes);
    return count < 2 ? 2 : count;
}

static size_t stream_region_bytes(const struct bench_options *options)
{
    size_t count = stream_block_count(options->bytes);
    return count * (stream_block_bytes(options->bytes) + 2 * STREAM_FLAGS);
}

static int stream_open(struct bench_link *link, void **endpoint)
{
    struct stream_end *end = calloc(1, sizeof *end);
    if (!end)
        return -ENOMEM;
    size_t bytes = link->options.bytes;
    end->block_bytes = stream_block_bytes(bytes);
    end->block_count = stream_block_count(bytes);
    end->block_messages = ceiling_copy_batch(bytes);
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
    return (_Atomic uint64_t *)(void *)(flags + end->block % end->block_count * STREAM_FLAGS);
}

/* The current block, once the other side is done with it: for the producer in the lap before, for the consumer in this.
 */
BENCH_INLINE unsigned char *stream_enter(struct stream_end *end, bool producer)
{
    uint64_t lap = end->block / end->block_count;
    _Atomic uint64_t *flag = stream_flag(producer ? end->taken : end->filled, end);
    if (atomic_load_explicit(flag, memory_order_acquire) < (producer ? lap : lap + 1))
        return NULL;
    return end->blocks + end->block % end->block_count * end->block_bytes;
}

BENCH_INLINE void stream_leave(struct stream_end *end, bool producer)
{
    uint64_t lap = end->block / end->block_count;
    atomic_store_explicit(stream_flag(producer ? end->filled : end->taken, end), lap + 1, memory_order_release);
    end->block++;
    end->at = 0;
}

static int words_produce(struct bench_run *run, uint64_t first, uint64_t count)
{
    struct stream_end *end = run->out;
    unsigned char *block;
    for (uint64_t number = first; number < first + count; number += CEILING_BLOCK / 8) {
        while (!(block = stream_enter(end, true)))
            ;
        uint64_t *words = __builtin_assume_aligned(block, 64);
        for (size_t at = 0; at < CEILING_BLOCK / 8; at++)
            words[at] = number + at;
        stream_leave(end, true);
    }
    return 0;
}

static int words_consume(struct bench_run *run, uint64_t first, uint64_t count)
{
    struct stream_end *end = run->in;
    unsigned char *block;
    for (uint64_t number = first; number < first + count; number += CEILING_BLOCK / 8) {
        while (!(block = stream_enter(end, false)))
            ;
        const uint64_t *words = __builtin_assume_aligned(block, 64);
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
    .create = raw_create,
    .open_producer = stream_open,
    .open_consumer = stream_open,
    .close_producer = stream_close,
    .close_consumer = stream_close,
    .loops = &words_loops,
};

#define TRANSPORT copy
typedef struct stream_end copy_producer;
typedef struct stream_end copy_consumer;

BENCH_INLINE int copy_send(copy_producer *end, const void *message, size_t bytes)
{
    if (end->at == 0 && !stream_enter(end, true))
        return -EAGAIN;
    memcpy(end->blocks + end->block % end->block_count * end->block_bytes + end->at * bytes, message, bytes);
    if (++end->at == end->block_messages)
        stream_leave(end, true);
    return 0;
}

BENCH_INLINE int copy_recv(copy_consumer *end, void *message, size_t bytes)
{
    if (end->at == 0 && !stream_enter(end, false))
        return -EAGAIN;
    memcpy(message, end->blocks + end->block % end->block_count * end->block_bytes + end->at * bytes, bytes);
    if (++end->at == end->block_messages)
        stream_leave(end, false);
    return 0;
}

#include "loops.h"

const struct transport ceiling_copy = {
    .name = "raw copies",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES,
    .region_bytes = stream_region_bytes,
    .create = raw_create,
    .open_producer = stream_open,
    .open_consumer = stream_open,
    .close_producer = stream_close,
    .close_consumer = stream_close,
    .loops = &copy_loops,
};
