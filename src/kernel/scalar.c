/*
 * scalar.c: the kernels in portable C, and the definition of the order of summation that every
 * other variant follows (kernel.h). Pure C; reached through dispatch.c.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel/variants.h"

#define LANES VDIST_KERNEL_LANES

/*
 * fmaf, without the slow library function where the processor has no instruction for it (or has one
 * that the compiler must not use). The product of two floats is exact in double; its sum is rounded
 * twice, to double and to float, and that is wrong only where the double lies on the midpoint between
 * two floats, or the float is subnormal.
 */
static inline float
fused(float a, float b, float c)
{
#ifdef FP_FAST_FMAF
	return fmaf(a, b, c);
#else
	double		sum = (double) a * (double) b + (double) c;
	uint64_t	bits;

	memcpy(&bits, &sum, sizeof(bits));
	if ((bits & 0x1fffffff) == 0x10000000 || (fabs(sum) < FLT_MIN && sum != 0))
		return fmaf(a, b, c);
	return (float) sum;
#endif
}

/* The added zero turns -0 into +0: the sign of a zero would depend on how a variant pads the tail. */
static float
fold(float *lane)
{
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return lane[0] + 0.0f;
}

#define STEP_L2(a, b, sum) fused((a) - (b), (a) - (b), sum)
#define STEP_IP(a, b, sum) fused(a, b, sum)
#define STEP_L1(a, b, sum) ((sum) + fabsf((a) - (b)))

#define FLOAT(x) (x)
#define HALF(x) vdist_half_to_float(x)

/* One kernel: whole blocks of lanes, then the rest of one. */
#define DEFINE_SUM(name, type, LOAD, STEP) \
static float \
name(int dim, const type *a, const type *b) \
{ \
	float		lane[LANES] = {0}; \
	int			whole = dim - dim % LANES; \
 \
	for (int i = 0; i < whole; i += LANES) \
		for (int j = 0; j < LANES; j++) \
			lane[j] = STEP(LOAD(a[i + j]), LOAD(b[i + j]), lane[j]); \
	for (int j = 0; j < dim - whole; j++) \
		lane[j] = STEP(LOAD(a[whole + j]), LOAD(b[whole + j]), lane[j]); \
	return fold(lane); \
}

#define DEFINE_DOT(name, type, inner_product) \
static void \
name(int dim, const type *a, const type *b, float *ab, float *aa, float *bb) \
{ \
	*ab = inner_product(dim, a, b); \
	*aa = inner_product(dim, a, a); \
	*bb = inner_product(dim, b, b); \
}

DEFINE_SUM(l2_squared, float, FLOAT, STEP_L2)
DEFINE_SUM(inner_product, float, FLOAT, STEP_IP)
DEFINE_SUM(l1, float, FLOAT, STEP_L1)
DEFINE_DOT(dot_and_norms, float, inner_product)

DEFINE_SUM(half_l2_squared, VdistHalf, HALF, STEP_L2)
DEFINE_SUM(half_inner_product, VdistHalf, HALF, STEP_IP)
DEFINE_SUM(half_l1, VdistHalf, HALF, STEP_L1)
DEFINE_DOT(half_dot_and_norms, VdistHalf, half_inner_product)

static void
half_to_float(int n, const VdistHalf *x, float *out)
{
	for (int i = 0; i < n; i++)
		out[i] = vdist_half_to_float(x[i]);
}

static void
float_to_half(int n, const float *x, VdistHalf *out)
{
	for (int i = 0; i < n; i++)
		out[i] = vdist_float_to_half(x[i]);
}

static uint64_t
bit_hamming(size_t bytes, const uint8_t *a, const uint8_t *b)
{
	return vdist_bit_hamming(bytes, a, b);
}

static void
bit_overlap(size_t bytes, const uint8_t *a, const uint8_t *b, uint64_t *both, uint64_t *either)
{
	vdist_bit_overlap(bytes, a, b, both, either);
}

const VdistKernel vdist_kernel_scalar = {
	"scalar", l2_squared, inner_product, l1, dot_and_norms,
	half_l2_squared, half_inner_product, half_l1, half_dot_and_norms,
	half_to_float, float_to_half, bit_hamming, bit_overlap
};
