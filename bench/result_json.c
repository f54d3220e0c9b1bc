/* result_json.c - the outcome as one JSON document. Fields are added over time, never renamed: docs/benchmarking.md. */
#include <stdio.h>

#include "contestants.h"
#include "machine.h"
#include "plan.h"

static void json_number(json_t *object, const char *key, double value)
{
    if (value > 0)
        json_object_set_new(object, key, json_real(value));
}

static void json_text(json_t *object, const char *key, const char *value)
{
    if (value[0])
        json_object_set_new(object, key, json_string(value));
}

static json_t *json_section(const struct plan *plan, const struct plan_section *section, const char *name)
{
    const struct bench_options *options = &section->options;
    json_t *result = json_object();
    json_text(result, "name", name);
    json_text(result, "kind", plan_kind_name(section->kind));
    json_text(result, "mode", plan_mode_name(options));
    json_text(result, "topology", plan_topology_name(options->topology));
    json_object_set_new(result, "producers", json_integer((json_int_t)options->producers));
    json_object_set_new(result, "consumers", json_integer((json_int_t)options->consumers));
    json_object_set_new(result, "bytes", json_integer((json_int_t)options->bytes));
    json_object_set_new(result, "batch", json_integer((json_int_t)options->batch));
    if (section->kind == CELL_THROUGHPUT)
        json_text(result, "copy", options->in_place ? "zero" : "copy");
    else
        json_text(result, "loop", section->kind == CELL_OPEN_LOOP ? "open" : "closed");
    if (section->kind == CELL_OPEN_LOOP)
        json_number(result, "rate", plan->options.rate);
    return result;
}

/* The figures of a round or of the median, as the kind has them. */
static void json_figures(json_t *object, const struct plan_section *section, const struct plan_figure *figure)
{
    if (section->kind == CELL_THROUGHPUT) {
        json_number(object, "messages_per_second", figure->figure);
        json_number(object, "share_of_ceiling", figure->beside);
        json_number(object, "producer_ns", figure->producer_ns);
        json_number(object, "lost_share", figure->lost);
        json_number(object, "reordered_share", figure->reordered);
    } else {
        json_number(object, "p50_ns", figure->p50);
        json_number(object, "p99_ns", figure->p99);
        json_number(object, "p999_ns", figure->p999);
        json_number(object, "mean_ns", figure->mean);
        json_number(object, "times_floor", figure->beside);
    }
    json_number(object, "ratio", figure->ratio);
}

static json_t *json_rounds(const struct plan_section *section, const struct plan_series *series)
{
    json_t *rounds = json_array();
    for (size_t round = 0; round < section->rounds_done; round++) {
        if (!series->rounds[round].there)
            continue;
        const struct plan_weather *weather = &section->weather[round];
        json_t *entry = json_object();
        json_object_set_new(entry, "round", json_integer((json_int_t)round + 1));
        json_figures(entry, section, &series->rounds[round]);
        json_number(entry, "messages", series->rounds[round].messages);
        json_number(entry, "floor_ns", weather->floor_ns);
        json_number(entry, "ceiling_messages_per_second", weather->ceiling);
        json_object_set_new(entry, "disturbed", json_boolean(weather->disturbed));
        json_array_append_new(rounds, entry);
    }
    return rounds;
}

/* The distribution by percentile, for charts: denser towards 1, as far as there are counts. */
static json_t *json_percentiles(const struct histogram *histogram)
{
    static const double shares[] = {
        0,     0.01,  0.05,  0.1,    0.2,    0.25,   0.3,     0.4,     0.5,      0.6,
        0.7,   0.75,  0.8,   0.85,   0.9,    0.925,  0.95,    0.975,   0.98,     0.99,
        0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995, 0.99999, 0.999999, 0.9999999
    };
    json_t *list = json_array();
    for (size_t at = 0; at < sizeof shares / sizeof shares[0]; at++) {
        if ((1 - shares[at]) * (double)histogram->count < 1)
            break;
        double ticks = histogram_percentile(histogram, shares[at], bench_clock.step);
        json_array_append_new(
            list, json_pack("{s:f, s:f}", "percentile", shares[at] * 100, "ns", ticks / bench_clock.ticks_per_ns));
    }
    return list;
}

static json_t *json_series(const struct plan *plan, const struct plan_section *section,
                           const struct plan_series *series)
{
    json_t *result = json_section(plan, section, series->transport->name);
    json_figures(result, section, &series->median);
    if (series->has_interval) {
        json_number(result, "ratio_low", series->ratio_low);
        json_number(result, "ratio_high", series->ratio_high);
    }
    if (section->kind == CELL_THROUGHPUT)
        json_number(result, "bytes_per_second", series->median.figure * (double)section->options.bytes);
    json_number(result, "rounds_used", (double)series->rounds_used);
    if (section->noisy)
        json_text(result, "warning", "fewer than 3 undisturbed rounds: all rounds were used");
    json_text(result, "note", series->note);
    json_text(result, "failed", series->failure);
    json_object_set_new(result, "rounds", json_rounds(section, series));
    if (section->kind != CELL_THROUGHPUT)
        json_object_set_new(result, "percentiles", json_percentiles(section->noisy ? series->all : series->quiet));
    return result;
}

static json_t *json_ceiling(const struct plan *plan)
{
    json_t *ceiling = json_object(), *copies = json_array();
    json_number(ceiling, "stream_words_per_second", plan->stream_words);
    json_number(ceiling, "stream_bytes_per_second", plan->stream_words * 8);
    for (size_t at = 0; at < plan->section_count; at++) {
        const struct plan_section *section = &plan->sections[at];
        if (section->kind != CELL_THROUGHPUT || section->options.in_place || section->options.batch > 1)
            continue;
        json_t *copy = json_object();
        json_text(copy, "mode", plan_mode_name(&section->options));
        json_object_set_new(copy, "bytes", json_integer((json_int_t)section->options.bytes));
        json_number(copy, "messages_per_second", section->ceiling);
        json_number(copy, "bytes_per_second", section->ceiling * (double)section->options.bytes);
        json_array_append_new(copies, copy);
    }
    json_object_set_new(ceiling, "copy", copies);
    return ceiling;
}

static json_t *json_floor(const struct plan *plan)
{
    json_t *floor = json_object();
    json_number(floor, "rtt_p50_ns", plan->floor_ns);
    json_number(floor, "rtt_mean_ns", plan->floor_mean_ns);
    json_object_set_new(floor, "rounds", json_integer((json_int_t)plan->rounds_all));
    json_object_set_new(floor, "rounds_disturbed", json_integer((json_int_t)plan->rounds_disturbed));
    return floor;
}

static json_t *json_settings(const struct plan *plan)
{
    const struct plan_options *options = &plan->options;
    json_t *settings = json_object();
    json_object_set_new(settings, "rounds", json_integer((json_int_t)options->rounds));
    json_number(settings, "seconds_per_cell", options->seconds);
    json_number(settings, "ring_bytes", (double)options->ring_bytes);
    json_number(settings, "margin", options->margin);
    json_text(settings, "pages", options->huge ? "huge" : "small");
    if (plan->baseline)
        json_text(settings, "baseline", plan->baseline->name);
    return settings;
}

/* Built in but unable to do this section; and not built in at all. */
static json_t *json_left_out(const struct plan *plan)
{
    json_t *list = json_array();
    const char *label, *package;
    for (size_t at = 0; at < plan->section_count; at++)
        for (size_t place = 0; place < plan->contestant_count; place++) {
            const struct plan_series *series = &plan->sections[at].series[place];
            if (!series->left_out[0])
                continue;
            json_t *entry = json_section(plan, &plan->sections[at], series->transport->name);
            json_text(entry, "why", series->left_out);
            json_array_append_new(list, entry);
        }
    for (size_t at = 0; contestant_left_out(at, &label, &package); at++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "name", label, "why", "not built in", "package", package));
    return list;
}

int plan_print_json(const struct plan *plan)
{
    json_t *document = json_object(), *results = json_array();
    json_object_set_new(document, "machine", machine_describe(plan->options.processors, plan->options.processor_count));
    json_object_set_new(document, "settings", json_settings(plan));
    json_object_set_new(document, "floor", json_floor(plan));
    json_object_set_new(document, "ceiling", json_ceiling(plan));
    for (size_t at = 0; at < plan->section_count; at++)
        for (size_t place = 0; place < plan->contestant_count; place++) {
            const struct plan_series *series = &plan->sections[at].series[place];
            if (series->rounds)
                json_array_append_new(results, json_series(plan, &plan->sections[at], series));
        }
    json_object_set_new(document, "results", results);
    json_object_set_new(document, "left_out", json_left_out(plan));
    int refusal = json_dumpf(document, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8)) == 0 ? 0 : -EIO;
    json_decref(document);
    putchar('\n');
    return fflush(stdout) == 0 ? refusal : -EIO;
}
