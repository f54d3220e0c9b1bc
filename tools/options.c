/* options.c - arguments that several commands of ringctl understand. A wrong one ends the program with status 2. */
#include "ringctl.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t parse_size(const struct argp_state *state, const char *text, const char *option)
{
    static const char suffixes[] = "KMGT";
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    bool wrong = errno != 0 || end == text || text[0] < '0' || text[0] > '9';
    unsigned shift = 0;
    if (!wrong && *end) {
        const char *suffix = strchr(suffixes, *end >= 'a' ? *end - 'a' + 'A' : *end);
        wrong = !suffix || (strcmp(end + 1, "") != 0 && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0);
        if (!wrong)
            shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (wrong || value > (SIZE_MAX >> shift))
        argp_error(state, "%s %s: wanted a number of bytes such as 4096, 512K, 8M or 1G", option, text);
    return (size_t)value << shift;
}

uint64_t parse_count(const struct argp_state *state, const char *text, const char *option)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] < '0' || text[0] > '9' || !value)
        argp_error(state, "%s %s: wanted a number from 1 on", option, text);
    return value;
}

int64_t parse_seconds(const struct argp_state *state, const char *text, const char *option)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0 || value > 1e9)
        argp_error(state, "%s %s: wanted seconds such as 0, 0.5 or 30", option, text);
    return (int64_t)(value * 1e9);
}

static unsigned parse_mode(const struct argp_state *state, const char *text)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 8);
    if (end == text || *end || text[0] < '0' || text[0] > '7' || value > 0777)
        argp_error(state, "--mode %s: wanted octal permission bits such as 0600 or 0660", text);
    return (unsigned)value;
}

static int parse_node(const struct argp_state *state, const char *text, const char *option)
{
    char *end = NULL;
    bool of_cpu = strncmp(text, "cpu:", 4) == 0;
    const char *digits = of_cpu ? text + 4 : text;
    if (strcmp(text, "here") == 0)
        return RING_NODE_HERE;
    if (strcmp(text, "interleaved") == 0)
        return RING_NODE_INTERLEAVED;
    errno = 0;
    long value = strtol(digits, &end, 10);
    if (errno || end == digits || *end || value < 0 || value > 65535)
        argp_error(state,
                   "%s %s: wanted the number of a NUMA node, from 0 on, 'cpu:N' for that of processor N, 'here' or "
                   "'interleaved'",
                   option, text);
    int node = of_cpu ? ring_node_of_cpu((int)value) : (int)value;
    if (node == RING_NODE_UNKNOWN)
        argp_error(state, "%s %s: no such processor, or this machine or build knows no nodes", option, text);
    return node;
}

enum {
    KEY_RESERVE = 0x100,
    KEY_MODE,
    KEY_NODE,
    KEY_RING_NODE,
    KEY_STRICT,
    KEY_NO_HUGE,
    KEY_NO_LOCK,
    KEY_ANY_OWNER,
};

/* ---- Making ---- */

static error_t parse_making(int key, char *argument, struct argp_state *state)
{
    struct making *making = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = making;
        state->child_inputs[1] = &making->segment;
        return 0;
    case 'b':
        making->segment.bytes = parse_size(state, argument, "--bytes");
        if (making->segment.bytes < RING_SEGMENT_MIN_BYTES || making->segment.bytes > RING_SEGMENT_MAX_BYTES)
            argp_error(state, "--bytes %s: a segment has 32K to 4T", argument);
        return 0;
    case KEY_RESERVE:
        making->segment.reserve = parse_size(state, argument, "--reserve");
        return 0;
    case KEY_MODE:
        making->segment.mode = parse_mode(state, argument);
        return 0;
    case KEY_NODE:
        making->segment.numa_node = parse_node(state, argument, "--node");
        return 0;
    case KEY_RING_NODE:
        making->ring_node = parse_node(state, argument, "--ring-node");
        return 0;
    case KEY_STRICT:
        making->segment.flags |= RING_STRICT;
        return 0;
    case KEY_NO_HUGE:
        making->segment.flags &= ~(unsigned)RING_HUGE;
        return 0;
    case KEY_NO_LOCK:
        making->segment.flags &= ~(unsigned)RING_LOCK;
        return 0;
    case KEY_ANY_OWNER:
        making->segment.flags |= RING_ANY_OWNER;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option making_options_table[] = {
    { "bytes", 'b', "SIZE", 0, "Size of a new segment (default: what its rings need); K, M, G: 1024", 10 },
    { "reserve", KEY_RESERVE, "SIZE", 0, "Room for so much more in it, which takes no memory until a ring is put there",
      10 },
    { "mode", KEY_MODE, "OCTAL", 0, "Permission bits of a new segment (default 0600)", 10 },
    { "node", KEY_NODE, "N", 0,
      "Put a new segment on this NUMA node; 'cpu:N': on that of a processor; 'here'; or 'interleaved'", 10 },
    { "ring-node", KEY_RING_NODE, "N", 0, "The same for new rings (default: as the segment)", 10 },
    { "strict", KEY_STRICT, NULL, 0, "Fail if 2 MiB pages, locking or the node cannot be had", 10 },
    { "no-huge", KEY_NO_HUGE, NULL, 0, "Do not ask for 2 MiB pages", 10 },
    { "no-lock", KEY_NO_LOCK, NULL, 0, "Do not lock the memory", 10 },
    { "any-owner", KEY_ANY_OWNER, NULL, 0, "Accept a segment of another user that is there", 10 },
    { 0 },
};

static const struct argp_child making_children[] = { { &kinds_argp, 0, NULL, 10 },
                                                     { &backing_argp, 0, NULL, 10 },
                                                     { 0 } };
const struct argp making_argp = { .options = making_options_table,
                                  .parser = parse_making,
                                  .children = making_children };

struct making making_defaults(void)
{
    struct making making = { .segment = ring_segment_defaults(), .kind = RING_KIND_SPSC, .ring_node = RING_NODE_ANY };
    making.segment.bytes = 0;
    return making;
}

bool making_options(const struct making *making, size_t rings, struct ring_segment_options *options)
{
    *options = making->segment;
    if (rings > RING_SEGMENT_MAX_RINGS) {
        complain("%zu rings are too many: a segment holds up to %d; make two segments", rings, RING_SEGMENT_MAX_RINGS);
        return false;
    }
    if (rings > options->rings)
        options->rings = (unsigned)rings;
    if (options->bytes)
        return true;
    if (!rings) {
        options->bytes = RING_SEGMENT_DEFAULT_BYTES;
        return true;
    }
    size_t each = making_footprint(making);
    size_t head = RING_LAYOUT_PAGE + options->rings * sizeof(struct ring_layout_entry);
    head = (head + RING_LAYOUT_PAGE - 1) / RING_LAYOUT_PAGE * RING_LAYOUT_PAGE;
    if (making->ring_node != RING_NODE_ANY && (options->flags & RING_HUGE)) { /* pages are not shared between nodes */
        const size_t page = (size_t)2 << 20;
        head = (head + page - 1) / page * page;
        each = making->ring_node == RING_NODE_INTERLEAVED ? (each + page - 1) / page * page : each;
    }
    if (!each || each > (RING_SEGMENT_MAX_BYTES - head) / rings) {
        complain("%zu %ss of this size do not fit into one segment of up to 4T: use smaller %s", rings,
                 kind_noun(making->kind), size_options(making->kind));
        return false;
    }
    options->bytes = head + rings * each;
    if (options->bytes < RING_SEGMENT_MIN_BYTES)
        options->bytes = RING_SEGMENT_MIN_BYTES;
    return true;
}
