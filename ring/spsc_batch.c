/* spsc_batch.c - level 6: many messages by one signal.
 *
 * Small messages of equal length share one header word (a pack): 32 messages of 8 bytes take 264 bytes instead of 512,
 * and one release store. Larger ones are published one by one, so that the consumer can start on the first while the
 * producer copies the second.
 */
#include <ring/spsc_private.h>

#include <errno.h>

enum {
    PACK_MESSAGE = 256, /* messages up to this length are packed */
};

/* How many messages of that length one record may hold here and now, after looking for room again; or -errno. */
static int64_t fit(struct ring_spsc_producer *producer, size_t length, size_t count, int64_t timeout_ns)
{
    uint64_t pace = ring_spsc_pace((uint32_t)length);
    uint64_t most = pace == 0 || length > PACK_MESSAGE ? 1 : producer->pack_bytes / pace;
    if (most > producer->max_message / (pace ? pace : 1))
        most = producer->max_message / (pace ? pace : 1);
    if (most > count)
        most = count;
    if (most == 0)
        most = 1;
    uint64_t room = producer->limit - producer->position;
    if (RING_UNLIKELY(room < ring_spsc_stride(most * pace))) {
        int code = ring_spsc_try_room(producer, ring_spsc_stride(most * pace));
        if (code && most > 1 && producer->fault == 0 && !producer->reserved)
            code = producer->limit - producer->position >= ring_spsc_stride(pace) ? 0 : code;
        if (code == -EAGAIN)
            code = ring_spsc_make_room(producer, ring_spsc_stride(pace), timeout_ns);
        if (code)
            return code;
        room = producer->limit - producer->position;
    }
    uint64_t fitting = most > 1 ? (room - RING_RECORD_HEADER) / pace : 1;
    return (int64_t)(fitting < most ? fitting : most);
}

static unsigned char *payload_at(struct ring_spsc_producer *producer)
{
    return producer->data + (producer->position & producer->mask) + RING_RECORD_HEADER;
}

/* Publishes `count` messages of `length` bytes that were written at payload_at(). */
static void publish(struct ring_spsc_producer *producer, size_t length, uint64_t count)
{
    uint64_t payload = count > 1 ? count * ring_spsc_pace((uint32_t)length) : length;
    uint64_t position = producer->position;
    producer->position = position + ring_spsc_stride(payload);
    ring_spsc_publish(producer, position, NULL, 0, count << 32 | length, ring_spsc_stride(payload));
}

ssize_t ring_spsc_send_array(struct ring_spsc_producer *producer, const void *messages, size_t length, size_t count,
                             int64_t timeout_ns)
{
    const unsigned char *from = messages;
    size_t sent = 0;
    if (length > producer->max_message || (!messages && length && count))
        return ring_spsc_refuse_length(producer, messages, length);
    while (sent < count) {
        int64_t now = fit(producer, length, count - sent, sent ? RING_NO_WAIT : timeout_ns);
        if (now < 0)
            return sent ? (ssize_t)sent : (ssize_t)now;
        unsigned char *payload = payload_at(producer);
        uint64_t pace = ring_spsc_pace((uint32_t)length);
        if (length && (pace == length || now == 1))
            memcpy(payload, from, (size_t)now * length);
        else
            for (int64_t i = 0; i < now && length; i++)
                memcpy(payload + (uint64_t)i * pace, from + (size_t)i * length, length);
        publish(producer, length, (uint64_t)now);
        from += (size_t)now * length;
        sent += (size_t)now;
    }
    return (ssize_t)sent;
}

/* Length of the run of messages from the first that have its length. */
static size_t run_of(const struct ring_message *messages, size_t count)
{
    size_t run = 1;
    while (run < count && messages[run].length == messages[0].length)
        run++;
    return run;
}

ssize_t ring_spsc_send_batch(struct ring_spsc_producer *producer, const struct ring_message *messages, size_t count,
                             int64_t timeout_ns)
{
    if (!messages && count)
        return -EINVAL;
    size_t sent = 0;
    while (sent < count) {
        const struct ring_message *first = messages + sent;
        size_t length = first->length;
        int64_t now;
        if (length > producer->max_message || (!first->data && length))
            now = ring_spsc_refuse_length(producer, first->data, length);
        else
            now = fit(producer, length, length > PACK_MESSAGE ? 1 : run_of(first, count - sent),
                      sent ? RING_NO_WAIT : timeout_ns);
        for (int64_t i = 1; i < now; i++)
            if (!first[i].data && length)
                now = i;
        if (now < 0)
            return sent ? (ssize_t)sent : (ssize_t)now;
        unsigned char *payload = payload_at(producer);
        for (int64_t i = 0; i < now && length; i++)
            memcpy(payload + (uint64_t)i * ring_spsc_pace((uint32_t)length), first[i].data, length);
        publish(producer, length, (uint64_t)now);
        sent += (size_t)now;
    }
    return (ssize_t)sent;
}

/* A place between two messages, ahead of the consumer's own. */
struct cursor {
    uint64_t position;
    struct ring_spsc_pack pack;
};

/* Shows the message at the cursor and moves it on: 0, -EAGAIN or -EUCLEAN. */
static int step(struct ring_spsc_consumer *consumer, struct cursor *cursor, struct ring_message *message)
{
    struct ring_spsc_record record = { 0, 0, 0 };
    if (!cursor->pack.count) {
        int code = ring_spsc_decode(consumer->ring_data, consumer->ring_mask, consumer->max_message, cursor->position,
                                    &record);
        if (code)
            return code;
        if (record.count > 1)
            cursor->pack = (struct ring_spsc_pack){ record.count, 0, record.length };
    }
    unsigned char *payload = consumer->ring_data + (cursor->position & consumer->ring_mask) + RING_RECORD_HEADER;
    bool doubt = cursor->position - consumer->position < consumer->redelivered_until - consumer->position &&
                 consumer->redelivered_until - consumer->position <= consumer->ring_mask;
    message->flags = doubt ? RING_REDELIVERED : 0;
    struct ring_spsc_pack *pack = &cursor->pack;
    if (!pack->count) {
        *message = (struct ring_message){ payload, record.length, message->flags };
        cursor->position += record.stride;
        return 0;
    }
    *message =
        (struct ring_message){ payload + pack->taken * ring_spsc_pace(pack->length), pack->length, message->flags };
    if (++pack->taken == pack->count) {
        cursor->position += ring_spsc_stride(pack->count * ring_spsc_pace(pack->length));
        *pack = (struct ring_spsc_pack){ 0, 0, 0 };
    }
    return 0;
}

ssize_t ring_spsc_peek_batch(struct ring_spsc_consumer *consumer, struct ring_message *messages, size_t count,
                             int64_t timeout_ns)
{
    if (!messages && count)
        return -EINVAL;
    int code = ring_spsc_await(consumer, timeout_ns);
    if (code < 0 || count == 0)
        return code < 0 ? code : 0;
    struct cursor cursor = { consumer->position, consumer->pack };
    uint32_t seen = 0;
    code = 0;
    while (seen < count && seen < UINT32_MAX && cursor.position - consumer->position < consumer->ring_mask &&
           (code = step(consumer, &cursor, &messages[seen])) == 0)
        seen++;
    if (code == -EUCLEAN || seen == 0)
        return ring_spsc_poison(consumer);
    consumer->peeked_count = seen;
    consumer->peeked_position = cursor.position;
    consumer->peeked_pack = cursor.pack;
    uint64_t end = cursor.position; /* of the last record that was seen, if only in part */
    if (cursor.pack.count)
        end += ring_spsc_stride(cursor.pack.count * ring_spsc_pace(cursor.pack.length));
    /* C5: relaxed; read only after the lock of this role was found free. */
    ring_atomic_store(&consumer->control->head_peeked, end, memory_order_relaxed);
    return seen;
}

/* Copies a whole record like the last one. What to do with it comes from memory of our own, not from its header, so the
 * core runs ahead of the header's arrival, as in ring_spsc_look(). 0: another record, or no room for all of it. */
static size_t take_usual_record(struct ring_spsc_consumer *consumer, unsigned char *to, size_t length, size_t count)
{
    const struct ring_spsc_record usual = consumer->usual_record;
    uint64_t position = consumer->position;
    const unsigned char *record = consumer->data + (position & consumer->mask);
    /* C1: acquire, pairs with P2. */
    uint64_t header = ring_atomic_load((const RING_ATOMIC(uint64_t) *)(const void *)record, memory_order_acquire);
    if (header != ((uint64_t)usual.count << 32 | usual.length) || length != usual.length || count < usual.count)
        return 0;
    if (length)
        memcpy(to, record + RING_RECORD_HEADER, usual.count * length);
    ring_spsc_consumed(consumer, position + usual.stride);
    return usual.count;
}

/* Copies what fits of the record at the consumer's position and takes it. The number of messages; 0: other length. */
static ssize_t take_record(struct ring_spsc_consumer *consumer, unsigned char *to, size_t length, size_t count)
{
    const unsigned char *payload =
        consumer->ring_data + (consumer->position & consumer->ring_mask) + RING_RECORD_HEADER;
    struct ring_spsc_pack pack = consumer->pack;
    struct ring_spsc_record record = { 0, pack.count, pack.length };
    if (!pack.count) {
        int code = ring_spsc_decode(consumer->ring_data, consumer->ring_mask, consumer->max_message, consumer->position,
                                    &record);
        if (code)
            return code;
        pack = (struct ring_spsc_pack){ record.count, 0, record.length };
    }
    if (record.length != length)
        return 0;
    uint64_t pace = ring_spsc_pace(record.length);
    size_t now = pack.count - pack.taken < count ? pack.count - pack.taken : count;
    payload += pack.taken * pace;
    if (length && pace == length)
        memcpy(to, payload, now * length);
    else
        for (size_t i = 0; i < now && length; i++)
            memcpy(to + i * length, payload + i * pace, length);
    pack.taken += (uint32_t)now;
    uint64_t end = consumer->position;
    if (pack.taken == pack.count) {
        uint64_t stride = ring_spsc_stride(pack.count > 1 ? pack.count * pace : length);
        if (now == pack.count && (pace == length || now == 1)) /* whole, and without gaps between its messages */
            consumer->usual_record = (struct ring_spsc_record){ stride, pack.count, pack.length };
        end += stride;
        pack = (struct ring_spsc_pack){ 0, 0, 0 };
    }
    ring_spsc_move_to(consumer, end, pack);
    return (ssize_t)now;
}

ssize_t ring_spsc_recv_array(struct ring_spsc_consumer *consumer, void *messages, size_t length, size_t count,
                             int64_t timeout_ns)
{
    if (!messages && length && count)
        return -EINVAL;
    unsigned char *to = messages;
    size_t received = 0;
    for (size_t now; received < count && (now = take_usual_record(consumer, to, length, count - received)) != 0;) {
        to += now * length;
        received += now;
    }
    if (received == count && count)
        return (ssize_t)received;
    int code = received ? 0 : ring_spsc_await(consumer, timeout_ns);
    if (code < 0 || count == 0)
        return code < 0 ? code : 0;
    while (received < count) {
        ssize_t now = take_record(consumer, to, length, count - received);
        if (now == -EUCLEAN && !received)
            return ring_spsc_poison(consumer);
        if (now <= 0)
            break;
        to += (size_t)now * length;
        received += (size_t)now;
    }
    return received ? (ssize_t)received : -EMSGSIZE;
}
