/* program.c - the frame of kill-everywhere and syscalls: options, cases, a worker process for each, the report.
 *
 * A crash or a hang of a survivor ends its worker, so it is a failure of that case alone. */
#include "crash.h"

#include <dirent.h>
#include <getopt.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CASE_SECONDS = 120,
    SHOWN = 6, /* failures of one call that are told in words */
};

static const size_t sizes[SIZES] = { 8, 56, 64, 300 };
static const char *const filling_names[FILLINGS] = { "empty", "half full", "nearly full", "full", "at the wrap" };

static const struct {
    const struct row *rows;
    const size_t *count;
} tables[] = {
    { segment_rows, &segment_row_count },
    { spsc_rows, &spsc_row_count },
    { mpmc_rows, &mpmc_row_count },
    { broadcast_rows, &broadcast_row_count },
    { blocks_rows, &blocks_row_count },
};

static const char *only;
static bool list;
static volatile sig_atomic_t interrupted;
static volatile pid_t worker;

struct sum {
    struct outcome all;
    uint64_t cases, failures, began_ns;
};

static void stop(int signal)
{
    (void)signal;
    interrupted = 1;
    if (worker > 0)
        kill(worker, SIGKILL); /* its victims go with it */
}

static void remove_names(void)
{
    DIR *directory = opendir("/dev/shm");
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        int owner;
        if (sscanf(entry->d_name, CRASH_PREFIX "%d-", &owner) == 1 &&
            (owner == (int)getpid() || (kill(owner, 0) != 0 && errno == ESRCH)))
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
}

/* Worker and victims take turns, so one processor is best for both. */
static void stay_here(void)
{
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((size_t)sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
}

static int work(const struct row *row, size_t size, enum filling filling, uint64_t serial)
{
    char name[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* of a terminal: the main process sees to it */
    signal(SIGTERM, SIG_DFL);
    alarm(CASE_SECONDS);
    stay_here();
    snprintf(name, sizeof name, CRASH_PREFIX "%d-%llu", (int)getppid(), (unsigned long long)serial);
    if (setjmp(stage.failed)) {
        stage_end();
        return 1;
    }
    stage_begin(row, size, filling, name);
    program.sweep();
    stage_end();
    return 0;
}

static void describe(const struct row *row, size_t size, enum filling filling, char *text, size_t room)
{
    snprintf(text, room, "%s: %zu B, ring %s%s%s", row->call, size, filling_names[filling], row->detail ? ", " : "",
             row->detail ? row->detail : "");
}

static void add(struct outcome *to, const struct outcome *from)
{
    to->steps += from->steps;
    to->states += from->states;
    to->recoveries += from->recoveries;
    to->kills += from->kills;
    to->pauses += from->pauses;
    to->refusals += from->refusals;
    to->errors += from->errors;
    if (from->slowest_ns > to->slowest_ns)
        to->slowest_ns = from->slowest_ns;
}

static void run_case(const struct row *row, size_t size, enum filling filling, struct sum *sum)
{
    static uint64_t serial;
    char text[256];
    int status = 0;
    describe(row, size, filling, text, sizeof text);
    if (list) {
        printf("  %s\n", text);
        return;
    }
    memset(outcome, 0, sizeof *outcome);
    fflush(NULL);
    serial++;
    worker = fork();
    if (worker == 0)
        _exit(work(row, size, filling, serial));
    while (waitpid(worker, &status, 0) < 0 && errno == EINTR)
        continue;
    worker = 0;
    remove_names();
    add(&sum->all, outcome);
    sum->cases++;
    if (interrupted || (outcome->done && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return;
    if (sum->failures++ >= SHOWN)
        return;
    if (WIFSIGNALED(status))
        printf("FAILED %s: a survivor %s (signal %d) %s\n", text, WTERMSIG(status) == SIGALRM ? "hangs" : "was ended",
               WTERMSIG(status), outcome->failure);
    else
        printf("FAILED %s: %s\n", text, outcome->failure);
}

static void report(const char *call, const struct sum *sum)
{
    char text[256];
    program.describe(&sum->all, text, sizeof text);
    printf("%-25s %3llu cases, %s, %3.0f s: %s\n", call, (unsigned long long)sum->cases, text,
           (double)(crash_now() - sum->began_ns) / 1e9, sum->failures ? "FAILED" : "all well");
    fflush(stdout);
}

static void run_row(const struct row *row, struct sum *sum)
{
    for (int i = 0; i < SIZES && !interrupted; i++)
        for (enum filling filling = 0; filling < FILLINGS && !interrupted; filling++)
            if ((row->sizes & 1u << i) && (row->fillings & IN(filling)) && (!program.wants || program.wants(row)))
                run_case(row, sizes[i], filling, sum);
}

/* Rows of one call lie one behind the other. */
static void run_table(const struct row *rows, size_t count, struct sum *all)
{
    for (size_t i = 0; i < count && !interrupted;) {
        struct sum sum = { .began_ns = crash_now() };
        const char *call = rows[i].call;
        bool wanted = !only || strstr(call, only);
        if (wanted && list)
            printf("%s\n", call);
        for (; i < count && strcmp(rows[i].call, call) == 0; i++)
            if (wanted)
                run_row(&rows[i], &sum);
        if (!sum.cases || interrupted)
            continue;
        report(call, &sum);
        all->cases += sum.cases;
        all->failures += sum.failures;
        add(&all->all, &sum.all);
    }
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "only", required_argument, NULL, 'o' },
        { "every", required_argument, NULL, 'e' },
        { "list", no_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        switch (option) {
        case 'o':
            only = optarg;
            break;
        case 'e':
            every_option = strtoull(optarg, &end, 10);
            if (*end || every_option == 0) {
                fprintf(stderr, "%s: --every takes a number from 1\n", program.name);
                return 2;
            }
            break;
        case 'l':
            list = true;
            break;
        case 'h':
            fputs(program.usage, stdout);
            return 0;
        default:
            fputs(program.usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fputs(program.usage, stderr);
        return 2;
    }
    return -1;
}

int main(int argc, char **argv)
{
    int code = parse(argc, argv);
    if (code >= 0)
        return code;
    struct sum all = { .began_ns = crash_now() };
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (outcome == MAP_FAILED)
        return 1;
    struct sigaction action = { .sa_handler = stop };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    remove_names(); /* of those that were killed themselves */
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        run_table(tables[i].rows, *tables[i].count, &all);
    if (list)
        return 0;
    if (!all.cases || interrupted) {
        fprintf(stderr, "%s: %s\n", program.name, interrupted ? "interrupted" : "no call of that name; see --list");
        return interrupted ? 1 : 2;
    }
    report("in all", &all);
    printf("slowest recovery with its messages: %.1f ms; %llu of %llu cases failed\n", (double)all.all.slowest_ns / 1e6,
           (unsigned long long)all.failures, (unsigned long long)all.cases);
    return all.failures ? 1 : 0;
}
