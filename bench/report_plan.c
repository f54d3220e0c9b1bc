/* report_plan.c - which charts a report has, how they are called and how large they are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define PLAN_WIDTH      520 /* a phone held upright shows it without much shrinking */
#define PLAN_NAME_SHORT 23  /* names up to this many bytes stand in two columns */

static bool plan_any(const struct report_chart *chart)
{
    const struct report_group *members[REPORT_SIDES];
    if (chart->view == REPORT_BY_SIDES)
        return report_family(chart->document, chart->group, chart->bytes, members) > 1;
    const struct report_group *group = chart->group;
    for (size_t at = 0; at < group->result_count; at++) {
        const json_t *result = group->results[at];
        if (chart->view == REPORT_PERCENTILES &&
            (report_bytes(result) != chart->bytes || !json_array_size(json_object_get(result, "percentiles"))))
            continue;
        if (chart->view == REPORT_TO_FLOOR && report_number(result, "times_floor") <= 0)
            continue;
        if (report_figure(group, result) > 0)
            return true;
    }
    return false;
}

/* Files are named after known words and numbers only. */
static void plan_names(const struct report *report, struct report_chart *chart)
{
    const struct report_group *group = chart->group;
    char batch[40] = "", before[24] = "", size[32], rate[48] = "", sides[64] = "", *file = chart->file;
    bool all_sides = chart->view == REPORT_BY_SIDES;
    if (report->document_count > 1)
        snprintf(before, sizeof before, "%zu-", (size_t)(chart->document - report->documents) + 1);
    if (group->kind == REPORT_ONE_WAY)
        snprintf(rate, sizeof rate, "-at-%.0f", group->rate);
    if (group->batch > 1)
        snprintf(batch, sizeof batch, "-batch-%zu", group->batch);
    if (strcmp(group->topology, "spsc") != 0 && !all_sides)
        snprintf(sides, sizeof sides, "-%s-%zu-%zu", group->topology, group->producers, group->consumers);
    else if (all_sides)
        snprintf(sides, sizeof sides, "-%s-sides-%zu", group->topology, chart->bytes);
    if (chart->view == REPORT_BY_SIZE || all_sides)
        snprintf(file, sizeof chart->file, "%sthroughput-%s%s%s%s.svg", before, group->mode, sides,
                 group->in_place ? "-in-place" : "", batch);
    else if (chart->view == REPORT_TO_FLOOR)
        snprintf(file, sizeof chart->file, "%sfloor-%s%s.svg", before, group->mode, sides);
    else
        snprintf(file, sizeof chart->file, "%slatency-%s%s-%zu%s.svg", before, group->mode, sides, chart->bytes, rate);
    bool of_size = chart->view == REPORT_PERCENTILES || all_sides;
    if (strcmp(group->topology, "spsc") != 0 && !all_sides)
        snprintf(sides, sizeof sides, ", %s %zu+%zu", group->topology, group->producers, group->consumers);
    else
        snprintf(sides, sizeof sides, "%s%s", all_sides ? ", " : "", all_sides ? group->topology : "");
    report_size(size, sizeof size, of_size ? chart->bytes : group->sizes[0]);
    if (group->kind == REPORT_ONE_WAY)
        snprintf(rate, sizeof rate, ", %.6g a second offered", group->rate);
    if (group->batch > 1)
        snprintf(batch, sizeof batch, ", %zu a call", group->batch);
    bool one = of_size || group->size_count == 1;
    snprintf(chart->title, sizeof chart->title, "%s%s%s, %s%s%s%s",
             all_sides                        ? (report_is_broadcast(group) ? "Cost of sending" : "Throughput by sides")
             : chart->view == REPORT_BY_SIZE  ? "Throughput"
             : chart->view == REPORT_TO_FLOOR ? "Round trip / floor"
             : group->kind == REPORT_ONE_WAY  ? "One way"
                                              : "Round trip",
             one ? ", " : "", one ? size : "", group->mode, sides, group->in_place ? ", in place" : batch, rate);
}

static void plan_add(struct report *report, const struct report_chart *draft)
{
    struct report_chart *chart = &report->charts[report->chart_count];
    size_t names = json_array_size(draft->document->names);
    if (!plan_any(draft))
        return;
    *chart = *draft;
    plan_names(report, chart);
    bool dots = (chart->view == REPORT_BY_SIZE || chart->view == REPORT_TO_FLOOR) && chart->group->size_count == 1;
    size_t longest = 0, at;
    json_t *name;
    json_array_foreach(draft->document->names, at, name)
    {
        longest = json_string_length(name) > longest ? json_string_length(name) : longest;
    }
    chart->columns = longest > PLAN_NAME_SHORT ? 1 : 2;
    chart->width = PLAN_WIDTH;
    chart->height = (unsigned)(dots ? 120 + 24 * names : 360 + 17 * (names / chart->columns + 1));
    report->chart_count++;
}

int report_plan_charts(struct report *report)
{
    size_t most = 0;
    for (size_t place = 0; place < report->document_count; place++)
        for (size_t at = 0; at < report->documents[place].group_count; at++)
            most += 1 + 2 * report->documents[place].groups[at].size_count;
    report->charts = calloc(most + 1, sizeof *report->charts);
    if (!report->charts)
        return -ENOMEM;
    for (size_t place = 0; place < report->document_count; place++)
        for (size_t at = 0; at < report->documents[place].group_count; at++) {
            struct report_chart chart = { .document = &report->documents[place],
                                          .group = &report->documents[place].groups[at] };
            chart.view = chart.group->kind == REPORT_THROUGHPUT ? REPORT_BY_SIZE : REPORT_TO_FLOOR;
            plan_add(report, &chart);
            chart.view = REPORT_PERCENTILES;
            for (size_t size = 0; size < chart.group->size_count && chart.group->kind != REPORT_THROUGHPUT; size++) {
                chart.bytes = chart.group->sizes[size];
                plan_add(report, &chart);
            }
            chart.view = REPORT_BY_SIDES;
            for (size_t size = 0; size < chart.group->size_count && report_leads_family(chart.document, chart.group);
                 size++) {
                chart.bytes = chart.group->sizes[size];
                plan_add(report, &chart);
            }
        }
    return 0;
}
