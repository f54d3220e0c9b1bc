/* error.c - level 1: one sentence per thread. */
#include <ring/error.h>

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char detail[512];

const char *ring_error_detail(void)
{
    return detail;
}

int ring_error(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    return code;
}
