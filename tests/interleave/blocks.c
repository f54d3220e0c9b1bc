/* blocks.c - scenarios of a pool of blocks: one sends blocks through an SPSC ring, one accepts them; others allocate,
 * fill, look whether it is still theirs, and free; one lends, one borrows; some die, one mends at any time.
 *
 * What is demanded: nobody gets a block that another has; what a receiver or a borrower reads is whole; afterwards all
 * blocks are there. `holders` says whose a block is, as far as those who live know it. */
#include "scenario.h"

enum { BLOCKS = 16, BLOCK_BYTES = 128, CONTENT = 96, SEATS = 7, ROVERS = 2, ROUNDS = 5, KEEPERS = 5 };

enum hold { NOBODYS, HELD, IN_TRANSIT };

static struct {
    enum hold hold;
    unsigned thread; /* HELD: by this one; if it is dead, by nobody */
} holders[BLOCKS];

/* What is sent: the handle, where a search for stranded blocks finds it, and whose content it is. */
struct parcel {
    uint64_t handle;
    uint64_t number;
};

static struct ring_blocks hands[SEATS + 1]; /* by thread */
static struct ring_spsc_producer producers[2];
static struct ring_spsc_consumer consumers[2];
static unsigned sender_threads[2], receiver_threads[2];
static unsigned total, cache;        /* blocks, and how many each may keep for itself */
static RING_ATOMIC(uint64_t) * lent; /* handle of a block that is lent, or 0; in the segment */

static int make(struct ring_segment *segment)
{
    struct ring_blocks_options pool = ring_blocks_defaults(BLOCK_BYTES, total);
    struct ring_spsc_options ring = ring_spsc_defaults();
    ring.bytes = RING_SPSC_MIN_BYTES;
    ring.publish_bytes = 1;
    pool.seats = SEATS;
    pool.cache = cache;
    pool.start_generation = chance_below(2) ? 1 : (UINT64_C(1) << 40) - 2;
    int code = ring_blocks_create_with(segment, "pool", &pool);
    return code ? code : ring_spsc_create_with(segment, "ring", &ring);
}

static unsigned number_of(uint64_t handle)
{
    return (unsigned)(handle & RING_BLOCK_NUMBER) - 1;
}

static void hold(uint64_t handle, enum hold how)
{
    holders[number_of(handle)].hold = how;
    holders[number_of(handle)].thread = schedule_self();
}

/* A block that nobody who lives has; 0: there is none just now. */
static uint64_t allocate(struct ring_blocks *own, void **place)
{
    uint64_t handle = RING_BLOCK_NONE;
    int code = ring_block_allocate(own, BLOCK_BYTES, &handle, place);
    if (code == -ENOSPC)
        return RING_BLOCK_NONE;
    DEMAND_SAME(code, 0);
    DEMAND(number_of(handle) < total);
    enum hold before = holders[number_of(handle)].hold;
    if (before == IN_TRANSIT || (before == HELD && !scene_is_dead(holders[number_of(handle)].thread)))
        schedule_fail("block %u is handed out, and %s", number_of(handle),
                      before == HELD ? "somebody living has it" : "it is in transit");
    hold(handle, HELD);
    return handle;
}

static void fill(void *place, unsigned sender, unsigned number)
{
    unsigned char content[CONTENT];
    message_fill(content, sender, number, CONTENT);
    memcpy(place, content, CONTENT);
}

/* Nobody has written into it since. */
static bool holds(const void *place, unsigned sender, unsigned number)
{
    unsigned char content[CONTENT];
    unsigned found_sender, found;
    memcpy(content, place, CONTENT);
    return message_is_whole(content, CONTENT, &found_sender, &found) && found_sender == sender && found == number;
}

static void give_back(struct ring_blocks *own, uint64_t handle)
{
    hold(handle, NOBODYS); /* before: it may be another's before the call returns */
    DEMAND_SAME(ring_block_free(own, handle), 0);
}

/* ---- Who send and who receive ---- */

static void send(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_blocks *own = &hands[schedule_self()];
    struct ring_spsc_producer *producer = &producers[index];
    void *place;
    if (index && !scene_is_dead(sender_threads[0]))
        return;
    DEMAND_SAME(ring_blocks_open(own, scene, "pool", RING_NO_WAIT), 0);
    DEMAND_SAME(ring_spsc_open_producer(producer, scene, "ring", RING_NO_WAIT), 0);
    while (ledger.next[0] < 2 * ROUNDS) {
        uint64_t handle = allocate(own, &place);
        if (handle == RING_BLOCK_NONE) {
            schedule_yield();
            continue;
        }
        unsigned number = ledger_begin(0, 1);
        struct parcel parcel = { handle, number };
        fill(place, 0, number);
        DEMAND_SAME(ring_block_pass(own, handle), 0);
        hold(handle, IN_TRANSIT);
        int code = ring_spsc_send(producer, &parcel, sizeof parcel, RING_NO_WAIT);
        DEMAND(code == 0 || code == -EPIPE || code == -EAGAIN);
        ledger_sent(0, number, 1, code == 0);
        if (code) {
            hold(handle, HELD); /* before: whoever dies in accepting it has it, or has not */
            DEMAND_SAME(ring_block_accept(own, handle, NULL, NULL), 0);
            give_back(own, handle);
            schedule_yield();
        }
    }
    DEMAND_SAME(ring_spsc_close_producer(producer), 0);
    DEMAND_SAME(ring_blocks_close(own), 0);
}

/* Peek, accept, release; then the block is read in place. -EAGAIN, -EPIPE: nothing there. */
static int receive_one(struct ring_blocks *own, struct ring_spsc_consumer *consumer)
{
    struct ring_message seen;
    struct parcel parcel;
    void *place = NULL;
    int code = ring_spsc_peek(consumer, &seen, RING_NO_WAIT);
    if (code)
        return code;
    DEMAND_SAME(seen.length, sizeof parcel);
    memcpy(&parcel, seen.data, sizeof parcel);
    DEMAND(parcel.number < NUMBERS && number_of(parcel.handle) < total && ledger.sent[0][parcel.number]);
    bool again = seen.flags & RING_REDELIVERED;
    bool fresh = !again || holders[number_of(parcel.handle)].hold == IN_TRANSIT;
    if (fresh)
        hold(parcel.handle, HELD);
    code = ring_block_accept(own, parcel.handle, &place, NULL);
    if (code != 0 && !(again && code == -ESTALE))
        schedule_fail("accepting block %u says %d", number_of(parcel.handle), code);
    ledger.taken[0][parcel.number] = 1; /* whoever dies in releasing it may have released it */
    DEMAND_SAME(ring_spsc_release(consumer, 1), 0);
    if (code)
        return 0; /* it was freed: who accepted it first has died since */
    hold(parcel.handle, HELD);
    DEMAND(holds(place, 0, (unsigned)parcel.number));
    give_back(own, parcel.handle);
    return 0;
}

static void receive(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    struct ring_blocks *own = &hands[schedule_self()];
    struct ring_spsc_consumer *consumer = &consumers[index];
    if (index && !scene_is_dead(receiver_threads[0]))
        return;
    DEMAND_SAME(ring_blocks_open(own, scene, "pool", RING_NO_WAIT), 0);
    DEMAND_SAME(ring_spsc_open_consumer(consumer, scene, "ring", RING_NO_WAIT), 0);
    for (;;) {
        int code = receive_one(own, consumer);
        if (code == -EPIPE && scene_is_over(sender_threads[1]))
            break;
        if (code)
            schedule_yield();
    }
    DEMAND_SAME(ring_spsc_close_consumer(consumer), 0);
    DEMAND_SAME(ring_blocks_close(own), 0);
}

/* ---- Who only allocate and free; the first of them lends ---- */

static void rove(void *argument)
{
    unsigned sender = 1 + (unsigned)(uintptr_t)argument;
    struct ring_blocks *own = &hands[schedule_self()];
    void *place;
    DEMAND_SAME(ring_blocks_open(own, scene, "pool", RING_NO_WAIT), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t handle = allocate(own, &place);
        if (handle == RING_BLOCK_NONE) {
            schedule_yield();
            continue;
        }
        fill(place, sender, round);
        if (sender == 1) /* the place of a message: release, so what the block holds comes with its handle */
            ring_atomic_store(lent, handle, memory_order_release);
        if (chance_below(2))
            schedule_yield();
        DEMAND(holds(place, sender, round));
        give_back(own, handle);
    }
    DEMAND_SAME(ring_blocks_close(own), 0);
}

/* What was read of a lent block is whole, if the block was not freed meanwhile. */
static void borrow(void *unused)
{
    struct ring_blocks *own = &hands[schedule_self()];
    (void)unused;
    DEMAND_SAME(ring_blocks_open(own, scene, "pool", RING_NO_WAIT), 0);
    for (unsigned round = 0; round < 2 * ROUNDS; round++) {
        uint64_t handle = ring_atomic_load(lent, memory_order_acquire);
        unsigned char content[CONTENT];
        unsigned sender, number;
        const void *place = NULL;
        if (handle == RING_BLOCK_NONE || ring_block_look(own, handle, &place, NULL) != 0) {
            schedule_yield();
            continue;
        }
        memcpy(content, place, CONTENT);
        if (ring_block_check(own, handle) == 0)
            DEMAND(message_is_whole(content, CONTENT, &sender, &number) && sender == 1);
    }
    DEMAND_SAME(ring_blocks_close(own), 0);
}

static void mend(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        DEMAND_SAME(ring_blocks_recover(scene, "pool", NULL), 0);
        schedule_yield();
    }
}

/* ---- The end ---- */

/* What is in the ring still is accepted; what nobody sent any more is found; then every block can be had, once. */
static void use_afterwards(void)
{
    struct ring_blocks *own = &hands[SEATS];
    uint64_t handles[BLOCKS + 1], found = 0;
    void *place;
    DEMAND_SAME(ring_blocks_open(own, scene, "pool", RING_NO_WAIT), 0);
    DEMAND_SAME(ring_spsc_open_consumer(&consumers[0], scene, "ring", RING_NO_WAIT), 0);
    while (receive_one(own, &consumers[0]) == 0)
        continue;
    DEMAND_SAME(ring_spsc_close_consumer(&consumers[0]), 0);
    ledger_end();
    DEMAND_SAME(ring_segment_recover_stranded(scene, "pool", &found), 0);
    memset(holders, 0, sizeof holders);
    for (unsigned i = 0; i < total; i++) {
        handles[i] = allocate(own, &place);
        if (handles[i] == RING_BLOCK_NONE)
            schedule_fail("%u of %u blocks are lost", total - i, total);
    }
    DEMAND_SAME(ring_block_allocate(own, 1, &handles[total], &place), -ENOSPC);
    for (unsigned i = 0; i < total; i++)
        give_back(own, handles[i]);
    DEMAND_SAME(ring_blocks_close(own), 0);
}

static bool sender_is_over(void *unused)
{
    (void)unused;
    return scene_is_over(sender_threads[0]);
}

static bool receiver_is_over(void *unused)
{
    (void)unused;
    return scene_is_over(receiver_threads[0]);
}

static void play(unsigned percent)
{
    unsigned rovers[ROVERS];
    cache = (unsigned)chance_below(3);
    total = KEEPERS * cache + 2 + (unsigned)chance_below(2); /* or those who keep some starve the others */
    memset(holders, 0, sizeof holders);
    memset((void *)hands, 0, sizeof hands);
    scene_begin(scene_seed, make);
    lent = (RING_ATOMIC(uint64_t) *)(void *)(scene->memory.address + scene->memory.bytes - RING_CACHE_LINE);
    sender_threads[0] = schedule_add("sender", send, (void *)0, NULL);
    receiver_threads[0] = schedule_add("receiver", receive, (void *)0, NULL);
    for (uintptr_t i = 0; i < ROVERS; i++) {
        rovers[i] = schedule_add(i ? "rover 2" : "rover", rove, (void *)i, NULL);
        scene_may_die(rovers[i], percent);
    }
    sender_threads[1] = schedule_add("sender 2", send, (void *)1, sender_is_over);
    receiver_threads[1] = schedule_add("receiver 2", receive, (void *)1, receiver_is_over);
    unsigned last = percent ? schedule_add("mender", mend, NULL, NULL) : schedule_add("borrower", borrow, NULL, NULL);
    scene_may_die(sender_threads[0], percent);
    scene_may_die(receiver_threads[0], percent);
    scene_may_die(last, percent);
    scene_run();
    use_afterwards();
    for (unsigned i = 0; i < SEATS; i++) /* their guards are kept for the next */
        if (scene_is_dead(i) && hands[i].guarded.tenures)
            ring_guard_close(&hands[i].guarded);
}

void blocks_lent(void)
{
    play(0);
}

void blocks_deaths(void)
{
    play(50);
}
