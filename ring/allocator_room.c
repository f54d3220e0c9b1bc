/* allocator_room.c - level 5: room for named things, see allocator.c.
 *
 * Taken is what the READY entries say, free is the rest: the smallest free piece that is large enough is used, so that
 * large ones stay whole (best fit); what shares a page with things for another node is not used (allocator_pages.c).
 * Things are few and made seldom; the sum is done anew each time, under the lock.
 */
#include <ring/allocator_private.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ring/clock.h>
#include <ring/error.h>

struct piece {
    uint64_t from;
    uint64_t to;
    int class; /* its wish for a node */
};

struct room {
    struct piece *taken; /* ordered by `from` */
    unsigned count;
    unsigned index; /* first free entry, or the number of entries */
};

static int compare_pieces(const void *left, const void *right)
{
    const struct piece *a = left;
    const struct piece *b = right;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* What is taken, and the first free entry. -EEXIST: so is the name. */
static int survey(const struct ring_segment *segment, const char *name, struct room *room)
{
    unsigned entries = segment->constants.directory_entries;
    *room = (struct room){ .taken = malloc(entries * sizeof *room->taken), .index = entries };
    if (!room->taken)
        return ring_error(-ENOMEM, "out of memory");
    for (unsigned i = 0; i < entries; i++) {
        struct ring_entry_info entry;
        int code = ring_directory_copy(segment, i, &entry);
        if (code == -EUCLEAN)
            return ring_error(code, "place %u of the directory of %s is damaged", i, segment->name);
        if (code == -ENOENT) {
            room->index = room->index == entries ? i : room->index;
            continue;
        }
        if (strcmp(entry.name, name) == 0 || ring_directory_descends(&entry, name))
            return ring_error(-EEXIST, "there is a ring '%s' in %s already", name, segment->name);
        room->taken[room->count++] = (struct piece){ entry.offset, entry.offset + entry.bytes, entry.node };
    }
    qsort(room->taken, room->count, sizeof *room->taken, compare_pieces);
    return 0;
}

/* Best fit: *best is the gap. *largest: bytes of the largest one. */
static bool fit(const struct ring_segment *segment, const struct room *room, int class, const struct ring_place *place,
                struct ring_gap *best, uint64_t *largest)
{
    uint64_t align = place->align ? place->align : RING_LAYOUT_PAGE;
    struct ring_gap gap = { .from = segment->constants.arena_offset, .class_before = RING_NODE_ANY };
    uint64_t smallest = UINT64_MAX;
    *largest = 0;
    for (unsigned i = 0; i <= room->count; i++) {
        const struct piece *next = i < room->count ? &room->taken[i] : NULL;
        gap.to = next ? next->from : segment->constants.bytes;
        gap.class_behind = next ? next->class : class;
        struct ring_gap trimmed = gap;
        ring_directory_trim(segment, class, &trimmed);
        trimmed.from = ring_segment_round_up(trimmed.from, align);
        uint64_t free_bytes = trimmed.to > trimmed.from ? trimmed.to - trimmed.from : 0;
        if (free_bytes >= place->bytes && free_bytes < smallest) {
            smallest = free_bytes;
            *best = trimmed;
        }
        *largest = free_bytes > *largest ? free_bytes : *largest;
        if (next && next->to > gap.from) {
            gap.from = next->to;
            gap.class_before = next->class;
        }
    }
    return smallest != UINT64_MAX;
}

static void announce(struct ring_segment *segment, unsigned index, const char *name, enum ring_layout_kind kind,
                     uint64_t offset, int class, const struct ring_place *place)
{
    struct ring_layout_entry *entry = ring_directory_entry(segment, index);
    uint64_t words[RING_LAYOUT_NAME / 8];
    memset(words, 0, sizeof words);
    memcpy(words, name, strlen(name));
    /* R5: each release, pairs with R4: the word that says FREE comes before. */
    ring_atomic_store(&entry->offset, offset, memory_order_release);
    ring_atomic_store(&entry->bytes, place->bytes, memory_order_release);
    ring_atomic_store(&entry->created_ns, ring_clock_realtime(), memory_order_release);
    ring_atomic_store(&entry->generation, place->generation, memory_order_release);
    ring_atomic_store(&entry->stem, place->stem, memory_order_release);
    ring_atomic_store(&entry->node, class, memory_order_release);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ring_atomic_store(&entry->name[i], words[i], memory_order_release);
    uint64_t turn = ring_atomic_load(&entry->word, memory_order_relaxed) >> RING_ENTRY_TURN; /* ordered by the lock */
    /* R1: release, pairs with R0. */
    ring_atomic_store(&entry->word, turn << RING_ENTRY_TURN | (uint64_t)kind << RING_ENTRY_KIND | RING_ENTRY_READY,
                      memory_order_release);
}

static int make_locked(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                       const struct ring_place *place, const struct room *room)
{
    struct ring_gap gap;
    uint64_t largest;
    int class;
    int code = ring_directory_class(segment, place, &class);
    if (code)
        return code;
    if (room->index == segment->constants.directory_entries)
        return ring_error(-ENOSPC,
                          "the directory of %s has %u places and all are taken: create the segment with more "
                          "(.rings), or remove a ring",
                          segment->name, room->index);
    if (!fit(segment, room, class, place, &gap, &largest))
        return ring_error(-ENOSPC,
                          "ring '%s' needs %llu bytes, the largest free piece of %s has %llu: create the segment with "
                          "%llu bytes more (.bytes), the ring smaller, or remove a ring",
                          name, (unsigned long long)place->bytes, segment->name, (unsigned long long)largest,
                          (unsigned long long)(place->bytes - largest));
    code = ring_directory_settle_new(segment, class, &gap, gap.from, place->bytes);
    if (code)
        return code;
    unsigned char *address = segment->memory.address + gap.from;
    memset(address, 0, place->control_bytes);
    place->fill(address, place->options);
    announce(segment, room->index, name, kind, gap.from, class, place);
    return 0;
}

int ring_directory_make(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                        const struct ring_place *place)
{
    struct ring_claim *lock;
    int code = ring_directory_check_name(name);
    if (!code)
        code = ring_directory_lock(segment, &lock);
    if (code)
        return code;
    struct room room;
    code = survey(segment, name, &room);
    if (!code)
        code = make_locked(segment, name, kind, place, &room);
    free(room.taken);
    ring_claim_drop(lock);
    return code;
}
