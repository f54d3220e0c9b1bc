/* holder.c - for test-ringctl: holder SEGMENT RING takes a producer's seat of an MPMC ring, reserves a place and
 * stays there until it is killed: the one moment that ringctl itself never stays in. */
#include <stdio.h>
#include <unistd.h>

#include <ring/ring.h>

int main(int argc, char **argv)
{
    static struct ring_mpmc_producer producer;
    struct ring_segment *segment = NULL;
    struct ring_segment_options options = ring_segment_defaults();
    void *room;
    options.flags = 0;
    if (argc != 3)
        return 2;
    if (ring_segment_attach(&segment, argv[1], &options, RING_NO_WAIT) ||
        ring_mpmc_open_producer(&producer, segment, argv[2], RING_NO_WAIT) ||
        ring_mpmc_reserve(&producer, 1, &room, RING_NO_WAIT)) {
        fprintf(stderr, "holder: %s\n", ring_error_detail());
        return 1;
    }
    for (;;)
        pause();
}
