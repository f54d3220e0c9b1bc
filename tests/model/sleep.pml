/* sleep.pml - bells (ring/wait.c): one producer, several consumers that sleep, or poll descriptors, on one bell; the
 * producer sleeps on another when the ring is full. W1..W3, P2/P3, C2/C3, M4, M6, M8, B3, B5, membarrier, futex.
 *
 * The ring is counters: `tail`, messages published; `head[c]`, messages freed by a consumer. Stores to them wait in a
 * buffer of their own for as long as they like; only membarrier, or a locked instruction of its own, lets them out for
 * certain. Sleeps have no bound here: a wake that is lost is a state in which nobody can go on. So that a message that
 * nobody is woken for shows, each consumer takes QUOTA messages and is busy with them for ever.
 *
 * CONSUMERS, QUOTA, SLOTS, BATCH (messages published by one look at the bell); EACH_GETS_ALL: a broadcast ring, all are
 * woken; LEAVER: one more sleeps, and leaves without a message; DESCRIPTOR: consumers poll. docs/models.md tells more.
 */
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef QUOTA
#define QUOTA 4
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifdef LEAVER
#define SLEEPERS (CONSUMERS + 1)
#else
#define SLEEPERS CONSUMERS
#endif
#ifdef EACH_GETS_ALL
#define MESSAGES QUOTA
#else
#define MESSAGES (CONSUMERS * QUOTA)
#endif

byte tail, tail_first, tail_second; /* and values that wait to get there, oldest first; 0: none */
byte head[CONSUMERS], head_waits[CONSUMERS];
byte taken; /* by all */
bool consumers_asleep, producer_asleep;
bool wake_all; /* in the same word: a descriptor is armed, which may answer for nobody */
byte consumers_calls, producer_calls;
bool queued[SLEEPERS], producer_queued; /* in the kernel, on the futex */
#ifdef DESCRIPTOR
bool answered[SLEEPERS]; /* the kernel's answer to a wait that was submitted, not read yet */
bool ticked;             /* the same, of the timer of consumer 0, which makes it readable for nothing */
bool ticked_before;
bool readable[SLEEPERS]; /* the eventfd */
#endif

proctype Memory() {
    byte i;
end:
    do
    :: d_step { tail_first -> tail = tail_first; tail_first = tail_second; tail_second = 0 }
    :: d_step { head_waits[0] -> head[0] = head_waits[0]; head_waits[0] = 0 }
#if CONSUMERS > 1
    :: d_step { head_waits[1] -> head[1] = head_waits[1]; head_waits[1] = 0 }
#endif
#ifdef DESCRIPTOR
    :: d_step { !ticked_before -> ticked_before = true; ticked = true; readable[0] = true }
#endif
    od
}

#ifdef MUTATE_NO_MEMBARRIER
#define TAIL_OUT skip
#define HEADS_OUT skip
#else
#define TAIL_OUT d_step { do :: tail_first -> tail = tail_first; tail_first = tail_second; tail_second = 0 :: else -> break od }
#define HEADS_OUT \
    d_step { \
        i = 0; \
        do \
        :: i < CONSUMERS -> if :: head_waits[i] -> head[i] = head_waits[i]; head_waits[i] = 0 :: else fi; i++ \
        :: else -> break \
        od; \
        i = 0 \
    }
#endif
#if CONSUMERS > 1
#define HEAD (head[0] + head[1])
#else
#define HEAD head[0]
#endif

/* The kernel compares and queues in one step. */
#ifdef MUTATE_FUTEX_DOES_NOT_COMPARE
#define QUEUE_UP(bell, place) place = true
#else
#define QUEUE_UP(bell, place) if :: bell##_calls == seen -> place = true :: else fi
#endif

#ifdef DESCRIPTOR
#define RELEASE(c) queued[c] = false; answered[c] = true; readable[c] = true
#else
#define RELEASE(c) queued[c] = false
#endif

#ifdef MUTATE_NO_FUTEX_WAKE
#define WAKE_ALL skip
#else
#define WAKE_ALL \
    d_step { \
        if :: queued[0] -> RELEASE(0) :: else fi; \
        if :: SLEEPERS > 1 && queued[(1) % SLEEPERS] -> RELEASE((1) % SLEEPERS) :: else fi; \
        if :: SLEEPERS > 2 && queued[(2) % SLEEPERS] -> RELEASE((2) % SLEEPERS) :: else fi \
    }
#endif

/* Release: the stores before it come first. */
#define COUNT \
    d_step { \
        do :: tail_first -> tail = tail_first; tail_first = tail_second; tail_second = 0 :: else -> break od; \
        consumers_calls++ \
    }

/* W2 for all: exchange; count; FUTEX_WAKE. */
inline ring_wake() {
    if
    :: d_step { consumers_asleep -> consumers_asleep = false; wake_all = false };
        COUNT;
        WAKE_ALL
    :: else
    fi
}

/* W2 for one: count; FUTEX_WAKE of one; nobody there: for all. */
inline ring_wake_one() {
    if
#ifdef MUTATE_ONE_FOR_DESCRIPTORS
    :: consumers_asleep ->
#else
    :: consumers_asleep && wake_all -> ring_wake()
    :: consumers_asleep && !wake_all ->
#endif
#ifdef MUTATE_CLEARS_FOR_ONE
        consumers_asleep = false;
#endif
        COUNT;
        atomic {
            if
            :: queued[0] -> RELEASE(0); any = true
            :: SLEEPERS > 1 && queued[(1) % SLEEPERS] -> RELEASE((1) % SLEEPERS); any = true
            :: SLEEPERS > 2 && queued[(2) % SLEEPERS] -> RELEASE((2) % SLEEPERS); any = true
            :: else -> any = false
            fi
        };
#if defined(MUTATE_CLEARS_WITHOUT_WAKING)
        if :: !any -> consumers_asleep = false :: else fi
#elif !defined(MUTATE_CLEARS_FOR_ONE)
        if :: !any -> ring_wake() :: else fi
#endif
    :: else
    fi
}

#ifdef EACH_GETS_ALL
#define RING_THE_BELL ring_wake()
#else
#define RING_THE_BELL ring_wake_one()
#endif

proctype Producer() {
    byte sent, i, seen;
    bool any;
    do
    :: sent < MESSAGES ->
#ifndef EACH_GETS_ALL
        do
        :: HEAD + SLOTS >= sent + BATCH -> break
        :: else ->
            seen = producer_calls; /* W1 */
            producer_asleep = true;
            HEADS_OUT;
            if
            :: HEAD + SLOTS >= sent + BATCH
            :: else -> atomic { QUEUE_UP(producer, producer_queued) }; !producer_queued
            fi;
            producer_asleep = false /* W3: it sleeps there alone */
        od;
#endif
        sent = sent + BATCH;
#ifdef MUTATE_LOOK_BEFORE_PUBLICATION
        RING_THE_BELL;
#endif
        d_step { /* P2, M4, B3 */
            tail_second == 0 ->
            if :: tail_first == 0 -> tail_first = sent :: else -> tail_second = sent fi
        };
#ifndef MUTATE_LOOK_BEFORE_PUBLICATION
        RING_THE_BELL /* P3, M6, B5 */
#endif
    :: else -> break
    od
}

#ifdef EACH_GETS_ALL
#define IS_THERE (tail > mine)
#define TAKE mine++
#else
#define IS_THERE (tail > taken)
#define TAKE taken++; mine++
#endif

inline free_one() {
#ifndef EACH_GETS_ALL
    d_step { head_waits[me] == 0 -> head_waits[me] = mine }; /* C2, M8 */
    if
    :: d_step { producer_asleep -> producer_asleep = false }; /* C3, M6; W2 */
        producer_calls++;
        producer_queued = false
    :: else
    fi
#else
    skip
#endif
}

#ifdef MUTATE_NO_SECOND_LOOK
#define SECOND_LOOK false
#else
#define SECOND_LOOK IS_THERE
#endif

inline announce() {
#ifndef MUTATE_NOTED_AFTER_LOOK
    seen = consumers_calls;
#endif
#ifdef DESCRIPTOR
    d_step { consumers_asleep = true; wake_all = true };
#else
    consumers_asleep = true;
#endif
    TAIL_OUT
}

inline sleep() {
    announce();
    if
    :: SECOND_LOOK
    :: else ->
#ifdef MUTATE_NOTED_AFTER_LOOK
        seen = consumers_calls;
#endif
        atomic { QUEUE_UP(consumers, queued[me]) };
        do
        :: !queued[me] -> slept = true; break
        :: d_step { queued[me] && !woke -> queued[me] = false; woke = true }; /* once, by the bound: not again, else it
                                                                                 would find what it was not woken for */
            slept = true;
            if
            :: !IS_THERE && consumers_asleep ->
                atomic { QUEUE_UP(consumers, queued[me]) }
            :: else -> break
            fi
        od
    fi;
#if defined(MUTATE_WITHDRAWS_FOR_ALL) || CONSUMERS == 1 && !defined(LEAVER)
    consumers_asleep = false; /* W3 */
#endif
    skip
}

#ifdef DESCRIPTOR
/* Nothing was there. Is the wait that was submitted still under way, then all is as it should be. Else announce, look,
 * read all answers and the eventfd, look whether there was another answer meanwhile, and submit a wait if none is under
 * way. */
inline arm() {
    if
    :: pending && !answered[me] && !(me == 0 && ticked)
    :: else ->
        announce();
        if
        :: SECOND_LOOK
        :: else ->
            d_step { if :: answered[me] -> answered[me] = false; pending = false :: else fi; if :: me == 0 -> ticked = false :: else fi };
            readable[me] = false;
            if
#ifndef MUTATE_NO_THIRD_LOOK
            :: answered[me] || (me == 0 && ticked) -> readable[me] = true
#endif
            :: else ->
                if
                :: !pending ->
                    atomic {
                        pending = true;
                        QUEUE_UP(consumers, queued[me]);
                        if :: !queued[me] -> answered[me] = true; readable[me] = true :: else fi
                    }
                :: else
                fi
            fi
        fi
    fi
}
#endif

proctype Consumer(byte me) {
    byte mine, seen;
    bool any, slept, pending, woke;
    do
    :: mine < QUOTA ->
        slept = false;
        do
        :: atomic { IS_THERE -> TAKE }; break
        :: else ->
#ifdef DESCRIPTOR
            arm();
            readable[me] /* epoll */
#else
            sleep()
#endif
        od;
        free_one();
#if !defined(EACH_GETS_ALL) && CONSUMERS > 1 && !defined(MUTATE_NOT_PASSED_ON)
        if
        :: slept && IS_THERE -> ring_wake_one()
        :: else
        fi
#endif
    :: else -> break
    od
}

#ifdef LEAVER
/* Its time limit passes, or it is killed in its sleep; or it was woken, and passes that on. */
proctype Leaver(byte me) {
    byte mine, seen;
    bool any, slept;
    announce();
    if
    :: SECOND_LOOK
    :: else ->
        atomic { QUEUE_UP(consumers, queued[me]) };
        if
        :: d_step { queued[me] -> queued[me] = false } /* the kernel takes it out of the queue */
        :: !queued[me] -> slept = true
        fi
    fi;
    if
    :: slept && IS_THERE -> ring_wake_one()
    :: else
    fi
}
#endif

init {
    atomic {
#ifdef DESCRIPTOR
        readable[0] = true;
#if CONSUMERS > 1
        readable[1] = true;
#endif
#endif
        run Memory(); run Producer(); run Consumer(0);
#if CONSUMERS > 1
        run Consumer(1);
#endif
#ifdef LEAVER
        run Leaver(CONSUMERS)
#endif
    }
}
