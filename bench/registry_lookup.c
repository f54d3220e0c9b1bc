/* registry_lookup.c - ring-bench-registry: what it costs to look an end up by name, from two threads at once, while
 * names come and go; against a hash table behind a pthread_rwlock.
 *
 * Contestants run in turn within each round; shown are medians over the rounds, and medians of same-round ratios. Each
 * look-up picks the next of a random sequence of names, finds the end and reads a word of it, as a sender would. A
 * third thread detaches and attaches names of the same set: not at all, 10000 changes a second, or without a pause.
 */
#include <ring/error.h>
#include <ring/registry.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "registry_flavours.h"

enum { LOOKERS = 2, SEQUENCE = 4096, ROUNDS_MOST = 99, BATCH = 64 };

static char segment_name[64], segment_path[96];

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void need(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "ring-bench-registry: %s: %s\n", what, ring_error_detail());
        ring_segment_unlink(segment_name);
        exit(1);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- The names ---- */

static char (*texts)[24];
static struct ring_registry_name **handles;
static unsigned registered, drawn; /* names attached at rest; names looked up: the same, or 1 that is not there */

/* ---- The peer: a chained hash table of its own behind a lock for readers and writers ---- */

struct node {
    struct node *next;
    uint64_t hash;
    volatile uint64_t *end;
    char text[24];
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct node **buckets;
static unsigned bucket_mask;
static volatile uint64_t some_end[64];

static uint64_t hash_of(const char *text)
{
    char padded[24] = "";
    uint64_t hash = 0;
    size_t length = strlen(text);
    memcpy(padded, text, length);
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, padded + i, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash;
}

static struct node **find(const char *text, uint64_t hash)
{
    struct node **at = &buckets[hash & bucket_mask];
    while (*at && ((*at)->hash != hash || strcmp((*at)->text, text) != 0))
        at = &(*at)->next;
    return at;
}

static bool look_up_locked(unsigned i)
{
    uint64_t hash = hash_of(texts[i]);
    pthread_rwlock_rdlock(&lock);
    struct node *node = *find(texts[i], hash);
    if (node)
        (void)*node->end;
    pthread_rwlock_unlock(&lock);
    return node != NULL;
}

static void insert_locked(unsigned i)
{
    struct stat file;
    struct node *node = calloc(1, sizeof *node);
    need(node && stat(segment_path, &file) == 0, "no memory"); /* the same work outside the lock as the registry's */
    strcpy(node->text, texts[i]);
    node->hash = hash_of(node->text);
    node->end = &some_end[i % 64];
    pthread_rwlock_wrlock(&lock);
    struct node **at = find(node->text, node->hash);
    node->next = *at;
    *at = node;
    pthread_rwlock_unlock(&lock);
}

static void remove_locked(unsigned i)
{
    pthread_rwlock_wrlock(&lock);
    struct node **at = find(texts[i], hash_of(texts[i]));
    struct node *node = *at;
    if (node)
        *at = node->next;
    pthread_rwlock_unlock(&lock);
    free(node);
}

/* ---- The floor: the loads alone, from lines as far apart as the registry's, without any protection ---- */

struct bare_entry {
    uint64_t kind;
    void *ends[256];
    char rest[200];
};

struct bare_name {
    struct bare_entry *volatile entry;
    char rest[184];
};

static struct bare_name *bare_names;

static void come_bare(unsigned i)
{
    bare_names[i].entry = calloc(1, sizeof(struct bare_entry));
    need(bare_names[i].entry != NULL, "no memory");
    bare_names[i].entry->ends[1] = (void *)(uintptr_t)&some_end[0];
}

static void go_bare(unsigned i)
{
    free(bare_names[i].entry);
    bare_names[i].entry = NULL;
}

static __attribute__((noinline)) bool look_up_bare(unsigned i)
{
    struct bare_entry *entry = bare_names[i].entry;
    if (!entry || entry->kind)
        return false;
    (void)*(volatile uint64_t *)entry->ends[1];
    return true;
}

/* ---- The registry ---- */

static bool look_up_by_handle(unsigned i)
{
    void *end;
    if (ring_registry_enter(handles[i], RING_REGISTRY_SEGMENT, &end) != 0)
        return false;
    (void)*(volatile uint64_t *)end;
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    return true;
}

static bool look_up_by_text(unsigned i)
{
    void *end;
    if (ring_registry_enter_by(texts[i], RING_REGISTRY_SEGMENT, &end) != 0)
        return false;
    (void)*(volatile uint64_t *)end;
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    return true;
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

static const struct contestant {
    const char *name;
    bool (*look_up)(unsigned i);
    void (*come)(unsigned i);
    void (*go)(unsigned i);
} contestants[] = {
    { "registry, name opened", look_up_by_handle, attach, detach },
    { "registry, by text", look_up_by_text, attach, detach },
    { "loads alone, no churn", look_up_bare, come_bare, go_bare },
    { "rwlock table, writers first", look_up_locked, insert_locked, remove_locked },
    { "rwlock table", look_up_locked, insert_locked, remove_locked }, /* pthread's default */
};
enum { BARE = 2, WRITERS_FIRST = 3 }; /* indices above */
enum { CONTESTANTS = sizeof contestants / sizeof contestants[0] };

/* ---- One measurement ---- */

struct looker {
    const struct contestant *contestant;
    uint64_t seed;
    uint64_t lookups, hits;
    double seconds;
};

static atomic_bool over, go;
static double churn_gap_s; /* between two changes; negative: none at all */
static uint64_t changes;

static void *look(void *argument)
{
    struct looker *looker = argument;
    static _Thread_local uint32_t sequence[SEQUENCE];
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET(looker->seed % 2, &cpu);
    pthread_setaffinity_np(pthread_self(), sizeof cpu, &cpu); /* where refused: wherever the kernel puts it */
    uint64_t state = looker->seed * 7919 + 1, count = 0, hits = 0;
    for (unsigned i = 0; i < SEQUENCE; i++)
        sequence[i] = (uint32_t)(next_random(&state) % drawn);
    bool (*look_up)(unsigned) = looker->contestant->look_up;
    while (!atomic_load_explicit(&go, memory_order_acquire))
        sched_yield();
    double start = now_s();
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        for (unsigned i = 0; i < BATCH; i++)
            hits += look_up(sequence[count++ % SEQUENCE]);
    looker->seconds = now_s() - start;
    looker->lookups = count;
    looker->hits = hits;
    return NULL;
}

static void *churn(void *argument)
{
    const struct contestant *contestant = argument;
    uint64_t state = 99;
    double next = now_s();
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        unsigned i = (unsigned)(next_random(&state) % registered);
        contestant->go(i);
        contestant->come(i);
        changes += 2;
        next += 2 * churn_gap_s;
        if (churn_gap_s > 0 && next > now_s()) {
            struct timespec nap = { .tv_nsec = 1000000 }; /* then some at once */
            nanosleep(&nap, NULL);
        }
    }
    return NULL;
}

/* Look-ups a second, of both threads together. */
static double measure(const struct contestant *contestant, double seconds)
{
    pthread_t lookers[LOOKERS], churner;
    struct looker place[LOOKERS];
    bool churns = churn_gap_s >= 0 && registered && contestant != &contestants[BARE];
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    if (contestant == &contestants[WRITERS_FIRST])
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_destroy(&lock);
    pthread_rwlock_init(&lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    double rate = 0;
    changes = 0;
    for (unsigned i = 0; i < registered; i++)
        contestant->come(i);
    atomic_store(&over, false);
    atomic_store(&go, false);
    for (unsigned i = 0; i < LOOKERS; i++) {
        place[i] = (struct looker){ .contestant = contestant, .seed = i };
        need(pthread_create(&lookers[i], NULL, look, &place[i]) == 0, "no thread");
    }
    if (churns)
        need(pthread_create(&churner, NULL, churn, (void *)(uintptr_t)contestant) == 0, "no thread");
    atomic_store(&go, true);
    struct timespec nap = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&nap, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < LOOKERS; i++) {
        pthread_join(lookers[i], NULL);
        rate += (double)place[i].lookups / place[i].seconds;
        if (!churns)
            need(place[i].hits == (registered ? place[i].lookups : 0),
                 "a name was not found, or one that is not there");
    }
    if (churns)
        pthread_join(churner, NULL);
    for (unsigned i = 0; i < registered; i++)
        contestant->go(i);
    ring_registry_settle();
    return rate;
}

/* ---- Many of them ---- */

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void run_case(unsigned names, double gap_s, unsigned rounds, double seconds)
{
    double rates[CONTESTANTS][ROUNDS_MOST], ratios[CONTESTANTS][ROUNDS_MOST], churned[CONTESTANTS][ROUNDS_MOST];
    registered = names;
    drawn = names ? names : 1;
    churn_gap_s = gap_s;
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned k = 0; k < CONTESTANTS; k++) {
            rates[k][round] = measure(&contestants[k], seconds);
            churned[k][round] = (double)changes / seconds;
        }
    for (unsigned k = 0; k < CONTESTANTS; k++) {
        for (unsigned round = 0; round < rounds; round++)
            ratios[k][round] = rates[k][round] / rates[CONTESTANTS - 1][round];
        double least = ratios[k][0], most = ratios[k][0];
        for (unsigned round = 1; round < rounds; round++) {
            least = ratios[k][round] < least ? ratios[k][round] : least;
            most = ratios[k][round] > most ? ratios[k][round] : most;
        }
        double rate = median(rates[k], rounds);
        printf("%6u  %9.0f  %-27s  %8.1f  %8.1f  %7.1f  (%.1f .. %.1f)\n", names, median(churned[k], rounds),
               contestants[k].name, rate / 1e6, 1e9 * LOOKERS / rate, median(ratios[k], rounds), least, most);
    }
    fflush(stdout);
}

static void make_names(unsigned count)
{
    texts = calloc(count, sizeof *texts);
    handles = calloc(count, sizeof *handles);
    bucket_mask = 16383;
    buckets = calloc(bucket_mask + 1, sizeof(struct node *));
    bare_names = calloc(count, sizeof *bare_names);
    need(texts && handles && buckets && bare_names, "no memory");
    for (unsigned i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "feed-%u", i);
        need(ring_registry_open(&handles[i], texts[i]) == 0, "open");
    }
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = { 0, 1, 100, 10000 };
    static const double gaps[] = { -1, 1e-4, 0 };
    unsigned rounds = 5;
    double seconds = 0.2;
    for (int option; (option = getopt(argc, argv, "r:s:")) != -1;) {
        rounds = option == 'r' ? (unsigned)atoi(optarg) : rounds;
        seconds = option == 's' ? atof(optarg) : seconds;
        if (option == '?' || rounds < 1 || rounds > ROUNDS_MOST || !(seconds > 0 && seconds < 60)) {
            fprintf(stderr, "usage: ring-bench-registry [-r ROUNDS] [-s SECONDS]\n");
            return 2;
        }
    }
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    snprintf(segment_name, sizeof segment_name, "bench-registry-%d", (int)getpid());
    snprintf(segment_path, sizeof segment_path, "/dev/shm/%s", segment_name);
    options.bytes = RING_SEGMENT_MIN_BYTES;
    options.flags = 0;
    need(ring_segment_create(&segment, segment_name, &options) == 0, "create");
    make_names(sizes[3]);
    flavours_print();
    printf(
        "\n names  changes/s  contestant                   M/s both  ns each   times   (least .. most of %u rounds)\n",
        rounds);
    for (unsigned gap = 0; gap < 3; gap++)
        for (unsigned size = 0; size < 4; size++)
            if (sizes[size] || gaps[gap] < 0)
                run_case(sizes[size], gaps[gap], rounds, seconds);
    ring_segment_close(&segment);
    return ring_segment_unlink(segment_name) ? 1 : 0;
}
