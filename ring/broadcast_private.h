/* broadcast_private.h - level 6, private: what the files of the broadcast ring share. */
#ifndef RING_BROADCAST_PRIVATE_H
#define RING_BROADCAST_PRIVATE_H

#include <ring/broadcast.h>
#include <ring/seat.h>
#include <ring/segment_private.h>

/* A ring as this process may use it: constants copied once and checked against the directory's entry. */
struct ring_broadcast_found {
    struct ring_layout_broadcast *control;
    unsigned char *seats; /* struct ring_layout_broadcast_seat [seat_count] */
    unsigned char *data;  /* first slot */
    uint64_t slots;
    uint64_t slot_bytes;
    uint64_t stride;
    uint64_t start_position;
    enum ring_broadcast_policy policy;
    unsigned seat_count;
    unsigned lap_shift;
    unsigned entry;
};

/* Finds a ring, enters it (allocator.h) and checks its control page: -ENOENT, -EINVAL, -EUCLEAN. */
RING_PRIVATE int ring_broadcast_enter(struct ring_segment *segment, const char *ring,
                                      struct ring_broadcast_found *found, struct ring_claim **claim);

/* The same, waiting for it to appear: -ETIMEDOUT. */
RING_PRIVATE int ring_broadcast_enter_in_time(struct ring_segment *segment, const char *ring,
                                              struct ring_broadcast_found *found, struct ring_claim **claim,
                                              int64_t timeout_ns);

RING_INLINE struct ring_layout_broadcast_seat *ring_broadcast_seat_at(unsigned char *seats, unsigned index)
{
    return (struct ring_layout_broadcast_seat *)(void *)seats + index;
}

RING_PRIVATE struct ring_seat ring_broadcast_producer_seat(struct ring_segment *segment,
                                                           struct ring_layout_broadcast *control, unsigned entry);
RING_PRIVATE struct ring_seat ring_broadcast_consumer_seat(struct ring_segment *segment, unsigned char *seats,
                                                           unsigned entry, unsigned index);

/* Seats taken at some time: no need to look at others. Never more than our own copy of the count. */
RING_PRIVATE unsigned ring_broadcast_seats_used(struct ring_layout_broadcast *control, unsigned seat_count);

/* What a slot's word means to somebody who wants the message whose sound word is `ready` plus a length: 0 it is there,
 * -EAGAIN not yet, -EOVERFLOW it was overwritten, -EUCLEAN no correct producer writes this. */
RING_PRIVATE int ring_broadcast_judge(uint64_t word, uint64_t ready, uint64_t slot_bytes);

/* The same for whoever wants the message at `position`. */
RING_PRIVATE int ring_broadcast_judge_at(const struct ring_broadcast_found *found, uint64_t position);

/* The position of the next message to be sent, or one that was that during this call; -EUCLEAN in *code. */
RING_PRIVATE uint64_t ring_broadcast_find_tail(const struct ring_broadcast_found *found, int *code);

/* The oldest message that somebody who joins at `tail` or before can count on. */
RING_PRIVATE uint64_t ring_broadcast_find_oldest(const struct ring_broadcast_found *found, uint64_t tail);

/* 0: the slot at the producer's position may be written, and is marked; else -errno. Stays inside the guard. */
RING_PRIVATE int ring_broadcast_find_room(struct ring_broadcast_producer *producer, int64_t timeout_ns);

/* How the two sides look while they wait. */
RING_PRIVATE extern const struct ring_wait_looks ring_broadcast_producer_looks;
RING_PRIVATE extern const struct ring_wait_looks ring_broadcast_consumer_looks;

/* Points the hot path at a private zero, while the slow one must see every call. */
RING_PRIVATE void ring_broadcast_hide(struct ring_broadcast_consumer *consumer);

#endif
