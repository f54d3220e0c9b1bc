/* liveness_corners.c - proofs of life where the process that gives them is in an odd state: another thread forks while
 * one takes a seat, the first thread has ended, the program closed what is not its own. */
#include "mpmc.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct stage {
    RING_ATOMIC(uint64_t) enters, forked, holds, child;
};

static struct stage *stage;

/* A description of the segment's file of our own. */
static int open_file(void)
{
    char path[TEST_NAME];
    int fd = open(test_path(path, test_name()), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    return fd;
}

static bool lock(int fd, int command, short type, int64_t byte)
{
    struct flock wanted = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    REQUIRE_SAME(fcntl(fd, command, &wanted), 0);
    return wanted.l_type != F_UNLCK;
}

/* ---- Forks ---- */

/* A child that nobody may need to remove: it does nothing, and ends by itself. */
static void linger(void)
{
    alarm(100);
    for (;;)
        pause();
}

static void *take_a_seat(void *segment)
{
    static struct ring_mpmc_producer producer;
    atomic_store(&stage->enters, 1);
    test_join_producer(&producer, segment);
    atomic_store(&stage->holds, 1);
    return NULL;
}

/* One thread takes a seat; the other forks a child while the first is at it. */
static int come_and_fork(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    pthread_t thread;
    REQUIRE_SAME(pthread_create(&thread, NULL, take_a_seat, segment), 0);
    int fd = open_file();
    while (!lock(fd, F_OFD_GETLK, F_WRLCK, RING_LOCK_PRESENCE)) /* it has entered the ring, and waits for its lock */
        test_nap(1000000);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        linger();
    atomic_store(&stage->child, (uint64_t)child);
    atomic_store(&stage->forked, 1);
    for (;;)
        pause();
}

Test(liveness, of_a_process_does_not_last_as_long_as_a_child_that_it_forked_while_it_came)
{
    struct ring_mpmc_options options = test_queue_options(16, 40, 0);
    struct ring_segment *segment = test_queue_with(&options);
    stage = test_shared(sizeof *stage);
    int fd = open_file();
    REQUIRE(lock(fd, F_OFD_SETLK, F_WRLCK, RING_LOCK_ROLES)); /* nobody takes a seat meanwhile */
    pid_t holder = test_spawn(come_and_fork, NULL);
    test_await(&stage->forked, 1);
    lock(fd, F_OFD_SETLK, F_UNLCK, RING_LOCK_ROLES);
    test_await(&stage->holds, 1);
    REQUIRE_SAME(test_queue_info(segment).producers, 1);
    test_kill(holder);
    pid_t child = (pid_t)atomic_load(&stage->child);
    REQUIRE_SAME(kill(child, 0), 0);
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE_SAME(kill(child, SIGKILL), 0);
    REQUIRE_SAME(info.producers, 0);
    REQUIRE_SAME(info.dead, 1);
    close(fd);
    test_end_queue(segment);
}

static void *come_and_go(void *segment)
{
    static struct ring_mpmc_producer producer;
    while (!atomic_load(&stage->forked)) {
        test_join_producer(&producer, segment);
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
    }
    return NULL;
}

Test(liveness, of_nobody_is_kept_by_children_that_are_forked_at_any_moment)
{
    enum { CHILDREN = 40 };
    struct ring_mpmc_options options = test_queue_options(16, 40, 0);
    struct ring_segment *segment = test_queue_with(&options);
    stage = test_shared(sizeof *stage);
    pthread_t thread;
    pid_t children[CHILDREN];
    REQUIRE_SAME(pthread_create(&thread, NULL, come_and_go, segment), 0);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        REQUIRE(children[i] >= 0);
        if (children[i] == 0) {
            atomic_fetch_add(&stage->child, 1);
            linger();
        }
        test_nap(300000);
    }
    atomic_store(&stage->forked, 1);
    pthread_join(thread, NULL);
    test_await(&stage->child, CHILDREN); /* one that has not run yet has not closed its copies either */
    int fd = open_file();
    bool present = lock(fd, F_OFD_GETLK, F_WRLCK, RING_LOCK_PRESENCE);
    bool locked = lock(fd, F_OFD_GETLK, F_WRLCK, RING_LOCK_ROLES);
    for (int i = 0; i < CHILDREN; i++)
        test_kill(children[i]);
    REQUIRE(!present && !locked);
    close(fd);
    test_end_queue(segment);
}

/* ---- The first thread ---- */

static void *use_everything(void *descriptor)
{
    static struct ring_mpmc_producer producer;
    struct ring_segment *attached = test_attach(), *made, *same;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", *(int *)descriptor);
    while (access(path, F_OK) == 0) /* the first thread and its files are there */
        test_nap(1000000);
    test_join_producer(&producer, attached);
    REQUIRE_SAME(test_queue_info(attached).producers, 1);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(attached, &info));
    REQUIRE(info.resident_bytes > 0);
    struct ring_segment_options options = test_plain(1 << 20);
    char name[TEST_NAME];
    REQUIRE_OK(ring_segment_create(&made, test_name_of(name, 1), &options));
    REQUIRE_OK(ring_segment_attach(&same, name, &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&same));
    REQUIRE_OK(ring_segment_unlink(name));
    REQUIRE_OK(ring_segment_close(&made));
    options.backing = RING_BACKING_MEMFD;
    REQUIRE_OK(ring_segment_create(&made, NULL, &options));
    REQUIRE_OK(ring_mpmc_create(made, "queue", 16, 40));
    test_join_producer(&producer, made);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&made));
    REQUIRE_OK(ring_segment_close(&attached));
    _exit(0);
}

static int end_the_first_thread(void *unused)
{
    static int fd;
    pthread_t thread;
    (void)unused;
    fd = open_file();
    REQUIRE_SAME(pthread_create(&thread, NULL, use_everything, &fd), 0);
    pthread_exit(NULL);
}

Test(liveness, of_a_process_whose_first_thread_has_ended_is_proved_like_any_other)
{
    struct ring_mpmc_options options = test_queue_options(16, 40, 0);
    struct ring_segment *segment = test_queue_with(&options);
    test_wait(test_spawn(end_the_first_thread, NULL));
    test_end_queue(segment);
}

/* ---- Descriptors ---- */

static int close_all_and_open_others(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    closefrom(3);
    for (int i = 0; i < 10; i++) /* the numbers get another meaning */
        REQUIRE_SAME(open("/dev/null", O_RDWR), 3 + i);
    REQUIRE_OK(ring_segment_close(&segment));
    for (int i = 0; i < 10; i++)
        REQUIRE(fcntl(3 + i, F_GETFD) >= 0);
    return 0;
}

Test(liveness, costs_no_descriptor_that_the_program_closed_and_used_again)
{
    struct ring_mpmc_options options = test_queue_options(16, 40, 0);
    struct ring_segment *segment = test_queue_with(&options);
    test_wait(test_spawn(close_all_and_open_others, NULL));
    test_end_queue(segment);
}
