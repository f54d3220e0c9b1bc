/* allocator.c - level 5: the directory of named things, finding them and giving them back.
 *
 * Makers and those who free come one at a time: they hold the directory's lock byte, which the kernel frees when its
 * holder dies. A maker fills its place and its entry first and release-stores READY last, so a death half-way leaves a
 * FREE entry that the next maker uses again. Which room is taken is not stored but computed from the READY entries:
 * there is no second truth that a death could leave behind. Freeing is one store: READY, then FREE.
 *
 * Readers take no lock to look: an entry is copied between two loads of its word, which counts how often the place was
 * given back, and counts when both are the same. Whoever goes on to use what was found first shares the entry's
 * presence byte, then looks at the word once more (enter). Who frees takes that byte alone: it is refused while anybody
 * living uses the thing; and whoever finds the byte taken, or the word changed, has found something that is gone.
 * Nothing is touched before that, so room that was given back belongs to the next maker at once.
 *
 * What is read is copied once and checked, since any peer can write here.
 */
#include <ring/allocator_private.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ring/clock.h>
#include <ring/error.h>

enum { ATTEMPTS = 100, RING_LAYOUT_SEAT = 256 };

struct ring_layout_entry *ring_directory_entry(const struct ring_segment *segment, unsigned index)
{
    return (struct ring_layout_entry *)(void *)(segment->memory.address + segment->constants.directory_offset) + index;
}

int ring_directory_check_name(const char *name)
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

/* The entry's fields. Each is loaded with acquire (R4, pairs with R5): so the second look at the word comes after them,
 * and who has read a field of a later maker sees that the word was FREE meanwhile. */
static void copy_fields(const struct ring_layout_entry *entry, struct ring_entry_info *copy)
{
    uint64_t name[RING_LAYOUT_NAME / 8];
    copy->offset = ring_atomic_load(&entry->offset, memory_order_acquire);
    copy->bytes = ring_atomic_load(&entry->bytes, memory_order_acquire);
    copy->created_ns = ring_atomic_load(&entry->created_ns, memory_order_acquire);
    copy->generation = ring_atomic_load(&entry->generation, memory_order_acquire);
    copy->stem = ring_atomic_load(&entry->stem, memory_order_acquire);
    copy->node = ring_atomic_load(&entry->node, memory_order_acquire);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        name[i] = ring_atomic_load(&entry->name[i], memory_order_acquire);
    memcpy(copy->name, name, sizeof copy->name);
}

int ring_directory_copy(const struct ring_segment *segment, unsigned index, struct ring_entry_info *copy)
{
    const struct ring_layout_entry *entry = ring_directory_entry(segment, index);
    uint64_t word = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        /* R0: acquire, pairs with R1: the entry's other fields and its ring's control page come with it. */
        word = ring_atomic_load(&entry->word, memory_order_acquire);
        if ((word & RING_ENTRY_STATE) != RING_ENTRY_READY)
            return -ENOENT;
        copy_fields(entry, copy);
        if (ring_atomic_load(&entry->word, memory_order_relaxed) == word) /* R0: the same as before R4 */
            break;
        word = 0;
    }
    if (!word)
        return -ENOENT; /* in motion all the time: nobody correct does that */
    copy->kind = word >> RING_ENTRY_KIND & 0xff;
    copy->turn = word >> RING_ENTRY_TURN;
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
    code = ring_directory_copy(segment, index, entry);
    if (code == -ENOENT)
        return ring_error(code, "there is no ring at place %u", index);
    if (code)
        return ring_error(code, "place %u of the directory of %s is damaged", index, segment->name);
    return 0;
}

bool ring_directory_descends(const struct ring_entry_info *entry, const char *name)
{
    return entry->generation && strlen(name) == entry->stem && memcmp(entry->name, name, entry->stem) == 0;
}

/* By name alone. */
static int find_any(const struct ring_segment *segment, const char *name, struct ring_entry_info *entry,
                    unsigned *index)
{
    int code = ring_directory_check_name(name);
    bool found = false;
    for (unsigned i = 0; !code && i < segment->constants.directory_entries; i++) {
        struct ring_entry_info other;
        code = ring_directory_copy(segment, i, &other);
        if (code == -EUCLEAN)
            return ring_error(code, "place %u of the directory of %s is damaged", i, segment->name);
        bool same = code == 0 && strcmp(other.name, name) == 0;
        bool later =
            code == 0 && ring_directory_descends(&other, name) && (!found || other.generation < entry->generation);
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
    return found ? 0
                 : ring_error(
                       -ENOENT,
                       "there is no ring '%s' in segment %s: whoever comes first creates it (ring_spsc_create() and "
                       "the like, or 'ringctl create'); 'ringctl info' shows what is there",
                       name, segment->name);
}

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = { "nothing",          "an SPSC ring",     "an MPMC ring",
                                         "a broadcast ring", "a pool of blocks", "a heap" };
    return kind < sizeof names / sizeof *names ? names[kind] : "of a kind that this release does not know";
}

static int wrong_kind(const struct ring_segment *segment, const struct ring_entry_info *entry, unsigned wanted)
{
    return ring_error(-EINVAL, "'%s' in %s is %s, not %s", entry->name, segment->name, kind_name(entry->kind),
                      kind_name(wanted));
}

int ring_directory_find(const struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                        struct ring_entry_info *entry, unsigned *index)
{
    int code = find_any(segment, name, entry, index);
    if (!code && entry->kind != (unsigned)kind)
        return wrong_kind(segment, entry, kind);
    return code;
}

static uint64_t word_of(const struct ring_entry_info *entry)
{
    return entry->turn << RING_ENTRY_TURN | (uint64_t)entry->kind << RING_ENTRY_KIND | RING_ENTRY_READY;
}

static bool is_still(const struct ring_segment *segment, const struct ring_entry_info *entry, unsigned index)
{
    /* R0: ordered behind the presence byte, see R3. */
    return ring_atomic_load(&ring_directory_entry(segment, index)->word, memory_order_acquire) == word_of(entry);
}

int ring_directory_enter_any(struct ring_segment *segment, const char *name, struct ring_entry_info *entry,
                             unsigned *index, struct ring_claim **claim)
{
    *claim = NULL;
    int64_t deadline = ring_clock_deadline(RING_DIRECTORY_LIMIT_NS);
    unsigned attempt = 0;
    int changes = 0;
    for (;;) {
        int code = find_any(segment, name, entry, index);
        if (!code)
            code = ring_claim_share(claim, &segment->witness, RING_LOCK_PRESENCE + (int64_t)*index);
        if (!code && is_still(segment, entry, *index))
            break;
        ring_claim_drop(*claim);
        *claim = NULL;
        if (code && code != -EBUSY)
            return code;
        if (!code && ++changes == ATTEMPTS) /* freed and made anew between two looks, each time: nobody does that */
            return ring_error(-EUCLEAN, "place %u of the directory of %s does not come to rest", *index, segment->name);
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-EBUSY,
                              "another process has been removing the ring '%s' of %s for over 5 s: is it stopped?",
                              name, segment->name);
    }
    int code = ring_directory_settle(segment, entry, *index);
    if (code) {
        ring_claim_drop(*claim);
        *claim = NULL;
    }
    return code;
}

int ring_directory_enter(struct ring_segment *segment, const char *name, enum ring_layout_kind kind,
                         struct ring_entry_info *entry, unsigned *index, struct ring_claim **claim)
{
    int code = ring_directory_enter_any(segment, name, entry, index, claim);
    if (!code && entry->kind != (unsigned)kind) {
        ring_claim_drop(*claim);
        return wrong_kind(segment, entry, kind);
    }
    return code;
}

int ring_directory_lock(struct ring_segment *segment, struct ring_claim **lock)
{
    int64_t deadline = ring_clock_deadline(RING_DIRECTORY_LIMIT_NS);
    unsigned attempt = 0;
    int code;
    while ((code = ring_claim_take(lock, &segment->witness, RING_LOCK_DIRECTORY)) == -EBUSY)
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-EBUSY, "another process has held the directory of %s for over 5 s: is it stopped?",
                              segment->name);
    return code;
}

/* ---- Freeing ---- */

static_assert(sizeof(struct ring_layout_seat) == RING_LAYOUT_SEAT &&
                  sizeof(struct ring_layout_broadcast_seat) == RING_LAYOUT_SEAT &&
                  sizeof(struct ring_layout_block_seat) == RING_LAYOUT_SEAT &&
                  sizeof(struct ring_layout_heap_seat) == RING_LAYOUT_SEAT,
              "seats begin behind the control page, in things of all kinds, with the record");

/* Who has the lock byte of a seat or role? For people; -1: the record is not where we know it. */
static int pid_of_seat(const struct ring_segment *segment, const struct ring_entry_info *entry, unsigned index,
                       int64_t byte)
{
    uint64_t at = UINT64_MAX;
    uint64_t seat = (uint64_t)(byte - RING_LOCK_SEATS - (int64_t)RING_SEATS_MAX * index);
    bool consumer = byte == RING_LOCK_ROLES + 2 * (int64_t)index + 1;
    if (byte >= RING_LOCK_SEATS && seat < RING_SEATS_MAX && entry->kind != RING_KIND_SPSC)
        at = RING_LAYOUT_PAGE + seat * RING_LAYOUT_SEAT;
    else if (entry->kind == RING_KIND_SPSC)
        at = consumer ? offsetof(struct ring_layout_spsc, consumer) : offsetof(struct ring_layout_spsc, producer);
    else if (entry->kind == RING_KIND_BROADCAST)
        at = offsetof(struct ring_layout_broadcast, producer);
    if (at > entry->bytes - sizeof(struct ring_layout_role))
        return -1;
    const unsigned char *place = segment->memory.address + entry->offset + at;
    return ring_atomic_load(&((const struct ring_layout_role *)(const void *)place)->pid,
                            memory_order_relaxed); /* L3 */
}

/* -EBUSY, and who holds it, when a living participant has a role or a seat of it. */
static int refuse_if_held(struct ring_segment *segment, const struct ring_entry_info *entry, unsigned index)
{
    int64_t byte = -1;
    if (entry->kind != RING_KIND_MPMC) /* there it is the ring's lock, which is held for moments, and by participants */
        byte = ring_claim_first_held(&segment->witness, RING_LOCK_ROLES + 2 * (int64_t)index, 2);
    if (byte < 0)
        byte =
            ring_claim_first_held(&segment->witness, RING_LOCK_SEATS + (int64_t)RING_SEATS_MAX * index, RING_SEATS_MAX);
    if (byte < 0)
        return 0;
    int pid = pid_of_seat(segment, entry, index, byte);
    if (pid <= 0)
        return ring_error(-EBUSY, "'%s' in %s is in use by a living process: see 'ringctl info %s'", entry->name,
                          segment->name, segment->name);
    return ring_error(-EBUSY,
                      "'%s' in %s is in use by process %d%s: it can be removed when that has closed it or ended",
                      entry->name, segment->name, pid, pid == (int)(uint32_t)segment->process ? " (this one)" : "");
}

/* Takes the presence byte alone. Without a seat only an observer, or one who is just looking, can be there. */
static int drive_out(struct ring_segment *segment, const struct ring_entry_info *entry, unsigned index,
                     struct ring_claim **alone)
{
    enum { LOOKERS_LIMIT_NS = 200000000 };
    int64_t deadline = ring_clock_deadline(LOOKERS_LIMIT_NS);
    unsigned attempt = 0;
    for (;;) {
        int code = refuse_if_held(segment, entry, index);
        if (!code)
            code = ring_claim_take(alone, &segment->witness, RING_LOCK_PRESENCE + (int64_t)index);
        else
            return code;
        if (code != -EBUSY)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-EBUSY,
                              "'%s' in %s is being observed by a living process: it can be removed when that "
                              "has closed its observer or ended",
                              entry->name, segment->name);
    }
}

/* Generations of a ring go the oldest first: whoever comes by the name walks from the oldest to the newest, and would
 * not find what is behind a gap. */
static int refuse_if_behind(const struct ring_segment *segment, const struct ring_entry_info *entry)
{
    char first[RING_LAYOUT_NAME];
    struct ring_entry_info other;
    snprintf(first, sizeof first, "%.*s", (int)entry->stem, entry->name);
    for (unsigned i = 0; entry->generation && i < segment->constants.directory_entries; i++) {
        int code = ring_directory_copy(segment, i, &other);
        bool older = code == 0 && other.generation < entry->generation &&
                     (other.generation ? ring_directory_descends(&other, first) : strcmp(other.name, first) == 0);
        if (older)
            return ring_error(-EBUSY, "'%s' in %s comes behind '%s', through which it is found: remove that first",
                              entry->name, segment->name, other.name);
    }
    return 0;
}

int ring_segment_free(struct ring_segment *segment, const char *name)
{
    struct ring_entry_info entry;
    unsigned index;
    struct ring_claim *lock;
    struct ring_claim *alone;
    int code = ring_segment_usable(segment);
    if (!code)
        code = ring_directory_check_name(name);
    if (!code)
        code = ring_directory_lock(segment, &lock);
    if (code)
        return code;
    code = find_any(segment, name, &entry, &index);
    if (!code)
        code = refuse_if_behind(segment, &entry);
    if (!code)
        code = drive_out(segment, &entry, index, &alone);
    if (!code) {
        /* R3: release; whoever entered before has left (the presence byte), whoever enters later sees this. */
        ring_atomic_store(&ring_directory_entry(segment, index)->word,
                          (entry.turn + 1) << RING_ENTRY_TURN | RING_ENTRY_FREE, memory_order_release);
        ring_directory_give_back(segment, &entry);
        ring_claim_drop(alone);
    }
    ring_claim_drop(lock);
    return code;
}
