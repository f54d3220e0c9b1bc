/* calls.c - each hot call in a loop of its own, to have its instructions counted under callgrind.
 *
 * One thread sends until there is a stock, then takes it all, so that no call ever waits and the count is the same in
 * every run. Each pair of calls is gone through twice: once with the sending loop counted, once with the receiving one.
 * The counters are dumped under the call's name; on standard output stands how many calls that were. The loop itself
 * and the check of the result are counted too, some four instructions a call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ring/ring.h>
#include <valgrind/callgrind.h>

enum { ROUNDS = 16, ARRAY = 32, LONGEST = 64 };

struct quote {
    uint64_t number, price, size, time;
};
RING_SPSC_TYPE(quotes, struct quote);

#define SLOTS      ((size_t)16384)     /* of 8 bytes, in the rings of slots */
#define RING_BYTES ((size_t)512 << 10) /* in the core's own cache, whatever a version's default is */

static struct ring_spsc_producer producer;
static struct ring_spsc_consumer consumer;
static struct ring_mpmc_producer mpmc_producer;
static struct ring_mpmc_consumer mpmc_consumer;
static struct ring_broadcast_producer broadcast_producer;
static struct ring_broadcast_consumer broadcast_consumer;
static unsigned char bytes[ARRAY * LONGEST];
static struct ring_message messages[ARRAY];
static size_t run_time_length = LONGEST;
static const unsigned char mixed_lengths[] = { 8, 24, 1, 64, 40, 13, 56, 32 };

static void check(bool good, const char *what)
{
    if (__builtin_expect(!good, 0)) {
        fprintf(stderr, "calls: %s failed: %s\n", what, ring_error_detail());
        exit(1);
    }
}

/* Keeps the compiler from knowing what is in a variable. */
#define HIDE(variable) __asm__ __volatile__("" : "+r"(variable))

#define LOOP(name, call)                                                                                               \
    static __attribute__((noinline)) void name(unsigned count)                                                         \
    {                                                                                                                  \
        for (unsigned i = 0; i < count; i++)                                                                           \
            check(call, #name);                                                                                        \
    }

LOOP(send_8, ring_spsc_send(&producer, bytes, 8, RING_NO_WAIT) == 0)
LOOP(recv_8, ring_spsc_recv(&consumer, bytes, 8, RING_NO_WAIT) == 8)
LOOP(send_64, ring_spsc_send(&producer, bytes, 64, RING_NO_WAIT) == 0)
LOOP(recv_64, ring_spsc_recv(&consumer, bytes, 64, RING_NO_WAIT) == 64)
LOOP(send_mixed, ring_spsc_send(&producer, bytes, mixed_lengths[i % sizeof mixed_lengths], RING_NO_WAIT) == 0)
LOOP(typed_send, quotes_send(&producer, (const struct quote *)(const void *)bytes, RING_NO_WAIT) == 0)
LOOP(typed_recv, quotes_recv(&consumer, (struct quote *)(void *)bytes, RING_NO_WAIT) == 1)
LOOP(send_array, ring_spsc_send_array(&producer, bytes, 8, ARRAY, RING_NO_WAIT) == ARRAY)
LOOP(recv_array, ring_spsc_recv_array(&consumer, bytes, 8, ARRAY, RING_NO_WAIT) == ARRAY)
LOOP(send_batch, ring_spsc_send_batch(&producer, messages, ARRAY, RING_NO_WAIT) == ARRAY)
LOOP(mpmc_send_8, ring_mpmc_send(&mpmc_producer, bytes, 8, RING_NO_WAIT) == 0)
LOOP(mpmc_recv_8, ring_mpmc_recv(&mpmc_consumer, bytes, 8, RING_NO_WAIT) == 8)
LOOP(mpmc_send_array, ring_mpmc_send_array(&mpmc_producer, bytes, 8, ARRAY, RING_NO_WAIT) == ARRAY)
LOOP(mpmc_recv_array, ring_mpmc_recv_array(&mpmc_consumer, bytes, 8, ARRAY, RING_NO_WAIT) == ARRAY)
LOOP(broadcast_send_8, ring_broadcast_send(&broadcast_producer, bytes, 8, RING_NO_WAIT) == 0)
LOOP(broadcast_recv_8, ring_broadcast_recv(&broadcast_consumer, bytes, 8, RING_NO_WAIT) == 8)

static __attribute__((noinline)) void send_run_time(unsigned count)
{
    size_t length = run_time_length;
    HIDE(length);
    for (unsigned i = 0; i < count; i++)
        check(ring_spsc_send(&producer, bytes, length, RING_NO_WAIT) == 0, "send");
}

static __attribute__((noinline)) void recv_run_time(unsigned count)
{
    size_t size = sizeof bytes;
    HIDE(size);
    for (unsigned i = 0; i < count; i++)
        check(ring_spsc_recv(&consumer, bytes, size, RING_NO_WAIT) > 0, "recv");
}

static __attribute__((noinline)) void reserve_commit(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        void *message;
        check(ring_spsc_reserve(&producer, sizeof(uint64_t), &message, RING_NO_WAIT) == 0, "reserve");
        *(uint64_t *)message = i;
        check(ring_spsc_commit(&producer, sizeof(uint64_t)) == 0, "commit");
    }
}

static __attribute__((noinline)) void peek_release(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct ring_message message;
        check(ring_spsc_peek(&consumer, &message, RING_NO_WAIT) == 0 && *(uint64_t *)message.data == i, "peek");
        check(ring_spsc_release(&consumer, 1) == 0, "release");
    }
}

static __attribute__((noinline)) void peek_batch_release(unsigned count)
{
    struct ring_message seen[ARRAY];
    for (unsigned i = 0; i < count; i++) {
        check(ring_spsc_peek_batch(&consumer, seen, ARRAY, RING_NO_WAIT) == ARRAY, "peek_batch");
        check(ring_spsc_release(&consumer, ARRAY) == 0, "release");
    }
}

struct work {
    const char *send_name, *recv_name;
    void (*send)(unsigned count);
    void (*recv)(unsigned count);
    unsigned calls; /* in a row: the stock must fit the ring, and have the consumer publish its position */
};

static const struct work works[] = {
    { "send 8 B", "recv 8 B", send_8, recv_8, 4096 },
    { "send 64 B", "recv 64 B", send_64, recv_64, 2048 },
    { "send, run-time length", "recv, run-time length", send_run_time, recv_run_time, 2048 },
    { "send, mixed lengths", "recv, mixed lengths", send_mixed, recv_run_time, 2048 },
    { "reserve + commit", "peek + release", reserve_commit, peek_release, 4096 },
    { "typed send 32 B", "typed recv 32 B", typed_send, typed_recv, 2048 },
    { "send_array of 32", "recv_array of 32", send_array, recv_array, 256 },
    { "send_batch of 32", "peek_batch of 32 + release", send_batch, peek_batch_release, 256 },
    { "MPMC send 8 B, alone", "MPMC recv 8 B, alone", mpmc_send_8, mpmc_recv_8, 4096 },
    { "MPMC send_array of 32", "MPMC recv_array of 32", mpmc_send_array, mpmc_recv_array, 256 },
    { "broadcast send 8 B", "broadcast recv 8 B", broadcast_send_8, broadcast_recv_8, 4096 },
};

/* With a mate on each side, who does nothing. */
static const struct work shared_work = { "MPMC send 8 B, shared", "MPMC recv 8 B, shared", mpmc_send_8, mpmc_recv_8,
                                         4096 };

static void count(const struct work *work, bool sending)
{
    for (int round = -1; round < ROUNDS; round++) { /* the first one warms up: lazy binding, the consumer's memory */
        if (round >= 0 && sending)
            CALLGRIND_TOGGLE_COLLECT;
        work->send(work->calls);
        if (round >= 0)
            CALLGRIND_TOGGLE_COLLECT; /* off after sending, or on before receiving */
        work->recv(work->calls);
        if (round >= 0 && !sending)
            CALLGRIND_TOGGLE_COLLECT;
    }
    const char *name = sending ? work->send_name : work->recv_name;
    CALLGRIND_DUMP_STATS_AT(name);
    printf("%u\t%s\n", ROUNDS * work->calls, name);
}

static void open_rings_of_slots(struct ring_segment *segment)
{
    check(ring_mpmc_create(segment, "mpmc", SLOTS, 8) == 0, "ring_mpmc_create");
    check(ring_mpmc_open_producer(&mpmc_producer, segment, "mpmc", RING_NO_WAIT) == 0, "ring_mpmc_open_producer");
    check(ring_mpmc_open_consumer(&mpmc_consumer, segment, "mpmc", RING_NO_WAIT) == 0, "ring_mpmc_open_consumer");
    check(ring_broadcast_create(segment, "broadcast", SLOTS, 8, RING_BROADCAST_OVERWRITE) == 0,
          "ring_broadcast_create");
    check(ring_broadcast_open_producer(&broadcast_producer, segment, "broadcast", RING_NO_WAIT) == 0,
          "ring_broadcast_open_producer");
    check(ring_broadcast_open_consumer(&broadcast_consumer, segment, "broadcast", RING_BROADCAST_NEWEST, 0,
                                       RING_NO_WAIT) == 0,
          "ring_broadcast_open_consumer");
}

static void count_with_mates(struct ring_segment *segment)
{
    static struct ring_mpmc_producer producer_mate;
    static struct ring_mpmc_consumer consumer_mate;
    check(ring_mpmc_open_producer(&producer_mate, segment, "mpmc", RING_NO_WAIT) == 0, "ring_mpmc_open_producer");
    check(ring_mpmc_open_consumer(&consumer_mate, segment, "mpmc", RING_NO_WAIT) == 0, "ring_mpmc_open_consumer");
    count(&shared_work, true);
    count(&shared_work, false);
    check(ring_mpmc_close_producer(&producer_mate) == 0 && ring_mpmc_close_consumer(&consumer_mate) == 0, "close");
}

static void close_rings_of_slots(void)
{
    check(ring_mpmc_close_producer(&mpmc_producer) == 0 && ring_mpmc_close_consumer(&mpmc_consumer) == 0, "close");
    check(ring_broadcast_close_producer(&broadcast_producer) == 0 &&
              ring_broadcast_close_consumer(&broadcast_consumer) == 0,
          "close");
}

int main(void)
{
    char name[64];
    struct ring_segment *segment;
    snprintf(name, sizeof name, "shmring-perf-gate-%ld", (long)getpid());
    check(ring_segment_create(&segment, name, NULL) == 0, "ring_segment_create");
    check(ring_segment_unlink(name) == 0, "ring_segment_unlink");
    check(ring_spsc_create(segment, "calls", RING_BYTES) == 0, "ring_spsc_create");
    check(ring_spsc_open_producer(&producer, segment, "calls", RING_NO_WAIT) == 0, "ring_spsc_open_producer");
    check(ring_spsc_open_consumer(&consumer, segment, "calls", RING_NO_WAIT) == 0, "ring_spsc_open_consumer");
    open_rings_of_slots(segment);
    for (unsigned i = 0; i < ARRAY; i++)
        messages[i] = (struct ring_message){ bytes + (size_t)i * LONGEST, 8, 0 };
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        count(&works[i], true);
        count(&works[i], false);
    }
    count_with_mates(segment);
    check(ring_spsc_close_producer(&producer) == 0 && ring_spsc_close_consumer(&consumer) == 0, "close");
    close_rings_of_slots();
    check(ring_segment_close(&segment) == 0, "ring_segment_close");
    return 0;
}
