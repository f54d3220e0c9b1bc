/* spsc_setup.c - making, opening, closing and describing rings; verbs on ends that are not open. */
#include "harness.h"

static struct ring_spsc_info info_of(struct ring_segment *segment)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    return info;
}

Test(setup, a_capacity_is_rounded_up_to_a_power_of_two_and_a_quarter_of_it_is_the_longest_message)
{
    static const size_t asked[] = { 4096, 4097, 5000, 8191, 8192, 65537 }, granted[] = { 4096, 8192, 8192, 8192, 8192,
                                                                                         131072 };
    struct ring_segment *segment = test_create(1 << 20);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char name[16];
        snprintf(name, sizeof name, "ring%zu", i);
        REQUIRE_OK(ring_spsc_create(segment, name, asked[i]));
        struct ring_spsc_info info = { .struct_size = sizeof info };
        REQUIRE_OK(ring_spsc_info(segment, name, &info));
        REQUIRE_SAME(info.capacity, granted[i]);
        REQUIRE(info.max_message <= granted[i] / 4 && info.max_message >= granted[i] / 4 - 8);
        REQUIRE_SAME(ring_spsc_footprint(asked[i]), ring_spsc_footprint(granted[i]));
    }
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(setup, a_footprint_is_that_of_the_whole_ring_or_zero)
{
    REQUIRE(ring_spsc_footprint(4096) > 4096 + sizeof(struct ring_layout_spsc));
    REQUIRE_SAME(ring_spsc_footprint(4096) % 4096, 0);
    REQUIRE(ring_spsc_footprint(RING_SPSC_MAX_BYTES) > RING_SPSC_MAX_BYTES);
    REQUIRE_SAME(ring_spsc_footprint(0), 0);
    REQUIRE_SAME(ring_spsc_footprint(1), 0);
    REQUIRE_SAME(ring_spsc_footprint(4095), 0);
    REQUIRE_SAME(ring_spsc_footprint(RING_SPSC_MAX_BYTES + 1), 0);
    REQUIRE_SAME(ring_spsc_footprint(SIZE_MAX), 0);
}

Test(setup, bad_options_are_refused_and_leave_no_ring)
{
    struct ring_segment *segment = test_create(1 << 20);
    static const size_t bad[] = { 0, 1, 4095, RING_SPSC_MAX_BYTES + 1, SIZE_MAX / 2 + 2, SIZE_MAX - 7, SIZE_MAX };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REQUIRE_REFUSED(ring_spsc_create(segment, "ring", bad[i]), EINVAL);
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = 4096;
    options.start_position = 4;
    REQUIRE_REFUSED(ring_spsc_create_with(segment, "ring", &options), EINVAL);
    options.start_position = UINT64_MAX;
    REQUIRE_REFUSED(ring_spsc_create_with(segment, "ring", &options), EINVAL);
    options = ring_spsc_defaults();
    options.struct_size = 0;
    REQUIRE_REFUSED(ring_spsc_create_with(segment, "ring", &options), EINVAL);
    options = ring_spsc_defaults();
    options.publish_bytes = options.bytes / 2 + 1; /* the producer would starve */
    REQUIRE_REFUSED(ring_spsc_create_with(segment, "ring", &options), EINVAL);
    options.publish_bytes = SIZE_MAX;
    REQUIRE_REFUSED(ring_spsc_create_with(segment, "ring", &options), EINVAL);
    REQUIRE_REFUSED(ring_spsc_create_with(segment, "ring", NULL), EINVAL);
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_create(NULL, "ring", 4096));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.rings, 0);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(setup, opening_a_ring_that_is_not_there_fails_at_once_or_after_the_time_limit)
{
    struct ring_segment *segment = test_create(1 << 17);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", 20000000), ETIMEDOUT);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, segment, "ring", 20000000), ETIMEDOUT);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_REFUSED(ring_spsc_info(segment, "ring", &info), ENOENT);
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_producer(NULL, segment, "ring", RING_NO_WAIT));
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_consumer(NULL, segment, "ring", RING_NO_WAIT));
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_producer(&producer, NULL, "ring", RING_FOREVER));
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_consumer(&consumer, NULL, "ring", RING_FOREVER));
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_info(NULL, "ring", &info));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_REFUSED(ring_spsc_info(segment, "ring", NULL), EINVAL);
    info.struct_size = 0;
    REQUIRE_REFUSED(ring_spsc_info(segment, "ring", &info), EINVAL);
    REQUIRE_OK(ring_segment_close(&segment));
}

static void producer_is_closed(struct ring_spsc_producer *producer)
{
    void *message = NULL;
    char x[] = "x";
    struct ring_message batch = { .data = x, .length = 1 };
    REQUIRE_SAME(ring_spsc_send(producer, "x", 1, RING_NO_WAIT), -EBADF);
    REQUIRE_SAME(ring_spsc_send(producer, "x", 1, RING_FOREVER), -EBADF);
    REQUIRE_SAME(ring_spsc_send(producer, NULL, 0, RING_NO_WAIT), -EBADF);
    REQUIRE(ring_spsc_reserve(producer, 8, &message, RING_FOREVER) == -EBADF && !message);
    REQUIRE(ring_spsc_commit(producer, 0) < 0);
    REQUIRE(ring_spsc_cancel(producer) < 0);
    REQUIRE_SAME(ring_spsc_send_batch(producer, &batch, 1, RING_FOREVER), -EBADF);
    REQUIRE_SAME(ring_spsc_send_array(producer, "xy", 1, 2, RING_FOREVER), -EBADF);
    REQUIRE_REFUSED(ring_spsc_close_producer(producer), EBADF);
}

static void consumer_is_closed(struct ring_spsc_consumer *consumer)
{
    char buffer[64];
    struct ring_message message = { 0 };
    REQUIRE_SAME(ring_spsc_recv(consumer, buffer, sizeof buffer, RING_NO_WAIT), -EBADF);
    volatile size_t size = sizeof buffer;
    REQUIRE_SAME(ring_spsc_recv(consumer, buffer, size, RING_FOREVER), -EBADF);
    REQUIRE_SAME(ring_spsc_peek(consumer, &message, RING_FOREVER), -EBADF);
    REQUIRE(ring_spsc_release(consumer, 1) < 0);
    REQUIRE_SAME(ring_spsc_peek_batch(consumer, &message, 1, RING_FOREVER), -EBADF);
    REQUIRE_SAME(ring_spsc_recv_array(consumer, buffer, 8, 2, RING_FOREVER), -EBADF);
    REQUIRE_REFUSED(ring_spsc_close_consumer(consumer), EBADF);
}

Test(setup, every_verb_on_a_closed_end_fails_and_closing_twice_too)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    test_send(&pair.producer, 8, 1);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    producer_is_closed(&pair.producer);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    consumer_is_closed(&pair.consumer);
    REQUIRE_OK(ring_segment_close(&pair.segment));
    producer_is_closed(&pair.producer);
    consumer_is_closed(&pair.consumer);
}

Test(setup, an_end_closed_in_the_middle_of_a_peek_or_reservation_is_closed_too)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    test_send(&pair.producer, 8, 1);
    void *place;
    struct ring_message message;
    REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 8, &place, 0), 0);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    producer_is_closed(&pair.producer);
    REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, 0), 0);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    consumer_is_closed(&pair.consumer);
    REQUIRE_OK(ring_segment_close(&pair.segment));
}

Test(setup, an_end_that_could_not_be_opened_is_closed)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    memset(&producer, 0xa5, sizeof producer);
    memset(&consumer, 0xa5, sizeof consumer);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, pair.segment, "ring", 0), EBUSY);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, pair.segment, "ring", 0), EBUSY);
    producer_is_closed(&producer);
    consumer_is_closed(&consumer);
    memset(&producer, 0xa5, sizeof producer);
    memset(&consumer, 0xa5, sizeof consumer);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, pair.segment, "none", 0), ENOENT);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, pair.segment, "none", 0), ENOENT);
    producer_is_closed(&producer);
    consumer_is_closed(&consumer);
    test_pair_close(&pair);
}

Test(setup, info_counts_what_is_in_the_ring_and_who_holds_it)
{
    struct ring_segment *segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 8192));
    struct ring_spsc_info info = info_of(segment);
    REQUIRE_SAME(info.messages, 0);
    REQUIRE_SAME(info.head, info.tail);
    REQUIRE_SAME(info.producer.peer, RING_PEER_NEVER);
    REQUIRE_SAME(info.consumer.peer, RING_PEER_NEVER);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", 0));
    REQUIRE_SAME(ring_spsc_consumer_state(&producer), RING_PEER_NEVER);
    for (uint64_t i = 0; i < 10; i++)
        test_send(&producer, 100, i);
    REQUIRE_SAME(ring_spsc_send_array(&producer, "0123456789abcdef", 8, 2, 0), 2);
    info = info_of(segment);
    REQUIRE_SAME(info.messages, 12);
    REQUIRE(info.tail - info.head >= 10 * 108 + 16);
    REQUIRE_SAME(info.producer.peer, RING_PEER_ALIVE);
    REQUIRE_SAME(info.producer.pid, getpid());
    REQUIRE(info.producer.command[0]);
    REQUIRE_SAME(info.producer.tenures, 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_SAME(info_of(segment).producer.peer, RING_PEER_CLOSED);
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", 0));
    for (uint64_t i = 0; i < 10; i++)
        test_recv(&consumer, 100, i);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    info = info_of(segment);
    REQUIRE_SAME(info.messages, 2);
    REQUIRE_SAME(info.consumer.peer, RING_PEER_CLOSED);
    REQUIRE_SAME(info.consumer.tenures, 1);
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", 0));
    REQUIRE_SAME(info_of(segment).producer.tenures, 2);
    REQUIRE_SAME(ring_spsc_consumer_state(&producer), RING_PEER_CLOSED);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

static int use_in_child(void *argument)
{
    struct test_pair *pair = argument;
    struct ring_segment_info info = { .struct_size = sizeof info };
    struct ring_spsc_producer producer;
    REQUIRE_REFUSED_SOMEHOW(ring_segment_info(pair->segment, &info));
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_create(pair->segment, "other", 4096));
    REQUIRE_REFUSED_SOMEHOW(ring_spsc_open_producer(&producer, pair->segment, "ring", 0));
    REQUIRE_OK(ring_segment_close(&pair->segment));
    return 0;
}

Test(setup, a_handle_used_after_fork_is_refused_and_its_closing_harms_nobody)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    test_wait(test_spawn(use_in_child, &pair));
    test_send(&pair.producer, 100, 1);
    test_recv(&pair.consumer, 100, 1);
    REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_ALIVE);
    test_pair_close(&pair);
}
