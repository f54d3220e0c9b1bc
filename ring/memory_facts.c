/* memory_facts.c - level 3: what the kernel says about a mapping, from /proc/thread-self/smaps. */
#include <ring/memory.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ring/error.h>
#include <ring/numa.h>

/* What smaps says about one mapping. */
struct area {
    uint64_t from;
    uint64_t to;
    uint64_t page;
    uint64_t resident;
    uint64_t huge;
    bool locked;
};

/* One line of an area's description. Hugetlb pages are not counted in Rss, and never swapped. */
static void read_fact(const char *line, struct area *area)
{
    unsigned long long kib = 0;
    if (sscanf(line, "Rss: %llu kB", &kib) == 1) {
        area->resident += (uint64_t)kib << 10;
    } else if (sscanf(line, "ShmemPmdMapped: %llu kB", &kib) == 1 ||
               sscanf(line, "FilePmdMapped: %llu kB", &kib) == 1 || sscanf(line, "AnonHugePages: %llu kB", &kib) == 1) {
        area->huge += (uint64_t)kib << 10;
    } else if (sscanf(line, "Shared_Hugetlb: %llu kB", &kib) == 1 ||
               sscanf(line, "Private_Hugetlb: %llu kB", &kib) == 1) {
        area->huge += (uint64_t)kib << 10;
        area->resident += (uint64_t)kib << 10;
    } else if (sscanf(line, "KernelPageSize: %llu kB", &kib) == 1) {
        area->page = (uint64_t)kib << 10;
    } else if (strncmp(line, "VmFlags:", 8) == 0) {
        /* The line "Locked:" is divided by the number of processes that map the page; the flag is not. */
        area->locked = strstr(line, " lo") || strstr(line, " ht");
    }
}

/* An area counts as far as it lies in the mapping: memory that was given may be a part of a larger one. */
static void add_area(const struct ring_memory *memory, const struct area *area, struct ring_memory_facts *facts)
{
    uint64_t first = (uintptr_t)memory->address;
    uint64_t last = first + memory->bytes;
    uint64_t from = area->from > first ? area->from : first;
    uint64_t to = area->to < last ? area->to : last;
    if (from >= to)
        return;
    uint64_t shared = to - from;
    bool all = area->from >= first && area->to <= last;
    uint64_t outside = area->to - area->from - shared; /* what of a part cannot be told is taken to lie outside */
    uint64_t resident = all ? area->resident : area->resident > outside ? area->resident - outside : 0;
    uint64_t huge = all ? area->huge : area->huge > outside ? area->huge - outside : 0;
    facts->resident_bytes += resident;
    facts->huge_bytes += huge;
    facts->locked_bytes += area->locked ? resident : 0;
    if (area->page > facts->page_bytes)
        facts->page_bytes = area->page;
}

int ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts)
{
    *facts = (struct ring_memory_facts){ .page_bytes = ring_memory_page() };
    FILE *smaps = fopen("/proc/thread-self/smaps", "re");
    if (!smaps)
        return ring_error(-errno, "cannot read /proc/thread-self/smaps (%s): is /proc mounted?", strerror(errno));
    char line[512];
    struct area area = { 0 };
    while (fgets(line, sizeof line, smaps)) {
        unsigned long from = 0;
        unsigned long to = 0;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            add_area(memory, &area, facts);
            area = (struct area){ .from = from, .to = to };
        } else {
            read_fact(line, &area);
        }
    }
    add_area(memory, &area, facts);
    fclose(smaps);
    uint64_t there = memory->backed < memory->bytes ? facts->resident_bytes : memory->bytes;
    if (facts->huge_bytes == there && facts->page_bytes < RING_MEMORY_HUGE)
        facts->page_bytes = RING_MEMORY_HUGE;
    facts->node = ring_numa_node_of(memory->address, memory->backed);
    return 0;
}
