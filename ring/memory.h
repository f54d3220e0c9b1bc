/* memory.h - level 3, private: objects of shared memory, their mapping, and the truth about it.
 *
 * An object is a file (in /dev/shm, in a hugetlbfs, a memfd), a System V segment, anonymous memory, or memory that the
 * caller gave. A mapping lies between two guard pages, on a 2 MiB boundary (or that of its huge pages), is not
 * inherited by fork and not dumped (unless asked). Memory that was given is left as it is.
 */
#ifndef RING_MEMORY_H
#define RING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ring/platform.h>

#define RING_MEMORY_DIRECTORY "/dev/shm"
#define RING_MEMORY_HUGE      ((size_t)2 << 20)
#define RING_MEMORY_GIGANTIC  ((size_t)1 << 30)
#define RING_MEMORY_KEEP      ((uint32_t)-1) /* an owner or group that is left as it is */

enum ring_memory_kind { RING_MEMORY_FILE, RING_MEMORY_SYSTEM_V, RING_MEMORY_ANONYMOUS, RING_MEMORY_GIVEN };

struct ring_memory_object {
    enum ring_memory_kind kind;
    int fd;      /* FILE: the memory itself. Else: the file that carries its locks */
    int id;      /* SYSTEM_V: of shmget() */
    void *given; /* GIVEN */
    size_t page; /* size of its huge pages; 0: ordinary ones, which may be collapsed */
};

/* Who may do what with an object: always set, whatever the umask. */
struct ring_memory_rights {
    unsigned mode;
    uid_t owner; /* or RING_MEMORY_KEEP, as the next */
    gid_t group;
};

struct ring_memory_wish {
    bool huge;
    bool lock;
    bool strict; /* refuse what cannot be had, instead of noting it in huge_error and lock_error */
    bool dump;
    bool read_only; /* for an existing object whose descriptor may be one for reading only */
    int node;       /* for a new object: as numa.h has it */
    size_t reserve; /* bytes at the object's end that get memory later, piece by piece, and may lose it again */
};

struct ring_memory {
    unsigned char *address;
    size_t bytes;
    size_t backed; /* of these, from the first on: what is not the reserve */
    bool read_only;
    bool given;     /* not ours to unmap */
    size_t page;    /* of its huge pages, 0: ordinary ones */
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

/* ---- Making objects: memory_object.c. All return 0 or a negative errno. ---- */

/* A file without a name in a directory of a tmpfs, or of a hugetlbfs with pages of `page` bytes. */
RING_PRIVATE int ring_memory_file(struct ring_memory_object *object, const char *directory, size_t bytes, size_t page,
                                  const struct ring_memory_rights *rights);

/* A memfd that can be sealed. `label` is seen in /proc only. */
RING_PRIVATE int ring_memory_memfd(struct ring_memory_object *object, const char *label, size_t bytes, size_t page,
                                   const struct ring_memory_rights *rights);

/* Its size is final from now on; so are its seals. `write`: nobody will map it for writing any more. */
RING_PRIVATE int ring_memory_seal(int fd, bool write);

/* A System V segment of that key, which must be new; `rights` as above; `later`: a part of it gets memory later.
 * -EEXIST: the key is taken. */
RING_PRIVATE int ring_memory_system_v(struct ring_memory_object *object, int32_t key, size_t bytes, size_t page,
                                      bool later, const struct ring_memory_rights *rights);

/* Size of the pages of a file in a hugetlbfs, or 0. */
RING_PRIVATE size_t ring_memory_huge_of(int fd);

/* Where the hugetlbfs number `index` is mounted, and the size of its pages; false: there are no more. */
RING_PRIVATE bool ring_memory_hugetlbfs_at(unsigned index, char directory[256], size_t *page);

/* The sentence for: no such hugetlbfs (at `wanted`, if not NULL) is mounted. Returns -EOPNOTSUPP. */
RING_PRIVATE int ring_memory_no_hugetlbfs(size_t page, const char *wanted);

/* The sentence for: so many bytes of huge pages are not there. Returns -ENOMEM. */
RING_PRIVATE int ring_memory_no_huge(size_t bytes, size_t page);

/* Gives a nameless file its name, once it is complete. -EEXIST: the name is taken. */
RING_PRIVATE int ring_memory_publish(int fd, const char *path);

/* ---- Mapping ---- */

/* Maps an object of `bytes` (a multiple of its page). `create`: also places and reserves its pages. */
RING_PRIVATE int ring_memory_map(struct ring_memory *memory, const struct ring_memory_object *object, size_t bytes,
                                 const struct ring_memory_wish *wish, bool create);

RING_PRIVATE void ring_memory_unmap(struct ring_memory *memory);

/* Gives whole pages of the reserve, which are nobody's, back to the kernel, as far as it takes them. */
RING_PRIVATE void ring_memory_give_back(const struct ring_memory *memory, const struct ring_memory_object *object,
                                        uint64_t offset, uint64_t bytes);

/* What this process may do from now on to whole pages of a mapping: read them, or write them as well. -ENOMEM: the
 * mapping would fall into more pieces than a process may have. */
RING_PRIVATE int ring_memory_allow(void *address, size_t bytes, bool write);

RING_PRIVATE int ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts);

/* -ENOSPC: so many bytes more, in ordinary pages, are more than the control groups of this process allow it. */
RING_PRIVATE int ring_memory_check_room(size_t bytes);

/* Size of the machine's ordinary page. */
RING_PRIVATE size_t ring_memory_page(void);

#endif
