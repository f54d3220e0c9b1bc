/* example_epoll.c - two rings in one epoll set. */
#include "example_loop.h"

#include <sys/epoll.h>

int main(void)
{
    struct ring_segment *segment;
    struct sensor sensors[SENSORS];
    struct epoll_event events[SENSORS];
    int poller = epoll_create1(EPOLL_CLOEXEC);

    if (poller < 0 || open_sensors(&segment, sensors))
        return 1;
    for (int i = 0; i < SENSORS; i++) {
        events[0] = (struct epoll_event){ .events = EPOLLIN, .data.ptr = &sensors[i] };
        epoll_ctl(poller, EPOLL_CTL_ADD, sensors[i].fd, &events[0]);
    }
    for (int left = SENSORS; left;) {
        int count = epoll_wait(poller, events, SENSORS, -1);
        for (int i = 0; i < count; i++) {
            struct sensor *sensor = events[i].data.ptr;
            if (!take_readings(sensor)) {
                epoll_ctl(poller, EPOLL_CTL_DEL, sensor->fd, NULL);
                left--;
            }
        }
    }
    close(poller);
    return close_sensors(&segment, sensors);
}
