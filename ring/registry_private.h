/* registry_private.h - level 7, private: what the files of the registry share. */
#ifndef RING_REGISTRY_PRIVATE_H
#define RING_REGISTRY_PRIVATE_H

#include <ring/registry.h>

#ifdef RING_HAVE_LIBURCU
#include <stdbool.h>

#include <urcu/static/urcu-bp.h> /* for its types: none of its functions is used */
#include <urcu/urcu-bp.h>

/* ---- Kinds of ends ---- */

struct ring_registry_kind {
    const char *what;
    size_t bytes;                                                /* of the end; 0: the segment itself */
    bool once;                                                   /* the ring has that role once */
    int (*look)(struct ring_segment *segment, const char *ring); /* is there such a ring? NULL: `once` */
    int (*open)(void *end, struct ring_segment *segment, const char *ring, int64_t timeout_ns);
    int (*close)(void *end);
    int (*send)(void *end, const void *message, size_t length, int64_t timeout_ns);
    ssize_t (*recv)(void *end, void *buffer, size_t size, int64_t timeout_ns);
};

RING_PRIVATE const struct ring_registry_kind *ring_registry_kind(enum ring_registry_end end);

/* ---- What is registered ---- */

/* Stands before an end in memory, but not before a segment. */
struct RING_ALIGNED(RING_LINE_PAIR) ring_registry_holder {
    RING_ATOMIC(uint32_t) claimed; /* of a role that exists once: 1: a section has it */
};

/* A segment, mapped once for all that is attached from it. Protected by the cold lock. */
struct ring_registry_segment {
    struct ring_registry_segment *next;
    struct ring_segment *segment;
    unsigned users;
    unsigned flags;
    char name[RING_SEGMENT_NAME_MAX + 2];
};

/* The ends of the threads with higher numbers than are near; made for the first of them that comes. */
struct ring_registry_far {
    RING_ATOMIC(void *) ends[RING_REGISTRY_THREADS + 1 - RING_REGISTRY_NEAR];
};

/* What a name stands for at a time, and the ends that threads have of it, to be closed with it. */
struct ring_registry_entry {
    RING_ATOMIC(void *) near[RING_REGISTRY_NEAR];
    RING_ATOMIC(struct ring_registry_far *) far;
    void *single; /* the end of a role that the ring has once */
    enum ring_registry_end end;
    const struct ring_registry_kind *kind;
    struct ring_segment *segment;
    struct ring_registry_segment *shared;
    char ring[RING_LAYOUT_NAME];
    struct ring_registry_entry *next; /* of those that a fork left */
    struct rcu_head rcu;
};

/* The rest of a name. Lives while it is attached or open (`users`, under the cold lock), and a grace period longer.
 * What a look-up by text reads is in its first line, but for the rest of a long text. */
struct RING_ALIGNED(RING_CACHE_LINE) ring_registry_record {
    struct ring_registry_name *name; /* constant */
    uint64_t hash;
    RING_ATOMIC(struct ring_registry_record *) links[2]; /* of its chain, see registry_names.c */
    char text[RING_REGISTRY_NAME_MAX + 1];
    RING_ATOMIC(struct ring_registry_entry *) entry; /* NULL: not attached; stored under the cold lock */
    unsigned users;
    bool coming; /* somebody is attaching it, outside of the lock */
    struct rcu_head rcu;
};

struct ring_registry_table;

struct ring_registry {
    RING_ATOMIC(struct ring_registry_table *) table; /* of names, by text */
    bool grows;                                      /* there is an older table still */
    struct ring_registry_record *spare;              /* names that nobody has, by links[0] */
    struct ring_registry_segment *segments;
    struct ring_registry_entry *inherited; /* of the parent: closed by the child's next cold call */
    uint64_t names, attached, waiting, replaced;
    bool taken[RING_REGISTRY_THREADS + 1]; /* thread numbers */
};

#define RING_REGISTRY_AROUND(inner, type, member) ((type *)(void *)((char *)(inner)-offsetof(type, member)))

extern RING_PRIVATE struct ring_registry ring_registry_all;

/* The cold lock; makes the table when it is the first. false: no memory, not locked. */
RING_PRIVATE bool ring_registry_lock(void);
RING_PRIVATE void ring_registry_unlock(void);

RING_PRIVATE int ring_registry_check_name(const char *text);

/* What a name stands for now; NULL: nothing. In a section, or under the lock. */
RING_INLINE struct ring_registry_entry *ring_registry_entry_of(struct ring_registry_record *record)
{
    return ring_atomic_load(&record->entry, memory_order_acquire); /* Y0 */
}

/* Under the lock: what threads of that number find in the name's line; NULL: they go the slow way.
 * Y1: release: the end is complete. */
RING_INLINE void ring_registry_show(struct ring_registry_record *record, unsigned number, enum ring_registry_end kind,
                                    void *end)
{
    if (number < RING_REGISTRY_NEAR)
        ring_atomic_store(&record->name->ends[number], end ? (uintptr_t)end + kind + 1 : 0, memory_order_release);
}

/* Under the lock: makes the name stand for that entry, or nothing. A segment is shown to all at once, ends as threads
 * open them.
 * Y0: release: the entry is complete. */
RING_INLINE void ring_registry_put(struct ring_registry_record *record, struct ring_registry_entry *entry)
{
    ring_atomic_store(&record->entry, entry, memory_order_release);
    for (unsigned i = 0; i < RING_REGISTRY_NEAR; i++)
        ring_registry_show(record, i, RING_REGISTRY_SEGMENT, entry && !entry->kind->bytes ? entry->segment : NULL);
}

/* The table of names, once; none is made without memory for it. */
RING_PRIVATE void ring_registry_make_table(void);

/* Finds a name by its text; in a section, or under the lock. NULL: none. */
RING_PRIVATE struct ring_registry_record *ring_registry_find_record(const char *text);

/* Under the lock: the same, made when there is none, one more user of it; one user less; all names, one after the
 * other, NULL begins and ends. */
RING_PRIVATE struct ring_registry_record *ring_registry_take_record(const char *text);
RING_PRIVATE void ring_registry_drop_record(struct ring_registry_record *record);
RING_PRIVATE struct ring_registry_record *ring_registry_next_record(struct ring_registry_record *before);

/* An end of that entry, open. NULL: *code tells why not. */
RING_PRIVATE void *ring_registry_open_end(const struct ring_registry_kind *kind, struct ring_segment *segment,
                                          const char *ring, int64_t timeout_ns, int *code);

/* This thread's end of an entry found there in the section. NULL: *code tells why not. */
RING_PRIVATE void *ring_registry_end_of(struct ring_registry_record *record, struct ring_registry_entry *entry,
                                        int *code);

/* Waits until there is a ring for such an end. */
RING_PRIVATE int ring_registry_await_ring(const struct ring_registry_kind *kind, struct ring_segment *segment,
                                          const char *ring, int64_t timeout_ns);
RING_PRIVATE void ring_registry_close_end(const struct ring_registry_kind *kind, void *end);

/* The place of that number's end; NULL: there is none yet, or, if it should be made, no memory for it. */
RING_PRIVATE RING_ATOMIC(void *) * ring_registry_place(struct ring_registry_entry *entry, unsigned number, bool make);

/* Puts an end, or NULL, into its place and closes what was there; one of several that try does. -ENOMEM: no place. */
RING_PRIVATE int ring_registry_put_end(struct ring_registry_entry *entry, unsigned number, void *end);

#endif
#endif
