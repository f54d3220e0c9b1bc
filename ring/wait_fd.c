/* wait_fd.c - level 5: a descriptor for an endpoint: readable while there may be something to receive (room to send).
 *
 * It is an eventfd. Readable means lit, see wait_private.h; only a call of the endpoint that answers -EAGAIN makes it
 * dark, after it has announced itself on the bell, like a sleeper, and has looked once more. What lights it again is a
 * wait on the bell's futex that stays under way while the thread does other things: in an io_uring, whose answers
 * signal the eventfd, or else in a thread of its own. So the other side does for a descriptor what it does for a
 * sleeper, FUTEX_WAKE, and only when it is dark; it needs no right to the descriptor and no knowledge of it, and the
 * death of either side leaves nothing behind. A second wait, for departures from the segment (wait_watch.c), is under
 * way beside it and lights it as well, so that deaths are noticed. docs/waiting.md tells what else was considered.
 *
 * Why nothing is lost between looking and waiting: the wait names the number of calls noted before the announcement
 * (W1), and answers at once if it has moved. Why nothing is lost while the eventfd is read: answers are taken first,
 * then it is read, then it is looked whether there is another answer; only then the next wait is submitted. Model:
 * tests/model/sleep.pml with -DDESCRIPTOR.
 */
#include <ring/wait_private.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/segment_private.h>

enum { CALLED = 1, TICKED = 2, DEPARTED = 3 }; /* tags */

struct descriptor {
    struct ring_door door;
    int eventfd;
    uint64_t process;
    struct ring_uring uring;
    bool pending;                   /* a wait for calls is under way in the io_uring, */
    RING_ATOMIC(uint32_t) * calls;  /* on what, */
    bool watching;                  /* and one for departures */
    struct ring_watch *watch;       /* over the segment; or NULL */
    uint32_t departed;              /* how many had gone before the last look */
    int64_t disturbed_until_ns;     /* a queue that was given up may signal the eventfd until then; 0: there is none */
    struct ring_listener *listener; /* instead of the io_uring; or NULL */
};

static struct descriptor *descriptor_of(struct ring_door *door)
{
    return (struct descriptor *)(void *)door; /* it is the first member */
}

static void make_readable(struct descriptor *descriptor)
{
    descriptor->door.lit = true;
    if (write(descriptor->eventfd, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0)
        return; /* only when it is full, so readable */
}

static void light(struct ring_door *door)
{
    make_readable(descriptor_of(door));
}

static void make_unreadable(struct descriptor *descriptor)
{
    uint64_t times;
    descriptor->door.lit = false;
    if (read(descriptor->eventfd, &times, sizeof times) < 0)
        return; /* it was not readable */
}

/* ---- By io_uring ---- */

static bool is_dark_by_uring(struct ring_door *door)
{
    struct descriptor *descriptor = descriptor_of(door);
    if (!door->lit && descriptor->pending && !ring_uring_has_news(&descriptor->uring)) {
        if (!descriptor->disturbed_until_ns)
            return true;
        if (ring_clock_monotonic() >= descriptor->disturbed_until_ns)
            descriptor->disturbed_until_ns = 0; /* once more, then it is as dark as it looks */
    }
    descriptor->departed = ring_watch_departures(descriptor->watch);
    return false;
}

/* Takes the answers. */
static void read_answers(struct descriptor *descriptor)
{
    uint64_t tag;
    while ((tag = ring_uring_next(&descriptor->uring)) != 0)
        if (tag == CALLED)
            descriptor->pending = false;
        else if (tag == DEPARTED)
            descriptor->watching = false;
}

/* The queue belongs to the thread that used it first: another one needs its own. The kernel takes back what is under
 * way in the old one at its leisure, and signals the eventfd then. */
static int renew(struct descriptor *descriptor)
{
    if (descriptor->uring.fd >= 0)
        descriptor->disturbed_until_ns = ring_clock_monotonic() + RING_DOOR_BOUND_NS;
    ring_uring_close(&descriptor->uring);
    descriptor->pending = descriptor->watching = false;
    int code = ring_uring_open(&descriptor->uring, 4, descriptor->eventfd);
    int64_t bound_ns = descriptor->watch ? RING_DOOR_BOUND_NS : RING_WAIT_BOUND_NS;
    if (!code && !ring_uring_tick(&descriptor->uring, bound_ns, TICKED))
        code = -EAGAIN;
    if (!code)
        code = ring_uring_enter(&descriptor->uring, 0);
    if (code)
        ring_uring_close(&descriptor->uring);
    return code;
}

/* Submits those waits that are not under way. */
static int submit(struct descriptor *descriptor, RING_ATOMIC(uint32_t) * calls, uint32_t seen)
{
    struct ring_uring *uring = &descriptor->uring;
    struct ring_watch *watch = descriptor->watch;
    bool watches = watch && !descriptor->watching;
    if (!descriptor->pending && !ring_uring_wait_for_word(uring, calls, seen, CALLED))
        return -EAGAIN;
    if (watches && !ring_uring_wait_for_word(uring, &watch->departures, descriptor->departed, DEPARTED))
        return -EAGAIN;
    int code = uring->queued ? ring_uring_enter(uring, 0) : 0;
    if (code)
        return code;
    descriptor->calls = calls;
    descriptor->pending = true;
    descriptor->watching = watch != NULL;
    return 0;
}

static void arm_by_uring(struct ring_door *door, RING_ATOMIC(uint32_t) * calls, uint32_t seen)
{
    struct descriptor *descriptor = descriptor_of(door);
    bool enters = descriptor->uring.fd < 0 || ring_uring_has_news(&descriptor->uring);
    int code = enters ? ring_uring_enter(&descriptor->uring, 0) : 0;
    read_answers(descriptor);
    if (!code && descriptor->pending && descriptor->calls != calls)
        code = -EEXIST; /* another ring, another bell: what is under way is of no use */
    if (code && renew(descriptor) != 0) {
        make_readable(descriptor); /* and try again the next time */
        return;
    }
    make_unreadable(descriptor);
    code = ring_uring_has_news(&descriptor->uring) ? -EAGAIN : submit(descriptor, calls, seen);
    if (code == -EEXIST && renew(descriptor) == 0)
        code = submit(descriptor, calls, seen);
    if (code || ring_uring_has_news(&descriptor->uring))
        make_readable(descriptor);
}

/* ---- By a thread ---- */

static bool is_dark_by_listener(struct ring_door *door)
{
    struct descriptor *descriptor = descriptor_of(door);
    if (!door->lit && !ring_listener_has_heard(descriptor->listener))
        return true;
    descriptor->departed = ring_watch_departures(descriptor->watch);
    return false;
}

static void arm_by_listener(struct ring_door *door, RING_ATOMIC(uint32_t) * calls, uint32_t seen)
{
    struct descriptor *descriptor = descriptor_of(door);
    ring_listener_forget(descriptor->listener);
    make_unreadable(descriptor);
    ring_listener_listen(descriptor->listener, calls, seen, descriptor->departed);
}

/* ---- Coming and going ---- */

static void close_descriptor(struct ring_door *door)
{
    struct descriptor *descriptor = descriptor_of(door);
    bool ours = descriptor->process == ring_process();
    ring_uring_close(&descriptor->uring);
    if (descriptor->listener && ours) /* in a forked child there is no such thread */
        ring_listener_close(descriptor->listener);
    ring_watch_close(descriptor->watch);
    if (ours || ring_process_has(descriptor->eventfd, "[eventfd]"))
        close(descriptor->eventfd);
    free(descriptor);
}

static int open_descriptor(struct descriptor *descriptor, const struct ring_segment *segment)
{
    descriptor->uring.fd = -1;
    descriptor->process = ring_process();
    descriptor->door = (struct ring_door){ true, is_dark_by_uring, arm_by_uring, light, close_descriptor };
    descriptor->eventfd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor->eventfd < 0)
        return ring_error(-errno, "cannot make an eventfd: too many descriptors are open");
    descriptor->watch = ring_watch_open(&segment->witness);
    if (renew(descriptor) == 0)
        return 0;
    descriptor->door.is_dark = is_dark_by_listener;
    descriptor->door.arm = arm_by_listener;
    int code = ring_listener_open(&descriptor->listener, descriptor->eventfd, descriptor->watch);
    if (code) {
        ring_watch_close(descriptor->watch);
        close(descriptor->eventfd);
    }
    return code;
}

int ring_waiter_fd(struct ring_waiter *waiter)
{
    if (!waiter || !waiter->looks)
        return ring_error(-EBADF, "this endpoint is not open");
    if (!waiter->asleep)
        return ring_error(-EOPNOTSUPP,
                          "an observer leaves no trace in the ring, so nobody can tell it of messages: open "
                          "a consumer, or poll");
    if (waiter->door)
        return waiter->door->close == close_descriptor
                   ? descriptor_of(waiter->door)->eventfd
                   : ring_error(-EBUSY, "this endpoint is waited for by a ring_any: take it out of there first");
    if (!ring_wait_register())
        return ring_error(-EOPNOTSUPP, "this kernel or sandbox refuses membarrier, without which a message may come "
                                       "unnoticed: use time limits instead");
    struct descriptor *descriptor = calloc(1, sizeof *descriptor);
    if (!descriptor)
        return ring_error(-ENOMEM, "out of memory");
    int code = open_descriptor(descriptor, waiter->looks->segment(waiter->end));
    if (code) {
        free(descriptor);
        return code;
    }
    waiter->door = &descriptor->door;
    return descriptor->eventfd;
}
