/* stage.c - the case at hand: its segment, its names, its accounts. */
#include "crash.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct stage stage;
struct outcome *outcome;
uint64_t every_option;

uint64_t crash_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void crash_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(outcome->failure, sizeof outcome->failure, "%s", stage.context);
    vsnprintf(outcome->failure + length, sizeof outcome->failure - (size_t)length, format, arguments);
    va_end(arguments);
    longjmp(stage.failed, 1);
}

unsigned stage_names(bool remove)
{
    unsigned found = 0;
    DIR *directory = opendir("/dev/shm");
    if (!directory)
        return 0;
    size_t length = strlen(stage.name);
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strncmp(entry->d_name, stage.name, length) != 0)
            continue;
        found++;
        if (remove)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    return found;
}

void stage_begin(const struct row *row, size_t size, enum filling filling, const char *name)
{
    stage.row = row;
    stage.size = size;
    stage.filling = filling;
    snprintf(stage.name, sizeof stage.name, "%s", name);
    stage.accounts =
        mmap(NULL, VICTIMS * sizeof *stage.accounts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    WANT(stage.accounts != MAP_FAILED);
    if (!row->topology->bytes)
        return;
    struct ring_segment_options options = ring_segment_defaults();
    options.reserve = row->flags & RESERVE ? row->topology->bytes / 2 : 0;
    options.bytes = row->topology->bytes - options.reserve;
    options.flags = 0;
    options.rings = 4;
    WANT_SAME(ring_segment_create(&stage.segment, stage.name, &options), 0);
    stage_map();
}

void stage_map(void)
{
    char path[128];
    snprintf(path, sizeof path, "/dev/shm/%s", stage.name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    WANT(fd >= 0);
    stage.bytes = mmap(NULL, stage.row->topology->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    WANT(stage.bytes != MAP_FAILED);
    close(fd);
}

void stage_end(void)
{
    stage_names(true);
}

struct ring_segment *stage_attach(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_segment *segment;
    options.flags = 0;
    WANT_SAME(ring_segment_attach(&segment, stage.name, &options, RING_NO_WAIT), 0);
    return segment;
}

struct account *stage_account(void)
{
    return &stage.accounts[stage.me];
}

void stage_run_and_die(void (*part)(void))
{
    pid_t parent = getpid();
    pid_t child = fork();
    int status;
    WANT(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || setjmp(stage.failed))
            _exit(1);
        part();
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    WANT_SAME(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        crash_fail("a child that was to die: %s", outcome->failure);
}
