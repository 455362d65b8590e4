/*
 * build.c: CREATE INDEX: look at a sample, read the table, build the graph, write the pages. Calls the
 * graph core in quant/, sample.c and layout.c; called by core through handler.c.
 *
 * The index is written without WAL and logged as a whole at the end: until the transaction commits,
 * nobody else sees it.
 */
#include "compat.h"

#include <unistd.h>

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/* What Build holds for a row besides its codes: hash, TID, flag, entries of the hash table. */
#define ROW_BYTES 24

/* A heap row whose vector equals that of an earlier one. */
typedef struct Duplicate
{
	uint32		row;
	ItemPointerData tid;
} Duplicate;

typedef struct Build
{
	Relation	heap;
	Relation	index;
	HnswMeta	meta;
	VdistQuant	own;
	VdistQuant	code;
	float	   *mean;
	float	   *x;
	float	   *scratch;
	VdistGraph *graph;
	int			files[2];		/* temporary files of the graph */
	MemoryContext row_context;

	/* by row, in the order of the table */
	int64		n;
	int64		size;
	char	   *own_codes;
	uint32	   *hashes;
	ItemPointerData *tids;
	bool	   *unordered;

	uint32	   *table;			/* open addressing by hash: row + 1 */
	int64		table_size;
	Duplicate  *duplicates;
	int64		nduplicates;
	int64		duplicates_size;

	/* writing */
	char	   *codes;			/* every row's code as a neighbor */
	uint32		first;			/* number of the first row */
	uint32		next_tids;		/* number of the next row of TIDs */
	Buffer		buffer;
	int64		heap_rows;
} Build;

/* ---- options and first pages ---- */

/* Append a page to a fork; exclusively locked, logged only where nothing else will. */
static Buffer
append_page(Relation index, ForkNumber fork, HnswPageKind kind)
{
	Buffer		buffer;

	LockRelationForExtension(index, ExclusiveLock);
	buffer = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);
	UnlockRelationForExtension(index, ExclusiveLock);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	hnsw_page_init(BufferGetPage(buffer), kind);
	return buffer;
}

static void
append_content(Relation index, ForkNumber fork, HnswPageKind kind, const void *content, Size size)
{
	Buffer		buffer = append_page(index, fork, kind);

	START_CRIT_SECTION();
	memcpy((char *) BufferGetPage(buffer) + HNSW_PAGE_START, content, size);
	MarkBufferDirty(buffer);
	if (fork == INIT_FORKNUM)
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
	append_content(index, fork, HNSW_PAGE_META, meta, sizeof(*meta));
	for (Size done = 0; done < size; done += HNSW_PAGE_ROOM)
		append_content(index, fork, HNSW_PAGE_MEAN, (const char *) mean + done,
					   Min(size - done, HNSW_PAGE_ROOM));
}

/* Sizes from the options and, where they leave it open, from a sample of the table. */
static void
init_meta(Relation heap, Relation index, IndexInfo *info, HnswMeta *meta, float **mean)
{
	HnswOptions *options = (HnswOptions *) index->rd_options;
	int			m = options ? options->m : HNSW_DEFAULT_M;
	int			ef = options ? options->ef_construction : HNSW_DEFAULT_EF_CONSTRUCTION;
	int			bits = options ? options->quantization : 0;
	VdistMetric metric = vdist_index_metric(index);
	int			dim = vdist_index_dim(index);
	float		range = 1.0f;

	if (ef < 2 * m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	*mean = palloc0(sizeof(float) * dim);
	hnsw_sample(heap, index, info, metric, dim, *mean, &range, &bits);
	hnsw_layout(meta, metric, dim, m, ef, bits);
	meta->range = range;
}

void
hnsw_build_empty(Relation index)
{
	HnswMeta	meta;
	float	   *mean;

	init_meta(NULL, index, NULL, &meta, &mean);
	write_head(index, INIT_FORKNUM, &meta, mean);
	pfree(mean);
}

/* Turn what the graph core returns into errors. */
static void
check_graph(VdistGraphStatus status)
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
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not access temporary file: %m")));
	}
}

/* ---- reading the table ---- */

static void
grow_table(Build *build)
{
	build->table_size = build->table_size ? build->table_size * 2 : 4096;
	if (build->table)
		pfree(build->table);
	build->table = MemoryContextAllocExtended(CurrentMemoryContext,
											  sizeof(uint32) * build->table_size,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int64 i = 0; i < build->n; i++)
	{
		uint64		at = build->hashes[i] & (build->table_size - 1);

		while (build->table[at] != 0)
			at = (at + 1) & (build->table_size - 1);
		build->table[at] = i + 1;
	}
}

/* The entry of an equal vector, or the free one where it belongs. */
static uint32 *
find_equal(Build *build, uint32 hash, const char *own)
{
	uint64		at = hash & (build->table_size - 1);

	for (; build->table[at] != 0; at = (at + 1) & (build->table_size - 1))
	{
		int64		row = build->table[at] - 1;

		if (build->hashes[row] == hash &&
			memcmp(build->own_codes + row * build->meta.own_size, own,
				   build->meta.own_size) == 0)
			break;
	}
	return &build->table[at];
}

static void
add_vector(Build *build, const Vector *v, ItemPointer tid)
{
	const HnswMeta *meta = &build->meta;
	uint32		hash = hnsw_hash(v);
	uint32	   *entry;
	char	   *own;
	bool		ordered = vdist_metric_prepare((VdistMetric) meta->metric, meta->dim, v->x,
											   build->x);

	if (build->n == build->size)
	{
		build->size *= 2;
		build->own_codes = repalloc_huge(build->own_codes, meta->own_size * (Size) build->size);
		build->hashes = repalloc_huge(build->hashes, sizeof(uint32) * build->size);
		build->tids = repalloc_huge(build->tids, sizeof(ItemPointerData) * build->size);
		build->unordered = repalloc_huge(build->unordered, sizeof(bool) * build->size);
	}
	if (build->n * 2 >= build->table_size)
		grow_table(build);
	if (build->n >= HNSW_NO_ROW / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" has reached its maximum of %u rows",
						RelationGetRelationName(build->index), HNSW_NO_ROW / 2)));

	own = build->own_codes + build->n * (Size) meta->own_size;
	vdist_quant_encode(&build->own, build->x, own, build->scratch);
	entry = find_equal(build, hash, own);
	if (*entry != 0)
	{
		if (build->nduplicates == build->duplicates_size)
		{
			build->duplicates_size = Max(build->duplicates_size * 2, 1024);
			build->duplicates = build->duplicates == NULL ?
				palloc(sizeof(Duplicate) * build->duplicates_size) :
				repalloc_huge(build->duplicates, sizeof(Duplicate) * build->duplicates_size);
		}
		build->duplicates[build->nduplicates].row = *entry - 1;
		build->duplicates[build->nduplicates++].tid = *tid;
		return;
	}
	*entry = build->n + 1;
	build->hashes[build->n] = hash;
	build->tids[build->n] = *tid;
	build->unordered[build->n] = !ordered;
	build->n++;
	check_graph(vdist_graph_add(build->graph, build->x));
}

static void
add_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	Build	   *build = arg;
	MemoryContext old;
	Vector	   *v;

	if (isnull[0])
		return;
	old = MemoryContextSwitchTo(build->row_context);
	v = vdist_index_vector(index, values[0]);
	if (v->dim != build->meta.dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", build->meta.dim, v->dim)));
	MemoryContextSwitchTo(old);
	add_vector(build, v, tid);
	MemoryContextReset(build->row_context);
	build->heap_rows++;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, build->heap_rows);
}

/* ---- building ---- */

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

/* What the graph core holds is not PostgreSQL's: free it also when an error ends the build. */
static void
free_graph(void *arg)
{
	Build	   *build = arg;

	if (build->graph != NULL)
		vdist_graph_free(build->graph);
	for (int i = 0; i < 2; i++)
		if (build->files[i] >= 0)
			close(build->files[i]);
}

static int
build_threads(Relation heap)
{
	int			workers = RelationGetParallelWorkers(heap, max_parallel_maintenance_workers);

	return Min(workers, max_parallel_maintenance_workers) + 1;
}

/* The graph core's share of maintenance_work_mem: what a row takes there and here. */
static size_t
graph_budget(Build *build)
{
	const HnswMeta *meta = &build->meta;
	double		graph = meta->dim + 8 * meta->slots + 150;
	double		here = meta->own_size + meta->code_size + ROW_BYTES;

	return maintenance_work_mem * (size_t) 1024 * (graph / (graph + here));
}

static void
create_graph(Build *build, MemoryContext context)
{
	VdistGraphParams params = {0};
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	build->files[0] = build->files[1] = -1;
	callback->func = free_graph;
	callback->arg = build;
	MemoryContextRegisterResetCallback(context, callback);

	for (int i = 0; i < 2; i++)
	{
		/* a descriptor of our own: the virtual one may be closed behind the threads' back */
		File		file = OpenTemporaryFile(false);

		build->files[i] = dup(FileGetRawDesc(file));
		FileClose(file);
		if (build->files[i] < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not duplicate the descriptor of a temporary file: %m")));
		params.files[i] = build->files[i];
	}
	params.metric = build->meta.metric == VDIST_METRIC_L1 ? VDIST_QUANT_L1 : VDIST_QUANT_L2;
	params.dim = build->meta.dim;
	params.slots = build->meta.slots;
	params.ef_construction = build->meta.ef_construction;
	params.threads = build_threads(build->heap);
	params.budget = graph_budget(build);
	params.mean = build->mean;
	params.range = build->meta.range;
	params.interrupted = interrupted;
	params.progress = progress;
	build->graph = vdist_graph_create(&params);
	if (build->graph == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
}

/* ---- writing ---- */

/* Append a row's bytes to the pages; rows come in the order of their numbers. */
static void
put_row(Build *build, uint32 number, const HnswRow *image)
{
	const HnswMeta *meta = &build->meta;
	Size		offset = HnswRowOffset(meta, number);
	Size		part = Min(meta->row_size, HNSW_PAGE_ROOM);
	Page		page;

	if (number % meta->rows_per_page == 0)
	{
		if (BufferIsValid(build->buffer))
			UnlockReleaseBuffer(build->buffer);
		CHECK_FOR_INTERRUPTS();
		build->buffer = append_page(build->index, MAIN_FORKNUM, HNSW_PAGE_GRAPH);
		if (BufferGetBlockNumber(build->buffer) != HnswRowBlock(meta, number))
			elog(ERROR, "row %u got to block %u", number, BufferGetBlockNumber(build->buffer));
	}
	page = BufferGetPage(build->buffer);
	memcpy((char *) page + offset, image, part);
	((PageHeader) page)->pd_lower = offset + part;
	MarkBufferDirty(build->buffer);
	for (int i = 1; i < meta->span; i++)
		append_content(build->index, MAIN_FORKNUM, HNSW_PAGE_REST,
					   (const char *) image + i * HNSW_PAGE_ROOM,
					   Min(HNSW_PAGE_ROOM, meta->row_size - i * HNSW_PAGE_ROOM));
}

static int
compare_duplicates(const void *a, const void *b)
{
	const Duplicate *x = a;
	const Duplicate *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return ItemPointerCompare((ItemPointer) &x->tid, (ItemPointer) &y->tid);
}

/* The duplicates of a row: the first of them and how many. */
static int64
find_duplicates(Build *build, uint32 row, Duplicate **first)
{
	int64		low = 0;
	int64		high = build->nduplicates;
	int64		n = 0;

	while (low < high)
	{
		int64		middle = (low + high) / 2;

		if (build->duplicates[middle].row < row)
			low = middle + 1;
		else
			high = middle;
	}
	*first = &build->duplicates[low];
	while (low + n < build->nduplicates && build->duplicates[low + n].row == row)
		n++;
	return n;
}

static uint32
row_number(Build *build, uint32 position)
{
	return build->first + position * build->meta.span;
}

static int
tids_room(const HnswMeta *meta)
{
	return (Min(meta->row_size, HNSW_PAGE_ROOM) - offsetof(HnswTids, tids)) /
		sizeof(ItemPointerData);
}

/* Rows of TIDs that a graph row with so many duplicates needs. */
static int64
chain_length(Build *build, int64 duplicates)
{
	int64		rest = duplicates - (HNSW_ROW_TIDS_INLINE - 1);

	return rest > 0 ? (rest + tids_room(&build->meta) - 1) / tids_room(&build->meta) : 0;
}

static void
write_graph_rows(Build *build)
{
	const HnswMeta *meta = &build->meta;
	HnswRow    *image = palloc(meta->row_size);
	uint32	   *positions = palloc(sizeof(uint32) * meta->slots);
	char	   *codes;

	for (int64 p = 0; p < build->n; p++)
	{
		uint32		row = vdist_graph_row(build->graph, p);
		Duplicate  *duplicates;
		int64		nduplicates = find_duplicates(build, row, &duplicates);
		int			nkept;
		int			n;

		check_graph(vdist_graph_neighbors(build->graph, p, positions, &n, &nkept));
		memset(image, 0, meta->row_size);
		image->state = HNSW_ROW_LIVE | (build->unordered[row] ? HNSW_ROW_UNORDERED : 0);
		image->nneighbors = n;
		image->nkept = nkept;
		image->hash = build->hashes[row];
		image->tids[image->ntids++] = build->tids[row];
		for (int64 i = 0; i < nduplicates && image->ntids < HNSW_ROW_TIDS_INLINE; i++)
			image->tids[image->ntids++] = duplicates[i].tid;
		image->more = HNSW_NO_ROW;
		if (chain_length(build, nduplicates) > 0)
		{
			image->more = build->next_tids;
			build->next_tids += chain_length(build, nduplicates) * meta->span;
		}
		memcpy(HnswRowOwn(meta, image), build->own_codes + row * (Size) meta->own_size,
			   meta->own_size);
		codes = HnswRowCodes(meta, image);
		for (int i = 0; i < n; i++)
		{
			image->neighbors[i] = row_number(build, positions[i]);
			memcpy(codes + i * meta->code_size,
				   build->codes + positions[i] * (Size) meta->code_size, meta->code_size);
		}
		put_row(build, row_number(build, p), image);
		if (p % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, p);
	}
	pfree(positions);
	pfree(image);
}

/* Behind the graph's rows: heap rows that do not fit into theirs, in the order they were numbered. */
static void
write_tids_rows(Build *build, uint32 number)
{
	const HnswMeta *meta = &build->meta;
	HnswTids   *image = palloc(meta->row_size);
	int			room = tids_room(meta);

	for (int64 p = 0; p < build->n && build->nduplicates > 0; p++)
	{
		Duplicate  *duplicates;
		int64		n = find_duplicates(build, vdist_graph_row(build->graph, p), &duplicates);

		for (int64 i = HNSW_ROW_TIDS_INLINE - 1; i < n; i += room)
		{
			memset(image, 0, meta->row_size);
			image->state = HNSW_ROW_TIDS;
			image->owner = row_number(build, p);
			image->more = i + room < n ? number + meta->span : HNSW_NO_ROW;
			image->count = Min(room, n - i);
			for (uint32 j = 0; j < image->count; j++)
				image->tids[j] = duplicates[i + j].tid;
			put_row(build, number, (HnswRow *) image);
			number += meta->span;
		}
	}
	if (BufferIsValid(build->buffer))
	{
		/* what is free behind the last row */
		if (number % meta->rows_per_page != 0)
			hnsw_space_found(build->index, BufferGetBlockNumber(build->buffer));
		UnlockReleaseBuffer(build->buffer);
	}
	pfree(image);
}

/* Every row's code as a neighbor, by position. */
static void
make_codes(Build *build)
{
	const HnswMeta *meta = &build->meta;

	build->codes = MemoryContextAllocHuge(CurrentMemoryContext,
										  Max(meta->code_size * (Size) build->n, 1));
	for (int64 p = 0; p < build->n; p++)
	{
		uint32		row = vdist_graph_row(build->graph, p);

		if (p % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		vdist_quant_recode(&build->own, build->own_codes + row * (Size) meta->own_size,
						   &build->code, build->codes + p * meta->code_size, build->scratch);
	}
}

static void
write_routing(Build *build)
{
	const HnswMeta *meta = &build->meta;
	const uint32_t *entries;
	int			n = vdist_graph_entries(build->graph, &entries);
	Size		entry = sizeof(uint32) + meta->code_size;
	int			room = (HNSW_PAGE_ROOM - sizeof(HnswRouting)) / entry;
	BlockNumber next = InvalidBlockNumber;
	Buffer		buffer;

	for (int first = 0; first < n; first += room)
	{
		HnswRouting *routing;
		char	   *to;

		buffer = append_page(build->index, MAIN_FORKNUM, HNSW_PAGE_ROUTING);
		routing = HnswPageRouting(BufferGetPage(buffer));
		routing->next = next;
		routing->count = Min(room, n - first);
		to = (char *) (routing + 1);
		for (uint32 i = 0; i < routing->count; i++)
		{
			uint32		number = row_number(build, entries[first + i]);

			memcpy(to, &number, sizeof(number));
			memcpy(to + sizeof(number),
				   build->codes + entries[first + i] * (Size) meta->code_size, meta->code_size);
			to += entry;
		}
		next = BufferGetBlockNumber(buffer);
		MarkBufferDirty(buffer);
		UnlockReleaseBuffer(buffer);
	}

	buffer = ReadBuffer(build->index, HNSW_META_BLOCK);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	HnswPageMeta(BufferGetPage(buffer))->routing_block = next;
	HnswPageMeta(BufferGetPage(buffer))->routing_count = n;
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
}

IndexBuildResult *
hnsw_build(Relation heap, Relation index, IndexInfo *info)
{
	Build	   *build = palloc0(sizeof(Build));
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	HnswMeta   *meta = &build->meta;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw build",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	VdistQuantMetric metric;

	build->heap = heap;
	build->index = index;
	build->row_context = AllocSetContextCreate(context, "vdist_hnsw build row",
											   ALLOCSET_DEFAULT_SIZES);
	init_meta(heap, index, info, meta, &build->mean);
	metric = vdist_metric_quant((VdistMetric) meta->metric);
	vdist_quant_init(&build->own, metric, meta->dim, meta->own_bits, build->mean, meta->range);
	vdist_quant_init(&build->code, metric, meta->dim, meta->code_bits, build->mean, meta->range);
	build->x = palloc(sizeof(float) * meta->dim);
	build->scratch = palloc(sizeof(float) * VDIST_QUANT_SCRATCH(meta->dim));
	build->size = 1024;
	build->own_codes = palloc(meta->own_size * (Size) build->size);
	build->hashes = palloc(sizeof(uint32) * build->size);
	build->tids = palloc(sizeof(ItemPointerData) * build->size);
	build->unordered = palloc(sizeof(bool) * build->size);
	grow_table(build);
	create_graph(build, context);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_READ);
	result->heap_tuples = table_index_build_scan(heap, index, info, true, true, add_row, build,
												 NULL);
	pfree(build->table);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_GRAPH);
	check_graph(vdist_graph_build(build->graph));

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_WRITE);
	write_head(index, MAIN_FORKNUM, meta, build->mean);
	make_codes(build);
	qsort(build->duplicates, build->nduplicates, sizeof(Duplicate), compare_duplicates);
	build->first = RelationGetNumberOfBlocks(index) * meta->rows_per_page;
	build->next_tids = row_number(build, build->n);
	if (build->n > 0)
	{
		write_graph_rows(build);
		write_tids_rows(build, row_number(build, build->n));
		write_routing(build);
	}
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);

	result->index_tuples = build->heap_rows;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	pfree(build);
	return result;
}
