/* registry.c - level 7: looking up ends of rings by name while others attach and detach.
 *
 * THEORY. A name holds RCU pointers: to the entry that it stands for just now, and, in a line of their own, one for
 * each of the first few threads, to its end of that entry. A section is an RCU read-side section: two private stores
 * and two compiler barriers; the processor's barriers are made by whoever waits for a grace period (membarrier). In it
 * one load from that line (Y1) gives end and kind. Nothing is touched that another thread writes, but at a change. All
 * of that is in registry_hot.h; here is what is done slowly, by way of the entry (Y0).
 *
 * Attaching stores the pointers; detaching stores NULL to all of them; a refresh stores the successor's. All under one
 * lock, so nobody shows an end of an entry that is gone. The old entry goes to call_rcu(): when every section that
 * began before is over, liburcu's helper thread closes its ends and unmaps its segment when nobody else has it. Handles
 * of MPMC and broadcast rings pass to that thread by their guards, as to any other; SPSC ends by the grace period,
 * which orders the last use before the close.
 *
 * An entry has a place for each thread number, the first few in itself, the others in an array that is made when it is
 * wanted. A thread gets its number at its first look-up, gives it back when it ends, and closes its ends then. Place p
 * is filled by thread p alone (Y2), and emptied by an exchange (Y3): by thread p when it ends, or by the helper: so
 * each end is closed once. What a name's line has is never closed by way of it.
 *
 * The flavour is "bulletproof" (urcu-bp): threads need not be registered, may end as they like, and fork() can be
 * repaired. QSBR would save the two stores, but every thread would have to report quiescent states, also while it
 * sleeps in a call of its own, which a library cannot ask of its callers' threads. docs/registry.md has the figures.
 *
 * liburcu's inline functions are its ABI: a word for each thread, that has the count of grace periods when a section
 * begins, one more for each section within, and one less when one ends (Y7). The inline functions of registry_hot.h do
 * the same with the same words, but for programs that do not know liburcu's headers and need not be linked with it.
 * They find the word by way of liburcu's own thread-local pointer: it is NULL before the first section and after
 * liburcu has seen the thread end, and destructors that run later may still look names up.
 */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <ring/error.h>

struct ring_registry ring_registry_all;

static pthread_mutex_t cold = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end; /* closes what a thread has when it ends */

static RING_ATOMIC(unsigned long) *const no_word; /* NULL */
__thread struct ring_registry_thread ring_registry_self
    __attribute__((tls_model("initial-exec"))) = { .word = &no_word };

_Static_assert(RING_REGISTRY_NEST == URCU_BP_GP_CTR_NEST_MASK, "registry_hot.h counts sections as liburcu does");
_Static_assert(URCU_BP_GP_COUNT == 1, "registry_hot.h counts sections as liburcu does");
_Static_assert(offsetof(struct urcu_bp_reader, ctr) == 0, "the word comes first");
_Static_assert(sizeof(struct ring_registry_name) == RING_CACHE_LINE, "one line is read of a name");
_Static_assert(RING_REGISTRY_ENDS <= RING_REGISTRY_TAG, "kinds fit into the bits that addresses leave");

/* ---- The cold lock, threads, forks ---- */

static void set_number(unsigned number)
{
    ring_registry_self.number = number;
    ring_registry_self.near = number < RING_REGISTRY_NEAR ? number : 0;
}

/* A thread ends: its ends are closed. */
static void thread_ended(void *place)
{
    unsigned number = (unsigned)(uintptr_t)place;
    pthread_mutex_lock(&cold);
    for (struct ring_registry_record *record = NULL; (record = ring_registry_next_record(record));) {
        struct ring_registry_entry *entry = ring_registry_entry_of(record);
        if (entry && entry->kind->bytes) {
            ring_registry_show(record, number, entry->end, NULL);
            ring_registry_put_end(entry, number, NULL);
        }
    }
    ring_registry_all.taken[number] = false;
    pthread_mutex_unlock(&cold);
    set_number(0);
}

/* A number for this thread: 0, -EUSERS, -ENOMEM. */
static int take_number(void)
{
    int code = 0;
    unsigned number = 1;
    pthread_mutex_lock(&cold);
    while (number <= RING_REGISTRY_THREADS && ring_registry_all.taken[number])
        number++;
    if (number > RING_REGISTRY_THREADS)
        code = ring_error(-EUSERS, "%d threads use the registry at once, and no more can", RING_REGISTRY_THREADS);
    else if (pthread_setspecific(at_end, (void *)(uintptr_t)number) != 0)
        code = ring_error(-ENOMEM, "no memory for this thread's part of the registry");
    else
        ring_registry_all.taken[number] = true;
    pthread_mutex_unlock(&cold);
    set_number(code ? 0 : number);
    return code;
}

/* liburcu's helper is stopped first: it may wait for our lock. */
static void before_fork(void)
{
    urcu_bp_call_rcu_before_fork();
    pthread_mutex_lock(&cold);
    urcu_bp_before_fork();
}

static void after_fork_parent(void)
{
    urcu_bp_after_fork_parent();
    pthread_mutex_unlock(&cold);
    urcu_bp_call_rcu_after_fork_parent();
}

/* The child has no mapping of what the parent attached, and one thread. */
static void after_fork_child(void)
{
    struct ring_registry *all = &ring_registry_all;
    urcu_bp_after_fork_child();
    for (struct ring_registry_record *record = NULL; (record = ring_registry_next_record(record));) {
        struct ring_registry_entry *entry = ring_registry_entry_of(record);
        record->coming = false;
        if (entry) {
            entry->next = all->inherited;
            all->inherited = entry;
            ring_registry_put(record, NULL);
            record->users--; /* the name itself stays: it may be open */
            all->attached--;
        }
    }
    memset(all->taken, 0, sizeof all->taken);
    if (ring_registry_self.number)
        all->taken[ring_registry_self.number] = true;
    pthread_mutex_unlock(&cold);
    urcu_bp_call_rcu_after_fork_child();
}

/* The helper inherits our signal mask: the program's signals are for its own threads. */
static void begin(void)
{
    sigset_t all, before;
    if (pthread_key_create(&at_end, thread_ended) != 0)
        return; /* a program that is out of memory here gets -ENOMEM for ever */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    urcu_bp_get_default_call_rcu_data();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    ring_registry_make_table();
}

bool ring_registry_lock(void)
{
    pthread_once(&once, begin);
    if (!ring_registry_all.table) {
        ring_error(-ENOMEM, "no memory for the registry");
        return false;
    }
    pthread_mutex_lock(&cold);
    return true;
}

void ring_registry_unlock(void)
{
    pthread_mutex_unlock(&cold);
}

/* ---- Sections ---- */

void ring_registry_begin_slowly(void)
{
    urcu_bp_read_lock();
    ring_registry_self.period = (RING_ATOMIC(unsigned long) *)&urcu_bp_gp.ctr;
    if (urcu_bp_has_sys_membarrier)
        ring_registry_self.word = (RING_ATOMIC(unsigned long) *const *)(void *)&URCU_TLS(urcu_bp_reader);
}

void ring_registry_end_slowly(void)
{
    urcu_bp_read_unlock();
}

/* ---- Ends ---- */

static struct ring_registry_holder *holder_of(void *end)
{
    return (struct ring_registry_holder *)end - 1;
}

static void *claim(struct ring_registry_entry *entry, int *code)
{
    /* Y5: acquire, pairs with the release of who leaves: the last section's use comes before ours. */
    *code = ring_atomic_exchange(&holder_of(entry->single)->claimed, 1, memory_order_acquire) ? -EBUSY : 0;
    return *code ? NULL : entry->single;
}

void ring_registry_unclaim(void *end)
{
    ring_atomic_store(&holder_of(end)->claimed, 0, memory_order_release); /* Y5 */
}

/* This thread's first look-up of an entry. Who detaches it meanwhile has cleared the name's line, or finds the end
 * there: an entry has its ends, the line only shows them. */
static void *open_own_end(struct ring_registry_record *record, struct ring_registry_entry *entry, int *code)
{
    *code = ring_registry_self.number ? 0 : take_number();
    if (*code)
        return NULL;
    void *end = ring_registry_open_end(entry->kind, entry->segment, entry->ring, RING_NO_WAIT, code);
    if (end && (*code = ring_registry_put_end(entry, ring_registry_self.number, end))) {
        ring_registry_close_end(entry->kind, end);
        return NULL;
    }
    pthread_mutex_lock(&cold);
    if (end && ring_registry_entry_of(record) == entry)
        ring_registry_show(record, ring_registry_self.number, entry->end, end);
    pthread_mutex_unlock(&cold);
    return end;
}

void *ring_registry_end_of(struct ring_registry_record *record, struct ring_registry_entry *entry, int *code)
{
    *code = 0;
    if (!entry->kind->bytes)
        return entry->segment;
    if (entry->kind->once)
        return claim(entry, code);
    /* Relaxed: our own store, Y2. Threads without a number have place 0, where nothing is. */
    RING_ATOMIC(void *) *place = ring_registry_place(entry, ring_registry_self.number, false);
    void *end = place ? ring_atomic_load(place, memory_order_relaxed) : NULL;
    return end ? end : open_own_end(record, entry, code);
}

static void *find(struct ring_registry_record *record, enum ring_registry_end kind, bool claims, int *code)
{
    struct ring_registry_entry *entry = record ? ring_registry_entry_of(record) : NULL;
    *code = !entry ? -ENOENT : entry->end != kind || (entry->kind->once && !claims) ? -EINVAL : 0;
    return *code ? NULL : ring_registry_end_of(record, entry, code);
}

/* The section has begun; ends it on failure. */
static void *enter(struct ring_registry_record *record, enum ring_registry_end kind, int *code)
{
    void *end = find(record, kind, true, code);
    if (!end)
        ring_registry_end_section();
    return end;
}

void *ring_registry_enter_slowly(struct ring_registry_name *name, enum ring_registry_end kind, int *code)
{
    return enter(name ? name->record : NULL, kind, code);
}

void *ring_registry_find_slowly(struct ring_registry_name *name, enum ring_registry_end kind, int *code)
{
    return find(name ? name->record : NULL, kind, false, code);
}

int ring_registry_enter_by(const char *text, enum ring_registry_end kind, void **end)
{
    ring_registry_begin_section();
    struct ring_registry_record *record = text ? ring_registry_find_record(text) : NULL;
    int code = 0;
    if (RING_UNLIKELY(!record || !ring_registry_own_end(record->name, kind, end)))
        *end = enter(record, kind, &code);
    return code;
}

int ring_registry_find_by(const char *text, enum ring_registry_end kind, void **end)
{
    struct ring_registry_record *record = text ? ring_registry_find_record(text) : NULL;
    int code = 0;
    if (RING_UNLIKELY(!record || !ring_registry_own_end(record->name, kind, end)))
        *end = find(record, kind, false, &code);
    return code;
}

#endif
