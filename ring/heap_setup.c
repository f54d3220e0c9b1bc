/* heap_setup.c - level 6: making a heap, taking and leaving its seats. */
#include <ring/heap_private.h>

#include <errno.h>

#include <ring/allocator.h>
#include <ring/clock.h>
#include <ring/error.h>

enum { PAGE = RING_LAYOUT_PAGE };

/* ---- Shape ---- */

static bool in_range(const struct ring_heap_options *options)
{
    unsigned granule = options->granule_bytes;
    return options->bytes >= RING_HEAP_MIN_BYTES && options->bytes <= RING_HEAP_MAX_BYTES && granule >= 64 &&
           granule <= PAGE && (granule & (granule - 1)) == 0 && options->seats >= 1 &&
           options->seats <= RING_HEAP_SEATS && options->bytes / granule < RING_PIECE_MOST;
}

static uint64_t seats_bytes(unsigned seats)
{
    return ring_segment_round_up((uint64_t)seats * sizeof(struct ring_layout_heap_seat), PAGE);
}

static uint64_t lay_out(const struct ring_heap_options *options, uintptr_t base, struct ring_heap_view *view)
{
    uint64_t at = PAGE + seats_bytes(options->seats);
    view->control = (struct ring_layout_heap *)(void *)base;
    view->seats = (struct ring_layout_heap_seat *)(void *)(base + PAGE);
    view->words = (RING_ATOMIC(uint64_t) *)(void *)(base + at);
    view->shift = (unsigned)__builtin_ctz(options->granule_bytes);
    view->granules = (options->bytes + options->granule_bytes - 1) >> view->shift;
    view->word_count = ring_heap_first(view->granules);
    view->seat_count = options->seats;
    at = ring_segment_round_up(at + view->word_count * sizeof(uint64_t), PAGE);
    view->data = (unsigned char *)(base + at);
    return ring_segment_round_up(at + (view->granules << view->shift), PAGE);
}

size_t ring_heap_footprint_with(const struct ring_heap_options *options)
{
    struct ring_heap_view view;
    if (!options || options->struct_size != sizeof *options || !in_range(options))
        return 0;
    return (size_t)lay_out(options, 0, &view);
}

size_t ring_heap_footprint(size_t bytes)
{
    struct ring_heap_options options = ring_heap_defaults(bytes);
    return ring_heap_footprint_with(&options);
}

/* ---- Making ---- */

/* One free piece of all granules; all else is zero. R2: relaxed, ordered by R1. */
static void fill(void *place, const void *given)
{
    const struct ring_heap_options *options = given;
    struct ring_heap_view view;
    unsigned first, second;
    lay_out(options, (uintptr_t)place, &view);
    view.control->granules = view.granules;
    view.control->granule_bytes = options->granule_bytes;
    view.control->seats = options->seats;
    ring_heap_list_of(view.granules, &first, &second);
    ring_atomic_store(&view.words[ring_heap_first(0)], ring_piece_word(RING_PIECE_FREE, view.granules, 0),
                      memory_order_relaxed);
    ring_atomic_store(&view.words[RING_HEAP_LIST + first * RING_HEAP_SECONDS + second], 1, memory_order_relaxed);
    ring_atomic_store(&view.words[RING_HEAP_SECOND_BITS + first], UINT64_C(1) << second, memory_order_relaxed);
    ring_atomic_store(&view.words[RING_HEAP_FIRST_BITS], UINT64_C(1) << first, memory_order_relaxed);
    /* Heaps made at different times begin with different generations, so their references do not fit each other. */
    ring_atomic_store(&view.words[RING_HEAP_GENERATION], ring_clock_realtime() / 1000 & UINT32_MAX,
                      memory_order_relaxed);
}

int ring_heap_create_with(struct ring_segment *segment, const char *heap, const struct ring_heap_options *options)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!options || options->struct_size != sizeof *options)
        return ring_error(-EINVAL, "start the heap's options from ring_heap_defaults(): struct_size is not as this "
                                   "library knows it");
    if (!in_range(options))
        return ring_error(
            -EINVAL,
            "a heap has %zu bytes to 128 GiB, in less than 2^31 granules of 64, 128 .. or 4096 bytes, and "
            "1 to %d seats",
            RING_HEAP_MIN_BYTES, RING_HEAP_SEATS);
    struct ring_heap_view view;
    struct ring_place place = { .bytes = lay_out(options, 0, &view),
                                .on_node = true,
                                .node = options->numa_node,
                                .fill = fill,
                                .options = options };
    place.control_bytes = (uint64_t)(uintptr_t)view.data;
    return ring_directory_make(segment, heap, RING_KIND_HEAP, &place);
}

int ring_heap_create(struct ring_segment *segment, const char *heap, size_t bytes)
{
    struct ring_heap_options options = ring_heap_defaults(bytes);
    return ring_heap_create_with(segment, heap, &options);
}

/* ---- Finding and checking ---- */

int ring_heap_enter(struct ring_segment *segment, const char *heap, struct ring_heap_view *view,
                    struct ring_claim **claim)
{
    struct ring_entry_info entry;
    unsigned index;
    int code = ring_directory_enter(segment, heap, RING_KIND_HEAP, &entry, &index, claim);
    if (code)
        return code;
    const struct ring_layout_heap *control =
        (const struct ring_layout_heap *)(const void *)(segment->memory.address + entry.offset);
    struct ring_heap_options options = { .struct_size = sizeof options,
                                         .granule_bytes = control->granule_bytes,
                                         .seats = control->seats };
    uint64_t granules = control->granules;
    bool fits = granules <= RING_PIECE_MOST && options.granule_bytes <= PAGE;
    options.bytes = fits ? granules * options.granule_bytes : 0;
    memset((void *)view, 0, sizeof *view);
    if (!in_range(&options) ||
        lay_out(&options, (uintptr_t)(segment->memory.address + entry.offset), view) != entry.bytes) {
        ring_claim_drop(*claim);
        return ring_error(-EUCLEAN,
                          "heap '%s' in %s is damaged: its control page tells of %llu granules of %u bytes in a place "
                          "of %llu bytes",
                          heap, segment->name, (unsigned long long)granules, options.granule_bytes,
                          (unsigned long long)entry.bytes);
    }
    view->entry = index;
    view->segment = segment;
    return 0;
}

static int enter_in_time(struct ring_segment *segment, const char *heap, struct ring_heap_view *view,
                         struct ring_claim **claim, int64_t timeout_ns)
{
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (;;) {
        int code = ring_heap_enter(segment, heap, view, claim);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no heap '%s' in segment %s after the time limit", heap,
                              segment->name);
    }
}

/* ---- Seats ---- */

static void forget(struct ring_heap *heap)
{
    ring_guard_close(&heap->guarded);
    heap->claim = NULL;
    heap->view.granules = 0;
    heap->view.word_count = 0;
}

/* Undoes and frees what the seat's last holder left. */
static int settle_in(struct ring_heap *heap, int64_t timeout_ns)
{
    int code = ring_heap_lock(heap, timeout_ns);
    if (code == -EUCLEAN)
        return code;
    if (code)
        return ring_error(code, "another process has held the lock of this heap of %s all the time: is it stopped?",
                          heap->view.segment->name);
    code = ring_heap_free_all_of(heap, heap->seat, &heap->inherited);
    ring_heap_settle(heap, code != 0);
    ring_heap_unlock(heap);
    return code ? ring_error(code, "the heap in %s is damaged: its words do not fit together", heap->view.segment->name)
                : 0;
}

static int take_seat(struct ring_heap *heap, const char *name, struct ring_claim *claim, int64_t timeout_ns)
{
    struct ring_heap_view *view = &heap->view;
    struct ring_seat_row row = { ring_heap_seat(view, 0), sizeof(struct ring_layout_heap_seat), view->seat_count };
    bool died;
    int code = ring_seat_take_any(&row, false, &heap->seat, claim, &died);
    if (code == -EUSERS)
        return ring_error(code,
                          "heap '%s' in %s is full: all %u seats are held by living participants; create it with more "
                          "(.seats)",
                          name, view->segment->name, view->seat_count);
    if (code)
        return code;
    code = ring_seat_reach(&view->control->reached, heap->seat); /* H5: before any piece that names the seat */
    if (!code && died)
        code = settle_in(heap, timeout_ns);
    if (code) {
        struct ring_seat seat = ring_heap_seat(view, heap->seat);
        ring_seat_leave(&seat, died);
    }
    return code;
}

int ring_heap_open(struct ring_heap *heap, struct ring_segment *segment, const char *name, int64_t timeout_ns)
{
    if (!heap)
        return ring_error(-EINVAL, "the place for the heap's handle is NULL");
    memset((void *)heap, 0, sizeof *heap);
    ring_guard_close(&heap->guarded);
    struct ring_claim *claim;
    int code = ring_segment_usable(segment);
    if (!code)
        code = enter_in_time(segment, name, &heap->view, &claim, timeout_ns);
    if (code)
        return code;
    code = ring_guard_open(&heap->guarded);
    if (!code)
        code = take_seat(heap, name, claim, timeout_ns);
    if (code) {
        forget(heap);
        ring_claim_drop(claim);
        return code;
    }
    heap->claim = claim;
    ring_segment_hold(segment);
    return 0;
}

int ring_heap_close(struct ring_heap *heap)
{
    if (!heap || !heap->claim)
        return ring_error(-EBADF, "this heap's handle is not open");
    struct ring_segment *segment = heap->view.segment;
    bool ours = segment->process == ring_process();
    if (ours && ring_guard_enter(&heap->guarded) == -EBUSY)
        return ring_error(-EBUSY, "this handle is inside another call just now");
    if (ours) {
        /* Without the lock in time what we own stays: the seat is left as by one that died, and somebody frees it. */
        bool settled = settle_in(heap, INT64_C(100000000)) == 0;
        struct ring_seat seat = ring_heap_seat(&heap->view, heap->seat);
        ring_seat_leave(&seat, !settled);
        ring_claim_drop(heap->claim); /* last: the heap may be gone now */
    }
    forget(heap);
    ring_segment_drop(segment);
    return 0;
}
