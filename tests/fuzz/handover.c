/* handover.c - fuzz target: receiving a segment from a peer that sends anything: other bytes, other descriptors, too
 * many or none of them, memory that is not sealed, and sealed memory whose pages say what they like.
 *
 * No descriptor may be left, whatever came; what was attached is looked through.
 */
#include "fuzz.h"

#include <ring/segment_private.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

const unsigned fuzz_role = FUZZ_ROLE;

enum { ANSWER = 32, ENTRIES = 2, PAGES = 18, FDS = 6 };

static unsigned char sound_answer[ANSWER + 8];
static unsigned char *sound, *pages; /* of the sealed memfd: as it was made, and mapped */
static size_t bytes;
static int own, fds[FDS]; /* a sealed segment, one that is not sealed, an empty sealed one, a file, a pipe, a socket */

static const int told[] = { EPIPE,  EPROTO, EPROTONOSUPPORT, EACCES, EPERM,    ETIMEDOUT,
                            EINVAL, EBADF,  EUCLEAN,         ENOENT, ENOTSOCK, 0 };

static int new_memory(const void *contents, size_t length, int seals)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    FUZZ_DEMAND(fd >= 0 && fchmod(fd, 0600) == 0 && ftruncate(fd, (off_t)length) == 0);
    FUZZ_DEMAND(length == 0 || pwrite(fd, contents, length, 0) == (ssize_t)length);
    FUZZ_DEMAND(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

/* Keeps what a sound offer sends. */
static void set_up(void)
{
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    int pair[2], ends[2];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = { sound_answer, sizeof sound_answer };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    options.rings = ENTRIES;
    options.flags = 0;
    options.backing = RING_BACKING_MEMFD;
    options.bytes = bytes = PAGES * 4096;
    FUZZ_DEMAND(ring_segment_create(&segment, "fuzz", &options) == 0);
    FUZZ_DEMAND(ring_spsc_create(segment, "a", 4096) == 0);
    FUZZ_DEMAND(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    FUZZ_DEMAND(ring_segment_offer(segment, pair[0], NULL, RING_NO_WAIT) == 0);
    FUZZ_DEMAND(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == ANSWER && CMSG_FIRSTHDR(&message));
    memcpy(&fds[0], CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds[0]);
    close(pair[0]);
    close(pair[1]);
    own = dup(fds[0]);
    pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    sound = malloc(bytes);
    FUZZ_DEMAND(pages != MAP_FAILED && sound);
    memcpy(sound, pages, bytes);
    FUZZ_DEMAND(ring_segment_close(&segment) == 0);
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    fds[1] = new_memory(sound, bytes, 0);
    fds[2] = new_memory(NULL, 0, seals);
    fds[3] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    FUZZ_DEMAND(pipe2(ends, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    fds[4] = ends[0];
    fds[5] = pair[0];
    fuzz_kernel_keep();
}

/* Some bytes of a copy become others. */
static void patch(unsigned char *to, size_t size, uint64_t times)
{
    for (; times; times--) {
        uint64_t way = fuzz_byte();
        size_t at = fuzz_below(way & 0x80 ? size : way & 0x40 ? 256 : 1024) % size;
        for (uint64_t count = 1 + way % 8; count && at < size; count--)
            to[at++] = (unsigned char)fuzz_byte();
    }
}

/* One message of the peer. */
static void send_something(int socket)
{
    unsigned char text[64];
    uint64_t way = fuzz_byte();
    size_t length = way % 16 == 0 ? fuzz_below(sizeof text) : ANSWER;
    unsigned count = way / 16 % 8 < 5 ? 1 : (unsigned)(way / 16 % 8) - 5;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec part = { text, length };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    memset(text, 0, sizeof text);
    memcpy(text, sound_answer, ANSWER);
    patch(text, ANSWER, fuzz_byte() % 4);
    if (way > 248)
        count = (unsigned)(way - 247);
    if (count) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        for (unsigned i = 0; i < count; i++) {
            uint64_t which = fuzz_byte();
            memcpy(CMSG_DATA(rights) + i * sizeof(int), &fds[which < 160 ? 0 : which % FDS], sizeof(int));
        }
    }
    (void)sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void look_around(struct ring_segment *segment)
{
    unsigned char buffer[4096];
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    memset(buffer, 1, sizeof buffer);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct ring_entry_info entry;
        if (ring_segment_entry(segment, i, &entry) != 0)
            continue;
        if (ring_spsc_open_producer(&producer, segment, entry.name, 0) == 0) {
            ring_spsc_send(&producer, buffer, 40, 0);
            ring_spsc_close_producer(&producer);
        }
        if (ring_spsc_open_consumer(&consumer, segment, entry.name, 0) == 0) {
            ring_spsc_recv(&consumer, buffer, sizeof buffer, 0);
            ring_spsc_close_consumer(&consumer);
        }
    }
}

/* The lowest that is free; and those behind it are, as far as an execution can have opened any. */
static int first_free(void)
{
    int fd = dup(own);
    close(fd);
    for (int next = fd; next < fd + 24; next++)
        FUZZ_DEMAND(fcntl(next, F_GETFD) < 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    if (!sound)
        set_up();
    fuzz_begin(data, size);
    memcpy(pages, sound, bytes);
    int before = first_free();
    uint64_t way = fuzz_byte();
    FUZZ_DEMAND(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    patch(pages, bytes, way / 4 % 4);
    for (uint64_t messages = 1 + way % 2; messages; messages--)
        send_something(pair[1]);
    if (way & 0x40)
        close(pair[1]);
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = way & 0x80 ? RING_READ_ONLY : 0;
    for (int times = 0; times < 2; times++) {
        fuzz_attack(0); /* counts steps from here */
        int code = ring_segment_receive(&segment, pair[0], &options, RING_NO_WAIT);
        fuzz_tells(code, told);
        FUZZ_DEMAND((code == 0) == (segment != NULL) && (code == 0 || strlen(ring_error_detail()) > 10));
        if (code == 0) {
            look_around(segment);
            FUZZ_DEMAND(ring_segment_close(&segment) == 0);
        }
    }
    close(pair[0]);
    if (!(way & 0x40))
        close(pair[1]);
    FUZZ_DEMAND(first_free() == before);
    return 0;
}
