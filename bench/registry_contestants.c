/* registry_contestants.c - ways to find an end by name: the registry's, a hash table's behind a pthread_rwlock, each by
 * a name opened before and by text; and the bare loads. Each finds the end and reads a word of it, as a sender would.
 *
 * All are inlined into loops of their own: a call through a pointer for each look-up would cost as much as some of
 * them. Names are in static arrays, whose places a compiler knows: after each acquire it would load a pointer again.
 */
#include "registry_contestants.h"

#include <ring/error.h>
#include <ring/registry.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile uint64_t some_end[64];
static char segment_name[64], segment_path[96];
static char texts[NAMES_MOST][24];

void need(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "ring-bench-registry: %s: %s\n", what, ring_error_detail());
        ring_segment_unlink(segment_name);
        exit(1);
    }
}

RING_INLINE bool touch(void *end)
{
    (void)*(volatile uint64_t *)end;
    return true;
}

/* ---- The registry ---- */

static struct ring_registry_name *handles[NAMES_MOST];

RING_INLINE bool find_by_handle(unsigned i)
{
    void *end;
    if (ring_registry_enter(handles[i], RING_REGISTRY_SEGMENT, &end) != 0)
        return false;
    touch(end);
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    return true;
}

RING_INLINE bool find_in_section(unsigned i)
{
    void *end;
    return ring_registry_find(handles[i], RING_REGISTRY_SEGMENT, &end) == 0 && touch(end);
}

RING_INLINE bool find_by_text(unsigned i)
{
    void *end;
    if (ring_registry_enter_by(texts[i], RING_REGISTRY_SEGMENT, &end) != 0)
        return false;
    touch(end);
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    return true;
}

RING_INLINE bool find_by_text_in_section(unsigned i)
{
    void *end;
    return ring_registry_find_by(texts[i], RING_REGISTRY_SEGMENT, &end) == 0 && touch(end);
}

/* Loads of the same dependent depth and from the same lines of names, in no section and without a question. What is not
 * guarded must not be touched, so another line stands for the end: none of an address's bits are as high. */
RING_INLINE bool find_bare(unsigned i)
{
    uintptr_t end = ring_atomic_load(&handles[i]->ends[0], memory_order_relaxed);
    (void)some_end[end >> (8 * sizeof end - 1)];
    return end & 1; /* a segment's tag */
}

static void attach(unsigned i)
{
    struct ring_registry_options options = ring_registry_defaults(RING_REGISTRY_SEGMENT, segment_name, NULL);
    options.flags = 0;
    need(ring_registry_attach(texts[i], &options, RING_NO_WAIT) == 0, "attach");
}

static void detach(unsigned i)
{
    need(ring_registry_detach(texts[i]) == 0, "detach");
}

/* ---- The peer: a chained hash table of its own behind a lock for readers and writers. The lock has lines of its own,
 * and is of the default kind, which lets readers pass waiting writers, or of that which does not ---- */

enum { BUCKETS = 16384 };

struct node {
    struct node *next;
    uint64_t hash;
    volatile uint64_t *end; /* NULL: not attached */
    char text[24];
};

static struct {
    RING_ALIGNED(RING_LINE_PAIR) pthread_rwlock_t lock;
} of_kind[2]; /* default; writers first */
static RING_ALIGNED(RING_LINE_PAIR) struct node *buckets[BUCKETS];
static struct node nodes[NAMES_MOST]; /* names opened before */

/* As good as the registry's, and as fast. */
RING_INLINE uint64_t hash_of(const char *text)
{
    size_t length = strlen(text);
    uint64_t hash = length, word = 0;
    for (size_t i = 0; i < length; i += 8) {
        word = 0;
        if (i + 8 <= length)
            memcpy(&word, text + i, 8);
        else
            for (size_t k = i; k < length; k++)
                word = word << 8 | (uint8_t)text[k];
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

RING_INLINE struct node **bucket_with(const char *text, uint64_t hash)
{
    struct node **at = &buckets[hash % BUCKETS];
    while (*at && ((*at)->hash != hash || strcmp((*at)->text, text) != 0))
        at = &(*at)->next;
    return at;
}

RING_INLINE bool find_locked(pthread_rwlock_t *lock, unsigned i)
{
    pthread_rwlock_rdlock(lock);
    volatile uint64_t *end = nodes[i].end;
    if (end)
        (void)*end;
    pthread_rwlock_unlock(lock);
    return end != NULL;
}

RING_INLINE bool find_locked_by_text(pthread_rwlock_t *lock, unsigned i)
{
    uint64_t hash = hash_of(texts[i]);
    pthread_rwlock_rdlock(lock);
    struct node *node = *bucket_with(texts[i], hash);
    if (node)
        (void)*node->end;
    pthread_rwlock_unlock(lock);
    return node != NULL;
}

/* Outside of the lock the same work as the registry's: memory, and a look at the file. */
static void insert_locked(pthread_rwlock_t *lock, unsigned i)
{
    struct stat file;
    struct node *node = calloc(1, sizeof *node);
    need(node && stat(segment_path, &file) == 0, "no memory");
    strcpy(node->text, texts[i]);
    node->hash = hash_of(node->text);
    node->end = &some_end[i % 64];
    pthread_rwlock_wrlock(lock);
    struct node **at = bucket_with(node->text, node->hash);
    node->next = *at;
    *at = node;
    nodes[i].end = node->end;
    pthread_rwlock_unlock(lock);
}

static void remove_locked(pthread_rwlock_t *lock, unsigned i)
{
    pthread_rwlock_wrlock(lock);
    struct node **at = bucket_with(texts[i], hash_of(texts[i]));
    struct node *node = *at;
    if (node)
        *at = node->next;
    nodes[i].end = NULL;
    pthread_rwlock_unlock(lock);
    free(node);
}

#define FOR_BOTH(result, verb)                                                                                         \
    RING_INLINE result verb##_readers_first(unsigned i)                                                                \
    {                                                                                                                  \
        return verb(&of_kind[0].lock, i);                                                                              \
    }                                                                                                                  \
    RING_INLINE result verb##_writers_first(unsigned i)                                                                \
    {                                                                                                                  \
        return verb(&of_kind[1].lock, i);                                                                              \
    }

FOR_BOTH(bool, find_locked)
FOR_BOTH(bool, find_locked_by_text)
FOR_BOTH(void, insert_locked)
FOR_BOTH(void, remove_locked)

/* ---- All ---- */

#define LOOP(name, find, begin, end)                                                                                   \
    static uint64_t name(const uint32_t sequence[LOOKUPS])                                                             \
    {                                                                                                                  \
        uint64_t found = 0;                                                                                            \
        begin;                                                                                                         \
        for (unsigned i = 0; i < LOOKUPS; i++)                                                                         \
            found += find(sequence[i]);                                                                                \
        end;                                                                                                           \
        return found;                                                                                                  \
    }

LOOP(by_handle, find_by_handle, (void)0, (void)0)
LOOP(in_section, find_in_section, ring_registry_begin_section(), ring_registry_end_section())
LOOP(bare, find_bare, (void)0, (void)0)
LOOP(locked, find_locked_readers_first, (void)0, (void)0)
LOOP(locked_too, find_locked_writers_first, (void)0, (void)0)
LOOP(by_text, find_by_text, (void)0, (void)0)
LOOP(by_text_in_section, find_by_text_in_section, ring_registry_begin_section(), ring_registry_end_section())
LOOP(locked_by_text, find_locked_by_text_readers_first, (void)0, (void)0)
LOOP(locked_by_text_too, find_locked_by_text_writers_first, (void)0, (void)0)

const struct contestant contestants[CONTESTANTS] = {
    { "name opened", 3, by_handle, attach, detach },
    { "name opened, 64 a section", 3, in_section, attach, detach },
    { "name opened, loads alone", 3, bare, attach, detach },
    { "name opened, rwlock", 3, locked, insert_locked_readers_first, remove_locked_readers_first },
    { "name opened, rwlock for writers", 3, locked_too, insert_locked_writers_first, remove_locked_writers_first },
    { "by text", 7, by_text, attach, detach },
    { "by text, 64 a section", 7, by_text_in_section, attach, detach },
    { "by text, rwlock", 7, locked_by_text, insert_locked_readers_first, remove_locked_readers_first },
    { "by text, rwlock for writers", 7, locked_by_text_too, insert_locked_writers_first, remove_locked_writers_first },
};

static struct ring_segment *segment;

void contestants_begin(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    snprintf(segment_name, sizeof segment_name, "bench-registry-%d", (int)getpid());
    snprintf(segment_path, sizeof segment_path, "/dev/shm/%s", segment_name);
    options.bytes = RING_SEGMENT_MIN_BYTES;
    options.flags = 0;
    need(ring_segment_create(&segment, segment_name, &options) == 0, "create");
    pthread_rwlockattr_t kind;
    need(pthread_rwlockattr_init(&kind) == 0 && pthread_rwlock_init(&of_kind[0].lock, &kind) == 0 &&
             pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0 &&
             pthread_rwlock_init(&of_kind[1].lock, &kind) == 0,
         "no lock");
    for (unsigned i = 0; i < NAMES_MOST; i++) {
        snprintf(texts[i], sizeof texts[i], "feed-%u", i);
        need(ring_registry_open(&handles[i], texts[i]) == 0, "open");
    }
}

void contestants_end(void)
{
    ring_segment_close(&segment);
    need(ring_segment_unlink(segment_name) == 0, "unlink");
}
