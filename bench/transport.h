/* transport.h - what ring-bench asks of a contestant: one function table, and the loops that do the work.
 *
 * A transport moves messages of one size from one producer to one consumer, or among as many as its abilities say. Its
 * file defines inline send and recv, includes loops.h, which makes whole loops of them (so nothing is called through a
 * pointer per message), fills in a struct transport and registers it. README.md shows a complete one. Valid C11 and
 * C++17.
 *
 * One cell of a measurement runs so, every step in the order given:
 *   creator    create(link), once per link: throughput uses one, a round trip two (there and back). The creator is the
 *              engine, which then forks all sides; or, for threads, a process forked for this cell, which starts them
 *   each side  pinned; open_producer / open_consumer, in the thread that will use the endpoint: once per side, all at
 *              the same time, in any order
 *   all open   remove(link), for transports with TRANSPORT_REMOVE_EARLY: from here on a kill leaves nothing behind
 *   each side  the loops, in slices; the engine kills all sides by pid when no slice ends for 20 s
 *   each side  close_producer / close_consumer
 *   creator    destroy(link), unless it was killed
 *   engine     remove(link), whatever happened
 */
#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "clock.h"
#include "histogram.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_INLINE static inline __attribute__((always_inline, unused))

enum transport_abilities {
    TRANSPORT_THREADS = 1,       /* works between two threads */
    TRANSPORT_PROCESSES = 2,     /* works between two processes: all shared memory is link->region or its own mapping */
    TRANSPORT_BLOCKS = 4,        /* send and recv sleep in the kernel; else they return -EAGAIN and are called again */
    TRANSPORT_LISTED_SIZES = 8,  /* only the sizes of BENCH_SIZES, for queues whose element is a type */
    TRANSPORT_REMOVE_EARLY = 16, /* remove() may come as soon as all sides are open */
    TRANSPORT_MANY_PRODUCERS = 32, /* any number of producers; else one */
    TRANSPORT_MANY_CONSUMERS = 64, /* any number of consumers, each message to one of them; else one */
    TRANSPORT_BROADCAST = 128,     /* each message to every consumer: takes part in that topology only */
    TRANSPORT_REORDERS =
        512, /* several consumers may see messages of one producer in another order: counted, no error */
    TRANSPORT_OVERWRITES = 256, /* broadcast that waits for nobody: a consumer may miss messages, and is told */
};

/* Who takes part, and who gets a message. */
enum bench_topology {
    BENCH_SPSC,     /* one producer, one consumer: everybody who can */
    BENCH_MPMC,     /* each message to one of the consumers: those who can have several producers or consumers */
    BENCH_BROADCAST /* each message to every consumer */
};

#define BENCH_SIDES_MOST 64 /* producers, and as many consumers */

/* What is wanted of this cell; the same for every contestant. */
struct bench_options {
    size_t bytes;                /* of each message, >= 8 */
    size_t ring_bytes;           /* capacity wanted in bytes of payload; 0: whatever the transport has for default */
    size_t batch;                /* messages per call, 1: the single calls */
    bool in_place;               /* reserve/commit and peek/release */
    bool huge;                   /* 2 MiB pages wanted */
    bool processes;              /* two processes; else two threads of one */
    size_t links;                /* 1: throughput; 2: round trip */
    size_t producers, consumers; /* more than one of each only with one link */
    enum bench_topology topology;
};

/* One direction. Lies in memory that the engine and both sides share at the same address. */
struct bench_link {
    struct bench_options options;
    char name[64];       /* unique on this machine, no slash: for transports with names */
    void *region;        /* zeroed, shared, same address on both sides; NULL when region_bytes is missing or gives 0 */
    size_t region_bytes; /* rounded up to whole pages */
    void *object;        /* the transport's own, from create() on: valid on both sides if inside region (or threads) */
    int files[2];        /* the transport's own, -1 at first */
    int64_t id;          /* the transport's own, -1 at first */
    char why[200];       /* a sentence for people, when create or open failed */
};

/* What one of several consumers has received. Of each producer's numbers it knows the next that may come, as they only
 * grow; count, sum and sum of squares of all, added up over the consumers, tell whether each message came once. */
struct bench_tally {
    uint64_t count, sum, squares;
    bool may_reorder;
    uint64_t reordered; /* came after a later one of the same producer */
    size_t producers;
    uint64_t next[BENCH_SIDES_MOST];
};

/* What the loops of one side work on. Private to the side. */
struct bench_run {
    size_t bytes;
    size_t batch;
    void *out;                   /* endpoint of open_producer, or NULL */
    void *in;                    /* endpoint of open_consumer, or NULL */
    unsigned char *buffer;       /* bytes * batch, and 3 * bytes, aligned to 128, private to this side, touched */
    struct histogram *histogram; /* ticks; NULL: do not record (warm-up) */
    uint64_t start;              /* open loop: tick at which message 0 is due */
    double interval;             /* open loop: ticks between messages */
    uint64_t expected;           /* after -EBADMSG: number that should have come, */
    uint64_t received;           /* and what came */
    bool crowded;                /* sides share processors: who waits gives way to others */
    unsigned refusals, patience; /* -EAGAIN seen while crowded, and how many of them until this side yields */
    struct bench_tally *tally;   /* one of several consumers */
    uint64_t lost;               /* overwritten before they were received, ever */
    uint64_t followed;           /* next number of a broadcast that overwrites: a loss may reach into the next slice */
};

/* Each handles the messages `first` to `first + count - 1` and returns 0, or -errno: what the transport said, or
 * -EBADMSG for a message that is not the expected one. NULL where the transport has no such calls. */
struct transport_loops {
    int (*produce)(struct bench_run *run, uint64_t first, uint64_t count); /* one send per message */
    int (*consume)(struct bench_run *run, uint64_t first, uint64_t count);
    int (*produce_batch)(struct bench_run *run, uint64_t first, uint64_t count); /* run->batch per call */
    int (*consume_batch)(struct bench_run *run, uint64_t first, uint64_t count);
    int (*produce_in_place)(struct bench_run *run, uint64_t first,
                            uint64_t count); /* every byte written where it lies */
    int (*consume_in_place)(struct bench_run *run, uint64_t first, uint64_t count); /* every byte read where it lies */
    int (*ping)(struct bench_run *run, uint64_t first, uint64_t count);    /* out, then in; each round trip timed */
    int (*pong)(struct bench_run *run, uint64_t first, uint64_t count);    /* in, then the same message out */
    int (*pace)(struct bench_run *run, uint64_t first, uint64_t count);    /* open loop: sends when due, never skips */
    int (*collect)(struct bench_run *run, uint64_t first, uint64_t count); /* one way, timed from when it was due */
    /* Any `count` messages, of any producers: one of several consumers. */
    int (*gather)(struct bench_run *run, uint64_t first, uint64_t count);
    int (*gather_batch)(struct bench_run *run, uint64_t first, uint64_t count);
    int (*gather_in_place)(struct bench_run *run, uint64_t first, uint64_t count);
    /* Until the last of these `count` has come, counting those that were overwritten before. */
    int (*follow)(struct bench_run *run, uint64_t first, uint64_t count);
    int (*follow_batch)(struct bench_run *run, uint64_t first, uint64_t count);
    int (*follow_in_place)(struct bench_run *run, uint64_t first, uint64_t count);
};

struct transport {
    const char *name;    /* "unix stream": as in --only and in the JSON */
    const char *package; /* Debian package it comes from; NULL: none needed */
    const char *about;   /* one line: which variant, set up how */
    unsigned abilities;  /* enum transport_abilities */
    unsigned rank;       /* order in tables: 0 shmring, 10 kernel, 20 peers */
    /* Why these options cannot be had (a sentence), or NULL. May be missing. */
    const char *(*refuse)(const struct bench_options *options);
    /* What a reader of the result must know ("split into 8 KiB pieces"), or NULL. May be missing. */
    const char *(*note)(const struct bench_options *options);
    /* Shared memory wanted from the engine for one link, 0 for none. May be missing. */
    size_t (*region_bytes)(const struct bench_options *options);
    /* 0 or -errno, with link->why where errno alone says too little. */
    int (*create)(struct bench_link *link);
    int (*open_producer)(struct bench_link *link, void **endpoint);
    int (*open_consumer)(struct bench_link *link, void **endpoint);
    void (*close_producer)(struct bench_link *link, void *endpoint); /* these four: may be missing */
    void (*close_consumer)(struct bench_link *link, void *endpoint);
    void (*destroy)(struct bench_link *link); /* in the process that created: private memory, descriptors */
    void (*remove)(
        struct bench_link *link); /* in any process, any number of times: what the system keeps, by name or id */
    const struct transport_loops *loops;
};

/* Puts a transport on the list, before main() runs. */
void transport_register(const struct transport *transport);

#define TRANSPORT_REGISTER(transport)                                                                                  \
    __attribute__((constructor)) static void bench_register_##transport(void)                                          \
    {                                                                                                                  \
        transport_register(&transport);                                                                                \
    }                                                                                                                  \
    struct transport_register_##transport /* wants its semicolon */

/* The sizes for which loops are compiled with the length known; others get the loop with a length at run time. */
#define BENCH_SIZES(of) of(8) of(16) of(32) of(56) of(64) of(128) of(256) of(512) of(1024) of(4096) of(16384) of(65536)

BENCH_INLINE bool bench_listed_size(size_t bytes)
{
#define BENCH_IS_IT(size) (bytes == (size)) ||
    return BENCH_SIZES(BENCH_IS_IT) false;
#undef BENCH_IS_IT
}

#ifdef __cplusplus
}
#endif

#endif
