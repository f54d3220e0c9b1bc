/* make.c - ringctl create and ringctl rm. */
#include "ringctl.h"

#include <errno.h>

struct create {
    struct making making;
    char *segment;
    char **rings;
    size_t ring_count;
    bool add;
};

static error_t parse_create(int key, char *argument, struct argp_state *state)
{
    struct create *create = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->child_inputs[1] = &create->making;
        return 0;
    case 'a':
        create->add = true;
        return 0;
    case ARGP_KEY_ARGS:
        create->segment = state->argv[state->next];
        create->rings = state->argv + state->next + 1;
        create->ring_count = (size_t)(state->argc - state->next - 1);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which SEGMENT? For example: ringctl create /market quotes trades");
        return 0;
    case ARGP_KEY_SUCCESS:
        if (create->making.segment.removal != RING_REMOVE_BY_HAND)
            argp_error(state, "--removal %s: what create makes would be gone when it ends; 'ringctl send' may make it",
                       removal_word(create->making.segment.removal));
        return 0;
    default:
        (void)argument;
        return ARGP_ERR_UNKNOWN;
    }
}

/* Makes the rings in the new (or old) segment. */
static int make_rings(const struct create *create, struct ring_segment *segment)
{
    for (size_t at = 0; at < create->ring_count; at++) {
        int error = making_ring(&create->making, segment, create->rings[at]);
        if (error == -ENOSPC)
            return complain_library(error, "cannot make %s '%s' in %s (use a larger --bytes, or leave it out)",
                                    kind_noun(create->making.kind), create->rings[at], create->segment);
        if (error)
            return complain_library(error, "cannot make %s '%s' in %s", kind_noun(create->making.kind),
                                    create->rings[at], create->segment);
    }
    return STATUS_DONE;
}

/* What was asked for and not granted is no failure without --strict, but worth a word. */
static void tell_refusals(const struct create *create, const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    int node = create->making.segment.numa_node;
    if (ring_segment_info(segment, &info))
        return;
    if (info.huge_error)
        remark("%s was made without 2 MiB pages (%s)", create->segment, error_name(info.huge_error));
    if (info.lock_error)
        remark("%s was made, but its memory could not be locked (%s); 'ringctl info %s' tells what to do",
               create->segment, error_name(info.lock_error), create->segment);
    if (node >= 0 && info.numa_node != node)
        remark("%s was made, but not on node %d; --strict makes that an error", create->segment, node);
}

static void tell_place(const struct create *create, struct ring_segment *segment, const char *ring)
{
    char wish[32];
    struct ring_pages pages = { .struct_size = sizeof pages };
    if (create->making.ring_node != RING_NODE_ANY && ring_segment_pages(segment, ring, &pages) == 0 && !pages.granted)
        remark("%s '%s' was made, but its pages are not as asked for (%s); --strict makes that an error",
               kind_noun(create->making.kind), ring, node_wish(pages.asked, wish, sizeof wish));
}

static int create_all(const struct create *create)
{
    struct ring_segment_options options;
    struct ring_segment *segment = NULL;
    if (!making_options(&create->making, create->ring_count, &options))
        return STATUS_FAILED;
    int error = create->add ? ring_segment_open(&segment, create->segment, &options)
                            : ring_segment_create(&segment, create->segment, &options);
    if (error == -EEXIST)
        return complain_library(
            error,
            "cannot make segment %s (--add puts rings into the one there, rm removes it, --reclaim does if "
            "nobody living holds it)",
            create->segment);
    if (error)
        return complain_library(error, "cannot make segment %s", create->segment);
    int status = make_rings(create, segment);
    if (!status)
        tell_refusals(create, segment);
    for (size_t at = 0; at < create->ring_count && !status; at++)
        tell_place(create, segment, create->rings[at]);
    ring_segment_close(&segment);
    if (status && !create->add) /* all or nothing */
        ring_segment_unlink(create->segment);
    return status;
}

int command_create(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "add", 'a', NULL, 0, "Put the rings into the segment if it is there already", 0 },
        { 0 },
    };
    static const struct argp_child children[] = { { &making_argp, 0, "Making:", 10 },
                                                  { &memory_argp, 0, "Pools of blocks, and heaps:", 20 },
                                                  { 0 } };
    static const struct argp argp = {
        .options = options,
        .parser = parse_create,
        .args_doc = "SEGMENT [RING...]",
        .doc = "Make a shared-memory segment and named rings of one kind in it, or pools of blocks, or heaps: all of "
               "them, or nothing. --add puts those of another kind in.",
        .children = children,
    };
    struct create create = { .making = making_defaults() };
    if (argp_parse(&argp, argc, argv, 0, NULL, &create))
        return STATUS_USAGE;
    return create_all(&create);
}

enum { MOST_RINGS = 256, MOST_GENERATIONS = 64 };

struct removal {
    bool force;
    unsigned flags;      /* for attaching */
    unsigned ring_count; /* 0: the segment itself */
    const char *rings[MOST_RINGS];
    int status;
};

/* A ring, and those that replaced it when it grew, which have its name as well. */
static int free_ring(struct removal *removal, struct ring_segment *segment, const char *ring)
{
    int error = ring_segment_free(segment, ring);
    if (error == -ENOENT && removal->force)
        return 0;
    for (int more = 0; !error && more < MOST_GENERATIONS; more++)
        error = ring_segment_free(segment, ring) == -ENOENT ? 1 : 0;
    return error > 0 ? 0 : error;
}

static void remove_rings(struct removal *removal, const char *name)
{
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = removal->flags;
    int error = ring_segment_attach(&segment, name, &options, RING_NO_WAIT);
    if (error) {
        if (error != -ENOENT || !removal->force)
            removal->status = complain_library(error, "cannot look at segment %s", name);
        return;
    }
    for (unsigned at = 0; at < removal->ring_count; at++) {
        error = free_ring(removal, segment, removal->rings[at]);
        if (error)
            removal->status = complain_library(error, "cannot remove ring '%s' of %s", removal->rings[at], name);
    }
    ring_segment_close(&segment);
}

static void remove_one(struct removal *removal, const char *segment)
{
    if (removal->ring_count) {
        remove_rings(removal, segment);
        return;
    }
    int error = ring_segment_unlink(segment);
    if (!error || (error == -ENOENT && removal->force))
        return;
    removal->status = complain_library(error, "cannot remove %s", segment);
}

enum { KEY_ANY_OWNER = 0x600 };

static error_t parse_rm(int key, char *argument, struct argp_state *state)
{
    struct removal *removal = state->input;
    switch (key) {
    case 'f':
        removal->force = true;
        return 0;
    case 'r':
        if (removal->ring_count == MOST_RINGS)
            argp_error(state, "--ring: at most %d at a time", MOST_RINGS);
        removal->rings[removal->ring_count++] = argument;
        return 0;
    case KEY_ANY_OWNER:
        removal->flags |= RING_ANY_OWNER;
        return 0;
    case ARGP_KEY_ARGS: /* argp has put all options first, so --force counts wherever it stands */
        for (int at = state->next; at < state->argc; at++)
            remove_one(removal, state->argv[at]);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which SEGMENT? 'ringctl ls' lists them");
        return 0;
    default:
        (void)argument;
        return ARGP_ERR_UNKNOWN;
    }
}

int command_rm(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "force", 'f', NULL, 0, "A segment, or ring, that is not there is no failure", 0 },
        { "ring", 'r', "RING", 0, "Remove this ring, not the segment; may be given several times", 0 },
        { "any-owner", KEY_ANY_OWNER, NULL, 0, "--ring: accept a segment of another user", 0 },
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_rm,
        .args_doc = "SEGMENT...",
        .doc = "Remove segments; processes that are attached keep the memory until they leave. Or rings of a segment: "
               "refused while a living process takes part in one.",
    };
    struct removal removal = { .status = STATUS_DONE };
    if (argp_parse(&argp, argc, argv, 0, NULL, &removal))
        return STATUS_USAGE;
    return removal.status;
}
