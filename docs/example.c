/* example.c - a word from one process to another. Run './example' in one terminal, './example hello' in another, in any
 * order. */
#include <ring/ring.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct ring_segment *segment;
    struct ring_spsc_producer producer;
    struct ring_spsc_consumer consumer;
    char text[256];
    ssize_t length;

    if (ring_segment_open(&segment, "/example", NULL)) /* creates or attaches, whoever comes first */
        return fprintf(stderr, "%s\n", ring_error_detail()), 1;
    ring_spsc_create(segment, "words", RING_SPSC_DEFAULT_BYTES); /* -EEXIST: the other side was first */
    if (argc > 1 && ring_spsc_open_producer(&producer, segment, "words", RING_NO_WAIT) == 0) {
        ring_spsc_send(&producer, argv[1], strlen(argv[1]), RING_FOREVER);
        ring_spsc_close_producer(&producer);
    } else if (argc == 1 && ring_spsc_open_consumer(&consumer, segment, "words", RING_NO_WAIT) == 0) {
        while ((length = ring_spsc_recv(&consumer, text, sizeof text, RING_FOREVER)) >= 0)
            printf("%.*s\n", (int)length, text);
        ring_spsc_close_consumer(&consumer); /* -EPIPE: the producer has closed, and everything is out */
        ring_segment_unlink("/example");
    }
    return ring_segment_close(&segment);
}
