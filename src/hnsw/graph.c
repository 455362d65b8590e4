/*
 * graph.c: the walk through the graph towards one vector. Calls read.c and quant/; called by
 * scan.c, insert.c, stretch.c and routing.c.
 *
 * Every row carries the codes of its neighbors, so one page read ranks all of them. The loop does
 * nothing else: no allocation, no copy, no set of visited rows. The estimate of a row is a function
 * of its code alone, hence the same from whichever neighbor it is reached, and a row is found again
 * in the pool by (estimate, number); what fell out of the pool is farther than all that is in it
 * and cannot come back.
 */
#include "compat.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

/* Of the routing rows, that many nearest begin the walk. */
#define ENTRIES 8

/*
 * Where there are more, one routing row in HNSW_ROUTING_STEP is ranked first, then those around the
 * nearest.
 */
#define ROUTING_ALL 128

/* They are not in order any more when more than one for so many of them came later. */
#define ROUTING_LATER 8

/*
 * Insert into the sorted pool, which holds at most ef; returns the position, or -1 if already
 * there. The search has no branch to predict wrongly: it would cost more than all its comparisons.
 */
static inline int
pool_insert(HnswSearch *search, uint64 key, int ef)
{
	uint64	   *pool = search->pool;
	const uint64 *base = pool;
	int			left = search->npool;
	int			at;

	while (left > 1)
	{
		int			half = left / 2;

		base += (base[half - 1] < key) * half;
		left -= half;
	}
	at = base - pool + (left == 1 && base[0] < key);

	if (at < search->npool && (pool[at] & ~HNSW_KEY_EXPANDED) == key)
		return -1;
	if (search->npool < ef)
		search->npool++;
	memmove(pool + at + 1, pool + at, sizeof(uint64) * (search->npool - 1 - at));
	pool[at] = key;
	return at;
}

/*
 * Which of a row's neighbors were not ranked before, as far as a small table remembers. One that
 * was is in the pool, or was too far for it, and the pool only gets nearer: it can be left out. One
 * that the table forgot is found again in the pool.
 */
static inline int
pick_new(HnswSearch *search, const HnswRow *row)
{
	uint32	   *ranked = search->ranked;
	int			shift = search->ranked_shift;
	int			n = 0;

	for (int i = 0; i < row->nneighbors; i++)
	{
		uint32		number = HnswNeighbor(row, i);
		uint32	   *slot = &ranked[(uint32) (number * 0x9E3779B1U) >> shift];

		search->which[n] = i;
		n += *slot != number;
		*slot = number;
	}
	return n;
}

/*
 * Must all routing rows be ranked? Not where so many are as a build wrote them, in the order of the
 * rows, in which neighbors follow each other, and where the build saw that searches find as much
 * from one in HNSW_ROUTING_STEP (routing.c): between crowds, those around the nearest may be far
 * from it. Inserts and vacuum put others anywhere between them.
 */
bool
hnsw_rank_all(int nrouting, uint32 sorted)
{
	return nrouting <= ROUTING_ALL || nrouting > sorted + sorted / ROUTING_LATER;
}

/* Allocate, once for many searches, in the current memory context. */
void
hnsw_search_init(HnswSearch *search, Relation index, const HnswMeta *meta, int ef,
				 HnswVisit visit, void *visit_arg)
{
	memset(search, 0, offsetof(HnswSearch, which));
	search->index = index;
	search->meta = *meta;
	search->ef = ef;
	search->least = search->usual = ef;
	search->visit = visit;
	search->visit_arg = visit_arg;
	if (meta->ncentres > 0)
		search->queries = hnsw_queries_new(meta->dim, meta->ncentres);
	search->own = palloc(vdist_quant_query_size(meta->dim));
	search->own_rest = palloc(vdist_quant_query_size(meta->dim));
	search->code = palloc(vdist_quant_query_size(meta->dim));
	search->x = palloc(sizeof(float) * meta->dim);
	search->scratch = palloc(sizeof(float) * HNSW_SCRATCH(meta->dim));
	search->pool = palloc(sizeof(uint64) * ef);
	search->ranked_shift = 32 - 10;
	while (search->ranked_shift > 32 - 16 && (1 << (32 - search->ranked_shift)) < ef * meta->slots)
		search->ranked_shift--;
	search->ranked = palloc(sizeof(uint32) << (32 - search->ranked_shift));
	search->read.buffer = InvalidBuffer;
	if (meta->span > 1)
		search->read.copy = palloc(meta->row_size);
}

/*
 * Keep a routing row, by a key of its place, if it is among the ENTRIES nearest; returns how many
 * there are.
 */
static inline int
keep_nearest(uint64 *nearest, int n, uint64 key)
{
	int			at;

	if (n == ENTRIES && key >= nearest[n - 1])
		return n;
	for (at = n < ENTRIES ? n++ : n - 1; at > 0 && nearest[at - 1] > key; at--)
		nearest[at] = nearest[at - 1];
	nearest[at] = key;
	return n;
}

/*
 * Rank the routing rows from first to end, step apart; nearest[] holds the n nearest so far, as
 * keys of their places. Returns how many it holds then.
 */
static int
rank_routing(HnswSearch *search, const HnswCache *cache, int first, int end, int step,
			 uint64 *nearest, int n)
{
	Size		stride = search->meta.code_size;

	while (first < end)
	{
		int			count = Min((end - first + step - 1) / step, HNSW_MAX_SLOTS);

		vdist_quant_estimate(search->code, cache->routing_codes + first * stride, stride * step,
							 count, search->estimates);
		for (int i = 0; i < count; i++)
			n = keep_nearest(nearest, n, hnsw_key(search->estimates[i], first + i * step));
		first += count * step;
	}
	return n;
}

/* The estimated distance of one routing row. */
static float
routing_distance(HnswSearch *search, const HnswCache *cache, uint32 place)
{
	const char *code = cache->routing_codes + place * (Size) search->meta.code_size;
	float		distance;

	if (search->queries != NULL)
		hnsw_queries_estimate(search->queries, &cache->codes, code, NULL, 1, &distance);
	else
		vdist_quant_estimate(search->code, code, search->meta.code_size, 1, &distance);
	return distance;
}

/* Rank the routing rows of near centres. */
static int
rank_near_routing(HnswSearch *search, const HnswCache *cache, uint64 *nearest)
{
	uint32	   *places = palloc(sizeof(uint32) * Max(cache->nrouting, 1));
	int			count = hnsw_queries_entries(search->queries, cache, ENTRIES, places);
	int			n = 0;

	for (int i = 0; i < count; i++)
		n = keep_nearest(nearest, n, hnsw_key(routing_distance(search, cache, places[i]), places[i]));
	pfree(places);
	return n;
}

/* Rank the long routing rows, of whatever centres. */
static int
rank_long(HnswSearch *search, const HnswCache *cache, uint64 *nearest)
{
	int			n = 0;

	if (search->queries == NULL)
		return rank_routing(search, cache, cache->nrouting - cache->nlong, cache->nrouting, 1,
							nearest, 0);
	for (int i = cache->nrouting - cache->nlong; i < cache->nrouting; i++)
		n = keep_nearest(nearest, n, hnsw_key(routing_distance(search, cache, i), i));
	return n;
}

/* Put routing rows that were ranked into the pool. */
static void
begin_at(HnswSearch *search, const HnswCache *cache, const uint64 *nearest, int n)
{
	for (int i = 0; i < n; i++)
	{
		uint64		key = (nearest[i] & ~(uint64) PG_UINT32_MAX) |
		cache->routing[HnswKeyRow(nearest[i])] << 1;

		if (search->npool < search->ef || key < search->pool[search->ef - 1])
			pool_insert(search, key, search->ef);
	}
}

/* Estimated distances of a row's first n neighbors, or of those at the places which[0..n-1]. */
void
hnsw_estimate(HnswSearch *search, const HnswRow *row, const uint16 *which, int n, float *distance)
{
	const HnswMeta *meta = &search->meta;
	const char *codes = HnswRowCodes(meta, row);

	if (unlikely(search->queries != NULL))
		hnsw_queries_estimate(search->queries, hnsw_codes(search->index, meta), codes, which, n,
							  distance);
	else if (which != NULL)
		vdist_quant_estimate_list(search->code, codes, meta->code_size, which, n, distance);
	else
		vdist_quant_estimate(search->code, codes, meta->code_size, n, distance);
}

static void
set_query(HnswSearch *search, const HnswCache *cache, const float *x)
{
	search->cache = cache;
	memcpy(search->x, x, sizeof(float) * search->meta.dim);
	if (search->queries != NULL)
		hnsw_queries_set(search->queries, &cache->codes, x);
	else
		vdist_quant_query_fine(&cache->codes.own, &cache->codes.code, x, search->own,
							   search->own_rest, search->code, search->scratch);

	search->npool = 0;
	search->nnearest = 0;
	search->limit = PG_UINT64_MAX;
	search->hops = 0;
	memset(search->asked, 0xFF, sizeof(search->asked));
	memset(search->ranked, 0xFF, sizeof(uint32) << (32 - search->ranked_shift));
}

/*
 * Set the vector that is searched for (prepared, see vdist_metric_prepare) and choose where to
 * begin. cache is hnsw_cache's.
 */
void
hnsw_search_set(HnswSearch *search, const HnswCache *cache, const float *x)
{
	uint64		around[ENTRIES];
	uint64		nearest[ENTRIES];
	int			nrouting = cache->nrouting - cache->nlong;
	int			n = 0;

	set_query(search, cache, x);
	if (search->queries != NULL)
		n = rank_near_routing(search, cache, nearest);
	else if (cache->rank_all)
		n = rank_routing(search, cache, 0, nrouting, 1, nearest, n);
	else
	{
		int			count = rank_routing(search, cache, HNSW_ROUTING_FIRST, nrouting,
										 HNSW_ROUTING_STEP, around, 0);

		for (int i = 0; i < count; i++)
		{
			int			first = TYPEALIGN_DOWN(HNSW_ROUTING_STEP, HnswKeyRow(around[i]));

			n = rank_routing(search, cache, first, Min(first + HNSW_ROUTING_STEP, nrouting), 1,
							 nearest, n);
		}
	}
	begin_at(search, cache, nearest, n);
	if (cache->nlong > 0)
		begin_at(search, cache, nearest, rank_long(search, cache, nearest));
}

/* The same, but begin at the neighbors of a row, which is near. */
void
hnsw_search_set_near(HnswSearch *search, const HnswCache *cache, const float *x, const HnswRow *row)
{
	set_query(search, cache, x);
	hnsw_estimate(search, row, NULL, row->nneighbors, search->estimates);
	for (int i = 0; i < row->nneighbors; i++)
	{
		uint64		key = hnsw_key(search->estimates[i], HnswNeighbor(row, i));

		if (search->npool < search->ef || key < search->pool[search->ef - 1])
			pool_insert(search, key, search->ef);
	}
}

/* From this key on rows do not get into the pool, or will never be expanded. */
static inline uint64
pool_bound(const HnswSearch *search)
{
	int			room = search->limit == PG_UINT64_MAX ? Min(search->usual, search->ef) : search->ef;
	uint64		bound = search->npool < room ? PG_UINT64_MAX : search->pool[room - 1];

	if (bound > search->limit && search->npool >= search->least)
		bound = Max(search->limit, search->pool[search->least - 1]);
	return bound;
}

/*
 * The nearest row of the pool that is to be expanded, marked as expanded; HNSW_NO_ROW if there is
 * none.
 */
static inline uint32
take_nearest(HnswSearch *search, int *at)
{
	for (; *at < search->npool; (*at)++)
	{
		uint64		key = search->pool[*at];

		if ((key & HNSW_KEY_EXPANDED) == 0)
		{
			if (key > search->limit && search->hops >= search->least)
				return HNSW_NO_ROW;
			search->pool[(*at)++] = key | HNSW_KEY_EXPANDED;
			return HnswKeyRow(key);
		}
	}
	return HNSW_NO_ROW;
}

/*
 * Where a search has come to fewer rows than it is to look at, put the other routing rows into its
 * pool, too: all of them together lead to every row. False if there is no need, or if it was done.
 */
static bool
begin_everywhere(HnswSearch *search)
{
	const HnswCache *cache = search->cache;

	if (cache == NULL || search->hops >= Min(search->least, search->ef))
		return false;
	search->cache = NULL;
	for (int i = 0; i < cache->nrouting; i++)
	{
		uint64		key = hnsw_key(routing_distance(search, cache, i), cache->routing[i]);

		if (key < pool_bound(search))
			pool_insert(search, key, search->ef);
	}
	return true;
}

/* The next row to expand, wherever it is; HNSW_NO_ROW at the end. */
static inline uint32
take_next(HnswSearch *search, int *at)
{
	uint32		number = take_nearest(search, at);

	if (number == HNSW_NO_ROW && begin_everywhere(search))
	{
		*at = 0;
		number = take_nearest(search, at);
	}
	return number;
}

/* Have a row's pages read from the disk, unless this search did before. */
void
hnsw_search_ask(HnswSearch *search, uint32 number)
{
	BlockNumber block = HnswRowBlock(&search->meta, number);
	BlockNumber *slot = &search->asked[block % HNSW_ASKED];

	if (*slot == block)
		return;
	*slot = block;
	for (int i = 0; i < search->meta.span; i++)
		hnsw_ask(search->index, block + i);
}

/* Ask for the pages of the nearest rows that are not expanded, from a place in the pool on. */
static void
ask_ahead(HnswSearch *search, int at)
{
	for (int n = 0; at < search->npool && n < HNSW_AHEAD; at++)
	{
		uint64		key = search->pool[at];

		if ((key & HNSW_KEY_EXPANDED) == 0)
		{
			hnsw_search_ask(search, HnswKeyRow(key));
			n++;
		}
	}
}

/*
 * Expand rows, nearest first, until the ef nearest that were seen are all expanded, or those within
 * the stretch (stretch.c). visit is called for every expanded row, with its page locked.
 *
 * The next row is chosen before the current one's neighbors are known, so that its memory is on the
 * way while they are ranked: a warm hop is mostly cache misses. Nearly all rows of the pool are
 * expanded in the end, so the order costs few hops.
 */
void
hnsw_search_run(HnswSearch *search)
{
	const HnswMeta *meta = &search->meta;
	int			at = 0;
	uint32		number = take_next(search, &at);

	while (number != HNSW_NO_ROW)
	{
		uint32		next = take_nearest(search, &at);
		const HnswRow *row;
		uint64		bound;
		int			n;

		CHECK_FOR_INTERRUPTS();
		if (next != HNSW_NO_ROW)
		{
			hnsw_prefetch(search->index, meta, next);
			if (hnsw_waits(search->index))
			{
				hnsw_search_ask(search, next);
				ask_ahead(search, at);
			}
		}
		row = hnsw_read(&search->read, search->index, meta, number);
		search->hops++;

		/* else freed, and perhaps reused for something else, since its number was read */
		if (likely(HnswRowStateOf(row) == HNSW_ROW_LIVE ||
				   HnswRowStateOf(row) == HNSW_ROW_DEAD))
		{
			search->visit(search, number, row);

			n = pick_new(search, row);
			hnsw_estimate(search, row, search->which, n, search->estimates);
			bound = pool_bound(search);
			for (int i = 0; i < n; i++)
			{
				uint64		key = hnsw_key(search->estimates[i],
										   HnswNeighbor(row, search->which[i]));

				if (key < bound)
				{
					int			position = pool_insert(search, key, search->ef);

					if (position >= 0 && position < at)
						at = position;
					bound = pool_bound(search);
				}
			}
		}
		hnsw_read_unlock(&search->read);
		number = next != HNSW_NO_ROW ? next : take_next(search, &at);
	}
	hnsw_read_end(&search->read);
}

/* The estimated distance of a row by its own code, and the standard deviation of its error. */
float
hnsw_own_distance(HnswSearch *search, const HnswRow *row, float *error)
{
	const char *own = HnswRowOwn(&search->meta, row);
	float		distance;

	if (search->queries != NULL)
		return hnsw_queries_own(search->queries, hnsw_codes(search->index, &search->meta), own,
								error);
	distance = vdist_quant_estimate_fine(search->own, search->own_rest, own);
	*error = vdist_quant_error(search->own, own, distance);
	return distance;
}

/*
 * The vector behind a row's own code, as vdist_metric_prepare made it, into x; returns the standard
 * deviation of what each component lost. Call it after hnsw_own_distance.
 */
float
hnsw_own_vector(HnswSearch *search, const HnswRow *row, float *x)
{
	const HnswCodes *codes = hnsw_codes(search->index, &search->meta);
	const char *own = HnswRowOwn(&search->meta, row);

	hnsw_decode_vector(codes, &codes->own, own, x);
	return search->queries != NULL ? hnsw_queries_lost(search->queries, codes, own) :
		vdist_quant_lost(search->own, own);
}
