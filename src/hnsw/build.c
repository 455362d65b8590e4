/*
 * build.c: CREATE INDEX: look at a sample, read the table, build the graph, write the pages. Calls
 * the graph core in quant/, sample.c, equal.c, spool.c and pages.c; called by core through
 * handler.c.
 *
 * The table is read and all of PostgreSQL is called by the backend alone; threads encode vectors,
 * and build the graph.
 */
#include "compat.h"

#include <unistd.h>

#include "access/tableam.h"
#include "commands/progress.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "storage/lmgr.h"
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

static HnswOptions
get_options(Relation index)
{
	HnswOptions options = {0, HNSW_DEFAULT_M, HNSW_DEFAULT_EF_CONSTRUCTION, 0};

	if (index->rd_options != NULL)
		options = *(HnswOptions *) index->rd_options;
	if (options.ef_construction < 2 * options.m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	return options;
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

/* What holds before there is a sample. */
static void
init_sample(const VdistIndexMetric *metric, const HnswOptions *options, HnswSample *sample)
{
	sample->mean = palloc0(sizeof(float) * metric->code_dim);
	sample->centre = palloc0(sizeof(float) * graph_dim(metric->code_metric, metric->code_dim));
	sample->range = 1.0f;
	sample->metric = metric->code_metric;
	sample->bits = options->quantization;
	sample->most_bits = hnsw_most_bits(metric, options->m);
	sample->coded = hnsw_short_code(metric, options->m);
	sample->dim = metric->code_dim;
	sample->wide = false;
	sample->ncentres = 0;
	sample->ef_factor = 1;
	sample->centres = NULL;
}

/* Sizes from the options and from a sample of the table, or those of a flat index. */
static void
init_meta(Relation heap, Relation index, IndexInfo *info, VdistIndexMetric *metric,
		  HnswMeta *meta, HnswSample *sample)
{
	HnswOptions options = get_options(index);

	vdist_index_metric(index, metric);
	init_sample(metric, &options, sample);
	if (heap == NULL || !hnsw_sample(heap, index, info, metric, build_threads(heap), sample))
	{
		hnsw_layout_flat(meta, metric, options.m, options.ef_construction);
		return;
	}
	metric->code_metric = sample->metric;
	metric->code_dim = sample->dim;
	hnsw_layout(meta, metric, options.m, options.ef_construction, sample->bits,
				sample->coded, sample->ncentres);
	meta->range = sample->range;
	meta->ef_factor *= sample->ef_factor;
}

void
hnsw_build_empty(Relation index)
{
	VdistIndexMetric metric;
	HnswMeta	meta;
	HnswSample	sample;

	init_meta(NULL, index, NULL, &metric, &meta, &sample);
	hnsw_write_flat(index, INIT_FORKNUM, &meta);
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
	build->scratch_size = HNSW_SCRATCH(dim) + dim + build->graph_dim;
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
		hnsw_encode(&build->coding, prepared, row->own, scratch);
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
add_vector(HnswBuild *build, const float *x, uint32 hash, ItemPointer tid)
{
	HnswBuildBatch *batch = &build->batch;
	int			dim = build->meta.dim;

	memcpy(batch->x + batch->n * (Size) dim, x, sizeof(float) * dim);

	/* that of a projection's value, which the threads do not have */
	if (build->metric.projected)
		((HnswBuildRow *) (batch->rows + batch->n * build->row_size))->hash = hash;
	batch->tids[batch->n++] = *tid;
	if (batch->n == batch->size)
		add_batch(build);
	build->heap_rows++;
}

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	HnswBuild  *build = arg;
	MemoryContext old;
	struct varlena *value;
	uint32		hash = 0;
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
	if (build->metric.projected)
		hash = vdist_index_hash(&build->metric, value, v);
	MemoryContextSwitchTo(old);
	add_vector(build, v->x, hash, tid);
	MemoryContextReset(build->row_context);
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
 * Make a temporary file of the graph so many bytes long. PostgreSQL counts them towards
 * temp_file_limit, and removes the file whatever happens; threads use a descriptor of their own,
 * since the one behind a File may be closed to open another. Errors are kept until the graph core
 * has come to its end.
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

/*
 * Share maintenance_work_mem between the rows here and in the graph core: what does not fit goes to
 * files in both at about the same time.
 */
static void
create_graph(HnswBuild *build, bool wide)
{
	const HnswMeta *meta = &build->meta;
	VdistGraphParams params = {0};
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	double		graph = meta->dim * (wide ? sizeof(float) : 1) + 14 * meta->slots + 30;
	double		share = graph / (graph + build->row_size);
	Size		cache = Min(build->memory / 32, 256 * 1024);

	build->descriptors[0] = build->descriptors[1] = -1;
	callback->func = free_graph;
	callback->arg = build;
	MemoryContextRegisterResetCallback(build->context, callback);

	params.metric = meta->metric == VDIST_METRIC_L1 ? VDIST_QUANT_L1 : VDIST_QUANT_L2;
	params.dim = build->graph_dim;
	params.slots = meta->slots;
	params.entries = hnsw_graph_entries(hnsw_routing_limit(meta));
	params.ef_construction = meta->ef_construction;
	params.threads = build->threads;
	params.budget = build->memory * share;
	params.mean = build->centre;
	params.range = meta->range;
	params.wide = wide;
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

/* What is built and with what; the caller gives meta, metric and sample. */
static HnswBuild *
begin_build(Relation heap, Relation index)
{
	HnswBuild  *build = palloc0(sizeof(HnswBuild));

	build->context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw build",
										   ALLOCSET_DEFAULT_SIZES);
	build->heap = heap;
	build->index = index;
	build->memory = maintenance_work_mem * (Size) 1024;
	build->threads = heap != NULL ? build_threads(heap) : 1;
	build->row_context = AllocSetContextCreate(build->context, "vdist_hnsw build row",
											   ALLOCSET_DEFAULT_SIZES);
	return build;
}

/* Get ready for add_vector; end_rows makes the graph of what was added. */
static void
begin_rows(HnswBuild *build, const HnswSample *sample)
{
	HnswMeta   *meta = &build->meta;

	build->mean = sample->mean;
	build->centres = sample->centres;
	build->centre = sample->centre;
	meta->mean_block = hnsw_mean_fits(meta, build->mean) ? InvalidBlockNumber : 0;
	build->graph_dim = graph_dim((VdistMetric) meta->metric, meta->dim);
	hnsw_codes_init(&build->coding, meta, build->mean, build->centres);
	build->row_size = TYPEALIGN(sizeof(uint32), offsetof(HnswBuildRow, own) + meta->own_size);
	create_graph(build, sample->wide);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_READ);
	begin_batch(build);
	hnsw_equal_begin(build);
}

static void
end_rows(HnswBuild *build)
{
	Size		spools;

	add_batch(build);
	hnsw_equal_end(build);
	end_batch(build);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_GRAPH);
	spools = hnsw_spool_memory(build->rows) + hnsw_spool_memory(build->duplicates);
	hnsw_build_check(build, vdist_graph_build(build->graph, build->memory - spools));
}

static void
end_build(HnswBuild *build)
{
	if (build->rows != NULL)
		hnsw_spool_end(build->rows);
	if (build->duplicates != NULL)
		hnsw_spool_end(build->duplicates);
	if (build->codes != NULL)
		hnsw_spool_end(build->codes);
	for (int i = 0; i < 2; i++)
		if (build->files[i] != 0)
			FileClose(build->files[i]);
	MemoryContextDelete(build->context);
	pfree(build);
}

/* ---- an index that begins flat ---- */

static void
add_flat_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	HnswBuild  *build = arg;
	MemoryContext old;

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(build->row_context);
	hnsw_make_image(build->flat, values[0], tid);
	hnsw_flat_insert(build->flat, tid, true);
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
	build->heap_rows++;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, build->heap_rows);
}

/* The rows of a flat index. */
typedef struct Rows
{
	int			dim;
	int			n;
	int			size;
	float	   *x;
	uint32	   *hashes;
	int			ntids;
	ItemPointerData *tids;
	int		   *owners;			/* the row of each TID */
} Rows;

static void
collect_row(void *arg, uint32 number, const HnswRow *row)
{
	Rows	   *rows = arg;
	HnswMeta	meta = {.slots = 0};

	if (rows->n == rows->size)
	{
		rows->size *= 2;
		rows->x = repalloc_huge(rows->x, sizeof(float) * rows->dim * (Size) rows->size);
		rows->hashes = repalloc_huge(rows->hashes, sizeof(uint32) * (Size) rows->size);
		rows->tids = repalloc_huge(rows->tids, sizeof(ItemPointerData) *
								   HNSW_ROW_TIDS_INLINE * (Size) rows->size);
		rows->owners = repalloc_huge(rows->owners, sizeof(int) *
									 HNSW_ROW_TIDS_INLINE * (Size) rows->size);
	}
	memcpy(rows->x + rows->n * (Size) rows->dim, HnswRowOwn(&meta, row),
		   sizeof(float) * rows->dim);
	rows->hashes[rows->n] = row->hash;
	for (int i = 0; i < row->ntids; i++)
	{
		rows->tids[rows->ntids] = row->tids[i];
		rows->owners[rows->ntids++] = rows->n;
	}
	rows->n++;
}

/* Decide on the codes by the rows, as CREATE INDEX does by a sample. */
static void
decide(HnswBuild *build, const Rows *rows, HnswSample *sample)
{
	HnswOptions options = get_options(build->index);
	VdistIndexMetric *metric = &build->metric;
	float	   *x = MemoryContextAllocHuge(CurrentMemoryContext,
										   sizeof(float) * rows->dim * (Size) Max(rows->n, 1));
	int			n = 0;

	for (int i = 0; i < rows->n; i++)
		n += vdist_metric_prepare(metric->code_metric, rows->dim,
								  rows->x + i * (Size) rows->dim, x + n * (Size) rows->dim);
	init_sample(metric, &options, sample);
	hnsw_sample_vectors(metric, n, x, sample);
	metric->code_metric = sample->metric;
	metric->code_dim = sample->dim;
	hnsw_layout(&build->meta, metric, options.m, options.ef_construction, sample->bits,
				sample->coded, sample->ncentres);
	build->meta.range = sample->range;
	build->meta.ef_factor *= sample->ef_factor;
	pfree(x);
}

/*
 * Make the graph of a flat index's rows, unless someone else was faster. No row comes or goes
 * meanwhile: inserts and vacuum wait for LockPage. Scans do not: the pages they read stay as they
 * are until the metapage says that there is a graph, which is one WAL record. A crash before it
 * leaves pages that nothing leads to.
 */
void
hnsw_build_graph(Relation index)
{
	HnswBuild  *build = begin_build(NULL, index);
	MemoryContext old = MemoryContextSwitchTo(build->context);
	HnswMeta	flat;
	Rows		rows = {0};
	HnswSample	sample;

	/* before LockPage: it looks up catalogs */
	vdist_index_metric(index, &build->metric);
	LockPage(index, HNSW_META_BLOCK, ExclusiveLock);
	flat = hnsw_cache(index)->meta;
	if (HnswIsFlat(&flat))
	{
		rows.dim = flat.dim;
		rows.size = hnsw_flat_limit(flat.dim) + flat.rows_per_page;
		rows.x = palloc_extended(sizeof(float) * rows.dim * (Size) rows.size, MCXT_ALLOC_HUGE);
		rows.hashes = palloc(sizeof(uint32) * rows.size);
		rows.tids = palloc(sizeof(ItemPointerData) * HNSW_ROW_TIDS_INLINE * rows.size);
		rows.owners = palloc(sizeof(int) * HNSW_ROW_TIDS_INLINE * rows.size);
		hnsw_flat_each(index, &flat, collect_row, &rows);
		decide(build, &rows, &sample);
		begin_rows(build, &sample);
		if (build->metric.projected)
			for (int i = 0; i < rows.n; i++)
				vdist_project_fold(rows.x + i * (Size) rows.dim, build->meta.dim);
		for (int i = 0; i < rows.ntids; i++)
			add_vector(build, rows.x + rows.owners[i] * (Size) rows.dim,
					   rows.hashes[rows.owners[i]], &rows.tids[i]);
		end_rows(build);
		hnsw_replace_pages(build, &flat);
	}
	UnlockPage(index, HNSW_META_BLOCK, ExclusiveLock);
	MemoryContextSwitchTo(old);
	end_build(build);
}

/* ---- CREATE INDEX ---- */

IndexBuildResult *
hnsw_build(Relation heap, Relation index, IndexInfo *info)
{
	HnswBuild  *build = begin_build(heap, index);
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	MemoryContext old = MemoryContextSwitchTo(build->context);
	HnswSample	sample;

	init_meta(heap, index, info, &build->metric, &build->meta, &sample);
	if (HnswIsFlat(&build->meta))
	{
		hnsw_write_flat(index, MAIN_FORKNUM, &build->meta);
		build->flat = hnsw_insert_begin(index, 1);
		result->heap_tuples = table_index_build_scan(heap, index, info, true, true,
													 add_flat_row, build, NULL);
	}
	else
	{
		begin_rows(build, &sample);
		result->heap_tuples = table_index_build_scan(heap, index, info, true, true, add_row,
													 build, NULL);
		end_rows(build);
		hnsw_write_pages(build);
	}
	result->index_tuples = build->heap_rows;
	MemoryContextSwitchTo(old);
	end_build(build);
	return result;
}
