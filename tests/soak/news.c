/* news.c - the producer, the consumers and the observers of a broadcast ring.
 *
 * A consumer's place is a stream: whoever holds it goes on where its predecessor has booked to. So each stream comes to
 * every position, either as a message, whose sender and number must follow those before, or as one of those that
 * -EOVERFLOW counts. The book of a stream has two pages, of which a word says which is valid: a death leaves one whole.
 */
#include "soak.h"

static int64_t any_limit(struct soak_random *random)
{
    return soak_below(random, 8) ? (int64_t)soak_below(random, 5000000) : RING_NO_WAIT;
}

/* ---- Producer ---- */

static int64_t tell(struct ring_broadcast_producer *producer, struct soak_life *life, uint64_t who, bool in_place,
                    struct soak_random *random)
{
    unsigned char message[SOAK_LONGEST];
    void *place = message;
    size_t length = SOAK_SHORTEST + soak_below(random, soak_ledger->ring.longest - SOAK_SHORTEST + 1);
    int64_t limit = any_limit(random);
    int code = in_place ? ring_broadcast_reserve(producer, length, &place, limit) : 0;
    if (code)
        return code;
    soak_write(place, length, who, ring_broadcast_sent(producer));
    if (in_place && soak_below(random, 8) == 0)
        return ring_broadcast_cancel(producer);
    ring_atomic_store(&life->began, (uint64_t)(uint32_t)who + 1, memory_order_release);
    code = in_place ? ring_broadcast_commit(producer, length) : ring_broadcast_send(producer, message, length, limit);
    if (code)
        return code;
    ring_atomic_store(&life->sent, (uint64_t)(uint32_t)who + 1, memory_order_release);
    return 1;
}

void soak_tell_news(struct soak_actor *self, uint64_t number, struct soak_random *random)
{
    static struct ring_broadcast_producer producer;
    struct ring_segment *segment = soak_attach(0);
    uint64_t who = number << 32;
    struct soak_life *life = soak_life_of(who);
    int code = ring_broadcast_open_producer(&producer, segment, "soak", RING_NO_WAIT);
    if (code)
        soak_fail("producer cannot open: %d, %s", code, ring_error_detail());
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
    uint64_t way = soak_below(random, 3);
    while (!soak_shall_leave(self) && (uint32_t)who < SOAK_LIFE_MESSAGES) {
        soak_doze(self, random);
        int64_t said = tell(&producer, life, who, way == 2 ? soak_below(random, 2) : way, random);
        if (said < 0)
            ring_atomic_store(&life->began, (uint64_t)(uint32_t)who, memory_order_release);
        if (said < 0 && !soak_is_not_now(said))
            soak_fail("sending says %lld", (long long)said);
        if (said > 0)
            who++;
    }
    code = ring_broadcast_close_producer(&producer);
    if (code)
        soak_fail("producer cannot close: %d, %s", code, ring_error_detail());
}

/* ---- Consumer ---- */

struct hearing {
    struct ring_broadcast_consumer consumer;
    struct soak_actor *self;
    struct soak_stream stream;
    bool heard; /* anything since it joined */
};

static void book(struct hearing *hearing)
{
    struct soak_actor *self = hearing->self;
    uint32_t other = !ring_atomic_load(&self->stream_now, memory_order_relaxed);
    self->streams[other] = hearing->stream;
    ring_atomic_store(&self->stream_now, other, memory_order_release);
    ring_atomic_store(&self->progress, hearing->stream.received + hearing->stream.lost, memory_order_relaxed);
}

/* Is `who` the one to come after `last`? The producers between them are gone. */
static void check_follows(uint64_t last, uint64_t who)
{
    uint64_t life = last >> 32;
    if (last == SOAK_NOBODY || who == last + 1)
        return;
    if (who >> 32 <= life || (uint32_t)who != 0)
        soak_fail("message 0x%llx came after 0x%llx: some are missing between them", (unsigned long long)who,
                  (unsigned long long)last);
    if ((uint32_t)last + UINT64_C(1) < ring_atomic_load(&soak_life_of(last)->sent, memory_order_acquire))
        soak_fail("message 0x%llx came after 0x%llx, whose producer had sent more", (unsigned long long)who,
                  (unsigned long long)last);
    for (life++; life < who >> 32; life++)
        if (ring_atomic_load(&soak_life_of(life << 32)->sent, memory_order_acquire) != 0)
            soak_fail("message 0x%llx came after 0x%llx: those of producer 0x%llx are missing", (unsigned long long)who,
                      (unsigned long long)last, (unsigned long long)life);
}

/* Checks a copy that is known to be whole. */
static void take_news(struct hearing *hearing, const void *bytes, size_t length)
{
    uint64_t who, where;
    soak_check(bytes, length, &who, &where);
    if (where != hearing->stream.next)
        soak_fail("message of position %llu came as that of %llu", (unsigned long long)where,
                  (unsigned long long)hearing->stream.next);
    if ((uint32_t)who >= ring_atomic_load(&soak_life_of(who)->began, memory_order_acquire))
        soak_fail("message 0x%llx came before it was sent", (unsigned long long)who);
    check_follows(hearing->stream.last, who);
    hearing->stream.last = who;
    hearing->stream.next++;
    hearing->stream.received++;
    hearing->heard = true;
}

static void lose_news(struct hearing *hearing)
{
    uint64_t lost = ring_broadcast_lost(&hearing->consumer);
    if (soak_ledger->ring.policy == RING_BROADCAST_LOSSLESS && hearing->heard)
        soak_fail("%llu messages lost in a lossless ring", (unsigned long long)lost);
    hearing->stream.next += lost;
    hearing->stream.lost += lost;
    hearing->stream.last = SOAK_NOBODY;
    hearing->heard = true;
    if (lost == 0 || hearing->stream.next != ring_broadcast_position(&hearing->consumer))
        soak_fail("%llu lost, and yet the position is %llu, not %llu", (unsigned long long)lost,
                  (unsigned long long)ring_broadcast_position(&hearing->consumer),
                  (unsigned long long)hearing->stream.next);
}

static int64_t hear(struct hearing *hearing, bool peek, struct soak_random *random)
{
    unsigned char buffer[SOAK_LONGEST];
    struct ring_message seen;
    ssize_t length;
    if (peek) {
        length = ring_broadcast_peek(&hearing->consumer, &seen, any_limit(random));
        if (length == 0) {
            length = (ssize_t)seen.length;
            memcpy(buffer, seen.data, seen.length);
            int code = ring_broadcast_release(&hearing->consumer, 1);
            length = code ? code : length;
        }
    } else {
        length = ring_broadcast_recv(&hearing->consumer, buffer, sizeof buffer, any_limit(random));
    }
    if (length >= 0)
        take_news(hearing, buffer, (size_t)length);
    else if (length == -EOVERFLOW)
        lose_news(hearing);
    if (length >= 0 || length == -EOVERFLOW)
        book(hearing);
    return length == -EOVERFLOW ? 0 : length;
}

void soak_hear_news(struct soak_actor *self, struct soak_random *random)
{
    static struct hearing hearing;
    struct ring_segment *segment = soak_attach(0);
    hearing.self = self;
    hearing.stream = self->streams[ring_atomic_load(&self->stream_now, memory_order_acquire)];
    int code = ring_broadcast_open_consumer(&hearing.consumer, segment, "soak", RING_BROADCAST_AT, hearing.stream.next,
                                            RING_NO_WAIT);
    if (code)
        soak_fail("consumer cannot open: %d, %s", code, ring_error_detail());
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
    uint64_t way = soak_below(random, 3);
    for (;;) {
        bool finish = ring_atomic_load(&soak_ledger->finish, memory_order_acquire) != 0;
        if (!finish)
            soak_doze(self, random);
        if (soak_shall_leave(self))
            break;
        int64_t said = hear(&hearing, way == 2 ? soak_below(random, 2) : way, random);
        if (said < 0 && !soak_is_not_now(said))
            soak_fail("receiving says %lld", (long long)said);
        if ((said == -EPIPE || said == -EOWNERDEAD) && finish) {
            ring_atomic_store(&self->done, 1, memory_order_release);
            break;
        }
        if (said == -EPIPE || said == -EOWNERDEAD)
            soak_nap(50000);
    }
    code = ring_broadcast_close_consumer(&hearing.consumer);
    if (code)
        soak_fail("consumer cannot close: %d, %s", code, ring_error_detail());
}

/* Reads along without a seat, from a mapping that cannot be written; may be overtaken, must not be deceived. */
void soak_observe_news(struct soak_actor *self, struct soak_random *random)
{
    static struct ring_broadcast_consumer observer;
    unsigned char buffer[SOAK_LONGEST];
    struct ring_segment *segment = soak_attach(RING_READ_ONLY);
    enum ring_broadcast_join join = soak_below(random, 2) ? RING_BROADCAST_NEWEST : RING_BROADCAST_OLDEST;
    int code = ring_broadcast_open_observer(&observer, segment, "soak", join, 0, RING_NO_WAIT);
    if (code)
        soak_fail("observer cannot open: %d, %s", code, ring_error_detail());
    ring_atomic_store(&self->state, SOAK_AT_WORK, memory_order_release);
    while (!soak_shall_leave(self) && !ring_atomic_load(&soak_ledger->finish, memory_order_acquire)) {
        uint64_t who, where, expected = ring_broadcast_position(&observer);
        ssize_t length = ring_broadcast_recv(&observer, buffer, sizeof buffer, any_limit(random));
        if (length >= 0) {
            soak_check(buffer, (size_t)length, &who, &where);
            if (where != expected)
                soak_fail("observer: message of position %llu came as that of %llu", (unsigned long long)where,
                          (unsigned long long)expected);
        } else if (length != -EOVERFLOW && !soak_is_not_now(length)) {
            soak_fail("observing says %zd", length);
        }
        if (length == -EPIPE || length == -EOWNERDEAD || soak_below(random, 64) == 0)
            soak_nap((int64_t)soak_below(random, 200000));
    }
    ring_broadcast_close_consumer(&observer);
}
