/*
 * rotate.c: a pseudo-random rotation by sign flips and fast Hadamard transforms, O(dim log dim).
 * Pure C; called by code.c through vdist_quant_rotate.
 *
 * Let 2^k be the largest power of two that is at most dim. A round flips signs and transforms the
 * first (even rounds) or last (odd rounds) 2^k coordinates, scaled by 2^(-k/2); unless dim is 2^k, it
 * then turns the two halves of the vector against each other by 45 degrees, so that they mix even
 * when the two windows hardly overlap. This is the rotation of the RaBitQ library.
 *
 * One body serves all SIMD widths: it is written with the compiler's vector types, and compiled for
 * several targets. There are only additions, and multiplications by a constant, so all agree.
 */
#include <math.h>

#include "quant/lanes.h"
#include "quant/variants.h"

#define ROUNDS 4

/* Generator of sign bits: eight xorshift generators side by side, their top bits are the signs. */
static inline __attribute__((always_inline)) void
seed_signs(IntBlock *state, int round)
{
	uint64_t	s = 0x9e3779b97f4a7c15ULL * (uint64_t) (round + 1);

	for (int i = 0; i < LANES; i++)
	{
		uint64_t	z = (s += 0x9e3779b97f4a7c15ULL);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		(*state)[i] = (int32_t) (z >> 32) | 1;
	}
}

static inline __attribute__((always_inline)) void
next_signs(IntBlock *state)
{
	UintBlock	s = (UintBlock) *state;

	s ^= s << 13;
	s ^= s >> 17;
	s ^= s << 5;
	*state = (IntBlock) s;
}

/* Butterflies at distances 1, 2 and 4 inside one block. */
static inline __attribute__((always_inline)) void
transform_block(Block *block)
{
	const IntBlock by1 = {1, 0, 3, 2, 5, 4, 7, 6};
	const IntBlock by2 = {2, 3, 0, 1, 6, 7, 4, 5};
	const IntBlock by4 = {4, 5, 6, 7, 0, 1, 2, 3};
	const int32_t m = INT32_MIN;
	const IntBlock neg1 = {0, m, 0, m, 0, m, 0, m};
	const IntBlock neg2 = {0, 0, m, m, 0, 0, m, m};
	const IntBlock neg4 = {0, 0, 0, 0, m, m, m, m};
	Block		x = *block;

	x = __builtin_shuffle(x, by1) + (Block) ((IntBlock) x ^ neg1);
	x = __builtin_shuffle(x, by2) + (Block) ((IntBlock) x ^ neg2);
	x = __builtin_shuffle(x, by4) + (Block) ((IntBlock) x ^ neg4);
	*block = x;
}

/* One round's flips of n >= 8 coordinates, a multiple of 8; with the first butterflies in the same pass if wanted. */
static inline __attribute__((always_inline)) void
flip(int n, float *x, int round, float scale, bool butterflies)
{
	IntBlock	state;
	const IntBlock top = (IntBlock) {0} +INT32_MIN;

	seed_signs(&state, round);
	for (int i = 0; i < n; i += LANES)
	{
		Block	   *b = (Block *) (x + i);

		next_signs(&state);
		*b = (Block) ((IntBlock) *b ^ (state & top)) * scale;
		if (butterflies)
			transform_block(b);
	}
}

/*
 * One round's flips and Hadamard transform of n >= 8 coordinates, n a power of two; or, back, the transform, which
 * is its own inverse, and then the flips.
 */
static inline __attribute__((always_inline)) void
transform(int n, float *x, int round, float scale, bool back)
{
	int			h = LANES;

	if (!back)
		flip(n, x, round, scale, true);
	for (int i = 0; back && i < n; i += LANES)
		transform_block((Block *) (x + i));

	/* two stages in one pass over memory */
	for (; h * 2 < n; h *= 4)
	{
		for (int i = 0; i < n; i += 4 * h)
		{
			for (int j = i; j < i + h; j += LANES)
			{
				Block	   *p0 = (Block *) (x + j);
				Block	   *p1 = (Block *) (x + j + h);
				Block	   *p2 = (Block *) (x + j + 2 * h);
				Block	   *p3 = (Block *) (x + j + 3 * h);
				Block		a = *p0 + *p1;
				Block		b = *p0 - *p1;
				Block		c = *p2 + *p3;
				Block		d = *p2 - *p3;

				*p0 = a + c;
				*p1 = b + d;
				*p2 = a - c;
				*p3 = b - d;
			}
		}
	}
	if (h < n)
	{
		for (int j = 0; j < h; j += LANES)
		{
			Block	   *p0 = (Block *) (x + j);
			Block	   *p1 = (Block *) (x + j + h);
			Block		a = *p0 + *p1;

			*p1 = *p0 - *p1;
			*p0 = a;
		}
	}
	if (back)
		flip(n, x, round, scale, false);
}

/* The same for n < 8. */
static inline __attribute__((always_inline)) void
flip_small(int n, float *x, int round, float scale)
{
	IntBlock	state;

	seed_signs(&state, round);
	next_signs(&state);
	for (int i = 0; i < n; i++)
		x[i] = (state[i] < 0 ? -x[i] : x[i]) * scale;
}

static inline __attribute__((always_inline)) void
transform_small(int n, float *x, int round, float scale, bool back)
{
	if (!back)
		flip_small(n, x, round, scale);
	for (int h = 1; h < n; h *= 2)
	{
		for (int i = 0; i < n; i += 2 * h)
		{
			for (int j = i; j < i + h; j++)
			{
				float		a = x[j] + x[j + h];

				x[j + h] = x[j] - x[j + h];
				x[j] = a;
			}
		}
	}
	if (back)
		flip_small(n, x, round, scale);
}

/* Turn the halves of the vector against each other by 45 degrees. It is its own inverse. */
static inline __attribute__((always_inline)) void
turn(int dim, float *x)
{
	const float half = 0.70710678f;
	int			n = dim / 2;
	float	   *y = x + dim - n;
	int			i = 0;

	for (; i + LANES <= n; i += LANES)
	{
		Block	   *p = (Block *) (x + i);
		Block	   *q = (Block *) (y + i);
		Block		a = (*p + *q) * half;

		*q = (*p - *q) * half;
		*p = a;
	}
	for (; i < n; i++)
	{
		float		a = (x[i] + y[i]) * half;

		y[i] = (x[i] - y[i]) * half;
		x[i] = a;
	}
}

/* The power of two that is transformed at a time. */
static inline __attribute__((always_inline)) int
window(int dim)
{
	int			n = 1;

	while (n * 2 <= dim)
		n *= 2;
	return n;
}

static inline __attribute__((always_inline)) void
rotate(int dim, float *x)
{
	int			n = window(dim);
	float		scale = (float) (1.0 / sqrt((double) n));

	for (int round = 0; round < ROUNDS; round++)
	{
		float	   *start = round % 2 ? x + dim - n : x;

		if (n >= LANES)
			transform(n, start, round, scale, false);
		else
			transform_small(n, start, round, scale, false);
		if (n != dim)
			turn(dim, x);
	}
}

static inline __attribute__((always_inline)) void
unrotate(int dim, float *x)
{
	int			n = window(dim);
	float		scale = (float) (1.0 / sqrt((double) n));

	for (int round = ROUNDS - 1; round >= 0; round--)
	{
		float	   *start = round % 2 ? x + dim - n : x;

		if (n != dim)
			turn(dim, x);
		if (n >= LANES)
			transform(n, start, round, scale, true);
		else
			transform_small(n, start, round, scale, true);
	}
}

void
vdist_quant_rotate_scalar(int dim, float *x)
{
	rotate(dim, x);
}

void
vdist_quant_unrotate_scalar(int dim, float *x)
{
	unrotate(dim, x);
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) void
vdist_quant_rotate_avx2(int dim, float *x)
{
	rotate(dim, x);
}

__attribute__((target("avx2"))) void
vdist_quant_unrotate_avx2(int dim, float *x)
{
	unrotate(dim, x);
}

#endif

void
vdist_quant_rotate(int dim, float *x)
{
	vdist_quant_variant->rotate(dim, x);
}

void
vdist_quant_unrotate(int dim, float *x)
{
	vdist_quant_variant->unrotate(dim, x);
}
