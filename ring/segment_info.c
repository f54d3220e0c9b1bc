/* segment_info.c - level 4: what was granted, what the segments of this machine are, and who we are. */
#include <ring/segment_private.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ring/error.h>

/* The struct's sizes before it grew: the offsets of its first new fields. */
#define OLD_INFO       offsetof(struct ring_segment_info, backing)
#define BEFORE_RESERVE offsetof(struct ring_segment_info, reserve_bytes)

void ring_segment_describe_self(char command[RING_LAYOUT_COMMAND], uint64_t *started)
{
    memset(command, 0, RING_LAYOUT_COMMAND);
    *started = 0;
    char line[512] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return;
    const char *open_bracket = fgets(line, sizeof line, file) ? strchr(line, '(') : NULL;
    const char *close_bracket = open_bracket ? strrchr(line, ')') : NULL; /* the command may hold brackets itself */
    fclose(file);
    if (!close_bracket)
        return;
    size_t length = (size_t)(close_bracket - open_bracket) - 1;
    memcpy(command, open_bracket + 1, length < RING_LAYOUT_COMMAND ? length : RING_LAYOUT_COMMAND - 1);
    unsigned long long ticks = 0;
    if (sscanf(close_bracket + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) == 1)
        *started = ticks;
}

static unsigned count_rings(const struct ring_segment *segment, uint64_t *used)
{
    const struct ring_layout_segment *first = &segment->constants;
    const struct ring_layout_entry *entries =
        (const struct ring_layout_entry *)(const void *)(segment->memory.address + first->directory_offset);
    unsigned count = 0;
    *used = first->arena_offset;
    for (unsigned i = 0; i < first->directory_entries; i++) {
        /* R0: acquire, pairs with R1. A picture: an entry may be freed and made again meanwhile. */
        if ((ring_atomic_load(&entries[i].word, memory_order_acquire) & RING_ENTRY_STATE) != RING_ENTRY_READY)
            continue;
        count++;
        *used += ring_atomic_load(&entries[i].bytes, memory_order_acquire); /* R4 */
    }
    if (*used > first->bytes)
        *used = first->bytes; /* only damage leads here */
    return count;
}

/* What only some backings have. */
static void ask_backing(const struct ring_segment *segment, struct ring_segment_info *info)
{
    info->system_v_id = -1;
    if (segment->constants.backing == RING_BACKING_MEMFD) {
        int seals = fcntl(segment->witness.fd, F_GET_SEALS);
        info->seals = seals < 0 ? 0 : (unsigned)seals;
    }
    struct shmid_ds now;
    if (segment->object.kind != RING_MEMORY_SYSTEM_V || shmctl(segment->object.id, IPC_STAT, &now) != 0)
        return;
    info->system_v_id = segment->object.id;
    info->system_v_key = (int32_t)now.shm_perm.__key;
    info->system_v_attached = now.shm_nattch;
    info->system_v_last_pid = now.shm_lpid;
    info->system_v_attached_ns = (uint64_t)now.shm_atime * 1000000000;
    info->system_v_detached_ns = (uint64_t)now.shm_dtime * 1000000000;
}

static bool is_held(const struct ring_segment *segment)
{
    struct ring_witness witness = segment->witness;
    return ring_claim_is_held(&witness, RING_LOCK_ATTACHED);
}

int ring_segment_info(const struct ring_segment *segment, struct ring_segment_info *info)
{
    int code = ring_segment_usable(segment);
    if (code)
        return code;
    if (!info ||
        (info->struct_size != sizeof *info && info->struct_size != BEFORE_RESERVE && info->struct_size != OLD_INFO))
        return ring_error(-EINVAL, "set info.struct_size to sizeof(struct ring_segment_info) first");
    struct ring_memory_facts facts;
    struct stat file;
    code = ring_memory_ask(&segment->memory, &facts);
    if (code)
        return code;
    if (fstat(segment->witness.fd, &file) != 0)
        return ring_error(-EBADF, "the segment's descriptor was closed by the program (%s)", strerror(errno));
    const struct ring_layout_segment *first = &segment->constants;
    struct ring_segment_info told = { .struct_size = info->struct_size,
                                      .bytes = first->bytes,
                                      .page_bytes = facts.page_bytes,
                                      .huge_bytes = facts.huge_bytes,
                                      .locked_bytes = facts.locked_bytes,
                                      .resident_bytes = facts.resident_bytes,
                                      .numa_node = facts.node,
                                      .huge_error = segment->memory.huge_error,
                                      .lock_error = segment->memory.lock_error,
                                      .numa_error = segment->memory.numa_error,
                                      .flags = segment->flags,
                                      .mode = file.st_mode & 07777,
                                      .owner = file.st_uid,
                                      .max_rings = first->directory_entries,
                                      .version = first->version,
                                      .creator_pid = first->creator_pid,
                                      .created_ns = first->created_ns,
                                      .backing = first->backing,
                                      .removal = first->removal,
                                      .group = file.st_gid,
                                      .reserve_bytes = segment->memory.bytes - segment->memory.backed };
    told.rings = count_rings(segment, &told.used_bytes);
    memcpy(told.name, segment->name, sizeof segment->name);
    memcpy(told.path, segment->witness.path, sizeof segment->witness.path);
    memcpy(told.creator_command, first->creator_command, sizeof told.creator_command - 1);
    told.held = is_held(segment);
    ask_backing(segment, &told);
    memcpy(info, &told, info->struct_size);
    return 0;
}

/* ---- All of them ---- */

struct visit {
    ring_segment_visitor *tell;
    void *context;
    int *ids; /* of System V segments that have a signpost */
    size_t count;
};

static void remember(struct visit *visit, int id)
{
    int *more = realloc(visit->ids, (visit->count + 1) * sizeof *more);
    if (!more)
        return; /* told twice, then */
    visit->ids = more;
    visit->ids[visit->count++] = id;
}

static void visit_file(struct visit *visit, int directory, const char *name, unsigned backing)
{
    struct ring_segment_found found = { .backing = backing, .system_v_id = -1 };
    union ring_segment_head head;
    struct stat file;
    if (strlen(name) > RING_SEGMENT_NAME_MAX || fstatat(directory, name, &file, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(file.st_mode)) /* a device or a FIFO is not even opened */
        return;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return;
    bool ours = pread(fd, &head, sizeof head, 0) == (ssize_t)sizeof head &&
                (head.magic == RING_LAYOUT_MAGIC || head.magic == RING_LAYOUT_MAGIC_FOREIGN ||
                 head.magic == RING_LAYOUT_SIGNPOST);
    close(fd);
    if (!ours)
        return;
    if (head.magic == RING_LAYOUT_SIGNPOST) {
        found.backing = RING_BACKING_SYSTEM_V;
        found.system_v_id = head.signpost.id;
        remember(visit, found.system_v_id);
    }
    snprintf(found.name, sizeof found.name, "%s", name);
    visit->tell(visit->context, &found);
}

static int visit_directory(struct visit *visit, const char *path, unsigned backing)
{
    struct dirent **entries = NULL;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = directory < 0 ? -1 : scandir(path, &entries, NULL, alphasort);
    int code = count < 0 ? ring_error(-errno, "cannot read %s (%s)", path, strerror(errno)) : 0;
    for (int at = 0; at < count; at++) {
        visit_file(visit, directory, entries[at]->d_name, backing);
        free(entries[at]);
    }
    free(entries);
    if (directory >= 0)
        close(directory);
    return code;
}

/* One line of /proc/sysvipc/shm: a segment of ours that no signpost stands for? */
static void visit_system_v(struct visit *visit, int id)
{
    struct ring_segment_found found = { .backing = RING_BACKING_SYSTEM_V, .system_v_id = id };
    for (size_t at = 0; at < visit->count; at++)
        if (visit->ids[at] == id)
            return;
    struct shmid_ds now;
    struct ring_layout_segment head;
    if (shmctl(id, IPC_STAT, &now) != 0 || now.shm_segsz < RING_SEGMENT_MIN_BYTES)
        return;
    if (ring_system_v_head(id, &head))
        visit->tell(visit->context, &found);
}

int ring_segment_each(ring_segment_visitor *tell, void *context)
{
    if (!tell)
        return ring_error(-EINVAL, "the function that is to be told of segments is NULL");
    struct visit visit = { .tell = tell, .context = context };
    int code = visit_directory(&visit, RING_MEMORY_DIRECTORY, RING_BACKING_POSIX);
    char directory[256];
    size_t page;
    for (unsigned index = 0; !code && ring_memory_hugetlbfs_at(index, directory, &page); index++)
        (void)visit_directory(&visit, directory, RING_BACKING_HUGETLBFS); /* one that may not be read is passed over */
    FILE *table = code ? NULL : fopen("/proc/sysvipc/shm", "re");
    char line[512];
    int id;
    while (table && fgets(line, sizeof line, table))
        if (sscanf(line, "%*d %d", &id) == 1)
            visit_system_v(&visit, id);
    if (table)
        fclose(table);
    free(visit.ids);
    return code;
}
