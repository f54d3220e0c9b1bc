/* transport_socket.c - contestants: UNIX socket pairs, as a byte stream and as packets.
 *
 * Send buffers as large as the machine allows (net.core.wmem_max, doubled by the kernel). A batch is one write of many
 * messages for the stream, one sendmmsg and recvmmsg for packets.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"

#define SOCKET_BUFFER (1 << 20)
#define SOCKET_BATCH  256 /* messages per system call at most */

static int socket_create(struct bench_link *link, int type)
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, link->files) != 0)
        return -errno;
    int wanted = link->options.ring_bytes ? (int)link->options.ring_bytes : SOCKET_BUFFER;
    if (setsockopt(link->files[1], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted) != 0)
        return -errno;
    return 0;
}

static int stream_create(struct bench_link *link)
{
    return socket_create(link, SOCK_STREAM);
}

static int stream_open_producer(struct bench_link *link, void **endpoint)
{
    *endpoint = &link->files[1];
    return 0;
}

static int stream_open_consumer(struct bench_link *link, void **endpoint)
{
    *endpoint = &link->files[0];
    return 0;
}

#define TRANSPORT stream
typedef int stream_producer;
typedef int stream_consumer;
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_ONE_SIZE
#include "loops.h"

static const struct transport transport_stream = {
    .name = "unix stream",
    .about = "socketpair(SOCK_STREAM), largest send buffer, blocking read and write",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS,
    .rank = 11,
    .create = stream_create,
    .open_producer = stream_open_producer,
    .open_consumer = stream_open_consumer,
    .destroy = stream_destroy,
    .loops = &stream_loops,
};
TRANSPORT_REGISTER(transport_stream);

/* ---- Packets ---- */

struct packet_endpoint {
    int file;
    struct mmsghdr headers[SOCKET_BATCH];
    struct iovec pieces[SOCKET_BATCH];
};

static int packet_create(struct bench_link *link)
{
    return socket_create(link, SOCK_SEQPACKET);
}

static int packet_open(int file, void **endpoint)
{
    struct packet_endpoint *packet = calloc(1, sizeof *packet);
    if (!packet)
        return -ENOMEM;
    packet->file = file;
    for (size_t at = 0; at < SOCKET_BATCH; at++) {
        packet->headers[at].msg_hdr.msg_iov = &packet->pieces[at];
        packet->headers[at].msg_hdr.msg_iovlen = 1;
    }
    *endpoint = packet;
    return 0;
}

static int packet_open_producer(struct bench_link *link, void **endpoint)
{
    return packet_open(link->files[1], endpoint);
}

static int packet_open_consumer(struct bench_link *link, void **endpoint)
{
    return packet_open(link->files[0], endpoint);
}

static void packet_close(struct bench_link *link, void *endpoint)
{
    (void)link;
    free(endpoint);
}

#define TRANSPORT packet
typedef struct packet_endpoint packet_producer;
typedef struct packet_endpoint packet_consumer;

BENCH_INLINE int packet_send(packet_producer *packet, const void *message, size_t bytes)
{
    ssize_t done;
    do
        done = send(packet->file, message, bytes, MSG_NOSIGNAL);
    while (done < 0 && errno == EINTR);
    return done == (ssize_t)bytes ? 0 : done < 0 ? -errno : -EIO;
}

BENCH_INLINE int packet_recv(packet_consumer *packet, void *message, size_t bytes)
{
    ssize_t done;
    do
        done = recv(packet->file, message, bytes, 0);
    while (done < 0 && errno == EINTR);
    return done == (ssize_t)bytes ? 0 : done < 0 ? -errno : -EPIPE;
}

static size_t packet_pieces(struct packet_endpoint *packet, unsigned char *messages, size_t bytes, size_t count)
{
    if (count > SOCKET_BATCH)
        count = SOCKET_BATCH;
    for (size_t at = 0; at < count; at++) {
        packet->pieces[at].iov_base = messages + at * bytes;
        packet->pieces[at].iov_len = bytes;
    }
    return count;
}

BENCH_INLINE ssize_t packet_send_batch(packet_producer *packet, const void *messages, size_t bytes, size_t count)
{
    unsigned char *first = (unsigned char *)(uintptr_t)messages; /* iov_base has no const; sending only reads */
    count = packet_pieces(packet, first, bytes, count);
    int done;
    do
        done = sendmmsg(packet->file, packet->headers, (unsigned)count, MSG_NOSIGNAL);
    while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

BENCH_INLINE ssize_t packet_recv_batch(packet_consumer *packet, void *messages, size_t bytes, size_t count)
{
    count = packet_pieces(packet, (unsigned char *)messages, bytes, count);
    int done;
    do
        done = recvmmsg(packet->file, packet->headers, (unsigned)count, MSG_WAITFORONE, NULL);
    while (done < 0 && errno == EINTR);
    for (int at = 0; at < done; at++)
        if (packet->headers[at].msg_len != bytes)
            return -EPIPE;
    return done < 0 ? -errno : done;
}

#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#define TRANSPORT_ONE_SIZE
#include "loops.h"

static const struct transport transport_packet = {
    .name = "unix seqpacket",
    .about = "socketpair(SOCK_SEQPACKET), largest send buffer, send and recv; batches by sendmmsg and recvmmsg",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS | TRANSPORT_MANY_PRODUCERS |
                 TRANSPORT_MANY_CONSUMERS,
    .rank = 12,
    .create = packet_create,
    .open_producer = packet_open_producer,
    .open_consumer = packet_open_consumer,
    .close_producer = packet_close,
    .close_consumer = packet_close,
    .destroy = stream_destroy,
    .loops = &packet_loops,
};
TRANSPORT_REGISTER(transport_packet);
