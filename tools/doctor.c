/* doctor.c - ringctl doctor: what this machine gives to rings, and the command that mends what it does not. Memory:
 * doctor_memory.c.
 *
 * Where something can be tried it is tried (2 MiB pages, locking, membarrier), instead of believing a setting. */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *const verdict_words[] = { "ok", "note", "bad" };

void tell(struct examination *at, const char *check, enum verdict verdict, const char *advice, const char *format, ...)
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

const char *line_of(const char *path, char *line, size_t size)
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

uint64_t number_of(const char *path)
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
    at->json.file = stdout;
    if (at->as_json)
        json_open(&at->json, NULL, '[');
    examine_kernel(at);
    examine_memory(at);
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
