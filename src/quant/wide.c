/*
 * wide.c: the graph build's kernels for records of floats, for data that bytes cannot tell apart, in portable
 * C, which wide_avx2.c follows. Pure C; reached through vdist_wide_blocks.
 *
 * A word of a record is a float here, and a "sum" is the distance itself, in the bits of a float. Squares are
 * added by fused multiply-adds, in the same order everywhere: component by component where a block of columns is
 * compared, eight sums side by side where it is single rows.
 */
#include <math.h>
#include <string.h>

#include "quant/blocks.h"
#include "quant/variants.h"

#define LANES 8
#define COLUMNS 16

static void
pack(const uint8_t *const *rows, int n, int words, uint8_t *out)
{
	for (int block = 0; block < n; block += COLUMNS)
	{
		for (int k = 0; k < words; k++)
		{
			for (int i = 0; i < COLUMNS; i++)
				memcpy(out + 4 * i, rows[block + i < n ? block + i : block] + 4 * k, 4);
			out += 4 * COLUMNS;
		}
	}
}

/* Add to each of n sums what x differs from a column by; or, where step is 1, what n pairs of components do. */
static inline void
add_differences(int n, const float *x, int step, const float *columns, bool l1, float *sum)
{
	for (int i = 0; i < n; i++)
	{
		float		d = columns[i] - x[i * step];

		sum[i] = l1 ? sum[i] + fabsf(d) : fmaf(d, d, sum[i]);
	}
}

VDIST_QUANT_VECTORIZE static void
sums(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words, bool l1,
	 int32_t *out, int ld)
{
	for (int j = 0; j < ncolumns; j += COLUMNS)
	{
		const float *block = (const float *) (packed + (size_t) j * 4 * words);

		for (int i = 0; i < n; i++)
		{
			const float *row = (const float *) rows[i];
			float		sum[COLUMNS] = {0};

			for (int k = 0; k < words; k++)
				add_differences(COLUMNS, row + k, 0, block + COLUMNS * k, l1, sum);
			memcpy(out + (size_t) i * ld + j, sum, sizeof(sum));
		}
	}
}

VDIST_QUANT_VECTORIZE static void
sums_list(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1, int32_t *out)
{
	const float *x = (const float *) a;

	for (int i = 0; i < n; i++)
	{
		const float *y = (const float *) rows[i];
		float		sum[LANES] = {0};
		int			k = 0;
		float		all;

		for (; k + LANES <= words; k += LANES)
			add_differences(LANES, y + k, 1, x + k, l1, sum);
		add_differences(words - k, y + k, 1, x + k, l1, sum);
		all = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
		memcpy(&out[i], &all, sizeof(all));
	}
}

static int
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

const VdistBlocks vdist_wide_blocks_scalar = {pack, sums, sums_list, pick};

const VdistBlocks *vdist_wide_blocks = &vdist_wide_blocks_scalar;
