/* transport_pipe.c - contestant: an anonymous pipe, whole messages by read and write, as its users do.
 *
 * The pipe is made as large as the kernel allows an unprivileged user (1 MiB by default). A batch is one write of many
 * messages; a read takes what is there and completes the last message.
 */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "stream.h"

#define PIPE_BYTES (1 << 20)

/* Several writers, several readers: whole messages only as far as writes are atomic. */
static const char *pipe_refuse(const struct bench_options *options)
{
    bool many = options->producers > 1 || options->consumers > 1;
    return many && options->bytes * options->batch > PIPE_BUF ? "only writes of up to 4096 bytes stay in one piece"
                                                              : NULL;
}

static int pipe_create(struct bench_link *link)
{
    if (pipe2(link->files, O_CLOEXEC) != 0)
        return -errno;
    int wanted = link->options.ring_bytes ? (int)link->options.ring_bytes : PIPE_BYTES;
    (void)fcntl(link->files[1], F_SETPIPE_SZ,
                wanted); /* refused: it keeps its 64 KiB, which is as a user would have it */
    return 0;
}

static int pipe_open_producer(struct bench_link *link, void **endpoint)
{
    *endpoint = &link->files[1];
    return 0;
}

static int pipe_open_consumer(struct bench_link *link, void **endpoint)
{
    *endpoint = &link->files[0];
    return 0;
}

#define TRANSPORT pipe
typedef int pipe_producer;
typedef int pipe_consumer;
#define pipe_send       stream_send
#define pipe_recv       stream_recv
#define pipe_send_batch stream_send_batch
#define pipe_recv_batch stream_recv_batch
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#define TRANSPORT_ONE_SIZE
#include "loops.h"

static const struct transport transport_pipe = {
    .name = "pipe",
    .about = "anonymous pipe of 1 MiB, blocking read and write",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS | TRANSPORT_MANY_PRODUCERS |
                 TRANSPORT_MANY_CONSUMERS,
    .rank = 10,
    .refuse = pipe_refuse,
    .create = pipe_create,
    .open_producer = pipe_open_producer,
    .open_consumer = pipe_open_consumer,
    .destroy = stream_destroy,
    .loops = &pipe_loops,
};
TRANSPORT_REGISTER(transport_pipe);
