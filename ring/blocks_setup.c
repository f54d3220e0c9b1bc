/* blocks_setup.c - level 6: making a pool of blocks, taking and leaving its seats.
 *
 * Whoever takes a seat settles first what its last holder left, before it owns anything itself: so a word that names
 * the seat is its predecessor's before, and its own after. */
#include <ring/blocks_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/clock.h>
#include <ring/error.h>

enum { PAGE = RING_LAYOUT_PAGE, CACHE_USUAL = 32 };

/* ---- Shape ---- */

static uint64_t stride_for(uint64_t block_bytes, uint64_t align)
{
    return ring_segment_round_up(block_bytes, align ? align : block_bytes >= PAGE ? PAGE : RING_CACHE_LINE);
}

static bool is_align(uint64_t align)
{
    return align == 0 || (align >= PAGE && align <= RING_BLOCKS_MAX_ALIGN && (align & (align - 1)) == 0);
}

static bool in_range(const struct ring_blocks_options *options)
{
    uint64_t total = 0;
    if (options->class_count < 1 || options->class_count > RING_BLOCK_CLASSES || options->seats < 1 ||
        options->seats > RING_BLOCK_SEATS_MOST ||
        (options->cache > RING_BLOCK_CACHE_MOST && options->cache != RING_BLOCK_CACHE_USUAL) ||
        !is_align(options->align))
        return false;
    for (unsigned i = 0; i < options->class_count; i++) {
        const struct ring_blocks_class *class = &options->classes[i];
        if (class->block_bytes < 1 || class->block_bytes > RING_BLOCKS_MAX_BYTES || class->count < 1 ||
            class->count > RING_BLOCK_MOST ||
            class->count > RING_BLOCKS_MAX_BYTES / stride_for(class->block_bytes, options->align) ||
            (i && class->block_bytes <= options->classes[i - 1].block_bytes))
            return false;
        total += class->count;
    }
    return total <= RING_BLOCK_MOST;
}

static unsigned cache_for(const struct ring_blocks_options *options, unsigned class)
{
    uint64_t fair = options->classes[class].count / (2 * (uint64_t)options->seats);
    if (options->cache != RING_BLOCK_CACHE_USUAL)
        return options->cache;
    return fair < CACHE_USUAL ? (unsigned)fair : CACHE_USUAL;
}

/* Where everything is, in a place that begins at `base`, which is a multiple of `align`: the view, and how many bytes
 * it takes. */
static uint64_t lay_out(const struct ring_blocks_options *options, uintptr_t base, struct ring_blocks_view *view)
{
    uint64_t at = PAGE + ring_segment_round_up((uint64_t)options->seats * sizeof(struct ring_layout_block_seat), PAGE);
    view->control = (struct ring_layout_blocks *)(void *)base;
    view->seats = (struct ring_layout_block_seat *)(void *)(base + PAGE);
    view->words = (RING_ATOMIC(uint64_t) *)(void *)(base + at);
    view->class_count = options->class_count;
    view->seat_count = options->seats;
    view->total = 0;
    for (unsigned i = 0; i < options->class_count; i++) {
        struct ring_blocks_row *row = &view->rows[i];
        *row = (struct ring_blocks_row){ .block_bytes = options->classes[i].block_bytes,
                                         .stride = stride_for(options->classes[i].block_bytes, options->align),
                                         .first = view->total,
                                         .end = view->total + options->classes[i].count,
                                         .cache = cache_for(options, i) };
        view->total = row->end;
    }
    at = ring_segment_round_up(at + view->total * sizeof(uint64_t), PAGE);
    for (unsigned i = 0; i < options->class_count; i++) {
        struct ring_blocks_row *row = &view->rows[i];
        uint64_t words = row->end - row->first;
        do {
            words = (words + 63) / 64;
            row->level[row->levels] = (RING_ATOMIC(uint64_t) *)(void *)(base + at);
            row->level_words[row->levels++] = words;
            at += words * sizeof(uint64_t);
        } while (words > 1);
    }
    for (unsigned i = 0; i < options->class_count; i++) {
        struct ring_blocks_row *row = &view->rows[i];
        at = ring_segment_round_up(at, options->align ? options->align : PAGE);
        row->data = (unsigned char *)(base + at);
        at += (row->end - row->first) * row->stride;
    }
    return ring_segment_round_up(at, PAGE);
}

size_t ring_blocks_footprint_with(const struct ring_blocks_options *options)
{
    struct ring_blocks_view view = { .total = 0 };
    if (!options || options->struct_size != sizeof *options || !in_range(options))
        return 0;
    uint64_t before = options->align > PAGE ? options->align - PAGE : 0; /* at most that, to be aligned itself */
    return (size_t)(before + lay_out(options, 0, &view));
}

size_t ring_blocks_footprint(size_t block_bytes, size_t count)
{
    struct ring_blocks_options options = ring_blocks_defaults(block_bytes, count);
    return ring_blocks_footprint_with(&options);
}

/* ---- Making ---- */

static void fill(void *place, const void *given)
{
    const struct ring_blocks_options *options = given;
    struct ring_blocks_view view = { .total = 0 };
    lay_out(options, (uintptr_t)place, &view);
    struct ring_layout_blocks *control = place;
    control->blocks = view.total;
    control->classes = options->class_count;
    control->seats = options->seats;
    control->cache = options->cache;
    control->align = (uint32_t)options->align;
    for (unsigned i = 0; i < options->class_count; i++) {
        control->classes_of[i].block_bytes = options->classes[i].block_bytes;
        control->classes_of[i].count = options->classes[i].count;
    }
    /* R2, here and below: relaxed, ordered by R1. */
    for (uint64_t number = 0; number < view.total; number++)
        ring_atomic_store(&view.words[number], options->start_generation << RING_BLOCK_GENERATION | RING_BLOCK_FREE,
                          memory_order_relaxed);
    for (unsigned i = 0; i < options->class_count; i++)
        for (unsigned level = 0; level < view.rows[i].levels; level++) {
            uint64_t bits = level ? view.rows[i].level_words[level - 1] : options->classes[i].count;
            for (uint64_t word = 0; word < view.rows[i].level_words[level]; word++) {
                uint64_t left = bits - word * 64;
                ring_atomic_store(&view.rows[i].level[level][word], left < 64 ? (UINT64_C(1) << left) - 1 : UINT64_MAX,
                                  memory_order_relaxed);
            }
        }
}

static int check_options(const struct ring_blocks_options *options)
{
    if (!options || options->struct_size != sizeof *options)
        return ring_error(-EINVAL, "start the pool's options from ring_blocks_defaults(): struct_size is not as this "
                                   "library knows it");
    if (!in_range(options))
        return ring_error(
            -EINVAL,
            "a pool has 1 to %d classes, each with larger blocks than the one before, of 1 byte to 1 TiB; "
            "1 to %llu blocks in all; 1 to %d seats; a cache of 0 to %d; and blocks at multiples of a power of two "
            "(.align) from 4096 to 1 GiB, or 0",
            RING_BLOCK_CLASSES, (unsigned long long)RING_BLOCK_MOST, RING_BLOCK_SEATS_MOST, RING_BLOCK_CACHE_MOST);
    return 0;
}

int ring_blocks_create_with(struct ring_segment *segment, const char *pool, const struct ring_blocks_options *options)
{
    int code = ring_segment_usable(segment);
    if (!code)
        code = check_options(options);
    if (code)
        return code;
    struct ring_blocks_options own = *options;
    if (own.start_generation == 0) /* microseconds, so that a pool made later begins elsewhere */
        own.start_generation = ring_clock_realtime() / 1000 | 1;
    struct ring_blocks_view view = { .total = 0 };
    uint64_t bytes = lay_out(&own, 0, &view);
    struct ring_place place = { .bytes = bytes,
                                .align = own.align,
                                .on_node = true,
                                .node = own.numa_node,
                                .control_bytes =
                                    PAGE + ring_segment_round_up(
                                               (uint64_t)own.seats * sizeof(struct ring_layout_block_seat), PAGE),
                                .fill = fill,
                                .options = &own };
    return ring_directory_make(segment, pool, RING_KIND_BLOCKS, &place);
}

int ring_blocks_create(struct ring_segment *segment, const char *pool, size_t block_bytes, size_t count)
{
    struct ring_blocks_options options = ring_blocks_defaults(block_bytes, count);
    return ring_blocks_create_with(segment, pool, &options);
}

/* ---- Finding and checking ---- */

int ring_blocks_enter(struct ring_segment *segment, const char *pool, struct ring_blocks_view *view,
                      struct ring_claim **claim)
{
    struct ring_entry_info entry;
    unsigned index;
    int code = ring_directory_enter(segment, pool, RING_KIND_BLOCKS, &entry, &index, claim);
    if (code)
        return code;
    const struct ring_layout_blocks *control =
        (const struct ring_layout_blocks *)(const void *)(segment->memory.address + entry.offset);
    struct ring_blocks_options options;
    memset(&options, 0, sizeof options);
    options.class_count = control->classes;
    options.seats = control->seats;
    options.cache = control->cache;
    options.align = control->align;
    for (unsigned i = 0; i < options.class_count && i < RING_BLOCK_CLASSES; i++) {
        options.classes[i].block_bytes = control->classes_of[i].block_bytes;
        options.classes[i].count = control->classes_of[i].count;
    }
    memset((void *)view, 0, sizeof *view);
    if (!in_range(&options) || (options.align && entry.offset % options.align) ||
        lay_out(&options, (uintptr_t)(segment->memory.address + entry.offset), view) != entry.bytes) {
        ring_claim_drop(*claim);
        return ring_error(-EUCLEAN,
                          "pool '%s' in %s is damaged: its control page tells of %u classes and %u seats in a place of "
                          "%llu bytes",
                          pool, segment->name, options.class_count, options.seats, (unsigned long long)entry.bytes);
    }
    view->entry = index;
    view->segment = segment;
    return 0;
}

static int enter_in_time(struct ring_segment *segment, const char *pool, struct ring_blocks_view *view,
                         struct ring_claim **claim, int64_t timeout_ns)
{
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (;;) {
        int code = ring_blocks_enter(segment, pool, view, claim);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no pool '%s' in segment %s after the time limit", pool,
                              segment->name);
    }
}

/* ---- Seats ---- */

static int take_seat(const struct ring_blocks_view *view, const char *pool, unsigned *seat, struct ring_claim *claim)
{
    struct ring_seat_row row = { ring_blocks_seat(view, 0), sizeof(struct ring_layout_block_seat), view->seat_count };
    bool died;
    int code = ring_seat_take_any(&row, false, seat, claim, &died);
    if (code == -EUSERS)
        return ring_error(code,
                          "pool '%s' in %s is full: all %u seats are held by living participants; create it with more "
                          "(.seats)",
                          pool, view->segment->name, view->seat_count);
    if (code)
        return code;
    code = ring_seat_reach(&view->control->reached, *seat); /* K8: before any word that names the seat */
    if (code) {
        struct ring_seat taken = ring_blocks_seat(view, *seat);
        ring_seat_leave(&taken, died);
    } else if (died) {
        ring_blocks_settle(view, *seat, true, NULL);
    }
    return code;
}

static void forget(struct ring_blocks *blocks)
{
    ring_guard_close(&blocks->guarded);
    blocks->claim = NULL;
    blocks->view.total = 0;
    blocks->view.class_count = 0;
    blocks->total = 0;
}

/* What the hot path needs of a class; behind the last one comes one for all that is too long for any. */
static void set_up(struct ring_blocks *blocks, const struct ring_blocks_view *view)
{
    for (unsigned i = 0; i <= view->class_count; i++) {
        struct ring_blocks_cache *cache = &blocks->caches[i];
        const struct ring_blocks_row *row = &view->rows[i];
        bool real = i < view->class_count;
        cache->top = cache->handles;
        cache->limit = real && blocks->rights == RING_BLOCKS_WRITE_ALL ? row->cache : 0;
        cache->full = cache->handles + cache->limit;
        cache->block_bytes = real ? row->block_bytes : SIZE_MAX;
        cache->stride = real ? row->stride : 0;
        cache->end = real ? row->end : UINT64_MAX;
        cache->origin = real ? (unsigned char *)((uintptr_t)row->data - row->first * row->stride) : NULL;
    }
    blocks->view = *view;
    blocks->words = view->words;
    blocks->total = blocks->rights == RING_BLOCKS_WRITE_OWN ? 0 : view->total; /* none: all go the longer way */
}

/* Rights and a seat. */
static int join(struct ring_blocks *blocks, const struct ring_blocks_view *view, const char *pool,
                struct ring_claim *claim)
{
    int code = ring_blocks_take_rights(view, pool, blocks->rights);
    if (code)
        return code;
    code = take_seat(view, pool, &blocks->seat, claim);
    if (code)
        ring_blocks_leave_rights(view, blocks->rights);
    return code;
}

int ring_blocks_open_as(struct ring_blocks *blocks, struct ring_segment *segment, const char *pool, unsigned rights,
                        int64_t timeout_ns)
{
    if (!blocks)
        return ring_error(-EINVAL, "the place for the pool's handle is NULL");
    memset((void *)blocks, 0, sizeof *blocks);
    ring_guard_close(&blocks->guarded);
    blocks->rights = rights;
    struct ring_blocks_view view;
    int code = ring_segment_usable(segment);
    struct ring_claim *claim;
    if (!code)
        code = enter_in_time(segment, pool, &view, &claim, timeout_ns);
    if (code)
        return code;
    code = ring_guard_open(&blocks->guarded);
    if (!code)
        code = join(blocks, &view, pool, claim);
    if (code) {
        forget(blocks);
        ring_claim_drop(claim);
        return code;
    }
    blocks->claim = claim;
    set_up(blocks, &view);
    blocks->me = (uint64_t)blocks->seat << RING_BLOCK_SEAT;
    ring_segment_hold(segment);
    return 0;
}

int ring_blocks_open_with(struct ring_blocks *blocks, struct ring_segment *segment, const char *pool,
                          enum ring_blocks_rights rights, int64_t timeout_ns)
{
    if ((unsigned)rights > RING_BLOCKS_WRITE_OWN)
        return ring_error(-EINVAL, "rights %u are none that this library knows", (unsigned)rights);
    return ring_blocks_open_as(blocks, segment, pool, rights, timeout_ns);
}

int ring_blocks_open(struct ring_blocks *blocks, struct ring_segment *segment, const char *pool, int64_t timeout_ns)
{
    return ring_blocks_open_as(blocks, segment, pool, RING_BLOCKS_WRITE_ALL, timeout_ns);
}

int ring_blocks_close(struct ring_blocks *blocks)
{
    if (!blocks || !blocks->claim)
        return ring_error(-EBADF, "this pool's handle is not open");
    struct ring_segment *segment = blocks->view.segment;
    bool ours = segment->process == ring_process();
    if (ours && ring_guard_enter(&blocks->guarded) == -EBUSY)
        return ring_error(-EBUSY, "this handle is inside another call just now");
    if (ours) {
        ring_blocks_shut_owned(blocks);
        ring_blocks_settle(&blocks->view, blocks->seat, true, NULL);
        struct ring_seat seat = ring_blocks_seat(&blocks->view, blocks->seat);
        ring_seat_leave(&seat, false);
        ring_blocks_leave_rights(&blocks->view, blocks->rights);
        ring_claim_drop(blocks->claim); /* last: the pool may be gone now */
    }
    forget(blocks);
    ring_segment_drop(segment);
    return 0;
}
