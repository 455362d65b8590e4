/*
 * routing.c: which rows of a new graph become routing rows. Calls graph.c and the spools of the
 * build; called by pages.c.
 *
 * The entries of the graph lead to every row, but a search with a small pool does not take every
 * way: where rows lie in many small crowds, the first one or two that it meets fill its pool. So
 * rows are searched for, and those whose neighborhood is not found become routing rows, too.
 */
#include "compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/build.h"

/* The pool of a trial search. */
#define TRIAL_EF 10

/*
 * Ranking one routing row in several, which saves the time of some hops, may miss that many more.
 */
#define MISSED_MORE 0.02

/*
 * Rows that are searched for to see whether there is need: one in so many, and about how many at
 * most.
 */
#define TRIAL_STEP 32
#define TRIAL_ROWS 400

/* Of those, that many may be missed. Real sets without crowds miss up to .05. */
#define MISSED_SHARE 0.08

/* Whether more routing rows help is tried on one in so many parts of the rows. */
#define PARTS 64
#define PARTS_STEP 8

/* They do where no more than that much of what was missed still is. */
#define HELPFUL 0.7

/*
 * One row in so many is searched for, and may become a routing row, where there is need; so often,
 * if need be.
 */
#define ADD_STEP 8
#define ADD_ROUNDS 3

/*
 * Where there is room for few routing rows, so many rows are searched for, as an ordinary search
 * would do it, and those that are not found take the last quarter of the room: some hundred rows
 * far from all others may have no routing row near them otherwise.
 */
#define FEW_ROWS 1024
#define FEW_EF HNSW_DEFAULT_EF_SEARCH

typedef struct Trial
{
	HnswBuild  *build;
	uint32		first;			/* number of the first row */
	HnswSearch	search;
	HnswCache  *cache;			/* with the routing rows so far */
	HnswRead	read;
	float	   *x;
	uint32	   *positions;		/* of the routing rows */
	int			size;			/* routing rows there is room for */
} Trial;

static uint32
row_number(const Trial *trial, int64 position)
{
	return trial->first + position * trial->build->meta.span;
}

/*
 * The graph's entries and, so that a search finds its way to every crowd, the first row of each
 * centre.
 */
static int
first_positions(HnswBuild *build, uint32 **positions)
{
	const HnswMeta *meta = &build->meta;
	const uint32_t *entries;
	int			n = vdist_graph_entries(build->graph, &entries);
	bool	   *found = palloc0(sizeof(bool) * (meta->ncentres + 1));

	*positions = MemoryContextAllocHuge(CurrentMemoryContext,
										sizeof(uint32) * ((Size) n + meta->ncentres + 1));
	memcpy(*positions, entries, sizeof(uint32) * n);
	for (int i = 0; i < n && meta->ncentres > 0; i++)
		found[hnsw_code_centre(hnsw_spool_get(build->codes, (*positions)[i]))] = true;
	for (int64 p = 0; p < build->n && meta->ncentres > 0; p++)
	{
		uint16		centre = hnsw_code_centre(hnsw_spool_get(build->codes, p));

		if (!found[centre])
			(*positions)[n++] = p;
		found[centre] = true;
	}
	return n;
}

static void
ignore(HnswSearch *search, uint32 number, const HnswRow *row)
{
}

static void
add_routing(Trial *trial, uint32 position)
{
	HnswCache  *cache = trial->cache;
	Size		code_size = trial->build->meta.code_size;

	if (cache->nrouting == trial->size)
	{
		trial->size *= 2;
		trial->positions = repalloc_huge(trial->positions, sizeof(uint32) * trial->size);
		cache->routing = repalloc_huge(cache->routing, sizeof(uint32) * trial->size);
		cache->routing_codes = repalloc_huge(cache->routing_codes, code_size * trial->size);
	}
	trial->positions[cache->nrouting] = position;
	cache->routing[cache->nrouting] = row_number(trial, position);
	memcpy(cache->routing_codes + cache->nrouting * code_size,
		   hnsw_spool_get(trial->build->codes, position), code_size);
	cache->nrouting++;
}

/*
 * What a backend would remember of the index if it was complete, with as many routing rows as there
 * are. Its codes take vectors that are rotated already, because that is what own codes are decoded
 * to.
 */
static void
begin_trial(Trial *trial, HnswBuild *build, uint32 first, const uint32 *positions, int n)
{
	const HnswMeta *meta = &build->meta;
	Relation	index = build->index;
	HnswCache  *cache = MemoryContextAllocZero(index->rd_indexcxt, sizeof(HnswCache));
	bool		rotate = build->coding.own.metric != VDIST_QUANT_L1 && !build->coding.own.rotated;

	memset(trial, 0, sizeof(Trial));
	trial->build = build;
	trial->first = first;
	trial->cache = cache;
	trial->x = palloc(sizeof(float) * meta->dim);
	trial->size = n + 64;
	trial->positions = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * trial->size);
	cache->meta = *meta;
	cache->rank_all = true;
	cache->routing = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * trial->size);
	cache->routing_codes = MemoryContextAllocHuge(CurrentMemoryContext,
												  meta->code_size * (Size) trial->size);
	for (int i = 0; i < n; i++)
		add_routing(trial, positions[i]);
	cache->mean = palloc(sizeof(float) * meta->dim);
	memcpy(cache->mean, build->mean, sizeof(float) * meta->dim);
	cache->codes = build->coding;
	cache->codes.own.mean = cache->codes.code.mean = cache->mean;
	if (rotate)
	{
		vdist_quant_rotate(meta->dim, cache->mean);
		cache->codes.own.rotated = cache->codes.code.rotated = true;
	}
	cache->nhints = RelationGetNumberOfBlocks(index);
	cache->hints.buffers = MemoryContextAllocExtended(CurrentMemoryContext,
													  sizeof(Buffer) * (Size) cache->nhints,
													  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	hnsw_search_init(&trial->search, index, meta, FEW_EF, ignore, NULL);
	trial->search.ef = TRIAL_EF;
	trial->read.buffer = InvalidBuffer;
	if (meta->span > 1)
		trial->read.copy = palloc(meta->row_size);
	if (index->rd_amcache != NULL)
		pfree(index->rd_amcache);
	index->rd_amcache = cache;
}

static void
end_trial(Trial *trial)
{
	Relation	index = trial->build->index;

	if (index->rd_amcache == trial->cache)
	{
		index->rd_amcache = NULL;
		pfree(trial->cache);
	}
}

/* The distance that a search ranks a row by. */
static float
estimate(Trial *trial, int64 position)
{
	HnswSearch *search = &trial->search;
	const char *code = hnsw_spool_get(trial->build->codes, position);
	float		distance;

	if (search->queries != NULL)
		hnsw_queries_estimate(search->queries, &trial->cache->codes, code, NULL, 1, &distance);
	else
		vdist_quant_estimate(search->code, code, trial->build->meta.code_size, 1, &distance);
	return distance;
}

/* The vector of the row at a position, in trial->x; false when it has no place among the others. */
static bool
get_vector(Trial *trial, int64 position)
{
	HnswBuild  *build = trial->build;
	const HnswMeta *meta = &build->meta;
	const HnswBuildRow *stored = hnsw_spool_get(build->rows, position);

	CHECK_FOR_INTERRUPTS();
	if (stored->unordered)
		return false;
	hnsw_decode_code(&build->coding, &build->coding.own, stored->own, trial->x);
	for (int i = 0; i < meta->dim && meta->ncentres == 0; i++)
		trial->x[i] += trial->cache->mean[i];
	return true;
}

/* Search for it. */
static bool
run(Trial *trial, HnswSearch *search, int64 position)
{
	if (!get_vector(trial, position))
		return false;
	hnsw_search_set(search, trial->cache, trial->x);
	hnsw_search_run(search);
	return true;
}

/*
 * Does a search for the row at a position find its way there: to the row or one of those that it
 * keeps as neighbors, or to something that is nearer by the codes, as it may well be with inner
 * products?
 */
static bool
is_found(Trial *trial, int64 position)
{
	HnswBuild  *build = trial->build;
	HnswSearch *search = &trial->search;
	uint32		number = row_number(trial, position);
	const HnswRow *row;
	bool		found = false;

	if (!run(trial, search, position))
		return true;
	if (search->npool == 0 || hnsw_key_distance(search->pool[0]) <= estimate(trial, position))
		return true;
	row = hnsw_read(&trial->read, build->index, &build->meta, number);
	for (int i = 0; i < search->npool && !found; i++)
	{
		uint32		other = HnswKeyRow(search->pool[i]);

		found = other == number;
		for (int j = 0; j < row->nkept && !found; j++)
			found = other == HnswNeighbor(row, j);
	}
	hnsw_read_unlock(&trial->read);
	hnsw_read_end(&trial->read);
	return found;
}

/* Is the row of a part on which is tried what helps? */
static bool
in_tried_part(const Trial *trial, int64 position)
{
	return position * PARTS / trial->build->n % PARTS_STEP == 0;
}

/* The share of the rows, or of those of the tried parts, that is not found. */
static double
missed_share(Trial *trial, bool tried)
{
	int64		n = trial->build->n;
	int64		step = Max(n / TRIAL_ROWS / (tried ? 2 : 1), TRIAL_STEP / (tried ? 2 : 1));
	int			searched = 0;
	int			missed = 0;

	/* not those that may become routing rows */
	for (int64 p = ADD_STEP / 2; p < n; p += TYPEALIGN_DOWN(ADD_STEP, step))
	{
		if (tried && !in_tried_part(trial, p))
			continue;
		searched++;
		missed += !is_found(trial, p);
	}
	return searched > 0 ? (double) missed / searched : 0;
}

/* Make routing rows of those in the tried parts, or everywhere, that are not found. */
static void
add_missed(Trial *trial, int first, bool tried)
{
	int64		n = trial->build->n;

	for (int64 p = first; p < n && trial->cache->nrouting < HNSW_MOST_ROUTING; p += ADD_STEP)
		if ((!tried || in_tried_part(trial, p)) && !is_found(trial, p))
			add_routing(trial, p);
}

/* Where there is room for few, use it up for rows that are not found. */
static void
add_far(Trial *trial, int limit)
{
	int64		step = Max(trial->build->n / FEW_ROWS, 1);

	trial->search.ef = FEW_EF;
	for (int64 p = step / 2; p < trial->build->n && trial->cache->nrouting < limit; p += step)
		if (!is_found(trial, p))
			add_routing(trial, p);
	trial->search.ef = TRIAL_EF;
}

/*
 * More routing rows, if there is need and if they help; returns the share of the rows that is not
 * found.
 */
static double
add_needed(Trial *trial)
{
	int			n = trial->cache->nrouting;
	double		share = missed_share(trial, false);
	double		before;
	double		after;

	elog(DEBUG1, "%.3f of the rows are not found from %d routing rows", share, n);
	if (share <= MISSED_SHARE)
		return share;
	before = missed_share(trial, true);
	add_missed(trial, 0, true);
	after = missed_share(trial, true);
	elog(DEBUG1, "%.3f of some, and %.3f with %d more routing rows", before, after,
		 trial->cache->nrouting - n);
	if (after > before * HELPFUL)
	{
		trial->cache->nrouting = n;
		return share;
	}
	for (int round = 0; round < ADD_ROUNDS && share > MISSED_SHARE / 2; round++)
	{
		add_missed(trial, round * (ADD_STEP / 4 + 1), false);
		share = missed_share(trial, false);
		elog(DEBUG1, "%.3f with %d routing rows", share, trial->cache->nrouting);
	}
	return share;
}

static int
compare_positions(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Of HNSW_ROUTING_STEP routing rows one is ranked for all of them. Those of a small crowd far from
 * all others lie somewhere between these, so no search comes to them, and hardly any row tells. So
 * a routing row that searches do not find gets the place of one that is ranked, of its own
 * neighbors in the order or of the next ones.
 */
static void
show_hidden(Trial *trial)
{
	int			n = trial->cache->nrouting;
	int			nplaces = (n + HNSW_ROUTING_STEP - 1 - HNSW_ROUTING_FIRST) / HNSW_ROUTING_STEP;
	bool	   *taken = palloc0(sizeof(bool) * nplaces);
	int			left = nplaces;

	for (int i = 0; i < n && left > 0; i++)
	{
		uint32		position = trial->positions[i];
		int			place = i / HNSW_ROUTING_STEP % nplaces;
		int			to;

		if (i % HNSW_ROUTING_STEP == HNSW_ROUTING_FIRST || is_found(trial, position))
			continue;
		while (taken[place])
			place = (place + 1) % nplaces;
		taken[place] = true;
		left--;
		to = place * HNSW_ROUTING_STEP + HNSW_ROUTING_FIRST;
		trial->cache->nrouting = i;
		add_routing(trial, trial->positions[to]);
		trial->cache->nrouting = to;
		add_routing(trial, position);
		trial->cache->nrouting = n;
	}
	elog(DEBUG1, "%d routing rows are ranked in place of another", nplaces - left);
	pfree(taken);
}

/*
 * Put the routing rows in order. May searches then rank one in several of them, where they missed a
 * share by ranking all?
 */
static bool
sort_routing(Trial *trial, double share)
{
	int			n = trial->cache->nrouting;
	double		missed;

	qsort(trial->positions, n, sizeof(uint32), compare_positions);
	if (trial->search.queries != NULL || hnsw_rank_all(n, n))
		return true;
	trial->cache->nrouting = 0;
	for (int i = 0; i < n; i++)
		add_routing(trial, trial->positions[i]);
	trial->cache->rank_all = false;
	show_hidden(trial);
	missed = missed_share(trial, false);
	elog(DEBUG1, "%.3f of the rows are not found when not all routing rows are ranked", missed);
	return missed <= share + MISSED_MORE;
}

/* Measure how far searches are to look. */
static void
measure_stretch(Trial *trial, HnswMeta *head)
{
	int64		n = trial->build->n;
	int64		step;
	HnswStretch measured;

	hnsw_stretch_begin(&measured, trial->build->index, &trial->build->meta, n);
	step = Max(n / measured.wanted, 1);
	for (int64 p = step / 2; p < n; p += step)
		if (get_vector(trial, p))
			hnsw_stretch_add(&measured, trial->cache, row_number(trial, p), trial->x);
	hnsw_stretch_end(&measured, n, head);
}

/* A long row, and the square of it. */
typedef struct Long
{
	float		norm2;
	uint32		position;
} Long;

static int
compare_long(const void *a, const void *b)
{
	const Long *x = a;
	const Long *y = b;

	if (x->norm2 != y->norm2)
		return x->norm2 > y->norm2 ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

/* Make routing rows of long rows, the longest ones if they are many. */
static void
add_long(Trial *trial)
{
	HnswBuild  *build = trial->build;
	const HnswCodes *codes = &build->coding;
	int			nknown = trial->cache->nrouting;
	uint32	   *known = palloc(sizeof(uint32) * nknown);
	Long	   *rows = palloc(sizeof(Long) * 2 * HNSW_MAX_LONG);
	int			n = 0;

	memcpy(known, trial->positions, sizeof(uint32) * nknown);
	qsort(known, nknown, sizeof(uint32), compare_positions);
	for (int64 p = 0; p < build->n; p++)
	{
		const HnswBuildRow *stored = hnsw_spool_get(build->rows, p);
		float		norm2 = hnsw_code_norm2(codes, &codes->own, stored->own, trial->cache->mean,
											trial->x);
		uint32		position = p;

		CHECK_FOR_INTERRUPTS();
		if (!hnsw_is_long(&build->meta, norm2) ||
			bsearch(&position, known, nknown, sizeof(uint32), compare_positions))
			continue;
		rows[n].norm2 = norm2;
		rows[n++].position = position;
		if (n < 2 * HNSW_MAX_LONG)
			continue;
		qsort(rows, n, sizeof(Long), compare_long);
		n = HNSW_MAX_LONG;
	}
	qsort(rows, n, sizeof(Long), compare_long);
	for (int i = 0; i < Min(n, HNSW_MAX_LONG); i++)
		add_routing(trial, rows[i].position);
	elog(DEBUG1, "%d long rows more", Min(n, HNSW_MAX_LONG));
	pfree(rows);
	pfree(known);
}

/*
 * The positions of the rows that become routing rows, and what the metapage, head, says of
 * searches. Of the graph all is on pages but these rows.
 */
uint32 *
hnsw_choose_routing(HnswBuild *build, uint32 first, int *count, HnswMeta *head)
{
	Trial		trial;
	uint32	   *positions;
	int			n = first_positions(build, &positions);

	begin_trial(&trial, build, first, positions, n);
	PG_TRY();
	{
		int			limit = hnsw_routing_limit(&build->meta);
		double		share;

		if (limit < HNSW_MAX_ROUTING)
			add_far(&trial, limit);
		elog(DEBUG1, "%d routing rows of the graph, %d with those far off", n,
			 trial.cache->nrouting);
		share = add_needed(&trial);
		n = trial.cache->nrouting;
		head->routing_sorted = sort_routing(&trial, share) ? n : 0;
		trial.cache->rank_all = hnsw_rank_all(n, head->routing_sorted);
		measure_stretch(&trial, head);
		if (build->meta.metric == VDIST_METRIC_IP)
			add_long(&trial);
		n = trial.cache->nrouting;
	}
	PG_FINALLY();
	{
		end_trial(&trial);
	}
	PG_END_TRY();
	*count = n;
	return trial.positions;
}
