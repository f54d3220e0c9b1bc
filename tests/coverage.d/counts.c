/* counts.c - linked into every program of a build that counts lines (tests/coverage): processes that do not end by
 * exit() leave their counts as well.
 *
 * gcov writes its counts in a destructor. Children of the tests end by _exit(), and some by a SIGKILL of their own:
 * these functions, which come before libc's, write the counts first; in a process of its own, because one that is
 * killed while it writes spoils the file for all. Who is killed by another process leaves no counts. A child begins
 * with zeroes, or its parent's would be written twice. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);

static bool writing;

static void begin_anew(void)
{
    if (!writing)
        __gcov_reset();
}

__attribute__((constructor)) static void begin(void)
{
    pthread_atfork(NULL, NULL, begin_anew);
}

static void write_counts(void)
{
    writing = true;
    pid_t writer = fork();
    if (writer > 0) {
        waitpid(writer, NULL, 0);
    } else {
        __gcov_dump();
        if (writer == 0)
            syscall(SYS_exit_group, 0);
    }
    writing = false;
}

void _exit(int status)
{
    write_counts();
    for (;;)
        syscall(SYS_exit_group, status);
}

int kill(pid_t pid, int signal)
{
    if (signal == SIGKILL && pid == getpid())
        write_counts();
    return (int)syscall(SYS_kill, pid, signal);
}

int raise(int signal)
{
    if (signal == SIGKILL)
        write_counts();
    return (int)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
}
