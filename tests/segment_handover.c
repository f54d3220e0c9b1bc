/* segment_handover.c - sealed segments without a name: who gets one over a socket and who does not, and what the seals
 * keep off. */
#include "handover.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { NOBODY = 65534, STRANGERS = 54321 };

struct visitor {
    int socket;
    unsigned flags;
    uid_t user;
    gid_t group;
    int error; /* expected */
};

static void become(const struct visitor *visitor)
{
    if (!visitor->user)
        return;
    REQUIRE_SAME(setgroups(0, NULL), 0);
    REQUIRE_SAME(setresgid(visitor->group, visitor->group, visitor->group), 0);
    REQUIRE_SAME(setresuid(visitor->user, visitor->user, visitor->user), 0);
    prctl(PR_SET_DUMPABLE, 1); /* or /proc/self belongs to root from now on */
}

/* Attaches over the socket file as somebody, and uses or observes the segment. */
static int visit(void *argument)
{
    const struct visitor *visitor = argument;
    become(visitor);
    unsigned descriptors = test_descriptors();
    struct ring_segment *segment;
    struct ring_segment_options options = test_attaching(visitor->flags);
    if (visitor->error) {
        REQUIRE_REFUSED(ring_segment_attach_socket(&segment, test_socket_path(), &options, TEST_LONG), visitor->error);
        REQUIRE(!segment);
        REQUIRE_SAME(test_descriptors(), descriptors);
        return 0;
    }
    REQUIRE_OK(ring_segment_attach_socket(&segment, test_socket_path(), &options, TEST_LONG));
    if (visitor->flags & RING_READ_ONLY) {
        struct ring_broadcast_consumer observer;
        char message[64];
        REQUIRE_OK(ring_broadcast_open_observer(&observer, segment, "news", RING_BROADCAST_OLDEST, 0, TEST_LONG));
        REQUIRE_SAME(ring_broadcast_recv(&observer, message, sizeof message, TEST_LONG), 5);
        REQUIRE_SAME(memcmp(message, "hello", 5), 0);
        REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    } else {
        struct ring_spsc_producer producer;
        test_open_producer(&producer, segment);
        test_send(&producer, 100, 1);
        REQUIRE_OK(ring_spsc_close_producer(&producer));
    }
    REQUIRE_OK(ring_segment_close(&segment));
    REQUIRE_SAME(test_descriptors(), descriptors);
    return 0;
}

static void say_hello(struct ring_segment *segment)
{
    struct ring_broadcast_producer producer;
    REQUIRE_OK(ring_broadcast_open_producer(&producer, segment, "news", TEST_LONG));
    REQUIRE_SAME(ring_broadcast_send(&producer, "hello", 5, 0), 0);
    REQUIRE_OK(ring_broadcast_close_producer(&producer));
}

/* One visitor comes, and the offer ends so. */
static void serve(struct ring_segment *segment, int listener, const struct ring_handover *to, struct visitor visitor,
                  int expected)
{
    test_name();
    pid_t child = test_spawn(visit, &visitor);
    if (expected)
        REQUIRE_REFUSED(ring_segment_offer(segment, listener, to, TEST_LONG), expected);
    else
        REQUIRE_OK(ring_segment_offer(segment, listener, to, TEST_LONG));
    test_wait(child);
}

Test(handover, a_segment_is_handed_over_and_used_by_both)
{
    unsigned descriptors = test_descriptors();
    struct ring_segment *segment = test_create_memfd(0, 0600);
    struct ring_spsc_consumer consumer;
    int listener;
    REQUIRE_OK(ring_segment_listen(&listener, test_socket_path(), 0600));
    struct stat file;
    REQUIRE_SAME(stat(test_socket_path(), &file), 0);
    REQUIRE_SAME(file.st_mode & 07777, 0600);
    test_open_consumer(&consumer, segment);
    for (int i = 0; i < 3; i++) {
        serve(segment, listener, NULL, (struct visitor){ 0 }, 0);
        test_recv(&consumer, 100, 1);
    }
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_CLOSED);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.backing, RING_BACKING_MEMFD);
    REQUIRE_SAME(info.seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    REQUIRE_SAME(info.seals & F_SEAL_WRITE, 0);
    REQUIRE_OK(ring_segment_close(&segment));
    close(listener);
    REQUIRE_SAME(test_descriptors(), descriptors);
}

static int truncate_it(void *argument)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_attaching(0);
    REQUIRE_OK(ring_segment_receive(&segment, *(int *)argument, &options, TEST_LONG));
    int fd = test_find_memfd();
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, 0) != 0 && errno == EPERM);
    REQUIRE(ftruncate(fd, 4096) != 0 && errno == EPERM);
    REQUIRE(ftruncate(fd, TEST_SEALED_BYTES * 2) != 0 && errno == EPERM);
    REQUIRE(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE, 0, 4096) != 0);
    REQUIRE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0 && errno == EPERM);
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(handover, a_peer_that_shrinks_a_sealed_segment_is_told_eperm)
{
    int ends[2];
    REQUIRE_SAME(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    struct ring_segment *segment = test_create_memfd(0, 0600);
    REQUIRE_OK(ring_segment_offer(segment, ends[0], NULL, RING_NO_WAIT));
    test_wait(test_spawn(truncate_it, &ends[1]));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.resident_bytes, TEST_SEALED_BYTES);
    REQUIRE_OK(ring_segment_close(&segment));
    close(ends[0]);
    close(ends[1]);
}

Test(handover, a_user_who_is_not_allowed_is_refused_and_told_so)
{
    if (geteuid() != 0)
        test_skip("only root can become another user");
    struct ring_segment *segment = test_create_memfd(0, 0666);
    int listener;
    REQUIRE_OK(ring_segment_listen(&listener, test_socket_path(), 0666));
    struct visitor stranger = { .flags = RING_ANY_OWNER, .user = NOBODY, .group = NOBODY, .error = EACCES };
    struct ring_handover to = ring_handover_defaults();
    serve(segment, listener, NULL, stranger, EPERM);
    REQUIRE(strstr(ring_error_detail(), "65534"));
    to.group = STRANGERS;
    serve(segment, listener, &to, stranger, EPERM);
    to.user = RING_ID_NONE;
    serve(segment, listener, &to, stranger, EPERM);
    serve(segment, listener, &to, (struct visitor){ .error = EACCES }, EPERM); /* nor ourselves */
    close(listener);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(handover, a_user_or_group_that_is_allowed_gets_it)
{
    if (geteuid() != 0)
        test_skip("only root can become another user");
    struct ring_segment *segment = test_create_memfd(0, 0666);
    struct ring_spsc_consumer consumer;
    int listener;
    REQUIRE_OK(ring_segment_listen(&listener, test_socket_path(), 0666));
    test_open_consumer(&consumer, segment);
    struct visitor stranger = { .flags = RING_ANY_OWNER, .user = NOBODY, .group = STRANGERS };
    struct ring_handover tos[] = { ring_handover_defaults(), ring_handover_defaults(), ring_handover_defaults() };
    tos[0].user = NOBODY;
    tos[1].group = STRANGERS;
    tos[2].user = RING_ID_ANY;
    for (int i = 0; i < 3; i++) {
        serve(segment, listener, &tos[i], stranger, 0);
        test_recv(&consumer, 100, 1);
    }
    stranger.flags = 0; /* he does not trust us */
    stranger.error = EPERM;
    pid_t child = test_spawn(visit, &stranger);
    test_wait(child); /* he is gone by now: the offer goes out to nobody, and waits for the next, or is not noticed */
    int code = ring_segment_offer(segment, listener, &tos[0], RING_NO_WAIT);
    REQUIRE_ONE_OF(code, 0, -ETIMEDOUT, -EAGAIN);
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    close(listener);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(handover, a_mode_that_lets_others_only_look_holds_over_a_socket_too)
{
    if (geteuid() != 0)
        test_skip("only root can become another user");
    struct ring_segment *segment = test_create_memfd(0, 0644);
    int listener;
    REQUIRE_OK(ring_segment_listen(&listener, test_socket_path(), 0666));
    say_hello(segment);
    struct ring_handover to = ring_handover_defaults();
    to.user = NOBODY;
    struct visitor stranger = { .flags = RING_ANY_OWNER, .user = NOBODY, .group = NOBODY, .error = EACCES };
    serve(segment, listener, &to, stranger, 0); /* he cannot open it again for writing */
    to.read_only = true;
    serve(segment, listener, &to, stranger, 0); /* he wants to write */
    stranger.flags |= RING_READ_ONLY;
    stranger.error = 0;
    serve(segment, listener, &to, stranger, 0);
    close(listener);
    REQUIRE_OK(ring_segment_close(&segment));
}

static int try_to_write(void *argument)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_attaching(0);
    REQUIRE_REFUSED(ring_segment_receive(&segment, *(int *)argument, &options, TEST_LONG), EPERM);
    REQUIRE(strstr(ring_error_detail(), "sealed against writing"));
    options.flags = RING_READ_ONLY;
    REQUIRE_OK(ring_segment_receive(&segment, *(int *)argument, &options, TEST_LONG));
    int fd = test_find_memfd();
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int writable = open(path, O_RDWR | O_CLOEXEC); /* the same user: he may */
    REQUIRE(writable >= 0);
    REQUIRE(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writable, 0) == MAP_FAILED && errno == EPERM);
    REQUIRE(pwrite(writable, "x", 1, 0) < 0 && errno == EPERM);
    struct ring_broadcast_consumer observer;
    char message[64];
    REQUIRE_OK(ring_broadcast_open_observer(&observer, segment, "news", RING_BROADCAST_OLDEST, 0, TEST_LONG));
    REQUIRE_SAME(ring_broadcast_recv(&observer, message, sizeof message, TEST_LONG), 5);
    REQUIRE_OK(ring_broadcast_close_consumer(&observer));
    REQUIRE_OK(ring_segment_close(&segment));
    return 0;
}

Test(handover, sealed_against_writing_only_its_creator_ever_writes)
{
    int ends[2];
    REQUIRE_SAME(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    struct ring_segment *segment = test_create_memfd(RING_SEAL_WRITES, 0600);
    REQUIRE_OK(ring_segment_offer(segment, ends[0], NULL, RING_NO_WAIT));
    REQUIRE_OK(ring_segment_offer(segment, ends[0], NULL, RING_NO_WAIT));
    pid_t child = test_spawn(try_to_write, &ends[1]);
    say_hello(segment);
    test_wait(child);
    REQUIRE_OK(ring_segment_close(&segment));
    close(ends[0]);
    close(ends[1]);
}

static int take_and_die(void *argument)
{
    struct ring_segment *segment;
    struct ring_segment_options options = test_attaching(0);
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_segment_receive(&segment, *(int *)argument, &options, TEST_LONG));
    test_open_producer(&producer, segment);
    test_send(&producer, 10, 1);
    test_nap(20 * TEST_SECOND);
    return 1;
}

Test(handover, proofs_of_life_belong_to_each_side_and_not_to_what_was_handed_over)
{
    int ends[2];
    REQUIRE_SAME(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    struct ring_segment *segment = test_create_memfd(0, 0600);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    test_open_consumer(&consumer, segment);
    REQUIRE_OK(ring_segment_offer(segment, ends[0], NULL, RING_NO_WAIT));
    pid_t child = test_spawn(take_and_die, &ends[1]);
    test_recv(&consumer, 10, 1);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_ALIVE);
    REQUIRE_REFUSED(ring_spsc_open_producer(&producer, segment, "ring", 0), EBUSY);
    test_kill(child);
    REQUIRE_SAME(ring_spsc_producer_state(&consumer), RING_PEER_DEAD);
    test_open_producer(&producer, segment);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&segment));
    close(ends[0]);
    close(ends[1]);
}

/* ---- Many at once ---- */

enum { LISTENERS = 8, ROUNDS = 50 };

struct race {
    RING_ATOMIC(unsigned) round, ready, listening, done;
};

static int listen_each_round(void *context)
{
    struct race *race = *(struct race **)context;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        int listener;
        while (ring_atomic_load(&race->round, memory_order_acquire) != round)
            usleep(50);
        int code = ring_segment_listen(&listener, test_socket_path(), 0600);
        REQUIRE_ONE_OF(code, 0, -EADDRINUSE);
        atomic_fetch_add(&race->listening, code == 0);
        atomic_fetch_add(&race->ready, 1);
        while (ring_atomic_load(&race->ready, memory_order_acquire) < LISTENERS * round)
            usleep(50);
        if (code == 0)
            close(listener); /* its file stays */
        atomic_fetch_add(&race->done, 1);
    }
    return 0;
}

Test(handover, of_many_who_begin_to_listen_at_once_one_does)
{
    pid_t children[LISTENERS];
    struct race *race = mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(race != MAP_FAILED);
    for (unsigned i = 0; i < LISTENERS; i++)
        children[i] = test_spawn(listen_each_round, &race);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        ring_atomic_store(&race->round, round, memory_order_release);
        while (ring_atomic_load(&race->done, memory_order_acquire) < LISTENERS * round)
            usleep(100);
        REQUIRE_SAME(ring_atomic_load(&race->listening, memory_order_acquire), round);
        if (round % 2) /* else it is left behind */
            REQUIRE_SAME(unlink(test_socket_path()), 0);
    }
    for (unsigned i = 0; i < LISTENERS; i++)
        test_wait(children[i]);
    unlink(test_socket_path());
    munmap(race, sizeof *race);
}
