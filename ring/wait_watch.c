/* wait_watch.c - level 5: the kernel tells that somebody who took part in a segment has gone, in whatever way.
 *
 * A claim (liveness.h) is an open file description of the segment's own file, open for writing, and ends when that is
 * closed: by its owner, or by the kernel at his death. inotify tells of such closes. So a door need not ask now and
 * then whether its peers live: it waits for its segment's `departures` as it waits for calls. They are only a hint, the
 * look that follows proves. What works for the proof works for the hint: any number of peers, other users, namespaces,
 * containers; no pid is asked for, and nothing is written into the segment.
 *
 * An event can be read once, while many doors want to know of it: so a thread of this process reads, and is there while
 * there are doors. The kernel tells some microseconds before it gives the lock up; so the news is passed on after 5 ms,
 * and once more 20 ms later, should the dying have been held up in between. Where there is no inotify (a user has 128
 * of them by default) a door is looked after each RING_WAIT_BOUND_NS instead. A program that closes all descriptors it
 * does not know, these too, is told of deaths within a second.
 */
#include <ring/wait_private.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <ring/liveness.h>
#include <ring/segment_private.h>

enum { FIRST_MS = 5, AGAIN_MS = 20, TIMES = 2, STACK = 64 << 10 };

static const char INOTIFY[] = "inotify", EVENTFD[] = "[eventfd]";

struct watcher {
    uint64_t process;
    pthread_mutex_t gate; /* one comes or goes at a time */
    pthread_mutex_t lock; /* of `watches`, which only the holder of both changes */
    struct ring_watch *watches;
    int inotify, end; /* not changed while the thread is there */
    bool runs, lost;  /* lost: its thread can be woken no more, and keeps it; the process has another */
    pthread_t thread;
    struct watcher *before; /* lost, too */
};

/* X0: of this process; release, acquire: it is whole before it is seen. A child after fork makes its own. */
static RING_ATOMIC(struct watcher *) ours;

static RING_ATOMIC(struct watcher *) lost; /* X0 */

/* X1: departures from any segment. */
static RING_ATOMIC(uint32_t) all;

RING_ATOMIC(uint32_t) * ring_watch_all(void)
{
    return &all;
}

/* ---- The thread ---- */

/* X1: the count moves on, then all who wait for that are woken. */
static void tell(RING_ATOMIC(uint32_t) * departures)
{
    atomic_fetch_add_explicit(departures, 1, memory_order_release);
    syscall(SYS_futex, (uintptr_t)departures, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Is there more to be told later? */
static bool pass_on(struct watcher *watcher)
{
    bool told = false, more = false;
    pthread_mutex_lock(&watcher->lock);
    for (struct ring_watch *watch = watcher->watches; watch; watch = watch->next)
        if (watch->tellings) {
            tell(&watch->departures);
            told = true;
            more |= --watch->tellings > 0;
        }
    pthread_mutex_unlock(&watcher->lock);
    if (told) /* after the segments' own: who waits for this one looks at those */
        tell(&all);
    return more;
}

static void note(struct watcher *watcher, const struct inotify_event *event)
{
    pthread_mutex_lock(&watcher->lock);
    for (struct ring_watch *watch = watcher->watches; watch; watch = watch->next)
        if (watch->number == event->wd || (event->mask & IN_Q_OVERFLOW))
            watch->tellings = TIMES;
    pthread_mutex_unlock(&watcher->lock);
}

static void read_events(struct watcher *watcher)
{
    union {
        struct inotify_event event;
        char bytes[4096];
    } news;
    ssize_t length;
    while ((length = read(watcher->inotify, news.bytes, sizeof news.bytes)) > 0)
        for (ssize_t at = 0; at + (ssize_t)sizeof news.event <= length;) {
            struct inotify_event event;
            memcpy(&event, news.bytes + at, sizeof event);
            note(watcher, &event);
            at += (ssize_t)(sizeof event + event.len);
        }
}

static void *run(void *argument)
{
    struct watcher *watcher = argument;
    int patience_ms = -1;
    for (;;) {
        struct pollfd wishes[2] = { { watcher->end, POLLIN, 0 }, { watcher->inotify, POLLIN, 0 } };
        if (poll(wishes, 2, patience_ms) > 0 && wishes[1].revents)
            poll(wishes, 1, FIRST_MS);
        if (wishes[0].revents || !ring_process_has(watcher->inotify, INOTIFY))
            return NULL;
        read_events(watcher);
        patience_ms = pass_on(watcher) ? AGAIN_MS : -1;
    }
}

/* ---- Coming and going ---- */

/* What the program closed meanwhile, and may have given another meaning, is left alone. */
static void close_own(struct watcher *watcher)
{
    if (ring_process_has(watcher->inotify, INOTIFY))
        close(watcher->inotify);
    if (ring_process_has(watcher->end, EVENTFD))
        close(watcher->end);
    watcher->inotify = watcher->end = -1;
}

static struct watcher *watcher_of_process(void)
{
    struct watcher *watcher = ring_atomic_load(&ours, memory_order_acquire); /* X0 */
    if (watcher && watcher->process == ring_process())
        return watcher;
    struct watcher *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    *made = (struct watcher){ .process = ring_process(), .inotify = -1, .end = -1 };
    pthread_mutex_init(&made->gate, NULL);
    pthread_mutex_init(&made->lock, NULL);
    struct watcher *before = watcher;
    /* X0: release, the struct is whole; acquire, another thread's is. */
    if (!atomic_compare_exchange_strong_explicit(&ours, &before, made, memory_order_acq_rel, memory_order_acquire)) {
        free(made);
        return before;
    }
    if (watcher) /* the parent's, of which this child has copies */
        close_own(watcher);
    return made;
}

/* The program closed what would wake the thread. It ends when it looks around, if ever. */
static void abandon(struct watcher *watcher)
{
    pthread_detach(watcher->thread);
    watcher->lost = true;
    watcher->before = atomic_exchange_explicit(&lost, watcher, memory_order_acq_rel); /* X0 */
    ring_atomic_store(&ours, NULL, memory_order_release);                             /* X0 */
}

static void stop(struct watcher *watcher)
{
    if (watcher->lost)
        return;
    if (watcher->runs) {
        if (!ring_process_has(watcher->end, EVENTFD) || write(watcher->end, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0) {
            abandon(watcher);
            return;
        }
        pthread_join(watcher->thread, NULL);
    }
    close_own(watcher);
    watcher->runs = false;
}

static bool start(struct watcher *watcher)
{
    if (watcher->runs || watcher->lost)
        return !watcher->lost;
    watcher->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watcher->end = eventfd(0, EFD_CLOEXEC);
    watcher->runs =
        watcher->inotify >= 0 && watcher->end >= 0 && ring_wait_start_thread(&watcher->thread, run, watcher) == 0;
    if (!watcher->runs)
        stop(watcher);
    return watcher->runs;
}

/* A watch of the witnessed object, or NULL. The same object has the same number. */
static struct ring_watch *watch_object(struct watcher *watcher, const struct ring_witness *witness)
{
    char path[40];
    int fd = ring_witness_open(witness);
    if (fd < 0)
        return NULL;
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd); /* as in liveness.c */
    int number = inotify_add_watch(watcher->inotify, path, IN_CLOSE_WRITE);
    close(fd);
    if (number < 0)
        return NULL;
    for (struct ring_watch *watch = watcher->watches; watch; watch = watch->next)
        if (watch->number == number) {
            watch->users++;
            return watch;
        }
    struct ring_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        inotify_rm_watch(watcher->inotify, number);
        return NULL;
    }
    watch->number = number;
    watch->users = 1;
    pthread_mutex_lock(&watcher->lock);
    watch->next = watcher->watches;
    watcher->watches = watch;
    pthread_mutex_unlock(&watcher->lock);
    return watch;
}

/* One at a time. Nobody is cancelled meanwhile: he would keep all others out. */
static int enter(struct watcher *watcher)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_mutex_lock(&watcher->gate);
    return cancel;
}

static void leave(struct watcher *watcher, int cancel)
{
    pthread_mutex_unlock(&watcher->gate);
    pthread_setcancelstate(cancel, NULL);
}

struct ring_watch *ring_watch_open(const struct ring_witness *witness)
{
    struct watcher *watcher = watcher_of_process();
    if (!watcher)
        return NULL;
    int cancel = enter(watcher);
    struct ring_watch *watch = start(watcher) ? watch_object(watcher, witness) : NULL;
    if (!watcher->watches)
        stop(watcher);
    leave(watcher, cancel);
    return watch;
}

/* Takes it out of the list. False: it is not there, but the parent's of this child. */
static bool take_out(struct watcher *watcher, struct ring_watch *watch)
{
    struct ring_watch **link = &watcher->watches;
    while (*link && *link != watch)
        link = &(*link)->next;
    if (!*link)
        return false;
    if (--watch->users)
        return true;
    pthread_mutex_lock(&watcher->lock);
    *link = watch->next;
    pthread_mutex_unlock(&watcher->lock);
    inotify_rm_watch(watcher->inotify, watch->number);
    free(watch);
    return true;
}

void ring_watch_close(struct ring_watch *watch)
{
    struct watcher *watcher = ring_atomic_load(&ours, memory_order_acquire); /* X0 */
    if (!watch || !watcher || watcher->process != ring_process())
        return;
    int cancel = enter(watcher);
    if (take_out(watcher, watch) && !watcher->watches)
        stop(watcher);
    leave(watcher, cancel);
}
