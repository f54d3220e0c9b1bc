/* cell.c - runs a cell: makes the links, starts the sides, watches them, and clears away whatever is left of them.
 *
 * Every cell has processes of its own: one per side, or one with a thread per side. So a contestant that hangs or
 * crashes takes nothing with it, and nothing of one cell (heap, page tables, descriptors) is left for the next. The
 * engine sleeps in sigtimedwait meanwhile: it takes no time from the sides, and SIGINT or SIGTERM ends a run in good
 * order.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cell.h"
#include "message.h"
#include "region.h"

#define CELL_PATIENCE_S 20 /* without a sign of life */
/* In all, besides 20 times the time wanted, for one that does move: contestants that spin for each other can take
 * milliseconds a message where sides share processors. One that has not moved for CELL_MOVING_S may hang: patience. */
#define CELL_LONGEST_S 12
#define CELL_MOVING_S  2

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
    size_t side;
    pthread_t thread;
};

static void *cell_thread_main(void *argument)
{
    struct cell_thread *thread = argument;
    if (side_run(thread->cell, thread->shared, thread->side) != 0)
        _exit(1); /* the others would wait for ever */
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

/* The first side runs in the thread that is there already. */
static int cell_run_threads(const struct cell *cell, struct cell_shared *shared)
{
    struct cell_thread threads[CELL_SIDES];
    size_t count = cell_sides(cell);
    int refusal = cell_make_links(cell, shared);
    for (size_t side = 1; side < count && !refusal; side++) {
        threads[side] = (struct cell_thread){ .cell = cell, .shared = shared, .side = side };
        refusal = -pthread_create(&threads[side].thread, NULL, cell_thread_main, &threads[side]);
    }
    if (refusal) {
        shared->sides[0].error = refusal;
        snprintf(shared->sides[0].doing, sizeof shared->sides[0].doing, "creating");
        atomic_store(&shared->failed, 1);
        _exit(1); /* with whatever threads there are */
    }
    if (side_run(cell, shared, 0) != 0)
        _exit(1); /* as above */
    for (size_t side = 1; side < count; side++)
        pthread_join(threads[side].thread, NULL);
    cell_destroy_links(cell, shared);
    return 0;
}

static pid_t cell_start(const struct cell *cell, struct cell_shared *shared, size_t side)
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
    for (size_t side = 0; side < CELL_SIDES; side++)
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
    for (size_t side = 0; side < CELL_SIDES; side++) {
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

/* Nothing moves any more: is it because messages that were sent never came? */
static void cell_lose_patience(struct cell_watch *watch, const struct cell_shared *shared, double patience)
{
    char why[160];
    bool lost = shared->count && !atomic_load(&shared->sending);
    snprintf(why, sizeof why, "%sno progress for %g s%s: killed", lost ? "LOST MESSAGES: " : "", patience,
             lost ? " after all messages had been sent" : "");
    cell_give_up(watch, lost ? -EBADMSG : -ETIMEDOUT, why);
}

static void cell_wait(struct cell_watch *watch, struct cell_shared *shared, const struct cell *cell)
{
    double patience = cell->patience > 0 ? cell->patience : CELL_PATIENCE_S;
    uint64_t seen = 0, begin = bench_clock_ns(), since = begin;
    struct timespec nap = { patience < 4 ? 0 : 1, patience < 4 ? (long)(patience * 0.25e9) : 0 };
    while (watch->living) {
        int signal = sigtimedwait(&engine_waits_for, NULL, &nap);
        if (signal > 0 && signal != SIGCHLD) {
            engine_ended_by = signal;
            cell_give_up(watch, -EINTR, "interrupted");
        }
        cell_reap(watch);
        uint64_t slices = atomic_load(&shared->slices), now = bench_clock_ns();
        if (slices != seen) {
            seen = slices;
            since = now;
        } else if ((double)(now - since) > patience * 1e9) {
            cell_lose_patience(watch, shared, patience);
        }
        if ((double)(now - begin) > (CELL_LONGEST_S + 20 * cell->seconds) * 1e9 &&
            now - since < CELL_MOVING_S * UINT64_C(1000000000))
            cell_give_up(watch, -ETIME, "too slow to be measured: killed");
    }
}

/* "12", or "12 of producer 3" where there are several. */
static const char *cell_number(const struct cell *cell, uint64_t word, char *text, size_t size)
{
    unsigned long long number = word & BENCH_NUMBER_MASK;
    if (cell_producers(cell) > 1)
        snprintf(text, size, "%llu of producer %u", number, (unsigned)(word >> BENCH_PRODUCER_SHIFT) + 1);
    else
        snprintf(text, size, "%llu", (unsigned long long)word);
    return text;
}

static void cell_explain_sequence(const struct cell *cell, const struct cell_side *side, char *why, size_t size)
{
    char expected[64], received[64];
    if (strcmp(side->doing, "counting") == 0)
        snprintf(why, size, "SEQUENCE ERROR: %llu messages sent, %llu received, but not each of them once",
                 (unsigned long long)side->expected, (unsigned long long)side->received);
    else
        snprintf(why, size, "SEQUENCE ERROR: message %s%s expected, %s received",
                 cell_number(cell, side->expected, expected, sizeof expected),
                 cell_is_shared(cell) ? " or a later one" : "",
                 cell_number(cell, side->received, received, sizeof received));
}

/* Puts what the failing side left behind into a sentence. */
static int cell_explain(const struct cell *cell, const struct cell_shared *shared, struct cell_result *result,
                        int outcome)
{
    int failed = atomic_load(&shared->failed) - 1;
    if (outcome != -ECANCELED || failed < 0)
        return outcome;
    const struct cell_side *side = &shared->sides[failed];
    const char *who = (size_t)failed < cell_producers(cell) ? "producer" : "consumer", *why = "";
    for (int at = 0; at < CELL_LINKS; at++)
        if (shared->links[at].why[0])
            why = shared->links[at].why;
    if (side->error == -EBADMSG)
        cell_explain_sequence(cell, side, result->why, sizeof result->why);
    else
        snprintf(result->why, sizeof result->why, "%s failed in %s: %s%s%s", who, side->doing, strerror(-side->error),
                 why[0] ? ": " : "", why);
    return side->error;
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
    size_t sides = cell->options.processes ? cell_sides(cell) : 1;
    int refusal = cell->options.processes ? cell_make_links(cell, shared) : 0;
    if (refusal) {
        const char *why = shared->links[0].why[0] ? shared->links[0].why : shared->links[1].why;
        snprintf(result->why, sizeof result->why, "cannot be created: %s%s%s", strerror(-refusal), why[0] ? ": " : "",
                 why);
    }
    for (size_t side = 0; side < sides && !refusal; side++) {
        watch.children[side] = cell_start(cell, shared, side);
        if (watch.children[side] < 0) {
            cell_give_up(&watch, -errno, "no process could be started");
            break;
        }
        watch.living++;
    }
    if (!refusal) {
        cell_wait(&watch, shared, cell);
        refusal = cell_explain(cell, shared, result, watch.outcome);
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
    result->producer_seconds = shared->producer_seconds;
    result->lost = shared->lost;
    result->reordered = shared->reordered;
    if (histogram)
        *histogram = shared->histogram;
    return 0;
}
