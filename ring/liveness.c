/* liveness.c - level 3: claims by open-file-description locks, see liveness.h.
 *
 * Forks. From its opening to its sealing a claim has a descriptor, of which a child that another thread forks meanwhile
 * gets a copy: that would keep the claim for as long as the child lives. So the child closes its copies, first of all
 * (pthread_atfork). `forks` keeps forks out while a descriptor is opened and not in the list yet, or a mapping is made
 * and not yet kept from children; nothing else is waited for with it. Its handler is the library's first, from its
 * loading on, so it runs behind those of whoever takes claims under a lock of his own (the registry).
 *
 * Known limit: who clones himself without the C library's fork() has no handlers, so until that child execs or ends it
 * keeps what was just being claimed: some microseconds of a cold call, and in error towards "alive".
 */
#include <ring/liveness.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/error.h>
#include <ring/process.h>

struct ring_claim {
    void *page; /* PROT_NONE mapping whose only use is to keep the locked description open */
    size_t bytes;
    int fd;                  /* of that description while more bytes may be added, else -1 */
    struct ring_claim *next; /* in the list of those that have a descriptor */
};

/* ---- Forks ---- */

static pthread_mutex_t forks = PTHREAD_MUTEX_INITIALIZER;
static struct ring_claim *unsealed;

/* Recursive: a signal handler may fork within any call. */
static void make_recursive(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&forks, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* Keeps forks out. Nobody is cancelled meanwhile, by what is a cancellation point (open, close): he would keep them out
 * for ever. What it returns is for let_forks(). */
static int keep_forks_out(void)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_mutex_lock(&forks);
    return cancel;
}

static void let_forks(int cancel)
{
    pthread_mutex_unlock(&forks);
    pthread_setcancelstate(cancel, NULL);
}

static void before_fork(void)
{
    pthread_mutex_lock(&forks);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&forks);
}

static void after_fork_child(void)
{
    for (; unsealed; unsealed = unsealed->next) {
        close(unsealed->fd);
        unsealed->fd = -1;
    }
    pthread_mutex_unlock(&forks); /* refused: its owner is the parent's thread; so */
    make_recursive();
}

RING_AT_LOAD static void watch_forks(void)
{
    make_recursive();
    pthread_atfork(before_fork, after_fork_parent, after_fork_child); /* refused: as if cloned, see above */
}

/* ---- Objects ---- */

static bool is_object(const struct ring_witness *witness, int fd)
{
    struct stat now;
    return fd >= 0 && fstat(fd, &now) == 0 && (uint64_t)now.st_dev == witness->device &&
           (uint64_t)now.st_ino == witness->inode;
}

/* A new open file description of the object, or -errno. `access`: O_RDONLY or O_RDWR. */
static int open_again(const struct ring_witness *witness, int access)
{
    int flags = access | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (is_object(witness, witness->fd)) {
        char path[40];
        /* Not /proc/self, which is the first thread: it may have ended, and has no descriptors then. */
        snprintf(path, sizeof path, "/proc/thread-self/fd/%d", witness->fd);
        int fd = open(path, flags);
        if (fd >= 0)
            return ring_process_above_standard(fd);
        if (errno == EMFILE || errno == ENFILE)
            return ring_error(-errno, "no descriptor is free for a proof of life (%s): see 'ulimit -n'",
                              strerror(errno));
    }
    int fd = witness->path[0] ? open(witness->path, flags | O_NOFOLLOW) : -1;
    if (fd >= 0 && !is_object(witness, fd)) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        return ring_error(-EBADF,
                          "the segment cannot be opened again: its descriptor was closed by the program, and it "
                          "has no name any more (or /proc is not mounted): attach anew");
    return ring_process_above_standard(fd);
}

int ring_witness_open(const struct ring_witness *witness)
{
    return open_again(witness, O_RDONLY);
}

void ring_witness_close(const struct ring_witness *witness)
{
    if (is_object(witness, witness->fd))
        close(witness->fd);
}

/* ---- Claims ---- */

static int lock_call(int fd, int command, short type, int64_t byte, int64_t count, struct flock *lock)
{
    memset(lock, 0, sizeof *lock);
    lock->l_type = type;
    lock->l_whence = SEEK_SET;
    lock->l_start = byte;
    lock->l_len = count;
    int result;
    do
        result = fcntl(fd, command, lock);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : -errno;
}

static int lock_byte(int fd, short type, int64_t byte)
{
    struct flock lock;
    int code = lock_call(fd, F_OFD_SETLK, type, byte, 1, &lock);
    if (code == -EAGAIN || code == -EACCES)
        return ring_error(-EBUSY, "it is held by a living process");
    if (code)
        return ring_error(code, "the kernel refused a lock (%s): the file system must support OFD locks",
                          strerror(-code));
    return 0;
}

static int open_claim(struct ring_claim *claim, const struct ring_witness *witness)
{
    int cancel = keep_forks_out();
    claim->fd = open_again(witness, witness->read_only ? O_RDONLY : O_RDWR);
    if (claim->fd >= 0) {
        claim->next = unsealed;
        unsealed = claim;
    }
    let_forks(cancel);
    return claim->fd < 0 ? claim->fd : 0;
}

static int keep_open(struct ring_claim *claim, const struct ring_witness *witness)
{
    claim->bytes = witness->page;
    claim->page = mmap(NULL, claim->bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, claim->fd, 0);
    if (claim->page == MAP_FAILED)
        return ring_error(-errno, "no address space for a proof of life (%s)", strerror(errno));
    if (madvise(claim->page, claim->bytes, MADV_DONTFORK) != 0) {
        int code = -errno;
        munmap(claim->page, claim->bytes);
        return ring_error(code, "the kernel refused MADV_DONTFORK (%s)", strerror(-code));
    }
    madvise(claim->page, claim->bytes, MADV_DONTDUMP); /* refused: a page more in a core file */
    return 0;
}

static int claim_byte(struct ring_claim **claim, struct ring_witness *witness, short type, int64_t byte)
{
    *claim = NULL;
    struct ring_claim *made = calloc(1, sizeof *made);
    if (!made)
        return ring_error(-ENOMEM, "out of memory");
    int code = open_claim(made, witness);
    if (!code)
        code = lock_byte(made->fd, type, byte);
    if (!code) {
        int cancel = keep_forks_out();
        code = keep_open(made, witness);
        let_forks(cancel);
    }
    if (code) {
        ring_claim_seal(made);
        free(made);
        return code;
    }
    *claim = made;
    return 0;
}

static int refuse_read_only(const struct ring_witness *witness)
{
    return witness->read_only ? ring_error(-EACCES, "the segment is attached read-only: it can be observed, but "
                                                    "nothing in it taken")
                              : 0;
}

int ring_claim_take(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    *claim = NULL;
    int code = refuse_read_only(witness);
    if (!code)
        code = claim_byte(claim, witness, F_WRLCK, byte);
    if (!code)
        ring_claim_seal(*claim);
    return code;
}

int ring_claim_share(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    return claim_byte(claim, witness, F_RDLCK, byte);
}

int ring_claim_add(struct ring_claim *claim, const struct ring_witness *witness, int64_t byte)
{
    int code = refuse_read_only(witness);
    return code ? code : lock_byte(claim->fd, F_WRLCK, byte);
}

void ring_claim_seal(struct ring_claim *claim)
{
    int cancel = keep_forks_out();
    if (claim->fd >= 0) {
        struct ring_claim **at = &unsealed;
        while (*at != claim)
            at = &(*at)->next;
        *at = claim->next;
        close(claim->fd);
    }
    claim->fd = -1;
    let_forks(cancel);
}

void ring_claim_drop(struct ring_claim *claim)
{
    if (!claim)
        return;
    ring_claim_seal(claim);
    munmap(claim->page, claim->bytes);
    free(claim);
}

/* What stands against having the bytes alone, in `lock`; in doubt everything does. */
static void probe(struct ring_witness *witness, int64_t byte, int64_t count, struct flock *lock)
{
    int fd = witness->fd;
    bool borrowed = is_object(witness, fd);
    if (!borrowed) /* only for reading: its end is no departure, see wait_watch.c */
        fd = ring_witness_open(witness);
    int code = fd < 0 ? fd : lock_call(fd, F_OFD_GETLK, F_WRLCK, byte, count, lock);
    if (!borrowed && fd >= 0)
        close(fd);
    if (code == 0)
        return;
    lock->l_type = F_WRLCK;
    lock->l_start = byte;
}

int64_t ring_claim_first_held(struct ring_witness *witness, int64_t byte, int64_t count)
{
    struct flock lock;
    probe(witness, byte, count, &lock);
    return lock.l_type == F_UNLCK ? -1 : (int64_t)lock.l_start < byte ? byte : (int64_t)lock.l_start;
}

bool ring_claim_is_held(struct ring_witness *witness, int64_t byte)
{
    return ring_claim_first_held(witness, byte, 1) >= 0;
}

enum ring_claim_hold ring_claim_look(struct ring_witness *witness, int64_t byte)
{
    struct flock lock;
    probe(witness, byte, 1, &lock);
    return lock.l_type == F_UNLCK ? RING_CLAIM_FREE : lock.l_type == F_RDLCK ? RING_CLAIM_SHARED : RING_CLAIM_ALONE;
}
