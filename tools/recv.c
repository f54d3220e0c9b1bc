/* recv.c - ringctl recv: out of a ring to standard output or a file.
 *
 * Messages are written straight from the ring's memory and released when write(2) has taken them; what an interrupted
 * or refused write left over stays in the ring for the next consumer.
 *
 * The end is the producer's close (or death) once everything is out. A producer that had left before we came, with
 * nothing more to get, is no end: as at a FIFO, the next one is waited for. */
#include "ringctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define GROUP_BYTES    ((size_t)64 << 10) /* released together, so that the producer can refill meanwhile */
#define GROUP_MESSAGES 512

struct recv {
    struct transfer transfer;
    const char *file;
    bool lines, drop;
    uint64_t count; /* messages wanted, 0: all */
    int output;
    struct ring_segment *segment;
    struct ring_spsc_consumer consumer;
    uint64_t gone_tenure; /* the producer that had left before we came; 0: none */
    uint64_t died_tenure; /* the producer whose death was told */
    uint64_t redelivered;
    bool reader_gone; /* nobody reads our standard output any more */
    size_t batch;     /* messages to look at in one go */
    struct ring_message messages[GROUP_MESSAGES];
    struct iovec pieces[2 * GROUP_MESSAGES];
};

/* Writes all pieces. Bytes written; *error: 0, or why not all. Empty pieces cost nothing. */
static size_t write_all(const struct recv *recv, struct iovec *piece, size_t count, int *error)
{
    size_t written = 0;
    *error = 0;
    while (count) {
        if (!piece->iov_len) {
            piece++;
            count--;
            continue;
        }
        if (transfer_signal) {
            *error = -EINTR;
            break;
        }
        ssize_t taken = writev(recv->output, piece, (int)count);
        if (taken < 0 && errno == EAGAIN) { /* somebody left it non-blocking */
            struct pollfd ready = { .fd = recv->output, .events = POLLOUT };
            poll(&ready, 1, -1);
        } else if (taken < 0 && errno != EINTR) {
            *error = -errno;
            break;
        }
        size_t rest = taken > 0 ? (size_t)taken : 0;
        written += rest;
        for (; count && rest >= piece->iov_len; piece++, count--)
            rest -= piece->iov_len;
        if (rest) {
            piece->iov_base = (char *)piece->iov_base + rest;
            piece->iov_len -= rest;
        }
    }
    return written;
}

/* How many of the `shown` messages go out together. */
static size_t choose_group(struct recv *recv, size_t shown)
{
    static char newline[] = "\n";
    size_t bytes = 0, group = 0;
    struct iovec *piece = recv->pieces;
    while (group < shown && (group == 0 || bytes + recv->messages[group].length <= GROUP_BYTES)) {
        const struct ring_message *message = &recv->messages[group++];
        bool dropped = false;
        if (message->flags & RING_REDELIVERED) {
            recv->redelivered++;
            dropped = recv->drop;
        }
        *piece++ = (struct iovec){ .iov_base = message->data, .iov_len = dropped ? 0 : message->length };
        *piece++ = (struct iovec){ .iov_base = newline, .iov_len = recv->lines && !dropped };
        bytes += message->length;
    }
    recv->batch = group < shown ? 2 * group : 2 * shown;
    if (recv->batch > GROUP_MESSAGES)
        recv->batch = GROUP_MESSAGES;
    return group;
}

/* Writes and releases messages that were peeked. */
static int pass_on(struct recv *recv, size_t shown)
{
    size_t lengths[GROUP_MESSAGES];
    size_t group = choose_group(recv, shown), whole = 0;
    uint64_t bytes = 0;
    int error;
    for (size_t at = 0; at < group; at++)
        lengths[at] = recv->pieces[2 * at].iov_len + recv->pieces[2 * at + 1].iov_len;
    size_t written = write_all(recv, recv->pieces, 2 * group, &error);
    for (; whole < group && written >= lengths[whole]; whole++) {
        written -= lengths[whole];
        bytes += lengths[whole];
    }
    int refusal = whole ? ring_spsc_release(&recv->consumer, whole) : 0;
    transfer_moved(&recv->transfer, whole, bytes);
    if (error && error != -EINTR && error != -EPIPE)
        complain("cannot write to %s: %s; what was not written is still in the ring", recv->file, strerror(-error));
    if (error)
        return error == -EINTR ? -EINTR : error == -EPIPE ? -ESHUTDOWN : -ECANCELED;
    return refusal;
}

/* Has the reader of our pipe gone? Else we would find out at the next message only, which may never come. */
static bool output_closed(const struct recv *recv)
{
    struct pollfd output = { .fd = recv->output };
    return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLNVAL));
}

/* The producer has gone: may another come? */
static bool outlasts(struct recv *recv, int error)
{
    struct ring_spsc_info info = { .struct_size = sizeof info };
    if (!recv->transfer.follow && (!recv->gone_tenure || recv->transfer.messages))
        return false;
    if (ring_spsc_info(recv->segment, recv->transfer.ring, &info))
        return false;
    if (!recv->transfer.follow) {
        if (info.producer.tenures != recv->gone_tenure)
            recv->gone_tenure = 0; /* the next one has come since we were told: look again, then its end is ours */
        return true;
    }
    if (error == -EOWNERDEAD && recv->died_tenure != info.producer.tenures) {
        recv->died_tenure = info.producer.tenures;
        remark("the producer of ring '%s' died after %ju messages; waiting for the next", recv->transfer.ring,
               (uintmax_t)recv->transfer.messages);
    }
    return true;
}

/* Nothing there: 0 to look again, else why it is over. */
static int wait_for_message(struct recv *recv, int error)
{
    if (output_closed(recv))
        return -ESHUTDOWN;
    if (error == -ETIMEDOUT || error == -EAGAIN)
        return transfer_idle(&recv->transfer);
    if ((error == -EPIPE || error == -EOWNERDEAD) && outlasts(recv, error)) {
        transfer_notice(&recv->transfer, "the last producer has gone; waiting for the next one to send");
        return transfer_doze(&recv->transfer);
    }
    return error;
}

static int receive(struct recv *recv)
{
    recv->batch = 1;
    while (!recv->count || recv->transfer.messages < recv->count) {
        uint64_t wanted = recv->count ? recv->count - recv->transfer.messages : recv->batch;
        size_t batch = wanted < recv->batch ? (size_t)wanted : recv->batch;
        ssize_t shown = ring_spsc_peek_batch(&recv->consumer, recv->messages, batch, transfer_slice(&recv->transfer));
        int error = shown > 0 ? pass_on(recv, (size_t)shown) : wait_for_message(recv, (int)shown);
        if (!error && transfer_signal)
            error = -EINTR;
        if (error)
            return error;
    }
    return 0;
}

static int explain(struct recv *recv, int error)
{
    const char *ring = recv->transfer.ring, *segment = recv->transfer.segment;
    switch (error) {
    case 0:
    case -EPIPE: /* the producer closed and everything is out */
        return STATUS_DONE;
    case -ESHUTDOWN:
        recv->reader_gone = true;
        return STATUS_FAILED;
    case -ECANCELED: /* said already */
    case -EINTR:
        return STATUS_FAILED;
    case -EOWNERDEAD:
        return complain("the producer of ring '%s' in %s died; all it had published was delivered (%ju messages), what "
                        "it still held is lost: start it again, --follow waits for that",
                        ring, segment, (uintmax_t)recv->transfer.messages);
    case -ETIMEDOUT:
        return complain("no message in ring '%s' of %s within the time limit: its producer %s", ring, segment,
                        ring_spsc_producer_state(&recv->consumer) == RING_PEER_ALIVE
                            ? "is alive but sends nothing; 'ringctl info' tells its pid"
                            : "is not there; start 'ringctl send'");
    case -EUCLEAN:
        return complain("segment %s is damaged: some process wrote into it what no correct one does; remove it by "
                        "'ringctl rm %s' and start both sides again",
                        segment, segment);
    default:
        return complain("cannot receive from ring '%s' of %s: %s", ring, segment, strerror(-error));
    }
}

/* Takes the consumer's role, waiting for segment and ring. The segment may be removed and made anew meanwhile, so it is
 * attached again now and then. */
static int open_ring(struct recv *recv, const struct ring_segment_options *options)
{
    struct transfer *transfer = &recv->transfer;
    struct ring_spsc_info info = { .struct_size = sizeof info };
    int error, stop = 0;
    for (unsigned tries = 0;; tries++) {
        if (tries % 10 == 0) {
            ring_segment_close(&recv->segment);
            error = transfer_attach(transfer, options, &recv->segment);
            if (error == -EINTR)
                return STATUS_FAILED;
            if (error)
                return complain_library(error, "cannot attach to segment %s", transfer->segment);
        }
        if (!ring_spsc_info(recv->segment, transfer->ring, &info) &&
            (info.producer.peer == RING_PEER_CLOSED || info.producer.peer == RING_PEER_DEAD))
            recv->gone_tenure = info.producer.tenures;
        error = ring_spsc_open_consumer(&recv->consumer, recv->segment, transfer->ring, transfer_slice(transfer));
        if (error != -ETIMEDOUT && error != -ENOENT)
            break;
        stop = transfer_idle(transfer);
        if (stop)
            break;
        transfer_notice(transfer, "waiting for that ring: start 'ringctl send', or make it by 'ringctl create --add'");
    }
    if (stop == -EINTR)
        return STATUS_FAILED;
    return error ? complain_library(error, "cannot receive from ring '%s' of %s", transfer->ring, transfer->segment)
                 : STATUS_DONE;
}

/* Opened early, so that a wrong name is told at once; emptied only when the ring is ours. */
static int open_output(struct recv *recv)
{
    if (strcmp(recv->file, "-") == 0) {
        recv->file = "standard output";
        recv->output = STDOUT_FILENO;
        return STATUS_DONE;
    }
    recv->output = open(recv->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    return recv->output < 0 ? complain("cannot open %s: %s", recv->file, strerror(errno)) : STATUS_DONE;
}

static int close_output(const struct recv *recv, int status)
{
    if (close(recv->output) && errno != EINTR && status == STATUS_DONE)
        return complain("cannot write to %s: %s", recv->file, strerror(errno));
    return status;
}

static int receive_all(struct recv *recv, const struct ring_segment_options *options)
{
    struct stat output;
    transfer_begin(&recv->transfer);
    int status = open_output(recv);
    if (!status)
        status = open_ring(recv, options);
    if (!status) {
        if (recv->output != STDOUT_FILENO && !fstat(recv->output, &output) && S_ISREG(output.st_mode) &&
            ftruncate(recv->output, 0))
            status = complain("cannot empty %s: %s", recv->file, strerror(errno));
        else
            status = explain(recv, receive(recv));
        ring_spsc_close_consumer(&recv->consumer);
        status = close_output(recv, status);
    }
    ring_segment_close(&recv->segment);
    if (recv->redelivered)
        remark("%ju messages may have been delivered before, to a consumer that died: %s", (uintmax_t)recv->redelivered,
               recv->drop ? "they were dropped" : "they were kept (--redelivered drop leaves them out)");
    status = transfer_end(&recv->transfer, status);
    return recv->reader_gone ? transfer_broken_pipe(&recv->transfer) : status;
}

enum { KEY_REDELIVERED = 0x300, KEY_PROGRESS, KEY_NO_HUGE, KEY_NO_LOCK, KEY_ANY_OWNER };

struct arguments {
    struct recv *recv;
    struct ring_segment_options options;
};

static bool parse_drop(const struct argp_state *state, const char *word)
{
    bool drop = strcmp(word, "drop") == 0;
    if (!drop && strcmp(word, "keep") != 0)
        argp_error(state, "--redelivered %s: wanted keep or drop", word);
    return drop;
}

static error_t parse_recv(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct recv *recv = arguments->recv;
    switch (key) {
    case 'l':
        recv->lines = true;
        return 0;
    case 'n':
        recv->count = parse_count(state, argument, "--count");
        return 0;
    case 'f':
        recv->transfer.follow = true;
        return 0;
    case 't':
        recv->transfer.timeout_ns = parse_seconds(state, argument, "--timeout");
        return 0;
    case 'q':
        recv->transfer.quiet = true;
        return 0;
    case KEY_PROGRESS:
        recv->transfer.progress = true;
        return 0;
    case KEY_REDELIVERED:
        recv->drop = parse_drop(state, argument);
        return 0;
    case KEY_NO_HUGE:
        arguments->options.flags &= ~(unsigned)RING_HUGE;
        return 0;
    case KEY_NO_LOCK:
        arguments->options.flags &= ~(unsigned)RING_LOCK;
        return 0;
    case KEY_ANY_OWNER:
        arguments->options.flags |= RING_ANY_OWNER;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 2)
            argp_error(state, "'%s' is too much: SEGMENT RING and one FILE", argument);
        *(state->arg_num == 0   ? &recv->transfer.segment
          : state->arg_num == 1 ? &recv->transfer.ring
                                : &recv->file) = argument;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "which SEGMENT and RING? For example: ringctl recv /market quotes > file");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_recv(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "lines", 'l', NULL, 0, "A newline after each message", 1 },
        { "count", 'n', "N", 0, "End after N messages", 1 },
        { "follow", 'f', NULL, 0, "When the producer leaves or dies, wait for the next one", 2 },
        { "timeout", 't', "SECONDS", 0, "Give up when nothing came for so long (default: wait for ever)", 2 },
        { "redelivered", KEY_REDELIVERED, "keep|drop", 0,
          "What to do with messages that a consumer before us, now dead, may have had already (default keep)", 2 },
        { "any-owner", KEY_ANY_OWNER, NULL, 0, "Accept a segment of another user", 2 },
        { "no-huge", KEY_NO_HUGE, NULL, 0, "Do not ask for 2 MiB pages", 2 },
        { "no-lock", KEY_NO_LOCK, NULL, 0, "Do not lock the memory", 2 },
        { "quiet", 'q', NULL, 0, "No progress, no remarks while waiting", 3 },
        { "progress", KEY_PROGRESS, NULL, 0, "Progress on standard error though it is no terminal", 3 },
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_recv,
        .args_doc = "SEGMENT RING [FILE]",
        .doc = "Take messages out of a ring, to standard output or FILE, one behind the other. Waits for segment, ring "
               "and producer to come. Ends when the producer has closed and everything is out; fails when it died.",
    };
    static struct recv recv = { .transfer = { .verb = "received", .timeout_ns = -1 }, .file = "-" };
    struct arguments arguments = { .recv = &recv, .options = ring_segment_defaults() };
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments))
        return STATUS_USAGE;
    return receive_all(&recv, &arguments.options);
}
