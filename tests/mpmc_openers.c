/* mpmc_openers.c - many processes that come to one MPMC ring at the same time, and how long its lock is waited for.
 * Here the library's clock can be put on. */
#include "mpmc.h"

#include <fcntl.h>

int64_t __wrap_ring_clock_monotonic(void);
int64_t __real_ring_clock_monotonic(void);

/* ---- A crowd ---- */

enum { CROWD = 1000 };

static int gate[2]; /* closed by its last writer, it lets all go */

static void await_gate(void)
{
    char nothing;
    close(gate[1]);
    REQUIRE_SAME(read(gate[0], &nothing, 1), 0);
}

static int come_and_go(void *number)
{
    static struct ring_mpmc_producer producer;
    static struct ring_mpmc_consumer consumer;
    struct ring_segment *own = test_attach();
    await_gate();
    if (*(unsigned *)number % 2) {
        test_join_producer(&producer, own);
        REQUIRE_OK(ring_mpmc_close_producer(&producer));
    } else {
        test_join_consumer(&consumer, own);
        REQUIRE_OK(ring_mpmc_close_consumer(&consumer));
    }
    return 0;
}

Test(openers, of_whom_a_thousand_come_at_once_are_all_let_in)
{
    static pid_t crowd[CROWD];
    struct ring_mpmc_options options = test_queue_options(1024, 8, 0);
    options.seats = CROWD;
    struct ring_segment *segment = test_queue_with(&options);
    unsigned count = (unsigned)test_rounds(CROWD);
    REQUIRE_SAME(pipe2(gate, O_CLOEXEC), 0);
    for (unsigned i = 0; i < count; i++)
        crowd[i] = test_spawn(come_and_go, &i);
    close(gate[0]);
    close(gate[1]);
    for (unsigned i = 0; i < count; i++)
        test_wait(crowd[i]);
    struct ring_mpmc_info info = test_queue_info(segment);
    REQUIRE_SAME(info.producers + info.consumers + info.dead, 0);
    test_end_queue(segment);
}

Test(openers, find_the_seat_of_a_dead_one_among_many)
{
    enum { SEATS = 100 };
    static struct ring_mpmc_producer producers[SEATS];
    static struct ring_mpmc_producer late;
    struct ring_mpmc_options options = test_queue_options(16, 8, 0);
    options.seats = SEATS;
    struct ring_segment *segment = test_queue_with(&options);
    for (int i = 0; i < SEATS; i++)
        test_join_producer(&producers[i], segment);
    REQUIRE_REFUSED(ring_mpmc_open_producer(&late, segment, "queue", RING_NO_WAIT), EUSERS);
    for (unsigned dead = 3; dead < SEATS; dead += 5) {
        struct ring_layout_role *role = &producers[dead].end.view.seats[dead].role;
        uint64_t state = ring_atomic_load(&role->state, memory_order_relaxed);
        REQUIRE_OK(ring_mpmc_close_producer(&producers[dead]));
        ring_atomic_store(&role->state, state, memory_order_relaxed); /* as if it had died */
        REQUIRE_SAME(test_queue_info(segment).dead, 1);
        test_join_producer(&producers[dead], segment);
        REQUIRE_SAME(producers[dead].end.seat, dead);
    }
    for (int i = 0; i < SEATS; i++)
        REQUIRE_OK(ring_mpmc_close_producer(&producers[i]));
    test_end_queue(segment);
}

/* ---- A lock that is held ---- */

static struct {
    int fd;                        /* holds the ring's lock; 0: nobody does */
    RING_ATOMIC(uint32_t) * moves; /* at each look at the clock it changes hands; or NULL */
    int64_t seconds;               /* that the clock is put on so far, one at each look */
    int64_t until;                 /* then it is given back */
} held;

static void lock_ring(short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = RING_LOCK_ROLES, .l_len = 1 };
    REQUIRE_SAME(fcntl(held.fd, F_OFD_SETLK, &lock), 0);
}

int64_t __wrap_ring_clock_monotonic(void)
{
    if (held.fd) {
        held.seconds++;
        if (held.moves)
            atomic_fetch_add(held.moves, 1);
        if (held.seconds == held.until)
            lock_ring(F_UNLCK);
    }
    return __real_ring_clock_monotonic() + held.seconds * TEST_SECOND;
}

/* What one gets who comes while the lock is held for so many seconds, by one or by different ones. */
static void come_while_held(int64_t seconds, bool by_others, int code, const char *reason)
{
    static struct ring_mpmc_producer first, late;
    char path[TEST_NAME];
    struct ring_mpmc_options options = test_queue_options(16, 8, 0);
    struct ring_segment *segment = test_queue_with(&options);
    test_join_producer(&first, segment);
    held.seconds = 0;
    held.until = seconds;
    held.moves = by_others ? &first.end.view.control->turns : NULL;
    held.fd = open(test_path(path, test_name()), O_RDWR | O_CLOEXEC);
    REQUIRE(held.fd > 0);
    lock_ring(F_WRLCK);
    int got = ring_mpmc_open_producer(&late, segment, "queue", RING_NO_WAIT);
    close(held.fd);
    held.fd = 0;
    REQUIRE_SAME(got, code);
    REQUIRE(code == 0 || strstr(ring_error_detail(), reason));
    REQUIRE(code || ring_mpmc_close_producer(&late) == 0);
    REQUIRE_OK(ring_mpmc_close_producer(&first));
    test_end_queue(segment);
}

Test(openers, wait_for_longer_than_one_may_take_while_others_take_turns)
{
    come_while_held(3, false, 0, NULL);
    come_while_held(20, true, 0, NULL);
}

Test(openers, are_refused_when_one_holds_the_lock_for_long_or_turns_never_end)
{
    come_while_held(1000, false, -EBUSY, "is it stopped?");
    come_while_held(1000, true, -EBUSY, "one after the other");
}
