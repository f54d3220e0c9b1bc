/* options.h - the command line of the measuring commands. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "plan.h"

/* Reads it, fills in what was not given; exits 2 after a message when it is wrong, 0 after --help. Sets *list when the
 * command is "list", which measures nothing. */
void options_read(int argc, char **argv, struct plan_options *options, bool *list);

#endif
