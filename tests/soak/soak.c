/* soak.c - the soak: storms of processes over a ring, with an account of every message. See soak.h. */
#include "soak.h"

#include <getopt.h>
#include <sys/mman.h>

static const char usage[] =
    "soak [--seconds N] [--seed S] [--kind spsc|mpmc|broadcast|all] [--quiet]\n"
    "Producers, consumers and others come, go, are stopped and killed every few milliseconds; every message is\n"
    "accounted for. 'all' shares the seconds between the kinds, broadcast with both policies.\n"
    "  --seconds N  how long, default 60\n"
    "  --seed S     of what happens when, as far as that can be repeated; default: from the clock\n"
    "  --kind KIND  default mpmc: two producers and two consumers\n"
    "  --quiet      no progress line (nor is there one when the standard error is no terminal)\n"
    "Exit status: 0 every message is accounted for, 1 something is wrong, 2 wrong usage, 130 interrupted.\n";

static void interrupt(int signal)
{
    (void)signal;
    soak_interrupted = 1;
}

static void report(const char *name, const struct soak_plan *plan, const struct soak_sums *sums)
{
    printf("%-18s %lld s, seed %llu: %llu sent", name, (long long)(plan->nanoseconds / 1000000000),
           (unsigned long long)plan->seed, (unsigned long long)sums->sent);
    if (plan->kind == SOAK_BROADCAST)
        printf(" + %llu that producers had in hand when killed = %llu positions; three streams came to %llu = %llu\n"
               "    received + %llu told as lost",
               (unsigned long long)sums->in_hand_arrived, (unsigned long long)(sums->sent + sums->in_hand_arrived),
               (unsigned long long)(sums->received + sums->lost), (unsigned long long)sums->received,
               (unsigned long long)sums->lost);
    else
        printf(" + %llu that producers had in hand when killed = %llu received + %llu that consumers\n"
               "    had in hand when killed (%llu at most); %llu came flagged, %llu of them twice",
               (unsigned long long)sums->in_hand_arrived, (unsigned long long)sums->received,
               (unsigned long long)sums->unbooked, (unsigned long long)sums->allowed, (unsigned long long)sums->flagged,
               (unsigned long long)sums->duplicates);
    printf(
        "; none torn, none out of order\n    %llu killed, %llu stopped, %llu left; longest stall %.1f ms (by the clock "
        "%.1f), opening %.1f ms;\n    the supervisor itself once waited %.1f ms for a processor\n",
        (unsigned long long)sums->killed, (unsigned long long)sums->stopped, (unsigned long long)sums->left,
        (double)sums->longest_stall / 1e6, (double)sums->longest_stall_by_clock / 1e6, (double)sums->longest_open / 1e6,
        (double)sums->longest_gap / 1e6);
    fflush(stdout);
}

/* Does what was sent add up to what was received? */
static bool adds_up(const struct soak_plan *plan, const struct soak_sums *sums)
{
    uint64_t sent = sums->sent + sums->in_hand_arrived;
    uint64_t took = sums->received + (plan->kind == SOAK_BROADCAST ? sums->lost : sums->unbooked);
    return sent > 0 && took == sent * (plan->kind == SOAK_BROADCAST ? 3 : 1);
}

static int soak(const char *name, struct soak_plan *plan)
{
    struct soak_sums sums = { 0 };
    int code = soak_storm(plan, &sums);
    if (code == 130)
        return code;
    if (code == 0 && !adds_up(plan, &sums)) {
        snprintf(soak_ledger->said, sizeof soak_ledger->said, "the sums do not agree");
        code = 1;
    }
    if (code)
        printf("%s: FAILED with seed %llu in round %llu: %s\n", name, (unsigned long long)plan->seed,
               (unsigned long long)sums.rounds, soak_ledger->said);
    else
        report(name, plan, &sums);
    return code;
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 0);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

int main(int count, char **words)
{
    static const struct option options[] = {
        { "seconds", required_argument, NULL, 's' }, { "seed", required_argument, NULL, 'r' },
        { "kind", required_argument, NULL, 'k' },    { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },          { NULL, 0, NULL, 0 }
    };
    static const char *const names[] = { "spsc", "mpmc", "broadcast overwrite", "broadcast lossless" };
    uint64_t seconds = 60, seed = (uint64_t)soak_now() % 1000000;
    bool wanted[4] = { false, true, false, false }, quiet = !isatty(2);
    for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
        bool good = true;
        if (option == 's')
            good = parse_number(optarg, &seconds) && seconds > 0 && seconds <= 1000000;
        else if (option == 'r')
            good = parse_number(optarg, &seed);
        else if (option == 'k') {
            bool all = strcmp(optarg, "all") == 0;
            for (int i = 0; i < 4; i++)
                wanted[i] = all || strcmp(optarg, i < 2 ? names[i] : "broadcast") == 0;
            good = wanted[0] || wanted[1] || wanted[2];
        } else if (option == 'q')
            quiet = true;
        else if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        } else
            good = false;
        if (!good) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind != count) {
        fputs(usage, stderr);
        return 2;
    }
    soak_ledger = mmap(NULL, sizeof *soak_ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (soak_ledger == MAP_FAILED) {
        fprintf(stderr, "soak: no memory for the ledger\n");
        return 1;
    }
    struct sigaction action = { .sa_handler = interrupt };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    soak_remove_old();
    int code = 0;
    unsigned kinds = (unsigned)wanted[0] + wanted[1] + wanted[2] + wanted[3];
    for (int i = 0; i < 4 && code == 0; i++)
        if (wanted[i]) {
            struct soak_plan plan = { .kind = i < 2 ? (enum soak_kind)i : SOAK_BROADCAST,
                                      .policy = i == 3 ? RING_BROADCAST_LOSSLESS : RING_BROADCAST_OVERWRITE,
                                      .nanoseconds = (int64_t)(seconds * 1000000000 / kinds),
                                      .seed = seed,
                                      .quiet = quiet };
            code = soak(names[i], &plan);
        }
    return code;
}
