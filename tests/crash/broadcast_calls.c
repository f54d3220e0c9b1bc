/* broadcast_calls.c - the calls of the broadcast ring to be killed in. */
#include "broadcast_stage.h"

#define TOPOLOGY              broadcast
#define OPEN_CONSUMER(at, in) ring_broadcast_open_consumer(at, in, "ring", RING_BROADCAST_OLDEST, 0, RING_NO_WAIT)
#define LAST_FLAGS(at)        0
#define ARRAY_FLAGS(at)       0
#include "calls.h"

/* ---- Those who only look: the segment is mapped read-only, so that a store of theirs would end them ---- */

static void attach_read_only(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = RING_READ_ONLY;
    WANT_SAME(ring_segment_attach(&segment, stage.name, &options, RING_NO_WAIT), 0);
}

static void open_observer(void)
{
    stage_account()->code =
        ring_broadcast_open_observer(&consumer, segment, "ring", RING_BROADCAST_OLDEST, 0, RING_NO_WAIT);
}

static void observe_and_recv(void)
{
    attach_read_only();
    open_observer();
    for (unsigned i = 0; i < stage.row->warm; i++)
        recv_one();
    WANT_SAME(stage_account()->code, 0);
}

static void look_at_ring_and_seats(void)
{
    struct ring_broadcast_seat_info info = { .struct_size = sizeof info };
    look_at_ring();
    if (stage_account()->code == 0)
        stage_account()->code = ring_broadcast_seat_info(segment, "ring", 0, &info);
}

/* ---- The table ---- */

#define USUAL     (IN(HALF) | IN(NEARLY_FULL) | IN(WRAP))
#define SENDING   (USUAL | IN(EMPTY))
#define BROADCAST .topology = &broadcast_topology
#define SEND      BROADCAST, .prepare = open_and_send
#define RECV      BROADCAST, .prepare = open_and_recv
#define LOOK      BROADCAST, .prepare = observe_and_recv

const struct row broadcast_rows[] = {
    { "broadcast send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = SENDING, .count = 1, .warm = 1,
      .detail = "overwriting" },
    { "broadcast send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = SENDING, .count = 1, .warm = 1,
      .flags = LOSSLESS, .detail = "lossless" },
    { "broadcast send", SEND, .act = send_one, .sizes = 9, .fillings = SENDING, .count = 1,
      .flags = LOSSLESS | PEER_ASLEEP, .detail = "wakes" },
    { "broadcast send", SEND, .act = send_one, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -EAGAIN,
      .flags = LOSSLESS, .detail = "refused" },
    { "broadcast send", SEND, .act = send_in_vain, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -ETIMEDOUT,
      .flags = LOSSLESS, .detail = "waits in vain" },
    { "broadcast send", SEND, .act = send_waiting, .sizes = SMALL, .fillings = IN(FULL), .count = 1,
      .flags = LOSSLESS | TIMED, .detail = "waits" },
    { "broadcast send", SEND, .act = send_one, .sizes = 9, .fillings = IN(EMPTY) | IN(HALF), .count = 1, .flags = ALONE,
      .detail = "nobody listens" },
    { "broadcast reserve, commit", SEND, .act = reserve_and_commit, .sizes = 9, .fillings = SENDING, .count = 1,
      .warm = 1 },
    { "broadcast reserve, commit", SEND, .act = reserve_and_commit, .sizes = 9, .fillings = SENDING, .count = 1,
      .warm = 1, .flags = LOSSLESS, .detail = "lossless" },
    { "broadcast reserve, cancel", SEND, .act = reserve_and_cancel, .sizes = SMALL,
      .fillings = SENDING & ~IN(NEARLY_FULL) },
    { "broadcast send_batch", SEND, .act = send_batch, .sizes = 9, .fillings = SENDING, .count = 5, .warm = 1,
      .code = 5, .flags = LOSSLESS, .detail = "lossless" },
    { "broadcast send_array", SEND, .act = send_array, .sizes = 9, .fillings = SENDING, .count = 5, .warm = 1,
      .code = 5, .detail = "overwriting" },
    { "broadcast recv", RECV, .act = recv_one, .sizes = 9, .fillings = USUAL, .count = 1, .warm = 2, .flags = TAKES,
      .detail = "overwriting" },
    { "broadcast recv", RECV, .act = recv_one, .sizes = 9, .fillings = USUAL, .count = 1, .warm = 2,
      .flags = TAKES | LOSSLESS | PEER_ASLEEP, .detail = "lossless, wakes" },
    { "broadcast recv", RECV, .act = recv_one, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 2,
      .code = -EAGAIN, .flags = TAKES | LOSSLESS, .detail = "finds nothing" },
    { "broadcast recv", RECV, .act = recv_in_vain, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .code = -ETIMEDOUT, .flags = TAKES | LOSSLESS, .detail = "waits in vain" },
    { "broadcast recv", RECV, .act = recv_waiting, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .flags = TAKES | LOSSLESS | TIMED, .detail = "waits" },
    { "broadcast peek, release", RECV, .act = peek_and_release, .sizes = 9, .fillings = USUAL, .count = 1, .warm = 1,
      .flags = TAKES | LOSSLESS },
    { "broadcast peek_batch", RECV, .act = peek_batch_and_release, .sizes = SMALL, .fillings = USUAL, .count = 4,
      .warm = 1, .code = 4, .flags = TAKES | LOSSLESS },
    { "broadcast recv_array", RECV, .act = recv_array, .sizes = SMALL, .fillings = USUAL, .count = 4, .warm = 1,
      .code = 4, .flags = TAKES | LOSSLESS },
    { "broadcast observer", LOOK, .act = recv_one, .sizes = 9, .fillings = USUAL, .count = 1, .warm = 1, .flags = TAKES,
      .detail = "recv" },
    { "broadcast observer", LOOK, .act = recv_one, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .code = -EAGAIN, .flags = TAKES | LOSSLESS, .detail = "recv, finds nothing" },
    { "broadcast observer", LOOK, .act = recv_in_vain, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .code = -ETIMEDOUT, .flags = TAKES, .detail = "recv, waits in vain" },
    { "broadcast observer", LOOK, .act = peek_and_release, .sizes = SMALL, .fillings = USUAL, .count = 1, .warm = 1,
      .flags = TAKES, .detail = "peek, release" },
    { "broadcast observer", LOOK, .act = recv_array, .sizes = SMALL, .fillings = USUAL, .count = 4, .code = 4,
      .flags = TAKES | LOSSLESS, .detail = "recv_array" },
    { "broadcast observer", LOOK, .act = close_consumer, .sizes = SMALL, .fillings = IN(HALF), .warm = 3,
      .flags = TAKES | LOSSLESS, .detail = "closes" },
    { "broadcast observer", BROADCAST, .prepare = attach_read_only, .act = open_observer, .sizes = SMALL,
      .fillings = IN(HALF) | IN(WRAP), .flags = TAKES, .detail = "opens" },
    { "broadcast info", BROADCAST, .prepare = attach_read_only, .act = look_at_ring_and_seats, .sizes = SMALL,
      .fillings = IN(EMPTY) | IN(HALF) | IN(WRAP), .flags = IDLE | LOSSLESS },
    { "broadcast open_producer", BROADCAST, .prepare = attach, .act = open_producer, .sizes = SMALL,
      .fillings = IN(HALF), .flags = IN_FLUX | AFTER_DEATH | LOSSLESS, .detail = "after one that died" },
    { "broadcast open_producer", BROADCAST, .prepare = attach, .act = open_producer, .sizes = SMALL,
      .fillings = IN(WRAP), .flags = IN_FLUX, .detail = "after one that closed" },
    { "broadcast open_consumer", BROADCAST, .prepare = attach, .act = open_consumer, .sizes = SMALL,
      .fillings = IN(HALF) | IN(WRAP), .flags = TAKES | IN_FLUX | LOSSLESS, .detail = "lossless" },
    { "broadcast close_producer", SEND, .act = reserve_and_close, .sizes = SMALL, .fillings = IN(HALF) | IN(WRAP),
      .warm = 1, .flags = IN_FLUX | LOSSLESS | PEER_ASLEEP, .detail = "with a reservation" },
    { "broadcast close_consumer", RECV, .act = close_consumer, .sizes = SMALL, .fillings = IN(HALF), .warm = 3,
      .flags = TAKES | IN_FLUX | LOSSLESS },
};
const size_t broadcast_row_count = sizeof broadcast_rows / sizeof broadcast_rows[0];
