/* registry_names.c - level 7: names by their text; see registry.c. */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ring/error.h>

enum { BUCKETS = 256 };

/* Names are short: eight bytes at a time, each mixed in by a multiplication, whose halves are folded. */
static uint64_t hash_of(const char text[RING_REGISTRY_NAME_MAX + 1], size_t length)
{
    uint64_t hash = length;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, sizeof word); /* the rest of the text is zero */
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash;
}

int ring_registry_check_name(const char *text)
{
    if (!text || text[0] == '\0')
        return ring_error(-EINVAL, "a registration needs a name of 1 to %d characters", RING_REGISTRY_NAME_MAX);
    if (strlen(text) > RING_REGISTRY_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a registration's name has at most %d characters, '%.20s...' has %zu",
                          RING_REGISTRY_NAME_MAX, text, strlen(text));
    return 0;
}

static int matches(struct cds_lfht_node *node, const void *text)
{
    return strcmp(caa_container_of(node, struct ring_registry_record, node)->text, text) == 0;
}

struct ring_registry_record *ring_registry_find_record(const char *text)
{
    char padded[RING_REGISTRY_NAME_MAX + 1] = "";
    size_t length = strnlen(text, sizeof padded);
    /* Y4: acquire, pairs with itself: the table is complete. */
    struct cds_lfht *table = ring_atomic_load(&ring_registry_all.table, memory_order_acquire);
    if (length == sizeof padded || !table)
        return NULL;
    memcpy(padded, text, length);
    struct cds_lfht_iter at;
    cds_lfht_lookup(table, hash_of(padded, length), matches, padded, &at);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&at);
    if (!node)
        return NULL;
    struct ring_registry_record *record = caa_container_of(node, struct ring_registry_record, node);
    RING_REGISTRY_ACQUIRE(record);
    return record;
}

struct ring_registry_record *ring_registry_take_record(const char *text)
{
    struct ring_registry *all = &ring_registry_all;
    urcu_bp_read_lock();
    struct ring_registry_record *record = ring_registry_find_record(text);
    if (!record && (record = calloc(1, sizeof *record))) {
        memcpy(record->text, text, strlen(text));
        record->hash = hash_of(record->text, strlen(text));
        RING_REGISTRY_RELEASE(record);
        cds_lfht_add(all->table, record->hash, &record->node);
        all->names++;
    }
    if (record)
        record->users++;
    urcu_bp_read_unlock();
    if (all->names > all->buckets) { /* not within a section */
        all->buckets *= 4;
        cds_lfht_resize(all->table, all->buckets);
    }
    return record;
}

static void free_name(struct rcu_head *rcu)
{
    RING_REGISTRY_ACQUIRE(&urcu_bp_gp);
    free(caa_container_of(rcu, struct ring_registry_record, rcu));
}

void ring_registry_drop_record(struct ring_registry_record *record)
{
    if (--record->users)
        return;
    ring_registry_all.names--;
    urcu_bp_read_lock();
    cds_lfht_del(ring_registry_all.table, &record->node);
    urcu_bp_read_unlock();
    RING_REGISTRY_RELEASE(&urcu_bp_gp);
    urcu_bp_call_rcu(&record->rcu, free_name);
}

struct cds_lfht *ring_registry_make_table(void)
{
    ring_registry_all.buckets = BUCKETS;
    return cds_lfht_new_flavor(BUCKETS, BUCKETS, 0, 0, &urcu_bp_flavor, NULL);
}

#endif
