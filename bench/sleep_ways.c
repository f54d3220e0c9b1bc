/* sleep_ways.c - words between two processes that sleep: a bare futex, shmring in all its ways of waiting, the
 * kernel's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ring/ring.h>

#include "sleep.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ---- A bare futex: the least that a sleep can cost ---- */

static struct {
    RING_ATOMIC(uint32_t) full[2][32]; /* 1: a word is there; each on lines of its own */
    uint64_t word[2][16];
} * bare;

static int bare_begin(void)
{
    bare = mmap(NULL, sizeof *bare, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return bare == MAP_FAILED ? -errno : 0;
}

static int nothing(int side)
{
    (void)side;
    return 0;
}

static void nothing_to_leave(int side)
{
    (void)side;
}

static void nothing_to_do(void)
{
}

static int bare_put(int side, uint64_t word)
{
    bare->word[side][0] = word;
    atomic_store_explicit(&bare->full[side][0], 1, memory_order_release);
    syscall(SYS_futex, &bare->full[side][0], FUTEX_WAKE, 1, NULL, NULL, 0);
    return 0;
}

static int bare_get_within(int side, uint64_t *word, const struct timespec *limit)
{
    RING_ATOMIC(uint32_t) *full = &bare->full[!side][0];
    while (atomic_load_explicit(full, memory_order_acquire) == 0)
        syscall(SYS_futex, full, FUTEX_WAIT, 0, limit, NULL, 0);
    *word = bare->word[!side][0];
    atomic_store_explicit(full, 0, memory_order_relaxed);
    return 0;
}

static int bare_get(int side, uint64_t *word)
{
    return bare_get_within(side, word, NULL);
}

/* As shmring sleeps, so that a death is noticed: the kernel sets a timer, and takes it back. */
static int bounded_get(int side, uint64_t *word)
{
    static const struct timespec limit = { 0, 50000000 };
    return bare_get_within(side, word, &limit);
}

static void bare_end(void)
{
    munmap(bare, sizeof *bare);
}

/* ---- shmring ---- */

static char segment_name[64];
static struct ring_segment *segment;
static struct ring_spsc_producer producer;
static struct ring_spsc_consumer consumer;
static int poller = -1;
static struct ring_any *any;
static const char *const ring_names[2] = { "there", "back" };

static int ours_begin(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = 1 << 20;
    snprintf(segment_name, sizeof segment_name, "ring-bench-sleep.%d", (int)getpid());
    ring_segment_unlink(segment_name);
    int code = ring_segment_create(&segment, segment_name, &options);
    for (int i = 0; i < 2 && !code; i++)
        code = ring_spsc_create(segment, ring_names[i], 65536);
    if (segment)
        ring_segment_close(&segment); /* each process attaches for itself */
    return code;
}

static int ours_join_as(int side, enum ring_wait_policy policy)
{
    struct ring_segment_options options = ring_segment_defaults();
    int code = ring_segment_attach(&segment, segment_name, &options, 0);
    if (!code)
        code = ring_spsc_open_producer(&producer, segment, ring_names[side], 0);
    if (!code)
        code = ring_spsc_open_consumer(&consumer, segment, ring_names[!side], 0);
    if (!code)
        ring_waiter_set_policy(ring_spsc_consumer_waiter(&consumer), policy);
    return code;
}

static int ours_join_sleeping(int side)
{
    return ours_join_as(side, RING_WAIT_SLEEP);
}

static int ours_join_adaptive(int side)
{
    return ours_join_as(side, RING_WAIT_ADAPTIVE);
}

static int ours_put(int side, uint64_t word)
{
    (void)side;
    return ring_spsc_send(&producer, &word, sizeof word, RING_FOREVER);
}

static int ours_get(int side, uint64_t *word)
{
    (void)side;
    ssize_t length;
    do /* the peer may not have come yet */
        length = ring_spsc_recv(&consumer, word, sizeof *word, RING_FOREVER);
    while (length == -ETIMEDOUT);
    return length < 0 ? (int)length : 0;
}

static void ours_leave(int side)
{
    (void)side;
    ring_any_close(&any);
    if (poller >= 0)
        close(poller);
    poller = -1;
    ring_spsc_close_producer(&producer);
    ring_spsc_close_consumer(&consumer);
    ring_segment_close(&segment);
}

static void ours_hide(void)
{
    ring_segment_unlink(segment_name);
}

static int epoll_join(int side)
{
    struct epoll_event event = { .events = EPOLLIN };
    int code = ours_join_adaptive(side);
    int descriptor = code ? code : ring_waiter_fd(ring_spsc_consumer_waiter(&consumer));
    if (descriptor < 0)
        return descriptor;
    poller = epoll_create1(EPOLL_CLOEXEC);
    return poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) != 0 ? -errno : 0;
}

static int epoll_get(int side, uint64_t *word)
{
    (void)side;
    for (;;) {
        ssize_t length = ring_spsc_recv(&consumer, word, sizeof *word, RING_NO_WAIT);
        if (length != -EAGAIN)
            return length < 0 ? (int)length : 0;
        struct epoll_event event;
        if (epoll_wait(poller, &event, 1, -1) < 0 && errno != EINTR)
            return -errno;
    }
}

static int any_join(int side)
{
    int code = ours_join_adaptive(side);
    if (!code)
        code = ring_any_open(&any);
    return code ? code : ring_any_add(any, ring_spsc_consumer_waiter(&consumer), &consumer);
}

static int any_get(int side, uint64_t *word)
{
    (void)side;
    for (;;) {
        ssize_t length = ring_spsc_recv(&consumer, word, sizeof *word, RING_NO_WAIT);
        if (length != -EAGAIN)
            return length < 0 ? (int)length : 0;
        void *ready;
        int code = ring_any_wait(any, &ready, 1, RING_FOREVER);
        if (code < 0)
            return code;
    }
}

/* ---- The kernel's: descriptors [channel][0: read, 1: write] ---- */

static int descriptors[2][2];

static int transfer(ssize_t moved)
{
    return moved == (ssize_t)sizeof(uint64_t) ? 0 : moved < 0 ? -errno : -EPIPE;
}

static int kernel_put(int side, uint64_t word)
{
    return transfer(write(descriptors[side][1], &word, sizeof word));
}

static int kernel_get(int side, uint64_t *word)
{
    return transfer(read(descriptors[!side][0], word, sizeof *word));
}

static void kernel_end(void)
{
    for (int i = 0; i < 2; i++) {
        close(descriptors[i][0]);
        if (descriptors[i][1] != descriptors[i][0])
            close(descriptors[i][1]);
    }
}

static int pipe_begin(void)
{
    return pipe2(descriptors[0], O_CLOEXEC) != 0 || pipe2(descriptors[1], O_CLOEXEC) != 0 ? -errno : 0;
}

static int socket_begin(void)
{
    for (int i = 0; i < 2; i++)
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, descriptors[i]) != 0)
            return -errno;
    return 0;
}

static int eventfd_begin(void)
{
    for (int i = 0; i < 2; i++)
        if ((descriptors[i][0] = descriptors[i][1] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)) < 0)
            return -errno;
    return 0;
}

/* An eventfd carries no word, only that there is one; the word would lie in shared memory. */
static int eventfd_put(int side, uint64_t word)
{
    (void)word;
    return kernel_put(side, 1);
}

static mqd_t queues[2];

static int queue_begin(void)
{
    struct mq_attr attributes = { .mq_maxmsg = 8, .mq_msgsize = sizeof(uint64_t) };
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "/ring-bench-sleep.%d.%d", (int)getpid(), i);
        queues[i] = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
        if (queues[i] == (mqd_t)-1)
            return -errno;
        mq_unlink(name);
    }
    return 0;
}

static int queue_put(int side, uint64_t word)
{
    return mq_send(queues[side], (const char *)&word, sizeof word, 0) == 0 ? 0 : -errno;
}

static int queue_get(int side, uint64_t *word)
{
    return transfer(mq_receive(queues[!side], (char *)word, sizeof *word, NULL));
}

static void queue_end(void)
{
    mq_close(queues[0]);
    mq_close(queues[1]);
}

const struct sleep_way sleep_ways[] = {
    { "futex", "a word in shared memory, FUTEX_WAIT and FUTEX_WAKE: the floor", bare_begin, nothing, nothing_to_do,
      bare_put, bare_get, nothing_to_leave, bare_end },
    { "futex-50ms", "the same, each sleep with a time limit of 50 ms", bare_begin, nothing, nothing_to_do, bare_put,
      bounded_get, nothing_to_leave, bare_end },
    { "shmring-sleep", "SPSC, RING_WAIT_SLEEP", ours_begin, ours_join_sleeping, ours_hide, ours_put, ours_get,
      ours_leave, nothing_to_do },
    { "shmring", "SPSC, RING_WAIT_ADAPTIVE", ours_begin, ours_join_adaptive, ours_hide, ours_put, ours_get, ours_leave,
      nothing_to_do },
    { "shmring-epoll", "SPSC, its descriptor in epoll", ours_begin, epoll_join, ours_hide, ours_put, epoll_get,
      ours_leave, nothing_to_do },
    { "shmring-any", "SPSC, in a ring_any", ours_begin, any_join, ours_hide, ours_put, any_get, ours_leave,
      nothing_to_do },
    { "eventfd", "blocking reads", eventfd_begin, nothing, nothing_to_do, eventfd_put, kernel_get, nothing_to_leave,
      kernel_end },
    { "pipe", "blocking reads", pipe_begin, nothing, nothing_to_do, kernel_put, kernel_get, nothing_to_leave,
      kernel_end },
    { "socket", "UNIX, SOCK_SEQPACKET, blocking reads", socket_begin, nothing, nothing_to_do, kernel_put, kernel_get,
      nothing_to_leave, kernel_end },
    { "posix-mq", "mq_receive", queue_begin, nothing, nothing_to_do, queue_put, queue_get, nothing_to_leave,
      queue_end },
};

const size_t sleep_way_count = COUNT_OF(sleep_ways);
