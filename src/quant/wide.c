/*
 * wide.c: the graph build's kernels for records of floats, for data that bytes cannot tell apart. Pure
 * C; reached through vdist_wide_blocks.
 *
 * A word of a record is a float here, and a "sum" is the distance itself, in the bits of a float. Written
 * once with the compiler's vectors (lanes.h); every width adds in the same order.
 */
#include <string.h>

#include "quant/blocks.h"
#include "quant/lanes.h"

#define INLINE static inline __attribute__((always_inline))

/* Rows that one pass over a block of 16 columns serves. */
#define ROWS 4

INLINE void
pack(const uint8_t *const *rows, int n, int words, uint8_t *out)
{
	for (int block = 0; block < n; block += 16)
	{
		for (int k = 0; k < words; k++)
		{
			for (int i = 0; i < 16; i++)
				memcpy(out + 4 * i, rows[block + i < n ? block + i : block] + 4 * k, 4);
			out += 64;
		}
	}
}

/* Add to *sum what components differ by. */
INLINE void
add_difference(Block *sum, const Block *difference, bool l1)
{
	if (l1)
		*sum += (Block) ((IntBlock) *difference & INT32_MAX);
	else
		*sum += *difference * *difference;
}

/* nrows is a constant. */
INLINE void
sums_tile(const uint8_t *const *rows, int nrows, const uint8_t *block, int words, bool l1,
		  int32_t *out, int ld)
{
	Block		sum[ROWS][2];

#pragma GCC unroll 4
	for (int i = 0; i < nrows; i++)
		memset(sum[i], 0, sizeof(sum[i]));
	for (int k = 0; k < words; k++)
	{
		Block		c0 = *(const Block *) (block + 64 * k);
		Block		c1 = *(const Block *) (block + 64 * k + 32);

#pragma GCC unroll 4
		for (int i = 0; i < nrows; i++)
		{
			float		x;
			Block		d0;
			Block		d1;

			memcpy(&x, rows[i] + 4 * k, 4);
			d0 = c0 - x;
			d1 = c1 - x;
			add_difference(&sum[i][0], &d0, l1);
			add_difference(&sum[i][1], &d1, l1);
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < nrows; i++)
	{
		*(Block *) (out + (size_t) i * ld) = sum[i][0];
		*(Block *) (out + (size_t) i * ld + 8) = sum[i][1];
	}
}

#include "quant/tiles.h"

INLINE void
sums(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words, bool l1,
	 int32_t *out, int ld)
{
	if (l1)
		sums_metric(rows, n, packed, ncolumns, words, true, out, ld);
	else
		sums_metric(rows, n, packed, ncolumns, words, false, out, ld);
}

INLINE int32_t
sum_pair(const uint8_t *a, const uint8_t *b, int words, bool l1)
{
	const float *x = (const float *) a;
	const float *y = (const float *) b;
	Block		sum = {0};
	float		rest = 0.0f;
	int32_t		bits;
	int			i = 0;

	for (; i + LANES <= words; i += LANES)
	{
		Block		d = *(const Block *) (x + i) - *(const Block *) (y + i);

		add_difference(&sum, &d, l1);
	}
	for (; i < words; i++)
	{
		float		d = x[i] - y[i];

		rest += l1 ? (d < 0.0f ? -d : d) : d * d;
	}
	rest += ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
	memcpy(&bits, &rest, sizeof(bits));
	return bits;
}

INLINE void
sums_list(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1, int32_t *out)
{
	for (int i = 0; i < n; i++)
		out[i] = l1 ? sum_pair(a, rows[i], words, true) : sum_pair(a, rows[i], words, false);
}

INLINE int
pick(const int32_t *sums, int n, VdistRowFactors row, float factor,
	 const VdistColumnFactors *columns, int first, float bound, uint16_t *which, float *distance)
{
	int			count = 0;

	(void) row;
	(void) factor;
	(void) columns;
	(void) first;
	for (int j = 0; j < n; j++)
	{
		float		d;

		/* no branch: which are below the bound is as good as random */
		memcpy(&d, &sums[j], sizeof(d));
		which[count] = (uint16_t) j;
		distance[count] = d;
		count += d < bound;
	}
	return count;
}

/* One instance of every function for a target. */
#define INSTANCES(name, attributes) \
	attributes static void \
	pack_##name(const uint8_t *const *rows, int n, int words, uint8_t *out) \
	{ \
		pack(rows, n, words, out); \
	} \
	attributes static void \
	sums_##name(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words, \
				bool l1, int32_t *out, int ld) \
	{ \
		sums(rows, n, packed, ncolumns, words, l1, out, ld); \
	} \
	attributes static void \
	sums_list_##name(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1, \
					 int32_t *out) \
	{ \
		sums_list(a, rows, n, words, l1, out); \
	} \
	attributes static int \
	pick_##name(const int32_t *values, int n, VdistRowFactors row, float factor, \
				const VdistColumnFactors *columns, int first, float bound, uint16_t *which, \
				float *distance) \
	{ \
		return pick(values, n, row, factor, columns, first, bound, which, distance); \
	} \
	const VdistBlocks vdist_wide_blocks_##name = { \
		pack_##name, sums_##name, sums_list_##name, pick_##name \
	}

FOR_EVERY_TARGET(INSTANCES)

const VdistBlocks *vdist_wide_blocks = &vdist_wide_blocks_scalar;
