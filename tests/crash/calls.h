/* calls.h - the calls of a topology as victims make them, for all topologies alike. Include it once, after
 *   TOPOLOGY                  spsc, mpmc or broadcast
 *   OPEN_CONSUMER(at, in)     opens consumer `at` of ring "ring" in segment `in`
 *   LAST_FLAGS(at)            flags of the message last received
 *   ARRAY_FLAGS(at)           and of a message that came by recv_array alone
 */
#include "crash.h"

#define CALL_OF(topology, verb) ring_##topology##_##verb
#define CALL_IN(topology, verb) CALL_OF(topology, verb)
#define CALL(verb)              CALL_IN(TOPOLOGY, verb)

enum { MOST = 512, BATCH = 32, IN_VAIN = 200000 };

static struct ring_segment *segment;
static struct CALL(producer) producer;
static struct CALL(consumer) consumer;
static unsigned char messages[BATCH][MOST]; /* to be sent, written before the first step */
static unsigned char in_a_row[BATCH * MOST];

/* ---- Producers ---- */

/* A topology need not have a row for each of these. */
#define ACT __attribute__((unused)) static void
ACT attach(void)
{
    segment = stage_attach();
}

/* Looks at the ring from outside. */
ACT look_at_ring(void)
{
    struct CALL(info) info = { .struct_size = sizeof info };
    stage_account()->code = CALL(info)(segment, "ring", &info);
}

static uint64_t number_of(unsigned index)
{
    return RANGE * (stage.me + UINT64_C(1)) + index;
}

ACT open_and_send(void)
{
    const struct row *row = stage.row;
    attach();
    WANT_SAME(CALL(open_producer)(&producer, segment, "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < row->warm; i++) {
        message_write(messages[0], stage.size, number_of(i));
        WANT_SAME(CALL(send)(&producer, messages[0], stage.size, RING_NO_WAIT), 0);
    }
    stage_account()->sent = row->warm;
    for (unsigned i = 0; i < BATCH; i++) {
        message_write(messages[i], stage.size, number_of(row->warm + i));
        memcpy(in_a_row + i * stage.size, messages[i], stage.size);
    }
}

ACT sent(int64_t code, uint64_t count)
{
    struct account *account = stage_account();
    account->sent += count;
    account->code = code;
}

ACT send_now(int64_t timeout_ns)
{
    int code = CALL(send)(&producer, messages[0], stage.size, timeout_ns);
    sent(code, code == 0);
}

ACT send_one(void)
{
    send_now(RING_NO_WAIT);
}

ACT send_waiting(void)
{
    send_now(LONG);
}

/* Spins, sleeps some times, gives up: step by step. */
ACT send_in_vain(void)
{
    victim_stop_clock();
    send_now(IN_VAIN);
}

ACT send_eight(void)
{
    int code = CALL(send)(&producer, messages[0], 8, RING_NO_WAIT); /* a length known to the compiler */
    sent(code, code == 0);
}

ACT reserve_and_commit(void)
{
    void *place;
    int code = CALL(reserve)(&producer, stage.size + 20, &place, RING_NO_WAIT);
    if (code == 0) {
        memcpy(place, messages[0], stage.size);
        code = CALL(commit)(&producer, stage.size);
    }
    sent(code, code == 0);
}

ACT reserve_and_cancel(void)
{
    void *place;
    int code = CALL(reserve)(&producer, stage.size, &place, RING_NO_WAIT);
    if (code == 0) {
        memcpy(place, messages[0], stage.size);
        code = CALL(cancel)(&producer);
    }
    sent(code, 0);
}

ACT send_batch(void)
{
    struct ring_message batch[BATCH];
    for (unsigned i = 0; i < stage.row->count; i++)
        batch[i] = (struct ring_message){ messages[i], stage.size, 0 };
    ssize_t count = CALL(send_batch)(&producer, batch, stage.row->count, RING_NO_WAIT);
    sent(count, count > 0 ? (uint64_t)count : 0);
}

ACT send_array(void)
{
    ssize_t count = CALL(send_array)(&producer, in_a_row, stage.size, stage.row->count, RING_NO_WAIT);
    sent(count, count > 0 ? (uint64_t)count : 0);
}

ACT open_producer(void)
{
    sent(CALL(open_producer)(&producer, segment, "ring", RING_NO_WAIT), 0);
}

ACT close_producer(void)
{
    sent(CALL(close_producer)(&producer), 0);
}

ACT reserve_and_close(void)
{
    void *place;
    CALL(reserve)(&producer, stage.size, &place, RING_NO_WAIT);
    if (place)
        memcpy(place, messages[0], stage.size);
    close_producer();
}

/* ---- Consumers ---- */

/* Where the next message goes to. */
static unsigned char *place_of(unsigned index)
{
    return stage_account()->buffer + index * stage.size;
}

ACT recv_now(int64_t timeout_ns)
{
    struct account *account = stage_account();
    ssize_t length = CALL(recv)(&consumer, place_of((unsigned)account->taken), stage.size, timeout_ns);
    account->code = length == (ssize_t)stage.size ? 0 : length;
    if (length >= 0) {
        account->flags[account->taken] = LAST_FLAGS(&consumer);
        account->taken++;
    }
}

ACT recv_one(void)
{
    recv_now(RING_NO_WAIT);
}

ACT recv_waiting(void)
{
    recv_now(LONG);
}

ACT recv_in_vain(void)
{
    victim_stop_clock();
    recv_now(IN_VAIN);
}

ACT open_and_recv(void)
{
    attach();
    WANT_SAME(OPEN_CONSUMER(&consumer, segment), 0);
    for (unsigned i = 0; i < stage.row->warm; i++) {
        recv_one();
        WANT_SAME(stage_account()->code, 0);
    }
}

ACT peek_and_release(void)
{
    struct account *account = stage_account();
    struct ring_message message;
    int code = CALL(peek)(&consumer, &message, RING_NO_WAIT);
    if (code == 0) {
        memcpy(place_of((unsigned)account->taken), message.data, stage.size);
        account->flags[account->taken] = message.flags;
        code = CALL(release)(&consumer, 1);
        account->taken++;
    }
    account->code = code;
}

/* Releases them in two parts. */
ACT peek_batch_and_release(void)
{
    struct account *account = stage_account();
    struct ring_message batch[BATCH];
    ssize_t count = CALL(peek_batch)(&consumer, batch, stage.row->count, RING_NO_WAIT);
    unsigned first = (unsigned)account->taken;
    for (ssize_t i = 0; i < count; i++) {
        memcpy(place_of(first + (unsigned)i), batch[i].data, stage.size);
        account->flags[first + (unsigned)i] = batch[i].flags;
    }
    account->code = count;
    if (count < 2)
        return;
    WANT_SAME(CALL(release)(&consumer, 2), 0);
    account->taken += 2;
    WANT_SAME(CALL(release)(&consumer, (size_t)count - 2), 0);
    account->taken += (uint64_t)count - 2;
}

ACT recv_array(void)
{
    struct account *account = stage_account();
    ssize_t count =
        CALL(recv_array)(&consumer, place_of((unsigned)account->taken), stage.size, stage.row->count, RING_NO_WAIT);
    account->code = count;
    if (count > 0) {
        account->flags[account->taken] = count == 1 ? ARRAY_FLAGS(&consumer) : 0;
        account->taken += (uint64_t)count;
    }
}

ACT open_consumer(void)
{
    stage_account()->code = OPEN_CONSUMER(&consumer, segment);
}

ACT close_consumer(void)
{
    stage_account()->code = CALL(close_consumer)(&consumer);
}

/* What was shown and not released comes again: so it does not count as received. */
ACT peek_and_close(void)
{
    struct ring_message batch[4];
    CALL(peek_batch)(&consumer, batch, 4, RING_NO_WAIT);
    close_consumer();
}
