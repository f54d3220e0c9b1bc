/* memory.c - level 3: mapping: 2 MiB pages by MADV_COLLAPSE, hugetlb pages, mlock, guard pages.
 *
 * Order matters: bind to a node before any page exists, reserve all pages (fallocate: a full tmpfs then answers ENOSPC
 * here instead of killing somebody with SIGBUS later), map them, collapse them to 2 MiB pages, lock them. Each step's
 * own answer is checked; MAP_POPULATE and MAP_LOCKED, which hide failures, are not used. Hugetlb pages are reserved by
 * mmap() or shmget() itself and never swapped; fallocate() would place them without regard to the node, so they are
 * touched instead.
 */
#include <ring/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <unistd.h>

#include <ring/error.h>
#include <ring/numa.h>

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

size_t ring_memory_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Maps the object over what was reserved for it, without rights yet: where the process locks all of its future
 * (mlockall), a mapping with rights is filled at once, before it has its node, and with its reserve. System V memory is
 * never without. MAP_FAILED, which is also what shmat() answers, with errno. */
static void *map_at(const struct ring_memory *memory, const struct ring_memory_object *object, void *start)
{
    int huge = object->page ? MAP_HUGETLB | __builtin_ctzl(object->page) << MAP_HUGE_SHIFT : 0;
    int later = memory->backed < memory->bytes ? MAP_NORESERVE : 0; /* huge pages set aside are promised to others */
    switch (object->kind) {
    case RING_MEMORY_SYSTEM_V:
        return shmat(object->id, start, SHM_REMAP | (memory->read_only ? SHM_RDONLY : 0));
    case RING_MEMORY_ANONYMOUS:
        return mmap(start, memory->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | huge | later, -1, 0);
    case RING_MEMORY_FILE:
    case RING_MEMORY_GIVEN: /* never mapped */
        break;
    }
    return mmap(start, memory->bytes, PROT_NONE, MAP_SHARED | MAP_FIXED | later, object->fd, 0);
}

/* Reserves address space and puts the object on a 2 MiB boundary in it, or one of its own larger pages, with a page
 * without rights at both ends. */
static int place(struct ring_memory *memory, const struct ring_memory_object *object)
{
    size_t page = ring_memory_page();
    size_t boundary = object->page > RING_MEMORY_HUGE ? object->page : RING_MEMORY_HUGE;
    size_t whole = memory->bytes + boundary + 2 * page;
    unsigned char *reserved = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED && errno == EAGAIN)
        return ring_error(-EAGAIN,
                          "%zu bytes of address space are more than may be locked, and this process locks all that it "
                          "maps (mlockall): see 'ulimit -l'",
                          whole);
    if (reserved == MAP_FAILED)
        return ring_error(-errno, "no address space for %zu bytes (%s): see 'ulimit -v'", whole, strerror(errno));
    uintptr_t first = (uintptr_t)reserved;
    uintptr_t start = (first + page + boundary - 1) & ~(uintptr_t)(boundary - 1);
    uintptr_t end = start + memory->bytes;
    void *mapped = map_at(memory, object, (void *)start);
    if (mapped == MAP_FAILED) {
        int code = -errno;
        munmap(reserved, whole);
        if (code == -ENOMEM && object->page)
            return ring_memory_no_huge(memory->bytes, object->page);
        if (object->kind == RING_MEMORY_SYSTEM_V && (code == -EINVAL || code == -EIDRM))
            return ring_error(-ENOENT, "System V segment %d is gone: its last holder has just left", object->id);
        return ring_error(code, "cannot map %zu bytes of shared memory (%s)", memory->bytes, strerror(-code));
    }
    if (start - page > first)
        munmap(reserved, start - page - first);
    if (first + whole > end + page)
        munmap((void *)(end + page), first + whole - end - page);
    memory->address = mapped;
    return 0;
}

/* Gives the mapping its rights. What is to be locked later is not locked yet. */
static int open_up(const struct ring_memory *memory, const struct ring_memory_object *object, bool create)
{
    size_t reserve = memory->bytes - memory->backed;
    if (reserve && create && object->kind == RING_MEMORY_SYSTEM_V)
        ring_memory_give_back(memory, object, memory->backed, reserve);
    else if (reserve)
        munlock(memory->address + memory->backed, reserve);
    if (mprotect(memory->address, memory->bytes, memory->read_only ? PROT_READ : PROT_READ | PROT_WRITE) == 0)
        return 0;
    return ring_error(-errno, "the kernel refused the right to use %zu bytes of shared memory (%s)", memory->bytes,
                      strerror(errno));
}

/* Touches every page, so that no later access faults. What cannot be had is an error here, and no signal. */
static int prefault(const struct ring_memory *memory)
{
    int how = memory->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    if (madvise(memory->address, memory->backed, how) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    if (memory->backed < memory->bytes)
        return ring_error(-EOPNOTSUPP,
                          "memory in reserve takes Linux 5.14: before, a lack of memory is told by a signal");
    for (size_t at = 0; at < memory->backed; at += ring_memory_page()) /* a kernel before 5.14 */
        (void)ring_atomic_load((RING_ATOMIC(unsigned char) *)(void *)(memory->address + at), memory_order_relaxed);
    return 0;
}

static int make_huge(struct ring_memory *memory, bool strict)
{
    size_t whole = memory->backed & ~(RING_MEMORY_HUGE - 1);
    if (whole == 0 || whole != memory->backed)
        memory->huge_error = -EINVAL;
    if (whole && madvise(memory->address, whole, MADV_COLLAPSE) != 0)
        memory->huge_error = -errno;
    if (!memory->huge_error || !strict)
        return 0;
    return ring_error(-EOPNOTSUPP,
                      "RING_STRICT: 2 MiB pages were refused for a segment of %zu bytes (%s): it takes a "
                      "multiple of 2 MiB, Linux 6.1 or newer, and free memory in pieces of 2 MiB: see 'ringctl doctor'",
                      memory->backed, strerror(-memory->huge_error));
}

static int lock_in_memory(struct ring_memory *memory, bool strict)
{
    if (mlock(memory->address, memory->backed) == 0)
        return 0;
    memory->lock_error = -errno;
    if (!strict)
        return 0;
    struct rlimit limit = { 0, 0 };
    getrlimit(RLIMIT_MEMLOCK, &limit);
    return ring_error(-ENOMEM,
                      "RING_STRICT: needs %zu KiB locked, RLIMIT_MEMLOCK is %llu KiB (%s): raise it with 'ulimit "
                      "-l', in /etc/security/limits.conf or by LimitMEMLOCK= of the service",
                      memory->backed >> 10, (unsigned long long)limit.rlim_cur >> 10, strerror(-memory->lock_error));
}

/* Collapsing may be refused quietly for a part; RING_STRICT does not take it on trust. */
static int verify_huge(const struct ring_memory *memory)
{
    struct ring_memory_facts facts;
    int code = ring_memory_ask(memory, &facts);
    if (code)
        return code;
    if (facts.huge_bytes >= memory->backed)
        return 0;
    return ring_error(-EOPNOTSUPP, "RING_STRICT: only %llu of %zu bytes are mapped by 2 MiB pages",
                      (unsigned long long)facts.huge_bytes, memory->backed);
}

static struct ring_numa_range range_of(const struct ring_memory *memory, size_t bytes,
                                       const struct ring_memory_wish *wish)
{
    size_t granule = memory->page ? memory->page : wish->huge ? RING_MEMORY_HUGE : ring_memory_page();
    return (
        struct ring_numa_range){ .address = memory->address, .bytes = bytes, .granule = granule, .huge = memory->page };
}

/* Nor is a node: joined pages may lie elsewhere, or those that were there before the binding. */
static int verify_node(struct ring_memory *memory, const struct ring_memory_wish *wish)
{
    struct ring_numa_range there = range_of(memory, memory->backed, wish);
    if (memory->numa_error || ring_numa_is_placed(&there, wish->node))
        return 0;
    memory->numa_error = -EXDEV;
    if (!wish->strict)
        return 0;
    return ring_error(-EXDEV,
                      "RING_STRICT: not all of %zu KiB lies on the node that was asked for: see 'numactl --hardware'",
                      memory->backed >> 10);
}

/* Each page now, or ENOSPC now. On older kernels (6.1) a signal interrupts it, and what the call had reserved is given
 * back: so it is asked for in smaller and smaller pieces, or a timer that is quicker than the whole would keep it from
 * ever ending. */
static int reserve(int fd, size_t bytes)
{
    size_t piece = bytes;
    size_t at = 0;
    while (at < bytes) {
        size_t now = piece < bytes - at ? piece : bytes - at;
        if (fallocate(fd, 0, (off_t)at, (off_t)now) == 0)
            at += now;
        else if (errno != EINTR)
            return -1;
        else if (piece > ring_memory_page())
            piece /= 2;
    }
    return 0;
}

/* Places and reserves the pages of a new object. */
static int settle(struct ring_memory *memory, const struct ring_memory_object *object,
                  const struct ring_memory_wish *wish)
{
    int code = object->page ? 0 : ring_memory_check_room(memory->backed);
    if (code)
        return code;
    if (wish->node != RING_NUMA_ANY) {
        struct ring_numa_range whole = range_of(memory, memory->bytes, wish);
        code = ring_numa_bind(&whole, wish->node);
        if (code && wish->strict)
            return code;
        memory->numa_error = code;
    }
    if (object->kind == RING_MEMORY_FILE && !object->page && reserve(object->fd, memory->backed) != 0)
        return ring_error(-errno,
                          "no room for %zu KiB in " RING_MEMORY_DIRECTORY " (%s): see 'df " RING_MEMORY_DIRECTORY
                          "' and 'ringctl ls'; ask for fewer bytes, remove segments, or enlarge the tmpfs",
                          memory->backed >> 10, strerror(errno));
    return 0;
}

static int populate(struct ring_memory *memory, const struct ring_memory_object *object,
                    const struct ring_memory_wish *wish, bool create)
{
    int code = create ? settle(memory, object, wish) : 0;
    if (!code)
        code = open_up(memory, object, create);
    if (code)
        return code;
    if (madvise(memory->address, memory->bytes, MADV_DONTFORK) != 0)
        return ring_error(-errno, "the kernel refused MADV_DONTFORK (%s)", strerror(errno));
    if (!wish->dump)
        madvise(memory->address, memory->bytes, MADV_DONTDUMP); /* refused: a larger core file, nothing else */
    code = prefault(memory);
    if (code == -EOPNOTSUPP)
        return code;
    if (object->page) /* huge by nature, and never swapped */
        return code ? ring_memory_no_huge(memory->backed, object->page) : create ? verify_node(memory, wish) : 0;
    if (code && create && object->kind != RING_MEMORY_FILE)
        return ring_error(code, "no memory for %zu KiB (%s)", memory->backed >> 10, strerror(-code));
    if (code && !create)
        return ring_error(-ENOSPC,
                          "not all of the segment's %zu KiB is in memory, and what is missing cannot be had (%s): it "
                          "was copied with holes, or shrunk, and there is no room: see 'df " RING_MEMORY_DIRECTORY "'",
                          memory->backed >> 10, strerror(-code));
    code = wish->huge ? make_huge(memory, wish->strict) : 0;
    if (!code && wish->lock)
        code = lock_in_memory(memory, wish->strict);
    if (!code && wish->huge) {
        (void)prefault(memory); /* collapsing may have unmapped what it moved */
        code = wish->strict ? verify_huge(memory) : 0;
    }
    return code || !create ? code : verify_node(memory, wish);
}

/* What was given is changed in nothing: it is as was wished, or it is not. */
static int judge_given(struct ring_memory *memory, const struct ring_memory_wish *wish)
{
    struct ring_memory_facts facts;
    struct ring_numa_range whole = range_of(memory, memory->bytes, wish);
    int code = ring_memory_ask(memory, &facts);
    if (code)
        return code;
    memory->huge_error = wish->huge && facts.huge_bytes < memory->bytes ? -EOPNOTSUPP : 0;
    memory->lock_error = wish->lock && facts.locked_bytes < memory->bytes ? -EOPNOTSUPP : 0;
    memory->numa_error = ring_numa_is_placed(&whole, wish->node) ? 0 : -EOPNOTSUPP;
    if (!wish->strict || !(memory->huge_error || memory->lock_error || memory->numa_error))
        return 0;
    return ring_error(-EOPNOTSUPP,
                      "RING_STRICT: the memory that was given is not %s, and is left as it is: see to it before",
                      memory->huge_error   ? "in huge pages"
                      : memory->lock_error ? "locked"
                                           : "on that node, or not on all in turn");
}

int ring_memory_map(struct ring_memory *memory, const struct ring_memory_object *object, size_t bytes,
                    const struct ring_memory_wish *wish, bool create)
{
    *memory = (struct ring_memory){
        .bytes = bytes, .backed = bytes - wish->reserve, .read_only = wish->read_only, .page = object->page
    };
    if (object->kind == RING_MEMORY_GIVEN) {
        memory->given = true;
        memory->address = object->given;
        return judge_given(memory, wish);
    }
    int code = place(memory, object);
    if (code)
        return code;
    code = populate(memory, object, wish, create);
    if (code)
        ring_memory_unmap(memory);
    return code;
}

void ring_memory_unmap(struct ring_memory *memory)
{
    size_t page = ring_memory_page();
    if (memory->address && !memory->given)
        munmap(memory->address - page, memory->bytes + 2 * page);
    memory->address = NULL;
}

void ring_memory_give_back(const struct ring_memory *memory, const struct ring_memory_object *object, uint64_t offset,
                           uint64_t bytes)
{
    unsigned char *address = memory->address + offset;
    munlock(address, bytes); /* what is locked is not given back */
    (void)madvise(address, bytes, object->kind == RING_MEMORY_ANONYMOUS ? MADV_DONTNEED : MADV_REMOVE);
}

int ring_memory_allow(void *address, size_t bytes, bool write)
{
    if (mprotect(address, bytes, write ? PROT_READ | PROT_WRITE : PROT_READ) == 0)
        return 0;
    return ring_error(
        -errno,
        "the kernel refused to make %zu bytes %s (%s): each piece of memory with rights of its own counts "
        "against vm.max_map_count, see sysctl(8)",
        bytes, write ? "writable" : "read-only", strerror(errno));
}
