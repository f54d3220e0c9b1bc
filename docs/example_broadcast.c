/* example_broadcast.c - a feed that many watch: two consumers, and an observer that may only read. The ring is small
 * and its producer never waits, so the slow lose messages; how many, each is told exactly. */
#include <ring/ring.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICKS = 1000, SLOTS = 64 };

struct tick {
    double price;
    long number;
};

RING_BROADCAST_TYPE(ticks, struct tick);

static int failed(void)
{
    fprintf(stderr, "%s\n", ring_error_detail());
    return 1;
}

static int watch(bool observer)
{
    struct ring_segment_options options = ring_segment_defaults();
    struct ring_segment *segment;
    struct ring_broadcast_consumer consumer;
    struct tick tick;
    int code, received = 0;

    if (observer)
        options.flags = RING_READ_ONLY;
    if (ring_segment_attach(&segment, "/example-ticks", &options, RING_FOREVER))
        return failed();
    if (observer) /* takes no seat, writes nothing */
        code = ring_broadcast_open_observer(&consumer, segment, "ticks", RING_BROADCAST_AT, 0, RING_FOREVER);
    else
        code = ring_broadcast_open_consumer(&consumer, segment, "ticks", RING_BROADCAST_AT, 0, RING_FOREVER);
    if (code)
        return failed();
    while ((code = ticks_recv(&consumer, &tick, RING_FOREVER)) == 1 || code == -EOVERFLOW)
        received += code == 1; /* -EOVERFLOW: ring_broadcast_lost() messages were lost; the next call goes on */
    printf("%s: %d received, %d lost\n", observer ? "observer" : "consumer", received,
           (int)ring_broadcast_lost_in_all(&consumer));
    ring_broadcast_close_consumer(&consumer);
    ring_segment_close(&segment);
    return code != -EPIPE; /* -EPIPE: the producer has closed, and everything is out */
}

int main(void)
{
    struct ring_segment *segment;
    struct ring_broadcast_producer producer;
    struct tick tick = { 100.0, 0 };

    for (int i = 0; i < 3; i++)
        if (fork() == 0)
            return watch(i == 2);
    if (ring_segment_open(&segment, "/example-ticks", NULL) ||
        ring_broadcast_create(segment, "ticks", SLOTS, sizeof tick, RING_BROADCAST_OVERWRITE) ||
        ring_broadcast_open_producer(&producer, segment, "ticks", RING_NO_WAIT))
        return failed();
    for (; tick.number < TICKS; tick.number++, tick.price += 0.25)
        ticks_send(&producer, &tick, RING_NO_WAIT);
    ring_broadcast_close_producer(&producer);
    while (wait(NULL) > 0)
        continue;
    ring_segment_unlink("/example-ticks");
    return ring_segment_close(&segment);
}
