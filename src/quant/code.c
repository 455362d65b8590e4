/*
 * code.c: from a vector to its code and back. Pure C; calls rotate.c and the exact kernels, called by
 * the access methods.
 */
#include <float.h>
#include <math.h>

#include "quant/variants.h"

/* How often the step is corrected so that the factor of the code follows from its norm. */
#define STEP_ROUNDS 5

static int
head_size(VdistQuantMetric metric, int bits)
{
	if (bits > 4)
		return HEAD_FLOATS;
	if (metric == VDIST_QUANT_IP || (metric == VDIST_QUANT_L2 && bits == 1))
		return HEAD_PAIR;
	return HEAD_SHORT;
}

size_t
vdist_quant_code_size(VdistQuantMetric metric, int dim, int bits)
{
	size_t		width = bits == 6 ?
		vdist_quant_width(dim, 4) + vdist_quant_width(dim, 2) : vdist_quant_width(dim, bits);

	return head_size(metric, bits) + width;
}

void
vdist_quant_init(VdistQuant *quant, VdistQuantMetric metric, int dim, int bits, const float *mean,
				 float range)
{
	quant->metric = metric;
	quant->dim = dim;
	quant->bits = bits;
	quant->head = head_size(metric, bits);
	quant->coded = dim;
	quant->width = vdist_quant_width(dim, bits == 6 ? 4 : bits);
	quant->code_size = vdist_quant_code_size(metric, dim, bits);
	quant->mean = mean;
	quant->range = range;
	quant->rotated = false;
	quant->binary = false;
	quant->lost = 0.0f;
}

void
vdist_quant_shorten(VdistQuant *quant, int coded)
{
	quant->coded = coded;
	quant->width = vdist_quant_width(coded, 1);
	quant->code_size = quant->head + quant->width;
}

/* The nearest short float (variants.h) of a non-negative number, clamped to what it can say. */
static uint16_t
short_of(float f)
{
	uint32_t	bits;

	if (!(f >= ldexpf(1.0f, -62)))
		return 0;
	if (f > ldexpf(1.0f, 62))
		f = ldexpf(1.0f, 62);
	memcpy(&bits, &f, sizeof(bits));
	return (uint16_t) ((bits + (1u << 13) - (64u << 23)) >> 14);
}

void
vdist_quant_init_binary(VdistQuant *quant, int dim, int bits, const float *mean)
{
	float		n2 = 0.25f * (float) dim;
	float		norm = vdist_quant_short(short_of(sqrtf(n2)));

	vdist_quant_init(quant, VDIST_QUANT_L2, dim, bits, mean, 1.0f);
	quant->rotated = true;
	quant->binary = true;
	if (quant->head != HEAD_FLOATS)
		quant->lost = n2 - norm * norm;
}

/* The nearest number that the upper half of a float can hold. */
static uint16_t
upper_half_of(float f)
{
	uint32_t	bits;

	memcpy(&bits, &f, sizeof(bits));
	return (uint16_t) ((bits + 0x8000) >> 16);
}

/*
 * z_i = the centred level of r_i / step: an odd multiple of one half, at most (2^bits - 1) / 2.
 * Returns <r, z>.
 */
static float
quantize(int dim, int bits, const float *r, float step, float *z)
{
	vdist_quant_variant->passes->levels(dim, r, 1.0f / (step > FLT_MIN ? step : FLT_MIN), bits, z);
	return vdist_kernel->inner_product(dim, r, z);
}

/*
 * Quantize with the step for which ||r||^2 / <r, z> comes out as wanted, so that the code need not
 * store it: <r, z> falls as the step grows, nearly as its inverse.
 */
static float
quantize_to(int dim, int bits, const float *r, float n2, float wanted, float sigma, float *z)
{
	float		step = sigma * vdist_quant_step(bits);
	float		best = step;
	float		best_miss = FLT_MAX;
	float		s = 0.0f;

	for (int round = 0; round < STEP_ROUNDS; round++)
	{
		float		miss;

		s = quantize(dim, bits, r, step, z);
		if (!(s > 0.0f))
			break;
		miss = fabsf(n2 / s - wanted);
		if (miss < best_miss)
		{
			best_miss = miss;
			best = step;
			if (miss < 1e-3f * wanted)
				return s;
		}
		step *= wanted * s / n2;
	}
	return quantize(dim, bits, r, best, z);
}

/*
 * out[i] |= ((in[i] >> right) & mask) << left for n bytes, eight at a time: the mask takes away what comes from
 * the next byte.
 */
VDIST_QUANT_VECTORIZE static void
move_fields(int n, const uint8_t *restrict in, int right, unsigned mask, int left,
			uint8_t *restrict out)
{
	uint64_t	masks = mask * UINT64_C(0x0101010101010101);
	int			words = n / 8;

	for (int i = 0; i < words; i++)
	{
		uint64_t	from;
		uint64_t	to;

		memcpy(&from, in + 8 * i, sizeof(from));
		memcpy(&to, out + 8 * i, sizeof(to));
		to |= ((from >> right) & masks) << left;
		memcpy(out + 8 * i, &to, sizeof(to));
	}
	for (int i = 8 * words; i < n; i++)
		out[i] |= (uint8_t) (((in[i] >> right) & mask) << left);
}

/* Set a field of `bits` bits for every dimension: bits shift .. shift + bits - 1 of the level. */
static void
pack(int dim, int bits, int shift, int width, const uint8_t *level, uint8_t *out)
{
	memset(out, 0, width);
	for (int f = 0; f < 8 / bits; f++)
	{
		int			n = dim - f * width;

		move_fields(n < width ? n : width, level + f * width, shift, (1u << bits) - 1, f * bits,
					out);
	}
}

/* Add what the fields say of the levels of n dimensions, the first of which is `first`. */
static void
unpack(int first, int n, int bits, int shift, int width, const uint8_t *in, uint8_t *level)
{
	for (int f = 0; f < 8 / bits; f++)
	{
		int			from = f * width > first ? f * width : first;
		int			end = (f + 1) * width < first + n ? (f + 1) * width : first + n;

		move_fields(end - from, in + from - f * width, f * bits, (1u << bits) - 1, shift,
					level + from - first);
	}
}

static void
pack_all(const VdistQuant *quant, const uint8_t *level, uint8_t *out)
{
	if (quant->bits == 6)
	{
		pack(quant->dim, 4, 2, quant->width, level, out);
		pack(quant->dim, 2, 0, vdist_quant_width(quant->dim, 2), level, out + quant->width);
	}
	else
		pack(quant->coded, quant->bits, 0, quant->width, level, out);
}

void
vdist_quant_levels(const VdistQuant *quant, const void *code, int first, int n, uint8_t *level)
{
	const uint8_t *fields = (const uint8_t *) code + quant->head;

	memset(level, 0, n);
	if (quant->bits == 6)
	{
		unpack(first, n, 4, 2, quant->width, fields, level);
		unpack(first, n, 2, 0, vdist_quant_width(quant->dim, 2), fields + quant->width, level);
	}
	else
		unpack(first, n, quant->bits, 0, quant->width, fields, level);
}

/* L1: no rotation (it would change the distance); what clipping cuts off is kept in add. */
static void
encode_l1(const VdistQuant *quant, const float *x, char *code, uint8_t *level)
{
	float		over = 0.0f;
	float		head[2];

	for (int i = 0; i < quant->dim; i++)
	{
		float		excess = fabsf(x[i] - quant->mean[i]) - quant->range;

		if (excess > 0.0f)
			over += excess;
		level[i] = (uint8_t) (vdist_quant_level(x[i] - quant->mean[i], quant->range) >>
							  (8 - quant->bits));
	}
	over = over < FLT_MAX ? over : FLT_MAX;
	if (quant->head == HEAD_FLOATS)
	{
		head[0] = over;
		head[1] = 0.0f;
		memcpy(code, head, sizeof(head));
	}
	else
	{
		uint16_t	h = short_of(over);

		memcpy(code, &h, sizeof(h));
	}
	pack_all(quant, level, (uint8_t *) code + quant->head);
}

/* From a centred and rotated vector r; n2 is the square of its length before anything rounded it. */
VDIST_QUANT_VECTORIZE static void
encode_rotated(const VdistQuant *quant, const float *r, float n2, float add, char *code, float *z,
			   uint8_t *level)
{
	int			dim = quant->coded;
	int			bits = quant->bits;
	float		centre = (float) ((1 << bits) - 1) * 0.5f;
	float		norm = sqrtf(n2);
	float		sigma = norm / sqrtf((float) dim);
	float		s;
	float		scale;			/* <r, q> is estimated by <z, q> * scale */
	uint16_t	h[2] = {0, 0};

	if (bits == 1)
	{
		for (int i = 0; i < dim; i++)
			z[i] = r[i] > 0.0f ? 0.5f : -0.5f;
		s = vdist_kernel->inner_product(dim, r, z);
	}
	else if (quant->head == HEAD_SHORT)
	{
		h[0] = short_of(norm);
		s = quantize_to(dim, bits, r, n2, vdist_quant_short(h[0]) * vdist_quant_unit(dim, bits),
						sigma, z);
	}
	else
		s = quantize(dim, bits, r, sigma * vdist_quant_step(bits), z);

	for (int i = 0; i < dim; i++)
		level[i] = (uint8_t) (int32_t) (z[i] + centre);
	pack_all(quant, level, (uint8_t *) code + quant->head);

	scale = s > 0.0f ? n2 / s : 0.0f;
	scale = isfinite(scale) ? scale : 0.0f;
	if (quant->head == HEAD_FLOATS)
	{
		float		head[2];

		head[0] = add;
		head[1] = scale;
		memcpy(code, head, sizeof(head));
		return;
	}
	if (quant->head == HEAD_PAIR)
	{
		h[0] = quant->metric == VDIST_QUANT_L2 ? short_of(norm) : upper_half_of(add);
		h[1] = short_of(scale);
	}
	memcpy(code, h, quant->head);
}

void
vdist_quant_encode(const VdistQuant *quant, const float *x, void *code, float *scratch)
{
	int			dim = quant->dim;
	float	   *r = scratch;
	float	   *z = scratch + dim + 64;
	uint8_t    *level = (uint8_t *) (scratch + 2 * (dim + 64));
	float		n2;
	float		add;

	if (quant->metric == VDIST_QUANT_L1)
	{
		encode_l1(quant, x, code, level);
		return;
	}

	vdist_quant_variant->passes->subtract(dim, x, quant->mean, r);
	n2 = vdist_kernel->inner_product(dim, r, r);
	n2 = n2 < FLT_MAX ? n2 : FLT_MAX;
	add = quant->metric == VDIST_QUANT_L2 ? n2 :
		-vdist_kernel->inner_product(dim, r, quant->mean);
	add = isfinite(add) ? add : FLT_MAX;
	if (!quant->rotated)
		vdist_quant_variant->rotate(dim, r);
	encode_rotated(quant, r, n2, add, code, z, level);
}

void
vdist_quant_recode(const VdistQuant *quant, const void *code, const VdistQuant *target, void *out,
				   float *scratch)
{
	int			dim = quant->dim;
	float	   *r = scratch;
	float	   *z = scratch + dim + 64;
	uint8_t    *level = (uint8_t *) (scratch + 2 * (dim + 64));
	float		add;
	float		scale;
	float		n2;

	vdist_quant_decode(quant, code, r);
	if (quant->metric == VDIST_QUANT_L1)
	{
		for (int i = 0; i < dim; i++)
			r[i] += quant->mean[i];
		encode_l1(target, r, out, level);
		return;
	}
	vdist_quant_factors(quant->metric, quant->head, code, &add, &scale);
	n2 = quant->metric == VDIST_QUANT_L2 ? add : vdist_kernel->inner_product(dim, r, r);
	encode_rotated(target, r, n2, add, out, z, level);
}

/* Levels that are unpacked at a time, on the stack. */
#define LEVELS 512

VDIST_QUANT_VECTORIZE void
vdist_quant_decode(const VdistQuant *quant, const void *code, float *x)
{
	int			dim = quant->dim;
	int			bits = quant->bits;
	float		centre = (float) ((1 << bits) - 1) * 0.5f;
	float		add;
	float		scale;

	vdist_quant_factors(quant->metric, quant->head, code, &add, &scale);
	if (quant->metric == VDIST_QUANT_L1)
		scale = quant->range * 2.0f / (float) (bits == 8 ? 255 : 1 << bits);
	else if (quant->head == HEAD_SHORT)
		scale *= vdist_quant_unit(dim, bits);
	for (int first = 0; first < quant->coded; first += LEVELS)
	{
		int			n = quant->coded - first < LEVELS ? quant->coded - first : LEVELS;
		uint8_t		level[LEVELS];
		float	   *out = x + first;

		vdist_quant_levels(quant, code, first, n, level);
		for (int i = 0; i < n; i++)
		{
			float		z = (float) level[i] - centre;

			out[i] = z * scale;
		}
	}

	/* of the others nothing is known */
	memset(x + quant->coded, 0, sizeof(float) * (dim - quant->coded));

	/* not to the last bit: then equal distances would differ */
	for (int i = 0; i < dim && quant->binary; i++)
		x[i] = x[i] > 0.0f ? 0.5f : -0.5f;
}
