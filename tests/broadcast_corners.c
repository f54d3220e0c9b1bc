/* broadcast_corners.c - broadcast rings in situations that seldom come: a message overwritten in the very middle of its
 * copying, NULL arguments, a handle that two want at once. */
#include "broadcast.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

enum { MOST = 64, SLOTS = 8 };

static struct ring_segment *segment;
static struct ring_broadcast_producer sender;
static struct ring_broadcast_consumer reader;

static void begin(enum ring_broadcast_policy policy)
{
    segment = test_news(policy, SLOTS, MOST, 4, 0);
    test_sender(&sender, segment);
    test_join(&reader, segment, RING_BROADCAST_OLDEST);
}

static void end(void)
{
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    REQUIRE_OK(ring_broadcast_close_consumer(&reader));
    test_end_news(segment);
}

/* ---- Overwritten while it is copied ---- */

/* The buffer's second page has no rights until it is touched: then, in the middle of a copy, the producer goes once
 * round the ring. */
static unsigned char *pages;
static size_t page;
static volatile int rounds_made;
static uint64_t fill_with;

static void go_round(int signal)
{
    (void)signal;
    mprotect(pages, 2 * page, PROT_READ | PROT_WRITE);
    for (int i = 0; i < 2 * SLOTS; i++)
        if (ring_broadcast_send(&sender, &fill_with, 8, RING_NO_WAIT) != 0)
            _exit(1);
    rounds_made++;
}

/* A buffer of that many bytes before the page without rights. */
static unsigned char *trap(size_t before)
{
    struct sigaction action = { .sa_handler = go_round };
    REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0);
    page = (size_t)sysconf(_SC_PAGESIZE);
    pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    REQUIRE(mprotect(pages + page, page, PROT_NONE) == 0);
    rounds_made = 0;
    return pages + page - before;
}

static void release_trap(void)
{
    REQUIRE_SAME(rounds_made, 1);
    signal(SIGSEGV, SIG_DFL);
    munmap(pages, 2 * page);
}

/* What comes after: the loss is exact, and the newest are there. */
static void require_rest(uint64_t before)
{
    uint64_t got;
    uint64_t lost = ring_broadcast_lost(&reader), rest = 0;
    while (ring_broadcast_recv(&reader, &got, 8, RING_NO_WAIT) == 8)
        rest++;
    REQUIRE(rest > 0);
    REQUIRE_SAME(lost + rest + before, ring_broadcast_sent(&sender));
}

Test(corners, a_message_that_is_overwritten_while_it_is_copied_out_is_told_as_lost)
{
    begin(RING_BROADCAST_OVERWRITE);
    uint64_t number = 1;
    REQUIRE_SAME(ring_broadcast_send(&sender, &number, 8, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_broadcast_recv(&reader, trap(0), 8, RING_NO_WAIT), -EOVERFLOW);
    release_trap();
    require_rest(0);
    end();
}

struct pair {
    uint64_t one, two;
};
RING_BROADCAST_TYPE(pairs, struct pair);

Test(corners, the_typed_front_tells_the_same_loss)
{
    begin(RING_BROADCAST_OVERWRITE);
    struct pair sent = { 1, 2 };
    REQUIRE_SAME(pairs_send(&sender, &sent, RING_NO_WAIT), 0);
    REQUIRE_SAME(pairs_recv(&reader, (struct pair *)(void *)trap(0), RING_NO_WAIT), -EOVERFLOW);
    release_trap();
    require_rest(0);
    REQUIRE_SAME(pairs_recv(&reader, &sent, RING_NO_WAIT), -EAGAIN);
    end();
}

Test(corners, an_array_ends_before_the_message_that_is_overwritten_while_it_is_copied_out)
{
    for (int before = 0; before < 3; before++) {
        begin(RING_BROADCAST_OVERWRITE);
        uint64_t numbers[3] = { 7, 8, 9 };
        fill_with = 100;
        REQUIRE_SAME(ring_broadcast_send_array(&sender, numbers, 8, 3, RING_NO_WAIT), 3);
        unsigned char *array = trap(8 * (size_t)before);
        REQUIRE_SAME(ring_broadcast_recv_array(&reader, array, 8, 3, RING_NO_WAIT), before ? before : -EOVERFLOW);
        REQUIRE(memcmp(array, numbers, 8 * (size_t)before) == 0);
        release_trap();
        uint64_t got;
        if (before)
            REQUIRE_SAME(ring_broadcast_recv(&reader, &got, 8, RING_NO_WAIT), -EOVERFLOW);
        require_rest((uint64_t)before);
        end();
    }
}

/* ---- Waiting ---- */

static int send_two_later(void *unused)
{
    (void)unused;
    struct ring_segment *own = test_attach();
    test_sender(&sender, own);
    for (uint64_t i = 0; i < 2; i++) {
        test_nap(TEST_SECOND / 100);
        struct pair message = { i, i };
        REQUIRE_SAME(pairs_send(&sender, &message, RING_NO_WAIT), 0);
    }
    return 0;
}

Test(corners, the_typed_front_and_peeking_wait_as_receiving_does)
{
    begin(RING_BROADCAST_OVERWRITE);
    REQUIRE_OK(ring_broadcast_close_producer(&sender));
    struct pair got = { 1, 1 };
    struct ring_message message;
    pid_t child = test_spawn(send_two_later, NULL);
    while (test_news_info(segment).producer.peer != RING_PEER_ALIVE)
        test_nap(TEST_SECOND / 1000);
    REQUIRE_SAME(pairs_recv(&reader, &got, TEST_LONG), 1);
    REQUIRE(got.one == 0 && got.two == 0);
    REQUIRE_SAME(ring_broadcast_peek(&reader, &message, TEST_LONG), 0);
    REQUIRE_SAME(message.length, sizeof got);
    REQUIRE_SAME(ring_broadcast_release(&reader, 1), 0);
    test_wait(child);
    REQUIRE_OK(ring_broadcast_close_consumer(&reader));
    REQUIRE_SAME(pairs_recv(&reader, &got, TEST_LONG), -EBADF);
    REQUIRE_SAME(ring_broadcast_peek(&reader, &message, TEST_LONG), -EBADF);
    test_end_news(segment);
}

/* ---- Arguments ---- */

Test(corners, batches_of_nothing_do_nothing_and_those_from_nowhere_are_refused)
{
    begin(RING_BROADCAST_OVERWRITE);
    struct ring_message none[1] = { { NULL, 0, 0 } };
    uint64_t numbers[2] = { 1, 2 };
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, NULL, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, NULL, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, NULL, 8, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, NULL, 8, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, numbers, MOST + 1, 1, RING_NO_WAIT), -EMSGSIZE);
    REQUIRE_SAME(ring_broadcast_send_array(&sender, NULL, 0, 2, RING_NO_WAIT), 2); /* of no length, from nowhere */
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, none, 1, RING_NO_WAIT), 1);
    REQUIRE_SAME(ring_broadcast_sent(&sender), 3);
    REQUIRE_SAME(ring_broadcast_peek_batch(&reader, NULL, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_broadcast_peek_batch(&reader, NULL, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_broadcast_recv_array(&reader, NULL, 8, 0, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_broadcast_recv_array(&reader, NULL, 8, 1, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_broadcast_recv_array(&reader, NULL, 0, 8, RING_NO_WAIT), 3);
    REQUIRE_SAME(ring_broadcast_recv_array(&reader, numbers, 8, 2, RING_NO_WAIT), -EAGAIN);
    end();
}

Test(corners, a_batch_ends_before_a_message_that_cannot_be_sent_and_the_next_call_names_it)
{
    begin(RING_BROADCAST_OVERWRITE);
    uint64_t number = 1;
    struct ring_message batch[3] = { { &number, 8, 0 }, { &number, MOST + 1, 0 }, { &number, 8, 0 } };
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, batch, 3, RING_NO_WAIT), 1);
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, batch + 1, 2, RING_NO_WAIT), -EMSGSIZE);
    batch[1] = (struct ring_message){ NULL, 8, 0 };
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, batch, 3, RING_NO_WAIT), 1);
    REQUIRE_SAME(ring_broadcast_send_batch(&sender, batch + 1, 2, RING_NO_WAIT), -EINVAL);
    REQUIRE_SAME(ring_broadcast_sent(&sender), 2);
    end();
}

Test(corners, handles_that_are_not_open_know_no_peer_and_cannot_be_closed)
{
    static struct ring_broadcast_consumer no_consumer; /* zeroes */
    static struct ring_broadcast_producer no_producer; /* zeroes */
    struct ring_broadcast_info info;
    REQUIRE_SAME(ring_broadcast_producer_state(NULL), RING_PEER_NEVER);
    REQUIRE_SAME(ring_broadcast_producer_state(&no_consumer), RING_PEER_NEVER);
    REQUIRE_REFUSED(ring_broadcast_close_consumer(NULL), EBADF);
    REQUIRE_REFUSED(ring_broadcast_close_producer(NULL), EBADF);
    REQUIRE_REFUSED(ring_broadcast_close_consumer(&no_consumer), EBADF);
    REQUIRE_REFUSED(ring_broadcast_close_producer(&no_producer), EBADF);
    begin(RING_BROADCAST_LOSSLESS);
    REQUIRE_REFUSED(ring_broadcast_info(segment, "news", NULL), EINVAL);
    info.struct_size = sizeof info + 8;
    REQUIRE_REFUSED(ring_broadcast_info(segment, "news", &info), EINVAL);
    info.struct_size = sizeof info;
    REQUIRE_REFUSED(ring_broadcast_info(NULL, "news", &info), EINVAL);
    end();
}

/* ---- Two at once ---- */

static void *send_into_full_ring(void *result)
{
    uint64_t number = 99;
    *(int *)result = ring_broadcast_send(&sender, &number, 8, TEST_LONG);
    return NULL;
}

Test(corners, a_producer_in_the_middle_of_a_call_cannot_be_closed)
{
    begin(RING_BROADCAST_LOSSLESS);
    uint64_t number = 0;
    pthread_t thread;
    int result = 1;
    while (ring_broadcast_send(&sender, &number, 8, RING_NO_WAIT) == 0)
        number++;
    REQUIRE_SAME(pthread_create(&thread, NULL, send_into_full_ring, &result), 0);
    while (!ring_atomic_load(&sender.control->producer_asleep, memory_order_relaxed))
        test_nap(100000); /* it is inside when it sleeps, and stays there */
    REQUIRE_REFUSED(ring_broadcast_close_producer(&sender), EBUSY);
    REQUIRE_SAME(ring_broadcast_send(&sender, &number, 8, RING_NO_WAIT), -EBUSY);
    uint64_t got, count = 0;
    while (count <= number) {
        ssize_t length = ring_broadcast_recv(&reader, &got, 8, TEST_LONG);
        REQUIRE_SAME(length, 8);
        REQUIRE_SAME(got, count == number ? 99 : count);
        count++;
    }
    REQUIRE_SAME(pthread_join(thread, NULL), 0);
    REQUIRE_SAME(result, 0);
    end();
}
