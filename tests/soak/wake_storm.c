/* wake_storm.c - many rings in one loop, random pauses on both sides, and no wake-up may be lost.
 *
 * A wake-up that is lost stays unseen where something else comes to help: the next message, the tick of once a second.
 * So the program asks for the truth itself, each time round: what senders had sent, their calls having returned, is
 * received, or its ring is readable. (A ring_any may tell of some before others: there it asks when it is told of
 * none.) If not, that is a lost wake-up, whatever would have come later. The senders' board of numbers is shared memory
 * of its own. The ticks are taken out, by the linker's --wrap; a ring_any never waits for so long that it would look
 * after somebody. */
#include <ring/ring.h>
#include <ring/wait_private.h>

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RINGS_MOST = 4000, SENDERS_MOST = 16, RING_BYTES = 4096, PATIENCE_MS = 40, AT_ONCE = 32 };

static const char usage[] =
    "wake-storm [--loop epoll|poll|any] [--rings N] [--messages N] [--senders N] [--seed S] [--lose N]\n"
    "Processes send to many rings at random, with random pauses; one thread waits for all of them.\n"
    "  --loop HOW     by what it waits, default epoll\n"
    "  --rings N      1 .. 4000, default 1000\n"
    "  --messages N   of all senders together, default 1000000\n"
    "  --senders N    processes, 1 .. 16, default 2\n"
    "  --seed S       of what happens when, default 1\n"
    "  --lose N       leaves out every Nth wake-up, to see that it is noticed\n"
    "Exit status: 0 all was received in order and no wake-up lost, 1 something is wrong, 2 wrong usage, 77 this kernel\n"
    "cannot.\n";

struct message {
    uint32_t ring, number;
};

static struct plan {
    const struct loop *loop;
    uint64_t rings, messages, senders, seed, lose;
} plan;

static RING_ATOMIC(uint32_t) * sent; /* of each ring, by calls that have returned; release, acquire */
static struct ring_spsc_consumer consumers[RINGS_MOST];
static struct ring_waiter *waiters[RINGS_MOST]; /* NULL: closed */
static uint32_t received[RINGS_MOST];
static char name[64];

static void fail(const char *what)
{
    fprintf(stderr, "wake-storm: %s: %s\n", what, ring_error_detail());
    ring_segment_unlink(name);
    exit(1);
}

static uint64_t random_of(uint64_t *state)
{
    uint64_t value = *state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static void nap(uint64_t nanoseconds)
{
    nanosleep(&(struct timespec){ 0, (long)nanoseconds }, NULL);
}

/* ---- In the library's place ---- */

bool __wrap_ring_uring_tick(struct ring_uring *uring, int64_t period_ns, uint64_t tag);
bool __wrap_ring_uring_tick(struct ring_uring *uring, int64_t period_ns, uint64_t tag)
{
    (void)uring, (void)period_ns, (void)tag;
    return true;
}

void __real_ring_wake(RING_ATOMIC(uint32_t) * asleep);
void __wrap_ring_wake(RING_ATOMIC(uint32_t) * asleep);
void __wrap_ring_wake(RING_ATOMIC(uint32_t) * asleep)
{
    static uint64_t count;
    if (plan.lose && ++count % plan.lose == 0)
        ring_atomic_store(asleep, 0, memory_order_relaxed);
    else
        __real_ring_wake(asleep);
}

/* ---- Senders ---- */

static struct ring_spsc_producer *open_producers(struct ring_segment *segment, uint64_t first, uint64_t count)
{
    struct ring_spsc_producer *producers = calloc(count, sizeof *producers);
    char ring[24];
    for (uint64_t i = 0; producers && i < count; i++) {
        snprintf(ring, sizeof ring, "ring%u", (unsigned)(first + i));
        if (ring_spsc_open_producer(&producers[i], segment, ring, RING_FOREVER))
            fail("a sender cannot open a ring");
    }
    return producers;
}

/* Bursts to one ring, to some, or to any; and pauses. */
static void send_at_random(struct ring_spsc_producer *producers, uint64_t first, uint64_t count, uint64_t messages,
                           uint64_t random)
{
    for (uint64_t done = 0; done < messages;) {
        uint64_t chance = random_of(&random), base = random_of(&random) % count;
        uint64_t spread = chance % 3 == 0 ? 1 : chance % 3 == 1 && count > 3 ? 3 : count;
        for (uint64_t burst = 1 + (chance >> 8) % 32; burst && done < messages; burst--, done++) {
            uint64_t i = (base + random_of(&random) % spread) % count;
            uint32_t number = ring_atomic_load(&sent[first + i], memory_order_relaxed);
            struct message message = { (uint32_t)(first + i), number };
            if (ring_spsc_send(&producers[i], &message, sizeof message, RING_FOREVER))
                fail("a sender cannot send");
            ring_atomic_store(&sent[first + i], number + 1, memory_order_release);
        }
        nap((chance >> 24) % ((chance >> 16) % 4 ? 100000 : 1000000));
    }
}

static int be_sender(uint64_t index)
{
    struct ring_segment *segment;
    uint64_t first = plan.rings * index / plan.senders, end = plan.rings * (index + 1) / plan.senders;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ring_segment_attach(&segment, name, NULL, RING_FOREVER))
        fail("a sender cannot attach");
    struct ring_spsc_producer *producers = open_producers(segment, first, end - first);
    if (!producers)
        fail("out of memory");
    send_at_random(producers, first, end - first,
                   plan.messages * (index + 1) / plan.senders - plan.messages * index / plan.senders,
                   plan.seed * SENDERS_MOST + index);
    for (uint64_t i = 0; i < end - first; i++)
        if (ring_spsc_close_producer(&producers[i]))
            fail("a sender cannot close");
    return 0;
}

/* ---- Loops ---- */

struct loop {
    const char *name;
    void (*add)(uint32_t ring);
    void (*remove)(uint32_t ring);
    int (*ready)(uint32_t *rings, int timeout_ms); /* which are readable: how many */
    bool complete;                                 /* these are all; else none is only when it says none */
};

static int poller = -1;
static struct pollfd wishes[RINGS_MOST];
static struct ring_any *any;

static int descriptor_of(uint32_t ring)
{
    int descriptor = ring_waiter_fd(waiters[ring]);
    if (descriptor < 0)
        fail("no descriptor");
    return descriptor;
}

static void add_to_epoll(uint32_t ring)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = ring };
    if (poller < 0)
        poller = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor_of(ring), &event))
        fail(strerror(errno));
}

static void remove_from_epoll(uint32_t ring)
{
    epoll_ctl(poller, EPOLL_CTL_DEL, descriptor_of(ring), NULL);
}

static int ready_by_epoll(uint32_t *rings, int timeout_ms)
{
    static struct epoll_event events[RINGS_MOST];
    int count = epoll_wait(poller, events, RINGS_MOST, timeout_ms);
    for (int i = 0; i < count; i++)
        rings[i] = events[i].data.u32;
    return count;
}

static void add_to_poll(uint32_t ring)
{
    wishes[ring] = (struct pollfd){ descriptor_of(ring), POLLIN, 0 };
}

static void remove_from_poll(uint32_t ring)
{
    wishes[ring].fd = -1;
}

static int ready_by_poll(uint32_t *rings, int timeout_ms)
{
    int count = 0;
    if (poll(wishes, plan.rings, timeout_ms) > 0)
        for (uint32_t ring = 0; ring < plan.rings; ring++)
            if (wishes[ring].fd >= 0 && wishes[ring].revents)
                rings[count++] = ring;
    return count;
}

static void add_to_any(uint32_t ring)
{
    int code = any ? 0 : ring_any_open(&any);
    if (!code)
        code = ring_any_add(any, waiters[ring], (void *)(uintptr_t)ring);
    if (code == -ENOSPC) { /* not for want of trying: this kernel cannot */
        fprintf(stderr, "wake-storm: left out: %s\n", ring_error_detail());
        ring_segment_unlink(name);
        exit(77);
    }
    if (code)
        fail("ring_any");
}

static void remove_from_any(uint32_t ring)
{
    if (ring_any_remove(any, waiters[ring]))
        fail("ring_any");
}

static int ready_by_any(uint32_t *rings, int timeout_ms)
{
    static void *tags[RINGS_MOST];
    int count = ring_any_wait(any, tags, RINGS_MOST, timeout_ms * INT64_C(1000000));
    for (int i = 0; i < count; i++)
        rings[i] = (uint32_t)(uintptr_t)tags[i];
    return count < 0 ? 0 : count;
}

static const struct loop loops[] = {
    { "epoll", add_to_epoll, remove_from_epoll, ready_by_epoll, true },
    { "poll", add_to_poll, remove_from_poll, ready_by_poll, true },
    { "any", add_to_any, remove_from_any, ready_by_any, false },
};

/* ---- The receiver ---- */

static struct {
    uint64_t received, emptied, checks, blocked, silent, naps, lost;
    uint64_t open;
} tally;

/* Takes up to `most` messages of a ring. */
static void serve(uint32_t ring, uint64_t most)
{
    struct message message;
    ssize_t code = 0;
    while (waiters[ring] && most-- &&
           (code = ring_spsc_recv(&consumers[ring], &message, sizeof message, RING_NO_WAIT)) > 0) {
        if (message.ring != ring || message.number != received[ring]++)
            fail("a message is out of order");
        tally.received++;
    }
    tally.emptied += code == -EAGAIN;
    if (code >= 0 || code == -EAGAIN)
        return;
    if (code != -EPIPE || received[ring] != ring_atomic_load(&sent[ring], memory_order_acquire))
        fail("a ring ended before its time");
    plan.loop->remove(ring);
    waiters[ring] = NULL;
    ring_spsc_close_consumer(&consumers[ring]);
    tally.open--;
}

/* Are those readable that must be, by what had been sent before? */
static void check(const uint32_t *sent_before, const uint32_t *rings, int count)
{
    static bool readable[RINGS_MOST];
    memset(readable, 0, sizeof readable);
    for (int i = 0; i < count; i++)
        readable[rings[i]] = true;
    for (uint32_t ring = 0; ring < plan.rings; ring++)
        if (waiters[ring] && !readable[ring] && (int32_t)(sent_before[ring] - received[ring]) > 0) {
            if (!tally.lost++)
                fprintf(stderr, "wake-storm: ring %u: %u sent, %u received, not readable\n", ring, sent_before[ring],
                        received[ring]);
            serve(ring, UINT64_MAX);
        }
}

static void receive(void)
{
    static uint32_t sent_before[RINGS_MOST], rings[RINGS_MOST];
    uint64_t random = ~plan.seed;
    while (tally.open) {
        for (uint32_t ring = 0; ring < plan.rings; ring++)
            sent_before[ring] = ring_atomic_load(&sent[ring], memory_order_acquire);
        int count = plan.loop->ready(rings, 0);
        if (!count || plan.loop->complete) {
            check(sent_before, rings, count);
            tally.checks++;
        }
        if (!count) {
            count = plan.loop->ready(rings, PATIENCE_MS);
            tally.blocked++;
            tally.silent += !count;
        }
        uint64_t chance = random_of(&random);
        for (int i = 0; i < count && i < AT_ONCE; i++)
            serve(rings[((chance >> 40) + i) % count], chance % 4 ? UINT64_MAX : 3);
        if ((chance >> 8) % 128 == 0) {
            nap((chance >> 16) % 200000);
            tally.naps++;
        }
    }
}

static void open_rings(struct ring_segment **segment)
{
    struct ring_segment_options options = ring_segment_defaults();
    struct rlimit files;
    char ring[24];
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    options.bytes = plan.rings * 3 * RING_BYTES + (1 << 20);
    options.rings = (unsigned)plan.rings;
    snprintf(name, sizeof name, "/wake-storm-%d", (int)getpid());
    if (ring_segment_create(segment, name, &options))
        fail("no segment");
    for (uint32_t i = 0; i < plan.rings; i++) {
        snprintf(ring, sizeof ring, "ring%u", i);
        if (ring_spsc_create(*segment, ring, RING_BYTES) ||
            ring_spsc_open_consumer(&consumers[i], *segment, ring, RING_NO_WAIT))
            fail("no ring");
        waiters[i] = ring_spsc_consumer_waiter(&consumers[i]);
        plan.loop->add(i);
    }
    tally.open = plan.rings;
}

static bool storm(void)
{
    struct ring_segment *segment;
    struct timespec began, ended;
    bool good = true;
    open_rings(&segment);
    for (uint64_t i = 0; i < plan.senders; i++)
        if (fork() == 0)
            _exit(be_sender(i));
    clock_gettime(CLOCK_MONOTONIC, &began);
    receive();
    clock_gettime(CLOCK_MONOTONIC, &ended);
    for (int status; wait(&status) > 0;)
        good = good && status == 0;
    ring_any_close(&any);
    ring_segment_close(&segment);
    ring_segment_unlink(name);
    printf("%s, %llu rings, %llu senders, seed %llu: %llu messages received in order in %.1f s\n", plan.loop->name,
           (unsigned long long)plan.rings, (unsigned long long)plan.senders, (unsigned long long)plan.seed,
           (unsigned long long)tally.received,
           (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    printf("rings found empty %llu times; the loop slept %llu times, %llu of them for %d ms; the receiver paused %llu "
           "times\nall rings checked %llu times, wake-ups lost: %llu\n",
           (unsigned long long)tally.emptied, (unsigned long long)tally.blocked, (unsigned long long)tally.silent,
           PATIENCE_MS, (unsigned long long)tally.naps, (unsigned long long)tally.checks,
           (unsigned long long)tally.lost);
    return good && !tally.lost && tally.received == plan.messages;
}

static bool parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "loop", required_argument, NULL, 'l' },     { "rings", required_argument, NULL, 'r' },
        { "messages", required_argument, NULL, 'm' }, { "senders", required_argument, NULL, 's' },
        { "seed", required_argument, NULL, 'x' },     { "lose", required_argument, NULL, 'o' },
        { "help", no_argument, NULL, 'h' },           { NULL, 0, NULL, 0 },
    };
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *rest = NULL;
        uint64_t value = optarg ? strtoull(optarg, &rest, 10) : 0;
        if (key == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (key == 'l') {
            plan.loop = NULL;
            for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
                if (strcmp(optarg, loops[i].name) == 0)
                    plan.loop = &loops[i];
            if (!plan.loop)
                return false;
            continue;
        }
        if (key == '?' || !rest || *rest)
            return false;
        if (key == 'r')
            plan.rings = value;
        else if (key == 'm')
            plan.messages = value;
        else if (key == 's')
            plan.senders = value;
        else if (key == 'x')
            plan.seed = value;
        else
            plan.lose = value;
    }
    return optind == argc && plan.rings >= 1 && plan.rings <= RINGS_MOST && plan.senders >= 1 &&
           plan.senders <= SENDERS_MOST && plan.senders <= plan.rings && plan.messages < UINT32_MAX;
}

int main(int argc, char **argv)
{
    plan = (struct plan){ .loop = loops, .rings = 1000, .messages = 1000000, .senders = 2, .seed = 1 };
    if (!parse(argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    sent = mmap(NULL, RINGS_MOST * sizeof *sent, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sent == MAP_FAILED) {
        perror("wake-storm");
        return 1;
    }
    return storm() ? 0 : 1;
}
