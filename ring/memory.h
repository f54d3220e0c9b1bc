/* memory.h - level 3, private: objects of shared memory, their mapping, and the truth about it.
 *
 * A mapping lies between two guard pages, on a 2 MiB boundary, is not inherited by fork and not dumped (unless asked).
 */
#ifndef RING_MEMORY_H
#define RING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ring/platform.h>

#define RING_MEMORY_DIRECTORY "/dev/shm"
#define RING_MEMORY_HUGE      ((size_t)2 << 20)

struct ring_memory_wish {
    bool huge;
    bool lock;
    bool strict; /* refuse what cannot be had, instead of noting it in huge_error and lock_error */
    bool dump;
    bool read_only; /* for an existing object whose descriptor may be one for reading only */
    int node;       /* for a new object; negative: anywhere */
};

struct ring_memory {
    unsigned char *address;
    size_t bytes;
    bool read_only;
    int huge_error; /* 0 or the negative errno of what was refused and done without */
    int lock_error;
    int numa_error;
};

/* What the kernel says about a mapping now. */
struct ring_memory_facts {
    uint64_t huge_bytes;
    uint64_t locked_bytes;
    uint64_t resident_bytes;
    uint64_t page_bytes;
    int node;
};

/* Makes an object without a name, of that size and mode; returns its descriptor. -ENOSPC when it does not fit: the
 * pages are reserved by ring_memory_map(create), so that no later touch can fail. */
RING_PRIVATE int ring_memory_object(size_t bytes, unsigned mode);

/* Maps an object of `bytes` (a multiple of the page). `create`: also places and reserves its pages. */
RING_PRIVATE int ring_memory_map(struct ring_memory *memory, int fd, size_t bytes, const struct ring_memory_wish *wish,
                                 bool create);

RING_PRIVATE void ring_memory_unmap(struct ring_memory *memory);

/* Gives a nameless object its name, once it is complete. -EEXIST: the name is taken. */
RING_PRIVATE int ring_memory_publish(int fd, const char *path);

RING_PRIVATE int ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts);

/* Size of the machine's ordinary page. */
RING_PRIVATE size_t ring_memory_page(void);

#endif
