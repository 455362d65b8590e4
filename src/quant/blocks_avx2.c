/*
 * blocks_avx2.c: the graph build's kernels with AVX2. Pure C; reached through vdist_blocks.
 */
#include <string.h>

#include "quant/blocks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* Rows that one pass over a block of 16 columns serves: 8 of 16 registers accumulate. */
#define ROWS 4

#include "quant/pack_avx2.h"

INLINE __m256i
add_sum(__m256i sum, __m256i columns, __m256i row, bool l1)
{
	const __m256i one = _mm256_set1_epi8(1);
	__m256i		pairs;

	if (l1)
		pairs = _mm256_maddubs_epi16(_mm256_or_si256(_mm256_subs_epu8(columns, row),
													 _mm256_subs_epu8(row, columns)), one);
	else
		pairs = _mm256_maddubs_epi16(columns, row);
	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* Sums of nrows rows (a constant) with a block of 16 columns. */
INLINE void
sums_tile(const uint8_t *const *rows, int nrows, const uint8_t *block, int words, bool l1,
		  int32_t *out, int ld)
{
	__m256i		sum[ROWS][2];

#pragma GCC unroll 4
	for (int i = 0; i < ROWS; i++)
		sum[i][0] = sum[i][1] = _mm256_setzero_si256();
	for (int k = 0; k < words; k++)
	{
		__m256i		c0 = _mm256_loadu_si256((const __m256i *) (block + 64 * k));
		__m256i		c1 = _mm256_loadu_si256((const __m256i *) (block + 64 * k + 32));

#pragma GCC unroll 4
		for (int i = 0; i < ROWS; i++)
		{
			int32_t		word;
			__m256i		row;

			if (i >= nrows)
				continue;
			memcpy(&word, rows[i] + 4 * k, 4);
			row = _mm256_set1_epi32(word);
			sum[i][0] = add_sum(sum[i][0], c0, row, l1);
			sum[i][1] = add_sum(sum[i][1], c1, row, l1);
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < ROWS; i++)
	{
		if (i >= nrows)
			continue;
		_mm256_storeu_si256((__m256i *) (out + (size_t) i * ld), sum[i][0]);
		_mm256_storeu_si256((__m256i *) (out + (size_t) i * ld + 8), sum[i][1]);
	}
}

#include "quant/tiles.h"

INLINE void
sums_list_metric(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1,
				 int32_t *out)
{
	int			whole = words / 8 * 8;
	__m256i		mask = first_words(words - whole);

	for (int i = 0; i < n; i += 4)
	{
		const uint8_t *p[4];
		__m256i		sum[4];
		__m256i		t;
		int32_t		total[4];

#pragma GCC unroll 4
		for (int g = 0; g < 4; g++)
		{
			p[g] = rows[i + g < n ? i + g : n - 1];
			sum[g] = _mm256_setzero_si256();
		}
		for (int k = 0; k < whole; k += 8)
		{
			__m256i		x = _mm256_loadu_si256((const __m256i *) (a + 4 * k));

#pragma GCC unroll 4
			for (int g = 0; g < 4; g++)
				sum[g] = add_sum(sum[g], _mm256_loadu_si256((const __m256i *) (p[g] + 4 * k)), x,
								 l1);
		}
		if (whole < words)
		{
			__m256i		x = _mm256_maskload_epi32((const int *) (a + 4 * whole), mask);

#pragma GCC unroll 4
			for (int g = 0; g < 4; g++)
				sum[g] = add_sum(sum[g], _mm256_maskload_epi32((const int *) (p[g] + 4 * whole),
															   mask), x, l1);
		}
		t = _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]),
							  _mm256_hadd_epi32(sum[2], sum[3]));
		_mm_storeu_si128((__m128i *) total, _mm_add_epi32(_mm256_castsi256_si128(t),
														  _mm256_extracti128_si256(t, 1)));
		for (int g = 0; g < 4 && i + g < n; g++)
			out[i + g] = total[g];
	}
}

#include "quant/by_metric.h"

TARGET static int
pick(const int32_t *sums, int n, VdistRowFactors row, float factor,
	 const VdistColumnFactors *columns, int first, float bound, uint16_t *which, float *distance)
{
	__m256		norm = _mm256_set1_ps(row.norm);
	__m256		scale = _mm256_set1_ps(factor * row.scale);
	__m256i		shift = _mm256_set1_epi32(row.shift);
	__m256		limit = _mm256_set1_ps(bound);
	int			count = 0;
	int			j = 0;

	for (; j + 8 <= n; j += 8)
	{
		__m256i		sum = _mm256_loadu_si256((const __m256i *) (sums + j));
		float		all[8];
		__m256		d;
		unsigned	below;

		sum = _mm256_sub_epi32(sum, shift);
		sum = _mm256_sub_epi32(sum,
							   _mm256_loadu_si256((__m256i *) (columns->shift + first + j)));
		d = _mm256_mul_ps(_mm256_mul_ps(scale, _mm256_loadu_ps(columns->scale + first + j)),
						  _mm256_cvtepi32_ps(sum));
		d = _mm256_add_ps(_mm256_add_ps(norm, _mm256_loadu_ps(columns->norm + first + j)), d);
		below = (unsigned) _mm256_movemask_ps(_mm256_cmp_ps(d, limit, _CMP_LT_OQ));
		if (below == 0)
			continue;
		_mm256_storeu_ps(all, d);
		for (; below; below &= below - 1)
		{
			int			i = __builtin_ctz(below);

			which[count] = (uint16_t) (j + i);
			distance[count++] = all[i];
		}
	}
	if (j < n)
	{
		int			more = vdist_blocks_scalar.pick(sums + j, n - j, row, factor, columns, first + j,
													bound, which + count, distance + count);

		for (int i = 0; i < more; i++)
			which[count + i] = (uint16_t) (which[count + i] + j);
		count += more;
	}
	return count;
}

const VdistBlocks vdist_blocks_avx2 = {pack, sums, sums_list, pick};

#endif
