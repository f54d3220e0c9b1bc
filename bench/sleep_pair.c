/* sleep_pair.c - the two processes of ring-bench wake and idle: this one, and one that receives, and answers if asked
 * to, until it is told to stop. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ring/platform.h>

#include "clock.h"
#include "sleep.h"

#define STOP UINT64_MAX

/* Lies in shared memory; the words of the accounts are read after the process that wrote them has been waited for. */
struct shared {
    struct sleep_account account;
    RING_ATOMIC(int) ends; /* relaxed: a word sent after it follows through the contestant's own order */
};

static struct shared *shared;
static sigset_t before; /* the signals that were blocked before a pair was being started */

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    sched_setaffinity(0, sizeof set, &set); /* refused: unpinned */
}

void sleep_usage(double *cpu_s, long *wakes)
{
    struct rusage usage;
    struct timespec used; /* finer than getrusage's */
    getrusage(RUSAGE_SELF, &usage);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    *cpu_s = (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    *wakes = usage.ru_nvcsw;
}

void sleep_until(uint64_t ns)
{
    struct timespec until = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

/* Does not return. */
static void serve(const struct sleep_way *way, int cpu, bool answers)
{
    double began, ended;
    long first, last;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    pin(cpu);
    int code = way->join(1);
    uint64_t word = 0;
    bool eventfd = strcmp(way->name, "eventfd") == 0; /* carries no word, so no STOP either */
    if (!code)
        code = way->put(1, 0); /* I am here */
    sleep_usage(&began, &first);
    while (!code && word != STOP) {
        code = way->get(1, &word);
        if (!code && answers && word != STOP)
            code = way->put(1, word);
        if (!code && eventfd && ring_atomic_load(&shared->ends, memory_order_relaxed))
            break;
    }
    sleep_usage(&ended, &last);
    shared->account = (struct sleep_account){ ended - began, last - first };
    way->leave(1);
    _exit(code ? 1 : 0);
}

static int join(struct sleep_pair *pair, const struct sleep_options *options, bool answers)
{
    uint64_t word;
    int code = pair->way->begin();
    if (code)
        return code;
    pair->child = fork();
    if (pair->child == 0)
        serve(pair->way, options->cpus[1], answers);
    pin(options->cpus[0]);
    code = pair->child < 0 ? -errno : pair->way->join(0);
    if (!code)
        code = pair->way->get(0, &word);
    pair->way->hide();
    return code;
}

int sleep_pair_start(struct sleep_pair *pair, const struct sleep_way *way, const struct sleep_options *options,
                     bool answers)
{
    sigset_t ends;
    *pair = (struct sleep_pair){ way, NULL, -1 };
    if (!shared) {
        void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return -errno;
        shared = memory;
    }
    memset(shared, 0, sizeof *shared);
    pair->account = &shared->account;
    sigemptyset(&ends); /* not while a segment has a name that nobody would remove */
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, &before);
    int code = join(pair, options, answers);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return code;
}

int sleep_pair_finish(struct sleep_pair *pair, int code)
{
    int status = 0;
    if (pair->child > 0) {
        ring_atomic_store(&shared->ends, 1, memory_order_relaxed);
        if (code || pair->way->put(0, STOP) != 0)
            kill(pair->child, SIGKILL);
        waitpid(pair->child, &status, 0);
    }
    pair->way->leave(0);
    pair->way->end();
    return code ? code : status ? -EIO : 0;
}
