/* process.h - level 1, private: which process this is, and what still belongs to it. */
#ifndef RING_PROCESS_H
#define RING_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include <ring/platform.h>

/* A number that a child after fork does not share with its parent, though it may have his pid: each PID namespace has
 * a process 1, and that of a container may fork into another. Means nothing to other processes. */
RING_PRIVATE uint64_t ring_process(void);

/* Is that number still the descriptor that we opened, as far as its kind tells ("[eventfd]", "[io_uring]", "inotify")?
 * A program may have closed all that it does not know, a child above all, and opened others. Without /proc: is it open?
 */
RING_PRIVATE bool ring_process_has(int fd, const char *kind);

/* The same file by a number above 2, to which no program writes what it has to complain of: one that was started with
 * those closed gets them for whatever it opens. Where that cannot be had, or for a negative one: `fd`. */
RING_PRIVATE int ring_process_above_standard(int fd);

#endif
