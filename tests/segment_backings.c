/* segment_backings.c - segments of every backing: each works, tells the truth about itself, is found by its name if it
 * has one, and refuses what it cannot give. */
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>

enum { NO_NAMESPACE = 77, NO_PAGES = 78 };

static const size_t MIB = 1 << 20;

static struct ring_segment_info info_of(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info;
}

static struct ring_segment_options options_of(unsigned backing, size_t bytes)
{
    struct ring_segment_options options = test_plain(bytes);
    options.backing = backing;
    return options;
}

/* A ring of each kind works in it. */
static void use(struct ring_segment *segment)
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
static int send_one(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send(&producer, 333, 3);
    kill(getpid(), SIGKILL);
    return 0;
}

static void cross(struct ring_segment *segment)
{
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    int status = test_wait_status(test_spawn(send_one, NULL));
    REQUIRE_SAME(status, SIGKILL);
    test_recv(&consumer, 333, 3);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
}

/* ---- Private and given memory ---- */

Test(backings, private_memory_serves_the_threads_of_one_process_and_leaves_nothing)
{
    unsigned descriptors = test_descriptors();
    struct ring_segment *segment, *other;
    struct ring_segment_options options = options_of(RING_BACKING_PRIVATE, MIB);
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    use(segment);
    struct ring_segment_info info = info_of(segment);
    REQUIRE_SAME(info.backing, RING_BACKING_PRIVATE);
    REQUIRE_SAME(info.bytes, MIB);
    REQUIRE_SAME(info.resident_bytes, MIB);
    REQUIRE_SAME(info.path[0], '\0');
    REQUIRE(info.held);
    REQUIRE_REFUSED(ring_segment_attach(&other, test_name(), &options, RING_NO_WAIT), EINVAL);
    REQUIRE_OK(ring_segment_create(&other, test_name(), &options)); /* a label, as often as one likes */
    REQUIRE(strcmp(info_of(other).name, test_name()) == 0);
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
        struct ring_segment_options options = options_of(backings[i], 3 * MIB);
        options.flags = RING_HUGE;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        struct ring_segment_info info = info_of(segment);
        REQUIRE_SAME(info.bytes, 4 * MIB);
        REQUIRE(info.huge_error || info.huge_bytes == 4 * MIB);
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
    unsigned char *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    memset(memory, 0xa5, MIB);
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_GIVEN, MIB);
    options.memory = memory;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    use(segment);
    REQUIRE_SAME(info_of(segment).backing, RING_BACKING_GIVEN);
    REQUIRE_SAME(memcmp(memory, "\1SHMRING", 8), 0);
    REQUIRE_OK(ring_segment_close(&segment));
    memory[MIB - 1] = 1; /* still there */
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options)); /* what was in it is forgotten */
    REQUIRE_SAME(info_of(segment).rings, 0);
    REQUIRE_OK(ring_segment_close(&segment));
    munmap(memory, MIB);
}

Test(backings, given_memory_that_is_askew_or_missing_is_refused)
{
    unsigned char *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_GIVEN, MIB / 2);
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.memory = memory + 64;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.memory = memory;
    options.bytes = MIB / 2 + 64;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.bytes = 4096;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.bytes = MIB / 2;
    options.flags = RING_LOCK | RING_STRICT; /* it is not locked, and we do not lock it */
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EOPNOTSUPP);
    options.flags = RING_LOCK;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(info_of(segment).lock_error, -EOPNOTSUPP);
    REQUIRE_OK(ring_segment_close(&segment));
#ifndef TEST_SLOW
    REQUIRE_SAME(mlock(memory, MIB), 0);
    options.flags = RING_LOCK | RING_STRICT;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(info_of(segment).locked_bytes, MIB / 2);
    REQUIRE_OK(ring_segment_close(&segment));
#endif
    munmap(memory, MIB);
}

/* ---- System V ---- */

static void system_v_is_gone(int id)
{
    struct shmid_ds now;
    REQUIRE(shmctl(id, IPC_STAT, &now) != 0);
}

Test(backings, system_v_memory_is_found_by_its_name_and_told_of)
{
    struct ring_segment *segment, *second;
    struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, MIB);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    use(segment);
    struct ring_segment_info info = info_of(segment);
    REQUIRE_SAME(info.backing, RING_BACKING_SYSTEM_V);
    REQUIRE_SAME(info.bytes, MIB);
    REQUIRE_SAME(info.system_v_attached, 1);
    REQUIRE(info.system_v_key != 0 && info.system_v_id >= 0);
    REQUIRE_SAME(info.system_v_last_pid, getpid());
    cross(segment);
    options = test_plain(0);
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_segment_attach(&second, test_name(), &options, RING_NO_WAIT));
    REQUIRE_SAME(info_of(second).system_v_attached, 2);
    REQUIRE_SAME(info_of(second).rings, 2);
    struct ring_spsc_producer producer;
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, second, "ring", 0), EACCES);
    REQUIRE_OK(ring_segment_close(&second));
    options.backing = RING_BACKING_HUGETLBFS; /* it is not of that kind */
    REQUIRE_REFUSED_SOMEHOW(ring_segment_attach(&second, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE_SAME(test_names_left(), 0);
    struct shmid_ds now;
    REQUIRE_SAME(shmctl(info.system_v_id, IPC_STAT, &now), 0); /* we still hold it */
    REQUIRE_OK(ring_segment_close(&segment));
    system_v_is_gone(info.system_v_id);
}

Test(backings, a_system_v_key_is_a_name_too)
{
    struct ring_segment *segment, *second;
    struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, MIB);
    options.key = 0x52000000 | (getpid() & 0xffffff);
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(info_of(segment).system_v_key, options.key);
    REQUIRE_OK(ring_segment_attach(&second, NULL, &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&second));
    REQUIRE_REFUSED(ring_segment_create(&second, NULL, &options), EEXIST);
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), EEXIST); /* the key is taken */
    REQUIRE(strstr(ring_error_detail(), "ipcrm"));
    REQUIRE_SAME(test_names_left(), 0);
    char name[32];
    snprintf(name, sizeof name, "%.31s", info_of(segment).name);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(name));
    REQUIRE(shmget(options.key, 0, 0) < 0);
    options.key = 0;
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    options.path = "/no/such/file";
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), ENOENT);
}

Test(backings, ftok_makes_the_key_of_a_path)
{
    char path[TEST_NAME];
    FILE *file = fopen(test_path(path, test_name()), "w");
    REQUIRE(file);
    fclose(file);
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, MIB);
    options.path = path;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(info_of(segment).system_v_key, ftok(path, 'R'));
    char name[32];
    snprintf(name, sizeof name, "%.31s", info_of(segment).name);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(name));
}

Test(backings, a_name_whose_system_v_memory_was_removed_by_others_never_blocks_a_new_one)
{
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, MIB);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    int id = info_of(segment).system_v_id;
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_SAME(shmctl(id, IPC_RMID, NULL), 0);
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), ENOENT);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(backings, system_v_memory_that_is_not_the_one_told_of_is_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, MIB);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
    struct test_outside outside = test_outside_open(test_name());
    struct ring_layout_signpost *signpost = (void *)outside.bytes, before = *signpost;
    signpost->serial++;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EPROTO);
    *signpost = before;
    signpost->id = 0x7fffffff;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), ENOENT);
    *signpost = before;
    signpost->bytes *= 2;
    REQUIRE_REFUSED_SOMEHOW(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    signpost->bytes = UINT64_MAX;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EUCLEAN);
    *signpost = before;
    signpost->version++;
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), EPROTONOSUPPORT);
    *signpost = before;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&segment));
    test_outside_close(&outside);
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE(shmget(before.key, 0, 0) < 0);
}

Test(backings, rubbish_in_a_signpost_never_crashes)
{
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, MIB);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
    struct test_outside outside = test_outside_open(test_name());
    unsigned char before[256];
    memcpy(before, outside.bytes, sizeof before);
    struct test_random random = { 11 };
    for (uint64_t round = 0; round < test_rounds(2000); round++) {
        size_t at = 8 + test_below(&random, 64);
        outside.bytes[at] = (unsigned char)test_random(&random);
        outside.bytes[8 + test_below(&random, 64)] ^= (unsigned char)(1u << test_below(&random, 8));
        memcpy(outside.bytes + 20, before + 20, 4); /* but for its removal, or it would be removed */
        if (ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT) == 0)
            REQUIRE_OK(ring_segment_close(&segment));
        memcpy(outside.bytes, before, sizeof before);
    }
    test_outside_close(&outside);
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static int make_system_v_for_ever(void *argument)
{
    RING_ATOMIC(uint64_t) *made = argument;
    for (;;) {
        struct ring_segment *segment;
        struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, 1 << 16);
        options.removal = (unsigned)(atomic_load(made) % 3);
        if (ring_segment_create(&segment, test_name(), &options) == 0)
            ring_segment_close(&segment);
        ring_segment_unlink(test_name());
        atomic_fetch_add(made, 1);
    }
    return 0;
}

static unsigned count_system_v(void)
{
    unsigned count = 0;
    char line[512];
    FILE *table = fopen("/proc/sysvipc/shm", "re");
    REQUIRE(table);
    while (fgets(line, sizeof line, table))
        count += strstr(line, " 65536 ") != NULL;
    fclose(table);
    return count;
}

Test(backings, a_maker_of_system_v_memory_killed_at_any_moment_leaves_nothing_that_the_next_does_not_clear_away)
{
    RING_ATOMIC(uint64_t) *made = test_shared(sizeof *made);
    struct test_random random = { 5 };
    unsigned before = count_system_v(), found[2] = { 0 };
    for (uint64_t round = 0; round < test_rounds(400); round++) {
        uint64_t count = atomic_load(made);
        pid_t child = test_spawn(make_system_v_for_ever, made);
        test_await(made, count + 1);
        test_nap((int64_t)test_below(&random, 400000));
        test_kill(child);
        struct ring_segment *segment;
        struct ring_segment_options options = options_of(RING_BACKING_SYSTEM_V, 1 << 16);
        options.flags = RING_RECLAIM;
        found[test_names_left() > 0]++;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
        REQUIRE_SAME(test_names_left(), 0);
        REQUIRE_SAME(count_system_v(), before);
    }
    REQUIRE(found[0] && found[1]); /* both were met */
}

/* ---- hugetlbfs ---- */

static const char *pages_path = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

static long pages_set(long wanted)
{
    long count = -1;
    FILE *file = fopen(pages_path, wanted >= 0 ? "r+" : "r");
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
static bool own_mounts(const char *mounted)
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

static void in_own_mounts(test_body body, long pages)
{
    if (geteuid() != 0)
        test_skip("only root can mount a hugetlbfs");
    long before = pages_set(-1);
    if (pages && (before < 0 || pages_set(before + pages) < before + pages)) {
        pages_set(before);
        test_skip("this machine sets no huge pages aside");
    }
    int status = test_wait_status(test_spawn(body, NULL));
    if (pages)
        pages_set(before);
    if (status == NO_NAMESPACE << 8)
        test_skip("this machine allows no mount namespace, or has no hugetlbfs");
    if (status)
        test_failed(__FILE__, __LINE__, "the child ended with status 0x%x", status);
}

static int without_hugetlbfs(void *unused)
{
    (void)unused;
    if (!own_mounts(NULL))
        return NO_NAMESPACE;
    struct ring_segment *segment = (void *)1;
    struct ring_segment_options options = options_of(RING_BACKING_HUGETLBFS, MIB);
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
    in_own_mounts(without_hugetlbfs, 0);
}

static int use_hugetlbfs(void *unused)
{
    (void)unused;
    if (!own_mounts("/mnt/huge"))
        return NO_NAMESPACE;
    struct ring_segment *segment, *second;
    struct ring_segment_options options = options_of(RING_BACKING_HUGETLBFS, 3 * MIB);
    options.flags = RING_HUGE | RING_LOCK | RING_STRICT;
    options.mode = 0640;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    use(segment);
    struct ring_segment_info info = info_of(segment);
    REQUIRE_SAME(info.backing, RING_BACKING_HUGETLBFS);
    REQUIRE_SAME(info.bytes, 4 * MIB);
    REQUIRE_SAME(info.huge_bytes, 4 * MIB);
    REQUIRE_SAME(info.locked_bytes, 4 * MIB);
    REQUIRE_SAME(info.page_bytes, 2 * MIB);
    REQUIRE_SAME(info.mode, 0640);
    REQUIRE(strncmp(info.path, "/mnt/huge/", 10) == 0);
    cross(segment); /* found by its name alone */
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), EEXIST);
    char name[TEST_NAME];
    options.bytes = 64 * MIB;
    REQUIRE_REFUSED(ring_segment_create(&second, test_name_of(name, 1), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "nr_hugepages"));
    REQUIRE_OK(ring_segment_close(&segment));
    options.removal = RING_REMOVE_WITH_LAST;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EEXIST);
    REQUIRE(strstr(ring_error_detail(), "nobody living"));
    options.bytes = MIB;
    options.flags |= RING_RECLAIM;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), NULL, RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_segment_unlink(test_name()), ENOENT);
    return 0;
}

Test(backings, a_hugetlbfs_gives_huge_pages_and_is_found_by_its_size)
{
    in_own_mounts(use_hugetlbfs, 8);
}

static int ask_for_too_many(void *unused)
{
    (void)unused;
    if (!own_mounts("/mnt/huge"))
        return NO_NAMESPACE;
    static const unsigned backings[] = { RING_BACKING_HUGETLBFS, RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V,
                                         RING_BACKING_PRIVATE };
    unsigned descriptors = test_descriptors();
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment = (void *)1;
        struct ring_segment_options options = options_of(backings[i], (size_t)1 << 40);
        options.page_bytes = 2 * MIB;
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
    in_own_mounts(ask_for_too_many, 0);
}

static int use_huge_pages_elsewhere(void *unused)
{
    (void)unused;
    static const unsigned backings[] = { RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V, RING_BACKING_PRIVATE };
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = options_of(backings[i], MIB);
        options.page_bytes = 2 * MIB;
        options.flags = RING_HUGE | RING_LOCK | RING_STRICT;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        use(segment);
        struct ring_segment_info info = info_of(segment);
        REQUIRE_SAME(info.bytes, 2 * MIB);
        REQUIRE_SAME(info.huge_bytes, 2 * MIB);
        REQUIRE_SAME(info.page_bytes, 2 * MIB);
        if (backings[i] == RING_BACKING_SYSTEM_V)
            cross(segment);
        REQUIRE_OK(ring_segment_close(&segment));
        if (backings[i] == RING_BACKING_SYSTEM_V)
            REQUIRE_OK(ring_segment_unlink(test_name()));
        options.bytes = 64 * MIB;
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
        REQUIRE_SAME(test_names_left(), 0);
    }
    return 0;
}

Test(backings, memfd_system_v_and_private_memory_take_huge_pages_that_were_set_aside)
{
    in_own_mounts(use_huge_pages_elsewhere, 8);
}

/* ---- Options ---- */

Test(backings, what_a_backing_cannot_give_is_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_GIVEN + 1, MIB);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = options_of(RING_BACKING_POSIX, MIB);
    options.page_bytes = 2 * MIB;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.page_bytes = 12345;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = options_of(RING_BACKING_POSIX, MIB);
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
    options = options_of(RING_BACKING_MEMFD, MIB);
    options.removal = RING_REMOVE_WITH_CREATOR;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options = options_of(RING_BACKING_SYSTEM_V, MIB);
    options.numa_node = 1000;
    options.flags = RING_STRICT;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(backings, options_of_the_size_before_backings_are_still_accepted)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(MIB);
    options.struct_size = offsetof(struct ring_segment_options, backing);
    options.backing = RING_BACKING_GIVEN; /* not read */
    options.removal = 99;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info;
    memset(&info, 0x5a, sizeof info);
    info.struct_size = offsetof(struct ring_segment_info, backing);
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.bytes, MIB);
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
        struct ring_segment_options options = options_of(backings[i], MIB);
        options.owner = 65534;
        options.group = 12345;
        options.mode = 0660;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        struct ring_segment_info info = info_of(segment);
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
        struct ring_segment_options options = options_of(backings[i], MIB);
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
