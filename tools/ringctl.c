/* ringctl.c - makes, shows, fills, empties and removes rings in shared memory, from the command line.
 *
 * The global parser stops at the first word, the command, and hands what follows to that command's own parser. */
#include "ringctl.h"

#include <stdlib.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "create", command_create }, { "ls", command_ls },           { "info", command_info },
    { "send", command_send },     { "recv", command_recv },       { "grow", command_grow },
    { "rm", command_rm },         { "recover", command_recover }, { "doctor", command_doctor },
};

const char *argp_program_version = "ringctl (shmring) " RING_VERSION;

static int run_command(struct argp_state *state, const char *name)
{
    for (size_t at = 0; at < sizeof commands / sizeof *commands; at++) {
        if (strcmp(commands[at].name, name) != 0)
            continue;
        char title[64];
        snprintf(title, sizeof title, "ringctl %s", name);
        char **argv = state->argv + state->next - 1;
        argv[0] = title;
        int status = commands[at].run(state->argc - state->next + 1, argv);
        argv[0] = state->argv[0];
        return status;
    }
    argp_error(state, "there is no command '%s'; use create, ls, info, send, recv, grow, recover, rm or doctor", name);
    return STATUS_USAGE;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    int *status = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        *status = run_command(state, argument);
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char documentation[] = "Rings in shared memory, from the command line."
                                    "\v"
                                    "Commands:\n"
                                    "  create SEGMENT [RING...]    make a segment and rings in it\n"
                                    "  ls                          list the segments of this machine\n"
                                    "  info SEGMENT                what was granted, who holds what, how far behind\n"
                                    "  send SEGMENT RING [FILE]    standard input or a file into a ring\n"
                                    "  recv SEGMENT RING [FILE]    out of a ring to standard output or a file\n"
                                    "  grow SEGMENT RING           a larger ring in the place of one\n"
                                    "  recover SEGMENT             mend what the dead left\n"
                                    "  rm SEGMENT...               remove segments, or rings of one\n"
                                    "  doctor                      what this machine gives, and how to mend it\n"
                                    "\n"
                                    "'ringctl COMMAND --help' tells more; ringctl(1) tells all.\n"
                                    "Exit status: 0 done, 1 failed, 2 wrong usage, 128+N ended by signal N.";

int main(int argc, char **argv)
{
    static const struct argp argp = { .parser = parse, .args_doc = "COMMAND [ARGUMENT...]", .doc = documentation };
    static char name[] = "ringctl";
    int status = STATUS_USAGE;
    argp_err_exit_status = STATUS_USAGE;
    if (argc > 0)
        argv[0] = name; /* help reads the same however it was started */
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &status);
    return status;
}
