/* look.c - ringctl ls and ringctl info: what is there, what was granted, who holds what.
 *
 * What is shown was partly written by others, who may be hostile or half-way through: the library validates sizes and
 * offsets, printable() cleans texts, and whatever vanishes between two looks is left out. */
#include "ringctl.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <time.h>

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
    unsigned count[RING_KIND_HEAP + 1];
};

static struct kinds count_kinds(const struct ring_segment *segment, unsigned places)
{
    struct kinds kinds = { { 0 } };
    for (unsigned at = 0; at < places; at++) {
        struct ring_entry_info entry;
        if (!ring_segment_entry(segment, at, &entry) && entry.kind <= RING_KIND_HEAP)
            kinds.count[entry.kind]++;
    }
    return kinds;
}

/* "2 spsc, 1 mpmc" */
static const char *kinds_text(const struct kinds *kinds, char *buffer, size_t size)
{
    size_t used = 0;
    snprintf(buffer, size, "-");
    for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++) {
        if (kinds->count[kind] && used < size)
            used += (size_t)snprintf(buffer + used, size - used, "%s%u %s", used ? ", " : "", kinds->count[kind],
                                     kind_word(kind));
    }
    return buffer;
}

static void list_segment(struct list *list, const struct ring_segment_info *info, const struct kinds *kinds)
{
    char name[300], bytes[32], page[32], owner[64], command[64], shown[302], rings[80], creator[96];
    printable(info->name, sizeof info->name, name, sizeof name);
    snprintf(shown, sizeof shown, "/%s", name);
    owner_name(info->owner, owner, sizeof owner);
    command_name(info->creator_command, sizeof info->creator_command, command, sizeof command);
    if (list->as_json) {
        json_open(&list->json, NULL, '{');
        json_text(&list->json, "name", shown);
        json_number(&list->json, "bytes", info->bytes);
        json_number(&list->json, "rings", info->rings);
        for (unsigned kind = RING_KIND_SPSC; kind <= RING_KIND_HEAP; kind++)
            json_number(&list->json, kind_word(kind), kinds->count[kind]);
        json_number(&list->json, "page_bytes", info->page_bytes);
        json_text(&list->json, "backing", backing_word(info->backing));
        json_text(&list->json, "removal", removal_word(info->removal));
        json_word(&list->json, "held", info->held ? "true" : "false");
        json_text(&list->json, "owner", owner);
        json_number(&list->json, "creator_pid", (uint64_t)info->creator_pid);
        json_text(&list->json, "creator_command", command);
        json_close(&list->json, '}');
        return;
    }
    if (!list->lines++)
        printf("%-24s %10s %8s %-9s %-4s %-10s %-29s %s\n", "SEGMENT", "SIZE", "PAGES", "BACKING", "HELD", "OWNER",
               "CREATOR", "RINGS");
    snprintf(creator, sizeof creator, "%s (pid %d)", command, (int)info->creator_pid);
    printf("%-24s %10s %8s %-9s %-4s %-10s %-29s %s\n", shown, human_bytes(info->bytes, bytes, sizeof bytes),
           human_bytes(info->page_bytes, page, sizeof page), backing_word(info->backing), info->held ? "yes" : "no",
           owner, creator, kinds_text(kinds, rings, sizeof rings));
}

/* System V memory of ours whose file, with its name and locks, somebody has removed. */
static void list_nameless(struct list *list, int id)
{
    if (!list->as_json) {
        remark(
            "System V segment %d is of shmring, but has no name: its file in /dev/shm is gone; 'ipcrm -m %d' removes "
            "it if nobody needs it",
            id, id);
        return;
    }
    json_open(&list->json, NULL, '{');
    json_word(&list->json, "name", "null");
    json_text(&list->json, "backing", backing_word(RING_BACKING_SYSTEM_V));
    json_number(&list->json, "system_v_id", (uint64_t)id);
    json_close(&list->json, '}');
}

/* Looks at one: cheaply, without asking for pages or locks. What cannot be attached, or vanished, is passed over. */
static void consider(void *context, const struct ring_segment_found *found)
{
    struct list *list = context;
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_segment_info info = { .struct_size = sizeof info };
    options.flags = RING_ANY_OWNER | RING_READ_ONLY;
    options.backing = found->backing;
    if (!found->name[0]) {
        list_nameless(list, found->system_v_id);
        return;
    }
    int error = ring_segment_attach(&segment, found->name, &options, RING_NO_WAIT);
    if (error == -EUCLEAN || error == -EPROTONOSUPPORT) {
        char clean[300];
        complain_library(error, "passing over /%s", printable(found->name, strlen(found->name), clean, sizeof clean));
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
    list->json.file = stdout;
    if (list->as_json)
        json_open(&list->json, NULL, '[');
    int error = ring_segment_each(consider, list);
    if (list->as_json)
        json_close(&list->json, ']');
    return finish_output(error ? complain_library(error, "cannot list segments") : STATUS_DONE);
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
        .doc = "List the segments that may be read: in /dev/shm, in each hugetlbfs, and System V segments; whatever "
               "else is "
               "there is passed over. HELD tells whether anybody living has it open for writing.",
    };
    struct list list = { .as_json = false };
    if (argp_parse(&argp, argc, argv, 0, NULL, &list))
        return STATUS_USAGE;
    return list_all(&list);
}

/* ---- info ---- */

#define HUGE_PAGE ((uint64_t)2 << 20)

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

static const char *backing_text(unsigned backing)
{
    switch (backing) {
    case RING_BACKING_POSIX:
        return "POSIX shared memory";
    case RING_BACKING_HUGETLBFS:
        return "hugetlbfs";
    case RING_BACKING_SYSTEM_V:
        return "System V shared memory";
    default:
        return "unknown";
    }
}

static const char *removal_text(unsigned removal)
{
    switch (removal) {
    case RING_REMOVE_WITH_CREATOR:
        return "goes when its creator closes it";
    case RING_REMOVE_WITH_LAST:
        return "goes with the last who has it open";
    default:
        return "goes by 'ringctl rm'";
    }
}

static void print_backing(const struct ring_segment_info *info)
{
    char path[600];
    printf("  %-10s %s, %s, %s\n", "backing", backing_text(info->backing),
           printable(info->path, sizeof info->path, path, sizeof path), removal_text(info->removal));
    if (info->system_v_id >= 0)
        printf("  %-10s id %d, key 0x%08x, %" PRIu64 " attached, last pid %d\n", "System V", info->system_v_id,
               (unsigned)info->system_v_key, info->system_v_attached, (int)info->system_v_last_pid);
    printf("  %-10s %s\n", "held", info->held ? "by somebody living" : "by nobody living");
}

static void json_backing(struct json *json, const struct ring_segment_info *info)
{
    char path[600];
    json_text(json, "backing", backing_word(info->backing));
    json_text(json, "path", printable(info->path, sizeof info->path, path, sizeof path));
    json_text(json, "removal", removal_word(info->removal));
    json_word(json, "held", info->held ? "true" : "false");
    if (info->system_v_id < 0) {
        json_word(json, "system_v", "null");
        return;
    }
    json_open(json, "system_v", '{');
    json_number(json, "id", (uint64_t)info->system_v_id);
    json_number(json, "key", (uint32_t)info->system_v_key);
    json_number(json, "attached", info->system_v_attached);
    json_number(json, "last_pid", (uint64_t)info->system_v_last_pid);
    json_number(json, "attached_ns", info->system_v_attached_ns);
    json_number(json, "detached_ns", info->system_v_detached_ns);
    json_close(json, '}');
}

static void print_segment(const struct ring_segment_info *info)
{
    char name[300], bytes[32], used[32], page[32], huge[32], locked[32], resident[32], owner[64], command[64];
    char reserve[32], when[64] = "?";
    struct tm calendar;
    time_t created = (time_t)(info->created_ns / 1000000000);
    if (localtime_r(&created, &calendar))
        strftime(when, sizeof when, "%F %T %z", &calendar);
    printf("segment /%s\n", printable(info->name, sizeof info->name, name, sizeof name));
    printf("  %-10s %s, %s of it used, %u of %u rings\n", "size", human_bytes(info->bytes, bytes, sizeof bytes),
           human_bytes(info->used_bytes, used, sizeof used), info->rings, info->max_rings);
    if (info->reserve_bytes)
        printf("  %-10s %s of it, in memory only where rings lie\n", "reserve",
               human_bytes(info->reserve_bytes, reserve, sizeof reserve));
    printf("  %-10s %s; %s in %s pages, %s locked, %s in memory\n", "pages",
           human_bytes(info->page_bytes, page, sizeof page), human_bytes(info->huge_bytes, huge, sizeof huge),
           info->page_bytes > HUGE_PAGE ? "huge" : "2 MiB", human_bytes(info->locked_bytes, locked, sizeof locked),
           human_bytes(info->resident_bytes, resident, sizeof resident));
    print_refusal("2 MiB", info->huge_error, "They need Linux 6.1 or newer and free memory in one piece");
    print_refusal("locking", info->lock_error, "Raise the limit: 'ulimit -l', or LimitMEMLOCK= of the service");
    print_backing(info);
    printf("  %-10s %s, group %u, mode %04o\n", "owner", owner_name(info->owner, owner, sizeof owner),
           (unsigned)info->group, info->mode);
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
    json_number(json, "reserve_bytes", info->reserve_bytes);
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
    json_backing(json, info);
    json_text(json, "mode", mode);
    json_number(json, "uid", info->owner);
    json_number(json, "gid", info->group);
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
        show_pages(segment, NULL, &json);
        json_open(&json, "rings", '[');
    } else {
        print_segment(&info);
        show_pages(segment, NULL, NULL);
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
    struct look look = { .flags = RING_HUGE | RING_LOCK | RING_ANY_OWNER | RING_READ_ONLY };
    if (argp_parse(&argp, argc, argv, 0, NULL, &look))
        return STATUS_USAGE;
    return show(&look);
}
