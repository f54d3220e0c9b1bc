/* recv.h - what the files of ringctl recv share. */
#ifndef RINGCTL_RECV_H
#define RINGCTL_RECV_H

#include <sys/uio.h>

#include "ends.h"
#include "ringctl.h"

/* A loss is told at once, but not more often than each second; the rest is told at the end. */
struct losses {
    uint64_t told; /* messages */
    unsigned lines;
    int64_t told_ns; /* when the last line was written */
};

struct recv {
    struct transfer transfer;
    const char *file;
    bool lines, drop;
    uint64_t count; /* messages wanted, 0: all */
    int output;
    struct ring_segment *segment;
    unsigned kind;
    struct receiver receiver;
    struct receiver_joining joining; /* broadcast */
    bool from_given;
    struct bygone producers; /* before we came */
    uint64_t died_comings;   /* those whose death was told */
    uint64_t redelivered;
    struct losses losses;
    bool reader_gone; /* nobody reads our standard output any more */
    size_t batch;     /* messages to look at in one go */
    struct ring_message messages[RECEIVER_MOST];
    struct iovec pieces[2 * RECEIVER_MOST];
};

/* Writes out what comes. 0: as many as were wanted; -ECANCELED: it failed and that was said; -ESHUTDOWN: nobody reads
 * our output any more; else why it ended. */
int drain(struct recv *recv);
/* Tells of messages lost, at the end also what was not told yet. */
void tell_losses(struct recv *recv, bool end);

#endif
