/* refusals_told.c - what single refusals of the system come to: what is done without, what is told, and what goes on.
 */
#include "mpmc.h"
#include "refuse.h"

#include <fcntl.h>
#include <ring/layout.h>
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

/* Who asks whether a lock is held and is refused takes it for held, in doubt: so it is tried for before. */
Test(refused, locks_that_the_kernel_keeps_no_more_are_told_as_such_and_not_as_held_by_others)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_mpmc_producer producer;
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    int code = -1;
    for (unsigned at = 0; code; at++) {
        test_refuse(CALL_LOCK_FILE, at, ENOLCK, true);
        test_clock_runs(TEST_SECOND / 10);
        code = ring_mpmc_open_producer(&producer, segment, "queue", 0);
        test_clock_runs(0);
        REQUIRE(test_refuse_nothing() > 0 || code == 0);
        REQUIRE_ONE_OF(code, 0, -ENOLCK);
        REQUIRE(code == 0 || strstr(ring_error_detail(), "refused a lock"));
    }
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
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
