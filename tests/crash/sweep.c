/* sweep.c - one case: step through, keep the states, recover from each, kill, stop (see crash.h). */
#include "crash.h"

#include <unistd.h>

enum {
    KILLS_USUAL = 16,  /* real kills of a case, unless --every says otherwise */
    KILLS_FIRST = 200, /* of the first case of a row */
    PAUSES = 10,
    FURTHER_FEW = 1000,
    LONG_CALL = 10000, /* instructions */
};

struct states {
    struct state **list;
    unsigned count, room;
};

static const struct topology *topology(void)
{
    return stage.row->topology;
}

/* ---- States ---- */

static struct state *state_take(uint64_t step, pid_t pid)
{
    struct state *state = calloc(1, sizeof *state);
    WANT(state);
    state->step = step;
    state->pid = pid;
    memcpy(state->accounts, stage.accounts, sizeof state->accounts);
    if (topology()->look) {
        state->look = topology()->look();
        return state;
    }
    state->bytes = malloc(topology()->bytes);
    WANT(state->bytes);
    memcpy(state->bytes, stage.bytes, topology()->bytes);
    return state;
}

static void states_add(struct states *states, uint64_t step, pid_t pid)
{
    if (states->count == states->room) {
        states->room = states->room ? states->room * 2 : 64;
        states->list = realloc(states->list, states->room * sizeof *states->list);
        WANT(states->list);
    }
    states->list[states->count++] = state_take(step, pid);
}

static void states_free(struct states *states)
{
    for (unsigned i = 0; i < states->count; i++) {
        free(states->list[i]->bytes);
        free(states->list[i]);
    }
    free(states->list);
    *states = (struct states){ 0 };
}

static bool same_as(const struct state *state)
{
    if (memcmp(state->accounts, stage.accounts, sizeof state->accounts) != 0)
        return false;
    if (topology()->look)
        return state->look == topology()->look();
    return memcmp(state->bytes, stage.bytes, topology()->bytes) == 0;
}

void state_restore(const struct state *state)
{
    memcpy(stage.accounts, state->accounts, sizeof state->accounts);
    if (topology()->reset)
        topology()->reset();
    else
        memcpy(stage.bytes, state->bytes, topology()->bytes);
    if (topology()->keep)
        topology()->keep(true);
}

/* ---- Recovery ---- */

void state_recover(unsigned way, uint64_t further)
{
    uint64_t began = crash_now();
    stage.further = further;
    topology()->recover(way);
    uint64_t took = crash_now() - began;
    if (took > outcome->slowest_ns)
        outcome->slowest_ns = took;
}

static void recover_from_states(const struct states *states)
{
    if (topology()->look)
        return; /* what outlives is not bytes: real kills only */
    for (unsigned i = 0; i < states->count; i++)
        for (unsigned way = 0; way < topology()->ways; way++) {
            state_restore(states->list[i]);
            state_recover(way, way == 0 ? FURTHER : FURTHER_FEW);
            outcome->recoveries++;
        }
}

/* ---- One victim, step by step ---- */

static void step_through(const struct state *base, void (*prepare)(void), void (*act)(void), unsigned which,
                         struct states *states, struct path *path)
{
    struct victim victim;
    state_restore(base);
    victim_start(&victim, which, prepare, act);
    states_add(states, 0, victim.pid);
    path_add(path, victim_place(&victim));
    for (uint64_t step = 1; victim_step(&victim); step++) {
        outcome->steps++;
        path_add(path, victim_place(&victim));
        if (!same_as(states->list[states->count - 1]))
            states_add(states, step, victim.pid);
    }
    path_close(path);
    victim_kill(&victim);
}

static void check_code(void)
{
    if (stage.accounts[0].code != stage.row->code)
        crash_fail("the call came to its end and returned %lld, not %d", (long long)stage.accounts[0].code,
                   stage.row->code);
}

/* ---- Real kills ---- */

/* May these eight bytes differ between two victims? Process ids, start times and clocks may. */
static bool may_differ(uint64_t ours, uint64_t theirs, pid_t our_pid, pid_t their_pid)
{
    uint32_t a[2], b[2];
    memcpy(a, &ours, sizeof a);
    memcpy(b, &theirs, sizeof b);
    bool halves = true;
    for (int i = 0; i < 2; i++)
        halves = halves && (a[i] == b[i] || (a[i] == (uint32_t)our_pid && b[i] == (uint32_t)their_pid));
    uint64_t apart = ours > theirs ? ours - theirs : theirs - ours;
    bool ticks = ours > 1000 && theirs > 1000 && apart < 100 * 600; /* start times in 1/100 s */
    bool clocks = ours > UINT64_C(1700000000000000000) && apart < UINT64_C(600000000000);
    return halves || ticks || clocks;
}

static bool same_bytes(const struct state *state, pid_t pid)
{
    if (memcmp(state->accounts, stage.accounts, sizeof state->accounts) != 0)
        return false;
    for (size_t at = 0; at < topology()->bytes; at += 8) {
        uint64_t ours, theirs;
        memcpy(&ours, stage.bytes + at, 8);
        memcpy(&theirs, state->bytes + at, 8);
        if (ours != theirs && !may_differ(ours, theirs, pid, state->pid))
            return false;
    }
    return true;
}

/* The proof that states are faithful: what a real death leaves is a state that was kept, and the one kept for that
 * step, give or take one: a clock that is read takes now more and now fewer steps. */
static void compare(const struct states *states, pid_t pid, uint64_t step)
{
    unsigned i = 0;
    while (i + 1 < states->count && states->list[i + 1]->step <= step)
        i++;
    for (unsigned at = i ? i - 1 : 0; at <= i + 1 && at < states->count; at++)
        if (topology()->look ? topology()->look() == states->list[at]->look : same_bytes(states->list[at], pid))
            return;
    crash_fail("killed at step %llu: what it leaves is not the state kept for that step", (unsigned long long)step);
}

static void kill_at(const struct state *base, const struct states *states, const struct path *path, uint64_t step)
{
    struct victim victim;
    state_restore(base);
    victim_start(&victim, 0, stage.row->prepare, stage.row->act);
    bool reached = victim_reach(&victim, path, step);
    victim_kill(&victim);
    if (reached)
        compare(states, victim.pid, step);
    state_recover((unsigned)(step % topology()->ways), FURTHER_FEW);
    outcome->kills++;
}

/* Every how many steps a victim is really killed. */
static uint64_t stride_of_kills(uint64_t steps, uint64_t most)
{
    uint64_t stride = every_option ? every_option : (steps + most - 1) / most;
    return stride ? stride : 1;
}

static void kill_really(const struct state *base, const struct states *states, const struct path *path, uint64_t most)
{
    uint64_t stride = stride_of_kills(path->count, most);
    for (uint64_t step = 0; step < path->count; step += stride)
        kill_at(base, states, path, path_near(path, step));
    if (!topology()->look)
        return;
    for (unsigned i = 1; i < states->count; i++) /* around each change */
        for (uint64_t step = states->list[i]->step - 1; step <= states->list[i]->step; step++)
            kill_at(base, states, path, step);
}

/* Victims that wait, and die at some moment of that: spinning, about to sleep, asleep. */
static void kill_waiting(const struct state *base)
{
    enum { MOMENTS = 30, APART_NS = 20000 };
    for (int i = 0; i < MOMENTS; i++) {
        struct victim victim;
        state_restore(base);
        victim_start(&victim, 0, stage.row->prepare, stage.row->act);
        victim_let_go(&victim, (uint64_t)i * i * APART_NS / 4);
        victim_kill(&victim);
        state_recover((unsigned)i % topology()->ways, FURTHER_FEW);
        outcome->kills++;
    }
}

/* ---- Living victims that stand still ---- */

static void pause_at(const struct state *base, const struct path *path, uint64_t step, bool go_on)
{
    struct victim victim;
    state_restore(base);
    victim_start(&victim, 0, stage.row->prepare, stage.row->act);
    if (victim_reach(&victim, path, step)) {
        topology()->paused();
        if (go_on)
            victim_finish(&victim);
    }
    victim_kill(&victim);
    state_recover((unsigned)(step % topology()->ways), FURTHER_FEW);
    outcome->pauses++;
}

static void pause_everywhere(const struct state *base, const struct states *states, const struct path *path)
{
    unsigned stride = states->count / PAUSES + 1;
    for (unsigned i = 0; topology()->paused && i < states->count; i += stride)
        for (int go_on = 0; go_on < 2; go_on++)
            pause_at(base, path, states->list[i]->step, go_on);
}

/* Another victim's whole call while this one stands; then this one goes on, or dies there. */
static void meet_at(const struct state *base, const struct path *path, uint64_t step, bool go_on)
{
    struct victim victim, rival;
    state_restore(base);
    victim_start(&rival, 1, stage.row->rival_prepare, stage.row->rival);
    victim_start(&victim, 0, stage.row->prepare, stage.row->act);
    victim_reach(&victim, path, step);
    if (go_on) {
        victim_finish(&rival);
        victim_finish(&victim);
    }
    victim_kill(&victim);
    victim_finish(&rival);
    victim_kill(&rival);
    state_recover((unsigned)(step % topology()->ways), FURTHER_FEW);
    outcome->pauses++;
}

static void meet_everywhere(const struct state *base, const struct states *states, const struct path *path)
{
    for (unsigned i = 0; stage.row->rival && i < states->count; i++)
        for (int go_on = 0; go_on < 2; go_on++)
            meet_at(base, path, states->list[i]->step, go_on);
}

/* ---- The case ---- */

static void sweep_from(const struct state *base, uint64_t kills)
{
    struct states states = { 0 };
    struct path path = { 0 };
    if (stage.row->flags & TIMED) {
        kill_waiting(base);
        return;
    }
    step_through(base, stage.row->prepare, stage.row->act, 0, &states, &path);
    check_code();
    outcome->states += states.count;
    recover_from_states(&states);
    kill_really(base, &states, &path, kills);
    pause_everywhere(base, &states, &path);
    meet_everywhere(base, &states, &path);
    states_free(&states);
    path_free(&path);
}

void sweep_bases(void (*visit)(const struct state *base))
{
    stage.victims = 1 + (stage.row->first != NULL) + (stage.row->rival != NULL);
    topology()->build();
    if (topology()->keep)
        topology()->keep(false);
    struct states base = { 0 }, states = { 0 };
    struct path path = { 0 };
    states_add(&base, 0, getpid());
    if (stage.row->first)
        step_through(base.list[0], stage.row->first_prepare, stage.row->first, 2, &states, &path);
    else
        visit(base.list[0]);
    /* Long calls, and two menders at once: some of the states are enough. */
    unsigned stride = stage.row->flags & IN_FLUX ? 4
                      : stage.row->rival         ? states.count / 8 + 1
                      : path.count > LONG_CALL   ? 2
                                                 : 1;
    for (unsigned i = 0; i < states.count; i += stride)
        visit(states.list[i]);
    states_free(&states);
    states_free(&base);
    path_free(&path);
}

static void sweep_base(const struct state *base)
{
    bool first_size = stage.size == 8 || !(stage.row->sizes & 1);
    uint64_t kills = stage.row->first ? KILLS_USUAL / 2 : KILLS_USUAL;
    if (!stage.row->first && first_size && stage.filling == HALF)
        kills = KILLS_FIRST;
    sweep_from(base, kills);
}

void sweep(void)
{
    sweep_bases(sweep_base);
    outcome->done = 1;
}
