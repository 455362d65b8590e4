/*
 * avx512.c: the kernels for AVX-512F, two registers of sixteen lanes. Pure C; reached through
 * dispatch.c, which calls nothing here on a CPU without it. On contraction, see avx2.c.
 */
#include "kernel/variants.h"

#ifdef VDIST_KERNEL_X86

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx2,fma")))
#define INLINE static inline __attribute__((target("avx512f,avx2,fma"), always_inline))

/* Lanes 0 to 31 lie in s0 and s1; add the halves 16, 8, 4, 2 and 1 apart. */
INLINE float
fold(__m512 s0, __m512 s1)
{
	__m512		s = _mm512_add_ps(s0, s1);
	__m256		h = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(s), 1));
	__m128		q;

	h = _mm256_add_ps(_mm512_castps512_ps256(s), h);
	q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	q = _mm_add_ss(q, _mm_movehdup_ps(q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_setzero_ps()));
}

/* A mask of the first n lanes; all of them when n >= 16, none when n <= 0. */
INLINE __mmask16
first_lanes(int n)
{
	return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16) ((1u << n) - 1);
}

INLINE __m512
step_l2(__m512 sum, __m512 a, __m512 b)
{
	__m512		d = _mm512_sub_ps(a, b);

	return _mm512_fmadd_ps(d, d, sum);
}

INLINE __m512
step_ip(__m512 sum, __m512 a, __m512 b)
{
	return _mm512_fmadd_ps(a, b, sum);
}

INLINE __m512
step_l1(__m512 sum, __m512 a, __m512 b)
{
	return _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(a, b)));
}

#define STEP(step, sum, off) \
	sum = step(sum, _mm512_loadu_ps(a + i + (off)), _mm512_loadu_ps(b + i + (off)))
#define STEP_TAIL(step, sum, off, mask) \
	sum = step(sum, _mm512_maskz_loadu_ps(mask, a + i + (off)), \
			   _mm512_maskz_loadu_ps(mask, b + i + (off)))

/* One kernel: whole blocks of 32, then two masked registers. */
#define DEFINE_SUM(name, step) \
AVX512 static float \
name(int dim, const float *a, const float *b) \
{ \
	__m512		s0 = _mm512_setzero_ps(); \
	__m512		s1 = s0; \
	int			i = 0; \
 \
	for (; i + 32 <= dim; i += 32) \
	{ \
		STEP(step, s0, 0); \
		STEP(step, s1, 16); \
	} \
	if (i < dim) \
	{ \
		STEP_TAIL(step, s0, 0, first_lanes(dim - i)); \
		if (i + 16 < dim) \
			STEP_TAIL(step, s1, 16, first_lanes(dim - i - 16)); \
	} \
	return fold(s0, s1); \
}

DEFINE_SUM(l2_squared, step_l2)
DEFINE_SUM(inner_product, step_ip)
DEFINE_SUM(l1, step_l1)

/* Else GCC loads b once for ab and once more for bb: loads are what this loop waits for. */
#define KEEP(v) __asm__("" : "+v" (v))

AVX512 static void
dot_and_norms(int dim, const float *a, const float *b, float *ab, float *aa, float *bb)
{
	__m512		sab[2];
	__m512		saa[2];
	__m512		sbb[2];
	int			i = 0;

	for (int j = 0; j < 2; j++)
		sab[j] = saa[j] = sbb[j] = _mm512_setzero_ps();

	for (; i + 32 <= dim; i += 32)
	{
#pragma GCC unroll 2
		for (int j = 0; j < 2; j++)
		{
			__m512		x = _mm512_loadu_ps(a + i + 16 * j);
			__m512		y = _mm512_loadu_ps(b + i + 16 * j);

			KEEP(y);
			sab[j] = _mm512_fmadd_ps(x, y, sab[j]);
			saa[j] = _mm512_fmadd_ps(x, x, saa[j]);
			sbb[j] = _mm512_fmadd_ps(y, y, sbb[j]);
		}
	}
#pragma GCC unroll 2
	for (int j = 0; j < 2; j++)
	{
		__mmask16	mask = first_lanes(dim - i - 16 * j);

		if (mask != 0)
		{
			__m512		x = _mm512_maskz_loadu_ps(mask, a + i + 16 * j);
			__m512		y = _mm512_maskz_loadu_ps(mask, b + i + 16 * j);

			sab[j] = _mm512_fmadd_ps(x, y, sab[j]);
			saa[j] = _mm512_fmadd_ps(x, x, saa[j]);
			sbb[j] = _mm512_fmadd_ps(y, y, sbb[j]);
		}
	}
	*ab = fold(sab[0], sab[1]);
	*aa = fold(saa[0], saa[1]);
	*bb = fold(sbb[0], sbb[1]);
}

const VdistKernel vdist_kernel_avx512 = {
	"avx512", l2_squared, inner_product, l1, dot_and_norms
};

#endif							/* VDIST_KERNEL_X86 */
