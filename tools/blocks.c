/* blocks.c - ringctl info: a pool of blocks, or a heap, for people and in JSON: how much of it is in use, and by whom.
 */
#include "ringctl.h"

#include <inttypes.h>

/* ---- Pools ---- */

static void print_class(const struct ring_blocks_class_info *class)
{
    char bytes[32];
    printf("    %-9s %" PRIu64 " of %s: %" PRIu64 " free, %" PRIu64 " kept by participants, %" PRIu64 " owned, %" PRIu64
           " in transit",
           "blocks", class->count, human_bytes(class->block_bytes, bytes, sizeof bytes), class->free, class->cached,
           class->owned, class->passed);
    if (class->of_the_dead)
        printf("; %" PRIu64 " are of the dead", class->of_the_dead);
    putchar('\n');
}

static void print_pool(struct ring_segment *segment, const char *pool, const char *name,
                       const struct ring_blocks_info *info)
{
    printf("\n  pool %s (blocks)%s\n", name, info->damaged ? ": DAMAGED, some words cannot be" : "");
    for (unsigned at = 0; at < info->class_count; at++)
        print_class(&info->classes[at]);
    printf("    %-9s %u in all; living: %u; dead: %u%s\n", "seats", info->seats, info->alive, info->dead,
           info->dead ? " (their blocks are free when they are needed; 'ringctl recover' mends now)" : "");
    for (unsigned at = 0; at < info->seats; at++) {
        struct ring_blocks_seat_info seat = { .struct_size = sizeof seat };
        if (ring_blocks_seat_info(segment, pool, at, &seat) || seat.side.peer == RING_PEER_CLOSED)
            continue;
        printf("    seat %-4u ", at);
        print_holder(&seat.side);
        printf(", owns %" PRIu64 ", keeps %" PRIu64 ", has sent %" PRIu64 " not accepted yet\n", seat.owned,
               seat.cached, seat.passed);
    }
}

static void json_pool(struct json *json, struct ring_segment *segment, const char *pool,
                      const struct ring_blocks_info *info)
{
    json_open(json, "classes", '[');
    for (unsigned at = 0; at < info->class_count; at++) {
        const struct ring_blocks_class_info *class = &info->classes[at];
        json_open(json, NULL, '{');
        json_number(json, "block_bytes", class->block_bytes);
        json_number(json, "count", class->count);
        json_number(json, "free", class->free);
        json_number(json, "cached", class->cached);
        json_number(json, "owned", class->owned);
        json_number(json, "passed", class->passed);
        json_number(json, "of_the_dead", class->of_the_dead);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_word(json, "damaged", info->damaged ? "true" : "false");
    json_number(json, "seats", info->seats);
    json_number(json, "alive", info->alive);
    json_number(json, "dead", info->dead);
    json_open(json, "participants", '[');
    for (unsigned at = 0; at < info->seats; at++) {
        struct ring_blocks_seat_info seat = { .struct_size = sizeof seat };
        if (ring_blocks_seat_info(segment, pool, at, &seat))
            continue;
        json_open(json, NULL, '{');
        json_number(json, "seat", at);
        json_holder(json, &seat.side);
        json_number(json, "owned", seat.owned);
        json_number(json, "cached", seat.cached);
        json_number(json, "passed", seat.passed);
        json_close(json, '}');
    }
    json_close(json, ']');
}

int show_blocks(struct ring_segment *segment, const char *pool, const char *name, struct json *json)
{
    struct ring_blocks_info info = { .struct_size = sizeof info };
    int error = ring_blocks_info(segment, pool, &info);
    if (error)
        return error;
    if (!json) {
        print_pool(segment, pool, name, &info);
        return 0;
    }
    json_begin(json, name, RING_KIND_BLOCKS);
    json_pool(json, segment, pool, &info);
    json_close(json, '}');
    return 0;
}

/* ---- Heaps ---- */

static void print_heap(const char *name, const struct ring_heap_info *info)
{
    char bytes[32], used[32], longest[32];
    printf("\n  heap %s (pieces of any size)\n", name);
    printf("    %-9s %s, %s of it used by %" PRIu64 " pieces; a piece of %s can be had\n", "size",
           human_bytes(info->bytes, bytes, sizeof bytes), human_bytes(info->used, used, sizeof used), info->pieces,
           human_bytes(info->longest, longest, sizeof longest));
    printf("    %-9s %u in all; living: %u; dead: %u%s\n", "seats", info->seats, info->alive, info->dead,
           info->dead ? " (what they had not kept is freed when it is needed; 'ringctl recover' does it now)" : "");
    if (info->locked)
        printf("    %-9s by pid %d, for an operation under way (or it died in it)\n", "locked", (int)info->locked_pid);
}

int show_heap(struct ring_segment *segment, const char *heap, const char *name, struct json *json)
{
    struct ring_heap_info info = { .struct_size = sizeof info };
    int error = ring_heap_info(segment, heap, &info);
    if (error)
        return error;
    if (!json) {
        print_heap(name, &info);
        return 0;
    }
    json_begin(json, name, RING_KIND_HEAP);
    json_number(json, "bytes", info.bytes);
    json_number(json, "used", info.used);
    json_number(json, "pieces", info.pieces);
    json_number(json, "longest", info.longest);
    json_number(json, "granule_bytes", info.granule_bytes);
    json_number(json, "seats", info.seats);
    json_number(json, "alive", info.alive);
    json_number(json, "dead", info.dead);
    json_word(json, "locked", info.locked ? "true" : "false");
    json_close(json, '}');
    return 0;
}
