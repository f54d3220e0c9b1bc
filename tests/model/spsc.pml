/* spsc.pml - SPSC ring: records with the zero behind them, head published lazily, the death of either side at any step and
 * its successor. docs/models.md tells what is modelled and how.
 *
 * The data are WORDS words. A record is a header (its length in words, itself included) and one word of payload or none.
 * The producer's stores wait in a buffer of 3 and leave it in any order that C11 allows: not before an earlier store to
 * the same word, and a release store not before any earlier one. Producer 0 and consumer 0 may be killed before any
 * statement; producer 1 and consumer 1 take over and finish.
 */
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef PRODUCER_DIES
#define PRODUCER_DIES true
#endif
#ifndef CONSUMER_DIES
#define CONSUMER_DIES true
#endif
#define WORDS   4
#define PUBLISH 2 /* the consumer publishes head after so many words */
#define BUFFER  3

byte data[WORDS];
byte head, head_peeked;
bool producer_lock, consumer_lock; /* held */

byte place[BUFFER]; /* of a store that waits: word + 1, 0: none */
byte value[BUFFER];
bool release[BUFFER];

/* For the properties only. */
byte published;
byte content[MESSAGES]; /* what the payload of the message must be */
byte delivered;         /* messages delivered so far, each at least once */
bool producer_killed, consumer_killed;

#define LENGTH_OF(message) (2 - ((message) & 1))

inline shift(from) {
    if :: from == 0 -> place[0] = place[1]; value[0] = value[1]; release[0] = release[1] :: else fi;
    if :: from <= 1 -> place[1] = place[2]; value[1] = value[2]; release[1] = release[2] :: else fi;
    place[2] = 0; value[2] = 0; release[2] = 0
}

proctype Memory() {
end:
    do
    :: d_step { place[0] -> data[place[0] - 1] = value[0]; shift(0) }
    :: d_step { place[1] && !release[1] && place[1] != place[0] -> data[place[1] - 1] = value[1]; shift(1) }
    :: d_step { place[2] && !release[2] && place[2] != place[0] && place[2] != place[1] ->
        data[place[2] - 1] = value[2]; shift(2) }
    od
}

/* The kernel lets all stores out before it lets go of the lock. */
proctype Reaper() {
end:
    do
    :: d_step { PRODUCER_DIES && !producer_killed && producer_lock ->
        do
        :: place[0] -> data[place[0] - 1] = value[0]; shift(0)
        :: else -> break
        od;
        producer_killed = true;
        producer_lock = false }
    :: d_step { CONSUMER_DIES && !consumer_killed && consumer_lock -> consumer_killed = true; consumer_lock = false }
    od
}

inline store(position, what, is_release, count) {
    d_step {
        place[2] == 0 ->
        if
        :: place[0] == 0 -> place[0] = (position) % WORDS + 1; value[0] = what; release[0] = is_release
        :: place[0] && !place[1] -> place[1] = (position) % WORDS + 1; value[1] = what; release[1] = is_release
        :: place[1] -> place[2] = (position) % WORDS + 1; value[2] = what; release[2] = is_release
        fi;
        published = published + count
    }
}

#ifdef MUTATE_HEADER_RELAXED
#define P2 false
#else
#define P2 true
#endif
#ifdef MUTATE_LIMIT_FORGETS_ZERO
#define LIMIT(h) ((h) + WORDS)
#else
#define LIMIT(h) ((h) + WORDS - 1)
#endif

#ifdef MUTATE_TOUCH_BEYOND_LIMIT
#define TOUCH_LIMIT (limit + 1)
#else
#define TOUCH_LIMIT limit
#endif

inline write_record() {
    atomic { message = published; length = LENGTH_OF(message) };
    if
    :: limit >= position + length
    :: else ->
        /* P4 */
        atomic { LIMIT(head) >= position + length -> limit = LIMIT(head) }
    fi;
    content[message] = 8 + 4 * me + message;
#ifdef MUTATE_HEADER_BEFORE_PAYLOAD
    store(position + length, 0, false, 0);
    store(position, length, P2, 1);
    if :: length == 2 -> store(position + 1, 8 + 4 * me + message, false, 0) :: else fi;
#else
    if :: length == 2 -> store(position + 1, 8 + 4 * me + message, false, 0) :: else fi;
#ifndef MUTATE_NO_ZERO
#ifndef MUTATE_ZERO_AFTER_HEADER
    store(position + length, 0, false, 0); /* P1 */
#endif
#endif
    store(position, length, P2, 1);
#endif
    atomic { position = position + length; message = 0; length = 0 };
#ifdef MUTATE_ZERO_AFTER_HEADER
    store(position, 0, false, 0);
#endif
    /* P0: of the words to come some are touched. */
#ifdef TOUCH
    if
    :: position + 1 <= TOUCH_LIMIT -> store(position + 1, 0, false, 0)
    :: true
    fi
#else
    skip
#endif
}

proctype Producer(byte me) {
    byte position, limit, length, message;
    {
    atomic { !producer_lock && (me == 0 || producer_killed || published == MESSAGES) -> producer_lock = true };
    if
    :: me == 1 -> /* a successor: from head over the records to the zero */
        atomic { position = head; limit = LIMIT(position) };
#ifndef MUTATE_SUCCESSOR_DOES_NOT_WALK
        do
        :: data[position % WORDS] != 0 ->
            position = position + data[position % WORDS];
            assert(position <= limit)
        :: else -> break
        od
#endif
    :: else -> limit = LIMIT(0)
    fi;
    do
    :: published < MESSAGES -> write_record()
    :: else -> break
    od
    } unless { me == 0 && producer_killed };
    atomic { position = 0; limit = 0; length = 0; message = 0 }
}

inline deliver(is_redelivered) {
    d_step {
        assert(header == LENGTH_OF(number));
        assert(number < published && (header == 1 || payload == content[number]));
        if
        :: number < delivered -> assert(is_redelivered)
        :: number == delivered -> delivered++
        :: else -> assert(false) /* one was lost */
        fi;
        number++;
        payload = 0
    }
}

/* The record at `at`: its header, and its payload, each word by a load of its own. */
inline read_record() {
    header = data[at % WORDS];
    assert(header == 1 || header == 2);
#ifdef MUTATE_HEAD_BEFORE_READ
    if :: at == position -> head = position + header :: else fi;
#endif
#ifndef MUTATE_PAYLOAD_LOADED_FIRST
    if :: header == 2 -> payload = data[(at + 1) % WORDS] :: else fi
#endif
}

inline publish_head() {
    if
    :: position - last_published >= PUBLISH -> d_step { head = position; last_published = position } /* C2 */
    :: else
    fi
}

proctype Consumer(byte me) {
    byte position, at, last_published, doubt, header, payload, number, two;
    {
    atomic { !consumer_lock && (me == 0 || consumer_killed || delivered == MESSAGES) -> consumer_lock = true };
    if
    :: me == 1 ->
        d_step { position = head; last_published = position };
        doubt = head_peeked;
#ifdef MUTATE_DOUBT_FORGETS_PEEKED
        doubt = 0;
#endif
        d_step {
            if :: doubt < position + PUBLISH -> doubt = position + PUBLISH :: else fi;
#ifdef MUTATE_NO_DOUBT
            doubt = 0;
#endif
            /* Which message is this? Lengths tell. */
            at = 0;
            do
            :: at < position -> at = at + LENGTH_OF(number); number++
            :: else -> break
            od;
            assert(at == position)
        };
        /* The doubt ends with what is in the ring now. */
        at = position;
        do
        :: at < doubt && data[at % WORDS] != 0 -> at = at + data[at % WORDS]
        :: else -> break
        od;
        atomic { doubt = at; at = 0 }
    :: else
    fi;
    do
    :: delivered < MESSAGES ->
        /* Nothing: publishes head before it waits. */
        if
        :: data[position % WORDS] == 0 ->
            if
            :: position != last_published -> d_step { head = position; last_published = position }
            :: else
            fi;
#ifdef MUTATE_PAYLOAD_LOADED_FIRST
            payload = data[(position + 1) % WORDS];
#endif
            data[position % WORDS] != 0
        :: else
#ifdef MUTATE_PAYLOAD_LOADED_FIRST
            -> payload = data[(position + 1) % WORDS]
#endif
        fi;
        at = position;
        read_record();
        if
        :: true ->
            deliver(position < doubt);
            d_step { position = position + header }
        :: true -> /* peeks at two, if there are so many, and releases both */
            two = data[(at + header) % WORDS];
            head_peeked = at + header + two; /* C5 */
            deliver(position < doubt);
            at = at + header;
            if
            :: two -> read_record(); deliver(at < doubt); atomic { at = at + header; two = 0 }
            :: else
            fi;
            position = at
        fi;
        atomic { at = 0; header = 0 };
        publish_head()
    :: else -> break
    od
    } unless { me == 0 && consumer_killed };
    atomic { position = 0; at = 0; last_published = 0; doubt = 0; header = 0; payload = 0; number = 0; two = 0 }
}

init {
    atomic {
        run Memory();
        run Reaper();
        run Producer(0);
        run Consumer(0);
        if :: PRODUCER_DIES -> run Producer(1) :: else fi;
        if :: CONSUMER_DIES -> run Consumer(1) :: else fi
    }
}
