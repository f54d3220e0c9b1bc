/* refusals_uring.c - an io_uring that takes only a part of what is submitted, as it does when the kernel is short of
 * memory: nothing is lost, and nothing old comes again. */
#include "refuse.h"
#include "waiting.h"

static struct test_ends ends;

/* Each is called until it finds nothing; then their waits are queued. How many. */
static int drain_all(struct ring_any *any)
{
    void *ready[TEST_KINDS];
    int count = ring_any_wait(any, ready, TEST_KINDS, RING_NO_WAIT);
    for (int i = 0; i < count; i++)
        test_drain(&ends, (enum test_kind)(uintptr_t)ready[i]);
    return count;
}

Test(uring, that_takes_a_part_of_what_is_submitted_gets_the_rest_later_and_nothing_else)
{
    enum { SHORT = 20000000 }; /* less than until somebody is looked after */
    struct ring_any *any;
    void *ready[TEST_KINDS];
    test_ends_open(&ends);
    REQUIRE_OK(ring_any_open(&any));
    for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2)
        REQUIRE_OK(ring_any_add(any, test_waiter(&ends, kind), (void *)(uintptr_t)kind));
    REQUIRE_SAME(drain_all(any), 3);
    test_submit_one_by_one(true);
    for (int i = 0; i < 10; i++)
        drain_all(any);
    test_submit_one_by_one(false);
    for (int round = 0; round < 300; round++)
        for (enum test_kind kind = 0; kind < TEST_KINDS; kind += 2) {
            test_feed(&ends, kind);
            int count = ring_any_wait(any, ready, TEST_KINDS, SHORT);
            REQUIRE(count > 0);
            unsigned received = 0;
            for (int i = 0; i < count; i++) /* some may be ready for nothing */
                received += test_drain(&ends, (enum test_kind)(uintptr_t)ready[i]);
            REQUIRE_SAME(received, 1);
        }
    ring_any_close(&any);
    test_ends_close(&ends);
}
