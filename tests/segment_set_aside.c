/* segment_set_aside.c - segments in huge pages that root set aside: in a hugetlbfs, and as other backings take them. */
#include "backings.h"

static int without_hugetlbfs(void *unused)
{
    (void)unused;
    if (!test_own_mounts(NULL))
        return TEST_NO_NAMESPACE;
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_options(RING_BACKING_HUGETLBFS, TEST_MIB);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE(strstr(ring_error_detail(), "mount -t hugetlbfs -o pagesize=2M"));
    options.page_bytes = 1 << 30;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE(strstr(ring_error_detail(), "mount -t hugetlbfs -o pagesize=1024M"));
    options.path = "/no/such/mount";
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE(strstr(ring_error_detail(), "/no/such/mount"));
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EOPNOTSUPP);
    REQUIRE(!segment);
    return 0;
}

Test(backings, a_hugetlbfs_that_is_not_mounted_is_told_with_the_command_that_mounts_it)
{
    test_in_own_mounts(without_hugetlbfs, 0);
}

static int use_hugetlbfs(void *unused)
{
    (void)unused;
    if (!test_own_mounts("/mnt/huge"))
        return TEST_NO_NAMESPACE;
    struct ring_segment *segment, *second;
    struct ring_segment_options options = test_options(RING_BACKING_HUGETLBFS, 3 * TEST_MIB);
    options.flags = RING_HUGE | RING_LOCK | RING_STRICT;
    options.mode = 0640;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    test_use_rings(segment);
    struct ring_segment_info info = test_info(segment);
    REQUIRE_SAME(info.backing, RING_BACKING_HUGETLBFS);
    REQUIRE_SAME(info.bytes, 4 * TEST_MIB);
    REQUIRE_SAME(info.huge_bytes, 4 * TEST_MIB);
    REQUIRE_SAME(info.locked_bytes, 4 * TEST_MIB);
    REQUIRE_SAME(info.page_bytes, 2 * TEST_MIB);
    REQUIRE_SAME(info.mode, 0640);
    REQUIRE(strncmp(info.path, "/mnt/huge/", 10) == 0);
    test_cross(segment); /* found by its name alone */
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), EEXIST);
    char name[TEST_NAME];
    options.bytes = 64 * TEST_MIB;
    REQUIRE_REFUSED(ring_segment_create(&second, test_name_of(name, 1), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "nr_hugepages"));
    REQUIRE_OK(ring_segment_close(&segment));
    options.removal = RING_REMOVE_WITH_LAST;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EEXIST);
    REQUIRE(strstr(ring_error_detail(), "nobody living"));
    options.bytes = TEST_MIB;
    options.flags |= RING_RECLAIM;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), NULL, RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), ENOENT);
    return 0;
}

Test(backings, a_hugetlbfs_gives_huge_pages_and_is_found_by_its_size)
{
    test_in_own_mounts(use_hugetlbfs, 8);
}

static int ask_for_too_many(void *unused)
{
    (void)unused;
    if (!test_own_mounts("/mnt/huge"))
        return TEST_NO_NAMESPACE;
    static const unsigned backings[] = { RING_BACKING_HUGETLBFS, RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V,
                                         RING_BACKING_PRIVATE };
    unsigned descriptors = test_descriptors();
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment = (void *)1;
        struct ring_segment_options options = test_options(backings[i], (size_t)1 << 40);
        options.page_bytes = 2 * TEST_MIB;
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
        REQUIRE(strstr(ring_error_detail(), "hugepages-2048kB/nr_hugepages"));
        REQUIRE(!segment);
        REQUIRE_SAME(test_descriptors(), descriptors);
        REQUIRE_SAME(test_names_left(), 0);
    }
    return 0;
}

Test(backings, too_few_huge_pages_are_told_with_the_file_that_sets_more_aside_and_nothing_is_left)
{
#ifdef TEST_SLOW
    test_skip("sanitizers need the address space for themselves");
#endif
    test_in_own_mounts(ask_for_too_many, 0);
}

static int use_huge_pages_elsewhere(void *unused)
{
    (void)unused;
    static const unsigned backings[] = { RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V, RING_BACKING_PRIVATE };
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_options(backings[i], TEST_MIB);
        options.page_bytes = 2 * TEST_MIB;
        options.flags = RING_HUGE | RING_LOCK | RING_STRICT;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        test_use_rings(segment);
        struct ring_segment_info info = test_info(segment);
        REQUIRE_SAME(info.bytes, 2 * TEST_MIB);
        REQUIRE_SAME(info.huge_bytes, 2 * TEST_MIB);
        REQUIRE_SAME(info.page_bytes, 2 * TEST_MIB);
        if (backings[i] == RING_BACKING_SYSTEM_V)
            test_cross(segment);
        REQUIRE_OK(ring_segment_close(&segment));
        if (backings[i] == RING_BACKING_SYSTEM_V)
            REQUIRE_OK(ring_segment_unlink(test_name()));
        options.bytes = 64 * TEST_MIB;
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
        REQUIRE_SAME(test_names_left(), 0);
    }
    return 0;
}

Test(backings, memfd_system_v_and_private_memory_take_huge_pages_that_were_set_aside)
{
    test_in_own_mounts(use_huge_pages_elsewhere, 8);
}
