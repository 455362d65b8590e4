/*
 * avx2.c: the kernels for AVX2 and FMA, four registers of eight lanes. Pure C; reached through
 * dispatch.c, which calls nothing here on a CPU without both.
 *
 * Four chains of additions hide the latency of the FMA unit, and feed it as fast as two loads a
 * cycle can. A multiplication that feeds an addition is always written as an FMA: otherwise the
 * compiler's -ffp-contract would decide whether it is one, and with it the bits of the result.
 */
#include "kernel/variants.h"

#ifdef VDIST_KERNEL_X86

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((target("avx2,fma"), always_inline))

/* tail_mask + 8 - n: a mask of the first n of eight lanes */
static const int32_t tail_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

/* The first n (1 to 7) floats, zeros after them; the floats past n are not read. */
INLINE __m256
load_tail(const float *p, __m256i mask)
{
	return _mm256_maskload_ps(p, mask);
}

/* Lanes 0 to 31 lie in s0 to s3; add the halves 16, 8, 4, 2 and 1 apart. */
INLINE float
fold(__m256 s0, __m256 s1, __m256 s2, __m256 s3)
{
	__m256		s = _mm256_add_ps(_mm256_add_ps(s0, s2), _mm256_add_ps(s1, s3));
	__m128		q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));

	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	q = _mm_add_ss(q, _mm_movehdup_ps(q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_setzero_ps()));
}

INLINE __m256
step_l2(__m256 sum, __m256 a, __m256 b)
{
	__m256		d = _mm256_sub_ps(a, b);

	return _mm256_fmadd_ps(d, d, sum);
}

INLINE __m256
step_ip(__m256 sum, __m256 a, __m256 b)
{
	return _mm256_fmadd_ps(a, b, sum);
}

INLINE __m256
step_l1(__m256 sum, __m256 a, __m256 b)
{
	return _mm256_add_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(a, b)));
}

#define STEP(step, sum, off) \
	sum = step(sum, _mm256_loadu_ps(a + i + (off)), _mm256_loadu_ps(b + i + (off)))
#define STEP_TAIL(step, sum, off) \
	sum = step(sum, load_tail(a + i + (off), mask), load_tail(b + i + (off), mask))

/* One kernel: whole blocks of 32, then up to three registers, then a masked one. */
#define DEFINE_SUM(name, step) \
AVX2 static float \
name(int dim, const float *a, const float *b) \
{ \
	__m256		s0 = _mm256_setzero_ps(); \
	__m256		s1 = s0; \
	__m256		s2 = s0; \
	__m256		s3 = s0; \
	__m256i		mask = _mm256_loadu_si256((const __m256i *) (tail_mask + 8 - dim % 8)); \
	int			i = 0; \
 \
	for (; i + 32 <= dim; i += 32) \
	{ \
		STEP(step, s0, 0); \
		STEP(step, s1, 8); \
		STEP(step, s2, 16); \
		STEP(step, s3, 24); \
	} \
	switch ((dim - i) / 8) \
	{ \
		case 3: \
			STEP(step, s0, 0); \
			STEP(step, s1, 8); \
			STEP(step, s2, 16); \
			if (dim % 8 != 0) \
				STEP_TAIL(step, s3, 24); \
			break; \
		case 2: \
			STEP(step, s0, 0); \
			STEP(step, s1, 8); \
			if (dim % 8 != 0) \
				STEP_TAIL(step, s2, 16); \
			break; \
		case 1: \
			STEP(step, s0, 0); \
			if (dim % 8 != 0) \
				STEP_TAIL(step, s1, 8); \
			break; \
		default: \
			if (dim % 8 != 0) \
				STEP_TAIL(step, s0, 0); \
			break; \
	} \
	return fold(s0, s1, s2, s3); \
}

DEFINE_SUM(l2_squared, step_l2)
DEFINE_SUM(inner_product, step_ip)
DEFINE_SUM(l1, step_l1)

/* Add eight elements of a and b, as they are loaded by load, to the sums of lanes 8 j to 8 j + 7. */
#define STEP_DOT(load, j, off) \
	do { \
		__m256		x = load(a + i + (off)); \
		__m256		y = load(b + i + (off)); \
 \
		ab##j = _mm256_fmadd_ps(x, y, ab##j); \
		aa##j = _mm256_fmadd_ps(x, x, aa##j); \
		bb##j = _mm256_fmadd_ps(y, y, bb##j); \
	} while (0)
#define LOAD_TAIL(p) load_tail(p, mask)

/* One pass over memory, twelve sums: named variables, because an array of them lands on the stack. */
AVX2 static void
dot_and_norms(int dim, const float *a, const float *b, float *ab, float *aa, float *bb)
{
	__m256		ab0 = _mm256_setzero_ps();
	__m256		ab1 = ab0;
	__m256		ab2 = ab0;
	__m256		ab3 = ab0;
	__m256		aa0 = ab0;
	__m256		aa1 = ab0;
	__m256		aa2 = ab0;
	__m256		aa3 = ab0;
	__m256		bb0 = ab0;
	__m256		bb1 = ab0;
	__m256		bb2 = ab0;
	__m256		bb3 = ab0;
	__m256i		mask = _mm256_loadu_si256((const __m256i *) (tail_mask + 8 - dim % 8));
	int			i = 0;

	for (; i + 32 <= dim; i += 32)
	{
		STEP_DOT(_mm256_loadu_ps, 0, 0);
		STEP_DOT(_mm256_loadu_ps, 1, 8);
		STEP_DOT(_mm256_loadu_ps, 2, 16);
		STEP_DOT(_mm256_loadu_ps, 3, 24);
	}
	switch ((dim - i) / 8)
	{
		case 3:
			STEP_DOT(_mm256_loadu_ps, 0, 0);
			STEP_DOT(_mm256_loadu_ps, 1, 8);
			STEP_DOT(_mm256_loadu_ps, 2, 16);
			if (dim % 8 != 0)
				STEP_DOT(LOAD_TAIL, 3, 24);
			break;
		case 2:
			STEP_DOT(_mm256_loadu_ps, 0, 0);
			STEP_DOT(_mm256_loadu_ps, 1, 8);
			if (dim % 8 != 0)
				STEP_DOT(LOAD_TAIL, 2, 16);
			break;
		case 1:
			STEP_DOT(_mm256_loadu_ps, 0, 0);
			if (dim % 8 != 0)
				STEP_DOT(LOAD_TAIL, 1, 8);
			break;
		default:
			if (dim % 8 != 0)
				STEP_DOT(LOAD_TAIL, 0, 0);
			break;
	}
	*ab = fold(ab0, ab1, ab2, ab3);
	*aa = fold(aa0, aa1, aa2, aa3);
	*bb = fold(bb0, bb1, bb2, bb3);
}

const VdistKernel vdist_kernel_avx2 = {
	"avx2", l2_squared, inner_product, l1, dot_and_norms
};

#endif							/* VDIST_KERNEL_X86 */
