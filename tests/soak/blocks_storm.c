/* blocks_storm.c - a storm over a pool of blocks and a heap: processes allocate, free, pass blocks to each other
 * through a ring, and are killed and stopped every few milliseconds. An account of each block, in memory of its own,
 * tells who has it: nobody may get a block that another has. After each round all are gone and every block must be
 * there.
 *
 * The account of a block is the number of the life (a process from its start to its death) that has it, or 0. Whoever
 * gets a block exchanges it for his own; what he finds there must be 0, or a life that was to be killed. */
#include <ring/ring.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ACTORS = 2, BLOCKS = 512, LARGE = 16, TOTAL = BLOCKS + LARGE, HELD = 48, PIECES = 24, LIVES = 1 << 20 };
enum { ROUND_KILLS = 200, HEAP_BYTES = 256 << 10 };

#define MILLISECOND 1000000

static const char usage[] =
    "blocks-storm [--pairs N] [--seed S] [--quiet]\n"
    "Two processes at a time allocate and free blocks, pass them to each other, and are killed every few "
    "milliseconds;\n"
    "every block is accounted for.\n"
    "  --pairs N  until so many pairs of allocate and free were done, default 1000000\n"
    "  --seed S   of what happens when, as far as that can be repeated; default: from the clock\n"
    "  --quiet    nothing is printed while it runs\n"
    "Exit status: 0 no block was lost and none handed out twice, 1 something is wrong, 2 wrong usage.\n";

struct ledger {
    RING_ATOMIC(uint32_t) failed;
    char said[400];
    RING_ALIGNED(RING_LINE_PAIR) RING_ATOMIC(uint32_t) owner[TOTAL + 1]; /* by the number in the handle */
    RING_ATOMIC(uint8_t) doomed[LIVES];
    struct {
        RING_ALIGNED(RING_LINE_PAIR) RING_ATOMIC(uint64_t) pairs;
        RING_ATOMIC(uint64_t) sent, received, pieces;
    } of[ACTORS];
};

static struct ledger *ledger;
static char name[64];
static pid_t supervisor;

static uint64_t random_of(uint64_t *state)
{
    uint64_t value = *state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (ring_atomic_exchange(&ledger->failed, 1, memory_order_acq_rel) == 0)
        vsnprintf(ledger->said, sizeof ledger->said, format, arguments);
    va_end(arguments);
    if (getpid() == supervisor) {
        fprintf(stderr, "blocks-storm: %s\n", ledger->said);
        ring_segment_unlink(name);
    }
    _exit(1);
}

static void must(int64_t code, const char *what)
{
    if (code < 0)
        fail("%s: %s (%s)", what, strerror((int)-code), ring_error_detail());
}

/* ---- The account ---- */

static RING_ATOMIC(uint32_t) * account_of(uint64_t handle)
{
    uint64_t number = handle & RING_BLOCK_NUMBER;
    if (number < 1 || number > TOTAL)
        fail("handle %#llx has no number of a block", (unsigned long long)handle);
    return &ledger->owner[number];
}

static void book_in(uint64_t handle, uint32_t life)
{
    uint32_t before = ring_atomic_exchange(account_of(handle), life, memory_order_acq_rel);
    if (before && before != life && !ring_atomic_load(&ledger->doomed[before], memory_order_acquire))
        fail("block %llu was handed to life %u while life %u had it", (unsigned long long)(handle & RING_BLOCK_NUMBER),
             life, before);
    if (before == life)
        fail("block %llu was handed to life %u twice", (unsigned long long)(handle & RING_BLOCK_NUMBER), life);
}

static void book_out(uint64_t handle, uint32_t life)
{
    uint32_t before = ring_atomic_exchange(account_of(handle), 0, memory_order_acq_rel);
    if (before != life)
        fail("block %llu of life %u was in the account of life %u", (unsigned long long)(handle & RING_BLOCK_NUMBER),
             life, before);
}

/* ---- An actor ---- */

struct actor {
    struct ring_segment *segment;
    struct ring_blocks blocks;
    struct ring_heap heap;
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    uint64_t handles[HELD], pieces[PIECES];
    uint64_t *places[HELD];
    uint32_t life;
    unsigned at;
};

static void drop(struct actor *actor, unsigned i)
{
    if (*actor->places[i] != actor->handles[i])
        fail("the contents of a block that life %u had were changed by another", actor->life);
    book_out(actor->handles[i], actor->life);
    must(ring_block_free(&actor->blocks, actor->handles[i]), "free");
    actor->handles[i] = 0;
    atomic_fetch_add_explicit(&ledger->of[actor->at].pairs, 1, memory_order_relaxed);
}

static void take(struct actor *actor, unsigned i, size_t bytes)
{
    void *address;
    int code = ring_block_allocate(&actor->blocks, bytes, &actor->handles[i], &address);
    if (code == -ENOSPC) {
        actor->handles[i] = 0;
        return;
    }
    must(code, "allocate");
    book_in(actor->handles[i], actor->life);
    actor->places[i] = address;
    *actor->places[i] = actor->handles[i];
}

static void send_one(struct actor *actor, unsigned i)
{
    uint64_t handle = actor->handles[i];
    actor->handles[i] = 0;
    book_out(handle, actor->life);
    must(ring_block_pass(&actor->blocks, handle), "pass");
    int code = ring_mpmc_send(&actor->producer, &handle, sizeof handle, RING_NO_WAIT);
    if (code == 0) {
        atomic_fetch_add_explicit(&ledger->of[actor->at].sent, 1, memory_order_relaxed);
        return;
    }
    must(ring_block_accept(&actor->blocks, handle, NULL, NULL), "taking back"); /* full */
    book_in(handle, actor->life);
    actor->handles[i] = handle;
}

static void receive_one(struct actor *actor, unsigned i)
{
    struct ring_message message;
    void *address;
    if (ring_mpmc_peek(&actor->consumer, &message, RING_NO_WAIT))
        return;
    uint64_t handle;
    memcpy(&handle, message.data, sizeof handle);
    int code = ring_block_accept(&actor->blocks, handle, &address, NULL);
    if (code == -ESTALE && (message.flags & RING_REDELIVERED)) {
        must(ring_mpmc_release(&actor->consumer, 1), "release"); /* who died had it, and it was freed */
        return;
    }
    if (code == -EPERM && (message.flags & RING_REDELIVERED))
        return; /* who had it is about to end, one proof of life after the other: the message stays, and is peeked again */
    must(code, "accept");
    book_in(handle, actor->life);
    must(ring_mpmc_release(&actor->consumer, 1), "release");
    actor->handles[i] = handle;
    actor->places[i] = address;
    atomic_fetch_add_explicit(&ledger->of[actor->at].received, 1, memory_order_relaxed);
}

static void use_heap(struct actor *actor, uint64_t chance)
{
    unsigned i = (unsigned)(chance % PIECES);
    uint64_t *piece = ring_heap_address(&actor->heap, actor->pieces[i]);
    if (actor->pieces[i]) {
        if (!piece || *piece != actor->pieces[i])
            fail("a piece of the heap that life %u had was changed by another", actor->life);
        must(ring_heap_free(&actor->heap, actor->pieces[i], RING_FOREVER), "heap free");
        actor->pieces[i] = 0;
        atomic_fetch_add_explicit(&ledger->of[actor->at].pieces, 1, memory_order_relaxed);
        return;
    }
    int code = ring_heap_allocate(&actor->heap, 8 + chance / PIECES % 5000, &actor->pieces[i], RING_FOREVER);
    if (code == -ENOSPC) {
        actor->pieces[i] = 0;
        return;
    }
    must(code, "heap allocate");
    *(uint64_t *)ring_heap_address(&actor->heap, actor->pieces[i]) = actor->pieces[i];
}

static void act(unsigned at, uint32_t life, uint64_t seed)
{
    static struct actor actor;
    struct ring_segment_options options = ring_segment_defaults();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor)
        _exit(1);
    actor.at = at;
    actor.life = life;
    options.flags = 0;
    must(ring_segment_attach(&actor.segment, name, &options, RING_NO_WAIT), "attach");
    must(ring_blocks_open(&actor.blocks, actor.segment, "pool", RING_NO_WAIT), "open blocks");
    must(ring_heap_open(&actor.heap, actor.segment, "heap", RING_FOREVER), "open heap");
    must(ring_mpmc_open_producer(&actor.producer, actor.segment, "queue", RING_NO_WAIT), "open producer");
    must(ring_mpmc_open_consumer(&actor.consumer, actor.segment, "queue", RING_NO_WAIT), "open consumer");
    for (;;) {
        uint64_t chance = random_of(&seed);
        unsigned i = (unsigned)(chance >> 32) % HELD, what = chance % 64;
        if (what == 0)
            use_heap(&actor, chance >> 8);
        else if (actor.handles[i] && what < 8)
            send_one(&actor, i);
        else if (actor.handles[i])
            drop(&actor, i);
        else if (what < 8)
            receive_one(&actor, i);
        else
            take(&actor, i, what < 12 ? 3000 : 64);
    }
}

/* ---- The supervisor ---- */

static struct {
    pid_t pid;
    uint32_t life;
    bool stopped;
} cast[ACTORS];
static uint32_t lives;
static uint64_t kills, stops, stale, stranded;

static void start(unsigned at, uint64_t seed)
{
    if (lives + 1 == LIVES)
        fail("more than %d lives: start again with another seed", LIVES);
    cast[at].life = ++lives;
    cast[at].stopped = false;
    cast[at].pid = fork();
    if (cast[at].pid == 0)
        act(at, cast[at].life, seed);
    if (cast[at].pid < 0)
        fail("fork: %s", strerror(errno));
}

static void end(unsigned at)
{
    int status;
    ring_atomic_store(&ledger->doomed[cast[at].life], 1, memory_order_release);
    kill(cast[at].pid, SIGKILL);
    waitpid(cast[at].pid, &status, 0);
    kills++;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail("%s", ledger->failed ? ledger->said : "an actor ended by itself");
}

/* All are gone: every block is there, and the heap is whole and empty. */
static void settle(struct ring_segment *segment)
{
    static struct ring_blocks blocks;
    static struct ring_mpmc_consumer consumer;
    static struct ring_heap heap;
    struct ring_blocks_info info = { .struct_size = sizeof info };
    uint64_t handle, freed = 0;
    must(ring_segment_recover(segment, NULL), "recover");
    must(ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT), "open blocks");
    must(ring_mpmc_open_consumer(&consumer, segment, "queue", RING_NO_WAIT), "open consumer");
    while (ring_mpmc_recv(&consumer, &handle, sizeof handle, MILLISECOND) >= 0) {
        int code = ring_block_free(&blocks, handle);
        if (code == -ESTALE && ring_mpmc_last_flags(&consumer) == RING_REDELIVERED)
            stale++;
        else
            must(code, "freeing what was sent");
    }
    must(ring_segment_recover_stranded(segment, "pool", &freed), "recover stranded");
    stranded += freed;
    must(ring_blocks_close(&blocks), "close");
    must(ring_mpmc_close_consumer(&consumer), "close");
    must(ring_blocks_info(segment, "pool", &info), "info");
    if (info.classes[0].free != BLOCKS || info.classes[1].free != LARGE)
        fail("%llu of %d and %llu of %d blocks are free: some were lost", (unsigned long long)info.classes[0].free,
             BLOCKS, (unsigned long long)info.classes[1].free, LARGE);
    must(ring_heap_open(&heap, segment, "heap", RING_NO_WAIT), "open heap");
    must(ring_heap_recover(&heap, NULL, RING_NO_WAIT), "recover heap");
    must(ring_heap_check(&heap, RING_NO_WAIT), "check heap");
    must(ring_heap_allocate(&heap, HEAP_BYTES, &handle, RING_NO_WAIT), "the whole heap in one piece");
    must(ring_heap_close(&heap), "close heap");
    for (unsigned number = 1; number <= TOTAL; number++)
        ring_atomic_store(&ledger->owner[number], 0, memory_order_relaxed);
}

/* All can be had, each once: found by the bits, not only counted by the words. */
static void take_all(struct ring_segment *segment)
{
    static struct ring_blocks blocks;
    uint64_t handle;
    void *address;
    unsigned count = 0;
    must(ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT), "open blocks");
    while (ring_block_allocate(&blocks, 64, &handle, &address) == 0) {
        book_in(handle, 1);
        count++;
    }
    if (count != BLOCKS)
        fail("%u of %d blocks can be had", count, BLOCKS);
    must(ring_blocks_close(&blocks), "close");
    for (unsigned number = 1; number <= TOTAL; number++)
        ring_atomic_store(&ledger->owner[number], 0, memory_order_relaxed);
}

static void nap(uint64_t nanoseconds)
{
    struct timespec time = { .tv_sec = 0, .tv_nsec = (long)nanoseconds };
    nanosleep(&time, NULL);
}

static void disturb(uint64_t *seed)
{
    unsigned at = (unsigned)(random_of(seed) % ACTORS);
    uint64_t what = random_of(seed) % 16;
    if (cast[at].stopped || what == 0) {
        kill(cast[at].pid, cast[at].stopped ? SIGCONT : SIGSTOP);
        stops += !cast[at].stopped;
        cast[at].stopped = !cast[at].stopped;
    } else if (what == 1) { /* all at once */
        for (unsigned i = 0; i < ACTORS; i++)
            end(i);
        for (unsigned i = 0; i < ACTORS; i++)
            start(i, random_of(seed));
    } else {
        end(at);
        start(at, random_of(seed));
    }
}

static uint64_t sum_pairs(void)
{
    uint64_t pairs = 0;
    for (unsigned i = 0; i < ACTORS; i++)
        pairs += ring_atomic_load(&ledger->of[i].pairs, memory_order_relaxed);
    return pairs;
}

static struct ring_segment *make(void)
{
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_blocks_options pool = ring_blocks_defaults(64, BLOCKS);
    pool.class_count = 2;
    pool.classes[1] = (struct ring_blocks_class){ 3000, LARGE };
    options.flags = 0;
    options.bytes = RING_SEGMENT_MIN_BYTES + ring_blocks_footprint_with(&pool) + ring_mpmc_footprint(64, 8) +
                    ring_heap_footprint(HEAP_BYTES);
    supervisor = getpid();
    snprintf(name, sizeof name, "/shmring-blocks-storm-%d", (int)supervisor);
    must(ring_segment_create(&segment, name, &options), "create");
    must(ring_blocks_create_with(segment, "pool", &pool), "create pool");
    must(ring_mpmc_create(segment, "queue", 64, 8), "create queue");
    must(ring_heap_create(segment, "heap", HEAP_BYTES), "create heap");
    return segment;
}

static void storm(uint64_t wanted, uint64_t seed, bool quiet)
{
    struct ring_segment *segment = make();
    uint64_t first = seed, rounds = 0;
    while (sum_pairs() < wanted) {
        for (unsigned i = 0; i < ACTORS; i++)
            start(i, random_of(&seed));
        for (int times = 0; times < ROUND_KILLS && sum_pairs() < wanted; times++) {
            nap(MILLISECOND + random_of(&seed) % (8 * MILLISECOND));
            disturb(&seed);
        }
        for (unsigned i = 0; i < ACTORS; i++)
            end(i);
        settle(segment);
        take_all(segment);
        rounds++;
        if (!quiet)
            fprintf(stderr, "%llu pairs, %llu killed\n", (unsigned long long)sum_pairs(), (unsigned long long)kills);
    }
    must(ring_segment_unlink(name), "unlink");
    uint64_t sent = ledger->of[0].sent + ledger->of[1].sent, received = ledger->of[0].received + ledger->of[1].received;
    printf(
        "blocks: seed %llu: %llu pairs of allocate and free by two processes at once, %llu blocks sent, %llu "
        "received,\n"
        "    %llu pieces of the heap; %llu killed, %llu stopped; %llu rounds, after each of them all %d blocks were\n"
        "    there, %llu of them found in transit for nobody, %llu messages redelivered whose block was done with;\n"
        "    none lost, none handed out twice\n",
        (unsigned long long)first, (unsigned long long)sum_pairs(), (unsigned long long)sent,
        (unsigned long long)received, (unsigned long long)(ledger->of[0].pieces + ledger->of[1].pieces),
        (unsigned long long)kills, (unsigned long long)stops, (unsigned long long)rounds, TOTAL,
        (unsigned long long)stranded, (unsigned long long)stale);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "pairs", required_argument, NULL, 'p' },
        { "seed", required_argument, NULL, 'r' },
        { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t pairs = 1000000, seed = (uint64_t)time(NULL);
    bool quiet = false;
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *rest = NULL;
        if (key == 'p')
            pairs = strtoull(optarg, &rest, 10);
        else if (key == 'r')
            seed = strtoull(optarg, &rest, 10);
        quiet = quiet || key == 'q';
        if (key == 'h' || key == '?' || (rest && *rest)) {
            fputs(usage, key == 'h' ? stdout : stderr);
            return key == 'h' ? 0 : 2;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ledger == MAP_FAILED) {
        perror("blocks-storm");
        return 1;
    }
    storm(pairs, seed, quiet);
    return 0;
}
