/* spsc_stage.h - an SPSC ring to be killed at. */
#ifndef SPSC_STAGE_H
#define SPSC_STAGE_H

#include "crash.h"

extern const struct topology spsc_topology;

#endif
