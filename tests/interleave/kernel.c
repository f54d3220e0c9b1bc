/* kernel.c - in place of the kernel, of liveness.c and of clock.c: locks that are held by logical threads and dropped
 * at their death, membarrier, a clock that counts steps. A scenario never sleeps, so futex has nothing to do. */
#include "schedule.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include <ring/clock.h>
#include <ring/error.h>
#include <ring/liveness.h>

enum { CLAIMS = 64, STEP_NS = 1000 };

struct ring_claim {
    int64_t byte;
    unsigned holder;
    bool held;
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
        if (claims[i].held && claims[i].holder == thread)
            claims[i].held = false;
}

static struct ring_claim *find(int64_t byte)
{
    for (int i = 0; i < CLAIMS; i++)
        if (claims[i].held && claims[i].byte == byte)
            return &claims[i];
    return NULL;
}

int ring_claim_take(struct ring_claim **claim, struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    *claim = NULL;
    schedule_step("takes lock", (uint64_t)byte);
    schedule_settle();
    if (find(byte))
        return ring_error(-EBUSY, "it is held by a living thread");
    for (int i = 0; i < CLAIMS; i++)
        if (!claims[i].held) {
            claims[i] = (struct ring_claim){ byte, schedule_self(), true };
            *claim = &claims[i];
            return 0;
        }
    schedule_fail("more than %d claims", CLAIMS);
}

void ring_claim_drop(struct ring_claim *claim)
{
    if (!claim)
        return;
    schedule_step("drops lock", (uint64_t)claim->byte);
    schedule_settle();
    claim->held = false;
}

bool ring_claim_is_held(struct ring_witness *witness, int64_t byte)
{
    (void)witness;
    schedule_step("asks for lock", (uint64_t)byte);
    if (sabotage && schedule_self() != LOGICAL_THREADS && sabotage->kind == ALL_DEAD)
        return false;
    if (sabotage && sabotage->kind == ALL_ALIVE)
        return true;
    return find(byte) != NULL;
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

long interleave_syscall(long number, ...)
{
    if (number == SYS_membarrier) {
        schedule_step("membarrier", 0);
        if (!sabotage || sabotage->kind != NO_BARRIER)
            schedule_settle_all();
        return 0;
    }
    if (number == SYS_futex) {
        schedule_step("futex", 0);
        return 0;
    }
    errno = ENOSYS;
    return -1;
}
