/* doctor.c - ringctl doctor: what this machine gives to rings, and the command that mends what it does not.
 *
 * Where something can be tried it is tried (2 MiB pages, locking, membarrier), instead of believing a setting. */
#include "ringctl.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum verdict { FINE, NOTE, BAD };
static const char *const verdict_words[] = { "ok", "note", "bad" };

struct examination {
    struct json json;
    bool as_json;
    unsigned bad;
    unsigned notes;
};

/* One finding: what was looked at, what it is, and what to do when that is not as it could be. */
static void tell(struct examination *at, const char *check, enum verdict verdict, const char *advice,
                 const char *format, ...) RING_PRINTF(5, 6);

static void tell(struct examination *at, const char *check, enum verdict verdict, const char *advice,
                 const char *format, ...)
{
    char raw[512], value[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    printable(raw, sizeof raw, value, sizeof value);
    at->bad += verdict == BAD;
    at->notes += verdict == NOTE;
    if (at->as_json) {
        json_open(&at->json, NULL, '{');
        json_text(&at->json, "check", check);
        json_text(&at->json, "verdict", verdict_words[verdict]);
        json_text(&at->json, "value", value);
        if (verdict != FINE)
            json_text(&at->json, "advice", advice);
        json_close(&at->json, '}');
        return;
    }
    printf("%-5s %-12s %s\n", verdict_words[verdict], check, value);
    if (verdict != FINE)
        printf("      %-12s -> %s\n", "", advice);
}

/* The first line of a file, "" when there is none. */
static const char *line_of(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    line[0] = '\0';
    if (file) {
        if (!fgets(line, (int)size, file))
            line[0] = '\0';
        fclose(file);
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static uint64_t number_of(const char *path)
{
    char line[64];
    return strtoull(line_of(path, line, sizeof line), NULL, 10);
}

/* ---- Kernel ---- */

static void examine_kernel(struct examination *at)
{
    struct utsname name;
    unsigned major = 0, minor = 0;
    uname(&name);
    sscanf(name.release, "%u.%u", &major, &minor);
    bool new = major > 6 || (major == 6 && minor >= 1);
    tell(at, "kernel", new ? FINE : NOTE,
         "from Linux 6.1 on ordinary shared memory gets 2 MiB pages without an administrator (MADV_COLLAPSE): update "
         "the "
         "kernel, or set huge pages aside",
         "Linux %s", name.release);
}

static void examine_membarrier(struct examination *at)
{
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    bool there = commands >= 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) &&
                 syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
    tell(at, "membarrier", there ? FINE : NOTE,
         "waiters look each millisecond and mpmc rings never claim alone: allow membarrier(2) in the sandbox or "
         "container "
         "(seccomp), or update the kernel",
         "%s", there ? "works" : "refused by this kernel or sandbox");
}

/* ---- Memory ---- */

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

/* A small segment with everything asked for: what does this machine really grant? */
static void examine_trial(struct examination *at)
{
    char name[64];
    struct ring_segment *segment = NULL;
    struct ring_segment_info info = { .struct_size = sizeof info };
    struct ring_segment_options options = ring_segment_defaults();
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
        !huge
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
    line_of("/sys/kernel/mm/transparent_hugepage/enabled", enabled, sizeof enabled);
    line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shmem, sizeof shmem);
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
    snprintf(advice, sizeof advice, "only --backing hugetlbfs needs them: echo %d > %s/hugepages-%ukB/nr_hugepages", kib < 1 << 20 ? 64 : 1, folder, kib);
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
        tell(at, "hugetlbfs", writable ? FINE : NOTE, "remount it with mode=1777, or uid= and gid= of this user",
             "%s, pages of %s%s", entry->mnt_dir, human_bytes((uint64_t)system.f_bsize, size, sizeof size),
             writable ? "" : ", but this user may not write there");
    }
    if (mounts)
        endmntent(mounts);
    if (!found)
        tell(at, "hugetlbfs", NOTE,
             "mkdir -p /dev/hugepages && mount -t hugetlbfs -o pagesize=2M,mode=1777 none /dev/hugepages",
             "not mounted%s", any_pages ? ", though pages are set aside" : "; only --backing hugetlbfs needs it");
}

/* ---- Nodes and processors ---- */

static void examine_nodes(struct examination *at)
{
    char online[128], memory[128], here[64];
    line_of("/sys/devices/system/node/online", online, sizeof online);
    line_of("/sys/devices/system/node/has_memory", memory, sizeof memory);
    bool several = strpbrk(online, ",-") != NULL;
    bool balancing = number_of("/proc/sys/kernel/numa_balancing") != 0;
    bool known = ring_node_of_cpu(0) != RING_NODE_UNKNOWN;
    snprintf(here, sizeof here, "%s", known ? "" : ", but ringctl was built without libnuma or the kernel has none");
    tell(at, "NUMA", several && (balancing || !known) ? NOTE : FINE,
         !known ? "install libnuma-dev and build again: otherwise nothing is placed on a node"
                : "the kernel moves pages after those who touch them, with page faults: sysctl kernel.numa_balancing=0",
         "nodes %s, with memory %s%s%s", online[0] ? online : "0", memory[0] ? memory : "0",
         several && balancing ? ", automatic balancing is on" : "", here);
}

static void examine_governor(struct examination *at)
{
    long count = sysconf(_SC_NPROCESSORS_CONF), seen = 0, fast = 0;
    char path[96], line[64], other[64] = "";
    for (long cpu = 0; cpu < count; cpu++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/cpufreq/scaling_governor", cpu);
        line_of(path, line, sizeof line);
        seen += line[0] != '\0';
        fast += strcmp(line, "performance") == 0;
        if (line[0] && strcmp(line, "performance") != 0)
            snprintf(other, sizeof other, "%s", line);
    }
    if (!seen)
        tell(at, "governor", FINE, "", "none: this machine (virtual?) does not let the kernel choose the clock");
    else
        tell(at, "governor", fast == seen ? FINE : NOTE, "cpupower frequency-set -g performance",
             "%ld of %ld processors run at full clock (performance)%s%s", fast, seen, other[0] ? "; others: " : "",
             other);
}

static void examine_isolation(struct examination *at)
{
    char isolated[256], ticks[256];
    line_of("/sys/devices/system/cpu/isolated", isolated, sizeof isolated);
    line_of("/sys/devices/system/cpu/nohz_full", ticks, sizeof ticks);
    bool tickless = ticks[0] && strcmp(ticks, "(null)") != 0;
    tell(at, "isolation", isolated[0] && tickless ? FINE : NOTE,
         "for the lowest tail latency keep processors for those who poll: add 'isolcpus=managed_irq,domain,2-3 "
         "nohz_full=2-3' to the kernel's command line, and pin the ends of a ring there (taskset -c 2)",
         "isolcpus: %s; nohz_full: %s", isolated[0] ? isolated : "none", tickless ? ticks : "none");
}

/* ---- Other people's tidiness ---- */

/* RemoveIPC as a file of settings has it: the last one counts. */
static void read_setting(const char *path, char *value, size_t size)
{
    char line[256], word[64];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, " RemoveIPC = %63s", word) == 1)
            snprintf(value, size, "%s", word);
    if (file)
        fclose(file);
}

static void read_settings(const char *folder, char *value, size_t size)
{
    struct dirent **files = NULL;
    int count = scandir(folder, &files, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[600];
        const char *dot = strrchr(files[i]->d_name, '.');
        snprintf(path, sizeof path, "%s/%s", folder, files[i]->d_name);
        if (dot && strcmp(dot, ".conf") == 0)
            read_setting(path, value, size);
        free(files[i]);
    }
    free(files);
}

static void examine_remove_ipc(struct examination *at)
{
    char value[64] = "yes"; /* logind's default */
    if (access("/run/systemd/seats", F_OK) != 0) {
        tell(at, "RemoveIPC", FINE, "", "systemd-logind does not run here: nobody removes shared memory at a log-out");
        return;
    }
    read_setting("/usr/lib/systemd/logind.conf", value, sizeof value);
    read_setting("/etc/systemd/logind.conf", value, sizeof value);
    read_settings("/usr/lib/systemd/logind.conf.d", value, sizeof value);
    read_settings("/etc/systemd/logind.conf.d", value, sizeof value);
    bool keeps = strcasecmp(value, "no") == 0 || strcasecmp(value, "false") == 0 || strcasecmp(value, "off") == 0 ||
                 strcmp(value, "0") == 0;
    tell(at, "RemoveIPC", keeps ? FINE : NOTE,
         "mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nRemoveIPC=no\\n' > "
         "/etc/systemd/logind.conf.d/ipc.conf && systemctl restart systemd-logind; or run under a system user",
         "%s%s", value, keeps ? "" : ": when a user's last session ends, logind removes that user's shared memory");
}

static int examine(struct examination *at)
{
    bool any_pages = false;
    at->json.file = stdout;
    if (at->as_json)
        json_open(&at->json, NULL, '[');
    examine_kernel(at);
    examine_tmpfs(at);
    examine_trial(at);
    examine_memlock(at);
    examine_thp(at);
    examine_pools(at, &any_pages);
    examine_hugetlbfs(at, any_pages);
    examine_nodes(at);
    examine_membarrier(at);
    examine_governor(at);
    examine_isolation(at);
    examine_remove_ipc(at);
    if (at->as_json)
        json_close(&at->json, ']');
    else
        printf("%u bad, %u notes\n", at->bad, at->notes);
    return finish_output(at->bad ? STATUS_FAILED : STATUS_DONE);
}

static error_t parse_doctor(int key, char *argument, struct argp_state *state)
{
    struct examination *at = state->input;
    switch (key) {
    case 'j':
        at->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is too much: the doctor looks at the machine; 'ringctl info' looks at a segment",
                   argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_doctor(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "json", 'j', NULL, 0, "For programs", 0 },
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_doctor,
        .doc = "Tell what this machine gives to rings, to this user and under these limits, and the command that mends "
               "what it does not. Exit status 1 when something is bad: without it rings do not work.",
    };
    struct examination at = { .as_json = false };
    if (argp_parse(&argp, argc, argv, 0, NULL, &at))
        return STATUS_USAGE;
    return examine(&at);
}
