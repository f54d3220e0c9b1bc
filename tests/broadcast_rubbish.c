/* broadcast_rubbish.c - a peer that writes anything anywhere into a broadcast ring, while it is in use. No call may
 * crash, hang, or hand out what does not lie in the ring; and once a call said -EUCLEAN, that end says it for ever. */
#include "broadcast.h"

enum { MOST = 100, SLOTS = 8, SEATS = 3, BUFFER = 1 << 12 };

static struct ring_segment *segment;
static struct test_outside outside;
static unsigned char *ring;     /* its control page, as written from outside */
static unsigned char *pristine; /* bytes of the whole ring before anybody opened it */
static uint64_t ring_bytes;
static struct test_random chance;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer ends[2]; /* a consumer and an observer */

static void begin(enum ring_broadcast_policy policy, uint64_t start)
{
    segment = test_news(policy, SLOTS, MOST, SEATS, start);
    chance = (struct test_random){ start + policy };
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
    test_end_news(segment);
}

static void open_fresh(void)
{
    memcpy(ring, pristine, ring_bytes);
    test_sender(&sender, segment);
    test_join(&ends[0], segment, RING_BROADCAST_NEWEST);
    REQUIRE_OK(ring_broadcast_open_observer(&ends[1], segment, "news", RING_BROADCAST_NEWEST, 0, 0));
    test_tell_many(&sender, MOST, 5);
    test_hear_many(&ends[0], MOST, 1);
}

static void close_all(void)
{
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_OK(ring_broadcast_close_consumer(&ends[0]));
    REQUIRE_OK(ring_broadcast_close_consumer(&ends[1]));
}

static uint64_t any_value(void)
{
    uint64_t word = ring_broadcast_word(SLOTS - 1, 25, ring_broadcast_sent(&sender), RING_BROADCAST_READY);
    const uint64_t plain[] = { 0,
                               1,
                               UINT64_MAX,
                               UINT64_MAX - 7,
                               word,
                               word | MOST,
                               word | (MOST + 1),
                               word | RING_BROADCAST_LENGTH_MASK,
                               word | UINT64_C(1) << 20,
                               word ^ UINT64_C(3) << 26,
                               word | UINT64_C(3) << 26,
                               word + (UINT64_C(1) << 28),
                               word - (UINT64_C(1) << 28),
                               word + (UINT64_C(1) << 62),
                               1 << 20 };
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
    memcpy(ring + at % ring_bytes / 8 * 8, &value, 8);
}

static bool is_known_refusal(int64_t code)
{
    static const int known[] = { EAGAIN, ETIMEDOUT, EUCLEAN, EOVERFLOW, EMSGSIZE, EPIPE, EOWNERDEAD, EINVAL, EBUSY };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (code == -known[i])
            return true;
    return false;
}

static int64_t any_consumer_call(struct ring_broadcast_consumer *receiver)
{
    static unsigned char buffer[BUFFER];
    struct ring_message seen[16];
    ssize_t result;
    switch (test_below(&chance, 4)) {
    case 0:
        result = ring_broadcast_recv(receiver, buffer, sizeof buffer, 0);
        REQUIRE(result <= MOST);
        return result;
    case 1:
        result = ring_broadcast_recv_array(receiver, buffer, 8, 16, 0);
        REQUIRE(result <= 16);
        return result;
    case 2:
        return ring_broadcast_release(receiver, test_below(&chance, 3));
    default:
        result = ring_broadcast_peek_batch(receiver, seen, 16, 0);
        REQUIRE(result <= SLOTS);
        for (ssize_t i = 0; i < result; i++) {
            const unsigned char *at = seen[i].data, *data = receiver->ring_data;
            REQUIRE(seen[i].length <= MOST && (uintptr_t)at % 8 == 0);
            REQUIRE(at >= data && at + seen[i].length <= data + SLOTS * receiver->stride);
            memcpy(buffer, at, seen[i].length);
        }
        if (result > 0)
            ring_broadcast_release(receiver, test_below(&chance, (uint64_t)result + 1));
        return result;
    }
}

static int64_t any_producer_call(void)
{
    unsigned char text[MOST] = { 0 };
    void *place;
    if (test_below(&chance, 2))
        return ring_broadcast_send(&sender, text, test_below(&chance, MOST + 1), 0);
    int code = ring_broadcast_reserve(&sender, MOST, &place, 0);
    if (code)
        return code;
    memset(place, 1, MOST);
    return ring_broadcast_commit(&sender, test_below(&chance, MOST + 1));
}

static void use(unsigned calls)
{
    bool spoilt[3] = { false, false, false };
    while (calls--) {
        unsigned who = (unsigned)test_below(&chance, 3);
        int64_t code = who == 2 ? any_producer_call() : any_consumer_call(&ends[who]);
        REQUIRE(code >= 0 || is_known_refusal(code));
        REQUIRE(!spoilt[who] || code == -EUCLEAN);
        spoilt[who] = spoilt[who] || code == -EUCLEAN;
    }
    struct ring_broadcast_info info = { .struct_size = sizeof info };
    int code = ring_broadcast_info(segment, "news", &info);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN);
    struct ring_broadcast_seat_info seat = { .struct_size = sizeof seat };
    code = ring_broadcast_seat_info(segment, "news", 0, &seat);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN, -ENOENT);
}

/* Opens anew on what the rubbish left. */
static void reopen(void)
{
    struct ring_broadcast_producer other;
    struct ring_broadcast_consumer late;
    int code = ring_broadcast_open_producer(&other, segment, "news", 0);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN);
    if (code == 0) {
        code = ring_broadcast_send(&other, "x", 1, 0);
        REQUIRE(code == 0 || is_known_refusal(code));
        REQUIRE_OK(ring_broadcast_close_producer(&other));
    }
    code = ring_broadcast_open_consumer(&late, segment, "news", (enum ring_broadcast_join)test_below(&chance, 3),
                                        any_value(), 0);
    REQUIRE_ONE_OF(code, 0, -EUCLEAN, -EINVAL);
    if (code == 0) {
        for (int i = 0; i < 10; i++)
            any_consumer_call(&late);
        REQUIRE_OK(ring_broadcast_close_consumer(&late));
    }
}

static void spoil_each_word(enum ring_broadcast_policy policy, uint64_t start)
{
    begin(policy, start);
    size_t seats = RING_LAYOUT_PAGE, data = 2 * RING_LAYOUT_PAGE, stride = 128;
    for (uint64_t round = 0; round < test_rounds(4000); round++) {
        size_t at;
        switch (test_below(&chance, 4)) {
        case 0: /* control page */
            at = test_below(&chance, sizeof(struct ring_layout_broadcast));
            break;
        case 1: /* seats */
            at = seats + test_below(&chance, SEATS * sizeof(struct ring_layout_broadcast_seat));
            break;
        default: /* words of slots */
            at = data + test_below(&chance, SLOTS) * stride;
        }
        open_fresh();
        write_word(at, any_value());
        use(20);
        write_word(at, any_value());
        use(20);
        close_all();
        reopen();
    }
    memcpy(ring, pristine, ring_bytes);
    end();
}

Test(rubbish, any_word_of_an_overwriting_ring_may_change_to_anything)
{
    spoil_each_word(RING_BROADCAST_OVERWRITE, 1000);
}

Test(rubbish, any_word_of_a_lossless_ring_may_change_to_anything)
{
    spoil_each_word(RING_BROADCAST_LOSSLESS, UINT64_MAX - 9);
}

Test(rubbish, everything_may_change_at_once)
{
    begin(RING_BROADCAST_LOSSLESS, 5);
    for (uint64_t round = 0; round < test_rounds(1000); round++) {
        open_fresh();
        for (unsigned i = 0; i < 300; i++)
            write_word(test_below(&chance, ring_bytes), any_value());
        use(40);
        close_all();
        reopen();
    }
    end();
}

/* ---- By name: what each damage must mean. ---- */

Test(rubbish, a_word_that_no_producer_writes_poisons_who_reads_it_and_nobody_else)
{
    begin(RING_BROADCAST_OVERWRITE, 0);
    open_fresh(); /* 5 sent, the consumer has had one */
    static const uint64_t bad[] = {
        UINT64_C(1) << 26 | (MOST + 1), UINT64_C(1) << 26 | UINT64_C(1) << 20, UINT64_C(3) << 26, 1,
        UINT64_C(2) << 26 | 5,          UINT64_C(1) << 63 | UINT64_C(1) << 26
    };
    size_t at = 2 * RING_LAYOUT_PAGE + 128; /* slot 1 */
    uint64_t good;
    memcpy(&good, ring + at, 8);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ring_broadcast_consumer reader;
        write_word(at, good);
        REQUIRE_OK(ring_broadcast_open_observer(&reader, segment, "news", RING_BROADCAST_AT, 1, 0));
        write_word(at, bad[i]);
        REQUIRE_SAME(test_hear(&reader, MOST, 0), -EUCLEAN);
        write_word(at, good);
        REQUIRE_SAME(test_hear(&reader, MOST, 0), -EUCLEAN);
        REQUIRE_SAME(ring_broadcast_release(&reader, 0), -EUCLEAN);
        REQUIRE_OK(ring_broadcast_close_consumer(&reader));
    }
    test_hear_many(&ends[0], MOST, 4);
    test_tell_many(&sender, MOST, 1);
    test_hear_many(&ends[0], MOST, 1);
    close_all();
    end();
}

Test(rubbish, a_seat_that_claims_what_was_not_sent_poisons_a_lossless_producer)
{
    begin(RING_BROADCAST_LOSSLESS, 0);
    open_fresh();
    size_t at = RING_LAYOUT_PAGE + offsetof(struct ring_layout_broadcast_seat, position);
    int code = 0;
    write_word(at, 1000);
    for (int i = 0; i < SLOTS && code == 0; i++)
        code = test_tell(&sender, MOST, 0);
    REQUIRE_SAME(code, -EUCLEAN);
    write_word(at, 1);
    REQUIRE_SAME(test_tell(&sender, MOST, 0), -EUCLEAN);
    REQUIRE_SAME(ring_broadcast_cancel(&sender), -EUCLEAN);
    REQUIRE_SAME(ring_broadcast_commit(&sender, 1), -EUCLEAN);
    close_all();
    end();
}

Test(rubbish, an_impossible_control_page_is_refused_when_opening)
{
    static const struct {
        size_t at, bytes;
        uint64_t value;
    } damage[] = {
        { offsetof(struct ring_layout_broadcast, slots), 8, 64 },
        { offsetof(struct ring_layout_broadcast, slots), 8, 0 },
        { offsetof(struct ring_layout_broadcast, slots), 8, 7 },
        { offsetof(struct ring_layout_broadcast, slots), 8, UINT64_MAX },
        { offsetof(struct ring_layout_broadcast, slot_bytes), 8, 0 },
        { offsetof(struct ring_layout_broadcast, slot_bytes), 8, 1000 },
        { offsetof(struct ring_layout_broadcast, slot_bytes), 8, UINT64_MAX },
        { offsetof(struct ring_layout_broadcast, stride), 8, 64 },
        { offsetof(struct ring_layout_broadcast, policy), 4, 3 },
        { offsetof(struct ring_layout_broadcast, seats), 4, 0 },
        { offsetof(struct ring_layout_broadcast, seats), 4, 4096 },
        { offsetof(struct ring_layout_broadcast, seats), 4, UINT32_MAX },
        { offsetof(struct ring_layout_broadcast, tail), 8, 4 },
    };
    begin(RING_BROADCAST_LOSSLESS, 0);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        memcpy(ring, pristine, ring_bytes);
        memcpy(ring + damage[i].at, &damage[i].value, damage[i].bytes);
        REQUIRE_REFUSED(ring_broadcast_open_producer(&sender, segment, "news", 0), EUCLEAN);
        if (damage[i].at == offsetof(struct ring_layout_broadcast, tail))
            continue; /* to a consumer it looks like a ring that was never written */
        REQUIRE_REFUSED(ring_broadcast_open_consumer(&ends[0], segment, "news", RING_BROADCAST_NEWEST, 0, 0), EUCLEAN);
        REQUIRE_REFUSED(ring_broadcast_open_observer(&ends[0], segment, "news", RING_BROADCAST_NEWEST, 0, 0), EUCLEAN);
    }
    memcpy(ring, pristine, ring_bytes);
    test_sender(&sender, segment);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    end();
}
