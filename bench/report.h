/* report.h - ring-bench report: from results in JSON to charts and one page.
 *
 * report.c reads the command line; report_read.c the documents; report_plan.c says which charts, report_charts.c
 * has gnuplot draw them; report_page.c writes the page, report_tables.c its tables, report_sides.c those by the number
 * of producers and consumers. Figures of two documents are never
 * mixed: each was measured in a run of its own, with its own floor. Texts of a document may hold anything: they are
 * escaped where they are written, and no file is named after them.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define REPORT_SIZES 64 /* different message sizes in one group, at most */

enum report_kind { REPORT_THROUGHPUT, REPORT_ROUND_TRIP, REPORT_ONE_WAY };

/* Results that may stand beside each other: all but the size is the same. */
struct report_group {
    enum report_kind kind;
    const char *mode, *topology;
    size_t producers, consumers;
    bool in_place;
    size_t batch;
    double rate;      /* one way: offered messages per second */
    json_t **results; /* borrowed from the document */
    size_t result_count;
    size_t sizes[REPORT_SIZES], size_count; /* ascending */
};

struct report_document {
    const char *path;
    json_t *root, *results; /* results: borrowed from root */
    json_t *names;          /* contestants as they appear; the place decides the colour */
    struct report_group *groups;
    size_t group_count;
};

enum report_view { REPORT_BY_SIZE, REPORT_TO_FLOOR, REPORT_PERCENTILES, REPORT_BY_SIDES };

#define REPORT_SIDES 64 /* different numbers of producers and consumers beside each other, at most */

struct report_chart {
    const struct report_document *document;
    const struct report_group *group;
    enum report_view view;
    size_t bytes; /* percentiles, and by sides: of this size */
    char file[128];
    char title[160];
    unsigned width, height, columns; /* columns: of the key */
};

struct report {
    const char *folder;
    struct report_document *documents;
    size_t document_count;
    struct report_chart *charts;
    size_t chart_count;
};

/* The command: argv[0] is "report". Exit status 0, 1 or 2. */
int report_main(int argc, char **argv);

/* These return 0 or -errno, after a message on standard error. */
int report_read(struct report_document *document, const char *path);
int report_plan_charts(struct report *report);
int report_draw(const struct report *report);
int report_write_page(const struct report *report);

void report_document_free(struct report_document *document);

/* A number of an object, 0 when it has none of that name; a text, "" likewise. */
double report_number(const json_t *object, const char *key);
const char *report_text(const json_t *object, const char *key);
size_t report_bytes(const json_t *result);

/* What the chart or table shows of a result: messages per second or p50 in ns; 0 when it failed. */
double report_figure(const struct report_group *group, const json_t *object);

/* Is its question what sending costs, however many listen? */
bool report_is_broadcast(const struct report_group *group);

/* report_sides.c: groups that differ in the number of producers and consumers only. The members of the family of
 * `group` that have results of `bytes` (0: of any size), fewest sides first; how many. */
size_t report_family(const struct report_document *document, const struct report_group *group, size_t bytes,
                     const struct report_group *members[REPORT_SIDES]);

/* Is it the first of a family of two or more? */
bool report_leads_family(const struct report_document *document, const struct report_group *group);

/* By sides: messages per second, or what a message costs the producer of a broadcast, in seconds. */
double report_sides_figure(const struct report_group *group, const json_t *object);

/* "2+2" */
const char *report_sides(char *text, size_t size, const struct report_group *group);

void report_family_heading(FILE *page, const struct report_group *group);
void report_family_tables(FILE *page, const struct report_document *document, const struct report_group *group);

/* The result of a contestant in a group; NULL: it has none. */
const json_t *report_result(const struct report_group *group, const char *name, size_t bytes);

/* Least and most of the rounds that count (all, when too few were undisturbed). */
void report_spread(const struct report_group *group, const json_t *result, double *least, double *most);

/* "1 KiB" */
const char *report_size(char *text, size_t size, size_t bytes);

/* Millions per second; "–" for none. */
const char *report_rate(char *text, size_t size, double per_second);

/* report_tables.c: the heading of a group; its figures, and below them every round. */
void report_group_heading(FILE *page, const struct report_group *group);
void report_group_tables(FILE *page, const struct report_group *group);

/* Text as HTML. */
void report_page_text(FILE *page, const char *text);

/* A file of the folder, open for writing; NULL after a message. */
FILE *report_open(const struct report *report, const char *name);
int report_close(const struct report *report, const char *name, FILE *file);

#endif
