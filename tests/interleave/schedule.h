/* schedule.h - logical threads whose interleaving is decided by a seed, with stores that reach memory late.
 *
 * A logical thread is a coroutine that goes on where it stands until another one is chosen, at one of its steps: before
 * each access to shared memory, each lock call, each barrier. Two ways of choosing, by the seed: at random with a
 * probability of the seed's; or by priorities, that change at some steps (PCT: Burckhardt et al., "A Randomized
 * Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
 *
 * Memory: loads happen in program order. A store waits in its thread's buffer; any of those waiting may reach memory
 * next, but none before an earlier one to the same bytes, a release store not before all earlier ones, and none before
 * one that came before a release fence. Read-modify-write and seq_cst empty what C11 says they must. So a release that
 * was left out shows on any machine, also such as only Arm would show; an acquire that was left out does not.
 *
 * Death: at some step of a thread; its stores so far reach memory, its claims are dropped, and it never goes on. */
#ifndef INTERLEAVE_SCHEDULE_H
#define INTERLEAVE_SCHEDULE_H

#include "hook.h"

enum { LOGICAL_THREADS = 8, STEPS_MOST = 200000 };

enum logical_state { LOGICAL_NONE, LOGICAL_READY, LOGICAL_ENDED, LOGICAL_DEAD };

/* ---- A run ---- */

typedef void (*logical_body)(void *argument);

/* Begins anew; what lies in `bytes` from `first` on is shared. */
void schedule_begin(uint64_t seed, unsigned char *first, size_t bytes);
/* The thread's number. `until`: it does not begin before that says so; NULL: at once. */
unsigned schedule_add(const char *name, logical_body body, void *argument, bool (*until)(void *argument));
/* The thread dies before that step of its own, if it comes so far. */
void schedule_kill_at(unsigned thread, uint64_t step);
/* Runs until all have ended or died. False: something was not as it must be, see schedule_failure(). */
bool schedule_run(void);
/* Whatever runs schedules and demands. False: it failed. */
bool schedule_attempt(void (*part)(void));
const char *schedule_failure(void);
uint64_t schedule_steps(void); /* of the last run */

enum logical_state schedule_state(unsigned thread);
unsigned schedule_self(void); /* LOGICAL_THREADS outside a run */

/* ---- For threads ---- */

void schedule_yield(void); /* nothing to do just now: others first */
/* Ends the run as failed, from within or without. */
void schedule_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define DEMAND(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            schedule_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition);                                        \
    } while (0)
#define DEMAND_SAME(actual, expected)                                                                                  \
    do {                                                                                                               \
        long long actual_value = (long long)(actual), expected_value = (long long)(expected);                          \
        if (actual_value != expected_value)                                                                            \
            schedule_fail("%s:%d: %s is %lld, not %lld", __FILE__, __LINE__, #actual, actual_value, expected_value);   \
    } while (0)

/* From the seed, for the scenario. */
uint64_t chance(void);
uint64_t chance_below(uint64_t bound);

/* ---- For accesses.c ---- */

void accesses_begin(unsigned char *first, size_t bytes); /* what is shared */
void schedule_turn(void);                                /* before an access: others may go on, or this one die */
struct stores *schedule_stores(void);                    /* of the thread whose turn it is; NULL: outside a run */
bool schedule_delays(void);                              /* stores wait in this run */
const char *schedule_name(void);                         /* of the thread */

/* ---- For kernel.c ---- */

void schedule_step(const char *what, uint64_t value); /* a step that is no access */
void schedule_settle(void);                           /* the stores of this thread reach memory */
void schedule_settle_all(void);                       /* those of all */
/* This thread goes on when somebody wakes that word. */
void schedule_sleep(const void *word);
int schedule_wake(const void *word, int most); /* how many */
void kernel_begin(void);
void kernel_forget(unsigned thread); /* it died: its claims are dropped */

/* ---- What may be left out on purpose, to see that it is noticed ---- */

struct sabotage {
    const char *name;
    const char *file; /* release stores, or fences, of expression `what` in this file are relaxed */
    const char *what;
    enum { ORDER, NO_BARRIER, ALL_DEAD, ALL_ALIVE } kind;
    const char *scenario; /* where it must be noticed */
};
extern const struct sabotage *sabotage; /* NULL: none */

extern bool schedule_trace; /* each step is printed */

#endif
