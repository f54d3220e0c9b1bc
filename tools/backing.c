/* backing.c - what memory a new segment is made of, whose it is, and when its name goes: arguments of create and send.
 * A wrong one ends the program with status 2. */
#include "ringctl.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

static const char *const backing_words[] = { "any", "posix", "hugetlbfs", "sysv", "memfd", "private", "given" };
static const char *const removal_words[] = { "hand", "creator", "last" };

const char *backing_word(unsigned backing)
{
    return backing < sizeof backing_words / sizeof *backing_words ? backing_words[backing] : "unknown";
}

const char *removal_word(unsigned removal)
{
    return removal < sizeof removal_words / sizeof *removal_words ? removal_words[removal] : "unknown";
}

/* Only backings with a name: a memfd and private memory would be gone with the program that makes them. */
static unsigned parse_backing(const struct argp_state *state, const char *word)
{
    for (unsigned backing = RING_BACKING_POSIX; backing <= RING_BACKING_SYSTEM_V; backing++)
        if (strcmp(word, backing_words[backing]) == 0)
            return backing;
    argp_error(state, "--backing %s: wanted posix, hugetlbfs or sysv; others have no name, and would end with ringctl",
               word);
    return RING_BACKING_ANY;
}

static unsigned parse_removal(const struct argp_state *state, const char *word)
{
    for (unsigned removal = RING_REMOVE_BY_HAND; removal <= RING_REMOVE_WITH_LAST; removal++)
        if (strcmp(word, removal_words[removal]) == 0)
            return removal;
    argp_error(state, "--removal %s: wanted hand, creator or last", word);
    return RING_REMOVE_BY_HAND;
}

static size_t parse_pages(const struct argp_state *state, const char *text)
{
    size_t bytes = parse_size(state, text, "--pages");
    if (bytes != (size_t)2 << 20 && bytes != (size_t)1 << 30)
        argp_error(state, "--pages %s: wanted 2M or 1G", text);
    return bytes;
}

static int32_t parse_key(const struct argp_state *state, const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno || end == text || *end || text[0] < '0' || text[0] > '9' || !value || value > UINT32_MAX)
        argp_error(state, "--key %s: wanted a number from 1 to 0xffffffff", text);
    return (int32_t)(uint32_t)value;
}

/* A number, or the name of a user or group. */
static unsigned parse_id(const struct argp_state *state, const char *text, bool group)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (!errno && end != text && !*end && text[0] >= '0' && text[0] <= '9' && value < UINT32_MAX)
        return (unsigned)value;
    const struct passwd *user = group ? NULL : getpwnam(text);
    const struct group *members = group ? getgrnam(text) : NULL;
    if (!user && !members)
        argp_error(state, "--%s %s: there is no such %s", group ? "group" : "owner", text, group ? "group" : "user");
    return user ? user->pw_uid : members ? members->gr_gid : 0;
}

enum { KEY_BACKING = 0x200, KEY_PAGES, KEY_KEY, KEY_PATH, KEY_REMOVAL, KEY_RECLAIM, KEY_OWNER, KEY_GROUP };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct ring_segment_options *options = state->input;
    switch (key) {
    case KEY_BACKING:
        options->backing = parse_backing(state, argument);
        return 0;
    case KEY_PAGES:
        options->page_bytes = parse_pages(state, argument);
        return 0;
    case KEY_KEY:
        options->key = parse_key(state, argument);
        return 0;
    case KEY_PATH:
        options->path = argument;
        return 0;
    case KEY_REMOVAL:
        options->removal = parse_removal(state, argument);
        return 0;
    case KEY_RECLAIM:
        options->flags |= RING_RECLAIM;
        return 0;
    case KEY_OWNER:
        options->owner = parse_id(state, argument, false);
        return 0;
    case KEY_GROUP:
        options->group = parse_id(state, argument, true);
        return 0;
    case ARGP_KEY_END:
        if (options->key && options->backing != RING_BACKING_SYSTEM_V)
            argp_error(state, "--key is for '--backing sysv'");
        if (options->path && options->backing != RING_BACKING_SYSTEM_V && options->backing != RING_BACKING_HUGETLBFS)
            argp_error(state, "--path is for '--backing hugetlbfs' (where it is mounted) and '--backing sysv' (a file "
                              "whose ftok() is the key)");
        if (options->page_bytes && options->backing <= RING_BACKING_POSIX)
            argp_error(state, "--pages is for '--backing hugetlbfs' and '--backing sysv'");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option table[] = {
    { "backing", KEY_BACKING, "posix|hugetlbfs|sysv", 0, "What a new segment's memory is (default posix)", 10 },
    { "pages", KEY_PAGES, "2M|1G", 0, "hugetlbfs, sysv: huge pages of this size (hugetlbfs: default 2M)", 10 },
    { "key", KEY_KEY, "N", 0, "sysv: its key (default: a random one)", 10 },
    { "path", KEY_PATH, "PATH", 0, "hugetlbfs: where it is mounted; sysv: a file whose ftok() is the key", 10 },
    { "removal", KEY_REMOVAL, "hand|creator|last", 0,
      "When a new segment's name goes: by 'ringctl rm' (default), with this program, or with the last process that has "
      "it open",
      10 },
    { "reclaim", KEY_RECLAIM, NULL, 0, "A segment that nobody living holds is removed and made anew", 10 },
    { "owner", KEY_OWNER, "USER", 0, "Owner of a new segment", 10 },
    { "group", KEY_GROUP, "GROUP", 0, "Group of a new segment", 10 },
    { 0 },
};

const struct argp backing_argp = { .options = table, .parser = parse };
