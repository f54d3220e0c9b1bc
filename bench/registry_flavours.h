/* registry_flavours.h - what an empty section of each of liburcu's flavours costs. */
#ifndef BENCH_REGISTRY_FLAVOURS_H
#define BENCH_REGISTRY_FLAVOURS_H

void flavours_print(void);

#endif
