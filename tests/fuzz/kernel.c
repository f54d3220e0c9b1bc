/* kernel.c - in place of liveness.c and clock.c, and of what costs the fuzzers most of their time: locks that this
 * process and the hostile peer hold, a clock that goes on when it is looked at, barriers and sleeps.
 *
 * So an execution makes no system call, takes no time by waiting, and goes the same way each time. The peer may hold
 * any seat's lock, which the real one could as well, for it can open the segment. What liveness.c does is not tried
 * here: it reads nothing that a peer writes. tests/fuzz/run has the linker put the __wrap functions in.
 */
#include "fuzz.h"

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/liveness.h>
#include <ring/segment_private.h>

#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CLAIMS = 64, BYTES = 4, LOOK_NS = 5000, FOREIGN = 5 };

struct ring_claim {
    int64_t bytes[BYTES];
    bool shared[BYTES];
    unsigned count; /* 0: free */
    bool sealed;
};

static struct ring_claim claims[CLAIMS];
static unsigned kept;    /* in use between executions */
static uint64_t foreign; /* bit n % FOREIGN: the peer holds the n-th seat, or role, of each ring */
static int64_t now_ns;

static unsigned in_use(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CLAIMS; i++)
        count += claims[i].count != 0;
    return count;
}

void fuzz_kernel_keep(void)
{
    kept = in_use();
}

void fuzz_kernel_begin(void)
{
    FUZZ_DEMAND(in_use() == kept);
    fuzz_uring_begin();
    now_ns = INT64_C(10000000000);
    foreign = 0;
}

void fuzz_kernel_peer(uint64_t seats)
{
    foreign = seats;
}

/* ---- Locks ---- */

static bool is_of_peer(int64_t byte)
{
    int64_t first = byte >= RING_LOCK_SEATS ? RING_LOCK_SEATS : RING_LOCK_ROLES;
    if (byte < RING_LOCK_ROLES || (byte >= RING_LOCK_PRESENCE && byte < RING_LOCK_SEATS))
        return false;
    return foreign >> (byte - first) % RING_SEATS_MAX % FOREIGN & 1;
}

static enum ring_claim_hold hold_of(int64_t byte)
{
    enum ring_claim_hold hold = is_of_peer(byte) ? RING_CLAIM_ALONE : RING_CLAIM_FREE;
    for (unsigned i = 0; i < CLAIMS; i++)
        for (unsigned at = 0; at < claims[i].count; at++)
            if (claims[i].bytes[at] == byte)
                hold = claims[i].shared[at] ? RING_CLAIM_SHARED : RING_CLAIM_ALONE;
    return hold;
}

static int add(struct ring_claim *claim, int64_t byte, bool shared)
{
    enum ring_claim_hold hold = hold_of(byte);
    if (hold == RING_CLAIM_ALONE || (hold == RING_CLAIM_SHARED && !shared))
        return ring_error(-EBUSY, "it is held by a living process");
    FUZZ_DEMAND(claim->count < BYTES && !claim->sealed);
    claim->bytes[claim->count] = byte;
    claim->shared[claim->count++] = shared;
    return 0;
}

static int make(struct ring_claim **claim, int64_t byte, bool shared)
{
    unsigned at = 0;
    *claim = NULL;
    while (at < CLAIMS && claims[at].count)
        at++;
    FUZZ_DEMAND(at < CLAIMS);
    claims[at].sealed = false;
    int code = add(&claims[at], byte, shared);
    *claim = code ? NULL : &claims[at];
    return code;
}

static int refuse_read_only(const struct ring_witness *witness)
{
    return witness->read_only ? ring_error(-EACCES, "the segment is attached read-only") : 0;
}

int ring_claim_take(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    *claim = NULL;
    int code = refuse_read_only(witness);
    if (!code)
        code = make(claim, byte, false);
    if (!code)
        (*claim)->sealed = true;
    return code;
}

int ring_claim_share(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    return make(claim, byte, true);
}

int ring_claim_add(struct ring_claim *claim, const struct ring_witness *witness, int64_t byte)
{
    int code = refuse_read_only(witness);
    return code ? code : add(claim, byte, false);
}

void ring_claim_seal(struct ring_claim *claim)
{
    claim->sealed = true;
}

void ring_claim_drop(struct ring_claim *claim)
{
    if (claim)
        claim->count = 0;
}

int64_t ring_claim_first_held(struct ring_witness *witness, int64_t byte, int64_t count)
{
    int64_t first = byte + count;
    (void)witness;
    for (int64_t at = byte; at < byte + count && at < byte + FOREIGN; at++)
        if (is_of_peer(at) && at < first)
            first = at;
    for (unsigned i = 0; i < CLAIMS; i++)
        for (unsigned at = 0; at < claims[i].count; at++)
            if (claims[i].bytes[at] >= byte && claims[i].bytes[at] < first)
                first = claims[i].bytes[at];
    return first < byte + count ? first : -1;
}

bool ring_claim_is_held(struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    return hold_of(byte) != RING_CLAIM_FREE;
}

enum ring_claim_hold ring_claim_look(struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    return hold_of(byte);
}

int ring_witness_open(const struct ring_witness *witness)
{
    return dup(witness->fd);
}

void ring_witness_close(const struct ring_witness *witness)
{
    close(witness->fd);
}

/* ---- Time ---- */

int64_t ring_clock_monotonic(void)
{
    fuzz_step();
    return now_ns += LOOK_NS;
}

uint64_t ring_clock_realtime(void)
{
    return UINT64_C(1700000000000000000);
}

int64_t ring_clock_deadline(int64_t timeout_ns)
{
    return timeout_ns < 0 ? RING_CLOCK_NEVER : ring_clock_monotonic() + timeout_ns;
}

bool ring_clock_doze(int64_t deadline_ns, unsigned *attempt)
{
    if (ring_clock_monotonic() >= deadline_ns)
        return false;
    now_ns += INT64_C(50000) << (*attempt < 6 ? *attempt : 6);
    ++*attempt;
    return true;
}

bool ring_clock_nap(RING_ATOMIC(uint32_t) * word, uint32_t seen, int64_t nap_ns)
{
    fuzz_step();
    if (*(const volatile uint32_t *)word != seen)
        return false;
    now_ns += nap_ns;
    return true;
}

/* ---- System calls ---- */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static long sleep_or_wake(const uint32_t *word, int operation, uint32_t value, const struct timespec *limit)
{
    if (operation == FUTEX_WAKE) {
        fuzz_uring_call(word);
        return 0;
    }
    FUZZ_DEMAND(operation == FUTEX_WAIT && limit); /* nobody would wake it */
    fuzz_step();
    if (*word == value)
        now_ns += limit->tv_sec * INT64_C(1000000000) + limit->tv_nsec;
    errno = *word == value ? ETIMEDOUT : EAGAIN;
    return -1;
}

static int enter_queue(const long *given)
{
    const struct io_uring_getevents_arg *limit = (const void *)given[4];
    int code = fuzz_uring_enter((int)given[0], (unsigned)given[1], (unsigned)given[2]);
    fuzz_step();
    if (code == -ETIME) {
        const struct timespec *nap = (const void *)(uintptr_t)limit->ts;
        now_ns += nap->tv_sec * INT64_C(1000000000) + nap->tv_nsec;
        errno = ETIME;
        return -1;
    }
    return code;
}

__attribute__((no_sanitize("address"))) /* fewer may have been given than are taken */
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long given[6];
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        given[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_membarrier)
        return 0;
    if (number == SYS_futex)
        return sleep_or_wake((const uint32_t *)given[0], (int)given[1], (uint32_t)given[2],
                             (const struct timespec *)given[3]);
    if (number == SYS_io_uring_setup)
        return fuzz_uring_set_up((unsigned)given[0], (struct io_uring_params *)given[1]);
    if (number == SYS_io_uring_register)
        return fuzz_uring_register((int)given[0], (unsigned)given[1], (void *)given[2]);
    if (number == SYS_io_uring_enter)
        return enter_queue(given);
    return __real_syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

int __wrap_sched_getaffinity(pid_t process, size_t bytes, cpu_set_t *allowed);
long __real_sysconf(int name);
long __wrap_sysconf(int name);

/* One processor: spinning would be a thousand looks at the same, so waits go to sleep after some tens. */
int __wrap_sched_getaffinity(pid_t process, size_t bytes, cpu_set_t *allowed)
{
    (void)process;
    CPU_ZERO_S(bytes, allowed);
    CPU_SET_S(0, bytes, allowed);
    return 0;
}

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? 1 : __real_sysconf(name);
}

void __wrap_ring_segment_describe_self(char command[RING_LAYOUT_COMMAND], uint64_t *started);

void __wrap_ring_segment_describe_self(char command[RING_LAYOUT_COMMAND], uint64_t *started)
{
    memset(command, 0, RING_LAYOUT_COMMAND);
    memcpy(command, "fuzz", 4);
    *started = 1;
}

/* It is read from a long file of the kernel, which no peer writes. */
int __real_ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts);
int __wrap_ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts);

int __wrap_ring_memory_ask(const struct ring_memory *memory, struct ring_memory_facts *facts)
{
    if (!fuzz_segment)
        return __real_ring_memory_ask(memory, facts);
    *facts = (struct ring_memory_facts){ .page_bytes = 4096, .resident_bytes = memory->bytes };
    return 0;
}
