/* segment_name.c - level 4: where names lie, whether anybody living holds what has one, and how names go away.
 *
 * Whoever attaches for writing shares the lock byte RING_LOCK_ATTACHED; the kernel takes his share back when he ends.
 * So a segment is abandoned when that byte can be had alone. Who removes an abandoned one has it alone meanwhile: of
 * two only one gets it, and who comes to attach waits for the moment it takes, and finds no name. Killed there, he
 * leaves the segment as it was, or none.
 *
 * Whoever takes a name away, for this reason or by hand, holds RING_LOCK_NAME of that very file, looks whether the name
 * is still that file's, and unlinks: so nobody removes what another has just made under the same name.
 */
#include <ring/segment_private.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>

#define NAME_LIMIT_NS INT64_C(5000000000)

enum { KEY_PROJECT = 'R', GONE_ATTEMPTS = 10 };

/* ---- Where ---- */

int ring_segment_key(const struct ring_segment_options *options, int32_t *key)
{
    *key = options->key;
    if (*key || !options->path)
        return 0;
    *key = (int32_t)ftok(options->path, KEY_PROJECT);
    if (*key == -1)
        return ring_error(-errno, "ftok() cannot make a key of '%.100s' (%s): it takes a file that exists",
                          options->path, strerror(errno));
    return 0;
}

static int check_name(const char *name, const char **bare)
{
    *bare = name && name[0] == '/' ? name + 1 : name;
    if (!name)
        return ring_error(-EINVAL, "the segment's name is NULL");
    if ((*bare)[0] == '\0' || strchr(*bare, '/') || strcmp(*bare, ".") == 0 || strcmp(*bare, "..") == 0)
        return ring_error(-EINVAL, "'%.60s' cannot name a segment: it takes a name like /feed, with no other slash",
                          name);
    for (const char *at = *bare; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            return ring_error(-EINVAL, "a segment's name holds no control character");
    if (strlen(*bare) > RING_SEGMENT_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a segment's name has at most %d characters, this one has %zu",
                          RING_SEGMENT_NAME_MAX, strlen(*bare));
    return 0;
}

/* The name of a System V segment that was given a key instead. */
static int name_of_key(const struct ring_segment_options *options, char name[16])
{
    int32_t key;
    int code = ring_segment_key(options, &key);
    if (code)
        return code;
    if (!key)
        return ring_error(-EINVAL, "a System V segment needs a name, or a key, or a path for ftok()");
    snprintf(name, 16, "sysv-%08x", (unsigned)key);
    return 0;
}

static int path_in_hugetlbfs(const struct ring_segment_options *options, unsigned index, const char *bare,
                             char path[RING_SEGMENT_PATH])
{
    char directory[256];
    size_t page = 0;
    unsigned passed = 0;
    for (unsigned mount = 0; ring_memory_hugetlbfs_at(mount, directory, &page); mount++) {
        bool wanted = (!options->page_bytes || page == options->page_bytes) &&
                      (!options->path || strcmp(directory, options->path) == 0);
        if (!wanted || passed++ < index)
            continue;
        if (snprintf(path, RING_SEGMENT_PATH, "%s/%s", directory, bare) >= RING_SEGMENT_PATH)
            return ring_error(-ENAMETOOLONG, "the path of hugetlbfs %.100s and the name are too long together",
                              directory);
        return 0;
    }
    if (index > 0 || options->backing != RING_BACKING_HUGETLBFS)
        return -ENOENT;
    return ring_memory_no_hugetlbfs(options->page_bytes ? options->page_bytes : RING_MEMORY_HUGE, options->path);
}

int ring_segment_path(const char *name, const struct ring_segment_options *options, unsigned index,
                      char path[RING_SEGMENT_PATH])
{
    const char *bare;
    char of_key[16];
    int code = 0;
    if (options->backing > RING_BACKING_SYSTEM_V)
        return ring_error(-EINVAL, "a segment of this backing has no name: a memfd is attached by "
                                   "ring_segment_attach_fd() or ring_segment_attach_socket(), the others not at all");
    if (options->backing == RING_BACKING_SYSTEM_V && !name) {
        code = name_of_key(options, of_key);
        name = of_key;
    }
    if (!code)
        code = check_name(name, &bare);
    if (code)
        return code;
    if (options->backing == RING_BACKING_HUGETLBFS)
        return path_in_hugetlbfs(options, index, bare, path);
    if (index > 0)
        return options->backing == RING_BACKING_ANY ? path_in_hugetlbfs(options, index - 1, bare, path) : -ENOENT;
    sprintf(path, RING_MEMORY_DIRECTORY "/%s", bare);
    return 0;
}

struct ring_witness ring_segment_witness(int fd, const char *path, bool read_only)
{
    struct stat file = { 0 };
    struct ring_witness witness = { .fd = fd, .read_only = read_only, .page = ring_memory_huge_of(fd) };
    if (!witness.page)
        witness.page = ring_memory_page();
    if (fstat(fd, &file) == 0) {
        witness.device = (uint64_t)file.st_dev;
        witness.inode = (uint64_t)file.st_ino;
    }
    snprintf(witness.path, sizeof witness.path, "%s", path);
    return witness;
}

/* ---- How names go ---- */

/* Removes the name. -ENOENT: it is the witness's no more. The caller holds RING_LOCK_NAME. */
static int remove_locked(const struct ring_witness *witness)
{
    struct stat file;
    union ring_segment_head head;
    if (lstat(witness->path, &file) != 0)
        return ring_error(-errno, "cannot look at %s (%s)", witness->path, strerror(errno));
    if ((uint64_t)file.st_dev != witness->device || (uint64_t)file.st_ino != witness->inode)
        return ring_error(-ENOENT, "%s is another segment by now", witness->path);
    if (pread(witness->fd, &head, sizeof head, 0) == (ssize_t)sizeof head && head.magic == RING_LAYOUT_SIGNPOST)
        ring_system_v_remove(&head.signpost, &file); /* first: a signpost without memory is known for what it is */
    if (unlink(witness->path) != 0)
        return ring_error(-errno, "cannot remove %s (%s)", witness->path, strerror(errno));
    return 0;
}

int ring_segment_remove(struct ring_witness *witness)
{
    struct ring_claim *lock;
    int64_t deadline = ring_clock_deadline(NAME_LIMIT_NS);
    unsigned attempt = 0;
    int code;
    while ((code = ring_claim_take(&lock, witness, RING_LOCK_NAME)) == -EBUSY)
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-EBUSY, "another process has been making or removing %s for over 5 s: is it stopped?",
                              witness->path);
    if (code)
        return code;
    code = remove_locked(witness);
    ring_claim_drop(lock);
    return code;
}

int ring_segment_reclaim(struct ring_witness *witness)
{
    struct ring_claim *alone;
    int code = ring_claim_take(&alone, witness, RING_LOCK_ATTACHED);
    if (code == -EBUSY)
        return ring_claim_look(witness, RING_LOCK_ATTACHED) == RING_CLAIM_SHARED ? -EBUSY : -EAGAIN;
    if (code)
        return code;
    code = ring_segment_remove(witness);
    ring_claim_drop(alone);
    return code == -ENOENT ? 0 : code;
}

/* ---- What has a name ---- */

/* Who made it and when, and whether anybody holds it: the reason for -EEXIST. */
static int tell_story(const char *path, const union ring_segment_head *head, bool held, bool foreign)
{
    bool signpost = head->magic == RING_LAYOUT_SIGNPOST;
    const char *command = signpost ? head->signpost.creator_command : head->segment.creator_command;
    int pid = signpost ? head->signpost.creator_pid : head->segment.creator_pid;
    time_t made = (time_t)((signpost ? head->signpost.created_ns : head->segment.created_ns) / 1000000000);
    struct tm calendar;
    char when[32] = "an unknown time";
    if (localtime_r(&made, &calendar))
        strftime(when, sizeof when, "%F %T", &calendar);
    if (held)
        return ring_error(-EEXIST,
                          "%s exists already: made by '%.15s' (pid %d) at %s, and living processes hold it: attach to "
                          "it, or take another name",
                          path, command, pid, when);
    return ring_error(-EEXIST,
                      "%s exists already: made by '%.15s' (pid %d) at %s, and nobody living holds it: attach to it, "
                      "remove it with 'ringctl rm %s'%s",
                      path, command, pid, when, strrchr(path, '/'),
                      foreign ? "; it is another user's" : ", or have it made anew by RING_RECLAIM");
}

/* May it go without being asked for? Its rule says so; or it never was complete, or lost its memory. */
static bool is_left_over(const union ring_segment_head *head)
{
    if (head->magic != RING_LAYOUT_SIGNPOST)
        return head->segment.removal != RING_REMOVE_BY_HAND;
    return head->signpost.removal != RING_REMOVE_BY_HAND || head->signpost.state != RING_SIGNPOST_READY ||
           !ring_system_v_lives(&head->signpost);
}

/* One look at what has the path. 0: it was removed. -EAGAIN: look again. -EEXIST: it stays. */
static int make_way_once(int fd, const char *path, unsigned flags, bool look)
{
    struct stat file;
    union ring_segment_head head;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        (head.magic != RING_LAYOUT_MAGIC && head.magic != RING_LAYOUT_SIGNPOST))
        return ring_error(-EEXIST, "%s exists already, and is not a segment of shmring: take another name", path);
    struct ring_witness witness = ring_segment_witness(fd, path, false);
    bool foreign = file.st_uid != geteuid() && !(flags & RING_ANY_OWNER);
    enum ring_claim_hold hold = ring_claim_look(&witness, RING_LOCK_ATTACHED);
    bool held = hold == RING_CLAIM_SHARED;
    bool making = head.magic == RING_LAYOUT_SIGNPOST && head.signpost.state != RING_SIGNPOST_READY;
    if (hold == RING_CLAIM_ALONE || (held && making))
        return -EAGAIN; /* somebody removes it just now, or is about to finish it */
    if (held || foreign || !(flags & RING_RECLAIM || is_left_over(&head)))
        return tell_story(path, &head, held, foreign);
    int code = look ? 0 : ring_segment_reclaim(&witness);
    return code == -EBUSY ? -EAGAIN : code; /* the next look tells who came meanwhile */
}

int ring_segment_make_way(const char *path, unsigned flags, bool look)
{
    int64_t deadline = ring_clock_deadline(NAME_LIMIT_NS);
    unsigned dozed = 0;
    struct stat there;
    for (int gone = 0; gone < GONE_ATTEMPTS;) {
        if (lstat(path, &there) != 0) /* a cheap yes; the final word is with linkat */
            return errno == ENOENT ? 0 : ring_error(-errno, "cannot look at %s (%s)", path, strerror(errno));
        int fd = ring_segment_open_file(path, false);
        if (fd == -EMFILE || fd == -ENFILE)
            return fd;
        if (fd < 0 && fd != -ENOENT)
            return ring_error(-EEXIST, "%s exists already, and this user cannot write to it: take another name", path);
        gone += fd < 0;
        if (fd < 0)
            continue;
        int code = make_way_once(fd, path, flags, look);
        close(fd);
        if (code != -EAGAIN)
            return code;
        if (!ring_clock_doze(deadline, &dozed))
            return ring_error(-EEXIST, "%s exists already, and has been made or removed by others for over 5 s", path);
    }
    return ring_error(-EEXIST, "%s exists already, and others make and remove it all the time", path);
}

static bool may_be_ours(int fd, uint64_t *magic)
{
    struct stat file;
    return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
           pread(fd, magic, sizeof *magic, 0) == (ssize_t)sizeof *magic &&
           (*magic == RING_LAYOUT_MAGIC || *magic == RING_LAYOUT_SIGNPOST);
}

static int unlink_path(const char *path)
{
    int fd = ring_segment_open_file(path, false);
    if (fd < 0)
        return fd;
    uint64_t magic = 0;
    int code;
    if (may_be_ours(fd, &magic)) {
        struct ring_witness witness = ring_segment_witness(fd, path, false);
        code = ring_segment_remove(&witness);
    } else {
        code = ring_error(-EPROTO, "%s is not a segment of shmring, so it is left alone", path);
    }
    close(fd);
    return code;
}

int ring_segment_unlink(const char *name)
{
    struct ring_segment_options options = ring_segment_defaults();
    char path[RING_SEGMENT_PATH];
    int code = ring_segment_path(name, &options, 0, path);
    if (code)
        return code;
    code = unlink_path(path);
    for (unsigned index = 1; code == -ENOENT && ring_segment_path(name, &options, index, path) == 0; index++)
        code = unlink_path(path);
    if (code == -ENOENT)
        return ring_error(-ENOENT, "there is no segment %s to be removed", name);
    return code;
}
