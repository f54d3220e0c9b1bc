/* kernel.c - in place of the kernel, of liveness.c and of clock.c: locks that are held by logical threads and dropped
 * at their death, membarrier, futex, a clock that goes on when it is looked at. Who sleeps wakes when
 * woken, and never by a time limit: a wake that is lost shows. */
#include "schedule.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/liveness.h>

enum { CLAIMS = 64, BYTES = 8, STEP_NS = 30000 };

struct ring_claim {
    int64_t bytes[BYTES];
    bool shared[BYTES];
    unsigned count; /* 0: free */
    unsigned holder;
};

static struct ring_claim claims[CLAIMS];
static int64_t now_ns;

void kernel_begin(void)
{
    memset(claims, 0, sizeof claims);
    now_ns = INT64_C(10000000000);
}

void kernel_forget(unsigned thread)
{
    for (int i = 0; i < CLAIMS; i++)
        if (claims[i].holder == thread)
            claims[i].count = 0;
}

/* May the byte be taken, by somebody who would share it or not? */
static bool is_free(int64_t byte, bool shared)
{
    for (int i = 0; i < CLAIMS; i++)
        for (unsigned at = 0; at < claims[i].count; at++)
            if (claims[i].bytes[at] == byte && !(shared && claims[i].shared[at]))
                return false;
    return true;
}

static void begin_claim(int64_t byte, bool shared)
{
    schedule_step(shared ? "shares lock" : "takes lock", (uint64_t)byte);
    schedule_settle();
}

static int add(struct ring_claim *claim, int64_t byte, bool shared)
{
    if (!is_free(byte, shared))
        return ring_error(-EBUSY, "it is held by a living thread");
    DEMAND(claim->count < BYTES);
    claim->bytes[claim->count] = byte;
    claim->shared[claim->count++] = shared;
    claim->holder = schedule_self();
    return 0;
}

static int make(struct ring_claim **claim, int64_t byte, bool shared)
{
    *claim = NULL;
    begin_claim(byte, shared);
    for (int i = 0; i < CLAIMS; i++)
        if (!claims[i].count) {
            int code = add(&claims[i], byte, shared);
            *claim = code ? NULL : &claims[i];
            return code;
        }
    schedule_fail("more than %d claims", CLAIMS);
}

void ring_witness_close(const struct ring_witness *witness)
{
    close(witness->fd);
}

int ring_claim_take(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    return make(claim, byte, false);
}

int ring_claim_share(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    return make(claim, byte, true);
}

int ring_claim_add(struct ring_claim *claim, const struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    begin_claim(byte, false);
    return add(claim, byte, false);
}

void ring_claim_seal(struct ring_claim *claim)
{
    (void)claim;
}

void ring_claim_drop(struct ring_claim *claim)
{
    if (!claim)
        return;
    schedule_step("drops lock", (uint64_t)claim->bytes[0]);
    schedule_settle();
    claim->count = 0;
}

int64_t ring_claim_first_held(struct ring_witness *witness, int64_t byte, int64_t count)
{
    int64_t first = -1;
    (void)witness;
    schedule_step("asks for lock", (uint64_t)byte);
    if (sabotage && schedule_self() != LOGICAL_THREADS && sabotage->kind == ALL_DEAD)
        return -1;
    if (sabotage && sabotage->kind == ALL_ALIVE)
        return byte;
    for (int i = 0; i < CLAIMS; i++)
        for (unsigned at = 0; at < claims[i].count; at++)
            if (claims[i].bytes[at] >= byte && claims[i].bytes[at] < byte + count &&
                (first < 0 || claims[i].bytes[at] < first))
                first = claims[i].bytes[at];
    return first;
}

int ring_witness_open(const struct ring_witness *witness)
{
    (void)witness;
    return -ENOENT; /* it has no descriptors, so nobody asks */
}

bool ring_claim_is_held(struct ring_witness *witness, int64_t byte)
{
    return ring_claim_first_held(witness, byte, 1) >= 0;
}

enum ring_claim_hold ring_claim_look(struct ring_witness *witness, int64_t byte)
{
    if (ring_claim_first_held(witness, byte, 1) < 0)
        return RING_CLAIM_FREE;
    return is_free(byte, true) ? RING_CLAIM_SHARED : RING_CLAIM_ALONE;
}

int64_t ring_clock_monotonic(void)
{
    return now_ns += STEP_NS;
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
    ++*attempt;
    schedule_yield();
    return ring_clock_monotonic() < deadline_ns;
}

/* It is bounded for the sake of wakes that are missed. */
bool ring_clock_nap(RING_ATOMIC(uint32_t) * word, uint32_t seen, int64_t nap_ns)
{
    (void)word, (void)seen, (void)nap_ns;
    schedule_yield();
    return true;
}

long interleave_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    if (number == SYS_membarrier) {
        int command = va_arg(arguments, int);
        va_end(arguments);
        if (command != MEMBARRIER_CMD_GLOBAL_EXPEDITED && command != MEMBARRIER_CMD_PRIVATE_EXPEDITED)
            return 0; /* to register: once in a process, so it is no step */
        schedule_step("membarrier", 0);
        if (!sabotage || sabotage->kind != NO_BARRIER)
            schedule_settle_all();
        return 0;
    }
    if (number == SYS_futex) {
        const uint32_t *word = (const uint32_t *)va_arg(arguments, uintptr_t);
        int operation = va_arg(arguments, int);
        uint32_t expected = (uint32_t)va_arg(arguments, int);
        va_end(arguments);
        schedule_step(operation == FUTEX_WAIT ? "sleeps" : "wakes", expected);
        if (operation == FUTEX_WAIT && *word == expected && schedule_self() != LOGICAL_THREADS)
            schedule_sleep(word);
        return operation == FUTEX_WAIT ? 0 : schedule_wake(word, (int)expected);
    }
    va_end(arguments);
    errno = ENOSYS;
    return -1;
}
