/* look.c - ringctl ls and ringctl info: what is there, what was granted, who holds what.
 *
 * What is shown was partly written by others, who may be hostile or half-way through: the library validates sizes and
 * offsets, printable() cleans texts, and whatever vanishes between two looks is left out. */
#include "ringctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SHARED_MEMORY "/dev/shm"

static const char *owner_name(uid_t owner, char *buffer, size_t size)
{
    const struct passwd *entry = getpwuid(owner);
    if (entry)
        return printable(entry->pw_name, strlen(entry->pw_name), buffer, size);
    snprintf(buffer, size, "%u", (unsigned)owner);
    return buffer;
}

static const char *command_name(const char *command, size_t length, char *buffer, size_t size)
{
    return printable(command, length, buffer, size);
}

/* ---- ls ---- */

struct list {
    struct json json;
    bool as_json;
    unsigned lines;
};

struct kinds {
    unsigned count[RING_KIND_BROADCAST + 1];
};

static struct kinds count_kinds(const struct ring_segment *segment, unsigned places)
{
    struct kinds kinds = { { 0 } };
    for (unsigned at = 0; at < places; at++) {
        struct ring_entry_info entry;
        if (!ring_segment_entry(segment, at, &entry) && entry.kind <= RING_KIND_BROADCAST)
            kinds.count[entry.kind]++;
    }
    return kinds;
}

/* "2 spsc, 1 mpmc" */
static const char *kinds_text(const struct kinds *kinds, char *buffer, size_t size)
{
    size_t used = 0;
    snprintf(buffer, size, "-");
    for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_BROADCAST; kind++) {
        if (kinds->count[kind] && used < size)
            used += (size_t)snprintf(buffer + used, size - used, "%s%u %s", used ? ", " : "", kinds->count[kind],
                                     kind_word(kind));
    }
    return buffer;
}

static void list_segment(struct list *list, const struct ring_segment_info *info, const struct kinds *kinds)
{
    char name[300], bytes[32], page[32], owner[64], command[64], shown[302], rings[80];
    printable(info->name, sizeof info->name, name, sizeof name);
    snprintf(shown, sizeof shown, "/%s", name);
    owner_name(info->owner, owner, sizeof owner);
    command_name(info->creator_command, sizeof info->creator_command, command, sizeof command);
    if (list->as_json) {
        json_open(&list->json, NULL, '{');
        json_text(&list->json, "name", shown);
        json_number(&list->json, "bytes", info->bytes);
        json_number(&list->json, "rings", info->rings);
        for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_BROADCAST; kind++)
            json_number(&list->json, kind_word(kind), kinds->count[kind]);
        json_number(&list->json, "page_bytes", info->page_bytes);
        json_text(&list->json, "owner", owner);
        json_number(&list->json, "creator_pid", (uint64_t)info->creator_pid);
        json_text(&list->json, "creator_command", command);
        json_close(&list->json, '}');
        return;
    }
    if (!list->lines++)
        printf("%-24s %10s %-20s %8s %-10s %s\n", "SEGMENT", "SIZE", "RINGS", "PAGES", "OWNER", "CREATOR");
    printf("%-24s %10s %-20s %8s %-10s %s (pid %d)\n", shown, human_bytes(info->bytes, bytes, sizeof bytes),
           kinds_text(kinds, rings, sizeof rings), human_bytes(info->page_bytes, page, sizeof page), owner, command,
           (int)info->creator_pid);
}

/* Looks at one file: cheaply, without asking for pages or locks. Rubbish and what vanished meanwhile is passed over. */
static void consider(struct list *list, int directory, const char *name)
{
    struct stat status;
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_segment_info info = { .struct_size = sizeof info };
    options.flags = RING_ANY_OWNER | RING_READ_ONLY;
    if (strlen(name) > RING_SEGMENT_NAME_MAX || fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) ||
        !S_ISREG(status.st_mode) || status.st_size < (off_t)RING_SEGMENT_MIN_BYTES)
        return;
    int error = ring_segment_attach(&segment, name, &options, RING_NO_WAIT);
    if (error == -EUCLEAN || error == -EPROTONOSUPPORT) {
        char clean[300];
        complain_library(error, "passing over /%s", printable(name, strlen(name), clean, sizeof clean));
    }
    if (error)
        return;
    if (!ring_segment_info(segment, &info)) {
        const struct kinds kinds = count_kinds(segment, info.max_rings);
        list_segment(list, &info, &kinds);
    }
    ring_segment_close(&segment);
}

static int list_all(struct list *list)
{
    struct dirent **entries = NULL;
    int directory = open(SHARED_MEMORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = directory < 0 ? -1 : scandirat(directory, ".", &entries, NULL, alphasort);
    if (count < 0)
        return complain("cannot read %s: %s; is a tmpfs mounted there?", SHARED_MEMORY, strerror(errno));
    list->json.file = stdout;
    if (list->as_json)
        json_open(&list->json, NULL, '[');
    for (int at = 0; at < count; at++) {
        consider(list, directory, entries[at]->d_name);
        free(entries[at]);
    }
    free(entries);
    if (list->as_json)
        json_close(&list->json, ']');
    return finish_output(STATUS_DONE);
}

static error_t parse_ls(int key, char *argument, struct argp_state *state)
{
    struct list *list = state->input;
    switch (key) {
    case 'j':
        list->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is too much; 'ringctl info %s' shows one segment", argument, argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option json_option[] = {
    { "json", 'j', NULL, 0, "For programs", 0 },
    { 0 },
};

int command_ls(int argc, char **argv)
{
    static const struct argp argp = {
        .options = json_option,
        .parser = parse_ls,
        .doc = "List the segments in " SHARED_MEMORY " that may be read; other files there are passed over.",
    };
    struct list list = { .as_json = false };
    if (argp_parse(&argp, argc, argv, 0, NULL, &list))
        return STATUS_USAGE;
    return list_all(&list);
}

/* ---- info ---- */

static const char *node_word(int node, char *buffer, size_t size)
{
    if (node >= 0)
        snprintf(buffer, size, "%d", node);
    return node >= 0 ? buffer : node == RING_NODE_MIXED ? "mixed" : "unknown";
}

static void print_refusal(const char *what, int error, const char *advice)
{
    if (error)
        printf("  %-10s refused: %s (%s). %s\n", what, strerror(-error), error_name(error), advice);
}

static void print_segment(const struct ring_segment_info *info)
{
    char name[300], bytes[32], used[32], page[32], huge[32], locked[32], resident[32], node[16], owner[64], command[64];
    char when[64] = "?";
    struct tm calendar;
    time_t created = (time_t)(info->created_ns / 1000000000);
    if (localtime_r(&created, &calendar))
        strftime(when, sizeof when, "%F %T %z", &calendar);
    printf("segment /%s\n", printable(info->name, sizeof info->name, name, sizeof name));
    printf("  %-10s %s, %s of it used, %u of %u rings\n", "size", human_bytes(info->bytes, bytes, sizeof bytes),
           human_bytes(info->used_bytes, used, sizeof used), info->rings, info->max_rings);
    printf("  %-10s %s; %s in 2 MiB pages, %s locked, %s in memory\n", "pages",
           human_bytes(info->page_bytes, page, sizeof page), human_bytes(info->huge_bytes, huge, sizeof huge),
           human_bytes(info->locked_bytes, locked, sizeof locked),
           human_bytes(info->resident_bytes, resident, sizeof resident));
    print_refusal("2 MiB", info->huge_error, "They need Linux 6.1 or newer and free memory in one piece");
    print_refusal("locking", info->lock_error, "Raise the limit: 'ulimit -l', or LimitMEMLOCK= of the service");
    printf("  %-10s %s\n", "NUMA node", node_word(info->numa_node, node, sizeof node));
    printf("  %-10s %s, mode %04o\n", "owner", owner_name(info->owner, owner, sizeof owner), info->mode);
    printf("  %-10s %s (pid %d), %s, layout %u\n", "created by",
           command_name(info->creator_command, sizeof info->creator_command, command, sizeof command),
           (int)info->creator_pid, when, info->version);
}

static void json_refusal(struct json *json, const char *key, int error)
{
    if (error)
        json_text(json, key, error_name(error));
    else
        json_word(json, key, "null");
}

static void json_segment(struct json *json, const struct ring_segment_info *info)
{
    char name[300], shown[302], mode[16], node[16], text[64];
    snprintf(shown, sizeof shown, "/%s", printable(info->name, sizeof info->name, name, sizeof name));
    snprintf(mode, sizeof mode, "%04o", info->mode);
    json_text(json, "name", shown);
    json_number(json, "bytes", info->bytes);
    json_number(json, "used_bytes", info->used_bytes);
    json_number(json, "page_bytes", info->page_bytes);
    json_number(json, "huge_bytes", info->huge_bytes);
    json_number(json, "locked_bytes", info->locked_bytes);
    json_number(json, "resident_bytes", info->resident_bytes);
    if (info->numa_node >= 0)
        json_number(json, "numa_node", (uint64_t)info->numa_node);
    else
        json_text(json, "numa_node", node_word(info->numa_node, node, sizeof node));
    json_refusal(json, "huge_error", info->huge_error);
    json_refusal(json, "lock_error", info->lock_error);
    json_text(json, "mode", mode);
    json_number(json, "uid", info->owner);
    json_text(json, "owner", owner_name(info->owner, text, sizeof text));
    json_number(json, "ring_count", info->rings);
    json_number(json, "max_rings", info->max_rings);
    json_number(json, "version", info->version);
    json_number(json, "creator_pid", (uint64_t)info->creator_pid);
    json_text(json, "creator_command",
              command_name(info->creator_command, sizeof info->creator_command, text, sizeof text));
    json_number(json, "created_ns", info->created_ns);
}

struct look {
    const char *segment;
    unsigned flags;
    bool as_json;
};

/* Every ring of the directory. A damaged one is told and passed over. */
static int show_rings(const struct look *look, struct json *json, struct ring_segment *segment, unsigned places)
{
    int status = STATUS_DONE;
    for (unsigned at = 0; at < places; at++) {
        struct ring_entry_info entry;
        int error = ring_segment_entry(segment, at, &entry);
        if (error == -ENOENT)
            continue;
        if (!error)
            error = show_ring(segment, &entry, look->as_json ? json : NULL);
        if (error)
            status = complain_library(error, "ring number %u of %s cannot be shown", at, look->segment);
    }
    return status;
}

static int show(const struct look *look)
{
    struct json json = { .file = stdout };
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_segment_info info = { .struct_size = sizeof info };
    options.flags = look->flags;
    int error = ring_segment_attach(&segment, look->segment, &options, RING_NO_WAIT);
    if (error == -EACCES) { /* who may only read may look all the same */
        options.flags |= RING_READ_ONLY;
        error = ring_segment_attach(&segment, look->segment, &options, RING_NO_WAIT);
    }
    if (error)
        return complain_library(error, "cannot look at segment %s", look->segment);
    error = ring_segment_info(segment, &info);
    if (error) {
        ring_segment_close(&segment);
        return complain_library(error, "cannot look at segment %s", look->segment);
    }
    if (look->as_json) {
        json_open(&json, NULL, '{');
        json_segment(&json, &info);
        json_open(&json, "rings", '[');
    } else {
        print_segment(&info);
    }
    int status = show_rings(look, &json, segment, info.max_rings);
    if (look->as_json) {
        json_close(&json, ']');
        json_close(&json, '}');
    }
    ring_segment_close(&segment);
    return finish_output(status);
}

enum { KEY_NO_HUGE = 0x400, KEY_NO_LOCK };

static error_t parse_info(int key, char *argument, struct argp_state *state)
{
    struct look *look = state->input;
    switch (key) {
    case 'j':
        look->as_json = true;
        return 0;
    case KEY_NO_HUGE:
        look->flags &= ~(unsigned)RING_HUGE;
        return 0;
    case KEY_NO_LOCK:
        look->flags &= ~(unsigned)RING_LOCK;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "'%s' is too much: one SEGMENT", argument);
        look->segment = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which SEGMENT? 'ringctl ls' lists them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int command_info(int argc, char **argv)
{
    static const struct argp_option options[] = {
        { "json", 'j', NULL, 0, "For programs", 0 },
        { "no-huge", KEY_NO_HUGE, NULL, 0, "Do not ask for 2 MiB pages for this look", 0 },
        { "no-lock", KEY_NO_LOCK, NULL, 0, "Do not lock the memory for this look", 0 },
        { 0 },
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_info,
        .args_doc = "SEGMENT",
        .doc =
            "Show a segment: what the machine grants to a process that attaches to it now (pages, locking, node), and "
            "for each ring who takes part in it, where, and how far behind. Disturbs nobody.",
    };
    struct look look = { .flags = RING_HUGE | RING_LOCK | RING_ANY_OWNER };
    if (argp_parse(&argp, argc, argv, 0, NULL, &look))
        return STATUS_USAGE;
    return show(&look);
}
