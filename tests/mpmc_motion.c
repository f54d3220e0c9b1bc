/* mpmc_motion.c - the words of an MPMC ring are rewritten without end: each call comes back. */
#include "mpmc.h"

#include "motion.h"

enum { SLOTS = 64, MOST = 24, STRIDE = 32 };

static uint64_t slot_at(uint64_t number)
{
    return RING_LAYOUT_PAGE + RING_LAYOUT_PAGE + number * STRIDE;
}

static void open_queue(struct ring_mpmc_options *options)
{
    *options = test_queue_options(SLOTS, MOST, 1000 * SLOTS);
    segment = test_queue_with(options);
    find_thing();
}

static void use_producer(struct ring_mpmc_producer *producer)
{
    char text[2 * MOST] = "";
    for (int i = 0; i < CALLS; i++) {
        int64_t code = i % 2 ? ring_mpmc_send_array(producer, text, MOST, 2, limit(i))
                             : ring_mpmc_send(producer, text, MOST, limit(i));
        REQUIRE(code >= 0 || is_refusal(code));
    }
}

static void use_consumer(struct ring_mpmc_consumer *consumer)
{
    char text[SLOTS * MOST];
    for (int i = 0; i < CALLS; i++) {
        int64_t code = i % 2 ? ring_mpmc_recv_array(consumer, text, MOST, SLOTS, limit(i))
                             : ring_mpmc_recv(consumer, text, MOST, limit(i));
        REQUIRE(code >= 0 || is_refusal(code));
    }
}

/* Participants come, use the queue, and go. */
static void visit_queue(void)
{
    for (int i = 0; i < 6; i++) {
        struct ring_mpmc_producer producers[2];
        struct ring_mpmc_consumer consumers[2];
        int codes[4];
        for (int j = 0; j < 2; j++) {
            REQUIRE_ONE_OF((codes[j] = ring_mpmc_open_producer(&producers[j], segment, "queue", TEST_LONG)), 0,
                           -EUCLEAN);
            REQUIRE_ONE_OF((codes[2 + j] = ring_mpmc_open_consumer(&consumers[j], segment, "queue", TEST_LONG)), 0,
                           -EUCLEAN);
        }
        for (int j = 0; j < 2; j++) {
            if (codes[j] == 0) {
                use_producer(&producers[j]);
                REQUIRE_OK(ring_mpmc_close_producer(&producers[j]));
            }
            if (codes[2 + j] == 0) {
                use_consumer(&consumers[j]);
                REQUIRE_OK(ring_mpmc_close_consumer(&consumers[j]));
            }
        }
        struct ring_mpmc_info info = { .struct_size = sizeof info };
        REQUIRE_ONE_OF(ring_mpmc_info(segment, "queue", &info), 0, -EUCLEAN);
        REQUIRE_ONE_OF(ring_segment_recover(segment, NULL), 0, -EUCLEAN);
    }
}

/* They fall back behind where the last sole one ended, again and again. */
Test(motion, counters_that_always_fall_back_do_not_keep_one_raising_them)
{
    static const struct motion counters[] = {
        { offsetof(struct ring_layout_mpmc, tail), 0, 1, 1000 },
        { offsetof(struct ring_layout_mpmc, head), 0, 1, 1000 },
    };
    struct ring_mpmc_options options;
    open_queue(&options);
    begin_motion(counters, 2);
    visit_queue();
    end_motion();
    end();
}

/* Others seem to have been faster each time. */
Test(motion, counters_that_always_run_away_do_not_keep_one_claiming)
{
    static const struct motion counters[] = {
        { offsetof(struct ring_layout_mpmc, tail), 1000 * SLOTS, 1, UINT64_C(1) << 40 },
        { offsetof(struct ring_layout_mpmc, head), 1000 * SLOTS, 1, UINT64_C(1) << 40 },
    };
    struct ring_mpmc_options options;
    open_queue(&options);
    for (unsigned ahead = 0; ahead < 3; ahead++) {
        struct ring_mpmc_producer producers[2];
        struct ring_mpmc_consumer consumers[2];
        for (int i = 0; i < 2; i++) {
            test_join_producer(&producers[i], segment);
            test_join_consumer(&consumers[i], segment);
        }
        for (uint64_t i = 0; i < SLOTS; i++) { /* free; messages; of a lap that is far away */
            uint64_t lap = ahead == 2 ? UINT64_C(1) << 34 : 1000;
            ring_atomic_store(word_at(slot_at(i)), lap << RING_SLOT_LAP | (ahead ? RING_SLOT_READY | MOST : 0),
                              memory_order_relaxed);
        }
        begin_motion(counters, 2);
        use_producer(&producers[0]);
        use_consumer(&consumers[0]);
        end_motion();
        for (int i = 0; i < 2; i++) {
            REQUIRE_OK(ring_mpmc_close_producer(&producers[i]));
            REQUIRE_OK(ring_mpmc_close_consumer(&consumers[i]));
        }
    }
    end();
}

Test(motion, modes_that_never_rest_keep_nobody)
{
    static const struct motion modes[][2] = {
        /* reigns of seat 1 that begin, and are being ended */
        { { offsetof(struct ring_layout_mpmc, producers_mode), 4 | RING_MODE_SOLE, 1, 2 },
          { offsetof(struct ring_layout_mpmc, consumers_mode), 4 | RING_MODE_SOLE, 1, 2 } },
        /* another one each time */
        { { offsetof(struct ring_layout_mpmc, producers_mode), 4 | RING_MODE_REVOKING, 1 << 14, 1 << 20 },
          { offsetof(struct ring_layout_mpmc, consumers_mode), 4 | RING_MODE_SOLE, 1 << 14, 1 << 20 } },
        { { offsetof(struct ring_layout_mpmc, producers_mode), 0, 1, 1 << 20 },
          { offsetof(struct ring_layout_mpmc, consumers_mode), 0, 1, 1 << 20 } },
    };
    struct ring_mpmc_options options;
    open_queue(&options);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        begin_motion(modes[i], 2);
        visit_queue();
        end_motion();
    }
    end();
}

/* As by a producer that reserves and cancels without end, and is always one step ahead. */
static void *cancel_all(void *argument)
{
    const struct ring_mpmc_options *options = argument;
    for (uint64_t position = options->start_position; !atomic_load_explicit(&ends, memory_order_relaxed);) {
        RING_ATOMIC(uint64_t) *word = word_at(slot_at(position % SLOTS));
        if (ring_atomic_load(word, memory_order_acquire) != position / SLOTS << RING_SLOT_LAP)
            continue;
        ring_atomic_store(word, position / SLOTS << RING_SLOT_LAP | RING_SLOT_SKIP, memory_order_release);
        position++;
    }
    return NULL;
}

Test(motion, messages_that_are_always_cancelled_do_not_keep_a_consumer_passing_over_them)
{
    char text[MOST];
    struct ring_mpmc_options options;
    struct ring_mpmc_consumer consumers[2];
    open_queue(&options);
    for (int others = 0; others < 2; others++)
        test_join_consumer(&consumers[others], segment);
    atomic_store(&ends, false);
    REQUIRE_SAME(pthread_create(&peer, NULL, cancel_all, &options), 0);
    for (int i = 0; i < CALLS; i++)
        REQUIRE(is_refusal(ring_mpmc_recv(&consumers[0], text, MOST, limit(i))));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumers[1]));
    for (int i = 0; i < CALLS; i++)
        REQUIRE(is_refusal(ring_mpmc_recv(&consumers[0], text, MOST, limit(i))));
    end_motion();
    REQUIRE_OK(ring_mpmc_close_consumer(&consumers[0]));
    end();
}
