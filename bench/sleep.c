/* sleep.c - the command line of ring-bench wake and ring-bench idle. */
#include <argp.h>
#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sleep.h"

enum { OPTION_JSON = 256, OPTION_ONLY_IDLING };

static const struct argp_option argp_options[] = {
    { "rounds", 'r', "N", 0, "Rounds, in each of which all take a turn (default: wake 9, idle 1)", 0 },
    { "trips", 't', "N", 0, "wake: round trips of each in each round (default 1000)", 0 },
    { "seconds", 's', "S", 0, "idle: seconds of idling; a quarter of it at each rate (default 2)", 0 },
    { "only-idling", OPTION_ONLY_IDLING, NULL, 0, "idle: nothing is sent", 0 },
    { "cpus", 'c', "A,B", 0, "Processors of the two processes (default 0,1)", 0 },
    { "ways", 'w', "NAME,...", 0, "Only these, and the bare futex (default: all; the table names them)", 0 },
    { "json", OPTION_JSON, NULL, 0, "One JSON document on standard output instead of the table", 0 },
    { 0 },
};

int sleep_print_json(json_t *document)
{
    int code = document && json_dumpf(document, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0 ? 0 : -EIO;
    json_decref(document);
    putchar('\n');
    return fflush(stdout) == 0 ? code : -EIO;
}

static unsigned number(const char *argument, unsigned most, const char *what, struct argp_state *state)
{
    char *rest;
    unsigned long value = strtoul(argument, &rest, 10);
    if (argument[0] == '-' || *rest || !value || value > most)
        argp_error(state, "'%s': 1 to %u %s", argument, most, what);
    return (unsigned)value;
}

static void choose(bool chosen[SLEEP_MOST_WAYS], char *names, struct argp_state *state)
{
    memset(chosen, 0, SLEEP_MOST_WAYS * sizeof *chosen);
    chosen[0] = true;
    for (char *rest, *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        size_t way = 0;
        while (way < sleep_way_count && strcmp(sleep_ways[way].name, name) != 0)
            way++;
        if (way == sleep_way_count)
            argp_error(state, "'%s': there is no such way; without --ways all are shown", name);
        else
            chosen[way] = true;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct sleep_options *options = state->input;
    char *rest = NULL;
    switch (key) {
    case 'r':
        options->rounds = number(argument, SLEEP_MOST_ROUNDS, "rounds", state);
        return 0;
    case 't':
        options->trips = number(argument, SLEEP_MOST_TRIPS, "trips", state);
        return 0;
    case 's':
        options->seconds = strtod(argument, &rest);
        if (*rest || !(options->seconds > 0 && options->seconds <= 100))
            argp_error(state, "'%s': seconds, up to 100", argument);
        return 0;
    case 'c':
        if (sscanf(argument, "%d,%d", &options->cpus[0], &options->cpus[1]) != 2 || options->cpus[0] < 0 ||
            options->cpus[1] < 0 || options->cpus[0] >= CPU_SETSIZE || options->cpus[1] >= CPU_SETSIZE)
            argp_error(state, "'%s': two processors, as 0,1", argument);
        return 0;
    case 'w':
        choose(options->chosen, argument, state);
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case OPTION_ONLY_IDLING:
        options->only_idling = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is too much", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int sleep_main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse,
        .doc = "wake: how long it takes to wake who sleeps. idle: what waiting costs the processors.",
    };
    bool idle = strcmp(argv[0], "idle") == 0;
    struct sleep_options options = { .rounds = idle ? 1 : 9, .trips = 1000, .seconds = 2, .cpus = { 0, 1 } };
    static char wake_name[] = "ring-bench wake", idle_name[] = "ring-bench idle";
    argv[0] = idle ? idle_name : wake_name;
    argp_err_exit_status = 2;
    memset(options.chosen, true, sizeof options.chosen);
    if (argp_parse(&argp, argc, argv, 0, NULL, &options))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    return (idle ? sleep_idle(&options) : sleep_wake(&options)) ? 1 : 0;
}
