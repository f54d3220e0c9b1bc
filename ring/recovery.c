/* recovery.c - level 7: one round over all rings of a segment; see recovery.h. SPSC rings need none: what a dead side
 * leaves there is invisible, or its successor's to take. */
#include <ring/recovery.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/blocks.h>
#include <ring/error.h>
#include <ring/heap.h>
#include <ring/mpmc_private.h>

static int recover_mpmc(struct ring_segment *segment, const char *ring, struct ring_recovery *report)
{
    struct ring_mpmc_view view;
    struct ring_mpmc_repairs repairs = { 0, 0, 0, 0 };
    struct ring_claim *claim;
    int code = ring_mpmc_enter(segment, ring, &view, &claim);
    if (code)
        return code;
    code = ring_mpmc_repair(&view, NULL, NULL, true, &repairs);
    ring_claim_drop(claim);
    report->rings++;
    report->skipped += repairs.skipped;
    report->freed += repairs.freed;
    report->waiting += repairs.waiting;
    report->pending += repairs.pending;
    return code ? ring_error(code, "ring '%s' in %s is damaged: its words do not fit together", ring, segment->name)
                : 0;
}

static int recover_blocks(struct ring_segment *segment, const char *pool, struct ring_recovery *report)
{
    struct ring_blocks_repairs repairs = { .struct_size = sizeof repairs };
    int code = ring_blocks_recover(segment, pool, &repairs);
    report->blocks_freed += repairs.freed;
    report->blocks_stranded += repairs.stranded;
    return code;
}

/* Through a seat of our own: that of a dead one, if there is any. */
static int recover_heap(struct ring_segment *segment, const char *name, struct ring_recovery *report)
{
    struct ring_heap heap;
    uint64_t freed = 0;
    int code = ring_heap_open(&heap, segment, name, RING_NO_WAIT);
    if (code == 0) {
        code = ring_heap_recover(&heap, &freed, RING_NO_WAIT);
        report->pieces_freed += heap.inherited + freed;
        ring_heap_close(&heap);
    }
    bool busy = code == -EAGAIN || code == -EUSERS; /* all are living, or one of them is at work on it */
    report->pending += busy;
    return busy ? 0 : code;
}

int ring_segment_recover(struct ring_segment *segment, struct ring_recovery *report)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (segment->witness.read_only)
        return ring_error(-EACCES, "%s is attached for reading only: nothing can be mended through this handle",
                          segment->name);
    if (report && report->struct_size != sizeof *report)
        return ring_error(-EINVAL, "set report.struct_size to sizeof(struct ring_recovery) first");
    struct ring_recovery sum = { .struct_size = sizeof sum };
    int worst = 0;
    for (unsigned i = 0; i < segment->constants.directory_entries; i++) {
        struct ring_entry_info entry;
        code = ring_segment_entry(segment, i, &entry);
        if (code == 0 && entry.kind == RING_KIND_MPMC)
            code = recover_mpmc(segment, entry.name, &sum);
        else if (code == 0 && entry.kind == RING_KIND_BLOCKS)
            code = recover_blocks(segment, entry.name, &sum);
        else if (code == 0 && entry.kind == RING_KIND_HEAP)
            code = recover_heap(segment, entry.name, &sum);
        if (code && code != -ENOENT)
            worst = code;
    }
    if (report)
        *report = sum;
    return worst;
}
