/* wait_oddities.c - processes in an odd state: a thread is cancelled while it waits; a child has its parent's pid, or
 * closes all descriptors that it does not know; a program was started without standard descriptors. */
#include "waiting.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

enum { LONG_ENOUGH = 1200000000, CANNOT = 77, NUMBERS = 64 }; /* in ns: after a second the kernel is asked to watch */

static struct test_ends ends;

/* ThreadSanitizer ends a child of a process with threads that starts one itself. */
static void skip_where_children_have_no_threads(void)
{
#if RING_THREAD_SANITIZER
    test_skip("ThreadSanitizer allows no threads in children of a process with threads");
#endif
}

/* ---- Cancelled ---- */

static void *wait_for_ever(void *unused)
{
    test_go(&ends, SPSC_CONSUMER, RING_FOREVER);
    return unused;
}

static int cancel_a_waiting_thread(void *unused)
{
    pthread_t thread;
    void *result;
    (void)unused;
    alarm(30);
    test_ends_open(&ends);
    REQUIRE_SAME(pthread_create(&thread, NULL, wait_for_ever, NULL), 0);
    test_nap(200000000);
    REQUIRE_SAME(pthread_cancel(thread), 0);
    test_nap(LONG_ENOUGH);
    REQUIRE_SAME(test_go(&ends, NEWS_CONSUMER, LONG_ENOUGH), -ETIMEDOUT);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    REQUIRE_SAME(test_wait_status(child), 0);
    test_feed(&ends, SPSC_CONSUMER); /* it waits on, and goes where it may */
    REQUIRE_SAME(pthread_join(thread, &result), 0);
    REQUIRE_SAME(test_go(&ends, SPSC_PRODUCER, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_go(&ends, SPSC_CONSUMER, RING_NO_WAIT), 0);
    test_ends_close(&ends);
    return 0;
}

Test(threads, cancelled_while_they_wait_keep_nobody_else_from_waiting_or_forking)
{
    test_wait(test_spawn(cancel_a_waiting_thread, NULL));
}

/* ---- A child with its parent's pid ---- */

static int be_process_1(int (*body)(void))
{
    if (unshare(CLONE_NEWPID) != 0)
        return CANNOT;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        REQUIRE_SAME(getpid(), 1);
        alarm(30);
        _exit(body());
    }
    int status;
    REQUIRE_SAME(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int use_what_is_the_parents(void)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    struct ring_segment *mine;
    REQUIRE_REFUSED(ring_spsc_info(ends.segment, "ring", &info), ECHILD);
    REQUIRE_SAME(test_go(&ends, MPMC_PRODUCER, RING_NO_WAIT), -ECHILD);
    REQUIRE_SAME(test_go(&ends, NEWS_CONSUMER, RING_NO_WAIT), -ECHILD);
    REQUIRE_OK(ring_spsc_close_producer(&ends.spsc_producer));
    REQUIRE_OK(ring_spsc_close_consumer(&ends.spsc_consumer));
    REQUIRE_OK(ring_mpmc_close_producer(&ends.mpmc_producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&ends.mpmc_consumer));
    REQUIRE_OK(ring_broadcast_close_producer(&ends.news_producer));
    REQUIRE_OK(ring_broadcast_close_consumer(&ends.news_consumer));
    REQUIRE_OK(ring_segment_close(&ends.segment));
    mine = test_attach();
    REQUIRE_OK(ring_mpmc_open_consumer(&ends.mpmc_consumer, mine, "queue", TEST_LONG));
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, LONG_ENOUGH), -ETIMEDOUT);
    REQUIRE_OK(ring_mpmc_close_consumer(&ends.mpmc_consumer));
    REQUIRE_OK(ring_segment_close(&mine));
    return 0;
}

static int have_a_child_with_my_pid(void)
{
    test_ends_open(&ends);
    REQUIRE_SAME(test_go(&ends, NEWS_CONSUMER, LONG_ENOUGH), -ETIMEDOUT);
    int code = be_process_1(use_what_is_the_parents);
    test_feed(&ends, MPMC_CONSUMER);
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, RING_NO_WAIT), 0);
    test_ends_close(&ends);
    return code;
}

static int begin_with_process_1(void *unused)
{
    (void)unused;
    return be_process_1(have_a_child_with_my_pid);
}

Test(children, that_have_their_parents_pid_are_told_from_it)
{
    skip_where_children_have_no_threads();
    int status = test_wait_status(test_spawn(begin_with_process_1, NULL));
    if (status == CANNOT << 8)
        test_skip("no PID namespaces here: they need root");
    REQUIRE_SAME(status, 0);
}

/* ---- Closing all that one does not know ---- */

struct pipes {
    int ends[NUMBERS / 2][2];
    unsigned count;
};

/* All numbers belong to the program now, and in each pipe lies a byte. */
static void make_all_mine(struct pipes *pipes)
{
    for (int fd = 3; fd < NUMBERS; fd++)
        close(fd);
    for (pipes->count = 0; pipes->count < NUMBERS / 2 - 2; pipes->count++) {
        REQUIRE_SAME(pipe(pipes->ends[pipes->count]), 0);
        REQUIRE_SAME(write(pipes->ends[pipes->count][1], "x", 1), 1);
    }
}

static void are_untouched(const struct pipes *pipes)
{
    for (unsigned i = 0; i < pipes->count; i++) {
        char got[16];
        REQUIRE_SAME(fcntl(pipes->ends[i][0], F_SETFL, O_NONBLOCK), 0);
        REQUIRE_SAME(read(pipes->ends[i][0], got, sizeof got), 1);
        REQUIRE_SAME(got[0], 'x');
        REQUIRE_SAME(write(pipes->ends[i][1], "x", 1), 1);
    }
}

static void wait_in_all_ways(void)
{
    test_ends_open(&ends);
    REQUIRE_SAME(test_go(&ends, NEWS_CONSUMER, LONG_ENOUGH), -ETIMEDOUT);
    REQUIRE(ring_waiter_fd(test_waiter(&ends, SPSC_CONSUMER)) >= 0);
    test_drain(&ends, SPSC_CONSUMER);
}

static int close_all_in_a_child(void *unused)
{
    struct pipes pipes;
    (void)unused;
    make_all_mine(&pipes);
    REQUIRE_OK(ring_spsc_close_consumer(&ends.spsc_consumer)); /* which has a descriptor */
    REQUIRE_OK(ring_broadcast_close_consumer(&ends.news_consumer));
    struct ring_segment *mine = test_attach();
    REQUIRE_OK(ring_mpmc_open_consumer(&ends.mpmc_consumer, mine, "queue", TEST_LONG));
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, LONG_ENOUGH), -ETIMEDOUT);
    REQUIRE_OK(ring_mpmc_close_consumer(&ends.mpmc_consumer));
    REQUIRE_OK(ring_segment_close(&mine));
    are_untouched(&pipes);
    return 0;
}

Test(children, may_close_all_descriptors_they_do_not_know_and_lose_none_of_their_own)
{
    skip_where_children_have_no_threads();
    wait_in_all_ways();
    test_wait(test_spawn(close_all_in_a_child, NULL));
    test_ends_close(&ends);
}

static int come_and_go(void *unused)
{
    struct ring_segment *segment = test_attach();
    struct ring_mpmc_producer producer;
    (void)unused;
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "queue", TEST_LONG));
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

static int close_all(void *unused)
{
    struct pipes pipes;
    (void)unused;
    alarm(30);
    test_ends_open(&ends);
    REQUIRE_SAME(test_go(&ends, NEWS_CONSUMER, LONG_ENOUGH), -ETIMEDOUT);
    make_all_mine(&pipes);
    test_wait(test_spawn(come_and_go, NULL));
    test_nap(50000000);
    are_untouched(&pipes);
    test_feed(&ends, MPMC_CONSUMER);
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, RING_NO_WAIT), 0);
    test_ends_close(&ends);
    are_untouched(&pipes);
    return 0;
}

Test(processes, may_close_all_descriptors_they_do_not_know_and_nobody_reads_their_next_ones)
{
    test_wait(test_spawn(close_all, NULL));
}

/* ---- Without standard descriptors ---- */

static int complain_without_standard_descriptors(void *unused)
{
    static const char complaint[200] = "where this goes is not the business of a segment";
    struct ring_segment *other;
    (void)unused;
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    test_ends_open(&ends);
    for (int fd = 0; fd < 3; fd++)
        REQUIRE(write(fd, complaint, sizeof complaint) < 0);
    REQUIRE_OK(ring_segment_attach(&other, test_name(), NULL, RING_NO_WAIT));
    for (int fd = 0; fd < 3; fd++)
        REQUIRE(write(fd, complaint, sizeof complaint) < 0);
    REQUIRE_OK(ring_segment_close(&other));
    test_feed(&ends, MPMC_CONSUMER);
    REQUIRE_SAME(test_go(&ends, MPMC_CONSUMER, RING_NO_WAIT), 0);
    test_ends_close(&ends);
    return 0;
}

Test(processes, started_without_standard_descriptors_do_not_write_their_complaints_into_segments)
{
    test_wait(test_spawn(complain_without_standard_descriptors, NULL));
}
