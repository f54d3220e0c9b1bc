/* openers.c - how long it takes until all of many processes that come to one MPMC ring at once have their seats, and
 * how many are refused. */
#include <ring/ring.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] = "openers [--processes N]\n"
                            "N processes (default 1000, at most 4096) attach to a segment, then open an MPMC ring in "
                            "it at the same moment, every\n"
                            "other one as a producer; when all are through they close it. Tells how long that took.\n"
                            "Exit status: 0 all were let in, 1 one was refused, 2 wrong usage.\n";

static char name[64];
static int may_open[2], may_close[2]; /* each read ends when the last writer has closed */

static struct {
    RING_ATOMIC(unsigned) ready, opened, refused;
} * count;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    fprintf(stderr, "openers: %s: %s\n", what, ring_error_detail());
    ring_segment_unlink(name);
    return 1;
}

static int come_and_go(const struct ring_segment_options *options, bool producer)
{
    static struct ring_mpmc_producer sender;
    static struct ring_mpmc_consumer receiver;
    struct ring_segment *segment;
    char nothing;
    close(may_open[1]);
    close(may_close[1]);
    if (ring_segment_attach(&segment, name, options, RING_NO_WAIT) != 0)
        return fail("attaching");
    atomic_fetch_add(&count->ready, 1);
    bool told = read(may_open[0], &nothing, 1) == 0;
    int code = producer ? ring_mpmc_open_producer(&sender, segment, "queue", RING_NO_WAIT)
                        : ring_mpmc_open_consumer(&receiver, segment, "queue", RING_NO_WAIT);
    if (code && atomic_fetch_add(&count->refused, 1) == 0)
        fprintf(stderr, "openers: refused: %s\n", ring_error_detail());
    if (!code)
        atomic_fetch_add(&count->opened, 1);
    told = read(may_close[0], &nothing, 1) == 0 && told;
    if (!code)
        code = producer ? ring_mpmc_close_producer(&sender) : ring_mpmc_close_consumer(&receiver);
    ring_segment_close(&segment);
    return code || !told;
}

static void await(RING_ATOMIC(unsigned) * one, RING_ATOMIC(unsigned) * other, unsigned sum)
{
    while (atomic_load(one) + atomic_load(other) < sum)
        usleep(500);
}

static int run(unsigned processes)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    struct ring_segment_options wanted = ring_segment_defaults();
    struct ring_segment *segment;
    options.seats = processes;
    wanted.bytes = RING_SEGMENT_MIN_BYTES + ring_mpmc_footprint_with(&options);
    wanted.flags = 0;
    snprintf(name, sizeof name, "openers-%d", (int)getpid());
    if (ring_segment_create(&segment, name, &wanted) != 0 || ring_mpmc_create_with(segment, "queue", &options) != 0)
        return fail("creating");
    if (pipe(may_open) != 0 || pipe(may_close) != 0)
        return fail("pipes");
    for (unsigned i = 0; i < processes; i++) {
        pid_t child = fork();
        if (child < 0)
            return fail("a process too many");
        if (child == 0)
            _exit(come_and_go(&wanted, i % 2));
    }
    static RING_ATOMIC(unsigned) none;
    await(&count->ready, &none, processes);
    double start = now();
    close(may_open[1]);
    await(&count->opened, &count->refused, processes);
    double opened = now();
    close(may_close[1]);
    while (wait(NULL) > 0)
        continue;
    printf("%u processes: %u opened and %u were refused within %.3f s, closed within %.3f s\n", processes,
           atomic_load(&count->opened), atomic_load(&count->refused), opened - start, now() - opened);
    ring_segment_close(&segment);
    ring_segment_unlink(name);
    return atomic_load(&count->refused) != 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "processes", required_argument, NULL, 'p' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    long processes = 1000;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'h')
            return fputs(usage, stdout) < 0;
        processes = option == 'p' ? strtol(optarg, NULL, 10) : 0;
        if (processes < 1 || processes > RING_SEATS_MAX)
            return fputs(usage, stderr), 2;
    }
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return count == MAP_FAILED ? fail("memory") : run((unsigned)processes);
}
