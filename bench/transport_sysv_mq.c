/* transport_sysv_mq.c - contestant: a System V message queue.
 *
 * The kernel takes msgmax bytes per message (8192 unless an administrator raised it), so a longer one is split into
 * pieces by the sender and put together by the receiver; the result says so. The queue holds 1 MiB where the user may
 * raise it, else msgmnb (16 KiB). It has an id, no name, and is removed at the end of the cell or after any failure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "transport.h"

#define SYSV_QUEUE_BYTES ((size_t)1 << 20)
#define SYSV_PIECE       8192 /* the kernel's own default of msgmax; used whatever is allowed, so results compare */

struct sysv_envelope { /* as msgsnd wants it */
    long type;
    unsigned char bytes[SYSV_PIECE];
};

struct sysv_endpoint {
    int queue;
    size_t piece;
    struct sysv_envelope envelope;
};

static size_t sysv_limit(void)
{
    static size_t limit;
    if (limit)
        return limit;
    FILE *file = fopen("/proc/sys/kernel/msgmax", "re");
    if (!file || fscanf(file, "%zu", &limit) != 1 || limit == 0 || limit > SYSV_PIECE)
        limit = SYSV_PIECE;
    if (file)
        fclose(file);
    return limit;
}

static const char *sysv_refuse(const struct bench_options *options)
{
    bool many = options->producers > 1 || options->consumers > 1;
    return many && options->bytes > sysv_limit() ? "pieces of messages over msgmax would mix" : NULL;
}

static const char *sysv_note(const struct bench_options *options)
{
    static char note[80];
    if (options->bytes <= sysv_limit())
        return NULL;
    snprintf(note, sizeof note, "each message split into pieces of %zu bytes (msgmax)", sysv_limit());
    return note;
}

static int sysv_create(struct bench_link *link)
{
    int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    if (queue < 0)
        return -errno;
    link->id = queue;
    struct msqid_ds state;
    if (msgctl(queue, IPC_STAT, &state) == 0) {
        state.msg_qbytes = link->options.ring_bytes ? link->options.ring_bytes : SYSV_QUEUE_BYTES;
        (void)msgctl(queue, IPC_SET, &state); /* refused beyond msgmnb unless privileged: then it keeps msgmnb */
    }
    return 0;
}

static int sysv_open(struct bench_link *link, void **endpoint)
{
    struct sysv_endpoint *end = calloc(1, sizeof *end);
    if (!end)
        return -ENOMEM;
    end->queue = (int)link->id;
    end->piece = sysv_limit();
    end->envelope.type = 1;
    *endpoint = end;
    return 0;
}

static void sysv_close(struct bench_link *link, void *endpoint)
{
    (void)link;
    free(endpoint);
}

static void sysv_remove(struct bench_link *link)
{
    if (link->id >= 0)
        msgctl((int)link->id, IPC_RMID, NULL); /* a second time: the id is gone, which is the aim */
    link->id = -1;
}

#define TRANSPORT sysv
typedef struct sysv_endpoint sysv_producer;
typedef struct sysv_endpoint sysv_consumer;

BENCH_INLINE int sysv_send(sysv_producer *end, const void *message, size_t bytes)
{
    const unsigned char *next = (const unsigned char *)message;
    while (bytes) {
        size_t piece = bytes < end->piece ? bytes : end->piece;
        memcpy(end->envelope.bytes, next, piece);
        while (msgsnd(end->queue, &end->envelope, piece, 0) != 0)
            if (errno != EINTR)
                return -errno;
        next += piece;
        bytes -= piece;
    }
    return 0;
}

BENCH_INLINE int sysv_recv(sysv_consumer *end, void *message, size_t bytes)
{
    unsigned char *next = (unsigned char *)message;
    while (bytes) {
        ssize_t piece = msgrcv(end->queue, &end->envelope, sizeof end->envelope.bytes, 0, 0);
        if (piece < 0 && errno == EINTR)
            continue;
        if (piece <= 0 || (size_t)piece > bytes)
            return piece < 0 ? -errno : -EIO;
        memcpy(next, end->envelope.bytes, (size_t)piece);
        next += piece;
        bytes -= (size_t)piece;
    }
    return 0;
}

#define TRANSPORT_ONE_SIZE
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const struct transport transport_sysv_mq = {
    .name = "sysv mq",
    .about = "msgsnd and msgrcv, 1 MiB deep where allowed; messages over msgmax in pieces",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS | TRANSPORT_MANY_PRODUCERS |
                 TRANSPORT_MANY_CONSUMERS,
    .rank = 14,
    .refuse = sysv_refuse,
    .note = sysv_note,
    .create = sysv_create,
    .open_producer = sysv_open,
    .open_consumer = sysv_open,
    .close_producer = sysv_close,
    .close_consumer = sysv_close,
    .remove = sysv_remove,
    .loops = &sysv_loops,
};
TRANSPORT_REGISTER(transport_sysv_mq);
