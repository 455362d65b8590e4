/*
 * variants.h: the kernel tables that dispatch.c chooses from, and what they share. Nobody outside
 * kernel/ and its unit tests includes this.
 */
#ifndef VDIST_VARIANTS_H
#define VDIST_VARIANTS_H

#include "kernel/kernel.h"

/* Lanes of the canonical summation: four AVX2 registers, or two of AVX-512. */
#define VDIST_KERNEL_LANES 32

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define VDIST_KERNEL_X86
#endif

extern const VdistKernel vdist_kernel_scalar;

#ifdef VDIST_KERNEL_X86
extern const VdistKernel vdist_kernel_avx2;
extern const VdistKernel vdist_kernel_avx512;
#endif

#endif							/* VDIST_VARIANTS_H */
