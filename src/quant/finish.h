/*
 * finish.h: the epilogue of four estimates at once, for the x86 variants: the operations of
 * vdist_quant_finish in their order, lane by lane. Included by avx2.c and avx512.c.
 */
#ifndef VDIST_QUANT_FINISH_H
#define VDIST_QUANT_FINISH_H

#include <immintrin.h>

#include "quant/variants.h"

/* Codes that are worked on together. */
#define GROUP 4

#define FINISH static inline __attribute__((always_inline, target("avx2")))

FINISH __m128
vdist_quant_short4(__m128i h)
{
	__m128i		bits = _mm_add_epi32(_mm_slli_epi32(h, 14), _mm_set1_epi32(64 << 23));

	return _mm_castsi128_ps(_mm_andnot_si128(_mm_cmpeq_epi32(h, _mm_setzero_si128()), bits));
}

/* The 16, 32 or 64 bits at the beginning of each of four codes. */
#define HEAD_OF(type, code) (*(const type *) (code))
typedef uint16_t __attribute__((aligned(1), may_alias)) Head16;
typedef int32_t __attribute__((aligned(1), may_alias)) Head32;

FINISH __m128
vdist_quant_finish4(const VdistQuantQuery *query, const char *const *code, __m128i sum)
{
	__m128		add;
	__m128		scale;

	if (query->head == HEAD_SHORT)
	{
		scale = vdist_quant_short4(_mm_setr_epi32(HEAD_OF(Head16, code[0]),
												  HEAD_OF(Head16, code[1]),
												  HEAD_OF(Head16, code[2]),
												  HEAD_OF(Head16, code[3])));
		add = query->metric == VDIST_QUANT_L1 ? scale : _mm_mul_ps(scale, scale);
	}
	else
	{
		__m128i		first = _mm_setr_epi32(HEAD_OF(Head32, code[0]), HEAD_OF(Head32, code[1]),
										   HEAD_OF(Head32, code[2]), HEAD_OF(Head32, code[3]));

		if (query->head == HEAD_FLOATS)
		{
			add = _mm_castsi128_ps(first);
			scale = _mm_castsi128_ps(_mm_setr_epi32(HEAD_OF(Head32, code[0] + 4),
													HEAD_OF(Head32, code[1] + 4),
													HEAD_OF(Head32, code[2] + 4),
													HEAD_OF(Head32, code[3] + 4)));
		}
		else
		{
			scale = vdist_quant_short4(_mm_srli_epi32(first, 16));
			if (query->metric == VDIST_QUANT_L2)
			{
				add = vdist_quant_short4(_mm_and_si128(first, _mm_set1_epi32(0xFFFF)));
				add = _mm_mul_ps(add, add);
			}
			else
				add = _mm_castsi128_ps(_mm_slli_epi32(first, 16));
		}
	}
	if (query->metric == VDIST_QUANT_L1)
		return _mm_add_ps(_mm_add_ps(add, _mm_set1_ps(query->add)),
						  _mm_mul_ps(_mm_set1_ps(query->scale), _mm_cvtepi32_ps(sum)));
	sum = _mm_sub_epi32(_mm_add_epi32(sum, sum), _mm_set1_epi32(query->bias));
	return _mm_add_ps(_mm_add_ps(add, _mm_set1_ps(query->add)),
					  _mm_mul_ps(_mm_mul_ps(scale, _mm_set1_ps(query->scale)),
								 _mm_cvtepi32_ps(sum)));
}

/* Store the first m of four estimates. */
FINISH void
vdist_quant_store4(__m128 estimates, int m, float *distance)
{
	if (m == GROUP)
		_mm_storeu_ps(distance, estimates);
	else
	{
		float		four[GROUP];

		_mm_storeu_ps(four, estimates);
		for (int g = 0; g < m; g++)
			distance[g] = four[g];
	}
}

#endif							/* VDIST_QUANT_FINISH_H */
