/* send.h - what the files of ringctl send share. */
#ifndef RINGCTL_SEND_H
#define RINGCTL_SEND_H

#include "ends.h"
#include "ringctl.h"

struct send {
    struct transfer transfer;
    struct making making;
    const char *file;
    bool lines, no_create;
    size_t record;
    int input;
    struct ring_segment *segment;
    unsigned kind;
    struct sender sender;
    struct bygone consumers; /* before we came */
    char *buffer;
    size_t buffer_size;
};

/* Sends all input. 0; -ECANCELED: it failed and that was said; else why it ended. */
int send_input(struct send *send);

#endif
