/* participants.h - two participants of equal rank (of a pool of blocks, of a heap) that come, call and go as the script
 * says. For targets that have the functions declared here, and FUZZ_DEMAND that while the peer is silent all is right.
 */
#ifndef FUZZ_PARTICIPANTS_H
#define FUZZ_PARTICIPANTS_H

#include "fuzz.h"

enum { PARTICIPANTS = 2 };

static bool opened[PARTICIPANTS];

static void begin(const uint8_t *data, size_t size); /* calls fuzz_set_up() and fuzz_begin() */
static int open_one(unsigned who);
static int close_one(unsigned who);
static void forget_all(unsigned owner);        /* who has just closed: what it had is gone */
static void use(unsigned who, uint64_t what);  /* a call of one that is open; what % 8 chooses */
static void mend(unsigned who, uint64_t what); /* recovering, looking; between fuzz_directory() */

static void enter(unsigned who)
{
    fuzz_directory(true);
    fuzz_attack(FUZZ_ROLE);
    opened[who] = open_one(who) == 0;
    fuzz_attack(0);
    fuzz_directory(false);
    FUZZ_DEMAND(!fuzz_clean() || opened[who]);
}

static void leave(unsigned who)
{
    if (!opened[who])
        return;
    fuzz_directory(true);
    fuzz_attack(FUZZ_ROLE);
    FUZZ_DEMAND(close_one(who) == 0);
    fuzz_attack(0);
    fuzz_directory(false);
    opened[who] = false;
    forget_all(who);
}

static void look_around(unsigned who, uint64_t what)
{
    fuzz_directory(true);
    mend(who, what);
    fuzz_directory(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin(data, size);
    for (uint64_t words = fuzz_byte() % 4; words; words--)
        fuzz_scribble();
    for (int calls = 0; fuzz_more() && calls < 200; calls++) {
        uint64_t what = fuzz_byte();
        unsigned who = what < 220 ? what / 8 % PARTICIPANTS : what % PARTICIPANTS;
        if (what < 220 && opened[who])
            use(who, what);
        else if (what < 220)
            enter(who);
        else if (what < 238)
            fuzz_scribble();
        else if (what < 241)
            fuzz_peer();
        else if (what < 249)
            look_around(who, what);
        else
            leave(who);
    }
    for (unsigned who = 0; who < PARTICIPANTS; who++)
        leave(who);
    return 0;
}

#endif
