/* peer_atomic_queue_mpmc.cc - contestants: the queues of atomic_queue for any number of producers and consumers, each
 * as it comes (MINIMIZE_CONTENTION on: "spread") and with that off, which few threads may like better.
 *
 * A consumer that is interrupted between claiming a slot and emptying it is overtaken once the others have come round
 * the ring: who claims the same slot a lap later gets the older message. So with more threads than processors the
 * order within one producer is lost now and then; nothing else is.
 */
#include "atomic_forms.h"

using atomic_many = AtomicForm<false, false>;
using atomic_spread = AtomicForm<true, false>;

#define ATOMIC_MANY (TRANSPORT_MANY_PRODUCERS | TRANSPORT_MANY_CONSUMERS | TRANSPORT_REORDERS)

using many_try = fixed<atomic_many::Try>;
PEER_CALLS(many_try, many_try)
#define TRANSPORT many_try
#define TRANSPORT_HAS_MANY
#include "loops.h"

using many_optimist = fixed<atomic_many::Optimist>;
PEER_CALLS(many_optimist, many_optimist)
#define TRANSPORT many_optimist
#define TRANSPORT_HAS_MANY
#include "loops.h"

using spread_try = fixed<atomic_spread::Try>;
PEER_CALLS(spread_try, spread_try)
#define TRANSPORT spread_try
#define TRANSPORT_HAS_MANY
#include "loops.h"

using spread_optimist = fixed<atomic_spread::Optimist>;
PEER_CALLS(spread_optimist, spread_optimist)
#define TRANSPORT spread_optimist
#define TRANSPORT_HAS_MANY
#include "loops.h"

using many_try_b = typed<atomic_many::TryB>;
PEER_CALLS(many_try_b, many_try_b)
#define TRANSPORT many_try_b
#define TRANSPORT_HAS_MANY
#include "loops.h"

using many_optimist_b = typed<atomic_many::OptimistB>;
PEER_CALLS(many_optimist_b, many_optimist_b)
#define TRANSPORT many_optimist_b
#define TRANSPORT_HAS_MANY
#include "loops.h"

ATOMIC_TRANSPORT(many_try, "atomic_queue mpmc try", TRANSPORT_PROCESSES | ATOMIC_MANY, many_try::region_bytes, nullptr,
                 "AtomicQueue (8 B) or AtomicQueue2, MINIMIZE_CONTENTION off, try_push and try_pop");
ATOMIC_TRANSPORT(many_optimist, "atomic_queue mpmc optimist", TRANSPORT_PROCESSES | ATOMIC_MANY,
                 many_optimist::region_bytes, nullptr,
                 "AtomicQueue (8 B) or AtomicQueue2, MINIMIZE_CONTENTION off, push and pop");
ATOMIC_TRANSPORT(spread_try, "atomic_queue mpmc spread try", TRANSPORT_PROCESSES | ATOMIC_MANY,
                 spread_try::region_bytes, nullptr, "AtomicQueue (8 B) or AtomicQueue2, try_push and try_pop");
ATOMIC_TRANSPORT(spread_optimist, "atomic_queue mpmc spread", TRANSPORT_PROCESSES | ATOMIC_MANY,
                 spread_optimist::region_bytes, nullptr, "AtomicQueue (8 B) or AtomicQueue2, push and pop");
ATOMIC_TRANSPORT(many_try_b, "atomic_queue mpmc B try", ATOMIC_MANY, nullptr, atomic_note_b,
                 "AtomicQueueB (8 B) or AtomicQueueB2, try_push and try_pop");
ATOMIC_TRANSPORT(many_optimist_b, "atomic_queue mpmc B", ATOMIC_MANY, nullptr, atomic_note_b,
                 "AtomicQueueB (8 B) or AtomicQueueB2, push and pop");
