/*
 * sample.c: what CREATE INDEX learns from a sample of the table before it reads it: the centre of
 * all codes, their range, the graph's centre. Calls trial.c and the table; called by build.c.
 */
#include "compat.h"

#include <math.h>

#include "access/tableam.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

#include "hnsw/build.h"
#include "kernel/kernel.h"

#define SAMPLE_ROWS 10000
#define SAMPLE_BLOCKS 2500
#define SAMPLE_BYTES (32 * 1024 * 1024)

/* For inner products: how many rows ask how many others for how many answers. */
#define ANSWER_QUERIES 40
#define ANSWER_ROWS 2000
#define ANSWERS HNSW_TRIAL_K

/* The mean may be moved by the root of one part in so many of the rows' variance about it. */
#define MEAN_SHARE 1000

typedef struct Sample
{
	const VdistIndexMetric *source;
	VdistMetric metric;			/* of the vectors that codes are made of */
	int			dim;			/* theirs, too */
	int			n;
	int			size;			/* the most rows there is room for */
	int			threads;
	int			block_left;		/* rows still to take from this block */
	double		rows;			/* of the table: first, those of the sampled blocks */
	float	   *vectors;		/* prepared */
	MemoryContext row_context;
} Sample;

static void
take_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	Sample	   *sample = arg;
	MemoryContext old;
	struct varlena *value;

	sample->rows += !isnull[0];
	if (isnull[0] || sample->block_left <= 0 || sample->n == sample->size)
		return;
	old = MemoryContextSwitchTo(sample->row_context);
	value = vdist_detoast(values[0]);
	if (vdist_value_dim(sample->source->type, value) == sample->source->dim &&
		vdist_metric_prepare(sample->metric, sample->dim,
							 vdist_index_vector(sample->source, value)->x,
							 sample->vectors + sample->n * (Size) sample->dim))
	{
		sample->n++;
		sample->block_left--;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(sample->row_context);
}

static void
take_sample(Relation heap, Relation index, IndexInfo *info, Sample *sample)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(heap);
	BlockSamplerData blocks;
	int			most = Min(Min(nblocks, SAMPLE_BLOCKS), sample->size);
	int			per_block = (sample->size + most - 1) / most;

	/* room for those of the last blocks, too: what came last is there */
	sample->size = most * per_block;
	sample->vectors = palloc_extended(sizeof(float) * sample->dim * (Size) sample->size,
									  MCXT_ALLOC_HUGE);
	BlockSampler_Init(&blocks, nblocks, most, 1);
	while (BlockSampler_HasMore(&blocks))
	{
		CHECK_FOR_INTERRUPTS();
		sample->block_left = per_block;
		table_index_build_range_scan(heap, index, info, false, false, false,
									 BlockSampler_Next(&blocks), 1, take_row, sample, NULL);
	}
	sample->rows *= (double) nblocks / most;
}

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? -1 : x > y;
}

/*
 * The length that rows have which answer searches for the largest inner product: the median over
 * the ANSWERS nearest of some rows.
 */
static float
answer_norm(const Sample *sample)
{
	int			dim = sample->dim;
	int			n = Min(sample->n, ANSWER_ROWS);
	int			k = Min(ANSWERS, n - 1);
	int			queries = Min(n, ANSWER_QUERIES);
	int			stride = sample->n / Max(n, 1);
	float	   *distance = palloc(sizeof(float) * Max(n, 1));
	float	   *norm2 = palloc(sizeof(float) * Max(n * queries, 1));
	int			found = 0;

	for (int i = 0; i < queries && k > 0; i++)
	{
		int			row = i * (n / queries);
		const float *x = sample->vectors + row * stride * (Size) dim;
		float		bound;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
			distance[j] = -vdist_kernel->inner_product(dim, x, sample->vectors +
													   j * stride * (Size) dim);
		distance[row] = INFINITY;
		bound = hnsw_kth_smallest(n, k, distance);
		for (int j = 0; j < n; j++)
		{
			const float *y = sample->vectors + j * stride * (Size) dim;

			if (j != row && distance[j] <= bound)
				norm2[found++] = vdist_kernel->inner_product(dim, y, y);
		}
	}
	if (found == 0)
		return 1.0f;
	qsort(norm2, found, sizeof(float), compare_floats);
	return norm2[found / 2] > 0 && isfinite(norm2[found / 2]) ? sqrtf(norm2[found / 2]) : 1.0f;
}

void
hnsw_lift(float norm, int dim, const float *x, float *out)
{
	float		norm2 = vdist_kernel->inner_product(dim, x, x);
	float		rest = norm * norm - norm2;
	float		factor = rest < 0 ? norm / sqrtf(norm2) : 1.0f;

	for (int i = 0; i < dim; i++)
		out[i] = x[i] * factor;
	out[dim] = rest > 0 ? sqrtf(rest) : 0.0f;
}

/*
 * What the graph of an index for inner products is built from (hnsw_lift), and where its centre is.
 */
static void
sample_lift(const Sample *sample, HnswSample *result)
{
	int			dim = sample->dim;
	double	   *sum = palloc0(sizeof(double) * (dim + 1));
	float	   *lifted = palloc(sizeof(float) * (dim + 1));

	result->range = answer_norm(sample);
	for (int i = 0; i < sample->n; i++)
	{
		hnsw_lift(result->range, dim, sample->vectors + i * (Size) dim, lifted);
		for (int j = 0; j <= dim; j++)
			sum[j] += lifted[j];
	}
	for (int j = 0; j <= dim && sample->n > 0; j++)
		result->centre[j] = sum[j] / sample->n;
}

/* Projections of fewer dimensions where those suffice. */
static void
fold(Sample *sample)
{
	int			dim = vdist_project_dim(sample->n, sample->vectors);

	for (int i = 0; i < sample->n; i++)
	{
		float	   *x = sample->vectors + i * (Size) sample->dim;

		vdist_project_fold(x, dim);
		vdist_metric_prepare(sample->metric, dim, x, sample->vectors + i * (Size) dim);
	}
	sample->dim = dim;
}

/*
 * Make the mean one of halves, for which the metapage has room, unless it is so far off that
 * rounding moves it away from the rows: the mean square of their distance from it is given.
 */
static void
round_mean(HnswSample *result, double square)
{
	double		moved = 0;

	for (int j = 0; j < result->dim; j++)
	{
		double		d = vdist_half_to_float(vdist_float_to_half(result->mean[j])) - result->mean[j];

		moved += d * d;
	}
	if (!(moved <= square / MEAN_SHARE))
		return;
	for (int j = 0; j < result->dim; j++)
		result->mean[j] = vdist_half_to_float(vdist_float_to_half(result->mean[j]));
}

/*
 * From the sample all of *result, which the caller has filled with what holds without; bits only if
 * they are 0.
 */
static void
decide(Sample *sample, HnswSample *result)
{
	VdistMetric metric = sample->metric;
	double	   *sum = palloc0(sizeof(double) * sample->dim);
	double		deviation = 0;
	int			dim;
	HnswVectors vectors = {metric};

	if (sample->source->projected)
		fold(sample);
	dim = result->dim = sample->dim;
	for (int i = 0; i < sample->n; i++)
		for (int j = 0; j < dim; j++)
			sum[j] += sample->vectors[i * (Size) dim + j];
	for (int j = 0; j < dim && sample->n > 0; j++)
		result->mean[j] = sum[j] / sample->n;
	for (int i = 0; i < sample->n; i++)
		for (int j = 0; j < dim; j++)
		{
			double		d = sample->vectors[i * (Size) dim + j] - result->mean[j];

			deviation += d * d;
		}
	if (sample->n > 0 && deviation > 0)
		result->range = 4 * sqrt(deviation / sample->n / dim);
	if (metric == VDIST_METRIC_IP)
		sample_lift(sample, result);
	else
		memcpy(result->centre, result->mean, sizeof(float) * dim);
	for (int j = 0; j < dim && metric == VDIST_METRIC_HAMMING; j++)
		result->mean[j] = 0.5f;
	round_mean(result, sample->n > 0 ? deviation / sample->n : 0);

	vectors.dim = dim;
	vectors.n = sample->n;
	vectors.rows = sample->rows;
	vectors.x = sample->vectors;
	vectors.threads = sample->threads;
	vectors.taxicab = sample->source->metric == VDIST_METRIC_L1;
	hnsw_try_codes(&vectors, sample->source->projected, result);
}

/* Make of the vectors, prepared for L1 or as roots, what the next metric for codes of L1 takes. */
static void
prepare_next(Sample *sample, VdistMetric metric)
{
	for (int i = 0; i < sample->n; i++)
	{
		float	   *x = sample->vectors + i * (Size) sample->dim;

		for (int j = 0; j < sample->dim && sample->metric == VDIST_METRIC_ROOTS; j++)
			x[j] *= fabsf(x[j]);
		vdist_metric_prepare(metric, sample->dim, x, x);
	}
	sample->metric = metric;
}

/*
 * The same, of L1's codes or, where those are too rough, of square roots' or the vectors' own by
 * L2, if they find more: these are rotated, and do with fewer bits.
 */
static void
decide_metric(Sample *sample, HnswSample *result)
{
	static const VdistMetric others[] = {VDIST_METRIC_ROOTS, VDIST_METRIC_L2};
	HnswSample	given = *result;
	HnswSample	best;
	Size		size = sizeof(float) * sample->dim;
	float	   *mean = palloc(size);
	int			next = sample->metric == VDIST_METRIC_ROOTS ? 1 : 0;

	decide(sample, result);
	if (sample->source->metric != VDIST_METRIC_L1 || sample->source->projected || given.bits != 0)
		return;
	best = *result;
	memcpy(mean, result->mean, size);
	for (; next < (int) lengthof(others) && result->ef_factor > 1; next++)
	{
		prepare_next(sample, others[next]);
		*result = given;
		result->metric = sample->metric;
		decide(sample, result);
		elog(DEBUG1, "codes for the taxicab by metric %d find %.3f, others %.3f", sample->metric,
			 result->found, best.found);
		if (result->found <= best.found)
			continue;
		best = *result;
		memcpy(mean, result->mean, size);
	}
	*result = best;
	memcpy(result->mean, mean, size);
	memcpy(result->centre, mean, size);
}

/* From n prepared vectors, all that there are of a table that grows. */
void
hnsw_sample_vectors(const VdistIndexMetric *source, int n, float *vectors, HnswSample *result)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw sample",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Sample		sample = {source, source->code_metric, source->code_dim, n, n, 1};

	sample.vectors = vectors;
	sample.rows = INFINITY;
	decide_metric(&sample, result);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * From a sample of the table. False when that is the whole of it and too little to make a graph of
 * (flat.c).
 */
bool
hnsw_sample(Relation heap, Relation index, IndexInfo *info, const VdistIndexMetric *source,
			int threads, HnswSample *result)
{
	int			dim = source->code_dim;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw sample",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Sample		sample = {source, source->code_metric, dim};
	bool		enough;
	Size		bytes = Min(SAMPLE_BYTES, maintenance_work_mem * (Size) 1024 / 2);

	sample.size = Min(SAMPLE_ROWS, Max(bytes / sizeof(float) / dim, 256));
	sample.threads = threads;
	sample.row_context = AllocSetContextCreate(context, "vdist_hnsw sample row",
											   ALLOCSET_DEFAULT_SIZES);
	if (RelationGetNumberOfBlocks(heap) > 0)
		take_sample(heap, index, info, &sample);
	enough = sample.n >= Min(hnsw_flat_limit(dim), sample.size) ||
		RelationGetNumberOfBlocks(heap) > SAMPLE_BLOCKS;
	if (enough)
		decide_metric(&sample, result);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return enough;
}
