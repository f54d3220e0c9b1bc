/* broadcast_observers.c - who only looks: through a mapping without the right to write, as another user, and unnoticed.
 */
#include "broadcast.h"

#include <sys/prctl.h>
#include <sys/stat.h>

enum { MOST = 100, SLOTS = 16, NOBODY = 65534 };

static struct ring_segment *segment;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer observer;
static RING_ATOMIC(uint64_t) * told; /* messages sent so far, for children to follow */

static void begin(enum ring_broadcast_policy policy)
{
    segment = test_news(policy, SLOTS, MOST, 2, 0);
    test_sender(&sender, segment);
    told = test_shared(sizeof *told);
}

static void end(void)
{
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

static struct ring_segment *attach_for_reading(void)
{
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_READ_ONLY | RING_ANY_OWNER;
    struct ring_segment *reader;
    REQUIRE_OK(ring_segment_attach(&reader, test_name(), &options, 0));
    return reader;
}

static void observe(struct ring_segment *reader, enum ring_broadcast_join join, uint64_t position)
{
    REQUIRE_OK(ring_broadcast_open_observer(&observer, reader, "news", join, position, 0));
}

Test(observers, an_observer_gets_every_message_through_a_mapping_for_reading)
{
    for (enum ring_broadcast_policy policy = RING_BROADCAST_OVERWRITE; policy <= RING_BROADCAST_LOSSLESS; policy++) {
        begin(policy);
        struct ring_segment *reader = attach_for_reading();
        struct ring_message batch[4];
        observe(reader, RING_BROADCAST_OLDEST, 0);
        for (uint64_t round = 0; round < 100; round++) {
            test_tell_many(&sender, MOST, 5);
            test_hear_many(&observer, MOST, 2);
            REQUIRE_SAME(ring_broadcast_peek_batch(&observer, batch, 4, 0), 3);
            REQUIRE(test_is_news(batch[2].data, batch[2].length, 5 * round + 4, MOST));
            REQUIRE_SAME(ring_broadcast_release(&observer, 3), 0);
            REQUIRE_SAME(test_hear(&observer, MOST, RING_NO_WAIT), -EAGAIN);
        }
        REQUIRE_SAME(test_hear(&observer, MOST, 3000000), -ETIMEDOUT);
        REQUIRE_OK(ring_broadcast_close_consumer(&observer));
        REQUIRE_OK(ring_segment_close(&reader));
        end();
    }
}

Test(observers, nobody_notices_an_observer_and_it_holds_nobody_back)
{
    begin(RING_BROADCAST_LOSSLESS);
    struct ring_segment *reader = attach_for_reading();
    observe(reader, RING_BROADCAST_NEWEST, 0);
    struct ring_broadcast_info info = test_news_info(reader);
    REQUIRE_SAME(info.consumers, 0);
    REQUIRE_SAME(info.seats_used, 0);
    for (int i = 0; i < 100; i++)
        REQUIRE_SAME(test_tell(&sender, MOST, RING_NO_WAIT), 0);
    REQUIRE_SAME(test_hear(&observer, MOST, 0), -EOVERFLOW); /* lossless is for consumers */
    uint64_t lost = ring_broadcast_lost(&observer);
    test_hear_many(&observer, MOST, 100 - lost);
    REQUIRE_SAME(test_hear(&observer, MOST, 0), -EAGAIN);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    observe(reader, RING_BROADCAST_AT, 10);
    REQUIRE_SAME(test_hear(&observer, MOST, 0), -EOVERFLOW);
    REQUIRE_SAME(ring_broadcast_position(&observer), 10 + ring_broadcast_lost(&observer));
    test_hear_many(&observer, MOST, 90 - ring_broadcast_lost(&observer));
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    REQUIRE_OK(ring_segment_close(&reader));
    end();
}

Test(observers, an_observer_may_use_a_mapping_for_writing_as_well)
{
    begin(RING_BROADCAST_OVERWRITE);
    observe(segment, RING_BROADCAST_NEWEST, 0);
    test_tell_many(&sender, MOST, 3);
    test_hear_many(&observer, MOST, 3);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    end();
}

static int follow_as_nobody(void *argument)
{
    (void)argument;
    REQUIRE_SAME(setgid(NOBODY), 0);
    REQUIRE_SAME(setuid(NOBODY), 0);
    prctl(PR_SET_DUMPABLE, 1); /* or /proc/self belongs to root from now on */
    struct ring_segment *reader = attach_for_reading();
    observe(reader, RING_BROADCAST_OLDEST, 0);
    REQUIRE_SAME(ring_broadcast_producer_state(&observer), RING_PEER_ALIVE);
    atomic_store(told, 1);
    uint64_t heard = 0;
    int code = 0;
    for (; code != -EPIPE; heard += code == 0) { /* sleeps when there is nothing, and is told of the end */
        code = test_hear(&observer, MOST, TEST_LONG);
        REQUIRE_ONE_OF(code, 0, -EOVERFLOW, -EPIPE);
    }
    REQUIRE_SAME(heard + ring_broadcast_lost_in_all(&observer), 20000);
    REQUIRE(heard > 0);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    REQUIRE_OK(ring_segment_close(&reader));
    return 0;
}

Test(observers, a_user_who_may_only_read_the_file_follows_the_stream)
{
    if (getuid() != 0)
        test_skip("needs root, to become somebody else");
    begin(RING_BROADCAST_LOSSLESS);
    char path[TEST_NAME];
    REQUIRE_SAME(chmod(test_path(path, test_name()), 0644), 0);
    pid_t child = test_spawn(follow_as_nobody, NULL);
    test_await(told, 1);
    for (int i = 0; i < 20000; i++) {
        test_tell_many(&sender, MOST, 1);
        if (i % 2000 == 0)
            test_nap(300000);
    }
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_wait(child);
    test_end_news(segment);
}
