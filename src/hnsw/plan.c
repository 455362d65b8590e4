/*
 * plan.c: takes from a finished plan what nobody will read. Calls the catalog caches; called by the
 * roof's planner hook.
 *
 * ORDER BY distance LIMIT k makes the planner compute the distance of every row it returns, although a
 * vdist_hnsw scan delivers rows in order and no one looks at the value. For a vector that is stored out
 * of line this costs more than the search: ten reads through the TOAST table's index.
 */
#include "compat.h"

#include "access/amapi.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "hnsw/hnsw.h"

/* By whatever name. */
static bool
is_hnsw(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	IndexAmRoutine *routine;
	Oid			am;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	am = ((Form_pg_class) GETSTRUCT(tuple))->relam;
	ReleaseSysCache(tuple);
	routine = GetIndexAmRoutineByAmId(am, true);
	result = routine != NULL && routine->amgettuple == hnsw_get_tuple;
	if (routine != NULL)
		pfree(routine);
	return result;
}

/* The value of an order that only the scan below needed, and does not need: a column that is junk on
 * both levels. */
static void
trim_scan(Limit *limit, IndexScan *scan)
{
	ListCell   *cell;

	if (scan->indexorderbyorig == NIL || !is_hnsw(scan->indexid))
		return;
	foreach(cell, scan->scan.plan.targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		TargetEntry *above;

		if (!entry->resjunk || entry->resno > list_length(limit->plan.targetlist) ||
			!equal(entry->expr, linitial(scan->indexorderbyorig)))
			continue;
		above = list_nth_node(TargetEntry, limit->plan.targetlist, entry->resno - 1);
		if (!above->resjunk || !IsA(above->expr, Var) ||
			((Var *) above->expr)->varattno != entry->resno)
			continue;
		entry->expr = (Expr *) makeNullConst(exprType((Node *) entry->expr),
											 exprTypmod((Node *) entry->expr),
											 exprCollation((Node *) entry->expr));
	}
}

static void trim(Plan *plan);

static void
trim_list(List *plans)
{
	ListCell   *cell;

	foreach(cell, plans)
		trim(lfirst(cell));
}

static void
trim(Plan *plan)
{
	if (plan == NULL)
		return;
	switch (nodeTag(plan))
	{
		case T_Limit:
			if (((Limit *) plan)->limitOption == LIMIT_OPTION_COUNT &&
				IsA(plan->lefttree, IndexScan))
				trim_scan((Limit *) plan, (IndexScan *) plan->lefttree);
			break;
		case T_Append:
			trim_list(((Append *) plan)->appendplans);
			break;
		case T_MergeAppend:
			trim_list(((MergeAppend *) plan)->mergeplans);
			break;
		case T_SubqueryScan:
			trim(((SubqueryScan *) plan)->subplan);
			break;
		default:
			break;
	}
	trim(plan->lefttree);
	trim(plan->righttree);
}

/* Spare a finished plan the distances that only ordered rows. */
void
hnsw_trim_plan(PlannedStmt *statement)
{
	trim(statement->planTree);
	trim_list(statement->subplans);
}
