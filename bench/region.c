/* region.c - shared memory by mmap, with 2 MiB pages by MADV_COLLAPSE, which needs no setting of the system. */
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "region.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define REGION_HUGE_PAGE ((size_t)2 << 20)

static void region_populate(void *region, size_t bytes)
{
    if (madvise(region, bytes, MADV_POPULATE_WRITE) == 0)
        return;
    volatile unsigned char *byte = region; /* before Linux 5.14 */
    for (size_t at = 0; at < bytes; at += 4096)
        byte[at] = byte[at];
}

void *region_map(size_t *bytes, bool huge)
{
    size_t page = huge ? REGION_HUGE_PAGE : (size_t)sysconf(_SC_PAGESIZE);
    size_t rounded = (*bytes + page - 1) / page * page, slack = huge ? REGION_HUGE_PAGE : 0;
    unsigned char *wide = mmap(NULL, rounded + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (wide == MAP_FAILED)
        return NULL;
    unsigned char *region = wide + (huge ? (page - (uintptr_t)wide % page) % page : 0);
    size_t before = (size_t)(region - wide);
    if (before)
        munmap(wide, before);
    if (slack - before)
        munmap(region + rounded, slack - before);
    if (mmap(region, rounded, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        munmap(region, rounded);
        return NULL;
    }
    region_touch(region, rounded, huge);
    *bytes = rounded;
    return region;
}

void region_touch(void *region, size_t bytes, bool huge)
{
    region_populate(region, bytes);
    if (huge)
        (void)madvise(region, bytes, MADV_COLLAPSE); /* refused: it stays on small pages */
}

void region_unmap(void *region, size_t bytes)
{
    if (region)
        munmap(region, bytes);
}
