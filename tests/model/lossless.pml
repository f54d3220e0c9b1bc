/* lossless.pml - broadcast ring that loses nothing: the producer's private limit, consumers that join, die and leave their
 * seats to others. docs/models.md tells more.
 *
 * Consumer 0 is there from the beginning and may die; consumer 1 joins at the oldest message or at the newest; consumer 2
 * joins when a seat is free, so in the seat of one that died or left. Producer 0 may die; producer 1 takes over.
 * The store of `limit` by the producer, and of its position by a consumer, wait in a buffer until a fence.
 */
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#define SLOTS 2
#define STEP  1 /* slots / 8, at least 1 */
#define SEATS 2

#define READY(p)   (2 * (p) + 2)
#define WRITING(p) (2 * (p) + 3)

byte word[SLOTS];
byte tail, limit;
byte state[SEATS]; /* tenure; odd: attached */
byte seat_position[SEATS];
bool held[SEATS]; /* the seats' locks */
bool producer_lock;

byte limit_buffer;       /* + 1, 0: nothing waits */
byte seat_buffer[3];     /* of each consumer: position + 1 */

/* For the properties only. */
byte deaths, published;
byte seat_of[3];  /* + 1 */
bool killed[4];   /* consumers, and 3: producer 0 */
bool ended[3];
byte joined;

inline kill_consumer(i) {
    d_step { deaths < DEATHS && !killed[i] && seat_of[i] ->
        killed[i] = true;
        if :: seat_buffer[i] -> seat_position[seat_of[i] - 1] = seat_buffer[i] - 1; seat_buffer[i] = 0 :: else fi;
        held[seat_of[i] - 1] = false;
        seat_of[i] = 0;
        deaths++ }
}

proctype Reaper() {
end:
    do
    :: kill_consumer(0)
    :: kill_consumer(1)
    :: d_step { deaths < DEATHS && !killed[3] && producer_lock ->
        killed[3] = true;
        if :: limit_buffer -> limit = limit_buffer - 1; limit_buffer = 0 :: else fi;
        producer_lock = false;
        deaths++ }
    od
}

inline let_seat_out(i) {
    d_step { seat_buffer[i] -> seat_position[seat_of[i] - 1] = seat_buffer[i] - 1; seat_buffer[i] = 0 }
}

proctype Memory() {
end:
    do
    :: d_step { limit_buffer -> limit = limit_buffer - 1; limit_buffer = 0 }
    :: let_seat_out(0)
    :: let_seat_out(1)
#if CONSUMERS > 2
    :: let_seat_out(2)
#endif
    od
}

/* B14: seq_cst */
inline set_limit(what) {
    d_step { limit_buffer == 0 -> limit_buffer = (what) + 1 };
#ifndef MUTATE_LIMIT_RELAXED
    limit_buffer == 0
#else
    skip
#endif
}

/* Is there a seat that holds the producer back, whose holder is not known to have died? */
#ifdef MUTATE_DEAD_BY_SEAT
#define HOLDS(i) ((state[i] & 1) && !known_dead[i])
#else
#define HOLDS(i) ((state[i] & 1) && state[i] != known_dead[i])
#endif
#define CAN_SEND ((!HOLDS(0) || seat_position[0] + SLOTS > position) && (!HOLDS(1) || seat_position[1] + SLOTS > position))
#ifdef MUTATE_NO_PROBE
#define NEW_DEAD(i) HOLDS(i) /* who is behind for long is taken for dead */
#else
#define NEW_DEAD(i) (HOLDS(i) && !held[i])
#endif

inline look_at(i) {
    if
    :: HOLDS(i) ->
        seen = seat_position[i];
        d_step {
            assert(seen <= position); /* ahead of what was sent: -EUCLEAN */
            if :: seen + SLOTS < allowed -> allowed = seen + SLOTS :: else fi;
            seen = 0
        }
    :: else
    fi
}

inline look_for_room() {
#ifndef MUTATE_LIMIT_SET_AFTER_LOOK
    set_limit(position + STEP);
#endif
    allowed = position + STEP;
    look_at(0);
    look_at(1);
    if :: allowed < position -> allowed = position :: else fi;
#ifndef MUTATE_SUCCESSOR_FORGETS_MARK
    if :: allowed < marked -> allowed = marked :: else fi; /* the slot that the predecessor had begun with is gone */
#endif
    if
    :: allowed < position + STEP -> set_limit(allowed)
#ifdef MUTATE_LIMIT_SET_AFTER_LOOK
    :: else -> set_limit(allowed)
#else
    :: else
#endif
    fi
}

proctype Producer(byte me) {
    byte position, my_limit, allowed, seen, marked;
    byte known_dead[SEATS];
    {
    atomic { !producer_lock && (me == 0 || killed[3] || published == MESSAGES) -> producer_lock = true };
    position = tail;
    do
    :: position < MESSAGES && word[position % SLOTS] == READY(position) -> position++
    :: else -> break
    od;
    atomic { my_limit = position; if :: word[position % SLOTS] == WRITING(position) -> marked = position + 1 :: else fi };
    do
    :: position < MESSAGES ->
        do
        :: position < my_limit -> break
        :: else ->
            look_for_room();
            if
            :: allowed > position ->
                atomic { my_limit = allowed; allowed = 0; marked = 0 };
                word[position % SLOTS] = WRITING(position) /* B1 */
            :: else ->
                /* Full: waits for room, or finds that somebody died. */
                atomic { allowed = 0;
                    if
                    :: CAN_SEND
                    :: NEW_DEAD(0) -> known_dead[0] = state[0]
                    :: NEW_DEAD(1) -> known_dead[1] = state[1]
                    fi }
            fi
        od;
        atomic {
            assert(word[position % SLOTS] == WRITING(position));
            word[position % SLOTS] = READY(position); /* B3 */
            published++;
            position++
        };
        tail = position; /* B4 */
        if
        :: position < my_limit && position < MESSAGES -> word[position % SLOTS] = WRITING(position)
        :: else
        fi
    :: else -> break
    od;
    atomic { limit_buffer == 0 -> producer_lock = false }
    } unless { me == 0 && killed[3] };
    atomic { position = 0; my_limit = 0; allowed = 0; marked = 0; seen = 0; known_dead[0] = 0; known_dead[1] = 0 }
}

inline publish_position(what) {
    d_step { seat_buffer[me] == 0 -> seat_buffer[me] = (what) + 1 } /* B9 */
}

proctype Consumer(byte me) {
    byte seat, position, t;
    {
    if
    :: me == 0 -> seat = 0
    :: else ->
        /* Joins. A new tenure of the seat, whose position is its predecessor's still. */
        if
        :: atomic { !held[0] -> held[0] = true; seat = 0 }
        :: atomic { !held[1] -> held[1] = true; seat = 1 }
        fi;
        seat_of[me] = seat + 1;
        state[seat] = (state[seat] | 1) + 2;
        /* Where to begin: the newest, or the oldest. */
        t = tail;
        do
        :: t < MESSAGES && word[t % SLOTS] == READY(t) -> t++
        :: else -> break
        od;
        if
        :: position = t
        :: atomic { position = limit; position = (position > SLOTS -> position - SLOTS : 0);
            position = (t < position -> t : position) }
        fi;
        t = 0;
        publish_position(position);
#ifndef MUTATE_NO_FENCE_WHEN_JOINING
        seat_buffer[me] == 0; /* B15 */
#endif
#ifndef MUTATE_JOINS_WITHOUT_LOOK_AT_LIMIT
        t = limit;
        if
        :: t > SLOTS && t - SLOTS > position ->
            atomic { position = t - SLOTS; t = 0 };
            publish_position(position)
        :: else -> t = 0
        fi
#endif
    fi;
    do
    :: position < MESSAGES ->
        /* It comes, and is not gone before we said so. */
        if
        :: word[position % SLOTS] >= READY(position) && word[position % SLOTS] != WRITING(position)
        fi;
#ifdef MUTATE_FREED_BEFORE_READ
        publish_position(position + 1);
#endif
        assert(word[position % SLOTS] == READY(position)); /* B6 */
        /* the message is read here */
        assert(word[position % SLOTS] == READY(position)); /* B8 */
        position++;
#ifndef MUTATE_FREED_BEFORE_READ
        publish_position(position)
#endif
    :: else -> break
    od;
    seat_buffer[me] == 0;
    state[seat]++;
    atomic { held[seat] = false; seat_of[me] = 0; ended[me] = true; seat = 0; position = 0 }
    } unless { me < 2 && killed[me] };
    atomic { seat = 0; position = 0; t = 0 }
}

init {
    d_step { state[0] = 1; held[0] = true; seat_of[0] = 1 };
    atomic {
        run Memory();
        run Reaper();
        run Producer(0);
        run Producer(1);
        run Consumer(0);
        run Consumer(1);
#if CONSUMERS > 2
        run Consumer(2)
#endif
    }
}
