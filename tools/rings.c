/* rings.c - ringctl info: one ring of any kind, for people and in JSON. Who holds what, where, and how far behind. */
#include "ringctl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *peer_word(enum ring_peer peer)
{
    switch (peer) {
    case RING_PEER_NEVER:
        return "never";
    case RING_PEER_ALIVE:
        return "alive";
    case RING_PEER_CLOSED:
        return "closed";
    case RING_PEER_DEAD:
        return "dead";
    }
    return "unknown";
}

static const char *policy_word(enum ring_broadcast_policy policy)
{
    return policy == RING_BROADCAST_LOSSLESS ? "lossless" : "overwrite";
}

/* Is its process stopped, by a signal or a debugger? Only told where its pid means something here: the process of that
 * number must have the command that the holder had. */
static bool is_stopped(const struct ring_side *side)
{
    char path[40], line[256] = "";
    if (side->peer != RING_PEER_ALIVE)
        return false;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)side->pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const char *open = fgets(line, sizeof line, file) ? strchr(line, '(') : NULL;
    const char *close = open ? strrchr(line, ')') : NULL; /* the command may hold brackets itself */
    fclose(file);
    size_t length = strnlen(side->command, sizeof side->command);
    return close && (size_t)(close - open - 1) == length && memcmp(open + 1, side->command, length) == 0 &&
           close[1] == ' ' && (close[2] == 'T' || close[2] == 't');
}

/* ---- For people ---- */

/* "alive (stopped), pid 12 (ringctl), holder number 3" */
void print_holder(const struct ring_side *side)
{
    char command[64];
    printf("%s%s, pid %d (%s), holder number %" PRIu64, peer_word(side->peer), is_stopped(side) ? " (stopped)" : "",
           (int)side->pid, printable(side->command, sizeof side->command, command, sizeof command), side->tenures);
    if (side->asleep && side->peer == RING_PEER_ALIVE)
        printf(", asleep");
}

static void print_side(const char *role, const struct ring_side *side)
{
    printf("    %-9s ", role);
    if (side->peer == RING_PEER_NEVER)
        printf("nobody yet");
    else
        print_holder(side);
    putchar('\n');
}

static void print_slots(uint64_t slots, uint64_t slot_bytes)
{
    char longest[32];
    printf("    %-9s %" PRIu64 " messages of up to %s\n", "capacity", slots,
           human_bytes(slot_bytes, longest, sizeof longest));
}

/* Of a ring that grew, or is a larger one in the place of another: which of them is in use. */
struct growth {
    char stem[RING_LAYOUT_NAME]; /* the name they share */
    bool any;                    /* false: there is nothing to tell */
    bool in_force;               /* what is sent now comes here */
};

static struct growth look_at_growth(struct ring_segment *segment, const struct ring_entry_info *entry,
                                    const struct ring_spsc_info *ring)
{
    struct growth growth = { .any = ring->generation || ring->moved, .in_force = !ring->moved };
    int stem = entry->generation ? (int)entry->stem : RING_NAME_MAX;
    snprintf(growth.stem, sizeof growth.stem, "%.*s", stem, entry->name);
    if (!ring->generation || ring->moved)
        return growth;
    char name[RING_LAYOUT_NAME + 16];
    struct ring_spsc_info before = { .struct_size = sizeof before };
    if (ring->generation == 1)
        snprintf(name, sizeof name, "%s", growth.stem);
    else
        snprintf(name, sizeof name, "%s~%u", growth.stem, ring->generation - 1);
    if (ring_spsc_info(segment, name, &before) == 0 && before.generation == ring->generation - 1)
        growth.in_force = before.moved; /* else that one was drained, and its room given back */
    return growth;
}

static void print_growth(const struct growth *growth, const struct ring_spsc_info *ring)
{
    char stem[3 * RING_LAYOUT_NAME];
    if (!growth->any)
        return;
    printf("    %-9s generation %u of %s, ", "grown", ring->generation,
           printable(growth->stem, sizeof growth->stem, stem, sizeof stem));
    if (growth->in_force)
        printf("in force\n");
    else if (!ring->moved)
        printf("not in force yet: its maker has not come over to it, or died before\n");
    else
        printf("replaced by generation %u%s\n", ring->generation + 1,
               ring->messages ? "; the consumer takes what is left here first" : ", nothing is left here");
}

static void print_spsc(const char *name, const struct ring_spsc_info *ring, const struct growth *growth)
{
    char capacity[32], longest[32], behind[32];
    printf("\n  ring %s (one producer, one consumer)\n", name);
    printf("    %-9s %s, longest message %s\n", "capacity", human_bytes(ring->capacity, capacity, sizeof capacity),
           human_bytes(ring->max_message, longest, sizeof longest));
    printf("    %-9s %" PRIu64 " messages, %s behind (head %" PRIu64 ", tail %" PRIu64 ")\n", "waiting", ring->messages,
           human_bytes(ring->tail - ring->head, behind, sizeof behind), ring->head, ring->tail);
    print_growth(growth, ring);
    print_side("producer", &ring->producer);
    print_side("consumer", &ring->consumer);
}

/* What a participant of an MPMC ring is at. The words of one who shares are about now; one who claims alone leaves its
 * last claim standing, and so does a death. */
static void print_place(const struct ring_mpmc_info *ring, const struct ring_mpmc_seat_info *seat)
{
    bool sole = seat->consumer ? ring->sole_consumer : ring->sole_producer;
    const char *what = seat->side.peer == RING_PEER_DEAD || sole ? "last claim" : "at work on";
    if (!seat->positions)
        printf(", holds nothing\n");
    else if (seat->positions == 1)
        printf(", %s %" PRIu64 "\n", what, seat->position);
    else
        printf(", %s %" PRIu64 "..%" PRIu64 "\n", what, seat->position, seat->position + seat->positions - 1);
}

static void print_participants(struct ring_segment *segment, const char *ring, const struct ring_mpmc_info *info)
{
    unsigned closed = 0;
    for (unsigned at = 0; at < info->seats; at++) {
        struct ring_mpmc_seat_info seat = { .struct_size = sizeof seat };
        if (ring_mpmc_seat_info(segment, ring, at, &seat))
            continue;
        closed += seat.side.peer == RING_PEER_CLOSED;
        if (seat.side.peer == RING_PEER_CLOSED)
            continue;
        printf("    seat %-4u %s, ", at, seat.consumer ? "consumer" : "producer");
        print_holder(&seat.side);
        print_place(info, &seat);
    }
    if (closed)
        printf("    %-9s %u in good order, so that as many seats are free again\n", "left", closed);
}

static void print_mpmc(struct ring_segment *segment, const char *ring, const char *name,
                       const struct ring_mpmc_info *info)
{
    printf("\n  ring %s (any number of producers and consumers)\n", name);
    print_slots(info->slots, info->slot_bytes);
    printf("    %-9s %" PRIu64 " messages (head %" PRIu64 ", tail %" PRIu64 "); %" PRIu64
           " taken and not yet freed%s\n",
           "waiting", info->messages, info->head, info->tail, info->held,
           info->held && !info->consumers ? ": by consumers that are gone, so they come again" : "");
    printf("    %-9s producers %s, consumers %s\n", "claims", info->sole_producer ? "sole" : "shared",
           info->sole_consumer ? "sole" : "shared");
    printf("    %-9s %u in all; living: producers %u, consumers %u; dead: %u%s\n", "seats", info->seats,
           info->producers, info->consumers, info->dead,
           info->dead ? " (who comes next gets their seats; 'ringctl recover' mends now)" : "");
    print_participants(segment, ring, info);
    if (info->stuck && info->stuck_pid)
        printf("    %-9s at %" PRIu64 ", which pid %d has claimed and not yet sent\n", "stuck", info->head,
               (int)info->stuck_pid);
    else if (info->stuck)
        printf("    %-9s at %" PRIu64 ", which is claimed and not yet sent\n", "stuck", info->head);
}

static void print_broadcast(struct ring_segment *segment, const char *ring, const char *name,
                            const struct ring_broadcast_info *info)
{
    unsigned closed = 0;
    printf("\n  ring %s (one producer, each consumer gets every message; %s)\n", name, policy_word(info->policy));
    print_slots(info->slots, info->slot_bytes);
    printf("    %-9s %" PRIu64 " (number of the next message), oldest still there %" PRIu64 "\n", "tail", info->tail,
           info->oldest);
    print_side("producer", &info->producer);
    printf("    %-9s %u in all; living consumers: %u\n", "seats", info->seats, info->consumers);
    for (unsigned at = 0; at < info->seats_used; at++) {
        struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
        if (ring_broadcast_seat_info(segment, ring, at, &seat))
            continue;
        closed += seat.consumer.peer == RING_PEER_CLOSED;
        if (seat.consumer.peer == RING_PEER_CLOSED)
            continue;
        printf("    seat %-4u consumer, ", at);
        print_holder(&seat.consumer);
        printf(", at %" PRIu64 ", %" PRIu64 " behind, %" PRIu64 " lost\n", seat.position, seat.behind, seat.lost);
    }
    if (closed)
        printf("    %-9s %u in good order, so that as many seats are free again\n", "left", closed);
}

/* ---- JSON ---- */

void json_holder(struct json *json, const struct ring_side *side)
{
    char command[64];
    json_text(json, "state", peer_word(side->peer));
    json_number(json, "tenures", side->tenures);
    if (side->peer == RING_PEER_NEVER)
        return;
    json_number(json, "pid", (uint64_t)side->pid);
    json_text(json, "command", printable(side->command, sizeof side->command, command, sizeof command));
    json_word(json, "stopped", is_stopped(side) ? "true" : "false");
}

static void json_side(struct json *json, const char *role, const struct ring_side *side)
{
    json_open(json, role, '{');
    json_holder(json, side);
    json_word(json, "asleep", side->asleep ? "true" : "false");
    json_close(json, '}');
}

static void json_spsc(struct json *json, const struct ring_spsc_info *ring, const struct growth *growth)
{
    char stem[3 * RING_LAYOUT_NAME];
    json_number(json, "capacity", ring->capacity);
    json_number(json, "max_message", ring->max_message);
    json_number(json, "publish_bytes", ring->publish_bytes);
    json_number(json, "head", ring->head);
    json_number(json, "tail", ring->tail);
    json_number(json, "messages", ring->messages);
    json_number(json, "bytes_behind", ring->tail - ring->head);
    json_number(json, "generation", ring->generation);
    json_text(json, "generation_of", printable(growth->stem, sizeof growth->stem, stem, sizeof stem));
    json_word(json, "replaced", ring->moved ? "true" : "false");
    json_word(json, "in_force", growth->in_force ? "true" : "false");
    json_side(json, "producer", &ring->producer);
    json_side(json, "consumer", &ring->consumer);
}

static void json_stuck(struct json *json, const struct ring_mpmc_info *info)
{
    if (!info->stuck) {
        json_word(json, "stuck", "null");
        return;
    }
    json_open(json, "stuck", '{');
    json_number(json, "position", info->head);
    if (info->stuck_pid)
        json_number(json, "pid", (uint64_t)info->stuck_pid);
    json_close(json, '}');
}

static void json_mpmc(struct json *json, struct ring_segment *segment, const char *ring,
                      const struct ring_mpmc_info *info)
{
    json_number(json, "slots", info->slots);
    json_number(json, "max_message", info->slot_bytes);
    json_number(json, "head", info->head);
    json_number(json, "tail", info->tail);
    json_number(json, "messages", info->messages);
    json_number(json, "held", info->held);
    json_text(json, "producers_mode", info->sole_producer ? "sole" : "shared");
    json_text(json, "consumers_mode", info->sole_consumer ? "sole" : "shared");
    json_stuck(json, info);
    json_number(json, "seats", info->seats);
    json_number(json, "producers", info->producers);
    json_number(json, "consumers", info->consumers);
    json_number(json, "dead", info->dead);
    json_open(json, "participants", '[');
    for (unsigned at = 0; at < info->seats; at++) {
        struct ring_mpmc_seat_info seat = { .struct_size = sizeof seat };
        if (ring_mpmc_seat_info(segment, ring, at, &seat))
            continue;
        json_open(json, NULL, '{');
        json_number(json, "seat", at);
        json_text(json, "role", seat.consumer ? "consumer" : "producer");
        json_holder(json, &seat.side);
        json_number(json, "position", seat.position);
        json_number(json, "positions", seat.positions);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void json_broadcast(struct json *json, struct ring_segment *segment, const char *ring,
                           const struct ring_broadcast_info *info)
{
    json_text(json, "policy", policy_word(info->policy));
    json_number(json, "slots", info->slots);
    json_number(json, "max_message", info->slot_bytes);
    json_number(json, "tail", info->tail);
    json_number(json, "oldest", info->oldest);
    json_side(json, "producer", &info->producer);
    json_number(json, "seats", info->seats);
    json_number(json, "living_consumers", info->consumers);
    json_open(json, "consumers", '[');
    for (unsigned at = 0; at < info->seats_used; at++) {
        struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
        if (ring_broadcast_seat_info(segment, ring, at, &seat))
            continue;
        json_open(json, NULL, '{');
        json_number(json, "seat", at);
        json_holder(json, &seat.consumer);
        json_word(json, "asleep", seat.consumer.asleep ? "true" : "false");
        json_number(json, "position", seat.position);
        json_number(json, "behind", seat.behind);
        json_number(json, "lost", seat.lost);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* ---- Both ---- */

void json_begin(struct json *json, const char *name, unsigned kind)
{
    json_open(json, NULL, '{');
    json_text(json, "name", name);
    json_text(json, "kind", kind_word(kind));
}

static void json_end(struct json *json, struct ring_segment *segment, const char *ring)
{
    show_pages(segment, ring, json);
    json_close(json, '}');
}

static int show_spsc(struct ring_segment *segment, const struct ring_entry_info *entry, const char *name,
                     struct json *json)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    int error = ring_spsc_info(segment, entry->name, &info);
    if (error)
        return error;
    struct growth growth = look_at_growth(segment, entry, &info);
    if (!json) {
        print_spsc(name, &info, &growth);
        return 0;
    }
    json_begin(json, name, RING_KIND_SPSC);
    json_spsc(json, &info, &growth);
    json_end(json, segment, entry->name);
    return 0;
}

static int show_mpmc(struct ring_segment *segment, const char *ring, const char *name, struct json *json)
{
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    int error = ring_mpmc_info(segment, ring, &info);
    if (error)
        return error;
    if (!json) {
        print_mpmc(segment, ring, name, &info);
        return 0;
    }
    json_begin(json, name, RING_KIND_MPMC);
    json_mpmc(json, segment, ring, &info);
    json_end(json, segment, ring);
    return 0;
}

static int show_broadcast(struct ring_segment *segment, const char *ring, const char *name, struct json *json)
{
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    int error = ring_broadcast_info(segment, ring, &info);
    if (error)
        return error;
    if (!json) {
        print_broadcast(segment, ring, name, &info);
        return 0;
    }
    json_begin(json, name, RING_KIND_BROADCAST);
    json_broadcast(json, segment, ring, &info);
    json_end(json, segment, ring);
    return 0;
}

static int show_kind(struct ring_segment *segment, const struct ring_entry_info *entry, struct json *json)
{
    char name[3 * RING_LAYOUT_NAME];
    printable(entry->name, sizeof entry->name, name, sizeof name);
    switch (entry->kind) {
    case RING_KIND_SPSC:
        return show_spsc(segment, entry, name, json);
    case RING_KIND_MPMC:
        return show_mpmc(segment, entry->name, name, json);
    case RING_KIND_BROADCAST:
        return show_broadcast(segment, entry->name, name, json);
    case RING_KIND_BLOCKS:
        return show_blocks(segment, entry->name, name, json);
    case RING_KIND_HEAP:
        return show_heap(segment, entry->name, name, json);
    default: /* of a later version */
        if (!json) {
            printf("\n  ring %s (of a kind that this ringctl does not know: %u)\n", name, entry->kind);
            return 0;
        }
        json_begin(json, name, entry->kind);
        json_end(json, segment, entry->name);
        return 0;
    }
}

int show_ring(struct ring_segment *segment, const struct ring_entry_info *entry, struct json *json)
{
    int error = show_kind(segment, entry, json);
    if (!error && !json)
        show_pages(segment, entry->name, NULL);
    return error;
}
