/* doctor_memory.c - ringctl doctor: memory, locked and in huge pages, and where it is. */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* ---- Ordinary memory ---- */

/* Is this process free of the limit (CAP_IPC_LOCK)? */
static bool may_lock_all(void)
{
    char line[256];
    unsigned long long capabilities = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "CapEff: %llx", &capabilities) == 1)
            break;
    if (file)
        fclose(file);
    return capabilities >> 14 & 1;
}

static void examine_memlock(struct examination *at)
{
    enum { ENOUGH = 64 << 20 };
    static const char advice[] =
        "segments above the limit are not locked: 'ulimit -l unlimited' as root before the program starts; for good "
        "'echo \"* - memlock unlimited\" > /etc/security/limits.d/memlock.conf', or LimitMEMLOCK=infinity in its unit";
    struct rlimit limit = { 0, 0 };
    char text[32];
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur == RLIM_INFINITY)
        tell(at, "memlock", FINE, "", "no limit");
    else if (may_lock_all())
        tell(at, "memlock", FINE, "", "limit %s, but this process may lock all the same (CAP_IPC_LOCK)",
             human_bytes(limit.rlim_cur, text, sizeof text));
    else
        tell(at, "memlock", limit.rlim_cur >= ENOUGH ? FINE : NOTE, advice,
             "at most %s locked for each user or process", human_bytes(limit.rlim_cur, text, sizeof text));
}

static void examine_tmpfs(struct examination *at)
{
    enum { TMPFS_MAGIC_NUMBER = 0x01021994, LITTLE = 64 << 20 };
    struct statfs system;
    char size[32], left[32];
    if (statfs("/dev/shm", &system) != 0 || (unsigned long)system.f_type != TMPFS_MAGIC_NUMBER) {
        tell(at, "/dev/shm", BAD,
             "mkdir -p /dev/shm && mount -t tmpfs -o mode=1777,nosuid,nodev,size=50% tmpfs /dev/shm",
             "no tmpfs is mounted there");
        return;
    }
    uint64_t block = (uint64_t)system.f_bsize, available = system.f_bavail * block;
    bool endless = system.f_blocks == 0;
    if (access("/dev/shm", W_OK) != 0)
        tell(at, "/dev/shm", BAD, "chmod 1777 /dev/shm", "this user may not write there");
    tell(at, "/dev/shm", endless || available >= LITTLE ? FINE : BAD,
         "'ringctl ls' shows segments nobody may need any more; enlarge: mount -o remount,size=75% /dev/shm",
         "%s, %s free", endless ? "no limit" : human_bytes(system.f_blocks * block, size, sizeof size),
         endless ? "all" : human_bytes(available, left, sizeof left));
}

/* Why nobody, or not this process, gets 2 MiB pages of ordinary shared memory, whatever he asks for; NULL: no such
 * reason. */
static const char *why_no_huge_pages(const char **advice)
{
    char line[128];
    *advice = "echo never > " THP "shmem_enabled (rings ask for theirs themselves)";
    if (strstr(line_of(THP "shmem_enabled", line, sizeof line), "[deny]"))
        return "shared memory is denied 2 MiB pages (shmem_enabled)";
    *advice = "start it from a process that has not forbidden them by prctl(PR_SET_THP_DISABLE)";
    return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0 ? "2 MiB pages were forbidden to this process" : NULL;
}

/* A small segment with everything asked for: what does this machine really grant? */
static void examine_trial(struct examination *at)
{
    char name[64];
    struct ring_segment *segment = NULL;
    const char *advice;
    bool forbidden = why_no_huge_pages(&advice) != NULL;
    struct ring_segment_info info = { .struct_size = sizeof info };
    struct ring_segment_options options = ring_segment_defaults();
    options.removal = RING_REMOVE_WITH_CREATOR;
    options.flags |= RING_RECLAIM; /* of a doctor with this number who was killed */
    options.bytes = (size_t)2 << 20;
    snprintf(name, sizeof name, "/ringctl-doctor-%d", (int)getpid());
    int error = ring_segment_create(&segment, name, &options);
    if (!error) {
        ring_segment_unlink(name);
        error = ring_segment_info(segment, &info);
    }
    if (error) {
        tell(at, "trial", BAD, ring_error_detail(), "a segment of 2 MiB cannot be made (%s)", error_name(error));
        ring_segment_close(&segment);
        return;
    }
    bool huge = info.huge_bytes == info.bytes, locked = info.locked_bytes == info.bytes;
    tell(
        at, "trial", huge && locked ? FINE : NOTE,
        !huge && forbidden ? "see THP"
        : !huge
            ? "2 MiB pages need Linux 6.1 and free memory in one piece: 'echo 1 > /proc/sys/vm/compact_memory'; or set "
              "huge pages aside and use --backing hugetlbfs"
            : "see memlock",
        "a segment of 2 MiB: %s 2 MiB pages%s%s%s, %s%s%s%s", huge ? "in" : "not in", huge ? "" : " (",
        huge              ? ""
        : info.huge_error ? error_name(info.huge_error)
                          : "refused",
        huge ? "" : ")", locked ? "locked" : "not locked", locked ? "" : " (",
        locked ? "" : error_name(info.lock_error), locked ? "" : ")");
    ring_segment_close(&segment);
}

static void examine_thp(struct examination *at)
{
    char enabled[128], shmem[128];
    const char *advice;
    line_of(THP "enabled", enabled, sizeof enabled);
    line_of(THP "shmem_enabled", shmem, sizeof shmem);
    const char *why = why_no_huge_pages(&advice);
    if (enabled[0] && why) {
        tell(at, "THP", NOTE, advice, "%s; shmem: %s: %s", enabled, shmem, why);
        return;
    }
    tell(at, "THP", enabled[0] ? FINE : NOTE,
         "this kernel was built without transparent huge pages: set huge pages aside and use --backing hugetlbfs",
         "%s; shmem: %s (either setting will do: rings ask for theirs themselves)",
         enabled[0] ? enabled : "not in this kernel", shmem[0] ? shmem : "unknown");
}

/* ---- Huge pages that are set aside ---- */

static void examine_pool(struct examination *at, const char *folder, const char *node, unsigned kib, bool *any)
{
    char path[600], advice[800], size[32], check[32];
    snprintf(path, sizeof path, "%s/hugepages-%ukB/nr_hugepages", folder, kib);
    uint64_t total = number_of(path);
    snprintf(path, sizeof path, "%s/hugepages-%ukB/free_hugepages", folder, kib);
    uint64_t unused = number_of(path);
    *any |= total != 0;
    snprintf(check, sizeof check, "huge %s", node);
    snprintf(advice, sizeof advice, "only --backing hugetlbfs needs them: echo %d > %s/hugepages-%ukB/nr_hugepages",
             kib < 1 << 20 ? 64 : 1, folder, kib);
    tell(at, check, total ? FINE : NOTE, advice, "%" PRIu64 " of %" PRIu64 " pages of %s free", unused, total,
         human_bytes((uint64_t)kib << 10, size, sizeof size));
}

static int order_by_name(const struct dirent **left, const struct dirent **right)
{
    return strverscmp((*left)->d_name, (*right)->d_name);
}

static int is_node(const struct dirent *entry)
{
    unsigned node;
    return sscanf(entry->d_name, "node%u", &node) == 1;
}

static int is_pool(const struct dirent *entry)
{
    unsigned kib;
    return sscanf(entry->d_name, "hugepages-%ukB", &kib) == 1;
}

static void examine_pools_in(struct examination *at, const char *folder, const char *node, bool *any)
{
    struct dirent **pools = NULL;
    int count = scandir(folder, &pools, is_pool, order_by_name);
    for (int i = 0; i < count; i++) {
        unsigned kib = 0;
        if (sscanf(pools[i]->d_name, "hugepages-%ukB", &kib) == 1)
            examine_pool(at, folder, node, kib, any);
        free(pools[i]);
    }
    free(pools);
}

static void examine_pools(struct examination *at, bool *any)
{
    struct dirent **nodes = NULL;
    int count = scandir("/sys/devices/system/node", &nodes, is_node, order_by_name);
    for (int i = 0; i < count; i++) {
        char folder[512];
        snprintf(folder, sizeof folder, "/sys/devices/system/node/%s/hugepages", nodes[i]->d_name);
        examine_pools_in(at, folder, nodes[i]->d_name, any);
        free(nodes[i]);
    }
    free(nodes);
    if (count <= 0)
        examine_pools_in(at, "/sys/kernel/mm/hugepages", "pages", any);
}

static void examine_hugetlbfs(struct examination *at, bool any_pages)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    unsigned found = 0;
    for (struct mntent *entry; mounts && (entry = getmntent(mounts));) {
        struct statfs system;
        char size[32];
        if (strcmp(entry->mnt_type, "hugetlbfs") != 0 || statfs(entry->mnt_dir, &system) != 0)
            continue;
        found++;
        bool writable = access(entry->mnt_dir, W_OK) == 0;
        bool limited = system.f_blocks > 0 && system.f_blocks < UINT32_MAX;
        char limit[64] = "";
        if (limited)
            snprintf(limit, sizeof limit, ", %" PRIu64 " of %" PRIu64 " that its size= allows are left",
                     (uint64_t)system.f_bavail, (uint64_t)system.f_blocks);
        tell(at, "hugetlbfs", writable && !(limited && system.f_bavail == 0) ? FINE : NOTE,
             writable
                 ? "'ringctl ls' shows segments nobody may need any more; else mount another one with a larger size="
                 : "remount it with mode=1777, or uid= and gid= of this user",
             "%s, pages of %s%s%s", entry->mnt_dir, human_bytes((uint64_t)system.f_bsize, size, sizeof size), limit,
             writable ? "" : ", but this user may not write there");
    }
    if (mounts)
        endmntent(mounts);
    if (!found)
        tell(at, "hugetlbfs", NOTE,
             "mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M,mode=1777 none /dev/hugepages",
             "not mounted%s", any_pages ? ", though pages are set aside" : "; only --backing hugetlbfs needs it");
}

void examine_memory(struct examination *at)
{
    bool any_pages = false;
    examine_tmpfs(at);
    examine_trial(at);
    examine_memlock(at);
    examine_thp(at);
    examine_pools(at, &any_pages);
    examine_hugetlbfs(at, any_pages);
}
