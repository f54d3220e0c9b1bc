/* refusals_backings.c - memory of other backings that the system refuses: each is told with what would help, and
 * nothing is left of the attempt. */
#include "refuse.h"

static struct ring_segment_options options_of(unsigned backing, size_t page)
{
    struct ring_segment_options options = test_plain(1 << 20);
    options.backing = backing;
    options.page_bytes = page;
    return options;
}

static void demand_sentence(const struct ring_segment_options *options, enum test_call call, int refusal, int error,
                            const char *word)
{
    struct ring_segment *segment = (void *)1;
    unsigned descriptors = test_descriptors();
    test_refuse(call, 0, refusal, true);
    REQUIRE_REFUSED(ring_segment_create(&segment, test_name(), options), error);
    REQUIRE(test_refuse_nothing() > 0);
    if (!strstr(ring_error_detail(), word))
        test_failed(__FILE__, __LINE__, "no '%s' in: %s", word, ring_error_detail());
    REQUIRE(!segment);
    REQUIRE_SAME(test_descriptors(), descriptors);
    REQUIRE_SAME(test_names_left(), 0);
}

Test(refused_backings, system_v_memory_that_the_kernel_refuses_is_told_with_the_limit_that_stands_against_it)
{
    const struct ring_segment_options plain = options_of(RING_BACKING_SYSTEM_V, 0);
    const struct ring_segment_options huge = options_of(RING_BACKING_SYSTEM_V, 2 << 20);
    demand_sentence(&plain, CALL_SHMGET, ENOSPC, ENOSPC, "kernel.shmmni");
    demand_sentence(&plain, CALL_SHMGET, EINVAL, EINVAL, "kernel.shmmax");
    demand_sentence(&plain, CALL_SHMGET, ENOMEM, ENOMEM, "no memory");
    demand_sentence(&plain, CALL_SHMGET, ENOSYS, ENOSYS, "refused a System V segment");
    demand_sentence(&huge, CALL_SHMGET, EPERM, EPERM, "hugetlb_shm_group");
    demand_sentence(&huge, CALL_SHMGET, EINVAL, EOPNOTSUPP, "no huge pages of that size");
    demand_sentence(&huge, CALL_SHMGET, ENOENT, EOPNOTSUPP, "no huge pages of 2 MiB");
    demand_sentence(&huge, CALL_SHMGET, ENOMEM, ENOMEM, "huge pages of 2 MiB");
}

Test(refused_backings, a_memfd_that_the_kernel_refuses_is_told_and_an_old_kernel_is_asked_in_its_own_way)
{
    const struct ring_segment_options plain = options_of(RING_BACKING_MEMFD, 0);
    const struct ring_segment_options huge = options_of(RING_BACKING_MEMFD, 2 << 20);
    demand_sentence(&plain, CALL_MEMFD, EMFILE, EMFILE, "cannot make a memfd");
    demand_sentence(&huge, CALL_MEMFD, EINVAL, EOPNOTSUPP, "no memfd with pages of 2 MiB");
    struct ring_segment *segment;
    test_refuse(CALL_MEMFD, 0, EINVAL, false); /* before Linux 6.3 it knows no MFD_NOEXEC_SEAL */
    REQUIRE_OK(ring_segment_create(&segment, NULL, &plain));
    REQUIRE_SAME(test_refuse_nothing(), 1);
    REQUIRE_OK(ring_segment_close(&segment));
}

Test(refused_backings, an_owner_that_cannot_be_given_is_an_error_and_nobody_else_gets_it)
{
    struct ring_segment_options options = options_of(RING_BACKING_POSIX, 0);
    options.group = 12345;
    demand_sentence(&options, CALL_CHOWN, EPERM, EPERM, "root may");
    options.backing = RING_BACKING_MEMFD;
    demand_sentence(&options, CALL_CHOWN, EPERM, EPERM, "group 12345");
}
