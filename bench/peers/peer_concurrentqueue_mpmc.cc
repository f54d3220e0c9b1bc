/* peer_concurrentqueue_mpmc.cc - contestant: moodycamel::ConcurrentQueue among any number of producers and consumers,
 * with a token for each of them, which its documentation asks for where speed counts; its bulk calls for batches. The
 * blocks that all producers need together are allocated at the start (try_enqueue never allocates): threads only.
 */
#include <concurrentqueue/concurrentqueue.h>

#include "peer.h"

template <size_t Bytes> struct Shared {
    using element = bench_message<Bytes>;
    moodycamel::ConcurrentQueue<element> queue;

    explicit Shared(const bench_options &options)
        : queue(peer_elements(options.ring_bytes, Bytes), options.producers, 0)
    {
    }
};

template <size_t Bytes> struct SharedProducer {
    using element = bench_message<Bytes>;
    moodycamel::ConcurrentQueue<element> &queue;
    moodycamel::ProducerToken token;

    explicit SharedProducer(Shared<Bytes> *shared) : queue(shared->queue), token(queue)
    {
    }
    bool push(const element &message)
    {
        return queue.try_enqueue(token, message);
    }
    /* All or none, which is right only because a batch is far smaller than the queue. */
    size_t push_many(const element *messages, size_t count)
    {
        return queue.try_enqueue_bulk(token, messages, count) ? count : 0;
    }
};

template <size_t Bytes> struct SharedConsumer {
    using element = bench_message<Bytes>;
    moodycamel::ConcurrentQueue<element> &queue;
    moodycamel::ConsumerToken token;

    explicit SharedConsumer(Shared<Bytes> *shared) : queue(shared->queue), token(queue)
    {
    }
    bool pop(element &message)
    {
        return queue.try_dequeue(token, message);
    }
    size_t pop_many(element *messages, size_t count)
    {
        return queue.try_dequeue_bulk(token, messages, count);
    }
};

/* An endpoint of each side, over the queue of all. */
template <template <size_t> class End> static int shared_open(bench_link *link, void **endpoint)
{
    return bench_with_size(link->options.bytes, [=](auto size) -> int {
        *endpoint = new (std::nothrow) End<size()>(static_cast<Shared<size()> *>(link->object));
        return *endpoint ? 0 : -ENOMEM;
    });
}

template <template <size_t> class End> static void shared_close(bench_link *link, void *endpoint)
{
    bench_with_size(link->options.bytes, [=](auto size) { delete static_cast<End<size()> *>(endpoint); });
}

typedef void shared_producer;
typedef void shared_consumer;

BENCH_INLINE int shared_send(void *end, const void *message, size_t bytes)
{
    return typed<SharedProducer>::send(end, message, bytes);
}

BENCH_INLINE int shared_recv(void *end, void *message, size_t bytes)
{
    return typed<SharedConsumer>::recv(end, message, bytes);
}

BENCH_INLINE ssize_t shared_send_batch(void *end, const void *messages, size_t bytes, size_t count)
{
    return typed<SharedProducer>::send_batch(end, messages, bytes, count);
}

BENCH_INLINE ssize_t shared_recv_batch(void *end, void *messages, size_t bytes, size_t count)
{
    return typed<SharedConsumer>::recv_batch(end, messages, bytes, count);
}

#define TRANSPORT shared
#define TRANSPORT_HAS_BATCH
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const char *shared_refuse(const bench_options *options)
{
    if (options->batch > peer_elements(options->ring_bytes, options->bytes) / 2)
        return "a batch goes in whole or not at all, and this one is more than half the queue";
    return bench_listed_size(options->bytes) ? nullptr : "compiled for certain message sizes only";
}

static const transport transport_shared = {
    .name = "concurrentqueue mpmc",
    .package = "libconcurrentqueue-dev",
    .about = "moodycamel::ConcurrentQueue<T>, a token for each side, try_enqueue and try_dequeue, bulk for batches",
    .abilities = TRANSPORT_THREADS | TRANSPORT_LISTED_SIZES | TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS,
    .rank = 20,
    .refuse = shared_refuse,
    .create = typed<Shared>::create,
    .open_producer = shared_open<SharedProducer>,
    .open_consumer = shared_open<SharedConsumer>,
    .close_producer = shared_close<SharedProducer>,
    .close_consumer = shared_close<SharedConsumer>,
    .destroy = typed<Shared>::destroy,
    .loops = &shared_loops,
};
TRANSPORT_REGISTER(transport_shared);
