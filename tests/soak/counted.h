/* counted.h - stands in the library's place for its system calls (the linker's --wrap=syscall) and counts some of them. */
#ifndef SOAK_COUNTED_H
#define SOAK_COUNTED_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

static uint64_t counted;

/* Which, says whoever includes this. */
static bool is_counted(long number);

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long values[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) /* as libc's own: more than were given do no harm */
        values[i] = va_arg(arguments, long);
    va_end(arguments);
    counted += is_counted(number);
    return __real_syscall(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

#endif
