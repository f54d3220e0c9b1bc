/* cell.c - runs a cell: makes the links, starts the sides, watches them, and clears away whatever is left of them.
 *
 * Every cell has processes of its own: one per side, or one with two threads. So a contestant that hangs or crashes
 * takes nothing with it, and nothing of one cell (heap, page tables, descriptors) is left for the next. The engine
 * sleeps in sigtimedwait meanwhile: it takes no time from the sides, and SIGINT or SIGTERM ends a run in good order.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cell.h"
#include "region.h"

#define CELL_PATIENCE_S 20 /* without a sign of life */

static struct cell_shared *engine_shared;
static sigset_t engine_waits_for;
static int engine_ended_by;

int engine_begin(void)
{
    size_t bytes = sizeof *engine_shared;
    engine_shared = region_map(&bytes, false);
    if (!engine_shared)
        return -errno;
    sigemptyset(&engine_waits_for);
    sigaddset(&engine_waits_for, SIGCHLD);
    sigaddset(&engine_waits_for, SIGINT);
    sigaddset(&engine_waits_for, SIGTERM);
    sigaddset(&engine_waits_for, SIGHUP);
    return sigprocmask(SIG_BLOCK, &engine_waits_for, NULL) == 0 ? 0 : -errno;
}

int engine_signal(void)
{
    return engine_ended_by;
}

/* ---- In the children ---- */

struct cell_thread {
    const struct cell *cell;
    struct cell_shared *shared;
};

static void *cell_second_thread(void *argument)
{
    struct cell_thread *thread = argument;
    if (side_run(thread->cell, thread->shared, 1) != 0)
        _exit(1); /* the first thread would wait for ever */
    return NULL;
}

static int cell_make_links(const struct cell *cell, struct cell_shared *shared)
{
    for (size_t at = 0; at < cell->options.links; at++) {
        int refusal = cell->transport->create(&shared->links[at]);
        if (refusal)
            return refusal;
    }
    return 0;
}

static void cell_destroy_links(const struct cell *cell, struct cell_shared *shared)
{
    for (size_t at = 0; at < cell->options.links; at++)
        if (cell->transport->destroy)
            cell->transport->destroy(&shared->links[at]);
}

static int cell_run_threads(const struct cell *cell, struct cell_shared *shared)
{
    struct cell_thread second = { cell, shared };
    pthread_t thread;
    int refusal = cell_make_links(cell, shared);
    if (!refusal)
        refusal = -pthread_create(&thread, NULL, cell_second_thread, &second);
    if (refusal) {
        shared->sides[0].error = refusal;
        snprintf(shared->sides[0].doing, sizeof shared->sides[0].doing, "creating");
        atomic_store(&shared->failed, 1);
        return 1;
    }
    if (side_run(cell, shared, 0) != 0)
        _exit(1); /* as above */
    pthread_join(thread, NULL);
    cell_destroy_links(cell, shared);
    return 0;
}

static pid_t cell_start(const struct cell *cell, struct cell_shared *shared, int side)
{
    pid_t engine = getpid(), child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* other signals stay blocked: a Ctrl-C is the engine's to handle */
    signal(SIGPIPE, SIG_IGN);
    if (getppid() != engine)
        _exit(1);
    _exit(cell->options.processes ? side_run(cell, shared, side) : cell_run_threads(cell, shared));
}

/* ---- In the engine ---- */

struct cell_watch {
    pid_t children[CELL_SIDES];
    int living;
    int outcome;
    struct cell_result *result;
};

static void cell_kill(struct cell_watch *watch)
{
    for (int side = 0; side < CELL_SIDES; side++)
        if (watch->children[side] > 0)
            kill(watch->children[side], SIGKILL);
}

static void cell_give_up(struct cell_watch *watch, int outcome, const char *why)
{
    if (!watch->outcome) {
        watch->outcome = outcome;
        snprintf(watch->result->why, sizeof watch->result->why, "%s", why);
    }
    cell_kill(watch);
}

static void cell_reap(struct cell_watch *watch)
{
    for (int side = 0; side < CELL_SIDES; side++) {
        int status;
        if (watch->children[side] <= 0 || waitpid(watch->children[side], &status, WNOHANG) != watch->children[side])
            continue;
        watch->children[side] = 0;
        watch->living--;
        if (WIFSIGNALED(status)) {
            char why[64];
            snprintf(why, sizeof why, "a side was killed by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
            cell_give_up(watch, -ECHILD, why);
        } else if (WEXITSTATUS(status)) {
            cell_give_up(watch, -ECANCELED, "");
        }
    }
}

static void cell_wait(struct cell_watch *watch, struct cell_shared *shared)
{
    uint64_t seen = 0, since = bench_clock_ns();
    while (watch->living) {
        struct timespec second = { 1, 0 };
        int signal = sigtimedwait(&engine_waits_for, NULL, &second);
        if (signal > 0 && signal != SIGCHLD) {
            engine_ended_by = signal;
            cell_give_up(watch, -EINTR, "interrupted");
        }
        cell_reap(watch);
        uint64_t slices = atomic_load(&shared->slices), now = bench_clock_ns();
        if (slices != seen) {
            seen = slices;
            since = now;
        } else if (now - since > CELL_PATIENCE_S * UINT64_C(1000000000)) {
            char why[80];
            snprintf(why, sizeof why, "no progress for %d s: killed", CELL_PATIENCE_S);
            cell_give_up(watch, -ETIMEDOUT, why);
        }
    }
}

/* Puts what the failing side left behind into a sentence. */
static int cell_explain(const struct cell_shared *shared, struct cell_result *result, int outcome)
{
    int failed = atomic_load(&shared->failed) - 1;
    if (outcome != -ECANCELED || failed < 0)
        return outcome;
    int error = shared->sides[failed].error;
    const char *who = failed == 0 ? "producer" : "consumer", *doing = shared->sides[failed].doing, *why = "";
    for (int at = 0; at < CELL_SIDES; at++)
        if (shared->links[at].why[0])
            why = shared->links[at].why;
    if (error == -EBADMSG)
        snprintf(result->why, sizeof result->why, "SEQUENCE ERROR: message %llu expected, %llu received",
                 (unsigned long long)shared->sides[failed].expected,
                 (unsigned long long)shared->sides[failed].received);
    else
        snprintf(result->why, sizeof result->why, "%s failed in %s: %s%s%s", who, doing, strerror(-error),
                 why[0] ? ": " : "", why);
    return error;
}

static int cell_prepare(const struct cell *cell, struct cell_shared *shared)
{
    static unsigned serial;
    memset(shared, 0, offsetof(struct cell_shared, histogram));
    histogram_clear(&shared->histogram);
    for (size_t at = 0; at < cell->options.links; at++) {
        struct bench_link *link = &shared->links[at];
        link->options = cell->options;
        link->files[0] = link->files[1] = -1;
        link->id = -1;
        snprintf(link->name, sizeof link->name, "ring-bench-%d-%u", (int)getpid(), ++serial);
        size_t bytes = cell->transport->region_bytes ? cell->transport->region_bytes(&cell->options) : 0;
        if (!bytes)
            continue;
        link->region = region_map(&bytes, cell->options.huge);
        link->region_bytes = bytes;
        if (!link->region)
            return -errno;
    }
    return 0;
}

static void cell_clear_away(const struct cell *cell, struct cell_shared *shared)
{
    for (size_t at = 0; at < cell->options.links; at++) {
        if (cell->transport->remove)
            cell->transport->remove(&shared->links[at]);
        region_unmap(shared->links[at].region, shared->links[at].region_bytes);
    }
}

static int cell_go(const struct cell *cell, struct cell_shared *shared, struct cell_result *result)
{
    struct cell_watch watch = { .result = result };
    int sides = cell->options.processes ? CELL_SIDES : 1;
    int refusal = cell->options.processes ? cell_make_links(cell, shared) : 0;
    if (refusal) {
        const char *why = shared->links[0].why[0] ? shared->links[0].why : shared->links[1].why;
        snprintf(result->why, sizeof result->why, "cannot be created: %s%s%s", strerror(-refusal), why[0] ? ": " : "",
                 why);
    }
    for (int side = 0; side < sides && !refusal; side++) {
        watch.children[side] = cell_start(cell, shared, side);
        if (watch.children[side] < 0) {
            cell_give_up(&watch, -errno, "no process could be started");
            break;
        }
        watch.living++;
    }
    if (!refusal) {
        cell_wait(&watch, shared);
        refusal = cell_explain(shared, result, watch.outcome);
    }
    if (cell->options.processes)
        cell_destroy_links(cell, shared);
    return refusal;
}

int cell_run(const struct cell *cell, struct cell_result *result, struct histogram *histogram)
{
    struct cell_shared *shared = engine_shared;
    memset(result, 0, sizeof *result);
    fflush(NULL); /* nothing buffered may be written twice */
    int refusal = cell_prepare(cell, shared);
    if (!refusal)
        refusal = cell_go(cell, shared, result);
    else
        snprintf(result->why, sizeof result->why, "no shared memory: %s", strerror(-refusal));
    cell_clear_away(cell, shared);
    if (refusal)
        return refusal;
    result->messages = shared->messages;
    result->messages_per_second = shared->messages / shared->seconds;
    if (histogram)
        *histogram = shared->histogram;
    return 0;
}
