/* send.c - ringctl send: standard input or a file into a ring; cut.c does the sending.
 *
 * The far side may come late, or be between two consumers: a consumer that was gone before we came is waited for. One
 * that leaves while we are here is taken as a pipe takes it: when the ring is full, it is over (--follow waits on). */
#include "send.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody took anything for as long as we would wait. */
static int explain_full(const struct send *send)
{
    const char *ring = send->transfer.ring, *segment = send->transfer.segment;
    struct side_state consumers;
    if (look_at_consumers(send->segment, ring, send->kind, &consumers))
        return complain("no room in ring '%s' of %s within the time limit", ring, segment);
    if (consumers.peer != RING_PEER_ALIVE)
        return complain("no room in ring '%s' of %s within the time limit: its consumer is not there; start 'ringctl "
                        "recv %s %s'",
                        ring, segment, segment, ring);
    if (send->kind == RING_KIND_BROADCAST && consumers.behind)
        return complain("no room in ring '%s' of %s within the time limit: the consumer with pid %d is %ju messages "
                        "behind and lives; 'kill -CONT %d' if it is stopped, or end it, or use --policy overwrite",
                        ring, segment, (int)consumers.slowest, (uintmax_t)consumers.behind, (int)consumers.slowest);
    return complain("no room in ring '%s' of %s within the time limit: its consumer is alive but takes nothing; "
                    "'ringctl info %s' tells its pid",
                    ring, segment, segment);
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
        return explain_full(send);
    case -EUCLEAN:
        return complain("segment %s is damaged: some process wrote into it what no correct one does; remove it by "
                        "'ringctl rm %s' and start both sides again",
                        segment, segment);
    default:
        return complain("cannot send into ring '%s' of %s: %s", ring, segment, strerror(-error));
    }
}

/* Finds out what kind of ring it is, making it if need be. 0, -ENOENT (and nothing is to be made), ... */
static int settle_kind(struct send *send)
{
    unsigned places = directory_places(send->segment);
    int error = find_kind(send->segment, places, send->transfer.ring, &send->kind);
    if (error != -ENOENT || send->no_create)
        return error;
    error = making_ring(&send->making, send->segment, send->transfer.ring);
    if (error && error != -EEXIST)
        return complain_library(error, "cannot make ring '%s' in %s", send->transfer.ring, send->transfer.segment);
    return find_kind(send->segment, places, send->transfer.ring, &send->kind); /* somebody may have been faster */
}

/* Becomes the ring's producer; -EAGAIN: try again. */
static int try_ring(struct send *send)
{
    struct transfer *transfer = &send->transfer;
    struct side_state consumers;
    int error = settle_kind(send);
    if (error == -ENOENT)
        return -EAGAIN;
    if (error > 0)
        return error;
    if (!error && send->making.kind_given && send->making.kind != send->kind)
        return complain("ring '%s' in %s is %s, not %s: leave out --kind, or use another name", transfer->ring,
                        transfer->segment, kind_word(send->kind), kind_word(send->making.kind));
    if (!error && !look_at_consumers(send->segment, transfer->ring, send->kind, &consumers))
        send->consumers = bygone_side(&consumers);
    if (!error)
        error = sender_open(&send->sender, send->segment, transfer->ring, send->kind, RING_NO_WAIT);
    return error ? complain_library(error, "cannot send into ring '%s' of %s", transfer->ring, transfer->segment) : 0;
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
    for (;;) {
        int status = try_ring(send);
        if (status != -EAGAIN)
            return status;
        int stop = transfer_doze(transfer);
        if (stop == -EINTR)
            return STATUS_FAILED;
        if (stop)
            return complain("there is no ring '%s' in %s: make it by 'ringctl create --add %s %s', or leave out "
                            "--no-create",
                            transfer->ring, transfer->segment, transfer->segment, transfer->ring);
        transfer_notice(transfer, "waiting for that ring: make it by 'ringctl create --add'");
    }
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
        status = explain(send, send_input(send));
        sender_close(&send->sender);
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
        if (send->making.kind > RING_KIND_BROADCAST)
            argp_error(state, "--kind %s: nothing can be sent into it; 'ringctl create' makes one",
                       kind_word(send->making.kind));
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
