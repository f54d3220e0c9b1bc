/* segment_refusal.c - attaching to what one did not make: damaged, truncated, foreign, or no segment at all. */
#include "harness.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>

enum { BYTES = 1 << 17 };

static char path[TEST_NAME];
static unsigned char pristine[BYTES];

/* A segment with one ring and a message in it, and nobody attached. */
static void make_segment(void)
{
    struct ring_segment *segment = test_create(BYTES);
    struct ring_spsc_producer producer;
    REQUIRE_OK(ring_spsc_create(segment, "ring", 4096));
    REQUIRE_OK(ring_spsc_open_producer(&producer, segment, "ring", 0));
    test_send(&producer, 100, 1);
    REQUIRE_OK(ring_spsc_close_producer(&producer));
    REQUIRE_OK(ring_segment_close(&segment));
    struct test_outside outside = test_outside_open(test_name());
    REQUIRE_SAME(outside.size, BYTES);
    memcpy(pristine, outside.bytes, BYTES);
    test_outside_close(&outside);
    test_path(path, test_name());
}

/* Writes a file of that name anew: the pristine segment with some bytes changed. */
static void write_file(size_t offset, const void *bytes, size_t length, size_t size)
{
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE_SAME(write(fd, pristine, BYTES), BYTES);
    REQUIRE_SAME(pwrite(fd, bytes, length, (off_t)offset), length);
    REQUIRE_SAME(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void refuse(int error)
{
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment = (void *)1;
    if (error)
        REQUIRE_REFUSED(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT), error);
    else
        REQUIRE_REFUSED_SOMEHOW(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    REQUIRE(!segment);
    segment = (void *)1;
    REQUIRE_REFUSED_SOMEHOW(ring_segment_open(&segment, test_name(), &options));
    REQUIRE(!segment);
}

/* Refused, or usable without harm. */
static bool attach_and_use(void)
{
    struct ring_segment_options options = test_plain(0);
    struct ring_segment *segment;
    test_mark_detail();
    int code = ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT);
    if (code) {
        test_check_refused(__FILE__, __LINE__, "attach", code, 0);
        return false;
    }
    struct ring_segment_info info = { .struct_size = sizeof info };
    ring_segment_info(segment, &info);
    struct ring_entry_info entry;
    for (unsigned i = 0; i < 70; i++)
        ring_segment_entry(segment, i, &entry);
    ring_segment_entry(segment, UINT32_MAX, &entry);
    struct ring_spsc_info ring = { .struct_size = sizeof ring };
    ring_spsc_info(segment, "ring", &ring);
    struct ring_spsc_consumer consumer;
    struct ring_spsc_producer producer;
    unsigned char message[4096];
    if (ring_spsc_open_consumer(&consumer, segment, "ring", 0) == 0) {
        for (int i = 0; i < 3; i++)
            REQUIRE(ring_spsc_recv(&consumer, message, sizeof message, 0) <= (ssize_t)sizeof message);
        ring_spsc_close_consumer(&consumer);
    }
    if (ring_spsc_open_producer(&producer, segment, "ring", 0) == 0) {
        for (int i = 0; i < 3; i++)
            ring_spsc_send(&producer, message, 500, 0);
        ring_spsc_close_producer(&producer);
    }
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "new%d", i);
        ring_spsc_create(segment, name, 4096);
    }
    REQUIRE_OK(ring_segment_close(&segment));
    return true;
}

Test(refusal, an_untouched_copy_of_a_segment_is_accepted)
{
    make_segment();
    write_file(0, pristine, 8, BYTES);
    REQUIRE(attach_and_use());
}

static void field_refused(size_t offset, uint64_t value, size_t length, int error)
{
    write_file(offset, &value, length, BYTES);
    refuse(error);
}

Test(refusal, each_constant_of_the_header_has_its_own_error)
{
    make_segment();
    const struct ring_layout_segment *header = (void *)pristine;
#define FIELD(name) offsetof(struct ring_layout_segment, name)
    field_refused(FIELD(magic), 0, 8, EPROTO);
    field_refused(FIELD(magic), RING_LAYOUT_MAGIC ^ 1, 8, EPROTO);
    field_refused(FIELD(version), 0, 4, EPROTONOSUPPORT);
    field_refused(FIELD(version), RING_LAYOUT_VERSION + 1, 4, EPROTONOSUPPORT);
    field_refused(FIELD(version), UINT32_MAX, 4, EPROTONOSUPPORT);
    field_refused(FIELD(byte_order), 0x04030201, 4, EPROTONOSUPPORT);
    field_refused(FIELD(needs), 2, 8, EPROTONOSUPPORT);
    field_refused(FIELD(needs), RING_NEEDS_RESERVE, 8, EUCLEAN); /* and none of it in memory */
    field_refused(FIELD(needs), UINT64_C(1) << 63, 8, EPROTONOSUPPORT);
    field_refused(FIELD(bytes), header->bytes + 4096, 8, EUCLEAN);
    field_refused(FIELD(bytes), header->bytes - 4096, 8, EUCLEAN);
    field_refused(FIELD(bytes), 0, 8, EUCLEAN);
    field_refused(FIELD(bytes), UINT64_MAX, 8, EUCLEAN);
    field_refused(FIELD(directory_offset), header->directory_offset + 8, 8, EUCLEAN);
    field_refused(FIELD(directory_offset), UINT64_MAX - 7, 8, EUCLEAN);
    field_refused(FIELD(directory_entries), 0, 4, EUCLEAN);
    field_refused(FIELD(directory_entries), UINT32_MAX, 4, EUCLEAN);
    field_refused(FIELD(directory_entry_bytes), 0, 4, EUCLEAN);
    field_refused(FIELD(directory_entry_bytes), 64, 4, EUCLEAN);
    field_refused(FIELD(arena_offset), 0, 8, EUCLEAN);
    field_refused(FIELD(arena_offset), header->bytes + 4096, 8, EUCLEAN);
    field_refused(FIELD(arena_offset), UINT64_MAX, 8, EUCLEAN);
}

Test(refusal, a_feature_that_may_be_ignored_does_not_prevent_attaching)
{
    make_segment();
    uint64_t offers = UINT64_MAX;
    write_file(FIELD(offers), &offers, 8, BYTES);
    REQUIRE(attach_and_use());
}

Test(refusal, a_segment_of_the_other_byte_order_is_called_that)
{
    make_segment();
    unsigned char swapped[16];
    for (int i = 0; i < 8; i++)
        swapped[i] = pristine[7 - i];
    for (int i = 0; i < 4; i++) {
        swapped[8 + i] = pristine[8 + 3 - i];
        swapped[12 + i] = pristine[12 + 3 - i];
    }
    write_file(0, swapped, sizeof swapped, BYTES);
    refuse(EPROTONOSUPPORT);
}

Test(refusal, rubbish_in_any_field_of_the_header_never_crashes)
{
    make_segment();
    struct test_random random = { 1 };
    for (size_t offset = 0; offset < 256; offset += 4)
        for (int choice = 0; choice < 24; choice++) {
            uint64_t values[] = { 0, 1, UINT64_MAX, UINT64_C(1) << test_below(&random, 64), test_random(&random),
                                  (UINT64_C(1) << test_below(&random, 64)) - 1, BYTES - 4096 * test_below(&random, 4),
                                  4096 * test_below(&random, 64) };
            write_file(offset, &values[choice % 8], offset % 8 || choice >= 8 ? 4 : 8, BYTES);
            attach_and_use();
        }
}

Test(refusal, rubbish_in_the_directory_and_in_the_control_page_never_crashes)
{
    make_segment();
    const struct ring_layout_segment *header = (void *)pristine;
    const struct ring_layout_entry *entry = (void *)(pristine + header->directory_offset);
    size_t starts[] = { header->directory_offset, header->directory_offset + sizeof *entry, ring_atomic_load(&entry->offset, memory_order_relaxed) };
    size_t lengths[] = { sizeof *entry, sizeof *entry, sizeof(struct ring_layout_spsc) + 512 };
    struct test_random random = { 2 };
    for (int part = 0; part < 3; part++)
        for (size_t offset = starts[part]; offset < starts[part] + lengths[part]; offset += 4)
            for (int choice = 0; choice < 10; choice++) {
                uint64_t values[] = { 0, 1, UINT64_MAX, UINT64_C(1) << test_below(&random, 64), test_random(&random),
                                      4096 * test_below(&random, 64) };
                write_file(offset, &values[choice % 6], offset % 8 || choice >= 6 ? 4 : 8, BYTES);
                attach_and_use();
            }
}

Test(refusal, many_bytes_of_rubbish_at_once_never_crash)
{
    make_segment();
    struct test_random random = { 3 };
    unsigned char kept[BYTES];
    memcpy(kept, pristine, BYTES);
    for (uint64_t round = 0; round < test_rounds(3000); round++) {
        uint64_t changes = 1 + test_below(&random, 8);
        for (uint64_t i = 0; i < changes; i++) {
            size_t at = test_below(&random, 2) ? 16 + test_below(&random, 240) : test_below(&random, BYTES);
            pristine[at] = (unsigned char)test_random(&random);
        }
        write_file(0, pristine, 8, BYTES);
        attach_and_use();
        memcpy(pristine, kept, BYTES);
    }
}

Test(refusal, a_file_of_another_size_than_its_header_says_is_refused)
{
    make_segment();
    static const size_t sizes[] = { 0, 1, 8, 127, 255, 256, 4095, 4096, 4097, BYTES - 4096, BYTES - 1, BYTES + 1,
                                    BYTES + 4096, 2 * BYTES };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_file(0, pristine, 8, sizes[i]);
        refuse(0);
    }
}

Test(refusal, files_that_were_never_segments_are_refused)
{
    make_segment();
    static unsigned char bytes[BYTES];
    for (int round = 0; round < 4; round++) {
        memset(bytes, round == 1 ? 0xff : 0, BYTES);
        if (round == 2)
            test_fill(bytes, BYTES, 1);
        if (round == 3)
            memset(bytes, 'a', BYTES);
        write_file(0, bytes, BYTES, BYTES);
        refuse(EPROTO);
    }
    write_file(0, bytes, 1, 0);
    refuse(EPROTO);
}

Test(refusal, what_is_no_regular_file_is_refused_without_waiting)
{
    make_segment();
    char other[TEST_NAME], other_path[TEST_NAME];
    test_path(other_path, test_name_of(other, 1));
    REQUIRE_SAME(rename(path, other_path), 0);
    REQUIRE_SAME(symlink(other_path, path), 0);
    refuse(ELOOP);
    REQUIRE_SAME(unlink(path), 0);
    REQUIRE_SAME(mkdir(path, 0700), 0);
    refuse(0);
    REQUIRE_SAME(rmdir(path), 0);
    REQUIRE_SAME(mkfifo(path, 0600), 0);
    refuse(0);
    REQUIRE_SAME(unlink(path), 0);
    REQUIRE_SAME(symlink("/dev/shm/shmring-test-nowhere", path), 0);
    refuse(ELOOP);
    REQUIRE_SAME(unlink(path), 0);
    if (geteuid() == 0 && mknod(path, S_IFCHR | 0600, 0x105) == 0) { /* /dev/zero */
        refuse(0);
        REQUIRE_SAME(unlink(path), 0);
    }
}

Test(refusal, a_file_with_a_second_name_is_refused)
{
    make_segment();
    char other[TEST_NAME], other_path[TEST_NAME];
    REQUIRE_SAME(link(path, test_path(other_path, test_name_of(other, 1))), 0);
    refuse(0);
    REQUIRE_SAME(unlink(other_path), 0);
    REQUIRE(attach_and_use());
}

Test(refusal, a_file_that_others_may_write_is_refused)
{
    make_segment();
    REQUIRE_SAME(chmod(path, 0602), 0);
    refuse(EPERM);
    REQUIRE_SAME(chmod(path, 0666), 0);
    refuse(EPERM);
    REQUIRE_SAME(chmod(path, 0600), 0);
    REQUIRE(attach_and_use());
}

Test(refusal, a_file_of_another_user_is_refused_unless_asked_for)
{
    if (geteuid() != 0)
        test_skip("only root can give a file to another user");
    make_segment();
    REQUIRE_SAME(chown(path, 65534, 65534), 0);
    refuse(EPERM);
    struct ring_segment_options options = test_plain(0);
    options.flags = RING_ANY_OWNER;
    struct ring_segment *segment;
    REQUIRE_OK(ring_segment_attach(&segment, test_name(), &options, RING_NO_WAIT));
    struct ring_segment_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_segment_info(segment, &info));
    REQUIRE_SAME(info.owner, 65534);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(refusal, attaching_again_and_again_to_bad_files_leaks_nothing)
{
    make_segment();
    uint64_t magic = 0;
    write_file(0, &magic, 8, BYTES);
    refuse(EPROTO);
    unsigned descriptors = test_descriptors(), mappings = test_mappings();
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t rubbish = test_mix(i);
        write_file(8 * (i % 16), &rubbish, 8, BYTES);
        attach_and_use();
    }
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE(test_mappings() <= mappings + 2);
}
