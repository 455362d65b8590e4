/*
 * kernel.c: every variant of every distance kernel, in every dimension from 0 to 2100: the bits of
 * the summation that kernel.h defines, the distance from a double-precision sum, not a byte read
 * past the end, and what becomes of NaN, infinity and overflow.
 */
#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/kernel.h"
#include "kernel/variants.h"
#include "tap.h"

#define MAX_DIM 2100

enum
{
	L2, IP, L1, DOT, NORM_A, NORM_B, KERNELS
};

static const char *const kernel_name[KERNELS] = {
	"l2_squared", "inner_product", "l1", "dot_and_norms.ab", "dot_and_norms.aa", "dot_and_norms.bb"
};

static void
run(const VdistKernel *kernel, int dim, const float *a, const float *b, float *out)
{
	out[L2] = kernel->l2_squared(dim, a, b);
	out[IP] = kernel->inner_product(dim, a, b);
	out[L1] = kernel->l1(dim, a, b);
	kernel->dot_and_norms(dim, a, b, &out[DOT], &out[NORM_A], &out[NORM_B]);
}

/* The definition of kernel.h, written once more and without the code under test. */
static float
canonical(int which, int dim, const float *a, const float *b)
{
	float		lane[32] = {0};

	for (int i = 0; i < dim; i++)
	{
		float		x = which == NORM_B ? b[i] : a[i];
		float		y = which == NORM_A ? a[i] : b[i];
		float		d = a[i] - b[i];

		if (which == L1)
			lane[i % 32] += fabsf(d);
		else
			lane[i % 32] = which == L2 ? fmaf(d, d, lane[i % 32]) : fmaf(x, y, lane[i % 32]);
	}
	for (int half = 16; half > 0; half /= 2)
		for (int j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return lane[0] == 0 ? 0 : lane[0];
}

/* The true sum, and in *magnitude the sum of the absolute values of its terms. */
static double
reference(int which, int dim, const float *a, const float *b, double *magnitude)
{
	double		sum = 0;

	*magnitude = 0;
	for (int i = 0; i < dim; i++)
	{
		double		x = which == NORM_B ? b[i] : a[i];
		double		y = which == NORM_A ? a[i] : b[i];
		double		d = (double) a[i] - (double) b[i];
		double		term = which == L2 ? d * d : which == L1 ? fabs(d) : x * y;

		sum += term;
		*magnitude += fabs(term);
	}
	return sum;
}

static bool
same_bits(float x, float y)
{
	return isnan(x) ? isnan(y) : memcmp(&x, &y, sizeof(x)) == 0;
}

/* Kinds of numbers: each finds other errors. */
enum
{
	UNIFORM,					/* what embeddings are like */
	WIDE,						/* magnitudes far apart */
	INTEGER,					/* small integers: every sum is exact */
	TIES,						/* few bits, so that sums fall on midpoints between floats */
	NEAR_TIES,					/* sums so near to midpoints that double cannot tell */
	TINY,						/* products that underflow or are subnormal */
	HUGE_VALUES,				/* sums that overflow */
	KINDS
};

static float
random_float(int kind)
{
	switch (kind)
	{
		case UNIFORM:
			return (float) tap_random_real();
		case WIDE:
			return ldexpf((float) tap_random_real(), tap_random_below(40) - 20);
		case INTEGER:
			return (float) (tap_random_below(33) - 16);
		case TIES:
			return ldexpf((float) (tap_random_below(15) - 7), tap_random_below(26) - 13);
		case TINY:
			return ldexpf((float) tap_random_real(), -60 - tap_random_below(20));
		default:
			return ldexpf((float) tap_random_real(), 128 - tap_random_below(70));
	}
}

static void
fill(int kind, int dim, float *a, float *b)
{
	if (kind == NEAR_TIES)
	{
		/*
		 * The first 32 make each lane an odd float, in odd dimensions a subnormal one; the others
		 * add to it half an ulp, less 2^-46 of that.
		 */
		bool		subnormal = dim % 2 != 0;

		for (int i = 0; i < dim; i++)
		{
			if (i < 32)
			{
				a[i] = subnormal ? ldexpf(1, -127) + ldexpf(1, -149) : 1 + FLT_EPSILON;
				b[i] = 1;
			}
			else
			{
				a[i] = ldexpf(1 + FLT_EPSILON, subnormal ? -75 : -12);
				b[i] = ldexpf(1 - FLT_EPSILON, subnormal ? -75 : -12);
			}
		}
		return;
	}
	for (int i = 0; i < dim; i++)
	{
		a[i] = random_float(kind);
		b[i] = random_float(kind);
	}
}

static void
check_bits(const VdistKernel *kernel)
{
	static float a[MAX_DIM];
	static float b[MAX_DIM];
	float		out[KERNELS];

	for (int dim = 0; dim <= MAX_DIM; dim++)
	{
		for (int kind = 0; kind < KINDS; kind++)
		{
			fill(kind, dim, a, b);
			run(kernel, dim, a, b, out);
			for (int k = 0; k < KERNELS; k++)
			{
				float		want = canonical(k, dim, a, b);

				if (!same_bits(out[k], want))
					tap_fail("%s, dim %d, kind %d: %a, not %a", kernel_name[k], dim, kind,
							 (double) out[k], (double) want);
			}
		}
	}
}

/*
 * Each lane sees ceil(dim / 32) additions and the fold five, each off by half an ulp of what is at
 * most the sum of magnitudes; a difference adds one rounding and its square two.
 */
static void
check_accuracy(const VdistKernel *kernel)
{
	static float a[MAX_DIM];
	static float b[MAX_DIM];
	float		out[KERNELS];

	for (int dim = 1; dim <= MAX_DIM; dim++)
	{
		for (int kind = UNIFORM; kind <= TIES; kind++)
		{
			fill(kind, dim, a, b);
			run(kernel, dim, a, b, out);
			for (int k = 0; k < KERNELS; k++)
			{
				double		magnitude;
				double		want = reference(k, dim, a, b, &magnitude);
				double		bound = kind == INTEGER ? 0 :
					(dim / 32 + 9) * (FLT_EPSILON / 2) * magnitude * 1.0001;

				if (!(fabs(out[k] - want) <= bound))
					tap_fail("%s, dim %d, kind %d: %.9g is %.3g from %.17g, bound %.3g",
							 kernel_name[k], dim, kind, (double) out[k],
							 fabs(out[k] - want), want, bound);
			}
		}
	}
}

/* Arrays in heap blocks of just their size, at every alignment a float can have in a cache line. */
static void
check_alignment(const VdistKernel *kernel)
{
	static float a[MAX_DIM];
	static float b[MAX_DIM];
	float		want[KERNELS];
	float		out[KERNELS];

	for (int dim = 1; dim <= MAX_DIM; dim++)
	{
		fill(UNIFORM, dim, a, b);
		for (int k = 0; k < KERNELS; k++)
			want[k] = canonical(k, dim, a, b);
		for (int offset = 0; offset < 16; offset++)
		{
			int			other = (offset * 7 + dim) % 16;
			float	   *x = malloc(sizeof(float) * (size_t) (dim + offset));
			float	   *y = malloc(sizeof(float) * (size_t) (dim + other));

			memcpy(x + offset, a, sizeof(float) * (size_t) dim);
			memcpy(y + other, b, sizeof(float) * (size_t) dim);
			run(kernel, dim, x + offset, y + other, out);
			for (int k = 0; k < KERNELS; k++)
				if (!same_bits(out[k], want[k]))
					tap_fail("%s, dim %d, offsets %d and %d: %a, not %a", kernel_name[k], dim,
							 offset, other, (double) out[k], (double) want[k]);
			free(x);
			free(y);
		}
	}
}

/* Masked loads escape the address sanitizer; a page that cannot be read catches them. */
static float *
map_before_guard(size_t bytes, size_t *mapped)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);
	size_t		size = (bytes + page - 1) / page * page;
	char	   *map = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
						   -1, 0);

	if (map == MAP_FAILED || mprotect(map + size, page, PROT_NONE) != 0)
	{
		perror("mmap");
		exit(2);
	}
	*mapped = size + page;
	return (float *) (map + size);
}

static void
check_no_overread(const VdistKernel *kernel)
{
	size_t		mapped;
	float	   *end_a = map_before_guard(sizeof(float) * MAX_DIM, &mapped);
	float	   *end_b = map_before_guard(sizeof(float) * MAX_DIM, &mapped);
	float		out[KERNELS];

	for (int i = 1; i <= MAX_DIM; i++)
		end_a[-i] = end_b[-i] = 1;
	for (int dim = 0; dim <= MAX_DIM; dim++)
	{
		run(kernel, dim, end_a - dim, end_b - dim, out);
		if (out[IP] != (float) dim || out[DOT] != (float) dim || out[L2] != 0)
			tap_fail("dim %d before a guard page", dim);
	}
}

/* A NaN or infinity anywhere reaches the result; so does one that overflow makes. */
static void
check_special(const VdistKernel *kernel)
{
	float		a[130];
	float		b[130];
	float		out[KERNELS];

	for (int dim = 1; dim <= 130; dim++)
	{
		for (int i = 0; i < dim; i++)
		{
			for (int j = 0; j < dim; j++)
				a[j] = b[j] = 0.5f + (float) j;
			a[i] = NAN;
			run(kernel, dim, a, b, out);
			for (int k = 0; k < KERNELS; k++)
				if (isnan(out[k]) != (k != NORM_B))
					tap_fail("%s, dim %d, NaN at %d: %g", kernel_name[k], dim, i, (double) out[k]);

			a[i] = INFINITY;
			run(kernel, dim, a, b, out);
			for (int k = 0; k < KERNELS; k++)
				if (isfinite(out[k]) != (k == NORM_B) || isnan(out[k]))
					tap_fail("%s, dim %d, infinity at %d: %g", kernel_name[k], dim, i,
							 (double) out[k]);

			b[i] = INFINITY;
			run(kernel, dim, a, b, out);
			if (!isnan(out[L2]) || !isnan(out[L1]) || out[IP] != INFINITY)
				tap_fail("dim %d, two infinities at %d: %g %g %g", dim, i, (double) out[L2],
						 (double) out[L1], (double) out[IP]);

			a[i] = 3e38f;
			b[i] = -3e38f;
			run(kernel, dim, a, b, out);
			if (out[L2] != INFINITY || out[L1] != INFINITY || out[IP] != -INFINITY ||
				out[NORM_A] != INFINITY)
				tap_fail("dim %d, overflow at %d: %g %g %g %g", dim, i, (double) out[L2],
						 (double) out[L1], (double) out[IP], (double) out[NORM_A]);
		}
	}
}

/* Products that underflow to -0 leave +0, whatever the variant pads the tail with. */
static void
check_zero_sign(const VdistKernel *kernel)
{
	float		a[200];
	float		b[200];
	float		out[KERNELS];

	for (int i = 0; i < 200; i++)
	{
		a[i] = -1e-30f;
		b[i] = 1e-30f;
	}
	for (int dim = 0; dim <= 200; dim++)
	{
		run(kernel, dim, a, b, out);
		if (out[IP] != 0 || signbit(out[IP]) || out[DOT] != 0 || signbit(out[DOT]))
			tap_fail("dim %d: %g %g", dim, (double) out[IP], (double) out[DOT]);
	}
}

static void
check_dispatch(void)
{
	VdistSimd	widest = VDIST_SIMD_SCALAR;

	for (int simd = VDIST_SIMD_SCALAR; simd <= VDIST_SIMD_AVX512; simd++)
	{
		const VdistKernel *before = vdist_kernel;

		if (vdist_kernel_select((VdistSimd) simd) != vdist_kernel_supported((VdistSimd) simd))
			tap_fail("variant %d: select and supported disagree", simd);
		if (vdist_kernel_supported((VdistSimd) simd))
			widest = (VdistSimd) simd;
		else if (vdist_kernel != before)
			tap_fail("variant %d is not supported and was selected", simd);
	}
	if (vdist_kernel_supported((VdistSimd) 99) || vdist_kernel_select((VdistSimd) 99))
		tap_fail("variant 99 is supported");
	if (!vdist_kernel_select(VDIST_SIMD_AUTO))
		tap_fail("auto is not supported");
	else
	{
		const VdistKernel *automatic = vdist_kernel;

		vdist_kernel_select(widest);
		if (vdist_kernel != automatic)
			tap_fail("auto took %s, the widest is %s", automatic->name, vdist_kernel->name);
	}
	tap_end("dispatch takes what the processor has");
}

int
main(void)
{
	static const struct
	{
		const char *what;
		void		(*check) (const VdistKernel *kernel);
	}			checks[] = {
		{"bits of the canonical summation", check_bits},
		{"error against double precision", check_accuracy},
		{"every alignment", check_alignment},
		{"nothing read past the end", check_no_overread},
		{"NaN, infinity and overflow", check_special},
		{"sign of zero", check_zero_sign}
	};
	static const char *const names[] = {"auto", "scalar", "avx2", "avx512"};

	if (strcmp(vdist_kernel->name, "scalar") != 0)
		tap_fail("%s", vdist_kernel->name);
	tap_end("kernels work before one is selected");

	for (int simd = VDIST_SIMD_SCALAR; simd <= VDIST_SIMD_AVX512; simd++)
	{
		for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		{
			char		name[100];

			snprintf(name, sizeof(name), "%s: %s", names[simd], checks[i].what);
			if (!vdist_kernel_select((VdistSimd) simd))
			{
				tap_skip(name, "this processor lacks it");
				continue;
			}
			tap_seed = 1;
			checks[i].check(vdist_kernel);
			tap_end(name);
		}
	}
	check_dispatch();
	return tap_done();
}
