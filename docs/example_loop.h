/* example_loop.h - what the examples of event loops share: two sensors, each a process with a ring of its own; one
 * closes when it is done, the other one is killed. The loops differ in how they wait; what they do then is here. */
#ifndef EXAMPLE_LOOP_H
#define EXAMPLE_LOOP_H

#include <ring/ring.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SENSORS = 2, READINGS = 20 };

struct sensor {
    int number;
    int readings;
    struct ring_spsc_consumer consumer;
    int fd; /* readable while there may be a reading */
};

static const char *const rings[SENSORS] = { "inside", "outside" };

static inline int failed(void)
{
    fprintf(stderr, "%s\n", ring_error_detail());
    return 1;
}

/* A sensor's process. */
static inline int measure(int number)
{
    struct ring_segment *segment;
    struct ring_spsc_producer producer;
    if (ring_segment_attach(&segment, "/example-sensors", NULL, RING_FOREVER) ||
        ring_spsc_open_producer(&producer, segment, rings[number], RING_FOREVER))
        return failed();
    for (int i = 0; i < READINGS; i++) {
        double degrees = 20.0 + i % 5;
        ring_spsc_send(&producer, &degrees, sizeof degrees, RING_FOREVER);
        usleep(5000);
    }
    if (number == 1)
        raise(SIGKILL);
    ring_spsc_close_producer(&producer);
    return ring_segment_close(&segment);
}

static inline int open_sensors(struct ring_segment **segment, struct sensor sensors[SENSORS])
{
    for (int i = 0; i < SENSORS; i++)
        if (fork() == 0)
            _exit(measure(i));
    if (ring_segment_open(segment, "/example-sensors", NULL))
        return failed();
    for (int i = 0; i < SENSORS; i++) {
        sensors[i] = (struct sensor){ .number = i };
        if (ring_spsc_create(*segment, rings[i], 4096) ||
            ring_spsc_open_consumer(&sensors[i].consumer, *segment, rings[i], RING_NO_WAIT) ||
            (sensors[i].fd = ring_waiter_fd(ring_spsc_consumer_waiter(&sensors[i].consumer))) < 0)
            return failed();
    }
    return 0;
}

/* The descriptor is readable: takes all there is. False: the sensor has gone, so its descriptor leaves the loop. */
static inline bool take_readings(struct sensor *sensor)
{
    double degrees;
    ssize_t code;
    while ((code = ring_spsc_recv(&sensor->consumer, &degrees, sizeof degrees, RING_NO_WAIT)) >= 0)
        sensor->readings++;
    if (code == -EAGAIN) /* only now the descriptor is not readable any more */
        return true;
    printf("sensor %s: %d readings, %s\n", rings[sensor->number], sensor->readings,
           code == -EPIPE ? "closed" : "died"); /* -EPIPE, -EOWNERDEAD */
    return false;
}

static inline int close_sensors(struct ring_segment **segment, struct sensor sensors[SENSORS])
{
    for (int i = 0; i < SENSORS; i++)
        ring_spsc_close_consumer(&sensors[i].consumer); /* and its descriptor */
    while (wait(NULL) > 0)
        continue;
    ring_segment_unlink("/example-sensors");
    return ring_segment_close(segment);
}

#endif
