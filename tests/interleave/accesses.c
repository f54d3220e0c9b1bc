/* accesses.c - the hooks: what an access to a shared word does; schedule.h tells the rules. */
#include "schedule.h"

#include "stores.h"

#include <stdio.h>

#undef memcpy

static unsigned char *shared_first;
static size_t shared_bytes;

void accesses_begin(unsigned char *first, size_t bytes)
{
    shared_first = first;
    shared_bytes = bytes;
}

static void tell(const char *doing, const struct interleave_site *site, const void *at, uint64_t value)
{
    const char *file = strrchr(site->file, '/');
    if (!schedule_trace)
        return;
    printf("%6llu  %-12s %-8s %s:%d  %s", (unsigned long long)schedule_steps(), schedule_name(), doing,
           file ? file + 1 : site->file, site->line, site->what);
    if (at)
        printf("  [+0x%zx] %#llx", (size_t)((const unsigned char *)at - shared_first), (unsigned long long)value);
    putchar('\n');
}

static void put(void *at, const void *value, size_t size, bool release)
{
    if (!schedule_delays())
        memcpy(at, value, size);
    else
        stores_put(schedule_stores(), at, value, size, release);
}

static bool is_shared(const volatile void *at)
{
    const unsigned char *byte = (const unsigned char *)(uintptr_t)at;
    return schedule_stores() && byte >= shared_first && byte < shared_first + shared_bytes;
}

static bool is_left_out(const struct interleave_site *site)
{
    if (!sabotage || sabotage->kind != ORDER || strcmp(site->what, sabotage->what) != 0)
        return false;
    const char *file = strrchr(site->file, '/');
    return strcmp(file ? file + 1 : site->file, sabotage->file) == 0;
}

static uint64_t low_bytes(const void *value, size_t size)
{
    uint64_t number = 0;
    memcpy(&number, value, size < 8 ? size : 8);
    return number;
}

bool interleave_load(const volatile void *word, void *value, size_t size, const struct interleave_site *site)
{
    const void *at = (const void *)(uintptr_t)word;
    if (!is_shared(word))
        return false;
    schedule_turn();
    stores_get(schedule_stores(), at, value, size);
    tell("loads", site, at, low_bytes(value, size));
    return true;
}

bool interleave_store(volatile void *word, const void *value, size_t size, int order,
                      const struct interleave_site *site)
{
    void *at = (void *)(uintptr_t)word;
    if (!is_shared(word))
        return false;
    schedule_turn();
    bool release = order != memory_order_relaxed && !is_left_out(site);
    put(at, value, size, release);
    if (order == memory_order_seq_cst)
        schedule_settle();
    tell(release ? "releases" : "stores", site, at, low_bytes(value, size));
    return true;
}

void interleave_before_swap(volatile void *word, size_t size, int order, const struct interleave_site *site)
{
    void *at = (void *)(uintptr_t)word;
    if (!is_shared(word))
        return;
    schedule_turn();
    bool release = order != memory_order_relaxed && order != memory_order_acquire && !is_left_out(site);
    /* Its own earlier stores to the word come first. */
    if (release || stores_touch(schedule_stores(), at, size))
        schedule_settle();
    tell("swaps", site, at, low_bytes(at, size));
}

void interleave_fence(int order, const struct interleave_site *site)
{
    if (!schedule_stores())
        return;
    schedule_turn();
    tell("fence", site, NULL, 0);
    if (order == memory_order_acquire || is_left_out(site))
        return;
    schedule_stores()->epoch++;
    if (order == memory_order_seq_cst)
        schedule_settle();
}

static void copy_piece(unsigned char *to, const unsigned char *from, size_t length, const struct interleave_site *site)
{
    unsigned char bytes[STORE_MOST];
    schedule_turn();
    stores_get(schedule_stores(), from, bytes, length);
    if (is_shared(to)) {
        put(to, bytes, length, false);
        tell("copies", site, to, low_bytes(bytes, length));
    } else {
        memcpy(to, bytes, length);
        tell("copies", site, from, low_bytes(bytes, length));
    }
}

/* The first and the last word are pieces of their own, what lies between is cut at random. */
void interleave_copy(void *to, const void *from, size_t length, const struct interleave_site *site)
{
    unsigned char *target = to;
    const unsigned char *source = from;
    if (!is_shared(to) && !is_shared(from)) {
        memcpy(to, from, length);
        return;
    }
    for (size_t at = 0; at < length;) {
        size_t left = length - at;
        size_t piece = at == 0 || left <= 8 ? 8 : 8 + 8 * (size_t)chance_below((left - 8) / 8 + 1);
        piece = piece < left ? piece : left;
        if (left > 8 && piece == left)
            piece = (left - 1) / 8 * 8;
        piece = piece < STORE_MOST ? piece : STORE_MOST;
        copy_piece(target + at, source + at, piece, site);
        at += piece;
    }
}
