/* refusals_blocks.c - pools of blocks while the system refuses: rights that it does not change, and memory that it does
 * not give. Nothing is lost, and it works when tried again. */
#include "blocks.h"
#include "refuse.h"

#include <signal.h>

enum { PAGE = 4096, COUNT = 8 };

static struct ring_blocks writer, other;

static struct ring_segment *make_pool(void)
{
    struct ring_blocks_options options = ring_blocks_defaults(PAGE, COUNT);
    return test_pool_with(&options);
}

static void demand_whole(struct ring_segment *segment)
{
    REQUIRE_SAME(test_pool_info(segment).classes[0].free, COUNT);
    test_pool_is_whole(segment);
    test_pool_end(segment);
}

Test(refused_blocks, rights_that_the_kernel_does_not_change_leave_every_block_where_it_was)
{
    struct ring_segment *segment = make_pool();
    uint64_t handle = 0, second;
    void *address;
    REQUIRE_OK(ring_blocks_open_with(&writer, segment, "pool", RING_BLOCKS_WRITE_OWN, RING_NO_WAIT));
    REQUIRE_OK(ring_blocks_open_with(&other, segment, "pool", RING_BLOCKS_WRITE_OWN, RING_NO_WAIT));
    test_refuse(CALL_PROTECT, 0, ENOMEM, true);
    REQUIRE_REFUSED(ring_block_allocate(&writer, PAGE, &handle, &address), ENOMEM);
    REQUIRE(strstr(ring_error_detail(), "vm.max_map_count"));
    REQUIRE_SAME(test_pool_info(segment).classes[0].free, COUNT);
    test_refuse_nothing();
    REQUIRE_SAME(ring_block_allocate(&writer, PAGE, &handle, &address), 0);
    memset(address, 1, PAGE);
    test_refuse(CALL_PROTECT, 0, ENOMEM, true);
    REQUIRE_REFUSED(ring_block_free(&writer, handle), ENOMEM);
    REQUIRE_REFUSED(ring_block_finish(&writer, handle), ENOMEM);
    REQUIRE_REFUSED(ring_block_pass(&writer, handle), ENOMEM);
    memset(address, 2, PAGE); /* still ours */
    REQUIRE_SAME(test_pool_info(segment).classes[0].owned, 1);
    test_refuse_nothing();
    REQUIRE_SAME(ring_block_pass(&writer, handle), 0);
    test_refuse(CALL_PROTECT, 0, ENOMEM, true);
    REQUIRE_REFUSED(ring_block_accept(&other, handle, &address, NULL), ENOMEM);
    REQUIRE_SAME(test_pool_info(segment).classes[0].passed, 1); /* on its way, as before */
    test_refuse_nothing();
    REQUIRE_SAME(ring_block_accept(&other, handle, &address, NULL), 0);
    memset(address, 3, PAGE);
    REQUIRE_SAME(ring_block_free(&other, handle), 0);
    REQUIRE_SAME(ring_block_allocate(&other, PAGE, &second, &address), 0);
    REQUIRE_OK(ring_blocks_close(&other));
    REQUIRE_OK(ring_blocks_close(&writer));
    demand_whole(segment);
}

Test(refused_blocks, a_pool_whose_pages_cannot_be_made_read_only_is_not_opened_so_and_stays_writable)
{
    struct ring_segment *segment = make_pool();
    test_refuse(CALL_PROTECT, 0, ENOMEM, false);
    REQUIRE_REFUSED(ring_blocks_open_with(&writer, segment, "pool", RING_BLOCKS_READ, RING_NO_WAIT), ENOMEM);
    REQUIRE_SAME(test_refuse_nothing(), 1);
    REQUIRE_REFUSED(ring_blocks_close(&writer), EBADF);
    test_pool_is_whole(segment);          /* without rights, so none is in force */
    for (unsigned at = 0; at < 2; at++) { /* the guard's words, and the list of who has the pool open */
        struct ring_segment *again = test_attach();
        test_refuse(CALL_MALLOC, at, ENOMEM, true);
        int code = ring_blocks_open_with(&writer, again, "pool", RING_BLOCKS_READ, RING_NO_WAIT);
        REQUIRE_SAME(code, test_refuse_nothing() ? -ENOMEM : 0);
        if (code == 0)
            REQUIRE_OK(ring_blocks_close(&writer));
        REQUIRE_OK(ring_blocks_open(&writer, again, "pool", RING_NO_WAIT));
        REQUIRE_OK(ring_blocks_close(&writer));
        REQUIRE_OK(ring_segment_close(&again));
    }
    demand_whole(segment);
}

/* ---- Blocks in transit for nobody ---- */

static int pass_and_die(void *unused)
{
    (void)unused;
    struct ring_segment *own = test_attach();
    REQUIRE_OK(ring_blocks_open(&other, own, "pool", RING_NO_WAIT));
    for (int i = 0; i < 3; i++)
        REQUIRE_SAME(ring_block_pass(&other, test_take(&other, PAGE)), 0);
    raise(SIGKILL);
    return 1;
}

Test(refused_blocks, a_search_for_stranded_blocks_without_memory_changes_nothing_and_is_told)
{
    struct ring_segment *segment = make_pool();
    REQUIRE_OK(
        ring_blocks_open(&writer, segment, "pool", RING_NO_WAIT)); /* or the search would take the dead one's seat */
    REQUIRE_SAME(test_wait_status(test_spawn(pass_and_die, NULL)), SIGKILL);
    unsigned refused = 0;
    int code = -ENOMEM;
    for (unsigned at = 0; code; at++) {
        uint64_t freed = 77;
        test_refuse(CALL_MALLOC, at, ENOMEM, false);
        code = ring_segment_recover_stranded(segment, "pool", &freed);
        refused += test_refuse_nothing();
        REQUIRE_ONE_OF(code, 0, -ENOMEM);
        REQUIRE_SAME(test_pool_info(segment).classes[0].passed, code ? 3 : 0);
        REQUIRE(code || freed == 3);
    }
    REQUIRE(refused > 0);
    REQUIRE_OK(ring_blocks_close(&writer));
    demand_whole(segment);
}
