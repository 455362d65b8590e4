/*
 * graph.c: the walk through the graph towards one vector. Calls layout.c and quant/; called by scan.c,
 * insert.c and vacuum.c.
 *
 * Every row carries the codes of its neighbors, so one page read ranks all of them. The loop does
 * nothing else: no allocation, no copy, no set of visited rows. The estimate of a row is a function of
 * its code alone, hence the same from whichever neighbor it is reached, and a row is found again in
 * the pool by (estimate, number); what fell out of the pool is farther than all that is in it and
 * cannot come back.
 */
#include "compat.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

/* Of the routing rows, that many nearest begin the walk. */
#define ENTRIES 8

/* Insert into the sorted pool, which holds at most ef; returns the position, or -1 if already there. */
static inline int
pool_insert(HnswSearch *search, uint64 key, int ef)
{
	uint64	   *pool = search->pool;
	int			low = 0;
	int			high = search->npool;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (pool[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < search->npool && (pool[low] & ~HNSW_KEY_EXPANDED) == key)
		return -1;
	if (search->npool < ef)
		search->npool++;
	memmove(pool + low + 1, pool + low, sizeof(uint64) * (search->npool - 1 - low));
	pool[low] = key;
	return low;
}

/* Allocate, once for many searches, in the current memory context. */
void
hnsw_search_init(HnswSearch *search, Relation index, const HnswMeta *meta, int ef,
				 HnswVisit visit, void *visit_arg)
{
	memset(search, 0, offsetof(HnswSearch, estimates));
	search->index = index;
	search->meta = *meta;
	search->ef = ef;
	search->visit = visit;
	search->visit_arg = visit_arg;
	search->own = palloc(vdist_quant_query_size(meta->dim));
	search->code = palloc(vdist_quant_query_size(meta->dim));
	search->x = palloc(sizeof(float) * meta->dim);
	search->scratch = palloc(sizeof(float) * VDIST_QUANT_SCRATCH(meta->dim));
	search->pool = palloc(sizeof(uint64) * (ef + 1));
	search->read.buffer = InvalidBuffer;
	if (meta->span > 1)
		search->read.copy = palloc(meta->row_size);
}

/*
 * Set the vector that is searched for (prepared, see vdist_metric_prepare) and choose where to begin.
 * Uses the index's cache, see hnsw_cache.
 */
void
hnsw_search_set(HnswSearch *search, const float *x)
{
	const HnswCache *cache = hnsw_cache(search->index);
	int			entries = Min(ENTRIES, search->ef);
	uint64		bound = PG_UINT64_MAX;

	memcpy(search->x, x, sizeof(float) * search->meta.dim);
	vdist_quant_query(&cache->own, x, search->own, search->scratch);
	vdist_quant_query(&cache->code, x, search->code, search->scratch);

	search->npool = 0;
	search->hops = 0;
	for (int first = 0; first < cache->nrouting; first += HNSW_MAX_SLOTS)
	{
		int			n = Min(cache->nrouting - first, HNSW_MAX_SLOTS);

		vdist_quant_estimate(search->code,
							 cache->routing_codes + first * (Size) search->meta.code_size,
							 search->meta.code_size, n, search->estimates);
		for (int i = 0; i < n; i++)
		{
			uint64		key = hnsw_key(search->estimates[i], cache->routing[first + i]);

			if (key < bound)
			{
				pool_insert(search, key, entries);
				if (search->npool == entries)
					bound = search->pool[entries - 1];
			}
		}
	}
}

/*
 * Expand rows, nearest first, until the ef nearest that were seen are all expanded. visit is called
 * for every expanded row, with its page locked.
 */
void
hnsw_search_run(HnswSearch *search)
{
	const HnswMeta *meta = &search->meta;
	int			at = 0;

	while (at < search->npool)
	{
		uint64		key = search->pool[at];
		uint32		number;
		const HnswRow *row;
		const char *codes;
		uint64		bound;
		int			n;

		if (key & HNSW_KEY_EXPANDED)
		{
			at++;
			continue;
		}
		search->pool[at] = key | HNSW_KEY_EXPANDED;
		number = HnswKeyRow(key);
		at++;

		CHECK_FOR_INTERRUPTS();
		row = hnsw_read(&search->read, search->index, meta, number);
		search->hops++;

		/* freed and not reused, or reused for something else, since its number was read */
		if (unlikely(HnswRowStateOf(row) != HNSW_ROW_LIVE &&
					 HnswRowStateOf(row) != HNSW_ROW_DEAD))
		{
			hnsw_read_unlock(&search->read);
			continue;
		}

		search->visit(search, number, row);

		n = row->nneighbors;
		codes = HnswRowCodes(meta, row);
		vdist_quant_estimate(search->code, codes, meta->code_size, n, search->estimates);
		bound = search->npool < search->ef ? PG_UINT64_MAX : search->pool[search->ef - 1];
		for (int i = 0; i < n; i++)
		{
			uint64		neighbor = hnsw_key(search->estimates[i], row->neighbors[i]);

			if (neighbor < bound)
			{
				int			position = pool_insert(search, neighbor, search->ef);

				if (position >= 0 && position < at)
					at = position;
				if (search->npool == search->ef)
					bound = search->pool[search->ef - 1];
			}
		}
		hnsw_read_unlock(&search->read);
	}
	hnsw_read_end(&search->read);
}

/* The estimated distance of a row by its own code. */
float
hnsw_own_distance(const HnswSearch *search, const HnswRow *row)
{
	float		distance;

	vdist_quant_estimate(search->own, HnswRowOwn(&search->meta, row), 0, 1, &distance);
	return distance;
}
