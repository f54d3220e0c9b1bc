/* ring.h - level 8: all of shmring. Start with segment.h (where rings live), then spsc.h (one producer, one consumer),
 * mpmc.h (any number of each, a message for one of them) or broadcast.h (one producer, a message for all consumers). */
#ifndef RING_RING_H
#define RING_RING_H

#include <ring/allocator.h>
#include <ring/blocks.h>
#include <ring/broadcast.h>
#include <ring/error.h>
#include <ring/handover.h>
#include <ring/heap.h>
#include <ring/layout.h>
#include <ring/message.h>
#include <ring/mpmc.h>
#include <ring/platform.h>
#include <ring/recovery.h>
#include <ring/segment.h>
#include <ring/spsc.h>
#include <ring/wait.h>
#include <ring/wait_any.h>

#define RING_VERSION_MAJOR 0
#define RING_VERSION_MINOR 1
#define RING_VERSION_PATCH 0
#define RING_VERSION       "0.1.0"

#endif
