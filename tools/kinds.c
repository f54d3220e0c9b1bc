/* kinds.c - what a segment may hold, as the commands that make it are told: rings of three kinds, pools of blocks,
 * heaps. A wrong argument ends the program with status 2. */
#include "ringctl.h"

#include <assert.h>
#include <string.h>

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

const char *kind_noun(unsigned kind)
{
    return kind == RING_KIND_BLOCKS ? "pool" : kind == RING_KIND_HEAP ? "heap" : "ring";
}

const char *size_options(unsigned kind)
{
    switch (kind) {
    case RING_KIND_SPSC:
        return "--ring-bytes";
    case RING_KIND_BLOCKS:
        return "--block-bytes or --blocks";
    case RING_KIND_HEAP:
        return "--heap-bytes";
    default:
        return "--slots or --slot-bytes";
    }
}

/* ---- What the library is told ---- */

static struct ring_spsc_options spsc_options(const struct making *making)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = making->ring_bytes ? making->ring_bytes : options.bytes;
    options.numa_node = making->ring_node;
    return options;
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

static struct ring_blocks_options blocks_options(const struct making *making)
{
    struct ring_blocks_options options = ring_blocks_defaults(making->block_bytes, making->blocks);
    options.seats = making->seats ? making->seats : options.seats;
    options.align = making->align;
    options.numa_node = making->ring_node;
    return options;
}

static struct ring_heap_options heap_options(const struct making *making)
{
    struct ring_heap_options options = ring_heap_defaults(making->heap_bytes);
    options.seats = making->seats ? making->seats : options.seats;
    options.numa_node = making->ring_node;
    return options;
}

size_t making_footprint(const struct making *making)
{
    const struct ring_mpmc_options mpmc = mpmc_options(making);
    const struct ring_broadcast_options broadcast = broadcast_options(making);
    const struct ring_blocks_options blocks = blocks_options(making);
    const struct ring_heap_options heap = heap_options(making);
    switch (making->kind) {
    case RING_KIND_MPMC:
        return ring_mpmc_footprint_with(&mpmc);
    case RING_KIND_BROADCAST:
        return ring_broadcast_footprint_with(&broadcast);
    case RING_KIND_BLOCKS:
        return ring_blocks_footprint_with(&blocks);
    case RING_KIND_HEAP:
        return ring_heap_footprint_with(&heap);
    default:
        return ring_spsc_footprint(spsc_options(making).bytes);
    }
}

int making_ring(const struct making *making, struct ring_segment *segment, const char *ring)
{
    const struct ring_spsc_options spsc = spsc_options(making);
    const struct ring_mpmc_options mpmc = mpmc_options(making);
    const struct ring_broadcast_options broadcast = broadcast_options(making);
    const struct ring_blocks_options blocks = blocks_options(making);
    const struct ring_heap_options heap = heap_options(making);
    switch (making->kind) {
    case RING_KIND_MPMC:
        return ring_mpmc_create_with(segment, ring, &mpmc);
    case RING_KIND_BROADCAST:
        return ring_broadcast_create_with(segment, ring, &broadcast);
    case RING_KIND_BLOCKS:
        return ring_blocks_create_with(segment, ring, &blocks);
    case RING_KIND_HEAP:
        return ring_heap_create_with(segment, ring, &heap);
    default:
        return ring_spsc_create_with(segment, ring, &spsc);
    }
}

/* ---- Arguments ---- */

static unsigned parse_kind(const struct argp_state *state, const char *word)
{
    for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++) {
        if (strcmp(word, kind_word(kind)) == 0)
            return kind;
    }
    argp_error(state, "--kind %s: wanted spsc, mpmc or broadcast, or for 'ringctl create' blocks or heap", word);
    return RING_KIND_NONE;
}

static enum ring_broadcast_policy parse_policy(const struct argp_state *state, const char *word)
{
    bool lossless = strcmp(word, "lossless") == 0;
    if (!lossless && strcmp(word, "overwrite") != 0)
        argp_error(state, "--policy %s: wanted overwrite or lossless", word);
    return lossless ? RING_BROADCAST_LOSSLESS : RING_BROADCAST_OVERWRITE;
}

static uint64_t parse_range(const struct argp_state *state, const char *text, const char *option, uint64_t least,
                            uint64_t most)
{
    uint64_t value = parse_count(state, text, option);
    if (value < least || value > most)
        argp_error(state, "%s %s: wanted %ju to %ju", option, text, (uintmax_t)least, (uintmax_t)most);
    return value;
}

static void check_rings(const struct argp_state *state, const struct making *making)
{
    bool slots = making->slots || making->slot_bytes;
    bool slotted = making->kind == RING_KIND_MPMC || making->kind == RING_KIND_BROADCAST;
    if (making->kind == RING_KIND_SPSC && (slots || making->seats))
        argp_error(state, "--slots, --slot-bytes and --seats are for '--kind mpmc' and '--kind broadcast'; an spsc "
                          "ring takes --ring-bytes");
    if (!slotted && slots)
        argp_error(state, "--slots and --slot-bytes are for '--kind mpmc' and '--kind broadcast'");
    if (slotted && making->ring_bytes)
        argp_error(state, "--ring-bytes is for spsc rings; with '--kind %s' say --slots and --slot-bytes",
                   kind_word(making->kind));
    if (making->kind != RING_KIND_BROADCAST && making->policy)
        argp_error(state, "--policy is for '--kind broadcast'");
    if (making->kind != RING_KIND_MPMC && making->no_sole)
        argp_error(state, "--no-sole is for '--kind mpmc'");
}

enum {
    KEY_RING_BYTES = 0x700,
    KEY_SLOTS,
    KEY_SLOT_BYTES,
    KEY_SEATS,
    KEY_POLICY,
    KEY_NO_SOLE,
    KEY_BLOCK_BYTES,
    KEY_BLOCKS,
    KEY_ALIGN,
    KEY_HEAP_BYTES,
};

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
        making->seats = (unsigned)parse_range(state, argument, "--seats", 1, RING_SEATS_MAX);
        return 0;
    case KEY_POLICY:
        making->policy = parse_policy(state, argument);
        return 0;
    case KEY_NO_SOLE:
        making->no_sole = true;
        return 0;
    case ARGP_KEY_END:
        check_rings(state, making);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static_assert(RING_MPMC_MIN_SLOTS == RING_BROADCAST_MIN_SLOTS && RING_MPMC_MAX_SLOTS == RING_BROADCAST_MAX_SLOTS &&
                  RING_MPMC_MAX_SLOT_BYTES == RING_BROADCAST_MAX_SLOT_BYTES,
              "one range for both kinds");

static const struct argp_option ring_table[] = {
    { "kind", 'k', "KIND", 0,
      "spsc (default): one producer, one consumer; mpmc: any number of each; broadcast: one producer, each consumer "
      "gets every message; for 'create' also blocks: a pool of them, and heap: pieces of any size",
      10 },
    { "ring-bytes", KEY_RING_BYTES, "SIZE", 0,
      "spsc: capacity of each new ring (default 2M), rounded up to a power of two; its longest message is a quarter of "
      "it",
      10 },
    { "slots", KEY_SLOTS, "N", 0,
      "mpmc, broadcast: messages in each new ring (default 8192, broadcast 32768), rounded up to a power of two", 10 },
    { "slot-bytes", KEY_SLOT_BYTES, "SIZE", 0, "mpmc, broadcast: longest message (default 56)", 10 },
    { "seats", KEY_SEATS, "N", 0,
      "mpmc, blocks, heap: participants at a time; broadcast: consumers at a time (default 64, blocks 16)", 10 },
    { "policy", KEY_POLICY, "overwrite|lossless", 0,
      "broadcast: who is too slow loses messages (default), or holds the producer back", 10 },
    { "no-sole", KEY_NO_SOLE, NULL, 0, "mpmc: never the cheaper claim of who is alone; needs no membarrier(2)", 10 },
    { 0 },
};

const struct argp kinds_argp = { .options = ring_table, .parser = parse_ring };

/* ---- The same for what is no ring ---- */

static size_t parse_align(const struct argp_state *state, const char *text)
{
    size_t align = parse_size(state, text, "--align");
    if (align < 4096 || align > RING_BLOCKS_MAX_ALIGN || (align & (align - 1)))
        argp_error(state, "--align %s: wanted a power of two from 4K to 1G", text);
    return align;
}

static void check_memory(const struct argp_state *state, const struct making *making)
{
    bool pool = making->kind == RING_KIND_BLOCKS, heap = making->kind == RING_KIND_HEAP;
    unsigned most = pool ? RING_BLOCK_SEATS_MOST : RING_HEAP_SEATS;
    if (!pool && (making->block_bytes || making->blocks || making->align))
        argp_error(state, "--block-bytes, --blocks and --align are for '--kind blocks'");
    if (!heap && making->heap_bytes)
        argp_error(state, "--heap-bytes is for '--kind heap'");
    if ((pool || heap) && making->ring_bytes)
        argp_error(state, "--ring-bytes is for spsc rings; with '--kind %s' say %s", kind_word(making->kind),
                   pool ? "--block-bytes and --blocks" : "--heap-bytes");
    if (pool && (!making->block_bytes || !making->blocks))
        argp_error(state, "'--kind blocks' takes --block-bytes, the size of a block, and --blocks, how many");
    if (heap && !making->heap_bytes)
        argp_error(state, "'--kind heap' takes --heap-bytes");
    if ((pool || heap) && making->seats > most)
        argp_error(state, "--seats %u: a %s has 1 to %u", making->seats, kind_noun(making->kind), most);
}

static error_t parse_memory(int key, char *argument, struct argp_state *state)
{
    struct making *making = state->input;
    switch (key) {
    case KEY_BLOCK_BYTES:
        making->block_bytes = parse_size(state, argument, "--block-bytes");
        if (!making->block_bytes || making->block_bytes > RING_BLOCKS_MAX_BYTES)
            argp_error(state, "--block-bytes %s: a block has 1 byte to 1T", argument);
        return 0;
    case KEY_BLOCKS:
        making->blocks = parse_range(state, argument, "--blocks", 1, RING_BLOCK_MOST);
        return 0;
    case KEY_ALIGN:
        making->align = parse_align(state, argument);
        return 0;
    case KEY_HEAP_BYTES:
        making->heap_bytes = parse_size(state, argument, "--heap-bytes");
        if (!ring_heap_footprint(making->heap_bytes))
            argp_error(state, "--heap-bytes %s: a heap has %zu bytes to 128G", argument, RING_HEAP_MIN_BYTES);
        return 0;
    case ARGP_KEY_END:
        check_memory(state, making);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option memory_table[] = {
    { "block-bytes", KEY_BLOCK_BYTES, "SIZE", 0, "blocks: size of a block", 10 },
    { "blocks", KEY_BLOCKS, "N", 0, "blocks: how many in each new pool", 10 },
    { "align", KEY_ALIGN, "SIZE", 0, "blocks: they begin at multiples of it, a power of two from 4K to 1G", 10 },
    { "heap-bytes", KEY_HEAP_BYTES, "SIZE", 0, "heap: for the pieces of each new heap", 10 },
    { 0 },
};

const struct argp memory_argp = { .options = memory_table, .parser = parse_memory };
