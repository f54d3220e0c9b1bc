/* registry.c - level 7: looking up ends of rings by name while others attach and detach.
 *
 * THEORY. A name is a node of a hash table (liburcu's cds_lfht) and holds one RCU pointer, to the entry that it stands
 * for just now. A section is an RCU read-side section: two private stores and two compiler barriers; the processor's
 * barriers are made by whoever waits for a grace period (membarrier). In it: load the pointer (Y0), load this thread's
 * end from the entry's array (Y1). Nothing that two threads write is touched.
 *
 * Attaching stores the pointer, last (Y0); detaching stores NULL; a refresh stores the successor. The old entry goes to
 * call_rcu(): when every section that began before is over, liburcu's helper thread closes its ends and unmaps its
 * segment when nobody else has it. Handles of MPMC and broadcast rings pass to that thread by their guards, as to any
 * other; SPSC ends by the grace period, which orders the last use before the close.
 *
 * The array of an entry has a place for each thread number. A thread gets its number at its first look-up, gives it
 * back when it ends, and closes its ends then. Place p is filled by thread p alone (Y2), and emptied by an exchange
 * (Y3): by thread p when it ends, or by the helper: so each end is closed once.
 *
 * The flavour is "bulletproof" (urcu-bp): threads need not be registered, may end as they like, and fork() can be
 * repaired. QSBR would save the two stores, but every thread would have to report quiescent states, also while it
 * sleeps in a call of its own, which a library cannot ask of its callers' threads. docs/registry.md has the figures.
 */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ring/error.h>

enum { BUCKETS = 256 };

#define SLICE_NS INT64_C(10000000)

struct ring_registry ring_registry_all;

static pthread_mutex_t cold = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end;        /* closes what a thread has when it ends */
static __thread unsigned own_place; /* this thread's number; 0: none yet */

/* ---- Names ---- */

/* Names are short: eight bytes at a time, each mixed in by a multiplication, whose halves are folded. */
static uint64_t hash_of(const char text[RING_REGISTRY_NAME_MAX + 1], size_t length)
{
    uint64_t hash = length;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, sizeof word); /* the rest of the text is zero */
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash;
}

int ring_registry_check_name(const char *text)
{
    if (!text || text[0] == '\0')
        return ring_error(-EINVAL, "a registration needs a name of 1 to %d characters", RING_REGISTRY_NAME_MAX);
    if (strlen(text) > RING_REGISTRY_NAME_MAX)
        return ring_error(-ENAMETOOLONG, "a registration's name has at most %d characters, '%.20s...' has %zu",
                          RING_REGISTRY_NAME_MAX, text, strlen(text));
    return 0;
}

static int matches(struct cds_lfht_node *node, const void *text)
{
    return strcmp(caa_container_of(node, struct ring_registry_name, node)->text, text) == 0;
}

struct ring_registry_name *ring_registry_find(const char *text)
{
    char padded[RING_REGISTRY_NAME_MAX + 1] = "";
    size_t length = strnlen(text, sizeof padded);
    /* Y4: acquire, pairs with itself: the table is complete. */
    struct cds_lfht *table = ring_atomic_load(&ring_registry_all.table, memory_order_acquire);
    if (length == sizeof padded || !table)
        return NULL;
    memcpy(padded, text, length);
    struct cds_lfht_iter at;
    cds_lfht_lookup(table, hash_of(padded, length), matches, padded, &at);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&at);
    if (!node)
        return NULL;
    struct ring_registry_name *name = caa_container_of(node, struct ring_registry_name, node);
    RING_REGISTRY_ACQUIRE(name);
    return name;
}

struct ring_registry_name *ring_registry_take_name(const char *text)
{
    struct ring_registry *all = &ring_registry_all;
    _urcu_bp_read_lock();
    struct ring_registry_name *name = ring_registry_find(text);
    if (!name && (name = calloc(1, sizeof *name))) {
        memcpy(name->text, text, strlen(text));
        name->hash = hash_of(name->text, strlen(text));
        RING_REGISTRY_RELEASE(name);
        cds_lfht_add(all->table, name->hash, &name->node);
        all->names++;
    }
    if (name)
        name->users++;
    _urcu_bp_read_unlock();
    if (all->names > all->buckets) { /* not within a section */
        all->buckets *= 4;
        cds_lfht_resize(all->table, all->buckets);
    }
    return name;
}

static void free_name(struct rcu_head *rcu)
{
    RING_REGISTRY_ACQUIRE(&ring_registry_all);
    free(caa_container_of(rcu, struct ring_registry_name, rcu));
}

void ring_registry_drop_name(struct ring_registry_name *name)
{
    if (--name->users)
        return;
    ring_registry_all.names--;
    _urcu_bp_read_lock();
    cds_lfht_del(ring_registry_all.table, &name->node);
    _urcu_bp_read_unlock();
    RING_REGISTRY_RELEASE(&ring_registry_all);
    urcu_bp_call_rcu(&name->rcu, free_name);
}

/* ---- The cold lock, threads, forks ---- */

/* A thread ends: its ends are closed. */
static void thread_ended(void *place)
{
    unsigned number = (unsigned)(uintptr_t)place;
    struct cds_lfht_iter at;
    struct cds_lfht_node *node;
    pthread_mutex_lock(&cold);
    _urcu_bp_read_lock(); /* an entry that others detach meanwhile is there until we are done */
    cds_lfht_for_each(ring_registry_all.table, &at, node)
    {
        struct ring_registry_name *name = caa_container_of(node, struct ring_registry_name, node);
        struct ring_registry_entry *entry = ring_registry_entry_of(name);
        if (entry)
            ring_registry_empty(entry, number);
    }
    _urcu_bp_read_unlock();
    ring_registry_all.taken[number] = false;
    pthread_mutex_unlock(&cold);
    own_place = 0;
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
    own_place = code ? 0 : number;
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
    struct cds_lfht_iter at;
    struct cds_lfht_node *node;
    urcu_bp_after_fork_child();
    _urcu_bp_read_lock();
    cds_lfht_for_each(all->table, &at, node)
    {
        struct ring_registry_name *name = caa_container_of(node, struct ring_registry_name, node);
        struct ring_registry_entry *entry = ring_registry_entry_of(name);
        name->coming = false;
        if (entry) {
            entry->next = all->inherited;
            all->inherited = entry;
            ring_atomic_store(&name->entry, NULL, memory_order_relaxed);
            name->users--; /* the name itself stays: it may be open */
            all->attached--;
        }
    }
    _urcu_bp_read_unlock();
    memset(all->taken, 0, sizeof all->taken);
    if (own_place)
        all->taken[own_place] = true;
    pthread_mutex_unlock(&cold);
    urcu_bp_call_rcu_after_fork_child();
}

/* The helper inherits our signal mask: the program's signals are for its own threads. */
static void begin(void)
{
    sigset_t all, before;
    struct cds_lfht *table = cds_lfht_new_flavor(BUCKETS, BUCKETS, 0, 0, &urcu_bp_flavor, NULL);
    if (!table || pthread_key_create(&at_end, thread_ended) != 0)
        return; /* a program that is out of memory here gets -ENOMEM for ever */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    urcu_bp_get_default_call_rcu_data();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    ring_registry_all.buckets = BUCKETS;
    /* Y4: release. */
    ring_atomic_store(&ring_registry_all.table, table, memory_order_release);
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

static int claim(struct ring_registry_entry *entry, void **end)
{
    struct ring_registry_holder *holder = entry->single;
    /* Y5: acquire, pairs with the release in leave: the last section's use comes before ours. */
    if (ring_atomic_exchange(&holder->claimed, 1, memory_order_acquire) != 0)
        return -EBUSY;
    *end = holder + 1;
    return 0;
}

/* The first look-up of this thread, or a kind that has no end for each thread. */
static int enter_slowly(struct ring_registry_entry *entry, void **end)
{
    if (entry->kind->once)
        return claim(entry, end);
    int code = own_place ? 0 : take_number();
    if (code)
        return code;
    struct ring_registry_holder *holder =
        ring_registry_open_end(entry->kind, entry->segment, entry->ring, RING_NO_WAIT, &code);
    if (!holder)
        return code;
    *end = holder + 1;
    /* Y2: release, pairs with Y3. A thread of this number before us may have ended just after the entry was detached.
     */
    holder = ring_atomic_exchange(&entry->ends[own_place], holder, memory_order_acq_rel);
    if (holder)
        ring_registry_close_end(entry->kind, holder);
    return 0;
}

/* This thread's end of an entry found in the section. */
RING_INLINE int end_of(struct ring_registry_entry *entry, void **end)
{
    /* Y1: relaxed: our own store, Y2; or all are the same and come with Y0. */
    struct ring_registry_holder *holder = ring_atomic_load(&entry->ends[own_place], memory_order_relaxed);
    if (RING_UNLIKELY(!holder))
        return enter_slowly(entry, end);
    *end = holder + 1;
    return 0;
}

RING_INLINE void end_section(void)
{
    RING_REGISTRY_RELEASE(&ring_registry_all);
    _urcu_bp_read_unlock();
}

/* The section has begun; ends it on failure. */
RING_INLINE int enter(struct ring_registry_name *name, enum ring_registry_end kind, void **end)
{
    struct ring_registry_entry *entry = name ? ring_registry_entry_of(name) : NULL;
    *end = NULL;
    int code = RING_UNLIKELY(!entry) ? -ENOENT : RING_UNLIKELY(entry->end != kind) ? -EINVAL : end_of(entry, end);
    if (RING_UNLIKELY(code != 0))
        end_section();
    return code;
}

int ring_registry_enter(struct ring_registry_name *name, enum ring_registry_end kind, void **end)
{
    _urcu_bp_read_lock();
    return enter(name, kind, end);
}

int ring_registry_enter_by(const char *text, enum ring_registry_end kind, void **end)
{
    _urcu_bp_read_lock();
    return enter(text ? ring_registry_find(text) : NULL, kind, end);
}

RING_INLINE void unclaim(void *end)
{
    struct ring_registry_holder *holder = (struct ring_registry_holder *)end - 1;
    ring_atomic_store(&holder->claimed, 0, memory_order_release); /* Y5 */
}

void ring_registry_leave(enum ring_registry_end kind, void *end)
{
    if (kind >= RING_REGISTRY_BROADCAST_PRODUCER)
        unclaim(end);
    end_section();
}

/* ---- A message by name ---- */

struct transfer {
    const void *message;
    void *buffer; /* NULL message: receives here */
    size_t length;
};

/* One attempt in a section of its own. */
static ssize_t attempt(struct ring_registry_name *name, const struct transfer *transfer, int64_t timeout_ns)
{
    void *end;
    _urcu_bp_read_lock();
    struct ring_registry_entry *entry = name ? ring_registry_entry_of(name) : NULL;
    bool sends = transfer->message != NULL;
    ssize_t code = -ENOENT;
    if (entry)
        code = (sends ? entry->kind->send != NULL : entry->kind->recv != NULL) ? end_of(entry, &end) : -EINVAL;
    if (code == 0) {
        code = sends ? entry->kind->send(end, transfer->message, transfer->length, timeout_ns)
                     : entry->kind->recv(end, transfer->buffer, transfer->length, timeout_ns);
        if (entry->kind->once)
            unclaim(end);
    }
    end_section();
    return code;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static ssize_t carry(struct ring_registry_name *name, const struct transfer *transfer, int64_t timeout_ns)
{
    ssize_t code = attempt(name, transfer, RING_NO_WAIT);
    if (code >= 0 || (code == -EAGAIN && timeout_ns == RING_NO_WAIT))
        return code;
    int64_t start = timeout_ns ? now_ns() : 0;
    for (;;) {
        bool gone = code == -EPIPE || code == -EOWNERDEAD || code == -EUCLEAN;
        bool again = gone && ring_registry_refresh(name->text) == 1;
        if (!again && code != -EAGAIN && code != -ETIMEDOUT && code != -EBUSY)
            return code;
        int64_t left = timeout_ns <= 0 ? timeout_ns : timeout_ns - (now_ns() - start);
        if (!again && (timeout_ns == RING_NO_WAIT || (timeout_ns > 0 && left <= 0)))
            return code == -EAGAIN ? -ETIMEDOUT : code;
        if (code == -EBUSY) { /* another section has it, for 10 ms at most if it is one of these */
            struct timespec nap = { .tv_nsec = 20000 };
            nanosleep(&nap, NULL);
        }
        int64_t slice = timeout_ns < 0 || left > SLICE_NS ? SLICE_NS : left < 0 ? 0 : left;
        code = attempt(name, transfer, slice);
        if (code >= 0)
            return code;
    }
}

int ring_registry_send(struct ring_registry_name *name, const void *message, size_t length, int64_t timeout_ns)
{
    struct transfer transfer = { message ? message : "", NULL, length };
    if (!message && length)
        return -EINVAL;
    return (int)carry(name, &transfer, timeout_ns);
}

ssize_t ring_registry_recv(struct ring_registry_name *name, void *buffer, size_t size, int64_t timeout_ns)
{
    struct transfer transfer = { NULL, buffer, size };
    return carry(name, &transfer, timeout_ns);
}

#endif
