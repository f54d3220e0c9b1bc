/* ringctl.h - what the commands of ringctl share. Each command is one function: its arguments in, an exit status out.
 */
#ifndef RINGCTL_H
#define RINGCTL_H

#include <argp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ring/ring.h>

enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_SIGNAL = 128 };

/* The commands. argv[0] is "ringctl COMMAND", so that their help names them. */
int command_create(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_info(int argc, char **argv);
int command_send(int argc, char **argv);
int command_recv(int argc, char **argv);
int command_grow(int argc, char **argv);
int command_recover(int argc, char **argv);
int command_rm(int argc, char **argv);
int command_doctor(int argc, char **argv);

/* ---- options.c: arguments that several commands understand ---- */

/* "8M" as bytes; ends the program with the usage when it is none. `option` names it in the message. */
size_t parse_size(const struct argp_state *state, const char *text, const char *option);
uint64_t parse_count(const struct argp_state *state, const char *text, const char *option);
int64_t parse_seconds(const struct argp_state *state, const char *text, const char *option);

/* How to make a segment, --bytes, --mode, --node, --strict, --no-huge, --no-lock, and what is in it: kinds.c. */
struct making {
    struct ring_segment_options segment; /* bytes 0: as many as the rings need */
    unsigned kind;                       /* enum ring_layout_kind */
    bool kind_given;
    bool no_sole;      /* MPMC */
    int ring_node;     /* for the pages of new rings */
    size_t ring_bytes; /* SPSC. Here and below 0: not given */
    size_t slots;      /* MPMC and broadcast, as the next two */
    size_t slot_bytes;
    unsigned seats;
    unsigned policy;    /* broadcast: enum ring_broadcast_policy */
    size_t block_bytes; /* blocks, as the next two */
    size_t blocks;
    size_t align;
    size_t heap_bytes; /* heap */
};

extern const struct argp making_argp; /* a child parser; its input is a struct making */
struct making making_defaults(void);
/* The options for a segment that is to hold `rings` rings. False: there is no such size, and that has been said. */
bool making_options(const struct making *making, size_t rings, struct ring_segment_options *options);

/* ---- kinds.c: what a segment may hold ---- */

extern const struct argp memory_argp;    /* of create alone: pools and heaps; its input is a struct making */
extern const struct argp kinds_argp;     /* a child of making_argp; its input is a struct making */
const char *kind_word(unsigned kind);    /* "spsc" */
const char *kind_noun(unsigned kind);    /* "ring", "pool" */
const char *size_options(unsigned kind); /* "--slots or --slot-bytes" */
/* Bytes that one takes from its segment; 0: there is no such size. */
size_t making_footprint(const struct making *making);
/* Makes one. As ring_spsc_create(). */
int making_ring(const struct making *making, struct ring_segment *segment, const char *ring);

/* ---- backing.c ---- */

extern const struct argp backing_argp;      /* a child of making_argp; its input is a struct ring_segment_options */
const char *backing_word(unsigned backing); /* "posix" */
const char *removal_word(unsigned removal); /* "hand" */

/* ---- text.c: for people and for programs ---- */

/* What stood against it and what to do, on standard error. Returns STATUS_FAILED. */
int complain(const char *format, ...) RING_PRINTF(1, 2);
/* The same for a cold call of the library that has just failed with `error`: its own sentence, or ours. */
int complain_library(int error, const char *format, ...) RING_PRINTF(2, 3);
/* A remark that is no failure. */
void remark(const char *format, ...) RING_PRINTF(1, 2);

/* Whatever strangers wrote, without what would steer a terminal or spoil JSON. */
const char *printable(const char *text, size_t length, char *buffer, size_t size);
/* 8388608 as "8 MiB", 1300 as "1.3 KiB". */
const char *human_bytes(uint64_t bytes, char *buffer, size_t size);
const char *error_name(int error); /* of a negative errno: "ENOMEM" */
const char *without_slash(const char *segment);

/* JSON, written in order: a key with its value, a comma where one is due. */
struct json {
    FILE *file;
    int depth;
    bool comma;
};

void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
void json_number(struct json *json, const char *key, uint64_t value);
void json_text(struct json *json, const char *key, const char *text);
void json_word(struct json *json, const char *key, const char *word); /* true, false, null, or a number as text */

/* ---- rings.c ---- */

/* One ring, for people (json NULL) or as an object. 0 or -errno, with ring_error_detail(); then nothing was written. */
int show_ring(struct ring_segment *segment, const struct ring_entry_info *entry, struct json *json);
/* blocks.c: those that are no rings; and what rings.c lends them. */
int show_blocks(struct ring_segment *segment, const char *pool, const char *name, struct json *json);
int show_heap(struct ring_segment *segment, const char *heap, const char *name, struct json *json);
void print_holder(const struct ring_side *side);
void json_holder(struct json *json, const struct ring_side *side);
void json_begin(struct json *json, const char *name, unsigned kind);

/* ---- places.c ---- */

/* Where the pages of a ring (NULL: of the segment) are: for people (json NULL), rings only when there is something to
 * tell; or as a member "pages". Nothing when the ring has gone. */
void show_pages(struct ring_segment *segment, const char *ring, struct json *json);
const char *node_wish(int node, char *buffer, size_t size); /* "node 1", "interleaved", "any" */

/* Ends standard output: STATUS_FAILED when something of it could not be written. */
int finish_output(int status);

/* ---- transfer.c: what send and recv have in common ---- */

struct transfer {
    const char *verb; /* "sent", "received" */
    const char *segment;
    const char *ring;
    int64_t timeout_ns; /* longest wait without anything moving; negative: for ever */
    bool quiet;
    bool progress; /* even when standard error is no terminal */
    bool follow;   /* outlast the other side */
    uint64_t bytes, messages;
    uint64_t expected; /* bytes, 0: not known */
    int64_t began_ns, shown_ns;
    int64_t idle_since_ns; /* 0: something has moved since */
    bool shown, said_waiting;
    bool terminal; /* standard error is one */
};

extern volatile sig_atomic_t transfer_signal; /* 0, or the signal that asked to stop */

void transfer_begin(struct transfer *transfer);
/* Time limit for one call of the library: short, so that signals are noticed. */
int64_t transfer_slice(const struct transfer *transfer);
/* Counts, and shows progress now and then. */
void transfer_moved(struct transfer *transfer, uint64_t messages, uint64_t bytes);
/* After a slice in which nothing moved: 0 to go on, -EINTR, or -ETIMEDOUT. */
int transfer_idle(struct transfer *transfer);
/* Sleeps for some milliseconds, then as transfer_idle(): for calls that come back at once. */
int transfer_doze(struct transfer *transfer);
/* Attaches to the segment, waiting for it to appear. */
int transfer_attach(struct transfer *transfer, const struct ring_segment_options *options,
                    struct ring_segment **segment);
/* Says why it is waiting, once, when that lasts. */
void transfer_notice(struct transfer *transfer, const char *notice);
/* Ends as one whose reader has left ends: by SIGPIPE, unless that is ignored. Close everything before. */
int transfer_broken_pipe(const struct transfer *transfer);
/* The last words: takes the progress line away, sums up. `status` passes through; a signal makes it 128 + signal. */
int transfer_end(struct transfer *transfer, int status);

#endif
