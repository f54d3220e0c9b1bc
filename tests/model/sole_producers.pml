/* sole_producers.pml - MPMC ring, producers' side: the cheap claim of a sole producer, its revocation by newcomers,
 * the claim that is shared, and the repair of holes. docs/models.md tells what is modelled and how.
 *
 * PRODUCERS processes, each with MESSAGES of its own, open, send, close; all but the last may be killed before any
 * statement (at most DEATHS in all). One consumer, which lives, takes the messages and skips holes.
 * Stores of a producer go through a buffer (sole_memory.pml): the `asleep`-like race between `intent` and `mode` is
 * settled by membarrier alone. With MUTATE_INTENT_RELAXED an intent may overtake the stores before it, as on Arm.
 */
#ifndef PRODUCERS
#define PRODUCERS 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef MESSAGES_1
#define MESSAGES_1 1
#endif
#ifndef SCANS
#define SCANS 1 /* scans begun with no need, to be overtaken by events in their midst */
#endif
#ifndef SEATS
#define SEATS 2
#endif
#define SLOTS 2
#define LAST (PRODUCERS - 1)

#include "sole_memory.pml"

inline larger(a, b) { if :: (b) > (a) -> a = b :: else fi }

/* Raises tail to what the mode's word says. */
inline raise_tail() {
    d_step {
        if :: tail < BASE_OF(m) -> tail = BASE_OF(m) :: else fi
    }
}

/* The end of a revocation: counts the owner's intent as it is in memory. m: the mode's word as it was before; on return, a
 * newer one. */
inline decide() {
    base = tail;
    d_step { larger(base, intent[SEAT_OF(m)]) }
#ifdef MUTATE_BASE_IGNORES_INTENT
    base = tail;
#endif
    d_step { if :: mode == m -> mode = SHARED(base) :: else fi; m = mode; base = 0 }
}

inline take_seat() {
    if
    :: d_step { !held[0] -> held[0] = true; seat_of[me] = 0; seat = 0 }
    :: d_step { !held[1] -> held[1] = true; seat_of[me] = 1; seat = 1 }
#if SEATS > 2
    :: d_step { !held[2] -> held[2] = true; seat_of[me] = 2; seat = 2 }
#endif
    fi
}

/* Under the seating lock, in no call, nothing in the buffer. */
inline become_sole() {
    m = mode;
#ifndef MUTATE_SOLE_WITHOUT_RAISING_TAIL
    raise_tail();
#endif
    d_step { next = tail; larger(next, BASE_OF(m)) }
    d_step { reigns++; my_mode = SOLE(seat, reigns) };
    mode = my_mode
}

inline write_payload(position) {
    d_step {
        assert(position >= last_position[me]); /* a producer's messages keep their order */
        last_position[me] = position + 1;
        payload[(position) % SLOTS] = 4 * me + sent
    }
}

inline publish(position) {
    d_step {
        buffer[2 * me + 1] == 0 ->
        if
        :: buffer[2 * me] == 0 -> buffer[2 * me] = STORE_READY(position)
        :: else -> buffer[2 * me + 1] = STORE_READY(position)
        fi;
        published[4 * me + sent] = true;
        undelivered++;
        sent++
    }
}

inline publish_now(position) {
    d_step {
        assert(slot[position % SLOTS] == FREE(position)); /* else we were robbed */
        slot[position % SLOTS] = READY(position);
        published[4 * me + sent] = true;
        undelivered++;
        sent++
    }
}

proctype Producer(byte me; byte messages) {
    byte seat, next, sent, base, position;
    short m, my_mode;
    {
    if
    :: me == 0 -> /* is in the ring already, alone */
        d_step { my_mode = SOLE(0, 1); seat = 0 };
        goto opened
    :: else
    fi;
    /* open */
    d_step { seating == 0 && HOLDERS < SEATS -> seating = me + 1 }; /* no seat: -EUSERS, tries again */
    take_seat();
#ifdef MUTATE_SEAT_CLEARED_FIRST
    intent[seat] = 0;
#endif
    m = mode;
    if
    :: IS_SOLE(m) -> d_step { if :: mode == m -> mode = REVOKING_OF(m) :: else fi; m = mode };
#ifdef MUTATE_NO_SECOND_MEMBARRIER
        if :: IS_REVOKING(m) -> membarrier() :: else fi
#endif
    :: else
    fi;
    do
    :: IS_REVOKING(m) ->
#ifndef MUTATE_NO_SECOND_MEMBARRIER
        membarrier();
#endif
        decide()
    :: else -> break
    od;
#ifndef MUTATE_SOLE_WITHOUT_RAISING_TAIL
    raise_tail();
#endif
    intent[seat] = 0;
    if
    :: HOLDERS == 1 -> become_sole()
    :: true
    fi;
    seating = 0;

opened:
    do
    :: sent < messages ->
        if
        :: my_mode == 0 -> goto shared
        :: else
        fi;
sole:
        if
        :: slot[next % SLOTS] == FREE(next)
        :: else ->
            /* Full, or no longer the sole one: wait for either to change. */
#ifdef MUTATE_FULL_IGNORES_MODE
            slot[next % SLOTS] == FREE(next);
#else
            (slot[next % SLOTS] == FREE(next) || mode != my_mode);
            if
            :: mode != my_mode -> goto revoked_before_claim
            :: else
            fi;
#endif
            goto sole
        fi;
        store(STORE_INTENT(next + 1));
        if
        :: mode == my_mode ->
            write_payload(next);
            publish(next);
            next++
        :: else ->
            atomic { BUFFER_EMPTY -> m = mode };
            if :: IS_REVOKING(m) -> decide() :: else fi;
            raise_tail();
            assert(IS_SHARED(m));
            assert(BASE_OF(m) <= next + 1);
            if
            :: BASE_OF(m) == next + 1 -> /* counted: it is ours */
                d_step { my_mode = 0; position = next; next = 0; m = 0 };
                goto ours
            :: else ->
                d_step { my_mode = 0; next = 0; m = 0 };
                goto shared
            fi
        fi;
        goto sent_one;

revoked_before_claim:
        atomic { BUFFER_EMPTY -> m = mode };
        if :: IS_REVOKING(m) -> decide() :: else fi;
        raise_tail();
        d_step { my_mode = 0; next = 0; m = 0 };
shared:
        position = tail;
        if
        :: slot[position % SLOTS] == FREE(position)
        :: else ->
            intent[seat] = 0;
            (slot[position % SLOTS] == FREE(position) || tail != position);
            goto shared
        fi;
#ifndef MUTATE_NO_INTENT_BEFORE_CLAIM
        intent[seat] = position + 1;
#endif
        if
        :: d_step { tail == position -> tail++ }
        :: tail != position -> goto shared
        fi;
#ifdef MUTATE_NO_INTENT_BEFORE_CLAIM
        intent[seat] = position + 1;
#endif
ours:
        write_payload(position);
#ifdef MUTATE_CLEAR_BEFORE_READY
        intent[seat] = 0;
#endif
        publish_now(position);
        intent[seat] = 0;
        position = 0;
sent_one:
        /* now and then */
        if
        :: my_mode == 0 && sent < messages && HOLDERS == 1 && seating == 0 ->
            if
            :: d_step { seating == 0 && HOLDERS == 1 -> seating = me + 1 };
                become_sole();
                m = 0;
                seating = 0
            :: true
            fi
        :: else
        fi
    :: else -> break
    od;

    /* close */
    atomic { seating == 0 && BUFFER_EMPTY -> seating = me + 1 };
    if
    :: my_mode ->
        m = mode;
#ifdef MUTATE_CLOSE_FORGETS_TAIL
        if
        :: m == my_mode -> mode = SHARED(tail)
        :: IS_REVOKING(m) -> decide()
        :: else
        fi
#else
        if
        :: m == my_mode -> m = SHARED(next); raise_tail(); mode = m
        :: IS_REVOKING(m) -> decide()
        :: else
        fi
#endif
    :: else
    fi;
    intent[seat] = 0;
    d_step { held[seat] = false; seat_of[me] = SEATS + 1; seating = 0; running--; killed[me] = true;
        seat = 0; next = 0; sent = 0; m = 0; my_mode = 0 }
    } unless { killed[me] };
    d_step { seat = 0; next = 0; sent = 0; base = 0; position = 0; m = 0; my_mode = 0 }
}

#define INTENDED(s, p) (held[s] && intent[s] == (p) + 1)
#if SEATS > 2
#define NOBODY_INTENDS(p) (!INTENDED(0, p) && !INTENDED(1, p) && !INTENDED(2, p))
#else
#define NOBODY_INTENDS(p) (!INTENDED(0, p) && !INTENDED(1, p))
#endif
#define NEEDS_SKIP(p) (slot[(p) % SLOTS] == FREE(p) && NOBODY_INTENDS(p) && \
    (tail > (p) || (IS_SHARED(mode) && BASE_OF(mode) > (p)) || (IS_SOLE(mode) && intent[SEAT_OF(mode)] > (p))))

inline deliver() {
    d_step {
        assert(published[payload[head % SLOTS]]);
        assert(!delivered[payload[head % SLOTS]]);
        delivered[payload[head % SLOTS]] = true;
        undelivered--;
        assert(payload[head % SLOTS] % 4 + 1 > last_message[payload[head % SLOTS] / 4]);
        last_message[payload[head % SLOTS] / 4] = payload[head % SLOTS] % 4 + 1
    }
}

proctype Consumer() {
    byte head, end_of_claims, base, scans, s;
    short m;
    do
    :: slot[head % SLOTS] == READY(head) ->
        deliver();
        slot[head % SLOTS] = FREE(head + SLOTS);
        head++
    :: slot[head % SLOTS] == SKIP(head) ->
        slot[head % SLOTS] = FREE(head + SLOTS);
        head++
    :: slot[head % SLOTS] == FREE(head) && (scans < SCANS || NEEDS_SKIP(head)) ->
        if :: scans < SCANS -> scans++ :: else fi;
        end_of_claims = tail;
        m = mode;
        do
        :: IS_SHARED(m) -> d_step { larger(end_of_claims, BASE_OF(m)) }; break
        :: IS_SOLE(m) ->
            base = intent[SEAT_OF(m)];
#ifdef MUTATE_SCAN_TRUSTS_OLD_MODE
            d_step { larger(end_of_claims, base); base = 0 };
            break
#else
            if
            :: atomic { mode == m -> larger(end_of_claims, base); base = 0 }; break
            :: atomic { mode != m -> base = 0; m = mode }
            fi
#endif
        :: IS_REVOKING(m) -> /* anybody may end a revocation */
            membarrier();
            decide()
        od;
        m = 0;
        if
        :: end_of_claims > head ->
            s = 0;
            do
            :: s < SEATS ->
                if
                :: intent[s] == head + 1 ->
                    if
#ifndef MUTATE_NO_PROBE
                    :: held[s] -> break
#endif
                    :: else -> s++
                    fi
                :: else -> s++
                fi
            :: else -> break
            od;
            m = 0;
            if
            :: s == SEATS ->
                d_step { if :: slot[head % SLOTS] == FREE(head) -> slot[head % SLOTS] = SKIP(head) :: else fi }
            :: else
            fi
        :: else
        fi;
        end_of_claims = 0;
        s = 0
    :: running == 0 && undelivered == 0 -> break
    od
}

init {
    byte i;
    d_step {
        for (i : 0 .. SLOTS - 1) { slot[i] = FREE(i) }
        for (i : 1 .. PRODUCERS - 1) { seat_of[i] = SEATS }
        held[0] = true;
        reigns = 1;
        mode = SOLE(0, 1);
        i = 0
    };
    atomic {
        run Memory();
        run Reaper();
        run Consumer();
        run Producer(0, MESSAGES);
        run Producer(1, MESSAGES_1);
#if PRODUCERS > 2
        run Producer(2, 1);
#endif
    }
}
