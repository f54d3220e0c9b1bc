/* registry_sections.c - sections over many look-ups, sections in each other, and what goes on beside them. */
#include "registry.h"

#include <sys/wait.h>

/* ---- What was found stays until the outermost section ends ---- */

struct settler {
    pthread_t thread;
    RING_ATOMIC(uint64_t) settled;
};

static void *settle(void *argument)
{
    struct settler *settler = argument;
    ring_registry_settle();
    ring_atomic_store(&settler->settled, 1, memory_order_release);
    return NULL;
}

static void look_at(void *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.rings, 3);
}

static bool is_settled(struct settler *settler)
{
    test_nap(20000000);
    return ring_atomic_load(&settler->settled, memory_order_acquire);
}

Test(registry_sections, what_was_found_stays_mapped_until_the_outermost_section_ends)
{
    static struct settler settler;
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *name = test_open_name("here");
    void *end, *inner;
    REQUIRE_OK(ring_segment_close(&segment));
    test_register("here", RING_REGISTRY_SEGMENT, NULL);
    ring_registry_begin_section(); /* a thread's first section begins in another way than the others */
    ring_registry_end_section();
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_find(name, RING_REGISTRY_SEGMENT, &end), 0);
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_enter(name, RING_REGISTRY_SEGMENT, &inner), 0);
    REQUIRE(inner == end);
    REQUIRE_OK(ring_registry_detach("here"));
    REQUIRE_SAME(ring_registry_find(name, RING_REGISTRY_SEGMENT, &inner), -ENOENT);
    REQUIRE(inner == NULL);
    REQUIRE_SAME(pthread_create(&settler.thread, NULL, settle, &settler), 0);
    REQUIRE(!is_settled(&settler));
    look_at(end);
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    ring_registry_end_section();
    REQUIRE(!is_settled(&settler));
    look_at(end);
    REQUIRE_SAME(test_registry_info().waiting, 1);
    ring_registry_end_section();
    REQUIRE_SAME(pthread_join(settler.thread, NULL), 0);
    REQUIRE_SAME(test_registry_info().waiting, 0);
    REQUIRE_SAME(test_registry_info().segments, 0);
    REQUIRE_OK(ring_registry_close(&name));
}

/* ---- What a look-up in a section gives ---- */

Test(registry_sections, a_section_over_many_lookups_gives_ends_of_ones_own_and_segments)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *feed = test_open_name("feed"), *one = test_open_name("one");
    uint64_t word = 9;
    void *end, *again, *single;
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    test_register("one", RING_REGISTRY_SPSC_PRODUCER, "one");
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_find(feed, RING_REGISTRY_MPMC_PRODUCER, &end), 0); /* takes the seat */
    REQUIRE_SAME(ring_registry_find(feed, RING_REGISTRY_MPMC_PRODUCER, &again), 0);
    REQUIRE(again == end);
    REQUIRE_SAME(ring_registry_find_by("feed", RING_REGISTRY_MPMC_PRODUCER, &again), 0);
    REQUIRE(again == end);
    REQUIRE_SAME(ring_mpmc_send(end, &word, sizeof word, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_registry_find(feed, RING_REGISTRY_MPMC_CONSUMER, &again), -EINVAL);
    REQUIRE_SAME(ring_registry_find(NULL, RING_REGISTRY_MPMC_PRODUCER, &again), -ENOENT);
    REQUIRE_SAME(ring_registry_find_by("nothing", RING_REGISTRY_MPMC_PRODUCER, &again), -ENOENT);
    REQUIRE_SAME(ring_registry_find_by(NULL, RING_REGISTRY_MPMC_PRODUCER, &again), -ENOENT);
    REQUIRE_SAME(ring_registry_find(one, RING_REGISTRY_SPSC_PRODUCER, &single),
                 -EINVAL); /* nobody would give it back */
    REQUIRE(single == NULL);
    REQUIRE_SAME(ring_registry_enter(one, RING_REGISTRY_SPSC_PRODUCER, &single), 0);
    REQUIRE_SAME(ring_spsc_send(single, &word, sizeof word, RING_NO_WAIT), 0);
    ring_registry_leave(RING_REGISTRY_SPSC_PRODUCER, single);
    REQUIRE_SAME(ring_registry_send(one, &word, sizeof word, RING_NO_WAIT), 0);
    ring_registry_end_section();
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&feed));
    REQUIRE_OK(ring_registry_close(&one));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- More threads than an entry's line has places ---- */

enum { CROWD = 4 * RING_REGISTRY_NEAR };

struct crowd {
    struct ring_registry_name *feed, *here;
    pthread_barrier_t barrier;
    void *ends[CROWD];
};

struct member {
    struct crowd *crowd;
    unsigned number;
};

static void *look_up_twice(void *argument)
{
    struct member *member = argument;
    struct crowd *crowd = member->crowd;
    uint64_t word = 1;
    void *again, *segment;
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_find(crowd->feed, RING_REGISTRY_MPMC_PRODUCER, &crowd->ends[member->number]), 0);
    pthread_barrier_wait(&crowd->barrier);
    REQUIRE_SAME(ring_registry_find(crowd->feed, RING_REGISTRY_MPMC_PRODUCER, &again), 0);
    REQUIRE(again == crowd->ends[member->number]);
    REQUIRE_SAME(ring_registry_find(crowd->here, RING_REGISTRY_SEGMENT, &segment), 0);
    look_at(segment);
    ring_registry_end_section();
    REQUIRE_SAME(ring_registry_send(crowd->feed, &word, sizeof word, RING_NO_WAIT), 0);
    return NULL;
}

Test(registry_sections, each_of_many_threads_finds_its_own_end_again)
{
    static struct crowd crowd;
    struct member members[CROWD];
    pthread_t threads[CROWD];
    struct ring_segment *segment = test_create_all();
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    test_register("here", RING_REGISTRY_SEGMENT, NULL);
    crowd.feed = test_open_name("feed");
    crowd.here = test_open_name("here");
    REQUIRE_SAME(pthread_barrier_init(&crowd.barrier, NULL, CROWD), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        members[i] = (struct member){ &crowd, i };
        REQUIRE_SAME(pthread_create(&threads[i], NULL, look_up_twice, &members[i]), 0);
    }
    for (unsigned i = 0; i < CROWD; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < CROWD; i++)
        for (unsigned k = 0; k < i; k++)
            REQUIRE(crowd.ends[i] != crowd.ends[k]);
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_mpmc_info(segment, "many", &info));
    REQUIRE_SAME(info.tail - info.head, CROWD);
    REQUIRE_SAME(test_registry_info().threads, 0);
    pthread_barrier_destroy(&crowd.barrier);
    REQUIRE_OK(ring_registry_close(&crowd.feed));
    REQUIRE_OK(ring_registry_close(&crowd.here));
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- The table of names grows under those who look up ---- */

static RING_ATOMIC(uint64_t) over;

static void *find_both(void *argument)
{
    void *end;
    while (!ring_atomic_load(&over, memory_order_relaxed)) {
        ring_registry_begin_section();
        REQUIRE_SAME(ring_registry_find_by("first", RING_REGISTRY_SEGMENT, &end), 0);
        look_at(end);
        REQUIRE_SAME(ring_registry_find_by("second", RING_REGISTRY_SEGMENT, &end), 0);
        ring_registry_end_section();
    }
    return argument;
}

Test(registry_sections, names_are_found_by_text_while_thousands_come_and_go)
{
    enum { NAMES = 4000 };
    static struct ring_registry_name *names[NAMES];
    pthread_t threads[2];
    char text[32];
    struct ring_segment *segment = test_create_all();
    test_register("first", RING_REGISTRY_SEGMENT, NULL);
    test_register("second", RING_REGISTRY_SEGMENT, NULL);
    for (unsigned i = 0; i < 2; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, find_both, NULL), 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < NAMES; i++) {
            snprintf(text, sizeof text, "%u-%u", i, round);
            names[i] = test_open_name(text);
            if (i % 200 == 0)
                test_nap(100000); /* so that the table grows in steps */
        }
        for (unsigned i = 0; i < NAMES; i++)
            REQUIRE_OK(ring_registry_close(&names[i]));
    }
    ring_atomic_store(&over, 1, memory_order_relaxed);
    for (unsigned i = 0; i < 2; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Forks and ends of threads ---- */

Test(registry_sections, a_forked_child_has_sections_of_its_own)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *feed = test_open_name("feed");
    uint64_t word = 5;
    void *end;
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_find(feed, RING_REGISTRY_MPMC_PRODUCER, &end), 0);
    ring_registry_end_section();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        struct ring_registry_options options = ring_registry_defaults(RING_REGISTRY_MPMC_PRODUCER, test_name(), "many");
        options.flags = 0;
        ring_registry_begin_section();
        bool good = ring_registry_find(feed, RING_REGISTRY_MPMC_PRODUCER, &end) == -ENOENT &&
                    ring_registry_attach("feed", &options, RING_NO_WAIT) == 0 &&
                    ring_registry_find(feed, RING_REGISTRY_MPMC_PRODUCER, &end) == 0 &&
                    ring_mpmc_send(end, &word, sizeof word, RING_NO_WAIT) == 0 && ring_registry_detach("feed") == 0 &&
                    ring_mpmc_send(end, &word, sizeof word, RING_NO_WAIT) == 0;
        ring_registry_end_section();
        good = good && ring_registry_detach_all() == 0;
        _exit(good ? 0 : 1);
    }
    int status;
    REQUIRE_SAME(waitpid(child, &status, 0), child);
    REQUIRE_SAME(status, 0);
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_find(feed, RING_REGISTRY_MPMC_PRODUCER, &end), 0);
    REQUIRE_SAME(ring_mpmc_send(end, &word, sizeof word, RING_NO_WAIT), 0);
    ring_registry_end_section();
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&feed));
    REQUIRE_OK(ring_segment_close(&segment));
}

static struct ring_registry_name *farewell;
static pthread_key_t late;
static RING_ATOMIC(uint64_t) said;

/* Runs when liburcu and the registry have seen the thread end, and once again after that. */
static void say_farewell(void *left)
{
    uint64_t word = 3;
    void *end;
    ring_registry_begin_section();
    REQUIRE_SAME(ring_registry_find(farewell, RING_REGISTRY_MPMC_PRODUCER, &end), 0);
    REQUIRE_SAME(ring_mpmc_send(end, &word, sizeof word, RING_NO_WAIT), 0);
    ring_registry_end_section();
    atomic_fetch_add_explicit(&said, 1, memory_order_relaxed);
    if ((uintptr_t)left > 1)
        REQUIRE_SAME(pthread_setspecific(late, (void *)((uintptr_t)left - 1)), 0);
}

static void *send_and_end(void *argument)
{
    uint64_t word = 2;
    REQUIRE_SAME(ring_registry_send(farewell, &word, sizeof word, RING_NO_WAIT), 0);
    REQUIRE_SAME(pthread_setspecific(late, (void *)(uintptr_t)2), 0);
    return argument;
}

Test(registry_sections, destructors_of_a_thread_that_ends_may_send_by_name)
{
    pthread_t thread;
    struct ring_segment *segment = test_create_all();
    farewell = test_open_name("feed");
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    REQUIRE_SAME(pthread_key_create(&late, say_farewell), 0);
    for (unsigned i = 1; i <= 20; i++) {
        REQUIRE_SAME(pthread_create(&thread, NULL, send_and_end, NULL), 0);
        REQUIRE_SAME(pthread_join(thread, NULL), 0);
        REQUIRE_SAME(ring_atomic_load(&said, memory_order_relaxed), 2 * i);
        REQUIRE_SAME(test_registry_info().threads, 0);
    }
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_SAME(test_registry_info().segments, 0);
    REQUIRE_OK(ring_registry_close(&farewell));
    REQUIRE_SAME(pthread_key_delete(late), 0);
    REQUIRE_OK(ring_segment_close(&segment));
}
