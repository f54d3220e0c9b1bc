/* backings.h - what the tests of segments of other backings than /dev/shm share. */
#ifndef TESTS_BACKINGS_H
#define TESTS_BACKINGS_H

#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { TEST_MIB = 1 << 20, TEST_NO_NAMESPACE = 77 };

static inline struct ring_segment_info test_info(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

static inline struct ring_segment_options test_options(unsigned backing, size_t bytes)
{
    struct ring_segment_options options = test_plain(bytes);
    options.backing = backing;
    return options;
}

/* A ring of each kind works in it. */
static inline void test_use_rings(struct ring_segment *segment)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    test_open_producer(&producer, segment);
    test_open_consumer(&consumer, segment);
    for (uint64_t round = 0; round < 100; round++) {
        test_send(&producer, round * 10, round);
        test_recv(&consumer, round * 10, round);
    }
    struct ring_spsc_producer second;
    REQUIRE_REFUSED(ring_spsc_open_producer(&second, segment, "ring", 0), EBUSY);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_CLOSED);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 16, 56, RING_BROADCAST_OVERWRITE));
}

/* A child attaches by name and sends; its death is seen. */
static inline int test_send_one_and_die(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send(&producer, 333, 3);
    kill(getpid(), SIGKILL);
    return 0;
}

/* Used first: then another process takes part, and is seen to die. */
static inline void test_cross(struct ring_segment *segment)
{
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    int status = test_wait_status(test_spawn(test_send_one_and_die, NULL));
    REQUIRE_SAME(status, SIGKILL);
    test_recv(&consumer, 333, 3);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
}

/* ---- Huge pages set aside, and where they are mounted ---- */

/* How many pages of 2 MiB root has set aside; with `wanted` not negative, from now on as far as they can be had. */
static inline long test_huge_pages(long wanted)
{
    long count = -1;
    FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", wanted >= 0 ? "r+" : "r");
    if (!file)
        return -1;
    if (wanted >= 0)
        fprintf(file, "%ld\n", wanted);
    rewind(file);
    if (fscanf(file, "%ld", &count) != 1)
        count = -1;
    fclose(file);
    return count;
}

/* A mount namespace of its own with a hugetlbfs in it, or none at all. */
static inline bool test_own_mounts(const char *mounted)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    char line[1024], type[64], where[256];
    FILE *mounts = fopen("/proc/self/mounts", "re");
    while (mounts && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*s %255s %63s", where, type) == 2 && strcmp(type, "hugetlbfs") == 0)
            umount2(where, MNT_DETACH);
    if (mounts)
        fclose(mounts);
    return !mounted || (mount("none", "/mnt", "tmpfs", 0, NULL) == 0 && mkdir(mounted, 0755) == 0 &&
                        mount("none", mounted, "hugetlbfs", 0, "pagesize=2M,mode=1777") == 0);
}

/* `body` in a child, with so many more pages set aside. */
static inline void test_in_own_mounts(test_body body, long pages)
{
    if (geteuid() != 0)
        test_skip("only root can mount a hugetlbfs");
    /* One at a time: of two who restore what they found, one would leave the other's. */
    int alone = pages ? open("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", O_RDONLY | O_CLOEXEC) : -1;
    if (alone >= 0)
        flock(alone, LOCK_EX);
    long before = test_huge_pages(-1);
    if (pages && (before < 0 || test_huge_pages(before + pages) < before + pages)) {
        test_huge_pages(before);
        test_skip("this machine sets no huge pages aside");
    }
    int status = test_wait_status(test_spawn(body, NULL));
    if (pages)
        test_huge_pages(before);
    if (alone >= 0)
        close(alone);
    if (status == TEST_NO_NAMESPACE << 8)
        test_skip("this machine allows no mount namespace, or has no hugetlbfs");
    if (status)
        test_failed(__FILE__, __LINE__, "the child ended with status 0x%x", status);
}

#endif
