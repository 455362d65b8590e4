/*
 * dispatch.c: chooses the kernel variant for this CPU. Pure C; called by the roof (GUC vdist.simd)
 * and by the unit tests.
 */
#include "kernel/kernel.h"
#include "kernel/variants.h"

const VdistKernel *vdist_kernel = &vdist_kernel_scalar;

bool
vdist_kernel_supported(VdistSimd simd)
{
	return simd == VDIST_SIMD_AUTO || simd == VDIST_SIMD_SCALAR;
}

bool
vdist_kernel_select(VdistSimd simd)
{
	return vdist_kernel_supported(simd);
}
