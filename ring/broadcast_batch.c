/* broadcast_batch.c - level 6: many messages by one call. Each is published by itself, so that consumers can start on
 * the first while the last is written; the call's fixed costs are paid once. */
#include <ring/broadcast_private.h>

#include <errno.h>

/* Sends one message inside the guard; the caller has checked the length. */
RING_INLINE void send_one(struct ring_broadcast_producer *producer, const void *message, size_t length)
{
    uint64_t position = producer->position;
    ring_broadcast_copy_in(producer->data + (position & producer->mask) * producer->stride + RING_BROADCAST_WORD_BYTES,
                           message, length);
    ring_broadcast_publish(producer, position, length);
}

/* Is there room for one more? Only the first is waited for. */
static int room(struct ring_broadcast_producer *producer, bool first, int64_t timeout_ns)
{
    if (RING_LIKELY(producer->position != producer->limit))
        return 0;
    return ring_broadcast_find_room(producer, first ? timeout_ns : RING_NO_WAIT);
}

ssize_t ring_broadcast_send_array(struct ring_broadcast_producer *producer, const void *messages, size_t length,
                                  size_t count, int64_t timeout_ns)
{
    if (length > producer->slot_bytes || (!messages && length && count))
        return ring_broadcast_refuse_length(producer, messages, length);
    int code = ring_guard_enter(&producer->guarded);
    if (code)
        return code;
    const unsigned char *from = messages;
    size_t sent = 0;
    while (sent < count && (code = room(producer, sent == 0, timeout_ns)) == 0) {
        send_one(producer, from, length);
        from += length;
        sent++;
    }
    ring_guard_leave(&producer->guarded);
    return sent ? (ssize_t)sent : code;
}

ssize_t ring_broadcast_send_batch(struct ring_broadcast_producer *producer, const struct ring_message *messages,
                                  size_t count, int64_t timeout_ns)
{
    if (!messages && count)
        return -EINVAL;
    if (count && (messages[0].length > producer->slot_bytes || (!messages[0].data && messages[0].length)))
        return ring_broadcast_refuse_length(producer, messages[0].data, messages[0].length);
    int code = ring_guard_enter(&producer->guarded);
    if (code)
        return code;
    size_t sent = 0;
    while (sent < count) {
        const struct ring_message *next = messages + sent;
        if (next->length > producer->slot_bytes || (!next->data && next->length))
            break; /* the caller finds out when it comes to be the first */
        code = room(producer, sent == 0, timeout_ns);
        if (code)
            break;
        send_one(producer, next->data, next->length);
        sent++;
    }
    ring_guard_leave(&producer->guarded);
    return sent ? (ssize_t)sent : code;
}

ssize_t ring_broadcast_peek_batch(struct ring_broadcast_consumer *consumer, struct ring_message *messages, size_t count,
                                  int64_t timeout_ns)
{
    if (!messages && count)
        return -EINVAL;
    int code = ring_guard_enter(&consumer->guarded);
    if (code)
        return code;
    struct ring_broadcast_view view;
    code = count ? ring_broadcast_next(consumer, &view, timeout_ns) : 0;
    if (code)
        return code;
    uint64_t position = consumer->position;
    uint64_t most = consumer->ring_mask < count ? consumer->ring_mask : count;
    uint64_t seen = 0;
    for (; seen < most; seen++) {
        view = ring_broadcast_look(consumer, position + seen);
        if (view.length > consumer->slot_bytes)
            break;
        messages[seen] = (struct ring_message){ ring_broadcast_message(&view), view.length, 0 };
    }
    if (RING_UNLIKELY(seen == 0 && count)) /* it was there a moment ago */
        return ring_broadcast_overtaken(consumer);
    consumer->peeked_end = position + seen;
    ring_guard_leave(&consumer->guarded);
    return (ssize_t)seen;
}

ssize_t ring_broadcast_recv_array(struct ring_broadcast_consumer *consumer, void *messages, size_t length, size_t count,
                                  int64_t timeout_ns)
{
    if (!messages && length && count)
        return -EINVAL;
    int code = ring_guard_enter(&consumer->guarded);
    if (code)
        return code;
    struct ring_broadcast_view view;
    code = count ? ring_broadcast_next(consumer, &view, timeout_ns) : 0;
    if (code)
        return code;
    unsigned char *to = messages;
    size_t received = 0;
    while (received < count && (view = ring_broadcast_look(consumer, consumer->position)).length == length &&
           length <= consumer->slot_bytes) {
        ring_broadcast_copy_out(to, ring_broadcast_message(&view), length);
        if (RING_UNLIKELY(!ring_broadcast_held(&view)))
            break; /* the next call tells, if this one has something to show */
        ring_broadcast_consumed(consumer, consumer->position + 1);
        to += length;
        received++;
    }
    if (RING_UNLIKELY(!received && count &&
                      ring_broadcast_look(consumer, consumer->position).length > consumer->slot_bytes))
        return ring_broadcast_overtaken(consumer);
    ring_guard_leave(&consumer->guarded);
    return received || !count ? (ssize_t)received : -EMSGSIZE;
}
