/* options.c - arguments that several commands of ringctl understand. A wrong one ends the program with status 2. */
#include "ringctl.h"

#include <assert.h>
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
    KEY_RING_BYTES = 0x100,
    KEY_RESERVE,
    KEY_MODE,
    KEY_NODE,
    KEY_RING_NODE,
    KEY_STRICT,
    KEY_NO_HUGE,
    KEY_NO_LOCK,
    KEY_SLOTS,
    KEY_SLOT_BYTES,
    KEY_SEATS,
    KEY_POLICY,
    KEY_NO_SOLE,
    KEY_ANY_OWNER,
};

/* ---- Kinds of rings ---- */

const char *kind_word(unsigned kind)
{
    switch (kind) {
    case RING_KIND_SPSC:
        return "spsc";
    case RING_KIND_MPMC:
        return "mpmc";
    case RING_KIND_BROADCAST:
        return "broadcast";
    case RING_KIND_BLOCKS:
        return "blocks";
    case RING_KIND_HEAP:
        return "heap";
    default:
        return "unknown";
    }
}

static unsigned parse_kind(const struct argp_state *state, const char *word)
{
    for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_BROADCAST; kind++) {
        if (strcmp(word, kind_word(kind)) == 0)
            return kind;
    }
    argp_error(state, "--kind %s: wanted spsc, mpmc or broadcast", word);
    return RING_KIND_NONE;
}

static enum ring_broadcast_policy parse_policy(const struct argp_state *state, const char *word)
{
    bool lossless = strcmp(word, "lossless") == 0;
    if (!lossless && strcmp(word, "overwrite") != 0)
        argp_error(state, "--policy %s: wanted overwrite or lossless", word);
    return lossless ? RING_BROADCAST_LOSSLESS : RING_BROADCAST_OVERWRITE;
}

static struct ring_mpmc_options mpmc_options(const struct making *making)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = making->slots ? making->slots : options.slots;
    options.slot_bytes = making->slot_bytes ? making->slot_bytes : options.slot_bytes;
    options.seats = making->seats ? making->seats : options.seats;
    options.flags = making->no_sole ? RING_MPMC_NO_SOLE : 0;
    options.numa_node = making->ring_node;
    return options;
}

static struct ring_broadcast_options broadcast_options(const struct making *making)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = making->slots ? making->slots : options.slots;
    options.slot_bytes = making->slot_bytes ? making->slot_bytes : options.slot_bytes;
    options.seats = making->seats ? making->seats : options.seats;
    if (making->policy)
        options.policy = (enum ring_broadcast_policy)making->policy;
    options.numa_node = making->ring_node;
    return options;
}

static struct ring_spsc_options spsc_options(const struct making *making)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = making->ring_bytes ? making->ring_bytes : options.bytes;
    options.numa_node = making->ring_node;
    return options;
}

static size_t footprint(const struct making *making)
{
    const struct ring_mpmc_options mpmc = mpmc_options(making);
    const struct ring_broadcast_options broadcast = broadcast_options(making);
    switch (making->kind) {
    case RING_KIND_MPMC:
        return ring_mpmc_footprint_with(&mpmc);
    case RING_KIND_BROADCAST:
        return ring_broadcast_footprint(broadcast.slots, broadcast.slot_bytes, broadcast.seats);
    default:
        return ring_spsc_footprint(spsc_options(making).bytes);
    }
}

int making_ring(const struct making *making, struct ring_segment *segment, const char *ring)
{
    const struct ring_spsc_options spsc = spsc_options(making);
    const struct ring_mpmc_options mpmc = mpmc_options(making);
    const struct ring_broadcast_options broadcast = broadcast_options(making);
    switch (making->kind) {
    case RING_KIND_MPMC:
        return ring_mpmc_create_with(segment, ring, &mpmc);
    case RING_KIND_BROADCAST:
        return ring_broadcast_create_with(segment, ring, &broadcast);
    default:
        return ring_spsc_create_with(segment, ring, &spsc);
    }
}

/* All options are known: do they go together? */
static void check_kind(const struct argp_state *state, const struct making *making)
{
    bool slots = making->slots || making->slot_bytes || making->seats;
    if (making->kind == RING_KIND_SPSC && slots)
        argp_error(state, "--slots, --slot-bytes and --seats are for '--kind mpmc' and '--kind broadcast'; an spsc "
                          "ring takes --ring-bytes");
    if (making->kind != RING_KIND_SPSC && making->ring_bytes)
        argp_error(state, "--ring-bytes is for spsc rings; with '--kind %s' say --slots and --slot-bytes",
                   kind_word(making->kind));
    if (making->kind != RING_KIND_BROADCAST && making->policy)
        argp_error(state, "--policy is for '--kind broadcast'");
    if (making->kind != RING_KIND_MPMC && making->no_sole)
        argp_error(state, "--no-sole is for '--kind mpmc'");
}

/* ---- Making ---- */

static unsigned parse_range(const struct argp_state *state, const char *text, const char *option, uint64_t least,
                            uint64_t most)
{
    uint64_t value = parse_count(state, text, option);
    if (value < least || value > most)
        argp_error(state, "%s %s: wanted %ju to %ju", option, text, (uintmax_t)least, (uintmax_t)most);
    return (unsigned)value;
}

static error_t parse_ring(int key, char *argument, struct argp_state *state)
{
    struct making *making = state->input;
    switch (key) {
    case 'k':
        making->kind = parse_kind(state, argument);
        making->kind_given = true;
        return 0;
    case KEY_RING_BYTES:
        making->ring_bytes = parse_size(state, argument, "--ring-bytes");
        if (!ring_spsc_footprint(making->ring_bytes))
            argp_error(state, "--ring-bytes %s: a ring has 4K to 4G", argument);
        return 0;
    case KEY_SLOTS:
        making->slots = parse_range(state, argument, "--slots", RING_MPMC_MIN_SLOTS, RING_MPMC_MAX_SLOTS);
        return 0;
    case KEY_SLOT_BYTES:
        making->slot_bytes = parse_size(state, argument, "--slot-bytes");
        if (!making->slot_bytes || making->slot_bytes > RING_MPMC_MAX_SLOT_BYTES)
            argp_error(state, "--slot-bytes %s: wanted 1 to %zu", argument, RING_MPMC_MAX_SLOT_BYTES);
        return 0;
    case KEY_SEATS:
        making->seats = parse_range(state, argument, "--seats", 1, RING_SEATS_MAX);
        return 0;
    case KEY_POLICY:
        making->policy = parse_policy(state, argument);
        return 0;
    case KEY_NO_SOLE:
        making->no_sole = true;
        return 0;
    case ARGP_KEY_END:
        check_kind(state, making);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static_assert(RING_MPMC_MIN_SLOTS == RING_BROADCAST_MIN_SLOTS && RING_MPMC_MAX_SLOTS == RING_BROADCAST_MAX_SLOTS &&
                  RING_MPMC_MAX_SLOT_BYTES == RING_BROADCAST_MAX_SLOT_BYTES,
              "one range for both kinds");

static error_t parse_making(int key, char *argument, struct argp_state *state)
{
    struct making *making = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &making->segment;
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
        return parse_ring(key, argument, state);
    }
}

static const struct argp_option making_options_table[] = {
    { "bytes", 'b', "SIZE", 0, "Size of a new segment (default: what its rings need); K, M, G: 1024", 10 },
    { "reserve", KEY_RESERVE, "SIZE", 0, "Room for so much more in it, which takes no memory until a ring is put there",
      10 },
    { "kind", 'k', "KIND", 0,
      "spsc (default): one producer, one consumer; mpmc: any number of each; broadcast: one producer, each consumer "
      "gets "
      "every message",
      10 },
    { "ring-bytes", KEY_RING_BYTES, "SIZE", 0,
      "spsc: capacity of each new ring (default 2M), rounded up to a power of two; its longest message is a quarter of "
      "it",
      10 },
    { "slots", KEY_SLOTS, "N", 0,
      "mpmc, broadcast: messages in each new ring (default 8192, broadcast 32768), rounded up to a power of two", 10 },
    { "slot-bytes", KEY_SLOT_BYTES, "SIZE", 0, "mpmc, broadcast: longest message (default 56)", 10 },
    { "seats", KEY_SEATS, "N", 0, "mpmc: participants at a time; broadcast: consumers at a time (default 64)", 10 },
    { "policy", KEY_POLICY, "overwrite|lossless", 0,
      "broadcast: who is too slow loses messages (default), or holds the producer back", 10 },
    { "no-sole", KEY_NO_SOLE, NULL, 0, "mpmc: never the cheaper claim of who is alone; needs no membarrier(2)", 10 },
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

static const struct argp_child making_children[] = { { &backing_argp, 0, NULL, 10 }, { 0 } };
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
    size_t each = footprint(making);
    size_t head = RING_LAYOUT_PAGE + options->rings * sizeof(struct ring_layout_entry);
    head = (head + RING_LAYOUT_PAGE - 1) / RING_LAYOUT_PAGE * RING_LAYOUT_PAGE;
    if (making->ring_node != RING_NODE_ANY && (options->flags & RING_HUGE)) { /* pages are not shared between nodes */
        const size_t page = (size_t)2 << 20;
        head = (head + page - 1) / page * page;
        each = making->ring_node == RING_NODE_INTERLEAVED ? (each + page - 1) / page * page : each;
    }
    if (!each || each > (RING_SEGMENT_MAX_BYTES - head) / rings) {
        complain("%zu rings of this size do not fit into one segment of up to 4T: use smaller %s", rings,
                 making->kind == RING_KIND_SPSC ? "--ring-bytes" : "--slots or --slot-bytes");
        return false;
    }
    options->bytes = head + rings * each;
    if (options->bytes < RING_SEGMENT_MIN_BYTES)
        options->bytes = RING_SEGMENT_MIN_BYTES;
    return true;
}
