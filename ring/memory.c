/* memory.c - level 3: POSIX shared memory, 2 MiB pages by MADV_COLLAPSE, mlock, guard pages.
 *
 * Order matters: bind to a node before any page exists, reserve all pages (fallocate: a full tmpfs then answers ENOSPC
 * here instead of killing somebody with SIGBUS later), map them, collapse them to 2 MiB pages, lock them. Each step's
 * own answer is checked; MAP_POPULATE and MAP_LOCKED, which hide failures, are not used.
 */
#include <ring/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/error.h>
#include <ring/numa.h>

#ifndef MADV_COLLAPSE /* Linux 6.1; older headers lack it */
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

size_t ring_memory_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int ring_memory_object(size_t bytes, unsigned mode)
{
    int fd = open(RING_MEMORY_DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return ring_error(-errno,
                          "cannot make a file in " RING_MEMORY_DIRECTORY " (%s): is a tmpfs mounted there, and "
                          "writable for this user?",
                          strerror(errno));
    if (ftruncate(fd, (off_t)bytes) != 0 || fchmod(fd, (mode_t)mode) != 0) {
        int code = -errno;
        close(fd);
        return ring_error(code, "cannot give the new segment its size of %zu bytes and mode %04o (%s)", bytes, mode,
                          strerror(-code));
    }
    return fd;
}

/* Reserves address space and puts the object on a 2 MiB boundary in it, with a page without rights at both ends. */
static int place(struct ring_memory *memory, int fd)
{
    size_t page = ring_memory_page();
    size_t whole = memory->bytes + RING_MEMORY_HUGE + 2 * page;
    unsigned char *reserved = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return ring_error(-errno, "no address space for %zu bytes (%s): see 'ulimit -v'", whole, strerror(errno));
    uintptr_t first = (uintptr_t)reserved;
    uintptr_t start = (first + page + RING_MEMORY_HUGE - 1) & ~(uintptr_t)(RING_MEMORY_HUGE - 1);
    uintptr_t end = start + memory->bytes;
    int rights = memory->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    void *mapped = mmap((void *)start, memory->bytes, rights, MAP_SHARED | MAP_FIXED, fd, 0);
    if (mapped == MAP_FAILED) {
        int code = -errno;
        munmap(reserved, whole);
        return ring_error(code, "cannot map %zu bytes of shared memory (%s)", memory->bytes, strerror(-code));
    }
    if (start - page > first)
        munmap(reserved, start - page - first);
    if (first + whole > end + page)
        munmap((void *)(end + page), first + whole - end - page);
    memory->address = mapped;
    return 0;
}

/* Touches every page, so that no later access faults. */
static void prefault(const struct ring_memory *memory)
{
    int how = memory->read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    if (madvise(memory->address, memory->bytes, how) == 0 || errno != EINVAL)
        return;
    for (size_t at = 0; at < memory->bytes; at += ring_memory_page()) /* a kernel before 5.14 */
        (void)ring_atomic_load((RING_ATOMIC(unsigned char) *)(void *)(memory->address + at), memory_order_relaxed);
}

static int make_huge(struct ring_memory *memory, bool strict)
{
    size_t whole = memory->bytes & ~(RING_MEMORY_HUGE - 1);
    if (whole == 0 || whole != memory->bytes)
        memory->huge_error = -EINVAL;
    if (whole && madvise(memory->address, whole, MADV_COLLAPSE) != 0)
        memory->huge_error = -errno;
    if (!memory->huge_error || !strict)
        return 0;
    return ring_error(-EOPNOTSUPP,
                      "RING_STRICT: 2 MiB pages were refused for a segment of %zu bytes (%s): it takes a "
                      "multiple of 2 MiB, Linux 6.1 or newer, and free memory in pieces of 2 MiB",
                      memory->bytes, strerror(-memory->huge_error));
}

static int lock_in_memory(struct ring_memory *memory, bool strict)
{
    if (mlock(memory->address, memory->bytes) == 0)
        return 0;
    memory->lock_error = -errno;
    if (!strict)
        return 0;
    struct rlimit limit = { 0, 0 };
    getrlimit(RLIMIT_MEMLOCK, &limit);
    return ring_error(-ENOMEM,
                      "RING_STRICT: needs %zu KiB locked, RLIMIT_MEMLOCK is %llu KiB (%s): raise it with 'ulimit "
                      "-l', in /etc/security/limits.conf or by LimitMEMLOCK= of the service",
                      memory->bytes >> 10, (unsigned long long)limit.rlim_cur >> 10, strerror(-memory->lock_error));
}

/* Collapsing may be refused quietly for a part; RING_STRICT does not take it on trust. */
static int verify_huge(const struct ring_memory *memory)
{
    struct ring_memory_facts facts;
    int code = ring_memory_ask(memory, &facts);
    if (code)
        return code;
    if (facts.huge_bytes == memory->bytes)
        return 0;
    return ring_error(-EOPNOTSUPP, "RING_STRICT: only %llu of %zu bytes are mapped by 2 MiB pages",
                      (unsigned long long)facts.huge_bytes, memory->bytes);
}

/* Each page now, or ENOSPC now; a signal only interrupts it. */
static int reserve(int fd, size_t bytes)
{
    int result;
    do
        result = fallocate(fd, 0, 0, (off_t)bytes);
    while (result != 0 && errno == EINTR);
    return result;
}

static int populate(struct ring_memory *memory, int fd, const struct ring_memory_wish *wish, bool create)
{
    int code = 0;
    if (create && wish->node >= 0) {
        code = ring_numa_bind(memory->address, memory->bytes, wish->node);
        if (code && wish->strict)
            return code;
        memory->numa_error = code;
    }
    if (create && reserve(fd, memory->bytes) != 0)
        return ring_error(-errno,
                          "no room for %zu KiB in " RING_MEMORY_DIRECTORY " (%s): see 'df " RING_MEMORY_DIRECTORY
                          "' and 'ringctl ls'; ask for fewer bytes, remove segments, or enlarge the tmpfs",
                          memory->bytes >> 10, strerror(errno));
    if (madvise(memory->address, memory->bytes, MADV_DONTFORK) != 0)
        return ring_error(-errno, "the kernel refused MADV_DONTFORK (%s)", strerror(errno));
    if (!wish->dump)
        madvise(memory->address, memory->bytes, MADV_DONTDUMP); /* refused: a larger core file, nothing else */
    prefault(memory);
    if (wish->huge)
        code = make_huge(memory, wish->strict);
    else
        code = 0;
    if (!code && wish->lock)
        code = lock_in_memory(memory, wish->strict);
    if (!code && wish->huge) {
        prefault(memory); /* collapsing may have unmapped what it moved */
        code = wish->strict ? verify_huge(memory) : 0;
    }
    return code;
}

int ring_memory_map(struct ring_memory *memory, int fd, size_t bytes, const struct ring_memory_wish *wish, bool create)
{
    *memory = (struct ring_memory){ .bytes = bytes, .read_only = wish->read_only };
    int code = place(memory, fd);
    if (code)
        return code;
    code = populate(memory, fd, wish, create);
    if (code)
        ring_memory_unmap(memory);
    return code;
}

void ring_memory_unmap(struct ring_memory *memory)
{
    size_t page = ring_memory_page();
    if (memory->address)
        munmap(memory->address - page, memory->bytes + 2 * page);
    memory->address = NULL;
}

int ring_memory_publish(int fd, const char *path)
{
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno == ENOENT && linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) /* no /proc: needs a capability */
        return 0;
    if (errno == EEXIST)
        return ring_error(-EEXIST, "%s exists already: attach to it, or remove it with 'ringctl rm'", path);
    return ring_error(-errno, "cannot give the new segment its name %s (%s): is /proc mounted?", path, strerror(errno));
}

/* Adds what one line of smaps says about a mapping that lies in ours. */
static void read_fact(const char *line, struct ring_memory_facts *facts, uint64_t *resident)
{
    unsigned long long kib = 0;
    if (sscanf(line, "Rss: %llu kB", &kib) == 1) {
        *resident = (uint64_t)kib << 10;
        facts->resident_bytes += *resident;
    } else if (sscanf(line, "ShmemPmdMapped: %llu kB", &kib) == 1 ||
               sscanf(line, "FilePmdMapped: %llu kB", &kib) == 1) {
        facts->huge_bytes += (uint64_t)kib << 10;
    } else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " lo")) {
        /* The line "Locked:" is divided by the number of processes that map the page; the flag is not. */
        facts->locked_bytes += *resident;
    }
}

int ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts)
{
    *facts = (struct ring_memory_facts){ .page_bytes = ring_memory_page() };
    FILE *smaps = fopen("/proc/self/smaps", "re");
    if (!smaps)
        return ring_error(-errno, "cannot read /proc/self/smaps (%s): is /proc mounted?", strerror(errno));
    char line[512];
    bool ours = false;
    uint64_t resident = 0;
    uintptr_t first = (uintptr_t)memory->address;
    while (fgets(line, sizeof line, smaps)) {
        unsigned long from = 0;
        unsigned long to = 0;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            ours = from >= first && to <= first + memory->bytes;
            resident = 0;
        } else if (ours) {
            read_fact(line, facts, &resident);
        }
    }
    fclose(smaps);
    if (facts->huge_bytes == memory->bytes)
        facts->page_bytes = RING_MEMORY_HUGE;
    facts->node = ring_numa_node_of(memory->address, memory->bytes);
    return 0;
}
