/* registry_flavours.c - what an empty section of each of liburcu's flavours costs, inlined, on one thread. */
#include "registry_flavours.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <urcu/static/urcu-bp.h>
#include <urcu/static/urcu-mb.h>
#include <urcu/static/urcu-memb.h>
#include <urcu/static/urcu-qsbr.h>
#include <urcu/urcu-bp.h>
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>

enum { SECTIONS = 2000000, ROUNDS = 5 };

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

#define MEASURE(name, begin, end)                                                                                      \
    static double measure_##name(void)                                                                                 \
    {                                                                                                                  \
        double start = now_ns();                                                                                       \
        for (uint64_t i = 0; i < SECTIONS; i++) {                                                                      \
            begin;                                                                                                     \
            atomic_signal_fence(memory_order_seq_cst);                                                                 \
            end;                                                                                                       \
        }                                                                                                              \
        return (now_ns() - start) / SECTIONS;                                                                          \
    }

MEASURE(none, (void)0, (void)0)
MEASURE(qsbr, _urcu_qsbr_read_lock(), _urcu_qsbr_read_unlock())
MEASURE(quiescent, (void)0, _urcu_qsbr_quiescent_state())
MEASURE(memb, _urcu_memb_read_lock(), _urcu_memb_read_unlock())
MEASURE(bp, _urcu_bp_read_lock(), _urcu_bp_read_unlock())
MEASURE(mb, _urcu_mb_read_lock(), _urcu_mb_read_unlock())

void flavours_print(void)
{
    static const struct {
        const char *name;
        double (*measure)(void);
    } flavours[] = {
        { "no section", measure_none },
        { "qsbr", measure_qsbr },
        { "qsbr, telling a quiescent state each time", measure_quiescent },
        { "memb", measure_memb },
        { "bp (the registry's)", measure_bp },
        { "mb (fences)", measure_mb },
    };
    urcu_qsbr_register_thread();
    urcu_memb_register_thread();
    urcu_mb_register_thread();
    printf("an empty section, ns, least of %d rounds\n", ROUNDS);
    for (unsigned i = 0; i < sizeof flavours / sizeof flavours[0]; i++) {
        double least = 1e9;
        for (unsigned round = 0; round < ROUNDS; round++) {
            double took = flavours[i].measure();
            least = took < least ? took : least;
        }
        printf("  %-44s %5.2f\n", flavours[i].name, least);
    }
    urcu_mb_unregister_thread();
    urcu_memb_unregister_thread();
    urcu_qsbr_unregister_thread();
}
