/* sleep.pml - sleeping and waking on both sides of a ring (ring/wait.c, spsc.c): W1, W2, P2, P3, C2, C3 and membarrier.
 *
 * The ring is two counters: `tail`, messages published (the header words of the real ring), and `head`, messages freed.
 * Each side's stores to its counter wait in a buffer of its own for as long as they like; only membarrier, or a locked
 * instruction of its own, lets them out for certain. Sleeps have no bound here: a wake that is lost is a state in which
 * nobody can go on. docs/models.md tells more.
 */
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef SLOTS
#define SLOTS 2
#endif

byte tail, head;
byte tail_first, tail_second, head_first, head_second; /* values that wait to get there, oldest first; 0: none */
bool consumer_asleep, producer_asleep;
bool consumer_queued, producer_queued; /* in the kernel, on the futex */

#define STORE(counter, what) \
    d_step { \
        counter##_second == 0 -> \
        if :: counter##_first == 0 -> counter##_first = what :: else -> counter##_second = what fi \
    }

#define LET_OUT(counter) counter = counter##_first; counter##_first = counter##_second; counter##_second = 0

proctype Memory() {
end:
    do
    :: d_step { tail_first -> LET_OUT(tail) }
    :: d_step { head_first -> LET_OUT(head) }
    od
}

#ifdef MUTATE_NO_MEMBARRIER
#define MEMBARRIER(counter) skip
#else
#define MEMBARRIER(counter) d_step { do :: counter##_first -> LET_OUT(counter) :: else -> break od }
#endif
#ifdef MUTATE_NO_SECOND_LOOK
#define LOOK(there) false
#else
#define LOOK(there) (there)
#endif
#ifdef MUTATE_FUTEX_DOES_NOT_COMPARE
#define FUTEX_WAIT(who) true -> who##_queued = true; !who##_queued
#else
#define FUTEX_WAIT(who) d_step { who##_asleep -> who##_queued = true }; !who##_queued
#endif
#ifdef MUTATE_NO_FUTEX_WAKE
#define FUTEX_WAKE(who) skip
#else
#define FUTEX_WAKE(who) who##_queued = false
#endif

/* W2: exchange, then the futex call, which finds whoever is queued by then. On Arm the relaxed exchange lets nothing out. */
#define WAKE(who) \
    if :: d_step { who##_asleep -> who##_asleep = false }; FUTEX_WAKE(who) :: else fi

/* From W1 (a seq_cst store) to W3. `there`: what is waited for; `counter`: the other side's. */
#define SLEEP_UNTIL(there, who, counter) \
    who##_asleep = true; \
    MEMBARRIER(counter); \
    if \
    :: LOOK(there) \
    :: else -> if :: FUTEX_WAIT(who) :: !who##_asleep fi \
    fi; \
    who##_asleep = false

proctype Producer() {
    byte sent;
    do
    :: sent < MESSAGES ->
        do
        :: head + SLOTS > sent -> break
        :: else -> SLEEP_UNTIL(head + SLOTS > sent, producer, head)
        od;
        sent++;
#ifdef MUTATE_LOOK_BEFORE_PUBLICATION
        if
        :: consumer_asleep ->
            STORE(tail, sent);
            WAKE(consumer)
        :: else -> STORE(tail, sent)
        fi
#else
        STORE(tail, sent); /* P2 */
        if
        :: consumer_asleep -> WAKE(consumer) /* P3 */
        :: else
        fi
#endif
    :: else -> break
    od
}

inline publish_head() {
    if
    :: taken != freed ->
        freed = taken;
        STORE(head, taken); /* C2 */
        if
        :: producer_asleep -> WAKE(producer) /* C3 */
        :: else
        fi
    :: else
    fi
}

proctype Consumer() {
    byte taken, freed;
    do
    :: taken < MESSAGES ->
        do
        :: tail > taken -> break
        :: else ->
            publish_head();
            SLEEP_UNTIL(tail > taken, consumer, tail)
        od;
        taken++;
        if
        :: taken - freed >= SLOTS -> publish_head()
        :: else
        fi
    :: else -> break
    od
}

init {
    atomic { run Memory(); run Producer(); run Consumer() }
}
