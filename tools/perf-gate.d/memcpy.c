/* memcpy.c - for counting instructions: a memcpy that costs the same everywhere.
 *
 * libc has a dozen and chooses by processor, so a count made with it would belong to one machine. This one replaces it
 * in `calls` only; copies that the compiler makes into a few moves are not touched. Compiled with
 * -fno-tree-loop-distribute-patterns, or the loops below would become calls of memcpy.
 */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *restrict to, const void *restrict from, size_t length);

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    for (; length >= sizeof(word); length -= sizeof(word), out += sizeof(word), in += sizeof(word))
        *(word *)(void *)out = *(const word *)(const void *)in;
    for (; length; length--)
        *out++ = *in++;
    return to;
}
