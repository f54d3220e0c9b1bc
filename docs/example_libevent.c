/* example_libevent.c - two rings in a loop of libevent (Debian: libevent-dev). */
#include "example_loop.h"

#include <event2/event.h>

static struct event *events[SENSORS];

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct sensor *sensor = argument;
    (void)fd, (void)what;
    if (!take_readings(sensor))
        event_del(events[sensor->number]); /* the loop ends with its last event */
}

int main(void)
{
    struct ring_segment *segment;
    struct sensor sensors[SENSORS];
    struct event_base *base = event_base_new();

    if (!base || open_sensors(&segment, sensors))
        return 1;
    for (int i = 0; i < SENSORS; i++) {
        events[i] = event_new(base, sensors[i].fd, EV_READ | EV_PERSIST, on_readable, &sensors[i]);
        event_add(events[i], NULL);
    }
    event_base_dispatch(base);
    for (int i = 0; i < SENSORS; i++)
        event_free(events[i]);
    event_base_free(base);
    return close_sensors(&segment, sensors);
}
