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

/*
 * What codes must be able to do: of the nearest 10 rows, so many are among the 40 nearest by the codes, which is
 * the pool of a search with the default ef_search. In a sample of a tenth of the table that is 1 row among 4. But
 * fewer than 2 say little. The README has the figures of real sets.
 */
#define POOL (HNSW_DEFAULT_EF_SEARCH / HNSW_TRIAL_K)
#define LEAST_K 2
#define MOST_FACTOR 4
#define TRIAL_QUERIES 256
#define ENOUGH_RECALL 0.93

/* Codes of 1 bit, of all components or of some, are not to be taken when it is close: 2 bits cost little. */
#define ENOUGH_RECALL_1 0.95

/*
 * Rows are scattered, like random ones of many dimensions, when for so many of them even the nearest are that far
 * beside the distance of any two. Then it is the graph that finds little, and more bits gain less than a larger
 * ef_search: they are at most 2. The README has figures.
 */
#define SCATTERED_SHARE 0.9
#define SCATTERED 0.75

/*
 * Codes of 8 bits, of few dimensions, find nearly all, and so do codes about enough centres. Where codes about the
 * mean find a little less than most do, centres are tried, too: they may be better than more bits.
 */
#define LONG_CODE_DIMS 32
#define ENOUGH_RECALL_LONG 0.98
#define ENOUGH_RECALL_MEAN 0.965
#define ENOUGH_RECALL_CENTRES 0.98

/*
 * Centres are tried until they find enough, or show no promise (64 of them); and taken when they are worth it: by
 * how much of what codes about the mean miss they still do.
 */
#define PROMISING 0.9
#define WORTH_CENTRES 0.5
#define FEWEST_CENTRES 16
#define ROWS_PER_CENTRE 8
#define TABLE_ROWS_PER_CENTRE 100	/* of large vectors, that their pages are not one in a hundred */
#define CENTRE_BYTES (4 * 1024 * 1024)
#define MANY_CENTRES_DIMS 3

/* Rows of a sample that ask for their nearest neighbors in it. */
typedef struct Trial
{
	const HnswVectors *sample;
	int			k;				/* that many */
	int			nqueries;
	int		   *queries;
	int		   *nearest;		/* POOL * k for each query; -1 ends fewer */
	bool		scattered;		/* see SCATTERED */
	int			factor;			/* how many times POOL a search looks at */
} Trial;

/* See build.h. */
float
hnsw_kth_smallest(int n, int k, const float *x)
{
	float		smallest[MOST_FACTOR * POOL * HNSW_TRIAL_K];
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

/* Between 0 and 1, the same for every build. */
static double
next_random(uint64 *state)
{
	*state = *state * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (double) (*state >> 11) / (double) (UINT64CONST(1) << 53);
}

/* The vectors whose signed roots the sample has. */
static float *
squares(const HnswVectors *sample)
{
	Size		size = sample->n * (Size) sample->dim;
	float	   *x = palloc_extended(sizeof(float) * size, MCXT_ALLOC_HUGE);

	for (Size i = 0; i < size; i++)
		x[i] = sample->x[i] * fabsf(sample->x[i]);
	return x;
}

/* Choose queries and find their nearest rows. */
static void
begin_trial(Trial *trial, const HnswVectors *sample)
{
	bool		roots = sample->metric == VDIST_METRIC_ROOTS;
	VdistQuantMetric metric = roots ? VDIST_QUANT_L1 : vdist_metric_quant(sample->metric);
	const float *vectors = roots ? squares(sample) : sample->x;
	int			dim = sample->dim;
	int			n = sample->n;
	float	   *exact = palloc(sizeof(float) * n);
	uint64		random = 1;
	int			nfar = 0;

	trial->sample = sample;
	trial->factor = 1;
	trial->k = Max(LEAST_K, Min(HNSW_TRIAL_K, rint(HNSW_TRIAL_K * n / Max(sample->rows, n))));
	trial->nqueries = Min(n, TRIAL_QUERIES);
	trial->queries = palloc(sizeof(int) * trial->nqueries);
	trial->nearest = palloc(sizeof(int) * trial->nqueries * POOL * trial->k);
	for (int i = 0; i < trial->nqueries; i++)
	{
		/* not at equal distances: rows may come in turn from different crowds */
		int			row = (i + next_random(&random)) * n / trial->nqueries;
		const float *x = vectors + row * (Size) dim;
		int		   *nearest = trial->nearest + i * POOL * trial->k;
		int			found = 0;
		float		bound;
		double		sum = 0;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
		{
			const float *y = vectors + j * (Size) dim;

			exact[j] = metric == VDIST_QUANT_L1 ? vdist_kernel->l1(dim, x, y) :
				metric == VDIST_QUANT_IP ? -vdist_kernel->inner_product(dim, x, y) :
				vdist_kernel->l2_squared(dim, x, y);
			sum += exact[j];
		}

		/* a row is no neighbor of itself */
		exact[row] = INFINITY;
		bound = hnsw_kth_smallest(n, trial->k, exact);
		nfar += bound > SCATTERED * SCATTERED * sum / n;
		for (int j = 0; j < n && found < POOL * trial->k; j++)
			if (exact[j] <= bound)
				nearest[found++] = j;
		if (found < POOL * trial->k)
			nearest[found] = -1;
		trial->queries[i] = row;
	}
	trial->scattered = metric == VDIST_QUANT_L2 && nfar >= SCATTERED_SHARE * trial->nqueries;
	elog(DEBUG1, "%d of %d rows are far from all others", nfar, trial->nqueries);
	if (roots)
		pfree((void *) vectors);
	pfree(exact);
}

/*
 * The share of the nearest rows that are among POOL times as many nearest by estimate. Of rows with equal
 * estimates, which codes cannot tell apart, it is chance which are.
 */
static double
share_found(const Trial *trial, int query, const float *estimate)
{
	int			n = trial->sample->n;
	int			nnearest = POOL * trial->k;
	int			pool = Min(nnearest * trial->factor, n);
	const int  *nearest = trial->nearest + query * nnearest;
	float		bound = hnsw_kth_smallest(n, pool, estimate);
	int			found = 0;
	int			among = 0;

	for (int i = 0; i < nnearest && nearest[i] >= 0; i++)
		found += estimate[nearest[i]] <= bound;
	for (int i = 0; i < n; i++)
		among += estimate[i] <= bound;
	return (double) Min(found, trial->k) / trial->k * pool / Max(among, pool);
}

/* The share of the nearest rows that neighbors' codes find. */
static double
try_codes(const Trial *trial, const HnswCodes *codes)
{
	const HnswVectors *sample = trial->sample;
	int			dim = sample->dim;
	int			n = sample->n;
	HnswCodes	only = *codes;
	HnswQueries *queries = hnsw_queries_new(dim, Max(codes->ncentres, 1));
	Size		size = codes->code.code_size + (codes->ncentres > 0 ? sizeof(uint16) : 0);
	char	   *encoded = palloc_extended(size * n, MCXT_ALLOC_HUGE);
	float	   *estimate = palloc(sizeof(float) * n);
	float	   *scratch = palloc(sizeof(float) * HNSW_SCRATCH(dim));
	VdistQuantQuery *query = palloc(vdist_quant_query_size(dim));
	double		found = 0;

	only.own = only.code;
	for (int i = 0; i < n; i++)
		hnsw_encode(&only, sample->x + i * (Size) dim, encoded + i * size, scratch);
	for (int i = 0; i < trial->nqueries; i++)
	{
		const float *x = sample->x + trial->queries[i] * (Size) dim;

		CHECK_FOR_INTERRUPTS();
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
		estimate[trial->queries[i]] = INFINITY;
		found += share_found(trial, i, estimate);
	}
	pfree(encoded);
	pfree(estimate);
	return found / trial->nqueries;
}

/* The same for codes of so many bits about the mean, or about centres. */
static double
try_bits(const Trial *trial, const HnswSample *result, int bits, int ncentres)
{
	const HnswVectors *sample = trial->sample;
	HnswMeta	meta = {.metric = sample->metric,.dim = sample->dim,.code_bits = bits};
	HnswCodes	codes;
	double		found;

	meta.own_bits = bits;
	meta.range = result->range;
	meta.ncentres = ncentres;
	hnsw_codes_init(&codes, &meta, result->mean, result->centres);
	found = try_codes(trial, &codes);
	elog(DEBUG1, "codes of %d bits about %d centres find %.3f of the nearest %d among %d times as many",
		 bits, Max(ncentres, 1), found, trial->k, POOL * trial->factor);
	return found;
}

/*
 * The same about the mean. The range of L1's codes is chosen, too: a wider one has larger steps, but of components
 * that are rarely large, as those of histograms, the large ones are what matters. The graph has 7 bits for the
 * same range, and there it shows (recall .89 instead of .93).
 */
static double
try_ranges(const Trial *trial, HnswSample *result, int bits)
{
	double		found = try_bits(trial, result, bits, 0);

	while (trial->sample->metric == VDIST_METRIC_L1)
	{
		HnswSample	wider = *result;
		double		other;

		wider.range *= 2;
		other = try_bits(trial, &wider, bits, 0);
		if (other <= found)
			break;
		found = other;
		result->range = wider.range;
		result->wide = true;
	}
	return found;
}

/* Do codes of 1 bit of the first components suffice? */
static bool
short_enough(const Trial *trial, const HnswSample *result)
{
	const HnswVectors *sample = trial->sample;
	HnswCodes	codes = {0};
	double		found;

	vdist_quant_init(&codes.own, vdist_metric_quant(sample->metric), sample->dim, 1, result->mean,
					 result->range);
	vdist_quant_shorten(&codes.own, result->coded);
	codes.code = codes.own;
	found = try_codes(trial, &codes);
	elog(DEBUG1, "codes of 1 bit of %d components find %.3f of the nearest %d", result->coded,
		 found, trial->k);
	return found >= ENOUGH_RECALL_1;
}

/*
 * The fewest bits with which codes find enough, or the most that make sense; *found is what those find. L1's are
 * not rotated, so they need more of them.
 */
static int
fewest_bits(const Trial *trial, HnswSample *result, int ncentres, double *found)
{
	bool		l1 = trial->sample->metric == VDIST_METRIC_L1;
	int			most = result->most_bits;
	HnswSample	begin = *result;

	if (trial->scattered && ncentres == 0)
		most = Min(most, 2);

	for (int bits = Min(l1 ? 2 : 1, most);; bits *= 2)
	{
		*result = begin;
		*found = ncentres > 0 ? try_bits(trial, result, bits, ncentres) :
			try_ranges(trial, result, bits);
		if (bits >= most ||
			*found >= (ncentres > 0 ? ENOUGH_RECALL_MEAN :
					   bits == 1 ? ENOUGH_RECALL_1 : ENOUGH_RECALL))
			return bits;
	}
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
 * about_mean is what codes of so many bits about the mean find.
 */
static void
choose_centres(const Trial *trial, HnswSample *result, double about_mean, bool bits_given)
{
	const HnswVectors *sample = trial->sample;
	int			dim = sample->dim;
	int			bits = result->bits;
	int			most = Min(Min(HNSW_MAX_CENTRES, CENTRE_BYTES / (int) sizeof(float) / dim),
						   sample->n / ROWS_PER_CENTRE);
	bool		many = dim <= MANY_CENTRES_DIMS;
	double		best = many ? 0 : about_mean;
	int			best_k = 0;
	Seeds		seeds = {0};
	Size		size = sizeof(float) * HNSW_CENTRE_FLOATS(dim);
	float	   *centres;

	if (hnsw_is_large(dim))
		most = Min(most, sample->rows / TABLE_ROWS_PER_CENTRE);
	about_mean = best;
	if (about_mean >= (dim <= LONG_CODE_DIMS ? ENOUGH_RECALL_LONG : ENOUGH_RECALL_MEAN) ||
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
		found = try_bits(trial, result, bits, k);
		if (found > best)
		{
			best = found;
			best_k = k;
			memcpy(centres, result->centres, size * k);
		}
		if (k > FEWEST_CENTRES && 1 - best > (1 - about_mean) *
			(about_mean >= ENOUGH_RECALL ? WORTH_CENTRES : PROMISING))
			break;
	}
	if (1 - best > (1 - about_mean) * WORTH_CENTRES)
		return;
	result->ncentres = best_k;
	memcpy(result->centres, centres, size * best_k);
	result->wide = true;
	if (!bits_given && dim > LONG_CODE_DIMS)
		result->bits = fewest_bits(trial, result, best_k, &best);
}

/*
 * Where codes find little, because more bits would make the index too large, searches must look at more rows: at as
 * many as hold what is nearest. Where MOST_FACTOR times as many do not either, it is not the codes alone.
 */
static int
choose_factor(Trial *trial, HnswSample *result)
{
	result->found = try_bits(trial, result, result->bits, result->ncentres);
	if (result->found >= ENOUGH_RECALL)
		return 1;
	for (trial->factor = 2; trial->factor <= MOST_FACTOR; trial->factor *= 2)
		if (try_bits(trial, result, result->bits, result->ncentres) >= ENOUGH_RECALL)
			return trial->factor;
	return 2;
}

/* See build.h. */
void
hnsw_try_codes(const HnswVectors *sample, bool projected, HnswSample *result)
{
	VdistMetric metric = sample->metric;
	int			dim = sample->dim;
	bool		bits_given = result->bits != 0;
	int			coded = result->coded;
	Trial		trial;
	double		found;

	result->wide = dim <= LONG_CODE_DIMS;
	result->coded = 0;
	if (metric == VDIST_METRIC_HAMMING || projected)
	{
		/* the values themselves; or what more bits keep is less than what the projection lost */
		if (!bits_given)
			result->bits = projected && dim <= LONG_CODE_DIMS ? 8 : 1;
		return;
	}
	if (sample->n < 10 * HNSW_TRIAL_K)
	{
		if (!bits_given)
			result->bits = dim <= LONG_CODE_DIMS ? 8 : dim < 768 || metric == VDIST_METRIC_L1 ? 2 : 1;
		return;
	}

	begin_trial(&trial, sample);

	/*
	 * A sample says little of few dimensions: a table has many more rows, and they are nearer to
	 * each other than the steps of short codes. Long codes are no larger there than short ones
	 * elsewhere.
	 */
	if (!bits_given && dim <= LONG_CODE_DIMS)
		result->bits = 8;
	if (result->bits != 0)
		found = try_ranges(&trial, result, result->bits);
	else
		result->bits = fewest_bits(&trial, result, 0, &found);
	if (bits_given || !trial.scattered || dim <= LONG_CODE_DIMS)
		choose_centres(&trial, result, found, bits_given);
	if (!bits_given && result->bits == 1 && result->ncentres == 0 && coded > 0)
	{
		result->coded = coded;
		if (!short_enough(&trial, result))
			result->coded = 0;
	}
	if (dim > LONG_CODE_DIMS && result->coded == 0)
		result->ef_factor = choose_factor(&trial, result);
}
