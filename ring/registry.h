/* registry.h - level 7: a process-wide directory of open ends of rings, by name: any thread looks one up and sends,
 * while others attach, detach and attach again. No lock and no shared write on the way of a look-up. Optional: needs
 * liburcu, is a library of its own (libshmring-registry), and ring.h does not include it.
 *
 * A look-up is a section, from ring_registry_enter() to ring_registry_leave(), or part of one that goes from
 * ring_registry_begin_section() to ring_registry_end_section(): what was found stays mapped until then, whatever others
 * do. What was detached, or replaced after its peer came again with a new segment, is closed and
 * unmapped after all sections that may have found it are over.
 *
 * Which end a thread gets: of MPMC rings, and as a consumer of a broadcast ring, a seat of its own, taken when it first
 * looks the name up and given back when the thread ends or the name is detached. The roles that a ring has once (both
 * of an SPSC ring, the producer of a broadcast ring) are taken once for the process; a section claims it, and a thread
 * that comes meanwhile is told -EBUSY.
 *
 * Who may call what: any thread anything, at any time, but for signal handlers. A section may hold others, and may
 * wait, sleep and block: that delays only the closing of what was detached. What waits for sections is not for within
 * one: settle, detach_all, and fork. After it the child finds nothing attached, and attaches anew; names stay valid.
 * registry.c has the theory.
 */
#ifndef RING_REGISTRY_H
#define RING_REGISTRY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ring/broadcast.h>
#include <ring/mpmc.h>
#include <ring/segment.h>
#include <ring/spsc.h>

RING_BEGIN_C

#define RING_REGISTRY_NAME_MAX 63  /* characters of a name */
#define RING_REGISTRY_THREADS  255 /* threads of a process that use it at a time */

enum ring_registry_end {
    RING_REGISTRY_SEGMENT,            /* struct ring_segment: to look at, and to open ends of one's own */
    RING_REGISTRY_MPMC_PRODUCER,      /* struct ring_mpmc_producer, each thread its own */
    RING_REGISTRY_MPMC_CONSUMER,      /* struct ring_mpmc_consumer, each thread its own */
    RING_REGISTRY_BROADCAST_CONSUMER, /* struct ring_broadcast_consumer, each thread its own: sees all from then on */
    RING_REGISTRY_BROADCAST_PRODUCER, /* struct ring_broadcast_producer, one for the process */
    RING_REGISTRY_SPSC_PRODUCER,      /* struct ring_spsc_producer, one for the process */
    RING_REGISTRY_SPSC_CONSUMER,      /* struct ring_spsc_consumer, one for the process */
    RING_REGISTRY_ENDS
};

struct ring_registry_options {
    size_t struct_size;
    enum ring_registry_end end;
    const char *segment; /* NULL: of the same name as the registration */
    const char *ring;    /* not read for RING_REGISTRY_SEGMENT */
    unsigned flags;      /* for ring_segment_attach(): enum ring_segment_flags */
};

RING_INLINE struct ring_registry_options ring_registry_defaults(enum ring_registry_end end, const char *segment,
                                                                const char *ring)
{
    struct ring_registry_options options;
    options.struct_size = sizeof options;
    options.end = end;
    options.segment = segment;
    options.ring = ring;
    options.flags = ring_segment_defaults().flags;
    return options;
}

/* ---- Coming and going: cold. 0 or -errno, with ring_error_detail(). ---- */

/* Attaches the segment, waiting up to timeout_ns for segment and ring to appear, and registers the end by that name.
 * Names of one segment share a mapping. -EEXIST: the name is taken; -EINVAL, -ENAMETOOLONG; and whatever
 * ring_segment_attach(), the ring's info and, for a role that it has once, the opening of that end return. */
RING_PUBLIC int ring_registry_attach(const char *name, const struct ring_registry_options *options, int64_t timeout_ns);

/* Nobody finds it any more; its ends are closed, and the segment unmapped, when all sections that did are over.
 * -ENOENT: not registered. */
RING_PUBLIC int ring_registry_detach(const char *name);
RING_PUBLIC int ring_registry_detach_all(void); /* and waits until all is closed */

/* Attaches anew what bears the segment's name now, if that is another segment: its peer came again. 1: done, who looks
 * up from now on finds the new one; 0: the same as before, or nothing there yet; else -errno, and the old one stays.
 * A stat() when nothing changed: about a microsecond. */
RING_PUBLIC int ring_registry_refresh(const char *name);
RING_PUBLIC int ring_registry_refresh_all(void); /* how many were replaced; call it now and then */

/* Waits until all that was detached or replaced before is closed and unmapped. */
RING_PUBLIC void ring_registry_settle(void);

/* ---- Looking up: hot, any thread. ---- */

/* A name, looked up once and for all: it may be attached, detached and attached again meanwhile, and need not be
 * attached yet. -EINVAL, -ENAMETOOLONG, -ENOMEM. */
struct ring_registry_name;
RING_PUBLIC int ring_registry_open(struct ring_registry_name **name, const char *text);
RING_PUBLIC int ring_registry_close(struct ring_registry_name **name);

/* Begins a section: *end is of the type that enum ring_registry_end says. 0, and ring_registry_leave(kind, *end) must
 * follow; or no section: -ENOENT: not attached; -EINVAL: attached as another kind of end; -EBUSY: another section has
 * the one end; -EUSERS: too many threads, or all seats of the ring are taken; when a thread comes first, also the other
 * errors of opening that end. The second form looks a name up by its text: some times as long. */
RING_INLINE int ring_registry_enter(struct ring_registry_name *name, enum ring_registry_end kind, void **end);
RING_PUBLIC int ring_registry_enter_by(const char *text, enum ring_registry_end kind, void **end);

/* Ends the section, of that kind; not to be used afterwards: `end`, and what was peeked or reserved there. */
RING_INLINE void ring_registry_leave(enum ring_registry_end kind, void *end);

/* A section for many look-ups, for who serves a burst: each is then a few loads, less than half the time. What was
 * found is good until the section ends; of all that is closed meanwhile nothing is unmapped before: end it before you
 * sleep. Sections of both sorts may be within each other. */
RING_INLINE void ring_registry_begin_section(void);
RING_INLINE void ring_registry_end_section(void);

/* In such a section: as enter, and nothing must follow. Not for the roles that a ring has once, which want enter and
 * leave, there as elsewhere: -EINVAL. */
RING_INLINE int ring_registry_find(struct ring_registry_name *name, enum ring_registry_end kind, void **end);
RING_PUBLIC int ring_registry_find_by(const char *text, enum ring_registry_end kind, void **end);

/* Section and message in one, to or from whatever kind of ring bears the name. Waits in sections of at most 10 ms, so
 * it holds nobody up, and a message that waits goes to the ring that bears the name then. When the peer closed or died
 * the name is refreshed first, and the message tried once more. Errors of the ring's own verb, and those of enter. */
RING_PUBLIC int ring_registry_send(struct ring_registry_name *name, const void *message, size_t length,
                                   int64_t timeout_ns);
RING_PUBLIC ssize_t ring_registry_recv(struct ring_registry_name *name, void *buffer, size_t size, int64_t timeout_ns);

/* ---- Looking at it. ---- */

struct ring_registry_info {
    size_t struct_size; /* set by the caller to sizeof this struct */
    uint64_t attached;  /* names attached now */
    uint64_t segments;  /* segments mapped for them, or for what is not closed yet */
    uint64_t waiting;   /* detached or replaced, and not closed yet */
    uint64_t replaced;  /* by refreshes so far */
    unsigned threads;   /* that have looked something up and live */
};

RING_PUBLIC int ring_registry_info(struct ring_registry_info *info);

RING_END_C

#include <ring/registry_hot.h> /* sections and look-ups */

#endif
