/* segment_calls.c - the life of segments and the making of rings: create, attach, open, close, unlink, ring create.
 *
 * What these leave is not bytes in a segment but names and files. So there are no states to put back: victims are
 * really killed, at a choice of instructions and around each one after which something has changed. */
#include "crash.h"

#include <sys/stat.h>

enum { BYTES = 64 << 10, RING_BYTES = 4096, MOST = 512 };

/* What is there before: row.detail tells. */
enum before { NOTHING, SEGMENT, SEGMENT_WITH_RING };

static enum before before(void)
{
    return stage.filling == EMPTY ? NOTHING : stage.filling == HALF ? SEGMENT : SEGMENT_WITH_RING;
}

static struct ring_segment_options options_of(unsigned flags)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = BYTES;
    options.flags = flags;
    options.rings = 4;
    return options;
}

/* ---- The worker ---- */

/* Everything as before, the segment made anew. */
static void reset(void)
{
    struct ring_segment_options options = options_of(0);
    struct ring_segment *segment;
    stage_names(true);
    if (before() == NOTHING)
        return;
    WANT_SAME(ring_segment_create(&segment, stage.name, &options), 0);
    if (before() == SEGMENT_WITH_RING)
        WANT_SAME(ring_spsc_create(segment, "old", RING_BYTES), 0);
    WANT_SAME(ring_segment_close(&segment), 0);
}

static void build(void)
{
    reset();
}

/* 0: no name; else 1 and how many rings there are. */
static uint64_t look(void)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof path, "/dev/shm/%s", stage.name);
    if (stat(path, &status) != 0)
        return 0;
    FILE *file = fopen(path, "re");
    struct ring_layout_entry entry;
    uint64_t rings = 0;
    WANT(file);
    fseek(file, RING_LAYOUT_PAGE, SEEK_SET);
    for (int i = 0; i < 4 && fread(&entry, sizeof entry, 1, file) == 1; i++)
        rings += (ring_atomic_load(&entry.word, memory_order_relaxed) & RING_ENTRY_STATE) == RING_ENTRY_READY;
    fclose(file);
    return 1 + rings;
}

static void use_ring(struct ring_segment *segment, const char *ring)
{
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    unsigned char message[MOST];
    int code = ring_spsc_create(segment, ring, RING_BYTES);
    WANT(code == 0 || code == -EEXIST);
    WANT_SAME(ring_spsc_open_producer(&producer, segment, ring, RING_NO_WAIT), 0);
    WANT_SAME(ring_spsc_open_consumer(&consumer, segment, ring, RING_NO_WAIT), 0);
    for (uint64_t i = 0; i < stage.further; i++) {
        message_write(message, 64, i);
        WANT_SAME(ring_spsc_send(&producer, message, 64, RING_NO_WAIT), 0);
        WANT_SAME(ring_spsc_recv(&consumer, message, MOST, RING_NO_WAIT), 64);
        WANT_SAME(message_read(message, 64), i);
    }
    WANT_SAME(ring_spsc_close_producer(&producer), 0);
    WANT_SAME(ring_spsc_close_consumer(&consumer), 0);
}

/* Whatever the dead one left: a whole segment or none, and the next one opens it, makes rings in it, removes it. */
static void recover(unsigned way)
{
    struct ring_segment_options options = options_of(0);
    struct ring_segment *segment;
    struct ring_segment_info info = { .struct_size = sizeof info };
    bool there = look() != 0;
    WANT_SAME(stage_names(false), there);
    if (way == 0) {
        WANT_SAME(ring_segment_open(&segment, stage.name, &options), 0);
    } else if (there) {
        WANT_SAME(ring_segment_create(&segment, stage.name, &options), -EEXIST);
        WANT_SAME(ring_segment_attach(&segment, stage.name, &options, RING_NO_WAIT), 0);
    } else {
        WANT_SAME(ring_segment_attach(&segment, stage.name, &options, RING_NO_WAIT), -ENOENT);
        WANT_SAME(ring_segment_create(&segment, stage.name, &options), 0);
    }
    WANT_SAME(ring_segment_info(segment, &info), 0);
    use_ring(segment, "old");
    use_ring(segment, "new");
    use_ring(segment, "other");
    WANT_SAME(ring_segment_info(segment, &info), 0);
    WANT_SAME(info.rings, 3);
    WANT_SAME(ring_segment_close(&segment), 0);
    WANT_SAME(ring_segment_unlink(stage.name), 0);
    WANT_SAME(stage_names(false), 0);
}

static const struct topology segment_topology = {
    .build = build, .reset = reset, .look = look, .recover = recover, .ways = 2
};

/* ---- The worker, where names go by themselves, and where the memory is no file ---- */

static unsigned backing;
static size_t own_bytes; /* a size that no other process's segments have, to count them by */

static struct ring_segment_options passing_options(unsigned flags)
{
    struct ring_segment_options options = options_of(flags);
    options.bytes = own_bytes;
    options.backing = backing;
    options.removal = RING_REMOVE_WITH_LAST;
    return options;
}

static unsigned count_system_v(void)
{
    char line[512];
    size_t size;
    unsigned count = 0;
    FILE *table = fopen("/proc/sysvipc/shm", "re");
    WANT(table);
    while (fgets(line, sizeof line, table)) /* by its fourth column: another's resident bytes may be as many */
        count += sscanf(line, "%*d %*d %*o %zu", &size) == 1 && size == own_bytes;
    fclose(table);
    return count;
}

/* The memory of who has just ended may be there for a moment. */
static void want_no_system_v(void)
{
    for (int i = 0; i < 1000 && count_system_v() != 0; i++)
        usleep(1000);
    WANT_SAME(count_system_v(), 0);
}

static void reset_passing(void)
{
    ring_segment_unlink(stage.name);
    WANT_SAME(stage_names(true), 0);
    want_no_system_v();
}

static void build_passing(void)
{
    own_bytes = BYTES + 4096 * (1 + (size_t)getpid() % 10000);
    reset_passing();
}

static void build_system_v(void)
{
    backing = RING_BACKING_SYSTEM_V;
    build_passing();
}

/* Whatever the dead one left, it does not stand in the way, and nothing of it remains. */
static void recover_passing(unsigned way)
{
    struct ring_segment_options options = passing_options(way == 2 ? RING_RECLAIM : 0);
    struct ring_segment *made;
    if (way == 0) {
        WANT_SAME(ring_segment_open(&made, stage.name, &options), 0);
    } else {
        if (way == 1)
            WANT_SAME(ring_segment_attach(&made, stage.name, &options, RING_NO_WAIT), -ENOENT);
        WANT_SAME(ring_segment_create(&made, stage.name, &options), 0);
    }
    use_ring(made, "new");
    WANT_SAME(ring_segment_close(&made), 0);
    WANT_SAME(stage_names(false), 0);
    want_no_system_v();
}

static uint64_t look_passing(void)
{
    return stage_names(false);
}

static const struct topology passing_topology = {
    .build = build_passing, .reset = reset_passing, .look = look_passing, .recover = recover_passing, .ways = 3
};
static const struct topology system_v_topology = {
    .build = build_system_v, .reset = reset_passing, .look = look_passing, .recover = recover_passing, .ways = 3
};

/* ---- Victims ---- */

static struct ring_segment *segment;

static void returned(int code)
{
    stage_account()->code = code;
}

static void create_with(unsigned flags)
{
    struct ring_segment_options options = options_of(flags);
    returned(ring_segment_create(&segment, stage.name, &options));
}

static void create(void)
{
    create_with(0);
}

static void create_locked(void)
{
    create_with(RING_HUGE | RING_LOCK);
}

static void reclaim(void)
{
    create_with(RING_RECLAIM);
}

static void create_passing(void)
{
    struct ring_segment_options options = passing_options(0);
    returned(ring_segment_create(&segment, stage.name, &options));
}

static void create_passing_before(void)
{
    create_passing();
    WANT_SAME(stage_account()->code, 0);
}

static void attach(void)
{
    struct ring_segment_options options = options_of(0);
    returned(ring_segment_attach(&segment, stage.name, &options, RING_NO_WAIT));
}

static void attach_read_only(void)
{
    struct ring_segment_options options = options_of(RING_READ_ONLY);
    returned(ring_segment_attach(&segment, stage.name, &options, RING_NO_WAIT));
}

static void look_at_segment(void)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    returned(ring_segment_info(segment, &info));
}

static void open_segment(void)
{
    struct ring_segment_options options = options_of(0);
    returned(ring_segment_open(&segment, stage.name, &options));
}

static void attach_before(void)
{
    attach();
    WANT_SAME(stage_account()->code, 0);
}

static void close_segment(void)
{
    returned(ring_segment_close(&segment));
}

static void unlink_segment(void)
{
    returned(ring_segment_unlink(stage.name));
}

static void create_ring(void)
{
    returned(ring_spsc_create(segment, "new", RING_BYTES));
}

static void free_ring(void)
{
    returned(ring_segment_free(segment, "old"));
}

static void free_before(void)
{
    attach_before();
    WANT_SAME(ring_segment_free(segment, "old"), 0);
}

#define ROW      .topology = &segment_topology, .sizes = SMALL, .flags = IDLE
#define PASSING  .topology = &passing_topology, .sizes = SMALL, .flags = IDLE, .fillings = IN(EMPTY)
#define SYSTEM_V .topology = &system_v_topology, .sizes = SMALL, .flags = IDLE, .fillings = IN(EMPTY)
#define NONE     IN(EMPTY) /* no segment of that name */
#define ONE      IN(HALF)  /* an empty one */
#define FILLED   IN(FULL)  /* one with a ring */

const struct row segment_rows[] = {
    { "segment create", ROW, .act = create, .fillings = NONE },
    { "segment create", ROW, .act = create_locked, .fillings = NONE, .detail = "huge and locked" },
    { "segment create", ROW, .act = create, .fillings = ONE, .code = -EEXIST, .detail = "taken" },
    { "segment reclaim", .topology = &segment_topology, .sizes = SMALL, .flags = IDLE | REPLACES, .act = reclaim,
      .fillings = FILLED },
    { "passing create", PASSING, .act = create_passing },
    { "sysv create", SYSTEM_V, .act = create_passing },
    { "segment attach", ROW, .act = attach, .fillings = ONE | FILLED },
    { "segment attach", ROW, .act = attach, .fillings = NONE, .code = -ENOENT, .detail = "none there" },
    { "segment attach", ROW, .act = attach_read_only, .fillings = ONE | FILLED, .detail = "read-only" },
    { "segment info", .topology = &segment_topology, .sizes = SMALL, .flags = IDLE | CALLS_ONLY,
      .prepare = attach_before, .act = look_at_segment, .fillings = FILLED },
    { "segment open", ROW, .act = open_segment, .fillings = NONE | FILLED },
    { "segment close", ROW, .prepare = attach_before, .act = close_segment, .fillings = ONE },
    { "passing close", PASSING, .prepare = create_passing_before, .act = close_segment },
    { "sysv close", SYSTEM_V, .prepare = create_passing_before, .act = close_segment },
    { "segment unlink", ROW, .act = unlink_segment, .fillings = ONE | FILLED },
    { "spsc create", ROW, .prepare = attach_before, .act = create_ring, .fillings = ONE | FILLED },
    { "spsc create", ROW, .prepare = free_before, .act = create_ring, .fillings = FILLED, .detail = "in freed room" },
    { "ring free", ROW, .prepare = attach_before, .act = free_ring, .fillings = FILLED },
    { "ring free", ROW, .prepare = attach_before, .act = free_ring, .fillings = ONE, .code = -ENOENT,
      .detail = "none there" },
};
const size_t segment_row_count = sizeof segment_rows / sizeof segment_rows[0];
