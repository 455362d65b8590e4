/*
 * code.c: from a vector to its code, and from a query to the form that estimate.c compares with
 * codes. Pure C; calls rotate.c and the exact kernels, called by the access methods.
 */
#include <float.h>
#include <math.h>

#include "quant/variants.h"

/* Steps of the best uniform quantizer of a unit Gaussian with 2, 4 and 8 bits (Max 1960). */
#define STEP_2_BITS 0.9957f
#define STEP_4_BITS 0.3352f
#define STEP_8_BITS 0.0308f

/*
 * A rotated vector is nearly, but not quite, Gaussian: the best of a few steps around the Gaussian
 * one is taken for every vector.
 */
static const float trials[] = {1.0f, 0.88f, 1.14f, 0.76f, 1.3f};

#define NTRIALS ((int) (sizeof(trials) / sizeof(trials[0])))

static int
code_width(int dim, int bits)
{
	return 4 * ((dim * bits + 31) / 32);
}

size_t
vdist_quant_code_size(int dim, int bits)
{
	return offsetof(VdistCode, bits) + code_width(dim, bits);
}

void
vdist_quant_init(VdistQuant *quant, VdistQuantMetric metric, int dim, int bits, const float *mean,
				 float range)
{
	quant->metric = metric;
	quant->dim = dim;
	quant->bits = bits;
	quant->width = code_width(dim, bits);
	quant->code_size = vdist_quant_code_size(dim, bits);
	quant->mean = mean;
	quant->range = range;
}

size_t
vdist_quant_query_size(int dim)
{
	/* the fields of all planes, and what a 64-byte load may read beyond them */
	return offsetof(VdistQuantQuery, v) + (size_t) dim + 32 + 64;
}

/* z_i = the centred level of r_i / step: an odd multiple of one half, at most (2^bits - 1) / 2. */
static void
quantize(int dim, int bits, const float *r, float step, float *z)
{
	float		inverse = 1.0f / step;
	float		half = (float) (1 << (bits - 1));
	float		limit = (float) ((1 << bits) - 1);

	for (int i = 0; i < dim; i++)
	{
		float		t = r[i] * inverse + half;

		t = t > 0.0f ? t : 0.0f;
		t = t < limit ? t : limit;
		z[i] = (float) (int) t - (half - 0.5f);
	}
}

static void
pack(const VdistQuant *quant, const float *z, uint8_t *out)
{
	int			bits = quant->bits;
	float		centre = (float) ((1 << bits) - 1) * 0.5f;

	memset(out, 0, quant->width);
	for (int f = 0; f < 8 / bits; f++)
	{
		int			first = f * quant->width;
		int			last = first + quant->width;

		last = last < quant->dim ? last : quant->dim;
		for (int i = first; i < last; i++)
			out[i - first] |= (uint8_t) ((unsigned) (int) (z[i] + centre) << (f * bits));
	}
}

/* One 8-bit level of L1: the position of x in mean +- range. */
static inline int
level(float x, float mean, float range)
{
	float		t = range > 0.0f ? (x - mean + range) * (127.5f / range) : 127.5f;

	t = t > 0.0f ? t : 0.0f;
	t = t < 255.0f ? t : 255.0f;
	return (int) (t + 0.5f);
}

/* L1: no rotation (it would change the distance); what clipping cuts off is kept in add. */
static void
encode_l1(const VdistQuant *quant, const float *x, void *code)
{
	int			bits = quant->bits;
	uint8_t    *out = (uint8_t *) code + offsetof(VdistCode, bits);
	float		head[2] = {0.0f, 0.0f};

	memset(out, 0, quant->width);
	for (int i = 0; i < quant->dim; i++)
	{
		float		over = fabsf(x[i] - quant->mean[i]) - quant->range;
		int			f = i / quant->width;

		if (over > 0.0f)
			head[0] += over;
		out[i - f * quant->width] |=
			(uint8_t) ((level(x[i], quant->mean[i], quant->range) >> (8 - bits)) << (f * bits));
	}
	memcpy(code, head, sizeof(head));
}

void
vdist_quant_encode(const VdistQuant *quant, const float *x, void *code, float *scratch)
{
	int			dim = quant->dim;
	float	   *r = scratch;
	float	   *z = scratch + dim + 64;
	float	   *best = scratch + 2 * (dim + 64);
	float		head[2];
	float		n2;
	float		s;
	float		offset = 0.0f;

	if (quant->metric == VDIST_QUANT_L1)
	{
		encode_l1(quant, x, code);
		return;
	}

	for (int i = 0; i < dim; i++)
		r[i] = x[i] - quant->mean[i];
	n2 = vdist_kernel->inner_product(dim, r, r);
	if (quant->metric == VDIST_QUANT_IP)
		offset = vdist_kernel->inner_product(dim, r, quant->mean);
	vdist_quant_variant->rotate(dim, r);

	if (quant->bits == 1)
	{
		for (int i = 0; i < dim; i++)
			best[i] = r[i] > 0.0f ? 0.5f : -0.5f;
		s = vdist_kernel->inner_product(dim, r, best);
	}
	else
	{
		float		sigma = sqrtf(n2 / (float) dim);
		float		base = quant->bits == 2 ? STEP_2_BITS :
			quant->bits == 4 ? STEP_4_BITS : STEP_8_BITS;
		float		best_cos = -1.0f;
		int			ntrials = quant->bits == 8 ? 1 : NTRIALS;

		s = 0.0f;
		for (int t = 0; t < ntrials; t++)
		{
			float		step = sigma * base * trials[t];
			float		rz;
			float		cos2;

			quantize(dim, quant->bits, r, step > FLT_MIN ? step : FLT_MIN, z);
			rz = vdist_kernel->inner_product(dim, r, z);
			cos2 = rz * rz / vdist_kernel->inner_product(dim, z, z);
			if (t == 0 || cos2 > best_cos)
			{
				float	   *swap = best;

				best = z;
				z = swap;
				best_cos = cos2;
				s = rz;
			}
		}
	}
	pack(quant, best, (uint8_t *) code + offsetof(VdistCode, bits));

	/* <r, q> is estimated by <z, q> * n2 / s; the estimate carries half of 2 <z, q> */
	head[1] = s > 0.0f ? n2 / s : 0.0f;
	if (quant->metric == VDIST_QUANT_L2)
	{
		head[0] = n2;
		head[1] = -2.0f * head[1];
	}
	else
	{
		head[0] = -offset;
		head[1] = -head[1];
	}
	if (!isfinite(head[0]) || !isfinite(head[1]))
	{
		head[0] = FLT_MAX;
		head[1] = 0.0f;
	}
	memcpy(code, head, sizeof(head));
}

void
vdist_quant_query(const VdistQuant *quant, const float *x, VdistQuantQuery *query, float *scratch)
{
	int			dim = quant->dim;
	float	   *r = scratch;
	int			planes = quant->width * (8 / quant->bits);
	float		peak = 0.0f;
	float		inverse;
	int32_t		sum = 0;

	query->metric = quant->metric;
	query->dim = dim;
	query->bits = quant->bits;
	query->width = quant->width;

	if (quant->metric == VDIST_QUANT_L1)
	{
		/* padding must equal what an all-zero field widens to */
		int			half = quant->bits == 8 ? 0 : 1 << (7 - quant->bits);

		query->bias = 0;
		query->scale = quant->range / 127.5f;
		query->add = 0.0f;
		for (int i = 0; i < dim; i++)
			query->v[i] = (int8_t) level(x[i], quant->mean[i], quant->range);
		memset(query->v + dim, half, planes - dim);
		memset(query->v + planes, 0, 64);
		return;
	}

	for (int i = 0; i < dim; i++)
		r[i] = x[i] - quant->mean[i];
	if (quant->metric == VDIST_QUANT_L2)
		query->add = vdist_kernel->inner_product(dim, r, r);
	else
		query->add = -vdist_kernel->inner_product(dim, x, quant->mean);
	vdist_quant_variant->rotate(dim, r);

	for (int i = 0; i < dim; i++)
		peak = fabsf(r[i]) > peak ? fabsf(r[i]) : peak;
	inverse = peak > 0.0f ? 127.0f / peak : 0.0f;
	if (!isfinite(inverse))
		inverse = 0.0f;
	for (int i = 0; i < dim; i++)
	{
		float		t = r[i] * inverse;
		int			v = (int) (t + (t < 0.0f ? -0.5f : 0.5f));

		query->v[i] = (int8_t) v;
		sum += v;
	}
	memset(query->v + dim, 0, planes - dim + 64);
	query->bias = ((1 << quant->bits) - 1) * sum;
	query->scale = peak / 254.0f;
}
