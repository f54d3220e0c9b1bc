/* waiting.h - what the tests of waiting share: one ring of each topology with both ends open, and the same questions to
 * all six kinds of endpoints; a world without io_uring. */
#ifndef TESTS_WAITING_H
#define TESTS_WAITING_H

#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum test_kind { SPSC_CONSUMER, SPSC_PRODUCER, MPMC_CONSUMER, MPMC_PRODUCER, NEWS_CONSUMER, NEWS_PRODUCER, TEST_KINDS };

struct test_ends {
    struct ring_segment *segment;
    struct ring_spsc_producer spsc_producer;
    struct ring_spsc_consumer spsc_consumer;
    struct ring_mpmc_producer mpmc_producer;
    struct ring_mpmc_consumer mpmc_consumer;
    struct ring_broadcast_producer news_producer;
    struct ring_broadcast_consumer news_consumer;
};

static inline void test_ends_open(struct test_ends *ends)
{
    ends->segment = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(ends->segment, "ring", 4096));
    REQUIRE_OK(ring_mpmc_create(ends->segment, "queue", 8, 8));
    REQUIRE_OK(ring_broadcast_create(ends->segment, "news", 8, 8, RING_BROADCAST_LOSSLESS));
    test_open_producer(&ends->spsc_producer, ends->segment);
    test_open_consumer(&ends->spsc_consumer, ends->segment);
    REQUIRE_OK(ring_mpmc_open_producer(&ends->mpmc_producer, ends->segment, "queue", TEST_LONG));
    REQUIRE_OK(ring_mpmc_open_consumer(&ends->mpmc_consumer, ends->segment, "queue", TEST_LONG));
    REQUIRE_OK(ring_broadcast_open_producer(&ends->news_producer, ends->segment, "news", TEST_LONG));
    REQUIRE_OK(
        ring_broadcast_open_consumer(&ends->news_consumer, ends->segment, "news", RING_BROADCAST_NEWEST, 0, TEST_LONG));
}

static inline void test_ends_close(struct test_ends *ends)
{
    REQUIRE_OK(ring_spsc_close_producer(&ends->spsc_producer));
    REQUIRE_OK(ring_spsc_close_consumer(&ends->spsc_consumer));
    REQUIRE_OK(ring_mpmc_close_producer(&ends->mpmc_producer));
    REQUIRE_OK(ring_mpmc_close_consumer(&ends->mpmc_consumer));
    REQUIRE_OK(ring_broadcast_close_producer(&ends->news_producer));
    REQUIRE_OK(ring_broadcast_close_consumer(&ends->news_consumer));
    REQUIRE_OK(ring_segment_close(&ends->segment));
    REQUIRE_OK(ring_segment_unlink(test_name()));
}

static inline struct ring_waiter *test_waiter(struct test_ends *ends, enum test_kind kind)
{
    switch (kind) {
    case SPSC_CONSUMER:
        return ring_spsc_consumer_waiter(&ends->spsc_consumer);
    case SPSC_PRODUCER:
        return ring_spsc_producer_waiter(&ends->spsc_producer);
    case MPMC_CONSUMER:
        return ring_mpmc_consumer_waiter(&ends->mpmc_consumer);
    case MPMC_PRODUCER:
        return ring_mpmc_producer_waiter(&ends->mpmc_producer);
    case NEWS_CONSUMER:
        return ring_broadcast_consumer_waiter(&ends->news_consumer);
    case NEWS_PRODUCER:
        return ring_broadcast_producer_waiter(&ends->news_producer);
    case TEST_KINDS:
    default:
        return NULL;
    }
}

static inline bool test_consumes(enum test_kind kind)
{
    return kind % 2 == 0;
}

/* Receives, or sends, one message of 8 bytes: 0, or the error. */
static inline int test_go(struct test_ends *ends, enum test_kind kind, int64_t timeout_ns)
{
    uint64_t word = 7;
    ssize_t code = -EINVAL;
    switch (kind) {
    case SPSC_CONSUMER:
        code = ring_spsc_recv(&ends->spsc_consumer, &word, sizeof word, timeout_ns);
        break;
    case SPSC_PRODUCER:
        code = ring_spsc_send(&ends->spsc_producer, &word, sizeof word, timeout_ns);
        break;
    case MPMC_CONSUMER:
        code = ring_mpmc_recv(&ends->mpmc_consumer, &word, sizeof word, timeout_ns);
        break;
    case MPMC_PRODUCER:
        code = ring_mpmc_send(&ends->mpmc_producer, &word, sizeof word, timeout_ns);
        break;
    case NEWS_CONSUMER:
        code = ring_broadcast_recv(&ends->news_consumer, &word, sizeof word, timeout_ns);
        break;
    case NEWS_PRODUCER:
        code = ring_broadcast_send(&ends->news_producer, &word, sizeof word, timeout_ns);
        break;
    case TEST_KINDS:
    default:
        break;
    }
    REQUIRE(code < 0 || word == 7);
    return code < 0 ? (int)code : 0;
}

static inline enum test_kind test_other(enum test_kind kind)
{
    return (enum test_kind)(kind ^ 1);
}

/* Until there is nothing to receive (no room to send). */
static inline unsigned test_drain(struct test_ends *ends, enum test_kind kind)
{
    unsigned count = 0;
    int code;
    while ((code = test_go(ends, kind, RING_NO_WAIT)) == 0)
        count++;
    REQUIRE_SAME(code, -EAGAIN);
    return count;
}

/* The other side sends one message, or receives all there are and thereby makes room. */
static inline void test_feed(struct test_ends *ends, enum test_kind kind)
{
    if (test_consumes(kind))
        REQUIRE_SAME(test_go(ends, test_other(kind), RING_NO_WAIT), 0);
    else
        REQUIRE(test_drain(ends, test_other(kind)) > 0);
}

static inline bool test_is_readable(int descriptor, int milliseconds)
{
    struct pollfd wish = { descriptor, POLLIN, 0 };
    int count = poll(&wish, 1, milliseconds);
    REQUIRE(count >= 0);
    REQUIRE(count == 0 || wish.revents == POLLIN);
    return count == 1;
}

/* From now on this process has no io_uring, as in many containers. */
static inline void test_forbid_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    REQUIRE_SAME(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    REQUIRE_SAME(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

#endif
