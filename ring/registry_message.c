/* registry_message.c - level 7: a message to, or from, whatever kind of ring bears a name now; see registry.c. */
#include <ring/registry_private.h>

#ifdef RING_HAVE_LIBURCU /* else this file is empty: who embeds ring/ need not leave it out */

#include <errno.h>
#include <time.h>

#define SLICE_NS INT64_C(10000000)

struct transfer {
    const void *message;
    void *buffer; /* NULL message: receives here */
    size_t length;
};

/* One attempt in a section of its own. */
static ssize_t attempt(struct ring_registry_name *name, const struct transfer *transfer, int64_t timeout_ns)
{
    ring_registry_begin_section();
    struct ring_registry_entry *entry = name ? ring_registry_entry_of(name->record) : NULL;
    bool sends = transfer->message != NULL;
    int why = entry ? -EINVAL : -ENOENT;
    bool does = entry && (sends ? entry->kind->send != NULL : entry->kind->recv != NULL);
    void *end = does ? ring_registry_end_of(name->record, entry, &why) : NULL;
    ssize_t code = why;
    if (end) {
        code = sends ? entry->kind->send(end, transfer->message, transfer->length, timeout_ns)
                     : entry->kind->recv(end, transfer->buffer, transfer->length, timeout_ns);
        if (entry->kind->once)
            ring_registry_unclaim(end);
    }
    ring_registry_end_section();
    return code;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static ssize_t carry(struct ring_registry_name *name, const struct transfer *transfer, int64_t timeout_ns)
{
    ssize_t code = attempt(name, transfer, RING_NO_WAIT);
    if (code >= 0 || (code == -EAGAIN && timeout_ns == RING_NO_WAIT))
        return code;
    int64_t start = timeout_ns ? now_ns() : 0;
    for (;;) {
        bool gone = code == -EPIPE || code == -EOWNERDEAD || code == -EUCLEAN;
        bool again = gone && ring_registry_refresh(name->record->text) == 1;
        if (!again && code != -EAGAIN && code != -ETIMEDOUT && code != -EBUSY)
            return code;
        int64_t left = timeout_ns <= 0 ? timeout_ns : timeout_ns - (now_ns() - start);
        if (!again && (timeout_ns == RING_NO_WAIT || (timeout_ns > 0 && left <= 0)))
            return code == -EAGAIN ? -ETIMEDOUT : code;
        if (code == -EBUSY) { /* another section has it, for 10 ms at most if it is one of these */
            struct timespec nap = { .tv_nsec = 20000 };
            nanosleep(&nap, NULL);
        }
        int64_t slice = timeout_ns < 0 || left > SLICE_NS ? SLICE_NS : left < 0 ? 0 : left;
        code = attempt(name, transfer, slice);
        if (code >= 0)
            return code;
    }
}

int ring_registry_send(struct ring_registry_name *name, const void *message, size_t length, int64_t timeout_ns)
{
    struct transfer transfer = { message ? message : "", NULL, length };
    if (!message && length)
        return -EINVAL;
    return (int)carry(name, &transfer, timeout_ns);
}

ssize_t ring_registry_recv(struct ring_registry_name *name, void *buffer, size_t size, int64_t timeout_ns)
{
    struct transfer transfer = { NULL, buffer, size };
    return carry(name, &transfer, timeout_ns);
}

#endif
