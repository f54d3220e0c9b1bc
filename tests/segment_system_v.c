/* segment_system_v.c - segments in System V memory: found by name or key, told of, and cleared away. */
#include "backings.h"

#include <sys/ipc.h>
#include <sys/shm.h>

static void system_v_is_gone(int id)
{
    struct shmid_ds now;
    REQUIRE(shmctl(id, IPC_STAT, &now) != 0);
}

Test(backings, system_v_memory_is_found_by_its_name_and_told_of)
{
    struct ring_segment *segment, *second;
    struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    test_use_rings(segment);
    struct ring_segment_info info = test_info(segment);
    REQUIRE_SAME(info.backing, RING_BACKING_SYSTEM_V);
    REQUIRE_SAME(info.bytes, TEST_MIB);
    REQUIRE_SAME(info.system_v_attached, 1);
    REQUIRE(info.system_v_key != 0 && info.system_v_id >= 0);
    REQUIRE_SAME(info.system_v_last_pid, getpid());
    test_cross(segment);
    options = test_plain(0);
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_segment_attach(&second, test_name(), &options, RING_NO_WAIT));
    REQUIRE_SAME(test_info(second).system_v_attached, 2);
    REQUIRE_SAME(test_info(second).rings, 2);
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
    struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
    options.key = 0x52000000 | (getpid() & 0xffffff);
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(test_info(segment).system_v_key, options.key);
    REQUIRE_OK(ring_segment_attach(&second, NULL, &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&second));
    REQUIRE_REFUSED(ring_segment_create(&second, NULL, &options), EEXIST);
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), EEXIST); /* the key is taken */
    REQUIRE(strstr(ring_error_detail(), "ipcrm"));
    REQUIRE_SAME(test_names_left(), 0);
    char name[32];
    snprintf(name, sizeof name, "%.31s", test_info(segment).name);
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
    struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
    options.path = path;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_SAME(test_info(segment).system_v_key, ftok(path, 'R'));
    char name[32];
    snprintf(name, sizeof name, "%.31s", test_info(segment).name);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(name));
}

Test(backings, a_name_whose_system_v_memory_was_removed_by_others_never_blocks_a_new_one)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    int id = test_info(segment).system_v_id;
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
    struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
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
    struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, TEST_MIB);
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
        struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, 1 << 16);
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
        struct ring_segment_options options = test_options(RING_BACKING_SYSTEM_V, 1 << 16);
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
