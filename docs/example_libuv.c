/* example_libuv.c - two rings in a loop of libuv (Debian: libuv1-dev). */
#include "example_loop.h"

#include <uv.h>

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    if (!take_readings(poll->data))
        uv_close((uv_handle_t *)poll, NULL); /* the loop ends with its last handle */
}

int main(void)
{
    struct ring_segment *segment;
    struct sensor sensors[SENSORS];
    uv_poll_t polls[SENSORS];
    uv_loop_t *loop = uv_default_loop();

    if (open_sensors(&segment, sensors))
        return 1;
    for (int i = 0; i < SENSORS; i++) {
        uv_poll_init(loop, &polls[i], sensors[i].fd);
        polls[i].data = &sensors[i];
        uv_poll_start(&polls[i], UV_READABLE, on_readable);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return close_sensors(&segment, sensors);
}
