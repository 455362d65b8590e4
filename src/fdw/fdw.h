/*
 * fdw.h: SQL over shards. Above cluster/, below the roof.
 */
#ifndef VDIST_FDW_H
#define VDIST_FDW_H

#include "compat.h"

#endif							/* VDIST_FDW_H */
