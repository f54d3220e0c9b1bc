/* segment_unsealed.c - what comes over a socket, or as a descriptor, and is no sealed segment: refused, and no
 * descriptor is left; and nobody at the socket is told. */
#include "handover.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

Test(handover, descriptors_that_are_not_sealed_segments_are_refused)
{
    struct ring_segment *segment = test_create(TEST_SEALED_BYTES), *other = (void *)1;
    struct ring_segment_options options = test_attaching(0);
    unsigned descriptors = test_descriptors();
    REQUIRE_REFUSED(ring_segment_attach_fd(&other, -1, &options), EBADF);
    REQUIRE(!other);
    REQUIRE_REFUSED(ring_segment_attach_fd(NULL, 0, &options), EINVAL);
    char path[TEST_NAME];
    int file = open(test_path(path, test_name()), O_RDWR | O_CLOEXEC);
    REQUIRE_REFUSED(ring_segment_attach_fd(&other, file, &options), EPERM);
    close(file);
    int ends[2];
    REQUIRE_SAME(pipe(ends), 0);
    REQUIRE_REFUSED(ring_segment_attach_fd(&other, ends[0], &options), EPERM);
    close(ends[0]);
    close(ends[1]);
    int memfd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE_SAME(ftruncate(memfd, TEST_SEALED_BYTES), 0);
    REQUIRE_REFUSED(ring_segment_attach_fd(&other, memfd, &options), EPERM);
    REQUIRE_SAME(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0); /* others could still add seals */
    REQUIRE_REFUSED(ring_segment_attach_fd(&other, memfd, &options), EPERM);
    REQUIRE_SAME(fcntl(memfd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    REQUIRE_REFUSED(ring_segment_attach_fd(&other, memfd, &options), EPROTO);
    close(memfd);
    REQUIRE_SAME(test_descriptors(), descriptors);
    struct ring_handover to = ring_handover_defaults();
    REQUIRE_SAME(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    REQUIRE_REFUSED(ring_segment_offer(segment, ends[0], &to, RING_NO_WAIT), EOPNOTSUPP);
    REQUIRE_OK(ring_segment_close(&segment));
    segment = test_create_memfd(0, 0600);
    to.struct_size--;
    REQUIRE_REFUSED(ring_segment_offer(segment, ends[0], &to, RING_NO_WAIT), EINVAL);
    REQUIRE_REFUSED(ring_segment_offer(segment, -1, NULL, RING_NO_WAIT), EBADF);
    REQUIRE_REFUSED(ring_segment_offer(NULL, ends[0], NULL, RING_NO_WAIT), EINVAL);
    close(ends[1]);
    REQUIRE_REFUSED(ring_segment_offer(segment, ends[0], NULL, RING_NO_WAIT), EPIPE);
    close(ends[0]);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(handover, a_caller_keeps_the_descriptor_he_attached_by)
{
    struct ring_segment *segment = test_create_memfd(0, 0600), *other;
    struct ring_segment_options options = test_attaching(0);
    int fd = fcntl(test_find_memfd(), F_DUPFD_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    REQUIRE_OK(ring_segment_attach_fd(&other, fd, &options));
    REQUIRE(fcntl(fd, F_GETFD) >= 0);
    close(fd);
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    test_open_producer(&producer, segment);
    test_open_consumer(&consumer, other);
    test_send(&producer, 1000, 9);
    test_recv(&consumer, 1000, 9);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_spsc_close_consumer(&consumer));
    REQUIRE_OK(ring_segment_close(&other));
    REQUIRE_OK(ring_segment_close(&segment));
}

/* Sends what it likes, with so many descriptors. */
static void send_rubbish(int socket, const void *bytes, size_t length, int descriptors)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = length };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (descriptors) {
        int fds[3] = { 0, 1, 2 };
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)descriptors * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN((size_t)descriptors * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, (size_t)descriptors * sizeof(int));
    }
    REQUIRE_SAME(sendmsg(socket, &message, 0), (long long)length);
}

Test(handover, rubbish_over_the_socket_is_refused_and_leaves_no_descriptor)
{
    int ends[2];
    REQUIRE_SAME(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    struct ring_segment *segment;
    struct ring_segment_options options = test_attaching(0);
    unsigned descriptors = test_descriptors();
    unsigned char bytes[64] = { 0 };
    struct test_random random = { 3 };
    for (int round = 0; round < 300; round++) {
        test_fill(bytes, sizeof bytes, (uint64_t)round);
        if (round % 2)
            memcpy(bytes, "\1SHSOVER", 8);
        if (round % 4 == 3)
            memcpy(bytes + 8, (uint32_t[]){ RING_LAYOUT_VERSION, 0 }, 8);
        size_t length = round % 3 ? 32 : 1 + (size_t)test_below(&random, sizeof bytes);
        send_rubbish(ends[0], bytes, length, (int)test_below(&random, 4));
        REQUIRE_REFUSED_SOMEHOW(ring_segment_receive(&segment, ends[1], &options, TEST_LONG));
        REQUIRE(!segment);
        REQUIRE_SAME(test_descriptors(), descriptors);
    }
    REQUIRE_REFUSED(ring_segment_receive(&segment, ends[1], &options, 5000000), ETIMEDOUT);
    close(ends[0]);
    REQUIRE_REFUSED(ring_segment_receive(&segment, ends[1], &options, TEST_LONG), EPIPE);
    close(ends[1]);
}

Test(handover, nobody_at_the_socket_is_told_at_once_or_after_the_time_limit)
{
    struct ring_segment *segment = test_create_memfd(0, 0600), *other;
    int listener, second;
    REQUIRE_REFUSED(ring_segment_attach_socket(&other, test_socket_path(), NULL, RING_NO_WAIT), ENOENT);
    REQUIRE_REFUSED(ring_segment_attach_socket(&other, test_socket_path(), NULL, 10000000), ETIMEDOUT);
    REQUIRE_REFUSED(ring_segment_attach_socket(&other, NULL, NULL, RING_NO_WAIT), EINVAL);
    REQUIRE_OK(ring_segment_listen(&listener, test_socket_path(), 0600));
    REQUIRE_REFUSED(ring_segment_listen(&second, test_socket_path(), 0600), EADDRINUSE);
    REQUIRE_REFUSED(ring_segment_offer(segment, listener, NULL, RING_NO_WAIT), ETIMEDOUT);
    REQUIRE_REFUSED(ring_segment_offer(segment, listener, NULL, 10000000), ETIMEDOUT);
    REQUIRE_REFUSED(ring_segment_attach_socket(&other, test_socket_path(), NULL, 10000000), ETIMEDOUT); /* no answer */
    close(listener);
    REQUIRE_REFUSED(ring_segment_attach_socket(&other, test_socket_path(), NULL, RING_NO_WAIT), ENOENT);
    REQUIRE_OK(ring_segment_listen(&listener, test_socket_path(), 0640)); /* what was left behind is replaced */
    close(listener);
    REQUIRE_SAME(unlink(test_socket_path()), 0);
    FILE *file = fopen(test_socket_path(), "w");
    REQUIRE(file);
    fclose(file);
    REQUIRE_REFUSED(ring_segment_listen(&listener, test_socket_path(), 0600), EEXIST);
    char abstract[TEST_NAME];
    snprintf(abstract, sizeof abstract, "@%.100s", test_name());
    REQUIRE_OK(ring_segment_listen(&listener, abstract, 0600));
    REQUIRE_REFUSED(ring_segment_listen(&second, abstract, 0600), EADDRINUSE);
    close(listener);
    char long_path[200];
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    REQUIRE_REFUSED(ring_segment_listen(&listener, long_path, 0600), ENAMETOOLONG);
    REQUIRE_OK(ring_segment_close(&segment));
}
