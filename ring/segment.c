/* segment.c - level 4: the life of a segment.
 *
 * A segment is complete before it has a name: it is made as a nameless file, laid out, and linked to its name as the
 * last step, so nobody ever sees half of one, and whoever dies before leaves nothing. Of two creators one gets -EEXIST.
 * System V memory is no file: see segment_system_v.c. What is attached is not trusted: see segment_check.c. How names
 * come free again: see segment_name.c.
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

#ifndef F_SEAL_FUTURE_WRITE /* Linux 5.1 */
#define F_SEAL_FUTURE_WRITE 16
#endif

#define LEAVING_LIMIT_NS INT64_C(200000000) /* how long an attach waits for somebody who is just removing the name */

/* The struct's sizes before it grew: the offsets of its first new fields. */
#define OLD_OPTIONS    offsetof(struct ring_segment_options, backing)
#define BEFORE_RESERVE offsetof(struct ring_segment_options, reserve)

/* ---- Options ---- */

int ring_segment_check_options(const struct ring_segment_options *given, struct ring_segment_options *options)
{
    *options = ring_segment_defaults();
    if (!given)
        return 0;
    if (given->struct_size != sizeof *given && given->struct_size != BEFORE_RESERVE &&
        given->struct_size != OLD_OPTIONS)
        return ring_error(-EINVAL, "struct_size is %zu, this library knows %zu: start from ring_segment_defaults()",
                          given->struct_size, sizeof *given);
    memcpy(options, given, given->struct_size);
    if (options->flags & ~(unsigned)(RING_HUGE | RING_LOCK | RING_STRICT | RING_ANY_OWNER | RING_DUMP | RING_READ_ONLY |
                                     RING_RECLAIM | RING_SEAL_WRITES))
        return ring_error(-EINVAL, "flags 0x%x has bits that this library does not know", options->flags);
    if (options->backing > RING_BACKING_GIVEN)
        return ring_error(-EINVAL, "backing %u is none that this library knows", options->backing);
    if (options->page_bytes && options->page_bytes != RING_MEMORY_HUGE && options->page_bytes != RING_MEMORY_GIGANTIC)
        return ring_error(-EINVAL, "page_bytes is 0, 2 MiB or 1 GiB, not %zu", options->page_bytes);
    if (options->key && options->backing != RING_BACKING_SYSTEM_V)
        return ring_error(-EINVAL, "only a System V segment has a key");
    if (options->path && options->backing != RING_BACKING_SYSTEM_V && options->backing != RING_BACKING_HUGETLBFS)
        return ring_error(-EINVAL, "path is for hugetlbfs (where it is mounted) and System V (a file for ftok())");
    return 0;
}

struct ring_memory_wish ring_segment_wish(const struct ring_segment_options *options)
{
    return (struct ring_memory_wish){ .huge = (options->flags & RING_HUGE) != 0,
                                      .lock = (options->flags & RING_LOCK) != 0,
                                      .strict = (options->flags & RING_STRICT) != 0,
                                      .dump = (options->flags & RING_DUMP) != 0,
                                      .read_only = (options->flags & RING_READ_ONLY) != 0,
                                      .node = options->numa_node };
}

/* ---- Handles ---- */

int ring_segment_handle(struct ring_segment **segment, const struct ring_memory_object *object, const char *path,
                        const char *name, unsigned flags)
{
    struct ring_segment *made = calloc(1, sizeof *made);
    if (!made) {
        close(object->fd);
        return ring_error(-ENOMEM, "out of memory");
    }
    made->object = *object;
    made->object.fd = ring_process_above_standard(object->fd);
    made->witness = ring_segment_witness(made->object.fd, path, (flags & RING_READ_ONLY) != 0);
    snprintf(made->name, sizeof made->name, "%s", name);
    ring_atomic_store(&made->users, 1, memory_order_relaxed);
    made->process = ring_process();
    made->flags = flags;
    pthread_mutex_init(&made->rights_lock, NULL);
    *segment = made;
    return 0;
}

int ring_segment_live(struct ring_segment *segment)
{
    int code = ring_claim_share(&segment->attached, &segment->witness, RING_LOCK_ATTACHED);
    if (!code)
        ring_claim_seal(segment->attached);
    return code;
}

void ring_segment_discard(struct ring_segment *segment)
{
    ring_memory_unmap(&segment->memory);
    ring_claim_drop(segment->making);
    ring_claim_drop(segment->attached);
    close(segment->witness.fd);
    pthread_mutex_destroy(&segment->rights_lock);
    free(segment);
}

/* ---- Attaching ---- */

/* Says that we live, before we look whether the name is still there. Who may only read has no say. -ENOENT: it was left
 * behind, and is removed. -EAGAIN: somebody is removing it. */
static int enter(struct ring_segment *made, unsigned removal, unsigned flags)
{
    if (flags & RING_READ_ONLY)
        return 0;
    if (made->witness.path[0] && (removal != RING_REMOVE_BY_HAND || flags & RING_RECLAIM)) {
        int code = ring_segment_reclaim(&made->witness);
        if (code == 0)
            return ring_error(-ENOENT, "%s was left behind, held by nobody living, and has been removed",
                              made->witness.path);
        if (code != -EBUSY)
            return code;
    }
    int code = ring_segment_live(made);
    return code == -EBUSY ? -EAGAIN : code;
}

/* Maps what a checked head tells of; the copies that are used from now on. */
static int map_checked(struct ring_segment *made, const union ring_segment_head *head, const struct stat *file,
                       const char *path, const struct ring_segment_options *options)
{
    struct ring_memory_wish wish = ring_segment_wish(options);
    if (head->magic != RING_LAYOUT_SIGNPOST) {
        made->constants = head->segment;
        wish.reserve = ring_segment_reserve(&head->segment);
        return ring_memory_map(&made->memory, &made->object, (size_t)head->segment.bytes, &wish, false);
    }
    int code = ring_system_v_find(&made->object, &head->signpost, file, path);
    if (!code && options->key && options->key != head->signpost.key)
        code = ring_error(-EINVAL, "%s has the System V key 0x%08x, not 0x%08x", path, (unsigned)head->signpost.key,
                          (unsigned)options->key);
    wish.reserve = (size_t)head->signpost.reserve;
    if (!code)
        code = ring_memory_map(&made->memory, &made->object, (size_t)head->signpost.bytes, &wish, false);
    if (code)
        return code;
    memcpy(&made->constants, made->memory.address, sizeof made->constants);
    code = ring_segment_check_layout(&made->constants, head->signpost.bytes, head->signpost.mode, path);
    if (!code && ring_segment_reserve(&made->constants) != head->signpost.reserve)
        code = ring_error(-EUCLEAN, "%s is damaged: its file and its memory differ about the reserve", path);
    if (!code && made->constants.serial != head->signpost.serial)
        code = ring_error(-EPROTO, "the memory of %s is that of another segment: its number was used again", path);
    return code;
}

static int enter_and_map(struct ring_segment *made, union ring_segment_head *head, struct stat *file,
                         const struct ring_segment_options *options, const char *path)
{
    bool named = made->witness.path[0] != '\0';
    bool signpost = head->magic == RING_LAYOUT_SIGNPOST;
    int code = enter(made, signpost ? head->signpost.removal : head->segment.removal, options->flags);
    if (code)
        return code;
    if (fstat(made->witness.fd, file) != 0 || (named && file->st_nlink == 0))
        return ring_error(-ENOENT, "there is no segment %s: it was just removed", path);
    if (signpost && (code = ring_segment_read_head(made->witness.fd, path, head)) == 0)
        code = ring_segment_check_signpost(&head->signpost, file, path); /* its state may have changed */
    return code ? code : map_checked(made, head, file, path, options);
}

/* Attaches to an open file, which belongs to the handle from now on. `path` "": a memfd. */
static int attach_open(struct ring_segment **segment, int fd, const char *path,
                       const struct ring_segment_options *options)
{
    const char *shown = path[0] ? path : "the descriptor";
    struct stat file;
    union ring_segment_head head;
    int code = ring_segment_check_file(fd, shown, options->flags, !path[0], &file);
    if (!code)
        code = ring_segment_read_head(fd, shown, &head);
    if (!code)
        code = head.magic == RING_LAYOUT_SIGNPOST && path[0]
                   ? ring_segment_check_signpost(&head.signpost, &file, shown)
                   : ring_segment_check_layout(&head.segment, (uint64_t)file.st_size, file.st_mode & 07777, shown);
    if (code) {
        close(fd);
        return code;
    }
    struct ring_memory_object object = { .kind = RING_MEMORY_FILE, .fd = fd, .page = ring_memory_huge_of(fd) };
    struct ring_segment *made;
    code = ring_segment_handle(&made, &object, path, path[0] ? strrchr(path, '/') + 1 : "", options->flags);
    if (code)
        return code;
    code = enter_and_map(made, &head, &file, options, shown);
    if (code) {
        ring_segment_discard(made);
        return code;
    }
    *segment = made;
    return 0;
}

/* The first place where there is a file of that name. -ENOENT: there is none. */
static int attach_once(struct ring_segment **segment, const char *name, const struct ring_segment_options *options)
{
    char path[RING_SEGMENT_PATH];
    for (unsigned index = 0;; index++) {
        int code = ring_segment_path(name, options, index, path);
        if (code == -ENOENT)
            return ring_error(-ENOENT,
                              "there is no segment %s ('ringctl ls' lists those there are): make it by "
                              "ring_segment_open() or 'ringctl create', or give attach a time limit to wait for it",
                              strrchr(path, '/'));
        if (code)
            return code;
        int fd = ring_segment_open_file(path, (options->flags & RING_READ_ONLY) != 0);
        if (fd >= 0)
            return attach_open(segment, fd, path, options);
        bool elsewhere = fd == -ENOENT || (fd == -EACCES && index > 0); /* a hugetlbfs that is not for this user */
        if (!elsewhere)
            return fd;
    }
}

int ring_segment_attach(struct ring_segment **segment, const char *name, const struct ring_segment_options *given,
                        int64_t timeout_ns)
{
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    struct ring_segment_options options;
    int code = ring_segment_check_options(given, &options);
    if (code)
        return code;
    int64_t deadline = ring_clock_deadline(timeout_ns);
    int64_t leaving = ring_clock_deadline(LEAVING_LIMIT_NS);
    unsigned attempt = 0;
    for (;;) {
        code = attach_once(segment, name, &options);
        if (code == -EAGAIN && ring_clock_doze(leaving, &attempt))
            continue;
        if (code == -EAGAIN) /* a remover that is stopped; it may be gone with the next attempt */
            code = ring_error(-ENOENT, "the segment %s is being removed", name ? name : "of that key");
        if (code != -ENOENT || timeout_ns == RING_NO_WAIT)
            return code;
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "there is still no segment %s after the time limit",
                              name ? name : "of that key");
    }
}

/* A sealed memfd under a description of our own: locks belong to descriptions, and the caller may share his. */
static int open_own(int fd, bool read_only)
{
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return errno == EBADF ? ring_error(-EBADF, "descriptor %d is not open", fd)
                              : ring_error(-EPERM,
                                           "descriptor %d is no memfd, so it has no seals: whoever has it could "
                                           "shrink it under us; attach by name instead",
                                           fd);
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if ((seals & needed) != needed)
        return ring_error(-EPERM,
                          "the memfd has the seals 0x%x and needs 0x%x: whoever has it could shrink it under us", seals,
                          needed);
    if (!read_only && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return ring_error(-EPERM, "the memfd is sealed against writing: attach with RING_READ_ONLY");
    char path[40];
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    int own = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (own >= 0)
        return own;
    return errno == EACCES
               ? ring_error(-EACCES, "this user may not %s the memfd: its creator decides, by .mode and .group",
                            read_only ? "read" : "write to")
               : ring_error(-errno, "cannot open the memfd again (%s): is /proc mounted?", strerror(errno));
}

int ring_segment_attach_fd(struct ring_segment **segment, int fd, const struct ring_segment_options *given)
{
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    struct ring_segment_options options;
    int code = ring_segment_check_options(given, &options);
    int own = code ? code : open_own(fd, (options.flags & RING_READ_ONLY) != 0);
    return own < 0 ? own : attach_open(segment, own, "", &options);
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

/* ---- Holding and closing ---- */

int ring_segment_is_current(const struct ring_segment *segment)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    struct stat file;
    if (segment->witness.path[0] == '\0')
        return 1;
    if (stat(segment->witness.path, &file) != 0)
        return ring_error(-errno, "nothing bears the name of %s now (%s)", segment->name, strerror(errno));
    return (uint64_t)file.st_dev == segment->witness.device && (uint64_t)file.st_ino == segment->witness.inode;
}

int ring_segment_usable(const struct ring_segment *segment)
{
    if (!segment)
        return ring_error(-EINVAL, "the segment's handle is NULL: closed already, or never opened");
    if (segment->process != ring_process())
        return ring_error(-ECHILD, "this handle belongs to process %d; after fork the child attaches anew",
                          (int)(uint32_t)segment->process);
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
    if (segment->process == ring_process()) { /* in a child after fork these addresses may mean something else */
        ring_memory_unmap(&segment->memory);
        ring_claim_drop(segment->attached);
        if (segment->attached && segment->witness.path[0] && segment->constants.removal != RING_REMOVE_BY_HAND)
            (void)ring_segment_reclaim(&segment->witness); /* if we were the last. If not, or if we die: the next one */
    }
    ring_witness_close(&segment->witness);
    free(ring_atomic_load(&segment->settled, memory_order_relaxed)); /* by S1 */
    free(segment->pool_users);
    pthread_mutex_destroy(&segment->rights_lock);
    free(segment);
}

int ring_segment_close(struct ring_segment **segment)
{
    if (!segment || !*segment)
        return ring_error(-EBADF, "the segment's handle is NULL: closed already, or never opened");
    struct ring_segment *closed = *segment;
    if (closed->creator && closed->constants.removal == RING_REMOVE_WITH_CREATOR && closed->process == ring_process())
        (void)ring_segment_remove(&closed->witness); /* refused: it goes when nobody living holds it any more */
    ring_segment_drop(closed);
    *segment = NULL;
    return 0;
}
