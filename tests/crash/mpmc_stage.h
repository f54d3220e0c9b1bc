/* mpmc_stage.h - an MPMC ring to be killed at. */
#ifndef MPMC_STAGE_H
#define MPMC_STAGE_H

#include "crash.h"

extern const struct topology mpmc_topology;

#endif
