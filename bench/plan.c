/* plan.c - lays out the sections of a run and says which contestant cannot take part in which, and why. */
#include <stdio.h>
#include <stdlib.h>

#include "contestants.h"
#include "plan.h"

/* By enum bench_topology. */
static const char *const plan_baselines[] = { "shmring spsc", "shmring mpmc", "shmring broadcast" };
static const char *const plan_topologies[] = { "spsc", "mpmc", "broadcast" };

const char *plan_kind_name(enum cell_kind kind)
{
    return kind == CELL_THROUGHPUT ? "throughput" : "latency";
}

const char *plan_mode_name(const struct bench_options *options)
{
    return options->processes ? "processes" : "threads";
}

const char *plan_topology_name(enum bench_topology topology)
{
    return plan_topologies[topology];
}

const char *plan_sides_name(const struct bench_options *options, char *text, size_t size)
{
    snprintf(text, size, "%zu producer%s, %zu consumer%s", options->producers, options->producers == 1 ? "" : "s",
             options->consumers, options->consumers == 1 ? "" : "s");
    return text;
}

/* The same for who takes part and who gets a message. */
static const char *plan_refusal_topology(unsigned abilities, const struct bench_options *options)
{
    bool broadcast = options->topology == BENCH_BROADCAST;
    if (broadcast != ((abilities & TRANSPORT_BROADCAST) != 0))
        return broadcast ? "each message goes to one consumer only" : "each message goes to every consumer";
    if (options->topology == BENCH_MPMC && !(abilities & (TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS)))
        return "for one producer and one consumer only";
    if (options->producers > 1 && !(abilities & TRANSPORT_MANY_PRODUCERS))
        return "takes one producer only";
    if (options->consumers > 1 && !broadcast && !(abilities & TRANSPORT_MANY_CONSUMERS))
        return "takes one consumer only";
    return NULL;
}

/* Why this contestant cannot do this section; NULL: it can. */
static const char *plan_refusal(const struct transport *transport, const struct plan_section *section)
{
    const struct bench_options *options = &section->options;
    if (!(transport->abilities & (options->processes ? TRANSPORT_PROCESSES : TRANSPORT_THREADS)))
        return options->processes ? "works between threads only" : "works between processes only";
    const char *why = plan_refusal_topology(transport->abilities, options);
    if (why)
        return why;
    if (options->in_place && !transport->loops->produce_in_place)
        return "has no calls to write and read in place";
    if (options->batch > 1 && !transport->loops->produce_batch)
        return "has no calls for batches";
    if ((transport->abilities & TRANSPORT_LISTED_SIZES) && !bench_listed_size(options->bytes))
        return "compiled for certain message sizes only";
    return transport->refuse ? transport->refuse(options) : NULL;
}

static int plan_fill_section(struct plan *plan, struct plan_section *section)
{
    section->series = calloc(plan->contestant_count, sizeof *section->series);
    section->weather = calloc(plan->options.rounds, sizeof *section->weather);
    if (!section->series || !section->weather)
        return -ENOMEM;
    for (size_t at = 0; at < plan->contestant_count; at++) {
        struct plan_series *series = &section->series[at];
        series->transport = plan->contestants[at];
        const char *why = plan_refusal(series->transport, section);
        if (why) {
            snprintf(series->left_out, sizeof series->left_out, "%s", why);
            continue;
        }
        const char *note = series->transport->note ? series->transport->note(&section->options) : NULL;
        snprintf(series->note, sizeof series->note, "%s", note ? note : "");
        series->rounds = calloc(plan->options.rounds, sizeof *series->rounds);
        bool timed = section->kind != CELL_THROUGHPUT;
        series->latest = timed ? calloc(1, sizeof *series->latest) : NULL;
        series->quiet = timed ? calloc(1, sizeof *series->quiet) : NULL;
        series->all = timed ? calloc(1, sizeof *series->all) : NULL;
        if (!series->rounds || (timed && (!series->latest || !series->quiet || !series->all)))
            return -ENOMEM;
    }
    return 0;
}

static int plan_add(struct plan *plan, enum cell_kind kind, const struct bench_options *options)
{
    struct plan_section *more = realloc(plan->sections, (plan->section_count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    plan->sections = more;
    struct plan_section *section = &more[plan->section_count++];
    memset(section, 0, sizeof *section);
    section->kind = kind;
    section->options = *options;
    section->options.links = kind == CELL_ROUND_TRIP ? 2 : 1;
    return plan_fill_section(plan, section);
}

/* Throughput in each manner and batch: for one mode, size and number of sides. */
static int plan_add_streams(struct plan *plan, struct bench_options options)
{
    const struct plan_options *asked = &plan->options;
    int refusal = 0;
    for (size_t at = 0; at < asked->batch_count && asked->copy && !refusal; at++) {
        options.batch = asked->batches[at];
        refusal = plan_add(plan, CELL_THROUGHPUT, &options);
    }
    options.batch = 1;
    options.in_place = true;
    if (asked->in_place && !refusal)
        refusal = plan_add(plan, CELL_THROUGHPUT, &options);
    return refusal;
}

/* Throughput for all numbers of sides, latency once, as it takes one of each: for one mode and size. */
static int plan_add_all(struct plan *plan, bool processes, size_t bytes)
{
    const struct plan_options *asked = &plan->options;
    struct bench_options options = { .bytes = bytes,
                                     .ring_bytes = asked->ring_bytes,
                                     .batch = 1,
                                     .huge = asked->huge,
                                     .processes = processes,
                                     .topology = asked->topology };
    int refusal = 0;
    for (size_t at = 0; at < asked->side_count && asked->throughput && !refusal; at++) {
        options.producers = asked->sides[at].producers;
        options.consumers = asked->sides[at].consumers;
        refusal = plan_add_streams(plan, options);
    }
    options.producers = options.consumers = 1;
    if (asked->latency && !refusal)
        refusal = plan_add(plan, asked->rate > 0 ? CELL_OPEN_LOOP : CELL_ROUND_TRIP, &options);
    return refusal;
}

/* Those whose messages go elsewhere than asked for do not clutter the result, unless they are asked for by name. */
static bool plan_takes(const struct plan *plan, const struct transport *transport)
{
    bool broadcast = plan->options.topology == BENCH_BROADCAST;
    return plan->options.only ? contestant_wanted(transport->name, plan->options.only)
                              : broadcast == ((transport->abilities & TRANSPORT_BROADCAST) != 0);
}

static int plan_choose(struct plan *plan)
{
    size_t count;
    char unknown[64];
    const struct transport *const *all = contestants(&count);
    const char *baseline = plan->options.baseline ? plan->options.baseline : plan_baselines[plan->options.topology];
    if (contestant_unknown(plan->options.only, unknown, sizeof unknown) ||
        contestant_unknown(plan->options.baseline, unknown, sizeof unknown)) {
        fprintf(stderr, "ring-bench: no contestant is called \"%s\"; \"ring-bench list\" names them\n", unknown);
        return -EINVAL;
    }
    plan->contestants = calloc(count + 1, sizeof *plan->contestants);
    if (!plan->contestants)
        return -ENOMEM;
    for (size_t at = 0; at < count; at++) {
        if (!plan_takes(plan, all[at]))
            continue;
        plan->contestants[plan->contestant_count++] = all[at];
        if (contestant_wanted(all[at]->name, baseline))
            plan->baseline = all[at];
    }
    if (plan->contestant_count)
        return 0;
    fprintf(stderr, "ring-bench: %s\n",
            plan->options.only ? "--only names nobody" : "this build has no contestant for that topology");
    return -EINVAL;
}

int plan_make(struct plan *plan, const struct plan_options *options)
{
    memset(plan, 0, sizeof *plan);
    plan->options = *options;
    int refusal = plan_choose(plan);
    for (int mode = 0; mode < 2 && !refusal; mode++)
        for (size_t at = 0; at < options->byte_count && !refusal; at++)
            if (mode == 0 ? options->processes : options->threads)
                refusal = plan_add_all(plan, mode == 0, options->bytes[at]);
    if (refusal == -ENOMEM)
        fprintf(stderr, "ring-bench: out of memory\n");
    return refusal;
}

void plan_free(struct plan *plan)
{
    for (size_t at = 0; at < plan->section_count; at++) {
        struct plan_section *section = &plan->sections[at];
        for (size_t place = 0; section->series && place < plan->contestant_count; place++) {
            free(section->series[place].rounds);
            free(section->series[place].latest);
            free(section->series[place].quiet);
            free(section->series[place].all);
        }
        free(section->series);
        free(section->weather);
    }
    free(plan->sections);
    free(plan->contestants);
    memset(plan, 0, sizeof *plan);
}
