/*
 * avx2.c: the kernels for AVX2, FMA, F16C and POPCNT, four registers of eight lanes. Pure C; reached
 * through dispatch.c, which calls nothing here on a CPU without them.
 *
 * Four chains of additions hide the latency of the FMA unit, and feed it as fast as two loads a
 * cycle can. A multiplication that feeds an addition is always written as an FMA: otherwise the
 * compiler's -ffp-contract would decide whether it is one, and with it the bits of the result.
 */
#include "kernel/variants.h"

#ifdef VDIST_KERNEL_X86

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c,popcnt")))
#define INLINE static inline __attribute__((target("avx2,fma,f16c,popcnt"), always_inline))

/* tail_mask + 8 - n: a mask of the first n of eight lanes */
static const int32_t tail_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

INLINE __m256
load_float(const float *p)
{
	return _mm256_loadu_ps(p);
}

/* The first n (1 to 7) elements, zeros after them; the elements past n are not read. */
INLINE __m256
load_float_tail(const float *p, int n)
{
	return _mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *) (tail_mask + 8 - n)));
}

INLINE __m256
load_half(const VdistHalf *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p));
}

/* There is no masked load of 16 bits: four, two and one are put together. */
INLINE __m256
load_half_tail(const VdistHalf *p, int n)
{
	uint64_t	first = 0;
	uint64_t	rest = 0;
	uint32_t	two;
	int			filled = 0;

	if (n & 4)
	{
		memcpy(&first, p, sizeof(first));
		p += 4;
	}
	if (n & 2)
	{
		memcpy(&two, p, sizeof(two));
		rest = two;
		filled = 32;
		p += 2;
	}
	if (n & 1)
		rest |= (uint64_t) *p << filled;
	return _mm256_cvtph_ps(n & 4 ? _mm_set_epi64x((long long) rest, (long long) first) :
						   _mm_set_epi64x(0, (long long) rest));
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

#define STEP(load, step, sum, off) sum = step(sum, load(a + i + (off)), load(b + i + (off)))
#define STEP_TAIL(load, step, sum, off) \
	sum = step(sum, load##_tail(a + i + (off), dim % 8), load##_tail(b + i + (off), dim % 8))

/* One kernel: whole blocks of 32, then up to three registers, then a masked one. */
#define DEFINE_SUM(name, type, load, step) \
AVX2 static float \
name(int dim, const type *a, const type *b) \
{ \
	__m256		s0 = _mm256_setzero_ps(); \
	__m256		s1 = s0; \
	__m256		s2 = s0; \
	__m256		s3 = s0; \
	int			i = 0; \
 \
	for (; i + 32 <= dim; i += 32) \
	{ \
		STEP(load, step, s0, 0); \
		STEP(load, step, s1, 8); \
		STEP(load, step, s2, 16); \
		STEP(load, step, s3, 24); \
	} \
	switch ((dim - i) / 8) \
	{ \
		case 3: \
			STEP(load, step, s0, 0); \
			STEP(load, step, s1, 8); \
			STEP(load, step, s2, 16); \
			if (dim % 8 != 0) \
				STEP_TAIL(load, step, s3, 24); \
			break; \
		case 2: \
			STEP(load, step, s0, 0); \
			STEP(load, step, s1, 8); \
			if (dim % 8 != 0) \
				STEP_TAIL(load, step, s2, 16); \
			break; \
		case 1: \
			STEP(load, step, s0, 0); \
			if (dim % 8 != 0) \
				STEP_TAIL(load, step, s1, 8); \
			break; \
		default: \
			if (dim % 8 != 0) \
				STEP_TAIL(load, step, s0, 0); \
			break; \
	} \
	return fold(s0, s1, s2, s3); \
}

/* Add eight elements of a and b, from off on, to the sums of lanes 8 j to 8 j + 7. */
#define STEP_DOT(load, j, off) \
	do { \
		__m256		x = load(a + i + (off)); \
		__m256		y = load(b + i + (off)); \
 \
		ab##j = _mm256_fmadd_ps(x, y, ab##j); \
		aa##j = _mm256_fmadd_ps(x, x, aa##j); \
		bb##j = _mm256_fmadd_ps(y, y, bb##j); \
	} while (0)
#define STEP_DOT_TAIL(load, j, off) \
	do { \
		if (dim % 8 != 0) \
		{ \
			__m256		x = load##_tail(a + i + (off), dim % 8); \
			__m256		y = load##_tail(b + i + (off), dim % 8); \
 \
			ab##j = _mm256_fmadd_ps(x, y, ab##j); \
			aa##j = _mm256_fmadd_ps(x, x, aa##j); \
			bb##j = _mm256_fmadd_ps(y, y, bb##j); \
		} \
	} while (0)

/* One pass over memory, twelve sums: named variables, because an array of them lands on the stack. */
#define DEFINE_DOT(name, type, load) \
AVX2 static void \
name(int dim, const type *a, const type *b, float *ab, float *aa, float *bb) \
{ \
	__m256		ab0 = _mm256_setzero_ps(); \
	__m256		ab1 = ab0; \
	__m256		ab2 = ab0; \
	__m256		ab3 = ab0; \
	__m256		aa0 = ab0; \
	__m256		aa1 = ab0; \
	__m256		aa2 = ab0; \
	__m256		aa3 = ab0; \
	__m256		bb0 = ab0; \
	__m256		bb1 = ab0; \
	__m256		bb2 = ab0; \
	__m256		bb3 = ab0; \
	int			i = 0; \
 \
	for (; i + 32 <= dim; i += 32) \
	{ \
		STEP_DOT(load, 0, 0); \
		STEP_DOT(load, 1, 8); \
		STEP_DOT(load, 2, 16); \
		STEP_DOT(load, 3, 24); \
	} \
	switch ((dim - i) / 8) \
	{ \
		case 3: \
			STEP_DOT(load, 0, 0); \
			STEP_DOT(load, 1, 8); \
			STEP_DOT(load, 2, 16); \
			STEP_DOT_TAIL(load, 3, 24); \
			break; \
		case 2: \
			STEP_DOT(load, 0, 0); \
			STEP_DOT(load, 1, 8); \
			STEP_DOT_TAIL(load, 2, 16); \
			break; \
		case 1: \
			STEP_DOT(load, 0, 0); \
			STEP_DOT_TAIL(load, 1, 8); \
			break; \
		default: \
			STEP_DOT_TAIL(load, 0, 0); \
			break; \
	} \
	*ab = fold(ab0, ab1, ab2, ab3); \
	*aa = fold(aa0, aa1, aa2, aa3); \
	*bb = fold(bb0, bb1, bb2, bb3); \
}

DEFINE_SUM(l2_squared, float, load_float, step_l2)
DEFINE_SUM(inner_product, float, load_float, step_ip)
DEFINE_SUM(l1, float, load_float, step_l1)
DEFINE_DOT(dot_and_norms, float, load_float)

DEFINE_SUM(half_l2_squared, VdistHalf, load_half, step_l2)
DEFINE_SUM(half_inner_product, VdistHalf, load_half, step_ip)
DEFINE_SUM(half_l1, VdistHalf, load_half, step_l1)
DEFINE_DOT(half_dot_and_norms, VdistHalf, load_half)

AVX2 void
vdist_half_to_float_f16c(int n, const VdistHalf *x, float *out)
{
	int			i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i, load_half(x + i));
	for (; i < n; i++)
		out[i] = vdist_half_to_float(x[i]);
}

AVX2 void
vdist_float_to_half_f16c(int n, const float *x, VdistHalf *out)
{
	int			i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *) (out + i),
						 _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
	for (; i < n; i++)
		out[i] = vdist_float_to_half(x[i]);
}

AVX2 uint64_t
vdist_bit_hamming_popcnt(size_t bytes, const uint8_t *a, const uint8_t *b)
{
	return vdist_bit_hamming(bytes, a, b);
}

AVX2 void
vdist_bit_overlap_popcnt(size_t bytes, const uint8_t *a, const uint8_t *b, uint64_t *both,
						 uint64_t *either)
{
	vdist_bit_overlap(bytes, a, b, both, either);
}

const VdistKernel vdist_kernel_avx2 = {
	"avx2", l2_squared, inner_product, l1, dot_and_norms,
	half_l2_squared, half_inner_product, half_l1, half_dot_and_norms,
	vdist_half_to_float_f16c, vdist_float_to_half_f16c,
	vdist_bit_hamming_popcnt, vdist_bit_overlap_popcnt
};

#endif							/* VDIST_KERNEL_X86 */
