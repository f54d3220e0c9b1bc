/* ends.h - the two ends of a ring, whatever its kind: the verbs that ringctl send and recv need. */
#ifndef RINGCTL_ENDS_H
#define RINGCTL_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ring/ring.h>

/* ---- Finding ---- */

/* Places in the segment's directory. A look that costs something: once for each attachment. */
unsigned directory_places(const struct ring_segment *segment);
/* What kind of ring it is: enum ring_layout_kind. -ENOENT, -EUCLEAN. */
int find_kind(const struct ring_segment *segment, unsigned places, const char *ring, unsigned *kind);

/* Those who send into a ring, or those who receive from it, as a whole. */
struct side_state {
    enum ring_peer peer; /* ALIVE: somebody is; else how they went */
    uint64_t comings;    /* grows when another one comes. MPMC: may shrink, too, as the seats go to the other side */
    pid_t slowest;       /* broadcast, consumers: the living one that is furthest behind, */
    uint64_t behind;     /* and how far. 0: none */
};

/* From one generation of a ring that grew to the next. False: there is none, or its room was given back meanwhile. */
bool next_generation(struct ring_segment *segment, const char *ring, struct ring_spsc_info *info);
int look_at_producers(struct ring_segment *segment, const char *ring, unsigned kind, struct side_state *state);
int look_at_consumers(struct ring_segment *segment, const char *ring, unsigned kind, struct side_state *state);

/* The other side as it was when we came: who had left before is waited for, who leaves while we are here is not. */
struct bygone {
    bool gone; /* nobody was there (any more) */
    uint64_t comings;
};

struct bygone bygone_side(const struct side_state *then);
/* Is it still so? False for ever once somebody has come. */
bool bygone_still(struct bygone *bygone, const struct side_state *now);

/* ---- Sending ---- */

struct sender {
    unsigned kind;
    size_t longest; /* message */
    union {
        struct ring_spsc_producer spsc;
        struct ring_mpmc_producer mpmc;
        struct ring_broadcast_producer broadcast;
    } end;
};

int sender_open(struct sender *sender, struct ring_segment *segment, const char *ring, unsigned kind,
                int64_t timeout_ns);
void sender_close(struct sender *sender);
/* As ring_*_send_batch() and ring_*_send_array(). */
ssize_t sender_send(struct sender *sender, const struct ring_message *messages, size_t count, int64_t timeout_ns);
ssize_t sender_send_array(struct sender *sender, const void *messages, size_t length, size_t count, int64_t timeout_ns);

/* ---- Receiving ---- */

#define RECEIVER_MOST 512 /* messages shown at a time */

/* Messages of a broadcast ring may be overwritten while they are looked at: they are copied before they are shown. */
struct receiver_stage {
    char *bytes;
    size_t size;
    struct ring_message messages[RECEIVER_MOST];
    size_t first, count; /* of the messages copied and not yet released */
    uint64_t position;   /* of messages[0] */
    int pending;         /* what ended the copying, to be told after them */
};

struct receiver {
    unsigned kind;
    size_t longest; /* message */
    struct receiver_stage stage;
    union {
        struct ring_spsc_consumer spsc;
        struct ring_mpmc_consumer mpmc;
        struct ring_broadcast_consumer broadcast;
    } end;
};

/* How to join a broadcast ring. */
struct receiver_joining {
    enum ring_broadcast_join join;
    uint64_t position;
    bool observe;
};

int receiver_open(struct receiver *receiver, struct ring_segment *segment, const char *ring, unsigned kind,
                  const struct receiver_joining *joining, int64_t timeout_ns);
void receiver_close(struct receiver *receiver);
/* As ring_*_peek_batch() and ring_*_release(), for up to RECEIVER_MOST messages. */
ssize_t receiver_peek(struct receiver *receiver, struct ring_message *messages, size_t count, int64_t timeout_ns);
int receiver_release(struct receiver *receiver, size_t count);
/* Broadcast: number of the first message not yet released, and of those lost so far. */
uint64_t receiver_position(const struct receiver *receiver);
uint64_t receiver_lost(const struct receiver *receiver);

#endif
