/*
 * sample.c: what CREATE INDEX learns from a sample of the table before it reads it: the centre of all
 * codes, and how many bits they need. Calls quant/ and the table; called by build.c.
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
#define SAMPLE_BLOCKS 500
#define SAMPLE_BYTES (32 * 1024 * 1024)

/* Codes are tried on that many rows with that many queries, which are rows, too. */
#define TRIAL_ROWS 2000
#define TRIAL_QUERIES 40
#define TRIAL_K 10

/*
 * Codes of 1 or 2 bits are enough when so many of the TRIAL_K nearest rows are among the 2 TRIAL_K
 * nearest by the codes. 2 bits need less, because 4 make the rows half as large again, which leaves
 * fewer slots than a page of 2-bit rows has. The README has the figures of real sets.
 */
#define LONG_CODE_DIMS 32
#define ENOUGH_RECALL_1 0.93
#define ENOUGH_RECALL_2 0.89

typedef struct Sample
{
	const VdistIndexMetric *source;
	VdistMetric metric;			/* of the vectors that codes are made of */
	int			dim;			/* theirs, too */
	int			n;
	int			size;			/* the most rows there is room for */
	int			block_left;		/* rows still to take from this block */
	float	   *vectors;		/* prepared */
	MemoryContext row_context;
} Sample;

static void
take_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	Sample	   *sample = arg;
	MemoryContext old;
	struct varlena *value;

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
	int			per_block = sample->size / Max(Min(nblocks, SAMPLE_BLOCKS), 1) + 1;

	BlockSampler_Init(&blocks, nblocks, SAMPLE_BLOCKS, 1);
	while (BlockSampler_HasMore(&blocks))
	{
		CHECK_FOR_INTERRUPTS();
		sample->block_left = per_block;
		table_index_build_range_scan(heap, index, info, false, false, false,
									 BlockSampler_Next(&blocks), 1, take_row, sample, NULL);
	}
}

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? -1 : x > y;
}

/* How many of the TRIAL_K nearest by `exact` are among the 2 TRIAL_K nearest by `estimate`. */
static int
count_found(int n, const float *exact, const float *estimate, float *sorted)
{
	float		exact_bound;
	float		estimate_bound;
	int			found = 0;

	memcpy(sorted, exact, sizeof(float) * n);
	qsort(sorted, n, sizeof(float), compare_floats);
	exact_bound = sorted[TRIAL_K - 1];
	memcpy(sorted, estimate, sizeof(float) * n);
	qsort(sorted, n, sizeof(float), compare_floats);
	estimate_bound = sorted[2 * TRIAL_K - 1];
	for (int i = 0; i < n; i++)
		found += exact[i] <= exact_bound && estimate[i] <= estimate_bound;
	return Min(found, TRIAL_K);
}

/* The share of nearest rows that codes of so many bits find. */
static double
try_bits(const Sample *sample, const float *mean, float range, int bits)
{
	VdistQuantMetric metric = vdist_metric_quant(sample->metric);
	int			dim = sample->dim;
	int			n = Min(sample->n, TRIAL_ROWS);
	VdistQuant	quant;
	char	   *codes;
	float	   *exact = palloc(sizeof(float) * n);
	float	   *estimate = palloc(sizeof(float) * n);
	float	   *sorted = palloc(sizeof(float) * n);
	float	   *scratch = palloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
	VdistQuantQuery *query = palloc(vdist_quant_query_size(dim));
	int			stride = sample->n / n;
	int			found = 0;
	int			queries = Min(n, TRIAL_QUERIES);

	vdist_quant_init(&quant, metric, dim, bits, mean, range);
	codes = palloc(quant.code_size * n);
	for (int i = 0; i < n; i++)
		vdist_quant_encode(&quant, sample->vectors + i * stride * (Size) dim,
						   codes + i * quant.code_size, scratch);
	for (int i = 0; i < queries; i++)
	{
		int			row = i * (n / queries);
		const float *x = sample->vectors + row * stride * (Size) dim;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
		{
			const float *y = sample->vectors + j * stride * (Size) dim;

			exact[j] = metric == VDIST_QUANT_L1 ? vdist_kernel->l1(dim, x, y) :
				metric == VDIST_QUANT_IP ? -vdist_kernel->inner_product(dim, x, y) :
				vdist_kernel->l2_squared(dim, x, y);
		}
		vdist_quant_query(&quant, x, query, scratch);
		vdist_quant_estimate(query, codes, quant.code_size, n, estimate);

		/* a row is no neighbor of itself */
		exact[row] = estimate[row] = INFINITY;
		found += count_found(n, exact, estimate, sorted);
	}
	pfree(codes);
	return (double) found / (queries * TRIAL_K);
}

/*
 * The length that rows have which answer searches for the largest inner product: the median over the
 * TRIAL_K nearest of some rows.
 */
static float
answer_norm(const Sample *sample)
{
	int			dim = sample->dim;
	int			n = Min(sample->n, TRIAL_ROWS);
	int			k = Min(TRIAL_K, n - 1);
	int			queries = Min(n, TRIAL_QUERIES);
	int			stride = sample->n / Max(n, 1);
	float	   *distance = palloc(sizeof(float) * Max(n, 1));
	float	   *sorted = palloc(sizeof(float) * Max(n, 1));
	float	   *norm2 = palloc(sizeof(float) * Max(n * queries, 1));
	int			found = 0;

	for (int i = 0; i < queries && k > 0; i++)
	{
		int			row = i * (n / queries);
		const float *x = sample->vectors + row * stride * (Size) dim;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
			distance[j] = -vdist_kernel->inner_product(dim, x, sample->vectors +
													   j * stride * (Size) dim);
		distance[row] = INFINITY;
		memcpy(sorted, distance, sizeof(float) * n);
		qsort(sorted, n, sizeof(float), compare_floats);
		for (int j = 0; j < n; j++)
		{
			const float *y = sample->vectors + j * stride * (Size) dim;

			if (j != row && distance[j] <= sorted[k - 1])
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

/* What the graph of an index for inner products is built from (hnsw_lift), and where its centre is. */
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
 * From the sample all of *result, which the caller has filled with what holds without; bits only if they
 * are 0.
 */
static void
decide(Sample *sample, HnswSample *result)
{
	VdistMetric metric = sample->metric;
	double	   *sum = palloc0(sizeof(double) * sample->dim);
	double		deviation = 0;
	int			dim;

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

	/*
	 * A sample says little of few dimensions: a table has many more rows, and they are nearer to
	 * each other than the steps of short codes. Long codes are no larger there than short ones
	 * elsewhere.
	 */
	if (result->bits == 0 && dim <= LONG_CODE_DIMS)
		result->bits = 8;
	/* of a projection, what more bits keep is less than what the projection lost */
	if (result->bits == 0 && sample->source->projected)
		result->bits = 1;
	if (result->bits == 0 && sample->n < 10 * TRIAL_K)
		result->bits = dim < 768 || metric == VDIST_METRIC_L1 ? 2 : 1;
	for (int try = metric == VDIST_METRIC_L1 ? 2 : 1; result->bits == 0; try *= 2)
	{
		double		found = try == 4 ? 1 : try_bits(sample, result->mean, result->range, try);

		elog(DEBUG1, "codes of %d bits find %.3f of the nearest rows", try, found);
		if (found >= (try == 1 ? ENOUGH_RECALL_1 : ENOUGH_RECALL_2))
			result->bits = try;
	}
}

/* From n prepared vectors. */
void
hnsw_sample_vectors(const VdistIndexMetric *source, int n, float *vectors, HnswSample *result)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw sample",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Sample		sample = {source, source->code_metric, source->code_dim, n, n};

	sample.vectors = vectors;
	decide(&sample, result);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * From a sample of the table. False when that is the whole of it and too little to make a graph of
 * (flat.c).
 */
bool
hnsw_sample(Relation heap, Relation index, IndexInfo *info, const VdistIndexMetric *source,
			HnswSample *result)
{
	int			dim = source->code_dim;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw sample",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Sample		sample = {source, source->code_metric, dim};
	bool		enough;
	Size		bytes = Min(SAMPLE_BYTES, maintenance_work_mem * (Size) 1024 / 2);

	sample.size = Min(SAMPLE_ROWS, Max(bytes / sizeof(float) / dim, 256));
	sample.vectors = palloc(sizeof(float) * dim * (Size) sample.size);
	sample.row_context = AllocSetContextCreate(context, "vdist_hnsw sample row",
											   ALLOCSET_DEFAULT_SIZES);
	if (RelationGetNumberOfBlocks(heap) > 0)
		take_sample(heap, index, info, &sample);
	enough = sample.n >= Min(hnsw_flat_limit(dim), sample.size) ||
		RelationGetNumberOfBlocks(heap) > SAMPLE_BLOCKS;
	if (enough)
		decide(&sample, result);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return enough;
}
