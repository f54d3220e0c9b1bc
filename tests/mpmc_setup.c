/* mpmc_setup.c - making rings, taking and leaving seats, looking from outside, and everything that must be refused. */
#include "mpmc.h"

#include <signal.h>

enum { MOST = 24, SLOTS = 8 };

static struct ring_segment *segment;

/* ---- Making ---- */

static void refuse(size_t slots, size_t slot_bytes, unsigned seats, unsigned flags)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = slots;
    options.slot_bytes = slot_bytes;
    options.seats = seats;
    options.flags = flags;
    REQUIRE_REFUSED(ring_mpmc_create_with(segment, "queue", &options), EINVAL);
    if (flags == 0)
        REQUIRE_SAME(ring_mpmc_footprint_with(&options), 0);
}

Test(setup, impossible_sizes_are_refused_with_a_sentence_and_nothing_is_made)
{
    static const size_t slots[] = { 0, 1, RING_MPMC_MAX_SLOTS + 1, (size_t)1 << 32, (size_t)1 << 60, SIZE_MAX };
    static const size_t bytes[] = {
        0, RING_MPMC_MAX_SLOT_BYTES + 1, (size_t)1 << 32, (size_t)1 << 60, SIZE_MAX - 7, SIZE_MAX
    };
    static const unsigned seats[] = { 0, RING_SEATS_MAX + 1, UINT32_MAX, 1u << 31 };
    segment = test_create(1 << 20);
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        refuse(slots[i], 8, 2, 0);
        REQUIRE_SAME(ring_mpmc_footprint(slots[i], 8), 0);
        REQUIRE_REFUSED(ring_mpmc_create(segment, "queue", slots[i], 8), EINVAL);
    }
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        refuse(8, bytes[i], 2, 0);
        REQUIRE_SAME(ring_mpmc_footprint(8, bytes[i]), 0);
        REQUIRE_REFUSED(ring_mpmc_create(segment, "queue", 8, bytes[i]), EINVAL);
    }
    for (size_t i = 0; i < sizeof seats / sizeof *seats; i++)
        refuse(8, 8, seats[i], 0);
    refuse(8, 8, 2, 2);
    refuse(8, 8, 2, UINT32_MAX);
    struct ring_entry_info entry;
    REQUIRE_SAME(ring_segment_entry(segment, 0, &entry), -ENOENT);
    test_end_queue(segment);
}

Test(setup, options_of_another_size_and_bad_names_are_refused)
{
    segment = test_create(1 << 20);
    struct ring_mpmc_options options = ring_mpmc_defaults();
    static const size_t sizes[] = { 0, 1, sizeof options - 8, sizeof options + 8, SIZE_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        options.struct_size = sizes[i];
        REQUIRE_REFUSED(ring_mpmc_create_with(segment, "queue", &options), EINVAL);
        REQUIRE_SAME(ring_mpmc_footprint_with(&options), 0);
    }
    REQUIRE_REFUSED(ring_mpmc_create_with(segment, "queue", NULL), EINVAL);
    REQUIRE_SAME(ring_mpmc_footprint_with(NULL), 0);
    REQUIRE_REFUSED(ring_mpmc_create(NULL, "queue", 8, 8), EINVAL);
    REQUIRE_REFUSED_SOMEHOW(ring_mpmc_create(segment, NULL, 8, 8));
    REQUIRE_REFUSED_SOMEHOW(ring_mpmc_create(segment, "", 8, 8));
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[199] = '\0';
    REQUIRE_REFUSED(ring_mpmc_create(segment, longer, 8, 8), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_mpmc_create(segment, "queue", 1 << 20, 1000), ENOSPC);
    REQUIRE_REFUSED(ring_mpmc_create(segment, "queue", RING_MPMC_MAX_SLOTS, RING_MPMC_MAX_SLOT_BYTES), ENOSPC);
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    REQUIRE_REFUSED(ring_mpmc_create(segment, "queue", 8, 8), EEXIST);
    REQUIRE_REFUSED(ring_spsc_create(segment, "queue", 4096), EEXIST);
    test_end_queue(segment);
}

Test(setup, a_ring_has_the_slots_asked_for_rounded_up_and_the_place_that_was_foretold)
{
    static const size_t slots[] = { 2, 3, 4, 5, 100, 128, 129, 1000 };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        struct ring_mpmc_options options = test_queue_options(slots[i], 50 + i, 0);
        segment = test_queue_with(&options);
        struct ring_mpmc_info info = test_queue_info(segment);
        REQUIRE(info.slots >= slots[i] && info.slots / 2 < slots[i] && (info.slots & (info.slots - 1)) == 0);
        REQUIRE_SAME(info.slot_bytes, 50 + i);
        REQUIRE(info.stride >= info.slot_bytes + 8);
        REQUIRE_SAME(info.seats, options.seats);
        REQUIRE(!info.producers && !info.consumers && !info.dead && !info.messages && !info.held);
        struct ring_entry_info entry;
        REQUIRE_OK(ring_segment_entry(segment, 0, &entry));
        REQUIRE_SAME(entry.bytes, ring_mpmc_footprint_with(&options));
        test_end_queue(segment);
    }
}

Test(setup, opening_what_is_no_such_ring_is_refused)
{
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    segment = test_create(1 << 20);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&producer, segment, "queue", RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_mpmc_open_consumer(&consumer, segment, "queue", 2000000), ETIMEDOUT);
    REQUIRE_OK(ring_spsc_create(segment, "pair", 4096));
    REQUIRE_REFUSED_SOMEHOW(ring_mpmc_open_producer(&producer, segment, "pair", RING_NO_WAIT));
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    struct ring_spsc_producer other;
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_producer(&other, segment, "queue", RING_NO_WAIT));
    REQUIRE_REFUSED(ring_mpmc_open_producer(NULL, segment, "queue", 0), EINVAL);
    REQUIRE_REFUSED(ring_mpmc_open_consumer(NULL, segment, "queue", 0), EINVAL);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&producer, NULL, "queue", 0), EINVAL);
    REQUIRE_SAME(ring_mpmc_send(&producer, "x", 1, RING_NO_WAIT), -EBADF); /* such a handle is closed, not wild */
    struct ring_mpmc_info info = { .struct_size = 1 };
    struct ring_mpmc_seat_info seat = { .struct_size = 1 };
    struct ring_recovery report = { .struct_size = 1 };
    REQUIRE_REFUSED(ring_mpmc_info(segment, "queue", &info), EINVAL);
    REQUIRE_REFUSED(ring_mpmc_info(segment, "queue", NULL), EINVAL);
    REQUIRE_REFUSED(ring_mpmc_seat_info(segment, "queue", 0, &seat), EINVAL);
    REQUIRE_REFUSED(ring_segment_recover(segment, &report), EINVAL);
    REQUIRE_REFUSED(ring_segment_recover(NULL, NULL), EINVAL);
    info.struct_size = sizeof info;
    seat.struct_size = sizeof seat;
    REQUIRE_REFUSED_SOMEHOW(ring_mpmc_info(segment, "pair", &info));
    REQUIRE_REFUSED(ring_mpmc_info(segment, "nothing", &info), ENOENT);
    REQUIRE_REFUSED(ring_mpmc_seat_info(segment, "queue", 0, &seat), ENOENT);
    REQUIRE_REFUSED(ring_mpmc_seat_info(segment, "queue", UINT32_MAX, &seat), ENOENT);
    REQUIRE_OK(ring_segment_recover(segment, NULL));
    test_end_queue(segment);
}

Test(setup, closed_handles_say_so_and_closing_twice_is_told)
{
    struct test_queue queue;
    unsigned char bytes[MOST];
    struct ring_message message = { bytes, 1, 0 };
    void *place;
    for (int claims = 0; claims < TEST_CLAIMS; claims++) {
        test_queue_open(&queue, (enum test_claims)claims, SLOTS, MOST, 0);
        test_queue_close(&queue);
        REQUIRE_SAME(ring_mpmc_send(&queue.producer, "x", 1, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_send_array(&queue.producer, "x", 1, 1, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_send_batch(&queue.producer, &message, 1, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_reserve(&queue.producer, 1, &place, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_commit(&queue.producer, 1), -EBADF);
        REQUIRE_SAME(ring_mpmc_cancel(&queue.producer), -EBADF);
        REQUIRE_SAME(ring_mpmc_recv(&queue.consumer, bytes, MOST, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_peek(&queue.consumer, &message, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_recv_array(&queue.consumer, bytes, 1, 1, RING_FOREVER), -EBADF);
        REQUIRE_SAME(ring_mpmc_release(&queue.consumer, 0), -EBADF);
        REQUIRE_SAME(ring_mpmc_producers_state(&queue.consumer), RING_PEER_NEVER);
        REQUIRE_SAME(ring_mpmc_consumers_state(&queue.producer), RING_PEER_NEVER);
        REQUIRE_REFUSED(ring_mpmc_close_producer(&queue.producer), EBADF);
        REQUIRE_REFUSED(ring_mpmc_close_consumer(&queue.consumer), EBADF);
    }
    REQUIRE_REFUSED(ring_mpmc_close_producer(NULL), EBADF);
    REQUIRE_REFUSED(ring_mpmc_close_consumer(NULL), EBADF);
}

/* ---- Seats ---- */

enum { SEATS = 3 };

static void begin_with_few_seats(void)
{
    struct ring_mpmc_options options = test_queue_options(SLOTS, MOST, 0);
    options.seats = SEATS;
    segment = test_queue_with(&options);
}

static void require_full_table(void)
{
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    REQUIRE_REFUSED(ring_mpmc_open_producer(&producer, segment, "queue", RING_FOREVER), EUSERS);
    REQUIRE(strstr(ring_error_detail(), "queue") && strstr(ring_error_detail(), "3"));
    REQUIRE_REFUSED(ring_mpmc_open_consumer(&consumer, segment, "queue", RING_FOREVER), EUSERS);
    REQUIRE_SAME(ring_mpmc_send(&producer, "x", 1, RING_NO_WAIT), -EBADF);
}

Test(setup, a_table_full_of_the_living_is_told_at_once_and_a_place_given_back_is_used_again)
{
    struct ring_mpmc_producer producers[SEATS];
    struct ring_mpmc_consumer consumer;
    begin_with_few_seats();
    for (int round = 0; round < 5; round++) {
        test_join_consumer(&consumer, segment);
        test_join_producer(&producers[0], segment);
        test_join_producer(&producers[1], segment);
        require_full_table();
        test_put_many(&producers[0], MOST, 0, 2);
        test_put_many(&producers[1], MOST, 2, 2);
        test_get_many(&consumer, MOST, 0, 4, 0);
        REQUIRE_OK(ring_mpmc_close_producer(&producers[0]));
        test_join_producer(&producers[2], segment);
        require_full_table();
        REQUIRE_OK(ring_mpmc_close_producer(&producers[2]));
        REQUIRE_OK(ring_mpmc_close_producer(&producers[1]));
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    }
    test_end_queue(segment);
}

static RING_ATOMIC(uint64_t) * ready;

static __attribute__((noreturn)) int hold_a_seat(void *argument)
{
    static struct ring_mpmc_producer producer;
    static struct ring_mpmc_consumer consumer;
    struct ring_segment *own = test_attach();
    if (argument)
        test_join_consumer(&consumer, own);
    else
        test_join_producer(&producer, own);
    atomic_fetch_add(ready, 1);
    for (;;)
        test_nap(TEST_SECOND);
}

static pid_t spawn_holder(bool consumes)
{
    uint64_t before = atomic_load(ready);
    pid_t child = test_spawn(hold_a_seat, consumes ? &before : NULL);
    test_await(ready, before + 1);
    return child;
}

Test(setup, places_of_the_dead_are_used_again_and_those_of_the_living_and_the_stopped_are_not)
{
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    pid_t children[SEATS];
    begin_with_few_seats();
    ready = test_shared(sizeof *ready);
    for (int i = 0; i < SEATS; i++)
        children[i] = spawn_holder(i == 0);
    require_full_table();
    for (int round = 0; round < 9; round++) {
        test_kill(children[round % SEATS]);
        REQUIRE_SAME(test_queue_info(segment).dead, 1);
        children[round % SEATS] = spawn_holder(round % 2);
        REQUIRE_SAME(test_queue_info(segment).dead, 0);
        require_full_table();
    }
    REQUIRE_SAME(kill(children[0], SIGSTOP), 0);
    require_full_table();
    for (int i = 0; i < SEATS; i++)
        test_kill(children[i]);
    REQUIRE_SAME(test_queue_info(segment).dead, SEATS);
    test_join_producer(&producer, segment);
    test_join_consumer(&consumer, segment);
    test_put_many(&producer, MOST, 0, SLOTS);
    test_get_many(&consumer, MOST, 0, SLOTS, 0);
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE(info.dead == 1 && info.producers == 1 && info.consumers == 1);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    test_end_queue(segment);
}

Test(setup, a_table_of_the_largest_size_can_be_filled)
{
    enum { MANY = 300 };
    static struct ring_mpmc_producer producers[MANY];
    struct ring_mpmc_consumer consumer;
    struct ring_mpmc_options options = test_queue_options(SLOTS, MOST, 0);
    options.seats = RING_SEATS_MAX;
    segment = test_queue_with(&options);
    test_join_consumer(&consumer, segment);
    for (int i = 0; i < MANY; i++) {
        test_join_producer(&producers[i], segment);
        REQUIRE_SAME(test_put(&producers[i], 1, (uint64_t)i, RING_NO_WAIT), 0);
        REQUIRE_SAME(test_get(&consumer, 1, (uint64_t)i, RING_NO_WAIT), 0);
    }
    REQUIRE_SAME(test_queue_info(segment).producers, MANY);
    for (int i = 0; i < MANY; i++)
        REQUIRE_OK(ring_mpmc_close_producer(&producers[i]));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    test_end_queue(segment);
}

/* ---- Looking ---- */

static void require_no_claims(struct ring_segment *of)
{
    struct ring_mpmc_seat_info seat = { .struct_size = sizeof seat };
    for (unsigned i = 0; i < 4; i++) {
        REQUIRE_OK(ring_mpmc_seat_info(of, "queue", i, &seat));
        REQUIRE_SAME(seat.positions, 0);
    }
}

Test(setup, who_shares_a_side_claims_nothing_between_calls)
{
    struct test_queue queue;
    char bytes[2] = "a";
    struct ring_message messages[2] = { { bytes, 1, 0 }, { bytes, 1, 0 } };
    void *place;
    test_queue_open(&queue, TEST_BESIDE_OTHERS, SLOTS, MOST, 0);
    struct ring_mpmc_producer *producer = &queue.producer;
    struct ring_mpmc_consumer *consumer = &queue.consumer;
    for (int verb = 0; verb < 5; verb++) {
        if (verb == 0)
            REQUIRE_SAME(ring_mpmc_send(producer, "a", 1, 0), 0);
        if (verb == 1)
            REQUIRE_SAME(ring_mpmc_send_array(producer, "ab", 1, 2, 0), 2);
        if (verb == 2)
            REQUIRE_SAME(ring_mpmc_send_batch(producer, messages, 2, 0), 2);
        if (verb > 2) {
            REQUIRE_SAME(ring_mpmc_reserve(producer, 1, &place, 0), 0);
            REQUIRE_SAME(verb == 3 ? ring_mpmc_commit(producer, 1) : ring_mpmc_cancel(producer), 0);
        }
        require_no_claims(queue.segment);
    }
    REQUIRE_SAME(ring_mpmc_recv(consumer, bytes, 1, 0), 1);
    require_no_claims(queue.segment);
    REQUIRE_SAME(ring_mpmc_recv_array(consumer, bytes, 1, 2, 0), 2);
    require_no_claims(queue.segment);
    REQUIRE_SAME(ring_mpmc_peek_batch(consumer, messages, 2, 0), 2);
    REQUIRE_SAME(ring_mpmc_release(consumer, 2), 0);
    require_no_claims(queue.segment);
    REQUIRE_SAME(ring_mpmc_peek(consumer, messages, 0), 0);
    REQUIRE_SAME(ring_mpmc_release(consumer, 1), 0);
    require_no_claims(queue.segment);
    REQUIRE_SAME(ring_mpmc_recv(consumer, bytes, 1, 0), -EAGAIN);
    require_no_claims(queue.segment);
    test_queue_close(&queue);
}

Test(setup, info_tells_who_is_there_and_what_they_are_at)
{
    struct test_queue queue;
    struct ring_message seen[2];
    struct ring_mpmc_seat_info seat = { .struct_size = sizeof seat };
    void *place;
    test_queue_open(&queue, TEST_BESIDE_OTHERS, SLOTS, MOST, 1000);
    test_put_many(&queue.producer, MOST, 0, 4);
    REQUIRE_SAME(ring_mpmc_peek_batch(&queue.consumer, seen, 2, 0), 2);
    REQUIRE_SAME(ring_mpmc_reserve(&queue.other_producer, 1, &place, 0), 0);
    struct ring_mpmc_info info = test_queue_info(queue.segment);
    REQUIRE(info.head == 1002 && info.tail == 1005 && info.messages == 3 && info.held == 2 && !info.stuck);
    REQUIRE(info.producers == 2 && info.consumers == 2 && info.dead == 0 && info.slots == SLOTS);
    unsigned busy = 0;
    for (unsigned i = 0; i < 4; i++) {
        REQUIRE_OK(ring_mpmc_seat_info(queue.segment, "queue", i, &seat));
        REQUIRE(seat.side.peer == RING_PEER_ALIVE && seat.side.pid == getpid() && seat.side.tenures == 1);
        busy += seat.positions != 0;
        REQUIRE(!seat.positions || (seat.consumer ? seat.position == 1000 && seat.positions == 2
                                                  : seat.position == 1004 && seat.positions == 1));
    }
    REQUIRE_SAME(busy, 2);
    test_get_many(&queue.consumer, MOST, 0, 2, 0);
    test_get_many(&queue.consumer, MOST, 2, 2, 0);
    info = test_queue_info(queue.segment);
    REQUIRE(info.stuck && info.stuck_pid == getpid() && info.held == 0);
    REQUIRE_SAME(ring_mpmc_cancel(&queue.other_producer), 0);
    REQUIRE_SAME(test_get(&queue.consumer, 0, 0, 0), -EAGAIN);
    info = test_queue_info(queue.segment);
    REQUIRE(!info.stuck && info.messages == 0);
    test_queue_close(&queue);
}

Test(setup, coming_and_going_leaves_no_descriptor_and_no_mapping_behind)
{
    struct test_queue queue;
    test_queue_open(&queue, TEST_ALONE, SLOTS, MOST, 0);
    REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
    unsigned descriptors = test_descriptors(), mappings = test_mappings();
    for (uint64_t i = 0; i < 200; i++) {
        test_join_producer(&queue.producer, queue.segment);
        test_join_consumer(&queue.consumer, queue.segment);
        test_put_many(&queue.producer, MOST, i, 1);
        test_get_many(&queue.consumer, MOST, i, 1, 0);
        REQUIRE_OK(ring_mpmc_close_producer(&queue.producer));
        REQUIRE_OK(ring_mpmc_close_consumer(&queue.consumer));
    }
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE(test_mappings() <= mappings + 2);
    test_end_queue(queue.segment);
}
