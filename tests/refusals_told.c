/* refusals_told.c - what single refusals of the system come to: what is done without, what is told, and what goes on.
 */
#include "broadcast.h"
#include "mpmc.h"
#include "refuse.h"

#include <fcntl.h>
#include <pthread.h>
#include <ring/layout.h>
#include <sched.h>
#include <sys/stat.h>

static struct ring_segment_info info_of(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

static struct ring_segment_options huge_ones(unsigned flags)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = 4 << 20;
    options.flags = flags;
    return options;
}

static void finish(struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

/* ---- Memory ---- */

Test(refused, pages_that_cannot_be_locked_are_told_by_info_or_if_strict_by_an_error)
{
    struct ring_segment *segment;
    struct ring_segment_options options = huge_ones(RING_LOCK | RING_STRICT);
    test_refuse(CALL_LOCK_MEMORY, 0, EAGAIN, true);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "ulimit -l"));
    REQUIRE_SAME(test_names_left(), 0);
    options.flags = RING_LOCK;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(info_of(segment).lock_error, -EAGAIN);
    REQUIRE_SAME(info_of(segment).locked_bytes, 0);
    finish(segment);
}

Test(refused, huge_pages_that_the_kernel_only_says_it_made_are_not_believed)
{
    struct ring_segment *segment;
    struct ring_segment_options options = huge_ones(RING_HUGE | RING_STRICT);
    test_refuse(CALL_COLLAPSE, 0, 0, true);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE(strstr(ring_error_detail(), "only"));
    REQUIRE_SAME(test_names_left(), 0);
    options.flags = RING_HUGE;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(info_of(segment).huge_bytes, 0);
    finish(segment);
}

Test(refused, strict_huge_pages_that_nobody_can_count_are_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = huge_ones(RING_HUGE | RING_STRICT);
    test_refuse(CALL_COLLAPSE, 0, 0, true);
    test_refuse_too(CALL_OPEN_STREAM, 0, ENOENT, true);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOENT);
    REQUIRE(strstr(ring_error_detail(), "smaps"));
}

Test(refused, a_kernel_that_cannot_populate_gets_each_page_touched)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    test_refuse(CALL_POPULATE, 0, EINVAL, true);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE(test_refuse_nothing() > 0);
    REQUIRE_SAME(info_of(segment).resident_bytes, 1 << 20);
    finish(segment);
}

Test(refused, room_that_a_signal_interrupts_is_asked_for_again)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    test_refuse(CALL_ALLOCATE, 0, EINTR, false);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(test_refuse_nothing(), 1);
    finish(segment);
}

Test(refused, room_that_signals_interrupt_all_the_time_is_had_in_pieces)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(5 << 20);
    test_room_at_once(300 << 10);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    test_room_at_once(0);
    struct stat file;
    char path[TEST_NAME];
    REQUIRE_SAME(stat(test_path(path, test_name()), &file), 0);
    REQUIRE_SAME(file.st_blocks * 512, 5 << 20);
    finish(segment);
}

Test(refused, room_for_huge_pages_that_is_not_there_is_done_without_unless_strict)
{
    struct ring_segment *segment;
    struct ring_segment_options options = huge_ones(RING_HUGE);
    options.bytes = 1 << 20;
    test_refuse(CALL_ALLOCATE, 0, ENOSPC, false); /* of 2 MiB; the next one is of 1 */
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(test_refuse_nothing(), 1);
    REQUIRE_SAME(info_of(segment).bytes, 1 << 20);
    finish(segment);
    options.flags = RING_HUGE | RING_STRICT;
    test_refuse(CALL_ALLOCATE, 0, ENOSPC, false);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOSPC);
    options = huge_ones(RING_HUGE); /* a multiple of 2 MiB: there is no smaller one */
    test_refuse(CALL_ALLOCATE, 0, ENOSPC, false);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOSPC);
    REQUIRE_SAME(test_names_left(), 0);
}

/* ---- Nodes ---- */

Test(refused, a_kernel_without_nodes_refuses_one_only_if_strict)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
    options.numa_node = 0;
    options.flags = RING_STRICT;
    test_refuse(CALL_NUMA, 0, ENOSYS, true);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    options.flags = 0;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(info_of(segment).numa_error, -EOPNOTSUPP);
    REQUIRE_SAME(info_of(segment).numa_node, RING_NODE_UNKNOWN);
    finish(segment);
}

Test(refused, a_node_that_the_process_may_not_use_is_refused_only_if_strict)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
    options.numa_node = 0;
    options.flags = RING_STRICT;
    test_refuse(CALL_BIND, 0, EPERM, true);
    int code = ring_segment_create(&segment, test_name(), &options);
    unsigned asked = test_refuse_nothing();
    if (!asked) {
        if (code == 0)
            finish(segment);
        test_skip("this machine or build knows no nodes");
    }
    REQUIRE_SAME(code, -EPERM);
    options.flags = 0;
    test_refuse(CALL_BIND, 0, EPERM, true);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(info_of(segment).numa_error, -EPERM);
    finish(segment);
}

static int node_told(struct ring_segment *segment, const int *nodes, unsigned count)
{
    test_pages_on(nodes, count);
    int node = info_of(segment).numa_node;
    test_refuse_nothing();
    return node;
}

Test(refused, info_tells_the_node_of_the_pages_that_are_there)
{
    struct ring_segment *segment = test_create(1 << 20);
    if (info_of(segment).numa_node == RING_NODE_UNKNOWN)
        test_skip("this machine or build knows no nodes");
    REQUIRE_SAME(node_told(segment, (int[]){ 3 }, 1), 3);
    REQUIRE_SAME(node_told(segment, (int[]){ -ENOENT, 3, -ENOENT }, 3), 3);
    REQUIRE_SAME(node_told(segment, (int[]){ 1, 0 }, 2), RING_NODE_MIXED);
    REQUIRE_SAME(node_told(segment, (int[]){ -ENOENT }, 1), RING_NODE_UNKNOWN);
    test_refuse(CALL_MOVE_PAGES, 0, EPERM, true);
    REQUIRE_SAME(info_of(segment).numa_node, RING_NODE_UNKNOWN);
    finish(segment);
}

/* ---- Time ---- */

static int make_it_later(void *unused)
{
    (void)unused;
    test_nap(TEST_SECOND / 20);
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(refused, a_time_limit_beyond_the_end_of_time_is_none)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(0);
    test_name();
    pid_t child = test_spawn(make_it_later, NULL);
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, INT64_MAX));
    test_wait(child);
    finish(segment);
}

/* ---- Names and files ---- */

Test(refused, a_segment_in_a_container_without_proc_is_made_and_its_creator_has_no_name)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
    if (geteuid() != 0)
        test_skip("a file without a name gets one without /proc only by root");
    test_refuse(CALL_LINK, 0, ENOENT, false); /* /proc/self/fd/... */
    test_refuse_too(CALL_OPEN_STREAM, 0, ENOENT, true);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE(test_refuse_nothing() >= 2);
    REQUIRE_SAME(strlen(info_of(segment).creator_command), 0);
    finish(segment);
}

Test(refused, a_name_that_never_can_be_attached_nor_made_ends_open)
{
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES), *second = (void *)1;
    test_refuse(CALL_OPEN, 0, ENOENT, true); /* others make it and remove it in between, each time */
    REQUIRE_REFUSED(ring_segment_open(&second, test_name(), NULL), EAGAIN);
    REQUIRE(!second);
    REQUIRE(test_refuse_nothing() > 100);
    finish(segment);
}

Test(refused, a_file_that_goes_away_in_between_is_one_that_is_not_there)
{
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES);
    test_refuse(CALL_UNLINK, 0, ENOENT, false);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), ENOENT);
    REQUIRE_SAME(test_refuse_nothing(), 1);
    finish(segment);
}

/* ---- Proofs of life ---- */

Test(refused, a_claim_is_taken_by_the_segments_name_where_proc_is_missing)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    test_refuse(CALL_OPEN, 0, ENOENT, false); /* /proc/self/fd/... */
    test_open_producer(&producer, segment);
    REQUIRE_SAME(test_refuse_nothing(), 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    test_refuse(CALL_OPEN, 1, ENOENT, false); /* the first one is REQUIRE_REFUSED's own */
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBADF);
    REQUIRE_SAME(test_refuse_nothing(), 1);
    test_open_producer(&producer, segment);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(refused, a_name_that_another_file_has_by_now_is_not_taken_for_the_segment)
{
    struct ring_segment *segment = test_create(1 << 20), *stranger;
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    stranger = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(stranger, "ring", 4096));
    unsigned descriptors = test_descriptors();
    test_refuse(CALL_OPEN, 1, ENOENT, false); /* the first one is REQUIRE_REFUSED's own */
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBADF);
    REQUIRE_SAME(test_refuse_nothing(), 1);
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE_OK(ring_segment_close(&segment));
    finish(stranger);
}

Test(refused, whoever_cannot_be_proved_dead_is_taken_for_alive)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    uint64_t number;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    test_open_producer(&producer, segment);
    test_open_consumer(&consumer, segment);
    test_refuse(CALL_LOCK_FILE, 0, ENOLCK, true);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_ALIVE);
    REQUIRE_SAME(ring_spsc_recv(&consumer, &number, 8, TEST_SECOND / 100), -ETIMEDOUT);
    REQUIRE(test_refuse_nothing() > 0);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    finish(segment);
}

Test(refused, a_directory_that_somebody_holds_is_waited_for_and_then_told)
{
    struct ring_segment *segment = test_create(1 << 20);
    char path[TEST_NAME];
    int fd = open(test_path(path, test_name()), O_RDWR | O_CLOEXEC);
    struct flock lock = { .l_type = F_WRLCK, .l_start = RING_LOCK_DIRECTORY, .l_len = 1 };
    REQUIRE(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    test_clock_runs(TEST_SECOND); /* each look finds it a second later */
    REQUIRE_REFUSED(ring_spsc_create(segment, "ring", 4096), EBUSY);
    REQUIRE(strstr(ring_error_detail(), "stopped"));
    test_clock_runs(0);
    close(fd);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    finish(segment);
}

Test(refused, a_lock_that_is_held_is_told_as_such_by_whatever_errno)
{
    static const int errors[] = { EAGAIN, EACCES };
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    for (int i = 0; i < 2; i++) {
        test_refuse(CALL_LOCK_FILE, 0, errors[i], true);
        test_clock_runs(TEST_SECOND); /* each look finds it a second later */
        REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBUSY);
        test_clock_runs(0);
        test_refuse_nothing();
    }
    test_open_producer(&producer, segment);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    finish(segment);
}

/* ---- Guards of handles ---- */

Test(refused, a_handle_whose_guard_gets_no_memory_is_not_opened)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_mpmc_producer producer;
    bool told = false;
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    test_refuse(CALL_WIPEONFORK, 0, EINVAL, true);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&producer, segment, "queue", RING_NO_WAIT), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "MADV_WIPEONFORK"));
    test_refuse_nothing();
    for (unsigned at = 0; !told; at++) {
        test_refuse(CALL_MMAP, at, ENOMEM, false);
        REQUIRE_REFUSED(ring_mpmc_open_producer(&producer, segment, "queue", RING_NO_WAIT), ENOMEM);
        REQUIRE_SAME(test_refuse_nothing(), 1);
        told = strstr(ring_error_detail(), "guard") != NULL;
    }
    test_join_producer(&producer, segment);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    test_end_queue(segment);
}

static void *send_one_more(void *producer)
{
    REQUIRE_SAME(test_put(producer, 8, 2, RING_NO_WAIT), 0);
    return NULL;
}

Test(refused, a_handle_goes_from_thread_to_thread_without_barriers_too)
{
    static const struct {
        enum test_call call;
        unsigned at;
        bool lasting;
    } ways[] = { { CALL_BARRIER, 0, true }, { CALL_BARRIER, 0, false }, { CALL_REGISTER_BARRIER, 0, true } };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct test_queue queue;
        pthread_t thread;
        test_queue_open(&queue, TEST_NEVER_ALONE, 8, 8, 0);
        REQUIRE_SAME(test_put(&queue.producer, 8, 1, RING_NO_WAIT), 0);
        test_refuse(ways[i].call, ways[i].at, EPERM, ways[i].lasting);
        REQUIRE_SAME(pthread_create(&thread, NULL, send_one_more, &queue.producer), 0);
        REQUIRE_SAME(pthread_join(thread, NULL), 0);
        REQUIRE_SAME(test_put(&queue.producer, 8, 3, RING_NO_WAIT), 0);
        test_refuse_nothing();
        for (uint64_t seed = 1; seed <= 3; seed++)
            REQUIRE_SAME(test_get(&queue.consumer, 8, seed, RING_NO_WAIT), 0);
        test_queue_close(&queue);
    }
}

/* ---- Waiting without barriers ---- */

enum { SLOW_ONES = 20 };

/* Attaches anew; sends slowly, so that the other side falls asleep each time, then faster than there is room. */
static int send_slowly(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    struct ring_mpmc_producer claimer;
    struct ring_broadcast_producer teller;
    test_open_producer(&producer, segment);
    test_join_producer(&claimer, segment);
    test_sender(&teller, segment);
    for (uint64_t i = 0; i < SLOW_ONES; i++) {
        test_nap(i < SLOW_ONES / 2 ? TEST_SECOND / 500 : 0);
        REQUIRE_SAME(ring_spsc_send(&producer, &i, 8, TEST_LONG), 0);
        test_nap(i < SLOW_ONES / 2 ? TEST_SECOND / 500 : 0);
        REQUIRE_SAME(ring_mpmc_send(&claimer, &i, 8, TEST_LONG), 0);
        test_nap(i < SLOW_ONES / 2 ? TEST_SECOND / 500 : 0);
        REQUIRE_SAME(ring_broadcast_send(&teller, &i, 8, TEST_LONG), 0);
    }
    return 0;
}

static void converse(void)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_consumer consumer;
    struct ring_mpmc_consumer taker;
    struct ring_broadcast_consumer listener;
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = 8;
    options.slot_bytes = 8;
    options.policy = RING_BROADCAST_LOSSLESS;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    REQUIRE_OK(ring_broadcast_create_with(segment, "news", &options));
    test_open_consumer(&consumer, segment);
    test_join_consumer(&taker, segment);
    test_join(&listener, segment, RING_BROADCAST_OLDEST);
    pid_t child = test_spawn(send_slowly, NULL);
    for (uint64_t i = 0; i < SLOW_ONES; i++) {
        uint64_t got[3] = { 0, 0, 0 };
        if (i >= SLOW_ONES / 2)
            test_nap(TEST_SECOND / 500);
        REQUIRE_SAME(ring_spsc_recv(&consumer, &got[0], 8, TEST_LONG), 8);
        REQUIRE_SAME(ring_mpmc_recv(&taker, &got[1], 8, TEST_LONG), 8);
        REQUIRE_SAME(ring_broadcast_recv(&listener, &got[2], 8, TEST_LONG), 8);
        REQUIRE(got[0] == i && got[1] == i && got[2] == i);
    }
    test_wait(child);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_mpmc_close_consumer(&taker));
    REQUIRE_OK(ring_broadcast_close_consumer(&listener));
    finish(segment);
}

Test(refused, barriers_of_an_older_kernel_are_done_without_and_every_message_arrives)
{
    test_refuse(CALL_BARRIER, 0, ENOSYS, true);
    test_refuse_too(CALL_REGISTER_BARRIER, 0, ENOSYS, true);
    converse();
    REQUIRE(test_refuse_nothing() > 0);
}

Test(refused, barriers_that_are_only_sometimes_there_are_done_without_too)
{
    test_refuse(CALL_BARRIER, 3, EPERM, true);
    converse();
    REQUIRE(test_refuse_nothing() > 0);
}

Test(refused, on_one_processor_nobody_spins_and_every_message_arrives)
{
    cpu_set_t one, all;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    test_processors(1);
    converse();
}

Test(refused, where_nobody_tells_the_processors_several_are_taken_for_granted)
{
    test_refuse(CALL_AFFINITY, 0, EPERM, true);
    converse();
    REQUIRE(test_refuse_nothing() > 0);
}

Test(refused, without_barriers_nobody_claims_alone_and_all_share)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    test_refuse(CALL_BARRIER, 0, ENOSYS, true);
    test_join_producer(&producer, segment);
    test_join_consumer(&consumer, segment);
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE(!info.sole_producer && !info.sole_consumer);
    REQUIRE_SAME(test_put(&producer, 8, 1, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 1, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    test_end_queue(segment);
}

Test(refused, a_newcomer_without_barriers_leaves_the_one_who_claims_alone_in_peace)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_mpmc_producer producer, newcomer;
    struct ring_mpmc_consumer consumer;
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    test_join_producer(&producer, segment);
    test_join_consumer(&consumer, segment);
    if (!test_queue_info(segment).sole_producer)
        test_skip("this kernel has no membarrier");
    REQUIRE_SAME(test_put(&producer, 8, 1, RING_NO_WAIT), 0);
    test_refuse(CALL_BARRIER, 0, EPERM, true);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&newcomer, segment, "queue", RING_NO_WAIT), EOPNOTSUPP);
    REQUIRE(test_refuse_nothing() > 0);
    REQUIRE_SAME(test_put(&producer, 8, 2, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 1, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 2, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_open_producer(&newcomer, segment, "queue", RING_NO_WAIT));
    REQUIRE_SAME(test_put(&newcomer, 8, 3, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_put(&producer, 8, 4, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 3, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_get(&consumer, 8, 4, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_producer(&newcomer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    test_end_queue(segment);
}
