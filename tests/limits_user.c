/* limits_user.c - a user without rights, with little memory that may be locked, without huge pages, with a tiny
 * /dev/shm: what works, and what is refused with which sentence. See segment_resources.c for single refusals. */
#include "harness.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { NOBODY = 65534, CANNOT = 77, MESSAGE = 100 };

static struct ring_segment_info info_of(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

static void become_nobody(void)
{
    if (geteuid() != 0)
        return; /* somebody without rights already */
    REQUIRE_SAME(setgroups(0, NULL), 0);
    REQUIRE_SAME(setresgid(NOBODY, NOBODY, NOBODY), 0);
    REQUIRE_SAME(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

static void needs_root(const char *why)
{
    if (geteuid() != 0)
        test_skip(why);
}

/* ---- Sending and receiving, whatever the rights ---- */

static void use_spsc(struct ring_segment *segment)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "spsc", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "spsc", RING_NO_WAIT));
    for (uint64_t i = 0; i < 200; i++) {
        test_send(&producer, MESSAGE, i);
        test_recv(&consumer, MESSAGE, i);
    }
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
}

static void use_mpmc(struct ring_segment *segment)
{
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    unsigned char out[MESSAGE], in[MESSAGE];
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "mpmc", RING_NO_WAIT));
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "mpmc", RING_NO_WAIT));
    for (uint64_t i = 0; i < 200; i++) {
        test_fill(out, sizeof out, i);
        REQUIRE_SAME(ring_mpmc_send(&producer, out, sizeof out, TEST_LONG), 0);
        REQUIRE_SAME(ring_mpmc_recv(&consumer, in, sizeof in, TEST_LONG), MESSAGE);
        REQUIRE(test_matches(in, sizeof in, i));
    }
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
}

static void use_broadcast(struct ring_segment *segment)
{
    struct ring_broadcast_producer producer;
    struct ring_broadcast_consumer consumer;
    unsigned char out[MESSAGE], in[MESSAGE];
    REQUIRE_OK(ring_broadcast_open_producer(&producer, segment, "news", RING_NO_WAIT));
    REQUIRE_OK(ring_broadcast_open_consumer(&consumer, segment, "news", RING_BROADCAST_NEWEST, 0, RING_NO_WAIT));
    for (uint64_t i = 0; i < 200; i++) {
        test_fill(out, sizeof out, i);
        REQUIRE_SAME(ring_broadcast_send(&producer, out, sizeof out, TEST_LONG), 0);
        REQUIRE_SAME(ring_broadcast_recv(&consumer, in, sizeof in, TEST_LONG), MESSAGE);
        REQUIRE(test_matches(in, sizeof in, i));
    }
    REQUIRE_OK(ring_broadcast_close_producer(&producer));
    REQUIRE_OK(ring_broadcast_close_consumer(&consumer));
}

static void use_all_made(struct ring_segment *segment)
{
    use_spsc(segment);
    use_mpmc(segment);
    use_broadcast(segment);
}

static void use_all(struct ring_segment *segment)
{
    REQUIRE_OK(ring_spsc_create(segment, "spsc", 4096));
    REQUIRE_OK(ring_mpmc_create_with(
        segment, "mpmc",
        &(struct ring_mpmc_options){
            .struct_size = sizeof(struct ring_mpmc_options), .slots = 16, .slot_bytes = MESSAGE, .seats = 4 }));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 16, MESSAGE, RING_BROADCAST_LOSSLESS));
    use_all_made(segment);
}

/* Creates, attaches, uses, unlinks; leaves nothing. */
static struct ring_segment_info live_a_life(struct ring_segment_options options)
{
    unsigned descriptors = test_descriptors(), mappings = test_mappings();
    struct ring_segment *segment, *again;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info = info_of(segment);
    REQUIRE_OK(ring_segment_attach(&again, test_name(), &options, RING_NO_WAIT));
    use_all(segment);
    use_all_made(again);
    REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE_SAME(test_names_left(), 0);
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE(test_mappings() <= mappings + 2); /* guards of closed handles are kept for the next */
    return info;
}

/* Refused with that errno and these words; leaves nothing. */
static void is_refused(struct ring_segment_options options, int error, const char *words)
{
    unsigned descriptors = test_descriptors(), mappings = test_mappings();
    struct ring_segment *segment = (void *)1;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), error);
    if (!strstr(ring_error_detail(), words))
        test_failed(__FILE__, __LINE__, "the sentence does not speak of %s: %s", words, ring_error_detail());
    REQUIRE(!segment);
    REQUIRE_SAME(test_names_left(), 0);
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE_SAME(test_mappings(), mappings);
}

/* ---- A user without rights ---- */

static int all_of_it(void *unused)
{
    (void)unused;
    become_nobody();
    live_a_life(test_plain(1 << 20));
    return 0;
}

Test(user, without_any_right_creates_attaches_sends_receives_and_unlinks)
{
    test_wait(test_spawn(all_of_it, NULL));
    REQUIRE_SAME(test_names_left(), 0);
}

static int want_what_is_not_theirs(void *unused)
{
    (void)unused;
    become_nobody();
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain(0);
    unsigned flags[] = { 0, RING_ANY_OWNER, RING_READ_ONLY, RING_ANY_OWNER | RING_READ_ONLY };
    for (int i = 0; i < 4; i++) {
        options.flags = flags[i];
        REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EACCES);
        REQUIRE(strstr(ring_error_detail(), "this user may not"));
        REQUIRE(strstr(ring_error_detail(), test_name()));
        REQUIRE(!segment);
    }
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, TEST_LONG), EACCES); /* at once */
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), EACCES);
    return 0;
}

Test(user, of_another_is_refused_with_the_reason_and_leaves_the_segment_alone)
{
    needs_root("only root can become another user");
    struct ring_segment *segment = test_create(1 << 20);
    REQUIRE_SAME(info_of(segment).mode, 0600);
    test_wait(test_spawn(want_what_is_not_theirs, NULL));
    use_all(segment);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static int produce_for_another(void *argument)
{
    RING_ATOMIC(uint64_t) *ready = argument;
    become_nobody();
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = test_plain(0);
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EPERM);
    REQUIRE(strstr(ring_error_detail(), "RING_ANY_OWNER"));
    options.flags = RING_ANY_OWNER;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send(&producer, MESSAGE, 1);
    atomic_store(ready, 1);
    for (;;)
        test_nap(TEST_SECOND);
}

Test(user, who_is_trusted_shares_a_ring_with_another_who_learns_of_the_death)
{
    needs_root("only root can become another user");
    RING_ATOMIC(uint64_t) *ready = test_shared(sizeof *ready);
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 17);
    options.mode = 0666;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_consumer consumer;
    unsigned char buffer[MESSAGE];
    test_open_consumer(&consumer, segment);
    pid_t child = test_spawn(produce_for_another, ready);
    test_await(ready, 1);
    test_recv(&consumer, MESSAGE, 1);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_ALIVE);
    test_kill(child);
    REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, TEST_LONG), -EOWNERDEAD);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- 64 KiB that may be locked ---- */

static int lock_little(void *unused)
{
    (void)unused;
    struct rlimit limit = { 64 << 10, 64 << 10 };
    REQUIRE_SAME(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    become_nobody();
    struct ring_segment_info info = live_a_life(ring_segment_defaults());
    REQUIRE(info.lock_error < 0);
    REQUIRE_SAME(info.locked_bytes, 0);
    REQUIRE_SAME(info.resident_bytes, info.bytes); /* all of it is there all the same: no page faults later */
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = RING_LOCK | RING_STRICT;
    is_refused(options, ENOMEM, "RLIMIT_MEMLOCK is 64 KiB");
    options.flags |= RING_HUGE;
    struct ring_segment *segment;
    REQUIRE_REFUSED_SOMEHOW(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_SAME(test_names_left(), 0);
    return 0;
}

Test(user, with_64_kib_to_lock_uses_the_defaults_and_is_told_or_refused_if_strict)
{
#ifdef TEST_SLOW
    test_skip("sanitizers turn mlock() into nothing");
#endif
    test_wait(test_spawn(lock_little, NULL));
    REQUIRE_SAME(test_names_left(), 0);
}

/* ---- No huge pages ---- */

static void without_huge(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = RING_HUGE;
    struct ring_segment_info info = live_a_life(options);
    REQUIRE(info.huge_error < 0);
    REQUIRE_SAME(info.huge_bytes, 0);
    REQUIRE_SAME(info.page_bytes, sysconf(_SC_PAGESIZE));
    options.flags |= RING_STRICT;
    is_refused(options, EOPNOTSUPP, "2 MiB pages were refused");
}

/* A kernel before 6.1, or a sandbox: madvise() does not know MADV_COLLAPSE. */
static int without_collapse(void *unused)
{
    (void)unused;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_COLLAPSE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return CANNOT;
    without_huge();
    return 0;
}

Test(user, without_madv_collapse_gets_small_pages_and_is_told_or_refused_if_strict)
{
    int status = test_wait_status(test_spawn(without_collapse, NULL));
    if (status == CANNOT << 8)
        test_skip("this kernel has no seccomp filters");
    REQUIRE_SAME(status, 0);
}

static int with_huge_disabled(void *unused)
{
    (void)unused;
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0)
        return CANNOT;
    size_t bytes = 4 << 20;
    unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    memset(memory, 1, bytes);
    uintptr_t huge = ((uintptr_t)memory + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1);
    bool refused = madvise((void *)huge, 2 << 20, MADV_COLLAPSE) != 0;
    munmap(memory, bytes);
    if (!refused)
        return CANNOT; /* this kernel collapses all the same */
    without_huge();
    return 0;
}

Test(user, with_huge_pages_disabled_gets_small_pages_and_is_told_or_refused_if_strict)
{
    int status = test_wait_status(test_spawn(with_huge_disabled, NULL));
    if (status == CANNOT << 8)
        test_skip("this kernel collapses shared memory although huge pages are disabled for the process");
    REQUIRE_SAME(status, 0);
}

/* ---- 256 KiB in /dev/shm ---- */

static bool small_shm(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777,size=256k") == 0;
}

static void fill_up(void)
{
    static const char zeros[4096];
    int fd = open("/dev/shm/filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0)
        continue;
    REQUIRE_SAME(errno, ENOSPC);
    close(fd);
}

static int live_in_little_room(void *unused)
{
    (void)unused;
    if (!small_shm())
        return CANNOT;
    become_nobody();
    is_refused(ring_segment_defaults(), ENOSPC, "df /dev/shm");
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = 192 << 10;
    options.rings = 4;
    struct ring_segment *segment, *other = (void *)1;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options)); /* 2 MiB pages are refused, the size is not */
    struct ring_segment_info info = info_of(segment);
    REQUIRE_SAME(info.bytes, 192 << 10);
    REQUIRE(info.huge_error < 0);
    fill_up();
    use_all(segment); /* every page was there before the room ran out */
    char name[TEST_NAME];
    REQUIRE_REFUSED(ring_segment_create(&other, test_name_of(name, 1), &options), ENOSPC);
    REQUIRE_REFUSED(ring_segment_open(&other, name, &options), ENOSPC);
    REQUIRE(!other);
    REQUIRE_SAME(test_names_left(), 1);
    REQUIRE_OK(ring_segment_attach(&other, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&other));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options)); /* the refused ones hold nothing back */
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(user, with_256_kib_in_dev_shm_is_refused_the_defaults_and_uses_a_small_one_when_it_is_full)
{
    needs_root("only root can mount a small /dev/shm");
    int status = test_wait_status(test_spawn(live_in_little_room, NULL));
    if (status == CANNOT << 8)
        test_skip("this machine allows no mount namespace");
    REQUIRE_SAME(status, 0);
}
