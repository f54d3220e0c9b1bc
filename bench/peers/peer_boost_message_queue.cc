/* peer_boost_message_queue.cc - contestant: boost::interprocess::message_queue, a named queue under a mutex; send and
 * receive sleep. It has no calls for batches.
 */
#include <boost/interprocess/ipc/message_queue.hpp>

#include "peer.h"

using message_queue = boost::interprocess::message_queue;

/* Runs what may throw, as boost tells every failure. */
template <typename Action> BENCH_INLINE int message_queue_try(Action &&action)
{
    try {
        action();
    } catch (const boost::interprocess::interprocess_exception &failure) {
        return failure.get_native_error() ? -failure.get_native_error() : -EIO;
    } catch (...) {
        return -ENOMEM;
    }
    return 0;
}

static int message_queue_create(bench_link *link)
{
    size_t elements = peer_elements(link->options.ring_bytes, link->options.bytes);
    return message_queue_try(
        [=] { message_queue created(boost::interprocess::create_only, link->name, elements, link->options.bytes); });
}

static int message_queue_open(bench_link *link, void **endpoint)
{
    return message_queue_try([=] { *endpoint = new message_queue(boost::interprocess::open_only, link->name); });
}

static void message_queue_close(bench_link *, void *endpoint)
{
    delete static_cast<message_queue *>(endpoint);
}

static void message_queue_remove(bench_link *link)
{
    message_queue::remove(link->name);
}

typedef message_queue message_queue_producer;
typedef message_queue message_queue_consumer;

BENCH_INLINE int message_queue_send(message_queue *queue, const void *message, size_t bytes)
{
    return message_queue_try([=] { queue->send(message, bytes, 0); });
}

BENCH_INLINE int message_queue_recv(message_queue *queue, void *message, size_t bytes)
{
    message_queue::size_type received = 0;
    unsigned priority;
    int refusal = message_queue_try([&] { queue->receive(message, bytes, received, priority); });
    return refusal ? refusal : received == bytes ? 0 : -EMSGSIZE;
}

#define TRANSPORT message_queue
#define TRANSPORT_ONE_SIZE
#define TRANSPORT_HAS_MANY
#include "loops.h"

static const transport transport_message_queue = {
    .name = "boost message_queue",
    .package = "libboost-dev",
    .about = "interprocess::message_queue, send and receive that sleep",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_BLOCKS | TRANSPORT_REMOVE_EARLY |
                 TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS,
    .rank = 20,
    .create = message_queue_create,
    .open_producer = message_queue_open,
    .open_consumer = message_queue_open,
    .close_producer = message_queue_close,
    .close_consumer = message_queue_close,
    .remove = message_queue_remove,
    .loops = &message_queue_loops,
};
TRANSPORT_REGISTER(transport_message_queue);
