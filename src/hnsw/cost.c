/*
 * cost.c: what the planner believes a vdist_hnsw scan costs. Calls core's generic estimate; called by
 * core through handler.c.
 */
#include "compat.h"

#include <math.h>

#include "optimizer/cost.h"
#include "utils/float.h"
#include "utils/selfuncs.h"

#include "hnsw/hnsw.h"

void
hnsw_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
		  Selectivity *selectivity, double *correlation, double *pages)
{
	GenericCosts costs = {0};

	/* no order, no use */
	if (path->indexorderbys == NIL)
	{
		*startup = get_float8_infinity();
		*total = get_float8_infinity();
		*selectivity = 0;
		*correlation = 0;
		*pages = 0;
		return;
	}
	genericcostestimate(root, path, loop_count, &costs);
	*startup = 10;
	*total = costs.indexTotalCost;
	*selectivity = costs.indexSelectivity;
	*correlation = costs.indexCorrelation;
	*pages = costs.numIndexPages;
}
