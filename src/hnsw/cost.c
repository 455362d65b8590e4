/*
 * cost.c: what the planner believes a vdist_hnsw scan costs. Calls core's generic estimate; called by
 * core through handler.c.
 *
 * Measured with 128 dimensions: a sequential scan with its distance takes 0.4 us a row, for which the
 * planner charges 0.33; a hop takes 0.6 us with a row of 1.3 kB and 0.9 us with one of 8 kB, more when the row
 * has to be copied from several pages; a row of the stream, which remembers all it has seen and reads the
 * exact vector, some 3 us more.
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

#define HOP_COST 0.5
#define HOP_COST_PER_KB 0.1

/* Of a flat index, all rows are looked at, in the order they lie in. */
#define FLAT_COST 0.05

/* What a row of the stream costs besides its hop; its heap page is charged for by core. */
#define STREAM_COST 2.5

/* Choosing where to begin, making the query's code. */
#define START_COST 5.0

/* The cost of a scan that looks at ef rows before it returns the first. */
void
hnsw_cost_of(double ef, PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup,
			 Cost *total, Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	GenericCosts costs = {0};
	double		hop = HOP_COST;
	bool		flat = false;
	double		first;
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

	if (info->hypothetical)
		hop += HOP_COST_PER_KB;
	else
	{
		Relation	index = index_open(info->indexoid, NoLock);
		VdistIndexMetric metric;
		const HnswMeta *meta;

		vdist_index_metric(index, &metric);
		if (metric.projected)
			ef *= HNSW_PROJECTED_EF;
		meta = &hnsw_cache(index)->meta;
		flat = HnswIsFlat(meta);
		hop = (flat ? FLAT_COST : HOP_COST) + HOP_COST_PER_KB * meta->row_size / 1024;
		index_close(index, NoLock);
	}
	get_tablespace_page_costs(info->reltablespace, &random_page_cost, NULL);
	uncached = 1.0 - (double) effective_cache_size / Max(info->pages, 1);
	if (uncached > 0)
		hop += uncached * random_page_cost;

	/* the first row waits for ef hops; what they find costs no more */
	first = flat ? info->tuples : Min(ef, info->tuples);
	*startup = START_COST + first * hop;
	*total = *startup + (info->tuples - first) * (hop + STREAM_COST);
	*selectivity = costs.indexSelectivity;
	*correlation = 0;
	*pages = first;
}

void
hnsw_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
		  Selectivity *selectivity, double *correlation, double *pages)
{
	hnsw_cost_of(hnsw_ef_search, root, path, loop_count, startup, total, selectivity, correlation,
				 pages);
}
