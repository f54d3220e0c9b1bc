/* example_blocks.c - frames of 1 MiB that nobody copies. A camera fills blocks in place and sends their handles through
 * a ring; two viewers read the frames where they lie and free them. One viewer is killed with a frame in its hands:
 * somebody else gets that frame, and no block is lost. */
#include <ring/ring.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VIEWERS = 2, BLOCKS = 8, FRAMES = 40, DEADLY_FRAME = 7, FRAME_BYTES = 1 << 20 };

static int failed(void)
{
    fprintf(stderr, "%s\n", ring_error_detail());
    return 1;
}

static int view(void)
{
    struct ring_segment *segment;
    static struct ring_blocks frames;
    struct ring_mpmc_consumer ready;
    struct ring_message message;
    int error;

    if (ring_segment_attach(&segment, "/example-frames", NULL, RING_FOREVER) ||
        ring_blocks_open(&frames, segment, "frames", RING_FOREVER) ||
        ring_mpmc_open_consumer(&ready, segment, "ready", RING_FOREVER))
        return failed();
    while ((error = ring_mpmc_peek(&ready, &message, RING_FOREVER)) == 0) {
        uint64_t handle;
        void *frame;
        memcpy(&handle, message.data, sizeof handle);
        error = ring_block_address(&frames, handle, &frame, NULL); /* in transit, as long as the message is not freed */
        if (error == 0 && *(int *)frame == DEADLY_FRAME && !(message.flags & RING_REDELIVERED))
            raise(SIGKILL); /* the message comes again, and the block with it */
        if (error == 0)
            printf("frame %d, seen by %d\n", *(int *)frame, (int)getpid());
        if (error == 0)
            error = ring_block_free(&frames, handle); /* first this: who finds it freed knows that the work was done */
        if (error && error != -ESTALE)
            return failed();
        ring_mpmc_release(&ready, 1);
    }
    fflush(stdout);
    ring_mpmc_close_consumer(&ready);
    ring_blocks_close(&frames);
    ring_segment_close(&segment);
    return error != -EPIPE; /* -EPIPE: no more frames, and all were seen */
}

int main(void)
{
    struct ring_segment *segment;
    static struct ring_blocks frames;
    struct ring_mpmc_producer ready;
    struct ring_segment_options options = ring_segment_defaults();

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < VIEWERS; i++)
        if (fork() == 0)
            return view();
    options.bytes = RING_SEGMENT_MIN_BYTES + ring_blocks_footprint(FRAME_BYTES, BLOCKS) + ring_mpmc_footprint(64, 8);
    if (ring_segment_create(&segment, "/example-frames", &options) ||
        ring_blocks_create(segment, "frames", FRAME_BYTES, BLOCKS) || ring_mpmc_create(segment, "ready", 64, 8) ||
        ring_blocks_open(&frames, segment, "frames", RING_NO_WAIT) ||
        ring_mpmc_open_producer(&ready, segment, "ready", RING_NO_WAIT))
        return failed();
    for (int number = 0; number < FRAMES;) {
        uint64_t handle;
        void *frame;
        if (ring_block_allocate(&frames, FRAME_BYTES, &handle, &frame)) {
            usleep(1000); /* all frames are with the viewers */
            continue;
        }
        memset(frame, 0x80, FRAME_BYTES);
        *(int *)frame = number++;
        ring_block_pass(&frames, handle); /* from here on it is nobody's, and survives us */
        while (ring_mpmc_send(&ready, &handle, sizeof handle, RING_FOREVER))
            continue; /* -EOWNERDEAD, -EPIPE: no viewer at the moment, and no room */
    }
    ring_mpmc_close_producer(&ready);
    ring_blocks_close(&frames);
    while (wait(NULL) > 0)
        continue;
    ring_segment_unlink("/example-frames");
    return ring_segment_close(&segment);
}
