/* stores.h - stores of one logical thread on their way to memory; schedule.h tells the rules. */
#ifndef INTERLEAVE_STORES_H
#define INTERLEAVE_STORES_H

#include <stdbool.h>
#include <stddef.h>

enum {
    STORES = 12,      /* waiting, of one thread */
    STORE_MOST = 512, /* bytes of one */
};

struct pending {
    unsigned char *at;
    size_t size;
    unsigned epoch; /* release fences before it */
    bool release;
    unsigned char bytes[STORE_MOST];
};

struct stores {
    struct pending *order[STORES]; /* the oldest first */
    unsigned waiting, epoch;
    struct pending pool[STORES];
};

void stores_begin(struct stores *stores);
void stores_put(struct stores *stores, void *at, const void *value, size_t size, bool release);
/* What this thread sees there: its own stores first. */
void stores_get(struct stores *stores, const void *at, void *value, size_t size);
bool stores_touch(const struct stores *stores, const void *at, size_t size); /* is one of them on its way there? */
void stores_settle_one(struct stores *stores); /* some that may go; one at least is waiting */
void stores_settle(struct stores *stores);     /* all of them */

#endif
