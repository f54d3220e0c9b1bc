/* numa_huge.c - level 2: which parts of a mapping are mapped by pages larger than the ordinary ones, and on which node
 * those are. The kernel tells page by page since Linux 6.7 (PAGEMAP_SCAN); before, only for a mapping as a whole. */
#include <ring/numa.h>

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As <linux/fs.h> of Linux 6.7 has them; older headers lack them. */
struct page_region_of_kernel {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct page_scan_of_kernel {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t regions;
    uint64_t region_count;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};

#define SCAN_PAGES   _IOWR('f', 16, struct page_scan_of_kernel)
#define PAGE_IS_HUGE (UINT64_C(1) << 6)

static void add_region(const struct page_region_of_kernel *region, uint64_t on_node[RING_NUMA_MOST])
{
    struct ring_numa_census census;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    ring_numa_count((const void *)(uintptr_t)region->start, (size_t)(region->end - region->start), &census);
    for (int node = 0; node < RING_NUMA_MOST; node++)
        on_node[node] += census.on_node[node] * page;
}

bool ring_numa_count_huge(const void *address, size_t bytes, uint64_t on_node[RING_NUMA_MOST])
{
    enum { AT_ONCE = 64 };
    struct page_region_of_kernel regions[AT_ONCE];
    struct page_scan_of_kernel scan = { .size = sizeof scan,
                                        .start = (uintptr_t)address,
                                        .end = (uintptr_t)address + bytes,
                                        .regions = (uintptr_t)regions,
                                        .region_count = AT_ONCE,
                                        .category_mask = PAGE_IS_HUGE,
                                        .return_mask = PAGE_IS_HUGE };
    memset(on_node, 0, RING_NUMA_MOST * sizeof *on_node);
    int fd = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    int count = 0;
    while (scan.start < scan.end && (count = ioctl(fd, SCAN_PAGES, &scan)) >= 0) {
        for (int i = 0; i < count; i++)
            add_region(&regions[i], on_node);
        if (scan.walk_end <= scan.start)
            break;
        scan.start = scan.walk_end;
    }
    close(fd);
    return count >= 0;
}
