/*
 * merge.c: the sorted rows of several shards in one order, by a heap of the shards' current rows.
 * Only sort keys are decoded here; the row itself is decoded once, by scan.c, when it is its turn.
 */
#include "fdw/fdw.h"

#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/sortsupport.h"

/* A shard's stream and its current row. */
typedef struct Source
{
	PGresult   *result;			/* the current piece; NULL at the end */
	int			row;
	int			nrows;
	MemoryContext context;		/* of the keys of the current row */
	Datum	   *keys;
	bool	   *nulls;
} Source;

struct VdistMerge
{
	int			nkeys;
	int		   *columns;		/* column of each key */
	SortSupport sort;
	VdistWireIn *wire;			/* decodes any column */
	Source	   *sources;
	binaryheap *heap;			/* of indexes into sources */
	VdistFanout *fanout;
	bool		whole;			/* each shard answers in one piece */
	int64	   *received;		/* rows of each source so far, for EXPLAIN */
	int			current;		/* source of the row handed out last; -1 none */
};

/* The heap has the greatest on top, hence the sign. Equal keys go by shard: a stable order. */
static int
compare_sources(Datum a, Datum b, void *arg)
{
	VdistMerge *merge = (VdistMerge *) arg;
	Source	   *left = &merge->sources[DatumGetInt32(a)];
	Source	   *right = &merge->sources[DatumGetInt32(b)];
	int			i;

	for (i = 0; i < merge->nkeys; i++)
	{
		int			order = ApplySortComparator(left->keys[i], left->nulls[i],
												right->keys[i], right->nulls[i],
												&merge->sort[i]);

		if (order != 0)
			return -order;
	}
	return DatumGetInt32(a) < DatumGetInt32(b) ? 1 : -1;
}

VdistMerge *
vdist_merge_make(int nkeys, const VdistSortKey *keys, int nshards, VdistWireIn *wire)
{
	VdistMerge *merge = palloc0(sizeof(VdistMerge));
	int			i;

	merge->nkeys = nkeys;
	merge->columns = palloc(sizeof(int) * nkeys);
	merge->sort = palloc0(sizeof(SortSupportData) * nkeys);
	merge->wire = wire;
	for (i = 0; i < nkeys; i++)
	{
		merge->columns[i] = keys[i].column;
		merge->sort[i].ssup_cxt = CurrentMemoryContext;
		merge->sort[i].ssup_collation = keys[i].collation;
		merge->sort[i].ssup_nulls_first = keys[i].nulls_first;
		merge->sort[i].ssup_attno = keys[i].column + 1;
		PrepareSortSupportFromOrderingOp(keys[i].operator, &merge->sort[i]);
	}

	merge->sources = palloc0(sizeof(Source) * nshards);
	for (i = 0; i < nshards; i++)
	{
		merge->sources[i].keys = palloc(sizeof(Datum) * nkeys);
		merge->sources[i].nulls = palloc(sizeof(bool) * nkeys);
		merge->sources[i].context = AllocSetContextCreate(CurrentMemoryContext,
														  "vdist sort keys",
														  ALLOCSET_SMALL_SIZES);
	}
	merge->heap = binaryheap_allocate(nshards, compare_sources, merge);
	return merge;
}

static void
take_piece(VdistMerge *merge, int i, PGresult *result)
{
	Source	   *source = &merge->sources[i];

	source->result = result;
	source->row = 0;
	source->nrows = result == NULL ? 0 : PQntuples(result);
	merge->received[i] += source->nrows;
}

/* Go to the source's next row: false at its end. */
static bool
advance(VdistMerge *merge, int i)
{
	Source	   *source = &merge->sources[i];
	MemoryContext old;
	int			key;

	source->row++;
	while (source->result != NULL && source->row >= source->nrows)
		take_piece(merge, i, merge->whole ? NULL : vdist_fanout_next(merge->fanout, i, NULL));
	if (source->result == NULL)
		return false;

	MemoryContextReset(source->context);
	old = MemoryContextSwitchTo(source->context);
	for (key = 0; key < merge->nkeys; key++)
		source->keys[key] = vdist_wire_decode_column(merge->wire, source->result, source->row,
													 merge->columns[key], &source->nulls[key]);
	MemoryContextSwitchTo(old);
	return true;
}

void
vdist_merge_start(VdistMerge *merge, VdistFanout *fanout, int nshards, bool whole,
				  int64 *received)
{
	int			i;

	merge->fanout = fanout;
	merge->whole = whole;
	merge->received = received;
	merge->current = -1;
	binaryheap_reset(merge->heap);

	/* One piece each: take them as they come, waiting for all that are missing at once. */
	for (i = 0; i < nshards; i++)
	{
		int			from = i;
		PGresult   *result = vdist_fanout_next(fanout, whole ? -1 : i, &from);

		if (whole && result == NULL)
			elog(ERROR, "a shard gave no result");
		take_piece(merge, from, result);
	}
	for (i = 0; i < nshards; i++)
	{
		merge->sources[i].row = -1;
		if (advance(merge, i))
			binaryheap_add_unordered(merge->heap, Int32GetDatum(i));
	}
	binaryheap_build(merge->heap);
}

bool
vdist_merge_next(VdistMerge *merge, PGresult **result, int *row)
{
	/* Only now: the row handed out last had to stay valid. */
	if (merge->current >= 0)
	{
		if (advance(merge, merge->current))
			binaryheap_replace_first(merge->heap, Int32GetDatum(merge->current));
		else
			(void) binaryheap_remove_first(merge->heap);
	}
	if (binaryheap_empty(merge->heap))
	{
		merge->current = -1;
		return false;
	}
	merge->current = DatumGetInt32(binaryheap_first(merge->heap));
	*result = merge->sources[merge->current].result;
	*row = merge->sources[merge->current].row;
	return true;
}
