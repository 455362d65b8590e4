/*
 * avx512.c: estimates from codes with AVX-512 VNNI, four codes at a time. Pure C; reached through
 * estimate.c, whose definition of the sums it follows.
 */
#include "quant/variants.h"

#if defined(__x86_64__)

#include "quant/finish.h"

#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* Add products of 64 bytes' fields with the query's planes to sixteen 32-bit sums. */
INLINE __m512i
products(__m512i sum, __m512i x, const int8_t *v, int width, int bits)
{
	const __m512i field = _mm512_set1_epi8((char) ((1 << bits) - 1));

#define STEP(f) \
	sum = _mm512_dpbusd_epi32(sum, bits == 8 ? x : \
							  _mm512_and_si512(_mm512_srli_epi16(x, (f) * bits), field), \
							  _mm512_loadu_si512(v + (f) * width))
	VDIST_QUANT_EACH_FIELD(bits, STEP);
#undef STEP
	return sum;
}

INLINE __m512i
two_fields(const int8_t *first, const int8_t *second)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *) first)),
							  _mm256_loadu_si256((const __m256i *) second), 1);
}

/*
 * The same of at most 32 bytes: two fields at a time, one in each half, so that no half stands empty. What
 * lies in v behind a field of fewer bytes meets zeros.
 */
INLINE __m512i
products_by_two(__m512i sum, __m256i x, const int8_t *v, int width, int bits)
{
	const __m512i field = _mm512_set1_epi8((char) ((1 << bits) - 1));
	const __m512i second = _mm512_inserti64x4(_mm512_setzero_si512(),
											  _mm256_set1_epi16((short) bits), 1);
	__m512i		both = _mm512_srlv_epi16(_mm512_broadcast_i64x4(x), second);

#define STEP(f) \
	sum = _mm512_dpbusd_epi32(sum, \
							  _mm512_and_si512(_mm512_srli_epi16(both, (f) * bits), field), \
							  two_fields(v + (f) * width, v + ((f) + 1) * width))
	STEP(0);
	if (bits <= 2)
		STEP(2);
	if (bits == 1)
	{
		STEP(4);
		STEP(6);
	}
#undef STEP
	return sum;
}

/* Add absolute differences of the same to eight 64-bit sums. */
INLINE __m512i
differences(__m512i sum, __m512i x, __mmask64 mask, const int8_t *v, int width, int bits)
{
	const __m512i field = _mm512_set1_epi8((char) ((1 << bits) - 1));
	const __m512i half = _mm512_set1_epi8((char) (bits == 8 ? 0 : 1 << (7 - bits)));
	__m512i		u;

	/* fields are below 2^bits, so the 16-bit shift to the left does not spill into the next byte */
#define STEP(f) \
	u = _mm512_and_si512(_mm512_srli_epi16(x, (f) * bits), field); \
	u = _mm512_or_si512(_mm512_slli_epi16(u, 8 - bits), half); \
	sum = _mm512_add_epi64(sum, \
						   _mm512_sad_epu8(_mm512_maskz_mov_epi8(mask, u), \
										   _mm512_maskz_loadu_epi8(mask, v + (f) * width)))
	VDIST_QUANT_EACH_FIELD(bits, STEP);
#undef STEP
	return sum;
}

/* The sum of the lanes of each of four accumulators. */
INLINE __m128i
fold4(const __m512i *sum)
{
	__m256i		a[GROUP];
	__m256i		t;

#pragma GCC unroll 4
	for (int g = 0; g < GROUP; g++)
		a[g] = _mm256_add_epi32(_mm512_castsi512_si256(sum[g]),
								_mm512_extracti64x4_epi64(sum[g], 1));
	t = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
	return _mm_add_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
}

/* Add the sums over one part of four codes, which begins at offset. */
INLINE void
sum_part(const VdistQuantQuery *query, const char **code, int offset, int width, int bits, bool l1,
		 __m512i *sum)
{
	int			j = 0;

	for (; l1 || bits == 8 ? j < width : width - j > 32; j += 64)
	{
		__mmask64	mask = width - j >= 64 ? ~(__mmask64) 0 : ((__mmask64) 1 << (width - j)) - 1;

#pragma GCC unroll 4
		for (int g = 0; g < GROUP; g++)
		{
			__m512i		x = _mm512_maskz_loadu_epi8(mask, code[g] + offset + j);

			sum[g] = l1 ? differences(sum[g], x, mask, query->v + j, width, bits) :
				products(sum[g], x, query->v + j, width, bits);
		}
	}
	if (j < width)
	{
		__mmask32	mask = (__mmask32) (((uint64_t) 1 << (width - j)) - 1);

#pragma GCC unroll 4
		for (int g = 0; g < GROUP; g++)
			sum[g] = products_by_two(sum[g],
									 _mm256_maskz_loadu_epi8(mask, code[g] + offset + j),
									 query->v + j, width, bits);
	}
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
		__m512i		sum[GROUP];
		int			m = n - i < GROUP ? n - i : GROUP;

#pragma GCC unroll 4
		for (int g = 0; g < GROUP; g++)
		{
			/* a short last group computes its last code several times */
			code[g] = vdist_quant_at(codes, stride, which, i + (g < m ? g : m - 1));
			sum[g] = _mm512_setzero_si512();
		}
		if (bits == 6)
		{
			sum_part(query, code, query->head, width, 4, false, sum);
#pragma GCC unroll 4
			for (int g = 0; g < GROUP; g++)
				sum[g] = _mm512_slli_epi32(sum[g], 2);
			sum_part(query, code, query->head + width, vdist_quant_width(query->dim, 2), 2, false,
					 sum);
		}
		else
			sum_part(query, code, query->head, width, bits, l1, sum);
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

const VdistQuantVariant vdist_quant_avx512 = {
	"avx512", estimate, vdist_quant_rotate_avx2, vdist_quant_unrotate_avx2,
	&vdist_quant_passes_avx2
};

#endif
