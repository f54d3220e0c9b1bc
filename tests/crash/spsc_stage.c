/* spsc_stage.c - an SPSC ring with its survivors, and what they do after a death. */
#include "spsc_stage.h"

#include <ring/segment_private.h>

enum { CAPACITY = 4096, ROOM = CAPACITY - RING_RECORD_HEADER, MOST = 512 };

/* The worker's own ends: survivors, or successors after a recovery. */
static struct ends {
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
} ends, kept;
static bool has_producer, has_consumer; /* survivors */

static bool flagged(unsigned flag)
{
    return (stage.row->flags & flag) != 0;
}

static unsigned stride(void)
{
    return (unsigned)ring_spsc_stride(stage.size);
}

/* ---- The base ---- */

/* How many messages lie in the ring before, and where the first of them begins: laps end at 2^32, 2^63 and 2^64. */
static uint64_t choose_filling(void)
{
    const struct row *row = stage.row;
    unsigned own = row->count + row->warm;
    unsigned most = ROOM / stride();
    unsigned least = flagged(TAKES) ? own : 0;
    uint64_t lap = UINT64_C(1) << 32;
    switch (stage.filling) {
    case HALF:
        stage.pending = most / 2 > least ? most / 2 : least;
        return (UINT64_C(1) << 63) - 1024;
    case NEARLY_FULL:
        stage.pending = flagged(TAKES) ? most - 1 : most > own ? most - own : 0;
        return UINT64_MAX - 2047;
    case FULL:
        stage.pending = most - (flagged(TAKES) ? 0 : row->warm);
        return 0;
    case WRAP:
        stage.pending = flagged(TAKES) ? own + 2 : 2;
        return lap -
               (stage.pending - (flagged(TAKES) ? row->count + 2 : 0) + (flagged(TAKES) ? 0 : row->warm)) *
                   (uint64_t)stride() -
               (stride() / 2 & ~7u);
    case EMPTY:
    case FILLINGS:
    default:
        stage.pending = flagged(TAKES) ? row->warm : 0;
        return 0;
    }
}

static void send_pending(struct ring_spsc_producer *producer)
{
    static unsigned char messages[16 * MOST];
    unsigned group = flagged(PACKED) ? 5 : 1;
    for (unsigned i = 0; i < stage.pending; i += group) {
        if (flagged(GROWN) && i == stage.row->warm)
            WANT_SAME(ring_spsc_grow(producer, NULL), 0);
        unsigned count = stage.pending - i < group ? stage.pending - i : group;
        for (unsigned j = 0; j < count; j++)
            message_write(messages + j * stage.size, stage.size, i + j);
        if (flagged(PACKED))
            WANT_SAME(ring_spsc_send_array(producer, messages, stage.size, count, RING_NO_WAIT), count);
        else
            WANT_SAME(ring_spsc_send(producer, messages, stage.size, RING_NO_WAIT), 0);
    }
}

/* In a child that dies afterwards. */
static void send_all(void)
{
    WANT_SAME(ring_spsc_open_producer(&ends.producer, stage_attach(), "ring", RING_NO_WAIT), 0);
    send_pending(&ends.producer);
}

static void take_some(void)
{
    unsigned char message[MOST];
    WANT_SAME(ring_spsc_open_consumer(&ends.consumer, stage_attach(), "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < stage.dead_took; i++)
        WANT_SAME(ring_spsc_recv(&ends.consumer, message, MOST, RING_NO_WAIT), stage.size);
}

static void open_producer(void)
{
    WANT_SAME(ring_spsc_open_producer(&ends.producer, stage.segment, "ring", RING_NO_WAIT), 0);
}

static void open_consumer(void)
{
    ledger.ours_before = ledger.ours; /* what was sent before a take-over may be flagged */
    WANT_SAME(ring_spsc_open_consumer(&ends.consumer, stage.segment, "ring", RING_NO_WAIT), 0);
}

static void build_producer(void)
{
    bool dies = flagged(TAKES) ? flagged(ALONE) : flagged(AFTER_DEATH);
    if (dies) {
        stage_run_and_die(send_all);
    } else if (flagged(TAKES | IDLE) || stage.pending || flagged(AFTER_CLOSE)) {
        open_producer();
        send_pending(&ends.producer);
        if (flagged(TAKES | IDLE))
            has_producer = true;
        else
            WANT_SAME(ring_spsc_close_producer(&ends.producer), 0);
    }
}

static void build_consumer(void)
{
    if (flagged(TAKES) ? flagged(AFTER_DEATH) : flagged(ALONE)) {
        stage.dead_took = stage.pending < 2 ? stage.pending : 2;
        stage_run_and_die(take_some);
    } else if (!flagged(TAKES)) {
        open_consumer();
        has_consumer = true;
    } else if (flagged(AFTER_CLOSE)) {
        open_consumer();
        WANT_SAME(ring_spsc_close_consumer(&ends.consumer), 0);
    }
}

/* A consumer that died may have seen what lies before its published position plus publish_bytes: so many messages. */
static unsigned limit_of_flags(void)
{
    const struct row *row = stage.row;
    if (!flagged(TAKES) && !flagged(ALONE))
        return 0;
    unsigned group = flagged(PACKED) && stage.size <= 256 ? 5 : 1;
    unsigned bytes = group > 1 ? 8 + group * (unsigned)stage.size : stride();
    unsigned window = (flagged(EACH) ? 1 : (flagged(GROWN) ? 2 : 1) * CAPACITY / 8 / bytes + 1) * group + group;
    return stage.dead_took + (flagged(TAKES) ? row->warm + row->count : 0) + window;
}

/* A lap of messages that are gone: what lies in the ring is not zero, but words and payloads of old. */
static void run_a_lap(void)
{
    unsigned char message[56];
    open_producer();
    open_consumer();
    for (unsigned i = 0; i < CAPACITY / 64; i++) {
        message_write(message, sizeof message, NUMBERS + i);
        WANT_SAME(ring_spsc_send(&ends.producer, message, sizeof message, RING_NO_WAIT), 0);
        WANT_SAME(ring_spsc_recv(&ends.consumer, message, sizeof message, RING_NO_WAIT), sizeof message);
    }
    WANT_SAME(ring_spsc_close_producer(&ends.producer), 0);
    WANT_SAME(ring_spsc_close_consumer(&ends.consumer), 0);
}

static void build(void)
{
    bool fresh = flagged(IN_FLUX) && !flagged(AFTER_CLOSE | AFTER_DEATH);
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = CAPACITY;
    options.publish_bytes = flagged(EACH) ? 1 : 0;
    options.start_position = choose_filling() - (fresh ? 0 : CAPACITY);
    WANT_SAME(ring_spsc_create_with(stage.segment, "ring", &options), 0);
    if (!fresh)
        run_a_lap();
    build_producer();
    build_consumer();
    stage.flag_limit = limit_of_flags();
    if (flagged(PEER_ASLEEP) && has_consumer)
        ring_atomic_store(&ends.consumer.control->consumer_asleep, 1, memory_order_relaxed);
    if (flagged(PEER_ASLEEP) && has_producer)
        ring_atomic_store(&ends.producer.control->producer_asleep, 1, memory_order_relaxed);
}

/* A consumer that lives may have gone on to a larger ring: it gets the lock of its role in the first one again. What it
 * wrote down there is among the bytes that were put back. */
static void go_back(void)
{
    struct ring_segment *segment = stage.segment;
    struct ring_claim *claim;
    ring_claim_drop(ends.consumer.claim);
    WANT_SAME(ring_claim_share(&claim, &segment->witness, RING_LOCK_PRESENCE + (int64_t)kept.consumer.entry), 0);
    WANT_SAME(ring_claim_add(claim, &segment->witness, RING_LOCK_ROLES + 2 * (int64_t)kept.consumer.entry + 1), 0);
    ring_claim_seal(claim);
    kept.consumer.claim = claim;
}

static void keep(bool put_back)
{
    if (put_back && has_consumer)
        go_back();
    if (put_back)
        ends = kept;
    else
        kept = ends;
    ledger_begin(true);
}

/* ---- Survivors and successors ---- */

/* Takes all there is; what it ends with. */
static int drain(int64_t timeout_ns)
{
    unsigned char message[MOST];
    for (;;) {
        ssize_t length = ring_spsc_recv(&ends.consumer, message, MOST, timeout_ns);
        if (length < 0)
            return (int)length;
        ledger_arrived(message, (size_t)length, ring_spsc_last_flags(&ends.consumer));
    }
}

/* Sends of our own until `most` are sent or the ring is full; 0 or what the last attempt ended with. */
static int fill(unsigned most, int64_t timeout_ns)
{
    unsigned char message[MOST];
    for (unsigned i = 0; i < most; i++) {
        ledger_send(message);
        int code = ring_spsc_send(&ends.producer, message, stage.size, timeout_ns);
        if (code) {
            ledger.ours--;
            return code;
        }
    }
    return 0;
}

/* The ring goes on: so many messages of several lengths, each checked. */
static void traffic(void)
{
    unsigned char message[MOST];
    uint64_t sent = 0, received = 0;
    while (received < stage.further) {
        while (sent < stage.further) {
            size_t size = 8 + 8 * (sent % 5);
            message_write(message, size, sent);
            int code = ring_spsc_send(&ends.producer, message, size, RING_NO_WAIT);
            if (code == -EAGAIN)
                break;
            WANT_SAME(code, 0);
            sent++;
        }
        for (;; received++) {
            ssize_t length = ring_spsc_recv(&ends.consumer, message, MOST, RING_NO_WAIT);
            if (length == -EAGAIN)
                break;
            WANT_SAME(length, 8 + 8 * (received % 5));
            WANT_SAME(message_read(message, (size_t)length), received);
            WANT_SAME(ring_spsc_last_flags(&ends.consumer), 0);
        }
        WANT_SAME(sent, received);
    }
}

/* The victim was a producer. */
static void recover_producer(unsigned way)
{
    if (!has_consumer)
        open_consumer();
    enum ring_peer peer = ring_spsc_producer_state(&ends.consumer);
    WANT(flagged(IN_FLUX) ? peer != RING_PEER_ALIVE : peer == RING_PEER_DEAD);
    if (way == 0) {
        int end = drain(peer == RING_PEER_NEVER ? RING_NO_WAIT : LONG);
        WANT_SAME(end, peer == RING_PEER_NEVER ? -EAGAIN : peer == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD);
        open_producer();
    } else {
        open_producer();
        WANT_SAME(fill(way == 1 ? NUMBERS : 1, RING_NO_WAIT), way == 1 ? -EAGAIN : 0);
        WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
    }
    ledger_end();
    traffic();
    WANT_SAME(ring_spsc_close_producer(&ends.producer), 0);
    if (!has_consumer)
        WANT_SAME(ring_spsc_close_consumer(&ends.consumer), 0);
}

/* The victim was a consumer. */
static void recover_consumer(unsigned way)
{
    if (!has_producer)
        open_producer();
    enum ring_peer peer = ring_spsc_consumer_state(&ends.producer);
    WANT(flagged(IN_FLUX) ? peer != RING_PEER_ALIVE : peer == RING_PEER_DEAD);
    stage.exact = flagged(EACH) || peer == RING_PEER_CLOSED;
    if (way == 0) { /* the producer finds it full first */
        int end = fill(NUMBERS, peer == RING_PEER_NEVER ? RING_NO_WAIT : LONG);
        WANT_SAME(end, peer == RING_PEER_NEVER ? -EAGAIN : peer == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD);
    }
    open_consumer();
    WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
    ledger_end();
    traffic();
    WANT_SAME(ring_spsc_close_consumer(&ends.consumer), 0);
    if (!has_producer)
        WANT_SAME(ring_spsc_close_producer(&ends.producer), 0);
}

/* The victim was neither. */
static void recover_nobody(void)
{
    WANT_SAME(ring_spsc_producer_state(&ends.consumer), RING_PEER_ALIVE);
    WANT_SAME(ring_spsc_consumer_state(&ends.producer), RING_PEER_ALIVE);
    WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
    ledger_end();
    traffic();
}

static void recover(unsigned way)
{
    stage.exact = flagged(EACH);
    if (flagged(IDLE))
        recover_nobody();
    else if (flagged(TAKES))
        recover_consumer(way);
    else
        recover_producer(way);
}

static void paused(void)
{
    if (flagged(ALONE))
        return;
    if (flagged(IDLE)) {
        WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
        return;
    }
    if (flagged(TAKES)) {
        struct ring_spsc_consumer other;
        int code = fill(3, RING_NO_WAIT);
        WANT(code == 0 || code == -EAGAIN || (flagged(IN_FLUX) && code == -EPIPE));
        if (!flagged(IN_FLUX))
            WANT_SAME(ring_spsc_open_consumer(&other, stage.segment, "ring", RING_NO_WAIT), -EBUSY);
        return;
    }
    struct ring_spsc_producer other;
    int code = drain(RING_NO_WAIT);
    WANT(code == -EAGAIN || (flagged(IN_FLUX) && code == -EPIPE));
    if (flagged(IN_FLUX))
        return;
    WANT_SAME(drain(100000), -ETIMEDOUT);
    WANT_SAME(ring_spsc_producer_state(&ends.consumer), RING_PEER_ALIVE);
    WANT_SAME(ring_spsc_open_producer(&other, stage.segment, "ring", RING_NO_WAIT), -EBUSY);
}

const struct topology spsc_topology = {
    .bytes = 64 << 10,
    .build = build,
    .keep = keep,
    .paused = paused,
    .recover = recover,
    .ways = 2,
};
