/* growth.pml - an SPSC ring is replaced by larger ones while messages run: MOVED, who may come to which generation, and the
 * death of either side at any step with its successor. docs/growth.md has the protocol, docs/models.md what is modelled.
 *
 * A generation is a row of messages and a published head; that records are published and freed rightly within one is
 * spsc.pml's. Producer 0 and consumer 0 may be killed before any statement. Producer 1 and consumer 1 try to open the ring
 * all the time, also while those live, and finish their work.
 */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef GENERATIONS
#define GENERATIONS 3
#endif

#define NEVER    0
#define ATTACHED 1
#define CLOSED   2
#define MOVED    3

byte row[9]; /* GENERATIONS * MESSAGES: numbers of messages */
byte sent[GENERATIONS], head[GENERATIONS];
byte producer_state[GENERATIONS], consumer_state[GENERATIONS];
byte producer_lock[GENERATIONS], consumer_lock[GENERATIONS]; /* holder + 1 */

/* For the properties only. */
byte published, delivered;
bool producer_killed, consumer_killed;

#define FREE_LOCKS(lock, i)                                                                                            \
    i = 0;                                                                                                             \
    do                                                                                                                 \
    :: i < GENERATIONS ->                                                                                              \
        if :: lock[i] == 1 -> lock[i] = 0 :: else fi;                                                                  \
        i++                                                                                                            \
    :: else -> break                                                                                                   \
    od;                                                                                                                \
    i = 0

proctype Reaper() {
    byte i;
end:
    do
    :: d_step { !producer_killed && (producer_lock[0] == 1 || producer_lock[1] == 1 || producer_lock[GENERATIONS - 1] == 1) ->
        producer_killed = true; FREE_LOCKS(producer_lock, i) }
    :: d_step { !consumer_killed && (consumer_lock[0] == 1 || consumer_lock[1] == 1 || consumer_lock[GENERATIONS - 1] == 1) ->
        consumer_killed = true; FREE_LOCKS(consumer_lock, i) }
    od
}

inline send_one() {
    d_step {
        published < MESSAGES ->
        row[g * MESSAGES + sent[g]] = published;
        sent[g]++;
        published++
    }
}

inline take_next_producer() {
    d_step { assert(producer_lock[g + 1] == 0); producer_lock[g + 1] = me + 1 };
    producer_state[g + 1] = ATTACHED
}

inline grow() {
#ifdef MUTATE_LETS_GO_FIRST
    producer_state[g] = MOVED;
    producer_lock[g] = 0;
    take_next_producer();
    g++
#else
    take_next_producer();
#ifdef MUTATE_MOVED_RELAXED
    producer_state[g] = MOVED;
    if :: published < MESSAGES -> send_one() :: else fi;
#else
    producer_state[g] = MOVED; /* L2 */
#endif
    atomic { producer_lock[g] = 0; g++ }
#endif
}

proctype Producer(byte me) {
    byte g;
    {
    skip;
open:
    g = 0;
try:
    if
    :: d_step { producer_lock[g] == 0 -> producer_lock[g] = me + 1 }
    :: producer_lock[g] != 0 -> goto open /* -EBUSY */
    fi;
    if
#ifndef MUTATE_TAKES_MOVED
    :: producer_state[g] == MOVED -> atomic { producer_lock[g] = 0; g++ }; goto try
    :: else -> producer_state[g] = ATTACHED
#else
    :: producer_state[g] = ATTACHED
#endif
    fi;
    do
    :: published < MESSAGES -> if :: send_one() :: published == MESSAGES fi
    :: published < MESSAGES && g + 1 < GENERATIONS -> grow()
    :: published == MESSAGES -> break
    od;
    producer_state[g] = CLOSED;
    producer_lock[g] = 0
    } unless { me == 0 && producer_killed };
    g = 0
}

inline deliver() {
    d_step {
        assert(row[g * MESSAGES + position] <= delivered); /* else one was lost, or is early */
        if
        :: row[g * MESSAGES + position] == delivered -> delivered++
        :: else -> assert(died && position < doubt) /* comes again, and says so */
        fi;
        position++
    }
}

/* Takes the role of the next generation, or finds it busy. */
inline take_next_consumer() {
#ifdef MUTATE_LEAVES_FIRST
    atomic { consumer_state[g] = CLOSED; consumer_lock[g] = 0 };
#endif
    if
    :: d_step { consumer_lock[g + 1] == 0 -> consumer_lock[g + 1] = me + 1; next_died = (consumer_state[g + 1] == ATTACHED) };
        consumer_state[g + 1] = ATTACHED;
#ifndef MUTATE_LEAVES_FIRST
        consumer_state[g] = CLOSED;
        consumer_lock[g] = 0;
#endif
        atomic { g++; died = next_died; next_died = 0 }
    :: consumer_lock[g + 1] != 0 -> busy = true
    fi
}

proctype Consumer(byte me) {
    byte g, position, doubt;
    bool died, next_died, busy;
    {
    skip;
open:
    atomic { g = 0; position = 0; doubt = 0; died = 0 };
#ifdef MUTATE_CONSUMER_OPENS_NEWEST
    do
    :: g + 1 < GENERATIONS && producer_state[g] == MOVED -> g++
    :: else -> break
    od;
#endif
    if
    :: d_step { consumer_lock[g] == 0 -> consumer_lock[g] = me + 1; died = (consumer_state[g] == ATTACHED) }
    :: consumer_lock[g] != 0 -> goto open /* -EBUSY */
    fi;
    consumer_state[g] = ATTACHED;
    do /* past what is exhausted, hand over hand */
    :: g + 1 < GENERATIONS && producer_state[g] == MOVED ->
        if
        :: head[g] == sent[g] ->
            take_next_consumer();
            if :: busy -> goto refused :: else fi
        :: else -> break
        fi
    :: else -> break
    od;
    goto opened;
refused:
    busy = false;
    if :: died :: else -> consumer_state[g] = CLOSED fi;
    consumer_lock[g] = 0;
    goto open;
opened:
    skip;
    d_step { position = head[g]; doubt = (died -> sent[g] : 0) };
    do
    :: delivered == MESSAGES -> break
    :: position < sent[g] ->
        deliver();
        if :: head[g] = position :: true fi /* C2, now and then */
    :: position == sent[g] && delivered < MESSAGES ->
#ifndef MUTATE_HEAD_NOT_PUBLISHED
        head[g] = position; /* C2 */
#endif
        if
        :: producer_state[g] == MOVED -> /* L0 */
            if
#ifndef MUTATE_NO_SECOND_LOOK
            :: position < sent[g]
            :: position == sent[g] ->
#else
            :: true ->
#endif
                take_next_consumer();
                assert(!busy); /* who has a role of the ring keeps it */
                d_step { position = head[g]; doubt = (died -> sent[g] : 0) }
            fi
        :: position < sent[g]
        :: delivered == MESSAGES
        fi
    od;
    head[g] = position;
    consumer_state[g] = CLOSED;
    consumer_lock[g] = 0
    } unless { me == 0 && consumer_killed };
    atomic { g = 0; position = 0; doubt = 0; died = 0; next_died = 0; busy = 0 }
}

init {
    atomic {
        run Reaper();
        run Producer(0);
        run Consumer(0);
        run Producer(1);
        run Consumer(1)
    }
}
