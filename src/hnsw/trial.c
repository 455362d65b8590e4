/*
 * trial.c: which codes suit a table: they are tried on a sample of its rows, with more and more
 * bits, about the mean and about several centres. Calls code.c; called by sample.c.
 */
#include "compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/build.h"
#include "kernel/kernel.h"

/*
 * What codes must be able to do: of the nearest 10 rows, so many are among the 40 nearest by the
 * codes, which is the pool of a search with the default ef_search. In a sample of a tenth of the
 * table that is 1 row among 4. But fewer than 2 say little. The README has the figures of real
 * sets.
 */
#define POOL (HNSW_DEFAULT_EF_SEARCH / HNSW_TRIAL_K)
#define LEAST_K 2
#define FACTORS 3				/* a search may look at 1, 2 or 4 times as many */
#define TRIAL_QUERIES 256
#define ENOUGH_RECALL 0.93

/*
 * Codes of which so many queries, spread over the sample, find no more than this are not good
 * enough: that will do.
 */
#define FIRST_QUERIES 64
#define HOPELESS 0.75

/*
 * Where the sample is all there is, or the beginning of a table that grows, many more rows may
 * come, among which the nearest must still be told apart: in crowds of which the sample has ten
 * rows each any code finds the crowd. In a table of ten times as many rows the 40 nearest are 4 of
 * these. About centres, which suit the few rows that they are made of better than others, more is
 * asked for.
 */
#define NEAREST 2
#define NEAR_POOL 4
#define ENOUGH_NEAR 0.9
#define ENOUGH_NEAR_CENTRES 0.95

/*
 * Codes of 1 bit, of all components or of some, are not to be taken when it is close: 2 bits cost
 * little.
 */
#define ENOUGH_RECALL_1 0.95

/*
 * Rows are scattered, like random ones of many dimensions, when for so many of them even the
 * nearest are that far beside the distance of any two. Then it is the graph that finds little, and
 * more bits gain less than a larger ef_search: they are at most 2. The README has figures.
 */
#define SCATTERED_SHARE 0.9
#define SCATTERED 0.75

/*
 * Codes of 8 bits, of few dimensions, find nearly all, and so do codes about enough centres. Where
 * codes about the mean find a little less than most do, centres are tried, too: they may be better
 * than more bits.
 */
#define LONG_CODE_DIMS 32
#define ENOUGH_RECALL_LONG 0.98
#define ENOUGH_RECALL_MEAN 0.965
#define ENOUGH_RECALL_CENTRES 0.98

/*
 * Centres are tried until they find enough, or show no promise (64 of them); and taken when they
 * are worth it: by how much of what codes about the mean miss they still do, and, where they do not
 * find enough, by how much more they find. That is not to be chance: two samples of one table differ
 * by .02, and searches take up to three times as long.
 */
#define PROMISING 0.9
#define WORTH_CENTRES 0.5
#define NOTICEABLE 0.05
#define FEWEST_CENTRES 16
#define ROWS_PER_CENTRE 8
#define TABLE_ROWS_PER_CENTRE 100	/* of large vectors, that their pages are not one in a hundred */
#define CENTRE_BYTES (4 * 1024 * 1024)
#define MANY_CENTRES_DIMS 3

/*
 * Rows that are so many times as far from the mean as the median row, and are no more than that
 * share of all, are few of the queries; codes about the mean may be too rough for them alone, as
 * for a crowd far away. If there are so many of them, some are asked for, too.
 */
#define REMOTE 2.0
#define REMOTE_SHARE 0.25
#define REMOTE_FEWEST 16
#define REMOTE_QUERIES 64
#define REMOTE_COST 0.01		/* what centres for them may take from all others */

/* Queries whose exact distances are computed together, while a row is at hand. */
#define TOGETHER 8

/* What codes were found to be worth. */
typedef struct Tried
{
	int			bits;
	int			ncentres;
	float		range;
	bool		all;			/* by all queries, not by the first ones */
	double		near;			/* the share of the NEAREST rows among NEAR_POOL by estimate */
	double		found[FACTORS]; /* the share of the nearest rows in the pool, in one of 2 and of 4
								 * times the size */
	double		remote[FACTORS];	/* the same of the nearest rows of remote ones */
} Tried;

#define MOST_TRIED 64

/* Rows of a sample that ask for their nearest neighbors in it. */
typedef struct Trial
{
	const HnswVectors *sample;
	int			k;				/* that many */
	int			nqueries;
	int			nremote;		/* queries behind these, of remote rows */
	int		   *queries;
	int		   *nearest;		/* POOL * k for each query, the NEAREST first; -1 ends fewer */
	bool		scattered;		/* see SCATTERED */
	bool		grows;			/* see NEAREST */
	int			ntried;			/* nothing is tried twice */
	Tried		tried[MOST_TRIED];
} Trial;

/* The k smallest of n floats, ascending. */
static void
k_smallest(int n, int k, const float *x, float *smallest)
{
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
}

/* See build.h. */
float
hnsw_kth_smallest(int n, int k, const float *x)
{
	float		smallest[POOL * HNSW_TRIAL_K];

	k_smallest(n, k, x, smallest);
	return smallest[k - 1];
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

/* Queries that find their nearest rows by exact distances. */
typedef struct Exact
{
	Trial	   *trial;
	VdistQuantMetric metric;
	const float *vectors;
	int			first;			/* of the queries that are under way */
	float	   *distances;		/* TOGETHER * n for every thread */
	bool	   *far;			/* of every query: see SCATTERED */
} Exact;

/* Note the nearest rows of a query, whose distances from all rows are given. */
static void
note_nearest(Exact *exact, int query, float *distance)
{
	Trial	   *trial = exact->trial;
	int			n = trial->sample->n;
	int			most = POOL * trial->k;
	int		   *nearest = trial->nearest + query * most;
	int			found = 0;
	double		sum = 0;
	float		bound;

	for (int j = 0; j < n; j++)
		sum += distance[j];

	/* a row is no neighbor of itself */
	distance[trial->queries[query]] = INFINITY;
	bound = hnsw_kth_smallest(n, trial->k, distance);
	exact->far[query] = bound > SCATTERED * SCATTERED * sum / n;
	for (int j = 0; j < n && found < most; j++)
		if (distance[j] <= bound)
			nearest[found++] = j;
	if (found < most)
		nearest[found] = -1;
	for (int i = 0; i < Min(NEAREST, found); i++)
		for (int j = i + 1; j < found; j++)
			if (distance[nearest[j]] < distance[nearest[i]])
			{
				int			swap = nearest[i];

				nearest[i] = nearest[j];
				nearest[j] = swap;
			}
}

/* In a thread: exact distances of up to TOGETHER queries. */
static bool
find_nearest(void *arg, int thread, uint64_t from, uint64_t to)
{
	Exact	   *exact = arg;
	const Trial *trial = exact->trial;
	int			dim = trial->sample->dim;
	int			n = trial->sample->n;
	float	   *distances = exact->distances + thread * (Size) TOGETHER * n;

	for (int j = 0; j < n; j++)
	{
		const float *y = exact->vectors + j * (Size) dim;

		for (uint64_t i = from; i < to; i++)
		{
			const float *x = exact->vectors +
			trial->queries[exact->first + i] * (Size) dim;

			distances[(i - from) * n + j] =
				exact->metric == VDIST_QUANT_L1 ? vdist_kernel->l1(dim, x, y) :
				exact->metric == VDIST_QUANT_IP ? -vdist_kernel->inner_product(dim, x, y) :
				vdist_kernel->l2_squared(dim, x, y);
		}
	}
	for (uint64_t i = from; i < to; i++)
		note_nearest(exact, exact->first + i, distances + (i - from) * n);
	return true;
}

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? -1 : x > y;
}

/* Choose queries among remote rows, if there are some. */
static void
add_remote(Trial *trial, const float *mean)
{
	const HnswVectors *sample = trial->sample;
	int			n = sample->n;
	float	   *distance = palloc(sizeof(float) * n);
	float	   *sorted = palloc(sizeof(float) * n);
	float		bound;
	int			nremote = 0;
	int			seen = 0;

	for (int i = 0; i < n; i++)
		distance[i] = sqrtf(vdist_kernel->l2_squared(sample->dim, mean,
													 sample->x + i * (Size) sample->dim));
	memcpy(sorted, distance, sizeof(float) * n);
	qsort(sorted, n, sizeof(float), compare_floats);
	bound = REMOTE * sorted[n / 2];
	for (int i = 0; i < n; i++)
		nremote += distance[i] > bound;
	elog(DEBUG1, "%d of %d rows are remote", nremote, n);
	trial->nremote = nremote < REMOTE_FEWEST || nremote > REMOTE_SHARE * n ? 0 :
		Min(nremote, REMOTE_QUERIES);
	for (int i = 0, chosen = 0; i < n && chosen < trial->nremote; i++)
	{
		if (!(distance[i] > bound))
			continue;
		if (seen++ >= chosen * (int64) nremote / trial->nremote)
			trial->queries[trial->nqueries + chosen++] = i;
	}
	pfree(distance);
	pfree(sorted);
}

/* Choose queries and find their nearest rows. */
static void
begin_trial(Trial *trial, const HnswVectors *sample, const float *mean)
{
	bool		roots = sample->metric == VDIST_METRIC_ROOTS;
	Exact		exact = {trial, sample->taxicab ? VDIST_QUANT_L1 : vdist_metric_quant(sample->metric)};
	int			n = sample->n;
	uint64		random = 1;
	int			nfar = 0;
	int			nall;

	trial->sample = sample;
	trial->ntried = 0;
	trial->grows = sample->rows <= n || isinf(sample->rows);
	trial->k = Max(LEAST_K, Min(HNSW_TRIAL_K, rint(HNSW_TRIAL_K * n / Max(sample->rows, n))));
	trial->nqueries = Min(n, TRIAL_QUERIES);
	trial->queries = palloc(sizeof(int) * (trial->nqueries + REMOTE_QUERIES));
	trial->nearest = palloc(sizeof(int) * (trial->nqueries + REMOTE_QUERIES) * POOL * trial->k);
	for (int i = 0; i < trial->nqueries; i++)
	{
		/* the first ones are from everywhere */
		int			place = trial->nqueries < TRIAL_QUERIES ? i :
			i % (TRIAL_QUERIES / FIRST_QUERIES) * FIRST_QUERIES + i / (TRIAL_QUERIES / FIRST_QUERIES);

		/* not at equal distances: rows may come in turn from different crowds */
		trial->queries[place] = (i + hnsw_random(&random)) * n / trial->nqueries;
	}
	add_remote(trial, mean);
	nall = trial->nqueries + trial->nremote;
	exact.vectors = roots ? squares(sample) : sample->x;
	exact.distances = palloc_extended(sizeof(float) * TOGETHER * n * sample->threads,
									  MCXT_ALLOC_HUGE);
	exact.far = palloc(sizeof(bool) * nall);
	for (; exact.first < nall; exact.first += FIRST_QUERIES)
	{
		CHECK_FOR_INTERRUPTS();
		vdist_team_run(sample->threads, Min(nall - exact.first, FIRST_QUERIES),
					   TOGETHER, find_nearest, &exact);
	}
	for (int i = 0; i < trial->nqueries; i++)
		nfar += exact.far[i];
	trial->scattered = exact.metric == VDIST_QUANT_L2 && nfar >= SCATTERED_SHARE * trial->nqueries;
	elog(DEBUG1, "%d of %d rows are far from all others", nfar, trial->nqueries);
	if (roots)
		pfree((void *) exact.vectors);
	pfree(exact.distances);
	pfree(exact.far);
}

/* Codes that are tried. */
typedef struct Attempt
{
	const Trial *trial;
	HnswCodes	codes;
	Size		size;			/* of a code */
	char	   *encoded;		/* all of the sample, those of a centre together */
	int		   *place;			/* which of them a row has */
	int		   *start;			/* where those of a centre begin; one more, the end */

	/* of every thread */
	VdistQuantQuery **queries;
	float	   *estimates;		/* n */
	float	   *scratch;		/* HNSW_SCRATCH(dim) */

	int			first;			/* of the queries that are under way */
	double		found[TRIAL_QUERIES + REMOTE_QUERIES][FACTORS + 1]; /* the last is Tried.near */
} Attempt;

/*
 * The share of k rows, of those that are given, that are among `pool` nearest by estimate. Of rows
 * with equal estimates, which codes cannot tell apart, it is chance which are.
 */
static double
share_among(const Attempt *attempt, const int *nearest, int nnearest, int k, int pool,
			const float *smallest, const float *estimate)
{
	float		bound = smallest[pool - 1];
	int			found = 0;
	int			among = 0;

	for (int i = 0; i < nnearest && nearest[i] >= 0; i++)
		found += estimate[attempt->place[nearest[i]]] <= bound;
	for (int i = 0; i < attempt->trial->sample->n; i++)
		among += estimate[i] <= bound;
	return (double) Min(found, k) / k * pool / Max(among, pool);
}

/*
 * The shares of the nearest rows that are among POOL times as many nearest by estimate, and among 2
 * and 4 times those; and Tried.near.
 */
static void
shares_found(const Attempt *attempt, int query, const float *estimate, double *share)
{
	const Trial *trial = attempt->trial;
	int			n = trial->sample->n;
	int			nnearest = POOL * trial->k;
	const int  *nearest = trial->nearest + query * nnearest;
	float		smallest[POOL * HNSW_TRIAL_K << (FACTORS - 1)];

	k_smallest(n, Min(nnearest << (FACTORS - 1), n), estimate, smallest);
	for (int f = 0; f < FACTORS; f++)
		share[f] = share_among(attempt, nearest, nnearest, trial->k, Min(nnearest << f, n), smallest,
							   estimate);
	share[FACTORS] = share_among(attempt, nearest, NEAREST, NEAREST, NEAR_POOL, smallest, estimate);
}

/* In a thread. */
static bool
encode(void *arg, int thread, uint64_t from, uint64_t to)
{
	Attempt    *attempt = arg;
	const HnswVectors *sample = attempt->trial->sample;
	float	   *scratch = attempt->scratch + thread * (Size) HNSW_SCRATCH(sample->dim);

	for (uint64_t i = from; i < to; i++)
		hnsw_encode(&attempt->codes, sample->x + i * sample->dim,
					attempt->encoded + i * attempt->size, scratch);
	return true;
}

/* Put codes of the same centre together. */
static void
arrange(Attempt *attempt)
{
	int			n = attempt->trial->sample->n;
	int			ncentres = attempt->codes.ncentres;
	Size		size = attempt->size;
	char	   *arranged;

	attempt->place = palloc(sizeof(int) * n);
	attempt->start = palloc0(sizeof(int) * (ncentres + 2));
	if (ncentres == 0)
	{
		for (int i = 0; i < n; i++)
			attempt->place[i] = i;
		attempt->start[1] = n;
		return;
	}
	for (int i = 0; i < n; i++)
		attempt->start[hnsw_code_centre(attempt->encoded + i * size) + 2]++;
	for (int c = 2; c <= ncentres; c++)
		attempt->start[c] += attempt->start[c - 1];

	/*
	 * while they are put in, start[c + 1] is where the next code of c goes: in the end, where
	 * those of c + 1 begin
	 */
	arranged = palloc_extended(size * n, MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		const char *code = attempt->encoded + i * size;

		attempt->place[i] = attempt->start[hnsw_code_centre(code) + 1]++;
		memcpy(arranged + attempt->place[i] * size, code, size);
	}
	pfree(attempt->encoded);
	attempt->encoded = arranged;
}

/* In a thread: search for some of the queries. */
static bool
ask(void *arg, int thread, uint64_t from, uint64_t to)
{
	Attempt    *attempt = arg;
	const Trial *trial = attempt->trial;
	const HnswCodes *codes = &attempt->codes;
	int			dim = trial->sample->dim;
	int			n = trial->sample->n;
	VdistQuantQuery *query = attempt->queries[thread];
	float	   *estimate = attempt->estimates + thread * (Size) n;
	float	   *scratch = attempt->scratch + thread * (Size) HNSW_SCRATCH(dim);
	float	   *rotated = scratch + VDIST_QUANT_SCRATCH(dim);
	Size		head = codes->ncentres > 0 ? sizeof(uint16) : 0;

	for (uint64_t i = attempt->first + from; i < attempt->first + to; i++)
	{
		const float *x = trial->sample->x + trial->queries[i] * (Size) dim;

		if (codes->ncentres > 0)
		{
			memcpy(rotated, x, sizeof(float) * dim);
			if (codes->code.metric != VDIST_QUANT_L1)
				vdist_quant_rotate(dim, rotated);
			x = rotated;
		}
		for (int c = 0; c < Max(codes->ncentres, 1); c++)
		{
			int			start = attempt->start[c];
			VdistQuant	quant = codes->ncentres > 0 ? hnsw_centre_quant(codes, c) : codes->code;

			if (start == attempt->start[c + 1])
				continue;
			vdist_quant_query(&quant, x, query, scratch);
			vdist_quant_estimate(query, attempt->encoded + start * attempt->size + head,
								 attempt->size, attempt->start[c + 1] - start, estimate + start);
		}
		estimate[attempt->place[trial->queries[i]]] = INFINITY;
		shares_found(attempt, i, estimate, attempt->found[i]);
	}
	return true;
}

/*
 * What codes are worth: by the first queries alone, unless that is not clear, or all are asked for.
 */
static Tried
try_codes(const Trial *trial, const HnswCodes *codes, bool all)
{
	const HnswVectors *sample = trial->sample;
	int			dim = sample->dim;
	int			n = sample->n;
	Size		threads = sample->threads;
	Attempt		attempt = {trial, *codes};
	Tried		tried = {0};

	attempt.codes.own = codes->code;
	attempt.size = codes->code.code_size + (codes->ncentres > 0 ? sizeof(uint16) : 0);
	attempt.encoded = palloc_extended(attempt.size * n, MCXT_ALLOC_HUGE);
	attempt.scratch = palloc(sizeof(float) * HNSW_SCRATCH(dim) * threads);
	attempt.estimates = palloc_extended(sizeof(float) * n * threads, MCXT_ALLOC_HUGE);
	attempt.queries = palloc(sizeof(VdistQuantQuery *) * threads);
	for (int i = 0; i < threads; i++)
		attempt.queries[i] = palloc(vdist_quant_query_size(dim));
	CHECK_FOR_INTERRUPTS();
	vdist_team_run(threads, n, 32, encode, &attempt);
	arrange(&attempt);
	while (attempt.first < trial->nqueries)
	{
		int			begin = attempt.first;
		int			end = Min(begin + FIRST_QUERIES, trial->nqueries);

		CHECK_FOR_INTERRUPTS();
		vdist_team_run(threads, end - begin, 4, ask, &attempt);
		for (int i = begin; i < end; i++)
		{
			for (int f = 0; f < FACTORS; f++)
				tried.found[f] += attempt.found[i][f];
			tried.near += attempt.found[i][FACTORS];
		}
		attempt.first = end;
		if (!all && trial->nqueries == TRIAL_QUERIES && begin == 0 &&
			tried.found[0] < HOPELESS * end)
			break;
	}
	tried.all = attempt.first == trial->nqueries;
	for (int f = 0; f < FACTORS; f++)
		tried.found[f] /= attempt.first;
	tried.near /= attempt.first;
	if (tried.all && trial->nremote > 0)
	{
		vdist_team_run(threads, trial->nremote, 4, ask, &attempt);
		for (int i = 0; i < trial->nremote; i++)
			for (int f = 0; f < FACTORS; f++)
				tried.remote[f] += attempt.found[trial->nqueries + i][f] / trial->nremote;
	}
	for (int i = 0; i < threads; i++)
		pfree(attempt.queries[i]);
	pfree(attempt.queries);
	pfree(attempt.estimates);
	pfree(attempt.scratch);
	pfree(attempt.start);
	pfree(attempt.place);
	pfree(attempt.encoded);
	return tried;
}

/* The same for codes of so many bits about the mean, or about centres. */
static Tried
try_more(Trial *trial, const HnswSample *result, int bits, int ncentres, bool all)
{
	const HnswVectors *sample = trial->sample;
	HnswMeta	meta = {.metric = sample->metric,.dim = sample->dim,.code_bits = bits};
	HnswCodes	codes;
	Tried		tried;

	for (int i = 0; i < trial->ntried; i++)
	{
		const Tried *before = &trial->tried[i];

		if (before->bits == bits && before->ncentres == ncentres &&
			before->range == result->range && (before->all || !all))
			return *before;
	}
	meta.own_bits = bits;
	meta.range = result->range;
	meta.ncentres = ncentres;
	hnsw_codes_init(&codes, &meta, result->mean, result->centres);
	tried = try_codes(trial, &codes, all);
	tried.bits = bits;
	tried.ncentres = ncentres;
	tried.range = result->range;
	elog(DEBUG1, "codes of %d bits about %d centres find %.3f of the nearest %d among %d times as many, %.3f and %.3f among more, %.3f near, %.3f of remote rows",
		 bits, Max(ncentres, 1), tried.found[0], trial->k, POOL, tried.found[1], tried.found[2], tried.near,
		 tried.remote[0]);
	if (trial->ntried < MOST_TRIED)
		trial->tried[trial->ntried++] = tried;
	return tried;
}

/*
 * The share of the nearest rows that they find; of those nearest of all where these are too few and
 * `by_near`.
 */
static double
try_bits(Trial *trial, const HnswSample *result, int bits, int ncentres, bool by_near)
{
	Tried		tried = try_more(trial, result, bits, ncentres, false);

	if (!by_near || tried.near >= (ncentres > 0 ? ENOUGH_NEAR_CENTRES : ENOUGH_NEAR))
		return tried.found[0];
	return Min(tried.found[0], tried.near);
}

/* The same of remote rows, if they find `least` of those of the others. */
static double
try_remote(Trial *trial, const HnswSample *result, int bits, int ncentres, double least)
{
	Tried		tried = try_more(trial, result, bits, ncentres, true);

	return tried.found[0] >= least ? tried.remote[0] : 0;
}

/*
 * What codes about the mean find. The range of L1's codes is chosen, too: a wider one has larger steps,
 * but of components that are rarely large, as those of histograms, the large ones are what matters.
 * The graph has 7 bits for the same range, and there it shows (recall .89 instead of .93).
 */
static double
try_ranges(Trial *trial, HnswSample *result, int bits)
{
	double		found = try_bits(trial, result, bits, 0, trial->grows);

	while (trial->sample->metric == VDIST_METRIC_L1)
	{
		HnswSample	wider = *result;
		double		other;

		wider.range *= 2;
		other = try_bits(trial, &wider, bits, 0, trial->grows);
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
	found = try_codes(trial, &codes, false).found[0];
	elog(DEBUG1, "codes of 1 bit of %d components find %.3f of the nearest %d", result->coded,
		 found, trial->k);
	return found >= ENOUGH_RECALL_1;
}

/*
 * The fewest bits with which codes find enough, or the most that make sense; *found is what those
 * find. L1's are not rotated, so they need more of them.
 */
static int
fewest_bits(Trial *trial, HnswSample *result, int ncentres, double *found)
{
	bool		l1 = trial->sample->metric == VDIST_METRIC_L1;
	int			most = result->most_bits;
	HnswSample	begin = *result;

	if (trial->scattered && ncentres == 0)
		most = Min(most, 2);

	for (int bits = Min(l1 ? 2 : 1, most);; bits *= 2)
	{
		*result = begin;
		*found = ncentres > 0 ? try_bits(trial, result, bits, ncentres, trial->grows) :
			try_ranges(trial, result, bits);
		if (bits >= most ||
			*found >= (ncentres > 0 ? ENOUGH_RECALL_MEAN :
					   bits == 1 ? ENOUGH_RECALL_1 : ENOUGH_RECALL))
			return bits;
	}
}

/*
 * Where codes about the mean do not tell rows apart, because those lie in crowds that are small
 * beside the distances between them, try several centres: the fewest that are enough. In two or
 * three dimensions a large table has more rows than codes about one centre can tell apart, and no
 * sample says so. about_mean is what codes of so many bits about the mean find; where `least` is not
 * 0, for remote rows, see try_remote.
 */
static void
choose_centres(Trial *trial, HnswSample *result, double about_mean, bool bits_given, double least)
{
	const HnswVectors *sample = trial->sample;
	int			dim = sample->dim;
	int			bits = result->bits;
	int			most = Min(Min(HNSW_MAX_CENTRES, CENTRE_BYTES / (int) sizeof(float) / dim),
						   sample->n / ROWS_PER_CENTRE);
	bool		many = dim <= MANY_CENTRES_DIMS;
	bool		by_near = trial->grows;
	double		enough = ENOUGH_RECALL_CENTRES;
	double		best;
	int			best_k = 0;
	HnswSeeds	seeds = {0};
	Size		size = sizeof(float) * HNSW_CENTRE_FLOATS(dim);
	float	   *tried;
	float	   *centres;

	if (hnsw_is_large(dim))
		most = Min(most, sample->rows / TABLE_ROWS_PER_CENTRE);

	/*
	 * where a table needs centres as it is, those are taken that suit it as it is, unless it is
	 * known to grow
	 */
	if (least == 0 && !isinf(sample->rows) &&
		try_more(trial, result, bits, 0, false).found[0] < ENOUGH_RECALL_MEAN)
	{
		by_near = false;
		about_mean = try_bits(trial, result, bits, 0, by_near);
	}
	best = about_mean = many ? 0 : about_mean;
	if (least > 0)
		enough = Min(enough, least + REMOTE_COST);
	if (about_mean >= Min(enough, dim <= LONG_CODE_DIMS ? ENOUGH_RECALL_LONG : ENOUGH_RECALL_MEAN) ||
		most < FEWEST_CENTRES)
		return;
	hnsw_seeds_begin(sample, &seeds, most);
	result->centres = tried = palloc_extended(size * most, MCXT_ALLOC_HUGE);
	centres = palloc_extended(size * most, MCXT_ALLOC_HUGE);
	for (int k = many ? most : FEWEST_CENTRES; k <= most && best < enough;
		 k = k < most ? Min(4 * k, most) : k + 1)
	{
		double		found;

		hnsw_seeds_grow(sample, &seeds, k);
		hnsw_seeds_centres(sample, &seeds, tried);
		found = least > 0 ? try_remote(trial, result, bits, k, least) :
			try_bits(trial, result, bits, k, by_near);
		if (found > best)
		{
			best = found;
			best_k = k;
			memcpy(centres, tried, size * k);
		}
		if (k > FEWEST_CENTRES && 1 - best > (1 - about_mean) *
			(about_mean >= ENOUGH_RECALL ? WORTH_CENTRES : PROMISING))
			break;
	}
	result->centres = NULL;
	if (1 - best > (1 - about_mean) * WORTH_CENTRES ||
		best < Min(enough, about_mean + NOTICEABLE))
		return;

	/* they stay with the build, so no more than there are */
	result->ncentres = best_k;
	result->centres = MemoryContextAllocExtended(GetMemoryChunkContext(result->mean),
												 size * best_k, MCXT_ALLOC_HUGE);
	memcpy(result->centres, centres, size * best_k);
	result->wide = true;
	if (!bits_given && dim > LONG_CODE_DIMS)
		result->bits = fewest_bits(trial, result, best_k, &best);
}

/*
 * Where codes find little, because more bits would make the index too large, searches must look at
 * more rows: at as many as hold what is nearest. Where 4 times as many do not either, it is not the
 * codes alone.
 */
static int
choose_factor(Trial *trial, HnswSample *result)
{
	Tried		tried = try_more(trial, result, result->bits, result->ncentres, true);

	result->found = tried.found[0];

	/* of a table that grows, a pool is that of twice as many */
	if (isinf(trial->sample->rows) && tried.near < ENOUGH_NEAR)
		return tried.found[0] < ENOUGH_RECALL && tried.found[1] >= ENOUGH_RECALL ? 4 : 2;
	for (int f = 0; f < FACTORS; f++)
		if (tried.found[f] >= ENOUGH_RECALL)
			return 1 << f;
	return 2;
}

/*
 * Several centres for what is remote, too, if codes about the mean suit it less than others.
 * Returns the factor for the others, which look at as many rows as before.
 */
static int
suit_remote(Trial *trial, HnswSample *result)
{
	Tried		tried = try_more(trial, result, result->bits, 0, true);
	int			factor = choose_factor(trial, result);

	if (tried.found[0] > REMOTE_COST)
		choose_centres(trial, result, tried.remote[0], true, tried.found[0] - REMOTE_COST);
	return factor;
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
	int			least_factor = 1;
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

	begin_trial(&trial, sample, result->mean);

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
		choose_centres(&trial, result, found, bits_given, 0);
	if (trial.nremote > 0 && result->ncentres == 0)
		least_factor = suit_remote(&trial, result);
	if (!bits_given && result->bits == 1 && result->ncentres == 0 && coded > 0)
	{
		result->coded = coded;
		if (!short_enough(&trial, result))
			result->coded = 0;
	}
	if (dim > LONG_CODE_DIMS && result->coded == 0)
		result->ef_factor = Max(choose_factor(&trial, result), least_factor);
}
