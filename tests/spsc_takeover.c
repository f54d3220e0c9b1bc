/* spsc_takeover.c - after a death, step by step: what is lost (nothing), what comes again, what is told. */
#include "harness.h"

#include <signal.h>
#include <sys/wait.h>

static struct ring_segment *make(size_t bytes, size_t publish_bytes)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    options.publish_bytes = publish_bytes;
    REQUIRE_OK(ring_spsc_create_with(segment, "ring", &options));
    return segment;
}

static int take_and_die(void *argument)
{
    uint64_t count = *(const uint64_t *)argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 0; i < count; i++)
        test_recv(&consumer, 50, i);
    kill(getpid(), SIGKILL);
    return 1;
}

/* A consumer received `count` of the messages 0..9 of 50 bytes, and died. */
static void let_one_die(uint64_t count)
{
    int status = test_wait_status(test_spawn(take_and_die, &count));
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct ring_segment *make_with_ten(struct ring_spsc_producer *producer, size_t publish_bytes)
{
    struct ring_segment *segment = make(16384, publish_bytes);
    test_open_producer(producer, segment);
    for (uint64_t i = 0; i < 10; i++)
        test_send(producer, 50, i);
    return segment;
}

static void expect(struct ring_spsc_consumer *consumer, uint64_t number, uint32_t flags)
{
    struct ring_message message;
    REQUIRE_SAME(ring_spsc_peek(consumer, &message, RING_NO_WAIT), 0);
    REQUIRE(message.length == 50 && test_matches(message.data, 50, number));
    if (message.flags != flags)
        test_failed(__FILE__, __LINE__, "message %d has flags %u, not %u", (int)number, message.flags, flags);
    REQUIRE_SAME(ring_spsc_last_flags(consumer), flags);
    REQUIRE_SAME(ring_spsc_release(consumer, 1), 0);
}

Test(takeover, what_a_dead_consumer_received_comes_again_flagged)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment = make_with_ten(&producer, 0);
    let_one_die(4);
    REQUIRE_SAME(ring_spsc_consumer_state(&producer), RING_PEER_DEAD);
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 0; i < 4; i++)
        expect(&consumer, i, RING_REDELIVERED);
    unsigned char buffer[64];
    REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, 0), 50);
    REQUIRE(test_matches(buffer, 50, 4));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(takeover, what_was_sent_after_a_take_over_is_not_flagged)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment = make_with_ten(&producer, 0);
    let_one_die(4);
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 10; i < 20; i++)
        test_send(&producer, 50, i);
    struct ring_message message;
    for (uint64_t i = 0; i < 10; i++) {
        REQUIRE_SAME(ring_spsc_peek(&consumer, &message, 0), 0);
        REQUIRE(test_matches(message.data, 50, i));
        REQUIRE_SAME(ring_spsc_release(&consumer, 1), 0);
    }
    for (uint64_t i = 10; i < 20; i++)
        expect(&consumer, i, 0);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(takeover, what_may_have_been_seen_stays_flagged_though_a_successor_came_and_left)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment = make_with_ten(&producer, 0);
    let_one_die(6);
    test_open_consumer(&consumer, segment); /* comes and leaves in good order, having received two of the six */
    expect(&consumer, 0, RING_REDELIVERED);
    expect(&consumer, 1, RING_REDELIVERED);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 2; i < 6; i++)
        expect(&consumer, i, RING_REDELIVERED);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(takeover, with_publish_bytes_1_what_was_received_does_not_come_again)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment = make_with_ten(&producer, 1);
    let_one_die(4);
    test_open_consumer(&consumer, segment);
    struct ring_message message;
    REQUIRE_SAME(ring_spsc_peek(&consumer, &message, 0), 0); /* may be flagged: it may have been in work */
    REQUIRE(test_matches(message.data, 50, 4));
    REQUIRE_SAME(ring_spsc_release(&consumer, 1), 0);
    for (uint64_t i = 5; i < 10; i++)
        expect(&consumer, i, 0);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

static int send_and_die(void *argument)
{
    (void)argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    void *place;
    test_open_producer(&producer, segment);
    for (uint64_t i = 0; i < 5; i++)
        test_send(&producer, 50, i);
    REQUIRE_SAME(ring_spsc_reserve(&producer, 1000, &place, 0), 0);
    memset(place, 0xff, 1000);
    kill(getpid(), SIGKILL);
    return 1;
}

Test(takeover, of_a_producer_is_told_once_the_ring_is_drained_and_its_successor_goes_on)
{
    struct ring_segment *segment = make(4096, 0);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    for (int round = 0; round < 20; round++) {
        int status = test_wait_status(test_spawn(send_and_die, NULL));
        REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (uint64_t i = 0; i < 5; i++)
            test_recv(&consumer, 50, i);
        unsigned char buffer[64];
        struct ring_message message;
        REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, RING_FOREVER), -EOWNERDEAD);
        REQUIRE_SAME(ring_spsc_peek(&consumer, &message, RING_FOREVER), -EOWNERDEAD);
        REQUIRE_SAME(ring_spsc_peek_batch(&consumer, &message, 1, RING_FOREVER), -EOWNERDEAD);
        REQUIRE_SAME(ring_spsc_recv_array(&consumer, buffer, 8, 1, 1000000), -EOWNERDEAD);
        REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
        test_open_producer(&producer, segment);
        REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, RING_NO_WAIT), -EAGAIN);
        test_send(&producer, 1000, 9);
        test_recv(&consumer, 1000, 9);
        REQUIRE_OK(ring_spsc_close_producer(&producer));
    }
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(takeover, of_a_consumer_is_told_once_the_ring_is_full_and_its_successor_goes_on)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment = make_with_ten(&producer, 0);
    let_one_die(3);
    unsigned char text[50];
    uint64_t sent = 10;
    int code;
    for (;; sent++) {
        test_fill(text, sizeof text, sent);
        code = ring_spsc_send(&producer, text, sizeof text, TEST_LONG);
        if (code)
            break;
    }
    REQUIRE_SAME(code, -EOWNERDEAD);
    REQUIRE(sent > 200);
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 0; i < sent; i++)
        test_recv(&consumer, 50, i);
    REQUIRE_SAME(ring_spsc_recv(&consumer, text, sizeof text, 0), -EAGAIN);
    test_send(&producer, 1000, 1);
    test_recv(&consumer, 1000, 1);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(takeover, the_flag_of_a_received_message_ends_with_the_doubt)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment = make_with_ten(&producer, 0);
    unsigned char buffer[50];
    let_one_die(4);
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 0; i < 4; i++) {
        test_recv(&consumer, 50, i);
        REQUIRE_SAME(ring_spsc_last_flags(&consumer), RING_REDELIVERED);
    }
    for (uint64_t i = 4; i < 10; i++)
        test_recv(&consumer, 50, i); /* flagged or not: they may have been seen */
    for (uint64_t i = 10; i < 13; i++) {
        test_send(&producer, 50, i);
        test_recv(&consumer, 50, i);
        REQUIRE_SAME(ring_spsc_last_flags(&consumer), 0);
    }
    test_send(&producer, 50, 13);
    REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, 0), 50);
    REQUIRE_SAME(ring_spsc_last_flags(&consumer), 0);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

static int take_three_of_a_batch_and_die(void *argument)
{
    (void)argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t number = 0;
        REQUIRE_SAME(ring_spsc_recv(&consumer, &number, sizeof number, RING_NO_WAIT), 8);
        REQUIRE_SAME(number, i);
    }
    kill(getpid(), SIGKILL);
    return 1;
}

Test(takeover, with_publish_bytes_1_what_was_received_of_a_batch_does_not_come_again)
{
    struct ring_segment *segment = make(16384, 1);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    uint64_t numbers[5] = { 0, 1, 2, 3, 4 }, number = 0;
    test_open_producer(&producer, segment);
    REQUIRE_SAME(ring_spsc_send_array(&producer, numbers, sizeof numbers[0], 5, RING_NO_WAIT), 5);
    int status = test_wait_status(test_spawn(take_three_of_a_batch_and_die, NULL));
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    test_open_consumer(&consumer, segment);
    for (uint64_t i = 3; i < 5; i++) {
        REQUIRE_SAME(ring_spsc_recv(&consumer, &number, sizeof number, RING_NO_WAIT), 8);
        REQUIRE_SAME(number, i);
    }
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(takeover, nothing_is_flagged_where_nobody_died_wherever_positions_begin)
{
    const uint64_t starts[] = { 0, 4096, UINT64_MAX - 2047, UINT64_MAX - 7, UINT64_C(1) << 63 };
    for (size_t at = 0; at < sizeof starts / sizeof starts[0]; at++) {
        struct test_pair pair;
        test_pair_open(&pair, 4096, 0, starts[at]);
        for (uint64_t i = 0; i < 5; i++)
            test_send(&pair.producer, 50, i);
        for (uint64_t i = 0; i < 5; i++)
            expect(&pair.consumer, i, 0);
        test_pair_close(&pair);
    }
}

static int peek_into_a_pack_and_die(void *argument)
{
    (void)argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    struct ring_message seen[5];
    test_open_consumer(&consumer, segment);
    REQUIRE_SAME(ring_spsc_peek_batch(&consumer, seen, 5, RING_NO_WAIT), 5);
    kill(getpid(), SIGKILL);
    return 1;
}

/* Found by tests/soak. */
Test(takeover, what_was_peeked_of_a_batch_comes_again_flagged_though_the_look_ended_within_it)
{
    struct ring_segment *segment = make(4096, 0); /* publishes each 512 bytes: fewer than were peeked */
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_message message;
    uint64_t numbers[5] = { 0, 1, 2, 3, 4 };
    test_open_producer(&producer, segment);
    for (uint64_t i = 0; i < 3; i++)
        test_send(&producer, 300, i);
    REQUIRE_SAME(ring_spsc_send_array(&producer, numbers, sizeof numbers[0], 5, RING_NO_WAIT), 5);
    int status = test_wait_status(test_spawn(peek_into_a_pack_and_die, NULL));
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    test_open_consumer(&consumer, segment);
    for (int i = 0; i < 5; i++) {
        REQUIRE_SAME(ring_spsc_peek(&consumer, &message, RING_NO_WAIT), 0);
        REQUIRE_SAME(message.flags, RING_REDELIVERED);
        REQUIRE_SAME(ring_spsc_release(&consumer, 1), 0);
    }
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}
