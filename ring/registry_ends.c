/* registry_ends.c - level 7: the kinds of ends that can be registered, by one set of verbs. */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ring/error.h>

/* Both sides of a topology, as functions that take any pointer. */
#define PRODUCER(topology)                                                                                             \
    static int open_##topology##_producer(void *end, struct ring_segment *segment, const char *ring,                   \
                                          int64_t timeout_ns)                                                          \
    {                                                                                                                  \
        return ring_##topology##_open_producer(end, segment, ring, timeout_ns);                                        \
    }                                                                                                                  \
    static int close_##topology##_producer(void *end)                                                                  \
    {                                                                                                                  \
        return ring_##topology##_close_producer(end);                                                                  \
    }                                                                                                                  \
    static int send_##topology(void *end, const void *message, size_t length, int64_t timeout_ns)                      \
    {                                                                                                                  \
        return ring_##topology##_send(end, message, length, timeout_ns);                                               \
    }

#define CONSUMER(topology, ...)                                                                                        \
    static int open_##topology##_consumer(void *end, struct ring_segment *segment, const char *ring,                   \
                                          int64_t timeout_ns)                                                          \
    {                                                                                                                  \
        return ring_##topology##_open_consumer(end, segment, ring, __VA_ARGS__);                                       \
    }                                                                                                                  \
    static int close_##topology##_consumer(void *end)                                                                  \
    {                                                                                                                  \
        return ring_##topology##_close_consumer(end);                                                                  \
    }                                                                                                                  \
    static ssize_t recv_##topology(void *end, void *buffer, size_t size, int64_t timeout_ns)                           \
    {                                                                                                                  \
        return ring_##topology##_recv(end, buffer, size, timeout_ns);                                                  \
    }

#define LOOK(topology)                                                                                                 \
    static int look_##topology(struct ring_segment *segment, const char *ring)                                         \
    {                                                                                                                  \
        struct ring_##topology##_info info = { .struct_size = sizeof info };                                           \
        return ring_##topology##_info(segment, ring, &info);                                                           \
    }

LOOK(mpmc)
LOOK(broadcast)
PRODUCER(spsc)
PRODUCER(mpmc)
PRODUCER(broadcast)
CONSUMER(spsc, timeout_ns)
CONSUMER(mpmc, timeout_ns)
CONSUMER(broadcast, RING_BROADCAST_NEWEST, 0, timeout_ns)

static const struct ring_registry_kind kinds[RING_REGISTRY_ENDS] = {
    [RING_REGISTRY_SEGMENT] = { .what = "segment" },
    [RING_REGISTRY_MPMC_PRODUCER] = { .what = "producer of an MPMC ring",
                                      .bytes = sizeof(struct ring_mpmc_producer),
                                      .look = look_mpmc,
                                      .open = open_mpmc_producer,
                                      .close = close_mpmc_producer,
                                      .send = send_mpmc },
    [RING_REGISTRY_MPMC_CONSUMER] = { .what = "consumer of an MPMC ring",
                                      .bytes = sizeof(struct ring_mpmc_consumer),
                                      .look = look_mpmc,
                                      .open = open_mpmc_consumer,
                                      .close = close_mpmc_consumer,
                                      .recv = recv_mpmc },
    [RING_REGISTRY_BROADCAST_CONSUMER] = { .what = "consumer of a broadcast ring",
                                           .bytes = sizeof(struct ring_broadcast_consumer),
                                           .look = look_broadcast,
                                           .open = open_broadcast_consumer,
                                           .close = close_broadcast_consumer,
                                           .recv = recv_broadcast },
    [RING_REGISTRY_BROADCAST_PRODUCER] = { .what = "producer of a broadcast ring",
                                           .bytes = sizeof(struct ring_broadcast_producer),
                                           .once = true,
                                           .open = open_broadcast_producer,
                                           .close = close_broadcast_producer,
                                           .send = send_broadcast },
    [RING_REGISTRY_SPSC_PRODUCER] = { .what = "producer of an SPSC ring",
                                      .bytes = sizeof(struct ring_spsc_producer),
                                      .once = true,
                                      .open = open_spsc_producer,
                                      .close = close_spsc_producer,
                                      .send = send_spsc },
    [RING_REGISTRY_SPSC_CONSUMER] = { .what = "consumer of an SPSC ring",
                                      .bytes = sizeof(struct ring_spsc_consumer),
                                      .once = true,
                                      .open = open_spsc_consumer,
                                      .close = close_spsc_consumer,
                                      .recv = recv_spsc },
};

const struct ring_registry_kind *ring_registry_kind(enum ring_registry_end end)
{
    return (unsigned)end < RING_REGISTRY_ENDS ? &kinds[end] : NULL;
}

void *ring_registry_open_end(const struct ring_registry_kind *kind, struct ring_segment *segment, const char *ring,
                             int64_t timeout_ns, int *code)
{
    size_t bytes = sizeof(struct ring_registry_holder) + kind->bytes;
    bytes = (bytes + RING_LINE_PAIR - 1) / RING_LINE_PAIR * RING_LINE_PAIR;
    struct ring_registry_holder *holder = aligned_alloc(RING_LINE_PAIR, bytes);
    if (!holder) {
        *code = ring_error(-ENOMEM, "no memory for the end of a ring");
        return NULL;
    }
    memset((void *)holder, 0, bytes);
    *code = kind->open(holder + 1, segment, ring, timeout_ns);
    if (*code) {
        free(holder);
        return NULL;
    }
    return holder + 1;
}

/* Opening an end to see that it can be would tell the other side of a peer that came and went. */
int ring_registry_await_ring(const struct ring_registry_kind *kind, struct ring_segment *segment, const char *ring,
                             int64_t timeout_ns)
{
    enum { NAP_NS = 200000 };
    for (int64_t waited = 0;; waited += NAP_NS) {
        int code = kind->look(segment, ring);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (timeout_ns > 0 && waited >= timeout_ns)
            return ring_error(-ETIMEDOUT, "there is still no ring '%s' in the segment after the time limit", ring);
        struct timespec nap = { .tv_nsec = NAP_NS };
        nanosleep(&nap, NULL);
    }
}

void ring_registry_close_end(const struct ring_registry_kind *kind, void *end)
{
    kind->close(end);
    free((struct ring_registry_holder *)end - 1);
}

RING_ATOMIC(void *) * ring_registry_place(struct ring_registry_entry *entry, unsigned number, bool make)
{
    if (number < RING_REGISTRY_NEAR)
        return &entry->near[number];
    struct ring_registry_far *far = ring_atomic_load(&entry->far, memory_order_acquire); /* Y6 */
    if (!far && make && (far = calloc(1, sizeof *far))) {
        struct ring_registry_far *other = NULL;
        /* Y6: release, pairs with itself: the array is empty. Another thread may have been faster. */
        if (!atomic_compare_exchange_strong_explicit(&entry->far, &other, far, memory_order_acq_rel,
                                                     memory_order_acquire)) {
            free(far);
            far = other;
        }
    }
    return far ? &far->ends[number - RING_REGISTRY_NEAR] : NULL;
}

int ring_registry_put_end(struct ring_registry_entry *entry, unsigned number, void *end)
{
    if (!entry->kind->bytes)
        return 0;
    RING_ATOMIC(void *) *place = ring_registry_place(entry, number, end != NULL);
    if (!place)
        return end ? ring_error(-ENOMEM, "no memory for the end of a ring") : 0;
    /* Y2: release, and Y3: acquire: the end is complete for whoever closes it. A thread of this number before us may
     * have ended just after the entry was detached, and left its end. */
    void *before = ring_atomic_exchange(place, end, memory_order_acq_rel);
    if (before)
        ring_registry_close_end(entry->kind, before);
    return 0;
}

#endif
