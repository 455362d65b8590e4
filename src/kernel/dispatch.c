/*
 * dispatch.c: chooses the kernel variant for this CPU. Pure C; called by the roof (GUC vdist.simd)
 * and by the unit tests.
 */
#include <stddef.h>

#include "kernel/kernel.h"
#include "kernel/variants.h"

#ifdef VDIST_KERNEL_X86
#include <cpuid.h>
#endif

const VdistKernel *vdist_kernel = &vdist_kernel_scalar;

#ifdef VDIST_KERNEL_X86

/*
 * The builtin reads XGETBV too: it says no when the system does not save the registers. Not every
 * compiler's builtin knows F16C.
 */
static bool
has_avx2(void)
{
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
		__builtin_cpu_supports("popcnt") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

static bool
has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vl");
}

#endif							/* VDIST_KERNEL_X86 */

/* The variant's kernels, or NULL when this CPU, operating system or build cannot run it. */
static const VdistKernel *
variant(VdistSimd simd)
{
	switch (simd)
	{
		case VDIST_SIMD_SCALAR:
			return &vdist_kernel_scalar;
#ifdef VDIST_KERNEL_X86
		case VDIST_SIMD_AVX2:
			return has_avx2() ? &vdist_kernel_avx2 : NULL;
		case VDIST_SIMD_AVX512:
			return has_avx512() ? &vdist_kernel_avx512 : NULL;
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
