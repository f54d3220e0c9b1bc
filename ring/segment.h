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
    RING_RECLAIM = 64,   /* a segment that nobody living holds is removed and counts as not there: create makes it
                            anew, attach waits for it. Without it, and with removal by hand, such a one stays */
    RING_SEAL_WRITES =
        128, /* create, memfd: nobody but this process will ever map it for writing; all others observe */
};

/* What the memory is, and so who can find it and what it can be; docs/memory.md compares them. */
enum ring_backing {
    RING_BACKING_ANY = 0,       /* create: POSIX. attach: whichever has the name */
    RING_BACKING_POSIX = 1,     /* a file in /dev/shm */
    RING_BACKING_HUGETLBFS = 2, /* a file in a hugetlbfs: huge pages that root set aside */
    RING_BACKING_SYSTEM_V = 3,  /* shmget(); a small file in /dev/shm has the name */
    RING_BACKING_MEMFD = 4,     /* a sealed file without a name, handed over by handover.h: for peers not trusted */
    RING_BACKING_PRIVATE = 5,   /* for the threads of this process; without a name */
    RING_BACKING_GIVEN = 6,     /* the caller's own memory, for the threads of this process; without a name */
};

/* When a segment's name goes away. The memory itself always lives until the last one has unmapped it. If whoever should
 * take the name away dies, it goes as soon as somebody asks for that name and nobody living holds the segment. */
enum ring_removal {
    RING_REMOVE_BY_HAND = 0,      /* ring_segment_unlink() or 'ringctl rm' */
    RING_REMOVE_WITH_CREATOR = 1, /* when the handle that created it is closed */
    RING_REMOVE_WITH_LAST = 2,    /* when the last handle attached for writing is gone, with its endpoints */
};

#define RING_ID_KEEP ((uid_t)-1) /* owner or group of a new segment: of the process, as for any new file */

#define RING_SEGMENT_DEFAULT_BYTES                                                                                     \
    ((size_t)6 << 20) /* two default rings, and under the usual RLIMIT_MEMLOCK of 8 MiB */
#define RING_SEGMENT_MIN_BYTES     ((size_t)32 << 10)
#define RING_SEGMENT_MAX_BYTES     ((size_t)1 << 42)
#define RING_SEGMENT_DEFAULT_RINGS 64
#define RING_SEGMENT_MAX_RINGS     65536
#define RING_SEGMENT_NAME_MAX      200 /* bytes, without a leading slash */

/* How to create or attach. Start from ring_segment_defaults() and change what you need. */
struct ring_segment_options {
    size_t struct_size; /* sizeof this struct: lets it grow */
    size_t bytes;       /* create: RING_SEGMENT_MIN_BYTES .. MAX_BYTES: what the rings in it take (ring_spsc_footprint()
                           and its like), and RING_SEGMENT_MIN_BYTES for all else with up to 224 places for rings */
    unsigned flags;     /* enum ring_segment_flags; default RING_HUGE | RING_LOCK */
    unsigned mode;      /* create: permission bits, set whatever the umask; default 0600 */
    int numa_node;      /* create: node for the pages, RING_NODE_HERE, RING_NODE_INTERLEAVED or RING_NODE_ANY */
    unsigned rings;     /* create: places in the directory, 1 .. RING_SEGMENT_MAX_RINGS */
    /* What came later; who gives the size of what is above gets the defaults, which are all 0 or NULL but for the ids.
     */
    unsigned backing;  /* enum ring_backing */
    unsigned removal;  /* create: enum ring_removal. Backings without a name take BY_HAND only, and end by themselves */
    size_t page_bytes; /* create: huge pages of this size or an error; 2 MiB or 1 GiB. hugetlbfs (0: 2 MiB), memfd,
                          System V, private. 0: ordinary pages, or those that RING_HUGE makes of them */
    const char *path;  /* hugetlbfs: where it is mounted (NULL: found). System V: a file whose ftok() is the key */
    int32_t key;       /* System V: the key. 0: that of path; without a path a random one, kept in the small file */
    uid_t owner;       /* create: its owner, or RING_ID_KEEP */
    gid_t group;       /* create: its group, or RING_ID_KEEP */
    void *memory;   /* create, given: `bytes` at a multiple of the page, which stay the caller's: he frees them, after
                       the segment and all its endpoints are closed */
    size_t reserve; /* create: room for so many bytes more, which takes no memory until a ring is put there; in
                       particular one that grows. What a removed ring had there goes back to the system. Not given */
};

RING_INLINE struct ring_segment_options ring_segment_defaults(void)
{
    struct ring_segment_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.bytes = RING_SEGMENT_DEFAULT_BYTES;
    options.flags = RING_HUGE | RING_LOCK;
    options.mode = 0600;
    options.numa_node = RING_NODE_ANY;
    options.rings = RING_SEGMENT_DEFAULT_RINGS;
    options.owner = RING_ID_KEEP;
    options.group = RING_ID_KEEP;
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
    /* What came later. */
    unsigned backing;              /* enum ring_backing */
    unsigned removal;              /* enum ring_removal */
    unsigned seals;                /* memfd: its seals, as F_GET_SEALS of fcntl(2) tells them */
    bool held;                     /* somebody living has it attached for writing (so has this handle, if it may) */
    gid_t group;                   /* the file's */
    int system_v_id;               /* System V: as shmctl(2) has it; -1 of other backings */
    int32_t system_v_key;          /* System V, as all below */
    uint64_t system_v_attached;    /* mappings of it, observers' included */
    pid_t system_v_last_pid;       /* who attached or detached last */
    uint64_t system_v_attached_ns; /* when somebody last attached, CLOCK_REALTIME, whole seconds; 0: never */
    uint64_t system_v_detached_ns;
    char path[288];         /* of the file that has the name; "" without one */
    uint64_t reserve_bytes; /* of `bytes`: in memory only where rings lie */
};

/* A name is "feed" or "/feed": 1 to RING_SEGMENT_NAME_MAX bytes, no other slash, no control character, not "." or "..".
 * Backings without a name (memfd, private, given) may have NULL: the name is a label for people. A System V segment
 * with a key or path may have NULL: then its name is "sysv-" and the key in 8 hexadecimal digits. options may be NULL:
 * all defaults. On failure *segment is NULL. Every call may fail with -EINVAL (NULL, a value out of range),
 * -ENAMETOOLONG, -EMFILE, -ENFILE, -ENOMEM, -EACCES; RING_STRICT adds -ENOMEM (not lockable), -EOPNOTSUPP (no huge pages, no such node) and
 * -EXDEV (not on that node), and so does any backing for what it cannot give (no hugetlbfs mounted). */
struct ring_segment;

/* Makes a new segment; it gets its name only when complete. -EEXIST: the name is taken; the sentence tells by whom it
 * was made, and whether anybody living holds it. -ENOSPC: /dev/shm is full. -ENOMEM: not enough huge pages. -EFBIG:
 * larger than RLIMIT_FSIZE. */
RING_PUBLIC int ring_segment_create(struct ring_segment **segment, const char *name,
                                    const struct ring_segment_options *options);

/* Maps an existing one, after validating it; waits up to timeout_ns for it to appear. -ENOENT (RING_NO_WAIT) or
 * -ETIMEDOUT: not there. -EPROTO, -EPROTONOSUPPORT, -EUCLEAN, -EPERM, -ELOOP: there, but refused. -ENOSPC: not all of it
 * is in memory, and the rest cannot be had. Of the options flags, backing, path and key are used. */
RING_PUBLIC int ring_segment_attach(struct ring_segment **segment, const char *name,
                                    const struct ring_segment_options *options, int64_t timeout_ns);

/* The same by a descriptor of a sealed memfd, which the caller keeps. -EPERM: it lacks seals, so whoever has it could
 * shrink it under us; or it is sealed against writing, and RING_READ_ONLY was not given; or it is of another user. */
RING_PUBLIC int ring_segment_attach_fd(struct ring_segment **segment, int fd,
                                       const struct ring_segment_options *options);

/* Creates or attaches, whoever comes first: any number of processes may call it at once, one creates. */
RING_PUBLIC int ring_segment_open(struct ring_segment **segment, const char *name,
                                  const struct ring_segment_options *options);

/* What was granted. -EINVAL: struct_size is 0 or unknown. */
RING_PUBLIC int ring_segment_info(const struct ring_segment *segment, struct ring_segment_info *info);

/* Does the segment's name still lead to it? 1: yes, or it never had one; 0: to another one: somebody made it anew;
 * -ENOENT: to nothing. Else -errno. */
RING_PUBLIC int ring_segment_is_current(const struct ring_segment *segment);

/* Gives the handle back and sets *segment to NULL; the memory is unmapped when the last endpoint opened through it is
 * closed too. The object keeps its name. *segment NULL (closed already): -EBADF, nothing happens. */
RING_PUBLIC int ring_segment_close(struct ring_segment **segment);

/* Takes the name away; the memory lives until the last one unmaps it. -ENOENT: no such name. -EPROTO: not ours, so it
 * is left alone. */
RING_PUBLIC int ring_segment_unlink(const char *name);

/* One segment of this machine: what ring_segment_each() finds. */
struct ring_segment_found {
    char name[256];   /* without slash; "" for a System V segment whose file is gone */
    unsigned backing; /* enum ring_backing */
    int system_v_id;  /* -1 of other backings */
};

typedef void ring_segment_visitor(void *context, const struct ring_segment_found *found);

/* Shows every segment that has a name and may be read: in /dev/shm, in each hugetlbfs, and System V segments. Nothing
 * is attached. What comes and goes meanwhile is seen or not. -EACCES, -ENOENT: /dev/shm cannot be read. */
RING_PUBLIC int ring_segment_each(ring_segment_visitor *visit, void *context);

RING_END_C

#endif
