/* handover.c - level 5: a sealed memfd over a UNIX socket.
 *
 * One message, one way: whether the peer may have it, and if so a descriptor. Each gets an open file description of its
 * own, because locks belong to descriptions, and proofs of life are locks. Who asks is told by the kernel, for the time
 * of connect() or socketpair(); nothing that the peer says about itself is read. Who answers is checked the same way,
 * and what came by all that attaching checks: seals, owner, mode, layout.
 */
#include <ring/handover.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/segment_private.h>

#ifndef SO_PEERGROUPS /* Linux 4.13 */
#define SO_PEERGROUPS 59
#endif

#define ANSWER_MAGIC UINT64_C(0x5245564f53485301) /* bytes 01 'S' 'H' 'S' 'O' 'V' 'E' 'R' */

/* The message, with a descriptor when `refused` is 0. */
struct answer {
    /*  0 */ uint64_t magic;
    /*  8 */ uint32_t version; /* RING_LAYOUT_VERSION */
    /* 12 */ uint32_t refused; /* 1: this user gets nothing */
    /* 16 */ uint32_t read_only;
    /* 20 */ uint32_t reserved;
    /* 24 */ uint64_t serial; /* of the segment */
    /* 32 */
};
static_assert(sizeof(struct answer) == 32, "what goes over a socket");

struct ring_handover ring_handover_defaults(void)
{
    return (
        struct ring_handover){ .struct_size = sizeof(struct ring_handover), .user = geteuid(), .group = RING_ID_NONE };
}

/* ---- Sockets ---- */

/* Waits until something can be read. */
static int await_input(int socket, int64_t deadline, const char *what)
{
    for (;;) {
        int64_t left = deadline == RING_CLOCK_NEVER ? -1 : (deadline - ring_clock_monotonic()) / 1000000 + 1;
        struct pollfd wanted = { .fd = socket, .events = POLLIN };
        int most = left > 3600000 || left < 0 ? 3600000 : (int)left;
        if (deadline != RING_CLOCK_NEVER && left <= 0)
            most = 0;
        int ready = poll(&wanted, 1, most);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return ring_error(-errno, "cannot wait at the socket (%s)", strerror(errno));
        if (deadline != RING_CLOCK_NEVER && ring_clock_monotonic() >= deadline)
            return ring_error(-ETIMEDOUT, "%s within the time limit", what);
    }
}

static int address_of(const char *path, struct sockaddr_un *address, socklen_t *length)
{
    size_t characters = path ? strlen(path) : 0;
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (characters == 0)
        return ring_error(-EINVAL, "a socket's path is NULL or empty");
    if (characters >= sizeof address->sun_path)
        return ring_error(-ENAMETOOLONG, "a socket's path has at most %zu characters, this one has %zu",
                          sizeof address->sun_path - 1, characters);
    memcpy(address->sun_path, path, characters);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + characters + 1);
    if (path[0] == '@') { /* a name of its own kind: no file, and no final zero */
        address->sun_path[0] = '\0';
        *length -= 1;
    }
    return 0;
}

static int new_socket(void)
{
    int made = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return made >= 0 ? made : ring_error(-errno, "cannot make a socket (%s)", strerror(errno));
}

/* Takes away a socket file that nobody listens at. */
static int clear_stale(const char *path, const struct sockaddr_un *address, socklen_t length)
{
    struct stat file;
    if (path[0] == '@' || lstat(path, &file) != 0)
        return ring_error(-EADDRINUSE, "somebody listens at %s already", path);
    if (!S_ISSOCK(file.st_mode))
        return ring_error(-EEXIST, "%s exists and is no socket, so it is left alone", path);
    int probe = new_socket();
    if (probe < 0)
        return probe;
    bool refused = connect(probe, (const struct sockaddr *)address, length) != 0 && errno == ECONNREFUSED;
    close(probe);
    if (!refused)
        return ring_error(-EADDRINUSE, "somebody listens at %s already", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return ring_error(-errno, "cannot remove the socket %s, which nobody listens at (%s)", path, strerror(errno));
    return 0;
}

/* The mode holds before the name is there, as far as the umask lets it, and in full before anybody can connect. */
static int bind_and_listen(int made, const char *path, const struct sockaddr_un *address, socklen_t length,
                           unsigned mode)
{
    bool file = path[0] != '@';
    if (file)
        (void)fchmod(made, (mode_t)mode);
    if (bind(made, (const struct sockaddr *)address, length) != 0)
        return -errno;
    if (file && chmod(path, (mode_t)mode) != 0)
        return -errno;
    return listen(made, SOMAXCONN) == 0 ? 0 : -errno;
}

/* Holds the socket's folder: of several who come at once nobody takes what another is just making for something that
 * was left behind. Who may not hold it, or not in time, goes on without. */
static int hold_folder(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)NULL)->sun_path];
    const char *slash = strrchr(path, '/');
    int64_t deadline = ring_clock_deadline(INT64_C(1000000000));
    unsigned attempt = 0;
    snprintf(folder, sizeof folder, "%.*s", slash > path ? (int)(slash - path) : 1, slash ? path : ".");
    int held = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (held >= 0 && flock(held, LOCK_EX | LOCK_NB) != 0 && ring_clock_doze(deadline, &attempt))
        continue;
    return held;
}

int ring_segment_listen(int *listener, const char *path, unsigned mode)
{
    struct sockaddr_un address;
    socklen_t length = 0;
    if (!listener)
        return ring_error(-EINVAL, "the place for the socket is NULL");
    *listener = -1;
    if (mode & ~0777U)
        return ring_error(-EINVAL, "mode %04o: permission bits only", mode);
    int code = address_of(path, &address, &length);
    int made = code ? code : new_socket();
    if (made < 0)
        return made;
    int held = path[0] == '@' ? -1 : hold_folder(path);
    code = bind_and_listen(made, path, &address, length, mode);
    if (code == -EADDRINUSE) {
        code = clear_stale(path, &address, length);
        if (!code)
            code = bind_and_listen(made, path, &address, length, mode);
        else
            path = NULL; /* that sentence is the one */
    }
    close(held); /* -1: nothing is held */
    if (code) {
        close(made);
        return path ? ring_error(code, "cannot listen at %s (%s)", path, strerror(-code)) : code;
    }
    *listener = made;
    return 0;
}

/* ---- Offering ---- */

static bool is_member(int socket, gid_t group)
{
    socklen_t length = 0;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &length) == 0 || errno != ERANGE)
        return false;
    gid_t *groups = malloc(length);
    bool member = false;
    if (groups && getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &length) == 0)
        for (size_t at = 0; at < length / sizeof *groups; at++)
            member |= groups[at] == group;
    free(groups);
    return member;
}

static bool is_allowed(int socket, const struct ucred *peer, const struct ring_handover *to)
{
    if (to->user == RING_ID_ANY || to->group == RING_ID_ANY)
        return true;
    if (to->user != RING_ID_NONE && peer->uid == to->user)
        return true;
    return to->group != RING_ID_NONE && (peer->gid == to->group || is_member(socket, to->group));
}

static int send_answer(int socket, const struct answer *answer, int fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec part = { .iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof *answer };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)sizeof *answer)
        return 0;
    int code = sent < 0 ? -errno : -EIO;
    return ring_error(code == -ECONNRESET ? -EPIPE : code, "cannot hand the segment over (%s): the peer may be gone",
                      strerror(-code));
}

static int offer_to(struct ring_segment *segment, int socket, const struct ring_handover *to)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    struct answer answer = { .magic = ANSWER_MAGIC,
                             .version = RING_LAYOUT_VERSION,
                             .read_only = to->read_only,
                             .serial = segment->constants.serial };
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return ring_error(-errno, "the kernel does not tell who is at the other end of the socket (%s)",
                          strerror(errno));
    if (!is_allowed(socket, &peer, to)) {
        answer.refused = 1;
        (void)send_answer(socket, &answer, -1);
        return ring_error(-EPERM, "user %u, group %u (pid %d) asked for the segment, and is not the one allowed",
                          (unsigned)peer.uid, (unsigned)peer.gid, (int)peer.pid);
    }
    char path[40];
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", segment->witness.fd);
    int fd = open(path, (to->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0)
        return ring_error(-errno, "cannot open the segment once more for the peer (%s): is /proc mounted?",
                          strerror(errno));
    int code = send_answer(socket, &answer, fd);
    close(fd);
    return code;
}

static int check_offer(const struct ring_segment *segment, const struct ring_handover *to, int socket, bool *listening)
{
    int yes = 0;
    int domain = 0;
    socklen_t length = sizeof yes;
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (to->struct_size != sizeof *to)
        return ring_error(-EINVAL, "struct_size is %zu, this library knows %zu: start from ring_handover_defaults()",
                          to->struct_size, sizeof *to);
    if (segment->constants.backing != RING_BACKING_MEMFD)
        return ring_error(-EOPNOTSUPP, "only a segment of RING_BACKING_MEMFD is sealed and can be handed over; others "
                                       "are attached by their name");
    if (!to->read_only && segment->witness.read_only)
        return ring_error(-EACCES, "the segment is attached read-only: it can be handed on for reading only");
    if (getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &yes, &length) != 0)
        return ring_error(-errno, "descriptor %d is no socket (%s)", socket, strerror(errno));
    length = sizeof domain;
    if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_UNIX)
        return ring_error(-EINVAL, "descriptor %d is no UNIX socket", socket);
    *listening = yes != 0;
    return 0;
}

int ring_segment_offer(struct ring_segment *segment, int socket, const struct ring_handover *given, int64_t timeout_ns)
{
    struct ring_handover to = given ? *given : ring_handover_defaults();
    int64_t deadline = ring_clock_deadline(timeout_ns);
    bool listening = false;
    int code = check_offer(segment, &to, socket, &listening);
    if (code || !listening)
        return code ? code : offer_to(segment, socket, &to);
    for (;;) {
        code = await_input(socket, deadline, "nobody came to the socket");
        if (code)
            return code;
        int peer = accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer >= 0) {
            code = offer_to(segment, peer, &to);
            close(peer);
            if (code != -EPIPE)
                return code;
            continue; /* who came did not wait */
        }
        if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) /* who came is gone again */
            return ring_error(-errno, "cannot accept at the socket (%s)", strerror(errno));
    }
}

/* ---- Attaching ---- */

/* Takes the one descriptor out of a message; whatever else came is closed. */
static int take_descriptor(struct msghdr *message)
{
    int taken = -1;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
            if (taken >= 0)
                close(fd);
            else
                taken = fd;
        }
    }
    return taken;
}

static int receive_answer(int socket, struct answer *answer, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec part = { .iov_base = answer, .iov_len = sizeof *answer };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes
    };
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return ring_error(-errno, "cannot receive from the socket (%s)", strerror(errno));
    *fd = take_descriptor(&message);
    if (got == 0)
        return ring_error(-EPIPE, "who offers the segment has closed the socket without an answer");
    if (got != (ssize_t)sizeof *answer || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || answer->magic != ANSWER_MAGIC)
        return ring_error(-EPROTO, "what came over the socket is not the offer of a segment");
    if (answer->version != RING_LAYOUT_VERSION)
        return ring_error(-EPROTONOSUPPORT, "the segment has layout version %u, this library has %u", answer->version,
                          RING_LAYOUT_VERSION);
    if (answer->refused)
        return ring_error(-EACCES, "who offers the segment does not hand it to this user: ring_segment_offer() says "
                                   "to whom");
    return *fd >= 0 ? 0 : ring_error(-EPROTO, "an offer came over the socket without a descriptor");
}

/* Do we take memory from whoever is at the other end? */
static int check_peer(int socket, unsigned flags)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return ring_error(-errno, "descriptor %d is no connected UNIX socket (%s)", socket, strerror(errno));
    if (peer.uid == geteuid() || flags & RING_ANY_OWNER)
        return 0;
    return ring_error(-EPERM,
                      "the segment is offered by user %u (pid %d), not by this user %u: attach with RING_ANY_OWNER if "
                      "you trust that user",
                      (unsigned)peer.uid, (int)peer.pid, (unsigned)geteuid());
}

static int receive_until(struct ring_segment **segment, int socket, const struct ring_segment_options *options,
                         int64_t deadline)
{
    struct answer answer = { 0 };
    int fd = -1;
    unsigned flags = options->flags;
    int code = check_peer(socket, flags);
    if (!code)
        code = await_input(socket, deadline, "who listens at the socket has not answered");
    if (!code)
        code = receive_answer(socket, &answer, &fd);
    if (!code && answer.read_only && !(flags & RING_READ_ONLY))
        code = ring_error(-EACCES, "the segment is handed out for reading only: attach with RING_READ_ONLY");
    if (!code)
        code = ring_segment_attach_fd(segment, fd, options);
    if (!code && (*segment)->constants.serial != answer.serial) {
        ring_segment_close(segment);
        code = ring_error(-EPROTO, "what came over the socket is another segment than was said");
    }
    if (fd >= 0)
        close(fd);
    return code;
}

int ring_segment_receive(struct ring_segment **segment, int socket, const struct ring_segment_options *given,
                         int64_t timeout_ns)
{
    struct ring_segment_options options;
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    int code = ring_segment_check_options(given, &options);
    return code ? code : receive_until(segment, socket, &options, ring_clock_deadline(timeout_ns));
}

/* Connects, waiting for somebody to listen. */
static int connect_until(const char *path, int64_t deadline, bool wait)
{
    struct sockaddr_un address;
    socklen_t length = 0;
    unsigned attempt = 0;
    int code = address_of(path, &address, &length);
    if (code)
        return code;
    for (;;) {
        int made = new_socket();
        if (made < 0 || connect(made, (const struct sockaddr *)&address, length) == 0)
            return made;
        code = -errno;
        close(made);
        if (code != -ENOENT && code != -ECONNREFUSED && code != -EAGAIN && code != -EINTR)
            return ring_error(code, "cannot connect to %s (%s)", path, strerror(-code));
        if (!wait)
            return ring_error(-ENOENT, "nobody listens at %s", path);
        if (!ring_clock_doze(deadline, &attempt))
            return ring_error(-ETIMEDOUT, "still nobody listens at %s after the time limit", path);
    }
}

int ring_segment_attach_socket(struct ring_segment **segment, const char *path,
                               const struct ring_segment_options *given, int64_t timeout_ns)
{
    struct ring_segment_options options;
    if (!segment)
        return ring_error(-EINVAL, "the place for the segment's handle is NULL");
    *segment = NULL;
    int code = ring_segment_check_options(given, &options);
    if (code)
        return code;
    int64_t deadline = ring_clock_deadline(timeout_ns);
    int socket = connect_until(path, deadline, timeout_ns != RING_NO_WAIT);
    if (socket < 0)
        return socket;
    code = receive_until(segment, socket, &options, deadline);
    close(socket);
    return code;
}
