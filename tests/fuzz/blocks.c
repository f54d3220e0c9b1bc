/* blocks.c - fuzz target: two participants of a pool of blocks under attack, and the same without an attack: then no
 * block may be handed out twice, and each handle is answered as it must be. */
#include "participants.h"

#include <ring/segment_private.h>

const unsigned fuzz_role = FUZZ_ROLE;

enum { CLASSES = 3, BLOCKS = 78, SEATS = 5, HANDLES = 32 };

static const struct ring_blocks_class classes[CLASSES] = { { 40, 70 }, { 1000, 6 }, { 4096, 2 } };
static struct ring_blocks participants[PARTICIPANTS];
static unsigned char *places[BLOCKS]; /* of the sound pool, by number */
static size_t sizes[BLOCKS];

enum { GONE, OWNED, PASSED }; /* and owned by its participant */

static struct {
    uint64_t handle;
    int state;
    unsigned owner;
} known[HANDLES];
static unsigned next_known;

static const int told[] = { ENOSPC, EMSGSIZE, EINVAL, ESTALE, EPERM, EALREADY, EUCLEAN, 0 };

static struct ring_blocks_options shape(void)
{
    struct ring_blocks_options options = ring_blocks_defaults(1, 1);
    memcpy(options.classes, classes, sizeof classes);
    options.class_count = CLASSES;
    options.seats = SEATS;
    options.cache = 3;
    options.start_generation = (UINT64_C(1) << 40) - 2;
    return options;
}

/* Makes the pool, and works out where its blocks are: classes lie at the end, each page aligned. */
static int make(struct ring_segment *segment)
{
    struct ring_blocks_options options = shape();
    int code = ring_blocks_create_with(segment, "pool", &options);
    FUZZ_DEMAND(code == 0);
    size_t bytes = ring_blocks_footprint_with(&options);
    unsigned char *at = segment->memory.address + segment->memory.bytes;
    unsigned number = BLOCKS;
    for (unsigned i = CLASSES; i-- > 0;) {
        size_t stride = classes[i].block_bytes >= 4096 ? 4096 : (classes[i].block_bytes + 63) / 64 * 64;
        at -= (classes[i].count * stride + 4095) / 4096 * 4096;
        number -= (unsigned)classes[i].count;
        for (unsigned block = 0; block < classes[i].count; block++) {
            places[number + block] = at + block * stride;
            sizes[number + block] = classes[i].block_bytes;
        }
    }
    FUZZ_DEMAND(at > segment->memory.address + segment->memory.bytes - bytes);
    return code;
}

/* Within the pool; of a sound one, where that block is. */
static void judge_place(uint64_t handle, const void *address, size_t bytes)
{
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    fuzz_within(address, bytes, fuzz_ring_bytes);
    FUZZ_DEMAND(!fuzz_clean() || (number < BLOCKS && address == places[number] && bytes == sizes[number]));
}

/* Its place among the known ones; HANDLES: it is none of them. */
static unsigned place_of(uint64_t handle)
{
    unsigned at = 0;
    while (at < HANDLES && (known[at].handle != handle || known[at].state == GONE))
        at++;
    return at;
}

static uint64_t any_handle(unsigned *index)
{
    uint64_t way = fuzz_byte(), handle;
    *index = (unsigned)way % HANDLES;
    if (way < 224)
        return known[*index].handle;
    if (way < 240) {
        handle = known[*index].handle ^ UINT64_C(1) << fuzz_below(64);
    } else {
        memcpy(&handle, fuzz_ring + 8 * fuzz_below(fuzz_ring_bytes / 8), 8);
        handle = (handle & ~RING_BLOCK_NUMBER) | fuzz_byte();
    }
    *index = place_of(handle);
    return handle;
}

static void forget_all(unsigned owner)
{
    for (unsigned i = 0; i < HANDLES; i++)
        if (known[i].state == OWNED && known[i].owner == owner)
            known[i].state = GONE;
}

static void allocate(unsigned who)
{
    uint64_t handle = 0;
    void *address = NULL;
    uint64_t way = fuzz_byte();
    size_t bytes = way < 128 ? way % 41 : way < 200 ? way * 5 : way < 250 ? 4000 + way % 97 : way * 1000;
    fuzz_attack(FUZZ_ROLE);
    int code = ring_block_allocate(&participants[who], bytes, &handle, &address);
    fuzz_attack(0);
    fuzz_tells(code, told);
    FUZZ_DEMAND(!fuzz_clean() || (code == -EMSGSIZE) == (bytes > 4096));
    if (code)
        return;
    uint64_t number = (handle & RING_BLOCK_NUMBER) - 1;
    judge_place(handle, address, fuzz_clean() ? sizes[number % BLOCKS] : bytes);
    FUZZ_DEMAND(!fuzz_clean() || bytes <= sizes[number]);
    memset(address, 0x5a, bytes);
    for (unsigned i = 0; fuzz_clean() && i < HANDLES; i++)
        FUZZ_DEMAND(known[i].state == GONE || ((known[i].handle ^ handle) & RING_BLOCK_NUMBER) != 0);
    unsigned at = next_known;
    for (unsigned i = 0; known[at].state != GONE && i < HANDLES; i++)
        at = (at + 1) % HANDLES;
    next_known = (at + 1) % HANDLES;
    known[at].handle = handle;
    known[at].state = OWNED;
    known[at].owner = who;
}

/* What a call must say to a handle that it knows, while the peer is silent. */
static int due(unsigned index, unsigned who, int to_passed)
{
    if (known[index].state == GONE)
        return -ESTALE;
    if (known[index].state == PASSED)
        return to_passed;
    return known[index].owner == who ? 0 : -EPERM;
}

static void give(unsigned who, bool pass)
{
    unsigned index;
    uint64_t handle = any_handle(&index);
    fuzz_attack(FUZZ_ROLE);
    int code = pass ? ring_block_pass(&participants[who], handle) : ring_block_free(&participants[who], handle);
    fuzz_attack(0);
    fuzz_tells(code, told);
    if (index == HANDLES || !handle)
        return;
    FUZZ_DEMAND(!fuzz_clean() || code == due(index, who, pass ? -EALREADY : 0));
    if (code == 0)
        known[index].state = pass ? PASSED : GONE;
}

static void find(unsigned who, bool accept)
{
    unsigned index;
    uint64_t handle = any_handle(&index);
    void *address = NULL;
    size_t bytes = 0;
    fuzz_attack(FUZZ_ROLE);
    int code = accept ? ring_block_accept(&participants[who], handle, &address, &bytes)
                      : ring_block_address(&participants[who], handle, &address, &bytes);
    fuzz_attack(0);
    fuzz_tells(code, told);
    if (code == 0) {
        judge_place(handle, address, bytes);
        fuzz_read(address, bytes);
    }
    if (index == HANDLES || !handle)
        return;
    int right = due(index, who, 0);
    FUZZ_DEMAND(!fuzz_clean() || code == (accept && right == 0 && known[index].state == OWNED ? -EALREADY : right));
    if (accept && code == 0) {
        known[index].state = OWNED;
        known[index].owner = who;
    }
}

static void look(unsigned who)
{
    unsigned index;
    uint64_t handle = any_handle(&index);
    const void *address = NULL;
    size_t bytes = 0;
    fuzz_attack(FUZZ_ROLE);
    int code = ring_block_look(&participants[who], handle, &address, &bytes);
    int check = ring_block_check(&participants[who], handle);
    fuzz_attack(0);
    fuzz_tells(code, told);
    fuzz_tells(check, told);
    if (code == 0) {
        judge_place(handle, address, bytes);
        fuzz_read(address, bytes);
    }
    if (index != HANDLES && handle && fuzz_clean())
        FUZZ_DEMAND(code == check && (code == 0) == (known[index].state != GONE));
}

static void mend(unsigned who, uint64_t what)
{
    struct ring_blocks_repairs repairs = { .struct_size = sizeof repairs };
    struct ring_blocks_info info = { .struct_size = sizeof info };
    struct ring_recovery report = { .struct_size = sizeof report };
    uint64_t freed;
    (void)who;
    fuzz_attack(FUZZ_ROLE);
    switch (what % 4) {
    case 0:
        ring_blocks_recover(fuzz_segment, "pool", &repairs);
        break;
    case 1:
        if (ring_segment_recover_stranded(fuzz_segment, "pool", &freed) == 0) /* nobody sends: what is passed is lost */
            for (unsigned i = 0; i < HANDLES; i++)
                if (known[i].state == PASSED && freed)
                    known[i].handle = 0, known[i].state = GONE;
        break;
    case 2:
        ring_segment_recover(fuzz_segment, &report);
        break;
    default:
        ring_blocks_info(fuzz_segment, "pool", &info);
        for (unsigned seat = 0; seat <= SEATS; seat++) {
            struct ring_blocks_seat_info side = { .struct_size = sizeof side };
            ring_blocks_seat_info(fuzz_segment, "pool", seat, &side);
        }
    }
    fuzz_attack(0);
}

static int open_one(unsigned who)
{
    return ring_blocks_open(&participants[who], fuzz_segment, "pool", RING_NO_WAIT);
}

static int close_one(unsigned who)
{
    return ring_blocks_close(&participants[who]);
}

static void use(unsigned who, uint64_t what)
{
    if (what % 8 < 3)
        allocate(who);
    else if (what % 8 == 3)
        give(who, false);
    else if (what % 8 == 4)
        give(who, true);
    else if (what % 8 < 7)
        find(who, what % 8 == 5);
    else
        look(who);
}

static void begin(const uint8_t *data, size_t size)
{
    struct ring_blocks_options options = shape();
    fuzz_set_up(ring_blocks_footprint_with(&options), make);
    fuzz_begin(data, size);
    memset(known, 0, sizeof known);
    next_known = 0;
}
