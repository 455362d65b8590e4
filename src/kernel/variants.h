/*
 * variants.h: the kernel tables that dispatch.c chooses from. Nobody else includes this.
 */
#ifndef VDIST_VARIANTS_H
#define VDIST_VARIANTS_H

#include "kernel/kernel.h"

extern const VdistKernel vdist_kernel_scalar;

#endif							/* VDIST_VARIANTS_H */
