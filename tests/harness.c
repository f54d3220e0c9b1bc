/* harness.c - see harness.h.
 *
 * Names are shmring-test-RUNNER-TEST[-NUMBER] by pids: a test removes its own at exit, and the runner what crashed tests
 * left behind.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#ifndef TEST_PLAIN_RUNNER
#include <criterion/hooks.h>
#endif

#define NAME_PREFIX "shmring-test-"
#define MARKER      "shmring-test-nobody-has-this-name"

enum { CHILD_FAILED = 70 };

static pid_t test_process; /* the test itself, not its children */
static char own_name[TEST_NAME];
static pid_t parent_of_child;

/* ---- Demands ---- */

void test_failed(const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (parent_of_child) {
        fprintf(stderr, "child %d: %s:%d: %s\n", (int)getpid(), file, line, text);
        fflush(NULL);
        _exit(CHILD_FAILED);
    }
    if (syscall(SYS_gettid) != getpid()) {
        fprintf(stderr, "thread: %s:%d: %s\n", file, line, text);
        fflush(NULL);
        abort();
    }
#ifdef TEST_PLAIN_RUNNER
    plain_runner_fail(file, line, text);
#else
    cr_assert_fail("%s:%d: %s", file, line, text);
#endif
    abort();
}

void test_skip(const char *reason)
{
#ifdef TEST_PLAIN_RUNNER
    plain_runner_skip(reason);
#else
    cr_skip_test("%s", reason);
#endif
    abort();
}

void test_mark_detail(void)
{
    ring_segment_unlink(MARKER);
}

void test_check_refused(const char *file, int line, const char *call, long long value, long long expected)
{
    if (expected ? value != expected : value >= 0)
        test_failed(file, line, "%s is %lld, expected a refusal (%lld); detail: \"%s\"", call, value, expected,
                    ring_error_detail());
    const char *detail = ring_error_detail();
    if (!detail || strlen(detail) < 10 || strstr(detail, MARKER))
        test_failed(file, line, "%s is %lld but leaves no sentence of its own: \"%s\"", call, value,
                    detail ? detail : "NULL");
}

void test_check_one_of(const char *file, int line, const char *name, long long value, const char *names,
                       const long long *codes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (codes[i] == value)
            return;
    const char *meaning = value < 0 ? strerror((int)-value) : "no error";
    test_failed(file, line, "%s is %lld (%s), not one of %s", name, value, meaning, names);
}

/* ---- Names ---- */

static unsigned count_names(const char *prefix, bool remove)
{
    unsigned found = 0;
    DIR *directory = opendir("/dev/shm");
    if (!directory)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        size_t length = strlen(prefix);
        if (strncmp(entry->d_name, prefix, length) != 0 || (entry->d_name[length] && entry->d_name[length] != '-'))
            continue;
        found++;
        if (remove && unlinkat(dirfd(directory), entry->d_name, 0) != 0)
            unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
    }
    closedir(directory);
    return found;
}

static void remove_own(void)
{
    if (getpid() == test_process)
        count_names(own_name, true);
}

/* What this runner's crashed tests left, and what runners left that were killed themselves. */
static void remove_runners(void)
{
    DIR *directory = opendir("/dev/shm");
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        int runner;
        if (sscanf(entry->d_name, NAME_PREFIX "%d-", &runner) == 1 && kill(runner, 0) != 0 && errno == ESRCH)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
    char prefix[TEST_NAME];
    snprintf(prefix, sizeof prefix, NAME_PREFIX "%d", (int)getpid());
    count_names(prefix, true);
}

#ifdef TEST_PLAIN_RUNNER
void plain_runner_finished(void)
{
    remove_runners();
}
#else
ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    remove_runners();
}
#endif

const char *test_name(void)
{
    if (!own_name[0]) {
        test_process = getpid();
        snprintf(own_name, sizeof own_name, NAME_PREFIX "%d-%d", (int)getppid(), (int)getpid());
        atexit(remove_own);
    }
    return own_name;
}

const char *test_name_of(char name[TEST_NAME], int number)
{
    snprintf(name, TEST_NAME, "%.100s-%d", test_name(), number);
    return name;
}

const char *test_path(char path[TEST_NAME], const char *name)
{
    snprintf(path, TEST_NAME, "/dev/shm/%.110s", name);
    return path;
}

unsigned test_names_left(void)
{
    return count_names(test_name(), false);
}

unsigned test_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    REQUIRE(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

unsigned test_mappings(void)
{
    unsigned count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    REQUIRE(maps);
    while (fgets(line, sizeof line, maps))
#ifdef TEST_SLOW
        count += strstr(line, "/dev/shm/") != NULL; /* sanitizers map what they like */
#else
        count++;
#endif
    fclose(maps);
    return count;
}

/* ---- Children ---- */

pid_t test_spawn(test_body body, void *argument)
{
    test_name();
    fflush(NULL);
    pid_t parent = getpid();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child)
        return child;
    parent_of_child = parent;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(71);
    signal(SIGALRM, SIG_DFL);
    int code = body(argument);
    fflush(NULL);
    _exit(code);
}

int test_wait_status(pid_t child)
{
    int status;
    for (int tries = 0; tries < 120 * 200; tries++) {
        pid_t ended = waitpid(child, &status, WNOHANG);
        REQUIRE(ended >= 0);
        if (ended == child)
            return status;
        test_nap(tries < 100 ? 500000 : 5000000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    test_failed(__FILE__, __LINE__, "child %d hangs", (int)child);
}

void test_wait(pid_t child)
{
    int status = test_wait_status(child);
    if (WIFSIGNALED(status))
        test_failed(__FILE__, __LINE__, "child %d died of signal %d", (int)child, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        test_failed(__FILE__, __LINE__, "child %d ended with status %d", (int)child, WEXITSTATUS(status));
}

void test_kill(pid_t child)
{
    REQUIRE_SAME(kill(child, SIGKILL), 0);
    int status = test_wait_status(child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        test_failed(__FILE__, __LINE__, "child %d had ended before it was killed: status 0x%x", (int)child, status);
}

void *test_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return memory;
}

void test_nap(int64_t nanoseconds)
{
    struct timespec time = { nanoseconds / TEST_SECOND, nanoseconds % TEST_SECOND };
    nanosleep(&time, NULL);
}

void test_await(RING_ATOMIC(uint64_t) *word, uint64_t value)
{
    for (int tries = 0; ring_atomic_load(word, memory_order_acquire) < value; tries++) {
        siginfo_t ended = { 0 };
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid && ended.si_code == CLD_EXITED &&
            ended.si_status == CHILD_FAILED)
            test_failed(__FILE__, __LINE__, "child %d failed, see above", (int)ended.si_pid);
        if (tries > 60 * 2000)
            test_failed(__FILE__, __LINE__, "waited in vain for %llu", (unsigned long long)value);
        test_nap(500000);
    }
}

/* ---- Patterns ---- */

uint64_t test_mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

void test_fill(void *bytes, size_t length, uint64_t seed)
{
    unsigned char *at = bytes;
    uint64_t word = test_mix(seed);
    for (; length >= 8; length -= 8, at += 8, word += UINT64_C(0x9e3779b97f4a7c15))
        memcpy(at, &word, 8);
    if (length)
        memcpy(at, &word, length);
}

bool test_matches(const void *bytes, size_t length, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t word = test_mix(seed);
    for (; length >= 8; length -= 8, at += 8, word += UINT64_C(0x9e3779b97f4a7c15))
        if (memcmp(at, &word, 8) != 0)
            return false;
    return !length || memcmp(at, &word, length) == 0;
}

uint64_t test_random(struct test_random *random)
{
    return test_mix(random->state++);
}

uint64_t test_below(struct test_random *random, uint64_t bound)
{
    return test_random(random) % bound;
}

/* ---- Segments and rings ---- */

struct ring_segment_options test_plain(size_t bytes)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = bytes;
    options.flags = 0;
    return options;
}

struct ring_segment *test_create(size_t bytes)
{
    struct ring_segment_options options = test_plain(bytes);
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
    return segment;
}

struct ring_segment *test_attach(void)
{
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, TEST_LONG));
    return segment;
}

void test_open_producer(struct ring_spsc_producer *producer, struct ring_segment *segment)
{
    REQUIRE_OK(ring_spsc_open_producer(producer, segment, "ring", TEST_LONG));
}

void test_open_consumer(struct ring_spsc_consumer *consumer, struct ring_segment *segment)
{
    REQUIRE_OK(ring_spsc_open_consumer(consumer, segment, "ring", TEST_LONG));
}

void test_pair_open(struct test_pair *pair, size_t bytes, size_t publish_bytes, uint64_t start_position)
{
    struct ring_spsc_options options = ring_spsc_defaults();
    options.bytes = bytes;
    options.publish_bytes = publish_bytes;
    options.start_position = start_position;
    pair->segment = test_create(RING_SEGMENT_MIN_BYTES + 2 * ring_spsc_footprint(bytes));
    REQUIRE_OK(ring_spsc_create_with(pair->segment, "ring", &options));
    test_open_producer(&pair->producer, pair->segment);
    test_open_consumer(&pair->consumer, pair->segment);
    struct ring_spsc_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_spsc_info(pair->segment, "ring", &info));
    pair->max_message = info.max_message;
}

void test_pair_close(struct test_pair *pair)
{
    REQUIRE_OK(ring_spsc_close_producer(&pair->producer));
    REQUIRE_OK(ring_spsc_close_consumer(&pair->consumer));
    REQUIRE_OK(ring_segment_close(&pair->segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

void test_send(struct ring_spsc_producer *producer, size_t length, uint64_t seed)
{
    void *message;
    REQUIRE_SAME(ring_spsc_reserve(producer, length, &message, TEST_LONG), 0);
    test_fill(message, length, seed);
    REQUIRE_SAME(ring_spsc_commit(producer, length), 0);
}

void test_recv(struct ring_spsc_consumer *consumer, size_t length, uint64_t seed)
{
    struct ring_message message = { 0 };
    REQUIRE_SAME(ring_spsc_peek(consumer, &message, TEST_LONG), 0);
    REQUIRE_SAME(message.length, length);
    REQUIRE_SAME((uintptr_t)message.data % 8, 0);
    REQUIRE(test_matches(message.data, length, seed));
    REQUIRE_SAME(ring_spsc_release(consumer, 1), 0);
}

struct test_outside test_outside_open(const char *name)
{
    struct test_outside outside;
    char path[TEST_NAME];
    struct stat status;
    int fd = open(test_path(path, name), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(fstat(fd, &status) == 0);
    outside.size = (size_t)status.st_size;
    outside.bytes = mmap(NULL, outside.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(outside.bytes != MAP_FAILED);
    close(fd);
    return outside;
}

void test_outside_close(struct test_outside *outside)
{
    munmap(outside->bytes, outside->size);
    outside->bytes = NULL;
}
