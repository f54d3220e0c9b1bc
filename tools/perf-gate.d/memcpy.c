/* memcpy.c - for counting instructions: a memcpy that costs the same everywhere.
 *
 * libc has a dozen and chooses by processor, so a count made with it would belong to one machine. This one replaces it
 * in `calls` only; copies that the compiler makes into a few moves are not touched. The empty
 * assembly keeps compilers from finding out what the loops are, and making calls of memcpy of them.
 */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *restrict to, const void *restrict from, size_t length);

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    for (; length >= sizeof(word); length -= sizeof(word), out += sizeof(word), in += sizeof(word)) {
        __asm__ __volatile__("" : : : "memory");
        *(word *)(void *)out = *(const word *)(const void *)in;
    }
    for (; length; length--) {
        __asm__ __volatile__("" : : : "memory");
        *out++ = *in++;
    }
    return to;
}
