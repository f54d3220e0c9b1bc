/* refusals_everywhere.c - each call that sets up, looks or mends, while the system refuses each of the things it asks
 * for, in turn, with each errno: it does without, or fails with an errno and a sentence, leaves nothing behind, and
 * works when tried again. */
#include "refuse.h"

#include <signal.h>

static char other_name[TEST_NAME];
static struct ring_segment *segment, *made;
static struct ring_spsc_producer sender;
static struct ring_spsc_consumer receiver;
static struct ring_mpmc_producer claimer;
static struct ring_mpmc_consumer taker;
static struct ring_mpmc_producer first_claimer;
static struct ring_broadcast_producer teller;
static struct ring_broadcast_consumer listener;

/* What a call is tried on: a segment with a ring of each kind, made anew for each attempt. */
static void prepare(void)
{
    segment = test_create(1 << 20);
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_mpmc_create(segment, "queue", 8, 8));
    REQUIRE_OK(ring_broadcast_create(segment, "news", 8, 8, RING_BROADCAST_OVERWRITE));
    made = NULL;
}

static void clean_up(void)
{
    REQUIRE_OK(ring_segment_close(&segment));
    ring_segment_unlink(test_name());
}

/* ---- The calls, and what takes them back ---- */

static int create(void)
{
    struct ring_segment_options options = ring_segment_defaults();
    options.bytes = RING_SEGMENT_MIN_BYTES;
    options.numa_node = 0;
    return ring_segment_create(&made, other_name, &options);
}

static void forget_created(void)
{
    REQUIRE_OK(ring_segment_close(&made));
    REQUIRE_OK(ring_segment_unlink(other_name));
}

static int attach(void)
{
    return ring_segment_attach(&made, test_name(), NULL, RING_NO_WAIT);
}

static int open_there(void)
{
    return ring_segment_open(&made, test_name(), NULL);
}

static void close_made(void)
{
    REQUIRE_OK(ring_segment_close(&made));
}

static int unlink_it(void)
{
    return ring_segment_unlink(test_name());
}

static int info(void)
{
    struct ring_segment_info told = { .struct_size = sizeof told };
    return ring_segment_info(segment, &told);
}

/* Claims a place for a message and dies. */
static int claim_and_die(void *unused)
{
    (void)unused;
    void *place;
    struct ring_segment *own = test_attach();
    REQUIRE_OK(ring_mpmc_open_producer(&claimer, own, "queue", RING_NO_WAIT));
    REQUIRE_OK(ring_mpmc_reserve(&claimer, 8, &place, RING_NO_WAIT));
    raise(SIGKILL);
    return 1;
}

static void prepare_death(void)
{
    prepare();
    REQUIRE_SAME(test_wait_status(test_spawn(claim_and_die, NULL)), SIGKILL);
}

static int recover(void)
{
    struct ring_recovery report = { .struct_size = sizeof report };
    return ring_segment_recover(segment, &report);
}

/* Nothing that was refused keeps the next one from mending. */
static void recover_again(void)
{
    REQUIRE_OK(recover());
    struct ring_mpmc_info told = { .struct_size = sizeof told };
    REQUIRE_OK(ring_mpmc_info(segment, "queue", &told));
    REQUIRE(!told.stuck);
    REQUIRE_OK(ring_mpmc_open_consumer(&taker, segment, "queue", RING_NO_WAIT));
    uint64_t got;
    REQUIRE_SAME(ring_mpmc_recv(&taker, &got, 8, RING_NO_WAIT), -EOWNERDEAD); /* empty: nothing stands in the way */
    REQUIRE_OK(ring_mpmc_close_consumer(&taker));
}

static int create_spsc(void)
{
    return ring_spsc_create(segment, "another", 4096);
}

static int create_mpmc(void)
{
    return ring_mpmc_create(segment, "another", 8, 8);
}

static int create_broadcast(void)
{
    return ring_broadcast_create(segment, "another", 8, 8, RING_BROADCAST_OVERWRITE);
}

static int open_spsc(void)
{
    int code = ring_spsc_open_producer(&sender, segment, "ring", RING_NO_WAIT);
    if (code)
        return code;
    code = ring_spsc_open_consumer(&receiver, segment, "ring", RING_NO_WAIT);
    if (code)
        REQUIRE_OK(ring_spsc_close_producer(&sender));
    return code;
}

static void close_spsc(void)
{
    uint64_t number = 7, got = 0;
    REQUIRE_SAME(ring_spsc_send(&sender, &number, 8, RING_NO_WAIT), 0);
    REQUIRE_SAME(ring_spsc_recv(&receiver, &got, 8, RING_NO_WAIT), 8);
    REQUIRE_SAME(got, 7);
    REQUIRE_OK(ring_spsc_close_producer(&sender));
    REQUIRE_OK(ring_spsc_close_consumer(&receiver));
}

/* The second producer ends the first one's reign. */
static int open_mpmc(void)
{
    int code = ring_mpmc_open_producer(&first_claimer, segment, "queue", RING_NO_WAIT);
    if (code)
        return code;
    code = ring_mpmc_open_producer(&claimer, segment, "queue", RING_NO_WAIT);
    if (!code) {
        code = ring_mpmc_open_consumer(&taker, segment, "queue", RING_NO_WAIT);
        if (code)
            REQUIRE_OK(ring_mpmc_close_producer(&claimer));
    }
    if (code)
        REQUIRE_OK(ring_mpmc_close_producer(&first_claimer));
    return code;
}

static void close_mpmc(void)
{
    uint64_t number = 7, got = 0;
    for (int i = 0; i < 2; i++) {
        REQUIRE_SAME(ring_mpmc_send(i ? &claimer : &first_claimer, &number, 8, TEST_LONG), 0);
        REQUIRE_SAME(ring_mpmc_recv(&taker, &got, 8, TEST_LONG), 8);
        REQUIRE_SAME(got, 7);
    }
    REQUIRE_OK(ring_mpmc_close_producer(&first_claimer));
    REQUIRE_OK(ring_mpmc_close_producer(&claimer));
    REQUIRE_OK(ring_mpmc_close_consumer(&taker));
}

static int open_broadcast(void)
{
    int code = ring_broadcast_open_producer(&teller, segment, "news", RING_NO_WAIT);
    if (code)
        return code;
    code = ring_broadcast_open_consumer(&listener, segment, "news", RING_BROADCAST_OLDEST, 0, RING_NO_WAIT);
    if (code)
        REQUIRE_OK(ring_broadcast_close_producer(&teller));
    return code;
}

static void close_broadcast(void)
{
    uint64_t number = 7, got = 0;
    REQUIRE_SAME(ring_broadcast_send(&teller, &number, 8, TEST_LONG), 0);
    REQUIRE_SAME(ring_broadcast_recv(&listener, &got, 8, TEST_LONG), 8);
    REQUIRE_SAME(got, 7);
    REQUIRE_OK(ring_broadcast_close_producer(&teller));
    REQUIRE_OK(ring_broadcast_close_consumer(&listener));
}

static void nothing(void)
{
}

/* ---- Refusing ---- */

/* What is refused, with which errnos (0 ends the list), and whether that may go on for ever. An EAGAIN or EACCES of a
 * lock says that somebody living holds it, so the library waits for seconds: not here. */
static const struct {
    enum test_call call;
    bool lasting;
    int errors[6];
} refusals[] = {
    { CALL_OPEN, true, { EACCES, EMFILE, ENFILE, ELOOP, ENOENT } },
    { CALL_NEW_FILE, true, { EMFILE, EOPNOTSUPP, ENOSPC } },
    { CALL_OPEN_STREAM, true, { ENOENT, EMFILE } },
    { CALL_FSTAT, true, { ENOMEM, EIO } },
    { CALL_TRUNCATE, true, { EFBIG } },
    { CALL_CHMOD, true, { EPERM } },
    { CALL_ALLOCATE, false, { ENOSPC, EINTR, EOPNOTSUPP } },
    { CALL_MMAP, true, { ENOMEM } },
    { CALL_DONTFORK, true, { EINVAL } },
    { CALL_WIPEONFORK, true, { EINVAL } },
    { CALL_COLLAPSE, true, { EINVAL, ENOMEM } },
    { CALL_POPULATE, true, { EINVAL, ENOMEM } },
    { CALL_LOCK_MEMORY, true, { ENOMEM, EPERM } },
    { CALL_LINK, true, { EEXIST, ENOSPC, ENOENT } },
    { CALL_UNLINK, true, { EBUSY, ENOENT } },
    { CALL_LOCK_FILE, false, { EINTR, ENOLCK, EINVAL } },
    { CALL_READ, true, { EIO } },
    { CALL_MALLOC, true, { ENOMEM } },
    { CALL_BARRIER, true, { ENOSYS, EPERM } },
    { CALL_REGISTER_BARRIER, true, { ENOSYS } },
    { CALL_AFFINITY, true, { EPERM } },
    { CALL_NUMA, true, { ENOSYS } },
    { CALL_BIND, true, { EPERM } },
    { CALL_MOVE_PAGES, true, { EPERM } },
};

struct left {
    unsigned descriptors, mappings, names;
    uint64_t space; /* pages of address space */
};

static struct left left_now(void)
{
    struct left left = { test_descriptors(), 0, test_names_left(), 0 };
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    REQUIRE(maps);
    while (fgets(line, sizeof line, maps))
        left.mappings += strstr(line, "/dev/shm/") != NULL;
    fclose(maps);
#ifndef TEST_SLOW /* sanitizers map what they like */
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    REQUIRE(statm && fscanf(statm, "%llu", &pages) == 1);
    fclose(statm);
    left.space = pages;
#endif
    return left;
}

static unsigned done_without, failed;
static void (*before_each)(void) = prepare;

/* One attempt with one refusal. False: the call did not ask for that so often. */
static bool try_once(int (*call)(void), void (*undo)(void), unsigned which, unsigned at, int error, bool lasting)
{
    before_each();
    struct left before = left_now();
    test_mark_detail();
    test_refuse(refusals[which].call, at, error, lasting);
    int code = call();
    unsigned hit = test_refuse_nothing();
    if (hit && code) {
        char text[80];
        snprintf(text, sizeof text, "the call, with thing %u refused the %uth time (%d)%s", which, at + 1, error,
                 lasting ? " and ever after" : "");
        test_check_refused(__FILE__, __LINE__, text, code, 0);
        struct left after = left_now();
        if (after.descriptors != before.descriptors || after.mappings != before.mappings || after.names != before.names)
            test_failed(__FILE__, __LINE__, "%s: leaves %d descriptors, %d mappings, %d names", text,
                        (int)(after.descriptors - before.descriptors), (int)(after.mappings - before.mappings),
                        (int)(after.names - before.names));
        REQUIRE_OK(call()); /* and now nothing is refused */
        failed++;
    } else {
        REQUIRE_OK(code);
        done_without += hit > 0;
    }
    undo();
    clean_up();
    return hit > 0;
}

static void try_all(int (*call)(void), void (*undo)(void))
{
    enum { MOST = 64 };
    test_name_of(other_name, 1);
    for (unsigned i = 0; i < 2; i++) /* what is done only the first time is done */
        try_once(call, undo, 0, 1000000, EIO, false);
    struct left before = left_now();
    for (unsigned which = 0; which < sizeof refusals / sizeof refusals[0]; which++)
        for (const int *error = refusals[which].errors; *error; error++)
            for (int lasting = 0; lasting <= refusals[which].lasting; lasting++) {
                unsigned at = 0;
                while (try_once(call, undo, which, at, *error, lasting))
                    REQUIRE(++at < MOST);
            }
    REQUIRE_SAME(test_descriptors(), before.descriptors);
    REQUIRE(left_now().space < before.space + 512); /* not a segment's address space */
    REQUIRE(failed + done_without > 0);
}

Test(refusals, of_anything_that_creating_a_segment_takes_leave_nothing_behind)
{
    try_all(create, forget_created);
    REQUIRE(done_without > 0); /* 2 MiB pages, locked memory ... */
}

Test(refusals, of_anything_that_attaching_takes_leave_nothing_behind)
{
    try_all(attach, close_made);
    REQUIRE(done_without > 0);
}

Test(refusals, of_anything_that_opening_takes_leave_nothing_behind)
{
    try_all(open_there, close_made);
}

Test(refusals, of_anything_that_unlinking_takes_leave_it_as_it_was)
{
    try_all(unlink_it, nothing);
}

Test(refusals, of_anything_that_looking_takes_leave_nothing_behind)
{
    try_all(info, nothing);
}

Test(refusals, of_anything_that_recovery_takes_only_put_it_off)
{
    before_each = prepare_death;
    try_all(recover, recover_again);
    REQUIRE(done_without > 0);
}

Test(refusals, of_anything_that_making_a_ring_takes_leave_none)
{
    try_all(create_spsc, nothing);
    try_all(create_mpmc, nothing);
    try_all(create_broadcast, nothing);
}

Test(refusals, of_anything_that_the_ends_of_an_spsc_ring_take_leave_them_free)
{
    try_all(open_spsc, close_spsc);
}

Test(refusals, of_anything_that_seats_of_an_mpmc_ring_take_leave_them_free)
{
    try_all(open_mpmc, close_mpmc);
}

Test(refusals, of_anything_that_places_at_a_broadcast_ring_take_leave_them_free)
{
    try_all(open_broadcast, close_broadcast);
}
