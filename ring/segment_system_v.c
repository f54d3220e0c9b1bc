/* segment_system_v.c - level 4: System V segments, which are no files, so have no locks and no name of ours.
 *
 * A file of one page in /dev/shm, the signpost, has the name, carries the locks and tells where the memory is. Making:
 *
 *   1. The signpost, nameless, state MAKING, with the key that will be used (a random one if none was asked for). Its
 *      maker has a share of RING_LOCK_ATTACHED, and RING_LOCK_NAME alone.
 *   2. linkat: the signpost has the name. Attachers read MAKING and go on waiting; makers find a living holder.
 *   3. shmget with that key, exclusively; its number into the signpost; map, lay out.
 *   4. State READY. RING_LOCK_NAME is given back.
 *
 * A maker that dies before 2 leaves nothing; after it a signpost MAKING that nobody holds: whoever makes a segment of
 * that name next finds by key or number what memory there is, and removes both. It removes only memory that this maker
 * made: of his pid, his user, that size, and attached by nobody. A complete segment is known by its serial number,
 * which the signpost and the first page share.
 *
 * Removing: the memory first, then the signpost; one without memory is known for what it is.
 */
#include <ring/segment_private.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/numa.h>

#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

enum { KEY_ATTEMPTS = 100 };

static int write_signpost(int fd, const struct ring_layout_signpost *signpost)
{
    ssize_t written = pwrite(fd, signpost, sizeof *signpost, 0);
    if (written == (ssize_t)sizeof *signpost)
        return 0;
    int code = written < 0 ? -errno : -ENOSPC;
    return ring_error(code, "cannot write the signpost of a System V segment to " RING_MEMORY_DIRECTORY " (%s)",
                      strerror(-code));
}

/* shmget, with the key written down before. A key of our own choice may be taken: then another. */
static int make_memory(struct ring_segment *segment, struct ring_layout_signpost *signpost,
                       const struct ring_memory_rights *rights)
{
    bool chosen = signpost->key != 0;
    for (int attempt = 0;; attempt++) {
        if (!chosen && getrandom(&signpost->key, sizeof signpost->key, 0) != (ssize_t)sizeof signpost->key)
            return ring_error(-errno, "no random number for a System V key (%s)", strerror(errno));
        if (signpost->key == (int32_t)IPC_PRIVATE)
            continue;
        int code = write_signpost(segment->witness.fd, signpost);
        if (!code)
            code = ring_memory_system_v(&segment->object, signpost->key, signpost->bytes, signpost->page_bytes,
                                        signpost->reserve != 0, rights);
        if (code != -EEXIST || chosen || attempt >= KEY_ATTEMPTS)
            return code;
    }
}

int ring_system_v_signpost(struct ring_segment *segment, const struct ring_segment_options *options, size_t bytes)
{
    struct ring_layout_signpost signpost = { .magic = RING_LAYOUT_SIGNPOST,
                                             .version = RING_LAYOUT_VERSION,
                                             .byte_order = RING_LAYOUT_BYTE_ORDER,
                                             .state = RING_SIGNPOST_MAKING,
                                             .removal = options->removal,
                                             .id = -1,
                                             .bytes = bytes,
                                             .page_bytes = options->page_bytes,
                                             .serial = segment->constants.serial,
                                             .reserve = options->reserve,
                                             .creator_pid = getpid(),
                                             .mode = options->mode,
                                             .created_ns = ring_clock_realtime() };
    uint64_t started;
    ring_segment_describe_self(signpost.creator_command, &started);
    int code = ring_segment_key(options, &signpost.key);
    if (!code)
        code = write_signpost(segment->witness.fd, &signpost);
    if (!code)
        code = ring_claim_take(&segment->making, &segment->witness, RING_LOCK_NAME);
    if (!code)
        code = ring_memory_publish(segment->witness.fd, segment->witness.path);
    if (code) {
        ring_claim_drop(segment->making);
        segment->making = NULL;
    }
    return code;
}

int ring_system_v_make(struct ring_segment *segment, const struct ring_memory_rights *rights)
{
    union ring_segment_head head;
    int code = ring_segment_read_head(segment->witness.fd, segment->witness.path, &head);
    if (!code)
        code = make_memory(segment, &head.signpost, rights);
    if (!code) {
        head.signpost.id = segment->object.id;
        code = write_signpost(segment->witness.fd, &head.signpost);
    }
    return code;
}

void ring_system_v_abandon(struct ring_segment *segment)
{
    bool gone = segment->object.kind != RING_MEMORY_SYSTEM_V || shmctl(segment->object.id, IPC_RMID, NULL) == 0 ||
                errno == EINVAL || errno == EIDRM;
    if (gone)                          /* else the next maker finds it by its signpost */
        unlink(segment->witness.path); /* RING_LOCK_NAME is ours: it is our signpost */
    ring_claim_drop(segment->making);
    segment->making = NULL;
    segment->object.kind = RING_MEMORY_FILE;
}

int ring_system_v_publish(struct ring_segment *segment)
{
    union ring_segment_head head;
    int code = ring_segment_read_head(segment->witness.fd, segment->witness.path, &head);
    if (code)
        return code;
    /* The kernel then frees the memory when the last one detaches, however he ends; attaching by number still works. */
    if (head.signpost.removal == RING_REMOVE_WITH_LAST && shmctl(segment->object.id, IPC_RMID, NULL) != 0)
        return ring_error(-errno, "the kernel refused to mark the System V segment for removal (%s)", strerror(errno));
    head.signpost.state = RING_SIGNPOST_READY;
    code = write_signpost(segment->witness.fd, &head.signpost);
    if (code)
        return code;
    ring_claim_drop(segment->making);
    segment->making = NULL;
    return 0;
}

/* Does the number still mean the signpost's memory, as far as its outside tells? */
static bool is_of(const struct ring_layout_signpost *signpost, const struct shmid_ds *now)
{
    return now->shm_segsz == signpost->bytes &&
           ((int32_t)now->shm_perm.__key == signpost->key || (now->shm_perm.mode & SHM_DEST));
}

bool ring_system_v_lives(const struct ring_layout_signpost *signpost)
{
    struct shmid_ds now;
    if (shmctl(signpost->id, IPC_STAT, &now) != 0)
        return errno == EACCES; /* somebody else's: in doubt it lives */
    return is_of(signpost, &now);
}

int ring_system_v_find(struct ring_memory_object *object, const struct ring_layout_signpost *signpost,
                       const struct stat *file, const char *path)
{
    struct shmid_ds now;
    if (signpost->state != RING_SIGNPOST_READY)
        return ring_error(-ENOENT, "the System V segment %s is still being made, or its maker died at it", path);
    if (shmctl(signpost->id, IPC_STAT, &now) != 0)
        return errno == EACCES
                   ? ring_error(-EACCES, "this user may not attach System V segment %d of %s", signpost->id, path)
                   : ring_error(-ENOENT,
                                "the memory of %s, System V segment %d, is gone: 'ringctl rm' removes the rest", path,
                                signpost->id);
    if (!is_of(signpost, &now))
        return ring_error(-ENOENT, "the memory of %s, System V segment %d, is gone, and its number used again", path,
                          signpost->id);
    if (now.shm_perm.uid != file->st_uid || (now.shm_perm.mode & 022 & ~signpost->mode))
        return ring_error(-EPERM, "System V segment %d does not belong to the owner of %s, or lets more users write",
                          signpost->id, path);
    object->kind = RING_MEMORY_SYSTEM_V;
    object->id = signpost->id;
    object->page = signpost->page_bytes;
    return 0;
}

bool ring_system_v_head(int id, struct ring_layout_segment *head)
{
    void *first = shmat(id, NULL, SHM_RDONLY);
    if (first == (void *)-1)
        return false;
    /* It may be anybody's: one whose memory cannot be had would end us by SIGBUS. EINVAL: a kernel before 5.14. */
    bool there = madvise(first, ring_memory_page(), MADV_POPULATE_READ) == 0 || errno == EINVAL;
    if (there)
        memcpy(head, first, sizeof *head);
    shmdt(first);
    return there && head->magic == RING_LAYOUT_MAGIC;
}

void ring_system_v_remove(const struct ring_layout_signpost *signpost, const struct stat *file)
{
    struct shmid_ds now;
    int id = signpost->id >= 0 ? signpost->id : shmget((key_t)signpost->key, 0, 0);
    if (id < 0 || shmctl(id, IPC_STAT, &now) != 0 || !is_of(signpost, &now) || (now.shm_perm.mode & SHM_DEST) ||
        now.shm_perm.uid != file->st_uid)
        return;
    struct ring_layout_segment head;
    bool ours = signpost->state == RING_SIGNPOST_READY
                    ? ring_system_v_head(id, &head) && head.serial == signpost->serial
                    : now.shm_cpid == signpost->creator_pid && now.shm_nattch == 0;
    if (ours)
        shmctl(id, IPC_RMID, NULL);
}
