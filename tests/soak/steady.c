/* steady.c - a sender and a receiver, both busy, by the default policy. Each says when it was so: process, first and
 * last moment, how often the library called futex or membarrier meanwhile (by the linker's --wrap: strace would make
 * the other side wait at each, and so call as well), and how often the kernel took its core away: then to sleep is
 * right. tests/soak/steady-calls has strace tell of all system calls between those moments, which are only noted, so
 * need no call. */
#include <ring/ring.h>

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "counted.h"

enum { WARM_UP = 1000000 };

static const char usage[] =
    "steady [--kind spsc|mpmc|broadcast] [--messages N]\n"
    "Sends N messages (default 10000000) of 8 bytes to another process, after a million to warm "
    "up; both sides say when they were busy.\n"
    "Exit status: 0 all arrived in order, 1 something is wrong, 2 wrong usage.\n";

enum kind { SPSC, MPMC, BROADCAST, KINDS };

static const char *const kinds[KINDS] = { "spsc", "mpmc", "broadcast" };
static enum kind kind = SPSC;
static uint64_t messages = 10000000;
static char name[64];
static long cores_lost;                /* before */
static RING_ATOMIC(bool) * open_there; /* the receiver has opened its end */

static int fail(const char *what)
{
    fprintf(stderr, "steady: %s: %s\n", what, ring_error_detail());
    ring_segment_unlink(name);
    return 1;
}

static bool is_counted(long number)
{
    return number == SYS_futex || number == SYS_membarrier;
}

/* CLOCK_REALTIME, as strace has it. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static long times_core_was_lost(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) == 0 ? used.ru_nivcsw : 0;
}

static double start(void)
{
    counted = 0;
    cores_lost = times_core_was_lost();
    return now();
}

static int say(double begin)
{
    double end = now();
    printf("%d %.6f %.6f %llu %ld\n", (int)getpid(), begin, end, (unsigned long long)counted,
           times_core_was_lost() - cores_lost);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* A core of one's own, if there are two. */
static void move_to_core(int which)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &allowed) && which-- == 0) {
            CPU_SET(core, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
}

static int receive(void)
{
    struct ring_segment *segment;
    struct ring_spsc_consumer word;
    struct ring_mpmc_consumer job;
    struct ring_broadcast_consumer news;
    double begin = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    move_to_core(1);
    if (ring_segment_attach(&segment, name, NULL, RING_FOREVER) ||
        (kind == SPSC   ? ring_spsc_open_consumer(&word, segment, "ring", RING_FOREVER)
         : kind == MPMC ? ring_mpmc_open_consumer(&job, segment, "ring", RING_FOREVER)
                        : ring_broadcast_open_consumer(&news, segment, "ring", RING_BROADCAST_AT, 0, RING_FOREVER)))
        return fail("cannot open the receiver");
    ring_atomic_store(open_there, true, memory_order_release);
    for (uint64_t number = 0; number < WARM_UP + messages; number++) {
        uint64_t message = 0;
        if (number == WARM_UP)
            begin = start();
        if ((kind == SPSC   ? ring_spsc_recv(&word, &message, sizeof message, RING_FOREVER)
             : kind == MPMC ? ring_mpmc_recv(&job, &message, sizeof message, RING_FOREVER)
                            : ring_broadcast_recv(&news, &message, sizeof message, RING_FOREVER)) != sizeof message ||
            message != number)
            return fail("a message is missing");
    }
    return say(begin);
}

static int send_all(struct ring_segment *segment)
{
    struct ring_spsc_producer word;
    struct ring_mpmc_producer job;
    struct ring_broadcast_producer news;
    double begin = 0;
    move_to_core(0);
    if (kind == SPSC   ? ring_spsc_open_producer(&word, segment, "ring", RING_FOREVER)
        : kind == MPMC ? ring_mpmc_open_producer(&job, segment, "ring", RING_FOREVER)
                       : ring_broadcast_open_producer(&news, segment, "ring", RING_FOREVER))
        return fail("cannot open the sender");
    while (!ring_atomic_load(open_there, memory_order_acquire))
        if (waitpid(-1, NULL, WNOHANG) != 0)
            return fail("no receiver");
    for (uint64_t number = 0; number < WARM_UP + messages; number++) {
        if (number == WARM_UP)
            begin = start();
        if (kind == SPSC   ? ring_spsc_send(&word, &number, sizeof number, RING_FOREVER)
            : kind == MPMC ? ring_mpmc_send(&job, &number, sizeof number, RING_FOREVER)
                           : ring_broadcast_send(&news, &number, sizeof number, RING_FOREVER))
            return fail("cannot send");
    }
    int code = say(begin);
    return (kind == SPSC   ? ring_spsc_close_producer(&word)
            : kind == MPMC ? ring_mpmc_close_producer(&job)
                           : ring_broadcast_close_producer(&news))
               ? fail("cannot close")
               : code;
}

static bool parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "kind", required_argument, NULL, 'k' },
        { "messages", required_argument, NULL, 'm' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *rest = NULL;
        if (key == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (key == 'k')
            for (kind = 0; kind < KINDS && strcmp(optarg, kinds[kind]) != 0;)
                kind++;
        else if (key == 'm')
            messages = strtoull(optarg, &rest, 10);
        if (key == '?' || (rest && *rest))
            return false;
    }
    return optind == argc && kind < KINDS;
}

int main(int argc, char **argv)
{
    struct ring_segment *segment;
    int status = 1;
    if (!parse(argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    snprintf(name, sizeof name, "/steady-%d", (int)getpid());
    if (ring_segment_create(&segment, name, NULL) ||
        (kind == SPSC   ? ring_spsc_create(segment, "ring", RING_SPSC_DEFAULT_BYTES)
         : kind == MPMC ? ring_mpmc_create(segment, "ring", 16384, 8)
                        : ring_broadcast_create(segment, "ring", 16384, 8, RING_BROADCAST_LOSSLESS)))
        return fail("no ring");
    open_there = mmap(NULL, sizeof *open_there, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t receiver = open_there == MAP_FAILED ? -1 : fork();
    if (receiver == 0)
        _exit(receive());
    int code = receiver < 0 ? fail("no process") : send_all(segment);
    if (receiver > 0 && waitpid(receiver, &status, 0) != receiver)
        status = 1;
    ring_segment_close(&segment);
    ring_segment_unlink(name);
    return code || status;
}
