/* allocator_pages.c - level 5: on which node the pages of a thing lie.
 *
 * A page is on one node, so things for different nodes must not share one. Pages here means granules: 2 MiB where the
 * segment was made for such (then each mapping is joined to them), else the machine's ordinary page. Rooms are cut so
 * that a granule has things of one wish only; things with the same wish share one. Whose a granule is follows from the
 * READY entries, as all of it: one without any is nobody's, whatever a dead maker may have done to its policy, and is
 * put in order by the next who gets it.
 *
 * When pages were replaced while others have the segment mapped, theirs are gone from those mappings, and come back by
 * a page fault at the first touch. So that this happens when opening, not later, who enters fills his mapping: once for
 * each entry and turn, `settled` remembers.
 *
 * What lies in the reserve has no memory before: a maker gets it, and learns here that there is none; who enters fills
 * and locks his mapping of it; who frees gives all granules of the free room back that nothing else lies in. A maker
 * that dies leaves memory that belongs to nothing, until the next one takes it or frees beside it.
 */
#include <ring/allocator_private.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ring/error.h>
#include <ring/numa.h>

static_assert(RING_PAGES_NODES == RING_NUMA_MOST && RING_NODE_ANY == RING_NUMA_ANY &&
                  RING_NODE_MIXED == RING_NUMA_MIXED && RING_NODE_UNKNOWN == RING_NUMA_UNKNOWN &&
                  RING_NODE_HERE == RING_NUMA_HERE && RING_NODE_INTERLEAVED == RING_NUMA_INTERLEAVED,
              "the same wishes on both levels");

uint64_t ring_directory_granule(const struct ring_segment *segment)
{
    bool huge = (segment->constants.flags & RING_HUGE) && segment->constants.bytes % RING_MEMORY_HUGE == 0;
    if (segment->memory.page)
        return segment->memory.page; /* set aside for such */
    return huge && !segment->memory.given ? RING_MEMORY_HUGE : ring_memory_page();
}

/* The granules from `from` to `to`. */
static struct ring_numa_range range_of(const struct ring_segment *segment, uint64_t from, uint64_t to)
{
    uint64_t granule = ring_directory_granule(segment);
    return (struct ring_numa_range){ .address = segment->memory.address + from,
                                     .bytes = (size_t)(to - from),
                                     .granule = (size_t)granule,
                                     .huge = segment->memory.page,
                                     .join = granule > ring_memory_page() && (segment->flags & RING_HUGE) &&
                                             !segment->memory.page,
                                     .locked = (segment->flags & RING_LOCK) && !segment->memory.lock_error,
                                     .read_only = segment->memory.read_only };
}

int ring_directory_class(const struct ring_segment *segment, const struct ring_place *place, int *class)
{
    *class = RING_NODE_ANY;
    if (!place->on_node || place->node == RING_NODE_ANY)
        return 0;
    int node = ring_numa_resolve(place->node);
    if (node < RING_NODE_ANY && node != RING_NODE_INTERLEAVED)
        return ring_error(-EINVAL,
                          "%d is no NUMA node: a number from 0 on, RING_NODE_ANY, RING_NODE_HERE or "
                          "RING_NODE_INTERLEAVED",
                          place->node);
    if (node == RING_NODE_INTERLEAVED || node != segment->constants.numa_node)
        *class = node;
    return 0;
}

/* Is that, the wish of whoever has the other part of a granule, ours too? */
static bool may_share(int class, int other)
{
    return class == other && class != RING_NODE_INTERLEAVED; /* those count their granules each from its own first */
}

void ring_directory_trim(const struct ring_segment *segment, int class, struct ring_gap *gap)
{
    uint64_t granule = ring_directory_granule(segment);
    if (!may_share(class, gap->class_before))
        gap->from = ring_segment_round_up(gap->from, granule);
    if (!may_share(class, gap->class_behind))
        gap->to = gap->to / granule * granule;
}

/* ---- Memory that comes with the rings ---- */

static bool is_in_reserve(const struct ring_segment *segment, uint64_t end)
{
    return end > segment->memory.backed;
}

/* What the kernel refuses is not locked: info tells. */
static int lock_range(const struct ring_segment *segment, const struct ring_numa_range *range)
{
    if (!range->locked || mlock(range->address, range->bytes) == 0 || !(segment->flags & RING_STRICT))
        return 0;
    return ring_error(-ENOMEM, "RING_STRICT: %zu KiB more could not be locked (%s): see 'ulimit -l'",
                      range->bytes >> 10, strerror(errno));
}

/* Free room, as far as it is in the reserve and shares no granule with anything. */
static void give_back(const struct ring_segment *segment, uint64_t from, uint64_t to)
{
    uint64_t granule = ring_directory_granule(segment);
    from = ring_segment_round_up(from > segment->memory.backed ? from : segment->memory.backed, granule);
    to = to / granule * granule;
    if (from < to)
        ring_memory_give_back(&segment->memory, &segment->object, from, to - from);
}

int ring_directory_settle_new(const struct ring_segment *segment, int class, const struct ring_gap *gap,
                              uint64_t offset, uint64_t bytes)
{
    uint64_t granule = ring_directory_granule(segment);
    uint64_t from = ring_segment_round_up(offset, granule); /* before it: shared with one that is there */
    uint64_t to = ring_segment_round_up(offset + bytes, granule);
    if (to > gap->to)
        to = gap->to / granule * granule; /* shared with one behind */
    if (to <= from)
        return 0;
    struct ring_numa_range range = range_of(segment, from, to);
    bool later = is_in_reserve(segment, to);
    int node = class == RING_NODE_ANY ? segment->constants.numa_node : class;
    int code = later && !segment->memory.page ? ring_memory_check_room(range.bytes) : 0;
    if (!code && !segment->memory.given)
        code = ring_numa_place(&range, node);
    else if (!code && !ring_numa_is_placed(&range, node))
        code = ring_error(-EOPNOTSUPP,
                          "the segment's memory was given, and is left as it is: not all of it is on node %d", node);
    if (code != -ENOSPC && !(segment->flags & RING_STRICT)) /* else ring_segment_pages() tells */
        code = 0;
    if (!code && later)
        code = lock_range(segment, &range);
    if (code && later)
        give_back(segment, from, to);
    return code;
}

void ring_directory_give_back(const struct ring_segment *segment, const struct ring_entry_info *gone)
{
    uint64_t from = segment->constants.arena_offset;
    uint64_t to = segment->constants.bytes;
    if (!is_in_reserve(segment, gone->offset + gone->bytes))
        return;
    for (unsigned i = 0; i < segment->constants.directory_entries; i++) {
        struct ring_entry_info other;
        int code = ring_directory_copy(segment, i, &other);
        if (code == -ENOENT)
            continue;
        if (code)
            return; /* damaged: where things lie is not known */
        if (other.offset + other.bytes <= gone->offset)
            from = other.offset + other.bytes > from ? other.offset + other.bytes : from;
        else
            to = other.offset < to ? other.offset : to;
    }
    give_back(segment, from, to);
}

/* The array of turns: made by the first who needs it. NULL: out of memory. */
static RING_ATOMIC(uint64_t) * settled_turns(struct ring_segment *segment)
{
    /* S2: acquire, pairs with itself: the zeros come with the array. */
    RING_ATOMIC(uint64_t) *turns = ring_atomic_load(&segment->settled, memory_order_acquire);
    if (turns)
        return turns;
    RING_ATOMIC(uint64_t) *made = calloc(segment->constants.directory_entries, sizeof *made);
    if (!made)
        return NULL;
    if (atomic_compare_exchange_strong_explicit(&segment->settled, &turns, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    free(made);
    return turns;
}

int ring_directory_settle(struct ring_segment *segment, const struct ring_entry_info *entry, unsigned index)
{
    bool later = is_in_reserve(segment, entry->offset + entry->bytes);
    if ((entry->turn == 0 && entry->node == RING_NODE_ANY && !later) || segment->memory.given)
        return 0; /* the pages that were there when this process attached */
    RING_ATOMIC(uint64_t) *turns = settled_turns(segment);
    if (turns && ring_atomic_load(&turns[index], memory_order_relaxed) == entry->turn + 1) /* S3: twice does no harm */
        return 0;
    uint64_t granule = ring_directory_granule(segment);
    struct ring_numa_range range = range_of(segment, entry->offset / granule * granule,
                                            ring_segment_round_up(entry->offset + entry->bytes, granule));
    int code = ring_numa_fill(&range); /* refused: a touch would be a signal */
    if (code)
        return code;
    if (later)
        (void)lock_range(segment, &range);
    if (turns)
        ring_atomic_store(&turns[index], entry->turn + 1, memory_order_relaxed); /* S3 */
    return 0;
}

static void count(const struct ring_segment *segment, uint64_t offset, uint64_t bytes, struct ring_pages *pages)
{
    struct ring_numa_census census;
    uint64_t page = ring_memory_page();
    uint64_t granule = ring_directory_granule(segment);
    uint64_t from = offset / page * page;
    uint64_t to = ring_segment_round_up(offset + bytes, page);
    struct ring_numa_range range = range_of(segment, from, to);
    ring_numa_count(range.address, range.bytes, &census);
    pages->bytes = to - from;
    for (int node = 0; node < RING_PAGES_NODES; node++) {
        pages->node_bytes[node] = census.on_node[node] * page;
        if (pages->node_bytes[node])
            pages->node = pages->node == RING_NODE_UNKNOWN ? node : RING_NODE_MIXED;
    }
    if (census.elsewhere)
        pages->node = RING_NODE_MIXED;
    pages->elsewhere_bytes = census.elsewhere * page;
    pages->absent_bytes = census.absent * page;
    pages->unknown_bytes = census.unknown * page;
    pages->huge_known = ring_numa_count_huge(range.address, range.bytes, pages->node_huge_bytes);
    pages->granule = granule;
    pages->granted = ring_numa_is_placed(&range, pages->asked);
}

int ring_segment_pages(struct ring_segment *segment, const char *name, struct ring_pages *pages)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!pages || pages->struct_size != sizeof *pages)
        return ring_error(-EINVAL, "set pages.struct_size to sizeof(struct ring_pages) first");
    *pages = (struct ring_pages){ .struct_size = sizeof *pages,
                                  .asked = segment->constants.numa_node,
                                  .node = RING_NODE_UNKNOWN };
    if (!name) {
        count(segment, 0, segment->memory.backed, pages);
        return 0;
    }
    struct ring_entry_info entry;
    unsigned index;
    struct ring_claim *claim;
    code = ring_directory_enter_any(segment, name, &entry, &index, &claim);
    if (code)
        return code;
    if (entry.node != RING_NODE_ANY)
        pages->asked = entry.node;
    count(segment, entry.offset, entry.bytes, pages);
    ring_claim_drop(claim);
    return 0;
}

int ring_node_of_cpu(int cpu)
{
    return ring_numa_of_cpu(cpu);
}
