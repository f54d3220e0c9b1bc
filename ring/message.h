/* message.h - level 2: what all topologies share with their callers: a message, a peer, a side of a ring. */
#ifndef RING_MESSAGE_H
#define RING_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ring/layout.h>

RING_BEGIN_C

#define RING_REDELIVERED UINT32_C(1) /* may have been delivered to a consumer that died before */

/* One message in the ring (peek) or to be sent (send_batch, which reads data and length only). */
struct ring_message {
    void *data;
    size_t length; /* bytes */
    uint32_t flags;
};

/* What became of a participant. */
enum ring_peer { RING_PEER_NEVER, RING_PEER_ALIVE, RING_PEER_CLOSED, RING_PEER_DEAD };

/* The last holder of a role or seat of a ring. */
struct ring_side {
    enum ring_peer peer;
    pid_t pid; /* for people: of the last holder */
    char command[RING_LAYOUT_COMMAND];
    uint64_t tenures; /* how many held it so far */
    bool asleep;
};

RING_END_C

#endif
