/* handover.h - level 5: a segment without a name, handed over a UNIX socket to those it is meant for.
 *
 * For peers that do not trust each other. A segment of RING_BACKING_MEMFD is sealed: nobody can shrink it under another
 * (whoever tries gets EPERM), which no file in /dev/shm can promise. It has no name that anybody could open: one
 * process offers it, the kernel tells who asks (SO_PEERCRED), and a descriptor goes over the socket (SCM_RIGHTS).
 *
 *     offering                                     attaching
 *     ring_segment_create(.backing = MEMFD)        ring_segment_attach_socket(&segment, "/run/feed.socket", ...)
 *     ring_segment_listen(&listener, "/run/feed.socket", 0666)
 *     ring_segment_offer(segment, listener, &to, RING_FOREVER)   once for each that comes
 *
 * Who gets it opens it again on his side, for proofs of life of his own: so the segment's mode must let him, 0644 to
 * let other users look, 0666 to let them write. That opens it to nobody else: without a name there is nothing to open.
 *
 * Cold calls, from any thread; a socket is used by one call at a time.
 */
#ifndef RING_HANDOVER_H
#define RING_HANDOVER_H

#include <ring/segment.h>

RING_BEGIN_C

#define RING_ID_NONE ((uid_t)-1) /* no user, no group */
#define RING_ID_ANY  ((uid_t)-2) /* whoever asks */

/* Whom a segment is handed to: who is `user`, or a member of `group`. Start from ring_handover_defaults(). */
struct ring_handover {
    size_t struct_size; /* sizeof this struct: lets it grow */
    uid_t user;         /* default: the effective user of this process */
    gid_t group;        /* default: RING_ID_NONE */
    bool read_only; /* a descriptor for reading only. The same user can make more of it, unless the segment was created
                       with RING_SEAL_WRITES */
};

RING_PUBLIC struct ring_handover ring_handover_defaults(void);

/* Makes a listening socket at `path` ("@name": without a file), whose file gets that mode whatever the umask. A socket
 * file that nobody listens at any more is replaced. The caller closes *listener, and removes the file.
 * -EADDRINUSE: somebody listens there. -EEXIST: something else has that path. -ENAMETOOLONG: over 107 characters. */
RING_PUBLIC int ring_segment_listen(int *listener, const char *path, unsigned mode);

/* Hands the segment to one peer: the next that comes to a listening socket, or the other end of a connected one, which
 * must be of SOCK_SEQPACKET. `to` may be NULL: the defaults. -EPERM: a peer came and is not allowed; it was told so,
 * and the sentence tells who it was. -ETIMEDOUT: nobody came. -EOPNOTSUPP: not a memfd. -EPIPE: the peer is gone. */
RING_PUBLIC int ring_segment_offer(struct ring_segment *segment, int socket, const struct ring_handover *to,
                                   int64_t timeout_ns);

/* Asks for a segment at the socket of that path, waiting for somebody to listen, and for the answer. -ENOENT
 * (RING_NO_WAIT), -ETIMEDOUT: nobody listens, or nobody answers: give a time limit. -EACCES: this user is refused; or
 * it is handed out for reading only, and RING_READ_ONLY was not given. -EPERM: another user listens there, and
 * RING_ANY_OWNER was not given; or what came is not sealed. -EPROTO: what came is no segment. */
RING_PUBLIC int ring_segment_attach_socket(struct ring_segment **segment, const char *path,
                                           const struct ring_segment_options *options, int64_t timeout_ns);

/* The same from a connected socket of SOCK_SEQPACKET, such as an end of a socketpair(), which the caller keeps. */
RING_PUBLIC int ring_segment_receive(struct ring_segment **segment, int socket,
                                     const struct ring_segment_options *options, int64_t timeout_ns);

RING_END_C

#endif
