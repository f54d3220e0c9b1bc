/* example_uring.c - two rings in a loop of io_uring (Debian: liburing-dev), as one more kind of request beside reads
 * and writes. Each poll answers once; after that it is asked anew, and answers at once if there is more. */
#include "example_loop.h"

#include <liburing.h>
#include <poll.h>

static void wait_for(struct io_uring *uring, struct sensor *sensor)
{
    struct io_uring_sqe *request = io_uring_get_sqe(uring);
    io_uring_prep_poll_add(request, sensor->fd, POLLIN);
    io_uring_sqe_set_data(request, sensor);
}

int main(void)
{
    struct ring_segment *segment;
    struct sensor sensors[SENSORS];
    struct io_uring uring;
    struct io_uring_cqe *answer;

    if (io_uring_queue_init(8, &uring, 0)) {
        fprintf(stderr, "no io_uring here: this kernel has none, or forbids it\n");
        return 1;
    }
    if (open_sensors(&segment, sensors))
        return 1;
    for (int i = 0; i < SENSORS; i++)
        wait_for(&uring, &sensors[i]);
    for (int left = SENSORS; left;) {
        io_uring_submit_and_wait(&uring, 1);
        while (!io_uring_peek_cqe(&uring, &answer)) {
            struct sensor *sensor = io_uring_cqe_get_data(answer);
            io_uring_cqe_seen(&uring, answer);
            if (take_readings(sensor))
                wait_for(&uring, sensor);
            else
                left--;
        }
    }
    io_uring_queue_exit(&uring);
    return close_sensors(&segment, sensors);
}
