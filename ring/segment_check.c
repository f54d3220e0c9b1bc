/* segment_check.c - level 4: is this a segment, and may we trust our memory to it?
 *
 * The file must be a regular one with one link (a memfd: none), of the expected owner, not writable for more users than
 * its creator said. Its first page is read once (pread, or from the mapping where the memory is no file), the copy is
 * checked, every offset in it is computed again and compared, and only the copy is used from then on.
 */
#include <ring/segment_private.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/error.h>

uint64_t ring_segment_round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

uint64_t ring_segment_arena(unsigned entries)
{
    return ring_segment_round_up(RING_LAYOUT_PAGE + (uint64_t)entries * sizeof(struct ring_layout_entry),
                                 RING_LAYOUT_PAGE);
}

size_t ring_segment_reserve(const struct ring_layout_segment *first)
{
    return first->needs & RING_NEEDS_RESERVE ? (size_t)(first->bytes - first->backed) : 0;
}

int ring_segment_check_file(int fd, const char *path, unsigned flags, bool memfd, struct stat *file)
{
    if (fstat(fd, file) != 0)
        return ring_error(-errno, "cannot look at %s (%s)", path, strerror(errno));
    if (!S_ISREG(file->st_mode))
        return ring_error(-EPROTO, "%s is no regular file, so no segment", path);
    if (file->st_nlink == 0 && !memfd)
        return ring_error(-ENOENT, "there is no segment %s: it was just removed", path);
    if (file->st_nlink != !memfd)
        return ring_error(-EPERM, "%s has %lu names: a segment has one; somebody linked it", path,
                          (unsigned long)file->st_nlink);
    if (file->st_uid != geteuid() && !(flags & RING_ANY_OWNER))
        return ring_error(-EPERM,
                          "%s belongs to user %u, not to this user %u: attach with RING_ANY_OWNER (ringctl: "
                          "--any-owner) if you trust that user",
                          path, (unsigned)file->st_uid, (unsigned)geteuid());
    return 0;
}

int ring_segment_read_head(int fd, const char *path, union ring_segment_head *head)
{
    if (pread(fd, head, sizeof *head, 0) != (ssize_t)sizeof *head)
        return ring_error(-EPROTO, "%s is too short to be a segment", path);
    return 0;
}

int ring_segment_check_layout(const struct ring_layout_segment *first, uint64_t bytes, unsigned mode, const char *path)
{
    if (first->magic == RING_LAYOUT_MAGIC_FOREIGN)
        return ring_error(-EPROTONOSUPPORT, "%s was made on a machine of another byte order", path);
    if (first->magic != RING_LAYOUT_MAGIC)
        return ring_error(-EPROTO, "%s is not a segment of shmring", path);
    if (first->byte_order != RING_LAYOUT_BYTE_ORDER)
        return ring_error(-EPROTONOSUPPORT, "%s was made on a machine of another byte order", path);
    if (first->version != RING_LAYOUT_VERSION)
        return ring_error(-EPROTONOSUPPORT,
                          "%s has layout version %u, this library has %u: use the same release of "
                          "shmring on both sides",
                          path, first->version, RING_LAYOUT_VERSION);
    if (first->needs & ~RING_LAYOUT_NEEDS)
        return ring_error(-EPROTONOSUPPORT, "%s needs features (0x%llx) that this release of shmring does not know",
                          path, (unsigned long long)(first->needs & ~RING_LAYOUT_NEEDS));
    if (first->bytes != bytes || first->bytes < RING_SEGMENT_MIN_BYTES || first->bytes > RING_SEGMENT_MAX_BYTES ||
        first->bytes % ring_memory_page() != 0)
        return ring_error(-EUCLEAN, "%s is damaged: it says it has %llu bytes, and has %lld", path,
                          (unsigned long long)first->bytes, (long long)bytes);
    if (first->directory_offset != RING_LAYOUT_PAGE || first->directory_entries == 0 ||
        first->directory_entries > RING_SEGMENT_MAX_RINGS ||
        first->directory_entry_bytes != sizeof(struct ring_layout_entry) ||
        first->arena_offset != ring_segment_arena(first->directory_entries) || first->arena_offset > first->bytes)
        return ring_error(-EUCLEAN, "%s is damaged: its directory is not where it must be", path);
    if (first->needs & RING_NEEDS_RESERVE &&
        (first->backed < first->arena_offset || first->backed > first->bytes || first->backed % ring_memory_page()))
        return ring_error(-EUCLEAN, "%s is damaged: it says that %llu of its %llu bytes are in memory", path,
                          (unsigned long long)first->backed, (unsigned long long)first->bytes);
    if (first->mode & ~0777U || (mode & 022 & ~first->mode))
        return ring_error(-EPERM,
                          "%s lets more users write (mode %04o) than its creator asked for (%04o): somebody "
                          "changed it; set it back with chmod, or make the segment anew",
                          path, mode & 07777, first->mode);
    if (first->backing > RING_BACKING_GIVEN || first->removal > RING_REMOVE_WITH_LAST)
        return ring_error(-EUCLEAN,
                          "%s is damaged: it says that it is of no known backing, or removed by no known rule", path);
    return 0;
}

int ring_segment_check_signpost(const struct ring_layout_signpost *signpost, const struct stat *file, const char *path)
{
    if (signpost->byte_order != RING_LAYOUT_BYTE_ORDER || signpost->version != RING_LAYOUT_VERSION)
        return ring_error(
            -EPROTONOSUPPORT,
            "%s has layout version %u, this library has %u: use the same release of shmring on both sides", path,
            signpost->version, RING_LAYOUT_VERSION);
    bool pages = signpost->page_bytes == 0 || signpost->page_bytes == RING_MEMORY_HUGE ||
                 signpost->page_bytes == RING_MEMORY_GIGANTIC;
    if (!pages || signpost->bytes < RING_SEGMENT_MIN_BYTES || signpost->bytes > RING_SEGMENT_MAX_BYTES ||
        signpost->bytes % (signpost->page_bytes ? signpost->page_bytes : ring_memory_page()) != 0 ||
        signpost->reserve >= signpost->bytes || signpost->reserve % ring_memory_page() ||
        signpost->removal > RING_REMOVE_WITH_LAST)
        return ring_error(-EUCLEAN, "%s is damaged: it tells of no segment that can be", path);
    if (signpost->mode & ~0777U || (file->st_mode & 022 & ~signpost->mode))
        return ring_error(-EPERM, "%s lets more users write (mode %04o) than its creator asked for (%04o)", path,
                          (unsigned)file->st_mode & 07777, signpost->mode);
    return 0;
}

int ring_segment_open_file(const char *path, bool read_only)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0)
        return fd;
    switch (errno) {
    case ENOENT:
        return ring_error(-ENOENT, "there is no segment %s", path);
    case ELOOP:
        return ring_error(-ELOOP, "%s is a symbolic link: a segment is not", path);
    case EISDIR:
    case ENXIO:
        return ring_error(-EPROTO, "%s is no regular file, so no segment", path);
    case EACCES:
    case EPERM:
        return ring_error(-EACCES, "this user may not %s %s: its owner decides, with 'ringctl create --mode'",
                          read_only ? "read" : "read and write", path);
    default:
        return ring_error(-errno, "cannot open %s (%s)", path, strerror(errno));
    }
}
