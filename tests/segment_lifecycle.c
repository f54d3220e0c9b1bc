/* segment_lifecycle.c - create, attach, open, close, unlink of segments: what works, what is refused, what is left. */
#include "harness.h"

#include <sys/stat.h>

static struct ring_segment *attach_now(const char *name)
{
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_attach(&segment, name, &options, RING_NO_WAIT));
    return segment;
}

static struct ring_segment_info info_of(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

Test(segment, a_created_one_can_be_attached_by_its_name_with_or_without_a_slash)
{
    struct ring_segment *created = test_create(1 << 20);
    char slashed[TEST_NAME + 1];
    snprintf(slashed, sizeof slashed, "/%s", test_name());
    struct ring_segment *plain = attach_now(test_name()), *with_slash = attach_now(slashed);
    REQUIRE_SAME(info_of(plain).bytes, info_of(with_slash).bytes);
    REQUIRE(strcmp(info_of(with_slash).name, test_name()) == 0);
    REQUIRE_OK(ring_segment_close(&with_slash));
    REQUIRE_OK(ring_segment_close(&plain));
    REQUIRE_OK(ring_segment_close(&created));
    REQUIRE_OK(ring_segment_unlink(slashed));
    REQUIRE_SAME(test_names_left(), 0);
}

Test(segment, null_options_mean_the_defaults)
{
    struct ring_segment *segment, *again, *open;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), NULL));
    REQUIRE_OK(ring_segment_attach(&again, test_name(), NULL, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_open(&open, test_name(), NULL));
    struct ring_segment_info info = info_of(segment);
    REQUIRE(info.bytes >= RING_SEGMENT_DEFAULT_BYTES);
    REQUIRE_SAME(info.max_rings, RING_SEGMENT_DEFAULT_RINGS);
    REQUIRE_SAME(info.mode, 0600);
    REQUIRE_SAME(info.flags, RING_HUGE | RING_LOCK);
    REQUIRE_OK(ring_segment_close(&open));
    REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(segment, a_taken_name_is_refused_and_what_has_it_is_unharmed)
{
    struct ring_segment *first = test_create(1 << 20), *second = (void *)1;
    REQUIRE_OK(ring_spsc_create(first, "ring", 4096));
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), NULL), EEXIST);
    REQUIRE(!second);
    struct ring_segment *again = attach_now(test_name());
    REQUIRE_SAME(info_of(again).rings, 1);
    REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&first));
}

Test(segment, one_that_is_not_there_is_reported_at_once_or_after_the_time_limit)
{
    struct ring_segment *segment = (void *)1;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), NULL, RING_NO_WAIT), ENOENT);
    REQUIRE(!segment);
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), NULL, 20000000), ETIMEDOUT);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), ENOENT);
}

Test(segment, bad_names_are_refused_by_every_call)
{
    char longest[RING_SEGMENT_NAME_MAX + 1], too_long[RING_SEGMENT_NAME_MAX + 3];
    memset(longest, 'x', sizeof longest);
    longest[RING_SEGMENT_NAME_MAX] = 0;
    memset(too_long, 'x', sizeof too_long);
    too_long[RING_SEGMENT_NAME_MAX + 1] = 0;
    static const char *const bad[] = { NULL,  "",     "/",  "//",  ".",    "..",   "/.",        "/..",
                                       "a/b", "/a/b", "a/", "//a", "../a", "a\nb", "a\x1b[31m", "\x7f" };
    struct ring_segment *segment = (void *)1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REQUIRE_REFUSED(ring_segment_create(&segment, bad[i], NULL), EINVAL);
        REQUIRE_REFUSED(ring_segment_attach(&segment, bad[i], NULL, RING_NO_WAIT), EINVAL);
        REQUIRE_REFUSED(ring_segment_attach(&segment, bad[i], NULL, RING_FOREVER), EINVAL);
        REQUIRE_REFUSED(ring_segment_open(&segment, bad[i], NULL), EINVAL);
        REQUIRE_REFUSED(ring_segment_unlink(bad[i]), EINVAL);
        REQUIRE(!segment);
    }
    REQUIRE_REFUSED(ring_segment_create(&segment, too_long, NULL), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_segment_attach(&segment, too_long, NULL, RING_FOREVER), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_segment_open(&segment, too_long, NULL), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_segment_unlink(too_long), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_segment_attach(&segment, longest, NULL, RING_NO_WAIT), ENOENT);
}

Test(segment, the_longest_name_works)
{
    char longest[RING_SEGMENT_NAME_MAX + 1];
    memset(longest, 'y', sizeof longest);
    longest[RING_SEGMENT_NAME_MAX] = 0;
    memcpy(longest, test_name(), strlen(test_name()));
    longest[strlen(test_name())] = '-';
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
    REQUIRE_OK(ring_segment_create(&segment, longest, &options));
    REQUIRE(strcmp(info_of(segment).name, longest) == 0);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(longest));
}

static void refused_with(struct ring_segment_options options, int error)
{
    struct ring_segment *segment = (void *)1;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), error);
    REQUIRE(!segment);
    segment = (void *)1;
    REQUIRE_REFUSED(ring_segment_open(&segment, test_name(), &options), error);
    REQUIRE(!segment);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(segment, options_out_of_range_are_refused_and_leave_nothing)
{
    static const size_t bad_sizes[] = { 0, 1, RING_SEGMENT_MIN_BYTES - 1, RING_SEGMENT_MAX_BYTES + 1, SIZE_MAX / 2 + 1,
                                        SIZE_MAX - 4096, SIZE_MAX - 1, SIZE_MAX };
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        refused_with(test_plain(bad_sizes[i]), EINVAL);
        struct ring_segment_options huge = ring_segment_defaults();
        huge.bytes = bad_sizes[i];
        refused_with(huge, EINVAL);
    }
    struct ring_segment_options options = test_plain(1 << 20);
    options.rings = 0;
    refused_with(options, EINVAL);
    options.rings = RING_SEGMENT_MAX_RINGS + 1;
    refused_with(options, EINVAL);
    options.rings = UINT32_MAX;
    refused_with(options, EINVAL);
    options = test_plain(1 << 20);
    options.struct_size = 0;
    refused_with(options, EINVAL);
    options = test_plain(1 << 20);
    options.flags = 1u << 31;
    refused_with(options, EINVAL);
    options = test_plain(1 << 20);
    options.mode = 010000;
    refused_with(options, EINVAL);
    options = test_plain(1 << 20);
    options.numa_node = -7;
    refused_with(options, EINVAL);
}

Test(segment, a_directory_larger_than_the_segment_is_refused)
{
    struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
    options.rings = RING_SEGMENT_MAX_RINGS;
    struct ring_segment *segment = (void *)1;
    REQUIRE_REFUSED_SOMEHOW(ring_segment_create(&segment, test_name(), &options));
    REQUIRE(!segment);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(segment, null_arguments_are_refused)
{
    struct ring_segment *segment = NULL;
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_REFUSED(ring_segment_create(NULL, test_name(), NULL), EINVAL);
    REQUIRE_REFUSED(ring_segment_attach(NULL, test_name(), NULL, RING_NO_WAIT), EINVAL);
    REQUIRE_REFUSED(ring_segment_open(NULL, test_name(), NULL), EINVAL);
    REQUIRE_REFUSED_SOMEHOW(ring_segment_close(NULL));
    REQUIRE_REFUSED_SOMEHOW(ring_segment_info(NULL, &info));
    REQUIRE_SAME(test_names_left(), 0);
    segment = test_create(RING_SEGMENT_MIN_BYTES);
    REQUIRE_REFUSED(ring_segment_info(segment, NULL), EINVAL);
    info.struct_size = 0;
    REQUIRE_REFUSED(ring_segment_info(segment, &info), EINVAL);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(segment, closing_twice_is_refused_and_does_nothing)
{
    struct ring_segment *segment = test_create(RING_SEGMENT_MIN_BYTES), *other = attach_now(test_name());
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE(!segment);
    REQUIRE_REFUSED(ring_segment_close(&segment), EBADF);
    REQUIRE_SAME(info_of(other).bytes, RING_SEGMENT_MIN_BYTES);
    REQUIRE_OK(ring_segment_close(&other));
}

Test(segment, the_mode_is_what_was_asked_for_whatever_the_umask)
{
    static const unsigned modes[] = { 0600, 0640, 0644, 0660, 0666 };
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
        mode_t before = umask(i % 2 ? 0777 : 0);
        char name[TEST_NAME], path[TEST_NAME];
        struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
        options.mode = modes[i];
        struct ring_segment *segment;
        REQUIRE_OK(ring_segment_create(&segment, test_name_of(name, (int)i), &options));
        umask(before);
        struct stat status;
        REQUIRE_SAME(stat(test_path(path, name), &status), 0);
        REQUIRE_SAME(status.st_mode & 07777, modes[i]);
        REQUIRE_SAME(info_of(segment).mode, modes[i]);
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(name));
    }
}

Test(segment, an_unlinked_one_goes_on_working_and_its_name_is_free)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_OK(ring_segment_unlink(test_name()));
    test_send(&pair.producer, 100, 1);
    test_recv(&pair.consumer, 100, 1);
    struct ring_segment *second = test_create(RING_SEGMENT_MIN_BYTES);
    REQUIRE_SAME(info_of(second).rings, 0);
    REQUIRE_OK(ring_segment_close(&second));
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    test_open_producer(&pair.producer, pair.segment);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    REQUIRE_OK(ring_segment_close(&pair.segment));
}

Test(segment, endpoints_go_on_after_their_segment_handle_was_closed)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0); /* once, so that what is made at the first use is made */
    test_pair_close(&pair);
    unsigned mappings = test_mappings(), descriptors = test_descriptors();
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_OK(ring_segment_close(&pair.segment));
    for (uint64_t i = 0; i < 1000; i++) {
        test_send(&pair.producer, i % 500, i);
        test_recv(&pair.consumer, i % 500, i);
    }
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_ALIVE);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    REQUIRE_SAME(ring_spsc_consumer_state(&pair.producer), RING_PEER_CLOSED);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE(test_mappings() <= mappings + 2); /* the heap may have grown */
}

Test(segment, info_tells_what_was_granted)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_segment_info before = info_of(segment);
    REQUIRE_SAME(before.bytes, 1 << 20);
    REQUIRE_SAME(before.rings, 0);
    REQUIRE_SAME(before.version, RING_LAYOUT_VERSION);
    REQUIRE_SAME(before.creator_pid, getpid());
    REQUIRE_SAME(before.owner, geteuid());
    REQUIRE_SAME(before.flags, 0);
    REQUIRE(before.page_bytes == 4096 || before.page_bytes == (size_t)sysconf(_SC_PAGESIZE));
    REQUIRE(before.used_bytes >= 4096 + RING_SEGMENT_DEFAULT_RINGS * sizeof(struct ring_layout_entry));
    REQUIRE(before.created_ns > 0);
    REQUIRE(before.creator_command[0]);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 8192));
    struct ring_segment_info after = info_of(segment);
    REQUIRE_SAME(after.rings, 1);
    REQUIRE_SAME(after.used_bytes, before.used_bytes + ring_spsc_footprint(8192));
    REQUIRE_OK(ring_segment_close(&segment));
}

static void open_and_close(int round)
{
    struct ring_segment *segment, *again;
    struct ring_segment_options options = round % 2 ? ring_segment_defaults() : test_plain(1 << 16);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_open(&again, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_producer producer, second;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", 0));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, again, "ring", 0));
    REQUIRE_REFUSED(ring_spsc_open_producer(&second, again, "ring", 0), EBUSY);
    REQUIRE_REFUSED(ring_spsc_open_producer(&second, again, "none", 0), ENOENT);
    REQUIRE_REFUSED(ring_spsc_create(segment, "ring", 4096), EEXIST);
    REQUIRE_REFUSED(ring_spsc_create(segment, "big", (size_t)1 << 30), ENOSPC);
    struct ring_segment *refused;
    REQUIRE_REFUSED(ring_segment_create(&refused, test_name(), &options), EEXIST);
    if (round % 3)
        REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    if (!(round % 3))
        REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE_REFUSED(ring_segment_attach(&refused, test_name(), NULL, 0), ENOENT);
}

Test(segment, nothing_is_leaked_by_many_rounds_of_everything)
{
    for (int round = 0; round < 6; round++)
        open_and_close(round);
    unsigned descriptors = test_descriptors(), mappings = test_mappings();
    for (int round = 0; round < 60; round++)
        open_and_close(round);
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE(test_mappings() <= mappings + 2);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(segment, unlink_leaves_a_foreign_file_alone)
{
    char path[TEST_NAME];
    struct stat status;
    FILE *file = fopen(test_path(path, test_name()), "w");
    REQUIRE(file);
    fputs("these are not the bytes of a segment\n", file);
    fclose(file);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), EPROTO);
    REQUIRE_SAME(stat(path, &status), 0);
}

Test(segment, none_of_its_memory_is_inherited_by_a_child_or_executable)
{
    struct ring_segment *segment = test_create(1 << 20);
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool ours = false;
    int seen = 0, flags_seen = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            ours = strstr(line, test_name()) || strstr(line, "/dev/shm/#");
            seen += ours;
            REQUIRE(!ours || !strstr(line, "xs "));
        } else if (ours && strncmp(line, "VmFlags:", 8) == 0) {
            flags_seen++;
            REQUIRE(strstr(line, " dc")); /* not copied by fork */
            REQUIRE(strstr(line, " dd")); /* not in core dumps */
        }
    }
    fclose(maps);
    REQUIRE(seen > 0 && flags_seen == seen);
    REQUIRE_OK(ring_segment_close(&segment));
}
