/*
 * kernel.c: nanoseconds a call of every distance kernel, its arrays in the first-level cache or near
 * it; the table in src/kernel/README.md comes from here.
 *
 *	cc -O2 -fPIC -Isrc -o /tmp/bench-kernel test/bench/kernel.c src/kernel/[a-z]*.c -lm
 */
#define _POSIX_C_SOURCE 200112L

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernel/kernel.h"

#define ROUNDS 200
#define MAX_DIM 1536

enum
{
	L2, IP, L1, COSINE, HALF_L2, HALF_COSINE, KERNELS
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

/* Distances of q from n vectors; their sum, so that the compiler cannot leave them out. */
static float
run(int which, int n, int dim, const float *q, const float *x)
{
	const VdistKernel *kernel = vdist_kernel;
	float		sum = 0;
	float		norm_a;
	float		norm_b;
	float		ab;

	for (int i = 0; i < n; i++)
	{
		const float *y = x + (size_t) i * (size_t) dim;

		/* The same memory read as halves: the speed does not depend on the values. */
		const VdistHalf *h = (const VdistHalf *) x + (size_t) i * (size_t) dim;

		switch (which)
		{
			case L2:
				sum += kernel->l2_squared(dim, q, y);
				break;
			case IP:
				sum += kernel->inner_product(dim, q, y);
				break;
			case L1:
				sum += kernel->l1(dim, q, y);
				break;
			case HALF_L2:
				sum += kernel->half_l2_squared(dim, (const VdistHalf *) q, h);
				break;
			case HALF_COSINE:
				kernel->half_dot_and_norms(dim, (const VdistHalf *) q, h, &ab, &norm_a, &norm_b);
				sum += ab + norm_a + norm_b;
				break;
			default:
				kernel->dot_and_norms(dim, q, y, &ab, &norm_a, &norm_b);
				sum += ab + norm_a + norm_b;
		}
	}
	return sum;
}

int
main(void)
{
	static const int dims[] = {3, 16, 25, 50, 100, 128, 200, 384, 768, 960, 1536};
	static float q[MAX_DIM];
	static float x[16384 + MAX_DIM];
	volatile float sink;

	for (int i = 0; i < MAX_DIM; i++)
		q[i] = (float) rand() / (float) RAND_MAX;
	for (int i = 0; i < 16384 + MAX_DIM; i++)
		x[i] = (float) rand() / (float) RAND_MAX;

	printf("%9s %-8s %8s %8s %8s %8s %8s %8s\n", "dim", "variant", "l2", "ip", "l1", "cosine",
		   "half l2", "cosine");
	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
	{
		int			n = 16384 / dims[d];

		if (n > 256)
			n = 256;
		for (int simd = VDIST_SIMD_SCALAR; simd <= VDIST_SIMD_AVX512; simd++)
		{
			if (!vdist_kernel_select((VdistSimd) simd))
				continue;
			printf("%9d %-8s", dims[d], vdist_kernel->name);
			for (int which = 0; which < KERNELS; which++)
			{
				double		best = 1e18;

				for (int round = 0; round < ROUNDS; round++)
				{
					double		start = now();
					double		time;

					/* One float off a cache line, as vectors in a page are. */
					sink = run(which, n, dims[d], q, x + 1);
					time = (now() - start) / n;
					if (time < best)
						best = time;
				}
				printf(" %8.1f", best);
			}
			printf("\n");
		}
	}
	(void) sink;
	return 0;
}
