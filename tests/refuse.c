/* refuse.c - see refuse.h. With 64-bit file offsets glibc gives calls other names, so both are wrapped. */
#include "refuse.h"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum { SYS_FUTEX_WAITV = 449 }; /* newer than some headers; the same on all architectures */

/* Threads of the library look while the test sets them. */
static struct plan {
    RING_ATOMIC(bool) active, lasting;
    RING_ATOMIC(enum test_call) call;
    RING_ATOMIC(int) error;
    RING_ATOMIC(unsigned) at, seen, refused;
} plans[2];

static size_t room_at_once;
static RING_ATOMIC(bool) one_by_one;
static RING_ATOMIC(int64_t) clock_step, clock_ahead;
static RING_ATOMIC(int64_t) write_late;
static long processors;
static int pages_on[4];
static unsigned page_nodes;

static void set(struct plan *plan, enum test_call call, unsigned at, int error, bool lasting)
{
    plan->active = false;
    plan->lasting = lasting;
    plan->call = call;
    plan->error = error;
    plan->at = at;
    plan->seen = plan->refused = 0;
    plan->active = true;
}

void test_refuse(enum test_call call, unsigned at, int error, bool lasting)
{
    set(&plans[0], call, at, error, lasting);
}

void test_refuse_too(enum test_call call, unsigned at, int error, bool lasting)
{
    set(&plans[1], call, at, error, lasting);
}

unsigned test_refuse_nothing(void)
{
    unsigned refused = plans[0].refused + plans[1].refused;
    for (unsigned i = 0; i < 2; i++) {
        plans[i].active = false;
        plans[i].refused = 0;
    }
    page_nodes = 0;
    return refused;
}

void test_clock_runs(int64_t nanoseconds)
{
    clock_step = nanoseconds;
    clock_ahead = 0;
}

void test_room_at_once(size_t bytes)
{
    room_at_once = bytes;
}

void test_submit_one_by_one(bool yes)
{
    one_by_one = yes;
}

void test_write_late(int64_t nanoseconds)
{
    write_late = nanoseconds;
}

void test_processors(long count)
{
    processors = count;
}

void test_pages_on(const int *nodes, unsigned count)
{
    REQUIRE(count <= 4);
    memcpy(pages_on, nodes, count * sizeof *nodes);
    page_nodes = count;
}

/* Shall this call be made? If not, errno is set, and the answer is what *result says. */
static bool refused(enum test_call call, int *result)
{
    for (unsigned i = 0; i < 2; i++) {
        struct plan *plan = &plans[i];
        if (!plan->active || plan->call != call)
            continue;
        unsigned number = plan->seen++;
        if (number != plan->at && !(plan->lasting && number > plan->at))
            continue;
        plan->refused++;
        if (plan->error)
            errno = plan->error;
        *result = plan->error ? -1 : 0;
        return true;
    }
    return false;
}

/* A wrapper of a function with these parameters; `arguments` in brackets. */
#define WRAP(name, call, parameters, arguments)                                                                        \
    int __real_##name parameters;                                                                                      \
    int __wrap_##name parameters;                                                                                      \
    int __wrap_##name parameters                                                                                       \
    {                                                                                                                  \
        int result;                                                                                                    \
        return refused(call, &result) ? result : __real_##name arguments;                                              \
    }

WRAP(fstat, CALL_FSTAT, (int fd, void *status), (fd, status))
WRAP(fstat64, CALL_FSTAT, (int fd, void *status), (fd, status))
WRAP(ftruncate, CALL_TRUNCATE, (int fd, off_t length), (fd, length))
WRAP(ftruncate64, CALL_TRUNCATE, (int fd, off_t length), (fd, length))
WRAP(fchown, CALL_CHOWN, (int fd, uid_t owner, gid_t group), (fd, owner, group))
WRAP(memfd_create, CALL_MEMFD, (const char *name, unsigned flags), (name, flags))
WRAP(shmget, CALL_SHMGET, (int key, size_t size, int flags), (key, size, flags))
WRAP(fchmod, CALL_CHMOD, (int fd, mode_t mode), (fd, mode))
WRAP(mlock, CALL_LOCK_MEMORY, (const void *address, size_t length), (address, length))
WRAP(mprotect, CALL_PROTECT, (void *address, size_t length, int rights), (address, length, rights))
WRAP(linkat, CALL_LINK, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags))
WRAP(unlink, CALL_UNLINK, (const char *path), (path))
WRAP(sched_getaffinity, CALL_AFFINITY, (pid_t pid, size_t size, void *set), (pid, size, set))

static enum test_call advice_call(int advice)
{
    switch (advice) {
    case MADV_DONTFORK:
        return CALL_DONTFORK;
    case MADV_WIPEONFORK:
        return CALL_WIPEONFORK;
    case MADV_COLLAPSE:
        return CALL_COLLAPSE;
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        return CALL_POPULATE;
    default:
        return TEST_CALLS;
    }
}
WRAP(madvise, advice_call(advice), (void *address, size_t length, int advice), (address, length, advice))

/* Those that answer otherwise, or take more. */

/* As older kernels answer who is interrupted all the time: nothing of it was done. */
#define WRAP_ALLOCATE(name)                                                                                            \
    int __real_##name(int fd, int mode, off_t offset, off_t length);                                                   \
    int __wrap_##name(int fd, int mode, off_t offset, off_t length);                                                   \
    int __wrap_##name(int fd, int mode, off_t offset, off_t length)                                                    \
    {                                                                                                                  \
        int result;                                                                                                    \
        if (refused(CALL_ALLOCATE, &result))                                                                           \
            return result;                                                                                             \
        if (room_at_once && (size_t)length > room_at_once) {                                                           \
            errno = EINTR;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
        return __real_##name(fd, mode, offset, length);                                                                \
    }
WRAP_ALLOCATE(fallocate)
WRAP_ALLOCATE(fallocate64)

#define WRAP_OPEN(name)                                                                                                \
    int __real_##name(const char *path, int flags, ...);                                                               \
    int __wrap_##name(const char *path, int flags, ...);                                                               \
    int __wrap_##name(const char *path, int flags, ...)                                                                \
    {                                                                                                                  \
        int result;                                                                                                    \
        bool without_name = (flags & O_TMPFILE) == O_TMPFILE;                                                          \
        if (refused(without_name ? CALL_NEW_FILE : CALL_OPEN, &result))                                                \
            return result;                                                                                             \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = without_name || (flags & O_CREAT) ? va_arg(arguments, mode_t) : 0;                               \
        va_end(arguments);                                                                                             \
        return __real_##name(path, flags, mode);                                                                       \
    }
WRAP_OPEN(open)
WRAP_OPEN(open64)

#define WRAP_FCNTL(name)                                                                                               \
    int __real_##name(int fd, int command, ...);                                                                       \
    int __wrap_##name(int fd, int command, ...);                                                                       \
    int __wrap_##name(int fd, int command, ...)                                                                        \
    {                                                                                                                  \
        int result;                                                                                                    \
        if (command != F_GETFD && refused(CALL_LOCK_FILE, &result))                                                    \
            return result;                                                                                             \
        va_list arguments;                                                                                             \
        va_start(arguments, command);                                                                                  \
        void *argument = va_arg(arguments, void *);                                                                    \
        va_end(arguments);                                                                                             \
        return __real_##name(fd, command, argument);                                                                   \
    }
WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

#define WRAP_MMAP(name)                                                                                                \
    void *__real_##name(void *address, size_t length, int rights, int flags, int fd, off_t offset);                    \
    void *__wrap_##name(void *address, size_t length, int rights, int flags, int fd, off_t offset);                    \
    void *__wrap_##name(void *address, size_t length, int rights, int flags, int fd, off_t offset)                     \
    {                                                                                                                  \
        int result;                                                                                                    \
        return refused(CALL_MMAP, &result) ? MAP_FAILED : __real_##name(address, length, rights, flags, fd, offset);   \
    }
WRAP_MMAP(mmap)
WRAP_MMAP(mmap64)

#define WRAP_PREAD(name)                                                                                               \
    ssize_t __real_##name(int fd, void *buffer, size_t size, off_t offset);                                            \
    ssize_t __wrap_##name(int fd, void *buffer, size_t size, off_t offset);                                            \
    ssize_t __wrap_##name(int fd, void *buffer, size_t size, off_t offset)                                             \
    {                                                                                                                  \
        int result;                                                                                                    \
        return refused(CALL_READ, &result) ? result : __real_##name(fd, buffer, size, offset);                         \
    }
WRAP_PREAD(pread)
WRAP_PREAD(pread64)

#define WRAP_FOPEN(name)                                                                                               \
    FILE *__real_##name(const char *path, const char *mode);                                                           \
    FILE *__wrap_##name(const char *path, const char *mode);                                                           \
    FILE *__wrap_##name(const char *path, const char *mode)                                                            \
    {                                                                                                                  \
        int result;                                                                                                    \
        return refused(CALL_OPEN_STREAM, &result) ? NULL : __real_##name(path, mode);                                  \
    }
WRAP_FOPEN(fopen)
WRAP_FOPEN(fopen64)

ssize_t __real_write(int fd, const void *bytes, size_t count);
ssize_t __wrap_write(int fd, const void *bytes, size_t count);
ssize_t __wrap_write(int fd, const void *bytes, size_t count)
{
    if (write_late)
        test_nap(write_late);
    return __real_write(fd, bytes, count);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    int result;
    return refused(CALL_MALLOC, &result) ? NULL : __real_calloc(count, size);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long words[6];
    int result;
    va_start(arguments, number);
    for (unsigned i = 0; i < 6; i++)
        words[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_membarrier) {
        int command = (int)words[0];
        bool registers =
            command == MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED || command == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
        if (refused(registers ? CALL_REGISTER_BARRIER : CALL_BARRIER, &result))
            return result;
    }
    if (number == SYS_FUTEX_WAITV && refused(CALL_SLEEP_ON_WORDS, &result))
        return result;
    if (number == SYS_io_uring_setup && refused(CALL_URING, &result))
        return result;
    if (number == SYS_io_uring_enter && one_by_one && words[1] > 1)
        words[1] = 1;
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

long __real_sysconf(int name);
long __wrap_sysconf(int name);
long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN && processors ? processors : __real_sysconf(name);
}

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    int code = __real_clock_gettime(clock, time);
    if (clock == CLOCK_MONOTONIC && clock_step) {
        clock_ahead += clock_step;
        int64_t now = (int64_t)time->tv_sec * TEST_SECOND + time->tv_nsec + clock_ahead;
        *time = (struct timespec){ now / TEST_SECOND, now % TEST_SECOND };
    }
    return code;
}

/* libnuma's. Weak: without libnuma nobody calls them. */
int __real_numa_available(void) __attribute__((weak));
int __wrap_numa_available(void);
int __wrap_numa_available(void)
{
    int result;
    return refused(CALL_NUMA, &result) ? result : __real_numa_available();
}

long __real_mbind(void *start, unsigned long length, int mode, const unsigned long *nodes, unsigned long most,
                  unsigned flags) __attribute__((weak));
long __wrap_mbind(void *start, unsigned long length, int mode, const unsigned long *nodes, unsigned long most,
                  unsigned flags);
long __wrap_mbind(void *start, unsigned long length, int mode, const unsigned long *nodes, unsigned long most,
                  unsigned flags)
{
    int result;
    return refused(CALL_BIND, &result) ? result : __real_mbind(start, length, mode, nodes, most, flags);
}

long __real_move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status, int flags)
    __attribute__((weak));
long __wrap_move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status, int flags);
long __wrap_move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status, int flags)
{
    int result;
    if (refused(CALL_MOVE_PAGES, &result))
        return result;
    if (!page_nodes)
        return __real_move_pages(pid, count, pages, nodes, status, flags);
    for (unsigned long i = 0; i < count; i++)
        status[i] = pages_on[i % page_nodes];
    return 0;
}
