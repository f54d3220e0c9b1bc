/* mpmc_calls.c - the calls of the MPMC ring to be killed in; and those who mend, killed while they mend. */
#include "mpmc_stage.h"

#define TOPOLOGY              mpmc
#define OPEN_CONSUMER(at, in) ring_mpmc_open_consumer(at, in, "ring", RING_NO_WAIT)
#define LAST_FLAGS(at)        ring_mpmc_last_flags(at)
#define ARRAY_FLAGS(at)       ring_mpmc_last_flags(at)
#include "calls.h"

/* ---- Menders ---- */

static void recover_segment(void)
{
    stage_account()->code = ring_segment_recover(segment, NULL);
}

/* The first call of these searches for what the dead left; else they would do so after spinning in vain. */
static void open_and_search(void)
{
    if (stage.row->flags & TAKES) {
        open_and_recv();
        consumer.end.search = true;
    } else {
        open_and_send();
        producer.end.search = true;
    }
}

static void look_at_ring_and_seats(void)
{
    struct ring_mpmc_seat_info info = { .struct_size = sizeof info };
    look_at_ring();
    if (stage_account()->code == 0)
        stage_account()->code = ring_mpmc_seat_info(segment, "ring", 0, &info);
}

/* What a mender gets depends on the state that the dead one left. */
static void recv_and_mend(void)
{
    recv_one();
    stage_account()->code = 0;
}

static void send_and_mend(void)
{
    send_one();
    stage_account()->code = 0;
}

/* ---- The table ---- */

#define USUAL   (IN(HALF) | IN(NEARLY_FULL) | IN(WRAP))
#define SENDING (USUAL | IN(EMPTY))
#define TAKING  (USUAL | IN(FULL))
#define MPMC    .topology = &mpmc_topology
#define SEND    MPMC, .prepare = open_and_send
#define RECV    MPMC, .prepare = open_and_recv

const struct row mpmc_rows[] = {
    { "mpmc send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = SENDING, .count = 1, .warm = 2 },
    { "mpmc send", SEND, .act = send_one, .sizes = ALL_SIZES, .fillings = SENDING, .count = 1, .warm = 2, .flags = SOLE,
      .detail = "sole" },
    { "mpmc send", SEND, .act = send_one, .sizes = SMALL, .fillings = SENDING, .count = 1, .warm = 1,
      .flags = NO_SOLE | PEER_ASLEEP, .detail = "wakes" },
    { "mpmc send", SEND, .act = send_one, .sizes = 9, .fillings = SENDING, .count = 1, .flags = SOLE | ALONE,
      .detail = "everybody dies" },
    { "mpmc send", SEND, .act = send_one, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -EAGAIN,
      .detail = "refused" },
    { "mpmc send", SEND, .act = send_in_vain, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -ETIMEDOUT,
      .detail = "waits in vain" },
    { "mpmc send", SEND, .act = send_in_vain, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .code = -ETIMEDOUT,
      .flags = SOLE, .detail = "waits in vain, sole" },
    { "mpmc send", SEND, .act = send_waiting, .sizes = SMALL, .fillings = IN(FULL), .count = 1, .flags = TIMED,
      .detail = "waits" },
    { "mpmc send", SEND, .act = send_one, .rival = send_one, .rival_prepare = open_and_send, .sizes = SMALL,
      .fillings = SENDING & ~IN(NEARLY_FULL), .count = 1, .warm = 1, .detail = "beside a rival" },
    { "mpmc reserve, commit", SEND, .act = reserve_and_commit, .sizes = 9, .fillings = SENDING, .count = 1, .warm = 1 },
    { "mpmc reserve, commit", SEND, .act = reserve_and_commit, .sizes = 9, .fillings = SENDING, .count = 1, .warm = 1,
      .flags = SOLE, .detail = "sole" },
    { "mpmc reserve, cancel", SEND, .act = reserve_and_cancel, .sizes = SMALL, .fillings = SENDING & ~IN(NEARLY_FULL) },
    { "mpmc reserve, cancel", SEND, .act = reserve_and_cancel, .sizes = SMALL, .fillings = SENDING & ~IN(NEARLY_FULL),
      .flags = SOLE, .detail = "sole" },
    { "mpmc send_batch", SEND, .act = send_batch, .sizes = 9, .fillings = SENDING, .count = 5, .warm = 1, .code = 5 },
    { "mpmc send_array", SEND, .act = send_array, .sizes = 9, .fillings = SENDING, .count = 5, .warm = 1, .code = 5,
      .flags = SOLE, .detail = "sole" },
    { "mpmc recv", RECV, .act = recv_one, .sizes = ALL_SIZES, .fillings = TAKING, .count = 1, .warm = 2,
      .flags = TAKES },
    { "mpmc recv", RECV, .act = recv_one, .sizes = ALL_SIZES, .fillings = TAKING, .count = 1, .warm = 2,
      .flags = TAKES | SOLE, .detail = "sole" },
    { "mpmc recv", RECV, .act = recv_one, .sizes = SMALL, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES | NO_SOLE | PEER_ASLEEP, .detail = "wakes" },
    { "mpmc recv", RECV, .act = recv_one, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES | SOLE | ALONE, .detail = "everybody dies" },
    { "mpmc recv", RECV, .act = recv_one, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .code = -EAGAIN,
      .flags = TAKES, .detail = "finds nothing" },
    { "mpmc recv", RECV, .act = recv_in_vain, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .code = -ETIMEDOUT,
      .flags = TAKES, .detail = "waits in vain" },
    { "mpmc recv", RECV, .act = recv_in_vain, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .code = -ETIMEDOUT,
      .flags = TAKES | SOLE, .detail = "waits in vain, sole" },
    { "mpmc recv", RECV, .act = recv_waiting, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .flags = TAKES | TIMED,
      .detail = "waits" },
    { "mpmc recv", RECV, .act = recv_one, .rival = recv_one, .rival_prepare = open_and_recv, .rival_flags = TAKES,
      .sizes = SMALL, .fillings = IN(HALF) | IN(FULL), .count = 1, .warm = 1, .flags = TAKES,
      .detail = "beside a rival" },
    { "mpmc peek, release", RECV, .act = peek_and_release, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES },
    { "mpmc peek, release", RECV, .act = peek_and_release, .sizes = 9, .fillings = TAKING, .count = 1, .warm = 1,
      .flags = TAKES | SOLE, .detail = "sole" },
    { "mpmc peek_batch", RECV, .act = peek_batch_and_release, .sizes = 9, .fillings = USUAL, .count = 4, .warm = 1,
      .code = 4, .flags = TAKES },
    { "mpmc peek_batch", RECV, .act = peek_batch_and_release, .sizes = 9, .fillings = USUAL, .count = 4, .warm = 1,
      .code = 4, .flags = TAKES | SOLE, .detail = "sole" },
    { "mpmc recv_array", RECV, .act = recv_array, .sizes = 9, .fillings = USUAL, .count = 4, .warm = 1, .code = 4,
      .flags = TAKES },
    { "mpmc info", MPMC, .prepare = attach, .act = look_at_ring_and_seats, .sizes = SMALL,
      .fillings = IN(EMPTY) | IN(HALF) | IN(WRAP), .flags = IDLE },
    { "mpmc open_producer", MPMC, .prepare = attach, .act = open_producer, .sizes = SMALL, .fillings = IN(WRAP),
      .flags = IN_FLUX, .detail = "revokes a sole one" },
    { "mpmc open_producer", MPMC, .prepare = attach, .act = open_producer, .sizes = SMALL, .fillings = IN(HALF),
      .flags = IN_FLUX | SOLE, .detail = "becomes sole" },
    { "mpmc open_consumer", MPMC, .prepare = attach, .act = open_consumer, .sizes = SMALL, .fillings = IN(HALF),
      .flags = TAKES | IN_FLUX, .detail = "revokes a sole one" },
    { "mpmc close_producer", SEND, .act = reserve_and_close, .sizes = SMALL, .fillings = IN(HALF) | IN(WRAP), .warm = 1,
      .flags = IN_FLUX, .detail = "with a reservation" },
    { "mpmc close_producer", SEND, .act = close_producer, .sizes = SMALL, .fillings = IN(HALF), .warm = 1,
      .flags = IN_FLUX | SOLE, .detail = "sole" },
    { "mpmc close_consumer", RECV, .act = close_consumer, .sizes = SMALL, .fillings = IN(HALF), .warm = 1,
      .flags = TAKES | IN_FLUX },
    { "mpmc close_consumer", RECV, .act = peek_and_close, .sizes = SMALL, .fillings = IN(HALF), .count = 4, .warm = 1,
      .flags = TAKES | IN_FLUX | SOLE, .detail = "with peeked messages, sole" },
    { "mpmc recover", MPMC, .first_prepare = open_and_send, .first = send_one, .prepare = attach,
      .act = recover_segment, .sizes = SMALL, .fillings = IN(WRAP), .count = 1, .flags = IDLE,
      .detail = "after a producer" },
    { "mpmc recover", MPMC, .first_prepare = open_and_send, .first = send_one, .prepare = attach,
      .act = recover_segment, .sizes = SMALL, .fillings = IN(WRAP), .count = 1, .flags = IDLE | SOLE,
      .detail = "after a sole producer" },
    { "mpmc recover", MPMC, .first_prepare = open_and_send, .first = send_batch, .prepare = attach,
      .act = recover_segment, .rival_prepare = attach, .rival = recover_segment, .sizes = SMALL, .fillings = IN(HALF),
      .count = 3, .flags = IDLE, .detail = "two at once, after a batch" },
    { "mpmc recover", MPMC, .first_prepare = open_and_recv, .first = recv_one, .first_flags = TAKES, .prepare = attach,
      .act = recover_segment, .rival_prepare = attach, .rival = recover_segment, .sizes = SMALL, .fillings = IN(FULL),
      .count = 1, .flags = IDLE, .detail = "two at once, after a consumer" },
    { "mpmc recover", MPMC, .prepare = open_and_search, .first_prepare = open_and_recv, .first = recv_one,
      .first_flags = TAKES, .act = recv_and_mend, .rival_prepare = open_and_search, .rival = recv_and_mend,
      .rival_flags = TAKES, .sizes = SMALL, .fillings = IN(HALF), .count = 1, .flags = TAKES,
      .detail = "by two consumers, after a consumer" },
    { "mpmc recover", MPMC, .prepare = open_and_search, .first_prepare = open_and_recv, .first = recv_one,
      .first_flags = TAKES, .act = send_and_mend, .sizes = SMALL, .fillings = IN(FULL), .count = 1,
      .detail = "by a producer, after a consumer" },
    { "mpmc recover", MPMC, .first_prepare = open_and_send, .first = send_one, .prepare = open_and_search,
      .act = recv_and_mend, .sizes = SMALL, .fillings = IN(EMPTY), .count = 1, .flags = TAKES,
      .detail = "by a consumer that passes over" },
    { "mpmc recover", MPMC, .first_prepare = open_and_send, .first = send_batch, .prepare = open_and_search,
      .act = recv_and_mend, .sizes = SMALL, .fillings = IN(EMPTY), .count = 3, .flags = TAKES | SOLE,
      .detail = "by a sole consumer that passes over" },
    { "mpmc recover", MPMC, .first_prepare = open_and_send, .first = send_one, .prepare = attach, .act = open_producer,
      .sizes = SMALL, .fillings = IN(HALF), .count = 1, .flags = IN_FLUX, .detail = "by a successor in the seat" },
};
const size_t mpmc_row_count = sizeof mpmc_rows / sizeof mpmc_rows[0];
