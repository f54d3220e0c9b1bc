/* wait_deaths.c - who waits by a descriptor or a ring_any, or has slept for long, is told of a death by the kernel, not
 * by a look now and then: here time stands still for the library, so nothing is ever looked after. */
#include "waiting.h"

#include <pthread.h>
#include <signal.h>

#include <ring/wait_private.h>

enum { SOON = 20000 };

/* In the library's place, by the linker's --wrap: an hour from now, for ever; and no tick. */
int64_t __wrap_ring_clock_monotonic(void);
int64_t __real_ring_clock_monotonic(void);
int64_t __wrap_ring_clock_monotonic(void)
{
    static int64_t now;
    if (!now)
        now = __real_ring_clock_monotonic() + 3600 * TEST_SECOND;
    return now;
}

bool __wrap_ring_uring_tick(struct ring_uring *uring, int64_t period_ns, uint64_t tag);
bool __wrap_ring_uring_tick(struct ring_uring *uring, int64_t period_ns, uint64_t tag)
{
    (void)uring, (void)period_ns, (void)tag;
    return true;
}

/* A sleep that only a call or a departure ends: its time limit is an hour away. */
static RING_ATOMIC(uint64_t) deep_sleeps;

bool __wrap_ring_wait_for_words(const struct ring_wait_word *words, unsigned count, int64_t until_ns);
bool __real_ring_wait_for_words(const struct ring_wait_word *words, unsigned count, int64_t until_ns);
bool __wrap_ring_wait_for_words(const struct ring_wait_word *words, unsigned count, int64_t until_ns)
{
    atomic_fetch_add(&deep_sleeps, 1);
    return __real_ring_wait_for_words(words, count, until_ns);
}

static struct test_ends ends;

static void open_end(enum test_kind kind)
{
    switch (kind) {
    case SPSC_CONSUMER:
        REQUIRE_OK(ring_spsc_open_consumer(&ends.spsc_consumer, ends.segment, "ring", RING_NO_WAIT));
        break;
    case SPSC_PRODUCER:
        REQUIRE_OK(ring_spsc_open_producer(&ends.spsc_producer, ends.segment, "ring", RING_NO_WAIT));
        break;
    case MPMC_CONSUMER:
        REQUIRE_OK(ring_mpmc_open_consumer(&ends.mpmc_consumer, ends.segment, "queue", RING_NO_WAIT));
        break;
    case MPMC_PRODUCER:
        REQUIRE_OK(ring_mpmc_open_producer(&ends.mpmc_producer, ends.segment, "queue", RING_NO_WAIT));
        break;
    case NEWS_CONSUMER:
        REQUIRE_OK(ring_broadcast_open_consumer(&ends.news_consumer, ends.segment, "news", RING_BROADCAST_NEWEST, 0,
                                                RING_NO_WAIT));
        break;
    case NEWS_PRODUCER:
        REQUIRE_OK(ring_broadcast_open_producer(&ends.news_producer, ends.segment, "news", RING_NO_WAIT));
        break;
    case TEST_KINDS:
    default:
        break;
    }
}

/* A peer: of which kind, and that it is there. */
struct peer {
    enum test_kind kind;
    RING_ATOMIC(uint64_t) here;
};

static int be_there(void *argument)
{
    struct peer *peer = argument;
    ends.segment = test_attach();
    open_end(peer->kind);
    atomic_store(&peer->here, 1);
    for (;;)
        pause();
    return 0;
}

/* How one waits: until a call is worth while. */
struct way {
    bool uring;
    bool (*readable)(void *by);
    void *by;
};

static bool by_descriptor(void *descriptor)
{
    return test_is_readable(*(int *)descriptor, SOON);
}

static bool by_any(void *any)
{
    void *ready[1];
    return ring_any_wait(any, ready, 1, RING_FOREVER) == 1;
}

/* A peer comes, before or after we found nothing, and is killed. */
static void lose_peer(enum test_kind kind, bool late, const struct way *way, struct peer *peer)
{
    int code;
    atomic_store(&peer->here, 0);
    if (late)
        test_drain(&ends, kind);
    pid_t child = test_spawn(be_there, peer);
    test_await(&peer->here, 1);
    test_drain(&ends, kind);
    test_kill(child);
    do {
        REQUIRE(way->readable(way->by));
        code = test_go(&ends, kind, RING_NO_WAIT);
    } while (code == -EAGAIN);
    /* The producer of a lossless broadcast ring leaves a dead consumer out, and goes on. */
    REQUIRE_SAME(code, kind == NEWS_PRODUCER ? 0 : -EOWNERDEAD);
}

static void make_rings(void)
{
    ends.segment = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(ends.segment, "ring", 4096));
    REQUIRE_OK(ring_mpmc_create(ends.segment, "queue", 8, 8));
    REQUIRE_OK(ring_broadcast_create(ends.segment, "news", 8, 8, RING_BROADCAST_LOSSLESS));
}

static void lose_peers_of(enum test_kind kind, struct way *way)
{
    struct peer *peer = test_shared(sizeof *peer);
    struct ring_any *any = NULL;
    int descriptor = -1;
    peer->kind = test_other(kind);
    make_rings();
    open_end(kind);
    if (way->readable == by_any) {
        REQUIRE_OK(ring_any_open(&any));
        REQUIRE_OK(ring_any_add(any, test_waiter(&ends, kind), NULL));
        way->by = any;
    } else {
        REQUIRE((descriptor = ring_waiter_fd(test_waiter(&ends, kind))) >= 0);
        way->by = &descriptor;
    }
    if (kind != NEWS_PRODUCER) /* whose ring is not full without consumers */
        lose_peer(kind, true, way, peer);
    lose_peer(kind, false, way, peer);
    lose_peer(kind, false, way, peer);
    ring_any_close(&any);
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static int lose_peers(void *argument)
{
    struct way *way = argument;
    alarm(100); /* a ring_any that is not told waits for ever */
    if (!way->uring)
        test_forbid_uring();
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++)
        lose_peers_of(kind, way);
    return 0;
}

Test(deaths, are_told_to_a_descriptor)
{
    test_wait(test_spawn(lose_peers, &(struct way){ true, by_descriptor, NULL }));
    test_wait(test_spawn(lose_peers, &(struct way){ false, by_descriptor, NULL }));
}

Test(deaths, are_told_to_who_waits_for_any)
{
    test_wait(test_spawn(lose_peers, &(struct way){ true, by_any, NULL }));
    test_wait(test_spawn(lose_peers, &(struct way){ false, by_any, NULL }));
}

/* A thread that does something once another has fallen asleep so. */
struct deed {
    pid_t victim; /* is killed; 0: the endpoint is fed */
    enum test_kind kind;
};

static void *do_once_all_sleep(void *argument)
{
    struct deed *deed = argument;
    test_await(&deep_sleeps, 1);
    if (deed->victim)
        test_kill(deed->victim);
    else
        test_feed(&ends, deed->kind);
    return NULL;
}

static int sleep_through(struct deed *deed)
{
    pthread_t thread;
    atomic_store(&deep_sleeps, 0);
    ring_waiter_set_policy(test_waiter(&ends, deed->kind), RING_WAIT_SLEEP); /* no time passes, so none would be spun */
    REQUIRE_SAME(pthread_create(&thread, NULL, do_once_all_sleep, deed), 0);
    int code = test_go(&ends, deed->kind, RING_FOREVER);
    pthread_join(thread, NULL);
    REQUIRE(atomic_load(&deep_sleeps) < 10); /* it was not only looking now and then */
    return code;
}

static int lose_peer_in_sleep(void *argument)
{
    enum test_kind kind = *(enum test_kind *)argument;
    struct peer *peer = test_shared(sizeof *peer);
    peer->kind = test_other(kind);
    alarm(100);
    make_rings();
    open_end(kind);
    pid_t child = test_spawn(be_there, peer);
    test_await(&peer->here, 1);
    test_drain(&ends, kind);
    int code = sleep_through(&(struct deed){ child, kind });
    REQUIRE_SAME(code, kind == NEWS_PRODUCER ? 0 : -EOWNERDEAD);
    REQUIRE_OK(ring_segment_unlink(test_name()));
    return 0;
}

Test(deaths, end_a_long_sleep)
{
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++)
        test_wait(test_spawn(lose_peer_in_sleep, &kind));
}

static int be_fed_in_sleep(void *argument)
{
    enum test_kind kind = *(enum test_kind *)argument;
    alarm(100);
    test_ends_open(&ends);
    test_drain(&ends, kind);
    REQUIRE_SAME(sleep_through(&(struct deed){ 0, kind }), 0);
    test_ends_close(&ends);
    return 0;
}

Test(deaths, are_not_all_that_ends_a_long_sleep)
{
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind++)
        test_wait(test_spawn(be_fed_in_sleep, &kind));
}
