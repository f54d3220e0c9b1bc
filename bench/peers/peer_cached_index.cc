/* peer_cached_index.cc - contestant: the textbook SPSC ring with cached indices, as in rigtorp's SPSCQueue, which is no
 * Debian package.
 *
 * Each side has its index and its last sight of the other side's index on a line of its own, and looks at the other
 * side's line only when that sight says full or empty. One slot stays empty. This is the design to beat, not our ring.
 */
#include <atomic>

#include "peer.h"

template <size_t Bytes> class CachedIndex
{
    static constexpr size_t slots = peer_elements(0, Bytes);
    static constexpr size_t line = 64;

    alignas(line) std::atomic<size_t> written{ 0 };
    alignas(line) size_t read_seen = 0;
    alignas(line) std::atomic<size_t> read{ 0 };
    alignas(line) size_t written_seen = 0;
    alignas(line) bench_message<Bytes> messages[slots];

  public:
    explicit CachedIndex(const bench_options &)
    {
    }

    bool push(const bench_message<Bytes> &message)
    {
        size_t at = written.load(std::memory_order_relaxed), next = at + 1 == slots ? 0 : at + 1;
        if (next == read_seen) {
            read_seen = read.load(std::memory_order_acquire);
            if (next == read_seen)
                return false;
        }
        messages[at] = message;
        written.store(next, std::memory_order_release);
        return true;
    }

    bool pop(bench_message<Bytes> &message)
    {
        size_t at = read.load(std::memory_order_relaxed);
        if (at == written_seen) {
            written_seen = written.load(std::memory_order_acquire);
            if (at == written_seen)
                return false;
        }
        message = messages[at];
        read.store(at + 1 == slots ? 0 : at + 1, std::memory_order_release);
        return true;
    }
};
using peer = fixed<CachedIndex>;
PEER_CALLS(cached_index, peer)
#define TRANSPORT cached_index
#include "loops.h"

static const transport transport_cached_index = {
    .name = "cached-index spsc",
    .about = "plain ring of slots with cached indices, the design of rigtorp's SPSCQueue, written here",
    .abilities = TRANSPORT_THREADS | TRANSPORT_PROCESSES | TRANSPORT_LISTED_SIZES,
    .rank = 20,
    .refuse = peer::refuse,
    .region_bytes = peer::region_bytes,
    .create = peer::create,
    .open_producer = peer::open_producer,
    .open_consumer = peer::open_consumer,
    .destroy = peer::destroy,
    .loops = &cached_index_loops,
};
TRANSPORT_REGISTER(transport_cached_index);
