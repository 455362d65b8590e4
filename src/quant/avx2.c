/*
 * avx2.c: estimates from codes with AVX2. Pure C; reached through estimate.c, whose definition of the
 * sums it follows.
 */
#include "quant/variants.h"

#if defined(__x86_64__)

#include "quant/finish.h"

#define TARGET __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* 32 bytes of a code, of which the first rest are real; rest is a multiple of 4. */
INLINE __m256i
load_bits(const uint8_t *p, int rest, __m256i *mask)
{
	const __m256i lane = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);

	if (rest >= 32)
	{
		*mask = _mm256_set1_epi8(-1);
		return _mm256_loadu_si256((const __m256i *) p);
	}
	*mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest), lane);
	return _mm256_maskload_epi32((const int *) p, *mask);
}

/* Products of up to 32 bytes' fields with the query's planes, as eight 32-bit sums. */
INLINE __m256i
products(__m256i x, const int8_t *v, int width, int bits)
{
	if (bits == 8)
	{
		__m256i		y = _mm256_loadu_si256((const __m256i *) v);
		__m256i		low = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(x)),
											_mm256_cvtepi8_epi16(_mm256_castsi256_si128(y)));
		__m256i		high = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(x, 1)),
											 _mm256_cvtepi8_epi16(_mm256_extracti128_si256(y, 1)));

		return _mm256_add_epi32(low, high);
	}
	else
	{
		/* a 16-bit sum holds every plane of one byte pair: at most 2 * 2 * 15 * 127 */
		const __m256i mask = _mm256_set1_epi8((char) ((1 << bits) - 1));
		__m256i		sum = _mm256_setzero_si256();

#define STEP(f) \
		sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16( \
								   _mm256_and_si256(_mm256_srli_epi16(x, (f) * bits), mask), \
								   _mm256_loadu_si256((const __m256i *) (v + (f) * width))))
		VDIST_QUANT_EACH_FIELD(bits, STEP);
#undef STEP
		return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
	}
}

/* Absolute differences of the same, as four 64-bit sums. */
INLINE __m256i
differences(__m256i x, __m256i mask, const int8_t *v, int width, int bits)
{
	const __m256i field = _mm256_set1_epi8((char) ((1 << bits) - 1));
	const __m256i half = _mm256_set1_epi8((char) (bits == 8 ? 0 : 1 << (7 - bits)));
	__m256i		sum = _mm256_setzero_si256();

	__m256i		u;
	__m256i		y;

	/* fields are below 2^bits, so the 16-bit shift to the left does not spill into the next byte */
#define STEP(f) \
	u = _mm256_and_si256(_mm256_srli_epi16(x, (f) * bits), field); \
	u = _mm256_or_si256(_mm256_slli_epi16(u, 8 - bits), half); \
	y = _mm256_loadu_si256((const __m256i *) (v + (f) * width)); \
	sum = _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_and_si256(u, mask), \
												_mm256_and_si256(y, mask)))
	VDIST_QUANT_EACH_FIELD(bits, STEP);
#undef STEP
	return sum;
}

/* The sum of the lanes of each of four accumulators. */
INLINE __m128i
fold4(const __m256i *a)
{
	__m256i		t = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]),
									  _mm256_hadd_epi32(a[2], a[3]));

	return _mm_add_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
}

/* The sum over one part of a code: all of it, or the upper or lower bits of a 6-bit one. */
INLINE __m256i
sum_part(const VdistQuantQuery *query, const uint8_t *p, int width, int bits, bool l1)
{
	__m256i		sum = _mm256_setzero_si256();

	for (int j = 0; j < width; j += 32)
	{
		__m256i		mask;
		__m256i		x = load_bits(p + j, width - j, &mask);

		sum = _mm256_add_epi32(sum, l1 ? differences(x, mask, query->v + j, width, bits) :
							   products(x, query->v + j, width, bits));
	}
	return sum;
}

INLINE void
estimate_bits(const VdistQuantQuery *query, const void *codes, size_t stride,
			  const uint16_t *which, int n, float *distance, int bits)
{
	int			width = query->width;
	bool		l1 = query->metric == VDIST_QUANT_L1;

	for (int i = 0; i < n; i += GROUP)
	{
		const char *code[GROUP];
		__m256i		sum[GROUP];
		int			m = n - i < GROUP ? n - i : GROUP;

		for (int g = 0; g < GROUP; g++)
		{
			const uint8_t *p;

			code[g] = vdist_quant_at(codes, stride, which, i + (g < m ? g : m - 1));
			if (g >= m)
			{
				sum[g] = _mm256_setzero_si256();
				continue;
			}
			p = (const uint8_t *) code[g] + query->head;
			if (bits == 6)
				sum[g] = _mm256_add_epi32(_mm256_slli_epi32(sum_part(query, p, width, 4, false), 2),
										  sum_part(query, p + width,
												   vdist_quant_width(query->dim, 2), 2, false));
			else
				sum[g] = sum_part(query, p, width, bits, l1);
		}
		vdist_quant_store4(vdist_quant_finish4(query, code, fold4(sum)), m, distance + i);
	}
}

TARGET static void
estimate(const VdistQuantQuery *query, const void *codes, size_t stride, const uint16_t *which,
		 int n, float *distance)
{
	switch (query->bits)
	{
		case 1:
			estimate_bits(query, codes, stride, which, n, distance, 1);
			break;
		case 2:
			estimate_bits(query, codes, stride, which, n, distance, 2);
			break;
		case 4:
			estimate_bits(query, codes, stride, which, n, distance, 4);
			break;
		case 6:
			estimate_bits(query, codes, stride, which, n, distance, 6);
			break;
		default:
			estimate_bits(query, codes, stride, which, n, distance, 8);
			break;
	}
}

const VdistQuantVariant vdist_quant_avx2 = {
	"avx2", estimate, vdist_quant_rotate_avx2, vdist_quant_unrotate_avx2,
	&vdist_quant_passes_avx2
};

#endif
