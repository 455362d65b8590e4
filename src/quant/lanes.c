/*
 * lanes.c: the passes over a vector's components that encoding and query preparation consist of. Pure
 * C; reached through the variant table, called by code.c, query.c and encode.c.
 *
 * Written once with the compiler's vectors (lanes.h), compiled for every SIMD width. Sums are of
 * integers, or lane by lane, and a peak does not depend on order, so all widths agree.
 */
#include "quant/lanes.h"
#include "quant/variants.h"

static inline __attribute__((always_inline)) void
subtract(int dim, const float *a, const float *b, float *out)
{
	int			i = 0;

	for (; i + LANES <= dim; i += LANES)
		*(Block *) (out + i) = *(const Block *) (a + i) - *(const Block *) (b + i);
	for (; i < dim; i++)
		out[i] = a[i] - b[i];
}

static inline __attribute__((always_inline)) float
peak(int dim, const float *x)
{
	IntBlock	most = {0};
	int32_t		result = 0;
	float		value;
	int			i = 0;

	/* magnitudes compare like their bits; what is not a number is larger than all */
	for (; i + LANES <= dim; i += LANES)
	{
		IntBlock	magnitude = *(const IntBlock *) (x + i) & INT32_MAX;
		IntBlock	larger = magnitude > most;

		most = (magnitude & larger) | (most & ~larger);
	}
	for (int j = 0; j < LANES; j++)
		result = most[j] > result ? most[j] : result;
	for (; i < dim; i++)
	{
		int32_t		magnitude;

		memcpy(&magnitude, x + i, sizeof(magnitude));
		magnitude &= INT32_MAX;
		result = magnitude > result ? magnitude : result;
	}
	memcpy(&value, &result, sizeof(value));
	return value;
}

static inline __attribute__((always_inline)) void
round_to_bytes(int dim, const float *x, float factor, int limit, int8_t *out, int32_t *sum,
			   int32_t *squares)
{
	IntBlock	sums = {0};
	IntBlock	square_sums = {0};
	float		most = (float) limit + 0.4f;
	int			i = 0;

	for (; i + LANES <= dim; i += LANES)
	{
		Block		t = *(const Block *) (x + i) * factor;
		IntBlock	sign = (IntBlock) t & INT32_MIN;
		Block		magnitude = (Block) ((IntBlock) t & INT32_MAX);
		const Block half = (Block) {0} +0.5f;
		IntBlock	v;

		/* what is larger or not a number comes from an overflow: 0 */
		t = (Block) ((IntBlock) t & (magnitude <= most));
		v = __builtin_convertvector(t + (Block) ((IntBlock) half | sign), IntBlock);
		sums += v;
		square_sums += v * v;
		*(ByteBlock *) (out + i) = __builtin_convertvector(v, ByteBlock);
	}
	*sum = 0;
	*squares = 0;
	for (int j = 0; j < LANES; j++)
	{
		*sum += sums[j];
		*squares += square_sums[j];
	}
	for (; i < dim; i++)
	{
		float		t = x[i] * factor;
		int			v;

		if (!((t < 0.0f ? -t : t) <= most))
			t = 0.0f;
		v = (int) (t + (t < 0.0f ? -0.5f : 0.5f));
		out[i] = (int8_t) v;
		*sum += v;
		*squares += v * v;
	}
}

static inline __attribute__((always_inline)) void
levels(int dim, const float *x, float factor, int bits, float *z)
{
	float		half = (float) (1 << (bits - 1));
	float		limit = (float) ((1 << bits) - 1);
	const Block most = (Block) {0} +limit;
	int			i = 0;

	for (; i + LANES <= dim; i += LANES)
	{
		Block		t = *(const Block *) (x + i) * factor + half;
		IntBlock	below;

		t = (Block) ((IntBlock) t & (t > 0.0f));
		below = t < limit;
		t = (Block) (((IntBlock) t & below) | ((IntBlock) most & ~below));
		*(Block *) (z + i) = __builtin_convertvector(__builtin_convertvector(t, IntBlock), Block) -
			(half - 0.5f);
	}
	for (; i < dim; i++)
	{
		float		t = x[i] * factor + half;

		t = t > 0.0f ? t : 0.0f;
		t = t < limit ? t : limit;
		z[i] = (float) (int) t - (half - 0.5f);
	}
}

/* See variants.h. A component of the row's is wrong by lost, or, squared, by 2 |r| lost + lost^2. */
static inline __attribute__((always_inline)) void
taxicab(int dim, bool roots, const float *query, const float *row, float lost, float *sums)
{
	Block		sum = {0};
	Block		variance = {0};
	Block		unseen = {0};
	Block		q = {0};
	Block		r = {0};

	for (int i = 0; i < dim; i += LANES)
	{
		Block		d;
		Block		width;

		if (i + LANES <= dim)
		{
			q = *(const Block *) (query + i);
			r = *(const Block *) (row + i);
		}
		else
			for (int j = 0; j < LANES; j++)
			{
				/* no difference, and little width */
				q[j] = i + j < dim ? query[i + j] : 0.0f;
				r[j] = i + j < dim ? row[i + j] : 0.0f;
			}
		if (roots)
		{
			Block		length = (Block) ((IntBlock) r & INT32_MAX);

			d = length * r - (Block) ((IntBlock) q & INT32_MAX) * q;
			width = (length * 2.0f + lost) * lost;
		}
		else
		{
			d = r - q;
			width = (Block)
			{
				0
			} +lost;
		}
		d = (Block) ((IntBlock) d & INT32_MAX);
		sum += d;
		variance += width * width;
		d = width * 2.0f - d;
		unseen += (Block) ((IntBlock) d & (d > 0.0f));
	}
	sums[0] = sums[1] = sums[2] = 0.0f;
	for (int j = 0; j < LANES; j++)
	{
		sums[0] += sum[j];
		sums[1] += variance[j];
		sums[2] += unseen[j];
	}
}

/* One instance of every function for a target. */
#define INSTANCES(name, attributes) \
	attributes static void \
	subtract_##name(int dim, const float *a, const float *b, float *out) \
	{ \
		subtract(dim, a, b, out); \
	} \
	attributes static float \
	peak_##name(int dim, const float *x) \
	{ \
		return peak(dim, x); \
	} \
	attributes static void \
	round_to_bytes_##name(int dim, const float *x, float factor, int limit, int8_t *out, \
						  int32_t *sum, int32_t *squares) \
	{ \
		round_to_bytes(dim, x, factor, limit, out, sum, squares); \
	} \
	attributes static void \
	levels_##name(int dim, const float *x, float factor, int bits, float *z) \
	{ \
		levels(dim, x, factor, bits, z); \
	} \
	attributes static void \
	taxicab_##name(int dim, bool roots, const float *query, const float *row, float lost, \
				   float *sums) \
	{ \
		taxicab(dim, roots, query, row, lost, sums); \
	} \
	const VdistQuantPasses vdist_quant_passes_##name = { \
		subtract_##name, peak_##name, round_to_bytes_##name, levels_##name, taxicab_##name \
	}

FOR_EVERY_TARGET(INSTANCES)
