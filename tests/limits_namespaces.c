/* limits_namespaces.c - processes of several PID namespaces, in which pids are equal: a death is proved by a lock, so
 * the dead and the living are told apart whatever their numbers. Needs root, for the namespaces. */
#include "worlds.h"

/* ---- SPSC ---- */

static struct ring_spsc_info spsc_info(struct ring_segment *segment)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    return info;
}

static int spsc_produce(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    begin(world);
    test_open_producer(&producer, segment);
    test_send(&producer, MESSAGE, 1);
    done(world);
    test_send(&producer, MESSAGE, 2);
    wait_for_the_end(world);
    return 1;
}

static int spsc_consume(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_consumer consumer;
    unsigned char buffer[MESSAGE];
    begin(world);
    test_open_consumer(&consumer, segment);
    test_recv(&consumer, MESSAGE, 1);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_ALIVE);
    done(world); /* the producer is killed */
    test_recv(&consumer, MESSAGE, 2);
    REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, TEST_LONG), -EOWNERDEAD);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    done(world); /* a successor comes */
    test_recv(&consumer, MESSAGE, 3);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_ALIVE);
    wait_for_the_end(world);
    return 1;
}

static int spsc_succeed(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_producer producer;
    unsigned char message[MESSAGE] = { 0 };
    begin(world);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBUSY);
    done(world); /* the predecessor is killed */
    test_open_producer(&producer, segment);
    test_send(&producer, MESSAGE, 3);
    done(world); /* the consumer is killed; we live, under its number */
    int code;
    while ((code = ring_spsc_send(&producer, message, sizeof message, TEST_LONG)) == 0)
        continue;
    REQUIRE_SAME(code, -EOWNERDEAD);
    REQUIRE_SAME(ring_spsc_consumer_state(&producer), RING_PEER_DEAD);
    done(world);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    return 0;
}

Test(namespaces, of_two_processes_with_one_pid_the_one_learns_that_the_other_died)
{
    need_namespaces();
    struct ring_segment *segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct world *a = world_of(spsc_produce), *b = world_of(spsc_consume), *c = world_of(spsc_succeed);
    step(a);
    step(b);
    step(c);
    step(a);
    struct ring_spsc_info info = spsc_info(segment);
    REQUIRE(info.producer.pid == SAME_PID && info.consumer.pid == SAME_PID);
    REQUIRE(info.producer.peer == RING_PEER_ALIVE && info.consumer.peer == RING_PEER_ALIVE);
    world_kill(a);
    info = spsc_info(segment);
    REQUIRE(info.producer.pid == SAME_PID && info.consumer.pid == SAME_PID);
    REQUIRE(info.producer.peer == RING_PEER_DEAD && info.consumer.peer == RING_PEER_ALIVE);
    step(b);
    step(c);
    step(b);
    info = spsc_info(segment);
    REQUIRE(info.producer.peer == RING_PEER_ALIVE && info.producer.tenures == 2 && info.producer.pid == SAME_PID);
    world_kill(b);
    info = spsc_info(segment);
    REQUIRE(info.producer.peer == RING_PEER_ALIVE && info.consumer.peer == RING_PEER_DEAD);
    step(c);
    atomic_fetch_add(&c->order, 1);
    world_end(a);
    world_end(b);
    world_end(c);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int look_on(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_spsc_info info = spsc_info(segment);
    REQUIRE(info.producer.peer == RING_PEER_DEAD && info.producer.pid == getpid());
    wait_for_the_end(world);
    return 1;
}

Test(namespaces, a_new_process_with_the_pid_of_the_dead_does_not_pass_for_it)
{
    need_namespaces();
    struct ring_segment *segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    struct ring_spsc_consumer consumer;
    unsigned char buffer[MESSAGE];
    test_open_consumer(&consumer, segment);
    struct world *world = world_again(spsc_produce, look_on);
    step(world);
    step(world);
    test_recv(&consumer, MESSAGE, 1);
    test_recv(&consumer, MESSAGE, 2);
    world_kill(world);
    if (atomic_load(&world->no_more))
        test_skip("this kernel gives no pid twice on demand (ns_last_pid)");
    test_await(&world->ready, 3);
    REQUIRE_SAME(ring_spsc_recv(&consumer, buffer, sizeof buffer, TEST_LONG), -EOWNERDEAD);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    world->again = NULL;
    world_kill(world);
    world_end(world);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- MPMC: seats ---- */

static void mpmc_send(struct ring_mpmc_producer *producer, uint64_t seed)
{
    unsigned char message[MESSAGE];
    test_fill(message, sizeof message, seed);
    REQUIRE_SAME(ring_mpmc_send(producer, message, sizeof message, TEST_LONG), 0);
}

/* Demands the message of that seed within the time limit. */
static void mpmc_recv(struct ring_mpmc_consumer *consumer, uint64_t seed, uint32_t flags)
{
    unsigned char message[MESSAGE];
    REQUIRE_SAME(ring_mpmc_recv(consumer, message, sizeof message, TEST_LONG), MESSAGE);
    REQUIRE(test_matches(message, sizeof message, seed));
    REQUIRE_SAME(ring_mpmc_last_flags(consumer), flags);
}

static void mpmc_nothing(struct ring_mpmc_consumer *consumer)
{
    unsigned char message[MESSAGE];
    REQUIRE_SAME(ring_mpmc_recv(consumer, message, sizeof message, SHORT), -ETIMEDOUT);
}

static int mpmc_reserve(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_mpmc_producer producer;
    void *place;
    begin(world);
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    REQUIRE_SAME(ring_mpmc_reserve(&producer, MESSAGE, &place, RING_NO_WAIT), 0);
    wait_for_the_end(world);
    return 1;
}

static int mpmc_produce(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_mpmc_producer producer;
    void *place;
    begin(world);
    REQUIRE_OK(ring_mpmc_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    mpmc_send(&producer, 1);
    done(world); /* the other one is killed */
    REQUIRE_SAME(ring_mpmc_reserve(&producer, MESSAGE, &place, RING_NO_WAIT), 0);
    test_fill(place, MESSAGE, 2);
    done(world); /* nobody may rob us meanwhile */
    REQUIRE_SAME(ring_mpmc_commit(&producer, MESSAGE), 0);
    done(world);
    mpmc_send(&producer, 3);
    mpmc_send(&producer, 4);
    done(world);
    REQUIRE_OK(ring_mpmc_close_producer(&producer));
    return 0;
}

static int mpmc_peek(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_mpmc_consumer consumer;
    struct ring_message message;
    begin(world);
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    REQUIRE_SAME(ring_mpmc_peek(&consumer, &message, RING_NO_WAIT), 0);
    done(world); /* some are killed here */
    REQUIRE(test_matches(message.data, message.length, 4));
    REQUIRE_SAME(ring_mpmc_release(&consumer, 1), 0);
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    return 0;
}

Test(namespaces, of_two_producers_with_one_pid_the_dead_one_is_passed_over_and_the_living_one_waited_for)
{
    need_namespaces();
    struct ring_segment *segment = test_create(1 << 18);
    REQUIRE_OK(ring_mpmc_create(segment, "ring", 16, MESSAGE));
    struct ring_mpmc_consumer consumer;
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    struct world *a = world_of(mpmc_reserve), *b = world_of(mpmc_produce);
    step(a);
    step(b);
    mpmc_nothing(&consumer); /* its reservation stands before the other's message */
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_mpmc_info(segment, "ring", &info));
    REQUIRE(info.producers == 2 && info.stuck && info.stuck_pid == SAME_PID);
    world_kill(a);
    mpmc_recv(&consumer, 1, 0);
    step(b);
    mpmc_nothing(&consumer);
    step(b);
    mpmc_recv(&consumer, 2, 0);
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    /* The same of consumers. */
    step(b);
    struct world *c = world_of(mpmc_peek), *d = world_of(mpmc_peek);
    step(c);
    step(d);
    world_kill(c);
    REQUIRE_OK(ring_mpmc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT));
    mpmc_recv(&consumer, 3, RING_REDELIVERED);
    mpmc_nothing(&consumer);
    atomic_fetch_add(&d->order, 1);
    world_end(d);
    mpmc_nothing(&consumer);
    atomic_fetch_add(&b->order, 1);
    world_end(a);
    world_end(b);
    world_end(c);
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Broadcast: consumers ---- */

static int listen(void *argument)
{
    struct world *world = argument;
    struct ring_segment *segment = test_attach();
    struct ring_broadcast_consumer consumer;
    unsigned char message[MESSAGE];
    begin(world);
    REQUIRE_OK(ring_broadcast_open_consumer(&consumer, segment, "ring", RING_BROADCAST_OLDEST, 0, RING_NO_WAIT));
    done(world); /* some are killed here */
    for (uint64_t i = 0;; i++) {
        ssize_t length = ring_broadcast_recv(&consumer, message, sizeof message, RING_NO_WAIT);
        if (length == -EAGAIN)
            break;
        REQUIRE_SAME(length, MESSAGE);
        REQUIRE(test_matches(message, sizeof message, i));
    }
    done(world);
    REQUIRE_OK(ring_broadcast_close_consumer(&consumer));
    return 0;
}

Test(namespaces, of_two_listeners_with_one_pid_only_the_living_one_holds_a_lossless_producer_back)
{
    need_namespaces();
    enum { SLOTS = 16 };
    struct ring_segment *segment = test_create(1 << 18);
    REQUIRE_OK(ring_broadcast_create(segment, "ring", SLOTS, MESSAGE, RING_BROADCAST_LOSSLESS));
    struct ring_broadcast_producer producer;
    REQUIRE_OK(ring_broadcast_open_producer(&producer, segment, "ring", RING_NO_WAIT));
    struct world *a = world_of(listen), *b = world_of(listen);
    step(a);
    step(b);
    unsigned char message[MESSAGE];
    for (uint64_t i = 0; i < SLOTS; i++) {
        test_fill(message, sizeof message, i);
        REQUIRE_SAME(ring_broadcast_send(&producer, message, sizeof message, RING_NO_WAIT), 0);
    }
    world_kill(a);
    REQUIRE_SAME(ring_broadcast_send(&producer, message, sizeof message, SHORT), -ETIMEDOUT);
    step(b);
    for (uint64_t i = SLOTS; i < 2 * SLOTS; i++) {
        test_fill(message, sizeof message, i);
        REQUIRE_SAME(ring_broadcast_send(&producer, message, sizeof message, TEST_LONG), 0);
    }
    atomic_fetch_add(&b->order, 1);
    world_end(a);
    world_end(b);
    REQUIRE_OK(ring_broadcast_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
}
