/* cut.c - ringctl send: cutting the input into messages and sending them.
 *
 * A byte stream is read straight into reserved memory of an SPSC ring: one copy, by the kernel. With other kinds a
 * reservation would hold up others while we wait for input, and messages are short; so there it is cut as records are.
 * Lines and records pass through a buffer, so that many small ones go by one read(2) and one signal. */
#include "send.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10) /* a pipe's worth; more leaves the caches without saving calls */
#define BATCH 512

/* Up to `size` bytes; 0 at the end; -EINTR: asked to stop. */
static ssize_t read_some(const struct send *send, void *buffer, size_t size)
{
    while (!transfer_signal) {
        ssize_t got = read(send->input, buffer, size);
        if (got >= 0)
            return got;
        if (errno == EAGAIN) { /* somebody left it non-blocking */
            struct pollfd ready = { .fd = send->input, .events = POLLIN };
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return -EINTR;
}

/* Consumers that were there before us and have gone may be followed by others. */
static bool outlasts(struct send *send)
{
    struct side_state consumers;
    if (send->transfer.follow)
        return true;
    if (!send->consumers.gone || look_at_consumers(send->segment, send->transfer.ring, send->kind, &consumers))
        return false;
    bygone_still(&send->consumers, &consumers); /* if others came since we were told, look again: their end is ours */
    return true;
}

/* The ring did not take a message: 0 to try again, else why it is over. */
static int wait_for_room(struct send *send, int error)
{
    if (error == -ETIMEDOUT || error == -EAGAIN)
        return transfer_idle(&send->transfer);
    if ((error == -EPIPE || error == -EOWNERDEAD) && outlasts(send))
        return transfer_doze(&send->transfer);
    return error;
}

/* SPSC only. */
static int send_stream(struct send *send)
{
    struct ring_spsc_producer *producer = &send->sender.end.spsc;
    size_t chunk = send->sender.longest < CHUNK ? send->sender.longest : CHUNK;
    for (;;) {
        void *room;
        int error = ring_spsc_reserve(producer, chunk, &room, transfer_slice(&send->transfer));
        if (error) {
            error = wait_for_room(send, error);
            if (error)
                return error;
            continue;
        }
        ssize_t got = read_some(send, room, chunk);
        if (got <= 0) {
            ring_spsc_cancel(producer);
            if (got && got != -EINTR)
                complain("cannot read %s: %s", send->file, strerror((int)-got));
            return got && got != -EINTR ? -ECANCELED : (int)got;
        }
        error = ring_spsc_commit(producer, (size_t)got);
        if (error)
            return error;
        transfer_moved(&send->transfer, 1, (uint64_t)got);
    }
}

static int send_messages(struct send *send, const struct ring_message *messages, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t sent = sender_send(&send->sender, messages + done, count - done, transfer_slice(&send->transfer));
        if (sent < 0) {
            int error = wait_for_room(send, (int)sent);
            if (error)
                return error;
            continue;
        }
        uint64_t bytes = 0;
        for (ssize_t at = 0; at < sent; at++)
            bytes += messages[done + at].length;
        done += (size_t)sent;
        transfer_moved(&send->transfer, (uint64_t)sent, bytes);
    }
    return 0;
}

/* Sends the whole lines among the first `filled` bytes; *used: how many bytes they were. */
static int send_whole_lines(struct send *send, size_t filled, size_t *used)
{
    struct ring_message messages[BATCH];
    size_t count = 0;
    char *newline;
    *used = 0;
    for (;;) {
        newline = memchr(send->buffer + *used, '\n', filled - *used);
        if (!newline || count == BATCH) {
            int error = send_messages(send, messages, count);
            if (error || !newline)
                return error;
            count = 0;
        }
        size_t length = (size_t)(newline - (send->buffer + *used));
        if (length > send->sender.longest) {
            int error = send_messages(send, messages, count);
            return error ? error : -EMSGSIZE;
        }
        messages[count++] = (struct ring_message){ .data = send->buffer + *used, .length = length };
        *used += length + 1;
    }
}

static int refuse_line(const struct send *send)
{
    complain("line %ju is longer than %zu bytes, the longest message of ring '%s'; the lines before it were sent. "
             "Make a ring with larger %s, or send a byte stream (without --lines)",
             (uintmax_t)send->transfer.messages + 1, send->sender.longest, send->transfer.ring,
             send->kind == RING_KIND_SPSC ? "--ring-bytes" : "--slot-bytes");
    return -ECANCELED;
}

static int send_lines(struct send *send)
{
    size_t filled = 0, used;
    for (;;) {
        ssize_t got = read_some(send, send->buffer + filled, send->buffer_size - filled);
        if (got < 0) {
            if (got != -EINTR)
                complain("cannot read %s: %s", send->file, strerror((int)-got));
            return got == -EINTR ? -EINTR : -ECANCELED;
        }
        if (!got)
            break;
        filled += (size_t)got;
        int error = send_whole_lines(send, filled, &used);
        if (error)
            return error == -EMSGSIZE ? refuse_line(send) : error;
        filled -= used;
        memmove(send->buffer, send->buffer + used, filled);
        if (filled > send->sender.longest)
            return refuse_line(send);
    }
    const struct ring_message last = { .data = send->buffer, .length = filled };
    return filled ? send_messages(send, &last, 1) : 0; /* a last line without newline is a line */
}

static int send_array(struct send *send, const char *records, size_t length, size_t count)
{
    while (count) {
        ssize_t sent = sender_send_array(&send->sender, records, length, count, transfer_slice(&send->transfer));
        if (sent < 0) {
            int error = wait_for_room(send, (int)sent);
            if (error)
                return error;
            continue;
        }
        records += (size_t)sent * length;
        count -= (size_t)sent;
        transfer_moved(&send->transfer, (uint64_t)sent, (uint64_t)sent * length);
    }
    return 0;
}

/* A byte stream in pieces as long as messages may be; what is there is sent, be it as short as it may. */
static int send_pieces(struct send *send)
{
    size_t length = send->sender.longest < CHUNK ? send->sender.longest : CHUNK;
    for (;;) {
        ssize_t got = read_some(send, send->buffer, CHUNK / length * length);
        if (got <= 0) {
            if (got && got != -EINTR)
                complain("cannot read %s: %s", send->file, strerror((int)-got));
            return got && got != -EINTR ? -ECANCELED : (int)got;
        }
        size_t whole = (size_t)got / length, rest = (size_t)got % length;
        const struct ring_message last = { .data = send->buffer + whole * length, .length = rest };
        int error = send_array(send, send->buffer, length, whole);
        if (!error && rest)
            error = send_messages(send, &last, 1);
        if (error)
            return error;
    }
}

static int send_records(struct send *send)
{
    size_t filled = 0;
    if (send->record > send->sender.longest) {
        bool spsc = send->kind == RING_KIND_SPSC;
        complain("records of %zu bytes are longer than %zu, the longest message of ring '%s': make a ring with "
                 "%s %zu or more",
                 send->record, send->sender.longest, send->transfer.ring, spsc ? "--ring-bytes" : "--slot-bytes",
                 spsc ? send->record * 4 : send->record);
        return -ECANCELED;
    }
    for (;;) {
        ssize_t got = read_some(send, send->buffer + filled, send->buffer_size - filled);
        if (got < 0) {
            if (got != -EINTR)
                complain("cannot read %s: %s", send->file, strerror((int)-got));
            return got == -EINTR ? -EINTR : -ECANCELED;
        }
        if (!got)
            break;
        filled += (size_t)got;
        size_t whole = filled / send->record;
        int error = send_array(send, send->buffer, send->record, whole);
        if (error)
            return error;
        filled -= whole * send->record;
        memmove(send->buffer, send->buffer + whole * send->record, filled);
    }
    if (!filled)
        return 0;
    remark("the last record has only %zu of %zu bytes; it is sent as it is", filled, send->record);
    const struct ring_message last = { .data = send->buffer, .length = filled };
    return send_messages(send, &last, 1);
}

int send_input(struct send *send)
{
    int error;
    size_t longest = send->sender.longest;
    send->buffer_size = (longest > CHUNK ? longest : CHUNK) + CHUNK;
    if (send->lines || send->record || send->kind != RING_KIND_SPSC) {
        send->buffer = malloc(send->buffer_size);
        if (!send->buffer) {
            complain("no memory for a buffer of %zu bytes", send->buffer_size);
            return -ECANCELED;
        }
    }
    if (send->lines)
        error = send_lines(send);
    else if (send->record)
        error = send_records(send);
    else if (send->kind != RING_KIND_SPSC)
        error = send_pieces(send);
    else
        error = send_stream(send);
    free(send->buffer);
    return error;
}
