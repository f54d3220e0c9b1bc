/* liveness.h - level 3, private: proof of life and death of whoever holds a byte of a shared object.
 *
 * A claim is a write lock on one byte, far behind the object's data, held by an open file description that belongs to
 * this claim alone. The description is kept alive by a mapping (MADV_DONTFORK), not by a descriptor: so the claim
 * outlives closefrom(), is not inherited by fork, ends at exec and at death, and the kernel itself is the witness: no
 * clock, no pid, no daemon. It works across PID namespaces and users. The mapping belongs to the address space, which
 * goes when the last thread of the process is gone: a lock found free proves that no code of the holder runs any more.
 *
 * A probe costs 0.2 to 0.4 us; any doubt means alive.
 */
#ifndef RING_LIVENESS_H
#define RING_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ring/platform.h>

struct ring_claim;

/* An object's identity, so that a descriptor that a program closed or gave another meaning is never trusted. */
struct ring_witness {
    int fd;
    uint64_t device;
    uint64_t inode;
    bool read_only; /* it may be probed, but no claim taken: who may not write has nothing to claim */
    size_t page;    /* what its mappings are a multiple of */
    char path[288]; /* where to find the object again, "" when it has no name */
};

/* A new open file description of the object, for reading only, or -errno. */
RING_PRIVATE int ring_witness_open(const struct ring_witness *witness);

/* Closes the witness's descriptor, unless the program did, and its number means something else by now. */
RING_PRIVATE void ring_witness_close(const struct ring_witness *witness);

/* Takes the byte. -EBUSY: a living process (or another handle of this one) has it. -EACCES: attached read-only. */
RING_PRIVATE int ring_claim_take(struct ring_claim **claim, struct ring_witness *witness, int64_t byte);

/* Takes a byte together with others that share it: as many claims as like, while nobody has taken it alone. Works
 * attached read-only too. The claim may be given more bytes until it is sealed. -EBUSY: somebody has it alone. */
RING_PRIVATE int ring_claim_share(struct ring_claim **claim, struct ring_witness *witness, int64_t byte);

/* Takes one more byte, alone, into a claim that was shared and not sealed. Errors as of ring_claim_take; the claim
 * stays as it was. */
RING_PRIVATE int ring_claim_add(struct ring_claim *claim, const struct ring_witness *witness, int64_t byte);

/* Nothing more will be added: closes the claim's descriptor. */
RING_PRIVATE void ring_claim_seal(struct ring_claim *claim);

/* Gives it back, with all its bytes; NULL is allowed. */
RING_PRIVATE void ring_claim_drop(struct ring_claim *claim);

/* Is the byte held by a living process? True also in doubt. */
RING_PRIVATE bool ring_claim_is_held(struct ring_witness *witness, int64_t byte);

/* The first byte of `count` from `byte` on that is held by a living process, or -1. In doubt the first one. */
RING_PRIVATE int64_t ring_claim_first_held(struct ring_witness *witness, int64_t byte, int64_t count);

/* How the byte is held; ALONE also in doubt. */
enum ring_claim_hold { RING_CLAIM_FREE, RING_CLAIM_SHARED, RING_CLAIM_ALONE };
RING_PRIVATE enum ring_claim_hold ring_claim_look(struct ring_witness *witness, int64_t byte);

#endif
