/* wait_private.h - level 5, private: what the files of the waiting room share: announcing, doors, io_uring. */
#ifndef RING_WAIT_PRIVATE_H
#define RING_WAIT_PRIVATE_H

#include <pthread.h>

#include <ring/process.h>
#include <ring/wait.h>

/* ---- wait.c: bells ---- */

/* What `asleep` says. */
enum ring_wait_request {
    RING_WAIT_ONE = 1, /* somebody sleeps; to wake one of them is enough */
    RING_WAIT_ALL = 2, /* a door is armed, behind which perhaps nobody waits: call all */
};

/* The futex of a bell. */
RING_INLINE RING_ATOMIC(uint32_t) * ring_wait_calls(RING_ATOMIC(uint32_t) * asleep)
{
    return asleep + 1; /* as all layouts have it, by static_assert */
}

/* W1. *seen: the number of calls to sleep on. False: the kernel has no such barrier. */
RING_PRIVATE bool ring_wait_announce(RING_ATOMIC(uint32_t) * asleep, enum ring_wait_request bit, uint32_t *seen);

/* ---- wait_words.c: one sleep on several futexes ---- */

enum { RING_WAIT_WORDS_MOST = 128 }; /* in one sleep */

/* As in the kernel's interface; older headers lack it. */
struct ring_wait_word {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

/* A word of any process, or of this one alone, to be slept on while it is `seen`. */
RING_PRIVATE struct ring_wait_word ring_wait_word(const RING_ATOMIC(uint32_t) * word, uint32_t seen);
RING_PRIVATE struct ring_wait_word ring_wait_word_of_process(const RING_ATOMIC(uint32_t) * word, uint32_t seen);

/* Sleeps until somebody calls on one of them, or one is not as given, or that time (CLOCK_MONOTONIC); or for no reason.
 * False: it did not, the kernel is too old or must not be asked. */
RING_PRIVATE bool ring_wait_for_words(const struct ring_wait_word *words, unsigned count, int64_t until_ns);

/* ---- Doors: where the news of an endpoint goes while its thread does other things ---- */

/* A door is lit, or dark. Lit: there may be something; the endpoint's calls look for themselves. Dark: the endpoint has
 * announced itself, looked, found nothing, and a wait on its bell's `calls` is under way, which lights the door. So a
 * dark door means that nothing is there, or that it is just being lit. */
struct ring_door {
    bool lit;
    /* Has nothing lit it since it was made dark? If something has, a look follows: departures are noted for that. */
    bool (*is_dark)(struct ring_door *door);
    /* Makes it dark until *calls is not `seen` any more, or it is to be looked after. Lit it stays where that fails. */
    void (*arm)(struct ring_door *door, RING_ATOMIC(uint32_t) * calls, uint32_t seen);
    void (*light)(struct ring_door *door);
    /* The endpoint goes away. */
    void (*close)(struct ring_door *door);
};

#define RING_DOOR_BOUND_NS INT64_C(1000000000) /* a door is lit at least once in that time, to be looked after: 1 s */

/* ---- wait_watch.c: who leaves a segment, in good order or dead ---- */

struct ring_witness;

struct ring_watch {
    RING_ATOMIC(uint32_t) departures; /* X1: moves on some ms after somebody went, perhaps more often; a futex */
    int number;                       /* the rest is private to wait_watch.c */
    unsigned users, tellings;
    struct ring_watch *next;
};

/* A watch over the segment of that witness, shared by all who ask for it. NULL: not to be had, so its doors must be
 * looked after each RING_WAIT_BOUND_NS. Any thread may open and close; closing NULL is allowed. */
RING_PRIVATE struct ring_watch *ring_watch_open(const struct ring_witness *witness);
RING_PRIVATE void ring_watch_close(struct ring_watch *watch);

/* The same count for all segments that this process watches together. It moves on after theirs. */
RING_PRIVATE RING_ATOMIC(uint32_t) * ring_watch_all(void);

/* How many went so far, to be noted before a look. X1: acquire: what the look finds is not older. */
RING_INLINE uint32_t ring_watch_departures(const struct ring_watch *watch)
{
    return watch ? ring_atomic_load(&watch->departures, memory_order_acquire) : 0;
}

/* ---- wait_uring.c: as much of io_uring as a door needs. Used by one thread at a time. ---- */

struct ring_uring {
    int fd;           /* -1: not open */
    uint64_t process; /* that opened it: a child may have closed its copy */
    unsigned char *rings;
    size_t rings_bytes;
    struct io_uring_sqe *entries;
    size_t entries_bytes;
    unsigned most;   /* entries of the submission queue */
    unsigned queued; /* of them not submitted yet */
    unsigned sq_mask, cq_mask;
    RING_ATOMIC(uint32_t) * sq_tail, *sq_flags, *cq_head, *cq_tail;
    uint32_t *sq_array;
    struct io_uring_cqe *answers;
};

/* A queue of at least `entries`; each answer is also told to the descriptor `eventfd`, unless that is negative. 0, or
 * -errno: the kernel has no io_uring, or none with futexes (Linux 6.7), or must not be asked. */
RING_PRIVATE int ring_uring_open(struct ring_uring *uring, unsigned entries, int eventfd);
RING_PRIVATE void ring_uring_close(struct ring_uring *uring);

/* One that is not open takes nothing and has no answers. Queue something (a wait until *word is not `seen`, of any
 * process); `tag` (not 0) comes back with the answer. False: the queue is full, and cannot be emptied. */
RING_PRIVATE bool ring_uring_wait_for_word(struct ring_uring *uring, RING_ATOMIC(uint32_t) * word, uint32_t seen,
                                           uint64_t tag);
RING_PRIVATE bool ring_uring_tick(struct ring_uring *uring, int64_t period_ns, uint64_t tag);
RING_PRIVATE bool ring_uring_cancel(struct ring_uring *uring, uint64_t tag);

/* Submits what is queued and lets the kernel post its answers; waits for one for up to wait_ns (0: not at all). 0, or
 * -errno: -EEXIST: this is another thread than before, to which this queue does not belong; -EBADF: it is not open. */
RING_PRIVATE int ring_uring_enter(struct ring_uring *uring, int64_t wait_ns);

/* Is there an answer, here or in the kernel? No system call. */
RING_PRIVATE bool ring_uring_has_news(const struct ring_uring *uring);

/* The tag of the next answer, which is thereby taken; 0: there is none. */
RING_PRIVATE uint64_t ring_uring_next(struct ring_uring *uring);

/* ---- wait_listen.c: the same by a thread, where there is no io_uring ---- */

struct ring_listener;

/* Starts a thread that writes to the descriptor. `watch` may be NULL. 0 or -errno. */
RING_PRIVATE int ring_listener_open(struct ring_listener **listener, int eventfd, const struct ring_watch *watch);
RING_PRIVATE void ring_listener_close(struct ring_listener *listener);

/* Listens until *calls is not `seen`, or more than `departed` have gone, or it is to be looked after. */
RING_PRIVATE void ring_listener_listen(struct ring_listener *listener, RING_ATOMIC(uint32_t) * calls, uint32_t seen,
                                       uint32_t departed);

/* Has it written since? */
RING_PRIVATE bool ring_listener_has_heard(const struct ring_listener *listener);
RING_PRIVATE void ring_listener_forget(struct ring_listener *listener);

/* A thread with a small stack that takes no signal of the program. 0 or an errno. */
RING_PRIVATE int ring_wait_start_thread(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
