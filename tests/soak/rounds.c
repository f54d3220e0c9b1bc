/* rounds.c - the supervisor: storms in rounds over ring after ring, and the account after each. */
#include "storm.h"

#include <dirent.h>

#define ROUND    (1 * SECOND)
#define PATIENCE (10 * SECOND) /* for leaving in good order, with everything there is to do before */

enum { ROUNDS_OF_A_RING = 4 };

static void show(struct storm *storm, int64_t now)
{
    if (storm->plan->quiet || now - storm->shown_at < SECOND / 4)
        return;
    storm->shown_at = now;
    fprintf(stderr, "\r%3lld of %lld s: %llu sent, %llu killed, %llu stopped, longest stall %.1f ms ",
            (long long)((now - storm->began) / SECOND), (long long)(storm->plan->nanoseconds / SECOND),
            (unsigned long long)storm->sums->sent, (unsigned long long)storm->sums->killed,
            (unsigned long long)storm->sums->stopped, (double)storm->sums->longest_stall / 1e6);
}

static bool make_ring(struct storm *storm)
{
    static const size_t longest[] = { 24, 56, 120, 400 };
    struct soak_ring *ring = &soak_ledger->ring;
    struct soak_random *random = &storm->random;
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    *ring = (struct soak_ring){ .kind = storm->plan->kind, .policy = storm->plan->policy };
    snprintf(ring->name, sizeof ring->name, SOAK_NAME "%d-%llu", (int)getpid(), (unsigned long long)storm->name++);
    ring->longest = longest[soak_below(random, 4)];
    ring->start = soak_below(random, 2) ? 0 : (0 - soak_below(random, 1 << 16)) & ~UINT64_C(7);
    options.bytes = 4 << 20;
    options.flags = 0;
    int code = ring_segment_create(&segment, ring->name, &options);
    if (!code && ring->kind == SOAK_SPSC) {
        struct ring_spsc_options spsc = ring_spsc_defaults();
        spsc.bytes = RING_SPSC_MIN_BYTES << soak_below(random, 8);
        spsc.publish_bytes = soak_below(random, 3) ? 0 : 1;
        spsc.start_position = ring->start;
        code = ring_spsc_create_with(segment, "soak", &spsc);
    } else if (!code && ring->kind == SOAK_MPMC) {
        struct ring_mpmc_options mpmc = ring_mpmc_defaults();
        mpmc.slots = (size_t)2 << soak_below(random, 11);
        mpmc.slot_bytes = ring->longest;
        mpmc.seats = 6 + (unsigned)soak_below(random, 12);
        mpmc.flags = soak_below(random, 4) ? 0 : RING_MPMC_NO_SOLE;
        mpmc.start_position = ring->start;
        code = ring_mpmc_create_with(segment, "soak", &mpmc);
    } else if (!code) {
        struct ring_broadcast_options news = ring_broadcast_defaults();
        news.slots = (size_t)2 << soak_below(random, 11);
        news.slot_bytes = ring->longest;
        news.policy = ring->policy;
        news.seats = 4 + (unsigned)soak_below(random, 12);
        news.start_position = ring->start;
        code = ring_broadcast_create_with(segment, "soak", &news);
    }
    if (segment)
        ring_segment_close(&segment);
    for (unsigned i = 0; i < SOAK_ACTORS; i++)
        soak_ledger->actors[i].streams[0] = soak_ledger->actors[i].streams[1] =
            (struct soak_stream){ .next = ring->start, .last = SOAK_NOBODY };
    return code ? soak_say(ring_error_detail()) : true;
}

static void forget_ring(void)
{
    if (soak_ledger->ring.name[0])
        ring_segment_unlink(soak_ledger->ring.name);
    soak_ledger->ring.name[0] = '\0';
}

static void begin_round(struct storm *storm)
{
    soak_ledger->first_life = storm->next_life;
    for (unsigned i = 0; i < storm->lives; i++)
        memset((void *)(uintptr_t)soak_ledger->seen[i], 0,
               ring_atomic_load(&soak_ledger->lives[i].began, memory_order_relaxed));
    memset((void *)soak_ledger->lives, 0, sizeof soak_ledger->lives);
    ring_atomic_store(&soak_ledger->finish, 0, memory_order_relaxed);
    ring_atomic_store(&soak_ledger->duplicates, 0, memory_order_relaxed);
    ring_atomic_store(&soak_ledger->flagged, 0, memory_order_relaxed);
    for (unsigned i = 0; i < SOAK_ACTORS; i++)
        ring_atomic_store(&soak_ledger->actors[i].done, 0, memory_order_relaxed);
    for (unsigned i = 0; i < SOAK_ACTORS; i++) /* who sent what before is forgotten */
        for (int page = 0; page < 2; page++)
            soak_ledger->actors[i].streams[page].last = SOAK_NOBODY;
    storm->lives = 0;
    storm->allowed = 0;
    storm->storming = true;
    storm->still_since = storm->last_look = soak_now();
    storm->still_for = 0;
    for (unsigned i = 0; i < storm->actors; i++)
        storm->held[i].start_at = 0;
}

static unsigned alive(const struct storm *storm, enum soak_role role)
{
    unsigned count = 0;
    for (unsigned i = 0; i < storm->actors; i++)
        count += storm->held[i].role == role && storm->held[i].pid;
    return count;
}

/* How many consumers have not come to the end yet; those that died or left before are started again. */
static unsigned let_consumers_finish(struct storm *storm)
{
    unsigned left = 0;
    ring_atomic_store(&soak_ledger->finish, 1, memory_order_release);
    for (unsigned i = 0; i < storm->actors; i++) {
        struct held *held = &storm->held[i];
        if (held->role != SOAK_CONSUMER)
            continue;
        if (!held->pid && !ring_atomic_load(&soak_ledger->actors[i].done, memory_order_acquire))
            soak_start(storm, held);
        left += held->pid != 0;
    }
    return left;
}

/* Producers leave, then the consumers when nothing is left. */
static bool finish_round(struct storm *storm)
{
    int64_t deadline = soak_now() + PATIENCE;
    storm->storming = false;
    while (!soak_interrupted) {
        int64_t now = soak_now();
        soak_resume(storm, now);
        if (!soak_reap(storm))
            return false;
        for (unsigned i = 0; i < storm->actors; i++)
            if (storm->held[i].role != SOAK_CONSUMER)
                ring_atomic_store(&soak_ledger->actors[i].leave, 1, memory_order_relaxed);
        if (!alive(storm, SOAK_PRODUCER) && !alive(storm, SOAK_HELPER) && !let_consumers_finish(storm))
            return true;
        if (now > deadline)
            return soak_say("stuck: 10 s after the storm not all have left");
        soak_nap(MILLISECOND / 4);
    }
    return false;
}

/* Each stream has come to the end, and the messages of all producers are there. */
static bool settle_news(struct storm *storm)
{
    struct ring_segment *segment = soak_attach(RING_READ_ONLY);
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    int code = ring_broadcast_info(segment, "soak", &info);
    ring_segment_close(&segment);
    if (code)
        return soak_say(ring_error_detail());
    static uint64_t positions_before;
    uint64_t sent = 0, began = 0;
    for (unsigned i = 0; i < storm->lives; i++) {
        sent += ring_atomic_load(&soak_ledger->lives[i].sent, memory_order_relaxed);
        began += ring_atomic_load(&soak_ledger->lives[i].began, memory_order_relaxed);
    }
    uint64_t before = storm->sums->rounds % ROUNDS_OF_A_RING ? positions_before : soak_ledger->ring.start;
    uint64_t here = info.tail - before;
    positions_before = info.tail;
    storm->sums->sent += sent;
    if (here < sent || here > began)
        return soak_say("the number of positions is not that of the messages sent");
    storm->sums->in_hand_arrived += here - sent;
    storm->sums->in_hand_vanished += began - here;
    for (unsigned i = 0; i < storm->actors; i++) {
        struct soak_actor *actor = &soak_ledger->actors[i];
        struct soak_stream *stream = &actor->streams[ring_atomic_load(&actor->stream_now, memory_order_acquire)];
        if (storm->held[i].role != SOAK_CONSUMER)
            continue;
        if (stream->next != info.tail || stream->received + stream->lost != info.tail - soak_ledger->ring.start) {
            snprintf(soak_ledger->said, sizeof soak_ledger->said,
                     "stream %u: at %llu with %llu received and %llu lost; %llu were sent from %llu on", i,
                     (unsigned long long)stream->next, (unsigned long long)stream->received,
                     (unsigned long long)stream->lost, (unsigned long long)(info.tail - soak_ledger->ring.start),
                     (unsigned long long)soak_ledger->ring.start);
            ring_atomic_store(&soak_ledger->failed, 1, memory_order_release);
            return false;
        }
    }
    return true;
}

/* What the streams of a ring that goes away came to. */
static void sum_streams(struct storm *storm)
{
    for (unsigned i = 0; storm->plan->kind == SOAK_BROADCAST && i < storm->actors; i++) {
        struct soak_actor *actor = &soak_ledger->actors[i];
        struct soak_stream *stream = &actor->streams[ring_atomic_load(&actor->stream_now, memory_order_acquire)];
        storm->sums->received += stream->received;
        storm->sums->lost += stream->lost;
    }
}

static bool storm_round(struct storm *storm, int64_t end)
{
    begin_round(storm);
    while (!soak_interrupted) {
        int64_t now = soak_now();
        if (now >= end)
            break;
        if (!soak_reap(storm))
            return false;
        for (unsigned i = 0; i < storm->actors; i++)
            if (!storm->held[i].pid && now >= storm->held[i].start_at && !soak_start(storm, &storm->held[i])) {
                if (storm->lives < SOAK_LIVES)
                    return soak_say("fork failed");
                end = now;
            }
        soak_resume(storm, now);
        if (!soak_watch(storm, now))
            return false;
        if (now >= storm->disturb_at)
            soak_disturb(storm, now);
        show(storm, now);
        soak_nap(MILLISECOND / 4);
    }
    if (soak_interrupted || !finish_round(storm))
        return false;
    bool good = storm->plan->kind == SOAK_BROADCAST ? settle_news(storm)
                                                    : soak_settle(storm->lives, storm->allowed, storm->sums);
    storm->sums->rounds++;
    return good && !ring_atomic_load(&soak_ledger->failed, memory_order_acquire);
}

static void cast(struct storm *storm)
{
    static const enum soak_role roles[SOAK_KINDS][SOAK_ACTORS] = {
        { SOAK_PRODUCER, SOAK_CONSUMER, SOAK_HELPER },
        { SOAK_PRODUCER, SOAK_PRODUCER, SOAK_CONSUMER, SOAK_CONSUMER, SOAK_HELPER },
        { SOAK_PRODUCER, SOAK_CONSUMER, SOAK_CONSUMER, SOAK_CONSUMER, SOAK_HELPER },
    };
    storm->actors = storm->plan->kind == SOAK_SPSC ? 3 : 5;
    for (unsigned i = 0; i < storm->actors; i++)
        storm->held[i] = (struct held){ .role = roles[storm->plan->kind][i] };
}

int soak_storm(const struct soak_plan *plan, struct soak_sums *sums)
{
    static uint64_t name;
    struct storm storm = { .plan = plan, .sums = sums, .random = { plan->seed }, .next_life = 1, .name = name };
    bool good = true;
    memset((void *)soak_ledger, 0, sizeof *soak_ledger);
    cast(&storm);
    storm.began = soak_now();
    while (good && !soak_interrupted && soak_now() - storm.began < plan->nanoseconds) {
        int64_t end = storm.began + plan->nanoseconds, now = soak_now();
        if (sums->rounds % ROUNDS_OF_A_RING == 0) {
            sum_streams(&storm);
            forget_ring();
            ring_atomic_store(&soak_ledger->newest, 0, memory_order_relaxed);
            good = make_ring(&storm);
        }
        if (good)
            good = storm_round(&storm, end - now < ROUND ? end : now + ROUND);
    }
    soak_end_all(&storm);
    sum_streams(&storm);
    forget_ring();
    name = storm.name;
    if (!plan->quiet)
        fprintf(stderr, "\r%79s\r", "");
    return soak_interrupted ? 130 : good ? 0 : 1;
}

void soak_remove_old(void)
{
    DIR *directory = opendir("/dev/shm");
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        int pid;
        if (sscanf(entry->d_name, SOAK_NAME "%d-", &pid) == 1 && kill(pid, 0) != 0 && errno == ESRCH)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
}
