/* heap.c - fuzz target: two participants of a heap under attack, and the same without an attack: then each reference is
 * answered as it must be, no two pieces overlap, and the heap is whole. */
#include "participants.h"

const unsigned fuzz_role = FUZZ_ROLE;

enum { BYTES = 16384, SEATS = 5, PIECES = 24 };

static struct ring_heap participants[PARTICIPANTS];

static struct {
    uint64_t reference; /* 0: none */
    unsigned char *address;
    size_t bytes;
    unsigned owner; /* PARTICIPANTS: kept */
    bool used;
} known[PIECES];
static unsigned next_known;

static const int told[] = { ENOSPC, EMSGSIZE, EINVAL, ESTALE, EAGAIN, ETIMEDOUT, EUCLEAN, 0 };

static struct ring_heap_options shape(void)
{
    struct ring_heap_options options = ring_heap_defaults(BYTES);
    options.seats = SEATS;
    return options;
}

static int make(struct ring_segment *segment)
{
    struct ring_heap_options options = shape();
    return ring_heap_create_with(segment, "heap", &options);
}

/* Its place among the known ones; PIECES: it is none of them. */
static unsigned place_of(uint64_t reference)
{
    unsigned at = 0;
    while (at < PIECES && (known[at].reference != reference || !known[at].used))
        at++;
    return at;
}

static uint64_t any_reference(unsigned *index)
{
    uint64_t way = fuzz_byte(), reference;
    *index = (unsigned)way % PIECES;
    if (way < 224)
        return known[*index].reference;
    reference = way < 240 ? known[*index].reference ^ UINT64_C(1) << fuzz_below(64) : fuzz_byte() << 32 | fuzz_byte();
    *index = place_of(reference);
    return reference;
}

static void allocate(struct ring_heap *heap, unsigned who)
{
    uint64_t reference = 0, way = fuzz_byte();
    size_t bytes = way < 128 ? way * 2 : way < 250 ? (way - 127) * 50 : way * 100;
    int64_t limit = fuzz_limit();
    fuzz_attack(FUZZ_ROLE);
    int code = ring_heap_allocate(heap, bytes, &reference, limit);
    fuzz_attack(0);
    fuzz_tells(code, told);
    FUZZ_DEMAND(code != -EMSGSIZE || bytes > BYTES);
    if (code)
        return;
    unsigned char *address = ring_heap_address(heap, reference);
    size_t got = ring_heap_size(heap, reference);
    if (fuzz_clean())
        FUZZ_DEMAND(address && got >= bytes);
    if (address) {
        fuzz_within(address, got, BYTES);
        memset(address, 0x5a, got);
    }
    for (unsigned i = 0; fuzz_clean() && i < PIECES; i++)
        FUZZ_DEMAND(!known[i].used || address + got <= known[i].address ||
                    known[i].address + known[i].bytes <= address);
    unsigned at = next_known;
    for (unsigned i = 0; known[at].used && i < PIECES; i++)
        at = (at + 1) % PIECES;
    next_known = (at + 1) % PIECES;
    known[at].reference = reference;
    known[at].address = address;
    known[at].bytes = got;
    known[at].owner = who;
    known[at].used = true;
}

static void change(struct ring_heap *heap, uint64_t what)
{
    unsigned index, root = (unsigned)fuzz_below(RING_HEAP_ROOTS + 1);
    uint64_t reference = any_reference(&index);
    int64_t limit = fuzz_limit();
    fuzz_attack(FUZZ_ROLE);
    int code = what == 0   ? ring_heap_free(heap, reference, limit)
               : what == 1 ? ring_heap_keep(heap, reference, limit)
                           : ring_heap_set_root(heap, root, reference, limit);
    fuzz_attack(0);
    fuzz_tells(code, told);
    if (index == PIECES || !reference || (what == 2 && root == RING_HEAP_ROOTS))
        return;
    FUZZ_DEMAND(!fuzz_clean() || code == (known[index].used ? 0 : -ESTALE));
    if (code)
        return;
    known[index].used = what != 0;
    known[index].owner = PARTICIPANTS;
    if (what == 2 && fuzz_clean())
        FUZZ_DEMAND(ring_heap_root(heap, root) == reference);
}

static void look(struct ring_heap *heap)
{
    unsigned index;
    uint64_t reference = any_reference(&index);
    fuzz_attack(FUZZ_ROLE);
    unsigned char *address = ring_heap_address(heap, reference);
    size_t bytes = ring_heap_size(heap, reference);
    uint64_t root = ring_heap_root(heap, (unsigned)fuzz_below(RING_HEAP_ROOTS + 1));
    fuzz_attack(0);
    if (address)
        fuzz_within(address, bytes, BYTES);
    if (index != PIECES && reference && fuzz_clean())
        FUZZ_DEMAND(known[index].used ? address == known[index].address && bytes == known[index].bytes : !address);
    address = ring_heap_address(heap, root);
    if (address)
        fuzz_within(address, 1, BYTES);
}

static void mend(unsigned who, uint64_t what)
{
    struct ring_heap *heap = &participants[who];
    struct ring_heap_info info = { .struct_size = sizeof info };
    struct ring_recovery report = { .struct_size = sizeof report };
    uint64_t freed;
    int code = 0;
    if (!opened[who])
        return;
    int64_t limit = fuzz_limit();
    fuzz_attack(FUZZ_ROLE);
    switch (what / 2 % 4) {
    case 0:
        code = ring_heap_recover(heap, &freed, limit);
        break;
    case 1:
        code = ring_heap_check(heap, limit);
        break;
    case 2:
        code = ring_segment_recover(fuzz_segment, &report) == 0 ? 0 : -EUCLEAN;
        break;
    default:
        ring_heap_info(fuzz_segment, "heap", &info);
    }
    fuzz_attack(0);
    fuzz_tells(code, told);
    FUZZ_DEMAND(!fuzz_clean() || code == 0);
}

static int open_one(unsigned who)
{
    return ring_heap_open(&participants[who], fuzz_segment, "heap", RING_NO_WAIT);
}

static int close_one(unsigned who)
{
    return ring_heap_close(&participants[who]);
}

static void forget_all(unsigned owner)
{
    for (unsigned i = 0; i < PIECES; i++)
        known[i].used &= known[i].owner != owner;
}

static void use(unsigned who, uint64_t what)
{
    if (what % 8 < 4)
        allocate(&participants[who], who);
    else if (what % 8 < 7)
        change(&participants[who], what % 8 - 4);
    else
        look(&participants[who]);
}

static void begin(const uint8_t *data, size_t size)
{
    struct ring_heap_options options = shape();
    fuzz_set_up(ring_heap_footprint_with(&options), make);
    fuzz_begin(data, size);
    memset(known, 0, sizeof known);
    next_known = 0;
}
