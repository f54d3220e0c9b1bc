/* mpmc.c - scenarios of the MPMC ring: two producers, two consumers, one who mends. They come and go, so that sides are
 * claimed alone and shared in turn; some die; what the dead left is mended by whoever meets it. */
#include "scenario.h"

#include <ring/mpmc_private.h>

enum { ENDS = 2, BATCH = 4, SLOT_BYTES = 40, ARRAY = 16, SEATS = 6, TENURES = 3, LATE = 2 };

static struct ring_mpmc_producer producers[ENDS];
static struct ring_mpmc_consumer consumers[ENDS + 1];
static unsigned producer_threads[ENDS], consumer_threads[ENDS];
static unsigned char buffers[ENDS + 1][BATCH * MESSAGE_MOST];
static size_t buffer_stride[ENDS + 1];
static int64_t patience; /* RING_NO_WAIT, or RING_FOREVER */
static unsigned goal;    /* messages of each producer in a tenure */
static unsigned tenures; /* how often each comes */
static bool deaths;
static unsigned ring_flags;

static int make(struct ring_segment *segment)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = (size_t)2 << chance_below(3);
    options.slot_bytes = SLOT_BYTES;
    options.seats = SEATS;
    options.flags = ring_flags;
    options.start_position = scene_position();
    return ring_mpmc_create_with(segment, "ring", &options);
}

static bool all_over(const unsigned *threads)
{
    for (unsigned i = 0; i < ENDS; i++)
        if (!scene_is_over(threads[i]))
            return false;
    return true;
}

/* Now and then, what comes else only after many calls: a search for the dead, and the question whether one is alone. */
static void hurry(struct ring_mpmc_end *end)
{
    if (chance_below(4) == 0)
        end->search = true;
    if (chance_below(4) == 0)
        end->shared_ops = 1u << 20;
}

/* ---- Producer ---- */

static ssize_t send_in_place(struct ring_mpmc_producer *producer, unsigned sender, unsigned number)
{
    unsigned char message[SLOT_BYTES];
    void *place;
    size_t length = message_any_length(SLOT_BYTES);
    message_fill(message, sender, number, length);
    int code = ring_mpmc_reserve(producer, length, &place, patience);
    if (code)
        return code;
    memcpy(place, message, length);
    if (chance_below(4) == 0) {
        DEMAND_SAME(ring_mpmc_cancel(producer), 0);
        return -EAGAIN;
    }
    DEMAND_SAME(ring_mpmc_commit(producer, length), 0);
    return 1;
}

static ssize_t send_many(struct ring_mpmc_producer *producer, unsigned sender, unsigned first, unsigned count,
                         bool array)
{
    unsigned char bytes[BATCH * SLOT_BYTES];
    struct ring_message messages[BATCH];
    for (unsigned i = 0; i < count; i++) {
        size_t length = array ? ARRAY : message_any_length(SLOT_BYTES);
        unsigned char *at = bytes + i * (array ? ARRAY : SLOT_BYTES);
        message_fill(at, sender, first + i, length);
        messages[i] = (struct ring_message){ at, length, 0 };
    }
    return array ? ring_mpmc_send_array(producer, bytes, ARRAY, count, patience)
                 : ring_mpmc_send_batch(producer, messages, count, patience);
}

static ssize_t send_some(struct ring_mpmc_producer *producer, unsigned sender)
{
    unsigned char message[SLOT_BYTES];
    uint64_t verb = chance_below(6);
    unsigned count = verb < 4 ? 1 : 1 + (unsigned)chance_below(BATCH);
    unsigned first = ledger_begin(sender, count);
    ssize_t done;
    if (verb < 3) {
        size_t length = message_any_length(SLOT_BYTES);
        message_fill(message, sender, first, length);
        done = ring_mpmc_send(producer, message, length, patience);
        done = done == 0 ? 1 : done;
    } else {
        done =
            verb == 3 ? send_in_place(producer, sender, first) : send_many(producer, sender, first, count, verb == 5);
    }
    if (done <= 0 && done != -EAGAIN && done != -EPIPE && done != -EOWNERDEAD)
        schedule_fail("sending says %zd", done);
    ledger_sent(sender, first, count, done > 0 ? (unsigned)done : 0);
    return done;
}

static void produce(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_mpmc_producer *producer = &producers[index];
    for (unsigned tenure = 0; tenure < tenures; tenure++) {
        DEMAND_SAME(ring_mpmc_open_producer(producer, scene, "ring", RING_NO_WAIT), 0);
        scene_choose_policy(ring_mpmc_producer_waiter(producer));
        for (unsigned sent = 0; sent < goal;) {
            ssize_t done = send_some(producer, index);
            if (done > 0)
                sent += (unsigned)done;
            else if (all_over(consumer_threads))
                break;
            else
                schedule_yield();
            hurry(&producer->end);
        }
        DEMAND_SAME(ring_mpmc_close_producer(producer), 0);
    }
}

/* ---- Consumer ---- */

static ssize_t take_one(unsigned index)
{
    struct ring_mpmc_consumer *consumer = &consumers[index];
    memset(buffers[index], 0, sizeof buffers[index]);
    buffer_stride[index] = MESSAGE_MOST;
    ssize_t length = ring_mpmc_recv(consumer, buffers[index], MESSAGE_MOST, patience);
    if (length >= 0)
        ledger_got(index, buffers[index], (size_t)length, ring_mpmc_last_flags(consumer), true);
    return length;
}

static ssize_t take_array(unsigned index)
{
    struct ring_mpmc_consumer *consumer = &consumers[index];
    memset(buffers[index], 0, sizeof buffers[index]);
    buffer_stride[index] = ARRAY;
    ssize_t count = ring_mpmc_recv_array(consumer, buffers[index], ARRAY, BATCH, patience);
    for (ssize_t i = 0; i < count; i++)
        ledger_got(index, buffers[index] + i * ARRAY, ARRAY, ring_mpmc_last_flags(consumer), true);
    return count == -EMSGSIZE ? take_one(index) : count;
}

/* `leaves`: closes with what it was shown, which others get then. */
static ssize_t look_and_take(unsigned index, bool leaves)
{
    struct ring_mpmc_consumer *consumer = &consumers[index];
    struct ring_message seen[BATCH] = { { NULL, 0, 0 } };
    unsigned char message[SLOT_BYTES];
    ssize_t count = ring_mpmc_peek_batch(consumer, seen, 1 + chance_below(BATCH), patience);
    for (ssize_t i = 0; i < count; i++) {
        memcpy(message, seen[i].data, seen[i].length);
        ledger_got(index, message, seen[i].length, seen[i].flags, !leaves);
    }
    if (count > 0 && !leaves)
        DEMAND_SAME(ring_mpmc_release(consumer, (size_t)count), 0);
    return count;
}

static ssize_t take_some(unsigned index)
{
    uint64_t verb = chance_below(4);
    ssize_t code = verb == 0 ? take_array(index) : verb == 1 ? look_and_take(index, false) : take_one(index);
    if (code < 0 && code != -EAGAIN && code != -EPIPE && code != -EOWNERDEAD)
        schedule_fail("receiving says %zd", code);
    return code;
}

static void consume(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_mpmc_consumer *consumer = &consumers[index];
    unsigned stays = tenures > 1 ? (unsigned)chance_below(10) : UINT32_MAX;
    for (unsigned tenure = 0; tenure < tenures; tenure++) {
        DEMAND_SAME(ring_mpmc_open_consumer(consumer, scene, "ring", RING_NO_WAIT), 0);
        scene_choose_policy(ring_mpmc_consumer_waiter(consumer));
        for (unsigned fruitless = 0, taken = 0; fruitless < 4 && taken < stays;) {
            if (take_some(index) >= 0)
                taken++;
            else if (all_over(producer_threads))
                fruitless++;
            else
                schedule_yield();
            hurry(&consumer->end);
        }
        if (deaths && tenure + 1 == tenures && chance_below(3) == 0)
            look_and_take(index, true);
        DEMAND_SAME(ring_mpmc_close_consumer(consumer), 0);
    }
}

/* ---- Mending ---- */

static void mend(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 6; i++) {
        DEMAND_SAME(ring_segment_recover(scene, NULL), 0);
        schedule_yield();
    }
}

/* Whoever comes when all is over gets what is left, and finds a ring that works: no slot is stuck. */
static void use_afterwards(void)
{
    unsigned char message[SLOT_BYTES];
    unsigned sender, number;
    DEMAND_SAME(ring_mpmc_open_consumer(&consumers[ENDS], scene, "ring", RING_NO_WAIT), 0);
    for (unsigned fruitless = 0; fruitless < 4;) {
        if (take_one(ENDS) < 0)
            fruitless++;
        consumers[ENDS].end.search = true;
    }
    ledger_end();
    DEMAND_SAME(ring_mpmc_open_producer(&producers[0], scene, "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < 24; i++) {
        message_fill(message, 2, i, SLOT_BYTES);
        DEMAND_SAME(ring_mpmc_send(&producers[0], message, SLOT_BYTES, RING_NO_WAIT), 0);
        DEMAND_SAME(ring_mpmc_recv(&consumers[ENDS], message, SLOT_BYTES, RING_NO_WAIT), SLOT_BYTES);
        DEMAND_SAME(ring_mpmc_last_flags(&consumers[ENDS]), 0);
        DEMAND(message_is_whole(message, SLOT_BYTES, &sender, &number) && sender == 2 && number == i);
    }
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    DEMAND_SAME(ring_mpmc_info(scene, "ring", &info), 0);
    DEMAND(info.messages == 0 && info.held == 0 && info.producers == 1 && info.consumers == 1);
    DEMAND_SAME(ring_mpmc_close_producer(&producers[0]), 0);
    DEMAND_SAME(ring_mpmc_close_consumer(&consumers[ENDS]), 0);
}

static void play(unsigned most_tenures, unsigned percent, int64_t limit)
{
    static const char *const names[] = { "producer 1", "producer 2", "consumer 1", "consumer 2" };
    ring_flags = percent == 0 && most_tenures == 1 && chance_below(2) ? RING_MPMC_NO_SOLE : 0;
    memset((void *)producers, 0, sizeof producers);
    memset((void *)consumers, 0, sizeof consumers);
    scene_begin(scene_seed, make);
    patience = limit;
    memset(buffers, 0, sizeof buffers);
    tenures = 1 + (unsigned)chance_below(most_tenures);
    goal = 2 + (unsigned)chance_below(6);
    deaths = percent != 0;
    for (uintptr_t i = 0; i < ENDS; i++) {
        producer_threads[i] = schedule_add(names[i], produce, (void *)i, NULL);
        scene_may_die(producer_threads[i], percent);
    }
    for (uintptr_t i = 0; i < ENDS; i++) {
        consumer_threads[i] = schedule_add(names[ENDS + i], consume, (void *)i, NULL);
        scene_may_die(consumer_threads[i], percent);
    }
    if (deaths)
        scene_may_die(schedule_add("mender", mend, NULL, NULL), percent);
    scene_run();
    patience = RING_NO_WAIT;
    for (unsigned i = 0; i < ENDS; i++)
        if (scene_is_dead(consumer_threads[i]))
            ledger_died_with(buffers[i], buffer_stride[i], BATCH);
    use_afterwards();
    for (unsigned i = 0; i < ENDS; i++) { /* their guards are kept for the next */
        if (scene_is_dead(producer_threads[i]))
            ring_guard_close(&producers[i].end.guarded);
        if (scene_is_dead(consumer_threads[i]))
            ring_guard_close(&consumers[i].end.guarded);
    }
}

void mpmc_shared(void)
{
    play(1, 0, RING_NO_WAIT);
}

void mpmc_modes(void)
{
    play(TENURES, 0, RING_NO_WAIT);
}

void mpmc_deaths(void)
{
    play(TENURES, 40, RING_NO_WAIT);
}

void mpmc_sleeping(void)
{
    play(1, 0, RING_FOREVER);
}
