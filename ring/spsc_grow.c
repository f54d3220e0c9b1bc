/* spsc_grow.c - level 6: a ring is replaced by a larger one while messages run.
 *
 * The larger ring, the next generation, is a ring of its own beside the old one: "feed~1" after "feed". The producer
 * makes it, takes its producer's role, and then leaves the old ring with the state MOVED, one release store after its
 * last message there (L2). The consumer that finds the old ring empty and its producer gone sees MOVED (L0), looks once
 * more, publishes its position, takes the consumer's role of the next generation, and only then leaves its old one.
 *
 * Invariants. MOVED is for ever: ring_seat_take() refuses it under the role's lock, so nothing is sent behind it, and a
 * ring whose producer MOVED and that is empty at its published head stays empty. The next generation has no messages
 * before MOVED. A consumer holds the role of the oldest generation that is not empty, until it has the next one's;
 * whoever opens as a consumer goes the same way, hand over hand. So messages come in order, and each from one ring.
 *
 * Death. Before MOVED: the old ring is in force, its next producer goes on in it, and adopts what was made when it
 * grows the ring itself. After MOVED: the next generation is. A consumer between two roles: both are free, its
 * successor finds the old ring empty and goes on. docs/growth.md has the proof, tests/model/growth.pml the model.
 */
#include <ring/spsc_private.h>

#include <errno.h>
#include <stdio.h>

#include <ring/allocator.h>
#include <ring/error.h>

enum { GENERATIONS = RING_SPSC_GENERATIONS };

/* Name, generation and stem of a ring so many generations from that at `entry`; -ENOENT: there cannot be such. */
static int relative(const struct ring_segment *segment, unsigned entry, int distance, char name[RING_LAYOUT_NAME],
                    struct ring_place *place)
{
    struct ring_entry_info info;
    int code = ring_segment_entry(segment, entry, &info);
    if (code)
        return code;
    if (distance < 0 ? info.generation < (unsigned)-distance : info.generation == UINT32_MAX)
        return -ENOENT;
    place->stem = info.stem ? info.stem : (unsigned)strlen(info.name);
    place->generation = info.generation + (unsigned)distance;
    if (place->generation == 0) {
        snprintf(name, RING_LAYOUT_NAME, "%.*s", (int)place->stem, info.name);
        place->stem = 0;
        return 0;
    }
    char suffix[16];
    int length = snprintf(suffix, sizeof suffix, "~%u", place->generation);
    if (place->stem + (unsigned)length > RING_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "ring '%s' cannot be replaced: '%s' behind its name would make it too long",
                          info.name, suffix);
    snprintf(name, RING_LAYOUT_NAME, "%.*s%s", (int)place->stem, info.name, suffix);
    return 0;
}

static int enter_relative(struct ring_segment *segment, unsigned entry, int distance, struct ring_spsc_found *found)
{
    char name[RING_LAYOUT_NAME];
    struct ring_place place;
    int code = relative(segment, entry, distance, name, &place);
    if (!code)
        code = ring_spsc_enter(segment, name, found);
    if (!code && found->generation != place.generation) {
        ring_claim_drop(found->claim);
        code = ring_error(-ENOENT, "the generation '%s' is gone from %s", name, segment->name);
    }
    return code;
}

/* ---- Producer ---- */

/* Makes the next generation, or adopts one that a producer made who then died, and takes its role. */
static int prepare(struct ring_spsc_producer *next, const struct ring_spsc_producer *producer,
                   struct ring_spsc_options *options)
{
    struct ring_segment *segment = producer->segment;
    struct ring_spsc_found found;
    struct ring_place place;
    char name[RING_LAYOUT_NAME];
    int code = relative(segment, producer->entry, 1, name, &place);
    options->start_position = producer->position; /* positions go on growing */
    if (!code)
        code = ring_spsc_make(segment, name, options, place.generation, place.stem);
    if (!code || code == -EEXIST)
        code = ring_spsc_enter(segment, name, &found);
    if (code)
        return code;
    bool died;
    if (found.generation != place.generation)
        code =
            ring_error(-EEXIST, "a ring '%s' that has nothing to do with it is in the way in %s", name, segment->name);
    else if (found.capacity <= producer->capacity) /* such a chain may never end */
        code = ring_error(-EUCLEAN, "ring '%s' in %s is damaged: it is not larger than the one before", name,
                          segment->name);
    else
        code = ring_spsc_take_role(segment, name, &found, RING_SPSC_PRODUCER, &died);
    if (code) {
        ring_claim_drop(found.claim);
        return code;
    }
    code = ring_spsc_begin_producer(next, segment, &found);
    if (!code && next->position != next->head) /* nobody sends before MOVED */
        code = -EUCLEAN;
    if (code) {
        ring_spsc_leave_role(segment, &found, RING_SPSC_PRODUCER, died);
        return ring_error(code, "ring '%s' in %s is damaged: it holds what nobody can have sent", name, segment->name);
    }
    return 0;
}

static bool is_exhausted(const struct ring_spsc_found *found);

/* Gives back the room of generations that both sides have left for good: exhausted, and somebody has been a consumer of
 * the next one (else a consumer that left would be forgotten). The oldest first, and none before it: who comes by the
 * name starts at the oldest there is, and must find all behind it. Who is still there makes ring_segment_free() refuse.
 */
static void free_left_generations(struct ring_segment *segment, unsigned entry)
{
    bool left[GENERATIONS] = { false };
    bool passed = false;
    int oldest = 0;
    for (int back = 0; back < GENERATIONS; back++) {
        struct ring_spsc_found found;
        if (enter_relative(segment, entry, -back, &found) != 0)
            break;
        struct ring_seat seat = ring_spsc_seat(segment, found.control, found.entry, RING_SPSC_CONSUMER);
        bool visited = ring_seat_state(&seat) != RING_PEER_NEVER;
        left[back] = passed && is_exhausted(&found);
        ring_claim_drop(found.claim);
        passed = visited;
        oldest = back;
    }
    for (int back = oldest; back > 0 && left[back]; back--) {
        char name[RING_LAYOUT_NAME];
        struct ring_place place;
        if (relative(segment, entry, -back, name, &place) != 0 || ring_segment_free(segment, name) != 0)
            return;
    }
}

static int check_growth(const struct ring_spsc_producer *producer, const struct ring_spsc_options *options)
{
    if (!producer || !producer->claim)
        return ring_error(-EBADF, "this producer is not open");
    int code = ring_segment_usable(producer->segment);
    if (code)
        return code;
    if (producer->fault)
        return ring_error(producer->fault, "this producer met a damaged ring and answers nothing else");
    if (producer->reserved)
        return ring_error(-EBUSY, "a reservation is open: commit or cancel it first");
    if (options && options->struct_size != sizeof *options)
        return ring_error(-EINVAL, "start the ring's options from ring_spsc_defaults(): struct_size is not as this "
                                   "library knows it");
    uint64_t most = options ? options->bytes : producer->capacity * 2;
    if (most <= producer->capacity || most > RING_SPSC_MAX_BYTES)
        return ring_error(-EINVAL, "the ring has a capacity of %llu bytes: it grows to more, and to %zu at most",
                          (unsigned long long)producer->capacity, RING_SPSC_MAX_BYTES);
    return 0;
}

int ring_spsc_grow(struct ring_spsc_producer *producer, const struct ring_spsc_options *options)
{
    int code = check_growth(producer, options);
    if (code)
        return code;
    struct ring_spsc_options wish = options ? *options : ring_spsc_defaults();
    struct ring_entry_info entry;
    if (!options)
        wish.bytes = (size_t)producer->capacity * 2;
    if (!options && ring_segment_entry(producer->segment, producer->entry, &entry) == 0)
        wish.numa_node = entry.node; /* where the smaller one is */
    free_left_generations(producer->segment, producer->entry);
    while (producer->capacity < wish.bytes) { /* more than once only when what was adopted is too small */
        struct ring_spsc_producer next;
        code = prepare(&next, producer, &wish);
        if (code)
            return code;
        struct ring_layout_spsc *left = producer->control;
        struct ring_seat seat = ring_spsc_seat(producer->segment, left, producer->entry, RING_SPSC_PRODUCER);
        ring_seat_move(&seat); /* L2: from here on the next generation is in force */
        ring_wake(&left->consumer_asleep);
        ring_claim_drop(producer->claim);
        next.waiter = producer->waiter;
        ring_waiter_move(&next.waiter, &next.control->producer_asleep);
        *producer = next;
    }
    return 0;
}

int ring_spsc_grow_unattended(struct ring_segment *segment, const char *ring, const struct ring_spsc_options *options)
{
    struct ring_spsc_producer producer;
    bool died;
    int code = ring_spsc_open_producer_after(&producer, segment, ring, RING_NO_WAIT, &died);
    if (code)
        return code;
    struct ring_seat seat = ring_spsc_seat(segment, producer.control, producer.entry, RING_SPSC_PRODUCER);
    bool first = ring_seat_tenures(&seat) == 1; /* ours */
    code = ring_spsc_grow(&producer, options);
    /* A consumer that waits shall learn of us nothing: the role is left as it was found, be it in the next generation.
     */
    seat = ring_spsc_seat(segment, producer.control, producer.entry, RING_SPSC_PRODUCER);
    if (first)
        ring_seat_forget(&seat);
    else
        ring_seat_leave(&seat, died);
    ring_wake(&producer.control->consumer_asleep);
    ring_claim_drop(producer.claim);
    ring_waiter_close(&producer.waiter);
    ring_segment_drop(segment);
    return code;
}

/* What became of the consumer, that has never been in the producer's own generation: it is in one before. A consumer is
 * first in the next one, then not in the last any more. So one that has left is looked for again, further on. */
enum ring_peer ring_spsc_consumer_behind(const struct ring_spsc_producer *producer)
{
    int left = 0; /* where it was seen to have left: 1 - distance, 0: nowhere */
    int distance = 0;
    for (unsigned step = 0; step < GENERATIONS * GENERATIONS; step++) {
        struct ring_spsc_found found;
        if (enter_relative(producer->segment, producer->entry, distance, &found) != 0)
            return RING_PEER_NEVER;
        struct ring_seat seat = ring_spsc_seat(producer->segment, found.control, found.entry, RING_SPSC_CONSUMER);
        enum ring_peer peer = ring_seat_state(&seat);
        ring_claim_drop(found.claim);
        if (peer != RING_PEER_NEVER && (peer != RING_PEER_CLOSED || left == 1 - distance || distance == 0))
            return peer;
        if (peer == RING_PEER_CLOSED) {
            left = 1 - distance;
            distance = 0;
        } else {
            distance--;
        }
    }
    return RING_PEER_ALIVE; /* in doubt */
}

/* ---- Consumer ---- */

/* Nothing more can ever come from it, and all there was was taken. */
static bool is_exhausted(const struct ring_spsc_found *found)
{
    struct ring_spsc_record record;
    if (!ring_seat_has_moved(&found->control->producer)) /* L0: acquire, so the records below are the last ones */
        return false;
    uint64_t head = ring_atomic_load(&found->control->head, memory_order_acquire); /* C8 */
    return head % 8 == 0 &&
           ring_spsc_decode(found->data, found->capacity - 1, found->max_message, head, &record) == -EAGAIN;
}

int ring_spsc_take_later_role(struct ring_segment *segment, const char *ring, enum ring_spsc_role role,
                              struct ring_spsc_found *found, bool *died)
{
    for (unsigned step = 0; role == RING_SPSC_PRODUCER || is_exhausted(found); step++) {
        struct ring_spsc_found next;
        bool next_died;
        int code = step < GENERATIONS ? enter_relative(segment, found->entry, 1, &next)
                                      : ring_error(-EUCLEAN, "ring '%s' in %s is damaged: its generations never end",
                                                   ring, segment->name);
        bool entered = !code;
        if (!code)
            code = ring_spsc_take_role(segment, ring, &next, role, &next_died);
        if (role == RING_SPSC_CONSUMER) /* hand over hand: nobody comes to the next one past a living consumer here */
            ring_spsc_leave_role(segment, found, role, *died && code);
        else
            ring_claim_drop(found->claim); /* no role was had there */
        if (code && code != -ESTALE) {
            if (entered)
                ring_claim_drop(next.claim);
            return code;
        }
        *found = next;
        if (code == -ESTALE)
            continue; /* its producer moved on too */
        *died = next_died;
        if (role == RING_SPSC_PRODUCER)
            return 0;
    }
    return 0;
}

int ring_spsc_follow(struct ring_spsc_consumer *consumer)
{
    if (!ring_seat_has_moved(&consumer->control->producer)) /* L0: acquire, so what is in the ring now is all */
        return -ENOENT;
    struct ring_spsc_record record;
    int code = ring_spsc_open_record(consumer, &record);
    if (code != -EAGAIN)
        return code;
    struct ring_segment *segment = consumer->segment;
    struct ring_spsc_found left = { .control = consumer->control, .entry = consumer->entry, .claim = consumer->claim };
    struct ring_spsc_found next;
    bool died;
    ring_spsc_publish_head(consumer); /* C2: before the lock is free: our successor finds the ring exhausted */
    code = enter_relative(segment, consumer->entry, 1, &next);
    if (code)
        return code == -EUCLEAN ? ring_spsc_poison(consumer) : code;
    if (next.capacity <= consumer->ring_mask + 1) { /* rubbish: such a chain may never end */
        ring_claim_drop(next.claim);
        return ring_spsc_fail_consumer(consumer, -EUCLEAN);
    }
    code = ring_spsc_take_role(segment, "", &next, RING_SPSC_CONSUMER, &died);
    if (code) {
        ring_claim_drop(next.claim);
        return code;
    }
    struct ring_waiter waiter = consumer->waiter;
    code = ring_spsc_begin_consumer(consumer, segment, &next, died);
    consumer->waiter = waiter;
    ring_waiter_move(&consumer->waiter, &next.control->consumer_asleep);
    if (code) /* the role is kept: close gives it back */
        code = ring_spsc_fail_consumer(consumer, -EUCLEAN);
    ring_spsc_leave_role(segment, &left, RING_SPSC_CONSUMER, false);
    return code;
}

/* What became of the producer that has moved on. */
enum ring_peer ring_spsc_producer_ahead(const struct ring_spsc_consumer *consumer)
{
    unsigned entry = consumer->entry;
    for (unsigned step = 0; step < GENERATIONS; step++) {
        struct ring_spsc_found found;
        if (enter_relative(consumer->segment, entry, 1, &found) != 0)
            return RING_PEER_CLOSED;
        struct ring_seat seat = ring_spsc_seat(consumer->segment, found.control, found.entry, RING_SPSC_PRODUCER);
        bool moved = ring_seat_has_moved(&found.control->producer);
        enum ring_peer peer = moved ? RING_PEER_NEVER : ring_seat_state(&seat);
        ring_claim_drop(found.claim);
        if (!moved)
            return peer;
        entry = found.entry;
    }
    return RING_PEER_ALIVE; /* in doubt */
}
