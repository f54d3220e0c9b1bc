/* message.c - messages that show whether they are whole, and a ledger of what became of each. */
#include "crash.h"

struct ledger ledger;

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* First word: number + 1, and above it a check of the number; then words that follow from it. */
static uint64_t first_word(uint64_t number)
{
    return (number + 1) | mix(number) << 32;
}

void message_write(void *place, size_t size, uint64_t number)
{
    unsigned char *at = place;
    uint64_t word = first_word(number);
    uint64_t step = mix(~number) | 1;
    for (; size >= 8; size -= 8, at += 8, word += step)
        memcpy(at, &word, 8);
    if (size)
        memcpy(at, &word, size);
}

int64_t message_read(const void *place, size_t size)
{
    const unsigned char *at = place;
    uint64_t word;
    if (size < 8)
        return -1;
    memcpy(&word, at, 8);
    uint64_t number = (uint32_t)word - UINT64_C(1);
    if (word == 0 || word != first_word(number))
        return -1;
    uint64_t step = mix(~number) | 1;
    for (; size >= 8; size -= 8, at += 8, word += step)
        if (memcmp(at, &word, 8) != 0)
            return -1;
    return size == 0 || memcmp(at, &word, size) == 0 ? (int64_t)number : -1;
}

void ledger_begin(bool one_order)
{
    memset(&ledger, 0, sizeof ledger);
    ledger.one_order = one_order;
}

uint64_t ledger_send(void *place)
{
    uint64_t number = OURS + ledger.ours++;
    if (number >= NUMBERS)
        crash_fail("the ring takes more messages than there are numbers");
    message_write(place, stage.size, number);
    return number;
}

/* How many messages of a victim's buffer to look at: those handed over, and those of the call it was in. */
static unsigned looked_at(const struct account *account)
{
    uint64_t most = account->taken + stage.row->count + 1;
    if (most > HANDED)
        most = HANDED;
    return most * stage.size <= BUFFER ? (unsigned)most : (unsigned)(BUFFER / stage.size);
}

static bool has_copy(uint64_t number)
{
    if (ledger.all_see)
        return false;
    for (unsigned v = 0; v < VICTIMS; v++)
        for (unsigned i = 0; i < looked_at(&stage.accounts[v]); i++)
            if (message_read(stage.accounts[v].buffer + i * stage.size, stage.size) == (int64_t)number)
                return true;
    return false;
}

/* The how-manieth message in the ring it was when somebody died; those sent later are beyond all. */
static uint64_t rank_of(uint64_t number)
{
    if (number < RANGE)
        return number;
    if (number < OURS)
        return stage.pending + number % RANGE;
    uint64_t victims = (stage.row->flags & TAKES) ? 0 : stage.row->warm + stage.row->count;
    return number - OURS < ledger.ours_before ? stage.pending + victims + number - OURS : UINT64_MAX;
}

void ledger_arrived(const void *message, size_t length, uint32_t flags)
{
    if (length != stage.size)
        crash_fail("a message of %zu bytes arrived, not %zu", length, stage.size);
    int64_t number = message_read(message, length);
    if (number < 0 || number >= NUMBERS)
        crash_fail("a torn message arrived (%lld)", (long long)number);
    if (ledger.arrived[number]++)
        crash_fail("message %lld arrived twice at survivors", (long long)number);
    if (flags & ~RING_REDELIVERED)
        crash_fail("message %lld has unknown flags 0x%x", (long long)number, flags);
    if (flags && rank_of((uint64_t)number) >= stage.flag_limit)
        crash_fail("message %lld is flagged, though nobody who died can have seen it (limit %u)", (long long)number,
                   stage.flag_limit);
    if (!flags && ((uint64_t)number < stage.dead_took || has_copy((uint64_t)number)))
        crash_fail("message %lld came again without a flag", (long long)number);
    uint64_t *last = ledger.one_order ? &ledger.last_of_all : &ledger.last[number / RANGE];
    if (ledger.one_order || !flags) {
        if ((uint64_t)number + 1 <= *last)
            crash_fail("message %lld arrived after %llu", (long long)number, (unsigned long long)*last - 1);
        *last = (uint64_t)number + 1;
    }
}

/* Whole copies of each message in the buffers of victims. */
static struct {
    unsigned char copies;
    unsigned char returned;  /* whose receiving had returned */
    unsigned char unflagged; /* of these, without a flag */
} seen[NUMBERS];

static void count_copies(void)
{
    memset(seen, 0, sizeof seen);
    for (unsigned v = 0; v < VICTIMS; v++) {
        const struct account *account = &stage.accounts[v];
        for (unsigned i = 0; i < looked_at(account); i++) {
            int64_t number = message_read(account->buffer + i * stage.size, stage.size);
            if (number < 0 && i < account->taken)
                crash_fail("victim %u received a torn message", v);
            if (number < 0 || number >= NUMBERS || ledger.all_see)
                continue;
            seen[number].copies++;
            if (i >= account->taken)
                continue;
            seen[number].returned++;
            if (!account->flags[i])
                seen[number].unflagged++;
        }
    }
}

static void end_pending(uint64_t number)
{
    unsigned before = seen[number].copies + (number < stage.dead_took);
    unsigned arrived = ledger.arrived[number];
    if (before + arrived == 0)
        crash_fail("message %llu is lost", (unsigned long long)number);
    if (seen[number].unflagged > 1)
        crash_fail("message %llu was received by two victims without a flag", (unsigned long long)number);
    if (stage.exact && (seen[number].returned || number < stage.dead_took) && arrived)
        crash_fail("message %llu came again though its receiving had returned", (unsigned long long)number);
}

/* Messages of one victim: those whose sending had returned, and the first of those it was sending. */
static void end_victim(unsigned victim)
{
    uint64_t first = RANGE * (victim + UINT64_C(1));
    bool gap = false;
    for (uint64_t i = 0; i < RANGE; i++) {
        bool there = ledger.arrived[first + i] || seen[first + i].copies;
        if (!there && i < stage.accounts[victim].sent)
            crash_fail("message %llu, whose sending had returned, is lost", (unsigned long long)(first + i));
        if (there && i >= stage.row->warm + stage.row->count)
            crash_fail("message %llu arrived, though it was never sent", (unsigned long long)(first + i));
        if (there && gap)
            crash_fail("message %llu arrived without those before it", (unsigned long long)(first + i));
        gap |= !there;
    }
}

void ledger_end(void)
{
    count_copies();
    for (uint64_t number = 0; number < stage.pending; number++)
        end_pending(number);
    for (unsigned v = 0; v < VICTIMS; v++)
        end_victim(v);
    for (uint64_t i = 0; i < ledger.ours; i++)
        if (!ledger.arrived[OURS + i] && !seen[OURS + i].copies)
            crash_fail("message %llu, sent by a survivor, is lost", (unsigned long long)(OURS + i));
}
