/*
 * kinds.c: vectors of many kinds, among them those that indexes find hard, for test/bench/kinds, through
 * test/bench/hnsw, which compiles it.
 *
 *	kinds KIND SEED ROWS DIMS FILE.fvecs
 *
 * Where crowds lie and how large they are is the same for every seed, and so is the distribution: rows of
 * one seed and queries of another belong together. ROWS is that of the table for both; a seed other than 1
 * makes QUERIES rows.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERIES 400

static uint64_t state;

/* splitmix64: the same everywhere */
static double
uniform(void)
{
	uint64_t	z = (state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return (double) ((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static double
normal(void)
{
	double		u = uniform();

	return sqrt(-2 * log(u > 0 ? u : 1e-300)) * cos(6.283185307179586 * uniform());
}

static double *
normals(size_t n)
{
	double	   *x = malloc(sizeof(double) * n);

	if (x == NULL)
		exit(1);
	for (size_t i = 0; i < n; i++)
		x[i] = normal();
	return x;
}

/* ---- crowds: middles, and rows about them ---- */

typedef struct Crowds
{
	int			n;
	double	   *middles;
	double	   *deviations;		/* of rows from their middle */
	double	   *shares;			/* of rows: sums up to each crowd */
} Crowds;

/* Crowds of one size and width; the middles' components have a deviation of 1. */
static Crowds
make_crowds(int n, int dim, double deviation)
{
	Crowds		c = {n, normals((size_t) n * dim), malloc(sizeof(double) * n), malloc(sizeof(double) * n)};

	for (int i = 0; i < n; i++)
	{
		c.deviations[i] = deviation;
		c.shares[i] = (i + 1.0) / n;
	}
	return c;
}

/* Sizes like 1, 1/2, 1/3 ..., and widths from `least` to 1 evenly by their logarithm. */
static void
make_uneven(Crowds *c, double least)
{
	double		sum = 0;

	for (int i = 0; i < c->n; i++)
	{
		c->deviations[i] = pow(least, uniform());
		c->shares[i] = sum += 1.0 / (i + 1);
	}
	for (int i = 0; i < c->n; i++)
		c->shares[i] /= sum;
}

static int
choose(const Crowds *c)
{
	double		at = uniform();
	int			low = 0;
	int			high = c->n - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (c->shares[middle] > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void
crowd_row(const Crowds *c, int i, int dim, float *x)
{
	for (int j = 0; j < dim; j++)
		x[j] = (float) (c->middles[(size_t) i * dim + j] + c->deviations[i] * normal());
}

/* ---- the kinds ---- */

/* What a kind needs; filled by prepare. */
static const char *kind;
static Crowds crowds;
static double *extra;
static int	inner;				/* dimensions within, of a kind that has fewer */

static int
is(const char *name)
{
	return strcmp(kind, name) == 0;
}

static void
prepare(long rows, int dim)
{
	if (is("few"))
		crowds = make_crowds(20, dim, 0.02);
	else if (is("tight"))
		crowds = make_crowds(200, dim, 0.001);
	else if (is("many") || is("sorted"))
		crowds = make_crowds((int) (rows / 20), dim, 0.01);
	else if (is("triples"))
		crowds = make_crowds((int) (rows / 3), dim, 0.01);
	else if (is("hundreds"))
		crowds = make_crowds((int) (rows / 100), dim, 0.05);
	else if (is("nested"))
	{
		/* crowds within crowds within crowds, 1 : 20 : 2,000 */
		Crowds		outer = make_crowds(20, dim, 0.01);

		crowds = make_crowds(1000, dim, 0.0005);
		for (int i = 0; i < 1000; i++)
			for (int j = 0; j < dim; j++)
				crowds.middles[(size_t) i * dim + j] =
					outer.middles[(size_t) (i % 20) * dim + j] + 0.01 * normal();
	}
	else if (is("uneven"))
	{
		crowds = make_crowds(300, dim, 1);
		make_uneven(&crowds, 0.001);
	}
	else if (is("lengths") || is("overlap") || is("grown"))
		crowds = make_crowds(200, dim, 0.7);
	else if (is("rare"))
	{
		/* one row in a hundred lies far off */
		crowds = make_crowds(2, dim, 1);
		for (int j = 0; j < dim; j++)
			crowds.middles[dim + j] += 10;
		crowds.deviations[1] = 0.1;
		crowds.shares[0] = 0.99;
	}
	else if (is("zero_one"))
	{
		/* which of 50 features a row has depends on its topic */
		extra = malloc(sizeof(double) * 50 * (size_t) dim);
		for (int i = 0; i < 50 * dim; i++)
			extra[i] = pow(uniform(), 4);
	}
	else if (is("histogram"))
	{
		extra = malloc(sizeof(double) * 100 * (size_t) dim);
		for (int i = 0; i < 100 * dim; i++)
			extra[i] = exp(2 * normal());
	}
	else if (is("surface"))
	{
		/* a bent surface of six dimensions */
		inner = 6;
		extra = normals((size_t) dim * (inner + 1));
	}
	else if (is("topics"))
	{
		/*
		 * like embeddings: topics within fields, variances that fall as 1/j, all on one side of
		 * zero
		 */
		Crowds		fields = make_crowds(30, dim, 1);

		crowds = make_crowds(600, dim, 1);
		make_uneven(&crowds, 0.3);
		extra = malloc(sizeof(double) * (size_t) dim);
		for (int j = 0; j < dim; j++)
			extra[j] = pow(1 + j, -0.5);
		for (int i = 0; i < crowds.n; i++)
			for (int j = 0; j < dim; j++)
				crowds.middles[(size_t) i * dim + j] = 0.5 + fields.middles[(size_t) (i % 30) * dim + j] +
					0.7 * crowds.middles[(size_t) i * dim + j];
	}
	else if (is("windows"))
	{
		/* of a series that wanders and swings: each row begins a step after the one before */
		extra = malloc(sizeof(double) * (size_t) (rows + dim));
		for (long i = 0; i < rows + dim; i++)
			extra[i] = (i > 0 ? 0.999 * (extra[i - 1] - 2 * sin(0.05 * (i - 1))) : 0) +
				0.1 * normal() + 2 * sin(0.05 * i);
	}
	else if (is("copies"))
		crowds = make_crowds((int) (rows / 5), dim, 0.0001);
	else if (is("tiny"))
		crowds = make_crowds(200, dim, 0.7);
	else if (is("scales"))
		crowds = make_crowds(200, dim, 0.7);
	else if (is("levels") || is("sparse"))
	{
		extra = malloc(sizeof(double) * 100 * (size_t) dim);
		for (int i = 0; i < 100 * dim; i++)
			extra[i] = is("levels") ? 4 * uniform() : pow(uniform(), 12);
	}
	else if (!is("cloud") && !is("few_axes") && !is("ball"))
	{
		fprintf(stderr, "no kind \"%s\"\n", kind);
		exit(2);
	}
}

static void
make_row(long i, long rows, int dim, int query, float *x)
{
	if (is("cloud"))
		for (int j = 0; j < dim; j++)
			x[j] = (float) normal();
	else if (is("few_axes"))
		for (int j = 0; j < dim; j++)
			x[j] = (float) (normal() / (1 + j));
	else if (is("surface"))
	{
		double		at[6];

		for (int k = 0; k < inner; k++)
			at[k] = uniform();
		for (int j = 0; j < dim; j++)
		{
			const double *w = extra + (size_t) j * (inner + 1);
			double		sum = 6 * w[inner];

			for (int k = 0; k < inner; k++)
				sum += 2 * w[k] * at[k];
			x[j] = (float) (sin(sum) + 0.01 * normal());
		}
	}
	else if (is("zero_one"))
	{
		const double *p = extra + (size_t) (int) (uniform() * 50) * dim;

		for (int j = 0; j < dim; j++)
			x[j] = uniform() < p[j] ? 1.0f : 0.0f;
	}
	else if (is("histogram"))
	{
		const double *p = extra + (size_t) (int) (uniform() * 100) * dim;
		double		sum = 0;

		for (int j = 0; j < dim; j++)
			sum += x[j] = (float) (uniform() < 0.3 ? p[j] * exp(normal()) : 0);
		for (int j = 0; j < dim && sum > 0; j++)
			x[j] = (float) (x[j] / sum);
	}
	else if (is("topics"))
	{
		int			i = choose(&crowds);

		crowd_row(&crowds, i, dim, x);
		for (int j = 0; j < dim; j++)
			x[j] *= (float) extra[j];
	}
	else if (is("windows"))
	{
		long		at = query ? (long) (uniform() * (rows - 1)) : i;

		for (int j = 0; j < dim; j++)
			x[j] = (float) (extra[at + j] + (query ? 0.05 * normal() : 0));
	}
	else if (is("scales"))
	{
		/* one component in eight is a thousand times as large */
		crowd_row(&crowds, choose(&crowds), dim, x);
		for (int j = 0; j < dim; j += 8)
			x[j] *= 1000;
	}
	else if (is("tiny"))
	{
		crowd_row(&crowds, choose(&crowds), dim, x);
		for (int j = 0; j < dim; j++)
			x[j] *= 1e-15f;
	}
	else if (is("levels"))
	{
		/* whole numbers from 0 to 4, so many distances are equal */
		const double *p = extra + (size_t) (int) (uniform() * 100) * dim;

		for (int j = 0; j < dim; j++)
			x[j] = (float) floor(fmin(fmax(p[j] + normal(), 0), 4.9));
	}
	else if (is("sparse"))
	{
		/* a few words of the topic's, by their weight */
		const double *p = extra + (size_t) (int) (uniform() * 100) * dim;

		for (int j = 0; j < dim; j++)
			x[j] = uniform() < p[j] ? (float) -log(uniform() + 1e-9) : 0.0f;
	}
	else if (is("ball"))
	{
		/* lengths evenly up to 1, any direction */
		double		sum = 0;
		double		length = uniform();

		for (int j = 0; j < dim; j++)
		{
			x[j] = (float) normal();
			sum += x[j] * x[j];
		}
		for (int j = 0; j < dim; j++)
			x[j] = (float) (x[j] * length / sqrt(sum));
	}
	else if (is("rare"))
		crowd_row(&crowds, query ? (int) (i % 2) : choose(&crowds), dim, x);
	else if (is("sorted") && !query)
		crowd_row(&crowds, (int) (i * crowds.n / rows), dim, x);
	else
		crowd_row(&crowds, choose(&crowds), dim, x);
	if (is("lengths"))
	{
		float		length = (float) exp(normal());

		for (int j = 0; j < dim; j++)
			x[j] *= length;
	}
}

int
main(int argc, char **argv)
{
	long		rows;
	int			dim;
	int			query;
	float	   *x;
	FILE	   *f;

	if (argc != 6)
	{
		fprintf(stderr, "usage: kinds KIND SEED ROWS DIMS FILE\n");
		return 2;
	}
	kind = argv[1];
	query = atoi(argv[2]) != 1;
	rows = atol(argv[3]);
	dim = atoi(argv[4]);
	x = malloc(sizeof(float) * (size_t) dim);
	f = fopen(argv[5], "wb");
	if (x == NULL || f == NULL)
	{
		perror(argv[5]);
		return 1;
	}
	state = 1;
	prepare(rows, dim);
	state = (uint64_t) atoi(argv[2]) << 40;
	for (long i = 0; i < (query ? QUERIES : rows); i++)
	{
		make_row(i, rows, dim, query, x);
		fwrite(&dim, 4, 1, f);
		fwrite(x, sizeof(float), (size_t) dim, f);
	}
	if (fclose(f) != 0)
	{
		perror(argv[5]);
		return 1;
	}
	return 0;
}
