/* registry.h - what tests of the registry share. */
#ifndef TESTS_REGISTRY_H
#define TESTS_REGISTRY_H

#include "harness.h"

#include <ring/registry.h>

#include <pthread.h>

#if RING_THREAD_SANITIZER
/* liburcu is not built for ThreadSanitizer: what it does with memory of its own looks unordered. What it orders for us
 * is told in ring/registry_private.h. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:liburcu-bp.so\n";
}

/* The child of a fork has liburcu's thread again, which ThreadSanitizer would refuse. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

/* A ring of the test's segment under that name. */
static inline void test_register(const char *name, enum ring_registry_end end, const char *ring)
{
    struct ring_registry_options options = ring_registry_defaults(end, test_name(), ring);
    options.flags = 0;
    REQUIRE_OK(ring_registry_attach(name, &options, RING_NO_WAIT));
}

static inline struct ring_registry_name *test_open_name(const char *text)
{
    struct ring_registry_name *name;
    REQUIRE_OK(ring_registry_open(&name, text));
    return name;
}

static inline struct ring_registry_info test_registry_info(void)
{
    struct ring_registry_info info = { .struct_size = sizeof info };
    REQUIRE_OK(ring_registry_info(&info));
    return info;
}

/* A segment of the test's name with an MPMC ring "many", a broadcast ring "all" and an SPSC ring "one". */
static inline struct ring_segment *test_create_all(void)
{
    struct ring_segment *segment = test_create(2 << 20);
    REQUIRE_OK(ring_mpmc_create(segment, "many", 256, 64));
    REQUIRE_OK(ring_broadcast_create(segment, "all", 256, 64, RING_BROADCAST_OVERWRITE));
    REQUIRE_OK(ring_spsc_create(segment, "one", 16384));
    return segment;
}

#endif
