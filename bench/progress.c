/* progress.c - the bar. Written between cells only: it takes nothing from what is measured. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"

#define PROGRESS_WIDTH 24

static bool progress_visible;
static size_t progress_steps, progress_done;

void progress_begin(size_t steps)
{
    progress_visible = isatty(STDERR_FILENO);
    progress_steps = steps;
    progress_done = 0;
}

void progress_step(const char *format, ...)
{
    if (progress_visible && progress_steps) {
        char what[80], bar[PROGRESS_WIDTH + 1];
        size_t full = progress_done * PROGRESS_WIDTH / progress_steps;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(what, sizeof what, format, arguments);
        va_end(arguments);
        memset(bar, '.', PROGRESS_WIDTH);
        memset(bar, '#', full < PROGRESS_WIDTH ? full : PROGRESS_WIDTH);
        bar[PROGRESS_WIDTH] = '\0';
        fprintf(stderr, "\r\033[K[%s] %3zu %% %.50s", bar, progress_done * 100 / progress_steps, what);
        fflush(stderr);
    }
    if (progress_done < progress_steps)
        progress_done++;
}

void progress_skip(size_t steps)
{
    progress_steps -= steps < progress_steps - progress_done ? steps : progress_steps - progress_done;
}

void progress_hide(void)
{
    if (progress_visible)
        fprintf(stderr, "\r\033[K");
}
