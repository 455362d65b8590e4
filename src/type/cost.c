/*
 * cost.c: what a distance costs the planner. Of a vector that is stored out of line nearly all of it is
 * reading, which core charges nothing for. Called by the planner.
 */
#include "compat.h"

#include <math.h>

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "type/type.h"

/*
 * In units of cpu_operator_cost, of which a distance in the row costs 100: finding a value in the TOAST
 * table's index, and reading a chunk of it.
 */
#define TOAST_FIND_COST 1000
#define TOAST_CHUNK_COST 400

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

/* The bytes of an argument, as far as it tells: a constant's, or those of so many floats; else 0. */
static double
bytes_of(Node *argument)
{
	int32		typmod = exprTypmod(argument);

	if (IsA(argument, Const) && !((Const *) argument)->constisnull)
		return toast_raw_datum_size(((Const *) argument)->constvalue);
	return typmod > 0 && typmod <= VECTOR_MAX_DIM ? sizeof(float) * (double) typmod : 0;
}

/* Does a column keep values of that many bytes out of line? Statistics tell, or else the size. */
static bool
is_out_of_line(PlannerInfo *root, Var *column, double bytes)
{
	RangeTblEntry *table;
	int32		width;

	if (column->varlevelsup > 0 || IS_SPECIAL_VARNO(column->varno) || column->varattno <= 0)
		return false;
	table = planner_rt_fetch(column->varno, root);
	if (table->rtekind != RTE_RELATION || table->relkind == RELKIND_FOREIGN_TABLE)
		return false;
	width = get_attavgwidth(table->relid, column->varattno);
	return width > 0 ? width < bytes / 2 : bytes > TOAST_TUPLE_THRESHOLD;
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
	double		bytes = 0;
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

	foreach(cell, arguments)
		bytes = Max(bytes, bytes_of(lfirst(cell)));
	cost = procost(request->funcid);
	foreach(cell, pull_var_clause((Node *) arguments, PVC_RECURSE_AGGREGATES |
								  PVC_RECURSE_WINDOWFUNCS | PVC_RECURSE_PLACEHOLDERS))
	{
		if (is_out_of_line(request->root, lfirst(cell), bytes))
			cost += TOAST_FIND_COST + TOAST_CHUNK_COST * ceil(bytes / TOAST_MAX_CHUNK_SIZE);
	}
	request->startup = 0;
	request->per_tuple = cost * cpu_operator_cost;
	PG_RETURN_POINTER(request);
}
