/* spsc_roles.c - a role has one living holder: who is kept out, who may come, and what each side is told. */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

struct stage {
    RING_ATOMIC(uint64_t) holds; /* the holder has its roles */
    RING_ATOMIC(uint64_t) leave; /* 1: close in good order */
    RING_ATOMIC(uint64_t) other; /* a process that the holder started */
};

static struct ring_segment *make(void)
{
    struct ring_segment *segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    return segment;
}

static void both_are_taken(struct ring_segment *segment)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_FOREVER), EBUSY);
    REQUIRE_REFUSED(ring_spsc_open_consumer(&consumer, segment, "ring", RING_FOREVER), EBUSY);
}

static void both_are_free(struct ring_segment *segment)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
}

static struct ring_segment *take_both(struct stage *stage)
{
    static struct ring_spsc_producer producer;
    static struct ring_spsc_consumer consumer;
    struct ring_segment *segment = test_attach();
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    atomic_store(&stage->holds, 1);
    test_await(&stage->leave, 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    return segment;
}

static int hold(void *argument)
{
    struct ring_segment *segment = take_both(argument);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(roles, are_exclusive_within_a_process_whichever_handle_is_used)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    both_are_taken(pair.segment);
    struct ring_segment *other = test_attach();
    both_are_taken(other);
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    both_are_free(other);
    both_are_free(pair.segment);
    REQUIRE_OK(ring_segment_close(&other));
    REQUIRE_OK(ring_segment_close(&pair.segment));
}

static void *try_in_thread(void *segment)
{
    both_are_taken(segment);
    return NULL;
}

Test(roles, are_exclusive_between_threads)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    pthread_t thread;
    REQUIRE_SAME(pthread_create(&thread, NULL, try_in_thread, pair.segment), 0);
    pthread_join(thread, NULL);
    test_pair_close(&pair);
}

Test(roles, are_exclusive_between_processes_and_free_after_closing)
{
    struct ring_segment *segment = make();
    struct stage *stage = test_shared(sizeof *stage);
    pid_t holder = test_spawn(hold, stage);
    test_await(&stage->holds, 1);
    both_are_taken(segment);
    REQUIRE(strlen(ring_error_detail()) > 20);
    atomic_store(&stage->leave, 1);
    test_wait(holder);
    both_are_free(segment);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(roles, are_free_at_once_after_their_holder_was_killed)
{
    struct ring_segment *segment = make();
    for (int round = 0; round < 20; round++) {
        struct stage *stage = test_shared(sizeof *stage);
        pid_t holder = test_spawn(hold, stage);
        test_await(&stage->holds, 1);
        test_kill(holder); /* waits for its end */
        both_are_free(segment);
    }
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(roles, of_a_paused_process_are_not_taken_away)
{
    struct ring_segment *segment = make();
    struct stage *stage = test_shared(sizeof *stage);
    pid_t holder = test_spawn(hold, stage);
    test_await(&stage->holds, 1);
    int status;
    REQUIRE_SAME(kill(holder, SIGSTOP), 0);
    REQUIRE_SAME(waitpid(holder, &status, WUNTRACED), holder);
    REQUIRE(WIFSTOPPED(status));
    for (int i = 0; i < 10; i++) {
        both_are_taken(segment);
        test_nap(10000000);
    }
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    REQUIRE_SAME(info.producer.peer, RING_PEER_ALIVE);
    REQUIRE_SAME(kill(holder, SIGCONT), 0);
    atomic_store(&stage->leave, 1);
    test_wait(holder);
    both_are_free(segment);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int fork_and_hold(void *argument)
{
    struct stage *stage = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    pid_t other = fork();
    if (other == 0) {
        alarm(60);
        for (;;)
            pause();
    }
    atomic_store(&stage->other, (uint64_t)other);
    atomic_store(&stage->holds, 1);
    for (;;)
        pause();
    return 0;
}

Test(roles, of_a_killed_process_are_free_though_its_child_lives)
{
    struct ring_segment *segment = make();
    struct stage *stage = test_shared(sizeof *stage);
    pid_t holder = test_spawn(fork_and_hold, stage);
    test_await(&stage->holds, 1);
    both_are_taken(segment);
    test_kill(holder);
    pid_t other = (pid_t)atomic_load(&stage->other);
    REQUIRE_SAME(kill(other, 0), 0);
    both_are_free(segment);
    REQUIRE_SAME(kill(other, SIGKILL), 0);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int close_all_and_hold(void *argument)
{
    struct stage *stage = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    closefrom(3);
    for (int i = 0; i < 10; i++) /* the numbers get another meaning */
        REQUIRE(open("/dev/null", O_RDWR) >= 3);
    atomic_store(&stage->holds, 1);
    test_await(&stage->leave, 1);
    test_send(&producer, 100, 1);
    test_recv(&consumer, 100, 1);
    REQUIRE_SAME(ring_spsc_consumer_state(&producer), RING_PEER_ALIVE);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_CLOSED);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(roles, of_a_process_that_closed_all_its_descriptors_are_kept)
{
    struct ring_segment *segment = make();
    struct stage *stage = test_shared(sizeof *stage);
    pid_t holder = test_spawn(close_all_and_hold, stage);
    test_await(&stage->holds, 1);
    both_are_taken(segment);
    atomic_store(&stage->leave, 1);
    test_wait(holder);
    both_are_free(segment);
    stage = test_shared(sizeof *stage);
    holder = test_spawn(close_all_and_hold, stage);
    test_await(&stage->holds, 1);
    test_kill(holder);
    both_are_free(segment);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int execute_something_else(void *argument)
{
    struct stage *stage = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    atomic_store(&stage->holds, 1);
    test_await(&stage->leave, 1);
    execlp("sleep", "sleep", "60", (char *)NULL);
    return 1;
}

Test(roles, end_when_their_holder_executes_another_program)
{
    struct ring_segment *segment = make();
    struct stage *stage = test_shared(sizeof *stage);
    pid_t holder = test_spawn(execute_something_else, stage);
    test_await(&stage->holds, 1);
    struct ring_spsc_producer producer;
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBUSY);
    atomic_store(&stage->leave, 1);
    int code = -EBUSY;
    for (int tries = 0; code == -EBUSY && tries < 6000; tries++) {
        code = ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT);
        test_nap(5000000);
    }
    REQUIRE_OK(code);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    test_kill(holder);
    REQUIRE_OK(ring_segment_close(&segment));
}

enum { CONTENDERS = 8 };

static int take_turns(void *argument)
{
    struct stage *stage = argument;
    struct ring_segment *segment = test_attach();
    for (int turn = 0; turn < 50;) {
        struct ring_spsc_producer producer;
        int code = ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT);
        if (code == -EBUSY) {
            test_nap(100000);
            continue;
        }
        REQUIRE_OK(code);
        REQUIRE_SAME(atomic_fetch_add(&stage->holds, 1), 0); /* nobody else holds it now */
        uint64_t number = atomic_load(&stage->other);
        REQUIRE_SAME(ring_spsc_send(&producer, &number, sizeof number, TEST_LONG), 0);
        atomic_store(&stage->other, number + 1);
        REQUIRE_SAME(atomic_fetch_sub(&stage->holds, 1), 1);
        REQUIRE_OK(ring_spsc_close_producer(&producer));
        turn++;
    }
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(roles, that_many_processes_want_go_from_one_to_the_next_and_no_message_is_lost)
{
    struct ring_segment *segment = make();
    struct stage *stage = test_shared(sizeof *stage);
    struct ring_spsc_consumer consumer;
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    pid_t contenders[CONTENDERS];
    for (int i = 0; i < CONTENDERS; i++)
        contenders[i] = test_spawn(take_turns, stage);
    for (uint64_t expected = 0; expected < 50 * CONTENDERS;) {
        uint64_t number = UINT64_MAX;
        ssize_t length = ring_spsc_recv(&consumer, &number, sizeof number, TEST_LONG);
        if (length == -EPIPE) {
            test_nap(100000); /* between two holders */
            continue;
        }
        REQUIRE_SAME(length, sizeof number);
        REQUIRE_SAME(number, expected++);
    }
    for (int i = 0; i < CONTENDERS; i++)
        test_wait(contenders[i]);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(roles, a_producer_that_closed_is_told_once_the_ring_is_drained_and_a_new_one_may_come)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    unsigned char buffer[64];
    struct ring_message message;
    static const int64_t limits[] = { RING_NO_WAIT, 1000000, RING_FOREVER };
    for (uint64_t round = 0; round < 30; round++) {
        for (uint64_t i = 0; i < round; i++)
            test_send(&pair.producer, 20, i);
        REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
        for (uint64_t i = 0; i < round; i++)
            test_recv(&pair.consumer, 20, i);
        int64_t limit = limits[round % 3];
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, limit), -EPIPE);
        REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, limit), -EPIPE);
        REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, &message, 1, limit), -EPIPE);
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, buffer, 8, 2, limit), -EPIPE);
        REQUIRE_SAME(ring_spsc_producer_state(&pair.consumer), RING_PEER_CLOSED);
        test_open_producer(&pair.producer, pair.segment);
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_NO_WAIT), -EAGAIN);
    }
    test_pair_close(&pair);
}

Test(roles, a_consumer_that_closed_is_told_once_the_ring_is_full_and_a_new_one_may_come)
{
    struct test_pair pair;
    test_pair_open(&pair, 4096, 0, 0);
    static const int64_t limits[] = { RING_NO_WAIT, 1000000, RING_FOREVER };
    unsigned char text[400] = { 0 };
    struct ring_message message = { text, sizeof text, 0 };
    void *place;
    for (int round = 0; round < 9; round++) {
        REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
        int64_t limit = limits[round % 3];
        int sent = 0, code;
        while ((code = ring_spsc_send(&pair.producer, text, sizeof text, limit)) == 0)
            sent++;
        REQUIRE(sent >= 9);
        REQUIRE_SAME(code, -EPIPE);
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, sizeof text, &place, limit), -EPIPE);
        REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &message, 1, limit), -EPIPE);
        REQUIRE_SAME(ring_spsc_send_array(&pair.producer, text, sizeof text, 1, limit), -EPIPE);
        test_open_consumer(&pair.consumer, pair.segment);
        for (; sent; sent--)
            REQUIRE_SAME(ring_spsc_recv(&pair.consumer, text, sizeof text, 0), sizeof text);
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, text, sizeof text, 0), -EAGAIN);
    }
    test_pair_close(&pair);
}

Test(roles, closing_a_consumer_gives_back_what_was_peeked_and_nothing_else)
{
    struct test_pair pair;
    test_pair_open(&pair, 8192, 0, 0);
    uint64_t sent = 0, received = 0;
    for (uint64_t round = 0; round < 500; round++) {
        while (sent < received + 20)
            test_send(&pair.producer, 16, sent), sent++;
        struct ring_message seen[8];
        size_t freed = round % 5;
        REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, seen, 8, 0), 8);
        for (size_t i = 0; i < 8; i++) {
            REQUIRE(test_matches(seen[i].data, 16, received + i));
            REQUIRE_SAME(seen[i].flags, 0); /* its predecessor did not die */
        }
        REQUIRE_SAME(ring_spsc_release(&pair.consumer, freed), 0);
        received += freed;
        REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
        test_open_consumer(&pair.consumer, pair.segment);
    }
    test_pair_close(&pair);
}
