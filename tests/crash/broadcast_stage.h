/* broadcast_stage.h - a broadcast ring to be killed at. */
#ifndef BROADCAST_STAGE_H
#define BROADCAST_STAGE_H

#include "crash.h"

extern const struct topology broadcast_topology;

#endif
