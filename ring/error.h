/* error.h - level 1: what went wrong, as a number and as a sentence.
 *
 * Every call of the library that can fail returns 0 (or a count) on success and a negative errno on failure. Cold calls
 * (create, attach, open, info, close ...) also leave a sentence for people, kept per thread. docs/errors.md has the
 * errors of each call, and what to do.
 *
 *   -EAGAIN      not now: empty or full, and the caller did not want to wait
 *   -ETIMEDOUT   the time limit passed
 *   -EMSGSIZE    never fits: longer than the ring's max_message, or than the buffer given to recv
 *   -EPIPE       nothing left (or no room), and the other side closed in good order
 *   -EOWNERDEAD  nothing left (or no room), and the other side died: proved, not guessed
 *   -EOVERFLOW   broadcast: messages were overwritten before they were read; how many can be asked
 *   -EUCLEAN     the segment holds what no correct peer writes; this handle is poisoned and stays so
 *   -ESTALE      the block or piece was freed since this handle was given out, or the handle is of another pool
 *   -EALREADY    the block is in transit, or is the caller's, already
 *   -EBUSY       the role is held by a living process; a reservation is open; or the handle is inside another call
 *   -EUSERS      all seats of the ring are held by living participants
 *   -EEXIST      the name is taken
 *   -ENOENT      no segment or no ring of that name
 *   -EINVAL      an argument out of its range
 *   -ENAMETOOLONG  a name longer than its limit
 *   -ENOSPC      no room: in /dev/shm, in the segment, or in its directory
 *   -ENOMEM      the kernel refused memory or locking it
 *   -EMFILE, -ENFILE  no descriptor is free
 *   -EACCES      this user may not open the segment; or it is attached read-only
 *   -ELOOP       the name is a symbolic link
 *   -ECHILD      the handle was opened before fork, by the parent
 *   -EPERM       the file belongs to somebody else, or its mode lets others write; the block is another participant's
 *   -EPROTO      not a segment of this library
 *   -EPROTONOSUPPORT  a segment of another version, byte order, or with features unknown here
 *   -EBADF       the handle is closed, or was never opened
 *   -EOPNOTSUPP  this machine or this build cannot: no huge pages, no such node, no membarrier
 */
#ifndef RING_ERROR_H
#define RING_ERROR_H

#include <ring/platform.h>

RING_BEGIN_C

/* The sentence on the last cold call of this thread that failed: what was asked, what stood against it, what to do.
 * Never NULL; "" when none failed yet. Valid until the thread's next cold call. Hot verbs (send, recv and their like)
 * leave none: it would be of another call. Async-signal-safety: none. */
RING_PUBLIC const char *ring_error_detail(void);

/* For the library itself (libshmring-registry too): keeps the sentence and returns `code`, a negative errno. */
RING_PUBLIC int ring_error(int code, const char *format, ...) RING_PRINTF(2, 3);

RING_END_C

#endif
