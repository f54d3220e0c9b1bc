/* segment_readonly.c - segments attached with RING_READ_ONLY: they can be looked at, by users too who may only read the
 * file, and nothing in them can be written or taken. */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { NOBODY = 65534 };

static struct ring_segment *attach_for_reading(unsigned more)
{
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_READ_ONLY | more;
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, 0));
    return segment;
}

static void let_others_read(void)
{
    char path[TEST_NAME];
    REQUIRE_SAME(chmod(test_path(path, test_name()), 0644), 0);
}

/* The address of the segment's mapping in this process, from /proc/self/maps, with its rights. */
static void find_mapping(char rights[8])
{
    char line[512], path[TEST_NAME];
    FILE *maps = fopen("/proc/self/maps", "re");
    REQUIRE(maps);
    test_path(path, test_name());
    rights[0] = '\0';
    while (fgets(line, sizeof line, maps))
        if (strstr(line, path) && strstr(line, " r"))
            REQUIRE(sscanf(line, "%*x-%*x %7s", rights) == 1);
    fclose(maps);
}

static void end(struct ring_segment *reader, struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&reader));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static int see_mapping_without_the_right_to_write(void *argument)
{
    (void)argument;
    char rights[8];
    struct ring_segment *reader = attach_for_reading(0);
    find_mapping(rights);
    REQUIRE_SAME(strcmp(rights, "r--s"), 0);
    REQUIRE_OK(ring_segment_close(&reader));
    return 0;
}

Test(readonly, the_mapping_has_no_right_to_write)
{
    struct ring_segment *segment = test_create(1 << 20);
    test_wait(test_spawn(see_mapping_without_the_right_to_write, NULL));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(readonly, the_segment_and_its_rings_can_be_looked_at)
{
    struct ring_segment *segment = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send(&producer, 100, 1);
    struct ring_segment *reader = attach_for_reading(0);
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(reader, &info));
    REQUIRE_SAME(info.rings, 1);
    REQUIRE_SAME(info.bytes, 1 << 20);
    REQUIRE(info.flags & RING_READ_ONLY);
    REQUIRE_SAME(info.resident_bytes, 1 << 20);
    struct ring_spsc_info ring = { .struct_size = sizeof ring };
    REQUIRE_OK(ring_spsc_info(reader, "ring", &ring));
    REQUIRE_SAME(ring.messages, 1);
    REQUIRE_SAME(ring.producer.peer, RING_PEER_ALIVE);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_info(reader, "ring", &ring));
    REQUIRE_SAME(ring.producer.peer, RING_PEER_CLOSED);
    end(reader, segment);
}

Test(readonly, nothing_in_it_can_be_made_or_taken)
{
    struct ring_segment *segment = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 16, 56, RING_BROADCAST_LOSSLESS));
    struct ring_segment *reader = attach_for_reading(0);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_broadcast_producer sender;
    struct ring_broadcast_consumer receiver;
    REQUIRE_REFUSED(ring_spsc_create(reader, "other", 4096), EACCES);
    REQUIRE_REFUSED(ring_segment_recover(reader, NULL), EACCES);
    REQUIRE_REFUSED(ring_broadcast_create(reader, "other", 16, 56, RING_BROADCAST_LOSSLESS), EACCES);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, reader, "ring", 0), EACCES);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, reader, "ring", 0), EACCES);
    REQUIRE_REFUSED(ring_broadcast_open_producer(&sender, reader, "news", 0), EACCES);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, reader, "news", RING_BROADCAST_NEWEST, 0, 0), EACCES);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    REQUIRE_SAME(info.producer.peer, RING_PEER_NEVER);
    end(reader, segment);
}

Test(readonly, it_is_for_attaching_only)
{
    struct ring_segment_options options = test_plain(1 << 20);
    options.flags = RING_READ_ONLY;
    struct ring_segment *segment;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    REQUIRE_REFUSED(ring_segment_open(&segment, test_name(), &options), EINVAL);
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, 0), ENOENT);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(readonly, it_gets_the_same_pages_and_locks_as_one_that_may_write)
{
    struct ring_segment *segment = test_create(4 << 20), *writer;
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_HUGE | RING_LOCK;
    struct ring_segment_info writers = { .struct_size = sizeof writers }, readers = writers;
    REQUIRE_OK(ring_segment_attach(&writer, test_name(), &options, 0));
    REQUIRE_OK(ring_segment_info(writer, &writers));
    REQUIRE_OK(ring_segment_close(&writer)); /* one at a time, for RLIMIT_MEMLOCK */
    struct ring_segment *reader = attach_for_reading(RING_HUGE | RING_LOCK);
    REQUIRE_OK(ring_segment_info(reader, &readers));
    REQUIRE_SAME(readers.resident_bytes, 4 << 20);
    REQUIRE_SAME(readers.locked_bytes, writers.locked_bytes);
    REQUIRE_SAME(readers.lock_error, writers.lock_error);
    REQUIRE(readers.huge_bytes == writers.huge_bytes || readers.huge_error != 0);
    end(reader, segment);
}

/* ---- As another user ---- */

static void become_nobody(void)
{
    REQUIRE_SAME(setgid(NOBODY), 0);
    REQUIRE_SAME(setuid(NOBODY), 0);
    prctl(PR_SET_DUMPABLE, 1); /* or /proc/self belongs to root from now on */
}

static int look_as_nobody(void *argument)
{
    (void)argument;
    become_nobody();
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment;
    options.flags = RING_ANY_OWNER;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, 0), EACCES);
    options.flags = RING_READ_ONLY;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, 0), EPERM);
    segment = attach_for_reading(RING_ANY_OWNER);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    REQUIRE_SAME(info.messages, 1);
    REQUIRE_SAME(info.producer.peer, RING_PEER_ALIVE);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(readonly, a_user_who_may_only_read_the_file_can_look)
{
    if (getuid() != 0)
        test_skip("needs root, to become somebody else");
    struct ring_segment *segment = test_create(1 << 20);
    let_others_read();
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send(&producer, 100, 1);
    test_wait(test_spawn(look_as_nobody, NULL));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static int fail_to_read_as_nobody(void *argument)
{
    (void)argument;
    become_nobody();
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment;
    options.flags = RING_ANY_OWNER | RING_READ_ONLY;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, 0), EACCES);
    return 0;
}

Test(readonly, a_user_who_may_not_read_the_file_is_told_so)
{
    if (getuid() != 0)
        test_skip("needs root, to become somebody else");
    struct ring_segment *segment = test_create(1 << 20);
    test_wait(test_spawn(fail_to_read_as_nobody, NULL));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}
