/* recovery_blocks.c - level 7: blocks in transit for nobody; see recovery.h for what must hold.
 *
 * In this order: the words of blocks in transit whose sender is gone; then all messages that are still in rings; then,
 * for each block that none of them names, a compare-and-swap from the word read first. The sender was gone before the
 * look, so no message comes after it. If there was one and it was not seen, it had been released before; its receiver
 * had accepted the block before that, which changed the word (hop), and the compare-and-swap fails. A message that is
 * released while it is looked at is the same. What is read there may be anything; it is only compared.
 */
#include <ring/recovery.h>

#include <errno.h>
#include <stdlib.h>

#include <ring/allocator.h>
#include <ring/blocks_private.h>
#include <ring/error.h>
#include <ring/mpmc_private.h>
#include <ring/spsc_private.h>

enum { ATTEMPTS = 16 };

struct search {
    struct ring_segment *segment;
    const struct ring_blocks_view *view;
    uint64_t *words; /* of each block that is stranded; 0 for the others and for those that a message names */
};

static bool is_stranded(const struct ring_blocks_view *view, uint64_t word)
{
    unsigned seat = ring_block_seat_of(word);
    if ((word & RING_BLOCK_STATE) != RING_BLOCK_PASSED)
        return false;
    return seat == RING_BLOCK_NOBODY || (seat < view->seat_count && !ring_blocks_is_living(view, seat));
}

/* Whatever looks like a handle is one. Relaxed: the message may be overwritten meanwhile, see above. */
static void look_at(struct search *search, unsigned char *bytes, uint64_t length)
{
    RING_ATOMIC(uint64_t) *at = (RING_ATOMIC(uint64_t) *)(void *)bytes;
    for (uint64_t i = 0; i < length / 8; i++) {
        uint64_t handle = ring_atomic_load(at + i, memory_order_relaxed);
        uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
        if (number < search->view->total && ring_block_same_generation(search->words[number], handle))
            search->words[number] = 0;
    }
}

/* All records from the published position on: also those that were received and whose places are not given back yet. */
static int look_at_records(struct search *search, const struct ring_spsc_found *found)
{
    uint64_t head = ring_atomic_load(&found->control->head, memory_order_acquire); /* P4 */
    uint64_t at = head;
    if (head % 8)
        return -EUCLEAN;
    while (at - head <= found->capacity - RING_RECORD_HEADER) {
        struct ring_spsc_record record;
        int code = ring_spsc_decode(found->data, found->capacity - 1, found->max_message, at, &record);
        if (code)
            return code == -EAGAIN ? 0 : code;
        look_at(search, found->data + (at & (found->capacity - 1)) + RING_RECORD_HEADER,
                record.stride - RING_RECORD_HEADER);
        at += record.stride;
    }
    return -EUCLEAN;
}

static int look_at_spsc(struct search *search, const char *ring)
{
    struct ring_spsc_found found;
    int code = ring_spsc_enter(search->segment, ring, &found);
    if (code)
        return code;
    bool done = false;
    for (int attempt = 0; attempt < ATTEMPTS && !done; attempt++) /* both sides may be running meanwhile */
        done = look_at_records(search, &found) == 0;
    ring_claim_drop(found.claim);
    if (done)
        return 0;
    return ring_error(-EAGAIN, "ring '%s' in %s is damaged, or too much in motion to be looked through", ring,
                      search->segment->name);
}

/* A message is in its slot until it is freed, taken or not. */
static int look_at_mpmc(struct search *search, const char *ring)
{
    struct ring_mpmc_view view;
    struct ring_claim *claim;
    int code = ring_mpmc_enter(search->segment, ring, &view, &claim);
    if (code)
        return code;
    for (uint64_t slot = 0; slot <= view.mask; slot++) {
        RING_ATOMIC(uint64_t) *at = ring_mpmc_slot(&view, slot);
        uint64_t word = ring_atomic_load(at, memory_order_acquire); /* M7 */
        uint64_t length = word & RING_SLOT_LENGTH;
        if ((word & RING_SLOT_STATE) == RING_SLOT_READY)
            look_at(search, (unsigned char *)(uintptr_t)at + 8, length < view.max_message ? length : view.max_message);
    }
    ring_claim_drop(claim);
    return 0;
}

/* Of another kind: every word. What lies there may be old: then the block stays in transit. */
static int look_at_all(struct search *search, const struct ring_entry_info *seen)
{
    struct ring_entry_info entry;
    unsigned index;
    struct ring_claim *claim;
    int code =
        ring_directory_enter(search->segment, seen->name, (enum ring_layout_kind)seen->kind, &entry, &index, &claim);
    if (code)
        return code;
    look_at(search, search->segment->memory.address + entry.offset, entry.bytes);
    ring_claim_drop(claim);
    return 0;
}

static int look_at_rings(struct search *search)
{
    struct ring_segment *segment = search->segment;
    for (unsigned i = 0; i < segment->constants.directory_entries; i++) {
        struct ring_entry_info entry;
        int code = ring_segment_entry(segment, i, &entry);
        if (code == -ENOENT)
            continue;
        if (code)
            return code;
        if (entry.kind == RING_KIND_SPSC)
            code = look_at_spsc(search, entry.name);
        else if (entry.kind == RING_KIND_MPMC)
            code = look_at_mpmc(search, entry.name);
        else if (entry.kind != RING_KIND_BLOCKS)
            code = look_at_all(search, &entry);
        if (code && code != -ENOENT) /* that was freed meanwhile, with the messages in it */
            return code;
    }
    return 0;
}

static int sweep(struct ring_blocks *blocks, struct ring_segment *segment, uint64_t *freed)
{
    struct search search = { .segment = segment, .view = &blocks->view };
    uint64_t stranded = 0;
    search.words = calloc(blocks->view.total, sizeof search.words[0]);
    if (!search.words)
        return ring_error(-ENOMEM, "out of memory for a list of %llu blocks", (unsigned long long)blocks->view.total);
    for (uint64_t number = 0; number < blocks->view.total; number++) {
        uint64_t word = ring_atomic_load(&blocks->view.words[number], memory_order_acquire); /* K7: before the probe */
        if (is_stranded(&blocks->view, word)) {
            search.words[number] = word;
            stranded++;
        }
    }
    int code = stranded ? look_at_rings(&search) : 0;
    for (uint64_t number = 0; number < blocks->view.total && !code && stranded; number++)
        if (search.words[number])
            *freed += ring_blocks_free_stranded(blocks, number, search.words[number]);
    free(search.words);
    return code;
}

int ring_segment_recover_stranded(struct ring_segment *segment, const char *pool, uint64_t *freed)
{
    struct ring_blocks blocks;
    uint64_t count = 0;
    int code = ring_blocks_open_as(&blocks, segment, pool, RING_BLOCKS_BLIND, RING_NO_WAIT);
    if (code)
        return code;
    code = sweep(&blocks, segment, &count);
    ring_blocks_close(&blocks);
    if (freed)
        *freed = count;
    return code;
}
