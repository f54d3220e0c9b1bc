/* broadcast_stage.c - a broadcast ring with its survivors, and what they do after a death.
 *
 * A consumer survives that has been there from the beginning, so it must see every message once, whoever dies; and the
 * producer, unless it is the victim. A dead consumer must hold back nobody. */
#include "broadcast_stage.h"

enum { SLOTS = 16, MOST = 512, SEATS = 4, SHORT = 100000 };

static struct ends {
    struct ring_broadcast_producer producer;
    struct ring_broadcast_consumer consumer;
} ends, kept;
static bool has_producer, has_consumer; /* survivors */

static bool flagged(unsigned flag)
{
    return (stage.row->flags & flag) != 0;
}

/* ---- The base ---- */

static uint64_t choose_filling(void)
{
    unsigned own = stage.row->count + stage.row->warm;
    unsigned most = SLOTS - (flagged(TAKES) ? 2 : own); /* overwriting: what a successor sends at once must fit, too */
    if (!flagged(LOSSLESS))
        most = SLOTS - own - 4;
    switch (stage.filling) {
    case HALF:
        stage.pending = SLOTS / 2 < most ? SLOTS / 2 : most;
        return (UINT64_C(1) << 36) * SLOTS - 4; /* the lap in a word comes round */
    case NEARLY_FULL:
        stage.pending = most;
        return UINT64_MAX - 6;
    case FULL:
        stage.pending = SLOTS;
        return 0;
    case WRAP:
        stage.pending = flagged(TAKES) ? own + 2 : 3;
        return (UINT64_C(1) << 32) - SLOTS - stage.pending - stage.row->warm - 1;
    case EMPTY:
    case FILLINGS:
    default:
        stage.pending = flagged(TAKES) ? stage.row->warm : 0;
        return 0;
    }
}

static void open_producer(void)
{
    WANT_SAME(ring_broadcast_open_producer(&ends.producer, stage.segment, "ring", RING_NO_WAIT), 0);
}

static void open_consumer(void)
{
    WANT_SAME(
        ring_broadcast_open_consumer(&ends.consumer, stage.segment, "ring", RING_BROADCAST_OLDEST, 0, RING_NO_WAIT), 0);
}

static void send_number(uint64_t number)
{
    unsigned char message[MOST];
    message_write(message, stage.size, number);
    WANT_SAME(ring_broadcast_send(&ends.producer, message, stage.size, RING_NO_WAIT), 0);
}

/* A lap that has been seen already, so that what comes now overwrites. */
static void send_a_lap(void)
{
    unsigned char message[MOST];
    for (unsigned i = 0; i < SLOTS; i++) {
        send_number(NUMBERS + i);
        WANT_SAME(ring_broadcast_recv(&ends.consumer, message, MOST, RING_NO_WAIT), stage.size);
    }
}

/* In a child that dies afterwards. */
static void send_and_die(void)
{
    WANT_SAME(ring_broadcast_open_producer(&ends.producer, stage_attach(), "ring", RING_NO_WAIT), 0);
    for (unsigned i = 0; i < stage.pending; i++)
        send_number(i);
}

static void build_ends(void)
{
    has_producer = flagged(TAKES | IDLE);
    has_consumer = !flagged(ALONE);
    if (has_consumer)
        open_consumer();
    if (flagged(AFTER_DEATH)) {
        stage_run_and_die(send_and_die);
        return;
    }
    open_producer();
    if (stage.filling == WRAP && has_consumer)
        send_a_lap();
    for (unsigned i = 0; i < stage.pending; i++)
        send_number(i);
    if (!has_producer)
        WANT_SAME(ring_broadcast_close_producer(&ends.producer), 0);
}

static void build(void)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = SLOTS;
    options.slot_bytes = stage.size + 40;
    options.seats = SEATS;
    options.policy = flagged(LOSSLESS) ? RING_BROADCAST_LOSSLESS : RING_BROADCAST_OVERWRITE;
    options.start_position = choose_filling();
    WANT_SAME(ring_broadcast_create_with(stage.segment, "ring", &options), 0);
    build_ends();
    if (!flagged(PEER_ASLEEP))
        return;
    if (has_consumer) {
        ring_atomic_store(&ends.consumer.control->consumers_asleep, 1, memory_order_relaxed);
        ring_atomic_store(&ends.consumer.seat->asleep, 1, memory_order_relaxed);
    }
    if (has_producer)
        ring_atomic_store(&ends.producer.control->producer_asleep, 1, memory_order_relaxed);
}

static void keep(bool put_back)
{
    if (put_back)
        ends = kept;
    else
        kept = ends;
    ledger_begin(true);
    ledger.all_see = true;
}

/* ---- Survivors and successors ---- */

static int drain(int64_t timeout_ns)
{
    unsigned char message[MOST];
    for (;;) {
        ssize_t length = ring_broadcast_recv(&ends.consumer, message, MOST, timeout_ns);
        if (length < 0)
            return (int)length;
        ledger_arrived(message, (size_t)length, 0);
    }
}

static int fill(unsigned most, int64_t timeout_ns)
{
    unsigned char message[MOST];
    for (unsigned i = 0; i < most; i++) {
        ledger_send(message);
        int code = ring_broadcast_send(&ends.producer, message, stage.size, timeout_ns);
        if (code) {
            ledger.ours--;
            return code;
        }
    }
    return 0;
}

static void traffic(void)
{
    unsigned char message[MOST];
    uint64_t sent = 0, received = 0;
    while (received < stage.further) {
        for (int i = 0; i < SLOTS / 2; i++, sent++) {
            message_write(message, 8 + 8 * (sent % 5), sent);
            WANT_SAME(ring_broadcast_send(&ends.producer, message, 8 + 8 * (sent % 5), LONG), 0);
        }
        for (; received < sent; received++) {
            WANT_SAME(ring_broadcast_recv(&ends.consumer, message, MOST, RING_NO_WAIT), 8 + 8 * (received % 5));
            WANT_SAME(message_read(message, 8 + 8 * (received % 5)), received);
        }
    }
}

/* Somebody who comes late sees whole messages only. */
static void look_in(void)
{
    struct ring_broadcast_consumer late;
    unsigned char message[MOST];
    ssize_t length;
    int code = ring_broadcast_open_consumer(&late, stage.segment, "ring", RING_BROADCAST_OLDEST, 0, RING_NO_WAIT);
    WANT_SAME(code, 0);
    while ((length = ring_broadcast_recv(&late, message, MOST, RING_NO_WAIT)) >= 0) {
        WANT_SAME(length, stage.size);
        if (message_read(message, stage.size) < 0)
            crash_fail("who joins late receives a torn message");
    }
    WANT(length == -EAGAIN || length == -EPIPE);
    WANT_SAME(ring_broadcast_close_consumer(&late), 0);
}

static void recover_producer(unsigned way)
{
    if (way == 2)
        look_in();
    if (!has_consumer)
        open_consumer();
    enum ring_peer peer = ring_broadcast_producer_state(&ends.consumer);
    WANT(flagged(IN_FLUX) ? peer != RING_PEER_ALIVE : peer == RING_PEER_DEAD);
    if (way == 0 && peer != RING_PEER_NEVER)
        WANT_SAME(drain(LONG), peer == RING_PEER_CLOSED ? -EPIPE : -EOWNERDEAD);
    open_producer();
    int code = fill(2, RING_NO_WAIT);
    WANT(code == 0 || (flagged(LOSSLESS) && code == -EAGAIN));
    WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
    ledger_end();
    traffic();
    WANT_SAME(ring_broadcast_close_producer(&ends.producer), 0);
    if (!has_consumer)
        WANT_SAME(ring_broadcast_close_consumer(&ends.consumer), 0);
}

/* The dead consumer holds back nobody, and its seat is used again. */
static void recover_consumer(unsigned way)
{
    struct ring_broadcast_consumer others[SEATS - 1];
    int code = fill(2, RING_NO_WAIT);
    WANT(code == 0 || (flagged(LOSSLESS) && code == -EAGAIN));
    if (way == 2)
        for (int i = 0; i < SEATS - 1; i++)
            WANT_SAME(
                ring_broadcast_open_consumer(&others[i], stage.segment, "ring", RING_BROADCAST_NEWEST, 0, RING_NO_WAIT),
                0);
    WANT_SAME(drain(way == 0 ? SHORT : RING_NO_WAIT), way == 0 ? -ETIMEDOUT : -EAGAIN);
    for (int i = 0; way == 2 && i < SEATS - 1; i++)
        WANT_SAME(ring_broadcast_close_consumer(&others[i]), 0);
    ledger_end();
    traffic();
}

/* The victim was neither. */
static void recover_nobody(void)
{
    WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
    ledger_end();
    traffic();
}

static void recover(unsigned way)
{
    if (flagged(IDLE))
        recover_nobody();
    else if (flagged(TAKES))
        recover_consumer(way);
    else
        recover_producer(way);
}

static void paused(void)
{
    struct ring_broadcast_producer other;
    if (flagged(ALONE))
        return;
    if (flagged(TAKES | IDLE)) {
        int code = fill(1, RING_NO_WAIT);
        WANT(code == 0 || code == -EAGAIN);
        WANT_SAME(drain(RING_NO_WAIT), -EAGAIN);
        return;
    }
    int code = drain(RING_NO_WAIT);
    WANT(code == -EAGAIN || (flagged(IN_FLUX) && code == -EPIPE));
    if (flagged(IN_FLUX))
        return;
    WANT_SAME(drain(SHORT), -ETIMEDOUT);
    WANT_SAME(ring_broadcast_open_producer(&other, stage.segment, "ring", RING_NO_WAIT), -EBUSY);
}

const struct topology broadcast_topology = {
    .bytes = 64 << 10,
    .build = build,
    .keep = keep,
    .paused = paused,
    .recover = recover,
    .ways = 3,
};
