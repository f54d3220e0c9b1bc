/* motion.h - a peer that rewrites words without end, for as long as calls are made, each of which must come back. What
 * they say is of less interest: an error, or what their headers promise. A call that does not end fails by the time
 * limit of its test. */
#ifndef TESTS_MOTION_H
#define TESTS_MOTION_H

#include "blocks.h"

#include <pthread.h>

enum { CALLS = 40 };

static struct ring_segment *segment;
static struct test_outside outside;

/* Takes the values from, from + step, ..., `turns` of them, and then the first again. */
struct motion {
    size_t at; /* from the beginning of the thing, in bytes */
    uint64_t from, step, turns;
};

static unsigned char *thing; /* as seen from outside */
static const struct motion *motions;
static unsigned motion_count;
static RING_ATOMIC(bool) ends;
static RING_ATOMIC(uint64_t) rounds;
static pthread_t peer;

static RING_ATOMIC(uint64_t) * word_at(size_t at)
{
    return (RING_ATOMIC(uint64_t) *)(void *)(thing + at);
}

static void *move_all(void *argument)
{
    (void)argument;
    uint64_t turns[2] = { 0, 0 }; /* no division: who is slow is too seldom in the way */
    while (!atomic_load_explicit(&ends, memory_order_relaxed)) {
        for (unsigned i = 0; i < motion_count; i++) {
            ring_atomic_store(word_at(motions[i].at), motions[i].from + turns[i] * motions[i].step,
                              memory_order_relaxed);
            turns[i] = turns[i] + 1 < motions[i].turns ? turns[i] + 1 : 0;
        }
        if (ring_atomic_load(&rounds, memory_order_relaxed) < 1000)
            atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
    }
    return NULL;
}

static void begin_motion(const struct motion *wanted, unsigned count)
{
    motions = wanted;
    motion_count = count;
    atomic_store(&ends, false);
    atomic_store(&rounds, 0);
    REQUIRE_SAME(pthread_create(&peer, NULL, move_all, NULL), 0);
    test_await(&rounds, 1000);
}

static void end_motion(void)
{
    atomic_store(&ends, true);
    REQUIRE_SAME(pthread_join(peer, NULL), 0);
}

/* The place of the only thing in the segment. */
static void find_thing(void)
{
    struct ring_entry_info entry;
    REQUIRE_OK(ring_segment_entry(segment, 0, &entry));
    outside = test_outside_open(test_name());
    thing = outside.bytes + entry.offset;
}

static void end(void)
{
    test_outside_close(&outside);
    test_pool_end(segment);
}

static bool is_refusal(int64_t code)
{
    static const int known[] = { EAGAIN, ETIMEDOUT, EUCLEAN, EMSGSIZE, EPIPE, EOWNERDEAD, EOVERFLOW, EBUSY };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (code == -known[i])
            return true;
    return false;
}

static int64_t limit(int number)
{
    return number % 4 ? RING_NO_WAIT : 2000000;
}

#endif
