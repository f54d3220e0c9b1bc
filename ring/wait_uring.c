/* wait_uring.c - level 5: as much of io_uring as a door needs: waits on futexes that answer by a queue, not by waking a
 * thread that sits in them.
 *
 * IORING_OP_FUTEX_WAIT (Linux 6.7) is a FUTEX_WAIT that is submitted: the kernel compares the word and puts the request
 * into the queue of that futex, beside sleeping threads, and the waker's FUTEX_WAKE completes it. So the other side of
 * a ring needs to know nothing of descriptors, and may be in another namespace, of another user, or dead.
 *
 * IORING_SETUP_DEFER_TASKRUN: an answer is noted at once, in the waker's context, which signals the eventfd or wakes
 * who waits in ring_uring_enter(); it appears in the queue when the owner calls next. Without that flag the kernel
 * would interrupt the owner, whose epoll_wait() would return EINTR. Its price: a queue belongs to one thread.
 */
#include <ring/wait_private.h>

#include <errno.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than some kernel headers we are compiled with; from the kernel's interface, which does not change. */
enum {
    OP_FUTEX_WAIT = 51,
    FUTEX_OF_32_BITS = 2, /* FUTEX2_SIZE_U32, and not FUTEX2_PRIVATE */
    TIMEOUT_AGAIN_AND_AGAIN = 1 << 6,
    SETUP_SINGLE_ISSUER = 1 << 12,
    SETUP_DEFER_TASKRUN = 1 << 13,
    SQ_TASKRUN = 1 << 2,
    PROBED = 64,
};

static bool knows_futexes(int fd)
{
    union {
        struct io_uring_probe probe;
        unsigned char bytes[sizeof(struct io_uring_probe) + PROBED * sizeof(struct io_uring_probe_op)];
    } answer;
    memset(&answer, 0, sizeof answer);
    return syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, &answer.probe, PROBED) == 0 &&
           answer.probe.last_op >= OP_FUTEX_WAIT && (answer.probe.ops[OP_FUTEX_WAIT].flags & IO_URING_OP_SUPPORTED);
}

static void *map(int fd, size_t bytes, off_t what)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
    return at == MAP_FAILED ? NULL : at;
}

static RING_ATOMIC(uint32_t) * word_at(const struct ring_uring *uring, uint32_t offset)
{
    return (RING_ATOMIC(uint32_t) *)(void *)(uring->rings + offset);
}

static int map_queues(struct ring_uring *uring, const struct io_uring_params *params)
{
    size_t sq = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    size_t cq = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    uring->rings_bytes = sq > cq ? sq : cq;
    uring->entries_bytes = params->sq_entries * sizeof(struct io_uring_sqe);
    uring->rings = map(uring->fd, uring->rings_bytes, IORING_OFF_SQ_RING);
    uring->entries = map(uring->fd, uring->entries_bytes, (off_t)IORING_OFF_SQES);
    if (!uring->rings || !uring->entries)
        return -ENOMEM;
    uring->most = params->sq_entries;
    uring->sq_mask = params->sq_entries - 1;
    uring->cq_mask = params->cq_entries - 1;
    uring->sq_tail = word_at(uring, params->sq_off.tail);
    uring->sq_flags = word_at(uring, params->sq_off.flags);
    uring->cq_head = word_at(uring, params->cq_off.head);
    uring->cq_tail = word_at(uring, params->cq_off.tail);
    uring->sq_array = (uint32_t *)(void *)(uring->rings + params->sq_off.array);
    uring->answers = (struct io_uring_cqe *)(void *)(uring->rings + params->cq_off.cqes);
    return 0;
}

int ring_uring_open(struct ring_uring *uring, unsigned entries, int eventfd)
{
    struct io_uring_params params = { .flags = SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG };
    *uring = (struct ring_uring){ .fd = (int)syscall(SYS_io_uring_setup, entries, &params), .process = ring_process() };
    if (uring->fd < 0)
        return -errno;
    int code = 0;
    if (!(params.features & IORING_FEAT_SINGLE_MMAP) || !knows_futexes(uring->fd))
        code = -EOPNOTSUPP;
    if (!code)
        code = map_queues(uring, &params);
    if (!code && eventfd >= 0 && syscall(SYS_io_uring_register, uring->fd, IORING_REGISTER_EVENTFD, &eventfd, 1) != 0)
        code = -errno;
    if (code)
        ring_uring_close(uring);
    return code;
}

void ring_uring_close(struct ring_uring *uring)
{
    if (uring->fd < 0)
        return;
    if (uring->rings)
        munmap(uring->rings, uring->rings_bytes);
    if (uring->entries)
        munmap(uring->entries, uring->entries_bytes);
    if (uring->process == ring_process() || ring_process_has(uring->fd, "[io_uring]"))
        close(uring->fd); /* and what was under way is taken back */
    *uring = (struct ring_uring){ .fd = -1 };
}

/* A free entry, or NULL. */
static struct io_uring_sqe *new_entry(struct ring_uring *uring)
{
    if (uring->queued == uring->most && ring_uring_enter(uring, 0) != 0)
        return NULL;
    if (uring->queued == uring->most)
        return NULL;
    /* U0: relaxed: only we write it. */
    uint32_t at = (ring_atomic_load(uring->sq_tail, memory_order_relaxed) + uring->queued) & uring->sq_mask;
    uring->sq_array[at] = at;
    uring->queued++;
    memset(&uring->entries[at], 0, sizeof uring->entries[at]);
    return &uring->entries[at];
}

bool ring_uring_wait_for_word(struct ring_uring *uring, RING_ATOMIC(uint32_t) * word, uint32_t seen, uint64_t tag)
{
    struct io_uring_sqe *entry = new_entry(uring);
    if (!entry)
        return false;
    entry->opcode = OP_FUTEX_WAIT;
    entry->fd = FUTEX_OF_32_BITS;
    entry->addr = (uintptr_t)word;
    entry->off = seen;
    /* The mask: any waker. The field is addr3, which older headers do not have by that name. */
    uint64_t mask = UINT32_MAX;
    memcpy((unsigned char *)entry + 48, &mask, sizeof mask);
    entry->user_data = tag;
    return true;
}

bool ring_uring_tick(struct ring_uring *uring, int64_t period_ns, uint64_t tag)
{
    struct io_uring_sqe *entry = new_entry(uring);
    if (!entry)
        return false;
    static _Thread_local struct __kernel_timespec period; /* read when it is submitted */
    period = (struct __kernel_timespec){ period_ns / 1000000000, period_ns % 1000000000 };
    entry->opcode = IORING_OP_TIMEOUT;
    entry->fd = -1;
    entry->addr = (uintptr_t)&period;
    entry->len = 1;
    entry->timeout_flags = TIMEOUT_AGAIN_AND_AGAIN;
    entry->user_data = tag;
    return true;
}

bool ring_uring_cancel(struct ring_uring *uring, uint64_t tag)
{
    struct io_uring_sqe *entry = new_entry(uring);
    if (!entry)
        return false;
    entry->opcode = IORING_OP_ASYNC_CANCEL;
    entry->fd = -1;
    entry->addr = tag;
    entry->user_data = UINT64_MAX;
    return true;
}

int ring_uring_enter(struct ring_uring *uring, int64_t wait_ns)
{
    if (uring->fd < 0)
        return -EBADF;
    struct __kernel_timespec limit = { wait_ns / 1000000000, wait_ns % 1000000000 };
    struct io_uring_getevents_arg argument = { .sigmask_sz = _NSIG / 8, .ts = (uintptr_t)&limit };
    unsigned flags = IORING_ENTER_GETEVENTS | (wait_ns > 0 ? IORING_ENTER_EXT_ARG : 0);
    /* U1: release: the entries come before. */
    uint32_t tail = ring_atomic_load(uring->sq_tail, memory_order_relaxed);
    ring_atomic_store(uring->sq_tail, tail + uring->queued, memory_order_release);
    long taken = syscall(SYS_io_uring_enter, uring->fd, uring->queued, wait_ns > 0, flags,
                         wait_ns > 0 ? (void *)&argument : NULL, wait_ns > 0 ? sizeof argument : 0);
    int code = taken < 0 ? -errno : 0;
    if (code == -ETIME || code == -EINTR || !code) {
        unsigned left = code || (unsigned)taken >= uring->queued ? 0 : uring->queued - (unsigned)taken;
        if (left) /* they wait where they are: the next call shows them again, and not what lies behind them */
            ring_atomic_store(uring->sq_tail, tail + uring->queued - left, memory_order_relaxed); /* U0 */
        uring->queued = left;
        return 0;
    }
    ring_atomic_store(uring->sq_tail, tail, memory_order_relaxed); /* U0: none was taken */
    return code;
}

bool ring_uring_has_news(const struct ring_uring *uring)
{
    if (uring->fd < 0)
        return false;
    /* U2: acquire, pairs with the kernel's release: the answers before the tail are written. */
    return ring_atomic_load(uring->cq_head, memory_order_relaxed) !=
               ring_atomic_load(uring->cq_tail, memory_order_acquire) ||
           (ring_atomic_load(uring->sq_flags, memory_order_relaxed) & (SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

uint64_t ring_uring_next(struct ring_uring *uring)
{
    if (uring->fd < 0)
        return 0;
    uint32_t head = ring_atomic_load(uring->cq_head, memory_order_relaxed); /* U0 */
    if (head == ring_atomic_load(uring->cq_tail, memory_order_acquire))     /* U2 */
        return 0;
    uint64_t tag = uring->answers[head & uring->cq_mask].user_data;
    ring_atomic_store(uring->cq_head, head + 1, memory_order_release); /* U3: the answer was read */
    return tag;
}
