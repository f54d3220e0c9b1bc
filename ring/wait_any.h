/* wait_any.h - level 5: one thread waits for many endpoints at once, of any topology, in any segments.
 *
 *     ring_any_add(any, ring_spsc_consumer_waiter(&prices), &prices);
 *     ring_any_add(any, ring_mpmc_producer_waiter(&jobs), &jobs);
 *     for (;;) {
 *         void *ready[16];
 *         int count = ring_any_wait(any, ready, 16, RING_FOREVER);
 *         for each of them: receive (or send) with RING_NO_WAIT, until -EAGAIN
 *     }
 *
 * What wait() returns stays ready until one of its calls with RING_NO_WAIT has answered -EAGAIN; so whoever stops
 * earlier gets it again, after the others. Now and then it returns an endpoint for nothing (at first, and about once a
 * second each): its next call tells whether its peer died.
 *
 * The thread sleeps on one queue of the kernel, into which each ring's call is written together with whose it is: a
 * wake and the answer cost the same for two endpoints as for ten thousand. That takes io_uring with futexes
 * (Linux 6.7); without it up to 127 endpoints are waited for by futex_waitv (Linux 5.16), or by looking each
 * millisecond.
 */
#ifndef RING_WAIT_ANY_H
#define RING_WAIT_ANY_H

#include <stddef.h>

#include <ring/wait.h>

RING_BEGIN_C

struct ring_any; /* belongs to one thread at a time, which also makes the calls of its endpoints */

/* 0; -EOPNOTSUPP: no membarrier here; -ENOMEM; -EINVAL: NULL. */
RING_PUBLIC int ring_any_open(struct ring_any **any);

/* Forgets all endpoints, which stay open, and sets *any to NULL. NULL, or closed already: nothing happens. */
RING_PUBLIC void ring_any_close(struct ring_any **any);

/* `tag` is what wait() returns for it. 0; -EBUSY: it is in one already, or has a descriptor; -EOPNOTSUPP: an observer;
 * -EBADF: not open; -ENOSPC: more than 127 without io_uring; -ENOMEM. */
RING_PUBLIC int ring_any_add(struct ring_any *any, struct ring_waiter *waiter, void *tag);

/* 0; -ENOENT: it is not there. Closing an endpoint does that too. */
RING_PUBLIC int ring_any_remove(struct ring_any *any, struct ring_waiter *waiter);

/* Waits until there may be something for one of them at least, and writes up to `most` tags. How many; -EAGAIN
 * (RING_NO_WAIT) or -ETIMEDOUT: nothing; -EINVAL: no place for a tag. */
RING_PUBLIC int ring_any_wait(struct ring_any *any, void **tags, size_t most, int64_t timeout_ns);

RING_END_C

#endif
