/*
 * cost.c: what a distance costs the planner. Of a vector that is stored out of line nearly all of it is
 * reading, which core charges nothing for. Called by the planner.
 */
#include "compat.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "type/type.h"

/*
 * Reading a value out of line, in units of cpu_operator_cost, of which a distance in the row costs 100. One
 * price whatever the value's size, 3 to 6 kB as a rule: were a constant's size looked at, plans with a
 * parameter would cost more or less than those with its value, and be chosen or refused for ever.
 */
#define TOAST_COST 2000

static double
procost(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	double		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	result = ((Form_pg_proc) GETSTRUCT(tuple))->procost;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Does a column keep its values out of line? Statistics have the width of what is in the row, which is a
 * pointer's for no vector, but for 104 bits; without them the dimensions tell.
 */
static bool
is_out_of_line(PlannerInfo *root, Var *column)
{
	RangeTblEntry *table;
	int32		width;

	if (column->varlevelsup > 0 || IS_SPECIAL_VARNO(column->varno) || column->varattno <= 0 ||
		column->vartype == BITOID || column->vartype == VARBITOID)
		return false;
	table = planner_rt_fetch(column->varno, root);
	if (table->rtekind != RTE_RELATION || table->relkind == RELKIND_FOREIGN_TABLE)
		return false;
	width = get_attavgwidth(table->relid, column->varattno);
	if (width > 0)
		return width == TOAST_POINTER_SIZE;
	return column->vartypmod > (int32) (TOAST_TUPLE_THRESHOLD / sizeof(float)) &&
		column->vartypmod <= VECTOR_MAX_DIM;
}

/*
 * Support function of the distances: COST, and for each column out of line that the call reads, in whatever
 * expression, the cost of reading it.
 */
PG_FUNCTION_INFO_V1(vdist_distance_support);
Datum
vdist_distance_support(PG_FUNCTION_ARGS)
{
	SupportRequestCost *request = (SupportRequestCost *) PG_GETARG_POINTER(0);
	double		cost;
	List	   *arguments;
	ListCell   *cell;

	if (!IsA(request, SupportRequestCost) || request->root == NULL || request->node == NULL)
		PG_RETURN_POINTER(NULL);
	if (is_opclause(request->node))
		arguments = ((OpExpr *) request->node)->args;
	else if (is_funcclause(request->node))
		arguments = ((FuncExpr *) request->node)->args;
	else
		PG_RETURN_POINTER(NULL);

	cost = procost(request->funcid);
	foreach(cell, pull_var_clause((Node *) arguments, PVC_RECURSE_AGGREGATES |
								  PVC_RECURSE_WINDOWFUNCS | PVC_RECURSE_PLACEHOLDERS))
	{
		if (is_out_of_line(request->root, lfirst(cell)))
			cost += TOAST_COST;
	}
	request->startup = 0;
	request->per_tuple = cost * cpu_operator_cost;
	PG_RETURN_POINTER(request);
}
