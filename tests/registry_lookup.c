/* registry_lookup.c - names, ends of each kind, threads, forks: what the registry gives and what it refuses. */
#include "registry.h"

#include <sys/wait.h>

Test(registry_lookup, a_message_goes_by_name_through_a_ring_of_each_kind)
{
    static const struct {
        enum ring_registry_end producer, consumer;
        const char *ring;
    } kinds[] = {
        { RING_REGISTRY_MPMC_PRODUCER, RING_REGISTRY_MPMC_CONSUMER, "many" },
        { RING_REGISTRY_BROADCAST_PRODUCER, RING_REGISTRY_BROADCAST_CONSUMER, "all" },
        { RING_REGISTRY_SPSC_PRODUCER, RING_REGISTRY_SPSC_CONSUMER, "one" },
    };
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *out = test_open_name("out"), *in = test_open_name("in");
    for (unsigned i = 0; i < 3; i++) {
        uint64_t sent = 7 + i, got = 0;
        test_register("out", kinds[i].producer, kinds[i].ring);
        test_register("in", kinds[i].consumer, kinds[i].ring);
        REQUIRE_SAME(ring_registry_recv(in, &got, sizeof got, RING_NO_WAIT), -EAGAIN);
        REQUIRE_SAME(ring_registry_send(out, &sent, sizeof sent, RING_NO_WAIT), 0);
        REQUIRE_SAME(ring_registry_recv(in, &got, sizeof got, TEST_LONG), sizeof got);
        REQUIRE_SAME(got, sent);
        REQUIRE_SAME(ring_registry_recv(out, &got, sizeof got, RING_NO_WAIT), -EINVAL);
        REQUIRE_SAME(ring_registry_send(in, &sent, sizeof sent, RING_NO_WAIT), -EINVAL);
        REQUIRE_OK(ring_registry_detach("out"));
        REQUIRE_OK(ring_registry_detach("in"));
        REQUIRE_SAME(ring_registry_send(out, &sent, sizeof sent, RING_NO_WAIT), -ENOENT);
    }
    REQUIRE_OK(ring_registry_close(&out));
    REQUIRE_OK(ring_registry_close(&in));
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_SAME(test_registry_info().segments, 0);
}

Test(registry_lookup, a_section_gives_the_end_itself)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *name = test_open_name("feed");
    void *end = NULL, *again = NULL, *place = NULL;
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    REQUIRE_SAME(ring_registry_enter(name, RING_REGISTRY_MPMC_PRODUCER, &end), 0);
    REQUIRE_SAME(ring_mpmc_reserve(end, 8, &place, RING_NO_WAIT), 0);
    memcpy(place, "12345678", 8);
    REQUIRE_SAME(ring_mpmc_commit(end, 8), 0);
    REQUIRE_SAME(ring_registry_enter_by("feed", RING_REGISTRY_MPMC_PRODUCER, &again), 0); /* sections nest */
    REQUIRE(again == end);
    ring_registry_leave(RING_REGISTRY_MPMC_PRODUCER, again);
    ring_registry_leave(RING_REGISTRY_MPMC_PRODUCER, end);
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_mpmc_info(segment, "many", &info));
    REQUIRE_SAME(info.tail - info.head, 1);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&name));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(registry_lookup, a_segment_is_found_by_name_and_mapped_once)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *name = test_open_name("here");
    void *found = NULL, *other = NULL;
    test_register("here", RING_REGISTRY_SEGMENT, NULL);
    REQUIRE_OK(ring_registry_detach_all()); /* liburcu has its thread now */
    unsigned mappings = test_mappings();
    test_register("here", RING_REGISTRY_SEGMENT, NULL);
    test_register("there", RING_REGISTRY_SEGMENT, NULL);
    REQUIRE_SAME(test_registry_info().segments, 1);
    REQUIRE_SAME(test_registry_info().attached, 2);
    REQUIRE_SAME(ring_registry_enter(name, RING_REGISTRY_SEGMENT, &found), 0);
    REQUIRE_SAME(ring_registry_enter_by("there", RING_REGISTRY_SEGMENT, &other), 0);
    REQUIRE(found == other);
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(found, &info));
    REQUIRE_SAME(info.rings, 3);
    ring_registry_leave(RING_REGISTRY_SEGMENT, other);
    ring_registry_leave(RING_REGISTRY_SEGMENT, found);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_SAME(test_mappings(), mappings);
    REQUIRE_OK(ring_registry_close(&name));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(registry_lookup, bad_names_and_options_are_refused)
{
    char name[RING_REGISTRY_NAME_MAX + 2];
    struct ring_registry_name *handle;
    struct ring_segment *segment = test_create_all();
    struct ring_registry_options options = ring_registry_defaults(RING_REGISTRY_MPMC_PRODUCER, test_name(), "many");
    void *end;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    REQUIRE_REFUSED(ring_registry_open(&handle, name), ENAMETOOLONG);
    REQUIRE_REFUSED(ring_registry_open(&handle, ""), EINVAL);
    REQUIRE_REFUSED(ring_registry_open(&handle, NULL), EINVAL);
    REQUIRE_REFUSED(ring_registry_open(NULL, "n"), EINVAL);
    REQUIRE_REFUSED(ring_registry_attach(name, &options, RING_NO_WAIT), ENAMETOOLONG);
    REQUIRE_SAME(ring_registry_enter_by(name, RING_REGISTRY_MPMC_PRODUCER, &end), -ENOENT);
    REQUIRE_SAME(ring_registry_enter_by(NULL, RING_REGISTRY_MPMC_PRODUCER, &end), -ENOENT);
    REQUIRE_SAME(ring_registry_enter(NULL, RING_REGISTRY_MPMC_PRODUCER, &end), -ENOENT);
    REQUIRE_REFUSED(ring_registry_attach("n", NULL, RING_NO_WAIT), EINVAL);
    options.ring = NULL;
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), EINVAL);
    options.ring = name;
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), ENAMETOOLONG);
    options.ring = "nowhere";
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_registry_attach("n", &options, 1000000), ETIMEDOUT);
    options.ring = "one"; /* of another kind */
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), EINVAL);
    options.end = RING_REGISTRY_ENDS;
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), EINVAL);
    options = ring_registry_defaults(RING_REGISTRY_SEGMENT, "/no-such-segment-here", NULL);
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_registry_detach("n"), ENOENT);
    REQUIRE_SAME(ring_registry_refresh("n"), 0);
    test_register("n", RING_REGISTRY_MPMC_PRODUCER, "many");
    options = ring_registry_defaults(RING_REGISTRY_SEGMENT, test_name(), NULL);
    REQUIRE_REFUSED(ring_registry_attach("n", &options, RING_NO_WAIT), EEXIST);
    REQUIRE_SAME(ring_registry_enter_by("n", RING_REGISTRY_MPMC_CONSUMER, &end), -EINVAL);
    name[RING_REGISTRY_NAME_MAX] = '\0'; /* as long as can be */
    test_register(name, RING_REGISTRY_SEGMENT, NULL);
    REQUIRE_SAME(ring_registry_enter_by(name, RING_REGISTRY_SEGMENT, &end), 0);
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    handle = NULL;
    REQUIRE_REFUSED(ring_registry_close(&handle), EBADF);
    REQUIRE_REFUSED(ring_registry_info(NULL), EINVAL);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(registry_lookup, a_thousand_names_are_all_found_and_all_forgotten)
{
    struct ring_segment *segment = test_create_all();
    char text[32];
    void *end;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "name %u", i);
        test_register(text, RING_REGISTRY_SEGMENT, NULL);
    }
    REQUIRE_SAME(test_registry_info().attached, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "name %u", i);
        REQUIRE_SAME(ring_registry_enter_by(text, RING_REGISTRY_SEGMENT, &end), 0);
        ring_registry_leave(RING_REGISTRY_SEGMENT, end);
        if (i % 2)
            REQUIRE_OK(ring_registry_detach(text));
    }
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "name %u", i);
        int code = ring_registry_enter_by(text, RING_REGISTRY_SEGMENT, &end);
        REQUIRE_SAME(code, i % 2 ? -ENOENT : 0);
        if (code == 0)
            ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    }
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_SAME(test_registry_info().attached, 0);
    REQUIRE_SAME(test_registry_info().segments, 0);
    REQUIRE_SAME(test_registry_info().waiting, 0);
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- A role that a ring has once ---- */

static void *try_to_send(void *argument)
{
    uint64_t word = 1;
    return (void *)(intptr_t)ring_registry_send(argument, &word, sizeof word, RING_NO_WAIT);
}

static intptr_t in_another_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    REQUIRE_SAME(pthread_create(&thread, NULL, body, argument), 0);
    REQUIRE_SAME(pthread_join(thread, &result), 0);
    return (intptr_t)result;
}

Test(registry_lookup, a_role_that_a_ring_has_once_is_one_sections_at_a_time)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *name = test_open_name("one");
    struct ring_spsc_producer other;
    void *end, *second;
    test_register("one", RING_REGISTRY_SPSC_PRODUCER, "one");
    REQUIRE_REFUSED(ring_spsc_open_producer(&other, segment, "one", RING_NO_WAIT), EBUSY);
    REQUIRE_SAME(ring_registry_enter(name, RING_REGISTRY_SPSC_PRODUCER, &end), 0);
    REQUIRE_SAME(in_another_thread(try_to_send, name), -EBUSY);
    REQUIRE_SAME(ring_registry_enter(name, RING_REGISTRY_SPSC_PRODUCER, &second), -EBUSY);
    ring_registry_leave(RING_REGISTRY_SPSC_PRODUCER, end);
    REQUIRE_SAME(in_another_thread(try_to_send, name), 0);
    REQUIRE_SAME((intptr_t)try_to_send(name), 0);
    REQUIRE_OK(ring_registry_detach("one"));
    test_register("one", RING_REGISTRY_SPSC_PRODUCER, "one"); /* the role we gave back a moment ago */
    REQUIRE_SAME(in_another_thread(try_to_send, name), 0);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&name));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Threads ---- */

static unsigned seats_alive(struct ring_segment *segment)
{
    unsigned alive = 0;
    for (unsigned seat = 0; seat < 64; seat++) {
        struct ring_mpmc_seat_info info = { .struct_size = sizeof info };
        if (ring_mpmc_seat_info(segment, "many", seat, &info) == 0)
            alive += info.side.peer == RING_PEER_ALIVE;
    }
    return alive;
}

Test(registry_lookup, each_thread_has_a_seat_of_its_own_and_gives_it_back_when_it_ends)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *name = test_open_name("feed");
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    REQUIRE_SAME(seats_alive(segment), 0);
    REQUIRE_SAME((intptr_t)try_to_send(name), 0);
    REQUIRE_SAME(seats_alive(segment), 1);
    for (unsigned i = 0; i < 300; i++) { /* more threads than there are places or seats, one after the other */
        REQUIRE_SAME(in_another_thread(try_to_send, name), i + 1 < 256 ? 0 : -EAGAIN);
        if (i % 50 == 0)
            REQUIRE_SAME(seats_alive(segment), 1);
    }
    REQUIRE_SAME(test_registry_info().threads, 1);
    REQUIRE_OK(ring_registry_detach("feed"));
    ring_registry_settle();
    REQUIRE_SAME(seats_alive(segment), 0);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&name));
    REQUIRE_OK(ring_segment_close(&segment));
}

struct crowd {
    pthread_barrier_t barrier;
    struct ring_registry_name *name;
    RING_ATOMIC(uint64_t) refused;
};

static void *come_and_stay(void *argument)
{
    struct crowd *crowd = argument;
    void *end;
    int code = ring_registry_enter(crowd->name, RING_REGISTRY_SEGMENT, &end);
    REQUIRE_SAME(code, 0); /* needs no place */
    ring_registry_leave(RING_REGISTRY_SEGMENT, end);
    code = ring_registry_enter_by("seat", RING_REGISTRY_MPMC_PRODUCER, &end);
    if (code == 0)
        ring_registry_leave(RING_REGISTRY_MPMC_PRODUCER, end);
    else
        atomic_fetch_add_explicit(&crowd->refused, code == -EUSERS, memory_order_relaxed);
    pthread_barrier_wait(&crowd->barrier);
    return NULL;
}

Test(registry_lookup, more_threads_than_seats_are_told_so)
{
    enum { CROWD = 10 };
    static struct crowd crowd;
    pthread_t threads[CROWD];
    struct ring_segment *segment = test_create_all();
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.seats = 4;
    options.slots = 16;
    REQUIRE_OK(ring_mpmc_create_with(segment, "few", &options));
    test_register("here", RING_REGISTRY_SEGMENT, NULL);
    test_register("seat", RING_REGISTRY_MPMC_PRODUCER, "few");
    crowd.name = test_open_name("here");
    REQUIRE_SAME(pthread_barrier_init(&crowd.barrier, NULL, CROWD), 0);
    for (unsigned i = 0; i < CROWD; i++)
        REQUIRE_SAME(pthread_create(&threads[i], NULL, come_and_stay, &crowd), 0);
    for (unsigned i = 0; i < CROWD; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
    REQUIRE_SAME(ring_atomic_load(&crowd.refused, memory_order_relaxed), CROWD - 4);
    pthread_barrier_destroy(&crowd.barrier);
    REQUIRE_OK(ring_registry_close(&crowd.name));
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Forks ---- */

Test(registry_lookup, a_forked_child_finds_nothing_and_attaches_anew)
{
    struct ring_segment *segment = test_create_all();
    struct ring_registry_name *feed = test_open_name("feed"), *one = test_open_name("one");
    uint64_t word = 5;
    test_register("feed", RING_REGISTRY_MPMC_PRODUCER, "many");
    test_register("one", RING_REGISTRY_SPSC_PRODUCER, "one");
    REQUIRE_SAME(ring_registry_send(feed, &word, sizeof word, RING_NO_WAIT), 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        bool good = ring_registry_send(feed, &word, sizeof word, RING_NO_WAIT) == -ENOENT &&
                    ring_registry_send(one, &word, sizeof word, RING_NO_WAIT) == -ENOENT;
        struct ring_registry_options options = ring_registry_defaults(RING_REGISTRY_MPMC_PRODUCER, test_name(), "many");
        options.flags = 0;
        good = good && ring_registry_attach("feed", &options, RING_NO_WAIT) == 0 &&
               ring_registry_send(feed, &word, sizeof word, RING_NO_WAIT) == 0;
        options.end = RING_REGISTRY_SPSC_PRODUCER;
        options.ring = "one";
        good = good && ring_registry_attach("one", &options, RING_NO_WAIT) == -EBUSY; /* our parent has it */
        good = good && ring_registry_detach("feed") == 0 && ring_registry_detach_all() == 0;
        _exit(good ? 0 : 1);
    }
    int status;
    REQUIRE_SAME(waitpid(child, &status, 0), child);
    REQUIRE_SAME(status, 0);
    REQUIRE_SAME(ring_registry_send(feed, &word, sizeof word, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_registry_send(one, &word, sizeof word, RING_NO_WAIT), 0);
    REQUIRE_OK(ring_registry_detach_all());
    REQUIRE_OK(ring_registry_close(&feed));
    REQUIRE_OK(ring_registry_close(&one));
    REQUIRE_OK(ring_segment_close(&segment));
}
