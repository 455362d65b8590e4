/*
 * cost.c: what the planner believes a vdist_hnsw scan costs. Calls core's generic estimate; called
 * by core through handler.c.
 *
 * A unit is what the planner makes of 0.45 us: so long takes one of the 0.33 that it charges for a
 * row of a sequential scan with a distance. test/bench/README.md has the measurements.
 */
#include "compat.h"

#include <math.h>

#include "access/genam.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#include "hnsw/hnsw.h"

/*
 * 0.6 us with a row of 1.3 kB and 1.5 us with one of 8 kB: between what it takes in cache and
 * outside.
 */
#define HOP_COST 0.9
#define HOP_COST_PER_KB 0.3

/*
 * Of a flat index, all rows are looked at, in the order they lie in; then they are sorted as asked
 * for.
 */
#define FLAT_COST 0.06
#define FLAT_COST_PER_KB 0.15
#define FLAT_RETURN_COST 0.5

/* A row of the stream is one hop, and those that keep it ahead (stream.c). */
#define HOPS_PER_ROW (1 + HNSW_STREAM_AHEAD)

/* Choosing where to begin, making the query's code. */
#define START_COST 5.0

/* The cost of a scan that looks at ef rows before it returns the first. */
void
hnsw_cost_of(double ef, PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
			 Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	GenericCosts costs = {0};
	QualCost	distance;
	double		row_kb = 1;
	double		hop;
	bool		flat = false;
	double		uncached;
	double		random_page_cost;

	if (path->indexorderbys == NIL)
	{
		/* no order, no use */
		*startup = get_float8_infinity();
		*total = get_float8_infinity();
		*selectivity = 0;
		*correlation = 0;
		*pages = 0;
		vdist_disable_path(&path->path);
		return;
	}
	genericcostestimate(root, path, loop_count, &costs);

	cost_qual_eval(&distance, path->indexorderbys, root);

	if (!info->hypothetical)
	{
		Relation	index = index_open(info->indexoid, NoLock);
		VdistIndexMetric metric;
		const HnswMeta *meta;

		vdist_index_metric(index, &metric);
		meta = &hnsw_cache(index)->meta;
		ef *= hnsw_ef_factor(&metric, meta);
		flat = HnswIsFlat(meta);
		row_kb = meta->row_size / 1024.0;
		index_close(index, NoLock);
	}
	ef = Max(ef, HNSW_LEAST_EF);
	hop = flat ? FLAT_COST + FLAT_COST_PER_KB * row_kb : HOP_COST + HOP_COST_PER_KB * row_kb;
	get_tablespace_page_costs(info->reltablespace, &random_page_cost, NULL);
	uncached = 1.0 - (double) effective_cache_size / Max(info->pages, 1);
	if (uncached > 0)
		hop += uncached * random_page_cost;

	/*
	 * The first row waits for ef hops. Each then costs the same, though the first ten come with
	 * them and the last ones without any: who asks for many has a condition or takes the table's
	 * greater part. Heap pages are charged for by core, the exact vector is not.
	 */
	*startup = START_COST + distance.startup;
	if (flat)
	{
		*startup += info->tuples * hop;
		*total = *startup + info->tuples * FLAT_RETURN_COST;
	}
	else
	{
		*startup += Min(ef, info->tuples) * hop;
		*total = *startup + info->tuples * (HOPS_PER_ROW * hop + distance.per_tuple);
	}
	*selectivity = costs.indexSelectivity;
	*correlation = 0;
	*pages = info->pages;
}

void
hnsw_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
		  Selectivity *selectivity, double *correlation, double *pages)
{
	hnsw_cost_of(hnsw_ef_search, root, path, loop_count, startup, total, selectivity, correlation,
				 pages);
}
