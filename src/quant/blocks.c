/*
 * blocks.c: the graph build's kernels in portable C, which the SIMD variants follow (blocks.h). Pure
 * C; called by cells.c and neighbors.c.
 */
#include <string.h>

#include "quant/blocks.h"

const VdistBlocks *vdist_blocks = &vdist_blocks_scalar;

static void
pack(const uint8_t *const *rows, int n, int words, uint8_t *out)
{
	for (int block = 0; block < n; block += 16)
	{
		for (int k = 0; k < words; k++)
		{
			for (int i = 0; i < 16; i++)
			{
				int			row = block + i < n ? block + i : block;

				memcpy(out, rows[row] + 4 * k, 4);
				out += 4;
			}
		}
	}
}

static inline int32_t
sum_word(const uint8_t *a, const uint8_t *b, bool l1)
{
	int32_t		sum = 0;

	for (int i = 0; i < 4; i++)
		sum += l1 ? (a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]) : a[i] * b[i];
	return sum;
}

static void
sums(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words, bool l1,
	 int32_t *out, int ld)
{
	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < ncolumns; j++)
		{
			const uint8_t *column = packed + (size_t) (j / 16) * 64 * words + 4 * (j % 16);
			int32_t		sum = 0;

			for (int k = 0; k < words; k++)
				sum += sum_word(rows[i] + 4 * k, column + 64 * k, l1);
			out[(size_t) i * ld + j] = sum;
		}
	}
}

static void
sums_list(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1, int32_t *out)
{
	for (int i = 0; i < n; i++)
	{
		out[i] = 0;
		for (int k = 0; k < words; k++)
			out[i] += sum_word(a + 4 * k, rows[i] + 4 * k, l1);
	}
}

static int
pick(const int32_t *sums, int n, VdistRowFactors row, float factor,
	 const VdistColumnFactors *columns, int first, float bound, uint16_t *which, float *distance)
{
	int			count = 0;

	for (int j = 0; j < n; j++)
	{
		VdistRowFactors column;
		float		d;

		column.norm = columns->norm[first + j];
		column.scale = columns->scale[first + j];
		column.shift = columns->shift[first + j];
		d = vdist_row_distance(row, column, factor, sums[j]);
		if (d < bound)
		{
			which[count] = (uint16_t) j;
			distance[count++] = d;
		}
	}
	return count;
}

const VdistBlocks vdist_blocks_scalar = {pack, sums, sums_list, pick};
