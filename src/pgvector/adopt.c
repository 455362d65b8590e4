/*
 * adopt.c: lets a column change between pgvector's types and vdist's without a rewrite of its table.
 * Calls the catalog caches; called by the planner through the casts that adjust a value to its typmod.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* The C function that reads the typmods of a type, or NULL. */
static char *
typmod_reader(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			function;
	Datum		source;
	bool		isnull;
	char	   *result = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	function = ((Form_pg_type) GETSTRUCT(tuple))->typmodin;
	ReleaseSysCache(tuple);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (!isnull)
		result = TextDatumGetCString(source);
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Support function of vector(vector, integer, boolean) and its likes: a value whose typmod is known to
 * be the wanted one needs no check. A cast without function hides the typmod of what it relabels; it
 * is the same when both types read their typmods by a function of the same name.
 */
PG_FUNCTION_INFO_V1(vdist_typmod_support);
Datum
vdist_typmod_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	FuncExpr   *call;
	Node	   *value;
	Node	   *inner;
	Const	   *typmod;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	call = ((SupportRequestSimplify *) request)->fcall;
	value = linitial(call->args);
	typmod = lsecond(call->args);
	if (!IsA(typmod, Const) || typmod->constisnull)
		PG_RETURN_POINTER(NULL);

	inner = value;
	if (IsA(value, RelabelType))
	{
		char	   *from;
		char	   *to;

		inner = (Node *) ((RelabelType *) value)->arg;
		from = typmod_reader(exprType(inner));
		to = typmod_reader(exprType(value));
		if (from == NULL || to == NULL || strcmp(from, to) != 0)
			PG_RETURN_POINTER(NULL);
	}
	if (exprTypmod(inner) != DatumGetInt32(typmod->constvalue))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(makeRelabelType((Expr *) value, call->funcresulttype,
									  DatumGetInt32(typmod->constvalue), call->funccollid,
									  COERCE_IMPLICIT_CAST));
}
