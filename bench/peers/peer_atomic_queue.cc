/* peer_atomic_queue.cc - contestants: the queues of atomic_queue with SPSC = true. MINIMIZE_CONTENTION, which spreads
 * neighbours over lines, is off where it can be: it is meant for many threads, and for one of each it halved the rate
 * at 8 B (115 to 260 M/s) and gained nothing at other sizes.
 */
#include "atomic_forms.h"

using atomic_spsc = AtomicForm<false, true>;

using atomic_try = fixed<atomic_spsc::Try>;
PEER_CALLS(atomic_try, atomic_try)
#define TRANSPORT atomic_try
#include "loops.h"

using atomic_optimist = fixed<atomic_spsc::Optimist>;
PEER_CALLS(atomic_optimist, atomic_optimist)
#define TRANSPORT atomic_optimist
#include "loops.h"

using atomic_optimist_b = typed<atomic_spsc::OptimistB>;
PEER_CALLS(atomic_optimist_b, atomic_optimist_b)
#define TRANSPORT atomic_optimist_b
#include "loops.h"

ATOMIC_TRANSPORT(atomic_try, "atomic_queue try", TRANSPORT_PROCESSES, atomic_try::region_bytes, nullptr,
                 "AtomicQueue (8 B) or AtomicQueue2, SPSC, try_push and try_pop");
ATOMIC_TRANSPORT(atomic_optimist, "atomic_queue optimist", TRANSPORT_PROCESSES, atomic_optimist::region_bytes, nullptr,
                 "AtomicQueue (8 B) or AtomicQueue2, SPSC, push and pop");
ATOMIC_TRANSPORT(atomic_optimist_b, "atomic_queue optimist B", 0, nullptr, atomic_note_b,
                 "AtomicQueueB (8 B) or AtomicQueueB2, SPSC, push and pop");
