/* news.c - fuzz target: the producer, or a consumer and an observer, of a broadcast ring under attack; or two observers
 * through a mapping that may only be read, so that a store would end them. */
#include "fuzz.h"

const unsigned fuzz_role = FUZZ_ROLE;

#define READER (FUZZ_CONSUMER | FUZZ_OBSERVER)

enum { MESSAGES = 10, MOST = 2040, SLOTS = 8, SEATS = 3 };

static struct ring_broadcast_producer producer;
static struct ring_broadcast_consumer readers[2]; /* a consumer, an observer; FUZZ_OBSERVER: both observers */
static struct ring_segment *eyes;                 /* of observers: fuzz_segment, or attached for reading only */
static bool producing, reading[2], producer_poisoned, reader_poisoned[2];

static struct ring_broadcast_options shape(void)
{
    struct ring_broadcast_options options = ring_broadcast_defaults();
    options.slots = SLOTS;
    options.slot_bytes = MOST;
    options.seats = SEATS;
    options.start_position = UINT64_MAX - 5;
    options.policy = RING_BROADCAST_LOSSLESS;
    return options;
}

static int make(struct ring_segment *segment)
{
    struct ring_broadcast_options options = shape();
    int code = ring_broadcast_create_with(segment, "news", &options);
    eyes = FUZZ_ROLE == FUZZ_OBSERVER && code == 0 ? fuzz_attach_read_only() : segment;
    return code;
}

static void open_reader(int which)
{
    enum ring_broadcast_join join = (enum ring_broadcast_join)(fuzz_byte() % 3);
    uint64_t at = UINT64_MAX - 5 + fuzz_byte() % 32;
    int code = which == 0 && FUZZ_ROLE != FUZZ_OBSERVER
                   ? ring_broadcast_open_consumer(&readers[0], fuzz_segment, "news", join, at, RING_NO_WAIT)
                   : ring_broadcast_open_observer(&readers[which], eyes, "news", join, at, RING_NO_WAIT);
    reading[which] = code == 0;
    reader_poisoned[which] = false;
}

static void open_ends(void)
{
    fuzz_directory(true);
    if (!producing) {
        fuzz_attack(FUZZ_PRODUCER);
        producing = ring_broadcast_open_producer(&producer, fuzz_segment, "news", RING_NO_WAIT) == 0;
        producer_poisoned = false;
    }
    fuzz_attack(READER);
    for (int which = 0; which < 2; which++)
        if (!reading[which])
            open_reader(which);
    fuzz_attack(0);
    fuzz_directory(false);
}

static void close_ends(unsigned ends)
{
    fuzz_directory(true);
    if ((ends & FUZZ_PRODUCER) && producing) {
        fuzz_attack(FUZZ_PRODUCER);
        FUZZ_DEMAND(ring_broadcast_close_producer(&producer) == 0);
        producing = false;
    }
    fuzz_attack(READER);
    for (int which = 0; which < 2; which++)
        if ((ends & FUZZ_CONSUMER) && reading[which]) {
            FUZZ_DEMAND(ring_broadcast_close_consumer(&readers[which]) == 0);
            reading[which] = false;
        }
    fuzz_attack(0);
    fuzz_directory(false);
}

static size_t any_length(void)
{
    uint64_t way = fuzz_byte();
    return way < 128 ? way : MOST - (255 - way) + 2;
}

static void produce(uint64_t what)
{
    static unsigned char text[MESSAGES * (MOST + 8)];
    struct ring_message batch[MESSAGES];
    void *place;
    size_t length = any_length(), count = 1 + fuzz_below(MESSAGES);
    int64_t limit = fuzz_limit(), said;
    fuzz_attack(FUZZ_PRODUCER);
    switch (what % 6) {
    case 0:
        said = ring_broadcast_send(&producer, text, length, limit);
        break;
    case 1:
        said = ring_broadcast_reserve(&producer, length, &place, limit);
        if (said == 0) {
            fuzz_attack(0);
            fuzz_within(place, length, MOST);
            memset(place, 0x5a, length);
        }
        break;
    case 2:
        said = ring_broadcast_commit(&producer, length);
        break;
    case 3:
        said = ring_broadcast_cancel(&producer);
        break;
    case 4:
        said = ring_broadcast_send_array(&producer, text, length, count, limit);
        break;
    default:
        for (size_t i = 0; i < count; i++)
            batch[i] = (struct ring_message){ text, any_length(), 0 };
        said = ring_broadcast_send_batch(&producer, batch, count, limit);
    }
    fuzz_attack(0);
    FUZZ_DEMAND(said <= MESSAGES);
    if (what % 6 != 2 && what % 6 != 3)
        fuzz_judge(said, &producer_poisoned);
}

static int64_t peek(struct ring_broadcast_consumer *reader, uint64_t what)
{
    struct ring_message seen[MESSAGES];
    size_t count = what % 2 ? 1 : 1 + fuzz_below(MESSAGES);
    int64_t limit = fuzz_limit();
    int64_t said =
        what % 2 ? ring_broadcast_peek(reader, seen, limit) : ring_broadcast_peek_batch(reader, seen, count, limit);
    fuzz_attack(0);
    FUZZ_DEMAND(said <= (int64_t)count);
    for (int64_t i = 0; i < (said == 0 && what % 2 ? 1 : said); i++)
        fuzz_within(seen[i].data, seen[i].length, MOST);
    return said;
}

static void consume(int which, uint64_t what)
{
    struct ring_broadcast_consumer *reader = &readers[which];
    size_t size = what % 5 == 1 ? MOST : any_length(), count = 1 + fuzz_below(MESSAGES);
    int64_t limit = fuzz_limit(), said;
    unsigned char *buffer = malloc(size * (what % 5 == 2 ? count : 1) + !size); /* exact */
    fuzz_attack(READER);
    switch (what % 5) {
    case 0:
    case 1:
        said = ring_broadcast_recv(reader, buffer, size, limit);
        FUZZ_DEMAND(said <= (int64_t)size);
        break;
    case 2:
        said = ring_broadcast_recv_array(reader, buffer, size, count, limit);
        FUZZ_DEMAND(said <= (int64_t)count);
        break;
    case 3:
        said = peek(reader, what / 5);
        break;
    default:
        said = ring_broadcast_release(reader, count - 1);
    }
    fuzz_attack(0);
    if (what % 5 != 4)
        fuzz_judge(said, &reader_poisoned[which]);
    else
        FUZZ_DEMAND(said <= 0);
    free(buffer);
}

static void look_around(void)
{
    fuzz_directory(true);
    fuzz_attack(FUZZ_ROLE);
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    ring_broadcast_info(eyes, "news", &info);
    for (unsigned seat = 0; seat <= SEATS; seat++) {
        struct ring_broadcast_seat_info side = { .struct_size = sizeof side };
        ring_broadcast_seat_info(eyes, "news", seat, &side);
    }
    fuzz_attack(0);
    fuzz_directory(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring_broadcast_options options = shape();
    fuzz_set_up(ring_broadcast_footprint_with(&options), make);
    fuzz_begin(data, size);
    uint64_t first = fuzz_byte();
    if (first % 2) { /* the policy is a word like others; only one of two is any use */
        uint32_t policy = RING_BROADCAST_OVERWRITE;
        memcpy(fuzz_ring + offsetof(struct ring_layout_broadcast, policy), &policy, sizeof policy);
    }
    for (uint64_t words = first / 2 % 4; words; words--)
        fuzz_scribble();
    open_ends();
    for (int calls = 0; fuzz_more() && calls < 200; calls++) {
        uint64_t what = fuzz_byte();
        if (what < 110 && producing)
            produce(what);
        else if (what < 170 && reading[0])
            consume(0, what);
        else if (what < 220 && reading[1])
            consume(1, what);
        else if (what < 241)
            fuzz_scribble();
        else if (what < 244)
            fuzz_peer();
        else if (what < 247)
            look_around();
        else if (what < 251)
            close_ends(what % 2 ? FUZZ_PRODUCER : FUZZ_CONSUMER);
        else
            open_ends();
    }
    close_ends(3);
    return 0;
}
