/* stores.c - see stores.h. */
#include "stores.h"

#include "schedule.h"

#undef memcpy

static bool overlaps(const struct pending *store, const unsigned char *at, size_t size)
{
    return store->at < at + size && at < store->at + store->size;
}

static bool may_go(const struct stores *stores, unsigned index)
{
    const struct pending *store = stores->order[index];
    if (store->release)
        return index == 0;
    for (unsigned i = 0; i < index; i++)
        if (stores->order[i]->epoch != store->epoch || overlaps(stores->order[i], store->at, store->size))
            return false;
    return true;
}

static void let_go(struct stores *stores, unsigned index)
{
    struct pending *store = stores->order[index];
    memcpy(store->at, store->bytes, store->size);
    stores->waiting--;
    for (unsigned i = index; i < stores->waiting; i++)
        stores->order[i] = stores->order[i + 1];
    stores->order[stores->waiting] = store;
}

void stores_begin(struct stores *stores)
{
    stores->waiting = 0;
    stores->epoch = 0;
    for (unsigned i = 0; i < STORES; i++)
        stores->order[i] = &stores->pool[i];
}

void stores_settle(struct stores *stores)
{
    while (stores->waiting)
        let_go(stores, 0);
}

void stores_settle_one(struct stores *stores)
{
    unsigned index = (unsigned)chance_below(stores->waiting);
    while (!may_go(stores, index))
        index--;
    let_go(stores, index);
}

void stores_put(struct stores *stores, void *at, const void *value, size_t size, bool release)
{
    if (stores->waiting == STORES)
        stores_settle_one(stores);
    struct pending *store = stores->order[stores->waiting++];
    store->at = at;
    store->size = size;
    store->epoch = stores->epoch;
    store->release = release;
    memcpy(store->bytes, value, size);
}

bool stores_touch(const struct stores *stores, const void *at, size_t size)
{
    for (unsigned i = 0; i < stores->waiting; i++)
        if (overlaps(stores->order[i], at, size))
            return true;
    return false;
}

void stores_get(struct stores *stores, const void *at, void *value, size_t size)
{
    for (unsigned i = stores->waiting; i-- > 0;) {
        const struct pending *store = stores->order[i];
        const unsigned char *from = at;
        if (!overlaps(store, at, size))
            continue;
        if (from >= store->at && from + size <= store->at + store->size) {
            memcpy(value, store->bytes + (from - store->at), size);
            return;
        }
        stores_settle(stores);
        break;
    }
    memcpy(value, at, size);
}
