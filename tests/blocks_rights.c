/* blocks_rights.c - handles that may write only what they own, or nothing: a stray write ends whoever makes it, and not
 * what others read; and nobody who may write is ever stopped. */
#include "backings.h"
#include "blocks.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, COUNT = 4 };

static struct ring_blocks writer, other, reader;

/* Can this process write there? The kernel is asked to, and says EFAULT instead of sending a signal. */
static bool is_writable(void *address)
{
    int ends[2];
    unsigned char byte = *(volatile unsigned char *)address;
    REQUIRE_SAME(pipe2(ends, O_CLOEXEC), 0);
    REQUIRE_SAME(write(ends[1], &byte, 1), 1);
    ssize_t got = read(ends[0], address, 1);
    REQUIRE(got == 1 || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return got == 1;
}

static struct ring_blocks_options pool_of(size_t bytes, size_t align)
{
    struct ring_blocks_options options = ring_blocks_defaults(bytes, COUNT);
    options.align = align;
    return options;
}

static void open_as(struct ring_blocks *blocks, struct ring_segment *segment, enum ring_blocks_rights rights)
{
    REQUIRE_OK(ring_blocks_open_with(blocks, segment, "pool", rights, RING_NO_WAIT));
}

static uint64_t take(struct ring_blocks *blocks, unsigned char **address)
{
    uint64_t handle;
    void *at;
    REQUIRE_SAME(ring_block_allocate(blocks, 1, &handle, &at), 0);
    *address = at;
    return handle;
}

/* ---- What becomes of a stray write ---- */

/* How a child and its parent meet: by `name`, or the child inherits nothing but this. */
struct meeting {
    struct ring_segment_options options; /* to attach with */
    size_t bytes;
    uint64_t handle;
    enum { PASS, FINISH, FREE } how;
};

static int write_after_it_was_finished(void *argument)
{
    struct meeting *meeting = argument;
    struct ring_segment *segment;
    unsigned char *address;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &meeting->options, TEST_LONG));
    open_as(&writer, segment, RING_BLOCKS_WRITE_OWN);
    uint64_t handle = take(&writer, &address);
    test_fill(address, meeting->bytes, 7);
    if (meeting->how == PASS)
        REQUIRE_SAME(ring_block_pass(&writer, handle), 0);
    if (meeting->how == FINISH)
        REQUIRE_SAME(ring_block_finish(&writer, handle), 0);
    if (meeting->how == FREE)
        REQUIRE_SAME(ring_block_free(&writer, handle), 0);
    meeting->handle = handle;
    signal(SIGSEGV, SIG_DFL);
    ((volatile unsigned char *)address)[meeting->bytes / 2] ^= 1;
    return 1; /* not reached */
}

/* A child dies of its stray write; what it had finished before is what we read. */
static void demand_death(struct ring_segment *segment, const struct ring_segment_options *options, size_t bytes)
{
    struct meeting *meeting = test_shared(sizeof *meeting);
    *meeting = (struct meeting){ .options = *options, .bytes = bytes };
    for (int how = PASS; how <= FREE; how++) {
        meeting->how = how;
        test_pool_open(&other, segment); /* now: later it would take the dead one's seat, and what that owned */
        int status = test_wait_status(test_spawn(write_after_it_was_finished, meeting));
        REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        const void *lent;
        void *address = NULL;
        int code = how == FREE ? -ESTALE : 0;
        REQUIRE_SAME(ring_block_look(&other, meeting->handle, &lent, NULL), code);
        REQUIRE_SAME(ring_block_accept(&other, meeting->handle, &address, NULL), code); /* also of its dead owner */
        REQUIRE(how == FREE || test_matches(address, bytes, 7));
        REQUIRE_OK(ring_blocks_close(&other));
        test_pool_is_whole(segment);
    }
}

static void try_in(const struct ring_segment_options *options, size_t bytes, size_t align)
{
    struct ring_segment *segment;
    struct ring_segment_options attach = test_plain(0);
    struct ring_blocks_options pool = pool_of(bytes, align);
    attach.flags = options->flags;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), options));
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &pool));
    demand_death(segment, &attach, bytes);
    test_pool_end(segment);
}

Test(blocks_rights, a_stray_write_to_what_was_finished_kills_the_writer_and_not_the_frame)
{
    struct ring_segment_options options = test_plain(1 << 20);
    try_in(&options, PAGE, 0);
    try_in(&options, 5 * PAGE - 100, 0); /* a whole page at the end, too */
    try_in(&options, 1000, PAGE);
    options.backing = RING_BACKING_SYSTEM_V;
    try_in(&options, 3 * PAGE, 0);
}

Test(blocks_rights, pages_of_2_mib_stay_what_they_are_while_rights_change)
{
    struct ring_segment *segment;
    struct ring_blocks_options pool = pool_of(HUGE_PAGE, HUGE_PAGE);
    struct ring_segment_options options = test_plain(ring_blocks_footprint_with(&pool) + HUGE_PAGE);
    options.flags = RING_HUGE | RING_STRICT;
    if (ring_segment_create(&segment, test_name(), &options) != 0)
        test_skip("this machine joins no pages to 2 MiB");
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &pool));
    uint64_t huge = test_info(segment).huge_bytes;
    unsigned char *address[COUNT];
    uint64_t handles[COUNT];
    open_as(&writer, segment, RING_BLOCKS_WRITE_OWN);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            handles[i] = take(&writer, &address[i]);
            REQUIRE_SAME((uintptr_t)address[i] % HUGE_PAGE, 0);
            memset(address[i], round, HUGE_PAGE);
        }
        for (int i = 0; i < COUNT; i += 2)
            REQUIRE_SAME(ring_block_finish(&writer, handles[i]), 0);
        REQUIRE_SAME(test_info(segment).huge_bytes, huge);
        for (int i = 0; i < COUNT; i++)
            REQUIRE_SAME(ring_block_free(&writer, handles[i]), 0);
    }
    REQUIRE_OK(ring_blocks_close(&writer));
    REQUIRE_SAME(test_info(segment).huge_bytes, huge);
    options = test_plain(0);
    options.flags = RING_HUGE;
    demand_death(segment, &options, HUGE_PAGE);
    test_pool_end(segment);
}

static int try_pages_set_aside(void *unused)
{
    (void)unused;
    struct ring_segment_options options = test_plain(12 << 20);
    options.backing = RING_BACKING_SYSTEM_V;
    options.page_bytes = HUGE_PAGE;
    try_in(&options, HUGE_PAGE, HUGE_PAGE);
    return 0;
}

Test(blocks_rights, pages_that_root_set_aside_go_by_rights_as_well)
{
    test_in_own_mounts(try_pages_set_aside, 6);
}

/* ---- Whose rights ---- */

static void demand_rights_by_owner(struct ring_segment *segment)
{
    unsigned char *first, *second;
    void *same;
    open_as(&writer, segment, RING_BLOCKS_WRITE_OWN);
    open_as(&other, segment, RING_BLOCKS_WRITE_OWN);
    open_as(&reader, segment, RING_BLOCKS_READ);
    uint64_t handle = take(&writer, &first), kept = take(&other, &second);
    memset(first, 1, PAGE);
    memset(second, 2, PAGE);
    REQUIRE(is_writable(first) && is_writable(first + PAGE - 1) && is_writable(second));
    REQUIRE_SAME(ring_block_pass(&writer, handle), 0);
    REQUIRE(!is_writable(first) && !is_writable(first + PAGE - 1) && is_writable(second));
    REQUIRE_SAME(ring_block_accept(&writer, handle, &same, NULL), 0); /* it could not be sent */
    REQUIRE(same == first && is_writable(first));
    REQUIRE_SAME(ring_block_pass(&writer, handle), 0);
    REQUIRE_SAME(ring_block_accept(&reader, handle, &same, NULL), 0);
    REQUIRE(same == first && !is_writable(first) && first[PAGE - 1] == 1);
    REQUIRE_SAME(ring_block_pass(&reader, handle), 0);
    REQUIRE_SAME(ring_block_accept(&other, handle, &same, NULL), 0);
    REQUIRE(is_writable(first));
    REQUIRE_SAME(ring_block_finish(&other, handle), 0);
    REQUIRE(!is_writable(first));
    REQUIRE_REFUSED(ring_block_accept(&other, handle, NULL, NULL), EALREADY); /* finished is finished */
    REQUIRE(!is_writable(first));
    REQUIRE_SAME(ring_block_free(&other, handle), 0);
    REQUIRE(!is_writable(first) && is_writable(second));
    REQUIRE_REFUSED(ring_block_free(&other, handle), ESTALE);
    REQUIRE_REFUSED(ring_block_finish(&other, handle), ESTALE);
    REQUIRE_REFUSED(ring_block_finish(&other, 0), EINVAL);
    REQUIRE_REFUSED(ring_block_finish(&writer, kept), EPERM);
    REQUIRE_REFUSED(ring_block_free(&writer, COUNT + 1), EINVAL);
    for (int i = 0; i < 3 * COUNT; i++) { /* whichever comes back */
        handle = take(&writer, &first);
        REQUIRE(is_writable(first) && first != second);
        REQUIRE_SAME(ring_block_free(&writer, handle), 0);
        REQUIRE(!is_writable(first));
    }
    REQUIRE_OK(ring_blocks_close(&other)); /* owns one */
    REQUIRE(!is_writable(second));
    REQUIRE_OK(ring_blocks_close(&reader));
    REQUIRE(!is_writable(second));
    handle = take(&writer, &first);
    REQUIRE_OK(ring_blocks_close(&writer));
    REQUIRE(is_writable(first) && is_writable(second)); /* the last one: as it was before */
    test_pool_is_whole(segment);
}

Test(blocks_rights, who_owns_a_block_may_write_it_and_nobody_else)
{
    static const unsigned backings[] = { RING_BACKING_POSIX, RING_BACKING_SYSTEM_V, RING_BACKING_MEMFD,
                                         RING_BACKING_PRIVATE };
    for (unsigned i = 0; i < sizeof backings / sizeof *backings; i++) {
        struct ring_segment *segment;
        struct ring_segment_options options = test_options(backings[i], 1 << 20);
        options.flags = backings[i] == RING_BACKING_MEMFD ? RING_SEAL_WRITES : 0;
        struct ring_blocks_options pool = pool_of(PAGE, 0);
        REQUIRE_OK(ring_segment_create(&segment, test_name(), &options));
        REQUIRE_OK(ring_blocks_create_with(segment, "pool", &pool));
        demand_rights_by_owner(segment);
        REQUIRE_OK(ring_segment_close(&segment));
        if (backings[i] <= RING_BACKING_SYSTEM_V)
            REQUIRE_OK(ring_segment_unlink(test_name()));
    }
}

Test(blocks_rights, each_class_has_its_own_pages)
{
    struct ring_blocks_options options = ring_blocks_defaults(PAGE, 3);
    options.class_count = 3;
    options.classes[1] = (struct ring_blocks_class){ 3 * PAGE, 2 };
    options.classes[2] = (struct ring_blocks_class){ 7 * PAGE, 3 };
    struct ring_segment *segment = test_pool_with(&options);
    open_as(&writer, segment, RING_BLOCKS_WRITE_OWN);
    for (unsigned i = 0; i < 3; i++) {
        size_t bytes = options.classes[i].block_bytes;
        uint64_t handles[2];
        void *at[2];
        for (unsigned k = 0; k < 2; k++) {
            REQUIRE_SAME(ring_block_allocate(&writer, bytes, &handles[k], &at[k]), 0);
            memset(at[k], 1, bytes);
        }
        REQUIRE_SAME(ring_block_free(&writer, handles[0]), 0);
        for (size_t page = 0; page < bytes; page += PAGE)
            REQUIRE(!is_writable((unsigned char *)at[0] + page) && is_writable((unsigned char *)at[1] + page));
        REQUIRE_SAME(ring_block_free(&writer, handles[1]), 0);
    }
    REQUIRE_OK(ring_blocks_close(&writer));
    test_pool_end(segment);
}

Test(blocks_rights, who_may_only_read_allocates_nothing_and_finishing_without_rights_changes_nothing)
{
    struct ring_blocks_options options = pool_of(PAGE, 0);
    struct ring_segment *segment = test_pool_with(&options);
    uint64_t handle;
    void *address;
    unsigned char *mine;
    open_as(&reader, segment, RING_BLOCKS_READ);
    REQUIRE_REFUSED(ring_block_allocate(&reader, 1, &handle, &address), EACCES);
    REQUIRE_SAME(ring_block_allocate(&reader, PAGE + 1, &handle, &address), -EMSGSIZE);
    REQUIRE_OK(ring_blocks_close(&reader));
    test_pool_open(&writer, segment);
    handle = take(&writer, &mine);
    REQUIRE_SAME(ring_block_finish(&writer, handle), 0);
    REQUIRE(is_writable(mine));
    REQUIRE_SAME(ring_block_free(&writer, handle), 0);
    REQUIRE_OK(ring_blocks_close(&writer));
    test_pool_end(segment);
}

Test(blocks_rights, rights_are_those_of_a_mapping_and_do_not_mix)
{
    struct ring_blocks_options options = pool_of(PAGE, 0);
    struct ring_segment *segment = test_pool_with(&options), *again;
    REQUIRE_OK(ring_blocks_create(segment, "beside", PAGE, 2));
    open_as(&writer, segment, RING_BLOCKS_WRITE_OWN);
    REQUIRE_REFUSED(ring_blocks_open(&other, segment, "pool", RING_NO_WAIT), EBUSY);
    REQUIRE_OK(ring_blocks_open(&other, segment, "beside", RING_NO_WAIT)); /* another pool */
    REQUIRE_OK(ring_blocks_close(&other));
    again = test_attach();
    unsigned char *here, *there;
    void *seen;
    test_pool_open(&other, again);
    REQUIRE_REFUSED(ring_blocks_open_with(&reader, again, "pool", RING_BLOCKS_READ, RING_NO_WAIT), EBUSY);
    uint64_t handle = take(&writer, &here), second = take(&other, &there);
    REQUIRE_SAME(ring_block_pass(&writer, handle), 0);
    REQUIRE_SAME(ring_block_accept(&other, handle, &seen, NULL), 0);
    REQUIRE(seen != here && !is_writable(here) && is_writable(seen) && is_writable(there));
    REQUIRE_SAME(ring_block_free(&other, handle), 0);
    REQUIRE_SAME(ring_block_free(&other, second), 0);
    uint64_t freed = 0;
    handle = take(&other, &there);
    REQUIRE_SAME(ring_block_pass(&other, handle), 0);
    REQUIRE_OK(ring_blocks_close(&other));
    REQUIRE_OK(ring_segment_recover_stranded(segment, "pool", &freed)); /* looks at words, whoever has it open */
    REQUIRE_SAME(freed, 1);
    REQUIRE_OK(ring_blocks_close(&writer));
    REQUIRE_OK(ring_segment_close(&again));
    test_pool_is_whole(segment); /* opened in the old way again */
    test_pool_end(segment);
}

Test(blocks_rights, what_is_made_in_the_room_of_such_a_pool_is_written_to_as_ever)
{
    struct ring_blocks_options options = pool_of(PAGE, 0);
    struct ring_segment *segment = test_pool_with(&options);
    for (int round = 0; round < 3; round++) {
        unsigned char *address;
        open_as(&writer, segment, RING_BLOCKS_WRITE_OWN);
        take(&writer, &address);
        REQUIRE_OK(ring_blocks_close(&writer));
        REQUIRE_OK(ring_segment_free(segment, "pool"));
        test_use_rings(segment);
        REQUIRE_OK(ring_segment_free(segment, "ring"));
        REQUIRE_OK(ring_segment_free(segment, "news"));
        REQUIRE_OK(ring_blocks_create_with(segment, "pool", &options));
    }
    test_pool_end(segment);
}

/* ---- Refusals ---- */

static void demand_no_rights(struct ring_segment *segment, const char *word)
{
    for (int rights = RING_BLOCKS_READ; rights <= RING_BLOCKS_WRITE_OWN; rights++) {
        REQUIRE_REFUSED(ring_blocks_open_with(&writer, segment, "pool", (enum ring_blocks_rights)rights, RING_NO_WAIT),
                        EOPNOTSUPP);
        REQUIRE(strstr(ring_error_detail(), word));
    }
    REQUIRE_REFUSED(ring_blocks_open_with(&writer, segment, "pool", (enum ring_blocks_rights)3, RING_NO_WAIT), EINVAL);
    test_pool_is_whole(segment);
}

Test(blocks_rights, blocks_that_are_no_whole_pages_are_refused_with_what_would_help)
{
    struct ring_blocks_options options = pool_of(1000, 0);
    struct ring_segment *segment = test_pool_with(&options);
    demand_no_rights(segment, ".align = 4096");
    test_pool_end(segment);
    options = ring_blocks_defaults(1000, COUNT);
    options.class_count = 2;
    options.classes[1] = (struct ring_blocks_class){ PAGE, COUNT };
    segment = test_pool_with(&options);
    demand_no_rights(segment, "1000 bytes");
    test_pool_end(segment);
    struct ring_segment_options huge = test_plain(4 << 20);
    huge.flags = RING_HUGE;
    REQUIRE_OK(ring_segment_create(&segment, test_name(), &huge));
    options = pool_of(PAGE, 0);
    REQUIRE_OK(ring_blocks_create_with(segment, "pool", &options));
    if (!test_info(segment).huge_error)
        demand_no_rights(segment, "without RING_HUGE");
    test_pool_end(segment);
}

Test(blocks_rights, given_memory_keeps_the_rights_it_has)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_options(RING_BACKING_GIVEN, 1 << 20);
    options.memory = mmap(NULL, options.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(options.memory != MAP_FAILED);
    REQUIRE_OK(ring_segment_create(&segment, NULL, &options));
    REQUIRE_OK(ring_blocks_create(segment, "pool", PAGE, COUNT));
    demand_no_rights(segment, "was given");
    REQUIRE_OK(ring_segment_close(&segment));
    munmap(options.memory, options.bytes);
}

/* ---- Two threads with one mapping ---- */

struct side {
    struct ring_segment *segment;
    uint64_t frames;
};

/* Fills frames of an odd and an even pattern in turn, and the other one frees them. */
static void *send_frames(void *argument)
{
    struct side *side = argument;
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_open_producer(&producer, side->segment, "ring", TEST_LONG));
    open_as(&writer, side->segment, RING_BLOCKS_WRITE_OWN);
    for (uint64_t i = 0; i < side->frames; i++) {
        uint64_t handle;
        void *address;
        int code;
        while ((code = ring_block_allocate(&writer, PAGE, &handle, &address)) == -ENOSPC)
            test_nap(10000);
        REQUIRE_SAME(code, 0);
        test_fill(address, PAGE, i);
        REQUIRE_SAME(ring_block_pass(&writer, handle), 0);
        REQUIRE_SAME(ring_spsc_send(&producer, &handle, sizeof handle, TEST_LONG), 0);
    }
    REQUIRE_OK(ring_blocks_close(&writer));
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    return NULL;
}

Test(blocks_rights, two_threads_of_one_mapping_hand_each_other_blocks_and_neither_is_stopped)
{
    struct ring_blocks_options options = pool_of(PAGE, 0);
    struct ring_segment *segment = test_pool_with(&options);
    struct side side = { segment, test_rounds(20000) };
    struct ring_spsc_consumer consumer;
    pthread_t thread;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_spsc_open_consumer(&consumer, segment, "ring", TEST_LONG));
    open_as(&other, segment, RING_BLOCKS_WRITE_OWN);
    REQUIRE_SAME(pthread_create(&thread, NULL, send_frames, &side), 0);
    for (uint64_t i = 0; i < side.frames; i++) {
        uint64_t handle;
        void *address;
        REQUIRE_SAME(ring_spsc_recv(&consumer, &handle, sizeof handle, TEST_LONG), sizeof handle);
        REQUIRE_SAME(ring_block_accept(&other, handle, &address, NULL), 0);
        REQUIRE(test_matches(address, PAGE, i));
        memset(address, 0, PAGE); /* ours */
        REQUIRE_SAME(ring_block_free(&other, handle), 0);
    }
    pthread_join(thread, NULL);
    REQUIRE_OK(ring_blocks_close(&other));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    test_pool_is_whole(segment);
    test_pool_end(segment);
}
