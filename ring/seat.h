/* seat.h - level 5, private: places of participants in a ring, with the proof of life of whoever holds one.
 *
 * A seat is a lock byte (liveness.h) and a record in the ring. The lock decides; the record tells how the last holder
 * went: CLOSED in good order, or ATTACHED, which with a free lock means death. Order when taking: lock, then ATTACHED;
 * when leaving: CLOSED, then unlock; so ATTACHED with a free lock is never seen of the living.
 *
 * The lock is added to the claim with which its holder entered the ring (ring_directory_enter), and goes with it. So as
 * long as a seat is held nobody can free the ring; and whoever leaves drops the claim last, after its last touch.
 */
#ifndef RING_SEAT_H
#define RING_SEAT_H

#include <stdbool.h>

#include <ring/layout.h>
#include <ring/message.h>
#include <ring/segment_private.h>

/* Where a seat is: cheap to make anew whenever it is needed. */
struct ring_seat {
    struct ring_segment *segment;
    struct ring_layout_role *record;
    int64_t lock; /* its lock byte */
};

/* Seats of equal rank: record i is `stride` bytes behind record i - 1, its lock byte one behind. */
struct ring_seat_row {
    struct ring_seat first;
    size_t stride;
    unsigned count;
};

RING_INLINE struct ring_seat ring_seat_of_row(const struct ring_seat_row *row, unsigned index)
{
    struct ring_seat seat = row->first;
    seat.record = (struct ring_layout_role *)(void *)((unsigned char *)seat.record + index * row->stride);
    seat.lock += index;
    return seat;
}

/* Adds the lock to the claim and says so in the record; *died tells that the predecessor did. `barrier`: this process
 * is registered for expedited membarrier. -EBUSY: a living process (or another handle of this one) holds it; the claim
 * stays as it was. -ESTALE: its last holder moved on, it is never held again; of no further use but to be dropped. */
RING_PRIVATE int ring_seat_take(const struct ring_seat *seat, bool barrier, struct ring_claim *claim, bool *died);

/* Takes a free seat of the row: one that a dead participant left (of a long row only some are asked about), else one
 * never used or left in good order, else any whose holder is found dead. -EUSERS: all are held by the living. -EUCLEAN:
 * its record is damaged. */
RING_PRIVATE int ring_seat_take_any(const struct ring_seat_row *row, bool barrier, unsigned *index,
                                    struct ring_claim *claim, bool *died);

/* L5: raises the number of seats ever used, so that `index` is among them. -EUCLEAN: others lower it all the time. */
RING_PRIVATE int ring_seat_reach(RING_ATOMIC(uint32_t) * reached, unsigned index);

/* The reverse. `as_died`: we only looked in; the predecessor's death stands. The caller wakes whoever waits for us, and
 * then, last of all, drops the claim. */
RING_PRIVATE void ring_seat_leave(const struct ring_seat *seat, bool as_died);

/* The reverse for one who was the first to hold it and did nothing there: as if nobody had. */
RING_PRIVATE void ring_seat_forget(const struct ring_seat *seat);

/* Leaves for good, without a successor here. */
RING_PRIVATE void ring_seat_move(const struct ring_seat *seat);
RING_PRIVATE bool ring_seat_has_moved(const struct ring_layout_role *record);

/* What became of the holder. One or two loads, and a probe when it seems attached. */
RING_PRIVATE enum ring_peer ring_seat_state(const struct ring_seat *seat);

/* True once the holder left in good order: one load, no system call. */
RING_PRIVATE bool ring_seat_is_closed(const struct ring_layout_role *record);

/* How often it was taken, those not counted that were forgotten. */
RING_PRIVATE uint64_t ring_seat_tenures(const struct ring_seat *seat);

/* L3: true while it is held from a process that membarrier does not reach. */
RING_PRIVATE bool ring_seat_is_blind(const struct ring_layout_role *record);

/* For people to read; `asleep` is the caller's to fill in. */
RING_PRIVATE void ring_seat_describe(const struct ring_seat *seat, struct ring_side *side);

#endif
