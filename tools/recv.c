/* recv.c - ringctl recv: out of a ring to standard output or a file; drain.c does the writing.
 *
 * The end is the producer's close (or death) once everything is out. A producer that had left before we came, with
 * nothing more to get, is no end: as at a FIFO, the next one is waited for. */
#include "recv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES_EACH 100 /* looks for the ring, 10 ms apart, for each look for the segment */

/* Nothing came for as long as we would wait. */
static int explain_empty(const struct recv *recv)
{
    const char *ring = recv->transfer.ring, *segment = recv->transfer.segment;
    struct ring_mpmc_info mpmc = { .struct_size = sizeof mpmc };
    struct side_state producers;
    if (recv->kind == RING_KIND_MPMC && !ring_mpmc_info(recv->segment, ring, &mpmc) && mpmc.stuck && mpmc.stuck_pid)
        return complain("no message in ring '%s' of %s within the time limit: the process with pid %d is in the middle "
                        "of sending number %ju; 'kill -CONT %d' if it is stopped, or end it",
                        ring, segment, (int)mpmc.stuck_pid, (uintmax_t)mpmc.head, (int)mpmc.stuck_pid);
    if (!look_at_producers(recv->segment, ring, recv->kind, &producers) && producers.peer == RING_PEER_ALIVE)
        return complain("no message in ring '%s' of %s within the time limit: its producer is alive but sends nothing; "
                        "'ringctl info %s' tells its pid",
                        ring, segment, segment);
    return complain("no message in ring '%s' of %s within the time limit: its producer is not there; start 'ringctl "
                    "send %s %s'",
                    ring, segment, segment, ring);
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
        return explain_empty(recv);
    case -EUCLEAN:
        return complain("segment %s is damaged: some process wrote into it what no correct one does; remove it by "
                        "'ringctl rm %s' and start both sides again",
                        segment, segment);
    default:
        return complain("cannot receive from ring '%s' of %s: %s", ring, segment, strerror(-error));
    }
}

/* Takes a consumer's role. -ENOENT: there is no such ring yet; STATUS_FAILED: that has been said. */
static int try_ring(struct recv *recv, unsigned places)
{
    const char *ring = recv->transfer.ring, *segment = recv->transfer.segment;
    struct side_state producers;
    int error = find_kind(recv->segment, places, ring, &recv->kind);
    if (error == -ENOENT)
        return error;
    if (!error && recv->kind != RING_KIND_BROADCAST && (recv->joining.observe || recv->from_given))
        return complain(
            "ring '%s' in %s is %s: --observe and --from are for broadcast rings; in others each message is "
            "taken by one consumer",
            ring, segment, kind_word(recv->kind));
    if (!error && !look_at_producers(recv->segment, ring, recv->kind, &producers))
        recv->producers = bygone_side(&producers);
    if (!error)
        error = receiver_open(&recv->receiver, recv->segment, ring, recv->kind, &recv->joining, RING_NO_WAIT);
    if (error == -EACCES)
        return complain_library(error,
                                "cannot receive from ring '%s' of %s (--observe needs no write access, but a "
                                "broadcast ring)",
                                ring, segment);
    return error ? complain_library(error, "cannot receive from ring '%s' of %s", ring, segment) : STATUS_DONE;
}

/* Waits for segment and ring. The segment may be removed and made anew meanwhile, so it is attached again now and
 * then. */
static int open_ring(struct recv *recv, const struct ring_segment_options *options)
{
    struct transfer *transfer = &recv->transfer;
    unsigned places = 0;
    for (unsigned tries = 0;; tries++) {
        if (tries % TRIES_EACH == 0) {
            ring_segment_close(&recv->segment);
            int error = transfer_attach(transfer, options, &recv->segment);
            if (error == -EINTR)
                return STATUS_FAILED;
            if (error == -EACCES && !recv->joining.observe)
                return complain_library(error,
                                        "cannot attach to segment %s (--observe needs no write access, but a "
                                        "broadcast ring)",
                                        transfer->segment);
            if (error)
                return complain_library(error, "cannot attach to segment %s", transfer->segment);
            places = directory_places(recv->segment);
        }
        int status = try_ring(recv, places);
        if (status != -ENOENT)
            return status;
        int stop = transfer_doze(transfer);
        if (stop == -EINTR)
            return STATUS_FAILED;
        if (stop)
            return complain("there is no ring '%s' in %s: start 'ringctl send', or make it by 'ringctl create --add'",
                            transfer->ring, transfer->segment);
        transfer_notice(transfer, "waiting for that ring: start 'ringctl send', or make it by 'ringctl create --add'");
    }
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
            status = explain(recv, drain(recv));
        if (recv->kind == RING_KIND_BROADCAST)
            tell_losses(recv, true);
        receiver_close(&recv->receiver);
        status = close_output(recv, status);
    }
    ring_segment_close(&recv->segment);
    if (recv->redelivered)
        remark("%ju messages may have been delivered before, to a consumer that %s: %s", (uintmax_t)recv->redelivered,
               recv->kind == RING_KIND_MPMC ? "died or left" : "died",
               recv->drop ? "they were dropped" : "they were kept (--redelivered drop leaves them out)");
    status = transfer_end(&recv->transfer, status);
    return recv->reader_gone ? transfer_broken_pipe(&recv->transfer) : status;
}

enum { KEY_REDELIVERED = 0x300, KEY_FROM, KEY_OBSERVE, KEY_PROGRESS, KEY_NO_HUGE, KEY_NO_LOCK, KEY_ANY_OWNER };

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

static struct receiver_joining parse_from(const struct argp_state *state, const char *word, bool observe)
{
    char *end = NULL;
    errno = 0;
    unsigned long long position = strtoull(word, &end, 10);
    if (strcmp(word, "oldest") == 0)
        return (struct receiver_joining){ .join = RING_BROADCAST_OLDEST, .observe = observe };
    if (strcmp(word, "newest") == 0)
        return (struct receiver_joining){ .join = RING_BROADCAST_NEWEST, .observe = observe };
    if (errno || end == word || *end || word[0] < '0' || word[0] > '9')
        argp_error(state, "--from %s: wanted oldest, newest, or the number of a message", word);
    return (struct receiver_joining){ .join = RING_BROADCAST_AT, .position = position, .observe = observe };
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
    case KEY_FROM:
        recv->joining = parse_from(state, argument, recv->joining.observe);
        recv->from_given = true;
        return 0;
    case KEY_OBSERVE:
        recv->joining.observe = true;
        arguments->options.flags |= RING_READ_ONLY;
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
        { "from", KEY_FROM, "oldest|newest|N", 0,
          "Broadcast: begin with the oldest message still there (default), the next one sent, or number N", 2 },
        { "observe", KEY_OBSERVE, NULL, 0,
          "Broadcast: only look on; needs no write access and no seat, but holds no producer back", 2 },
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
        .doc = "Take messages out of a ring, to standard output or FILE, one behind the other; its kind is found out. "
               "Waits for segment, ring and producer to come. Ends when the producer has closed and everything is out; "
               "fails when it died.",
    };
    static struct recv recv = { .transfer = { .verb = "received", .timeout_ns = -1 },
                                .joining = { .join = RING_BROADCAST_OLDEST },
                                .file = "-" };
    struct arguments arguments = { .recv = &recv, .options = ring_segment_defaults() };
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments))
        return STATUS_USAGE;
    return receive_all(&recv, &arguments.options);
}
