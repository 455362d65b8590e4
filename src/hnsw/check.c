/*
 * check.c: vdist.index_info and vdist.index_check: what an index is made of, and whether it keeps
 * the rules of its format. Calls layout.c and the table; called by SQL.
 */
#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "common/hashfn.h"
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

/* In place of a state: there is no row, or none that can be read. */
#define STATE_NO_ROW 0xFF
#define STATE_BROKEN 0xFE
/* Beside HNSW_ROW_TIDS: its owner leads to it. */
#define STATE_CHAINED 0x40

/* A heap row, and the row that holds it: one of the graph, or one of TIDs. */
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

	uint8	   *state;			/* of every row number, or one of STATE_* */
	uint32	   *codes;			/* of every row of the graph: a hash of its code as a neighbor */
	bool		walkable;		/* nothing was found that stops a walk through the graph */
	uint8	   *reached;		/* rows that were, of nreached; NULL: not walked */
	uint64		nreached;
	uint8	   *seen;			/* rows of which heap rows were; NULL: the table was not read */
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
				 errmsg("\"%s\" is not a vdist_hnsw index", RelationGetRelationName(index)),
				 index->rd_rel->relkind == RELKIND_PARTITIONED_INDEX ?
				 errhint("Ask for the indexes of its partitions, which pg_partition_tree tells.") : 0));
	if (!index->rd_index->indisready)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not built", RelationGetRelationName(index)),
				 errhint("If no CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY is at it, one failed: drop the index, or REINDEX it.")));
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
	Datum		values[17];
	bool		nulls[17] = {false};
	VdistIndexMetric metric;
	int			i = 0;

	vdist_index_metric(index, &metric);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(index, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (hnsw_page_is(page, HnswRowKind(&meta)))
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
	values[i++] = Int32GetDatum(Max(meta.ncentres, 1));
	values[i++] = Int32GetDatum(hnsw_coded(&meta));
	values[i++] = Int32GetDatum(hnsw_ef_factor(&metric, &meta));
	relation_close(index, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- index_check ---- */

static void
add_tids(Check *check, uint32 number, const ItemPointerData * tids, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (!HnswTidIsValid(&tids[i]))
		{
			problem(check, "row %u claims heap row (%u,%u), which cannot exist", number,
					ItemPointerGetBlockNumberNoCheck(&tids[i]),
					ItemPointerGetOffsetNumberNoCheck(&tids[i]));
			continue;
		}
		if (check->ntids == check->tids_size)
		{
			check->tids_size *= 2;
			check->tids = repalloc_huge(check->tids, sizeof(IndexedTid) * check->tids_size);
		}
		check->tids[check->ntids].tid = tids[i];
		check->tids[check->ntids++].number = number;
	}
}

static bool
in_graph(uint8 state)
{
	return state == HNSW_ROW_LIVE || state == HNSW_ROW_DEAD;
}

/* One row by itself. */
static void
check_row(Check *check, uint32 number, const HnswRow *row)
{
	const HnswMeta *meta = &check->meta;
	const HnswTids *tids = (const HnswTids *) row;
	HnswRowState state = HnswRowStateOf(row);
	bool		broken = true;

	if (state > HNSW_ROW_TIDS)
		problem(check, "row %u has unknown state %u", number, row->state);
	else if (state == HNSW_ROW_TIDS && tids->count > HNSW_TIDS_ROOM(meta))
		problem(check, "row %u claims %u heap rows", number, tids->count);
	else if (in_graph(state) &&
			 (row->nneighbors > meta->slots || row->nkept > row->nneighbors ||
			  row->ntids > HNSW_ROW_TIDS_INLINE))
		problem(check, "row %u claims %u neighbors, %u kept, %u heap rows", number,
				row->nneighbors, row->nkept, row->ntids);
	else
		broken = false;
	check->state[number] = broken ? STATE_BROKEN : state;
	if (broken)
	{
		check->walkable = false;
		return;
	}

	if (state == HNSW_ROW_TIDS)
		add_tids(check, number, tids->tids, tids->count);
	else if (state == HNSW_ROW_LIVE)
	{
		add_tids(check, number, row->tids, row->ntids);
		if (row->ntids == 0 && row->more == HNSW_NO_ROW)
			problem(check, "row %u is live without a heap row", number);
	}
}

/* Every page by itself: kinds, states, counts. */
static void
check_pages(Check *check)
{
	const HnswMeta *meta = &check->meta;
	BlockNumber nblocks = RelationGetNumberOfBlocks(check->index);

	check->nrows = (uint64) nblocks * meta->rows_per_page;
	check->state = MemoryContextAllocHuge(CurrentMemoryContext, check->nrows + 1);
	memset(check->state, STATE_NO_ROW, check->nrows + 1);
	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(check->index, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (hnsw_page_is(page, HnswRowKind(meta)))
			for (int slot = 0; slot < meta->rows_per_page; slot++)
				check_row(check, block * meta->rows_per_page + slot,
						  (HnswRow *) ((char *) page + HnswRowOffset(meta, slot)));
		else if (!PageIsNew(page) && !hnsw_page_is(page, HNSW_PAGE_MEAN) &&
				 !hnsw_page_is(page, HNSW_PAGE_ROUTING) && !hnsw_page_is(page, HNSW_PAGE_REST) &&
				 !hnsw_page_is(page, HNSW_PAGE_GRAPH) && !hnsw_page_is(page, HNSW_PAGE_FLAT))
		{
			problem(check, "block %u is not a page of this index", block);
			check->walkable = false;
		}
		UnlockReleaseBuffer(buffer);
	}
}

/* The state that a row has now. */
static uint8
state_now(Check *check, uint32 number)
{
	uint8		state = STATE_NO_ROW;
	BlockNumber block = HnswRowBlock(&check->meta, number);
	Buffer		buffer;

	if (block >= RelationGetNumberOfBlocks(check->index))
		return state;
	buffer = ReadBuffer(check->index, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (hnsw_page_is(BufferGetPage(buffer), HnswRowKind(&check->meta)))
		state = HnswRowStateOf((HnswRow *) ((char *) BufferGetPage(buffer) +
											HnswRowOffset(&check->meta, number)));
	UnlockReleaseBuffer(buffer);
	return state;
}

/*
 * Does a row lead to another one that is no part of the graph? What others do meanwhile does not
 * count.
 */
static bool
leads_astray(Check *check, uint32 number, uint32 to)
{
	bool		leads;
	const HnswRow *row;

	if (in_graph(state_now(check, to)))
		return false;
	row = hnsw_read(&check->read, check->index, &check->meta, number);
	leads = HnswRowStateOf(row) == HNSW_ROW_LIVE && hnsw_lists(row, to);
	hnsw_read_unlock(&check->read);
	return leads && !in_graph(state_now(check, to));
}

/* The heap rows of one row that are not in itself. */
static void
check_chain(Check *check, uint32 owner, uint32 more)
{
	HnswChain	chain = {0};

	while (more != HNSW_NO_ROW)
	{
		const HnswTids *tids;
		uint32		number = more;

		CHECK_FOR_INTERRUPTS();
		if (!hnsw_chain_step(&chain, number))
		{
			problem(check, "the heap rows of row %u never end", owner);
			return;
		}
		if (state_now(check, number) != HNSW_ROW_TIDS)
		{
			if (state_now(check, owner) == HNSW_ROW_LIVE)
				problem(check, "row %u leads to row %u, which holds no heap rows", owner, number);
			return;
		}
		tids = (const HnswTids *) hnsw_read(&check->read, check->index, &check->meta, number);
		more = tids->more;
		if (tids->owner != owner)
		{
			problem(check, "row %u leads to the heap rows of row %u", owner, tids->owner);
			more = HNSW_NO_ROW;
		}
		else if (number < check->nrows && check->state[number] == HNSW_ROW_TIDS)
			check->state[number] |= STATE_CHAINED;
		hnsw_read_unlock(&check->read);
	}
}

static uint32
hash_code(const Check *check, const void *code)
{
	return hash_bytes(code, check->meta.code_size);
}

/* The hash of the code that a row's own code makes; false when it is no row of the graph now. */
static bool
row_code(Check *check, uint32 number, uint32 *hash)
{
	HnswInsert *insert = check->insert;
	const HnswRow *row = hnsw_read(&check->read, check->index, &check->meta, number);
	bool		found = in_graph(HnswRowStateOf(row));

	if (found)
	{
		hnsw_recode(hnsw_codes(check->index, &check->meta), HnswRowOwn(&check->meta, row),
					insert->new_code, insert->search.scratch);
		*hash = hash_code(check, insert->new_code);
	}
	hnsw_read_unlock(&check->read);
	return found;
}

/*
 * Whether a row holds another code of `to` than its own code makes, while that one stays as it is.
 */
static bool
holds_wrong_code(Check *check, uint32 number, uint32 to)
{
	const HnswRow *row;
	uint32		before;
	uint32		after;
	bool		wrong = false;

	if (!in_graph(state_now(check, to)) || !row_code(check, to, &before))
		return false;
	row = hnsw_read(&check->read, check->index, &check->meta, number);
	for (int i = 0; HnswRowStateOf(row) == HNSW_ROW_LIVE && i < row->nneighbors; i++)
		wrong |= HnswNeighbor(row, i) == to &&
			hash_code(check, HnswRowCodes(&check->meta, row) + i * check->meta.code_size) != before;
	hnsw_read_unlock(&check->read);
	return wrong && row_code(check, to, &after) && after == before;
}

/* Edges of one row, their codes, and the chain of its heap rows. */
static void
check_edges(Check *check, uint32 number, uint32 *neighbors, uint32 *codes)
{
	const HnswRow *row = hnsw_read(&check->read, check->index, &check->meta, number);
	uint32		more = row->more;
	int			n = row->nneighbors;
	bool		valid = hnsw_code_valid(&check->meta, HnswRowOwn(&check->meta, row));

	if (!valid)
		problem(check, "the code of row %u is of a centre that does not exist", number);
	if (HnswRowStateOf(row) != HNSW_ROW_LIVE)
	{
		n = 0;
		more = HNSW_NO_ROW;
	}
	for (int i = 0; i < n; i++)
		neighbors[i] = HnswNeighbor(row, i);
	for (int i = 0; i < n; i++)
		codes[i] = hash_code(check, HnswRowCodes(&check->meta, row) + i * check->meta.code_size);
	hnsw_read_unlock(&check->read);

	for (int i = 0; i < n; i++)
	{
		uint32		to = neighbors[i];

		if (to == number)
			problem(check, "row %u has an edge to itself", number);
		else if ((to >= check->nrows || !in_graph(check->state[to])) &&
				 leads_astray(check, number, to))
		{
			uint8		state = state_now(check, to);

			problem(check, "row %u has an edge to row %u, which %s", number, to,
					state == STATE_NO_ROW ? "does not exist" : "is not part of the graph");
			check->walkable &= state != STATE_NO_ROW;
		}
		else if (to < check->nrows && in_graph(check->state[to]) &&
				 codes[i] != check->codes[to] && holds_wrong_code(check, number, to))
			problem(check, "row %u holds a wrong code of row %u", number, to);
		for (int j = 0; j < i; j++)
			if (neighbors[j] == to)
			{
				problem(check, "row %u has two edges to row %u", number, to);
				break;
			}
	}
	check_chain(check, number, more);
}

/* Rows where searches begin, and their codes. */
static void
check_routing(Check *check)
{
	const HnswCache *cache = hnsw_cache(check->index);
	uint32		version = cache->meta.routing_version;

	for (int i = 0; i < cache->nrouting && cache->meta.routing_version == version; i++)
	{
		uint32		number = cache->routing[i];
		bool		found = in_graph(state_now(check, number));
		bool		broken = number < check->nrows && check->state[number] == STATE_BROKEN;
		uint32		code;

		if (found && (broken || !row_code(check, number, &code) ||
					  code == hash_code(check, cache->routing_codes +
										i * check->meta.code_size)))
			continue;
		/* unless vacuum took it from the list meanwhile */
		cache = hnsw_cache(check->index);
		if (cache->meta.routing_version != version)
			check_routing(check);
		else if (found)
			problem(check, "row %u, where searches begin, has another code there", number);
		else
			problem(check, "row %u, where searches begin, is not part of the graph", number);
	}
	if (cache->nrouting == cache->meta.routing_count || cache->meta.routing_version != version)
		return;
	cache = hnsw_cache(check->index);
	if (cache->meta.routing_version != version)
		check_routing(check);
	else
		problem(check, "the metapage claims %u rows where searches begin, there are %d",
				cache->meta.routing_count, cache->nrouting);
}

/* Must anchors lead to every row, or any edges? */
static bool
has_anchors(const Check *check)
{
	return check->meta.version >= HNSW_VERSION_ANCHORS;
}

/* All edges, and to which rows they lead. */
static void
check_graph(Check *check)
{
	uint32	   *neighbors = palloc(sizeof(uint32) * check->meta.slots);
	uint32	   *codes = palloc(sizeof(uint32) * check->meta.slots);

	check->codes = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * check->nrows);
	for (uint64 i = 0; i < check->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (in_graph(check->state[i]) && !row_code(check, i, &check->codes[i]))
			check->codes[i] = 0;
	}
	check_routing(check);
	for (uint64 i = 0; i < check->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (check->state[i] == HNSW_ROW_LIVE)
			check_edges(check, i, neighbors, codes);
	}
	hnsw_read_end(&check->read);

	if (check->walkable)
		check->reached = hnsw_reach(check->index, has_anchors(check), &check->nreached);
}

static bool
is_unreached(const Check *check, uint64 number)
{
	return check->reached != NULL && number < Min(check->nrows, check->nreached) &&
		check->state[number] == HNSW_ROW_LIVE && !hnsw_bit(check->reached, check->nreached, number);
}

/*
 * Rows that nothing leads to; of those, if the table was read, whose heap rows were seen. An insert
 * that was interrupted, or is under way, may have left a row that does not count: nobody sees its
 * heap row.
 */
static void
check_reached(Check *check)
{
	int64		unreached = 0;
	uint32		example = 0;

	for (uint64 i = 0; i < check->nrows; i++)
		if (is_unreached(check, i) && (check->seen == NULL || hnsw_bit(check->seen, check->nrows, i)))
		{
			unreached++;
			example = i;
		}
	if (unreached > 0)
		problem(check, "no %s to " INT64_FORMAT " rows, one of them row %u",
				has_anchors(check) ? "anchors lead" : "way leads", unreached, example);
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
	uint32		number;
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
	number = found->number;
	if ((check->state[number] & ~STATE_CHAINED) == HNSW_ROW_TIDS)
	{
		row = hnsw_read(&check->read, check->index, meta, number);
		number = ((const HnswTids *) row)->owner;
		hnsw_read_unlock(&check->read);
		if ((check->state[found->number] & STATE_CHAINED) == 0)
		{
			problem(check, "heap row (%u,%u) is in row %u, to which its owner, row %u, does not lead",
					ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid), found->number,
					number);
			return;
		}
	}
	if (number < check->nrows)
		check->seen[number / 8] |= 1 << number % 8;
	old = MemoryContextSwitchTo(check->row_context);
	value = vdist_detoast(values[0]);
	dim = vdist_value_dim(insert->metric.type, value);
	if (dim == insert->metric.dim)
	{
		const Vector *v = vdist_index_vector(&insert->metric, value);
		float	   *x = palloc(sizeof(float) * meta->dim);
		char	   *own = palloc(meta->own_size);

		vdist_metric_prepare((VdistMetric) meta->metric, meta->dim, v->x, x);
		hnsw_own_code(insert, v->x, x, own);
		row = hnsw_read(&check->read, index, meta, number);
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

/*
 * Every heap row that the statement saw when it began, before any page was read, is in the index,
 * once, under its vector.
 */
static void
check_heap(Check *check, Relation heap)
{
	IndexInfo  *info = BuildIndexInfo(check->index);
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, true);

	check->seen = MemoryContextAllocExtended(CurrentMemoryContext, check->nrows / 8 + 1,
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
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
	check.walkable = true;
	if (check.meta.span > 1)
		check.read.copy = palloc(check.meta.row_size);

	check.insert = hnsw_insert_begin(check.index, 1);
	check_pages(&check);
	if (!HnswIsFlat(&check.meta))
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
	check_reached(&check);
	if (check.problems > MAX_PROBLEMS)
		ereport(NOTICE,
				(errmsg("%d problems found, of which the first %d are returned",
						check.problems, MAX_PROBLEMS)));
	relation_close(check.index, AccessShareLock);
	if (heap != NULL)
		table_close(heap, AccessShareLock);
	return (Datum) 0;
}
