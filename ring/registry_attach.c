/* registry_attach.c - level 7: what can be looked up comes, goes and is replaced; see registry.c.
 *
 * All of it under the cold lock, but for what may wait: attaching a segment and trying an end. Then the name is marked
 * `coming`, so that of two who attach the same name one is told -EEXIST.
 */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ring/allocator.h>
#include <ring/error.h>

/* ---- Segments, each mapped once ---- */

static void drop_segment(struct ring_registry_segment *shared)
{
    if (--shared->users)
        return;
    struct ring_registry_segment **at = &ring_registry_all.segments;
    while (*at != shared)
        at = &(*at)->next;
    *at = shared->next;
    ring_segment_close(&shared->segment);
    free(shared);
}

/* One that is mapped already and still bears its name. */
static struct ring_registry_segment *known_segment(const char *name, unsigned flags)
{
    for (struct ring_registry_segment *at = ring_registry_all.segments; at; at = at->next)
        if (at->flags == flags && strcmp(at->name, name) == 0 && ring_segment_is_current(at->segment) == 1) {
            at->users++;
            return at;
        }
    return NULL;
}

static struct ring_registry_segment *add_segment(struct ring_segment *segment, const char *name, unsigned flags)
{
    struct ring_registry_segment *shared = calloc(1, sizeof *shared);
    if (!shared)
        return NULL;
    shared->segment = segment;
    shared->users = 1;
    shared->flags = flags;
    snprintf(shared->name, sizeof shared->name, "%s", name);
    shared->next = ring_registry_all.segments;
    ring_registry_all.segments = shared;
    return shared;
}

/* The segment of that name, mapped; one more user of it. Called without the lock. */
static int take_segment(const char *name, unsigned flags, int64_t timeout_ns, struct ring_registry_segment **shared)
{
    if (!ring_registry_lock())
        return -ENOMEM;
    *shared = known_segment(name, flags);
    ring_registry_unlock();
    if (*shared)
        return 0;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_segment *segment;
    options.flags = flags;
    int code = ring_segment_attach(&segment, name, &options, timeout_ns);
    if (code)
        return code;
    ring_registry_lock();
    *shared = known_segment(name, flags); /* another thread may have been faster */
    if (!*shared && (*shared = add_segment(segment, name, flags)))
        segment = NULL;
    ring_registry_unlock();
    if (segment)
        ring_segment_close(&segment);
    return *shared ? 0 : ring_error(-ENOMEM, "no memory for a segment's place in the registry");
}

/* ---- Entries ---- */

/* Closes what an entry holds; nobody can find it any more. Called without the lock. */
static void close_entry(struct ring_registry_entry *entry)
{
    for (unsigned i = 0; i <= RING_REGISTRY_THREADS; i++)
        ring_registry_put_end(entry, i, NULL);
    if (entry->single)
        ring_registry_close_end(entry->kind, entry->single);
    ring_registry_lock();
    drop_segment(entry->shared);
    ring_registry_unlock();
    free(ring_atomic_load(&entry->far, memory_order_relaxed)); /* ordered by the grace period */
    free(entry);
}

/* In liburcu's helper thread, when all sections that may have found the entry are over. */
static void close_later(struct rcu_head *rcu)
{
    RING_REGISTRY_ACQUIRE(&urcu_bp_gp);
    close_entry(RING_REGISTRY_AROUND(rcu, struct ring_registry_entry, rcu));
    ring_registry_lock();
    ring_registry_all.waiting--;
    ring_registry_unlock();
    RING_REGISTRY_RELEASE(&ring_registry_all.waiting);
}

static void retire(struct ring_registry_entry *entry)
{
    ring_registry_all.waiting++;
    RING_REGISTRY_RELEASE(&urcu_bp_gp);
    urcu_bp_call_rcu(&entry->rcu, close_later);
}

/* What a fork left is closed by the child, outside of any section. */
static void close_inherited(void)
{
    if (!ring_registry_lock())
        return;
    struct ring_registry_entry *entry = ring_registry_all.inherited;
    ring_registry_all.inherited = NULL;
    for (; entry; entry = entry->next)
        retire(entry);
    ring_registry_unlock();
}

/* An entry whose ring is there, or whose end is taken if the ring has it once. Called without the lock. */
static int make_entry(struct ring_registry_entry **made, enum ring_registry_end end, const char *segment,
                      const char *ring, unsigned flags, int64_t timeout_ns)
{
    struct ring_registry_entry *entry = aligned_alloc(RING_CACHE_LINE, sizeof *entry);
    if (!entry)
        return ring_error(-ENOMEM, "no memory for a registration");
    memset((void *)entry, 0, sizeof *entry);
    int code = take_segment(segment, flags, timeout_ns, &entry->shared);
    if (code) {
        free(entry);
        return code;
    }
    entry->kind = ring_registry_kind(end);
    entry->end = end;
    entry->segment = entry->shared->segment;
    snprintf(entry->ring, sizeof entry->ring, "%s", ring ? ring : "");
    if (entry->kind->look) {
        code = ring_registry_await_ring(entry->kind, entry->segment, ring, timeout_ns);
    } else if (entry->kind->once) {
        entry->single = ring_registry_open_end(entry->kind, entry->segment, ring, timeout_ns, &code);
        if (!entry->single && code == -EBUSY && !urcu_bp_read_ongoing()) { /* ours, and about to be closed? */
            ring_registry_settle();
            entry->single = ring_registry_open_end(entry->kind, entry->segment, ring, timeout_ns, &code);
        }
    }
    if (code) {
        close_entry(entry);
        return code;
    }
    *made = entry;
    return 0;
}

static int check_options(const char *name, const struct ring_registry_options *options)
{
    int code = ring_registry_check_name(name);
    if (code)
        return code;
    if (!options || options->struct_size != sizeof *options)
        return ring_error(-EINVAL, "start the options from ring_registry_defaults(): struct_size is not as this "
                                   "library knows it");
    const struct ring_registry_kind *kind = ring_registry_kind(options->end);
    if (!kind)
        return ring_error(-EINVAL, "there is no kind of end %d", (int)options->end);
    if (kind->bytes && !options->ring)
        return ring_error(-EINVAL, "the ring's name is NULL");
    if (kind->bytes && strlen(options->ring) > RING_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a ring's name has at most %d characters, '%.20s...' has %zu", RING_NAME_MAX,
                          options->ring, strlen(options->ring));
    return 0;
}

static void replace(struct ring_registry_record *record, struct ring_registry_entry *entry)
{
    struct ring_registry_entry *before = ring_registry_entry_of(record);
    ring_registry_put(record, entry);
    if (before)
        retire(before);
}

int ring_registry_attach(const char *text, const struct ring_registry_options *options, int64_t timeout_ns)
{
    int code = check_options(text, options);
    if (code)
        return code;
    close_inherited();
    if (!ring_registry_lock())
        return -ENOMEM;
    struct ring_registry_record *record = ring_registry_take_record(text);
    bool taken = record && (ring_registry_entry_of(record) || record->coming);
    if (record && !taken)
        record->coming = true;
    else if (taken)
        ring_registry_drop_record(record);
    ring_registry_unlock();
    if (!record)
        return ring_error(-ENOMEM, "no memory for a name in the registry");
    if (taken)
        return ring_error(-EEXIST, "'%s' is attached already: detach it first, or refresh it", text);
    struct ring_registry_entry *entry;
    code = make_entry(&entry, options->end, options->segment ? options->segment : text, options->ring, options->flags,
                      timeout_ns);
    ring_registry_lock();
    record->coming = false;
    if (code) {
        ring_registry_drop_record(record);
    } else {
        replace(record, entry);
        ring_registry_all.attached++;
    }
    ring_registry_unlock();
    return code;
}

static void detach_locked(struct ring_registry_record *record)
{
    replace(record, NULL);
    ring_registry_all.attached--;
    ring_registry_drop_record(record);
}

int ring_registry_detach(const char *text)
{
    int code = ring_registry_check_name(text);
    if (code)
        return code;
    close_inherited();
    if (!ring_registry_lock())
        return -ENOMEM;
    struct ring_registry_record *record = ring_registry_find_record(text);
    bool attached = record && ring_registry_entry_of(record);
    if (attached)
        detach_locked(record);
    ring_registry_unlock();
    return attached ? 0 : ring_error(-ENOENT, "'%s' is not attached", text);
}

int ring_registry_detach_all(void)
{
    close_inherited();
    if (!ring_registry_lock())
        return -ENOMEM;
    for (struct ring_registry_record *record = ring_registry_next_record(NULL), *next; record; record = next) {
        next = ring_registry_next_record(record); /* detaching may free this one */
        if (ring_registry_entry_of(record))
            detach_locked(record);
    }
    ring_registry_unlock();
    ring_registry_settle();
    return 0;
}

/* ---- Peers that came again ---- */

/* Replaces what the name stands for if its segment's name leads to another one now. `record` is held by a user. */
static int refresh(struct ring_registry_record *record)
{
    char segment[RING_SEGMENT_NAME_MAX + 2], ring[RING_LAYOUT_NAME];
    enum ring_registry_end end = RING_REGISTRY_SEGMENT;
    unsigned flags = 0;
    ring_registry_lock();
    struct ring_registry_entry *before = record->coming ? NULL : ring_registry_entry_of(record);
    int code = before ? ring_segment_is_current(before->segment) : 1;
    if (code == 0) {
        record->coming = true;
        memcpy(segment, before->shared->name, sizeof segment);
        memcpy(ring, before->ring, sizeof ring);
        end = before->end;
        flags = before->shared->flags;
    }
    ring_registry_unlock();
    if (code)
        return code < 0 && code != -ENOENT ? code : 0; /* the same; or nothing there yet */
    struct ring_registry_entry *entry;
    code = make_entry(&entry, end, segment, ring, flags, RING_NO_WAIT);
    ring_registry_lock();
    record->coming = false;
    if (!code && ring_registry_entry_of(record) == before) {
        replace(record, entry);
        ring_registry_all.replaced++;
        code = 1;
    } else if (!code) { /* detached meanwhile */
        retire(entry);
    }
    ring_registry_unlock();
    return code;
}

int ring_registry_refresh(const char *text)
{
    struct ring_registry_name *name = NULL;
    int code = ring_registry_open(&name, text);
    if (code)
        return code;
    code = refresh(name->record);
    ring_registry_close(&name);
    return code;
}

int ring_registry_refresh_all(void)
{
    struct ring_registry_record **held = NULL;
    size_t count = 0;
    int replaced = 0, worst = 0;
    close_inherited();
    if (!ring_registry_lock())
        return -ENOMEM;
    held = calloc(ring_registry_all.names + 1, sizeof *held);
    for (struct ring_registry_record *record = NULL; (record = ring_registry_next_record(record));) {
        if (held && ring_registry_entry_of(record) && count < ring_registry_all.names) {
            record->users++;
            held[count++] = record;
        }
    }
    ring_registry_unlock();
    if (!held)
        return ring_error(-ENOMEM, "no memory to hold the names of the registry");
    for (size_t i = 0; i < count; i++) {
        int code = refresh(held[i]);
        replaced += code > 0;
        worst = code < 0 ? code : worst;
        ring_registry_lock();
        ring_registry_drop_record(held[i]);
        ring_registry_unlock();
    }
    free(held);
    return worst ? worst : replaced;
}

void ring_registry_settle(void)
{
    close_inherited();
    urcu_bp_barrier();
    RING_REGISTRY_ACQUIRE(&ring_registry_all.waiting);
}

/* ---- Names, and looking at it ---- */

int ring_registry_open(struct ring_registry_name **name, const char *text)
{
    if (!name)
        return ring_error(-EINVAL, "the place for the name is NULL");
    *name = NULL;
    int code = ring_registry_check_name(text);
    if (code)
        return code;
    if (!ring_registry_lock())
        return -ENOMEM;
    struct ring_registry_record *record = ring_registry_take_record(text);
    *name = record ? record->name : NULL;
    ring_registry_unlock();
    return record ? 0 : ring_error(-ENOMEM, "no memory for a name in the registry");
}

int ring_registry_close(struct ring_registry_name **name)
{
    if (!name || !*name)
        return ring_error(-EBADF, "the name is NULL: closed already, or never opened");
    ring_registry_lock();
    ring_registry_drop_record((*name)->record);
    ring_registry_unlock();
    *name = NULL;
    return 0;
}

int ring_registry_info(struct ring_registry_info *info)
{
    if (!info || info->struct_size != sizeof *info)
        return ring_error(-EINVAL, "set info.struct_size to sizeof(struct ring_registry_info) first");
    if (!ring_registry_lock())
        return -ENOMEM;
    *info = (struct ring_registry_info){ .struct_size = sizeof *info,
                                         .attached = ring_registry_all.attached,
                                         .waiting = ring_registry_all.waiting,
                                         .replaced = ring_registry_all.replaced };
    for (const struct ring_registry_segment *at = ring_registry_all.segments; at; at = at->next)
        info->segments++;
    for (unsigned i = 1; i <= RING_REGISTRY_THREADS; i++)
        info->threads += ring_registry_all.taken[i];
    ring_registry_unlock();
    return 0;
}

#endif
