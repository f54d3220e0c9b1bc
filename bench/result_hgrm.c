/* result_hgrm.c - a file per contestant and section with the distribution as HdrHistogram's plotters read it. */
#include <stdio.h>
#include <sys/stat.h>

#include "plan.h"

/* "shmring spsc" gives "shmring-spsc". */
static void hgrm_name(const struct plan *plan, const struct plan_section *section, const char *name, char *path,
                      size_t size)
{
    char plain[64];
    size_t length = 0;
    for (; name[length] && length < sizeof plain - 1; length++)
        plain[length] = name[length] == ' ' || name[length] == '/' ? '-' : name[length];
    plain[length] = '\0';
    snprintf(path, size, "%s/%s-%s-%zu%s.hgrm", plan->options.hgrm, plain, plan_mode_name(&section->options),
             section->options.bytes, section->kind == CELL_OPEN_LOOP ? "-open" : "");
}

static int hgrm_write(const char *path, const struct histogram *histogram)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    int refusal = histogram_print(histogram, bench_clock.ticks_per_ns, bench_clock.step, file);
    return fclose(file) == 0 ? refusal : -errno;
}

int plan_write_hgrm(const struct plan *plan)
{
    char path[4096];
    if (mkdir(plan->options.hgrm, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "ring-bench: %s: %s\n", plan->options.hgrm, strerror(errno));
        return -errno;
    }
    for (size_t at = 0; at < plan->section_count; at++)
        for (size_t place = 0; place < plan->contestant_count; place++) {
            const struct plan_section *section = &plan->sections[at];
            const struct plan_series *series = &section->series[place];
            if (!series->all || series->failure[0])
                continue;
            hgrm_name(plan, section, series->transport->name, path, sizeof path);
            int refusal = hgrm_write(path, section->noisy ? series->all : series->quiet);
            if (refusal) {
                fprintf(stderr, "ring-bench: %s: %s\n", path, strerror(-refusal));
                return refusal;
            }
        }
    return 0;
}
