/* refused.c - nodes that cannot be had, on a machine with several: refused, or told. The variable BARE_NODE names a
 * node without memory. */
#include "nodes.h"

static int bare_node(void)
{
    const char *text = getenv("BARE_NODE");
    return text ? atoi(text) : -1;
}

/* Strict: an error with a sentence, and nothing is left. Else: made all the same, and info tells the truth. */
static void demand_refused(int node)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    options.numa_node = node;
    options.flags = RING_STRICT;
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EOPNOTSUPP);
    REQUIRE_SAME(test_names_left(), 0);
    options.flags = 0;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.numa_error, -EOPNOTSUPP);
    uint64_t used = info.used_bytes;
    struct ring_pages pages = { .struct_size = sizeof pages };
    REQUIRE_OK(ring_segment_pages(segment, NULL, &pages));
    REQUIRE(!pages.granted && pages.asked == node && pages.node != node);
    REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, node)); /* as the segment, which is told already */
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
    options.numa_node = RING_NODE_ANY;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(create(segment, "ring", RING_KIND_MPMC, node));
    REQUIRE_OK(ring_segment_pages(segment, "ring", &pages));
    REQUIRE(!pages.granted && pages.asked == node && pages.node != node && pages.absent_bytes == 0);
    REQUIRE_OK(ring_segment_free(segment, "ring"));
    REQUIRE_OK(ring_segment_close(&segment));
    options.flags = RING_STRICT;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, 0));
    for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++)
        REQUIRE_REFUSED(create(segment, "ring", kind, node), EOPNOTSUPP);
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.used_bytes, used);
    REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, RING_NODE_ANY));
    drop(&segment);
}

Test(unplaced, a_node_that_does_not_exist_is_refused_or_told)
{
    demand_refused(17);
    demand_refused(1000);
    demand_refused(INT32_MAX);
}

Test(unplaced, a_node_without_memory_is_refused_or_told)
{
    if (bare_node() < 0)
        test_skip("this machine has no node without memory");
    demand_refused(bare_node());
}

Test(unplaced, wishes_that_mean_nothing_are_refused)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    static const int bad[] = { RING_NODE_MIXED, RING_NODE_UNKNOWN, -6, INT32_MIN };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.numa_node = bad[i];
        REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EINVAL);
    }
    options.numa_node = RING_NODE_ANY;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REQUIRE_REFUSED(create(segment, "ring", RING_KIND_SPSC, bad[i]), EINVAL);
    struct ring_pages pages = { .struct_size = 0 };
    REQUIRE_REFUSED(ring_segment_pages(segment, NULL, &pages), EINVAL);
    pages.struct_size = sizeof pages;
    REQUIRE_REFUSED(ring_segment_pages(segment, "none", &pages), ENOENT);
    drop(&segment);
}

Test(unplaced, a_node_that_is_full_is_refused_and_nobody_is_killed)
{
    know_nodes(2);
    long long spare = 0;
    numa_node_size64(nodes[1], &spare);
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(((size_t)spare / PAGE + 1) * PAGE);
    options.flags = RING_STRICT;
    options.numa_node = nodes[1];
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(unplaced, pages_that_are_not_set_aside_on_that_node_are_refused)
{
    know_nodes(2);
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(256 << 20);
    options.backing = RING_BACKING_HUGETLBFS;
    options.flags = RING_STRICT;
    options.numa_node = nodes[1];
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "hugepages"));
    segment = make(SET_ASIDE, 8 << 20, nodes[1]);
    REQUIRE_OK(create(segment, "ring", RING_KIND_SPSC, nodes[0]));
    demand_on(segment, "ring", nodes[0]);
    drop(&segment);
}
