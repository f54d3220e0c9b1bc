/* spsc_rubbish.c - a peer that writes anything anywhere into a ring, while it is in use. No call may crash, hang, or hand
 * out what does not lie in the ring; and once a call said -EUCLEAN, that end says it for ever. */
#include "harness.h"

#include <stddef.h>

static struct test_pair pair;
static struct test_outside outside;
static unsigned char *ring;      /* its control page, as written from outside */
static unsigned char *pristine;  /* bytes of the whole ring before anybody opened it */
static uint64_t ring_offset, ring_bytes;
static struct test_random chance;

enum { CAPACITY = 4096, BUFFER = 1 << 16 };

static void begin(uint64_t start)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = CAPACITY;
    options.start_position = start;
    chance = (struct test_random){ start + 1 };
    pair.segment = test_create(1 << 17);
    REQUIRE_OK(ring_spsc_create_with(pair.segment, "ring", &options));
    struct ring_entry_info entry;
    REQUIRE_OK(ring_segment_entry(pair.segment, 0, &entry));
    outside = test_outside_open(test_name());
    ring_offset = entry.offset;
    ring_bytes = entry.bytes;
    ring = outside.bytes + ring_offset;
    pristine = malloc(ring_bytes);
    memcpy(pristine, ring, ring_bytes);
}

static void end(void)
{
    free(pristine);
    test_outside_close(&outside);
    REQUIRE_OK(ring_segment_close(&pair.segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

/* A fresh ring with some messages in it, both ends open. */
static void open_fresh(void)
{
    memcpy(ring, pristine, ring_bytes);
    test_open_producer(&pair.producer, pair.segment);
    test_open_consumer(&pair.consumer, pair.segment);
    pair.max_message = CAPACITY / 4;
    uint64_t numbers[6] = { 0 };
    for (uint64_t i = 0; i < 3; i++)
        test_send(&pair.producer, 100 * i, i);
    REQUIRE_SAME(ring_spsc_send_array(&pair.producer, numbers, 8, 6, 0), 6);
    test_send(&pair.producer, 48, 5);
}

static uint64_t any_value(void)
{
    static const uint64_t plain[] = { 0, 1, UINT64_MAX, UINT64_MAX - 7, RING_RECORD_ONE, RING_RECORD_ONE | 1024,
                                      RING_RECORD_ONE | 1025, RING_RECORD_ONE | UINT32_MAX, UINT64_C(2) << 32,
                                      UINT64_C(2) << 32 | 8, UINT64_C(1000) << 32 | 8, UINT64_C(0xffffff) << 32 | 8,
                                      UINT64_C(0xffffff) << 32, UINT64_C(1) << 56 | RING_RECORD_ONE | 8, 1 << 20 };
    switch (test_below(&chance, 5)) {
    case 0:
        return test_random(&chance);
    case 1:
        return (UINT64_C(1) << test_below(&chance, 64)) + test_below(&chance, 3) - 1;
    case 2:
        return 8 * test_below(&chance, 2 * CAPACITY / 8);
    default:
        return plain[test_below(&chance, sizeof plain / sizeof *plain)];
    }
}

/* Writes outside's values over a few words. */
static void scribble(size_t at, unsigned words)
{
    for (unsigned i = 0; i < words; i++) {
        uint64_t value = any_value();
        memcpy(ring + (at + 8 * i) % ring_bytes, &value, 8);
    }
}

static void message_is_within(const struct ring_message *message)
{
    /* In the ring's data with its overhang, as far as any process may see. */
    REQUIRE(message->length <= pair.max_message);
    REQUIRE((uintptr_t)message->data % 8 == 0);
    const unsigned char *data = pair.consumer.ring_data, *at = message->data;
    REQUIRE(at >= data && at + message->length <= data + ring_bytes - RING_LAYOUT_PAGE);
}

static int64_t any_consumer_call(void)
{
    static unsigned char buffer[BUFFER];
    struct ring_message seen[16];
    ssize_t result;
    switch (test_below(&chance, 5)) {
    case 0:
        result = ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, 0);
        REQUIRE(result <= (ssize_t)pair.max_message);
        return result;
    case 1:
        result = ring_spsc_peek(&pair.consumer, seen, 0);
        if (result == 0) {
            message_is_within(seen);
            ring_spsc_release(&pair.consumer, test_below(&chance, 3));
        }
        return result;
    case 2:
        result = ring_spsc_peek_batch(&pair.consumer, seen, 16, 0);
        REQUIRE(result <= 16);
        for (ssize_t i = 0; i < result; i++)
            message_is_within(&seen[i]);
        if (test_below(&chance, 2))
            scribble(RING_LAYOUT_PAGE + 8 * test_below(&chance, CAPACITY / 8), 1);
        if (result > 0)
            ring_spsc_release(&pair.consumer, test_below(&chance, (uint64_t)result + 1));
        return result;
    case 3:
        result = ring_spsc_recv_array(&pair.consumer, buffer, 8, 40, 0);
        REQUIRE(result <= 40);
        return result;
    default:
        result = ring_spsc_recv(&pair.consumer, buffer, test_below(&chance, 64), test_below(&chance, 20000));
        REQUIRE(result <= 64);
        return result;
    }
}

static int64_t any_producer_call(void)
{
    static unsigned char text[BUFFER];
    struct ring_message batch[8];
    void *place;
    int64_t limit = test_below(&chance, 8) ? RING_NO_WAIT : (int64_t)test_below(&chance, 20000);
    switch (test_below(&chance, 4)) {
    case 0:
        return ring_spsc_send(&pair.producer, text, test_below(&chance, pair.max_message), limit);
    case 1: {
        size_t length = test_below(&chance, pair.max_message + 1);
        int code = ring_spsc_reserve(&pair.producer, length, &place, limit);
        if (code)
            return code;
        const unsigned char *data = pair.producer.data, *at = place;
        REQUIRE(at >= data && at + length <= data + ring_bytes - RING_LAYOUT_PAGE);
        memset(place, 0x77, length);
        return ring_spsc_commit(&pair.producer, length);
    }
    case 2:
        return ring_spsc_send_array(&pair.producer, text, 1 + test_below(&chance, 300), 1 + test_below(&chance, 40), limit);
    default:
        for (int i = 0; i < 8; i++)
            batch[i] = (struct ring_message){ text, test_below(&chance, 400), 0 };
        return ring_spsc_send_batch(&pair.producer, batch, 8, limit);
    }
}

static void use_poisoned(int64_t consumer_says, int64_t producer_says)
{
    static unsigned char buffer[BUFFER];
    struct ring_message message;
    void *place;
    if (consumer_says == -EUCLEAN) {
        memcpy(ring, pristine, ring_bytes); /* repaired, and yet: */
        REQUIRE_SAME(ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_FOREVER), -EUCLEAN);
        REQUIRE_SAME(ring_spsc_peek(&pair.consumer, &message, RING_FOREVER), -EUCLEAN);
        REQUIRE_SAME(ring_spsc_peek_batch(&pair.consumer, &message, 1, RING_FOREVER), -EUCLEAN);
        REQUIRE_SAME(ring_spsc_recv_array(&pair.consumer, buffer, 8, 2, RING_FOREVER), -EUCLEAN);
        REQUIRE(ring_spsc_release(&pair.consumer, 1) < 0);
    }
    if (producer_says == -EUCLEAN) {
        REQUIRE_SAME(ring_spsc_send(&pair.producer, buffer, 8, RING_FOREVER), -EUCLEAN);
        REQUIRE_SAME(ring_spsc_reserve(&pair.producer, 8, &place, RING_FOREVER), -EUCLEAN);
        message = (struct ring_message){ buffer, 8, 0 };
        REQUIRE_SAME(ring_spsc_send_batch(&pair.producer, &message, 1, RING_FOREVER), -EUCLEAN);
        REQUIRE_SAME(ring_spsc_send_array(&pair.producer, buffer, 8, 2, RING_FOREVER), -EUCLEAN);
    }
}

static void go_through_calls(unsigned calls)
{
    int64_t consumer_says = 0, producer_says = 0;
    for (unsigned i = 0; i < calls; i++) {
        int64_t code = any_consumer_call();
        if (consumer_says == -EUCLEAN)
            REQUIRE_SAME(code, -EUCLEAN);
        consumer_says = code;
        code = any_producer_call();
        if (producer_says == -EUCLEAN)
            REQUIRE(code < 0);
        producer_says = producer_says == -EUCLEAN ? producer_says : code;
    }
    struct ring_spsc_info info = { .struct_size = sizeof info };
    ring_spsc_info(pair.segment, "ring", &info);
    use_poisoned(consumer_says, producer_says);
}

static void close_both(void)
{
    REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
}

Test(rubbish, in_any_word_of_the_control_page_harms_nobody)
{
    begin(0);
    for (size_t at = 0; at < sizeof(struct ring_layout_spsc); at += 8)
        for (uint64_t round = 0; round < 60; round++) {
            open_fresh();
            if (round % 3 == 0)
                any_consumer_call();
            scribble(at, 1);
            go_through_calls(12);
            close_both();
        }
    end();
}

Test(rubbish, in_any_word_of_the_records_harms_nobody)
{
    begin(0);
    for (size_t at = RING_LAYOUT_PAGE; at < RING_LAYOUT_PAGE + 700; at += 8)
        for (uint64_t round = 0; round < 60; round++) {
            open_fresh();
            if (round % 3 == 0)
                any_consumer_call();
            scribble(at, 1 + (unsigned)round % 2);
            go_through_calls(12);
            close_both();
        }
    end();
}

Test(rubbish, again_and_again_during_use_harms_nobody)
{
    begin(UINT64_MAX - 7 - 8000);
    for (uint64_t round = 0; round < test_rounds(8000); round++) {
        open_fresh();
        for (unsigned i = 0; i < 6; i++) {
            if (test_below(&chance, 2))
                scribble(128 + 8 * test_below(&chance, 3), 1);
            else
                scribble(RING_LAYOUT_PAGE + 8 * test_below(&chance, CAPACITY / 8), 1 + (unsigned)test_below(&chance, 4));
            any_consumer_call();
            any_producer_call();
        }
        close_both();
    }
    end();
}

Test(rubbish, found_when_opening_is_refused_or_harms_nobody)
{
    begin(0);
    for (uint64_t round = 0; round < test_rounds(30000); round++) {
        open_fresh();
        close_both();
        size_t at = test_below(&chance, 2) ? 8 * test_below(&chance, sizeof(struct ring_layout_spsc) / 8)
                                           : RING_LAYOUT_PAGE + 8 * test_below(&chance, 80);
        scribble(at, 1 + (unsigned)test_below(&chance, 2));
        test_mark_detail();
        int code = ring_spsc_open_consumer(&pair.consumer, pair.segment, "ring", 0);
        if (code) {
            test_check_refused(__FILE__, __LINE__, "open", code, 0);
        } else {
            for (int i = 0; i < 12; i++)
                any_consumer_call();
            REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
        }
        code = ring_spsc_open_producer(&pair.producer, pair.segment, "ring", 0);
        if (code == 0) {
            for (int i = 0; i < 12; i++)
                any_producer_call();
            REQUIRE_OK(ring_spsc_close_producer(&pair.producer));
        }
    }
    end();
}

static void impossible(uint64_t header)
{
    static unsigned char buffer[BUFFER];
    struct ring_message seen[4];
    for (int way = 0; way < 4; way++) {
        memcpy(ring, pristine, ring_bytes);
        test_open_producer(&pair.producer, pair.segment);
        test_open_consumer(&pair.consumer, pair.segment);
        memcpy(ring + RING_LAYOUT_PAGE, &header, 8);
        ssize_t code = way == 0   ? ring_spsc_recv(&pair.consumer, buffer, sizeof buffer, RING_FOREVER)
                       : way == 1 ? ring_spsc_peek(&pair.consumer, seen, RING_FOREVER)
                       : way == 2 ? ring_spsc_peek_batch(&pair.consumer, seen, 4, RING_FOREVER)
                                  : ring_spsc_recv_array(&pair.consumer, buffer, 8, 4, RING_FOREVER);
        REQUIRE_SAME(code, -EUCLEAN);
        use_poisoned(-EUCLEAN, 0);
        close_both();
    }
}

Test(rubbish, a_size_that_fits_itself_but_not_the_place_of_the_ring_is_refused_when_opening)
{
    static const uint64_t lies[] = { CAPACITY * 2, CAPACITY * 64, UINT64_C(1) << 40, CAPACITY / 2 };
    begin(0);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct ring_layout_spsc *control = (struct ring_layout_spsc *)(void *)ring;
        memcpy(ring, pristine, ring_bytes);
        control->capacity = lies[i];
        control->max_message = lies[i] / 4;
        REQUIRE_REFUSED(ring_spsc_open_producer(&pair.producer, pair.segment, "ring", RING_NO_WAIT), EUCLEAN);
        REQUIRE_REFUSED(ring_spsc_open_consumer(&pair.consumer, pair.segment, "ring", RING_NO_WAIT), EUCLEAN);
    }
    end();
}

Test(rubbish, a_header_that_no_producer_writes_poisons_the_consumer)
{
    begin(0);
    impossible(1);
    impossible(UINT32_MAX);
    impossible(UINT64_MAX);
    impossible(RING_RECORD_ONE | (CAPACITY / 4 + 1));
    impossible(RING_RECORD_ONE | UINT32_MAX);
    impossible(UINT64_C(1) << 56 | RING_RECORD_ONE | 8);
    impossible(UINT64_C(129) << 32 | 8);
    impossible(UINT64_C(0xffffff) << 32 | 1024);
    impossible(UINT64_C(0xffffff) << 32);
    end();
}

Test(rubbish, a_head_that_no_consumer_writes_poisons_the_producer)
{
    begin(0);
    static const int64_t heads[] = { -8, -4096, 1, 4, 8, 4096, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        memcpy(ring, pristine, ring_bytes);
        test_open_producer(&pair.producer, pair.segment);
        test_open_consumer(&pair.consumer, pair.segment);
        unsigned char text[500] = { 0 };
        int code = 0;
        memcpy(ring + offsetof(struct ring_layout_spsc, head), &heads[i], 8);
        for (int sent = 0; code == 0 && sent < 3; sent++)
            code = ring_spsc_send(&pair.producer, text, 4, RING_NO_WAIT);
        for (int sent = 0; code == 0 && sent < 20; sent++)
            code = ring_spsc_send(&pair.producer, text, sizeof text, RING_NO_WAIT);
        if (heads[i] != 8) /* that one may be true by the time it is looked at */
            REQUIRE_SAME(code, -EUCLEAN);
        use_poisoned(0, code);
        close_both();
    }
    end();
}

/* "ring~1" says that it is the next generation of "ring", whose producer says that it has moved on to it. */
Test(rubbish, a_next_generation_that_is_no_larger_poisons_the_consumer)
{
    char byte;
    begin(0);
    REQUIRE_OK(ring_spsc_create(pair.segment, "ring~1", CAPACITY));
    test_open_consumer(&pair.consumer, pair.segment);
    struct ring_layout_entry *next = (struct ring_layout_entry *)(void *)(outside.bytes + RING_LAYOUT_PAGE) + 1;
    ring_atomic_store(&next->generation, 1, memory_order_relaxed);
    ring_atomic_store(&next->stem, 4, memory_order_relaxed);
    struct ring_layout_spsc *control = (struct ring_layout_spsc *)(void *)ring;
    ring_atomic_store(&control->producer.state, 1 << 8 | RING_ROLE_MOVED, memory_order_relaxed);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, RING_NO_WAIT), -EUCLEAN);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, RING_FOREVER), -EUCLEAN);
    REQUIRE_OK(ring_spsc_close_consumer(&pair.consumer));
    end();
}

/* Its place in the directory is damaged, and whole again when the consumer looks once more: too late. */
Test(rubbish, a_next_generation_whose_entry_is_damaged_poisons_the_consumer_for_good)
{
    char byte = 1;
    begin(0);
    test_open_producer(&pair.producer, pair.segment);
    test_open_consumer(&pair.consumer, pair.segment);
    REQUIRE_OK(ring_spsc_grow(&pair.producer, NULL));
    REQUIRE_OK(ring_spsc_send(&pair.producer, &byte, 1, RING_NO_WAIT));
    struct ring_layout_entry *next = (struct ring_layout_entry *)(void *)(outside.bytes + RING_LAYOUT_PAGE) + 1;
    uint64_t offset = ring_atomic_load(&next->offset, memory_order_relaxed);
    ring_atomic_store(&next->offset, 1, memory_order_relaxed);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, RING_NO_WAIT), -EUCLEAN);
    ring_atomic_store(&next->offset, offset, memory_order_relaxed);
    REQUIRE_SAME(ring_spsc_recv(&pair.consumer, &byte, 1, RING_NO_WAIT), -EUCLEAN);
    close_both();
    end();
}
