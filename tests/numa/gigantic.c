/* gigantic.c - segments in pages of 1 GiB: the guest `gigantic` of tests/numa/run has set one aside when it started, on
 * its second node. Where there is none, they are refused; that is shown everywhere. */
#include "nodes.h"

#include <signal.h>

#define GIGANTIC ((size_t)1 << 30)

static const unsigned backings[] = { RING_BACKING_HUGETLBFS, RING_BACKING_MEMFD, RING_BACKING_SYSTEM_V,
                                     RING_BACKING_PRIVATE };
enum { BACKINGS = sizeof backings / sizeof *backings };

/* Pages of 1 GiB of the machine; -1: its processor has no such. */
static int pages_of(const char *what)
{
    char path[TEST_NAME];
    int count = -1;
    snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/hugepages-1048576kB/%s", what);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%d", &count) != 1)
        count = -1;
    if (file)
        fclose(file);
    return count;
}

static void need_a_page(void)
{
    if (pages_of("free_hugepages") < 1)
        test_skip("this machine has no page of 1 GiB set aside");
}

static struct ring_segment_options options_of(unsigned backing)
{
    struct ring_segment_options options = test_plain(1 << 20);
    options.flags = RING_HUGE | RING_LOCK | RING_STRICT;
    options.backing = backing;
    options.page_bytes = GIGANTIC;
    return options;
}

/* The page of the mapping in which the address lies, in KiB. */
static long page_of(const void *address)
{
    char line[512];
    bool here = false;
    long kib = -1;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    REQUIRE(smaps);
    while (kib < 0 && fgets(line, sizeof line, smaps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (uintptr_t)address && (uintptr_t)address < to;
        else if (here)
            (void)sscanf(line, "KernelPageSize: %ld kB", &kib);
    }
    fclose(smaps);
    return kib;
}

/* A block of it, which lies in its mapping. */
static void *some_of(struct ring_segment *segment)
{
    static struct ring_blocks blocks;
    uint64_t handle;
    void *address;
    REQUIRE_OK(ring_blocks_create(segment, "pool", PAGE, 4));
    REQUIRE_OK(ring_blocks_open(&blocks, segment, "pool", RING_NO_WAIT));
    REQUIRE_SAME(ring_block_allocate(&blocks, PAGE, &handle, &address), 0);
    memset(address, 1, PAGE);
    REQUIRE_OK(ring_blocks_close(&blocks));
    return address;
}

static void demand_gigantic(struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.bytes, GIGANTIC);
    REQUIRE_SAME(info.page_bytes, GIGANTIC);
    REQUIRE_SAME(info.huge_bytes, GIGANTIC);
    REQUIRE_SAME(info.locked_bytes, GIGANTIC);
    REQUIRE_SAME(pages_of("free_hugepages"), 0);
    void *address = some_of(segment);
    REQUIRE_SAME(page_of(address), 1 << 20);
    int status = -1, node = nodes[node_count - 1];
    REQUIRE_SAME(move_pages(0, 1, &address, NULL, &status, 0), 0);
    REQUIRE_SAME(status, node); /* where the machine has it */
    REQUIRE_SAME(info.numa_node, node);
}

/* A second one cannot be had: it is told how many there are, and nothing is left of the attempt. */
static void demand_no_second(unsigned backing)
{
    struct ring_segment *second;
    struct ring_segment_options options = options_of(backing);
    char name[TEST_NAME];
    unsigned descriptors = test_descriptors();
    REQUIRE_REFUSED(ring_segment_create(&second, test_name_of(name, 2), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "hugepages-1048576kB/nr_hugepages"));
    REQUIRE(strstr(ring_error_detail(), "free are 0"));
    REQUIRE_SAME(test_descriptors(), descriptors);
}

static int send_and_die(void *unused)
{
    (void)unused;
    struct ring_segment *segment = test_attach();
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.page_bytes, GIGANTIC);
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send(&producer, 777, 1);
    raise(SIGKILL);
    return 1;
}

Test(gigantic, a_segment_asked_for_in_a_page_of_1_gib_has_one_of_every_backing_that_takes_it)
{
    need_a_page();
    know_nodes(1);
    for (int i = 0; i < BACKINGS; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = options_of(backings[i]);
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        demand_gigantic(segment);
        demand_no_second(backings[i]);
        if (backings[i] == RING_BACKING_HUGETLBFS || backings[i] == RING_BACKING_SYSTEM_V) {
            struct ring_spsc_consumer consumer;
            REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
            test_open_consumer(&consumer, segment);
            REQUIRE_SAME(test_wait_status(test_spawn(send_and_die, NULL)), SIGKILL);
            test_recv(&consumer, 777, 1);
            REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
            REQUIRE_OK(ring_spsc_close_consumer(&consumer));
            REQUIRE_OK(ring_segment_unlink(test_name()));
        }
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_SAME(pages_of("free_hugepages"), 1);
    }
    REQUIRE_SAME(test_names_left(), 0);
}

Test(gigantic, a_page_of_1_gib_is_had_on_the_node_that_has_it_and_refused_on_another)
{
    need_a_page();
    know_nodes(2);
    struct ring_segment *segment;
    struct ring_segment_options options = options_of(RING_BACKING_HUGETLBFS);
    options.numa_node = nodes[0];
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "hugepages-1048576kB"));
    options.numa_node = nodes[1];
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    demand_gigantic(segment);
    struct ring_pages pages = { .struct_size = sizeof pages };
    REQUIRE_OK(ring_segment_pages(segment, NULL, &pages));
    REQUIRE(pages.granted && pages.granule == GIGANTIC && pages.node_bytes[nodes[1]] == GIGANTIC);
    drop(&segment);
}

Test(gigantic, rights_to_blocks_that_share_a_page_of_1_gib_are_refused)
{
    need_a_page();
    struct ring_segment *segment;
    static struct ring_blocks blocks;
    struct ring_segment_options options = options_of(RING_BACKING_PRIVATE);
    struct ring_blocks_options pool = ring_blocks_defaults(HUGE_PAGE, 4);
    pool.align = HUGE_PAGE;
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &pool));
    REQUIRE_REFUSED(ring_blocks_open_with(&blocks, segment, "pool", RING_BLOCKS_WRITE_OWN, RING_NO_WAIT), EOPNOTSUPP);
    REQUIRE(strstr(ring_error_detail(), ".align = 1073741824"));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(gigantic, where_no_page_of_1_gib_was_set_aside_it_is_told_what_sets_one_aside_and_nothing_is_left)
{
    if (pages_of("nr_hugepages") > 0)
        test_skip("this machine has some");
    bool possible = pages_of("nr_hugepages") == 0;
    for (int i = 0; i < BACKINGS; i++) {
        struct ring_segment *segment = (void *)1;
        struct ring_segment_options options = options_of(backings[i]);
        unsigned descriptors = test_descriptors();
        bool mounts = backings[i] == RING_BACKING_HUGETLBFS;
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options),
                        possible && !mounts ? ENOMEM : EOPNOTSUPP);
        REQUIRE(!segment);
        if (mounts)
            REQUIRE(strstr(ring_error_detail(), "mount -t hugetlbfs -o pagesize=1024M"));
        else if (possible)
            REQUIRE(strstr(ring_error_detail(), "needs 1 huge pages of 1024 MiB") &&
                    strstr(ring_error_detail(), "hugepages-1048576kB/nr_hugepages"));
        REQUIRE_SAME(test_descriptors(), descriptors);
        REQUIRE_SAME(test_names_left(), 0);
    }
}
