/*
 * fetch.c: exact vectors, read from the table under the scan's snapshot. Calls the table access
 * method and heap's parts; called by scan.c.
 *
 * A row of the table is some five cache misses, one waiting for the other: buffer table, buffer,
 * line pointer, tuple, vector. So the rows that will be read first are asked for together, and the
 * page of a row that is returned goes, pinned as it is, to the executor, which reads the row once
 * more.
 */
#include "compat.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

#include "hnsw/scan.h"

/* Rows that are asked for together: a usual LIMIT and some that will turn out farther. */
#define AHEAD 16

/* Pages of the table that wait, pinned, until their row is returned. */
#define MAX_PINS 16

/* Of a longer tuple the processor fetches the rest by itself. */
#define PREFETCH_MAX (32 * HNSW_CACHE_LINE)

static void
begin(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(so->context);

	so->info = BuildIndexInfo(scan->indexRelation);
	so->direct = so->info->ii_Expressions == NIL && scan->xs_heapfetch != NULL &&
		scan->heapRelation->rd_tableam == GetHeapamTableAmRoutine();
	so->max_pins = Min(MAX_PINS, NBuffers / (MaxBackends + 1));
	if (!so->direct)
	{
		so->slot = table_slot_create(scan->heapRelation, NULL);
		so->fetch = table_index_fetch_begin(scan->heapRelation);
		if (so->info->ii_Expressions != NIL)
		{
			so->estate = CreateExecutorState();
			GetPerTupleExprContext(so->estate)->ecxt_scantuple = so->slot;
		}
	}
	MemoryContextSwitchTo(old);
}

/*
 * A line pointer of a page that nobody holds: it may be anything by now, so it may only say which
 * memory to ask for. The sanitizers would call it what it is.
 */
static ItemIdData __attribute__((no_sanitize_address))
guess_item(ItemId id)
{
	return *(volatile ItemIdData *) id;
}

/* Ask for the memory of the rows that the nearest bounds lead to. */
void
hnsw_fetch_ahead(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	const HnswResult *nearest[AHEAD];
	ItemId		ids[AHEAD];
	bool		waits = hnsw_waits(scan->indexRelation);
	int			n = 0;

	if (so->info == NULL)
		begin(scan);
	if (!so->direct)
		return;
	for (int i = 0; i < so->nresults; i++)
	{
		const HnswResult *result = &so->results[i];
		int			j;

		if (n == AHEAD && result->distance >= nearest[n - 1]->distance)
			continue;
		for (j = n < AHEAD ? n++ : n - 1; j > 0; j--)
		{
			if (nearest[j - 1]->distance <= result->distance)
				break;
			nearest[j] = nearest[j - 1];
		}
		nearest[j] = result;
	}
	for (int i = 0; i < n; i++)
	{
		const HnswHit *hit = &so->hits[nearest[i]->hit];
		OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(&hit->tids[0]);
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(&hit->tids[0]);
		Page		page = NULL;

		if (hit->ntids > 0 && waits)
			hnsw_ask(scan->heapRelation, block);
		if (hit->ntids > 0 && offset >= FirstOffsetNumber && offset <= MaxHeapTuplesPerPage)
			page = hnsw_guess_heap(scan->indexRelation, block);
		ids[i] = page == NULL ? NULL : PageGetItemId(page, offset);
		if (page != NULL)
		{
			__builtin_prefetch(page);
			__builtin_prefetch(ids[i]);
		}
	}

	for (int i = 0; i < n; i++)
	{
		if (ids[i] != NULL)
		{
			ItemIdData	id = guess_item(ids[i]);
			const char *tuple = (const char *)
			TYPEALIGN_DOWN(BLCKSZ, (uintptr_t) ids[i]) + id.lp_off;

			for (int at = 0; at < Min((int) id.lp_len, PREFETCH_MAX); at += HNSW_CACHE_LINE)
				__builtin_prefetch(tuple + at);
		}
	}
}

/* The distance that rows are ordered by, of a value of the indexed column. */
static double
distance_of(IndexScanDesc scan, Datum datum)
{
	HnswScan   *so = scan->opaque;
	struct varlena *value;
	int			dim;

	if (so->query == NULL)
		return 0;
	value = vdist_detoast(datum);
	dim = vdist_value_dim(so->metric.type, value);
	if (dim != so->metric.dim)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" leads to a vector of %d dimensions, expected %d",
						RelationGetRelationName(scan->indexRelation), dim, so->metric.dim),
				 errhint("Please REINDEX it.")));
	return vdist_index_distance(&so->metric, so->query, value);
}

/* The exact distance of a row of any table, or of an expression. */
static bool
distance_by_slot(IndexScanDesc scan, ItemPointer tid, double *distance)
{
	HnswScan   *so = scan->opaque;
	ItemPointerData at = *tid;
	bool		again = false;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (!table_index_fetch_tuple(so->fetch, &at, scan->xs_snapshot, so->slot, &again, NULL))
		return false;
	if (so->estate != NULL)
		FormIndexDatum(so->info, so->slot, so->estate, values, isnull);
	else
		values[0] = slot_getattr(so->slot, so->info->ii_IndexAttrNumbers[0], &isnull[0]);
	*distance = isnull[0] ? get_float8_infinity() : distance_of(scan, values[0]);
	ExecClearTuple(so->slot);
	if (so->estate != NULL)
		ResetPerTupleExprContext(so->estate);
	return true;
}

/*
 * The same for a column of a heap table, as heap's own index fetch does it but without a slot;
 * leaves the page pinned in *buffer unless too many are.
 */
static bool
distance_in_heap(IndexScanDesc scan, ItemPointer tid, double *distance, Buffer *buffer)
{
	HnswScan   *so = scan->opaque;
	Relation	heap = scan->heapRelation;
	ItemPointerData at = *tid;
	HeapTupleData tuple;
	Datum		value;
	bool		isnull;
	bool		found;
	Buffer		page = hnsw_read_heap(scan->indexRelation, heap, ItemPointerGetBlockNumber(tid));

	heap_page_prune_opt(heap, page);
	LockBuffer(page, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&at, heap, page, scan->xs_snapshot, &tuple, NULL, true);
	LockBuffer(page, BUFFER_LOCK_UNLOCK);
	if (found)
	{
		value = heap_getattr(&tuple, so->info->ii_IndexAttrNumbers[0], RelationGetDescr(heap),
							 &isnull);
		*distance = isnull ? get_float8_infinity() : distance_of(scan, value);
	}
	if (found && so->npins < so->max_pins)
	{
		so->npins++;
		*buffer = page;
	}
	else
		ReleaseBuffer(page);
	return found;
}

/*
 * The exact distance of a row of the table; false when the snapshot does not see it. *buffer
 * becomes its page, which stays pinned until hnsw_fetch_hand_over or hnsw_fetch_drop, or
 * InvalidBuffer.
 */
bool
hnsw_fetch_distance(IndexScanDesc scan, ItemPointer tid, double *distance, Buffer *buffer)
{
	HnswScan   *so = scan->opaque;
	MemoryContext old;
	bool		found;

	if (so->info == NULL)
		begin(scan);
	*buffer = InvalidBuffer;
	old = MemoryContextSwitchTo(so->row_context);
	found = so->direct ? distance_in_heap(scan, tid, distance, buffer) :
		distance_by_slot(scan, tid, distance);
	MemoryContextSwitchTo(old);
	MemoryContextReset(so->row_context);
	return found;
}

/* Let go of a result's page. */
void
hnsw_fetch_drop(HnswScan *so, HnswResult *result)
{
	if (BufferIsValid(result->buffer))
	{
		ReleaseBuffer(result->buffer);
		result->buffer = InvalidBuffer;
		so->npins--;
	}
}

/*
 * A row is about to be returned: the executor will read it through xs_heapfetch, which looks at the
 * page it has pinned before it asks for another. So give it the page.
 */
void
hnsw_fetch_hand_over(IndexScanDesc scan, HnswResult *result)
{
	HnswScan   *so = scan->opaque;
	IndexFetchHeapData *fetch = (IndexFetchHeapData *) scan->xs_heapfetch;
	Buffer		page;

	if (so->info == NULL || !so->direct)
		return;
	if (BufferIsValid(result->buffer))
	{
		page = result->buffer;
		so->npins--;
	}
	else
	{
		BlockNumber block = ItemPointerGetBlockNumber(&result->tid);

		if (BufferIsValid(fetch->xs_cbuf) && BufferGetBlockNumber(fetch->xs_cbuf) == block)
			return;
		page = hnsw_read_heap(scan->indexRelation, scan->heapRelation, block);
		heap_page_prune_opt(scan->heapRelation, page);
	}
	if (BufferIsValid(fetch->xs_cbuf))
		ReleaseBuffer(fetch->xs_cbuf);
	fetch->xs_cbuf = page;
}

void
hnsw_fetch_end(HnswScan *so)
{
	if (so->slot != NULL)
	{
		table_index_fetch_end(so->fetch);
		ExecDropSingleTupleTableSlot(so->slot);
	}
	if (so->estate != NULL)
		FreeExecutorState(so->estate);
}
