/* blocks_move.c - frames from one process to another: as blocks whose handles go through a ring, copied through a ring,
 * copied through a pipe.
 *
 * Each contestant does what its users do: a block is filled and read where it lies; what is copied is filled in a
 * buffer of the sender's own and read in one of the receiver's. Three variants, the same for all: full     every byte
 * is written by the sender and read by the receiver touched  frames were filled beforehand; one line of each page is
 * written and read handle   frames were filled beforehand; only a number at the begin is written and read, and checked
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ring/ring.h>

#include "blocks.h"
#include "clock.h"

enum { WAY_BLOCK, WAY_OWN, WAY_RING, WAY_PIPE, FRAMES = 16, PAGE = 4096, HUGE_PAGE = 2 << 20 };

const struct move_contestant move_contestants[] = {
    [WAY_BLOCK] = { "shmring blocks", "block filled in place, handle through an SPSC ring" },
    [WAY_OWN] = { "shmring blocks, own", "the same; the sender may write only what it owns, the receiver nothing" },
    [WAY_RING] = { "shmring spsc", "send and recv, copying in and out" },
    [WAY_PIPE] = { "pipe", "write and read, pipe of 1 MiB" },
};
const size_t move_count = sizeof move_contestants / sizeof move_contestants[0];

/* Shared by the two processes. */
struct result {
    RING_ATOMIC(uint32_t) ready;
    uint64_t frames;
    uint64_t nanoseconds;
    int code;
};

struct job {
    size_t way;
    enum move_variant variant;
    size_t bytes;
    double seconds;
    char name[64];
    int files[2];
    struct result *result;
    struct ring_segment_options options;
};

static bool by_block(const struct job *job)
{
    return job->way <= WAY_OWN;
}

#define LAST UINT64_MAX /* the number of a frame behind which none comes */

/* ---- What is done to a frame ---- */

static void write_frame(const struct job *job, uint64_t *frame, uint64_t number)
{
    if (job->variant == MOVE_FULL && number != LAST)
        for (size_t i = 1; i < job->bytes / 8; i++)
            frame[i] = number + i;
    if (job->variant == MOVE_TOUCHED)
        for (size_t at = PAGE / 8; at < job->bytes / 8; at += PAGE / 8)
            frame[at] = number;
    frame[0] = number;
}

/* False: not what was written. */
static bool read_frame(const struct job *job, const uint64_t *frame, uint64_t number)
{
    uint64_t sum = 0, wrong = 0;
    if (job->variant == MOVE_FULL) {
        for (size_t i = 1; i < job->bytes / 8; i++)
            sum += frame[i] - i;
        wrong = sum - number * (job->bytes / 8 - 1);
    }
    if (job->variant == MOVE_TOUCHED)
        for (size_t at = PAGE / 8; at < job->bytes / 8; at += PAGE / 8)
            wrong |= frame[at] ^ number;
    return wrong == 0 && frame[0] == number;
}

/* ---- Ends ---- */

struct end {
    struct ring_segment *segment;
    struct ring_blocks blocks;
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    uint64_t *buffer; /* of those who copy */
};

static int open_end(const struct job *job, struct end *end, bool sender)
{
    int code = 0;
    end->buffer = aligned_alloc(PAGE, job->bytes);
    if (!end->buffer)
        return -ENOMEM;
    memset(end->buffer, 1, job->bytes);
    if (job->way == WAY_PIPE)
        return 0;
    enum ring_blocks_rights rights = job->way == WAY_BLOCK ? RING_BLOCKS_WRITE_ALL
                                     : sender              ? RING_BLOCKS_WRITE_OWN
                                                           : RING_BLOCKS_READ;
    code = ring_segment_attach(&end->segment, job->name, &job->options, RING_NO_WAIT);
    if (!code && by_block(job))
        code = ring_blocks_open_with(&end->blocks, end->segment, "frames", rights, RING_NO_WAIT);
    if (!code)
        code = sender ? ring_spsc_open_producer(&end->producer, end->segment, "ring", RING_NO_WAIT)
                      : ring_spsc_open_consumer(&end->consumer, end->segment, "ring", RING_NO_WAIT);
    return code;
}

static int move_all(int file, unsigned char *bytes, size_t count, bool out)
{
    while (count) {
        ssize_t moved = out ? write(file, bytes, count) : read(file, bytes, count);
        if (moved <= 0 && errno != EINTR)
            return moved ? -errno : -EPIPE;
        bytes += moved > 0 ? moved : 0;
        count -= moved > 0 ? (size_t)moved : 0;
    }
    return 0;
}

static int send_frame(const struct job *job, struct end *end, uint64_t number)
{
    if (by_block(job)) {
        uint64_t handle;
        void *address;
        int code;
        while ((code = ring_block_allocate(&end->blocks, job->bytes, &handle, &address)) == -ENOSPC)
            ring_cpu_relax();
        if (code)
            return code;
        write_frame(job, address, number);
        code = ring_block_pass(&end->blocks, handle);
        return code ? code : ring_spsc_send(&end->producer, &handle, sizeof handle, RING_FOREVER);
    }
    write_frame(job, end->buffer, number);
    if (job->way == WAY_RING)
        return ring_spsc_send(&end->producer, end->buffer, job->bytes, RING_FOREVER);
    return move_all(job->files[1], (unsigned char *)end->buffer, job->bytes, true);
}

/* 0, 1: the last one, or -errno. */
static int recv_frame(const struct job *job, struct end *end, uint64_t number)
{
    const uint64_t *frame = end->buffer;
    uint64_t handle = 0;
    void *address;
    ssize_t code = 0;
    if (by_block(job)) {
        code = ring_spsc_recv(&end->consumer, &handle, sizeof handle, RING_FOREVER);
        if (code >= 0)
            code = ring_block_accept(&end->blocks, handle, &address, NULL);
        if (code < 0)
            return (int)code;
        frame = address;
    } else if (job->way == WAY_RING) {
        code = ring_spsc_recv(&end->consumer, end->buffer, job->bytes, RING_FOREVER);
    } else {
        code = move_all(job->files[0], (unsigned char *)end->buffer, job->bytes, false);
    }
    if (code < 0)
        return (int)code;
    bool last = frame[0] == LAST;
    bool right = last || read_frame(job, frame, number);
    if (by_block(job))
        code = ring_block_free(&end->blocks, handle);
    return code < 0 ? (int)code : !right ? -EILSEQ : last;
}

/* ---- The two processes ---- */

static int send_all(const struct job *job, struct end *end)
{
    while (ring_atomic_load(&job->result->ready, memory_order_acquire) == 0)
        ring_cpu_relax();
    uint64_t until = bench_clock_ns() + (uint64_t)(job->seconds * 1e9), number = 0;
    int code = 0;
    for (; !code && (number % 16 || bench_clock_ns() < until); number++)
        code = send_frame(job, end, number);
    return code ? code : send_frame(job, end, LAST);
}

static int recv_all(const struct job *job, struct end *end)
{
    int code = 0;
    uint64_t frames = 0;
    ring_atomic_store(&job->result->ready, 1, memory_order_release);
    uint64_t began = bench_clock_ns();
    while ((code = recv_frame(job, end, frames)) == 0)
        frames++;
    job->result->nanoseconds = bench_clock_ns() - began;
    job->result->frames = frames;
    return code == 1 ? 0 : code;
}

static pid_t start(const struct job *job, bool sender, int cpu)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    cpu_set_t set;
    static struct end end;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
    int code = getppid() == parent ? open_end(job, &end, sender) : -ECHILD;
    if (!code)
        code = sender ? send_all(job, &end) : recv_all(job, &end);
    if (code) {
        fprintf(stderr, "ring-bench: %s, %s: %s (%s)\n", move_contestants[job->way].name,
                sender ? "sender" : "receiver", strerror(-code), ring_error_detail());
        _exit(1);
    }
    _exit(0);
}

/* Both shall end well; when one does not, the other is ended. */
static int wait_for(pid_t sender, pid_t receiver)
{
    int code = sender < 0 || receiver < 0 ? -EAGAIN : 0;
    for (int left = (sender > 0) + (receiver > 0); left; left--) {
        int status;
        pid_t ended = wait(&status);
        if (ended < 0)
            return -errno;
        if (status && !code) {
            code = -EIO;
            kill(ended == sender ? receiver : sender, SIGKILL);
        }
    }
    return code;
}

static int make_segment(struct job *job, struct ring_segment **segment)
{
    struct ring_blocks_options frames = ring_blocks_defaults(job->bytes, FRAMES);
    size_t ring = by_block(job) ? 4096 : 8 * job->bytes;
    job->options = ring_segment_defaults();
    frames.seats = 2;
    if (job->way == WAY_OWN && job->bytes >= HUGE_PAGE / 2)
        frames.align = HUGE_PAGE; /* rights go by pages: large frames have pages of 2 MiB to themselves, */
    else if (job->way == WAY_OWN)
        job->options.flags &= ~(unsigned)RING_HUGE; /* small ones have ordinary pages */
    job->options.bytes = RING_SEGMENT_MIN_BYTES + ring_spsc_footprint(ring) + ring_blocks_footprint_with(&frames);
    blocks_name(job->name, sizeof job->name, "move");
    ring_segment_unlink(job->name);
    int code = ring_segment_create(segment, job->name, &job->options);
    if (!code)
        code = ring_spsc_create(*segment, "ring", ring);
    if (!code && by_block(job))
        code = ring_blocks_create_with(*segment, "frames", &frames);
    return code;
}

int move_run(size_t contestant, enum move_variant variant, size_t bytes, double seconds, const int cpus[2],
             double *rate)
{
    struct job job = { .way = contestant, .variant = variant, .bytes = bytes, .seconds = seconds, .files = { -1, -1 } };
    struct ring_segment *segment = NULL;
    job.result = mmap(NULL, sizeof *job.result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (job.result == MAP_FAILED)
        return -errno;
    int code = 0;
    if (contestant != WAY_PIPE)
        code = make_segment(&job, &segment);
    else if (pipe2(job.files, O_CLOEXEC) == 0)
        (void)fcntl(job.files[1], F_SETPIPE_SZ, 1 << 20);
    else
        code = -errno;
    if (!code) {
        pid_t receiver = start(&job, false, cpus[1]);
        code = wait_for(start(&job, true, cpus[0]), receiver);
    }
    if (!code)
        *rate = (double)job.result->frames * 1e9 / (double)job.result->nanoseconds;
    if (segment) {
        ring_segment_close(&segment);
        ring_segment_unlink(job.name);
    }
    for (int i = 0; i < 2; i++)
        if (job.files[i] >= 0)
            close(job.files[i]);
    munmap(job.result, sizeof *job.result);
    return code;
}
