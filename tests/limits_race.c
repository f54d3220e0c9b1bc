/* limits_race.c - 64 processes at once, on one name and on one ring: each call ends in success or in an error that its
 * header tells of, nobody ever sees half of anything, and nothing is left. */
#include "harness.h"

enum {
#ifdef TEST_SLOW
    RACERS = 24,
#else
    RACERS = 64,
#endif
    SEATS = 16,
    BYTES = 160 << 10,
    PLACES = 5,
};

struct race {
    RING_ATOMIC(uint64_t) stop;
    RING_ATOMIC(uint64_t) created;
    RING_ATOMIC(uint64_t) attached;
    RING_ATOMIC(uint64_t) removed;
    RING_ATOMIC(uint64_t) producers; /* who hold that role just now */
    RING_ATOMIC(uint64_t) consumers;
    RING_ATOMIC(uint64_t) seated;
    RING_ATOMIC(uint64_t) turns;   /* successful openings: of roles, */
    RING_ATOMIC(uint64_t) seats;   /* of seats, */
    RING_ATOMIC(uint64_t) refused; /* and refused ones */
    RING_ATOMIC(uint64_t) sent;
    RING_ATOMIC(uint64_t) received;
};

static void add(RING_ATOMIC(uint64_t) * word)
{
    atomic_fetch_add(word, 1);
}

/* The racers run for `seconds`. */
static void race_for(struct race *race, test_body body, int seconds)
{
    pid_t racers[RACERS];
    for (int i = 0; i < RACERS; i++)
        racers[i] = test_spawn(body, race);
    test_nap(seconds * TEST_SECOND);
    atomic_store(&race->stop, 1);
    for (int i = 0; i < RACERS; i++)
        test_wait(racers[i]);
}

/* One of the answers given, 0 apart; any other is none that the header tells of. */
#define REQUIRE_OK_OR(call, ...)                                                                                       \
    ({                                                                                                                 \
        long long said = (call);                                                                                       \
        const int known[] = { 0, __VA_ARGS__ };                                                                        \
        size_t at = 0;                                                                                                 \
        while (at < sizeof known / sizeof known[0] && said != -known[at])                                              \
            at++;                                                                                                      \
        if (at == sizeof known / sizeof known[0])                                                                      \
            test_failed(__FILE__, __LINE__, "%s is %lld: %s", #call, said, ring_error_detail());                       \
        said;                                                                                                          \
    })

/* ---- One name ---- */

/* Whatever was attached is whole, and of use. */
static void use(struct ring_segment *segment, struct test_random *random)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE(info.bytes == BYTES && info.max_rings == PLACES && info.mode == 0600 &&
            info.version == RING_LAYOUT_VERSION);
    REQUIRE(info.creator_pid > 0 && info.created_ns > 0 && info.used_bytes <= info.bytes);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    unsigned char message[64];
    REQUIRE_OK_OR(ring_spsc_create(segment, "ring", 4096), EEXIST);
    if (test_below(random, 2)) {
        if (REQUIRE_OK_OR(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBUSY) == 0) {
            test_fill(message, sizeof message, 7);
            REQUIRE_OK_OR(ring_spsc_send(&producer, message, sizeof message, RING_NO_WAIT), EAGAIN, EPIPE);
            REQUIRE_OK(ring_spsc_close_producer(&producer));
        }
    } else if (REQUIRE_OK_OR(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT), EBUSY) == 0) {
        ssize_t length;
        while ((length = ring_spsc_recv(&consumer, message, sizeof message, RING_NO_WAIT)) >= 0)
            REQUIRE(length == sizeof message && test_matches(message, sizeof message, 7));
        REQUIRE_ONE_OF(length, -EAGAIN, -EPIPE);
        REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    }
}

static int come_and_go(void *argument)
{
    struct race *race = argument;
    struct test_random random = { (uint64_t)getpid() };
    struct ring_segment_options options = test_plain(BYTES);
    options.rings = PLACES;
    while (!atomic_load(&race->stop)) {
        struct ring_segment *segment = NULL;
        uint64_t what = test_below(&random, 8);
        if (what < 2 && REQUIRE_OK_OR(ring_segment_create(&segment, test_name(), &options), EEXIST) == 0)
            add(&race->created);
        else if (what < 5 && REQUIRE_OK_OR(ring_segment_attach(&segment, test_name(), &options,
                                                                what == 2 ? 1000000 : RING_NO_WAIT),
                                            ENOENT, ETIMEDOUT) == 0)
            add(&race->attached);
        else if (what == 5)
            REQUIRE_OK_OR(ring_segment_open(&segment, test_name(), &options), EAGAIN);
        else if (REQUIRE_OK_OR(ring_segment_unlink(test_name()), ENOENT) == 0)
            add(&race->removed);
        if (!segment)
            continue;
        use(segment, &random);
        REQUIRE_OK(ring_segment_close(&segment));
    }
    return 0;
}

Test(crowd, racing_to_create_attach_and_unlink_one_name_sees_whole_segments_only)
{
    struct race *race = test_shared(sizeof *race);
    race_for(race, come_and_go, 3);
    REQUIRE(atomic_load(&race->created) > 10 && atomic_load(&race->attached) > 10 && atomic_load(&race->removed) > 10);
    if (ring_segment_unlink(test_name()) == 0)
        add(&race->removed);
    REQUIRE_SAME(test_names_left(), 0);
    fprintf(stderr, "# %d processes: %llu created, %llu attached, %llu removed\n", RACERS,
            (unsigned long long)atomic_load(&race->created), (unsigned long long)atomic_load(&race->attached),
            (unsigned long long)atomic_load(&race->removed));
}

/* ---- One ring's roles ---- */

/* Holds a role for a moment: nobody else does. */
static void hold_alone(RING_ATOMIC(uint64_t) * holders, struct test_random *random)
{
    REQUIRE_SAME(atomic_fetch_add(holders, 1), 0);
    if (test_below(random, 4) == 0)
        test_nap((int64_t)test_below(random, 100000));
    REQUIRE_SAME(atomic_fetch_sub(holders, 1), 1);
}

static int take_turns(void *argument)
{
    struct race *race = argument;
    struct test_random random = { (uint64_t)getpid() };
    struct ring_segment *segment = test_attach();
    unsigned char message[64];
    while (!atomic_load(&race->stop)) {
        struct ring_spsc_producer producer;
        struct ring_spsc_consumer consumer;
        int64_t code;
        if (test_below(&random, 2)) {
            code = REQUIRE_OK_OR(ring_spsc_open_producer(&producer, segment, "ring", RING_NO_WAIT), EBUSY);
            if (code == 0) {
                uint64_t number = atomic_load(&race->sent);
                memcpy(message, &number, sizeof number);
                if (REQUIRE_OK_OR(ring_spsc_send(&producer, message, 8, RING_NO_WAIT), EAGAIN, EPIPE) == 0)
                    atomic_store(&race->sent, number + 1); /* the role is ours alone */
                hold_alone(&race->producers, &random);
                REQUIRE_OK(ring_spsc_close_producer(&producer));
            }
        } else {
            code = REQUIRE_OK_OR(ring_spsc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT), EBUSY);
            if (code == 0) {
                uint64_t number = atomic_load(&race->received), got;
                if (ring_spsc_recv(&consumer, &got, sizeof got, RING_NO_WAIT) == 8) {
                    REQUIRE_SAME(got, number);
                    REQUIRE_SAME(ring_spsc_last_flags(&consumer), 0);
                    atomic_store(&race->received, number + 1);
                }
                hold_alone(&race->consumers, &random);
                REQUIRE_OK(ring_spsc_close_consumer(&consumer));
            }
        }
        add(code ? &race->refused : &race->turns);
    }
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(crowd, racing_for_the_two_roles_of_a_ring_never_shares_one_and_loses_nothing)
{
    struct race *race = test_shared(sizeof *race);
    struct ring_segment *segment = test_create(BYTES);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    race_for(race, take_turns, 2);
    REQUIRE(atomic_load(&race->turns) > 100);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(segment, "ring", &info));
    REQUIRE(info.producer.peer == RING_PEER_CLOSED && info.consumer.peer == RING_PEER_CLOSED);
    REQUIRE_SAME(info.producer.tenures + info.consumer.tenures, atomic_load(&race->turns));
    REQUIRE_SAME(info.messages, atomic_load(&race->sent) - atomic_load(&race->received));
    REQUIRE_OK(ring_segment_close(&segment));
    fprintf(stderr, "# %d processes: %llu turns, %llu refused, %llu messages\n", RACERS,
            (unsigned long long)atomic_load(&race->turns), (unsigned long long)atomic_load(&race->refused),
            (unsigned long long)atomic_load(&race->sent));
}

/* ---- One ring's seats ---- */

static int sit_down(void *argument)
{
    struct race *race = argument;
    struct test_random random = { (uint64_t)getpid() };
    struct ring_segment *segment = test_attach();
    while (!atomic_load(&race->stop)) {
        struct ring_mpmc_producer producer;
        struct ring_mpmc_consumer consumer;
        uint64_t message = 0;
        bool produces = test_below(&random, 2);
        int64_t code = produces ? ring_mpmc_open_producer(&producer, segment, "ring", RING_NO_WAIT)
                                : ring_mpmc_open_consumer(&consumer, segment, "ring", RING_NO_WAIT);
        if (REQUIRE_OK_OR(code, EUSERS) != 0) {
            add(&race->refused);
            continue;
        }
        add(&race->seats);
        REQUIRE(atomic_fetch_add(&race->seated, 1) < SEATS);
        if (produces) {
            code =
                REQUIRE_OK_OR(ring_mpmc_send(&producer, &message, sizeof message, 1000000), EAGAIN, ETIMEDOUT, EPIPE);
            if (code == 0)
                add(&race->sent);
        } else {
            code = ring_mpmc_recv(&consumer, &message, sizeof message, 1000000);
            REQUIRE_ONE_OF(code, 8, -EAGAIN, -ETIMEDOUT, -EPIPE);
            if (code == 8)
                add(&race->received);
        }
        atomic_fetch_sub(&race->seated, 1);
        REQUIRE_OK(produces ? ring_mpmc_close_producer(&producer) : ring_mpmc_close_consumer(&consumer));
    }
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(crowd, racing_for_the_seats_of_a_ring_never_sits_on_one_twice_and_loses_nothing)
{
    struct race *race = test_shared(sizeof *race);
    struct ring_segment *segment = test_create(BYTES);
    struct ring_mpmc_options options = ring_mpmc_defaults();
    options.slots = 8;
    options.slot_bytes = 8;
    options.seats = SEATS;
    REQUIRE_OK(ring_mpmc_create_with(segment, "ring", &options));
    race_for(race, sit_down, 2);
    REQUIRE(atomic_load(&race->seats) > 100);
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_mpmc_info(segment, "ring", &info));
    REQUIRE(info.producers == 0 && info.consumers == 0 && info.dead == 0 && info.held == 0);
    REQUIRE_SAME(info.messages, atomic_load(&race->sent) - atomic_load(&race->received));
    REQUIRE_OK(ring_segment_close(&segment));
    fprintf(stderr, "# %d processes: %llu seats taken, %llu refused, %llu messages\n", RACERS,
            (unsigned long long)atomic_load(&race->seats), (unsigned long long)atomic_load(&race->refused),
            (unsigned long long)atomic_load(&race->sent));
}
