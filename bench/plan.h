/* plan.h - what was asked for, what is measured in which order, and what came out. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include "cell.h"

#define PLAN_LIST         64  /* sizes or batches at most */
#define PLAN_ROUNDS_AUTO  100 /* at most, with --rounds auto */
#define PLAN_ROUNDS_LEAST 5   /* before the stop rule may end a section */
#define PLAN_QUIET_LEAST  3   /* fewer undisturbed rounds than this: all are used, with a warning */
#define PLAN_DISTURBED    1.3 /* mean/p50 of the raw ping-pong above which the machine was not ours alone */
#define PLAN_FLOOR_MOVED  1.2 /* the floor before and after a section may differ by this factor */

/* Producers and consumers of a section. */
struct plan_sides {
    size_t producers, consumers;
};

/* The command line. */
struct plan_options {
    bool throughput, latency;
    enum bench_topology topology;
    struct plan_sides sides[PLAN_LIST];
    size_t side_count;
    size_t bytes[PLAN_LIST], byte_count;
    size_t batches[PLAN_LIST], batch_count;
    bool processes, threads;
    bool copy, in_place;
    size_t ring_bytes;
    bool huge;
    int processors[CELL_SIDES];
    size_t processor_count;
    double seconds; /* of each cell */
    double rate;    /* 0: closed loop */
    size_t rounds;  /* at most */
    double margin;  /* 0: always all rounds */
    const char *only, *baseline, *hgrm;
    bool json;
};

/* One contestant in one round. Times in ns. */
struct plan_figure {
    bool there;
    double messages;
    double figure; /* messages per second, or p50: what ratios are made of */
    double p50, p99, p999, mean;
    double producer_ns; /* broadcast: of the producer's time, per message */
    double lost;        /* broadcast that overwrites: share of the messages that consumers missed */
    double reordered;   /* share of the messages that came after a later one of the same producer */
    double ratio;       /* figure / the baseline's in this round; 0: none */
    double beside;      /* p50 / floor, or messages per second / ceiling, of this round; 0: none */
};

/* What the machine was like around one round of one section. */
struct plan_weather {
    bool disturbed;
    double floor_ns, floor_mean_ns;
    double ceiling; /* messages per second; 0: not a throughput section */
};

/* One contestant in one section. */
struct plan_series {
    const struct transport *transport;
    char left_out[200]; /* why it was not measured; "" when it was */
    char failure[320];  /* what went wrong, "" when nothing did */
    char note[200];
    double guess;
    struct plan_figure *rounds;
    struct histogram *latest, *quiet, *all; /* latency: of the last round, of the undisturbed ones, of all */
    /* The outcome, medians over the rounds that count. */
    size_t rounds_used;
    struct plan_figure median;
    bool has_interval;
    double ratio_low, ratio_high;
};

/* What is compared within a round: one kind, mode, size, batch and manner. */
struct plan_section {
    enum cell_kind kind;
    struct bench_options options;
    struct plan_series *series;
    struct plan_weather *weather;
    size_t rounds_done, rounds_quiet;
    bool settled;             /* the stop rule is fulfilled */
    bool noisy;               /* too few undisturbed rounds: all are used */
    double floor_ns, ceiling; /* medians over the rounds that count */
};

struct plan {
    struct plan_options options;
    struct plan_section *sections;
    size_t section_count;
    const struct transport **contestants;
    size_t contestant_count;
    const struct transport *baseline; /* or NULL */
    /* The outcome. */
    double floor_ns, floor_mean_ns, stream_words; /* stream_words: 8-byte words per second */
    size_t rounds_disturbed, rounds_all;          /* counting each section's */
    bool failed;
};

/* Lays out the sections. 0, or -EINVAL after a message on standard error. */
int plan_make(struct plan *plan, const struct plan_options *options);
void plan_free(struct plan *plan);

/* rounds.c: measures. 0; -EINTR; -EBADMSG: a contestant lost or changed messages. */
int plan_run(struct plan *plan);

/* outcome.c: medians, ratios and intervals from what has been measured so far. */
void plan_judge_section(struct plan *plan, struct plan_section *section);
void plan_judge(struct plan *plan);

/* result_json.c, result_table.c: print the outcome on standard output. 0 or -errno. */
int plan_print_json(const struct plan *plan);
int plan_print_table(const struct plan *plan);

/* result_hgrm.c: writes a percentile file per latency series into the directory. 0 or -errno, after a message. */
int plan_write_hgrm(const struct plan *plan);

const char *plan_kind_name(enum cell_kind kind);
const char *plan_mode_name(const struct bench_options *options);
const char *plan_topology_name(enum bench_topology topology);

/* "2 producers, 1 consumer" */
const char *plan_sides_name(const struct bench_options *options, char *text, size_t size);

#endif
