/* segment_directory.c - several named rings in one segment: their names, their room, their makers' races and deaths. */
#include "harness.h"

enum { MAKERS = 8 };

static int count_rings(struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    unsigned found = 0;
    for (unsigned i = 0; i < info.max_rings; i++) {
        struct ring_entry_info entry;
        int code = ring_segment_entry(segment, i, &entry);
        REQUIRE_ONE_OF(code, 0, -ENOENT);
        if (code == 0) {
            found++;
            REQUIRE_SAME(entry.kind, RING_KIND_SPSC);
            REQUIRE(entry.offset % 4096 == 0 && entry.offset + entry.bytes <= info.bytes);
            struct ring_spsc_info ring = { .struct_size = sizeof ring };
            REQUIRE_OK(ring_spsc_info(segment, entry.name, &ring));
        }
    }
    REQUIRE_SAME(found, info.rings);
    return (int)found;
}

/* Both ends of a ring work. */
static void use_ring(struct ring_segment *segment, const char *name)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, name, 0));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, name, 0));
    for (uint64_t i = 0; i < 20; i++) {
        test_send(&producer, 800, i);
        test_recv(&consumer, 800, i);
    }
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
}

Test(directory, rings_of_one_segment_do_not_touch_each_other)
{
    struct ring_segment *segment = test_create(1 << 20);
    enum { RINGS = 8 };
    static struct ring_spsc_producer producers[RINGS];
    static struct ring_spsc_consumer consumers[RINGS];
    for (int i = 0; i < RINGS; i++) {
        char name[16];
        snprintf(name, sizeof name, "ring %d", i);
        REQUIRE_OK(ring_spsc_create(segment, name, 4096u << i % 3));
        REQUIRE_OK(ring_spsc_open_producer(&producers[i], segment, name, 0));
        REQUIRE_OK(ring_spsc_open_consumer(&consumers[i], segment, name, 0));
    }
    unsigned char message[1024];
    for (uint64_t round = 0; round < 200; round++) {
        for (int i = 0; i < RINGS; i++)
            for (int full = 0; !full;) {
                test_fill(message, sizeof message, round * RINGS + (uint64_t)i);
                full = ring_spsc_send(&producers[i], message, 1 + test_mix(round) % 1000, 0);
                REQUIRE(!full || full == -EAGAIN);
            }
        for (int i = 0; i < RINGS; i++)
            for (ssize_t length; (length = ring_spsc_recv(&consumers[i], message, sizeof message, 0)) != -EAGAIN;) {
                REQUIRE_SAME(length, 1 + test_mix(round) % 1000);
                REQUIRE(test_matches(message, (size_t)length & ~7ul, round * RINGS + (uint64_t)i));
            }
    }
    REQUIRE_SAME(count_rings(segment), RINGS);
    for (int i = 0; i < RINGS; i++) {
        REQUIRE_OK(ring_spsc_close_producer(&producers[i]));
        REQUIRE_OK(ring_spsc_close_consumer(&consumers[i]));
    }
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(directory, an_entry_tells_name_kind_place_and_age)
{
    struct ring_segment *segment = test_create(1 << 17);
    struct ring_entry_info entry;
    REQUIRE_SAME(ring_segment_entry(segment, 0, &entry), -ENOENT);
    REQUIRE_OK(ring_spsc_create(segment, "first", 4096));
    REQUIRE_OK(ring_spsc_create(segment, "second", 8192));
    REQUIRE_OK(ring_segment_entry(segment, 1, &entry));
    REQUIRE(strcmp(entry.name, "second") == 0);
    REQUIRE_SAME(entry.kind, RING_KIND_SPSC);
    REQUIRE_SAME(entry.bytes, ring_spsc_footprint(8192));
    REQUIRE(entry.created_ns > 0);
    uint64_t end_of_first = entry.offset;
    REQUIRE_OK(ring_segment_entry(segment, 0, &entry));
    REQUIRE(strcmp(entry.name, "first") == 0);
    REQUIRE_SAME(entry.offset + entry.bytes, end_of_first);
    REQUIRE(ring_segment_entry(segment, RING_SEGMENT_DEFAULT_RINGS, &entry) < 0);
    REQUIRE(ring_segment_entry(segment, UINT32_MAX, &entry) < 0);
    REQUIRE(ring_segment_entry(segment, 0, NULL) < 0);
    REQUIRE(ring_segment_entry(NULL, 0, &entry) < 0);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(directory, bad_ring_names_are_refused_by_every_call)
{
    struct ring_segment *segment = test_create(1 << 17);
    static const char *const bad[] = { NULL, "", "/", "a/b", "/ring", "a\nb", "a\tb", "\x01", "\x7f", "bell\a" };
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_spsc_info info = { .struct_size = sizeof info };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REQUIRE_REFUSED(ring_spsc_create(segment, bad[i], 4096), EINVAL);
        REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_producer(&producer, segment, bad[i], RING_NO_WAIT));
        REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_consumer(&consumer, segment, bad[i], RING_NO_WAIT));
        REQUIRE_REFUSED_SOMEHOW(ring_spsc_info(segment, bad[i], &info));
    }
    char longest[RING_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[RING_NAME_MAX + 1] = 0;
    REQUIRE_REFUSED(ring_spsc_create(segment, longest, 4096), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, longest, RING_FOREVER), ENAMETOOLONG);
    longest[RING_NAME_MAX] = 0;
    REQUIRE_OK(ring_spsc_create(segment, longest, 4096));
    use_ring(segment, longest);
    longest[RING_NAME_MAX - 1] = 0; /* a prefix is another name */
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, longest, RING_NO_WAIT), ENOENT);
    REQUIRE_OK(ring_segment_close(&segment));
}

/* Is each of them refused as what it is not? */
static void require_kind(struct ring_segment *segment, const char *name, const char *is)
{
    struct ring_spsc_producer producer;
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    if (strcmp(name, "spsc") != 0) {
        REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, name, RING_NO_WAIT), EINVAL);
        REQUIRE(strstr(ring_error_detail(), is) && strstr(ring_error_detail(), "not an SPSC ring"));
    }
    if (strcmp(name, "mpmc") != 0) {
        REQUIRE_REFUSED(ring_mpmc_info(segment, name, &info), EINVAL);
        REQUIRE(strstr(ring_error_detail(), is) && strstr(ring_error_detail(), "not an MPMC ring"));
    }
}

Test(directory, a_thing_of_another_kind_is_refused_and_both_kinds_are_named)
{
    struct ring_segment *segment = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(segment, "spsc", 4096));
    REQUIRE_OK(ring_mpmc_create(segment, "mpmc", 2, 8));
    REQUIRE_OK(ring_broadcast_create(segment, "broadcast", 2, 8, RING_BROADCAST_LOSSLESS));
    REQUIRE_OK(ring_blocks_create(segment, "blocks", 64, 1));
    REQUIRE_OK(ring_heap_create(segment, "heap", 4096));
    require_kind(segment, "spsc", "is an SPSC ring,");
    require_kind(segment, "mpmc", "is an MPMC ring,");
    require_kind(segment, "broadcast", "is a broadcast ring,");
    require_kind(segment, "blocks", "is a pool of blocks,");
    require_kind(segment, "heap", "is a heap,");
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(directory, a_second_ring_of_the_same_name_is_refused_and_the_first_unharmed)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    test_send(&pair.producer, 10, 1);
    REQUIRE_REFUSED(ring_spsc_create(pair.segment, "ring", 4096), EEXIST);
    REQUIRE_REFUSED(ring_spsc_create(pair.segment, "ring", 8192), EEXIST);
    test_recv(&pair.consumer, 10, 1);
    REQUIRE_SAME(count_rings(pair.segment), 1);
    test_pair_close(&pair);
}

Test(directory, a_full_segment_says_so_and_what_to_do)
{
    struct ring_segment *segment = test_create(1 << 17);
    REQUIRE_REFUSED(ring_spsc_create(segment, "too big", 1 << 17), ENOSPC);
    REQUIRE_REFUSED(ring_spsc_create(segment, "far too big", RING_SPSC_MAX_BYTES), ENOSPC);
    char name[16];
    int made = 0, code;
    do {
        snprintf(name, sizeof name, "ring%d", made++);
        code = ring_spsc_create(segment, name, 4096);
    } while (code == 0);
    REQUIRE_REFUSED(ring_spsc_create(segment, name, 4096), ENOSPC);
    REQUIRE(strlen(ring_error_detail()) > 30);
    REQUIRE_SAME(count_rings(segment), made - 1);
    REQUIRE(made > 5);
    for (int i = 0; i < made - 1; i++) {
        snprintf(name, sizeof name, "ring%d", i);
        use_ring(segment, name);
    }
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(directory, a_full_directory_says_so_and_what_to_do)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 18);
    options.rings = 3;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "a", 4096));
    REQUIRE_OK(ring_spsc_create(segment, "b", 4096));
    REQUIRE_OK(ring_spsc_create(segment, "c", 4096));
    REQUIRE_REFUSED(ring_spsc_create(segment, "d", 4096), ENOSPC);
    REQUIRE(strlen(ring_error_detail()) > 30);
    REQUIRE_REFUSED(ring_spsc_create(segment, "c", 4096), EEXIST);
    REQUIRE_SAME(count_rings(segment), 3);
    use_ring(segment, "c");
    REQUIRE_OK(ring_segment_close(&segment));
}

struct makers {
    RING_ATOMIC(uint64_t) go;
    RING_ATOMIC(uint64_t) made;
    RING_ATOMIC(uint64_t) numbers;
};

static int make_same_and_different(void *argument)
{
    struct makers *makers = argument;
    struct ring_segment *segment = test_attach();
    int number = (int)atomic_fetch_add(&makers->numbers, 1);
    test_await(&makers->go, 1);
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "same%d", i);
        int code = ring_spsc_create(segment, name, 4096);
        if (code == 0)
            atomic_fetch_add(&makers->made, 1);
        else
            REQUIRE_SAME(code, -EEXIST);
        snprintf(name, sizeof name, "own%d-%d", number, i);
        REQUIRE_OK(ring_spsc_create(segment, name, 4096));
        use_ring(segment, name);
    }
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(directory, of_many_makers_at_once_one_makes_each_ring)
{
    struct makers *makers = test_shared(sizeof *makers);
    struct ring_segment_options options = test_plain(8 << 20);
    options.rings = 256;
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    pid_t children[MAKERS];
    for (int i = 0; i < MAKERS; i++)
        children[i] = test_spawn(make_same_and_different, makers);
    test_await(&makers->numbers, MAKERS);
    atomic_store(&makers->go, 1);
    for (int i = 0; i < MAKERS; i++)
        test_wait(children[i]);
    REQUIRE_SAME(atomic_load(&makers->made), 20);
    REQUIRE_SAME(count_rings(segment), 20 + 20 * MAKERS);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "same%d", i);
        use_ring(segment, name);
    }
    REQUIRE_OK(ring_segment_close(&segment));
}

static int make_until_killed(void *argument)
{
    struct makers *makers = argument;
    struct ring_segment *segment = test_attach();
    for (int i = 0;; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d-%d", (int)getpid(), i);
        atomic_fetch_add(&makers->numbers, 1);
        int code = ring_spsc_create(segment, name, 4096);
        if (code == 0)
            atomic_fetch_add(&makers->made, 1);
        else if (code == -ENOSPC)
            test_nap(TEST_LONG);
        else
            REQUIRE_OK(code);
    }
}

Test(directory, a_maker_killed_at_any_moment_leaves_a_working_directory)
{
    struct test_random random = { 5 };
    for (uint64_t round = 0; round < test_rounds(96); round++) {
        struct makers *makers = test_shared(sizeof *makers);
        struct ring_segment_options options = test_plain(8 << 20);
        options.rings = 512;
        struct ring_segment *segment;
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        pid_t first = test_spawn(make_until_killed, makers), second = test_spawn(make_until_killed, makers);
        test_await(&makers->numbers, 1 + test_below(&random, 100));
        test_nap((int64_t)test_below(&random, 300000));
        test_kill(first);
        test_kill(second);
        int rings = count_rings(segment);
        uint64_t made = atomic_load(&makers->made);
        REQUIRE(rings >= (int)made && rings <= (int)made + 2);
        int code = ring_spsc_create(segment, "after", 4096);
        if (rings < 500 && code != -ENOSPC) {
            REQUIRE_OK(code);
            use_ring(segment, "after");
        } else {
            REQUIRE(rings > 100); /* only a segment really full may refuse */
        }
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}
