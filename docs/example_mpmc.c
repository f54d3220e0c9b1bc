/* example_mpmc.c - jobs for whoever is free. Three workers share the jobs of one ring and answer in another; one of
 * them is killed in the middle of a job, and somebody else gets that job again. */
#include <ring/ring.h>

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, JOBS = 12, DEADLY_JOB = 4 };

struct job {
    int number;
    int worker;
};

RING_MPMC_TYPE(jobs, struct job);

static int failed(void)
{
    fprintf(stderr, "%s\n", ring_error_detail());
    return 1;
}

static int work(void)
{
    struct ring_segment *segment;
    struct ring_mpmc_consumer todo;
    struct ring_mpmc_producer done;
    const struct job *job;
    int error = 0;

    if (ring_segment_attach(&segment, "/example-jobs", NULL, RING_FOREVER) ||
        ring_mpmc_open_consumer(&todo, segment, "todo", RING_FOREVER) ||
        ring_mpmc_open_producer(&done, segment, "done", RING_FOREVER))
        return failed();
    while ((job = jobs_peek(&todo, &error, RING_FOREVER))) { /* ours until released: if we die, somebody else's */
        if (job->number == DEADLY_JOB && !ring_mpmc_last_flags(&todo))
            raise(SIGKILL);
        struct job answer = { job->number, (int)getpid() };
        jobs_send(&done, &answer, RING_FOREVER);
        jobs_release(&todo, 1);
    }
    ring_mpmc_close_consumer(&todo);
    ring_mpmc_close_producer(&done);
    ring_segment_close(&segment);
    return error != -EPIPE; /* -EPIPE: nobody sends jobs any more, and all are taken */
}

int main(void)
{
    struct ring_segment *segment;
    struct ring_mpmc_producer todo;
    struct ring_mpmc_consumer done;
    struct job job = { 0, 0 };

    for (int i = 0; i < WORKERS; i++)
        if (fork() == 0)
            return work();
    if (ring_segment_open(&segment, "/example-jobs", NULL) || ring_mpmc_create(segment, "todo", 64, sizeof job) ||
        ring_mpmc_create(segment, "done", 64, sizeof job) ||
        ring_mpmc_open_producer(&todo, segment, "todo", RING_NO_WAIT) ||
        ring_mpmc_open_consumer(&done, segment, "done", RING_NO_WAIT))
        return failed();
    for (job.number = 0; job.number < JOBS; job.number++)
        jobs_send(&todo, &job, RING_FOREVER);
    for (int answers = 0; answers < JOBS;) {
        int code = jobs_recv(&done, &job, RING_FOREVER);
        if (code == 1)
            printf("%2d of %d: job %d, done by %d\n", ++answers, JOBS, job.number, job.worker);
        else if (code != -EOWNERDEAD) /* the only worker so far died: the others are about to come */
            return 1;
    }
    ring_mpmc_close_producer(&todo);
    ring_mpmc_close_consumer(&done);
    while (wait(NULL) > 0)
        continue;
    ring_segment_unlink("/example-jobs");
    return ring_segment_close(&segment);
}
