/* main.c - ring-bench: reads what is wanted, measures, prints. Exit status 0, 1 (something failed) or 2 (wrong usage).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "contestants.h"
#include "options.h"
#include "sleep.h"

#ifdef BENCH_HAVE_REPORT
#include "report.h"
#endif

/* A signal asked us to end and all is cleared away: end by it, so that the caller sees it. */
static void main_end_by(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int main_measure(const struct plan_options *options)
{
    struct plan plan;
    bench_clock_begin();
    int refusal = engine_begin();
    if (refusal) {
        fprintf(stderr, "ring-bench: cannot begin: %s\n", strerror(-refusal));
        return 1;
    }
    refusal = plan_make(&plan, options);
    if (refusal)
        return refusal == -EINVAL ? 2 : 1;
    refusal = plan_run(&plan);
    if (refusal == -EINTR && engine_signal())
        main_end_by(engine_signal());
    if (refusal)
        return 1; /* the reason has been printed; a result with lost messages is none */
    plan_judge(&plan);
    refusal = options->json ? plan_print_json(&plan) : plan_print_table(&plan);
    if (!refusal && options->hgrm)
        refusal = plan_write_hgrm(&plan);
    int status = refusal || plan.failed ? 1 : 0;
    plan_free(&plan);
    return status;
}

int main(int argc, char **argv)
{
    struct plan_options options;
    bool list;
    if (argc > 1 && strcmp(argv[1], "report") == 0) {
#ifdef BENCH_HAVE_REPORT
        return report_main(argc - 1, argv + 1);
#else
        fprintf(stderr, "ring-bench: this build has no report\n");
        return 1;
#endif
    }
    if (argc > 1 && strcmp(argv[1], "blocks") == 0)
        return blocks_main(argc - 1, argv + 1);
    if (argc > 1 && (strcmp(argv[1], "wake") == 0 || strcmp(argv[1], "idle") == 0))
        return sleep_main(argc - 1, argv + 1);
    options_read(argc, argv, &options, &list);
    if (list) {
        contestants_print(stdout);
        return 0;
    }
    return main_measure(&options);
}
