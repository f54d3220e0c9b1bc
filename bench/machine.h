/* machine.h - what a result was measured on: everything a reader needs to judge it or repeat it. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <jansson.h>

/* The object "machine" of a result; NULL when memory runs out. */
json_t *machine_describe(const int *processors, size_t count);

/* One line for people. */
void machine_line(char *line, size_t size);

#endif
