/*
 * kernel.h: distance kernels over float arrays. Pure C, no PostgreSQL header; called by type/,
 * index/ and quant/ through vdist_kernel.
 *
 * Every variant (scalar, AVX2+FMA, AVX-512) of a kernel returns the same bits: element i is
 * accumulated with a fused multiply-add into lane i % 32, and the 32 lanes are folded 16, 8, 4, 2, 1;
 * a zero result is +0. A primary and its replica on another CPU therefore order rows alike. (Only
 * NaN, which no finite input gives unless the sum overflows, may differ in its unused bits.)
 * Pointers need no more alignment than a float has; nothing past dim elements is read.
 */
#ifndef VDIST_KERNEL_H
#define VDIST_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

typedef enum VdistSimd
{
	VDIST_SIMD_AUTO,
	VDIST_SIMD_SCALAR,
	VDIST_SIMD_AVX2,
	VDIST_SIMD_AVX512
} VdistSimd;

typedef struct VdistKernel
{
	const char *name;

	/* sum (a_i - b_i)^2 */
	float		(*l2_squared) (int dim, const float *a, const float *b);

	/* sum a_i * b_i */
	float		(*inner_product) (int dim, const float *a, const float *b);

	/* sum |a_i - b_i| */
	float		(*l1) (int dim, const float *a, const float *b);

	/* a.b, a.a and b.b in one pass, for the cosine */
	void		(*dot_and_norms) (int dim, const float *a, const float *b,
								  float *ab, float *aa, float *bb);
} VdistKernel;

/* The kernels in use; never NULL, also before vdist_kernel_select is called. */
extern const VdistKernel *vdist_kernel;

/* True when this CPU and operating system can run the variant. */
extern bool vdist_kernel_supported(VdistSimd simd);

/* Use a variant; AUTO takes the widest supported. False, and no change, when it is not supported. */
extern bool vdist_kernel_select(VdistSimd simd);

#endif							/* VDIST_KERNEL_H */
