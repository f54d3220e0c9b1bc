/* segment.c - fuzz target: a segment with one thing of each kind, in each of which somebody died in the midst of
 * things; FUZZ_ROLE says what is under attack: looking at it from outside (through a mapping that may only be read,
 * too: a store would end us), or mending it. Without an attack each look finds what was done, and what was mended needs
 * no mending.
 */
#include "fuzz.h"

#include <ring/blocks_private.h>
#include <ring/liveness.h>

const unsigned fuzz_role = FUZZ_ROLE;

enum { ENTRIES = 6, SPSC_BYTES = 4096, SLOTS = 8, LENGTH = 40, SEATS = 4, HEAP_BYTES = 4096 };

static struct ring_segment *eyes; /* the same segment, attached for reading only */

static struct ring_mpmc_options queue_shape(void)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = SLOTS;
    options.slot_bytes = LENGTH;
    options.seats = SEATS;
    return options;
}

static struct ring_blocks_options pool_shape(void)
{
    struct ring_blocks_options options = ring_blocks_defaults(LENGTH, 70);
    options.seats = SEATS;
    return options;
}

static struct ring_heap_options heap_shape(void)
{
    struct ring_heap_options options = ring_heap_defaults(HEAP_BYTES);
    options.seats = SEATS;
    return options;
}

static struct ring_broadcast_options news_shape(void)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = SLOTS;
    options.slot_bytes = LENGTH;
    options.seats = SEATS;
    return options;
}

static int make_all(struct ring_segment *segment)
{
    struct ring_mpmc_options queue = queue_shape();
    struct ring_blocks_options pool = pool_shape();
    struct ring_heap_options heap = heap_shape();
    struct ring_broadcast_options news = news_shape();
    int code = ring_spsc_create(segment, "ring", SPSC_BYTES);
    code = code ? code : ring_mpmc_create_with(segment, "queue", &queue);
    code = code ? code : ring_broadcast_create_with(segment, "news", &news);
    code = code ? code : ring_blocks_create_with(segment, "pool", &pool);
    return code ? code : ring_heap_create_with(segment, "heap", &heap);
}

/* As by a kill: the locks are free, and nothing else was done. */
static void die(struct ring_claim *claim)
{
    ring_claim_drop(claim);
}

static void leave_the_dead(struct ring_segment *segment)
{
    static struct ring_spsc_producer sender;
    static struct ring_mpmc_producer producers[2];
    static struct ring_mpmc_consumer consumer;
    static struct ring_broadcast_consumer reader;
    static struct ring_blocks pool;
    static struct ring_heap heap;
    struct ring_message message;
    unsigned char text[LENGTH] = { 1 };
    void *place;
    uint64_t handle, reference;
    FUZZ_DEMAND(ring_spsc_open_producer(&sender, segment, "ring", 0) == 0);
    FUZZ_DEMAND(ring_spsc_send(&sender, text, LENGTH, 0) == 0);
    for (int i = 0; i < 2; i++) {
        FUZZ_DEMAND(ring_mpmc_open_producer(&producers[i], segment, "queue", 0) == 0);
        FUZZ_DEMAND(ring_mpmc_send(&producers[i], text, LENGTH, 0) == 0);
    }
    FUZZ_DEMAND(ring_mpmc_reserve(&producers[0], LENGTH, &place, 0) == 0);
    FUZZ_DEMAND(ring_mpmc_open_consumer(&consumer, segment, "queue", 0) == 0);
    FUZZ_DEMAND(ring_mpmc_peek(&consumer, &message, 0) == 0);
    FUZZ_DEMAND(ring_broadcast_open_consumer(&reader, segment, "news", RING_BROADCAST_NEWEST, 0, 0) == 0);
    FUZZ_DEMAND(ring_blocks_open(&pool, segment, "pool", 0) == 0);
    for (int i = 0; i < 3; i++)
        FUZZ_DEMAND(ring_block_allocate(&pool, LENGTH, &handle, &place) == 0);
    FUZZ_DEMAND(ring_block_pass(&pool, handle) == 0);
    FUZZ_DEMAND(ring_heap_open(&heap, segment, "heap", 0) == 0);
    FUZZ_DEMAND(ring_heap_allocate(&heap, 100, &reference, 0) == 0);
    die(sender.claim);
    die(producers[0].end.claim);
    die(producers[1].end.claim);
    die(consumer.end.claim);
    die(reader.claim);
    die(pool.claim);
    die(heap.claim);
}

static int make(struct ring_segment *segment)
{
    int code = make_all(segment);
    if (code)
        return code;
    eyes = fuzz_attach_read_only();
    leave_the_dead(segment);
    return 0;
}

static size_t footprints(void)
{
    struct ring_mpmc_options queue = queue_shape();
    struct ring_blocks_options pool = pool_shape();
    struct ring_heap_options heap = heap_shape();
    struct ring_broadcast_options news = news_shape();
    return ring_spsc_footprint(SPSC_BYTES) + ring_mpmc_footprint_with(&queue) + ring_broadcast_footprint_with(&news) +
           ring_blocks_footprint_with(&pool) + ring_heap_footprint_with(&heap);
}

/* ---- Looking ---- */

static const int told[] = { EINVAL, ENOENT, EUCLEAN, EBUSY, 0 };

/* `right`: what must be so of `info` while the peer is silent. */
#define LOOK(kind, name, right)                                                                                        \
    do {                                                                                                               \
        struct ring_##kind##_info info = { .struct_size = sizeof info };                                               \
        fuzz_attack(FUZZ_ROLE);                                                                                        \
        int code = ring_##kind##_info(segment, name, &info);                                                           \
        fuzz_attack(0);                                                                                                \
        fuzz_tells(code, told);                                                                                        \
        FUZZ_DEMAND(!fuzz_clean() || (code == 0 && (right)));                                                          \
    } while (0)

#define LOOK_AT_SEAT(kind, name)                                                                                       \
    do {                                                                                                               \
        struct ring_##kind##_seat_info info = { .struct_size = sizeof info };                                          \
        fuzz_attack(FUZZ_ROLE);                                                                                        \
        int code = ring_##kind##_seat_info(segment, name, seat, &info);                                                \
        fuzz_attack(0);                                                                                                \
        fuzz_tells(code, told);                                                                                        \
    } while (0)

static void look_at_each(struct ring_segment *segment)
{
    LOOK(spsc, "ring", info.messages == 1 && info.producer.peer == RING_PEER_DEAD);
    LOOK(mpmc, "queue", info.messages == 2 && info.held == 1 && info.dead == 3 && !info.producers && !info.consumers);
    LOOK(broadcast, "news", info.tail == 0 && info.consumers == 0 && info.seats_used == 1);
    LOOK(blocks, "pool", info.dead == 1 && info.classes[0].owned == 2 && info.classes[0].passed == 1 && !info.damaged);
    LOOK(heap, "heap", info.dead == 1 && info.pieces == 1 && !info.locked);
}

static void look_at_seats(struct ring_segment *segment)
{
    for (unsigned seat = 0; seat <= SEATS; seat++) {
        LOOK_AT_SEAT(mpmc, "queue");
        LOOK_AT_SEAT(broadcast, "news");
        LOOK_AT_SEAT(blocks, "pool");
    }
}

static void look_at_segment(struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    fuzz_attack(FUZZ_ROLE);
    FUZZ_DEMAND(ring_segment_info(segment, &info) == 0);
    fuzz_attack(0);
    FUZZ_DEMAND(info.rings <= ENTRIES && info.used_bytes <= info.bytes);
    FUZZ_DEMAND(strnlen(info.name, sizeof info.name) < sizeof info.name);
    for (unsigned i = 0; i <= ENTRIES; i++) {
        struct ring_entry_info entry;
        fuzz_attack(FUZZ_ROLE);
        int code = ring_segment_entry(segment, i, &entry);
        fuzz_attack(0);
        fuzz_tells(code, told);
        if (code == 0)
            FUZZ_DEMAND(strlen(entry.name) < RING_LAYOUT_NAME && entry.bytes <= info.bytes &&
                        entry.offset <= info.bytes - entry.bytes);
    }
}

/* ---- Mending ---- */

static bool mended;

static void recover(void)
{
    static const int known[] = { EUCLEAN, EBUSY, EAGAIN, ENOENT, EINVAL, 0 };
    struct ring_recovery report = { .struct_size = sizeof report };
    fuzz_attack(FUZZ_ROLE);
    int code = ring_segment_recover(fuzz_segment, &report);
    fuzz_attack(0);
    fuzz_tells(code, known);
    if (!fuzz_clean())
        return;
    FUZZ_DEMAND(code == 0 && report.rings == 1 && report.pending == 0 && report.waiting == 1);
    FUZZ_DEMAND(report.skipped == !mended && report.pieces_freed == !mended);
    FUZZ_DEMAND((report.blocks_freed > 0) == !mended && report.blocks_stranded == !mended);
    mended = true;
}

static void recover_stranded(void)
{
    static const int known[] = { EUCLEAN, EBUSY, EAGAIN, ENOENT, EINVAL, EUSERS, 0 };
    uint64_t freed = 0;
    fuzz_attack(FUZZ_ROLE);
    int code = ring_segment_recover_stranded(fuzz_segment, "pool", &freed);
    fuzz_attack(0);
    fuzz_tells(code, known);
    fuzz_soil(); /* it opens the pool, so the next recovery finds less */
}

static void mend_one(uint64_t what)
{
    static const int known[] = { EUCLEAN, EBUSY, EAGAIN, ENOENT, EINVAL, EUSERS, ETIMEDOUT, 0 };
    struct ring_blocks_repairs repairs = { .struct_size = sizeof repairs };
    struct ring_heap heap;
    fuzz_soil();
    fuzz_attack(FUZZ_ROLE);
    if (what % 2) {
        fuzz_tells(ring_blocks_recover(fuzz_segment, "pool", &repairs), known);
    } else {
        int code = ring_heap_open(&heap, fuzz_segment, "heap", RING_NO_WAIT);
        fuzz_tells(code, known);
        if (code == 0) {
            fuzz_tells(ring_heap_recover(&heap, NULL, RING_NO_WAIT), known);
            FUZZ_DEMAND(ring_heap_close(&heap) == 0);
        }
    }
    fuzz_attack(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_set_up_all(ENTRIES, footprints(), make);
    fuzz_begin(data, size);
    mended = false;
    for (int calls = 0; fuzz_more() && calls < 60; calls++) {
        uint64_t what = fuzz_byte();
        struct ring_segment *segment = what % 2 ? fuzz_segment : eyes;
        if (what < 60)
            fuzz_scribble();
        else if (what < 70)
            fuzz_peer();
        else if (FUZZ_ROLE == FUZZ_RECOVERER)
            what < 180 ? recover() : what < 210 ? recover_stranded() : mend_one(what);
        else
            what < 150 ? look_at_each(segment) : what < 200 ? look_at_seats(segment) : look_at_segment(segment);
    }
    return 0;
}
