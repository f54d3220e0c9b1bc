/* segment.h - level 4: a segment is one named shared-memory object that holds named rings.
 *
 * Who may call what, when: a segment handle may be used by many threads at once, but for ring_segment_close, which
 * comes last. A handle is of no use in a child after fork (the mapping is not inherited); the child attaches anew.
 */
#ifndef RING_SEGMENT_H
#define RING_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ring/platform.h>

RING_BEGIN_C

#define RING_NO_WAIT INT64_C(0)  /* time limit: try once */
#define RING_FOREVER INT64_C(-1) /* time limit: none (any negative number) */

#define RING_NODE_ANY         (-1) /* wherever the kernel puts it: on the node of the thread that creates */
#define RING_NODE_MIXED       (-2) /* info: pages lie on several nodes */
#define RING_NODE_UNKNOWN     (-3) /* info: built without libnuma, or the kernel does not tell */
#define RING_NODE_HERE        (-4) /* wish: on the node of the thread that creates */
#define RING_NODE_INTERLEAVED (-5) /* wish: page by page on all nodes in turn */

enum ring_segment_flags {
    RING_HUGE = 1,       /* 2 MiB pages; size rounded up to a multiple of 2 MiB */
    RING_LOCK = 2,       /* mlock: never swapped, no page fault later */
    RING_STRICT = 4,     /* refuse with an error whatever of the above, or of numa_node, cannot be had */
    RING_ANY_OWNER = 8,  /* attach: accept a file of any user. Its owner can write what he likes into it */
    RING_DUMP = 16,      /* include the segment in core dumps */
    RING_READ_ONLY = 32, /* attach: map it for reading only, which takes no more than the right to read the file. For
                            info and for observers; whatever would write answers -EACCES */
};

#define RING_SEGMENT_DEFAULT_BYTES                                                                                     \
    ((size_t)6 << 20) /* two default rings, and under the usual RLIMIT_MEMLOCK of 8 MiB */
#define RING_SEGMENT_MIN_BYTES     ((size_t)32 << 10)
#define RING_SEGMENT_MAX_BYTES     ((size_t)1 << 42)
#define RING_SEGMENT_DEFAULT_RINGS 64
#define RING_SEGMENT_MAX_RINGS     65536
#define RING_SEGMENT_NAME_MAX      200 /* characters, without a leading slash */

/* How to create or attach. Start from ring_segment_defaults() and change what you need. */
struct ring_segment_options {
    size_t struct_size; /* sizeof this struct: lets it grow */
    size_t bytes;       /* create: size of the object with all overhead; RING_SEGMENT_MIN_BYTES .. MAX_BYTES */
    unsigned flags;     /* enum ring_segment_flags; default RING_HUGE | RING_LOCK */
    unsigned mode;      /* create: permission bits, set whatever the umask; default 0600 */
    int numa_node;      /* create: node for the pages, or RING_NODE_ANY */
    unsigned rings;     /* create: places in the directory, 1 .. RING_SEGMENT_MAX_RINGS */
};

RING_INLINE struct ring_segment_options ring_segment_defaults(void)
{
    struct ring_segment_options options;
    options.struct_size = sizeof options;
    options.bytes = RING_SEGMENT_DEFAULT_BYTES;
    options.flags = RING_HUGE | RING_LOCK;
    options.mode = 0600;
    options.numa_node = RING_NODE_ANY;
    options.rings = RING_SEGMENT_DEFAULT_RINGS;
    return options;
}

/* What was really granted, as the kernel tells it now for the mapping of this process; nothing is remembered wishes. */
struct ring_segment_info {
    size_t struct_size;      /* set by the caller to sizeof this struct */
    char name[256];          /* without slash; "" for a segment attached by other means */
    uint64_t bytes;          /* size of the object */
    uint64_t used_bytes;     /* header, directory and rings */
    uint64_t page_bytes;     /* page size of the mapping: 2 MiB when all of it is mapped so, else the base page */
    uint64_t huge_bytes;     /* bytes mapped by 2 MiB pages */
    uint64_t locked_bytes;   /* bytes locked in memory */
    uint64_t resident_bytes; /* bytes present in memory */
    int numa_node;           /* node of all pages, RING_NODE_MIXED or RING_NODE_UNKNOWN */
    int huge_error;          /* 0, or the negative errno with which 2 MiB pages were refused */
    int lock_error;          /* 0, or the negative errno with which locking was refused */
    int numa_error;          /* 0, or the negative errno with which placement on a node was refused */
    unsigned flags;          /* what was asked for here */
    unsigned mode;           /* permission bits of the file */
    uid_t owner;
    unsigned rings;     /* rings in it */
    unsigned max_rings; /* places in its directory */
    unsigned version;   /* of its layout */
    pid_t creator_pid;  /* for people: it may be gone, and its number used again */
    char creator_command[16];
    uint64_t created_ns; /* CLOCK_REALTIME */
};

/* A name is "feed" or "/feed": 1 to RING_SEGMENT_NAME_MAX characters, no other slash, not "." or "..".
 * options may be NULL: all defaults. On failure *segment is NULL. Every call may fail with -EINVAL (NULL, a value out
 * of range), -ENAMETOOLONG, -EMFILE, -ENFILE, -ENOMEM, -EACCES; RING_STRICT adds -ENOMEM (not lockable) and -EOPNOTSUPP
 * (no huge pages, no such node). */
struct ring_segment;

/* Makes a new segment; it gets its name only when complete. -EEXIST: the name is taken. -ENOSPC: /dev/shm is full. */
RING_PUBLIC int ring_segment_create(struct ring_segment **segment, const char *name,
                                    const struct ring_segment_options *options);

/* Maps an existing one, after validating it; waits up to timeout_ns for it to appear. -ENOENT (RING_NO_WAIT) or
 * -ETIMEDOUT: not there. -EPROTO, -EPROTONOSUPPORT, -EUCLEAN, -EPERM, -ELOOP: there, but refused. Of the options only
 * flags are used. */
RING_PUBLIC int ring_segment_attach(struct ring_segment **segment, const char *name,
                                    const struct ring_segment_options *options, int64_t timeout_ns);

/* Creates or attaches, whoever comes first: any number of processes may call it at once, one creates. */
RING_PUBLIC int ring_segment_open(struct ring_segment **segment, const char *name,
                                  const struct ring_segment_options *options);

/* What was granted. -EINVAL: struct_size is 0 or unknown. */
RING_PUBLIC int ring_segment_info(const struct ring_segment *segment, struct ring_segment_info *info);

/* Gives the handle back and sets *segment to NULL; the memory is unmapped when the last endpoint opened through it is
 * closed too. The object keeps its name. *segment NULL (closed already): -EBADF, nothing happens. */
RING_PUBLIC int ring_segment_close(struct ring_segment **segment);

/* Takes the name away; the memory lives until the last one unmaps it. -ENOENT: no such name. -EPROTO: not ours, so it
 * is left alone. */
RING_PUBLIC int ring_segment_unlink(const char *name);

RING_END_C

#endif
