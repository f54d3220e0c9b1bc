/* report.c - ring-bench report: the command line, the folder, the order of work. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report.h"

static const struct argp_option report_options[] = {
    { "output", 'o', "DIR", 0, "Write into this folder, made when missing (default report)", 0 },
    { 0 },
};

struct report_arguments {
    const char *folder;
    char **paths;
    size_t count;
};

static error_t report_parse(int key, char *text, struct argp_state *state)
{
    struct report_arguments *arguments = state->input;
    switch (key) {
    case 'o':
        if (!text[0])
            argp_error(state, "--output wants the name of a folder");
        arguments->folder = text;
        return 0;
    case ARGP_KEY_ARGS:
        arguments->paths = state->argv + state->next;
        arguments->count = (size_t)(state->argc - state->next);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "say which results: files written by ring-bench compare, throughput or latency with --json");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char report_doc[] =
    "Draws charts (SVG, by gnuplot) and writes one page (index.html) from results of ring-bench ... --json.\v"
    "Into the folder come index.html, which holds everything and needs nothing else, a file for each chart, and "
    "charts.gp, from which \"gnuplot charts.gp\" draws them again. Files of these names are replaced. \"-\" reads "
    "standard input. Several results stand one after the other: figures of different runs are never mixed.\n\n"
    "  ring-bench compare --json >result.json\n"
    "  ring-bench report --output report result.json\n\n"
    "Exit status: 0 done, 1 something failed, 2 wrong usage.";

/* Makes the last part of the path only: a mistyped path should not grow a tree. */
static int report_make_folder(const char *folder)
{
    struct stat status;
    if (mkdir(folder, 0777) == 0)
        return 0;
    int refusal = -errno;
    if (refusal == -EEXIST && stat(folder, &status) == 0)
        refusal = S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
    if (refusal)
        fprintf(stderr, "ring-bench report: cannot make the folder %s: %s\n", folder, strerror(-refusal));
    return refusal;
}

FILE *report_open(const struct report *report, const char *name)
{
    char path[4096];
    FILE *file = NULL;
    errno = ENAMETOOLONG;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", report->folder, name) < sizeof path)
        file = fopen(path, "we");
    if (!file)
        fprintf(stderr, "ring-bench report: cannot write %s/%s: %s\n", report->folder, name, strerror(errno));
    return file;
}

int report_close(const struct report *report, const char *name, FILE *file)
{
    int wrong = ferror(file);
    wrong |= fclose(file);
    if (!wrong)
        return 0;
    fprintf(stderr, "ring-bench report: cannot write %s/%s: %s\n", report->folder, name, strerror(errno));
    return -EIO;
}

/* Everything is read and found good before anything is written. */
static int report_make(struct report *report, char **paths, size_t count)
{
    int refusal = 0;
    report->documents = calloc(count, sizeof *report->documents);
    if (!report->documents)
        return -ENOMEM;
    for (; report->document_count < count && !refusal; report->document_count++)
        refusal = report_read(&report->documents[report->document_count], paths[report->document_count]);
    if (!refusal)
        refusal = report_plan_charts(report);
    if (!refusal)
        refusal = report_make_folder(report->folder);
    if (!refusal)
        refusal = report_draw(report);
    if (!refusal)
        refusal = report_write_page(report);
    return refusal;
}

int report_main(int argc, char **argv)
{
    static char name[] = "ring-bench report";
    struct report_arguments arguments = { "report", NULL, 0 };
    struct argp argp = { report_options, report_parse, "RESULT.json...", report_doc, NULL, NULL, NULL };
    struct report report = { 0 };
    argp_err_exit_status = 2;
    argv[0] = name;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    report.folder = arguments.folder;
    int refusal = report_make(&report, arguments.paths, arguments.count);
    if (refusal == -ENOMEM)
        fprintf(stderr, "ring-bench report: out of memory\n");
    for (size_t at = 0; at < report.document_count; at++)
        report_document_free(&report.documents[at]);
    free(report.documents);
    if (!refusal)
        printf("%s/index.html, %zu chart%s\n", report.folder, report.chart_count, report.chart_count == 1 ? "" : "s");
    free(report.charts);
    return refusal ? 1 : 0;
}
