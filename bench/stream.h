/* stream.h - whole messages over a blocking byte stream: what pipes and stream sockets have in common. */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <sys/types.h>
#include <unistd.h>

#include "transport.h"

/* All of it, or -errno. */
static inline int stream_write(int file, const unsigned char *bytes, size_t left)
{
    while (left) {
        ssize_t done = write(file, bytes, left);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            bytes += done;
            left -= (size_t)done;
        }
    }
    return 0;
}

/* At least `least` of `most` bytes: how many, or -errno; -EPIPE: the writer is gone. */
static inline ssize_t stream_read(int file, unsigned char *bytes, size_t least, size_t most)
{
    size_t have = 0;
    while (have < least) {
        ssize_t done = read(file, bytes + have, most - have);
        if (done == 0)
            return -EPIPE;
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0)
            have += (size_t)done;
    }
    return (ssize_t)have;
}

BENCH_INLINE int stream_send(int *file, const void *message, size_t bytes)
{
    return stream_write(*file, (const unsigned char *)message, bytes);
}

BENCH_INLINE int stream_recv(int *file, void *message, size_t bytes)
{
    ssize_t result = stream_read(*file, (unsigned char *)message, bytes, bytes);
    return result < 0 ? (int)result : 0;
}

BENCH_INLINE ssize_t stream_send_batch(int *file, const void *messages, size_t bytes, size_t count)
{
    int refusal = stream_write(*file, (const unsigned char *)messages, bytes * count);
    return refusal ? refusal : (ssize_t)count;
}

BENCH_INLINE ssize_t stream_recv_batch(int *file, void *messages, size_t bytes, size_t count)
{
    ssize_t have = stream_read(*file, (unsigned char *)messages, bytes, bytes * count);
    if (have < 0)
        return have;
    size_t part = (size_t)have % bytes; /* the reader sees no borders: complete the message it cut */
    if (part) {
        ssize_t rest = stream_read(*file, (unsigned char *)messages + have, bytes - part, bytes - part);
        if (rest < 0)
            return rest;
        have += rest;
    }
    return have / (ssize_t)bytes;
}

static inline void stream_destroy(struct bench_link *link)
{
    for (int end = 0; end < 2; end++) {
        if (link->files[end] >= 0)
            close(link->files[end]);
        link->files[end] = -1;
    }
}

#endif
