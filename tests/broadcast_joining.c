/* broadcast_joining.c - making rings; coming late, from where; seats full and used again; what is lost is counted. */
#include "broadcast.h"

enum { MOST = 40, SLOTS = 16 };

static struct ring_segment *segment;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer receiver;

static void begin(enum ring_broadcast_policy policy, unsigned seats, uint64_t start)
{
    segment = test_news(policy, SLOTS, MOST, seats, start);
    test_sender(&sender, segment);
}

static void end(void)
{
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    test_end_news(segment);
}

static void refuse(struct ring_broadcast_options options)
{
    REQUIRE_REFUSED(ring_broadcast_create_with(segment, "bad", &options), EINVAL);
    if (options.struct_size == sizeof options && options.policy == RING_BROADCAST_LOSSLESS)
        REQUIRE_SAME(ring_broadcast_footprint_with(&options), 0);
}

Test(joining, impossible_shapes_are_refused_with_a_sentence)
{
    segment = test_create(1 << 20);
    struct ring_broadcast_options good = ring_broadcast_defaults(), bad;
    good.policy = RING_BROADCAST_LOSSLESS;
    good.slots = SLOTS;
    REQUIRE_REFUSED(ring_broadcast_create_with(segment, "bad", NULL), EINVAL);
    static const size_t slots[] = { 0, 1, RING_BROADCAST_MAX_SLOTS + 1, SIZE_MAX };
    static const size_t bytes[] = { 0, RING_BROADCAST_MAX_SLOT_BYTES + 1, SIZE_MAX, SIZE_MAX - 7 };
    for (int i = 0; i < 4; i++) {
        bad = good;
        bad.slots = slots[i];
        refuse(bad);
        bad = good;
        bad.slot_bytes = bytes[i];
        refuse(bad);
    }
    bad = good;
    bad.seats = 0;
    refuse(bad);
    bad.seats = RING_SEATS_MAX + 1;
    refuse(bad);
    bad = good;
    bad.policy = 0;
    refuse(bad);
    bad = good;
    bad.struct_size--;
    refuse(bad);
    REQUIRE_REFUSED(ring_broadcast_create(segment, "large", RING_BROADCAST_MAX_SLOTS, RING_BROADCAST_MAX_SLOT_BYTES,
                                          RING_BROADCAST_LOSSLESS),
                    ENOSPC);
    REQUIRE_OK(ring_broadcast_create_with(segment, "news", &good));
    REQUIRE_REFUSED(ring_broadcast_create_with(segment, "news", &good), EEXIST);
    REQUIRE_REFUSED(ring_broadcast_open_producer(&sender, segment, "olds", 0), ENOENT);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, segment, "news", 77, 0, 0), EINVAL);
    REQUIRE_SAME(ring_broadcast_recv(&receiver, &good, 1, 0), -EBADF);
    test_end_news(segment);
}

Test(joining, the_footprint_is_what_a_ring_takes)
{
    segment = test_news(RING_BROADCAST_LOSSLESS, 1000, 100, 5, 0);
    struct ring_broadcast_options options = ring_broadcast_defaults();
    struct ring_entry_info entry;
    options.slots = 1000;
    options.slot_bytes = 100;
    REQUIRE_SAME(ring_broadcast_footprint(1000, 100), ring_broadcast_footprint_with(&options));
    options.seats = 5;
    REQUIRE_OK(ring_segment_entry(segment, 0, &entry));
    REQUIRE_SAME(entry.bytes, ring_broadcast_footprint_with(&options));
    REQUIRE_SAME(ring_broadcast_footprint_with(NULL), 0);
    REQUIRE_SAME(test_news_info(segment).slots, 1024);
    test_end_news(segment);
}

Test(joining, newest_begins_with_the_next_message)
{
    for (enum ring_broadcast_policy policy = RING_BROADCAST_OVERWRITE; policy <= RING_BROADCAST_LOSSLESS; policy++) {
        begin(policy, 4, UINT64_MAX - 20);
        for (uint64_t before = 0; before < 50; before += 7) {
            test_tell_many(&sender, MOST, before);
            test_join(&receiver, segment, RING_BROADCAST_NEWEST);
            REQUIRE_SAME(test_hear(&receiver, MOST, 0), -EAGAIN);
            test_tell_many(&sender, MOST, 3);
            test_hear_many(&receiver, MOST, 3);
            REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
        }
        end();
    }
}

Test(joining, oldest_begins_with_all_that_is_kept)
{
    for (enum ring_broadcast_policy policy = RING_BROADCAST_OVERWRITE; policy <= RING_BROADCAST_LOSSLESS; policy++) {
        begin(policy, 4, UINT64_MAX - 20);
        for (uint64_t sent = 0; sent < 60; sent++) {
            test_join(&receiver, segment, RING_BROADCAST_OLDEST);
            uint64_t heard = 0;
            while (test_hear(&receiver, MOST, 0) == 0)
                heard++;
            REQUIRE_SAME(ring_broadcast_lost_in_all(&receiver), 0);
            REQUIRE(heard >= (sent < SLOTS * 7 / 8 ? sent : SLOTS * 7 / 8));
            if (policy == RING_BROADCAST_OVERWRITE)
                REQUIRE_SAME(heard, sent < SLOTS - 1 ? sent : SLOTS - 1);
            REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
            test_tell_many(&sender, MOST, 1);
        }
        end();
    }
}

Test(joining, who_joins_a_full_lossless_ring_at_the_oldest_gets_all_that_is_in_it)
{
    begin(RING_BROADCAST_LOSSLESS, 4, 5);
    struct ring_broadcast_consumer slow;
    test_tell_many(&sender, MOST, 100);
    test_join(&slow, segment, RING_BROADCAST_NEWEST);
    test_tell_many(&sender, MOST, SLOTS);
    REQUIRE_SAME(test_tell(&sender, MOST, 0), -EAGAIN);
    test_join(&receiver, segment, RING_BROADCAST_OLDEST);
    REQUIRE_OK(ring_broadcast_close_consumer(&slow));
    REQUIRE_SAME(test_tell(&sender, MOST, 0), -EAGAIN); /* held back by the new one */
    test_hear_many(&receiver, MOST, SLOTS);
    REQUIRE_SAME(test_hear(&receiver, MOST, 0), -EAGAIN);
    REQUIRE_SAME(test_tell(&sender, MOST, 0), 0);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    end();
}

Test(joining, a_given_position_is_taken_or_its_loss_is_counted)
{
    for (enum ring_broadcast_policy policy = RING_BROADCAST_OVERWRITE; policy <= RING_BROADCAST_LOSSLESS; policy++) {
        uint64_t start = UINT64_MAX - 30;
        begin(policy, 4, start);
        test_tell_many(&sender, MOST, 100);
        for (uint64_t wanted = 0; wanted <= 100; wanted++) {
            REQUIRE_OK(ring_broadcast_open_consumer(&receiver, segment, "news", RING_BROADCAST_AT, start + wanted, 0));
            uint64_t kept = SLOTS * 7 / 8, heard = 0;
            int code = test_hear(&receiver, MOST, 0);
            if (wanted < 100 - SLOTS)
                REQUIRE_SAME(code, -EOVERFLOW);
            if (wanted > 100 - kept)
                REQUIRE(code == 0 || wanted == 100);
            heard += code == 0;
            while (test_hear(&receiver, MOST, 0) == 0)
                heard++;
            REQUIRE_SAME(heard + ring_broadcast_lost_in_all(&receiver), 100 - wanted);
            REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
        }
        REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, segment, "news", RING_BROADCAST_AT, start + 101, 0),
                        EINVAL);
        REQUIRE_SAME(test_news_info(segment).consumers, 0);
        end();
    }
}

Test(joining, who_was_overtaken_is_told_how_many_he_lost_and_goes_on)
{
    begin(RING_BROADCAST_OVERWRITE, 4, 0);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    struct test_random random = { 9 };
    uint64_t heard = 0, lost = 0;
    for (int round = 0; round < 2000; round++) {
        test_tell_many(&sender, MOST, test_below(&random, 3 * SLOTS));
        for (uint64_t tries = test_below(&random, SLOTS); tries; tries--) {
            int code = test_hear(&receiver, MOST, 0);
            REQUIRE_ONE_OF(code, 0, -EOVERFLOW, -EAGAIN);
            heard += code == 0;
            if (code == -EOVERFLOW) {
                REQUIRE(ring_broadcast_lost(&receiver) > 0);
                lost += ring_broadcast_lost(&receiver);
                REQUIRE_SAME(test_hear(&receiver, MOST, 0), 0); /* there is one: at least the oldest quarter is left */
                heard++;
            }
            REQUIRE_SAME(heard + lost, ring_broadcast_position(&receiver));
        }
    }
    REQUIRE_SAME(ring_broadcast_lost_in_all(&receiver), lost);
    struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
    REQUIRE_OK(ring_broadcast_seat_info(segment, "news", 0, &seat));
    REQUIRE_SAME(seat.lost, lost);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    end();
}

Test(joining, a_table_full_of_the_living_is_refused_at_once_and_a_left_seat_is_used_again)
{
    struct ring_broadcast_consumer more[3];
    begin(RING_BROADCAST_LOSSLESS, 3, 0);
    for (int i = 0; i < 3; i++)
        test_join(&more[i], segment, RING_BROADCAST_NEWEST);
    REQUIRE_REFUSED(ring_broadcast_open_consumer(&receiver, segment, "news", RING_BROADCAST_NEWEST, 0, TEST_LONG),
                    EUSERS);
    REQUIRE_SAME(ring_broadcast_recv(&receiver, more, 8, 0), -EBADF);
    REQUIRE_OK(ring_broadcast_open_observer(&receiver, segment, "news", RING_BROADCAST_NEWEST, 0, 0));
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    for (int round = 0; round < 20; round++) {
        REQUIRE_OK(ring_broadcast_close_consumer(&more[round % 3]));
        test_tell_many(&sender, MOST, 1);
        for (int i = 0; i < 3; i++)
            if (i != round % 3)
                test_hear_many(&more[i], MOST, 1);
        test_join(&more[round % 3], segment, RING_BROADCAST_NEWEST);
    }
    struct ring_broadcast_info info = test_news_info(segment);
    REQUIRE_SAME(info.seats_used, 3);
    REQUIRE_SAME(info.consumers, 3);
    for (int i = 0; i < 3; i++)
        REQUIRE_OK(ring_broadcast_close_consumer(&more[i]));
    end();
}

Test(joining, a_ring_has_one_producer_and_tells_who_it_is)
{
    begin(RING_BROADCAST_OVERWRITE, 3, 0);
    struct ring_broadcast_producer second;
    REQUIRE_REFUSED(ring_broadcast_open_producer(&second, segment, "news", TEST_LONG), EBUSY);
    REQUIRE_SAME(ring_broadcast_send(&second, "x", 1, 0), -EBADF);
    struct ring_broadcast_info info = test_news_info(segment);
    REQUIRE_SAME(info.producer.peer, RING_PEER_ALIVE);
    REQUIRE_SAME(info.producer.pid, getpid());
    REQUIRE_SAME(info.producer.tenures, 1);
    end();
}

Test(joining, info_tells_who_sits_where_and_how_far_behind)
{
    begin(RING_BROADCAST_LOSSLESS, 3, 1000);
    struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
    REQUIRE_REFUSED(ring_broadcast_seat_info(segment, "news", 0, &seat), ENOENT);
    REQUIRE_REFUSED(ring_broadcast_seat_info(segment, "news", 3, &seat), ENOENT);
    test_join(&receiver, segment, RING_BROADCAST_NEWEST);
    test_tell_many(&sender, MOST, 12);
    test_hear_many(&receiver, MOST, 4);
    REQUIRE_OK(ring_broadcast_seat_info(segment, "news", 0, &seat));
    REQUIRE_SAME(seat.consumer.peer, RING_PEER_ALIVE);
    REQUIRE_SAME(seat.consumer.pid, getpid());
    REQUIRE_SAME(seat.behind, 8);
    REQUIRE_SAME(seat.position, 1004);
    REQUIRE_SAME(seat.consumer.asleep, false);
    REQUIRE_OK(ring_broadcast_close_consumer(&receiver));
    REQUIRE_OK(ring_broadcast_seat_info(segment, "news", 0, &seat));
    REQUIRE_SAME(seat.consumer.peer, RING_PEER_CLOSED);
    seat.struct_size = 0;
    REQUIRE_REFUSED(ring_broadcast_seat_info(segment, "news", 0, &seat), EINVAL);
    struct ring_broadcast_info info = { .struct_size = 1 };
    REQUIRE_REFUSED(ring_broadcast_info(segment, "news", &info), EINVAL);
    REQUIRE_REFUSED(
        ring_spsc_info(segment, "news", &(struct ring_spsc_info){ .struct_size = sizeof(struct ring_spsc_info) }),
        EINVAL);
    end();
}
