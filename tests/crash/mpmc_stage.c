/* mpmc_stage.c - an MPMC ring with its survivors, and what they do after a death.
 *
 * A producer and a consumer survive, unless the row says SOLE (the victim is the only one of its side) or ALONE (nobody
 * survives at all). */
#include "mpmc_stage.h"

enum { SLOTS = 16, MOST = 512, SEATS = 8, SHORT = 100000 };

static struct ends {
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
} ends, kept;
static bool has_producer, has_consumer; /* survivors */

static bool flagged(unsigned flag)
{
    return (stage.row->flags & flag) != 0;
}

static bool takes(void)
{
    return flagged(TAKES) || (stage.row->first_flags & TAKES);
}

/* ---- The base ---- */

/* How many messages lie in the ring before, and the position of the first: laps wrap, positions wrap. */
static uint64_t choose_filling(void)
{
    unsigned own = stage.row->count + stage.row->warm;
    switch (stage.filling) {
    case HALF:
        stage.pending = SLOTS / 2;
        return (UINT64_C(1) << 36) * SLOTS - 4; /* the lap in a word comes round */
    case NEARLY_FULL:
        stage.pending = takes() ? SLOTS - 1 : SLOTS - own;
        return UINT64_MAX - 6;
    case FULL:
        stage.pending = SLOTS - (takes() ? 0 : stage.row->warm);
        return (UINT64_C(1) << 56) - 3; /* an intent comes round */
    case WRAP:
        stage.pending = takes() ? own + 2 : 3;
        return (UINT64_C(1) << 32) - (takes() ? stage.row->warm : stage.pending + stage.row->warm) - 1;
    case EMPTY:
    case FILLINGS:
    default:
        stage.pending = takes() ? stage.row->warm : 0;
        return 0;
    }
}

static void open_producer(void)
{
    WANT_SAME(ring_mpmc_open_producer(&ends.producer, stage.segment, "ring", RING_NO_WAIT), 0);
}

static void open_consumer(void)
{
    WANT_SAME(ring_mpmc_open_consumer(&ends.consumer, stage.segment, "ring", RING_NO_WAIT), 0);
}

static void send_pending(void)
{
    unsigned char message[MOST];
    for (unsigned i = 0; i < stage.pending; i++) {
        message_write(message, stage.size, i);
        WANT_SAME(ring_mpmc_send(&ends.producer, message, stage.size, RING_NO_WAIT), 0);
    }
}

/* In children that die afterwards. */
static void send_all(void)
{
    WANT_SAME(ring_mpmc_open_producer(&ends.producer, stage_attach(), "ring", RING_NO_WAIT), 0);
    send_pending();
}

static void take_some(void)
{
    unsigned char message[MOST];
    WANT_SAME(ring_mpmc_open_consumer(&ends.consumer, stage_attach(), "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < stage.dead_took; i++)
        WANT_SAME(ring_mpmc_recv(&ends.consumer, message, MOST, RING_NO_WAIT), stage.size);
}

static void build_ends(void)
{
    has_producer = !flagged(ALONE) && (takes() || !flagged(SOLE));
    has_consumer = !flagged(ALONE) && (!takes() || !flagged(SOLE));
    if (flagged(ALONE)) {
        stage_run_and_die(send_all);
        if (takes())
            return;
        stage.dead_took = stage.pending < 2 ? stage.pending : 2;
        stage_run_and_die(take_some);
        return;
    }
    open_producer();
    send_pending();
    if (!has_producer)
        WANT_SAME(ring_mpmc_close_producer(&ends.producer), 0);
    if (has_consumer)
        open_consumer();
}

/* A lap of messages that are gone: what lies in the slots is not zero, but words and payloads of old. */
static void run_a_lap(void)
{
    unsigned char message[MOST];
    open_producer();
    open_consumer();
    for (unsigned i = 0; i < SLOTS; i++) {
        message_write(message, stage.size, NUMBERS + i);
        WANT_SAME(ring_mpmc_send(&ends.producer, message, stage.size, RING_NO_WAIT), 0);
        WANT_SAME(ring_mpmc_recv(&ends.consumer, message, MOST, RING_NO_WAIT), stage.size);
    }
    WANT_SAME(ring_mpmc_close_producer(&ends.producer), 0);
    WANT_SAME(ring_mpmc_close_consumer(&ends.consumer), 0);
}

static void build(void)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = SLOTS;
    options.slot_bytes = stage.size + 40;
    options.seats = SEATS;
    options.flags = flagged(NO_SOLE) ? RING_MPMC_NO_SOLE : 0;
    options.start_position = choose_filling() - SLOTS;
    WANT_SAME(ring_mpmc_create_with(stage.segment, "ring", &options), 0);
    run_a_lap();
    build_ends();
    unsigned takers =
        flagged(TAKES) + ((stage.row->first_flags & TAKES) != 0) + ((stage.row->rival_flags & TAKES) != 0);
    stage.flag_limit = takers * (stage.row->count + stage.row->warm);
    stage.exact = true;
    const struct ring_mpmc_end *end = takes() ? &ends.producer.end : &ends.consumer.end;
    if (flagged(PEER_ASLEEP)) {
        ring_atomic_store(&end->view.control->producers_asleep, 1, memory_order_relaxed);
        ring_atomic_store(&end->view.control->consumers_asleep, 1, memory_order_relaxed);
    }
}

static void keep(bool put_back)
{
    if (put_back)
        ends = kept;
    else
        kept = ends;
    ledger_begin(false);
}

/* ---- Survivors and successors ---- */

/* Takes all there is, waiting up to the time limit for each; what it ends with. */
static int drain(int64_t timeout_ns)
{
    unsigned char message[MOST];
    for (;;) {
        ssize_t length = ring_mpmc_recv(&ends.consumer, message, MOST, timeout_ns);
        if (length < 0)
            return (int)length;
        ledger_arrived(message, (size_t)length, ring_mpmc_last_flags(&ends.consumer));
    }
}

/* The same without waiting: who looks again and again must find what the dead left, too. */
static int drain_polling(void)
{
    int code = 0;
    for (int i = 0; i < 600; i++)
        code = drain(RING_NO_WAIT);
    return code;
}

/* Sends of our own until `most` are sent or the ring is full; 0 or what the last attempt ended with. */
static int fill(unsigned most, int64_t timeout_ns)
{
    unsigned char message[MOST];
    for (unsigned i = 0; i < most; i++) {
        ledger_send(message);
        int code = ring_mpmc_send(&ends.producer, message, stage.size, timeout_ns);
        if (code) {
            ledger.ours--;
            return code;
        }
    }
    return 0;
}

/* All slots are usable again, and nothing is flagged any more. */
static void traffic(void)
{
    unsigned char message[MOST];
    uint64_t sent = 0, received = 0;
    while (received < stage.further) {
        for (int i = 0; i < SLOTS; i++, sent++) {
            message_write(message, 8 + 8 * (sent % 5), sent);
            WANT_SAME(ring_mpmc_send(&ends.producer, message, 8 + 8 * (sent % 5), RING_NO_WAIT), 0);
        }
        WANT_SAME(ring_mpmc_send(&ends.producer, message, 8, RING_NO_WAIT), -EAGAIN);
        for (; received < sent; received++) {
            WANT_SAME(ring_mpmc_recv(&ends.consumer, message, MOST, RING_NO_WAIT), 8 + 8 * (received % 5));
            WANT_SAME(message_read(message, 8 + 8 * (received % 5)), received);
            WANT_SAME(ring_mpmc_last_flags(&ends.consumer), 0);
        }
    }
}

/* What waiting in vain ends with, when nobody is on the other side. */
static bool is_end(int code, bool somebody)
{
    if (somebody)
        return code == -ETIMEDOUT;
    return code == -EOWNERDEAD || (flagged(IN_FLUX) && (code == -EPIPE || code == -ETIMEDOUT));
}

/* The victim was on the side of the producers, or on none. */
static void recover_producer(unsigned way)
{
    bool opened = false;
    if (!has_consumer)
        open_consumer();
    if (way == 0) {
        int end = drain(SHORT);
        if (!is_end(end, has_producer))
            crash_fail("waiting for a message ends with %d", end);
    } else if (way == 1) {
        WANT_SAME(ring_segment_recover(stage.segment, NULL), 0);
    }
    if (!has_producer)
        open_producer();
    opened = !has_producer;
    if (way != 0) {
        int code = fill(2, RING_NO_WAIT);
        WANT(code == 0 || code == -EAGAIN);
        drain_polling();
    }
    ledger_end();
    traffic();
    if (opened)
        WANT_SAME(ring_mpmc_close_producer(&ends.producer), 0);
    if (!has_consumer)
        WANT_SAME(ring_mpmc_close_consumer(&ends.consumer), 0);
}

/* The victim was a consumer. */
static void recover_consumer(unsigned way)
{
    if (!has_producer)
        open_producer();
    if (way == 0) { /* the producer finds it full first */
        int end = fill(2 * SLOTS, SHORT);
        if (!is_end(end, has_consumer))
            crash_fail("waiting for room ends with %d", end);
    } else if (way == 1) {
        WANT_SAME(ring_segment_recover(stage.segment, NULL), 0);
    }
    if (!has_consumer)
        open_consumer();
    if (way == 0)
        WANT_SAME(drain(SHORT), -ETIMEDOUT);
    else
        drain_polling();
    ledger_end();
    traffic();
    if (!has_consumer)
        WANT_SAME(ring_mpmc_close_consumer(&ends.consumer), 0);
    if (!has_producer)
        WANT_SAME(ring_mpmc_close_producer(&ends.producer), 0);
}

static void recover(unsigned way)
{
    ledger.ours_before = ledger.ours;
    if (takes())
        recover_consumer(way);
    else
        recover_producer(way);
}

/* Nobody may pass over what the living victim is at work on. */
static void paused(void)
{
    if (flagged(ALONE) || flagged(IDLE))
        return;
    if (has_producer) {
        int code = fill(2, RING_NO_WAIT);
        WANT(code == 0 || code == -EAGAIN);
    }
    if (has_consumer) {
        int code = drain(SHORT);
        WANT(code == -ETIMEDOUT || (flagged(IN_FLUX) && !has_producer && code == -EPIPE));
    }
    WANT_SAME(ring_segment_recover(stage.segment, NULL), 0);
}

const struct topology mpmc_topology = {
    .bytes = 64 << 10,
    .build = build,
    .keep = keep,
    .paused = paused,
    .recover = recover,
    .ways = 3,
};
