/* allocator.c - level 5: the directory of named rings, and room for them.
 *
 * Makers come one at a time: they hold the directory's lock byte, which the kernel frees when its holder dies. A maker
 * fills its place and its entry first and release-stores READY last, so a death half-way leaves a FREE entry that the
 * next maker uses again. Where the free part of the arena begins is not stored but computed from the READY entries:
 * there is no second truth that a death could leave behind.
 *
 * Readers take no lock. What they read is copied once and checked, since any peer can write here.
 */
#include <ring/allocator.h>

#include <errno.h>
#include <string.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/segment_private.h>

#define LOCK_LIMIT_NS INT64_C(5000000000)

static struct ring_layout_entry *entry_at(const struct ring_segment *segment, unsigned index)
{
    return (struct ring_layout_entry *)(void *)(segment->memory.address + segment->constants.directory_offset) + index;
}

static int check_name(const char *name)
{
    if (!name || name[0] == '\0')
        return ring_error(-EINVAL, "a ring needs a name of 1 to %d characters", RING_NAME_MAX);
    if (strlen(name) > RING_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a ring's name has at most %d characters, '%.20s...' has %zu", RING_NAME_MAX,
                          name, strlen(name));
    for (const char *at = name; *at; at++)
        if (*at == '/' || (unsigned char)*at < ' ' || *at == 127)
            return ring_error(-EINVAL, "a ring's name holds no slash and no control character");
    return 0;
}

/* A copy of a READY entry that lies wholly in the arena, else -ENOENT or -EUCLEAN. */
static int copy_entry(const struct ring_segment *segment, unsigned index, struct ring_entry_info *copy)
{
    const struct ring_layout_entry *entry = entry_at(segment, index);
    /* R0: acquire, pairs with R1: the entry's other fields and its ring's control page come with it. */
    if (ring_atomic_load(&entry->state, memory_order_acquire) != RING_ENTRY_READY)
        return -ENOENT;
    copy->kind = entry->kind;
    copy->offset = entry->offset;
    copy->bytes = entry->bytes;
    copy->created_ns = entry->created_ns;
    copy->generation = entry->generation;
    copy->stem = entry->stem;
    memcpy(copy->name, entry->name, sizeof copy->name);
    uint64_t end = segment->constants.bytes;
    if (copy->offset % RING_LAYOUT_PAGE || copy->offset < segment->constants.arena_offset || copy->offset > end ||
        copy->bytes % RING_LAYOUT_PAGE || copy->bytes == 0 || copy->bytes > end - copy->offset ||
        copy->name[RING_NAME_MAX] != '\0' || copy->name[0] == '\0' || (copy->generation == 0) != (copy->stem == 0) ||
        copy->stem >= strlen(copy->name))
        return -EUCLEAN;
    return 0;
}

int ring_segment_entry(const struct ring_segment *segment, unsigned index, struct ring_entry_info *entry)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!entry)
        return ring_error(-EINVAL, "the place for the entry is NULL");
    if (index >= segment->constants.directory_entries)
        return ring_error(-ENOENT, "the directory has %u places", segment->constants.directory_entries);
    code = copy_entry(segment, index, entry);
    if (code == -ENOENT)
        return ring_error(code, "there is no ring at place %u", index);
    if (code)
        return ring_error(code, "place %u of the directory of %s is damaged", index, segment->name);
    return 0;
}

/* Is it a later generation of the ring that was made by that name? */
static bool descends_from(const struct ring_entry_info *entry, const char *name)
{
    return entry->generation && strlen(name) == entry->stem && memcmp(entry->name, name, entry->stem) == 0;
}

int ring_directory_find(const struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                        struct ring_entry_info *entry, unsigned *index)
{
    int code = check_name(name);
    bool found = false;
    for (unsigned i = 0; !code && i < segment->constants.directory_entries; i++) {
        struct ring_entry_info other;
        code = copy_entry(segment, i, &other);
        if (code == -EUCLEAN)
            return ring_error(code, "place %u of the directory of %s is damaged", i, segment->name);
        bool same = code == 0 && strcmp(other.name, name) == 0;
        bool later = code == 0 && descends_from(&other, name) && (!found || other.generation < entry->generation);
        code = 0;
        if (same || later) {
            found = true;
            *index = i;
            *entry = other;
        }
        if (same)
            break;
    }
    if (code)
        return code;
    if (!found)
        return ring_error(-ENOENT,
                          "there is no ring '%s' in segment %s: create it with ring_spsc_create() or 'ringctl create', "
                          "see 'ringctl info'",
                          name, segment->name);
    if (entry->kind != (unsigned)kind)
        return ring_error(-EINVAL, "'%s' in %s is a ring of another kind (%u)", name, segment->name, entry->kind);
    return 0;
}

/* First free byte behind all rings, and first free entry (the number of entries when there is none). */
static int find_room(const struct ring_segment *segment, const char *name, uint64_t *offset, unsigned *index)
{
    unsigned entries = segment->constants.directory_entries;
    *offset = segment->constants.arena_offset;
    *index = entries;
    for (unsigned i = 0; i < entries; i++) {
        struct ring_entry_info entry;
        int code = copy_entry(segment, i, &entry);
        if (code == -EUCLEAN)
            return ring_error(code, "place %u of the directory of %s is damaged", i, segment->name);
        if (code == -ENOENT) {
            *index = *index == entries ? i : *index;
            continue;
        }
        if (strcmp(entry.name, name) == 0 || descends_from(&entry, name))
            return ring_error(-EEXIST, "there is a ring '%s' in %s already", name, segment->name);
        if (entry.offset + entry.bytes > *offset)
            *offset = entry.offset + entry.bytes;
    }
    return 0;
}

static int make_locked(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                       const struct ring_place *place)
{
    uint64_t offset;
    unsigned index;
    int code = find_room(segment, name, &offset, &index);
    if (code)
        return code;
    if (index == segment->constants.directory_entries)
        return ring_error(-ENOSPC,
                          "the directory of %s has %u places and all are taken: create the segment with more "
                          "(.rings)",
                          segment->name, index);
    uint64_t left = segment->constants.bytes - offset;
    if (place->bytes > left)
        return ring_error(-ENOSPC,
                          "ring '%s' needs %llu bytes, %s has %llu left: create the segment with .bytes of at "
                          "least %llu, or the ring smaller",
                          name, (unsigned long long)place->bytes, segment->name, (unsigned long long)left,
                          (unsigned long long)(offset + place->bytes));
    unsigned char *address = segment->memory.address + offset;
    memset(address, 0, place->control_bytes);
    place->fill(address, place->options);
    struct ring_layout_entry *entry = entry_at(segment, index);
    entry->kind = kind;
    entry->offset = offset;
    entry->bytes = place->bytes;
    entry->created_ns = ring_clock_realtime();
    entry->generation = place->generation;
    entry->stem = place->stem;
    memset(entry->name, 0, sizeof entry->name);
    memcpy(entry->name, name, strlen(name));
    /* R1: release, pairs with R0. */
    ring_atomic_store(&entry->state, RING_ENTRY_READY, memory_order_release);
    return 0;
}

int ring_directory_make(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                        const struct ring_place *place)
{
    int code = check_name(name);
    if (code)
        return code;
    struct ring_claim *lock;
    int64_t deadline = ring_clock_deadline(LOCK_LIMIT_NS);
    unsigned attempt = 0;
    while ((code = ring_claim_take(&lock, &segment->witness, RING_LOCK_DIRECTORY)) == -EBUSY)
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-EBUSY, "another process has held the directory of %s for over 5 s: is it stopped?",
                              segment->name);
    if (code)
        return code;
    code = make_locked(segment, name, kind, place);
    ring_claim_drop(lock);
    return code;
}
