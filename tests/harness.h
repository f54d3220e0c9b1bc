/* harness.h - what all tests share: one way to demand, names that clean up after themselves, children, patterns.
 *
 * Tests are Criterion's. Its processes cannot live under ThreadSanitizer (they die in its start-up), so there a runner
 * of a hundred lines takes the same Test() declarations: plain_runner.h.
 *
 * REQUIRE works in the test itself, in its threads (aborts) and in its children (exit status 70, seen by test_wait).
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <ring/ring.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef TEST_PLAIN_RUNNER
#include "plain_runner.h"
#else
#include <criterion/criterion.h>
#endif

#define TEST_SECOND INT64_C(1000000000)
#define TEST_LONG   (60 * TEST_SECOND) /* a time limit that only a hang reaches */

/* ---- Demands ---- */

void test_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));

/* Ends the test as skipped, with the reason. */
void test_skip(const char *reason) __attribute__((noreturn));

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            test_failed(__FILE__, __LINE__, "not so: %s", #condition);                                                 \
    } while (0)

#define REQUIRE_SAME(actual, expected)                                                                                 \
    do {                                                                                                               \
        long long actual_value = (long long)(actual), expected_value = (long long)(expected);                          \
        if (actual_value != expected_value)                                                                            \
            test_failed(__FILE__, __LINE__, "%s is %lld, not %lld (%s)", #actual, actual_value, expected_value,        \
                        #expected);                                                                                    \
    } while (0)

/* One of these codes, and what came instead if not. */
#define REQUIRE_ONE_OF(actual, ...)                                                                                    \
    do {                                                                                                               \
        const long long one_of[] = { __VA_ARGS__ };                                                                    \
        test_check_one_of(__FILE__, __LINE__, #actual, (long long)(actual), #__VA_ARGS__, one_of,                      \
                          sizeof one_of / sizeof *one_of);                                                             \
    } while (0)

/* 0 from a cold call; its sentence is shown if not. */
#define REQUIRE_OK(call)                                                                                               \
    do {                                                                                                               \
        long long call_value = (long long)(call);                                                                      \
        if (call_value != 0)                                                                                           \
            test_failed(__FILE__, __LINE__, "%s is %lld: %s", #call, call_value, ring_error_detail());                 \
    } while (0)

/* A cold call fails with this errno, and leaves a sentence of its own. */
#define REQUIRE_REFUSED(call, error)                                                                                   \
    do {                                                                                                               \
        test_mark_detail();                                                                                            \
        long long call_value = (long long)(call);                                                                      \
        test_check_refused(__FILE__, __LINE__, #call, call_value, -(error));                                           \
    } while (0)

/* The same for a call that may refuse with any errno. */
#define REQUIRE_REFUSED_SOMEHOW(call)                                                                                  \
    do {                                                                                                               \
        test_mark_detail();                                                                                            \
        long long call_value = (long long)(call);                                                                      \
        test_check_refused(__FILE__, __LINE__, #call, call_value, 0);                                                  \
    } while (0)

void test_mark_detail(void);
void test_check_refused(const char *file, int line, const char *call, long long value, long long expected);
void test_check_one_of(const char *file, int line, const char *name, long long value, const char *names,
                       const long long *codes, size_t count);

/* Number of rounds: fewer under sanitizers and valgrind-like slowness. */
static inline uint64_t test_rounds(uint64_t rounds)
{
#ifdef TEST_SLOW
    return rounds / 8 ? rounds / 8 : 1;
#else
    return rounds;
#endif
}

/* ---- Names ---- */

enum { TEST_NAME = 128 };

/* The name of this test's segment: no other test has it, and it goes away with the test, however that ends. */
const char *test_name(void);

/* One more name, ending in `number`. */
const char *test_name_of(char name[TEST_NAME], int number);

/* The path of a segment's file. */
const char *test_path(char path[TEST_NAME], const char *name);

/* How many files in /dev/shm bear names of this test. */
unsigned test_names_left(void);

/* How many descriptors and mappings this process has (under sanitizers: mappings of segments). */
unsigned test_descriptors(void);
unsigned test_mappings(void);

/* ---- Children: they attach anew, and die with the test ---- */

typedef int (*test_body)(void *argument);

pid_t test_spawn(test_body body, void *argument);
void test_wait(pid_t child);        /* demands exit status 0, within a minute or two */
void test_kill(pid_t child);        /* SIGKILL, and waits for the end */
int test_wait_status(pid_t child);  /* whatever it is, as waitpid() gives it */
void *test_shared(size_t bytes);    /* zeroed memory shared with children to come */
void test_nap(int64_t nanoseconds); /* sleeps */

/* Waits until *word is at least `value`; fails after a minute. */
void test_await(RING_ATOMIC(uint64_t) *word, uint64_t value);

/* ---- Patterns and chance ---- */

uint64_t test_mix(uint64_t value);
void test_fill(void *bytes, size_t length, uint64_t seed);
bool test_matches(const void *bytes, size_t length, uint64_t seed);

struct test_random {
    uint64_t state;
};

uint64_t test_random(struct test_random *random);
uint64_t test_below(struct test_random *random, uint64_t bound); /* 0 .. bound-1 */

/* ---- Segments and rings ---- */

/* Options without huge pages and locks, which most tests have no use for. */
struct ring_segment_options test_plain(size_t bytes);
struct ring_segment *test_create(size_t bytes);
struct ring_segment *test_attach(void);

/* A segment with a ring "ring", both ends open in this process. */
struct test_pair {
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    struct ring_segment *segment;
    size_t max_message;
};

void test_pair_open(struct test_pair *pair, size_t bytes, size_t publish_bytes, uint64_t start_position);
void test_pair_close(struct test_pair *pair);

/* Ends of "ring" of the test's segment in a process that attaches anew. */
void test_open_producer(struct ring_spsc_producer *producer, struct ring_segment *segment);
void test_open_consumer(struct ring_spsc_consumer *consumer, struct ring_segment *segment);

/* Sends or receives a message of the pattern `seed`, and demands that it works. */
void test_send(struct ring_spsc_producer *producer, size_t length, uint64_t seed);
void test_recv(struct ring_spsc_consumer *consumer, size_t length, uint64_t seed);

/* The file of a segment as anybody with the right to write may see it. */
struct test_outside {
    unsigned char *bytes;
    size_t size;
};

struct test_outside test_outside_open(const char *name);
void test_outside_close(struct test_outside *outside);

#endif
