/* memory_object.c - level 3: making objects of every backing, and telling what stands against it. */
#include <ring/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <ring/error.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef F_SEAL_FUTURE_WRITE /* Linux 5.1 */
#define F_SEAL_FUTURE_WRITE 16
#endif
#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif
enum { HUGE_SHIFT = 26 }; /* of memfd_create(), mmap() and shmget() alike */

/* ---- Huge pages of the machine ---- */

static unsigned long long count_of(size_t page, const char *what)
{
    char path[128];
    unsigned long long count = 0;
    snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", page >> 10, what);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu", &count) != 1)
        count = 0;
    fclose(file);
    return count;
}

int ring_memory_no_huge(size_t bytes, size_t page)
{
    unsigned long long unpromised = count_of(page, "free_hugepages") - count_of(page, "resv_hugepages");
    if (unpromised < LLONG_MAX && unpromised >= bytes / page)
        return ring_error(-ENOMEM,
                          "needs %zu huge pages of %zu MiB, of which the machine has %llu to give: it is a limit that "
                          "refuses them, of the mount (size=, see 'df -t hugetlbfs') or of the control group "
                          "(hugetlb.%zuMB.max), or they are on other nodes than this process may use",
                          bytes / page, page >> 20, unpromised, page >> 20);
    return ring_error(-ENOMEM,
                      "needs %zu huge pages of %zu MiB; the machine has %llu, free are %llu (%llu of them promised to "
                      "others): root reserves them with 'echo N > "
                      "/sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages'",
                      bytes / page, page >> 20, count_of(page, "nr_hugepages"), count_of(page, "free_hugepages"),
                      count_of(page, "resv_hugepages"), page >> 10);
}

size_t ring_memory_huge_of(int fd)
{
    struct statfs system;
    if (fstatfs(fd, &system) != 0 || (unsigned long)system.f_type != HUGETLBFS_MAGIC)
        return 0;
    return (size_t)system.f_bsize;
}

bool ring_memory_hugetlbfs_at(unsigned index, char directory[256], size_t *page)
{
    FILE *mounts = setmntent("/proc/thread-self/mounts", "re");
    if (!mounts)
        return false;
    struct mntent entry;
    char buffer[2048];
    struct statfs system;
    bool found = false;
    while (!found && getmntent_r(mounts, &entry, buffer, sizeof buffer)) {
        if (strcmp(entry.mnt_type, "hugetlbfs") != 0 || strlen(entry.mnt_dir) >= 256 ||
            statfs(entry.mnt_dir, &system) != 0 || (unsigned long)system.f_type != HUGETLBFS_MAGIC || index-- > 0)
            continue;
        strcpy(directory, entry.mnt_dir);
        *page = (size_t)system.f_bsize;
        found = true;
    }
    endmntent(mounts);
    return found;
}

int ring_memory_no_hugetlbfs(size_t page, const char *wanted)
{
    return ring_error(-EOPNOTSUPP,
                      "no hugetlbfs with pages of %zu MiB is mounted%s%.100s: root mounts one with 'mkdir -p "
                      "%.100s && mount -t hugetlbfs -o pagesize=%zuM,mode=1777 none %.100s'",
                      page >> 20, wanted ? " at " : "", wanted ? wanted : "", wanted ? wanted : "/dev/hugepages",
                      page >> 20, wanted ? wanted : "/dev/hugepages");
}

/* ---- Files ---- */

/* Owner, group and mode, all set on purpose: a folder may give new files another group (setgid). */
static int give_rights(int fd, const struct ring_memory_rights *rights)
{
    struct stat file;
    gid_t group = rights->group != RING_MEMORY_KEEP ? rights->group : getegid();
    if (fstat(fd, &file) != 0)
        return ring_error(-errno, "cannot look at the new segment (%s)", strerror(errno));
    if ((rights->owner != RING_MEMORY_KEEP || group != file.st_gid) && fchown(fd, rights->owner, group) != 0)
        return ring_error(
            -errno,
            "cannot give the new segment to user %d, group %d (%s): root may, and an owner may give it to "
            "a group of his own",
            (int)rights->owner, (int)group, strerror(errno));
    if (fchmod(fd, (mode_t)rights->mode) != 0)
        return ring_error(-errno, "cannot give the new segment its mode %04o (%s)", rights->mode, strerror(errno));
    return 0;
}

/* A file that grows beyond the limit ends the process by SIGXFSZ. */
static int check_limit(size_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur)
        return 0;
    return ring_error(
        -EFBIG,
        "a segment of %zu KiB is larger than RLIMIT_FSIZE lets a file of this process be, %llu KiB: raise "
        "it with 'ulimit -f', or by LimitFSIZE= of the service",
        bytes >> 10, (unsigned long long)limit.rlim_cur >> 10);
}

/* Size, owner and mode of a new file; closes it when that fails. */
static int shape_file(struct ring_memory_object *object, int fd, size_t bytes, size_t page,
                      const struct ring_memory_rights *rights)
{
    int code = check_limit(bytes);
    if (!code && ftruncate(fd, (off_t)bytes) != 0)
        code = ring_error(-errno, "cannot give the new segment its size of %zu bytes (%s)", bytes, strerror(errno));
    if (!code)
        code = give_rights(fd, rights);
    if (code) {
        close(fd);
        return code;
    }
    *object = (struct ring_memory_object){ .kind = RING_MEMORY_FILE, .fd = fd, .page = page };
    return 0;
}

int ring_memory_file(struct ring_memory_object *object, const char *directory, size_t bytes, size_t page,
                     const struct ring_memory_rights *rights)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return ring_error(-errno, "cannot make a file in %s (%s): is a %s mounted there, and writable for this user?",
                          directory, strerror(errno), page ? "hugetlbfs" : "tmpfs");
    return shape_file(object, fd, bytes, page, rights);
}

int ring_memory_memfd(struct ring_memory_object *object, const char *label, size_t bytes, size_t page,
                      const struct ring_memory_rights *rights)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (page)
        flags |= MFD_HUGETLB | (unsigned)__builtin_ctzl(page) << HUGE_SHIFT;
    int fd = memfd_create(label, flags | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(label, flags);
    if (fd < 0 && page)
        return ring_error(-EOPNOTSUPP, "this kernel has no memfd with pages of %zu MiB (%s)", page >> 20,
                          strerror(errno));
    if (fd < 0)
        return ring_error(-errno, "cannot make a memfd (%s)", strerror(errno));
    return shape_file(object, fd, bytes, page, rights);
}

int ring_memory_seal(int fd, bool write)
{
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (write ? F_SEAL_FUTURE_WRITE : 0);
    if (fcntl(fd, F_ADD_SEALS, seals) == 0)
        return 0;
    return ring_error(-errno, "the kernel refused the seals 0x%x (%s): F_SEAL_FUTURE_WRITE takes Linux 5.1",
                      (unsigned)seals, strerror(errno));
}

int ring_memory_publish(int fd, const char *path)
{
    char self[40];
    snprintf(self, sizeof self, "/proc/thread-self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno == ENOENT && linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) /* no /proc: needs a capability */
        return 0;
    if (errno == EEXIST)
        return ring_error(-EEXIST, "%s exists already: attach to it, or remove it with 'ringctl rm'", path);
    return ring_error(-errno, "cannot give the new segment its name %s (%s): is /proc mounted?", path, strerror(errno));
}

/* ---- System V ---- */

/* Who has the key, and how to be rid of it. */
static int key_taken(int32_t key)
{
    struct shmid_ds there;
    int id = shmget((key_t)key, 0, 0);
    if (id < 0 || shmctl(id, IPC_STAT, &there) != 0)
        return ring_error(-EEXIST, "the System V key 0x%08x is taken: 'ipcs -m' shows by whom", (unsigned)key);
    return ring_error(-EEXIST,
                      "the System V key 0x%08x is taken by segment %d: %zu bytes, of user %u, made by pid %d, %lu "
                      "attached; 'ipcrm -m %d' removes it if nobody needs it",
                      (unsigned)key, id, (size_t)there.shm_segsz, (unsigned)there.shm_perm.uid, (int)there.shm_cpid,
                      (unsigned long)there.shm_nattch, id);
}

static int system_v_refused(int error, int32_t key, size_t bytes, size_t page)
{
    switch (error) {
    case EEXIST:
        return key_taken(key);
    case EPERM:
        return ring_error(-EPERM, "System V huge pages need CAP_IPC_LOCK, or a group that "
                                  "/proc/sys/vm/hugetlb_shm_group names");
    case ENOSPC:
        return ring_error(-ENOSPC, "no more System V memory: see kernel.shmmni and kernel.shmall in sysctl(8), 'ipcs "
                                   "-ml' and 'ringctl ls'");
    case EINVAL:
        return ring_error(page ? -EOPNOTSUPP : -EINVAL,
                          "a System V segment of %zu bytes was refused: see kernel.shmmax in sysctl(8)%s", bytes,
                          page ? "; or this machine has no huge pages of that size" : "");
    case ENOENT:
        return ring_error(-EOPNOTSUPP, "this machine has no huge pages of %zu MiB", page >> 20);
    case ENOMEM:
        if (page)
            return ring_memory_no_huge(bytes, page);
        return ring_error(-ENOMEM, "no memory for a System V segment of %zu bytes", bytes);
    default:
        return ring_error(-error, "the kernel refused a System V segment of %zu bytes (%s)", bytes, strerror(error));
    }
}

int ring_memory_system_v(struct ring_memory_object *object, int32_t key, size_t bytes, size_t page, bool later,
                         const struct ring_memory_rights *rights)
{
    int flags = IPC_CREAT | IPC_EXCL | (later ? SHM_NORESERVE : 0) | (int)rights->mode;
    if (page)
        flags |= SHM_HUGETLB | __builtin_ctzl(page) << HUGE_SHIFT;
    int id = shmget((key_t)key, bytes, flags);
    if (id < 0)
        return system_v_refused(errno, key, bytes, page);
    struct shmid_ds now;
    if (shmctl(id, IPC_STAT, &now) == 0) {
        now.shm_perm.mode = (unsigned short)rights->mode;
        if (rights->owner != RING_MEMORY_KEEP)
            now.shm_perm.uid = rights->owner;
        if (rights->group != RING_MEMORY_KEEP)
            now.shm_perm.gid = rights->group;
        if (shmctl(id, IPC_SET, &now) == 0) {
            object->kind = RING_MEMORY_SYSTEM_V;
            object->id = id;
            object->page = page;
            return 0;
        }
    }
    int code = -errno;
    shmctl(id, IPC_RMID, NULL);
    return ring_error(code, "cannot give the System V segment its owner and mode (%s)", strerror(-code));
}
