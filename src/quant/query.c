/*
 * query.c: queries in the form that estimate.c compares with codes. Pure C; calls code.c, rotate.c and
 * the exact kernels, called by the access methods.
 */
#include <float.h>
#include <math.h>

#include "quant/variants.h"

size_t
vdist_quant_query_size(int dim)
{
	/* the fields of all planes, and what a 64-byte load may read beyond them */
	return offsetof(VdistQuantQuery, v) + (size_t) dim + 32 + 64;
}

/* Bytes of v that belong to fields, padding included. */
static int
planes_of(const VdistQuant *quant)
{
	if (quant->bits == 6)
		return 4 * vdist_quant_width(quant->dim, 2);
	return quant->width * (8 / quant->bits);
}

/* From a centred (and, but for L1, rotated) query. */
static void
finish(const VdistQuant *quant, const float *r, float add, float norm, VdistQuantQuery *query)
{
	int			dim = quant->dim;
	int			planes = planes_of(quant);
	const VdistQuantPasses *passes = vdist_quant_variant->passes;
	float		peak;
	float		inverse;
	int32_t		sum;
	int32_t		squares;

	query->metric = quant->metric;
	query->dim = dim;
	query->bits = quant->bits;
	query->head = quant->head;
	query->width = quant->width;
	query->add = add < FLT_MAX ? add : FLT_MAX;
	query->norm = norm;

	if (quant->metric == VDIST_QUANT_L1)
	{
		/* padding must equal what an all-zero field widens to */
		int			half = quant->bits == 8 ? 0 : 1 << (7 - quant->bits);

		query->bias = 0;
		query->scale = quant->range / 127.5f;
		query->step = query->scale;
		for (int i = 0; i < dim; i++)
			query->v[i] = (int8_t) vdist_quant_level(r[i], quant->range);
		memset(query->v + dim, half, planes - dim);
		memset(query->v + planes, 0, 64);
		return;
	}

	peak = passes->peak(dim, r);
	inverse = peak > 0.0f ? 127.0f / peak : 0.0f;
	if (!isfinite(inverse))
		inverse = 0.0f;
	passes->round_to_bytes(dim, r, inverse, 127, query->v, &sum, &squares);
	memset(query->v + dim, 0, planes - dim + 64);
	query->bias = ((1 << quant->bits) - 1) * sum;

	query->step = peak / 127.0f;

	/* half of the step of v, because the sums carry twice the product; L2 wants minus twice it */
	query->scale = -0.5f * query->step;
	if (quant->metric == VDIST_QUANT_L2)
		query->scale *= 2.0f;
	if (quant->head == HEAD_SHORT)
		query->scale *= vdist_quant_unit(dim, quant->bits);
}

void
vdist_quant_query(const VdistQuant *quant, const float *x, VdistQuantQuery *query, float *scratch)
{
	int			dim = quant->dim;
	float	   *r = scratch;
	float		n2;
	float		add = 0.0f;

	vdist_quant_variant->passes->subtract(dim, x, quant->mean, r);
	n2 = vdist_kernel->inner_product(dim, r, r);
	if (quant->metric == VDIST_QUANT_L2)
		add = n2;
	else if (quant->metric == VDIST_QUANT_IP)
		add = -vdist_kernel->inner_product(dim, x, quant->mean);
	if (quant->metric != VDIST_QUANT_L1)
		vdist_quant_variant->rotate(dim, r);
	finish(quant, r, add, sqrtf(n2), query);
}

void
vdist_quant_query_code(const VdistQuant *quant, const void *code, const VdistQuant *target,
					   VdistQuantQuery *query, float *scratch)
{
	float		add;
	float		scale;

	vdist_quant_factors(quant->metric, quant->head, code, &add, &scale);
	vdist_quant_decode(quant, code, scratch);
	finish(target, scratch, quant->metric == VDIST_QUANT_L2 ? add : 0.0f, sqrtf(add), query);
}

float
vdist_quant_error(const VdistQuantQuery *query, const void *code)
{
	/* tangent of the mean angle between a Gaussian vector and its code, by bits */
	static const float tangent[9] = {0, 0.7555f, 0.3672f, 0, 0.1081f, 0, 0.0323f, 0, 0.0098f};
	float		add;
	float		scale;
	float		norm;
	float		root = sqrtf((float) query->dim);

	vdist_quant_factors(query->metric, query->head, code, &add, &scale);
	if (query->metric == VDIST_QUANT_L1)
	{
		/* both sides are rounded evenly within their steps */
		float		step = query->step * (float) (1 << (8 - query->bits));

		return root * sqrtf((step * step + query->step * query->step) / 12.0f);
	}
	if (query->metric == VDIST_QUANT_L2)
		norm = 2.0f * sqrtf(add);
	else
		norm = query->head == HEAD_PAIR && query->bits == 1 ? scale * 0.399f * root :
			scale / vdist_quant_unit(1, query->bits) * root;

	/* the query's own rounding adds 1/sqrt(12) of its step in every dimension */
	return norm * sqrtf(query->norm * query->norm * tangent[query->bits] * tangent[query->bits] +
						(float) query->dim * query->step * query->step / 12.0f) / root;
}
