/* peer_zeromq.c - contestant: ZeroMQ over ipc, a PUSH socket to a PULL socket, which its guide names for pipelines;
 * several PUSH sockets where there are several producers (to several PULL sockets it would deal out messages in turn,
 * whoever waits). Each side has a context of its own. The address is in the abstract name space, so nothing is left
 * behind. The library gathers messages itself and has no calls for batches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <zmq.h>

#include "peer.h"

#define ZEROMQ_RETRY_MS 1 /* the side that connects may come first */

struct zeromq_end {
    void *context, *socket;
};
typedef struct zeromq_end zeromq_producer;
typedef struct zeromq_end zeromq_consumer;

BENCH_INLINE int zeromq_send(struct zeromq_end *end, const void *message, size_t bytes)
{
    return zmq_send(end->socket, message, bytes, 0) == (int)bytes ? 0 : -errno;
}

BENCH_INLINE int zeromq_recv(struct zeromq_end *end, void *message, size_t bytes)
{
    int received = zmq_recv(end->socket, message, bytes, 0);
    return received == (int)bytes ? 0 : received < 0 ? -errno : -EMSGSIZE;
}

static int zeromq_create(struct bench_link *link)
{
    (void)link;
    return 0;
}

static void zeromq_close(struct bench_link *link, void *endpoint)
{
    struct zeromq_end *end = endpoint;
    (void)link;
    if (end->socket)
        zmq_close(end->socket);
    zmq_ctx_term(end->context);
    free(end);
}

/* Its input and output run in a thread that would inherit the one processor this side is pinned to: let it have all. */
static void zeromq_unpin(void *context)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    for (int processor = 0; processor < processors; processor++)
        zmq_ctx_set(context, ZMQ_THREAD_AFFINITY_CPU_ADD, processor);
}

static int zeromq_open(struct bench_link *link, void **endpoint, int kind)
{
    int patience = ZEROMQ_RETRY_MS, linger = 0;
    int most = (int)peer_elements(link->options.ring_bytes, link->options.bytes);
    char address[sizeof link->name + 16];
    snprintf(address, sizeof address, "ipc://@%s", link->name);
    struct zeromq_end *end = calloc(1, sizeof *end);
    if (!end)
        return -ENOMEM;
    *endpoint = end;
    end->context = zmq_ctx_new();
    zeromq_unpin(end->context);
    end->socket = zmq_socket(end->context, kind);
    if (end->socket && zmq_setsockopt(end->socket, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
        zmq_setsockopt(end->socket, ZMQ_RECONNECT_IVL, &patience, sizeof patience) == 0 &&
        zmq_setsockopt(end->socket, kind == ZMQ_PUSH ? ZMQ_SNDHWM : ZMQ_RCVHWM, &most, sizeof most) == 0 &&
        (kind == ZMQ_PUSH ? zmq_connect(end->socket, address) : zmq_bind(end->socket, address)) == 0)
        return 0;
    snprintf(link->why, sizeof link->why, "%s: %s", address, zmq_strerror(errno));
    return -errno;
}

static int zeromq_open_producer(struct bench_link *link, void **endpoint)
{
    return zeromq_open(link, endpoint, ZMQ_PUSH);
}

static int zeromq_open_consumer(struct bench_link *link, void **endpoint)
{
    return zeromq_open(link, endpoint, ZMQ_PULL);
}

#define TRANSPORT zeromq
#define TRANSPORT_ONE_SIZE
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const struct transport transport_zeromq = {
    .name = "zeromq ipc",
    .package = "libzmq3-dev",
    .about = "PUSH to PULL over ipc, a context on each side, zmq_send and zmq_recv that sleep",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS | TRANSPORT_MANY_PRODUCERS,
    .rank = 20,
    .create = zeromq_create,
    .open_producer = zeromq_open_producer,
    .open_consumer = zeromq_open_consumer,
    .close_producer = zeromq_close,
    .close_consumer = zeromq_close,
    .loops = &zeromq_loops,
};
TRANSPORT_REGISTER(transport_zeromq);
