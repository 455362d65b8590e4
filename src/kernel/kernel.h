/*
 * kernel.h: distance kernels over arrays of floats, halves and bits. Pure C, no PostgreSQL header; called by type/,
 * index/ and quant/ through vdist_kernel.
 *
 * Every variant (scalar, AVX2+FMA, AVX-512) of a kernel returns the same bits: element i is
 * accumulated with a fused multiply-add into lane i % 32, and the 32 lanes are folded 16, 8, 4, 2, 1;
 * a zero result is +0. A primary and its replica on another CPU therefore order rows alike. (Only
 * NaN, which no finite input gives unless the sum overflows, may differ in its unused bits.)
 * A sum of halves is that of the floats they are equal to. Pointers need no more alignment than an
 * element has; nothing past dim elements is read.
 */
#ifndef VDIST_KERNEL_H
#define VDIST_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* IEEE 754 binary16, as bits. */
typedef uint16_t VdistHalf;

#define VDIST_HALF_IS_ZERO(h) (((h) & 0x7fff) == 0)
#define VDIST_HALF_IS_INF(h) (((h) & 0x7fff) == 0x7c00)
#define VDIST_HALF_IS_NAN(h) (((h) & 0x7fff) > 0x7c00)

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

	/* The same of halves. */
	float		(*half_l2_squared) (int dim, const VdistHalf *a, const VdistHalf *b);
	float		(*half_inner_product) (int dim, const VdistHalf *a, const VdistHalf *b);
	float		(*half_l1) (int dim, const VdistHalf *a, const VdistHalf *b);
	void		(*half_dot_and_norms) (int dim, const VdistHalf *a, const VdistHalf *b,
									   float *ab, float *aa, float *bb);

	/* vdist_half_to_float and vdist_float_to_half of n elements */
	void		(*half_to_float) (int n, const VdistHalf *x, float *out);
	void		(*float_to_half) (int n, const float *x, VdistHalf *out);

	/* the number of bits in which a and b differ */
	uint64_t	(*bit_hamming) (size_t bytes, const uint8_t *a, const uint8_t *b);

	/* the numbers of bits that both have, and that at least one has */
	void		(*bit_overlap) (size_t bytes, const uint8_t *a, const uint8_t *b,
								uint64_t *both, uint64_t *either);
} VdistKernel;

/* Exact; NaN stays NaN. */
static inline float
vdist_half_to_float(VdistHalf h)
{
	uint32_t	exponent = (h >> 10) & 31;
	uint32_t	mantissa = h & 0x3ff;
	uint32_t	bits;
	float		x;

	if (exponent == 0)
	{
		x = (float) mantissa * (1.0f / 16777216);
		memcpy(&bits, &x, sizeof(bits));
	}
	else if (exponent < 31)
		bits = (exponent + (127 - 15)) << 23 | mantissa << 13;
	else
		bits = 0x7f800000 | mantissa << 13 | (mantissa != 0 ? 0x400000 : 0);
	bits |= (uint32_t) (h & 0x8000) << 16;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* The nearest half, the even one of two; infinity from 65520 on; NaN stays NaN. */
static inline VdistHalf
vdist_float_to_half(float x)
{
	uint32_t	bits;
	uint32_t	sign;

	memcpy(&bits, &x, sizeof(bits));
	sign = (bits >> 16) & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return (VdistHalf) (sign | 0x7e00 | (bits >> 13 & 0x1ff));
	if (bits >= 0x47800000)
		return (VdistHalf) (sign | 0x7c00);
	if (bits >= 0x38800000)
	{
		/* Normal: a carry out of the mantissa is the next exponent, and infinity at the end. */
		bits += 0xfff + (bits >> 13 & 1);
		return (VdistHalf) (sign | (bits - ((uint32_t) (127 - 15) << 23)) >> 13);
	}

	/* Subnormal: beside 0.5 floats lie as far apart as subnormal halves, so the addition rounds. */
	memcpy(&x, &bits, sizeof(x));
	x += 0.5f;
	memcpy(&bits, &x, sizeof(bits));
	return (VdistHalf) (sign | (bits - 0x3f000000));
}

/* The kernels in use; never NULL, also before vdist_kernel_select is called. */
extern const VdistKernel *vdist_kernel;

/* True when this CPU and operating system can run the variant. */
extern bool vdist_kernel_supported(VdistSimd simd);

/* Use a variant; AUTO takes the widest supported. False, and no change, when it is not supported. */
extern bool vdist_kernel_select(VdistSimd simd);

#endif							/* VDIST_KERNEL_H */
