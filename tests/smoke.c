/* smoke.c - the shortest whole use of the library, without a test framework: a segment, a ring, two processes, 100000
 * messages of mixed sizes. Runs under emulators of other processors too. Exit 0: everything arrived as it was sent. */
#include <ring/ring.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGES = 100000, LONGEST = 1000 };

static const int64_t LIMIT = INT64_C(100000000000); /* only a hang lasts so long */

static void must(int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "%s: %d (%s): %s\n", what, result, strerror(-result), ring_error_detail());
    exit(1);
}

static size_t length_of(unsigned number)
{
    return number * 7919u % (LONGEST + 1);
}

static unsigned char byte_of(unsigned number, size_t at)
{
    return (unsigned char)(number * 31u + at);
}

static void produce(const char *name)
{
    struct ring_segment *segment;
    struct ring_spsc_producer producer;
    must(ring_segment_attach(&segment, name, NULL, LIMIT), "attach");
    must(ring_spsc_open_producer(&producer, segment, "numbers", LIMIT), "open producer");
    unsigned char message[LONGEST];
    for (unsigned number = 0; number < MESSAGES; number++) {
        size_t length = length_of(number);
        for (size_t at = 0; at < length; at++)
            message[at] = byte_of(number, at);
        must(ring_spsc_send(&producer, message, length, LIMIT), "send");
    }
    must(ring_spsc_close_producer(&producer), "close producer");
    must(ring_segment_close(&segment), "close segment");
}

static int consume(struct ring_spsc_consumer *consumer)
{
    unsigned char message[LONGEST];
    for (unsigned number = 0; number < MESSAGES; number++) {
        ssize_t length = ring_spsc_recv(consumer, message, sizeof message, LIMIT);
        if (length != (ssize_t)length_of(number)) {
            fprintf(stderr, "message %u: length %zd, not %zu\n", number, length, length_of(number));
            return 1;
        }
        for (size_t at = 0; at < (size_t)length; at++)
            if (message[at] != byte_of(number, at)) {
                fprintf(stderr, "message %u: wrong at byte %zu\n", number, at);
                return 1;
            }
    }
    ssize_t end = ring_spsc_recv(consumer, message, sizeof message, LIMIT);
    if (end == -EPIPE)
        return 0;
    fprintf(stderr, "after the last message: %zd, not -EPIPE\n", end);
    return 1;
}

int main(void)
{
    char name[64];
    snprintf(name, sizeof name, "shmring-smoke-%d", (int)getpid());
    struct ring_segment *segment;
    struct ring_spsc_consumer consumer;
    must(ring_segment_create(&segment, name, NULL), "create segment");
    pid_t child = fork();
    if (child == 0) {
        produce(name);
        _exit(0);
    }
    must(ring_spsc_create(segment, "numbers", 64 << 10), "create ring");
    must(ring_spsc_open_consumer(&consumer, segment, "numbers", RING_NO_WAIT), "open consumer");
    int wrong = child < 0 || consume(&consumer);
    int status = 0;
    if (child > 0 && (waitpid(child, &status, 0) != child || status != 0)) {
        fprintf(stderr, "the producer ended with status 0x%x\n", status);
        wrong = 1;
    }
    must(ring_spsc_close_consumer(&consumer), "close consumer");
    must(ring_segment_close(&segment), "close segment");
    must(ring_segment_unlink(name), "unlink");
    if (!wrong)
        puts("smoke: 100000 messages arrived");
    return wrong;
}
