/* spsc_private.h - level 6, private: what the files of the SPSC ring share. */
#ifndef RING_SPSC_PRIVATE_H
#define RING_SPSC_PRIVATE_H

#include <ring/seat.h>
#include <ring/segment_private.h>
#include <ring/spsc.h>

enum ring_spsc_role { RING_SPSC_PRODUCER = 0, RING_SPSC_CONSUMER = 1 };

/* Reads and checks the header at `position`: 0, -EAGAIN (nothing yet) or -EUCLEAN (no correct producer writes this). */
RING_PRIVATE int ring_spsc_decode(const unsigned char *data, uint64_t mask, uint64_t max_message, uint64_t position,
                                  struct ring_spsc_record *record);

/* Bytes from one message of a pack to the next. */
RING_INLINE uint64_t ring_spsc_pace(uint32_t length)
{
    return ((uint64_t)length + 7) & ~UINT64_C(7);
}

/* Each generation has at least twice the capacity of the one before, so there are not more than that; a chain that is
 * longer is rubbish. */
#define RING_SPSC_GENERATIONS 32

/* A ring as this process may use it: constants copied once and checked against the directory's entry. */
struct ring_spsc_found {
    struct ring_layout_spsc *control;
    unsigned char *data;
    uint64_t capacity;
    uint64_t max_message;
    uint64_t publish_bytes;
    unsigned entry;
    unsigned generation;
    struct ring_claim *claim; /* presence, and the role once it is taken: whoever has this drops it */
};

/* Finds a ring, enters it (allocator.h) and checks its control page: -ENOENT, -EINVAL, -EUCLEAN. */
RING_PRIVATE int ring_spsc_enter(struct ring_segment *segment, const char *ring, struct ring_spsc_found *found);

/* Walks the records from `from` to the first zero word. -EUCLEAN: they never end, or one is impossible. */
RING_PRIVATE int ring_spsc_walk(const struct ring_spsc_found *found, uint64_t from, uint64_t *end, uint64_t *messages);

/* Makes a ring that is a later generation of another (0, 0: of none); see allocator.h. */
RING_PRIVATE int ring_spsc_make(struct ring_segment *segment, const char *ring, const struct ring_spsc_options *options,
                                unsigned generation, unsigned stem);

RING_PRIVATE struct ring_layout_role *ring_spsc_role_record(struct ring_layout_spsc *control, enum ring_spsc_role role);

/* The seat of a role: its record and its lock byte. */
RING_PRIVATE struct ring_seat ring_spsc_seat(struct ring_segment *segment, struct ring_layout_spsc *control,
                                             unsigned entry, enum ring_spsc_role role);

/* Takes a role of a ring that was entered; and gives it back, waking a peer that waits, and leaves the ring. `died`: we
 * only looked in; the predecessor's death stands. */
RING_PRIVATE int ring_spsc_take_role(struct ring_segment *segment, const char *ring,
                                     const struct ring_spsc_found *found, enum ring_spsc_role role, bool *died);
RING_PRIVATE void ring_spsc_leave_role(struct ring_segment *segment, const struct ring_spsc_found *found,
                                       enum ring_spsc_role role, bool died);

/* As ring_spsc_open_producer(), and tells whether the one before died. */
RING_PRIVATE int ring_spsc_open_producer_after(struct ring_spsc_producer *producer, struct ring_segment *segment,
                                               const char *ring, int64_t timeout_ns, bool *died);

/* Sets an endpoint up whose role was taken. -EUCLEAN: the ring is damaged. */
RING_PRIVATE int ring_spsc_begin_producer(struct ring_spsc_producer *producer, struct ring_segment *segment,
                                          const struct ring_spsc_found *found);
RING_PRIVATE int ring_spsc_begin_consumer(struct ring_spsc_consumer *consumer, struct ring_segment *segment,
                                          const struct ring_spsc_found *found, bool died);

/* ---- Growth (spsc_grow.c): a producer that moved on to the next generation of its ring, and who goes after it. ----
 */

/* From a role that was taken (consumer), or refused with -ESTALE (producer), on to the generation in force. On failure
 * nothing is held, nor entered. */
RING_PRIVATE int ring_spsc_take_later_role(struct ring_segment *segment, const char *ring, enum ring_spsc_role role,
                                           struct ring_spsc_found *found, bool *died);

/* For a consumer that found its ring empty and its producer gone. 0: look again, perhaps in the next generation;
 * -ENOENT: there is none. */
RING_PRIVATE int ring_spsc_follow(struct ring_spsc_consumer *consumer);

/* What became of a peer that is in another generation. */
RING_PRIVATE enum ring_peer ring_spsc_consumer_behind(const struct ring_spsc_producer *producer);
RING_PRIVATE enum ring_peer ring_spsc_producer_ahead(const struct ring_spsc_consumer *consumer);

/* Points the hot path at the ring, or at a private zero while the slow path must see every message. */
RING_PRIVATE void ring_spsc_settle(struct ring_spsc_consumer *consumer);

/* Points the hot path away for good; every later call returns `fault`. */
RING_PRIVATE int ring_spsc_fail_consumer(struct ring_spsc_consumer *consumer, int fault);
RING_PRIVATE int ring_spsc_fail_producer(struct ring_spsc_producer *producer, int fault);

/* One look: 0: there is room, -EAGAIN: not now, else why never. */
RING_PRIVATE int ring_spsc_try_room(struct ring_spsc_producer *producer, uint64_t stride);

/* How the two sides look while they wait. */
RING_PRIVATE extern const struct ring_wait_looks ring_spsc_producer_looks;
RING_PRIVATE extern const struct ring_wait_looks ring_spsc_consumer_looks;

/* C2 out of turn: publishes the position when it is not published yet. */
RING_PRIVATE void ring_spsc_publish_head(struct ring_spsc_consumer *consumer);

/* Finds the first message at the consumer's position and opens a pack: 0, -EAGAIN, or the fault. */
RING_PRIVATE int ring_spsc_open_record(struct ring_spsc_consumer *consumer, struct ring_spsc_record *record);

/* Takes everything before a place between two messages: `position`, and within it `pack`. */
RING_PRIVATE void ring_spsc_move_to(struct ring_spsc_consumer *consumer, uint64_t position, struct ring_spsc_pack pack);

#endif
