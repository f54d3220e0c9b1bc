/* segment_removal.c - how names go: by hand, with the creator, with the last one, or when all are dead; and that what
 * the dead left never stands in the way of a new start, nor is anything of the living taken away. */
#include "harness.h"

#include <signal.h>
#include <sys/stat.h>

enum { BYTES = 1 << 16 };

static struct ring_segment_options options_with(unsigned removal, unsigned flags)
{
    struct ring_segment_options options = test_plain(BYTES);
    options.removal = removal;
    options.flags = flags;
    return options;
}

static struct ring_segment *create_with(unsigned removal)
{
    struct ring_segment *segment;
    struct ring_segment_options options = options_with(removal, 0);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    return segment;
}

static uint64_t made_at(const struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    return info.created_ns;
}

/* ---- Without deaths ---- */

Test(removal, with_its_creator_the_name_goes_when_his_handle_is_closed)
{
    struct ring_segment *creator = create_with(RING_REMOVE_WITH_CREATOR), *other = test_attach();
    REQUIRE_OK(ring_spsc_create(creator, "ring", 4096));
    REQUIRE_OK(ring_segment_close(&other));
    REQUIRE_SAME(test_names_left(), 1);
    other = test_attach();
    REQUIRE_OK(ring_segment_close(&creator));
    REQUIRE_SAME(test_names_left(), 0);
    struct ring_spsc_producer producer;
    test_open_producer(&producer, other); /* who is attached keeps the memory */
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&other));
}

Test(removal, with_the_last_one_the_name_goes_when_the_last_endpoint_is_closed)
{
    struct ring_segment *creator = create_with(RING_REMOVE_WITH_LAST), *other = test_attach();
    REQUIRE_OK(ring_spsc_create(creator, "ring", 4096));
    REQUIRE_OK(ring_segment_close(&creator));
    REQUIRE_SAME(test_names_left(), 1);
    struct ring_spsc_producer producer;
    test_open_producer(&producer, other);
    REQUIRE_OK(ring_segment_close(&other));
    REQUIRE_SAME(test_names_left(), 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_SAME(test_names_left(), 0);
}

Test(removal, who_only_looks_neither_keeps_a_name_nor_takes_it_away)
{
    struct ring_segment *creator = create_with(RING_REMOVE_WITH_LAST), *reader;
    struct ring_segment_options options = options_with(0, RING_READ_ONLY);
    REQUIRE_OK(ring_segment_attach(&reader, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&reader));
    REQUIRE_SAME(test_names_left(), 1);
    REQUIRE_OK(ring_segment_attach(&reader, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&creator));
    REQUIRE_SAME(test_names_left(), 0);
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(reader, &info));
    REQUIRE(!info.held);
    REQUIRE_SAME(info.removal, RING_REMOVE_WITH_LAST);
    REQUIRE_OK(ring_segment_close(&reader));
}

Test(removal, closing_in_a_child_takes_nothing_away)
{
    struct ring_segment *creator = create_with(RING_REMOVE_WITH_CREATOR);
    pid_t child = fork();
    if (child == 0) {
        ring_segment_close(&creator);
        _exit(0);
    }
    test_wait(child);
    REQUIRE_SAME(test_names_left(), 1);
    REQUIRE_OK(ring_segment_close(&creator));
    REQUIRE_SAME(test_names_left(), 0);
}

Test(removal, a_removed_name_that_another_segment_has_since_is_left_alone)
{
    struct ring_segment *creator = create_with(RING_REMOVE_WITH_CREATOR);
    REQUIRE_OK(ring_segment_unlink(test_name()));
    struct ring_segment *second = create_with(RING_REMOVE_BY_HAND);
    REQUIRE_OK(ring_segment_close(&creator));
    REQUIRE_SAME(test_names_left(), 1);
    struct ring_segment *again = test_attach();
    REQUIRE_SAME(made_at(again), made_at(second));
    REQUIRE_OK(ring_segment_close(&again));
    REQUIRE_OK(ring_segment_close(&second));
}

/* ---- What the dead left ---- */

/* Makes or attaches a segment of that rule, and dies with it. */
static int die_with_it(void *argument)
{
    struct ring_segment *segment;
    struct ring_segment_options options = options_with(*(unsigned *)argument, 0);
    REQUIRE_OK(ring_segment_open(&segment, test_name(), &options));
    if (ring_spsc_create(segment, "ring", 4096) != -EEXIST) {
        struct ring_spsc_producer producer;
        test_open_producer(&producer, segment);
        test_send(&producer, 50, 5);
    }
    kill(getpid(), SIGKILL);
    return 0;
}

static void leave_dead(unsigned removal)
{
    REQUIRE_SAME(test_wait_status(test_spawn(die_with_it, &removal)), SIGKILL);
    REQUIRE_SAME(test_names_left(), 1);
}

Test(removal, by_hand_what_the_dead_left_is_refused_with_its_story_or_attached)
{
    struct ring_segment *segment;
    leave_dead(RING_REMOVE_BY_HAND);
    struct ring_segment_options options = options_with(RING_REMOVE_BY_HAND, 0);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EEXIST);
    REQUIRE(strstr(ring_error_detail(), "nobody living holds it"));
    REQUIRE(strstr(ring_error_detail(), "ringctl rm"));
    REQUIRE(strstr(ring_error_detail(), "RING_RECLAIM"));
    segment = test_attach();
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    test_recv(&consumer, 50, 5); /* nothing published is lost */
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    struct ring_segment *other;
    options.flags = RING_RECLAIM; /* now somebody living holds it */
    REQUIRE_REFUSED(ring_segment_create(&other, test_name(), &options), EEXIST);
    REQUIRE(strstr(ring_error_detail(), "living processes hold it"));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(removal, reclaim_makes_what_the_dead_left_anew)
{
    struct ring_segment *segment;
    leave_dead(RING_REMOVE_BY_HAND);
    struct ring_segment_options options = options_with(RING_REMOVE_BY_HAND, RING_RECLAIM);
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.rings, 0);
    REQUIRE_SAME(info.creator_pid, getpid());
    REQUIRE(info.held);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(removal, open_with_reclaim_joins_the_living_and_starts_anew_after_the_dead)
{
    struct ring_segment *segment, *second;
    leave_dead(RING_REMOVE_BY_HAND);
    struct ring_segment_options options = options_with(RING_REMOVE_BY_HAND, RING_RECLAIM);
    REQUIRE_OK(ring_segment_open(&segment, test_name(), &options));
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_segment_open(&second, test_name(), &options));
    REQUIRE_SAME(made_at(second), made_at(segment));
    REQUIRE_OK(ring_segment_close(&second));
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(removal, by_the_other_rules_what_the_dead_left_goes_when_somebody_asks_for_it)
{
    static unsigned rules[] = { RING_REMOVE_WITH_CREATOR, RING_REMOVE_WITH_LAST };
    for (int i = 0; i < 2; i++) {
        struct ring_segment *segment;
        leave_dead(rules[i]);
        REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), NULL, RING_NO_WAIT), ENOENT);
        REQUIRE(strstr(ring_error_detail(), "left behind"));
        REQUIRE_SAME(test_names_left(), 0);
        leave_dead(rules[i]);
        segment = create_with(RING_REMOVE_BY_HAND);
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_OK(ring_segment_unlink(test_name()));
        leave_dead(rules[i]);
        struct ring_segment_options options = options_with(rules[i], 0);
        REQUIRE_OK(ring_segment_open(&segment, test_name(), &options));
        struct ring_segment_info info = { .struct_size = sizeof info };
        REQUIRE_OK(ring_segment_info(segment, &info));
        REQUIRE_SAME(info.creator_pid, getpid());
        REQUIRE_OK(ring_segment_close(&segment));
        REQUIRE_SAME(test_names_left(), 0);
    }
}

static int create_and_die(void *argument)
{
    RING_ATOMIC(uint64_t) *step = argument;
    create_with(RING_REMOVE_WITH_CREATOR);
    atomic_store(step, 1);
    test_await(step, 2);
    kill(getpid(), SIGKILL);
    return 0;
}

Test(removal, a_creator_that_died_takes_nothing_from_others_who_live)
{
    struct ring_segment *segment;
    struct ring_segment *first = create_with(RING_REMOVE_WITH_CREATOR); /* the handle of a creator ... */
    segment = test_attach();
    REQUIRE_OK(ring_segment_close(&first));
    REQUIRE_SAME(test_names_left(), 0);
    REQUIRE_OK(ring_segment_close(&segment));
    RING_ATOMIC(uint64_t) *step = test_shared(4096); /* ... and one that dies */
    pid_t child = test_spawn(create_and_die, step);
    test_await(step, 1);
    struct ring_segment_options options = options_with(0, 0);
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    atomic_store(step, 2);
    REQUIRE_SAME(test_wait_status(child), SIGKILL);
    struct ring_segment *second;
    REQUIRE_REFUSED(ring_segment_create(&second, test_name(), &options), EEXIST);
    REQUIRE_OK(ring_segment_attach(&second, test_name(), &options, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_close(&second));
    REQUIRE_OK(ring_segment_close(&segment)); /* the creator being dead, the last one does it for him */
    REQUIRE_SAME(test_names_left(), 0);
}

Test(removal, a_file_that_is_no_segment_is_never_reclaimed)
{
    char path[TEST_NAME];
    struct stat status;
    FILE *file = fopen(test_path(path, test_name()), "w");
    REQUIRE(file);
    for (int i = 0; i < 10000; i++)
        fputs("these are not the bytes of a segment\n", file);
    fclose(file);
    struct ring_segment *segment;
    struct ring_segment_options options = options_with(0, RING_RECLAIM | RING_ANY_OWNER);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EEXIST);
    REQUIRE_SAME(stat(path, &status), 0);
}

Test(removal, without_reclaim_another_users_leftovers_stay)
{
    if (geteuid() != 0)
        test_skip("only root can give files away");
    char path[TEST_NAME];
    leave_dead(RING_REMOVE_WITH_LAST);
    REQUIRE_SAME(chown(test_path(path, test_name()), 65534, 65534), 0);
    struct ring_segment *segment;
    struct ring_segment_options options = options_with(0, RING_RECLAIM);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), &options), EEXIST);
    REQUIRE(strstr(ring_error_detail(), "another user's"));
    options.flags |= RING_ANY_OWNER;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* ---- Many at once ---- */

struct crowd {
    RING_ATOMIC(uint64_t) rounds;
    RING_ATOMIC(uint64_t) inside; /* holders that believe to be the one creator */
    RING_ATOMIC(uint64_t) stop;
    unsigned removal;
    unsigned backing;
};

/* Creates with reclaim, holds it for a moment, and closes or dies. Of all at once one at most may hold it. */
static int reclaim_for_ever(void *argument)
{
    struct crowd *crowd = argument;
    struct test_random random = { (uint64_t)getpid() };
    while (!atomic_load(&crowd->stop)) {
        struct ring_segment *segment;
        struct ring_segment_options options = options_with(crowd->removal, RING_RECLAIM);
        options.backing = crowd->backing;
        int code = ring_segment_create(&segment, test_name(), &options);
        if (code == -EEXIST)
            continue;
        REQUIRE_OK(code);
        REQUIRE_SAME(atomic_fetch_add(&crowd->inside, 1), 0);
        if (test_below(&random, 2))
            test_nap((int64_t)test_below(&random, 200000));
        REQUIRE_SAME(atomic_fetch_sub(&crowd->inside, 1), 1);
        REQUIRE_OK(ring_segment_close(&segment));
        atomic_fetch_add(&crowd->rounds, 1);
    }
    return 0;
}

static void crowd_of(unsigned removal, unsigned backing)
{
    enum { CROWD = 4 };
    struct crowd *crowd = test_shared(sizeof *crowd);
    crowd->removal = removal;
    crowd->backing = backing;
    pid_t children[CROWD];
    for (int i = 0; i < CROWD; i++)
        children[i] = test_spawn(reclaim_for_ever, crowd);
    test_await(&crowd->rounds, test_rounds(400));
    atomic_store(&crowd->stop, 1);
    for (int i = 0; i < CROWD; i++)
        test_wait(children[i]);
    REQUIRE(test_names_left() <= 1);
    if (test_names_left())
        REQUIRE_OK(ring_segment_unlink(test_name()));
}

Test(removal, of_many_who_reclaim_at_once_one_holds_the_segment_at_a_time)
{
    crowd_of(RING_REMOVE_BY_HAND, RING_BACKING_POSIX);
    crowd_of(RING_REMOVE_WITH_LAST, RING_BACKING_POSIX);
    crowd_of(RING_REMOVE_WITH_CREATOR, RING_BACKING_SYSTEM_V);
}

/* Opens, checks that it is not alone with an old segment, and leaves. */
static int meet_for_ever(void *argument)
{
    struct crowd *crowd = argument;
    while (!atomic_load(&crowd->stop)) {
        struct ring_segment *segment;
        struct ring_segment_options options = options_with(RING_REMOVE_WITH_LAST, 0);
        options.backing = crowd->backing;
        int code = ring_segment_open(&segment, test_name(), &options);
        if (code == -EAGAIN)
            continue;
        REQUIRE_OK(code);
        code = ring_spsc_create(segment, "ring", 4096);
        REQUIRE_ONE_OF(code, 0, -EEXIST);
        REQUIRE_OK(ring_segment_close(&segment));
        atomic_fetch_add(&crowd->rounds, 1);
    }
    return 0;
}

static void kill_among(unsigned backing)
{
    enum { CROWD = 3 };
    struct crowd *crowd = test_shared(sizeof *crowd);
    struct test_random random = { 9 };
    crowd->backing = backing;
    pid_t children[CROWD];
    for (int i = 0; i < CROWD; i++)
        children[i] = test_spawn(meet_for_ever, crowd);
    for (uint64_t round = 0; round < test_rounds(200); round++) {
        test_nap((int64_t)test_below(&random, 2000000));
        int victim = (int)test_below(&random, CROWD);
        test_kill(children[victim]);
        children[victim] = test_spawn(meet_for_ever, crowd);
    }
    uint64_t before = atomic_load(&crowd->rounds);
    test_await(&crowd->rounds, before + 100); /* nothing is stuck */
    atomic_store(&crowd->stop, 1);
    for (int i = 0; i < CROWD; i++)
        test_wait(children[i]);
    REQUIRE_SAME(test_names_left(), 0); /* the last one took it away */
}

Test(removal, openers_and_last_leavers_killed_at_any_moment_never_leave_a_name_that_blocks)
{
    kill_among(RING_BACKING_POSIX);
    kill_among(RING_BACKING_SYSTEM_V);
}
