/* blocks_pairs.c - contestants that allocate and free in shared memory: pools of blocks, the heap, and the usual way,
 * a list of free blocks behind a process-shared mutex. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ring/ring.h>

#include "blocks.h"

enum { COUNT = 4096, MOST_HELD = 64 };

void blocks_name(char *name, size_t size, const char *what)
{
    snprintf(name, size, "/shmring-bench-%s-%d", what, (int)getpid());
}

static struct ring_segment *segment;
static char name[64];

static int open_segment(size_t bytes, const char *what)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = bytes;
    blocks_name(name, sizeof name, what);
    ring_segment_unlink(name);
    return ring_segment_create(&segment, name, &options);
}

static void close_segment(void)
{
    ring_segment_close(&segment);
    ring_segment_unlink(name);
}

/* ---- shmring blocks ---- */

static struct ring_blocks pool;

static int pool_begin(size_t bytes)
{
    int code = open_segment(RING_SEGMENT_MIN_BYTES + ring_blocks_footprint(bytes, COUNT), "pool");
    if (!code)
        code = ring_blocks_create(segment, "pool", bytes, COUNT);
    return code ? code : ring_blocks_open(&pool, segment, "pool", RING_NO_WAIT);
}

static int pool_run(size_t bytes, unsigned held, uint64_t times)
{
    uint64_t handles[MOST_HELD];
    void *address;
    for (; times; times--) {
        for (unsigned i = 0; i < held; i++) {
            if (ring_block_allocate(&pool, bytes, &handles[i], &address))
                return -ENOSPC;
            *(volatile uint64_t *)address = times;
        }
        for (unsigned i = 0; i < held; i++)
            if (ring_block_free(&pool, handles[i]))
                return -ESTALE;
    }
    return 0;
}

static void pool_end(void)
{
    ring_blocks_close(&pool);
    close_segment();
}

/* ---- shmring heap ---- */

static struct ring_heap heap;

static int heap_begin(size_t bytes)
{
    int code = open_segment(RING_SEGMENT_MIN_BYTES + ring_heap_footprint(bytes * COUNT), "heap");
    if (!code)
        code = ring_heap_create(segment, "heap", bytes * COUNT);
    return code ? code : ring_heap_open(&heap, segment, "heap", RING_NO_WAIT);
}

static int heap_run(size_t bytes, unsigned held, uint64_t times)
{
    uint64_t references[MOST_HELD];
    for (; times; times--) {
        for (unsigned i = 0; i < held; i++) {
            if (ring_heap_allocate(&heap, bytes, &references[i], RING_FOREVER))
                return -ENOSPC;
            *(volatile uint64_t *)ring_heap_address(&heap, references[i]) = times;
        }
        for (unsigned i = 0; i < held; i++)
            if (ring_heap_free(&heap, references[i], RING_FOREVER))
                return -ESTALE;
    }
    return 0;
}

static void heap_end(void)
{
    ring_heap_close(&heap);
    close_segment();
}

/* ---- A mutex: the least that one can do behind it, a list of free blocks of one size ---- */

static struct locked {
    pthread_mutex_t mutex;
    uint64_t free; /* offset of the first one, which holds that of the next; 0: none */
} * locked;
static size_t locked_bytes;

static int mutex_begin(size_t bytes)
{
    pthread_mutexattr_t attributes;
    locked_bytes = 4096 + COUNT * bytes;
    locked = mmap(NULL, locked_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (locked == MAP_FAILED)
        return -errno;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&locked->mutex, &attributes);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t *block = (uint64_t *)(void *)((unsigned char *)locked + 4096 + i * bytes);
        *block = locked->free;
        locked->free = 4096 + i * bytes;
    }
    return 0;
}

static uint64_t *mutex_allocate(void)
{
    pthread_mutex_lock(&locked->mutex);
    uint64_t *block = locked->free ? (uint64_t *)(void *)((unsigned char *)locked + locked->free) : NULL;
    if (block)
        locked->free = *block;
    pthread_mutex_unlock(&locked->mutex);
    return block;
}

static void mutex_free(uint64_t *block)
{
    pthread_mutex_lock(&locked->mutex);
    *block = locked->free;
    locked->free = (uint64_t)((unsigned char *)block - (unsigned char *)locked);
    pthread_mutex_unlock(&locked->mutex);
}

static int mutex_run(size_t bytes, unsigned held, uint64_t times)
{
    uint64_t *blocks[MOST_HELD];
    (void)bytes;
    for (; times; times--) {
        for (unsigned i = 0; i < held; i++) {
            blocks[i] = mutex_allocate();
            if (!blocks[i])
                return -ENOSPC;
            *(volatile uint64_t *)blocks[i] = times;
        }
        for (unsigned i = 0; i < held; i++)
            mutex_free(blocks[i]);
    }
    return 0;
}

static void mutex_end(void)
{
    munmap(locked, locked_bytes);
}

const struct pairs_contestant pairs_contestants[] = {
    { "shmring blocks", "ring_block_allocate, ring_block_free", pool_begin, pool_run, pool_end },
    { "shmring heap", "ring_heap_allocate, ring_heap_free: any size", heap_begin, heap_run, heap_end },
    { "mutex list", "process-shared pthread mutex, list of free blocks of one size", mutex_begin, mutex_run,
      mutex_end },
};
const size_t pairs_count = sizeof pairs_contestants / sizeof pairs_contestants[0];
