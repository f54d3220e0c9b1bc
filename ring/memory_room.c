/* memory_room.c - level 3: what the control groups of this process let it have.
 *
 * Beyond a group's limit memory is not refused: the kernel ends a process of the group (SIGKILL). So what cannot fit is
 * refused before it is asked for, and only that: all that the kernel may take from others counts as room, and so does
 * all swap. Groups are looked for under /sys/fs/cgroup, in both versions, from the process's own up to the highest one
 * that is shown here. That others of the group take the room meanwhile is not seen. */
#include <ring/memory.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ring/error.h>

#define NONE     UINT64_MAX
#define NO_LIMIT (UINT64_C(1) << 62) /* version 1 shows the largest number of whole pages instead of none */

enum { PATH = 512 };

/* Where a version of control groups has what. */
struct version {
    const char *root;
    const char *limit;
    const char *used;
    const char *given_back[4]; /* of memory.stat: what the kernel can have again */
};

static const struct version versions[] = {
    { "/sys/fs/cgroup", "memory.max", "memory.current", { "inactive_file", "active_file", "slab_reclaimable" } },
    { "/sys/fs/cgroup/memory",
      "memory.limit_in_bytes",
      "memory.usage_in_bytes",
      { "total_inactive_file", "total_active_file" } },
};

static FILE *open_in(const char *folder, const char *name)
{
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "re");
}

/* NONE: there is no such file, or no number in it. */
static uint64_t number_in(const char *folder, const char *name)
{
    unsigned long long number;
    FILE *file = open_in(folder, name);
    if (!file)
        return NONE;
    if (fscanf(file, "%llu", &number) != 1)
        number = NONE;
    fclose(file);
    return number;
}

static uint64_t sum_in(const char *folder, const char *name, const char *const *wanted)
{
    char line[128], word[64];
    uint64_t sum = 0;
    FILE *file = open_in(folder, name);
    while (file && fgets(line, sizeof line, file)) {
        unsigned long long number;
        if (sscanf(line, "%63[^: ]%*[: ]%llu", word, &number) != 2)
            continue;
        for (unsigned i = 0; wanted[i]; i++)
            sum += strcmp(word, wanted[i]) == 0 ? number : 0;
    }
    if (file)
        fclose(file);
    return sum;
}

static uint64_t room_in(const char *folder, const struct version *version)
{
    uint64_t limit = number_in(folder, version->limit);
    if (limit >= NO_LIMIT)
        return NONE;
    uint64_t used = number_in(folder, version->used);
    uint64_t kernel = number_in(folder, "memory.kmem.usage_in_bytes"); /* in doubt all of it can be given back */
    uint64_t room = limit + sum_in(folder, "memory.stat", version->given_back) + (kernel == NONE ? 0 : kernel);
    return used == NONE ? NONE : room > used ? room - used : 0;
}

/* The least of a group and those above it. */
static uint64_t room_up(const struct version *version, char *group)
{
    uint64_t least = NONE;
    for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
        char folder[PATH];
        *end = '\0';
        snprintf(folder, sizeof folder, "%s%s", version->root, group);
        uint64_t room = room_in(folder, version);
        least = room < least ? room : least;
    }
    return least;
}

int ring_memory_check_room(size_t bytes)
{
    static const char *const swap[] = { "SwapFree", NULL };
    char line[PATH];
    uint64_t least = NONE;
    FILE *groups = fopen("/proc/thread-self/cgroup", "re");
    while (groups && fgets(line, sizeof line, groups)) {
        char controllers[PATH] = "", group[PATH] = "";
        unsigned number;
        line[strcspn(line, "\n")] = '\0';
        bool unified = sscanf(line, "%u::%511[^\n]", &number, group) == 2;
        bool memory = !unified && sscanf(line, "%u:%511[^:]:%511[^\n]", &number, controllers, group) == 3 &&
                      strcmp(controllers, "memory") == 0;
        uint64_t room = unified || memory ? room_up(&versions[memory], group) : NONE;
        least = room < least ? room : least;
    }
    if (groups)
        fclose(groups);
    if (least >= bytes || least + (sum_in("/proc", "meminfo", swap) << 10) >= bytes)
        return 0;
    return ring_error(
        -ENOSPC,
        "no room for %zu KiB: the control group of this process has %llu KiB left, and the kernel ends who "
        "takes more: ask for fewer bytes, or raise its limit (memory.max, MemoryMax= of the service, "
        "--memory of the container)",
        bytes >> 10, (unsigned long long)least >> 10);
}
