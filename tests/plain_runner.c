/* plain_runner.c - runs the tests of a program one after the other, see plain_runner.h.
 * Usage: PROGRAM runs all; PROGRAM SUITE NAME runs one in this process. Exit 0: all passed. */
#include "plain_runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, FAILED = 1, TIMEOUT_SECONDS = 240 };

static struct plain_test *tests;

void plain_runner_add(struct plain_test *test)
{
    struct plain_test **end = &tests;
    while (*end)
        end = &(*end)->next;
    *end = test;
}

void plain_runner_fail(const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
    exit(FAILED);
}

void plain_runner_skip(const char *reason)
{
    fprintf(stderr, "skipped: %s\n", reason);
    exit(SKIPPED);
}

static int run_one(const char *suite, const char *name)
{
    for (struct plain_test *test = tests; test; test = test->next)
        if (strcmp(test->suite, suite) == 0 && strcmp(test->name, name) == 0) {
            alarm(TIMEOUT_SECONDS);
            test->body();
            return 0;
        }
    fprintf(stderr, "no test %s::%s\n", suite, name);
    return 2;
}

static int run_apart(const struct plain_test *test)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test", test->suite, test->name, (char *)NULL);
        _exit(2);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 2;
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s::%s: signal %d\n", test->suite, test->name, WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

int main(int count, char **arguments)
{
    if (count == 3)
        return run_one(arguments[1], arguments[2]);
    unsigned total = 0, failed = 0;
    for (struct plain_test *test = tests; test; test = test->next)
        total++;
    printf("TAP version 13\n1..%u\n", total);
    for (struct plain_test *test = tests; test; test = test->next) {
        int code = run_apart(test);
        failed += code != 0 && code != SKIPPED;
        printf("%s - %s::%s%s\n", code == 0 || code == SKIPPED ? "ok" : "not ok", test->suite, test->name,
               code == SKIPPED ? " # SKIP" : "");
    }
    plain_runner_finished();
    return failed ? 1 : 0;
}
