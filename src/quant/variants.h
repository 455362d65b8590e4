/*
 * variants.h: what the SIMD variants of quant/ share among themselves. Nobody else includes this.
 *
 * An estimate is  (add + query.add) + (scale * query.scale) * (2 * <u, v> - bias)  with u the code's
 * fields and v the query's bytes; for L1 it is  (add + query.add) + query.scale * sum |u' - v|  with u' the code's
 * fields widened to 8 bits. Multiplications and additions happen in this order in every variant.
 * A code of 6 bits is one of the upper 4 bits, followed by one of the lower 2: <u, v> is four times
 * the former's sum plus the latter's.
 */
#ifndef VDIST_QUANT_VARIANTS_H
#define VDIST_QUANT_VARIANTS_H

#include <math.h>
#include <string.h>

#include "quant/quant.h"

/* Below -O3, gcc makes no vector instructions of a loop whose length it does not know. */
#if defined(__GNUC__) && !defined(__clang__)
#define VDIST_QUANT_VECTORIZE __attribute__((optimize("O3")))
#else
#define VDIST_QUANT_VECTORIZE
#endif

/* Passes over dim components (lanes.c). */
typedef struct VdistQuantPasses
{
	/* out = a - b */
	void		(*subtract) (int dim, const float *a, const float *b, float *out);

	/* the largest magnitude */
	float		(*peak) (int dim, const float *x);

	/* x * factor rounded to integers, which are at most limit; their sum and that of their squares */
	void		(*round_to_bytes) (int dim, const float *x, float factor, int limit, int8_t *out,
								   int32_t *sum, int32_t *squares);

	/* z = the centred level of x * factor: an odd multiple of 1/2, at most (2^bits - 1) / 2 */
	void		(*levels) (int dim, const float *x, float factor, int bits, float *z);

	/* see vdist_quant_taxicab: three sums, of distances, squared widths and what is unseen */
	void		(*taxicab) (int dim, bool roots, const float *query, const float *row, float lost,
							float *sums);
} VdistQuantPasses;

typedef struct VdistQuantVariant
{
	const char *name;

	/* which == NULL means codes 0 to n - 1 */
	void		(*estimate) (const VdistQuantQuery *query, const void *codes, size_t stride,
							 const uint16_t *which, int n, float *distance);
	void		(*rotate) (int dim, float *x);
	void		(*unrotate) (int dim, float *x);
	const VdistQuantPasses *passes;
} VdistQuantVariant;

extern const VdistQuantPasses vdist_quant_passes_scalar;
extern const VdistQuantPasses vdist_quant_passes_avx2;
extern const VdistQuantVariant vdist_quant_scalar;
extern const VdistQuantVariant *vdist_quant_variant;

#if defined(__x86_64__)
extern const VdistQuantVariant vdist_quant_avx2;
extern const VdistQuantVariant vdist_quant_avx512;
#endif

extern void vdist_quant_rotate_scalar(int dim, float *x);
extern void vdist_quant_rotate_avx2(int dim, float *x);
extern void vdist_quant_unrotate_scalar(int dim, float *x);
extern void vdist_quant_unrotate_avx2(int dim, float *x);

/*
 * Run step(f) for every field of a byte, unrolled for a constant number of bits: the compiler does
 * not unroll such loops by itself at -O2, and f is a shift count of the inner loop.
 */
#define VDIST_QUANT_EACH_FIELD(bits, step) \
	do { \
		step(0); \
		if ((bits) <= 4) \
		{ \
			step(1); \
		} \
		if ((bits) <= 2) \
		{ \
			step(2); \
			step(3); \
		} \
		if ((bits) == 1) \
		{ \
			step(4); \
			step(5); \
			step(6); \
			step(7); \
		} \
	} while (0)

/*
 * Heads. Which factors a code carries depends on metric and bits:
 *	 6, 8 bits:			 float add, float scale
 *	 L1, 1 to 4 bits:	 short float add
 *	 L2, 2 and 4 bits:	 short float norm; add = norm^2 and scale = norm, a constant being the query's
 *	 L2, 1 bit:			 short float norm, short float scale; add = norm^2
 *	 IP, 1 to 4 bits:	 upper half of a float add, short float scale
 * A short float has no sign, 7 bits of exponent (2^-63 to 2^64) and 9 of mantissa.
 */
#define HEAD_FLOATS 8
#define HEAD_PAIR 4
#define HEAD_SHORT 2

static inline float
vdist_quant_bits_float(uint32_t bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* 0 means 0; everything else is normal. */
static inline float
vdist_quant_short(uint16_t s)
{
	return s == 0 ? 0.0f : vdist_quant_bits_float(((uint32_t) s << 14) + (64u << 23));
}

static inline void
vdist_quant_factors(VdistQuantMetric metric, int head, const char *code, float *add, float *scale)
{
	uint16_t	h[2];

	if (head == HEAD_FLOATS)
	{
		memcpy(add, code, sizeof(float));
		memcpy(scale, code + sizeof(float), sizeof(float));
	}
	else if (head == HEAD_SHORT)
	{
		memcpy(h, code, HEAD_SHORT);
		*scale = vdist_quant_short(h[0]);
		*add = metric == VDIST_QUANT_L1 ? *scale : *scale * *scale;
	}
	else
	{
		memcpy(h, code, HEAD_PAIR);
		*scale = vdist_quant_short(h[1]);
		if (metric == VDIST_QUANT_L2)
		{
			*add = vdist_quant_short(h[0]);
			*add *= *add;
		}
		else
			*add = vdist_quant_bits_float((uint32_t) h[0] << 16);
	}
}

/* The fixed epilogue: from the integer sum over a code to its estimate. */
static inline float
vdist_quant_finish(const VdistQuantQuery *query, const char *code, int32_t sum)
{
	float		add;
	float		scale;

	vdist_quant_factors(query->metric, query->head, code, &add, &scale);
	if (query->metric == VDIST_QUANT_L1)
		return (add + query->add) + query->scale * (float) sum;
	return (add + query->add) + (scale * query->scale) * (float) (2 * sum - query->bias);
}

/* Bytes of dim fields of a power of two of bits. */
static inline int
vdist_quant_width(int dim, int bits)
{
	return 4 * ((dim * bits + 31) / 32);
}

/*
 * code.c: the levels that a code has of n dimensions, the first of which is `first`. Of dimensions that it has no
 * field of they are 0.
 */
extern void vdist_quant_levels(const VdistQuant *quant, const void *code, int first, int n,
							   uint8_t *level);

/* The step of the best uniform quantizer of a unit Gaussian with 2 to 8 bits (Max 1960). */
static inline float
vdist_quant_step(int bits)
{
	static const float step[9] = {0, 0, 0.9957f, 0, 0.3352f, 0, 0.1041f, 0, 0.0308f};

	return step[bits];
}

/*
 * The usual scale of a code (||r||^2 / <r, z>) of a vector of length 1: the step of a Gaussian's best
 * quantizer over the share of its length that the quantizer keeps.
 */
static inline float
vdist_quant_unit(int dim, int bits)
{
	static const float unit[9] = {0, 0, 1.1300f, 0, 0.3391f, 0, 0.1042f, 0, 0.0308f};

	return unit[bits] / sqrtf((float) dim);
}

/* L1's 8-bit level of a centred component: its position between -range and range. */
static inline int
vdist_quant_level(float x, float range)
{
	float		t = range > 0.0f ? (x + range) * (127.5f / range) : 127.5f;

	t = t > 0.0f ? t : 0.0f;
	t = t < 255.0f ? t : 255.0f;
	return (int) (t + 0.5f);
}

static inline const char *
vdist_quant_at(const void *codes, size_t stride, const uint16_t *which, int i)
{
	return (const char *) codes + stride * (which ? which[i] : i);
}

#endif							/* VDIST_QUANT_VARIANTS_H */
