/* refuse.h - the system refuses: calls of libc and libnuma that the library makes fail on demand, with any errno.
 *
 * By the linker's --wrap, so it works under sanitizers too and touches nobody else's calls: only those of the library
 * and of the test itself. tests/crash/syscalls.c refuses in the kernel instead, from outside, and there nobody counts
 * lines. */
#ifndef TESTS_REFUSE_H
#define TESTS_REFUSE_H

#include "harness.h"

enum test_call {
    CALL_OPEN,     /* of a name */
    CALL_NEW_FILE, /* of one without a name */
    CALL_OPEN_STREAM,
    CALL_FSTAT,
    CALL_TRUNCATE,
    CALL_CHMOD,
    CALL_CHOWN,
    CALL_MEMFD,
    CALL_SHMGET,
    CALL_ALLOCATE,
    CALL_MMAP,
    CALL_DONTFORK, /* madvise: each advice is a call of its own */
    CALL_WIPEONFORK,
    CALL_COLLAPSE,
    CALL_POPULATE,
    CALL_LOCK_MEMORY,
    CALL_PROTECT,
    CALL_LINK,
    CALL_UNLINK,
    CALL_LOCK_FILE,
    CALL_READ,
    CALL_MALLOC,
    CALL_BARRIER,          /* membarrier: the barrier itself */
    CALL_REGISTER_BARRIER, /* membarrier: registering for it */
    CALL_SLEEP_ON_WORDS,   /* futex_waitv */
    CALL_URING,            /* io_uring_setup */
    CALL_AFFINITY,
    CALL_NUMA, /* numa_available */
    CALL_BIND,
    CALL_MOVE_PAGES,
    TEST_CALLS
};

/* From now on the call of that kind number `at`, counted from 0 (and all after it, if `lasting`), is not made and fails
 * with `error`; with 0 it is not made and says that all is well. */
void test_refuse(enum test_call call, unsigned at, int error, bool lasting);

/* The same for a second kind at the same time. */
void test_refuse_too(enum test_call call, unsigned at, int error, bool lasting);

/* Ends it. How many calls were refused. */
unsigned test_refuse_nothing(void);

/* What the clocks tell from now on: each look at the monotonic one finds it so much further; 0: the truth. */
void test_clock_runs(int64_t nanoseconds);

/* Room for more than so many bytes at once is refused with EINTR from now on; 0: the truth. */
void test_room_at_once(size_t bytes);

/* From now on io_uring takes one entry of a submission, and leaves the others for later. */
void test_submit_one_by_one(bool yes);

/* From now on each write of this process comes so late. */
void test_write_late(int64_t nanoseconds);

/* How many processors this machine has from now on; 0: the truth. */
void test_processors(long count);

/* The node that pages lie on, in turn, from now on; ends with test_refuse_nothing(). At most 4. */
void test_pages_on(const int *nodes, unsigned count);

#endif
