/* segment_surroundings.c - limits of the process, folders with a will of their own, copies with holes, memory of
 * others: what was asked for, or an error with a sentence; never a signal, and never something else. */
#include "backings.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>

enum { KIB = 1 << 10 };

/* `body` in a child with a /dev/shm of its own. */
static void in_own_shm(test_body body)
{
    test_in_own_mounts(body, 0);
}

static bool own_shm(const char *options)
{
    return test_own_mounts(NULL) && mount("tmpfs", "/dev/shm", "tmpfs", 0, options) == 0;
}

/* ---- Limits of the process ---- */

static int create_beyond_the_limit(void *unused)
{
    (void)unused;
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_MEMFD };
    struct rlimit limit = { TEST_MIB, TEST_MIB };
    struct ring_segment *segment = (void *)1;
    REQUIRE_SAME(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment_options options = test_options(backings[i], 2 * TEST_MIB);
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EFBIG);
        REQUIRE(strstr(ring_error_detail(), "ulimit -f"));
        REQUIRE(!segment);
        REQUIRE_SAME(test_names_left(), 0);
        options.bytes = TEST_MIB;
        options.removal = backings[i] == RING_BACKING_POSIX ? RING_REMOVE_WITH_CREATOR : RING_REMOVE_BY_HAND;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_OK(ring_segment_close(&segment));
    }
    return 0;
}

Test(surroundings, a_segment_larger_than_files_may_be_is_an_error_and_no_signal)
{
    test_wait(test_spawn(create_beyond_the_limit, NULL));
}

/* Who calls mlockall() for all of his future has each mapping filled at once. */
static int reserve_while_all_is_locked(void *unused)
{
    (void)unused;
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V,
                                         RING_BACKING_PRIVATE };
    if (mlockall(MCL_FUTURE) != 0)
        return TEST_NO_NAMESPACE;
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_options(backings[i], 64 * KIB);
        options.reserve = 16 * TEST_MIB;
        options.removal = i % 2 ? RING_REMOVE_BY_HAND : RING_REMOVE_WITH_CREATOR;
        REQUIRE_OK(ring_segment_create(&segment, i % 2 ? NULL : test_name(), &options));
        REQUIRE_SAME(test_info(segment).resident_bytes, 64 * KIB);
        REQUIRE_SAME(test_info(segment).locked_bytes, 64 * KIB);
        if (backings[i] == RING_BACKING_POSIX) {
            struct ring_segment *second = test_attach();
            REQUIRE_SAME(test_info(second).resident_bytes, 64 * KIB);
            REQUIRE_OK(ring_segment_close(&second));
        }
        REQUIRE_OK(ring_spsc_create(segment, "ring", TEST_MIB));
        REQUIRE(test_info(segment).resident_bytes < 2 * TEST_MIB);
        REQUIRE_OK(ring_segment_free(segment, "ring"));
        REQUIRE_SAME(test_info(segment).resident_bytes, 64 * KIB);
        REQUIRE_OK(ring_segment_close(&segment));
    }
    return 0;
}

Test(surroundings, a_reserve_takes_no_memory_of_a_process_that_locks_all_it_maps)
{
#ifdef TEST_SLOW
    test_skip("sanitizers turn mlockall() into nothing");
#endif
    int status = test_wait_status(test_spawn(reserve_while_all_is_locked, NULL));
    if (status == TEST_NO_NAMESPACE << 8)
        test_skip("this user may not lock all of his memory");
    REQUIRE_SAME(status, 0);
}

Test(surroundings, sizes_whose_sum_overflows_are_refused)
{
    static const size_t sizes[] = { RING_SEGMENT_MAX_BYTES, RING_SEGMENT_MAX_BYTES - TEST_MIB };
    struct ring_segment *segment = (void *)1;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ring_segment_options options = test_options(RING_BACKING_PRIVATE, sizes[i]);
        options.reserve = (size_t)0 - sizes[i] + 2 * TEST_MIB;
        REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
        options.reserve = SIZE_MAX - ((size_t)1 << 30);
        REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
        REQUIRE(!segment);
    }
}

/* ---- Control groups ---- */

/* A group of so many bytes, with this process in it. */
static bool enter_group(const char *group, size_t bytes)
{
    static const char *const limits[] = { "memory.max", "memory.limit_in_bytes" };
    char path[300];
    bool limited = false;
    for (unsigned i = 0; i < 2 && !limited; i++) {
        snprintf(path, sizeof path, "%s/%s", group, limits[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        limited = fd >= 0 && dprintf(fd, "%zu", bytes) > 0;
        if (fd >= 0)
            close(fd);
    }
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    int fd = limited ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    bool entered = fd >= 0 && dprintf(fd, "0") > 0;
    if (fd >= 0)
        close(fd);
    return entered;
}

static int create_in_a_group(void *context)
{
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V,
                                         RING_BACKING_PRIVATE };
    if (!enter_group(*(const char **)context, 128 * TEST_MIB)) /* sanitizers take some of it */
        return TEST_NO_NAMESPACE;
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment = (void *)1;
        struct ring_segment_options options = test_options(backings[i], 256 * TEST_MIB);
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOSPC);
        REQUIRE(strstr(ring_error_detail(), "control group") && !segment);
        REQUIRE_SAME(test_names_left(), 0);
        options.bytes = 2 * TEST_MIB;
        options.reserve = 512 * TEST_MIB;
        options.removal = i % 2 ? RING_REMOVE_BY_HAND : RING_REMOVE_WITH_CREATOR;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_REFUSED(ring_spsc_create(segment, "large", 256 * TEST_MIB), ENOSPC);
        REQUIRE_OK(ring_spsc_create(segment, "small", 2 * TEST_MIB));
        REQUIRE_OK(ring_segment_close(&segment));
    }
    return 0;
}

Test(surroundings, a_segment_that_its_control_group_has_no_room_for_is_an_error_and_no_signal)
{
    static const char *const parents[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/memory" };
    static char group[300];
    const char *where = group;
    int status = TEST_NO_NAMESPACE << 8;
    for (unsigned i = 0; i < 2 && status == TEST_NO_NAMESPACE << 8; i++) {
        snprintf(group, sizeof group, "%s/%s", parents[i], test_name() + (test_name()[0] == '/'));
        if (mkdir(group, 0755) != 0)
            continue;
        status = test_wait_status(test_spawn(create_in_a_group, &where));
        rmdir(group);
    }
    if (status == TEST_NO_NAMESPACE << 8)
        test_skip("this user can make no control group that limits memory");
    REQUIRE_SAME(status, 0);
}

/* ---- Folders ---- */

static int create_in_a_folder_of_a_group(void *unused)
{
    (void)unused;
    struct ring_segment *segment;
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_SYSTEM_V };
    if (!own_shm("mode=3777,gid=4711"))
        return TEST_NO_NAMESPACE;
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment_options options = test_options(backings[i], TEST_MIB);
        options.mode = 0660;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_SAME(test_info(segment).group, getegid());
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
        options.group = 4711;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_SAME(test_info(segment).group, 4711);
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
    return 0;
}

Test(surroundings, a_segment_is_of_the_group_that_was_asked_for_whatever_the_folder_does)
{
    in_own_shm(create_in_a_folder_of_a_group);
}

static int create_beyond_the_mount(void *unused)
{
    (void)unused;
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_HUGETLBFS, 8 * TEST_MIB);
    if (!test_own_mounts("/mnt/huge") || mount("none", "/mnt/huge", "hugetlbfs", 0, "pagesize=2M,size=4M") != 0)
        return TEST_NO_NAMESPACE;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "size=") && !strstr(ring_error_detail(), "nr_hugepages"));
    options.bytes = 4 * TEST_MIB;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(surroundings, a_limit_of_a_hugetlbfs_is_not_told_as_a_lack_of_pages)
{
    test_in_own_mounts(create_beyond_the_mount, 8);
}

/* ---- Room that the dead have ---- */

struct leftover {
    unsigned backing;
    size_t bytes;
    unsigned removal, flags; /* how it was made; how it is made anew */
};

static int create_and_die(void *context)
{
    const struct leftover *left = context;
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(left->backing, left->bytes);
    options.removal = left->removal;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    kill(getpid(), SIGKILL);
    return 0;
}

static int start_anew_in_little_room(void *unused)
{
    (void)unused;
    struct ring_segment *segment;
    static const struct leftover lefts[] = {
        { RING_BACKING_POSIX, TEST_MIB, RING_REMOVE_BY_HAND, RING_RECLAIM },
        { RING_BACKING_POSIX, TEST_MIB, RING_REMOVE_WITH_LAST, 0 },
        { RING_BACKING_HUGETLBFS, 4 * TEST_MIB, RING_REMOVE_BY_HAND, RING_RECLAIM },
        { RING_BACKING_HUGETLBFS, 4 * TEST_MIB, RING_REMOVE_WITH_CREATOR, 0 },
    };
    if (!test_own_mounts("/mnt/huge") || mount("none", "/mnt/huge", "hugetlbfs", 0, "pagesize=2M,size=4M") != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777,size=1m") != 0)
        return TEST_NO_NAMESPACE;
    for (unsigned i = 0; i < sizeof lefts / sizeof *lefts; i++) {
        struct ring_segment_options options = test_options(lefts[i].backing, lefts[i].bytes);
        options.flags = lefts[i].flags;
        struct leftover left = lefts[i];
        REQUIRE_SAME(test_wait_status(test_spawn(create_and_die, &left)), SIGKILL);
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_REFUSED(ring_segment_create(&(struct ring_segment *){ NULL }, test_name(), &options), EEXIST);
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
    return 0;
}

Test(surroundings, where_there_is_room_for_one_what_the_dead_left_does_not_block_a_new_start)
{
    test_in_own_mounts(start_anew_in_little_room, 8);
}

/* ---- Copies ---- */

/* Replaces the segment's file by a copy in which pages of zeros are holes, and fills /dev/shm. */
static void copy_with_holes(void)
{
    static const char zeros[4096];
    char page[4096], path[TEST_NAME], copied[TEST_NAME + 8];
    struct stat file;
    snprintf(copied, sizeof copied, "%s.copy", test_path(path, test_name()));
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(copied, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(from >= 0 && to >= 0 && fstat(from, &file) == 0 && ftruncate(to, file.st_size) == 0);
    for (off_t at = 0; at < file.st_size; at += (off_t)sizeof page) {
        REQUIRE_SAME(pread(from, page, sizeof page, at), sizeof page);
        if (memcmp(page, zeros, sizeof page) != 0)
            REQUIRE_SAME(pwrite(to, page, sizeof page, at), sizeof page);
    }
    close(from);
    close(to);
    REQUIRE_SAME(rename(copied, path), 0);
    int filler = open("/dev/shm/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(filler, zeros, sizeof zeros) > 0)
        continue;
    close(filler);
}

static int attach_to_a_copy(void *unused)
{
    (void)unused;
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(256 * KIB);
    if (!own_shm("mode=1777,size=1m"))
        return TEST_NO_NAMESPACE;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 64 * KIB));
    REQUIRE_OK(ring_segment_close(&segment));
    copy_with_holes();
    for (unsigned flags = 0; flags <= RING_READ_ONLY; flags += RING_READ_ONLY) {
        options.flags = flags;
        REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), ENOSPC);
        REQUIRE(strstr(ring_error_detail(), "holes") && !segment);
    }
    REQUIRE_SAME(unlink("/dev/shm/filler"), 0);
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), NULL, RING_NO_WAIT));
    REQUIRE_SAME(test_info(segment).resident_bytes, 256 * KIB);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(surroundings, a_segment_with_holes_for_which_there_is_no_room_is_refused)
{
    in_own_shm(attach_to_a_copy);
}

static int open_in_a_copy(void *unused)
{
    (void)unused;
    struct ring_segment *segment;
    struct ring_spsc_producer producer;
    struct ring_segment_options options = test_plain(RING_SEGMENT_MIN_BYTES);
    if (!own_shm("mode=1777,size=1m"))
        return TEST_NO_NAMESPACE;
    options.reserve = 512 * KIB;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 128 * KIB));
    /* All that is in memory for certain is touched, so that only the reserve has holes. */
    char path[TEST_NAME], page[RING_SEGMENT_MIN_BYTES];
    int fd = open(test_path(path, test_name()), O_RDWR | O_CLOEXEC);
    REQUIRE_SAME(pread(fd, page, sizeof page, 0), sizeof page);
    for (size_t at = 4096 - 1; at < sizeof page; at += 4096)
        page[at] = page[at] ? page[at] : 1;
    REQUIRE_SAME(pwrite(fd, page, sizeof page, 0), sizeof page);
    close(fd);
    REQUIRE_OK(ring_segment_close(&segment));
    copy_with_holes();
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), ENOSPC);
    REQUIRE_SAME(unlink("/dev/shm/filler"), 0);
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(surroundings, a_ring_in_a_reserve_with_holes_for_which_there_is_no_room_is_not_opened)
{
    in_own_shm(open_in_a_copy);
}

/* ---- Memory of others ---- */

static void look_for(void *context, const struct ring_segment_found *found)
{
    int *id = context;
    if (found->system_v_id == *id)
        *id = -1;
}

static int list_all(void *context)
{
    int id = *(int *)context;
    REQUIRE_OK(ring_segment_each(look_for, &id));
    REQUIRE_SAME(id, *(int *)context); /* it is none of ours */
    return 0;
}

Test(surroundings, system_v_memory_of_others_that_is_not_there_is_passed_over)
{
    int id = shmget(IPC_PRIVATE, 2 * TEST_MIB, IPC_CREAT | SHM_HUGETLB | SHM_NORESERVE | 0600);
    if (id < 0)
        test_skip("no System V memory of huge pages, which nobody has set aside, can be had");
    int status = test_wait_status(test_spawn(list_all, &id));
    shmctl(id, IPC_RMID, NULL);
    REQUIRE_SAME(status, 0);
}
