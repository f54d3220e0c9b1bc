/* mpmc_model.c - thousands of random steps of all verbs, by two producers and two consumers that come and go, against a
 * row of cells so simple that it is right.
 *
 * A cell for each position: claimed, filled or cancelled by a producer, taken and freed by a consumer. Messages that a
 * closing consumer had peeked are orphans: they may come again at any receiving, with the flag. */
#include "mpmc.h"

enum { CELLS = 1 << 17, MOST = 40, BATCH = 12, PARTIES = 2, STEPS = 20000 };

enum state { UNUSED, CLAIMED, FILLED, CANCELLED, TAKEN, ORPHAN, FREED };

struct cell {
    enum state state;
    uint32_t length;
};

static struct {
    struct ring_segment *segment;
    struct test_random random;
    uint64_t slots, start, head, tail; /* head and tail count from 0 */
    struct cell cells[CELLS];
    struct {
        struct ring_mpmc_producer end;
        bool open, reserved;
        uint64_t position;
    } producers[PARTIES];
    struct {
        struct ring_mpmc_consumer end;
        bool open;
        uint64_t positions[BATCH];
        unsigned held;
        uint32_t flags;
    } consumers[PARTIES];
    uint64_t orphans, sent, received, again;
} model;

static uint64_t below(uint64_t bound)
{
    return test_below(&model.random, bound);
}

static uint64_t room(void)
{
    uint64_t count = 0;
    while (count < model.slots) {
        uint64_t position = model.tail + count;
        if (position >= model.slots && model.cells[position - model.slots].state != FREED)
            break;
        count++;
    }
    return count;
}

/* ---- Producers ---- */

static struct cell *append(enum state state, size_t length)
{
    REQUIRE(model.tail < CELLS);
    struct cell *cell = &model.cells[model.tail++];
    *cell = (struct cell){ state, (uint32_t)length };
    model.sent += state == FILLED;
    return cell;
}

static bool consumer_is_open(void)
{
    return model.consumers[0].open || model.consumers[1].open;
}

static void require_full(int64_t code)
{
    REQUIRE_SAME(room(), 0);
    REQUIRE(code == -EAGAIN || (code == -EPIPE && !consumer_is_open()));
}

static void step_send(unsigned who)
{
    size_t length = below(MOST + 1);
    int code = test_put(&model.producers[who].end, length, model.start + model.tail, 0);
    if (model.producers[who].reserved)
        REQUIRE_SAME(code, -EBUSY);
    else if (code)
        require_full(code);
    else
        append(FILLED, length);
}

static void step_send_many(unsigned who)
{
    static unsigned char bytes[BATCH * MOST];
    struct ring_message batch[BATCH];
    size_t count = below(BATCH + 1), length = below(MOST + 1);
    bool array = below(2);
    for (size_t i = 0; i < count; i++) {
        batch[i] = (struct ring_message){ bytes + i * length, array ? length : below(length + 1), 0 };
        test_fill(batch[i].data, batch[i].length, model.start + model.tail + i);
    }
    uint64_t due = room() < count ? room() : count;
    ssize_t sent = array ? ring_mpmc_send_array(&model.producers[who].end, bytes, length, count, 0)
                         : ring_mpmc_send_batch(&model.producers[who].end, batch, count, 0);
    if (count == 0)
        REQUIRE_SAME(sent, 0);
    else if (model.producers[who].reserved)
        REQUIRE_SAME(sent, -EBUSY);
    else if (sent < 0)
        require_full(sent);
    else
        REQUIRE_SAME(sent, due);
    for (ssize_t i = 0; i < sent; i++)
        append(FILLED, batch[i].length);
}

static void step_reserve(unsigned who)
{
    void *place;
    int code = ring_mpmc_reserve(&model.producers[who].end, MOST, &place, 0);
    if (model.producers[who].reserved) {
        REQUIRE_SAME(code, -EBUSY);
    } else if (code) {
        require_full(code);
    } else {
        model.producers[who].reserved = true;
        model.producers[who].position = model.tail;
        test_fill(place, MOST, model.start + model.tail);
        append(CLAIMED, 0);
    }
}

static void step_end_reservation(unsigned who)
{
    struct cell *cell = &model.cells[model.producers[who].position];
    bool commit = below(3);
    size_t length = below(MOST / 8 + 1) * 8; /* of a pattern that was longer: whole words of it are the same */
    int code =
        commit ? ring_mpmc_commit(&model.producers[who].end, length) : ring_mpmc_cancel(&model.producers[who].end);
    REQUIRE_SAME(code, model.producers[who].reserved ? 0 : -EINVAL);
    if (code)
        return;
    model.producers[who].reserved = false;
    *cell = (struct cell){ commit ? FILLED : CANCELLED, (uint32_t)length };
    model.sent += commit;
}

/* ---- Consumers ---- */

/* Whoever looks for a message passes over what was cancelled. If an orphan came instead, nobody may have looked. */
static void pass_over(bool surely)
{
    uint64_t head = test_queue_info(model.segment).head - model.start;
    while (model.head < head && model.cells[model.head].state == CANCELLED)
        model.cells[model.head++].state = FREED;
    REQUIRE(!surely || model.cells[model.head].state != CANCELLED);
}

static void require_message(const unsigned char *bytes, size_t length, uint64_t position)
{
    REQUIRE_SAME(length, model.cells[position].length);
    REQUIRE(test_matches(bytes, length, model.start + position));
}

/* Which orphan is this? */
static uint64_t find_orphan(const unsigned char *bytes, size_t length)
{
    uint64_t position = model.tail < model.slots ? 0 : model.tail - model.slots;
    for (; position < model.tail; position++)
        if (model.cells[position].state == ORPHAN && model.cells[position].length == length &&
            test_matches(bytes, length, model.start + position))
            return position;
    test_failed(__FILE__, __LINE__, "a flagged message of %zu bytes that no closed consumer had peeked", length);
}

static void hold(unsigned who, uint64_t position, uint32_t flags)
{
    model.orphans -= model.cells[position].state == ORPHAN;
    model.cells[position].state = TAKEN;
    model.consumers[who].positions[model.consumers[who].held++] = position;
    model.consumers[who].flags = flags;
}

static void release(unsigned who, unsigned count)
{
    REQUIRE(count <= model.consumers[who].held);
    for (unsigned i = 0; i < count; i++) {
        model.cells[model.consumers[who].positions[i]].state = FREED;
        model.received++;
        model.again += model.consumers[who].flags != 0;
    }
    model.consumers[who].held -= count;
    memmove(model.consumers[who].positions, model.consumers[who].positions + count,
            model.consumers[who].held * sizeof *model.consumers[who].positions);
}

/* What must come of a fruitless try; `size` of the buffer. */
static void require_nothing(int64_t code, size_t size)
{
    REQUIRE_ONE_OF(code, -EAGAIN, -EMSGSIZE, -EPIPE);
    pass_over(code != -EMSGSIZE || !model.orphans);
    if (model.orphans && code == -EMSGSIZE) /* of the orphan */
        return;
    struct cell *next = &model.cells[model.head];
    bool filled = model.head < model.tail && next->state == FILLED;
    REQUIRE_SAME(code == -EMSGSIZE, filled && next->length > size);
    REQUIRE(code == -EMSGSIZE || !filled);
    REQUIRE(code != -EPIPE || (!model.producers[0].open && !model.producers[1].open));
}

/* Something came, of which this is the first: takes `count` cells. */
static void take(unsigned who, const unsigned char *bytes, size_t length, uint32_t flags, unsigned count)
{
    REQUIRE(count >= 1);
    if (flags) {
        REQUIRE_SAME(count, 1);
        hold(who, find_orphan(bytes, length), flags);
        pass_over(false);
        return;
    }
    while (model.cells[model.head].state == CANCELLED)
        model.cells[model.head++].state = FREED;
    for (unsigned i = 0; i < count; i++) {
        REQUIRE(model.head < model.tail && model.cells[model.head].state == FILLED);
        hold(who, model.head++, 0);
    }
}

static void step_receive(unsigned who)
{
    unsigned char bytes[MOST + 1];
    size_t size = below(3) ? MOST : below(MOST);
    ssize_t length = ring_mpmc_recv(&model.consumers[who].end, bytes, size, 0);
    if (model.consumers[who].held) {
        size_t due = model.cells[model.consumers[who].positions[0]].length;
        REQUIRE_SAME(length, due > size ? -EMSGSIZE : (ssize_t)due);
        if (length < 0)
            return;
    } else if (length < 0) {
        require_nothing(length, size);
        return;
    } else {
        take(who, bytes, (size_t)length, ring_mpmc_last_flags(&model.consumers[who].end), 1);
    }
    REQUIRE_SAME(ring_mpmc_last_flags(&model.consumers[who].end), model.consumers[who].flags);
    require_message(bytes, (size_t)length, model.consumers[who].positions[0]);
    release(who, 1);
}

static void step_peek(unsigned who)
{
    struct ring_message seen[BATCH];
    size_t wanted = 1 + below(BATCH);
    ssize_t count = ring_mpmc_peek_batch(&model.consumers[who].end, seen, wanted, 0);
    if (model.consumers[who].held) {
        REQUIRE_SAME(count, model.consumers[who].held < wanted ? model.consumers[who].held : wanted);
    } else if (count < 0) {
        REQUIRE(count != -EMSGSIZE);
        require_nothing(count, MOST);
        return;
    } else {
        REQUIRE(count <= (ssize_t)wanted);
        take(who, seen[0].data, seen[0].length, seen[0].flags, (unsigned)count);
    }
    for (ssize_t i = 0; i < count; i++) {
        require_message(seen[i].data, seen[i].length, model.consumers[who].positions[i]);
        REQUIRE_SAME(seen[i].flags, model.consumers[who].flags);
    }
}

static void step_release(unsigned who)
{
    unsigned held = model.consumers[who].held;
    unsigned count = (unsigned)below(held + 2);
    REQUIRE_SAME(ring_mpmc_release(&model.consumers[who].end, count), count > held ? -EINVAL : 0);
    if (count <= held)
        release(who, count);
}

static void step_receive_array(unsigned who)
{
    unsigned char bytes[BATCH * MOST];
    size_t length = model.cells[model.head].length, wanted = 1 + below(BATCH);
    if (model.consumers[who].held)
        length = model.cells[model.consumers[who].positions[0]].length;
    ssize_t count = ring_mpmc_recv_array(&model.consumers[who].end, bytes, length, wanted, 0);
    if (count < 0) {
        REQUIRE(!model.consumers[who].held);
        if (count != -EMSGSIZE) /* of which length an orphan is, or what comes after the cancelled, nobody told */
            require_nothing(count, MOST);
        pass_over(false);
        return;
    }
    bool held = model.consumers[who].held;
    for (ssize_t i = 0; i < count; i++) {
        uint32_t flags = i == count - 1 ? ring_mpmc_last_flags(&model.consumers[who].end) : 0;
        if (!held)
            take(who, bytes + (size_t)i * length, length, flags, 1);
        require_message(bytes + (size_t)i * length, length, model.consumers[who].positions[0]);
        release(who, 1);
    }
    pass_over(false);
}

/* ---- Coming and going ---- */

static void step_producer_comes_or_goes(unsigned who)
{
    if (model.producers[who].open) {
        REQUIRE_OK(ring_mpmc_close_producer(&model.producers[who].end));
        if (model.producers[who].reserved)
            model.cells[model.producers[who].position].state = CANCELLED;
        model.producers[who].reserved = false;
    } else {
        test_join_producer(&model.producers[who].end, model.segment);
    }
    model.producers[who].open = !model.producers[who].open;
}

static void step_consumer_comes_or_goes(unsigned who)
{
    if (model.consumers[who].open) {
        REQUIRE_OK(ring_mpmc_close_consumer(&model.consumers[who].end));
        for (unsigned i = 0; i < model.consumers[who].held; i++)
            model.cells[model.consumers[who].positions[i]].state = ORPHAN;
        model.orphans += model.consumers[who].held;
        model.consumers[who].held = 0;
    } else {
        test_join_consumer(&model.consumers[who].end, model.segment);
    }
    model.consumers[who].open = !model.consumers[who].open;
}

static void step(unsigned choice, unsigned who)
{
    static void (*const producers[])(unsigned) = { step_send, step_send_many, step_reserve, step_end_reservation,
                                                   step_end_reservation };
    static void (*const consumers[])(unsigned) = { step_receive, step_receive, step_peek,
                                                   step_release, step_release, step_receive_array };
    if (choice == 0 || (choice == 3 && !model.producers[who].open))
        step_producer_comes_or_goes(who);
    else if (choice == 1 || (choice == 5 && !model.consumers[who].open))
        step_consumer_comes_or_goes(who);
    else if (choice % 2 && model.producers[who].open)
        producers[below(sizeof producers / sizeof *producers)](who);
    else if (choice % 2 == 0 && model.consumers[who].open)
        consumers[below(sizeof consumers / sizeof *consumers)](who);
}

static void require_agreement(void)
{
    struct ring_mpmc_info info = test_queue_info(model.segment);
    REQUIRE_SAME(info.head - model.start, model.head);
    REQUIRE_SAME(info.tail - model.start, model.tail);
    uint64_t held = model.orphans + model.consumers[0].held + model.consumers[1].held;
    REQUIRE_SAME(info.held, held);
}

static void drain(void)
{
    for (unsigned who = 0; who < PARTIES; who++) {
        if (model.producers[who].open)
            step_producer_comes_or_goes(who);
        if (model.consumers[who].open)
            step_consumer_comes_or_goes(who);
    }
    step_consumer_comes_or_goes(0);
    while (model.orphans || model.head < model.tail)
        step_receive(0);
    step_consumer_comes_or_goes(0);
    REQUIRE_SAME(model.received, model.sent);
}

static void run(uint64_t slots, uint64_t start, unsigned flags, unsigned restlessness, uint64_t seed)
{
    memset(&model, 0, sizeof model);
    struct ring_mpmc_options options = test_queue_options(slots, MOST, start);
    options.flags = flags;
    model.segment = test_queue_with(&options);
    model.slots = slots;
    model.start = start;
    model.random.state = seed;
    for (uint64_t count = 0; count < STEPS; count++) {
        step((unsigned)below(restlessness), (unsigned)below(PARTIES));
        if (count % 8 == 0)
            require_agreement();
    }
    drain();
    REQUIRE(model.sent > STEPS / 32);
    REQUIRE(restlessness > 100 || model.again > 0);
    test_end_queue(model.segment);
}

Test(model, small_rings_behave_like_a_queue)
{
    for (uint64_t seed = 0; seed < 12; seed++)
        run(UINT64_C(2) << seed % 4, seed * 1000, 0, seed % 2 ? 1000 : 60, seed * 1000000);
}

Test(model, a_ring_in_which_nobody_is_alone_behaves_like_a_queue)
{
    for (uint64_t seed = 20; seed < 26; seed++)
        run(UINT64_C(4) << seed % 3, 0, RING_MPMC_NO_SOLE, seed % 2 ? 1000 : 60, seed * 1000000);
}

Test(model, a_larger_ring_behaves_like_a_queue)
{
    for (uint64_t seed = 30; seed < 34; seed++)
        run(256, 0, 0, seed % 2 ? 1000 : 100, seed * 1000000);
}

Test(model, a_ring_whose_positions_pass_a_border_behaves_like_a_queue)
{
    for (uint64_t seed = 40; seed < 52; seed++) {
        unsigned bits = (const unsigned[]){ 32, 56, 62, 64 }[seed % 4];
        run(8, (bits == 64 ? 0 : UINT64_C(1) << bits) - 2000, 0, seed % 2 ? 1000 : 60, seed * 1000000);
    }
}
