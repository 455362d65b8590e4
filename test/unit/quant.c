/*
 * quant.c: tests of src/quant: codes and estimates against a double-precision reference, every SIMD
 * variant against the portable one bit by bit. Prints TAP.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

static int	tests;
static int	failures;

static void
check(bool ok, const char *name)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, name);
	failures += !ok;
}

static uint64_t seed = 42;

static double
uniform(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (double) (seed >> 11) / (double) (1ULL << 53);
}

static float
gauss(void)
{
	return (float) (sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform()));
}

static float *
vectors(int n, int dim, double scale)
{
	float	   *x = malloc(sizeof(float) * n * dim);

	for (int i = 0; i < n * dim; i++)
		x[i] = gauss() * scale + (i % dim % 7 - 3);
	return x;
}

static double
exact(VdistQuantMetric metric, int dim, const float *a, const float *b)
{
	double		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += metric == VDIST_QUANT_IP ? -(double) a[i] * b[i] :
			metric == VDIST_QUANT_L1 ? fabs((double) a[i] - b[i]) :
			((double) a[i] - b[i]) * ((double) a[i] - b[i]);
	return sum;
}

static void
mean_of(int n, int dim, const float *x, float *mean)
{
	for (int j = 0; j < dim; j++)
	{
		double		sum = 0;

		for (int i = 0; i < n; i++)
			sum += x[i * dim + j];
		mean[j] = (float) (sum / n);
	}
}

/* Everything the variants must agree on, in exactly allocated memory so that ASan sees overreads. */
typedef struct Outcome
{
	char	   *codes;
	float	   *estimates;
	float	   *listed;
} Outcome;

#define N 13

static Outcome
run(VdistQuantMetric metric, int dim, int bits, const float *x, const float *mean, float range,
	const float *query, int gap)
{
	VdistQuant	quant;
	Outcome		o;
	float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
	VdistQuantQuery *q = malloc(vdist_quant_query_size(dim));
	uint16_t	which[] = {12, 0, 7, 7, 3};
	size_t		stride;

	vdist_quant_init(&quant, metric, dim, bits, mean, range);
	stride = quant.code_size + gap;
	o.codes = malloc(stride * N - gap);
	o.estimates = malloc(sizeof(float) * N);
	o.listed = malloc(sizeof(float) * 5);
	for (int i = 0; i < N; i++)
	{
		vdist_quant_encode(&quant, x + i * dim, o.codes + i * stride, scratch);
		if (i < N - 1)
			memset(o.codes + i * stride + quant.code_size, 0xaa, gap);
	}
	vdist_quant_query(&quant, query, q, scratch);
	vdist_quant_estimate(q, o.codes, stride, N, o.estimates);
	vdist_quant_estimate_list(q, o.codes, stride, which, 5, o.listed);
	free(q);
	free(scratch);
	return o;
}

static void
release(Outcome *o)
{
	free(o->codes);
	free(o->estimates);
	free(o->listed);
}

static void
test_variants_agree(void)
{
	static const int bits[] = {1, 2, 4, 6, 8};
	static const VdistSimd simds[] = {VDIST_SIMD_AVX2, VDIST_SIMD_AVX512, VDIST_SIMD_AUTO};
	bool		same = true;
	bool		listed = true;
	char		name[200] = "every variant returns the portable one's bits";

	for (int dim = 1; dim <= 1100 && same; dim += dim < 140 ? 1 : 37)
	{
		float	   *x = vectors(N, dim, 1.0);
		float	   *query = vectors(1, dim, 1.2);
		float	   *mean = malloc(sizeof(float) * dim);

		mean_of(N, dim, x, mean);
		for (int b = 0; b < 5; b++)
			for (int metric = VDIST_QUANT_L2; metric <= VDIST_QUANT_L1; metric++)
			{
				int			gap = (dim % 3) * 2;
				Outcome		o;

				if (bits[b] == 6 && metric == VDIST_QUANT_L1)
					continue;

				vdist_quant_select(VDIST_SIMD_SCALAR);
				o = run(metric, dim, bits[b], x, mean, 2.5f, query, gap);
				listed = listed && o.listed[0] == o.estimates[12] &&
					o.listed[1] == o.estimates[0] && o.listed[2] == o.estimates[7] &&
					o.listed[3] == o.estimates[7] && o.listed[4] == o.estimates[3];
				for (int v = 0; v < 3; v++)
				{
					Outcome		p;
					size_t		stride = vdist_quant_code_size(metric, dim, bits[b]) + gap;

					if (!vdist_quant_select(simds[v]))
						continue;
					p = run(metric, dim, bits[b], x, mean, 2.5f, query, gap);
					if (memcmp(o.codes, p.codes, stride * N - gap) != 0 ||
						memcmp(o.estimates, p.estimates, sizeof(float) * N) != 0 ||
						memcmp(o.listed, p.listed, sizeof(float) * 5) != 0)
					{
						same = false;
						snprintf(name, sizeof(name), "variant %d differs: dim %d bits %d metric %d",
								 simds[v], dim, bits[b], metric);
					}
					release(&p);
				}
				release(&o);
			}
		free(x);
		free(query);
		free(mean);
	}
	check(same, name);
	check(listed, "estimates by list are those by position");
	vdist_quant_select(VDIST_SIMD_AUTO);
}

static void
test_rotation(void)
{
	bool		length = true;
	bool		angle = true;
	bool		spread = true;
	bool		back = true;

	for (int dim = 1; dim <= 600; dim += dim < 70 ? 1 : 13)
	{
		float	   *x = vectors(2, dim, 1.0);
		double		before = exact(VDIST_QUANT_L2, dim, x, x + dim);
		double		norm = -exact(VDIST_QUANT_IP, dim, x, x);
		double		peak = 0;

		vdist_quant_rotate(dim, x);
		vdist_quant_rotate(dim, x + dim);
		length = length && fabs(-exact(VDIST_QUANT_IP, dim, x, x) - norm) <= 1e-5 * norm;
		angle = angle && fabs(exact(VDIST_QUANT_L2, dim, x, x + dim) - before) <= 1e-4 * norm;

		vdist_quant_unrotate(dim, x);
		memcpy(x + dim, x, sizeof(float) * dim);
		vdist_quant_rotate(dim, x + dim);
		vdist_quant_unrotate(dim, x + dim);
		back = back && exact(VDIST_QUANT_L2, dim, x, x + dim) <= 1e-10 * norm;

		/* a unit vector must end up spread over all coordinates */
		memset(x, 0, sizeof(float) * dim);
		x[dim - 1] = 1.0f;
		vdist_quant_rotate(dim, x);
		for (int i = 0; i < dim; i++)
			peak = fabs(x[i]) > peak ? fabs(x[i]) : peak;
		if (dim >= 16 && peak > 5.0 / sqrt(dim))
			spread = false;
		free(x);
	}
	check(length, "rotation keeps lengths");
	check(back, "rotation can be turned back");
	check(angle, "rotation keeps distances");
	check(spread, "rotation spreads a coordinate axis over all dimensions");
}

/* Distances by the taxicab from codes of vectors or of their signed roots, at every SIMD level. */
static void
test_taxicab(bool roots)
{
	static const VdistSimd levels[] = {VDIST_SIMD_SCALAR, VDIST_SIMD_AVX2, VDIST_SIMD_AVX512};
	bool		same = true;
	bool		within = true;
	double		squares = 0;
	int			n = 0;

	for (int dim = 64; dim <= 400; dim += 21)
	{
		float	   *x = vectors(21, dim, 1.0);
		float	   *row = malloc(sizeof(float) * dim);
		float	   *mean = calloc(dim, sizeof(float));
		float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
		VdistQuantQuery *query = malloc(vdist_quant_query_size(dim));
		VdistQuant	quant;
		char	   *code;

		/* a third of the elements is zero, one in seven is near the query's */
		for (int i = 0; i < 21 * dim; i++)
			x[i] = i % 3 == 0 ? 0.0f : i % 7 == 0 ? x[i % dim] * 1.001f : x[i];
		vdist_quant_init(&quant, VDIST_QUANT_L2, dim, 8, mean, 0);
		code = malloc(quant.code_size);
		vdist_quant_query(&quant, x, query, scratch);
		for (int i = 1; i < 21; i++)
		{
			float		got[3];
			float		error;
			float		unseen;
			double		truth = 0;
			double		miss;

			for (int j = 0; j < dim; j++)
				truth += roots ? fabs(fabs(x[j]) * x[j] - fabs(x[i * dim + j]) * x[i * dim + j]) :
					fabs(x[j] - x[i * dim + j]);
			vdist_quant_encode(&quant, x + i * dim, code, scratch);
			for (int level = 0; level < 3; level++)
			{
				if (!vdist_quant_select(levels[level]))
					continue;
				vdist_quant_decode(&quant, code, row);
				vdist_quant_unrotate(dim, row);
				got[level] = vdist_quant_taxicab(dim, roots, x, row, vdist_quant_lost(query, code), &error,
												 &unseen);
				same = same && got[level] == got[0];
			}
			vdist_quant_select(VDIST_SIMD_AUTO);
			miss = got[0] - truth;
			within = within && miss > -6 * error && miss < 6 * error + unseen;
			squares += (miss - unseen * 0.4) * (miss - unseen * 0.4) / (error * error);
			n++;
		}
		free(x);
		free(row);
		free(mean);
		free(scratch);
		free(query);
		free(code);
	}
	check(same, "taxicab distances from codes are the same with every SIMD level");
	check(within, "taxicab distances from codes are within their bounds");
	printf("# taxicab distances%s: errors are %.2f of those foretold\n", roots ? " from roots" : "",
		   sqrt(squares / n));
	check(squares / n > 0.5 * 0.5 && squares / n < 1.3 * 1.3,
		  "and their errors are about those foretold");
}

/* Root mean square error of the estimate, relative to the root mean square distance from the mean. */
static double
error_of(VdistQuantMetric metric, int dim, int bits)
{
	enum
	{
		ROWS = 300
	};
	float	   *x = vectors(ROWS, dim, 1.0);
	float	   *query = vectors(1, dim, 1.0);
	float	   *mean = malloc(sizeof(float) * dim);
	float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
	float		out[ROWS];
	VdistQuant	quant;
	VdistQuantQuery *q = malloc(vdist_quant_query_size(dim));
	char	   *codes;
	double		sum = 0;

	mean_of(ROWS, dim, x, mean);
	vdist_quant_init(&quant, metric, dim, bits, mean, 3.0f);
	codes = malloc(quant.code_size * ROWS);
	for (int i = 0; i < ROWS; i++)
		vdist_quant_encode(&quant, x + i * dim, codes + i * quant.code_size, scratch);
	vdist_quant_query(&quant, query, q, scratch);
	vdist_quant_estimate(q, codes, quant.code_size, ROWS, out);
	for (int i = 0; i < ROWS; i++)
	{
		double		d = out[i] - exact(metric, dim, query, x + i * dim);

		sum += d * d;
	}
	free(x);
	free(query);
	free(mean);
	free(scratch);
	free(q);
	free(codes);
	return sqrt(sum / ROWS) / dim;
}

/*
 * Errors in units of what vdist_quant_error says, of rows that lie so far from the query (0: independent
 * ones): their root mean square, their bias and the largest.
 */
static void
error_in_sigmas(VdistQuantMetric metric, int dim, int bits, double apart, bool fine, double *rms,
				double *bias, double *most)
{
	enum
	{
		ROWS = 300
	};
	float	   *x = vectors(ROWS, dim, 1.0);
	float	   *query = vectors(1, dim, 1.0);
	float	   *mean = malloc(sizeof(float) * dim);
	float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
	VdistQuant	quant;
	VdistQuant	coarse;
	VdistQuantQuery *q = malloc(vdist_quant_query_size(dim));
	VdistQuantQuery *rest = malloc(vdist_quant_query_size(dim));
	VdistQuantQuery *other = malloc(vdist_quant_query_size(dim));
	char	   *code;

	mean_of(ROWS, dim, x, mean);
	for (int i = 0; i < ROWS * dim && apart > 0; i++)
		x[i] = query[i % dim] + (float) apart * (x[i] - mean[i % dim]);
	vdist_quant_init(&quant, metric, dim, bits, mean, 6.0f);
	vdist_quant_init(&coarse, metric, dim, 1, mean, 6.0f);
	code = malloc(quant.code_size);
	if (fine)
		vdist_quant_query_fine(&quant, &coarse, query, q, rest, other, scratch);
	else
		vdist_quant_query(&quant, query, q, scratch);
	*rms = *bias = *most = 0;
	for (int i = 0; i < ROWS; i++)
	{
		float		estimate;
		double		d;

		vdist_quant_encode(&quant, x + i * dim, code, scratch);
		if (fine)
			estimate = vdist_quant_estimate_fine(q, rest, code);
		else
			vdist_quant_estimate(q, code, quant.code_size, 1, &estimate);
		d = (estimate - exact(metric, dim, query, x + i * dim)) /
			vdist_quant_error(q, code, estimate);
		*rms += d * d;
		*bias += d;
		*most = fmax(*most, fabs(d));
	}
	*rms = sqrt(*rms / ROWS);
	*bias /= ROWS;
	free(x);
	free(query);
	free(mean);
	free(scratch);
	free(q);
	free(rest);
	free(other);
	free(code);
}

/* The nearer a row, the smaller the error of a fine query; it is as predicted, and never far off. */
static void
test_near(void)
{
	static const double apart[] = {2, 0.9, 0.5, 0.2, 0.05, 0.001};

	for (int bits = 6; bits <= 8; bits += 2)
		for (int dim = 64; dim <= 1024; dim *= 4)
			for (int a = 0; a < 6; a++)
			{
				char		name[120];
				double		rms;
				double		bias;
				double		most;

				error_in_sigmas(VDIST_QUANT_L2, dim, bits, apart[a], true, &rms, &bias, &most);
				snprintf(name, sizeof(name), "fine L2 error of %d bits in %d dimensions, %.3f apart: "
						 "%.2f sigma, bias %.2f, most %.2f", bits, dim, apart[a], rms, bias, most);
				/* of the nearest, what remains is the allowance for what floats round */
				check(rms < 1.1 && (rms > 0.6 || apart[a] < 0.1) && fabs(bias) < 0.2 && most < 4,
					  name);
			}
}

static void
test_accuracy(void)
{
	static const int bits[] = {1, 2, 4, 6, 8};

	/*
	 * Theory for Gaussian data: <r, q> has relative error sqrt(1 - cos^2) / cos over sqrt(dim),
	 * with cos^2 = .637, .881, .9885, .9990 and .9999; L2 has twice that. The bounds leave a third
	 * of room.
	 */
	static const double l2[] = {2.02, 0.98, 0.29, 0.09, 0.05};

	for (int b = 0; b < 5; b++)
		for (int dim = 64; dim <= 1024; dim *= 4)
			for (int metric = VDIST_QUANT_L2; metric <= VDIST_QUANT_IP; metric++)
			{
				const char *kind = metric == VDIST_QUANT_L2 ? "L2" : "IP";
				double		bound = metric == VDIST_QUANT_L2 ? l2[b] : l2[b] / 2;
				char		name[100];
				double		e = error_of(metric, dim, bits[b]) * sqrt(dim);
				double		rms;
				double		bias;
				double		most;

				snprintf(name, sizeof(name), "%s error of %d bits in %d dimensions: %.4f <= %.4f",
						 kind, bits[b], dim, e, bound);
				check(e <= bound, name);
				error_in_sigmas(metric, dim, bits[b], 0, false, &rms, &bias, &most);
				snprintf(name, sizeof(name), "%s error of %d bits in %d dimensions is as predicted: "
						 "%.2f sigma, bias %.2f", kind, bits[b], dim, rms, bias);
				check(rms > 0.6 && rms < 1.5 && fabs(bias) < 0.3, name);
			}
	check(error_of(VDIST_QUANT_L1, 128, 8) < 0.002, "L1 error of 8 bits");
	check(error_of(VDIST_QUANT_L1, 128, 4) < 0.03, "L1 error of 4 bits");
}

/* Vectors of zeros and ones: one bit a dimension is exact, whatever way a code or a query was made. */
static void
test_binary(void)
{
	static const VdistSimd simds[] = {VDIST_SIMD_SCALAR, VDIST_SIMD_AVX2, VDIST_SIMD_AUTO};
	bool		encoded = true;
	bool		recoded = true;
	bool		query_of_code = true;
	bool		decoded = true;
	bool		fine = true;

	for (int v = 0; v < 3; v++)
		for (int dim = 1; dim <= 3000; dim = dim < 70 ? dim + 1 : dim * 3 / 2)
		{
			float	   *x = malloc(sizeof(float) * 2 * dim);
			float	   *y = x + dim;
			float	   *mean = malloc(sizeof(float) * dim);
			float	   *a = malloc(sizeof(float) * dim);
			float	   *b = malloc(sizeof(float) * dim);
			float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
			VdistQuantQuery *q[3];
			VdistQuant	own;
			VdistQuant	slot;
			char	   *own_x;
			char	   *own_y;
			char	   *code;
			float		estimate;
			double		d;

			if (!vdist_quant_select(simds[v]))
				continue;
			for (int i = 0; i < 3; i++)
				q[i] = malloc(vdist_quant_query_size(dim));
			for (int i = 0; i < 2 * dim; i++)
				x[i] = uniform() < 0.3 ? 1.0f : 0.0f;
			for (int i = 0; i < dim; i++)
				mean[i] = 0.5f;
			d = exact(VDIST_QUANT_L2, dim, x, y);
			vdist_quant_init_binary(&own, dim, 8, mean);
			vdist_quant_init_binary(&slot, dim, 1, mean);
			own_x = malloc(own.code_size);
			own_y = malloc(own.code_size);
			code = malloc(slot.code_size);
			vdist_quant_encode(&own, x, own_x, scratch);
			vdist_quant_encode(&own, y, own_y, scratch);

			vdist_quant_encode(&slot, y, code, scratch);
			vdist_quant_query(&slot, x, q[0], scratch);
			vdist_quant_estimate(q[0], code, slot.code_size, 1, &estimate);
			encoded = encoded && estimate == d;
			vdist_quant_recode(&own, own_y, &slot, code, scratch);
			vdist_quant_estimate(q[0], code, slot.code_size, 1, &estimate);
			recoded = recoded && estimate == d;
			vdist_quant_query_code(&own, own_x, &slot, q[0], scratch);
			vdist_quant_estimate(q[0], code, slot.code_size, 1, &estimate);
			query_of_code = query_of_code && estimate == d;
			vdist_quant_decode(&own, own_x, a);
			vdist_quant_decode(&slot, code, b);
			decoded = decoded && exact(VDIST_QUANT_L2, dim, a, b) == d;
			vdist_quant_query_fine(&own, &slot, x, q[0], q[1], q[2], scratch);
			vdist_quant_estimate(q[2], code, slot.code_size, 1, &estimate);
			fine = fine && estimate == d &&
				fabs(vdist_quant_estimate_fine(q[0], q[1], own_y) - d) < 1e-5 * dim;
			for (int i = 0; i < 3; i++)
				free(q[i]);
			free(x);
			free(mean);
			free(a);
			free(b);
			free(scratch);
			free(own_x);
			free(own_y);
			free(code);
		}
	vdist_quant_select(VDIST_SIMD_AUTO);
	check(encoded, "one bit of zeros and ones is exact");
	check(recoded, "and recoded");
	check(query_of_code, "and compared with a code");
	check(decoded, "and decoded");
	check(fine, "and with a fine query");
}

/*
 * Distances between records are those between decoded codes, but for the bit of 8 that they lack; in every
 * variant the same.
 */
static void
test_pairs(void)
{
	static const VdistSimd simds[] = {VDIST_SIMD_SCALAR, VDIST_SIMD_AVX2, VDIST_SIMD_AUTO};
	static const int all_bits[] = {1, 2, 4, 6, 8};
	bool		as_decoded = true;
	bool		near = true;
	bool		binary = true;
	bool		self = true;
	bool		same = true;

	for (int dim = 1; dim <= 2500; dim = dim < 70 ? dim + 1 : dim * 3 / 2)
	{
		int			n = 19;
		float	   *x = vectors(n, dim, 1.0);
		float	   *mean = calloc(dim, sizeof(float));
		float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
		float	   *decoded = malloc(sizeof(float) * n * dim);
		void	   *records[19];

		for (int i = 0; i < n; i++)
			records[i] = malloc(vdist_quant_record_size(dim));
		for (int t = 0; t < 11; t++)
		{
			VdistQuantMetric metric = t < 5 || t == 10 ? VDIST_QUANT_L2 : VDIST_QUANT_L1;
			VdistQuant	quant;
			char	   *code;
			float		first[19];

			if (metric == VDIST_QUANT_L1 && all_bits[t % 5] == 6)
				continue;
			if (t == 10)
			{
				for (int i = 0; i < n * dim; i++)
					x[i] = uniform() < 0.3 ? 1.0f : 0.0f;
				for (int i = 0; i < dim; i++)
					mean[i] = 0.5f;
				vdist_quant_init_binary(&quant, dim, 8, mean);
			}
			else
				vdist_quant_init(&quant, metric, dim, all_bits[t % 5], mean, 6.0f);
			code = malloc(quant.code_size);
			for (int v = 0; v < 3; v++)
			{
				float		got[19];

				if (!vdist_quant_select(simds[v]))
					continue;
				for (int i = 0; i < n; i++)
				{
					vdist_quant_encode(&quant, x + i * dim, code, scratch);
					vdist_quant_decode(&quant, code, decoded + i * dim);
					vdist_quant_record(&quant, code, records[i]);
				}
				vdist_quant_between(&quant, records[0], (const void *const *) records, n, got);
				for (int i = 0; i < n && v == 0; i++)
				{
					double		d = exact(metric, dim, decoded, decoded + i * dim);
					double		far = exact(metric, dim, decoded, mean) + 1;

					/* half a level in each component, which is .031 of their deviation */
					double		moved = 0.016 * (sqrt(far) + sqrt(exact(metric, dim, decoded + i * dim, mean)));

					if (t == 10)
						binary = binary && got[i] == d;
					else if (metric == VDIST_QUANT_L2 && quant.bits == 8)
						near = near && fabs(got[i] - d) <= (2 * sqrt(d) + moved) * moved;
					else
						as_decoded = as_decoded && fabs(got[i] - d) <= 1e-5 * far;
				}
				self = self && fabs(got[0]) <= 1e-6 * exact(metric, dim, decoded, mean);
				if (v == 0)
					memcpy(first, got, sizeof(first));
				same = same && memcmp(first, got, sizeof(first)) == 0;
			}
			free(code);
		}
		for (int i = 0; i < n; i++)
			free(records[i]);
		free(x);
		free(mean);
		free(scratch);
		free(decoded);
	}
	vdist_quant_select(VDIST_SIMD_AUTO);
	check(as_decoded, "distances of records are those of decoded codes");
	check(near, "of 8 bits nearly so");
	check(binary, "of zeros and ones exactly so");
	check(self, "a record is at distance 0 from itself");
	check(same, "every variant measures records alike");
}

/* A code taken for a query must estimate what the decoded vector would. */
static void
test_decode(void)
{
	bool		near = true;
	bool		query_near = true;
	bool		l1_near = true;
	bool		recode_near = true;
	char	   *recoded = NULL;

	for (int dim = 32; dim <= 500; dim += 31)
	{
		float	   *x = vectors(2, dim, 1.0);
		float	   *mean = calloc(dim, sizeof(float));
		float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
		float	   *a = malloc(sizeof(float) * dim);
		float	   *b = malloc(sizeof(float) * dim);
		VdistQuant	own;
		VdistQuant	slot;
		VdistQuantQuery *q = malloc(vdist_quant_query_size(dim));
		char	   *code;
		char	   *other;
		double		d = exact(VDIST_QUANT_L2, dim, x, x + dim);
		float		estimate;

		for (int bits = 6; bits <= 8; bits += 2)
		{
			vdist_quant_init(&own, VDIST_QUANT_L2, dim, bits, mean, 0.0f);
			vdist_quant_init(&slot, VDIST_QUANT_L2, dim, 4, mean, 0.0f);
			code = malloc(own.code_size);
			other = malloc(slot.code_size);
			vdist_quant_encode(&own, x, code, scratch);
			vdist_quant_decode(&own, code, a);
			vdist_quant_encode(&own, x + dim, code, scratch);
			vdist_quant_decode(&own, code, b);
			near = near && fabs(exact(VDIST_QUANT_L2, dim, a, b) - d) <
				0.5 * d / sqrt(dim);

			recoded = realloc(recoded, slot.code_size);
			vdist_quant_recode(&own, code, &slot, recoded, scratch);
			vdist_quant_query(&slot, x, q, scratch);
			vdist_quant_estimate(q, recoded, slot.code_size, 1, &estimate);
			recode_near = recode_near && fabs(estimate - d) < 5 * vdist_quant_error(q, recoded, estimate);

			vdist_quant_encode(&slot, x, other, scratch);
			vdist_quant_query_code(&own, code, &slot, q, scratch);
			vdist_quant_estimate(q, other, slot.code_size, 1, &estimate);
			query_near = query_near && fabs(estimate - d) < 5 * vdist_quant_error(q, other, estimate);
			free(code);
			free(other);
		}
		vdist_quant_init(&own, VDIST_QUANT_L1, dim, 8, mean, 8.0f);
		code = malloc(own.code_size);
		vdist_quant_encode(&own, x, code, scratch);
		vdist_quant_decode(&own, code, a);
		l1_near = l1_near && exact(VDIST_QUANT_L1, dim, a, x) < dim * own.range / 255;
		free(code);
		free(x);
		free(mean);
		free(scratch);
		free(a);
		free(b);
		free(q);
	}
	check(near, "distances between decoded vectors are near the exact ones");
	check(query_near, "a query made from a code estimates within its error");
	free(recoded);
	check(recode_near, "a code written from a longer code estimates within its error");
	check(l1_near, "decoded L1 codes are near the vector");
}

/*
 * Codes of the first components alone: estimates are unbiased and as exact as is predicted, alike in every variant;
 * a code made of a longer one is nearly the same, and says nothing of the other components.
 */
static void
test_short(void)
{
	static const VdistSimd simds[] = {VDIST_SIMD_SCALAR, VDIST_SIMD_AVX2, VDIST_SIMD_AVX512};

	for (int dim = 64; dim <= 1000; dim += 234)
	{
		int			coded = dim * 5 / 8 / 32 * 32;
		float	   *x = vectors(N, dim, 1.0);
		float	   *query = vectors(1, dim, 1.0);
		float	   *mean = malloc(sizeof(float) * dim);
		float	   *scratch = malloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
		float	   *decoded = malloc(sizeof(float) * dim);
		VdistQuantQuery *q = malloc(vdist_quant_query_size(dim));
		VdistQuant	quant;
		VdistQuant	own;
		char	   *codes;
		char	   *own_code;
		char	   *again;
		float		out[3][N] = {{0}};
		double		rms = 0;
		double		bias = 0;
		bool		same = true;
		int			differ = 0;
		double		rest = 0;
		char		name[120];

		for (int j = 0; j < dim; j++)
			mean[j] = j % 7 - 3;
		vdist_quant_init(&own, VDIST_QUANT_L2, dim, 8, mean, 0);
		vdist_quant_init(&quant, VDIST_QUANT_L2, dim, 1, mean, 0);
		vdist_quant_shorten(&quant, coded);
		snprintf(name, sizeof(name), "a code of %d of %d components is %d bytes shorter", coded, dim,
				 (int) (vdist_quant_code_size(VDIST_QUANT_L2, dim, 1) - quant.code_size));
		check(vdist_quant_code_size(VDIST_QUANT_L2, dim, 1) - quant.code_size ==
			  (size_t) ((dim + 31) / 32 - coded / 32) * 4, name);

		codes = malloc(quant.code_size * N);
		own_code = malloc(own.code_size);
		again = malloc(quant.code_size);
		for (int v = 0; v < 3; v++)
		{
			if (!vdist_quant_select(simds[v]))
				continue;
			for (int i = 0; i < N; i++)
				vdist_quant_encode(&quant, x + i * dim, codes + i * quant.code_size, scratch);
			vdist_quant_query(&quant, query, q, scratch);
			vdist_quant_estimate(q, codes, quant.code_size, N, out[v]);
			same = same && memcmp(out[0], out[v], sizeof(out[0])) == 0;
		}
		vdist_quant_select(VDIST_SIMD_AUTO);
		snprintf(name, sizeof(name), "%d of %d components: every variant returns the same", coded, dim);
		check(same, name);
		for (int i = 0; i < N; i++)
		{
			const char *code = codes + i * quant.code_size;
			double		d = (out[0][i] - exact(VDIST_QUANT_L2, dim, query, x + i * dim)) /
			vdist_quant_error(q, code, out[0][i]);

			rms += d * d / N;
			bias += d / N;
			vdist_quant_encode(&own, x + i * dim, own_code, scratch);
			vdist_quant_recode(&own, own_code, &quant, again, scratch);
			for (size_t b = quant.head; b < quant.code_size; b++)
				differ += __builtin_popcount((unsigned char) (code[b] ^ again[b]));
			vdist_quant_decode(&quant, code, decoded);
			for (int j = 0; j < dim; j++)
				rest += j >= coded ? fabs(decoded[j]) : decoded[j] == 0.0f;
		}
		snprintf(name, sizeof(name), "%d of %d components: the error is as predicted: %.2f sigma, bias %.2f",
				 coded, dim, sqrt(rms), bias);
		check(rms > 0.2 && rms < 2.5 && fabs(bias) < 0.9, name);
		snprintf(name, sizeof(name), "%d of %d components: %d bits differ when made of a long code", coded,
				 dim, differ);
		check(differ < N * coded / 50, name);
		check(rest == 0, "decoded, the components that are not coded are 0, and only those");
		free(x);
		free(query);
		free(mean);
		free(scratch);
		free(decoded);
		free(q);
		free(codes);
		free(own_code);
		free(again);
	}
}

static void
test_edges(void)
{
	static const int all_bits[] = {1, 2, 4, 6, 8};
	float		mean[100] = {0};
	float		x[100] = {0};
	float		scratch[VDIST_QUANT_SCRATCH(100)];
	char		code[200];
	VdistQuant	quant;
	VdistQuantQuery *q = malloc(vdist_quant_query_size(100));
	float		out;
	bool		ok = true;

	for (int b = 0; b < 5; b++)
	{
		vdist_quant_init(&quant, VDIST_QUANT_L2, 100, all_bits[b], mean, 0);
		vdist_quant_encode(&quant, x, code, scratch);
		vdist_quant_query(&quant, x, q, scratch);
		vdist_quant_estimate(q, code, quant.code_size, 1, &out);
		ok = ok && out == 0.0f;
	}
	check(ok, "a vector at the mean has distance 0 from itself");

	ok = true;
	for (int b = 0; b < 5; b++)
		for (int metric = VDIST_QUANT_L2; metric <= VDIST_QUANT_L1; metric++)
		{
			static const float extremes[] = {1e-42f, 1e-20f, 1e18f, 1e30f, 3e38f};

			for (int e = 0; e < 5 && !(all_bits[b] == 6 && metric == VDIST_QUANT_L1); e++)
			{
				for (int i = 0; i < 100; i++)
					x[i] = (i % 2 ? 1 : -1) * extremes[e];
				vdist_quant_init(&quant, metric, 100, all_bits[b], mean, extremes[e]);
				vdist_quant_encode(&quant, x, code, scratch);
				memset(x, 0, sizeof(x));
				x[0] = 1.0f;
				vdist_quant_query(&quant, x, q, scratch);
				vdist_quant_estimate(q, code, quant.code_size, 1, &out);
				ok = ok && !isnan(out);
			}
		}
	check(ok, "extreme magnitudes never estimate NaN");
	free(q);
}

int
main(void)
{
	vdist_kernel_select(VDIST_SIMD_AUTO);
	vdist_quant_select(VDIST_SIMD_AUTO);
	test_rotation();
	test_variants_agree();
	test_accuracy();
	test_near();
	test_binary();
	test_pairs();
	test_decode();
	test_short();
	test_edges();
	test_taxicab(false);
	test_taxicab(true);
	printf("1..%d\n", tests);
	return failures != 0;
}
