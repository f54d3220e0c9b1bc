/* process.c - level 1: see process.h. */
#include <ring/process.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* W7: how many forks lie between the process that loaded the library and this one; relaxed: changed while there is one
 * thread. Who clones himself without the C library's fork() is told by his pid alone. */
static RING_ATOMIC(uint32_t) forks;

static void after_fork_child(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

RING_AT_LOAD static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork_child); /* refused: as if cloned */
}

uint64_t ring_process(void)
{
    return (uint64_t)ring_atomic_load(&forks, memory_order_relaxed) << 32 | (uint32_t)getpid();
}

bool ring_process_has(int fd, const char *kind)
{
    char path[40], is[40], wanted[40];
    if (fd < 0 || fcntl(fd, F_GETFD) < 0)
        return false;
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd); /* as in liveness.c */
    ssize_t length = readlink(path, is, sizeof is - 1);
    if (length < 0)
        return true;
    is[length] = '\0';
    snprintf(wanted, sizeof wanted, "anon_inode:%s", kind);
    return strcmp(is, wanted) == 0;
}

int ring_process_above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (above < 0)
        return fd;
    close(fd);
    return above;
}
