/* mpmc.pml - MPMC ring, claims that are shared: intents, the death of any participant, repair by two consumers, seats that
 * are used again. docs/models.md tells what is modelled and how.
 *
 * Producers 0 and 1, consumers 0 and 1, SEATS seats: 4, everybody has one of his own; 3, producer 1 gets the seat of
 * somebody who died or closed. With ABANDONED a message was taken by one that died before. All but consumer 1 may be killed before any statement, at most DEATHS in all.
 */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef MESSAGES_0
#define MESSAGES_0 2
#endif
#ifndef MESSAGES_1
#define MESSAGES_1 1
#endif
#ifndef SCANS
#define SCANS 1 /* searches that a consumer begins with no need, to be overtaken by events in their midst */
#endif
#ifndef SEATS
#define SEATS 4
#endif
#define SLOTS 2
#define PROCESSES 4 /* 0, 1: producers; 2, 3: consumers */
#define LIVES 3

/* A slot's word: position (lap and place), times redelivered, state. */
#define FREE(p)  ((p) * 16)
#define READY(p) ((p) * 16 + 1)
#define SKIP(p)  ((p) * 16 + 2)
#define RETRY    4
#define POSITION_OF(word) ((word) >> 4)
#define STATE_OF(word) ((word) & 3)
#define RETRY_OF(word) (((word) >> 2) & 3)

byte slot[SLOTS];
byte payload[SLOTS];
byte tail, head;
byte intent[SEATS]; /* position + 1, 0: none */
bool held[SEATS];   /* the seat's lock */

/* For the properties only. */
byte seat_of[PROCESSES]; /* SEATS: none yet, SEATS + 1: no more */
bool killed[PROCESSES];
byte deaths;
byte sending = 2;
byte undelivered;
bool published[4];
bool delivered[4];
byte holder[SLOTS]; /* who has claimed the slot and not yet filled (freed) it: process + 1 */
byte last_position[2];

inline kill(i) {
    d_step {
        !killed[i] && deaths < DEATHS && seat_of[i] < SEATS ->
        killed[i] = true;
        deaths++;
        held[seat_of[i]] = false;
        seat_of[i] = SEATS + 1;
        if :: i < 2 -> sending-- :: else fi
    }
}

proctype Reaper() {
end:
    do
    :: kill(0)
    :: kill(1)
    :: kill(2)
    od
}

#define LIVES_AS(i) (!killed[i])

proctype Producer(byte me; byte messages) {
    byte seat, position, sent;
    {
    if
    :: d_step { !held[0] -> held[0] = true; seat = 0 }
    :: d_step { me == 1 && !held[1] -> held[1] = true; seat = 1 }
#if SEATS > 3
    :: d_step { me == 1 && !held[3] -> held[3] = true; seat = 3 }
#endif
    fi;
    seat_of[me] = seat;
    intent[seat] = 0;
    do
    :: sent < messages ->
again:
        position = tail;
        if
        :: slot[position % SLOTS] == FREE(position)
        :: else ->
            intent[seat] = 0;
            (slot[position % SLOTS] == FREE(position) || tail != position);
            goto again
        fi;
#ifndef MUTATE_NO_INTENT_BEFORE_CLAIM
        intent[seat] = position + 1;
#endif
        if
        :: d_step { tail == position -> tail++; holder[position % SLOTS] = me + 1 }
        :: tail != position -> goto again
        fi;
#ifdef MUTATE_NO_INTENT_BEFORE_CLAIM
        intent[seat] = position + 1;
#endif
        d_step {
            assert(position >= last_position[me]); /* a producer's messages keep their order */
            last_position[me] = position + 1;
            payload[position % SLOTS] = 2 * me + sent
        };
#ifdef MUTATE_CLEAR_BEFORE_READY
        intent[seat] = 0;
#endif
        d_step {
            assert(slot[position % SLOTS] == FREE(position)); /* else we were robbed */
            slot[position % SLOTS] = READY(position);
            holder[position % SLOTS] = 0;
            published[2 * me + sent] = true;
            undelivered++;
            sent++
        };
        intent[seat] = 0
    :: else -> break
    od;
    atomic { held[seat] = false; seat_of[me] = SEATS + 1; sending--; killed[me] = true }
    } unless { killed[me] };
    d_step { seat = 0; position = 0; sent = 0 }
}

#define INTENDED(s, p) (held[s] && intent[s] == (p) + 1)
#if SEATS > 3
#define NOBODY_INTENDS(p) (!INTENDED(0, p) && !INTENDED(1, p) && !INTENDED(2, p) && !INTENDED(3, p))
#else
#define NOBODY_INTENDS(p) (!INTENDED(0, p) && !INTENDED(1, p) && !INTENDED(2, p))
#endif
#define NEEDS_SKIP(p) (head == (p) && tail > (p) && slot[(p) % SLOTS] == FREE(p) && NOBODY_INTENDS(p))
#define NEEDS_SWEEP(i) (STATE_OF(slot[i]) != 0 && POSITION_OF(slot[i]) < head && NOBODY_INTENDS(POSITION_OF(slot[i])))

inline deliver(position, redelivered) {
    d_step {
        assert(published[payload[(position) % SLOTS]]);
        if
        :: !delivered[payload[(position) % SLOTS]] ->
            delivered[payload[(position) % SLOTS]] = true;
            undelivered--
        :: else -> assert(redelivered) /* twice only with the flag */
        fi
    }
}

/* Does nobody living intend `position`? Then s == SEATS. */
inline search(position) {
    s = 0;
    do
    :: s < SEATS ->
        if
        :: intent[s] == position + 1 ->
            if
#ifndef MUTATE_NO_PROBE
            :: held[s] -> break
#endif
            :: else -> s++
            fi
        :: else -> s++
        fi
    :: else -> break
    od
}

/* A consumer: process `me`, which has seat me - 1. */
proctype Consumer(byte me) {
    byte h, word, i, s, seen, scans;
    {
    do
    :: sending == 0 && undelivered == 0 -> break
    :: !(sending == 0 && undelivered == 0) ->
        h = head;
        word = slot[h % SLOTS];
        if
        :: POSITION_OF(word) == h && STATE_OF(word) != 0 ->
#ifndef MUTATE_NO_INTENT_BEFORE_TAKING
            intent[me - 1] = h + 1;
#endif
            if
            :: d_step { head == h -> head++; holder[h % SLOTS] = me + 1 }
            :: head != h -> goto lost
            fi;
#ifdef MUTATE_NO_INTENT_BEFORE_TAKING
            intent[me - 1] = h + 1;
#endif
taken:
            if
            :: STATE_OF(word) == 1 -> deliver(h, RETRY_OF(word) > 0)
            :: else
            fi;
#ifdef MUTATE_CLEAR_BEFORE_FREE
            intent[me - 1] = 0;
#endif
            d_step {
                assert(slot[h % SLOTS] == word); /* else we were robbed */
                slot[h % SLOTS] = FREE(h + SLOTS);
                holder[h % SLOTS] = 0;
                word = 0;
                h = 0
            };
            intent[me - 1] = 0
        :: else ->
            /* Nothing to take from here: wait for a change, or search for what the dead left. */
            if
            :: atomic { head != h || slot[h % SLOTS] != word -> word = 0; h = 0 }
            :: sending == 0 && undelivered == 0 -> break
            :: atomic { scans < SCANS || NEEDS_SKIP(h) || NEEDS_SWEEP(0) || NEEDS_SWEEP(1) ->
                if :: scans < SCANS -> scans++ :: else fi };
                /* Is the head stuck? */
                if
                :: word == FREE(h) ->
#ifdef MUTATE_WORD_AFTER_SEARCH
                    search(h);
                    if
                    :: s == SEATS && tail > h -> word = slot[h % SLOTS]
                    :: else -> word = 1
                    fi;
                    if
                    :: STATE_OF(word) == 0 ->
                        d_step { if :: slot[h % SLOTS] == word -> slot[h % SLOTS] = SKIP(h) :: else fi }
                    :: else
                    fi
#else
                    if
#ifdef MUTATE_SKIP_BEYOND_TAIL
                    :: true ->
#else
                    :: tail > h ->
#endif
                        search(h);
                        if
                        :: s == SEATS ->
                            d_step {
                                if
                                :: slot[h % SLOTS] == FREE(h) ->
                                    slot[h % SLOTS] = SKIP(h);
                                    assert(holder[h % SLOTS] == 0 || killed[holder[h % SLOTS] - 1])
                                :: else
                                fi
                            }
                        :: else
                        fi
                    :: else
                    fi
#endif
                :: else
                fi;
                /* Has a dead one left something taken? */
                i = 0;
                do
                :: i < SLOTS ->
                    word = slot[i];
                    if
#ifdef MUTATE_SWEEP_BEYOND_HEAD
                    :: STATE_OF(word) != 0 ->
#else
                    :: STATE_OF(word) != 0 && POSITION_OF(word) < head ->
#endif
                        h = POSITION_OF(word);
                        search(h);
                        if
                        :: s == SEATS && STATE_OF(word) == 2 ->
                            d_step {
                                if
                                :: slot[i] == word ->
                                    slot[i] = FREE(h + SLOTS);
                                    assert(holder[i] == 0 || killed[holder[i] - 1])
                                :: else
                                fi
                            }
                        :: s == SEATS && STATE_OF(word) == 1 ->
#ifndef MUTATE_NO_INTENT_BEFORE_REDELIVERY
                            intent[me - 1] = h + 1;
#endif
                            if
#ifdef MUTATE_REDELIVERY_DOES_NOT_COUNT
                            :: d_step { slot[i] == word ->
#else
                            :: d_step { slot[i] == word -> word = word + RETRY; slot[i] = word;
#endif
                                assert(holder[i] == 0 || killed[holder[i] - 1]);
                                holder[i] = me + 1 };
#ifdef MUTATE_NO_INTENT_BEFORE_REDELIVERY
                                intent[me - 1] = h + 1;
#endif
                                d_step { i = 0; s = 0 };
                                goto taken
                            :: d_step { slot[i] != word -> skip };
                                intent[me - 1] = 0
                            fi
                        :: else
                        fi
                    :: else
                    fi;
                    i++
                :: else -> break
                od;
                atomic { i = 0; s = 0; word = 0; h = 0 }
            fi
        fi;
        goto next;
lost:
        atomic { word = 0; h = 0 };
        /* A lost claim leaves an intent, which the next claim replaces; nothing to claim, it goes. */
#ifndef MUTATE_LOST_INTENT_LEFT
        intent[me - 1] = 0;
#endif
next:
        skip
    od;
    atomic { i = 0; s = 0; word = 0; h = 0; scans = 0 }
    } unless { killed[me] };
    d_step { i = 0; s = 0; word = 0; h = 0; scans = 0 }
}

init {
    byte k;
    d_step {
        for (k : 0 .. SLOTS - 1) { slot[k] = FREE(k) }
        seat_of[0] = SEATS;
        seat_of[1] = SEATS;
        seat_of[2] = 1;
        seat_of[3] = 2;
        held[1] = true;
        held[2] = true;
#ifdef ABANDONED /* a consumer in seat 3 took a message and died before all this begins */
        slot[0] = READY(0);
        payload[0] = 2;
        published[2] = true;
        undelivered = 1;
        tail = 1;
        head = 1;
        intent[3] = 1;
#endif
        k = 0
    };
    atomic {
        run Reaper();
        run Producer(0, MESSAGES_0);
        run Producer(1, MESSAGES_1);
        run Consumer(2);
        run Consumer(3)
    }
}
