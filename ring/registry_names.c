/* registry_names.c - level 7: names by their text.
 *
 * THEORY. A table of chains. Who looks up is in a section; who changes anything holds the cold lock. A name comes to
 * the front of its chain by one store, and goes by one; it is freed a grace period later, and keeps its link till then:
 * who stands on it finds the rest. To grow, a second table takes in all names by another link. Each name has two, and
 * tables use them in turn, so that who walks the old table goes on undisturbed. The old one is freed a grace period
 * later, and before that there is no third.
 */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ring/error.h>

enum {
    CHAINS = 256, /* at first; a power of two, grows when there are more names */
    BATCH = 64    /* names made at once */
};

struct ring_registry_table {
    uint64_t mask;
    unsigned link; /* which of the names' links is its own */
    struct rcu_head rcu;
    RING_ATOMIC(struct ring_registry_record *) chains[];
};

int ring_registry_check_name(const char *text)
{
    if (!text || text[0] == '\0')
        return ring_error(-EINVAL, "a registration needs a name of 1 to %d characters", RING_REGISTRY_NAME_MAX);
    if (strlen(text) > RING_REGISTRY_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a registration's name has at most %d characters, '%.20s...' has %zu",
                          RING_REGISTRY_NAME_MAX, text, strlen(text));
    return 0;
}

/* ---- Looking up ---- */

RING_INLINE uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

/* Of a product only the high bits depend on all of the factors' bits, and names differ in their last characters, which
 * are the high bits of a word: so the high half is brought down, and once more at the end.
 * Eight bytes at a time, read where they are: the last eight overlap those before, and less than eight are put together
 * from two pieces or from three bytes. */
RING_INLINE uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = length, word = 0;
    for (size_t i = 8; i < length; i += 8) {
        memcpy(&word, text + i - 8, 8);
        hash = mix(hash, word);
    }
    if (length >= 8) {
        memcpy(&word, text + length - 8, 8);
    } else if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, text, 4);
        memcpy(&last, text + length - 4, 4);
        word = (uint64_t)first << 32 | last;
    } else if (length) {
        word = (uint64_t)(uint8_t)text[0] << 16 | (uint64_t)(uint8_t)text[length / 2] << 8 | (uint8_t)text[length - 1];
    }
    return mix(mix(hash, word), 0);
}

/* Y8: acquire, pairs with the release of who put the name in. */
RING_INLINE struct ring_registry_record *first_of(struct ring_registry_table *table, uint64_t chain)
{
    return ring_atomic_load(&table->chains[chain & table->mask], memory_order_acquire);
}

RING_INLINE struct ring_registry_record *next_of(struct ring_registry_table *table, struct ring_registry_record *record)
{
    return ring_atomic_load(&record->links[table->link], memory_order_acquire);
}

struct ring_registry_record *ring_registry_find_record(const char *text)
{
    size_t length = strnlen(text, RING_REGISTRY_NAME_MAX + 1);
    /* Y4: acquire, pairs with the release of who made it: the table is complete. */
    struct ring_registry_table *table = ring_atomic_load(&ring_registry_all.table, memory_order_acquire);
    if (length > RING_REGISTRY_NAME_MAX || !table)
        return NULL;
    uint64_t hash = hash_of(text, length);
    struct ring_registry_record *record = first_of(table, hash);
    while (record && (record->hash != hash || memcmp(record->text, text, length + 1) != 0))
        record = next_of(table, record);
    return record;
}

/* ---- Coming and going, under the lock ---- */

struct ring_registry_record *ring_registry_next_record(struct ring_registry_record *before)
{
    struct ring_registry_table *table = ring_atomic_load(&ring_registry_all.table, memory_order_relaxed);
    struct ring_registry_record *next = before ? next_of(table, before) : NULL;
    for (uint64_t chain = before ? (before->hash & table->mask) + 1 : 0; !next && chain <= table->mask; chain++)
        next = first_of(table, chain);
    return next;
}

/* Y8: release: the name is complete, and its link. */
static void put_in(struct ring_registry_table *table, struct ring_registry_record *record)
{
    ring_atomic_store(&record->links[table->link], first_of(table, record->hash), memory_order_relaxed);
    ring_atomic_store(&table->chains[record->hash & table->mask], record, memory_order_release);
}

static void take_out(struct ring_registry_table *table, const struct ring_registry_record *record)
{
    RING_ATOMIC(struct ring_registry_record *) *at = &table->chains[record->hash & table->mask];
    struct ring_registry_record *here;
    while ((here = ring_atomic_load(at, memory_order_relaxed)) != record)
        at = &here->links[table->link];
    ring_atomic_store(at, next_of(table, here), memory_order_release); /* Y8: the one behind it was complete before */
}

static struct ring_registry_table *make_table(uint64_t chains, unsigned link)
{
    struct ring_registry_table *table = calloc(1, sizeof *table + chains * sizeof table->chains[0]);
    if (table) {
        table->mask = chains - 1;
        table->link = link;
    }
    return table;
}

static void grow_if_full(void);

static void free_table(struct rcu_head *rcu)
{
    RING_REGISTRY_ACQUIRE(&urcu_bp_gp);
    ring_registry_lock();
    ring_registry_all.grows = false;
    grow_if_full(); /* many names may have come meanwhile */
    ring_registry_unlock();
    free(RING_REGISTRY_AROUND(rcu, struct ring_registry_table, rcu));
}

/* Without memory for it chains grow longer, and that is all. */
static void grow_if_full(void)
{
    struct ring_registry *all = &ring_registry_all;
    struct ring_registry_table *old = ring_atomic_load(&all->table, memory_order_relaxed);
    uint64_t chains = old->mask + 1;
    if (all->grows || all->names <= chains)
        return;
    while (chains < 2 * all->names)
        chains *= 2;
    struct ring_registry_table *table = make_table(chains, !old->link);
    if (!table)
        return;
    for (struct ring_registry_record *at = NULL; (at = ring_registry_next_record(at));)
        put_in(table, at);
    all->grows = true;
    ring_atomic_store(&all->table, table, memory_order_release); /* Y4 */
    RING_REGISTRY_RELEASE(&urcu_bp_gp);
    urcu_bp_call_rcu(&old->rcu, free_table);
}

void ring_registry_make_table(void)
{
    ring_atomic_store(&ring_registry_all.table, make_table(CHAINS, 0), memory_order_release); /* Y4 */
}

/* Names side by side, so that those of many ends are in few pages and use all sets of a cache. */
struct batch {
    struct ring_registry_name names[BATCH];
    struct ring_registry_record records[BATCH];
};

static void put_aside(struct ring_registry_record *record)
{
    ring_atomic_store(&record->links[0], ring_registry_all.spare, memory_order_relaxed);
    ring_registry_all.spare = record;
}

static struct ring_registry_record *take_spare(void)
{
    struct batch *batch = ring_registry_all.spare ? NULL : aligned_alloc(RING_CACHE_LINE, sizeof *batch);
    for (unsigned i = BATCH; batch && i-- > 0;) {
        struct ring_registry_record *record = &batch->records[i];
        record->name = &batch->names[i];
        record->name->record = record;
        put_aside(record);
    }
    struct ring_registry_record *record = ring_registry_all.spare;
    if (record)
        ring_registry_all.spare = ring_atomic_load(&record->links[0], memory_order_relaxed);
    return record;
}

struct ring_registry_record *ring_registry_take_record(const char *text)
{
    struct ring_registry *all = &ring_registry_all;
    struct ring_registry_record *record = ring_registry_find_record(text);
    if (!record && (record = take_spare())) {
        record->users = 0;
        record->coming = false;
        ring_registry_put(record, NULL);
        memset(record->text, 0, sizeof record->text);
        memcpy(record->text, text, strlen(text));
        record->hash = hash_of(text, strlen(text));
        put_in(ring_atomic_load(&all->table, memory_order_relaxed), record);
        all->names++;
        grow_if_full();
    }
    if (record)
        record->users++;
    return record;
}

static void free_record(struct rcu_head *rcu)
{
    RING_REGISTRY_ACQUIRE(&urcu_bp_gp);
    ring_registry_lock();
    put_aside(RING_REGISTRY_AROUND(rcu, struct ring_registry_record, rcu));
    ring_registry_unlock();
}

void ring_registry_drop_record(struct ring_registry_record *record)
{
    if (--record->users)
        return;
    ring_registry_all.names--;
    take_out(ring_atomic_load(&ring_registry_all.table, memory_order_relaxed), record);
    RING_REGISTRY_RELEASE(&urcu_bp_gp);
    urcu_bp_call_rcu(&record->rcu, free_record);
}

#endif
