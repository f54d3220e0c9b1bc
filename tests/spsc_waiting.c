/* spsc_waiting.c - sides that wait: for messages, for room, for each other; and what ends a wait. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

struct player {
    struct ring_segment *segment; /* NULL: another process, attaches anew */
    uint64_t rounds;
    bool naps; /* now and then so long that the other falls asleep */
    const char *ring_in, *ring_out;
};

static void echo(struct player *player, struct ring_segment *segment)
{
    struct ring_spsc_producer out;
    struct ring_spsc_consumer in;
    REQUIRE_OK(ring_spsc_open_producer(&out, segment, player->ring_out, TEST_LONG));
    REQUIRE_OK(ring_spsc_open_consumer(&in, segment, player->ring_in, TEST_LONG));
    for (uint64_t i = 0; i < player->rounds; i++) {
        uint64_t number = 0;
        REQUIRE_SAME(ring_spsc_recv(&in, &number, sizeof number, TEST_LONG), sizeof number);
        REQUIRE_SAME(number, i);
        if (player->naps && i % 7 == 0)
            test_nap(1000000);
        REQUIRE_SAME(ring_spsc_send(&out, &number, sizeof number, TEST_LONG), 0);
    }
    REQUIRE_OK(ring_spsc_close_producer(&out));
    REQUIRE_OK(ring_spsc_close_consumer(&in));
}

static int echo_in_process(void *argument)
{
    struct ring_segment *segment = test_attach();
    echo(argument, segment);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

static void *echo_in_thread(void *argument)
{
    struct player *player = argument;
    echo(player, player->segment);
    return NULL;
}

static void serve(struct player *player, struct ring_segment *segment)
{
    struct ring_spsc_producer out;
    struct ring_spsc_consumer in;
    REQUIRE_OK(ring_spsc_open_producer(&out, segment, player->ring_in, TEST_LONG));
    REQUIRE_OK(ring_spsc_open_consumer(&in, segment, player->ring_out, TEST_LONG));
    for (uint64_t i = 0; i < player->rounds; i++) {
        uint64_t number = i;
        REQUIRE_SAME(ring_spsc_send(&out, &number, sizeof number, TEST_LONG), 0);
        number = ~i;
        REQUIRE_SAME(ring_spsc_recv(&in, &number, sizeof number, RING_FOREVER), sizeof number);
        REQUIRE_SAME(number, i);
        if (player->naps && i % 11 == 0)
            test_nap(1000000);
    }
    REQUIRE_OK(ring_spsc_close_producer(&out));
    REQUIRE_OK(ring_spsc_close_consumer(&in));
}

static void play(uint64_t rounds, bool naps, bool threads)
{
    struct player player = { test_create(1 << 18), rounds, naps, "there", "back" };
    REQUIRE_OK(ring_spsc_create(player.segment, "there", 4096));
    REQUIRE_OK(ring_spsc_create(player.segment, "back", 4096));
    pthread_t thread = 0;
    pid_t child = 0;
    if (threads)
        REQUIRE_SAME(pthread_create(&thread, NULL, echo_in_thread, &player), 0);
    else
        child = test_spawn(echo_in_process, &player);
    serve(&player, player.segment);
    if (threads)
        pthread_join(thread, NULL);
    else
        test_wait(child);
    REQUIRE_OK(ring_segment_close(&player.segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(waiting, a_ball_goes_to_and_fro_between_processes)
{
    play(test_rounds(1000000), false, false);
}

Test(waiting, a_ball_goes_to_and_fro_between_processes_that_fall_asleep)
{
    play(test_rounds(1600), true, false);
}

Test(waiting, a_ball_goes_to_and_fro_between_threads)
{
    play(test_rounds(100000), false, true);
}

Test(waiting, a_ball_goes_to_and_fro_between_threads_that_fall_asleep)
{
    play(test_rounds(1600), true, true);
}

/* ---- One side slow ---- */

struct pace {
    struct ring_segment *segment;
    uint64_t messages;
    size_t length;
    uint64_t producer_naps; /* each so many messages; 0: never */
    uint64_t consumer_naps;
    bool batches;
};

static void *produce(void *argument)
{
    struct pace *pace = argument;
    struct ring_spsc_producer producer;
    test_open_producer(&producer, pace->segment);
    static unsigned char texts[4096];
    for (uint64_t i = 0; i < pace->messages;) {
        if (pace->producer_naps && i % pace->producer_naps == 0)
            test_nap(400000);
        test_fill(texts, pace->length, i);
        if (pace->batches) {
            struct ring_message message = { texts, pace->length, 0 };
            REQUIRE_SAME(ring_spsc_send_batch(&producer, &message, 1, RING_FOREVER), 1);
        } else {
            REQUIRE_SAME(ring_spsc_send(&producer, texts, pace->length, RING_FOREVER), 0);
        }
        i++;
    }
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    return NULL;
}

static void *consume(void *argument)
{
    struct pace *pace = argument;
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, pace->segment);
    for (uint64_t i = 0; i < pace->messages; i++) {
        if (pace->consumer_naps && i % pace->consumer_naps == 0)
            test_nap(400000);
        struct ring_message message;
        if (pace->batches)
            REQUIRE_SAME(ring_spsc_peek_batch(&consumer, &message, 1, RING_FOREVER), 1);
        else
            REQUIRE_SAME(ring_spsc_peek(&consumer, &message, RING_FOREVER), 0);
        REQUIRE_SAME(message.length, pace->length);
        REQUIRE(test_matches(message.data, message.length, i));
        REQUIRE_SAME(ring_spsc_release(&consumer, 1), 0);
    }
    char byte;
    REQUIRE_SAME(ring_spsc_recv(&consumer, &byte, 1, RING_FOREVER), -EPIPE);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    return NULL;
}

static int produce_in_process(void *argument)
{
    struct pace pace = *(struct pace *)argument;
    pace.segment = test_attach();
    produce(&pace);
    REQUIRE_OK(ring_segment_close(&pace.segment));
    return 0;
}

static void run_at(struct pace pace, bool threads, size_t publish_bytes)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = 4096;
    options.publish_bytes = publish_bytes;
    pace.segment = test_create(1 << 18);
    REQUIRE_OK(ring_spsc_create_with(pace.segment, "ring", &options));
    pthread_t thread = 0;
    pid_t child = 0;
    if (threads)
        REQUIRE_SAME(pthread_create(&thread, NULL, produce, &pace), 0);
    else
        child = test_spawn(produce_in_process, &pace);
    consume(&pace);
    if (threads)
        pthread_join(thread, NULL);
    else
        test_wait(child);
    REQUIRE_OK(ring_segment_close(&pace.segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(waiting, a_producer_waits_for_room_that_a_slow_consumer_makes)
{
    for (int way = 0; way < 8; way++)
        run_at((struct pace){ NULL, test_rounds(32000), way & 1 ? 1000 : 60, 0, 100, way & 4 }, way & 2, way & 1);
}

Test(waiting, a_consumer_waits_for_messages_of_a_slow_producer)
{
    for (int way = 0; way < 8; way++)
        run_at((struct pace){ NULL, test_rounds(16000), way & 1 ? 1000 : 60, 50, 0, way & 4 }, way & 2, way & 1);
}

Test(waiting, both_sides_slow_in_turn_wait_for_each_other)
{
    for (int way = 0; way < 4; way++)
        run_at((struct pace){ NULL, test_rounds(48000), way & 1 ? 1000 : 200, 97, 89, false }, way & 2, 0);
}

/* ---- Asleep ---- */

struct sleeper {
    RING_ATOMIC(uint64_t) ready;
    int64_t limit;
    int64_t expected; /* length of the message, or an error */
};

static int sleep_for_message(void *argument)
{
    struct sleeper *sleeper = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    atomic_store(&sleeper->ready, 1);
    char buffer[64];
    REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, sleeper->limit), sleeper->expected);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

static void await_asleep(struct ring_segment *segment, bool producer)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    for (int tries = 0; tries < 100000; tries++) {
        REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
        if (producer ? info.producer.asleep : info.consumer.asleep)
            return;
        test_nap(500000);
    }
    test_failed(__FILE__, __LINE__, "it does not fall asleep");
}

Test(waiting, a_sleeping_consumer_is_woken_by_a_message_by_closing_and_by_death)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    struct sleeper *sleeper = test_shared(sizeof *sleeper);
    for (int way = 0; way < 12; way++) {
        *sleeper = (struct sleeper){ .limit = way % 2 ? RING_FOREVER : TEST_LONG, .expected = way % 3 == 2 ? -EPIPE : 33 };
        pid_t child = test_spawn(sleep_for_message, sleeper);
        test_await(&sleeper->ready, 1);
        await_asleep(pair.segment, false);
        char text[33] = "wake up";
        struct ring_message batch = { text, sizeof text, 0 };
        if (way % 3 == 0)
            REQUIRE_SAME(ring_spsc_send(&pair.producer, text, sizeof text, 0), 0);
        if (way % 3 == 1)
            REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &batch, 1, 0), 1);
        if (way % 3 == 2)
            REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
        test_wait(child);
        if (way % 3 == 2)
            test_open_producer(&pair.producer, pair.segment);
    }
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_OK(ring_segment_close(&pair.segment));
}

static int hold_producer(void *argument)
{
    struct sleeper *sleeper = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    test_open_producer(&producer, segment);
    atomic_store(&sleeper->ready, 1);
    for (;;)
        pause();
    return 0;
}

static int hold_consumer(void *argument)
{
    struct sleeper *sleeper = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    atomic_store(&sleeper->ready, 1);
    for (;;)
        pause();
    return 0;
}

static void *kill_later(void *argument)
{
    test_nap(150000000);
    kill(*(pid_t *)argument, SIGKILL);
    return NULL;
}

static void stop_and_let_expire(struct test_pair *pair, pid_t child, bool for_room)
{
    int status;
    char buffer[1000] = { 0 };
    REQUIRE_SAME(kill(child, SIGSTOP), 0);
    REQUIRE_SAME(waitpid(child, &status, WUNTRACED), child);
    if (for_room)
        REQUIRE_SAME(ring_spsc_send(&pair->producer, buffer, sizeof buffer, 200000000), -ETIMEDOUT);
    else
        REQUIRE_SAME(ring_spsc_recv(&pair->consumer, buffer, sizeof buffer, 200000000), -ETIMEDOUT);
    REQUIRE_SAME(kill(child, SIGCONT), 0);
}

Test(waiting, for_a_paused_producer_ends_by_the_time_limit_and_for_one_that_dies_with_its_death)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    struct sleeper *sleeper = test_shared(sizeof *sleeper);
    pid_t child = test_spawn(hold_producer, sleeper);
    test_await(&sleeper->ready, 1);
    stop_and_let_expire(&pair, child, false);
    pthread_t thread;
    pthread_create(&thread, NULL, kill_later, &child);
    char buffer[64];
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_FOREVER), -EOWNERDEAD);
    pthread_join(thread, NULL);
    test_wait_status(child);
    test_open_producer(&pair.producer, pair.segment);
    test_pair_close(&pair);
}

Test(waiting, for_a_paused_consumer_ends_by_the_time_limit_and_for_one_that_dies_with_its_death)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    struct sleeper *sleeper = test_shared(sizeof *sleeper);
    pid_t child = test_spawn(hold_consumer, sleeper);
    test_await(&sleeper->ready, 1);
    char text[1000] = { 0 };
    while (ring_spsc_send(&pair.producer, text, sizeof text, RING_NO_WAIT) == 0)
        continue;
    stop_and_let_expire(&pair, child, true);
    pthread_t thread;
    pthread_create(&thread, NULL, kill_later, &child);
    REQUIRE_SAME(ring_spsc_send(&pair.producer, text, sizeof text, RING_FOREVER), -EOWNERDEAD);
    pthread_join(thread, NULL);
    test_wait_status(child);
    test_open_consumer(&pair.consumer, pair.segment);
    test_pair_close(&pair);
}

static void on_signal(int number)
{
    (void)number;
}

Test(waiting, a_signal_does_not_end_a_wait_early)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGUSR1, &action, NULL);
    pid_t self = getpid();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 20; i++) {
            test_nap(5000000);
            kill(self, SIGUSR1);
        }
        _exit(0);
    }
    char buffer[8];
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, 300000000), -ETIMEDOUT);
    test_wait(child);
    test_pair_close(&pair);
}
