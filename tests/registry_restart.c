/* registry_restart.c - a peer that comes again with a new segment of the same name is found again. */
#include "registry.h"

#include <signal.h>

/* Receives one message by name of a segment that it makes itself, writes it down, and ends. */
struct account {
    RING_ATOMIC(uint64_t) ready, got;
};

static int make_receive_and_end(void *argument)
{
    struct account *account = argument;
    struct ring_segment *segment;
    struct ring_segment_options options = test_plain(1 << 20);
    struct ring_spsc_consumer consumer;
    uint64_t word;
    ring_segment_unlink(test_name());
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "one", 16384));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "one", RING_NO_WAIT));
    atomic_fetch_add_explicit(&account->ready, 1, memory_order_release);
    REQUIRE_SAME(ring_spsc_recv(&consumer, &word, sizeof word, TEST_LONG), sizeof word);
    ring_atomic_store(&account->got, word, memory_order_release);
    raise(SIGKILL);
    return 0;
}

Test(registry_restart, a_sender_that_waits_for_room_at_a_dead_peer_sends_to_its_successor)
{
    struct account *account = test_shared(sizeof *account);
    struct ring_registry_name *name = test_open_name("peer");
    for (uint64_t i = 1; i <= test_rounds(24); i++) {
        pid_t child = test_spawn(make_receive_and_end, account);
        test_await(&account->ready, i);
        if (i == 1)
            test_register("peer", RING_REGISTRY_SPSC_PRODUCER, "one");
        /* To the old ring nobody listens: it fills, its consumer is found dead, the name leads to the new one. */
        while (ring_atomic_load(&account->got, memory_order_acquire) < i) {
            int code = ring_registry_send(name, &i, sizeof i, TEST_LONG);
            REQUIRE_ONE_OF(code, 0, -EOWNERDEAD);
        }
        test_wait_status(child);
    }
    REQUIRE_SAME(test_registry_info().replaced, test_rounds(24) - 1);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&name));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(registry_restart, a_segment_that_was_only_removed_stays_until_another_has_its_name)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *name = test_open_name("feed");
    uint64_t word = 1;
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    REQUIRE_SAME(ring_registry_refresh("feed"), 0);
    REQUIRE_OK(ring_segment_unlink(test_name()));
    REQUIRE_SAME(ring_registry_refresh("feed"), 0);
    REQUIRE_SAME(ring_registry_send(name, &word, sizeof word, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_segment_close(&segment));
    segment = test_create(1 << 20); /* without that ring: nothing to change to */
    REQUIRE_REFUSED(ring_registry_refresh("feed"), ENOENT);
    REQUIRE_SAME(ring_registry_send(name, &word, sizeof word, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_mpmc_create(segment, "many", 16, 64));
    REQUIRE_SAME(ring_registry_refresh("feed"), 1);
    REQUIRE_SAME(ring_registry_refresh("feed"), 0);
    REQUIRE_SAME(ring_registry_send(name, &word, sizeof word, RING_NO_WAIT), 0);
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_mpmc_info(segment, "many", &info));
    REQUIRE_SAME(info.tail - info.head, 1);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&name));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(registry_restart, a_section_keeps_the_old_segment_while_the_name_leads_to_the_new_one)
{
    struct ring_segment *segment = test_create_all(), *successor;
    void *old, *new;
    test_register("here", RING_REGISTRY_SEGMENT, NULL);
    REQUIRE_SAME(ring_registry_enter_by("here", RING_REGISTRY_SEGMENT, &old), 0);
    REQUIRE_OK(ring_segment_unlink(test_name()));
    successor = test_create(1 << 20);
    REQUIRE_SAME(ring_registry_refresh_all(), 1);
    REQUIRE_SAME(ring_registry_enter_by("here", RING_REGISTRY_SEGMENT, &new), 0);
    REQUIRE(old != new);
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(old, &info));
    REQUIRE_SAME(info.rings, 3);
    REQUIRE_OK(ring_segment_info(new, &info));
    REQUIRE_SAME(info.rings, 0);
    REQUIRE_SAME(test_registry_info().segments, 2);
    ring_registry_leave(RING_REGISTRY_SEGMENT, new);
    ring_registry_leave(RING_REGISTRY_SEGMENT, old);
    ring_registry_settle();
    REQUIRE_SAME(test_registry_info().segments, 1);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_close(&successor));
}
