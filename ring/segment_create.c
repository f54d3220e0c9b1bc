/* segment_create.c - level 4: making a segment of any backing: its shape, its object, its first page, its name. */
#include <ring/segment_private.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/numa.h>

enum { NAME_ATTEMPTS = 3 };

static bool has_name(const struct ring_segment_options *options)
{
    return options->backing <= RING_BACKING_SYSTEM_V;
}

/* What this backing cannot give is refused, and not left out. */
static int check_backing(const struct ring_segment_options *options)
{
    unsigned backing = options->backing;
    if (options->removal > RING_REMOVE_WITH_LAST)
        return ring_error(-EINVAL, "removal %u is none that this library knows", options->removal);
    if (options->removal != RING_REMOVE_BY_HAND && !has_name(options))
        return ring_error(-EINVAL, "a segment of this backing has no name to be removed: it goes with its last handle");
    if (options->page_bytes && (backing <= RING_BACKING_POSIX || backing == RING_BACKING_GIVEN))
        return ring_error(-EINVAL, "page_bytes: %s",
                          backing == RING_BACKING_GIVEN ? "memory that is given has the pages it has"
                                                        : "a file in /dev/shm gets 2 MiB pages by RING_HUGE; pages set "
                                                          "aside by root are in a hugetlbfs, a memfd or System V");
    if (options->flags & RING_SEAL_WRITES && backing != RING_BACKING_MEMFD)
        return ring_error(-EINVAL, "RING_SEAL_WRITES: only a memfd can be sealed");
    if (backing == RING_BACKING_GIVEN && options->reserve)
        return ring_error(-EINVAL, "reserve: memory that is given is there");
    if (backing != RING_BACKING_GIVEN && options->memory)
        return ring_error(-EINVAL, "memory is for RING_BACKING_GIVEN only");
    if (backing != RING_BACKING_GIVEN)
        return 0;
    if (!options->memory || (uintptr_t)options->memory % ring_memory_page() || options->bytes % ring_memory_page())
        return ring_error(-EINVAL, "memory that is given begins at a multiple of the page, %zu, and is as many pages",
                          ring_memory_page());
    return 0;
}

static int check_shape(const struct ring_segment_options *options)
{
    const size_t most = RING_SEGMENT_MAX_BYTES - RING_MEMORY_GIGANTIC; /* with a reserve: both are rounded up */
    if (options->flags & RING_READ_ONLY)
        return ring_error(-EINVAL,
                          "a segment cannot be created read-only: RING_READ_ONLY is for ring_segment_attach()");
    if (options->bytes < RING_SEGMENT_MIN_BYTES || options->bytes > RING_SEGMENT_MAX_BYTES)
        return ring_error(-EINVAL, "a segment has %zu to %zu bytes, not %zu", RING_SEGMENT_MIN_BYTES,
                          RING_SEGMENT_MAX_BYTES, options->bytes);
    if (options->reserve && (options->bytes > most || options->reserve > most - options->bytes))
        return ring_error(-EINVAL, "a reserve of %zu bytes behind %zu is more than a segment has: %zu",
                          options->reserve, options->bytes, RING_SEGMENT_MAX_BYTES);
    if (options->mode & ~0777U || (options->mode & 0600) != 0600)
        return ring_error(-EINVAL, "mode %04o: permission bits only, and its owner must be able to read and write",
                          options->mode);
    if (options->rings == 0 || options->rings > RING_SEGMENT_MAX_RINGS)
        return ring_error(-EINVAL, "a segment has places for 1 to %d rings, not %u", RING_SEGMENT_MAX_RINGS,
                          options->rings);
    if (options->numa_node < RING_NODE_ANY && options->numa_node != RING_NODE_INTERLEAVED)
        return ring_error(-EINVAL, "there is no NUMA node %d", options->numa_node);
    if (ring_segment_arena(options->rings) + RING_LAYOUT_PAGE > options->bytes)
        return ring_error(-EINVAL, "%u rings need a directory of %llu bytes, more than the segment's %zu",
                          options->rings, (unsigned long long)ring_segment_arena(options->rings), options->bytes);
    return check_backing(options);
}

static void lay_out(struct ring_segment *segment, const struct ring_segment_options *options)
{
    struct ring_layout_segment *first = &segment->constants;
    unsigned backing = options->backing == RING_BACKING_ANY ? RING_BACKING_POSIX : options->backing;
    *first = (struct ring_layout_segment){ .magic = RING_LAYOUT_MAGIC,
                                           .version = RING_LAYOUT_VERSION,
                                           .byte_order = RING_LAYOUT_BYTE_ORDER,
                                           .needs = options->reserve ? RING_NEEDS_RESERVE : 0,
                                           .bytes = segment->memory.bytes,
                                           .directory_offset = RING_LAYOUT_PAGE,
                                           .directory_entries = options->rings,
                                           .directory_entry_bytes = sizeof(struct ring_layout_entry),
                                           .arena_offset = ring_segment_arena(options->rings),
                                           .mode = options->mode,
                                           .flags = options->flags,
                                           .numa_node = options->numa_node,
                                           .creator_pid = getpid(),
                                           .created_ns = ring_clock_realtime(),
                                           .backing = backing,
                                           .removal = options->removal,
                                           .serial = first->serial,
                                           .backed = options->reserve ? segment->memory.backed : 0 };
    ring_segment_describe_self(first->creator_command, &first->creator_started);
    if (backing == RING_BACKING_GIVEN) /* all other memory is new, so it is zero */
        memset(segment->memory.address, 0, segment->memory.bytes);
    memcpy(segment->memory.address, first, sizeof *first);
}

/* The object, or the file that carries the locks of what is no file. */
static int make_object(struct ring_memory_object *object, const char *path, const struct ring_segment_options *options,
                       size_t bytes, const struct ring_memory_rights *rights)
{
    char directory[RING_SEGMENT_PATH];
    size_t page = options->page_bytes;
    int code;
    switch (options->backing) {
    case RING_BACKING_HUGETLBFS:
        snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path), path);
        return ring_memory_file(object, directory, bytes, page, rights);
    case RING_BACKING_MEMFD:
        return ring_memory_memfd(object, "shmring", bytes, page, rights);
    case RING_BACKING_SYSTEM_V:
        return ring_memory_file(object, RING_MEMORY_DIRECTORY, RING_LAYOUT_PAGE, 0, rights);
    case RING_BACKING_PRIVATE:
    case RING_BACKING_GIVEN:
        code = ring_memory_memfd(object, "shmring-locks", ring_memory_page(), 0, rights);
        object->kind = options->backing == RING_BACKING_GIVEN ? RING_MEMORY_GIVEN : RING_MEMORY_ANONYMOUS;
        object->page = page;
        object->given = options->memory;
        return code;
    default:
        return ring_memory_file(object, RING_MEMORY_DIRECTORY, bytes, 0, rights);
    }
}

/* Gives it its name, in place of what may be reclaimed. Up to there nothing was done to that: who cannot have what he
 * wants has lost nothing. (A System V segment has its name before its memory.) -EEXIST: another has it. */
static int take_name(struct ring_segment *made, const struct ring_segment_options *options, size_t bytes)
{
    int code = 0;
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        code = ring_segment_make_way(made->witness.path, options->flags, false);
        if (code)
            return code;
        if (options->backing == RING_BACKING_SYSTEM_V)
            code = ring_system_v_signpost(made, options, bytes);
        else
            code = ring_memory_publish(made->witness.fd, made->witness.path);
        if (code != -EEXIST) /* else somebody was faster: the next look tells who */
            break;
    }
    return code;
}

/* All but its name; a System V segment has that early. */
static int build(struct ring_segment *made, const struct ring_segment_options *options, size_t bytes,
                 const struct ring_memory_rights *rights)
{
    struct ring_memory_wish wish = ring_segment_wish(options);
    wish.reserve = options->reserve;
    if (getrandom(&made->constants.serial, sizeof made->constants.serial, 0) != sizeof made->constants.serial)
        return ring_error(-errno, "no random number for the segment (%s)", strerror(errno));
    int code = ring_segment_live(made);
    if (!code && options->backing == RING_BACKING_SYSTEM_V)
        code = take_name(made, options, bytes);
    if (!code && options->backing == RING_BACKING_SYSTEM_V)
        code = ring_system_v_make(made, rights);
    if (code)
        return code;
    code = ring_memory_map(&made->memory, &made->object, bytes, &wish, true);
    if (!code)
        lay_out(made, options);
    return code;
}

static int publish(struct ring_segment *made, const struct ring_segment_options *options)
{
    switch (options->backing) {
    case RING_BACKING_MEMFD:
        return ring_memory_seal(made->witness.fd, (options->flags & RING_SEAL_WRITES) != 0);
    case RING_BACKING_SYSTEM_V:
        return ring_system_v_publish(made);
    case RING_BACKING_PRIVATE:
    case RING_BACKING_GIVEN:
        return 0;
    default:
        return take_name(made, options, made->memory.bytes);
    }
}

/* One attempt with the size as given; the descriptor belongs to the handle afterwards. */
static int create_sized(struct ring_segment **segment, const char *path, const char *name,
                        const struct ring_segment_options *options, size_t bytes)
{
    struct ring_memory_rights rights = { .mode = options->mode, .owner = options->owner, .group = options->group };
    struct ring_memory_object object = { .fd = -1 };
    struct ring_segment *made = NULL;
    int code = make_object(&object, path, options, bytes, &rights);
    if (!code)
        code = ring_segment_handle(&made, &object, path, name, options->flags);
    if (code)
        return code;
    made->creator = true;
    code = build(made, options, bytes, &rights);
    if (!code)
        code = publish(made, options);
    if (!code) {
        *segment = made;
        return 0;
    }
    if (made->making)
        ring_system_v_abandon(made);
    ring_segment_discard(made);
    return code;
}

/* Both parts in whole pages of that size. */
static int create_in_pages(struct ring_segment **segment, const char *path, const char *name,
                           const struct ring_segment_options *options, size_t page)
{
    struct ring_segment_options whole = *options;
    whole.reserve = (size_t)ring_segment_round_up(options->reserve, page);
    return create_sized(segment, path, name, &whole,
                        (size_t)ring_segment_round_up(options->bytes, page) + whole.reserve);
}

/* With the page of the backing; or with 2 MiB pages, and in a tiny tmpfs without them. */
static int create_rounded(struct ring_segment **segment, const char *path, const char *name,
                          const struct ring_segment_options *options)
{
    bool collapse = options->flags & RING_HUGE && !options->page_bytes && options->backing != RING_BACKING_GIVEN;
    size_t page = options->page_bytes ? options->page_bytes : ring_memory_page();
    if (!collapse)
        return create_in_pages(segment, path, name, options, page);
    int code = create_in_pages(segment, path, name, options, RING_MEMORY_HUGE);
    bool smaller = options->bytes % RING_MEMORY_HUGE || options->reserve % RING_MEMORY_HUGE;
    if (code == -ENOSPC && smaller && !(options->flags & RING_STRICT))
        code = create_in_pages(segment, path, name, options, page);
    return code;
}

/* Path and name of a new segment. Without a name the name given is a label, and may be missing. */
static int place_of(const char *name, struct ring_segment_options *options, char path[RING_SEGMENT_PATH],
                    const char **bare)
{
    struct ring_segment_options posix = *options;
    path[0] = '\0';
    *bare = "";
    if (options->backing == RING_BACKING_HUGETLBFS && !options->page_bytes)
        posix.page_bytes = options->page_bytes = RING_MEMORY_HUGE;
    if (!has_name(options)) {
        if (!name || !*name)
            return 0;
        posix.backing = RING_BACKING_POSIX; /* a label is checked as a name is */
    }
    int code = ring_segment_path(name, &posix, 0, path);
    if (code)
        return code;
    *bare = has_name(options) ? strrchr(path, '/') + 1 : name[0] == '/' ? name + 1 : name;
    if (!has_name(options))
        path[0] = '\0';
    return 0;
}

/* Would it help if what nobody living holds under that name were gone? */
static bool lacks_room(int code, const struct ring_segment_options *options)
{
    return code == -ENOSPC || (code == -ENOMEM && options->backing == RING_BACKING_HUGETLBFS);
}

int ring_segment_create(struct ring_segment **segment, const char *name, const struct ring_segment_options *given)
{
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    char path[RING_SEGMENT_PATH];
    const char *bare;
    struct stat there;
    struct ring_segment_options options;
    int code = ring_segment_check_options(given, &options);
    if (!code)
        code = place_of(name, &options, path, &bare);
    if (!code)
        options.numa_node = ring_numa_resolve(options.numa_node);
    if (!code)
        code = check_shape(&options);
    if (code)
        return code;
    if (path[0])
        code = ring_segment_make_way(path, options.flags, true); /* before the work; the final word comes after it */
    if (!code)
        code = create_rounded(segment, path, bare, &options);
    if (lacks_room(code, &options) && path[0] && lstat(path, &there) == 0) { /* its room may be what is missing */
        code = ring_segment_make_way(path, options.flags, false);
        if (!code)
            code = create_rounded(segment, path, bare, &options);
    }
    return code;
}
