/* peer_concurrentqueue.cc - contestant: moodycamel::ConcurrentQueue, for any number of producers and consumers, with a
 * producer token and dequeuing from that producer, which its documentation calls the fastest way for one of each; its
 * bulk calls for batches. Blocks are allocated at the start (try_enqueue never allocates): threads only.
 */
#include <concurrentqueue/concurrentqueue.h>

#include "peer.h"

template <size_t Bytes> struct Concurrent {
    using element = bench_message<Bytes>;
    moodycamel::ConcurrentQueue<element> queue;
    moodycamel::ProducerToken token;

    explicit Concurrent(const bench_options &options)
        : queue(peer_elements(options.ring_bytes, Bytes), 1, 0), token(queue)
    {
    }
    bool push(const element &message)
    {
        return queue.try_enqueue(token, message);
    }
    bool pop(element &message)
    {
        return queue.try_dequeue_from_producer(token, message);
    }
    /* All or none, which is right only because a batch is far smaller than the queue. */
    size_t push_many(const element *messages, size_t count)
    {
        return queue.try_enqueue_bulk(token, messages, count) ? count : 0;
    }
    size_t pop_many(element *messages, size_t count)
    {
        return queue.try_dequeue_bulk_from_producer(token, messages, count);
    }
};
using peer = typed<Concurrent>;
PEER_CALLS(concurrent, peer)
PEER_BATCH_CALLS(concurrent, peer)
#define TRANSPORT concurrent
#define TRANSPORT_HAS_BATCH
#include "loops.h"

static const char *concurrent_refuse(const bench_options *options)
{
    if (options->batch > peer_elements(options->ring_bytes, options->bytes) / 2)
        return "a batch goes in whole or not at all, and this one is more than half the queue";
    return peer::refuse(options);
}

static const transport transport_concurrent = {
    .name = "concurrentqueue",
    .package = "libconcurrentqueue-dev",
    .about = "moodycamel::ConcurrentQueue<T>, producer token, try_dequeue_from_producer, bulk calls for batches",
    .abilities = TRANSPORT_THREADS | TRANSPORT_LISTED_SIZES,
    .rank = 20,
    .refuse = concurrent_refuse,
    .create = peer::create,
    .open_producer = peer::open_producer,
    .open_consumer = peer::open_consumer,
    .destroy = peer::destroy,
    .loops = &concurrent_loops,
};
TRANSPORT_REGISTER(transport_concurrent);
