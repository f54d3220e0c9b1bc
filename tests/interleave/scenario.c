/* scenario.c - see scenario.h. */
#include "scenario.h"

#undef memcpy

const struct scenario scenarios[] = {
    { "spsc", "one producer, one consumer, all verbs", 1, spsc_alone },
    { "spsc-death", "the same; either may die, and has a successor", 1, spsc_successors },
    { "spsc-sleep", "both wait as long as it takes: no wake is lost", 8, spsc_sleeping },
    { "spsc-grow", "it grows, by its producer or while it has none; either may die, and has a successor", 2,
      spsc_growing },
    { "grow-sleep", "it grows, and both wait as long as it takes", 16, spsc_growing_asleep },
    { "mpmc", "two producers, two consumers", 1, mpmc_shared },
    { "mpmc-modes", "they come and go, and claim alone for a while", 1, mpmc_modes },
    { "mpmc-death", "some of them die; one mends at any time", 1, mpmc_deaths },
    { "mpmc-sleep", "all wait as long as it takes: no wake is lost", 8, mpmc_sleeping },
    { "overwrite", "broadcast: two consumers that may be lapped; the producer may die and has a successor", 1,
      broadcast_overwriting },
    { "lossless", "broadcast: consumers come and die, and so may the producer", 1, broadcast_lossless },
    { "news-sleep", "broadcast, lossless: all wait as long as it takes", 8, broadcast_sleeping },
    { "blocks", "blocks are sent, allocated and freed by several, and lent", 2, blocks_lent },
    { "blocks-death", "some of them die, and have successors; one mends at any time", 2, blocks_deaths },
};
const unsigned scenario_count = sizeof scenarios / sizeof scenarios[0];

struct ring_segment *scene;
struct ledger ledger;
uint64_t scene_seed;

enum { SCENE_BYTES = 96 << 10 };

/* ---- The segment ---- */

static void make_segment(void)
{
    char name[64];
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = SCENE_BYTES;
    options.flags = 0;
    options.rings = 4;
    snprintf(name, sizeof name, "shmring-interleave-%d", (int)getpid());
    if (ring_segment_create(&scene, name, &options) != 0 || ring_segment_unlink(name) != 0) {
        fprintf(stderr, "no segment: %s\n", ring_error_detail());
        exit(1);
    }
}

void scene_begin(uint64_t seed, int (*make)(struct ring_segment *segment))
{
    if (!scene)
        make_segment();
    scene_seed = seed;
    memset(&ledger, 0, sizeof ledger);
    memset(ledger.last, 0xff, sizeof ledger.last);
    ring_atomic_store(&scene->users, 1, memory_order_relaxed); /* who died has not given its part back */
    schedule_begin(seed, scene->memory.address, scene->memory.bytes);
    memset(scene->memory.address + RING_LAYOUT_PAGE, 0, scene->memory.bytes - RING_LAYOUT_PAGE);
    DEMAND_SAME(make(scene), 0);
}

void scene_run(void)
{
    if (!schedule_run())
        schedule_fail("%s", schedule_failure());
}

uint64_t scene_position(void)
{
    static const unsigned shifts[] = { 32, 36, 38, 39, 54, 55, 56, 62, 63 };
    if (chance_below(3) == 0)
        return 0;
    if (chance_below(4) == 0)
        return UINT64_MAX - 7 - 8 * chance_below(4);
    return (UINT64_C(1) << shifts[chance_below(sizeof shifts / sizeof shifts[0])]) - 8 * chance_below(4);
}

void scene_may_die(unsigned thread, unsigned percent)
{
    if (chance_below(100) < percent)
        schedule_kill_at(thread, 1 + chance_below(UINT64_C(8) << chance_below(8)));
}

bool scene_is_dead(unsigned thread)
{
    return schedule_state(thread) == LOGICAL_DEAD;
}

bool scene_is_over(unsigned thread)
{
    return schedule_state(thread) != LOGICAL_READY;
}

/* ---- Messages ---- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 31) * UINT64_C(0x7fb5d329728ea185);
    value = (value ^ value >> 27) * UINT64_C(0x81dadef4bc2dd44d);
    return value ^ value >> 33;
}

uint64_t message_word(unsigned sender, unsigned number, size_t length)
{
    uint64_t word = (uint64_t)(sender + 1) << 28 | (uint64_t)number << 16 | length;
    return mix(word + scene_seed) << 32 | word;
}

void message_fill(void *message, unsigned sender, unsigned number, size_t length)
{
    uint64_t word = message_word(sender, number, length);
    unsigned char *bytes = message;
    memcpy(bytes, &word, 8);
    for (size_t i = 8; i < length; i++)
        bytes[i] = (unsigned char)mix(word + i);
}

bool message_is_there(const void *bytes, unsigned *sender, unsigned *number)
{
    uint64_t word;
    const unsigned char *byte = bytes;
    memcpy(&word, bytes, 8);
    size_t length = word & 0xffff;
    *sender = (unsigned)(word >> 28 & 15) - 1;
    *number = (unsigned)(word >> 16 & 0xfff);
    if (length < 8 || length > MESSAGE_MOST || *sender >= SENDERS || *number >= NUMBERS ||
        word != message_word(*sender, *number, length))
        return false;
    for (size_t i = 8; i < length; i++)
        if (byte[i] != (unsigned char)mix(word + i))
            return false;
    return true;
}

bool message_is_whole(const void *message, size_t length, unsigned *sender, unsigned *number)
{
    uint64_t word;
    if (length < 8)
        return false;
    memcpy(&word, message, 8);
    return (word & 0xffff) == length && message_is_there(message, sender, number);
}

size_t message_any_length(size_t most)
{
    switch (chance_below(4)) {
    case 0:
        return 8;
    case 1:
        return most - chance_below(most / 4);
    default:
        return 8 + chance_below(most - 7);
    }
}

/* ---- The ledger ---- */

unsigned ledger_begin(unsigned sender, unsigned count)
{
    unsigned first = ledger.next[sender];
    DEMAND(first + count <= NUMBERS);
    for (unsigned i = 0; i < count; i++)
        ledger.sent[sender][first + i] = 1;
    ledger.next[sender] = first + count;
    return first;
}

void ledger_sent(unsigned sender, unsigned first, unsigned count, unsigned done)
{
    for (unsigned i = 0; i < count; i++)
        ledger.sent[sender][first + i] = i < done ? 2 : 0;
    ledger.next[sender] = first + done;
}

void ledger_got(unsigned consumer, const void *message, size_t length, uint32_t flags, bool for_good)
{
    unsigned sender, number;
    unsigned char self = (unsigned char)(1u << consumer);
    if (!message_is_whole(message, length, &sender, &number))
        schedule_fail("consumer %u received a torn message, or none (%zu bytes)", consumer, length);
    if (!ledger.sent[sender][number])
        schedule_fail("consumer %u received message %u of %u, which was never sent", consumer, number, sender);
    if (ledger.taken[sender][number] & self)
        schedule_fail("consumer %u received message %u of %u again", consumer, number, sender);
    bool again = ((ledger.handed[sender][number] | ledger.taken[sender][number]) & ~self) != 0;
    if (again && !(flags & RING_REDELIVERED))
        schedule_fail("message %u of %u came to consumer %u too, without the flag", number, sender, consumer);
    ledger.handed[sender][number] |= self;
    if (!for_good)
        return;
    ledger.taken[sender][number] |= self;
    if (flags & RING_REDELIVERED)
        return;
    if ((int)number <= ledger.last[consumer][sender])
        schedule_fail("consumer %u received message %u of %u after message %d", consumer, number, sender,
                      ledger.last[consumer][sender]);
    ledger.last[consumer][sender] = (int)number;
}

void ledger_died_with(const void *buffer, size_t stride, unsigned count)
{
    unsigned sender, number;
    for (unsigned i = 0; i < count; i++)
        if (message_is_there((const unsigned char *)buffer + i * stride, &sender, &number))
            ledger.in_hand[sender][number] = 1;
}

void ledger_end(void)
{
    for (unsigned sender = 0; sender < SENDERS; sender++)
        for (unsigned number = 0; number < NUMBERS; number++)
            if (ledger.sent[sender][number] == 2 && !ledger.taken[sender][number] && !ledger.in_hand[sender][number])
                schedule_fail("message %u of %u is lost", number, sender);
}

void scene_choose_policy(struct ring_waiter *waiter)
{
    if (scene_seed % 2)
        ring_waiter_set_policy(waiter, RING_WAIT_SLEEP);
}
