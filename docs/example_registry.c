/* example_registry.c - threads send by name, whoever bears the name: the receiver goes and comes again with a new segment
 * three times, and the senders neither stop nor know. */
#include <ring/error.h>
#include <ring/registry.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

enum { SENDERS = 2, LIVES = 3, MESSAGES = 1000 };

static struct ring_registry_name *feed;
static atomic_bool over;

static int failed(void)
{
    fprintf(stderr, "%s\n", ring_error_detail());
    return 1;
}

static void *send_by_name(void *unused)
{
    for (long number = 0; !over; number++)
        if (ring_registry_send(feed, &number, sizeof number, RING_NO_WAIT))
            sched_yield(); /* -ENOENT: not attached; -EAGAIN: full; -EPIPE: closed, and nobody came again yet */
    return unused;
}

int main(void)
{
    pthread_t senders[SENDERS];
    struct ring_segment *segment;
    struct ring_mpmc_consumer consumer;
    struct ring_registry_options options =
        ring_registry_defaults(RING_REGISTRY_MPMC_PRODUCER, "/example-feed", "numbers");
    long number;

    if (ring_registry_open(&feed, "feed")) /* the name, once; what bears it may come and go */
        return failed();
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&senders[i], NULL, send_by_name, NULL);
    for (int life = 1; life <= LIVES; life++) {
        if (ring_segment_create(&segment, "/example-feed", NULL) ||
            ring_mpmc_create(segment, "numbers", 256, sizeof number) ||
            ring_mpmc_open_consumer(&consumer, segment, "numbers", RING_NO_WAIT) ||
            (life == 1 ? ring_registry_attach("feed", &options, RING_NO_WAIT) : ring_registry_refresh_all() < 0))
            return failed();
        for (int got = 0; got < MESSAGES;)
            got += ring_mpmc_recv(&consumer, &number, sizeof number, RING_FOREVER) == sizeof number;
        printf("life %d: %d messages\n", life, MESSAGES);
        ring_mpmc_close_consumer(&consumer);
        ring_segment_close(&segment);
        ring_segment_unlink("/example-feed");
    }
    over = true;
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    ring_registry_detach_all(); /* closes and unmaps whatever is left */
    return ring_registry_close(&feed);
}
