/* peer_readerwriterqueue.cc - contestants: moodycamel::ReaderWriterQueue, made large enough at the start and used by
 * the calls that never allocate, and the ring of the same package, BlockingReaderWriterCircularBuffer, by its calls
 * that never sleep. Both allocate for themselves: threads only. Neither has calls for batches.
 */
#include <readerwriterqueue/readerwritercircularbuffer.h>
#include <readerwriterqueue/readerwriterqueue.h>

#include "peer.h"

template <template <typename> class Queue> struct Moodycamel {
    template <size_t Bytes> struct of {
        Queue<bench_message<Bytes>> queue;

        explicit of(const bench_options &options) : queue(peer_elements(options.ring_bytes, Bytes))
        {
        }
        bool push(const bench_message<Bytes> &message)
        {
            return queue.try_enqueue(message);
        }
        bool pop(bench_message<Bytes> &message)
        {
            return queue.try_dequeue(message);
        }
    };
};
template <typename Element> using Blocks = moodycamel::ReaderWriterQueue<Element>;
template <typename Element> using Circle = moodycamel::BlockingReaderWriterCircularBuffer<Element>;

using blocks = typed<Moodycamel<Blocks>::of>;
PEER_CALLS(blocks, blocks)
#define TRANSPORT blocks
#include "loops.h"

using circle = typed<Moodycamel<Circle>::of>;
PEER_CALLS(circle, circle)
#define TRANSPORT circle
#include "loops.h"

static const transport transport_blocks = {
    .name = "readerwriterqueue",
    .package = "libreaderwriterqueue-dev",
    .about = "moodycamel::ReaderWriterQueue<T>(n), try_enqueue and try_dequeue",
    .abilities = TRANSPORT_THREADS | TRANSPORT_LISTED_SIZES,
    .rank = 20,
    .refuse = blocks::refuse,
    .create = blocks::create,
    .open_producer = blocks::open_producer,
    .open_consumer = blocks::open_consumer,
    .destroy = blocks::destroy,
    .loops = &blocks_loops,
};
TRANSPORT_REGISTER(transport_blocks);

static const transport transport_circle = {
    .name = "readerwriterqueue circular",
    .package = "libreaderwriterqueue-dev",
    .about = "moodycamel::BlockingReaderWriterCircularBuffer<T>(n), try_enqueue and try_dequeue",
    .abilities = TRANSPORT_THREADS | TRANSPORT_LISTED_SIZES,
    .rank = 20,
    .refuse = circle::refuse,
    .create = circle::create,
    .open_producer = circle::open_producer,
    .open_consumer = circle::open_consumer,
    .destroy = circle::destroy,
    .loops = &circle_loops,
};
TRANSPORT_REGISTER(transport_circle);
