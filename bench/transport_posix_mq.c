/* transport_posix_mq.c - contestant: a POSIX message queue.
 *
 * Its depth and message size are bounded by /proc/sys/fs/mqueue unless the user is privileged; the queue takes the
 * depth that it can get, from 1024 messages (and 1 MiB) down to the system's msg_max. Larger messages than allowed are
 * refused.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "transport.h"

#define MQ_DEEPEST 1024
#define MQ_BYTES   ((size_t)1 << 20)

static long mq_limit(const char *path, long usual)
{
    FILE *file = fopen(path, "re");
    long value = usual;
    if (file && fscanf(file, "%ld", &value) != 1)
        value = usual;
    if (file)
        fclose(file);
    return value;
}

/* The deepest queue that can be had, or -errno; its name exists afterwards. */
static int mq_make(const char *name, const struct bench_options *options)
{
    struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    (void)setrlimit(RLIMIT_MSGQUEUE, &all); /* refused unless privileged; then the limit stays as it is */
    size_t wanted = (options->ring_bytes ? options->ring_bytes : MQ_BYTES) / options->bytes;
    wanted = wanted > MQ_DEEPEST ? MQ_DEEPEST : wanted < 2 ? 2 : wanted;
    size_t allowed = (size_t)mq_limit("/proc/sys/fs/mqueue/msg_max", 10);
    size_t depths[] = { wanted, wanted < allowed ? wanted : allowed, 2 };
    int refusal = -EINVAL;
    for (size_t at = 0; at < sizeof depths / sizeof depths[0]; at++) {
        struct mq_attr attributes = { .mq_maxmsg = (long)depths[at], .mq_msgsize = (long)options->bytes };
        mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
        if (queue != (mqd_t)-1) {
            mq_close(queue);
            return 0;
        }
        refusal = -errno;
    }
    return refusal;
}

static const char *mq_refuse(const struct bench_options *options)
{
    static char why[160];
    char name[64];
    snprintf(name, sizeof name, "/ring-bench-%d-probe", (int)getpid());
    int refusal = mq_make(name, options);
    if (!refusal) {
        mq_unlink(name);
        return NULL;
    }
    if (refusal == -EINVAL)
        snprintf(why, sizeof why,
                 "messages are limited to %ld bytes (/proc/sys/fs/mqueue/msgsize_max) unless privileged",
                 mq_limit("/proc/sys/fs/mqueue/msgsize_max", 8192));
    else
        snprintf(why, sizeof why, "no queue for such messages: %s", strerror(-refusal));
    return why;
}

static void mq_name(const struct bench_link *link, char *name, size_t size)
{
    snprintf(name, size, "/%s", link->name);
}

static int mq_create(struct bench_link *link)
{
    char name[72];
    mq_name(link, name, sizeof name);
    return mq_make(name, &link->options);
}

static int mq_open_end(struct bench_link *link, void **endpoint, int flags)
{
    char name[72];
    mqd_t *queue = malloc(sizeof *queue);
    if (!queue)
        return -ENOMEM;
    mq_name(link, name, sizeof name);
    *queue = mq_open(name, flags | O_CLOEXEC);
    *endpoint = queue;
    return *queue < 0 ? -errno : 0;
}

static int mq_open_producer(struct bench_link *link, void **endpoint)
{
    return mq_open_end(link, endpoint, O_WRONLY);
}

static int mq_open_consumer(struct bench_link *link, void **endpoint)
{
    return mq_open_end(link, endpoint, O_RDONLY);
}

static void mq_close_end(struct bench_link *link, void *endpoint)
{
    (void)link;
    mq_close(*(mqd_t *)endpoint);
    free(endpoint);
}

static void mq_remove(struct bench_link *link)
{
    char name[72];
    mq_name(link, name, sizeof name);
    mq_unlink(name); /* a second time: there is none, which is the aim */
}

#define TRANSPORT posix_mq
typedef mqd_t posix_mq_producer;
typedef mqd_t posix_mq_consumer;

BENCH_INLINE int posix_mq_send(posix_mq_producer *queue, const void *message, size_t bytes)
{
    int done;
    do
        done = mq_send(*queue, (const char *)message, bytes, 0);
    while (done != 0 && errno == EINTR);
    return done == 0 ? 0 : -errno;
}

BENCH_INLINE int posix_mq_recv(posix_mq_consumer *queue, void *message, size_t bytes)
{
    ssize_t done;
    do
        done = mq_receive(*queue, (char *)message, bytes, NULL);
    while (done < 0 && errno == EINTR);
    return done == (ssize_t)bytes ? 0 : done < 0 ? -errno : -EIO;
}

#define TRANSPORT_ONE_SIZE
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const struct transport transport_posix_mq = {
    .name = "posix mq",
    .about = "mq_send and mq_receive, up to 1024 messages deep as far as the system allows",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS | TRANSPORT_REMOVE_EARLY |
                 TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS,
    .rank = 13,
    .refuse = mq_refuse,
    .create = mq_create,
    .open_producer = mq_open_producer,
    .open_consumer = mq_open_consumer,
    .close_producer = mq_close_end,
    .close_consumer = mq_close_end,
    .remove = mq_remove,
    .loops = &posix_mq_loops,
};
TRANSPORT_REGISTER(transport_posix_mq);
