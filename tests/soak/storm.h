/* storm.h - what storm.c (processes) and rounds.c (rounds, accounts) share. */
#ifndef SOAK_STORM_H
#define SOAK_STORM_H

#include "soak.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)
#define STALL_LIMIT (2 * SECOND)
#define LOOK_COUNTS (2 * MILLISECOND)
#define SOAK_NAME   "shmring-soak-"

/* A process of ours. */
struct held {
    enum soak_role role;
    pid_t pid; /* 0: none */
    bool killed;
    int64_t resume_at; /* stopped until then; 0: not stopped */
    int64_t start_at;  /* the next one is due */
    int64_t opening_since;
};

struct storm {
    const struct soak_plan *plan;
    struct soak_sums *sums;
    struct soak_random random;
    struct held held[SOAK_ACTORS];
    unsigned actors;
    uint64_t next_life;
    unsigned lives; /* in this round */
    uint64_t allowed;
    int64_t began, disturb_at, shown_at, last_look;
    int64_t still_since, still_for; /* by the clock; and by looks */
    uint64_t progress;
    uint64_t name;
    bool storming;
};

/* Starts a process in its place. False: fork failed, or there are no more lives in this round. */
bool soak_start(struct storm *storm, struct held *held);
/* Notes who has ended; false: somebody failed. */
bool soak_reap(struct storm *storm);
void soak_end_all(struct storm *storm);
/* Kills, stops or sends away somebody, or many. */
void soak_disturb(struct storm *storm, int64_t now);
/* Lets those go on who were stopped for long enough. */
void soak_resume(struct storm *storm, int64_t now);
/* False: the ring stands still. */
bool soak_watch(struct storm *storm, int64_t now);
/* Keeps the reason of a failure; false. */
bool soak_say(const char *text);

#endif
