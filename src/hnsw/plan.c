/*
 * plan.c: takes from a query's paths what nobody will read. Calls the catalog caches; called by the
 * roof's hook for upper paths.
 *
 * ORDER BY distance LIMIT k makes the planner compute the distance of every row it returns,
 * although a vdist_hnsw scan delivers rows in order and no one looks at the value. For a vector
 * that is stored out of line this costs more than the search: ten reads through the TOAST table's
 * index.
 */
#include "compat.h"

#include "access/amapi.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"

#include "hnsw/hnsw.h"

/* By whatever name. */
static bool
is_hnsw(const IndexOptInfo *index)
{
	IndexAmRoutine *routine = GetIndexAmRoutineByAmId(index->relam, true);
	bool		result = routine != NULL && routine->amgettuple == hnsw_get_tuple;

	if (routine != NULL)
		pfree(routine);
	return result;
}

/*
 * The path with NULL for the value that has this reference, or NULL when it is no ordered index
 * scan; and what a row costs less.
 */
static Path *
without_value(PlannerInfo *root, Path *path, Index ref, Cost *saved)
{
	Path	   *scan = IsA(path, ProjectionPath) ? ((ProjectionPath *) path)->subpath : path;
	PathTarget *target = copy_pathtarget(path->pathtarget);
	ListCell   *cell;

	if (!IsA(scan, IndexPath) || ((IndexPath *) scan)->indexorderbys == NIL ||
		!is_hnsw(((IndexPath *) scan)->indexinfo))
		return NULL;
	foreach(cell, target->exprs)
	{
		Node	   *expr = lfirst(cell);
		QualCost	cost;

		if (get_pathtarget_sortgroupref(target, foreach_current_index(cell)) != ref)
			continue;
		cost_qual_eval_node(&cost, expr, root);
		*saved = cost.per_tuple;
		lfirst(cell) = makeNullConst(exprType(expr), exprTypmod(expr), exprCollation(expr));
	}

	/* the path itself may be part of others */
	if (scan == path)
	{
		IndexPath  *copy = makeNode(IndexPath);

		*copy = *(IndexPath *) path;
		path = &copy->path;
	}
	else
	{
		ProjectionPath *copy = makeNode(ProjectionPath);

		*copy = *(ProjectionPath *) path;
		path = &copy->path;
	}
	path->pathtarget = target;
	return path;
}

/*
 * Spare the final paths of a query the distances that only order rows: a column that the query does
 * not return, of a scan directly below a LIMIT. A hook of this late hour sees even the statement
 * whose planning loaded the library, by opening an index.
 */
void
hnsw_trim_paths(PlannerInfo *root, RelOptInfo *final)
{
	SortGroupClause *first;
	ListCell   *cell;

	if (root->parse->sortClause == NIL)
		return;
	first = linitial_node(SortGroupClause, root->parse->sortClause);
	if (!get_sortgroupclause_tle(first, root->processed_tlist)->resjunk)
		return;
	foreach(cell, final->pathlist)
	{
		LimitPath  *limit = lfirst(cell);

		if (IsA(limit, LimitPath) && limit->limitOption == LIMIT_OPTION_COUNT)
		{
			Cost		saved = 0;
			Path	   *path = without_value(root, limit->subpath, first->tleSortGroupRef, &saved);

			if (path == NULL)
				continue;
			limit->subpath = path;
			limit->path.total_cost -= saved * limit->path.rows;
		}
	}
}
