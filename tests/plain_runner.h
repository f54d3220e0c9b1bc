/* plain_runner.h - Test() without Criterion, for builds in which Criterion's own processes cannot start
 * (ThreadSanitizer). Each test runs in a process of its own, forked and executed anew; the report is TAP. */
#ifndef TESTS_PLAIN_RUNNER_H
#define TESTS_PLAIN_RUNNER_H

#include <stddef.h>

struct plain_test {
    const char *suite;
    const char *name;
    void (*body)(void);
    struct plain_test *next;
};

void plain_runner_add(struct plain_test *test);
void plain_runner_fail(const char *file, int line, const char *text) __attribute__((noreturn));
void plain_runner_skip(const char *reason) __attribute__((noreturn));
void plain_runner_finished(void); /* the harness removes what tests left */

#define Test(suite_, name_)                                                                                            \
    static void suite_##_##name_(void);                                                                                \
    static struct plain_test suite_##_##name_##_entry = { #suite_, #name_, suite_##_##name_, NULL };                   \
    __attribute__((constructor)) static void suite_##_##name_##_add(void)                                              \
    {                                                                                                                  \
        plain_runner_add(&suite_##_##name_##_entry);                                                                   \
    }                                                                                                                  \
    static void suite_##_##name_(void)

#endif
