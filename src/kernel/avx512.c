/*
 * avx512.c: the kernels for AVX-512 (F, BW, VL), two registers of sixteen lanes. Pure C; reached through
 * dispatch.c, which calls nothing here on a CPU without it. On contraction, see avx2.c.
 */
#include "kernel/variants.h"

#ifdef VDIST_KERNEL_X86

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,f16c")))
#define INLINE static inline __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma,f16c"), always_inline))

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

INLINE __m512
load_float(const float *p)
{
	return _mm512_loadu_ps(p);
}

/* Elements in the mask, zeros elsewhere; the others are not read. */
INLINE __m512
load_float_tail(const float *p, __mmask16 mask)
{
	return _mm512_maskz_loadu_ps(mask, p);
}

INLINE __m512
load_half(const VdistHalf *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p));
}

INLINE __m512
load_half_tail(const VdistHalf *p, __mmask16 mask)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
}

#define STEP(load, step, sum, off) sum = step(sum, load(a + i + (off)), load(b + i + (off)))
#define STEP_TAIL(load, step, sum, off, mask) \
	sum = step(sum, load##_tail(a + i + (off), mask), load##_tail(b + i + (off), mask))

/* One kernel: whole blocks of 32, then two masked registers. */
#define DEFINE_SUM(name, type, load, step) \
AVX512 static float \
name(int dim, const type *a, const type *b) \
{ \
	__m512		s0 = _mm512_setzero_ps(); \
	__m512		s1 = s0; \
	int			i = 0; \
 \
	for (; i + 32 <= dim; i += 32) \
	{ \
		STEP(load, step, s0, 0); \
		STEP(load, step, s1, 16); \
	} \
	if (i < dim) \
	{ \
		STEP_TAIL(load, step, s0, 0, first_lanes(dim - i)); \
		if (i + 16 < dim) \
			STEP_TAIL(load, step, s1, 16, first_lanes(dim - i - 16)); \
	} \
	return fold(s0, s1); \
}

/* Else GCC loads b once for ab and once more for bb: loads are what this loop waits for. */
#define KEEP(v) __asm__("" : "+v" (v))

#define DEFINE_DOT(name, type, load) \
AVX512 static void \
name(int dim, const type *a, const type *b, float *ab, float *aa, float *bb) \
{ \
	__m512		sab[2]; \
	__m512		saa[2]; \
	__m512		sbb[2]; \
	int			i = 0; \
 \
	for (int j = 0; j < 2; j++) \
		sab[j] = saa[j] = sbb[j] = _mm512_setzero_ps(); \
 \
	for (; i + 32 <= dim; i += 32) \
	{ \
		_Pragma("GCC unroll 2") \
		for (int j = 0; j < 2; j++) \
		{ \
			__m512		x = load(a + i + 16 * j); \
			__m512		y = load(b + i + 16 * j); \
 \
			KEEP(y); \
			sab[j] = _mm512_fmadd_ps(x, y, sab[j]); \
			saa[j] = _mm512_fmadd_ps(x, x, saa[j]); \
			sbb[j] = _mm512_fmadd_ps(y, y, sbb[j]); \
		} \
	} \
	_Pragma("GCC unroll 2") \
	for (int j = 0; j < 2; j++) \
	{ \
		__mmask16	mask = first_lanes(dim - i - 16 * j); \
 \
		if (mask != 0) \
		{ \
			__m512		x = load##_tail(a + i + 16 * j, mask); \
			__m512		y = load##_tail(b + i + 16 * j, mask); \
 \
			sab[j] = _mm512_fmadd_ps(x, y, sab[j]); \
			saa[j] = _mm512_fmadd_ps(x, x, saa[j]); \
			sbb[j] = _mm512_fmadd_ps(y, y, sbb[j]); \
		} \
	} \
	*ab = fold(sab[0], sab[1]); \
	*aa = fold(saa[0], saa[1]); \
	*bb = fold(sbb[0], sbb[1]); \
}

DEFINE_SUM(l2_squared, float, load_float, step_l2)
DEFINE_SUM(inner_product, float, load_float, step_ip)
DEFINE_SUM(l1, float, load_float, step_l1)
DEFINE_DOT(dot_and_norms, float, load_float)

DEFINE_SUM(half_l2_squared, VdistHalf, load_half, step_l2)
DEFINE_SUM(half_inner_product, VdistHalf, load_half, step_ip)
DEFINE_SUM(half_l1, VdistHalf, load_half, step_l1)
DEFINE_DOT(half_dot_and_norms, VdistHalf, load_half)

const VdistKernel vdist_kernel_avx512 = {
	"avx512", l2_squared, inner_product, l1, dot_and_norms,
	half_l2_squared, half_inner_product, half_l1, half_dot_and_norms,
	vdist_half_to_float_f16c, vdist_float_to_half_f16c,
	vdist_bit_hamming_popcnt, vdist_bit_overlap_popcnt
};

#endif							/* VDIST_KERNEL_X86 */
