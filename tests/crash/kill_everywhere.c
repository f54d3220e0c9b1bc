/* kill_everywhere.c - kill-everywhere: every public call, ended at every instruction (see crash.h, sweep.c). */
#include "crash.h"

static void describe(const struct outcome *all, char *text, size_t room)
{
    snprintf(text, room, "%8llu instructions, %6llu states, %6llu recoveries, %6llu killed, %5llu stopped",
             (unsigned long long)all->steps, (unsigned long long)all->states, (unsigned long long)all->recoveries,
             (unsigned long long)all->kills, (unsigned long long)all->pauses);
}

static bool wants(const struct row *row)
{
    return !(row->flags & CALLS_ONLY);
}

const struct program program = {
    .name = "kill-everywhere",
    .usage = "kill-everywhere [--only CALL] [--every N] [--list] [--help]\n"
             "Lets a victim go through each public call, instruction by instruction, and ends it at each; survivors\n"
             "recover, nothing published may be lost or torn, and the ring must go on.\n"
             "  --only CALL   calls whose name contains CALL, e.g. 'spsc recv'\n"
             "  --every N     SIGKILL a real victim at every Nth instruction (1: at each; takes long); else some 16\n"
             "                to 200 for each case. Each instruction is covered by its state in any case.\n"
             "  --list        the calls and their cases\n"
             "Takes a minute or two. Exit status: 0 all survived, 1 a failure, 2 wrong usage.\n",
    .wants = wants,
    .sweep = sweep,
    .describe = describe,
};
