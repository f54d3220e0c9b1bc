/* mpmc_rubbish.c - a peer that writes anything anywhere into an MPMC ring, before it is opened and while it is in use.
 * No call may crash, hang, or hand out what does not lie in the ring; once a call said -EUCLEAN, that end says it for
 * ever. */
#include "mpmc.h"

#include <pthread.h>

enum { MOST = 100, STRIDE = 128, SLOTS = 8, SEATS = 6, ENDS = 4, BUFFER = 1 << 12 };
enum { SEATS_AT = RING_LAYOUT_PAGE, DATA_AT = 2 * RING_LAYOUT_PAGE };

static struct ring_segment *segment;
static struct test_outside outside;
static unsigned char *ring;     /* its control page, as written from outside */
static unsigned char *pristine; /* bytes of the whole ring before anybody opened it */
static uint64_t ring_bytes;
static struct test_random chance;
static struct ring_mpmc_producer producers[2];
static struct ring_mpmc_consumer consumers[2];
static bool beside_others; /* two of each, else one */

static void begin(uint64_t start, unsigned flags)
{
    struct ring_mpmc_options options = test_queue_options(SLOTS, MOST, start);
    options.seats = SEATS;
    options.flags = flags;
    segment = test_queue_with(&options);
    chance = (struct test_random){ start + flags };
    struct ring_entry_info entry;
    REQUIRE_OK(ring_segment_entry(segment, 0, &entry));
    outside = test_outside_open(test_name());
    ring_bytes = entry.bytes;
    ring = outside.bytes + entry.offset;
    pristine = malloc(ring_bytes);
    memcpy(pristine, ring, ring_bytes);
}

static void end(void)
{
    free(pristine);
    test_outside_close(&outside);
    test_end_queue(segment);
}

static void open_fresh(void)
{
    memcpy(ring, pristine, ring_bytes);
    beside_others = test_below(&chance, 2);
    for (int i = 0; i <= beside_others; i++) {
        test_join_producer(&producers[i], segment);
        test_join_consumer(&consumers[i], segment);
    }
    test_put_many(&producers[0], MOST, 0, 5);
    test_get_many(&consumers[0], MOST, 0, 1, 0);
}

static void close_all(void)
{
    for (int i = 0; i <= beside_others; i++) {
        REQUIRE_OK(ring_mpmc_close_producer(&producers[i]));
        REQUIRE_OK(ring_mpmc_close_consumer(&consumers[i]));
    }
}

/* Where somebody could be misled: words, counters, modes and intents that are nearly right, and single bits. */
static uint64_t any_value(void)
{
    uint64_t position = 0, word;
    memcpy(&position, pristine + offsetof(struct ring_layout_mpmc, tail), 8);
    position += test_below(&chance, 12) - 2;
    word = position / SLOTS << RING_SLOT_LAP | test_below(&chance, 4) << 26 | test_below(&chance, MOST + 2);
    uint64_t mode = test_below(&chance, 3) << RING_MODE_REIGN | test_below(&chance, SEATS + 1) << RING_MODE_SHIFT;
    const uint64_t plain[] = { 0,
                               1,
                               2,
                               UINT64_MAX,
                               word,
                               word | RING_SLOT_TRIES,
                               word | RING_SLOT_LENGTH,
                               word + (UINT64_C(1) << RING_SLOT_LAP),
                               word - (UINT64_C(1) << RING_SLOT_LAP),
                               position,
                               position << RING_INTENT_SHIFT | 1,
                               position << RING_INTENT_SHIFT | RING_INTENT_MOST,
                               position << RING_MODE_SHIFT,
                               mode | RING_MODE_SOLE,
                               mode | RING_MODE_REVOKING,
                               mode | RING_MODE_TAG };
    switch (test_below(&chance, 4)) {
    case 0:
        return test_random(&chance);
    case 1:
        return (UINT64_C(1) << test_below(&chance, 64)) + test_below(&chance, 3) - 1;
    default:
        return plain[test_below(&chance, sizeof plain / sizeof *plain)];
    }
}

static void write_word(size_t at, uint64_t value)
{
    ring_atomic_store((RING_ATOMIC(uint64_t) *)(void *)(ring + at % ring_bytes / 8 * 8), value, memory_order_relaxed);
}

/* A word that means something. */
static size_t any_place(void)
{
    switch (test_below(&chance, 4)) {
    case 0:
        return test_below(&chance, sizeof(struct ring_layout_mpmc));
    case 1:
        return SEATS_AT + test_below(&chance, SEATS * sizeof(struct ring_layout_seat));
    case 2:
        return SEATS_AT + test_below(&chance, SEATS) * sizeof(struct ring_layout_seat) +
               offsetof(struct ring_layout_seat, intent);
    default:
        return DATA_AT + test_below(&chance, SLOTS) * STRIDE;
    }
}

static bool is_known_refusal(int64_t code)
{
    static const int known[] = { EAGAIN, ETIMEDOUT, EUCLEAN, EMSGSIZE, EPIPE, EOWNERDEAD, EINVAL, EBUSY };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (code == -known[i])
            return true;
    return false;
}

static int64_t limit(void)
{
    return test_below(&chance, 16) ? RING_NO_WAIT : (int64_t)test_below(&chance, 100000);
}

static int64_t any_consumer_call(struct ring_mpmc_consumer *consumer)
{
    static unsigned char buffer[BUFFER];
    struct ring_message seen[16];
    ssize_t result;
    switch (test_below(&chance, 4)) {
    case 0:
        result = ring_mpmc_recv(consumer, buffer, sizeof buffer, limit());
        REQUIRE(result <= MOST);
        return result;
    case 1:
        result = ring_mpmc_recv_array(consumer, buffer, test_below(&chance, MOST), 16, limit());
        REQUIRE(result <= 16);
        return result;
    case 2:
        result = ring_mpmc_release(consumer, test_below(&chance, 3));
        return result;
    default:
        result = ring_mpmc_peek_batch(consumer, seen, 16, limit());
        REQUIRE(result <= 16);
        for (ssize_t i = 0; i < result; i++) {
            const unsigned char *at = seen[i].data, *data = consumer->end.data;
            REQUIRE(seen[i].length <= MOST && (uintptr_t)at % 8 == 0);
            REQUIRE(at >= data && at + seen[i].length <= data + SLOTS * STRIDE);
            memcpy(buffer, at, seen[i].length);
        }
        if (result > 0)
            ring_mpmc_release(consumer, test_below(&chance, (uint64_t)result + 1));
        return result;
    }
}

static int64_t any_producer_call(struct ring_mpmc_producer *producer)
{
    static unsigned char text[16 * MOST];
    void *place;
    switch (test_below(&chance, 3)) {
    case 0:
        return ring_mpmc_send(producer, text, test_below(&chance, MOST + 1), limit());
    case 1:
        return ring_mpmc_send_array(producer, text, test_below(&chance, MOST + 1), 16, limit());
    default: {
        int code = ring_mpmc_reserve(producer, MOST, &place, limit());
        if (code)
            return code;
        const unsigned char *at = place;
        REQUIRE(at >= producer->end.data && at + MOST <= producer->end.data + SLOTS * STRIDE);
        memset(place, 1, MOST);
        return test_below(&chance, 2) ? ring_mpmc_commit(producer, test_below(&chance, MOST + 1))
                                      : ring_mpmc_cancel(producer);
    }
    }
}

static void look(void)
{
    struct ring_mpmc_info info = { .struct_size = sizeof info };
    int code = ring_mpmc_info(segment, "queue", &info);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN);
    REQUIRE(code || (info.messages <= SLOTS && info.held <= SLOTS));
    struct ring_mpmc_seat_info seat = { .struct_size = sizeof seat };
    code = ring_mpmc_seat_info(segment, "queue", (unsigned)test_below(&chance, SEATS), &seat);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN, -ENOENT);
    code = ring_segment_recover(segment, NULL);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN);
}

static void use(unsigned calls)
{
    bool spoilt[ENDS] = { false };
    while (calls--) {
        unsigned who = (unsigned)test_below(&chance, ENDS);
        if (who % 2 && !beside_others)
            who--;
        int64_t code = who < 2 ? any_producer_call(&producers[who]) : any_consumer_call(&consumers[who - 2]);
        REQUIRE(code >= 0 || is_known_refusal(code));
        REQUIRE(!spoilt[who] || code == -EUCLEAN);
        spoilt[who] = spoilt[who] || code == -EUCLEAN;
    }
    look();
}

/* Opens anew on what the rubbish left. */
static void reopen(void)
{
    struct ring_mpmc_producer producer;
    struct ring_mpmc_consumer consumer;
    int code = ring_mpmc_open_producer(&producer, segment, "queue", 0);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN);
    if (code == 0) {
        for (int i = 0; i < 5; i++)
            REQUIRE((code = (int)any_producer_call(&producer)) >= 0 || is_known_refusal(code));
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
    }
    code = ring_mpmc_open_consumer(&consumer, segment, "queue", 0);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN);
    if (code == 0) {
        for (int i = 0; i < 10; i++)
            REQUIRE((code = (int)any_consumer_call(&consumer)) >= 0 || is_known_refusal(code));
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    }
}

static void spoil_each_word(uint64_t start, unsigned flags, uint64_t rounds)
{
    begin(start, flags);
    for (uint64_t round = 0; round < rounds; round++) {
        open_fresh();
        write_word(any_place(), any_value());
        use(20);
        write_word(any_place(), any_value());
        use(20);
        close_all();
        reopen();
    }
    memcpy(ring, pristine, ring_bytes);
    end();
}

Test(rubbish, any_word_may_change_to_anything)
{
    spoil_each_word(1000, 0, test_rounds(2000));
}

Test(rubbish, any_word_may_change_to_anything_near_the_end_of_positions)
{
    spoil_each_word(UINT64_MAX - 9, 0, test_rounds(1000));
    spoil_each_word((UINT64_C(1) << 56) - 6, RING_MPMC_NO_SOLE, test_rounds(1000));
}

Test(rubbish, any_word_may_be_anything_before_the_ring_is_opened)
{
    begin(UINT64_C(1) << 40, 0);
    for (uint64_t round = 0; round < test_rounds(4000); round++) {
        memcpy(ring, pristine, ring_bytes);
        for (uint64_t words = 1 + test_below(&chance, 3); words; words--)
            write_word(any_place(), any_value());
        look();
        reopen();
    }
    memcpy(ring, pristine, ring_bytes);
    end();
}

Test(rubbish, everything_may_change_at_once)
{
    begin(5, 0);
    for (uint64_t round = 0; round < test_rounds(400); round++) {
        open_fresh();
        for (unsigned i = 0; i < 300; i++)
            write_word(i % 2 ? any_place() : test_below(&chance, ring_bytes), any_value());
        use(40);
        close_all();
        reopen();
    }
    memcpy(ring, pristine, ring_bytes);
    end();
}

/* ---- In traffic ---- */

static RING_ATOMIC(uint64_t) calls;

static void *send_on(void *argument)
{
    (void)argument;
    for (uint64_t i = 0; i < test_rounds(4000); i++) {
        static struct ring_mpmc_producer producer;
        int code = ring_mpmc_open_producer(&producer, segment, "queue", 0);
        REQUIRE_ONE_OF(code, 0, -EUCLEAN, -EUSERS);
        for (int j = 0; j < 20 && code != -EUCLEAN && code != -EUSERS; j++) {
            code = test_put(&producer, test_length(i, MOST), i, 10000);
            REQUIRE(code == 0 || is_known_refusal(code));
        }
        ring_mpmc_close_producer(&producer);
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

static void *receive_on(void *argument)
{
    (void)argument;
    unsigned char bytes[MOST];
    for (uint64_t i = 0; i < test_rounds(4000); i++) {
        static struct ring_mpmc_consumer consumer;
        int code = ring_mpmc_open_consumer(&consumer, segment, "queue", 0);
        REQUIRE_ONE_OF(code, 0, -EUCLEAN, -EUSERS);
        for (int j = 0; j < 20 && code != -EUCLEAN && code != -EUSERS; j++) {
            code = (int)ring_mpmc_recv(&consumer, bytes, MOST, 10000);
            REQUIRE((code >= 0 && code <= MOST) || is_known_refusal(code));
        }
        ring_mpmc_close_consumer(&consumer);
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

Test(rubbish, words_may_change_while_others_send_and_receive)
{
    pthread_t threads[2];
    begin(100, 0);
    atomic_store(&calls, 0);
    REQUIRE_SAME(pthread_create(&threads[0], NULL, send_on, NULL), 0);
    REQUIRE_SAME(pthread_create(&threads[1], NULL, receive_on, NULL), 0);
    while (atomic_load(&calls) < 2 * test_rounds(4000)) {
        size_t at = any_place();
        if (at >= offsetof(struct ring_layout_mpmc, tail)) /* what was before is plain data and constant */
            write_word(at, any_value());
        test_nap(20000);
        if (test_below(&chance, 8) == 0) /* and then it is all right again for a while */
            for (at = offsetof(struct ring_layout_mpmc, tail); at < ring_bytes; at += 8) {
                uint64_t word;
                memcpy(&word, pristine + at, 8);
                write_word(at, word);
            }
    }
    for (int i = 0; i < 2; i++)
        REQUIRE_SAME(pthread_join(threads[i], NULL), 0);
    memcpy(ring, pristine, ring_bytes);
    end();
}

/* ---- By name: what each damage must mean ---- */

Test(rubbish, a_word_that_nobody_writes_poisons_who_finds_it_and_nobody_else)
{
    static const uint64_t bad[] = { RING_SLOT_READY | (MOST + 1), UINT64_C(3) << 26, UINT64_C(1) << RING_SLOT_LAP,
                                    RING_SLOT_SKIP | 5 };
    begin(0, RING_MPMC_NO_SOLE);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char bytes[BUFFER]; /* larger than any message: what bounds a length is the ring */
        memcpy(ring, pristine, ring_bytes);
        test_join_producer(&producers[0], segment);
        test_join_consumer(&consumers[0], segment);
        test_join_consumer(&consumers[1], segment);
        REQUIRE_SAME(ring_mpmc_recv(&consumers[0], bytes, sizeof bytes, RING_NO_WAIT), -EAGAIN);
        test_put_many(&producers[0], MOST, 0, 1);
        uint64_t good;
        memcpy(&good, ring + DATA_AT, 8);
        write_word(DATA_AT, bad[i]);
        REQUIRE_SAME(ring_mpmc_recv(&consumers[0], bytes, sizeof bytes, RING_NO_WAIT), -EUCLEAN);
        write_word(DATA_AT, good);
        REQUIRE_SAME(ring_mpmc_recv(&consumers[0], bytes, sizeof bytes, RING_FOREVER), -EUCLEAN);
        REQUIRE_SAME(ring_mpmc_release(&consumers[0], 0), -EUCLEAN);
        test_get_many(&consumers[1], MOST, 0, 1, 0);
        beside_others = false;
        REQUIRE_OK(ring_mpmc_close_consumer(&consumers[1]));
        close_all();
    }
    memcpy(ring, pristine, ring_bytes);
    end();
}

Test(rubbish, an_impossible_control_page_is_refused_when_opening)
{
    static const struct {
        size_t at, bytes;
        uint64_t value;
    } damage[] = {
        { offsetof(struct ring_layout_mpmc, slots), 8, 512 },
        { offsetof(struct ring_layout_mpmc, slots), 8, 0 },
        { offsetof(struct ring_layout_mpmc, slots), 8, 7 },
        { offsetof(struct ring_layout_mpmc, slots), 8, UINT64_MAX },
        { offsetof(struct ring_layout_mpmc, slot_bytes), 8, 0 },
        { offsetof(struct ring_layout_mpmc, slot_bytes), 8, 1000 },
        { offsetof(struct ring_layout_mpmc, slot_bytes), 8, UINT64_MAX },
        { offsetof(struct ring_layout_mpmc, stride), 8, 64 },
        { offsetof(struct ring_layout_mpmc, seats), 4, 0 },
        { offsetof(struct ring_layout_mpmc, seats), 4, 4096 },
        { offsetof(struct ring_layout_mpmc, seats), 4, UINT32_MAX },
        { offsetof(struct ring_layout_mpmc, producers_mode), 8, 3 },
    };
    begin(0, 0);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        memcpy(ring, pristine, ring_bytes);
        memcpy(ring + damage[i].at, &damage[i].value, damage[i].bytes);
        REQUIRE_REFUSED(ring_mpmc_open_producer(&producers[0], segment, "queue", 0), EUCLEAN);
        REQUIRE_REFUSED(ring_mpmc_open_consumer(&consumers[0], segment, "queue", 0), EUCLEAN);
        REQUIRE_REFUSED(ring_segment_recover(segment, NULL), EUCLEAN);
    }
    memcpy(ring, pristine, ring_bytes);
    open_fresh();
    close_all();
    end();
}
