/* machine.c - reads /proc and /sys, and what the build wrote down about itself. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench_commit.h"
#include "clock.h"
#include "machine.h"

/* First line of a file, without its end; "" when it cannot be read. */
static void machine_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (!file)
        return;
    if (!fgets(text, (int)size, file))
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
}

/* The value of the first line of /proc/cpuinfo that begins with `key`. */
static void machine_processor(const char *key, char *text, size_t size)
{
    char line[4096];
    FILE *file = fopen("/proc/cpuinfo", "re");
    text[0] = '\0';
    while (file && !text[0] && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) == 0 && value)
            snprintf(text, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
    }
    if (file)
        fclose(file);
}

static void machine_name(char *text, size_t size)
{
    static const char *const keys[] = { "model name", "Hardware", "cpu model", "CPU implementer" };
    text[0] = '\0';
    for (size_t at = 0; at < sizeof keys / sizeof keys[0] && !text[0]; at++)
        machine_processor(keys[at], text, size);
    if (!text[0])
        snprintf(text, size, "unknown");
}

static bool machine_is_virtual(void)
{
    char flags[4096];
    machine_processor("flags", flags, sizeof flags);
    return strstr(flags, " hypervisor") != NULL;
}

static void machine_set(json_t *machine, const char *key, const char *value)
{
    if (value[0])
        json_object_set_new(machine, key, json_string(value));
}

json_t *machine_describe(const int *processors, size_t count)
{
    char text[256];
    struct utsname kernel;
    json_t *machine = json_object();
    machine_name(text, sizeof text);
    machine_set(machine, "cpu", text);
    json_object_set_new(machine, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(machine, "virtual", json_boolean(machine_is_virtual()));
    if (uname(&kernel) == 0) {
        machine_set(machine, "kernel", kernel.release);
        machine_set(machine, "architecture", kernel.machine);
    }
    json_t *pinned = json_array();
    for (size_t at = 0; at < count; at++)
        json_array_append_new(pinned, json_integer(processors[at]));
    json_object_set_new(machine, "cpus", pinned);
    machine_set(machine, "compiler", BENCH_COMPILER);
    machine_set(machine, "flags", BENCH_FLAGS);
    machine_set(machine, "commit", BENCH_COMMIT);
    machine_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", text, sizeof text);
    machine_set(machine, "governor", text[0] ? text : "unknown");
    machine_read("/sys/devices/system/clocksource/clocksource0/current_clocksource", text, sizeof text);
    machine_set(machine, "clocksource", text);
    machine_read("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof text);
    machine_set(machine, "shmem_huge_pages", text);
    machine_set(machine, "clock", bench_clock.counter ? "time-stamp counter" : "CLOCK_MONOTONIC");
    json_object_set_new(machine, "clock_step_ns", json_real((double)bench_clock.step / bench_clock.ticks_per_ns));
    return machine;
}

void machine_line(char *line, size_t size)
{
    char name[200];
    struct utsname kernel;
    machine_name(name, sizeof name);
    if (uname(&kernel) != 0)
        kernel.release[0] = '\0';
    snprintf(line, size, "%s%s, %ld cores, Linux %s, %s", name, machine_is_virtual() ? " (virtual)" : "",
             sysconf(_SC_NPROCESSORS_ONLN), kernel.release, BENCH_COMPILER);
}
