/* sole_memory.pml - what sole_producers.pml runs on: the shared words and what they mean, stores that wait in a buffer of
 * their process, membarrier, and death. Its parameters come from there.
 */
/* A slot's word: position (lap and place), state. */
#define FREE(p)  ((p) * 4)
#define READY(p) ((p) * 4 + 1)
#define SKIP(p)  ((p) * 4 + 2)
#define POSITION_OF(word) ((word) >> 2)

/* The mode's word: kind, and a base, or a seat and the number of its reign. */
#define SHARED(v)      ((v) * 4)
#ifdef MUTATE_REIGNS_NOT_COUNTED
#define SOLE(s, r)     ((s) * 4 + 1)
#else
#define SOLE(s, r)     (((s) + 4 * (r)) * 4 + 1)
#endif
#define IS_SHARED(m)   (((m) & 3) == 0)
#define IS_SOLE(m)     (((m) & 3) == 1)
#define IS_REVOKING(m) (((m) & 3) == 2)
#define REVOKING_OF(m) ((m) + 1) /* of a SOLE */
#define BASE_OF(m)     ((m) >> 2)
#define SEAT_OF(m)     (((m) >> 2) & 3)

byte slot[SLOTS];
byte payload[SLOTS];
byte tail;
short mode;
byte intent[SEATS]; /* position + 1, 0: none */
byte reigns; /* how often somebody became the sole one */
bool held[SEATS];   /* the seat's lock */
byte seating;       /* the lock for opening and closing: process + 1 */

/* Of each producer. */
byte seat_of[PRODUCERS]; /* SEATS: none */
bool killed[PRODUCERS];
byte buffer[PRODUCERS * 2]; /* 0: nothing; else 1 + 2 * value: an intent; 2 + 2 * position: READY */

#if SEATS > 2
#define HOLDERS (held[0] + held[1] + held[2])
#else
#define HOLDERS (held[0] + held[1])
#endif

/* For the properties only. */
byte running = PRODUCERS;
byte deaths;
byte undelivered;
bool published[PRODUCERS * 4];
bool delivered[PRODUCERS * 4];
byte last_position[PRODUCERS]; /* + 1 */
byte last_message[PRODUCERS];  /* + 1, as the consumer saw it */

inline apply(i, entry) {
    if
    :: (entry) & 1 -> intent[seat_of[i]] = (entry) >> 1
    :: else ->
        assert(slot[(((entry) >> 1) - 1) % SLOTS] == FREE(((entry) >> 1) - 1)); /* else its holder was robbed */
        slot[(((entry) >> 1) - 1) % SLOTS] = READY(((entry) >> 1) - 1)
    fi
}

inline drain_one(i) {
    apply(i, buffer[2 * (i)]);
    buffer[2 * (i)] = buffer[2 * (i) + 1];
    buffer[2 * (i) + 1] = 0
}

inline drain(i) {
    if :: buffer[2 * (i)] -> drain_one(i) :: else fi;
    if :: buffer[2 * (i)] -> drain_one(i) :: else fi
}

#define STORE_INTENT(value) 1 + 2 * (value)
#define STORE_READY(position) 2 + 2 * (position)

/* A store: waits for a place in the buffer. */
inline store(entry) {
    d_step {
        buffer[2 * me + 1] == 0 ->
        if
        :: buffer[2 * me] == 0 -> buffer[2 * me] = entry
        :: else -> buffer[2 * me + 1] = entry
        fi
    }
}

#define BUFFER_EMPTY (buffer[2 * me] == 0) /* before any locked instruction */

/* The memory: lets stores out of the buffers when it likes. */
proctype Memory() {
end:
    do
    :: d_step { buffer[0] -> drain_one(0) }
    :: d_step { buffer[2] -> drain_one(1) }
#if PRODUCERS > 2
    :: d_step { buffer[4] -> drain_one(2) }
#endif
#ifdef MUTATE_INTENT_RELAXED
    :: d_step { (buffer[1] & 1) && !(buffer[0] & 1) -> apply(0, buffer[1]); buffer[1] = 0 }
    :: d_step { (buffer[3] & 1) && !(buffer[2] & 1) -> apply(1, buffer[3]); buffer[3] = 0 }
#endif
    od
}

inline membarrier() {
#ifdef MUTATE_NO_MEMBARRIER
    skip
#else
    d_step { drain(0) }
    d_step { drain(1) }
#if PRODUCERS > 2
    d_step { drain(2) }
#endif
#endif
}

inline kill(i) {
    d_step {
        !killed[i] && deaths < DEATHS && seat_of[i] < SEATS + 1 ->
        drain(i); /* what it stored stays stored */
        killed[i] = true;
        deaths++;
        if :: seat_of[i] < SEATS -> held[seat_of[i]] = false :: else fi;
        seat_of[i] = SEATS + 1;
        if :: seating == i + 1 -> seating = 0 :: else fi;
        running--
    }
}

/* Death: at any time. The last producer lives. */
proctype Reaper() {
end:
    do
    :: kill(0)
#if PRODUCERS > 2
    :: kill(1)
#endif
    od
}
