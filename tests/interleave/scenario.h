/* scenario.h - what the scenarios share: a segment with a ring or two, made anew for each seed; messages that tell
 * whose they are and whether they are whole; deaths. */
#ifndef INTERLEAVE_SCENARIO_H
#define INTERLEAVE_SCENARIO_H

#include "schedule.h"

#include <errno.h>
#include <stdio.h>

#include <ring/ring.h>
#include <ring/segment_private.h>

enum { MESSAGE_MOST = 1024, NUMBERS = 64, SENDERS = 4 };

struct scenario {
    const char *name;
    const char *about;
    unsigned share;    /* it gets one seed in so many: those who wait take many steps */
    void (*run)(void); /* the whole of it, under a seed; ends by schedule_fail() when something is not as it must be */
};
extern const struct scenario scenarios[];
extern const unsigned scenario_count;

void spsc_alone(void);
void spsc_successors(void);
void spsc_sleeping(void);
void spsc_growing(void);
void spsc_growing_asleep(void);
void mpmc_shared(void);
void mpmc_modes(void);
void mpmc_deaths(void);
void mpmc_sleeping(void);
void broadcast_overwriting(void);
void broadcast_lossless(void);
void broadcast_sleeping(void);
void blocks_lent(void);
void blocks_deaths(void);

/* ---- The segment ---- */

extern struct ring_segment *scene; /* with nothing in it but what `make` made */

/* Between runs: makes what `make` makes anew; begins the schedule of this seed. */
void scene_begin(uint64_t seed, int (*make)(struct ring_segment *segment));
extern uint64_t scene_seed;

/* Half of the runs sleep at once: many polls before a sleep give every store the time to arrive. */
void scene_choose_policy(struct ring_waiter *waiter);

/* Runs the threads; ends as failed if they did. */
void scene_run(void);

/* Some position where counters come round, or 0. */
uint64_t scene_position(void);

/* With some probability, kills the thread at some step. */
void scene_may_die(unsigned thread, unsigned percent);

bool scene_is_over(unsigned thread); /* it ended or died */
bool scene_is_dead(unsigned thread);

/* ---- Messages ---- */

/* The first word of message `number` of a sender, `length` bytes long (at least 8). */
uint64_t message_word(unsigned sender, unsigned number, size_t length);
void message_fill(void *message, unsigned sender, unsigned number, size_t length);
/* Is it whole, and of that length? */
bool message_is_whole(const void *message, size_t length, unsigned *sender, unsigned *number);
/* The same of bytes that hold a message of any length, or none. */
bool message_is_there(const void *bytes, unsigned *sender, unsigned *number);
size_t message_any_length(size_t most);

/* ---- What became of the messages of several senders and consumers ---- */

struct ledger {
    unsigned next[SENDERS];                  /* number of each one's next message */
    unsigned char sent[SENDERS][NUMBERS];    /* 1: its sending began, 2: and returned */
    unsigned char handed[SENDERS][NUMBERS];  /* bit c: consumer c was shown it */
    unsigned char taken[SENDERS][NUMBERS];   /* bit c: and has taken it for good */
    unsigned char in_hand[SENDERS][NUMBERS]; /* a consumer died that had a copy of it: it may be gone */
    int last[8][SENDERS];                    /* consumer's last number of that sender that came for the first time */
};
extern struct ledger ledger;

unsigned ledger_begin(unsigned sender, unsigned count); /* the first number */
/* The first `done` of `count` were sent; the others were not. */
void ledger_sent(unsigned sender, unsigned first, unsigned count, unsigned done);
/* A consumer is shown or given a message; `for_good`: it will not be shown to it again. */
void ledger_got(unsigned consumer, const void *message, size_t length, uint32_t flags, bool for_good);
/* What a dead consumer was copying. */
void ledger_died_with(const void *buffer, size_t stride, unsigned count);
/* All that was sent was received. */
void ledger_end(void);

#endif
