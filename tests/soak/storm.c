/* storm.c - the supervisor's hands and eyes: starts the processes, kills, stops and replaces them, and watches that the
 * ring never stands still.
 *
 * Standstill: no message is taken for a while though nobody is stopped and at least one producer and one consumer are
 * at work (open, not napping). It is measured by the supervisor's own looks, each fraction of a millisecond. On a
 * crowded machine it waits for a processor itself, and so do the others; so of the time between two looks no more than
 * LOOK_COUNTS counts, and the whole is told beside it.
 */
#include "storm.h"

#include <sys/prctl.h>
#include <sys/wait.h>

volatile sig_atomic_t soak_interrupted;

static struct soak_actor *actor_of(struct storm *storm, const struct held *held)
{
    return &soak_ledger->actors[held - storm->held];
}

/* ---- Processes ---- */

static void be(struct storm *storm, struct soak_actor *self, enum soak_role role, uint64_t life, uint64_t seed)
{
    struct soak_random random = { seed };
    enum soak_kind kind = storm->plan->kind;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the supervisor sees to it */
    if (role == SOAK_PRODUCER)
        (kind == SOAK_BROADCAST ? soak_tell_news : soak_produce)(self, life, &random);
    else if (role == SOAK_CONSUMER)
        (kind == SOAK_BROADCAST ? soak_hear_news : soak_consume)(self, &random);
    else
        (kind == SOAK_BROADCAST ? soak_observe_news : soak_help)(self, &random);
    _exit(0);
}

bool soak_start(struct storm *storm, struct held *held)
{
    struct soak_actor *actor = actor_of(storm, held);
    uint64_t life = 0;
    if (held->role == SOAK_PRODUCER) {
        if (storm->lives == SOAK_LIVES)
            return false;
        life = storm->next_life++;
        storm->lives++;
    }
    ring_atomic_store(&actor->leave, 0, memory_order_relaxed);
    ring_atomic_store(&actor->in_hand, 0, memory_order_relaxed);
    ring_atomic_store(&actor->state, SOAK_OPENING, memory_order_release);
    uint64_t seed = soak_random(&storm->random);
    held->opening_since = soak_now();
    held->killed = false;
    held->resume_at = 0;
    held->pid = fork();
    if (held->pid == 0)
        be(storm, actor, held->role, life, seed);
    if (held->pid < 0) {
        held->pid = 0;
        return false;
    }
    return true;
}

bool soak_say(const char *text)
{
    if (ring_atomic_exchange(&soak_ledger->failed, 1, memory_order_acq_rel) == 0)
        snprintf(soak_ledger->said, sizeof soak_ledger->said, "%s", text);
    return false;
}

/* Somebody has ended: as it should? */
static bool ended(struct storm *storm, struct held *held, int status)
{
    struct soak_actor *actor = actor_of(storm, held);
    char text[128];
    held->pid = 0;
    held->resume_at = 0;
    held->start_at = soak_now() + (int64_t)soak_below(&storm->random, 2 * MILLISECOND);
    ring_atomic_store(&actor->state, SOAK_GONE, memory_order_relaxed);
    if (held->killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        storm->allowed += ring_atomic_load(&actor->in_hand, memory_order_acquire);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        storm->sums->left++;
    else if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "a %s died of signal %d",
                 held->role == SOAK_PRODUCER   ? "producer"
                 : held->role == SOAK_CONSUMER ? "consumer"
                                               : "helper",
                 WTERMSIG(status));
        return soak_say(text);
    } else
        return soak_say("a process ended with an error");
    return true;
}

bool soak_reap(struct storm *storm)
{
    int status;
    for (unsigned i = 0; i < storm->actors; i++) {
        struct held *held = &storm->held[i];
        if (held->pid && waitpid(held->pid, &status, WNOHANG) == held->pid && !ended(storm, held, status))
            return false;
    }
    return !ring_atomic_load(&soak_ledger->failed, memory_order_acquire);
}

void soak_end_all(struct storm *storm)
{
    for (unsigned i = 0; i < storm->actors; i++)
        if (storm->held[i].pid) {
            kill(storm->held[i].pid, SIGKILL);
            waitpid(storm->held[i].pid, NULL, 0);
            storm->held[i].pid = 0;
        }
}

static void murder(struct storm *storm, struct held *held)
{
    if (!held->pid || held->killed)
        return;
    kill(held->pid, SIGKILL);
    held->killed = true;
    storm->sums->killed++;
}

/* ---- Disturbances ---- */

void soak_disturb(struct storm *storm, int64_t now)
{
    struct held *held = &storm->held[soak_below(&storm->random, storm->actors)];
    struct soak_actor *actor = actor_of(storm, held);
    uint64_t what = soak_below(&storm->random, 100);
    storm->disturb_at = now + MILLISECOND + (int64_t)soak_below(&storm->random, 4 * MILLISECOND);
    if (!held->pid)
        return;
    if (what < 70) {
        murder(storm, held);
    } else if (what < 74) { /* all at once */
        for (unsigned i = 0; i < storm->actors; i++)
            murder(storm, &storm->held[i]);
    } else if (what < 78) { /* a whole side */
        for (unsigned i = 0; i < storm->actors; i++)
            if (storm->held[i].role == held->role)
                murder(storm, &storm->held[i]);
    } else if (what < 90) {
        if (held->resume_at || held->killed)
            return;
        kill(held->pid, SIGSTOP);
        held->resume_at = now + MILLISECOND + (int64_t)soak_below(&storm->random, 10 * MILLISECOND);
        storm->sums->stopped++;
    } else {
        ring_atomic_store(&actor->leave, 1, memory_order_relaxed);
    }
}

void soak_resume(struct storm *storm, int64_t now)
{
    for (unsigned i = 0; i < storm->actors; i++) {
        struct held *held = &storm->held[i];
        if (held->pid && held->resume_at && (now >= held->resume_at || !storm->storming)) {
            kill(held->pid, SIGCONT);
            held->resume_at = 0;
            held->opening_since = now;
            storm->still_since = now;
            storm->still_for = 0;
        }
    }
}

/* ---- Watching ---- */

bool soak_watch(struct storm *storm, int64_t now)
{
    uint64_t progress = 0;
    unsigned working[3] = { 0, 0, 0 };
    bool stopped = false;
    struct soak_sums *sums = storm->sums;
    int64_t gap = now - storm->last_look;
    storm->last_look = now;
    storm->still_for += gap < LOOK_COUNTS ? gap : LOOK_COUNTS;
    if (gap > sums->longest_gap)
        sums->longest_gap = gap;
    for (unsigned i = 0; i < storm->actors; i++)
        stopped |= storm->held[i].pid && storm->held[i].resume_at;
    for (unsigned i = 0; i < storm->actors; i++) {
        struct held *held = &storm->held[i];
        struct soak_actor *actor = actor_of(storm, held);
        uint32_t state = ring_atomic_load(&actor->state, memory_order_acquire);
        if (held->role == SOAK_CONSUMER)
            progress += ring_atomic_load(&actor->progress, memory_order_relaxed);
        if (held->pid && state == SOAK_AT_WORK && !held->killed)
            working[held->role]++;
        if (stopped)
            held->opening_since = now;
        if (held->pid && state == SOAK_OPENING && !held->killed && now - held->opening_since > sums->longest_open)
            sums->longest_open = now - held->opening_since;
    }
    if (progress != storm->progress || stopped || !working[SOAK_PRODUCER] || !working[SOAK_CONSUMER]) {
        storm->progress = progress;
        storm->still_since = now;
        storm->still_for = 0;
    }
    if (now - storm->still_since > sums->longest_stall_by_clock)
        sums->longest_stall_by_clock = now - storm->still_since;
    if (storm->still_for > sums->longest_stall)
        sums->longest_stall = storm->still_for;
    if (sums->longest_stall > STALL_LIMIT)
        return soak_say("stuck: for 2 s no message was taken, though nobody is stopped");
    return sums->longest_open > STALL_LIMIT ? soak_say("stuck: opening took 2 s, though nobody is stopped") : true;
}
