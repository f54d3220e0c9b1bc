/* segment_check.c - level 4: is this a segment, and may we trust our memory to it?
 *
 * The file must be a regular one with one link, of the expected owner, not writable for more users than its creator
 * said. Its first page is read once (pread), the copy is checked, every offset in it is computed again and compared,
 * and only the copy is used from then on.
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

/* Is the file one that may be a segment, and of whom we take one? */
static int check_file(int fd, const char *path, unsigned flags, struct stat *file)
{
    if (fstat(fd, file) != 0)
        return ring_error(-errno, "cannot look at %s (%s)", path, strerror(errno));
    if (!S_ISREG(file->st_mode))
        return ring_error(-EPROTO, "%s is no regular file, so no segment", path);
    if (file->st_nlink == 0)
        return ring_error(-ENOENT, "there is no segment %s: it was just removed", path);
    if (file->st_nlink != 1)
        return ring_error(-EPERM, "%s has %lu names: a segment has one; somebody linked it", path,
                          (unsigned long)file->st_nlink);
    if (file->st_uid != geteuid() && !(flags & RING_ANY_OWNER))
        return ring_error(-EPERM,
                          "%s belongs to user %u, not to this user %u: attach with RING_ANY_OWNER if you trust "
                          "that user",
                          path, (unsigned)file->st_uid, (unsigned)geteuid());
    return 0;
}

/* Every field of the copied first page against what it must be; nothing is believed. */
static int check_layout(const struct ring_layout_segment *first, const struct stat *file, const char *path)
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
    if (first->bytes != (uint64_t)file->st_size || first->bytes < RING_SEGMENT_MIN_BYTES ||
        first->bytes > RING_SEGMENT_MAX_BYTES || first->bytes % ring_memory_page() != 0)
        return ring_error(-EUCLEAN, "%s is damaged: it says it has %llu bytes, the file has %lld", path,
                          (unsigned long long)first->bytes, (long long)file->st_size);
    if (first->directory_offset != RING_LAYOUT_PAGE || first->directory_entries == 0 ||
        first->directory_entries > RING_SEGMENT_MAX_RINGS ||
        first->directory_entry_bytes != sizeof(struct ring_layout_entry) ||
        first->arena_offset != ring_segment_arena(first->directory_entries) || first->arena_offset > first->bytes)
        return ring_error(-EUCLEAN, "%s is damaged: its directory is not where it must be", path);
    if (first->mode & ~0777U || (file->st_mode & 022 & ~first->mode))
        return ring_error(-EPERM,
                          "%s lets more users write (mode %04o) than its creator asked for (%04o): somebody "
                          "changed it; set it back with chmod, or make the segment anew",
                          path, (unsigned)file->st_mode & 07777, first->mode);
    return 0;
}

int ring_segment_open_file(const char *path, bool read_only)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0)
        return fd;
    switch (errno) {
    case ENOENT:
        return ring_error(-ENOENT,
                          "there is no segment %s: create it first, or give attach a time limit to wait for it", path);
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

/* Opens and validates; returns the descriptor and the copy of the first page. */
int ring_segment_open_checked(const char *path, unsigned flags, struct ring_layout_segment *first)
{
    int fd = ring_segment_open_file(path, (flags & RING_READ_ONLY) != 0);
    if (fd < 0)
        return fd;
    struct stat file;
    int code = check_file(fd, path, flags, &file);
    if (!code && pread(fd, first, sizeof *first, 0) != (ssize_t)sizeof *first)
        code = ring_error(-EPROTO, "%s is too short to be a segment", path);
    if (!code)
        code = check_layout(first, &file, path);
    if (!code)
        return fd;
    close(fd);
    return code;
}
