/* trace.c - a victim under ptrace: stepped through, brought to a step, ended there. x86-64.
 *
 * A single step costs 10 to 30 us in a virtual machine. A victim is therefore brought to step k by a breakpoint at the
 * place of that step; where a place is come by several times (loops), by a breakpoint at the last place before it that
 * is come by for the first time, and steps from there. Worker and victims are forks of one image, so places are the
 * same. Only places of the program itself count: which way libc goes depends on the worker's heap too, which is another
 * at each fork, so a victim might come by a place of malloc() long before it shall. */
#include "crash.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { VICTIM_FAILED = 77 };

static bool clock_stands;
static int64_t clock_ns;

void victim_stop_clock(void)
{
    clock_stands = true;
}

/* In place of libc's, for the library as well. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
    enum { CALL_NS = 20000 };
    if (!clock_stands || clock != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, clock, time);
    clock_ns += CALL_NS;
    time->tv_sec = 1000000 + clock_ns / 1000000000;
    time->tv_nsec = clock_ns % 1000000000;
    return 0;
}

/* Tells the tracer that the victim has come to the beginning or the end of its act. */
void victim_mark(void)
{
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
}

int victim_stop(const struct victim *victim)
{
    int status;
    pid_t ended;
    while ((ended = waitpid(victim->pid, &status, __WALL)) < 0 && errno == EINTR)
        continue;
    WANT_SAME(ended, victim->pid);
    if (WIFEXITED(status))
        crash_fail("the victim ended with status %d: %s", WEXITSTATUS(status), outcome->failure);
    if (WIFSIGNALED(status))
        crash_fail("the victim was ended by signal %d", WTERMSIG(status));
    return WSTOPSIG(status);
}

static void go_on(const struct victim *victim, enum __ptrace_request request)
{
    if (ptrace(request, victim->pid, NULL, NULL) != 0)
        crash_fail("ptrace refuses: %s", strerror(errno));
}

/* True: by a step or a breakpoint; false: by the mark. */
static bool stopped_by_trap(struct victim *victim)
{
    int signal = victim_stop(victim);
    if (signal == SIGUSR1)
        victim->marked = true;
    else if (signal != SIGTRAP)
        crash_fail("the victim received signal %d (%s)", signal, strsignal(signal));
    return signal == SIGTRAP;
}

void victim_start(struct victim *victim, unsigned which, void (*prepare)(void), void (*act)(void))
{
    pid_t parent = getpid();
    *victim = (struct victim){ .pid = fork() };
    WANT(victim->pid >= 0);
    if (victim->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || setjmp(stage.failed))
            _exit(VICTIM_FAILED);
        stage.me = which;
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            crash_fail("PTRACE_TRACEME: %s", strerror(errno));
        if (prepare)
            prepare();
        victim_mark();
        act();
        victim_mark();
        _exit(0);
    }
    WANT_SAME(victim_stop(victim), SIGUSR1);
    WANT_SAME(ptrace(PTRACE_SETOPTIONS, victim->pid, NULL, PTRACE_O_EXITKILL), 0);
}

bool victim_step(struct victim *victim)
{
    go_on(victim, PTRACE_SINGLESTEP);
    return stopped_by_trap(victim);
}

void victim_let_go(struct victim *victim, uint64_t nanoseconds)
{
    struct timespec time = { 0, (long)nanoseconds };
    go_on(victim, PTRACE_CONT);
    nanosleep(&time, NULL);
}

void victim_finish(struct victim *victim)
{
    if (victim->marked)
        return;
    go_on(victim, PTRACE_CONT);
    WANT(!stopped_by_trap(victim));
}

void victim_kill(struct victim *victim)
{
    int status;
    WANT_SAME(kill(victim->pid, SIGKILL), 0);
    do
        WANT_SAME(waitpid(victim->pid, &status, __WALL), victim->pid);
    while (WIFSTOPPED(status));
    WANT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

uint64_t victim_place(const struct victim *victim)
{
    errno = 0;
    long place = ptrace(PTRACE_PEEKUSER, victim->pid, (void *)offsetof(struct user_regs_struct, rip), NULL);
    WANT_SAME(errno, 0);
    return (uint64_t)place;
}

static bool run_to(struct victim *victim, uint64_t place)
{
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, victim->pid, (void *)place, NULL);
    WANT_SAME(errno, 0);
    WANT_SAME(ptrace(PTRACE_POKETEXT, victim->pid, (void *)place, (void *)((word & ~0xffL) | 0xcc)), 0);
    go_on(victim, PTRACE_CONT);
    bool there = stopped_by_trap(victim);
    WANT_SAME(ptrace(PTRACE_POKETEXT, victim->pid, (void *)place, (void *)word), 0);
    if (there) {
        WANT_SAME(victim_place(victim), place + 1);
        WANT_SAME(ptrace(PTRACE_POKEUSER, victim->pid, (void *)offsetof(struct user_regs_struct, rip), (void *)place),
                  0);
    }
    return there;
}

uint64_t path_near(const struct path *path, uint64_t step)
{
    enum { FAR = 64 };
    uint64_t at = step;
    while (at > 0 && !path->fresh[at])
        at--;
    return step - at > FAR ? at : step;
}

bool victim_reach(struct victim *victim, const struct path *path, uint64_t step)
{
    uint64_t at = step;
    while (at > 0 && !path->fresh[at])
        at--;
    if (at > 0 && !run_to(victim, path->places[at]))
        return false;
    for (; at < step; at++)
        if (!victim_step(victim))
            return false;
    return true;
}

void path_add(struct path *path, uint64_t place)
{
    if (path->count == path->room) {
        path->room = path->room ? path->room * 2 : 1024;
        path->places = realloc(path->places, path->room * sizeof *path->places);
        WANT(path->places);
    }
    path->places[path->count++] = place;
}

static const uint64_t *sorted_places;

static int by_place(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    uint64_t left_place = sorted_places[left], right_place = sorted_places[right];
    if (left_place != right_place)
        return left_place < right_place ? -1 : 1;
    return left < right ? -1 : left > right;
}

static bool is_ours(uint64_t place)
{
    extern const char __executable_start[], etext[]; /* of the linker */
    return place >= (uintptr_t)__executable_start && place < (uintptr_t)etext;
}

void path_close(struct path *path)
{
    uint64_t *order = malloc(path->count * sizeof *order);
    path->fresh = calloc(path->count, 1);
    WANT(order && path->fresh);
    for (uint64_t i = 0; i < path->count; i++)
        order[i] = i;
    sorted_places = path->places;
    qsort(order, path->count, sizeof *order, by_place);
    for (uint64_t i = 0; i < path->count; i++)
        path->fresh[order[i]] =
            is_ours(path->places[order[i]]) && (i == 0 || path->places[order[i]] != path->places[order[i - 1]]);
    free(order);
}

void path_free(struct path *path)
{
    free(path->places);
    free(path->fresh);
    *path = (struct path){ 0 };
}
