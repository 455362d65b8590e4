/*
 * stream.c: an index scan that goes on. Behind the first search's pool comes a best-first search
 * that forgets nothing and can be resumed; when it has no way on, or its memory exceeds work_mem,
 * every row not returned yet is sorted by exact distance and returned. So each row comes once.
 * Calls graph.c's parts, layout.c and tuplesort; called by scan.c.
 */
#include "compat.h"

#include <math.h>

#include "access/relscan.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/scan.h"

/* ---- the set of rows seen ---- */

static inline uint32
seen_hash(const HnswScan *so, uint32 number)
{
	return (uint32) (number * 0x9E3779B1U) >> so->seen_shift;
}

static inline uint32 *
seen_slot(const HnswScan *so, uint32 number)
{
	uint32		i = seen_hash(so, number);

	while (so->seen[i] != 0 && (so->seen[i] - 1) >> 1 != number)
		i = (i + 1) & (so->seen_size - 1);
	return &so->seen[i];
}

static void
seen_grow(HnswScan *so)
{
	uint32	   *old = so->seen;
	uint32		old_size = so->seen_size;

	so->seen_size *= 2;
	so->seen_shift--;
	so->seen = MemoryContextAllocExtended(so->stream_context, sizeof(uint32) * so->seen_size,
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < old_size; i++)
		if (old[i] != 0)
			*seen_slot(so, (old[i] - 1) >> 1) = old[i];
	pfree(old);
}

/* Add a row to the set; true when it is new. */
static bool
seen_add(HnswScan *so, uint32 number)
{
	uint32	   *slot = seen_slot(so, number);

	if (*slot != 0)
		return false;
	*slot = (number << 1) + 1;
	if (++so->nseen > so->seen_size / 2)
		seen_grow(so);
	return true;
}

/* Has the row become a hit? */
static bool
is_known(const HnswScan *so, uint32 number)
{
	uint32		entry = *seen_slot(so, number);

	return entry != 0 && ((entry - 1) & 1) != 0;
}

static void
set_known(HnswScan *so, uint32 number)
{
	uint32	   *slot = seen_slot(so, number);

	if (*slot != 0)
		*slot = ((*slot - 1) | 1) + 1;
}

/* ---- the frontier ---- */

static void
frontier_push(HnswScan *so, uint64 key)
{
	int64		i;

	if (so->nfrontier == so->frontier_size)
	{
		so->frontier_size *= 2;
		so->frontier = repalloc_huge(so->frontier, sizeof(uint64) * so->frontier_size);
	}
	for (i = so->nfrontier++; i > 0 && key < so->frontier[(i - 1) / 2]; i = (i - 1) / 2)
		so->frontier[i] = so->frontier[(i - 1) / 2];
	so->frontier[i] = key;
}

static uint64
frontier_pop(HnswScan *so)
{
	uint64		top = so->frontier[0];
	uint64		last = so->frontier[--so->nfrontier];
	int64		i = 0;

	for (;;)
	{
		int64		child = 2 * i + 1;

		if (child >= so->nfrontier)
			break;
		if (child + 1 < so->nfrontier && so->frontier[child + 1] < so->frontier[child])
			child++;
		if (so->frontier[child] >= last)
			break;
		so->frontier[i] = so->frontier[child];
		i = child;
	}
	if (so->nfrontier > 0)
		so->frontier[i] = last;
	return top;
}

/* ---- searching on ---- */

static void
see(HnswScan *so, uint64 key)
{
	if (seen_add(so, HnswKeyRow(key)))
		frontier_push(so, key);
}

/*
 * Begin where the first search did. Its hits stay as they are; their rows are expanded once more
 * for the neighbors that did not fit into its pool.
 */
void
hnsw_stream_begin(HnswScan *so)
{
	MemoryContext old;

	so->stream_context = AllocSetContextCreate(so->context, "vdist_hnsw stream",
											   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(so->stream_context);
	so->frontier_size = 1024;
	so->frontier = palloc(sizeof(uint64) * so->frontier_size);
	so->nfrontier = 0;
	so->seen_shift = 32 - 13;
	so->seen_size = 1 << 13;
	so->seen = palloc0(sizeof(uint32) * so->seen_size);
	so->nseen = 0;
	so->nexpanded = 0;
	MemoryContextSwitchTo(old);

	/* the pool holds all it expanded that is near, and thereby a way to everything else it saw */
	for (int i = 0; i < so->search.npool; i++)
		see(so, so->search.pool[i] & ~HNSW_KEY_EXPANDED);
	for (int i = 0; i < so->nhits; i++)
	{
		seen_add(so, so->hits[i].number);
		set_known(so, so->hits[i].number);
	}
	so->phase = HNSW_SCAN_STREAM;
}

static Size
memory_used(const HnswScan *so)
{
	return MemoryContextMemAllocated(so->stream_context, false) +
		sizeof(HnswHit) * (Size) so->hits_size +
		sizeof(HnswResult) * (Size) (so->results_size + so->late_size);
}

/* Expand one row more; false when there is none, or no memory for it. */
bool
hnsw_stream_more(HnswScan *so)
{
	const HnswMeta *meta = &so->search.meta;
	HnswSearch *search = &so->search;
	double		memory = so->limits.memory > 0 ? so->limits.memory : work_mem * 1024.0;
	uint32		number;
	const HnswRow *row;

	if (so->limits.exact || so->nfrontier == 0 || memory_used(so) > memory)
		return false;

	number = HnswKeyRow(frontier_pop(so));
	if (so->nfrontier > 0)
		hnsw_prefetch(search->index, meta, HnswKeyRow(so->frontier[0]));
	if (hnsw_waits(search->index))
		for (int i = 0; i < Min(so->nfrontier, HNSW_AHEAD); i++)
			hnsw_search_ask(search, HnswKeyRow(so->frontier[i]));
	row = hnsw_read(&search->read, search->index, meta, number);
	if (HnswRowStateOf(row) == HNSW_ROW_LIVE || HnswRowStateOf(row) == HNSW_ROW_DEAD)
	{
		int			n = 0;

		for (int i = 0; i < row->nneighbors; i++)
			__builtin_prefetch(&so->seen[seen_hash(so, HnswNeighbor(row, i))], 1);
		for (int i = 0; i < row->nneighbors; i++)
			if (seen_add(so, HnswNeighbor(row, i)))
				search->which[n++] = i;
		hnsw_estimate(search, row, search->which, n, search->estimates);
		for (int i = 0; i < n; i++)
			frontier_push(so, hnsw_key(search->estimates[i],
									   HnswNeighbor(row, search->which[i])));
		if (HnswRowStateOf(row) == HNSW_ROW_LIVE && !is_known(so, number))
		{
			hnsw_scan_hit(so, number, row);
			so->nexpanded++;
		}
	}
	set_known(so, number);
	hnsw_read_unlock(&search->read);
	return true;
}

/*
 * Has the search come far enough to return a row at this distance? It must have nothing nearer to
 * expand, and be as many rows ahead of what was returned as the first search was, and by a multiple
 * of what was returned: the farther out, the more rows are reached late, and those come last.
 */
bool
hnsw_stream_passed(HnswScan *so, double distance)
{
	double		nearest;

	if (so->nfrontier == 0)
		return true;
	nearest = vdist_index_estimate(&so->metric, hnsw_key_distance(so->frontier[0]));

	/* by the taxicab, if codes are by L2: as far as rows so far that were as far by L2 */
	if (vdist_index_decodes(&so->metric) && so->metric.code_metric == VDIST_METRIC_L2)
		nearest = so->straight > 0 ? sqrt(Max(nearest, 0)) * so->taxicab / so->straight : 0;
	return distance <= nearest &&
		so->nhits >= so->nreturned + Max(so->ef, HNSW_STREAM_AHEAD * so->nreturned);
}

/* A row that should have come earlier: it comes last, so that the others are in order. */
void
hnsw_stream_late(HnswScan *so, const HnswResult *result)
{
	if (so->nlate == so->late_size)
	{
		so->late_size = Max(2 * so->late_size, 64);
		so->late = so->late == NULL ?
			MemoryContextAlloc(so->context, sizeof(HnswResult) * so->late_size) :
			repalloc_huge(so->late, sizeof(HnswResult) * so->late_size);
	}
	so->late[so->nlate++] = *result;
}

void
hnsw_stream_end(HnswScan *so)
{
	hnsw_read_end(&so->search.read);
	if (so->sort != NULL)
	{
		tuplesort_end(so->sort);
		ExecDropSingleTupleTableSlot(so->sort_slot);
		so->sort = NULL;
	}
	if (so->stream_context != NULL)
	{
		MemoryContextDelete(so->stream_context);
		so->stream_context = NULL;
	}
}

/* ---- all that is left ---- */

static void
sweep_put(HnswScan *so, double distance, ItemPointer tid)
{
	TupleTableSlot *slot = so->sort_slot;

	ExecClearTuple(slot);
	slot->tts_values[0] = Int32GetDatum(distance < so->last);
	slot->tts_values[1] = Float8GetDatum(distance);
	slot->tts_values[2] = Int64GetDatum((int64) ItemPointerGetBlockNumber(tid) << 16 |
										ItemPointerGetOffsetNumber(tid));
	memset(slot->tts_isnull, 0, sizeof(bool) * 3);
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(so->sort, slot);
}

/* Resolve hits and sort what they and what was resolved before lead to. */
static void
sweep_results(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	int			n = 0;
	int		   *bounds = palloc(sizeof(int) * Max(so->nresults, 1));

	for (int i = 0; i < so->nresults; i++)
	{
		if (so->results[i].hit >= 0)
			bounds[n++] = so->results[i].hit;
		else
		{
			sweep_put(so, so->results[i].distance, &so->results[i].tid);
			hnsw_fetch_drop(so, &so->results[i]);
		}
	}
	so->nresults = 0;
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		hnsw_scan_resolve(scan, bounds[i]);
		for (int j = 0; j < so->nresults; j++)
		{
			sweep_put(so, so->results[j].distance, &so->results[j].tid);
			hnsw_fetch_drop(so, &so->results[j]);
		}
		so->nresults = 0;
	}
	pfree(bounds);
}

/* Make hits of all live rows of one page that are not known. */
static void
sweep_page(HnswScan *so, BlockNumber block, HnswRead *read)
{
	const HnswMeta *meta = &so->search.meta;
	Buffer		buffer = ReadBuffer(so->search.index, block);
	Page		page = BufferGetPage(buffer);
	bool		graph;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	graph = hnsw_page_is(page, HNSW_PAGE_GRAPH);
	for (int i = 0; graph && i < meta->rows_per_page; i++)
	{
		uint32		number = block * meta->rows_per_page + i;
		const HnswRow *row = (const HnswRow *) ((char *) page + HnswRowOffset(meta, i));

		if (HnswRowStateOf(row) == HNSW_ROW_LIVE && !is_known(so, number) &&
			!(so->limits.ordered && (row->state & HNSW_ROW_UNORDERED)))
		{
			HnswHit    *hit = &so->hits[so->nhits];
			HnswResult	result;

			hit->number = number;
			hit->more = row->more;
			hit->ntids = Min(row->ntids, HNSW_ROW_TIDS_INLINE);
			memcpy(hit->tids, row->tids, sizeof(hit->tids));
			result.distance = 0;
			result.hit = so->nhits++;
			ItemPointerSetInvalid(&result.tid);
			result.buffer = InvalidBuffer;
			so->results[so->nresults++] = result;
		}
	}
	UnlockReleaseBuffer(buffer);
}

/* Sort every row that was not returned: those that should have come earlier go last. */
void
hnsw_sweep_begin(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	const HnswMeta *meta = &so->search.meta;
	AttrNumber	columns[] = {1, 2, 3};
	Oid			operators[] = {Int4LessOperator, Float8LessOperator, Int8LessOperator};
	Oid			collations[] = {InvalidOid, InvalidOid, InvalidOid};
	bool		nulls_first[] = {false, false, false};
	TupleDesc	desc;
	MemoryContext old = MemoryContextSwitchTo(so->stream_context);

	hnsw_read_end(&so->search.read);
	desc = CreateTemplateTupleDesc(3);
	TupleDescInitEntry(desc, 1, "late", INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, "distance", FLOAT8OID, -1, 0);
	TupleDescInitEntry(desc, 3, "tid", INT8OID, -1, 0);
	so->sort = tuplesort_begin_heap(desc, 3, columns, operators, collations, nulls_first,
									work_mem, NULL, TUPLESORT_NONE);
	so->sort_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);

	/* the heap of results is only a list from here on */
	sweep_results(scan);
	for (int64 i = 0; i < so->nlate; i++)
		sweep_put(so, so->late[i].distance, &so->late[i].tid);
	so->nlate = 0;

	if (so->hits_size < meta->rows_per_page)
	{
		so->hits_size = meta->rows_per_page;
		so->hits = repalloc(so->hits, sizeof(HnswHit) * so->hits_size);
	}
	if (so->results_size < meta->rows_per_page)
	{
		so->results_size = meta->rows_per_page;
		so->results = repalloc(so->results, sizeof(HnswResult) * so->results_size);
	}
	for (BlockNumber block = HNSW_FIRST_BLOCK;
		 block < RelationGetNumberOfBlocks(so->search.index); block++)
	{
		CHECK_FOR_INTERRUPTS();
		so->nhits = 0;
		sweep_page(so, block, &so->search.read);
		sweep_results(scan);
	}
	tuplesort_performsort(so->sort);

	/* of the sort of a slot, what is fetched goes into a slot of its own kind */
	ExecDropSingleTupleTableSlot(so->sort_slot);
	so->sort_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(old);
	so->phase = HNSW_SCAN_SWEEP;
}

bool
hnsw_sweep_next(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	int64		tid;
	bool		isnull;

	if (!tuplesort_gettupleslot(so->sort, true, false, so->sort_slot, NULL))
		return false;
	tid = DatumGetInt64(slot_getattr(so->sort_slot, 3, &isnull));
	ItemPointerSet(&scan->xs_heaptid, (BlockNumber) (tid >> 16), (OffsetNumber) (tid & 0xFFFF));
	return true;
}
