/* spsc_calls.c - the calls of the SPSC ring to be killed in. */
#include "spsc_stage.h"

#define TOPOLOGY              spsc
#define OPEN_CONSUMER(at, in) ring_spsc_open_consumer(at, in, "ring", RING_NO_WAIT)
#define LAST_FLAGS(at)        ring_spsc_last_flags(at)
#define ARRAY_FLAGS(at)       0
#include "calls.h"

ACT grow(void)
{
    stage_account()->code = ring_spsc_grow(&producer, NULL);
}

ACT grow_unattended(void)
{
    stage_account()->code = ring_spsc_grow_unattended(segment, "ring", NULL);
}

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
    { "spsc send", SEND, .act = send_in_vain, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -ETIMEDOUT,
      .detail = "waits in vain" },
    { "spsc send", SEND, .act = send_waiting, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .flags = TIMED,
      .detail = "waits" },
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
    { "spsc recv", RECV, .act = recv_in_vain, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .code = -ETIMEDOUT, .flags = TAKES, .detail = "waits in vain" },
    { "spsc recv", RECV, .act = recv_waiting, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .warm = 1,
      .flags = TAKES | TIMED, .detail = "waits" },
    { "spsc recv", RECV, .act = recv_one, .sizes = 9, .fillings = IN(HALF), .count = 1, .warm = 1,
      .flags = TAKES | GROWN, .detail = "follows to a larger ring" },
    { "spsc recv", RECV, .act = recv_one, .sizes = SMALL, .fillings = IN(HALF), .count = 1, .warm = 1,
      .flags = TAKES | GROWN | RESERVE, .detail = "follows to a larger ring in the reserve" },
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
    { "spsc info", SPSC, .prepare = attach, .act = look_at_ring, .sizes = SMALL,
      .fillings = IN(EMPTY) | IN(HALF) | IN(WRAP), .flags = IDLE },
    { "spsc grow", SEND, .act = grow, .sizes = SMALL, .fillings = IN(EMPTY) | IN(HALF) | IN(FULL), .warm = 1 },
    { "spsc grow", SEND, .act = grow, .sizes = SMALL, .fillings = IN(EMPTY), .warm = 1, .flags = PEER_ASLEEP,
      .detail = "wakes the consumer" },
    { "spsc grow", SEND, .act = grow, .sizes = SMALL, .fillings = IN(HALF), .warm = 1, .flags = RESERVE,
      .detail = "into the reserve" },
    { "spsc grow", SEND, .act = grow, .sizes = SMALL, .fillings = IN(EMPTY) | IN(HALF), .warm = 1, .flags = ALONE,
      .detail = "both sides die" },
    { "spsc grow", SEND, .act = grow, .sizes = 2, .fillings = IN(HALF), .first = grow, .first_prepare = open_and_send,
      .detail = "after one that died at that" },
    { "spsc grow_unattended", SPSC, .prepare = attach, .act = grow_unattended, .sizes = SMALL, .fillings = IN(EMPTY),
      .flags = IN_FLUX, .detail = "before the first producer" },
    { "spsc grow_unattended", SPSC, .prepare = attach, .act = grow_unattended, .sizes = SMALL, .fillings = IN(HALF),
      .flags = IN_FLUX | AFTER_CLOSE, .detail = "after one that closed" },
    { "spsc grow_unattended", SPSC, .prepare = attach, .act = grow_unattended, .sizes = SMALL, .fillings = IN(WRAP),
      .flags = IN_FLUX | AFTER_DEATH, .detail = "after one that died" },
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
