/* grow.c - ringctl grow: a larger ring in the place of one that has no producer at the moment.
 *
 * Growth is the producer's right, so this command is that producer for a moment, one that sends nothing and leaves the
 * role as it found it. A living producer is not asked: it grows its ring itself, by ring_spsc_grow(). */
#include "ringctl.h"

#include "ends.h"

#include <errno.h>

struct grow {
    const char *segment;
    const char *ring;
    size_t capacity; /* 0: twice as much */
    unsigned flags;
};

/* The newest generation of that name: ring_spsc_info() tells of the oldest. */
static uint64_t capacity_now(struct ring_segment *segment, const char *ring)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    if (ring_spsc_info(segment, ring, &info) != 0)
        return 0;
    while (next_generation(segment, ring, &info))
        continue;
    return info.capacity;
}

static int refuse(const struct grow *grow, int error)
{
    if (error == -EBUSY)
        return complain_library(error, "cannot grow ring '%s' of %s: only its producer may, by ring_spsc_grow()",
                                grow->ring, grow->segment);
    return complain_library(error, "cannot grow ring '%s' of %s", grow->ring, grow->segment);
}

static int grow_ring(const struct grow *grow)
{
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_spsc_options wish = ring_spsc_defaults();
    options.flags = grow->flags;
    wish.bytes = grow->capacity;
    int error = ring_segment_attach(&segment, grow->segment, &options, RING_NO_WAIT);
    if (error == -EPERM)
        return complain_library(error, "cannot grow a ring of %s (--any-owner accepts it)", grow->segment);
    if (error)
        return complain_library(error, "cannot grow a ring of %s", grow->segment);
    uint64_t before = capacity_now(segment, grow->ring);
    error = ring_spsc_grow_unattended(segment, grow->ring, grow->capacity ? &wish : NULL);
    int status = error ? refuse(grow, error) : STATUS_DONE;
    if (!error) {
        char from[32], to[32];
        printf("ring %s of /%s: %s instead of %s\n", grow->ring, without_slash(grow->segment),
               human_bytes(capacity_now(segment, grow->ring), to, sizeof to), human_bytes(before, from, sizeof from));
    }
    ring_segment_close(&segment);
    return finish_output(status);
}

enum { KEY_ANY_OWNER = 0x600 };

static error_t parse_grow(int key, char *argument, struct argp_state *state)
{
    struct grow *grow = state->input;
    switch (key) {
    case 'c':
        grow->capacity = parse_size(state, argument, "--capacity");
        if (grow->capacity > RING_SPSC_MAX_BYTES)
            argp_error(state, "--capacity %s: a ring has 4G at most", argument);
        return 0;
    case KEY_ANY_OWNER:
        grow->flags |= RING_ANY_OWNER;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            argp_error(state, "'%s' is too much: one SEGMENT and one RING", argument);
        *(state->arg_num ? &grow->ring : &grow->segment) = argument;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "which SEGMENT and RING? For example: ringctl grow /market quotes --capacity 8M");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_grow(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "capacity", 'c', "SIZE", 0, "At least so large, rounded up to a power of two; default: twice as large", 0 },
        { "any-owner", KEY_ANY_OWNER, NULL, 0, "Accept a segment of another user", 0 },
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_grow,
        .args_doc = "SEGMENT RING",
        .doc = "Put a larger ring in the place of an spsc ring that has no living producer. What is in it stays and "
               "comes first; a consumer that is attached goes on to the larger one by itself. The segment must have "
               "room for both. A ring with a living producer is refused: only that can grow it.",
    };
    struct grow grow = { .flags = 0 };
    if (argp_parse(&argp, argc, argv, 0, NULL, &grow))
        return STATUS_USAGE;
    return grow_ring(&grow);
}
