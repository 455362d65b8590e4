/*
 * build.c: CREATE INDEX: read the table, build the graph, write the pages. Calls the graph core in
 * quant/ and layout.c; called by core through handler.c.
 */
#include "compat.h"

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

typedef struct Build
{
	Relation	heap;
	Relation	index;
	IndexInfo  *info;
	HnswMeta	meta;
	MemoryContext row_context;
	int64		n;
	int64		size;
	float	   *vectors;		/* as given */
	ItemPointerData *tids;
} Build;

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	Build	   *build = arg;
	int			dim = build->meta.dim;
	MemoryContext old;
	Vector	   *v;

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(build->row_context);
	v = DatumGetVector(values[0]);
	if (v->dim != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", dim, v->dim)));
	if (build->n == build->size)
	{
		build->size *= 2;
		build->vectors = repalloc_huge(build->vectors, sizeof(float) * dim * build->size);
		build->tids = repalloc_huge(build->tids, sizeof(ItemPointerData) * build->size);
	}
	memcpy(build->vectors + build->n * dim, v->x, sizeof(float) * dim);
	build->tids[build->n++] = *tid;
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->row_context);
}

/* Append a page to a fork and log it. */
static void
append_page(Relation index, ForkNumber fork, HnswPageKind kind, const void *content, Size size)
{
	Buffer		buffer;
	Page		page;

	LockRelationForExtension(index, ExclusiveLock);
	buffer = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);
	UnlockRelationForExtension(index, ExclusiveLock);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	START_CRIT_SECTION();
	page = BufferGetPage(buffer);
	hnsw_page_init(page, kind);
	memcpy((char *) page + HNSW_PAGE_START, content, size);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(index) || fork == INIT_FORKNUM)
		log_newpage_buffer(buffer, false);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* The first pages: what is known of the index before its first row. */
static void
write_head(Relation index, ForkNumber fork, HnswMeta *meta, const float *mean)
{
	Size		size = sizeof(float) * meta->dim;

	meta->crc = hnsw_meta_crc(meta);
	append_page(index, fork, HNSW_PAGE_META, meta, sizeof(*meta));
	for (Size done = 0; done < size; done += HNSW_PAGE_ROOM)
		append_page(index, fork, HNSW_PAGE_MEAN, (const char *) mean + done,
					Min(size - done, HNSW_PAGE_ROOM));
}

/* Bits for an index of which no row is known yet. */
static int
default_bits(VdistMetric metric, int dim)
{
	if (metric == VDIST_METRIC_L1)
		return 4;
	return dim <= 112 ? 4 : dim <= 512 ? 2 : 1;
}

static void
init_meta(Relation index, HnswMeta *meta)
{
	HnswOptions *options = (HnswOptions *) index->rd_options;
	int			m = options ? options->m : HNSW_DEFAULT_M;
	int			ef = options ? options->ef_construction : HNSW_DEFAULT_EF_CONSTRUCTION;
	int			bits = options ? options->quantization : 0;
	VdistMetric metric = vdist_index_metric(index);
	int			dim = vdist_index_dim(index);

	if (ef < 2 * m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	hnsw_layout(meta, metric, dim, m, ef, bits ? bits : default_bits(metric, dim));
}

void
hnsw_build_empty(Relation index)
{
	HnswMeta	meta;
	float	   *mean;

	init_meta(index, &meta);
	mean = palloc0(sizeof(float) * meta.dim);
	write_head(index, INIT_FORKNUM, &meta, mean);
	pfree(mean);
}

IndexBuildResult *
hnsw_build(Relation heap, Relation index, IndexInfo *info)
{
	Build		build = {0};
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	float	   *mean;
	int			dim;
	Vector	   *v;
	bool		isnull = false;
	float	   *prepared;
	double	   *sum;

	build.heap = heap;
	build.index = index;
	build.info = info;
	init_meta(index, &build.meta);
	dim = build.meta.dim;
	build.row_context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw build row",
											  ALLOCSET_DEFAULT_SIZES);
	build.size = 1024;
	build.vectors = palloc(sizeof(float) * dim * build.size);
	build.tids = palloc(sizeof(ItemPointerData) * build.size);
	result->heap_tuples = table_index_build_scan(heap, index, info, true, true, add_row, &build,
												 NULL);
	mean = palloc0(sizeof(float) * dim);
	prepared = palloc(sizeof(float) * dim);
	sum = palloc0(sizeof(double) * dim);
	for (int64 i = 0; i < build.n; i++)
	{
		vdist_metric_prepare((VdistMetric) build.meta.metric, dim, build.vectors + i * dim,
							 prepared);
		for (int j = 0; j < dim; j++)
			sum[j] += prepared[j];
	}
	for (int j = 0; j < dim && build.n > 0; j++)
		mean[j] = sum[j] / build.n;
	write_head(index, MAIN_FORKNUM, &build.meta, mean);
	v = vector_make(dim);
	for (int64 i = 0; i < build.n; i++)
	{
		Datum		value = PointerGetDatum(v);

		CHECK_FOR_INTERRUPTS();
		memcpy(v->x, build.vectors + i * dim, sizeof(float) * dim);
		hnsw_insert(index, &value, &isnull, &build.tids[i], heap, UNIQUE_CHECK_NO, false, info);
	}
	info->ii_AmCache = NULL;
	result->index_tuples = build.n;
	return result;
}
