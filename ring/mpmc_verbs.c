/* mpmc_verbs.c - level 6: sending and receiving, one message or a batch; claims are made in mpmc.c.
 *
 * Positions claimed and not yet filled (freed) beyond the call are `held`: one reserved, or those peeked.
 */
#include <ring/mpmc_private.h>

#include <errno.h>

static unsigned char *payload(const struct ring_mpmc_end *end, uint64_t position)
{
    return (unsigned char *)(uintptr_t)ring_mpmc_slot(&end->view, position) + 8;
}

/* Ends a call that the guard let in. */
static void leave(struct ring_mpmc_end *end)
{
    ring_mpmc_settle(end);
    ring_guard_leave(&end->guarded);
}

/* ---- Producer ---- */

/* 0, or why nothing may be sent. The guard is held. */
static int check_sending(const struct ring_mpmc_end *end, const void *message, size_t length, bool needs_message)
{
    if (RING_UNLIKELY(end->fault))
        return end->fault;
    if (RING_UNLIKELY(length > end->max_message))
        return -EMSGSIZE;
    if (RING_UNLIKELY(needs_message && !message && length))
        return -EINVAL;
    return RING_UNLIKELY(end->held_count) ? -EBUSY : 0;
}

static void put(struct ring_mpmc_end *end, uint64_t position, const void *message, size_t length)
{
    if (length)
        ring_copy_in(payload(end, position), message, length);
    ring_mpmc_fill(end, position, RING_SLOT_READY | length);
}

/* Fills slots that lie in a row, each with that word. */
RING_INLINE void put_row(RING_ATOMIC(uint64_t) * slot, uint64_t stride, uint64_t word, const unsigned char *from,
                         size_t length, unsigned count)
{
    RING_UNROLL
    for (unsigned i = 0; i < count; i++, from += length, slot = ring_mpmc_after(slot, stride)) {
        if (length)
            ring_copy(slot + 1, from, length);
        ring_atomic_store(slot, word, memory_order_release); /* M4 */
    }
}

/* Takes the messages of slots that lie in a row, and frees each with that word. */
RING_INLINE void get_row(RING_ATOMIC(uint64_t) * slot, uint64_t stride, uint64_t word, unsigned char *to, size_t length,
                         unsigned count)
{
    RING_UNROLL
    for (unsigned i = 0; i < count; i++, to += length, slot = ring_mpmc_after(slot, stride)) {
        if (length)
            ring_copy(to, slot + 1, length);
        ring_atomic_store(slot, word, memory_order_release); /* M8 */
    }
}

static void put_array(struct ring_mpmc_end *end, uint64_t position, const unsigned char *from, size_t length,
                      unsigned count)
{
    struct ring_mpmc_row row = ring_mpmc_row(end);
    while (count) {
        unsigned now = ring_mpmc_in_a_row(&row, position, count);
        RING_ATOMIC(uint64_t) *slot = ring_mpmc_word_in(&row, position);
        uint64_t word = ring_mpmc_free_word(position, row.shift) | RING_SLOT_READY | length;
        if (length == 8 && row.stride == 16)
            put_row(slot, 16, word, from, 8, now);
        else if (length == 8)
            put_row(slot, row.stride, word, from, 8, now);
        else
            put_row(slot, row.stride, word, from, length, now);
        position += now;
        from += now * length;
        count -= now;
    }
}

static void get_array(struct ring_mpmc_end *end, uint64_t position, unsigned char *to, size_t length, unsigned count)
{
    struct ring_mpmc_row row = ring_mpmc_row(end);
    while (count) {
        unsigned now = ring_mpmc_in_a_row(&row, position, count);
        RING_ATOMIC(uint64_t) *slot = ring_mpmc_word_in(&row, position);
        uint64_t word = ring_mpmc_free_word(position, row.shift) + (UINT64_C(1) << RING_SLOT_LAP);
        if (length == 8 && row.stride == 16)
            get_row(slot, 16, word, to, 8, now);
        else if (length == 8)
            get_row(slot, row.stride, word, to, 8, now);
        else
            get_row(slot, row.stride, word, to, length, now);
        position += now;
        to += now * length;
        count -= now;
    }
}

static int send_one(struct ring_mpmc_end *end, const void *message, size_t length, int64_t timeout_ns)
{
    struct ring_mpmc_ask ask = { .most = 1 };
    int code = check_sending(end, message, length, true);
    if (RING_LIKELY(!code))
        code = ring_mpmc_claim(end, &ask, timeout_ns);
    if (RING_UNLIKELY(code < 0))
        return code;
    put(end, ask.position, message, length);
    ring_mpmc_finish(end);
    return 0;
}

int ring_mpmc_send_general(struct ring_mpmc_end *end, const void *message, size_t length, int64_t timeout_ns)
{
    int code = send_one(end, message, length, timeout_ns);
    ring_mpmc_settle(end);
    return code;
}

int ring_mpmc_send_revoked(struct ring_mpmc_end *end, uint64_t position, const void *message, size_t length)
{
    bool counted = ring_mpmc_demote(end);
    if (counted) {
        put(end, position, message, length);
        ring_mpmc_finish(end);
    }
    ring_mpmc_settle(end);
    return counted ? 0 : 1;
}

int ring_mpmc_reserve(struct ring_mpmc_producer *producer, size_t length, void **message, int64_t timeout_ns)
{
    struct ring_mpmc_end *end = &producer->end;
    struct ring_mpmc_ask ask = { .most = 1 };
    *message = NULL;
    int code = ring_guard_enter(&end->guarded);
    if (code)
        return code;
    code = check_sending(end, NULL, length, false);
    if (!code)
        code = ring_mpmc_claim(end, &ask, timeout_ns);
    if (code > 0) {
        end->held = ask.position;
        end->held_count = 1;
        end->reserved = length;
        *message = payload(end, ask.position);
        code = 0;
    }
    leave(end);
    return code;
}

/* Fills the reserved position with that word. */
static int end_reservation(struct ring_mpmc_end *end, uint64_t word)
{
    int code = ring_guard_enter(&end->guarded);
    if (code)
        return code;
    if (!end->held_count || (word & RING_SLOT_LENGTH) > end->reserved)
        code = -EINVAL;
    else {
        ring_mpmc_fill(end, end->held, word);
        end->held_count = 0;
        ring_mpmc_finish(end);
    }
    leave(end);
    return code;
}

int ring_mpmc_commit(struct ring_mpmc_producer *producer, size_t length)
{
    if (length > RING_MPMC_MAX_SLOT_BYTES)
        return -EINVAL;
    return end_reservation(&producer->end, RING_SLOT_READY | length);
}

int ring_mpmc_cancel(struct ring_mpmc_producer *producer)
{
    return end_reservation(&producer->end, RING_SLOT_SKIP);
}

/* Sends some of the messages: of one claim. `messages` or `array` (of `length` bytes each). */
static int send_some(struct ring_mpmc_end *end, const struct ring_message *messages, const unsigned char *array,
                     size_t length, size_t count, int64_t timeout_ns)
{
    unsigned most = count < RING_INTENT_MOST ? (unsigned)count : RING_INTENT_MOST;
    unsigned good = 0;
    int code = 0;
    for (; messages && good < most && code == 0; good += code == 0)
        code = check_sending(end, messages[good].data, messages[good].length, true);
    if (!messages) {
        code = check_sending(end, array, length, true);
        good = most;
    }
    if (code && good == 0)
        return code;
    if (code && !messages)
        return code;
    struct ring_mpmc_ask ask = { .most = good };
    int claimed = ring_mpmc_claim(end, &ask, timeout_ns);
    if (claimed > 0 && !messages)
        put_array(end, ask.position, array, length, (unsigned)claimed);
    for (int i = 0; messages && i < claimed; i++)
        put(end, ask.position + (unsigned)i, messages[i].data, messages[i].length);
    if (claimed > 0)
        ring_mpmc_finish(end);
    return claimed;
}

static ssize_t send_many(struct ring_mpmc_end *end, const struct ring_message *messages, const unsigned char *array,
                         size_t length, size_t count, int64_t timeout_ns)
{
    int code = ring_guard_enter(&end->guarded);
    if (code)
        return code;
    size_t sent = 0;
    code = end->fault;
    while (code >= 0 && sent < count) {
        code = send_some(end, messages ? messages + sent : NULL, array ? array + sent * length : NULL, length,
                         count - sent, sent ? RING_NO_WAIT : timeout_ns);
        if (code > 0)
            sent += (size_t)code;
    }
    leave(end);
    return sent || code > 0 ? (ssize_t)sent : code;
}

ssize_t ring_mpmc_send_batch(struct ring_mpmc_producer *producer, const struct ring_message *messages, size_t count,
                             int64_t timeout_ns)
{
    if (!messages && count)
        return -EINVAL;
    return send_many(&producer->end, messages, NULL, 0, count, timeout_ns);
}

ssize_t ring_mpmc_send_array(struct ring_mpmc_producer *producer, const void *messages, size_t length, size_t count,
                             int64_t timeout_ns)
{
    return send_many(&producer->end, NULL, messages, length, count, timeout_ns);
}

/* ---- Consumer ---- */

/* Claims messages and holds them. Their number. */
static int take(struct ring_mpmc_end *end, struct ring_mpmc_ask *ask, int64_t timeout_ns)
{
    int count = ring_mpmc_claim(end, ask, timeout_ns);
    if (count > 0) {
        end->held = ask->position;
        end->held_count = (unsigned)count;
        end->held_flags = ask->flags;
        end->last_flags = ask->flags;
    }
    return count;
}

/* A held message, its word read and checked again: a peer may have changed it. */
static int show_held(struct ring_mpmc_end *end, unsigned index, struct ring_message *message)
{
    RING_ATOMIC(uint64_t) *slot = ring_mpmc_slot(&end->view, end->held + index);
    uint64_t word = ring_atomic_load(slot, memory_order_relaxed); /* M7: ours; read with acquire before */
    size_t length = word & RING_SLOT_LENGTH;
    if (length > end->max_message)
        return ring_mpmc_fail(end, -EUCLEAN);
    *message = (struct ring_message){ (unsigned char *)(uintptr_t)slot + 8, length, end->held_flags };
    return 0;
}

static void release_held(struct ring_mpmc_end *end, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ring_mpmc_free_slot(end, end->held++, end->held_flags);
    end->held_count -= count;
    if (end->held_count == 0)
        ring_mpmc_finish(end);
    else
        ring_mpmc_wake_others(end);
}

static ssize_t recv_held(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact)
{
    struct ring_message message = { NULL, 0, 0 };
    int code = show_held(end, 0, &message);
    if (code)
        return code;
    if (message.length > size || (exact && message.length != size))
        return -EMSGSIZE;
    if (message.length)
        ring_copy(buffer, message.data, message.length);
    end->last_flags = message.flags;
    release_held(end, 1);
    return (ssize_t)message.length;
}

static ssize_t recv_one(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact, int64_t timeout_ns)
{
    if (RING_UNLIKELY(!buffer && size))
        return -EINVAL;
    if (RING_UNLIKELY(end->fault))
        return end->fault;
    if (RING_UNLIKELY(end->held_count))
        return recv_held(end, buffer, size, exact);
    struct ring_mpmc_ask ask = { .most = 1, .size = size, .exact = exact };
    int code = ring_mpmc_claim(end, &ask, timeout_ns);
    if (RING_UNLIKELY(code < 0))
        return code;
    if (ask.length)
        ring_copy(buffer, payload(end, ask.position), ask.length);
    ring_mpmc_free_slot(end, ask.position, ask.flags);
    end->last_flags = ask.flags;
    ring_mpmc_finish(end);
    return (ssize_t)ask.length;
}

ssize_t ring_mpmc_recv_general(struct ring_mpmc_end *end, void *buffer, size_t size, bool exact, int64_t timeout_ns)
{
    ssize_t length = recv_one(end, buffer, size, exact, timeout_ns);
    ring_mpmc_settle(end);
    return length;
}

int ring_mpmc_recv_revoked(struct ring_mpmc_end *end, uint64_t position, void *buffer, size_t length)
{
    bool counted = ring_mpmc_demote(end);
    if (counted) {
        if (length)
            ring_copy(buffer, payload(end, position), length);
        ring_mpmc_free_slot(end, position, 0);
        end->last_flags = 0;
        end->taken++;
        ring_mpmc_finish(end);
    }
    ring_mpmc_settle(end);
    return counted ? 0 : 1;
}

/* Shows up to `count` messages: those held, or new ones. */
static int peek_some(struct ring_mpmc_end *end, struct ring_message *messages, size_t count, int64_t timeout_ns)
{
    if (end->fault)
        return end->fault;
    if (count == 0)
        return 0;
    if (!end->held_count) {
        struct ring_mpmc_ask ask = { .most = count < RING_INTENT_MOST ? (unsigned)count : RING_INTENT_MOST,
                                     .size = end->max_message,
                                     .messages = messages };
        return take(end, &ask, timeout_ns);
    }
    unsigned shown = 0;
    int code = 0;
    end->last_flags = end->held_flags;
    while (shown < end->held_count && shown < count && code == 0) {
        code = show_held(end, shown, &messages[shown]);
        shown++;
    }
    return code ? code : (int)shown;
}

ssize_t ring_mpmc_peek_batch(struct ring_mpmc_consumer *consumer, struct ring_message *messages, size_t count,
                             int64_t timeout_ns)
{
    if (!messages && count)
        return -EINVAL;
    struct ring_mpmc_end *end = &consumer->end;
    int code = ring_guard_enter(&end->guarded);
    if (code)
        return code;
    code = peek_some(end, messages, count, timeout_ns);
    leave(end);
    return code;
}

int ring_mpmc_peek(struct ring_mpmc_consumer *consumer, struct ring_message *message, int64_t timeout_ns)
{
    ssize_t shown = ring_mpmc_peek_batch(consumer, message, 1, timeout_ns);
    return shown < 0 ? (int)shown : 0;
}

int ring_mpmc_release(struct ring_mpmc_consumer *consumer, size_t count)
{
    struct ring_mpmc_end *end = &consumer->end;
    int code = ring_guard_enter(&end->guarded);
    if (code)
        return code;
    if (end->fault)
        code = end->fault;
    else if (count > end->held_count)
        code = -EINVAL;
    else if (count)
        release_held(end, (unsigned)count);
    leave(end);
    return code;
}

/* Copies some messages of that length: those held, or new ones. */
static ssize_t recv_some(struct ring_mpmc_end *end, unsigned char *to, size_t length, size_t count, int64_t timeout_ns)
{
    unsigned most = count < RING_INTENT_MOST ? (unsigned)count : RING_INTENT_MOST;
    if (end->held_count) {
        ssize_t received = recv_held(end, to, length, true);
        return received < 0 ? received : 1;
    }
    struct ring_mpmc_ask ask = { .most = most, .size = length, .exact = true };
    int claimed = ring_mpmc_claim(end, &ask, timeout_ns);
    if (claimed > 0 && !ask.flags)
        get_array(end, ask.position, to, length, (unsigned)claimed);
    if (claimed > 0 && ask.flags) {
        if (length)
            ring_copy(to, payload(end, ask.position), length);
        ring_mpmc_free_slot(end, ask.position, ask.flags);
    }
    if (claimed > 0) {
        end->last_flags = ask.flags;
        ring_mpmc_finish(end);
    }
    return claimed;
}

ssize_t ring_mpmc_recv_array(struct ring_mpmc_consumer *consumer, void *messages, size_t length, size_t count,
                             int64_t timeout_ns)
{
    struct ring_mpmc_end *end = &consumer->end;
    if (!messages && length && count)
        return -EINVAL;
    int entered = ring_guard_enter(&end->guarded);
    if (entered)
        return entered;
    size_t received = 0;
    ssize_t code = end->fault;
    while (code >= 0 && received < count) {
        bool was_held = end->held_count != 0;
        code = recv_some(end, (unsigned char *)messages + received * length, length, count - received,
                         received ? RING_NO_WAIT : timeout_ns);
        if (code <= 0)
            break;
        received += (size_t)code;
        if (end->last_flags || was_held != (end->held_count != 0))
            break; /* a redelivered message comes alone; held ones are not mixed with new ones */
    }
    leave(end);
    return received ? (ssize_t)received : code;
}
