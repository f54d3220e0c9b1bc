/* drain.c - ringctl recv: out of a ring into a file or pipe.
 *
 * Messages are written straight from the ring's memory and released when write(2) has taken them; what an interrupted
 * or refused write left over stays in the ring for the next consumer. Those of a broadcast ring are copied first, since
 * they may be overwritten meanwhile; there who comes next says where to begin. */
#include "recv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define GROUP_BYTES ((size_t)64 << 10) /* released together, so that the producer can refill meanwhile */
#define LOSS_NS     INT64_C(1000000000)

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
    if (recv->batch > RECEIVER_MOST)
        recv->batch = RECEIVER_MOST;
    return group;
}

/* Writes and releases messages that were peeked. */
static int pass_on(struct recv *recv, size_t shown)
{
    size_t lengths[RECEIVER_MOST];
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
    int refusal = whole ? receiver_release(&recv->receiver, whole) : 0;
    transfer_moved(&recv->transfer, whole, bytes);
    if (error && error != -EINTR && error != -EPIPE && recv->kind == RING_KIND_BROADCAST)
        complain("cannot write to %s: %s; the first message that was not written is that of '--from %ju'", recv->file,
                 strerror(-error), (uintmax_t)receiver_position(&recv->receiver));
    else if (error && error != -EINTR && error != -EPIPE)
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

/* The producers have gone: may others come? */
static bool outlasts(struct recv *recv, int error)
{
    struct side_state producers;
    if (!recv->transfer.follow && (!recv->producers.gone || recv->transfer.messages))
        return false;
    if (look_at_producers(recv->segment, recv->transfer.ring, recv->kind, &producers))
        return false;
    if (!recv->transfer.follow) {
        bygone_still(&recv->producers,
                     &producers); /* if others came since we were told, look again: their end is ours */
        return true;
    }
    if (error == -EOWNERDEAD && recv->died_comings != producers.comings) {
        recv->died_comings = producers.comings;
        remark("the producer of ring '%s' died after %ju messages; waiting for the next", recv->transfer.ring,
               (uintmax_t)recv->transfer.messages);
    }
    return true;
}

void tell_losses(struct recv *recv, bool end)
{
    struct losses *losses = &recv->losses;
    uint64_t lost = receiver_lost(&recv->receiver);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (lost == losses->told || (!end && losses->lines && now_ns - losses->told_ns < LOSS_NS))
        return;
    losses->lines++;
    losses->told_ns = now_ns;
    remark("%ju messages of ring '%s' were lost: they were overwritten before we could read them; going on with number "
           "%ju%s",
           (uintmax_t)(lost - losses->told), recv->transfer.ring, (uintmax_t)receiver_position(&recv->receiver),
           losses->lines == 1 ? " (be faster, use more --slots, or '--policy lossless')" : "");
    losses->told = lost;
}

/* Nothing there: 0 to look again, else why it is over. */
static int wait_for_message(struct recv *recv, int error)
{
    if (output_closed(recv))
        return -ESHUTDOWN;
    if (error == -EOVERFLOW) {
        tell_losses(recv, false);
        return 0;
    }
    if (error == -ETIMEDOUT || error == -EAGAIN)
        return transfer_idle(&recv->transfer);
    if ((error == -EPIPE || error == -EOWNERDEAD) && outlasts(recv, error)) {
        transfer_notice(&recv->transfer, "the last producer has gone; waiting for the next one to send");
        return transfer_doze(&recv->transfer);
    }
    return error;
}

int drain(struct recv *recv)
{
    recv->batch = 1;
    while (!recv->count || recv->transfer.messages < recv->count) {
        uint64_t wanted = recv->count ? recv->count - recv->transfer.messages : recv->batch;
        size_t batch = wanted < recv->batch ? (size_t)wanted : recv->batch;
        ssize_t shown = receiver_peek(&recv->receiver, recv->messages, batch, transfer_slice(&recv->transfer));
        int error = shown > 0 ? pass_on(recv, (size_t)shown) : wait_for_message(recv, (int)shown);
        if (!error && transfer_signal)
            error = -EINTR;
        if (error)
            return error;
    }
    return 0;
}
