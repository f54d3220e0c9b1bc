/* spsc.c - scenarios of the SPSC ring. Producer 0 and consumer 0 begin; if one dies, number 1 of its side succeeds it.
 */
#include "scenario.h"

enum { BATCH = 4, ARRAY = 24, GOAL = 24 };

static struct ring_spsc_producer producers[2];
static struct ring_spsc_consumer consumers[2];
static unsigned producer_threads[2], consumer_threads[2], grower_thread;
static unsigned goal;    /* messages to be sent in all */
static int64_t patience; /* RING_NO_WAIT, or RING_FOREVER */
static size_t longest;   /* of them */
static bool grows;
static bool consumer_dies; /* perhaps: an array tells no flags */
static unsigned char buffers[2][BATCH * MESSAGE_MOST];
static size_t buffer_stride[2];

static int make(struct ring_segment *segment)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = RING_SPSC_MIN_BYTES;
    options.publish_bytes = chance_below(3) == 0 ? 1 : 0;
    options.start_position = scene_position() & ~UINT64_C(7);
    return ring_spsc_create_with(segment, "ring", &options);
}

/* ---- Producer ---- */

/* -EAGAIN: not now. */
static int send_one(struct ring_spsc_producer *producer, unsigned number, size_t length)
{
    unsigned char message[MESSAGE_MOST];
    message_fill(message, 0, number, length);
    return ring_spsc_send(producer, message, length, patience);
}

static int send_in_place(struct ring_spsc_producer *producer, unsigned number, size_t length)
{
    unsigned char message[MESSAGE_MOST];
    void *place;
    message_fill(message, 0, number, length);
    int code = ring_spsc_reserve(producer, length + 5, &place, patience);
    if (code)
        return code;
    memcpy(place, message, length);
    if (chance_below(4) == 0) {
        DEMAND_SAME(ring_spsc_cancel(producer), 0);
        return -EAGAIN;
    }
    DEMAND_SAME(ring_spsc_commit(producer, length), 0);
    return 0;
}

static ssize_t send_many(struct ring_spsc_producer *producer, unsigned first, unsigned count, bool array)
{
    unsigned char bytes[BATCH * MESSAGE_MOST];
    struct ring_message messages[BATCH];
    size_t same = chance_below(2) ? message_any_length(longest) : 0;
    for (unsigned i = 0; i < count; i++) {
        size_t length = array ? ARRAY : same ? same : message_any_length(longest);
        unsigned char *at = bytes + i * (array ? ARRAY : MESSAGE_MOST);
        message_fill(at, 0, first + i, length);
        messages[i] = (struct ring_message){ at, length, 0 };
    }
    return array ? ring_spsc_send_array(producer, bytes, ARRAY, count, patience)
                 : ring_spsc_send_batch(producer, messages, count, patience);
}

static void produce(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_spsc_producer *producer = &producers[index];
    if (index && !scene_is_dead(producer_threads[0]))
        return;
    int code = ring_spsc_open_producer(producer, scene, "ring", RING_NO_WAIT);
    for (; grows && code == -EBUSY; code = ring_spsc_open_producer(producer, scene, "ring", RING_NO_WAIT))
        schedule_yield(); /* somebody lets it grow just now */
    DEMAND_SAME(code, 0);
    scene_choose_policy(ring_spsc_producer_waiter(producer));
    while (ledger.next[0] < goal) {
        uint64_t verb = chance_below(6);
        unsigned count = verb < 4 ? 1 : 1 + (unsigned)chance_below(BATCH);
        unsigned first = ledger_begin(0, count);
        ssize_t done = verb < 3    ? send_one(producer, first, message_any_length(longest))
                       : verb == 3 ? send_in_place(producer, first, message_any_length(longest))
                                   : send_many(producer, first, count, verb == 5);
        if (verb < 4 && done == 0)
            done = 1;
        DEMAND(done > 0 || done == -EAGAIN);
        ledger_sent(0, first, count, done > 0 ? (unsigned)done : 0);
        if (grows && chance_below(8) == 0) {
            code = ring_spsc_grow(producer, NULL);
            DEMAND(code == 0 || code == -ENOSPC);
        }
        if (done < 0)
            schedule_yield();
    }
    DEMAND_SAME(ring_spsc_close_producer(producer), 0);
}

/* Somebody from outside, who may let it grow only while it has no producer. */
static void grow(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 6; i++) {
        int code = ring_spsc_grow_unattended(scene, "ring", NULL);
        DEMAND(code == 0 || code == -EBUSY || code == -ENOSPC);
        schedule_yield();
    }
}

/* ---- Consumer ---- */

static ssize_t take_one(unsigned index, bool array)
{
    struct ring_spsc_consumer *consumer = &consumers[index];
    unsigned char *buffer = buffers[index];
    memset(buffer, 0, sizeof buffers[index]);
    buffer_stride[index] = array ? ARRAY : MESSAGE_MOST;
    if (!array) {
        ssize_t length = ring_spsc_recv(consumer, buffer, MESSAGE_MOST, patience);
        if (length >= 0)
            ledger_got(index, buffer, (size_t)length, ring_spsc_last_flags(consumer), true);
        return length;
    }
    ssize_t count = ring_spsc_recv_array(consumer, buffer, ARRAY, BATCH, patience);
    for (ssize_t i = 0; i < count; i++)
        ledger_got(index, buffer + i * ARRAY, ARRAY, 0, true);
    return count == -EMSGSIZE ? take_one(index, false) : count;
}

static ssize_t look_and_take(unsigned index)
{
    struct ring_spsc_consumer *consumer = &consumers[index];
    struct ring_message seen[BATCH] = { { NULL, 0, 0 } };
    unsigned char message[MESSAGE_MOST];
    ssize_t count = 1;
    if (chance_below(2)) {
        int code = ring_spsc_peek(consumer, seen, patience);
        if (code)
            return code;
    } else if ((count = ring_spsc_peek_batch(consumer, seen, BATCH, patience)) < 0) {
        return count;
    }
    size_t release = count > 1 ? (size_t)chance_below((uint64_t)count + 1) : 1;
    for (ssize_t i = 0; i < count; i++) {
        memcpy(message, seen[i].data, seen[i].length);
        ledger_got(index, message, seen[i].length, seen[i].flags, (size_t)i < release);
    }
    DEMAND_SAME(ring_spsc_release(consumer, release), 0);
    return count;
}

static void consume(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    if (index && !scene_is_dead(consumer_threads[0]))
        return;
    if (index)
        ledger_died_with(buffers[0], buffer_stride[0], BATCH);
    DEMAND_SAME(ring_spsc_open_consumer(&consumers[index], scene, "ring", RING_NO_WAIT), 0);
    scene_choose_policy(ring_spsc_consumer_waiter(&consumers[index]));
    for (unsigned fruitless = 0; fruitless < 4;) {
        uint64_t verb = chance_below(4);
        ssize_t code = verb == 0 ? look_and_take(index) : take_one(index, verb == 1 && !consumer_dies);
        if (code == -EPIPE && scene_is_over(producer_threads[1]))
            break;
        if (code < 0 && grower_thread != LOGICAL_THREADS && scene_is_dead(grower_thread) &&
            scene_is_over(producer_threads[1]))
            fruitless++; /* it died in the producer's role: nobody leaves that any more */
        if (code < 0 && code != -EAGAIN && code != -EPIPE && !(grows && code == -EOWNERDEAD))
            schedule_fail("receiving says %zd: %s", code, ring_error_detail());
        if (code < 0)
            schedule_yield();
    }
    DEMAND_SAME(ring_spsc_close_consumer(&consumers[index]), 0);
}

/* ---- Both ---- */

static bool producer_is_over(void *unused)
{
    (void)unused;
    return scene_is_over(producer_threads[0]);
}

static bool consumer_is_over(void *unused)
{
    (void)unused;
    return scene_is_over(consumer_threads[0]);
}

/* Whoever comes later finds an empty ring that works, and the right place in it. */
static void use_afterwards(void)
{
    unsigned char message[MESSAGE_MOST];
    unsigned sender, number;
    DEMAND_SAME(ring_spsc_open_producer(&producers[0], scene, "ring", RING_NO_WAIT), 0);
    DEMAND_SAME(ring_spsc_open_consumer(&consumers[0], scene, "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < 10; i++) {
        message_fill(message, 1, i, 900);
        DEMAND_SAME(ring_spsc_send(&producers[0], message, 900, RING_NO_WAIT), 0);
        DEMAND_SAME(ring_spsc_recv(&consumers[0], message, sizeof message, RING_NO_WAIT), 900);
        DEMAND(message_is_whole(message, 900, &sender, &number) && sender == 1 && number == i);
    }
    DEMAND_SAME(ring_spsc_recv(&consumers[0], message, sizeof message, RING_NO_WAIT), -EAGAIN);
    DEMAND_SAME(ring_spsc_close_consumer(&consumers[0]), 0);
    DEMAND_SAME(ring_spsc_close_producer(&producers[0]), 0);
}

static void play(unsigned percent, int64_t limit, bool growing)
{
    static const size_t lengths[] = { 40, 200, 1000 };
    scene_begin(scene_seed, make);
    patience = limit;
    memset(buffers, 0, sizeof buffers);
    longest = lengths[chance_below(3)];
    goal = 4 + (unsigned)chance_below(GOAL);
    consumer_dies = percent != 0;
    grows = growing;
    producer_threads[0] = schedule_add("producer", produce, (void *)0, NULL);
    consumer_threads[0] = schedule_add("consumer", consume, (void *)0, NULL);
    producer_threads[1] = schedule_add("producer 2", produce, (void *)1, producer_is_over);
    consumer_threads[1] = schedule_add("consumer 2", consume, (void *)1, consumer_is_over);
    grower_thread = grows && percent ? schedule_add("grower", grow, NULL, NULL) : LOGICAL_THREADS;
    if (grows && percent)
        scene_may_die(grower_thread, percent / 2);
    scene_may_die(producer_threads[0], percent);
    scene_may_die(consumer_threads[0], percent);
    scene_run();
    ledger_end();
    use_afterwards();
}

void spsc_alone(void)
{
    play(0, RING_NO_WAIT, false);
}

void spsc_sleeping(void)
{
    play(0, RING_FOREVER, false);
}

void spsc_successors(void)
{
    play(70, RING_NO_WAIT, false);
}

void spsc_growing(void)
{
    play(60, RING_NO_WAIT, true);
}

void spsc_growing_asleep(void)
{
    play(0, RING_FOREVER, true);
}
