/* report_tables.c - the figures of a group as tables, best first; rounds in which the machine was disturbed are marked.
 */
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define TABLES_DISTURBED "<span class=\"disturbed\">†"

static const char *tables_time(char *text, size_t size, double ns)
{
    double value = ns >= 1e6 ? ns / 1e6 : ns >= 1e3 ? ns / 1e3 : ns;
    const char *unit = ns >= 1e6 ? "ms" : ns >= 1e3 ? "µs" : "ns";
    if (ns <= 0)
        return "–";
    snprintf(text, size, "%.*f %s", value < 100 ? (value < 10 ? 2 : 1) : 0, value, unit);
    return text;
}

const char *report_rate(char *text, size_t size, double per_second)
{
    double value = per_second / 1e6;
    if (per_second <= 0)
        return "–";
    snprintf(text, size, "%.*f", value < 100 ? (value < 10 ? 3 : 1) : 0, value);
    return text;
}

static const char *tables_figure(char *text, size_t size, const struct report_group *group, double figure)
{
    return group->kind == REPORT_THROUGHPUT ? report_rate(text, size, figure) : tables_time(text, size, figure);
}

static void tables_cell(FILE *page, const char *text)
{
    fprintf(page, "<td>%s</td>", text);
}

static void tables_number(FILE *page, double value, double scale, const char *after)
{
    if (value > 0)
        fprintf(page, "<td>%.3g%s</td>", value * scale, after);
    else
        fputs("<td>–</td>", page);
}

static void tables_ratio(FILE *page, const json_t *result)
{
    double ratio = report_number(result, "ratio"), low = report_number(result, "ratio_low");
    if (ratio <= 0)
        fputs("<td>–</td>", page);
    else if (low <= 0)
        fprintf(page, "<td>%.3g</td>", ratio);
    else
        fprintf(page, "<td>%.3g (%.3g – %.3g)</td>", ratio, low, report_number(result, "ratio_high"));
}

static void tables_row(FILE *page, const struct report_group *group, const json_t *result)
{
    static const char *const times[] = { "p50_ns", "p99_ns", "p999_ns", "mean_ns" };
    char text[64], other[64];
    double least, most;
    fputs("<tr><td>", page);
    report_page_text(page, report_text(result, "name"));
    fputs("</td>", page);
    if (group->kind == REPORT_THROUGHPUT) {
        report_spread(group, result, &least, &most);
        tables_cell(page, report_rate(text, sizeof text, report_figure(group, result)));
        fprintf(page, "<td>%s – %s</td>", report_rate(text, sizeof text, least),
                report_rate(other, sizeof other, most));
    } else {
        for (size_t at = 0; at < sizeof times / sizeof times[0]; at++)
            tables_cell(page, tables_time(text, sizeof text, report_number(result, times[at])));
    }
    tables_ratio(page, result);
    if (report_is_broadcast(group)) {
        tables_number(page, report_number(result, "producer_ns"), 1, " ns");
        tables_number(page, report_number(result, "lost_share"), 100, " %");
    } else if (group->kind == REPORT_THROUGHPUT)
        tables_number(page, report_number(result, "share_of_ceiling"), 100, " %");
    else if (group->kind == REPORT_ROUND_TRIP)
        tables_number(page, report_number(result, "times_floor"), 1, "");
    fprintf(page, "<td>%.0f</td></tr>\n", report_number(result, "rounds_used"));
}

static void tables_remarks(FILE *page, json_t **results, size_t count)
{
    static const char *const keys[] = { "failed", "warning", "note" };
    for (size_t at = 0; at < count; at++)
        for (size_t key = 0; key < sizeof keys / sizeof keys[0]; key++) {
            if (!report_text(results[at], keys[key])[0])
                continue;
            fprintf(page, "<p class=\"%s\">", key == 0 ? "wrong" : "note");
            report_page_text(page, report_text(results[at], "name"));
            fprintf(page, "%s: ", key == 0 ? " failed" : "");
            report_page_text(page, report_text(results[at], keys[key]));
            fputs("</p>\n", page);
        }
}

static void tables_head(FILE *page, const struct report_group *group, size_t bytes)
{
    char text[32];
    fprintf(page, "<div class=\"wide\"><table>\n<caption>%s</caption>\n<thead><tr><th>Contestant</th>",
            report_size(text, sizeof text, bytes));
    if (group->kind == REPORT_THROUGHPUT)
        fprintf(page, "<th>M/s</th><th>rounds from – to</th><th>ratio (95 %%)</th>%s",
                report_is_broadcast(group) ? "<th>producer, a message</th><th>lost</th>" : "<th>of copy ceiling</th>");
    else
        fputs("<th>p50</th><th>p99</th><th>p99.9</th><th>mean</th><th>ratio (95 %)</th>", page);
    if (group->kind == REPORT_ROUND_TRIP)
        fputs("<th>× floor</th>", page);
    fputs("<th>rounds</th></tr></thead>\n<tbody>\n", page);
}

/* Every round of every contestant. */
static void tables_rounds(FILE *page, const struct report_group *group, json_t **results, size_t count, size_t bytes)
{
    char text[64];
    size_t number;
    json_t *round;
    fprintf(page, "<table class=\"rounds\">\n<caption>%s, every round, %s († disturbed)</caption>\n",
            report_size(text, sizeof text, bytes), group->kind == REPORT_THROUGHPUT ? "M/s" : "p50");
    for (size_t at = 0; at < count; at++) {
        fputs("<tr><td>", page);
        report_page_text(page, report_text(results[at], "name"));
        fputs("</td><td>", page);
        json_array_foreach(json_object_get(results[at], "rounds"), number, round)
        {
            bool disturbed = json_is_true(json_object_get(round, "disturbed"));
            fprintf(page, "%s%s%s%s", number ? ", " : "", disturbed ? TABLES_DISTURBED : "",
                    tables_figure(text, sizeof text, group, report_figure(group, round)), disturbed ? "</span>" : "");
        }
        fputs("</td></tr>\n", page);
    }
    fputs("</table>\n", page);
}

static double tables_worth(const json_t *result)
{
    double rate = report_number(result, "messages_per_second"), time = report_number(result, "p50_ns");
    return rate > 0 ? rate : time > 0 ? 1 / time : 0;
}

static int tables_compare(const void *left, const void *right)
{
    double one = tables_worth(*(json_t *const *)left), other = tables_worth(*(json_t *const *)right);
    return (one < other) - (one > other);
}

/* The results of one size, best first. */
static size_t tables_collect(const struct report_group *group, size_t bytes, json_t **results)
{
    size_t count = 0;
    for (size_t at = 0; at < group->result_count; at++)
        if (report_bytes(group->results[at]) == bytes)
            results[count++] = group->results[at];
    qsort(results, count, sizeof *results, tables_compare);
    return count;
}

void report_group_heading(FILE *page, const struct report_group *group)
{
    fprintf(page, "<h3>%s, between %s",
            group->kind == REPORT_THROUGHPUT   ? "Throughput"
            : group->kind == REPORT_ROUND_TRIP ? "Round trip"
                                               : "One way at an offered rate",
            group->mode);
    if (strcmp(group->topology, "spsc") != 0)
        fprintf(page, ", %s, %zu producer%s, %zu consumer%s", group->topology, group->producers,
                group->producers > 1 ? "s" : "", group->consumers, group->consumers > 1 ? "s" : "");
    if (group->kind == REPORT_ONE_WAY)
        fprintf(page, ", %.6g messages a second", group->rate);
    if (group->kind == REPORT_THROUGHPUT && group->batch > 1)
        fprintf(page, ", %zu messages a call", group->batch);
    fprintf(page, "%s</h3>\n", group->in_place ? ", in place (no copy)" : "");
}

void report_group_tables(FILE *page, const struct report_group *group)
{
    json_t **results = calloc(group->result_count + 1, sizeof *results);
    for (size_t at = 0; at < group->size_count && results; at++) {
        size_t count = tables_collect(group, group->sizes[at], results);
        tables_head(page, group, group->sizes[at]);
        for (size_t place = 0; place < count; place++)
            tables_row(page, group, results[place]);
        fputs("</tbody>\n</table></div>\n", page);
        tables_remarks(page, results, count);
    }
    for (size_t at = 0; at < group->size_count && results; at++)
        tables_rounds(page, group, results, tables_collect(group, group->sizes[at], results), group->sizes[at]);
    free(results);
}
