/* broadcast.c - scenarios of the broadcast ring. A message's number is its position, so what a consumer may see next is
 * known to the last one: the next number, or, where it was lapped, so many further on as it is told it lost. */
#include "scenario.h"

enum { CONSUMERS = 3, SLOT_BYTES = 40, BATCH = 3, SEATS = 4, GOAL = 20 };

static struct ring_broadcast_producer producers[2];
static struct ring_broadcast_consumer consumers[CONSUMERS];
static unsigned producer_threads[2], consumer_threads[CONSUMERS];
static enum ring_broadcast_policy policy;
static uint64_t start;   /* position of message 0 */
static int64_t patience; /* RING_NO_WAIT, or RING_FOREVER */
static unsigned goal;
static size_t lengths[NUMBERS];
static unsigned published; /* messages whose sending has returned */

static int make(struct ring_segment *segment)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = (size_t)2 << chance_below(3);
    options.slot_bytes = SLOT_BYTES;
    options.seats = SEATS;
    options.policy = policy;
    options.start_position = start = scene_position();
    return ring_broadcast_create_with(segment, "ring", &options);
}

/* ---- Producer ---- */

static void fill(unsigned char *message, uint64_t number)
{
    DEMAND(number < NUMBERS);
    message_fill(message, 0, (unsigned)number, lengths[number]);
}

static ssize_t send_some(struct ring_broadcast_producer *producer)
{
    unsigned char message[BATCH][SLOT_BYTES];
    struct ring_message messages[BATCH];
    uint64_t number = producer->position - start;
    unsigned count = (unsigned)(goal - number < BATCH ? goal - number : BATCH);
    void *place;
    for (unsigned i = 0; i < count; i++) {
        fill(message[i], number + i);
        messages[i] = (struct ring_message){ message[i], lengths[number + i], 0 };
    }
    switch (chance_below(4)) {
    case 0:
        return ring_broadcast_send_batch(producer, messages, count, patience);
    case 1: {
        int code = ring_broadcast_reserve(producer, SLOT_BYTES, &place, patience);
        if (code)
            return code;
        memcpy(place, message[0], lengths[number]);
        if (chance_below(4) == 0) {
            DEMAND_SAME(ring_broadcast_cancel(producer), 0);
            return -EAGAIN;
        }
        DEMAND_SAME(ring_broadcast_commit(producer, lengths[number]), 0);
        return 1;
    }
    default: {
        int code = ring_broadcast_send(producer, message[0], lengths[number], patience);
        return code ? code : 1;
    }
    }
}

static void produce(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_broadcast_producer *producer = &producers[index];
    if (index && !scene_is_dead(producer_threads[0]))
        return;
    DEMAND_SAME(ring_broadcast_open_producer(producer, scene, "ring", RING_NO_WAIT), 0);
    scene_choose_policy(ring_broadcast_producer_waiter(producer));
    if (producer->position - start < published)
        schedule_fail("the successor begins at message %llu, although %u were sent",
                      (unsigned long long)(producer->position - start), published);
    published = (unsigned)(producer->position - start);
    while (producer->position - start < goal) {
        ssize_t done = send_some(producer);
        DEMAND(done > 0 || done == -EAGAIN);
        published = (unsigned)(producer->position - start);
        if (done < 0)
            schedule_yield();
        if (chance_below(4) == 0)
            producer->fruitless = 0; /* the next look in vain asks who died */
    }
    DEMAND_SAME(ring_broadcast_close_producer(producer), 0);
}

/* ---- Consumer ---- */

static void check(unsigned index, const void *message, size_t length, uint64_t wanted)
{
    unsigned sender, number;
    if (!message_is_whole(message, length, &sender, &number))
        schedule_fail("consumer %u received a torn message, or none (%zu bytes)", index, length);
    if (number != wanted)
        schedule_fail("consumer %u received message %u, not %llu", index, number, (unsigned long long)wanted);
}

/* What it takes is what comes next: the count moves on by as many. */
static ssize_t take_some(unsigned index, uint64_t *next)
{
    struct ring_broadcast_consumer *consumer = &consumers[index];
    unsigned char message[BATCH][SLOT_BYTES];
    struct ring_message seen[BATCH] = { { NULL, 0, 0 } };
    if (chance_below(3)) {
        ssize_t length = ring_broadcast_recv(consumer, message[0], SLOT_BYTES, patience);
        if (length < 0)
            return length;
        check(index, message[0], (size_t)length, *next);
        ++*next;
        return 1;
    }
    ssize_t count = ring_broadcast_peek_batch(consumer, seen, BATCH, patience);
    for (ssize_t i = 0; i < count; i++)
        memcpy(message[i], seen[i].data, seen[i].length);
    int code = count > 0 ? ring_broadcast_release(consumer, (size_t)count) : 0;
    if (count < 0 || code)
        return count < 0 ? count : code;
    for (ssize_t i = 0; i < count; i++)
        check(index, message[i], seen[i].length, (*next)++);
    return count;
}

static void consume(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_broadcast_consumer *consumer = &consumers[index];
    enum ring_broadcast_join join = chance_below(2) ? RING_BROADCAST_OLDEST : RING_BROADCAST_NEWEST;
    DEMAND_SAME(ring_broadcast_open_consumer(consumer, scene, "ring", join, 0, RING_NO_WAIT), 0);
    scene_choose_policy(ring_broadcast_consumer_waiter(consumer));
    uint64_t next = consumer->position - start;
    for (;;) {
        ssize_t code = take_some(index, &next);
        if (code == -EOVERFLOW) {
            if (policy == RING_BROADCAST_LOSSLESS)
                schedule_fail("consumer %u lost %llu messages of a lossless ring", index,
                              (unsigned long long)ring_broadcast_lost(consumer));
            next += ring_broadcast_lost(consumer);
        } else if (code == -EPIPE && scene_is_over(producer_threads[1])) {
            break;
        } else if (code < 0) {
            DEMAND(code == -EAGAIN || code == -EPIPE);
            schedule_yield();
        }
    }
    if (next != goal)
        schedule_fail("consumer %u came to message %llu of %u", index, (unsigned long long)next, goal);
    DEMAND_SAME(ring_broadcast_close_consumer(consumer), 0);
}

/* ---- Both ---- */

static bool producer_is_over(void *unused)
{
    (void)unused;
    return scene_is_over(producer_threads[0]);
}

static bool some_were_sent(void *unused)
{
    (void)unused;
    return published >= goal / 2;
}

static void play(enum ring_broadcast_policy of, unsigned percent, int64_t limit)
{
    static const char *const names[] = { "consumer 1", "consumer 2", "late one" };
    policy = of;
    patience = limit;
    memset((void *)producers, 0, sizeof producers);
    memset((void *)consumers, 0, sizeof consumers);
    scene_begin(scene_seed, make);
    goal = 6 + (unsigned)chance_below(GOAL);
    published = 0;
    for (unsigned i = 0; i < NUMBERS; i++)
        lengths[i] = message_any_length(SLOT_BYTES);
    producer_threads[0] = schedule_add("producer", produce, (void *)0, NULL);
    scene_may_die(producer_threads[0], percent);
    for (uintptr_t i = 0; i < CONSUMERS; i++) {
        consumer_threads[i] = schedule_add(names[i], consume, (void *)i, i == 2 ? some_were_sent : NULL);
        if (of == RING_BROADCAST_LOSSLESS)
            scene_may_die(consumer_threads[i], percent / 2);
    }
    producer_threads[1] = schedule_add("producer 2", produce, (void *)1, producer_is_over);
    scene_run();
    DEMAND_SAME(published, goal);
    for (unsigned i = 0; i < CONSUMERS; i++)
        if (scene_is_dead(consumer_threads[i]))
            ring_guard_close(&consumers[i].guarded);
    if (scene_is_dead(producer_threads[0])) {
        free(producers[0].known_dead);
        ring_guard_close(&producers[0].guarded);
    }
}

void broadcast_overwriting(void)
{
    play(RING_BROADCAST_OVERWRITE, 50, RING_NO_WAIT);
}

void broadcast_lossless(void)
{
    play(RING_BROADCAST_LOSSLESS, 50, RING_NO_WAIT);
}

void broadcast_sleeping(void)
{
    play(RING_BROADCAST_LOSSLESS, 0, RING_FOREVER);
}
