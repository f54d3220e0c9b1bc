/* ends.c - the two ends of a ring, whatever its kind; see ends.h. */
#include "ends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_BYTES ((size_t)64 << 10)

/* ---- Finding ---- */

unsigned directory_places(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    return ring_segment_info(segment, &info) ? 0 : info.max_rings;
}

/* Is it one of those that replaced the ring of that name? That itself may be gone. */
static bool is_generation(const struct ring_entry_info *entry, const char *ring)
{
    return entry->generation && entry->stem == strlen(ring) && memcmp(entry->name, ring, entry->stem) == 0;
}

int find_kind(const struct ring_segment *segment, unsigned places, const char *ring, unsigned *kind)
{
    int worst = -ENOENT;
    for (unsigned at = 0; at < places; at++) {
        struct ring_entry_info entry;
        int error = ring_segment_entry(segment, at, &entry);
        if (!error && (strcmp(entry.name, ring) == 0 || is_generation(&entry, ring))) {
            *kind = entry.kind;
            return 0;
        }
        if (error && error != -ENOENT)
            worst = error;
    }
    return worst;
}

/* Not by ring_mpmc_info(), which looks at every slot: this is done again and again while waiting. */
static int look_at_seats(struct ring_segment *segment, const char *ring, bool consumers, struct side_state *state)
{
    bool alive = false, died = false, closed = false;
    int error = 0;
    for (unsigned at = 0; !error && at < RING_SEATS_MAX; at++) {
        struct ring_mpmc_seat_info seat = { .struct_size = sizeof seat };
        error = ring_mpmc_seat_info(segment, ring, at, &seat); /* -ENOENT: seats from here on were never used */
        if (error || seat.consumer != consumers)
            continue;
        state->comings += seat.side.tenures;
        alive |= seat.side.peer == RING_PEER_ALIVE;
        died |= seat.side.peer == RING_PEER_DEAD;
        closed |= seat.side.peer == RING_PEER_CLOSED;
    }
    state->peer = alive ? RING_PEER_ALIVE : died ? RING_PEER_DEAD : closed ? RING_PEER_CLOSED : RING_PEER_NEVER;
    return error == -ENOENT ? 0 : error;
}

static int look_at_listeners(struct ring_segment *segment, const char *ring, struct side_state *state)
{
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    int error = ring_broadcast_info(segment, ring, &info);
    for (unsigned at = 0; !error && at < info.seats_used; at++) {
        struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
        if (ring_broadcast_seat_info(segment, ring, at, &seat))
            continue;
        state->comings += seat.consumer.tenures;
        if (seat.consumer.peer == RING_PEER_ALIVE && seat.behind > state->behind) {
            state->slowest = seat.consumer.pid;
            state->behind = seat.behind;
        }
    }
    state->peer = info.consumers ? RING_PEER_ALIVE : state->comings ? RING_PEER_CLOSED : RING_PEER_NEVER;
    return error;
}

static int look_at_announcer(struct ring_segment *segment, const char *ring, struct side_state *state)
{
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    int error = ring_broadcast_info(segment, ring, &info);
    state->peer = info.producer.peer;
    state->comings = info.producer.tenures;
    return error;
}

bool next_generation(struct ring_segment *segment, const char *ring, struct ring_spsc_info *info)
{
    char name[RING_LAYOUT_NAME + 16];
    struct ring_spsc_info next = { .struct_size = sizeof next };
    snprintf(name, sizeof name, "%s~%u", ring, info->generation + 1);
    if (!info->moved || ring_spsc_info(segment, name, &next) != 0 || next.generation != info->generation + 1)
        return false;
    *info = next;
    return true;
}

/* Through all generations of the ring: the producer is in the newest, the consumer in the newest that it has come to.
 */
static int look_at_role(struct ring_segment *segment, const char *ring, bool consumer, struct side_state *state)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    int error = ring_spsc_info(segment, ring, &info);
    if (error)
        return error;
    do {
        const struct ring_side *side = consumer ? &info.consumer : &info.producer;
        state->comings += side->tenures;
        if (!consumer || side->peer != RING_PEER_NEVER)
            state->peer = side->peer;
    } while (next_generation(segment, ring, &info));
    return 0;
}

int look_at_producers(struct ring_segment *segment, const char *ring, unsigned kind, struct side_state *state)
{
    *state = (struct side_state){ .peer = RING_PEER_NEVER };
    return kind == RING_KIND_MPMC        ? look_at_seats(segment, ring, false, state)
           : kind == RING_KIND_BROADCAST ? look_at_announcer(segment, ring, state)
                                         : look_at_role(segment, ring, false, state);
}

int look_at_consumers(struct ring_segment *segment, const char *ring, unsigned kind, struct side_state *state)
{
    *state = (struct side_state){ .peer = RING_PEER_NEVER };
    return kind == RING_KIND_MPMC        ? look_at_seats(segment, ring, true, state)
           : kind == RING_KIND_BROADCAST ? look_at_listeners(segment, ring, state)
                                         : look_at_role(segment, ring, true, state);
}

struct bygone bygone_side(const struct side_state *then)
{
    return (struct bygone){ .gone = then->peer != RING_PEER_ALIVE, .comings = then->comings };
}

bool bygone_still(struct bygone *bygone, const struct side_state *now)
{
    if (now->peer == RING_PEER_ALIVE || now->comings > bygone->comings)
        bygone->gone = false;
    bygone->comings = now->comings; /* it may have shrunk */
    return bygone->gone;
}

/* ---- Sending ---- */

int sender_open(struct sender *sender, struct ring_segment *segment, const char *ring, unsigned kind,
                int64_t timeout_ns)
{
    int error;
    sender->kind = kind;
    switch (kind) {
    case RING_KIND_SPSC:
        error = ring_spsc_open_producer(&sender->end.spsc, segment, ring, timeout_ns);
        sender->longest = error ? 0 : sender->end.spsc.max_message;
        return error;
    case RING_KIND_MPMC:
        error = ring_mpmc_open_producer(&sender->end.mpmc, segment, ring, timeout_ns);
        sender->longest = error ? 0 : sender->end.mpmc.end.max_message;
        return error;
    default:
        error = ring_broadcast_open_producer(&sender->end.broadcast, segment, ring, timeout_ns);
        sender->longest = error ? 0 : sender->end.broadcast.slot_bytes;
        return error;
    }
}

void sender_close(struct sender *sender)
{
    switch (sender->kind) {
    case RING_KIND_SPSC:
        ring_spsc_close_producer(&sender->end.spsc);
        break;
    case RING_KIND_MPMC:
        ring_mpmc_close_producer(&sender->end.mpmc);
        break;
    default:
        ring_broadcast_close_producer(&sender->end.broadcast);
    }
}

ssize_t sender_send(struct sender *sender, const struct ring_message *messages, size_t count, int64_t timeout_ns)
{
    switch (sender->kind) {
    case RING_KIND_SPSC:
        return ring_spsc_send_batch(&sender->end.spsc, messages, count, timeout_ns);
    case RING_KIND_MPMC:
        return ring_mpmc_send_batch(&sender->end.mpmc, messages, count, timeout_ns);
    default:
        return ring_broadcast_send_batch(&sender->end.broadcast, messages, count, timeout_ns);
    }
}

ssize_t sender_send_array(struct sender *sender, const void *messages, size_t length, size_t count, int64_t timeout_ns)
{
    switch (sender->kind) {
    case RING_KIND_SPSC:
        return ring_spsc_send_array(&sender->end.spsc, messages, length, count, timeout_ns);
    case RING_KIND_MPMC:
        return ring_mpmc_send_array(&sender->end.mpmc, messages, length, count, timeout_ns);
    default:
        return ring_broadcast_send_array(&sender->end.broadcast, messages, length, count, timeout_ns);
    }
}

/* ---- Receiving ---- */

static int open_broadcast(struct receiver *receiver, struct ring_segment *segment, const char *ring,
                          const struct receiver_joining *joining, int64_t timeout_ns)
{
    struct ring_broadcast_consumer *consumer = &receiver->end.broadcast;
    int error =
        joining->observe
            ? ring_broadcast_open_observer(consumer, segment, ring, joining->join, joining->position, timeout_ns)
            : ring_broadcast_open_consumer(consumer, segment, ring, joining->join, joining->position, timeout_ns);
    if (error)
        return error;
    struct receiver_stage *stage = &receiver->stage;
    stage->size = consumer->slot_bytes + STAGE_BYTES;
    stage->bytes = malloc(stage->size);
    stage->first = stage->count = 0;
    stage->pending = 0;
    if (stage->bytes)
        return 0;
    ring_broadcast_close_consumer(consumer);
    return -ENOMEM;
}

int receiver_open(struct receiver *receiver, struct ring_segment *segment, const char *ring, unsigned kind,
                  const struct receiver_joining *joining, int64_t timeout_ns)
{
    int error;
    receiver->kind = kind;
    switch (kind) {
    case RING_KIND_SPSC:
        error = ring_spsc_open_consumer(&receiver->end.spsc, segment, ring, timeout_ns);
        receiver->longest = error ? 0 : receiver->end.spsc.max_message;
        return error;
    case RING_KIND_MPMC:
        error = ring_mpmc_open_consumer(&receiver->end.mpmc, segment, ring, timeout_ns);
        receiver->longest = error ? 0 : receiver->end.mpmc.end.max_message;
        return error;
    default:
        error = open_broadcast(receiver, segment, ring, joining, timeout_ns);
        receiver->longest = error ? 0 : receiver->end.broadcast.slot_bytes;
        return error;
    }
}

void receiver_close(struct receiver *receiver)
{
    switch (receiver->kind) {
    case RING_KIND_SPSC:
        ring_spsc_close_consumer(&receiver->end.spsc);
        break;
    case RING_KIND_MPMC:
        ring_mpmc_close_consumer(&receiver->end.mpmc);
        break;
    default:
        ring_broadcast_close_consumer(&receiver->end.broadcast);
        free(receiver->stage.bytes);
        receiver->stage.bytes = NULL;
    }
}

/* Copies messages until the stage is full or none is left. 0, or why there is not even one. */
static int fill_stage(struct receiver *receiver, size_t wanted, int64_t timeout_ns)
{
    struct receiver_stage *stage = &receiver->stage;
    size_t filled = 0;
    stage->first = stage->count = 0;
    stage->position = ring_broadcast_position(&receiver->end.broadcast);
    int error = stage->pending;
    stage->pending = 0;
    while (!error && stage->count < wanted && stage->size - filled >= receiver->longest) {
        char *place = stage->bytes + filled;
        ssize_t length = ring_broadcast_recv(&receiver->end.broadcast, place, stage->size - filled,
                                             stage->count ? RING_NO_WAIT : timeout_ns);
        if (length < 0) {
            error = (int)length;
            break;
        }
        stage->messages[stage->count++] = (struct ring_message){ .data = place, .length = (size_t)length };
        filled += (size_t)length;
    }
    if (!stage->count)
        return error;
    if (error == -EOVERFLOW) /* told but once; the others are found again */
        stage->pending = error;
    return 0;
}

ssize_t receiver_peek(struct receiver *receiver, struct ring_message *messages, size_t count, int64_t timeout_ns)
{
    struct receiver_stage *stage = &receiver->stage;
    if (receiver->kind == RING_KIND_SPSC)
        return ring_spsc_peek_batch(&receiver->end.spsc, messages, count, timeout_ns);
    if (receiver->kind == RING_KIND_MPMC)
        return ring_mpmc_peek_batch(&receiver->end.mpmc, messages, count, timeout_ns);
    if (count > RECEIVER_MOST)
        count = RECEIVER_MOST;
    int error = stage->count ? 0 : fill_stage(receiver, count, timeout_ns);
    if (error)
        return error;
    if (count > stage->count)
        count = stage->count;
    memcpy(messages, stage->messages + stage->first, count * sizeof *messages);
    return (ssize_t)count;
}

int receiver_release(struct receiver *receiver, size_t count)
{
    if (receiver->kind == RING_KIND_SPSC)
        return ring_spsc_release(&receiver->end.spsc, count);
    if (receiver->kind == RING_KIND_MPMC)
        return ring_mpmc_release(&receiver->end.mpmc, count);
    receiver->stage.first += count;
    receiver->stage.count -= count;
    return 0;
}

uint64_t receiver_position(const struct receiver *receiver)
{
    const struct receiver_stage *stage = &receiver->stage;
    return stage->count ? stage->position + stage->first : ring_broadcast_position(&receiver->end.broadcast);
}

uint64_t receiver_lost(const struct receiver *receiver)
{
    return ring_broadcast_lost_in_all(&receiver->end.broadcast);
}
