/* soak.h - what the files of the soak share: a storm of processes that come, go, are stopped and killed, and a ledger
 * of every message, in shared memory of its own.
 *
 *   soak.c        options, what is printed
 *   rounds.c      the supervisor: ring after ring, round after round, settles the accounts
 *   storm.c       its hands and eyes: starts, kills and stops processes, watches for standstill
 *   ledger.c      messages and their accounts
 *   ends.c        the verbs of SPSC and MPMC rings behind one face
 *   traffic.c     producers and consumers of SPSC and MPMC rings
 *   news.c        the same for broadcast rings
 *
 * The storm goes in rounds. In a round nobody is spared; at its end the producers are asked to leave, the consumers
 * take what is left, and the account of each message is settled. So the ledger holds one round only.
 */
#ifndef SOAK_H
#define SOAK_H

#include <ring/ring.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum {
    SOAK_LIVES = 1024,            /* producers in one round */
    SOAK_LIFE_MESSAGES = 1 << 15, /* messages of one of them at most */
    SOAK_ACTORS = 8,
    SOAK_LONGEST = 1024, /* bytes of a message */
    SOAK_BATCH = 16,
};

enum soak_kind { SOAK_SPSC, SOAK_MPMC, SOAK_BROADCAST, SOAK_KINDS };
enum soak_role { SOAK_PRODUCER, SOAK_CONSUMER, SOAK_HELPER };
enum soak_state { SOAK_GONE, SOAK_OPENING, SOAK_AT_WORK, SOAK_NAPPING };

/* Of the ring under test. */
struct soak_ring {
    enum soak_kind kind;
    char name[64];
    size_t longest; /* message */
    size_t slots;   /* or bytes */
    size_t publish_bytes;
    unsigned flags;
    enum ring_broadcast_policy policy;
    uint64_t start;
};

/* One producer, from its start to its death. Messages before `sent` were sent; those from there to `began` it had in
 * hand. Writer: itself. */
struct soak_life {
    RING_ATOMIC(uint64_t) began;
    RING_ATOMIC(uint64_t) sent;
};

/* How far a consumer of a broadcast ring, with all its successors, has come. */
struct soak_stream {
    uint64_t next; /* position */
    uint64_t received;
    uint64_t lost;
    uint64_t last; /* who sent the message before `next`; or SOAK_NOBODY */
};

#define SOAK_NOBODY UINT64_MAX

/* The place of a process; those that hold it come and go. */
struct soak_actor {
    RING_ALIGNED(RING_LINE_PAIR) RING_ATOMIC(uint32_t) state; /* enum soak_state */
    RING_ATOMIC(uint32_t) leave;                              /* 1: end in good order */
    RING_ATOMIC(uint32_t) done;                               /* consumer: nothing was left, at the end of the round */
    RING_ATOMIC(uint64_t) progress;                           /* messages taken (lost ones count) */
    RING_ATOMIC(uint64_t) in_hand;    /* consumer: messages that its call may free before they are booked */
    RING_ATOMIC(uint32_t) stream_now; /* which of the two is valid: so a death leaves one of them */
    struct soak_stream streams[2];
};

struct soak_ledger {
    struct soak_ring ring;
    RING_ATOMIC(uint32_t) finish; /* 1: consumers leave when nothing is left */
    RING_ATOMIC(uint32_t) failed;
    char said[512];
    uint64_t first_life; /* of this round */
    RING_ATOMIC(uint64_t) duplicates;
    RING_ATOMIC(uint64_t) flagged;
    RING_ATOMIC(uint64_t) newest; /* SPSC: one more than the newest message that came without a flag */
    struct soak_actor actors[SOAK_ACTORS];
    struct soak_life lives[SOAK_LIVES];
    RING_ATOMIC(uint8_t) seen[SOAK_LIVES][SOAK_LIFE_MESSAGES]; /* 1: without flag, 2: with it */
};

/* ---- ledger.c ---- */

extern struct soak_ledger *soak_ledger;

struct soak_random {
    uint64_t state;
};

uint64_t soak_random(struct soak_random *random);
uint64_t soak_below(struct soak_random *random, uint64_t bound);
int64_t soak_now(void);
void soak_nap(int64_t nanoseconds);

/* A child's last words. */
void soak_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Who: number of the life << 32 | number of the message in it. Messages have at least SOAK_SHORTEST bytes. */
#define SOAK_SHORTEST ((size_t)24)
void soak_write(void *message, size_t length, uint64_t who, uint64_t where);
/* Fails when the message is torn. */
void soak_check(const void *message, size_t length, uint64_t *who, uint64_t *where);

/* Books a message that was received. */
void soak_book(uint64_t who, bool flagged);

struct soak_life *soak_life_of(uint64_t who);

/* What a round came to. */
struct soak_sums {
    uint64_t sent, received, in_hand_arrived, in_hand_vanished, unbooked, allowed, duplicates, flagged;
    uint64_t killed, stopped, left, rounds, lost;
    int64_t longest_stall, longest_stall_by_clock, longest_open, longest_gap;
};

/* Adds the accounts of this round's `lives`; false, with the reason in the ledger, if they are not in order.
 * `allowed`: messages that consumers may have taken with them. */
bool soak_settle(unsigned lives, uint64_t allowed, struct soak_sums *sums);

/* ---- ends.c ---- */

struct soak_end {
    struct ring_segment *segment;
    union {
        struct ring_spsc_producer spsc_producer;
        struct ring_spsc_consumer spsc_consumer;
        struct ring_mpmc_producer mpmc_producer;
        struct ring_mpmc_consumer mpmc_consumer;
    } of;
};

struct soak_verbs {
    int (*open_producer)(struct soak_end *);
    int (*open_consumer)(struct soak_end *);
    int (*close_producer)(struct soak_end *);
    int (*close_consumer)(struct soak_end *);
    int (*send)(struct soak_end *, const void *, size_t, int64_t);
    int (*reserve)(struct soak_end *, size_t, void **, int64_t);
    int (*commit)(struct soak_end *, size_t);
    int (*cancel)(struct soak_end *);
    ssize_t (*send_array)(struct soak_end *, const void *, size_t, size_t, int64_t);
    ssize_t (*recv)(struct soak_end *, void *, size_t, int64_t);
    uint32_t (*last_flags)(struct soak_end *);
    ssize_t (*peek_batch)(struct soak_end *, struct ring_message *, size_t, int64_t);
    int (*release)(struct soak_end *, size_t);
};

extern const struct soak_verbs soak_spsc_verbs, soak_mpmc_verbs;

/* ---- traffic.c, news.c: the bodies of children ---- */

void soak_produce(struct soak_actor *self, uint64_t life, struct soak_random *random);
void soak_consume(struct soak_actor *self, struct soak_random *random);
void soak_help(struct soak_actor *self, struct soak_random *random);
void soak_tell_news(struct soak_actor *self, uint64_t life, struct soak_random *random);
void soak_hear_news(struct soak_actor *self, struct soak_random *random);
void soak_observe_news(struct soak_actor *self, struct soak_random *random);

/* Attaches, or fails. */
struct ring_segment *soak_attach(unsigned flags);
bool soak_shall_leave(struct soak_actor *self);
/* True: the code only means that nothing can be done just now. */
bool soak_is_not_now(int64_t code);
void soak_doze(struct soak_actor *self, struct soak_random *random);

/* ---- rounds.c ---- */

struct soak_plan {
    enum soak_kind kind;
    enum ring_broadcast_policy policy; /* of broadcast */
    int64_t nanoseconds;
    uint64_t seed;
    bool quiet; /* no progress line */
};

/* 0; 1: failed, the reason in `said`; 130: interrupted. */
int soak_storm(const struct soak_plan *plan, struct soak_sums *sums);

/* To be called by a handler of signals. */
extern volatile sig_atomic_t soak_interrupted;

/* Removes the segments of soaks that were killed. */
void soak_remove_old(void);

#endif
