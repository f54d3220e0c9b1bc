/* interleave.c - runs the library's real code under seeded interleavings of logical threads; see schedule.h.
 *
 * A scenario times a seed is one run, the same each time. Runs are made in a child, so that a crash is told with its
 * seed as well. */
#include "scenario.h"

#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { SEEDS = 4000, SELF_TEST_SEEDS = 60000 };

static const char usage[] =
    "interleave [--seeds N] [--from N] [--only SCENARIO] - N seeds of each scenario (default 4000; of sleepers N / 8)\n"
    "interleave --only SCENARIO --seed N                 - one of them again, with a trace of its steps\n"
    "interleave --self-test [--seeds N]                  - orders and proofs left out on purpose: each must be "
    "noticed\n"
    "                                                      within N seeds (default 60000)\n"
    "interleave --list                                   - the scenarios\n"
    "A run is the library's real code in up to six logical threads, on a small ring; the seed decides which goes on "
    "at\n"
    "each access to shared memory, which of the stores that wait reach it, and who dies where. 0: all well; 1: not; "
    "2:\n"
    "wrong usage.\n";

/* What a crashed child was at. */
struct progress {
    uint64_t scenario, seed, runs, steps;
    char failure[400];
};
static struct progress *progress;

static const struct sabotage sabotages[] = {
    { "a header of an SPSC record is published without release", "spsc_hot.h",
      "ring_spsc_header_at(data, mask, position)", ORDER, "spsc" },
    { "a slot of an MPMC ring is filled without release", "mpmc_hot.h", "ring_mpmc_word_of(slot)", ORDER,
      "mpmc-modes" },
    { "the same where claims are shared", "mpmc_private.h", "ring_mpmc_slot(&end->view, position)", ORDER, "mpmc" },
    { "the intent of a sole one is stored without release", "mpmc_hot.h", "end->intent", ORDER, "mpmc-death" },
    { "a broadcast message is published without release", "broadcast_hot.h", "slot", ORDER, "lossless" },
    { "the mark of a broadcast slot is not ordered before its message", "broadcast_hot.h", "fence", ORDER,
      "overwrite" },
    { "who goes on to a larger ring says so without release", "seat.c", "&seat->record->state", ORDER, "spsc-grow" },
    { "what is written into a lent block is not ordered behind its last freeing", "blocks.h", "fence", ORDER,
      "blocks" },
    { "membarrier does nothing", NULL, NULL, NO_BARRIER, "mpmc-modes" },
    { "membarrier does nothing, and somebody sleeps", NULL, NULL, NO_BARRIER, "spsc-sleep" },
    { "the living are held for dead", NULL, NULL, ALL_DEAD, "mpmc-death" },
    { "the dead are held for living", NULL, NULL, ALL_ALIVE, "mpmc-death" },
    { "owners of blocks are held for dead", NULL, NULL, ALL_DEAD, "blocks-death" },
    { "and dead ones for living", NULL, NULL, ALL_ALIVE, "blocks-death" },
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* False: it failed, and progress->failure tells how. */
static bool run_one(const struct scenario *scenario, uint64_t seed)
{
    progress->seed = seed;
    scene_seed = seed;
    bool well = schedule_attempt(scenario->run);
    progress->runs++;
    progress->steps += schedule_steps();
    if (!well)
        snprintf(progress->failure, sizeof progress->failure, "%s", schedule_failure());
    return well;
}

static int run_seeds(const struct scenario *scenario, uint64_t from, uint64_t count)
{
    for (uint64_t seed = from; seed < from + count; seed++)
        if (!run_one(scenario, seed))
            return 1;
    return 0;
}

/* In a child. True: all well; else progress tells. */
static bool try_seeds(const struct scenario *scenario, uint64_t from, uint64_t count)
{
    enum { HANG_SECONDS = 120 };
    int status;
    memset(progress, 0, sizeof *progress);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(HANG_SECONDS);
        _exit(run_seeds(scenario, from, count));
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        snprintf(progress->failure, sizeof progress->failure, "ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static const struct scenario *find(const char *name)
{
    for (unsigned i = 0; i < scenario_count; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}

static int run_all(const struct scenario *only, uint64_t from, uint64_t count)
{
    uint64_t runs = 0, all_steps = 0;
    unsigned failures = 0;
    double began = now();
    for (unsigned i = 0; i < scenario_count; i++) {
        if (only && only != &scenarios[i])
            continue;
        double start = now();
        bool well = try_seeds(&scenarios[i], from, (count + scenarios[i].share - 1) / scenarios[i].share);
        runs += progress->runs;
        all_steps += progress->steps;
        printf("%-10s %6llu runs, %9llu steps, %4.1f s: %s\n", scenarios[i].name, (unsigned long long)progress->runs,
               (unsigned long long)progress->steps, now() - start, well ? "all well" : "FAILED");
        if (well)
            continue;
        failures++;
        printf("  seed %llu: %s\n  again: interleave --only %s --seed %llu\n", (unsigned long long)progress->seed,
               progress->failure, scenarios[i].name, (unsigned long long)progress->seed);
    }
    printf("%llu runs, %llu steps, %.1f s, %u failed\n", (unsigned long long)runs, (unsigned long long)all_steps,
           now() - began, failures);
    return failures ? 1 : 0;
}

static int test_self(uint64_t count)
{
    unsigned noticed = 0, all = sizeof sabotages / sizeof sabotages[0];
    for (unsigned i = 0; i < all; i++) {
        sabotage = &sabotages[i];
        bool well = try_seeds(find(sabotage->scenario), 0, count);
        printf("%-8s %s", well ? "MISSED" : "noticed", sabotage->name);
        if (well)
            printf("\n");
        else
            printf("\n         %s, seed %llu: %s\n", sabotage->scenario, (unsigned long long)progress->seed,
                   progress->failure);
        noticed += !well;
    }
    printf("%u of %u noticed\n", noticed, all);
    return noticed == all ? 0 : 1;
}

static int replay(const struct scenario *scenario, uint64_t seed)
{
    schedule_trace = true;
    bool well = run_one(scenario, seed);
    printf("%s, seed %llu: %s\n", scenario->name, (unsigned long long)seed, well ? "all well" : progress->failure);
    return well ? 0 : 1;
}

static bool number(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && errno == 0;
}

static int wrong(void)
{
    fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 'n' }, { "from", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 's' },  { "only", required_argument, NULL, 'o' },
        { "self-test", no_argument, NULL, 't' },   { "list", no_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
    };
    const struct scenario *only = NULL;
    uint64_t count = 0, from = 0, seed = 0;
    bool one = false, self = false, counted = false;
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'n':
        case 'f':
        case 's':
            if (!number(optarg, option == 'n' ? &count : option == 'f' ? &from : &seed))
                return wrong();
            one |= option == 's';
            counted |= option == 'n';
            break;
        case 'o':
            if (!(only = find(optarg)))
                return wrong();
            break;
        case 't':
            self = true;
            break;
        case 'l':
            for (unsigned i = 0; i < scenario_count; i++)
                printf("%-10s %s\n", scenarios[i].name, scenarios[i].about);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            return wrong();
        }
    }
    if (optind < argc || (one && !only) || progress == MAP_FAILED || (counted && count == 0))
        return wrong();
    if (self)
        return test_self(counted ? count : SELF_TEST_SEEDS);
    return one ? replay(only, seed) : run_all(only, from, counted ? count : SEEDS);
}
