/* dead_sleepers.c - many consumers fall asleep and are killed; then messages are sent. What do the dead cost? Flags
 * that say "somebody sleeps" are cleared by the first who sees them, and sleepers are not counted, so it must be next
 * to nothing: one or two futex calls for each bell, whoever slept there. Calls of the library are counted by the
 * linker's
 * --wrap; 'strace -fc' counts the same. */
#include <ring/ring.h>

#include <getopt.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "counted.h"

enum { SLEEPERS_MOST = 4000, ENOUGH = 10, FUTEX_WAITV = 449 };

static const char usage[] =
    "dead-sleepers [--kind broadcast|mpmc|spsc] [--sleepers N] [--messages N]\n"
    "So many processes sleep in a receive and are killed; then so many messages are sent and futex calls counted.\n"
    "  --kind KIND    one broadcast ring or one MPMC ring for all, or an SPSC ring for each; default broadcast\n"
    "  --sleepers N   1 .. 4000, default 1000\n"
    "  --messages N   in all, default 1000000\n"
    "Exit status: 0 fewer than 10 futex calls (spsc: one for each ring at most), 1 more, 2 wrong usage.\n";

enum kind { BROADCAST, MPMC, SPSC, KINDS };

static const char *const kinds[KINDS] = { "broadcast", "mpmc", "spsc" };
static enum kind kind = BROADCAST;
static unsigned sleepers = 1000;
static uint64_t messages = 1000000;
static char name[64];
static RING_ATOMIC(uint32_t) * ready; /* how many have opened their end */

static void fail(const char *what)
{
    fprintf(stderr, "dead-sleepers: %s: %s\n", what, ring_error_detail());
    ring_segment_unlink(name);
    exit(1);
}

static bool is_counted(long number)
{
    return number == SYS_futex;
}

/* ---- Rings ---- */

static const char *ring_of(unsigned index, char text[24])
{
    snprintf(text, 24, "ring%u", kind == SPSC ? index : 0);
    return text;
}

static unsigned ring_count(void)
{
    return kind == SPSC ? sleepers : 1;
}

/* Room for all messages of a ring, each of 8 bytes: nobody is there to take them. */
static size_t ring_bytes(void)
{
    return (messages / ring_count() + 2) * 16;
}

static struct ring_broadcast_options broadcast_options(void)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slot_bytes = 8;
    options.seats = sleepers;
    return options;
}

static struct ring_mpmc_options mpmc_options(void)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = messages + 1;
    options.slot_bytes = 8;
    options.seats = sleepers + 1;
    return options;
}

static struct ring_segment *make_rings(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_broadcast_options broadcast = broadcast_options();
    struct ring_mpmc_options mpmc = mpmc_options();
    struct ring_segment *segment;
    char ring[24];
    options.flags = 0; /* no huge pages, which each process would have to gather */
    options.rings = ring_count();
    options.bytes = (1 << 21) + (kind == BROADCAST ? ring_broadcast_footprint_with(&broadcast)
                                 : kind == MPMC    ? ring_mpmc_footprint_with(&mpmc)
                                                   : ring_count() * (4 * ring_bytes() + 8192));
    snprintf(name, sizeof name, "/dead-sleepers-%d", (int)getpid());
    if (ring_segment_create(&segment, name, &options))
        fail("no segment");
    for (unsigned i = 0; i < ring_count(); i++)
        if (kind == BROADCAST ? ring_broadcast_create_with(segment, ring_of(i, ring), &broadcast)
            : kind == MPMC    ? ring_mpmc_create_with(segment, ring_of(i, ring), &mpmc)
                              : ring_spsc_create(segment, ring_of(i, ring), ring_bytes()))
            fail("no ring");
    return segment;
}

/* ---- Sleepers ---- */

static void sleep_for_ever(unsigned index)
{
    struct ring_segment *segment;
    struct ring_broadcast_consumer news;
    struct ring_mpmc_consumer job;
    struct ring_spsc_consumer word;
    uint64_t message;
    char ring[24];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ring_segment_attach(&segment, name, NULL, RING_FOREVER) ||
        (kind == BROADCAST ? ring_broadcast_open_consumer(&news, segment, ring_of(index, ring), RING_BROADCAST_NEWEST,
                                                          0, RING_FOREVER)
         : kind == MPMC    ? ring_mpmc_open_consumer(&job, segment, ring_of(index, ring), RING_FOREVER)
                           : ring_spsc_open_consumer(&word, segment, ring_of(index, ring), RING_FOREVER)))
        fail("a sleeper cannot open its end");
    ring_waiter_set_policy(kind == BROADCAST ? ring_broadcast_consumer_waiter(&news)
                           : kind == MPMC    ? ring_mpmc_consumer_waiter(&job)
                                             : ring_spsc_consumer_waiter(&word),
                           RING_WAIT_SLEEP);
    atomic_fetch_add_explicit(ready, 1, memory_order_relaxed);
    if (kind == BROADCAST)
        ring_broadcast_recv(&news, &message, sizeof message, RING_FOREVER);
    else if (kind == MPMC)
        ring_mpmc_recv(&job, &message, sizeof message, RING_FOREVER);
    else
        ring_spsc_recv(&word, &message, sizeof message, RING_FOREVER);
    _exit(1); /* woken, though nobody sends while it lives */
}

/* Is it in a futex call just now? As the kernel says. */
static bool is_asleep(pid_t process)
{
    char path[40], text[16] = "";
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)process);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool read = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    long call = read && text[0] >= '0' && text[0] <= '9' ? strtol(text, NULL, 10) : -1;
    return call == SYS_futex || call == FUTEX_WAITV;
}

/* One after the other, since the seats of a ring are taken one at a time. */
static void start_sleepers(pid_t *processes)
{
    struct timespec pause = { 0, 50000 };
    int status;
    for (unsigned i = 0; i < sleepers; i++) {
        if ((processes[i] = fork()) == 0)
            sleep_for_ever(i);
        while (ring_atomic_load(ready, memory_order_relaxed) == i) {
            if (processes[i] < 0 || waitpid(processes[i], &status, WNOHANG) != 0)
                fail("one does not start");
            nanosleep(&pause, NULL);
        }
    }
}

/* Each is seen asleep, then all are killed. */
static void kill_sleepers(const pid_t *processes)
{
    struct timespec pause = { 0, 2000000 };
    int status;
    for (unsigned i = 0; i < sleepers; i++)
        for (int tries = 0; !is_asleep(processes[i]); tries++) {
            if (tries == 5000 || waitpid(processes[i], &status, WNOHANG) != 0)
                fail("one does not fall asleep");
            nanosleep(&pause, NULL);
        }
    for (unsigned i = 0; i < sleepers; i++)
        kill(processes[i], SIGKILL);
    for (unsigned i = 0; i < sleepers; i++)
        if (waitpid(processes[i], &status, 0) != processes[i] || !WIFSIGNALED(status))
            fail("one was awake");
}

/* ---- The sender ---- */

static void send_all(struct ring_segment *segment)
{
    char ring[24];
    for (unsigned i = 0; i < ring_count(); i++) {
        struct ring_broadcast_producer news;
        struct ring_mpmc_producer job;
        struct ring_spsc_producer word;
        int code = kind == BROADCAST ? ring_broadcast_open_producer(&news, segment, ring_of(i, ring), RING_NO_WAIT)
                   : kind == MPMC    ? ring_mpmc_open_producer(&job, segment, ring_of(i, ring), RING_NO_WAIT)
                                     : ring_spsc_open_producer(&word, segment, ring_of(i, ring), RING_NO_WAIT);
        for (uint64_t number = 0; !code && number < messages / ring_count(); number++)
            code = kind == BROADCAST ? ring_broadcast_send(&news, &number, sizeof number, RING_NO_WAIT)
                   : kind == MPMC    ? ring_mpmc_send(&job, &number, sizeof number, RING_NO_WAIT)
                                     : ring_spsc_send(&word, &number, sizeof number, RING_NO_WAIT);
        uint64_t calls = counted;
        if (code || (kind == BROADCAST ? ring_broadcast_close_producer(&news)
                     : kind == MPMC    ? ring_mpmc_close_producer(&job)
                                       : ring_spsc_close_producer(&word)))
            fail("cannot send, or close");
        counted = calls; /* a close calls as well, to tell of it */
    }
}

static bool parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "kind", required_argument, NULL, 'k' },
        { "sleepers", required_argument, NULL, 's' },
        { "messages", required_argument, NULL, 'm' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *rest = optarg;
        if (key == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (key == 'k') {
            for (kind = 0; kind < KINDS && strcmp(optarg, kinds[kind]) != 0;)
                kind++;
            rest += strlen(optarg);
        } else if (key == 's') {
            sleepers = (unsigned)strtoul(optarg, &rest, 10);
        } else if (key == 'm') {
            messages = strtoull(optarg, &rest, 10);
        }
        if (key == '?' || *rest)
            return false;
    }
    return optind == argc && kind < KINDS && sleepers >= 1 && sleepers <= SLEEPERS_MOST && messages <= 10000000;
}

int main(int argc, char **argv)
{
    static pid_t processes[SLEEPERS_MOST];
    if (!parse(argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    ready = mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ready == MAP_FAILED) {
        perror("dead-sleepers");
        return 1;
    }
    struct ring_segment *segment = make_rings();
    start_sleepers(processes);
    kill_sleepers(processes);
    counted = 0;
    send_all(segment);
    uint64_t calls = counted;
    ring_segment_close(&segment);
    ring_segment_unlink(name);
    printf("%s: %u sleepers killed, %llu messages sent: %llu futex calls\n", kinds[kind], sleepers,
           (unsigned long long)messages, (unsigned long long)calls);
    return calls >= 1 && (kind == SPSC ? calls <= ring_count() : calls < ENOUGH) ? 0 : 1;
}
