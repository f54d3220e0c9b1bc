/* syscalls.c - syscalls: the cold calls, killed at each of their system calls, and each of these refused in turn.
 *
 * Killed: at the entry and at the exit of each; then survivors recover as in kill-everywhere. Refused: the system call
 * is not made, and returns each errno that it may give: once, at that place, or from there on, as an older kernel or a
 * strict container would. Then the library's call must do without, or fail with an errno and a sentence, leave neither
 * descriptor nor mapping nor name nor lock, and work when tried again. x86-64. */
#include "crash.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

enum { MOST = 4096, FURTHER_FEW = 100, ERRORS = 14 };

/* What a system call may be refused with; zero ends the list. */
struct refusal {
    long number;
    int errors[ERRORS];
};

static const struct refusal refusals[] = {
    { SYS_openat, { EACCES, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM, EROFS, ELOOP, ENOENT, EINTR, EOPNOTSUPP, ENXIO } },
    { SYS_close, { EINTR, EIO } },
    { SYS_fstat, { EBADF, ENOMEM, EIO } },
    { SYS_newfstatat, { EACCES, ENOENT, ENOMEM, EIO, EBADF } },
    { SYS_ftruncate, { EFBIG, EINTR, EIO, EPERM, EINVAL } },
    { SYS_fchmod, { EPERM, EIO, EROFS } },
    { SYS_fallocate, { ENOSPC, EINTR, EOPNOTSUPP, EFBIG, EIO, EPERM } },
    { SYS_mmap, { ENOMEM, EAGAIN, EACCES, ENFILE, EPERM, EINVAL } },
    { SYS_mprotect, { ENOMEM, EACCES } },
    { SYS_munmap, { ENOMEM, EINVAL } },
    { SYS_madvise, { EINVAL, ENOMEM, EAGAIN, EIO, EBUSY, EPERM } },
    { SYS_mlock, { ENOMEM, EPERM, EAGAIN } },
    { SYS_linkat, { EEXIST, EACCES, ENOSPC, EMLINK, ENOENT, EPERM, EROFS, EXDEV, EDQUOT, ENOMEM, EIO } },
    { SYS_unlink, { EACCES, EBUSY, EIO, ENOENT, EPERM, EROFS, ENOMEM } },
    { SYS_fcntl, { EAGAIN, EACCES, EINTR, EINVAL, ENOLCK, EBADF, EDEADLK, ENOMEM } },
    { SYS_read, { EIO, EINTR, EINVAL, EAGAIN } },
    { SYS_pread64, { EIO, EINTR, EINVAL, EAGAIN } },
    { SYS_lseek, { EINVAL, ESPIPE } },
    { SYS_membarrier, { ENOSYS, EINVAL, EPERM, ENOMEM } },
    { SYS_clock_nanosleep, { EINTR, EINVAL } },
    { SYS_futex, { EAGAIN, EINTR, ENOSYS, ETIMEDOUT } },
    { SYS_sched_getaffinity, { EPERM, EINVAL } },
    { SYS_getrandom, { EAGAIN, EINTR, ENOSYS } },
    { SYS_prlimit64, { EPERM, EINVAL } },
    { SYS_set_mempolicy, { EPERM, ENOSYS } },
    { SYS_get_mempolicy, { EPERM, ENOSYS } },
    { SYS_mbind, { EPERM, ENOSYS, ENOMEM, EIO } },
};

/* These cannot fail, or not in a way that a caller sees. */
static const long sure[] = { SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getppid, SYS_brk, SYS_tgkill };

/* ---- The victim ---- */

/* What came of its two attempts. */
static struct attempts {
    int64_t code[2];
    char detail[512];
} * attempts; /* shared memory */

/* One attempt; then, when it failed where it should not, another one. */
static void attempt(void)
{
    ring_segment_unlink("shmring-crash-nobody-has-this-name"); /* its sentence must not be taken for another's */
    victim_mark();
    stage.row->act();
    attempts->code[0] = stage_account()->code;
    snprintf(attempts->detail, sizeof attempts->detail, "%s", ring_error_detail());
    victim_mark();
    if (stage_account()->code != stage.row->code)
        stage.row->act();
    attempts->code[1] = stage_account()->code;
}

/* ---- System calls of a stopped victim ---- */

static long registers(const struct victim *victim, size_t offset)
{
    errno = 0;
    long value = ptrace(PTRACE_PEEKUSER, victim->pid, (void *)offset, NULL);
    WANT_SAME(errno, 0);
    return value;
}

static void set_register(const struct victim *victim, size_t offset, long value)
{
    WANT_SAME(ptrace(PTRACE_POKEUSER, victim->pid, (void *)offset, (void *)value), 0);
}

static long call_number(const struct victim *victim)
{
    return registers(victim, offsetof(struct user_regs_struct, orig_rax));
}

/* Runs to the next entry or exit of a system call. False: to the victim's mark. */
static bool next_call(struct victim *victim)
{
    WANT_SAME(ptrace(PTRACE_SYSCALL, victim->pid, NULL, NULL), 0);
    int signal = victim_stop(victim);
    if (signal != SIGUSR1 && signal != (SIGTRAP | 0x80))
        crash_fail("the victim received signal %d (%s)", signal, strsignal(signal));
    return signal != SIGUSR1;
}

static void trace_calls(const struct victim *victim)
{
    WANT_SAME(ptrace(PTRACE_SETOPTIONS, victim->pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD), 0);
}

static bool is_sure(long number)
{
    for (size_t i = 0; i < sizeof sure / sizeof sure[0]; i++)
        if (sure[i] == number)
            return true;
    return false;
}

static const int *errors_of(long number)
{
    static const int usual[] = { EPERM, ENOMEM, ENOSYS, 0 };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (refusals[i].number == number)
            return refusals[i].errors;
    return usual;
}

/* Such refusals last in an older kernel or a strict container. (A lock that is refused with EACCES is one that is held:
 * the library waits for it, and that takes seconds. Who made a System V segment may also remove it.) */
static bool may_last(long number, int error)
{
    if (number == SYS_fcntl && error == EACCES)
        return false;
    return number != SYS_close && number != SYS_munmap && number != SYS_shmctl &&
           (error == EPERM || error == ENOSYS || error == EINVAL || error == ENOMEM || error == EACCES ||
            error == EOPNOTSUPP || error == EMFILE);
}

/* ---- Killed at each ---- */

static const struct state *the_base;
static long numbers[MOST]; /* of the system calls, in order */
static unsigned calls;

/* Kills at the stop of that number (0: the entry of the first call, 1: its exit ...). False: there is none. */
static bool kill_at_stop(unsigned stop)
{
    struct victim victim;
    state_restore(the_base);
    victim_start(&victim, 0, stage.row->prepare, stage.row->act);
    trace_calls(&victim);
    bool there = next_call(&victim);
    for (unsigned i = 0; there && i < stop; i++) {
        if (i % 2 == 0 && i / 2 < MOST)
            numbers[i / 2] = call_number(&victim);
        there = next_call(&victim);
    }
    /* The victim's mark is a system call itself: its entry is the last stop. */
    victim_kill(&victim);
    state_recover(stop % stage.row->topology->ways, FURTHER_FEW);
    outcome->kills += there;
    return there;
}

static void kill_at_all(void)
{
    unsigned stop = 0;
    while (stop < 2 * MOST && kill_at_stop(stop))
        stop++;
    calls = stop / 2;
    WANT(calls < MOST);
    outcome->states += calls;
}

/* ---- Refused, each ---- */

struct leftovers {
    unsigned descriptors, mappings, names;
};

static struct leftovers left_by(const struct victim *victim)
{
    struct leftovers left = { 0, 0, stage_names(false) };
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)victim->pid);
    DIR *directory = opendir(path);
    WANT(directory);
    while (readdir(directory))
        left.descriptors++;
    closedir(directory);
    snprintf(path, sizeof path, "/proc/%d/maps", (int)victim->pid);
    FILE *maps = fopen(path, "re");
    WANT(maps);
    while (fgets(line, sizeof line, maps))
        left.mappings++;
    fclose(maps);
    return left;
}

/* Runs the attempt, refusing call `which` (and all of its kind that follow, if `lasting`) with `error`. */
static void refuse(struct victim *victim, unsigned which, int error, bool lasting)
{
    unsigned at = 0;
    while (next_call(victim)) {
        long number = call_number(victim);
        bool now = at == which || (lasting && at > which && number == numbers[which]);
        if (now && number != SYS_close) /* a close that fails has closed all the same */
            set_register(victim, offsetof(struct user_regs_struct, orig_rax), -1);
        if (!next_call(victim))
            crash_fail("a system call without an end");
        if (now)
            set_register(victim, offsetof(struct user_regs_struct, rax), -error);
        if (++at > 4 * MOST)
            crash_fail("the call does not end");
    }
}

static void check_refused(const struct leftovers *before, const struct leftovers *after)
{
    int64_t code = attempts->code[0];
    const char *detail = attempts->detail;
    if (code > 0 || code < -4095)
        crash_fail("returned %lld", (long long)code);
    if (strlen(detail) < 10 || strstr(detail, "nobody-has-this-name"))
        crash_fail("returned %lld without a sentence: \"%s\"", (long long)code, detail);
    if (after->descriptors != before->descriptors)
        crash_fail("returned %lld (%s) and leaves %d descriptors", (long long)code, detail,
                   (int)(after->descriptors - before->descriptors));
    if (after->mappings > before->mappings) /* fewer: two neighbours have become one */
        crash_fail("returned %lld (%s) and leaves %d mappings", (long long)code, detail,
                   (int)(after->mappings - before->mappings));
    if (after->names != before->names && !(stage.row->flags & REPLACES && after->names < before->names))
        crash_fail("returned %lld (%s) and leaves %d names", (long long)code, detail,
                   (int)(after->names - before->names));
}

static void refuse_one(unsigned which, int error, bool lasting)
{
    struct victim victim;
    state_restore(the_base);
    victim_start(&victim, 0, stage.row->prepare, attempt);
    trace_calls(&victim);
    WANT_SAME(ptrace(PTRACE_CONT, victim.pid, NULL, NULL), 0);
    WANT_SAME(victim_stop(&victim), SIGUSR1);
    struct leftovers before = left_by(&victim);
    refuse(&victim, which, error, lasting);
    struct leftovers after = left_by(&victim);
    bool failed = attempts->code[0] != stage.row->code;
    if (failed && numbers[which] == SYS_munmap)
        after = before; /* the kernel did not take it back: not the library's fault */
    if (failed)
        check_refused(&before, &after);
    WANT_SAME(ptrace(PTRACE_CONT, victim.pid, NULL, NULL), 0);
    WANT_SAME(victim_stop(&victim), SIGUSR1);
    if (attempts->code[1] != stage.row->code)
        crash_fail("returned %lld (%s), and the next try %lld", (long long)attempts->code[0], attempts->detail,
                   (long long)attempts->code[1]);
    victim_kill(&victim);
    state_recover(which % stage.row->topology->ways, FURTHER_FEW);
    outcome->refusals++;
    outcome->errors += failed;
}

static void refuse_all(void)
{
    for (unsigned which = 0; which < calls; which++) {
        if (is_sure(numbers[which]))
            continue;
        for (const int *error = errors_of(numbers[which]); *error; error++)
            for (int lasting = 0; lasting <= may_last(numbers[which], *error); lasting++) {
                snprintf(stage.context, sizeof stage.context,
                         "system call %ld, the %uth, refused with %s%s: ", numbers[which], which + 1,
                         strerrorname_np(*error), lasting ? " from there on" : "");
                refuse_one(which, *error, lasting);
            }
    }
    stage.context[0] = '\0';
}

/* ---- The case ---- */

static void visit(const struct state *base)
{
    static unsigned bases;
    if (stage.row->first && bases++ % 3 != 1)
        return; /* of the states that a first victim leaves, some are enough here */
    the_base = base;
    kill_at_all();
    if (!(stage.row->flags & TIMED))
        refuse_all();
}

static void sweep_calls(void)
{
    attempts = mmap(NULL, sizeof *attempts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    WANT(attempts != MAP_FAILED);
    sweep_bases(visit);
    outcome->done = 1;
}

/* The cold calls. */
static bool wants(const struct row *row)
{
    return (row->flags & (IN_FLUX | IDLE)) && !row->rival;
}

static void describe(const struct outcome *all, char *text, size_t room)
{
    snprintf(text, room, "%5llu system calls, %6llu killed, %6llu refused (%llu made the call fail)",
             (unsigned long long)all->states, (unsigned long long)all->kills, (unsigned long long)all->refusals,
             (unsigned long long)all->errors);
}

const struct program program = {
    .name = "syscalls",
    .usage = "syscalls [--only CALL] [--list] [--help]\n"
             "Kills a victim at each system call of each cold call; and lets each of these system calls fail with\n"
             "each errno that it may give.\n"
             "  --only CALL   calls whose name contains CALL, e.g. 'segment create'\n"
             "  --list        the calls and their cases\n"
             "Takes a minute. Exit status: 0 all well, 1 a failure, 2 wrong usage.\n",
    .wants = wants,
    .sweep = sweep_calls,
    .describe = describe,
};
