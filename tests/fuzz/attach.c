/* attach.c - fuzz target: attaching to a file of any size whose first page and directory hold anything, and opening and
 * looking at whatever rings it claims to have.
 *
 * The file begins as a sound segment with three rings, so that a few changed bytes lead far into the checks.
 */
#include "fuzz.h"

#include <ring/segment_private.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

const unsigned fuzz_role = FUZZ_ROLE;

enum { ENTRIES = 4, PAGES = 18 };

static char name[64], path[96];
static int file = -1;
static unsigned char *sound;
static size_t sound_bytes;

static void remove_file(void)
{
    unlink(path);
}

static void set_up(void)
{
    struct ring_segment *segment;
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_mpmc_options mpmc = ring_mpmc_defaults();
    options.rings = ENTRIES;
    options.flags = 0;
    options.bytes = sound_bytes = PAGES * 4096;
    snprintf(name, sizeof name, "shmring-fuzz-%d", (int)getpid());
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    mpmc.slots = 8;
    mpmc.seats = 4;
    FUZZ_DEMAND(ring_segment_create(&segment, name, &options) == 0);
    atexit(remove_file);
    FUZZ_DEMAND(ring_spsc_create(segment, "a", 4096) == 0);
    FUZZ_DEMAND(ring_mpmc_create_with(segment, "b", &mpmc) == 0);
    FUZZ_DEMAND(ring_broadcast_create(segment, "c", 8, 56, RING_BROADCAST_OVERWRITE) == 0);
    FUZZ_DEMAND(ring_segment_close(&segment) == 0);
    file = open(path, O_RDWR | O_CLOEXEC);
    sound = malloc(sound_bytes);
    FUZZ_DEMAND(sound && pread(file, sound, sound_bytes, 0) == (ssize_t)sound_bytes);
    fuzz_kernel_keep();
}

/* Patches of the script: where (2 bytes), how many bytes (1), what. Returns the size the file shall have. */
static size_t patch(unsigned char *image, const uint8_t *data, size_t size)
{
    size_t bytes = sound_bytes;
    if (size < 2)
        return bytes;
    if (data[0] & 1)
        bytes = (size_t)(data[1] % (PAGES + 2)) * 4096 + (data[0] & 2 ? data[0] : 0);
    data += 2;
    size -= 2;
    while (size > 3) {
        size_t at = (data[0] | (size_t)data[1] << 8) % sound_bytes, count = 1 + data[2] % 8;
        if (data[2] & 0x80) /* mostly where it matters */
            at %= 256;
        else if (data[2] & 0x40)
            at = 4096 + at % (ENTRIES * sizeof(struct ring_layout_entry));
        data += 3;
        size -= 3;
        count = count < size ? count : size;
        count = count < sound_bytes - at ? count : sound_bytes - at;
        memcpy(image + at, data, count);
        data += count;
        size -= count;
    }
    return bytes;
}

/* Opens everything by every name, uses it a little. */
static void use(struct ring_segment *segment, const char *ring)
{
    unsigned char buffer[4096];
    struct ring_spsc_producer spsc_producer;
    struct ring_spsc_consumer spsc_consumer;
    struct ring_mpmc_producer mpmc_producer;
    struct ring_mpmc_consumer mpmc_consumer;
    struct ring_broadcast_producer teller;
    struct ring_broadcast_consumer hearer, observer;
    memset(buffer, 1, sizeof buffer);
    if (ring_spsc_open_producer(&spsc_producer, segment, ring, 0) == 0) {
        ring_spsc_send(&spsc_producer, buffer, 40, 0);
        ring_spsc_close_producer(&spsc_producer);
    }
    if (ring_spsc_open_consumer(&spsc_consumer, segment, ring, 0) == 0) {
        ring_spsc_recv(&spsc_consumer, buffer, sizeof buffer, 0);
        ring_spsc_close_consumer(&spsc_consumer);
    }
    if (ring_mpmc_open_producer(&mpmc_producer, segment, ring, 0) == 0) {
        ring_mpmc_send(&mpmc_producer, buffer, 40, 0);
        ring_mpmc_close_producer(&mpmc_producer);
    }
    if (ring_mpmc_open_consumer(&mpmc_consumer, segment, ring, 0) == 0) {
        ring_mpmc_recv(&mpmc_consumer, buffer, sizeof buffer, 0);
        ring_mpmc_close_consumer(&mpmc_consumer);
    }
    if (ring_broadcast_open_producer(&teller, segment, ring, 0) == 0) {
        ring_broadcast_send(&teller, buffer, 40, 0);
        ring_broadcast_close_producer(&teller);
    }
    if (ring_broadcast_open_consumer(&hearer, segment, ring, RING_BROADCAST_OLDEST, 0, 0) == 0) {
        ring_broadcast_recv(&hearer, buffer, sizeof buffer, 0);
        ring_broadcast_close_consumer(&hearer);
    }
    if (ring_broadcast_open_observer(&observer, segment, ring, RING_BROADCAST_OLDEST, 0, 0) == 0) {
        ring_broadcast_recv(&observer, buffer, sizeof buffer, 0);
        ring_broadcast_close_consumer(&observer);
    }
}

/* It reads a long file of the kernel: now and then only. */
static void ask(struct ring_segment *segment)
{
    struct ring_segment_info info = { .struct_size = sizeof info };
    FUZZ_DEMAND(ring_segment_info(segment, &info) == 0);
    fuzz_read(info.name, strlen(info.name));
    fuzz_read(info.creator_command, strlen(info.creator_command));
    FUZZ_DEMAND(info.used_bytes <= info.bytes);
}

static void look_around(struct ring_segment *segment)
{
    struct ring_recovery report = { .struct_size = sizeof report };
    for (unsigned i = 0; i < 64; i++) {
        struct ring_entry_info entry;
        if (ring_segment_entry(segment, i, &entry) != 0)
            continue;
        FUZZ_DEMAND(strlen(entry.name) < RING_LAYOUT_NAME);
        FUZZ_DEMAND(entry.offset + entry.bytes <= segment->memory.bytes);
        use(segment, entry.name);
    }
    ring_segment_recover(segment, &report);
    ring_spsc_create(segment, "d", 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char *image;
    if (file < 0)
        set_up();
    if (!image)
        image = malloc(sound_bytes);
    fuzz_kernel_begin();
    fuzz_attack(0); /* counts steps from here */
    fuzz_kernel_peer(size > 1 && data[1] >= 200 ? data[1] % 32 : 0);
    memcpy(image, sound, sound_bytes);
    size_t bytes = patch(image, data, size);
    FUZZ_DEMAND(ftruncate(file, (off_t)bytes) == 0);
    size_t written = bytes < sound_bytes ? bytes : sound_bytes;
    FUZZ_DEMAND(pwrite(file, image, written, 0) == (ssize_t)written);
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    options.flags = size && (data[0] & 4) ? RING_READ_ONLY : 0;
    int code = ring_segment_attach(&segment, name, &options, RING_NO_WAIT);
    FUZZ_DEMAND((code == 0) == (segment != NULL) && (code == 0 || strlen(ring_error_detail()) > 10));
    if (code == 0) {
        if (size && data[0] / 8 == 0)
            ask(segment);
        look_around(segment);
        FUZZ_DEMAND(ring_segment_close(&segment) == 0);
    }
    return 0;
}
