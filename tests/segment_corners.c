/* segment_corners.c - segments in situations that seldom come: odd sizes, dumps, forks, damaged constants, closed
 * descriptors. */
#include "harness.h"

#include <fcntl.h>
#include <ring/layout.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct ring_segment_info info_of(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

static void finish(struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(corners, a_segment_that_is_no_multiple_of_2_mib_is_not_wholly_huge_and_that_is_told)
{
    struct ring_segment *segment = test_create(3 << 20), *attached;
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_HUGE;
    REQUIRE_OK(ring_segment_attach(&attached, test_name(), &options, RING_NO_WAIT));
    REQUIRE(info_of(attached).huge_error != 0);
    REQUIRE(info_of(attached).huge_bytes < 3 << 20);
    REQUIRE_OK(ring_segment_close(&attached));
    options.flags = RING_HUGE | RING_STRICT;
    REQUIRE_REFUSED(ring_segment_attach(&attached, test_name(), &options, RING_NO_WAIT), EOPNOTSUPP);
    REQUIRE(strstr(ring_error_detail(), "multiple of 2 MiB"));
    finish(segment);
}

/* Does the kernel leave the segment's pages out of a core file? */
static bool is_left_out_of_dumps(void)
{
    char line[512];
    bool ours = false, left_out = false, seen = false;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    REQUIRE(smaps);
    while (fgets(line, sizeof line, smaps)) {
        if (strstr(line, "rw-s") && strstr(line, "/dev/shm/"))
            ours = true;
        if (ours && strncmp(line, "VmFlags:", 8) == 0) {
            left_out |= strstr(line, " dd") != NULL;
            seen = true;
            ours = false;
        }
    }
    fclose(smaps);
    REQUIRE(seen);
    return left_out;
}

Test(corners, a_segment_is_in_core_files_only_if_that_was_asked_for)
{
    for (int dump = 0; dump < 2; dump++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
        options.flags = dump ? RING_DUMP : 0;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_SAME(is_left_out_of_dumps(), !dump);
        finish(segment);
    }
}

Test(corners, a_mode_that_shuts_the_owner_out_is_refused)
{
    static const unsigned modes[] = { 0400, 0200, 0066, 04600, 010600 };
    struct ring_segment *segment;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
        options.mode = modes[i];
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    }
}

Test(corners, the_pages_of_a_large_segment_are_asked_for_their_node_by_samples)
{
    struct ring_segment *small = test_create(1 << 20), *large;
    char name[TEST_NAME];
    struct ring_segment_options options = test_plain(24 << 20);
    REQUIRE_OK(ring_segment_create(&large, test_name_of(name, 1), &options));
    int node = info_of(small).numa_node;
    REQUIRE(info_of(large).numa_node == node || info_of(large).numa_node == RING_NODE_MIXED);
    REQUIRE_OK(ring_segment_close(&large));
    REQUIRE_OK(ring_segment_unlink(name));
    finish(small);
}

Test(corners, unlink_leaves_what_is_no_regular_file_alone)
{
    char path[TEST_NAME];
    struct stat status;
    test_path(path, test_name());
    REQUIRE_SAME(mkfifo(path, 0600), 0);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), EPROTO);
    REQUIRE(lstat(path, &status) == 0 && S_ISFIFO(status.st_mode));
    unlink(path);
    REQUIRE_SAME(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0, 0);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), EPROTO); /* an empty file */
    unlink(path);
}

/* ---- Forks ---- */

static int close_copies(void *argument)
{
    struct test_pair *pair = argument;
    REQUIRE_OK(ring_spsc_close_producer(&pair->producer));
    REQUIRE_OK(ring_spsc_close_consumer(&pair->consumer));
    REQUIRE_REFUSED(ring_spsc_close_consumer(&pair->consumer), EBADF);
    REQUIRE_OK(ring_segment_close(&pair->segment)); /* its last user there */
    return 0;
}

Test(corners, a_forked_child_that_closes_its_copies_of_everything_harms_nobody)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    test_send(&pair.producer, 100, 1);
    test_wait(test_spawn(close_copies, &pair));
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_ALIVE);
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_ALIVE);
    test_recv(&pair.consumer, 100, 1);
    test_send(&pair.producer, 100, 2);
    test_recv(&pair.consumer, 100, 2);
    test_pair_close(&pair);
}

/* ---- Looking without descriptors ---- */

static int hold_producer(void *word)
{
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    ring_atomic_store((RING_ATOMIC(uint64_t) *)word, 1, memory_order_release);
    for (;;)
        pause();
    return 0;
}

static enum ring_peer producer_seen(struct ring_segment *segment)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    return info.producer.peer;
}

static int look_without_descriptors(void *argument)
{
    pid_t *holder = argument;
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment;
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    for (int fd = 3; fd < 1024; fd++)
        close(fd); /* some programs do that, whoever the descriptors belong to */
    REQUIRE_SAME(producer_seen(segment), RING_PEER_ALIVE);
    kill(*holder, SIGKILL);
    for (int tries = 0; producer_seen(segment) != RING_PEER_DEAD; tries++) {
        REQUIRE(tries < 10000);
        test_nap(1000000);
    }
    return 0;
}

Test(corners, who_only_looks_sees_deaths_though_the_program_closed_all_descriptors)
{
    struct ring_segment *segment = test_create(1 << 20);
    RING_ATOMIC(uint64_t) *word = test_shared(sizeof *word);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    pid_t holder = test_spawn(hold_producer, word);
    test_await(word, 1);
    test_wait(test_spawn(look_without_descriptors, &holder));
    REQUIRE_SAME(test_wait_status(holder), SIGKILL);
    finish(segment);
}

/* ---- Constants that do not fit together ---- */

static void put_word(size_t at, uint64_t value, size_t length)
{
    struct test_outside outside = test_outside_open(test_name());
    memcpy(outside.bytes + at, &value, length);
    test_outside_close(&outside);
}

static void require_damaged(void)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(0);
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EUCLEAN);
}

/* File and header of the same wrong size. */
static void resize(uint64_t bytes)
{
    char path[TEST_NAME];
    put_word(offsetof(struct ring_layout_segment, bytes), bytes, 8);
    REQUIRE_SAME(truncate(test_path(path, test_name()), (off_t)bytes), 0);
}

Test(corners, a_file_and_a_header_that_agree_on_an_impossible_size_are_refused)
{
    struct ring_segment *segment = test_create(1 << 20);
    REQUIRE_OK(ring_segment_close(&segment));
    resize((1 << 20) + 8);
    require_damaged();
    resize(RING_SEGMENT_MIN_BYTES - 4096);
    require_damaged();
    resize(RING_SEGMENT_MAX_BYTES + 4096); /* nearly all of it a hole */
    require_damaged();
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(corners, a_directory_larger_than_its_segment_is_refused_though_its_fields_agree)
{
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES);
    REQUIRE_OK(ring_segment_close(&segment));
    uint64_t entries = RING_SEGMENT_MAX_RINGS;
    uint64_t arena = RING_LAYOUT_PAGE + entries * sizeof(struct ring_layout_entry);
    arena = (arena + RING_LAYOUT_PAGE - 1) / RING_LAYOUT_PAGE * RING_LAYOUT_PAGE;
    REQUIRE(arena > RING_SEGMENT_MIN_BYTES);
    put_word(offsetof(struct ring_layout_segment, directory_entries), entries, 4);
    put_word(offsetof(struct ring_layout_segment, arena_offset), arena, 8);
    require_damaged();
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(corners, a_ring_is_made_behind_all_others_in_whatever_order_the_directory_names_them)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_layout_entry entries[2];
    struct ring_entry_info info[3];
    REQUIRE_OK(ring_spsc_create(segment, "one", 4096));
    REQUIRE_OK(ring_spsc_create(segment, "two", 8192));
    struct test_outside outside = test_outside_open(test_name());
    memcpy(entries, outside.bytes + RING_LAYOUT_PAGE, sizeof entries);
    memcpy(outside.bytes + RING_LAYOUT_PAGE, &entries[1], sizeof entries[1]);
    memcpy(outside.bytes + RING_LAYOUT_PAGE + sizeof entries[0], &entries[0], sizeof entries[0]);
    test_outside_close(&outside);
    REQUIRE_OK(ring_spsc_create(segment, "three", 4096));
    for (unsigned i = 0; i < 3; i++)
        REQUIRE_OK(ring_segment_entry(segment, i, &info[i]));
    REQUIRE(info[1].offset < info[0].offset);
    REQUIRE(info[2].offset >= info[0].offset + info[0].bytes);
    finish(segment);
}
