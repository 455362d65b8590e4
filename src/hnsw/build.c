/*
 * build.c: CREATE INDEX: look at a sample, read the table, build the graph, write the pages. Calls the
 * graph core in quant/, sample.c, equal.c, spool.c and pages.c; called by core through handler.c.
 *
 * The table is read and all of PostgreSQL is called by the backend alone; threads encode vectors, and
 * build the graph.
 */
#include "compat.h"

#include <unistd.h>

#include "access/tableam.h"
#include "commands/progress.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "hnsw/build.h"

/* Bytes of a batch of rows that are encoded together, and its rows at most. */
#define BATCH_BYTES ((Size) 4 * 1024 * 1024)
#define BATCH_ROWS 4096

/* The share of the memory that a batch takes at most. */
#define BATCH_SHARE 8

/* ---- options ---- */

/* Components of what the graph is built from. */
static int
graph_dim(VdistMetric metric, int dim)
{
	return metric == VDIST_METRIC_IP ? dim + 1 : dim;
}

/* Sizes from the options and, where they leave it open, from a sample of the table. */
static void
init_meta(Relation heap, Relation index, IndexInfo *info, VdistIndexMetric *metric,
		  HnswMeta *meta, HnswSample *sample)
{
	HnswOptions *options = (HnswOptions *) index->rd_options;
	int			m = options ? options->m : HNSW_DEFAULT_M;
	int			ef = options ? options->ef_construction : HNSW_DEFAULT_EF_CONSTRUCTION;

	if (ef < 2 * m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	vdist_index_metric(index, metric);
	sample->mean = palloc0(sizeof(float) * metric->code_dim);
	sample->centre = palloc0(sizeof(float) * graph_dim(metric->code_metric, metric->code_dim));
	sample->range = 1.0f;
	sample->bits = options ? options->quantization : 0;
	hnsw_sample(heap, index, info, metric, sample);
	hnsw_layout(meta, metric->code_metric, metric->code_dim, m, ef, sample->bits);
	meta->range = sample->range;
}

void
hnsw_build_empty(Relation index)
{
	VdistIndexMetric metric;
	HnswMeta	meta;
	HnswSample	sample;

	init_meta(NULL, index, NULL, &metric, &meta, &sample);
	hnsw_write_head(index, INIT_FORKNUM, &meta, sample.mean);
}

/* Turn what the graph core returns into errors. */
void
hnsw_build_check(HnswBuild *build, VdistGraphStatus status)
{
	switch (status)
	{
		case VDIST_GRAPH_OK:
			return;
		case VDIST_GRAPH_CANCELLED:
			CHECK_FOR_INTERRUPTS();
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("canceling index build")));
			break;
		case VDIST_GRAPH_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
			break;
		case VDIST_GRAPH_IO_ERROR:
			if (build->error != NULL)
				ReThrowError(build->error);
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not access temporary file: %m")));
	}
}

/* ---- reading the table ---- */

static void
begin_batch(HnswBuild *build)
{
	HnswBuildBatch *batch = &build->batch;
	int			dim = build->meta.dim;
	Size		row = sizeof(float) * dim + sizeof(ItemPointerData) + build->row_size +
	build->record_size;

	batch->size = Min(Max(Min(BATCH_BYTES, build->memory / BATCH_SHARE) / row, 1), BATCH_ROWS);
	batch->x = palloc(sizeof(float) * dim * (Size) batch->size);
	batch->tids = palloc(sizeof(ItemPointerData) * batch->size);
	batch->rows = palloc(build->row_size * batch->size);
	batch->records = palloc(build->record_size * batch->size);
	build->scratch_size = VDIST_QUANT_SCRATCH(dim) + dim + build->graph_dim;
	batch->scratch = palloc(sizeof(float) * build->scratch_size * build->threads);
}

static void
end_batch(HnswBuild *build)
{
	HnswBuildBatch *batch = &build->batch;

	pfree(batch->x);
	pfree(batch->tids);
	pfree(batch->rows);
	pfree(batch->records);
	pfree(batch->scratch);
}

/* In a thread: all that is made of a vector alone. */
static bool
encode_rows(void *arg, int thread, uint64_t from, uint64_t to)
{
	HnswBuild  *build = arg;
	HnswBuildBatch *batch = &build->batch;
	int			dim = build->meta.dim;
	float	   *prepared = batch->scratch + thread * build->scratch_size;
	float	   *lifted = prepared + dim;
	float	   *scratch = lifted + build->graph_dim;

	for (uint64_t i = from; i < to; i++)
	{
		const float *x = batch->x + i * dim;
		HnswBuildRow *row = (HnswBuildRow *) (batch->rows + i * build->row_size);

		if (!build->metric.projected)
			row->hash = vdist_index_hash_floats(dim, x);
		row->tid = batch->tids[i];
		row->unordered = !vdist_metric_prepare((VdistMetric) build->meta.metric, dim, x, prepared);
		vdist_quant_encode(&build->own, prepared, row->own, scratch);
		if (build->graph_dim > dim)
			hnsw_lift(build->meta.range, dim, prepared, lifted);
		vdist_graph_encode(build->graph, build->graph_dim > dim ? lifted : prepared,
						   batch->records + i * build->record_size, scratch);
	}
	return true;
}

/* Encode what was collected and add it, in the order of the table. */
static void
add_batch(HnswBuild *build)
{
	HnswBuildBatch *batch = &build->batch;

	vdist_team_run(build->threads, batch->n, 16, encode_rows, build);
	for (int i = 0; i < batch->n; i++)
	{
		const HnswBuildRow *row = (HnswBuildRow *) (batch->rows + i * build->row_size);
		uint32		equal;

		if (build->n >= HNSW_NO_ROW / 2 || build->nduplicates >= PG_UINT32_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("index \"%s\" has reached its maximum of %u rows",
							RelationGetRelationName(build->index), HNSW_NO_ROW / 2)));
		equal = hnsw_equal_find(build, row->hash, row->own, build->n);
		if (equal != HNSW_NO_ROW)
		{
			HnswBuildDuplicate duplicate = {equal, row->tid};

			hnsw_spool_add(build->duplicates, &duplicate);
			build->nduplicates++;
			continue;
		}
		hnsw_spool_add(build->rows, row);
		build->n++;
		hnsw_build_check(build, vdist_graph_add(build->graph,
												batch->records + i * build->record_size));
	}
	batch->n = 0;
}

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	HnswBuild  *build = arg;
	HnswBuildBatch *batch = &build->batch;
	MemoryContext old;
	struct varlena *value;
	int			dim;
	Vector	   *v;

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(build->row_context);
	value = vdist_detoast(values[0]);
	dim = vdist_value_dim(build->metric.type, value);
	if (dim != build->metric.dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", build->metric.dim, dim)));
	v = vdist_index_vector(&build->metric, value);
	memcpy(batch->x + batch->n * (Size) v->dim, v->x, sizeof(float) * v->dim);

	/* that of a projection's value, which the threads do not have */
	if (build->metric.projected)
		((HnswBuildRow *) (batch->rows + batch->n * build->row_size))->hash =
			vdist_index_hash(&build->metric, value, v);
	batch->tids[batch->n++] = *tid;
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
	if (batch->n == batch->size)
		add_batch(build);
	build->heap_rows++;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, build->heap_rows);
}

/* ---- the graph ---- */

static bool
interrupted(void *arg)
{
	return QueryCancelPending || ProcDiePending;
}

static void
progress(void *arg, uint64_t done, uint64_t total)
{
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, total);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, done);
}

/*
 * Make a temporary file of the graph so many bytes long. PostgreSQL counts them towards temp_file_limit,
 * and removes the file whatever happens; threads use a descriptor of their own, since the one behind
 * a File may be closed to open another. Errors are kept until the graph core has come to its end.
 */
static int
graph_file(void *arg, int which, uint64_t size)
{
	HnswBuild  *build = arg;

	PG_TRY();
	{
		char		zero = 0;

		if (build->files[which] == 0)
		{
			PrepareTempTablespaces();
			build->files[which] = OpenTemporaryFile(false);
			ReserveExternalFD();
			build->descriptors[which] = dup(FileGetRawDesc(build->files[which]));
			if (build->descriptors[which] < 0)
			{
				ReleaseExternalFD();
				ereport(ERROR,
						(errcode_for_file_access(),
						 errmsg("could not duplicate the descriptor of a temporary file: %m")));
			}
		}
		errno = 0;
		if (FileWrite(build->files[which], &zero, 1, size - 1, WAIT_EVENT_BUFFILE_WRITE) != 1)
		{
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write to file \"%s\": %m",
							FilePathName(build->files[which]))));
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(build->context);
		build->error = CopyErrorData();
		FlushErrorState();
		return -1;
	}
	PG_END_TRY();
	return build->descriptors[which];
}

/* What the graph core holds is not PostgreSQL's: free it also when an error ends the build. */
static void
free_graph(void *arg)
{
	HnswBuild  *build = arg;

	if (build->graph != NULL)
		vdist_graph_free(build->graph);
	for (int i = 0; i < 2; i++)
	{
		if (build->descriptors[i] >= 0)
		{
			close(build->descriptors[i]);
			ReleaseExternalFD();
		}
	}
}

static int
build_threads(Relation heap)
{
	int			workers = RelationGetParallelWorkers(heap, -1);

	/* so it is, too, where the table has other options than this one */
	if (workers < 0)
		workers = max_parallel_maintenance_workers;
	return Min(workers, max_parallel_maintenance_workers) + 1;
}

/*
 * Share maintenance_work_mem between the rows here and in the graph core: what does not fit goes to
 * files in both at about the same time.
 */
static void
create_graph(HnswBuild *build)
{
	const HnswMeta *meta = &build->meta;
	VdistGraphParams params = {0};
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	double		graph = meta->dim + 14 * meta->slots + 30;
	double		share = graph / (graph + build->row_size);
	Size		cache = Min(build->memory / 32, 256 * 1024);

	build->descriptors[0] = build->descriptors[1] = -1;
	callback->func = free_graph;
	callback->arg = build;
	MemoryContextRegisterResetCallback(build->context, callback);

	params.metric = meta->metric == VDIST_METRIC_L1 ? VDIST_QUANT_L1 : VDIST_QUANT_L2;
	params.dim = build->graph_dim;
	params.slots = meta->slots;
	params.ef_construction = meta->ef_construction;
	params.threads = build->threads;
	params.budget = build->memory * share;
	params.mean = build->centre;
	params.range = meta->range;
	params.file = graph_file;
	params.interrupted = interrupted;
	params.progress = progress;
	params.arg = build;
	build->graph = vdist_graph_create(&params);
	if (build->graph == NULL)
		hnsw_build_check(build, VDIST_GRAPH_NO_MEMORY);
	build->record_size = vdist_graph_record_size(build->graph);
	build->rows = hnsw_spool_begin(build->row_size, build->memory * (1 - share), cache);
	build->duplicates = hnsw_spool_begin(sizeof(HnswBuildDuplicate), build->memory / 16, cache);
}

IndexBuildResult *
hnsw_build(Relation heap, Relation index, IndexInfo *info)
{
	HnswBuild  *build = palloc0(sizeof(HnswBuild));
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	HnswMeta   *meta = &build->meta;
	HnswSample	sample;
	MemoryContext old;
	VdistQuantMetric metric;

	build->context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw build",
										   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(build->context);
	build->heap = heap;
	build->index = index;
	build->memory = maintenance_work_mem * (Size) 1024;
	build->threads = build_threads(heap);
	build->row_context = AllocSetContextCreate(build->context, "vdist_hnsw build row",
											   ALLOCSET_DEFAULT_SIZES);
	init_meta(heap, index, info, &build->metric, meta, &sample);
	build->mean = sample.mean;
	build->centre = sample.centre;
	build->graph_dim = graph_dim((VdistMetric) meta->metric, meta->dim);
	metric = vdist_metric_quant((VdistMetric) meta->metric);
	vdist_quant_init(&build->own, metric, meta->dim, meta->own_bits, build->mean, meta->range);
	vdist_quant_init(&build->code, metric, meta->dim, meta->code_bits, build->mean, meta->range);
	build->row_size = TYPEALIGN(sizeof(uint32), offsetof(HnswBuildRow, own) + meta->own_size);
	create_graph(build);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_READ);
	begin_batch(build);
	hnsw_equal_begin(build);
	result->heap_tuples = table_index_build_scan(heap, index, info, true, true, add_row, build,
												 NULL);
	add_batch(build);
	hnsw_equal_end(build);
	end_batch(build);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_GRAPH);
	hnsw_build_check(build, vdist_graph_build(build->graph, build->memory));

	hnsw_write_pages(build);
	hnsw_spool_end(build->rows);
	hnsw_spool_end(build->duplicates);
	if (build->codes != NULL)
		hnsw_spool_end(build->codes);
	for (int i = 0; i < 2; i++)
		if (build->files[i] != 0)
			FileClose(build->files[i]);

	result->index_tuples = build->heap_rows;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(build->context);
	pfree(build);
	return result;
}
