/* blocks_told.c - what is told of a pool from outside: who has which blocks; what calls that look or mend refuse; and
 * which blocks in transit a search leaves alone. */
#include "blocks.h"

#include <ring/layout.h>
#include <signal.h>

enum { COUNT = 40 };

static struct ring_blocks one, two;

static struct ring_segment *make_pool(void)
{
    struct ring_blocks_options options = ring_blocks_defaults(64, COUNT);
    options.seats = 3;
    options.cache = 4;
    return test_pool_with(&options);
}

static struct ring_blocks_seat_info seat_of(struct ring_segment *segment, unsigned seat)
{
    struct ring_blocks_seat_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_blocks_seat_info(segment, "pool", seat, &info));
    return info;
}

static int own_two_and_die(void *unused)
{
    (void)unused;
    REQUIRE_OK(ring_blocks_open(&two, test_attach(), "pool", RING_NO_WAIT));
    test_take(&two, 64);
    test_take(&two, 64);
    raise(SIGKILL);
    return 1;
}

Test(blocks_told, each_seat_tells_who_holds_it_and_what_he_owns_keeps_and_has_sent)
{
    struct ring_segment *segment = make_pool();
    struct ring_blocks_seat_info info = { .struct_size = sizeof info };
    REQUIRE_REFUSED(ring_blocks_seat_info(segment, "pool", 0, &info), ENOENT); /* nobody ever */
    test_pool_open(&one, segment);
    uint64_t handles[3];
    for (int i = 0; i < 3; i++)
        handles[i] = test_take(&one, 64);
    REQUIRE_SAME(ring_block_pass(&one, handles[0]), 0);
    info = seat_of(segment, 0);
    REQUIRE(info.side.peer == RING_PEER_ALIVE && info.side.pid == getpid());
    REQUIRE_SAME(info.owned, 2);
    REQUIRE_SAME(info.passed, 1);
    REQUIRE_SAME(info.owned + info.passed + info.cached + test_pool_info(segment).classes[0].free, COUNT);
    REQUIRE_SAME(test_wait_status(test_spawn(own_two_and_die, NULL)), SIGKILL);
    info = seat_of(segment, 1);
    REQUIRE_SAME(info.side.peer, RING_PEER_DEAD);
    REQUIRE_SAME(info.owned, 2);
    REQUIRE_SAME(test_pool_info(segment).dead, 1);
    struct ring_blocks_repairs repairs = { .struct_size = sizeof repairs };
    REQUIRE_OK(ring_blocks_recover(segment, "pool", &repairs));
    REQUIRE_SAME(repairs.freed, 2 + info.cached);
    REQUIRE_SAME(seat_of(segment, 1).owned, 0);
    REQUIRE_SAME(test_pool_info(segment).dead, 0); /* nothing is left of him */
    REQUIRE_OK(ring_blocks_close(&one));
    info = seat_of(segment, 0);
    REQUIRE(info.side.peer == RING_PEER_CLOSED && info.owned == 0 && info.cached == 0);
    info.struct_size = sizeof info;
    REQUIRE_REFUSED(ring_blocks_seat_info(segment, "pool", 2, &info), ENOENT);
    REQUIRE_REFUSED(ring_blocks_seat_info(segment, "pool", 3, &info), ENOENT); /* there is no such */
    test_pool_end(segment);
}

Test(blocks_told, looking_and_mending_refuse_what_they_cannot_do)
{
    struct ring_segment *segment = make_pool(), *observed;
    struct ring_blocks_info info = { .struct_size = 1 };
    struct ring_blocks_seat_info seat = { .struct_size = 0 };
    struct ring_blocks_repairs repairs = { .struct_size = 3 };
    REQUIRE_REFUSED(ring_blocks_info(segment, "pool", &info), EINVAL);
    REQUIRE_REFUSED(ring_blocks_info(segment, "pool", NULL), EINVAL);
    REQUIRE_REFUSED(ring_blocks_seat_info(segment, "pool", 0, &seat), EINVAL);
    REQUIRE_REFUSED(ring_blocks_recover(segment, "pool", &repairs), EINVAL);
    REQUIRE_REFUSED(ring_blocks_recover(segment, "none", NULL), ENOENT);
    REQUIRE_REFUSED(ring_blocks_recover(NULL, "pool", NULL), EINVAL);
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_segment_attach(&observed, test_name(), &options, RING_NO_WAIT));
    REQUIRE_REFUSED(ring_blocks_recover(observed, "pool", NULL), EACCES);
    REQUIRE_SAME(test_pool_info(observed).classes[0].free, COUNT); /* looking it may */
    REQUIRE_OK(ring_segment_close(&observed));
    test_pool_end(segment);
}

/* ---- Blocks in transit that something names ---- */

static uint64_t stranded_block(struct ring_segment *segment)
{
    test_pool_open(&two, segment);
    uint64_t handle = test_take(&two, 64);
    REQUIRE_SAME(ring_block_pass(&two, handle), 0);
    REQUIRE_OK(ring_blocks_close(&two)); /* its sender is gone */
    return handle;
}

static void demand_freed(struct ring_segment *segment, uint64_t expected)
{
    uint64_t freed = 77;
    REQUIRE_OK(ring_segment_recover_stranded(segment, "pool", &freed));
    REQUIRE_SAME(freed, expected);
}

Test(blocks_told, a_block_that_a_broadcast_message_or_a_piece_of_a_heap_names_is_left_in_transit)
{
    struct ring_segment *segment = make_pool();
    struct ring_broadcast_producer teller;
    static struct ring_heap heap;
    uint64_t reference;
    uint64_t handle = stranded_block(segment);
    REQUIRE_OK(ring_broadcast_create(segment, "news", 8, 56, RING_BROADCAST_OVERWRITE));
    REQUIRE_OK(ring_broadcast_open_producer(&teller, segment, "news", RING_NO_WAIT));
    REQUIRE_SAME(ring_broadcast_send(&teller, &handle, sizeof handle, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_broadcast_close_producer(&teller));
    demand_freed(segment, 0);
    REQUIRE_OK(ring_segment_free(segment, "news"));
    REQUIRE_OK(ring_heap_create(segment, "tree", 8192));
    REQUIRE_OK(ring_heap_open(&heap, segment, "tree", RING_NO_WAIT));
    REQUIRE_SAME(ring_heap_allocate(&heap, 64, &reference, RING_NO_WAIT), 0);
    void *piece = ring_heap_address(&heap, reference);
    REQUIRE(piece);
    memcpy(piece, &handle, sizeof handle);
    demand_freed(segment, 0);
    REQUIRE_SAME(test_pool_info(segment).classes[0].passed, 1);
    memset(piece, 0, sizeof handle);
    demand_freed(segment, 1);
    REQUIRE_OK(ring_heap_close(&heap));
    test_pool_is_whole(segment);
    test_pool_end(segment);
}

Test(blocks_told, a_damaged_ring_could_name_any_block_so_none_is_freed_until_it_is_gone)
{
    struct ring_segment *segment = make_pool();
    stranded_block(segment);
    REQUIRE_OK(ring_spsc_create(segment, "line", 4096));
    struct ring_entry_info entry = { .offset = 0 };
    for (unsigned at = 0; strcmp(entry.name, "line") != 0; at++)
        REQUIRE_OK(ring_segment_entry(segment, at, &entry));
    struct test_outside outside = test_outside_open(test_name());
    struct ring_layout_spsc *control = (void *)(outside.bytes + entry.offset);
    ring_atomic_store(&control->head, 4, memory_order_relaxed); /* positions are multiples of 8 */
    uint64_t freed = 77;
    REQUIRE_REFUSED(ring_segment_recover_stranded(segment, "pool", &freed), EAGAIN);
    REQUIRE_SAME(freed, 0);
    REQUIRE_SAME(test_pool_info(segment).classes[0].passed, 1);
    test_outside_close(&outside);
    REQUIRE_OK(ring_segment_free(segment, "line"));
    demand_freed(segment, 1);
    test_pool_end(segment);
}
