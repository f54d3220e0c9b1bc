/* segment_resources.c - what the machine grants or refuses: room in /dev/shm, locked memory, huge pages, nodes,
 * descriptors. A refusal is told, by info or (RING_STRICT) by an error, and never by a signal. */
#include "harness.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

enum { NOBODY = 65534 };

static struct ring_segment_info info_of(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

/* ---- Room in /dev/shm: a child with a small one of its own ---- */

static bool small_shm(size_t bytes)
{
    char options[64];
    snprintf(options, sizeof options, "mode=1777,size=%zu", bytes);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/dev/shm", "tmpfs", 0, options) == 0;
}

enum { NO_NAMESPACE = 77 };

static void in_small_shm(test_body body)
{
    if (geteuid() != 0)
        test_skip("only root can mount a small /dev/shm");
    int status = test_wait_status(test_spawn(body, NULL));
    if (status == NO_NAMESPACE << 8)
        test_skip("this machine allows no mount namespace");
    if (status)
        test_failed(__FILE__, __LINE__, "the child in the small /dev/shm ended with status 0x%x", status);
}

static int fill_it(void *unused)
{
    (void)unused;
    if (!small_shm(256 << 10))
        return NO_NAMESPACE;
    unsigned descriptors = test_descriptors();
    struct ring_segment *first, *second = (void *)1;
    struct ring_segment_options options = ring_segment_defaults();
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), ENOSPC);
    REQUIRE(!second);
    options = test_plain(1 << 20);
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), ENOSPC);
    REQUIRE_REFUSED(ring_segment_open(&second, test_name(), &options), ENOSPC);
    REQUIRE_SAME(test_names_left(), 0);
    options = test_plain(128 << 10);
    REQUIRE_OK(ring_segment_create(&first, test_name(), &options));
    char name[TEST_NAME];
    options = test_plain(192 << 10);
    REQUIRE_REFUSED(ring_segment_create(&second, test_name_of(name, 1), &options), ENOSPC);
    REQUIRE_SAME(test_names_left(), 1);
    REQUIRE_OK(ring_segment_close(&first));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE_OK(ring_segment_create(&second, name, &options)); /* the refused ones hold nothing back */
    REQUIRE_OK(ring_segment_close(&second));
    REQUIRE_SAME(test_descriptors(), descriptors);
    return 0;
}

Test(resources, a_full_dev_shm_is_an_error_and_never_a_signal)
{
    in_small_shm(fill_it);
}

static int use_all_after_filling(void *unused)
{
    (void)unused;
    if (!small_shm(256 << 10))
        return NO_NAMESPACE;
    struct test_pair pair;
    test_pair_open(&pair, 16384, 0, 0);
    int fd = open("/dev/shm/filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    static const char zeros[4096];
    while (write(fd, zeros, sizeof zeros) > 0)
        continue;
    for (uint64_t i = 0; i < 1000; i++) {
        test_send(&pair.producer, pair.max_message, i);
        test_recv(&pair.consumer, pair.max_message, i);
    }
    REQUIRE_OK(ring_spsc_create(pair.segment, "second", 16384));
    test_pair_close(&pair);
    return 0;
}

Test(resources, a_segment_keeps_its_room_when_dev_shm_fills_up_later)
{
    in_small_shm(use_all_after_filling);
}

static int without_dev_shm(void *unused)
{
    (void)unused;
    if (!small_shm(256 << 10) || umount("/dev/shm") != 0 || mount("proc", "/dev/shm", "proc", 0, NULL) != 0)
        return NO_NAMESPACE;
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain(128 << 10);
    REQUIRE_REFUSED_SOMEHOW(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_REFUSED_SOMEHOW(ring_segment_open(&segment, test_name(), &options));
    REQUIRE(!segment);
    return 0;
}

Test(resources, a_dev_shm_that_is_no_tmpfs_is_refused_with_a_sentence)
{
    in_small_shm(without_dev_shm);
}

/* ---- Locked memory ---- */

/* As a user whose limit is `bytes`. */
static void become_nobody(size_t bytes)
{
    struct rlimit limit = { bytes, bytes };
    REQUIRE_SAME(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (geteuid() == 0) {
        REQUIRE_SAME(setgroups(0, NULL), 0);
        REQUIRE_SAME(setresgid(NOBODY, NOBODY, NOBODY), 0);
        REQUIRE_SAME(setresuid(NOBODY, NOBODY, NOBODY), 0);
    }
}

/* Sanitizers turn mlock() into nothing, and info tells the truth about it. */
static bool locks_work(void)
{
#ifdef TEST_SLOW
    return false;
#else
    return true;
#endif
}

static int lock_too_much(void *unused)
{
    (void)unused;
    become_nobody(64 << 10);
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain(1 << 20);
    options.flags = RING_LOCK | RING_STRICT;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "RLIMIT_MEMLOCK"));
    REQUIRE(!segment);
    REQUIRE_SAME(test_names_left(), 0);
    options.flags = RING_LOCK;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info = info_of(segment);
    REQUIRE(info.lock_error < 0);
    REQUIRE_SAME(info.locked_bytes, 0);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_segment *again = (void *)1;
    options.flags |= RING_STRICT;
    REQUIRE_REFUSED(ring_segment_attach(&again, test_name(), &options, RING_NO_WAIT), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "RLIMIT_MEMLOCK"));
    REQUIRE(!again);
    options.flags = RING_LOCK;
    REQUIRE_OK(ring_segment_attach(&again, test_name(), &options, RING_NO_WAIT));
    REQUIRE(info_of(again).lock_error < 0);
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, again, "ring", RING_NO_WAIT));
    test_send(&producer, 1000, 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(resources, too_small_a_lock_limit_is_told_and_refused_only_if_strict)
{
    if (!locks_work())
        test_skip("sanitizers turn mlock() into nothing");
    test_wait(test_spawn(lock_too_much, NULL));
}

static int lock_within_limit(void *unused)
{
    (void)unused;
    become_nobody(1 << 20);
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(256 << 10);
    options.flags = RING_LOCK | RING_STRICT;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info = info_of(segment);
    REQUIRE_SAME(info.lock_error, 0);
    REQUIRE_SAME(info.locked_bytes, info.bytes);
    REQUIRE_SAME(info.resident_bytes, info.bytes);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(resources, an_unprivileged_user_within_the_limit_gets_all_of_it_locked)
{
    if (!locks_work())
        test_skip("sanitizers turn mlock() into nothing");
    test_wait(test_spawn(lock_within_limit, NULL));
}

static int attach_as_nobody(void *unused)
{
    (void)unused;
    become_nobody(1 << 20);
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain(0);
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EACCES);
    REQUIRE(!segment);
    REQUIRE_REFUSED(ring_segment_open(&segment, test_name(), &options), EACCES);
    REQUIRE_REFUSED_SOMEHOW(ring_segment_unlink(test_name()));
    return 0;
}

Test(resources, a_user_without_permission_is_refused_at_once)
{
    if (geteuid() != 0)
        test_skip("only root can become another user");
    struct ring_segment *segment = test_create(1 << 16);
    test_wait(test_spawn(attach_as_nobody, NULL));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Huge pages, nodes ---- */

Test(resources, huge_pages_are_granted_or_the_refusal_is_told)
{
    struct ring_segment *segment, *again;
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = 7 << 20;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_attach(&again, test_name(), &options, RING_NO_WAIT));
    const struct ring_segment *both[] = { segment, again };
    for (int i = 0; i < 2; i++) {
        struct ring_segment_info info = info_of(both[i]);
        REQUIRE_SAME(info.bytes, 8 << 20);
        if (info.huge_error) {
            REQUIRE(info.huge_error < 0);
            REQUIRE(info.huge_bytes < info.bytes);
        } else {
            REQUIRE_SAME(info.huge_bytes, 8 << 20);
            REQUIRE_SAME(info.page_bytes, 2 << 20);
        }
        if (!info.lock_error && locks_work())
            REQUIRE_SAME(info.locked_bytes, 8 << 20);
        REQUIRE_SAME(info.resident_bytes, 8 << 20);
    }
    REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(resources, strict_huge_pages_are_huge_or_refused)
{
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = 2 << 20;
    options.flags = RING_HUGE | RING_STRICT;
    int code = ring_segment_create(&segment, test_name(), &options);
    if (code) {
        REQUIRE_SAME(code, -EOPNOTSUPP);
        REQUIRE(!segment);
        return;
    }
    REQUIRE_SAME(info_of(segment).huge_bytes, 2 << 20);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(resources, a_node_that_does_not_exist_is_refused_if_strict)
{
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain(1 << 18);
    options.numa_node = 1000;
    options.flags = RING_STRICT;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE(!segment);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(resources, a_node_is_reported_or_unknown)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 18);
    options.numa_node = 0;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    int node = info_of(segment).numa_node;
    REQUIRE_ONE_OF(node, 0, RING_NODE_UNKNOWN);
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Descriptors ---- */

static int without_descriptors(void *unused)
{
    (void)unused;
    struct ring_segment *kept = test_create(1 << 16);
    REQUIRE_OK(ring_spsc_create(kept, "ring", 4096));
    struct ring_spsc_producer producer;
    struct rlimit limit;
    REQUIRE_SAME(getrlimit(RLIMIT_NOFILE, &limit), 0);
    for (rlim_t most = 0; most < 40; most++) {
        struct rlimit tight = { most, limit.rlim_max };
        REQUIRE_SAME(setrlimit(RLIMIT_NOFILE, &tight), 0);
        struct ring_segment *segment = (void *)1;
        struct ring_segment_options options = test_plain(1 << 16);
        char name[TEST_NAME];
        int code = ring_segment_create(&segment, test_name_of(name, 1), &options);
        if (code) {
            REQUIRE_SAME(code, -EMFILE);
            REQUIRE(!segment);
        } else {
            REQUIRE_OK(ring_segment_close(&segment));
            REQUIRE_OK(ring_segment_unlink(name));
        }
        code = ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT);
        if (code)
            REQUIRE_SAME(code, -EMFILE);
        else
            REQUIRE_OK(ring_segment_close(&segment));
        code = ring_spsc_open_producer(&producer, kept, "ring", RING_NO_WAIT);
        if (code == 0) {
            REQUIRE_SAME(ring_spsc_send(&producer, "x", 1, 0), 0);
            REQUIRE_OK(ring_spsc_close_producer(&producer));
        }
    }
    REQUIRE_SAME(setrlimit(RLIMIT_NOFILE, &limit), 0);
    REQUIRE_OK(ring_spsc_open_producer(&producer, kept, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&kept));
    return 0;
}

Test(resources, running_out_of_descriptors_is_an_error_like_any_other)
{
    test_wait(test_spawn(without_descriptors, NULL));
}

static int without_address_space(void *unused)
{
    (void)unused;
    struct rlimit limit = { (rlim_t)256 << 20, (rlim_t)256 << 20 };
    REQUIRE_SAME(setrlimit(RLIMIT_AS, &limit), 0);
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain((size_t)512 << 20);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(!segment);
    REQUIRE_SAME(test_names_left(), 0);
    return 0;
}

Test(resources, too_little_address_space_is_an_error)
{
#ifdef TEST_SLOW
    test_skip("sanitizers need the address space for themselves");
#endif
    test_wait(test_spawn(without_address_space, NULL));
}
