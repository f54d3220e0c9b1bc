/* growth.c - fuzz target: both ends of an SPSC ring that grows, with directory and all generations under attack; and
 * the same without an attack: then messages come in order, each once, across every change.
 */
#include "fuzz.h"

#include <ring/segment_private.h>

const unsigned fuzz_role = FUZZ_ROLE;

enum { ENTRIES = 4, FIRST = 4096, GENERATIONS = 3, MOST = FIRST / 4 };

static struct ring_spsc_producer producer;
static struct ring_spsc_consumer consumer;
static bool producing, consuming, producer_poisoned, consumer_poisoned;
static uint64_t sent, received, peeked; /* numbers of messages */

static size_t footprints(void)
{
    size_t bytes = 0;
    for (size_t generation = 0; generation < GENERATIONS; generation++)
        bytes += ring_spsc_footprint((size_t)FIRST << generation);
    return bytes;
}

static int make(struct ring_segment *segment)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = FIRST;
    options.start_position = UINT64_MAX - 2047;
    return ring_spsc_create_with(segment, "ring", &options);
}

static void open_ends(void)
{
    fuzz_attack(FUZZ_ROLE);
    if (!producing) {
        producing = ring_spsc_open_producer(&producer, fuzz_segment, "ring", RING_NO_WAIT) == 0;
        producer_poisoned = false;
    }
    if (!consuming) {
        consuming = ring_spsc_open_consumer(&consumer, fuzz_segment, "ring", RING_NO_WAIT) == 0;
        consumer_poisoned = false;
    }
    fuzz_attack(0);
    FUZZ_DEMAND(!fuzz_clean() || (producing && consuming));
}

static void close_ends(unsigned ends)
{
    fuzz_attack(FUZZ_ROLE);
    if ((ends & FUZZ_PRODUCER) && producing) {
        FUZZ_DEMAND(ring_spsc_close_producer(&producer) == 0);
        producing = false;
    }
    if ((ends & FUZZ_CONSUMER) && consuming) {
        FUZZ_DEMAND(ring_spsc_close_consumer(&consumer) == 0);
        consuming = false;
        peeked = received;
    }
    fuzz_attack(0);
}

static void produce(void)
{
    unsigned char text[MOST];
    size_t length = sizeof sent + fuzz_below(MOST - sizeof sent);
    int64_t limit = fuzz_limit();
    memset(text, 0x5a, length);
    memcpy(text, &sent, sizeof sent);
    fuzz_attack(FUZZ_ROLE);
    int64_t said = ring_spsc_send(&producer, text, length, limit);
    fuzz_attack(0);
    fuzz_judge(said, &producer_poisoned);
    sent += said == 0;
    FUZZ_DEMAND(!fuzz_clean() || said == 0 || said == -EAGAIN || said == -ETIMEDOUT || said == -EPIPE);
}

static void grow(uint64_t what)
{
    static const int told[] = { EINVAL, EBUSY, ENOSPC, EEXIST, EUCLEAN, ENAMETOOLONG, ENOENT, ESTALE, EAGAIN, 0 };
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = (size_t)FIRST << what % 4;
    fuzz_attack(FUZZ_ROLE);
    int code = ring_spsc_grow(&producer, what % 8 < 4 ? &options : NULL);
    fuzz_attack(0);
    fuzz_tells(code, told);
    producer_poisoned |= code == -EUCLEAN && producer.fault;
}

static void check_message(const void *data, size_t length, uint64_t expected)
{
    uint64_t number = 0;
    fuzz_read(data, length);
    if (!fuzz_clean())
        return;
    FUZZ_DEMAND(length >= sizeof number);
    memcpy(&number, data, sizeof number);
    FUZZ_DEMAND(number == expected && number < sent);
}

static void consume(uint64_t what)
{
    struct ring_message seen;
    int64_t limit = fuzz_limit(), said;
    unsigned char *buffer = malloc(MOST);
    fuzz_attack(FUZZ_ROLE);
    if (what % 4 == 0) {
        said = ring_spsc_release(&consumer, fuzz_below(3));
        fuzz_attack(0);
        if (said == 0)
            received = peeked;
        FUZZ_DEMAND(said <= 0);
    } else if (what % 4 == 1) {
        said = ring_spsc_peek(&consumer, &seen, limit);
        fuzz_attack(0);
        fuzz_judge(said, &consumer_poisoned);
        if (said == 0) {
            fuzz_within(seen.data, seen.length, fuzz_ring_bytes);
            check_message(seen.data, seen.length, peeked);
            fuzz_attack(FUZZ_ROLE);
            if (ring_spsc_release(&consumer, 1) == 0)
                received = ++peeked;
            fuzz_attack(0);
        }
    } else {
        said = ring_spsc_recv(&consumer, buffer, MOST, limit);
        fuzz_attack(0);
        fuzz_judge(said, &consumer_poisoned);
        FUZZ_DEMAND(said <= MOST);
        if (said >= 0) {
            check_message(buffer, (size_t)said, received);
            peeked = ++received;
        }
    }
    free(buffer);
}

static void look_around(uint64_t what)
{
    struct ring_recovery report = { .struct_size = sizeof report };
    fuzz_attack(FUZZ_ROLE);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct ring_entry_info entry;
        struct ring_spsc_info info = { .struct_size = sizeof info };
        if (ring_segment_entry(fuzz_segment, i, &entry) != 0)
            continue;
        FUZZ_DEMAND(strlen(entry.name) < RING_LAYOUT_NAME);
        FUZZ_DEMAND(entry.bytes <= fuzz_segment->memory.bytes &&
                    entry.offset <= fuzz_segment->memory.bytes - entry.bytes);
        ring_spsc_info(fuzz_segment, entry.name, &info);
        if (what % 4 == 0 && ring_segment_free(fuzz_segment, entry.name) == 0)
            fuzz_soil(); /* what was in it is lost, and the way to those behind it */
    }
    if (what % 4 == 1)
        ring_segment_recover(fuzz_segment, &report);
    if (producing)
        ring_spsc_consumer_state(&producer);
    if (consuming)
        ring_spsc_producer_state(&consumer);
    fuzz_attack(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_set_up_all(ENTRIES, footprints(), make);
    fuzz_begin(data, size);
    sent = received = peeked = 0;
    for (uint64_t words = fuzz_byte() % 4; words; words--)
        fuzz_scribble();
    open_ends();
    for (int calls = 0; fuzz_more() && calls < 200; calls++) {
        uint64_t what = fuzz_byte();
        if (what < 80 && producing)
            produce();
        else if (what < 110 && producing)
            grow(what);
        else if (what < 220 && consuming)
            consume(what);
        else if (what < 238)
            fuzz_scribble();
        else if (what < 241)
            fuzz_peer();
        else if (what < 245)
            look_around(what);
        else if (what < 251)
            close_ends(what % 2 ? FUZZ_PRODUCER : FUZZ_CONSUMER);
        else
            open_ends();
    }
    close_ends(3);
    return 0;
}
