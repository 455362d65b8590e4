/*
 * half.c: halves and bits. Every half becomes the right float, every float near a half or between
 * two the right half; sums of halves have the bits of the sums of the floats they are equal to, in
 * every dimension from 0 to 2100; bits are counted right in every length. All in every variant.
 */
#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/kernel.h"
#include "tap.h"

#define MAX_DIM 2100
#define HALVES 65536

enum
{
	L2, IP, L1, DOT, NORM_A, NORM_B, KERNELS
};

/* What the format says, in double, without the code under test. */
static double
value_of(int h)
{
	int			exponent = h >> 10 & 31;
	int			mantissa = h & 1023;
	double		x = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);

	if (exponent == 31)
		x = mantissa == 0 ? INFINITY : NAN;
	return h & 0x8000 ? -x : x;
}

static bool
same_bits(float x, float y)
{
	return isnan(x) ? isnan(y) : memcmp(&x, &y, sizeof(x)) == 0;
}

static void
check_to_float(const VdistKernel *kernel)
{
	static VdistHalf in[HALVES];
	static float out[HALVES];

	for (int h = 0; h < HALVES; h++)
		in[h] = (VdistHalf) h;
	kernel->half_to_float(HALVES, in, out);
	for (int h = 0; h < HALVES; h++)
	{
		float		one = vdist_half_to_float((VdistHalf) h);

		if (!same_bits(out[h], (float) value_of(h)) || memcmp(&out[h], &one, sizeof(one)) != 0)
			tap_fail("%04x becomes %a and %a, not %a", (unsigned) h, (double) out[h],
					 (double) one, value_of(h));
	}
}

/* What x must be rounded to, x finite and not negative: found among all halves. */
static int
nearest(double x)
{
	int			low = 0;
	int			high = 0x7c00;
	double		up;

	while (high - low > 1)
	{
		int			middle = (low + high) / 2;

		if (value_of(middle) <= x)
			low = middle;
		else
			high = middle;
	}
	/* Infinity stands where the next number would be. */
	up = high == 0x7c00 ? 65536 : value_of(high);
	if (x - value_of(low) != up - x)
		return x - value_of(low) < up - x ? low : high;
	return low % 2 == 0 ? low : high;
}

static void
check_rounding(const VdistKernel *kernel, int n, const float *in)
{
	static VdistHalf out[HALVES];

	kernel->float_to_half(n, in, out);
	for (int i = 0; i < n; i++)
	{
		int			want = isnan(in[i]) ? 0x7e00 : nearest(fabs((double) in[i]));

		if (signbit(in[i]))
			want |= 0x8000;
		if (out[i] != want || vdist_float_to_half(in[i]) != want)
			tap_fail("%a becomes %04x and %04x, not %04x", (double) in[i], out[i],
					 vdist_float_to_half(in[i]), (unsigned) want);
	}
}

/* Each half, the midpoint to the next, and the floats beside both; then any floats. */
static void
check_to_half(const VdistKernel *kernel)
{
	static float in[HALVES];
	int			n = 0;

	for (int h = 0; h < 0x7c00; h++)
	{
		float		exact = (float) value_of(h);
		float		middle = (exact + (h == 0x7bff ? 65536.0f : (float) value_of(h + 1))) / 2;

		for (int side = 0; side < 6; side++)
		{
			float		x = side < 3 ? exact : middle;

			x = side % 3 == 1 ? nextafterf(x, -1) : side % 3 == 2 ? nextafterf(x, INFINITY) : x;
			in[n++] = x;
			in[n++] = -x;
		}
		if (n > HALVES - 12)
		{
			check_rounding(kernel, n, in);
			n = 0;
		}
	}
	check_rounding(kernel, n, in);

	for (int round = 0; round < 20; round++)
	{
		for (n = 0; n < HALVES; n++)
		{
			uint32_t	bits = (uint32_t) tap_random();

			memcpy(&in[n], &bits, sizeof(bits));
			if (!isfinite(in[n]))
				in[n] = INFINITY;
			else if (round % 2 != 0)
				in[n] = ldexpf((float) tap_random_real(), tap_random_below(44) - 26);
		}
		check_rounding(kernel, n, in);
	}
	in[0] = NAN;
	in[1] = -NAN;
	in[2] = FLT_MAX;
	in[3] = nextafterf(0, 1);
	check_rounding(kernel, 4, in);
}

/* No variant converts past n. */
static void
check_lengths(const VdistKernel *kernel)
{
	for (int n = 0; n <= 70; n++)
	{
		VdistHalf  *halves = malloc(sizeof(VdistHalf) * (size_t) n + 1);
		float	   *floats = malloc(sizeof(float) * (size_t) n + 1);
		VdistHalf  *again = malloc(sizeof(VdistHalf) * (size_t) n + 1);

		for (int i = 0; i < n; i++)
			halves[i] = (VdistHalf) (tap_random() & 0xfbff);
		kernel->half_to_float(n, halves, floats);
		kernel->float_to_half(n, floats, again);
		if (memcmp(halves, again, sizeof(VdistHalf) * (size_t) n) != 0)
			tap_fail("%d halves do not survive", n);
		free(halves);
		free(floats);
		free(again);
	}
}

static void
run(const VdistKernel *kernel, int dim, const VdistHalf *a, const VdistHalf *b, float *out)
{
	out[L2] = kernel->half_l2_squared(dim, a, b);
	out[IP] = kernel->half_inner_product(dim, a, b);
	out[L1] = kernel->half_l1(dim, a, b);
	kernel->half_dot_and_norms(dim, a, b, &out[DOT], &out[NORM_A], &out[NORM_B]);
}

/* Halves at the very end of what can be read; masked loads escape the address sanitizer. */
static VdistHalf *
map_before_guard(void)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);
	size_t		size = (sizeof(VdistHalf) * MAX_DIM + page - 1) / page * page;
	char	   *map = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
						   -1, 0);

	if (map == MAP_FAILED || mprotect(map + size, page, PROT_NONE) != 0)
	{
		perror("mmap");
		exit(2);
	}
	return (VdistHalf *) (map + size);
}

static void
check_sums(const VdistKernel *kernel)
{
	VdistHalf  *end_a = map_before_guard();
	VdistHalf  *end_b = map_before_guard();
	static float x[MAX_DIM];
	static float y[MAX_DIM];
	float		out[KERNELS];
	float		want[KERNELS];

	for (int dim = 0; dim <= MAX_DIM; dim++)
	{
		/* Ordinary values, all finite ones, and all there are. */
		for (int kind = 0; kind < 3; kind++)
		{
			VdistHalf  *a = end_a - dim;
			VdistHalf  *b = end_b - dim;

			for (int i = 0; i < dim; i++)
			{
				uint64_t	r = tap_random();

				a[i] = kind == 0 ? vdist_float_to_half((float) tap_random_real()) : (VdistHalf) r;
				b[i] = kind == 0 ? vdist_float_to_half((float) tap_random_real()) : (VdistHalf) (r >> 16);
				if (kind == 1 || tap_random_below(100) > 0)
				{
					a[i] &= 0xfbff;
					b[i] &= 0xfbff;
				}
				x[i] = vdist_half_to_float(a[i]);
				y[i] = vdist_half_to_float(b[i]);
			}
			run(kernel, dim, a, b, out);
			want[L2] = kernel->l2_squared(dim, x, y);
			want[IP] = kernel->inner_product(dim, x, y);
			want[L1] = kernel->l1(dim, x, y);
			kernel->dot_and_norms(dim, x, y, &want[DOT], &want[NORM_A], &want[NORM_B]);
			for (int k = 0; k < KERNELS; k++)
				if (!same_bits(out[k], want[k]))
					tap_fail("sum %d, dim %d, kind %d: %a, not %a", k, dim, kind,
							 (double) out[k], (double) want[k]);
		}
	}
}

static void
check_bits(const VdistKernel *kernel)
{
	for (size_t bytes = 0; bytes <= 400; bytes++)
	{
		uint8_t    *a = malloc(bytes + 1);
		uint8_t    *b = malloc(bytes + 1);
		uint64_t	differ = 0;
		uint64_t	in_both = 0;
		uint64_t	in_either = 0;
		uint64_t	both;
		uint64_t	either;

		/* One byte off, so that no word is aligned, and in blocks of just their size. */
		for (size_t i = 1; i <= bytes; i++)
		{
			a[i] = (uint8_t) tap_random();
			b[i] = (uint8_t) tap_random();
			for (int bit = 0; bit < 8; bit++)
			{
				differ += ((a[i] ^ b[i]) >> bit) & 1;
				in_both += ((a[i] & b[i]) >> bit) & 1;
				in_either += ((a[i] | b[i]) >> bit) & 1;
			}
		}
		kernel->bit_overlap(bytes, a + 1, b + 1, &both, &either);
		if (kernel->bit_hamming(bytes, a + 1, b + 1) != differ || both != in_both ||
			either != in_either)
			tap_fail("%zu bytes", bytes);
		free(a);
		free(b);
	}
}

int
main(void)
{
	static const struct
	{
		const char *what;
		void		(*check) (const VdistKernel *kernel);
	}			checks[] = {
		{"every half to float", check_to_float},
		{"floats to the nearest half", check_to_half},
		{"conversions of every length", check_lengths},
		{"sums of halves", check_sums},
		{"bits", check_bits}
	};
	static const char *const names[] = {"auto", "scalar", "avx2", "avx512"};

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
	return tap_done();
}
