/*
 * centres.c: several centres for codes of a sample: seeds as k-means++ chooses them, and the middle
 * of what is nearest to each. Calls kernel/ and quant/; called by trial.c.
 */
#include "compat.h"

#include <math.h>

#include "miscadmin.h"

#include "hnsw/build.h"
#include "kernel/kernel.h"

/* Threads are worth it from so many floats on. */
#define SHARED_FLOATS 1000000

/* See build.h. */
double
hnsw_random(uint64 *state)
{
	*state = *state * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (double) (*state >> 11) / (double) (UINT64CONST(1) << 53);
}

/* ---- seeds ---- */

void
hnsw_seeds_begin(const HnswVectors *sample, HnswSeeds *seeds, int most)
{
	seeds->k = 0;
	seeds->random = 1;
	seeds->rows = palloc(sizeof(int) * most);
	seeds->between = palloc(sizeof(float) * most);
	seeds->nearest = palloc0(sizeof(uint16) * sample->n);
	seeds->distance = palloc(sizeof(float) * sample->n);
	for (int i = 0; i < sample->n; i++)
		seeds->distance[i] = 1.0f;
}

/* The distance of two rows; of L2 its square. */
static float
row_distance(const HnswVectors *sample, int a, int b)
{
	int			dim = sample->dim;
	const float *x = sample->x + a * (Size) dim;
	const float *y = sample->x + b * (Size) dim;

	return sample->metric == VDIST_METRIC_L1 ? vdist_kernel->l1(dim, x, y) :
		vdist_kernel->l2_squared(dim, x, y);
}

/* Seeds, and the sample whose rows are compared with the last of them. */
typedef struct Growth
{
	const HnswVectors *sample;
	HnswSeeds  *seeds;
} Growth;

/*
 * In a thread: which rows does the new seed have? None that is at most half as far from its present
 * seed as the two seeds are from each other: in crowds that is nearly every row of the others.
 */
static bool
compare_with_new(void *arg, int thread, uint64_t from, uint64_t to)
{
	const Growth *growth = arg;
	HnswSeeds  *seeds = growth->seeds;
	float		far = growth->sample->metric == VDIST_METRIC_L1 ? 2.0f : 4.0f;
	int			k = seeds->k;

	for (uint64_t i = from; i < to; i++)
	{
		float		d;

		if (k > 0 && far * seeds->distance[i] <= seeds->between[seeds->nearest[i]])
			continue;
		d = row_distance(growth->sample, seeds->rows[k], i);
		if (d < seeds->distance[i] || k == 0)
		{
			seeds->distance[i] = Min(d, 1e30f);
			seeds->nearest[i] = k;
		}
	}
	return true;
}

/*
 * Add seeds until there are k: a row with a probability in proportion to its squared distance from
 * those there are (k-means++), so that a small crowd far from all others gets one, too.
 */
void
hnsw_seeds_grow(const HnswVectors *sample, HnswSeeds *seeds, int k)
{
	bool		l1 = sample->metric == VDIST_METRIC_L1;
	bool		shared = sample->n * (double) sample->dim > SHARED_FLOATS;
	Growth		growth = {sample, seeds};

	for (; seeds->k < k; seeds->k++)
	{
		double		total = 0;
		double		at;
		int			chosen = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < sample->n; i++)
			total += l1 ? (double) seeds->distance[i] * seeds->distance[i] : seeds->distance[i];
		at = hnsw_random(&seeds->random) * total;
		for (; chosen < sample->n - 1; chosen++)
		{
			double		d = seeds->distance[chosen];

			at -= l1 ? d * d : d;
			if (at < 0)
				break;
		}
		seeds->rows[seeds->k] = chosen;
		for (int c = 0; c < seeds->k; c++)
			seeds->between[c] = row_distance(sample, chosen, seeds->rows[c]);
		vdist_team_run(shared ? sample->threads : 1, sample->n, 256, compare_with_new, &growth);
	}
}

/* ---- centres ---- */

/* A row and the seed it belongs to. */
typedef struct Member
{
	int			row;
	int			seed;
	float		distance;
} Member;

static int
compare_members(const void *a, const void *b)
{
	const Member *x = a;
	const Member *y = b;

	if (x->seed != y->seed)
		return x->seed < y->seed ? -1 : 1;
	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* What L1's codes about a centre have for a range: 4 deviations of n rows, the nearest ones. */
static float
range_about(const HnswVectors *sample, const Member *members, int n, const float *centre)
{
	int			dim = sample->dim;
	double		deviation = 0;

	for (int i = 0; i < n; i++)
		for (int j = 0; j < dim; j++)
		{
			double		d = sample->x[members[i].row * (Size) dim + j] - centre[j];

			deviation += d * d;
		}
	deviation = sqrt(deviation / n / dim);
	return deviation > 0 ? 4 * deviation : 1.0f;
}

/* The mean of m rows; n are those of a centre that L1's range is chosen by. */
static void
make_centre(const HnswVectors *sample, const Member *members, int m, int n, double *sum, float *centre)
{
	int			dim = sample->dim;

	memset(sum, 0, sizeof(double) * dim);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < dim; j++)
			sum[j] += sample->x[members[i].row * (Size) dim + j];
	for (int j = 0; j < dim; j++)
		centre[j] = sum[j] / m;
	if (sample->metric == VDIST_METRIC_L1)
		centre[dim] = range_about(sample, members, n, centre);
	else
	{
		centre[dim] = 1.0f;
		vdist_quant_rotate(dim, centre);
	}
}

/*
 * A centre is the mean of the rows nearest to a seed: of a quarter of those that belong to it,
 * because the mean of several crowds would be near none of them.
 */
void
hnsw_seeds_centres(const HnswVectors *sample, const HnswSeeds *seeds, float *centres)
{
	Member	   *members = palloc(sizeof(Member) * sample->n);
	double	   *sum = palloc(sizeof(double) * sample->dim);
	int			first = 0;

	for (int i = 0; i < sample->n; i++)
	{
		members[i].row = i;
		members[i].seed = seeds->nearest[i];
		members[i].distance = seeds->distance[i];
	}
	qsort(members, sample->n, sizeof(Member), compare_members);
	memset(centres, 0, sizeof(float) * HNSW_CENTRE_FLOATS(sample->dim) * (Size) seeds->k);
	while (first < sample->n)
	{
		int			seed = members[first].seed;
		int			n = 1;

		while (first + n < sample->n && members[first + n].seed == seed)
			n++;
		make_centre(sample, members + first, (n + 3) / 4, (n + 1) / 2, sum,
					centres + seed * (Size) HNSW_CENTRE_FLOATS(sample->dim));
		first += n;
	}
	pfree(members);
	pfree(sum);
}
