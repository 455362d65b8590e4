/*
 * scan.c: an ordered index scan: rows by exact distance, ties by TID. Calls graph.c, stream.c and,
 * for the exact vectors, fetch.c; called by core through handler.c.
 *
 * The graph yields rows with bounds of their distance. A heap holds lower bounds and exact
 * distances together: an exact distance that comes out is the nearest there is; a bound that comes
 * out is replaced by the exact distance, read from the table, unless its upper bound is below all
 * the others.
 */
#include "compat.h"

#include <math.h>

#include "access/relscan.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "hnsw/scan.h"

/* Rows that most queries ask for. */
#define USUAL_LIMIT 10

/* Room in the lists of hits and results to begin with. */
#define LIST_SIZE 128

/* ---- heap of results ---- */

static inline bool
result_before(const HnswResult *a, const HnswResult *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance;
	if (a->hit != b->hit && (a->hit < 0 || b->hit < 0))
		return b->hit < 0;		/* a bound before an exact distance: it may turn out equal */
	return ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid) < 0;
}

static void
result_push(HnswScan *so, const HnswResult *result)
{
	int			i;

	if (so->nresults == so->results_size)
	{
		so->results_size *= 2;
		so->results = repalloc_huge(so->results, sizeof(HnswResult) * so->results_size);
	}
	for (i = so->nresults++; i > 0; i = (i - 1) / 2)
	{
		if (!result_before(result, &so->results[(i - 1) / 2]))
			break;
		so->results[i] = so->results[(i - 1) / 2];
	}
	so->results[i] = *result;
}

static HnswResult
result_pop(HnswScan *so)
{
	HnswResult	top = so->results[0];
	HnswResult	last = so->results[--so->nresults];
	int			i = 0;

	for (;;)
	{
		int			child = 2 * i + 1;

		if (child >= so->nresults)
			break;
		if (child + 1 < so->nresults &&
			result_before(&so->results[child + 1], &so->results[child]))
			child++;
		if (!result_before(&so->results[child], &last))
			break;
		so->results[i] = so->results[child];
		i = child;
	}
	if (so->nresults > 0)
		so->results[i] = last;
	return top;
}

/* ---- hits ---- */

/* Remember a row with bounds of its distance. */
static void
add_hit(HnswScan *so, uint32 number, const HnswRow *row, double lower, double upper)
{
	HnswHit    *hit;
	HnswResult	result;

	if (so->nhits == so->hits_size)
	{
		so->hits_size *= 2;
		so->hits = repalloc_huge(so->hits, sizeof(HnswHit) * so->hits_size);
	}
	hit = &so->hits[so->nhits];
	hit->number = number;
	hit->upper = upper;
	hit->more = row->more;
	hit->ntids = Min(row->ntids, HNSW_ROW_TIDS_INLINE);
	memcpy(hit->tids, row->tids, sizeof(hit->tids));

	result.distance = lower;
	result.hit = so->nhits++;
	ItemPointerSetInvalid(&result.tid);
	result.buffer = InvalidBuffer;
	result_push(so, &result);
}

/* A row of the graph was reached. */
void
hnsw_scan_hit(HnswScan *so, uint32 number, const HnswRow *row)
{
	double		lower = get_float8_infinity();
	double		upper = get_float8_infinity();

	if (so->limits.ordered && (row->state & HNSW_ROW_UNORDERED))
		return;
	if (!(row->state & HNSW_ROW_UNORDERED))
	{
		float		error;
		float		estimate = hnsw_own_distance(&so->search, row, &error);

		hnsw_search_near(&so->search, estimate);
		if (vdist_index_decodes(&so->metric))
		{
			float		lost = hnsw_own_vector(&so->search, row, so->search.scratch);

			so->taxicab += vdist_index_taxicab_bounds(&so->metric, so->search.x, so->search.scratch,
													  lost, &lower, &upper);
			so->straight += sqrt(Max(estimate, 0));
		}
		else
			vdist_index_bounds(&so->metric, estimate, error, &lower, &upper);
		if (!so->trust_bounds || !(lower < upper))
			upper = get_float8_infinity();
	}
	add_hit(so, number, row, lower, upper);
}

/*
 * A row of a flat index. Where the row has the very vector that the operator is about, its distance
 * is known; else only the table can tell.
 */
static void
visit_flat(void *arg, uint32 number, const HnswRow *row)
{
	HnswScan   *so = arg;
	const HnswMeta *meta = &so->search.meta;
	double		lower = -get_float8_infinity();
	double		upper = get_float8_infinity();

	if (so->limits.ordered && (row->state & HNSW_ROW_UNORDERED))
		return;
	if (row->state & HNSW_ROW_UNORDERED)
		lower = upper;
	else if (so->query != NULL && so->metric.type == VDIST_VECTOR)
	{
		memcpy(so->flat->x, HnswRowOwn(meta, row), sizeof(float) * meta->dim);
		lower = upper = vdist_index_distance(&so->metric, so->query,
											 (struct varlena *) so->flat);
	}
	add_hit(so, number, row, lower, upper);
}

/* Look at every row of a flat index; false when it got its graph meanwhile. */
static bool
look_at_all(HnswScan *so)
{
	MemoryContext old = MemoryContextSwitchTo(so->context);

	if (so->flat == NULL)
		so->flat = vector_make(so->search.meta.dim);
	hnsw_flat_each(so->search.index, &so->search.meta, visit_flat, so);
	MemoryContextSwitchTo(old);
	if (hnsw_cache(so->search.index)->meta.crc == so->search.meta.crc)
		return true;
	so->nhits = 0;
	so->nresults = 0;
	return false;
}

static void
visit_hit(HnswSearch *search, uint32 number, const HnswRow *row)
{
	if (HnswRowStateOf(row) == HNSW_ROW_LIVE)
		hnsw_scan_hit(search->visit_arg, number, row);
}

/*
 * All heap rows of a hit, in the row context's parent. The chain may change while it is read; what
 * it loses was dead, what it gains is not visible yet.
 */
static ItemPointer
hit_tids(HnswScan *so, const HnswHit *hit, int *count)
{
	const HnswMeta *meta = &so->search.meta;
	HnswChain	chain = {0};
	uint32		more = hit->more;
	int			n = hit->ntids;
	int			size = Max(n, 1);
	ItemPointer tids = palloc(sizeof(ItemPointerData) * size);

	memcpy(tids, hit->tids, sizeof(ItemPointerData) * n);
	while (more != HNSW_NO_ROW)
	{
		const HnswTids *row;

		CHECK_FOR_INTERRUPTS();
		row = (const HnswTids *) hnsw_read(&so->search.read, so->search.index, meta, more);
		if ((row->state == HNSW_ROW_TIDS && row->count > HNSW_TIDS_ROOM(meta)) ||
			!hnsw_chain_step(&chain, more))
			hnsw_page_corrupted(so->search.index, HnswRowBlock(meta, more));
		more = HNSW_NO_ROW;
		if (row->state == HNSW_ROW_TIDS && row->owner == hit->number)
		{
			if (n + (int) row->count > size)
			{
				size = 2 * (n + row->count);
				tids = repalloc_huge(tids, sizeof(ItemPointerData) * size);
			}
			memcpy(tids + n, row->tids, sizeof(ItemPointerData) * row->count);
			n += row->count;
			more = row->more;
		}
		hnsw_read_unlock(&so->search.read);
	}
	hnsw_read_end(&so->search.read);
	*count = n;
	return tids;
}

/*
 * Replace a bound by exact distances: the rows of one hit have equal vectors, so the first that is
 * visible tells the distance of all.
 */
void
hnsw_scan_resolve(IndexScanDesc scan, int number)
{
	HnswScan   *so = scan->opaque;
	HnswHit    *hit = &so->hits[number];
	HnswResult	result;
	int			n = hit->ntids;
	ItemPointer tids = hit->tids;

	if (hit->more != HNSW_NO_ROW)
		tids = hit_tids(so, hit, &n);
	for (int i = 0; i < n; i++)
		if (!HnswTidIsValid(&tids[i]))
			hnsw_page_corrupted(so->search.index,
								HnswRowBlock(&so->search.meta, hit->number));
	result.hit = -1;
	for (int i = 0; i < n; i++)
	{
		if (!hnsw_fetch_distance(scan, &tids[i], &result.distance, &result.buffer))
			continue;
		for (; i < n; i++)
		{
			result.tid = tids[i];
			result_push(so, &result);
			result.buffer = InvalidBuffer;
		}
	}
	if (hit->more != HNSW_NO_ROW)
		pfree(tids);
}

/* ---- the scan ---- */

IndexScanDesc
hnsw_begin_scan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	HnswScan   *so = palloc0(sizeof(HnswScan));

	so->context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw scan",
										ALLOCSET_DEFAULT_SIZES);
	so->row_context = AllocSetContextCreate(so->context, "vdist_hnsw scan row",
											ALLOCSET_DEFAULT_SIZES);
	scan->opaque = so;
	return scan;
}

static void
drop_results(HnswScan *so)
{
	for (int i = 0; i < so->nresults; i++)
		hnsw_fetch_drop(so, &so->results[i]);
	so->nresults = 0;
}

void
hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	HnswScan   *so = scan->opaque;

	hnsw_stream_end(so);
	so->phase = HNSW_SCAN_START;
	so->nhits = 0;
	drop_results(so);
	if (so->late != NULL)
		pfree(so->late);
	so->late = NULL;
	so->late_size = 0;
	so->nreturned = 0;
	so->nlate = 0;
	so->taxicab = so->straight = 0;
	so->last = -get_float8_infinity();
	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
}

/* Search by these limits from now on; call it before the first row is asked for. */
void
hnsw_limit_scan(IndexScanDesc scan, const HnswScanLimits *limits)
{
	((HnswScan *) scan->opaque)->limits = *limits;
}

/*
 * Make the lists as long as a search begins with. What a long one needed would count as the memory
 * of the next, and cut that short.
 */
static void
set_lists(HnswScan *so)
{
	int			size = Max(LIST_SIZE, 2 * so->ef);

	if (so->hits != NULL && so->hits_size == size && so->results_size == size)
		return;
	if (so->hits != NULL)
	{
		pfree(so->hits);
		pfree(so->results);
	}
	so->hits = palloc_extended(sizeof(HnswHit) * size, MCXT_ALLOC_HUGE);
	so->hits_size = size;
	so->results = palloc_extended(sizeof(HnswResult) * size, MCXT_ALLOC_HUGE);
	so->results_size = size;
}

/* Allocate what every search of this scan needs, and again when ef changed. */
static void
prepare(IndexScanDesc scan, const HnswCache *cache)
{
	HnswScan   *so = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(so->context);
	int			ef = Max(so->limits.ef > 0 ? so->limits.ef : hnsw_ef_search, HNSW_LEAST_EF);

	ef *= hnsw_ef_factor(&so->metric, &cache->meta);

	if (so->prepared == NULL)
		so->prepared = palloc(sizeof(float) * cache->meta.dim);
	if (so->search.index == NULL || so->ef != ef || so->search.meta.crc != cache->meta.crc)
	{
		so->ef = ef;
		hnsw_search_init(&so->search, scan->indexRelation, &cache->meta, ef, visit_hit, so);
		hnsw_stretch_set(&so->search);
	}
	set_lists(so);
	MemoryContextSwitchTo(old);
}

/*
 * Take the query; a NULL is as far from every row and is searched for like a zero vector. Getting
 * at its value may open relations, so the cache is asked for behind that.
 */
static const HnswCache *
set_query(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;
	const HnswCache *cache;
	MemoryContext old = MemoryContextSwitchTo(so->context);

	vdist_index_metric(scan->indexRelation, &so->metric);
	if (so->query != NULL)
		pfree(so->query);
	so->query = NULL;
	if ((scan->orderByData->sk_flags & SK_ISNULL) == 0)
	{
		/* what the key points to may go away while the scan goes on */
		so->query = PG_DETOAST_DATUM_COPY(scan->orderByData->sk_argument);
		vdist_check_same_dim(so->metric.type, so->metric.dim,
							 vdist_value_dim(so->metric.type, so->query));
	}

	cache = hnsw_cache(scan->indexRelation);
	vdist_index_set_dim(scan->indexRelation, &so->metric, cache->meta.dim);

	/* an older version may have chosen another */
	so->metric.code_metric = (VdistMetric) cache->meta.metric;
	prepare(scan, cache);
	memset(so->prepared, 0, sizeof(float) * cache->meta.dim);
	so->trust_bounds = false;
	if (so->query != NULL)
	{
		Vector	   *v = vdist_index_vector(&so->metric, so->query);

		so->trust_bounds = vdist_metric_prepare((VdistMetric) cache->meta.metric,
												cache->meta.dim, v->x, so->prepared);
		if ((struct varlena *) v != so->query)
			pfree(v);
	}
	MemoryContextSwitchTo(old);
	return cache;
}

/* Is a hit of one heap row nearer than all else, whatever its exact distance? */
static bool
is_nearest(HnswScan *so, const HnswResult *result)
{
	HnswHit    *hit = &so->hits[result->hit];

	return hit->ntids == 1 && hit->more == HNSW_NO_ROW && HnswTidIsValid(&hit->tids[0]) &&
		result->distance >= so->last && so->nresults > 0 &&
		hit->upper < so->results[0].distance;
}

/*
 * May the nearest result be returned? Of the first search, as many as a usual LIMIT asks for, or an
 * eighth of what it looks at. Who asks for more has a condition or a large LIMIT and is served by
 * the stream, which looks further: what is returned too early costs all that is found late. What
 * the operator makes NaN comes behind all other rows, so behind those that no search has found,
 * too, unless the query makes all of them NaN.
 */
static bool
can_return(HnswScan *so)
{
	if (so->nresults == 0)
		return false;
	if (so->phase == HNSW_SCAN_FLAT)
		return true;
	if (so->trust_bounds && isinf(so->results[0].distance) && so->results[0].distance > 0)
		return false;
	if (so->phase == HNSW_SCAN_POOL)
		return so->nreturned < Max(so->ef / 8, USUAL_LIMIT);
	return hnsw_stream_passed(so, so->results[0].distance);
}

bool
hnsw_get_tuple(IndexScanDesc scan, ScanDirection dir)
{
	HnswScan   *so = scan->opaque;

	Assert(ScanDirectionIsForward(dir));
	if (so->phase == HNSW_SCAN_START)
	{
		const HnswCache *cache;

		if (scan->orderByData == NULL)
			elog(ERROR, "cannot scan a vdist_hnsw index without order");
		if (!IsMVCCSnapshot(scan->xs_snapshot))
			elog(ERROR, "a vdist_hnsw index scan needs an MVCC snapshot");
		pgstat_count_index_scan(scan->indexRelation);
		do
			cache = set_query(scan);
		while (HnswIsFlat(&cache->meta) && !look_at_all(so));
		if (HnswIsFlat(&so->search.meta))
			so->phase = HNSW_SCAN_FLAT;
		else
		{
			hnsw_search_set(&so->search, cache, so->prepared);
			if (!so->limits.exact)
				hnsw_search_run(&so->search);
			hnsw_fetch_ahead(scan);
			so->phase = HNSW_SCAN_POOL;
		}
	}
	scan->xs_recheckorderby = false;
	if (so->limits.rows > 0 && so->nreturned >= so->limits.rows)
		return false;

	while (so->phase != HNSW_SCAN_SWEEP)
	{
		CHECK_FOR_INTERRUPTS();
		while (can_return(so))
		{
			HnswResult	result = result_pop(so);

			if (result.hit >= 0 && is_nearest(so, &result))
			{
				result.distance = so->hits[result.hit].upper;
				result.tid = so->hits[result.hit].tids[0];
			}
			else if (result.hit >= 0)
			{
				hnsw_scan_resolve(scan, result.hit);
				continue;
			}
			if (result.distance < so->last && so->phase != HNSW_SCAN_FLAT)
			{
				hnsw_fetch_drop(so, &result);
				hnsw_stream_late(so, &result);
				continue;
			}
			so->last = result.distance;
			so->nreturned++;
			scan->xs_heaptid = result.tid;
			hnsw_fetch_hand_over(scan, &result);
			return true;
		}
		if (so->phase == HNSW_SCAN_FLAT)
			return false;
		if (so->phase == HNSW_SCAN_POOL)
			hnsw_stream_begin(so);
		else if (!hnsw_stream_more(so))
			hnsw_sweep_begin(scan);
	}
	so->nreturned++;
	return hnsw_sweep_next(scan);
}

void
hnsw_end_scan(IndexScanDesc scan)
{
	HnswScan   *so = scan->opaque;

	hnsw_stream_end(so);
	hnsw_read_end(&so->search.read);
	drop_results(so);
	hnsw_fetch_end(so);
	MemoryContextDelete(so->context);
	pfree(so);
	scan->opaque = NULL;
}
