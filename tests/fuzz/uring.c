/* uring.c - in place of io_uring, as far as doors use it (ring/wait_uring.c): waits on futexes, ticks and cancellations
 * that are answered when the queue is entered; and of the inotify thread that tells of departures.
 *
 * The queue's memory is that of a memfd, which the library maps as it would the kernel's. Waits answer when their word
 * is not what was seen any more, or somebody called; the eventfd is written then, as by IORING_SETUP_DEFER_TASKRUN.
 */
#include "fuzz.h"

#include <ring/wait_private.h>

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { QUEUES = 8, WAITS = 8, HEADER = 64, ENTRIES_AT = 0x10000000, OP_FUTEX_WAIT = 51, TASKRUN = 1 << 2 };

struct wait {
    const RING_ATOMIC(uint32_t) * word; /* NULL: a tick */
    uint32_t seen;
    bool called;
    uint64_t tag; /* 0: a free place */
};

static struct queue {
    int fd, eventfd;
    ino_t inode;
    unsigned char *rings; /* tails and heads, the array, the answers */
    struct io_uring_sqe *entries;
    uint32_t most;
    struct wait waits[WAITS];
} queues[QUEUES];

static RING_ATOMIC(uint32_t) * word_of(const struct queue *queue, unsigned number)
{
    return (RING_ATOMIC(uint32_t) *)(void *)queue->rings + number;
}

enum { SQ_HEAD, SQ_TAIL, SQ_FLAGS, CQ_HEAD, CQ_TAIL };

static size_t answers_at(uint32_t most)
{
    return HEADER + most * sizeof(uint32_t);
}

static size_t rings_bytes(uint32_t most)
{
    return answers_at(most) + 2 * most * sizeof(struct io_uring_cqe);
}

/* ---- Making and closing ---- */

static void forget(struct queue *queue)
{
    if (!queue->rings)
        return;
    munmap(queue->rings, rings_bytes(queue->most));
    munmap(queue->entries, queue->most * sizeof *queue->entries);
    *queue = (struct queue){ .fd = -1 };
}

/* The library closes it by close(), of which we are not told; its number may come again. */
static bool is_open(const struct queue *queue)
{
    struct stat now;
    return queue->rings && fstat(queue->fd, &now) == 0 && now.st_ino == queue->inode;
}

static struct queue *queue_of(int fd)
{
    unsigned i = 0;
    while (i < QUEUES && (queues[i].fd != fd || !is_open(&queues[i])))
        i++;
    FUZZ_DEMAND(i < QUEUES);
    return &queues[i];
}

static struct queue *new_queue(void)
{
    unsigned i = 0;
    while (i < QUEUES && is_open(&queues[i]))
        i++;
    FUZZ_DEMAND(i < QUEUES);
    forget(&queues[i]);
    return &queues[i];
}

void fuzz_uring_begin(void)
{
    for (unsigned i = 0; i < QUEUES; i++)
        forget(&queues[i]);
}

int fuzz_uring_set_up(unsigned entries, struct io_uring_params *params)
{
    int fd = memfd_create("uring", MFD_CLOEXEC);
    FUZZ_DEMAND(fd >= 0 && ftruncate(fd, ENTRIES_AT + (off_t)(entries * sizeof(struct io_uring_sqe))) == 0);
    struct stat made;
    FUZZ_DEMAND(fstat(fd, &made) == 0);
    struct queue *queue = new_queue();
    *queue = (struct queue){ .fd = fd, .eventfd = -1, .inode = made.st_ino, .most = entries };
    queue->rings = mmap(NULL, rings_bytes(entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    queue->entries = mmap(NULL, entries * sizeof *queue->entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, ENTRIES_AT);
    FUZZ_DEMAND(queue->rings != MAP_FAILED && (void *)queue->entries != MAP_FAILED);
    params->features = IORING_FEAT_SINGLE_MMAP;
    params->sq_entries = entries;
    params->cq_entries = 2 * entries;
    params->sq_off.head = SQ_HEAD * 4;
    params->sq_off.tail = SQ_TAIL * 4;
    params->sq_off.flags = SQ_FLAGS * 4;
    params->sq_off.array = HEADER;
    params->cq_off.head = CQ_HEAD * 4;
    params->cq_off.tail = CQ_TAIL * 4;
    params->cq_off.cqes = (uint32_t)answers_at(entries);
    return fd;
}

int fuzz_uring_register(int fd, unsigned what, void *argument)
{
    if (what == IORING_REGISTER_PROBE) {
        struct io_uring_probe *probe = argument;
        probe->last_op = OP_FUTEX_WAIT;
        probe->ops[OP_FUTEX_WAIT].flags = IO_URING_OP_SUPPORTED;
    } else {
        FUZZ_DEMAND(what == IORING_REGISTER_EVENTFD);
        queue_of(fd)->eventfd = *(int *)argument;
    }
    return 0;
}

/* ---- Waits and answers ---- */

static bool is_due(const struct wait *wait)
{
    return wait->tag && wait->word && (wait->called || *(const volatile uint32_t *)wait->word != wait->seen);
}

static void answer(struct queue *queue, uint64_t tag)
{
    uint32_t tail = atomic_load(word_of(queue, CQ_TAIL));
    struct io_uring_cqe *answers = (struct io_uring_cqe *)(void *)(queue->rings + answers_at(queue->most));
    FUZZ_DEMAND(tail - atomic_load(word_of(queue, CQ_HEAD)) < 2 * queue->most);
    answers[tail % (2 * queue->most)].user_data = tag;
    atomic_store(word_of(queue, CQ_TAIL), tail + 1);
}

static void tell(struct queue *queue)
{
    atomic_fetch_or(word_of(queue, SQ_FLAGS), TASKRUN);
    if (queue->eventfd >= 0 && write(queue->eventfd, &(uint64_t){ 1 }, 8) < 0)
        return;
}

/* FUTEX_WAKE on that word. */
void fuzz_uring_call(const void *word)
{
    for (unsigned i = 0; i < QUEUES; i++)
        for (unsigned at = 0; at < WAITS; at++)
            if (queues[i].waits[at].tag && is_open(&queues[i]) && (const void *)queues[i].waits[at].word == word) {
                queues[i].waits[at].called = true;
                tell(&queues[i]);
            }
}

static struct wait *wait_of(struct queue *queue, uint64_t tag)
{
    unsigned at = 0;
    while (at < WAITS && queue->waits[at].tag != tag)
        at++;
    return at < WAITS ? &queue->waits[at] : NULL;
}

static void take(struct queue *queue, const struct io_uring_sqe *entry)
{
    if (entry->opcode == IORING_OP_ASYNC_CANCEL) {
        struct wait *wait = wait_of(queue, entry->addr);
        if (wait) {
            answer(queue, wait->tag);
            wait->tag = 0;
        }
        answer(queue, entry->user_data);
        return;
    }
    struct wait *place = wait_of(queue, 0);
    FUZZ_DEMAND(place && entry->user_data && (entry->opcode == OP_FUTEX_WAIT || entry->opcode == IORING_OP_TIMEOUT));
    *place = (struct wait){ .seen = (uint32_t)entry->off, .tag = entry->user_data };
    if (entry->opcode == OP_FUTEX_WAIT)
        place->word = (const RING_ATOMIC(uint32_t) *)(uintptr_t)entry->addr;
}

/* Takes what was submitted, answers what is due. How many were taken; -ETIME: it waited in vain. */
int fuzz_uring_enter(int fd, unsigned count, unsigned wanted)
{
    struct queue *queue = queue_of(fd);
    uint32_t head = atomic_load(word_of(queue, SQ_HEAD));
    FUZZ_DEMAND(atomic_load(word_of(queue, SQ_TAIL)) - head == count && count <= queue->most);
    const uint32_t *array = (const uint32_t *)(const void *)(queue->rings + HEADER);
    for (unsigned i = 0; i < count; i++) {
        FUZZ_DEMAND(array[(head + i) % queue->most] < queue->most);
        take(queue, &queue->entries[array[(head + i) % queue->most]]);
    }
    atomic_store(word_of(queue, SQ_HEAD), head + count);
    atomic_store(word_of(queue, SQ_FLAGS), 0);
    for (unsigned at = 0; at < WAITS; at++)
        if (is_due(&queue->waits[at])) {
            answer(queue, queue->waits[at].tag);
            queue->waits[at].tag = 0;
        }
    bool any = atomic_load(word_of(queue, CQ_HEAD)) != atomic_load(word_of(queue, CQ_TAIL));
    return wanted && !any ? -ETIME : (int)count;
}

/* ---- Departures ---- */

static struct ring_watch watch;
static RING_ATOMIC(uint32_t) all_departures;

struct ring_watch *__wrap_ring_watch_open(const struct ring_witness *witness);
void __wrap_ring_watch_close(struct ring_watch *closed);
RING_ATOMIC(uint32_t) * __wrap_ring_watch_all(void);

struct ring_watch *__wrap_ring_watch_open(const struct ring_witness *witness)
{
    (void)witness;
    return fuzz_byte() % 4 ? &watch : NULL;
}

void __wrap_ring_watch_close(struct ring_watch *closed)
{
    FUZZ_DEMAND(!closed || closed == &watch);
}

RING_ATOMIC(uint32_t) * __wrap_ring_watch_all(void)
{
    return &all_departures;
}

void fuzz_depart(void)
{
    atomic_fetch_add(&watch.departures, 1);
    fuzz_uring_call(&watch.departures);
    atomic_fetch_add(&all_departures, 1);
    fuzz_uring_call(&all_departures);
}
