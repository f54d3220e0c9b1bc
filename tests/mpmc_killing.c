/* mpmc_killing.c - two producers and two consumers in processes of their own, killed at random moments and replaced, or
 * stopped and continued. Every message that was published arrives; in order; whole; twice only with a flag.
 *
 * The books lie in memory that outlives the dead: a producer notes a number before it sends it and after; a consumer
 * notes what it peeked before it releases it, so what it had not noted when it died must come to another. */
#include "mpmc.h"

#include <signal.h>

enum { SLOTS = 16, MOST = 48, SIDES = 2, EACH = 2, LIVES = 512, MESSAGES = 1 << 13, BATCH = 8 };

struct book {
    RING_ATOMIC(uint64_t) begun; /* numbers before this one may have been sent, */
    RING_ATOMIC(uint64_t) sent;  /* and before this one were */
    RING_ATOMIC(uint8_t) seen[MESSAGES];
};

struct books {
    RING_ATOMIC(uint64_t) lives;               /* of producers */
    RING_ATOMIC(uint64_t) ready[SIDES * EACH]; /* 1: this child has its seat */
    RING_ATOMIC(uint64_t) stop;
    struct book of[LIVES];
};

struct message {
    uint64_t number;
    uint64_t life;
    unsigned char text[MOST - 16];
};

static struct books *books;
static struct ring_segment *segment;

static size_t write_message(struct message *message, uint64_t life, uint64_t number)
{
    size_t text = test_length(number + life, sizeof message->text);
    memcpy(&message->number, &number, 8);
    memcpy(&message->life, &life, 8);
    test_fill(message->text, text, number + life);
    return 16 + text;
}

/* What a consumer knows: by life, the number that may come next without a flag. */
static void note(const struct ring_message *seen, uint64_t *next)
{
    struct message message;
    REQUIRE(seen->length >= 16 && seen->length <= MOST);
    memcpy(&message, seen->data, seen->length);
    REQUIRE(message.life < LIVES && message.number < MESSAGES);
    struct book *book = &books->of[message.life];
    REQUIRE_SAME(seen->length, 16 + test_length(message.number + message.life, sizeof message.text));
    REQUIRE(test_matches(message.text, seen->length - 16, message.number + message.life));
    REQUIRE(message.number < atomic_load(&book->begun));
    uint8_t times = atomic_fetch_add(&book->seen[message.number], 1);
    if (seen->flags == 0) {
        REQUIRE_SAME(times, 0);
        REQUIRE(message.number >= next[message.life]);
        next[message.life] = message.number + 1;
    }
}

/* ---- Processes ---- */

static int produce(void *argument)
{
    static struct ring_mpmc_producer producer;
    static struct message messages[BATCH];
    struct ring_message batch[BATCH];
    uint64_t life = atomic_fetch_add(&books->lives, 1);
    REQUIRE(life < LIVES);
    struct book *book = &books->of[life];
    test_join_producer(&producer, test_attach());
    atomic_store(&books->ready[*(unsigned *)argument], 1);
    for (uint64_t number = 0; number + BATCH <= MESSAGES && !atomic_load(&books->stop);) {
        uint64_t count = number % 3 == 2 ? BATCH : 1;
        void *place;
        for (uint64_t i = 0; i < count; i++)
            batch[i] = (struct ring_message){ &messages[i], write_message(&messages[i], life, number + i), 0 };
        atomic_store(&book->begun, number + count);
        ssize_t sent = 1;
        if (number % 3 == 0)
            sent = 1 + ring_mpmc_send(&producer, messages, batch[0].length, TEST_LONG);
        else if (number % 3 == 2)
            sent = ring_mpmc_send_batch(&producer, batch, BATCH, TEST_LONG);
        else if ((sent = 1 + ring_mpmc_reserve(&producer, MOST, &place, TEST_LONG)) == 1)
            REQUIRE_SAME(ring_mpmc_commit(&producer, write_message(place, life, number)), 0);
        if (sent > 0)
            number += (uint64_t)sent;
        else /* full, and no consumer lives just now */
            REQUIRE_ONE_OF(sent, -EOWNERDEAD, -EPIPE, 1 - EOWNERDEAD, 1 - EPIPE);
        atomic_store(&book->sent, number);
    }
    for (;;) /* has sent all it may: waits for its end */
        test_nap(TEST_SECOND);
}

static void receive_some(struct ring_mpmc_consumer *consumer, uint64_t *next, size_t most, int64_t limit_ns,
                         ssize_t *count)
{
    struct ring_message seen[BATCH];
    *count = ring_mpmc_peek_batch(consumer, seen, most, limit_ns);
    for (ssize_t i = 0; i < *count; i++) {
        note(&seen[i], next);
        REQUIRE_SAME(ring_mpmc_release(consumer, 1), 0);
    }
}

static int consume(void *argument)
{
    static struct ring_mpmc_consumer consumer;
    static uint64_t next[LIVES];
    ssize_t count;
    test_join_consumer(&consumer, test_attach());
    atomic_store(&books->ready[*(unsigned *)argument], 1);
    for (size_t turn = 0;; turn++) {
        receive_some(&consumer, next, 1 + turn % BATCH, TEST_LONG, &count);
        REQUIRE(count > 0 || count == -EPIPE || count == -EOWNERDEAD);
    }
}

/* ---- The parent ---- */

static pid_t children[SIDES * EACH];

static void spawn(unsigned who)
{
    atomic_store(&books->ready[who], 0);
    children[who] = test_spawn(who < EACH ? produce : consume, &who);
}

static void await(unsigned who)
{
    test_await(&books->ready[who], 1);
}

static void begin(uint64_t start, unsigned flags)
{
    struct ring_mpmc_options options = test_queue_options(SLOTS, MOST, start);
    options.flags = flags;
    options.seats = SIDES * EACH + 1;
    segment = test_queue_with(&options);
    books = test_shared(sizeof *books);
}

static void end(void)
{
    test_end_queue(segment);
}

/* All processes are dead. Takes what is left and closes the books. */
static void require_balance(bool anybody_died)
{
    static struct ring_mpmc_consumer consumer;
    static uint64_t next[LIVES];
    uint64_t flagged = 0, all = 0;
    ssize_t count;
    test_join_consumer(&consumer, segment);
    memset(next, 0, sizeof next);
    do
        receive_some(&consumer, next, BATCH, TEST_LONG, &count);
    while (count > 0);
    REQUIRE_SAME(count, -EOWNERDEAD);
    struct ring_recovery report = test_recover(segment);
    REQUIRE_SAME(report.skipped + report.freed + report.waiting + report.pending, 0);
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE(info.messages == 0 && info.held == 0 && !info.stuck);
    for (uint64_t life = 0; life < atomic_load(&books->lives); life++) {
        struct book *book = &books->of[life];
        uint64_t sent = atomic_load(&book->sent), begun = atomic_load(&book->begun), number = 0;
        for (; number < sent; number++) {
            if (atomic_load(&book->seen[number]) == 0)
                test_failed(__FILE__, __LINE__, "message %llu of life %llu was sent and is lost",
                            (unsigned long long)number, (unsigned long long)life);
            flagged += atomic_load(&book->seen[number]) > 1;
        }
        all += sent;
        for (; number < MESSAGES; number++)
            REQUIRE(number < begun || atomic_load(&book->seen[number]) == 0);
    }
    REQUIRE(all > 0 && (anybody_died || flagged == 0));
    REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
}

static void kill_at_random(uint64_t rounds, uint64_t start, unsigned flags, unsigned sides)
{
    struct test_random random = { start };
    begin(start, flags);
    for (unsigned who = 0; who < SIDES * EACH; who++)
        spawn(who);
    for (unsigned who = 0; who < SIDES * EACH; who++)
        await(who);
    for (uint64_t round = 0; round < rounds; round++) {
        unsigned who = (unsigned)test_below(&random, SIDES * EACH);
        if (!(sides & 1u << who / EACH))
            who = SIDES * EACH - 1 - who;
        test_nap((int64_t)test_below(&random, 2000000));
        test_kill(children[who]);
        if (round % 16 == 7)
            test_recover(segment);
        spawn(who);
        if (round % 2)
            await(who); /* else it may be killed while it takes its seat */
    }
    for (unsigned who = 0; who < SIDES * EACH; who++)
        await(who);
    for (unsigned who = 0; who < SIDES * EACH; who++)
        test_kill(children[who]);
    require_balance(true);
    end();
}

Test(killing, producers_and_consumers_die_at_random_and_nothing_published_is_lost)
{
    kill_at_random(test_rounds(250), 0, 0, 3);
}

Test(killing, the_same_where_nobody_may_be_alone)
{
    kill_at_random(test_rounds(150), UINT64_MAX - 1000, RING_MPMC_NO_SOLE, 3);
}

Test(killing, producers_only_or_consumers_only)
{
    kill_at_random(test_rounds(80), (UINT64_C(1) << 56) - 1000, 0, 1);
    kill_at_random(test_rounds(80), (UINT64_C(1) << 32) - 1000, 0, 2);
}

/* One producer and one consumer: each alone on its side, replaced when it is dead. */
Test(killing, the_only_ones_of_their_side_die_at_random)
{
    struct test_random random = { 11 };
    begin(5, 0);
    spawn(0);
    spawn(EACH);
    for (uint64_t round = 0; round < test_rounds(200); round++) {
        unsigned who = round % 3 == 2 ? EACH : 0;
        await(who);
        test_nap((int64_t)test_below(&random, 1000000));
        test_kill(children[who]);
        spawn(who);
    }
    await(0);
    await(EACH);
    test_kill(children[0]);
    test_kill(children[EACH]);
    require_balance(true);
    end();
}

Test(killing, those_that_are_stopped_and_continued_at_random_lose_and_repeat_nothing)
{
    struct test_random random = { 12 };
    begin(7, 0);
    for (unsigned who = 0; who < SIDES * EACH; who++)
        spawn(who);
    for (unsigned who = 0; who < SIDES * EACH; who++)
        await(who);
    for (uint64_t round = 0; round < test_rounds(300); round++) {
        unsigned who = (unsigned)test_below(&random, SIDES * EACH);
        REQUIRE_SAME(kill(children[who], SIGSTOP), 0);
        test_nap((int64_t)test_below(&random, 1500000));
        if (round % 4 == 0)
            test_recover(segment);
        REQUIRE_SAME(kill(children[who], SIGCONT), 0);
        test_nap((int64_t)test_below(&random, 300000));
    }
    atomic_store(&books->stop, 1);
    for (unsigned tries = 0; test_queue_info(segment).messages || test_queue_info(segment).held; tries++) {
        REQUIRE(tries < 60000);
        test_nap(1000000);
    }
    test_nap(10000000); /* the last one notes before it releases: it is between two calls, or waits */
    for (unsigned who = 0; who < SIDES * EACH; who++)
        test_kill(children[who]);
    require_balance(false);
    end();
}
