/* segment_backings.c - private memory, memory that the caller gives, and what is the same for segments of every
 * backing: each tells the truth about itself, and refuses what it cannot give. segment_system_v.c, segment_set_aside.c
 * and segment_handover.c have the others. */
#include "backings.h"

#include <sys/mman.h>

/* ---- Private and given memory ---- */

Test(backings, private_memory_serves_the_threads_of_one_process_and_leaves_nothing)
{
    unsigned descriptors = test_descriptors();
    struct ring_segment *segment, *other;
    struct ring_segment_options options = test_options(RING_BACKING_PRIVATE, TEST_MIB);
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    test_use_rings(segment);
    struct ring_segment_info info = test_info(segment);
    REQUIRE_SAME(info.backing, RING_BACKING_PRIVATE);
    REQUIRE_SAME(info.bytes, TEST_MIB);
    REQUIRE_SAME(info.resident_bytes, TEST_MIB);
    REQUIRE_SAME(info.path[0], '\0');
    REQUIRE(info.held);
    REQUIRE_REFUSED(ring_segment_attach(&other, test_name(), &options, RING_NO_WAIT), EINVAL);
    REQUIRE_OK(ring_segment_create(&other, test_name(), &options)); /* a label, as often as one likes */
    REQUIRE(strcmp(test_info(other).name, test_name()) == 0);
    REQUIRE_OK(ring_segment_close(&other));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_SAME(test_names_left(), 0);
    REQUIRE_SAME(test_descriptors(), descriptors);
}

Test(backings, each_gets_2_mib_pages_or_tells_why_not)
{
    static const unsigned backings[] = { RING_BACKING_PRIVATE, RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V };
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_options(backings[i], 3 * TEST_MIB);
        options.flags = RING_HUGE;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        struct ring_segment_info info = test_info(segment);
        REQUIRE_SAME(info.bytes, 4 * TEST_MIB);
        REQUIRE(info.huge_error || info.huge_bytes == 4 * TEST_MIB);
        REQUIRE_OK(ring_segment_close(&segment));
        if (backings[i] == RING_BACKING_SYSTEM_V)
            REQUIRE_OK(ring_segment_unlink(test_name()));
        options.flags |= RING_STRICT;
        int code = ring_segment_create(&segment, test_name(), &options);
        REQUIRE_SAME(code, info.huge_error ? -EOPNOTSUPP : 0);
        if (code)
            continue;
        REQUIRE_OK(ring_segment_close(&segment));
        if (backings[i] == RING_BACKING_SYSTEM_V)
            REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

Test(backings, given_memory_is_used_where_it_lies_and_stays_the_callers)
{
    unsigned char *memory = mmap(NULL, TEST_MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    memset(memory, 0xa5, TEST_MIB);
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_GIVEN, TEST_MIB);
    options.memory = memory;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    test_use_rings(segment);
    REQUIRE_SAME(test_info(segment).backing, RING_BACKING_GIVEN);
    REQUIRE_SAME(memcmp(memory, "\1SHMRING", 8), 0);
    REQUIRE_OK(ring_segment_close(&segment));
    memory[TEST_MIB - 1] = 1;                                  /* still there */
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options)); /* what was in it is forgotten */
    REQUIRE_SAME(test_info(segment).rings, 0);
    REQUIRE_OK(ring_segment_close(&segment));
    munmap(memory, TEST_MIB);
}

Test(backings, given_memory_that_is_askew_or_missing_is_refused)
{
    unsigned char *memory = mmap(NULL, TEST_MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_GIVEN, TEST_MIB / 2);
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.memory = memory + 64;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.memory = memory;
    options.bytes = TEST_MIB / 2 + 64;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.bytes = 4096;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.bytes = TEST_MIB / 2;
    options.flags = RING_LOCK | RING_STRICT; /* it is not locked, and we do not lock it */
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EOPNOTSUPP);
    options.flags = RING_LOCK;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(test_info(segment).lock_error, -EOPNOTSUPP);
    REQUIRE_OK(ring_segment_close(&segment));
#ifndef TEST_SLOW
    REQUIRE_SAME(mlock(memory, TEST_MIB), 0);
    options.flags = RING_LOCK | RING_STRICT;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(test_info(segment).locked_bytes, TEST_MIB / 2);
    REQUIRE_OK(ring_segment_close(&segment));
#endif
    munmap(memory, TEST_MIB);
}

/* ---- Options ---- */

Test(backings, what_a_backing_cannot_give_is_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_GIVEN + 1, TEST_MIB);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = test_options(RING_BACKING_POSIX, TEST_MIB);
    options.page_bytes = 2 * TEST_MIB;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.page_bytes = 12345;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = test_options(RING_BACKING_POSIX, TEST_MIB);
    options.key = 1;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.key = 0;
    options.path = "/tmp";
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.path = NULL;
    options.flags = RING_SEAL_WRITES;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.flags = 0;
    options.removal = RING_REMOVE_WITH_LAST + 1;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = test_options(RING_BACKING_MEMFD, TEST_MIB);
    options.removal = RING_REMOVE_WITH_CREATOR;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
    options.numa_node = 1000;
    options.flags = RING_STRICT;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(backings, options_of_the_size_before_backings_are_still_accepted)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(TEST_MIB);
    options.struct_size = offsetof(struct ring_segment_options, backing);
    options.backing = RING_BACKING_GIVEN; /* not read */
    options.removal = 99;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info;
    memset(&info, 0x5a, sizeof info);
    info.struct_size = offsetof(struct ring_segment_info, backing);
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.bytes, TEST_MIB);
    REQUIRE_SAME(info.backing, 0x5a5a5a5a); /* not written */
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(backings, owner_and_group_are_what_was_asked_for)
{
    if (geteuid() != 0)
        test_skip("only root can give files away");
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_SYSTEM_V };
    for (unsigned i = 0; i < 2; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_options(backings[i], TEST_MIB);
        options.owner = 65534;
        options.group = 12345;
        options.mode = 0660;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        struct ring_segment_info info = test_info(segment);
        REQUIRE_SAME(info.owner, 65534);
        REQUIRE_SAME(info.group, 12345);
        REQUIRE_SAME(info.mode, 0660);
        struct ring_segment *second;
        REQUIRE_REFUSED(ring_segment_attach(&second, test_name(), NULL, RING_NO_WAIT), EPERM);
        options = test_plain(0);
        options.flags = RING_ANY_OWNER;
        REQUIRE_OK(ring_segment_attach(&second, test_name(), &options, RING_NO_WAIT));
        REQUIRE_OK(ring_segment_close(&second));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

struct seen {
    const char *name;
    unsigned backing;
    unsigned count;
};

static void see(void *context, const struct ring_segment_found *found)
{
    struct seen *seen = context;
    if (strcmp(found->name, seen->name) == 0) {
        seen->count++;
        seen->backing = found->backing;
    }
}

Test(backings, all_segments_of_the_machine_can_be_listed)
{
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_SYSTEM_V };
    for (unsigned i = 0; i < 2; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_options(backings[i], TEST_MIB);
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        struct seen seen = { .name = test_name() };
        REQUIRE_OK(ring_segment_each(see, &seen));
        REQUIRE_SAME(seen.count, 1);
        REQUIRE_SAME(seen.backing, backings[i]);
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
    REQUIRE_REFUSED(ring_segment_each(NULL, NULL), EINVAL);
}
