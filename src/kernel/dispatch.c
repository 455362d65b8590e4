/*
 * dispatch.c: chooses the kernel variant for this CPU. Pure C; called by the roof (GUC vdist.simd)
 * and by the unit tests.
 */
#include <stddef.h>

#include "kernel/kernel.h"
#include "kernel/variants.h"

const VdistKernel *vdist_kernel = &vdist_kernel_scalar;

/* The variant's kernels, or NULL when this CPU, operating system or build cannot run it. */
static const VdistKernel *
variant(VdistSimd simd)
{
	switch (simd)
	{
		case VDIST_SIMD_SCALAR:
			return &vdist_kernel_scalar;
#ifdef VDIST_KERNEL_X86

			/*
			 * The builtin reads XGETBV too: it says no when the system does not save the
			 * registers.
			 */
		case VDIST_SIMD_AVX2:
			return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ?
				&vdist_kernel_avx2 : NULL;
		case VDIST_SIMD_AVX512:
			return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2") &&
				__builtin_cpu_supports("fma") ? &vdist_kernel_avx512 : NULL;
#endif
		case VDIST_SIMD_AUTO:
			for (int widest = VDIST_SIMD_AVX512; widest > VDIST_SIMD_SCALAR; widest--)
			{
				const VdistKernel *kernel = variant((VdistSimd) widest);

				if (kernel != NULL)
					return kernel;
			}
			return &vdist_kernel_scalar;
		default:
			return NULL;
	}
}

bool
vdist_kernel_supported(VdistSimd simd)
{
	return variant(simd) != NULL;
}

bool
vdist_kernel_select(VdistSimd simd)
{
	const VdistKernel *kernel = variant(simd);

	if (kernel == NULL)
		return false;
	vdist_kernel = kernel;
	return true;
}
