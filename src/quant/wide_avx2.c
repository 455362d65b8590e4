/*
 * wide_avx2.c: the graph build's kernels for records of floats with AVX2 and fused multiply-adds: the same bits as
 * wide.c's. Pure C; reached through vdist_wide_blocks.
 */
#include <string.h>

#include "quant/blocks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* Rows that one pass over a block of 16 columns serves: 8 of 16 registers accumulate. */
#define ROWS 4

/* Rows that are compared with one side by side, as a single sum has to wait for each of its additions. */
#define LIST_ROWS 4

#include "quant/pack_avx2.h"

/* Add what components differ by. */
INLINE __m256
add_difference(__m256 sum, __m256 a, __m256 b, bool l1)
{
	__m256		d = _mm256_sub_ps(a, b);

	return l1 ? _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), d)) :
		_mm256_fmadd_ps(d, d, sum);
}

/* Sums of nrows rows (a constant) with a block of 16 columns. */
INLINE void
sums_tile(const uint8_t *const *rows, int nrows, const uint8_t *block, int words, bool l1,
		  int32_t *out, int ld)
{
	__m256		sum[ROWS][2];

#pragma GCC unroll 4
	for (int i = 0; i < ROWS; i++)
		sum[i][0] = sum[i][1] = _mm256_setzero_ps();
	for (int k = 0; k < words; k++)
	{
		__m256		c0 = _mm256_loadu_ps((const float *) (block + 64 * k));
		__m256		c1 = _mm256_loadu_ps((const float *) (block + 64 * k + 32));

#pragma GCC unroll 4
		for (int i = 0; i < ROWS; i++)
		{
			__m256		x;

			if (i >= nrows)
				continue;
			x = _mm256_broadcast_ss((const float *) (rows[i] + 4 * k));
			sum[i][0] = add_difference(sum[i][0], c0, x, l1);
			sum[i][1] = add_difference(sum[i][1], c1, x, l1);
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < ROWS; i++)
	{
		if (i >= nrows)
			continue;
		_mm256_storeu_ps((float *) (out + (size_t) i * ld), sum[i][0]);
		_mm256_storeu_ps((float *) (out + (size_t) i * ld + 8), sum[i][1]);
	}
}

#include "quant/tiles.h"

/* Sums of a and each of nrows rows (a constant). */
INLINE void
list_tile(const uint8_t *a, const uint8_t *const *rows, int nrows, int words, bool l1, int32_t *out)
{
	int			whole = words / 8 * 8;
	__m256i		mask = first_words(words - whole);
	__m256		sum[LIST_ROWS];

#pragma GCC unroll 4
	for (int i = 0; i < nrows; i++)
		sum[i] = _mm256_setzero_ps();
	for (int k = 0; k < whole; k += 8)
	{
		__m256		x = _mm256_loadu_ps((const float *) (a + 4 * k));

#pragma GCC unroll 4
		for (int i = 0; i < nrows; i++)
			sum[i] = add_difference(sum[i], x, _mm256_loadu_ps((const float *) (rows[i] + 4 * k)), l1);
	}
	if (whole < words)
	{
		__m256		x = _mm256_maskload_ps((const float *) (a + 4 * whole), mask);

#pragma GCC unroll 4
		for (int i = 0; i < nrows; i++)
			sum[i] = add_difference(sum[i], x, _mm256_maskload_ps((const float *)
																  (rows[i] + 4 * whole), mask), l1);
	}
#pragma GCC unroll 4
	for (int i = 0; i < nrows; i++)
	{
		__m128		x = _mm_add_ps(_mm256_castps256_ps128(sum[i]), _mm256_extractf128_ps(sum[i], 1));

		x = _mm_hadd_ps(x, x);
		out[i] = _mm_cvtsi128_si32(_mm_castps_si128(_mm_hadd_ps(x, x)));
	}
}

INLINE void
sums_list_metric(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1,
				 int32_t *out)
{
	int			i = 0;

	for (; i + LIST_ROWS <= n; i += LIST_ROWS)
		list_tile(a, rows + i, LIST_ROWS, words, l1, out + i);
	for (; i < n; i++)
		list_tile(a, rows + i, 1, words, l1, out + i);
}

#include "quant/by_metric.h"

TARGET static int
pick(const int32_t *sums, int n, VdistRowFactors row, float factor,
	 const VdistColumnFactors *columns, int first, float bound, uint16_t *which, float *distance)
{
	__m256		limit = _mm256_set1_ps(bound);
	int			count = 0;
	int			j = 0;

	for (; j + 8 <= n; j += 8)
	{
		__m256		d = _mm256_loadu_ps((const float *) (sums + j));
		unsigned	below = (unsigned) _mm256_movemask_ps(_mm256_cmp_ps(d, limit, _CMP_LT_OQ));

		for (; below; below &= below - 1)
		{
			which[count] = (uint16_t) (j + __builtin_ctz(below));
			memcpy(&distance[count], &sums[which[count]], sizeof(float));
			count++;
		}
	}
	if (j < n)
	{
		int			more = vdist_wide_blocks_scalar.pick(sums + j, n - j, row, factor, columns,
														 first + j, bound, which + count,
														 distance + count);

		for (int i = 0; i < more; i++)
			which[count + i] = (uint16_t) (which[count + i] + j);
		count += more;
	}
	return count;
}

const VdistBlocks vdist_wide_blocks_avx2 = {pack, sums, sums_list, pick};

#endif
