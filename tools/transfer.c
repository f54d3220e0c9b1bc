/* transfer.c - what ringctl send and recv have in common: signals, patience, progress, the first contact.
 *
 * Signals. The handlers only set a flag: the role in the ring has to be closed in good order, so that the other side
 * sees a close and not a death. A signal that arrives after the flag was looked at and before read(2) or write(2)
 * begins would be noticed after that call only, which may be never; so the handler also starts a timer that goes on
 * interrupting, by SIGALRM, until the program ends. Waits in the library are cut into slices for the same reason. */
#include "ringctl.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS          INT64_C(100000000)
#define DOZE_NS           INT64_C(10000000)
#define NUDGE_NS          20000000L
#define PROGRESS_FIRST_NS INT64_C(1000000000)
#define PROGRESS_EACH_NS  INT64_C(250000000)
#define NOTICE_NS         INT64_C(1000000000)

volatile sig_atomic_t transfer_signal;
static bool pipe_signal_ignored;
static timer_t nudge_timer;
static bool have_nudge_timer;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void on_stop(int number)
{
    int kept = errno;
    transfer_signal = number;
    if (have_nudge_timer) {
        const struct itimerspec often = { .it_interval = { 0, NUDGE_NS }, .it_value = { 0, NUDGE_NS } };
        timer_settime(nudge_timer, 0, &often, NULL);
    }
    errno = kept;
}

static void on_nudge(int number)
{
    (void)number; /* to interrupt a system call is all it is for */
}

static void catch_signals(void)
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = on_nudge }; /* without SA_RESTART: EINTR is the point */
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    struct sigaction before;
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = SIG_IGN; /* dying of SIGPIPE would leave the role to be found dead */
    if (sigaction(SIGPIPE, &action, &before) == 0)
        pipe_signal_ignored = before.sa_handler == SIG_IGN;
    have_nudge_timer = timer_create(CLOCK_MONOTONIC, &event, &nudge_timer) == 0;
    action.sa_handler = on_stop;
    for (size_t at = 0; at < sizeof stops / sizeof *stops; at++) {
        if (sigaction(stops[at], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup stays in force */
            sigaction(stops[at], &action, NULL);
    }
}

void transfer_begin(struct transfer *transfer)
{
    transfer->terminal = isatty(STDERR_FILENO) == 1;
    transfer->began_ns = clock_ns(CLOCK_MONOTONIC_COARSE);
    catch_signals();
}

int64_t transfer_slice(const struct transfer *transfer)
{
    return transfer->timeout_ns >= 0 && transfer->timeout_ns < SLICE_NS ? transfer->timeout_ns : SLICE_NS;
}

static void show_progress(struct transfer *transfer, int64_t now)
{
    char moved[32], rate[32];
    double seconds = (double)(now - transfer->began_ns) / 1e9;
    human_bytes(transfer->bytes, moved, sizeof moved);
    human_bytes((uint64_t)((double)transfer->bytes / seconds), rate, sizeof rate);
    transfer->shown_ns = now;
    transfer->shown = true;
    fprintf(stderr, "\r%s %s, %ju messages, %s/s", transfer->verb, moved, (uintmax_t)transfer->messages, rate);
    if (transfer->expected)
        fprintf(stderr, ", %.0f %%", 100.0 * (double)transfer->bytes / (double)transfer->expected);
    fputs("\033[K", stderr);
    fflush(stderr);
}

/* The coarse clock is a load or two, and one call stands for a whole batch. */
static void consider_progress(struct transfer *transfer)
{
    if (transfer->quiet || !(transfer->terminal || transfer->progress))
        return;
    int64_t now = clock_ns(CLOCK_MONOTONIC_COARSE);
    if (now - transfer->began_ns >= PROGRESS_FIRST_NS && now - transfer->shown_ns >= PROGRESS_EACH_NS &&
        transfer->bytes)
        show_progress(transfer, now);
}

void transfer_moved(struct transfer *transfer, uint64_t messages, uint64_t bytes)
{
    if (!transfer->messages)
        transfer->began_ns = clock_ns(CLOCK_MONOTONIC_COARSE); /* waiting for the other side is no transfer */
    transfer->messages += messages;
    transfer->bytes += bytes;
    transfer->idle_since_ns = 0;
    consider_progress(transfer);
}

int transfer_idle(struct transfer *transfer)
{
    if (transfer_signal)
        return -EINTR;
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (!transfer->idle_since_ns)
        transfer->idle_since_ns = now - transfer_slice(transfer); /* comes after a slice that was in vain */
    if (transfer->timeout_ns >= 0 && now - transfer->idle_since_ns >= transfer->timeout_ns)
        return -ETIMEDOUT;
    consider_progress(transfer);
    return 0;
}

int transfer_doze(struct transfer *transfer)
{
    const struct timespec pause = { 0, DOZE_NS };
    if (!transfer->idle_since_ns)
        transfer->idle_since_ns = clock_ns(CLOCK_MONOTONIC);
    if (transfer->timeout_ns != 0 && !transfer_signal)
        nanosleep(&pause, NULL);
    return transfer_idle(transfer);
}

void transfer_notice(struct transfer *transfer, const char *notice)
{
    if (transfer->quiet || transfer->said_waiting || !transfer->idle_since_ns ||
        clock_ns(CLOCK_MONOTONIC) - transfer->idle_since_ns < NOTICE_NS)
        return;
    transfer->said_waiting = true;
    remark("%s %s: %s", transfer->segment, transfer->ring, notice);
}

int transfer_attach(struct transfer *transfer, const struct ring_segment_options *options,
                    struct ring_segment **segment)
{
    for (;;) {
        int error = ring_segment_attach(segment, transfer->segment, options, transfer_slice(transfer));
        if (error != -ETIMEDOUT && error != -ENOENT)
            return error;
        int stop = transfer_idle(transfer);
        if (stop)
            return stop == -ETIMEDOUT ? error : stop; /* the library's sentence fits its own error */
        transfer_notice(transfer, "waiting for that segment: start 'ringctl send', or make it by 'ringctl create'");
    }
}

int transfer_end(struct transfer *transfer, int status)
{
    char moved[32], rate[32];
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - transfer->began_ns) / 1e9;
    if (transfer->shown)
        fputs("\r\033[K", stderr);
    human_bytes(transfer->bytes, moved, sizeof moved);
    if (transfer_signal && status == STATUS_FAILED) {
        if (transfer->terminal && !transfer->quiet)
            remark("stopped by %s after %ju messages, %s", strsignal(transfer_signal), (uintmax_t)transfer->messages,
                   moved);
        return STATUS_SIGNAL + transfer_signal;
    }
    if (transfer->shown && seconds > 0) {
        human_bytes((uint64_t)((double)transfer->bytes / seconds), rate, sizeof rate);
        remark("%s %s in %ju messages, %.1f s, %s/s", transfer->verb, moved, (uintmax_t)transfer->messages, seconds,
               rate);
    }
    return status;
}

int transfer_broken_pipe(const struct transfer *transfer)
{
    if (pipe_signal_ignored)
        return complain("nobody reads standard output any more; what was not written is still in ring '%s' of %s",
                        transfer->ring, transfer->segment);
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
    return STATUS_SIGNAL + SIGPIPE;
}
