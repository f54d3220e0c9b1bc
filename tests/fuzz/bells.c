/* bells.c - fuzz target: endpoints that wait, by sleeps, descriptors and ring_any, while a peer rings their bells, or
 * writes anything into them; and the same without an attack: then nothing that came goes unnoticed.
 *
 * io_uring and inotify are simulated (uring.c).
 */
#include "fuzz.h"

#include <poll.h>

const unsigned fuzz_role = FUZZ_ROLE;

enum { ENTRIES = 2, BYTES = 4096, LENGTH = 40, ENDS = 4, PRODUCERS = 2 };

/* By number: producers of both rings, then consumers. */
static struct ring_spsc_producer spsc_producer;
static struct ring_mpmc_producer mpmc_producer;
static struct ring_spsc_consumer spsc_consumer;
static struct ring_mpmc_consumer mpmc_consumer;
static bool opened[ENDS], poisoned[ENDS], member[ENDS], dry[ENDS]; /* dry: its last call said -EAGAIN, nothing since */
static int descriptors[ENDS];                                      /* or -1 */
static struct ring_any *any;
static uint64_t in_flight[2]; /* messages, by ring */

static struct ring_mpmc_options shape(void)
{
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = 8;
    options.slot_bytes = LENGTH;
    options.seats = 4;
    return options;
}

static int make(struct ring_segment *segment)
{
    struct ring_mpmc_options options = shape();
    int code = ring_spsc_create(segment, "ring", BYTES);
    return code ? code : ring_mpmc_create_with(segment, "queue", &options);
}

static struct ring_waiter *waiter_of(unsigned who)
{
    switch (who) {
    case 0:
        return ring_spsc_producer_waiter(&spsc_producer);
    case 1:
        return ring_mpmc_producer_waiter(&mpmc_producer);
    case 2:
        return ring_spsc_consumer_waiter(&spsc_consumer);
    default:
        return ring_mpmc_consumer_waiter(&mpmc_consumer);
    }
}

static void open_end(unsigned who)
{
    if (opened[who])
        return;
    fuzz_attack(FUZZ_ROLE);
    int code = who == 0   ? ring_spsc_open_producer(&spsc_producer, fuzz_segment, "ring", RING_NO_WAIT)
               : who == 1 ? ring_mpmc_open_producer(&mpmc_producer, fuzz_segment, "queue", RING_NO_WAIT)
               : who == 2 ? ring_spsc_open_consumer(&spsc_consumer, fuzz_segment, "ring", RING_NO_WAIT)
                          : ring_mpmc_open_consumer(&mpmc_consumer, fuzz_segment, "queue", RING_NO_WAIT);
    fuzz_attack(0);
    FUZZ_DEMAND(!fuzz_clean() || code == 0);
    opened[who] = code == 0;
    poisoned[who] = member[who] = dry[who] = false;
    descriptors[who] = -1;
}

static void close_end(unsigned who)
{
    if (!opened[who])
        return;
    fuzz_attack(FUZZ_ROLE);
    FUZZ_DEMAND((who == 0   ? ring_spsc_close_producer(&spsc_producer)
                 : who == 1 ? ring_mpmc_close_producer(&mpmc_producer)
                 : who == 2 ? ring_spsc_close_consumer(&spsc_consumer)
                            : ring_mpmc_close_consumer(&mpmc_consumer)) == 0);
    fuzz_attack(0);
    opened[who] = member[who] = false;
    dry[(who + PRODUCERS) % ENDS] = false; /* the other side is told of it */
}

/* A message of its side is sent or received. What was said. */
static int64_t call(unsigned who, int64_t limit)
{
    unsigned char text[LENGTH] = { 1 };
    fuzz_attack(FUZZ_ROLE);
    int64_t said = who == 0   ? ring_spsc_send(&spsc_producer, text, LENGTH, limit)
                   : who == 1 ? ring_mpmc_send(&mpmc_producer, text, LENGTH, limit)
                   : who == 2 ? ring_spsc_recv(&spsc_consumer, text, LENGTH, limit)
                              : ring_mpmc_recv(&mpmc_consumer, text, LENGTH, limit);
    fuzz_attack(0);
    fuzz_judge(said, &poisoned[who]);
    return said;
}

static void use(unsigned who)
{
    unsigned ring = who % PRODUCERS, other = (who + PRODUCERS) % ENDS;
    int64_t said = call(who, fuzz_limit());
    if (said >= 0 && fuzz_clean()) {
        FUZZ_DEMAND(who < PRODUCERS || in_flight[ring] > 0);
        in_flight[ring] += who < PRODUCERS ? 1 : -UINT64_C(1);
    }
    dry[who] = said == -EAGAIN || said == -ETIMEDOUT;
    /* An SPSC consumer tells of room now and then; whatever else was done is told at once. */
    if (said >= 0 && !(who == 2))
        dry[other] = false;
    FUZZ_DEMAND(!fuzz_clean() || said >= 0 || who < PRODUCERS || in_flight[ring] == 0);
}

/* ---- Doors ---- */

static void describe(unsigned who)
{
    fuzz_attack(FUZZ_ROLE);
    int fd = ring_waiter_fd(waiter_of(who));
    fuzz_attack(0);
    FUZZ_DEMAND(fd >= 0 ? !member[who] && (descriptors[who] < 0 || descriptors[who] == fd) : member[who]);
    if (fd >= 0)
        descriptors[who] = fd;
}

static void join_or_leave(unsigned who)
{
    if (!any)
        return;
    fuzz_attack(FUZZ_ROLE);
    int code = member[who] ? ring_any_remove(any, waiter_of(who)) : ring_any_add(any, waiter_of(who), &opened[who]);
    fuzz_attack(0);
    FUZZ_DEMAND(code == (descriptors[who] >= 0 ? -EBUSY : 0));
    if (code == 0)
        member[who] = !member[who];
}

static void open_or_close_any(void)
{
    if (!any)
        FUZZ_DEMAND(ring_any_open(&any) == 0);
    else
        ring_any_close(&any);
    for (unsigned who = 0; who < ENDS; who++)
        member[who] = false;
}

static void wait_any(void)
{
    void *tags[ENDS];
    bool told[ENDS] = { false };
    if (!any)
        return;
    fuzz_attack(FUZZ_ROLE);
    int count = ring_any_wait(any, tags, ENDS, fuzz_limit());
    fuzz_attack(0);
    FUZZ_DEMAND((count > 0 && count <= ENDS) || count == -EAGAIN || count == -ETIMEDOUT);
    for (int i = 0; i < count; i++) {
        unsigned who = (unsigned)((bool *)tags[i] - opened);
        FUZZ_DEMAND(who < ENDS && member[who] && opened[who] && !told[who]);
        told[who] = true;
    }
    for (unsigned who = 0; who < ENDS && fuzz_clean(); who++)
        FUZZ_DEMAND(!member[who] || dry[who] || told[who]); /* what may have something is told */
}

/* What may have something is readable. */
static void check_descriptor(unsigned who)
{
    struct pollfd end = { .fd = descriptors[who], .events = POLLIN };
    if (end.fd < 0)
        return;
    FUZZ_DEMAND(poll(&end, 1, 0) >= 0);
    FUZZ_DEMAND(!fuzz_clean() || dry[who] || (end.revents & POLLIN));
}

/* ---- The peer ---- */

/* Writes into a bell, or rings it: wakes whoever sleeps on it, whatever stands there. */
static void ring_bell(uint64_t what)
{
    static const size_t bells[] = { offsetof(struct ring_layout_spsc, consumer_asleep),
                                    offsetof(struct ring_layout_spsc, producer_asleep),
                                    offsetof(struct ring_layout_mpmc, consumers_asleep),
                                    offsetof(struct ring_layout_mpmc, producers_asleep) };
    struct ring_entry_info entry;
    size_t bell = what % 4;
    if (ring_segment_entry(fuzz_segment, bell / 2, &entry) != 0 || entry.bytes < 1024)
        return;
    uint32_t *words = (uint32_t *)(void *)(fuzz_ring + (entry.offset - RING_LAYOUT_PAGE) + bells[bell]);
    fuzz_soil();
    words[0] = (uint32_t)fuzz_byte();
    words[1] += (uint32_t)fuzz_byte();
    fuzz_uring_call(&words[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring_mpmc_options options = shape();
    fuzz_set_up_all(ENTRIES, ring_spsc_footprint(BYTES) + ring_mpmc_footprint_with(&options), make);
    fuzz_begin(data, size);
    memset(in_flight, 0, sizeof in_flight);
    for (unsigned who = 0; who < ENDS; who++)
        open_end(who);
    for (int calls = 0; fuzz_more() && calls < 200; calls++) {
        uint64_t what = fuzz_byte();
        unsigned who = what % ENDS;
        if (what < 120 && opened[who])
            use(who);
        else if (what < 150)
            wait_any();
        else if (what < 170 && opened[who])
            check_descriptor(who);
        else if (what < 180 && opened[who])
            describe(who);
        else if (what < 200 && opened[who])
            join_or_leave(who);
        else if (what < 205)
            open_or_close_any();
        else if (what < 209 && opened[who])
            ring_waiter_set_policy(waiter_of(who), (enum ring_wait_policy)(fuzz_byte() % 3));
        else if (what < 213)
            fuzz_depart();
        else if (what < 230)
            ring_bell(what);
        else if (what < 238)
            fuzz_scribble();
        else if (what < 241)
            fuzz_peer();
        else if (what < 247)
            close_end(who);
        else
            open_end(who);
    }
    for (unsigned who = 0; who < ENDS; who++)
        close_end(who);
    if (any)
        open_or_close_any();
    return 0;
}
