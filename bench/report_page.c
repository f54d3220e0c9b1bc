/* report_page.c - index.html: everything in one file, no script, nothing from elsewhere, for phone, screen and paper.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>ring-bench "
    "report</title>\n<style>\n"
    ":root { color-scheme: light; }\n"
    "body { font: 16px/1.5 sans-serif; color: #1a1a1a; background: #fff; max-width: 68rem; margin: 0 auto; padding: "
    "1rem; }\n"
    "h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 2px solid #0b5fa5; }\n"
    "h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }\n"
    ".charts { display: flex; flex-wrap: wrap; gap: 1rem; }\n"
    "figure { margin: 0; flex: 0 1 32rem; min-width: 0; } figure svg { width: 100%; height: auto; display: block; }\n"
    ".wide { overflow-x: auto; }\n"
    "table { border-collapse: collapse; font-size: .85rem; margin: .75rem 0; }\n"
    "caption { text-align: left; font-weight: bold; padding: .25rem 0; }\n"
    "th, td { padding: .2rem .6rem .2rem 0; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top; }\n"
    "th:first-child, td:first-child { text-align: left; } td { font-variant-numeric: tabular-nums; }\n"
    ".rounds td:last-child { text-align: left; } .disturbed { color: #a33; } .wrong { color: #a00; font-weight: bold; "
    "}\n"
    ".facts th { font-weight: normal; color: #555; white-space: nowrap; } .facts td { text-align: left; }\n"
    ".facts td, td:first-child { overflow-wrap: anywhere; } td:first-child { min-width: 6.5rem; }\n"
    ".note { font-size: .85rem; color: #555; }\n"
    "@media (max-width: 40rem) { body { padding: .6rem; } table { font-size: .78rem; } th, td { padding-right: .45rem; "
    "} }\n"
    "@media print { body { font-size: 10pt; max-width: none; padding: 0; } .wide { overflow: visible; }\n"
    " figure { flex-basis: 48%; } figure, tr, caption { break-inside: avoid; } h2, h3, caption { break-after: avoid; "
    "}\n"
    " thead { display: table-header-group; } }\n"
    "</style>\n</head>\n<body>\n<h1>ring-bench report</h1>\n";

void report_page_text(FILE *page, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", page);
            break;
        case '<':
            fputs("&lt;", page);
            break;
        case '>':
            fputs("&gt;", page);
            break;
        case '"':
            fputs("&quot;", page);
            break;
        default:
            fputc((unsigned char)*text < ' ' ? ' ' : *text, page);
        }
    }
}

/* A line of gnuplot's. Ids get the chart's number, as those of one page must differ; titles would only pop up as hints.
 */
static void page_chart_line(FILE *page, char *line, size_t number)
{
    static const char *const marks[] = { " id='", " id=\"", "'#gp" };
    char *hint = strstr(line, "<title>");
    bool text = strstr(line, "<text>") != NULL;
    if (hint && !text)
        strcpy(hint, "\n");
    for (const char *at = line; *at; at++) {
        for (size_t mark = 0; mark < 3 && !text; mark++) {
            size_t length = mark < 2 ? strlen(marks[mark]) : 2;
            if (strncmp(at, marks[mark], strlen(marks[mark])) == 0) {
                fprintf(page, "%.*sc%zu-", (int)length, at, number);
                at += length;
            }
        }
        fputc(*at, page);
    }
}

/* The chart as gnuplot wrote it, from the end of its <svg ...> on. */
static int page_chart(FILE *page, const struct report *report, size_t number)
{
    const struct report_chart *chart = &report->charts[number];
    char path[4096], *line = NULL;
    size_t room = 0;
    bool begun = false, inside = false;
    snprintf(path, sizeof path, "%s/%s", report->folder, chart->file);
    FILE *file = fopen(path, "re");
    if (!file) {
        fprintf(stderr, "ring-bench report: gnuplot has not written %s: %s\n", path, strerror(errno));
        return -EIO;
    }
    fprintf(page, "<figure>\n<svg viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"%s\">\n", chart->width, chart->height,
            chart->title);
    while (getline(&line, &room, file) >= 0) {
        if (inside)
            page_chart_line(page, line, number);
        begun = begun || strncmp(line, "<svg", 4) == 0;
        inside = inside || (begun && strchr(line, '>'));
    }
    free(line);
    fclose(file);
    fputs("</figure>\n", page);
    return 0;
}

static void page_fact(FILE *page, const char *name, const json_t *value)
{
    if (!value)
        return;
    fprintf(page, "<tr><th>%s</th><td>", name);
    if (json_is_string(value))
        report_page_text(page, json_string_value(value));
    else if (json_is_array(value))
        for (size_t at = 0; at < json_array_size(value); at++)
            fprintf(page, "%s%g", at ? ", " : "", json_number_value(json_array_get(value, at)));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "yes" : "no", page);
    else
        fprintf(page, "%.6g", json_number_value(value));
    fputs("</td></tr>\n", page);
}

static void page_facts(FILE *page, const struct report_document *document)
{
    static const char *const facts[][3] = {
        { "machine", "cpu", "Processor" },
        { "machine", "cores", "Cores" },
        { "machine", "virtual", "Virtual machine" },
        { "machine", "cpus", "Pinned to" },
        { "machine", "kernel", "Kernel" },
        { "machine", "compiler", "Compiler" },
        { "machine", "flags", "Flags" },
        { "machine", "commit", "Commit" },
        { "machine", "governor", "Governor" },
        { "machine", "clocksource", "Clock source" },
        { "settings", "pages", "Pages" },
        { "settings", "baseline", "Ratios are to" },
        { "settings", "rounds", "Rounds at most" },
        { "settings", "seconds_per_cell", "Seconds per cell" },
        { "settings", "ring_bytes", "Ring size in bytes" },
        { "floor", "rtt_p50_ns", "Raw floor, ns, median" },
        { "floor", "rtt_mean_ns", "Raw floor, ns, mean" },
        { "ceiling", "stream_words_per_second", "Streaming ceiling, words/s" },
        { "floor", "rounds", "Rounds in all" },
        { "floor", "rounds_disturbed", "Rounds disturbed" },
    };
    fputs("<div class=\"wide\"><table class=\"facts\">\n", page);
    for (size_t at = 0; at < sizeof facts / sizeof facts[0]; at++)
        page_fact(page, facts[at][2], json_object_get(json_object_get(document->root, facts[at][0]), facts[at][1]));
    fputs("</table></div>\n", page);
}

/* What could not be measured, and why. */
static void page_left_out(FILE *page, const struct report_document *document)
{
    const json_t *list = json_object_get(document->root, "left_out"), *entry;
    size_t at;
    if (!json_array_size(list))
        return;
    fputs("<h3>Left out</h3>\n<ul class=\"note\">\n", page);
    json_array_foreach(list, at, entry)
    {
        fputs("<li>", page);
        report_page_text(page, report_text(entry, "name"));
        if (report_bytes(entry))
            fprintf(page, ", %zu B", report_bytes(entry));
        fputs(": ", page);
        report_page_text(page, report_text(entry, "why"));
        if (report_text(entry, "package")[0]) {
            fputs(" (Debian: ", page);
            report_page_text(page, report_text(entry, "package"));
            fputc(')', page);
        }
        fputs("</li>\n", page);
    }
    fputs("</ul>\n", page);
}

/* The charts of a group; of those by sides, or of the others. */
static int page_charts(FILE *page, const struct report *report, const struct report_group *group, bool by_sides)
{
    fputs("<div class=\"charts\">\n", page);
    for (size_t number = 0; number < report->chart_count; number++) {
        const struct report_chart *chart = &report->charts[number];
        if (chart->group == group && by_sides == (chart->view == REPORT_BY_SIDES) && page_chart(page, report, number))
            return -EIO;
    }
    fputs("</div>\n<p class=\"note\">Points are medians of the rounds that count; bars span these rounds.</p>\n", page);
    return 0;
}

static int page_document(FILE *page, const struct report *report, const struct report_document *document)
{
    int refusal = 0;
    fputs("<h2>", page);
    report_page_text(page, document->path);
    fputs("</h2>\n", page);
    page_facts(page, document);
    for (size_t at = 0; at < 2 * document->group_count && !refusal; at++) {
        const struct report_group *group = &document->groups[at % document->group_count];
        bool by_sides = at >= document->group_count;
        if (by_sides && !report_leads_family(document, group))
            continue;
        fputs("<section>\n", page);
        by_sides ? report_family_heading(page, group) : report_group_heading(page, group);
        refusal = page_charts(page, report, group, by_sides);
        by_sides ? report_family_tables(page, document, group) : report_group_tables(page, group);
        fputs("</section>\n", page);
    }
    page_left_out(page, document);
    return refusal;
}

int report_write_page(const struct report *report)
{
    int refusal = 0;
    FILE *page = report_open(report, "index.html");
    if (!page)
        return -EIO;
    fputs(page_head, page);
    for (size_t at = 0; at < report->document_count && !refusal; at++)
        refusal = page_document(page, report, &report->documents[at]);
    fputs("</body>\n</html>\n", page);
    int closing = report_close(report, "index.html", page);
    return refusal ? refusal : closing;
}
