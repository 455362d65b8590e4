/*
 * query.c: queries in the form that estimate.c compares with codes. Pure C; calls code.c, rotate.c and
 * the exact kernels, called by the access methods.
 */
#include <float.h>
#include <math.h>

#include "quant/variants.h"

/* An estimate is taken to be wrong by so many standard deviations when errors depend on it. */
#define ALONG_SIGMAS 6.0f

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
	int			dim = quant->coded;
	int			planes = planes_of(quant);
	const VdistQuantPasses *passes = vdist_quant_variant->passes;
	float		peak;
	float		inverse;
	int32_t		sum;
	int32_t		squares;

	query->metric = quant->metric;
	query->dim = quant->dim;
	query->coded = quant->coded;
	query->bits = quant->bits;
	query->head = quant->head;
	query->width = quant->width;
	query->add = (add < FLT_MAX ? add : FLT_MAX) + quant->lost;
	query->norm = norm;

	if (quant->metric == VDIST_QUANT_L1)
	{
		/* padding must equal what an all-zero field widens to */
		int			half = quant->bits == 8 ? 0 : 1 << (7 - quant->bits);

		/* what clipping cuts off counts as in encoding */
		query->add = 0.0f;
		for (int i = 0; i < dim; i++)
		{
			float		excess = fabsf(r[i]) - quant->range;

			if (excess > 0.0f)
				query->add += excess;
		}
		query->add = query->add < FLT_MAX ? query->add : FLT_MAX;
		query->bias = 0;
		query->scale = quant->range / 127.5f;
		query->step = query->scale;
		for (int i = 0; i < dim; i++)
			query->v[i] = (int8_t) vdist_quant_level(r[i], quant->range);
		memset(query->v + dim, half, planes - dim);
		memset(query->v + planes, 0, 64);
		return;
	}

	/* steps of 1/128, so that halves are whole numbers of them */
	peak = quant->binary ? 127.0f / 128.0f : passes->peak(dim, r);
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

/* Centre (and, but for L1, rotate) x into r; what the query adds to all estimates, and its length. */
static void
centre(const VdistQuant *quant, const float *x, float *r, float *add, float *norm)
{
	int			dim = quant->dim;
	float		n2;

	vdist_quant_variant->passes->subtract(dim, x, quant->mean, r);
	n2 = vdist_kernel->inner_product(dim, r, r);
	*add = 0.0f;
	if (quant->metric == VDIST_QUANT_L2)
		*add = n2;
	else if (quant->metric == VDIST_QUANT_IP)
		*add = -vdist_kernel->inner_product(dim, x, quant->mean);
	if (quant->metric != VDIST_QUANT_L1 && !quant->rotated)
		vdist_quant_variant->rotate(dim, r);
	*norm = sqrtf(n2);
}

void
vdist_quant_query(const VdistQuant *quant, const float *x, VdistQuantQuery *query, float *scratch)
{
	float		add;
	float		norm;

	centre(quant, x, scratch, &add, &norm);
	finish(quant, scratch, add, norm, query);
}

void
vdist_quant_query_fine(const VdistQuant *quant, const VdistQuant *coarse, const float *x,
					   VdistQuantQuery *query, VdistQuantQuery *rest, VdistQuantQuery *other,
					   float *scratch)
{
	float	   *r = scratch;
	float		add;
	float		norm;

	centre(quant, x, r, &add, &norm);
	finish(coarse, r, add, norm, other);
	finish(quant, r, add, norm, query);
	if (quant->metric == VDIST_QUANT_L1)
		return;
	for (int i = 0; i < quant->dim; i++)
		r[i] -= query->step * (float) query->v[i];
	finish(quant, r, -quant->lost, 0.0f, rest);
	query->step = rest->step;
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

/*
 * Square of the tangent of the angle between a vector, centred and rotated, and its code: its expectation for Gaussian
 * elements by bits, or, where the code's factors are exact (add is the squared length), what they tell.
 * Below, elements are in units of their deviation. With f what rounding took from r, of which it leaves
 * the multiple z of the step, scale / step = 1 / (1 - <r, f> / |r|^2). Rounding alone gives <r, f> a mean
 * of dim step^2 / 12 and a deviation of sqrt(dim / 12) step; more is due to elements beyond the outermost
 * level. The worst is that it was a single one, by x: then it is (limit + x) x.
 */
static float
tangent2_of(const VdistQuantQuery *query, float add, float scale)
{
	static const float expected[9] = {0, 0.7555f, 0.3672f, 0, 0.1081f, 0, 0.0323f, 0, 0.0098f};
	float		dim = (float) query->dim;
	float		step = vdist_quant_step(query->bits);
	float		limit = step * (float) (1 << (query->bits - 1));
	float		beyond;
	float		x = 0.0f;

	/* of a short code's squared length as much is missing as of the components */
	if (query->metric != VDIST_QUANT_L2 || query->head != HEAD_FLOATS || !(scale > 0.0f))
		return (1.0f + expected[query->bits] * expected[query->bits]) * dim / query->coded - 1.0f;
	beyond = dim * (1.0f - step * sqrtf(add / dim) / scale) + sqrtf(dim / 12.0f) * step;
	if (beyond > 0.0f)
		x = (sqrtf(limit * limit + 4.0f * beyond) - limit) / 2.0f;
	return step * step / 12.0f + x * x / dim;
}

float
vdist_quant_lost(const VdistQuantQuery *query, const void *code)
{
	float		add;
	float		scale;

	vdist_quant_factors(query->metric, query->head, code, &add, &scale);
	return sqrtf(add * tangent2_of(query, add, scale) / (float) query->dim);
}

float
vdist_quant_taxicab(int dim, bool roots, const float *query, const float *row, float lost,
					float *error, float *unseen)
{
	float		sums[3];

	vdist_quant_variant->passes->taxicab(dim, roots, query, row, lost, sums);
	*error = sqrtf(sums[1]);
	*unseen = sums[2];
	return sums[0];
}

float
vdist_quant_error(const VdistQuantQuery *query, const void *code, float estimate)
{
	float		add;
	float		scale;
	float		norm;
	float		tangent2;
	float		query2 = query->norm * query->norm;
	float		across2 = query2;
	float		rounding2;
	float		root = sqrtf((float) query->dim);

	vdist_quant_factors(query->metric, query->head, code, &add, &scale);
	if (query->metric == VDIST_QUANT_L1)
	{
		/* both sides are rounded evenly within their steps */
		float		step = query->step * (float) (1 << (8 - query->bits));

		/*
		 * what both exceed the range by on one side counts twice in the estimate, and not at all
		 * in truth
		 */
		return root * sqrtf((step * step + query->step * query->step) / 12.0f) +
			fminf(add, query->add) * 2.0f / ALONG_SIGMAS;
	}

	tangent2 = tangent2_of(query, add, scale);

	/* the query's own rounding adds 1/sqrt(12) of its step in every dimension */
	rounding2 = (float) query->dim * query->step * query->step / 12.0f;
	if (query->metric == VDIST_QUANT_L2)
	{
		norm = 2.0f * sqrtf(add);
		if (norm > 0.0f)
		{
			/* how far the query lies along the row, less what the estimate may be wrong by */
			float		along = fabsf((add + query2 - estimate) / norm) -
			ALONG_SIGMAS * sqrtf(query2 * tangent2 + rounding2) / root;

			if (along > 0.0f)
				across2 = query2 > along * along ? query2 - along * along : 0.0f;
		}
	}
	else
		norm = query->head == HEAD_PAIR && query->bits == 1 ?
			scale * 0.399f * (float) query->coded / root :
			scale / vdist_quant_unit(1, query->bits) * root;

	/* and floats round sums of squares */
	return norm * sqrtf(across2 * tangent2 + rounding2) / root +
		FLT_EPSILON * (query->metric == VDIST_QUANT_L2 ? add + query2 : 0.0f);
}
