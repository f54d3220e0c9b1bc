/* recover.c - ringctl recover: mends at once what the dead left, and says in words what that was. */
#include "ringctl.h"

#include <errno.h>

struct recover {
    const char *segment;
    unsigned flags;
    bool as_json;
};

static void tell(unsigned count, const char *one, const char *many)
{
    if (count)
        printf("  %u %s\n", count, count == 1 ? one : many);
}

static void print_report(const struct recover *recover, const struct ring_recovery *report)
{
    const char *segment = without_slash(recover->segment);
    if (!report->skipped && !report->freed && !report->waiting && !report->pending && !report->blocks_freed &&
        !report->blocks_stranded && !report->pieces_freed) {
        printf("nothing to mend in /%s: %u MPMC ring%s looked at (SPSC and broadcast rings need no mending)\n", segment,
               report->rings, report->rings == 1 ? "" : "s");
        return;
    }
    printf("/%s: %u MPMC ring%s looked at\n", segment, report->rings, report->rings == 1 ? "" : "s");
    tell(report->skipped, "message that a dead producer had claimed and not sent is passed over now",
         "messages that dead producers had claimed and not sent are passed over now");
    tell(report->freed, "place that a consumer died on is free again", "places that consumers died on are free again");
    tell(report->waiting,
         "message that a dead consumer had taken waits: who receives next gets it, marked as redelivered",
         "messages that dead consumers had taken wait: who receives next gets them, marked as redelivered");
    tell(report->pending, "position is left alone: somebody living is at work on it",
         "positions are left alone: somebody living is at work on them");
    tell((unsigned)report->blocks_freed, "block that the dead had is free again",
         "blocks that the dead had are free again");
    tell((unsigned)report->blocks_stranded, "block is in transit though its sender is gone: its receiver has it",
         "blocks are in transit though their senders are gone: their receivers have them");
    tell((unsigned)report->pieces_freed, "piece of a heap that a dead one had not kept is free again",
         "pieces of heaps that the dead had not kept are free again");
}

static void json_report(const struct ring_recovery *report)
{
    struct json json = { .file = stdout };
    json_open(&json, NULL, '{');
    json_number(&json, "rings", report->rings);
    json_number(&json, "skipped", report->skipped);
    json_number(&json, "freed", report->freed);
    json_number(&json, "waiting", report->waiting);
    json_number(&json, "pending", report->pending);
    json_number(&json, "blocks_freed", report->blocks_freed);
    json_number(&json, "blocks_stranded", report->blocks_stranded);
    json_number(&json, "pieces_freed", report->pieces_freed);
    json_close(&json, '}');
}

static int recover_segment(const struct recover *recover)
{
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_recovery report = { .struct_size = sizeof report };
    options.flags = recover->flags;
    int error = ring_segment_attach(&segment, recover->segment, &options, RING_NO_WAIT);
    if (error == -EPERM)
        return complain_library(error, "cannot mend segment %s (--any-owner accepts it)", recover->segment);
    if (error)
        return complain_library(error, "cannot mend segment %s", recover->segment);
    error = ring_segment_recover(segment, &report);
    int status = error ? complain_library(error,
                                          "segment %s could not be mended in full; what is damaged stays so: remove it "
                                          "by 'ringctl rm %s' and start all sides again",
                                          recover->segment, recover->segment)
                       : STATUS_DONE;
    if (!error || report.rings) {
        if (recover->as_json)
            json_report(&report);
        else
            print_report(recover, &report);
    }
    ring_segment_close(&segment);
    return finish_output(status);
}

enum { KEY_ANY_OWNER = 0x500 };

static error_t parse_recover(int key, char *argument, struct argp_state *state)
{
    struct recover *recover = state->input;
    switch (key) {
    case 'j':
        recover->as_json = true;
        return 0;
    case KEY_ANY_OWNER:
        recover->flags |= RING_ANY_OWNER;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "'%s' is too much: one SEGMENT", argument);
        recover->segment = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which SEGMENT? 'ringctl ls' lists them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_recover(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "json", 'j', NULL, 0, "For programs", 0 },
        { "any-owner", KEY_ANY_OWNER, NULL, 0, "Accept a segment of another user", 0 },
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_recover,
        .args_doc = "SEGMENT",
        .doc = "Mend at once what participants that died left unfinished, and tell what that was. Nobody needs this: "
               "each call on a ring mends what stands in its way. The living, stopped ones too, are not disturbed.",
    };
    struct recover recover = { .flags = 0 };
    if (argp_parse(&argp, argc, argv, 0, NULL, &recover))
        return STATUS_USAGE;
    return recover_segment(&recover);
}
