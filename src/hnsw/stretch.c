/*
 * stretch.c: how far a search looks. Calls the graph core; called by scan.c, by routing.c, which
 * measures it in a build, and by vacuum.c, where that is no longer what the index is.
 *
 * With a fixed number of rows to expand, an easy query expands many that are far behind what it
 * returns, and a hard one stops among rows nearly as near as its nearest. So a search goes on while
 * rows are within a multiple, the stretch, of the distance of the 16th nearest that it found. How
 * many rows that are depends on the data: a build measures the stretch at which they are ef on the
 * average. It grows by a power of ef as distances do with the number of rows within them: by one
 * over the data's dimension.
 */
#include "compat.h"

#include <math.h>

#include "access/generic_xlog.h"
#include "commands/vacuum.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/*
 * A search expands between two thirds of ef rows and MOST_TIMES ef, and at most MOST_MORE more than
 * ef.
 */
#define MOST_TIMES 4
#define MOST_MORE 3000

/*
 * The stretch is measured for the default ef_search and for so many times that, by one in so many
 * searches: its power varies less, and those take longest.
 */
#define NARROW HNSW_DEFAULT_EF_SEARCH
#define WIDE_TIMES 4
#define WIDE_EVERY 4

/*
 * So many searches, one for so many rows but of a small table more. With 128, buffers of searches
 * varied by 3 % from build to build, now by 1.
 */
#define MOST_SEARCHES 384
#define FEWEST_SEARCHES 128
#define ROWS_PER_SEARCH 64

/* The logarithm of a stretch is sought between these, to a 2^-STEPS of that. */
#define LOG_MIN -1.0
#define LOG_MAX 3.0
#define STEPS 20

/* With fewer rows there is none yet. */
#define FEWEST_ROWS (MOST_TIMES * WIDE_TIMES * NARROW)

/* Of data whose distances tell nothing there is none. */
#define NO_STRETCH -1

/* It is measured again when there are 1.41 times as many rows, or as few. */
#define SCALE_ONE 1024			/* a scale is so many times the binary logarithm of the rows */
#define SCALE_MORE (SCALE_ONE / 2)

/* For a search, a row is looked for on so many pages at most. */
#define PAGES_PER_SEARCH 8

static int
least(int ef)
{
	return Max(ef - ef / 3, 1);
}

static int
most(int ef)
{
	return ef + Min((MOST_TIMES - 1) * ef, MOST_MORE);
}

static int
nearest_size(int ef)
{
	return Min(HNSW_NEAR, least(ef));
}

/*
 * Have a search look at ef rows on the average, instead of ef rows, if the index has a stretch.
 * Allocates, like hnsw_search_init, which it follows.
 */
void
hnsw_stretch_set(HnswSearch *search)
{
	const HnswMeta *meta = &search->meta;
	int			ef = search->ef;
	double		narrow = (double) NARROW / nearest_size(NARROW);

	if (!(meta->stretch > 0))
		return;
	pfree(search->pool);
	search->ef = most(ef);
	search->pool = palloc(sizeof(uint64) * search->ef);
	search->least = least(ef);
	search->nearest_size = nearest_size(ef);
	search->stretch = meta->stretch *
		pow(ef / (double) search->nearest_size / narrow, meta->stretch_slope);
}

/* ---- measuring ---- */

static inline bool
is_wide(int i)
{
	return i % WIDE_EVERY == 0;
}

/* How many rows a search expands. */
static inline int
pool_of(int i)
{
	return most(is_wide(i) ? NARROW * WIDE_TIMES : NARROW);
}

/* Where its ratios begin. */
static inline int
ratios_of(int i)
{
	return i * most(NARROW) +
		(i + WIDE_EVERY - 1) / WIDE_EVERY * (most(NARROW * WIDE_TIMES) - most(NARROW));
}

/* What a search knows of how near a row is, unless it is the one that is searched for. */
static void
visit_other(HnswSearch *search, uint32 number, const HnswRow *row)
{
	const HnswStretch *measured = search->visit_arg;
	float		error;

	if (number != measured->number)
		hnsw_search_near(search, hnsw_own_distance(search, row, &error));
}

/* Allocate what measuring needs, among nrows rows, in the current memory context. */
void
hnsw_stretch_begin(HnswStretch *measured, Relation index, const HnswMeta *meta, int64 nrows)
{
	hnsw_search_init(&measured->search, index, meta, pool_of(0), visit_other, measured);
	measured->search.nearest_size = HNSW_NEAR;
	measured->wanted = Min(Max(nrows / ROWS_PER_SEARCH, FEWEST_SEARCHES), MOST_SEARCHES);
	measured->n = 0;
	measured->ratios = palloc(sizeof(VdistHalf) * ratios_of(measured->wanted));
}

/*
 * Search for a row of the index, x, prepared, and remember how far the rows of the pool are, by the
 * last of its nearest.
 */
void
hnsw_stretch_add(HnswStretch *measured, const HnswCache *cache, uint32 number, const float *x)
{
	HnswSearch *search = &measured->search;
	VdistHalf  *ratios = measured->ratios + ratios_of(measured->n);
	int			pool = pool_of(measured->n);
	float		last;

	if (measured->n == measured->wanted)
		return;
	measured->number = number;
	search->ef = search->least = search->usual = pool;
	hnsw_search_set(search, cache, x);
	hnsw_search_run(search);
	if (search->nnearest < search->nearest_size)
		return;
	last = search->nearest[search->nnearest - 1];
	for (int i = 0; i < pool; i++)
	{
		float		distance = i < search->npool ? hnsw_key_distance(search->pool[i]) : INFINITY;

		ratios[i] = vdist_float_to_half(distance <= 0 ? 0 : last > 0 ? distance / last : INFINITY);
	}
	measured->n++;
}

/*
 * How many rows searches with this stretch would have expanded on the average, which are to be ef.
 */
static double
mean_expanded(const HnswStretch *measured, float stretch, int ef)
{
	double		sum = 0;
	int			n = 0;

	for (int i = 0; i < measured->n; i++)
	{
		const VdistHalf *ratios = measured->ratios + ratios_of(i);
		int			first = least(ef);
		int			end = most(ef);

		if (end > pool_of(i))
			continue;

		while (first < end)
		{
			int			middle = (first + end) / 2;

			if (vdist_half_to_float(ratios[middle]) <= stretch)
				first = middle + 1;
			else
				end = middle;
		}
		sum += first;
		n++;
	}
	return sum / n;
}

/* The logarithm of the stretch; false if there is none. */
static bool
fit(const HnswStretch *measured, int ef, double *result)
{
	double		low = LOG_MIN;
	double		high = LOG_MAX;

	if (mean_expanded(measured, exp(low), ef) > ef || mean_expanded(measured, exp(high), ef) < ef)
		return false;
	for (int step = 0; step < STEPS; step++)
	{
		double		middle = (low + high) / 2;

		if (mean_expanded(measured, exp(middle), ef) < ef)
			low = middle;
		else
			high = middle;
	}
	*result = high;
	return true;
}

/* How many rows there are, as HnswMeta remembers it. */
static uint16
scale_of(double nrows)
{
	return rint(log2(Max(nrows, 1)) * SCALE_ONE);
}

/* What the index's searches are to be like, from what was measured. */
void
hnsw_stretch_end(HnswStretch *measured, int64 nrows, HnswMeta *meta)
{
	double		narrow;
	double		wide;

	meta->stretch = meta->stretch_slope = 0;
	meta->stretch_scale = scale_of(nrows);
	if (nrows >= FEWEST_ROWS)
	{
		meta->stretch = NO_STRETCH;
		if (measured->n >= measured->wanted / 2 &&
			fit(measured, NARROW, &narrow) && fit(measured, NARROW * WIDE_TIMES, &wide) &&
			wide > narrow)
		{
			meta->stretch = exp(narrow);
			meta->stretch_slope = (wide - narrow) / log(WIDE_TIMES);
		}
	}
	elog(DEBUG1, "stretch %.4f, power %.4f, of %d searches", meta->stretch, meta->stretch_slope,
		 measured->n);
	pfree(measured->ratios);
}

/* ---- measuring again ---- */

/*
 * The first live row with a place among the others on a page, as a vector, prepared; HNSW_NO_ROW if
 * there is none.
 */
static uint32
first_row(HnswSearch *search, BufferAccessStrategy strategy, BlockNumber block, float *x)
{
	const HnswMeta *meta = &search->meta;
	const HnswCodes *codes = hnsw_codes(search->index, meta);
	Buffer		buffer = ReadBufferExtended(search->index, MAIN_FORKNUM, block, RBM_NORMAL,
											strategy);
	char	   *own = palloc(meta->own_size);
	uint32		found = HNSW_NO_ROW;
	bool		graph;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	graph = hnsw_page_is(BufferGetPage(buffer), HNSW_PAGE_GRAPH);
	UnlockReleaseBuffer(buffer);
	for (int i = 0; graph && i < meta->rows_per_page && found == HNSW_NO_ROW; i++)
	{
		uint32		number = block * meta->rows_per_page + i;
		const HnswRow *row = hnsw_read(&search->read, search->index, meta, number);

		if (HnswRowStateOf(row) == HNSW_ROW_LIVE && (row->state & HNSW_ROW_UNORDERED) == 0)
		{
			memcpy(own, HnswRowOwn(meta, row), meta->own_size);
			found = number;
		}
		hnsw_read_unlock(&search->read);
	}
	hnsw_read_end(&search->read);
	if (found != HNSW_NO_ROW)
		hnsw_decode_vector(codes, &codes->own, own, x);
	pfree(own);
	return found;
}

static void
write_stretch(Relation index, const HnswMeta *measured)
{
	Buffer		buffer = ReadBuffer(index, HNSW_META_BLOCK);
	GenericXLogState *xlog = GenericXLogStart(index);
	HnswMeta   *head;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	head = HnswPageMeta(GenericXLogRegisterBuffer(xlog, buffer, 0));
	head->stretch = measured->stretch;
	head->stretch_slope = measured->stretch_slope;
	head->stretch_scale = measured->stretch_scale;
	/* what backends remember is of another version now */
	head->routing_version++;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
}

/*
 * Measure the stretch of an index where there are about nrows rows by now, if that is another order
 * of size than when it was measured, as in an index that was made on an empty table. Searches for
 * rows of the index.
 */
void
hnsw_stretch_again(Relation index, BufferAccessStrategy strategy, double nrows)
{
	HnswMeta	meta = hnsw_cache(index)->meta;
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	MemoryContext context;
	MemoryContext old;
	HnswStretch measured;
	float	   *x;

	/* heap rows: those of equal vectors are one here, and a partial index has not all */
	nrows = Min(nrows, (double) nblocks / meta.span * meta.rows_per_page);
	if (HnswIsFlat(&meta) || meta.version < HNSW_VERSION_STRETCH || nblocks <= HNSW_FIRST_BLOCK ||
		abs(scale_of(nrows) - meta.stretch_scale) <= SCALE_MORE)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw stretch",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	x = palloc(sizeof(float) * meta.dim);
	hnsw_stretch_begin(&measured, index, &meta, nrows);
	for (int i = 0; i < PAGES_PER_SEARCH * measured.wanted && measured.n < measured.wanted; i++)
	{
		uint32		number = first_row(&measured.search, strategy, HNSW_FIRST_BLOCK +
									   murmurhash32(i) % (nblocks - HNSW_FIRST_BLOCK), x);

		vdist_vacuum_delay_point();
		if (number != HNSW_NO_ROW)
			hnsw_stretch_add(&measured, hnsw_cache(index), number, x);
	}
	hnsw_stretch_end(&measured, nrows, &meta);
	write_stretch(index, &meta);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
