/* fuzz.c - see fuzz.h. */
#include "fuzz.h"

#include <ring/allocator.h>
#include <ring/segment_private.h>

#include <sanitizer/asan_interface.h>
#include <unistd.h>

enum { STEPS_MOST = 1000000 }; /* of a call; a recovery of all there is takes a hundredth of it */

struct ring_segment *fuzz_segment;
unsigned char *fuzz_ring;
size_t fuzz_ring_bytes;

static unsigned char *pristine;
static struct ring_segment *mirror; /* the same segment, for reading only; or NULL */
static const uint8_t *script;
static size_t left;
static unsigned attacked;
static bool touched;   /* the peer has written something */
static uint64_t until; /* loads before the peer writes again */
static bool stirs;     /* and then the word goes on moving */
static uint64_t steps; /* of this call */

/* A word that is another one at each look, until the script ends and for as long as it takes: what ends only when a
 * word comes to rest never does. */
static struct {
    unsigned char *at; /* or NULL */
    uint64_t from, step, turns, round;
} restless;

/* A nameless segment that ends where what `make` makes ends. */
static void make_segment(unsigned entries, size_t footprint, int (*make)(struct ring_segment *segment))
{
    char name[64];
    struct ring_segment_options options = ring_segment_defaults();
    options.rings = entries;
    options.flags = 0;
    options.bytes = (size_t)ring_segment_arena(entries) + footprint;
    if (options.bytes < RING_SEGMENT_MIN_BYTES) {
        fprintf(stderr, "the ring would not lie at the end of its segment\n");
        abort();
    }
    snprintf(name, sizeof name, "shmring-fuzz-%d", (int)getpid());
    FUZZ_DEMAND(ring_segment_create(&fuzz_segment, name, &options) == 0);
    bool made = make(fuzz_segment) == 0;
    FUZZ_DEMAND(ring_segment_unlink(name) == 0); /* attached it stays; nothing is left behind, however this ends */
    FUZZ_DEMAND(made);
}

struct ring_segment *fuzz_attach_read_only(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = RING_READ_ONLY;
    FUZZ_DEMAND(ring_segment_attach(&mirror, fuzz_segment->name, &options, RING_NO_WAIT) == 0);
    return mirror;
}

/* What lies there, as it may be written. */
static unsigned char *writable(const volatile void *at)
{
    uintptr_t offset = mirror ? (uintptr_t)at - (uintptr_t)mirror->memory.address : UINTPTR_MAX;
    return mirror && offset < mirror->memory.bytes ? fuzz_segment->memory.address + offset
                                                   : (unsigned char *)(uintptr_t)at;
}

/* What lies from there on is under attack, and is put back before each execution. */
static void expose(size_t from)
{
    fuzz_ring = fuzz_segment->memory.address + from;
    fuzz_ring_bytes = fuzz_segment->memory.bytes - from;
    pristine = malloc(fuzz_ring_bytes);
    memcpy(pristine, fuzz_ring, fuzz_ring_bytes);
    fuzz_kernel_keep();
}

void fuzz_set_up(size_t footprint, int (*make)(struct ring_segment *segment))
{
    if (fuzz_segment)
        return;
    make_segment(1, footprint, make);
    struct ring_entry_info entry;
    FUZZ_DEMAND(ring_segment_entry(fuzz_segment, 0, &entry) == 0);
    FUZZ_DEMAND(entry.offset + entry.bytes == fuzz_segment->memory.bytes);
    expose(entry.offset);
}

void fuzz_set_up_all(unsigned entries, size_t footprint, int (*make)(struct ring_segment *segment))
{
    if (fuzz_segment)
        return;
    make_segment(entries, footprint, make);
    expose(RING_LAYOUT_PAGE);
}

/* ---- The script ---- */

uint64_t fuzz_byte(void)
{
    if (!left)
        return 0;
    left--;
    return *script++;
}

bool fuzz_more(void)
{
    return left != 0;
}

uint64_t fuzz_below(uint64_t bound)
{
    uint64_t value = fuzz_byte();
    if (bound > 256)
        value |= fuzz_byte() << 8;
    return value % bound;
}

static void next_attack(void)
{
    uint64_t byte = left ? fuzz_byte() : 255;
    until = byte < 200 ? byte % 64 : byte == 255 ? UINT64_MAX : byte < 240 ? (byte - 199) * 40 : byte % 8;
    stirs = byte >= 240 && byte < 255;
}

void fuzz_begin(const uint8_t *data, size_t size)
{
    fuzz_kernel_begin();
    if (fuzz_ring)
        memcpy(fuzz_ring, pristine, fuzz_ring_bytes);
    script = data;
    left = size;
    attacked = 0;
    touched = false;
    restless.at = NULL;
    next_attack();
    fuzz_peer();
}

int64_t fuzz_limit(void)
{
    uint64_t byte = fuzz_byte();
    return byte < 250 ? RING_NO_WAIT : (int64_t)(byte - 249) * 20000;
}

/* ---- The peer ---- */

static uint64_t any_value(uint64_t now)
{
    uint64_t value = 0;
    uint64_t way = fuzz_byte();
    switch (way % 12) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - way / 12;
    case 2:
        return (UINT64_C(1) << fuzz_below(64)) + way / 12 % 3 - 1;
    case 3:
        for (int i = 0; i < 8; i++)
            value |= fuzz_byte() << 8 * i;
        return value;
    case 4:
        return now + way / 12 + 1;
    case 5:
        return now - way / 12 - 1;
    case 6:
        return now ^ UINT64_C(1) << fuzz_below(64);
    case 7: /* what stands elsewhere */
        memcpy(&value, fuzz_ring + 8 * fuzz_below(fuzz_ring_bytes / 8), 8);
        return value;
    case 8: /* one of its own fields changed a little */
        return now + ((fuzz_byte() + 1) << 8 * (way / 12 % 8));
    case 9: /* another length */
        return (now & ~UINT64_C(0xfffff)) | (fuzz_byte() + way / 12) << fuzz_byte() % 13;
    case 10:
        return (now & ~(uint64_t)UINT32_MAX) | (fuzz_byte() + way / 12) << fuzz_byte() % 25;
    default:
        return way;
    }
}

static void write_word(unsigned char *at, size_t size)
{
    uint64_t value = 0;
    touched = true;
    memcpy(&value, at, size);
    value = any_value(value);
    memcpy(at, &value, size);
}

static void stir(unsigned char *at, size_t size)
{
    uint64_t way = fuzz_byte();
    restless.from = 0;
    memcpy(&restless.from, at, size);
    restless.at = at;
    restless.step = UINT64_C(1) << way % 64;
    restless.turns = way < 128 ? 2 : UINT64_C(1) << 20;
    restless.round = 0;
}

static void move(size_t size)
{
    uint64_t value = restless.from + ++restless.round % restless.turns * restless.step;
    memcpy(restless.at, &value, size);
}

void fuzz_scribble(void)
{
    uint64_t words = 1 + fuzz_byte() % 3;
    uint64_t at = 8 * fuzz_below(fuzz_ring_bytes / 8);
    for (; words && at + 8 <= fuzz_ring_bytes; words--, at += 8)
        write_word(fuzz_ring + at, 8);
}

void fuzz_peer(void)
{
    uint64_t byte = fuzz_byte();
    touched |= byte >= 160;
    fuzz_kernel_peer(byte < 160 ? 0 : byte % 32);
}

bool fuzz_clean(void)
{
    return !touched;
}

void fuzz_soil(void)
{
    touched = true;
}

void fuzz_step(void)
{
    FUZZ_DEMAND(++steps < STEPS_MOST);
}

void fuzz_before_load(const volatile void *word, size_t size)
{
    unsigned char *at = writable(word);
    fuzz_step();
    if (!(attacked & fuzz_role) || !fuzz_ring || at < fuzz_ring || at >= fuzz_ring + fuzz_ring_bytes || size > 8)
        return;
    if (at == restless.at)
        move(size);
    if (until == UINT64_MAX || until--)
        return;
    write_word(at, size);
    if (stirs)
        stir(at, size);
    next_attack();
}

void fuzz_attack(unsigned role)
{
    attacked = role;
    steps = 0;
}

/* ---- What is demanded ---- */

void fuzz_directory(bool needed)
{
    size_t before = (size_t)(fuzz_ring - fuzz_segment->memory.address);
    if (needed)
        __asan_unpoison_memory_region(fuzz_segment->memory.address, before);
    else
        __asan_poison_memory_region(fuzz_segment->memory.address, before);
}

void fuzz_read(const void *bytes, size_t length)
{
    static volatile unsigned sum;
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++)
        sum += at[i];
}

void fuzz_within(const void *data, size_t length, size_t most)
{
    const unsigned char *at = writable(data);
    FUZZ_DEMAND(length <= most && (uintptr_t)at % 8 == 0);
    FUZZ_DEMAND(at >= fuzz_ring + RING_LAYOUT_PAGE && at + length <= fuzz_ring + fuzz_ring_bytes);
    fuzz_read(data, length);
}

void fuzz_tells(int64_t said, const int *known)
{
    if (said >= 0)
        return;
    for (; *known; known++)
        if (said == -*known)
            return;
    fprintf(stderr, "a call says %lld, which its header does not tell of\n", (long long)said);
    abort();
}

void fuzz_judge(int64_t said, bool *poisoned)
{
    static const int known[] = { EAGAIN, ETIMEDOUT, EPIPE, EOWNERDEAD, EMSGSIZE, EBUSY, EINVAL, EUCLEAN, EOVERFLOW, 0 };
    if (*poisoned)
        FUZZ_DEMAND(said < 0);
    *poisoned |= said == -EUCLEAN;
    fuzz_tells(said, known);
}
