/* traffic.c - producers and consumers of SPSC and MPMC rings: what they do until they are asked to leave, or killed.
 *
 * A producer writes into its life what it is about to send before, and what it has sent after. A consumer that peeks
 * books the messages before it releases them: none of those may be lost, whenever it dies. One that receives says
 * before how many it may take at most: if it is killed before it has booked them they may be missing.
 */
#include "soak.h"

static const struct soak_verbs *verbs(void)
{
    return soak_ledger->ring.kind == SOAK_SPSC ? &soak_spsc_verbs : &soak_mpmc_verbs;
}

struct ring_segment *soak_attach(unsigned flags)
{
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = flags;
    int code = ring_segment_attach(&segment, soak_ledger->ring.name, &options, RING_NO_WAIT);
    if (code)
        soak_fail("attach: %d, %s", code, ring_error_detail());
    return segment;
}

bool soak_shall_leave(struct soak_actor *self)
{
    return ring_atomic_load(&self->leave, memory_order_relaxed) != 0;
}

bool soak_is_not_now(int64_t code)
{
    return code == -EAGAIN || code == -ETIMEDOUT || code == -EPIPE || code == -EOWNERDEAD;
}

/* Now and then somebody does nothing for a while: then the ring runs full, or empty. */
void soak_doze(struct soak_actor *self, struct soak_random *random)
{
    if (soak_below(random, 4096))
        return;
    ring_atomic_store(&self->state, SOAK_NAPPING, memory_order_release);
    soak_nap(100000 + (int64_t)soak_below(random, 3000000));
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
}

/* None, some microseconds, some milliseconds. */
static int64_t any_limit(struct soak_random *random)
{
    switch (soak_below(random, 8)) {
    case 0:
        return RING_NO_WAIT;
    case 1:
        return (int64_t)soak_below(random, 100000);
    default:
        return (int64_t)soak_below(random, 5000000);
    }
}

static size_t any_length(struct soak_random *random)
{
    size_t longest = soak_ledger->ring.longest;
    return SOAK_SHORTEST + soak_below(random, longest - SOAK_SHORTEST + 1);
}

/* ---- Producer ---- */

struct producing {
    struct soak_end end;
    struct soak_life *life;
    uint64_t who; /* of the next message */
};

static uint64_t number(const struct producing *producing)
{
    return (uint32_t)producing->who;
}

/* Says how many are about to be sent. */
static void begin(struct producing *producing, uint64_t count)
{
    ring_atomic_store(&producing->life->began, number(producing) + count, memory_order_release);
}

static void sent(struct producing *producing, uint64_t count)
{
    producing->who += count;
    ring_atomic_store(&producing->life->sent, number(producing), memory_order_release);
}

static int64_t send_one(struct producing *producing, struct soak_random *random)
{
    unsigned char message[SOAK_LONGEST];
    size_t length = any_length(random);
    soak_write(message, length, producing->who, 0);
    begin(producing, 1);
    int code = verbs()->send(&producing->end, message, length, any_limit(random));
    if (code == 0)
        sent(producing, 1);
    return code;
}

static int64_t send_in_place(struct producing *producing, struct soak_random *random)
{
    void *place;
    size_t length = any_length(random);
    int code = verbs()->reserve(&producing->end, length, &place, any_limit(random));
    if (code)
        return code;
    length -= soak_below(random, length - SOAK_SHORTEST + 1);
    soak_write(place, length, producing->who, 0);
    if (soak_below(random, 8) == 0)
        return verbs()->cancel(&producing->end);
    begin(producing, 1);
    code = verbs()->commit(&producing->end, length);
    if (code == 0)
        sent(producing, 1);
    return code;
}

static int64_t send_many(struct producing *producing, struct soak_random *random)
{
    unsigned char messages[SOAK_BATCH * SOAK_LONGEST];
    size_t length = soak_below(random, 2) ? SOAK_SHORTEST : any_length(random);
    size_t count = 1 + soak_below(random, SOAK_BATCH);
    if (count > SOAK_LIFE_MESSAGES - number(producing))
        count = SOAK_LIFE_MESSAGES - number(producing);
    for (size_t i = 0; i < count; i++)
        soak_write(messages + i * length, length, producing->who + i, 0);
    begin(producing, count);
    ssize_t code = verbs()->send_array(&producing->end, messages, length, count, any_limit(random));
    if (code > 0)
        sent(producing, (uint64_t)code);
    return code;
}

void soak_produce(struct soak_actor *self, uint64_t life, struct soak_random *random)
{
    struct producing producing = { .who = life << 32, .life = soak_life_of(life << 32) };
    producing.end.segment = soak_attach(0);
    int code = verbs()->open_producer(&producing.end);
    if (code)
        soak_fail("producer cannot open: %d, %s", code, ring_error_detail());
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
    uint64_t way = soak_below(random, 4);
    while (!soak_shall_leave(self) && number(&producing) < SOAK_LIFE_MESSAGES) {
        soak_doze(self, random);
        uint64_t now = way == 3 ? soak_below(random, 3) : way;
        int64_t said = now == 0   ? send_one(&producing, random)
                       : now == 1 ? send_in_place(&producing, random)
                                  : send_many(&producing, random);
        begin(&producing, 0); /* nothing is left in hand: not sent is not sent */
        if (said < 0 && !soak_is_not_now(said))
            soak_fail("sending says %lld", (long long)said);
        if (said == -EPIPE || said == -EOWNERDEAD)
            soak_nap(50000);
    }
    code = verbs()->close_producer(&producing.end);
    if (code)
        soak_fail("producer cannot close: %d, %s", code, ring_error_detail());
}

/* ---- Consumer ---- */

struct consuming {
    struct soak_end end;
    struct soak_actor *self;
    uint64_t newest[SOAK_LIVES]; /* of each life: one more than the last number seen without flag */
};

static void take(struct consuming *consuming, const void *bytes, size_t length, uint32_t flags)
{
    uint64_t who, where;
    bool flagged = (flags & RING_REDELIVERED) != 0;
    soak_check(bytes, length, &who, &where);
    soak_book(who, flagged);
    if (flagged)
        return;
    uint64_t *newest = &consuming->newest[(who >> 32) - soak_ledger->first_life];
    if ((uint32_t)who < *newest)
        soak_fail("out of order: message 0x%llx came after number %llu of the same producer", (unsigned long long)who,
                  (unsigned long long)*newest - 1);
    *newest = (uint64_t)(uint32_t)who + 1;
    if (soak_ledger->ring.kind != SOAK_SPSC)
        return;
    /* One consumer at a time, one producer at a time: one order for all. */
    uint64_t last = ring_atomic_load(&soak_ledger->newest, memory_order_relaxed);
    if (who < last)
        soak_fail("out of order: message 0x%llx came after 0x%llx", (unsigned long long)who,
                  (unsigned long long)last - 1);
    ring_atomic_store(&soak_ledger->newest, who + 1, memory_order_relaxed);
}

static int64_t receive_one(struct consuming *consuming, struct soak_random *random)
{
    unsigned char buffer[SOAK_LONGEST];
    ring_atomic_store(&consuming->self->in_hand, 1, memory_order_release);
    ssize_t length = verbs()->recv(&consuming->end, buffer, sizeof buffer, any_limit(random));
    if (length >= 0)
        take(consuming, buffer, (size_t)length, verbs()->last_flags(&consuming->end));
    ring_atomic_store(&consuming->self->in_hand, 0, memory_order_release);
    return length < 0 ? length : 1;
}

static int64_t look_at_many(struct consuming *consuming, struct soak_random *random)
{
    struct ring_message seen[SOAK_BATCH];
    ssize_t count = verbs()->peek_batch(&consuming->end, seen, 1 + soak_below(random, SOAK_BATCH), any_limit(random));
    if (count <= 0)
        return count;
    for (ssize_t i = 0; i < count; i++)
        take(consuming, seen[i].data, seen[i].length, seen[i].flags);
    size_t first = soak_below(random, (uint64_t)count + 1);
    int code = verbs()->release(&consuming->end, first);
    if (code == 0 && first < (size_t)count)
        code = verbs()->release(&consuming->end, (size_t)count - first);
    return code ? code : count;
}

void soak_consume(struct soak_actor *self, struct soak_random *random)
{
    static struct consuming consuming;
    consuming.self = self;
    consuming.end.segment = soak_attach(0);
    int code = verbs()->open_consumer(&consuming.end);
    if (code)
        soak_fail("consumer cannot open: %d, %s", code, ring_error_detail());
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
    uint64_t way = soak_below(random, 3), progress = ring_atomic_load(&self->progress, memory_order_relaxed);
    for (;;) {
        bool finish = ring_atomic_load(&soak_ledger->finish, memory_order_acquire) != 0;
        if (!finish)
            soak_doze(self, random);
        if (soak_shall_leave(self))
            break;
        bool peek = way == 2 ? soak_below(random, 2) : way;
        int64_t said = peek ? look_at_many(&consuming, random) : receive_one(&consuming, random);
        if (said < 0 && !soak_is_not_now(said))
            soak_fail("receiving says %lld", (long long)said);
        if ((said == -EPIPE || said == -EOWNERDEAD) && finish) {
            ring_atomic_store(&self->done, 1, memory_order_release);
            break;
        }
        if (said == -EPIPE || said == -EOWNERDEAD)
            soak_nap(50000);
        if (said > 0)
            ring_atomic_store(&self->progress, progress += (uint64_t)said, memory_order_relaxed);
    }
    code = verbs()->close_consumer(&consuming.end);
    if (code)
        soak_fail("consumer cannot close: %d, %s", code, ring_error_detail());
}

/* ---- Somebody who looks, and mends ---- */

void soak_help(struct soak_actor *self, struct soak_random *random)
{
    struct ring_segment *segment = soak_attach(0);
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
    while (!soak_shall_leave(self) && !ring_atomic_load(&soak_ledger->finish, memory_order_acquire)) {
        struct ring_recovery report = { .struct_size = sizeof report };
        struct ring_spsc_info spsc = { .struct_size = sizeof spsc };
        struct ring_mpmc_info mpmc = { .struct_size = sizeof mpmc };
        int code = soak_ledger->ring.kind == SOAK_SPSC ? ring_spsc_info(segment, "soak", &spsc)
                                                       : ring_mpmc_info(segment, "soak", &mpmc);
        if (code && soak_ledger->ring.kind == SOAK_MPMC)
            soak_fail("info says %d, %s", code, ring_error_detail());
        code = ring_segment_recover(segment, &report);
        if (code)
            soak_fail("recover says %d, %s", code, ring_error_detail());
        soak_nap((int64_t)soak_below(random, 2000000));
    }
    ring_segment_close(&segment);
}
