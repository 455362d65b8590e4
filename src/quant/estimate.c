/*
 * estimate.c: estimated distances from codes in portable C (the definition that the SIMD variants
 * follow), and the choice of a variant. Pure C; called by the access methods and the roof.
 */
#include "quant/blocks.h"
#include "quant/variants.h"

static int32_t
sum_products(const VdistQuantQuery *query, const uint8_t *fields, int width, int bits)
{
	unsigned	mask = (1u << bits) - 1;
	int32_t		sum = 0;

	for (int f = 0; f < 8 / bits; f++)
	{
		const int8_t *v = query->v + f * width;

		for (int j = 0; j < width; j++)
			sum += (int32_t) ((fields[j] >> (f * bits)) & mask) * v[j];
	}
	return sum;
}

static int32_t
sum_differences(const VdistQuantQuery *query, const uint8_t *fields)
{
	int			nbits = query->bits;
	unsigned	mask = (1u << nbits) - 1;
	int32_t		half = nbits == 8 ? 0 : 1 << (7 - nbits);
	int32_t		sum = 0;

	for (int f = 0; f < 8 / nbits; f++)
	{
		const uint8_t *v = (const uint8_t *) query->v + f * query->width;

		for (int j = 0; j < query->width; j++)
		{
			int32_t		u = (int32_t) (((fields[j] >> (f * nbits)) & mask) << (8 - nbits)) + half;

			sum += u > v[j] ? u - v[j] : v[j] - u;
		}
	}
	return sum;
}

static void
estimate(const VdistQuantQuery *query, const void *codes, size_t stride, const uint16_t *which,
		 int n, float *distance)
{
	for (int i = 0; i < n; i++)
	{
		const char *code = vdist_quant_at(codes, stride, which, i);
		const uint8_t *fields = (const uint8_t *) code + query->head;
		int			width = query->width;
		int32_t		sum;

		if (query->metric == VDIST_QUANT_L1)
			sum = sum_differences(query, fields);
		else if (query->bits == 6)
			sum = 4 * sum_products(query, fields, width, 4) +
				sum_products(query, fields + width, vdist_quant_width(query->dim, 2), 2);
		else
			sum = sum_products(query, fields, width, query->bits);
		distance[i] = vdist_quant_finish(query, code, sum);
	}
}

const VdistQuantVariant vdist_quant_scalar = {
	"scalar", estimate, vdist_quant_rotate_scalar, vdist_quant_unrotate_scalar,
	&vdist_quant_passes_scalar
};

const VdistQuantVariant *vdist_quant_variant = &vdist_quant_scalar;

void
vdist_quant_estimate(const VdistQuantQuery *query, const void *codes, size_t stride, int n,
					 float *distance)
{
	vdist_quant_variant->estimate(query, codes, stride, NULL, n, distance);
}

void
vdist_quant_estimate_list(const VdistQuantQuery *query, const void *codes, size_t stride,
						  const uint16_t *which, int n, float *distance)
{
	vdist_quant_variant->estimate(query, codes, stride, which, n, distance);
}

float
vdist_quant_estimate_fine(const VdistQuantQuery *query, const VdistQuantQuery *rest,
						  const void *code)
{
	float		distance;
	float		correction;
	float		add;
	float		scale;

	vdist_quant_variant->estimate(query, code, 0, NULL, 1, &distance);
	if (query->metric == VDIST_QUANT_L1)
		return distance;
	vdist_quant_variant->estimate(rest, code, 0, NULL, 1, &correction);
	vdist_quant_factors(query->metric, query->head, code, &add, &scale);
	return distance + (correction - add);
}

bool
vdist_quant_select(VdistSimd simd)
{
	if (!vdist_kernel_supported(simd))
		return false;
	vdist_quant_variant = &vdist_quant_scalar;
	vdist_blocks = &vdist_blocks_scalar;
	vdist_wide_blocks = &vdist_wide_blocks_scalar;
#if defined(__x86_64__)
	if (simd != VDIST_SIMD_SCALAR && vdist_kernel_supported(VDIST_SIMD_AVX2))
	{
		vdist_quant_variant = &vdist_quant_avx2;
		vdist_blocks = &vdist_blocks_avx2;
		vdist_wide_blocks = &vdist_wide_blocks_avx2;
	}
	/* without VNNI, 512 bits gain little over AVX2 */
	if (simd != VDIST_SIMD_SCALAR && simd != VDIST_SIMD_AVX2 &&
		vdist_kernel_supported(VDIST_SIMD_AVX512) && __builtin_cpu_supports("avx512vnni"))
	{
		vdist_quant_variant = &vdist_quant_avx512;
		vdist_blocks = &vdist_blocks_avx512;
	}
#endif
	return true;
}
