/* overwrite.pml - broadcast ring that never waits: a slow consumer may read a slot while it is written anew, and must
 * notice. The producer may die at any step; its successor goes on. docs/models.md tells more.
 *
 * Messages have two words. The producer's stores wait in a buffer of two and leave it in any order but for stores to the
 * same word. A release store, and a release fence, wait until all before them have left; what follows a release store
 * may overtake it.
 */
#ifndef MESSAGES
#define MESSAGES 4
#endif
#define SLOTS 2

/* A slot's word: 0 never written; else position + 1, twice, odd: WRITING. */
#define READY(p)   (2 * (p) + 2)
#define WRITING(p) (2 * (p) + 3)
#define POSITION_OF(word) ((word) / 2 - 1)

byte memory[3 * SLOTS]; /* of each slot: its word, and the two words of its message */
#define WORD(p)   (3 * ((p) % SLOTS))
#define FIRST(p)  (3 * ((p) % SLOTS) + 1)
#define SECOND(p) (3 * ((p) % SLOTS) + 2)
byte tail;
bool lock; /* the producer's */

byte place[2]; /* 0: none; else where in memory, plus 1; 3 * SLOTS + 1: tail */
byte value[2];

/* For the properties only. */
byte published;
byte content[MESSAGES];
bool producer_killed;

inline let_out(i) {
    if
    :: place[i] == 3 * SLOTS + 1 -> tail = value[i]
    :: else -> memory[place[i] - 1] = value[i]
    fi
}

proctype Memory() {
end:
    do
    :: d_step { place[0] -> let_out(0); place[0] = place[1]; value[0] = value[1]; place[1] = 0; value[1] = 0 }
    :: d_step { place[1] && place[1] != place[0] -> let_out(1); place[1] = 0; value[1] = 0 }
    od
}

proctype Reaper() {
end:
    do
    :: d_step { !producer_killed && lock ->
        if :: place[0] -> let_out(0) :: else fi;
        if :: place[1] -> let_out(1) :: else fi;
        place[0] = 0; value[0] = 0; place[1] = 0; value[1] = 0;
        producer_killed = true;
        lock = false }
    od
}

#define ALL_OUT (place[0] == 0)

inline store(where, what) {
    d_step {
        place[1] == 0 ->
        if
        :: place[0] == 0 -> place[0] = where + 1; value[0] = what
        :: else -> place[1] = where + 1; value[1] = what
        fi
    }
}

inline mark(position) {
#ifndef MUTATE_NO_MARK
    store(WORD(position), WRITING(position)); /* B1 */
#endif
#ifdef MUTATE_NO_FENCE_BEHIND_MARK
    skip
#else
    ALL_OUT
#endif
}

proctype Producer(byte me) {
    byte position;
    {
    atomic { !lock && (me == 0 || producer_killed || published == MESSAGES) -> lock = true };
    position = tail;
#ifndef MUTATE_SUCCESSOR_TRUSTS_TAIL
    do
    :: position < MESSAGES && memory[WORD(position)] == READY(position) -> position++
    :: else -> break
    od;
#endif
    if
    :: position < MESSAGES -> mark(position)
    :: else
    fi;
    do
    :: position < MESSAGES ->
        d_step { assert(position == published); content[position] = 8 + 4 * me + position };
        store(FIRST(position), content[position]); /* B2 */
        store(SECOND(position), content[position]);
#ifdef MUTATE_READY_RELAXED
        d_step { place[1] == 0 ->
#else
        d_step { ALL_OUT ->
#endif
            if
            :: place[0] == 0 -> place[0] = WORD(position) + 1; value[0] = READY(position) /* B3 */
            :: else -> place[1] = WORD(position) + 1; value[1] = READY(position)
            fi;
            published++;
            position++
        };
        ALL_OUT;
        store(3 * SLOTS, position); /* B4 */
        if
        :: position < MESSAGES -> mark(position)
        :: else
        fi
    :: else -> break
    od;
    ALL_OUT
    } unless { me == 0 && producer_killed };
    position = 0
}

proctype Consumer() {
    byte position, word, first, second, newest, lost, taken;
    do
    :: position < MESSAGES ->
#ifdef MUTATE_MESSAGE_LOADED_FIRST
        first = memory[FIRST(position)];
#endif
        word = memory[WORD(position)]; /* B6 */
        if
        :: word == READY(position) ->
#ifdef MUTATE_WORD_LOADED_AGAIN_EARLY
            newest = memory[WORD(position)];
#endif
#ifndef MUTATE_MESSAGE_LOADED_FIRST
            first = memory[FIRST(position)]; /* B7 */
#endif
            second = memory[SECOND(position)];
            if
#ifdef MUTATE_NO_SECOND_LOOK
            :: true ->
#else
#ifdef MUTATE_WORD_LOADED_AGAIN_EARLY
            :: newest == word ->
#else
            :: memory[WORD(position)] == word -> /* B8 */
#endif
#endif
                d_step {
                    assert(position < published);
                    assert(first == content[position] && second == content[position]);
                    position++;
                    taken++
                }
            :: else -> goto overtaken
            fi
        :: word != READY(position) && word > WRITING(position) ->
overtaken:
            word = memory[WORD(position)];
            /* A quarter of the ring is kept away from, with 2 slots none. */
            newest = POSITION_OF(word);
            if :: tail > newest -> newest = tail :: else fi;
            d_step {
                assert(newest - (SLOTS - 1) > position && newest - (SLOTS - 1) <= published);
                lost = lost + newest - (SLOTS - 1) - position;
                position = newest - (SLOTS - 1)
            }
        :: else -> memory[WORD(position)] != word
        fi;
        d_step { word = 0; first = 0; second = 0; newest = 0 }
    :: else -> break
    od;
    assert(taken + lost == MESSAGES)
}

init {
    atomic { run Memory(); run Reaper(); run Producer(0); run Producer(1); run Consumer() }
}
