/* report_read.c - reads a result, refuses what is none, and sorts its figures into groups that may be compared. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

double report_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const char *report_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

size_t report_bytes(const json_t *result)
{
    return (size_t)json_integer_value(json_object_get(result, "bytes"));
}

double report_figure(const struct report_group *group, const json_t *object)
{
    return report_number(object, group->kind == REPORT_THROUGHPUT ? "messages_per_second" : "p50_ns");
}

void report_spread(const struct report_group *group, const json_t *result, double *least, double *most)
{
    size_t at;
    json_t *round;
    bool all = report_text(result, "warning")[0];
    *least = *most = report_figure(group, result);
    json_array_foreach(json_object_get(result, "rounds"), at, round)
    {
        double figure = report_figure(group, round);
        if (figure <= 0 || (!all && json_is_true(json_object_get(round, "disturbed"))))
            continue;
        *least = figure < *least ? figure : *least;
        *most = figure > *most ? figure : *most;
    }
}

const char *report_size(char *text, size_t size, size_t bytes)
{
    bool whole_mega = bytes >= 1 << 20 && bytes % (1 << 20) == 0, whole_kilo = bytes >= 1 << 10 && bytes % 1024 == 0;
    size_t unit = whole_mega ? 1 << 20 : whole_kilo ? 1 << 10 : 1;
    snprintf(text, size, "%zu %s", bytes / unit, whole_mega ? "MiB" : whole_kilo ? "KiB" : "B");
    return text;
}

static bool read_is(const char *text, const char *one, const char *other)
{
    return strcmp(text, one) == 0 || strcmp(text, other) == 0;
}

/* Missing is 1, as it was before there were several. */
static size_t read_side(const json_t *result, const char *key)
{
    const json_t *value = json_object_get(result, key);
    return value ? (size_t)json_integer_value(value) : 1;
}

static const char *read_fault_sides(const json_t *result)
{
    const char *topology = report_text(result, "topology");
    size_t producers = read_side(result, "producers"), consumers = read_side(result, "consumers");
    if (json_object_get(result, "topology") && strcmp(topology, "broadcast") != 0 && !read_is(topology, "spsc", "mpmc"))
        return "\"topology\" is none of spsc, mpmc and broadcast";
    if (producers < 1 || producers > 1024 || consumers < 1 || consumers > 1024)
        return "\"producers\" or \"consumers\" is no number of them";
    return NULL;
}

/* What is wrong with a result, or NULL. Only words that are known get this far: files are named after them. */
static const char *read_fault(const json_t *result)
{
    const char *kind = report_text(result, "kind"), *copy = report_text(result, "copy");
    const char *loop = report_text(result, "loop");
    json_int_t bytes = json_integer_value(json_object_get(result, "bytes"));
    json_int_t batch = json_integer_value(json_object_get(result, "batch"));
    if (!report_text(result, "name")[0])
        return "no \"name\"";
    if (!read_is(kind, "throughput", "latency"))
        return "\"kind\" is neither throughput nor latency";
    if (!read_is(report_text(result, "mode"), "processes", "threads"))
        return "\"mode\" is neither processes nor threads";
    if (copy[0] && !read_is(copy, "copy", "zero"))
        return "\"copy\" is neither copy nor zero";
    if (loop[0] && !read_is(loop, "closed", "open"))
        return "\"loop\" is neither closed nor open";
    if (bytes < 1 || bytes > 1 << 30)
        return "\"bytes\" is no size";
    if (json_object_get(result, "batch") && (batch < 1 || batch > 1 << 20))
        return "\"batch\" is no number of messages";
    return read_fault_sides(result);
}

static void read_key(struct report_group *key, const json_t *result)
{
    memset(key, 0, sizeof *key);
    key->mode = report_text(result, "mode");
    key->topology = json_object_get(result, "topology") ? report_text(result, "topology") : "spsc";
    key->producers = read_side(result, "producers");
    key->consumers = read_side(result, "consumers");
    key->batch = 1;
    if (strcmp(report_text(result, "kind"), "latency") != 0) {
        key->kind = REPORT_THROUGHPUT;
        key->in_place = strcmp(report_text(result, "copy"), "zero") == 0;
        if (json_object_get(result, "batch"))
            key->batch = (size_t)report_number(result, "batch");
        return;
    }
    bool open = strcmp(report_text(result, "loop"), "open") == 0;
    key->kind = open ? REPORT_ONE_WAY : REPORT_ROUND_TRIP;
    key->rate = open ? report_number(result, "rate") : 0;
}

static struct report_group *read_group(struct report_document *document, const json_t *result)
{
    struct report_group key;
    read_key(&key, result);
    for (size_t at = 0; at < document->group_count; at++) {
        struct report_group *group = &document->groups[at];
        if (group->kind == key.kind && strcmp(group->mode, key.mode) == 0 && group->in_place == key.in_place &&
            group->batch == key.batch && group->rate >= key.rate && group->rate <= key.rate &&
            strcmp(group->topology, key.topology) == 0 && group->producers == key.producers &&
            group->consumers == key.consumers)
            return group;
    }
    key.results = calloc(json_array_size(document->results), sizeof *key.results);
    if (!key.results)
        return NULL;
    document->groups[document->group_count] = key;
    return &document->groups[document->group_count++];
}

/* Keeps the sizes ascending. -EFBIG: too many. */
static int read_add_size(struct report_group *group, size_t bytes)
{
    size_t at = 0;
    while (at < group->size_count && group->sizes[at] < bytes)
        at++;
    if (at < group->size_count && group->sizes[at] == bytes)
        return 0;
    if (group->size_count == REPORT_SIZES)
        return -EFBIG;
    memmove(&group->sizes[at + 1], &group->sizes[at], (group->size_count - at) * sizeof group->sizes[0]);
    group->sizes[at] = bytes;
    group->size_count++;
    return 0;
}

static int read_add_name(json_t *names, const char *name)
{
    size_t at;
    json_t *known;
    json_array_foreach(names, at, known)
    {
        if (strcmp(json_string_value(known), name) == 0)
            return 0;
    }
    return json_array_append_new(names, json_string(name)) == 0 ? 0 : -ENOMEM;
}

static int read_groups(struct report_document *document)
{
    size_t at;
    json_t *result;
    document->names = json_array();
    document->groups = calloc(json_array_size(document->results) + 1, sizeof *document->groups);
    if (!document->groups || !document->names)
        return -ENOMEM;
    json_array_foreach(document->results, at, result)
    {
        const char *fault = read_fault(result);
        if (fault) {
            fprintf(stderr, "ring-bench report: %s: result %zu: %s\n", document->path, at + 1, fault);
            return -EINVAL;
        }
        struct report_group *group = read_group(document, result);
        if (!group || read_add_name(document->names, report_text(result, "name")))
            return -ENOMEM;
        group->results[group->result_count++] = result;
        int refusal = read_add_size(group, report_bytes(result));
        if (refusal) {
            fprintf(stderr, "ring-bench report: %s: more than %d sizes\n", document->path, REPORT_SIZES);
            return refusal;
        }
    }
    return 0;
}

int report_read(struct report_document *document, const char *path)
{
    json_error_t error;
    bool standard = strcmp(path, "-") == 0;
    document->path = standard ? "standard input" : path;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (!file) {
        int refusal = -errno;
        fprintf(stderr, "ring-bench report: cannot read %s: %s\n", path, strerror(-refusal));
        return refusal;
    }
    document->root = json_loadf(file, 0, &error);
    if (!standard)
        fclose(file);
    if (!document->root) {
        fprintf(stderr, "ring-bench report: %s, line %d: not a JSON document: %s\n", document->path, error.line,
                error.text);
        return -EINVAL;
    }
    document->results = json_object_get(document->root, "results");
    if (json_array_size(document->results) == 0) {
        fprintf(stderr, "ring-bench report: %s: not a result of ring-bench --json: there are no \"results\"\n",
                document->path);
        return -EINVAL;
    }
    return read_groups(document);
}

void report_document_free(struct report_document *document)
{
    for (size_t at = 0; at < document->group_count; at++)
        free(document->groups[at].results);
    free(document->groups);
    json_decref(document->names);
    json_decref(document->root);
}
