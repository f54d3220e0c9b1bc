/* replay.c - a fuzz target without a fuzzer: runs the target on each input kept in the folders named, for
 * tests/coverage. A target that finds something wrong ends by abort(). */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* AddressSanitizer's, which is not here. */
void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);

void __asan_poison_memory_region(void const volatile *address, size_t size)
{
    (void)address;
    (void)size;
}

void __asan_unpoison_memory_region(void const volatile *address, size_t size)
{
    (void)address;
    (void)size;
}

static unsigned replay(const char *folder)
{
    static uint8_t input[1 << 16];
    unsigned count = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_type == DT_REG ? fopen(path, "re") : NULL;
        if (!file)
            continue;
        size_t size = fread(input, 1, sizeof input, file);
        fclose(file);
        LLVMFuzzerTestOneInput(input, size);
        count++;
    }
    if (directory)
        closedir(directory);
    return count;
}

int main(int count, char **folders)
{
    unsigned inputs = 0;
    for (int i = 1; i < count; i++)
        inputs += replay(folders[i]);
    printf("%u inputs\n", inputs);
    return inputs ? 0 : 1;
}
