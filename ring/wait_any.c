/* wait_any.c - level 5: waiting for any of many endpoints.
 *
 * Each endpoint has a door (wait_private.h), and the doors share one io_uring. Lit ones stand in a list, oldest first;
 * a dark one has a wait on its bell's futex under way, tagged with itself. A call completes that wait, which wakes the
 * thread and says whose it was. The endpoint's own call that finds nothing announces, looks, and queues the next wait;
 * queued waits are submitted by the system call that sleeps. So a message costs the waiter a membarrier and one
 * io_uring_enter(), however many endpoints there are. One more wait is for departures from any segment (wait_watch.c):
 * when it answers, those are lit whose own segment somebody left.
 *
 * Without io_uring the words are handed to futex_waitv each time, and all are looked at after a wake.
 */
#include <ring/wait_any.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/segment_private.h>
#include <ring/wait_private.h>

enum {
    ENTRIES = 256,
    WORDS_MOST = RING_WAIT_WORDS_MOST - 1, /* and one for departures */
    ROUND = 20,                            /* each is looked after once in so many bounds, a second, */
    FEW = 64,                              /* so many together, if all are watched: fewer wakes */
};

enum { DEPARTED = 1 }; /* a tag; the others are members, or UINT64_MAX */

struct member {
    struct ring_door door;
    struct ring_any *any;
    struct ring_waiter *waiter; /* NULL: taken out, kept until its wait has answered */
    void *tag;
    bool pending; /* a wait is under way, or queued */
    RING_ATOMIC(uint32_t) * calls;
    uint32_t seen;
    struct ring_watch *watch;     /* over its segment; or NULL */
    uint32_t departed;            /* how many had gone before the last look */
    unsigned place;               /* in members */
    struct member *next, *before; /* in the list of the lit */
};

struct ring_any {
    uint64_t process;        /* whose it is: a child after fork has the same queue in its memory */
    struct ring_uring uring; /* fd -1: there is none */
    struct member **members;
    unsigned count, room;
    unsigned look_after;   /* the place of the next to be lit for nothing, */
    int64_t look_after_ns; /* and when; 0: not decided */
    unsigned unwatched;    /* members without a watch */
    bool watching;         /* a wait for departures is under way, or queued, */
    uint32_t departed;     /* so many having gone */
    struct member lit;     /* head of the list */
};

static struct member *member_of(struct ring_door *door)
{
    return (struct member *)(void *)door; /* it is the first member */
}

static void unlink_member(struct member *member)
{
    member->before->next = member->next;
    member->next->before = member->before;
    member->next = member->before = member;
}

/* To the end of the list of the lit. */
static void light(struct member *member)
{
    struct member *head = &member->any->lit;
    member->door.lit = true;
    unlink_member(member);
    member->before = head->before;
    member->next = head;
    head->before->next = member;
    head->before = member;
}

static void forget(struct member *member)
{
    struct ring_any *any = member->any;
    unlink_member(member);
    any->members[member->place] = any->members[--any->count];
    any->members[member->place]->place = member->place;
    any->unwatched -= !member->watch;
    ring_watch_close(member->watch);
    free(member);
}

/* ---- Doors ---- */

static bool is_dark(struct ring_door *door)
{
    if (door->lit)
        member_of(door)->departed = ring_watch_departures(member_of(door)->watch);
    return !door->lit; /* what has come since is found by the next wait() */
}

static void queue_wait(struct member *member)
{
    struct ring_uring *uring = &member->any->uring;
    if (uring->fd >= 0)
        member->pending = ring_uring_wait_for_word(uring, member->calls, member->seen, (uintptr_t)member);
}

static void arm(struct ring_door *door, RING_ATOMIC(uint32_t) * calls, uint32_t seen)
{
    struct member *member = member_of(door);
    struct ring_uring *uring = &member->any->uring;
    bool moved = member->calls != calls;
    member->seen = seen;
    if (member->pending && moved) {
        ring_uring_cancel(uring, (uintptr_t)member); /* it answers, which lights the door; then it is armed anew */
        return;
    }
    member->calls = calls;
    if (!member->pending)
        queue_wait(member);
    if (uring->fd >= 0 && !member->pending)
        return; /* the queue is in trouble: it stays lit */
    member->door.lit = false;
    unlink_member(member);
}

static void close_member(struct ring_door *door)
{
    struct member *member = member_of(door);
    member->waiter = NULL;
    if (!member->pending || member->any->process != ring_process()) {
        forget(member);
        return;
    }
    unlink_member(member);
    member->door.lit = false;
    /* Refused: then it answers some day, or goes with the queue. */
    (void)ring_uring_cancel(&member->any->uring, (uintptr_t)member);
}

static void light_again(struct ring_door *door)
{
    light(member_of(door));
}

/* ---- Members ---- */

int ring_any_open(struct ring_any **any)
{
    if (!any)
        return ring_error(-EINVAL, "the place for the handle is NULL");
    *any = NULL;
    if (!ring_wait_register())
        return ring_error(-EOPNOTSUPP, "this kernel or sandbox refuses membarrier, without which a message may come "
                                       "unnoticed: use time limits instead");
    struct ring_any *new_one = calloc(1, sizeof *new_one);
    if (!new_one)
        return ring_error(-ENOMEM, "out of memory");
    new_one->process = ring_process();
    new_one->lit.next = new_one->lit.before = &new_one->lit;
    if (ring_uring_open(&new_one->uring, ENTRIES, -1) != 0)
        new_one->uring.fd = -1;
    *any = new_one;
    return 0;
}

void ring_any_close(struct ring_any **any)
{
    if (!any || !*any)
        return;
    ring_uring_close(&(*any)->uring); /* takes back what is under way */
    while ((*any)->count) {
        struct member *member = (*any)->members[(*any)->count - 1];
        if (member->waiter)
            member->waiter->door = NULL;
        forget(member);
    }
    free((*any)->members);
    free(*any);
    *any = NULL;
}

static int make_place(struct ring_any *any)
{
    if (any->uring.fd < 0 && any->count >= WORDS_MOST)
        return ring_error(-ENOSPC, "this kernel or sandbox has no io_uring with futexes: %d endpoints are the most",
                          WORDS_MOST);
    if (any->count < any->room)
        return 0;
    unsigned room = any->room ? any->room * 2 : 16;
    struct member **members = realloc(any->members, room * sizeof *members);
    if (!members)
        return ring_error(-ENOMEM, "out of memory");
    any->members = members;
    any->room = room;
    return 0;
}

int ring_any_add(struct ring_any *any, struct ring_waiter *waiter, void *tag)
{
    if (!any || !waiter || !waiter->looks)
        return ring_error(-EBADF, "this endpoint is not open");
    if (!waiter->asleep)
        return ring_error(-EOPNOTSUPP,
                          "an observer leaves no trace in the ring, so nobody can tell it of messages: open "
                          "a consumer, or poll");
    if (waiter->door)
        return ring_error(-EBUSY, "this endpoint has a descriptor, or is in a ring_any already");
    int code = make_place(any);
    struct member *member = code ? NULL : calloc(1, sizeof *member);
    if (!member)
        return code ? code : ring_error(-ENOMEM, "out of memory");
    *member = (struct member){ .door = { false, is_dark, arm, light_again, close_member },
                               .any = any,
                               .waiter = waiter,
                               .tag = tag,
                               .watch = ring_watch_open(&waiter->looks->segment(waiter->end)->witness),
                               .place = any->count };
    any->unwatched += !member->watch;
    any->look_after_ns = 0;
    member->next = member->before = member;
    any->members[any->count++] = member;
    light(member);
    waiter->door = &member->door;
    return 0;
}

int ring_any_remove(struct ring_any *any, struct ring_waiter *waiter)
{
    if (!any || !waiter || !waiter->door || waiter->door->close != close_member || member_of(waiter->door)->any != any)
        return ring_error(-ENOENT, "this endpoint is not waited for here");
    close_member(waiter->door);
    waiter->door = NULL;
    return 0;
}

/* ---- Waiting ---- */

static void read_answers(struct ring_any *any)
{
    uint64_t tag;
    while ((tag = ring_uring_next(&any->uring)) != 0) {
        if (tag == UINT64_MAX)
            continue; /* of a cancellation: the wait itself answers as well */
        if (tag == DEPARTED) {
            any->watching = false;
            continue;
        }
        struct member *member = (struct member *)(uintptr_t)tag;
        member->pending = false;
        if (member->waiter)
            light(member);
        else
            forget(member);
    }
}

/* Another thread waits now: the queue is made anew, and all are looked after. Where no other is to be had, for want of
 * descriptors say, they are waited for as without io_uring. */
static void renew(struct ring_any *any)
{
    ring_uring_close(&any->uring);
    any->watching = false;
    (void)ring_uring_open(&any->uring, ENTRIES, -1);
    for (unsigned i = any->count; i-- > 0;) {
        struct member *member = any->members[i];
        member->pending = false;
        if (member->waiter)
            light(member);
        else
            forget(member);
    }
}

/* Those that were called, or whose segment somebody left. */
static void light_moved(struct ring_any *any)
{
    any->departed = ring_atomic_load(ring_watch_all(), memory_order_acquire); /* X1: before the segments' own */
    for (unsigned i = 0; i < any->count; i++) {
        struct member *member = any->members[i];
        if (member->door.lit || !member->waiter)
            continue;
        /* W1's number: acquire, pairs with W2. */
        if (ring_atomic_load(member->calls, memory_order_acquire) != member->seen ||
            ring_watch_departures(member->watch) != member->departed)
            light(member);
    }
}

/* Has the io_uring answer when somebody leaves. */
static void wait_for_departures(struct ring_any *any)
{
    if (any->watching)
        return;
    light_moved(any);
    any->watching = ring_uring_wait_for_word(&any->uring, ring_watch_all(), any->departed, DEPARTED);
}

static void sleep_on_words(struct ring_any *any, int64_t nap_ns)
{
    struct ring_wait_word words[RING_WAIT_WORDS_MOST];
    unsigned count = 0;
    bool all = any->count <= WORDS_MOST; /* else the io_uring was lost */
    words[count++] = ring_wait_word(ring_watch_all(), any->departed);
    for (unsigned i = 0; all && i < any->count; i++)
        words[count++] = ring_wait_word(any->members[i]->calls, any->members[i]->seen);
    if (!all || !ring_wait_for_words(words, count, ring_clock_monotonic() + nap_ns)) {
        struct timespec nap = { 0, nap_ns < RING_WAIT_BOUND_BLIND_NS ? nap_ns : RING_WAIT_BOUND_BLIND_NS };
        nanosleep(&nap, NULL);
    }
    light_moved(any);
}

/* Sleeps for so long at most, or until something is lit. */
static int sleep_once(struct ring_any *any, int64_t nap_ns)
{
    if (any->uring.fd < 0) {
        sleep_on_words(any, nap_ns);
        return 0;
    }
    wait_for_departures(any);
    int code = ring_uring_enter(&any->uring, any->lit.next == &any->lit ? nap_ns : 0);
    if (code == -EEXIST) {
        renew(any);
        code = 0;
    }
    read_answers(any);
    return code;
}

static unsigned looked_after_together(const struct ring_any *any)
{
    unsigned share = (any->count + ROUND - 1) / ROUND;
    return any->unwatched || share > FEW ? share : any->count < FEW ? any->count : FEW;
}

static int64_t time_between_looks_after(const struct ring_any *any)
{
    if (any->unwatched)
        return RING_WAIT_BOUND_NS;
    return any->count ? RING_DOOR_BOUND_NS * looked_after_together(any) / any->count : RING_DOOR_BOUND_NS;
}

/* Lights some for nothing, so that each is looked after now and then: a wake may have been lost, or be held up. */
static void look_after_some(struct ring_any *any)
{
    any->look_after_ns = 0;
    if (any->uring.fd < 0 && any->count > WORDS_MOST)
        renew(any); /* perhaps there are descriptors again */
    for (unsigned i = looked_after_together(any); i > 0; i--) {
        if (any->look_after >= any->count)
            any->look_after = 0;
        struct member *member = any->members[any->look_after++];
        if (!member->door.lit && member->waiter)
            light(member);
    }
    for (unsigned i = 0; any->unwatched && i < any->count; i++)
        if (!any->members[i]->watch && !any->members[i]->door.lit && any->members[i]->waiter)
            light(any->members[i]);
}

/* The lit ones, of which each goes to the end of the list. */
static int take_lit(struct ring_any *any, void **tags, size_t most)
{
    unsigned taken = 0;
    struct member *last = any->lit.before;
    for (struct member *member = any->lit.next; member != &any->lit && taken < most;) {
        struct member *next = member->next;
        tags[taken++] = member->tag;
        light(member);
        if (member == last)
            break;
        member = next;
    }
    return (int)taken;
}

int ring_any_wait(struct ring_any *any, void **tags, size_t most, int64_t timeout_ns)
{
    if (!any || !tags || !most || most > INT32_MAX)
        return -EINVAL;
    int64_t deadline_ns = ring_clock_deadline(timeout_ns);
    int code = 0;
    if (any->uring.fd < 0)
        light_moved(any);
    else if (any->uring.queued || ring_uring_has_news(&any->uring))
        code = sleep_once(any, 0);
    while (!code && any->lit.next == &any->lit) {
        int64_t now = timeout_ns == 0 ? deadline_ns : ring_clock_monotonic();
        if (now >= deadline_ns)
            return timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT;
        if (!any->look_after_ns)
            any->look_after_ns = now + time_between_looks_after(any);
        int64_t until = deadline_ns < any->look_after_ns ? deadline_ns : any->look_after_ns;
        if (until > now)
            code = sleep_once(any, until - now);
        else
            look_after_some(any);
    }
    return code ? code : take_lit(any, tags, most);
}
