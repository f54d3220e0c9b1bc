/* mpmc_much_rubbish.c - a peer that fills a large MPMC ring with words that lead whoever searches for the dead to every
 * slot and every seat. */
#include "mpmc.h"

#include <ring/mpmc_private.h>

enum { MANY_SEATS = RING_SEATS_MAX, MANY_SLOTS = 1 << 20 };

/* A full ring whose messages all look taken by consumers that died, with that intent in each seat; `apart`: each of
 * other positions. */
static void lie_in_all_seats(const struct ring_mpmc_view *view, bool apart)
{
    uint64_t first = MANY_SLOTS, tail = first + MANY_SLOTS;
    for (uint64_t position = first; position != tail; position++)
        ring_atomic_store(ring_mpmc_slot(view, position),
                          ring_mpmc_free_word(position, view->shift) | RING_SLOT_READY | 1, memory_order_relaxed);
    ring_atomic_store(&view->control->tail, tail, memory_order_relaxed);
    ring_atomic_store(&view->control->head, tail, memory_order_relaxed);
    ring_atomic_store(&view->control->reached, MANY_SEATS, memory_order_relaxed);
    for (uint64_t seat = 0; seat < MANY_SEATS; seat++) {
        uint64_t position = first + (apart ? seat * RING_INTENT_MOST : 7);
        ring_atomic_store(&view->seats[seat].role.state, 1 << 8 | RING_ROLE_ATTACHED, memory_order_relaxed);
        ring_atomic_store(&view->seats[seat].side, RING_SIDE_CONSUMER, memory_order_relaxed);
        ring_atomic_store(&view->seats[seat].intent, position << RING_INTENT_SHIFT | RING_INTENT_MOST,
                          memory_order_relaxed);
    }
}

/* Each call ends: the work must not be slots times seats. Before it was looked at in pieces this took an hour. */
Test(much_rubbish, in_all_seats_and_slots_of_a_large_ring_is_looked_through_at_once)
{
    struct ring_mpmc_options options = test_queue_options(MANY_SLOTS, 8, MANY_SLOTS);
    options.seats = MANY_SEATS;
    options.flags = RING_MPMC_NO_SOLE;
    static struct ring_mpmc_producer producer;
    static struct ring_mpmc_consumer consumer;
    struct ring_segment *segment = test_queue_with(&options);
    test_join_producer(&producer, segment);
    const struct ring_mpmc_view *view = &producer.end.view;
    for (int orphans = 0; orphans < 2; orphans++)
        for (int apart = 0; apart < 2; apart++) {
            lie_in_all_seats(view, apart);
            ring_atomic_store(&view->control->orphans, (uint32_t)orphans, memory_order_relaxed);
            for (int look = 0; look < 3; look++)
                REQUIRE_ONE_OF(test_put(&producer, 1, 0, 1000000), -ETIMEDOUT, -EOWNERDEAD);
            struct ring_recovery report = test_recover(segment);
            REQUIRE_SAME(report.waiting, MANY_SLOTS);
        }
    test_join_consumer(&consumer, segment);
    for (int i = 0; i < 3; i++)
        REQUIRE(ring_mpmc_recv(&consumer, (unsigned char[8]){ 0 }, 8, RING_NO_WAIT) == 1);
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    test_end_queue(segment);
}
