/* registry_churn.c - many threads look up and send while others attach, detach and attach again: nobody ever touches
 * what was unmapped. Here munmap() of a segment takes all rights away instead, and the addresses are never used again,
 * so that a late use faults and is not hidden by a mapping that came to the same place. */
#include "registry.h"

#include <sys/mman.h>
#include <sys/syscall.h>

static RING_ATOMIC(uint64_t) unmapped;

/* Takes the place of libc's for the library too. Segments are the only mappings of that size here. */
int munmap(void *address, size_t bytes);
int munmap(void *address, size_t bytes)
{
    if (bytes < RING_SEGMENT_MIN_BYTES || bytes > (4 << 20))
        return (int)syscall(SYS_munmap, address, bytes);
    atomic_fetch_add_explicit(&unmapped, 1, memory_order_relaxed);
    madvise(address, bytes, MADV_DONTNEED);
    return mprotect(address, bytes, PROT_NONE);
}

enum { NAMES = 4, SENDERS = 4 };

struct churn {
    struct ring_registry_name *names[NAMES];
    RING_ATOMIC(uint64_t) sent, missed, over;
};

static const char *const texts[NAMES] = { "first", "second", "third", "fourth" };
static const enum ring_registry_end kinds[NAMES] = { RING_REGISTRY_MPMC_PRODUCER, RING_REGISTRY_SPSC_PRODUCER,
                                                     RING_REGISTRY_BROADCAST_PRODUCER, RING_REGISTRY_SEGMENT };
static const char *const rings[NAMES] = { "many", "one", "all", NULL };

static void note(struct churn *churn, int code)
{
    REQUIRE_ONE_OF(code, 0, -ENOENT, -EBUSY, -EAGAIN, -EUSERS, -EPIPE, -EOWNERDEAD);
    atomic_fetch_add_explicit(code == 0 ? &churn->sent : &churn->missed, 1, memory_order_relaxed);
}

/* Several look-ups in one section. */
static void find_some(struct churn *churn, struct test_random *random)
{
    void *end;
    ring_registry_begin_section();
    for (unsigned i = 0; i < 8; i++) {
        struct ring_entry_info info;
        uint64_t word = i;
        int code = ring_registry_find(churn->names[3], RING_REGISTRY_SEGMENT, &end);
        note(churn, code);
        if (code == 0)
            REQUIRE_OK(ring_segment_entry(end, 0, &info));
        code = test_below(random, 2) ? ring_registry_find(churn->names[0], RING_REGISTRY_MPMC_PRODUCER, &end)
                                     : ring_registry_find_by(texts[0], RING_REGISTRY_MPMC_PRODUCER, &end);
        note(churn, code ? code : ring_mpmc_send(end, &word, sizeof word, RING_NO_WAIT));
    }
    ring_registry_end_section();
}

/* Sends, peeps into the segment, and waits within sections. */
static void *send_all_the_time(void *argument)
{
    struct churn *churn = argument;
    struct test_random random = { (uint64_t)(uintptr_t)&random };
    uint64_t words[4] = { 1, 2, 3, 4 };
    while (!ring_atomic_load(&churn->over, memory_order_relaxed)) {
        unsigned i = (unsigned)test_below(&random, NAMES);
        void *end;
        if (test_below(&random, 4) == 0) {
            find_some(churn, &random);
            continue;
        }
        if (kinds[i] != RING_REGISTRY_SEGMENT && test_below(&random, 2)) {
            note(churn, ring_registry_send(churn->names[i], words, sizeof words, RING_NO_WAIT));
            continue;
        }
        int code = test_below(&random, 2) ? ring_registry_enter(churn->names[i], kinds[i], &end)
                                          : ring_registry_enter_by(texts[i], kinds[i], &end);
        note(churn, code);
        if (code)
            continue;
        if (kinds[i] == RING_REGISTRY_SEGMENT) {
            struct ring_entry_info info;
            REQUIRE_OK(ring_segment_entry(end, 0, &info));
            REQUIRE_SAME(info.kind, RING_KIND_MPMC);
        } else if (kinds[i] == RING_REGISTRY_SPSC_PRODUCER) {
            code = ring_spsc_send(end, words, sizeof words, RING_NO_WAIT);
            REQUIRE_ONE_OF(code, 0, -EAGAIN, -EPIPE, -EOWNERDEAD);
        }
        if (test_below(&random, 100) == 0)
            test_nap(100000);
        ring_registry_leave(kinds[i], end);
    }
    return NULL;
}

static void run_churn(void (*change)(struct churn *, unsigned), unsigned changes)
{
    static struct churn churn;
    pthread_t senders[SENDERS];
    struct ring_segment *segment = test_create_all();
    REQUIRE_OK(ring_segment_close(&segment));
    for (unsigned i = 0; i < NAMES; i++) {
        churn.names[i] = test_open_name(texts[i]);
        test_register(texts[i], kinds[i], rings[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        REQUIRE_SAME(pthread_create(&senders[i], NULL, send_all_the_time, &churn), 0);
    for (unsigned i = 0; i < changes; i++)
        change(&churn, i);
    test_await(&churn.sent, 1000);
    ring_atomic_store(&churn.over, 1, memory_order_relaxed);
    for (unsigned i = 0; i < SENDERS; i++)
        REQUIRE_SAME(pthread_join(senders[i], NULL), 0);
    for (unsigned i = 0; i < NAMES; i++)
        REQUIRE_OK(ring_registry_close(&churn.names[i]));
    REQUIRE_OK(ring_registry_detach_all());
    struct ring_registry_info info = test_registry_info();
    REQUIRE_SAME(info.attached, 0);
    REQUIRE_SAME(info.waiting, 0);
    REQUIRE_SAME(info.segments, 0);
    REQUIRE_SAME(info.threads, 0);
}

static void detach_and_attach(struct churn *churn, unsigned step)
{
    (void)churn;
    if (step % 8 == 0) { /* all of them: the segment is unmapped, and mapped again */
        for (unsigned i = 0; i < NAMES; i++)
            REQUIRE_OK(ring_registry_detach(texts[i]));
        ring_registry_settle();
        for (unsigned i = 0; i < NAMES; i++)
            test_register(texts[i], kinds[i], rings[i]);
    }
    unsigned i = step % NAMES;
    REQUIRE_OK(ring_registry_detach(texts[i]));
    test_register(texts[i], kinds[i], rings[i]);
}

Test(registry_churn, nobody_uses_what_was_unmapped_while_names_come_and_go)
{
    run_churn(detach_and_attach, (unsigned)test_rounds(240));
    REQUIRE(ring_atomic_load(&unmapped, memory_order_relaxed) >= test_rounds(240) / 8);
}

static void make_anew(struct churn *churn, unsigned step)
{
    (void)churn;
    (void)step;
    REQUIRE_OK(ring_segment_unlink(test_name())); /* a peer that starts again with a new segment of the same name */
    struct ring_segment *segment = test_create_all();
    REQUIRE_OK(ring_segment_close(&segment));
    int replaced = ring_registry_refresh_all();
    REQUIRE_SAME(replaced, NAMES);
}

Test(registry_churn, nobody_uses_what_was_unmapped_while_peers_come_again_with_new_segments)
{
    run_churn(make_anew, (unsigned)test_rounds(200));
    REQUIRE_SAME(ring_atomic_load(&unmapped, memory_order_relaxed) > test_rounds(200), 1);
}

static void *come_send_and_go(void *argument)
{
    uint64_t word = 1;
    int code = ring_registry_send(argument, &word, sizeof word, RING_NO_WAIT);
    REQUIRE_ONE_OF(code, 0, -EAGAIN, -ENOENT, -EUSERS);
    return NULL;
}

static void threads_come(struct churn *churn, unsigned step)
{
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, come_send_and_go, churn->names[0]), 0);
    if (step % 2)
        detach_and_attach(churn, step & ~3U);
    for (unsigned i = 0; i < 4; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
}

Test(registry_churn, threads_come_and_go_while_names_do)
{
    run_churn(threads_come, (unsigned)test_rounds(300));
}
