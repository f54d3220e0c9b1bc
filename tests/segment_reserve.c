/* segment_reserve.c - room that takes no memory until a ring is put there: it comes, is locked, goes back, and where
 * there is none the ring is refused and everything else goes on. */
#include "backings.h"

#include <sched.h>

enum { KIB = 1 << 10, SMALL = 4096 };

static struct ring_segment *create_with_reserve(size_t bytes, size_t reserve, unsigned flags)
{
    struct ring_segment_options options = test_options(RING_BACKING_POSIX, bytes);
    struct ring_segment *segment;
    options.reserve = reserve;
    options.flags = flags;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    return segment;
}

/* Bytes that the segment takes away from /dev/shm. */
static uint64_t taken_bytes(void)
{
    char path[300];
    struct stat file;
    snprintf(path, sizeof path, "/dev/shm/%s", test_name());
    REQUIRE_SAME(stat(path, &file), 0);
    return (uint64_t)file.st_blocks * 512;
}

static void end(struct ring_segment *segment)
{
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(reserve, it_takes_no_memory_until_a_ring_is_put_there_and_then_gives_it_back)
{
    struct ring_segment *segment = create_with_reserve(64 * KIB, 64 * TEST_MIB, 0);
    struct ring_segment_info info = test_info(segment);
    REQUIRE_SAME(info.bytes, 64 * KIB + 64 * TEST_MIB);
    REQUIRE_SAME(info.reserve_bytes, 64 * TEST_MIB);
    REQUIRE_SAME(info.resident_bytes, 64 * KIB);
    REQUIRE_SAME(taken_bytes(), 64 * KIB);
    for (unsigned round = 0; round < 3; round++) {
        REQUIRE_OK(ring_spsc_create(segment, "ring", TEST_MIB));
        uint64_t with = taken_bytes();
        REQUIRE(with >= ring_spsc_footprint(TEST_MIB) && with <= 64 * KIB + ring_spsc_footprint(TEST_MIB));
        REQUIRE_SAME(test_info(segment).resident_bytes, with);
        REQUIRE_OK(ring_segment_free(segment, "ring"));
        REQUIRE_SAME(taken_bytes(), 64 * KIB);
    }
    end(segment);
}

Test(reserve, it_is_found_by_who_attaches_and_filled_when_he_opens_the_ring)
{
    struct ring_segment *segment = create_with_reserve(64 * KIB, 8 * TEST_MIB, 0);
    struct ring_segment *other = test_attach();
    REQUIRE_SAME(test_info(other).reserve_bytes, 8 * TEST_MIB);
    REQUIRE_SAME(test_info(other).resident_bytes, 64 * KIB);
    REQUIRE_OK(ring_spsc_create(segment, "ring", TEST_MIB));
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    test_open_producer(&producer, segment);
    test_open_consumer(&consumer, other);
    REQUIRE_SAME(test_info(other).resident_bytes, taken_bytes());
    test_send(&producer, 1000, 1);
    test_recv(&consumer, 1000, 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&other));
    end(segment);
}

Test(reserve, a_ring_grows_into_it_and_what_it_leaves_goes_back)
{
    struct test_pair pair = { .segment = create_with_reserve(64 * KIB, 16 * TEST_MIB, 0) };
    REQUIRE_OK(ring_spsc_create(pair.segment, "ring", SMALL));
    test_open_producer(&pair.producer, pair.segment);
    test_open_consumer(&pair.consumer, pair.segment);
    uint64_t next = 0;
    for (size_t capacity = 2 * SMALL; capacity <= 4 * TEST_MIB; capacity *= 2) {
        test_send(&pair.producer, 500, next);
        REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
        test_send(&pair.producer, 500, next + 1);
        test_recv(&pair.consumer, 500, next);
        test_recv(&pair.consumer, 500, next + 1);
        next += 2;
        REQUIRE(taken_bytes() <= 64 * KIB + ring_spsc_footprint(capacity) + ring_spsc_footprint(capacity / 2));
    }
    test_pair_close(&pair);
}

/* ---- Many rings in the same pages ---- */

struct tenant {
    bool there;
    unsigned messages;
};

static void move_in(struct ring_segment *segment, const char *name, struct tenant *tenant, struct test_random *random)
{
    struct ring_spsc_producer producer;
    int code = ring_spsc_create(segment, name, (size_t)SMALL << test_below(random, 10));
    REQUIRE_ONE_OF(code, 0, -ENOSPC);
    tenant->there = code == 0;
    if (code)
        return;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, name, RING_NO_WAIT));
    for (tenant->messages = 0; ring_spsc_send(&producer, name, strlen(name) + 1, RING_NO_WAIT) == 0;)
        tenant->messages++;
    REQUIRE_OK(ring_spsc_close_producer(&producer));
}

static void move_out(struct ring_segment *segment, const char *name, struct tenant *tenant)
{
    struct ring_spsc_consumer consumer;
    char message[16];
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, name, RING_NO_WAIT));
    for (unsigned i = 0; i < tenant->messages; i++) {
        REQUIRE_SAME(ring_spsc_recv(&consumer, message, sizeof message, RING_NO_WAIT), strlen(name) + 1);
        REQUIRE(strcmp(message, name) == 0);
    }
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_free(segment, name));
    tenant->there = false;
}

static void come_and_go(unsigned flags, uint64_t seed)
{
    enum { TENANTS = 12 };
    struct tenant tenants[TENANTS] = { { false, 0 } };
    struct test_random random = { seed };
    struct ring_segment *segment = create_with_reserve(64 * KIB, 12 * TEST_MIB, flags);
    for (uint64_t round = 0; round < test_rounds(200); round++) {
        uint64_t who = test_below(&random, TENANTS);
        char name[16];
        snprintf(name, sizeof name, "ring %u", (unsigned)who);
        if (tenants[who].there)
            move_out(segment, name, &tenants[who]);
        else
            move_in(segment, name, &tenants[who], &random);
    }
    for (unsigned who = 0; who < TENANTS; who++) {
        char name[16];
        snprintf(name, sizeof name, "ring %u", who);
        if (tenants[who].there)
            move_out(segment, name, &tenants[who]);
    }
    struct ring_segment_info info = test_info(segment);
    REQUIRE_SAME(taken_bytes(), info.bytes - info.reserve_bytes);
    end(segment);
}

Test(reserve, what_goes_back_takes_nothing_from_those_beside_it)
{
    come_and_go(0, 1);
}

Test(reserve, what_goes_back_takes_nothing_from_those_in_the_same_2_mib_page)
{
    come_and_go(RING_HUGE, 2);
}

/* ---- What was asked for holds there too ---- */

Test(reserve, rings_there_are_locked_and_in_2_mib_pages_as_the_rest_is)
{
    struct ring_segment *segment = create_with_reserve(TEST_MIB, 3 * TEST_MIB, RING_HUGE | RING_LOCK);
    struct ring_segment_info before = test_info(segment);
    REQUIRE_SAME(before.bytes, 6 * TEST_MIB);
    REQUIRE_SAME(before.reserve_bytes, 4 * TEST_MIB);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 2 * TEST_MIB));
    struct ring_segment_info info = test_info(segment);
    REQUIRE(info.resident_bytes >= ring_spsc_footprint(2 * TEST_MIB));
    if (before.locked_bytes == before.resident_bytes)
        REQUIRE_SAME(info.locked_bytes, info.resident_bytes);
    if (before.huge_bytes == before.resident_bytes && before.page_bytes == 2 * TEST_MIB)
        REQUIRE_SAME(info.huge_bytes, info.resident_bytes);
    REQUIRE_OK(ring_segment_free(segment, "ring"));
    info = test_info(segment);
    REQUIRE_SAME(info.resident_bytes, before.resident_bytes);
    REQUIRE_SAME(info.locked_bytes, before.locked_bytes);
    end(segment);
}

static void use_backing(unsigned backing, size_t page_bytes, const char *name)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(backing, 64 * KIB);
    options.page_bytes = page_bytes;
    options.reserve = 8 * TEST_MIB;
    size_t capacity = page_bytes ? page_bytes : TEST_MIB; /* more than is there from the beginning */
    REQUIRE_OK(ring_segment_create(&segment, name, &options));
    struct ring_segment_info before = test_info(segment);
    REQUIRE_SAME(before.reserve_bytes, 8 * TEST_MIB);
    REQUIRE_SAME(before.resident_bytes, before.bytes - before.reserve_bytes);
    REQUIRE_OK(ring_spsc_create(segment, "large", capacity));
    test_use_rings(segment);
    REQUIRE(test_info(segment).resident_bytes >= ring_spsc_footprint(capacity));
    REQUIRE_OK(ring_segment_free(segment, "ring"));
    REQUIRE_OK(ring_segment_free(segment, "news"));
    REQUIRE_OK(ring_segment_free(segment, "large"));
    REQUIRE_SAME(test_info(segment).resident_bytes, before.resident_bytes);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(reserve, memory_of_every_backing_can_wait)
{
    use_backing(RING_BACKING_PRIVATE, 0, NULL);
    use_backing(RING_BACKING_MEMFD, 0, NULL);
    use_backing(RING_BACKING_SYSTEM_V, 0, test_name());
    struct ring_segment *segment = test_attach();
    REQUIRE_SAME(test_info(segment).reserve_bytes, 8 * TEST_MIB);
    end(segment);
}

static int use_huge_pages(void *unused)
{
    (void)unused;
    use_backing(RING_BACKING_MEMFD, 2 * TEST_MIB, NULL);
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_MEMFD, 64 * KIB);
    options.page_bytes = 2 * TEST_MIB;
    options.reserve = 64 * TEST_MIB; /* more than is set aside: nobody is promised any */
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 64 * KIB));
    REQUIRE_REFUSED(ring_spsc_create(segment, "larger", 32 * TEST_MIB), ENOSPC);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(reserve, huge_pages_that_are_set_aside_are_taken_when_a_ring_needs_them)
{
    test_in_own_mounts(use_huge_pages, 6);
}

/* ---- Refusals ---- */

static int fill_small_shm(void *unused)
{
    (void)unused;
    if (!test_own_mounts(NULL) || mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777,size=512k") != 0)
        return TEST_NO_NAMESPACE;
    struct test_pair pair = { .segment = create_with_reserve(64 * KIB, 16 * TEST_MIB, 0) };
    struct ring_spsc_options options = ring_spsc_defaults();
    REQUIRE_OK(ring_spsc_create(pair.segment, "ring", SMALL));
    test_open_producer(&pair.producer, pair.segment);
    test_open_consumer(&pair.consumer, pair.segment);
    test_send(&pair.producer, 500, 1);
    uint64_t taken = taken_bytes();
    options.bytes = 2 * TEST_MIB;
    REQUIRE_REFUSED(ring_spsc_grow(&pair.producer, &options), ENOSPC);
    REQUIRE_SAME(taken_bytes(), taken); /* also what it had got before it came to the end */
    options.bytes = 64 * KIB;
    REQUIRE_OK(ring_spsc_grow(&pair.producer, &options));
    test_send(&pair.producer, 500, 2);
    test_recv(&pair.consumer, 500, 1);
    test_recv(&pair.consumer, 500, 2);
    test_pair_close(&pair);
    return 0;
}

Test(reserve, where_the_machine_has_no_memory_left_a_ring_does_not_grow_and_goes_on)
{
    test_in_own_mounts(fill_small_shm, 0);
}

Test(reserve, what_cannot_be_is_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(64 * KIB);
    options.reserve = RING_SEGMENT_MAX_BYTES;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.reserve = SIZE_MAX;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    options.reserve = 64 * KIB;
    options.backing = RING_BACKING_GIVEN;
    options.memory = aligned_alloc(64 * KIB, 128 * KIB);
    REQUIRE_REFUSED(ring_segment_create(&segment, NULL, &options), EINVAL);
    free(options.memory);
    struct ring_segment_options older = test_plain(64 * KIB);
    older.struct_size = offsetof(struct ring_segment_options, reserve);
    older.reserve = SIZE_MAX; /* not there */
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &older));
    struct ring_segment_info info = { .struct_size = offsetof(struct ring_segment_info, reserve_bytes),
                                      .reserve_bytes = 9 };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.reserve_bytes, 9);
    end(segment);
}

Test(reserve, a_segment_that_lies_about_it_is_refused)
{
    struct ring_segment *segment = create_with_reserve(64 * KIB, 64 * KIB, 0);
    static const uint64_t lies[] = { 0, 4096, 64 * KIB + 1, 128 * KIB + 4096, UINT64_MAX, UINT64_C(1) << 63 };
    struct ring_segment *other;
    struct ring_segment_options options = test_plain(0);
    struct test_outside outside = test_outside_open(test_name());
    struct ring_layout_segment *first = (struct ring_layout_segment *)(void *)outside.bytes;
    for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
        first->backed = lies[i];
        REQUIRE_REFUSED(ring_segment_attach(&other, test_name(), &options, RING_NO_WAIT), EUCLEAN);
    }
    first->backed = 64 * KIB;
    first->needs |= 2;
    REQUIRE_REFUSED(ring_segment_attach(&other, test_name(), &options, RING_NO_WAIT), EPROTONOSUPPORT);
    test_outside_close(&outside);
    end(segment);
}
