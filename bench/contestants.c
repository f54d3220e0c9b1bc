/* contestants.c - the list that every transport puts itself on before main() runs. */
#include <stdlib.h>
#include <strings.h>

#include "contestants.h"

static const struct transport *contestants_all[CONTESTANTS_MOST];
static size_t contestants_count;

/* Written by meson: label and package of those not found, alternating, NULL at the end. */
static const char *const contestants_left_out[] = { BENCH_LEFT_OUT NULL };

void transport_register(const struct transport *transport)
{
    if (contestants_count < CONTESTANTS_MOST)
        contestants_all[contestants_count++] = transport;
}

static int contestants_order(const void *left, const void *right)
{
    const struct transport *one = *(const struct transport *const *)left;
    const struct transport *other = *(const struct transport *const *)right;
    return one->rank != other->rank ? (one->rank < other->rank ? -1 : 1) : strcasecmp(one->name, other->name);
}

const struct transport *const *contestants(size_t *count)
{
    qsort(contestants_all, contestants_count, sizeof contestants_all[0], contestants_order);
    *count = contestants_count;
    return contestants_all;
}

bool contestant_left_out(size_t at, const char **label, const char **package)
{
    if (2 * at + 1 >= sizeof contestants_left_out / sizeof contestants_left_out[0])
        return false;
    *label = contestants_left_out[2 * at];
    *package = contestants_left_out[2 * at + 1];
    return true;
}

/* The entry at *list, without blanks around it; moves *list behind it. False: the list has ended. */
static bool contestants_next(const char **list, const char **entry, size_t *length)
{
    while (**list == ',' || **list == ' ')
        (*list)++;
    if (!**list)
        return false;
    *entry = *list;
    *length = strcspn(*list, ",");
    *list += *length;
    while (*length && (*entry)[*length - 1] == ' ')
        (*length)--;
    return true;
}

bool contestant_wanted(const char *name, const char *only)
{
    const char *entry;
    size_t length;
    if (!only)
        return true;
    while (contestants_next(&only, &entry, &length))
        if (length == strlen(name) && strncasecmp(name, entry, length) == 0)
            return true;
    return false;
}

bool contestant_unknown(const char *only, char *unknown, size_t size)
{
    const char *entry;
    size_t length;
    while (only && contestants_next(&only, &entry, &length)) {
        snprintf(unknown, size, "%.*s", (int)length, entry);
        bool known = false;
        for (size_t at = 0; at < contestants_count; at++)
            known |= contestant_wanted(contestants_all[at]->name, unknown);
        if (!known)
            return true;
    }
    return false;
}

static void contestants_print_one(const struct transport *transport, FILE *file)
{
    const struct transport_loops *loops = transport->loops;
    fprintf(file, "%-28s %s%s%s%s%s\n", transport->name, transport->abilities & TRANSPORT_PROCESSES ? "processes " : "",
            transport->abilities & TRANSPORT_THREADS ? "threads " : "", loops->produce_batch ? "batches " : "",
            loops->produce_in_place ? "in-place " : "", transport->abilities & TRANSPORT_BLOCKS ? "(sleeps)" : "");
    fprintf(file, "%-28s   %s%s%s\n", "", transport->about ? transport->about : "",
            transport->package ? "; Debian: " : "", transport->package ? transport->package : "");
}

void contestants_print(FILE *file)
{
    size_t count;
    const struct transport *const *all = contestants(&count);
    const char *label, *package;
    for (size_t at = 0; at < count; at++)
        contestants_print_one(all[at], file);
    for (size_t at = 0; contestant_left_out(at, &label, &package); at++)
        fprintf(file, "%-28s not built in: apt install %s, then build again\n", label, package);
}
