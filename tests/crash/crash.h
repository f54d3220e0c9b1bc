/* crash.h - killed at every instruction: what the files of this folder share.
 *
 * A row (struct row) names a call, what a victim does, and how the ring stands before. A row times a size times a
 * filling is a case. For each case a worker process, the tracer,
 *   1. builds segment, ring and survivors, and keeps the segment's bytes and the survivors' private parts: the base;
 *   2. lets one victim go through the call step by step; each time the bytes that outlive a victim (segment, and the
 *      account it writes) have changed, it keeps a copy: a state. Between two states a death leaves the same;
 *   3. recovers from each state: what is left of a victim is bytes alone, since its locks end with it. The bytes are
 *      put back into the same segment, the survivors' private parts as well, so they live through that death anew;
 *   4. kills real victims by SIGKILL, and demands that the bytes are those of the state kept for that step: this is
 *      the proof that 3 is faithful; and recovers again;
 *   5. stops a living victim at each state: survivors must not take it for dead; then kills it, or lets it go on.
 *
 * Adding a row takes ten lines: see the table at the end of spsc_calls.c. */
#ifndef CRASH_H
#define CRASH_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <ring/ring.h>

#define CRASH_PREFIX "shmring-crash-"

enum {
    BUFFER = 8192, /* bytes of messages a victim may receive */
    HANDED = 64,   /* messages it may receive */
    VICTIMS = 3,   /* at a time or one after the other */
    RANGE = 1000,  /* numbers of messages: 0.. lie in the ring before, then a range for each victim, then ours */
    OURS = RANGE * (VICTIMS + 1),
    NUMBERS = OURS + RANGE,
    FURTHER = 10000, /* messages that must go through after each death */
    SIZES = 4,
};
#define ALL_SIZES   15u /* sets for rows */
#define SMALL       1u  /* 8 bytes alone */
#define IN(filling) (1u << (filling))
#define LONG        INT64_C(5000000000) /* no call of a survivor may take so long, ns */

enum filling { EMPTY, HALF, NEARLY_FULL, FULL, WRAP, FILLINGS };

/* What a victim writes down where it outlives it; part of each state. */
struct account {
    uint64_t sent;  /* messages whose sending had returned to the victim */
    uint64_t taken; /* messages whose receiving had returned */
    int64_t code;   /* what the call returned */
    uint32_t flags[HANDED];
    unsigned char buffer[BUFFER]; /* message i at i * size */
};

struct topology;

enum row_flags {
    TAKES = 1,         /* the victim receives; else it sends, or neither */
    ALONE = 2,         /* the other side is dead too: no survivor, only successors */
    PEER_ASLEEP = 4,   /* the other side has asked to be woken */
    EACH = 8,          /* publish_bytes 1, and what had returned must not come again */
    AFTER_DEATH = 16,  /* the predecessor in the victim's place died */
    AFTER_CLOSE = 32,  /* it left in good order */
    IN_FLUX = 64,      /* the victim takes or leaves its place: whether it holds it depends on the step */
    TIMED = 128,       /* the victim waits, for longer than anybody looks on: it is killed at moments, asleep too */
    SOLE = 256,        /* MPMC: the victim is the only one of its side */
    PACKED = 512,      /* what lies in the ring was sent by send_array */
    NO_SOLE = 2048,    /* MPMC: nobody ever claims alone */
    LOSSLESS = 4096,   /* broadcast: the policy */
    CALLS_ONLY = 8192, /* only its system calls: its instructions are libc's */
    REPLACES = 16384,  /* what had the name before may be gone, if the last step was refused */
    GROWN = 32768,     /* SPSC: what the victim takes before lies in the old ring, the rest in a larger one behind it */
    RESERVE = 65536,   /* half of the segment is a reserve: what grows gets its memory there */
    IDLE = 1024,       /* the victim neither sends nor receives: it looks, or mends */
};

struct row {
    const char *call;
    const struct topology *topology;
    void (*prepare)(void); /* by the victim, before the first step */
    void (*act)(void);     /* by the victim, step by step */
    unsigned sizes;        /* set of 1 << index: 8, 56, 64, 300 bytes */
    unsigned fillings;     /* set of 1 << enum filling */
    unsigned flags;        /* enum row_flags */
    unsigned count;        /* messages that the call sends or receives */
    unsigned warm;         /* messages that the victim sent or received before, in prepare */
    int code;              /* what the call must have returned when it comes to its end */
    void (*first)(void);   /* another victim's part, which dies before at each of its states: the victim mends that */
    void (*first_prepare)(void);
    void (*rival)(void); /* another victim's part, which runs to its end while the victim stands at each state */
    void (*rival_prepare)(void);
    unsigned first_flags; /* TAKES for the two */
    unsigned rival_flags;
    const char *detail; /* added to the name */
};

/* The kinds of things to be killed. Each function ends by crash_fail() when something is not as it must be. */
struct topology {
    size_t bytes;                  /* of the segment; 0: the case has no segment of its own before */
    void (*build)(void);           /* the base, with survivors */
    void (*keep)(bool put_back);   /* the survivors' private parts: keep them, or put them back */
    void (*paused)(void);          /* survivors act while the victim is alive and stopped */
    void (*recover)(unsigned way); /* the victim is dead: 0 .. ways-1 */
    unsigned ways;
    void (*reset)(void);    /* instead of putting the bytes back */
    uint64_t (*look)(void); /* instead of the bytes: a number that says in what state things are */
};

/* The case at hand. One worker process has one. */
struct stage {
    const struct row *row;
    size_t size;
    enum filling filling;
    char name[64]; /* of the segment */
    struct ring_segment *segment;
    unsigned char *bytes;     /* the segment, mapped by the worker itself */
    struct account *accounts; /* of the victims, shared with them */
    unsigned me;              /* victim: which of them */
    unsigned pending;         /* messages that lay in the ring before */
    unsigned dead_took;       /* of these, received by one who died in build */
    unsigned flag_limit;      /* so many of the messages that lay in the ring may carry a flag */
    bool exact;               /* what victims received and had returned must not come again */
    unsigned victims;         /* how many took part */
    uint64_t further;         /* messages to go through after a recovery */
    char context[128];        /* comes before what a failure says */
    jmp_buf failed;
};
extern struct stage stage;

/* What came of a case, for the report. */
struct outcome {
    uint64_t steps;      /* instructions stepped through */
    uint64_t states;     /* different states found */
    uint64_t recoveries; /* from states */
    uint64_t kills;      /* by SIGKILL */
    uint64_t pauses;     /* living victims stopped */
    uint64_t slowest_ns; /* recovery, with its further messages */
    uint64_t refusals;   /* system calls that were made to fail */
    uint64_t errors;     /* of these, such that made the library's call fail */
    uint64_t done;       /* 1: came to its end */
    char failure[600];
};
extern struct outcome *outcome;

extern uint64_t every_option; /* --every */

/* Ends the case as failed. */
void crash_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define WANT(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            crash_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition);                                           \
    } while (0)
#define WANT_SAME(actual, expected)                                                                                    \
    do {                                                                                                               \
        long long actual_value = (long long)(actual), expected_value = (long long)(expected);                          \
        if (actual_value != expected_value)                                                                            \
            crash_fail("%s:%d: %s is %lld, not %lld (%s)", __FILE__, __LINE__, #actual, actual_value, expected_value,  \
                       ring_error_detail());                                                                           \
    } while (0)

/* ---- message.c: messages and what became of them ---- */

void message_write(void *place, size_t size, uint64_t number);
/* The number of a whole message of that size; -1: torn, or none. */
int64_t message_read(const void *place, size_t size);

struct ledger {
    unsigned char arrived[NUMBERS];
    uint64_t last[VICTIMS + 2]; /* number + 1 of the last unflagged of each range */
    uint64_t last_of_all;
    uint64_t ours;        /* messages that survivors sent since, numbers OURS.. */
    uint64_t ours_before; /* of these, before a successor of a consumer came */
    bool all_see;         /* each consumer sees every message: what victims received does not count */
    bool one_order;       /* all ranges come in one order: numbers only grow */
};
extern struct ledger ledger;

void ledger_begin(bool one_order);
uint64_t ledger_send(void *place); /* writes the next message of ours, of stage.size bytes; its number */
void ledger_arrived(const void *message, size_t length, uint32_t flags);
void ledger_end(void); /* nothing is lost, nothing came twice without a flag */

/* ---- trace.c: a traced victim (x86-64) ---- */

struct victim {
    pid_t pid;
    bool marked; /* it has come to the end of its act */
};

/* Starts a victim and lets it come to the first instruction of act. */
void victim_start(struct victim *victim, unsigned which, void (*prepare)(void), void (*act)(void));
bool victim_step(struct victim *victim);                         /* false: it has come to the end */
void victim_finish(struct victim *victim);                       /* lets it run to the end of act */
void victim_let_go(struct victim *victim, uint64_t nanoseconds); /* lets it run for so long */
void victim_kill(struct victim *victim);                         /* by SIGKILL, and waits until it is gone */
uint64_t victim_place(const struct victim *victim);              /* address of its next instruction */
/* By a victim: from now on its clock goes on by 20 us with each look at it and not otherwise, so that a wait takes the
 * same steps each time, however long a step takes. */
void victim_stop_clock(void);

/* Where a victim was after each number of steps. */
struct path {
    uint64_t *places;
    unsigned char *fresh; /* 1: a place of the program, and no earlier step was there */
    uint64_t count, room;
};

void path_add(struct path *path, uint64_t place);
void path_close(struct path *path);                         /* no more to add: finds what is fresh */
uint64_t path_near(const struct path *path, uint64_t step); /* this step, or one before it that is quick to reach */
void path_free(struct path *path);

/* Runs on from the first instruction of act until `step` steps are done. False: it came to its end before. */
bool victim_reach(struct victim *victim, const struct path *path, uint64_t step);

/* ---- sweep.c ---- */

void sweep(void); /* the whole case */

/* What outlives the dead at a step. */
struct state {
    uint64_t step; /* the first with these bytes */
    unsigned char *bytes;
    uint64_t look; /* topologies without bytes */
    struct account accounts[VICTIMS];
    pid_t pid; /* of the victim whose bytes these are */
};

/* Builds the case and visits its base; of a row with a first victim, each state that one may leave. */
void sweep_bases(void (*visit)(const struct state *base));
void state_restore(const struct state *state); /* puts everything back as it was, survivors included */
void state_recover(unsigned way, uint64_t further);

/* ---- program.c ---- */

struct program {
    const char *name;
    const char *usage;
    bool (*wants)(const struct row *row); /* NULL: all rows */
    void (*sweep)(void);                  /* a case, in a worker */
    void (*describe)(const struct outcome *all, char *text, size_t room);
};
extern const struct program program;

void victim_mark(void);                       /* by a victim: stops it, as at the ends of its act */
int victim_stop(const struct victim *victim); /* waits for its next stop: the signal */

/* ---- stage.c ---- */

void stage_begin(const struct row *row, size_t size, enum filling filling, const char *name);
void stage_end(void);
void stage_map(void);                       /* maps the segment of stage.name at stage.bytes */
struct ring_segment *stage_attach(void);    /* for victims */
struct account *stage_account(void);        /* victim: its own */
void stage_run_and_die(void (*part)(void)); /* a child that does this and dies by SIGKILL */
unsigned stage_names(bool remove);          /* names of this worker in /dev/shm */
uint64_t crash_now(void);

extern const struct row blocks_rows[];
extern const size_t blocks_row_count;
extern const struct row spsc_rows[], segment_rows[], mpmc_rows[], broadcast_rows[];
extern const size_t spsc_row_count, segment_row_count, mpmc_row_count, broadcast_row_count;

#endif
