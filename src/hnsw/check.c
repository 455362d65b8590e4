/*
 * check.c: vdist.index_info and vdist.index_check: what an index is made of, and whether it keeps the
 * rules of its format. Calls layout.c and the table; called by SQL.
 */
#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "hnsw/hnsw.h"

#define MAX_PROBLEMS 100

typedef struct IndexedTid
{
	ItemPointerData tid;
	uint32		number;
} IndexedTid;

typedef struct Check
{
	Relation	index;
	HnswMeta	meta;
	ReturnSetInfo *result;
	int			problems;

	uint8	   *state;			/* of every row number, 0xFF where there is no row */
	uint64		nrows;
	IndexedTid *tids;
	int64		ntids;
	int64		tids_size;
	HnswInsert *insert;
	HnswRead	read;
	MemoryContext row_context;
} Check;

/* Open and share-lock a vdist_hnsw index, by whatever name, whose table the user may read. */
static Relation
open_index(Oid oid)
{
	Relation	index = relation_open(oid, AccessShareLock);

	if (index->rd_rel->relkind != RELKIND_INDEX ||
		index->rd_indam->amgettuple != hnsw_get_tuple)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a vdist_hnsw index", RelationGetRelationName(index))));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary indexes of other sessions")));
	if (pg_class_aclcheck(index->rd_index->indrelid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_INDEX, RelationGetRelationName(index));
	return index;
}

static void problem(Check *check, const char *format,...) pg_attribute_printf(2, 3);

static void
problem(Check *check, const char *format,...)
{
	Datum		values[1];
	bool		nulls[1] = {false};
	char text[	256];
	va_list		args;

	if (++check->problems > MAX_PROBLEMS)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	values[0] = CStringGetTextDatum(text);
	tuplestore_putvalues(check->result->setResult, check->result->setDesc, values, nulls);
}

/* ---- index_info ---- */

PG_FUNCTION_INFO_V1(vdist_hnsw_info);
Datum
vdist_hnsw_info(PG_FUNCTION_ARGS)
{
	Relation	index = open_index(PG_GETARG_OID(0));
	HnswMeta	meta = hnsw_cache(index)->meta;
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	int64		states[4] = {0};
	int64		tids = 0;
	int64		edges = 0;
	TupleDesc	desc;
	Datum		values[14];
	bool		nulls[14] = {false};
	int			i = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (BlockNumber block = HNSW_MEAN_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(index, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page) && HnswPageSpecial(page)->kind == HNSW_PAGE_GRAPH)
			for (int slot = 0; slot < meta.rows_per_page; slot++)
			{
				HnswRow    *row = (HnswRow *) ((char *) page + HnswRowOffset(&meta, slot));

				states[HnswRowStateOf(row) & 3]++;
				if (HnswRowStateOf(row) == HNSW_ROW_TIDS)
					tids += ((HnswTids *) row)->count;
				if (HnswRowStateOf(row) != HNSW_ROW_LIVE)
					continue;
				tids += row->ntids;
				edges += row->nneighbors;
			}
		UnlockReleaseBuffer(buffer);
	}
	values[i++] = Int64GetDatum(states[HNSW_ROW_LIVE]);
	values[i++] = Int64GetDatum(tids);
	values[i++] = Int64GetDatum(states[HNSW_ROW_DEAD]);
	values[i++] = Int64GetDatum(states[HNSW_ROW_FREE]);
	values[i++] = Int64GetDatum(nblocks);
	values[i++] = Int64GetDatum((int64) nblocks * BLCKSZ);
	values[i++] = Int32GetDatum(1);
	values[i++] = Int64GetDatum(meta.routing_count);
	values[i++] = Float8GetDatum((double) edges / Max(states[HNSW_ROW_LIVE], 1));
	values[i++] = Int32GetDatum(meta.slots);
	values[i++] = Int32GetDatum(meta.row_size);
	values[i++] = Int32GetDatum(meta.rows_per_page);
	values[i++] = Int32GetDatum(meta.code_bits);
	values[i++] = Int32GetDatum(meta.own_bits);
	relation_close(index, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- index_check ---- */

static void
add_tids(Check *check, uint32 number, const ItemPointerData * tids, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (check->ntids == check->tids_size)
		{
			check->tids_size *= 2;
			check->tids = repalloc_huge(check->tids, sizeof(IndexedTid) * check->tids_size);
		}
		check->tids[check->ntids].tid = tids[i];
		check->tids[check->ntids++].number = number;
	}
}

/* Every page by itself: kinds, states, counts. */
static void
check_pages(Check *check)
{
	const HnswMeta *meta = &check->meta;
	BlockNumber nblocks = RelationGetNumberOfBlocks(check->index);
	int			room = (Min(meta->row_size, HNSW_PAGE_ROOM) - offsetof(HnswTids, tids)) /
	sizeof(ItemPointerData);

	check->nrows = (uint64) nblocks * meta->rows_per_page;
	check->state = MemoryContextAllocHuge(CurrentMemoryContext, check->nrows + 1);
	memset(check->state, 0xFF, check->nrows + 1);
	for (BlockNumber block = HNSW_MEAN_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(check->index, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (PageIsNew(page))
		{
			UnlockReleaseBuffer(buffer);
			continue;
		}
		if (PageGetSpecialSize(page) != MAXALIGN(sizeof(HnswSpecial)) ||
			HnswPageSpecial(page)->magic != HNSW_MAGIC ||
			HnswPageSpecial(page)->kind < HNSW_PAGE_MEAN ||
			HnswPageSpecial(page)->kind > HNSW_PAGE_REST)
			problem(check, "block %u is not a page of this index", block);
		else if (HnswPageSpecial(page)->kind == HNSW_PAGE_GRAPH)
			for (int slot = 0; slot < meta->rows_per_page; slot++)
			{
				HnswRow    *row = (HnswRow *) ((char *) page + HnswRowOffset(meta, slot));
				HnswTids   *tids = (HnswTids *) row;
				uint32		number = block * meta->rows_per_page + slot;

				check->state[number] = HnswRowStateOf(row);
				if (HnswRowStateOf(row) > HNSW_ROW_TIDS)
					problem(check, "row %u has unknown state %u", number, row->state);
				else if (HnswRowStateOf(row) == HNSW_ROW_TIDS && (int) tids->count > room)
					problem(check, "row %u claims %u heap rows", number, tids->count);
				else if (HnswRowStateOf(row) == HNSW_ROW_TIDS)
					add_tids(check, tids->owner, tids->tids, tids->count);
				else if (HnswRowStateOf(row) == HNSW_ROW_LIVE &&
						 (row->nneighbors > meta->slots || row->nkept > row->nneighbors ||
						  row->ntids > HNSW_ROW_TIDS_INLINE))
					problem(check, "row %u claims %u neighbors, %u kept, %u heap rows", number,
							row->nneighbors, row->nkept, row->ntids);
				else if (HnswRowStateOf(row) == HNSW_ROW_LIVE)
				{
					add_tids(check, number, row->tids, row->ntids);
					if (row->ntids == 0 && row->more == HNSW_NO_ROW)
						problem(check, "row %u is live without a heap row", number);
				}
			}
		UnlockReleaseBuffer(buffer);
	}
}

/* Edges of one row. */
static void
check_edges(Check *check, uint32 number)
{
	const HnswRow *row = hnsw_read(&check->read, check->index, &check->meta, number);

	for (int i = 0; HnswRowStateOf(row) == HNSW_ROW_LIVE && i < row->nneighbors; i++)
	{
		uint32		to = row->neighbors[i];

		if (to >= check->nrows)
		{
			/* the row may be newer than this check */
			if (HnswRowBlock(&check->meta, to) >= RelationGetNumberOfBlocks(check->index))
				problem(check, "row %u has an edge to row %u, which does not exist", number, to);
			continue;
		}
		if (to == number)
			problem(check, "row %u has an edge to itself", number);
		if (check->state[to] != HNSW_ROW_LIVE && check->state[to] != HNSW_ROW_DEAD)
			problem(check, "row %u has an edge to row %u, which is not part of the graph",
					number, to);
		for (int j = 0; j < i; j++)
			if (row->neighbors[j] == to)
			{
				problem(check, "row %u has two edges to row %u", number, to);
				break;
			}
	}
	hnsw_read_unlock(&check->read);
}

/* All edges, and whether they lead from the routing rows to every row. */
static void
check_graph(Check *check)
{
	const HnswCache *cache = hnsw_cache(check->index);
	int64		unreached = 0;
	uint32		example = 0;
	uint64		n;
	uint8	   *reached;

	for (int i = 0; i < cache->nrouting; i++)
	{
		uint32		number = cache->routing[i];

		if (number >= check->nrows || (check->state[number] != HNSW_ROW_LIVE &&
									   check->state[number] != HNSW_ROW_DEAD))
			problem(check, "row %u, where searches begin, is not part of the graph", number);
	}
	for (uint64 i = 0; i < check->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (check->state[i] == HNSW_ROW_LIVE)
			check_edges(check, i);
	}
	hnsw_read_end(&check->read);

	reached = hnsw_reach(check->index, &n);
	for (uint64 i = 0; i < Min(check->nrows, n); i++)
		if (check->state[i] == HNSW_ROW_LIVE && (reached[i / 8] & (1 << i % 8)) == 0)
		{
			unreached++;
			example = i;
		}
	if (unreached > 0)
		problem(check, "no way leads to " INT64_FORMAT " rows, one of them row %u", unreached,
				example);
}

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) &((const IndexedTid *) a)->tid,
							  (ItemPointer) &((const IndexedTid *) b)->tid);
}

static void
check_heap_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	Check	   *check = arg;
	const HnswMeta *meta = &check->meta;
	HnswInsert *insert = check->insert;
	IndexedTid	key = {*tid};
	IndexedTid *found;
	MemoryContext old;
	struct varlena *value;
	int			dim;
	const HnswRow *row;

	if (isnull[0])
		return;
	found = bsearch(&key, check->tids, check->ntids, sizeof(IndexedTid), compare_tids);
	if (found == NULL)
	{
		problem(check, "heap row (%u,%u) is not in the index",
				ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid));
		return;
	}
	old = MemoryContextSwitchTo(check->row_context);
	value = vdist_detoast(values[0]);
	dim = vdist_value_dim(insert->metric.type, value);
	if (dim == insert->metric.dim)
	{
		const Vector *v = vdist_index_vector(&insert->metric, value);
		float	   *x = palloc(sizeof(float) * meta->dim);
		char	   *own = palloc(meta->own_size);

		vdist_metric_prepare((VdistMetric) meta->metric, meta->dim, v->x, x);
		vdist_quant_encode(&insert->own, x, own, insert->search.scratch);
		row = hnsw_read(&check->read, index, meta, found->number);
		if (HnswRowStateOf(row) == HNSW_ROW_LIVE &&
			(row->hash != vdist_index_hash(&insert->metric, value, v) ||
			 memcmp(HnswRowOwn(meta, row), own, meta->own_size) != 0))
			problem(check, "heap row (%u,%u) has another vector than its row %u",
					ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
					found->number);
		hnsw_read_unlock(&check->read);
	}
	else
		problem(check, "heap row (%u,%u) has %d dimensions", ItemPointerGetBlockNumber(tid),
				ItemPointerGetOffsetNumber(tid), dim);
	MemoryContextSwitchTo(old);
	MemoryContextReset(check->row_context);
}

/* Every heap row that this transaction sees is in the index, once, under its vector. */
static void
check_heap(Check *check, Relation heap)
{
	IndexInfo  *info = BuildIndexInfo(check->index);
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, true);

	check->insert = hnsw_insert_begin(check->index);
	info->ii_Concurrent = true;
	info->ii_Unique = false;
	info->ii_ExclusionOps = NULL;
	table_index_build_scan(heap, check->index, info, true, false, check_heap_row, check, scan);
	hnsw_read_end(&check->read);
	UnregisterSnapshot(snapshot);
}

PG_FUNCTION_INFO_V1(vdist_hnsw_check);
Datum
vdist_hnsw_check(PG_FUNCTION_ARGS)
{
	Oid			oid = PG_GETARG_OID(0);
	bool		with_heap = PG_GETARG_BOOL(1);
	Relation	heap = NULL;
	Check		check = {0};

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	check.result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (with_heap)
	{
		Oid			table = IndexGetRelation(oid, true);

		if (OidIsValid(table))
			heap = table_open(table, AccessShareLock);
	}
	check.index = open_index(oid);
	check.meta = hnsw_cache(check.index)->meta;
	check.tids_size = 1024;
	check.tids = palloc(sizeof(IndexedTid) * check.tids_size);
	check.row_context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw check row",
											  ALLOCSET_DEFAULT_SIZES);
	check.read.buffer = InvalidBuffer;
	if (check.meta.span > 1)
		check.read.copy = palloc(check.meta.row_size);

	check_pages(&check);
	check_graph(&check);
	qsort(check.tids, check.ntids, sizeof(IndexedTid), compare_tids);
	for (int64 i = 1; i < check.ntids; i++)
		if (compare_tids(&check.tids[i - 1], &check.tids[i]) == 0)
			problem(&check, "heap row (%u,%u) is in the index twice, in rows %u and %u",
					ItemPointerGetBlockNumber(&check.tids[i].tid),
					ItemPointerGetOffsetNumber(&check.tids[i].tid),
					check.tids[i - 1].number, check.tids[i].number);
	if (heap != NULL)
		check_heap(&check, heap);
	if (check.problems > MAX_PROBLEMS)
		ereport(NOTICE,
				(errmsg("%d problems found, of which the first %d are returned",
						check.problems, MAX_PROBLEMS)));
	relation_close(check.index, AccessShareLock);
	if (heap != NULL)
		table_close(heap, AccessShareLock);
	return (Datum) 0;
}
