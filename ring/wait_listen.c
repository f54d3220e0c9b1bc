/* wait_listen.c - level 5: a thread that waits for the calls of one bell and passes them on to a descriptor, where the
 * kernel has no io_uring for that (before Linux 6.7, or forbidden: many containers do).
 *
 * Owner and thread share `order`, a futex of this process, and what is to be listened to. The owner writes that down,
 * then counts `order` up (N0); the thread reads it after it has seen the new number. It waits for all words at once
 * (futex_waitv, Linux 5.16); where that is missing it wakes each 50 ms to look at `order`.
 */
#include <ring/wait_private.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>

enum { STACK = 64 << 10 };

struct ring_listener {
    RING_ATOMIC(uint32_t) order; /* N0: number of what is to be done */
    RING_ATOMIC(bool) heard;     /* N1: it has written since it was last forgotten */
    /* N2: what belongs to the current order; relaxed: N0 orders them. A mixture of two orders is read at most until the
     * thread looks at `order` again, and makes it write once too often at worst. */
    RING_ATOMIC(bool) ends;
    RING_ATOMIC(RING_ATOMIC(uint32_t) *) calls;
    RING_ATOMIC(uint32_t) seen, departed;
    const struct ring_watch *watch; /* or NULL */
    int eventfd;
    pthread_t thread;
};

/* Sleeps until one of the words is not as given, or some time has passed; or for no reason. */
static void sleep_on_words(struct ring_listener *listener, uint32_t order, int64_t until_ns)
{
    RING_ATOMIC(uint32_t) *calls = ring_atomic_load(&listener->calls, memory_order_relaxed); /* N2 */
    uint32_t seen = ring_atomic_load(&listener->seen, memory_order_relaxed);                 /* N2 */
    struct ring_wait_word words[3] = { ring_wait_word(calls, seen),
                                       ring_wait_word_of_process(&listener->order, order) };
    if (listener->watch)
        words[2] = ring_wait_word(&listener->watch->departures,
                                  ring_atomic_load(&listener->departed, memory_order_relaxed)); /* N2 */
    if (ring_wait_for_words(words, listener->watch ? 3 : 2, until_ns))
        return;
    struct timespec nap = { 0, RING_WAIT_BOUND_NS };
    syscall(SYS_futex, (uintptr_t)calls, FUTEX_WAIT, seen, &nap, NULL, 0);
}

static bool is_called(const struct ring_listener *listener)
{
    RING_ATOMIC(uint32_t) *calls = ring_atomic_load(&listener->calls, memory_order_relaxed); /* N2 here and below */
    /* W1's number: acquire, pairs with W2. */
    return ring_atomic_load(calls, memory_order_acquire) != ring_atomic_load(&listener->seen, memory_order_relaxed) ||
           (listener->watch &&
            ring_watch_departures(listener->watch) != ring_atomic_load(&listener->departed, memory_order_relaxed));
}

/* Until it has heard something, or has new orders. */
static void listen_to(struct ring_listener *listener, uint32_t order)
{
    int64_t until_ns = ring_clock_monotonic() + (listener->watch ? RING_DOOR_BOUND_NS : RING_WAIT_BOUND_NS);
    while (ring_atomic_load(&listener->order, memory_order_acquire) == order) { /* N0 */
        if (is_called(listener) || ring_clock_monotonic() >= until_ns) {
            ssize_t written = write(listener->eventfd, &(uint64_t){ 1 }, sizeof(uint64_t));
            (void)written; /* refused: it is full, so it is readable */
            /* N1: release, behind the write: who hears of it finds the descriptor readable, and makes it dark. */
            ring_atomic_store(&listener->heard, true, memory_order_release);
            return;
        }
        sleep_on_words(listener, order, until_ns);
    }
}

static void *listen_and_pass_on(void *argument)
{
    struct ring_listener *listener = argument;
    uint32_t done = 0;
    for (;;) {
        uint32_t order = ring_atomic_load(&listener->order, memory_order_acquire); /* N0 */
        if (order == done) {
            syscall(SYS_futex, (uintptr_t)&listener->order, FUTEX_WAIT_PRIVATE, done, NULL, NULL, 0);
            continue;
        }
        done = order;
        if (ring_atomic_load(&listener->ends, memory_order_relaxed)) /* N2 */
            return NULL;
        listen_to(listener, order);
    }
}

static void tell(struct ring_listener *listener)
{
    atomic_fetch_add_explicit(&listener->order, 1, memory_order_release); /* N0: what belongs to it comes before */
    syscall(SYS_futex, (uintptr_t)&listener->order, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int ring_wait_start_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK < PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : (size_t)STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return code;
}

int ring_listener_open(struct ring_listener **listener, int eventfd, const struct ring_watch *watch)
{
    struct ring_listener *new_one = calloc(1, sizeof *new_one);
    if (!new_one)
        return ring_error(-ENOMEM, "out of memory");
    new_one->eventfd = eventfd;
    new_one->watch = watch;
    int code = ring_wait_start_thread(&new_one->thread, listen_and_pass_on, new_one);
    if (code) {
        free(new_one);
        return ring_error(-code, "cannot start a thread that listens for a descriptor");
    }
    *listener = new_one;
    return 0;
}

void ring_listener_close(struct ring_listener *listener)
{
    ring_atomic_store(&listener->ends, true, memory_order_relaxed); /* N2 */
    tell(listener);
    pthread_join(listener->thread, NULL);
    free(listener);
}

void ring_listener_listen(struct ring_listener *listener, RING_ATOMIC(uint32_t) * calls, uint32_t seen,
                          uint32_t departed)
{
    ring_atomic_store(&listener->calls, calls, memory_order_relaxed);       /* N2 */
    ring_atomic_store(&listener->seen, seen, memory_order_relaxed);         /* N2 */
    ring_atomic_store(&listener->departed, departed, memory_order_relaxed); /* N2 */
    tell(listener);
}

bool ring_listener_has_heard(const struct ring_listener *listener)
{
    return ring_atomic_load(&listener->heard, memory_order_acquire); /* N1 */
}

void ring_listener_forget(struct ring_listener *listener)
{
    ring_atomic_store(&listener->heard, false, memory_order_relaxed); /* N1: before the descriptor is read */
}
