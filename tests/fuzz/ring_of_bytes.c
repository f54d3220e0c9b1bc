/* ring_of_bytes.c - fuzz target: the ends of an SPSC or MPMC ring (FUZZ_KIND: spsc or mpmc), one of them under attack.
 */
#include "fuzz.h"

const unsigned fuzz_role = FUZZ_ROLE;

#define JOIN(a, b, c)  JOIN_(a, b, c)
#define JOIN_(a, b, c) a##b##c
#define CALL(verb)     JOIN(ring_, FUZZ_KIND, verb)

enum { MESSAGES = 12, BYTES = 16384 };

static struct CALL(_producer) producer;
static struct CALL(_consumer) consumer;
static bool producing, consuming, producer_poisoned, consumer_poisoned;
static size_t most; /* longest message */

#if FUZZ_IS_MPMC
#define FUZZ_FOOTPRINT(options) ring_mpmc_footprint_with(options)

enum { SLOTS = 8, SLOT_BYTES = 2040, SEATS = 5 };

static struct ring_mpmc_options shape(void)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = SLOTS;
    options.slot_bytes = most = SLOT_BYTES;
    options.seats = SEATS;
    options.start_position = (UINT64_C(1) << 39) - 3;
    return options;
}
#else
#define FUZZ_FOOTPRINT(options) ring_spsc_footprint((options)->bytes)

static struct ring_spsc_options shape(void)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = 16384;
    options.start_position = UINT64_MAX - 4095;
    most = options.bytes / 4;
    return options;
}
#endif

static int make(struct ring_segment *segment)
{
    struct CALL(_options) options = shape();
    return CALL(_create_with)(segment, "ring", &options);
}

/* An SPSC ring's ends look for generations before and after their own whenever there is nothing to do. */
static void directory(bool needed)
{
    fuzz_directory(needed || !FUZZ_IS_MPMC);
}

static void open_ends(unsigned ends)
{
    directory(true);
    if ((ends & FUZZ_PRODUCER) && !producing) {
        fuzz_attack(FUZZ_PRODUCER);
        producing = CALL(_open_producer)(&producer, fuzz_segment, "ring", RING_NO_WAIT) == 0;
        producer_poisoned = false;
    }
    if ((ends & FUZZ_CONSUMER) && !consuming) {
        fuzz_attack(FUZZ_CONSUMER);
        consuming = CALL(_open_consumer)(&consumer, fuzz_segment, "ring", RING_NO_WAIT) == 0;
        consumer_poisoned = false;
    }
    fuzz_attack(0);
    directory(false);
}

static void close_ends(unsigned ends)
{
    directory(true);
    if ((ends & FUZZ_PRODUCER) && producing) {
        fuzz_attack(FUZZ_PRODUCER);
        FUZZ_DEMAND(CALL(_close_producer)(&producer) == 0);
        producing = false;
    }
    if ((ends & FUZZ_CONSUMER) && consuming) {
        fuzz_attack(FUZZ_CONSUMER);
        FUZZ_DEMAND(CALL(_close_consumer)(&consumer) == 0);
        consuming = false;
    }
    fuzz_attack(0);
    directory(false);
}

/* A third of the lengths are small, a third usual, a third near the limits. */
static size_t any_length(void)
{
    uint64_t way = fuzz_byte();
    return way < 86 ? way : way < 172 ? 8 * (way - 85) : most - (255 - way) / 2;
}

static void produce(uint64_t what)
{
    static unsigned char text[MESSAGES * BYTES];
    struct ring_message batch[MESSAGES];
    void *place;
    size_t length = any_length(), count = 1 + fuzz_below(MESSAGES);
    int64_t limit = fuzz_limit(), said = 0;
    fuzz_attack(FUZZ_PRODUCER);
    switch (what % 6) {
    case 0:
        said = CALL(_send)(&producer, text, length, limit);
        break;
    case 1:
        said = CALL(_reserve)(&producer, length, &place, limit);
        if (said == 0) {
            fuzz_attack(0);
            fuzz_within(place, length, most);
            memset(place, 0x5a, length);
            fuzz_attack(FUZZ_PRODUCER);
        }
        break;
    case 2:
        said = CALL(_commit)(&producer, length);
        break;
    case 3:
        said = CALL(_cancel)(&producer);
        break;
    case 4:
        said = CALL(_send_array)(&producer, text, length, count, limit);
        break;
    default:
        for (size_t i = 0; i < count; i++)
            batch[i] = (struct ring_message){ text, any_length(), 0 };
        said = CALL(_send_batch)(&producer, batch, count, limit);
    }
    fuzz_attack(0);
    FUZZ_DEMAND(said <= MESSAGES);
    if (what % 6 != 2 && what % 6 != 3)
        fuzz_judge(said, &producer_poisoned);
}

static int64_t peek(uint64_t what)
{
    struct ring_message seen[MESSAGES];
    size_t count = 1 + fuzz_below(MESSAGES);
    int64_t limit = fuzz_limit(), said;
    if (what % 2) {
        said = CALL(_peek)(&consumer, seen, limit);
        count = 1;
    } else {
        said = CALL(_peek_batch)(&consumer, seen, count, limit);
    }
    fuzz_attack(0);
    FUZZ_DEMAND(said <= (int64_t)count);
    if (said == 0 && what % 2)
        fuzz_within(seen[0].data, seen[0].length, most);
    for (int64_t i = 0; i < said; i++)
        fuzz_within(seen[i].data, seen[i].length, most);
    return said;
}

static void consume(uint64_t what)
{
    size_t size = any_length(), count = 1 + fuzz_below(MESSAGES);
    int64_t limit = fuzz_limit(), said;
    if (what % 5 == 1)
        size = most;
    unsigned char *buffer = malloc(size * MESSAGES + 1); /* exact, so that a byte too many is seen */
    fuzz_attack(FUZZ_CONSUMER);
    switch (what % 5) {
    case 0:
    case 1:
        free(buffer);
        buffer = malloc(size + !size);
        said = CALL(_recv)(&consumer, buffer, size, limit);
        FUZZ_DEMAND(said <= (int64_t)size);
        break;
    case 2:
        said = CALL(_recv_array)(&consumer, buffer, size, count, limit);
        FUZZ_DEMAND(said <= (int64_t)count);
        break;
    case 3:
        said = peek(what / 5);
        break;
    default:
        said = CALL(_release)(&consumer, count - 1);
    }
    fuzz_attack(0);
    if (what % 5 != 4)
        fuzz_judge(said, &consumer_poisoned);
    else
        FUZZ_DEMAND(said <= 0);
    free(buffer);
}

static void look_around(void)
{
    directory(true);
    fuzz_attack(3);
    struct CALL(_info) info = { .struct_size = sizeof info };
    CALL(_info)(fuzz_segment, "ring", &info);
    struct ring_recovery report = { .struct_size = sizeof report };
    ring_segment_recover(fuzz_segment, &report);
    fuzz_attack(0);
    directory(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct CALL(_options) options = shape();
    fuzz_set_up(FUZZ_FOOTPRINT(&options), make);
    fuzz_begin(data, size);
    directory(false);
    for (uint64_t words = fuzz_byte() % 4; words; words--)
        fuzz_scribble();
    open_ends(3);
    for (int calls = 0; fuzz_more() && calls < 200; calls++) {
        uint64_t what = fuzz_byte();
        if (what < 110 && producing)
            produce(what);
        else if (what < 220 && consuming)
            consume(what);
        else if (what < 241)
            fuzz_scribble();
        else if (what < 244)
            fuzz_peer();
        else if (what < 247)
            look_around();
        else if (what < 251)
            close_ends(what % 2 ? FUZZ_PRODUCER : FUZZ_CONSUMER);
        else
            open_ends(3);
    }
    close_ends(3);
    return 0;
}
