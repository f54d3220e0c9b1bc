/* handover.h - what the tests of sealed segments that are handed over share. */
#ifndef TESTS_HANDOVER_H
#define TESTS_HANDOVER_H

#include "harness.h"

#include <dirent.h>

enum { TEST_SEALED_BYTES = 1 << 18 };

/* With a ring and a broadcast ring. */
static inline struct ring_segment *test_create_memfd(unsigned flags, unsigned mode)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(TEST_SEALED_BYTES);
    options.backing = RING_BACKING_MEMFD;
    options.flags = flags;
    options.mode = mode;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 16, 56, RING_BROADCAST_OVERWRITE));
    return segment;
}

static inline struct ring_segment_options test_attaching(unsigned flags)
{
    struct ring_segment_options options = test_plain(0);
    options.flags = flags;
    return options;
}

/* A socket's path that goes away with the test. */
static inline const char *test_socket_path(void)
{
    static char path[TEST_NAME];
    return test_path(path, test_name());
}

/* The descriptor of the sealed memory in this process. */
static inline int test_find_memfd(void)
{
    DIR *directory = opendir("/proc/self/fd");
    REQUIRE(directory);
    int found = -1;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char target[64] = "";
        if (readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1) > 0 &&
            strncmp(target, "/memfd:shmring ", 15) == 0)
            found = atoi(entry->d_name);
    }
    closedir(directory);
    return found;
}

#endif
