/* progress.h - one line on standard error, rewritten in place, when that is a terminal; else nothing at all. */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include <stddef.h>

void progress_begin(size_t steps);
void progress_step(const char *format, ...) __attribute__((format(printf, 1, 2)));
void progress_skip(size_t steps); /* these will not come: the bar gets there sooner */
void progress_hide(void);         /* before a message on standard error, and at the end */

#endif
