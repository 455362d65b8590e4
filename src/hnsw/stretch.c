/*
 * stretch.c: how far a search looks. Calls graph.c; called by routing.c, which measures it in a build, and by
 * scan.c.
 *
 * With a fixed number of rows to expand, an easy query expands many that are far behind what it returns, and a hard
 * one stops among rows nearly as near as its nearest. So a search goes on while rows are within a multiple,
 * the stretch, of the distance of the 16th nearest that it found. How many rows that are depends on the data: a
 * build measures the stretch at which they are ef on the average. It grows by a power of ef as distances do with the number
 * of rows within them: by one over the data's dimension.
 */
#include "compat.h"

#include <math.h>

#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/* A search expands between two thirds of ef rows and MOST_TIMES ef, and at most MOST_MORE more than ef. */
#define MOST_TIMES 4
#define MOST_MORE 3000

/* The stretch is measured for the default ef_search and for so many times that. */
#define NARROW HNSW_DEFAULT_EF_SEARCH
#define WIDE_TIMES 4

/* The logarithm of a stretch is sought between these, to a 2^-STEPS of that. */
#define LOG_MIN -1.0
#define LOG_MAX 3.0
#define STEPS 20

/* Of data without any distances to tell, there is no stretch. */
#define FEWEST_ROWS (MOST_TIMES * WIDE_TIMES * NARROW)

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
 * Have a search look at ef rows on the average, instead of ef rows, if the index has a stretch. Allocates, like
 * hnsw_search_init, which it follows.
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

/* A search to measure with; its visit is to call hnsw_search_near. */
void
hnsw_stretch_begin(HnswStretch *measured, Relation index, const HnswMeta *meta, HnswVisit visit,
				   void *visit_arg)
{
	measured->pool = most(NARROW * WIDE_TIMES);
	hnsw_search_init(&measured->search, index, meta, measured->pool, visit, visit_arg);
	measured->search.nearest_size = HNSW_NEAR;
	measured->n = 0;
	measured->ratios = palloc_extended(sizeof(VdistHalf) * measured->pool * HNSW_STRETCH_SEARCHES,
									   MCXT_ALLOC_HUGE);
}

/* A search was run: remember how far the rows of its pool are, by the last of its nearest. */
void
hnsw_stretch_add(HnswStretch *measured)
{
	const HnswSearch *search = &measured->search;
	VdistHalf  *ratios = measured->ratios + measured->n * (Size) measured->pool;
	float		last;

	if (measured->n == HNSW_STRETCH_SEARCHES || search->nnearest < search->nearest_size)
		return;
	last = search->nearest[search->nnearest - 1];
	for (int i = 0; i < measured->pool; i++)
	{
		float		distance = i < search->npool ? hnsw_key_distance(search->pool[i]) : INFINITY;

		ratios[i] = vdist_float_to_half(distance <= 0 ? 0 : last > 0 ? distance / last : INFINITY);
	}
	measured->n++;
}

/* How many rows searches with this stretch would have expanded on the average, which are to be ef. */
static double
mean_expanded(const HnswStretch *measured, float stretch, int ef)
{
	double		sum = 0;

	for (int i = 0; i < measured->n; i++)
	{
		const VdistHalf *ratios = measured->ratios + i * (Size) measured->pool;
		int			first = least(ef);
		int			end = Min(most(ef), measured->pool);

		while (first < end)
		{
			int			middle = (first + end) / 2;

			if (vdist_half_to_float(ratios[middle]) <= stretch)
				first = middle + 1;
			else
				end = middle;
		}
		sum += first;
	}
	return sum / measured->n;
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

/* What the index's searches are to be like, from what was measured. */
void
hnsw_stretch_end(HnswStretch *measured, int64 nrows, HnswMeta *meta)
{
	double		narrow;
	double		wide;

	meta->stretch = meta->stretch_slope = 0;
	if (measured->n >= HNSW_STRETCH_SEARCHES / 2 && nrows >= FEWEST_ROWS &&
		fit(measured, NARROW, &narrow) && fit(measured, NARROW * WIDE_TIMES, &wide) &&
		wide > narrow)
	{
		meta->stretch = exp(narrow);
		meta->stretch_slope = (wide - narrow) / log(WIDE_TIMES);
	}
	elog(DEBUG1, "stretch %.4f, power %.4f, of %d searches", meta->stretch, meta->stretch_slope,
		 measured->n);
	pfree(measured->ratios);
}
