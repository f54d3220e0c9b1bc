/* report_sides.c - results that differ in the number of producers and consumers only, beside each other. */
#include <string.h>

#include "report.h"

bool report_is_broadcast(const struct report_group *group)
{
    return group->kind == REPORT_THROUGHPUT && strcmp(group->topology, "broadcast") == 0;
}

double report_sides_figure(const struct report_group *group, const json_t *object)
{
    return report_is_broadcast(group) ? report_number(object, "producer_ns") * 1e-9 : report_figure(group, object);
}

const char *report_sides(char *text, size_t size, const struct report_group *group)
{
    snprintf(text, size, "%zu+%zu", group->producers, group->consumers);
    return text;
}

const json_t *report_result(const struct report_group *group, const char *name, size_t bytes)
{
    for (size_t at = 0; at < group->result_count; at++)
        if (report_bytes(group->results[at]) == bytes && strcmp(report_text(group->results[at], "name"), name) == 0)
            return group->results[at];
    return NULL;
}

static bool sides_related(const struct report_group *one, const struct report_group *other)
{
    return one->kind == REPORT_THROUGHPUT && other->kind == REPORT_THROUGHPUT && strcmp(one->mode, other->mode) == 0 &&
           strcmp(one->topology, other->topology) == 0 && one->in_place == other->in_place &&
           one->batch == other->batch;
}

static bool sides_have(const struct report_group *group, size_t bytes)
{
    for (size_t at = 0; at < group->size_count; at++)
        if (bytes == 0 || group->sizes[at] == bytes)
            return true;
    return false;
}

size_t report_family(const struct report_document *document, const struct report_group *group, size_t bytes,
                     const struct report_group *members[REPORT_SIDES])
{
    size_t count = 0;
    for (size_t at = 0; at < document->group_count && count < REPORT_SIDES; at++) {
        const struct report_group *other = &document->groups[at];
        if (!sides_related(group, other) || !sides_have(other, bytes))
            continue;
        size_t place = count++, sides = other->producers + other->consumers;
        while (place && members[place - 1]->producers + members[place - 1]->consumers > sides) {
            members[place] = members[place - 1];
            place--;
        }
        members[place] = other;
    }
    return count;
}

bool report_leads_family(const struct report_document *document, const struct report_group *group)
{
    const struct report_group *members[REPORT_SIDES];
    for (const struct report_group *before = document->groups; before < group; before++)
        if (sides_related(before, group))
            return false;
    return report_family(document, group, 0, members) > 1;
}

void report_family_heading(FILE *page, const struct report_group *group)
{
    fprintf(page, "<h3>By producers and consumers, %s, between %s", group->topology, group->mode);
    if (group->batch > 1)
        fprintf(page, ", %zu messages a call", group->batch);
    fprintf(page, "%s</h3>\n", group->in_place ? ", in place (no copy)" : "");
}

/* Messages per second; of a broadcast also what one costs its producer, and the share that consumers missed. */
static void sides_cell(FILE *page, const struct report_group *group, const json_t *result)
{
    char text[64];
    fprintf(page, "<td>%s", report_rate(text, sizeof text, result ? report_figure(group, result) : 0));
    if (result && report_is_broadcast(group)) {
        fprintf(page, " <span class=\"note\">(%.3g ns", report_number(result, "producer_ns"));
        if (report_number(result, "lost_share") > 0)
            fprintf(page, ", %.3g %% lost", report_number(result, "lost_share") * 100);
        fputs(")</span>", page);
    }
    fputs("</td>", page);
}

static void sides_table(FILE *page, const struct report_document *document, size_t bytes,
                        const struct report_group *const *members, size_t count)
{
    char text[64];
    size_t at;
    json_t *name;
    fprintf(page, "<div class=\"wide\"><table>\n<caption>%s, M/s%s</caption>\n<thead><tr><th>Contestant</th>",
            report_size(text, sizeof text, bytes), report_is_broadcast(members[0]) ? " (producer, a message)" : "");
    for (at = 0; at < count; at++)
        fprintf(page, "<th>%s</th>", report_sides(text, sizeof text, members[at]));
    fputs("</tr></thead>\n<tbody>\n", page);
    json_array_foreach(document->names, at, name)
    {
        bool any = false;
        for (size_t place = 0; place < count; place++)
            any |= report_result(members[place], json_string_value(name), bytes) != NULL;
        if (!any)
            continue;
        fputs("<tr><td>", page);
        report_page_text(page, json_string_value(name));
        fputs("</td>", page);
        for (size_t place = 0; place < count; place++)
            sides_cell(page, members[place], report_result(members[place], json_string_value(name), bytes));
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n</table></div>\n", page);
}

void report_family_tables(FILE *page, const struct report_document *document, const struct report_group *group)
{
    const struct report_group *members[REPORT_SIDES];
    for (size_t at = 0; at < group->size_count; at++) {
        size_t count = report_family(document, group, group->sizes[at], members);
        if (count > 1)
            sides_table(page, document, group->sizes[at], members, count);
    }
}
