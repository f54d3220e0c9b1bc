/* spsc_death.c - SIGKILL at any moment: nothing published is lost, nothing is torn, and what comes twice says so. */
#include "harness.h"


/* What the victims write down where it outlives them. */
struct account {
    RING_ATOMIC(uint64_t) ready;
    RING_ATOMIC(uint64_t) next; /* number of the next message to send, or to receive */
    RING_ATOMIC(uint64_t) run;
    uint64_t seed;
    uint64_t mode;
};

static struct ring_segment *make(size_t bytes, size_t publish_bytes)
{
    struct ring_segment *segment = test_create(1 << 20);
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    options.publish_bytes = publish_bytes;
    REQUIRE_OK(ring_spsc_create_with(segment, "ring", &options));
    return segment;
}

/* ---- Producers that die ---- */

/* A message: run and number, then a pattern that follows from them. Its length follows too. */
static size_t length_of(uint64_t run, uint64_t number)
{
    return 16 + test_mix(run << 32 | number) % 200;
}

static void write_message(void *place, uint64_t run, uint64_t number)
{
    uint64_t words[2] = { run, number };
    memcpy(place, words, sizeof words);
    test_fill((unsigned char *)place + 16, length_of(run, number) - 16, run << 32 | number);
}

static void noted(struct account *account, uint64_t next)
{
    ring_atomic_store(&account->next, next, memory_order_relaxed);
}

static uint64_t send_some(struct ring_spsc_producer *producer, struct account *account, uint64_t run, uint64_t number,
                          uint64_t mode)
{
    static unsigned char texts[16][256];
    void *place;
    if (mode == 0) {
        write_message(texts[0], run, number);
        REQUIRE_SAME(ring_spsc_send(producer, texts[0], length_of(run, number), TEST_LONG), 0);
        noted(account, number + 1);
        return 1;
    }
    if (mode == 1) {
        REQUIRE_SAME(ring_spsc_reserve(producer, 500, &place, TEST_LONG), 0);
        memset(place, 0xff, 500);
        write_message(place, run, number);
        REQUIRE_SAME(ring_spsc_commit(producer, length_of(run, number)), 0);
        noted(account, number + 1);
        return 1;
    }
    struct ring_message batch[16];
    for (uint64_t i = 0; i < 16; i++) {
        write_message(texts[i], run, number + i);
        batch[i] = (struct ring_message){ texts[i], length_of(run, number + i), 0 };
    }
    ssize_t sent = ring_spsc_send_batch(producer, batch, 16, TEST_LONG);
    REQUIRE(sent > 0);
    noted(account, number + (uint64_t)sent);
    return (uint64_t)sent;
}

static int produce_until_killed(void *argument)
{
    struct account *account = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    uint64_t run = atomic_load(&account->run), number = 0;
    struct test_random random = { account->seed };
    atomic_store(&account->ready, run);
    while (number < UINT64_MAX)
        number += send_some(&producer, account, run, number, account->mode < 3 ? account->mode : test_below(&random, 3));
    return 0;
}

/* Receives one message and checks it against the runs: each is complete as far as its producer knew. */
struct checker {
    uint64_t run, number;
    uint64_t sent[1024]; /* by each run, as far as it came to write it down */
    uint64_t at_most;    /* messages that may have been sent and not written down */
};

static void check_message(struct checker *checker, const unsigned char *message, size_t length)
{
    uint64_t words[2];
    REQUIRE(length >= 16);
    memcpy(words, message, sizeof words);
    while (words[0] != checker->run) {
        REQUIRE(words[0] > checker->run);
        REQUIRE(checker->number >= checker->sent[checker->run]);
        REQUIRE(checker->number <= checker->sent[checker->run] + checker->at_most);
        checker->run++;
        checker->number = 0;
    }
    REQUIRE_SAME(words[1], checker->number);
    REQUIRE_SAME(length, length_of(words[0], words[1]));
    REQUIRE(test_matches(message + 16, length - 16, words[0] << 32 | words[1]));
    checker->number++;
}

/* Drains the ring until it ends with `end`; at most `most` messages. */
static void drain(struct ring_spsc_consumer *consumer, struct checker *checker, uint64_t most, int end)
{
    unsigned char message[512];
    for (; most; most--) {
        ssize_t length = ring_spsc_recv(consumer, message, sizeof message, end ? TEST_LONG : RING_NO_WAIT);
        if (length == end || (!end && length == -EAGAIN))
            return;
        REQUIRE(length >= 0);
        check_message(checker, message, (size_t)length);
    }
}

static void kill_producers(size_t bytes, uint64_t mode, uint64_t runs)
{
    static struct checker checker;
    checker = (struct checker){ .at_most = mode == 0 || mode == 1 ? 1 : 16 };
    struct ring_segment *segment = make(bytes, 0);
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    struct account *account = test_shared(sizeof *account);
    struct test_random random = { mode * 1000 + bytes };
    for (uint64_t run = 1; run <= runs; run++) {
        account->seed = test_random(&random);
        account->mode = mode;
        noted(account, 0);
        atomic_store(&account->run, run);
        pid_t child = test_spawn(produce_until_killed, account);
        test_await(&account->ready, run);
        int64_t life = (int64_t)test_below(&random, 1000000);
        if (run % 2) { /* the consumer runs meanwhile, or the producer finds the ring full */
            drain(&consumer, &checker, test_below(&random, 20000), 0);
        } else {
            test_nap(life);
        }
        test_kill(child);
        checker.sent[run] = atomic_load(&account->next);
        if (run % 5 == 0)
            drain(&consumer, &checker, UINT64_MAX, -EOWNERDEAD);
        REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    }
    drain(&consumer, &checker, UINT64_MAX, -EOWNERDEAD);
    for (; checker.run < runs; checker.run++, checker.number = 0) /* a run that was killed before its first message */
        REQUIRE(checker.number >= checker.sent[checker.run]);
    REQUIRE_SAME(checker.run, runs);
    REQUIRE(checker.number >= checker.sent[runs]);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(death, a_producer_killed_while_sending_loses_and_tears_nothing)
{
    kill_producers(4096, 0, test_rounds(640));
}

Test(death, a_producer_killed_while_filling_a_reservation_loses_and_tears_nothing)
{
    kill_producers(4096, 1, test_rounds(640));
}

Test(death, a_producer_killed_while_sending_batches_loses_and_tears_nothing)
{
    kill_producers(8192, 2, test_rounds(640));
}

Test(death, a_producer_killed_at_anything_in_a_large_ring_loses_and_tears_nothing)
{
    kill_producers(256 << 10, 3, test_rounds(640));
}

/* ---- Consumers that die ---- */

static size_t stream_length(uint64_t number)
{
    return 8 + test_mix(number) % 100;
}

static void check_stream(const struct ring_message *message, uint64_t number)
{
    REQUIRE_SAME(message->length, stream_length(number));
    REQUIRE(test_matches(message->data, message->length, number));
}

/* Takes the stream on where the account says, or before: then what comes again says so. */
static int consume_until_killed(void *argument)
{
    struct account *account = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    struct test_random random = { account->seed };
    uint64_t known = atomic_load(&account->next), number = 0;
    struct ring_message seen[16];
    for (bool first = true;; first = false) {
        ssize_t count = account->mode ? ring_spsc_peek_batch(&consumer, seen, 1 + test_below(&random, 16), TEST_LONG)
                                      : ring_spsc_peek(&consumer, seen, TEST_LONG) + 1;
        REQUIRE(count >= 1);
        if (first) {
            uint64_t words[1];
            memcpy(words, seen[0].data, 8);
            for (number = known; number > 0 && words[0] != test_mix(number); number--)
                continue; /* go back to where it starts again */
            REQUIRE(words[0] == test_mix(number));
            if (account->run == 1) /* published each message: at most the one in work comes again */
                REQUIRE(number + 1 >= known);
        }
        for (ssize_t i = 0; i < count; i++, number++) {
            check_stream(&seen[i], number);
            REQUIRE(number >= known || seen[i].flags == RING_REDELIVERED);
            if (number >= known) /* seen by this one, so maybe by two */
                noted(account, number + 1);
        }
        REQUIRE_SAME(ring_spsc_release(&consumer, (size_t)count), 0);
        if (number >= known)
            atomic_store(&account->ready, number);
    }
}

static int stream_for_ever(void *argument)
{
    struct account *account = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    for (uint64_t number = 0;;) {
        unsigned char message[256];
        test_fill(message, stream_length(number), number);
        int code = ring_spsc_send(&producer, message, stream_length(number), TEST_LONG);
        REQUIRE_ONE_OF(code, 0, -EOWNERDEAD); /* full, and the consumer just died: another comes */
        number += code == 0;
        if (code)
            test_nap(100000);
        ring_atomic_store(&account->ready, number, memory_order_relaxed);
    }
}

static void kill_consumers(size_t publish_bytes, uint64_t mode, uint64_t runs)
{
    struct ring_segment *segment = make(16384, publish_bytes);
    struct account *sender = test_shared(sizeof *sender), *account = test_shared(sizeof *account);
    pid_t producer = test_spawn(stream_for_ever, sender);
    struct test_random random = { publish_bytes + mode };
    for (uint64_t run = 0; run < runs; run++) {
        account->seed = test_random(&random);
        account->mode = mode;
        atomic_store(&account->run, publish_bytes);
        uint64_t before = atomic_load(&account->next);
        pid_t child = test_spawn(consume_until_killed, account);
        test_await(&account->next, before + 1 + test_below(&random, 3));
        if (run % 2)
            test_nap((int64_t)test_below(&random, 1000000));
        test_kill(child);
    }
    REQUIRE(atomic_load(&account->next) > runs);
    test_kill(producer);
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(death, a_consumer_killed_while_receiving_loses_nothing_and_its_successor_sees_repeats_flagged)
{
    kill_consumers(0, 0, test_rounds(480));
}

Test(death, a_consumer_killed_with_a_peeked_batch_loses_nothing_and_its_successor_sees_repeats_flagged)
{
    kill_consumers(0, 1, test_rounds(480));
}

Test(death, with_publish_bytes_1_only_the_message_in_work_comes_again)
{
    kill_consumers(1, 0, test_rounds(480));
}
