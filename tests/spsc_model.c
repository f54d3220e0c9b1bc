/* spsc_model.c - thousands of random steps of all verbs against a queue so simple that it is right. */
#include "harness.h"

enum { QUEUE = 1 << 16, MOST = 40 };

struct model {
    struct test_pair pair;
    struct test_random random;
    uint64_t sent, received; /* numbers of messages; a message's contents follow from its number */
    uint32_t lengths[QUEUE];
    size_t bytes, publish_bytes;
    unsigned char buffer[1 << 18];
};

static struct model model;

static uint32_t *length_of(uint64_t number)
{
    return &model.lengths[number % QUEUE];
}

static size_t any_length(void)
{
    switch (test_below(&model.random, 8)) {
    case 0:
        return test_below(&model.random, model.pair.max_message + 1);
    case 1:
        return model.pair.max_message - test_below(&model.random, 16);
    case 2:
        return 0;
    default:
        return test_below(&model.random, 100);
    }
}

/* Full is only believed of a ring in which something is. */
static void allow_full(int64_t code)
{
    REQUIRE_SAME(code, -EAGAIN);
    REQUIRE(model.received < model.sent || model.pair.consumer.published != model.pair.consumer.position ||
            model.pair.consumer.pack.count);
    if (model.received != model.sent)
        return;
    char byte;
    REQUIRE_SAME(ring_spsc_recv(&model.pair.consumer, &byte, 0, 0), -EAGAIN); /* publishes */
    void *place;
    REQUIRE_SAME(ring_spsc_reserve(&model.pair.producer, model.pair.max_message, &place, 0), 0);
    REQUIRE_SAME(ring_spsc_cancel(&model.pair.producer), 0);
}

static void step_send(void)
{
    size_t length = any_length();
    test_fill(model.buffer, length, model.sent);
    int code = ring_spsc_send(&model.pair.producer, model.buffer, length, 0);
    if (code)
        return allow_full(code);
    *length_of(model.sent++) = (uint32_t)length;
}

static void step_reserve(void)
{
    size_t reserved = any_length();
    void *place;
    int code = ring_spsc_reserve(&model.pair.producer, reserved, &place, 0);
    if (code)
        return allow_full(code);
    memset(place, 0xff, reserved);
    if (test_below(&model.random, 3) == 0) {
        REQUIRE_SAME(ring_spsc_cancel(&model.pair.producer), 0);
        return;
    }
    if (test_below(&model.random, 8) == 0)
        REQUIRE_SAME(ring_spsc_send(&model.pair.producer, "x", 1, 0), -EBUSY);
    size_t length = test_below(&model.random, reserved + 1);
    test_fill(place, length, model.sent);
    REQUIRE_SAME(ring_spsc_commit(&model.pair.producer, length), 0);
    *length_of(model.sent++) = (uint32_t)length;
}

static void step_send_batch(void)
{
    struct ring_message batch[MOST];
    size_t count = test_below(&model.random, MOST + 1), used = 0, length = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || test_below(&model.random, 4) == 0)
            length = any_length();
        if (used + length > sizeof model.buffer) {
            count = i;
            break;
        }
        test_fill(model.buffer + used, length, model.sent + i);
        batch[i] = (struct ring_message){ model.buffer + used, length, 0 };
        used += length;
    }
    ssize_t code = ring_spsc_send_batch(&model.pair.producer, batch, count, 0);
    if (code < 0)
        return allow_full(code);
    REQUIRE(code <= (ssize_t)count && (code > 0 || count == 0));
    for (ssize_t i = 0; i < code; i++)
        *length_of(model.sent++) = (uint32_t)batch[i].length;
}

static void step_send_array(void)
{
    size_t length = any_length(), count = test_below(&model.random, MOST + 1);
    if (length * count > sizeof model.buffer)
        count = 1;
    for (size_t i = 0; i < count; i++)
        test_fill(model.buffer + i * length, length, model.sent + i);
    ssize_t code = ring_spsc_send_array(&model.pair.producer, model.buffer, length, count, 0);
    if (code < 0)
        return allow_full(code);
    REQUIRE(code <= (ssize_t)count && (code > 0 || count == 0));
    for (ssize_t i = 0; i < code; i++)
        *length_of(model.sent++) = (uint32_t)length;
}

static void step_recv(void)
{
    size_t size = test_below(&model.random, 4) ? sizeof model.buffer : test_below(&model.random, 64);
    ssize_t length = ring_spsc_recv(&model.pair.consumer, model.buffer, size, 0);
    if (model.received == model.sent) {
        REQUIRE_SAME(length, -EAGAIN);
    } else if (*length_of(model.received) > size) {
        REQUIRE_SAME(length, -EMSGSIZE);
    } else {
        REQUIRE_SAME(length, *length_of(model.received));
        REQUIRE(test_matches(model.buffer, (size_t)length, model.received++));
    }
}

static void require_message(const struct ring_message *message, uint64_t number)
{
    REQUIRE(number < model.sent);
    REQUIRE_SAME(message->length, *length_of(number));
    REQUIRE_SAME(message->flags, 0);
    REQUIRE_SAME((uintptr_t)message->data % 8, 0);
    REQUIRE(test_matches(message->data, message->length, number));
}

static void step_peek(void)
{
    struct ring_message message;
    int code = ring_spsc_peek(&model.pair.consumer, &message, 0);
    if (model.received == model.sent) {
        REQUIRE_SAME(code, -EAGAIN);
        return;
    }
    REQUIRE_SAME(code, 0);
    require_message(&message, model.received);
    if (test_below(&model.random, 2))
        return;
    REQUIRE_SAME(ring_spsc_release(&model.pair.consumer, 1), 0);
    model.received++;
}

static void step_peek_batch(void)
{
    struct ring_message seen[MOST];
    size_t wanted = 1 + test_below(&model.random, MOST);
    ssize_t count = ring_spsc_peek_batch(&model.pair.consumer, seen, wanted, 0);
    if (model.received == model.sent) {
        REQUIRE_SAME(count, -EAGAIN);
        return;
    }
    REQUIRE(count >= 1 && count <= (ssize_t)wanted);
    for (ssize_t i = 0; i < count; i++)
        require_message(&seen[i], model.received + (uint64_t)i);
    for (size_t left = (size_t)count; left && test_below(&model.random, 5);) {
        size_t freed = test_below(&model.random, left + 1);
        REQUIRE_SAME(ring_spsc_release(&model.pair.consumer, freed), 0);
        model.received += freed;
        left -= freed;
        for (size_t i = (size_t)count - left; i < (size_t)count; i++)
            require_message(&seen[i], model.received + i - ((size_t)count - left)); /* what is not freed stays */
        REQUIRE_SAME(ring_spsc_release(&model.pair.consumer, left + 1), -EINVAL);
    }
}

static void step_recv_array(void)
{
    size_t wanted = 1 + test_below(&model.random, MOST);
    size_t length = model.received < model.sent ? *length_of(model.received) : 8;
    if (test_below(&model.random, 6) == 0)
        length = test_below(&model.random, 100);
    if (length * wanted > sizeof model.buffer)
        wanted = 1;
    ssize_t count = ring_spsc_recv_array(&model.pair.consumer, model.buffer, length, wanted, 0);
    if (model.received == model.sent) {
        REQUIRE_SAME(count, -EAGAIN);
    } else if (*length_of(model.received) != length) {
        REQUIRE_SAME(count, -EMSGSIZE);
    } else {
        REQUIRE(count >= 1 && count <= (ssize_t)wanted);
        for (ssize_t i = 0; i < count; i++) {
            REQUIRE(model.received < model.sent);
            REQUIRE_SAME(*length_of(model.received), length);
            REQUIRE(test_matches(model.buffer + (size_t)i * length, length, model.received++));
        }
    }
}

static void step_reopen(void)
{
    if (test_below(&model.random, 2)) {
        REQUIRE_OK(ring_spsc_close_producer(&model.pair.producer));
        test_open_producer(&model.pair.producer, model.pair.segment);
    } else {
        REQUIRE_OK(ring_spsc_close_consumer(&model.pair.consumer));
        test_open_consumer(&model.pair.consumer, model.pair.segment);
    }
}

static void step_info(void)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(model.pair.segment, "ring", &info));
    REQUIRE(info.messages >= model.sent - model.received);
    REQUIRE(info.tail - info.head <= model.bytes);
    REQUIRE_SAME(info.consumer.peer, RING_PEER_ALIVE);
}

static void run(size_t bytes, size_t publish_bytes, uint64_t start, uint64_t seed)
{
    static void (*const steps[])(void) = { step_send,       step_send,       step_reserve,    step_send_batch,
                                           step_send_array, step_recv,       step_recv,       step_peek,
                                           step_peek,       step_peek_batch, step_peek_batch, step_recv_array };
    model = (struct model){ .random = { seed }, .bytes = bytes, .publish_bytes = publish_bytes };
    test_pair_open(&model.pair, bytes, publish_bytes, start);
    for (uint64_t step = 0; step < test_rounds(30000); step++) {
        uint64_t choice = test_below(&model.random, 400);
        if (choice == 0)
            step_reopen();
        else if (choice == 1)
            step_info();
        else
            steps[test_below(&model.random, sizeof steps / sizeof *steps)]();
        REQUIRE(model.sent - model.received < QUEUE);
    }
    while (model.received < model.sent)
        step_recv();
    REQUIRE(model.sent > test_rounds(30000) / 10);
    test_pair_close(&model.pair);
}

Test(model, a_small_ring_behaves_like_a_queue)
{
    for (uint64_t seed = 0; seed < 12; seed++)
        run(4096, seed % 3 == 0 ? 0 : seed % 3 == 1 ? 1 : 2048, 8 * seed, 1000000 * seed);
}

Test(model, a_middle_ring_behaves_like_a_queue)
{
    for (uint64_t seed = 0; seed < 6; seed++)
        run(65536, seed % 3 == 0 ? 0 : seed % 3 == 1 ? 1 : 1 << 15, 8 * seed, 1000000 * seed);
}

Test(model, a_large_ring_behaves_like_a_queue)
{
    for (uint64_t seed = 0; seed < 3; seed++)
        run(512 << 10, seed == 0 ? 0 : seed == 1 ? 1 : 100000, 8 * seed, 1000000 * seed);
}

Test(model, a_ring_whose_positions_pass_two_to_the_64_behaves_like_a_queue)
{
    for (uint64_t seed = 0; seed < 6; seed++)
        run(8192, seed % 2, (seed % 3 == 0 ? 0 : UINT64_C(1) << (seed % 3 == 1 ? 32 : 63)) - 80000 - 8 * seed,
            1000000 * seed);
}
