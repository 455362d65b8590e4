/*
 * blocks_avx512.c: the graph build's kernels with AVX-512 VNNI. Pure C; reached through vdist_blocks.
 */
#include <string.h>

#include "quant/blocks.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* Rows that one pass over two blocks of columns serves: 12 of 32 registers accumulate. */
#define ROWS 6

/* Transpose 16 registers of 16 words. */
INLINE void
transpose(__m512i *r)
{
	__m512i		t[16];

#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2)
	{
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4)
	{
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
	{
		t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
	{
		r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
		r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
		r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
		r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

TARGET static void
pack(const uint8_t *const *rows, int n, int words, uint8_t *out)
{
	for (int block = 0; block < n; block += 16)
	{
		for (int k = 0; k < words; k += 16)
		{
			int			rest = words - k < 16 ? words - k : 16;
			__mmask16	mask = (__mmask16) ((1u << rest) - 1);
			__m512i		r[16];

#pragma GCC unroll 16
			for (int i = 0; i < 16; i++)
				r[i] = _mm512_maskz_loadu_epi32(mask, rows[block + i < n ? block + i : block] + 4 * k);
			transpose(r);
#pragma GCC unroll 16
			for (int i = 0; i < 16; i++)
				if (i < rest)
					_mm512_storeu_si512(out + 64 * (k + i), r[i]);
		}
		out += (size_t) 64 * words;
	}
}

INLINE __m512i
add_sum(__m512i sum, __m512i columns, __m512i row, bool l1)
{
	if (l1)
		return _mm512_dpbusd_epi32(sum,
								   _mm512_or_si512(_mm512_subs_epu8(columns, row),
												   _mm512_subs_epu8(row, columns)),
								   _mm512_set1_epi8(1));
	return _mm512_dpbusd_epi32(sum, columns, row);
}

/* Sums of nrows rows (a constant) with one or two blocks of 16 columns. */
INLINE void
sums_tile(const uint8_t *const *rows, int nrows, const uint8_t *block0, const uint8_t *block1,
		  int words, bool l1, int32_t *out, int ld)
{
	__m512i		sum[ROWS][2];

#pragma GCC unroll 6
	for (int i = 0; i < ROWS; i++)
		sum[i][0] = sum[i][1] = _mm512_setzero_si512();
	for (int k = 0; k < words; k++)
	{
		__m512i		c0 = _mm512_loadu_si512(block0 + 64 * k);
		__m512i		c1 = _mm512_loadu_si512(block1 + 64 * k);

#pragma GCC unroll 6
		for (int i = 0; i < ROWS; i++)
		{
			int32_t		word;
			__m512i		row;

			if (i >= nrows)
				continue;
			memcpy(&word, rows[i] + 4 * k, 4);
			row = _mm512_set1_epi32(word);
			sum[i][0] = add_sum(sum[i][0], c0, row, l1);
			sum[i][1] = add_sum(sum[i][1], c1, row, l1);
		}
	}
#pragma GCC unroll 6
	for (int i = 0; i < ROWS; i++)
	{
		if (i >= nrows)
			continue;
		_mm512_storeu_si512(out + (size_t) i * ld, sum[i][0]);
		if (block1 != block0)
			_mm512_storeu_si512(out + (size_t) i * ld + 16, sum[i][1]);
	}
}

INLINE void
sums_metric(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words,
			bool l1, int32_t *out, int ld)
{
	for (int j = 0; j < ncolumns; j += 32)
	{
		const uint8_t *block0 = packed + (size_t) j * 4 * words;
		const uint8_t *block1 = j + 16 < ncolumns ? block0 + (size_t) 64 * words : block0;
		int			i = 0;

		for (; i + ROWS <= n; i += ROWS)
			sums_tile(rows + i, ROWS, block0, block1, words, l1, out + (size_t) i * ld + j, ld);
		for (; i + 2 <= n; i += 2)
			sums_tile(rows + i, 2, block0, block1, words, l1, out + (size_t) i * ld + j, ld);
		if (i < n)
			sums_tile(rows + i, 1, block0, block1, words, l1, out + (size_t) i * ld + j, ld);
	}
}

INLINE void
sums_list_metric(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1,
				 int32_t *out)
{
	int			bytes = 4 * words;

	for (int i = 0; i < n; i += 4)
	{
		const uint8_t *p[4];
		__m512i		sum[4];
		__m256i		half[4];
		__m256i		t;
		int32_t		total[4];

#pragma GCC unroll 4
		for (int g = 0; g < 4; g++)
		{
			p[g] = rows[i + g < n ? i + g : n - 1];
			sum[g] = _mm512_setzero_si512();
		}
		for (int j = 0; j < bytes; j += 64)
		{
			__mmask64	mask = bytes - j >= 64 ? ~(__mmask64) 0 :
				((__mmask64) 1 << (bytes - j)) - 1;
			__m512i		x = _mm512_maskz_loadu_epi8(mask, a + j);

#pragma GCC unroll 4
			for (int g = 0; g < 4; g++)
				sum[g] = add_sum(sum[g], _mm512_maskz_loadu_epi8(mask, p[g] + j), x, l1);
		}
#pragma GCC unroll 4
		for (int g = 0; g < 4; g++)
			half[g] = _mm256_add_epi32(_mm512_castsi512_si256(sum[g]),
									   _mm512_extracti64x4_epi64(sum[g], 1));
		t = _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]),
							  _mm256_hadd_epi32(half[2], half[3]));
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
	const __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512		norm = _mm512_set1_ps(row.norm);
	__m512		scale = _mm512_set1_ps(factor * row.scale);
	__m512i		shift = _mm512_set1_epi32(row.shift);
	__m512		limit = _mm512_set1_ps(bound);
	int			count = 0;

	for (int j = 0; j < n; j += 16)
	{
		__mmask16	mask = n - j >= 16 ? (__mmask16) 0xffff : (__mmask16) ((1u << (n - j)) - 1);
		__m512i		sum = _mm512_maskz_loadu_epi32(mask, sums + j);
		__m512		d;

		sum = _mm512_sub_epi32(_mm512_sub_epi32(sum, shift),
							   _mm512_maskz_loadu_epi32(mask, columns->shift + first + j));
		d = _mm512_mul_ps(_mm512_mul_ps(scale,
										_mm512_maskz_loadu_ps(mask, columns->scale + first + j)),
						  _mm512_cvtepi32_ps(sum));
		d = _mm512_add_ps(_mm512_add_ps(norm,
										_mm512_maskz_loadu_ps(mask, columns->norm + first + j)), d);
		mask = _mm512_mask_cmp_ps_mask(mask, d, limit, _CMP_LT_OQ);
		if (mask)
		{
			__m512i		at = _mm512_add_epi32(place, _mm512_set1_epi32(j));

			_mm512_storeu_ps(distance + count, _mm512_maskz_compress_ps(mask, d));
			_mm256_storeu_si256((__m256i *) (which + count),
								_mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, at)));
			count += __builtin_popcount(mask);
		}
	}
	return count;
}

const VdistBlocks vdist_blocks_avx512 = {pack, sums, sums_list, pick};

#endif
