/* schedule.c - whose turn it is, sleep and death; see schedule.h. */
#include "schedule.h"

#include "stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <ucontext.h>

#undef memcpy

enum {
    STACK = 256 << 10,
    CHANGES = 6, /* of priorities in a run */
};

struct logical {
    const char *name;
    enum logical_state state;
    logical_body body;
    void *argument;
    bool (*until)(void *argument);
    const void *asleep; /* on this word; NULL: awake */
    uint64_t steps, dies_at;
    int64_t priority;
    ucontext_t context;
    unsigned char *stack;
    struct stores stores;
};

static struct logical threads[LOGICAL_THREADS];
static unsigned thread_count, current;
static bool running;
static ucontext_t outside;
static jmp_buf fail_outside;
static bool failed;
static char failure[400];
static uint64_t steps, generator;
static uint64_t switch_rate, drain_rate; /* once in so many steps; drain_rate 0: stores reach memory at once */
static bool by_priority;
static uint64_t changes[CHANGES];
static int64_t lowest;

const struct sabotage *sabotage;
bool schedule_trace;

/* ---- Chance: splitmix64 ---- */

uint64_t chance(void)
{
    uint64_t value = generator += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

uint64_t chance_below(uint64_t bound)
{
    return chance() % bound;
}

/* ---- Failing ---- */

void schedule_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!failed) {
        int length = running ? snprintf(failure, sizeof failure, "%s, step %llu: ", threads[current].name,
                                        (unsigned long long)steps)
                             : 0;
        vsnprintf(failure + length, sizeof failure - (size_t)length, format, arguments);
    }
    va_end(arguments);
    failed = true;
    if (running) {
        running = false;
        setcontext(&outside);
    }
    longjmp(fail_outside, 1);
}

const char *schedule_failure(void)
{
    return failure;
}

uint64_t schedule_steps(void)
{
    return steps;
}

const char *schedule_name(void)
{
    return threads[current].name;
}

/* ---- Stores that wait ---- */

void schedule_settle(void)
{
    if (running)
        stores_settle(&threads[current].stores);
}

void schedule_settle_all(void)
{
    for (unsigned i = 0; running && i < thread_count; i++)
        stores_settle(&threads[i].stores);
}

/* One of each thread's may reach memory, once in so many times. */
static void settle_some(uint64_t rate)
{
    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].stores.waiting && chance_below(rate) == 0)
            stores_settle_one(&threads[i].stores);
}

struct stores *schedule_stores(void)
{
    return running ? &threads[current].stores : NULL;
}

bool schedule_delays(void)
{
    return drain_rate != 0;
}

/* ---- Choosing ---- */

static bool can_go(const struct logical *thread)
{
    return thread->state == LOGICAL_READY && !thread->asleep && (!thread->until || thread->until(thread->argument));
}

static void switch_to(unsigned next)
{
    unsigned from = current;
    current = next;
    if (next != from)
        swapcontext(&threads[from].context, &threads[next].context);
}

/* Somebody who can go, other than `current` if there is one; LOGICAL_THREADS: nobody can. */
static unsigned choose_other(void)
{
    unsigned able[LOGICAL_THREADS], count = 0;
    for (unsigned i = 0; i < thread_count; i++)
        if (i != current && can_go(&threads[i]))
            able[count++] = i;
    if (count == 0)
        return can_go(&threads[current]) ? current : LOGICAL_THREADS;
    return able[chance_below(count)];
}

static unsigned choose_first(void)
{
    unsigned best = LOGICAL_THREADS;
    for (unsigned i = 0; i < thread_count; i++)
        if (can_go(&threads[i]) && (best == LOGICAL_THREADS || threads[i].priority > threads[best].priority))
            best = i;
    return best;
}

/* The present one goes no further: it ended, died, or waits. */
static void go_elsewhere(void)
{
    unsigned next = by_priority ? choose_first() : choose_other();
    if (next != LOGICAL_THREADS) {
        threads[next].until = NULL;
        switch_to(next);
        return;
    }
    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].state == LOGICAL_READY)
            schedule_fail("%s %s for ever", threads[i].name, threads[i].asleep ? "sleeps" : "waits");
    running = false;
    setcontext(&outside);
}

static void die(struct logical *self)
{
    if (schedule_trace)
        printf("%6llu  %-12s dies\n", (unsigned long long)steps, self->name);
    stores_settle(&self->stores);
    kernel_forget(current);
    self->state = LOGICAL_DEAD;
    go_elsewhere();
}

/* Before each step: others may go on, die, or see stores that waited. */
void schedule_turn(void)
{
    struct logical *self = &threads[current];
    if (++self->steps == self->dies_at)
        die(self);
    if (++steps > STEPS_MOST)
        schedule_fail("no end after %d steps", STEPS_MOST);
    if (drain_rate)
        settle_some(drain_rate);
    unsigned next = current;
    if (by_priority) {
        for (int i = 0; i < CHANGES; i++)
            if (changes[i] == steps)
                self->priority = --lowest;
        next = choose_first();
    } else if (chance_below(switch_rate) == 0) {
        next = choose_other();
    }
    if (next != current && next != LOGICAL_THREADS) {
        threads[next].until = NULL;
        switch_to(next);
    }
}

void schedule_yield(void)
{
    struct logical *self = &threads[current];
    if (!running)
        return;
    if (++steps > STEPS_MOST)
        schedule_fail("no end after %d steps", STEPS_MOST);
    self->priority = --lowest;
    settle_some(4);
    go_elsewhere();
}

void schedule_step(const char *what, uint64_t value)
{
    if (!running)
        return;
    schedule_turn();
    if (schedule_trace)
        printf("%6llu  %-12s %s %#llx\n", (unsigned long long)steps, threads[current].name, what,
               (unsigned long long)value);
}

void schedule_sleep(const void *word)
{
    threads[current].asleep = word;
    go_elsewhere();
}

int schedule_wake(const void *word, int most)
{
    int woken = 0;
    for (unsigned i = 0; i < thread_count && woken < most; i++)
        if (threads[i].asleep == word) {
            threads[i].asleep = NULL;
            woken++;
        }
    return woken;
}

/* ---- A run ---- */

static void begin_thread(void)
{
    struct logical *self = &threads[current];
    self->body(self->argument);
    stores_settle(&self->stores);
    self->state = LOGICAL_ENDED;
    go_elsewhere();
}

void schedule_begin(uint64_t seed, unsigned char *first, size_t bytes)
{
    static const uint64_t switch_rates[] = { 2, 3, 5, 10, 30 };
    static const uint64_t drain_rates[] = { 0, 0, 2, 5, 20, 80 };
    generator = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    accesses_begin(first, bytes);
    thread_count = 0;
    steps = 0;
    failed = false;
    failure[0] = '\0';
    switch_rate = switch_rates[chance_below(5)];
    drain_rate = drain_rates[chance_below(6)];
    by_priority = chance_below(2);
    uint64_t length = UINT64_C(100) << chance_below(6);
    for (int i = 0; i < CHANGES; i++)
        changes[i] = 1 + chance_below(length);
    lowest = 0;
    kernel_begin();
}

unsigned schedule_add(const char *name, logical_body body, void *argument, bool (*until)(void *argument))
{
    struct logical *thread = &threads[thread_count];
    unsigned char *stack = thread->stack ? thread->stack : malloc(STACK);
    memset(thread, 0, offsetof(struct logical, stores));
    thread->stack = stack;
    thread->name = name;
    thread->state = LOGICAL_READY;
    thread->body = body;
    thread->argument = argument;
    thread->until = until;
    thread->priority = 1 + (int64_t)chance_below(1000);
    stores_begin(&thread->stores);
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = stack;
    thread->context.uc_stack.ss_size = STACK;
    thread->context.uc_link = NULL;
    makecontext(&thread->context, begin_thread, 0);
    return thread_count++;
}

void schedule_kill_at(unsigned thread, uint64_t at)
{
    threads[thread].dies_at = at;
}

enum logical_state schedule_state(unsigned thread)
{
    return threads[thread].state;
}

unsigned schedule_self(void)
{
    return running ? current : LOGICAL_THREADS;
}

bool schedule_run(void)
{
    static volatile bool came_back;
    came_back = false;
    getcontext(&outside);
    if (!came_back) {
        came_back = true;
        running = true;
        current = 0;
        current = choose_first();
        threads[current].until = NULL;
        setcontext(&threads[current].context);
    }
    running = false;
    return !failed;
}

bool schedule_attempt(void (*part)(void))
{
    failed = false;
    running = false;
    if (setjmp(fail_outside) == 0)
        part();
    return !failed;
}
