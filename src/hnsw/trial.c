/*
 * trial.c: which codes suit a table: they are tried on a sample of its rows, with more and more bits, about
 * the mean and about several centres. Calls code.c; called by sample.c.
 */
#include "compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/build.h"
#include "kernel/kernel.h"

/* Codes are tried on that many rows with that many queries, which are rows, too. */
#define TRIAL_ROWS 2000
#define TRIAL_QUERIES 100

/*
 * Whether they tell rows of a crowd apart is tried on the whole sample, with fewer nearest rows: of a crowd
 * of a hundred rows in a large table the sample may have two.
 */
#define FINE_QUERIES 100
#define FINE_K 2

/*
 * Codes of 1 or 2 bits are enough when so many of the HNSW_TRIAL_K nearest rows are among the 2 HNSW_TRIAL_K
 * nearest by the codes. 2 bits need less, because 4 make the rows half as large again, which leaves
 * fewer slots than a page of 2-bit rows has. The README has the figures of real sets.
 */
#define LONG_CODE_DIMS 32
#define ENOUGH_RECALL_1 0.93
#define ENOUGH_RECALL_2 0.89

/*
 * Centres are tried where codes about the mean find less than that of the nearest rows, until they find
 * enough, or show no promise (64 of them); and taken when they are worth it. Real sets without crowds
 * find .855 and more about the mean; codes of 8 bits, of few dimensions, nearly all.
 */
#define ENOUGH_RECALL_MEAN 0.80
#define ENOUGH_RECALL_CENTRES 0.95
#define ENOUGH_FINE_1 0.95
#define ENOUGH_FINE_2 0.85
#define PROMISING 0.03
#define WORTH_CENTRES 0.10
#define FEWEST_CENTRES 16
#define ROWS_PER_CENTRE 8
#define CENTRE_BYTES (4 * 1024 * 1024)
#define MANY_CENTRES_DIMS 3

/* See build.h. */
float
hnsw_kth_smallest(int n, int k, const float *x)
{
	float		smallest[2 * HNSW_TRIAL_K];
	int			found = 0;

	for (int i = 0; i < n; i++)
	{
		int			at;

		if (found == k && x[i] >= smallest[k - 1])
			continue;
		for (at = found < k ? found++ : k - 1; at > 0 && smallest[at - 1] > x[i]; at--)
			smallest[at] = smallest[at - 1];
		smallest[at] = x[i];
	}
	return smallest[k - 1];
}

/*
 * How many of the k nearest by `exact` are among the 2 k nearest by `estimate`. Of rows with equal
 * estimates, which codes cannot tell apart, it is chance which are.
 */
static double
count_found(int n, int k, const float *exact, const float *estimate)
{
	float		exact_bound = hnsw_kth_smallest(n, k, exact);
	float		estimate_bound = hnsw_kth_smallest(n, 2 * k, estimate);
	int			found = 0;
	int			among = 0;

	for (int i = 0; i < n; i++)
	{
		found += exact[i] <= exact_bound && estimate[i] <= estimate_bound;
		among += estimate[i] <= estimate_bound;
	}
	return Min(found, k) * (2.0 * k / Max(among, 2 * k));
}

/* Between 0 and 1, the same for every build. */
static double
next_random(uint64 *state)
{
	*state = *state * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (double) (*state >> 11) / (double) (UINT64CONST(1) << 53);
}

/* The share of the k nearest rows that neighbors' codes find among at most so many rows of the sample. */
static double
try_codes(const HnswVectors *sample, const HnswCodes *codes, int most, int k, int most_queries)
{
	VdistQuantMetric metric = vdist_metric_quant(sample->metric);
	int			dim = sample->dim;
	int			n = Min(sample->n, most);
	HnswCodes	only = *codes;
	HnswQueries *queries = hnsw_queries_new(dim, Max(codes->ncentres, 1));
	Size		size = codes->code.code_size + (codes->ncentres > 0 ? sizeof(uint16) : 0);
	char	   *encoded = palloc_extended(size * n, MCXT_ALLOC_HUGE);
	float	   *exact = palloc(sizeof(float) * n);
	float	   *estimate = palloc(sizeof(float) * n);
	float	   *scratch = palloc(sizeof(float) * HNSW_SCRATCH(dim));
	VdistQuantQuery *query = palloc(vdist_quant_query_size(dim));
	int			stride = sample->n / n;
	double		found = 0;
	int			nqueries = Min(n, most_queries);
	uint64		random = 1;

	only.own = only.code;
	for (int i = 0; i < n; i++)
		hnsw_encode(&only, sample->x + i * stride * (Size) dim, encoded + i * size, scratch);
	for (int i = 0; i < nqueries; i++)
	{
		/* not at equal distances: rows may come in turn from different crowds */
		int			row = (i + next_random(&random)) * n / nqueries;
		const float *x = sample->x + row * stride * (Size) dim;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
		{
			const float *y = sample->x + j * stride * (Size) dim;

			exact[j] = metric == VDIST_QUANT_L1 ? vdist_kernel->l1(dim, x, y) :
				metric == VDIST_QUANT_IP ? -vdist_kernel->inner_product(dim, x, y) :
				vdist_kernel->l2_squared(dim, x, y);
		}
		if (codes->ncentres > 0)
		{
			hnsw_queries_set(queries, codes, x);
			for (int j = 0; j < n; j += HNSW_MAX_SLOTS)
				hnsw_queries_estimate(queries, codes, encoded + j * size, NULL,
									  Min(n - j, HNSW_MAX_SLOTS), estimate + j);
		}
		else
		{
			vdist_quant_query(&codes->code, x, query, scratch);
			vdist_quant_estimate(query, encoded, size, n, estimate);
		}

		/* a row is no neighbor of itself */
		exact[row] = estimate[row] = INFINITY;
		found += count_found(n, k, exact, estimate);
	}
	pfree(encoded);
	return found / (nqueries * k);
}

/* Either of the whole sample, of the nearest few, or of some of its rows. */
static double
try_either(const HnswVectors *sample, const HnswCodes *codes, bool fine)
{
	return fine ? try_codes(sample, codes, sample->n, FINE_K, FINE_QUERIES) :
		try_codes(sample, codes, TRIAL_ROWS, HNSW_TRIAL_K, TRIAL_QUERIES);
}

/*
 * The same for codes of so many bits about the mean, or about centres: of the nearest of all in the sample, if
 * fine.
 */
static double
try_bits(const HnswVectors *sample, const HnswSample *result, int bits, int ncentres, bool fine)
{
	HnswMeta	meta = {.metric = sample->metric,.dim = sample->dim,.code_bits = bits};
	HnswCodes	codes;

	meta.own_bits = bits;
	meta.range = result->range;
	meta.ncentres = ncentres;
	hnsw_codes_init(&codes, &meta, result->mean, result->centres);
	return try_either(sample, &codes, fine);
}

/* Do codes of 1 bit of the first components suffice? */
static bool
short_enough(const HnswVectors *sample, const HnswSample *result)
{
	HnswCodes	codes = {0};
	double		found;
	double		fine;

	vdist_quant_init(&codes.own, vdist_metric_quant(sample->metric), sample->dim, 1, result->mean,
					 result->range);
	vdist_quant_shorten(&codes.own, result->coded);
	codes.code = codes.own;
	found = try_either(sample, &codes, false);
	fine = try_either(sample, &codes, true);
	elog(DEBUG1, "codes of 1 bit of %d components find %.3f of the nearest rows, %.3f of the nearest",
		 result->coded, found, fine);
	return found >= ENOUGH_RECALL_1 && fine >= ENOUGH_RECALL_MEAN;
}

/* The fewest bits with which codes find enough. */
static int
fewest_bits(const HnswVectors *sample, const HnswSample *result, int ncentres)
{
	for (int bits = sample->metric == VDIST_METRIC_L1 ? 2 : 1; bits < 4; bits *= 2)
	{
		double		found = try_bits(sample, result, bits, ncentres, ncentres > 0);

		elog(DEBUG1, "codes of %d bits find %.3f of the nearest rows", bits, found);
		if (found >= (ncentres > 0 ? (bits == 1 ? ENOUGH_FINE_1 : ENOUGH_FINE_2) :
					  bits == 1 ? ENOUGH_RECALL_1 : ENOUGH_RECALL_2))
			return bits;
	}
	return 4;
}

/* ---- centres ---- */

/* Centres as they are found: each a row of the sample, as far as possible from those before. */
typedef struct Seeds
{
	int			k;
	float	   *distance;		/* of each row to the nearest one */
	uint16	   *nearest;		/* which that is */
	uint64		random;
} Seeds;

/*
 * Add seeds until there are k: a row with a probability in proportion to its squared distance from those
 * there are (k-means++), so that a small crowd far from all others gets one, too.
 */
static void
grow_seeds(const HnswVectors *sample, Seeds *seeds, int k)
{
	int			dim = sample->dim;
	bool		l1 = sample->metric == VDIST_METRIC_L1;

	for (; seeds->k < k; seeds->k++)
	{
		double		total = 0;
		double		at;
		int			chosen = 0;
		const float *x;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < sample->n; i++)
			total += l1 ? (double) seeds->distance[i] * seeds->distance[i] : seeds->distance[i];
		at = next_random(&seeds->random) * total;
		for (; chosen < sample->n - 1; chosen++)
		{
			double		d = seeds->distance[chosen];

			at -= l1 ? d * d : d;
			if (at < 0)
				break;
		}
		x = sample->x + chosen * (Size) dim;
		for (int i = 0; i < sample->n; i++)
		{
			const float *y = sample->x + i * (Size) dim;
			float		d = l1 ? vdist_kernel->l1(dim, x, y) : vdist_kernel->l2_squared(dim, x, y);

			if (d < seeds->distance[i] || seeds->k == 0)
			{
				seeds->distance[i] = Min(d, 1e30f);
				seeds->nearest[i] = seeds->k;
			}
		}
	}
}

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

/* The mean of m rows, and for L1 the range that the nearest of all n have about it. */
static void
make_centre(const HnswVectors *sample, const Member *members, int m, int n, double *sum, float *centre)
{
	int			dim = sample->dim;
	double		deviation = 0;

	memset(sum, 0, sizeof(double) * dim);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < dim; j++)
			sum[j] += sample->x[members[i].row * (Size) dim + j];
	for (int j = 0; j < dim; j++)
		centre[j] = sum[j] / m;
	for (int i = 0; i < n; i++)
		for (int j = 0; j < dim; j++)
		{
			double		d = sample->x[members[i].row * (Size) dim + j] - centre[j];

			deviation += d * d;
		}
	deviation = sqrt(deviation / n / dim);
	centre[dim] = deviation > 0 ? 4 * deviation : 1.0f;
	if (sample->metric != VDIST_METRIC_L1)
		vdist_quant_rotate(dim, centre);
}

/*
 * A centre is the mean of the rows nearest to a seed: of a quarter of those that belong to it, because the
 * mean of several crowds would be near none of them.
 */
static void
make_centres(const HnswVectors *sample, const Seeds *seeds, HnswSample *result)
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
	memset(result->centres, 0, sizeof(float) * HNSW_CENTRE_FLOATS(sample->dim) * (Size) seeds->k);
	while (first < sample->n)
	{
		int			seed = members[first].seed;
		int			n = 1;

		while (first + n < sample->n && members[first + n].seed == seed)
			n++;
		make_centre(sample, members + first, (n + 3) / 4, (n + 1) / 2, sum, result->centres +
					seed * (Size) HNSW_CENTRE_FLOATS(sample->dim));
		first += n;
	}
	pfree(members);
	pfree(sum);
}

/*
 * Where codes about the mean do not tell rows apart, because those lie in crowds that are small beside
 * the distances between them, try several centres: the fewest that are enough. In two or three
 * dimensions a large table has more rows than codes about one centre can tell apart, and no sample says so.
 */
static void
choose_centres(const HnswVectors *sample, HnswSample *result, bool bits_given)
{
	int			dim = sample->dim;
	int			bits = result->bits;
	int			most = Min(Min(HNSW_MAX_CENTRES, CENTRE_BYTES / (int) sizeof(float) / dim),
						   sample->n / ROWS_PER_CENTRE);
	bool		many = dim <= MANY_CENTRES_DIMS;
	double		about_mean = many ? 0 : try_bits(sample, result, bits, 0, true);
	double		best = about_mean;
	int			best_k = 0;
	Seeds		seeds = {0};
	Size		size = sizeof(float) * HNSW_CENTRE_FLOATS(dim);
	float	   *centres;

	elog(DEBUG1, "codes of %d bits about the mean find %.3f of the nearest", bits, about_mean);
	if (about_mean >= (dim <= LONG_CODE_DIMS ? ENOUGH_RECALL_CENTRES : ENOUGH_RECALL_MEAN) ||
		most < FEWEST_CENTRES)
		return;
	seeds.distance = palloc(sizeof(float) * sample->n);
	seeds.nearest = palloc0(sizeof(uint16) * sample->n);
	seeds.random = 1;
	for (int i = 0; i < sample->n; i++)
		seeds.distance[i] = 1.0f;
	centres = palloc_extended(size * most, MCXT_ALLOC_HUGE);
	result->centres = MemoryContextAllocExtended(GetMemoryChunkContext(result->mean), size * most,
												 MCXT_ALLOC_HUGE);
	for (int k = many ? most : FEWEST_CENTRES; k <= most && best < ENOUGH_RECALL_CENTRES;
		 k = k < most ? Min(4 * k, most) : k + 1)
	{
		double		found;

		grow_seeds(sample, &seeds, k);
		make_centres(sample, &seeds, result);
		found = try_bits(sample, result, bits, k, true);
		elog(DEBUG1, "codes of %d bits about %d centres find %.3f of the nearest", bits, k, found);
		if (found > best)
		{
			best = found;
			best_k = k;
			memcpy(centres, result->centres, size * k);
		}
		if (k > FEWEST_CENTRES && best < about_mean + PROMISING)
			break;
	}
	if (best < about_mean + (dim <= LONG_CODE_DIMS ? WORTH_CENTRES / 2 : WORTH_CENTRES))
		return;
	result->ncentres = best_k;
	memcpy(result->centres, centres, size * best_k);
	result->wide = true;
	if (!bits_given && dim > LONG_CODE_DIMS)
		result->bits = fewest_bits(sample, result, best_k);
}

/* See build.h. */
void
hnsw_try_codes(const HnswVectors *sample, bool projected, HnswSample *result)
{
	VdistMetric metric = sample->metric;
	int			dim = sample->dim;
	bool		bits_given = result->bits != 0;

	result->wide = dim <= LONG_CODE_DIMS;
	if (metric == VDIST_METRIC_HAMMING)
	{
		/* the values themselves: nothing is lost */
		if (!bits_given)
			result->bits = 1;
		return;
	}

	/*
	 * A sample says little of few dimensions: a table has many more rows, and they are nearer to
	 * each other than the steps of short codes. Long codes are no larger there than short ones
	 * elsewhere.
	 */
	if (result->bits == 0 && dim <= LONG_CODE_DIMS)
		result->bits = 8;
	/* of a projection, what more bits keep is less than what the projection lost */
	if (result->bits == 0 && projected)
		result->bits = 1;
	if (result->bits == 0 && sample->n < 10 * HNSW_TRIAL_K)
		result->bits = dim < 768 || metric == VDIST_METRIC_L1 ? 2 : 1;
	if (result->bits == 0)
		result->bits = fewest_bits(sample, result, 0);
	if (sample->n >= 10 * HNSW_TRIAL_K && !projected)
		choose_centres(sample, result, bits_given);
	if (bits_given || result->bits != 1 || result->ncentres > 0 ||
		sample->n < 10 * HNSW_TRIAL_K || projected || result->coded == 0 ||
		!short_enough(sample, result))
		result->coded = 0;
}
