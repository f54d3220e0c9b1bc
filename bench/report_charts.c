/* report_charts.c - which charts there are, and the gnuplot text of each.
 *
 * Numbers go to gnuplot in blocks, names in single quotes only: there it expands neither backslashes nor backquotes.
 * A contestant has the same colour and mark in every chart of a document. The width suits a phone held upright.
 */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

#define CHART_NAME 28 /* bytes of a name that are drawn */

static const char chart_head[] =
    "# Drawn again by: gnuplot charts.gp\n"
    "set encoding utf8\nset micro\n"
    "set border 3 lc rgb '#666666'\n"
    "set tics nomirror\n"
    "set grid lc rgb '#dddddd' lt 1 lw 0.7\n"
    "set key bottom outside center horizontal Left reverse samplen 1.8 height 0.7 font ',11'\n";

static const char *const chart_colours[] = { "#0b5fa5", "#d55e00", "#009e73", "#b3478c", "#c98a00",
                                             "#3ba3dc", "#6a3d9a", "#555555", "#a52a2a", "#7a8a00" };
static const int chart_marks[] = { 7, 5, 9, 11, 13, 6, 4, 8, 10, 12 };

enum { CHART_LOOKS = sizeof chart_marks / sizeof chart_marks[0] };

/* In single quotes. A tic's text is a printf format, in which a percent sign must be doubled. */
static void chart_quote(FILE *script, const char *text, bool tic)
{
    size_t length = strlen(text), end = length < CHART_NAME ? length : CHART_NAME;
    while (end < length && ((unsigned char)text[end] & 0xC0) == 0x80)
        end--; /* not within a character */
    fputc('\'', script);
    for (size_t at = 0; at < end; at++) {
        fputc((unsigned char)text[at] < ' ' ? ' ' : text[at], script);
        if (text[at] == '\'' || (tic && text[at] == '%'))
            fputc(text[at], script);
    }
    fprintf(script, "%s'", end < length ? "…" : "");
}

/* The figure shown, and its spread, in gnuplot's units: messages per second, seconds or times the floor. */
static bool chart_values(const struct report_chart *chart, const json_t *result, double values[3])
{
    values[0] = report_figure(chart->group, result);
    report_spread(chart->group, result, &values[1], &values[2]);
    double scale = 1;
    if (chart->view == REPORT_TO_FLOOR && values[0] > 0)
        scale = report_number(result, "times_floor") / values[0];
    for (int at = 0; at < 3; at++)
        values[at] *= scale;
    return values[0] > 0;
}

/* Of a contestant: which numbers of sides, figure, least, most. The count of lines. */
static size_t chart_block_sides(FILE *script, const struct report_chart *chart, const char *name)
{
    const struct report_group *members[REPORT_SIDES];
    size_t count = report_family(chart->document, chart->group, chart->bytes, members), lines = 0, number;
    json_t *round;
    for (size_t at = 0; at < count; at++) {
        const json_t *result = report_result(members[at], name, chart->bytes);
        double figure = report_sides_figure(members[at], result), least = figure, most = figure;
        bool all = report_text(result, "warning")[0];
        json_array_foreach(json_object_get(result, "rounds"), number, round)
        {
            double here = report_sides_figure(members[at], round);
            if (here <= 0 || (!all && json_is_true(json_object_get(round, "disturbed"))))
                continue;
            least = here < least ? here : least;
            most = here > most ? here : most;
        }
        if (figure > 0 && ++lines)
            fprintf(script, "%zu %.8g %.8g %.8g\n", at, figure, least, most);
    }
    return lines;
}

/* The block $dN of a contestant: size or row, figure, least, most. The count of its lines. */
static size_t chart_block(FILE *script, const struct report_chart *chart, size_t place)
{
    const char *name = json_string_value(json_array_get(chart->document->names, place));
    size_t lines = 0, at;
    json_t *point;
    double values[3];
    fprintf(script, "$d%zu << END\n", place);
    if (chart->view == REPORT_BY_SIDES)
        lines = chart_block_sides(script, chart, name);
    bool sizes = chart->view == REPORT_BY_SIZE || chart->view == REPORT_TO_FLOOR;
    for (at = 0; at < chart->group->size_count && sizes; at++) {
        const json_t *result = report_result(chart->group, name, chart->group->sizes[at]);
        if (!result || !chart_values(chart, result, values))
            continue;
        fprintf(script, "%zu %.8g %.8g %.8g\n", chart->group->sizes[at], values[0], values[1], values[2]);
        lines++;
    }
    const json_t *of = chart->view == REPORT_PERCENTILES ? report_result(chart->group, name, chart->bytes) : NULL;
    json_array_foreach(json_object_get(of, "percentiles"), at, point)
    {
        double share = report_number(point, "percentile") / 100, ns = report_number(point, "ns");
        if (!(share >= 0 && share < 1) || ns <= 0)
            continue;
        fprintf(script, "%.8g %.8g\n", 1 / (1 - share), ns * 1e-9);
        lines++;
    }
    fputs("END\n", script);
    return lines;
}

/* How far to the right the percentiles go. */
static double chart_tail(const struct report_chart *chart)
{
    double most = 10;
    for (size_t at = 0; at < chart->group->result_count; at++) {
        const json_t *points = json_object_get(chart->group->results[at], "percentiles");
        const json_t *last = json_array_get(points, json_array_size(points) - 1);
        double share = report_number(last, "percentile") / 100;
        if (report_bytes(chart->group->results[at]) == chart->bytes && share < 1 && 1 / (1 - share) > most)
            most = 1 / (1 - share);
    }
    return most;
}

/* What the contestants are held against, as the block $limit: the copy ceiling, or the floor. */
static const char *chart_limit(FILE *script, const struct report_chart *chart)
{
    const struct report_group *group = chart->group;
    const json_t *root = chart->document->root, *copy;
    double floor_ns = report_number(json_object_get(root, "floor"), "rtt_p50_ns");
    size_t at;
    bool any = false;
    fputs("$limit << END\n", script);
    if (group->kind == REPORT_THROUGHPUT && !group->in_place && chart->view != REPORT_BY_SIDES) {
        const json_t *copies = json_object_get(json_object_get(root, "ceiling"), "copy");
        json_array_foreach(copies, at, copy)
        {
            double ceiling = report_number(copy, "messages_per_second");
            if (strcmp(report_text(copy, "mode"), group->mode) != 0 || ceiling <= 0)
                continue;
            fprintf(script, "%zu %.8g\n", report_bytes(copy), ceiling);
            any = true;
        }
    } else if (chart->view == REPORT_PERCENTILES && group->kind == REPORT_ROUND_TRIP && floor_ns > 0) {
        fprintf(script, "1 %.8g\n%.8g %.8g\n", floor_ns * 1e-9, chart_tail(chart), floor_ns * 1e-9);
        any = true;
    }
    fputs("END\n", script);
    return !any ? NULL : group->kind == REPORT_THROUGHPUT ? "copy ceiling" : "raw floor (median)";
}

static void chart_axes_sides(FILE *script, const struct report_chart *chart)
{
    const struct report_group *members[REPORT_SIDES];
    char text[64];
    size_t count = report_family(chart->document, chart->group, chart->bytes, members);
    fputs("unset logscale\nset logscale y\nset yrange [*:*]\nset xtics (", script);
    for (size_t at = 0; at < count; at++)
        fprintf(script, "%s'%s' %zu", at ? ", " : "", report_sides(text, sizeof text, members[at]), at);
    fprintf(script, ") norotate\nset xlabel 'producers + consumers'\nset xrange [-0.3:%g]\n", (double)count - 0.7);
    if (report_is_broadcast(chart->group))
        fputs("set format y '%.1s %cs'\nset ylabel 'producer, per message'\n", script);
    else
        fputs("set format y '%.0s %c'\nset ylabel 'messages per second'\n", script);
}

static void chart_axes(FILE *script, const struct report_chart *chart)
{
    char text[32];
    if (chart->view == REPORT_BY_SIDES) {
        chart_axes_sides(script, chart);
        return;
    }
    fputs("set logscale xy\nset xrange [*:*]\nset yrange [*:*]\n", script);
    if (chart->view == REPORT_PERCENTILES) {
        fputs("set xtics ('50' 2, '90' 10, '99' 100, '99.9' 1e3, '99.99' 1e4, '99.999' 1e5, '6 nines' 1e6, '7 nines' "
              "1e7) norotate\nset xlabel 'percentile, %'\nset format y '%.0s %cs'\nset xrange [1:*]\n",
              script);
        fprintf(script, "set ylabel '%s'\n", chart->group->kind == REPORT_ONE_WAY ? "one way" : "round trip");
        return;
    }
    fputs("set xtics (", script);
    for (size_t at = 0; at < chart->group->size_count; at++)
        fprintf(script, "%s'%s' %zu", at ? ", " : "", report_size(text, sizeof text, chart->group->sizes[at]),
                chart->group->sizes[at]);
    fprintf(script, ") %s\nset xlabel 'message size'\n", chart->group->size_count > 7 ? "rotate by -45" : "norotate");
    fprintf(script, "set xrange [%g:%g]\n", (double)chart->group->sizes[0] * 0.8,
            (double)chart->group->sizes[chart->group->size_count - 1] * 1.25);
    if (chart->view == REPORT_TO_FLOOR)
        fputs("set format y '%g'\nset ylabel 'median round trip / raw floor'\n", script);
    else
        fputs("set format y '%.0s %c'\nset ylabel 'messages per second'\n", script);
}

static void chart_look(FILE *script, size_t place)
{
    fprintf(script, "lc rgb '%s' ", chart_colours[place % CHART_LOOKS]);
    fprintf(script, "lw %s dt %zu ", place ? "1.6" : "3", place / CHART_LOOKS % 4 + 1);
    fprintf(script, "pt %d ps 0.7 ", chart_marks[(place + place / CHART_LOOKS) % CHART_LOOKS]);
}

/* Lines over sizes or percentiles, one for each contestant. */
static void chart_lines(FILE *script, const struct report_chart *chart)
{
    size_t names = json_array_size(chart->document->names);
    const char *limit = chart_limit(script, chart), *comma = "";
    bool percentiles = chart->view == REPORT_PERCENTILES;
    bool *there = calloc(names + 1, sizeof *there);
    for (size_t place = 0; place < names && there; place++)
        there[place] = chart_block(script, chart, place) > 0;
    chart_axes(script, chart);
    fputs("plot ", script);
    for (size_t place = 0; place < names && there; place++) {
        if (!there[place])
            continue;
        if (!percentiles)
            fprintf(script, "%s$d%zu using 1:2:3:4 with yerrorbars notitle lc rgb '%s' lw 1 pt -1", comma, place,
                    chart_colours[place % CHART_LOOKS]);
        fprintf(script, "%s$d%zu using 1:2 with linespoints ", percentiles ? comma : ", \\\n ", place);
        chart_look(script, place);
        fputs(percentiles ? "pi 4 " : "", script);
        fputs("title ", script);
        chart_quote(script, json_string_value(json_array_get(chart->document->names, place)), false);
        comma = ", \\\n ";
    }
    if (limit)
        fprintf(script, "%s$limit with lines lc rgb '#666666' lw 1.8 dt 2 title '%s'", comma, limit);
    fputc('\n', script);
    free(there);
}

struct chart_row {
    size_t place;
    double values[3];
};

/* Best last, which is on top. */
static int chart_compare(const void *left, const void *right)
{
    double one = ((const struct chart_row *)left)->values[0], other = ((const struct chart_row *)right)->values[0];
    return (one > other) - (one < other);
}

/* One size only: a row for each contestant, the figure as a dot with its spread. */
static void chart_dots(FILE *script, const struct report_chart *chart)
{
    size_t names = json_array_size(chart->document->names), count = 0;
    struct chart_row *rows = calloc(names + 1, sizeof *rows);
    for (size_t place = 0; place < names && rows; place++) {
        const char *name = json_string_value(json_array_get(chart->document->names, place));
        const json_t *result = report_result(chart->group, name, chart->group->sizes[0]);
        if (result && chart_values(chart, result, rows[count].values))
            rows[count++].place = place;
    }
    if (rows)
        qsort(rows, count, sizeof *rows, chart_compare);
    bool throughput = chart->group->kind == REPORT_THROUGHPUT;
    fputs("set logscale x\nset xtics autofreq norotate\nset xrange [*:*]\nset ytics (", script);
    for (size_t at = 0; at < count; at++) {
        fputs(at ? ", " : "", script);
        chart_quote(script, json_string_value(json_array_get(chart->document->names, rows[at].place)), true);
        fprintf(script, " %zu", throughput ? at : count - 1 - at);
    }
    fprintf(script, ")\nset yrange [-0.6:%g]\nset format x '%s'\nset xlabel '%s'\nunset key\n$rows << END\n",
            (double)count - 0.4, throughput ? "%.0s %c" : "%g",
            throughput ? "messages per second" : "median round trip / raw floor");
    for (size_t at = 0; at < count; at++)
        fprintf(script, "%.8g %zu %.8g %.8g\n", rows[at].values[0], throughput ? at : count - 1 - at,
                rows[at].values[1], rows[at].values[2]);
    fprintf(script, "END\nplot $rows using 1:2:3:4 with xerrorbars lc rgb '%s' lw 1.4 pt 7 ps 0.9 notitle\n",
            chart_colours[0]);
    free(rows);
}

static void chart_write(FILE *script, const struct report_chart *chart, size_t at)
{
    fputs("\nreset\n", script);
    fputs(chart_head, script);
    fprintf(script,
            "set terminal svg size %u,%u noenhanced font 'sans-serif,13' background '#ffffff' name 'chart%zu'\n"
            "set key maxcols %u\nset output '%s'\nset title '%s'\n",
            chart->width, chart->height, at, chart->columns, chart->file, chart->title);
    if (chart->view == REPORT_PERCENTILES || chart->view == REPORT_BY_SIDES || chart->group->size_count > 1)
        chart_lines(script, chart);
    else
        chart_dots(script, chart);
    fputs("set output\n", script);
}

/* In the folder, so that no path has to be quoted. -d: the user's own gnuplotrc stays out. */
static int chart_run(const struct report *report)
{
    static char program[] = "gnuplot", plain[] = "-d", script[] = "charts.gp";
    char *arguments[] = { program, plain, script, NULL };
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = 0;
    int refusal = -posix_spawn_file_actions_init(&actions);
    if (refusal)
        return refusal;
    refusal = -posix_spawn_file_actions_addchdir_np(&actions, report->folder);
    if (!refusal)
        refusal = -posix_spawnp(&child, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (refusal == -ENOENT)
        fprintf(stderr, "ring-bench report: gnuplot is missing (Debian: gnuplot-nox)\n");
    else if (refusal)
        fprintf(stderr, "ring-bench report: cannot run gnuplot: %s\n", strerror(-refusal));
    if (refusal)
        return refusal;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    fprintf(stderr, "ring-bench report: gnuplot failed on %s/charts.gp\n", report->folder);
    return -EIO;
}

int report_draw(const struct report *report)
{
    FILE *script = report_open(report, "charts.gp");
    if (!script)
        return -EIO;
    for (size_t at = 0; at < report->chart_count; at++)
        chart_write(script, &report->charts[at], at);
    int refusal = report_close(report, "charts.gp", script);
    return refusal || !report->chart_count ? refusal : chart_run(report);
}
