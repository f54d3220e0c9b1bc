/* spsc_growth_death.c - a ring is replaced by a larger one, and those who do that die. */
#include "growth.h"

#include <signal.h>

static uint64_t capacity_of(struct ring_segment *segment, const char *ring)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, ring, &info));
    return info.capacity;
}

struct account {
    RING_ATOMIC(uint64_t) next; /* number of the next message to send, or to receive */
    RING_ATOMIC(uint64_t) capacity;
};

/* Sends, and grows the ring up to the capacity asked for, until killed. */
static int send_and_grow(void *argument)
{
    struct account *account = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    struct test_random random = { ring_atomic_load(&account->next, memory_order_relaxed) + (uint64_t)getpid() };
    for (;;) {
        uint64_t number = ring_atomic_load(&account->next, memory_order_relaxed);
        if (ring_spsc_send(&producer, &number, sizeof number, RING_NO_WAIT) == 0)
            ring_atomic_store(&account->next, number + 1, memory_order_release);
        if (producer.capacity < ring_atomic_load(&account->capacity, memory_order_relaxed) &&
            test_below(&random, 300) == 0)
            REQUIRE_OK(ring_spsc_grow(&producer, NULL));
    }
    return 0;
}

/* A consumer that takes all there is: numbers without a gap, once each. One may be there that its sender did not live
 * to write down. */
static uint64_t take_all(struct ring_spsc_consumer *consumer, uint64_t next, uint64_t least, uint64_t most)
{
    for (;;) {
        uint64_t number = 0;
        ssize_t length = ring_spsc_recv(consumer, &number, sizeof number, TEST_LONG);
        if (length == -EOWNERDEAD)
            break;
        REQUIRE_SAME(length, sizeof number);
        REQUIRE_SAME(number, next);
        REQUIRE_SAME(ring_spsc_last_flags(consumer), 0);
        next++;
    }
    REQUIRE(next >= least && next <= most);
    return next;
}

Test(spsc_growth_death, producers_killed_while_they_grow_the_ring_lose_nothing)
{
    struct account *account = test_shared(sizeof *account);
    for (unsigned round = 0; round < test_rounds(40); round++) {
        struct ring_segment *segment = test_roomy(round % 2);
        struct ring_spsc_consumer consumer;
        uint64_t next = 0;
        REQUIRE_OK(ring_spsc_create(segment, "ring", SMALL));
        test_open_consumer(&consumer, segment);
        ring_atomic_store(&account->next, 0, memory_order_relaxed);
        ring_atomic_store(&account->capacity, SMALL, memory_order_relaxed);
        for (unsigned death = 0; death < 6; death++) {
            ring_atomic_store(&account->capacity, (uint64_t)SMALL << (death + 1), memory_order_relaxed);
            pid_t child = test_spawn(send_and_grow, account);
            test_await(&account->next, next + 20);
            test_nap((int64_t)(test_mix(round * 8 + death) % 300000));
            test_kill(child);
            uint64_t sent = ring_atomic_load(&account->next, memory_order_acquire);
            next = take_all(&consumer, next, sent, sent + 1);
            ring_atomic_store(&account->next, next, memory_order_relaxed);
        }
        REQUIRE_OK(ring_spsc_close_consumer(&consumer));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

/* Receives until killed; what it has got it writes down before it asks for more. */
static int recv_until_killed(void *argument)
{
    struct account *account = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    for (;;) {
        uint64_t number = 0;
        struct ring_message message;
        if (ring_spsc_peek(&consumer, &message, TEST_LONG) != 0)
            continue;
        memcpy(&number, message.data, sizeof number);
        uint64_t next = ring_atomic_load(&account->next, memory_order_relaxed);
        REQUIRE(number == next || (number < next && (message.flags || ring_spsc_last_flags(&consumer))));
        if (number == next)
            ring_atomic_store(&account->next, next + 1, memory_order_release);
        REQUIRE_SAME(ring_spsc_release(&consumer, 1), 0);
    }
    return 0;
}

Test(spsc_growth_death, consumers_killed_while_they_follow_lose_nothing)
{
    struct account *account = test_shared(sizeof *account);
    for (unsigned round = 0; round < test_rounds(40); round++) {
        struct ring_segment *segment = test_roomy(round % 2);
        struct ring_spsc_producer producer;
        uint64_t sent = 0;
        REQUIRE_OK(ring_spsc_create(segment, "ring", SMALL));
        test_open_producer(&producer, segment);
        ring_atomic_store(&account->next, 0, memory_order_relaxed);
        for (unsigned death = 0; death < 6; death++) {
            pid_t child = test_spawn(recv_until_killed, account);
            for (unsigned i = 0; i < 100; i++, sent++) {
                REQUIRE_SAME(ring_spsc_send(&producer, &sent, sizeof sent, TEST_LONG), 0);
                if (test_mix(round * 1000 + death * 100 + i) % 50 == 0 && producer.capacity < (256 << 10))
                    REQUIRE_OK(ring_spsc_grow(&producer, NULL));
            }
            test_await(&account->next, sent - test_mix(round * 6 + death) % 100);
            test_kill(child);
        }
        pid_t child = test_spawn(recv_until_killed, account);
        test_await(&account->next, sent);
        test_kill(child);
        REQUIRE_SAME(ring_atomic_load(&account->next, memory_order_relaxed), sent);
        REQUIRE_OK(ring_spsc_close_producer(&producer));
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

/* Sends three messages and dies. */
static int send_and_die(void *argument)
{
    (void)argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    test_send_many(&producer, 0, 3);
    raise(SIGKILL);
    return 0;
}

Test(spsc_growth_death, growth_without_a_producer_does_not_hide_that_the_last_one_died)
{
    struct ring_segment *segment = test_create(ROOM);
    struct ring_spsc_consumer consumer;
    char byte;
    REQUIRE_OK(ring_spsc_create(segment, "ring", SMALL));
    test_open_consumer(&consumer, segment);
    (void)test_wait_status(test_spawn(send_and_die, NULL));
    REQUIRE_OK(ring_spsc_grow_unattended(segment, "ring", NULL));
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    test_recv_many(&consumer, 0, 3);
    REQUIRE_SAME(ring_spsc_recv(&consumer, &byte, 1, TEST_LONG), -EOWNERDEAD);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(spsc_growth_death, a_generation_that_a_dead_producer_made_and_never_entered_is_adopted)
{
    struct test_pair pair;
    struct test_outside outside;
    test_growing_pair(&pair);
    test_send_many(&pair.producer, 0, 3);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    /* What a death leaves between making the next generation and MOVED: the old ring as it was. */
    struct ring_entry_info entry;
    REQUIRE_OK(ring_segment_entry(pair.segment, 0, &entry));
    outside = test_outside_open(test_name());
    struct ring_layout_spsc *control = (struct ring_layout_spsc *)(void *)(outside.bytes + entry.offset);
    ring_atomic_store(&control->producer.state, 1 << 8 | RING_ROLE_ATTACHED, memory_order_release);
    test_outside_close(&outside);
    test_open_producer(&pair.producer, pair.segment);
    REQUIRE_SAME(pair.producer.capacity, SMALL);
    test_send_many(&pair.producer, 3, 3);
    test_grow_to(&pair.producer, 16 * SMALL); /* by way of the one of 2 * SMALL */
    REQUIRE_SAME(pair.producer.capacity, 16 * SMALL);
    REQUIRE_SAME(capacity_of(pair.segment, "ring~1"), 2 * SMALL);
    REQUIRE_SAME(capacity_of(pair.segment, "ring~2"), 16 * SMALL);
    test_send_many(&pair.producer, 6, 3);
    test_recv_many(&pair.consumer, 0, 9);
    test_pair_close(&pair);
}
