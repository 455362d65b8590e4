/*
 * variants.h: what the SIMD variants of quant/ share among themselves. Nobody else includes this.
 *
 * An estimate is  add + query.add + (scale * query.scale) * (2 * <u, v> - bias)  with u the code's
 * fields and v the query's bytes; for L1 it is  add + query.scale * sum |u' - v|  with u' the code's
 * fields widened to 8 bits. Multiplications and additions happen in this order in every variant.
 */
#ifndef VDIST_QUANT_VARIANTS_H
#define VDIST_QUANT_VARIANTS_H

#include <string.h>

#include "quant/quant.h"

typedef struct VdistQuantVariant
{
	const char *name;

	/* which == NULL means codes 0 to n - 1 */
	void		(*estimate) (const VdistQuantQuery *query, const void *codes, size_t stride,
							 const uint16_t *which, int n, float *distance);
	void		(*rotate) (int dim, float *x);
} VdistQuantVariant;

extern const VdistQuantVariant vdist_quant_scalar;
extern const VdistQuantVariant *vdist_quant_variant;

#if defined(__x86_64__)
extern const VdistQuantVariant vdist_quant_avx2;
extern const VdistQuantVariant vdist_quant_avx512;
#endif

extern void vdist_quant_rotate_scalar(int dim, float *x);
extern void vdist_quant_rotate_avx2(int dim, float *x);
extern void vdist_quant_rotate_avx512(int dim, float *x);

static inline float
vdist_quant_load(const char *p)
{
	float		f;

	memcpy(&f, p, sizeof(f));
	return f;
}

/* The fixed epilogue: from the integer sum over a code to its estimate. */
static inline float
vdist_quant_finish(const VdistQuantQuery *query, const char *code, int32_t sum)
{
	float		add = vdist_quant_load(code);

	if (query->metric == VDIST_QUANT_L1)
		return add + query->scale * (float) sum;
	return (add + query->add) +
		(vdist_quant_load(code + 4) * query->scale) * (float) (2 * sum - query->bias);
}

static inline const char *
vdist_quant_at(const void *codes, size_t stride, const uint16_t *which, int i)
{
	return (const char *) codes + stride * (which ? which[i] : i);
}

#endif							/* VDIST_QUANT_VARIANTS_H */
