/* send.c - ringctl send: standard input or a file into a ring.
 *
 * Three ways to cut the input into messages. A byte stream is read straight into reserved memory of the ring: one copy,
 * by the kernel. Lines and records pass through a buffer, so that many small ones go by one read(2) and one signal.
 *
 * The far side may come late, or be between two consumers: a consumer that was gone before we came is waited for. One
 * that leaves while we are here is taken as a pipe takes it: when the ring is full, it is over (--follow waits on). */
#include "ringctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10) /* a pipe's worth; more leaves the caches without saving calls */
#define BATCH 512

struct send {
    struct transfer transfer;
    struct making making;
    const char *file;
    bool lines, no_create;
    size_t record;
    int input;
    struct ring_segment *segment;
    struct ring_spsc_producer producer;
    uint64_t gone_tenure; /* the consumer that had left before we came; 0: none */
    char *buffer;
    size_t buffer_size;
};

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

/* The consumer that was there before us and has gone may be followed by another. */
static bool outlasts(struct send *send)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    if (send->transfer.follow)
        return true;
    if (!send->gone_tenure || ring_spsc_info(send->segment, send->transfer.ring, &info))
        return false;
    if (info.consumer.tenures != send->gone_tenure)
        send->gone_tenure = 0; /* the next one has come since we were told: look again, then its end is ours */
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

static int send_stream(struct send *send)
{
    size_t chunk = send->producer.max_message < CHUNK ? send->producer.max_message : CHUNK;
    for (;;) {
        void *room;
        int error = ring_spsc_reserve(&send->producer, chunk, &room, transfer_slice(&send->transfer));
        if (error) {
            error = wait_for_room(send, error);
            if (error)
                return error;
            continue;
        }
        ssize_t got = read_some(send, room, chunk);
        if (got <= 0) {
            ring_spsc_cancel(&send->producer);
            if (got && got != -EINTR)
                complain("cannot read %s: %s", send->file, strerror((int)-got));
            return got && got != -EINTR ? -ECANCELED : (int)got;
        }
        error = ring_spsc_commit(&send->producer, (size_t)got);
        if (error)
            return error;
        transfer_moved(&send->transfer, 1, (uint64_t)got);
    }
}

static int send_messages(struct send *send, const struct ring_message *messages, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t sent =
            ring_spsc_send_batch(&send->producer, messages + done, count - done, transfer_slice(&send->transfer));
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
        if (length > send->producer.max_message) {
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
             "Make a ring with a larger --ring-bytes, or send a byte stream (without --lines)",
             (uintmax_t)send->transfer.messages + 1, send->producer.max_message, send->transfer.ring);
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
        if (filled > send->producer.max_message)
            return refuse_line(send);
    }
    const struct ring_message last = { .data = send->buffer, .length = filled };
    return filled ? send_messages(send, &last, 1) : 0; /* a last line without newline is a line */
}

static int send_array(struct send *send, const char *records, size_t count)
{
    while (count) {
        ssize_t sent =
            ring_spsc_send_array(&send->producer, records, send->record, count, transfer_slice(&send->transfer));
        if (sent < 0) {
            int error = wait_for_room(send, (int)sent);
            if (error)
                return error;
            continue;
        }
        records += (size_t)sent * send->record;
        count -= (size_t)sent;
        transfer_moved(&send->transfer, (uint64_t)sent, (uint64_t)sent * send->record);
    }
    return 0;
}

static int send_records(struct send *send)
{
    size_t filled = 0;
    if (send->record > send->producer.max_message) {
        complain("records of %zu bytes are longer than %zu, the longest message of ring '%s': make a ring with "
                 "--ring-bytes %zu or more",
                 send->record, send->producer.max_message, send->transfer.ring, send->record * 4);
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
        int error = send_array(send, send->buffer, whole);
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

static int explain(const struct send *send, int error)
{
    const char *ring = send->transfer.ring, *segment = send->transfer.segment;
    switch (error) {
    case 0:
        return STATUS_DONE;
    case -ECANCELED: /* said already */
    case -EINTR:
        return STATUS_FAILED;
    case -EPIPE:
        return complain("the consumer of ring '%s' in %s has left and the ring is full: start 'ringctl recv %s %s', it "
                        "gets what is in the ring; --follow waits for it",
                        ring, segment, segment, ring);
    case -EOWNERDEAD:
        return complain("the consumer of ring '%s' in %s died and the ring is full: start 'ringctl recv %s %s', it "
                        "gets what is in the ring; --follow waits for it",
                        ring, segment, segment, ring);
    case -ETIMEDOUT:
        return complain("no room in ring '%s' of %s within the time limit: its consumer %s", ring, segment,
                        ring_spsc_consumer_state(&send->producer) == RING_PEER_ALIVE
                            ? "is alive but takes nothing; 'ringctl info' tells its pid"
                            : "is not there; start 'ringctl recv'");
    case -EUCLEAN:
        return complain("segment %s is damaged: some process wrote into it what no correct one does; remove it by "
                        "'ringctl rm %s' and start both sides again",
                        segment, segment);
    default:
        return complain("cannot send into ring '%s' of %s: %s", ring, segment, strerror(-error));
    }
}

static int run_transfer(struct send *send)
{
    int error;
    size_t longest = send->producer.max_message;
    send->buffer_size = (longest > CHUNK ? longest : CHUNK) + CHUNK;
    if (send->lines || send->record) {
        send->buffer = malloc(send->buffer_size);
        if (!send->buffer)
            return complain("no memory for a buffer of %zu bytes", send->buffer_size);
    }
    if (send->lines)
        error = send_lines(send);
    else if (send->record)
        error = send_records(send);
    else
        error = send_stream(send);
    int status = explain(send, error);
    free(send->buffer);
    return status;
}

/* Opens the ring, making segment and ring if need be. */
static int open_ring(struct send *send, const struct ring_segment_options *options)
{
    struct transfer *transfer = &send->transfer;
    int error = send->no_create ? transfer_attach(transfer, options, &send->segment)
                                : ring_segment_open(&send->segment, transfer->segment, options);
    if (error == -EINTR)
        return STATUS_FAILED;
    if (error)
        return complain_library(error, "cannot open segment %s", transfer->segment);
    error = send->no_create ? 0 : ring_spsc_create(send->segment, transfer->ring, send->making.ring_bytes);
    if (error && error != -EEXIST)
        return complain_library(error, "cannot make ring '%s' in %s", transfer->ring, transfer->segment);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    for (;;) {
        if (!ring_spsc_info(send->segment, transfer->ring, &info) &&
            (info.consumer.peer == RING_PEER_CLOSED || info.consumer.peer == RING_PEER_DEAD))
            send->gone_tenure = info.consumer.tenures;
        error = ring_spsc_open_producer(&send->producer, send->segment, transfer->ring, transfer_slice(transfer));
        if (error != -ETIMEDOUT && error != -ENOENT)
            break;
        int stop = transfer_idle(transfer);
        if (stop == -EINTR)
            return STATUS_FAILED;
        if (stop)
            break;
    }
    return error ? complain_library(error, "cannot send into ring '%s' of %s", transfer->ring, transfer->segment) : 0;
}

static int open_input(struct send *send)
{
    struct stat status;
    if (strcmp(send->file, "-") == 0) {
        send->file = "standard input";
        send->input = STDIN_FILENO;
    } else {
        send->input = open(send->file, O_RDONLY | O_CLOEXEC);
        if (send->input < 0)
            return complain("cannot open %s: %s", send->file, strerror(errno));
    }
    if (fstat(send->input, &status))
        return complain("cannot read %s: %s", send->file, strerror(errno));
    if (S_ISREG(status.st_mode)) {
        send->transfer.expected = (uint64_t)status.st_size;
        posix_fadvise(send->input, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return STATUS_DONE;
}

static int send_all(struct send *send)
{
    struct ring_segment_options options;
    if (!making_options(&send->making, 1, &options))
        return STATUS_FAILED;
    transfer_begin(&send->transfer);
    int status = open_input(send);
    if (!status)
        status = open_ring(send, &options);
    if (!status) {
        status = run_transfer(send);
        ring_spsc_close_producer(&send->producer);
    }
    if (send->segment)
        ring_segment_close(&send->segment);
    return transfer_end(&send->transfer, status);
}

enum { KEY_NO_CREATE = 0x200, KEY_PROGRESS, KEY_FOLLOW };

static error_t parse_send(int key, char *argument, struct argp_state *state)
{
    struct send *send = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &send->making;
        return 0;
    case 'l':
        send->lines = true;
        return 0;
    case 'r':
        send->record = parse_size(state, argument, "--records");
        if (!send->record || send->record > RING_SPSC_MAX_BYTES)
            argp_error(state, "--records %s: wanted a size from 1 on", argument);
        return 0;
    case 't':
        send->transfer.timeout_ns = parse_seconds(state, argument, "--timeout");
        return 0;
    case 'q':
        send->transfer.quiet = true;
        return 0;
    case KEY_NO_CREATE:
        send->no_create = true;
        return 0;
    case KEY_PROGRESS:
        send->transfer.progress = true;
        return 0;
    case KEY_FOLLOW:
        send->transfer.follow = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 2)
            argp_error(state, "'%s' is too much: SEGMENT RING and one FILE", argument);
        *(state->arg_num == 0   ? &send->transfer.segment
          : state->arg_num == 1 ? &send->transfer.ring
                                : &send->file) = argument;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "which SEGMENT and RING? For example: ringctl send /market quotes < file");
        if (send->lines && send->record)
            argp_error(state, "--lines and --records exclude each other");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_send(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "lines", 'l', NULL, 0, "Each line is a message, without its newline", 1 },
        { "records", 'r', "SIZE", 0, "Each SIZE bytes are a message; a short last one is sent as it is", 1 },
        { "timeout", 't', "SECONDS", 0, "Give up when there is no room for so long (default: wait for ever)", 2 },
        { "follow", KEY_FOLLOW, NULL, 0, "When the consumer leaves or dies, wait for the next one", 2 },
        { "no-create", KEY_NO_CREATE, NULL, 0, "Wait for segment and ring instead of making what is missing", 2 },
        { "quiet", 'q', NULL, 0, "No progress, no remarks", 3 },
        { "progress", KEY_PROGRESS, NULL, 0, "Progress on standard error though it is no terminal", 3 },
        { 0 },
    };
    static const struct argp_child children[] = { { &making_argp, 0, "When segment or ring are missing:", 10 }, { 0 } };
    static const struct argp argp = {
        .options = options,
        .parser = parse_send,
        .args_doc = "SEGMENT RING [FILE]",
        .doc = "Put standard input or FILE into a ring, as a byte stream unless told otherwise. Either side may start "
               "first.",
        .children = children,
    };
    static struct send send;
    send = (struct send){ .transfer = { .verb = "sent", .timeout_ns = -1 }, .making = making_defaults(), .file = "-" };
    if (argp_parse(&argp, argc, argv, 0, NULL, &send))
        return STATUS_USAGE;
    return send_all(&send);
}
