/* worlds.h - a PID namespace with a /proc of its own, as containers have. In it process 1 starts process 100, which does
 * what the test is about, kills it when the test says so, and may start another process 100 after that. The number is
 * asked for: ThreadSanitizer starts threads of its own, which take some. */
#ifndef TEST_WORLDS_H
#define TEST_WORLDS_H

#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { NO_NAMESPACE = 77, SAME_PID = 100, MESSAGE = 100, SHORT = 50000000 };

struct world {
    RING_ATOMIC(uint64_t) ready;   /* steps that process 100 has done */
    RING_ATOMIC(uint64_t) order;   /* steps that it may do */
    RING_ATOMIC(uint64_t) kill;    /* by the test: it shall be killed so often */
    RING_ATOMIC(uint64_t) killed;  /* and was */
    RING_ATOMIC(uint64_t) no_more; /* another process 100 cannot be had */
    test_body again;               /* what another process 100 does */
    test_body body;
    pid_t keeper;
};

static inline pid_t start_process_100(struct world *world, test_body body)
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        REQUIRE_SAME(getpid(), SAME_PID);
        int code = body(world);
        fflush(NULL);
        _exit(code);
    }
    return child;
}

/* So that the next process has that number, once more. */
static inline bool set_next_pid(void)
{
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "99", 2) == 2;
    if (fd >= 0)
        close(fd);
    return done;
}

static inline int be_process_1(struct world *world)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount("proc", "/proc", "proc", 0, NULL) != 0 || !set_next_pid())
        return NO_NAMESPACE;
    pid_t child = start_process_100(world, world->body);
    int status = 0;
    for (uint64_t killed = 0;;) {
        if (waitpid(child, &status, WNOHANG) == child)
            break;
        if (atomic_load(&world->kill) > killed) {
            REQUIRE_SAME(kill(child, SIGKILL), 0);
            REQUIRE_SAME(waitpid(child, &status, 0), child);
            REQUIRE(WIFSIGNALED(status));
            killed++;
            if (!world->again) {
                atomic_store(&world->killed, killed);
                return 0;
            }
            if (!set_next_pid()) {
                atomic_store(&world->no_more, 1);
                atomic_store(&world->killed, killed);
                return 0;
            }
            child = start_process_100(world, world->again);
            atomic_store(&world->killed, killed);
        }
        test_nap(500000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static inline int keep_world(void *argument)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return NO_NAMESPACE;
    pid_t first = fork();
    REQUIRE(first >= 0);
    if (first == 0) {
        REQUIRE_SAME(getpid(), 1);
        int code = be_process_1(argument);
        fflush(NULL);
        _exit(code);
    }
    int status;
    REQUIRE_SAME(waitpid(first, &status, 0), first);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static inline int nothing_to_do(void *world)
{
    (void)world;
    return 0;
}

static inline struct world *world_again(test_body body, test_body again)
{
    struct world *world = test_shared(sizeof *world);
    world->body = body;
    world->again = again;
    world->keeper = test_spawn(keep_world, world);
    return world;
}

static inline struct world *world_of(test_body body)
{
    return world_again(body, NULL);
}

static inline void world_end(struct world *world)
{
    test_wait(world->keeper);
}

static inline void world_kill(struct world *world)
{
    uint64_t before = atomic_fetch_add(&world->kill, 1);
    test_await(&world->killed, before + 1);
}

/* The test lets process 100 do one more step, and waits until it is done. */
static inline void step(struct world *world)
{
    uint64_t before = atomic_fetch_add(&world->order, 1);
    test_await(&world->ready, before + 1);
}

/* Process 100: a step is done; waits for leave to do the next. */
static inline void done(struct world *world)
{
    uint64_t now = atomic_fetch_add(&world->ready, 1) + 1;
    test_await(&world->order, now + 1);
}

static inline void begin(struct world *world)
{
    test_await(&world->order, 1);
}

static inline void wait_for_the_end(struct world *world)
{
    atomic_fetch_add(&world->ready, 1);
    for (;;)
        test_nap(TEST_SECOND);
}

static inline void need_namespaces(void)
{
    if (geteuid() != 0)
        test_skip("only root can make a PID namespace");
    struct world *world = test_shared(sizeof *world);
    world->body = nothing_to_do;
    int status = test_wait_status(test_spawn(keep_world, world));
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NAMESPACE)
        test_skip("this machine allows no PID namespace with a /proc of its own, or no choice of pids (ns_last_pid)");
    REQUIRE_SAME(status, 0);
}

#endif
