/* spsc_calls.c - the calls of the SPSC ring, as victims make them. */
#include "spsc_stage.h"

enum { MOST = 512, BATCH = 32 };

static struct ring_segment *segment;
static struct ring_spsc_producer producer;
static struct ring_spsc_consumer consumer;
static unsigned char messages[BATCH][MOST]; /* to be sent, written before the first step */
static unsigned char in_a_row[BATCH * MOST];

/* ---- Producers ---- */

static void attach(void)
{
    segment = stage_attach();
}

static uint64_t number_of(unsigned index)
{
    return RANGE * (stage.me + UINT64_C(1)) + index;
}

static void open_and_send(void)
{
    const struct row *row = stage.row;
    attach();
    WANT_SAME(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < row->warm; i++) {
        message_write(messages[0], stage.size, number_of(i));
        WANT_SAME(ring_spsc_send(&producer, messages[0], stage.size, RING_NO_WAIT), 0);
    }
    stage_account()->sent = row->warm;
    for (unsigned i = 0; i < BATCH; i++) {
        message_write(messages[i], stage.size, number_of(row->warm + i));
        memcpy(in_a_row + i * stage.size, messages[i], stage.size);
    }
}

static void sent(int64_t code, uint64_t count)
{
    struct account *account = stage_account();
    account->sent += count;
    account->code = code;
}

static void send_now(int64_t timeout_ns)
{
    int code = ring_spsc_send(&producer, messages[0], stage.size, timeout_ns);
    sent(code, code == 0);
}

static void send_one(void)
{
    send_now(RING_NO_WAIT);
}

static void send_waiting(void)
{
    send_now(200000);
}

static void send_eight(void)
{
    int code = ring_spsc_send(&producer, messages[0], 8, RING_NO_WAIT); /* a length known to the compiler */
    sent(code, code == 0);
}

static void reserve_and_commit(void)
{
    void *place;
    int code = ring_spsc_reserve(&producer, stage.size + 20, &place, RING_NO_WAIT);
    if (code == 0) {
        memcpy(place, messages[0], stage.size);
        code = ring_spsc_commit(&producer, stage.size);
    }
    sent(code, code == 0);
}

static void reserve_and_cancel(void)
{
    void *place;
    int code = ring_spsc_reserve(&producer, stage.size, &place, RING_NO_WAIT);
    if (code == 0) {
        memcpy(place, messages[0], stage.size);
        code = ring_spsc_cancel(&producer);
    }
    sent(code, 0);
}

static void send_batch(void)
{
    struct ring_message batch[BATCH];
    for (unsigned i = 0; i < stage.row->count; i++)
        batch[i] = (struct ring_message){ messages[i], stage.size, 0 };
    ssize_t count = ring_spsc_send_batch(&producer, batch, stage.row->count, RING_NO_WAIT);
    sent(count, count > 0 ? (uint64_t)count : 0);
}

static void send_array(void)
{
    ssize_t count = ring_spsc_send_array(&producer, in_a_row, stage.size, stage.row->count, RING_NO_WAIT);
    sent(count, count > 0 ? (uint64_t)count : 0);
}

static void open_producer(void)
{
    sent(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), 0);
}

static void close_producer(void)
{
    sent(ring_spsc_close_producer(&producer), 0);
}

static void reserve_and_close(void)
{
    void *place;
    ring_spsc_reserve(&producer, stage.size, &place, RING_NO_WAIT);
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

static void recv_now(int64_t timeout_ns)
{
    struct account *account = stage_account();
    ssize_t length = ring_spsc_recv(&consumer, place_of((unsigned)account->taken), stage.size, timeout_ns);
    account->code = length == (ssize_t)stage.size ? 0 : length;
    if (length >= 0) {
        account->flags[account->taken] = ring_spsc_last_flags(&consumer);
        account->taken++;
    }
}

static void recv_one(void)
{
    recv_now(RING_NO_WAIT);
}

static void recv_waiting(void)
{
    recv_now(200000);
}

static void open_and_recv(void)
{
    attach();
    WANT_SAME(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < stage.row->warm; i++) {
        recv_one();
        WANT_SAME(stage_account()->code, 0);
    }
}

static void peek_and_release(void)
{
    struct account *account = stage_account();
    struct ring_message message;
    int code = ring_spsc_peek(&consumer, &message, RING_NO_WAIT);
    if (code == 0) {
        memcpy(place_of((unsigned)account->taken), message.data, stage.size);
        account->flags[account->taken] = message.flags;
        code = ring_spsc_release(&consumer, 1);
        account->taken++;
    }
    account->code = code;
}

/* Releases them in two parts. */
static void peek_batch_and_release(void)
{
    struct account *account = stage_account();
    struct ring_message batch[BATCH];
    ssize_t count = ring_spsc_peek_batch(&consumer, batch, stage.row->count, RING_NO_WAIT);
    unsigned first = (unsigned)account->taken;
    for (ssize_t i = 0; i < count; i++) {
        memcpy(place_of(first + (unsigned)i), batch[i].data, stage.size);
        account->flags[first + (unsigned)i] = batch[i].flags;
    }
    account->code = count;
    if (count < 2)
        return;
    WANT_SAME(ring_spsc_release(&consumer, 2), 0);
    account->taken += 2;
    WANT_SAME(ring_spsc_release(&consumer, (size_t)count - 2), 0);
    account->taken += (uint64_t)count - 2;
}

static void recv_array(void)
{
    struct account *account = stage_account();
    ssize_t count =
        ring_spsc_recv_array(&consumer, place_of((unsigned)account->taken), stage.size, stage.row->count, RING_NO_WAIT);
    account->code = count;
    if (count > 0)
        account->taken += (uint64_t)count;
}

static void open_consumer(void)
{
    stage_account()->code = ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT);
}

static void close_consumer(void)
{
    stage_account()->code = ring_spsc_close_consumer(&consumer);
}

/* What was shown and not released comes again: so it does not count as received. */
static void peek_and_close(void)
{
    struct ring_message batch[4];
    ring_spsc_peek_batch(&consumer, batch, 4, RING_NO_WAIT);
    close_consumer();
}

/* ---- The table ---- */

#define USUAL   (IN(HALF) | IN(NEARLY_FULL) | IN(WRAP))
#define SENDING (USUAL | IN(EMPTY))
#define TAKING  (USUAL | IN(FULL))
#define SPSC    .topology = &spsc_topology
#define SEND    SPSC, .prepare = open_and_send
#define RECV    SPSC, .prepare = open_and_recv

const struct row spsc_rows[] = {
    { "spsc send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = SENDING, .count = 1, .warm = 2 },
    { "spsc send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = IN(FULL), .count = 1, .code = -EAGAIN,
      .detail = "refused" },
    { "spsc send", SEND, .act = send_eight, .sizes = SMALL, .fillings = SENDING, .count = 1, .warm = 1,
      .detail = "constant length" },
    { "spsc send", SEND, .act = send_one, .sizes = 9, .fillings = SENDING, .count = 1, .flags = PEER_ASLEEP,
      .detail = "wakes the consumer" },
    { "spsc send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = SENDING, .count = 1, .warm = 1,
      .flags = ALONE, .detail = "both sides die" },
    { "spsc send", SEND, .act = send_waiting, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -ETIMEDOUT,
      .flags = TIMED, .detail = "waits" },
    { "spsc reserve, commit", SEND, .act = reserve_and_commit, .sizes = ALL_SIZES,
      .fillings = IN(EMPTY) | IN(HALF) | IN(WRAP), .count = 1, .warm = 1 },
    { "spsc reserve, cancel", SEND, .act = reserve_and_cancel, .sizes = ALL_SIZES,
      .fillings = IN(EMPTY) | IN(HALF) | IN(WRAP) },
    { "spsc send_batch", SEND, .act = send_batch, .sizes = ALL_SIZES, .fillings = SENDING, .count = 5, .warm = 1,
      .code = 5 },
    { "spsc send_array", SEND, .act = send_array, .sizes = ALL_SIZES, .fillings = SENDING, .count = 5, .warm = 1,
      .code = 5 },
    { "spsc recv", RECV, .act = recv_one, .sizes = ALL_SIZES, .fillings = TAKING, .count = 1, .warm = 2,
      .flags = TAKES },
    { "spsc recv", RECV, .act = recv_one, .sizes = ALL_SIZES, .fillings = TAKING, .count = 1, .warm = 2,
      .flags = TAKES | EACH, .detail = "publishes each" },
    { "spsc recv", RECV, .act = recv_one, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 2, .code = -EAGAIN,
      .flags = TAKES, .detail = "finds nothing" },
    { "spsc recv", RECV, .act = recv_one, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 2,
      .flags = TAKES | PACKED, .detail = "from a pack" },
    { "spsc recv", RECV, .act = recv_one, .sizes = 9, .fillings = USUAL, .count = 1, .warm = 1,
      .flags = TAKES | PACKED | EACH, .detail = "from a pack, publishes each" },
    { "spsc recv", RECV, .act = recv_one, .sizes = 9, .fillings = TAKING, .count = 1,
      .flags = TAKES | EACH | PEER_ASLEEP, .detail = "wakes the producer" },
    { "spsc recv", RECV, .act = recv_one, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1, .flags = TAKES | ALONE,
      .detail = "both sides die" },
    { "spsc recv", RECV, .act = recv_one, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES | AFTER_DEATH, .detail = "as a successor" },
    { "spsc recv", RECV, .act = recv_waiting, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .code = -ETIMEDOUT, .flags = TAKES | TIMED, .detail = "waits" },
    { "spsc peek, release", RECV, .act = peek_and_release, .sizes = ALL_SIZES, .fillings = TAKING, .count = 1,
      .warm = 1, .flags = TAKES },
    { "spsc peek, release", RECV, .act = peek_and_release, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES | EACH, .detail = "publishes each" },
    { "spsc peek, release", RECV, .act = peek_and_release, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES | AFTER_DEATH | PACKED, .detail = "as a successor, from a pack" },
    { "spsc peek_batch", RECV, .act = peek_batch_and_release, .sizes = ALL_SIZES, .fillings = USUAL, .count = 4,
      .warm = 1, .code = 4, .flags = TAKES },
    { "spsc peek_batch", RECV, .act = peek_batch_and_release, .sizes = 9, .fillings = USUAL, .count = 4, .warm = 1,
      .code = 4, .flags = TAKES | PACKED, .detail = "from packs" },
    { "spsc peek_batch", RECV, .act = peek_batch_and_release, .sizes = 9, .fillings = USUAL, .count = 4, .warm = 1,
      .code = 4, .flags = TAKES | EACH, .detail = "publishes each" },
    { "spsc recv_array", RECV, .act = recv_array, .sizes = ALL_SIZES, .fillings = USUAL, .count = 4, .warm = 1,
      .code = 4, .flags = TAKES },
    { "spsc recv_array", RECV, .act = recv_array, .sizes = 9, .fillings = USUAL, .count = 7, .warm = 1, .code = 7,
      .flags = TAKES | PACKED, .detail = "from packs" },
    { "spsc open_producer", SPSC, .prepare = attach, .act = open_producer, .sizes = SMALL, .fillings = IN(EMPTY),
      .flags = IN_FLUX, .detail = "the first" },
    { "spsc open_producer", SPSC, .prepare = attach, .act = open_producer, .sizes = SMALL, .fillings = IN(WRAP),
      .flags = IN_FLUX | AFTER_CLOSE, .detail = "after one that closed" },
    { "spsc open_producer", SPSC, .prepare = attach, .act = open_producer, .sizes = SMALL, .fillings = IN(HALF),
      .flags = IN_FLUX | AFTER_DEATH, .detail = "after one that died" },
    { "spsc close_producer", SEND, .act = close_producer, .sizes = SMALL, .fillings = IN(HALF), .warm = 1,
      .flags = IN_FLUX },
    { "spsc close_producer", SEND, .act = reserve_and_close, .sizes = SMALL, .fillings = IN(EMPTY), .warm = 1,
      .flags = IN_FLUX | PEER_ASLEEP, .detail = "with a reservation, consumer asleep" },
    { "spsc open_consumer", SPSC, .prepare = attach, .act = open_consumer, .sizes = SMALL, .fillings = IN(FULL),
      .flags = TAKES | IN_FLUX, .detail = "the first" },
    { "spsc open_consumer", SPSC, .prepare = attach, .act = open_consumer, .sizes = SMALL, .fillings = IN(WRAP),
      .flags = TAKES | IN_FLUX | AFTER_CLOSE, .detail = "after one that closed" },
    { "spsc open_consumer", SPSC, .prepare = attach, .act = open_consumer, .sizes = SMALL, .fillings = IN(HALF),
      .flags = TAKES | IN_FLUX | AFTER_DEATH, .detail = "after one that died" },
    { "spsc close_consumer", RECV, .act = close_consumer, .sizes = SMALL, .fillings = IN(HALF) | IN(WRAP), .warm = 3,
      .flags = TAKES | IN_FLUX },
    { "spsc close_consumer", RECV, .act = close_consumer, .sizes = SMALL, .fillings = IN(HALF) | IN(WRAP), .warm = 3,
      .flags = TAKES | IN_FLUX | PACKED, .detail = "within a pack" },
    { "spsc close_consumer", RECV, .act = peek_and_close, .sizes = SMALL, .fillings = IN(HALF), .warm = 1,
      .flags = TAKES | IN_FLUX | PEER_ASLEEP, .detail = "with peeked messages, producer asleep" },
};
const size_t spsc_row_count = sizeof spsc_rows / sizeof spsc_rows[0];
