/* segment.c - level 4: the life of a segment.
 *
 * A segment is complete before it has a name: it is made as a nameless file, laid out, and linked to its name as the
 * last step, so nobody ever sees half of one, and whoever dies before leaves nothing. Of two creators one gets -EEXIST.
 * What is attached is not trusted: see segment_check.c.
 */
#include <ring/segment_private.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>

enum { OPEN_ATTEMPTS = 1000 };

/* "/dev/shm/NAME" of "NAME" or "/NAME". */
static int path_of(const char *name, char path[RING_SEGMENT_NAME_MAX + 16])
{
    if (!name)
        return ring_error(-EINVAL, "the segment's name is NULL");
    const char *bare = name[0] == '/' ? name + 1 : name;
    if (bare[0] == '\0' || strchr(bare, '/') || strcmp(bare, ".") == 0 || strcmp(bare, "..") == 0)
        return ring_error(-EINVAL, "'%.60s' cannot name a segment: it takes a name like /feed, with no other slash",
                          name);
    if (strlen(bare) > RING_SEGMENT_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a segment's name has at most %d characters, this one has %zu",
                          RING_SEGMENT_NAME_MAX, strlen(bare));
    sprintf(path, RING_MEMORY_DIRECTORY "/%s", bare);
    return 0;
}

static int check_options(const struct ring_segment_options *given, struct ring_segment_options *options)
{
    *options = ring_segment_defaults();
    if (!given)
        return 0;
    if (given->struct_size != sizeof *given)
        return ring_error(-EINVAL, "struct_size is %zu, this library knows %zu: start from ring_segment_defaults()",
                          given->struct_size, sizeof *given);
    *options = *given;
    if (options->flags & ~(unsigned)(RING_HUGE | RING_LOCK | RING_STRICT | RING_ANY_OWNER | RING_DUMP | RING_READ_ONLY))
        return ring_error(-EINVAL, "flags 0x%x has bits that this library does not know", options->flags);
    return 0;
}

static int check_shape(const struct ring_segment_options *options)
{
    if (options->flags & RING_READ_ONLY)
        return ring_error(-EINVAL,
                          "a segment cannot be created read-only: RING_READ_ONLY is for ring_segment_attach()");
    if (options->bytes < RING_SEGMENT_MIN_BYTES || options->bytes > RING_SEGMENT_MAX_BYTES)
        return ring_error(-EINVAL, "a segment has %zu to %zu bytes, not %zu", RING_SEGMENT_MIN_BYTES,
                          RING_SEGMENT_MAX_BYTES, options->bytes);
    if (options->mode & ~0777U || (options->mode & 0600) != 0600)
        return ring_error(-EINVAL, "mode %04o: permission bits only, and its owner must be able to read and write",
                          options->mode);
    if (options->rings == 0 || options->rings > RING_SEGMENT_MAX_RINGS)
        return ring_error(-EINVAL, "a segment has places for 1 to %d rings, not %u", RING_SEGMENT_MAX_RINGS,
                          options->rings);
    if (options->numa_node < RING_NODE_ANY)
        return ring_error(-EINVAL, "there is no NUMA node %d", options->numa_node);
    if (ring_segment_arena(options->rings) + RING_LAYOUT_PAGE > options->bytes)
        return ring_error(-EINVAL, "%u rings need a directory of %llu bytes, more than the segment's %zu",
                          options->rings, (unsigned long long)ring_segment_arena(options->rings), options->bytes);
    return 0;
}

static struct ring_memory_wish wish_of(const struct ring_segment_options *options)
{
    return (struct ring_memory_wish){ .huge = (options->flags & RING_HUGE) != 0,
                                      .lock = (options->flags & RING_LOCK) != 0,
                                      .strict = (options->flags & RING_STRICT) != 0,
                                      .dump = (options->flags & RING_DUMP) != 0,
                                      .read_only = (options->flags & RING_READ_ONLY) != 0,
                                      .node = options->numa_node };
}

void ring_segment_describe_self(char command[RING_LAYOUT_COMMAND], uint64_t *started)
{
    memset(command, 0, RING_LAYOUT_COMMAND);
    *started = 0;
    char line[512] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return;
    const char *open_bracket = fgets(line, sizeof line, file) ? strchr(line, '(') : NULL;
    const char *close_bracket = open_bracket ? strrchr(line, ')') : NULL; /* the command may hold brackets itself */
    fclose(file);
    if (!close_bracket)
        return;
    size_t length = (size_t)(close_bracket - open_bracket) - 1;
    memcpy(command, open_bracket + 1, length < RING_LAYOUT_COMMAND ? length : RING_LAYOUT_COMMAND - 1);
    unsigned long long ticks = 0;
    if (sscanf(close_bracket + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) == 1)
        *started = ticks;
}

/* A handle for a descriptor, with where to find its object again. */
static int make_handle(struct ring_segment **segment, int fd, const char *path, unsigned flags)
{
    struct stat file;
    struct ring_segment *made = calloc(1, sizeof *made);
    if (!made || fstat(fd, &file) != 0) {
        free(made);
        return ring_error(-ENOMEM, "out of memory");
    }
    made->witness = (struct ring_witness){ .fd = fd,
                                           .device = (uint64_t)file.st_dev,
                                           .inode = (uint64_t)file.st_ino,
                                           .read_only = (flags & RING_READ_ONLY) != 0 };
    snprintf(made->witness.path, sizeof made->witness.path, "%s", path);
    snprintf(made->name, sizeof made->name, "%s", strrchr(path, '/') + 1);
    ring_atomic_store(&made->users, 1, memory_order_relaxed);
    made->pid = getpid();
    made->flags = flags;
    *segment = made;
    return 0;
}

static void lay_out(struct ring_segment *segment, const struct ring_segment_options *options)
{
    struct ring_layout_segment *first = &segment->constants;
    *first = (struct ring_layout_segment){ .magic = RING_LAYOUT_MAGIC,
                                           .version = RING_LAYOUT_VERSION,
                                           .byte_order = RING_LAYOUT_BYTE_ORDER,
                                           .needs = RING_LAYOUT_NEEDS,
                                           .bytes = segment->memory.bytes,
                                           .directory_offset = RING_LAYOUT_PAGE,
                                           .directory_entries = options->rings,
                                           .directory_entry_bytes = sizeof(struct ring_layout_entry),
                                           .arena_offset = ring_segment_arena(options->rings),
                                           .mode = options->mode,
                                           .flags = options->flags,
                                           .numa_node = options->numa_node,
                                           .creator_pid = getpid(),
                                           .created_ns = ring_clock_realtime() };
    ring_segment_describe_self(first->creator_command, &first->creator_started);
    memcpy(segment->memory.address, first, sizeof *first);
}

/* One attempt with the size as given; the descriptor belongs to the handle afterwards. */
static int create_sized(struct ring_segment **segment, const char *path, const struct ring_segment_options *options,
                        size_t bytes)
{
    int fd = ring_memory_object(bytes, options->mode);
    if (fd < 0)
        return fd;
    struct ring_segment *made = NULL;
    struct ring_memory_wish wish = wish_of(options);
    int code = make_handle(&made, fd, path, options->flags);
    if (!code)
        code = ring_memory_map(&made->memory, fd, bytes, &wish, true);
    if (!code) {
        lay_out(made, options);
        code = ring_memory_publish(fd, path);
    }
    if (code) {
        if (made)
            ring_memory_unmap(&made->memory);
        free(made);
        close(fd);
        return code;
    }
    *segment = made;
    return 0;
}

int ring_segment_create(struct ring_segment **segment, const char *name, const struct ring_segment_options *given)
{
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    char path[RING_SEGMENT_NAME_MAX + 16];
    struct ring_segment_options options;
    int code = path_of(name, path);
    if (!code)
        code = check_options(given, &options);
    if (!code)
        code = check_shape(&options);
    if (code)
        return code;
    struct stat there;
    if (lstat(path, &there) == 0) /* a cheap no; the final word is with linkat */
        return ring_error(-EEXIST, "%s exists already: attach to it, or remove it with 'ringctl rm'", path);
    size_t small = (size_t)ring_segment_round_up(options.bytes, ring_memory_page());
    size_t large = (size_t)ring_segment_round_up(options.bytes, RING_MEMORY_HUGE);
    if (!(options.flags & RING_HUGE))
        return create_sized(segment, path, &options, small);
    code = create_sized(segment, path, &options, large);
    if (code == -ENOSPC && small < large && !(options.flags & RING_STRICT)) /* a tiny tmpfs */
        code = create_sized(segment, path, &options, small);
    return code;
}

static int attach_once(struct ring_segment **segment, const char *path, const struct ring_segment_options *options)
{
    struct ring_layout_segment first;
    int fd = ring_segment_open_checked(path, options->flags, &first);
    if (fd < 0)
        return fd;
    struct ring_segment *made = NULL;
    struct ring_memory_wish wish = wish_of(options);
    int code = make_handle(&made, fd, path, options->flags);
    if (!code) {
        made->constants = first;
        code = ring_memory_map(&made->memory, fd, (size_t)first.bytes, &wish, false);
    }
    if (code) {
        free(made);
        close(fd);
        return code;
    }
    *segment = made;
    return 0;
}

int ring_segment_attach(struct ring_segment **segment, const char *name, const struct ring_segment_options *given,
                        int64_t timeout_ns)
{
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    char path[RING_SEGMENT_NAME_MAX + 16];
    struct ring_segment_options options;
    int code = path_of(name, path);
    if (!code)
        code = check_options(given, &options);
    if (code)
        return code;
    int64_t deadline = ring_clock_deadline(timeout_ns);
    unsigned attempt = 0;
    for (;;) {
        code = attach_once(segment, path, &options);
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no segment %s after the time limit", path);
    }
}

int ring_segment_open(struct ring_segment **segment, const char *name, const struct ring_segment_options *options)
{
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        int code = ring_segment_attach(segment, name, options, RING_NO_WAIT);
        if (code != -ENOENT)
            return code;
        code = ring_segment_create(segment, name, options);
        if (code != -EEXIST)
            return code;
    }
    return ring_error(-EAGAIN, "the segment %s is being made and removed all the time by others", name);
}

static unsigned count_rings(const struct ring_segment *segment, uint64_t *used)
{
    const struct ring_layout_segment *first = &segment->constants;
    const struct ring_layout_entry *entries =
        (const struct ring_layout_entry *)(const void *)(segment->memory.address + first->directory_offset);
    unsigned count = 0;
    *used = first->arena_offset;
    for (unsigned i = 0; i < first->directory_entries; i++) {
        /* R0: acquire, pairs with R1. A picture: an entry may be freed and made again meanwhile. */
        if ((ring_atomic_load(&entries[i].word, memory_order_acquire) & RING_ENTRY_STATE) != RING_ENTRY_READY)
            continue;
        count++;
        *used += ring_atomic_load(&entries[i].bytes, memory_order_acquire); /* R4 */
    }
    if (*used > first->bytes)
        *used = first->bytes; /* only damage leads here */
    return count;
}

int ring_segment_info(const struct ring_segment *segment, struct ring_segment_info *info)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!info || info->struct_size != sizeof *info)
        return ring_error(-EINVAL, "set info.struct_size to sizeof(struct ring_segment_info) first");
    struct ring_memory_facts facts;
    struct stat file;
    code = ring_memory_ask(&segment->memory, &facts);
    if (code)
        return code;
    if (fstat(segment->witness.fd, &file) != 0)
        return ring_error(-EBADF, "the segment's descriptor was closed by the program (%s)", strerror(errno));
    const struct ring_layout_segment *first = &segment->constants;
    *info = (struct ring_segment_info){ .struct_size = sizeof *info,
                                        .bytes = first->bytes,
                                        .page_bytes = facts.page_bytes,
                                        .huge_bytes = facts.huge_bytes,
                                        .locked_bytes = facts.locked_bytes,
                                        .resident_bytes = facts.resident_bytes,
                                        .numa_node = facts.node,
                                        .huge_error = segment->memory.huge_error,
                                        .lock_error = segment->memory.lock_error,
                                        .numa_error = segment->memory.numa_error,
                                        .flags = segment->flags,
                                        .mode = file.st_mode & 07777,
                                        .owner = file.st_uid,
                                        .max_rings = first->directory_entries,
                                        .version = first->version,
                                        .creator_pid = first->creator_pid,
                                        .created_ns = first->created_ns };
    info->rings = count_rings(segment, &info->used_bytes);
    memcpy(info->name, segment->name, sizeof segment->name);
    memcpy(info->creator_command, first->creator_command, sizeof info->creator_command - 1);
    return 0;
}

int ring_segment_usable(const struct ring_segment *segment)
{
    if (!segment)
        return ring_error(-EINVAL, "the segment's handle is NULL: closed already, or never opened");
    if (segment->pid != getpid())
        return ring_error(-ECHILD, "this handle belongs to process %d; after fork the child attaches anew",
                          (int)segment->pid);
    return 0;
}

void ring_segment_hold(struct ring_segment *segment)
{
    atomic_fetch_add_explicit(&segment->users, 1, memory_order_relaxed); /* S0: the caller holds a reference already */
}

void ring_segment_drop(struct ring_segment *segment)
{
    /* S1: acq_rel, pairs with itself: all that others did with the mapping comes before it goes. */
    if (atomic_fetch_sub_explicit(&segment->users, 1, memory_order_acq_rel) != 1)
        return;
    if (segment->pid == getpid()) /* in a child after fork these addresses may mean something else */
        ring_memory_unmap(&segment->memory);
    close(segment->witness.fd);
    free(segment);
}

int ring_segment_close(struct ring_segment **segment)
{
    if (!segment || !*segment)
        return ring_error(-EBADF, "the segment's handle is NULL: closed already, or never opened");
    ring_segment_drop(*segment);
    *segment = NULL;
    return 0;
}

int ring_segment_unlink(const char *name)
{
    char path[RING_SEGMENT_NAME_MAX + 16];
    int code = path_of(name, path);
    if (code)
        return code;
    int fd = ring_segment_open_file(path, false);
    if (fd < 0)
        return fd;
    uint64_t magic = 0;
    struct stat file;
    bool ours = fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
                pread(fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic == RING_LAYOUT_MAGIC;
    close(fd);
    if (!ours)
        return ring_error(-EPROTO, "%s is not a segment of shmring, so it is left alone", path);
    if (unlink(path) != 0)
        return ring_error(-errno, "cannot remove %s (%s)", path, strerror(errno));
    return 0;
}
