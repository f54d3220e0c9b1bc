/* fuzz.h - what the fuzz targets share: a ring, and a script of bytes that says what is called and what a hostile peer
 * writes into the ring, between calls and within them.
 *
 * One process, one thread, and a kernel that is simulated (kernel.c): so every finding can be repeated from its input,
 * and an execution costs some 50 us, hardly a system call among them: the segment is made once, its bytes are put back
 * before each. The ring lies at the end of its segment, with a guard page behind it; what lies before it is poisoned
 * for AddressSanitizer while calls run. FUZZ_ROLE says whose calls are under attack: the hook works during those only.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <ring/ring.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define FUZZ_PRODUCER  1
#define FUZZ_CONSUMER  2
#define FUZZ_OBSERVER  4 /* through a mapping that may only be read */
#define FUZZ_RECOVERER 8
#ifndef FUZZ_ROLE
#define FUZZ_ROLE 3 /* both */
#endif

#define FUZZ_DEMAND(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

extern const unsigned fuzz_role; /* of this target: FUZZ_ROLE */
extern struct ring_segment *fuzz_segment;
extern unsigned char *fuzz_ring; /* its control page */
extern size_t fuzz_ring_bytes;

/* Once: a nameless segment with room for one ring of that footprint, made by `make`. */
void fuzz_set_up(size_t footprint, int (*make)(struct ring_segment *segment));

/* The same with several entries in the directory, which is under attack as well: fuzz_ring is where it begins. */
void fuzz_set_up_all(unsigned entries, size_t footprint, int (*make)(struct ring_segment *segment));

/* For `make`: the same segment, attached for reading only. What is loaded there is under attack as well. */
struct ring_segment *fuzz_attach_read_only(void);

/* The ring as it was made, and a new script. */
void fuzz_begin(const uint8_t *script, size_t size);

/* From the script; 0 when it is used up. */
uint64_t fuzz_byte(void);
uint64_t fuzz_below(uint64_t bound);
bool fuzz_more(void);

/* The peer writes something somewhere into the ring. */
void fuzz_scribble(void);

/* The peer takes some seats' locks, or gives them back. */
void fuzz_peer(void);

/* It has done neither so far, nor was it soiled: so what calls do must be exactly right. */
bool fuzz_clean(void);
void fuzz_soil(void);

/* Around the calls under attack: 0 outside. */
void fuzz_attack(unsigned role);

/* Counts a load, or a look at the clock: a call that does not end is a finding. */
void fuzz_step(void);

/* Around calls that read the directory: openings and info. */
void fuzz_directory(bool needed);

/* Reads every byte, so that the sanitizers see it. */
void fuzz_read(const void *bytes, size_t length);

/* A message lies within the ring, aligned. */
void fuzz_within(const void *data, size_t length, size_t most);

/* A call said something that its header tells of; `poisoned` keeps that it said -EUCLEAN once. */
void fuzz_judge(int64_t said, bool *poisoned);

/* The same for other calls: `known` ends with 0. */
void fuzz_tells(int64_t said, const int *known);

int64_t fuzz_limit(void);

/* ---- kernel.c ---- */

void fuzz_kernel_keep(void);           /* what is held now is held between executions too */
void fuzz_kernel_begin(void);          /* and nothing else is */
void fuzz_kernel_peer(uint64_t seats); /* the peer holds the locks of these, as bits */

/* ---- uring.c ---- */

struct io_uring_params;

void fuzz_uring_begin(void); /* no queue is left of the execution before */
int fuzz_uring_set_up(unsigned entries, struct io_uring_params *params);
int fuzz_uring_register(int fd, unsigned what, void *argument);
int fuzz_uring_enter(int fd, unsigned count, unsigned wanted);
void fuzz_uring_call(const void *word); /* FUTEX_WAKE */
void fuzz_depart(void);                 /* somebody leaves the segment */

#endif
